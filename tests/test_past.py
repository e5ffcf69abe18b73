"""A document's past: whatever was lost is found, and what is restored takes nothing away that anybody was told of."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, to_bytes
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    InvalidNameError,
    NotTrackedError,
    OutcomeUnknownError,
    StoreError,
    WouldLoseError,
)
from cf_data_tracker.names import raw_key
from cf_data_tracker.past import Past
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, DELETED, Answer, Conflict, Replacing, Stored, Unanswered, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from conftest import access_to
from servers.server import Server
from test_store_contract import keep_versions

KEY = raw_key("vitals")
VERSIONED = "with-a-past"

Fate = Callable[[Callable[[], Written]], Written]
"""What befalls a write: it is given the write, to be done or not."""


def answered(write: Callable[[], Written]) -> Written:
    """Let it be done, and be answered."""
    return write()


def answer_lost(write: Callable[[], Written]) -> Written:
    """Let it be done, and the answer get lost."""
    write()
    raise Unanswered("reset")


def lost_before(_: Callable[[], Written]) -> Written:
    """Let it never arrive."""
    raise Unanswered("reset")


def never_sent(_: Callable[[], Written]) -> Written:
    """Let there be nobody to send it to."""
    raise Unanswered("refused", sent=False)


class Bucket(MemoryStore):
    """A bucket in memory that keeps versions; what befalls the next writes can be said."""

    def __init__(self, *, versioned: bool = True) -> None:
        super().__init__(versioned=versioned, clock=lambda: self.time)
        self.time = 1_700_000_000.0
        self.says_deleted = True
        self.fates: list[Fate] = []
        self.always: Fate = answered

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object, as its fate has it."""
        fate = self.fates.pop(0) if self.fates else self.always
        return fate(lambda: super(Bucket, self).write(key, body, replacing=replacing, waiting=waiting))

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read the object; a bucket that does not say that one was deleted answers as if it never had been."""
        answer = super().read(key, unless=unless, most=most)
        return answer if answer is not DELETED or self.says_deleted else None

    def put(self, body: bytes) -> str:
        """Put a document there, whatever was there, and return its version."""
        written = MemoryStore.write(self, KEY, body, replacing=ANYTHING)
        assert written.version is not None
        return written.version

    @property
    def document(self) -> Document:
        """What is there."""
        there = self.read(KEY)
        assert isinstance(there, Stored)
        document: Document = json.loads(there.body)
        return document


@pytest.fixture
def bucket() -> Bucket:
    """Give an empty bucket."""
    return Bucket()


@pytest.fixture
def tracker(bucket: Bucket) -> Tracker:
    """Give a tracker over it."""
    return tracker_over(bucket)


def tracker_over(bucket: MemoryStore, **patience: Any) -> Tracker:  # noqa: ANN401 - seconds or a number
    """Return another tracker, as of another worker."""
    quick = Patience(**{"first": 0.0001, "longest": 0.001} | patience)
    return Tracker.over(Connection(Access(bucket="raw"), store=bucket, patience=quick))


def record(tracker: Tracker, *files: str) -> None:
    """Record files, one after the other."""
    for file in files:
        tracker.record("vitals", "births", "FY2023", file, file_size=5, s3_location=f"s3://raw/{file}")


def files_of(tracker: Tracker) -> list[str]:
    """Return the recorded files, in the order of their versions."""
    return [version.file for version in tracker.history("vitals", "births")]


class TestHistory:
    """The kept versions of a document, each compared with the one before."""

    def test_nothing_was_lost(self, bucket: Bucket, tracker: Tracker) -> None:
        """Each contains its predecessor: there is nothing to say."""
        record(tracker, "1", "2", "3")
        history = tracker.verify_history("vitals")
        assert ((), (), 3) == (history.findings, history.notes, history.documents)
        assert Past(revision=1, version="v1", written="2023-11-14 22:13:20") == history.oldest
        assert history.newest is not None
        assert 3 == history.newest.revision
        assert bucket.document["revision"] == history.newest.revision

    def test_a_lost_version_is_found(self, bucket: Bucket, tracker: Tracker) -> None:
        """With the revision, the time and the S3 version that lost it."""
        record(tracker, "1", "2")
        document = bucket.document
        del document["tables"][0]["tables"][0]["files"][0]["versions"][0]
        culprit = bucket.put(to_bytes(document | {"revision": 3}))
        record(tracker, "3")
        finding = f"revision 3 (2023-11-14 22:13:20, version {culprit}) lost vitals/births/FY2023 version 1 (1)"
        assert (finding,) == tracker.verify_history("vitals").findings

    def test_what_is_back_is_noted(self, bucket: Bucket, tracker: Tracker) -> None:
        """Nothing is lost for good; it is told all the same."""
        record(tracker, "1", "2")
        whole = bucket.document
        bucket.put(to_bytes({"tables": [], "revision": 3}))
        bucket.put(to_bytes(whole | {"revision": 4}))
        history = tracker.verify_history("vitals")
        assert () == history.findings
        assert 2 == len(history.notes)
        assert "lost vitals/births/FY2023 version 2 (2), which is back" in history.notes[1]

    def test_a_deletion_that_was_mended_is_noted(self, bucket: Bucket, tracker: Tracker) -> None:
        """It says from when to when the document was gone, and compares across the gap."""
        record(tracker, "1", "2")
        whole = bucket.document
        bucket.delete(KEY)
        bucket.time += 60
        bucket.put(to_bytes(whole | {"revision": 3}))
        history = tracker.verify_history("vitals")
        assert ((), ("it was deleted 2023-11-14 22:13:20, and is back since 2023-11-14 22:14:20",)) == (
            history.findings,
            history.notes,
        )

    def test_a_document_that_was_begun_anew_has_lost_everything(self, bucket: Bucket, tracker: Tracker) -> None:
        """A worker that knew nothing of the one that was deleted began another: the store did not say so."""
        record(tracker, "1", "2")
        bucket.delete(KEY)
        bucket.says_deleted = False
        record(tracker_over(bucket), "3")
        history = tracker.verify_history("vitals")
        assert 2 == len(history.findings)
        assert "lost vitals/births/FY2023 version 1 (1): " in history.findings[0]
        assert "file was '1' and is '3'" in history.findings[0]
        assert "follows revision 2" in history.notes[1]

    def test_a_document_that_is_gone_is_found(self, bucket: Bucket, tracker: Tracker) -> None:
        """It says since when, however often it was deleted."""
        record(tracker, "1")
        bucket.delete(KEY)
        bucket.time += 60
        bucket.delete(KEY)
        assert ("it was deleted 2023-11-14 22:13:20, and is gone: restore it",) == tracker.verify_history(
            "vitals"
        ).findings

    def test_a_ruined_document_is_found(self, bucket: Bucket, tracker: Tracker) -> None:
        """It says since when, and where it is wrong; the next readable one is compared with the last."""
        record(tracker, "1", "2")
        whole = bucket.document
        ruin = bucket.put(b'{"tables": 5}')
        bucket.put(b"{")
        ruined = f"no tracker document since 2023-11-14 22:13:20 (version {ruin}): tables: expected a list, got 5"
        assert (f"it is {ruined}: restore it",) == tracker.verify_history("vitals").findings
        bucket.put(to_bytes(whole | {"revision": 3}))
        history = tracker.verify_history("vitals")
        assert () == history.findings
        assert history.notes[0].startswith(f"it was {ruined}; it is one again since revision 3 (")

    def test_revisions_that_are_not_kept_are_noted(self, bucket: Bucket, tracker: Tracker) -> None:
        """A rule of the bucket lets old versions expire; what is left is compared."""
        record(tracker, "1", "2", "3", "4", "5", "6")
        for version in ("v2", "v4", "v5"):
            bucket.erase(KEY, version)
        history = tracker.verify_history("vitals")
        assert ((), ("not kept: revision 2", "not kept: revisions 4 to 5")) == (history.findings, history.notes)
        assert 3 == history.documents

    def test_a_writer_that_does_not_count_is_noted(self, bucket: Bucket, tracker: Tracker) -> None:
        """It is not this library, and may lose what others write; here it has not."""
        record(tracker, "1")
        bucket.put(to_bytes(bucket.document | {"note": 1}))
        bucket.put(to_bytes({name: value for name, value in bucket.document.items() if name != "revision"}))
        history = tracker.verify_history("vitals")
        assert ((), 2) == (history.findings, len(history.notes))
        assert all("a program wrote it that does not count" in note for note in history.notes)
        assert history.notes[1].startswith("a document without revision (")

    def test_documents_of_the_earlier_package_are_compared(self, bucket: Bucket, tracker: Tracker) -> None:
        """They have no revision until the first commit of this library."""
        old = {"tables": [{"schema_name": "vitals", "tables": []}]}
        bucket.put(to_bytes(old))
        bucket.put(to_bytes(old | {"note": 1}))
        record(tracker, "1")
        history = tracker.verify_history("vitals")
        assert ((), (), 3) == (history.findings, history.notes, history.documents)

    def test_a_version_that_expires_meanwhile_is_noted(
        self, bucket: Bucket, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was listed, and is gone when it is read."""
        record(tracker, "1", "2")
        read = bucket.read_version
        monkeypatch.setattr(
            bucket, "read_version", lambda key, version: None if version == "v1" else read(key, version)
        )
        assert ("version v1, written 2023-11-14 22:13:20, is not kept any more",) == tracker.verify_history(
            "vitals"
        ).notes

    def test_progress_is_told(self, tracker: Tracker) -> None:
        """Of each version, as it was read."""
        record(tracker, "1", "2", "3")
        told: list[int] = []
        tracker.verify_history("vitals", on_progress=told.append)
        assert [1, 1, 1] == told
        assert 1 == tracker.stats.requests["versions"]


