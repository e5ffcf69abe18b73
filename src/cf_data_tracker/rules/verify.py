"""What a sound raw document looks like: a list of sentences on what is not, empty where all is well.

Gaps in the numbers and `file` values that repeat are found in sound buckets of the earlier package, so they are no
findings; two versions under one number, or one recording that is there twice, are.
"""

from collections import Counter
from collections.abc import Iterator

from cf_data_tracker.document import Document, table_name_of, tables_of, versions_of
from cf_data_tracker.model import FileVersion


def findings(document: Document, schema: str) -> list[str]:
    """Return what is wrong in the document of `schema`, one sentence each."""
    versions = list(versions_of(document, schema))
    return [*_missing(document, schema), *_current(document, schema), *_numbers(versions), *_recordings(versions)]


def _missing(document: Document, schema: str) -> Iterator[str]:
    names = [entry["schema_name"] for entry in document["tables"]]
    if names and schema not in names:
        yield f"the document has no entry for the schema {schema}, though one for {', '.join(names)}"


def _current(document: Document, schema: str) -> Iterator[str]:
    for table in tables_of(document, schema):
        for entry in table["files"]:
            newest = max((version["version"] for version in entry["versions"]), default=0)
            if entry["current_version"] != newest:
                place = f"{table_name_of(table)}/{entry['file_name']}"
                yield f"{place}: current_version is {entry['current_version']}, the newest version is {newest}"


def _numbers(versions: list[FileVersion]) -> Iterator[str]:
    counts = Counter((version.table, version.file_name, version.version) for version in versions)
    for (table, file_name, number), count in counts.items():
        if count > 1:
            yield f"{table}/{file_name}: version {number} is there {count} times"


def _recordings(versions: list[FileVersion]) -> Iterator[str]:
    ids = [version.recorded_by for version in versions]
    counts = Counter(one for one in ids if isinstance(one, str))  # in a document of others it may be anything
    for recorded_by, count in counts.items():
        if count > 1:
            yield f"the recording {recorded_by} is there {count} times"
