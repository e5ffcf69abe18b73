"""The clean tracker: what waits to be cleaned, and what was made of which version; both shapes of its document."""

import json
import re
import time
from calendar import timegm
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import pytest

from cf_data_tracker.clean import CleanTracker, _warn_of
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    InvalidNameError,
    NotTrackedError,
    OutcomeUnknownError,
    ReadDeniedError,
    StoreError,
)
from cf_data_tracker.model import CleanRecorded, FileVersion
from cf_data_tracker.names import clean_key, older_clean_key, raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Stored
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from conftest import connection_to
from fates import Fate, FatefulStore
from servers.server import Server

KEY: Final = clean_key("vitals")
OLDER_KEY: Final = older_clean_key("vitals")


@dataclass(frozen=True, kw_only=True)
class World:
    """Two buckets in memory, and the trackers over them."""

    raw: MemoryStore
    clean: MemoryStore
    calls: FatefulStore
    raw_side: Connection
    tracker: Tracker
    cleaner: CleanTracker

    def record(self, file: str = "a.zip", table: str = "births", file_name: str = "FY2023") -> FileVersion:
        """Record a raw file, and return its version."""
        self.tracker.record("vitals", table, file_name, file, file_size=7, s3_location=f"s3://raw/{file}")
        version = self.tracker.latest("vitals", table, file_name)
        assert version is not None
        return version

    def another(self) -> CleanTracker:
        """Return the clean tracker of another worker."""
        return CleanTracker.over(self.raw_side, Connection(Access(bucket="clean"), store=self.clean))

    def stored(self) -> Document:
        """Return the clean document as it is stored."""
        document: Document = json.loads(body_of(self.clean, KEY))
        return document


def body_of(store: MemoryStore, key: str) -> bytes:
    """Return what is stored under a key."""
    there = store.read(key)
    assert isinstance(there, Stored)
    return there.body


def world(
    *,
    reads: list[Fate] | None = None,
    writes: list[Fate] | None = None,
    clean: MemoryStore | None = None,
    patience: Patience | None = None,
) -> World:
    """Return two buckets; requests to the clean one meet these fates."""
    raw, clean = MemoryStore(), clean if clean is not None else MemoryStore()
    calls = FatefulStore(clean, reads=reads or [], writes=writes or [])
    patience = patience if patience is not None else Patience(first=0.0)
    raw_side = Connection(Access(bucket="raw"), store=raw)
    clean_side = Connection(Access(bucket="clean"), store=calls, patience=patience)
    return World(
        raw=raw,
        clean=clean,
        calls=calls,
        raw_side=raw_side,
        tracker=Tracker.over(raw_side),
        cleaner=CleanTracker.over(raw_side, clean_side),
    )


def older(**versions: int) -> bytes:
    """Return an older clean document of births, with these file names at these versions."""
    tables = {
        file_name: {
            "file_info": {
                "raw_file": f"{file_name}.zip",
                "version": version,
                "table_name": "births",
                "output_prefix": f"vitals/births/{file_name}/",
                "modified_on": "2024-03-01",
                "parquet_files": [f"{file_name}.parquet"],
                "remark": "theirs",
            },
            "note": "theirs too",
        }
        for file_name, version in versions.items()
    }
    return json.dumps([{"schema_name": "vitals", "tables": tables}]).encode()


def versions_in(document: Document | None) -> dict[str, int]:
    """Return the version that the document names for each file name of births."""
    records = document["tables"]["births"] if document is not None else {}
    return {file_name: entry["file_info"]["version"] for file_name, entry in records.items()}


@pytest.fixture
def here() -> World:
    """Give two empty buckets."""
    return world()


