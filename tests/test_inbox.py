"""The inbox as a place: what is published is listed, what is done is removed, what goes wrong costs no recording."""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Final, TypeVar

import pytest

from cf_data_tracker import runtime
from cf_data_tracker.engine import inbox as inbox_module
from cf_data_tracker.engine.cas import Engine
from cf_data_tracker.engine.inbox import FETCHED_AT_ONCE, PAGE, SWEPT_AT_ONCE, Inbox
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.entries import Entry, carries_payload, sealed
from cf_data_tracker.errors import DeniedError, ReadDeniedError, RetainedError, StoreError
from cf_data_tracker.model import Recording
from cf_data_tracker.names import aside_key, inbox_prefix, raw_key
from cf_data_tracker.runtime import Runtime, Spawn, run_inline
from cf_data_tracker.stats import Tally
from cf_data_tracker.store import ANYTHING, Stored, Unanswered
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import raw_record_spec
from fates import Fate, FatefulStore
from interrupting import interrupted_at
from strategies import recording

T = TypeVar("T")

KEY: Final = raw_key("vitals")
PREFIX: Final = inbox_prefix(KEY)
LEDGER: Final = raw_record_spec("vitals")


class Later:
    """What is done beside, when a test says so."""

    def __init__(self) -> None:
        self.taken_on = 0
        self._tasks: list[Callable[[], object]] = []

    def __call__(self, task: Callable[[], T], /) -> Callable[[], T]:
        """Take a task on."""
        self.taken_on += 1
        self._tasks.append(task)
        return task  # nobody here waits for what is put off

    def catch_up(self) -> None:
        """Do now what is to be done."""
        while self._tasks:
            self._tasks.pop(0)()


class Clock:
    """The time, which a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return it."""
        return self.now


