"""Combining between real processes on real servers: workers that die, faults on the way, missing permissions."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import versions_of
from cf_data_tracker.model import FileVersion, NewFile
from cf_data_tracker.names import inbox_prefix, raw_key
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.stress.plan import plan
from cf_data_tracker.stress.slowed import kind_of, slowed
from cf_data_tracker.stress.verdict import Acknowledged, judge
from cf_data_tracker.tracker import Tracker, raw_spec
from conftest import access_to, connection_to, make_bucket
from dying import INBOX, Crew, Moment, contended, dying, slow, together
from servers.ceph import CephServer
from servers.proxy import Fate, FaultyProxy, Plan, Seen, mix
from servers.server import Server


@pytest.fixture
def connection(server: Server) -> Connection:
    """Give a connection to one server after the other, which is known to be safe."""
    return proven(connection_to(server))


def proven(connection: Connection) -> Connection:
    """Return the connection once its store is known to be safe: that travels, and no worker need examine it."""
    connection.prove()
    return connection


def files(schema: str, owner: str, number: int = 1) -> list[NewFile]:
    """Return that many files of one file name."""
    return [
        NewFile(
            schema=schema,
            table="births",
            file_name="FY2023",
            file=f"{owner}_{each}.zip",
            file_size=each,
            s3_location=f"s3://raw/{owner}_{each}.zip",
        )
        for each in range(number)
    ]


def recorded(connection: Connection, schema: str) -> list[FileVersion]:
    """Return what the document holds."""
    return list(versions_of(connection.read(raw_spec(schema)), schema))


def commits(connection: Connection, schema: str) -> int:
    """Return how many commits made the document."""
    revision: int = (connection.read(raw_spec(schema)) or {})["revision"]
    return revision


def inbox(connection: Connection, schema: str) -> list[str]:
    """Return the keys of what waits in the document's inbox."""
    return connection.store.list(inbox_prefix(raw_key(schema)))


def violations(connection: Connection, schema: str, *crews: Crew) -> Sequence[str]:
    """Return what the judge finds wrong with what these crews were told."""
    told: list[Acknowledged] = [done for crew in crews for done in crew.acknowledged]
    uncertain = frozenset(file for crew in crews for file in crew.uncertain)
    return judge(told, recorded(connection, schema), uncertain).violations


class TestKilledWorkers:
    """A worker killed at any point of the inbox protocol blocks nobody and loses nothing acknowledged."""

    @pytest.mark.parametrize("moment", Moment, ids=lambda moment: moment.value)
    def test_a_worker_that_is_killed_blocks_nobody(self, connection: Connection, schema: str, moment: Moment) -> None:
        """Whenever it dies, the others go on; what it had published is committed once, and in the end nothing waits."""
        first = together((dying(contended(connection), Moment.PUBLISHED), files(schema, "first")))
        victim = together((dying(contended(connection), moment), files(schema, "victim")))
        assert (1, 1, 2) == (first.killed, victim.killed, len(inbox(connection, schema)))
        landed = moment in (Moment.COMMITTED, Moment.REMOVING)
        assert (2 if landed else 0) == len(recorded(connection, schema))

        others = together(*((connection, files(schema, f"worker_{number}", 5)) for number in range(3)))
        last = together((contended(connection), files(schema, "last")))
        assert (15, 1) == (len(others.acknowledged), len(last.acknowledged))
        assert () == violations(connection, schema, first, victim, others, last)
        assert 18 == len(recorded(connection, schema))
        assert [] == inbox(connection, schema)

    def test_workers_die_in_a_crowd(self, server: Server, schema: str, tmp_path: Path) -> None:
        """Of workers that commit for each other, one dies at each moment; the rest record all that they have."""
        direct = proven(connection_to(server))
        with slowed(server.endpoint_url, "express") as slow_server:
            connection = proven(Connection(access_to(server, endpoint_url=slow_server.endpoint_url)))
            mortal = dying(connection, *Moment, tokens=tmp_path)
            crew = together(*((mortal, own) for own in plan(schema, 8, 10)))
        assert {moment.value for moment in Moment} == {token.name for token in tmp_path.iterdir()}
        assert (5, 3, []) == (crew.killed, len(crew.partings), crew.failed)
        assert len(crew.acknowledged) >= 30
        assert crew.combined > 0

        last = together((contended(direct), files(schema, "last")))
        assert () == violations(direct, schema, crew, last)
        assert [] == inbox(direct, schema)


FAULTS: Final[dict[Fate, float]] = {fate: 0.1 / 8 for fate in Fate if fate not in (Fate.ANSWERED, Fate.REFUSED_IN_200)}


