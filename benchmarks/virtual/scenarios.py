"""What is simulated, and what it is to give at least."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cf_data_tracker.engine.retry import Patience
from virtual.figures import Bound
from virtual.workers import Scenario

Entry = tuple[Scenario, Sequence[Bound]]

AT_ONCE: Final = Patience(first=1e-9, longest=1e-9, attempts=10**6, seconds=1e6)
"""How the measured writers retried."""

COSTS: Final = ("requests", "write", "read", "list", "delete", "$ per 1M", "lost races")
COMMITS: Final = ("commits/s", "batch", "failed", "unfinished", "left", "floor")


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Scenarios that share a table.

    Attributes:
        title: What stands over it.
        columns: Its columns, as `virtual.figures.COLUMNS` names them.
        entries: The scenarios, with what they are to give at least.
    """

    title: str
    columns: Sequence[str]
    entries: Sequence[Entry]


def _floor(rate: float, p99: float | None, requests: float, *, none_fails: bool = False) -> tuple[Bound, ...]:
    bounds = [Bound(figure="recordings_per_second", shown=f"≥ {rate:,g}/s", least=rate)]
    if p99 is not None:
        bounds.append(Bound(figure="p99", shown=f"p99 ≤ {p99:g} s", most=p99))
    bounds.append(Bound(figure="requests_per_recording", shown=f"≤ {requests:g} requests", most=requests))
    return (*bounds, *(NONE_FAILS if none_fails else ()))


def _keeps_up(p99: float, requests: float) -> tuple[Bound, ...]:
    keeping = Bound(figure="kept_up", shown="keeps up", least=0.9)
    return (keeping, *_floor(0, p99, requests)[1:])


NONE_FAILS: Final = (
    Bound(figure="failed", shown="none fails", most=0),
    Bound(figure="unfinished", shown="none is left waiting", most=0),
)

FLOORS: Final = {
    "combining-1": _floor(15, 0.12, 1.35),
    "combining-2": _floor(16, 0.7, 2.2),
    "combining-8": _floor(28, 0.8, 4.2),
    "combining-64": _floor(200, 0.5, 3.2),
    "combining-1000": _floor(2000, 0.6, 3.5),
    "combining-1000-limits": _floor(1200, 2.0, 3.5),
    "combining-4000-limits": _floor(1300, None, 4.0, none_fails=True),
    "combining-100-a-second": _keeps_up(0.7, 6.0),
    "combining-500-a-second": _keeps_up(0.7, 6.0),
    "quiet": (Bound(figure="requests_after_first", shown="1 to 1.07 requests", least=1.0, most=1.07),),
    "dying": (*NONE_FAILS, Bound(figure="died", shown="some die", least=1)),
    "retrying-at-once": (
        Bound(
            figure="commits_per_second",
            shown="14.7 to 15.3 commits/s measured, ± 3 %",
            least=14.7 * 0.97,
            most=15.3 * 1.03,
        ),
        Bound(figure="attempts_per_commit", shown="13.6 attempts measured, ± 5 %", least=13.6 * 0.95, most=13.6 * 1.05),
    ),
}
"""By scenario."""

# Seconds to record in: long enough for a p99, short where there is much to compute. The plain loop at many workers is
# slow to compute and slow to come to rest: it is stopped at the end, with what is unfinished then.
SECONDS: Final = {1: 30, 2: 60, 4: 30, 8: 20, 16: 20, 32: 10, 64: 8, 256: 8, 1000: 4, 4000: 2}
SECONDS_LIMITED: Final = {256: 8, 1000: 8, 4000: 26}
SECONDS_PLAIN: Final = {1: 30, 2: 100, 4: 100, 8: 100, 16: 100, 32: 100, 64: 100, 256: 60, 1000: 30, 4000: 10}
SECONDS_ARRIVING: Final = {5: 30, 20: 20, 100: 10, 500: 8}
SECONDS_EXPRESS: Final = {1: 20, 8: 10, 64: 6, 1000: 2}
SOME, MANY = 16, 256
"""From how many workers on the plain loop is run with one seed, and from how many on it is stopped at the end."""

