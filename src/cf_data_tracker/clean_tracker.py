"""The earlier package's clean functions, under their old names: thin, over plain data.

There are two shapes of a clean document: a dictionary by table and file name, and an older list by file name alone.
Both are read. One document is written, the dictionary, by the commit and the rules of `CleanTracker`; what it holds is
also shown in the older shape to whoever reads that. Settings come from the environment and `.env` when a function is
called, unless a boto3 client is handed in.
"""

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NoReturn

from cf_data_tracker.audit import Listing
from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, clean_document, older_clean_document, table_name_of, version_of
from cf_data_tracker.engine.cas import DocumentSpec
from cf_data_tracker.errors import NotTrackedError, TrackerError
from cf_data_tracker.model import FileVersion
from cf_data_tracker.names import check_count, check_schema, check_text, clean_key, older_clean_key, plain
from cf_data_tracker.settings import Access, clean_access, environment
from cf_data_tracker.tracker import raw_spec

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = [
    "check_if_file_exists",
    "delete_parquet_files_boto3",
    "does_s3_directory_exist",
    "get_clean_file_info",
    "get_clean_files",
    "get_raw_and_clean_data_versions",
    "get_version_info",
    "read_clean_version_json",
    "read_clean_version_tracker",
    "update_and_write_clean_version_info",
    "update_clean_version_info",
    "write_clean_version_tracker",
]


def read_clean_version_json(bucket_name: str, json_key: str, schema_name: str) -> list[Document]:
    """Return a stored clean document of the older shape, the caller's to change, or a fresh one where there is none.

    Under the key that a schema's older document has, `{schema}/clean_version.json`, the records of the present document
    are shown too. The older shape has room for one record a file name: where two tables have the same file name, it is
    that of the lower version, so that a file is rather cleaned again than left out.

    Raises:
        InvalidNameError: A name is not acceptable.
        DocumentError: What is stored is no clean document of this shape.
        DocumentVanishedError: It was there when this process last looked.
        StoreError: The store refused or did not answer.
    """
    connection = _connection(bucket_name)
    schema_name, json_key = plain(schema_name), check_text("json_key", json_key)
    stored = connection.read(DocumentSpec(key=json_key, parse=older_clean_document))
    entry: Document = deepcopy(stored) if stored is not None else {"schema_name": schema_name, "tables": {}}
    if json_key == older_clean_key(schema_name):
        entry["tables"].update(_in_older_shape(_tracker(connection).document(schema_name)))
    return [entry]


def read_clean_version_tracker(clean_bucket: str, tracker_path: str) -> Document:
    """Return a stored clean document, the caller's to change, or a fresh one where there is none.

    Under the key that a schema's document has, `{schema}/{schema}_clean_version_info.json`, the records of an older
    document count as well, until they have been carried over.

    Raises:
        InvalidNameError: A name is not acceptable.
        DocumentError: What is stored is no clean document.
        DocumentVanishedError: It was there when this process last looked.
        StoreError: The store refused or did not answer.
    """
    connection = _connection(clean_bucket)
    tracker_path = check_text("tracker_path", tracker_path)
    schema = tracker_path.split("/")[0]
    if tracker_path == clean_key(schema):
        document = _tracker(connection).document(schema)
    else:
        document = connection.read(DocumentSpec(key=tracker_path, parse=clean_document))
    return deepcopy(document) if document is not None else {"schema_name": schema, "tables": {}}


def get_raw_and_clean_data_versions(
    schema_name: str, clean_bucket: str, raw_bucket: str
) -> tuple[Document, list[Document]]:
    """Return the raw document of a schema, and the clean one in its older shape (see `read_clean_version_json`).

    Raises:
        NotTrackedError: The raw bucket has no document of this schema.
        TrackerError: As `read_clean_version_json` raises.
    """
    connection = _connection(raw_bucket)
    schema_name = check_schema(schema_name)
    target = raw_spec(schema_name)
    raw = connection.read(target)
    if raw is None:
        raise NotTrackedError(
            f"the schema {schema_name} is not tracked: {connection.store.location(target.key)} is missing"
        )
    return deepcopy(raw), read_clean_version_json(clean_bucket, older_clean_key(schema_name), schema_name)


