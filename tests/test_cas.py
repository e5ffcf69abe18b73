"""The commit engine: what each answer of the store, or none, makes of a recording."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest

from cf_data_tracker.document import Document
from cf_data_tracker.engine.cas import FIRST_CONTACT_ATTEMPTS, Engine, Snapshot, Waiting
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    OutcomeUnknownError,
    ReadDeniedError,
    StoreError,
)
from cf_data_tracker.model import NewFile, Recorded, Recording
from cf_data_tracker.names import raw_key
from cf_data_tracker.rules.raw import record
from cf_data_tracker.runtime import Runtime, run_inline
from cf_data_tracker.stats import Tally
from cf_data_tracker.store import ANYTHING, Conflict, Stored
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import raw_spec
from fates import Fate, FatefulStore

KEY = raw_key("vitals")
PATIENCE = Patience(attempts=8, seconds=60.0, first=0.05, longest=2.0)


class World:
    """A clock that only sleeping moves, over a store; and the recordings that a test makes in it."""

    def __init__(self, store: FatefulStore, patience: Patience = PATIENCE) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.store = store
        self.tally = Tally()
        runtime = Runtime(clock=lambda: self.now, sleep=self._sleep, random=lambda: 1.0)
        self.engine = Engine(store, self.tally, patience, runtime)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def record(self, file: str, recorded_by: str | None = None) -> Recorded:
        """Record one file by the engine under test."""
        recordings = [recording(file, recorded_by or f"id-of-{file}")]
        return self.engine.commit(raw_spec("vitals"), lambda document: record(document, "vitals", recordings))[0]


def recording(file: str, recorded_by: str) -> Recording:
    """Return a recording of a file of births/FY2023."""
    new = NewFile(schema="vitals", table="births", file_name="FY2023", file=file, file_size=1, s3_location="s3://raw/x")
    return Recording(new=replace(new, timestamp="2024-03-01 09:00:00"), recorded_by=recorded_by)


def rival_records(store: MemoryStore, file: str) -> None:
    """Let another worker, whose requests all go well, record a file."""
    assert World(FatefulStore(store)).record(file).created


def stored(store: MemoryStore) -> Document:
    """Return the document as it is."""
    there = store.read(KEY)
    assert isinstance(there, Stored)
    document: Document = json.loads(there.body)
    return document


def files_in(store: MemoryStore) -> list[str]:
    """Return the files of births/FY2023 by version, of which the numbers must be dense."""
    versions = stored(store)["tables"][0]["tables"][0]["files"][0]["versions"]
    assert [version["version"] for version in versions] == list(range(1, len(versions) + 1))
    return [version["file"] for version in versions]


def story(
    *, reads: list[Fate] | None = None, writes: list[Fate] | None = None, patience: Patience = PATIENCE
) -> tuple[MemoryStore, World]:
    """Return a store that holds `first` at version 1, and a world whose calls to it meet these fates."""
    memory = MemoryStore()
    rival_records(memory, "first")
    return memory, World(FatefulStore(memory, reads=reads or [], writes=writes or []), patience)


def told(answer: str | BaseException) -> str:
    """Give an answer, or raise it."""
    if isinstance(answer, BaseException):
        raise answer
    return answer


def at(kind: str, number: int, act: Callable[[], object]) -> Callable[[str, int], None]:
    """Return what does something before a certain call."""

    def before(this_kind: str, this_number: int) -> None:
        if (this_kind, this_number) == (kind, number):
            act()

    return before


class TestCost:
    """What a recording costs when nobody is in the way."""

    def test_a_first_document_costs_a_read_and_a_write(self) -> None:
        """Starting a document takes one read, which finds nothing, and one create-only write."""
        world = World(FatefulStore(MemoryStore()))
        assert world.record("a") == Recorded(
            schema="vitals", table="births", file_name="FY2023", file="a", version=1, created=True
        )
        assert ["read", "write"] == world.store.calls
        assert [None] == world.store.replaced

    def test_a_quiet_document_costs_one_write(self) -> None:
        """The ETag of the own last write is carried, so the next recording needs no read."""
        _, world = story()
        world.record("a")
        world.store.calls.clear()
        assert world.record("b").version == 3
        assert ["write"] == world.store.calls

    def test_a_file_that_is_there_costs_no_write(self) -> None:
        """Nothing new is not written."""
        memory, world = story()
        before = stored(memory)
        assert not world.record("first", "another id").created
        assert ["read"] == world.store.calls
        assert before == stored(memory)

    def test_that_a_file_is_there_is_said_of_the_document_as_it_is(self) -> None:
        """A carried document is not trusted to say that nothing is to be written: it is read again, conditionally."""
        _, world = story()
        world.record("a")
        world.store.calls.clear()
        assert not world.record("a", "another id").created
        assert ["read"] == world.store.calls
        assert 1 == world.tally.snapshot().unchanged

    def test_a_carried_document_that_lost_the_file_is_not_believed(self) -> None:
        """A file that somebody has taken out of the document by hand since is recorded again."""
        memory, world = story()
        world.record("a")
        there = memory.read(KEY)
        assert isinstance(there, Stored)
        memory.write(KEY, there.body.replace(b'"file":"a"', b'"file":"b"'), replacing=there.etag)
        assert world.record("a", "another id").created
        assert ["first", "b", "a"] == files_in(memory)

    def test_a_revision_is_a_commit(self) -> None:
        """Every commit raises the revision by one."""
        memory, world = story()
        for number, file in enumerate("abc"):
            world.record(file)
            assert number + 2 == stored(memory)["revision"]


class TestConflicts:
    """Somebody else was first."""

    def test_the_loser_of_a_race_takes_the_next_number(self) -> None:
        """After a conflict the document is read again, and the recording goes on top of the rival's."""
        memory, world = story()
        world.store.before = at("write", 1, lambda: rival_records(memory, "rival"))
        assert world.record("ours") == Recorded(
            schema="vitals", table="births", file_name="FY2023", file="ours", version=3, created=True
        )
        assert ["first", "rival", "ours"] == files_in(memory)
        assert 1 == world.tally.snapshot().conflicts

    def test_the_same_file_of_a_rival_is_not_recorded_twice(self) -> None:
        """Of two workers with one file, one creates the version and the other is told its number."""
        memory, world = story()
        world.store.before = at("write", 1, lambda: rival_records(memory, "same"))
        done = world.record("same", "our own id")
        assert (2, False) == (done.version, done.created)
        assert ["first", "same"] == files_in(memory)

    def test_two_that_start_a_document_both_get_in(self) -> None:
        """Whoever loses the create-only write records into the winner's document."""
        memory = MemoryStore()
        world = World(FatefulStore(memory))
        world.store.before = at("write", 1, lambda: rival_records(memory, "rival"))
        assert 2 == world.record("ours").version
        assert ["rival", "ours"] == files_in(memory)

    def test_a_409_is_a_conflict_even_if_nothing_has_changed(self) -> None:
        """A 409 says that the write was not applied; it is done again."""
        memory, world = story(writes=[Fate.CONFLICT])
        assert world.record("a").created
        assert ["first", "a"] == files_in(memory)

    def test_contention_ends_in_an_error_and_nothing_is_written(self) -> None:
        """When others keep winning, the attempts are bounded, and the document does not hold the recording."""
        memory, world = story()
        numbers = iter(range(100))
        world.store.before = lambda kind, _: rival_records(memory, f"r{next(numbers)}") if kind == "write" else None
        with pytest.raises(ContentionError, match="nothing was written"):
            world.record("ours")
        assert PATIENCE.attempts == world.store.calls.count("write")
        assert "ours" not in files_in(memory)

    def test_a_commit_that_a_rival_made_superfluous_is_done_at_the_last_look(self) -> None:
        """Out of attempts, the document is looked at once more: what is there by then is an answer, not an error."""
        memory, world = story(writes=[Fate.CONFLICT] * PATIENCE.attempts)
        world.store.before = at("write", PATIENCE.attempts, lambda: rival_records(memory, "same"))
        assert not world.record("same", "our own id").created


