"""Sharing work: what a worker claims, extends, releases, records and wants again; and what fate may do to that."""

import json
import pickle
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import pytest

from cf_data_tracker import connection
from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, claim_in
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.entries import UnreadableError, opened, sealed
from cf_data_tracker.errors import (
    ClaimLostError,
    ContentionError,
    DocumentError,
    InvalidNameError,
    NotTrackedError,
    OutcomeUnknownError,
    StoreError,
)
from cf_data_tracker.model import Claim, CleanChange, CleanRecorded, FileVersion, Forgetting, Noting, Seen
from cf_data_tracker.names import clean_key, inbox_prefix, older_clean_key
from cf_data_tracker.runtime import RUNTIME
from cf_data_tracker.settings import Access
from cf_data_tracker.store import Stored
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from fates import Fate, FatefulStore
from test_claims_rules import claimed, claiming, extending, releasing, reprocessing, unclaimed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Counted = Callable[[str, Mapping[str, int]], None]

KEY: Final = clean_key("vitals")
NINE: Final = datetime(2024, 3, 1, 9, tzinfo=timezone.utc)


@dataclass
class Clock:
    """A clock that stands still until it is told to go on."""

    now: datetime = NINE

    def __call__(self) -> datetime:
        """Return the time."""
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@dataclass(kw_only=True)
class Office:
    """Two buckets in memory, one clock, and workers that share the work."""

    raw: MemoryStore = field(default_factory=MemoryStore)
    clean: MemoryStore = field(default_factory=MemoryStore)
    clock: Clock = field(default_factory=Clock)

    def record(self, *file_names: str, file: str = "a.zip") -> None:
        """Record a raw file for each of these file names."""
        tracker = Tracker.over(self._side(self.raw))
        for file_name in file_names:
            tracker.record("vitals", "births", file_name, file, file_size=7, s3_location=f"s3://raw/{file}")

    def worker(self, **fates: Any) -> CleanTracker:  # noqa: ANN401 - as `FatefulStore` has them
        """Return a worker whose requests to the clean bucket meet these fates."""
        return self.worker_over(FatefulStore(self.clean, **fates))

    def worker_over(self, store: FatefulStore, patience: Patience | None = None) -> CleanTracker:
        """Return a worker that reaches the clean bucket through a store."""
        return CleanTracker.over(self._side(self.raw), self._side(store, patience), clock=self.clock)

    def stored(self) -> Document:
        """Return the clean document as it is stored."""
        there = self.clean.read(KEY)
        assert isinstance(there, Stored)
        document: Document = json.loads(there.body)
        return document

    def claim_on(self, file_name: str = "FY2023") -> Document:
        """Return how the document has the claim on a file name."""
        return claim_in(self.stored(), "births", file_name)

    @staticmethod
    def _side(store: MemoryStore | FatefulStore, patience: Patience | None = None) -> Connection:
        return Connection(Access(bucket="clean"), store=store, patience=patience or Patience(first=0.0))


@pytest.fixture
def office() -> Office:
    """Give an office with one pending version."""
    office = Office()
    office.record("FY2023")
    return office


def only(claims: list[Claim]) -> Claim:
    """Return the one claim."""
    (claim,) = claims
    return claim


def once(kind: str, deed: "Callable[[], object]") -> "Callable[[str, int], None]":
    """Return what does something before the first call of a kind."""

    def before(called: str, number: int) -> None:
        if (kind, 1) == (called, number):
            deed()

    return before


