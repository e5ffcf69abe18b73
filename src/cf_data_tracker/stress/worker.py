"""A worker: it records its files, one after the other, and reports what came of each.

One that is a process of its own reports each step as it is made, through a pipe of its own. A queue would share a lock
among the workers, and one that is killed while it holds the lock would silence the others. One that an executor runs
elsewhere reports at its end, and a thread of the parent's process tells the parent directly.
"""

import copy
import functools
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final, TypeAlias

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, raw_document, to_bytes
from cf_data_tracker.errors import DocumentVanishedError, StoreError, TrackerError
from cf_data_tracker.model import NewFile, Recorded
from cf_data_tracker.rules.raw import record
from cf_data_tracker.stats import Stats
from cf_data_tracker.store import ANYTHING, Conflict, Stored, Unanswered
from cf_data_tracker.stress.verdict import Acknowledged
from cf_data_tracker.stress.watch import Committed, Watch
from cf_data_tracker.tracker import Tracker, raw_spec, recordings_of

READY, FINISHED = "ready", "finished"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
LONGEST_LEAD: Final = 60.0
"""Seconds that a job waits for its start at most, should the clock of its machine be wrong."""

Recorder: TypeAlias = Callable[[NewFile], Recorded]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A recording that ended in an error.

    Attributes:
        worker: The worker's number.
        file: The file; empty where the worker itself ended in the error.
        kind: The error's name.
        message: What it says.
    """

    worker: int
    file: str
    kind: str
    message: str


Result: TypeAlias = Acknowledged | Failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What a worker has to tell, of one step or of all of them.

    Attributes:
        results: What came of its recordings.
        commits: The commits that were seen from its process.
        stats: What its connection asked of the store.
    """

    results: tuple[Result, ...] = ()
    commits: tuple[Committed, ...] = ()
    stats: Stats = field(default_factory=Stats)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a worker is to do.

    Attributes:
        number: Which worker it is.
        connection: The bucket.
        strategy: One of `options.STRATEGIES`.
        files: What it records.
    """

    number: int
    connection: Connection
    strategy: str
    files: tuple[NewFile, ...]

    @property
    def key(self) -> str:
        """The key of the document."""
        return raw_spec(self.files[0].schema).key


def work(job: Job, pipe: Pipe) -> None:
    """Be a process: say that everything is open, wait for the word, record, and report each step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    _open(job)
    pipe.send(READY)
    with Watch(job.connection, job.key, word=pipe.recv()) as watch:
        for result in results(job):
            pipe.send(_account(watch, result))
    pipe.send(FINISHED)


def work_apart(job: Job, start: float) -> Account:
    """Be a job of an executor, anywhere: with a connection of our own, wait for the start, record, and report all.

    Args:
        job: What to do.
        start: When, as seconds of the wall clock; at once if that is over.
    """
    job = replace(job, connection=copy.copy(job.connection))  # as if pickled, which not every executor does
    _open(job)
    with Watch(job.connection, job.key, word=_awaited(start)) as watch:
        return _account(watch, *results(job))


def work_within(job: Job, start: float, tell: Callable[[Account], None], stop: threading.Event) -> Account:
    """Be a thread of the parent's process, whose connection is shared: wait for the start, record, and tell each step.

    Args:
        job: What to do.
        start: As in `work_apart`.
        tell: Takes what there is to tell.
        stop: When set, no further file is recorded.
    """
    _awaited(start)
    for result in results(job):
        tell(Account(results=(result,)))
        if stop.is_set():
            break
    return Account()  # all is told


def results(job: Job) -> Iterator[Result]:
    """Record the files, and yield what came of each; up to one at which the store refuses, as it would at the others.

    So a job ends that was called off, too: its document or its store is gone then.
    """
    recorder = recorder_of(job)
    for new in job.files:
        began = time.monotonic()
        try:
            done = recorder(new)
        except (TrackerError, Conflict, Unanswered) as error:  # blind writes meet the signals themselves
            yield Failed(worker=job.number, file=new.file, kind=type(error).__name__, message=str(error))
            if isinstance(error, (DocumentVanishedError, StoreError)):
                return
        else:
            yield _acknowledged(job, new, done, began)


def recorder_of(job: Job) -> Recorder:
    """Return what records a file by the job's strategy."""
    if job.strategy == "unsafe":
        return lambda new: record_blindly(job.connection, new)
    tracker = Tracker.over(job.connection)
    return lambda new: tracker.record_many([new])[0]


def record_blindly(connection: Connection, new: NewFile) -> Recorded:
    """Record as the earlier package did: read the document, change it and put it back, whatever is there by then."""
    target, store = raw_spec(new.schema), connection.store
    stored = store.read(target.key)
    document: Document | None = raw_document(stored.body) if isinstance(stored, Stored) else None
    recordings = recordings_of([new], datetime.now(timezone.utc))  # noqa: TID251 - a face: here time comes in
    grown, outcomes = record(document, new.schema, recordings)
    if grown is not document and grown is not None:
        store.write(target.key, to_bytes(grown), replacing=ANYTHING)
    return outcomes[0]


@functools.cache
def host() -> str:
    """Return a name of this machine that is another after it was started anew, as its monotonic clock is."""
    with suppress(OSError):
        return BOOT_ID.read_text(encoding="ascii").strip()
    return platform.node()


def _open(job: Job) -> None:
    # Connections are open before the clock starts.
    job.connection.read(raw_spec(job.files[0].schema))


def _awaited(start: float) -> float:
    """Wait for a time of the wall clock, and return which time of the monotonic clock that was."""
    ahead = min(start - time.time(), LONGEST_LEAD)
    word = time.monotonic() + ahead
    time.sleep(max(0.0, ahead))  # noqa: TID251 - nobody is there to hand it in: this is where a job begins
    return word


def _account(watch: Watch, *done: Result) -> Account:
    stats, commits = watch.news()
    return Account(results=done, commits=commits, stats=stats)


def _acknowledged(job: Job, new: NewFile, done: Recorded, began: float) -> Acknowledged:
    return Acknowledged(
        worker=job.number,
        table=new.table,
        file_name=new.file_name,
        file=new.file,
        version=done.version,
        created=done.created,
        began=began,
        ended=time.monotonic(),
        host=host(),
    )
