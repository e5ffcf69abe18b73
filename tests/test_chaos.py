"""Upheaval against real servers: workers are killed, answers are lost, the server itself goes away and comes back.

CHAOS_SECONDS   how long, if not a minute on Ceph and some seconds on the embedded S3
CHAOS_SEED      which choices; a failure tells its seed, though the scheduler of the machine has its say too
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.names import inbox_prefix, probe_key, raw_key
from cf_data_tracker.rules.verify import findings
from cf_data_tracker.stress.slowed import slowed
from cf_data_tracker.tracker import raw_spec
from chaos.crew import crew, meanwhile, upheaval
from chaos.watch import Watch
from chaos.worker import Job
from checker import End, Logs, Snapshot, check, merged
from conftest import access_to, connection_to
from dying import contended
from servers.proxy import Fate, FaultyProxy, mix

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from servers.ceph import CephServer
    from servers.proxy import Applied, Plan
    from servers.server import Server

    Counted = Callable[[str, Mapping[str, int]], None]

SECONDS_ON_CEPH: Final = float(os.environ.get("CHAOS_SECONDS", "60"))
SECONDS_ON_EMBEDDED: Final = float(os.environ.get("CHAOS_SECONDS", "8"))
SECONDS_BESIDES: Final = 180.0
"""To start servers, to finish, to check."""

FAULTS: Final[Mapping[Fate, float]] = {
    Fate.ANSWER_LOST: 0.05,
    Fate.LOST_BEFORE: 0.03,
    Fate.APPLIED_LATE: 0.01,
    Fate.ANSWER_LATE: 0.005,
    Fate.APPLIED_500: 0.01,
    Fate.ERROR_500: 0.01,
    Fate.CONFLICT_409: 0.005,
    Fate.SLOW_DOWN_503: 0.005,
}

APPLIED: Final = (Fate.ANSWER_LOST, Fate.APPLIED_LATE, Fate.ANSWER_LATE, Fate.APPLIED_500)

PROBE: Final = probe_key("")

PATIENCE: Final = (120.0, 1.5)
"""Of two workers one goes on until it knows; the other soon gives up, and then nothing was written, or it may have."""

SHOWN: Final = 30
"""Violations that a failure tells, at most."""

SECONDS_AWAY: Final = 1.0
"""How long the server stays away."""

_sleep = time.sleep  # noqa: TID251 - real processes take real time


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Where an upheaval happens, and how large it is.

    Attributes:
        server: The server.
        front: Where the proxy that loses answers finds it.
        schema: Where the workers record.
        folder: Where their logs go.
        seed: What all choices depend on.
        workers: How many record.
        seconds: For how long they are disturbed.
        every: Seconds between two disturbances, on average.
        pause: Seconds between two recordings of a worker, on average.
    """

    server: Server
    front: str
    schema: str
    folder: Path
    seed: int
    workers: int
    seconds: float
    every: float
    pause: float

    def proxy(self, applied: Callable[[Applied], None]) -> FaultyProxy:
        """Return the proxy that loses answers, and tells what was carried out."""
        decide = spoiling(mix(FAULTS, seed=self.seed))
        return FaultyProxy(self.front, decide, answer_after=3.0, apply_after=0.5, applied=applied)

    def jobs(self, endpoint_url: str) -> Sequence[Job]:
        """Return what the workers are to do, through the proxy, and with more or less patience."""
        access = access_to(self.server, endpoint_url=endpoint_url, timeout=2.0)
        proven(Connection(access))
        patience = [Patience(seconds=seconds) for seconds in PATIENCE]
        return [
            self.job(f"w{number}", Connection(access, patience=patience[number % len(patience)]))
            for number in range(self.workers)
        ]

    def last(self) -> Job:
        """Return the job of one who records when all is over, and takes along whatever waits."""
        return replace(self.job("last", contended(proven(connection_to(self.server)))), calls=1)

    def job(self, worker: str, connection: Connection) -> Job:
        """Return a job."""
        return Job(
            worker=worker,
            connection=connection,
            schema=self.schema,
            folder=self.folder,
            seed=self.seed,
            pause=self.pause,
        )


@dataclass(frozen=True, kw_only=True)
class Story:
    """What came of an upheaval.

    Attributes:
        logs: What the workers wrote.
        snapshots: The document as it grew; the last is what is there in the end.
        broken: Who did not end as he should.
        done: What was done to the workers.
        fates: What befell their requests.
    """

    logs: Logs
    snapshots: Sequence[Snapshot]
    broken: Sequence[str]
    done: Mapping[str, int]
    fates: Mapping[Fate, int]

    @property
    def violations(self) -> Sequence[str]:
        """All that is wrong."""
        return [*self.broken, *self.logs.failures, *check(self.logs.calls, self.logs.commits, self.snapshots)]

    @property
    def counts(self) -> Mapping[str, int]:
        """How much of what."""
        ends = Counter(call.end for call in self.logs.calls)
        recorded = [call for call in self.logs.calls if call.end is End.ACKNOWLEDGED]
        landed = {version.s3_location for version in self.snapshots[-1].versions}
        in_doubt = {call.id for call in self.logs.calls if call.end in (End.UNKNOWN, End.NEVER)}
        return {
            "calls": len(self.logs.calls),
            "recordings acknowledged": sum(len(call.files) for call in recorded),
            "calls refused": ends[End.REFUSED],
            "calls of unknown outcome": ends[End.UNKNOWN],
            "calls killed": ends[End.NEVER],
            "of the last two there after all": len(landed & in_doubt),
            "kills": self.done["kills"],
            "pauses": self.done["pauses"],
            "requests": sum(self.fates.values()),
            "applied, and the answer lost": sum(self.fates.get(fate, 0) for fate in APPLIED),
            "requests lost or refused": sum(self.fates.get(fate, 0) for fate in FAULTS if fate not in APPLIED),
            "revisions": self.snapshots[-1].revision,
            "revisions that a worker was told": len(self.logs.commits),
            "recordings taken along": sum(commit.others for commit in self.logs.commits),
            "revisions that were seen": len({snapshot.revision for snapshot in self.snapshots} - {0}),
        }


