"""The real engine in virtual time: what a document's workers achieve on S3, without S3 and without waiting.

Workers are greenlets over the memory store. Each request takes a time drawn from S3's published latencies (see
`cf_data_tracker.stress.latency`), and takes effect at a moment drawn from within it. Time passes only when everybody
waits, so a minute of a thousand workers is simulated in seconds, and a seed gives the same run again.

    python benchmarks/simulate.py [--quick] [--json FILE] [--plot FILE]

What it leaves out: the machine's own work (reading and writing JSON takes no virtual time) and the growth of latency
with the size of the document.
"""

import argparse
import heapq
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final, TypeVar

import greenlet

from cf_data_tracker.document import Document, raw_document
from cf_data_tracker.engine.combine import TUNING, Combiner, Ledger, Tuning
from cf_data_tracker.engine.commit import Engine, Patience, Surroundings
from cf_data_tracker.errors import TrackerError
from cf_data_tracker.model import NewFile, Recorded, Recording
from cf_data_tracker.stats import Tally
from cf_data_tracker.store import ANYTHING, UNCHANGED, Conflict, Replacing, Stored, Unanswered, Unchanged, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stress.latency import PROFILES, Latency
from cf_data_tracker.tracker import raw_ledger

T = TypeVar("T")

WRITES_PER_SECOND, READS_PER_SECOND = 3500.0, 5500.0
SLOW_DOWN_SECONDS: Final = 0.010
STARTING = 1.0
EARLIEST, OVERHEAD, POWER = 0.7, 0.0, 0.5
DOLLARS: Final = {"write": 5.0, "list": 5.0, "read": 0.4, "delete": 0.0}
"""For a million requests, in us-east-1."""