class TestLostAnswers:
    """No answer, or a 5xx: it may have landed, or may land yet."""

    def test_a_write_that_landed_is_recognised(self) -> None:
        """The recording finds itself in the document by its id: it created the version, and is there once."""
        memory, world = story(writes=[Fate.ANSWER_LOST])
        done = world.record("a")
        assert (2, True) == (done.version, done.created)
        assert ["first", "a"] == files_in(memory)
        assert 1 == world.store.calls.count("write")

    def test_a_write_that_landed_is_recognised_beneath_a_rivals(self) -> None:
        """A rival may have committed on top by the time of the look; its own id is still in the document."""
        memory, world = story(writes=[Fate.ANSWER_LOST])
        world.store.before = at("read", 2, lambda: rival_records(memory, "rival"))
        done = world.record("a")
        assert (2, True) == (done.version, done.created)
        assert ["first", "a", "rival"] == files_in(memory)

    def test_a_write_that_did_not_land_is_sent_again_byte_for_byte(self) -> None:
        """While the ETag is the old one the write may be under way, so the very same bytes are sent again."""
        memory, world = story(writes=[Fate.LOST, Fate.LOST])
        assert world.record("a").created
        assert 3 == len(world.store.bodies)
        assert 1 == len(set(world.store.bodies))
        assert 1 == len(set(world.store.replaced))
        assert ["first", "a"] == files_in(memory)

    def test_a_write_that_lands_late_lands_once(self) -> None:
        """One that arrives just before it is sent again makes the second lose, and is then recognised."""
        memory, world = story(writes=[Fate.LATE])
        world.store.before = at("write", 2, world.store.catch_up)
        done = world.record("a")
        assert (2, True) == (done.version, done.created)
        assert ["first", "a"] == files_in(memory)

    def test_a_write_that_lands_after_later_ones_never_lands(self) -> None:
        """Once the ETag has changed, the late write has lost for good, whenever it arrives."""
        memory, world = story(writes=[Fate.LATE])
        world.store.before = at("read", 2, lambda: rival_records(memory, "rival"))
        assert 3 == world.record("a").version
        assert 0 == world.store.catch_up()
        assert ["first", "rival", "a"] == files_in(memory)

    def test_the_start_of_a_document_may_be_answered_by_nothing(self) -> None:
        """A create-only write that landed without an answer is recognised like any other."""
        memory = MemoryStore()
        assert World(FatefulStore(memory, writes=[Fate.ANSWER_LOST])).record("a").created
        assert ["a"] == files_in(memory)

    def test_a_carried_etag_does_not_come_back(self) -> None:
        """A stale ETag cannot pass by accident: content never repeats, since every commit raises the revision."""
        memory, world = story()
        world.record("a")
        stale = world.engine.carried.get(KEY)
        rival_records(memory, "rival")
        assert stale is not None
        world.engine.carried.put(KEY, stale, 0)
        assert 4 == world.record("b").version
        assert ["first", "a", "rival", "b"] == files_in(memory)

    @pytest.mark.parametrize("fate", [Fate.LOST, Fate.SLOW_DOWN, Fate.NOT_SENT])
    def test_a_read_without_an_answer_is_asked_again(self, fate: Fate) -> None:
        """Reading changes nothing, so it is simply asked again."""
        memory, world = story(reads=[fate, fate])
        assert world.record("a").created
        assert ["first", "a"] == files_in(memory)


