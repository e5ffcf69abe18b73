"""Workers that end by SIGKILL at a chosen moment of the inbox protocol, and crews in which workers meet.

What befalls a worker is a store put over its own: one that tells it of rivals, one that kills it, one that takes its
time. They pickle, and open what they need in the process that uses them. How faults get on the way between a worker and
its server is left to `servers.proxy`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import TrackerError
from cf_data_tracker.names import INTERNAL_PREFIX
from cf_data_tracker.store import Conflict
from cf_data_tracker.stress.verdict import Acknowledged
from cf_data_tracker.tracker import Tracker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection as Pipe
    from multiprocessing.process import BaseProcess
    from pathlib import Path

    from cf_data_tracker.model import NewFile
    from cf_data_tracker.stats import Stats
    from cf_data_tracker.store import Answer, Replacing, Store, Written

INBOX: Final = f"{INTERNAL_PREFIX}inbox/"

LOSSES: Final = 4
"""Lost writes in a row that any worker takes for contention."""

SECONDS_TO_DELETE: Final = 0.5
"""Longer than a process takes to end that waits for nothing."""

READY: Final = "ready"

_sleep = time.sleep  # noqa: TID251 - real processes take real time


class Moment(Enum):
    """When a worker dies."""

    PUBLISHED = "published"
    """Its recording is in the inbox, and in no commit yet."""
    LISTED = "listed"
    """It knows what waits in the inbox."""
    WRITING = "writing"
    """It is about to write the document, with its own recording and those of others."""
    COMMITTED = "committed"
    """That write was answered, and nobody was told."""
    REMOVING = "removing"
    """It is about to remove from the inbox what it committed."""


class Passed:
    """A `Store` that passes everything on to that of a connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def store(self) -> Store:
        """The store beneath, open in this process."""
        self._connection.prove()
        return self._connection.store

    def location(self, key: str) -> str:
        """Return where the object is."""
        return self.store.location(key)

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read."""
        return self.store.read(key, unless=unless, most=most)

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write."""
        return self.store.write(key, body, replacing=replacing, waiting=waiting)

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """List."""
        return self.store.list(prefix, after=after)

    def delete(self, *keys: str) -> None:
        """Delete."""
        self.store.delete(*keys)

    def erase(self, key: str, version: str) -> None:
        """Delete a version."""
        self.store.erase(key, version)


class Contended(Passed):
    """Tells its worker of each commit that others were first, until its recording is in the inbox, or cannot get there.

    Why not let real rivals be first: they would have to win several times in a row, each time.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._losses = 0

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write an entry at once, the document after a few losses."""
        publishing = key.startswith(INBOX)
        if not publishing and self._losses < LOSSES:
            self._losses += 1
            raise Conflict(key, certain=False)  # a 409, which may come though nothing is there
        written = super().write(key, body, replacing=replacing, waiting=waiting)
        self._losses = LOSSES if publishing else 0
        return written


