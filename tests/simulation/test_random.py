"""Larger plans at random: 2 to 12 workers, each run made by a seed."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import pytest
from hypothesis import settings

from cf_data_tracker.engine import combine, inbox
from simulation.crowds import at_random
from simulation.dice import FIRST, LAST, Rolled
from simulation.plans import Part, Plan
from simulation.play import Interleaving
from simulation.shrink import played
from simulation.ways import as_words

Counted = Callable[[str, Mapping[str, int]], None]

BLOCKS: Final = 10
RUNS: Final = settings().max_examples * 4 // BLOCKS
"""Random runs in a block: few at the desk, thousands at night, as with hypothesis."""

THOUSANDS: Final = {"raw": 10_000, "clean": 4_000, "pages": 2_000, "threads": 8_000}
BLOCK: Final = 500


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page of the inbox hold 3 keys, and a commit 4 recordings."""
    monkeypatch.setattr(inbox, "PAGE", 3)
    monkeypatch.setattr(combine, "MAX_RECORDINGS", 4)
    monkeypatch.setattr(combine, "MAX_OWN", 3)


def of_kind(kind: str, seeds: Iterable[object]) -> Iterable[Interleaving]:
    """Yield runs of a kind."""
    for seed in seeds:
        name = f"{kind} {seed}"
        if kind == "threads":
            yield at_random(name, threads=(1, 2, 3, 4))
        else:
            yield at_random(name, clean=kind == "clean", page=3 if kind == "pages" else 1000)


def totals(runs: Iterable[Interleaving]) -> Counter[str]:
    """Play runs, and return how much there was of what."""
    total: Counter[str] = Counter()
    befallen: Counter[str] = Counter()
    for run in runs:
        for what, number in played(run).befallen.items():
            befallen[what.partition(" ")[2]] += number
        told = sum(number for who, number in run.answers.items() if who.endswith("acknowledged"))
        total.update({"runs": 1, "acknowledged": told, "published": len(run.laws.published)})
    return Counter(total | {"faults": befallen.total()} | as_words(befallen))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_random_runs_keep_the_laws(block: int, counted: Counted) -> None:
    """Up to twelve workers with many commits, some of them slow, and up to sixteen faults: the laws hold."""
    total = totals(of_kind("raw", (f"{block} {number}" for number in range(RUNS))))
    assert total["published"]
    assert total["faults"]
    counted("at random", total)


@pytest.mark.parametrize("block", range(BLOCKS // 5))
def test_random_runs_with_a_clean_document_keep_the_laws(block: int, counted: Counted) -> None:
    """A clean document is no different."""
    total = totals(of_kind("clean", (f"{block} {number}" for number in range(RUNS))))
    assert total["published"]
    counted("at random, clean", total)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("block", range(BLOCKS // 5))
def test_random_runs_with_more_than_one_page_keep_the_laws(block: int, counted: Counted) -> None:
    """Where more wait than one LIST gives, or one commit takes, nothing is lost either."""
    total = totals(of_kind("pages", (f"{block} {number}" for number in range(RUNS))))
    assert total["published"]
    counted("at random, small pages", total)


@pytest.mark.parametrize("block", range(BLOCKS // 2))
def test_random_runs_of_threads_that_share_a_tracker_keep_the_laws(block: int, counted: Counted) -> None:
    """Threads that wait for each other's commits are told the truth, and none of them waits for ever."""
    total = totals(of_kind("threads", (f"{block} {number}" for number in range(RUNS))))
    assert total["published"]
    assert total["faults"]
    counted("at random, threads", total)


@pytest.mark.parametrize(("favour", "place"), [(LAST, -1), (FIRST, 0)], ids=["last", "first"])
def test_one_worker_may_be_the_last_or_the_first_at_all_times(favour: float, place: int) -> None:
    """Dice may be loaded so that one worker goes on when no other can, or whenever it can."""
    parts = [Part(commits=[[f"FY2023/{name}"], [f"2024-01/{name}"]], tuning=None) for name in "abc"]
    dice = Rolled("loaded", favour=favour)
    run = Interleaving(Plan(parts=parts), dice).run()
    acting = [line.split()[0] for line in run.story if line.split()[0] in "ABC"]
    others = [place for place, name in enumerate(acting) if name != dice.favoured]
    own = [place for place, name in enumerate(acting) if name == dice.favoured]
    assert own
    assert max(others) < min(own) if favour == LAST else max(own) < min(others)
    assert dice.favoured == acting[place]


@pytest.mark.prove
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("kind", "block"), [(kind, block) for kind, runs in THOUSANDS.items() for block in range(runs // BLOCK)]
)
def test_thousands_of_random_runs_keep_the_laws(
    kind: str, block: int, counted: Counted, request: pytest.FixtureRequest
) -> None:
    """The more is tried, the less is left that could go wrong."""
    if kind == "pages":
        request.getfixturevalue("small_pages")
    total = totals(of_kind(kind, (f"many {block} {number}" for number in range(BLOCK))))
    assert total["published"]
    counted(f"at random, thousands, {kind}", total)
