"""JSON text to document and back; where a bad one is wrong; unknown fields kept.

A document is the plain dictionary that `json` makes of the stored text: what is not ours to judge stays in it and is
written back. Checked is what the rules rely on (containers, names, numbers); descriptive fields are carried as they
stand, since buckets of the earlier package hold what its callers passed. Which versions follow from a recording is
left to `rules`, and what a wrong document means to `engine`.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NoReturn, TypeAlias

from cf_data_tracker.errors import DocumentError
from cf_data_tracker.model import FileVersion
from cf_data_tracker.names import shortened

Document: TypeAlias = dict[str, Any]
"""A raw or clean document as plain data. Never changed in place."""

TABLE_KEYS: Final = ("name", "table_name")
"""Under either key documents in the wild name a table; releases of the earlier package took turns."""


def to_bytes(document: Document) -> bytes:
    """Return the stored form: compact ASCII, so that any text that JSON can escape survives the round trip.

    Raises:
        DocumentError: It holds what Python does not write: an integer of more than 4,300 digits, or lists too deep.
    """
    try:
        return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (ValueError, RecursionError) as error:
        raise DocumentError("", f"cannot be written: {error}") from None


def raw_document(body: bytes) -> Document:
    """Return the raw document that `body` holds.

    Raises:
        DocumentError: It is none; the error says where.
    """
    document = _mapping("", _parsed(body))
    _check_revision(document)
    schemas = _list_in(document, "tables", "")
    seen: set[str] = set()
    for number, schema in enumerate(schemas):
        where = f"tables[{number}]"
        name = _text_in(_mapping(where, schema), "schema_name", where)
        if name in seen:
            _wrong(f"{where}.schema_name", f"the schema {_shown(name)} stands here a second time")
        seen.add(name)
        _check_tables(_list_in(schema, "tables", where), where)
    return document


def clean_document(body: bytes) -> Document:
    """Return the clean document that `body` holds.

    Raises:
        DocumentError: It is none; the error says where.
    """
    document = _mapping("", _parsed(body))
    _check_revision(document)
    _text_in(document, "schema_name", "")
    for table, records in _mapping_in(document, "tables", "").items():
        here = f"tables.{_part(table)}"
        for file_name, record in _mapping(here, records).items():
            where = f"{here}.{_part(file_name)}"
            _check_number(_mapping_in(_mapping(where, record), "file_info", where), "version", f"{where}.file_info")
            _list_in(record, "clean_files", where)
    _check_claims(document)
    _check_outdated(document)
    return document


def older_clean_document(body: bytes) -> Document:
    """Return the one schema entry of the clean document that releases up to 0.3.11 of the earlier package wrote.

    Raises:
        DocumentError: It is none; the error says where.
    """
    entries = _parsed(body)
    if not isinstance(entries, list):
        _wrong("", f"expected a list of one schema, got {_shown(entries)}")
    if len(entries) != 1:
        _wrong("", f"expected a list of one schema, got one of {len(entries)}")
    entry = _mapping("[0]", entries[0])
    for file_name, record in _mapping_in(entry, "tables", "[0]").items():
        where = f"[0].tables.{_part(file_name)}"
        info = _mapping_in(_mapping(where, record), "file_info", where)
        _check_number(info, "version", f"{where}.file_info")
        _text_in(info, "table_name", f"{where}.file_info")
    return entry


def tables_of(document: Document | None, schema: str) -> list[Document]:
    """Return the table entries of a schema in a raw document, in its order; none where the schema is not in it."""
    entries = document["tables"] if document is not None else ()
    return next((entry["tables"] for entry in entries if entry["schema_name"] == schema), [])


def table_name_of(entry: Document) -> str:
    """Return the name of a table entry, whichever key it stands under."""
    name: str = entry["name"] if "name" in entry else entry["table_name"]
    return name


def versions_of(
    document: Document | None, schema: str, table: str | None = None, file_name: str | None = None
) -> Iterator[FileVersion]:
    """Yield the versions of a schema, or of one table or file name of it, in the document's order."""
    for table_entry in tables_of(document, schema):
        name = table_name_of(table_entry)
        for file_entry in table_entry["files"] if table in (None, name) else ():
            if file_name in (None, file_entry["file_name"]):
                for entry in file_entry["versions"]:
                    yield version_of(schema, name, file_entry["file_name"], entry)


