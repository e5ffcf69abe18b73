"""A worker: a process that records its files, one after the other, and reports each acknowledgement as it comes.

It reports through a pipe of its own. A queue would share a lock among the workers, and one that is killed while it
holds the lock would silence the others.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from multiprocessing.connection import Connection as Pipe
from typing import TypeAlias

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, raw_document, to_bytes
from cf_data_tracker.errors import TrackerError
from cf_data_tracker.model import NewFile, Recorded
from cf_data_tracker.rules.raw import record
from cf_data_tracker.stats import Stats
from cf_data_tracker.store import ANYTHING, Conflict, Stored, Unanswered
from cf_data_tracker.stress.verdict import Acknowledged
from cf_data_tracker.tracker import Tracker, raw_target, recordings_of

READY, FINISHED = "ready", "finished"

Recorder: TypeAlias = Callable[[NewFile], Recorded]


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A recording that ended in an error.

    Attributes:
        worker: The worker's number.
        file: The file.
        kind: The error's name.
        message: What it says.
    """

    worker: int
    file: str
    kind: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a worker is to do.

    Attributes:
        number: Which worker it is.
        connection: The bucket.
        strategy: `cas`, or `unsafe` for read, change, and put back blindly.
        files: What it records.
    """

    number: int
    connection: Connection
    strategy: str
    files: tuple[NewFile, ...]


def work(job: Job, pipe: Pipe) -> None:
    """Say that everything is open, wait for the word, record, and report."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    recorder = recorder_of(job)
    job.connection.read(raw_target(job.files[0].schema))  # connections are open before the clock starts
    pipe.send(READY)
    pipe.recv()
    for new in job.files:
        pipe.send(_recorded(job, new, recorder))
    pipe.send(FINISHED)


def recorder_of(job: Job) -> Recorder:
    """Return what records a file by the job's strategy."""
    if job.strategy == "unsafe":
        return lambda new: record_blindly(job.connection, new)
    tracker = Tracker.over(job.connection)
    return lambda new: tracker.record_many([new])[0]


def record_blindly(connection: Connection, new: NewFile) -> Recorded:
    """Record as the earlier package did: read the document, change it and put it back, whatever is there by then."""
    target, store = raw_target(new.schema), connection.store
    stored = store.read(target.key)
    document: Document | None = raw_document(stored.body) if isinstance(stored, Stored) else None
    recordings = recordings_of([new], datetime.now(timezone.utc))  # noqa: TID251 - a face: here time comes in
    grown, outcomes = record(document, new.schema, recordings)
    if grown is not document and grown is not None:
        store.write(target.key, to_bytes(grown), replacing=ANYTHING)
    return outcomes[0]


def _recorded(job: Job, new: NewFile, recorder: Recorder) -> Acknowledged | Failed:
    before, began = job.connection.stats, time.monotonic()
    try:
        done = recorder(new)
    except (TrackerError, Conflict, Unanswered) as error:  # blind writes meet the signals themselves
        return Failed(worker=job.number, file=new.file, kind=type(error).__name__, message=str(error))
    acknowledged = Acknowledged(
        worker=job.number,
        table=new.table,
        file_name=new.file_name,
        file=new.file,
        version=done.version,
        created=done.created,
        began=began,
        ended=time.monotonic(),
        requests=0,
        writes=0,
        conflicts=0,
    )
    return _with_costs(acknowledged, before, job.connection.stats)


def _with_costs(acknowledged: Acknowledged, before: Stats, after: Stats) -> Acknowledged:
    return replace(
        acknowledged,
        requests=sum(after.requests.values()) - sum(before.requests.values()),
        writes=after.requests.get("write", 0) - before.requests.get("write", 0),
        conflicts=after.conflicts - before.conflicts,
    )
