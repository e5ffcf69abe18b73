"""The picture: recordings a second, and how long they take, against the number of workers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from virtual.figures import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURED: Final = 15
"""Conditional writes a second that one key on S3 takes, as measured."""

LINES: Final[Mapping[tuple[str, bool], Mapping[str, Any]]] = {
    ("combining", False): {"label": "combining", "color": "#1b6ca8", "marker": "o"},
    ("combining", True): {"label": "combining, S3's limits", "color": "#1b6ca8", "marker": "s", "linestyle": "--"},
    ("cas", False): {"label": "plain loop", "color": "#c8553d", "marker": "o"},
    ("cas", True): {"label": "plain loop, S3's limits", "color": "#c8553d", "marker": "s", "linestyle": "--"},
}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw what workers do on S3 in a closed loop, and save the picture in the format that the path ends with."""
    rows = [row for row in rows if row.scenario.closed and row.scenario.profile == "s3"]
    # The salt makes the same picture of the same figures.
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "simulate"}):
        figure = Figure(figsize=(9.0, 3.8), layout="constrained", facecolor="white")
        rate, wait = figure.subplots(1, 2)
        _panel(rate, rows, "recordings_per_second", "recordings a second")
        _panel(wait, rows, "p99", "p99 of a recording, in seconds")
        rate.axhline(MEASURED, color="#888888", linewidth=0.8, linestyle=":")
        rate.annotate(
            f"{MEASURED} writes a second to one key (measured)", (1, MEASURED * 0.9), va="top", color="#666666"
        )
        rate.set_ylim(bottom=MEASURED / 2.5)
        rate.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(axes: "Axes", rows: Sequence[Row], figure: str, title: str) -> None:
    for (strategy, limits), style in LINES.items():
        line = [row for row in rows if (row.scenario.strategy, row.scenario.limits) == (strategy, limits)]
        if figure == "p99":  # of runs that were stopped it is no more than a bound, which grows with their length
            line = [row for row in line if not row.figures.unfinished]
        axes.plot(*_points(line, figure), markersize=4, **style)
    if figure == "p99":
        stopped = [row for row in rows if row.figures.unfinished and row.scenario.strategy == "cas"]
        color = LINES["cas", False]["color"]
        axes.plot(*_points(stopped, figure), "^", color=color, label="plain loop, at least", markersize=8)
        axes.legend(frameon=False, handles=axes.lines[-1:])
    axes.set(xscale="log", yscale="log", title=title, xlabel="workers")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.grid(which="major", color="#dddddd", linewidth=0.6)


def _points(rows: Iterable[Row], figure: str) -> tuple[list[int], list[float]]:
    return [row.scenario.workers for row in rows], [getattr(row.figures, figure) for row in rows]
