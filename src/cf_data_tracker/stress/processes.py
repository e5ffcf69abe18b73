"""Workers that are processes of this machine, started for the run; some may be killed in the middle of it.

A worker that dies in mid-run, or is killed on purpose, ends its own report and nobody else's.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Final

from cf_data_tracker.errors import StoreError
from cf_data_tracker.stress.crew import Crew
from cf_data_tracker.stress.worker import FINISHED, READY, Account, Job, work

START_SECONDS: Final = 120.0
"""How long all workers together may take to start; hundreds of processes on two cores take a minute."""


def run_as_processes(crew: Crew, kill: float) -> float:
    """Run all workers to their end, and return the seconds that they recorded for.

    Args:
        crew: The workers.
        kill: The share of them that is killed half-way.

    Raises:
        StoreError: A worker did not start.
    """
    jobs = crew.jobs()
    victims = frozenset(range(round(len(jobs) * kill)))
    with _started(jobs) as workers:
        _await_ready(crew, workers)
        word = time.monotonic()
        for worker in workers:
            worker.pipe.send(word)
        _collect(crew, workers, victims)
        return time.monotonic() - word


@dataclass(slots=True)
class _Worker:
    job: Job
    process: BaseProcess
    pipe: Pipe
    done: int = 0


@contextmanager
def _started(jobs: Sequence[Job]) -> Iterator[list[_Worker]]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cf_data_tracker.stress.worker", "cf_data_tracker.stores.s3"])
    workers: list[_Worker] = []
    try:
        workers.extend(_start(context, job) for job in jobs)
        yield workers
    except BaseException:  # Ctrl-C among them
        for worker in workers:
            worker.process.kill()
        raise
    finally:
        for worker in workers:
            _end(worker)


def _start(context: Any, job: Job) -> _Worker:  # noqa: ANN401 - a context has no public type
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(job, theirs), daemon=True, name=f"stress-{job.number}")
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return _Worker(job=job, process=process, pipe=ours)


def _await_ready(crew: Crew, workers: Sequence[_Worker]) -> None:
    deadline = time.monotonic() + START_SECONDS
    for ready, worker in enumerate(workers):
        crew.show("starting workers", ready)
        if not worker.pipe.poll(max(0.0, deadline - time.monotonic())) or _received(worker.pipe) != READY:
            raise StoreError(f"worker {worker.job.number} did not start; what it printed says why")


def _collect(crew: Crew, workers: Sequence[_Worker], victims: frozenset[int]) -> None:
    working: dict[object, _Worker] = {worker.pipe: worker for worker in workers}
    while working:
        for pipe in wait([worker.pipe for worker in working.values()]):
            worker = working[pipe]
            message = _received(worker.pipe)
            if isinstance(message, Account):
                _note(crew, worker, message, victims)
            else:
                del working[pipe]
                crew.died += message != FINISHED and worker.job.number not in crew.killed
        crew.show()


def _note(crew: Crew, worker: _Worker, account: Account, victims: frozenset[int]) -> None:
    crew.hear(account)
    worker.done += len(account.results)
    number = worker.job.number
    if number in victims - crew.killed and worker.done >= len(worker.job.files) // 2:
        crew.killed.add(number)
        worker.process.kill()


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
