"""The raw tracker: what its docstrings promise, over S3's twin in memory and, here and there, over a real server."""

import json
import math
import re
import time
from calendar import timegm
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    InvalidNameError,
    OutcomeUnknownError,
    ReadDeniedError,
    StoreError,
)
from cf_data_tracker.model import FileVersion, NewFile, Recorded
from cf_data_tracker.names import raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import Store, Stored
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from conftest import connection_to
from fates import Fate, FatefulStore
from servers.server import Server

GOLDEN: Final = Path(__file__).parent / "golden"
KEY: Final = raw_key("vitals")


def over(store: Store, **patience: Any) -> Tracker:  # noqa: ANN401 - of a Patience
    """Return a tracker over a store."""
    return Tracker.over(Connection(Access(bucket="raw"), store=store, patience=Patience(**patience)))


def new(file: str = "a.zip", **different: Any) -> NewFile:  # noqa: ANN401 - of a NewFile
    """Return a file of vitals/births/FY2023, or one that differs from it."""
    plain = NewFile(
        schema="vitals", table="births", file_name="FY2023", file=file, file_size=1, s3_location=f"s3://raw/{file}"
    )
    return replace(plain, **different)


def record(
    tracker: Tracker,
    file: str = "a.zip",
    schema: str = "vitals",
    **more: Any,  # noqa: ANN401 - what else `Tracker.record` takes
) -> Recorded:
    """Record a file of births/FY2023."""
    return tracker.record(
        schema, "births", "FY2023", file, **{"file_size": 1, "s3_location": f"s3://raw/{file}", **more}
    )


def numbers(done: list[Recorded]) -> list[tuple[str, int, bool]]:
    """Return the file, the version, and whether it is new, of each."""
    return [(one.file, one.version, one.created) for one in done]


@pytest.fixture
def memory() -> MemoryStore:
    """Give an empty store."""
    return MemoryStore()


@pytest.fixture
def store(memory: MemoryStore) -> FatefulStore:
    """Give the same store, with its calls written down."""
    return FatefulStore(memory)


@pytest.fixture
def tracker(store: FatefulStore) -> Tracker:
    """Give a tracker over it."""
    return over(store)


class TestRecord:
    """Recording one file."""

    def test_a_first_file_is_version_1(self, tracker: Tracker) -> None:
        """The outcome says which file it was, its version, and that this call created it."""
        assert record(tracker) == Recorded(
            schema="vitals", table="births", file_name="FY2023", file="a.zip", version=1, created=True
        )

    def test_another_file_is_the_next_version(self, tracker: Tracker) -> None:
        """A file name counts its files."""
        assert [1, 2, 3] == [record(tracker, file).version for file in ("a.zip", "b.zip", "c.zip")]

    def test_the_same_file_keeps_its_version(self, tracker: Tracker) -> None:
        """Recording again is harmless, and says that nothing was created; what is stored stays as it was."""
        record(tracker)
        record(tracker, "b.zip")
        before = tracker.document("vitals")
        again = record(tracker, file_size=999, s3_location="s3://elsewhere/a.zip")
        assert (1, False) == (again.version, again.created)
        assert before == tracker.document("vitals")

    def test_what_is_given_is_stored(self, tracker: Tracker) -> None:
        """Each argument stands in the version as it was given."""
        given: dict[str, Any] = {
            "file_size": 810112,
            "s3_location": "s3://raw/vitals/births/births_q1.zip",
            "timestamp": "2024-03-01 09:00:00",
            "fyear": "FY2023",
            "upload_date": "2024-03-01",
            "checksum": "sha256:1f",
        }
        record(tracker, "births_q1.zip", **given)
        latest = tracker.latest("vitals", "births", "FY2023")
        assert latest is not None
        assert given == {name: getattr(latest, name) for name in given}

    def test_a_recording_has_an_identity(self, tracker: Tracker) -> None:
        """Each version names the recording that created it, and no two the same."""
        record(tracker)
        record(tracker, "b.zip")
        ids = {version.recorded_by for version in tracker.history("vitals", "births")}
        assert 2 == len(ids - {None, ""})

    @pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
    def test_dates_that_are_left_out_are_those_of_now_in_utc(self, tracker: Tracker, zone: str) -> None:
        """Whatever the time zone of this machine."""
        with local_time(zone):
            record(tracker)
        version = tracker.latest("vitals", "births", "FY2023")
        assert version is not None
        assert version.timestamp is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", version.timestamp)
        assert abs(time.time() - timegm(time.strptime(version.timestamp, "%Y-%m-%d %H:%M:%S"))) < 600
        assert f"FY{version.timestamp[:4]}" == version.fyear
        assert version.timestamp[:10] == version.upload_date

    def test_a_date_that_is_given_does_not_decide_the_others(self, tracker: Tracker) -> None:
        """Each that is left out is that of now."""
        record(tracker, timestamp="1999-03-01 09:00:00")
        version = tracker.latest("vitals", "births", "FY2023")
        assert version is not None
        assert "1999-03-01 09:00:00" == version.timestamp
        assert version.fyear is not None
        assert version.fyear > "FY2000"

    def test_schemas_have_documents_of_their_own(self, tracker: Tracker, memory: MemoryStore) -> None:
        """What is recorded in one is not in the other."""
        record(tracker, schema="vitals")
        record(tracker, schema="vital")
        assert [raw_key("vital"), raw_key("vitals")] == memory.list("")
        assert 2 == record(tracker, "b.zip", schema="vital").version

    def test_names_may_be_in_any_language(self, embedded: Server, schema: str) -> None:
        """Spaces, accents and signs that URLs escape are part of a name."""
        tracker = Tracker.over(connection_to(embedded))
        schema = f"Bevölkerung 100%+{schema}?#&="
        done = tracker.record(
            schema, "Geburten & Tode", "1. Halbjahr", "日本 (1).zip", file_size=0, s3_location="s3://é"
        )
        assert done.created
        assert ["Geburten & Tode"] == tracker.tables(schema)
        assert tracker.exists(schema, "Geburten & Tode", "1. Halbjahr", "日本 (1).zip")


