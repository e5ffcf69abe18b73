"""The two kinds of document, raw and clean, as a simulation needs them: how to record, and what stands there."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document
from cf_data_tracker.engine.combine import RecordSpec
from cf_data_tracker.model import CleanRecord, Recording
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import raw_record_spec
from strategies import SCHEMA, clean_record, file_version, recording

R = TypeVar("R", Recording, CleanRecord)

BODIES: Final = 1 << 14
"""Bodies that are remembered: runs of one plan write the same ones over and over."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a document says of one file."""

    file_name: str
    version: int
    file: str
    recorded_by: str | None


class Came(Protocol):
    """What came of a recording, raw or clean."""

    @property
    def file_name(self) -> str: ...  # noqa: D102 - as in `Recorded`
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def created(self) -> bool: ...  # noqa: D102


class Book(Protocol[R]):
    """A document of one kind: how to record in it, and how to read it."""

    ledger: RecordSpec[R, Any]
    replaces: bool  # whether a newer line takes the place of an older one

    def recording(self, file: str, recorded_by: str) -> R:
        """Return a recording of a file, as a plan names it."""

    def lines(self, body: bytes) -> tuple[Line, ...]:
        """Return what a document says, in the order in which it says it."""

    def one_by_one(self, document: Document | None, recordings: Sequence[R]) -> Document | None:
        """Return the document with recordings in it that were put there one by one."""

    def is_lawful(self, before: Sequence[Line], after: Sequence[Line]) -> bool:
        """Return whether a commit may make one of the other."""

    def is_answered(self, recording: R, line: Line) -> bool:
        """Return whether a line is one that a worker may be told of for a recording."""


class RawBook:
    """The raw document."""

    replaces = False

    def __init__(self) -> None:
        self.ledger = RAW

    def recording(self, file: str, recorded_by: str) -> Recording:
        """Return a recording of a file."""
        return _raw_recording(file, recorded_by)

    def lines(self, body: bytes) -> tuple[Line, ...]:
        """Return its versions."""
        return _versions_in(body)

    def one_by_one(self, document: Document | None, recordings: Sequence[Recording]) -> Document | None:
        """Return the document with recordings in it, each put there by itself."""
        for one in recordings:
            document, _ = self.ledger.record(document, [one])
        return document

    def is_lawful(self, before: Sequence[Line], after: Sequence[Line]) -> bool:
        """Return whether something came, nothing went, numbers are dense, and neither file nor recording is twice."""
        numbers: dict[str, list[int]] = {}
        for line in after:
            numbers.setdefault(line.file_name, []).append(line.version)
        return (
            set(before) < set(after)
            and all(sorted(each) == list(range(1, len(each) + 1)) for each in numbers.values())
            and len(after) == len({(line.file_name, line.file) for line in after})
            and len(after) == len({line.recorded_by for line in after})
        )

    def is_answered(self, recording: Recording, line: Line) -> bool:
        """Return whether it is the line of the file."""
        return (line.file_name, line.file) == (recording.new.file_name, recording.new.file)


class CleanBook:
    """The clean document."""

    replaces = True

    def __init__(self, store: MemoryStore) -> None:
        connection = Connection(Access(bucket="clean"), store=store)
        self.ledger = CleanTracker.over(connection, connection)._ledger(SCHEMA)  # noqa: SLF001 - what it hands to the combiner

    def recording(self, file: str, recorded_by: str) -> CleanRecord:
        """Return a record of a version of a file name."""
        file_name, _, version = file.partition("/")
        made = clean_record(file_version(int(version.rstrip("+")), file_name=file_name), recorded_by)
        return replace(made, clean_files=(incompressible(recorded_by),)) if version.endswith("+") else made

    def lines(self, body: bytes) -> tuple[Line, ...]:
        """Return its records."""
        return _records_in(body)

    def one_by_one(self, document: Document | None, recordings: Sequence[CleanRecord]) -> Document | None:
        """Return the document with records in it, each put there by itself."""
        for one in recordings:
            document, _ = self.ledger.record(document, [one])
        return document

    def is_lawful(self, before: Sequence[Line], after: Sequence[Line]) -> bool:
        """Return whether something came, and what is another one is a newer one."""
        now = {line.file_name: line for line in after}
        kept = all(was == now[was.file_name] or was.version < now[was.file_name].version for was in before)
        return kept and set(before) != set(after) and len(after) == len({line.recorded_by for line in after})

    def is_answered(self, recording: CleanRecord, line: Line) -> bool:
        """Return whether it is of the version of the file name, or of a newer one."""
        return line.file_name == recording.raw.file_name and line.version >= recording.raw.version


RAW: Final = raw_record_spec(SCHEMA)


@lru_cache(BODIES)
def _raw_recording(file: str, recorded_by: str) -> Recording:
    file_name, _, name = file.partition("/")
    made = recording(name.rstrip("+"), file_name=file_name, recorded_by=recorded_by)
    large = replace(made.new, s3_location=incompressible(recorded_by)) if name.endswith("+") else made.new
    return replace(made, new=large)


@lru_cache(BODIES)
def _versions_in(body: bytes) -> tuple[Line, ...]:
    return tuple(
        Line(file_entry["file_name"], entry["version"], entry["file"], entry["recorded_by"])
        for schema in json.loads(body)["tables"]
        for table in schema["tables"]
        for file_entry in table["files"]
        for entry in file_entry["versions"]
    )


@lru_cache(BODIES)
def _records_in(body: bytes) -> tuple[Line, ...]:
    records: dict[str, Any] = json.loads(body)["tables"]["births"]
    infos = {file_name: entry["file_info"] for file_name, entry in records.items()}
    return tuple(Line(name, info["version"], info["raw_file"], info["recorded_by"]) for name, info in infos.items())


@lru_cache(BODIES)
def the_same(body: bytes) -> bytes:
    """Return the first body that was equal to this one, so that however many there are, one is kept."""
    return body


@lru_cache(BODIES)
def incompressible(seed: str) -> str:
    """Return a text that is too long for an inbox key, however it is written there."""
    return "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=1800))
