"""The clean rules.

5. A record for raw version v replaces only an older one; a late worker never takes a newer record back.

Recording is idempotent, unknown fields of what is not replaced survive, and what is not touched is shared. The older
shape of the document, a list with file names at its top, is carried over, each record with every field it had.
"""

from collections.abc import Sequence
from typing import Any, Final

from cf_data_tracker.document import Document, versions_of
from cf_data_tracker.model import CleanRecord, CleanRecorded, FileVersion

CARRIED_OVER: Final = "carried_over"
"""A field of ours at the top of a clean document: the older document's records are in it, if it had any."""


def record(document: Document | None, new: CleanRecord) -> tuple[Document | None, CleanRecorded]:
    """Return the clean document with the record in it, and what became of it.

    The very same document comes back when it has a record for this raw version or a newer one.
    """
    raw = new.raw
    info = _info(document, raw.table, raw.file_name)
    if info is not None and info["version"] >= raw.version:
        return document, _recorded(raw, info, new.recorded_by)
    info = _new_info(new)
    entry = {"file_info": info, "clean_files": list(new.clean_files)}
    return _with_record(document, raw, entry), _recorded(raw, info, new.recorded_by)


def record_many(
    document: Document | None, records: Sequence[CleanRecord]
) -> tuple[Document | None, tuple[CleanRecorded, ...]]:
    """Return the clean document with the records in it, and what became of each: a fold of `record`, and one commit.

    The very same document comes back when it has all of them, or newer ones.
    """
    grown, outcomes = document, []
    for new in records:
        grown, outcome = record(grown, new)
        outcomes.append(outcome)
    if grown is not document and grown is not None:
        grown = {**grown, "revision": (document or {}).get("revision", 0) + 1}
    return grown, tuple(outcomes)


def pending(raw: Document, clean: Document | None, schema: str) -> list[FileVersion]:
    """Return the newest raw version of each file name that is newer than its clean record, or has none.

    A version that a newer one has superseded is not pending: its record would be replaced at once.
    """
    newest: dict[tuple[str, str], FileVersion] = {}
    for version in versions_of(raw, schema):
        key = (version.table, version.file_name)
        if key not in newest or version.version > newest[key].version:
            newest[key] = version
    return [
        version for (table, file_name), version in newest.items() if _is_newer(version, _info(clean, table, file_name))
    ]


def carry_over(document: Document | None, older: Document | None, schema: str) -> Document | None:
    """Return the clean document with the records of the older one in it that are newer than its own, or missing there.

    The very same document comes back when it has them already, and `None` for neither.
    """
    if older is None or (document is not None and CARRIED_OVER in document):
        return document
    result: Document = document if document is not None else {"schema_name": schema, "tables": {}}
    for file_name, entry in older["tables"].items():
        info = entry["file_info"]
        known = _info(result, info["table_name"], file_name)
        if known is None or known["version"] < info["version"]:
            result = _with_entry(result, info["table_name"], file_name, _carried(entry))
    return settled(result)


def settled(document: Document) -> Document:
    """Return the clean document with the word that the older one need not be looked at again."""
    return {**document, CARRIED_OVER: True}


def _carried(entry: Document) -> Document:
    files = entry.get("clean_files", entry["file_info"].get("parquet_files"))
    return {**entry, "clean_files": files if isinstance(files, list) else []}


def _is_newer(version: FileVersion, info: Document | None) -> bool:
    return info is None or info["version"] < version.version


def _info(document: Document | None, table: str, file_name: str) -> Document | None:
    if document is None:
        return None
    info: Document | None = document["tables"].get(table, {}).get(file_name, {}).get("file_info")
    return info


def _with_record(document: Document | None, raw: FileVersion, entry: Document) -> Document:
    document = document if document is not None else {"schema_name": raw.schema, "tables": {}}
    grown = _with_entry(document, raw.table, raw.file_name, entry)
    return {**grown, "revision": document.get("revision", 0) + 1}


def _with_entry(document: Document, table: str, file_name: str, entry: Document) -> Document:
    records = {**document["tables"].get(table, {}), file_name: entry}
    return {**document, "tables": {**document["tables"], table: records}}


def _new_info(new: CleanRecord) -> dict[str, Any]:
    raw = new.raw
    return {
        "raw_file": raw.file,
        "version": raw.version,
        "timestamp": new.timestamp,
        "file_size": raw.file_size,
        "s3_location": raw.s3_location,
        "fyear": raw.fyear,
        "upload_date": raw.upload_date,
        "recorded_by": new.recorded_by,
    }


def _recorded(raw: FileVersion, info: Document, recorded_by: str) -> CleanRecorded:
    return CleanRecorded(
        schema=raw.schema,
        table=raw.table,
        file_name=raw.file_name,
        version=info["version"],
        created=info.get("recorded_by") == recorded_by,
    )