class TestClaim:
    """What a worker gets."""

    def test_a_claim_names_the_version_its_number_and_its_end(self, office: Office) -> None:
        """A quarter of an hour from now, unless it is said otherwise."""
        worker = office.worker()
        claim = only(worker.claim("vitals"))
        assert claim == Claim(
            raw=only_pending(worker), fence=1, until="2024-03-01T09:15:00.000Z", claimed_by=claim.claimed_by
        )
        assert {
            "fence": 1,
            "claimed_by": claim.claimed_by,
            "version": 1,
            "until": "2024-03-01T09:15:00.000Z",
            "recorded_by": claim.claimed_by,
        } == office.claim_on()

    def test_what_one_has_claimed_another_does_not_get(self, office: Office) -> None:
        """Though it is pending until it is recorded."""
        office.worker().claim("vitals")
        other = office.worker()
        assert [] == other.claim("vitals")
        assert 1 == len(other.pending("vitals"))

    def test_no_more_than_asked_for_and_no_more_than_there_are(self, office: Office) -> None:
        """One, unless it is said otherwise."""
        office.record("FY2021", "FY2022", "FY2024")
        worker = office.worker()
        assert [1, 2, 1, 0] == [len(worker.claim("vitals", limit=limit)) for limit in (1, 2, 5, 5)]

    def test_claims_of_one_call_are_one_commit(self, office: Office) -> None:
        """However many."""
        office.record("FY2021", "FY2022", "FY2024")
        office.worker().claim("vitals", limit=4)
        assert 1 == office.stored()["revision"]

    def test_rivals_seldom_pick_the_same(self, office: Office) -> None:
        """Which of many pending versions a worker gets is left to chance."""
        office.record(*(f"FY{year}" for year in range(1900, 2000)))
        first = {only(Office(raw=office.raw).worker().claim("vitals")).raw.file_name for _ in range(20)}
        assert len(first) > 5

    def test_a_claim_that_ran_out_is_handed_on(self, office: Office) -> None:
        """Under the next number, and not a moment earlier."""
        office.worker().claim("vitals", lease=60)
        other = office.worker()
        office.clock.pass_by(59.9)
        assert [] == other.claim("vitals")
        office.clock.pass_by(0.1)
        assert 2 == only(other.claim("vitals")).fence

    def test_a_lease_may_be_a_timedelta(self, office: Office) -> None:
        """As well as seconds."""
        assert (
            "2024-03-01T11:00:00.500Z"
            == only(office.worker().claim("vitals", lease=timedelta(hours=2, seconds=0.5))).until
        )

    def test_a_newer_version_waits_for_its_turn(self, office: Office) -> None:
        """Else a file name that changes faster than it is cleaned would never be."""
        worker = office.worker()
        claim = only(worker.claim("vitals"))
        office.record("FY2023", file="b.zip")
        assert [] == worker.claim("vitals")
        assert worker.record(claim, ["a.parquet"]).created
        assert 2 == only(worker.claim("vitals")).raw.version

    def test_there_may_be_nothing_to_claim(self, office: Office) -> None:
        """That is no error, and nothing is written."""
        worker = office.worker()
        worker.record(only(worker.claim("vitals")), [])
        before = office.stored()
        assert [] == worker.claim("vitals")
        assert before == office.stored()

    def test_a_schema_that_is_not_tracked_is_an_error(self, office: Office) -> None:
        """As for `pending`."""
        with pytest.raises(NotTrackedError, match="the schema weather is not tracked"):
            office.worker().claim("weather")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"schema": "a/b"},
            {"limit": 0},
            {"limit": -1},
            {"limit": 1.5},
            {"limit": None},
            {"lease": 0},
            {"lease": -5},
            {"lease": "60"},
            {"lease": timedelta(0)},
            {"lease": float("nan")},
        ],
    )
    def test_bad_arguments_are_told_before_anything_is_sent(self, office: Office, wrong: dict[str, Any]) -> None:
        """Each is named."""
        store = FatefulStore(office.clean)
        with pytest.raises(InvalidNameError, match=next(iter(wrong))):
            office.worker_over(store).claim(**{"schema": "vitals", **wrong})
        assert [] == store.calls

    def test_a_claim_travels(self, office: Office) -> None:
        """Pickled, to the process that does the work."""
        claim = only(office.worker().claim("vitals"))
        assert claim == pickle.loads(pickle.dumps(claim))
        assert office.worker().record(pickle.loads(pickle.dumps(claim)), ["a.parquet"]).created

    def test_the_records_of_the_earlier_package_count(self, office: Office) -> None:
        """What it has cleaned is not handed out, and the first claim carries its records over."""
        record = {"file_info": {"version": 1, "table_name": "births"}, "clean_files": []}
        older = json.dumps([{"schema_name": "vitals", "tables": {"FY2023": record}}]).encode()
        office.clean.write(older_clean_key("vitals"), older, replacing=None)
        office.record("FY2024")
        assert ["FY2024"] == [claim.raw.file_name for claim in office.worker().claim("vitals", limit=5)]
        assert {"FY2023"} == set(office.stored()["tables"]["births"])


def only_pending(worker: CleanTracker) -> FileVersion:
    """Return the one pending version."""
    (version,) = worker.pending("vitals")
    return version


