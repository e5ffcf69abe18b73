"""The version rules.

1. A new file name starts at version 1. A new file in a known file name gets the highest number so far + 1.
   `current_version` is the last one given.
2. A file that its file name already has is not added again: recording is idempotent, and says so (`created=False`).
3. Nothing but the named file name changes. Nothing is ever removed. Unknown fields survive.
4. Versions of one file name are in commit order: if recording A was acknowledged before B began, A < B.

A file is known by its name, not by its bytes. Where the bytes, too, are those of a version of the file name, that is
told; a recording may ask not to be added then. This holds by the document alone, so it is idempotent as well. A known
file that is recorded with other content stays as it is, and the outcome gives the content that is recorded.

Document in, document out: arguments are never changed, and what a recording does not touch is shared with the
result, not copied. Recording many is a fold of recording one, done in one pass: each file name that is named is
looked through once, whatever the number of recordings, so a batch costs what it adds.

A table may stand in a document twice, once under either key, and a file name in both. Such places are read as one;
what is new goes to the last place that has the file name, or else to the first that has the table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cf_data_tracker.document import Document, table_name_of, tables_of
from cf_data_tracker.model import NewFile, Recorded, Recording

_FileName = tuple[str, str]  # table, file name

HEXADECIMAL: Final = frozenset("0123456789abcdefABCDEF")
BARE: Final = {32: "md5", 64: "sha256"}
"""The algorithm of a digest in hexadecimal that does not name it, by its number of digits."""


def record(
    document: Document | None, schema: str, recordings: Sequence[Recording]
) -> tuple[Document | None, tuple[Recorded, ...]]:
    """Return the document with the recordings in it, and what became of each, in the order given.

    The very same document comes back when all of them are in it already: that is how "do not write" is said.

    Args:
        document: The document of `schema`; `None` where there is none yet.
        schema: The data source. All recordings are for it.
        recordings: What to add, in order.
    """
    grown, outcomes = _fold(tables_of(document, schema), recordings)
    if not any(file_name.added for file_name in grown.values()):
        return document, outcomes
    return _with_tables(document, schema, _with_added(tables_of(document, schema), grown)), outcomes


@dataclass(slots=True)
class _Grown:
    """One file name while recordings are folded into it; local to one call of `record`."""

    known: dict[str, Document]  # by file, its newest version
    contents: dict[str, Document]  # by checksum, the first version that has it
    last: int
    place: tuple[int, int] | None  # the numbers of the table entry and the file entry that take what is new
    added: list[Document]

    def take(self, recording: Recording) -> Recorded:
        entry = self.known.get(recording.new.file)
        twin = self.contents.get(recording.new.checksum) if recording.new.checksum else None
        if entry is None and twin is not None and recording.new.on_same_content != "record":
            return replace(_recorded(recording, twin), created=False, same_content_as=twin["version"])
        if entry is None:
            self.last += 1
            entry = _entry(recording, self.last)
            self.known[recording.new.file] = entry
            self.added.append(entry)
            self.see(entry)
        return replace(
            _recorded(recording, entry),
            same_content_as=self._first_like(entry),
            other_content=_other_content(recording.new, entry),
        )

    def see(self, entry: Document) -> None:
        """Note what an entry's content is; in documents of others its checksum may be anything."""
        checksum = entry.get("checksum")
        if isinstance(checksum, str) and entry["version"] <= self.contents.get(checksum, entry)["version"]:
            self.contents[checksum] = entry

    def _first_like(self, entry: Document) -> int | None:
        """Return the first version with the content of an entry, if that is another file."""
        checksum = entry.get("checksum")
        first = self.contents.get(checksum) if isinstance(checksum, str) else None
        return first["version"] if first is not None and first["file"] != entry["file"] else None


def _fold(
    tables: Sequence[Document], recordings: Sequence[Recording]
) -> tuple[dict[_FileName, _Grown], tuple[Recorded, ...]]:
    named = dict.fromkeys((recording.new.table, recording.new.file_name) for recording in recordings)
    grown = {key: _Grown(known={}, contents={}, last=0, place=None, added=[]) for key in named}
    for place, key, file_entry in _places(tables, named):
        _look_through(grown[key], place, file_entry)
    outcomes = (grown[recording.new.table, recording.new.file_name].take(recording) for recording in recordings)
    return grown, tuple(outcomes)


