"""Uploading: once there and once recorded, whatever breaks off, changes, or is there before.

What befalls a request is told to a bucket in memory; what is sent, and what its answers mean, is looked at between
boto3 and the embedded S3.
"""

import bz2
import errno
import gzip
import hashlib
import io
import itertools
import lzma
import os
import signal
import socket
import tarfile
import tempfile
import threading
import traceback
import urllib.request
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import pytest
import requests
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.response import StreamingBody

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import versions_of
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import (
    DeniedError,
    DifferentContentError,
    InvalidNameError,
    LocalFileError,
    SameContentError,
    StoreError,
    TooLargeError,
    TrackerError,
    UnsafeStoreError,
)
from cf_data_tracker.model import FileVersion, Recorded
from cf_data_tracker.names import raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import Content, Head, Progress
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.tracker import Tracker
from cf_data_tracker.upload import NewUpload
from conftest import access_to
from fates import Fate, FatefulStore
from servers import proxy
from servers.server import Server

if TYPE_CHECKING:
    from botocore.compat import HTTPHeaders
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef as Part

ACCESS: Final = Access(bucket="raw", access_key="AKIDSECRET", secret_key="hush-hush", session_token="hush-token")
MIB: Final = 1 << 20
LARGE: Final = 17 * MIB  # three parts
KEY: Final = "vitals/births/FY2023/a.zip"


class Bucket(FatefulStore):
    """A bucket in memory whose files meet fates, too: kinds `create`, `head` and `sha256`."""

    def __init__(self, *, creates: Iterable[Fate] = (), writes: Iterable[Fate] = ()) -> None:
        self.memory = MemoryStore()
        super().__init__(self.memory, writes=writes)
        self._fates |= {"create": list(creates), "head": [], "sha256": []}

    def head(self, key: str) -> Head | None:
        """Tell of an object."""
        return self._met("head", lambda: self.memory.head(key))

    def sha256(self, key: str) -> bytes | None:
        """Read an object through."""
        return self._met("sha256", lambda: self.memory.sha256(key))

    def create(self, key: str, content: Content, progress: Progress) -> str | None:
        """Put an object where there is none."""
        return self._met("create", lambda: self.memory.create(key, content, progress))

    def body(self, key: str = KEY) -> bytes | None:
        """Return what is there."""
        there = self.memory.read(key)
        return getattr(there, "body", None)

    @property
    def asked(self) -> Counter[str]:
        """How often it was asked for what."""
        return Counter(self.calls)


def over(bucket: Bucket, *, seconds: float = 5.0) -> Tracker:
    """Return a tracker over a bucket in memory."""
    return Tracker.over(Connection(ACCESS, store=bucket, patience=Patience(first=0.001, longest=0.01, seconds=seconds)))


def upload(tracker: Tracker, content: str | Path | IO[bytes] | bytes, file: str = "a.zip", **options: Any) -> Recorded:  # noqa: ANN401 - of `upload`
    """Upload a file, or some bytes, into births/FY2023."""
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    schema = options.pop("schema", "vitals")
    return tracker.upload(source, schema, "births", "FY2023", file=file, **options)


def new(content: bytes | Path, file: str, **options: Any) -> NewUpload:  # noqa: ANN401 - of `NewUpload`
    """Return a file to be uploaded into births/FY2023."""
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    schema = options.pop("schema", "vitals")
    return NewUpload(path_or_file=source, schema=schema, table="births", file_name="FY2023", file=file, **options)


def recorded(tracker: Tracker, schema: str = "vitals") -> dict[str, FileVersion]:
    """Return what is recorded, by file; no file may be there twice."""
    versions = list(versions_of(tracker.document(schema), schema))
    assert list(range(1, len(versions) + 1)) == [version.version for version in versions]
    by_file = {version.file: version for version in versions}
    assert len(versions) == len(by_file)
    return by_file


def sha256(content: bytes) -> str:
    """Return a checksum as it is recorded."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def bucket() -> Bucket:
    """Give an empty bucket in memory."""
    return Bucket()


@pytest.fixture
def tracker(bucket: Bucket) -> Tracker:
    """Give a tracker over it."""
    return over(bucket)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give a small file on disk."""
    path = tmp_path / "a.zip"
    path.write_bytes(b"some bytes")
    return path


class TestOnce:
    """Each file is sent once and recorded once."""

    def test_a_file_is_put_there_and_recorded(self, tracker: Tracker, bucket: Bucket, path: Path) -> None:
        """The file is in the bucket under its names, and the record says where, how large, and what it holds."""
        done = tracker.upload(path, "vitals", "births", "FY2023", fyear="FY23", upload_date="2024-03-01")
        assert (1, True, "a.zip", None) == (done.version, done.created, done.file, done.same_content_as)
        assert b"some bytes" == bucket.body()
        there = recorded(tracker)["a.zip"]
        assert (10, f"s3://raw/{KEY}", sha256(b"some bytes")) == (there.file_size, there.s3_location, there.checksum)
        assert (hashlib.md5(b"some bytes").hexdigest(), "FY23", "2024-03-01") == (
            there.etag,
            there.fyear,
            there.upload_date,
        )

    def test_a_known_file_is_not_sent(self, tracker: Tracker, bucket: Bucket, path: Path) -> None:
        """What is recorded costs one look at the document, and no byte."""
        first = upload(tracker, path)
        bucket.calls.clear()
        told: list[int] = []
        again = upload(tracker, path, on_progress=told.append)
        assert (1, False) == (again.version, again.created)
        assert first.version == again.version
        assert (["read"], []) == (bucket.calls, told)

    def test_a_known_file_with_other_bytes_is_an_error(self, tracker: Tracker, bucket: Bucket, path: Path) -> None:
        """Bytes other than those recorded under a name are refused before anything is sent."""
        upload(tracker, path)
        bucket.calls.clear()
        for other in (b"some bytez", b"more than those bytes"):
            path.write_bytes(other)
            with pytest.raises(DifferentContentError, match=r"has a\.zip as version 1 already, with other content"):
                upload(tracker, path)
        assert ["read", "read"] == bucket.calls
        assert b"some bytes" == bucket.body()

    def test_a_file_recorded_without_a_checksum_is_taken_for_known(self, tracker: Tracker, bucket: Bucket) -> None:
        """Of a version of the earlier package only the size can be compared."""
        tracker.record("vitals", "births", "FY2023", "a.zip", file_size=5, s3_location="s3://raw/elsewhere.zip")
        assert not upload(tracker, b"12345").created
        with pytest.raises(DifferentContentError, match=r"5 bytes there, 6 here"):
            upload(tracker, b"123456")
        assert bucket.body() is None

    def test_two_uploaders_of_the_same_bytes_are_both_right(self, tracker: Tracker, bucket: Bucket) -> None:
        """Both find the bucket empty: one puts the file there, the other finds it, and there is one version."""
        meet(bucket)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda _: upload(tracker, b"same"), range(2)))
        assert [False, True] == sorted(one.created for one in done)
        assert {1} == {one.version for one in done}
        assert ["a.zip"] == list(recorded(tracker))

    def test_of_two_uploaders_of_other_bytes_one_is_refused(self, tracker: Tracker, bucket: Bucket) -> None:
        """Under one key the first is there and recorded, and the other learns that it is not its file."""
        meet(bucket)
        with ThreadPoolExecutor(2) as pool:
            futures = [pool.submit(upload, tracker, content) for content in (b"one", b"two")]
        refused = [future for future in futures if future.exception() is not None]
        assert [DifferentContentError] == [type(future.exception()) for future in refused]
        there = bucket.body()
        assert there in (b"one", b"two")
        assert sha256(there) == recorded(tracker)["a.zip"].checksum

    def test_other_bytes_in_the_bucket_are_not_overwritten(self, tracker: Tracker, bucket: Bucket) -> None:
        """Where something else is under the key, that stays, and nothing is recorded."""
        for there in (b"other", b"other, longer"):
            bucket.memory = MemoryStore()
            bucket.memory.write(KEY, there, replacing=None)
            with pytest.raises(DifferentContentError, match=r"memory://.*a\.zip is there already, with other content"):
                upload(tracker, b"mine!")
            assert there == bucket.body()
        assert {} == recorded(tracker)

    def test_a_dry_run_sends_nothing(self, tracker: Tracker, bucket: Bucket) -> None:
        """It tells what would come of it, the refusals too, and leaves the bucket as it was."""
        upload(tracker, b"known", "known.zip")
        bucket.calls.clear()
        done = tracker.upload_many([new(b"known", "known.zip"), new(b"mine", "a.zip")], dry_run=True)
        assert [(1, False), (2, True)] == [(one.version, one.created) for one in done]
        bucket.memory.write(KEY, b"else", replacing=None)
        with pytest.raises(DifferentContentError):
            tracker.upload_many([new(b"mine", "a.zip")], dry_run=True)
        assert {"create", "write"}.isdisjoint(bucket.calls)


def meet(bucket: Bucket) -> None:
    """Let two uploaders wait for each other before they put a file there."""
    barrier = threading.Barrier(2)

    def before(kind: str, number: int) -> None:
        if kind == "create" and number <= 2:
            barrier.wait(20)

    bucket.before = before


class Died(BaseException):
    """What no handler of the library knows: after it nothing is done any more."""