class TestRecord:
    """What ends a claim."""

    def test_a_record_ends_its_claim(self, office: Office) -> None:
        """The fence stays, and nothing is pending."""
        worker = office.worker()
        claim = only(worker.claim("vitals"))
        assert worker.record(claim, ["a.parquet"]) == CleanRecorded(
            schema="vitals", table="births", file_name="FY2023", version=1, created=True
        )
        assert {"fence": 1} == office.claim_on()
        assert [] == worker.pending("vitals")

    def test_a_late_worker_is_refused(self, office: Office) -> None:
        """The error says who has the version now, and that this record is not in the document."""
        late, punctual = office.worker(), office.worker()
        lost = only(late.claim("vitals", lease=60))
        office.clock.pass_by(60)
        kept = only(punctual.claim("vitals"))
        with pytest.raises(
            ClaimLostError,
            match=re.escape(
                "the claim on vitals/births/FY2023 version 1, number 1, counts no more: another worker has it as "
                "number 2, until 2024-03-01T09:16:00.000Z. The file name has no record, which is not this one"
            ),
        ):
            late.record(lost, ["late.parquet"])
        assert punctual.record(kept, ["punctual.parquet"]).created
        with pytest.raises(
            ClaimLostError, match=r"the last one on it is number 2\. The file name has a record of version 1"
        ):
            late.record(lost, ["late.parquet"])
        assert ["punctual.parquet"] == office.stored()["tables"]["births"]["FY2023"]["clean_files"]

    def test_a_lease_that_ran_out_is_good_while_nobody_took_over(self, office: Office) -> None:
        """Clocks decide who goes on, not what is recorded."""
        worker = office.worker()
        claim = only(worker.claim("vitals", lease=60))
        office.clock.pass_by(86_400)
        assert worker.record(claim, ["a.parquet"]).created

    def test_recording_again_is_safe(self, office: Office) -> None:
        """Whoever was not answered records once more, though time has passed."""
        worker = office.worker()
        claim = only(worker.claim("vitals"))
        worker.record(claim, ["a.parquet"])
        office.clock.pass_by(60)
        assert worker.record(claim, ["a.parquet"]).created
        assert not worker.record(claim, ["b.parquet"]).created
        assert ["a.parquet"] == office.stored()["tables"]["births"]["FY2023"]["clean_files"]

    def test_a_record_without_a_claim_is_taken_as_ever(self, office: Office) -> None:
        """Whoever holds the version is told that it did not put the record there."""
        worker = office.worker()
        claim = only(worker.claim("vitals"))
        assert office.worker().record(claim.raw, ["other.parquet"]).created
        assert not worker.record(claim, ["a.parquet"]).created
        assert {"fence": 1} == office.claim_on()

    @pytest.mark.parametrize("wrong", [{"raw": "text"}, {"fence": "1"}, {"fence": None}, {"claimed_by": None}])
    def test_a_claim_made_by_hand_is_checked(self, office: Office, wrong: dict[str, Any]) -> None:
        """Before anything is sent."""
        claim = replace(only(office.worker().claim("vitals")), **wrong)
        store = FatefulStore(office.clean)
        worker = office.worker_over(store)
        calls: list[Callable[[], object]] = [
            lambda: worker.record(claim, []),
            lambda: worker.extend(claim),
            lambda: worker.release(claim),
        ]
        for call in calls:
            with pytest.raises(InvalidNameError):
                call()
        assert [] == store.calls


class TestExtendAndRelease:
    """A claim that goes on, and one that is given back."""

    def test_an_extended_claim_lasts_from_now(self, office: Office) -> None:
        """The one that comes back says until when; the old one records as well."""
        worker = office.worker()
        claim = only(worker.claim("vitals", lease=60))
        office.clock.pass_by(50)
        longer = worker.extend(claim, lease=60)
        assert longer == replace(claim, until="2024-03-01T09:01:50.000Z")
        office.clock.pass_by(50)
        assert [] == office.worker().claim("vitals")
        assert worker.record(claim, ["a.parquet"]).created

    def test_an_extension_never_shortens(self, office: Office) -> None:
        """It lasts as long as it did."""
        worker = office.worker()
        claim = only(worker.claim("vitals", lease=600))
        assert claim == worker.extend(claim, lease=timedelta(seconds=1))

    def test_a_claim_that_ran_out_can_be_extended_while_nobody_took_over(self, office: Office) -> None:
        """Afterwards it cannot."""
        worker = office.worker()
        claim = only(worker.claim("vitals", lease=60))
        office.clock.pass_by(100)
        worker.extend(claim, lease=60)
        office.clock.pass_by(100)
        office.worker().claim("vitals")
        with pytest.raises(ClaimLostError, match="another worker has it as number 2"):
            worker.extend(claim)

    def test_what_has_ended_is_not_extended(self, office: Office) -> None:
        """Recorded or released."""
        office.record("FY2024")
        worker = office.worker()
        recorded, released = worker.claim("vitals", limit=2)
        worker.record(recorded, [])
        worker.release(released)
        for claim in (recorded, released):
            with pytest.raises(ClaimLostError, match="it was recorded or released"):
                worker.extend(claim)

    def test_what_is_released_can_be_claimed_at_once(self, office: Office) -> None:
        """And not be recorded by who gave it back."""
        worker = office.worker()
        claim = only(worker.claim("vitals"))
        worker.release(claim)
        with pytest.raises(ClaimLostError, match="it was recorded or released"):
            worker.record(claim, [])
        assert 2 == only(office.worker().claim("vitals")).fence

    def test_releasing_is_never_an_error(self, office: Office) -> None:
        """Twice, after a record, after another has taken over: the claim of another stays as it is."""
        worker = office.worker()
        claim = only(worker.claim("vitals", lease=60))
        for _ in range(2):
            worker.release(claim)
        other = only(office.worker().claim("vitals"))
        before = office.stored()
        worker.release(claim)
        assert before == office.stored()
        office.worker().record(other, [])
        worker.release(other)


