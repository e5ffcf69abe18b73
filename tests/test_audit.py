"""The audit: every difference between a tracker and its bucket is found, and nothing else, by few requests."""

import hashlib
import io
import json
import pickle
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.audit import Audit, Waiting
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import to_bytes
from cf_data_tracker.errors import DeniedError, DocumentVanishedError, InvalidNameError, ReadDeniedError, StoreError
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import clean_key, inbox_prefix, older_clean_key
from cf_data_tracker.rules.audit import Finding
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, DELETED, Answer, Content, Head, Page
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from conftest import connection_to
from servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HOME = "memory://"
DAY = 1_700_000_000.0
"""2023-11-14 22:13:20."""


class Silent(MemoryStore):
    """A bucket that does not say that an object was deleted."""

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read the object."""
        answer = super().read(key, unless=unless, most=most)
        return None if answer is DELETED else answer


class Bucket(MemoryStore):
    """A bucket in memory; what is to happen beside a listing can be said."""

    def __init__(self) -> None:
        super().__init__(clock=lambda: self.time)
        self.time = DAY
        self.beside_listing: Callable[[], object] = lambda: None
        self.encrypted = False
        self.in_disorder = False

    def page(self, prefix: str, *, after: str = "") -> Page:
        """Give a page, after what is to happen has happened."""
        page = super().page(prefix, after=after)
        act, self.beside_listing = self.beside_listing, lambda: None
        act()
        return replace(page, objects=list(reversed(page.objects))) if self.in_disorder else page

    def head(self, key: str) -> Head | None:
        """Tell of an object."""
        head = super().head(key)
        return replace(head, encrypted=self.encrypted) if head is not None else None

    def put(self, key: str, body: bytes = b"5 byt") -> None:
        """Put an object there, whatever was there."""
        self.write(key, body, replacing=ANYTHING)

    def put_with_sha256(self, key: str, body: bytes) -> None:
        """Put an object there as an upload does."""
        digest, md5 = hashlib.sha256(body).digest(), hashlib.md5(body).digest()
        self.delete(key)
        self.create(
            key, Content(size=len(body), sha256=digest, md5=md5, opened=partial(io.BytesIO, body)), lambda _: None
        )


@pytest.fixture
def bucket() -> Bucket:
    """Give an empty bucket."""
    return Bucket()


@pytest.fixture
def tracker(bucket: Bucket) -> Tracker:
    """Give a tracker over it."""
    return tracker_over(bucket)


def tracker_over(bucket: MemoryStore) -> Tracker:
    """Return another tracker, as of another worker."""
    return Tracker.over(Connection(Access(bucket="raw"), store=bucket))


def record(tracker: Tracker, file: str = "q1.zip", file_name: str = "FY2023", **fields: Any) -> None:  # noqa: ANN401 - any field
    """Record a file of five bytes, by default under its own key."""
    given: dict[str, Any] = {"file_size": 5, "s3_location": f"{HOME}{key_of(file, file_name)}"} | fields
    tracker.record("vitals", "births", file_name, file, **given)


def key_of(file: str = "q1.zip", file_name: str = "FY2023") -> str:
    """Return the key that a file has by default."""
    return f"vitals/births/{file_name}/{file}"


def kinds(audit: Audit) -> dict[str, str]:
    """Return what is wrong, by key."""
    return {finding.location.removeprefix(HOME): finding.kind for finding in audit.findings}


def checksum_of(body: bytes) -> str:
    """Return the checksum that an upload records."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def test_nothing_is_found_where_all_is_well(bucket: Bucket, tracker: Tracker) -> None:
    """What is recorded is there, and what is there is recorded; documents and folders are nobody's."""
    for file in ("q1.zip", "q2.zip"):
        bucket.put(key_of(file))
        record(tracker, file)
    for own in (clean_key("vitals"), "vitals/births/", "vitals2/x", "_cf_tracker/x"):
        bucket.put(own, to_bytes({"schema_name": "vitals", "tables": {}}))
    expected = Audit(schema="vitals", tracked=True, revision=2, versions=2, objects=2, not_compared=2)
    assert replace(expected, waiting=Waiting(entries=0, since=None)) == tracker.audit("vitals")


