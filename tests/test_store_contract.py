"""The contract of a store: what the engine relies on, run on the memory twin and on each S3 server alike."""

import json
import threading
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache, partial
from typing import Final

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import DocumentVanishedError, StoreError
from cf_data_tracker.store import ANYTHING, DELETED, UNCHANGED, Conflict, Store, Stored, TooLarge, Unanswered
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.s3 import open_client
from conftest import access_to, make_bucket
from servers.server import Server

PLAIN: Final = "raw"
VERSIONED: Final = "versioned"
ODD: Final = "Bevölkerung 2024+1 %&=?#<'\">.json"


CEPH: Final = pytest.mark.ceph


@pytest.fixture(
    params=[
        ("memory", PLAIN),
        ("memory", VERSIONED),
        ("embedded", PLAIN),
        ("embedded", VERSIONED),
        pytest.param(("ceph", PLAIN), marks=CEPH),  # of its versioned buckets see `store_over`
    ],
    ids="-".join,
)
def store(request: pytest.FixtureRequest) -> Store:
    """Give one store after the other, over buckets that keep versions and those that do not."""
    name, bucket = request.param
    return store_in(None if name == "memory" else request.getfixturevalue(name), bucket)


@pytest.fixture(params=["memory", "embedded", pytest.param("ceph", marks=CEPH)])
def server(request: pytest.FixtureRequest) -> Server | None:
    """Give one server after the other, the first of which is none: the store in memory."""
    return None if request.param == "memory" else request.getfixturevalue(request.param)


@pytest.fixture
def plain(server: Server | None) -> Store:
    """Give a store that keeps no versions."""
    return store_in(server, PLAIN)


@pytest.fixture
def versioned(server: Server | None) -> Store:
    """Give a store that keeps versions, and need not honour conditions."""
    return store_in(server, VERSIONED)


def store_in(server: Server | None, bucket: str) -> Store:
    """Return the store over a bucket, which is made if need be."""
    return MemoryStore(versioned=bucket == VERSIONED) if server is None else store_over(server, bucket)


@cache
def store_over(server: Server, bucket: str) -> Store:
    """Return the store over a server's bucket, the same each time: opening one takes longer than any test here.

    It has been examined, so it knows which ETags to send; though not where versions are kept, for there Ceph 16
    honours no condition, and is refused. What can be listed, deleted and erased is no matter of conditions.
    """
    connection = Connection(access_to(server, bucket))
    if bucket == PLAIN:
        connection.prove()
    else:
        keep_versions(server, bucket)
    return connection.store


def keep_versions(server: Server, bucket: str) -> None:
    """Make a bucket that keeps versions."""
    make_bucket(server, bucket)
    with closing(open_client(access_to(server, bucket))) as client:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def markers(server: Server | None, store: Store, prefix: str) -> list[str]:
    """Return the keys under a prefix in whose place is a marker."""
    if server is None:
        assert isinstance(store, MemoryStore)
        return [key for key in store.markers if key.startswith(prefix)]
    with closing(open_client(access_to(server, VERSIONED))) as client:
        answer = client.list_object_versions(Bucket=VERSIONED, Prefix=prefix)
    return [marker["Key"] for marker in answer.get("DeleteMarkers", ())]


def marker_versions(server: Server | None, store: Store, key: str) -> list[str]:
    """Return the ids of the delete markers of a key."""
    if server is None:
        assert isinstance(store, MemoryStore)
        return [kept.version for kept in store.versions(key) if kept.marker]
    with closing(open_client(access_to(server, VERSIONED))) as client:
        answer = client.list_object_versions(Bucket=VERSIONED, Prefix=key)
    return [marker["VersionId"] for marker in answer.get("DeleteMarkers", ())]


@pytest.fixture
def many(plain: Store, key: str) -> Iterator[list[str]]:
    """Give the keys of more objects than one request lists or deletes."""
    keys = [f"{key}/{number:04}" for number in range(1003)]
    write_all(plain, keys)
    yield keys
    plain.delete(*keys[:1000])
    plain.delete(*keys[1000:])


def write_all(store: Store, keys: list[str]) -> None:
    """Make these objects, all of them empty."""
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.write(key, b"", replacing=ANYTHING), keys))