class TestReprocess:
    """A version that is to be cleaned again."""

    def test_it_is_pending_once_more(self, office: Office) -> None:
        """The record made under the next claim replaces the one that is there, once."""
        worker = office.worker()
        worker.record(only(worker.claim("vitals")), ["wrong.parquet"])
        version = worker.reprocess("vitals", "births", "FY2023")
        assert [version] == worker.pending("vitals")
        claim = only(worker.claim("vitals"))
        assert (3, version) == (claim.fence, claim.raw)
        assert worker.record(claim, ["right.parquet"]).created
        assert ["right.parquet"] == office.stored()["tables"]["births"]["FY2023"]["clean_files"]
        assert [] == worker.claim("vitals")

    def test_whoever_is_at_it_is_too_late(self, office: Office) -> None:
        """What an old run has made is not recorded."""
        worker = office.worker()
        claim = only(worker.claim("vitals"))
        office.worker().reprocess("vitals", "births", "FY2023")
        with pytest.raises(ClaimLostError, match="the last one on it is number 2"):
            worker.record(claim, ["old.parquet"])
        assert worker.record(only(worker.claim("vitals")), ["new.parquet"]).created

    def test_it_is_the_newest_version_that_is_cleaned(self, office: Office) -> None:
        """The older ones are superseded."""
        office.record("FY2023", file="b.zip")
        assert 2 == office.worker().reprocess("vitals", "births", "FY2023").version

    def test_what_there_is_not_is_an_error(self, office: Office) -> None:
        """No such schema, table or file name; nothing is written."""
        for names in (("weather", "births", "FY2023"), ("vitals", "deaths", "FY2023"), ("vitals", "births", "FY2024")):
            with pytest.raises(NotTrackedError):
                office.worker().reprocess(*names)
        assert [] == office.clean.list("")

    def test_a_raw_document_that_is_behind_is_told_at_once(self, office: Office) -> None:
        """Where the clean record is of a newer version than any raw one, nothing could be cleaned again."""
        office.record("FY2023", file="b.zip")
        office.worker().record(only(office.worker().claim("vitals")), ["x.parquet"])
        office.raw = MemoryStore()
        office.record("FY2023")
        with pytest.raises(NotTrackedError, match="has a clean record of version 2, and 1 is the newest raw version"):
            office.worker().reprocess("vitals", "births", "FY2023")

    @pytest.mark.parametrize("names", [("a/b", "births", "x"), ("vitals", "", "x"), ("vitals", "births", None)])
    def test_names_are_checked(self, office: Office, names: Any) -> None:  # noqa: ANN401 - wrong on purpose
        """Before anything is sent."""
        store = FatefulStore(office.clean)
        with pytest.raises(InvalidNameError):
            office.worker_over(store).reprocess(*names)
        assert [] == store.calls

    def test_a_claim_that_comes_between_does_not_hinder_it(self, office: Office) -> None:
        """It is asked for again, with the number that is there now."""
        rival, store = office.worker(), FatefulStore(office.clean)
        store.before = once("write", lambda: rival.claim("vitals"))
        office.worker_over(store).reprocess("vitals", "births", "FY2023")
        assert {"fence": 2, "again": 1} == {key: office.claim_on()[key] for key in ("fence", "again")}


LOSSES: Final = [Fate.ANSWER_LOST, Fate.LOST, Fate.CONFLICT, Fate.SLOW_DOWN, Fate.NOT_SENT]