def test_a_version_without_an_object_is_found(bucket: Bucket, tracker: Tracker) -> None:
    """First, last and between others, under the prefix and elsewhere in the bucket."""
    for file in ("a.zip", "c.zip"):
        bucket.put(key_of(file))
    for file in ("a.zip", "b.zip", "c.zip", "d.zip"):
        record(tracker, file)
    record(tracker, "e.zip", s3_location=f"{HOME}elsewhere/e.zip")
    audit = tracker.audit("vitals")
    assert {key_of("b.zip"): "missing", key_of("d.zip"): "missing", "elsewhere/e.zip": "missing"} == kinds(audit)
    assert (
        Finding(
            kind="missing",
            location=f"{HOME}elsewhere/e.zip",
            sentence="births/FY2023 version 5 (e.zip) is recorded, and no object is there",
        )
        == audit.findings[0]
    )


def test_a_key_that_came_percent_encoded_is_recognised(bucket: Bucket, tracker: Tracker) -> None:
    """The finding of the missing version names the object that is there without a record."""
    bucket.put(key_of("births q1.zip"))
    record(tracker, "births q1.zip", s3_location=HOME + key_of("births%20q1.zip"))
    found, lost = tracker.audit("vitals").findings
    assert ("missing", "orphan") == (lost.kind, found.kind)
    assert f"{found.location} is there and has no record" in lost.sentence


def test_an_object_without_a_record_is_found(bucket: Bucket, tracker: Tracker) -> None:
    """Anywhere under the schema's prefix; elsewhere in the bucket it is none of ours."""
    record(tracker)
    for key in (key_of(), key_of("q0.zip"), "vitals/z", "elsewhere/x"):
        bucket.put(key)
    audit = tracker.audit("vitals")
    assert {key_of("q0.zip"): "orphan", "vitals/z": "orphan"} == kinds(audit)
    assert "no version is recorded of this object of 5 bytes, written 2023-11-14 22:13:20" == audit.orphans[0].sentence
    assert 3 == audit.objects


def test_an_object_of_another_size_is_found(bucket: Bucket, tracker: Tracker) -> None:
    """It says which, and whether more is known of its bytes does not matter."""
    bucket.put(key_of(), b"7 bytes")
    record(tracker, checksum=checksum_of(b"5 byt"))
    (finding,) = tracker.audit("vitals").findings
    assert ("size", "births/FY2023 version 1 (q1.zip) was recorded with 5 bytes, the object has 7") == (
        finding.kind,
        finding.sentence,
    )


