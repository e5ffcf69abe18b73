"""Interleavings of workers at one document: small plans in every way, larger ones at random, deaths at every point."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Final, TypeVar

import pytest
from hypothesis import settings

from cf_data_tracker.engine import combine, inbox
from cf_data_tracker.engine.combine import TUNING
from interleavings import ALL, EAGER, End, Interleaving, Part, Plan, at_random, every_way

T = TypeVar("T")

PUSHY: Final = replace(TUNING, losses=0)
"""Takes anything for contention, so a worker publishes at once."""

HOT: Final = replace(EAGER, beside_every=1, beside_crowd=1, ahead=1)
"""Looks into the inbox with every commit."""

A: Final = Part(commits=[["FY2023/a"]], tuning=EAGER)
B: Final = Part(commits=[["FY2023/b"]], tuning=EAGER)
C: Final = Part(commits=[["FY2023/c"]], tuning=EAGER)
PLAIN: Final = replace(B, tuning=None)

SMALL: Final = {
    "two workers": Plan(parts=[A, B], faults=1),
    "a new document": Plan(parts=[A, B], faults=1, fresh=True),
    "the same file": Plan(parts=[A, A], faults=1),
    "one that does not combine": Plan(parts=[replace(A, tuning=PUSHY), PLAIN], faults=1),
    "both publish at once": Plan(parts=[replace(A, tuning=PUSHY), replace(B, tuning=PUSHY)]),
    "one publishes at once": Plan(parts=[replace(A, tuning=PUSHY), B], faults=1, attempts=4),
    "given up at once": Plan(parts=[replace(A, tuning=PUSHY), B], faults=1, attempts=1),
    "given up soon": Plan(parts=[replace(A, tuning=PUSHY), B], faults=1, attempts=2),
    "versions are kept": Plan(parts=[A, B], faults=1, versioned=True),
    "a clean document": Plan(
        parts=[Part(commits=[["FY2023/1"]], tuning=EAGER), Part(commits=[["FY2023/2"]], tuning=PUSHY)],
        faults=1,
        attempts=4,
        clean=True,
    ),
    "three workers": Plan(parts=[A, B, C]),
    "two commits each": Plan(
        parts=[replace(A, commits=[["FY2023/a"], ["FY2023/c"]]), replace(B, commits=[["FY2023/b"], ["FY2023/c"]])]
    ),
}

BLOCKS: Final = 10
RUNS: Final = settings().max_examples * 4 // BLOCKS
"""Random runs in a block: few at the desk, thousands at night, as with hypothesis."""


@pytest.mark.parametrize("plan", SMALL.values(), ids=SMALL)
def test_a_small_plan_goes_well_in_every_way(plan: Plan) -> None:
    """Whoever goes first, and whichever request is lost, late, refused or a worker's last: the laws hold."""
    ways = list(every_way(plan))
    assert len(ways) > 30
    assert any(way.laws.published for way in ways)


class Doomed:
    """One worker after the other makes a request, and all goes well, but that a certain one is its worker's last."""

    def __init__(self, number: int, end: End) -> None:
        self._number = number
        self._end = end
        self._turns = 0
        self._requests = 0

    def __repr__(self) -> str:
        return f"Doomed({self._number}, {self._end})"

    def pick(self, what: str, options: Sequence[T]) -> T:
        """Return whose turn it is; the worst that may befall the one request; and else what goes well."""
        if what == "turn":
            self._turns += 1
            return options[self._turns % len(options)]
        if what == "befalls":
            self._requests += 1
            return options[-1] if self._requests == self._number else options[0]
        return options[0]

    def before_turn(self, state: Callable[[], int]) -> None:
        """Go on."""


def doomed(plan: Plan, end: End) -> Iterator[Interleaving]:
    """Play a plan as often as it has requests, and let each of them be its worker's last in one of the runs."""
    plan = replace(plan, faults=1, befalls=dict.fromkeys(ALL, (end,)))
    for number in count(1):
        run = Interleaving(plan, Doomed(number, end)).run()
        if not run.befallen:
            return
        yield run


@pytest.mark.parametrize("end", [End.DIES_BEFORE, End.DIES_AFTER, End.DIES_MEANWHILE])
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


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_runs_keep_the_laws(block: int) -> None:
    """Up to five workers with many commits, some of them slow, and up to sixteen faults: the laws hold."""
    runs = [at_random(f"raw {block} {number}").run() for number in range(RUNS)]
    assert any(run.laws.published for run in runs)
    assert any(run.befallen for run in runs)


@pytest.mark.parametrize("block", range(BLOCKS // 5))
def test_random_runs_with_a_clean_document_keep_the_laws(block: int) -> None:
    """A clean document is no different."""
    runs = [at_random(f"clean {block} {number}", clean=True).run() for number in range(RUNS)]
    assert any(run.laws.published for run in runs)


@pytest.mark.parametrize("block", range(BLOCKS // 5))
def test_random_runs_with_more_than_one_page_keep_the_laws(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where more wait than one LIST gives, or one commit takes, nothing is lost either."""
    monkeypatch.setattr(inbox, "PAGE", 3)
    monkeypatch.setattr(combine, "MAX_RECORDINGS", 4)
    monkeypatch.setattr(combine, "MAX_OWN", 3)
    runs = [at_random(f"pages {block} {number}", page=3).run() for number in range(RUNS)]
    assert any(run.laws.published for run in runs)


def test_a_run_is_what_its_dice_say() -> None:
    """A run that is told again is the same run, so a seed is enough to find a broken law again."""
    first, again = (at_random("told again").run() for _ in range(2))
    assert len(first.story) > 10
    assert first.story == again.story
