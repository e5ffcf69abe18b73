"""The contract of a store: what the engine relies on, run on the memory twin and on each S3 server alike."""

import json
import threading
from collections.abc import Callable
from functools import partial

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import DocumentVanishedError, StoreError
from cf_data_tracker.store import ANYTHING, UNCHANGED, Conflict, Store, Stored, Unanswered
from cf_data_tracker.stores.memory import MemoryStore
from conftest import access_to


@pytest.fixture(params=["memory", "embedded", pytest.param("ceph", marks=pytest.mark.ceph)])
def store(request: pytest.FixtureRequest) -> Store:
    """Give one store after the other; a server's has been examined, so it knows which ETags to send."""
    if request.param == "memory":
        return MemoryStore()
    connection = Connection(access_to(request.getfixturevalue(request.param)))
    connection.prove()
    return connection.store


@pytest.fixture
def key(schema: str) -> str:
    """Give a key that no other test uses."""
    return f"{schema}/document.json"


def body_of(store: Store, key: str) -> bytes | None:
    """Return what is there."""
    there = store.read(key)
    return there.body if isinstance(there, Stored) else None


def test_a_missing_object_reads_as_nothing(store: Store, key: str) -> None:
    """Where there is no object, a read gives `None`."""
    assert store.read(key) is None


def test_what_was_written_is_read_with_its_etag(store: Store, key: str) -> None:
    """A read gives the bytes, and the ETag that the write gave."""
    etag = store.write(key, b'{"a": 1}', replacing=None)
    assert Stored(body=b'{"a": 1}', etag=etag) == store.read(key)


def test_a_create_only_write_onto_an_object_conflicts(store: Store, key: str) -> None:
    """`replacing=None` says that there must be nothing there."""
    store.write(key, b"first", replacing=None)
    with pytest.raises(Conflict):
        store.write(key, b"second", replacing=None)
    assert body_of(store, key) == b"first"


def test_a_write_replaces_what_its_etag_names(store: Store, key: str) -> None:
    """The ETag of the last write, or of a read, lets the next one through."""
    etag = store.write(key, b"first", replacing=None)
    etag = store.write(key, b"second", replacing=etag)
    there = store.read(key)
    assert isinstance(there, Stored)
    assert etag == there.etag
    store.write(key, b"third", replacing=there.etag)
    assert body_of(store, key) == b"third"


def test_a_stale_etag_conflicts(store: Store, key: str) -> None:
    """An ETag of what is no longer there lets nothing through."""
    stale = store.write(key, b"first", replacing=None)
    store.write(key, b"second", replacing=stale)
    with pytest.raises(Conflict):
        store.write(key, b"third", replacing=stale)
    assert body_of(store, key) == b"second"


def test_an_etag_creates_nothing(store: Store, key: str) -> None:
    """Where the object is gone, a write that names an ETag is refused: as vanished, or as a conflict."""
    etag = store.write(key, b"first", replacing=None)
    store.delete(key)
    with pytest.raises((Conflict, DocumentVanishedError)):
        store.write(key, b"second", replacing=etag)
    assert store.read(key) is None


def test_a_conditional_read_says_that_nothing_has_changed(store: Store, key: str) -> None:
    """`unless` saves the bytes of an object that still is the same."""
    etag = store.write(key, b"first", replacing=None)
    assert store.read(key, unless=etag) is UNCHANGED
    store.write(key, b"second", replacing=etag)
    changed = store.read(key, unless=etag)
    assert isinstance(changed, Stored)
    assert changed.body == b"second"


def test_a_conditional_read_of_nothing_is_nothing(store: Store, key: str) -> None:
    """An object that is gone is not unchanged."""
    etag = store.write(key, b"first", replacing=None)
    store.delete(key)
    assert store.read(key, unless=etag) is None


def test_a_write_may_replace_anything(store: Store, key: str) -> None:
    """`ANYTHING` is the blind write, for showing what it loses."""
    store.write(key, b"first", replacing=ANYTHING)
    store.write(key, b"second", replacing=ANYTHING)
    assert body_of(store, key) == b"second"


