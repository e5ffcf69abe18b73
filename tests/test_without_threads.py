"""Late in the life of a process, or with too many threads, all is done without threads of our own."""

import io
import itertools
import os
import pickle
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from typing import Final

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import versions_of
from cf_data_tracker.errors import UnsafeStoreError
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Replacing, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.probe import Diagnosis
from cf_data_tracker.stores.s3 import Quoting, open_client
from cf_data_tracker.tracker import Tracker
from cf_data_tracker.upload import NewUpload
from conftest import access_to, connection_to, make_bucket
from servers.server import Server

MIB: Final = 1 << 20

WORK: Final = """
import atexit, io, pickle, sys, threading, time
from cf_data_tracker import NewUpload

tracker, schema, sizes, early, moment = pickle.load(sys.stdin.buffer)


def upload(sizes, name=""):
    tracker.upload_many(
        [
            NewUpload(
                path_or_file=io.BytesIO(bytes([number]) * size),
                schema=schema,
                table="births",
                file_name="FY2023",
                file=f"{name}{number}.zip",
            )
            for number, size in enumerate(sizes)
        ]
    )


def late():
    threading.main_thread().join()
    time.sleep(0.2)  # executors have been shut down by then
    upload(sizes)


if early:
    upload([1], "early")
if moment == "atexit":
    atexit.register(upload, sizes)
else:
    threading.Thread(target=late).start()
"""


@pytest.fixture
def fresh(embedded: Server) -> Access:
    """Give a bucket whose store nobody has examined yet."""
    bucket = f"late-{uuid.uuid4().hex[:8]}"
    make_bucket(embedded, bucket)
    return access_to(embedded, bucket)


@pytest.mark.parametrize("moment", ["thread", "atexit"])
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("sizes", [[1, 2, 3], [9 * MIB], [17 * MIB, 1]], ids=["small", "large", "both"])
def test_after_the_main_thread_has_ended(
    fresh: Access, schema: str, sizes: list[int], moment: str, *, early: bool
) -> None:
    """A thread that goes on, and a function registered with `atexit`, upload and record as any other does."""
    tracker = Tracker.over(Connection(fresh))
    handed = pickle.dumps((tracker, schema, sizes, early, moment))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", WORK], check=False, env=environment, input=handed, capture_output=True, timeout=120
    )
    said = [line for line in ended.stderr.decode().splitlines() if "without races between writers" not in line]
    assert (0, [], b"") == (ended.returncode, said, ended.stdout)
    recorded = {version.file: version.file_size for version in versions_of(tracker.document(schema), schema)}
    wanted = {f"{number}.zip": size for number, size in enumerate(sizes)}
    assert (wanted | {"early0.zip": 1} if early else wanted) == recorded


def scarce(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let so many threads be started, and none after them."""
    start, started = threading.Thread.start, itertools.count()

    def limited(thread: threading.Thread) -> None:
        if next(started) >= number:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.parametrize("number", range(5))
def test_with_too_many_threads(fresh: Access, schema: str, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where only some threads can be started, or none, each file is sent once, and recorded once."""
    tracker = Tracker.over(Connection(fresh))
    contents = [bytes([each]) * size for each, size in enumerate([1, 17 * MIB, 2, 9 * MIB])]
    told: list[int] = []
    scarce(monkeypatch, number)
    done = tracker.upload_many(
        [
            NewUpload(
                path_or_file=io.BytesIO(content),
                schema=schema,
                table="births",
                file_name="FY2023",
                file=f"{each}.zip",
            )
            for each, content in enumerate(contents)
        ],
        on_progress=told.append,
    )
    assert [True] * 4 == [one.created for one in done]
    assert sum(map(len, contents)) == sum(told)
    with closing(open_client(fresh)) as client:
        for each, content in enumerate(contents):
            key = f"{schema}/births/FY2023/{each}.zip"
            assert content == client.get_object(Bucket=fresh.bucket, Key=key)["Body"].read()
        assert "Uploads" not in client.list_multipart_uploads(Bucket=fresh.bucket)


def test_a_store_that_was_examined_without_races_is_examined_again(
    fresh: Access, schema: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its verdict is for one write, and is not kept: once threads can be had, writers race before the next write."""
    tracker = Tracker.over(Connection(fresh))
    found: list[Diagnosis] = []
    diagnose = Connection.diagnose

    def noted(connection: Connection) -> Diagnosis:
        found.append(diagnose(connection))
        return found[-1]

    monkeypatch.setattr(Connection, "diagnose", noted)

    def record(file: str) -> None:
        tracker.record(schema, "births", "FY2023", file, file_size=1, s3_location=f"s3://raw/{file}")

    with monkeypatch.context() as patched:
        scarce(patched, 3)
        record("a.zip")
        record("b.zip")
        record("b.zip")
    assert 3 == caplog.text.count("without races between writers")
    record("c.zip")
    record("d.zip")
    assert [False, False, False, True] == [one.raced for one in found]
    assert 3 == caplog.text.count("without races between writers")
    assert 4 == len(tracker.history(schema, "births"))


def test_a_store_that_fails_without_races_is_refused(
    fresh: Access, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs no threads is tried all the same, and a store that ignores conditions is not written to."""

    class Ignores(MemoryStore):
        def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:  # noqa: ARG002 - the port's
            """Put the object whatever is there."""
            return super().write(key, body, replacing=ANYTHING, waiting=waiting)

    store = Ignores()
    connection = Connection(fresh)
    monkeypatch.setattr(type(connection._here), "with_etags", lambda _here, _quoting: store)  # noqa: SLF001 - in its place
    scarce(monkeypatch, 0)
    with pytest.raises(UnsafeStoreError, match="does not honour conditional writes"):
        Tracker.over(connection).record(schema, "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/a.zip")
    assert [] == store.list("")


def test_an_examination_without_races_says_so(embedded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The races are no checks of it, and those that were tried have passed."""
    scarce(monkeypatch, 31)
    diagnosis = connection_to(embedded).diagnose()
    assert (False, True, Quoting.AS_RECEIVED) == (diagnosis.raced, diagnosis.safe, diagnosis.quoting)
    assert not any("writers at once" in check.name for check in diagnosis.checks)
