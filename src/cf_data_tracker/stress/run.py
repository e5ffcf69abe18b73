"""One run: start the workers, give the word, collect what they report, read the document, judge, clean up.

A worker that dies in mid-run, or is killed on purpose, ends its own report and nobody else's.
"""

import multiprocessing
import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import versions_of
from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.model import FileVersion, NewFile
from cf_data_tracker.names import check_schema, raw_key
from cf_data_tracker.stress.plan import plan
from cf_data_tracker.stress.verdict import Acknowledged, Verdict, judge
from cf_data_tracker.stress.worker import FINISHED, READY, Failed, Job, work
from cf_data_tracker.tracker import raw_target

STRATEGIES: Final = ("cas", "unsafe")
MAX_WORKERS: Final = 512
START_SECONDS: Final = 120.0
"""How long all workers together may take to start; hundreds of processes on two cores take a minute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What to run.

    Attributes:
        workers: Worker processes, 1 to 512.
        files: Files that each records.
        strategy: `cas` for conditional writes, `unsafe` for read, change, and put back blindly.
        schema: The schema to record into, which must not exist; one with a random name if left out.
        kill: The share of the workers that is killed in mid-run by SIGKILL, 0 to 1.

    Raises:
        InvalidNameError: One of them is out of its range.
    """

    workers: int = 8
    files: int = 25
    strategy: str = "cas"
    schema: str = field(default_factory=lambda: f"stress_{uuid.uuid4().hex[:12]}")
    kill: float = 0.0

    def __post_init__(self) -> None:
        check_schema(self.schema)
        if not 1 <= self.workers <= MAX_WORKERS:
            raise InvalidNameError(f"workers must be 1 to {MAX_WORKERS}, got {self.workers}")
        if self.files < 1:
            raise InvalidNameError(f"files must be 1 or more, got {self.files}")
        if self.strategy not in STRATEGIES:
            raise InvalidNameError(f"strategy must be one of {', '.join(STRATEGIES)}, got {self.strategy!r}")
        if not 0 <= self.kill <= 1:
            raise InvalidNameError(f"kill must be a share between 0 and 1, got {self.kill}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the run is.

    Attributes:
        phase: What is being done.
        ready: Workers that have started.
        acknowledged: Recordings that were acknowledged.
        failed: Recordings that ended in an error.
        killed: Workers that were killed.
        conflicts: Writes that lost.
    """

    phase: str
    ready: int = 0
    acknowledged: int = 0
    failed: int = 0
    killed: int = 0
    conflicts: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came of a run.

    Attributes:
        options: What was run.
        endpoint: The store.
        seconds: From the word to the last report.
        acknowledged: What workers were told.
        failed: What ended in an error.
        killed: Workers killed on purpose.
        died: Workers that ended of themselves before they had finished.
        versions: Versions in the document at the end.
        revision: The document's revision at the end, the number of commits.
        verdict: What the judge found.
    """

    options: Options
    endpoint: str
    seconds: float
    acknowledged: Sequence[Acknowledged]
    failed: Sequence[Failed]
    killed: int
    died: int
    versions: int
    revision: int
    verdict: Verdict

    @property
    def per_second(self) -> float:
        """Recordings acknowledged per second."""
        return len(self.acknowledged) / self.seconds if self.seconds else 0.0

    def latency(self, percent: int) -> float:
        """Return the time, in seconds, within which so many percent of the recordings were acknowledged."""
        times = sorted(done.ended - done.began for done in self.acknowledged)
        return times[max(0, -(-len(times) * percent // 100) - 1)] if times else 0.0

    def per_recording(self, what: str) -> float:
        """Return `requests`, `writes` or `conflicts` for each acknowledged recording, on average."""
        return statistics.fmean(getattr(done, what) for done in self.acknowledged) if self.acknowledged else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            **asdict(self.options),
            "endpoint": self.endpoint,
            "seconds": self.seconds,
            "recordings": len(self.acknowledged),
            "recordings_per_second": self.per_second,
            "latency_seconds": {f"p{p}" if p < 100 else "max": self.latency(p) for p in (50, 95, 99, 100)},  # noqa: PLR2004
            "attempts_per_recording": self.per_recording("writes"),
            "requests_per_recording": self.per_recording("requests"),
            "conflicts": sum(done.conflicts for done in self.acknowledged),
            "commits": self.revision,
            "failed": [asdict(failed) for failed in self.failed],
            "killed": self.killed,
            "died": self.died,
            "versions": self.versions,
            "lost": self.verdict.lost,
            "duplicated": self.verdict.duplicated,
            "clean": self.verdict.clean,
            "violations": list(self.verdict.violations),
        }


def run(connection: Connection, options: Options, on_progress: Callable[[Progress], None]) -> Report:
    """Run the benchmark; what it wrote is removed, whatever happens.

    Raises:
        InvalidNameError: The schema holds a document already.
        UnsafeStoreError: The store does not honour conditional writes (with the strategy `unsafe` it need not).
        StoreError: The store refused, or a worker could not start.
    """
    target = raw_target(options.schema)
    if connection.read(target) is not None:
        raise InvalidNameError(f"the schema {options.schema} holds a document already; name one that does not exist")
    if options.strategy != "unsafe":
        on_progress(Progress(phase="examining the store"))
        connection.prove()
    try:
        crew = _Crew(connection, options, on_progress)
        seconds = crew.work()
        document = connection.read(target)
        versions = list(versions_of(document, options.schema))
        return _report(connection, options, crew, seconds, versions, (document or {}).get("revision", 0))
    finally:
        connection.delete(raw_key(options.schema))


def _report(  # noqa: PLR0913, PLR0917
    connection: Connection, options: Options, crew: "_Crew", seconds: float, versions: list[FileVersion], revision: int
) -> Report:
    return Report(
        options=options,
        endpoint=connection.access.endpoint,
        seconds=seconds,
        acknowledged=crew.acknowledged,
        failed=crew.failed,
        killed=len(crew.killed),
        died=crew.died,
        versions=len(versions),
        revision=revision,
        verdict=judge(crew.acknowledged, versions, crew.uncertain()),
    )


@dataclass(slots=True)
class _Worker:
    job: Job
    process: BaseProcess
    pipe: Pipe
    done: int = 0


class _Crew:
    """The workers of one run, and what they have reported."""

    def __init__(self, connection: Connection, options: Options, on_progress: Callable[[Progress], None]) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.failed: list[Failed] = []
        self.killed: set[int] = set()
        self.died = 0
        self.conflicts = 0
        self._connection = connection
        self._options = options
        self._files = plan(options.schema, options.workers, options.files)
        self._victims = set(range(options.workers)[: round(options.workers * options.kill)])
        self._on_progress = on_progress

    def work(self) -> float:
        """Run all workers to their end, and return the seconds that they recorded for."""
        with self._started() as workers:
            self._await_ready(workers)
            began = time.monotonic()
            for worker in workers:
                worker.pipe.send("go")
            self._collect({worker.pipe: worker for worker in workers})
            return time.monotonic() - began

    def uncertain(self) -> frozenset[str]:
        """Return the files of which a recording ended without an acknowledgement."""
        told = {(done.worker, done.file) for done in self.acknowledged}
        return frozenset(
            new.file for worker, files in enumerate(self._files) for new in files if (worker, new.file) not in told
        )

    @contextmanager
    def _started(self) -> Iterator[list[_Worker]]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["cf_data_tracker.stress.worker", "cf_data_tracker.stores.s3"])
        workers: list[_Worker] = []
        try:
            for number, files in enumerate(self._files):
                workers.append(self._start(context, number, files))
            yield workers
        except BaseException:  # Ctrl-C among them
            for worker in workers:
                worker.process.kill()
            raise
        finally:
            for worker in workers:
                _end(worker)

    def _start(self, context: Any, number: int, files: list[NewFile]) -> _Worker:  # noqa: ANN401 - a context has no public type
        job = Job(number=number, connection=self._connection, strategy=self._options.strategy, files=tuple(files))
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(job, theirs), daemon=True, name=f"stress-{number}")
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        return _Worker(job=job, process=process, pipe=ours)

    def _await_ready(self, workers: list[_Worker]) -> None:
        deadline = time.monotonic() + START_SECONDS
        for ready, worker in enumerate(workers):
            self._on_progress(Progress(phase="starting workers", ready=ready))
            if not worker.pipe.poll(max(0.0, deadline - time.monotonic())) or _received(worker.pipe) != READY:
                raise StoreError(f"worker {worker.job.number} did not start; what it printed says why")

    def _collect(self, open_pipes: dict[Pipe, _Worker]) -> None:
        while open_pipes:
            for pipe in wait(list(open_pipes)):
                worker = open_pipes[pipe]  # type: ignore[index]
                message = _received(worker.pipe)
                if isinstance(message, (Acknowledged, Failed)):
                    self._note(worker, message)
                else:
                    del open_pipes[worker.pipe]
                    self.died += message != FINISHED and worker.job.number not in self.killed
            self._show(ready=len(self._files))

    def _note(self, worker: _Worker, message: Acknowledged | Failed) -> None:
        worker.done += 1
        if isinstance(message, Acknowledged):
            self.acknowledged.append(message)
            self.conflicts += message.conflicts
        else:
            self.failed.append(message)
        number = worker.job.number
        if number in self._victims and worker.done >= self._options.files // 2 and number not in self.killed:
            self.killed.add(number)
            worker.process.kill()

    def _show(self, ready: int) -> None:
        self._on_progress(
            Progress(
                phase="recording",
                ready=ready,
                acknowledged=len(self.acknowledged),
                failed=len(self.failed),
                killed=len(self.killed),
                conflicts=self.conflicts,
            )
        )


def _received(pipe: Pipe) -> object:
    """Return the next message, or `None` where the worker is gone."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None


def _end(worker: _Worker) -> None:
    worker.process.join(timeout=1.0)  # one that has finished needs a moment to go
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.process.close()
    worker.pipe.close()