@pytest.mark.parametrize(
    "ask",
    [lambda tracker: tracker.verify_history("vitals"), lambda tracker: tracker.restore("vitals", 1)],
    ids=["history", "restore"],
)
class TestWhereNothingIsKept:
    """Both say why there is no past."""

    def test_a_bucket_that_keeps_no_versions(self, ask: Callable[[Tracker], object]) -> None:
        """It says what to turn on."""
        tracker = tracker_over(Bucket(versioned=False))
        record(tracker, "1")
        with pytest.raises(StoreError, match=r"keeps no versions.*put-bucket-versioning"):
            ask(tracker)

    def test_a_schema_that_is_not_tracked(self, ask: Callable[[Tracker], object]) -> None:
        """There is no document, and never was one."""
        with pytest.raises(NotTrackedError, match="the schema vitals is not tracked"):
            ask(tracker_over(Bucket()))


class TestRestore:
    """A document as it was becomes the newest revision, and nothing is taken away without a word."""

    def test_a_vanished_document_is_back(self, bucket: Bucket, tracker: Tracker) -> None:
        """As a new revision, with all that it had; a worker that missed it goes on."""
        record(tracker, "1", "2")
        bucket.delete(KEY)
        with pytest.raises(DocumentVanishedError):
            record(tracker, "3")
        restored = tracker_over(bucket).restore("vitals", 2)
        assert (2, 3, True, ()) == (restored.source.revision, restored.revision, restored.created, restored.lost)
        assert 3 == bucket.document["revision"]
        record(tracker, "3")
        assert ["1", "2", "3"] == files_of(tracker)

    @pytest.mark.parametrize("ruin", [b"", b"{", b"[]", b'{"tables": 5}', b"\xff"])
    def test_a_ruined_document_is_mended(self, bucket: Bucket, tracker: Tracker, ruin: bytes) -> None:
        """Whatever has been put in its place."""
        record(tracker, "1", "2")
        bucket.put(ruin)
        with pytest.raises(DocumentError):
            record(tracker_over(bucket), "3")
        assert 3 == tracker_over(bucket).restore("vitals", 2).revision
        record(tracker, "3")
        assert ["1", "2", "3"] == files_of(tracker)
        assert () == tracker.verify_history("vitals").findings

    def test_a_worker_with_a_kept_document_reads_it_again(self, bucket: Bucket, tracker: Tracker) -> None:
        """Its ETag never comes back, though all that it knew does."""
        record(tracker, "1", "2")
        etags = {bucket.read(KEY).etag}  # type: ignore[union-attr]  # there is one
        bucket.put(b"ruined")
        tracker_over(bucket).restore("vitals", 2)
        assert bucket.read(KEY).etag not in etags  # type: ignore[union-attr]  # as above
        record(tracker, "3")
        assert ["1", "2", "3"] == files_of(tracker_over(bucket))

    def test_what_is_there_already_is_left(self, bucket: Bucket, tracker: Tracker) -> None:
        """Restoring twice is restoring once."""
        record(tracker, "1", "2")
        bucket.delete(KEY)
        tracker_over(bucket).restore("vitals", 2)
        before = bucket.document
        again = tracker_over(bucket).restore("vitals", 2)
        assert (False, 3, ()) == (again.created, again.revision, again.lost)
        assert before == bucket.document

    def test_what_was_recorded_since_is_not_lost(self, bucket: Bucket, tracker: Tracker) -> None:
        """It is listed, and nothing is written."""
        record(tracker, "1", "2", "3")
        before = bucket.document
        with pytest.raises(WouldLoseError, match="Nothing was written") as caught:
            tracker.restore("vitals", 1)
        assert ("vitals/births/FY2023 version 2 (2)", "vitals/births/FY2023 version 3 (3)") == caught.value.lost
        assert before == bucket.document

    @pytest.mark.parametrize("ending", ["ruined", "deleted"])
    def test_what_was_recorded_before_the_end_is_not_lost(self, bucket: Bucket, tracker: Tracker, ending: str) -> None:
        """Though nothing readable is there now: a later revision is kept that has it."""
        record(tracker, "1", "2", "3")
        if ending == "ruined":
            bucket.put(b"ruined")
        else:
            bucket.delete(KEY)
        with pytest.raises(WouldLoseError, match=r"version 2 \(2\); vitals/births/FY2023 version 3 \(3\)"):
            tracker_over(bucket).restore("vitals", 1)

    def test_what_was_begun_anew_is_not_lost(self, bucket: Bucket, tracker: Tracker) -> None:
        """Nor what had been there before it: each of the two lacks what the other has."""
        record(tracker, "1", "2")
        bucket.delete(KEY)
        bucket.says_deleted = False
        record(tracker_over(bucket), "new")
        with pytest.raises(WouldLoseError) as caught:
            tracker_over(bucket).restore("vitals", 2)
        assert 1 == len(caught.value.lost)
        assert "version 1 (new)" in caught.value.lost[0]
        record(tracker_over(bucket), "newer")
        with pytest.raises(WouldLoseError) as caught:
            tracker_over(bucket).restore("vitals", version="v1")
        assert 3 == len(caught.value.lost)

    def test_it_is_lost_on_purpose(self, bucket: Bucket, tracker: Tracker) -> None:
        """And listed; the number goes on rising."""
        record(tracker, "1", "2", "3")
        restored = tracker.restore("vitals", 1, discard=True)
        assert (4, ("vitals/births/FY2023 version 2 (2)", "vitals/births/FY2023 version 3 (3)")) == (
            restored.revision,
            restored.lost,
        )
        assert 4 == bucket.document["revision"]
        assert ["1"] == files_of(tracker)
        record(tracker, "4")
        assert ["1", "4"] == files_of(tracker_over(bucket))

    def test_only_ten_are_named(self, tracker: Tracker) -> None:
        """All are in the error, for a program."""
        record(tracker, *map(str, range(13)))
        with pytest.raises(WouldLoseError, match="and 2 more") as caught:
            tracker.restore("vitals", 1)
        assert 12 == len(caught.value.lost)

    @pytest.mark.parametrize("discard", [False, True])
    def test_a_dry_run_writes_nothing(self, bucket: Bucket, tracker: Tracker, discard: bool) -> None:  # noqa: FBT001 - cases of one law
        """It tells what would come of it, or what would be refused."""
        record(tracker, "1", "2")
        before = bucket.document
        if discard:
            restored = tracker.restore("vitals", 1, discard=True, dry_run=True)
            assert (3, True, 1) == (restored.revision, restored.created, len(restored.lost))
        else:
            with pytest.raises(WouldLoseError):
                tracker.restore("vitals", 1, dry_run=True)
        assert before == bucket.document

    def test_a_revision_that_is_not_kept(self, bucket: Bucket, tracker: Tracker) -> None:
        """The error names those that are."""
        old = bucket.put(to_bytes({"tables": [{"schema_name": "vitals", "tables": []}]}))
        record(tracker, "1", "2", "3")
        with pytest.raises(
            NotTrackedError,
            match=rf"revision 7 is not kept; what is: revisions 1 to 3, a document without revision \(.*{old}\)",
        ):
            tracker.restore("vitals", 7)
        with pytest.raises(NotTrackedError, match="version x is not kept"):
            tracker.restore("vitals", version="x")

    def test_nothing_readable_is_kept(self, bucket: Bucket, tracker: Tracker) -> None:
        """The error says so."""
        bucket.put(b"ruined")
        with pytest.raises(NotTrackedError, match="what is: no tracker document"):
            tracker.restore("vitals", 1)

    def test_a_document_of_the_earlier_package_is_named_by_its_version(self, bucket: Bucket, tracker: Tracker) -> None:
        """It has no revision; restored, it has one."""
        old = bucket.put(to_bytes({"tables": [{"schema_name": "vitals", "tables": []}]}))
        record(tracker, "1")
        bucket.put(b"ruined")
        restored = tracker_over(bucket).restore("vitals", version=old, discard=True)
        assert (None, 2) == (restored.source.revision, restored.revision)
        assert {"tables": [{"schema_name": "vitals", "tables": []}], "revision": 2} == bucket.document

    def test_a_ruined_version_cannot_be_restored(self, bucket: Bucket, tracker: Tracker) -> None:
        """The error says where it is wrong."""
        record(tracker, "1")
        ruin = bucket.put(b'{"tables": 5}')
        with pytest.raises(DocumentError, match="tables: expected a list, got 5"):
            tracker_over(bucket).restore("vitals", version=ruin)

    @pytest.mark.parametrize(
        "which", [{}, {"revision": 1, "version": "v1"}, {"revision": -1}, {"revision": "1"}, {"version": ""}]
    )
    def test_what_to_restore_is_said_in_one_way(self, tracker: Tracker, which: dict[str, Any]) -> None:
        """A revision, or a version."""
        with pytest.raises(InvalidNameError):
            tracker.restore("vitals", **which)
        assert {} == tracker.stats.requests