class TestBrokenOff:
    """Whatever breaks off leaves at most an object without a record, and the same call again finishes."""

    @pytest.mark.parametrize("kind", ["read", "create", "write"])
    def test_a_worker_that_dies_leaves_no_record_without_an_object(
        self, bucket: Bucket, tracker: Tracker, path: Path, kind: str
    ) -> None:
        """Before any of its requests: nothing is recorded, and whoever uploads the file anew records it once."""
        bucket.before = dying_at(kind)
        with pytest.raises(Died):
            upload(tracker, path)
        bucket.before = lambda _kind, _number: None
        assert {} == recorded(over(bucket))
        assert (b"some bytes" if kind == "write" else None) == bucket.body()
        assert (1, True) == as_pair(upload(over(bucket), path))
        assert b"some bytes" == bucket.body()

    def test_a_commit_that_fails_leaves_the_object(self, path: Path) -> None:
        """The file is in the bucket, the error says that nothing was written, and the same call records it."""
        bucket = Bucket(writes=[Fate.REFUSED])
        tracker = over(bucket)
        with pytest.raises(StoreError, match="ExpiredToken"):
            upload(tracker, path)
        assert b"some bytes" == bucket.body()
        assert {} == recorded(tracker)
        assert (1, True) == as_pair(upload(tracker, path))
        assert 1 == bucket.asked["head"]  # who has found it there has looked at it

    @pytest.mark.parametrize("fate", [Fate.ANSWER_LOST, Fate.LOST, Fate.NOT_SENT, Fate.SLOW_DOWN])
    def test_an_answer_that_is_lost_costs_a_look(self, path: Path, fate: Fate) -> None:
        """Whether the file arrived or not, it is there once, ours, and recorded once."""
        bucket = Bucket(creates=[fate])
        tracker = over(bucket)
        assert (1, True) == as_pair(upload(tracker, path))
        assert 2 == bucket.asked["create"]
        assert (1 if fate is Fate.ANSWER_LOST else 0) == bucket.asked["head"]
        assert b"some bytes" == bucket.body()
        assert ["a.zip"] == list(recorded(tracker))

    def test_a_bucket_that_does_not_answer_is_given_up(self, path: Path) -> None:
        """After the patience is used up there is an error, and nothing is recorded."""
        bucket = Bucket(creates=[Fate.LOST] * 1000)
        tracker = over(bucket, seconds=0.05)
        with pytest.raises(StoreError, match="does not answer"):
            upload(tracker, path)
        assert {} == recorded(tracker)

    def test_what_was_there_may_go_again(self, tracker: Tracker, bucket: Bucket) -> None:
        """An object that is in the way, and is gone when it is looked at, is in the way no more."""
        bucket.memory.write(KEY, b"in the way", replacing=None)

        def before(kind: str, _number: int) -> None:
            if kind == "head":
                bucket.memory.delete(KEY)

        bucket.before = before
        assert (1, True) == as_pair(upload(tracker, b"mine"))
        assert b"mine" == bucket.body()

    def test_an_open_file_is_left_where_it_was(self, path: Path) -> None:
        """After an error, and after success, the same call with the same open file means the same bytes."""
        bucket = Bucket(creates=[Fate.REFUSED])
        tracker = over(bucket)
        with path.open("rb") as file:
            file.seek(5)
            with pytest.raises(StoreError):
                upload(tracker, file)
            assert (1, True) == as_pair(upload(tracker, file))
            assert (1, False) == as_pair(upload(tracker, file))
            assert 5 == file.tell()
        assert b"bytes" == bucket.body()


def dying_at(kind: str) -> Callable[[str, int], None]:
    """Return what kills the worker before its first request of a kind."""

    def before(asked: str, _number: int) -> None:
        if asked == kind:
            raise Died

    return before


def as_pair(done: Recorded) -> tuple[int, bool]:
    """Return the version, and whether it was created."""
    return done.version, done.created


class TestSources:
    """What can be uploaded, and what is said of what cannot."""

    def test_a_path_may_be_text(self, tracker: Tracker, bucket: Bucket, path: Path) -> None:
        """A path is a `Path` or text; the file is recorded by its last part."""
        done = tracker.upload(str(path), "vitals", "births", "FY2023")
        assert ("a.zip", b"some bytes") == (done.file, bucket.body())

    def test_an_open_file_brings_its_name(self, tracker: Tracker, path: Path) -> None:
        """An open file is recorded by the last part of its path."""
        with path.open("rb") as file:
            assert "a.zip" == tracker.upload(file, "vitals", "births", "FY2023").file

    def test_an_open_file_counts_from_its_position(self, tracker: Tracker, bucket: Bucket) -> None:
        """What stands before the position is not part of it, on a second reading neither."""
        file = io.BytesIO(b"head and the rest")
        file.seek(9)
        upload(tracker, file)
        assert b"the rest" == bucket.body()
        assert sha256(b"the rest") == recorded(tracker)["a.zip"].checksum

    def test_a_stream_that_cannot_seek_is_kept_aside(self, tracker: Tracker, bucket: Bucket) -> None:
        """A pipe can be read once: what comes out of it is kept in a temporary file."""
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb") as sink:
            sink.write(b"through a pipe")
            sink.close()
            upload(tracker, stream)
        assert b"through a pipe" == bucket.body()

    def test_an_empty_file_is_a_file(self, tracker: Tracker, bucket: Bucket) -> None:
        """Nothing is sent but its name, and its record says so."""
        assert (1, True) == as_pair(upload(tracker, b""))
        assert b"" == bucket.body()
        assert (0, sha256(b"")) == (recorded(tracker)["a.zip"].file_size, recorded(tracker)["a.zip"].checksum)
        assert (1, False) == as_pair(upload(tracker, b""))

    def test_what_is_no_file_is_refused_before_any_request(
        self, tracker: Tracker, bucket: Bucket, tmp_path: Path
    ) -> None:
        """Missing, a directory, a FIFO, a device: each is named for what it is, and none is waited for."""
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
        reasons = {
            tmp_path / "missing.zip": "there is no such file",
            tmp_path / "dangling": "there is no such file",
            tmp_path: "is a directory",
            tmp_path / "fifo": "is no regular file",
            Path("/dev/null"): "is no regular file",
            tmp_path / "a.zip" / "b.zip": "there is no such file",
        }
        for source, reason in reasons.items():
            with pytest.raises(LocalFileError, match=reason) as raised:
                upload(tracker, source)
            assert str(source) in str(raised.value)
        assert [] == bucket.calls

    def test_a_part_of_the_path_that_is_a_file_is_told(self, tracker: Tracker, path: Path) -> None:
        """A path that leads through a file leads nowhere."""
        with pytest.raises(LocalFileError, match="Not a directory"):
            upload(tracker, path / "b.zip")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
    def test_a_file_that_may_not_be_read_is_told(self, tracker: Tracker, bucket: Bucket, path: Path) -> None:
        """Without the right to read it nothing is sent."""
        path.chmod(0)
        with pytest.raises(LocalFileError, match="Permission denied"):
            upload(tracker, path)
        assert 0 == bucket.asked["create"]

    def test_a_file_that_breaks_while_it_is_read_is_told(self, tracker: Tracker, bucket: Bucket) -> None:
        """An error of the disk is one of the file, with what the system says."""
        with pytest.raises(LocalFileError, match="cannot be read: Input/output error"):
            upload(tracker, Broken())
        assert 0 == bucket.asked["create"]

    def test_what_is_open_in_another_way_is_refused(self, tracker: Tracker, bucket: Bucket, path: Path) -> None:
        """As text, for writing, or not any more: a file has to be open for reading its bytes."""
        with path.open() as text, pytest.raises(InvalidNameError, match="binary mode, 'rb'"):
            upload(tracker, cast("IO[bytes]", text))
        with path.open("ab") as writing, pytest.raises(LocalFileError, match="cannot be read"):
            upload(tracker, writing)
        with path.open("rb") as closed:
            pass
        with pytest.raises(LocalFileError, match="closed file"):
            upload(tracker, closed)
        with pytest.raises(LocalFileError, match="null"):
            upload(tracker, "fol\0der/a.zip")
        assert {"read"} >= set(bucket.calls)

    def test_one_open_file_is_no_two_files(self, tracker: Tracker, bucket: Bucket) -> None:
        """An open file has one position; two threads that read it would each get some of it."""
        file = io.BytesIO(b"once")
        uploads = [
            NewUpload(path_or_file=file, schema="vitals", table="births", file_name="FY2023", file=name)
            for name in ("a.zip", "b.zip")
        ]
        with pytest.raises(InvalidNameError, match="open it once for each"):
            tracker.upload_many(uploads)
        assert [] == bucket.calls

    def test_an_error_of_the_caller_is_the_callers(self, tracker: Tracker, path: Path) -> None:
        """An `OSError` out of `on_progress` says nothing about the file, and is passed on as it is."""
        with pytest.raises(OSError, match="Broken pipe") as raised:
            upload(tracker, path, on_progress=raising(BrokenPipeError(errno.EPIPE, "Broken pipe")))
        assert not isinstance(raised.value, LocalFileError)


class TestNamesOfOpenFiles:
    """The name of an open file is recorded only where it is that of the content."""

    @pytest.mark.parametrize("opened", [gzip.open, bz2.open, lzma.open])
    @pytest.mark.parametrize("buffered", [True, False])
    def test_what_is_unpacked_needs_a_name(
        self,
        tracker: Tracker,
        bucket: Bucket,
        tmp_path: Path,
        opened: Callable[..., Any],
        *,
        buffered: bool,
    ) -> None:
        """A decompressing stream has the name of the compressed file, and is not that file."""
        path = tmp_path / "births.csv.packed"
        with opened(path, "wb") as packed:
            packed.write(b"unpacked")
        with opened(path, "rb") as file:
            source = io.BufferedReader(file) if buffered else file
            with pytest.raises(InvalidNameError, match="file is missing: what is unpacked"):
                tracker.upload(source, "vitals", "births", "FY2023")
            assert [] == bucket.calls
            upload(tracker, source)
        assert b"unpacked" == bucket.body()

    def test_a_member_of_an_archive_needs_a_name(self, tracker: Tracker, bucket: Bucket, tmp_path: Path) -> None:
        """On some Pythons a member of a tar archive has the archive's name."""
        path = tmp_path / "births.tar"
        with tarfile.open(path, "w") as archive:
            member = tarfile.TarInfo("q1/births.csv")
            member.size = 6
            archive.addfile(member, io.BytesIO(b"member"))
        with tarfile.open(path) as archive:
            source = cast("IO[bytes]", archive.extractfile("q1/births.csv"))
            with pytest.raises(InvalidNameError, match="file is missing: what is unpacked"):
                tracker.upload(source, "vitals", "births", "FY2023")
            assert [] == bucket.calls
            upload(tracker, source)
        assert b"member" == bucket.body()

    def test_a_member_of_a_zip_archive_brings_its_name(self, tracker: Tracker, tmp_path: Path) -> None:
        """It has that of the member on every Python; the last part of it is recorded."""
        path = tmp_path / "births.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("q1/births.csv", "member")
        with zipfile.ZipFile(path) as archive, archive.open("q1/births.csv") as source:
            assert "births.csv" == tracker.upload(source, "vitals", "births", "FY2023").file

    def test_a_name_that_is_not_utf8_is_refused_as_such(self, tracker: Tracker, bucket: Bucket, tmp_path: Path) -> None:
        """A file may have such a name; it is uploaded under another one."""
        path = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"\xfcbersicht.csv"))  # noqa: PTH118 - of bytes
        Path(path).write_bytes(b"content")
        with pytest.raises(InvalidNameError, match=r"file must be UTF-8, got '\\udcfcbersicht.csv': give it another"):
            tracker.upload(path, "vitals", "births", "FY2023")
        assert [] == bucket.calls
        upload(tracker, path)
        assert b"content" == bucket.body()
        with pytest.raises(LocalFileError) as raised:
            upload(tracker, f"{path}.missing")
        assert str(raised.value).isprintable()