def spawn(task: Callable[[], T]) -> Callable[[], T]:
    """Begin a task in a thread."""
    return runtime.spawn(task)


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that threads do."""
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        threading.Event().wait(0.001)


def inbox_over(
    store: FatefulStore | MemoryStore, spawn: Spawn = run_inline, clock: Callable[[], float] = lambda: 0.0
) -> Inbox[Recording]:
    """Return the inbox of the document, as one more process sees it."""
    runtime = Runtime(clock=clock, sleep=lambda _: None, random=lambda: 0.5, spawn=spawn)
    engine = Engine(store, Tally(), Patience(), runtime)
    return Inbox(engine, KEY, LEDGER.to_json, LEDGER.from_json)


def publish(store: FatefulStore | MemoryStore, *files: str) -> str:
    """Let a process publish files, and return the key."""
    inbox = inbox_over(store)
    key, body = inbox.seal(recording(file, recorded_by=f"id-of-{file}") for file in files)
    inbox.publish(key, body)
    return key


def publish_many(store: MemoryStore, number: int) -> list[str]:
    """Let as many processes publish a file each, and return the keys in their order."""
    return sorted(publish(store, f"{file}.zip") for file in range(number))


def publish_large(store: MemoryStore, file: str, number: int = 40) -> str:
    """Let a process publish so many files that they do not fit into a key."""
    some = random.Random(file)
    key = publish(store, file, *(f"{some.getrandbits(128):x}" for _ in range(number - 1)))
    assert not carries_payload(key)
    return key


def rubbish(store: MemoryStore, name: str = "0000.rubbish", body: bytes = b"rubbish") -> str:
    """Put something else there, and return its key."""
    store.write(f"{PREFIX}{name}", body, replacing=ANYTHING)
    return f"{PREFIX}{name}"


def keys_of(entries: Iterable[Entry[Recording]]) -> list[str]:
    """Return the keys of entries."""
    return [entry.key for entry in entries]


def files_of(entries: Iterable[Entry[Recording]]) -> set[str]:
    """Return the files that entries hold."""
    return {one.new.file for entry in entries for one in entry.recordings}


def left_in(store: MemoryStore) -> list[str]:
    """Return the keys that are in the inbox."""
    return store.list(PREFIX)


class TestPublishing:
    """Recordings go in."""

    def test_what_is_published_is_listed_by_others(self) -> None:
        """An entry holds what one process had to record; the entries come in the order of their keys."""
        store = MemoryStore()
        keys = sorted([publish(store, "a", "b"), publish(store, "c")])
        entries = inbox_over(store).waiting()
        assert keys == keys_of(entries)
        assert {"a", "b", "c"} == files_of(entries)

    def test_publishing_twice_is_publishing_once(self) -> None:
        """So it can be done again when the answer was lost."""
        store = MemoryStore()
        assert publish(store, "a") == publish(store, "a")
        assert 1 == len(left_in(store))

    def test_ones_own_entry_is_not_given(self) -> None:
        """It is no news to whoever published it, nor does it make a crowd."""
        store = MemoryStore()
        own, other = publish(store, "own"), publish(store, "other")
        inbox = inbox_over(store)
        assert [other] == keys_of(inbox.waiting(own=own))
        assert 1 == inbox.crowd

    def test_the_inbox_of_another_document_is_not_seen(self) -> None:
        """Though the name of its schema may begin like ours."""
        store = MemoryStore()
        engine = Engine(store, Tally(), Patience(), Runtime(clock=float, sleep=lambda _: None, random=float))
        vital = Inbox(engine, raw_key("vital"), LEDGER.to_json, raw_record_spec("vital").from_json)
        vital.publish(*vital.seal([recording("a")]))
        assert [] == inbox_over(store).waiting()
        assert 1 == len(vital.waiting())
        publish(store, "b")
        assert 1 == len(vital.waiting())

    def test_the_crowd_is_what_was_seen_waiting(self) -> None:
        """It is as many as the last LIST gave."""
        store = MemoryStore()
        inbox = inbox_over(store)
        assert 0 == inbox.crowd
        publish_many(store, 5)
        assert 0 == inbox.crowd
        inbox.waiting()
        assert 5 == inbox.crowd

    @pytest.mark.parametrize("versioned", [False, True])
    def test_that_versions_are_kept_is_learnt_by_publishing(self, versioned: bool) -> None:  # noqa: FBT001 - a parameter
        """The answer has the version, by which one's own entry is erased."""
        store = MemoryStore(versioned=versioned)
        inbox = inbox_over(store)
        key, body = inbox.seal([recording("a")])
        version = inbox.publish(key, body)
        assert versioned == inbox.versioned == (version is not None)
        inbox.withdraw(key, version)
        assert [] == left_in(store) == store.markers

    @pytest.mark.parametrize("fate", [Fate.LOST, Fate.ANSWER_LOST, Fate.SLOW_DOWN, Fate.NOT_SENT, Fate.CONFLICT])
    def test_without_an_answer_it_may_be_there(self, fate: Fate) -> None:
        """Nobody can say. A 409 is no answer either: what replaces whatever is there cannot have lost."""
        inbox = inbox_over(FatefulStore(MemoryStore(), publishes=[fate]))
        with pytest.raises(Unanswered):
            inbox.publish(*inbox.seal([recording("a")]))
        assert inbox.usable


class TestPages:
    """A LIST gives a page."""

    def test_the_next_list_goes_on_where_a_full_page_ended_and_then_anew(self) -> None:
        """So all are met in turn, however many there are."""
        store = MemoryStore()
        keys = publish_many(store, 2 * PAGE + 5)
        inbox = inbox_over(store)
        for _ in range(2):
            assert keys[:PAGE] == keys_of(inbox.waiting())
            assert keys[PAGE : 2 * PAGE] == keys_of(inbox.waiting())
            assert keys[2 * PAGE :] == keys_of(inbox.waiting())

    def test_a_list_that_was_not_full_is_begun_anew(self) -> None:
        """What has come since may stand anywhere."""
        store = MemoryStore()
        inbox = inbox_over(store)
        for number in range(1, 4):
            publish(store, f"{number}.zip")
            assert number == len(inbox.waiting())

    def test_a_page_that_is_just_full_is_followed_by_an_empty_one(self) -> None:
        """Whether there are more cannot be told before."""
        store = MemoryStore()
        publish_many(store, PAGE)
        inbox = inbox_over(store)
        assert [PAGE, 0, PAGE, 0] == [len(inbox.waiting()) for _ in range(4)]

    def test_a_page_counts_by_keys_whatever_they_are(self) -> None:
        """What is one's own, or was removed, counts for the page: the LIST goes on behind it."""
        store = MemoryStore()
        keys = publish_many(store, PAGE + 1)
        inbox = inbox_over(FatefulStore(store, deletes=[Fate.LATE]), Later())
        inbox.remove(keys[1:PAGE])
        assert [] == inbox.waiting(own=keys[0])
        assert [keys[PAGE]] == keys_of(inbox.waiting(own=keys[0]))