class TestFaults:
    """A tenth of all requests is spoiled on the way."""

    def test_faults_lose_nothing(self, server: Server, schema: str) -> None:
        """16 workers x 20: whatever befalls reads, writes, publications, lists and removals, only time is lost."""
        direct = proven(connection_to(server))
        spoiled: Counter[str] = Counter()
        plan_of_faults = noting(mix(FAULTS, seed=61), spoiled)
        with FaultyProxy(server.endpoint_url, plan_of_faults, answer_after=0.8, apply_after=0.3) as proxy:
            connection = proven(Connection(access_to(server, endpoint_url=proxy.endpoint_url, timeout=0.4)))
            spoiled.clear()
            crew = together(*((connection, own) for own in plan(schema, 16, 20)))
        assert {"read", "write", "publish", "list", "delete"} == set(spoiled)
        assert (320, []) == (len(crew.acknowledged), crew.failed)
        assert () == violations(direct, schema, crew)
        assert crew.combined > 0
        assert commits(direct, schema) < len(recorded(direct, schema))


def noting(decide: Plan, spoiled: Counter[str]) -> Plan:
    """Return a plan that counts what it spoils, by kind of request."""

    def noted(seen: Seen) -> Fate:
        fate = decide(seen)
        kind = kind_of(seen.method, seen.path)
        spoiled["publish" if kind == "write" and f"/{INBOX}" in seen.path else kind] += fate is not Fate.ANSWERED
        return fate

    return noted


@pytest.fixture(scope="session")
def guest(ceph: CephServer) -> Server:
    """Give Ceph as a second user sees it, who may do what a bucket's policy says."""
    guest = replace(ceph, access_key="guest", secret_key=uuid.uuid4().hex)
    keys = ["--access-key", guest.access_key, "--secret-key", guest.secret_key]
    command = ["radosgw-admin", "-c", str(ceph.directory / "ceph.conf"), "user", "create"]
    subprocess.run([*command, "--uid", "guest", "--display-name", "guest", *keys], check=True, capture_output=True)
    return guest


# Ceph 16 asks of a request that deletes many objects whether it is allowed on the bucket.
DENIED: Final = {
    "list": ("s3:ListBucket", [""]),
    "publish": ("s3:PutObject", [f"/{INBOX}*"]),
    "remove": ("s3:DeleteObject", [f"/{INBOX}*", ""]),
}


