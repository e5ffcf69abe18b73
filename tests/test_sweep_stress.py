"""Sweeps beside workers that write, record and reprocess under the same keys."""

import queue
import sys
import threading
from pathlib import Path
from time import time

import pytest

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Stored
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import sweep as stress

ENDPOINT = "http://127.0.0.1:9000"
WORKERS = 8


class MemoryFiles:
    """The objects of a bucket in memory, seen past the trackers."""

    endpoint_url = ENDPOINT

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        self._store.write(key, body, replacing=ANYTHING)

    def get(self, key: str) -> bytes | None:
        """Return its bytes."""
        there = self._store.read(key)
        return there.body if isinstance(there, Stored) else None

    def has(self, key: str) -> bool:
        """Return whether it is there."""
        return self._store.head(key) is not None


@pytest.mark.parametrize("versioned", [False, True])
def test_nothing_that_a_record_names_is_missing(versioned: bool) -> None:  # noqa: FBT001 - the bucket
    """Eight workers, a sweep of whatever is a millisecond old, and each object in six forms."""
    raw_store, store = MemoryStore(), MemoryStore(versioned=versioned, clock=lambda: float(int(time())))
    files = MemoryFiles(store)

    def connection(name: str, objects: MemoryStore) -> Connection:
        return Connection(Access(bucket=name, endpoint_url=ENDPOINT), store=objects)

    raw = Tracker.over(connection("raw", raw_store))
    for file_name in stress.FILE_NAMES:
        raw.record(stress.SCHEMA, "births", file_name, "a.zip", file_size=1, s3_location="s3://raw/a.zip")
    results: queue.Queue[tuple[str, object]] = queue.Queue()
    start = stress.Start(3.0, threading.Barrier(WORKERS + 2))
    trackers = [CleanTracker.over(connection("raw", raw_store), connection("clean", store)) for _ in range(WORKERS + 1)]
    threads = [
        *(
            threading.Thread(target=stress.work, args=(trackers[number], files, start, number, results))
            for number in range(WORKERS)
        ),
        threading.Thread(target=stress.sweep, args=(trackers[WORKERS], start, results)),
        threading.Thread(target=stress.check, args=(files, start, results)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    _, missing = stress.look(files)
    result = stress.result_of(list(results.queue), missing)
    assert ((), ()) == (result.missing, result.failed)
    assert min(result.recorded, result.deleted, result.looks) > 10, result
