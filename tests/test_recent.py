"""What a process keeps for each document: for the ones used last, and never less than what somebody works with."""

import gc
import threading
from itertools import count
from typing import Final

import pytest

from cf_data_tracker import connection as connection_module
from cf_data_tracker.connection import Connection
from cf_data_tracker.engine import recent as under_test
from cf_data_tracker.engine.recent import MAX_BYTES, MAX_DOCUMENTS, MAX_KNOWN, Carried, Recent
from cf_data_tracker.errors import DocumentVanishedError
from cf_data_tracker.names import raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import Replacing, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.s3 import Quoting
from cf_data_tracker.tracker import Tracker
from interrupting import interrupted_at

SCHEMAS: Final = 10_000


class Thing:
    """A value."""


def filled(*keys: str, size: int = 1, **bounds: int) -> Carried[str]:
    """Return what carries a value for each key, under its own name."""
    carried: Carried[str] = Carried(**bounds)
    for key in keys:
        carried.put(key, key.upper(), size)
    return carried


class TestCarried:
    """Documents, each with its ETag."""

    def test_the_ones_used_last_are_carried(self) -> None:
        """Whether they were read, or written."""
        carried = filled("a", "b", documents=2)
        assert "A" == carried.get("a")
        carried.put("c", "C", 1)
        assert ("A", None, "C") == (carried.get("a"), carried.get("b"), carried.get("c"))
        carried.put("a", "again", 1)
        carried.put("d", "D", 1)
        assert ("again", None, "D") == (carried.get("a"), carried.get("c"), carried.get("d"))
        assert 2 == len(carried)

    def test_their_bytes_are_bounded(self) -> None:
        """However few they are."""
        carried = filled("a", "b", "c", size=4, most=10)
        assert (None, "B", "C") == (carried.get("a"), carried.get("b"), carried.get("c"))
        carried.put("d", "D", 7)
        assert (None, None, "D") == (carried.get("b"), carried.get("c"), carried.get("d"))

    def test_one_that_is_larger_than_all_may_be_is_carried_alone(self) -> None:
        """It would be read anew for each recording."""
        carried = filled("a", most=10)
        carried.put("large", "LARGE", 11)
        assert (None, "LARGE") == (carried.get("a"), carried.get("large"))

    def test_a_document_that_shrinks_makes_room(self) -> None:
        """Its bytes are those of what is carried now."""
        carried = filled("a", size=9, most=10)
        carried.put("a", "small", 1)
        carried.put("b", "B", 9)
        assert ("small", "B") == (carried.get("a"), carried.get("b"))

    def test_that_a_document_was_there_is_known_for_longer(self) -> None:
        """Its key alone is kept."""
        carried = filled("a", "b", documents=1)
        assert (True, True, False) == (carried.knows("a"), carried.knows("b"), carried.knows("c"))

    def test_keys_are_bounded_too(self) -> None:
        """The documents that were seen last are known."""
        carried = filled("a", "b", known=2)
        carried.put("a", "A", 1)
        carried.put("c", "C", 1)
        assert (True, False, True) == (carried.knows("a"), carried.knows("b"), carried.knows("c"))

    def test_all_can_be_forgotten(self) -> None:
        """As if nothing had been seen."""
        carried = filled("a")
        carried.clear()
        assert (None, False, 0) == (carried.get("a"), carried.knows("a"), len(carried))

    def test_the_bounds(self) -> None:
        """As the documentation says."""
        assert (256, 64 * 1024 * 1024, 100_000) == (MAX_DOCUMENTS, MAX_BYTES, MAX_KNOWN)


class TestRecent:
    """Batches and standings."""

    def test_a_key_has_one_value(self) -> None:
        """It is made once."""
        recent: Recent[Thing] = Recent()
        thing = recent.get("a", Thing)
        assert thing is recent.get("a", Thing)
        assert thing is not recent.get("b", Thing)

    def test_those_used_last_are_kept(self) -> None:
        """Nobody holds them."""
        recent: Recent[Thing] = Recent(2)
        ids = {key: id(recent.get(key, Thing)) for key in "ab"}
        recent.get("a", Thing)
        recent.get("c", Thing)
        assert ids["a"] == id(recent.get("a", Thing))
        gc.collect()
        assert 2 == len(recent)

    def test_one_that_is_held_stays_the_one(self) -> None:
        """However many others are used meanwhile: two batches of one document would commit beside each other."""
        recent: Recent[Thing] = Recent(1)
        held = recent.get("a", Thing)
        for key in "bcdef":
            recent.get(key, Thing)
        assert held is recent.get("a", Thing)

    def test_one_that_nobody_holds_is_dropped(self) -> None:
        """And made anew when it is wanted."""
        recent: Recent[Thing] = Recent(1)
        recent.get("a", Thing)
        recent.get("b", Thing)
        thing = Thing()
        assert thing is recent.get("a", lambda: thing)