class TestFates:
    """What may befall a request."""

    @pytest.mark.parametrize("fate", LOSSES, ids=lambda fate: fate.name)
    def test_a_spoiled_request_costs_time_alone(self, office: Office, fate: Fate) -> None:
        """To claim, extend, release, record and want again come to the same, whatever befalls each first write."""
        office.record("FY2024")
        claims = office.worker(writes=[fate]).claim("vitals", limit=2)
        assert [1, 1] == [claim.fence for claim in claims]
        done, given_back = sorted(claims, key=lambda claim: claim.raw.file_name)
        office.clock.pass_by(60)
        assert "2024-03-01T09:16:00.000Z" == office.worker(writes=[fate]).extend(done).until
        office.worker(writes=[fate]).release(given_back)
        assert office.worker(writes=[fate]).record(done, ["a.parquet"]).created
        office.worker(writes=[fate]).reprocess("vitals", "births", "FY2023")
        assert (2, 1) == (office.claim_on()["fence"], office.claim_on("FY2024")["fence"])
        assert 5 == office.stored()["revision"]
        assert [] == office.clean.list(inbox_prefix(KEY))

    def test_a_record_that_landed_unanswered_may_be_recorded_again(self, office: Office) -> None:
        """`OutcomeUnknownError` says that calling again is safe, and it is."""
        claim = only(office.worker().claim("vitals"))
        store = FatefulStore(office.clean, writes=[Fate.LATE] * 2)
        worker = office.worker_over(store, Patience(attempts=2, first=0.0))
        with pytest.raises(OutcomeUnknownError, match="calling again is safe"):
            worker.record(claim, ["a.parquet"])
        assert 1 == store.catch_up()
        assert worker.record(claim, ["a.parquet"]).created

    def test_a_record_that_lands_late_after_a_takeover_is_none(self, office: Office) -> None:
        """Its condition does not hold any more; the record of the other stays."""
        claim = only(office.worker().claim("vitals", lease=60))
        store = FatefulStore(office.clean, writes=[Fate.LATE] * 2)
        with pytest.raises(OutcomeUnknownError):
            office.worker_over(store, Patience(attempts=2, first=0.0)).record(claim, ["late.parquet"])
        office.clock.pass_by(60)
        other = office.worker()
        taken = only(other.claim("vitals"))
        assert 0 == store.catch_up()
        assert other.record(taken, ["punctual.parquet"]).created
        assert ["punctual.parquet"] == office.stored()["tables"]["births"]["FY2023"]["clean_files"]

    def test_an_entry_of_a_late_worker_changes_nothing(self, office: Office) -> None:
        """What it left in the inbox is met after another has taken over, applied by a third, and comes to nothing."""
        claim = only(office.worker().claim("vitals", lease=60))
        late = office.worker_over(
            FatefulStore(office.clean, writes=[Fate.CONFLICT] * 3), Patience(attempts=3, first=0.0)
        )
        with pytest.raises(OutcomeUnknownError, match="published for others to commit"):
            late.record(claim, ["late.parquet"])
        assert 1 == len(office.clean.list(inbox_prefix(KEY)))
        office.clock.pass_by(60)
        taken = only(office.worker().claim("vitals", lease=60))
        combining = office.worker(writes=[Fate.CONFLICT] * 3)
        combining.record(replace(claim.raw, file_name="FY2020"), [])
        assert [] == office.clean.list(inbox_prefix(KEY))
        assert {"FY2020"} == set(office.stored()["tables"]["births"])
        assert office.worker().record(taken, ["punctual.parquet"]).created

    def test_an_entry_of_a_late_worker_counts_while_nobody_took_over(self, office: Office) -> None:
        """Whoever would claim the version finds it in the inbox, commits it, and leaves the version alone."""
        claim = only(office.worker().claim("vitals", lease=60))
        late = office.worker_over(
            FatefulStore(office.clean, writes=[Fate.CONFLICT] * 3), Patience(attempts=3, first=0.0)
        )
        with pytest.raises(OutcomeUnknownError):
            late.record(claim, ["late.parquet"])
        office.clock.pass_by(60)
        assert [] == office.worker(writes=[Fate.CONFLICT] * 3).claim("vitals")
        assert office.worker().record(claim, ["late.parquet"]).created

    def test_a_claim_that_died_on_its_way_is_handed_on_in_time(self, office: Office) -> None:
        """What a worker had published is committed by another; when it has run out, others get the version."""
        dead = office.worker_over(
            FatefulStore(office.clean, writes=[Fate.CONFLICT] * 3), Patience(attempts=3, first=0.0)
        )
        with pytest.raises(OutcomeUnknownError):
            dead.claim("vitals", lease=60)
        other = office.worker(writes=[Fate.CONFLICT] * 3)
        other.record(replace(only_pending(other), file_name="FY2020"), [])
        assert 1 == office.claim_on()["fence"]
        assert [] == other.claim("vitals")
        office.clock.pass_by(60)
        assert 2 == only(other.claim("vitals")).fence

    def test_an_extension_that_comes_first_keeps_the_claim(self, office: Office) -> None:
        """Whoever read the document before it was extended does not get it after that."""
        worker = office.worker()
        claim = only(worker.claim("vitals", lease=60))
        office.clock.pass_by(60)
        store = FatefulStore(office.clean)
        store.before = once("write", lambda: worker.extend(claim))
        assert [] == office.worker_over(store).claim("vitals")
        assert worker.record(claim, ["a.parquet"]).created

    def test_what_another_has_claimed_meanwhile_is_left_to_it(self, office: Office) -> None:
        """Something else is picked; of what is left there is enough for both."""
        office.record("FY2024")
        rival, store = office.worker(), FatefulStore(office.clean)
        theirs: list[Claim] = []

        store.before = once("write", lambda: theirs.extend(rival.claim("vitals")))
        ours = office.worker_over(store).claim("vitals", limit=2)
        assert {"FY2023", "FY2024"} == {claim.raw.file_name for claim in (*ours, *theirs)}
        assert (1, 1) == (len(ours), len(theirs))

    def test_others_that_keep_claiming_first_are_an_error_in_the_end(self, office: Office) -> None:
        """Rather than the word that there is nothing to do: nothing was claimed."""
        rival, store = office.worker(), FatefulStore(office.clean)

        def claims_and_releases(kind: str, _number: int) -> None:
            if kind == "write":
                for claim in rival.claim("vitals"):
                    rival.release(claim)

        store.before = claims_and_releases
        with pytest.raises(ContentionError, match="others kept claiming what is pending in vitals"):
            office.worker_over(store, Patience(attempts=5, first=0.0)).claim("vitals")
        assert "claimed_by" not in office.claim_on()

    def test_what_was_claimed_before_an_error_is_given(self, office: Office) -> None:
        """Else nobody would know of it; the error comes again with the next call."""
        office.record("FY2024")
        rival, store = office.worker(), FatefulStore(office.clean)

        def refuses_after_the_second_write(kind: str, number: int) -> None:
            if (kind, number) == ("write", 1):
                rival.claim("vitals")
            if kind == "read" and store.calls.count("write") == 2:
                raise StoreError("ExpiredToken")

        store.before = refuses_after_the_second_write
        worker = office.worker_over(store)
        assert 1 == len(worker.claim("vitals", limit=2))
        with pytest.raises(StoreError):
            worker.claim("vitals")

    def test_a_refusal_is_told_as_it_is(self, office: Office) -> None:
        """What to mend is in the message."""
        with pytest.raises(StoreError, match="ExpiredToken"):
            office.worker(writes=[Fate.REFUSED]).claim("vitals")


