"""The clean rules.

5. A record for raw version v replaces only an older one; a late worker never takes a newer record back.

Recording is idempotent, unknown fields of what is not replaced survive, and what is not touched is shared. The older
shape of the document, a list with file names at its top, is carried over, each record with every field it had.

The clean files of a record that is replaced, those that the new one does not name, are listed as outdated, with the
moment, and with the object that stood there, if the recorder looked. Whose turn it is to clean what, `rules.claims`
says; a version that is to be cleaned again is pending here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cf_data_tracker.document import Document, claim_in, outdated_in, versions_of
from cf_data_tracker.model import CleanRecord, CleanRecorded, FileVersion, Noting, Seen
from cf_data_tracker.names import shown

CARRIED_OVER: Final = "carried_over"
"""A field of ours at the top of a clean document: the older document's records are in it, if it had any."""

MOST_NAMED: Final = 3
"""How many file names are named in a sentence about skipped versions."""


def record(document: Document | None, new: CleanRecord) -> tuple[Document | None, CleanRecorded]:
    """Return the clean document with the record in it, and what became of it.

    The very same document comes back when it has a record for this raw version or a newer one.
    """
    raw = new.raw
    info = _info(document, raw.table, raw.file_name)
    if info is not None and info["version"] >= raw.version:
        return document, _recorded(raw, info, new.recorded_by)
    return replaced(document, new)


def replaced(document: Document | None, new: CleanRecord) -> tuple[Document, CleanRecorded]:
    """Return the clean document with the record in it, whatever was there, and what became of it."""
    info = _new_info(new)
    entry = {"file_info": info, "clean_files": list(new.clean_files)}
    grown = _with_record(_with_outdated(document, new), new.raw, entry)
    return grown, _recorded(new.raw, info, new.recorded_by)


def pending(raw: Document, clean: Document | None, schema: str) -> list[FileVersion]:
    """Return the newest raw version of each file name that is newer than its clean record, or has none.

    So is one that has a record, and is to be cleaned again.

    A version that a newer one has superseded is not pending: its record would be replaced at once.
    """
    newest: dict[tuple[str, str], FileVersion] = {}
    for version in versions_of(raw, schema):
        key = (version.table, version.file_name)
        if key not in newest or version.version > newest[key].version:
            newest[key] = version
    return [
        version
        for (table, file_name), version in newest.items()
        if is_to_be_cleaned(clean, table, file_name, version.version)
    ]


def skipped(raw: Document, clean: Document | None, schema: str) -> list[FileVersion]:
    """Return the raw versions that `pending` passes over: newer than the clean record, older than the pending version.

    They were superseded before they were cleaned, or they are files that are no versions of each other: the document
    cannot tell which. Another entry of the pending file itself is not among them.
    """
    newest = {(version.table, version.file_name): version for version in pending(raw, clean, schema)}
    found = []
    for version in versions_of(raw, schema):
        later = newest.get((version.table, version.file_name))
        if later is None or version.version >= later.version or version.file == later.file:
            continue
        known = recorded_version(clean, version.table, version.file_name)
        if known is None or known < version.version:
            found.append(version)
    return found


def skipped_in_words(passed_over: Sequence[FileVersion]) -> str:
    """Return a sentence about what `skipped` found, in one line, with the file names that have most."""
    counts = Counter(f"{version.table}/{version.file_name}" for version in passed_over).most_common()
    some = [f"{number} of {shown(name)}" for name, number in counts[:MOST_NAMED]]
    if rest := counts[MOST_NAMED:]:
        some.append(f"{sum(number for _, number in rest)} of {len(rest)} other file names")
    return (
        f"{passed_over[0].schema}: older versions were never cleaned: {', '.join(some)}. pending and claim give only "
        "the newest version of a file name: files that are not versions of each other need file names of their own"
    )