class TestRemoving:
    """What is done comes out."""

    def test_what_is_removed_is_gone(self) -> None:
        """One request removes it all."""
        store = MemoryStore()
        keys = publish_many(store, 5)
        fateful = FatefulStore(store)
        inbox_over(fateful).remove(keys[1:])
        assert keys[:1] == left_in(store)
        assert ["delete"] == fateful.calls

    def test_nothing_to_remove_costs_nothing(self) -> None:
        """Nothing is begun beside, and what comes later is removed."""
        store, later = MemoryStore(), Later()
        inbox = inbox_over(store, later)
        inbox.remove([])
        assert 0 == later.taken_on
        inbox.remove([publish(store, "a")])
        later.catch_up()
        assert [] == left_in(store)

    def test_what_was_removed_is_done_even_if_it_comes_again(self) -> None:
        """A publishing that was late shows it once more; this process knows that it is in the document."""
        store = MemoryStore()
        inbox = inbox_over(store)
        inbox.remove([publish(store, "a")])
        assert [] == left_in(store)
        key = publish(store, "a")
        assert [] == inbox.waiting()
        assert [key] == keys_of(inbox_over(store).waiting())

    def test_what_is_being_removed_is_not_given_again(self) -> None:
        """A LIST may still show what a DELETE on its way will take."""
        store, later = MemoryStore(), Later()
        keys = publish_many(store, 3)
        inbox = inbox_over(store, later)
        inbox.remove(keys[:2])
        assert keys[2:] == keys_of(inbox.waiting())
        assert 1 == inbox.crowd
        assert keys == left_in(store)
        later.catch_up()
        assert keys[2:] == left_in(store)

    def test_what_comes_while_a_deletion_is_under_way_goes_with_the_next(self) -> None:
        """There is one deletion at a time, and none is forgotten."""
        store, later = MemoryStore(), Later()
        fateful = FatefulStore(store)
        inbox = inbox_over(fateful, later)
        for key in publish_many(store, 4):
            inbox.remove([key])
        assert 1 == later.taken_on
        later.catch_up()
        assert [] == left_in(store)
        assert ["delete"] == fateful.calls
        inbox.remove([publish(store, "a")])
        later.catch_up()
        assert [] == left_in(store)

    def test_a_request_deletes_up_to_a_thousand(self) -> None:
        """More take more."""
        store, sizes = MemoryStore(), []

        class Counting(FatefulStore):
            def delete(self, *keys: str) -> None:
                sizes.append(len(keys))
                super().delete(*keys)

        keys = publish_many(store, 2 * PAGE + 1)
        inbox_over(Counting(store)).remove(keys)
        assert [PAGE, PAGE, 1] == sizes
        assert [] == left_in(store)

    @pytest.mark.parametrize("fate", [Fate.LOST, Fate.SLOW_DOWN, Fate.NOT_SENT, Fate.CONFLICT])
    def test_what_was_not_removed_is_met_again(self, fate: Fate) -> None:
        """A deletion without an answer is taken for none; the next one takes the rest."""
        store = MemoryStore()
        keys = publish_many(store, PAGE + 1)
        inbox = inbox_over(FatefulStore(store, deletes=[fate]))
        inbox.remove(keys)
        assert keys[:PAGE] == left_in(store) == keys_of(inbox.waiting())
        assert inbox.usable

    def test_a_deletion_that_broke_off_does_not_stop_those_after_it(self) -> None:
        """Whatever it was, the next removal begins anew."""
        store = MemoryStore()

        class Breaking(FatefulStore):
            def delete(self, *keys: str) -> None:
                if not self.calls:
                    self.calls.append("delete")
                    raise MemoryError
                super().delete(*keys)

        inbox = inbox_over(Breaking(store))
        first, second = publish_many(store, 2)
        with pytest.raises(MemoryError):
            inbox.remove([first])
        inbox.remove([second])
        assert [first] == left_in(store)

    @pytest.mark.parametrize("way", ["inline", "in a thread"])
    def test_wherever_a_removal_is_interrupted_the_next_one_removes(self, way: str) -> None:
        """At each line that it runs here: what is removed later goes, and nothing waits for a lock."""
        for step in count():
            store = MemoryStore()
            first, second, third = publish_many(store, 3)
            inbox = inbox_over(store, run_inline if way == "inline" else spawn)
            came = interrupted_at(step, partial(inbox.remove, [first]), inbox_module, runtime)
            for key in (second, third):
                inbox.remove([key])
            until(lambda store=store, keys={second, third}: not keys & set(left_in(store)))  # type: ignore[misc]
            if not came:
                break
        assert step > 8

    def test_a_deletion_that_was_done_without_an_answer_is_no_harm(self) -> None:
        """What is gone is not listed."""
        store = MemoryStore()
        keys = publish_many(store, 2)
        inbox = inbox_over(FatefulStore(store, deletes=[Fate.ANSWER_LOST]))
        inbox.remove(keys)
        assert [] == inbox.waiting()

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that goes on for months keeps the newest keys only: what was listed before is long gone."""
        monkeypatch.setattr(inbox_module, "REMEMBERED", 3)
        store, later = MemoryStore(), Later()
        keys = publish_many(store, 5)
        inbox = inbox_over(store, later)
        inbox.remove(keys)
        assert keys[:2] == keys_of(inbox.waiting())
        later.catch_up()
        assert keys[:2] == left_in(store)

    def test_more_is_remembered_than_is_listed_meanwhile(self) -> None:
        """A page and what is listed while that is removed fit in."""
        assert 4 * PAGE == inbox_module.REMEMBERED


class TestVersions:
    """In a bucket that keeps versions a deletion leaves a marker, and LIST is slow over many of them."""

    def test_ones_own_entry_is_erased_by_its_version(self) -> None:
        """One request, and no marker stays."""
        store = MemoryStore(versioned=True)
        fateful = FatefulStore(store)
        inbox = inbox_over(fateful)
        key, body = inbox.seal([recording("a")])
        inbox.withdraw(key, inbox.publish(key, body))
        assert ["publish", "delete"] == fateful.calls
        assert [] == left_in(store) == store.markers

    def test_ones_own_entry_of_unknown_version_is_looked_up(self) -> None:
        """Its version was not told if the answer was lost."""
        store = MemoryStore(versioned=True)
        key = publish(store, "a")
        inbox = inbox_over(store)
        other, body = inbox.seal([recording("b")])
        inbox.publish(other, body)
        inbox.withdraw(key, None)
        assert [other] == left_in(store)
        assert [] == store.markers

    def test_ones_own_entry_is_deleted_where_no_versions_are_kept(self) -> None:
        """A bucket that keeps none has no markers."""
        store = MemoryStore()
        key = publish(store, "a")
        inbox_over(store).withdraw(key, None)
        assert [] == left_in(store)

    def test_what_others_left_behind_is_swept_by_version(self) -> None:
        """At most two of them for one commit: each takes a request to look up, and one to erase."""
        store = MemoryStore(versioned=True)
        keys = publish_many(store, 5)
        fateful = FatefulStore(store)
        inbox_over(fateful).sweep(keys)
        assert 2 == SWEPT_AT_ONCE
        assert keys[2:] == left_in(store)
        assert ["read", "delete"] * 2 == fateful.calls
        assert [] == store.markers

    def test_nothing_to_sweep_costs_nothing(self) -> None:
        """Nothing is begun beside."""
        later = Later()
        inbox_over(MemoryStore(versioned=True), later).sweep([])
        assert 0 == later.taken_on

    def test_what_is_gone_is_not_swept(self) -> None:
        """Its publisher was first."""
        fateful = FatefulStore(MemoryStore(versioned=True))
        inbox_over(fateful).sweep([f"{PREFIX}gone"])
        assert ["read"] == fateful.calls

    def test_what_has_no_version_is_not_swept(self) -> None:
        """What was put there before the bucket kept versions stays, and does no harm."""
        store = MemoryStore()
        key = publish(store, "a")
        fateful = FatefulStore(store)
        inbox_over(fateful).sweep([key])
        assert ["read"] == fateful.calls
        assert [key] == left_in(store)

    @pytest.mark.parametrize("told", ["reads", "deletes"])
    def test_a_sweep_without_an_answer_is_left_for_later(self, told: str) -> None:
        """One that fails does not keep the other from being swept."""
        store = MemoryStore(versioned=True)
        keys = publish_many(store, 2)
        inbox = inbox_over(
            FatefulStore(store, reads=[Fate.LOST]) if told == "reads" else FatefulStore(store, deletes=[Fate.LOST])
        )
        inbox.sweep(keys)
        assert keys[:1] == left_in(store)
        assert inbox.usable


class Retaining(MemoryStore):
    """A bucket that keeps its versions for a time, whoever asks (Object Lock with a default retention)."""

    def __init__(self) -> None:
        super().__init__(versioned=True)

    def erase(self, key: str, version: str) -> None:
        """Refuse: only a marker can be put over it."""
        raise RetainedError(f"{key} ({version}): under a retention, and stays until it ends")


class TestRetention:
    """In a bucket that retains what is written, an entry cannot be erased."""

    def test_a_retained_entry_is_hidden_and_said_to_be_retained(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is not listed again, the inbox stays in use, and that is said once."""
        store = Retaining()
        inbox = inbox_over(store)
        for number in range(3):
            key, body = inbox.seal([recording(f"{number}.zip")])
            inbox.withdraw(key, inbox.publish(key, body))
        other = publish(store, "other.zip")
        inbox.sweep([other])
        assert [] == left_in(store)
        assert [] == inbox.waiting()
        assert inbox.usable
        assert 1 == caplog.text.count("an inbox entry is retained")
        assert "s3:DeleteObjectVersion" not in caplog.text