class TestGivingUp:
    """Attempts and seconds are bounded, and the error says what is known."""

    def test_an_unanswered_write_that_may_still_land_is_an_unknown_outcome(self) -> None:
        """With the old ETag still there at the last look, a write may yet land: nobody can say."""
        memory, world = story(writes=[Fate.LATE] * PATIENCE.attempts)
        with pytest.raises(OutcomeUnknownError, match="calling again is safe"):
            world.record("a")
        assert 1 == world.store.catch_up()
        assert ["first", "a"] == files_in(memory)

    def test_an_unanswered_write_that_can_never_land_leaves_no_doubt(self) -> None:
        """Once a rival has taken the ETag that it was to replace, it has lost: what follows is contention."""
        memory, world = story(writes=[Fate.LATE] + [Fate.CONFLICT] * (PATIENCE.attempts - 1))
        world.store.before = at("read", 2, lambda: rival_records(memory, "rival"))
        with pytest.raises(ContentionError, match="nothing was written"):
            world.record("a")
        assert 0 == world.store.catch_up()
        assert ["first", "rival"] == files_in(memory)

    def test_a_write_that_was_never_sent_leaves_no_doubt(self) -> None:
        """A connection that was refused is no unknown outcome: nothing can have landed."""
        memory, world = story(writes=[Fate.NOT_SENT] * PATIENCE.attempts)
        with pytest.raises(StoreError, match="nothing was written"):
            world.record("a")
        assert ["first"] == files_in(memory)

    def test_a_document_that_is_put_back_as_it_was_leaves_the_outcome_unknown(self) -> None:
        """If the ETag that an unanswered write was to replace is there again at the last look, it may yet land."""
        memory, world = story(writes=[Fate.LATE] + [Fate.CONFLICT] * (PATIENCE.attempts - 1))
        first = memory.read(KEY)
        assert isinstance(first, Stored)

        def meanwhile(kind: str, number: int) -> None:
            if (kind, number) == ("read", 2):
                rival_records(memory, "rival")
            if (kind, number) == ("write", PATIENCE.attempts):
                memory.write(KEY, first.body, replacing=ANYTHING)

        world.store.before = meanwhile
        with pytest.raises(OutcomeUnknownError):
            world.record("a")
        assert 1 == world.store.catch_up()

    def test_the_last_look_may_find_that_it_landed(self) -> None:
        """A last write that landed without an answer is found, and is no error."""
        _, world = story(writes=[Fate.LOST] * (PATIENCE.attempts - 1) + [Fate.ANSWER_LOST])
        assert world.record("a").created

    def test_a_last_look_without_an_answer_leaves_the_outcome_unknown(self) -> None:
        """If even the last look is not answered, the outcome stays unknown."""
        reads = [Fate.ANSWERED] * PATIENCE.attempts + [Fate.LOST]
        _, world = story(writes=[Fate.LOST] * PATIENCE.attempts, reads=reads)
        with pytest.raises(OutcomeUnknownError):
            world.record("a")

    def test_a_last_look_without_an_answer_after_a_conflict_is_contention(self) -> None:
        """A write that lost was not written, whatever the last look says."""
        reads = [Fate.ANSWERED] * PATIENCE.attempts + [Fate.LOST]
        _, world = story(writes=[Fate.CONFLICT] * PATIENCE.attempts, reads=reads)
        with pytest.raises(ContentionError):
            world.record("a")

    def test_a_refusal_after_an_unanswered_write_leaves_the_outcome_unknown(self) -> None:
        """That credentials have expired says nothing about a write that was sent before."""
        _, world = story(writes=[Fate.LATE], reads=[Fate.ANSWERED, Fate.REFUSED])
        with pytest.raises(OutcomeUnknownError):
            world.record("a")

    def test_a_refusal_before_any_write_is_a_store_error(self) -> None:
        """Nothing was sent, so the refusal itself is what to fix."""
        _, world = story(reads=[Fate.REFUSED])
        with pytest.raises(StoreError, match="ExpiredToken"):
            world.record("a")

    def test_reads_that_are_never_answered_are_a_store_error(self) -> None:
        """Without a write nothing can have happened, and the message says so."""
        _, world = story(reads=[Fate.LOST] * PATIENCE.attempts)
        with pytest.raises(StoreError, match="nothing was written"):
            world.record("a")

    def test_a_question_that_is_never_answered_is_a_store_error(self) -> None:
        """Reading gives up under the same bounds."""
        _, world = story(reads=[Fate.LOST] * PATIENCE.attempts)
        with pytest.raises(StoreError, match="does not answer"):
            world.engine.read(raw_spec("vitals"))
        assert PATIENCE.attempts == world.store.calls.count("read")

    def test_an_endpoint_that_never_answered_is_given_up_early(self) -> None:
        """A typing error in the endpoint should not cost the whole patience."""
        world = World(FatefulStore(MemoryStore(), reads=[Fate.NOT_SENT] * 50))
        with pytest.raises(StoreError):
            world.record("a")
        assert FIRST_CONTACT_ATTEMPTS == len(world.store.calls)

    def test_an_endpoint_that_has_answered_before_gets_the_whole_patience(self) -> None:
        """A store that is being restarted comes back."""
        _, world = story(writes=[Fate.ANSWERED] + [Fate.NOT_SENT] * (PATIENCE.attempts - 1))
        world.record("a")
        assert world.record("b").created

    def test_no_attempt_begins_after_the_time_is_up(self) -> None:
        """Seconds bound the loop as attempts do."""
        patience = Patience(attempts=1000, seconds=10.0)
        _, world = story(writes=[Fate.CONFLICT] * 1000, patience=patience)
        with pytest.raises(ContentionError):
            world.record("a")
        assert world.now <= patience.seconds

    def test_waits_double_up_to_a_bound(self) -> None:
        """The wait is a random share of a bound that doubles from one write's time."""
        _, world = story(writes=[Fate.CONFLICT] * 7)
        world.record("a")
        assert [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0] == world.waits

    def test_a_store_that_asks_for_less_is_given_more_time(self) -> None:
        """After 503 SlowDown the bound is four times as long."""
        _, world = story(writes=[Fate.SLOW_DOWN])
        assert world.record("a").created
        assert [0.2] == world.waits


