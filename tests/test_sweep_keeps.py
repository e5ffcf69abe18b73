"""What a sweep keeps: all that any document names, in any form, and every object but the one that became outdated."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import pytest

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import DocumentError, InvalidNameError, ReadDeniedError, StoreError
from cf_data_tracker.names import clean_key, older_clean_key, raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Answer, Stored, Unanswered
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.sweep import Swept
from cf_data_tracker.tracker import Tracker
from strategies import file_version

FILE: Final = "vitals/b/p.parquet"
FORMS: Final = [
    FILE,
    f"/{FILE}",
    f"s3://clean/{FILE}",
    f"S3://clean/{FILE}",
    f"https://clean.s3.eu-west-2.amazonaws.com/{FILE}",
    "vitals/b/",
    f"clean/{FILE}",
    "vitals/b/%70.parquet",
    "vitals//b/p.parquet",
    "vitals/b/*.parquet",
    f"arn:aws:s3:::clean/{FILE}",
    f"https://files.example.com/{FILE}?versionId=3",
]


class Bucket(MemoryStore):
    """A bucket whose clock is the store's, and which can be told what to do before it answers."""

    def __init__(self, clock: Callable[[], float], *, versioned: bool) -> None:
        super().__init__(clock=clock, versioned=versioned)
        self.before: Callable[[str, str], None] = lambda kind, key: None  # noqa: ARG005
        self.honours_if_match = True

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read a document."""
        self.before("read", key)
        return super().read(key, unless=unless, most=most)

    def head(self, key: str) -> Any:  # noqa: ANN401 - a Head, or None
        """Look at an object."""
        self.before("head", key)
        return super().head(key)

    def delete(self, *keys: str) -> None:
        """Delete objects."""
        self.before("delete", keys[0])
        super().delete(*keys)

    def delete_unchanged(self, key: str, etag: str) -> bool | None:
        """Delete an object if it is as it was, in a store that honours that."""
        if not self.honours_if_match:
            return None
        self.before("delete", key)
        return super().delete_unchanged(key, etag)


@dataclass(kw_only=True)
class Place:
    """Two buckets, with a clock for the store and one for the workers."""

    versioned: bool = False
    store_now: datetime = datetime(2024, 3, 1, 9, tzinfo=timezone.utc)
    worker_now: datetime = datetime(2024, 3, 1, 9, tzinfo=timezone.utc)
    raw: Bucket = field(init=False)
    clean: Bucket = field(init=False)
    version: int = 0

    def __post_init__(self) -> None:
        self.raw, self.clean = (
            Bucket(lambda: float(int(self.store_now.timestamp())), versioned=self.versioned) for _ in range(2)
        )

    def worker(self, schema: str = "vitals") -> CleanTracker:
        """Return a worker that has read the document of a schema, as `pending` and `claim` do."""
        worker = CleanTracker.over(self.connection("raw"), self.connection("clean"), clock=lambda: self.worker_now)
        worker.document(schema)
        return worker

    def connection(self, name: str) -> Connection:
        """Return a connection to one of the two buckets."""
        store = self.raw if name == "raw" else self.clean
        return Connection(Access(bucket=name), store=store, patience=Patience(first=0.0, attempts=3))

    def record(self, *files: str, schema: str = "vitals", file_name: str = "FY2023") -> None:
        """Record clean files as made of a new raw version."""
        self.version += 1
        raw = replace(file_version(self.version, file_name=file_name), schema=schema)
        self.worker(schema).record(raw, files)

    def record_raw(self, location: str, bucket: str = "raw", schema: str = "vitals") -> None:
        """Record a raw version."""
        self.version += 1
        tracker = Tracker.over(self.connection(bucket))
        tracker.record(schema, "births", "FY2020", f"{self.version}.zip", file_size=1, s3_location=location)

    def write(self, body: bytes = b"rows", key: str = FILE) -> None:
        """Write a clean file."""
        self.clean.write(key, body, replacing=ANYTHING)

    def pass_by(self, **time: float) -> None:
        """Let time pass for all."""
        self.store_now += timedelta(**time)
        self.worker_now += timedelta(**time)

    def sweep(self, **options: Any) -> list[Swept]:  # noqa: ANN401 - of `sweep`
        """Sweep, and delete."""
        return self.worker().sweep("vitals", **{"dry_run": False, **options})

    def left(self) -> list[str | None]:
        """Return what a sweep that deletes says of each file that is due."""
        return [one.left for one in self.sweep()]

    def has(self, key: str = FILE) -> bool:
        """Return whether an object is there."""
        return self.clean.head(key) is not None

    def stored(self) -> Document:
        """Return the clean document as it is stored."""
        there = self.clean.read(clean_key("vitals"))
        assert isinstance(there, Stored)
        document: Document = json.loads(there.body)
        return document

    def edit(self, **fields: object) -> None:
        """Change the clean document by hand; what is `None` is taken out."""
        changed = {key: value for key, value in {**self.stored(), **fields}.items() if value is not None}
        self.clean.write(clean_key("vitals"), json.dumps(changed).encode(), replacing=ANYTHING)


@pytest.fixture(params=[False, True], ids=["no versions", "versions"])
def place(request: pytest.FixtureRequest) -> Place:
    """Give a place where a file became outdated eight days ago."""
    place = Place(versioned=request.param)
    place.write()
    place.record(FILE)
    place.pass_by(days=1)
    place.record("vitals/b/q.parquet")
    place.pass_by(days=8)
    return place


def test_what_nothing_names_goes(place: Place) -> None:
    """Else all that follows would hold of a sweep that deletes nothing."""
    assert [None] == place.left()
    assert not place.has()


class TestForms:
    """One object, named in two ways."""

    @pytest.mark.parametrize("form", FORMS)
    def test_what_a_record_names_in_another_form_stays(self, place: Place, form: str) -> None:
        """Though it became outdated under the first."""
        place.record(form, file_name="FY2024")
        assert all(place.left())
        assert place.has()

    @pytest.mark.parametrize("form", [form for form in FORMS if form != FILE])
    def test_what_is_reprocessed_and_named_in_another_form_stays(self, form: str) -> None:
        """Written again with the same bytes, by the same file name, in the same second."""
        place = Place()
        place.write()
        place.record(FILE)
        place.write()
        place.record(form)
        place.pass_by(days=8)
        place.sweep()
        assert place.has()

    @pytest.mark.parametrize("form", [form for form in FORMS if form not in (FILE, FORMS[2], FORMS[3], FORMS[4])])
    def test_what_is_not_certain_is_not_deleted(self, form: str) -> None:
        """An outdated name that may mean several objects stays on the list, and says so."""
        place = Place()
        place.write()
        place.record(form)
        place.record()
        place.pass_by(days=8)
        (swept,) = place.sweep()
        assert swept.left is not None or form in (f"clean/{FILE}", f"arn:aws:s3:::clean/{FILE}")
        assert place.has() or form.startswith("arn:")

    def test_what_another_name_made_outdated_a_moment_ago_stays(self, place: Place) -> None:
        """Readers of the record that named it last have a week from then on."""
        place.record(f"s3://clean/{FILE}", file_name="FY2024")
        place.record(file_name="FY2024")
        (left,) = place.left()
        assert (
            left
            == "memory://vitals/vitals_clean_version_info.json lists it as outdated since 2024-03-10T09:00:00.000Z only"
        )
        assert place.has()
        place.pass_by(days=8)
        assert [None, None] == place.left()

    @pytest.mark.parametrize("name", ["gs://clean/a", "file:///a", "s3://clean", "s3://clean/"])
    def test_what_is_no_object_in_s3_is_not_recorded(self, name: str) -> None:
        """The error names the place in the list; nothing is sent."""
        place = Place()
        with pytest.raises(InvalidNameError, match=r"clean_files\[1\]"):
            place.record("vitals/a", name)
        assert [] == place.clean.list("")

    def test_what_an_earlier_release_recorded_is_read(self, place: Place) -> None:
        """A stored document is not refused for a name, and what may be meant by it stays."""
        place.edit(tables={"births": {"FY2023": {"file_info": {"version": 2}, "clean_files": [f"gs://clean/{FILE}"]}}})
        assert all(place.left())
        assert place.has()


class TestDocuments:
    """What else names an object."""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("schema", ["vitals", "weather"])
    def test_what_a_raw_version_has_as_its_location_stays(self, place: Place, form: str, schema: str) -> None:
        """A raw file that was passed through as it is."""
        place.record_raw(form, schema=schema)
        (left,) = place.left()
        assert left == f"memory://{raw_key(schema)} names it, or may"
        assert place.has()

    def test_what_a_raw_document_of_the_clean_bucket_names_stays(self, place: Place) -> None:
        """Raw and clean files may share a bucket."""
        place.record_raw(f"s3://clean/{FILE}", bucket="clean", schema="weather")
        assert all(place.left())
        assert place.has()

    def test_a_raw_file_of_another_bucket_keeps_nothing(self, place: Place) -> None:
        """It has a key of the same name, and is another object."""
        place.record_raw(f"s3://raw/{FILE}")
        assert [None] == place.left()

    def test_what_a_clean_record_of_another_schema_names_stays(self, place: Place) -> None:
        """The reason says which document it is."""
        place.record(FILE, schema="weather")
        assert [f"memory://{clean_key('weather')} names it, or may"] == place.left()
        assert place.has()

    def test_what_an_older_document_of_another_schema_names_stays(self, place: Place) -> None:
        """As long as its records have not been carried over."""
        record = {"file_info": {"table_name": "t", "version": 1, "parquet_files": [FILE]}}
        older = [{"schema_name": "weather", "tables": {"FY2023": record}}]
        place.clean.write(older_clean_key("weather"), json.dumps(older).encode(), replacing=None)
        assert all(place.left())
        assert place.has()

    def test_the_raw_file_that_a_clean_record_rests_on_stays(self, place: Place) -> None:
        """Though the raw document is in a bucket that the sweep does not know."""
        rests = {"file_info": {"version": 2, "s3_location": f"s3://clean/{FILE}"}, "clean_files": []}
        place.edit(tables={"births": {"FY2023": rests}})
        assert all(place.left())

    def test_what_is_recorded_at_the_last_moment_stays(self, place: Place) -> None:
        """All documents are read again right before, those of a schema that is new as well."""

        def records(kind: str, key: str) -> None:
            if (kind, key) == ("head", FILE):
                place.clean.before = lambda kind, key: None  # noqa: ARG005
                place.record(FILE, schema="weather")

        place.clean.before = records
        assert [f"memory://{clean_key('weather')} names it, or may"] == place.left()
        assert place.has()

    @pytest.mark.parametrize("of", [raw_key, clean_key, older_clean_key])
    def test_a_document_that_cannot_be_read_keeps_all(self, place: Place, of: Callable[[str], str]) -> None:
        """The error says which it is; nothing is deleted."""
        place.clean.write(of("weather"), b"rubbish", replacing=None)
        with pytest.raises(DocumentError, match=of("weather")):
            place.sweep()
        assert place.has()

    @pytest.mark.parametrize("of", [raw_key, clean_key, older_clean_key])
    def test_a_document_that_may_not_be_read_keeps_all(self, place: Place, of: Callable[[str], str]) -> None:
        """So is a missing one answered to callers that may not list: it may name anything."""
        place.clean.write("weather/file", b"", replacing=None)

        def denies(kind: str, key: str) -> None:
            if kind == "read" and key == of("weather"):
                raise ReadDeniedError(f"access denied: {key}")

        place.clean.before = denies
        with pytest.raises(ReadDeniedError, match=of("weather")):
            place.sweep()
        assert place.has()

    def test_folders_without_documents_are_no_schemas(self, place: Place) -> None:
        """Nor are objects at the top, and what the tracker keeps for itself."""
        for key in ("weather/a/b", "top", "_cf_tracker/vitals_version_info.json", "_cf_tracker/x/y"):
            place.clean.write(key, b"", replacing=None)
        assert [None] == place.left()


class TestIdentity:
    """It is the object, not the time, that says whether it was written again."""

    @pytest.mark.parametrize("milliseconds", [0, 1, 300, 999])
    def test_what_was_written_again_in_the_same_second_stays(self, milliseconds: int) -> None:
        """Other bytes are another object, however soon they come."""
        place = Place()
        place.write()
        place.record(FILE)
        place.record()
        place.pass_by(milliseconds=milliseconds)
        place.write(b"other rows")
        place.pass_by(days=8)
        assert ["it was written again since"] == [one.left for one in place.sweep(dry_run=True)] == place.left()
        assert place.has()

    @pytest.mark.parametrize("skew", [timedelta(days=-300), timedelta(minutes=-5), timedelta(hours=3)])
    def test_no_clock_of_a_worker_is_compared_with_the_store(self, skew: timedelta) -> None:
        """One that is slow keeps no file for ever, and one that is fast deletes none that was written again."""
        place = Place()
        place.worker_now += skew
        place.write()
        place.record(FILE)
        place.record()
        place.pass_by(minutes=10)
        place.write(b"other rows")
        place.pass_by(days=8)
        assert ["it was written again since"] == place.left()
        place.pass_by(days=8)
        assert [None] == place.left()
        assert not place.has()

    def test_what_was_written_again_goes_a_week_after_a_sweep_saw_it(self, place: Place) -> None:
        """If it is the same object then; and once more if it is not."""
        for body in (b"1", b"2"):
            place.write(body)
            assert ["it was written again since"] == place.left()
            assert [] == place.left()
            place.pass_by(days=8)
        assert [None] == place.left()
        assert not place.has()
        assert not {"outdated", "outdated_seen"} & set(place.stored())

    def test_of_what_nobody_noted_a_sweep_notes_it(self, place: Place) -> None:
        """As of an earlier release: a dry run says so, a sweep notes it, and the one a week later deletes it."""
        place.edit(outdated_seen=None)
        (dry,) = place.sweep(dry_run=True)
        assert "nobody noted which object it was" in (dry.left or "")
        assert "outdated_seen" not in place.stored()
        assert [dry] == place.sweep()
        seen = place.stored()["outdated_seen"][FILE]
        assert {"etag", "modified", "revision"} == set(seen) - {"version"}
        assert place.versioned == ("version" in seen)
        place.pass_by(days=8)
        assert [None] == place.left()
        assert not place.has()

    @pytest.mark.parametrize("fails", [StoreError("403"), Unanswered("no answer"), ReadDeniedError("403")])
    def test_a_recorder_that_cannot_look_records_none_the_less(self, fails: Exception) -> None:
        """Which object it was is not known then."""
        place = Place()
        place.write()
        place.record(FILE)

        def raises(kind: str, _key: str) -> None:
            if kind == "head":
                raise fails

        place.clean.before = raises
        place.record()
        assert "outdated_seen" not in place.stored()
        assert [FILE] == list(place.stored()["outdated"])

    def test_no_more_than_it_takes_is_asked_for(self) -> None:
        """A look at each file that is replaced, and none where none is."""
        place = Place()
        place.write()
        worker = place.worker()
        worker.record(file_version(1), [FILE, "vitals/b/2.parquet"])
        assert {"read", "write"} >= set(worker.stats.requests)
        before = dict(worker.stats.requests)
        worker.record(file_version(2), [FILE])
        assert {"head": 1, "write": before["write"] + 1} == {
            kind: worker.stats.requests[kind] for kind in ("head", "write")
        }
        assert before["read"] == worker.stats.requests["read"]

    @pytest.mark.parametrize("honours", [True, False])
    def test_what_is_written_between_look_and_deletion_stays(self, place: Place, honours: bool) -> None:  # noqa: FBT001 - of the store
        """By the condition of the deletion, or by one more look right before it."""
        place.clean.honours_if_match = honours
        looks = 0

        def writes(kind: str, key: str) -> None:
            nonlocal looks
            looks += (kind, key) == ("head", FILE)
            if (kind == "delete") if honours else (kind == "head" and looks == 2):
                place.clean.before = lambda kind, key: None  # noqa: ARG005
                place.write(b"other rows")

        place.clean.before = writes
        assert ["it was written again since"] == place.left()
        assert place.has()
        assert FILE in place.stored()["outdated"]

    def test_what_another_sweep_noted_meanwhile_stays(self, place: Place) -> None:
        """Two sweeps beside each other: what one has judged is not what the other has noted."""
        place.write(b"other rows")

        def sweeps(kind: str, key: str) -> None:
            if (kind, key) == ("head", FILE):
                place.clean.before = lambda kind, key: None  # noqa: ARG005
                place.sweep()
                place.pass_by(days=8)

        other = place.worker()
        place.clean.before = sweeps
        assert 1 == len(other.sweep("vitals", dry_run=False))
        assert place.has()


class TestClaims:
    """A worker that may be about to record what it has written."""

    def claimed(self, place: Place) -> tuple[CleanTracker, Any]:
        """Return a worker and its claim, under which it has written a file anew."""
        place.record_raw("s3://raw/x.zip")
        worker = place.worker()
        (claim,) = worker.claim("vitals", lease=30 * 86_400)
        return worker, claim

    def test_what_a_claimant_may_have_written_waits(self, place: Place) -> None:
        """However short `older_than` is: the claim was made before a sweep noted the object."""
        worker, claim = self.claimed(place)
        place.write(b"other rows")
        assert ["it was written again since"] == [one.left for one in place.sweep(older_than=0.001)]
        place.pass_by(seconds=1)
        (swept,) = place.sweep(older_than=0.001)
        assert "births/FY2020 is claimed" in (swept.left or "")
        assert place.has()
        worker.record(claim, [FILE])
        assert [] == place.sweep(older_than=0.001)
        assert place.has()

    def test_when_the_claim_has_ended_it_goes(self, place: Place) -> None:
        """With nothing recorded of it."""
        worker, claim = self.claimed(place)
        place.write(b"other rows")
        place.sweep(older_than=0.001)
        worker.release(claim)
        place.pass_by(seconds=1)
        assert [None] == [one.left for one in place.sweep(older_than=0.001)]

    def test_a_later_claim_keeps_nothing(self, place: Place) -> None:
        """What its worker writes is another object."""
        self.claimed(place)
        assert [None] == [one.left for one in place.sweep(older_than=0.001)]

    def test_a_claim_that_ran_out_long_ago_keeps_nothing(self, place: Place) -> None:
        """A dead worker records nothing any more."""
        self.claimed(place)
        place.write(b"other rows")
        place.sweep()
        place.pass_by(days=38)
        assert [None] == place.left()
