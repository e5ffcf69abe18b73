"""Combining: several workers at one document commit for each other, and whatever happens meanwhile loses nothing.

The workers are played one after the other over one store, in a time that only requests and waiting take. Where two
are to be at it at once, one acts while the other waits, or right before one of its requests.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from itertools import count, pairwise
from typing import Final, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker import entries
from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, versions_of
from cf_data_tracker.engine import inbox as inbox_module
from cf_data_tracker.engine.cas import Engine
from cf_data_tracker.engine.combine import (
    MAX_BYTES,
    MAX_OWN,
    MAX_RECORDINGS,
    TUNING,
    Combiner,
    Outcome,
    RecordSpec,
    Tuning,
    fitting,
)
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.entries import Entry, Identified, sealed
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    OutcomeUnknownError,
    StoreError,
    TrackerError,
)
from cf_data_tracker.model import CleanRecord, CleanRecorded, NewFile, Recorded, Recording
from cf_data_tracker.names import aside_key, clean_key, inbox_prefix, raw_key
from cf_data_tracker.runtime import Runtime, spawn
from cf_data_tracker.settings import Access
from cf_data_tracker.stats import Stats, Tally
from cf_data_tracker.store import ANYTHING, Answer, Replacing, Stored, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker, raw_record_spec
from fates import Fate, FatefulStore
from strategies import clean_record, file_version, recording

KEY: Final = raw_key("vitals")
PREFIX: Final = inbox_prefix(KEY)
LEDGER: Final = raw_record_spec("vitals")
PATIENCE: Final = Patience(attempts=50, seconds=60.0)
PUSHY: Final = replace(TUNING, losses=0)
"""Takes anything for contention, so a worker publishes at once."""

SILENT: Final = (Fate.ANSWER_LOST, Fate.LOST, Fate.LATE, Fate.NOT_SENT, Fate.SLOW_DOWN, Fate.CONFLICT)
"""What may befall a request that is no refusal."""

QUIET: Final = 1000.0
"""Seconds after which what was is forgotten."""


R = TypeVar("R", bound=Identified)
T = TypeVar("T", bound=Outcome)


class Killed(BaseException):
    """A worker's process ends at once."""


class World(MemoryStore):
    """The store that all share, and the time, which requests take and waiting lets pass."""

    def __init__(self, *, versioned: bool = False) -> None:
        super().__init__(versioned=versioned)
        self.now = 0.0
        self.write_seconds = 0.06

    @property
    def document(self) -> Document:
        """The document as it is."""
        there = MemoryStore.read(self, KEY)
        assert isinstance(there, Stored)
        document: Document = json.loads(there.body)
        return document

    @property
    def files(self) -> list[str]:
        """The files by version, of which the numbers must be dense, and no recording there twice."""
        versions = list(versions_of(self.document, "vitals", "births", "FY2023"))
        assert [version.version for version in versions] == list(range(1, len(versions) + 1))
        assert len(versions) == len({version.recorded_by for version in versions})
        return [version.file for version in versions]

    @property
    def inbox(self) -> list[str]:
        """The keys that are in the inbox."""
        return MemoryStore.list(self, PREFIX)

    @property
    def note(self) -> int:
        """How many others the last writer of the document saw waiting."""
        there = MemoryStore.read(self, KEY)
        assert isinstance(there, Stored)
        return there.waiting

    def noted(self, waiting: int) -> None:
        """Let a writer that sees others waiting have been the last."""
        there = MemoryStore.read(self, KEY)
        assert isinstance(there, Stored)
        MemoryStore.write(self, KEY, there.body, replacing=ANYTHING, waiting=waiting)

    def leave(self, *files: str, location: str = "s3://raw/x") -> str:
        """Leave an entry with these files there, as a worker does that has died since, and return its key."""
        key, body = sealed(PREFIX, [LEDGER.to_json(of(file, location=location)) for file in files])
        MemoryStore.write(self, key, body, replacing=ANYTHING)
        return key

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read in the time that it takes."""
        self.now += 0.03
        return super().read(key, unless=unless, most=most)

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write in the time that it takes."""
        self.now += self.write_seconds
        return super().write(key, body, replacing=replacing, waiting=waiting)

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """List in the time that it takes."""
        self.now += 0.03
        return super().list(prefix, after=after)


class Worker:
    """A process that records. What it meets is told, as are its dice: `chances`, and 0.5 when these have run out."""

    def __init__(
        self,
        world: World,
        store: FatefulStore | None = None,
        *,
        tuning: Tuning = TUNING,
        patience: Patience = PATIENCE,
        chances: Iterable[float] = (),
    ) -> None:
        self.world = world
        self.store = store if store is not None else FatefulStore(world)
        self.chances = list(chances)
        self.waits: list[float] = []
        self.asleep: list[Callable[[], object]] = []  # what happens while it waits, one for each time
        self.tally = Tally()
        runtime = Runtime(clock=lambda: world.now, sleep=self._sleep, random=self._random)
        self.engine = Engine(self.store, self.tally, patience, runtime)
        self._combiner = Combiner(self.engine, tuning)

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.world.now += seconds
        if self.asleep:
            self.asleep.pop(0)()

    def _random(self) -> float:
        return self.chances.pop(0) if self.chances else 0.5

    @property
    def stats(self) -> Stats:
        """What it has counted."""
        return self.tally.snapshot()

    def commit(self, ledger: RecordSpec[R, T], *recordings: R) -> Sequence[T]:
        """Commit recordings to a document."""
        return self._combiner.commit(ledger, recordings)

    def retuned(self, tuning: Tuning) -> None:
        """Let it be as eager as this from now on."""
        self._combiner._tuning = tuning  # noqa: SLF001 - it is given once; a worker of two minds is seen in tests alone

    def record(self, *files: str, by: str = "") -> list[Recorded]:
        """Record files, and check that what it is told is true."""
        outcomes = list(self.commit(LEDGER, *(of(file, by) for file in files)))
        assert list(files) == [done.file for done in outcomes]
        there = self.world.files
        assert [there.index(done.file) + 1 for done in outcomes] == [done.version for done in outcomes]
        return outcomes

    def record_alone(self, file: str) -> Recorded:
        """Record a file as a worker does that does not combine."""
        return self.engine.commit(LEDGER, lambda document: LEDGER.record(document, [of(file)]))[0]

    def requests(self) -> list[str]:
        """Return what it has asked of the store since this was last called."""
        calls = list(self.store.calls)
        self.store.calls.clear()
        return calls

    def lose_to(self, *rivals: str) -> None:
        """Let a rival be faster at each of the next writes."""
        left = list(rivals)

        def rival(kind: str, _: int) -> None:
            if kind == "write" and left:
                Worker(self.world).record_alone(left.pop(0))

        self.store.before = rival


def of(file: str, by: str = "", location: str = "s3://raw/x") -> Recording:
    """Return a recording of a file of births/FY2023."""
    new = NewFile(schema="vitals", table="births", file_name="FY2023", file=file, file_size=1, s3_location=location)
    return Recording(new=replace(new, timestamp="2024-03-01 09:00:00"), recorded_by=f"id-of-{file}{by}")


def begun(*, versioned: bool = False, note: int = 0) -> World:
    """Return a world with a document that holds `first`."""
    world = World(versioned=versioned)
    Worker(world).record_alone("first")
    world.noted(note)
    return world


def counted() -> tuple[list[Document | None], RecordSpec[Recording, Recorded]]:
    """Return a list of the documents that a rule is asked of, and the document with that rule."""
    asked: list[Document | None] = []

    def record(
        document: Document | None, recordings: Sequence[Recording]
    ) -> tuple[Document | None, Sequence[Recorded]]:
        asked.append(document)
        return LEDGER.record(document, recordings)

    return asked, replace(LEDGER, record=record)


def kill() -> None:
    """End the worker's process."""
    raise Killed


def doze(seconds: float) -> None:
    """Wait, though not long."""
    time.sleep(min(seconds, 0.01))  # noqa: TID251 - threads are to meet in real time


def meanwhile(kind: str, number: int, act: Callable[[], object]) -> Callable[[str, int], None]:
    """Return what does something right before a certain request."""

    def before(this_kind: str, this_number: int) -> None:
        if (this_kind, this_number) == (kind, number):
            act()

    return before


def extra(record: logging.LogRecord) -> tuple[object, object, object]:
    """Return what a line of the log carries: the revision, the recordings, and how many of them were of others."""
    fields = vars(record)
    return fields["revision"], fields["recordings"], fields["others"]


class TestQuiet:
    """While a document is quiet, the inbox costs next to nothing."""

    def test_a_first_record_costs_a_read_and_a_write(self) -> None:
        """The document is looked for, and started."""
        worker = Worker(World())
        assert [1] == [done.version for done in worker.record("a")]
        assert ["read", "write"] == worker.requests()

    def test_each_further_one_costs_one_write(self) -> None:
        """The ETag is carried; with some time in between the inbox is never looked at."""
        world = begun()
        worker = Worker(world)
        for number in range(10):
            worker.record(f"{number}")
            world.now += QUIET
        assert ["read", *["write"] * 10] == worker.requests()

    def test_every_fourth_back_to_back_lists_beside_its_write(self) -> None:
        """So that nobody starves behind it."""
        worker = Worker(begun())
        for number in range(9):
            worker.record(f"{number}")
        once = ["write", "write", "write", "list", "write"]
        assert ["read", *once, *once, "write"] == worker.requests()

    def test_a_stale_cache_is_no_contention(self) -> None:
        """Whoever has not committed for a while loses a write, reads, and writes again: nothing is published."""
        world = begun()
        worker = Worker(world)
        worker.record("a")
        for number in range(3):
            Worker(world).record(f"rival {number}")
            worker.requests()
            world.now += QUIET
            worker.record(f"{number}")
            assert ["write", "read", "write"] == worker.requests()
        assert [] == world.inbox

    def test_a_file_that_is_there_costs_one_read(self) -> None:
        """Nothing new is neither published nor written."""
        worker = Worker(begun())
        assert [False] == [done.created for done in worker.record("first", by="another")]
        assert [False] == [done.created for done in worker.record("first", by="one more")]
        assert ["read", "read"] == worker.requests()
        assert 1 == worker.stats.unchanged

    def test_an_old_note_costs_the_first_that_reads_it(self) -> None:
        """It sees that nobody waits there any more, and leaves no note of its own."""
        world = begun(note=1)
        worker = Worker(world)
        worker.record("a")
        assert ["read", "list", "write"] == worker.requests()
        assert 0 == world.note
        world.now += QUIET
        newcomer = Worker(world)
        newcomer.record("b")
        assert ["read", "write"] == newcomer.requests()

    def test_a_crowd_of_long_ago_is_forgotten(self) -> None:
        """A worker that saw others waiting, and is alone since, does not note them for ever."""
        world = begun(note=1)
        world.leave("other")
        worker = Worker(world)
        worker.record("a")
        assert 1 == world.note
        world.now += QUIET
        worker.record("b")
        assert 0 == world.note