def is_to_be_cleaned(document: Document | None, table: str, file_name: str, version: int) -> bool:
    """Return whether a raw version has no record, nor has a newer one; or whether it has one, and is wanted again."""
    known = recorded_version(document, table, file_name)
    return known is None or known < version or known == version == claim_in(document, table, file_name).get("again")


def recorded_version(document: Document | None, table: str, file_name: str) -> int | None:
    """Return the raw version of which a file name has a record."""
    info = _info(document, table, file_name)
    return info["version"] if info is not None else None


def has_record(document: Document | None, new: CleanRecord) -> bool:
    """Return whether the document has this very record."""
    raw = new.raw
    info = _info(document, raw.table, raw.file_name)
    known = info is not None and (info["version"], info.get("recorded_by")) == (raw.version, new.recorded_by)
    return known and list(new.clean_files) == _clean_files(document, raw)


def without_outdated(document: Document, outdated: Mapping[str, str]) -> Document:
    """Return the document with these off the list of outdated clean files; the very same one where they are."""
    listed = outdated_in(document)
    left = {file: since for file, since in listed.items() if outdated.get(file) != since}
    if len(left) == len(listed):
        return document
    return _listing(document, left)


def noted(document: Document, change: Noting) -> Document:
    """Return the document with the objects that stand at outdated clean files now, which count as outdated since then.

    The very same document comes back if none of them is on the list since the moment that the change names.
    """
    listed = outdated_in(document)
    seen = [one for one in change.seen if one.file in listed and listed[one.file] == change.outdated.get(one.file)]
    if not seen:
        return document
    return _listing(document, {**listed, **{one.file: change.at for one in seen}}, seen)


def dropped(document: Document | None, raw: FileVersion, clean_files: Iterable[str]) -> list[str]:
    """Return the clean files that a record of these files would replace: they would be outdated."""
    if document is None or not is_to_be_cleaned(document, raw.table, raw.file_name, raw.version):
        return []
    named = set(clean_files)
    return [file for file in _clean_files(document, raw) if isinstance(file, str) and file not in named]


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


def _with_outdated(document: Document | None, new: CleanRecord) -> Document | None:
    """Put on the list of outdated clean files those of the record that is replaced; take off it those of the new."""
    if document is None:
        return None
    listed = outdated_in(document)
    left = {file: since for file, since in listed.items() if file not in new.clean_files}
    if new.at is None:
        return document if left == listed else _listing(document, left)
    gone = {file for file in _clean_files(document, new.raw) if isinstance(file, str) and file not in new.clean_files}
    left |= dict.fromkeys(sorted(gone), new.at)
    if left == listed and not gone:
        return document
    return _listing(document, left, [one for one in new.seen if one.file in gone], anew=gone)


def _listing(
    document: Document, outdated: Document, seen: Iterable[Seen] = (), *, anew: Iterable[str] = ()
) -> Document:
    """Return the document with this list of outdated clean files, and with what was seen of those alone.

    Args:
        document: The document.
        outdated: The list.
        seen: The objects that stand there now.
        anew: Files of which nothing that was seen earlier counts.
    """
    revision = document.get("revision", 0) + 1  # of the commit that this will be
    known = document.get("outdated_seen", {})
    kept = {file: known[file] for file in outdated if file in known and file not in anew}
    kept |= {one.file: {**_identity(one), "revision": revision} for one in seen}
    fields = {**document, "outdated": outdated, "outdated_seen": kept}  # where they stood, if they did
    return {key: value for key, value in fields.items() if value or key not in ("outdated", "outdated_seen")}


def _identity(seen: Seen) -> Document:
    version = {} if seen.version is None else {"version": seen.version}
    return {"etag": seen.etag, "modified": seen.modified, **version}


def _clean_files(document: Document | None, raw: FileVersion) -> list[Any]:
    records = document["tables"].get(raw.table, {}) if document is not None else {}
    files: list[Any] = records.get(raw.file_name, {}).get("clean_files", [])
    return files


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