def _places(
    tables: Sequence[Document], named: Iterable[_FileName]
) -> Iterable[tuple[tuple[int, int], _FileName, Document]]:
    wanted, wanted_tables = set(named), {table for table, _ in named}
    for table_number, table_entry in enumerate(tables):
        table = table_name_of(table_entry)
        if table in wanted_tables:
            for number, file_entry in enumerate(table_entry["files"]):
                key = (table, file_entry["file_name"])
                if key in wanted:
                    yield (table_number, number), key, file_entry


def _look_through(grown: _Grown, place: tuple[int, int], file_entry: Document) -> None:
    grown.place = place
    grown.last = max(grown.last, file_entry["current_version"])  # a number once given is not given again
    for entry in file_entry["versions"]:
        grown.last = max(grown.last, entry["version"])
        if entry["version"] >= grown.known.get(entry["file"], entry)["version"]:
            grown.known[entry["file"]] = entry
        grown.see(entry)


def _with_added(tables: Sequence[Document], grown: dict[_FileName, _Grown]) -> list[Document]:
    result = list(tables)
    first = {table_name_of(entry): number for number, entry in reversed(list(enumerate(tables)))}
    own: dict[int, list[Document]] = {}  # by the number of the table entry, its list of file entries, ours to change
    for (table, file_name), state in grown.items():
        if state.added:
            number = state.place[0] if state.place else first.setdefault(table, len(result))
            if number == len(result):
                result.append({"name": table, "files": []})
            files = own.setdefault(number, list(result[number]["files"]))
            _put(files, file_name, state)
    for number, files in own.items():
        result[number] = {**result[number], "files": files}
    return result


def _put(files: list[Document], file_name: str, state: _Grown) -> None:
    if state.place is None:
        files.append({"file_name": file_name, "current_version": state.last, "versions": state.added})
    else:
        entry = files[state.place[1]]
        versions = [*entry["versions"], *state.added]
        files[state.place[1]] = {**entry, "current_version": state.last, "versions": versions}


def _with_tables(document: Document | None, schema: str, tables: list[Document]) -> Document:
    document = document if document is not None else {"tables": []}
    entries = document["tables"]
    if any(entry["schema_name"] == schema for entry in entries):
        entries = [{**entry, "tables": tables} if entry["schema_name"] == schema else entry for entry in entries]
    else:
        entries = [*entries, {"schema_name": schema, "tables": tables}]
    return {**document, "tables": entries, "revision": document.get("revision", 0) + 1}


def _entry(recording: Recording, version: int) -> Document:
    new = recording.new
    entry: dict[str, Any] = {
        "version": version,
        "timestamp": new.timestamp,
        "file_size": new.file_size,
        "file": new.file,
        "s3_location": new.s3_location,
        "fyear": new.fyear,
        "upload_date": new.upload_date,
        "recorded_by": recording.recorded_by,
    }
    known = {"checksum": new.checksum, "etag": new.etag}
    return entry | {name: value for name, value in known.items() if value is not None}


def _other_content(new: NewFile, entry: Document) -> str | int | None:
    """Return the checksum, or else the size, by which an entry has other content than a file with the same name."""
    checksum, size = entry.get("checksum"), entry.get("file_size")
    mine, recorded = _digest(new.checksum), _digest(checksum)
    if mine is not None and recorded is not None and mine[:2] == recorded[:2]:
        return checksum if mine != recorded else None
    return size if type(size) is int and size != new.file_size else None


def _digest(checksum: object) -> tuple[str, tuple[int, bool], str] | None:
    """Return a checksum's algorithm, the form of its digest, and the digest; `None` where the algorithm is not known.

    Only digests of one algorithm and one form can be compared: a SHA-256 is written in hexadecimal or in Base64.
    """
    if not isinstance(checksum, str):
        return None
    name, _, digest = checksum.rpartition(":")
    hexadecimal = HEXADECIMAL.issuperset(digest)
    algorithm = name.lower().replace("-", "") or (BARE.get(len(digest)) if hexadecimal else None)
    return (algorithm, (len(digest), hexadecimal), digest.lower() if hexadecimal else digest) if algorithm else None


def _recorded(recording: Recording, entry: Document) -> Recorded:
    new: NewFile = recording.new
    return Recorded(
        schema=new.schema,
        table=new.table,
        file_name=new.file_name,
        file=new.file,
        version=entry["version"],
        created=entry.get("recorded_by") == recording.recorded_by,
    )