RIVALS: Final[dict[str, "Callable[[CleanTracker], object]"]] = {
    "takes over": lambda rival: rival.claim("vitals"),
    "takes over and records": lambda rival: [rival.record(one, ["theirs.parquet"]) for one in rival.claim("vitals")],
    "takes over and releases": lambda rival: list(map(rival.release, rival.claim("vitals"))),
    "records without a claim": lambda rival: [rival.record(one, ["theirs.parquet"]) for one in rival.pending("vitals")],
    "wants it cleaned again": lambda rival: rival.reprocess("vitals", "births", "FY2023"),
}
DEEDS: Final[dict[str, "Callable[[CleanTracker, Claim], object]"]] = {
    "claim": lambda worker, _claim: worker.claim("vitals"),
    "record": lambda worker, claim: worker.record(claim, ["ours.parquet"]).created,
    "extend": lambda worker, claim: worker.extend(claim),
    "release": CleanTracker.release,
    "reprocess": lambda worker, _claim: worker.reprocess("vitals", "births", "FY2023"),
}
OUTCOMES: Final = {
    "claim": {"done", "nothing done"},
    "record": {"done", "nothing done", "refused"},
    "extend": {"done", "refused"},
    "release": {"nothing done"},  # it says nothing
    "reprocess": {"done"},
}
SPOILT: Final = (Fate.ANSWERED, Fate.ANSWER_LOST, Fate.LOST, Fate.LATE, Fate.CONFLICT)


