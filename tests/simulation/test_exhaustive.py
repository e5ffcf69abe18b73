"""Small plans in every way, and a death at every point of the protocol."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from math import factorial
from typing import Final

import pytest

from cf_data_tracker.engine.combine import TUNING, Tuning
from simulation.plans import ALL, DEATHS, DUE, EAGER, PUSHY, End, Part, Plan
from simulation.play import Interleaving
from simulation.shrink import played
from simulation.ways import Ways, in_every_way

Counted = Callable[[str, Mapping[str, int]], None]

A: Final = Part(commits=[["FY2023/a"]], tuning=EAGER)
B: Final = Part(commits=[["FY2023/b"]], tuning=EAGER)
C: Final = Part(commits=[["FY2023/c"]], tuning=EAGER)
PLAIN: Final = replace(B, tuning=None)

DYING: Final = replace(A, tuning=PUSHY)
QUIET: Final = Part(commits=[["FY2023/b"], ["FY2023/c"], ["FY2023/d"]], tuning=DUE)
AT_PUBLISHING: Final = {"publish": (End.DIES_AFTER, End.DIES_MEANWHILE)}

SMALL: Final = {
    "two workers": Plan(parts=[A, B], faults=1),
    "a new document": Plan(parts=[A, B], faults=1, fresh=True),
    "the same file": Plan(parts=[A, A], faults=1),
    "one that does not combine": Plan(parts=[replace(A, tuning=PUSHY), PLAIN], faults=1),
    "both publish at once": Plan(parts=[replace(A, tuning=PUSHY), replace(B, tuning=PUSHY)]),
    "one publishes at once": Plan(parts=[replace(A, tuning=PUSHY), B], faults=1, attempts=4),
    "given up at once": Plan(parts=[replace(A, tuning=PUSHY), B], faults=1, attempts=1),
    "given up soon": Plan(parts=[replace(A, tuning=PUSHY), B], faults=2, attempts=2),
    "versions are kept": Plan(parts=[A, B], faults=1, versioned=True),
    "a clean document": Plan(
        parts=[Part(commits=[["FY2023/1"]], tuning=EAGER), Part(commits=[["FY2023/2"]], tuning=PUSHY)],
        faults=1,
        attempts=4,
        clean=True,
    ),
    "a dead worker's entry": Plan(parts=[DYING, QUIET], faults=1, befalls=AT_PUBLISHING, within=3),
    "a dead worker's entry, versions are kept": Plan(
        parts=[DYING, QUIET], faults=1, befalls=AT_PUBLISHING, within=3, versioned=True
    ),
    "three workers": Plan(parts=[A, B, C]),
    "two commits each": Plan(
        parts=[replace(A, commits=[["FY2023/a"], ["FY2023/c"]]), replace(B, commits=[["FY2023/b"], ["FY2023/c"]])]
    ),
}


def workers(number: int, commits: int, tuning: Tuning | None, *, faults: int) -> Plan:
    """Return a plan of workers that differ in nothing but names, each with files of its own."""
    files = [[[f"FY2023/{name}{place}"] for place in range(commits)] for name in "abc"[:number]]
    return Plan(parts=[Part(commits=each, tuning=tuning) for each in files], faults=faults, alike=True)


SOON: Final = {
    "2 workers of 1 recording, 2 faults, combining": workers(2, 1, EAGER, faults=2),
    "2 workers of 2 recordings, 1 fault, as shipped": workers(2, 2, TUNING, faults=1),
    "2 workers of 2 recordings, 1 fault, plain": workers(2, 2, None, faults=1),
    "3 workers of 1 recording, 1 fault, as shipped": workers(3, 1, TUNING, faults=1),
    "3 workers of 1 recording, 1 fault, plain": workers(3, 1, None, faults=1),
    "3 workers of 1 recording, no fault, combining": workers(3, 1, EAGER, faults=0),
}

LARGE: Final = {
    "2 workers of 2 recordings, 2 faults, plain": workers(2, 2, None, faults=2),
    "2 workers of 2 recordings, 2 faults, as shipped": workers(2, 2, TUNING, faults=2),
    "2 workers of 1 recording, 2 faults, publishing at once": workers(2, 1, PUSHY, faults=2),
    "2 workers of 2 recordings, 1 fault, combining": workers(2, 2, EAGER, faults=1),
    "2 workers of 2 recordings, 2 faults, combining": workers(2, 2, EAGER, faults=2),
    "3 workers of 1 recording, 1 fault, combining": workers(3, 1, EAGER, faults=1),
}


LONG: Final = (pytest.mark.prove, pytest.mark.timeout(3600))


@pytest.mark.parametrize("plan", SMALL.values(), ids=SMALL)
def test_a_small_plan_goes_well_in_every_way(plan: Plan, counted: Counted) -> None:
    """Whoever goes first, and whichever request is lost, late, refused or a worker's last: the laws hold."""
    ways = Ways(plan)
    published = [len(way.laws.published) for way in ways]
    assert 0 < sum(published)
    assert 100 < ways.schedules
    counted("in every way, small plans", ways.counts)