class TestRestoreInAStorm:
    """Whatever befalls the write, and whoever records meanwhile: what was acknowledged is there in the end."""

    @pytest.fixture
    def gone(self, bucket: Bucket, tracker: Tracker) -> Bucket:
        """Give a bucket whose document is deleted."""
        record(tracker, "1", "2")
        bucket.delete(KEY)
        return bucket

    @pytest.mark.parametrize("fate", [answer_lost, lost_before, never_sent])
    def test_a_lost_answer_is_looked_into(self, gone: Bucket, fate: Fate) -> None:
        """It is restored once, with one number."""
        gone.fates = [fate]
        restored = tracker_over(gone).restore("vitals", 2)
        assert (3, True) == (restored.revision, restored.created)
        assert 3 == gone.document["revision"]
        assert 4 == len(gone.versions(KEY))

    def test_others_may_have_gone_on_from_it(self, gone: Bucket, tracker: Tracker) -> None:
        """The answer is lost, and before it is looked into somebody records on top: that is no loss, and no refusal."""

        def lost_and_others_go_on(write: Callable[[], Written]) -> Written:
            write()
            record(tracker, "3", "4")
            raise Unanswered("reset")

        gone.fates = [lost_and_others_go_on]
        restored = tracker_over(gone).restore("vitals", 2)
        assert (3, True) == (restored.revision, restored.created)
        assert ["1", "2", "3", "4"] == files_of(tracker)

    def test_nobody_knows(self, gone: Bucket) -> None:
        """Answers are lost to the end: it may have been restored, and may be asked again."""
        gone.always = lost_before
        with pytest.raises(OutcomeUnknownError, match="restoring again is safe"):
            tracker_over(gone, attempts=3).restore("vitals", 2)
        gone.always = answered
        assert tracker_over(gone).restore("vitals", 2).created

    def test_nobody_knows_of_an_earlier_one(self, gone: Bucket) -> None:
        """A write was not answered; that those after it were never sent says nothing about it."""
        gone.fates, gone.always = [lost_before], never_sent
        with pytest.raises(OutcomeUnknownError):
            tracker_over(gone, attempts=3).restore("vitals", 2)

    def test_nothing_was_sent(self, gone: Bucket) -> None:
        """Then nothing was written."""
        gone.always = never_sent
        with pytest.raises(StoreError, match="does not answer"):
            tracker_over(gone, attempts=3).restore("vitals", 2)

    def test_others_win(self, gone: Bucket) -> None:
        """To the end: nothing was written."""

        def conflict(_: Callable[[], Written]) -> Written:
            raise Conflict("busy")

        gone.always = conflict
        with pytest.raises(ContentionError, match="nothing was written"):
            tracker_over(gone, attempts=3).restore("vitals", 2)

    def test_somebody_records_meanwhile(self, bucket: Bucket, tracker: Tracker) -> None:
        """What may be lost on purpose is listed all the same, and the number is higher than any."""
        record(tracker, "1", "2")

        def after_others(write: Callable[[], Written]) -> Written:
            record(tracker, "3", "4")
            return write()

        bucket.fates = [after_others]
        restored = tracker_over(bucket).restore("vitals", 1, discard=True)
        assert (5, 3) == (restored.revision, len(restored.lost))
        assert 5 == bucket.document["revision"]

    def test_somebody_begins_anew_meanwhile(self, gone: Bucket) -> None:
        """The write finds a document where none was: what that has is not lost."""
        gone.says_deleted = False

        def after_a_newcomer(write: Callable[[], Written]) -> Written:
            record(tracker_over(gone), "new")
            return write()

        gone.fates = [after_a_newcomer]
        with pytest.raises(WouldLoseError, match="new"):
            tracker_over(gone).restore("vitals", 2)
        assert 1 == gone.document["revision"]

    def test_somebody_begins_anew_and_it_is_deleted_meanwhile(self, gone: Bucket) -> None:
        """What is kept of it counts, though it is not there."""
        gone.says_deleted = False

        def after_a_newcomer(_: Callable[[], Written]) -> Written:
            record(tracker_over(gone), "new")
            gone.delete(KEY)
            raise Conflict("busy")

        gone.fates = [after_a_newcomer]
        with pytest.raises(WouldLoseError, match="new"):
            tracker_over(gone).restore("vitals", 2)

    def test_it_is_deleted_meanwhile(self, bucket: Bucket, tracker: Tracker) -> None:
        """The write finds nothing where something ruined was, and goes on from there."""
        record(tracker, "1", "2")
        bucket.put(b"ruined")

        def after_a_deletion(write: Callable[[], Written]) -> Written:
            bucket.delete(KEY)
            return write()

        bucket.fates = [after_a_deletion]
        assert 3 == tracker_over(bucket).restore("vitals", 2).revision
        assert 3 == bucket.document["revision"]

    def test_a_late_write_does_not_count_twice(self, gone: Bucket, tracker: Tracker) -> None:
        """What was not answered lands after it was sent again: one of two equal writes wins."""
        late: list[Callable[[], Written]] = []

        def delayed(write: Callable[[], Written]) -> Written:
            late.append(write)
            raise Unanswered("slow")

        gone.fates = [delayed]
        assert 3 == tracker_over(gone).restore("vitals", 2).revision
        record(tracker, "3")
        with pytest.raises(Conflict):
            late[0]()
        assert ["1", "2", "3"] == files_of(tracker)

    @pytest.mark.parametrize("ruin", [True, False], ids=["ruined", "deleted"])
    def test_a_race_with_workers_loses_nothing(self, bucket: Bucket, ruin: bool) -> None:  # noqa: FBT001 - cases of one law
        """Workers that record all the while, over ruins and restorations: whatever they were told of is there."""
        told = race(bucket, bucket.put if ruin else lambda _: bucket.delete(KEY))
        files = files_of(tracker_over(bucket))
        assert set(told) <= set(files)
        assert len(files) == len(set(files))
        assert () == tracker_over(bucket).verify_history("vitals").findings