@pytest.fixture
def key(schema: str) -> str:
    """Give a key that no other test uses."""
    return f"{schema}/document.json"


def body_of(store: Store, key: str) -> bytes | None:
    """Return what is there."""
    there = store.read(key)
    return there.body if isinstance(there, Stored) else None


def note_of(store: Store, key: str) -> int:
    """Return how many others its writer has seen waiting."""
    there = store.read(key)
    assert isinstance(there, Stored)
    return there.waiting


def test_a_missing_object_reads_as_nothing(store: Store, key: str) -> None:
    """Where there is no object, a read gives `None`."""
    assert store.read(key) is None


def test_what_was_written_is_read_with_its_etag(store: Store, key: str) -> None:
    """A read gives the bytes, and the ETag that the write gave; where versions are kept, that too."""
    written = store.write(key, b'{"a": 1}', replacing=None)
    assert Stored(body=b'{"a": 1}', etag=written.etag, version=written.version) == store.read(key)


def test_a_note_is_read_with_what_it_was_written_with(store: Store, key: str) -> None:
    """It belongs to that write alone, as the ETag does: the next one leaves its own, or none."""
    etag = store.write(key, b"1", replacing=None, waiting=7).etag
    assert 7 == note_of(store, key)
    store.write(key, b"2", replacing=etag)
    assert 0 == note_of(store, key)
    store.write(key, b"3", replacing=ANYTHING, waiting=1000)
    assert 1000 == note_of(store, key)


def test_a_create_only_write_onto_an_object_conflicts(store: Store, key: str) -> None:
    """`replacing=None` says that there must be nothing there."""
    store.write(key, b"first", replacing=None)
    with pytest.raises(Conflict):
        store.write(key, b"second", replacing=None)
    assert body_of(store, key) == b"first"


def test_a_write_replaces_what_its_etag_names(store: Store, key: str) -> None:
    """The ETag of the last write, or of a read, lets the next one through."""
    etag = store.write(key, b"first", replacing=None).etag
    etag = store.write(key, b"second", replacing=etag).etag
    there = store.read(key)
    assert isinstance(there, Stored)
    assert etag == there.etag
    store.write(key, b"third", replacing=there.etag)
    assert body_of(store, key) == b"third"


def test_a_stale_etag_conflicts(store: Store, key: str) -> None:
    """An ETag of what is no longer there lets nothing through."""
    stale = store.write(key, b"first", replacing=None).etag
    store.write(key, b"second", replacing=stale)
    with pytest.raises(Conflict):
        store.write(key, b"third", replacing=stale)
    assert body_of(store, key) == b"second"


def test_an_etag_creates_nothing(store: Store, key: str) -> None:
    """Where the object is gone, a write that names an ETag is refused: as vanished, or as a conflict."""
    etag = store.write(key, b"first", replacing=None).etag
    store.delete(key)
    with pytest.raises((Conflict, DocumentVanishedError)):
        store.write(key, b"second", replacing=etag)
    assert body_of(store, key) is None


def test_a_conditional_read_says_that_nothing_has_changed(store: Store, key: str) -> None:
    """`unless` saves the bytes of an object that still is the same."""
    etag = store.write(key, b"first", replacing=None).etag
    assert store.read(key, unless=etag) is UNCHANGED
    store.write(key, b"second", replacing=etag)
    changed = store.read(key, unless=etag)
    assert isinstance(changed, Stored)
    assert changed.body == b"second"


def test_a_conditional_read_of_nothing_is_nothing(store: Store, key: str) -> None:
    """An object that is gone is not unchanged."""
    etag = store.write(key, b"first", replacing=None).etag
    store.delete(key)
    assert store.read(key, unless=etag) in (None, DELETED)


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
    odd = f"{key}/{ODD}"
    store.write(odd, b"x", replacing=None)
    assert body_of(store, odd) == b"x"
    assert [odd] == store.list(f"{key}/")


def test_a_list_gives_the_keys_under_a_prefix_in_order(store: Store, key: str) -> None:
    """Keys come in the order of their bytes, and a prefix that ends with a slash does not see its neighbours."""
    for name in ("a/2", "a/10", "ab/1", "a/é"):
        store.write(f"{key}/{name}", b"x", replacing=None)
    assert [f"{key}/a/{name}" for name in ("10", "2", "é")] == store.list(f"{key}/a/")
    assert store.list(f"{key}/none/") == []


