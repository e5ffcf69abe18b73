"""From what runs gave to figures, what these are to be, and tables of them. Pure.

Runs of one scenario with different seeds are pooled: the figures are those of all of them taken together.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, Final

from virtual.workers import Run, Scenario

DOLLARS: Final[Mapping[str, float]] = {"write": 5.0, "read": 0.4, "list": 5.0, "delete": 0.0}
"""What a million requests of a kind cost in us-east-1. One that is refused is taken to cost as much as another."""


class Figures:
    """What a scenario gave, over all its runs. Times are in seconds.

    Args:
        scenario: The scenario.
        runs: Its runs.
    """

    NAMES: Final = (
        "seeds",
        "recordings",
        "recordings_per_second",
        "kept_up",
        "p50",
        "p99",
        "max",
        "requests",
        "requests_per_recording",
        "requests_after_first",
        "dollars_per_million",
        "conflicts",
        "slowed",
        "commits_per_second",
        "attempts_per_commit",
        "batch",
        "failed",
        "unfinished",
        "left",
        "died",
        "violations",
        "cpu_seconds",
    )

    def __init__(self, scenario: Scenario, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._duration = scenario.seconds
        self.seeds = len(runs)
        self.failed = sum(len(run.failed) for run in runs)
        self.unfinished = sum(len(run.unfinished) for run in runs)
        self.left = sum(run.left for run in runs)
        self.died = sum(run.died for run in runs)
        self.violations = [violation for run in runs for violation in run.violations]
        self.cpu_seconds = sum(run.cpu_seconds for run in runs)

    def as_json(self) -> dict[str, Any]:
        """Return all figures by name."""
        return {name: _rounded(getattr(self, name)) for name in self.NAMES}

    @property
    def recordings(self) -> int:
        """Acknowledged recordings."""
        return sum(len(run.acknowledged) for run in self._runs)

    @property
    def recordings_per_second(self) -> float:
        """Acknowledged recordings a second, in the run's own duration."""
        return self._in_time / (self.seeds * self._duration)

    @property
    def kept_up(self) -> float:
        """The share of the recordings begun that were acknowledged in the duration."""
        return self._in_time / max(1, self.recordings + self.unfinished + self.failed)

    @property
    def p50(self) -> float:
        """Within which half of all recordings were acknowledged."""
        return self._within(50)

    @property
    def p99(self) -> float:
        """Within which 99 % were."""
        return self._within(99)

    @property
    def max(self) -> float:
        """Within which all were."""
        return self._within(100)

    @property
    def requests(self) -> dict[str, float]:
        """Requests for each acknowledged recording, by kind."""
        return {kind: self._each(self._requests[kind]) for kind in DOLLARS}

    @property
    def requests_per_recording(self) -> float:
        """All kinds together."""
        return self._each(self._requests.total())

    @property
    def requests_after_first(self) -> float:
        """The same for all but the first recording of each run, in runs of a single worker."""
        later = self._requests.total() - sum(run.requests_of_first for run in self._runs)
        return later / max(1, self.recordings - self.seeds)

    @property
    def dollars_per_million(self) -> float:
        """What a million recordings cost in requests."""
        return self._each(sum(DOLLARS[kind] * number for kind, number in self._requests.items()))

    @property
    def conflicts(self) -> float:
        """Writes that lost, for each acknowledged recording."""
        return self._each(sum(run.conflicts for run in self._runs))

    @property
    def slowed(self) -> float:
        """Requests answered with 503, for each acknowledged recording."""
        return self._each(sum(run.slowed for run in self._runs))

    @property
    def commits_per_second(self) -> float:
        """Commits a second, in the run's own duration."""
        return sum(at <= self._duration for at in self._commits) / (self.seeds * self._duration)

    @property
    def attempts_per_commit(self) -> float:
        """Writes of any kind for each commit."""
        return self._requests["write"] / max(1, len(self._commits))

    @property
    def batch(self) -> float:
        """Versions for each commit."""
        return sum(run.versions for run in self._runs) / max(1, len(self._commits))

    @cached_property
    def _waits(self) -> list[float]:
        acknowledged = (ended - began for run in self._runs for began, ended in run.acknowledged)
        return sorted(chain(acknowledged, *(run.unfinished for run in self._runs)))

    @cached_property
    def _requests(self) -> Counter[str]:
        requests: Counter[str] = Counter()
        for run in self._runs:
            requests.update(run.requests)
        return requests

    @property
    def _in_time(self) -> int:
        return sum(ended <= self._duration for run in self._runs for _, ended in run.acknowledged)

    @property
    def _commits(self) -> list[float]:
        return [at for run in self._runs for at in run.commits]

    def _within(self, percent: int) -> float:
        """Return the wait of that rank, the nearest from above."""
        return self._waits[-(-len(self._waits) * percent // 100) - 1] if self._waits else 0.0

    def _each(self, amount: float) -> float:
        return amount / max(1, self.recordings)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """What a figure is to be.

    Attributes:
        figure: Its name in `Figures`.
        shown: How a table puts it.
        least: What it is at least.
        most: What it is at most.
    """

    figure: str
    shown: str
    least: float = float("-inf")
    most: float = float("inf")

    def holds(self, figures: Figures) -> bool:
        """Return whether it is."""
        value: float = getattr(figures, self.figure)
        return self.least <= value <= self.most


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A scenario, what it is to give, and what it gave."""

    scenario: Scenario
    floor: Sequence[Bound]
    figures: Figures

    @property
    def missed(self) -> list[str]:
        """What it is to give and did not, and what was wrong."""
        return [bound.shown for bound in self.floor if not bound.holds(self.figures)] + [*self.figures.violations]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        floor = {bound.shown: bound.holds(self.figures) for bound in self.floor}
        return {"scenario": self.scenario.name, "floor": floor, **self.figures.as_json()}


def cells(row: Row, columns: Iterable[str]) -> list[str]:
    """Return a row of a table that has these columns."""
    return [COLUMNS[column](row) for column in columns]


def markdown(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield _line(columns)
    yield _line("---" if column in TEXT else "---:" for column in columns)
    for row in rows:
        yield _line(cells(row, columns))


def _loop(row: Row) -> str:
    return {"combining": "combining", "cas": "plain", "reading": "plain, reads first"}[row.scenario.strategy]


def _wait(name: str) -> Callable[[Row], str]:
    return lambda row: f"{'≥ ' if row.figures.unfinished else ''}{_number(getattr(row.figures, name))}"


def _each(name: str) -> Callable[[Row], str]:
    return lambda row: f"{getattr(row.figures, name):.2f}"


def _requests(kind: str) -> Callable[[Row], str]:
    return lambda row: f"{row.figures.requests[kind]:.2f}"


def _count(name: str) -> Callable[[Row], str]:
    return lambda row: f"{getattr(row.figures, name):,}"


def _floor(row: Row) -> str:
    if row.missed:
        return f"missed: {', '.join(row.missed[:3])}"
    return f"held: {', '.join(bound.shown for bound in row.floor)}" if row.floor else ""


COLUMNS: Final[Mapping[str, Callable[[Row], str]]] = {
    "workers": lambda row: f"{row.scenario.workers:,}",
    "come a second": lambda row: f"{row.scenario.arrivals:g}",
    "rest, s": lambda row: f"{row.scenario.pause:g}",
    "loop": _loop,
    "recordings": _count("recordings"),
    "/s": lambda row: _number(row.figures.recordings_per_second),
    "p50, s": _wait("p50"),
    "p99, s": _wait("p99"),
    "max, s": _wait("max"),
    "requests": _each("requests_per_recording"),
    "requests after the first": _each("requests_after_first"),
    "write": _requests("write"),
    "read": _requests("read"),
    "list": _requests("list"),
    "delete": _requests("delete"),
    "$ per 1M": lambda row: f"{row.figures.dollars_per_million:.1f}",
    "lost races": _each("conflicts"),
    "503": _each("slowed"),
    "commits/s": lambda row: f"{row.figures.commits_per_second:.1f}",
    "attempts for each": lambda row: f"{row.figures.attempts_per_commit:.1f}",
    "batch": lambda row: f"{row.figures.batch:.1f}",
    "failed": _count("failed"),
    "unfinished": _count("unfinished"),
    "left": _count("left"),
    "died": _count("died"),
    "wrong": lambda row: f"{len(row.figures.violations):,}",
    "floor": _floor,
}
"""What a table can show of a row."""

TEXT: Final = ("loop", "floor")
"""Columns that are no numbers."""


def _line(parts: Iterable[str]) -> str:
    return f"| {' | '.join(parts)} |"


def _number(value: float) -> str:
    """Return a number with three digits that count, and thousands parted."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"  # noqa: PLR2004 - from there on it is three digits before the point


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return round(value, 4) if isinstance(value, float) else value