@pytest.mark.parametrize("what", SOON)
def test_some_workers_go_well_in_every_way(what: str, counted: Counted) -> None:
    """Workers with files of their own, and a fault or none: the laws hold."""
    counted(f"in every way, {what}", in_every_way(SOON[what]))


@pytest.mark.parametrize("what", [pytest.param(what, marks=LONG) for what in LARGE])
def test_workers_and_faults_go_well_in_every_way(what: str, counted: Counted) -> None:
    """Two workers of two recordings and two faults, three workers of one and one fault: the laws hold."""
    counted(f"in every way, {what}", in_every_way(LARGE[what]))


def told(run: Interleaving) -> object:
    """Return all that can be told of a run."""
    return run.story, run.befallen.copy(), run.answers.copy(), run.memory.read(run.book.ledger.key)


@pytest.mark.parametrize(
    "plan",
    [
        *(pytest.param(plan, id=what) for what, plan in SMALL.items()),
        *(pytest.param(plan, id=what, marks=LONG) for what, plan in {**SOON, **LARGE}.items() if ", 1 fault" in what),
    ],
)
def test_whoever_plays_by_heart_plays_as_the_workers_do(plan: Plan) -> None:
    """The runs of understudies are those that workers play from the beginning, line by line, and none is missing."""
    by_heart, anew = Ways(plan), Ways(plan, anew=True)
    assert [told(run) for run in anew] == [told(run) for run in by_heart]
    assert anew.counts == by_heart.counts


@pytest.mark.parametrize("anew", [False, True], ids=["by heart", "anew"])
@pytest.mark.parametrize(
    "plan", [workers(2, 1, None, faults=1), workers(2, 2, EAGER, faults=0)], ids=["plain", "combining"]
)
def test_what_is_cut_short_has_been_tried(plan: Plan, *, anew: bool) -> None:
    """As many schedules are counted where runs are cut short as there are where none is."""
    cutting, whole = Ways(plan, anew=anew), Ways(plan, anew=anew, cuts=False)
    assert len(list(cutting)) < len(list(whole))
    assert whole.ended == whole.schedules == cutting.schedules


@pytest.mark.parametrize(
    "plan", [workers(2, 2, None, faults=1), workers(3, 1, EAGER, faults=0)], ids=["plain", "combining"]
)
def test_workers_that_are_alike_need_not_change_places(plan: Plan) -> None:
    """If they begin in any order, there are just as many ways for each order."""
    ordered, any_order = Ways(plan), Ways(replace(plan, alike=False))
    assert len(list(ordered)) <= len(list(any_order))
    assert any_order.schedules == factorial(len(plan.parts)) * ordered.schedules


class Doomed:
    """One worker after the other makes a request, and all goes well, but that a certain one is its worker's last."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._turns = 0
        self._requests = 0

    def pick(self, what: str, options: Sequence[object]) -> int:
        """Return whose turn it is; the worst that may befall the one request; and else what goes well."""
        if what == "turn":
            self._turns += 1
            return self._turns % len(options)
        if what == "befalls":
            self._requests += 1
            return len(options) - 1 if self._requests == self._number else 0
        return 0

    def before_turn(self, place: int, state: Callable[[], int]) -> None:
        """Go on."""


def doomed(plan: Plan, end: End) -> Iterator[Interleaving]:
    """Play a plan as often as it has requests, and let each of them be its worker's last in one of the runs."""
    plan = replace(plan, faults=1, befalls=dict.fromkeys(ALL, (end,)))
    for number in count(1):
        run = played(Interleaving(plan, Doomed(number)))
        if not run.befallen:
            return
        yield run


@pytest.mark.parametrize("end", DEATHS)
@pytest.mark.parametrize("versioned", [False, True], ids=["no versions", "versions"])
@pytest.mark.parametrize("large", ["", "+"], ids=["in the key", "in the body"])
def test_a_death_at_any_point_of_the_protocol_blocks_nobody(end: End, large: str, *, versioned: bool) -> None:
    """Three workers publish, look, list and combine; whichever request is the last of one, the others are done."""
    parts = [Part(commits=[[f"FY2023/{name}{large}"]], tuning=PUSHY) for name in "abc"]
    befallen: Counter[str] = Counter()
    for run in doomed(Plan(parts=parts, attempts=12, versioned=versioned), end):
        befallen += run.befallen
        assert 2 <= sum(run.answers[f"{name} acknowledged"] for name in "ABC"), run.story
    kinds = {"read", "write", "publish", "list", "delete"} | ({"fetch"} if large else set())
    assert kinds == {one.split()[0] for one in befallen}
