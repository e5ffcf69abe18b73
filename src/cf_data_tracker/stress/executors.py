"""Workers that run as jobs of a `concurrent.futures.Executor`: threads of this process, a dask cluster, or any other.

Threads share the one connection of their process, as the threads of a pipeline share a `Tracker`. To anything else a
job goes pickled, opens a connection of its own, and reports at its end.
"""

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.stress.crew import Crew
from cf_data_tracker.stress.watch import Watch
from cf_data_tracker.stress.worker import Account, work_apart, work_within

if TYPE_CHECKING:
    from distributed import Client

PROCESSES, THREADS, DASK = "processes", "threads", "dask"
CONNECT_SECONDS: Final = 10.0
LEAD_SECONDS: Final = 2.0
"""How long jobs elsewhere have to get ready, and some more for each: they import boto3 and open a connection."""

LOOK_SECONDS: Final = 0.2
"""How often progress is shown."""


@contextmanager
def opened(name: str, workers: int) -> Iterator[Executor | None]:
    """Open the executor of a name; `None` for processes of our own.

    Args:
        name: `processes`, `threads` or `dask://host:port`, the last being the address of a scheduler.
        workers: How many jobs are to run at once.

    Raises:
        InvalidNameError: It is none of these, or the cluster runs fewer jobs at once.
        StoreError: `distributed` is not installed, or no scheduler answers.
    """
    if name == PROCESSES:
        yield None
    elif name == THREADS:
        with ThreadPoolExecutor(workers) as pool:
            yield pool
    else:
        with _cluster(_address(name), workers) as cluster:
            yield cluster


def name_of(executor: Executor | None) -> str:
    """Return what an executor is called in a report."""
    if executor is None:
        return PROCESSES
    if isinstance(executor, ThreadPoolExecutor):
        return THREADS
    kind = type(executor)
    return DASK if kind.__module__.startswith("distributed.") else kind.__name__


def run_on(executor: Executor, crew: Crew, connection: Connection, patience: float) -> float:
    """Run all workers as jobs of an executor, and return the seconds that they recorded for.

    Args:
        executor: Where they run; it stays open.
        crew: The workers.
        connection: The connection that threads share.
        patience: Seconds from the start after which a worker that told nothing is given up.
    """
    if isinstance(executor, ThreadPoolExecutor):
        return _run_within(executor, crew, connection, patience)
    return _run_apart(executor, crew, patience)


def _run_within(executor: ThreadPoolExecutor, crew: Crew, connection: Connection, patience: float) -> float:
    jobs, stop = crew.jobs(), threading.Event()
    lead = 0.001 * len(jobs)  # all connections are open already
    start, word = time.time() + lead, time.monotonic() + lead
    with Watch(connection, jobs[0].key, word) as watch:
        futures = {executor.submit(work_within, job, start, crew.hear, stop): job.number for job in jobs}
        try:
            _collect(crew, futures, word + patience)
        finally:  # also after Ctrl-C: each ends with the recording that it is at
            stop.set()
            wait(futures)
        seconds = time.monotonic() - word
        stats, commits = watch.news()
    crew.hear(Account(commits=commits, stats=stats))
    return seconds


def _run_apart(executor: Executor, crew: Crew, patience: float) -> float:
    jobs, crew.repeating = crew.jobs(), True  # as dask does where a machine is lost
    lead = LEAD_SECONDS + 0.05 * len(jobs)
    start, word = time.time() + lead, time.monotonic() + lead
    futures = {executor.submit(work_apart, job, start): job.number for job in jobs}
    try:
        _collect(crew, futures, word + patience)
        return time.monotonic() - word
    finally:
        for future in futures:
            future.cancel()


def _collect(crew: Crew, futures: "dict[Future[Account], int]", deadline: float) -> None:
    pending = set(futures)
    while pending and time.monotonic() < deadline:
        done, pending = wait(pending, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            _take(crew, future, futures[future])
        crew.show()
    for future in pending:
        crew.lose(futures[future], TimeoutError("it told nothing in time"))


def _take(crew: Crew, future: "Future[Account]", worker: int) -> None:
    try:
        crew.hear(future.result())
    except Exception as error:  # noqa: BLE001 - whatever ended it: the others go on
        crew.lose(worker, error)


def _address(name: str) -> str:
    """Return the host and port of a name like `dask://host:port`."""
    with suppress(ValueError):  # a port that is no number
        url = urlsplit(name)
        bare = not (url.path.strip("/") or url.query or url.fragment or "@" in url.netloc)
        if url.scheme == DASK and url.hostname and url.port and bare:
            return url.netloc
    # The name is not shown: there may be a password in it.
    raise InvalidNameError(
        "the executor must be processes, threads, or dask://host:port for the scheduler of a cluster"
    )


@contextmanager
def _cluster(address: str, workers: int) -> Iterator[Executor]:
    with _client(address) as client:
        threads = sum(client.nthreads().values())
        if threads < workers:
            raise InvalidNameError(
                f"{workers} workers are to record at once, and the cluster at {address} runs {threads} jobs at once: "
                "give it more dask workers or threads, or ask for fewer workers"
            )
        executor = client.get_executor(pure=False)  # no two runs are the same
        try:
            yield executor
        finally:
            executor.shutdown(wait=False)


def _client(address: str) -> "Client":
    try:
        from distributed import Client  # noqa: PLC0415 - an optional extra, and it takes a while
    except ImportError as missing:
        raise StoreError(
            f'a dask executor needs distributed: pip install "cf-data-tracker[dask]" ({missing})'
        ) from missing
    try:
        return Client(f"tcp://{address}", timeout=CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]  # distributed's
    except (OSError, asyncio.TimeoutError) as error:
        raise StoreError(
            f"no dask scheduler answers at tcp://{address}: start one with `dask scheduler`, and workers for it with "
            "`dask worker`"
        ) from error
