"""The earlier package's raw functions, under their old names: thin, over plain dictionaries.

Functions on entries change the entry that they are given and nothing else, as they always did. What they make is the
caller's own copy, which nothing here puts back: only `update_version_tracker` writes, by the commit that everything
else in this library goes through. Settings come from the environment and `.env` when a function is called.
"""

from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import TABLE_KEYS, Document
from cf_data_tracker.errors import TrackerError
from cf_data_tracker.model import Recorded
from cf_data_tracker.names import check_text, plain, raw_key
from cf_data_tracker.settings import Access, environment, raw_access, raw_bucket
from cf_data_tracker.tracker import Tracker

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


__all__ = [
    "add_file_version",
    "check_file_exists",
    "check_file_name_entry",
    "create_file_name_entry",
    "create_schema_entry",
    "create_table_entry",
    "get_schema_entry",
    "get_table_entry",
    "initialize_version_file",
    "read_version_file",
    "update_file_info",
    "update_table_entry",
    "update_version_tracker",
    "upload_to_s3",
    "version_file_path",
    "write_version_file",
]


def version_file_path(schema_name: str) -> str:
    """Return the key of a schema's document in the raw bucket."""
    return raw_key(plain(schema_name))


def read_version_file(schema: str, s3: "S3Client | None" = None) -> Document:
    """Return the stored document of a schema, the caller's to change, or a fresh one where there is none.

    Args:
        schema: The data source.
        s3: A boto3 client to read it with; one with the settings of the environment if left out.

    Raises:
        InvalidNameError: The schema is no name.
        DocumentError: What is stored is no tracker document.
        DocumentVanishedError: It was there when this process last looked.
        StoreError: The raw bucket is not set, or the store refused or did not answer.
    """
    env = environment()
    tracker = _tracker(raw_access(env)) if s3 is None else Tracker(raw_bucket(env), client=s3)
    document = tracker.document(schema)
    if document is None:
        return {"tables": [{"schema_name": plain(schema), "tables": []}]}
    return deepcopy(document)  # the tracker builds its next commit on its own


def update_version_tracker(  # noqa: PLR0913, PLR0917 - the earlier signature
    schema_name: str,
    table_name: str,
    file_name: str,
    file: str,
    file_size: int,
    s3_location: str,
    timestamp: str | None = None,
    fyear: str | None = None,
    upload_date: str | None = None,
) -> Recorded:
    """Record a file as a version of its file name, once; see `NewFile` for the arguments and `Tracker.record`.

    Returns:
        Its version, and whether this call created it.

    Raises:
        TrackerError: As `Tracker.record` raises, where the earlier function printed the error and lost the write; or
            `StoreError` because the raw bucket is not set.
    """
    return _tracker(raw_access(environment())).record(
        schema_name,
        table_name,
        file_name,
        file,
        file_size=file_size,
        s3_location=s3_location,
        timestamp=timestamp,
        fyear=fyear,
        upload_date=upload_date,
    )


def get_schema_entry(version_info: Document, schema: str) -> Document:
    """Return a schema's entry of a document; where there is none, one is appended."""
    entries = (entry for entry in version_info["tables"] if entry["schema_name"] == schema)
    return next(entries, None) or create_schema_entry(version_info, schema)


def create_schema_entry(version_data: Document, schema_name: str) -> Document:
    """Append an entry for a schema without tables, and return it."""
    entry: Document = {"schema_name": plain(schema_name), "tables": []}
    version_data["tables"].append(entry)
    return entry


def get_table_entry(schema_entry: Document, table_name: str) -> Document | None:
    """Return a table's entry, whichever key names it, or `None`.

    Where a table stands twice this is the first of its entries. `update_version_tracker` reads all of them as one.
    """
    entries: list[Document] = schema_entry["tables"]
    return next((entry for entry in entries if table_name in (entry.get(key) for key in TABLE_KEYS)), None)


def create_table_entry(schema_entry: Document, table_name: str) -> Document:
    """Append an entry for a table without files, and return it."""
    entry: Document = {"name": plain(table_name), "files": []}
    schema_entry["tables"].append(entry)
    return entry


def check_file_name_entry(table_entry: Document, file_name: str) -> Document | None:
    """Return a file name's entry of a table, or `None`."""
    return next((entry for entry in table_entry["files"] if entry["file_name"] == file_name), None)