@pytest.fixture(scope="module")
def worked() -> tuple[MemoryStore, Connection]:
    """Give a process that has recorded a file in each schema."""
    store = MemoryStore()
    connection = Connection(Access(bucket="raw"), store=store)
    for number in range(SCHEMAS):
        record(connection, number)
    return store, connection


class TestManySchemas:
    """A process that goes round ten thousand schemas."""

    def test_what_it_keeps_is_bounded(self, worked: tuple[MemoryStore, Connection]) -> None:
        """Documents, batches; the keys alone are many."""
        here = worked[1]._here  # noqa: SLF001 - what it keeps is nobody's business but this test's
        gc.collect()
        assert (MAX_DOCUMENTS, MAX_DOCUMENTS) == (len(here.engine.carried), len(here._batches))  # noqa: SLF001 - as above

    def test_a_document_that_was_dropped_is_read_again(self, worked: tuple[MemoryStore, Connection]) -> None:
        """Numbers go on, at the cost of a read."""
        _, connection = worked
        before = connection.stats.requests["read"]
        assert 2 == record(connection, 0, "b.zip")
        assert 1 == connection.stats.requests["read"] - before

    def test_one_that_was_dropped_is_missed_when_it_is_gone(self, worked: tuple[MemoryStore, Connection]) -> None:
        """That it was there is still known."""
        store, connection = worked
        store.delete(raw_key("schema_1"))
        with pytest.raises(DocumentVanishedError):
            record(connection, 1, "b.zip")


def record(connection: Connection, number: int, file: str = "a.zip") -> int:
    """Record a file in a schema, and return its version."""
    tracker = Tracker.over(connection)
    done = tracker.record(f"schema_{number}", "births", "FY2023", file, file_size=1, s3_location="s3://raw/x")
    return done.version


class Held(MemoryStore):
    """A store whose writes wait."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.leave = threading.Event(), threading.Event()

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object, when the test lets it."""
        self.entered.set()
        assert self.leave.wait(20)
        return super().write(key, body, replacing=replacing, waiting=waiting)


def test_threads_of_a_document_meet_though_many_others_are_used_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit under way keeps its batch."""
    store = Held()
    connection = Connection(Access(bucket="raw"), store=store)
    here = connection._here  # noqa: SLF001 - so that its bound can be a small one
    monkeypatch.setattr(here._batches, "_most", 1)  # noqa: SLF001 - as above
    versions: list[int] = []
    threads = [threading.Thread(target=lambda file=file: versions.append(record(connection, 0, file))) for file in "ab"]
    threads[0].start()
    assert store.entered.wait(20)
    for number in range(1, 4):
        other = threading.Thread(target=record, args=(connection, number))
        threads.append(other)
        other.start()
    threads[1].start()
    store.leave.set()
    for thread in threads:
        thread.join(20)
    assert [1, 2] == sorted(versions)
    assert 0 == connection.stats.conflicts


def test_verdicts_on_stores_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that goes round buckets keeps the verdicts of the last ones; others are examined again."""
    verdicts: dict[tuple[str, str], Quoting] = {}
    monkeypatch.setattr(connection_module, "_proven", verdicts)
    for number in range(300):
        connection_module._note_verdict(("http://store", f"{number}"), Quoting.AS_RECEIVED)  # noqa: SLF001 - no face has so many buckets
    assert 256 == len(verdicts)
    assert ("http://store", "299") in verdicts


def test_wherever_it_is_interrupted_it_goes_on() -> None:
    """No lock is left, and the bounds hold again after the next use."""
    for step in count():
        carried: Carried[str] = filled("a", "b", documents=2)
        recent: Recent[Thing] = Recent(1)

        def act(carried: Carried[str] = carried, recent: Recent[Thing] = recent) -> None:
            carried.put("c", "C", 1)
            carried.get("a")
            carried.get("c")
            recent.get("a", Thing)
            recent.get("b", Thing)

        came = interrupted_at(step, act, under_test)
        carried.put("d", "D", 1)
        assert ("D", 2) == (carried.get("d"), len(carried))
        assert recent.get("c", Thing) is recent.get("c", Thing)
        if not came:
            break
    assert step > 15