@pytest.mark.parametrize("body", [b"", b"\x00\xff" * 512 * 1024], ids=["empty", "1 MiB"])
def test_bodies_come_back_as_they_were(store: Store, key: str, body: bytes) -> None:
    """A body is bytes, whatever they are."""
    store.write(key, body, replacing=None)
    assert body == body_of(store, key)


def test_keys_may_hold_any_text(store: Store, key: str) -> None:
    """A key is UTF-8: spaces, accents and signs that URLs escape are part of it."""
    odd = f"{key}/Bevölkerung 2024+1 %&=?#.json"
    store.write(odd, b"x", replacing=None)
    assert body_of(store, odd) == b"x"
    assert [odd] == store.list(f"{key}/")


def test_a_list_gives_the_keys_under_a_prefix_in_order(store: Store, key: str) -> None:
    """Keys come in the order of their bytes, and a prefix that ends with a slash does not see its neighbours."""
    for name in ("a/2", "a/10", "ab/1", "a/é"):
        store.write(f"{key}/{name}", b"x", replacing=None)
    assert [f"{key}/a/{name}" for name in ("10", "2", "é")] == store.list(f"{key}/a/")
    assert store.list(f"{key}/none/") == []


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: Store, key: str) -> None:
    """Deleting what is not there is no error."""
    store.write(key, b"x", replacing=None)
    store.delete(key)
    store.delete(key)
    assert store.read(key) is None


def test_one_of_many_writers_wins_each_round(store: Store, key: str) -> None:
    """Of 16 writers at once that name one ETag, at most one is told that it won, and its body is there."""
    store.write(key, b"start", replacing=None)
    for number in range(10):
        there = store.read(key)
        assert isinstance(there, Stored)
        bodies = [f"{number}-{racer}".encode() for racer in range(16)]
        won = [body for body, win in zip(bodies, _race(store, key, bodies, there.etag), strict=True) if win]
        assert len(won) <= 1
        assert not won or won == [body_of(store, key)]


def test_a_counter_that_many_raise_loses_nothing(store: Store, key: str) -> None:
    """Eight writers that each add five marks, by conditional writes alone, leave forty, each of them once."""
    store.write(key, b"[]", replacing=None)

    def add(mark: str) -> None:
        while True:
            there = store.read(key)
            assert isinstance(there, Stored)
            marks = json.loads(there.body)
            if mark in marks:  # a write whose answer was lost
                return
            try:
                store.write(key, json.dumps([*marks, mark]).encode(), replacing=there.etag)
            except (Conflict, Unanswered):
                continue
            return

    def add_all(worker: int) -> None:
        for number in range(5):
            add(f"{worker}-{number}")

    _together([partial(add_all, worker) for worker in range(8)])
    marks = json.loads(body_of(store, key) or b"")
    assert sorted(f"{worker}-{n}" for worker in range(8) for n in range(5)) == sorted(marks)


def test_a_missing_bucket_is_an_error_that_says_so(server_of_any_kind: Connection, key: str) -> None:
    """A bucket that is not there is to be created or spelt right; it is not an absent object."""
    for ask in (
        lambda: server_of_any_kind.store.read(key),
        lambda: server_of_any_kind.store.write(key, b"x", replacing=None),
        lambda: server_of_any_kind.store.list("x/"),
    ):
        with pytest.raises(StoreError, match="no such bucket"):
            ask()


@pytest.fixture(params=["embedded", pytest.param("ceph", marks=pytest.mark.ceph)])
def server_of_any_kind(request: pytest.FixtureRequest) -> Connection:
    """Give a connection to a bucket that is not there."""
    return Connection(access_to(request.getfixturevalue(request.param), "no-such-bucket"))


def _race(store: Store, key: str, bodies: list[bytes], etag: str) -> list[bool]:
    barrier, won = threading.Barrier(len(bodies)), [False] * len(bodies)

    def write(racer: int) -> None:
        barrier.wait()
        try:
            store.write(key, bodies[racer], replacing=etag)
        except (Conflict, Unanswered):
            return
        won[racer] = True

    _together([partial(write, racer) for racer in range(len(bodies))])
    return won


def _together(acts: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