class TestContent:
    """Bytes are compared by what a listing has; what it leaves open costs one more request an object."""

    def test_the_recorded_etag_costs_nothing(self, bucket: Bucket, tracker: Tracker) -> None:
        """No object is asked about whose ETag is the recorded one."""
        bucket.put(key_of())
        record(tracker, etag=hashlib.md5(b"5 byt").hexdigest(), checksum=checksum_of(b"5 byt"))
        assert () == tracker.audit("vitals").findings
        assert tracker.stats.requests.keys() == {"write", "read", "list"}

    def test_other_bytes_are_found(self, bucket: Bucket, tracker: Tracker) -> None:
        """The ETag is another one, and nothing says that the bytes are the same all the same."""
        bucket.put_with_sha256(key_of(), b"wrong")
        record(tracker, etag="was", checksum=checksum_of(b"right"))
        (finding,) = tracker.audit("vitals").findings
        assert "checksum" == finding.kind
        assert "births/FY2023 version 1 (q1.zip) was recorded with other bytes: its ETag" in finding.sentence
        assert "is not the recorded ETag; --deep reads it, and is sure" in finding.sentence

    def test_the_same_bytes_in_other_parts_are_no_finding(self, bucket: Bucket, tracker: Tracker) -> None:
        """The SHA-256 that was left with the object is the recorded one, so an ETag that differs means nothing."""
        bucket.put_with_sha256(key_of(), b"5 byt")
        record(tracker, etag="was-3", checksum=checksum_of(b"5 byt"))
        assert () == tracker.audit("vitals").findings
        assert 1 == tracker.stats.requests["head"]

    def test_an_etag_alone_decides_where_no_more_is_known(self, bucket: Bucket, tracker: Tracker) -> None:
        """Without a checksum there is nothing to read it for."""
        bucket.put(key_of())
        record(tracker, etag="was")
        (finding,) = tracker.audit("vitals", deep=True).findings
        assert finding.sentence.endswith("is not the recorded ETag")

    def test_an_md5_is_compared_without_a_request(self, bucket: Bucket, tracker: Tracker) -> None:
        """It is the ETag of an object that was not sent in parts."""
        for file, checksum in {"q1.zip": b"5 byt", "q2.zip": b"wrong"}.items():
            bucket.put(key_of(file))
            record(tracker, file, checksum=f"md5:{hashlib.md5(checksum).hexdigest()}")
        audit = tracker.audit("vitals")
        assert {key_of("q2.zip"): "checksum"} == kinds(audit)
        assert audit.findings[0].sentence.endswith("is not the recorded MD5")
        assert 0 == audit.not_compared

    def test_the_etag_of_what_kms_encrypts_is_no_md5(self, bucket: Bucket, tracker: Tracker) -> None:
        """So that it is another one means nothing."""
        bucket.put(key_of())
        record(tracker, checksum=hashlib.md5(b"other").hexdigest())
        bucket.encrypted = True
        audit = tracker.audit("vitals")
        assert ((), 1) == (audit.findings, audit.not_compared)

    def test_what_cannot_be_compared_is_counted(self, bucket: Bucket, tracker: Tracker) -> None:
        """A SHA-256 alone is in no listing."""
        bucket.put(key_of())
        record(tracker, checksum=checksum_of(b"wrong"))
        audit = tracker.audit("vitals")
        assert ((), 1) == (audit.findings, audit.not_compared)

    @pytest.mark.parametrize(
        ("body", "wrong"), [(b"5 byt", {}), (b"wrong", {key_of(): "checksum"})], ids=["same", "other"]
    )
    @pytest.mark.parametrize("etag", [None, "was"])
    def test_a_deep_audit_reads_it(
        self, bucket: Bucket, tracker: Tracker, etag: str | None, body: bytes, wrong: dict[str, str]
    ) -> None:
        """Then its bytes decide, whatever its ETag is."""
        bucket.put(key_of(), body)
        record(tracker, checksum=checksum_of(b"5 byt"), etag=etag)
        audit = tracker.audit("vitals", deep=True)
        assert (wrong, 0) == (kinds(audit), audit.not_compared)

    def test_a_deep_audit_reads_nothing_in_vain(self, bucket: Bucket, tracker: Tracker) -> None:
        """Neither what is known to be the same, nor what there is no checksum of."""
        for file in ("q1.zip", "q2.zip"):
            bucket.put(key_of(file))
        record(tracker, "q1.zip", checksum=checksum_of(b"5 byt"), etag=hashlib.md5(b"5 byt").hexdigest())
        record(tracker, "q2.zip")
        before = tracker.stats.requests["read"]
        audit = tracker.audit("vitals", deep=True)
        assert ((), 1) == (audit.findings, audit.not_compared)
        assert 2 == tracker.stats.requests["read"] - before  # the document, and the document again

    @pytest.mark.parametrize("deep", [False, True], ids=["asked about", "read"])
    def test_what_is_deleted_meanwhile_is_missing(self, bucket: Bucket, tracker: Tracker, deep: bool) -> None:  # noqa: FBT001 - cases of one law
        """It was listed, and is gone when it is looked at."""
        bucket.put(key_of())
        record(tracker, checksum=checksum_of(b"5 byt"), etag=None if deep else "was")
        bucket.beside_listing = partial(bucket.delete, key_of())
        assert {key_of(): "missing"} == kinds(tracker.audit("vitals", deep=deep))


