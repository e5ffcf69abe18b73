"""The judge: what workers were told, against what the document holds.

1. Every acknowledged recording is in the document exactly once, under its acknowledged number.
2. The numbers of each file name are dense: 1, 2, 3 ...
3. Of the recordings of one file, exactly one was told that it created the version. (None may have been, if one of
   them was killed or never learned its outcome: then it may be the creator. Nor may any where a cluster may have run a
   worker's job again: then the creator may be the first of the two.)
4. Real-time order: a recording that was acknowledged before another began has the lower number. Only recordings made
   on the same machine are compared: two machines share no clock that could tell which of them was first.

Pure, and linear in the number of recordings but for the sorting.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cf_data_tracker.model import FileVersion

FileName = tuple[str, str]  # table, file name


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledged:
    """A recording that a worker was told is done.

    Attributes:
        worker: The worker's number.
        table: The table.
        file_name: The file name.
        file: The file.
        version: The number that the worker was told.
        created: Whether it was told that it created the version.
        began: When the call began, in seconds of a clock that all workers on the same host share.
        ended: When it returned.
        host: The machine that it was made on, by a name that lasts until it is started anew.
    """

    worker: int
    table: str
    file_name: str
    file: str
    version: int
    created: bool
    began: float
    ended: float
    host: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the judge found.

    Attributes:
        lost: Acknowledged files that the document does not hold.
        duplicated: Files that it holds more than once.
        violations: All that is wrong, one sentence each.
    """

    lost: int
    duplicated: int
    violations: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations


def judge(
    acknowledged: Sequence[Acknowledged], versions: Sequence[FileVersion], uncertain: frozenset[str] = frozenset()
) -> Verdict:
    """Return the verdict.

    Args:
        acknowledged: What the workers were told.
        versions: What the document holds.
        uncertain: Files of which a recording may have ended without an acknowledgement (killed, or outcome unknown).
    """
    there = Counter((version.table, version.file_name, version.file) for version in versions)
    told = {(done.table, done.file_name, done.file) for done in acknowledged}
    violations = (
        *_acknowledged_once(acknowledged, versions, there),
        *_dense(versions),
        *_one_creator(acknowledged, uncertain),
        *_real_time_order(acknowledged),
    )
    return Verdict(
        lost=sum(file not in there for file in told),
        duplicated=sum(count > 1 for count in there.values()),
        violations=violations,
    )


def _acknowledged_once(
    acknowledged: Iterable[Acknowledged], versions: Iterable[FileVersion], there: Counter[tuple[str, str, str]]
) -> Iterator[str]:
    numbered = {(version.table, version.file_name, version.file, version.version) for version in versions}
    for done in acknowledged:
        count = there[done.table, done.file_name, done.file]
        if count != 1:
            yield f"{_place(done)}: acknowledged as version {done.version}, there {count} times"
        elif (done.table, done.file_name, done.file, done.version) not in numbered:
            yield f"{_place(done)}: acknowledged as version {done.version}, there under another number"


def _dense(versions: Iterable[FileVersion]) -> Iterator[str]:
    numbers: defaultdict[FileName, list[int]] = defaultdict(list)
    for version in versions:
        numbers[version.table, version.file_name].append(version.version)
    for (table, file_name), found in numbers.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield f"{table}/{file_name}: the numbers of its {len(found)} versions are not 1 to {len(found)}"


def _one_creator(acknowledged: Iterable[Acknowledged], uncertain: frozenset[str]) -> Iterator[str]:
    creators: Counter[str] = Counter()
    for done in acknowledged:
        creators[done.file] += done.created
    for file, count in creators.items():
        if count > 1 or (count == 0 and file not in uncertain):
            yield f"{file}: {count} recordings were told that they created it"


def _real_time_order(acknowledged: Iterable[Acknowledged]) -> Iterator[str]:
    """Walk each file name by number: nobody may have ended before one with a lower number began, by the same clock.

    A recording that found its file there already is in order if it ended after the creator began.
    """
    by_clock: defaultdict[tuple[FileName, str], list[Acknowledged]] = defaultdict(list)
    for done in acknowledged:
        by_clock[(done.table, done.file_name), done.host].append(done)
    for recordings in by_clock.values():
        latest_begin: Acknowledged | None = None
        for done in sorted(recordings, key=lambda done: (done.version, not done.created)):
            if latest_begin is not None and done.ended < latest_begin.began:
                yield f"{_place(done)}: version {done.version} was acknowledged before {latest_begin.version} began"
            if done.created and (latest_begin is None or done.began > latest_begin.began):
                latest_begin = done


def _place(done: Acknowledged) -> str:
    return f"{done.table}/{done.file_name}/{done.file}"
