"""The checker finds no fault with sound histories, and every kind of fault in bad ones."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.document import to_bytes
from cf_data_tracker.model import NewFile, Recording
from cf_data_tracker.rules.raw import record
from checker import Call, Commit, End, Logs, Place, Snapshot, Told, check, merged, snapshot_of

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from cf_data_tracker.document import Document
    from cf_data_tracker.model import FileVersion

SCHEMA: Final = "vitals"


def place(file: str, file_name: str = "FY2023") -> Place:
    """Return where a file of one table is."""
    return "births", file_name, file


def call(number: float, *files: Place, end: End = End.ACKNOWLEDGED, revision: int | None = None) -> Call:
    """Return a call that began at that time, and took half a second unless it never ended."""
    ended = None if end is End.NEVER else number + 0.5
    return Call(id=f"call {number}", files=files, began=number, ended=ended, end=end, revision=revision)


def told(made: Call, *versions: int, created: bool = True) -> Call:
    """Return the call as one that was told these numbers."""
    return replace(made, told=tuple(Told(version=version, created=created) for version in versions))


def grown(*commits: Sequence[Call]) -> list[Document | None]:
    """Return the document before and after each of these commits."""
    documents: list[Document | None] = [None]
    for commit in commits:
        recordings = [
            Recording(new=_new(made.id, *file), recorded_by=f"{made.id} {file}")
            for made in commit
            for file in made.files
        ]
        documents.append(record(documents[-1], SCHEMA, recordings)[0])
    return documents


def _new(made_by: str, table: str, file_name: str, file: str) -> NewFile:
    return NewFile(schema=SCHEMA, table=table, file_name=file_name, file=file, file_size=1, s3_location=made_by)


def seen(document: Document | None, at: float) -> Snapshot:
    """Return the document as it was read at that time."""
    return snapshot_of(to_bytes(document) if document is not None else None, SCHEMA, at, at)


# Four calls, one after the other: of one file, of another in the same file name, of two in another file name, and of
# the first file again. Read before and after each commit.
A, B, C = place("a.zip"), place("b.zip"), (place("c.zip", "FY2024"), place("d.zip", "FY2024"))
CALLS: Final = (
    told(call(1.0, A, revision=1), 1),
    told(call(2.0, B, revision=2), 2),
    told(call(3.0, *C, revision=3), 1, 2),
    told(call(4.0, A), 1, created=False),
)
COMMITS: Final = (Commit(revision=1, added=1), Commit(revision=2, added=1), Commit(revision=3, added=2))
SNAPSHOTS: Final = tuple(
    seen(document, at)
    for document, at in zip(grown(*([made] for made in CALLS[:3])), (0.9, 1.9, 2.9, 4.9), strict=True)
)
FINAL: Final = SNAPSHOTS[-1]


def with_call(number: int, **changes: object) -> tuple[Call, ...]:
    """Return the calls with one of them changed."""
    return (*CALLS[:number], replace(CALLS[number], **changes), *CALLS[number + 1 :])  # type: ignore[arg-type]


def with_version(number: int, **changes: object) -> tuple[Snapshot, ...]:
    """Return the final document alone, with one version changed."""
    versions = list(FINAL.versions)
    versions[number] = replace(versions[number], **changes)  # type: ignore[arg-type]
    return (replace(FINAL, versions=tuple(versions)),)


def without(file: str) -> tuple[Snapshot, ...]:
    """Return the final document alone, without a file."""
    return (replace(FINAL, versions=tuple(version for version in FINAL.versions if version.file != file)),)


def with_another(version: FileVersion) -> tuple[Snapshot, ...]:
    """Return the final document alone, with a version more."""
    return (replace(FINAL, versions=(*FINAL.versions, version)),)


def test_a_sound_history_has_no_faults() -> None:
    """Nothing is found where nothing is wrong: with all snapshots, with the last alone, with no commit told."""
    untold = tuple(replace(made, revision=None) for made in CALLS)
    assert () == check(CALLS, COMMITS, SNAPSHOTS)
    assert () == check(CALLS, COMMITS, SNAPSHOTS[-1:])
    assert () == check(untold, (), SNAPSHOTS)


@pytest.mark.parametrize("end", [End.UNKNOWN, End.NEVER], ids=lambda end: end.name)
@pytest.mark.parametrize("landed", [True, False])
def test_what_is_not_known_to_be_written_may_be_there_or_not(end: End, *, landed: bool) -> None:
    """A call that was killed, or ended without knowing, made all of its files or none."""
    doubtful = replace(call(5.0, place("x.zip"), place("y.zip"), end=end), id="doubtful")
    commits = [[made] for made in (*CALLS[:3], *([doubtful] if landed else []))]
    assert () == check((*CALLS, doubtful), COMMITS, (*SNAPSHOTS, seen(grown(*commits)[-1], 9.0)))


FAULTS: Final[dict[str, tuple[tuple[Sequence[Call], Sequence[Commit], Sequence[Snapshot]], str]]] = {
    "an acknowledged file is lost": ((CALLS, (), without("b.zip")), "acknowledged as version 2, there 0 times"),
    "a file is there twice": (
        (CALLS, (), with_another(replace(FINAL.versions[0], version=3, recorded_by="another"))),
        "a.zip: there 2 times",
    ),
    "a recording is there twice": (
        (CALLS, (), with_version(1, recorded_by=FINAL.versions[0].recorded_by)),
        "is there 2 times",
    ),
    "the number is another than was told": (
        (with_call(1, told=(Told(version=3, created=True),)), (), SNAPSHOTS),
        "there under another number",
    ),
    "a number is left out": ((CALLS, (), with_version(1, version=3)), "are not 1 to 2"),
    "what was refused is there": (
        (with_call(1, end=End.REFUSED, told=()), (), SNAPSHOTS),
        "call 2.0 was told that nothing was written, and it is there",
    ),
    "nobody recorded it": ((CALLS[1:3], (), SNAPSHOTS), "made by call 1.0, which is no call of that file"),
    "a call made what it did not record": (
        (CALLS, (), with_version(1, s3_location="call 1.0")),
        "made by call 1.0, which is no call of that file",
    ),
    "another was told that it created it": (
        (with_call(3, told=(Told(version=1, created=True),)), (), SNAPSHOTS),
        "call 4.0 was told created=True, and call 1.0 made it",
    ),
    "its maker was told that it did not create it": (
        (with_call(0, told=(Told(version=1, created=False),)), (), SNAPSHOTS),
        "call 1.0 was told created=False, and call 1.0 made it",
    ),
    "it was found before it was made": (
        (with_call(3, began=0.1, ended=0.2), (), SNAPSHOTS[-1:]),
        "call 4.0 was told of it before call 1.0, which made it, began",
    ),
    "half of a call is there": (
        (with_call(2, end=End.NEVER, ended=None, told=(), revision=None), (), without("d.zip")),
        "call 3.0: births/FY2024/c.zip was there without births/FY2024/d.zip",
    ),
    "half of a call came later": (
        (CALLS, (), (*without("d.zip"), replace(FINAL, revision=4, began=5.0, ended=5.0))),
        "call 3.0: births/FY2024/c.zip was there without births/FY2024/d.zip",
    ),
    "a killed worker was told of its commit, and it is not there": (
        (with_call(1, end=End.NEVER, ended=None, told=()), (), without("b.zip")),
        "call 2.0: committed in revision 2, and not there",
    ),
    "a version was taken back": (
        (CALLS, (), (*SNAPSHOTS, replace(without("b.zip")[0], revision=4))),
        "births/FY2023: what revision 3 held of it was changed or lost by revision 4",
    ),
    "a version was changed": (
        (CALLS, (), (*SNAPSHOTS, replace(with_version(0, file_size=2)[0], revision=4))),
        "births/FY2023: what revision 3 held of it was changed or lost by revision 4",
    ),
    "a revision was left out": ((CALLS, (), (*SNAPSHOTS[:3], replace(FINAL, revision=5))), "a revision was left out"),
    "a revision went back": (
        (CALLS, (), (*SNAPSHOTS, replace(SNAPSHOTS[2], began=5.0, ended=5.0))),
        "revision 2 was read after 3",
    ),
    "a revision stands for two documents": (
        (CALLS, (), (*SNAPSHOTS[:3], replace(FINAL, revision=2))),
        "revision 2 was read with two contents",
    ),
    "two commits were told the same revision": (
        (CALLS, (*COMMITS, COMMITS[1]), SNAPSHOTS),
        "2 commits were told revision 2",
    ),
    "a commit was told a revision that never was": (
        (CALLS, (*COMMITS, Commit(revision=4, added=1)), SNAPSHOTS),
        "a commit was told revision 4, and the document ends with 3",
    ),
    "commits added more than came": (
        (CALLS, (*COMMITS[:2], Commit(revision=3, added=3)), SNAPSHOTS),
        "between the revisions 2 and 3 2 versions were added, and the commits were told 3",
    ),
    "it was there before its commit": (
        (with_call(1, revision=3), (), SNAPSHOTS),
        "committed in revision 3, and first seen between 1 and 2",
    ),
    "it came after its commit": (
        (with_call(1, revision=1), (), SNAPSHOTS),
        "committed in revision 1, and first seen between 1 and 2",
    ),
    "what was acknowledged was not there yet": (
        (CALLS, (), (*SNAPSHOTS[:2], replace(SNAPSHOTS[1], began=2.8, ended=2.8), FINAL)),
        "births/FY2023/b.zip (call 2.0) was acknowledged before revision 1 was read, which lacks it",
    ),
    "it was there before it was recorded": (
        (CALLS, (), (*SNAPSHOTS[:2], replace(SNAPSHOTS[2], began=1.95, ended=1.95), FINAL)),
        "read in revision 2 before call 2.0 began",
    ),
    "acknowledged in the wrong order": (
        (with_call(1, began=0.1, ended=0.2), (), SNAPSHOTS[-1:]),
        "version 2 was acknowledged before 1 began",
    ),
    "a killed one went before what was acknowledged before it began": (
        (with_call(0, began=3.0, ended=None, end=End.NEVER, told=(), revision=None)[:3], (), SNAPSHOTS[-1:]),
        "b.zip: acknowledged before births/FY2023/a.zip began, and after it by version: 2 > 1",
    ),
    "the order across file names, by revisions that were told": (
        (with_call(0, began=4.0, ended=4.5)[:3], (), SNAPSHOTS[-1:]),
        "c.zip: acknowledged before births/FY2023/a.zip began, and after it by revision: 3 > 1",
    ),
    "the order across file names, by snapshots": (
        (
            tuple(replace(made, revision=None) for made in with_call(0, began=4.0, ended=4.5)[:3]),
            (),
            [replace(snapshot, began=9.0, ended=9.0) for snapshot in SNAPSHOTS],
        ),
        "c.zip: acknowledged before births/FY2023/a.zip began, and after it by revision: 3 > 1",
    ),
}


@pytest.mark.parametrize(("history", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found(history: tuple[Sequence[Call], Sequence[Commit], Sequence[Snapshot]], fault: str) -> None:
    """Each kind of fault is told in a sentence of its own."""
    assert any(fault in violation for violation in check(*history)), check(*history)


def test_order_between_the_same_two_snapshots_is_not_seen() -> None:
    """Of two file names, nothing tells the order of what came between two snapshots."""
    untold = tuple(replace(made, revision=None) for made in with_call(2, began=0.1, ended=0.2)[:3])
    assert () == check(untold, (), SNAPSHOTS[-1:])


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Call], list[Commit], list[Snapshot]]:
    """Return what many workers are told by a store that keeps every promise, and what is read meanwhile."""
    chance = draw(st.randoms(use_true_random=False))
    calls: list[Call] = []
    commits: list[Commit] = []
    document: Document | None = None
    snapshots = [seen(None, 0.0)]
    for number in range(draw(st.integers(1, 12))):
        at = float(number + 1)
        together = [_random_call(f"{number}.{each}", at, chance) for each in range(chance.randint(1, 3))]
        landing = [made for made in together if made.end is not End.REFUSED and chance.random() < 0.8]
        before, document = document, grown_by(document, landing)
        added = _size(document) - _size(before)
        leader = chance.choice(landing).id if added and chance.random() < 0.5 else None
        if leader is not None and document is not None:
            commits.append(Commit(revision=document["revision"], added=added))
        calls += [_answered(made, document, made in landing) for made in together]
        if chance.random() < 0.5:
            snapshots.append(seen(document, at + 0.9))
    return calls, commits, [*snapshots, seen(document, 99.0)]


def _random_call(name: str, at: float, chance: random.Random) -> Call:
    drawn = [(chance.choice(["FY2023", "FY2024"]), chance.randint(1, 12)) for _ in range(chance.randint(1, 3))]
    names = {place(f"{file_name}_{each}.zip", file_name) for file_name, each in drawn}
    return replace(call(at + 0.4 * chance.random(), *sorted(names), end=chance.choice(list(End))), id=name)


def grown_by(document: Document | None, landing: Sequence[Call]) -> Document | None:
    """Return the document after a commit of these calls."""
    recordings = [
        Recording(new=_new(made.id, *file), recorded_by=f"{made.id} {file}") for made in landing for file in made.files
    ]
    return record(document, SCHEMA, recordings)[0] if recordings else document


def _size(document: Document | None) -> int:
    return len(seen(document, 0.0).versions)


def _answered(made: Call, document: Document | None, landed: bool) -> Call:  # noqa: FBT001 - as it was drawn
    if made.end is not End.ACKNOWLEDGED:
        return made
    if not landed:
        return replace(made, end=End.UNKNOWN)
    there = {(v.table, v.file_name, v.file): v for v in seen(document, 0.0).versions}
    answers = [Told(version=there[file].version, created=there[file].s3_location == made.id) for file in made.files]
    return replace(made, told=tuple(answers))


@given(histories())
def test_what_keeps_its_promises_has_no_faults(
    history: tuple[list[Call], list[Commit], list[Snapshot]],
) -> None:
    """Whatever is recorded at the same time, refused, killed or not known: no fault is found where there is none."""
    assert () == check(*history)


def test_the_logs_of_workers_are_merged() -> None:
    """Begin and end of a call are brought together, and with the commit that was told meanwhile."""
    first = (
        {"begin": "w0.1", "files": [A, B], "at": 1.0},
        {"commit": 7, "added": 3, "others": 2, "call": "w0.1"},
        {"end": "w0.1", "as": "acknowledged", "told": [[1, True], [5, False]], "at": 2.0},
        {"begin": "w0.2", "files": [A], "at": 3.0},
        {"end": "w0.2", "as": "refused", "told": [], "at": 4.0},
    )
    second = ({"failure": "oh"}, {"begin": "w1.1", "files": [B], "at": 1.5})
    answers = (Told(version=1, created=True), Told(version=5, created=False))
    expected = (
        Call(id="w0.1", files=(A, B), began=1.0, ended=2.0, end=End.ACKNOWLEDGED, told=answers, revision=7),
        Call(id="w0.2", files=(A,), began=3.0, ended=4.0, end=End.REFUSED),
        Call(id="w1.1", files=(B,), began=1.5),
    )
    logs = ["".join(json.dumps(event) + "\n" for event in events) for events in (first, second)]
    assert Logs(calls=expected, commits=(Commit(revision=7, added=3, others=2),), failures=("oh",)) == merged(logs)


@pytest.mark.parametrize("cut", range(1, 70, 8))
def test_a_log_may_end_within_a_line(cut: int) -> None:
    """What a killed worker had not written to its end, it has not said."""
    begin = json.dumps({"begin": "w", "files": [A], "at": 1.0}) + "\n"
    end = json.dumps({"end": "w", "as": "acknowledged", "told": [[1, True]], "at": 2.0}) + "\n"
    assert (Call(id="w", files=(A,), began=1.0),) == merged([begin + end[: -min(cut, len(end))]]).calls