class TestAnswersOfServers:
    """The body of an HTTP answer is a file, if all of it came."""

    @pytest.mark.parametrize("length", [8, None])
    @pytest.mark.parametrize("kind", ["http.client", "urllib3", "requests", "buffered"])
    def test_a_whole_body_is_recorded(self, tracker: Tracker, bucket: Bucket, kind: str, length: int | None) -> None:
        """Where the server gave a length, and where it gave none."""
        with answer_of(kind, b"complete", length) as source:
            upload(tracker, source)
        assert b"complete" == bucket.body()

    @pytest.mark.parametrize("kind", ["http.client", "urllib3", "requests", "buffered", "botocore"])
    def test_a_body_that_was_cut_short_is_not(self, tracker: Tracker, bucket: Bucket, kind: str) -> None:
        """Fewer bytes came than the server said: nothing is sent, and nothing recorded."""
        with (
            answer_of(kind, b"complete", 100) as source,
            pytest.raises(
                LocalFileError, match=r"92 bytes before the length|cannot be read: .*(IncompleteRead|8 read)"
            ),
        ):
            upload(tracker, source)
        assert [] == [kind for kind in bucket.calls if kind != "read"]

    def test_a_compressed_file_that_was_cut_short_is_not(self, tracker: Tracker, bucket: Bucket) -> None:
        """What cannot be unpacked to its end, or is damaged, is an error of the file."""
        packed = gzip.compress(os.urandom(1000))
        for spoiled in (packed[:-20], packed[:100] + b"xxxx" + packed[104:]):
            with pytest.raises(LocalFileError, match="cannot be read"):
                upload(tracker, cast("IO[bytes]", gzip.GzipFile(fileobj=io.BytesIO(spoiled))))
        assert [] == [kind for kind in bucket.calls if kind != "read"]


@contextmanager
def answer_of(kind: str, body: bytes, length: int | None) -> Iterator[Any]:
    """Give the body of an answer of a server that closes the connection after these bytes, whatever length it gave."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
        promised = b"" if length is None else f"Content-Length: {length}\r\n".encode()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(head + promised + b"\r\n" + body)

        threading.Thread(target=serve).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        if kind in {"http.client", "buffered"}:
            with urllib.request.urlopen(url) as answer:
                yield answer if kind == "http.client" else io.BufferedReader(answer)
        elif kind == "requests":
            with requests.get(url, stream=True, timeout=10) as got:
                yield got.raw
        else:
            with urllib3.PoolManager() as pool:
                raw = pool.request("GET", url, preload_content=False, enforce_content_length=False)
                yield raw if kind == "urllib3" else StreamingBody(cast("IO[bytes]", raw), length or 0)


class Broken(io.BytesIO):
    """A file on a disk with a fault."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Fail, unless nothing is asked for."""
        if size == 0:
            return b""
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def raising(error: BaseException) -> Callable[[int], None]:
    """Return a listener that raises an error."""

    def listen(_sent: int) -> None:
        raise error

    return listen


class TestNames:
    """Names and keys are looked at before anything else."""

    @pytest.mark.parametrize(
        "names",
        [
            {"file": "a/b.zip"},
            {"file": ".."},
            {"file": "a\n.zip"},
            {"file": "x" * 256},
            {"table": ""},
            {"file_name": "2024/01"},
            {"schema": "_cf_tracker"},
            {"schema": " "},
            {"on_same_content": "overwrite"},
        ],
        ids=str,
    )
    def test_a_name_that_can_be_none_is_refused(
        self, tracker: Tracker, bucket: Bucket, path: Path, names: dict[str, str]
    ) -> None:
        """Nothing is read and nothing is sent under a name that S3 or a reader would stumble over."""
        place = {"schema": "vitals", "table": "births", "file_name": "FY2023", **names}
        with pytest.raises(InvalidNameError):
            tracker.upload(path, **place)  # type: ignore[arg-type]  # all of them are text
        assert [] == bucket.calls

    @pytest.mark.parametrize("source", [3, None, b"a.zip", ["a.zip"]], ids=repr)
    def test_what_is_no_file_at_all_is_refused(self, tracker: Tracker, source: Any) -> None:  # noqa: ANN401 - that is the case
        """A path or an open file, nothing else."""
        with pytest.raises(InvalidNameError, match="must be a path or an open binary file"):
            tracker.upload(source, "vitals", "births", "FY2023")

    def test_a_file_without_a_name_needs_one(self, tracker: Tracker) -> None:
        """Bytes in memory, and a pipe, have no name of their own."""
        with pytest.raises(InvalidNameError, match="file is missing"):
            tracker.upload(io.BytesIO(b"x"), "vitals", "births", "FY2023")
        with tempfile.TemporaryFile() as nameless, pytest.raises(InvalidNameError, match="file is missing"):
            tracker.upload(nameless, "vitals", "births", "FY2023")

    def test_a_key_may_be_chosen(self, tracker: Tracker, bucket: Bucket) -> None:
        """The file stands where it is told to, and the record says where that is."""
        upload(tracker, b"x", key="archive/2023/größe.zip")
        assert (b"x", None) == (bucket.body("archive/2023/größe.zip"), bucket.body())
        assert "s3://raw/archive/2023/größe.zip" == recorded(tracker)["a.zip"].s3_location

    @pytest.mark.parametrize(
        "key",
        [
            "vitals/vitals_version_info.json",
            "vitals/vitals_clean_version_info.json",
            "vitals/clean_version.json",
            "_cf_tracker/inbox/a.zip",
            "/a.zip",
            "folder/",
            "a/../b.zip",
            "./a.zip",
            "a\x00.zip",
            "k" * 1025,
        ],
    )
    def test_a_key_that_is_no_files_is_refused(self, tracker: Tracker, bucket: Bucket, key: str) -> None:
        """A file is not put over a tracker's document, nor where only the tracker puts things."""
        with pytest.raises(InvalidNameError, match="key"):
            upload(tracker, b"x", key=key)
        assert [] == bucket.calls

    @pytest.mark.parametrize("uploads", [3, [3], ["a.zip"], [None]], ids=repr)
    def test_uploads_are_uploads(self, tracker: Tracker, uploads: Any) -> None:  # noqa: ANN401 - that is the case
        """Whatever else is handed in is refused, with its place."""
        with pytest.raises(InvalidNameError, match="must be a"):
            tracker.upload_many(uploads)


def grow(path: Path) -> None:
    """Add a byte."""
    with path.open("ab") as file:
        file.write(b"!")


def shrink(path: Path) -> None:
    """Take a byte off."""
    os.truncate(path, path.stat().st_size - 1)


def empty(path: Path) -> None:
    """Leave nothing."""
    os.truncate(path, 0)


def change_first(path: Path) -> None:
    """Change the first byte, and no length."""
    change_at(path, 0, os.SEEK_SET)


def change_last(path: Path) -> None:
    """Change the last byte, and no length."""
    change_at(path, -1, os.SEEK_END)


def change_at(path: Path, offset: int, whence: int) -> None:
    """Change a byte."""
    with path.open("r+b") as file:
        file.seek(offset, whence)
        old = file.read(1)
        file.seek(offset, whence)
        file.write(bytes([old[0] ^ 1]))


def replace(path: Path) -> None:
    """Put another file in its place."""
    other = path.with_name("other")
    other.write_bytes(b"another file")
    other.replace(path)


CHANGES: Final = [grow, shrink, empty, change_first, change_last]


