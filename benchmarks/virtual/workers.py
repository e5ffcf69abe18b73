"""A run: workers record into one document in virtual time, with the real engine, and what came of it is judged.

What a run is to be is told by a `Scenario`, what it gave by a `Run`: plain data, which travels between processes.
Figures are made of it elsewhere.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import count
from typing import Final, TypeAlias
from unittest.mock import patch

from cf_data_tracker.document import Document, raw_document, versions_of
from cf_data_tracker.engine.cas import Engine
from cf_data_tracker.engine.combine import TUNING, Combiner, RecordSpec, Tuning
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.entries import opened
from cf_data_tracker.errors import TrackerError
from cf_data_tracker.model import NewFile, Recorded, Recording
from cf_data_tracker.names import inbox_prefix
from cf_data_tracker.runtime import Runtime
from cf_data_tracker.stats import Tally
from cf_data_tracker.store import Stored
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stress.latency import PROFILES
from cf_data_tracker.stress.verdict import Acknowledged, judge
from cf_data_tracker.tracker import raw_record_spec
from virtual.s3 import MortalStore, VirtualS3
from virtual.world import World

SCHEMA: Final = "vitals"
TABLES, FILE_NAMES = 20, 50

STARTING: Final = 1.0
"""Seconds within which workers start, each at a random moment."""

REMEMBERED, ENTRIES = 16, 20_000
"""How many documents and how many inbox entries are remembered with what was read of them."""

Record: TypeAlias = Callable[[Recording], Recorded]
RawLedger: TypeAlias = RecordSpec[Recording, Recorded]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What a run is to be.

    Attributes:
        name: What it is called.
        strategy: How workers commit: one of `STRATEGIES`.
        seconds: For how long recordings are begun.
        workers: How many record in a closed loop: the next when the last is done.
        arrivals: How many workers a second come, record once and are gone.
        pause: How long a worker of the closed loop rests after each recording, in seconds.
        profile: Whose latencies.
        limits: Whether a prefix answers so many requests a second and no more.
        deaths: How likely a worker dies, before each call of the store and again after it.
        grace: How long after that unfinished recordings are awaited, in seconds.
        patience: The engine's.
        seeds: How many seeds at most, where a run takes long to compute.
    """

    name: str
    strategy: str
    seconds: float
    workers: int = 0
    arrivals: float = 0.0
    pause: float = 0.0
    profile: str = "s3"
    limits: bool = False
    deaths: float = 0.0
    grace: float = 150.0
    patience: Patience = field(default_factory=Patience)
    seeds: int = 1000

    @property
    def closed(self) -> bool:
        """Whether it is a closed loop and nothing else: nobody comes and goes, rests or dies."""
        return bool(self.workers) and not (self.pause or self.deaths)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a run gave. Times are in seconds, from the begin of the run.

    Attributes:
        acknowledged: When each acknowledged recording began, and when it ended.
        unfinished: When those began that had not ended when the run did; not those of workers that died.
        failed: What errors others ended in.
        requests: Requests by kind.
        requests_of_first: How many had been sent when the first recording was acknowledged.
        commits: When each commit took effect.
        conflicts: Writes that lost.
        slowed: Requests answered with 503.
        versions: Versions in the document at the end.
        left: Entries in the inbox at the end.
        died: Workers that died.
        violations: What is wrong with the document, or with what workers were told of it.
        cpu_seconds: What it took to compute.
    """

    acknowledged: Sequence[tuple[float, float]]
    unfinished: Sequence[float]
    failed: Sequence[str]
    requests: Mapping[str, int]
    requests_of_first: int
    commits: Sequence[float]
    conflicts: int
    slowed: int
    versions: int
    left: int
    died: int
    violations: Sequence[str]
    cpu_seconds: float


def simulate(scenario: Scenario, seed: int, tuning: Tuning = TUNING) -> Run:
    """Return what a scenario gives with a seed."""
    began = time.process_time()
    reading_entries_once = patch("cf_data_tracker.engine.inbox.opened", lru_cache(maxsize=ENTRIES)(opened))
    with closing(World(seed)) as world, reading_entries_once:
        simulation = _Simulation(scenario, world, tuning)
        simulation.populate()
        world.run(scenario.seconds + scenario.grace)
        return simulation.result(lambda: time.process_time() - began)


# how workers commit


def _combining(engine: Engine, ledger: RawLedger, tuning: Tuning) -> Record:
    combiner = Combiner(engine, tuning)
    return lambda recording: combiner.commit(ledger, [recording])[0]


def _alone(engine: Engine, ledger: RawLedger, _: Tuning) -> Record:
    return lambda recording: engine.commit(ledger, lambda document: ledger.record(document, [recording]))[0]


def _reading_first(engine: Engine, ledger: RawLedger, tuning: Tuning) -> Record:
    alone = _alone(engine, ledger, tuning)

    def record(recording: Recording) -> Recorded:
        engine.carried.clear()
        return alone(recording)

    return record


STRATEGIES: Final[Mapping[str, Callable[[Engine, RawLedger, Tuning], Record]]] = {
    "combining": _combining,
    "cas": _alone,
    "reading": _reading_first,
}
"""Combining; the plain loop, which carries its ETag; and one that begins every recording with a read."""


@dataclass(slots=True)
class _Life:
    """A worker: how it records, and what it is at.

    Attributes:
        record: Commits a recording.
        mortal: Its store, where it may die.
        at: When the recording began that it is at.
        file: The file of that recording.
    """

    record: Record
    mortal: MortalStore | None
    at: float | None = None
    file: str = ""


class _Simulation:
    """One run while it lasts."""

    def __init__(self, scenario: Scenario, world: World, tuning: Tuning) -> None:
        self._scenario = scenario
        self._world = world
        self._tuning = tuning
        self._memory = MemoryStore()
        self._s3 = VirtualS3(world, self._memory, PROFILES[scenario.profile], limits=scenario.limits)
        self._tally = Tally()
        self._ledger = replace(raw_record_spec(SCHEMA), parse=_remembering(raw_document))
        self._surroundings = Runtime(
            clock=world.clock, sleep=world.sleep, random=world.random.random, spawn=world.spawn
        )
        self._lives: list[_Life] = []
        self._acknowledged: list[Acknowledged] = []
        self._failed: dict[str, str] = {}  # by file
        self._requests_of_first = 0

    def populate(self) -> None:
        """Let all workers come, each at its time."""
        for worker in range(self._scenario.workers):
            self._world.start(partial(self._loop, worker), at=self._world.random.random() * STARTING)
        at = 0.0
        for worker in count() if self._scenario.arrivals else ():
            if at >= self._scenario.seconds:
                return
            self._world.start(partial(self._once, worker), at=at)
            at += self._world.random.expovariate(self._scenario.arrivals)

    def result(self, cpu_seconds: Callable[[], float]) -> Run:
        """Judge the document, and return what the run gave."""
        versions, violations = self._judged()
        requests = self._tally.snapshot()
        return Run(
            acknowledged=[(done.began, done.ended) for done in self._acknowledged],
            unfinished=[life.at for life in self._lives if life.at is not None and not _is_dead(life)],
            failed=list(self._failed.values()),
            requests=requests.requests,
            requests_of_first=self._requests_of_first,
            commits=self._s3.commits,
            conflicts=requests.conflicts,
            slowed=self._s3.slowed,
            versions=versions,
            left=len(self._memory.list(inbox_prefix(self._ledger.key))),
            died=sum(map(_is_dead, self._lives)),
            violations=violations,
            cpu_seconds=cpu_seconds(),
        )

    def _loop(self, worker: int) -> None:
        life = self._born()
        for number in count():
            if self._world.now >= self._scenario.seconds:
                return
            self._record(life, worker, number)
            self._world.sleep(self._scenario.pause)

    def _once(self, worker: int) -> None:
        self._record(self._born(), worker, 0)

    def _born(self) -> _Life:
        mortal = MortalStore(self._world, self._s3, self._scenario.deaths) if self._scenario.deaths else None
        engine = Engine(mortal or self._s3, self._tally, self._scenario.patience, self._surroundings)
        life = _Life(STRATEGIES[self._scenario.strategy](engine, self._ledger, self._tuning), mortal)
        self._lives.append(life)
        return life

    def _record(self, life: _Life, worker: int, number: int) -> None:
        recording = _recording(worker, number)
        life.at, life.file = began, file = self._world.now, recording.new.file
        try:
            recorded = life.record(recording)
        except TrackerError as error:
            self._failed[file] = f"{type(error).__name__}: {error}"
        else:
            self._acknowledged.append(_acknowledged(worker, recorded, began, self._world.now))
            self._requests_of_first = self._requests_of_first or sum(self._tally.snapshot().requests.values())
        life.at = None

    def _judged(self) -> tuple[int, list[str]]:
        stored = self._memory.read(self._ledger.key)
        document = raw_document(stored.body) if isinstance(stored, Stored) else {"tables": []}
        versions = list(versions_of(document, SCHEMA))
        unsure = frozenset((*self._failed, *(life.file for life in self._lives if life.at is not None)))
        violations = [*judge(self._acknowledged, versions, unsure).violations]
        if document.get("revision", 0) != len(self._s3.commits):
            violations.append(f"revision {document.get('revision')} after {len(self._s3.commits)} commits")
        return len(versions), violations


def _is_dead(life: _Life) -> bool:
    return life.mortal is not None and life.mortal.dead


def _acknowledged(worker: int, recorded: Recorded, began: float, ended: float) -> Acknowledged:
    return Acknowledged(
        worker=worker,
        table=recorded.table,
        file_name=recorded.file_name,
        file=recorded.file,
        version=recorded.version,
        created=recorded.created,
        began=began,
        ended=ended,
    )


def _recording(worker: int, number: int) -> Recording:
    """Return a file of the worker's own. Files go round tables and file names, in which workers meet."""
    table, file_name = f"table_{worker % TABLES}", f"2024-{worker // TABLES % FILE_NAMES:02}"
    file = f"upload_{worker:05}_{number:05}.zip"
    new = NewFile(
        schema=SCHEMA,
        table=table,
        file_name=file_name,
        file=file,
        file_size=810_112,
        s3_location=f"s3://raw/{SCHEMA}/{table}/{file}",
        timestamp="2024-03-01 09:00:00",
        fyear="FY2023",
        upload_date="2024-03-01",
    )
    return Recording(new=new, recorded_by=_identity(worker, number))


def _identity(worker: int, number: int) -> str:
    return hashlib.sha256(f"{worker}/{number}".encode()).hexdigest()[:32]


def _remembering(parse: Callable[[bytes], Document]) -> Callable[[bytes], Document]:
    """Return what reads each body once, however many workers do: one process simulates them all."""
    documents: dict[bytes, Document] = {}

    def remembered(body: bytes) -> Document:
        if body not in documents:
            documents[body] = parse(body)
            for oldest in list(documents)[:-REMEMBERED]:
                del documents[oldest]
        return documents[body]

    return remembered