class TestBetween:
    """A rival acts before any request of a worker whose claim has run out, and any of its writes may go wrong."""

    @pytest.fixture(autouse=True)
    def _without_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let no worker wait."""
        monkeypatch.setattr(connection, "RUNTIME", replace(RUNTIME, sleep=lambda _seconds: None))

    @pytest.mark.parametrize("deed", DEEDS)
    def test_whatever_comes_between_one_worker_is_right(self, deed: str, counted: "Counted") -> None:
        """What a worker is told is what the document says: one record, one holder, and the highest number counts."""
        runs = Counter[str]()
        for rival in RIVALS:
            for place, fate, before in product(range(1, 7), SPOILT, ([], [Fate.CONFLICT])):
                runs += self.run(deed, rival, place, [*before, fate])
        counted(f"a rival comes between, {deed}", {"runs": sum(runs.values()), **runs})
        assert OUTCOMES[deed] == set(runs)

    def run(self, deed: str, rival: str, place: int, fates: list[Fate]) -> Counter[str]:
        """Let a worker do its deed, and a rival act before the request at this place."""
        office = Office()
        office.record("FY2023")
        claim = only(office.worker().claim("vitals", lease=60))
        office.clock.pass_by(60)
        store = FatefulStore(office.clean, writes=fates)

        def act(_kind: str, _number: int) -> None:
            if place == len(store.calls):
                RIVALS[rival](office.worker())

        store.before = act
        try:
            told = DEEDS[deed](office.worker_over(store), claim)
        except ClaimLostError as lost:
            told = lost
        store.catch_up()
        self.judge(office, claim, told)
        return Counter(["refused" if isinstance(told, ClaimLostError) else "done" if told else "nothing done"])

    @staticmethod
    def judge(office: Office, claim: Claim, told: object) -> None:
        """Compare what the worker was told with what is stored."""
        standing, document = office.claim_on(), office.stored()
        record = document["tables"].get("births", {}).get("FY2023", {})
        is_ours = record.get("clean_files") == ["ours.parquet"]
        assert is_ours is (told is True)
        assert not is_ours or claim.claimed_by == record["file_info"]["recorded_by"]
        if isinstance(told, ClaimLostError):
            assert standing["fence"] > claim.fence or "claimed_by" not in standing
        for one in told if isinstance(told, list) else [told] if isinstance(told, Claim) else []:
            assert (one.fence, one.claimed_by) == (standing["fence"], standing["claimed_by"])
            assert one.until <= standing["until"]
        if isinstance(told, FileVersion):
            assert standing["again"] == told.version
        if told is None:
            assert claim.claimed_by != standing.get("claimed_by")


class TestTogether:
    """Many workers."""

    def test_threads_that_share_a_tracker_share_the_work(self, office: Office) -> None:
        """Of 60 versions each is cleaned once, by one of 12 threads."""
        office.record(*(f"FY{year}" for year in range(1900, 1959)))
        worker = office.worker()
        done: Counter[str] = Counter()
        lock = threading.Lock()

        def work(_number: int) -> None:
            while claims := worker.claim("vitals", limit=3):
                for claim in claims:
                    with lock:
                        done[claim.raw.file_name] += worker.record(claim, [f"{claim.raw.file_name}.parquet"]).created

        with ThreadPoolExecutor(12) as pool:
            list(pool.map(work, range(12)))
        assert ({1}, 60) == (set(done.values()), len(done))
        assert [] == worker.pending("vitals")

    def test_claims_go_through_the_inbox(self, office: Office) -> None:
        """Workers under contention commit each other's claims and records; each version goes to one of them."""
        office.record(*(f"FY{year}" for year in range(1900, 1939)))
        workers = [office.worker(writes=[Fate.CONFLICT] * 3) for _ in range(8)]
        done: Counter[str] = Counter()
        lock = threading.Lock()

        def work(worker: CleanTracker) -> None:
            while claims := worker.claim("vitals"):
                for claim in claims:
                    with lock:
                        done[claim.raw.file_name] += 1
                    assert worker.record(claim, [f"{claim.raw.file_name}.{claim.fence}.parquet"]).created

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, workers))
        assert ({1}, 40) == (set(done.values()), len(done))
        assert sum(worker.stats.combined for worker in workers) > 0
        assert {1} == {claim["fence"] for claim in office.stored()["claims"]["births"].values()}


HELD: Final[Document] = {"fence": 1, "claimed_by": "x", "version": 1, "until": "2024"}