class TestPending:
    """What waits to be cleaned."""

    def test_what_has_no_record_is_pending(self, here: World) -> None:
        """The newest version of each file name, in the order of the document."""
        here.record("a.zip")
        versions = [here.record("b.zip"), here.record("c.zip", file_name="FY2024"), here.record("d.zip", "deaths")]
        assert versions == here.cleaner.pending("vitals")

    def test_what_has_a_record_is_not(self, here: World) -> None:
        """Until a newer raw version comes."""
        version = here.record("a.zip")
        here.cleaner.record(version, ["a.parquet"])
        assert [] == here.cleaner.pending("vitals")
        newer = here.record("b.zip")
        assert [newer] == here.cleaner.pending("vitals")

    def test_older_versions_that_were_never_cleaned_are_warned_of(
        self, here: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Once for all that ask again and again; `skipped` returns them, and `pending` the newest one alone."""
        _warn_of.cache_clear()
        older = [here.record("q1.zip", "of_quarters"), here.record("q2.zip", "of_quarters")]
        newest = here.record("q3.zip", "of_quarters")
        for _ in range(3):
            assert [newest] == here.cleaner.pending("vitals")
            assert older == here.cleaner.skipped("vitals")
        (claim,) = here.cleaner.claim("vitals")
        assert newest == claim.raw
        (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
        assert warning.startswith("vitals: older versions were never cleaned: 2 of 'of_quarters/FY2023'. ")
        here.cleaner.record(claim, [])
        assert [] == here.cleaner.skipped("vitals")

    def test_a_claim_warns_of_them_too(self, here: World, caplog: pytest.LogCaptureFixture) -> None:
        """A worker that never asks what is pending is warned as well."""
        _warn_of.cache_clear()
        for file in ("q1.zip", "q2.zip"):
            here.record(file, "claimed")
        here.cleaner.claim("vitals")
        assert "1 of 'claimed/FY2023'" in caplog.text

    def test_a_schema_that_is_not_tracked_is_an_error(self, here: World) -> None:
        """The message says where no document was found; it is a KeyError too."""
        with pytest.raises(NotTrackedError, match="the schema vitals is not tracked: memory://vitals/ has no document"):
            here.cleaner.pending("vitals")
        with pytest.raises(KeyError):
            here.cleaner.pending("vitals")

    def test_a_schema_without_files_has_nothing_pending(self, here: World) -> None:
        """It is tracked, and empty."""
        here.raw.write(raw_key("vitals"), b'{"tables": []}', replacing=None)
        assert [] == here.cleaner.pending("vitals")

    @pytest.mark.parametrize("bad", ["", "a/b", "..", "_cf_tracker", None, 5])
    def test_a_schema_has_a_name(self, here: World, bad: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """Nothing is asked about any other."""
        for question in (here.cleaner.pending, here.cleaner.skipped, here.cleaner.document):
            with pytest.raises(InvalidNameError, match=r"^schema must"):
                question(bad)
        assert [] == here.calls.calls

    def test_asking_writes_nothing(self, here: World) -> None:
        """Neither document is begun by a question."""
        here.record()
        here.cleaner.pending("vitals")
        assert here.cleaner.document("vitals") is None
        assert [] == here.clean.list("")
        assert [raw_key("vitals")] == here.raw.list("")

    @pytest.mark.parametrize("document", ["vitals_0.3.11.json", "legacy_0.3.9.json"])
    def test_documents_of_the_earlier_package_work_on_day_one(self, here: World, document: str) -> None:
        """Their versions are pending, and can be recorded."""
        schema = document.partition("_")[0]
        here.raw.write(raw_key(schema), (Path(__file__).parent / "golden" / document).read_bytes(), replacing=None)
        pending = here.cleaner.pending(schema)
        assert pending
        assert all(here.cleaner.record(version, ["x.parquet"]).created for version in pending)
        assert [] == here.cleaner.pending(schema)


class TestRecord:
    """What was made of which version."""

    def test_a_record_names_its_version(self, here: World) -> None:
        """The outcome says what the document names now, and that this call put it there."""
        version = here.record()
        assert here.cleaner.record(version, ["a.parquet"]) == CleanRecorded(
            schema="vitals", table="births", file_name="FY2023", version=1, created=True
        )

    def test_a_record_has_the_shape_of_the_earlier_package(self, here: World) -> None:
        """With what it knows of the raw version, and with the keys of the clean files."""
        version = here.record()
        here.cleaner.record(version, ("a-1.parquet", "a-2.parquet"), timestamp="2024-03-01 09:00:00")
        document = here.stored()
        entry = document["tables"]["births"]["FY2023"]
        recorded_by = entry["file_info"].pop("recorded_by")
        assert {
            "file_info": {
                "raw_file": "a.zip",
                "version": 1,
                "timestamp": "2024-03-01 09:00:00",
                "file_size": 7,
                "s3_location": "s3://raw/a.zip",
                "fyear": version.fyear,
                "upload_date": version.upload_date,
            },
            "clean_files": ["a-1.parquet", "a-2.parquet"],
        } == entry
        assert recorded_by
        assert ("vitals", 1) == (document["schema_name"], document["revision"])

    def test_the_time_is_now_in_utc_where_it_is_left_out(self, here: World) -> None:
        """To the second."""
        here.cleaner.record(here.record(), [])
        stamp = here.stored()["tables"]["births"]["FY2023"]["file_info"]["timestamp"]
        assert abs(time.time() - timegm(time.strptime(stamp, "%Y-%m-%d %H:%M:%S"))) < 600

    def test_a_newer_version_replaces_the_record(self, here: World) -> None:
        """With its own clean files."""
        here.cleaner.record(here.record("a.zip"), ["a.parquet"])
        done = here.cleaner.record(here.record("b.zip"), ["b.parquet"])
        assert (2, True) == (done.version, done.created)
        assert ["b.parquet"] == here.stored()["tables"]["births"]["FY2023"]["clean_files"]

    def test_a_late_worker_takes_nothing_back(self, here: World) -> None:
        """It is told which newer version is there, and nothing is written."""
        first, second = here.record("a.zip"), here.record("b.zip")
        here.cleaner.record(second, ["b.parquet"])
        before = body_of(here.clean, KEY)
        done = here.cleaner.record(first, ["a.parquet"])
        assert (2, False) == (done.version, done.created)
        assert before == body_of(here.clean, KEY)

    def test_the_same_version_keeps_its_record(self, here: World) -> None:
        """The first to record it has recorded it."""
        version = here.record()
        here.cleaner.record(version, ["first.parquet"])
        before = body_of(here.clean, KEY)
        assert not here.cleaner.record(version, ["second.parquet"]).created
        assert before == body_of(here.clean, KEY)

    def test_a_late_worker_that_does_not_know_takes_nothing_back_either(self, here: World) -> None:
        """One that still carries the document of before the newer record finds out by the conflict."""
        first = here.record("a.zip")
        late = here.another()
        late.record(here.record("x.zip", "deaths"), [])
        here.cleaner.record(here.record("b.zip"), ["b.parquet"])
        done = late.record(first, ["a.parquet"])
        assert (2, False) == (done.version, done.created)
        assert {"FY2023": 2} == versions_in(here.stored())

    def test_records_of_other_file_names_stay(self, here: World) -> None:
        """With every field that somebody has added to them."""
        here.cleaner.record(here.record(), ["a.parquet"])
        document = here.stored()
        document["tables"]["births"]["FY2023"]["note"] = "theirs"
        document["owner"] = "theirs too"
        there = here.clean.read(KEY)
        assert isinstance(there, Stored)
        here.clean.write(KEY, json.dumps(document).encode(), replacing=there.etag)
        here.cleaner.record(here.record("b.zip", file_name="FY2024"), [])
        after = here.stored()
        assert document["tables"]["births"]["FY2023"] == after["tables"]["births"]["FY2023"]
        assert "theirs too" == after["owner"]

    def test_no_clean_files_are_a_record_too(self, here: World) -> None:
        """A raw file may hold nothing to clean."""
        assert here.cleaner.record(here.record(), []).created
        assert [] == here.cleaner.pending("vitals")

    def test_clean_files_may_come_from_a_generator(self, here: World) -> None:
        """They are listed as they come."""
        here.cleaner.record(here.record(), (f"{number}.parquet" for number in range(3)))
        assert ["0.parquet", "1.parquet", "2.parquet"] == here.stored()["tables"]["births"]["FY2023"]["clean_files"]

    def test_a_record_whose_answer_was_lost_is_recognised(self) -> None:
        """Whoever sent it has created it, and is told so."""
        here = world(writes=[Fate.ANSWER_LOST])
        done = here.cleaner.record(here.record(), ["a.parquet"])
        assert (1, True) == (done.version, done.created)
        assert 1 == here.stored()["revision"]

    def test_what_a_raw_document_leaves_out_is_left_out(self, here: World) -> None:
        """A version of an older writer may have no size."""
        version = replace(here.record(), file_size=None, fyear=None)
        assert here.cleaner.record(version, []).created
        assert here.stored()["tables"]["births"]["FY2023"]["file_info"]["file_size"] is None


class TestBadInput:
    """What cannot be recorded is told before anything is sent."""

    @pytest.mark.parametrize(
        ("wrong", "shown"), [(None, "None"), ("births", "'births'"), ({"version": 1}, "a dict"), (1, "1")]
    )
    def test_a_raw_version_is_one_that_pending_gave(
        self,
        here: World,
        wrong: Any,  # noqa: ANN401 - wrong on purpose
        shown: str,
    ) -> None:
        """Anything else is no version."""
        with pytest.raises(
            InvalidNameError, match=re.escape(f"raw must be a FileVersion, as pending() gives, got {shown}")
        ):
            here.cleaner.record(wrong, [])
        assert [] == here.calls.calls

    @pytest.mark.parametrize("wrong", ["a.parquet", b"a.parquet", 5, None])
    def test_clean_files_are_a_list(self, here: World, wrong: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """One key alone would be taken for a list of its letters."""
        with pytest.raises(InvalidNameError, match=r"^clean_files must be a list of keys"):
            here.cleaner.record(here.record(), wrong)
        assert [] == here.calls.calls

    @pytest.mark.parametrize("wrong", ["", " ", "a\nb", 5, None, b"a"])
    def test_a_clean_file_is_a_line_of_text(self, here: World, wrong: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """The one that is none is named by its place."""
        with pytest.raises(InvalidNameError, match=re.escape("clean_files[1] must")):
            here.cleaner.record(here.record(), ["a.parquet", wrong])
        assert [] == here.calls.calls

    @pytest.mark.parametrize(
        "different",
        [
            {"schema": "a/b"},
            {"schema": None},
            {"schema": "_cf_tracker"},
            {"table": None},
            {"file_name": 5},
            {"version": "3"},
        ],
    )
    def test_a_raw_version_made_by_hand_is_checked(self, here: World, different: dict[str, Any]) -> None:
        """It has a schema, a table, a file name and a number."""
        with pytest.raises(InvalidNameError):
            here.cleaner.record(replace(here.record(), **different), [])
        assert [] == here.calls.calls

    @pytest.mark.parametrize("wrong", [5, "a\nb", " ", datetime(2024, 3, 1, tzinfo=timezone.utc)])
    def test_a_timestamp_is_a_line_of_text(self, here: World, wrong: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """As that of a raw file is."""
        with pytest.raises(InvalidNameError, match=r"^timestamp must"):
            here.cleaner.record(here.record(), [], timestamp=wrong)
        assert [] == here.calls.calls


class TestOlderDocument:
    """The shape that releases up to 0.3.11 of the earlier package wrote."""

    @pytest.fixture
    def inherited(self, here: World) -> World:
        """Give a bucket in which FY2023 was cleaned at version 2, and FY2022 at version 1, by the earlier package."""
        here.clean.write(OLDER_KEY, older(FY2023=2, FY2022=1), replacing=None)
        return here

    def test_its_records_count(self, inherited: World) -> None:
        """What the earlier package has cleaned is not pending."""
        inherited.record("a.zip")
        inherited.record("b.zip")
        inherited.record("c.zip", file_name="FY2022")
        assert [] == inherited.cleaner.pending("vitals")
        newer = inherited.record("d.zip")
        assert [newer] == inherited.cleaner.pending("vitals")
        assert {"FY2023": 2, "FY2022": 1} == versions_in(inherited.cleaner.document("vitals"))

    def test_asking_carries_nothing_over(self, inherited: World) -> None:
        """Only a record does."""
        inherited.record()
        inherited.cleaner.pending("vitals")
        assert [OLDER_KEY] == inherited.clean.list("")

    def test_the_first_record_carries_it_over(self, inherited: World) -> None:
        """Every field is kept, the clean files stand where ours do, and the older document is left as it was."""
        before = body_of(inherited.clean, OLDER_KEY)
        assert inherited.cleaner.record(inherited.record("x.zip", file_name="FY2024"), ["x.parquet"]).created
        document = inherited.stored()
        assert {"FY2023": 2, "FY2022": 1, "FY2024": 1} == versions_in(document)
        assert {
            **json.loads(older(FY2022=1))[0]["tables"]["FY2022"],
            "clean_files": ["FY2022.parquet"],
        } == document["tables"]["births"]["FY2022"]
        assert 1 == document["revision"]
        assert before == body_of(inherited.clean, OLDER_KEY)

    def test_a_late_worker_does_not_take_its_records_back(self, inherited: World) -> None:
        """Rule 5 holds across the two documents; nothing is written."""
        done = inherited.cleaner.record(inherited.record("a.zip"), ["late.parquet"])
        assert (2, False) == (done.version, done.created)
        assert [OLDER_KEY] == inherited.clean.list("")

    def test_a_newer_version_replaces_its_record(self, inherited: World) -> None:
        """As it replaces one of ours."""
        inherited.record("a.zip")
        inherited.record("b.zip")
        done = inherited.cleaner.record(inherited.record("c.zip"), ["c.parquet"])
        assert (3, True) == (done.version, done.created)
        entry = inherited.stored()["tables"]["births"]["FY2023"]
        assert ["c.parquet"] == entry["clean_files"]

    def test_it_is_carried_over_into_a_document_of_ours(self, inherited: World) -> None:
        """Of two records of one file name the newer counts, wherever it stands."""
        ours = {"FY2023": entry_of(3), "FY2022": entry_of(0)}
        body = json.dumps({"schema_name": "vitals", "tables": {"births": ours}, "revision": 7}).encode()
        inherited.clean.write(KEY, body, replacing=None)
        inherited.cleaner.record(inherited.record("x.zip", file_name="FY2024"), [])
        assert {"FY2023": 3, "FY2022": 1, "FY2024": 1} == versions_in(inherited.stored())
        assert 8 == inherited.stored()["revision"]

    def test_it_is_carried_over_once(self, inherited: World) -> None:
        """What is written to it afterwards does not count, and is not asked for by whoever asks what is there."""
        inherited.cleaner.record(inherited.record("x.zip", file_name="FY2024"), [])
        there = inherited.clean.read(OLDER_KEY)
        assert isinstance(there, Stored)
        inherited.clean.write(OLDER_KEY, older(FY2023=9), replacing=there.etag)
        fresh = inherited.another()
        assert {"FY2023": 2, "FY2022": 1, "FY2024": 1} == versions_in(fresh.document("vitals"))
        assert {"read": 1} == dict(fresh.stats.requests)
        fresh.record(inherited.record("y.zip", file_name="FY2025"), [])
        assert {"FY2023": 2, "FY2022": 1, "FY2024": 1, "FY2025": 1} == versions_in(inherited.stored())

    def test_what_it_has_when_it_is_carried_over_counts(self, inherited: World) -> None:
        """An old worker may have recorded since it was first looked at: it is looked at again."""
        inherited.record()
        inherited.cleaner.pending("vitals")
        there = inherited.clean.read(OLDER_KEY)
        assert isinstance(there, Stored)
        inherited.clean.write(OLDER_KEY, older(FY2023=9), replacing=there.etag)
        inherited.cleaner.record(inherited.record("x.zip", file_name="FY2024"), [])
        assert {"FY2023": 9, "FY2024": 1} == versions_in(inherited.stored())

    def test_once_carried_over_it_may_turn_to_rubbish(self, inherited: World) -> None:
        """Nobody reads it any more, a worker that starts then included."""
        inherited.cleaner.record(inherited.record("x.zip", file_name="FY2024"), [])
        inherited.clean.write(OLDER_KEY, b"rubbish", replacing=ANYTHING)
        assert inherited.another().record(inherited.record("y.zip", file_name="FY2025"), []).created

    def test_it_is_read_once(self, inherited: World) -> None:
        """Recording on does not ask for it again."""
        for file_name in ("FY2024", "FY2025", "FY2026"):
            inherited.cleaner.record(inherited.record(file_name=file_name), [])
        assert {"read": 2, "write": 3} == dict(inherited.cleaner.stats.requests)

    def test_that_there_is_none_is_asked_once(self, here: World) -> None:
        """Where there never was an older document, nobody asks for it after the first record."""
        for file_name in ("FY2024", "FY2025", "FY2026"):
            here.cleaner.record(here.record(file_name=file_name), [])
        assert {"read": 2, "write": 3} == dict(here.cleaner.stats.requests)

    @pytest.mark.parametrize(
        ("body", "where"),
        [
            (b"rubbish", ""),
            (b"{}", ""),
            (b"[]", ""),
            (b'[{"schema_name": "vitals"}]', "[0].tables"),
            (
                b'[{"tables": {"FY2023": {"file_info": {"table_name": "births"}}}}]',
                "[0].tables.FY2023.file_info.version",
            ),
            (b'[{"tables": {"FY2023": {"file_info": {"version": 1}}}}]', "[0].tables.FY2023.file_info.table_name"),
        ],
    )
    def test_one_that_is_none_is_an_error_with_its_place(self, here: World, body: bytes, where: str) -> None:
        """Nothing is written as long as it is not known what it holds."""
        here.clean.write(OLDER_KEY, body, replacing=None)
        version = here.record()
        for act in (lambda: here.cleaner.record(version, []), lambda: here.cleaner.pending("vitals")):
            with pytest.raises(DocumentError) as caught:
                act()
            assert (where, f"memory://{OLDER_KEY}") == (caught.value.where, caught.value.location)
        assert [OLDER_KEY] == here.clean.list("")
        assert body == body_of(here.clean, OLDER_KEY)


def entry_of(version: int) -> dict[str, object]:
    """Return a clean record of a version."""
    return {"file_info": {"version": version}, "clean_files": []}


class TestBadDocuments:
    """A stored document that is none is told where it is wrong, and left alone."""

    @pytest.mark.parametrize(
        ("body", "where"),
        [
            (b"rubbish", ""),
            (b"[]", ""),
            (b'{"tables": {}}', "schema_name"),
            (b'{"schema_name": "vitals"}', "tables"),
            (b'{"schema_name": "vitals", "tables": []}', "tables"),
            (b'{"schema_name": "vitals", "tables": {"births": []}}', "tables.births"),
            (b'{"schema_name": "vitals", "tables": {}, "revision": -1}', "revision"),
            (
                b'{"schema_name": "v", "tables": {"t": {"f": {"file_info": {"version": "3"}, "clean_files": []}}}}',
                "tables.t.f.file_info.version",
            ),
            (
                b'{"schema_name": "v", "tables": {"t": {"f": {"file_info": {"version": 3}}}}}',
                "tables.t.f.clean_files",
            ),
        ],
    )
    def test_a_bad_clean_document_is_an_error_with_its_place(self, here: World, body: bytes, where: str) -> None:
        """To record in it and to ask about it alike; its bytes stay as they were."""
        here.clean.write(KEY, body, replacing=None)
        version = here.record()
        for act in (
            lambda: here.cleaner.record(version, []),
            lambda: here.cleaner.pending("vitals"),
            lambda: here.cleaner.document("vitals"),
        ):
            with pytest.raises(DocumentError) as caught:
                act()
            assert (where, f"memory://{KEY}") == (caught.value.where, caught.value.location)
        assert body == body_of(here.clean, KEY)

    def test_a_bad_raw_document_is_an_error_too(self, here: World) -> None:
        """What is pending cannot be said."""
        here.raw.write(raw_key("vitals"), b"rubbish", replacing=None)
        with pytest.raises(DocumentError, match=re.escape(raw_key("vitals"))):
            here.cleaner.pending("vitals")


class TestPermissions:
    """Where the caller may not list, what is missing reads as denied."""

    def test_a_clean_document_can_be_started(self) -> None:
        """Neither the older document nor ours is there, and both are denied: the first write tells."""
        here = world(reads=[Fate.DENIED, Fate.DENIED])
        assert here.cleaner.record(here.record(), ["a.parquet"]).created
        assert {"FY2023": 1} == versions_in(here.stored())

    def test_a_missing_older_document_holds_up_nobody(self) -> None:
        """It is denied, ours is not."""
        here = world(reads=[Fate.ANSWERED, Fate.DENIED])
        here.clean.write(KEY, b'{"schema_name": "vitals", "tables": {}}', replacing=None)
        version = here.record()
        assert [version] == here.cleaner.pending("vitals")

    def test_what_is_pending_cannot_be_said_of_a_document_that_may_not_be_read(self) -> None:
        """Whether it is missing or forbidden, all would be pending, and cleaned again."""
        here = world(reads=[Fate.DENIED])
        here.record()
        with pytest.raises(ReadDeniedError):
            here.cleaner.pending("vitals")


class TestErrors:
    """What a call raises when the store does not do as it should."""

    def test_contention_that_goes_on_after_it_was_published_is_an_unknown_outcome(self) -> None:
        """Others may commit the record yet; calling again is safe."""
        here = world(writes=[Fate.CONFLICT] * 3, patience=Patience(attempts=3, first=0.0))
        version = here.record()
        with pytest.raises(OutcomeUnknownError, match=r"published for others to commit.*calling again is safe"):
            here.cleaner.record(version, ["a.parquet"])
        assert {} == versions_in(here.cleaner.document("vitals"))
        assert here.cleaner.record(version, ["a.parquet"]).version == 1
        assert {"FY2023": 1} == versions_in(here.stored())

    def test_contention_ends_in_an_error(self) -> None:
        """Nothing was written."""
        here = world(writes=[Fate.CONFLICT] * 2, patience=Patience(attempts=2, first=0.0))
        with pytest.raises(ContentionError):
            here.cleaner.record(here.record(), [])
        assert [] == here.clean.list("")

    def test_an_unknown_outcome_is_said_to_be_unknown(self) -> None:
        """Calling again is safe."""
        here = world(writes=[Fate.LATE] * 2, patience=Patience(attempts=2, first=0.0))
        version = here.record()
        with pytest.raises(OutcomeUnknownError):
            here.cleaner.record(version, ["a.parquet"])
        assert 1 == here.calls.catch_up()
        assert not here.cleaner.record(version, ["a.parquet"]).created

    def test_a_document_that_is_gone_is_not_started_anew(self, here: World) -> None:
        """Neither ours by recording, nor the raw one in an answer."""
        version = here.record()
        here.cleaner.record(version, [])
        here.clean.delete(KEY)
        with pytest.raises(DocumentVanishedError, match=re.escape(KEY)):
            here.cleaner.record(here.record("b.zip"), [])
        assert [] == here.clean.list("")
        here.raw.delete(raw_key("vitals"))
        with pytest.raises(DocumentVanishedError, match=re.escape(raw_key("vitals"))):
            here.cleaner.pending("vitals")

    def test_a_refusal_is_told_as_it_is(self) -> None:
        """What to mend is in the message."""
        here = world(writes=[Fate.REFUSED])
        with pytest.raises(StoreError, match="ExpiredToken"):
            here.cleaner.record(here.record(), [])


class TestOverAServer:
    """The same over HTTP."""

    def test_raw_and_clean_go_to_their_buckets(self, embedded: Server, schema: str) -> None:
        """What is recorded in one bucket is cleaned in the other, and the raw document stays as it is."""
        tracker = Tracker.over(connection_to(embedded))
        tracker.record(schema, "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/a.zip")
        raw = connection_to(embedded).store.read(raw_key(schema))
        cleaner = CleanTracker(
            "raw",
            "clean",
            endpoint_url=embedded.endpoint_url,
            region_name=embedded.region,
            aws_access_key_id=embedded.access_key,
            aws_secret_access_key=embedded.secret_key,
        )
        [version] = cleaner.pending(schema)
        assert cleaner.record(version, ["a.parquet"]).created
        assert [] == cleaner.pending(schema)
        assert raw == connection_to(embedded).store.read(raw_key(schema))
        assert [clean_key(schema)] == connection_to(embedded, "clean").store.list(f"{schema}/")
        assert embedded.endpoint_url in repr(cleaner)

    def test_it_can_be_made_of_the_environment(
        self, embedded: Server, schema: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And of `.env`; arguments go before either."""
        (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_DEST_BUCKET_CLEAN=elsewhere\n")
        monkeypatch.setenv("AWS_REGION_NAME", embedded.region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", embedded.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", embedded.secret_key)
        Tracker.from_env(endpoint_url=embedded.endpoint_url).record(
            schema, "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/a.zip"
        )
        cleaner = CleanTracker.from_env(clean_bucket="clean", endpoint_url=embedded.endpoint_url)
        assert 1 == len(cleaner.pending(schema))
        assert "clean: bucket='clean'" in repr(cleaner)

    def test_a_bucket_that_is_not_named_is_an_error(self, scratch: Path) -> None:
        """The message says where to name it."""
        assert scratch.is_dir()
        with pytest.raises(StoreError, match="AWS_DEST_BUCKET_CLEAN is not set"):
            CleanTracker.from_env(raw_bucket="raw")