@contextmanager
def local_time(zone: str) -> Iterator[None]:
    """Let this machine stand in a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


class TestRecordMany:
    """Recording several files."""

    def test_outcomes_come_in_the_order_of_the_files(self, tracker: Tracker) -> None:
        """Whatever they are: new, known, or of another file name."""
        record(tracker, "known.zip")
        files = [new("b.zip"), new("known.zip"), new("a.zip"), new("b.zip", file_name="FY2024")]
        done = tracker.record_many(files)
        assert [("b.zip", 2, True), ("known.zip", 1, False), ("a.zip", 3, True), ("b.zip", 1, True)] == numbers(done)
        assert ["FY2023", "FY2023", "FY2023", "FY2024"] == [one.file_name for one in done]

    def test_a_batch_of_one_schema_is_one_commit(self, tracker: Tracker) -> None:
        """However many files, it takes one write."""
        tracker.record_many([new(f"{number}.zip") for number in range(500)])
        assert {"read": 1, "write": 1} == dict(tracker.stats.requests)
        assert (1, 1) == (tracker.stats.commits, (tracker.document("vitals") or {})["revision"])

    def test_a_file_that_stands_twice_is_recorded_once(self, tracker: Tracker) -> None:
        """The first of them creates the version, the second is told its number."""
        done = tracker.record_many([new("a.zip"), new("b.zip"), new("a.zip")])
        assert [("a.zip", 1, True), ("b.zip", 2, True), ("a.zip", 1, False)] == numbers(done)
        assert 2 == len(tracker.history("vitals", "births"))

    def test_schemas_may_take_turns(self, tracker: Tracker) -> None:
        """Each gets one commit, and the outcomes still come in the order given."""
        files = [new("a.zip", schema=schema) for schema in ("one", "two", "one", "three", "two")]
        files = [replace(file, file=f"{number}.zip") for number, file in enumerate(files)]
        done = tracker.record_many(files)
        assert [("0.zip", 1, True), ("1.zip", 1, True), ("2.zip", 2, True), ("3.zip", 1, True), ("4.zip", 2, True)] == (
            numbers(done)
        )
        assert ["one", "two", "one", "three", "two"] == [one.schema for one in done]
        assert 3 == tracker.stats.commits

    def test_a_schema_that_fails_does_not_undo_an_earlier_one(self, memory: MemoryStore) -> None:
        """The first is recorded, the second is not, and the same call made again does the rest."""
        tracker = over(FatefulStore(memory, writes=[Fate.ANSWERED, Fate.REFUSED]))
        files = [new("a.zip", schema="one"), new("a.zip", schema="two")]
        with pytest.raises(StoreError, match="ExpiredToken"):
            tracker.record_many(files)
        assert [raw_key("one")] == memory.list("")
        assert [("a.zip", 1, False), ("a.zip", 1, True)] == numbers(tracker.record_many(files))

    def test_nothing_to_record_asks_for_nothing(self, tracker: Tracker, store: FatefulStore) -> None:
        """An empty list has no outcomes and costs no request."""
        assert [] == tracker.record_many([])
        assert [] == store.calls

    @pytest.mark.parametrize("iterable", [iter, tuple, lambda files: (file for file in files), dict.fromkeys])
    def test_files_may_come_from_anything_that_gives_them(
        self, tracker: Tracker, iterable: Callable[[list[NewFile]], Any]
    ) -> None:
        """A generator is taken as a list is."""
        done = tracker.record_many(iterable([new("a.zip"), new("b.zip")]))
        assert [("a.zip", 1, True), ("b.zip", 2, True)] == numbers(done)

    @pytest.mark.parametrize(
        ("wrong", "shown"), [(None, "None"), ("a.zip", "'a.zip'"), ({"file": "a.zip"}, "a dict"), ((), "a tuple")]
    )
    def test_one_wrong_element_stops_the_batch(
        self,
        tracker: Tracker,
        store: FatefulStore,
        wrong: Any,  # noqa: ANN401 - wrong on purpose
        shown: str,
    ) -> None:
        """It is named by its place, and nothing was sent."""
        with pytest.raises(InvalidNameError, match=re.escape(f"files[1] must be a NewFile, got {shown}")):
            tracker.record_many([new("a.zip"), wrong])
        assert [] == store.calls

    @pytest.mark.parametrize("wrong", [None, 5, new("a.zip")])
    def test_what_is_no_list_is_refused(self, tracker: Tracker, wrong: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """One file alone is recorded by `record`, or as a list of one."""
        with pytest.raises(InvalidNameError, match="files must be a list of NewFile"):
            tracker.record_many(wrong)

    def test_a_text_is_no_list_of_files(self, tracker: Tracker) -> None:
        """Its characters are no files either."""
        with pytest.raises(InvalidNameError, match=re.escape("files[0] must be a NewFile, got 'a'")):
            tracker.record_many("a.zip")  # type: ignore[arg-type]


class TestQuestions:
    """`exists`, `latest`, `history`, `tables`: nothing where nothing is, never an error for a new name."""

    @pytest.fixture
    def filled(self, tracker: Tracker) -> Tracker:
        """Give a tracker with two tables and two file names in one of them."""
        tracker.record_many(
            [
                new("a.zip"),
                new("b.zip", file_name="FY2022"),
                new("c.zip"),
                new("d.zip", table="deaths"),
                new("e.zip", file_name="FY2022"),
            ]
        )
        return tracker

    def test_a_file_exists_where_it_was_recorded(self, filled: Tracker) -> None:
        """In its own file name, and in no other."""
        assert filled.exists("vitals", "births", "FY2023", "a.zip")
        assert not filled.exists("vitals", "births", "FY2022", "a.zip")
        assert not filled.exists("vitals", "births", "FY2023", "z.zip")

    def test_the_latest_is_the_highest_version(self, filled: Tracker) -> None:
        """Of one file name."""
        latest = filled.latest("vitals", "births", "FY2023")
        assert latest is not None
        assert ("vitals", "births", "FY2023", "c.zip", 2) == (
            latest.schema,
            latest.table,
            latest.file_name,
            latest.file,
            latest.version,
        )

    def test_the_history_of_a_file_name_is_by_version(self, filled: Tracker) -> None:
        """From the first to the last."""
        assert [("a.zip", 1), ("c.zip", 2)] == files_and_versions(filled.history("vitals", "births", "FY2023"))

    def test_the_history_of_a_table_is_by_file_name(self, filled: Tracker) -> None:
        """File names come in the order in which they came in, and each by version."""
        history = filled.history("vitals", "births")
        assert [("a.zip", 1), ("c.zip", 2), ("b.zip", 1), ("e.zip", 2)] == files_and_versions(history)

    def test_the_history_is_in_order_where_the_document_is_not(self, memory: MemoryStore) -> None:
        """Documents in the wild hold versions in any order."""
        versions = [{"version": number, "file": f"{number}.zip"} for number in (3, 1, 2)]
        memory.write(KEY, document_of(versions), replacing=None)
        tracker = over(memory)
        assert [1, 2, 3] == [version.version for version in tracker.history("vitals", "births")]
        latest = tracker.latest("vitals", "births", "FY2023")
        assert latest is not None
        assert 3 == latest.version

    def test_what_an_older_writer_left_out_is_none(self, memory: MemoryStore) -> None:
        """Only the number and the file have to be there."""
        memory.write(KEY, document_of([{"version": 1, "file": "a.zip"}]), replacing=None)
        assert [
            FileVersion(
                schema="vitals",
                table="births",
                file_name="FY2023",
                file="a.zip",
                version=1,
                file_size=None,
                s3_location=None,
                timestamp=None,
                fyear=None,
                upload_date=None,
                checksum=None,
                recorded_by=None,
            )
        ] == over(memory).history("vitals", "births")

    def test_tables_come_in_the_order_in_which_they_came(self, filled: Tracker) -> None:
        """Each once."""
        assert ["births", "deaths"] == filled.tables("vitals")

    def test_a_table_that_stands_twice_is_one_table(self, memory: MemoryStore) -> None:
        """Releases of the earlier package took turns between two keys, so a table may stand under both."""
        tables = [{key: name, "files": []} for key, name in (("name", "a"), ("table_name", "b"), ("table_name", "a"))]
        memory.write(
            KEY, json.dumps({"tables": [{"schema_name": "vitals", "tables": tables}]}).encode(), replacing=None
        )
        assert ["a", "b"] == over(memory).tables("vitals")

    @pytest.mark.parametrize("schema", ["vitals", "unheard-of"])
    def test_of_what_is_not_there_nothing_is_told(self, filled: Tracker, schema: str) -> None:
        """A schema, a table, a file name or a file that is new is no error."""
        assert not filled.exists(schema, "marriages", "FY2023", "a.zip")
        assert filled.latest(schema, "marriages", "FY2023") is None
        assert filled.latest(schema, "births", "FY1999") is None
        assert [] == filled.history(schema, "marriages")
        assert [] == filled.history(schema, "births", "FY1999")

    def test_a_schema_that_is_not_there_has_no_tables_and_no_document(self, filled: Tracker) -> None:
        """Nor does asking make one."""
        assert [] == filled.tables("unheard-of")
        assert filled.document("unheard-of") is None

    def test_a_document_of_another_schema_is_empty_for_this_one(self, memory: MemoryStore) -> None:
        """What stands in it for others is neither shown nor taken away."""
        memory.write(KEY, document_of([{"version": 1, "file": "a.zip"}], schema="other"), replacing=None)
        tracker = over(memory)
        assert [] == tracker.tables("vitals")
        assert 1 == record(tracker).version
        assert ["other", "vitals"] == [entry["schema_name"] for entry in (tracker.document("vitals") or {})["tables"]]

    def test_questions_write_nothing(self, filled: Tracker, store: FatefulStore) -> None:
        """They read."""
        store.calls.clear()
        filled.exists("vitals", "births", "FY2023", "a.zip")
        filled.latest("vitals", "births", "FY2023")
        filled.history("vitals", "births")
        filled.tables("vitals")
        assert {"read"} == set(store.calls)


def files_and_versions(history: list[FileVersion]) -> list[tuple[str, int]]:
    """Return the file and the number of each version."""
    return [(version.file, version.version) for version in history]


def document_of(versions: Sequence[Mapping[str, object]], schema: str = "vitals") -> bytes:
    """Return a stored document of births/FY2023."""
    files = [{"file_name": "FY2023", "current_version": len(versions), "versions": versions}]
    tables = [{"name": "births", "files": files}]
    return json.dumps({"tables": [{"schema_name": schema, "tables": tables}]}).encode()


class TestCosts:
    """What a call costs, as `stats` has it."""

    def test_a_document_just_read_is_not_sent_again(self, embedded: Server, schema: str) -> None:
        """A second question costs one conditional read, which is answered 304 and carries no document."""
        record(Tracker.over(connection_to(embedded)), schema=schema)
        tracker = Tracker.over(connection_to(embedded))
        assert tracker.exists(schema, "births", "FY2023", "a.zip")
        first = tracker.stats
        assert ({"read": 1}, 0) == (dict(first.requests), first.unchanged)
        assert tracker.latest(schema, "births", "FY2023") is not None
        second = tracker.stats
        assert ({"read": 2}, 1) == (dict(second.requests), second.unchanged)
        assert 0 < first.bytes_read == second.bytes_read

    def test_a_quiet_document_costs_one_write_a_recording(self, embedded: Server, schema: str) -> None:
        """After the first the ETag is carried."""
        tracker = Tracker.over(connection_to(embedded))
        for number in range(3):
            record(tracker, f"{number}.zip", schema=schema)
        stats = tracker.stats
        assert ({"read": 1, "write": 3}, 3, 0) == (dict(stats.requests), stats.commits, stats.conflicts)
        assert 0 == stats.bytes_read < stats.bytes_written

    def test_others_are_seen_at_once(self, embedded: Server, schema: str) -> None:
        """What another worker has recorded is there for the next question, and its conflict is counted."""
        ours, theirs = (Tracker.over(connection_to(embedded)) for _ in range(2))
        record(ours, schema=schema)
        assert 2 == record(theirs, "b.zip", schema=schema).version
        assert ours.exists(schema, "births", "FY2023", "b.zip")
        record(theirs, "c.zip", schema=schema)
        assert 4 == record(ours, "d.zip", schema=schema).version
        assert 1 == ours.stats.conflicts

    def test_statistics_are_a_picture_of_a_moment(self, tracker: Tracker) -> None:
        """What is counted afterwards does not change them."""
        before = tracker.stats
        record(tracker)
        assert {} == dict(before.requests)
        assert 1 == tracker.stats.commits

    def test_what_goes_unanswered_is_counted(self, memory: MemoryStore) -> None:
        """So that a bad network shows."""
        tracker = over(FatefulStore(memory, writes=[Fate.LOST, Fate.SLOW_DOWN]), first=0.0)
        record(tracker)
        assert (2, 1) == (tracker.stats.unanswered, tracker.stats.commits)


class TestGolden:
    """Documents of the earlier package work on day one."""

    @pytest.mark.parametrize(
        ("schema", "document", "versions"), [("vitals", "vitals_0.3.11.json", 3), ("legacy", "legacy_0.3.9.json", 2)]
    )
    def test_recording_goes_on_where_the_earlier_package_stopped(
        self, memory: MemoryStore, schema: str, document: str, versions: int
    ) -> None:
        """Whichever key its tables stand under: the next number is given, and nothing that was there is lost."""
        stored = (GOLDEN / document).read_bytes()
        memory.write(raw_key(schema), stored, replacing=None)
        tracker = over(memory)
        before = tracker.history(schema, "deaths", "FY2022")
        assert versions == len(before)
        done = tracker.record(schema, "deaths", "FY2022", "new.zip", file_size=1, s3_location="s3://raw/new.zip")
        assert (versions + 1, True) == (done.version, done.created)
        after = tracker.history(schema, "deaths", "FY2022")
        assert before == after[:-1]
        assert tracker.tables(schema) == over(_holding(raw_key(schema), stored)).tables(schema)
        assert stripped(tracker.document(schema), "new.zip") == stripped(json.loads(stored), "new.zip")

    @pytest.mark.parametrize(
        ("schema", "document", "file"),
        [("vitals", "vitals_0.3.11.json", "deaths_FY2022_3.zip"), ("legacy", "legacy_0.3.9.json", "FY2022")],
    )
    def test_a_file_that_the_earlier_package_recorded_is_there(
        self, memory: MemoryStore, schema: str, document: str, file: str
    ) -> None:
        """It is found, and recording it again changes nothing."""
        stored = (GOLDEN / document).read_bytes()
        memory.write(raw_key(schema), stored, replacing=None)
        tracker = over(memory)
        assert tracker.exists(schema, "deaths", "FY2022", file)
        assert not tracker.record(schema, "deaths", "FY2022", file, file_size=1, s3_location="s3://raw/x").created
        there = memory.read(raw_key(schema))
        assert isinstance(there, Stored)
        assert stored == there.body


def _holding(key: str, body: bytes) -> MemoryStore:
    store = MemoryStore()
    store.write(key, body, replacing=None)
    return store


def stripped(document: Any, file: str) -> Any:  # noqa: ANN401 - JSON
    """Return a document without one file's versions, and without what counts them."""
    if isinstance(document, list):
        return [
            stripped(entry, file) for entry in document if not (isinstance(entry, dict) and entry.get("file") == file)
        ]
    if isinstance(document, dict):
        return {
            key: stripped(value, file) for key, value in document.items() if key not in ("revision", "current_version")
        }
    return document


