"""Upheaval: workers, each in a process of its own, that are killed, stopped for a while, and begun anew.

What they do meanwhile is left to `worker`, what befalls their requests to `servers.proxy`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from chaos.worker import Job, work
from checker import End, merged

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

    from checker import Place

SECONDS_TO_FINISH: Final = 60.0
"""How long workers that were told to finish may take, with answers lost on the way."""

_sleep = time.sleep  # noqa: TID251 - real processes take real time


@dataclass
class _Living:
    """A worker in one of its lives."""

    job: Job
    process: BaseProcess
    paused: bool = False

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        if self.paused:
            self._signal(signal.SIGCONT)
            self.paused = False

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def _signal(self, number: signal.Signals) -> None:
        if self.process.pid is not None and self.process.is_alive():
            os.kill(self.process.pid, number)


@dataclass
class Crew:
    """Workers, each in a process of its own.

    Attributes:
        done: What was done to them, and how often.
        broken: Who ended otherwise than by being killed, or told to finish.
    """

    done: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    _living: list[_Living] = field(default_factory=list)

    def begin(self, job: Job) -> None:
        """Begin a worker."""
        self._living.append(_Living(job, _started(job)))

    def disturb(self, chance: random.Random) -> None:
        """Do to a worker what may be done: kill it and begin it anew, or stop it until it is chosen again."""
        living = chance.choice(self._living)
        if living.paused:
            living.resume()
        elif chance.random() < 0.2:
            living.pause()
            self.done["pauses"] += 1
        else:
            self._replace(living, recording_again=chance.random() < 0.5)
            self.done["kills"] += 1

    def finish(self) -> None:
        """Let all finish what they are at."""
        for living in self._living:
            living.job.stop()
            living.resume()
        end = time.monotonic() + SECONDS_TO_FINISH
        for living in self._living:
            living.process.join(max(0.0, end - time.monotonic()))
            self._expect(living, 0)

    def end(self) -> None:
        """End all that still live, and return when they have."""
        for living in self._living:
            living.kill()
            living.process.close()

    def _replace(self, living: _Living, *, recording_again: bool) -> None:
        self._expect(living, None)
        living.kill()
        leftover = _unfinished(living.job) if recording_again else ()
        job = replace(living.job, life=living.job.life + 1, leftover=leftover)
        ended, living.job, living.process = living.process, job, _started(job)
        ended.close()

    def _expect(self, living: _Living, code: int | None) -> None:
        if living.process.exitcode != code:
            self.broken.append(f"{living.job.name} has the exit code {living.process.exitcode}, not {code}")


def _started(job: Job) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cf_data_tracker.tracker", "cf_data_tracker.stores.s3"])
    process = context.Process(target=work, args=(job,), daemon=True)
    process.start()
    return process


def _unfinished(job: Job) -> tuple[Place, ...]:
    """Return what a life that has ended had begun and not finished."""
    calls = merged([job.log.read_text()] if job.log.exists() else []).calls
    return calls[-1].files if calls and calls[-1].end is End.NEVER else ()


@contextmanager
def crew() -> Iterator[Crew]:
    """Give a crew of which nobody lives on after this."""
    crew = Crew()
    try:
        yield crew
    finally:
        crew.end()


@contextmanager
def meanwhile(task: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a task beside the block; it is told when that ends. What it raises is raised at the end."""
    over = threading.Event()
    raised: list[BaseException] = []

    def run() -> None:
        try:
            task(over)
        except BaseException as error:  # noqa: BLE001 - it is raised where the block ends
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    if raised:
        raise raised[0]


def upheaval(crew: Crew, seconds: float, chance: random.Random, every: float) -> None:
    """Disturb a crew for that long, a worker at a time, and about as often as said."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        _sleep(2 * every * chance.random())
        crew.disturb(chance)
