"""The contract of a bucket of files: what uploads and audits rely on, run on the memory twin and on each S3 server."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import BinaryIO, Final

import pytest

from cf_data_tracker.errors import LocalFileError, StoreError
from cf_data_tracker.store import Content, Objects, Unanswered
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.objects import PART, Patiently, S3Objects
from cf_data_tracker.stores.s3 import Quoting, S3Store, open_client
from conftest import access_to
from servers.server import Server
from test_store_contract import keep_versions

PLAIN: Final = "raw"
VERSIONED: Final = "files-with-versions"
CEPH: Final = pytest.mark.ceph
ODD: Final = "Bevölkerung 2024+1 %&=?#<'\">.zip"
LARGE: Final = os.urandom(20 << 20)


@pytest.fixture(params=["memory", "embedded", pytest.param("ceph", marks=CEPH)])
def server(request: pytest.FixtureRequest) -> Server | None:
    """Give one server after the other, the first of which is none: the store in memory."""
    return None if request.param == "memory" else request.getfixturevalue(request.param)


@pytest.fixture
def files(server: Server | None) -> Objects:
    """Give a bucket that keeps no versions."""
    return MemoryStore() if server is None else files_over(server, PLAIN)


@pytest.fixture
def versioned(server: Server | None) -> Objects:
    """Give a bucket that keeps versions. At Ceph 16 it honours no condition."""
    return MemoryStore(versioned=True) if server is None else files_over(server, VERSIONED)


@cache
def files_over(server: Server, bucket: str) -> Objects:
    """Return the files of a server's bucket, the same each time: opening one takes longer than any test here."""
    if bucket == VERSIONED:
        keep_versions(server, bucket)
    client = open_client(access_to(server, bucket))
    # What is conditional here is so by If-None-Match: *, and that has no quotes to differ in.
    return S3Objects(S3Store(client, bucket, Quoting.AS_RECEIVED), bucket, at_once())


def at_once() -> Patiently:
    """Return what asks once."""
    return lambda question: question()


@pytest.fixture
def key(schema: str) -> str:
    """Give a key that no other test uses."""
    return f"{schema}/births/FY2023/q1.zip"


def content(body: bytes, opened: Callable[[], BinaryIO] | None = None) -> Content:
    """Return bytes as what is to be uploaded, perhaps through another reader."""
    md5 = hashlib.md5(body).digest()
    return Content(
        size=len(body), sha256=hashlib.sha256(body).digest(), md5=md5, opened=opened or partial(io.BytesIO, body)
    )


def create(files: Objects, key: str, body: bytes) -> bool:
    """Put an object where there is none; return whether there was none."""
    return files.create(key, content(body), lambda _: None) is not None


class Changing(io.BytesIO):
    """A file that turns out, at its end, not to be what it was."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read on, unless the end is reached."""
        data = super().read(size)
        if self.tell() == len(self.getbuffer()):
            raise LocalFileError("it changed")
        return data


@pytest.mark.parametrize("body", [b"", b"5 bytes", LARGE], ids=["empty", "small", "20 MiB"])
def test_what_was_created_is_told_of(files: Objects, key: str, body: bytes) -> None:
    """Size, ETag, and the SHA-256 that was left with it; the listing shows the same size and ETag."""
    sent: list[int] = []
    etag = files.create(key, content(body), sent.append)
    head = files.head(key)
    assert head is not None
    assert (len(body), etag, hashlib.sha256(body).hexdigest()) == (head.size, head.etag, head.sha256)
    assert not head.encrypted
    (listed,) = files.page(key).objects
    assert (key, head.size, head.etag) == (listed.key, listed.size, listed.etag)
    assert 2 > abs(head.modified - listed.modified)  # a HEAD has seconds
    assert len(body) == sum(sent)
    files.delete(key)


@pytest.mark.parametrize("body", [b"", b"5 bytes", LARGE], ids=["empty", "small", "20 MiB"])
def test_an_object_is_read_through(files: Objects, key: str, body: bytes) -> None:
    """Its SHA-256 is that of its bytes."""
    create(files, key, body)
    assert hashlib.sha256(body).digest() == files.sha256(key)
    files.delete(key)


def test_the_etag_of_a_small_object_is_its_md5(files: Objects, key: str) -> None:
    """An audit compares it with a recorded MD5."""
    create(files, key, b"5 bytes")
    head = files.head(key)
    assert head is not None
    assert hashlib.md5(b"5 bytes").hexdigest() == head.etag


@pytest.mark.parametrize("size", [7, PART + 1], ids=["small", "in parts"])
def test_the_first_to_create_an_object_stays(files: Objects, key: str, size: int) -> None:
    """Creating it once more changes nothing and says so, and so does the one that was first, again."""
    assert create(files, key, b"1" * size)
    assert not create(files, key, b"2" * size)
    assert not create(files, key, b"1" * size)
    assert hashlib.sha256(b"1" * size).digest() == files.sha256(key)
    files.delete(key)