def test_a_list_goes_on_after_a_key(store: Store, key: str) -> None:
    """`after` leaves out what comes up to a key, whether that is there or not, in the order of bytes."""
    for name in ("10", "2", "é"):
        store.write(f"{key}/{name}", b"x", replacing=None)
    listed = [f"{key}/{name}" for name in ("10", "2", "é")]
    assert listed[1:] == store.list(f"{key}/", after=f"{key}/10")
    assert listed[1:] == store.list(f"{key}/", after=f"{key}/1z")
    assert listed[2:] == store.list(f"{key}/", after=f"{key}/3")
    assert [] == store.list(f"{key}/", after=f"{key}/é")


def test_a_list_after_a_key_stays_under_its_prefix(store: Store, key: str) -> None:
    """A key before all of the prefix leaves out nothing, and one behind them everything."""
    for name in ("a/1", "b/1", "b/2", "c/1"):
        store.write(f"{key}/{name}", b"x", replacing=None)
    assert [f"{key}/b/1", f"{key}/b/2"] == store.list(f"{key}/b/", after=f"{key}/a/0")
    assert [f"{key}/b/1", f"{key}/b/2"] == store.list(f"{key}/b/", after=f"{key}/b/")
    assert [] == store.list(f"{key}/b/", after=f"{key}/c/0")


def test_a_list_is_read_in_pages_of_a_thousand(plain: Store, key: str, many: list[str]) -> None:
    """One request gives 1,000 keys, and the next, after the last of them, the rest."""
    page = plain.list(f"{key}/")
    assert many[:1000] == page
    assert many[1000:] == plain.list(f"{key}/", after=page[-1])


def test_a_thousand_objects_are_deleted_in_one_request(plain: Store, key: str, many: list[str]) -> None:
    """As many as one page of a list has."""
    plain.delete(*many[:1000])
    assert many[1000:] == plain.list(f"{key}/")


def test_many_objects_are_deleted_at_once_though_some_are_not_there(store: Store, key: str) -> None:
    """Deleting what is not there is no error, and hides nothing of the others; any key can be deleted so."""
    names = ("a", "b", "c", ODD)
    for name in names:
        store.write(f"{key}/{name}", b"x", replacing=None)
    store.delete(f"{key}/none", f"{key}/a", f"{key}/nor this", f"{key}/c", f"{key}/{ODD}")
    assert [f"{key}/b"] == store.list(f"{key}/")


def test_deleting_nothing_deletes_nothing(store: Store, key: str) -> None:
    """No keys are no error."""
    store.write(key, b"x", replacing=None)
    store.delete()
    assert body_of(store, key) == b"x"


def test_a_write_says_its_version_where_versions_are_kept(versioned: Store, key: str) -> None:
    """Each write has one of its own, though its bytes be the same."""
    first = versioned.write(key, b"", replacing=ANYTHING)
    second = versioned.write(key, b"", replacing=ANYTHING)
    assert first.version
    assert second.version
    assert first.version != second.version


def test_a_write_has_no_version_where_none_are_kept(plain: Store, key: str) -> None:
    """So the writer learns that a plain delete leaves nothing behind."""
    assert plain.write(key, b"x", replacing=None).version is None


def test_what_is_deleted_leaves_a_marker_where_versions_are_kept(
    server: Server | None, versioned: Store, key: str
) -> None:
    """One by one and many at once."""
    write_all(versioned, [f"{key}/1", f"{key}/2", f"{key}/3"])
    versioned.delete(f"{key}/1")
    versioned.delete(f"{key}/2", f"{key}/3")
    assert [f"{key}/1", f"{key}/2", f"{key}/3"] == markers(server, versioned, key)


def test_what_is_erased_leaves_no_marker(server: Server | None, versioned: Store, key: str) -> None:
    """Erasing the only version of an object leaves nothing."""
    erase(versioned, key, versioned.write(key, b"x", replacing=ANYTHING).version)
    assert versioned.read(key) is None
    assert [] == versioned.list(key)
    assert [] == markers(server, versioned, key)


