"""One race: start the workers, wait until all are ready, give the word, hear them out. The other end is `harness`.

Who the workers are does not matter here; what they said is made into figures by `figures`.
"""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from contestants.harness import Job
from racing.environments import BENCHMARKS

START_SECONDS: Final = 600.0
"""How long all workers together may take to start: dozens of processes that import much, on two cores."""

STEP_SECONDS: Final = 300.0
GRACE_SECONDS: Final = 10.0
SHOWN: Final = 300  # characters

Message = dict[str, Any]


class RaceError(Exception):
    """A contestant could not take part; the message is what it said last."""


@dataclass(frozen=True, kw_only=True)
class Team:
    """How a contestant's processes are started.

    Attributes:
        python: Its interpreter.
        module: Its module.
        environment: Its environment variables.
        log: Where its processes' standard error goes.
    """

    python: str
    module: str
    environment: dict[str, str] = field(repr=False)
    log: Path

    def start(self, task: str, job: Job) -> "subprocess.Popen[str]":
        """Start a process and tell it its job."""
        with self.log.open("a") as log:
            process = subprocess.Popen(  # noqa: S603 - an interpreter that we chose, and a module of ours
                [self.python, "-m", self.module, task],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=BENCHMARKS,
                env=self.environment,
            )
        _tell(process, asdict(job))
        return process

    def ask(self, task: str, job: Job) -> Any:  # noqa: ANN401 - what it is depends on the task
        """Run a process to its end, and return the one value that it said.

        Raises:
            RaceError: It failed, or said nothing in five minutes.
        """
        with self.start(task, job) as process:
            try:
                said, _ = process.communicate(timeout=STEP_SECONDS)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise RaceError(f"{task}: no answer within {STEP_SECONDS:.0f} s") from error
        if process.returncode or not said:
            raise RaceError(f"{task}: {self.last_words()}")
        (value,) = json.loads(said).values()
        return value

    def last_words(self) -> str:
        """Return the last line of the log: of a traceback, the error."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line and line[0] not in " \t"]
        return lines[-1][:SHOWN] if lines else "it ended and said nothing"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What was heard in a race.

    Attributes:
        seconds: From the word to the end of the last worker, or to the limit.
        recordings: What workers said of each recording.
        cpu: CPU seconds of the workers since the word.
        died: Workers that ended without a word.
        cut_short: Whether the limit came before the end.
    """

    seconds: float
    recordings: list[Message]
    cpu: float
    died: int
    cut_short: bool


def race(team: Team, jobs: Sequence[Job], limit: float, on_word: Callable[[], None]) -> Heard:
    """Run one race.

    Args:
        team: Who runs.
        jobs: A worker's job each.
        limit: Seconds after the word at which workers stop where they are.
        on_word: Called once all are ready, before the word is given.

    Raises:
        RaceError: A worker did not get ready.
    """
    with _crew(team, jobs) as (workers, messages):
        _await_ready(team, len(workers), messages)
        on_word()
        began = time.monotonic()
        for worker in workers:
            _tell(worker, {"seconds": limit})
        return _hear(len(workers), messages, began, limit)


def _tell(process: "subprocess.Popen[str]", message: Message) -> None:
    """Write a line; a process that has ended has said why in the log."""
    assert process.stdin  # noqa: S101 - started with a pipe
    try:
        process.stdin.write(json.dumps(message) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass


@contextmanager
def _crew(
    team: Team, jobs: Sequence[Job]
) -> Iterator[tuple[list["subprocess.Popen[str]"], "queue.Queue[Message | None]"]]:
    """Start the workers; each has a thread that hears what it says, and `None` at its end."""
    messages: queue.Queue[Message | None] = queue.Queue()
    workers: list[subprocess.Popen[str]] = []
    listeners: list[threading.Thread] = []
    try:
        for job in jobs:
            workers.append(team.start("work", job))
            listeners.append(threading.Thread(target=_listen, args=(workers[-1].stdout, messages), daemon=True))
            listeners[-1].start()
        yield workers, messages
    finally:
        _end(workers, listeners)


def _end(workers: Sequence["subprocess.Popen[str]"], listeners: Sequence[threading.Thread]) -> None:
    for worker in workers:
        worker.kill()  # one that has ended is not sent anything
    for listener in listeners:
        listener.join()
    for worker in workers:
        worker.communicate()


def _listen(output: IO[str], messages: "queue.Queue[Message | None]") -> None:
    for line in output:
        if line.endswith("\n"):  # not one that was cut off by a kill
            messages.put(json.loads(line))
    messages.put(None)


def _await_ready(team: Team, workers: int, messages: "queue.Queue[Message | None]") -> None:
    deadline = time.monotonic() + START_SECONDS
    for _ in range(workers):
        try:
            message = messages.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty as error:
            raise RaceError(f"its workers were not ready within {START_SECONDS:.0f} s") from error
        if message is None:
            raise RaceError(f"a worker did not start: {team.last_words()}")


def _hear(workers: int, messages: "queue.Queue[Message | None]", began: float, limit: float) -> Heard:
    recordings: list[Message] = []
    ends: list[Message] = []
    closed = 0
    while closed < workers:
        try:
            message = messages.get(timeout=max(0.0, began + limit + GRACE_SECONDS - time.monotonic()))
        except queue.Empty:
            break  # native code that does not let go; it is killed
        if message is None:
            closed += 1
        elif "file" in message:
            recordings.append(message)
        else:
            ends.append(message)
    last = max((end["ended"] for end in ends), default=began + limit)
    return Heard(
        seconds=last - began,
        recordings=recordings,
        cpu=sum(end["cpu"] for end in ends),
        died=closed - len(ends),
        cut_short=last - began >= limit,
    )