class TestWaiting:
    """Nothing is wrong: others are at it."""

    def test_it_is_looked_again_when_the_attempt_said(self) -> None:
        """How long that is, is not for chance to say; and it is counted neither as a loss nor as silence."""
        world = World(FatefulStore(MemoryStore()))
        answers: Iterator[str | BaseException] = iter([Waiting(0.7), Waiting(0.3), Conflict("lost"), "done"])
        assert "done" == world.engine.persist(lambda: told(next(answers)), self._as_said)
        assert [0.7, 0.3, 9.0] == world.waits
        stats = world.tally.snapshot()
        assert (1, 0) == (stats.conflicts, stats.unanswered)

    def test_it_ends_with_patience(self) -> None:
        """Whoever only ever waits has reached the store, and is given the attempts of one that has."""
        world = World(FatefulStore(MemoryStore()))
        with pytest.raises(Waiting):
            world.engine.persist(lambda: told(Waiting(0.1)), self._as_said)
        assert PATIENCE.attempts - 1 == len(world.waits)

    @staticmethod
    def _as_said(_: int, signal: BaseException | None) -> float:
        return signal.seconds if isinstance(signal, Waiting) else 9.0


class TestTelling:
    """What a commit leaves for others to read."""

    def test_a_note_goes_with_the_document(self) -> None:
        """Who reads it learns how many its writer saw waiting; so does the writer, who carries it."""
        memory, writer = story()
        base = writer.engine.look(raw_spec("vitals"))
        writer.engine.put(KEY, {"tables": [], "revision": 2}, base, waiting=5)
        carried = writer.engine.carried.get(KEY)
        assert carried is not None
        assert 5 == carried.waiting
        assert 5 == World(FatefulStore(memory)).engine.look(raw_spec("vitals")).waiting

    def test_a_plain_commit_notes_nothing(self) -> None:
        """A note of an earlier writer does not outlive what it was written with."""
        memory, world = story()
        there = memory.read(KEY)
        assert isinstance(there, Stored)
        memory.write(KEY, there.body, replacing=ANYTHING, waiting=5)
        world.record("a")
        assert 0 == world.engine.look(raw_spec("vitals")).waiting

    def test_a_commit_is_one_line_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """Where, which revision, and how many recordings, also in fields; what was there already is not counted."""
        _, world = story()
        caplog.set_level(logging.INFO, logger="cf_data_tracker")
        recordings = [recording(file, f"id-of-{file}-again") for file in ("first", "a", "b")]
        world.engine.commit(raw_spec("vitals"), lambda document: record(document, "vitals", recordings))
        (line,) = caplog.records
        assert f"memory://{KEY}: revision 2, 2 recordings, 0 of them of others" == line.getMessage()
        assert {"revision": 2, "recordings": 2, "others": 0}.items() <= vars(line).items()

    def test_nothing_new_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        """What writes nothing is no commit."""
        _, world = story()
        caplog.set_level(logging.INFO, logger="cf_data_tracker")
        world.record("first", "another id")
        assert [] == caplog.records