class TestBadInput:
    """What cannot be a name or a size is told before anything is sent."""

    GOOD: Final[dict[str, Any]] = {
        "schema": "vitals",
        "table": "births",
        "file_name": "FY2023",
        "file": "a.zip",
        "file_size": 1,
        "s3_location": "s3://raw/a.zip",
    }

    @pytest.mark.parametrize("name", ["schema", "table", "file_name", "file"])
    @pytest.mark.parametrize(
        "value",
        [
            "",
            "  ",
            "a/b",
            "/",
            "..",
            "a..b",
            ".",
            "a\nb",
            "a\x00",
            "\x7f",
            "a\u2028b",
            "\ud800",
            "x" * 256,
            "é" * 128,
            None,
            5,
            b"a",
        ],
        ids=ascii,
    )
    def test_a_bad_name_is_refused(self, tracker: Tracker, store: FatefulStore, name: str, value: object) -> None:
        """It is empty, has `/` or `..` or a control character in it, is too long, or is no text."""
        with pytest.raises(InvalidNameError, match=f"^{name} must"):
            tracker.record(**{**self.GOOD, name: value})
        assert [] == store.calls

    @pytest.mark.parametrize("size", [-1, 1.0, "1", None, True], ids=lambda size: type(size).__name__)
    def test_a_bad_size_is_refused(self, tracker: Tracker, store: FatefulStore, size: object) -> None:
        """It is a whole number of bytes, 0 or more."""
        with pytest.raises(InvalidNameError, match=r"^file_size must"):
            tracker.record(**{**self.GOOD, "file_size": size})
        assert [] == store.calls

    @pytest.mark.parametrize("name", ["s3_location", "timestamp", "fyear", "upload_date", "checksum"])
    @pytest.mark.parametrize("value", ["", " ", "a\rb", 5, "x" * 2049], ids=ascii)
    def test_a_bad_text_is_refused(self, tracker: Tracker, store: FatefulStore, name: str, value: object) -> None:
        """What describes a file is one line of text, if it is given."""
        with pytest.raises(InvalidNameError, match=f"^{name} must"):
            tracker.record(**{**self.GOOD, name: value})
        assert [] == store.calls

    def test_the_trackers_own_prefix_is_no_schema(self, tracker: Tracker, store: FatefulStore) -> None:
        """Its own objects are there."""
        with pytest.raises(InvalidNameError, match="the tracker keeps its own objects there"):
            tracker.record(**{**self.GOOD, "schema": "_cf_tracker"})
        assert [] == store.calls

    def test_the_longest_names_fit_into_a_key(self, tracker: Tracker, memory: MemoryStore) -> None:
        """A schema stands in its key twice, and the key is within S3's 1,024 bytes."""
        longest = "é" * 127 + "x"
        assert tracker.record(
            **{**self.GOOD, **dict.fromkeys(("schema", "table", "file_name", "file"), longest)}
        ).created
        assert [raw_key(longest)] == memory.list("")
        assert len(raw_key(longest).encode()) <= 1024

    @pytest.mark.parametrize("bad", ["", "a/b", "..", None, 5])
    def test_questions_refuse_bad_names_too(
        self,
        tracker: Tracker,
        store: FatefulStore,
        bad: Any,  # noqa: ANN401 - wrong on purpose
    ) -> None:
        """A question about what cannot be there is a mistake of whoever asks."""
        for question in (
            lambda: tracker.exists(bad, "births", "FY2023", "a.zip"),
            lambda: tracker.exists("vitals", bad, "FY2023", "a.zip"),
            lambda: tracker.exists("vitals", "births", "FY2023", bad),
            lambda: tracker.latest(bad, "births", "FY2023"),
            lambda: tracker.latest("vitals", bad, "FY2023"),
            lambda: tracker.history(bad, "births"),
            lambda: tracker.history("vitals", bad),
            lambda: tracker.tables(bad),
            lambda: tracker.document(bad),
        ):
            with pytest.raises(InvalidNameError):
                question()
        assert [] == store.calls

    @pytest.mark.parametrize(
        "bad",
        [
            "",
            "a/b",
            "..",
            5,
            None,
        ],
    )
    def test_questions_about_one_file_name_need_one(self, tracker: Tracker, bad: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """Only a history may be of all of them."""
        for question in (
            lambda: tracker.exists("vitals", "births", bad, "a.zip"),
            lambda: tracker.latest("vitals", "births", bad),
        ):
            with pytest.raises(InvalidNameError):
                question()


BAD_DOCUMENTS: Final = {
    "": ("not JSON", b""),
    "[]": ("expected an object, got a list", b"[]"),
    "not UTF-8": ("not UTF-8 at byte 2", b'{"\xff": 1}'),
    "half": ("not JSON", b'{"tables": ['),
    "NaN": ("not JSON: NaN", b'{"tables": NaN}'),
    "twice": ('the key "tables" stands twice', b'{"tables": [], "tables": []}'),
    "tables": ("tables: expected a list, got nothing", b"{}"),
    "revision": ('revision: expected an integer, got "1"', b'{"revision": "1", "tables": []}'),
    "schema_name": (
        "tables[0].schema_name: expected text, got 5",
        b'{"tables": [{"schema_name": 5, "tables": []}]}',
    ),
    "schema twice": (
        'tables[1].schema_name: the schema "v" stands here a second time',
        b'{"tables": [{"schema_name": "v", "tables": []}, {"schema_name": "v", "tables": []}]}',
    ),
    "table": (
        "tables[0].tables[0]: expected the table's name",
        b'{"tables": [{"schema_name": "v", "tables": [{"files": []}]}]}',
    ),
    "current_version": (
        'tables[0].tables[0].files[0].current_version: expected an integer, got "3"',
        b'{"tables": [{"schema_name": "v", "tables": [{"name": "t", "files": [%s]}]}]}'
        % b'{"file_name": "f", "current_version": "3", "versions": []}',
    ),
    "version": (
        "tables[0].tables[0].files[0].versions[0].version: expected an integer, got true",
        b'{"tables": [{"schema_name": "v", "tables": [{"name": "t", "files": [%s]}]}]}'
        % b'{"file_name": "f", "current_version": 1, "versions": [{"version": true, "file": "a"}]}',
    ),
    "a clean document": ("tables: expected a list, got an object", b'{"schema_name": "vitals", "tables": {}}'),
}


class TestBadDocuments:
    """A stored document that is none is told where it is wrong, and left alone."""

    @pytest.mark.parametrize("bad", BAD_DOCUMENTS)
    def test_a_bad_document_is_an_error_with_its_place(self, memory: MemoryStore, bad: str) -> None:
        """To record in it and to ask about it alike; its bytes stay as they were."""
        problem, body = BAD_DOCUMENTS[bad]
        etag = memory.write(KEY, body, replacing=None).etag
        tracker = over(memory)
        for act in (lambda: record(tracker), lambda: tracker.tables("vitals"), lambda: record(tracker)):
            with pytest.raises(DocumentError, match=re.escape(problem)) as caught:
                act()
            assert f"memory://{KEY}" == caught.value.location
            assert str(caught.value).endswith(f"(in memory://{KEY}, which was left as it is)")
        assert Stored(body=body, etag=etag) == memory.read(KEY)

    def test_its_url_is_in_the_message(self, embedded: Server, schema: str) -> None:
        """So that it can be looked at."""
        connection = connection_to(embedded)
        connection.store.write(raw_key(schema), b"rubbish", replacing=None)
        with pytest.raises(DocumentError, match=f"not JSON.*s3://raw/{raw_key(schema)}"):
            record(Tracker.over(connection), schema=schema)
        there = connection.store.read(raw_key(schema))
        assert isinstance(there, Stored)
        assert there.body == b"rubbish"

    def test_a_bad_document_does_not_hold_up_other_schemas(self, memory: MemoryStore, tracker: Tracker) -> None:
        """They have documents of their own."""
        memory.write(KEY, b"rubbish", replacing=None)
        assert record(tracker, schema="other").created

    def test_a_document_that_was_mended_works_at_once(self, memory: MemoryStore, tracker: Tracker) -> None:
        """An error is not remembered."""
        etag = memory.write(KEY, b"rubbish", replacing=None).etag
        with pytest.raises(DocumentError):
            record(tracker)
        memory.write(KEY, b'{"tables": []}', replacing=etag)
        assert record(tracker).created


class TestErrors:
    """What a call raises when the store does not do as it should."""

    def test_contention_ends_in_an_error(self, memory: MemoryStore) -> None:
        """Others kept winning; nothing was written, and nothing was published for others to commit."""
        tracker = over(FatefulStore(memory, writes=[Fate.CONFLICT] * 2), attempts=2, first=0.0)
        with pytest.raises(ContentionError, match="nothing was written"):
            record(tracker)
        assert [] == memory.list("")

    def test_contention_that_goes_on_after_it_was_published_is_an_unknown_outcome(self, memory: MemoryStore) -> None:
        """Others may commit it yet; calling again is safe, and records it once, whoever does so."""
        tracker = over(FatefulStore(memory, writes=[Fate.CONFLICT] * 9), attempts=3, first=0.0)
        with pytest.raises(OutcomeUnknownError, match=r"published for others to commit.*calling again is safe"):
            record(tracker)
        assert [] == tracker.tables("vitals")
        fresh = over(memory)
        assert [1, 2, 1] == [record(fresh, file).version for file in ("a.zip", "b.zip", "a.zip")]
        for number in range(20):  # meanwhile the inbox is looked at, and what waits there is met
            record(fresh, f"{number}.zip")
        assert list(range(1, 23)) == [version.version for version in fresh.history("vitals", "births")]
        assert 22 == len({version.file for version in fresh.history("vitals", "births")})

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.LOST, Fate.NOT_SENT, Fate.CONFLICT, Fate.SLOW_DOWN])
    def test_whatever_befalls_a_write_the_files_are_recorded_once(self, memory: MemoryStore, fate: Fate) -> None:
        """Every attempt is the same recording, so one that has landed finds itself: it created its versions."""
        tracker = over(FatefulStore(memory, writes=[fate, fate]), first=0.0)
        done = tracker.record_many([new("a.zip"), new("b.zip")])
        assert [("a.zip", 1, True), ("b.zip", 2, True)] == numbers(done)
        assert [("a.zip", 1), ("b.zip", 2)] == files_and_versions(tracker.history("vitals", "births"))

    def test_an_unknown_outcome_is_said_to_be_unknown(self, memory: MemoryStore) -> None:
        """Calling again is safe, whether it landed or not."""
        store = FatefulStore(memory, writes=[Fate.LATE] * 3)
        tracker = over(store, attempts=3, first=0.0)
        with pytest.raises(OutcomeUnknownError, match="calling again is safe"):
            record(tracker)
        assert 1 == store.catch_up()
        done = record(tracker)
        assert (1, False) == (done.version, done.created)

    def test_a_document_that_is_gone_is_not_started_anew(self, memory: MemoryStore, tracker: Tracker) -> None:
        """Neither by recording nor in an answer; a tracker that never saw it knows of none."""
        record(tracker)
        memory.delete(KEY)
        for act in (lambda: record(tracker, "b.zip"), lambda: tracker.tables("vitals"), lambda: record(tracker)):
            with pytest.raises(DocumentVanishedError, match=f"memory://{KEY} was there and is gone"):
                act()
        assert [] == memory.list("")
        assert record(over(memory)).created

    def test_without_permission_to_list_a_document_can_be_started(self, memory: MemoryStore) -> None:
        """A missing one reads as denied; the first write tells."""
        assert record(over(FatefulStore(memory, reads=[Fate.DENIED]))).created

    def test_a_question_that_is_denied_is_an_error(self, memory: MemoryStore) -> None:
        """Whether nothing is there cannot be told."""
        with pytest.raises(ReadDeniedError):
            over(FatefulStore(memory, reads=[Fate.DENIED])).tables("vitals")

    def test_a_missing_bucket_is_an_error(self, embedded: Server) -> None:
        """For a question as for a recording."""
        tracker = Tracker.over(connection_to(embedded, "no-such-bucket"))
        with pytest.raises(StoreError, match="no such bucket"):
            tracker.tables("vitals")
        with pytest.raises(StoreError, match="no such bucket"):
            record(tracker)