def check_file_exists(file_entry: Document, file: str) -> bool:
    """Return whether a file name has a file."""
    return any(version["file"] == file for version in file_entry["versions"])


def create_file_name_entry(  # noqa: PLR0913, PLR0917 - the earlier signature
    table_entry: Document,
    file_name: str,
    file: str,
    file_size: int,
    s3_location: str,
    timestamp: str,
    fyear: str,
    upload_date: str,
) -> Document:
    """Append a file name's entry with the file as its version 1, and return the entry."""
    entry: Document = {"file_name": plain(file_name), "current_version": 0, "versions": []}
    table_entry["files"].append(entry)
    return add_file_version(entry, file, file_size, s3_location, timestamp, fyear, upload_date)


def add_file_version(  # noqa: PLR0913, PLR0917 - the earlier signature
    file_entry: Document,
    file: str,
    file_size: int,
    s3_location: str,
    timestamp: str,
    fyear: str,
    upload_date: str,
) -> Document:
    """Append a version, under the highest number so far + 1, and return the file name's entry.

    Whether the file is there already is not looked at: that is what `check_file_exists` is for.
    """
    versions = file_entry["versions"]
    number = max([file_entry["current_version"], *(version["version"] for version in versions)]) + 1
    versions.append(
        {
            "version": number,
            "timestamp": plain(timestamp),
            "file_size": file_size,
            "file": plain(file),
            "s3_location": plain(s3_location),
            "fyear": plain(fyear),
            "upload_date": plain(upload_date),
        }
    )
    file_entry["current_version"] = number
    return file_entry


def update_table_entry(table_entry: Document, file_entry: Document) -> Document:
    """Put a file name's entry into a table, in place of the one it has or else as its last, and return the table's."""
    files = table_entry["files"]
    names = [entry["file_name"] for entry in files]
    if file_entry["file_name"] in names:
        files[names.index(file_entry["file_name"])] = file_entry
    else:
        files.append(file_entry)
    return table_entry


def update_file_info(  # noqa: PLR0913, PLR0917 - the earlier signature
    table_entry: Document,
    file_name: str,
    file: str,
    file_size: int,
    s3_location: str,
    timestamp: str,
    fyear: str,
    upload_date: str,
) -> Document:
    """Add a file to a table's entry, unless its file name has it, and return the table's entry."""
    entry = check_file_name_entry(table_entry, file_name)
    if entry is None:
        create_file_name_entry(table_entry, file_name, file, file_size, s3_location, timestamp, fyear, upload_date)
    elif not check_file_exists(entry, file):
        add_file_version(entry, file, file_size, s3_location, timestamp, fyear, upload_date)
    return table_entry


def upload_to_s3(file_path: str, bucket_name: str, s3_key: str) -> None:
    """Upload a local file, in parts if it is large, in place of what stands under its key. It is not recorded.

    Raises:
        OSError: The local file cannot be read.
        InvalidNameError: The bucket or the key is no text.
        StoreError: The store refused, or did not answer.
    """
    connection = _opened(raw_access(environment(), check_text("bucket_name", bucket_name)))
    key, path = check_text("s3_key", s3_key), plain(file_path)
    connection.retrying(lambda: connection.objects.overwrite(key, path), key)


def write_version_file(schema_name: str, version_data: Document) -> NoReturn:  # noqa: ARG001 - the earlier signature
    """Refuse: a whole document, put blindly, takes back what others have recorded meanwhile.

    Raises:
        TrackerError: Always; nothing was written.
    """
    _refuse("write_version_file")


def initialize_version_file(file_path: str, s3_client: object) -> NoReturn:  # noqa: ARG001 - the earlier signature
    """Refuse: an empty document, put blindly, takes back all that was recorded.

    Raises:
        TrackerError: Always; nothing was written.
    """
    _refuse("initialize_version_file")


def _refuse(name: str) -> NoReturn:
    raise TrackerError(
        f"{name} would put a whole document over what other workers recorded, so it writes nothing: call "
        "update_version_tracker, or Tracker.record, which start a missing document themselves"
    )


def _tracker(access: Access) -> Tracker:
    return Tracker.over(_opened(access))


@lru_cache(maxsize=8)
def _opened(access: Access) -> Connection:
    # One for each set of settings, for as long as the process lives: threads share its connections and its turns.
    return Connection(access)
