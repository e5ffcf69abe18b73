"""Names that callers give as some other kind of `str`: each public call goes by the text, and stores plain text."""

import io
import json
import pickle
from dataclasses import fields, replace
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, cast

import pytest

from cf_data_tracker import raw_tracker
from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.clean_tracker import (
    read_clean_version_json,
    read_clean_version_tracker,
    update_and_write_clean_version_info,
    update_clean_version_info,
)
from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import clean_key, older_clean_key, raw_key
from cf_data_tracker.rights import Role, Scope, policy_for
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from cf_data_tracker.upload import NewUpload


class Name(str, Enum):
    """Names, as a caller may keep them. Formatted, a member is its text on Python 3.10 and `Name.X` later."""

    BUCKET = "raw"
    SCHEMA = "vitals"
    TABLE = "births"
    FILE_NAME = "FY2023"
    FILE = "births_q1.zip"
    LOCATION = "s3://raw/births_q1.zip"
    TEXT = "2023"
    SKIP = "skip"
    PARQUET = "vitals/births/part.parquet"

    def __str__(self) -> str:
        """Return something else on Python 3.10, too."""
        return f"<{self.name}>"

    def __format__(self, _spec: str) -> str:
        """Return something else on Python 3.10, too."""
        return str(self)


WHERE = (Name.SCHEMA, Name.TABLE, Name.FILE_NAME)
PLAIN = ("vitals", "births", "FY2023")


@pytest.fixture
def store() -> MemoryStore:
    """Give an empty bucket."""
    return MemoryStore()


@pytest.fixture
def tracker(store: MemoryStore) -> Tracker:
    """Give a tracker whose bucket has such a name, too."""
    return Tracker.over(Connection(Access(bucket=Name.BUCKET), store=store))


def over(tracker: Tracker) -> CleanTracker:
    """Return a clean tracker of the same bucket."""
    return CleanTracker.over(tracker._connection, tracker._connection)  # noqa: SLF001 - which is the bucket


def odd(value: object) -> list[object]:
    """Return the texts in a document, or in the fields of a value, that are not plain."""
    if isinstance(value, dict):
        return [bad for one in [*value, *value.values()] for bad in odd(one)]
    if isinstance(value, (list, tuple)):
        return [bad for one in value for bad in odd(one)]
    if hasattr(value, "__dataclass_fields__"):
        return odd([getattr(value, one.name) for one in fields(cast("Any", value))])
    return [value] if isinstance(value, str) and type(value) is not str else []


def record(tracker: Tracker) -> None:
    """Record a file with nothing but such names."""
    tracker.record(
        *WHERE,
        Name.FILE,
        file_size=1,
        s3_location=Name.LOCATION,
        timestamp=Name.TEXT,
        fyear=Name.TEXT,
        upload_date=Name.TEXT,
        checksum=Name.TEXT,
        etag=Name.TEXT,
        on_same_content=Name.SKIP,
    )


def test_a_recording_goes_by_the_text(tracker: Tracker, store: MemoryStore) -> None:
    """The document stands where plain text says, and every question finds the file by either."""
    record(tracker)
    assert [raw_key("vitals")] == store.list("")
    for where in (WHERE, PLAIN):
        assert tracker.exists(*where, "births_q1.zip")
        assert tracker.exists(*where, Name.FILE)
        latest = tracker.latest(*where)
        assert latest is not None
        assert ([], "births_q1.zip", "s3://raw/births_q1.zip") == (odd(latest), latest.file, latest.s3_location)
        assert [[latest]] * 2 == [tracker.history(*where[:2]), tracker.history(*where)]
        assert ["births"] == tracker.tables(where[0])
        assert [] == odd(tracker.document(where[0]))
        assert tracker.audit(where[0]).schema == "vitals"


def test_a_value_keeps_plain_text() -> None:
    """A file to be recorded, one to be uploaded, and settings hold plain text, whatever they were made of."""
    new = NewFile(
        schema=WHERE[0], table=WHERE[1], file_name=WHERE[2], file=Name.FILE, file_size=1, s3_location=Name.TEXT
    )
    upload = NewUpload(path_or_file=Name.FILE, schema=WHERE[0], table=WHERE[1], file_name=WHERE[2])
    given = NewUpload(path_or_file=io.BytesIO(), schema=WHERE[0], table=WHERE[1], file_name=WHERE[2], file=Name.FILE)
    assert [] == odd([new, upload, given, Access(bucket=Name.BUCKET, region=Name.TEXT)])
    assert ["vitals/births/FY2023/births_q1.zip"] * 2 == [upload.key, given.key]
    assert "s3://bucket/key" == replace(new, s3_location="s3://bucket/key").s3_location
    assert [] == odd(pickle.loads(pickle.dumps(new)))