def update_and_write_clean_version_info(  # noqa: PLR0913, PLR0917 - the earlier signature
    schema: str,
    clean_bucket: str,
    clean_version: Any,  # noqa: ANN401 - a document of either shape
    file: Document,
    table: str | Document,
    latest_version_info: Document,
    new_parquet_files: list[str],
    s3_client: "S3Client | None" = None,
) -> Any:  # noqa: ANN401 - the same document
    """Record the clean files made of a raw version, unless that version or a newer one has a record.

    Args:
        schema: The data source.
        clean_bucket: The bucket of the clean documents.
        clean_version: The caller's clean document, of either shape. The records that are stored now are put into it.
        file: The file name's entry of the raw document.
        table: The name of its table, or the table's entry.
        latest_version_info: The raw version that was cleaned.
        new_parquet_files: The keys of the files made of it.
        s3_client: A boto3 client to use; one with the settings of the environment if left out.

    Returns:
        `clean_version` itself.

    Raises:
        InvalidNameError: An argument is not acceptable; nothing was sent.
        TrackerError: As `CleanTracker.record` raises. Calling again is safe.
    """
    schema = check_schema(schema)
    raw = _raw_version(schema, file, table, latest_version_info)
    tracker = _tracker(_connection(clean_bucket, s3_client))
    tracker.record(raw, new_parquet_files)
    stored = tracker.document(schema)
    if isinstance(clean_version, list):
        clean_version[0]["tables"].update(_in_older_shape(stored))
    else:
        _bring_up_to_date(clean_version, stored)
    return clean_version


def update_clean_version_info(  # noqa: PLR0913, PLR0917 - the earlier signature
    version_info: list[Document],
    file_name: str,
    table_name: str,
    raw_file: str,
    version: int,
    output_prefix: str,
    modified_on: datetime,
) -> list[Document]:
    """Put a file name's record into a document of the older shape, which is returned. Nothing is stored."""
    version_info[0]["tables"][plain(file_name)] = {
        "file_info": {
            "raw_file": plain(raw_file),
            "version": version,
            "table_name": plain(table_name),
            "output_prefix": plain(output_prefix),
            "modified_on": modified_on.strftime("%Y-%m-%d-%H-%M-%S"),
        }
    }
    return version_info


def write_clean_version_tracker(clean_bucket: str, tracker_path: str, clean_tracker: Document) -> NoReturn:  # noqa: ARG001 - the earlier signature
    """Refuse: a whole document, put blindly, takes back what others have recorded meanwhile.

    Raises:
        TrackerError: Always; nothing was written.
    """
    raise TrackerError(
        "write_clean_version_tracker would put a whole document over what other workers recorded, so it writes "
        "nothing: call update_and_write_clean_version_info, or CleanTracker.record"
    )


def get_version_info(versions: list[Document], version: int) -> Document | None:
    """Return the version with this number, or `None`."""
    return next((entry for entry in versions if entry["version"] == version), None)


def get_clean_file_info(clean_tracker: Document, table_name: str, file_name: str) -> Document:
    """Return the `file_info` of a clean record, empty where there is none."""
    info: Document = _record_in(clean_tracker, table_name, file_name).get("file_info", {})
    return info


def get_clean_files(clean_tracker: Document, table_name: str, file_name: str) -> list[str]:
    """Return the clean files of a clean record, none where there is none."""
    files: list[str] = _record_in(clean_tracker, table_name, file_name).get("clean_files", [])
    return files


def check_if_file_exists(bucket: str, key: str) -> bool:
    """Return whether an object stands under this very key.

    Raises:
        StoreError: The store refused (it takes the right to list the bucket to know that a key is free), or did not
            answer.
    """
    # A HEAD cannot tell a missing key from a missing bucket or a refusal. Of all keys with this prefix it is the first.
    key = plain(key)
    return key in _list(bucket, key)


def _list(bucket: str, prefix: str) -> list[str]:
    connection = _connection(bucket)
    return connection.retrying(lambda: connection.store.list(prefix), prefix)