TOO_MANY: Final = 100
"""Of so many arrivals a second ever more are waiting in the plain loop: it is stopped at the end."""

MOST: Final = 4000
"""So many take minutes to compute: one seed has to do."""


def _closed(workers: int, *, limits: bool = False) -> list[Scenario]:
    seconds = (SECONDS_LIMITED if limits else SECONDS)[workers]
    name = f"{workers}-limits" if limits else f"{workers}"
    combining = Scenario(
        name=f"combining-{name}", strategy="combining", seconds=seconds, workers=workers, limits=limits
    )
    if workers == MOST:
        combining = replace(combining, seeds=1)
    plain = replace(combining, name=f"plain-{name}", strategy="cas", seconds=SECONDS_PLAIN[workers])
    if workers >= SOME:
        plain = replace(plain, seeds=1)
    return [plain if workers < MANY else replace(plain, grace=0), combining]


def _arriving(rate: int) -> list[Scenario]:
    combining = Scenario(
        name=f"combining-{rate}-a-second", strategy="combining", seconds=SECONDS_ARRIVING[rate], arrivals=rate
    )
    plain = replace(combining, name=f"plain-{rate}-a-second", strategy="cas", seeds=1)
    return [plain if rate < TOO_MANY else replace(plain, grace=0), combining]


def _express(workers: int) -> list[Scenario]:
    return [
        replace(scenario, name=f"{scenario.name}-express", profile="express", seconds=SECONDS_EXPRESS[workers], seeds=1)
        for scenario in _closed(workers)
    ]


def _entries(scenarios: Iterable[Iterable[Scenario]]) -> list[Entry]:
    return [(scenario, FLOORS.get(scenario.name, ())) for several in scenarios for scenario in several]


RETRYING: Final = Scenario(
    name="retrying-at-once", strategy="reading", seconds=40, workers=16, patience=AT_ONCE, grace=0
)
QUIET: Final = Scenario(name="quiet", strategy="combining", seconds=600, workers=1, pause=10)
DYING: Final = Scenario(name="dying", strategy="combining", seconds=8, workers=64, deaths=0.005)

SECTIONS: Final = (
    Section(
        title="Is the model right",
        columns=("workers", "loop", "commits/s", "attempts for each", "requests", "floor"),
        entries=_entries([[RETRYING]]),
    ),
    Section(
        title="Workers that record one after the other",
        columns=("workers", "loop", "/s", "p50, s", "p99, s", "max, s", *COSTS, *COMMITS),
        entries=_entries(map(_closed, SECONDS)),
    ),
    Section(
        title="The same under the limits of a prefix",
        columns=("workers", "loop", "/s", "p50, s", "p99, s", "max, s", *COSTS, "503", *COMMITS),
        entries=_entries(_closed(workers, limits=True) for workers in SECONDS_LIMITED),
    ),
    Section(
        title="Workers that record once and are gone",
        columns=("come a second", "loop", "/s", "p50, s", "p99, s", "max, s", *COSTS, *COMMITS),
        entries=_entries(map(_arriving, SECONDS_ARRIVING)),
    ),
    Section(
        title="S3 Express One Zone",
        columns=("workers", "loop", "/s", "p50, s", "p99, s", "max, s", *COSTS, *COMMITS),
        entries=_entries(map(_express, SECONDS_EXPRESS)),
    ),
    Section(
        title="A quiet document",
        columns=("workers", "rest, s", "recordings", "p50, s", "p99, s", "requests after the first", "floor"),
        entries=_entries([[QUIET]]),
    ),
    Section(
        title="Workers that die",
        columns=(
            "workers",
            "died",
            "recordings",
            "wrong",
            "/s",
            "p50, s",
            "p99, s",
            "max, s",
            "failed",
            "left",
            "floor",
        ),
        entries=_entries([[DYING]]),
    ),
)

QUICK: Final = frozenset(
    f"{loop}-{what}" for loop in ("combining", "plain") for what in ("1", "8", "64", "100-a-second")
) | {"combining-1000", "retrying-at-once", "quiet", "dying"}
"""What `--quick` runs."""
