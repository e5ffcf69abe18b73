"""Time, randomness and threads: what the rest of the package is handed, and takes from nowhere else."""

import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Final, Protocol, TypeVar

T = TypeVar("T")


class Spawn(Protocol):
    """Starts a task that runs alongside the caller."""

    def __call__(self, task: Callable[[], T], /) -> Callable[[], T]:
        """Start the task; return a function that waits for its result, and raises what the task raised."""


def run_inline(task: Callable[[], T]) -> Callable[[], T]:
    """Run the task at once, in the caller's thread. A `Spawn` for where nothing runs concurrently."""
    result = task()
    return lambda: result


def in_thread(task: Callable[[], T]) -> "Future[T] | None":
    """Start a task in a thread of its own and return its future; the process does not end before the thread does.

    `None` if no thread can be started: there are too many, or the interpreter is shutting down. An executor would not
    do: it takes no more tasks once the main thread has ended.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(task())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    try:  # the task is part of the call, and inherits its deadline
        threading.Thread(target=partial(copy_context().run, run), name="cf-data-tracker", daemon=False).start()
    except RuntimeError:
        return None
    return future


def spawn(task: Callable[[], T]) -> Callable[[], T]:
    """Start a task in a thread of its own, or run it inline where no thread can be started."""
    future = in_thread(task)
    return run_inline(task) if future is None else future.result


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(timezone.utc)  # noqa: TID251 - time enters here


def unique_id() -> str:
    """Return an id that no other call returns, in any process."""
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """Time, randomness and threads.

    Attributes:
        clock: Seconds that never run backwards.
        sleep: Waits for so many seconds.
        random: A number in [0, 1).
        spawn: Starts a task that runs alongside the caller.
        now: The time of day, in UTC. Never used to decide what is correct.
        unique_id: An id that no other call returns.
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]
    spawn: Spawn = run_inline
    now: Callable[[], datetime] = utc_now
    unique_id: Callable[[], str] = unique_id


RUNTIME: Final = Runtime(
    clock=time.monotonic,
    sleep=time.sleep,  # noqa: TID251 - time enters here
    random=random.random,
    spawn=spawn,
)
"""The process's own."""
