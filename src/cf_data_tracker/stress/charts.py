"""Three drawings as SVG: how long recordings took, the commits over time, and the requests by kind.

Across they are in percent, so that they fill a page or a telephone, while text and lines keep their size. Colours
are classes, which the page defines for light and dark.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from cf_data_tracker.stress.markup import Html, element, together
from cf_data_tracker.stress.watch import Committed

LINE: Final = 18
"""The height of a line of text, in pixels."""

PLOT: Final = 140
BARS: Final = 48
MOST_TICKS: Final = 6
SLOTS: Final = 400
"""How many commits are drawn side by side; of more, the largest of each slot."""

DOTS: Final = 80
"""Up to how many commits get a dot each."""

LEAST: Final = 1e-9
"""No time is drawn as shorter than this, in seconds: a logarithmic axis has no zero."""

SHARE_WITH_TEXT: Final = 0.15
"""From what share on a part of a bar has room for its number."""


def latencies(times: Sequence[float], marks: Mapping[str, float]) -> Html:
    """Return a histogram on a logarithmic axis.

    Args:
        times: Seconds, at least one.
        marks: Figures to mark in it, by name, in seconds.
    """
    low, high = _spread(times)
    across = _Log(low, high)
    counts = [0] * BARS
    for time in times:
        counts[min(BARS - 1, int(across.place(time) * BARS))] += 1
    bottom = LINE * (len(marks) + 1) + PLOT
    # The highest mark stands at the top: labels are to the left of their marks, and so cross no other.
    placed = [(_inset(across.place(time)), f"{name} {duration(time)}") for name, time in reversed(list(marks.items()))]
    return _svg(
        bottom + LINE,
        f"How many recordings took how long, from {duration(min(times))} to {duration(max(times))}",
        _levels(
            max(counts),
            bottom,
            *(_bar(number, count / max(counts) * PLOT, bottom) for number, count in enumerate(counts) if count),
        ),
        _bottom_line(bottom),
        *(_tick(_inset(across.place(tick)), duration(tick), bottom) for tick in across.ticks()),
        *(_mark(LINE * (row + 1), place, text, bottom) for row, (place, text) in enumerate(placed)),
    )


def commits(made: Sequence[Committed], seconds: float) -> Html:
    """Return each commit as a line as long as it has recordings: its own below, those of others above.

    Args:
        made: The commits, at least one.
        seconds: How long the run took.
    """
    until = max(seconds, LEAST, *(commit.at for commit in made))
    highest = max(1, *(commit.recordings for commit in made))
    bottom = LINE + PLOT
    drawn = list(_thinned(made, until))
    return _svg(
        bottom + LINE,
        f"{len(made)} commits in {duration(seconds)}, the largest of {highest} recordings",
        _levels(
            highest,
            bottom,
            *(_commit(commit, until, highest, bottom, dots=len(drawn) <= DOTS) for commit in drawn),
        ),
        _bottom_line(bottom),
        *(_tick(_inset(tick / until), f"{tick:g} s", bottom) for tick in _ticks(until)),
    )


def shares(parts: Mapping[str, int]) -> Html:
    """Return one bar, divided as the numbers are; each part has the class of its name."""
    whole = sum(parts.values())
    drawn = []
    reached = 0
    for name, number in parts.items():
        if number:
            drawn.append(_part(name, number, reached / whole, number / whole))
        reached += number
    return _svg(2 * LINE, ", ".join(f"{number} {name}" for name, number in parts.items()), *drawn)


def swatch(name: str) -> Html:
    """Return a small square in the colour of a class."""
    square = element("rect", width=12, height=12, rx=2, class_=name)
    return element("svg", square, width=12, height=12, class_="swatch", aria_hidden="true")


def duration(seconds: float) -> str:
    """Return a time in the unit in which it reads best, with three digits."""
    for unit, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * unit or name == "µs":
            return f"{_short(seconds / unit)} {name}"
    raise AssertionError("the last unit takes all")


def _short(number: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(number))) if number > 0 else 0
    text = f"{number:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class _Log:
    """A logarithmic axis from one time to another."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = math.log10(low), math.log10(high)

    def place(self, time: float) -> float:
        """Return where a time is, from 0 to 1."""
        place = (math.log10(max(time, LEAST)) - self._low) / (self._high - self._low)
        return min(1.0, max(0.0, place))

    def ticks(self) -> list[float]:
        """Return round times within it, not too many, and at least its ends."""
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        for steps, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 4)):
            found = [step * 10.0**decade for decade in decades if decade % every == 0 for step in steps]
            within = [tick for tick in found if self._low <= math.log10(tick) <= self._high]
            if 1 < len(within) <= MOST_TICKS:
                return within
        return [10**self._low, 10**self._high]