class TestBodies:
    """Entries that are too large for a key."""

    def test_bodies_are_fetched(self) -> None:
        """They stand among the others, in the order of the keys; what is in a key is not fetched."""
        store = MemoryStore()
        keys = sorted([publish_large(store, "large"), publish(store, "small"), publish_large(store, "larger")])
        fateful = FatefulStore(store)
        entries = inbox_over(fateful).waiting()
        assert keys == keys_of(entries)
        assert {"large", "small", "larger"} < files_of(entries)
        assert ["list", "read", "read"] == fateful.calls

    def test_bodies_are_fetched_beside_each_other_though_not_all_at_once(self) -> None:
        """So many are begun before the first is awaited."""
        store, begun = MemoryStore(), []

        def noted(task: Callable[[], T], /) -> Callable[[], T]:
            begun.append("begun")

            def result() -> T:
                begun.append("awaited")
                return task()

            return result

        for number in range(FETCHED_AT_ONCE + 2):
            publish_large(store, f"{number}", 20)
        assert FETCHED_AT_ONCE + 2 == len(inbox_over(store, noted).waiting())
        full = ["begun"] * FETCHED_AT_ONCE + ["awaited"] * FETCHED_AT_ONCE
        assert [*full, "begun", "begun", "awaited", "awaited"] == begun

    def test_a_body_that_is_gone_is_skipped(self) -> None:
        """Another combiner was first: there is nothing to be read, and so nothing that cannot be read."""
        store = MemoryStore()
        large, small = publish_large(store, "large"), publish(store, "small")
        fateful = FatefulStore(store)
        fateful.before = lambda kind, _: store.delete(large) if kind == "read" else None
        assert [small] == keys_of(inbox_over(fateful).waiting())
        assert ["list", "read"] == fateful.calls

    @pytest.mark.parametrize("fate", [Fate.LOST, Fate.SLOW_DOWN, Fate.NOT_SENT, Fate.CONFLICT])
    def test_a_body_without_an_answer_is_left_for_later(self, fate: Fate) -> None:
        """It makes the crowd when it is met; then it is left alone for a while, and is given after that."""
        store, clock = MemoryStore(), Clock()
        keys = sorted([publish_large(store, "large"), publish(store, "small")])
        inbox = inbox_over(FatefulStore(store, reads=[fate]), clock=clock)
        assert {"small"} == files_of(inbox.waiting())
        assert 2 == inbox.crowd
        clock.now = 9.9
        assert {"small"} == files_of(inbox.waiting())
        assert 1 == inbox.crowd
        clock.now = 10.0
        assert keys == keys_of(inbox.waiting())
        assert keys == left_in(store)

    def test_a_body_that_is_never_answered_is_left_alone_ever_longer(self) -> None:
        """Twice as long each time, up to an hour."""
        store, clock = MemoryStore(), Clock()
        publish_large(store, "large")
        fateful = FatefulStore(store, reads=[Fate.LOST] * 100)
        inbox = inbox_over(fateful, clock=clock)
        asked: list[float] = []
        fateful.before = lambda kind, _: asked.append(clock.now) if kind == "read" else None
        for _ in range(3000):
            assert [] == inbox.waiting()
            clock.now += 5.0
        assert [0.0, 10.0, 30.0, 70.0, 150.0, 310.0, 630.0, 1270.0, 2550.0, 5110.0, 8710.0, 12310.0] == asked

    def test_after_a_round_without_an_answer_no_more_are_fetched(self) -> None:
        """A list waits for one request's time-out at most; what is in keys is given; the rest comes with the next."""
        store = MemoryStore()
        for number in range(2 * FETCHED_AT_ONCE + 3):
            publish_large(store, f"{number}", 20)
        small = publish(store, "small")
        fateful = FatefulStore(store, reads=[Fate.LOST])
        inbox = inbox_over(fateful)
        entries = inbox.waiting()
        assert small in keys_of(entries)
        assert FETCHED_AT_ONCE == len(entries)
        assert FETCHED_AT_ONCE == fateful.calls.count("read")
        assert 2 * FETCHED_AT_ONCE + 3 == len(inbox.waiting())

    def test_a_commit_among_many_that_are_never_answered_is_delayed_by_one_round(self) -> None:
        """Three hundred of them: sixteen are asked for, and are not asked for again by the next list."""
        store = MemoryStore()
        for number in range(300):
            publish_large(store, f"{number}", 20)
        fateful = FatefulStore(store, reads=[Fate.LOST] * 1000)
        inbox = inbox_over(fateful)
        for rounds in (1, 2):
            assert [] == inbox.waiting()
            assert rounds * FETCHED_AT_ONCE == fateful.calls.count("read")

    def test_what_is_postponed_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The newest are remembered."""
        monkeypatch.setattr(inbox_module, "REMEMBERED", 3)
        store = MemoryStore()
        keys = sorted(publish_large(store, f"{number}", 20) for number in range(5))
        inbox = inbox_over(FatefulStore(store, reads=[Fate.LOST] * 5))
        assert [] == inbox.waiting()
        assert keys[:2] == keys_of(inbox.waiting())

    def test_a_body_that_is_too_large_is_left_where_it_is(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is not received, blocks nobody, and is told of once: nobody here has published it."""
        store = MemoryStore()
        large, small = rubbish(store, "0" * 32, b"x" * (4 * 1024 * 1024 + 1)), publish(store, "small")
        inbox = inbox_over(store)
        for _ in range(2):
            assert [small] == keys_of(inbox.waiting())
        assert sorted([large, small]) == left_in(store)
        assert inbox.usable
        (line,) = caplog.messages
        assert f"memory://{large} is larger than an inbox entry may be (4 MiB)" in line

    def test_a_body_that_is_as_large_as_may_be_is_looked_at(self) -> None:
        """This one is no entry, and set aside."""
        store = MemoryStore()
        large = rubbish(store, "0" * 32, b"x" * (4 * 1024 * 1024))
        assert [] == inbox_over(store).waiting()
        assert [] == left_in(store)
        assert isinstance(store.read(aside_key(large)), Stored)

    def test_what_one_list_gives_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However little the keys say: the next list goes on after what was given, and then anew."""
        store = MemoryStore()
        keys = publish_many(store, 5)
        sizes = [entry.size for entry in inbox_over(store).waiting()]
        monkeypatch.setattr(inbox_module, "MAX_LISTED_BYTES", sum(sizes[:2]))
        inbox = inbox_over(store)
        for _ in range(2):
            assert keys[:3] == keys_of(inbox.waiting())
            assert keys[3:] == keys_of(inbox.waiting())

    def test_the_bound_of_one_list(self) -> None:
        """A thousand keys could inflate to 800 MiB."""
        assert 8 * 1024 * 1024 == inbox_module.MAX_LISTED_BYTES


class TestUnreadable:
    """What is no entry is set aside, and blocks nobody."""

    def test_it_is_set_aside_as_it_is_and_removed(self, caplog: pytest.LogCaptureFixture) -> None:
        """Somebody can look at it: the same bytes, under a key that differs in one word. The warning says where."""
        store = MemoryStore()
        key, body = rubbish(store, "0000"), b"rubbish"
        inbox_over(store).waiting()
        aside = store.read(aside_key(key))
        assert isinstance(aside, Stored)
        assert body == aside.body
        assert f"_cf_tracker/aside/{KEY}/0000" == aside_key(key)
        assert [] == left_in(store)
        (warning,) = caplog.records
        assert logging.WARNING == warning.levelno
        assert store.location(aside_key(key)) in warning.getMessage()
        assert "digest does not match" in warning.getMessage()

    @pytest.mark.parametrize("name", ["0000", "0000.rubbish", "ffff", "ffff.-_", "7fff.\N{EURO SIGN}", "", "a/b"])
    def test_it_blocks_nobody(self, name: str) -> None:
        """Whatever it is and wherever it stands, the entries before and behind it are read."""
        store = MemoryStore()
        keys = publish_many(store, 3)
        rubbish(store, name)
        assert keys == keys_of(inbox_over(store).waiting())
        assert keys == left_in(store)

    def test_it_is_told_of_once(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is not looked at again while its deletion is under way."""
        store, later = MemoryStore(), Later()
        rubbish(store)
        inbox = inbox_over(store, later)
        for _ in range(3):
            assert [] == inbox.waiting()
        assert 0 == inbox.crowd
        later.catch_up()
        assert [] == left_in(store)
        assert [] == inbox.waiting()
        assert 1 == len(caplog.records)

    @pytest.mark.parametrize("fate", [Fate.LOST, Fate.SLOW_DOWN, Fate.CONFLICT, Fate.DENIED, Fate.REFUSED])
    def test_if_it_cannot_be_set_aside_it_is_left(self, fate: Fate, caplog: pytest.LogCaptureFixture) -> None:
        """It is not removed before it is safe; this process looks at it no more, another one will."""
        store = MemoryStore()
        keys, bad = publish_many(store, 3), rubbish(store)
        inbox = inbox_over(FatefulStore(store, writes=[fate]))
        for _ in range(3):
            assert keys == keys_of(inbox.waiting())
        assert sorted([*keys, bad]) == left_in(store)
        assert inbox.usable
        assert 1 == len(caplog.records)
        assert keys == keys_of(inbox_over(store).waiting())
        assert keys == left_in(store)

    def test_if_it_cannot_be_removed_it_is_met_again(self) -> None:
        """As any other entry."""
        store = MemoryStore()
        bad = rubbish(store)
        inbox = inbox_over(FatefulStore(store, deletes=[Fate.LOST]))
        assert [] == inbox.waiting()
        assert [bad] == left_in(store)
        assert [] == inbox.waiting()
        assert [] == left_in(store)

    def test_it_leaves_no_marker(self) -> None:
        """In a bucket that keeps versions it is erased, even by a process that has written nothing there yet."""
        store = MemoryStore(versioned=True)
        rubbish(store)
        assert [] == inbox_over(store).waiting()
        assert [] == left_in(store) == store.markers

    def test_a_recording_that_names_a_schema_is_unreadable(self) -> None:
        """Which schema it is for is said by the inbox alone."""
        store = MemoryStore()
        key, body = sealed(PREFIX, [asdict(recording("a").new)])
        store.write(key, body, replacing=ANYTHING)
        assert [] == inbox_over(store).waiting()
        assert [] == left_in(store)