def test_a_version_may_be_erased_again(versioned: Store, key: str) -> None:
    """Erasing what is gone is no error."""
    version = versioned.write(key, b"x", replacing=ANYTHING).version
    erase(versioned, key, version)
    erase(versioned, key, version)
    assert versioned.read(key) is None


def test_erasing_a_version_brings_back_the_one_before(versioned: Store, key: str) -> None:
    """A version hides those that it replaced, as those of a write that was sent twice because its answer was lost."""
    versioned.write(key, b"first", replacing=ANYTHING)
    erase(versioned, key, versioned.write(key, b"second", replacing=ANYTHING).version)
    assert body_of(versioned, key) == b"first"
    assert [key] == versioned.list(key)


def test_erasing_an_older_version_changes_nothing_for_readers(versioned: Store, key: str) -> None:
    """Only the named version goes."""
    first = versioned.write(key, b"first", replacing=ANYTHING)
    versioned.write(key, b"second", replacing=ANYTHING)
    erase(versioned, key, first.version)
    assert body_of(versioned, key) == b"second"


@pytest.mark.parametrize("size", [1023, 1024])
def test_a_key_may_carry_a_payload(store: Store, key: str, size: int) -> None:
    """An inbox entry's key is up to 1,024 bytes, the last of them base64 as URLs have it."""
    inbox = f"_cf_tracker/inbox/{key}/"
    payload = urlsafe_b64encode(bytes(range(256)) * 4).decode()
    assert {"-", "_"} < set(payload)
    entry = f"{inbox}{'0123456789abcdef' * 2}.{payload}"[:size]
    store.write(entry, b"", replacing=ANYTHING)
    assert [entry] == store.list(inbox)
    assert [entry] == store.list(inbox, after=entry[:-1])
    assert [] == store.list(inbox, after=entry)
    assert body_of(store, entry) == b""
    store.delete(entry, f"{inbox}none")
    assert [] == store.list(inbox)


def test_a_deleted_object_is_gone_and_may_be_deleted_again(store: Store, key: str) -> None:
    """Deleting what is not there is no error."""
    store.write(key, b"x", replacing=None)
    store.delete(key)
    store.delete(key)
    assert body_of(store, key) is None


@pytest.mark.parametrize("name", ["memory", "embedded", pytest.param("ceph", marks=CEPH)])
def test_where_versions_are_kept_a_deleted_object_reads_as_deleted(
    request: pytest.FixtureRequest, name: str, key: str
) -> None:
    """Ceph is not asked to say so: there it may read as an object that never was."""
    store = store_in(None if name == "memory" else request.getfixturevalue(name), VERSIONED)
    store.write(key, b"x", replacing=ANYTHING)
    store.delete(key)
    assert store.read(key) in ((None, DELETED) if name == "ceph" else (DELETED,))
    store.write(key, b"y", replacing=ANYTHING)
    assert b"y" == body_of(store, key)


def test_where_no_versions_are_kept_a_deleted_object_reads_as_nothing(plain: Store, key: str) -> None:
    """Nobody there knows that there was one."""
    plain.write(key, b"x", replacing=None)
    plain.delete(key)
    assert plain.read(key) is None


def test_a_marker_that_is_deleted_with_all_versions_hides_nothing(server: Server | None, key: str) -> None:
    """Then the object never was, as far as anybody can say."""
    store = store_in(server, VERSIONED)
    version = store.write(key, b"x", replacing=ANYTHING).version
    store.delete(key)
    assert version is not None
    store.erase(key, version)
    for marker in marker_versions(server, store, key):
        store.erase(key, marker)
    assert store.read(key) is None


def test_an_object_that_is_too_large_is_not_received(store: Store, key: str) -> None:
    """`most` bounds what a reader takes."""
    etag = store.write(key, b"12345", replacing=None).etag
    there = store.read(key, most=5)
    assert isinstance(there, Stored)
    assert b"12345" == there.body
    with pytest.raises(TooLarge):
        store.read(key, most=4)
    assert store.read(key, most=4, unless=etag) is UNCHANGED
    assert b"12345" == body_of(store, key)


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


def erase(store: Store, key: str, version: str | None) -> None:
    """Erase the version that a write was answered with."""
    assert version is not None
    store.erase(key, version)


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