class TestChanges:
    """A file that changes between its two readings is found out."""

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_file_that_changes_is_not_recorded(
        self, tracker: Tracker, bucket: Bucket, path: Path, change: Callable[[Path], None]
    ) -> None:
        """However it changes, nothing is put there or recorded; once it is whole, the same call uploads it."""
        bucket.before = changing(path, change)
        with pytest.raises(LocalFileError, match=r"a\.zip changed while it was uploaded"):
            upload(tracker, path)
        bucket.before = lambda _kind, _number: None
        assert bucket.body() is None
        assert {} == recorded(tracker)
        assert (1, True) == as_pair(upload(tracker, path))
        assert path.read_bytes() == bucket.body()

    @pytest.mark.parametrize("change", [replace, Path.unlink])
    def test_a_file_that_is_replaced_or_removed_is_uploaded_as_it_was(
        self, tracker: Tracker, bucket: Bucket, path: Path, change: Callable[[Path], None]
    ) -> None:
        """What is open stays what it is, whatever becomes of its name."""
        bucket.before = changing(path, change)
        assert (1, True) == as_pair(upload(tracker, path))
        assert b"some bytes" == bucket.body()
        assert sha256(b"some bytes") == recorded(tracker)["a.zip"].checksum

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_large_file_that_changes_is_not_put_together(
        self, wire: "Wire", tmp_path: Path, schema: str, change: Callable[[Path], None]
    ) -> None:
        """In parts, too: no object, no record, and no part stays behind."""
        path = large_file(tmp_path)
        wire.at("HeadObject", lambda: change(path))
        with pytest.raises(LocalFileError, match=r"large\.zip changed while it was uploaded"):
            upload(wire.tracker, path, schema=schema)
        assert [] == wire.keys(schema)
        assert [] == wire.unfinished(schema)
        assert {} == recorded(wire.tracker, schema)

    @pytest.mark.parametrize("change", [replace, Path.unlink])
    def test_a_large_file_that_is_replaced_or_removed_is_uploaded_as_it_was(
        self, wire: "Wire", tmp_path: Path, schema: str, change: Callable[[Path], None]
    ) -> None:
        """In parts, too, what is open stays what it is."""
        path = large_file(tmp_path)
        content = path.read_bytes()
        wire.at("HeadObject", lambda: change(path))
        assert (1, True) == as_pair(upload(wire.tracker, path, schema=schema))
        assert content == wire.body(f"{schema}/births/FY2023/a.zip")

    def test_a_file_that_changes_between_its_parts_is_found_out(self, wire: "Wire", schema: str) -> None:
        """The last part changes when the first has been read already, on the way."""
        file = Changing(os.urandom(LARGE))
        with pytest.raises(LocalFileError, match="changed while it was uploaded"):
            upload(wire.tracker, file, schema=schema)
        assert file.changed
        assert ([], []) == (wire.keys(schema), wire.unfinished(schema))


def changing(path: Path, change: Callable[[Path], None]) -> Callable[[str, int], None]:
    """Return what changes the file when it has been read once, and is to be read again."""

    def before(kind: str, _number: int) -> None:
        if kind == "create":
            change(path)

    return before


def large_file(folder: Path, size: int = LARGE) -> Path:
    """Return a large file on disk."""
    path = folder / "large.zip"
    path.write_bytes(os.urandom(size))
    return path


class Changing(io.BytesIO):
    """A file whose last byte changes once the first part has been read for the second time."""

    changed = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and change what has not been read yet."""
        data = super().read(size)
        if size == 8 * MIB and not self.changed:
            self.changed = True
            with self.getbuffer() as buffer:
                buffer[-1] ^= 1
        return data


class TestProgress:
    """`on_progress` is told of what was sent."""

    def test_it_sums_up_to_the_size(self, wire: "Wire", tmp_path: Path, schema: str) -> None:
        """Of a small file at once, of a large one bit by bit."""
        for name, content in (("small.zip", b"some bytes"), ("large.zip", large_file(tmp_path))):
            told: list[int] = []
            upload(wire.tracker, content, name, schema=schema, on_progress=told.append)
            assert (10 if name == "small.zip" else LARGE) == sum(told)
            assert all(sent > 0 for sent in told)

    def test_what_has_to_be_sent_again_is_taken_back(self, wire: "Wire", tmp_path: Path, schema: str) -> None:
        """Where a file in parts was not put together, a negative number says so, and the sum comes out."""
        wire.answer("CompleteMultipartUpload", 500, "InternalError", times=1)
        told: list[int] = []
        upload(wire.tracker, large_file(tmp_path), schema=schema, on_progress=told.append)
        assert [-LARGE] == [sent for sent in told if sent < 0]
        assert LARGE == sum(told)

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_an_error_in_it_ends_the_upload(self, wire: "Wire", schema: str, size: int) -> None:
        """It is raised, nothing is recorded, and the same call without it finishes."""
        content = os.urandom(size)
        with pytest.raises(ZeroDivisionError):
            upload(wire.tracker, content, schema=schema, on_progress=raising(ZeroDivisionError()))
        assert {} == recorded(wire.tracker, schema)
        assert [] == wire.unfinished(schema)
        assert wire.operations(schema).count("UploadPart") <= 3  # nothing is sent again for it
        assert (1, True) == as_pair(upload(wire.tracker, content, schema=schema))
        assert content == wire.body(f"{schema}/births/FY2023/a.zip")


class TestMany:
    """Many files: at once, recorded together, told of in the order given."""

    def test_they_are_recorded_together_in_the_order_given(self, tracker: Tracker, bucket: Bucket) -> None:
        """200 files are one commit, and their versions stand in the order given, whichever was there first."""
        told: list[Recorded] = []
        uploads = [new(f"content {number}".encode(), f"{number}.zip") for number in range(200)]
        done = tracker.upload_many(uploads, on_recorded=told.append)
        assert [(f"{number}.zip", number + 1) for number in range(200)] == [(one.file, one.version) for one in done]
        assert done == told
        document = tracker.document("vitals")
        assert document is not None
        assert (1, 1, 200) == (document["revision"], bucket.asked["write"], bucket.asked["create"])

    def test_each_schema_is_a_commit(self, tracker: Tracker, bucket: Bucket) -> None:
        """Files of several schemas may stand in one call."""
        done = tracker.upload_many([new(b"one", "a.zip"), new(b"two", "a.zip", schema="weather")])
        assert [("vitals", 1), ("weather", 1)] == [(one.schema, one.version) for one in done]
        assert 2 == bucket.asked["write"]

    @pytest.mark.parametrize("workers", [1, 8, 256])
    def test_any_number_of_workers_will_do(self, tracker: Tracker, workers: int) -> None:
        """One or many, what comes of it is the same."""
        done = tracker.upload_many([new(bytes([each]), f"{each}.zip") for each in range(20)], workers=workers)
        assert list(range(1, 21)) == [one.version for one in done]

    @pytest.mark.parametrize("workers", [0, 257, -1, True, 1.5, None])
    def test_a_number_of_workers_that_is_none_is_refused(self, tracker: Tracker, bucket: Bucket, workers: Any) -> None:  # noqa: ANN401 - that is the case
        """From 1 to 256."""
        with pytest.raises(InvalidNameError, match="workers must be"):
            tracker.upload_many([new(b"x", "a.zip")], workers=workers)
        assert [] == bucket.calls

    def test_nothing_to_do_is_nothing_asked(self, tracker: Tracker, bucket: Bucket) -> None:
        """No file, no request."""
        assert [] == tracker.upload_many([])
        assert [] == bucket.calls

    def test_a_file_that_is_there_twice_is_one(self, tracker: Tracker, bucket: Bucket, path: Path) -> None:
        """The same file twice in one call is put there once, and is one version."""
        done = tracker.upload_many([new(path, "a.zip"), new(path, "a.zip"), new(b"other", "b.zip")])
        assert [(1, True), (1, False), (2, True)] == [as_pair(one) for one in done]
        assert {"a.zip", "b.zip"} == set(recorded(tracker))
        assert b"some bytes" == bucket.body()

    @pytest.mark.parametrize("workers", [1, 8])
    def test_when_one_fails_all_others_are_recorded(
        self, tracker: Tracker, bucket: Bucket, path: Path, workers: int
    ) -> None:
        """A file whose name is taken keeps no other from its place, and the same call does the rest."""
        bucket.memory.write(KEY, b"in the way", replacing=None)
        told: list[Recorded] = []
        before, after = [[new(bytes([each]), f"{each}.zip") for each in some] for some in (range(3), range(3, 100))]
        uploads = [*before, new(path, "a.zip"), *after]
        with pytest.raises(DifferentContentError, match=KEY) as raised:
            tracker.upload_many(uploads, workers=workers, on_recorded=told.append)
        assert () == raised.value.failures
        assert {f"{each}.zip" for each in range(100)} == set(recorded(tracker)) == {one.file for one in told}
        bucket.memory.delete(KEY)
        done = tracker.upload_many(uploads, workers=workers)
        assert {*(f"{each}.zip" for each in range(100)), "a.zip"} == set(recorded(tracker))
        assert [False] * 3 == [one.created for one in done[:3]]

    def test_all_that_failed_are_named_in_one_error(self, tracker: Tracker, bucket: Bucket) -> None:
        """It has the class of the first, in the order given; its `failures` are theirs; all others are recorded."""
        upload(tracker, b"first", "0.zip")
        bucket.memory.write("vitals/births/FY2023/3.zip", b"in the way", replacing=None)
        bucket.before = after_the_look(lambda: upload(over(bucket), b"rival", "6.zip", key="vitals/rival"))
        uploads = [
            new(b"a", "1.zip"),
            NewUpload(path_or_file=Broken(), schema="vitals", table="births", file_name="FY2023", file="2.zip"),
            new(b"b", "3.zip"),
            new(b"first", "4.zip", on_same_content="error"),
            new(b"c", "5.zip"),
            new(b"d", "6.zip"),
        ]
        with pytest.raises(LocalFileError, match=r"^4 files failed: .*; .*3\.zip.*; 4\.zip .*; .*6\.zip") as raised:
            tracker.upload_many(uploads, workers=1)
        failures = raised.value.failures
        assert [LocalFileError, DifferentContentError, SameContentError, DifferentContentError] == [
            *map(type, failures)
        ]
        there = {"0.zip", "1.zip", "5.zip", "6.zip"}
        assert (there, sha256(b"rival")) == (set(recorded(tracker)), recorded(tracker)["6.zip"].checksum)

    def test_a_file_that_the_store_does_not_take_keeps_no_other_from_its_place(
        self, tracker: Tracker, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that is too large for one request is an error of that file alone."""
        create = bucket.create

        def small(key: str, content: Content, progress: Progress) -> str | None:
            if content.size > 1:
                raise TooLargeError("too large")
            return create(key, content, progress)

        monkeypatch.setattr(bucket, "create", small)
        with pytest.raises(StoreError, match="too large"):
            tracker.upload_many([new(b"large", "a.zip"), new(b"b", "b.zip")])
        assert ["b.zip"] == list(recorded(tracker))

    @pytest.mark.parametrize("workers", [1, 8])
    def test_an_error_of_the_store_ends_it(self, tracker: Tracker, bucket: Bucket, workers: int) -> None:
        """It would meet the others as well: no more are begun, and what was there is recorded."""
        bucket.before = slowly
        bucket._fates["create"] = [Fate.ANSWERED] * 3 + [Fate.REFUSED] * 100  # noqa: SLF001 - of the fourth and later
        uploads = [new(bytes([each]), f"{each}.zip") for each in range(100)]
        with pytest.raises(StoreError, match="ExpiredToken"):
            tracker.upload_many(uploads, workers=workers)
        assert 3 == len(recorded(tracker))
        assert bucket.asked["create"] <= 3 + workers
        bucket._fates["create"] = []  # noqa: SLF001 - as above
        tracker.upload_many(uploads, workers=workers)
        assert 100 == len(recorded(tracker))

    def test_what_is_missing_is_found_before_anything_is_sent(self, tracker: Tracker, bucket: Bucket) -> None:
        """A path that leads nowhere, the last of many, costs no byte."""
        with pytest.raises(LocalFileError, match="there is no such file"):
            tracker.upload_many([new(b"x", "a.zip"), new(Path("/nowhere/b.zip"), "b.zip")])
        assert [] == bucket.calls

    def test_an_interrupt_ends_it(self, tracker: Tracker, bucket: Bucket) -> None:
        """Ctrl-C in the middle: no more is begun, what was there is recorded, and the same call does the rest."""
        if threading.current_thread() is not threading.main_thread():
            pytest.skip("signals reach the main thread alone")

        def before(kind: str, number: int) -> None:
            slowly(kind, number)
            if kind == "create" and number == 10:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                slowly(kind, number)

        bucket.before = before
        files = [Watched(bytes([each])) for each in range(100)]
        uploads = [
            NewUpload(path_or_file=file, schema="vitals", table="births", file_name="FY2023", file=f"{number}.zip")
            for number, file in enumerate(files)
        ]
        with pytest.raises(KeyboardInterrupt):
            tracker.upload_many(uploads, workers=2)
        bucket.before = lambda _kind, _number: None
        assert bucket.asked["create"] < 50
        assert sum(file.was_read for file in files) < 50
        assert 0 < len(recorded(tracker)) < 50
        done = tracker.upload_many(uploads, workers=2)
        assert 100 == len(recorded(tracker)) == len({one.version for one in done})

    def test_an_interrupt_does_not_wait_for_a_bucket_that_is_silent(self) -> None:
        """Whoever is about to ask again does not, once the call is over."""
        bucket = Bucket(creates=[Fate.LOST] * 100_000)
        tracker = over(bucket, seconds=60)

        def told(_done: Recorded) -> None:
            raise KeyboardInterrupt

        tracker.record("vitals", "births", "FY2023", "known.zip", file_size=1, s3_location="s3://raw/known.zip")
        uploads = [new(b"x", "known.zip"), *(new(b"y", f"{each}.zip") for each in range(8))]
        with pytest.raises(KeyboardInterrupt):
            tracker.upload_many(uploads, workers=4, on_recorded=told)
        assert bucket.asked["create"] < 200
        assert ["known.zip"] == list(recorded(tracker))