class TestRule:
    """How often the rule is asked, which takes as long as the document is large."""

    def test_of_one_document_it_is_asked_once(self) -> None:
        """By a commit that nobody is in the way of."""
        asked, ledger = counted()
        Worker(begun()).commit(ledger, of("a"))
        assert 1 == len(asked)

    def test_of_another_document_it_is_asked_again(self) -> None:
        """What a rival wrote is another."""
        asked, ledger = counted()
        worker = Worker(begun())
        worker.lose_to("rival")
        worker.commit(ledger, of("a"))
        assert 2 == len(asked)

    def test_of_no_document_it_is_asked_after_each_look(self) -> None:
        """It may read other documents, which may have come since."""
        asked, ledger = counted()
        world = World()
        Worker(world, FatefulStore(world, writes=[Fate.LOST])).commit(ledger, of("a"))
        assert [None, None] == asked


class TestContention:
    """What is taken for contention."""

    def test_losing_twice_what_was_just_read_publishes(self) -> None:
        """Once may be chance."""
        world = begun()
        worker = Worker(world)
        worker.lose_to("rival 1", "rival 2")
        assert [True] == [done.created for done in worker.record("a")]
        assert ["read", "write", "read", "write", "publish"] == worker.requests()[:5]
        assert 1 == world.note

    def test_losing_once_what_was_just_read_does_not(self) -> None:
        """It reads and writes again, at once."""
        world = begun()
        worker = Worker(world)
        worker.lose_to("rival")
        worker.record("a")
        assert ["read", "write", "read", "write"] == worker.requests()
        assert [0.0] == worker.waits

    def test_a_stale_cache_is_no_contention(self) -> None:
        """Others have written since, that is all: it reads, and writes again, and notes nobody."""
        world = begun()
        worker = Worker(world)
        worker.record("a")
        worker.requests()
        worker.lose_to("rival")
        world.now += QUIET
        worker.record("b")
        assert ["write", "read", "write"] == worker.requests()
        assert 0 == world.note

    def test_a_stale_cache_and_a_lost_write_are(self) -> None:
        """Two writes are lost, and for the second no stale cache is to blame."""
        world = begun()
        worker = Worker(world)
        worker.record("a")
        worker.requests()
        worker.lose_to("rival 1", "rival 2")
        world.now += QUIET
        worker.record("b")
        assert ["write", "read", "write", "publish"] == worker.requests()[:4]

    def test_whoever_has_lost_notes_it(self) -> None:
        """A writer that has met a rival tells those who read next."""
        world = begun()
        worker = Worker(world)
        worker.lose_to("rival")
        worker.record("a")
        assert 1 == world.note

    def test_others_met_lately_are_remembered(self) -> None:
        """Whoever is behind them publishes at once; whoever is ahead of them does not; for so many writes."""
        world = begun()
        behind, ahead = Worker(world, tuning=PUSHY), Worker(world, tuning=PUSHY)
        behind.record("as long as it was ahead")
        behind.requests()
        behind.asleep = [lambda: ahead.record("a")]
        behind.record("b")
        assert ["publish", "read"] == behind.requests()
        for worker in (behind, ahead):
            worker.retuned(TUNING)
            worker.requests()
        ahead.record("c")
        assert "publish" not in ahead.requests()
        behind.record("d")
        assert "publish" == behind.requests()[0]
        world.now += QUIET
        Worker(world).record("rival")
        behind.record("e")
        assert "write" == behind.requests()[0]

    def test_whoever_was_ahead_and_lost_is_behind(self) -> None:
        """While others have been met lately, it does not try again before it publishes."""
        world = begun(note=1)
        world.leave("other")
        worker = Worker(world)
        worker.record("a")
        worker.requests()
        worker.lose_to("rival")
        worker.record("b")
        assert ["write", "publish"] == worker.requests()[:2]

    def test_to_have_lost_twice_is_to_have_met_others(self) -> None:
        """The next that is lost is one too many at once."""
        world = begun()
        worker = Worker(world)
        worker.lose_to("rival 1", "rival 2")
        worker.record("a")
        worker.requests()
        worker.lose_to("rival 3")
        worker.record("b")
        assert ["write", "publish"] == worker.requests()[:2]

    def test_a_file_that_is_there_is_not_published(self) -> None:
        """Whatever was met lately: that it is there is told by one conditional read."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        worker.record("a")
        worker.requests()
        for number in range(3):
            assert not worker.record("a", by=f"another {number}")[0].created
        assert ["read"] * 3 == worker.requests()
        assert [] == world.inbox

    def test_a_file_that_was_taken_out_by_hand_is_published(self) -> None:
        """What was read a while ago does not say what is there now."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        worker.record("a")
        worker.requests()
        there = world.read(KEY)
        assert isinstance(there, Stored)
        world.write(KEY, there.body.replace(b'"file":"a"', b'"file":"b"'), replacing=ANYTHING)
        assert worker.record("a", by="another")[0].created
        assert ["read", "publish"] == worker.requests()[:2]


class TestNote:
    """The last writer notes how many it saw waiting, and a newcomer that reads it joins them."""

    def test_a_newcomer_publishes(self) -> None:
        """With five waiting it is likelier that somebody else combines."""
        world = begun(note=5)
        newcomer = Worker(world, chances=[0.21])
        newcomer.record("a")
        assert ["read", "publish"] == newcomer.requests()[:2]

    def test_a_newcomer_may_combine(self) -> None:
        """With a probability that falls with their number it takes them along."""
        world = begun(note=5)
        world.leave("other")
        newcomer = Worker(world, chances=[0.19])
        newcomer.record("a")
        assert ["read", "list", "write", "delete"] == newcomer.requests()
        assert ["first", "other", "a"] == world.files

    def test_what_is_there_needs_no_company(self) -> None:
        """A newcomer whose file is there leaves it at that."""
        newcomer = Worker(begun(note=5))
        assert not newcomer.record("first", by="another")[0].created
        assert ["read"] == newcomer.requests()

    def test_the_note_is_of_what_was_listed(self) -> None:
        """It is as many as were seen waiting, taken along or not."""
        world = begun(note=1)
        for number in range(7):
            world.leave(f"other {number}")
        Worker(world).record("a")
        assert 7 == world.note

    @pytest.mark.parametrize("waiting", [1, 2, 5, 10, 50])
    def test_the_more_wait_the_fewer_combine(self, waiting: int) -> None:
        """Of those who read that n wait, one in n combines."""
        combined = 0
        for number in range(100):
            world = begun(note=waiting)
            newcomer = Worker(world, chances=[(number + 0.5) / 100])
            newcomer.record("a")
            combined += newcomer.requests()[:2] == ["read", "list"]
        assert 100 // waiting == combined