class TestBeside:
    """Where nothing runs beside the caller's own work, a task is done before it."""

    def test_it_is_done_at_once_and_once(self) -> None:
        """However often its result is asked for."""
        numbers = count(1)
        result = run_inline(lambda: next(numbers))
        assert 2 == next(numbers)
        assert (1, 1) == (result(), result())


class TestMissingDocuments:
    """A document that is not there: a first one, a vanished one, a hidden one."""

    def test_a_vanished_document_is_never_started_anew(self) -> None:
        """A carried ETag of which the document is gone is an error, not a fresh version 1."""
        memory, world = story()
        world.record("a")
        memory.delete(KEY)
        for _ in range(2):
            with pytest.raises(DocumentVanishedError, match="nothing was written"):
                world.record("b")
        assert memory.read(KEY) is None

    def test_a_document_that_vanishes_between_read_and_write_is_an_error(self) -> None:
        """So is one that was read a moment ago."""
        memory, world = story()
        world.store.before = at("write", 1, lambda: memory.delete(KEY))
        with pytest.raises(DocumentVanishedError):
            world.record("a")
        assert memory.read(KEY) is None

    def test_a_store_that_says_conflict_for_a_vanished_document_is_seen_through(self) -> None:
        """Ceph answers 412 where S3 answers 404; the next read finds nothing, after one that found something."""
        memory, world = story(writes=[Fate.CONFLICT])
        world.store.before = at("read", 2, lambda: memory.delete(KEY))
        with pytest.raises(DocumentVanishedError):
            world.record("a")
        assert memory.read(KEY) is None

    def test_a_reader_notices_too(self) -> None:
        """A question about a document that is gone is an error as well."""
        memory, world = story()
        world.engine.read(raw_spec("vitals"))
        memory.delete(KEY)
        with pytest.raises(DocumentVanishedError):
            world.engine.read(raw_spec("vitals"))

    def test_a_document_can_be_started_without_permission_to_list(self) -> None:
        """A missing key reads as 403 there; a create-only write tells that it is missing."""
        memory = MemoryStore()
        world = World(FatefulStore(memory, reads=[Fate.DENIED]))
        assert world.record("a").created
        assert [None] == world.store.replaced
        assert ["a"] == files_in(memory)

    def test_a_document_that_a_rival_starts_meanwhile_can_be_read_then(self) -> None:
        """Without permission to list, the loser of the start reads the document that is there now."""
        memory = MemoryStore()
        world = World(FatefulStore(memory, reads=[Fate.DENIED]))
        world.store.before = at("write", 1, lambda: rival_records(memory, "rival"))
        assert 2 == world.record("ours").version

    def test_a_document_that_may_not_be_read_is_an_error(self) -> None:
        """It is there, since a create-only write lost; and it cannot be read: that is what to fix."""
        memory, world = story(reads=[Fate.DENIED, Fate.DENIED])
        with pytest.raises(ReadDeniedError):
            world.record("a")
        assert ["first"] == files_in(memory)

    def test_a_409_does_not_tell_that_a_document_is_there(self) -> None:
        """Only a 412 has looked; after a 409 a denied read may still hide that there is none."""
        memory = MemoryStore()
        world = World(FatefulStore(memory, reads=[Fate.DENIED, Fate.DENIED], writes=[Fate.CONFLICT]))
        assert world.record("a").created
        assert ["a"] == files_in(memory)

    def test_what_another_thread_finds_meanwhile_makes_no_denial(self) -> None:
        """A read that was denied while nothing was there is not held against a document that a rival starts then."""
        memory = MemoryStore()
        world = World(FatefulStore(memory, reads=[Fate.DENIED]))

        def another_thread_reads() -> None:
            rival_records(memory, "rival")
            World(FatefulStore(memory)).record("rival", "nobody")
            there = memory.read(KEY)
            assert isinstance(there, Stored)
            world.engine.carried.put(KEY, Snapshot(json.loads(there.body), there.etag), len(there.body))

        world.store.before = at("read", 1, another_thread_reads)
        assert 2 == world.record("ours").version

    def test_a_document_that_vanishes_with_a_write_in_doubt_says_so(self) -> None:
        """The write that was not answered may be in what is restored, so it is not said that nothing was written."""
        memory, world = story(writes=[Fate.ANSWER_LOST])
        world.store.before = at("read", 2, lambda: memory.delete(KEY))
        with pytest.raises(DocumentVanishedError, match="a write was not answered and may be in what is restored"):
            world.record("a")

    def test_a_document_that_has_vanished_at_the_last_look_says_so_too(self) -> None:
        """Whether patience has ended makes no difference to what is known."""
        memory, world = story(writes=[Fate.ANSWER_LOST], patience=Patience(attempts=1))
        world.store.before = at("read", 2, lambda: memory.delete(KEY))
        with pytest.raises(DocumentVanishedError, match="a write was not answered and may be in what is restored"):
            world.record("a")

    def test_a_document_that_was_read_and_is_denied_now_is_an_error(self) -> None:
        """What was there before is not taken for missing when a read is refused."""
        memory, world = story(reads=[Fate.ANSWERED, Fate.DENIED], writes=[Fate.CONFLICT])
        with pytest.raises(ReadDeniedError):
            world.record("a")
        assert ["first"] == files_in(memory)


