"""Files uploaded by processes that are killed and begin again: there once, recorded once, and clean by audit."""

import hashlib
import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import versions_of
from cf_data_tracker.model import FileVersion, Recorded
from cf_data_tracker.names import data_key, raw_key
from cf_data_tracker.store import Listed
from cf_data_tracker.stores.objects import PART
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.tracker import Tracker
from cf_data_tracker.upload import NewUpload
from conftest import access_to, connection_to
from servers.server import Server

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

    from mypy_boto3_s3.client import S3Client

FILES: Final = 500
WORKERS: Final = 8
SMALLEST: Final = 1 << 10
LARGEST: Final = 20 << 20
SEED: Final = 11
FUSES: Final = (0.2, 0.1, None)
"""Of all its bytes, the part after which a worker is killed in its first life, and in its second."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A file that was made."""

    path: Path
    size: int
    sha256: str
    etags: frozenset[str]

    @property
    def file(self) -> str:
        """Its name."""
        return self.path.name

    @property
    def file_name(self) -> str:
        """The time period."""
        return f"FY{self.size % 4}"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Made]:
    """Give 500 files of 1 KiB to 20 MiB, small ones more often than large ones."""
    folder = tmp_path_factory.mktemp("made")
    dice = random.Random(SEED)
    stuff = dice.randbytes(LARGEST)
    sizes = [int(SMALLEST * (LARGEST / SMALLEST) ** (dice.random() ** 1.4)) for _ in range(FILES)]
    return [_made(folder / f"{number:03}.zip", b"%08d" % number + stuff[8:size]) for number, size in enumerate(sizes)]


def _made(path: Path, content: bytes) -> Made:
    path.write_bytes(content)
    digests = [_md5(content[start : start + PART]).digest() for start in range(0, len(content), PART)]
    in_parts = f"{_md5(b''.join(digests)).hexdigest()}-{len(digests)}"
    etags = frozenset({_md5(content).hexdigest(), in_parts})  # the second of a store that takes it in parts
    return Made(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest(), etags=etags)


def _md5(content: bytes) -> "hashlib._Hash":
    return hashlib.md5(content, usedforsecurity=False)


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one worker is to upload, in its order."""

    worker: int
    files: Sequence[Made]

    def fuse(self, part: float | None) -> int | None:
        """Return after how many bytes it is killed."""
        return None if part is None else int(part * sum(one.size for one in self.files))


def shares(files: Sequence[Made]) -> list[Share]:
    """Return the shares: two workers have the same half, in other orders, and six share the other half."""
    half = len(files) // 2
    own = [files[half + number :: WORKERS - 2] for number in range(WORKERS - 2)]
    dice = random.Random(SEED)
    return [
        Share(worker=number, files=dice.sample(list(each), len(each)))
        for number, each in enumerate([files[:half], files[:half], *own])
    ]


@dataclass(frozen=True, kw_only=True)
class Lives:
    """How the lives of a worker ended, and what it was told in the last."""

    ended: Sequence[int | None]
    told: Sequence[Recorded]


def lives(connection: Connection, schema: str, share: Share) -> Lives:
    """Have a worker upload its share, in a process of its own, as often as it takes."""
    ended: list[int | None] = []
    told: list[Recorded] = []
    for part in FUSES:
        process, pipe = _start(connection, schema, share, share.fuse(part))
        with closing(pipe):
            try:
                told = pipe.recv()
            except EOFError:
                told = []
        with _STARTING:
            process.join()
            ended.append(process.exitcode)
            process.close()
    return Lives(ended=ended, told=told)


_STARTING = threading.Lock()
"""A process that is started inherits what is open: one at a time, so that none holds the end of another's pipe.