class TestPublished:
    """What a worker does with its recordings in the inbox."""

    def test_others_may_commit_them(self) -> None:
        """Then it takes one look: two requests in all, and the outcome is its own."""
        world = begun()
        worker, other = Worker(world, tuning=PUSHY), Worker(world, tuning=PUSHY)
        worker.asleep = [lambda: other.record("other")]
        (done,) = worker.record("a")
        assert (2, True) == (done.version, done.created)
        assert ["publish", "read"] == worker.requests()
        assert ["publish", "read", "list", "write", "delete"] == other.requests()
        assert ["first", "a", "other"] == world.files
        assert [] == world.inbox

    def test_otherwise_it_commits_them_itself(self) -> None:
        """With nobody else there, it combines at its first look."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        (done,) = worker.record("a")
        assert (2, True) == (done.version, done.created)
        assert ["publish", "read", "list", "write", "delete"] == worker.requests()
        assert [] == world.inbox

    def test_a_document_may_begin_so(self) -> None:
        """That there is none yet makes no difference."""
        world = World()
        world.leave("other")
        Worker(world, tuning=PUSHY).record("a")
        assert ["other", "a"] == world.files

    def test_the_document_is_read_before_the_list(self) -> None:
        """What was published before the last commit landed is then listed: nobody waits for ever."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)

        worker.store.before = meanwhile("list", 1, lambda: world.leave("just in time"))
        worker.record("a")
        assert ["publish", "read", "list", "write"] == worker.requests()[:4]
        assert ["first", "just in time", "a"] == world.files

    def test_it_is_in_the_second_commit_at_the_latest(self) -> None:
        """What was published too late for one combining commit is in the next one."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        worker.store.before = meanwhile("write", 1, lambda: world.leave("late"))
        worker.record("a")
        assert ["first", "a"] == world.files
        Worker(world, tuning=PUSHY).record("b")
        assert ["first", "a", "late", "b"] == world.files

    def test_everything_of_others_is_taken_along(self) -> None:
        """All that wait are in one commit, and each is told what came of its own."""
        world = begun()
        one, two, three = (Worker(world, tuning=PUSHY) for _ in range(3))
        three.chances = [0.5, 0.5, 0.49]  # of two that wait, every second combines
        told: list[Recorded] = []
        one.asleep = [lambda: told.extend(two.record("b", "same", by=" by two"))]
        two.asleep = [lambda: told.extend(three.record("c", "same", by=" by three"))]
        told.extend(one.record("a", "same", by=" by one"))
        assert 2 == world.document["revision"]
        assert ["a", "b", "c", "first", "same"] == sorted(world.files)
        assert ["a", "b", "c", "same"] == sorted(done.file for done in told if done.created)
        assert ["publish", "read"] == one.requests()[:2] == two.requests()[:2]
        assert ["publish", "read", "list", "write", "delete"] == three.requests()

    def test_an_entry_that_perhaps_nobody_met_is_removed(self) -> None:
        """If the file is there by another's recording, its publisher removes it."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        worker.asleep = [lambda: Worker(world).record_alone("a")]
        assert not worker.record("a", by=" by another")[0].created
        assert ["publish", "read", "delete"] == worker.requests()
        assert [] == world.inbox

    def test_entries_are_deleted_after_the_commit(self) -> None:
        """And not before it has landed."""
        world = begun()
        world.leave("other")
        worker = Worker(world, tuning=PUSHY)
        seen: list[list[str]] = []
        worker.store.before = lambda kind, _: seen.append(world.files) if kind == "delete" else None
        worker.record("a")
        assert [["first", "other", "a"]] == seen
        assert [] == world.inbox

    def test_entries_of_a_commit_that_lost_are_left(self) -> None:
        """Nothing is deleted for a write that was not done."""
        world = begun()
        world.leave("other")
        worker = Worker(world, tuning=PUSHY)
        worker.lose_to("rival")
        deleted: list[list[str]] = []
        before = worker.store.before

        def noted(kind: str, number: int) -> None:
            before(kind, number)
            if kind == "delete":
                deleted.append(world.files)

        worker.store.before = noted
        worker.record("a")
        assert ["publish", "read", "list", "write", "read", "list", "write", "delete"] == worker.requests()
        assert [["first", "rival", "other", "a"]] == deleted

    def test_whoever_lost_while_combining_waits_a_little(self) -> None:
        """Up to the time of a write: those who lost to one are not to come all at once."""
        worker = Worker(begun(), tuning=PUSHY)
        worker.lose_to("rival")
        worker.record("a")
        assert pytest.approx([2 * 0.06, 0.5 * 0.06]) == worker.waits

    def test_looks_at_which_nothing_has_happened_make_eager(self) -> None:
        """The chance to combine is ten times as large after each: perhaps nobody is at it any more."""
        worker = Worker(begun(note=1000), tuning=PUSHY)
        # The first wait, then for each look: whether to combine, and for how long to wait if not.
        worker.chances = [0.5, 0.0011, 0.5, 0.011, 0.5, 0.09]
        worker.record("a")
        assert ["publish", "read", "read", "read", "list", "write", "delete"] == worker.requests()

    def test_looks_at_which_something_has_happened_make_less_eager(self) -> None:
        """The chance is three times as large: they are at it."""
        world = begun(note=1000)
        worker = Worker(world, tuning=PUSHY)

        def somebody_commits() -> None:
            Worker(world).record_alone(f"at {world.now}")
            world.noted(1000)

        worker.asleep = [somebody_commits] * 3
        worker.chances = [0.5, 0.0011, 0.5, 0.0031, 0.5, 0.0089]
        worker.record("a")
        assert ["publish", "read", "read", "read", "list", "write", "delete"] == worker.requests()

    def test_more_that_wait_than_were_known_make_shy(self) -> None:
        """After the LIST the dice are thrown again, for their number."""
        dice = [0.5, 0.99, 0.11, 0.5]  # the first wait, whether to combine, whether so after the LIST, the second wait
        world = begun()
        for number in range(10):
            world.leave(f"other {number}")
        worker = Worker(world, tuning=PUSHY, chances=dice)
        worker.record("a")
        assert ["publish", "read", "list", "read", "list", "write", "delete"] == worker.requests()
        worker = Worker(begun(), tuning=PUSHY, chances=dice)
        worker.record("a")
        assert ["publish", "read", "list", "write", "delete"] == worker.requests()

    def test_dice_that_were_thrown_for_a_known_number_are_not_thrown_for_it_again(self) -> None:
        """If the LIST shows as many as were known, it combines."""
        world = begun(note=10)
        for number in range(10):
            world.leave(f"other {number}")
        worker = Worker(world, tuning=PUSHY, chances=[0.5, 0.09, 0.99])
        worker.record("a")
        assert ["publish", "read", "list", "write", "delete"] == worker.requests()

    def test_a_crowd_that_was_seen_is_kept_in_mind(self) -> None:
        """Even if the last writer had seen nobody."""
        world = begun()
        for number in range(100):
            world.leave(f"other {number}")
        # The first wait, two throws, the second wait; and at the second look the chance is 10 in 100.
        worker = Worker(world, tuning=PUSHY, chances=[0.5, 0.99, 0.11, 0.5, 0.11])
        worker.record("a")
        assert ["publish", "read", "list", "read", "read"] == worker.requests()[:5]

    def test_to_have_lost_while_combining_is_a_look_in_vain(self) -> None:
        """Next time it is more eager."""
        world = begun(note=10)
        for number in range(10):
            world.leave(f"other {number}")
        # The first wait, two throws, the wait after it lost; and at the second look the chance is 3 in 10.
        worker = Worker(world, tuning=PUSHY, chances=[0.5, 0.09, 0.99, 0.5, 0.29])
        worker.lose_to("rival")
        worker.record("a")
        assert ["publish", "read", "list", "write", "read", "list", "write", "delete"] == worker.requests()

    def test_waits_are_in_writes_and_grow(self) -> None:
        """The first look comes after the time of two writes; then after one each, and more when that goes on."""
        worker = Worker(begun(), tuning=replace(PUSHY, eagerness=0.0), patience=Patience(attempts=14))
        with pytest.raises(OutcomeUnknownError):
            worker.record("a")
        growing = [0.06 * 1.5**number for number in range(1, 7)]
        assert pytest.approx([0.12, *[0.06] * 3, *growing, *growing[-1:] * 3]) == worker.waits


class TestLeading:
    """Whoever committed last is ahead, and takes the others along."""

    def test_what_was_listed_beside_a_write_goes_with_the_next(self) -> None:
        """It costs no further request but its deletion."""
        world = begun()
        worker = Worker(world)
        for file in "abc":
            worker.record(file)
        world.leave("other")
        worker.requests()
        worker.record("d")
        assert ["list", "write"] == worker.requests()
        worker.record("e")
        assert ["write", "delete"] == worker.requests()
        assert ["first", *"abcd", "other", "e"] == world.files
        assert 1 == worker.stats.combined
        assert [] == world.inbox

    def test_what_was_taken_along_already_is_not_kept_for_the_next(self) -> None:
        """The LIST beside a write shows what that very write carries."""
        world = begun(note=1)
        worker = Worker(world)
        world.leave("one")
        worker.record("a")
        world.leave("two")
        worker.record("b")
        worker.record("c")
        worker.requests()
        worker.record("d")
        assert "delete" == worker.requests()[-1]
        worker.record("e")
        assert "delete" not in worker.requests()
        assert ["first", "one", "a", "b", "c", "two", "d", "e"] == world.files

    def test_what_a_write_carries_is_not_found_beside_it(self) -> None:
        """Even one that lists beside each write takes each entry along once."""
        world = begun()
        worker = Worker(world, tuning=replace(TUNING, beside_every=1, beside_crowd=1))
        worker.record("a")
        world.leave("other")
        for requests in (["list", "write"], ["list", "write", "delete"], ["list", "write"]):
            worker.requests()
            worker.record(f"{len(world.files)}")
            assert requests == worker.requests()

    def test_what_cannot_be_read_makes_no_crowd(self) -> None:
        """It is set aside, and nobody waits there."""
        world = begun()
        worker = Worker(world)
        for file in "abc":
            worker.record(file)
        MemoryStore.write(world, f"{PREFIX}bad", b"rubbish", replacing=ANYTHING)
        worker.record("d")
        worker.record("e")
        assert 0 == world.note

    def test_a_list_before_a_write_counts_as_one_beside(self) -> None:
        """It lists once, and not again before so many writes more."""
        world = begun()
        worker = Worker(world)
        for file in "abc":
            worker.record(file)

        def rival() -> None:
            Worker(world).record_alone("rival")
            world.noted(1)

        worker.requests()
        worker.store.before = meanwhile("write", 1, rival)
        worker.record("d")
        assert ["list", "write", "read", "list", "write"] == worker.requests()
        for file in "efg":
            worker.record(file)
        assert ["write"] * 3 == worker.requests()

    def test_however_many_its_own_it_takes_a_few_along(self) -> None:
        """The bound is for both together."""
        world = begun(note=1)
        for number in range(200):
            world.leave(f"other {number}")
        worker = Worker(world)
        worker.record(*(f"own {number}" for number in range(900)))
        assert 100 == worker.stats.combined
        assert 1 + 1000 == len(world.files)

    def test_where_few_wait_it_lists_beside_every_second_write(self) -> None:
        """While others have been met lately."""
        world = begun(note=1)
        world.leave("other")
        worker = Worker(world)
        worker.record("a")
        assert ["read", "list", "write", "delete"] == worker.requests()
        for file in "bcde":
            worker.record(file)
        assert ["write", "list", "write"] == worker.requests()[:3]

    def test_where_many_wait_it_lists_before_each_write(self) -> None:
        """And takes along what it finds, at once."""
        world = begun(note=1)
        worker = Worker(world)
        for turn in range(3):
            for number in range(3):
                world.leave(f"other {turn} {number}")
            worker.record(f"{turn}")
            assert ["list", "write", "delete"] == worker.requests()[-3:]
        assert 9 == worker.stats.combined
        worker.record("a")
        assert ["list", "write"] == worker.requests()
        worker.record("b")
        assert ["write"] == worker.requests()

    def test_what_was_listed_before_a_write_is_not_kept_for_another(self) -> None:
        """Three that were found beside one write are listed again before the next, and that is the end of them."""
        world = begun()
        worker = Worker(world)
        for file in "abc":
            worker.record(file)
        for number in range(3):
            world.leave(f"other {number}")
        for requests in (
            ["list", "write"],
            ["list", "write", "delete"],
            ["list", "write"],
            ["write"],
            ["list", "write"],
        ):
            worker.requests()
            worker.record(f"{len(world.files)}")
            assert requests == worker.requests()
        assert 3 == worker.stats.combined
        assert 0 == world.note

    def test_what_was_found_long_ago_is_left(self) -> None:
        """It is stale: most likely others were at it."""
        world = begun()
        worker = Worker(world)
        for file in "abc":
            worker.record(file)
        world.leave("other")
        worker.record("d")
        world.now += QUIET
        worker.requests()
        worker.record("e")
        assert ["write"] == worker.requests()
        assert ["first", *"abcde"] == world.files

    @pytest.mark.parametrize("fate", SILENT)
    def test_a_list_beside_a_write_may_fail(self, fate: Fate) -> None:
        """The write is none the worse for it."""
        world = begun()
        worker = Worker(world, FatefulStore(world, lists=[fate]))
        for file in "abcde":
            worker.record(file)
        assert ["read", "write", "write", "write", "list", "write", "write"] == worker.requests()
        assert ["first", *"abcde"] == world.files

    def test_it_lists_beside_a_write_that_loses(self) -> None:
        """And goes on as after any that lost."""
        world = begun()
        worker = Worker(world)
        for file in "abc":
            worker.record(file)
        world.leave("other")
        worker.lose_to("rival")
        worker.requests()
        worker.record("d")
        assert ["list", "write", "read", "list", "write", "write"][:3] == worker.requests()[:3]
        assert {"first", *"abcd", "rival"} <= set(world.files)


