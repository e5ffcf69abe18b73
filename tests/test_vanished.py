"""A deleted document: a process that never saw it is told that there was one, where the bucket keeps versions."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final, TypeAlias

import pytest

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import DocumentVanishedError
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import clean_key, older_clean_key, raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.tracker import Tracker
from conftest import access_to, make_bucket
from servers.server import Server

OLDER: Final = (
    b'[{"schema_name":"vitals","tables":{"FY2023":{"file_info":{"table_name":"births","file_name":"FY2023",'
    b'"raw_file":"a.zip","version":1,"timestamp":"","file_size":1,"s3_location":"s3://raw/a"},"parquet_files":[]}}}]'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """What a process that has just begun makes of two buckets."""

    raw: Connection
    clean: Connection

    @property
    def tracker(self) -> Tracker:
        """Its tracker."""
        return Tracker.over(self.raw)

    @property
    def cleaner(self) -> CleanTracker:
        """Its clean tracker."""
        return CleanTracker.over(self.raw, self.clean)


def in_memory() -> Callable[[], Process]:
    """Return what begins a process over two buckets in memory that keep versions."""
    raw, clean = MemoryStore(versioned=True), MemoryStore(versioned=True)
    return lambda: Process(
        raw=Connection(Access(bucket="raw"), store=raw), clean=Connection(Access(bucket="clean"), store=clean)
    )


def on(server: Server, schema: str) -> Callable[[], Process]:
    """Return what begins a process over two buckets of a server that keep versions."""
    buckets = [f"{kind}-{schema.replace('_', '-')}" for kind in ("raw", "clean")]
    for bucket in buckets:
        make_bucket(server, bucket)
        with closing(open_client(access_to(server, bucket))) as client:
            client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return lambda: Process(
        raw=Connection(access_to(server, buckets[0])), clean=Connection(access_to(server, buckets[1]))
    )


@pytest.fixture
def begin() -> Callable[[], Process]:
    """Give what begins a process; two files are recorded, and one is clean."""
    return filled(in_memory())


def filled(begin: Callable[[], Process]) -> Callable[[], Process]:
    """Return what begins a process, after one has recorded two files, and a clean one."""
    process = begin()
    for file in ("a.zip", "b.zip"):
        record(process, file)
    process.cleaner.record(process.cleaner.pending("vitals")[0], ["vitals/a.parquet"])
    return begin


def record(process: Process, file: str = "c.zip") -> int:
    """Record a file, and return its version."""
    return process.tracker.record("vitals", "births", "FY2023", file, file_size=1, s3_location="s3://raw/x").version


NEW: Final = NewFile(
    schema="vitals", table="births", file_name="FY2023", file="c.zip", file_size=1, s3_location="s3://raw/c"
)

Call: TypeAlias = Callable[[Process], object]

RAW_CALLS: Final[dict[str, Call]] = {
    "record": record,
    "record_many, dry run": lambda process: process.tracker.record_many([NEW], dry_run=True),
    "exists": lambda process: process.tracker.exists("vitals", "births", "FY2023", "a.zip"),
    "latest": lambda process: process.tracker.latest("vitals", "births", "FY2023"),
    "history": lambda process: process.tracker.history("vitals", "births"),
    "tables": lambda process: process.tracker.tables("vitals"),
    "document": lambda process: process.tracker.document("vitals"),
    "audit": lambda process: process.tracker.audit("vitals"),
    "pending": lambda process: process.cleaner.pending("vitals"),
    "claim": lambda process: process.cleaner.claim("vitals"),
    "reprocess": lambda process: process.cleaner.reprocess("vitals", "births", "FY2023"),
}

CLEAN_CALLS: Final[dict[str, Call]] = {
    "document": lambda process: process.cleaner.document("vitals"),
    "pending": RAW_CALLS["pending"],
    "claim": RAW_CALLS["claim"],
    "reprocess": RAW_CALLS["reprocess"],
    "sweep": lambda process: process.cleaner.sweep("vitals"),
    "record": lambda process: process.cleaner.record(
        process.tracker.history("vitals", "births")[-1], ["vitals/a.parquet"]
    ),
}


@pytest.mark.parametrize("call", RAW_CALLS.values(), ids=RAW_CALLS)
def test_a_deleted_raw_document_is_missed_in_a_new_process(begin: Callable[[], Process], call: Call) -> None:
    """Nothing begins again at version 1, and no question is answered as if nothing had been recorded."""
    begin().raw.store.delete(raw_key("vitals"))
    with pytest.raises(DocumentVanishedError, match=r"Restore it .* delete its delete marker and all its earlier vers"):
        call(begin())


@pytest.mark.parametrize("call", CLEAN_CALLS.values(), ids=CLEAN_CALLS)
def test_a_deleted_clean_document_is_missed_in_a_new_process(begin: Callable[[], Process], call: Call) -> None:
    """Nothing that was cleaned is handed out again."""
    begin().clean.store.delete(clean_key("vitals"))
    with pytest.raises(DocumentVanishedError):
        call(begin())


def test_so_it_is_on_a_server(embedded: Server, schema: str) -> None:
    """Every call, of either document; and the raw one can be restored by a process that has just begun."""
    begin = filled(on(embedded, schema))
    begin().clean.store.delete(clean_key("vitals"))
    for call in CLEAN_CALLS.values():
        with pytest.raises(DocumentVanishedError):
            call(begin())
    begin().raw.store.delete(raw_key("vitals"))
    for call in RAW_CALLS.values():
        with pytest.raises(DocumentVanishedError):
            call(begin())
    assert 3 == begin().tracker.restore("vitals", 2).revision
    assert 3 == record(begin())


def test_it_can_be_restored_by_a_new_process(begin: Callable[[], Process]) -> None:
    """Afterwards all goes on."""
    begin().raw.store.delete(raw_key("vitals"))
    assert 3 == begin().tracker.restore("vitals", 2).revision
    assert 3 == record(begin())


def test_whoever_deletes_its_marker_and_versions_begins_anew(begin: Callable[[], Process]) -> None:
    """As the error says."""
    process, key = begin(), raw_key("vitals")
    process.raw.store.delete(key)
    for kept in process.raw.objects.versions(key):
        process.raw.store.erase(key, kept.version)
    assert 1 == record(begin())


def test_without_versions_a_deleted_document_is_begun_anew(schema: str) -> None:
    """Nobody can know that there was one, but a process that saw it."""
    store = MemoryStore()
    first, other = (Tracker.over(Connection(Access(bucket="raw"), store=store)) for _ in range(2))
    first.record(schema, "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/x")
    store.delete(raw_key(schema))
    with pytest.raises(DocumentVanishedError):
        first.exists(schema, "births", "FY2023", "a.zip")
    assert 1 == other.record(schema, "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/x").version


class TestTheOlderCleanDocument:
    """It may be deleted once its records are carried over."""

    def test_it_may_be_deleted_after_it_was_carried_over(self) -> None:
        """Nobody asks for it any more, and an audit of a bucket that both share does not miss it."""
        begin = in_one_bucket()
        store = begin().clean.store
        store.write(older_clean_key("vitals"), OLDER, replacing=None)
        record(begin(), "a.zip")
        record(begin(), "b.zip")
        begin().cleaner.record(begin().cleaner.pending("vitals")[0], ["vitals/b.parquet"])
        begin().clean.store.delete(older_clean_key("vitals"))
        assert [] == begin().cleaner.pending("vitals")
        assert begin().tracker.audit("vitals").tracked

    def test_it_may_be_gone_where_ours_does_not_say_that_it_was_carried_over(self) -> None:
        """An earlier release wrote ours, or another program."""
        begin = in_one_bucket()
        record(begin(), "a.zip")
        store = begin().clean.store
        store.write(older_clean_key("vitals"), OLDER, replacing=None)
        store.delete(older_clean_key("vitals"))
        store.write(clean_key("vitals"), b'{"schema_name":"vitals","tables":{}}', replacing=ANYTHING)
        assert [1] == [version.version for version in begin().cleaner.pending("vitals")]
        assert begin().tracker.audit("vitals").tracked

    def test_it_is_missed_where_nothing_has_carried_it_over(self) -> None:
        """What was cleaned would be cleaned again."""
        begin = in_one_bucket()
        record(begin(), "a.zip")
        store = begin().clean.store
        store.write(older_clean_key("vitals"), OLDER, replacing=None)
        store.delete(older_clean_key("vitals"))
        with pytest.raises(DocumentVanishedError):
            begin().cleaner.pending("vitals")

    def test_an_audit_misses_it_as_well(self) -> None:
        """It would take clean files for objects without a record."""
        begin = in_one_bucket()
        record(begin(), "a.zip")
        store = begin().clean.store
        store.write(clean_key("vitals"), b'{"schema_name":"vitals","tables":{}}', replacing=ANYTHING)
        store.delete(clean_key("vitals"))
        store.write(older_clean_key("vitals"), OLDER, replacing=None)
        with pytest.raises(DocumentVanishedError):
            begin().tracker.audit("vitals")


def in_one_bucket() -> Callable[[], Process]:
    """Return what begins a process over a bucket in memory that keeps versions, of raw and clean files."""
    store = MemoryStore(versioned=True)
    return lambda: Process(
        raw=Connection(Access(bucket="raw"), store=store), clean=Connection(Access(bucket="raw"), store=store)
    )
