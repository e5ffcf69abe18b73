"""The checker: the logs of all workers, merged, against the document as it was seen to grow.

It knows which call made which version, whatever became of that call: the version carries the id of its call. That is
what the judge of the stress benchmark cannot know; what that one sees, is left to it (numbers dense, acknowledged once
under its number, one creator, order of what was acknowledged). Here it is seen

1. that a call that ended with "nothing was written" made nothing, one that never ended made each of its files at most
   once, and that no version comes from a call that nobody made;
2. that the files of one call are there together or not at all, in every snapshot;
3. that each snapshot holds all of its predecessor and what was acknowledged before it was read, and nothing that began
   later; that the same revision is the same document, and none is seen after a higher one;
4. that no two commits were told the same revision, that no revision was left out (no commit adds nothing, so the
   revision rises by no more than the number of versions; where all commits between two snapshots were told, they add
   up), and that a commit's files are there from its revision on, and not before;
5. real-time order: what was acknowledged before another call began is not after what that call made. Within a file
   name the numbers tell the order. Across file names the revision does, and the document does not keep it: it lies
   between the last snapshot that lacks the version and the first that has it, and is exact where a commit was told. The
   order of two versions that came between the same two snapshots is not seen, unless both commits were told.

The last snapshot is the final document. All times are of one clock, and no two file names have a file of the same name,
for the judge tells files by their names alone. Linear in the logs and the snapshots but for the sorting.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from cf_data_tracker.document import raw_document, versions_of
from cf_data_tracker.stress.verdict import Acknowledged, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cf_data_tracker.model import FileVersion

Place: TypeAlias = tuple[str, str, str]
"""Table, file name, file."""


class End(Enum):
    """How a call ended."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    """In an error that says that nothing was written."""
    UNKNOWN = "unknown"
    """In an error that says that it may have been written."""
    NEVER = "never"
    """Its worker was killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a worker was told of a file: its number, and whether this call created the version."""

    version: int
    created: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call that recorded files together.

    Attributes:
        id: Unique, and in every version that it makes.
        files: What it recorded.
        began: When it began.
        ended: When it ended; what did not end has no end.
        end: How.
        told: What its worker was told of each file, if it was acknowledged.
        revision: Of the commit that its worker was told of while it ran, if it was.
    """

    id: str
    files: tuple[Place, ...]
    began: float
    ended: float | None = None
    end: End = End.NEVER
    told: tuple[Told, ...] = ()
    revision: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """A commit that a worker was told of.

    Attributes:
        revision: The revision that it made.
        added: How many versions it added.
        others: How many of these other workers had recorded.
    """

    revision: int
    added: int
    others: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The document as it stood at some moment: it was read meanwhile, or written.

    Attributes:
        revision: Its revision; 0, where there was no document yet.
        versions: What it held, file name after file name, each in the document's order; the location of each is the id
            of the call that made it.
        began: The moment was not before this,
        ended: and not after that.
    """

    revision: int
    versions: tuple[FileVersion, ...]
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Logs:
    """What the workers wrote: their calls, the commits that they were told of, and what should not have happened."""

    calls: tuple[Call, ...]
    commits: tuple[Commit, ...]
    failures: tuple[str, ...]


def snapshot_of(
    body: bytes | None, schema: str, began: float, ended: float, known: dict[FileVersion, FileVersion] | None = None
) -> Snapshot:
    """Return the snapshot that the body of a document is, or that there was none.

    Args:
        body: The body.
        schema: Whose document it is.
        began: See `Snapshot`.
        ended: See `Snapshot`.
        known: Versions of other snapshots, which are shared: many snapshots then take little room.
    """
    known = known if known is not None else {}
    document = raw_document(body) if body is not None else None
    return Snapshot(
        revision=document.get("revision", 0) if document is not None else 0,
        versions=tuple(known.setdefault(version, version) for version in versions_of(document, schema)),
        began=began,
        ended=ended,
    )


def merged(logs: Iterable[str]) -> Logs:
    """Return what the logs say. Each is a worker's, an event a line; a killed one may end within a line.

    {"begin": id, "files": [[table, file name, file], ...], "at": seconds}
    {"commit": revision, "added": number of versions, "others": of other workers, "call": id}
    {"end": id, "as": how, "told": [[version, created], ...], "at": seconds}
    {"failure": what should not have happened}
    """
    events = [event for log in logs for event in _events(log)]
    ends = {event["end"]: event for event in events if "end" in event}
    revisions = {event["call"]: event["commit"] for event in events if "commit" in event}
    return Logs(
        calls=tuple(_call(event, ends.get(event["begin"]), revisions) for event in events if "begin" in event),
        commits=tuple(_commit(event) for event in events if "commit" in event),
        failures=tuple(event["failure"] for event in events if "failure" in event),
    )


def _events(log: str) -> Iterator[dict[str, Any]]:
    for line in log.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def _commit(event: Mapping[str, Any]) -> Commit:
    return Commit(revision=event["commit"], added=event["added"], others=event["others"])


def _call(begin: Mapping[str, Any], end: Mapping[str, Any] | None, revisions: Mapping[str, int]) -> Call:
    return Call(
        id=begin["begin"],
        files=tuple((table, file_name, file) for table, file_name, file in begin["files"]),
        began=begin["at"],
        ended=end["at"] if end is not None else None,
        end=End(end["as"]) if end is not None else End.NEVER,
        told=tuple(Told(version=version, created=created) for version, created in end["told"]) if end else (),
        revision=revisions.get(begin["begin"]),
    )


def check(calls: Sequence[Call], commits: Sequence[Commit], snapshots: Sequence[Snapshot]) -> tuple[str, ...]:
    """Return all that is wrong, one sentence each.

    Args:
        calls: All calls of all workers.
        commits: The commits that they were told of.
        snapshots: The document at some moments; the last was read when all had ended.
    """
    history = _History(calls, snapshots)
    return (
        *_judged(calls, snapshots[-1]),
        *_made(history),
        *_together(history),
        *_grown(history.snapshots),
        *_seen_in_turn(history.snapshots),
        *_seen_in_time(history),
        *_revisions(commits, history.snapshots),
        *_at_its_revision(history),
        *_order(history),
    )


class _History:
    """Which call made what, and between which revisions: the lowest and the highest that are possible."""

    def __init__(self, calls: Sequence[Call], snapshots: Sequence[Snapshot]) -> None:
        self.calls = {call.id: call for call in calls}
        self.snapshots = sorted(snapshots, key=lambda snapshot: (snapshot.revision, snapshot.began))
        self.final = snapshots[-1].versions
        self.by_place = {place_of(version): version for version in self.final}
        self.first: dict[Place, int] = {}  # the number of the first snapshot that has it
        for number, snapshot in enumerate(self.snapshots):
            for version in snapshot.versions:
                self.first.setdefault(place_of(version), number)

    def maker(self, place: Place) -> Call | None:
        """Return the call that made what is there."""
        version = self.by_place.get(place)
        return self.calls.get(str(version.s3_location)) if version is not None else None

    def bounds(self, place: Place) -> tuple[int, int]:
        """Return the lowest and the highest revision in which it can have been added."""
        maker = self.maker(place)
        if maker is not None and maker.revision is not None:
            return maker.revision, maker.revision
        first = self.first[place]
        return (self.snapshots[first - 1].revision + 1 if first else 1), self.snapshots[first].revision

    def acknowledged(self) -> list[Call]:
        """Return the calls that were acknowledged, in the order of their ends."""
        return sorted(
            (call for call in self.calls.values() if call.end is End.ACKNOWLEDGED), key=lambda call: call.ended or 0.0
        )


def place_of(version: FileVersion) -> Place:
    """Return where a version is."""
    return version.table, version.file_name, version.file


def _judged(calls: Sequence[Call], final: Snapshot) -> Iterator[str]:
    """What the judge of the stress benchmark sees."""
    acknowledged = [
        Acknowledged(
            worker=0,
            table=table,
            file_name=file_name,
            file=file,
            version=told.version,
            created=told.created,
            began=call.began,
            ended=call.ended or call.began,
        )
        for call in calls
        if call.end is End.ACKNOWLEDGED
        for (table, file_name, file), told in zip(call.files, call.told, strict=True)
    ]
    uncertain = frozenset(place[2] for call in calls if call.end is not End.ACKNOWLEDGED for place in call.files)
    yield from judge(acknowledged, final.versions, uncertain).violations


def _made(history: _History) -> Iterator[str]:
    """1: what each version comes from."""
    if len(history.by_place) < len(history.final):
        counts = Counter(place_of(version) for version in history.final)
        yield from (f"{_shown(place)}: there {count} times" for place, count in counts.items() if count > 1)
    recordings = Counter(version.recorded_by for version in history.final)
    yield from (f"the recording {name} is there {count} times" for name, count in recordings.items() if count > 1)
    for version in history.final:
        yield from _comes_from(version, history.calls.get(str(version.s3_location)))
    for call in history.acknowledged():
        for place, told in zip(call.files, call.told, strict=True):
            maker = history.maker(place)
            if maker is not None and told.created != (maker is call):
                yield f"{_shown(place)}: {call.id} was told created={told.created}, and {maker.id} made it"
            if maker is not None and call.ended is not None and maker.began > call.ended:
                yield f"{_shown(place)}: {call.id} was told of it before {maker.id}, which made it, began"


def _comes_from(version: FileVersion, maker: Call | None) -> Iterator[str]:
    place = place_of(version)
    if maker is None or place not in maker.files:
        yield f"{_shown(place)}: made by {version.s3_location}, which is no call of that file"
    elif maker.end is End.REFUSED:
        yield f"{_shown(place)}: {maker.id} was told that nothing was written, and it is there"


def _together(history: _History) -> Iterator[str]:
    """2: the files of one call come together.

    Where another call has recorded one of them before, it was there already: never can one come later.
    """
    for version in history.final:
        maker = history.calls.get(str(version.s3_location))
        first = history.first[place_of(version)]
        for place in maker.files if maker is not None else ():
            if history.first.get(place, len(history.snapshots)) > first:
                yield f"{maker.id if maker else ''}: {_shown(place_of(version))} was there without {_shown(place)}"
    for call in history.calls.values():
        if call.revision is not None and any(place not in history.by_place for place in call.files):
            yield f"{call.id}: committed in revision {call.revision}, and not there"


def _grown(snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """3: each snapshot holds all of its predecessor, in its place."""
    before = snapshots[0]
    for snapshot in snapshots[1:]:
        if snapshot.revision == before.revision and snapshot.versions != before.versions:
            yield f"revision {snapshot.revision} was read with two contents"
        earlier, later = _by_file_name(before), _by_file_name(snapshot)
        for (table, file_name), versions in earlier.items():
            if later.get((table, file_name), [])[: len(versions)] != versions:
                yield (
                    f"{table}/{file_name}: what revision {before.revision} held of it was changed or lost "
                    f"by revision {snapshot.revision}"
                )
        before = snapshot


def _seen_in_turn(snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """3: no revision is seen when a higher one has been."""
    latest = snapshots[0]  # of what is not higher, by its beginning
    for snapshot in snapshots[1:]:
        if snapshot.ended < latest.began and snapshot.revision > latest.revision:
            yield f"revision {latest.revision} was read after {snapshot.revision}"
        if snapshot.began > latest.began:
            latest = snapshot


def _by_file_name(snapshot: Snapshot) -> Mapping[tuple[str, str], list[FileVersion]]:
    held: defaultdict[tuple[str, str], list[FileVersion]] = defaultdict(list)
    for version in snapshot.versions:
        held[version.table, version.file_name].append(version)
    return held


def _seen_in_time(history: _History) -> Iterator[str]:
    """3: each snapshot holds what was acknowledged before it was read, and nothing that began later."""
    done = history.acknowledged()
    next_done, latest, who = 0, -1, ""  # of what was acknowledged by then, the one that was first seen last
    for number, snapshot in sorted(enumerate(history.snapshots), key=lambda numbered: numbered[1].began):
        while next_done < len(done) and (done[next_done].ended or 0.0) < snapshot.began:
            for place in done[next_done].files:
                if history.first.get(place, -1) > latest:  # what is never there, is told elsewhere
                    latest, who = history.first[place], f"{_shown(place)} ({done[next_done].id})"
            next_done += 1
        if latest > number:
            yield f"{who} was acknowledged before revision {snapshot.revision} was read, which lacks it"
    for place, number in history.first.items():
        maker = history.maker(place)
        if maker is not None and maker.began > history.snapshots[number].ended:
            yield f"{_shown(place)}: read in revision {history.snapshots[number].revision} before {maker.id} began"


def _revisions(commits: Sequence[Commit], snapshots: Sequence[Snapshot]) -> Iterator[str]:
    """4: each revision is one commit's."""
    for revision, count in Counter(commit.revision for commit in commits).items():
        if count > 1:
            yield f"{count} commits were told revision {revision}"
    added = {commit.revision: commit.added for commit in commits}
    if added and max(added) > snapshots[-1].revision:
        yield f"a commit was told revision {max(added)}, and the document ends with {snapshots[-1].revision}"
    first = Snapshot(revision=0, versions=(), began=0.0, ended=0.0)
    for before, snapshot in pairwise((first, *snapshots)):
        if snapshot.revision == before.revision:
            continue
        between = range(before.revision + 1, snapshot.revision + 1)
        grown = len(snapshot.versions) - len(before.versions)
        span = f"between the revisions {before.revision} and {snapshot.revision}"
        if len(between) > grown:
            yield f"{span} {grown} versions were added: a revision was left out"
        if all(revision in added for revision in between):
            told = sum(added[revision] for revision in between)
            if told != grown:
                yield f"{span} {grown} versions were added, and the commits were told {told}"