class Dying(Passed):
    """Kills the process that comes to one of these moments; of many processes, with tokens, the first that does.

    The process that made it is never killed.
    """

    def __init__(self, connection: Connection, moments: Sequence[Moment], tokens: Path | None) -> None:
        super().__init__(connection)
        self._moments = moments
        self._tokens = tokens
        self._maker = os.getpid()
        self._listed = False  # whether the last list gave anything that the next commit may carry

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write, and die after a publication, or before or after a commit that carries what was listed."""
        publishing = key.startswith(INBOX)
        combining = self._listed and not publishing
        self._die(Moment.WRITING, here=combining)
        written = super().write(key, body, replacing=replacing, waiting=waiting)
        self._die(Moment.PUBLISHED, here=publishing)
        self._die(Moment.COMMITTED, here=combining)
        return written

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """List, and die if anything is there."""
        keys = super().list(prefix, after=after)
        self._listed = bool(keys)
        self._die(Moment.LISTED, here=self._listed)
        return keys

    def delete(self, *keys: str) -> None:
        """Die rather than delete."""
        self._die(Moment.REMOVING, here=keys[0].startswith(INBOX))
        super().delete(*keys)

    def erase(self, key: str, version: str) -> None:
        """Die rather than delete a version."""
        self._die(Moment.REMOVING, here=key.startswith(INBOX))
        super().erase(key, version)

    def _die(self, moment: Moment, *, here: bool) -> None:
        if here and moment in self._moments and os.getpid() != self._maker and self._is_first(moment):
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self, moment: Moment) -> bool:
        with suppress(FileExistsError):
            if self._tokens is not None:
                (self._tokens / moment.value).touch(exist_ok=False)
            return True
        return False


class Slow(Passed):
    """Takes its time to delete."""

    def delete(self, *keys: str) -> None:
        """Delete after a while."""
        _sleep(SECONDS_TO_DELETE)
        super().delete(*keys)


def contended(connection: Connection) -> Connection:
    """Return a connection that meets contention at every commit."""
    return Connection(connection.access, store=Contended(connection))


def dying(connection: Connection, *moments: Moment, tokens: Path | None = None) -> Connection:
    """Return a connection that kills its process at one of these moments.

    Args:
        connection: What it goes over.
        moments: When.
        tokens: An empty folder: then of the processes that share it, one dies at each moment, and the others pass.
    """
    return Connection(connection.access, store=Dying(connection, moments, tokens))


def slow(connection: Connection) -> Connection:
    """Return a connection that is late to delete."""
    return Connection(connection.access, store=Slow(connection))


@dataclass(frozen=True, kw_only=True)
class Parting:
    """What a worker that reached its end had to say: its costs, and the warnings that it logged."""

    stats: Stats
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Crew:
    """What came of workers that recorded beside each other.

    Attributes:
        acknowledged: What they were told.
        failed: What ended in an error, and in which.
        partings: What those had to say who reached their end.
        killed: How many ended by SIGKILL.
        uncertain: Files that somebody was to record and was not told of.
    """

    acknowledged: Sequence[Acknowledged]
    failed: Sequence[str]
    partings: Sequence[Parting]
    killed: int
    uncertain: frozenset[str]

    @property
    def combined(self) -> int:
        """How many recordings a worker committed for another."""
        return sum(parting.stats.combined for parting in self.partings)


def together(*tasks: tuple[Connection, Sequence[NewFile]]) -> Crew:
    """Run workers, each in a process of its own, until all have ended; they begin to record at the same time.

    Args:
        tasks: For each worker its connection, and the files that it records one after the other.
    """
    workers = [_start(number, connection, files) for number, (connection, files) in enumerate(tasks)]
    for worker in workers:
        assert READY == worker.pipe.recv()
    for worker in workers:
        worker.pipe.send("go")
    said = [message for worker in workers for message in worker.heard()]
    codes = Counter(worker.exit_code() for worker in workers)
    assert {0, -signal.SIGKILL} >= set(codes)
    acknowledged = [message for message in said if isinstance(message, Acknowledged)]
    told = {(done.worker, done.file) for done in acknowledged}
    return Crew(
        acknowledged=acknowledged,
        failed=[message for message in said if isinstance(message, str)],
        partings=[message for message in said if isinstance(message, Parting)],
        killed=codes[-signal.SIGKILL],
        uncertain=frozenset(
            new.file for number, (_, files) in enumerate(tasks) for new in files if (number, new.file) not in told
        ),
    )


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    pipe: Pipe

    def heard(self) -> Iterator[object]:
        """Yield what it says until it has ended. Whoever is heard later waits, at worst, for somebody to listen."""
        with suppress(EOFError), self.pipe:
            while True:
                yield self.pipe.recv()

    def exit_code(self) -> int | None:
        """Wait for its end, and return how it ended."""
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        return code


def _start(number: int, connection: Connection, files: Sequence[NewFile]) -> _Worker:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cf_data_tracker.tracker", "cf_data_tracker.stores.s3"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(number, connection, files, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(process, ours)


def _work(number: int, connection: Connection, files: Sequence[NewFile], pipe: Pipe) -> None:
    heard = _Heard()
    logging.getLogger("cf_data_tracker").addHandler(heard)
    tracker = Tracker.over(connection)
    connection.store.location("")  # opens what is to be opened
    pipe.send(READY)
    pipe.recv()
    for new in files:
        pipe.send(_recorded(number, tracker, new))
    await_what_runs_beside()
    pipe.send(Parting(stats=tracker.stats, warnings=tuple(heard.warnings)))


def _recorded(number: int, tracker: Tracker, new: NewFile) -> Acknowledged | str:
    began = time.monotonic()
    try:
        [done] = tracker.record_many([new])
    except TrackerError as error:
        return f"{new.file}: {error!r}"
    return Acknowledged(
        worker=number,
        table=new.table,
        file_name=new.file_name,
        file=new.file,
        version=done.version,
        created=done.created,
        began=began,
        ended=time.monotonic(),
    )


def await_what_runs_beside() -> None:
    """Return when no thread but this one runs in this process."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()


class _Heard(logging.Handler):
    """Keeps what is warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self.warnings.append(record.getMessage())