def test_nothing_is_told_of_a_missing_object(files: Objects, key: str) -> None:
    """Neither head, nor bytes, nor versions, and a page of it is empty."""
    assert files.head(key) is None
    assert files.sha256(key) is None
    assert [] == list(files.versions(key))
    page = files.page(key)
    assert ([], False) == (list(page.objects), page.more)


@pytest.mark.parametrize("size", [7, 3 * PART], ids=["small", "in parts"])
def test_a_file_that_changes_while_it_is_sent_leaves_nothing(files: Objects, key: str, size: int) -> None:
    """The error of whoever reads it comes through; what was told of as sent is taken back."""
    sent: list[int] = []
    body = os.urandom(size)
    with pytest.raises(LocalFileError, match="it changed"):
        files.create(key, content(body, partial(Changing, body)), sent.append)
    assert files.head(key) is None
    assert 0 == sum(sent)
    assert create(files, key, body)
    files.delete(key)


@CEPH
@pytest.mark.parametrize("server", ["ceph"], indirect=True)
@pytest.mark.parametrize("size", [5, 3 * PART], ids=["small", "in parts"])
def test_what_arrives_damaged_is_not_kept(files: Objects, key: str, size: int) -> None:
    """The store compares the bytes with the checksum, and does not take others; the embedded S3 does not compare."""
    damaged = content(b"1" * size, partial(io.BytesIO, b"2" * size))
    with pytest.raises(Unanswered, match="BadDigest"):
        files.create(key, damaged, lambda _: None)
    assert files.head(key) is None


def test_a_deleted_object_is_gone_and_may_be_deleted_again(files: Objects, key: str) -> None:
    """Deleting what is not there is no error, and the key can be used again."""
    create(files, key, b"x")
    files.delete(key)
    files.delete(key, f"{key}.none")
    assert files.head(key) is None
    assert create(files, key, b"y")


def test_an_object_is_deleted_if_it_is_as_it_was(files: Objects, key: str) -> None:
    """With another ETag it stays; once it is gone, that is so whatever the ETag. A store may know no condition."""
    create(files, key, b"x")
    head = files.head(key)
    assert head is not None
    if files.delete_unchanged(key, head.etag[::-1]) is None:  # nothing was deleted then
        assert files.delete_unchanged(key, head.etag) is None
        assert files.head(key) == head
        files.delete(key)
        return
    assert files.head(key) == head
    assert files.delete_unchanged(key, head.etag)
    assert files.head(key) is None
    assert files.delete_unchanged(key, head.etag)


def test_an_object_tells_its_version_where_versions_are_kept(files: Objects, versioned: Objects, key: str) -> None:
    """Each write has another one."""
    create(files, key, b"x")
    create(versioned, key, b"x")
    there, first = files.head(key), versioned.head(key)
    versioned.delete(key)
    create(versioned, key, b"x")
    second = versioned.head(key)
    assert there is not None
    assert there.version is None
    assert first is not None
    assert second is not None
    assert first.etag == second.etag
    assert len({None, first.version, second.version}) == 3
    files.delete(key)
    versioned.delete(key)