And `start` asks after all that were started before; of two threads that ask after one, one is told 255.
"""


def _start(
    connection: Connection, schema: str, share: Share, fuse: int | None
) -> "tuple[multiprocessing.process.BaseProcess, Pipe]":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cf_data_tracker.tracker", "cf_data_tracker.stores.objects"])
    with _STARTING:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(connection, schema, share, fuse, theirs), daemon=True)
        process.start()
        theirs.close()
    return process, ours


def _work(connection: Connection, schema: str, share: Share, fuse: int | None, pipe: "Pipe") -> None:
    left = [fuse]

    def told(sent: int) -> None:
        if left[0] is not None:
            left[0] -= sent
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    uploads = [
        NewUpload(path_or_file=one.path, schema=schema, table="births", file_name=one.file_name) for one in share.files
    ]
    pipe.send(Tracker.over(connection).upload_many(uploads, workers=4, on_progress=told))


@pytest.fixture
def client(server: Server) -> Iterator["S3Client"]:
    """Give a client of the server, past the library."""
    with closing(open_client(access_to(server))) as client:
        yield client


@pytest.fixture
def swept(client: "S3Client", schema: str) -> Iterator[str]:
    """Give a schema of which nothing stays behind: the servers keep all that they hold in memory."""
    yield schema
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="raw", Prefix=f"{schema}/"):
        for one in page.get("Contents", []):
            client.delete_object(Bucket="raw", Key=one["Key"])
    for begun in client.list_multipart_uploads(Bucket="raw").get("Uploads", []):
        client.abort_multipart_upload(Bucket="raw", Key=begun["Key"], UploadId=begun["UploadId"])


@pytest.mark.timeout(300)
def test_killed_uploaders_finish_what_they_began(
    server: Server,
    client: "S3Client",
    swept: str,
    made: Sequence[Made],
    counted: Callable[[str, Mapping[str, int]], None],
) -> None:
    """500 files, 8 processes, two with the same half, each killed twice: as if it had been one that never died."""
    connection = connection_to(server)
    connection.prove()
    with ThreadPoolExecutor(WORKERS) as pool:
        crew = list(pool.map(lambda share: lives(connection, swept, share), shares(made)))
    ends = Counter(end for worker in crew for end in worker.ended)
    # Of the two with the same half one may find so much there that it sends too little to be killed.
    assert {0, -signal.SIGKILL} == set(ends)
    assert ends[-signal.SIGKILL] >= 2 * (WORKERS - 2)
    assert [0] * WORKERS == [worker.ended[-1] for worker in crew]

    tracker = Tracker.over(connection)
    document = tracker.document(swept)
    versions = list(versions_of(document, swept))
    check_recorded(versions, made)
    check_told(versions, [told for worker in crew for told in worker.told])
    check_there(listing(client, swept), versions, made, swept)
    audit = tracker.audit(swept)
    assert ((), FILES, FILES, 0) == (audit.findings, audit.versions, audit.objects, audit.not_compared)
    counted(
        "uploads by processes",
        {
            "files": FILES,
            "MiB": sum(one.size for one in made) >> 20,
            "lives ended by SIGKILL": ends[-signal.SIGKILL],
            "commits": (document or {})["revision"],
        },
    )


def check_recorded(versions: Sequence[FileVersion], made: Sequence[Made]) -> None:
    """Every file is a version, once, with what it is; each file name has its versions numbered from 1."""
    assert sorted(one.file for one in made) == sorted(version.file for version in versions)
    files = {one.file: one for one in made}
    for version in versions:
        one = files[version.file]
        assert (one.file_name, one.size, f"sha256:{one.sha256}") == (
            version.file_name,
            version.file_size,
            version.checksum,
        )
    for file_name in {version.file_name for version in versions}:
        numbers = [version.version for version in versions if version.file_name == file_name]
        assert list(range(1, len(numbers) + 1)) == sorted(numbers)


def check_told(versions: Sequence[FileVersion], told: Sequence[Recorded]) -> None:
    """What the workers were told is what is recorded."""
    numbers = {version.file: version.version for version in versions}
    assert set(numbers) == {one.file for one in told}
    assert [numbers[one.file] for one in told] == [one.version for one in told]


def listing(client: "S3Client", schema: str) -> list[Listed]:
    """Return what is in the bucket of the schema, but for its document."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="raw", Prefix=f"{schema}/")
    return [
        Listed(key=one["Key"], size=one["Size"], etag=one["ETag"].strip('"'), modified=one["LastModified"].timestamp())
        for page in pages
        for one in page.get("Contents", [])
        if one["Key"] != raw_key(schema)
    ]


def check_there(found: Sequence[Listed], versions: Sequence[FileVersion], made: Sequence[Made], schema: str) -> None:
    """Every file is in the bucket, once, where its record says, with its bytes as their digests tell, and no other."""
    keys = {data_key(schema, "births", one.file_name, one.file): one for one in made}
    assert set(keys) == {one.key for one in found}
    assert {f"s3://raw/{one.key}" for one in found} == {version.s3_location for version in versions}
    etags = {version.s3_location: version.etag for version in versions}
    for one in found:
        assert keys[one.key].size == one.size
        assert one.etag in keys[one.key].etags
        assert one.etag == etags[f"s3://raw/{one.key}"]