class TestBadDocuments:
    """A claim that is none is told where it stands, and the document is left as it is."""

    @pytest.mark.parametrize(
        ("ours", "where"),
        [
            ({"claims": []}, "claims"),
            ({"claims": {"births": 5}}, "claims.births"),
            ({"claims": {"births": {"FY2023": None}}}, "claims.births.FY2023"),
            ({"claims": {"births": {"FY2023": {}}}}, "claims.births.FY2023.fence"),
            ({"claims": {"births": {"FY2023": {"fence": -1}}}}, "claims.births.FY2023.fence"),
            ({"claims": {"births": {"FY2023": {"fence": 1, "again": "1"}}}}, "claims.births.FY2023.again"),
            ({"claims": {"births": {"FY2023": {"fence": 1, "claimed_by": "x"}}}}, "claims.births.FY2023.version"),
            (
                {"claims": {"births": {"FY2023": {"fence": 1, "claimed_by": 5, "version": 1, "until": "x"}}}},
                "claims.births.FY2023.claimed_by",
            ),
            (
                {"claims": {"births": {"FY2023": {"fence": 1, "claimed_by": "x", "version": 1}}}},
                "claims.births.FY2023.until",
            ),
            ({"outdated": []}, "outdated"),
            ({"outdated": {"a.parquet": 5}}, "outdated.a.parquet"),
            ({"outdated_seen": []}, "outdated_seen"),
            ({"outdated_seen": {"a": 5}}, "outdated_seen.a"),
            ({"outdated_seen": {"a": {"modified": 1}}}, "outdated_seen.a.etag"),
            ({"outdated_seen": {"a": {"etag": "x", "modified": "1"}}}, "outdated_seen.a.modified"),
            ({"outdated_seen": {"a": {"etag": "x", "modified": True}}}, "outdated_seen.a.modified"),
            ({"outdated_seen": {"a": {"etag": "x", "modified": 1, "version": 5}}}, "outdated_seen.a.version"),
            ({"outdated_seen": {"a": {"etag": "x", "modified": 1, "revision": -1}}}, "outdated_seen.a.revision"),
            (
                {"claims": {"births": {"FY2023": {**HELD, "revision": "1"}}}},
                "claims.births.FY2023.revision",
            ),
        ],
    )
    def test_a_bad_claim_is_an_error_with_its_place(self, office: Office, ours: Document, where: str) -> None:
        """To claim and to record alike."""
        body = json.dumps({"schema_name": "vitals", "tables": {}, **ours}).encode()
        office.clean.write(KEY, body, replacing=None)
        worker = office.worker()
        calls: list[Callable[[], object]] = [lambda: worker.claim("vitals"), lambda: worker.pending("vitals")]
        for call in calls:
            with pytest.raises(DocumentError) as caught:
                call()
            assert (where, f"memory://{KEY}") == (caught.value.where, caught.value.location)
        there = office.clean.read(KEY)
        assert isinstance(there, Stored)
        assert body == there.body


class TestEntries:
    """Changes to claims in an inbox."""

    @pytest.mark.parametrize(
        "change",
        [
            claiming(),
            extending(),
            releasing(),
            reprocessing(fence=3),
            claimed(),
            unclaimed("theirs"),
            Forgetting(outdated={"a.parquet": NINE.isoformat()}, recorded_by="sweep"),
            Noting(outdated={"a": "x"}, at="y", seen=(Seen(file="a", etag="e", modified=1.5),), recorded_by="sweep"),
            replace(unclaimed("seen"), seen=(Seen(file="a", etag="e", modified=1.0, version="v"),)),
        ],
        ids=lambda change: type(change).__name__,
    )
    def test_a_change_comes_back_from_its_entry(self, office: Office, change: CleanChange) -> None:
        """As it was, whatever its kind."""
        ledger = office.worker()._changes("vitals")  # noqa: SLF001 - what its inbox is made with
        key, body = sealed("inbox/", [ledger.to_json(change)])
        assert (change,) == opened(key, body, ledger.from_json).recordings

    def test_entries_without_claims_are_read_as_ever(self, office: Office) -> None:
        """A record that an earlier release published says nothing of the moment or of objects, and has no tag."""
        ledger = office.worker()._changes("vitals")  # noqa: SLF001 - what its inbox is made with
        new = replace(unclaimed("theirs"), at=None)
        value = {name: part for name, part in asdict(new).items() if name not in ("at", "seen")}
        assert value == ledger.to_json(new)
        assert new == ledger.from_json(json.loads(json.dumps(value)))

    @pytest.mark.parametrize("change", [claiming(), claimed()])
    def test_an_earlier_release_does_not_take_a_claim_for_a_record(self, office: Office, change: CleanChange) -> None:
        """It looks for `raw`, finds none, and sets the entry aside: a record under a claim has a condition."""
        assert "raw" not in office.worker()._changes("vitals").to_json(change)  # type: ignore[operator]  # noqa: SLF001 - as above

    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"claim": {}},
            {"claim": None},
            {"later": {"fence": 1}},
            {"claim": {}, "extend": {}},
            {"record": {"fence": 1}},
            {"forget": {"outdated": [], "recorded_by": "x"}},
            {"note": {"outdated": {}, "at": "x", "seen": [{"file": "a"}], "recorded_by": "x"}},
            {"extend": {**asdict(extending()), "more": 1}},
        ],
    )
    def test_what_is_no_change_is_set_aside(self, office: Office, value: object) -> None:
        """It holds up nobody."""
        ledger = office.worker()._changes("vitals")  # noqa: SLF001 - as above
        with pytest.raises(UnreadableError):
            opened(*sealed("inbox/", [value]), ledger.from_json)