def folders(files: Objects) -> list[str]:
    """Return the folders at the top of a bucket, page by page."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = files.folders(after=after)
        found += page.names
        after = page.after
    return found


def test_the_folders_at_the_top_are_listed_once_each(files: Objects, schema: str) -> None:
    """In the order of their bytes, whatever is in them; objects at the top are none."""
    keys = [f"{schema}/a", f"{schema}/b/c", f"{schema}-2/a", f"{schema}!/a", f"{schema}.top", f"{schema} é/x"]
    for key in keys:
        create(files, key, b"")
    found = [name for name in folders(files) if name.startswith(schema)]
    assert sorted([f"{schema} é", f"{schema}!", f"{schema}-2", schema], key=lambda name: f"{name}/") == found
    files.delete(*keys)


def test_more_folders_than_a_page_has_are_listed(files: Objects, schema: str) -> None:
    """As are those between objects at the top, of which a page may have nothing else."""
    keys = [*(f"{schema}-{number:04}/x" for number in range(1003)), f"{schema}-0500!", f"{schema}-05000", f"{schema}-1"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: create(files, key, b""), keys))
    found = [name for name in folders(files) if name.startswith(schema)]
    assert [f"{schema}-{number:04}" for number in range(1003)] == found
    files.delete(*keys[:1000])
    files.delete(*keys[1000:])


@pytest.fixture
def many(files: Objects, schema: str) -> Iterator[list[str]]:
    """Give the keys of more objects than a page has, of which some begin as the prefix does and are not under it."""
    keys = [f"{schema}/{number:04}" for number in range(1003)]
    others = [f"{schema}!", f"{schema}0"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: create(files, key, b""), [*keys, *others]))
    yield keys
    files.delete(*keys[:1000])
    files.delete(*keys[1000:], *others)


def test_a_listing_comes_in_pages(files: Objects, schema: str, many: list[str]) -> None:
    """A page has up to 1,000 objects; the next begins after the last of them, until there are no more."""
    first = files.page(f"{schema}/")
    assert many[:1000] == [one.key for one in first.objects]
    assert first.more
    second = files.page(f"{schema}/", after=many[999])
    assert many[1000:] == [one.key for one in second.objects]
    assert not second.more


def test_a_listing_can_begin_anywhere(files: Objects, schema: str, many: list[str]) -> None:
    """After a key that is not there as well, and before all of them."""
    page = files.page(f"{schema}/", after=f"{schema}/0999~")
    assert many[1000:] == [one.key for one in page.objects]
    assert many[:1000] == [one.key for one in files.page(f"{schema}/", after=schema).objects]
    assert [] == list(files.page(f"{schema}/", after=f"{schema}/2").objects)


def test_keys_come_in_the_order_of_their_bytes(files: Objects, schema: str) -> None:
    """It is that of Python's text, beyond the first 65,536 characters as well, where UTF-16 has another."""
    keys = sorted(
        f"{schema}/{name}" for name in ("a", "B", "é", "\N{FULLWIDTH LATIN CAPITAL LETTER A}", "\N{GRINNING FACE}")
    )
    for key in keys:
        create(files, key, b"")
    assert keys == [one.key for one in files.page(f"{schema}/").objects]
    files.delete(*keys)


def test_any_name_can_be_that_of_an_object(files: Objects, schema: str) -> None:
    """What a URL or XML would have to escape is in the key as it is."""
    odd = f"{schema}/{ODD}"
    assert create(files, odd, b"5 bytes")
    assert [odd] == [one.key for one in files.page(f"{schema}/").objects]
    assert [] == list(files.page(f"{schema}/", after=odd).objects)
    assert files.head(odd) is not None
    assert hashlib.sha256(b"5 bytes").digest() == files.sha256(odd)
    files.delete(odd)
    assert files.head(odd) is None


def test_versions_are_kept_the_oldest_first(versioned: Objects, key: str) -> None:
    """Each has its bytes; what was deleted is marked so, and the last of them is what is there now."""
    for body in (b"1", b"2", b"3"):
        assert create(versioned, key, body)
        versioned.delete(key)
    create(versioned, key, b"4")
    kept = versioned.versions(key)
    bodies = [versioned.read_version(key, one.version) for one in kept if not one.marker]
    assert [b"1", b"2", b"3", b"4"] == bodies
    assert 3 == sum(one.marker for one in kept)
    assert not kept[-1].marker
    assert sorted(one.modified for one in kept) == [one.modified for one in kept]
    versioned.delete(key)
    assert versioned.versions(key)[-1].marker


def test_versions_are_those_of_one_key_alone(versioned: Objects, key: str) -> None:
    """Others whose keys begin with it have versions of their own."""
    for other in (f"{key}.bak", f"{key}/part", key):
        create(versioned, other, b"x")
    assert 1 == len(versioned.versions(key))


def test_a_version_that_is_not_kept_reads_as_nothing(versioned: Objects, key: str) -> None:
    """One of another key, say."""
    create(versioned, key, b"x")
    (kept,) = versioned.versions(key)
    assert b"x" == versioned.read_version(key, kept.version)
    assert versioned.read_version(f"{key}.none", kept.version) is None


def test_a_bucket_that_keeps_no_versions_says_that_there_are_none(files: Objects, key: str) -> None:
    """Whether the object is there or not."""
    create(files, key, b"x")
    assert [] == list(files.versions(key))
    files.delete(key)
    assert [] == list(files.versions(key))


@pytest.mark.parametrize("server", ["embedded", pytest.param("ceph", marks=CEPH)], indirect=True)
def test_a_missing_bucket_is_an_error_that_says_so(server: Server, key: str) -> None:
    """A bucket that is not there is to be created or spelt right; it is not an absent object."""
    files = files_over(server, "no-such-bucket")
    for ask in (
        lambda: files.page("x/"),
        lambda: files.sha256(key),
        lambda: create(files, key, b"x"),
        lambda: create(files, key, LARGE),
        lambda: files.versions(key),
        lambda: files.read_version(key, "1"),
    ):
        with pytest.raises(StoreError, match="no such bucket"):
            ask()