@pytest.fixture
def seed() -> int:
    """Give the seed, which is shown where a test fails."""
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    print(f"CHAOS_SEED={seed}")  # noqa: T201 - pytest shows it with a failure, whatever that is
    return seed


@pytest.mark.ceph
@pytest.mark.timeout(SECONDS_ON_CEPH + SECONDS_BESIDES)
def test_nothing_is_lost_in_an_upheaval_on_ceph(
    ceph: CephServer, schema: str, seed: int, tmp_path: Path, counted: Counted
) -> None:
    """Workers are killed, answers lost, the server is stopped and killed and comes back: every promise is kept."""
    outages = [lambda: outage(ceph, abruptly=False), lambda: outage(ceph, abruptly=True)]
    scene = Scene(
        server=ceph,
        front=ceph.endpoint_url,
        schema=schema,
        folder=tmp_path,
        seed=seed,
        workers=16,
        seconds=SECONDS_ON_CEPH,
        every=0.4,
        pause=0.1,
    )
    story = lived_through(scene, outages)
    counted("upheaval on Ceph, 16 workers", {**story.counts, "server restarts": len(outages)})
    assert_all_is_well(scene, story)
    assert story.counts["recordings taken along"] > 0


@pytest.mark.timeout(SECONDS_ON_EMBEDDED + SECONDS_BESIDES)
def test_nothing_is_lost_in_an_upheaval(
    embedded: Server, schema: str, seed: int, tmp_path: Path, counted: Counted
) -> None:
    """Workers are killed and stopped, answers lost: every promise is kept."""
    with slowed(embedded.endpoint_url, "express") as slow_server:
        scene = Scene(
            server=embedded,
            front=slow_server.endpoint_url,
            schema=schema,
            folder=tmp_path,
            seed=seed,
            workers=6,
            seconds=SECONDS_ON_EMBEDDED,
            every=0.3,
            pause=0.02,
        )
        story = lived_through(scene)
    counted("upheaval on the embedded S3, 6 workers", story.counts)
    assert_all_is_well(scene, story)
    assert story.counts["revisions"] == story.counts["revisions that were seen"]


def lived_through(scene: Scene, outages: Sequence[Callable[[], None]] = ()) -> Story:
    """Let workers record while they and the server are disturbed, let them finish, and let one more record."""
    watch = Watch(access=access_to(scene.server), schema=scene.schema, every=scene.seconds / 60)
    with meanwhile(watch):
        with scene.proxy(watch.hear) as proxy, meanwhile(spread(outages, scene.seconds)), crew() as first:
            for job in scene.jobs(proxy.endpoint_url):
                first.begin(job)
            upheaval(first, scene.seconds, random.Random(scene.seed), scene.every)
            first.finish()
        with crew() as second:
            second.begin(scene.last())
            second.finish()
    watch.look()
    return Story(
        logs=merged(log.read_text() for log in sorted(scene.folder.glob("*.log"))),
        snapshots=watch.snapshots,
        broken=[*first.broken, *second.broken],
        done=first.done,
        fates=proxy.counts,
    )


def spoiling(decide: Plan) -> Plan:
    """Return the plan with which the examination of the store, before all begins, is left in peace."""
    return lambda seen: Fate.ANSWERED if PROBE in seen.path else decide(seen)


def proven(connection: Connection) -> Connection:
    """Return the connection once its store is known to be safe: that travels, and no worker need examine it."""
    connection.prove()
    return connection


def spread(events: Sequence[Callable[[], None]], seconds: float) -> Callable[[threading.Event], None]:
    """Return what lets events happen in that time, one after the other; none is left out."""

    def happen(over: threading.Event) -> None:
        for event in events:
            over.wait(seconds / (len(events) + 1))
            event()

    return happen


def outage(ceph: CephServer, *, abruptly: bool) -> None:
    """Stop the gateway, and start it again."""
    ceph.stop_gateway(abruptly=abruptly)
    try:
        _sleep(SECONDS_AWAY)
    finally:
        ceph.start_gateway()


def assert_all_is_well(scene: Scene, story: Story) -> None:
    """Fail if a promise was broken, if anything waits in the inbox, or if too little has happened to tell."""
    wrong = story.violations
    some = wrong[:: len(wrong) // SHOWN + 1]  # of every kind, as they come kind after kind
    assert [] == wrong, "\n".join([f"CHAOS_SEED={scene.seed}, logs in {scene.folder}, among others:", *some])
    connection = connection_to(scene.server)
    assert [] == connection.store.list(inbox_prefix(raw_key(scene.schema)))
    assert [] == findings(connection.read(raw_spec(scene.schema)) or {}, scene.schema)
    enough = {"kills": 3, "calls killed": 1, "applied, and the answer lost": 3, "recordings acknowledged": 20}
    assert {} == {name: story.counts[name] for name, least in enough.items() if story.counts[name] < least}