class TestOneObjectOfSeveralVersions:
    """Buckets of the earlier package have them."""

    def test_the_newest_of_a_file_name_says_what_is_there(self, bucket: Bucket, tracker: Tracker) -> None:
        """The older one was overwritten: that is told, and is no finding."""
        record(tracker, "old.zip", s3_location=f"{HOME}{key_of()}", file_size=7)
        record(tracker)
        bucket.put(key_of())
        audit = tracker.audit("vitals")
        assert ((), 1, 1) == (audit.findings, audit.overwritten, audit.objects)

    def test_the_newest_is_not_there(self, bucket: Bucket, tracker: Tracker) -> None:
        """An object that is what an older version says is a finding."""
        record(tracker, "old.zip", s3_location=f"{HOME}{key_of()}", file_size=7)
        record(tracker)
        bucket.put(key_of(), b"7 bytes")
        audit = tracker.audit("vitals")
        assert ({key_of(): "size"}, 0) == (kinds(audit), audit.overwritten)

    def test_two_file_names_cannot_both_be_right(self, bucket: Bucket, tracker: Tracker) -> None:
        """Neither is older than the other, so one that differs is a finding."""
        record(tracker, file_name="FY2022", file_size=7, s3_location=f"{HOME}{key_of()}")
        record(tracker)
        bucket.put(key_of())
        (finding,) = tracker.audit("vitals").findings
        assert finding.sentence.startswith("births/FY2022 version 1")

    def test_all_of_them_are_missing(self, tracker: Tracker) -> None:
        """No object, no version of it."""
        record(tracker, "old.zip", s3_location=f"{HOME}{key_of()}")
        record(tracker)
        assert ["missing", "missing"] == [finding.kind for finding in tracker.audit("vitals").findings]


class TestWorkersMeanwhile:
    """Workers upload and record while the bucket is listed: what they do right is never found to be wrong."""

    def test_what_is_recorded_meanwhile_is_no_orphan(self, bucket: Bucket, tracker: Tracker) -> None:
        """The object was there when the bucket was listed; the record came after the document was read."""
        record(tracker)
        for file in ("q1.zip", "q2.zip"):
            bucket.put(key_of(file))
        bucket.beside_listing = partial(record, tracker_over(bucket), "q2.zip")
        audit = tracker.audit("vitals")
        assert ((), 2) == (audit.findings, audit.revision)

    def test_the_first_record_may_come_meanwhile(self, bucket: Bucket, tracker: Tracker) -> None:
        """The schema is tracked, then."""
        bucket.put(key_of())
        bucket.beside_listing = partial(record, tracker_over(bucket))
        audit = tracker.audit("vitals")
        assert ((), True) == (audit.findings, audit.tracked)

    def test_what_is_overwritten_meanwhile_is_no_finding(self, bucket: Bucket, tracker: Tracker) -> None:
        """A newer version of the file name is at the same place by the time that the listing is done."""
        record(tracker, "old.zip", s3_location=f"{HOME}{key_of()}", file_size=7)
        record(tracker, "old2.zip", s3_location=f"{HOME}{key_of('q2.zip')}", etag="was")
        for file in ("q1.zip", "q2.zip"):
            bucket.put(key_of(file))

        def record_both() -> None:
            record(tracker_over(bucket))
            record(tracker_over(bucket), "q2.zip")

        bucket.beside_listing = record_both
        audit = tracker.audit("vitals")
        assert ((), 2) == (audit.findings, audit.overwritten)

    def test_what_is_wrong_stays_wrong(self, bucket: Bucket, tracker: Tracker) -> None:
        """Another file's record, meanwhile, changes nothing about it."""
        record(tracker, "gone.zip")
        record(tracker, "size.zip", file_size=7)
        record(tracker, "etag.zip", etag="was")
        record(tracker, "out.zip", s3_location=f"{HOME}out.zip", file_size=7)
        for key in (key_of("size.zip"), key_of("etag.zip"), key_of("orphan.zip"), key_of("new.zip"), "out.zip"):
            bucket.put(key)
        bucket.beside_listing = partial(record, tracker_over(bucket), "new.zip")
        expected = {"gone": "missing", "size": "size", "etag": "checksum", "orphan": "orphan"}
        wrong = {key_of(f"{name}.zip"): kind for name, kind in expected.items()}
        assert wrong | {"out.zip": "size"} == kinds(tracker.audit("vitals"))

    def test_a_young_object_can_be_left_out(self, bucket: Bucket, tracker: Tracker) -> None:
        """Its worker may be about to record it; an old one has been forgotten."""
        bucket.put(key_of("old.zip"))
        bucket.time = 4e9  # beyond all that this test may live to see
        bucket.put(key_of("new.zip"))
        audit = tracker.audit("vitals", min_age=3600)
        assert ({key_of("old.zip"): "orphan"}, 1) == (kinds(audit), audit.young)
        assert 2 == len(tracker.audit("vitals").orphans)