class TestRefused:
    """Where the store refuses, most likely for want of permissions, the inbox is not used any more; that is said."""

    def test_a_publishing_that_is_refused_closes_the_inbox(self, caplog: pytest.LogCaptureFixture) -> None:
        """The caller is told, since it is not there."""
        inbox = inbox_over(FatefulStore(MemoryStore(), publishes=[Fate.DENIED]))
        with pytest.raises(StoreError):
            inbox.publish(*inbox.seal([recording("a")]))
        assert not inbox.usable
        assert 1 == len(caplog.records)

    def test_a_list_that_is_refused_closes_the_inbox(self, caplog: pytest.LogCaptureFixture) -> None:
        """Nothing is known to wait there."""
        store = MemoryStore()
        publish(store, "a")
        inbox = inbox_over(FatefulStore(store, lists=[Fate.DENIED]))
        assert [] == inbox.waiting()
        assert not inbox.usable
        assert 1 == len(caplog.records)

    def test_a_deletion_that_is_refused_closes_the_inbox(self, caplog: pytest.LogCaptureFixture) -> None:
        """An inbox that nobody empties fills up."""
        store = MemoryStore()
        keys = publish_many(store, PAGE + 1)
        inbox = inbox_over(FatefulStore(store, deletes=[Fate.DENIED, Fate.DENIED]))
        inbox.remove(keys)
        assert not inbox.usable
        assert 1 == len(caplog.records)

    @pytest.mark.parametrize("told", ["reads", "deletes"])
    def test_a_sweep_that_is_refused_closes_the_inbox(self, told: str, caplog: pytest.LogCaptureFixture) -> None:
        """To look up and to erase are permissions as well."""
        store = MemoryStore(versioned=True)
        keys = publish_many(store, 2)
        fates = [Fate.DENIED, Fate.DENIED]
        fateful = FatefulStore(store, reads=fates) if told == "reads" else FatefulStore(store, deletes=fates)
        inbox = inbox_over(fateful)
        inbox.sweep(keys)
        assert not inbox.usable
        assert keys == left_in(store)
        assert 1 == len(caplog.records)

    def test_bodies_that_may_not_be_fetched_close_the_inbox(self, caplog: pytest.LogCaptureFixture) -> None:
        """It is said once, however many there are."""
        store = MemoryStore()
        for file in "abc":
            publish_large(store, file)
        small = publish(store, "small")
        inbox = inbox_over(FatefulStore(store, reads=[Fate.DENIED] * 3))
        assert [small] == keys_of(inbox.waiting())
        assert not inbox.usable
        assert 1 == len(caplog.records)

    def test_the_warning_says_what_it_takes(self, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever reads it knows what was refused, what it costs and what to allow where."""
        store = FatefulStore(MemoryStore())

        def denied(kind: str, number: int) -> None:
            raise DeniedError(f"{kind} {number} denied")

        store.before = denied
        inbox_over(store).waiting()
        (warning,) = caplog.records
        assert logging.WARNING == warning.levelno
        said = warning.getMessage()
        assert "list 1 denied" in said
        assert f"memory://{PREFIX}" in said
        for permission in ("ListBucket", "GetObject", "PutObject", "DeleteObject", "DeleteObjectVersion"):
            assert f"s3:{permission}" in said

    def test_permissions_are_told_of_once_in_all(self, caplog: pytest.LogCaptureFixture) -> None:
        """However often, and by whatever request, they are met."""
        store = MemoryStore()
        keys = publish_many(store, 2)
        fateful = FatefulStore(store)
        inbox = inbox_over(fateful)

        def denied(kind: str, number: int) -> None:
            raise ReadDeniedError(f"{kind} {number}")

        fateful.before = denied
        for _ in range(3):
            inbox.waiting()
            inbox.remove(keys)
            inbox.sweep(keys)
            with pytest.raises(DeniedError):
                inbox.publish(*inbox.seal([recording("a")]))
        assert 1 == len(caplog.records)
        assert not inbox.usable
        assert keys == left_in(store)
