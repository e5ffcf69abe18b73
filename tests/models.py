"""Plain models of what the trackers promise: JSON, changed in place, in the slowest and most obvious way.

They share no code with the library but the names of its errors and its values, so that whoever doubts them can read
them. What befalls the requests of a call is left to the simulation: here a call begins and ends before the next.
"""

import json
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any, Final, TypeAlias

from cf_data_tracker.errors import DocumentError, DocumentVanishedError, NotTrackedError
from cf_data_tracker.model import CleanRecord, FileVersion, NewFile, Recording

Plain: TypeAlias = dict[str, Any]

ANY_ID: Final = "whatever identity the tracker gave to number "

DESCRIBED: Final = ("file_size", "s3_location", "timestamp", "fyear", "upload_date", "checksum", "recorded_by", "etag")


def stored_form(document: object) -> bytes:
    """Return the bytes that a document is stored as."""
    return json.dumps(document, separators=(",", ":")).encode("ascii")


@dataclass(kw_only=True)
class Shelf:
    """What stands under one key: nothing, bytes that are no document, or a document; and who saw which one there.

    Attributes:
        key: The key.
        body: The bytes.
        sound: Whether they are a document.
        seen: By worker, the document that it saw last.
    """

    key: str
    body: bytes | None = None
    sound: bool = True
    seen: dict[int, Any] = field(default_factory=dict)

    @property
    def there(self) -> bool:
        """Whether a document is there."""
        return self.body is not None and self.sound

    def document(self) -> Any:  # noqa: ANN401 - any JSON value
        """Return the document, to be changed at will."""
        assert self.body is not None
        assert self.sound
        return json.loads(self.body)

    def look(self, worker: int) -> Any:  # noqa: ANN401 - any JSON value
        """Return the document that a worker finds there, to be changed at will, or `None`."""
        if self.body is None and worker in self.seen:
            raise DocumentVanishedError
        if self.body is None:
            return None
        if not self.sound:
            raise DocumentError("", "rubbish")
        self.seen[worker] = self.document()
        return self.document()

    def write(self, worker: int, document: Plain) -> None:
        """Put what a worker has made of it."""
        self.body, self.seen[worker] = stored_form(document), document


# A raw document


def name_of(table: Plain) -> str:
    """Return the name of a table's entry."""
    name: str = table["name"] if "name" in table else table["table_name"]
    return name


def tables_in(document: Plain | None, schema: str) -> list[Plain]:
    """Return the entries of a schema's tables."""
    schemas = document["tables"] if document is not None else []
    return [table for entry in schemas if entry["schema_name"] == schema for table in entry["tables"]]


def versions_in(
    document: Plain | None, schema: str, table: str | None = None, file_name: str | None = None
) -> list[Plain]:
    """Return the versions of a schema, a table or a file name, as the tracker describes them, in the stored order."""
    return [
        {"schema": schema, "table": name_of(entry), "file_name": files["file_name"]}
        | {"version": version["version"], "file": version["file"]}
        | {name: version.get(name) for name in DESCRIBED}
        for entry in tables_in(document, schema)
        for files in entry["files"]
        for version in files["versions"]
        if table in (None, name_of(entry)) and file_name in (None, files["file_name"])
    ]


def _begun(document: Plain, new: NewFile) -> Plain:
    """Return the entry of a file name that the document has not, which is put there."""
    if new.schema not in [entry["schema_name"] for entry in document["tables"]]:
        document["tables"].append({"schema_name": new.schema, "tables": []})
    (schema,) = [entry for entry in document["tables"] if entry["schema_name"] == new.schema]
    if new.table not in map(name_of, schema["tables"]):
        schema["tables"].append({"name": new.table, "files": []})
    table = next(entry for entry in schema["tables"] if name_of(entry) == new.table)
    table["files"].append({"file_name": new.file_name, "current_version": 0, "versions": []})
    entry: Plain = table["files"][-1]
    return entry


def _entries_of(document: Plain, new: NewFile) -> list[Plain]:
    """Return the entries of a file name: one, or more where others have been at the document."""
    named = [entry for entry in tables_in(document, new.schema) if name_of(entry) == new.table]
    return [files for entry in named for files in entry["files"] if files["file_name"] == new.file_name]


def _put_down(document: Plain, new: NewFile, recorded_by: str) -> Plain:
    """Put one file into the document, and return what a worker is told of it."""
    number, created = _numbered(document, new, recorded_by)
    versions = [version for entry in _entries_of(document, new) for version in entry["versions"]]
    (_, own) = max((one["version"], place) for place, one in enumerate(versions) if one["file"] == new.file)
    alike = [one for one in versions if one.get("checksum") == versions[own].get("checksum")]
    first = min(reversed(alike), key=lambda one: one["version"])
    twin = first["version"] if isinstance(first.get("checksum"), str) and first["file"] != new.file else None
    named = {"schema": new.schema, "table": new.table, "file_name": new.file_name, "file": new.file}
    size = versions[own].get("file_size")
    same = type(size) is not int or size == new.file_size or new.checksum == versions[own].get("checksum") is not None
    other = {"other_content": None if same else size}  # the model's workers give one checksum, or none
    return {**named, "version": number, "created": created, "same_content_as": twin, **other}