def test_clean_files_in_the_same_bucket_are_no_orphans(bucket: Bucket, tracker: Tracker) -> None:
    """They are recorded in the clean document, as those in use or as outdated ones."""
    record(tracker)
    for key in (
        key_of(),
        "vitals/clean/1.parquet",
        "vitals/clean/2.parquet",
        "vitals/clean/0.parquet",
        "vitals/clean/x",
    ):
        bucket.put(key)
    info = {"file_info": {"version": 1}, "clean_files": ["vitals/clean/1.parquet", f"{HOME}vitals/clean/2.parquet"]}
    clean = {
        "schema_name": "vitals",
        "tables": {"births": {"FY2023": info}},
        "outdated": {"vitals/clean/0.parquet": "2024-03-01T09:00:00.000Z"},
    }
    bucket.put(clean_key("vitals"), to_bytes(clean))
    assert {"vitals/clean/x": "orphan"} == kinds(tracker.audit("vitals"))


def test_clean_files_are_known_by_any_of_their_names(bucket: Bucket, tracker: Tracker) -> None:
    """By key or URL, outdated or not, and in the older clean document: taken in, they would be raw versions."""
    record(tracker)
    bucket.put(key_of())
    for key in ("vitals/births/FY2023/1.parquet", "vitals/births/FY2023/2.parquet", "vitals/births/FY2023/3.parquet"):
        bucket.put(key)
    info = {"version": 1, "table_name": "births", "parquet_files": ["vitals/births/FY2023/3.parquet"]}
    older = [{"schema_name": "vitals", "tables": {"FY2022": {"file_info": info}}}]
    bucket.put(older_clean_key("vitals"), json.dumps(older).encode())
    clean_files = [f"{HOME.replace('s3:', 's3a:')}vitals/births/FY2023/1.parquet"]
    clean = {
        "schema_name": "vitals",
        "tables": {"births": {"FY2023": {"file_info": {"version": 1}, "clean_files": clean_files}}},
        "outdated": {f"{HOME}vitals/births/FY2023/2.parquet": "2024-03-01T09:00:00.000Z"},
    }
    bucket.put(clean_key("vitals"), to_bytes(clean))
    assert {} == kinds(tracker.audit("vitals"))


def test_a_schema_that_is_not_tracked_may_have_objects(bucket: Bucket, tracker: Tracker) -> None:
    """All of them are orphans then; and there may be none."""
    nothing = Audit(schema="vitals", tracked=False, waiting=Waiting(entries=0, since=None))
    assert nothing == tracker.audit("vitals")
    bucket.put(key_of())
    audit = tracker.audit("vitals")
    assert (False, None, {key_of(): "orphan"}) == (audit.tracked, audit.revision, kinds(audit))


def test_locations_elsewhere_are_told(tracker: Tracker) -> None:
    """They are not looked at, and are no findings."""
    record(tracker, s3_location="s3://other/q1.zip")
    record(tracker, "q2.zip", s3_location="/mnt/q2.zip")
    audit = tracker.audit("vitals")
    assert () == audit.findings
    assert ["s3://other/q1.zip", "/mnt/q2.zip"] == [left.example for left in audit.not_looked_at]


def test_an_audit_pickles(bucket: Bucket, tracker: Tracker) -> None:
    """It can be sent to where it is looked at."""
    record(tracker)
    record(tracker, "q2.zip", s3_location="/mnt/q2.zip")
    bucket.put("vitals/x")
    audit = tracker.audit("vitals")
    assert audit == pickle.loads(pickle.dumps(audit))


@pytest.mark.parametrize("min_age", [-1.0, "5", float("nan")])
def test_an_age_is_a_number_of_seconds(tracker: Tracker, min_age: Any) -> None:  # noqa: ANN401 - anything
    """Nothing is asked for any other."""
    with pytest.raises(InvalidNameError, match="min_age must be"):
        tracker.audit("vitals", min_age=min_age)
    assert {} == tracker.stats.requests


def test_a_store_that_lists_out_of_order_is_refused(bucket: Bucket, tracker: Tracker) -> None:
    """Every version would seem to be missing."""
    for file in ("q1.zip", "q2.zip"):
        bucket.put(key_of(file))
    bucket.in_disorder = True
    with pytest.raises(StoreError, match="does not list keys in their order"):
        tracker.audit("vitals")