def does_s3_directory_exist(bucket: str, directory: str) -> bool:
    """Return whether a key begins with `directory` and a slash: `births/FY2023_v2/...` makes no `births/FY2023`.

    Raises:
        StoreError: The store refused or did not answer.
    """
    prefix = directory and f"{plain(directory).rstrip('/')}/"
    return bool(_list(bucket, prefix))


def delete_parquet_files_boto3(bucket_name: str, prefix: str, s3_client: "S3Client") -> None:
    """Delete the Parquet files in a directory, however deep, and the one that is named like it.

    For `births/FY2023` these are `births/FY2023/....parquet` and `births/FY2023.parquet`, and never what another file
    name's begins with, like `births/FY2023_v2/...`. No other objects are deleted.

    Raises:
        InvalidNameError: The prefix is empty, which would be the whole bucket.
        StoreError: The store refused or did not answer; some may have been deleted.
    """
    prefix, bucket_name = check_text("prefix", prefix), check_text("bucket", bucket_name)
    connection = _connection(bucket_name, s3_client)
    keys = [found.key for found in Listing(connection).of(prefix)]
    for key in keys:
        if key.endswith(".parquet") and _belongs_to(key, prefix):
            connection.retrying(partial(connection.store.delete, key), key)


def _belongs_to(key: str, prefix: str) -> bool:
    return key in (prefix, f"{prefix}.parquet") or key.startswith(f"{prefix.rstrip('/')}/")


def _connection(bucket: str, client: "S3Client | None" = None) -> Connection:
    bucket = check_text("bucket", bucket)
    if client is None:
        return _opened(clean_access(environment(), bucket))
    from cf_data_tracker.stores.s3 import access_of  # noqa: PLC0415 - it imports boto3, which takes a while

    return Connection(access_of(client, bucket), client=client)


@lru_cache(maxsize=8)
def _opened(access: Access) -> Connection:
    # One for each set of settings, for as long as the process lives: threads share its connections and its turns.
    return Connection(access)


def _tracker(connection: Connection) -> CleanTracker:
    return CleanTracker.over(connection, connection)  # the raw side is not asked by what is called here


def _raw_version(schema: str, file: Document, table: str | Document, version_info: Document) -> FileVersion:
    file_name = check_text("file_name", file["file_name"])
    number = check_count("current_version", file["current_version"])
    name = check_text("table", table if isinstance(table, str) else table_name_of(table))
    return version_of(schema, name, file_name, {"file": file_name, **version_info, "version": number})


def _bring_up_to_date(clean_version: Document, stored: Document | None) -> None:
    """Put what is stored into a caller's document; what only the caller's has stays in it."""
    current = deepcopy(stored) or {}
    tables = clean_version.setdefault("tables", {})
    for table, records in current.pop("tables", {}).items():
        tables.setdefault(table, {}).update(records)
    clean_version.update(current)


def _record_in(clean_tracker: Document, table_name: str, file_name: str) -> Document:
    record: Document = clean_tracker.get("tables", {}).get(table_name, {}).get(file_name, {})
    return record


def _in_older_shape(document: Document | None) -> Document:
    """Return the records of a document by file name; of two, that of the lower version."""
    records: Document = {}
    for file_name, record in _older_records(document):
        known = records.setdefault(file_name, record)
        if record["file_info"]["version"] < known["file_info"]["version"]:
            records[file_name] = record
    return records


def _older_records(document: Document | None) -> Iterator[tuple[str, Document]]:
    tables = document["tables"] if document is not None else {}
    for table, records in tables.items():
        for file_name, record in records.items():
            info = record["file_info"]
            carried_over = "modified_on" in info
            yield file_name, {"file_info": deepcopy(info) if carried_over else _older_info(table, file_name, record)}


def _older_info(table: str, file_name: str, record: Document) -> Document:
    info = record["file_info"]
    timestamp = str(info.get("timestamp") or "")[: len("2024-03-01 09:00:00")]
    return {
        "raw_file": info.get("raw_file"),
        "version": info["version"],
        "table_name": table,
        "output_prefix": file_name,
        "modified_on": timestamp.translate(str.maketrans(" T:", "---")),
        "parquet_files": list(record["clean_files"]),
    }