def _at_its_revision(history: _History) -> Iterator[str]:
    """4: a commit's files are there from its revision on."""
    for place, number in history.first.items():
        maker = history.maker(place)
        if maker is None or maker.revision is None:
            continue
        before = history.snapshots[number - 1].revision if number else 0
        if not before < maker.revision <= history.snapshots[number].revision:
            yield (
                f"{_shown(place)}: committed in revision {maker.revision}, and first seen "
                f"between {before} and {history.snapshots[number].revision}"
            )


def _order(history: _History) -> Iterator[str]:
    """5: nothing that was acknowledged before a call began has a place after what that call made.

    Walk the makers in the order of their beginnings, and beside them the acknowledged in the order of their ends: the
    highest place among those that had ended by then is what a maker must not be below.
    """
    done = history.acknowledged()
    makers = sorted(
        ((maker, place) for place in history.by_place if (maker := history.maker(place)) is not None),
        key=lambda made: made[0].began,
    )
    number = _Highest()
    revision = _Highest()
    ended = 0
    for maker, place in makers:
        while ended < len(done) and (done[ended].ended or 0.0) < maker.began:
            for earlier in done[ended].files:
                if earlier in history.by_place:
                    number.raise_to(earlier[:2], history.by_place[earlier].version, earlier)
                    revision.raise_to((), history.bounds(earlier)[0], earlier)
            ended += 1
        if maker.end is not End.ACKNOWLEDGED:  # of two that were, the judge has told
            yield from number.above(place[:2], history.by_place[place].version, place, "version")
        yield from revision.above((), history.bounds(place)[1], place, "revision")


class _Highest:
    """The highest place so far, of each kind of order."""

    def __init__(self) -> None:
        self._highest: dict[tuple[str, ...], tuple[int, Place]] = {}

    def raise_to(self, kind: tuple[str, ...], height: int, place: Place) -> None:
        """Note a place."""
        if kind not in self._highest or height > self._highest[kind][0]:
            self._highest[kind] = height, place

    def above(self, kind: tuple[str, ...], height: int, place: Place, what: str) -> Iterator[str]:
        """Say so where the highest is above this height."""
        highest, whose = self._highest.get(kind, (height, place))
        if highest > height:
            yield (
                f"{_shown(whose)}: acknowledged before {_shown(place)} began, "
                f"and after it by {what}: {highest} > {height}"
            )


def _shown(place: Place) -> str:
    return "/".join(place)