class World:
    """Virtual time: who goes on when."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self._hub = greenlet.getcurrent()
        self._numbers = count()
        self._queue: list[tuple[float, int, greenlet.greenlet, Any]] = []

    def start(self, work: Callable[[], object], at: float | None = None) -> greenlet.greenlet:
        """Let somebody begin at a time."""
        worker = greenlet.greenlet(work, parent=self._hub)
        self._wake(worker, self.now if at is None else at)
        return worker

    def sleep(self, seconds: float) -> None:
        """Let time pass for the caller."""
        self._wake(greenlet.getcurrent(), self.now + seconds)
        self._hub.switch()

    def beside(self, task: Callable[[], T]) -> Callable[[], T]:
        """Begin a task beside the caller's own work, and return what waits for its result."""
        done: list[Callable[[], T]] = []
        waiting: list[greenlet.greenlet] = []

        def work() -> None:
            try:
                result = task()
                done.append(lambda: result)
            except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
                done.append(lambda error=error: _raise(error))
            for worker in waiting:
                self._wake(worker, self.now)

        def result() -> T:
            if not done:
                waiting.append(greenlet.getcurrent())
                self._hub.switch()
            return done[0]()

        self.start(work)
        return result

    def run(self, until: float) -> None:
        """Let time pass until then, or until nobody waits any more."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, worker, _ = heapq.heappop(self._queue)
            worker.switch()
        self.now = until if self._queue else self.now

    def _wake(self, worker: greenlet.greenlet, at: float) -> None:
        heapq.heappush(self._queue, (at, next(self._numbers), worker, None))


def _raise(error: Exception) -> Any:
    raise error


@dataclass(slots=True)
class Bucketful:
    """How many requests a prefix still answers: so many a second, and a tenth of that at once."""

    world: World
    per_second: float
    left: float = 0.0
    since: float = 0.0

    def take(self, number: int) -> bool:
        self.left = min(self.per_second / 10, self.left + (self.world.now - self.since) * self.per_second)
        self.since = self.world.now
        if self.left < 1:
            return False
        self.left -= number
        return True


class SlowStore:
    """A `Store` over the memory store that takes S3's time, and perhaps has its limits."""

    def __init__(self, world: World, store: MemoryStore, profile: Mapping[str, Latency], *, limits: bool) -> None:
        self._world = world
        self._store = store
        self._profile = profile
        self._limits = limits
        self._writes = Bucketful(world, WRITES_PER_SECOND)
        self._reads = Bucketful(world, READS_PER_SECOND)
        self.slowed = 0

    def location(self, key: str) -> str:
        return self._store.location(key)

    def read(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        quantile = self._world.random.gauss(0.0, 1.0)
        full, unchanged = (
            self._profile[kind].draw(lambda _, sigma: sigma * quantile) for kind in ("read", "unchanged")
        )
        share = self._world.random.random()
        self._world.sleep(unchanged * share)
        self._admit(self._reads, 1)
        answer = self._store.read(key, unless=unless)
        self._world.sleep((unchanged if answer is UNCHANGED else full) - unchanged * share)
        return answer

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        total = self._profile["write"].draw(self._world.random.gauss) + OVERHEAD
        effect = total * (EARLIEST + (1 - EARLIEST) * self._world.random.random())
        arrival = effect * self._world.random.random() ** POWER
        self._world.sleep(arrival)
        self._admit(self._writes, 1)
        there = self._store.read(key)
        if replacing is not ANYTHING and (there and there.etag) != replacing:
            raise Conflict(key)  # a write that is late already when it arrives is answered at once
        self._world.sleep(effect - arrival)
        written = self._store.write(key, body, replacing=replacing, waiting=waiting)
        self._world.sleep(total - effect)
        return written

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        return self._timed("list", self._writes, 1, lambda: self._store.list(prefix, after=after))

    def delete(self, *keys: str) -> None:
        self._timed("delete", self._writes, len(keys), lambda: self._store.delete(*keys))

    def erase(self, key: str, version: str) -> None:
        self._timed("delete", self._writes, 1, lambda: self._store.erase(key, version))

    def _timed(self, kind: str, bucketful: Bucketful, number: int, effect: Callable[[], T]) -> T:
        total = self._profile[kind].draw(self._world.random.gauss)
        before = total * self._world.random.random()
        self._world.sleep(before)
        self._admit(bucketful, number)
        result = effect()  # a write that loses is answered at once
        self._world.sleep(total - before + OVERHEAD)
        return result

    def _admit(self, bucketful: Bucketful, number: int) -> None:
        if self._limits and not bucketful.take(number):
            self.slowed += 1
            self._world.sleep(SLOW_DOWN_SECONDS)
            raise Unanswered("503", slow=True)


@dataclass(slots=True)
class Run:
    """What a simulated run gave."""

    latencies: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    conflicts: int = 0
    slowed: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    left: int = 0
    batches: list[int] = field(default_factory=list)


def simulate(
    strategy: str,
    *,
    workers: int = 0,
    arrivals: float = 0.0,
    seconds: float,
    limits: bool = False,
    profile: str = "s3",
    seed: int = 1,
    tuning: Tuning = TUNING,
    patience: Patience | None = None,
) -> Run:
    """Let workers record, in a closed loop or each once, for so many virtual seconds."""
    cpu = time.process_time()
    world = World(seed)
    memory = MemoryStore()
    store = SlowStore(world, memory, PROFILES[profile], limits=limits)
    run = Run()
    ledger = replace(raw_ledger("sim"), parse=_remembering(raw_document))
    surroundings = Surroundings(
        clock=lambda: world.now, sleep=world.sleep, random=world.random.random, beside=world.beside
    )
    tally = Tally()

    def recorder() -> Callable[[Recording], Recorded]:
        engine = Engine(store, tally, patience or Patience(), surroundings)
        if strategy == "combining":
            combiner = Combiner(engine, tuning)
            return lambda recording: combiner.commit(ledger, [recording])[0]

        def plainly(recording):
            if strategy == "plain":
                engine.carried.clear()
            return engine.commit(ledger, lambda document: ledger.record(document, [recording]))[0]

        return plainly

    def record(record: Callable[[Recording], Recorded], worker: int, number: int) -> None:
        began = world.now
        try:
            record(_recording(worker, number))
        except TrackerError as error:
            run.failed.append(f"{type(error).__name__}: {error}")
            return
        run.starts.append(began)
        run.ends.append(world.now)
        run.latencies.append(world.now - began)

    def loop(worker: int) -> None:
        mine = recorder()
        for number in count():
            if world.now >= seconds:
                return
            record(mine, worker, number)

    for worker in range(workers):
        world.start(lambda worker=worker: loop(worker), at=world.random.random() * STARTING)
    at, worker = 0.0, 0
    while arrivals and at < seconds:
        world.start(lambda worker=worker: record(recorder(), worker, 0), at=at)
        at, worker = at + world.random.expovariate(arrivals), worker + 1
    world.run(seconds + 600)
    stats = tally.snapshot()
    run.requests, run.commits, run.conflicts, run.slowed = (
        dict(stats.requests),
        stats.commits,
        stats.conflicts,
        store.slowed,
    )
    run.seconds = max(run.ends, default=0.0)
    run.cpu = time.process_time() - cpu
    run.left = len(memory.list("_cf_tracker/inbox/"))
    return run


def _recording(worker: int, number: int) -> Recording:
    new = NewFile(
        schema="sim",
        table=f"table_{worker % 20}",
        file_name=f"2024-{worker // 20 % 50:02d}",
        file=f"upload_{worker:05d}_{number:05d}.zip",
        file_size=810112,
        s3_location=f"s3://raw/sim/upload_{worker:05d}_{number:05d}.zip",
        timestamp="2024-03-01 09:00:00",
        fyear="FY2023",
        upload_date="2024-03-01",
    )
    return Recording(new=new, recorded_by=f"{random.Random(worker * 100_003 + number).getrandbits(128):032x}")


def _remembering(parse: Callable[[bytes], Document]) -> Callable[[bytes], Document]:
    """Read each body once, however many read it: a thousand workers are simulated by one process."""
    known: dict[int, tuple[bytes, Document]] = {}

    def remembered(body: bytes) -> Document:
        if id(body) not in known:
            if len(known) > 200:
                known.clear()
            known[id(body)] = body, parse(body)
        return known[id(body)][1]

    return remembered


def line(name: str, run: Run, seconds: float) -> str:
    n = len(run.latencies)
    if not n:
        return f"{name}: nothing; {run.failed[:1]}"
    inside = sum(end <= seconds for end in run.ends)
    lat = sorted(run.latencies)
    req = sum(run.requests.values()) / n
    dollars = sum(DOLLARS[k] * v for k, v in run.requests.items()) / n
    per = {k: round(v / n, 2) for k, v in run.requests.items()}
    return (
        f"{name:26s} {inside / seconds:7.1f}/s p50 {lat[n // 2]:.3f} p99 {lat[-(-n * 99 // 100) - 1]:.3f} max {lat[-1]:.2f} "
        f"req {req:.2f} ${dollars:.1f} {per} commits/s {run.commits / run.seconds:.1f} confl {run.conflicts / n:.2f} slow {run.slowed / n:.2f} failed {len(run.failed)} left {run.left} cpu {run.cpu:.1f}"
    )


if __name__ == "__main__":
    which = sys.argv[1:] or ["combining"]
    for strategy in which:
        for workers, secs, limits in (
            (1, 30, False),
            (2, 30, False),
            (8, 20, False),
            (64, 10, False),
            (1000, 4, False),
            (1000, 4, True),
        ):
            print(
                line(
                    f"{strategy} {workers}{' lim' if limits else ''}",
                    simulate(strategy, workers=workers, seconds=secs, limits=limits),
                    secs,
                ),
                flush=True,
            )
        for rate in (5, 20, 100, 500):
            print(line(f"{strategy} shots {rate}", simulate(strategy, arrivals=rate, seconds=10), 10), flush=True)
