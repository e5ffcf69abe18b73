"""What the simulation makes of broken code: a short story that can be played again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final

import pytest

from cf_data_tracker.document import Document
from cf_data_tracker.engine.cas import Commit, Engine, Snapshot
from cf_data_tracker.engine.combine import _Combined
from cf_data_tracker.store import ANYTHING, Written
from simulation.crowds import at_random
from simulation.laws import Broken
from simulation.plans import EAGER, Part, Plan
from simulation.shrink import Failure, failure_of, played, shorter, shrunk
from simulation.ways import Ways


def without_if_match(patch: pytest.MonkeyPatch) -> None:
    """Write, whatever is there."""

    def put(self: Engine, key: str, document: Document, base: Snapshot, waiting: int = 0) -> Written:
        whatever: Any = ANYTHING
        return right(self, key, document, replace(base, etag=whatever), waiting)

    right = Engine.put
    patch.setattr(Engine, "put", put)


def with_a_fresh_id(patch: pytest.MonkeyPatch) -> None:
    """Try again what was not answered, as if it were another recording."""

    def attempt(self: Any) -> Sequence[Any]:  # noqa: ANN401 - no name of it is public
        if self._silences:
            self._recordings = [replace(one, recorded_by=f"{one.recorded_by}'") for one in self._recordings]
            self._rule = self._asked_anew
        return right(self)

    right: Callable[[Any], Sequence[Any]] = _Combined.attempt
    patch.setattr(_Combined, "attempt", attempt)


def without_a_doubt(patch: pytest.MonkeyPatch) -> None:
    """Take what was not answered for what was not written."""
    patch.setattr(Commit, "_doubtful", property(lambda _: False, lambda *_: None), raising=False)


BREAKS: Final = (without_if_match, with_a_fresh_id, without_a_doubt)


def failures() -> Iterator[Failure]:
    """Yield random runs in which a law is broken."""
    for seed in count():
        run = at_random(f"broken {seed}")
        try:
            run.run()
        except Broken as broken:
            yield failure_of(run, broken)


@pytest.mark.parametrize("breaks", BREAKS, ids=lambda one: one.__name__.replace("_", " "))
def test_broken_code_gives_a_short_story(
    breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing run is shrunk to a shorter story, whose code breaks the law again, and none once it is mended."""
    breaks(monkeypatch)
    long = max((found for found, _ in zip(failures(), range(5))), key=lambda found: len(found.story))  # noqa: B905 - one is endless
    short = shrunk(long)
    assert len(short.story) < min(30, len(long.story))
    assert len(short.plan.parts) <= len(long.plan.parts)
    with pytest.raises(Broken) as told:
        exec(short.code, {})
    assert [short.law, *short.story] == str(told.value).splitlines()
    monkeypatch.undo()
    exec(short.code, {})


@pytest.mark.parametrize("anew", [False, True], ids=["by heart", "anew"])
@pytest.mark.parametrize("breaks", BREAKS, ids=lambda one: one.__name__.replace("_", " "))
def test_whoever_tries_every_way_finds_broken_code(
    breaks: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, *, anew: bool
) -> None:
    """A small plan is enough to find it, whoever plays; with the code mended, all of its ways go well."""
    parts = [Part(commits=[[f"FY2023/{name}"]], tuning=EAGER) for name in "ab"]
    plan = Plan(parts=parts, faults=2, attempts=2)
    breaks(monkeypatch)
    with pytest.raises(Broken, match="shrunk to"):
        list(Ways(plan, anew=anew))
    monkeypatch.undo()
    assert list(Ways(plan, anew=anew))


def test_a_broken_law_is_told_with_its_story(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever tries every way is shown the law, the shortest story, and how to play it again."""
    without_if_match(monkeypatch)
    two = [Part(commits=[[f"FY2023/{name}"]], tuning=None) for name in "ab"]
    with pytest.raises(Broken) as told:
        list(Ways(Plan(parts=two)))
    lines = str(told.value).splitlines()
    assert lines[0].startswith("it does not hold that a commit may make ")
    assert [line.split()[:2] for line in lines[4:8]] == [["A", "read"], ["B", "read"], ["A", "write"], ["A:", "[(2,"]]
    assert lines[-1].startswith("again(Plan(parts=[Part(commits=[['FY2023/a']], tuning=None), Part(")


def test_a_run_is_what_its_dice_say() -> None:
    """A run that is told again is the same run, so a seed is enough to find a broken law again."""
    first, again = (at_random("told again").run() for _ in range(2))
    assert len(first.story) > 10
    assert first.story == again.story
    assert first.tape == again.tape


def test_a_law_that_holds_is_no_story() -> None:
    """A run in which no law is broken is what it would be anyway."""
    run = at_random("told again")
    assert played(run) is run
    assert run.laws.moment


def test_a_telling_is_made_shorter_in_large_pieces_first() -> None:
    """All of it is left out at first, at last one number; a number that is not 0 may become 0 in its place."""
    assert [[], [0, 0], [1], [0, 1], [2], [2, 0]] == list(shorter([2, 1]))
    assert [] == list(shorter([]))