class TestForeignDocuments:
    """What is there is not ours."""

    def test_rubbish_is_an_error_that_says_where_and_is_left_alone(self) -> None:
        """A document that is none is never overwritten."""
        memory = MemoryStore()
        memory.write(KEY, b'{"tables": [', replacing=ANYTHING)
        with pytest.raises(DocumentError, match=r"not JSON.*memory://vitals/vitals_version_info.json"):
            World(FatefulStore(memory)).record("a")
        there = memory.read(KEY)
        assert isinstance(there, Stored)
        assert b'{"tables": [' == there.body

    def test_a_document_that_turns_into_rubbish_is_left_alone(self) -> None:
        """So is one that somebody ruins while we hold its ETag."""
        memory, world = story()
        world.record("a")
        memory.write(KEY, b"rubbish", replacing=ANYTHING)
        with pytest.raises(DocumentError):
            world.record("b")
        there = memory.read(KEY)
        assert isinstance(there, Stored)
        assert b"rubbish" == there.body

    def test_nothing_to_record_in_no_document_writes_nothing(self) -> None:
        """A rule that leaves a missing document missing ends without a write."""
        world = World(FatefulStore(MemoryStore()))
        assert world.engine.commit(raw_spec("vitals"), lambda document: (document, "nothing")) == "nothing"
        assert ["read"] == world.store.calls


def test_threads_that_share_an_engine_lose_nothing() -> None:
    """Eight threads with twelve files each, half of them shared by two, all land once."""
    memory = MemoryStore()
    world = World(FatefulStore(memory), Patience(attempts=10_000, seconds=1e7))
    outcomes: list[Recorded] = []

    def work(worker: int) -> None:
        for number in range(12):
            owner = worker // 2 if number % 2 else f"own-{worker}"
            outcomes.append(world.record(f"{owner}-{number}", f"{worker}-{number}"))

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = files_in(memory)
    assert 8 * 6 + 4 * 6 == len(files) == len(set(files)) == sum(done.created for done in outcomes)
    assert {(done.file, done.version) for done in outcomes} == {(file, files.index(file) + 1) for file in files}
    assert len(files) == stored(memory)["revision"]