def _numbered(document: Plain, new: NewFile, recorded_by: str) -> tuple[int, bool]:
    """Put one file into the document, and return its number, and whether that is of this recording."""
    entries = _entries_of(document, new)
    versions = [version for entry in entries for version in entry["versions"]]
    same = sorted((version for version in versions if version["file"] == new.file), key=lambda one: one["version"])
    if same:
        return same[-1]["version"], same[-1].get("recorded_by") == recorded_by
    given = [one["version"] for one in versions] + [entry["current_version"] for entry in entries]
    number = max(given, default=0) + 1
    entry = entries[-1] if entries else _begun(document, new)
    entry["current_version"] = number
    entry["versions"].append(_version(new, number, recorded_by))
    return number, True


def _version(new: NewFile, number: int, recorded_by: str) -> Plain:
    names = ("timestamp", "file_size", "file", "s3_location", "fyear", "upload_date")
    described = {name: getattr(new, name) for name in names}
    known = {name: getattr(new, name) for name in ("checksum", "etag") if getattr(new, name) is not None}
    return {"version": number, **described, "recorded_by": recorded_by, **known}


class RawModel:
    """What is recorded of some schemas, each on a shelf of its own."""

    def __init__(self, shelves: dict[str, Shelf]) -> None:
        self._shelves = shelves

    def record(self, worker: int, files: Sequence[NewFile]) -> list[Plain]:
        """Record files under identities that only the tracker knows."""
        return self.commit(
            worker, [Recording(new=new, recorded_by=f"{ANY_ID}{place}") for place, new in enumerate(files)]
        )

    def commit(self, worker: int, recordings: Sequence[Recording]) -> list[Plain]:
        """Record files, schema after schema, in one step each; what a schema's shelf raises ends it there."""
        answers: dict[int, Plain] = {}
        for schema in dict.fromkeys(one.new.schema for one in recordings):
            shelf = self._shelves[schema]
            document = shelf.look(worker) or {"tables": []}
            before = deepcopy(document)
            for place, one in enumerate(recordings):
                if one.new.schema == schema:
                    answers[place] = _put_down(document, one.new, one.recorded_by)
            if document != before:
                shelf.write(worker, {**document, "revision": document.get("revision", 0) + 1})
        return [answers[place] for place in range(len(recordings))]

    def document(self, worker: int, schema: str) -> Plain | None:
        """Return the document."""
        document: Plain | None = self._shelves[schema].look(worker)
        return document

    def exists(self, worker: int, schema: str, table: str, file_name: str, file: str) -> bool:
        """Return whether a file name has a file."""
        found = versions_in(self.document(worker, schema), schema, table, file_name)
        return file in [version["file"] for version in found]

    def latest(self, worker: int, schema: str, table: str, file_name: str) -> Plain | None:
        """Return the first version with the highest number."""
        found = versions_in(self.document(worker, schema), schema, table, file_name)
        highest = max((version["version"] for version in found), default=0)
        return next((version for version in found if version["version"] == highest), None)

    def history(self, worker: int, schema: str, table: str, file_name: str | None = None) -> list[Plain]:
        """Return all versions: file names in the stored order, and of each the lower numbers first."""
        found = versions_in(self.document(worker, schema), schema, table, file_name)
        names = [version["file_name"] for version in found]
        return sorted(found, key=lambda version: (names.index(version["file_name"]), version["version"]))

    def tables(self, worker: int, schema: str) -> list[str]:
        """Return the names of the tables."""
        return list(dict.fromkeys(map(name_of, tables_in(self.document(worker, schema), schema))))

    def sound(self, worker: int, schema: str) -> bool:
        """Return whether numbers are unique, current versions the highest, and no recording is there twice."""
        document = self.document(worker, schema)
        found = versions_in(document, schema)
        numbers = [(version["table"], version["file_name"], version["version"]) for version in found]
        ids = [version["recorded_by"] for version in found if version["recorded_by"] is not None]
        entries = [files for table in tables_in(document, schema) for files in table["files"]]
        highest = [max((version["version"] for version in entry["versions"]), default=0) for entry in entries]
        schemas = [entry["schema_name"] for entry in document["tables"]] if document is not None else []
        return (
            len(set(numbers)) == len(numbers)
            and len(set(ids)) == len(ids)
            and highest == [entry["current_version"] for entry in entries]
            and (not schemas or schema in schemas)
        )


