"""Virtual time: who goes on when.

Workers are greenlets, and one of them runs at a time. Time passes only when all of them wait, and then at once to the
moment for which the first of them waits. So a run takes the time of its computing, and a seed gives the same run again.
What workers do, and how long that takes, is left to others.
"""

import heapq
import random
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

T = TypeVar("T")


class World:
    """A world with a clock and dice of its own.

    Args:
        seed: What the dice begin with.

    Attributes:
        now: Seconds since it began.
        random: The dice.
    """

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self._hub = getcurrent()
        self._over = False
        self._living: set[greenlet] = set()
        self._numbers = count()
        self._queue: list[tuple[float, int, greenlet]] = []  # the number decides between those of the same moment

    def clock(self) -> float:
        """Return `now`."""
        return self.now

    def start(self, work: Callable[[], object], *, at: float | None = None) -> None:
        """Let somebody begin to work: at that time, or now. An error of theirs ends `run`."""

        def life() -> None:
            try:
                work()
            finally:
                self._living.discard(worker)

        worker = greenlet(life, parent=self._hub)
        self._living.add(worker)
        self._wake(worker, self.now if at is None else at)

    def sleep(self, seconds: float) -> None:
        """Let time pass for the caller."""
        self._wake(getcurrent(), self.now + seconds)
        self.sleep_for_ever()

    def sleep_for_ever(self) -> None:
        """Stop the caller here, unless something wakes it."""
        if self._over:
            raise GreenletExit
        self._hub.switch()

    def spawn(self, task: Callable[[], T]) -> Callable[[], T]:
        """Begin a task beside the caller's own work, and return what waits for its result, or raises what it raised."""
        future: Future[T] = Future()
        waiting: list[greenlet] = []

        def work() -> None:
            try:
                future.set_result(task())
            except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)
            for worker in waiting:
                self._wake(worker, self.now)

        def result() -> T:
            if not future.done():
                waiting.append(getcurrent())
                self.sleep_for_ever()
            return future.result()

        self.start(work)
        return result

    def run(self, until: float) -> None:
        """Let time pass until then, or until nobody waits for a moment any more."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, worker = heapq.heappop(self._queue)
            worker.switch()
        if self._queue:
            self.now = until

    def close(self) -> None:
        """End whoever has not ended, where they are."""
        self._over = True
        for worker in tuple(self._living):
            worker.throw(GreenletExit)

    def _wake(self, worker: greenlet, at: float) -> None:
        heapq.heappush(self._queue, (at, next(self._numbers), worker))