class Watched(io.BytesIO):
    """A file that knows whether it was read."""

    was_read = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Read."""
        self.was_read = True
        return super().read(size)


def after_the_look(act: Callable[[], object]) -> Callable[[str, int], None]:
    """Return what acts before the first file is put there: the document was read by then."""
    acts = [act]

    def before(kind: str, _number: int) -> None:
        if kind == "create" and acts:
            acts.pop()()

    return before


def slowly(kind: str, _number: int) -> None:
    """Take some time to put a file there."""
    if kind == "create":
        threading.Event().wait(0.02)


class TestSameContent:
    """A file whose bytes another version of the file name has."""

    def test_by_default_it_is_recorded_and_told(self, tracker: Tracker, bucket: Bucket) -> None:
        """A file is known by its name: it becomes a version, and the first with its bytes is named."""
        upload(tracker, b"same", "first.zip")
        done = upload(tracker, b"same", "second.zip")
        assert (2, True, 1) == (done.version, done.created, done.same_content_as)
        assert b"same" == bucket.body("vitals/births/FY2023/second.zip")

    def test_of_the_first_nothing_is_told(self, tracker: Tracker) -> None:
        """The first with the bytes is the same as no other, whether it is new or known."""
        assert upload(tracker, b"same", "first.zip").same_content_as is None
        upload(tracker, b"same", "second.zip")
        assert upload(tracker, b"same", "first.zip").same_content_as is None
        assert 1 == upload(tracker, b"same", "second.zip").same_content_as

    def test_skipped_it_is_not_sent(self, tracker: Tracker, bucket: Bucket) -> None:
        """With `skip` it is not sent and not recorded, and the version that has its bytes is named."""
        upload(tracker, b"same", "first.zip")
        bucket.calls.clear()
        done = upload(tracker, b"same", "second.zip", on_same_content="skip")
        assert (1, False, 1) == (done.version, done.created, done.same_content_as)
        assert ["read"] == bucket.calls

    def test_as_an_error_it_is_not_sent(self, tracker: Tracker, bucket: Bucket) -> None:
        """With `error` it is not sent and not recorded, and the others of the call are."""
        upload(tracker, b"same", "first.zip")
        bucket.calls.clear()
        with pytest.raises(SameContentError, match=r"second\.zip has the same content as version 1"):
            upload(tracker, b"same", "second.zip", on_same_content="error")
        assert ["read"] == bucket.calls
        others = [new(b"other", "third.zip"), new(b"same", "second.zip", on_same_content="error")]
        with pytest.raises(SameContentError):
            tracker.upload_many(others)
        assert ["first.zip", "third.zip"] == list(recorded(tracker))

    @pytest.mark.parametrize("choice", ["skip", "error"])
    def test_a_known_file_is_known_whatever_is_asked(self, tracker: Tracker, choice: str) -> None:
        """What to do about the same bytes is asked of new files alone."""
        upload(tracker, b"same", "first.zip")
        upload(tracker, b"same", "second.zip")
        assert (1, False) == as_pair(upload(tracker, b"same", "first.zip", on_same_content=choice))
        assert (2, False) == as_pair(upload(tracker, b"same", "second.zip", on_same_content=choice))

    def test_in_another_file_name_it_is_another_file(self, tracker: Tracker) -> None:
        """Only versions of its own file name are compared with."""
        upload(tracker, b"same", "first.zip")
        done = tracker.upload(
            io.BytesIO(b"same"), "vitals", "births", "FY2024", file="second.zip", on_same_content="error"
        )
        assert (1, True, None) == (done.version, done.created, done.same_content_as)

    def test_of_two_that_meet_one_is_recorded(self, tracker: Tracker) -> None:
        """Within one call, too: the document decides, after both are in the bucket."""
        uploads = [new(b"same", name, on_same_content="skip") for name in ("first.zip", "second.zip")]
        first, second = tracker.upload_many(uploads)
        assert ((1, True, None), (1, False, 1)) == (
            (first.version, first.created, first.same_content_as),
            (second.version, second.created, second.same_content_as),
        )
        assert ["first.zip"] == list(recorded(tracker))


# Between boto3 and the server


Meddle: TypeAlias = Callable[[str, AWSPreparedRequest], AWSResponse | None]


class Wire:
    """A client's requests on their way to the embedded S3: kept, answered in its place, or spoiled."""

    def __init__(self, client: "S3Client", bucket: str, meddle: "Meddle | None" = None) -> None:
        self.client = client
        self._bucket = bucket
        self._meddlers: list[Meddle] = [] if meddle is None else [meddle]
        self.requests: list[tuple[str, str]] = []
        client.meta.events.register("before-send.s3", cast("Callable[..., None]", self._pass))
        self.tracker = Tracker(bucket, client=client, timeout=20)

    def proven(self) -> "Wire":
        """Have the store examined: those requests are not to be counted."""
        self.tracker._connection.prove()  # noqa: SLF001 - it is done before the first upload anyway
        self.requests.clear()
        return self

    def _pass(self, request: AWSPreparedRequest, event_name: str, **_: object) -> AWSResponse | None:
        operation = event_name.rpartition(".")[2]
        self.requests.append((operation, unquote(urlsplit(request.url).path).removeprefix(f"/{self._bucket}/")))
        answers = (meddle(operation, request) for meddle in self._meddlers)
        return next((answer for answer in answers if answer is not None), None)

    def operations(self, schema: str) -> list[str]:
        """Return what was asked about the files of a schema, its document left aside."""
        asked = [(operation, key) for operation, key in self.requests if key.startswith(f"{schema}/")]
        return [operation for operation, key in asked if key != raw_key(schema)]

    def at(self, operation: str, act: Callable[[], object]) -> None:
        """Do something before the first request of this kind is sent: a HEAD comes between the two readings."""
        acts = [act]

        def meddle(asked: str, request: AWSPreparedRequest) -> None:
            if asked == operation and is_about(request) and acts:
                acts.pop()()

        self._meddlers.append(meddle)

    def answer(self, operation: str, status: int, code: str, *, times: int = 1000, key: str = "") -> None:
        """Answer requests of this kind with an error, as a store would."""
        left = [times]

        def meddle(asked: str, request: AWSPreparedRequest) -> AWSResponse | None:
            if asked != operation or not is_about(request, key) or left[0] == 0:
                return None
            left[0] -= 1
            return answered(request, status, "" if operation == "HeadObject" else code)

        self._meddlers.append(meddle)

    def spoil(self, operation: str) -> None:
        """Turn a bit of the next body of this kind, after it was signed."""
        left = [1]

        def meddle(asked: str, request: AWSPreparedRequest) -> None:
            if asked == operation and is_about(request) and left[0]:
                left[0] -= 1
                body = request.body if isinstance(request.body, bytearray) else cast("IO[bytes]", request.body).read()
                request.body = bytes([body[0] ^ 1]) + body[1:]

        self._meddlers.append(meddle)

    def keys(self, schema: str) -> list[str]:
        """Return the keys of what is there of a schema, but for its document."""
        listed = self.client.list_objects_v2(Bucket=self._bucket, Prefix=f"{schema}/").get("Contents", [])
        return [one["Key"] for one in listed if one["Key"] != raw_key(schema)]

    def unfinished(self, schema: str) -> list[str]:
        """Return the keys of what was begun in parts, and neither put together nor given up."""
        begun = self.client.list_multipart_uploads(Bucket=self._bucket).get("Uploads", [])
        return [one["Key"] for one in begun if one["Key"].startswith(f"{schema}/")]

    def body(self, key: str) -> bytes:
        """Return what is there."""
        return self.client.get_object(Bucket=self._bucket, Key=key)["Body"].read()