def test_an_object_that_may_not_be_looked_at_is_an_error(
    bucket: Bucket, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not said to be missing."""
    bucket.put(key_of())
    record(tracker, etag="was")

    def deny(key: str) -> None:
        raise ReadDeniedError(key)

    monkeypatch.setattr(bucket, "head", deny)
    with pytest.raises(ReadDeniedError):
        tracker.audit("vitals")


class TestRequests:
    """An audit costs a request for every 1,000 objects, and no more elsewhere than it finds there."""

    def test_under_the_prefix(self, bucket: Bucket, tracker: Tracker) -> None:
        """2,001 objects are three pages; progress is told of each."""
        for number in range(2001):
            bucket.put(f"vitals/{number:04}")
        told: list[int] = []
        assert 2001 == len(tracker.audit("vitals", on_progress=told.append).orphans)
        assert [1000, 1000, 1] == told
        assert {"read": 2, "list": 3 + 1} == tracker.stats.requests  # and one of the inbox

    @pytest.mark.parametrize(
        ("numbers", "pages"),
        [(range(0, 3000, 100), 3), ([0, 1500, 2999], 3), ([0, 2999], 2), ([0, 1, 999], 1), ([2000, 2999], 1), ([], 0)],
        ids=["all over", "one a page", "first and last", "on one page", "at the end", "none"],
    )
    def test_elsewhere(self, bucket: Bucket, tracker: Tracker, numbers: "Iterable[int]", pages: int) -> None:
        """A page serves all keys that it covers, and what lies between them is jumped over."""
        keys = [f"data/{number:04}" for number in range(3000)]
        for key in keys:
            bucket.put(key)
        files = [
            NewFile(
                schema="vitals",
                table="births",
                file_name="FY2023",
                file=f"{number}.zip",
                file_size=5,
                s3_location=f"{HOME}{keys[number]}",
            )
            for number in numbers
        ]
        tracker.record_many(files)
        audit = tracker.audit("vitals")
        assert ((), len(files)) == (audit.findings, audit.not_compared)
        assert 2 + pages == tracker.stats.requests["list"]  # one for the prefix, where nothing is, and the inbox

    def test_behind_a_crowd(self, bucket: Bucket, tracker: Tracker) -> None:
        """A key is found that more than a page of others stands before, however near its neighbour is."""
        for number in range(3500):
            bucket.put(f"data/x{number:04}")
        for key in ("data/xé", "data/xê"):
            bucket.put(key)
            record(tracker, key.replace("/", "-"), s3_location=f"{HOME}{key}")
        record(tracker, "none", s3_location=f"{HOME}data/xë")
        assert {"data/xë": "missing"} == kinds(tracker.audit("vitals"))
        assert 2 + 3 == tracker.stats.requests["list"]  # the crowd is not paged through; one is of the inbox


KEYS = st.sampled_from(
    [f"{folder}{name}" for folder in ("vitals/", "vitals/births/FY2023/", "a/", "", "z") for name in "abé"]
)


@given(st.dictionaries(KEYS, st.integers(0, 3)), st.dictionaries(KEYS, st.integers(0, 3)))
def test_an_audit_finds_what_a_look_at_each_would(recorded: dict[str, int], there: dict[str, int]) -> None:
    """Whatever is recorded and whatever is there: missing, sizes and orphans are those of the definition."""
    bucket = Bucket()
    tracker = tracker_over(bucket)
    for number, (key, size) in enumerate(recorded.items()):
        record(tracker, f"{number}.zip", f"FY{number}", file_size=size, s3_location=f"{HOME}{key}")
    for key, size in there.items():
        bucket.put(key, b"x" * size)
    expected = {key: "missing" for key in recorded if key not in there}
    expected |= {key: "size" for key, size in recorded.items() if there.get(key, size) != size}
    expected |= {key: "orphan" for key in there if key.startswith("vitals/") and key not in recorded}
    assert expected == kinds(tracker.audit("vitals"))


class TestWaiting:
    """What workers have published, and nobody has committed."""

    def test_nothing_waits(self, tracker: Tracker) -> None:
        """As ever in a quiet schema."""
        record(tracker)
        assert Waiting(entries=0, since=None) == tracker.waiting("vitals") == tracker.audit("vitals").waiting

    def test_entries_are_counted_and_the_oldest_is_dated(self, bucket: Bucket, tracker: Tracker) -> None:
        """It is no finding; those of other schemas, and of clean documents, are not counted."""
        bucket.put(key_of("a.zip"))
        record(tracker)
        for number in range(1001):
            bucket.put(f"{inbox_prefix('vitals/vitals_version_info.json')}{number:04}")
            bucket.time += 1 if number == 0 else 0
        bucket.put(inbox_prefix("other/other_version_info.json") + "0")
        bucket.put(inbox_prefix("vitals/vitals_clean_version_info.json") + "0")
        expected = Waiting(entries=1001, since="2023-11-14 22:13:20")
        assert expected == tracker.waiting("vitals")
        audit = tracker.audit("vitals")
        assert (expected, []) == (audit.waiting, [one for one in audit.findings if "_cf_tracker" in one.location])

    def test_who_may_not_list_does_not_know(
        self, bucket: Bucket, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """That is no error."""

        def denied(prefix: str, *, after: str = "") -> Page:
            raise DeniedError(f"{prefix}{after}")

        monkeypatch.setattr(bucket, "page", denied)
        assert tracker.waiting("vitals") is None


class TestRecordingOrphans:
    """Objects without a record are taken in as what they are."""

    def test_a_vanished_document_is_restored_first(self) -> None:
        """Where the bucket keeps what the document was, a new one would give other numbers: that is an error."""
        bucket = MemoryStore(versioned=True)
        bucket.write(key_of(), b"first", replacing=None)
        record(tracker_over(bucket))
        bucket.delete("vitals/vitals_version_info.json")
        other = tracker_over(bucket)
        with pytest.raises(DocumentVanishedError, match="Restore it"):
            other.audit("vitals")

    def test_so_it_is_where_the_store_does_not_say_that_it_was_deleted(self) -> None:
        """The versions that it keeps show it."""
        bucket = Silent(versioned=True)
        bucket.write(key_of(), b"first", replacing=None)
        record(tracker_over(bucket))
        bucket.delete("vitals/vitals_version_info.json")
        other = tracker_over(bucket)
        audit = other.audit("vitals")
        assert not audit.tracked
        with pytest.raises(DocumentVanishedError, match="Restore it"):
            other.record_orphans(audit)
        assert other.document("vitals") is None

    def test_they_are_recorded_and_the_audit_is_clean(self, bucket: Bucket, tracker: Tracker) -> None:
        """The oldest first, with size, ETag, day and checksum, by one commit."""
        bucket.put_with_sha256(key_of("b.zip"), b"12345")
        bucket.time += 86_400
        bucket.put(key_of("a.zip"), b"123")
        taken = tracker.record_orphans(tracker.audit("vitals"))
        assert [("b.zip", 1, True), ("a.zip", 2, True)] == [
            (one.file, one.version, one.created) for one in taken.recorded
        ]
        assert () == taken.left
        first, second = tracker.history("vitals", "births")
        assert (5, checksum_of(b"12345"), "2023-11-14", "FY2023") == (
            first.file_size,
            first.checksum,
            first.upload_date,
            first.fyear,
        )
        assert (None, hashlib.md5(b"123").hexdigest(), "2023-11-15") == (
            second.checksum,
            second.etag,
            second.upload_date,
        )
        audit = tracker.audit("vitals")
        assert ((), 0, 1) == (audit.findings, audit.not_compared, audit.revision)

    def test_a_dry_run_records_nothing(self, bucket: Bucket, tracker: Tracker) -> None:
        """It tells what would come of it."""
        bucket.put(key_of())
        audit = tracker.audit("vitals")
        assert tracker.record_orphans(audit, dry_run=True) == tracker.record_orphans(audit, dry_run=True)
        assert tracker.document("vitals") is None
        assert 1 == len(tracker.record_orphans(audit, dry_run=True).recorded)

    def test_what_cannot_be_taken_in_is_left(self, bucket: Bucket, tracker: Tracker) -> None:
        """Each says why, and the others are taken in."""
        record(tracker, "known.zip", s3_location="s3://other/known.zip")
        for key in ("vitals/x", key_of("known.zip"), key_of("gone.zip"), key_of()):
            bucket.put(key)
        audit = tracker.audit("vitals")
        bucket.delete(key_of("gone.zip"))
        taken = tracker.record_orphans(audit)
        assert ["q1.zip"] == [one.file for one in taken.recorded]
        assert {
            "vitals/x": "not taken in: its key is not vitals/TABLE/FILE_NAME/FILE",
            key_of("known.zip"): "not taken in: version 1 of births/FY2023 is known.zip, from s3://other/known.zip",
            key_of("gone.zip"): "not taken in: it is gone",
        } == {finding.location.removeprefix(HOME): finding.sentence for finding in taken.left}

    def test_what_its_worker_recorded_meanwhile_is_recorded_once(self, bucket: Bucket, tracker: Tracker) -> None:
        """The worker and the audit agree on one version."""
        bucket.put(key_of())
        audit = tracker.audit("vitals")
        record(tracker)
        taken = tracker.record_orphans(audit)
        assert [] == [one for one in taken.recorded if one.created]
        assert 1 == len(tracker.history("vitals", "births"))

    def test_nothing_is_written_for_nothing(self, tracker: Tracker) -> None:
        """Without orphans there is no commit."""
        taken = tracker.record_orphans(tracker.audit("vitals"))
        assert ((), ()) == (taken.recorded, taken.left)
        assert tracker.document("vitals") is None


def test_an_audit_of_uploads_is_clean(server: Server, schema: str) -> None:
    """On a real server: what was uploaded is fine, in parts or not; what is changed behind our back is found."""
    connection = connection_to(server)
    tracker = Tracker.over(connection)
    for name, size in {"small.zip": 5, "empty.zip": 0, "large.zip": 9 << 20, "gone.zip": 5}.items():
        tracker.upload(io.BytesIO(b"x" * size), schema, "births", "FY2023", file=name)
    audit = tracker.audit(schema)
    assert ((), 4, 4, 0) == (audit.findings, audit.versions, audit.objects, audit.not_compared)
    where = f"{schema}/births/FY2023"
    connection.store.delete(f"{where}/gone.zip")
    connection.store.write(f"{where}/small.zip", b"other", replacing=ANYTHING)
    connection.store.write(f"{where}/new.zip", b"new", replacing=ANYTHING)
    audit = tracker.audit(schema)
    wrong = {finding.location.rpartition("/")[2]: finding.kind for finding in audit.findings}
    assert {"gone.zip": "missing", "small.zip": "checksum", "new.zip": "orphan"} == wrong
    taken = tracker.record_orphans(audit)
    assert ["new.zip"] == [one.file for one in taken.recorded]
    assert 2 == len(tracker.audit(schema, deep=True).findings)


class TestOrphansThatOthersName:
    """What another document of the bucket names is not taken in as a raw version of this schema."""

    @pytest.mark.parametrize(
        "name",
        [key_of("x.zip"), f"/{key_of('x.zip')}", f"S3://raw/{key_of('x.zip')}", f"https://x.example/{key_of('x.zip')}"],
    )
    def test_by_the_clean_document_of_another_schema(self, bucket: Bucket, tracker: Tracker, name: str) -> None:
        """In any form; the others are taken in."""
        for file in ("x.zip", "y.zip"):
            bucket.put(key_of(file))
        record = {"file_info": {"version": 1}, "clean_files": [name]}
        clean = {"schema_name": "weather", "tables": {"t": {"FY2023": record}}}
        bucket.put(clean_key("weather"), to_bytes(clean))
        taken = tracker.record_orphans(tracker.audit("vitals"))
        assert ["y.zip"] == [one.file for one in taken.recorded]
        (left,) = taken.left
        assert f"not taken in: {HOME}{clean_key('weather')} names it, or may" == left.sentence

    def test_by_the_raw_document_of_another_schema(self, bucket: Bucket, tracker: Tracker) -> None:
        """It may record files that lie under the prefix of this one."""
        bucket.put(key_of("x.zip"))
        tracker.record("weather", "t", "FY2023", "x.zip", file_size=5, s3_location=f"s3://raw/{key_of('x.zip')}")
        assert () == tracker.record_orphans(tracker.audit("vitals")).recorded

    def test_a_document_of_another_schema_that_cannot_be_read_names_nothing(
        self, bucket: Bucket, tracker: Tracker
    ) -> None:
        """Nothing is deleted here, so this schema is not held up by another one."""
        bucket.put(key_of("x.zip"))
        bucket.put(clean_key("weather"), b"rubbish")
        assert 1 == len(tracker.record_orphans(tracker.audit("vitals")).recorded)