def test_a_file_is_uploaded_to_where_the_document_says(tracker: Tracker, store: MemoryStore, tmp_path: Path) -> None:
    """The key is made of the texts, and so is the location that is recorded."""
    path = tmp_path / "births_q1.zip"
    path.write_bytes(b"content")
    tracker.upload(path, *WHERE, file=Name.FILE, fyear=Name.TEXT)
    latest = tracker.latest(*PLAIN)
    assert latest is not None
    assert "s3://raw/vitals/births/FY2023/births_q1.zip" == latest.s3_location
    assert ["vitals/births/FY2023/births_q1.zip", raw_key("vitals")] == store.list("")


def test_the_clean_side_goes_by_the_text(tracker: Tracker, store: MemoryStore) -> None:
    """Claims and versions that are handed back with such names in them are recorded as plain text."""
    record(tracker)
    clean = over(tracker)
    (pending,) = clean.pending(Name.SCHEMA)
    assert [] == odd(pending)
    (claim,) = clean.claim(Name.SCHEMA)
    named = replace(
        claim,
        raw=replace(pending, schema=Name.SCHEMA, table=Name.TABLE, file_name=Name.FILE_NAME, file=Name.FILE),
    )
    assert [] == odd(clean.extend(named))
    assert clean.record(named, [Name.PARQUET], timestamp=Name.TEXT).created
    assert [] == odd(clean.reprocess(*WHERE))
    clean.release(replace(clean.claim("vitals")[0], raw=named.raw))
    assert not clean.record(named.raw, [Name.PARQUET]).created
    assert [] == clean.sweep(Name.SCHEMA)
    assert [] == odd(clean.document(Name.SCHEMA))
    assert [clean_key("vitals"), raw_key("vitals")] == store.list("")


def test_a_policy_is_about_the_text() -> None:
    """Buckets and schemas stand in a policy as plain text does."""
    scope = Scope(raw=Name.BUCKET, clean=Name.BUCKET, schemas=(Name.SCHEMA,), region=Name.TEXT)
    same = Scope(raw="raw", clean="raw", schemas=("vitals",), region="2023")
    assert [] == odd(scope)
    for role in Role:
        assert json.dumps(policy_for(role, same)) == json.dumps(policy_for(role, scope))
    with pytest.raises(InvalidNameError, match="schemas must be a list of names, got 'vitals'"):
        Scope(schemas=cast("Any", "vitals"))


def test_the_earlier_functions_make_plain_documents() -> None:
    """What the functions on plain dictionaries make holds plain text, and they find entries by either."""
    document: dict[str, Any] = {"tables": []}
    schema = raw_tracker.get_schema_entry(document, Name.SCHEMA)
    table = raw_tracker.create_table_entry(schema, Name.TABLE)
    dates = (Name.TEXT, Name.TEXT, Name.TEXT)
    raw_tracker.update_file_info(table, Name.FILE_NAME, Name.FILE, 1, Name.LOCATION, *dates)
    assert [] == odd(document)
    assert schema is raw_tracker.get_schema_entry(document, "vitals")
    assert table is raw_tracker.get_table_entry(schema, "births")
    assert raw_key("vitals") == raw_tracker.version_file_path(Name.SCHEMA)
    older: list[dict[str, Any]] = [{"schema_name": "vitals", "tables": {}}]
    when = datetime(2024, 3, 1, tzinfo=timezone.utc)
    update_clean_version_info(older, Name.FILE_NAME, Name.TABLE, Name.FILE, 1, Name.TEXT, when)
    assert [] == odd(older)


def test_the_earlier_functions_store_plain_documents(
    monkeypatch: pytest.MonkeyPatch, store: MemoryStore, tracker: Tracker
) -> None:
    """The functions that ask and write a bucket go by the text, in names and in the keys of documents."""
    connection = tracker._connection  # noqa: SLF001 - which is the bucket
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    monkeypatch.setattr(raw_tracker, "_tracker", lambda _access: tracker)
    monkeypatch.setattr("cf_data_tracker.clean_tracker._connection", lambda *_: connection)
    assert [] == odd(raw_tracker.read_version_file(Name.SCHEMA))
    raw_tracker.update_version_tracker(*WHERE, Name.FILE, 1, Name.LOCATION)
    document = raw_tracker.read_version_file(Name.SCHEMA)
    entry = document["tables"][0]["tables"][0]["files"][0]
    mine = read_clean_version_tracker("raw", clean_key("vitals"))
    update_and_write_clean_version_info(
        Name.SCHEMA, Name.BUCKET, mine, entry, Name.TABLE, entry["versions"][0], [Name.PARQUET]
    )
    assert [] == odd([document, mine, read_clean_version_json("raw", older_clean_key("vitals"), Name.SCHEMA)])
    assert [clean_key("vitals"), raw_key("vitals")] == store.list("")