def answered(request: AWSPreparedRequest, status: int, code: str) -> AWSResponse:
    """Return an error, as a store would send it."""
    body = f"<Error><Code>{code}</Code></Error>".encode() if code else b""
    headers = HeadersDict({"content-length": str(len(body))})
    return AWSResponse(request.url, status, cast("HTTPHeaders", headers), Raw(body))


def answer_the_check(wire: Wire, status: int) -> None:
    """Answer the first end of an upload in parts, which is that of the check, in another way than the store would."""
    codes = {409: "ConditionalRequestConflict", 500: "InternalError", 501: "NotImplemented", 503: "SlowDown"}
    left = [status]

    def meddle(operation: str, request: AWSPreparedRequest) -> AWSResponse | None:
        if operation != "CompleteMultipartUpload" or not left:
            return None
        return answered(request, left.pop(), codes[status])

    wire._meddlers.insert(0, meddle)  # noqa: SLF001 - before the others


def is_about(request: AWSPreparedRequest, key: str = "") -> bool:
    """Return whether a request is about an object of the caller's, whose key has this in it."""
    url = unquote(request.url)
    return key in url and "/_cf_tracker/" not in url


class Raw(io.BytesIO):
    """The body of an answer that was made up, as urllib3 gives one."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        """Yield it."""
        if body := self.read():
            yield body


@pytest.fixture
def wire(embedded: Server) -> Iterator[Wire]:
    """Give a client of its own to the embedded S3, with a tracker over it."""
    with closing(open_client(access_to(embedded))) as client:
        yield Wire(client, "raw").proven()


@pytest.fixture
def wire_of(embedded: Server) -> Iterator[Callable[[Meddle], Wire]]:
    """Give what makes a wire to a bucket that nobody has examined yet, meddled with from the first request on."""
    with closing(open_client(access_to(embedded))) as client:
        bucket = f"fresh-{uuid.uuid4().hex[:8]}"
        client.create_bucket(Bucket=bucket)
        yield partial(Wire, client, bucket)


def without_conditions(_asked: str, request: AWSPreparedRequest) -> None:
    """Be a store that does not know them."""
    for name in ("If-None-Match", "If-Match"):
        if name in request.headers:
            del request.headers[name]


def without_the_last_condition(asked: str, request: AWSPreparedRequest) -> None:
    """Be a store that puts parts together over another object, as Ceph up to 16 does."""
    if asked == "CompleteMultipartUpload":
        del request.headers["If-None-Match"]


class TestTheWire:
    """What is sent to S3, and what is made of its answers."""

    def test_a_small_file_is_one_request(self, wire: Wire, schema: str) -> None:
        """One PUT; of a known file there is none, nor any other request but the look at the document."""
        upload(wire.tracker, b"some bytes", schema=schema)
        assert ["PutObject"] == wire.operations(schema)
        wire.requests.clear()
        upload(wire.tracker, b"some bytes", schema=schema)
        assert [("GetObject", raw_key(schema))] == wire.requests

    @pytest.mark.parametrize("size", [0, 1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 24 * MIB])
    def test_a_file_of_any_size_arrives(self, wire: Wire, schema: str, size: int) -> None:
        """From 8 MiB on it goes in parts, and is looked for before."""
        content = os.urandom(size)
        upload(wire.tracker, content, schema=schema)
        key = f"{schema}/births/FY2023/a.zip"
        assert content == wire.body(key)
        parts = -(-size // (8 * MIB))
        in_parts = ["HeadObject", "CreateMultipartUpload", *["UploadPart"] * parts, "CompleteMultipartUpload"]
        assert sorted([*in_parts, "HeadObject"] if size >= 8 * MIB else ["PutObject"]) == sorted(
            one for one in wire.operations(schema) if one != "GetObject"
        )
        head = wire.client.head_object(Bucket="raw", Key=key)
        there = recorded(wire.tracker, schema)["a.zip"]
        assert (f"sha256:{head['Metadata']['sha256']}", head["ETag"].strip('"')) == (there.checksum, there.etag)
        assert (sha256(content), size) == (there.checksum, there.file_size)

    def test_a_large_file_that_is_there_is_not_sent(self, wire: Wire, tmp_path: Path, schema: str) -> None:
        """A crash left the object without a record: it is found, and recorded."""
        path = large_file(tmp_path)
        wire.answer("PutObject", 403, "ExpiredToken", times=1, key=raw_key(schema))
        with pytest.raises(StoreError, match="credentials have expired"):
            upload(wire.tracker, path, schema=schema)
        wire.requests.clear()
        assert (1, True) == as_pair(upload(wire.tracker, path, schema=schema))
        assert ["HeadObject"] == wire.operations(schema)

    @pytest.mark.parametrize("same", [True, False])
    def test_what_comes_in_between_is_not_overwritten_by_parts(
        self, wire: Wire, tmp_path: Path, schema: str, *, same: bool
    ) -> None:
        """Another was faster while the parts were under way: its object stays, and is ours if it has the same bytes."""
        path = large_file(tmp_path)
        other = path.read_bytes() if same else b"faster"
        key = f"{schema}/births/FY2023/a.zip"
        wire.at("CompleteMultipartUpload", lambda: wire.client.put_object(Bucket="raw", Key=key, Body=other))
        if same:
            assert (1, True) == as_pair(upload(wire.tracker, path, schema=schema))
        else:
            with pytest.raises(DifferentContentError):
                upload(wire.tracker, path, schema=schema)
        assert other == wire.body(key)
        assert hashlib.md5(other).hexdigest() == wire.client.head_object(Bucket="raw", Key=key)["ETag"].strip('"')
        assert [] == wire.unfinished(schema)

    def test_what_others_put_there_is_known_by_its_md5(self, wire: Wire, schema: str) -> None:
        """An object of a single PUT, without our note, is not read through: its ETag is the MD5."""
        wire.client.put_object(Bucket="raw", Key=f"{schema}/births/FY2023/a.zip", Body=b"same")
        wire.requests.clear()
        assert (1, True) == as_pair(upload(wire.tracker, b"same", schema=schema))
        assert ["PutObject", "HeadObject"] == wire.operations(schema)

    def test_what_others_put_there_in_parts_is_read_through(self, wire: Wire, schema: str) -> None:
        """Its ETag is the MD5 of nothing; its bytes tell."""
        content = os.urandom(6 * MIB)
        put_in_parts(wire.client, f"{schema}/births/FY2023/a.zip", content)
        wire.requests.clear()
        with pytest.raises(DifferentContentError):
            upload(wire.tracker, content[:-1] + bytes([content[-1] ^ 1]), schema=schema)
        assert (1, True) == as_pair(upload(wire.tracker, content, schema=schema))
        assert ["PutObject", "HeadObject", "GetObject"] * 2 == wire.operations(schema)
        assert content == wire.body(f"{schema}/births/FY2023/a.zip")

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_a_byte_that_is_damaged_on_its_way_is_found_out(self, wire: Wire, schema: str, size: int) -> None:
        """The store compares what arrives with its digest, refuses it, and it is sent again."""
        content = os.urandom(size)
        operation = "PutObject" if size == 10 else "UploadPart"
        wire.spoil(operation)
        told: list[int] = []
        upload(wire.tracker, content, schema=schema, on_progress=told.append)
        assert content == wire.body(f"{schema}/births/FY2023/a.zip")
        assert {"PutObject": 2, "UploadPart": 4}[operation] == wire.operations(schema).count(operation)
        assert size == sum(told)

    def test_a_part_without_an_answer_is_sent_again_and_not_the_file(
        self, embedded: Server, tmp_path: Path, schema: str
    ) -> None:
        """Each part loses its first answer: it alone goes again, and the file is begun once."""
        path = large_file(tmp_path)
        sent: Counter[str] = Counter()

        def decide(seen: proxy.Seen) -> proxy.Fate:
            place, _, query = seen.path.partition("?")
            if f"/{schema}/births/" not in place:
                return proxy.Fate.ANSWERED
            part = next((one for one in query.split("&") if one.startswith("partNumber")), "")
            what = part or f"{seen.method} {query}".split("=")[0]
            sent[what] += 1
            return proxy.Fate.ANSWER_LOST if part and sent[what] == 1 else proxy.Fate.ANSWERED

        with proxy.FaultyProxy(embedded.endpoint_url, decide) as faulty:
            tracker = Tracker.over(Connection(access_to(embedded, endpoint_url=faulty.endpoint_url)))
            assert (1, True) == as_pair(upload(tracker, path, schema=schema))
        assert {
            "partNumber=1": 2,
            "partNumber=2": 2,
            "partNumber=3": 2,
            "POST uploads": 1,
            "POST uploadId": 1,
            "HEAD ": 2,
        } == dict(sent)

    def test_an_end_without_an_answer_is_looked_at(self, embedded: Server, tmp_path: Path, schema: str) -> None:
        """The parts were put together and nobody heard of it: they are found there, and not sent again."""
        path = large_file(tmp_path)
        sent: Counter[str] = Counter()

        def decide(seen: proxy.Seen) -> proxy.Fate:
            ending = seen.method == "POST" and "uploadId=" in seen.path and f"/{schema}/" in seen.path
            sent["end" if ending else "part" if "partNumber=" in seen.path and f"/{schema}/" in seen.path else ""] += 1
            return proxy.Fate.ANSWER_LOST if ending else proxy.Fate.ANSWERED

        with proxy.FaultyProxy(embedded.endpoint_url, decide) as faulty:
            tracker = Tracker.over(Connection(access_to(embedded, endpoint_url=faulty.endpoint_url)))
            assert (1, True) == as_pair(upload(tracker, path, schema=schema))
            assert ["a.zip"] == list(recorded(tracker, schema))
        assert (1, 3) == (sent["end"], sent["part"])

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_a_bucket_that_is_gone_is_told(self, wire: Wire, schema: str, size: int) -> None:
        """It vanished in the middle: the error names it, and nothing is recorded."""
        for operation in ("PutObject", "CreateMultipartUpload"):
            wire.answer(operation, 404, "NoSuchBucket", key=f"{schema}/births")
        with pytest.raises(StoreError, match=r"NoSuchBucket: there is no such bucket"):
            upload(wire.tracker, os.urandom(size), schema=schema)
        assert {} == recorded(wire.tracker, schema)

    def test_a_bucket_that_never_was_is_told_before_a_byte_is_sent(self, embedded: Server, schema: str) -> None:
        """The look at the document finds that out."""
        tracker = Tracker.over(Connection(access_to(embedded, "no-such-bucket")))
        with pytest.raises(StoreError, match=r"NoSuchBucket: there is no such bucket"):
            upload(tracker, b"some bytes", schema=schema)
        assert 0 == tracker.stats.requests.get("upload", 0)

    @pytest.mark.parametrize("size", [10, LARGE])
    @pytest.mark.parametrize(
        ("refusal", "advice"),
        [
            ((403, "AccessDenied"), "allow s3:PutObject on it"),
            ((403, "QuotaExceeded"), "the quota is used up: make room"),
            ((507, "InsufficientStorage"), "the store is full: make room"),
            ((507, "XMinioStorageFull"), "the store is full: make room"),
            ((400, "EntityTooLarge"), "larger than a single PUT may be"),
        ],
    )
    def test_a_refusal_says_what_to_do(
        self, wire: Wire, schema: str, size: int, refusal: tuple[int, str], advice: str
    ) -> None:
        """No right, no room: the error says so at once, nothing is recorded, and later the same call finishes."""
        content = os.urandom(size)
        for operation in ("PutObject", "UploadPart"):
            wire.answer(operation, *refusal, key=f"{schema}/births", times=1)
        with pytest.raises(StoreError, match=advice):
            upload(wire.tracker, content, schema=schema)
        assert ({}, []) == (recorded(wire.tracker, schema), wire.unfinished(schema))
        assert (1, True) == as_pair(upload(wire.tracker, content, schema=schema))

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_who_may_not_look_may_upload(self, wire: Wire, schema: str, size: int) -> None:
        """Without the right to list, a missing object is answered 403, and is taken for missing."""
        wire.answer("HeadObject", 403, "403", times=1)
        assert (1, True) == as_pair(upload(wire.tracker, os.urandom(size), schema=schema))

    def test_who_may_not_look_is_told_where_something_is(self, wire: Wire, schema: str) -> None:
        """Something is there and may not be looked at: what to allow is said, and nothing is recorded."""
        wire.client.put_object(Bucket="raw", Key=f"{schema}/births/FY2023/a.zip", Body=b"same")
        wire.answer("HeadObject", 403, "403")
        with pytest.raises(DeniedError, match="allow s3:GetObject"):
            upload(wire.tracker, b"same", schema=schema)
        assert {} == recorded(wire.tracker, schema)

    @pytest.mark.parametrize("size", [10, LARGE])
    def test_a_store_that_ignores_conditions_gets_no_byte(
        self, wire_of: Callable[[Meddle], Wire], schema: str, size: int
    ) -> None:
        """It is found out before anything is sent, and refused."""
        wire = wire_of(without_conditions)
        with pytest.raises(UnsafeStoreError, match="does not honour conditional writes"):
            upload(wire.tracker, os.urandom(size), schema=schema)
        assert [] == wire.operations(schema)
        assert [] == wire.keys(schema)

    def test_a_store_that_puts_parts_over_an_object_gets_one_piece(
        self, wire_of: Callable[[Meddle], Wire], tmp_path: Path, schema: str
    ) -> None:
        """Where only the end of an upload in parts ignores its condition, a large file is one PUT, which does not."""
        wire = wire_of(without_the_last_condition)
        path = large_file(tmp_path)
        told: list[int] = []
        upload(wire.tracker, path, schema=schema, on_progress=told.append)
        assert ["HeadObject", "PutObject", "HeadObject"] == wire.operations(schema)
        key = f"{schema}/births/FY2023/a.zip"
        assert path.read_bytes() == wire.body(key)
        assert LARGE == sum(told)
        with pytest.raises(DifferentContentError):
            upload(wire.tracker, os.urandom(LARGE), "b.zip", key=key, schema=schema)
        assert path.read_bytes() == wire.body(key)

    @pytest.mark.parametrize("answer", [409, 500, 503])
    def test_only_a_certain_answer_says_whether_a_store_keeps_parts_out(
        self, wire_of: Callable[[Meddle], Wire], schema: str, answer: int
    ) -> None:
        """A 409 or 5xx to the check is no verdict: it is tried again, and another's object is not overwritten."""
        wire = wire_of(without_the_last_condition)
        answer_the_check(wire, answer)
        ours, theirs = os.urandom(9 * MIB), os.urandom(9 * MIB)
        key = f"{schema}/births/FY2023/a.zip"
        bucket = wire.tracker._connection.access.bucket  # noqa: SLF001 - a new one
        put = partial(wire.client.put_object, Bucket=bucket, Key=key, Body=theirs)
        wire.at("CompleteMultipartUpload", put)  # whichever comes
        wire.at("PutObject", put)
        with pytest.raises(DifferentContentError):
            upload(wire.tracker, ours, schema=schema)
        assert (theirs, {}) == (wire.body(key), recorded(wire.tracker, schema))
        assert "CreateMultipartUpload" not in wire.operations(schema)
        assert [] == wire.unfinished("_cf_tracker")

    @pytest.mark.parametrize("answer", [409, 500])
    def test_a_store_that_keeps_parts_out_is_found_out_at_the_second_try(
        self, wire_of: Callable[[Meddle], Wire], schema: str, answer: int
    ) -> None:
        """An uncertain answer is not kept: a large file goes in parts all the same."""
        wire = wire_of(lambda *_: None)
        answer_the_check(wire, answer)
        upload(wire.tracker, os.urandom(9 * MIB), schema=schema)
        assert "CreateMultipartUpload" in wire.operations(schema)
        checks = [key for asked, key in wire.requests if asked == "CompleteMultipartUpload" and key.startswith("_cf_")]
        assert 2 == len(checks)
        assert [] == wire.unfinished("_cf_tracker")

    def test_a_store_without_parts_gets_one_piece(self, wire_of: Callable[[Meddle], Wire], schema: str) -> None:
        """One that answers 501 to parts, or to their condition, takes a large file in one request."""
        wire = wire_of(lambda *_: None)
        answer_the_check(wire, 501)
        upload(wire.tracker, os.urandom(9 * MIB), schema=schema)
        assert ["HeadObject", "PutObject", "HeadObject"] == wire.operations(schema)

    @pytest.mark.parametrize("lost", [True, False])
    def test_what_lies_there_after_the_parts_is_compared(
        self, wire: Wire, embedded: Server, schema: str, *, lost: bool
    ) -> None:
        """Another's object that took the place of ours, seen by the look that follows, is not recorded as ours."""
        key = f"{schema}/births/FY2023/a.zip"
        theirs = os.urandom(9 * MIB)
        looks = itertools.count()

        def meddle(operation: str, request: AWSPreparedRequest) -> None:
            if operation == "HeadObject" and is_about(request, key) and next(looks) == 1:
                with closing(open_client(access_to(embedded))) as client:
                    client.put_object(Bucket="raw", Key=key, Body=theirs)

        wire._meddlers.append(meddle)  # noqa: SLF001 - between the end of the parts and the look
        if lost:
            wire.answer("CompleteMultipartUpload", 500, "InternalError", times=1)
        with pytest.raises(DifferentContentError):
            upload(wire.tracker, os.urandom(9 * MIB), schema=schema)
        assert (theirs, {}) == (wire.body(key), recorded(wire.tracker, schema))

    @pytest.mark.parametrize("strict", [True, False])
    def test_of_two_that_race_with_large_files_the_record_is_of_what_is_there(
        self, wire_of: Callable[[Meddle], Wire], embedded: Server, schema: str, *, strict: bool
    ) -> None:
        """In 8 rounds another end of an upload is answered 409 each time: each record is of its object's bytes."""
        first = wire_of((lambda *_: None) if strict else without_the_last_condition)
        bucket = first.tracker._connection.access.bucket  # noqa: SLF001 - a new one
        for number in range(8):
            ends = itertools.count()

            def busy(operation: str, request: AWSPreparedRequest, number: int = number, ends: Any = ends) -> Any:  # noqa: ANN401 - as answers are
                if operation == "CompleteMultipartUpload" and next(ends) == number % 5:
                    return answered(request, 409, "ConditionalRequestConflict")
                return None if strict else without_the_last_condition(operation, request)

            with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
                clients = [stack.enter_context(closing(open_client(access_to(embedded)))) for _ in range(2)]
                wires = [Wire(client, bucket, busy) for client in clients]
                contents = [os.urandom(9 * MIB) for _ in wires]
                done = [
                    pool.submit(upload, one.tracker, content, f"{number}.zip", schema=schema)
                    for one, content in zip(wires, contents, strict=True)
                ]
                errors = [future.exception() for future in done]
            (won,) = [content for content, error in zip(contents, errors, strict=True) if error is None]
            assert 1 == sum(isinstance(error, DifferentContentError) for error in errors)
            there = first.body(f"{schema}/births/FY2023/{number}.zip")
            assert [sha256(won)] * 2 == [sha256(there), recorded(first.tracker, schema)[f"{number}.zip"].checksum]

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_large_file_in_one_piece_that_changes_is_found_out(
        self,
        wire_of: Callable[[Meddle], Wire],
        tmp_path: Path,
        schema: str,
        change: Callable[[Path], None],
    ) -> None:
        """It is read as it is sent, and what is not what it was is not sent to its end."""
        wire = wire_of(without_the_last_condition)
        path = large_file(tmp_path)
        wire.at("HeadObject", lambda: change(path))
        with pytest.raises(LocalFileError, match=r"large\.zip changed while it was uploaded"):
            upload(wire.tracker, path, schema=schema)
        assert ([], {}) == (wire.keys(schema), recorded(wire.tracker, schema))

    def test_a_large_file_in_one_piece_that_changes_on_its_way_is_not_sent_again(
        self, wire_of: Callable[[Meddle], Wire], tmp_path: Path, schema: str
    ) -> None:
        """What boto3 makes of it, a broken connection, does not hide that it was the file."""
        wire = wire_of(without_the_last_condition)
        path = large_file(tmp_path)
        wire.at("PutObject", lambda: change_last(path))
        with pytest.raises(LocalFileError, match=r"large\.zip changed while it was uploaded"):
            upload(wire.tracker, path, schema=schema)
        assert ["HeadObject", "PutObject"] == wire.operations(schema)
        assert [] == wire.keys(schema)

    def test_an_error_in_on_progress_ends_one_piece(self, wire_of: Callable[[Meddle], Wire], schema: str) -> None:
        """Nor does it hide an error of the caller's."""
        wire = wire_of(without_the_last_condition)
        with pytest.raises(ZeroDivisionError):
            upload(wire.tracker, os.urandom(LARGE), schema=schema, on_progress=raising(ZeroDivisionError()))
        assert ["HeadObject", "PutObject"] == wire.operations(schema)
        assert [] == wire.keys(schema)

    def test_what_comes_in_between_is_not_overwritten_by_one_piece(
        self, wire_of: Callable[[Meddle], Wire], schema: str
    ) -> None:
        """Another was faster after the look: its object stays."""
        wire = wire_of(without_the_last_condition)
        key = f"{schema}/births/FY2023/a.zip"
        bucket = wire.tracker._connection.access.bucket  # noqa: SLF001 - a new one
        wire.at("PutObject", lambda: wire.client.put_object(Bucket=bucket, Key=key, Body=b"faster"))
        with pytest.raises(DifferentContentError):
            upload(wire.tracker, os.urandom(LARGE), schema=schema)
        assert b"faster" == wire.body(key)

    def test_no_error_shows_a_secret(self, schema: str, path: Path) -> None:
        """Whatever is raised, with all that stands behind it, names neither key nor token."""
        access = Access(
            bucket="raw",
            endpoint_url="http://127.0.0.1:9",
            region="us-east-1",
            access_key="AKIDSECRET",
            secret_key="hush-hush",
            session_token="hush-token",
        )
        tracker = Tracker.over(Connection(access, patience=Patience(first=0.001, longest=0.01)))
        with pytest.raises(TrackerError) as raised:
            upload(tracker, path, schema=schema)
        told = "".join(traceback.format_exception(raised.value)) + repr(tracker)
        assert not any(secret in told for secret in ("AKIDSECRET", "hush"))