def race(bucket: Bucket, ruin: Callable[[bytes], object], *, workers: int = 3, each: int = 20) -> list[str]:
    """Let workers record while the document is ruined and restored again and again; return what was acknowledged."""
    told: list[str] = []
    record(tracker_over(bucket), "first")

    def work(worker: int) -> None:
        tracker = tracker_over(bucket)
        while not seen(tracker):  # whoever never saw the document would begin another
            threading.Event().wait(0.001)
        for file in (f"{worker}-{number}" for number in range(each)):
            while file not in told:
                try:
                    record(tracker, file)
                except (DocumentError, DocumentVanishedError):
                    threading.Event().wait(0.001)
                    continue
                told.append(file)

    crew = [threading.Thread(target=work, args=(worker,)) for worker in range(workers)]
    for thread in crew:
        thread.start()
    for done in range(3, workers * each, 8):
        while len(told) < done and any(thread.is_alive() for thread in crew):
            threading.Event().wait(0.001)
        ruin(b"ruined")
        mend(bucket)
    for thread in crew:
        thread.join()
    return told


def seen(tracker: Tracker) -> bool:
    """Return whether a worker has seen the document."""
    try:
        return tracker.document("vitals") is not None
    except DocumentError:
        return False


def mend(bucket: Bucket) -> None:
    """Restore the newest document that is kept, whichever that is."""
    tracker = tracker_over(bucket)
    while True:
        newest = tracker.verify_history("vitals").newest
        assert newest is not None
        try:
            tracker.restore("vitals", newest.revision)
        except WouldLoseError:
            continue
        return