def version_of(schema: str, table: str, file_name: str, entry: Document) -> FileVersion:
    """Return the version that an entry of a file name describes; what an older writer left out is `None`."""
    return FileVersion(
        schema=schema,
        table=table,
        file_name=file_name,
        file=entry["file"],
        version=entry["version"],
        file_size=entry.get("file_size"),
        s3_location=entry.get("s3_location"),
        timestamp=entry.get("timestamp"),
        fyear=entry.get("fyear"),
        upload_date=entry.get("upload_date"),
        checksum=entry.get("checksum"),
        recorded_by=entry.get("recorded_by"),
        etag=entry.get("etag"),
    )


def claim_in(document: Document | None, table: str, file_name: str) -> Document:
    """Return how a clean document has the claim on a file name: empty, where there never was one.

    `fence` is the number of the last one. `claimed_by`, `version` and `until` are there while somebody holds it, and
    `again` while that raw version is to be cleaned though it has a record. A claim that was made while clean files were
    outdated has `revision`, the revision of the commit that made it.
    """
    claims = document.get("claims", {}) if document is not None else {}
    found: Document = claims.get(table, {}).get(file_name, {})
    return found


def clean_files_in(document: Document | None) -> Iterator[str]:
    """Yield the clean files that the records of a clean document name; a record may be of an older writer."""
    for records in document["tables"].values() if document is not None else ():
        for entry in records.values():
            yield from (file for file in entry["clean_files"] if isinstance(file, str))


def outdated_in(document: Document | None) -> Document:
    """Return the outdated clean files of a clean document, each with the moment since when it is outdated."""
    found: Document = document.get("outdated", {}) if document is not None else {}
    return found


def seen_in(document: Document | None, file: str) -> Document | None:
    """Return which object stood at an outdated clean file when it was looked at; `None` if nobody noted it.

    `etag` and `modified` are there, `version` in a bucket that keeps versions, and `revision`, the revision of the
    commit that noted it.
    """
    found: dict[str, Document] = document.get("outdated_seen", {}) if document is not None else {}
    return found.get(file)


def raw_locations_in(document: Document | None) -> Iterator[str]:
    """Yield the locations of the raw versions that the records of a clean document rest on."""
    for records in document["tables"].values() if document is not None else ():
        for entry in records.values():
            if isinstance(entry["file_info"].get("s3_location"), str):
                yield entry["file_info"]["s3_location"]


def recorded_since(before: object, after: object) -> Iterator[str]:
    """Return the ids (`recorded_by`) of what a document has that an earlier one, which it was made of, had not.

    What the two share is not looked through, so it costs what was changed.
    """
    pairs = [(before, after)]
    while pairs:  # no recursion: an older document may be nested more deeply than Python calls
        was, now = pairs.pop()
        if was is now:
            continue
        if isinstance(now, dict):
            if isinstance(now.get("recorded_by"), str):
                yield now["recorded_by"]
            known = was if isinstance(was, dict) else {}
            pairs += [(known.get(key), value) for key, value in reversed(now.items())]
        elif isinstance(now, list):
            earlier = was if isinstance(was, list) else []
            pairs += reversed([*zip(earlier, now, strict=False), *((None, value) for value in now[len(earlier) :])])


def _check_claims(document: Document) -> None:
    for table, claims in _mapping_in(document, "claims", "").items() if "claims" in document else ():
        here = f"claims.{_part(table)}"
        for file_name, claim in _mapping(here, claims).items():
            _check_claim(claim, f"{here}.{_part(file_name)}")


def _check_outdated(document: Document) -> None:
    for clean_file, since in _mapping_in(document, "outdated", "").items() if "outdated" in document else ():
        if not isinstance(since, str):
            _wrong(f"outdated.{_part(clean_file)}", f"expected text, got {_shown(since)}")
    for clean_file, seen in _mapping_in(document, "outdated_seen", "").items() if "outdated_seen" in document else ():
        _check_seen(seen, f"outdated_seen.{_part(clean_file)}")


def _check_seen(seen: object, where: str) -> None:
    checked = _mapping(where, seen)
    _text_in(checked, "etag", where)
    if type(checked.get("modified")) not in (int, float):
        _wrong(_at(where, "modified"), f"expected a number, got {_found(checked, 'modified')}")
    if "version" in checked:
        _text_in(checked, "version", where)
    if "revision" in checked:
        _check_number(checked, "revision", where)