def put_in_parts(client: "S3Client", key: str, content: bytes) -> None:
    """Put an object there as others do: in parts, without a note of its checksum."""
    upload_id = client.create_multipart_upload(Bucket="raw", Key=key)["UploadId"]
    parts: list[Part] = []
    for number, start in enumerate(range(0, len(content), 5 * MIB), 1):
        part = client.upload_part(
            Bucket="raw", Key=key, UploadId=upload_id, PartNumber=number, Body=content[start : start + 5 * MIB]
        )
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    client.complete_multipart_upload(Bucket="raw", Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts})


class TestServers:
    """The same on every server."""

    @pytest.mark.parametrize("size", [0, 10, LARGE])
    def test_a_file_is_uploaded_once(self, server: Server, schema: str, size: int) -> None:
        """It is there as it was here, known from then on, and no other bytes come in its place."""
        content = os.urandom(size)
        tracker = Tracker.over(Connection(access_to(server)))
        assert (1, True) == as_pair(upload(tracker, content, schema=schema))
        assert (1, False) == as_pair(upload(tracker, content, schema=schema))
        key = f"{schema}/births/FY2023/a.zip"
        with pytest.raises(DifferentContentError):
            upload(tracker, os.urandom(size + 1), "b.zip", key=key, schema=schema)
        with closing(open_client(access_to(server))) as client:
            assert content == client.get_object(Bucket="raw", Key=key)["Body"].read()
        assert () == tracker.audit(schema, deep=True).findings

    @pytest.mark.parametrize("size", [10, LARGE])
    @pytest.mark.parametrize("fate", [proxy.Fate.ANSWER_LOST, proxy.Fate.LOST_BEFORE])
    def test_the_first_answer_to_each_request_is_lost(
        self, server: Server, schema: str, size: int, fate: proxy.Fate
    ) -> None:
        """Every request about the file goes wrong once, each in its turn, and the file is there once."""
        content = os.urandom(size)
        met: set[str] = set()

        def decide(seen: proxy.Seen) -> proxy.Fate:
            what = f"{seen.method} {seen.path.split('uploadId')[0]}"
            if f"/{schema}/births" not in seen.path or what in met:
                return proxy.Fate.ANSWERED
            met.add(what)
            return fate

        Connection(access_to(server)).prove()
        with proxy.FaultyProxy(server.endpoint_url, decide) as faulty:
            tracker = Tracker.over(Connection(access_to(server, endpoint_url=faulty.endpoint_url)))
            assert (1, True) == as_pair(upload(tracker, content, schema=schema))
            assert ["a.zip"] == list(recorded(tracker, schema))
            assert () == tracker.audit(schema, deep=True).findings
        assert met