# A clean document


def _carried_over(document: Plain, older: Plain) -> None:
    """Put into a clean document what the older one has newer, or alone."""
    for file_name, record in older["tables"].items():
        info = record["file_info"]
        own = document["tables"].setdefault(info["table_name"], {})
        if file_name not in own or own[file_name]["file_info"]["version"] < info["version"]:
            own[file_name] = {**record, "clean_files": record.get("clean_files", info.get("parquet_files"))}


class CleanModel:
    """What is recorded as clean of one schema, the raw document that it is compared with, and the older document."""

    def __init__(self, schema: str, raw: Shelf, clean: Shelf, older: Shelf) -> None:
        self._schema = schema
        self._raw, self._clean, self._older = raw, clean, older

    def document(self, worker: int) -> Plain | None:
        """Return the clean document, with the older one's records."""
        document: Plain | None = self._clean.look(worker)
        if document is not None and "carried_over" in document:
            return document
        try:
            older = self._older.look(worker)
        except DocumentVanishedError:
            if document is None:
                raise
            return document  # whoever removed the older one has the other to go by
        if older is None:
            return document
        document = document or {"schema_name": self._schema, "tables": {}}
        _carried_over(document, older[0])
        return {**document, "carried_over": True}

    def pending(self, worker: int) -> list[Plain]:
        """Return the newest version of each file name, if there is no record of it or of a newer one."""
        raw = self._raw.look(worker)
        if raw is None:
            raise NotTrackedError
        document = self.document(worker)
        found = versions_in(raw, self._schema)
        newest = [max(of(found, one), key=lambda version: version["version"]) for one in found]
        each = [version for place, version in enumerate(newest) if version not in newest[:place]]
        return [version for version in each if version["version"] > _known(document, version)]

    def commit(self, worker: int, records: Sequence[CleanRecord]) -> list[Plain]:
        """Record what was made of versions, in one step."""
        document = self.document(worker) or {"schema_name": self._schema, "tables": {}}
        before = deepcopy(document)
        answers = [_recorded(document, record) for record in records]
        if document != before:
            document = {**document, "revision": document.get("revision", 0) + 1, "carried_over": True}
            self._clean.write(worker, document)
        return answers


def of(versions: Iterable[Plain], one: Plain) -> list[Plain]:
    """Return those of the same file name."""
    return [two for two in versions if (two["table"], two["file_name"]) == (one["table"], one["file_name"])]


def _known(document: Plain | None, version: Plain) -> int:
    records = document["tables"].get(version["table"], {}) if document is not None else {}
    number: int = records[version["file_name"]]["file_info"]["version"] if version["file_name"] in records else -1
    return number


def _recorded(document: Plain, record: CleanRecord) -> Plain:
    """Put one record into the document, if it is newer, and return what the document says then."""
    raw = record.raw
    if _known(document, asdict(raw)) < raw.version:
        _outdate(document, record)
        info = _info(raw, record)
        document["tables"].setdefault(raw.table, {})[raw.file_name] = {
            "file_info": info,
            "clean_files": list(record.clean_files),
        }
    info = document["tables"][raw.table][raw.file_name]["file_info"]
    named = {"schema": raw.schema, "table": raw.table, "file_name": raw.file_name}
    return {**named, "version": info["version"], "created": info.get("recorded_by") == record.recorded_by}


def _outdate(document: Plain, record: CleanRecord) -> None:
    """List the clean files that a record does without, and no longer those that it has."""
    replaced = document["tables"].get(record.raw.table, {}).get(record.raw.file_name, {"clean_files": []})
    outdated = {file: at for file, at in document.get("outdated", {}).items() if file not in record.clean_files}
    for file in replaced["clean_files"] if record.at is not None else ():
        if isinstance(file, str) and file not in record.clean_files:
            outdated[file] = record.at
    document["outdated"] = outdated
    if not outdated:
        del document["outdated"]


def _info(raw: FileVersion, record: CleanRecord) -> Plain:
    described = {name: getattr(raw, name) for name in ("file_size", "s3_location", "fyear", "upload_date")}
    named = {"raw_file": raw.file, "version": raw.version, "timestamp": record.timestamp}
    return {**named, **described, "recorded_by": record.recorded_by}


# What only the tracker knows


def with_identities(expected: Any, found: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the expected value with the identities found in place of those that nobody could know."""
    if str(expected).startswith(ANY_ID) and isinstance(found, str) and found:
        return found
    if isinstance(expected, dict) and isinstance(found, dict):
        return {key: with_identities(value, found.get(key)) for key, value in expected.items()}
    if isinstance(expected, list) and isinstance(found, list):
        pairs = zip(expected, [*found, *[None] * len(expected)], strict=False)
        return [with_identities(one, other) for one, other in pairs]
    return expected