def _check_claim(claim: object, where: str) -> None:
    checked = _mapping(where, claim)
    _check_number(checked, "fence", where)
    if "again" in checked:
        _check_number(checked, "again", where)
    if "claimed_by" in checked:
        _check_number(checked, "version", where)
        _text_in(checked, "claimed_by", where)
        _text_in(checked, "until", where)
        if "revision" in checked:
            _check_number(checked, "revision", where)


def _check_tables(tables: list[Any], where: str) -> None:
    for number, table in enumerate(tables):
        here = f"{where}.tables[{number}]"
        _check_table_name(_mapping(here, table), here)
        for position, file_entry in enumerate(_list_in(table, "files", here)):
            _check_file_name(file_entry, f"{here}.files[{position}]")


def _check_table_name(table: Document, where: str) -> None:
    names = {_text_in(table, key, where) for key in TABLE_KEYS if key in table}
    if not names:
        _wrong(where, "expected the table's name under 'name' or 'table_name', got neither")
    if len(names) > 1:
        _wrong(where, "'name' and 'table_name' name two different tables")


def _check_file_name(entry: object, where: str) -> None:
    file_entry = _mapping(where, entry)
    _text_in(file_entry, "file_name", where)
    _check_number(file_entry, "current_version", where)
    for number, version in enumerate(_list_in(file_entry, "versions", where)):
        # The only check that runs once a version: paths are made for the bad one alone.
        if not (
            type(version) is dict
            and type(version.get("version")) is int
            and version["version"] >= 0
            and type(version.get("file")) is str
        ):
            _blame(version, f"{where}.versions[{number}]")


def _blame(version: object, where: str) -> NoReturn:
    entry = _mapping(where, version)
    _check_number(entry, "version", where)
    _text_in(entry, "file", where)
    raise AssertionError(where)  # pragma: no cover - one of the lines above has raised


def _parsed(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique_keys, parse_constant=_not_json, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise DocumentError("", f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise DocumentError("", f"not JSON: {error.msg}: line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise DocumentError("", "not a tracker document: nested too deeply") from None
    except ValueError:  # Python refuses to read integers of more than 4,300 digits
        raise DocumentError("", "not a tracker document: a number is too long") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> Document:
    # `json` would keep the last of two equal keys, and writing would then lose the first for good.
    entries = dict(pairs)
    if len(entries) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise DocumentError("", f"the key {_shown(twice)} stands twice in one object")
    return entries


def _not_json(constant: str) -> NoReturn:
    raise DocumentError("", f"not JSON: {constant}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise DocumentError("", f"not a tracker document: the number {_shown(text)} is out of range")
    return number


def _check_revision(document: Document) -> None:
    if "revision" in document:
        _check_number(document, "revision", "")


def _check_number(holder: Document, key: str, where: str) -> None:
    if type(holder.get(key)) is not int:  # neither a float nor a bool
        _wrong(_at(where, key), f"expected an integer, got {_found(holder, key)}")
    if holder[key] < 0:
        _wrong(_at(where, key), f"expected 0 or more, got {_found(holder, key)}")


def _text_in(holder: Document, key: str, where: str) -> str:
    value = holder.get(key)
    if not isinstance(value, str):
        _wrong(_at(where, key), f"expected text, got {_found(holder, key)}")
    return value


def _list_in(holder: Document, key: str, where: str) -> list[Any]:
    value = holder.get(key)
    if not isinstance(value, list):
        _wrong(_at(where, key), f"expected a list, got {_found(holder, key)}")
    return value


def _mapping_in(holder: Document, key: str, where: str) -> Document:
    if key not in holder:
        _wrong(_at(where, key), "expected an object, got nothing")
    return _mapping(_at(where, key), holder[key])


def _mapping(where: str, value: object) -> Document:
    if not isinstance(value, dict):
        _wrong(where, f"expected an object, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Return a short form of a JSON value, for error messages: a document may be huge, a message must not."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    return shortened(json.dumps(value))


def _found(holder: Document, key: str) -> str:
    return _shown(holder[key]) if key in holder else "nothing"


def _part(name: str) -> str:
    """Return a name as a part of a place: what a document has for a name may be long, or move a terminal's cursor."""
    return shortened(name if name.isprintable() else json.dumps(name))


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _wrong(where: str, problem: str) -> NoReturn:
    raise DocumentError(where, problem)