class TestOneNameOneContent:
    """A file is known by its name, and whoever gives it other bytes is told, whatever key they go to."""

    def test_two_keys_for_one_file_are_refused_before_anything_is_sent(self, tracker: Tracker, bucket: Bucket) -> None:
        """One call that would put one file under two keys is an error: only one of them could be recorded."""
        uploads = [new(content, "a.zip", key=f"vitals/{content.decode()}") for content in (b"one", b"two")]
        with pytest.raises(InvalidNameError, match="from two keys"):
            tracker.upload_many(uploads)
        assert [] == bucket.calls

    def test_a_rival_that_recorded_other_bytes_meanwhile_is_told(self, tracker: Tracker, bucket: Bucket) -> None:
        """Where another worker records the same name with other bytes while these are sent, that is no success."""

        def rival(kind: str, _number: int) -> None:
            if kind == "create":
                bucket.before = lambda *_: None
                upload(over(bucket), b"theirs", key="vitals/theirs")

        bucket.before = rival
        with pytest.raises(DifferentContentError, match=r"got a\.zip from another worker meanwhile, as version 1"):
            upload(tracker, b"ours", key="vitals/ours")
        assert sha256(b"theirs") == recorded(tracker)["a.zip"].checksum

    @pytest.mark.parametrize(
        ("checksum", "same"),
        [
            (hashlib.sha256(b"first").hexdigest(), True),
            (f"SHA256:{hashlib.sha256(b'first').hexdigest().upper()}", True),
            (f"md5:{hashlib.md5(b'first').hexdigest()}", True),
            (hashlib.sha256(b"other").hexdigest(), False),
            (f"md5:{hashlib.md5(b'other').hexdigest()}", False),
            ("crc32:00000000", True),
        ],
    )
    def test_checksums_are_compared_in_the_forms_that_are_about(
        self, tracker: Tracker, checksum: str, *, same: bool
    ) -> None:
        """A known file is compared by the SHA-256 or MD5 that was recorded, in either case, or else by its size."""
        where = ("vitals", "births", "FY2023", "a.zip")
        tracker.record(*where, file_size=5, s3_location="s3://raw/x", checksum=checksum)
        if same:
            assert (1, False) == as_pair(upload(tracker, b"first"))
        else:
            with pytest.raises(DifferentContentError):
                upload(tracker, b"first")

    @pytest.mark.parametrize("given", [{"fyear": 2023}, {"fyear": ""}, {"timestamp": " "}, {"upload_date": "a\nb"}])
    def test_all_that_is_given_is_looked_at_before_anything_is_sent(
        self, tracker: Tracker, bucket: Bucket, given: dict[str, Any]
    ) -> None:
        """A date or year that cannot be recorded is refused while nothing is in the bucket."""
        with pytest.raises(InvalidNameError):
            upload(tracker, b"first", **given)
        assert [] == bucket.calls

    @pytest.mark.parametrize("document", ["rates/rates_version_info.json", "rates/rates_clean_version_info.json"])
    def test_a_document_of_another_schema_is_no_place_for_a_file(
        self, tracker: Tracker, bucket: Bucket, document: str
    ) -> None:
        """No key may be that of a document, whosever it is."""
        with pytest.raises(InvalidNameError, match="the tracker's own"):
            upload(tracker, b"first", key=document)
        assert [] == bucket.calls


class TestManyOfWhichOneIsWrong:
    """What one file asks for does not keep the others from their place."""

    def test_a_copy_that_is_to_be_an_error_leaves_the_others_recorded(self, tracker: Tracker) -> None:
        """`on_same_content="error"` is raised once all others of the call are recorded and told."""
        upload(tracker, b"first")
        told: list[Recorded] = []
        copy = new(b"first", "copy.zip", on_same_content="error")
        others = [new(f"{number}".encode(), f"{number}.zip") for number in range(5)]
        with pytest.raises(SameContentError, match=r"copy\.zip has the same content as version 1"):
            tracker.upload_many([copy, *others], workers=1, on_recorded=told.append)
        assert {"a.zip", *(one.file for one in others)} == set(recorded(tracker))
        assert 6 == len(told)

    def test_a_dry_run_of_many_numbers_each_once(self, tracker: Tracker) -> None:
        """However many there are, a dry run says what one commit after the other would give."""
        files = [new(f"{number}".encode(), f"{number}.zip") for number in range(450)]
        done = tracker.upload_many(files, dry_run=True)
        assert list(range(1, 451)) == [one.version for one in done]