def _spread(times: Sequence[float]) -> tuple[float, float]:
    low, high = max(min(times), LEAST), max(*times, LEAST)
    return (low / 1.5, high * 1.5) if high < 1.2 * low else (low, high)


def _thinned(made: Iterable[Committed], until: float) -> Iterator[Committed]:
    largest: dict[int, Committed] = {}
    for commit in made:
        slot = int(commit.at / until * SLOTS)
        if slot not in largest or commit.recordings > largest[slot].recordings:
            largest[slot] = commit
    yield from largest.values()


def _ticks(until: float) -> list[float]:
    """Return round numbers from 0 up to one, not too many."""
    rough = until / (MOST_TICKS - 1)
    decade = 10.0 ** math.floor(math.log10(rough))
    step = next(step * decade for step in (1, 2, 5, 10) if step * decade >= rough * 0.999)
    return [number * step for number in range(int(until / step * 1.0001) + 1)]


def _whole_ticks(highest: int) -> list[int]:
    half = highest // 2
    return sorted({half, highest} - {0})


def _svg(height: int, label: str, *drawn: object) -> Html:
    return element("svg", *drawn, width="100%", height=height, role="img", aria_label=label, class_="chart")


def _inset(place: float) -> float:
    """Leave a little room at both sides."""
    return 0.01 + 0.98 * place


def _percent(place: float) -> str:
    return f"{100 * place:.2f}%"


def _line(x: float, y1: float, y2: float, class_: str) -> Html:
    return element("line", x1=_percent(x), x2=_percent(x), y1=f"{y1:.1f}", y2=f"{y2:.1f}", class_=class_)


def _text(x: float, y: float, text: str, class_: str, anchor: str) -> Html:
    return element("text", text, x=_percent(x), y=f"{y:.1f}", class_=class_, text_anchor=anchor)


def _anchor(place: float) -> str:
    """Return how text stands at a place so that it stays on the drawing."""
    return "start" if place < 0.08 else "end" if place > 0.92 else "middle"  # noqa: PLR2004 - shares of the width


def _bottom_line(bottom: int) -> Html:
    return element("line", x1="0", x2="100%", y1=bottom, y2=bottom, class_="axis")


def _tick(place: float, text: str, bottom: int) -> Html:
    return together(
        _line(place, bottom, bottom + 4, "axis"), _text(place, bottom + LINE - 1, text, "label", _anchor(place))
    )


def _levels(highest: int, bottom: int, *drawn: object) -> Html:
    """Return what is drawn over lines at round heights, and the numbers of these over all of it."""
    heights = {number: f"{bottom - number / highest * PLOT:.1f}" for number in _whole_ticks(highest)}
    lines = (element("line", x1="0", x2="100%", y1=y, y2=y, class_="grid") for y in heights.values())
    numbers = (element("text", str(number), x="0", y=y, dy="-3", class_="label over") for number, y in heights.items())
    return together(*lines, *drawn, *numbers)


def _bar(number: int, height: float, bottom: int) -> Html:
    height = max(height, 1.5)  # one of a thousand is still to be seen
    return element(
        "rect",
        x=_percent(_inset(number / BARS)),
        width=_percent(0.85 / BARS),
        y=f"{bottom - height:.1f}",
        height=f"{height:.1f}",
        class_="own",
    )


def _mark(y: int, place: float, text: str, bottom: int) -> Html:
    to_the_left = place > 0.3  # noqa: PLR2004 - where there is room for it, on a telephone too
    beside = element("tspan", text, dx="-5" if to_the_left else "5")
    anchor = "end" if to_the_left else "start"
    label = element("text", beside, x=_percent(place), y=y, class_="label strong over", text_anchor=anchor)
    return together(_line(place, y - 12, bottom, "mark"), label)


def _commit(commit: Committed, until: float, highest: int, bottom: int, *, dots: bool) -> Html:
    x = _inset(max(0.0, commit.at / until))  # another machine's clock may be behind
    own = bottom - (commit.recordings - commit.others) / highest * PLOT
    top = bottom - commit.recordings / highest * PLOT
    parts = [_line(x, bottom, own, "own stroke")] if own < bottom else []
    if commit.others:
        parts.append(_line(x, own, top, "others stroke"))
    if dots:
        kind = "others" if commit.others else "own"
        parts.append(element("circle", cx=_percent(x), cy=f"{top:.1f}", r=3.5, class_=kind))
    return together(*parts)


def _part(name: str, number: int, start: float, share: float) -> Html:
    drawn = element("rect", x=_percent(start), width=_percent(share), y=0, height=2 * LINE, class_=name)
    if share < SHARE_WITH_TEXT:
        return drawn
    return together(drawn, _text(start + share / 2, LINE + 5, str(number), "inside", "middle"))