class TestMaking:
    """The ways to make a tracker."""

    def test_it_can_be_made_of_arguments(self, embedded: Server, schema: str) -> None:
        """Under boto3's names."""
        tracker = Tracker(
            "raw",
            endpoint_url=embedded.endpoint_url,
            region_name=embedded.region,
            aws_access_key_id=embedded.access_key,
            aws_secret_access_key=embedded.secret_key,
        )
        assert record(tracker, schema=schema).created
        assert f"Tracker(bucket='raw', endpoint='{embedded.endpoint_url}')" == repr(tracker)

    def test_it_can_be_made_of_the_environment(
        self, embedded: Server, schema: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And of `.env`; arguments go before either."""
        (scratch / ".env").write_text(f"AWS_DEST_BUCKET_RAW=raw\nAWS_REGION_NAME={embedded.region}\n")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", embedded.endpoint_url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", embedded.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", embedded.secret_key)
        assert record(Tracker.from_env(), schema=schema).created
        assert [] == Tracker.from_env(bucket="clean").tables(schema)

    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            ({"bucket": ""}, "no bucket is named"),
            ({"bucket": "raw", "endpoint_url": "store.invalid"}, "must be a URL"),
            ({"bucket": "raw", "aws_access_key_id": "a"}, "AWS_SECRET_ACCESS_KEY is missing"),
        ],
    )
    def test_settings_that_make_no_connection_are_an_error(self, settings: dict[str, Any], problem: str) -> None:
        """Where they are given, before anything is sent."""
        with pytest.raises(StoreError, match=problem):
            Tracker(**settings)

    @pytest.mark.parametrize("name", ["timeout", "request_timeout"])
    @pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "5", None, True])
    def test_a_time_out_is_a_number_of_seconds(self, name: str, value: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """It is more than none, and not for ever."""
        with pytest.raises(InvalidNameError, match=f"^{name} must be more than 0 seconds"):
            Tracker("raw", **{name: value})
