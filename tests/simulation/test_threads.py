"""Threads that share a tracker: group commit under the hand that decides everything."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from fates import Fate
from simulation.laws import Broken
from simulation.plans import ALL, CRUCIAL, PUSHY, End, Part, Plan, Wait
from simulation.threads import GroupCommit
from simulation.ways import Ways, in_every_way

Counted = Callable[[str, Mapping[str, int]], None]

TWO: Final = (["FY2023/a"], ["FY2023/b"])

SMALL: Final = {
    "two threads, plain": Plan(parts=[Part(commits=TWO, tuning=None, threads=2)], faults=1, attempts=3, befalls=ALL),
    "two threads, publishing": Plan(parts=[Part(commits=TWO, tuning=PUSHY, threads=2)], attempts=3),
}

LARGE: Final = {
    "two threads, publishing, 1 fault": Plan(
        parts=[Part(commits=TWO, tuning=PUSHY, threads=2)],
        faults=1,
        attempts=3,
        befalls={**CRUCIAL, "wait": tuple(Wait)},
    ),
    "two threads beside another worker": Plan(
        parts=[Part(commits=TWO, tuning=None, threads=2), Part(commits=[["FY2023/c"]], tuning=None)], attempts=3
    ),
}


@pytest.mark.parametrize("what", SMALL)
def test_threads_that_share_a_tracker_go_well_in_every_way(what: str, counted: Counted) -> None:
    """Whoever takes the lock first, waits in vain or is interrupted there: the laws hold, and nobody waits for ever."""
    counted("in every way, threads", in_every_way(SMALL[what]))


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("what", LARGE)
def test_more_threads_go_well_in_every_way(what: str, counted: Counted) -> None:
    """The same where there are more of them, or more happens."""
    counted(f"in every way, {what}", in_every_way(LARGE[what]))


def test_threads_share_commits() -> None:
    """In some of the ways both threads' recordings come with one revision."""
    moments = {run.laws.moment for run in Ways(replace(SMALL["two threads, plain"], faults=0))}
    assert {3, 4} == moments  # the first recording, those of the threads in one commit or in two, and one more worker's


def test_a_thread_that_nobody_wakes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where whoever leaves forgets to wake those that its commit carried, the harness says that somebody waits."""

    def forgets(_: GroupCommit[Any, Any]) -> None:
        """Wake nobody."""

    monkeypatch.setattr(GroupCommit, "_wake_the_done", forgets)
    with pytest.raises(Broken, match=r"nobody waits for ever, but \['A1?'\]"):
        list(Ways(replace(SMALL["two threads, plain"], faults=0)))


ITS_WRITE: Final = Plan(
    parts=[Part(commits=TWO, tuning=None, threads=2)],
    faults=2,
    attempts=1,
    befalls={"write": (End.INTERRUPTED,), "read": (Fate.LOST,)},
)
ITS_ENTRY: Final = Plan(
    parts=[Part(commits=TWO, tuning=PUSHY, threads=2)],
    faults=3,
    attempts=1,
    befalls={"publish": (End.INTERRUPTED, Fate.DENIED), "read": (Fate.LOST,)},
)


@pytest.mark.parametrize("plan", [ITS_WRITE, ITS_ENTRY], ids=["its write", "its entry"])
def test_whom_an_interrupted_leader_carried_is_told_the_truth(plan: Plan) -> None:
    """A leader is interrupted while its request is under way: those it carried are not told "nothing was written"."""
    befallen = [run.befallen.total() for run in Ways(plan)]
    assert plan.faults == max(befallen)
