"""A worker that records without end, and keeps a log of its own: what it begins and when, what it was told and when.

A line is handed to the system before the call goes on, so a worker that is killed has said what it had begun. Which
lines can be true together is left to `checker`.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
import traceback
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

from cf_data_tracker.errors import ContentionError, OutcomeUnknownError, StoreError
from cf_data_tracker.model import NewFile
from cf_data_tracker.tracker import Tracker
from checker import End
from dying import await_what_runs_beside

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cf_data_tracker.connection import Connection
    from cf_data_tracker.model import Recorded
    from checker import Place

TABLES: Final = ("births", "deaths")
FILE_NAMES: Final = ("FY2023", "FY2024")
STOP: Final = "stop"

_sleep = time.sleep  # noqa: TID251 - real processes take real time


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker is to do in one of its lives.

    Attributes:
        worker: The worker's name.
        life: Its number.
        connection: What it records through.
        schema: Where.
        folder: Where the logs are, and where a file appears when it is to finish.
        seed: What its choices depend on, with its name and life.
        pause: Seconds between two calls, on average.
        leftover: What an earlier life had begun; it is recorded first.
        calls: How many it makes at most.
    """

    worker: str
    connection: Connection
    schema: str
    folder: Path
    seed: int
    life: int = 0
    pause: float = 0.0
    leftover: tuple[Place, ...] = ()
    calls: int | None = None

    @property
    def name(self) -> str:
        """Name of this life."""
        return f"{self.worker}.{self.life}"

    @property
    def log(self) -> Path:
        """Where this life writes what it does."""
        return self.folder / f"{self.name}.log"

    @property
    def stopped(self) -> bool:
        """Whether it is to finish."""
        return (self.folder / STOP).exists()

    def stop(self) -> None:
        """Tell it, and all that have the same folder, to finish.

        By a file: a worker that is killed while it looks would leave a lock of `multiprocessing` locked.
        """
        (self.folder / STOP).touch()


class _Log(logging.Handler):
    """The log of one life. A line is one write, and the system's own from then on, whatever becomes of us."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._call = ""

    def say(self, **event: object) -> None:
        os.write(self._file, json.dumps(event).encode() + b"\n")

    def begin(self, call: str, files: Sequence[Place]) -> None:
        self._call = call
        self.say(begin=call, files=files, at=time.monotonic())

    def end(self, how: End, done: Sequence[Recorded] = ()) -> None:
        at = time.monotonic()
        self.say(end=self._call, **{"as": how.value}, told=[(one.version, one.created) for one in done], at=at)

    def emit(self, record: logging.LogRecord) -> None:
        """Note each commit that the library tells of."""
        if hasattr(record, "revision") and hasattr(record, "recordings"):
            others = getattr(record, "others", 0)
            self.say(commit=record.revision, added=record.recordings, others=others, call=self._call)


def work(job: Job) -> None:
    """Record until told to finish. For a process of its own."""
    log = _Log(job.log)
    logger = logging.getLogger("cf_data_tracker")
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    try:
        _record_on(job, log, random.Random(f"{job.seed}:{job.name}"))
        await_what_runs_beside()
    except BaseException:
        log.say(failure=f"{job.name}: {traceback.format_exc()}")
        raise


def _record_on(job: Job, log: _Log, chance: random.Random) -> None:
    tracker = Tracker.over(job.connection)
    again = job.leftover
    for number in count() if job.calls is None else range(job.calls):
        if job.stopped and job.calls is None:
            return
        files = again or _chosen(job.name, number, chance)
        ended = _call(job, log, tracker, f"{job.name}.{number}", files)
        again = files if ended is not End.ACKNOWLEDGED and chance.random() < 0.5 else ()
        _sleep(2 * job.pause * chance.random())


def _call(job: Job, log: _Log, tracker: Tracker, call: str, files: Sequence[Place]) -> End:
    """Record files together; the id of the call stands in each for its location."""
    new = [
        NewFile(schema=job.schema, table=table, file_name=name, file=file, file_size=1, s3_location=call)
        for table, name, file in files
    ]
    log.begin(call, files)
    ended, done = _recorded(tracker, new)
    log.end(ended, done)
    return ended


def _recorded(tracker: Tracker, new: Sequence[NewFile]) -> tuple[End, Sequence[Recorded]]:
    try:
        return End.ACKNOWLEDGED, tracker.record_many(new)
    except OutcomeUnknownError:
        return End.UNKNOWN, ()
    except (ContentionError, StoreError):
        return End.REFUSED, ()


def _chosen(owner: str, number: int, chance: random.Random) -> tuple[Place, ...]:
    """Return files of the worker's own, mostly one, or now and then one that others record at the same time."""
    if chance.random() < 0.1:
        moment = int(2 * time.monotonic())
        return ((TABLES[moment % 2], FILE_NAMES[moment // 2 % 2], f"shared_{moment}.zip"),)
    return tuple(
        (chance.choice(TABLES), chance.choice(FILE_NAMES), f"{owner}_{number}_{each}.zip")
        for each in range(chance.choice((1, 1, 1, 1, 2, 5)))
    )