def test_on_a_real_server(embedded: Server, schema: str) -> None:
    """A bucket that keeps versions: history, vanished, restored, and workers go on."""
    keep_versions(embedded, VERSIONED)
    worker, other = (Tracker.over(Connection(access_to(embedded, VERSIONED))) for _ in range(2))
    for number in range(3):
        worker.record(schema, "births", "FY2023", f"{number}", file_size=5, s3_location="s3://raw/x")
    assert ((), ()) == (worker.verify_history(schema).findings, worker.verify_history(schema).notes)
    Connection(access_to(embedded, VERSIONED)).store.delete(raw_key(schema))
    assert "is gone" in other.verify_history(schema).findings[0]
    with pytest.raises(WouldLoseError):
        other.restore(schema, 2)
    assert 4 == other.restore(schema, 3).revision
    done = worker.record(schema, "births", "FY2023", "3", file_size=5, s3_location="s3://raw/x")
    assert (4, True) == (done.version, done.created)
    history = other.verify_history(schema)
    assert ((), 1, 5) == (history.findings, len(history.notes), history.documents)


def test_the_history_on_each_server(server: Server, schema: str) -> None:
    """Written blindly, so that a server may serve whose versioned buckets honour no condition (Ceph 16)."""
    bucket = f"past-{schema.replace('_', '-')}"
    keep_versions(server, bucket)
    connection, key = Connection(access_to(server, bucket)), raw_key(schema)
    tracker = Tracker.over(connection)

    def put(body: bytes) -> None:
        connection.store.write(key, body, replacing=ANYTHING)

    documents = [document_of(schema, *map(str, range(number + 1))) for number in range(3)]
    for document in documents:
        put(document)
    assert ((), (), 3) == (tracker.verify_history(schema).findings, tracker.verify_history(schema).notes, 3)
    put(b"ruined")
    assert "no tracker document since" in tracker.verify_history(schema).findings[0]
    connection.store.delete(key)
    assert "is gone" in tracker.verify_history(schema).findings[0]
    put(documents[1])
    history = tracker.verify_history(schema)
    assert 4 == history.documents
    assert ["2 (2)"] == [finding.rpartition("version ")[2] for finding in history.findings]
    assert 3 == len(history.notes)


def document_of(schema: str, *files: str) -> bytes:
    """Return a document with these files, each of them a version and a revision."""
    versions = [{"version": number, "file": file} for number, file in enumerate(files)]
    entry = {"file_name": "FY2023", "current_version": len(files) - 1, "versions": versions}
    tables = [{"schema_name": schema, "tables": [{"name": "births", "files": [entry]}]}]
    return to_bytes({"tables": tables, "revision": len(files)})