class TestLeftovers:
    """What a dead worker left in the inbox."""

    def test_it_is_recorded_by_whoever_combines_next(self) -> None:
        """Nobody waits for the dead one, and nothing of it is lost."""
        world = begun()
        world.leave("left 1", "left 2")
        worker = Worker(world, tuning=PUSHY)
        worker.record("a")
        assert ["first", "left 1", "left 2", "a"] == world.files
        assert [] == world.inbox
        assert 2 == worker.stats.combined

    def test_one_that_is_in_the_document_changes_nothing_and_is_swept(self) -> None:
        """Its deletion was what the dead one left undone."""
        world = begun()
        world.leave("first")
        worker = Worker(world, tuning=PUSHY)
        worker.record("a")
        assert ["first", "a"] == world.files
        assert [] == world.inbox
        assert 0 == worker.stats.combined

    def test_one_that_is_there_in_part_is_completed(self) -> None:
        """What is missing is added; what is there keeps its number."""
        world = begun()
        world.leave("first", "second")
        worker = Worker(world, tuning=PUSHY)
        worker.record("a")
        assert ["first", "second", "a"] == world.files
        assert 1 == worker.stats.combined

    def test_one_that_is_damaged_blocks_nobody(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is set aside, and the others go on."""
        world = begun()
        bad = f"{PREFIX}bad"
        MemoryStore.write(world, bad, b"rubbish", replacing=ANYTHING)
        world.leave("other")
        Worker(world, tuning=PUSHY).record("a")
        assert ["first", "other", "a"] == world.files
        assert [] == world.inbox
        assert MemoryStore.read(world, aside_key(bad)) is not None
        assert 1 == len(caplog.records)

    @pytest.mark.parametrize("large", [False, True])
    @pytest.mark.parametrize("versioned", [False, True])
    @pytest.mark.parametrize("begun_at", [1, 7, 15, 16])
    def test_in_a_quiet_document_it_is_recorded_by_the_sixteenth_commit(
        self,
        begun_at: int,
        *,
        versioned: bool,
        large: bool,
    ) -> None:
        """Processes that record once and are gone, however long after each other; and then it is removed."""
        world = begun(versioned=versioned)
        for number in range(begun_at - 1):
            Worker(world).record_alone(f"early {number}")
        world.leave(
            "left", location="".join(random.Random(1).choices("0123456789abcdef", k=1900)) if large else "s3://raw/x"
        )
        for number in range(16):
            world.now += QUIET
            Worker(world).record(f"{number}")
        assert "left" in world.files
        for number in range(16, 32):
            world.now += QUIET
            Worker(world).record(f"{number}")
        assert [] == world.inbox == world.markers

    def test_so_it_is_by_a_process_that_goes_on_alone(self) -> None:
        """However long it rests; it costs one LIST in sixteen commits."""
        world = begun()
        worker = Worker(world)
        world.leave("left")
        for number in range(32):
            world.now += QUIET
            worker.record(f"{number}")
        assert "left" in world.files[:17]
        assert [] == world.inbox
        calls = worker.requests()
        assert (1, 32, 2) == (calls.count("read"), calls.count("write"), calls.count("list"))

    def test_a_list_in_time_makes_up_for_it(self) -> None:
        """A worker that records back to back lists beside every fourth write anyway, and does no more than that."""
        worker = Worker(begun())
        for number in range(64):
            worker.record(f"{number}")
        assert ["read", *["write", "write", "write", "list", "write"] * 16] == worker.requests()

    def test_what_was_found_in_time_goes_in(self) -> None:
        """It was listed beside a write, for the next one, which does not list again."""
        world = begun()
        worker = Worker(world)
        for number in range(10):
            worker.record(f"{number}")
        world.leave("left")
        for number in range(10, 15):
            worker.record(f"{number}")
        assert "left" in world.files
        assert 16 == world.document["revision"]

    def test_a_list_whose_entries_were_lost_with_the_write_does_not_count(self) -> None:
        """What it had found is lost as well: the commit that is due lists again."""
        world = begun()
        Worker(world).record_alone("early")
        worker = Worker(world, FatefulStore(world, lists=[*[Fate.ANSWERED] * 3, Fate.LOST]))
        for number in range(11):
            worker.record(f"{number}")
        worker.requests()
        world.leave("left")
        worker.lose_to("rival")
        worker.record("a")
        assert ["list", "write", "read", "list", "write"] == worker.requests()
        assert 15 == world.document["revision"]
        worker.record("b")
        assert ["list", "write", "delete"] == worker.requests()
        assert "left" in world.files

    def test_without_an_answer_the_next_that_is_due_looks(self) -> None:
        """A LIST without an answer holds up nobody."""
        world = begun()
        for number in range(14):
            Worker(world).record_alone(f"early {number}")
        world.leave("left")
        worker = Worker(world, FatefulStore(world, lists=[Fate.LOST]))
        worker.record("a")
        assert "left" not in world.files
        for number in range(16):
            worker.record(f"{number}")
        assert "left" in world.files

    def test_a_document_without_a_revision_is_not_due(self) -> None:
        """The earlier package wrote it: the first recording costs what it costs anywhere, and so does the second."""
        world = begun()
        document = {key: value for key, value in world.document.items() if key != "revision"}
        world.write(KEY, json.dumps(document).encode(), replacing=ANYTHING)
        worker = Worker(world)
        worker.record("a")
        worker.record("b")
        assert ["read", "write", "write"] == worker.requests()

    def test_one_for_another_schema_is_not_seen(self) -> None:
        """The inbox of `vital` is not that of `vitals`, though one name begins with the other."""
        world = begun()
        world.leave("other")
        vital = raw_record_spec("vital")
        worker = Worker(world, tuning=PUSHY)
        new = replace(recording().new, schema="vital")
        (done,) = worker.commit(vital, Recording(new=new, recorded_by="me"))
        assert done.created
        assert ["first"] == world.files
        assert 1 == len(world.inbox)


class TestVersions:
    """In a bucket that keeps versions, whoever published erases its own entry, and no marker is left."""

    def test_ones_own_entry_is_erased(self) -> None:
        """Whoever commits erases its own, by version, and leaves those of others to them."""
        world = begun(versioned=True)
        key = world.leave("other")
        Worker(world, tuning=PUSHY).record("a")
        assert ["first", "other", "a"] == world.files
        assert [key] == world.inbox
        assert [] == world.markers

    def test_so_is_one_that_others_committed(self) -> None:
        """Its publisher erases it once it has seen that."""
        world = begun(versioned=True)
        worker, other = Worker(world, tuning=PUSHY), Worker(world, tuning=PUSHY)
        worker.asleep = [lambda: other.record("other")]
        worker.record("a")
        assert ["publish", "read", "delete"] == worker.requests()
        assert [] == world.inbox == world.markers

    def test_stale_ones_are_swept_a_few_at_a_time(self) -> None:
        """What is in the document already is erased by the next that combine, two for each commit."""
        world = begun(versioned=True)
        for number in range(5):
            world.leave(f"{number}")
        for left in (5, 3, 1, 0):
            Worker(world, tuning=PUSHY).record(f"with {left}")
            assert left == len(world.inbox)
        assert [] == world.markers
        assert 5 + 4 + 1 == len(world.files)

    def test_one_that_was_published_twice_is_swept(self) -> None:
        """Erasing the second version shows the first again; the next that combines erases that."""
        world = begun(versioned=True)
        worker = Worker(world, FatefulStore(world, publishes=[Fate.ANSWER_LOST]), tuning=PUSHY)
        worker.record("a")
        assert 1 == len(world.inbox)
        Worker(world, tuning=PUSHY).record("b")
        assert [] == world.inbox == world.markers
        assert ["first", "a", "b"] == world.files

    def test_a_leader_takes_along_and_erases_nothing_of_the_living(self) -> None:
        """What it added is for its publisher to erase."""
        world = begun(versioned=True, note=1)
        worker = Worker(world)
        world.leave("other")
        worker.record("a")
        assert ["read", "list", "write"] == worker.requests()
        assert 1 == len(world.inbox)


def entry(name: str, recordings: int, size: int = 100) -> Entry[Recording]:
    """Return an entry of so many recordings."""
    return Entry(key=name, recordings=(of(name),) * recordings, size=size)


@st.composite
def waiting_entries(draw: st.DrawFn) -> list[Entry[Recording]]:
    """Entries as they may wait."""
    numbers = st.sampled_from([1, 2, 90, 100, 101, 500, 1001])
    sizes = st.sampled_from([100, MAX_BYTES // 3, MAX_BYTES + 1])
    kinds = draw(st.lists(st.tuples(numbers, sizes), max_size=12))
    return [entry(f"{number}", *kind) for number, kind in enumerate(kinds)]


class TestBounds:
    """What one commit takes along."""

    def test_a_commit_has_at_most_a_thousand_recordings(self) -> None:
        """Those of others and its own, as many as one LIST can show."""
        entries = [entry(f"{number}", 1) for number in range(1000)]
        assert entries[:999] == fitting(entries, 1)
        assert entries[:900] == fitting(entries, 100)
        assert 1000 == MAX_RECORDINGS

    def test_however_many_its_own_there_is_room_for_a_few_of_others(self) -> None:
        """So nobody is left out behind one that records thousands at a time."""
        entries = [entry(f"{number}", 1) for number in range(1000)]
        assert entries[:100] == fitting(entries, 900) == fitting(entries, 5000)
        assert 900 == MAX_OWN

    def test_a_commit_takes_at_most_a_mebibyte_of_others(self) -> None:
        """About 20 ms of PUT."""
        entries = [entry(f"{number}", 1, MAX_BYTES // 4) for number in range(5)]
        assert entries[:4] == fitting(entries, 1)
        assert entries[:3] == fitting([*entries[:3], entry("small", 1, MAX_BYTES // 4 + 1)], 1)
        assert 1024 * 1024 == MAX_BYTES

    def test_what_does_not_fit_lets_others_pass(self) -> None:
        """A small one behind a large one still goes along."""
        one, large, small = entry("one", 500), entry("large", 600), entry("small", 499)
        assert [one, small] == fitting([one, large, small], 1)

    @pytest.mark.parametrize("large", [entry("large", 1001), entry("large", 1, MAX_BYTES + 1)])
    def test_one_that_is_too_large_for_any_goes_alone(self, large: Entry[Recording]) -> None:
        """It cannot be parted, and would wait for ever."""
        small = entry("small", 1)
        assert [large] == fitting([small, large, small, large], 1)

    def test_so_does_one_that_is_too_large_beside_its_own(self) -> None:
        """Even if whoever is ahead always has that many."""
        large, small = entry("large", 101), entry("small", 1)
        assert [small, large] == fitting([small, large], 1)
        assert [large] == fitting([small, large], 900)

    @given(waiting_entries(), st.integers(1, 2000))
    def test_something_is_taken_whenever_something_waits(self, entries: list[Entry[Recording]], own: int) -> None:
        """Within the bounds, or one alone; each once, in the order given."""
        taken = fitting(entries, own)
        assert bool(entries) == bool(taken)
        assert [one for one in entries if one in taken] == taken
        if len(taken) > 1:
            assert sum(len(one.recordings) for one in taken) <= MAX_RECORDINGS - min(own, MAX_OWN)
            assert sum(one.size for one in taken) <= MAX_BYTES

    def test_nothing_waits(self) -> None:
        """Then nothing is taken."""
        assert [] == fitting([], 1)

    def test_a_crowd_becomes_several_commits(self) -> None:
        """2,500 that wait are recorded by the next three that combine, at most 1,000 in each commit."""
        world = begun()
        for number in range(2500):
            world.leave(f"{number}")
        sizes = [len(world.files)]
        for number in range(3):
            Worker(world, tuning=PUSHY, chances=[0.5, 0.5, 0.0]).record(f"own {number}")
            sizes.append(len(world.files))
        assert 1 + 2500 + 3 == sizes[-1]
        assert max(later - earlier for earlier, later in pairwise(sizes)) <= MAX_RECORDINGS
        assert [] == world.inbox

    def test_much_becomes_several_commits(self) -> None:
        """So do entries of together more than a mebibyte."""
        world = begun()
        for number in range(5):
            world.leave(*(f"{number} {file}" for file in range(150)), location="s3://raw/" + "x" * 2000)
        sizes = [len(json.dumps(world.document))]
        for number in range(2):
            Worker(world, tuning=PUSHY, chances=[0.5, 0.5, 0.0]).record(f"own {number}")
            sizes.append(len(json.dumps(world.document)))
        assert 1 + 5 * 150 + 2 == len(world.files)
        assert MAX_BYTES < sizes[-1]
        assert max(later - earlier for earlier, later in pairwise(sizes)) < 1.1 * MAX_BYTES
        assert [] == world.inbox

    @pytest.mark.parametrize("versioned", [False, True])
    def test_nobody_is_left_out_for_ever(self, versioned: bool) -> None:  # noqa: FBT001 - a parameter
        """One worker that combines again and again has soon met all, wherever they stand; here nobody else is alive."""
        world = begun(versioned=versioned)
        for number in range(3000):
            world.leave(f"{number}")
        worker = Worker(world, tuning=replace(PUSHY, eagerness=1e9))
        for number in range(8):
            worker.record(f"own {number}")
        assert 1 + 3000 + 8 == len(world.files)
        assert 3000 == worker.stats.combined
        assert [] == world.markers


class TestTooLarge:
    """More than an entry may hold is not published: it goes by plain compare-and-swap."""

    @pytest.fixture(autouse=True)
    def small_entries(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let an entry hold a few recordings only."""
        monkeypatch.setattr(entries, "MAX_VALUES", 40)

    def test_it_is_recorded_by_itself(self) -> None:
        """All of it in one commit, under contention too; nothing of it is in the inbox at any time."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        files = [f"{number}" for number in range(30)]
        worker.lose_to(*(f"rival {number}" for number in range(5)))
        assert [True] * 30 == [done.created for done in worker.record(*files)]
        assert ["read", *["write", "read"] * 5, "write"] == worker.requests()
        assert 7 == world.document["revision"]

    def test_it_tries_as_often_as_a_leader_writes(self) -> None:
        """Its waits do not grow: it would seldom win against one that writes without a break."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        worker.lose_to(*(f"rival {number}" for number in range(10)))
        worker.record(*(f"{number}" for number in range(30)))
        assert [pytest.approx(0.03)] * 10 == worker.waits

    def test_it_is_sealed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """That it is too large is not found out again with each attempt."""
        sealing: list[object] = []

        def counted_sealed(prefix: str, recordings: Sequence[object]) -> tuple[str, bytes]:
            sealing.append(recordings)
            return sealed(prefix, recordings)

        monkeypatch.setattr(inbox_module, "sealed", counted_sealed)
        worker = Worker(begun(), tuning=PUSHY)
        worker.lose_to("rival 1", "rival 2", "rival 3")
        worker.record(*(f"{number}" for number in range(30)))
        assert 1 == len(sealing)

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.LOST, Fate.LATE])
    def test_its_lost_answers_are_looked_into(self, fate: Fate) -> None:
        """As anybody's."""
        world = begun()
        store = FatefulStore(world, writes=[fate])
        worker = Worker(world, store, tuning=PUSHY)
        assert [True] * 30 == [done.created for done in worker.record(*(f"{number}" for number in range(30)))]
        store.catch_up()
        assert 31 == len(world.files)

    def test_it_comes_to_an_end_among_many_that_combine(self) -> None:
        """Threads that record back to back, each its own process, hold up nobody for ever."""
        world = MemoryStore()
        stop = threading.Event()
        runtime = Runtime(clock=time.monotonic, sleep=doze, random=random.random, spawn=spawn)

        def busy(number: int) -> None:
            combiner = Combiner(Engine(world, Tally(), PATIENCE, runtime))
            for file in count():
                if stop.is_set():
                    return
                combiner.commit(LEDGER, [of(f"{number}-{file}")])

        threads = [threading.Thread(target=busy, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        combiner = Combiner(Engine(world, Tally(), Patience(), runtime), PUSHY)
        outcomes = combiner.commit(LEDGER, [of(f"large {number}") for number in range(30)])
        stop.set()
        for thread in threads:
            thread.join()
        assert [True] * 30 == [done.created for done in outcomes]
        numbers = [done.version for done in outcomes]
        assert list(range(numbers[0], numbers[0] + 30)) == numbers


class TestLostAnswers:
    """Whatever is not answered, nothing is lost and nothing is there twice."""

    @pytest.mark.parametrize("fate", SILENT)
    @pytest.mark.parametrize("kind", ["publishes", "reads", "lists", "writes", "deletes"])
    @pytest.mark.parametrize("number", [1, 2])
    @pytest.mark.parametrize("versioned", [False, True])
    def test_any_request_may_be_unanswered(self, kind: str, fate: Fate, number: int, versioned: bool) -> None:  # noqa: FBT001 - a parameter
        """All are recorded once, whoever waits beside, even if what was late comes at the very end; and it is swept."""
        world = begun(versioned=versioned)
        world.leave("other")
        fates: dict[str, list[Fate]] = {kind: [fate] * number}
        worker = Worker(world, FatefulStore(world, **fates), tuning=PUSHY)
        assert worker.record("a")[0].created
        assert worker.record("b")[0].created
        worker.store.catch_up()
        for file in "cdef":
            Worker(world, tuning=PUSHY).record(file)
        assert ["a", "b", "c", "d", "e", "f", "first", "other"] == sorted(world.files)
        assert [] == world.inbox
        assert [] == world.markers

    def test_a_commit_that_landed_without_an_answer_is_found(self) -> None:
        """It is not done again; what it took along is swept by the next."""
        world = begun()
        world.leave("other")
        worker = Worker(world, FatefulStore(world, writes=[Fate.ANSWER_LOST]), tuning=PUSHY)
        assert worker.record("a")[0].created
        assert ["publish", "read", "list", "write", "read", "delete"] == worker.requests()
        assert 2 == world.document["revision"]
        assert 1 == len(world.inbox)
        Worker(world, tuning=PUSHY).record("b")
        assert [] == world.inbox

    def test_a_publishing_without_an_answer_is_done_again(self) -> None:
        """Twice is once: the key is the same."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.ANSWER_LOST, Fate.LOST]), tuning=PUSHY)
        worker.record("a")
        assert ["publish", "publish", "publish", "read", "list", "write", "delete"] == worker.requests()
        assert ["first", "a"] == world.files
        assert pytest.approx([0.5 * 0.05, 0.5 * 0.1, 0.12]) == worker.waits

    def test_a_newcomer_publishes_again_as_well(self) -> None:
        """What it does about it does not depend on why it published."""
        world = begun(note=5)
        worker = Worker(world, FatefulStore(world, publishes=[Fate.LOST]), chances=[0.9])
        worker.record("a")
        assert ["read", "publish", "publish", "read"] == worker.requests()[:4]

    def test_a_newcomer_that_could_not_publish_writes_what_it_has_read(self) -> None:
        """Without an entry there is nothing to wait for."""
        world = begun(note=5)
        worker = Worker(world, FatefulStore(world, publishes=[Fate.NOT_SENT]), chances=[0.9])
        worker.record("a")
        assert ["read", "publish", "write"] == worker.requests()
        assert 5 == world.note

    def test_one_that_was_published_again_is_removed(self) -> None:
        """Whoever committed it has removed it before it came a second time."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.ANSWER_LOST]), tuning=PUSHY)
        other = Worker(world, tuning=PUSHY)
        worker.asleep = [lambda: other.record("other")]
        assert worker.record("a")[0].created
        assert ["publish", "publish", "read", "delete"] == worker.requests()
        assert [] == world.inbox

    def test_a_publishing_that_was_never_sent_is_no_publishing(self) -> None:
        """With the connection back, it is as if nothing had happened."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.NOT_SENT] * 3), tuning=PUSHY)
        worker.record("a")
        assert ["publish"] * 4 == worker.requests()[:4]
        assert ["first", "a"] == world.files

    def test_an_unanswered_list_leaves_the_others_to_others(self) -> None:
        """One's own recordings are committed all the same."""
        world = begun()
        world.leave("other")
        worker = Worker(world, FatefulStore(world, lists=[Fate.LOST] * 100), tuning=PUSHY)
        worker.record("a")
        assert ["publish", "read", "list", "write", "delete"] == worker.requests()
        assert ["first", "a"] == world.files


class TestSlowDown:
    """A store that asks for fewer requests gets fewer, for a while."""

    def test_waits_grow_while_publishing_is_slowed(self) -> None:
        """Up to a bound; each time the store is asked again later."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.SLOW_DOWN] * 14), tuning=PUSHY)
        worker.record("a")
        assert ["publish"] * 15 == worker.requests()[:15]
        assert pytest.approx(0.12) == worker.waits[0]
        growing = worker.waits[3:14]
        assert sorted(growing) == growing
        assert growing[0] < growing[5] < growing[-1]
        assert pytest.approx(0.3 * TUNING.brake_longest) == growing[-1] == max(worker.waits[:14])

    def test_the_next_publishing_waits_first(self) -> None:
        """So the process as a whole goes slower; not so one that was never slowed."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.SLOW_DOWN] * 5), tuning=PUSHY)
        worker.record("a")
        worker.waits.clear()
        worker.record("b")
        brake = 0.0
        for _ in range(5):
            brake = brake * TUNING.brake_growth + TUNING.brake
        assert pytest.approx([brake, 0.12]) == worker.waits
        other = Worker(world, tuning=PUSHY)
        other.record("c")
        assert pytest.approx([0.12]) == other.waits

    def test_a_newcomer_publishes_after_it_has_waited(self) -> None:
        """What it read before has no say any more: most likely it is stale."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.SLOW_DOWN] * 5), tuning=PUSHY)
        worker.record("a")
        worker.retuned(TUNING)
        world.now += QUIET
        Worker(world).record("b")
        world.noted(5)
        worker.requests()
        worker.waits.clear()
        worker.chances = [0.9]
        worker.asleep = [lambda: None, lambda: Worker(world).record_alone("c")]
        worker.record("d")
        assert ["write", "read", "publish", "read"] == worker.requests()[:4]
        assert worker.waits[1] > 0.5
        assert ["first", "a", "b", "c", "d"] == world.files

    def test_it_waits_the_longer_the_more_are_waiting(self) -> None:
        """So much for each, since a prefix of S3 answers so many a second."""
        world = begun()
        for number in range(900):
            world.leave(f"{number}")
        worker = Worker(world, FatefulStore(world, publishes=[Fate.ANSWERED, Fate.SLOW_DOWN]), tuning=PUSHY)
        worker.record("a")
        worker.waits.clear()
        worker.record("b")
        assert pytest.approx(0.3 * 900 * TUNING.brake_each) == worker.waits[0]

    def test_a_short_call_publishes_all_the_same(self) -> None:
        """A worker that was throttled waits a part of the time that a call has, and not beyond its end."""
        world = begun()
        slowed = FatefulStore(world, publishes=[Fate.SLOW_DOWN] * 14)
        worker = Worker(world, slowed, tuning=PUSHY, patience=Patience(seconds=1.0))
        with pytest.raises((StoreError, OutcomeUnknownError)):
            worker.record("a")
        slowed._fates["publish"].clear()  # noqa: SLF001 - the store behaves again
        worker.waits.clear()
        worker.record("b")
        assert 0.25 >= worker.waits[0] > 0.1
        assert "b" in world.files

    def test_it_recovers(self) -> None:
        """Each publishing that is answered at once shortens the wait, until there is none."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.SLOW_DOWN] * 3), tuning=PUSHY)
        worker.record("a")
        first: list[float] = []
        for number in range(100):
            worker.waits.clear()
            worker.record(f"{number}")
            first.append(worker.waits[0])
        assert first[0] > first[1] > first[20] > first[40]
        assert pytest.approx(0.12) == first[-1]

    def test_a_slowed_read_is_asked_again_with_jitter(self) -> None:
        """What is not publishing waits as it does without the inbox."""
        world = begun()
        worker = Worker(world, FatefulStore(world, reads=[Fate.SLOW_DOWN, Fate.LOST]))
        worker.record("a")
        assert pytest.approx([0.5 * 4 * 0.05, 0.5 * 0.1]) == worker.waits

    @pytest.mark.parametrize("kind", ["reads", "writes"])
    def test_so_is_one_after_publishing(self, kind: str) -> None:
        """It is no reason to publish later."""
        world = begun()
        fates: dict[str, list[Fate]] = {kind: [Fate.SLOW_DOWN]}
        worker = Worker(world, FatefulStore(world, **fates), tuning=PUSHY)
        worker.record("a")
        worker.record("b")
        assert pytest.approx([0.12, 0.5 * 4 * 0.05, 0.12]) == worker.waits

    def test_waits_are_measured_by_this_store(self) -> None:
        """Where a write takes ten times as long, so do the waits, after some writes."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        world.write_seconds = 0.6
        for number in range(20):
            worker.record(f"{number}")
        assert pytest.approx(0.12) == worker.waits[0] - 2 * 0.2 * 0.54
        assert sorted(worker.waits) == worker.waits
        assert pytest.approx(1.2, rel=0.01) == worker.waits[-1]


class TestGivingUp:
    """What is said when it does not come to an end; and it is true."""

    def test_where_nothing_was_published_nothing_was_written(self) -> None:
        """Others kept winning."""
        world = begun()
        worker = Worker(world, FatefulStore(world, writes=[Fate.CONFLICT] * 99), tuning=replace(TUNING, losses=10**6))
        with pytest.raises(ContentionError, match="nothing was written"):
            worker.record("a")
        assert "publish" not in worker.requests()
        assert [] == world.inbox

    def test_who_waits_to_publish_has_written_nothing(self) -> None:
        """If time is up by then, nothing is in the inbox."""
        world = begun()
        store = FatefulStore(world, publishes=[Fate.ANSWERED, *[Fate.SLOW_DOWN] * 6])
        worker = Worker(world, store, tuning=PUSHY)
        worker.record("a")
        worker.record("b")
        worker.engine._patience = replace(PATIENCE, attempts=1)  # noqa: SLF001 - it has less time now
        with pytest.raises(ContentionError, match="nothing was written"):
            worker.record("c")
        assert [] == world.inbox
        assert ["first", "a", "b"] == world.files

    def test_what_was_published_may_come_into_the_document_yet(self) -> None:
        """So it is said; and it does, when somebody combines."""
        world = begun()
        worker = Worker(world, FatefulStore(world, writes=[Fate.CONFLICT] * 99), tuning=PUSHY)
        with pytest.raises(OutcomeUnknownError, match=r"it was published for others to commit.*calling again is safe"):
            worker.record("a")
        assert ["first"] == world.files
        Worker(world, tuning=PUSHY).record("b")
        assert ["first", "a", "b"] == world.files

    def test_calling_again_is_safe(self) -> None:
        """The file is recorded once: by whichever of the two calls."""
        world = begun()
        worker = Worker(world, FatefulStore(world, writes=[Fate.CONFLICT] * PATIENCE.attempts), tuning=PUSHY)
        with pytest.raises(OutcomeUnknownError):
            worker.record("a")
        (again,) = worker.record("a", by=" again")
        assert 2 == again.version
        assert ["first", "a"] == world.files
        assert [] == world.inbox

    def test_what_perhaps_was_published_is_told_so(self) -> None:
        """Nobody knows whether it is in the inbox."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.LATE] * 99), tuning=PUSHY)
        with pytest.raises(OutcomeUnknownError, match="it may have been published for others to commit"):
            worker.record("a")
        worker.store.catch_up()
        Worker(world, tuning=PUSHY).record("b")
        assert ["first", "a", "b"] == world.files

    def test_what_perhaps_was_published_before_is_told_so(self) -> None:
        """That the store cannot be reached since does not undo it."""
        world = begun()
        store = FatefulStore(world, publishes=[Fate.LATE, *[Fate.NOT_SENT] * 99])
        with pytest.raises(OutcomeUnknownError, match="it may have been published"):
            Worker(world, store, tuning=PUSHY).record("a")

    def test_what_was_never_sent_was_not_published(self) -> None:
        """The store cannot be reached, and nothing was written."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.NOT_SENT] * 99), tuning=PUSHY)
        with pytest.raises(StoreError, match="nothing was written"):
            worker.record("a")

    def test_a_write_in_doubt_is_told_of_where_nothing_was_published(self) -> None:
        """As it is without an inbox."""
        world = begun()
        tuning = replace(TUNING, losses=10**6)
        worker = Worker(world, FatefulStore(world, writes=[Fate.LATE] * 99), tuning=tuning)
        with pytest.raises(OutcomeUnknownError, match=r"a write to memory://.* was never answered and may have landed"):
            worker.record("a")

    def test_the_last_look_may_find_it(self) -> None:
        """Somebody has committed it just in time."""
        world = begun()
        worker = Worker(world, tuning=PUSHY, patience=Patience(attempts=1))
        worker.store.before = meanwhile("read", 1, lambda: Worker(world, tuning=PUSHY).record("b"))
        assert worker.record("a")[0].created
        assert ["first", "a", "b"] == world.files

    def test_no_attempt_begins_after_the_time_is_up(self) -> None:
        """Seconds bound it as attempts do."""
        patience = Patience(attempts=10**6, seconds=20.0)
        world = begun()
        began = world.now
        worker = Worker(world, tuning=replace(PUSHY, eagerness=0.0), patience=patience)
        with pytest.raises(OutcomeUnknownError):
            worker.record("a")
        assert world.now - began < 21.0

    def test_a_document_that_vanished_is_told_of_truly(self) -> None:
        """What was published may come into what is restored; it does not say that nothing was written."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        worker.record("a")
        body = json.dumps(world.document).encode()
        worker.store.before = meanwhile("read", 2, lambda: world.delete(KEY))
        with pytest.raises(
            DocumentVanishedError, match="what was published for others to commit may be in what is restored"
        ) as caught:
            worker.record("b")
        assert "nothing was written" not in str(caught.value)
        assert "memory://vitals/vitals_version_info.json was there and is gone" in str(caught.value)
        world.write(KEY, body, replacing=None)
        Worker(world, tuning=PUSHY).record("c")
        assert ["first", "a", "b", "c"] == world.files

    def test_a_document_that_vanished_beneath_a_write_in_doubt_is_told_of_truly(self) -> None:
        """Without publishing it is as it always was."""
        world = begun()
        worker = Worker(world, FatefulStore(world, writes=[Fate.LOST]))
        worker.store.before = meanwhile("read", 2, lambda: world.delete(KEY))
        with pytest.raises(DocumentVanishedError, match="a write was not answered and may be in what is restored"):
            worker.record("a")

    def test_a_document_that_vanished_before_is_told_of_truly(self) -> None:
        """Nothing was written, and nothing is started anew."""
        world = begun()
        worker = Worker(world)
        worker.record("a")
        world.delete(KEY)
        with pytest.raises(DocumentVanishedError, match="nothing was written"):
            worker.record("b")
        assert MemoryStore.read(world, KEY) is None

    def test_rubbish_is_left_alone(self) -> None:
        """A document that turns into rubbish in the middle is an error that says where, and is not overwritten."""
        world = begun()
        worker = Worker(world, tuning=PUSHY)
        worker.asleep = [lambda: world.write(KEY, b"rubbish", replacing=ANYTHING)]
        with pytest.raises(DocumentError, match=r"not JSON.*left as it is"):
            worker.record("a")
        there = MemoryStore.read(world, KEY)
        assert isinstance(there, Stored)
        assert b"rubbish" == there.body

    @pytest.mark.parametrize("fate", [Fate.DENIED, Fate.REFUSED])
    @pytest.mark.parametrize("kind", ["reads", "writes"])
    def test_a_refusal_says_nothing_of_what_was_published(self, kind: str, fate: Fate) -> None:
        """That the credentials have expired since does not undo it."""
        world = begun()
        fates: dict[str, list[Fate]] = {kind: [fate] * 9}
        worker = Worker(world, FatefulStore(world, **fates), tuning=PUSHY)
        with pytest.raises(OutcomeUnknownError, match="it was published") as caught:
            worker.record("a")
        assert isinstance(caught.value.__cause__, StoreError)
        Worker(world, tuning=PUSHY).record("b")
        assert ["first", "a", "b"] == world.files

    @pytest.mark.parametrize("kind", ["reads", "writes"])
    def test_a_refusal_before_anything_is_a_refusal(self, kind: str) -> None:
        """Nothing was published; the refusal is what to mend."""
        world = begun()
        fates: dict[str, list[Fate]] = {kind: [Fate.REFUSED] * 9}
        with pytest.raises(StoreError, match="ExpiredToken"):
            Worker(world, FatefulStore(world, **fates)).record("a")

    @pytest.mark.parametrize("kind", ["reads", "writes"])
    def test_a_refusal_of_all_is_a_refusal(self, kind: str) -> None:
        """Neither was anything published where publishing was refused as well."""
        world = begun()
        fates: dict[str, list[Fate]] = {"publishes": [Fate.REFUSED], kind: [Fate.REFUSED] * 9}
        with pytest.raises(StoreError, match="ExpiredToken"):
            Worker(world, FatefulStore(world, **fates), tuning=PUSHY).record("a")
        assert [] == world.inbox


class TestRefused:
    """Where the store refuses the inbox, each is on its own, as if there were none."""

    @pytest.mark.parametrize("fate", [Fate.DENIED, Fate.REFUSED])
    @pytest.mark.parametrize("kind", ["publishes", "lists", "deletes"])
    def test_the_commit_succeeds_all_the_same(
        self,
        kind: str,
        fate: Fate,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is said once, and from then on only the document is read and written."""
        world = begun()
        fates: dict[str, list[Fate]] = {kind: [fate] * 99}
        worker = Worker(world, FatefulStore(world, **fates), tuning=PUSHY)
        assert worker.record("a")[0].created
        worker.requests()
        for number in range(6):
            worker.lose_to(*["rival", "another rival"][: 0 if number else 2])
            assert worker.record(f"{number}")[0].created
        assert {"read", "write"} == set(worker.requests())
        assert 1 == sum(record.levelno == logging.WARNING for record in caplog.records)

    def test_one_that_was_published_is_removed(self) -> None:
        """If the inbox is refused only later, the own entry does not stay behind, if that is allowed."""
        world = begun()
        worker = Worker(world, FatefulStore(world, lists=[Fate.DENIED]), tuning=PUSHY)
        worker.lose_to("rival")
        worker.record("a")
        assert ["publish", "read", "list", "write", "read", "write", "delete"] == worker.requests()
        assert [] == world.inbox

    def test_one_that_was_published_is_erased(self) -> None:
        """Nor a marker, where versions are kept."""
        world = begun(versioned=True)
        worker = Worker(world, FatefulStore(world, lists=[Fate.DENIED]), tuning=PUSHY)
        worker.lose_to("rival")
        worker.record("a")
        assert [] == world.inbox == world.markers

    def test_one_that_perhaps_was_published_is_removed(self) -> None:
        """Its answer was lost, and then the inbox was refused."""
        world = begun()
        worker = Worker(world, FatefulStore(world, publishes=[Fate.ANSWER_LOST, Fate.DENIED]), tuning=PUSHY)
        worker.record("a")
        assert ["publish", "publish", "read", "write", "delete"] == worker.requests()
        assert [] == world.inbox

    def test_waits_are_those_of_the_plain_loop(self) -> None:
        """Full jitter up to a bound that doubles."""
        world = begun()
        store = FatefulStore(world, publishes=[Fate.DENIED], writes=[Fate.CONFLICT] * 5)
        worker = Worker(world, store, tuning=PUSHY)
        worker.record("a")
        assert pytest.approx([0.5 * bound for bound in (0.05, 0.1, 0.2, 0.4, 0.8)]) == worker.waits


class TestKilled:
    """A worker may end at any moment: others go on, nothing acknowledged is lost, and nothing is there twice."""

    @pytest.mark.parametrize("versioned", [False, True])
    @pytest.mark.parametrize(
        ("kind", "number", "recorded"),
        [
            ("publish", 1, False),  # before it has published
            ("read", 1, True),  # after it has published
            ("list", 1, True),  # after it has read
            ("write", 1, True),  # after it has listed
            ("delete", 1, True),  # after it has committed, before it has deleted
        ],
    )
    def test_others_finish_what_it_began(self, kind: str, number: int, recorded: bool, versioned: bool) -> None:  # noqa: FBT001 - parameters
        """Whatever it has published is recorded once; what it had taken along as well; and its entry is swept."""
        world = begun(versioned=versioned)
        other, dead = (Worker(world, tuning=PUSHY) for _ in range(2))

        def dies() -> None:
            dead.store.before = meanwhile(kind, number, kill)
            with pytest.raises(Killed):
                dead.record("dead")

        other.asleep = [dies]
        assert other.record("other")[0].created
        for file in "abc":
            assert Worker(world, tuning=PUSHY).record(file)[0].created
        assert ["a", "b", "c", *(["dead"] if recorded else []), "first", "other"] == sorted(world.files)
        assert [] == world.inbox
        assert [] == world.markers

    def test_it_may_die_while_it_waits(self) -> None:
        """Of three that wait, two die; the third records all."""
        world = begun()
        one, two, three = (Worker(world, tuning=tuning) for tuning in (replace(PUSHY, eagerness=0.0), PUSHY, PUSHY))

        def two_dies() -> None:
            two.asleep = [kill]
            with pytest.raises(Killed):
                two.record("b")

        one.asleep = [two_dies, kill]
        with pytest.raises(Killed):
            one.record("a")
        assert ["first"] == world.files
        assert 2 == len(world.inbox)
        three.chances = [0.5, 0.5, 0.0]
        assert three.record("c")[0].created
        assert ["a", "b", "c", "first"] == sorted(world.files)
        assert [] == world.inbox


class TestTelling:
    """What is counted and logged."""

    def test_recordings_of_others_are_counted_once(self) -> None:
        """By whoever committed them, however often they are met."""
        world = begun(versioned=True)
        world.leave("other 1", "other 2")
        world.leave("other 3", "first")
        workers = [Worker(world, tuning=PUSHY) for _ in range(3)]
        for number, worker in enumerate(workers):
            worker.record(f"{number}", "first", by=" own")
        assert [3, 0, 0] == [worker.stats.combined for worker in workers]
        assert [1, 1, 1] == [worker.stats.commits for worker in workers]

    def test_ones_own_are_not_counted(self) -> None:
        """Alone, a worker combines nothing."""
        worker = Worker(begun(), tuning=PUSHY)
        for file in "abc":
            worker.record(file)
        assert 0 == worker.stats.combined

    def test_a_commit_is_one_line_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """It says the revision, how many recordings it added, and how many of them were of others."""
        caplog.set_level(logging.INFO, logger="cf_data_tracker")
        world = begun()
        world.leave("other 1", "other 2")
        world.leave("first")
        worker = Worker(world, tuning=PUSHY)
        caplog.clear()
        worker.record("a", "b", "first", by=" own")
        (line,) = caplog.records
        assert logging.INFO == line.levelno
        assert (2, 4, 2) == extra(line)
        assert f"memory://{KEY}: revision 2, 4 recordings, 2 of them of others" == line.getMessage()
        caplog.clear()
        worker.record("a")
        assert [] == caplog.records

    def test_a_direct_commit_too(self, caplog: pytest.LogCaptureFixture) -> None:
        """None of them of others."""
        caplog.set_level(logging.INFO, logger="cf_data_tracker")
        world = begun()
        caplog.clear()
        Worker(world).record("a", "b")
        assert [(2, 2, 0)] == [extra(line) for line in caplog.records]


CLEAN_KEY: Final = clean_key("vitals")


def clean_tracker(world: MemoryStore) -> CleanTracker:
    """Return a clean tracker in a process of its own, over two connections to one store."""
    raw, clean = (Connection(Access(bucket=bucket), store=world, combining=True) for bucket in ("raw", "clean"))
    return CleanTracker.over(raw, clean)


def clean_entry(world: MemoryStore, *records: CleanRecord) -> None:
    """Leave an entry with these records in the clean document's inbox."""
    key, body = sealed(inbox_prefix(CLEAN_KEY), [asdict(one) for one in records])
    world.write(key, body, replacing=ANYTHING)


def clean_ledger(world: MemoryStore) -> RecordSpec[CleanRecord, CleanRecorded]:
    """Return the clean document as one that records go into."""
    return clean_tracker(world)._ledger("vitals")  # noqa: SLF001 - what the tracker hands to the combiner


def clean_versions(world: MemoryStore) -> dict[str, int]:
    """Return the raw version of each file name that the clean document names."""
    there = world.read(CLEAN_KEY)
    assert isinstance(there, Stored)
    return {name: entry["file_info"]["version"] for name, entry in json.loads(there.body)["tables"]["births"].items()}


class TestClean:
    """Clean documents are committed in the same way."""

    def test_clean_trackers_commit_for_each_other(self) -> None:
        """One that reads that another waits takes it along."""
        world = MemoryStore()
        clean_tracker(world).record(file_version(1, file_name="FY2021"), ["x.parquet"])
        there = world.read(CLEAN_KEY)
        assert isinstance(there, Stored)
        world.write(CLEAN_KEY, there.body, replacing=there.etag, waiting=1)
        clean_entry(world, clean_record(file_version(4, file_name="FY2022"), "other"))
        tracker = clean_tracker(world)
        done = tracker.record(file_version(7, file_name="FY2023"), ["y.parquet"])
        assert (7, True) == (done.version, done.created)
        assert {"FY2021": 1, "FY2022": 4, "FY2023": 7} == clean_versions(world)
        assert 1 == tracker.stats.combined

    def test_a_clean_document_may_begin_so(self) -> None:
        """That there is none yet makes no difference."""
        world = World()
        clean_entry(world, clean_record(file_version(4, file_name="FY2022"), "other"))
        worker = Worker(world, tuning=PUSHY)
        ours = clean_record(file_version(7), "ours")
        (done,) = worker.commit(clean_ledger(world), ours)
        assert (7, True) == (done.version, done.created)
        assert {"FY2022": 4, "FY2023": 7} == clean_versions(world)

    @pytest.mark.parametrize(("ours", "others"), [(1, 2), (2, 1), (2, 2)])
    def test_an_older_record_never_replaces_a_newer_one(self, ours: int, others: int) -> None:
        """Whether it comes from the inbox or meets a newer one from there."""
        world = World()
        clean_entry(world, clean_record(file_version(others), "other"))
        worker = Worker(world, tuning=PUSHY)
        (done,) = worker.commit(clean_ledger(world), clean_record(file_version(ours), "ours"))
        assert (2, ours > others) == (done.version, done.created)
        assert {"FY2023": 2} == clean_versions(world)

    def test_a_record_that_was_left_behind_takes_nothing_back(self) -> None:
        """It comes late, and is swept."""
        world = World()
        clean_tracker(world).record(file_version(2), ["new.parquet"])
        clean_entry(world, clean_record(file_version(1), "late"))
        worker = Worker(world, tuning=PUSHY)
        worker.commit(clean_ledger(world), clean_record(file_version(1, file_name="other"), "ours"))
        assert {"FY2023": 2, "other": 1} == clean_versions(world)
        assert [] == world.list(inbox_prefix(CLEAN_KEY))
        assert 0 == worker.stats.combined

    def test_what_no_document_can_hold_is_the_recorders_own_error(self) -> None:
        """It is not published, where it would make the commits of others fail."""
        world = World()
        bad = replace(clean_record(file_version(1), "bad"), raw=replace(file_version(1), file_size=float("nan")))  # type: ignore[arg-type]
        with pytest.raises(DocumentError, match="cannot be written"):
            Worker(world, tuning=PUSHY).commit(clean_ledger(world), bad)
        assert [] == world.list(inbox_prefix(CLEAN_KEY))


class Story:
    """Workers at one document; hypothesis says what befalls them, and who acts right before whose requests."""

    def __init__(self, data: st.DataObject) -> None:
        self._draw = data.draw
        self.world = begun(versioned=self._draw(st.booleans(), "versions are kept"))
        self._stores: list[FatefulStore] = []
        self._moments = count()
        self._told: list[tuple[int, int, Recorded]] = []  # when it was asked for, when it was told, and what

    def play(self) -> None:
        """Let some record; then others, so that what was left is swept; and compare."""
        for _ in range(self._draw(st.integers(1, 3), "workers")):
            self._act()
        self._catch_up()
        for number in range(16):
            Worker(self.world, tuning=replace(PUSHY, eagerness=1e9)).record(f"last {number}")
        self._compare()

    def _compare(self) -> None:
        files = self.world.files
        assert len(files) == len(set(files))
        assert [] == self.world.inbox
        assert [] == self.world.markers
        created = [(asked, at, done.version) for asked, at, done in self._told if done.created]
        assert len(created) == len({version for _, _, version in created})
        assert {(done.version, done.file) for *_, done in self._told} <= set(enumerate(files, 1))
        for _, at, earlier in created:
            assert all(earlier < later for asked, _, later in created if asked > at)

    def _act(self) -> None:
        fates = st.lists(st.sampled_from([Fate.ANSWERED, *SILENT]), max_size=3)
        told = {kind: self._draw(fates, kind) for kind in ("reads", "writes", "publishes", "lists", "deletes")}
        store = FatefulStore(self.world, **told)
        store.before = lambda kind, _: self._interrupt(kind)
        self._stores.append(store)
        dice = self._draw(st.lists(st.floats(0, 1, exclude_max=True), max_size=6), "dice")
        worker = Worker(self.world, store, tuning=self._draw(st.sampled_from([PUSHY, TUNING])), chances=dice)
        with suppress(Killed, TrackerError):
            for _ in range(self._draw(st.integers(1, 3), "times")):
                asked = next(self._moments)
                files = self._draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=2, unique=True), "files")
                done = worker.record(*files, by=f" at {asked}")
                at = next(self._moments)
                self._told.extend((asked, at, one) for one in done)

    def _interrupt(self, kind: str) -> None:
        what = self._draw(st.sampled_from(["nothing", "another", "late", "death"]), f"before a {kind}")
        if what == "another" and len(self._stores) < 6:
            self._act()
        if what == "late":
            self._catch_up()
        if what == "death":
            raise Killed

    def _catch_up(self) -> None:
        for store in self._stores:
            store.catch_up()


class TestTogether:
    """Many at once."""

    def test_workers_that_combine_and_workers_that_do_not_share_a_document(self) -> None:
        """Either sees the other's work, and loses nothing to it."""
        world = begun()
        worker, plain = Worker(world, tuning=PUSHY), Worker(world)
        for turn in range(5):
            write = worker.store.calls.count("write") + 1
            worker.store.before = meanwhile("write", write, partial(plain.record_alone, f"plain {turn}"))
            worker.record(f"{turn}")
        assert ["first", *(file for turn in range(5) for file in (f"plain {turn}", f"{turn}"))] == world.files

    def test_workers_that_wait_for_each_other_share_a_commit(self) -> None:
        """Whoever is faster takes the other along."""
        world = begun()
        worker, rival = Worker(world, tuning=PUSHY), Worker(world, tuning=PUSHY)
        for turn in range(5):
            write = worker.store.calls.count("write") + 1
            worker.store.before = meanwhile("write", write, partial(rival.record, f"rival {turn}"))
            worker.record(f"{turn}")
        assert ["first", *(file for turn in range(5) for file in (f"{turn}", f"rival {turn}"))] == world.files
        assert 6 == world.document["revision"]

    def test_trackers_combine_unless_told_otherwise(self) -> None:
        """A tracker that reads that others wait takes them along; one over a plain connection leaves them."""
        for combining, combined in ((True, 1), (False, 0)):
            world = begun(note=1)
            world.leave("other")
            connection = Connection(Access(bucket="raw"), store=world, combining=combining)
            tracker = Tracker.over(connection)
            tracker.record("vitals", "births", "FY2023", "a", file_size=1, s3_location="s3://raw/a")
            assert combined == tracker.stats.combined
            assert 2 + combined == len(world.files)

    @given(st.data())
    def test_whatever_happens_nothing_is_lost(self, data: st.DataObject) -> None:
        """Workers interrupt each other anywhere, requests are not answered, some die: all that was told is true."""
        Story(data).play()

    def test_threads_lose_nothing(self) -> None:
        """Eight workers at one store, in real time, half of whose files are shared by two."""
        memory = MemoryStore()
        told: list[Recorded] = []

        def work(number: int) -> None:
            dice = random.Random(number)
            runtime = Runtime(clock=time.monotonic, sleep=doze, random=dice.random, spawn=spawn)
            engine = Engine(memory, Tally(), Patience(attempts=10**6), runtime)
            combiner = Combiner(engine)
            for turn in range(12):
                owner = number // 2 if turn % 2 else f"own-{number}"
                told.extend(combiner.commit(LEDGER, [of(f"{owner}-{turn}", f" by {number}")]))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        there = memory.read(KEY)
        assert isinstance(there, Stored)
        versions = list(versions_of(json.loads(there.body), "vitals"))
        files = [version.file for version in versions]
        assert [version.version for version in versions] == list(range(1, len(versions) + 1))
        assert 8 * 6 + 4 * 6 == len(files) == len(set(files)) == sum(done.created for done in told)
        assert {(done.file, done.version) for done in told} == {(file, files.index(file) + 1) for file in files}