def deny(server: Server, bucket: str, action: str, places: Sequence[str]) -> None:
    """Make a bucket in which the guest may do all but one thing."""
    bucket_arn = f"arn:aws:s3:::{bucket}"
    tester, guest = ({"AWS": [f"arn:aws:iam:::user/{name}"]} for name in ("tester", "guest"))
    everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": [bucket_arn, f"{bucket_arn}/*"]}
    denied = {"Effect": "Deny", "Action": [action], "Resource": [f"{bucket_arn}{place}" for place in places]}
    statements = [everything | {"Principal": tester}, everything | {"Principal": guest}, denied | {"Principal": guest}]
    make_bucket(server, bucket)
    with closing(open_client(access_to(server, bucket))) as client:
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))


@pytest.mark.ceph
class TestPermissions:
    """Where permissions forbid the inbox, workers do without it."""

    @pytest.mark.parametrize(("action", "places"), DENIED.values(), ids=DENIED.keys())
    def test_a_missing_permission_costs_time_alone(
        self, ceph: Server, guest: Server, schema: str, action: str, places: list[str]
    ) -> None:
        """All is recorded, the first document too, and each process warns once, of what it may not do."""
        bucket = f"fenced-{uuid.uuid4().hex[:8]}"
        deny(ceph, bucket, action, places)
        connection = contended(proven(connection_to(guest, bucket)))
        crew = together(*((connection, files(schema, f"worker_{number}", 5)) for number in range(3)))
        assert (15, []) == (len(crew.acknowledged), crew.failed)
        assert [1, 1, 1] == [len(parting.warnings) for parting in crew.partings]
        assert all(f"allow {action} on it" in warning for parting in crew.partings for warning in parting.warnings)
        assert () == violations(connection_to(ceph, bucket), schema, crew)


class TestVersionedBuckets:
    """A plain DELETE would leave a marker there, and a LIST goes through all of them."""

    def test_no_entry_and_no_marker_stays(self, embedded: Server, schema: str) -> None:
        """8 workers and one that dies: each erases its own entry, and what the dead one left is swept."""
        direct = proven(connection_to(embedded, bucket_that_keeps_versions(embedded)))
        with slowed(embedded.endpoint_url, "express") as slow_server:
            access = replace(direct.access, endpoint_url=slow_server.endpoint_url)
            connection = proven(Connection(access))
            ghost = (dying(contended(connection), Moment.PUBLISHED), files(schema, "ghost"))
            crew = together(ghost, *((connection, files(schema, f"worker_{number}", 10)) for number in range(8)))
        assert (1, 80, []) == (crew.killed, len(crew.acknowledged), crew.failed)
        assert crew.combined > 0
        committing, sweeping = (together((contended(direct), files(schema, owner))) for owner in ("last", "very_last"))
        assert () == violations(direct, schema, crew, committing, sweeping)
        assert 83 == len(recorded(direct, schema))
        with closing(open_client(direct.access)) as client:
            left = client.list_object_versions(Bucket=direct.access.bucket, Prefix=inbox_prefix(raw_key(schema)))
        assert ([], []) == (left.get("Versions", []), left.get("DeleteMarkers", []))


def bucket_that_keeps_versions(server: Server) -> str:
    """Return the name of a new bucket that keeps versions."""
    bucket = f"kept-{uuid.uuid4().hex[:8]}"
    make_bucket(server, bucket)
    with closing(open_client(access_to(server, bucket))) as client:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def test_threads_share_commits(connection: Connection, schema: str) -> None:
    """64 threads of one process record 1,000 files in 40 commits or fewer, and each learns its own version."""
    tracker = Tracker.over(connection)
    with ThreadPoolExecutor(64) as pool:
        done = list(pool.map(lambda new: tracker.record_many([new])[0], files(schema, "thread", 1000)))
    assert list(range(1, 1001)) == sorted(one.version for one in done)
    assert {one.file: one.version for one in done} == {one.file: one.version for one in recorded(connection, schema)}
    assert commits(connection, schema) <= 40


@pytest.mark.parametrize("crowded", [False, True])
def test_without_a_thread_to_be_had_all_is_done_in_ours(
    embedded: Server, schema: str, monkeypatch: pytest.MonkeyPatch, *, crowded: bool
) -> None:
    """Where no thread can be started, what would run beside the recording runs before it goes on."""

    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    connection = proven(connection_to(embedded))
    monkeypatch.setattr(threading.Thread, "start", start)
    tracker = Tracker.over(contended(connection) if crowded else connection)
    for new in files(schema, "lonely", 8):
        tracker.record_many([new])
    assert 8 == len(recorded(connection, schema))
    assert inbox(connection, schema) == []


RECORDING: Final = """
import pickle, sys
tracker, file = pickle.load(sys.stdin.buffer)
tracker.record_many([file])
"""

FORKING: Final = """
import multiprocessing, pickle, sys
from dying import await_what_runs_beside
tracker, *files = pickle.load(sys.stdin.buffer)
tracker.record_many(files[:1])
await_what_runs_beside()  # newer Pythons warn of a fork beside threads
child = multiprocessing.get_context("fork").Process(target=tracker.record_many, args=(files[1:2],))
child.start()
child.join()
tracker.record_many(files[2:])
sys.exit(child.exitcode)
"""


def run_script(script: str, *handed: object) -> None:
    """Run a script in an interpreter of its own that is handed these; no word, and no error, may come of it."""
    command = [sys.executable, "-W", "error", "-c", script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(command, check=False, env=environment, input=pickle.dumps(handed), capture_output=True)
    assert (0, b"", b"") == (ended.returncode, ended.stdout, ended.stderr)


def in_child(start: str) -> Callable[[Tracker, NewFile], None]:
    """Return what records a file in a child process that is started so."""

    def record(tracker: Tracker, new: NewFile) -> None:
        child = multiprocessing.get_context(start).Process(target=tracker.record_many, args=([new],))  # type: ignore[attr-defined]
        child.start()
        child.join()
        assert 0 == child.exitcode
        child.close()

    return record


def in_script(tracker: Tracker, new: NewFile) -> None:
    """Record a file in a script."""
    run_script(RECORDING, tracker, new)


@pytest.fixture
def late(embedded: Server) -> Tracker:
    """Give a tracker that meets contention, and whose deletions take long."""
    return Tracker.over(contended(slow(proven(connection_to(embedded)))))


class TestTheEndOfAProcess:
    """What runs beside a commit ends before its process does."""

    @pytest.mark.parametrize(
        "record", [in_script, in_child("forkserver"), in_child("spawn")], ids=["script", "forkserver", "spawn"]
    )
    def test_the_inbox_is_tidied_before_the_end(
        self, embedded: Server, late: Tracker, schema: str, record: Callable[[Tracker, NewFile], None]
    ) -> None:
        """A process that ends right after its last commit still removes from the inbox what it committed."""
        record(late, *files(schema, "only"))
        connection = connection_to(embedded)
        assert 1 == len(recorded(connection, schema))
        assert [] == inbox(connection, schema)

    def test_a_child_records_after_a_fork(self, embedded: Server, late: Tracker, schema: str) -> None:
        """A process that has committed is forked; the child commits, then the parent again; nothing is left."""
        run_script(FORKING, late, *files(schema, "one", 3))
        connection = connection_to(embedded)
        assert ["one_0.zip", "one_1.zip", "one_2.zip"] == [version.file for version in recorded(connection, schema)]
        assert [] == inbox(connection, schema)
