"""A bucket as seen from a process: what travels, what is opened anew, what threads share, and what is never shown."""

import logging
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import pytest
from botocore.stub import Stubber

from cf_data_tracker import connection as connection_module
from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection, Turns
from cf_data_tracker.document import raw_document, versions_of
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import ContentionError, DocumentVanishedError, StoreError, TrackerError, UnsafeStoreError
from cf_data_tracker.names import raw_key
from cf_data_tracker.runtime import spawn
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Replacing, Stored, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.probe import RACERS
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.tracker import Tracker
from conftest import access_to, connection_to, make_bucket
from fates import Fate as Fates
from fates import FatefulStore
from interrupting import interrupted_at
from servers.proxy import Fate, FaultyProxy, Seen, always
from servers.server import Server

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_s3.client import S3Client

    from cf_data_tracker.model import Recorded

# From Python 3.12 on, forking a process that has threads is warned of. A forked child here records and exits.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

SECRET: Final = "the-secret-of-the-key"
TOKEN: Final = "the-token-of-the-session"
FRESH: Final = """
import pickle, sys
tracker, schema = pickle.load(sys.stdin.buffer)
done = tracker.record(schema, "births", "FY2023", "fresh.zip", file_size=1, s3_location="s3://raw/x")
pickle.dump((done, tracker.stats), sys.stdout.buffer)
"""


def record(tracker: Tracker, schema: str, file: str = "a.zip") -> "Recorded":
    """Record a file of births/FY2023."""
    return tracker.record(schema, "births", "FY2023", file, file_size=1, s3_location=f"s3://raw/{file}")


def files_of(server: Server, schema: str) -> list[str]:
    """Return the files of births/FY2023 by version, of which the numbers must be dense."""
    there = connection_to(server).store.read(raw_key(schema))
    assert isinstance(there, Stored)
    versions = list(versions_of(raw_document(there.body), schema, "births", "FY2023"))
    assert list(range(1, len(versions) + 1)) == [version.version for version in versions]
    return [version.file for version in versions]


def start_child(act: Callable[[], object]) -> Callable[[], Any]:
    """Fork a child that does something, and return what waits for it and gives what came of it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _do_and_exit(act, writing)
    os.close(writing)

    def result() -> Any:  # noqa: ANN401 - whatever the child gives
        with os.fdopen(reading, "rb") as answers:
            answer = answers.read()
        assert (pid, 0) == os.waitpid(pid, 0)
        return pickle.loads(answer)

    return result


def _do_and_exit(act: Callable[[], object], writing: int) -> None:
    code = 1
    try:
        with os.fdopen(writing, "wb") as answers:
            pickle.dump(act(), answers)
        code = 0
    finally:
        os._exit(code)  # not the way of a test: pytest goes on in the parent alone


def in_child(act: Callable[[], object]) -> Any:  # noqa: ANN401 - whatever the child gives
    """Return what came of something that a forked child did."""
    return start_child(act)()


def fresh_process(tracker: Tracker, schema: str) -> Any:  # noqa: ANN401 - what a pickle gives
    """Record by a pickled tracker in a process that was not forked from this one; return the outcome and the stats."""
    sent = pickle.dumps((tracker, schema))
    done = subprocess.run([sys.executable, "-c", FRESH], input=sent, capture_output=True, check=True, timeout=60)
    return pickle.loads(done.stdout)


@contextmanager
def counted(server: Server) -> Iterator[tuple[FaultyProxy, Access]]:
    """Yield a proxy in front of a server, and how to reach a bucket through it: a place that nobody has examined."""
    with FaultyProxy(server.endpoint_url, always(Fate.ANSWERED)) as proxy:
        yield proxy, access_to(server, endpoint_url=proxy.endpoint_url)


class TestExamination:
    """A store that is not AWS's own is examined before the first write, once a process and bucket."""

    def test_a_bucket_is_examined_once(self, embedded: Server, schema: str) -> None:
        """The first recording examines; later ones do not, through whatever connection of this process."""
        with counted(embedded) as (proxy, access):
            record(Tracker.over(Connection(access)), schema)
            assert RACERS < proxy.counts.total()
            before = proxy.counts.total()
            record(Tracker.over(Connection(access)), schema, "b.zip")
            assert 2 == proxy.counts.total() - before

    def test_each_bucket_is_examined(self, embedded: Server, schema: str) -> None:
        """What holds of one bucket need not hold of the next: they may be of different kinds."""
        with counted(embedded) as (proxy, access):
            record(Tracker.over(Connection(access)), schema)
            before = proxy.counts.total()
            record(Tracker.over(Connection(replace(access, bucket="clean"))), schema)
            assert RACERS < proxy.counts.total() - before

    def test_questions_need_no_examination(self, embedded: Server, schema: str) -> None:
        """Reading is safe on any store."""
        with counted(embedded) as (proxy, access):
            assert not Tracker.over(Connection(access)).exists(schema, "births", "FY2023", "a.zip")
            assert 1 == proxy.counts.total()

    def test_many_threads_examine_it_once(self, embedded: Server, schema: str) -> None:
        """Those that come while it is examined wait for the verdict."""
        with counted(embedded) as (proxy, access):
            connection = Connection(access)
            alone = self._requests_of(proxy, Connection(replace(access, bucket="clean")).prove)
            together = self._requests_of(proxy, lambda: in_threads(8, lambda _: connection.prove()))
            assert alone == together
            record(Tracker.over(connection), schema)

    @staticmethod
    def _requests_of(proxy: FaultyProxy, act: Callable[[], object]) -> int:
        before = proxy.counts.total()
        act()
        return proxy.counts.total() - before

    def test_what_is_examined_is_not_counted_as_work(self, embedded: Server, schema: str) -> None:
        """The statistics are about documents, also where the network is bad while the store is examined."""

        def bad_at_first(seen: Seen) -> Fate:
            return {1: Fate.ERROR_500, 2: Fate.CONFLICT_409}.get(seen.number, Fate.ANSWERED)

        with FaultyProxy(embedded.endpoint_url, bad_at_first) as proxy:
            tracker = Tracker.over(Connection(access_to(embedded, endpoint_url=proxy.endpoint_url)))
            record(tracker, schema)
        stats = tracker.stats
        assert ({"read": 1, "write": 1}, 0, 0) == (dict(stats.requests), stats.conflicts, stats.unanswered)

    def test_the_verdict_travels_by_fork(self, embedded: Server, schema: str) -> None:
        """A child of a process that has examined the bucket does not do so again."""
        with counted(embedded) as (proxy, access):
            tracker = Tracker.over(Connection(access))
            record(tracker, schema)
            before = proxy.counts.total()
            assert 2 == in_child(lambda: record(tracker, schema, "child.zip")).version
            assert 2 == proxy.counts.total() - before

    def test_the_verdict_travels_by_pickle(self, embedded: Server, schema: str) -> None:
        """Nor does a process to which the tracker was sent."""
        with counted(embedded) as (proxy, access):
            tracker = Tracker.over(Connection(access))
            record(tracker, schema)
            before = proxy.counts.total()
            done, stats = fresh_process(tracker, schema)
            assert (2, True) == (done.version, done.created)
            assert 2 == proxy.counts.total() - before
        assert {"read": 1, "write": 1} == dict(stats.requests)

    def test_a_tracker_that_was_sent_before_the_verdict_examines(self, embedded: Server, schema: str) -> None:
        """Without a verdict to take along, the other process makes its own."""
        with counted(embedded) as (proxy, access):
            assert fresh_process(Tracker.over(Connection(access)), schema)[0].created
            assert RACERS < proxy.counts.total()

    def test_aws_is_not_examined(self, scratch: "Path") -> None:
        """Its conditional writes need no proof: a first recording costs a read and a write."""
        assert scratch.is_dir()
        access = Access(bucket="raw", region="eu-central-1", access_key="AKIDEXAMPLE", secret_key=SECRET)
        client = open_client(access)
        with Stubber(client) as aws:
            aws.add_client_error("get_object", "NoSuchKey", http_status_code=404)
            aws.add_response("put_object", {"ETag": '"e1"'})
            assert record(Tracker.over(Connection(access, client=client)), "vitals").created
            aws.assert_no_pending_responses()
        client.close()

    def test_a_store_that_is_handed_in_is_trusted(self) -> None:
        """It is not for us to examine."""
        connection = Connection(Access(bucket="raw", endpoint_url="http://store.invalid"), store=MemoryStore())
        record(Tracker.over(connection), "vitals")
        assert {"read": 1, "write": 1} == dict(connection.stats.requests)

    def test_the_client_says_whose_store_it_is(self, embedded: Server, schema: str) -> None:
        """A client of a foreign endpoint leads to a foreign store, which is examined."""
        with counted(embedded) as (proxy, access):
            client = open_client(access)
            record(Tracker("raw", client=client), schema)
            client.close()
            assert RACERS < proxy.counts.total()

    def test_an_endpoint_that_boto3_finds_for_itself_is_examined(
        self, embedded: Server, schema: str, scratch: "Path", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """boto3 reads endpoints from its own variables and files."""
        assert scratch.is_dir()
        with counted(embedded) as (proxy, access):
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", str(access.endpoint_url))
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", embedded.access_key)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", embedded.secret_key)
            record(Tracker("raw", region_name="us-east-1"), schema)
            assert RACERS < proxy.counts.total()

    def test_a_store_at_such_an_endpoint_is_spared_checksums(
        self, embedded: Server, schema: str, scratch: "Path", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is as foreign as one whose endpoint was given."""
        assert scratch.is_dir()
        requests: list[Seen] = []

        def note(seen: Seen) -> Fate:
            requests.append(seen)
            return Fate.ANSWERED

        with FaultyProxy(embedded.endpoint_url, note) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint_url)
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", embedded.access_key)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", embedded.secret_key)
            record(Tracker("raw", region_name="us-east-1"), schema)
        assert not [name for seen in requests for name in seen.headers if name.startswith("x-amz-checksum")]

    def test_such_an_endpoint_travels(
        self, embedded: Server, schema: str, scratch: "Path", monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A copy goes to the same store, whatever variables are set where it arrives."""
        assert scratch.is_dir()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", embedded.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", embedded.secret_key)
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_S3", embedded.endpoint_url)
            tracker = Tracker("raw", region_name="us-east-1")
            record(tracker, schema)
            sent = pickle.dumps(tracker)
        assert f"Tracker(bucket='raw', endpoint='{embedded.endpoint_url}')" == repr(pickle.loads(sent))

    def test_an_examination_forgets_no_document(self, embedded: Server, schema: str) -> None:
        """A document that was read before it and is gone after it is not started anew."""
        record(Tracker.over(connection_to(embedded)), schema)
        with counted(embedded) as (_, access):
            tracker = Tracker.over(Connection(access))
            assert tracker.latest(schema, "births", "FY2023") is not None
            connection_to(embedded).store.delete(raw_key(schema))
            with pytest.raises(DocumentVanishedError):
                record(tracker, schema)

    def test_who_waits_for_an_examination_gives_up_in_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store that hangs while one thread examines it does not hold up the others for longer than a call may."""
        store = Held()
        access = Access(bucket="raw", endpoint_url="http://held.invalid", access_key="a", secret_key=SECRET)
        connection = Connection(access, patience=Patience(seconds=0.05))
        monkeypatch.setattr(connection._here, "with_etags", lambda _: store)  # noqa: SLF001 - a store over no network
        errors: list[TrackerError] = []

        def prove() -> None:
            try:
                connection.prove()
            except TrackerError as error:
                errors.append(error)

        threads = [threading.Thread(target=prove) for _ in range(2)]
        for thread in threads:
            thread.start()
        threads[1].join(2)
        threads[0].join(0.1)
        gave_up = list(errors)
        store.leave.set()
        for thread in threads:
            thread.join()
        assert 1 == len(gave_up)

    @pytest.mark.parametrize("role", ["alone", "is followed", "waits"])
    def test_wherever_a_thread_is_interrupted_the_others_examine_it(self, role: str) -> None:
        """At each line that it runs here: nobody waits in vain, and who comes next does not wait at all."""
        for step in count():
            turns, entered, leave = Turns(), threading.Event(), threading.Event()
            errors: list[BaseException] = []

            def hold(entered: threading.Event = entered, leave: threading.Event = leave) -> None:
                entered.set()
                assert leave.wait(20)

            def take(act: Callable[[], object], turns: Turns = turns, errors: list[BaseException] = errors) -> None:
                try:
                    turns.take(act, 20.0)
                except ContentionError as error:
                    errors.append(error)

            first = threading.Thread(target=take, args=(hold,))
            if role == "waits":
                first.start()
                assert entered.wait(20)
                threading.Timer(0.01, leave.set).start()
            else:
                leave.set()
            ours = partial(take, lambda: None)
            came = interrupted_at(step, ours, connection_module)
            if role == "is followed":
                first.start()
            if role != "alone":
                first.join(20)
                assert not first.is_alive()
            began = time.monotonic()
            take(lambda: None)
            assert (0, True) == (len(errors), time.monotonic() - began < 10)
            if not came:
                break
        assert step > 8

    def test_a_thread_takes_its_turn_after_those_before_it(self) -> None:
        """One at a time, however many come."""
        turns, inside, most = Turns(), [0], [0]

        def act() -> None:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.002)
            inside[0] -= 1

        in_threads(8, lambda _: turns.take(act, 20.0))
        assert [1] == most

    def test_a_store_that_is_handed_in_is_what_is_diagnosed(self) -> None:
        """The verdict is about the store that is written to."""
        access = Access(bucket="raw", endpoint_url="http://127.0.0.1:9", access_key="a", secret_key=SECRET)
        assert Connection(access, store=MemoryStore()).diagnose().safe

    def test_an_unsafe_store_is_refused_each_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A verdict that it is unsafe is an error for whoever comes; it is examined once, and nothing is written."""
        blind = FatefulStore(Blind())
        connection = Connection(Access(bucket="raw", endpoint_url="http://blind.invalid"))
        monkeypatch.setattr(connection._here, "with_etags", lambda _: blind)  # noqa: SLF001 - a store over no network
        for _ in range(2):
            with pytest.raises(UnsafeStoreError, match=r"http://blind\.invalid does not honour conditional writes"):
                record(Tracker.over(connection), "vitals")
        assert [] == blind.list("")
        assert 5 == blind.calls.count("write")  # the fourth and fifth tell: a stale ETag is taken


class Blind(MemoryStore):
    """A store that looks at no ETag."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object, whatever it replaces."""
        blindly = ANYTHING if isinstance(replacing, str) else replacing
        return super().write(key, body, replacing=blindly, waiting=waiting)


class TestForks:
    """What a parent opened is left alone by its children."""

    def test_a_child_opens_a_client_of_its_own(self, embedded: Server, schema: str) -> None:
        """The parent's sends nothing in the child, which records all the same."""
        client, senders = watched_client(embedded)
        tracker = Tracker.over(Connection(access_to(embedded), client=client))
        record(tracker, schema)
        assert {os.getpid()} == set(senders)
        done, in_the_child = in_child(lambda: (record(tracker, schema, "child.zip"), list(senders)))
        assert (2, True) == (done.version, done.created)
        assert senders == in_the_child
        client.close()

    def test_a_child_counts_for_itself(self, embedded: Server, schema: str) -> None:
        """Statistics are about what this process asked."""
        tracker = Tracker.over(connection_to(embedded))
        record(tracker, schema)
        stats = in_child(lambda: (record(tracker, schema, "child.zip"), tracker.stats)[1])
        assert ({"read": 1, "write": 1}, 1) == (dict(stats.requests), stats.commits)
        assert 1 == tracker.stats.commits

    def test_a_tracker_can_be_used_first_in_a_child(self, embedded: Server, schema: str) -> None:
        """One that its own process never used opens what it needs where it is used."""
        tracker = Tracker.over(connection_to(embedded))
        assert in_child(lambda: record(tracker, schema)).created
        assert not record(tracker, schema).created

    def test_a_child_of_a_child_can_use_it_too(self, embedded: Server, schema: str) -> None:
        """Each process has its own."""
        tracker = Tracker.over(connection_to(embedded))
        record(tracker, schema)
        assert 2 == in_child(lambda: in_child(lambda: record(tracker, schema, "grandchild.zip"))).version

    def test_a_fork_beside_a_recording_does_not_wait_for_it(self, schema: str) -> None:
        """A lock that a thread of the parent holds is not the child's."""
        store = Held()
        connection = Connection(Access(bucket="raw"), store=store)
        tracker = Tracker.over(connection)
        thread = threading.Thread(target=record, args=(tracker, schema))
        thread.start()
        assert store.entered.wait(10)
        assert in_child(lambda: record(tracker, schema, "child.zip")).created
        assert thread.is_alive()
        store.leave.set()
        thread.join()

    def test_parent_and_children_at_once_lose_nothing(self, embedded: Server, schema: str) -> None:
        """One tracker, used by its own process and four children at the same time: every file is there once."""
        tracker = Tracker.over(connection_to(embedded))
        record(tracker, schema)

        def work(worker: int) -> list[tuple[str, int, bool]]:
            done = [record(tracker, schema, f"{worker}-{number}.zip") for number in range(8)]
            return [(one.file, one.version, one.created) for one in done]

        results = [start_child(lambda worker=worker: work(worker)) for worker in range(4)]  # type: ignore[misc]
        outcomes = [*work(4), *(outcome for result in results for outcome in result())]
        files = files_of(embedded, schema)
        assert 1 + 5 * 8 == len(files)
        assert {(file, files.index(file) + 1, True) for file in files[1:]} == set(outcomes)


def watched_client(server: Server) -> "tuple[S3Client, list[int]]":
    """Return a client, and the list to which each of its requests adds the process that sends it."""
    client, senders = open_client(access_to(server)), []

    def note(**_: object) -> None:
        senders.append(os.getpid())

    client.meta.events.register("before-send.s3", note)
    return client, senders


class Held(MemoryStore):
    """A store whose writes wait until they may go on; a copy in another process does not."""

    def __init__(self) -> None:
        super().__init__()
        self._home = os.getpid()
        self.entered, self.leave = threading.Event(), threading.Event()

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object, if need be later."""
        if os.getpid() == self._home:
            self.entered.set()
            assert self.leave.wait(10)
        return super().write(key, body, replacing=replacing, waiting=waiting)


class TestPickles:
    """Settings travel, connections do not."""

    def test_a_tracker_travels(self, embedded: Server, schema: str) -> None:
        """A copy records into the same document."""
        tracker = Tracker.over(connection_to(embedded))
        record(tracker, schema)
        copy = pickle.loads(pickle.dumps(tracker))
        assert not record(copy, schema).created
        assert 2 == record(copy, schema, "b.zip").version

    def test_a_copy_counts_from_nothing(self, embedded: Server, schema: str) -> None:
        """What the first one has asked was not asked by the copy."""
        tracker = Tracker.over(connection_to(embedded))
        record(tracker, schema)
        assert {} == pickle.loads(pickle.dumps(tracker)).stats.requests

    def test_patience_and_settings_travel(self, embedded: Server) -> None:
        """So does how long to go on."""
        connection = Connection(access_to(embedded, timeout=3.5), patience=Patience(attempts=7, seconds=8.5))
        copy = pickle.loads(pickle.dumps(connection))
        assert (connection.access, connection.patience) == (copy.access, copy.patience)

    def test_a_client_stays_where_it_was_made(self, embedded: Server, schema: str) -> None:
        """The copy makes one of its own, with the same settings."""
        client, senders = watched_client(embedded)
        tracker = Tracker(
            "raw",
            client=client,
            endpoint_url=embedded.endpoint_url,
            region_name=embedded.region,
            aws_access_key_id=embedded.access_key,
            aws_secret_access_key=embedded.secret_key,
        )
        record(tracker, schema)
        before = len(senders)
        assert 2 == record(pickle.loads(pickle.dumps(tracker)), schema, "b.zip").version
        assert before == len(senders)
        client.close()

    @pytest.mark.parametrize("way", ["pickle", "fork"])
    def test_the_settings_of_a_client_travel(self, embedded: Server, schema: str, scratch: "Path", way: str) -> None:
        """Another process makes a client of its own with the same settings."""
        assert scratch.is_dir()
        client = open_client(access_to(embedded))
        tracker = Tracker("raw", client=client, timeout=5.0)
        record(tracker, schema)
        child = pickle.loads(pickle.dumps(tracker)) if way == "pickle" else tracker
        assert [] == in_child(lambda: outcome_of(child, schema))
        assert ["a.zip", "b.zip"] == files_of(embedded, schema)
        client.close()

    def test_a_clean_tracker_travels(self, embedded: Server, schema: str) -> None:
        """With both of its buckets, and whatever client it was given."""
        record(Tracker.over(connection_to(embedded)), schema)
        client = open_client(access_to(embedded))
        clean = CleanTracker(
            "raw",
            "clean",
            client=client,
            endpoint_url=embedded.endpoint_url,
            region_name=embedded.region,
            aws_access_key_id=embedded.access_key,
            aws_secret_access_key=embedded.secret_key,
        )
        [version] = clean.pending(schema)
        copy = pickle.loads(pickle.dumps(clean))
        assert [version] == copy.pending(schema)
        assert copy.record(version, ["a.parquet"]).created
        assert [] == clean.pending(schema)
        client.close()

    def test_a_clean_tracker_can_be_used_after_a_fork(self, embedded: Server, schema: str) -> None:
        """In the child as in the parent."""
        record(Tracker.over(connection_to(embedded)), schema)
        clean = CleanTracker.over(connection_to(embedded), connection_to(embedded, "clean"))
        [version] = clean.pending(schema)
        assert in_child(lambda: clean.record(version, ["a.parquet"])).created
        assert [] == clean.pending(schema)

    def test_a_copy_is_copied(self, embedded: Server, schema: str) -> None:
        """One that was sent and never used can be sent on."""
        tracker = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(Tracker.over(connection_to(embedded))))))
        assert record(tracker, schema).created


def outcome_of(tracker: Tracker, schema: str) -> list[str]:
    """Record a second file, and return what went wrong."""
    try:
        assert record(tracker, schema, "b.zip").version == 2
    except TrackerError as error:
        return [str(error)]
    return []


def in_threads(number: int, act: Callable[[int], object]) -> None:
    """Do something in many threads at once, and let the first error be ours."""
    errors: list[Exception] = []

    def run(thread: int) -> None:
        try:
            act(thread)
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


class TestThreads:
    """Threads of one tracker share commits to a document."""

    def test_threads_do_not_get_in_each_others_way(self, embedded: Server, schema: str) -> None:
        """Sixty-four threads record sixty-four files: all are there, no write lost to another, and many share one."""
        tracker = Tracker.over(connection_to(embedded))
        in_threads(64, lambda number: record(tracker, schema, f"{number}.zip"))
        assert sorted(f"{number}.zip" for number in range(64)) == sorted(files_of(embedded, schema))
        stats = tracker.stats
        assert (1, stats.commits, 0) == (stats.requests["read"], stats.requests["write"], stats.conflicts)
        assert 32 >= stats.commits

    def test_two_that_record_the_same_file_at_once_are_told_the_same_number(self, schema: str) -> None:
        """Though one commit carries both, one of them creates it."""
        store = Held()
        tracker = Tracker.over(Connection(Access(bucket="raw"), store=store))
        outcomes: list[Recorded] = []
        threads = [threading.Thread(target=record, args=(tracker, schema))]
        threads += [threading.Thread(target=lambda: outcomes.append(record(tracker, schema, "b.zip"))) for _ in "12"]
        for thread in threads:
            thread.start()
        assert store.entered.wait(10)
        store.leave.set()
        for thread in threads:
            thread.join()
        assert [2, 2] == [done.version for done in outcomes] or [1, 1] == [done.version for done in outcomes]
        assert [False, True] == sorted(done.created for done in outcomes)

    def test_a_thread_that_is_not_carried_in_time_gives_up(self, schema: str) -> None:
        """It waits for as long as a call may take, and then nothing of it was written."""
        store = Held()
        connection = Connection(Access(bucket="raw"), store=store, patience=Patience(seconds=0.05))
        tracker = Tracker.over(connection)
        first = threading.Thread(target=record, args=(tracker, schema))
        first.start()
        assert store.entered.wait(10)
        with pytest.raises(ContentionError, match=f"other threads kept committing to {raw_key(schema)}; nothing was"):
            record(tracker, schema, "late.zip")
        store.leave.set()
        first.join()
        assert not tracker.exists(schema, "births", "FY2023", "late.zip")
        assert tracker.exists(schema, "births", "FY2023", "a.zip")

    def test_documents_do_not_wait_for_each_other(self, schema: str) -> None:
        """What is in flight to one holds up nobody at another."""
        store = Held()
        tracker = Tracker.over(Connection(Access(bucket="raw"), store=store, patience=Patience(seconds=10.0)))
        first = threading.Thread(target=record, args=(tracker, schema))
        first.start()
        assert store.entered.wait(10)
        other = threading.Thread(target=record, args=(tracker, f"{schema}_other"))
        store.entered.clear()
        other.start()
        assert store.entered.wait(10)
        store.leave.set()
        first.join()
        other.join()

    def test_an_error_ends_a_commit_too(self, schema: str) -> None:
        """Who fails lets the next one in."""
        store = MemoryStore()
        etag = store.write(raw_key(schema), b"rubbish", replacing=None).etag
        tracker = Tracker.over(Connection(Access(bucket="raw"), store=store, patience=Patience(seconds=0.05)))
        with pytest.raises(TrackerError):
            record(tracker, schema)
        store.write(raw_key(schema), b'{"tables":[]}', replacing=etag)
        assert record(tracker, schema).created


class TestCombining:
    """Whether workers commit for each other."""

    LOST: Final = (Fates.CONFLICT,) * 5

    def test_a_worker_that_keeps_losing_asks_others_to_commit_for_it(self) -> None:
        """It publishes what it has to record."""
        store = FatefulStore(MemoryStore(), writes=self.LOST)
        tracker = Tracker.over(Connection(Access(bucket="raw"), store=store, patience=Patience(first=0.0)))
        assert record(tracker, "vitals").created
        assert "publish" in store.calls

    @pytest.mark.parametrize("way", ["made so", "pickle"])
    def test_one_that_does_not_combine_tries_again_by_itself(self, way: str) -> None:
        """It neither publishes nor looks for what others have published; so does a copy of it."""
        store = FatefulStore(MemoryStore(), writes=self.LOST)
        connection = Connection(Access(bucket="raw"), store=store, patience=Patience(first=0.0), combining=False)
        if way == "pickle":
            sent = pickle.dumps(Connection(connection.access, patience=connection.patience, combining=False))
            connection = pickle.loads(sent)
            connection._store = store  # noqa: SLF001 - a store with a story does not travel
        assert record(Tracker.over(connection), "vitals").created
        assert {"read", "write"} == set(store.calls)
        assert 6 == store.calls.count("write")

    def test_a_task_beside_ones_own_work_gives_its_result(self) -> None:
        """Or raises what it raised, where that is asked for."""

        def fails() -> None:
            raise StoreError("refused")

        assert "done" == spawn(lambda: "done")()
        failed = spawn(fails)
        with pytest.raises(StoreError, match="refused"):
            failed()

    def test_a_task_beside_ones_own_work_is_begun_at_once(self) -> None:
        """By a thread of its own: who began it goes on meanwhile."""
        threads: list[threading.Thread] = []
        spawn(lambda: threads.append(threading.current_thread()))()
        assert [threading.current_thread()] != threads


class TestSecrets:
    """Nothing that may be shown shows a secret."""

    @pytest.fixture
    def secretive(self, embedded: Server) -> Access:
        """Give access with a key and a token that would be found anywhere."""
        return replace(access_to(embedded), secret_key=SECRET, session_token=TOKEN)

    def test_no_form_of_a_tracker_shows_one(self, secretive: Access) -> None:
        """Neither its own nor that of a copy, nor that of what it is made of."""
        connection = Connection(secretive)
        shown = [connection, Tracker.over(connection), CleanTracker.over(connection, connection), secretive]
        shown += pickle.loads(pickle.dumps(shown))
        for thing in shown:
            assert secretive.bucket in repr(thing)
            assert SECRET not in f"{thing!r} {thing}"
            assert TOKEN not in f"{thing!r} {thing}"

    def test_no_log_has_one(self, secretive: Access, schema: str, caplog: pytest.LogCaptureFixture) -> None:
        """However much is logged, by whomever."""
        caplog.set_level(logging.DEBUG)
        with pytest.raises(TrackerError):
            record(Tracker.over(Connection(replace(secretive, bucket="no-such-bucket"))), schema)
        record(Tracker.over(Connection(replace(secretive, session_token=None))), schema)
        assert caplog.records
        assert SECRET not in caplog.text


class TestOpening:
    """What is opened, and when."""

    def test_nothing_is_asked_until_something_is_wanted(self, embedded: Server) -> None:
        """Making a tracker costs no request."""
        with counted(embedded) as (proxy, access):
            repr(Tracker.over(Connection(access)))
            assert 0 == proxy.counts.total()

    def test_a_bucket_that_is_made_meanwhile_is_found(self, embedded: Server, schema: str) -> None:
        """An error is not remembered."""
        bucket = schema.replace("_", "-")
        tracker = Tracker.over(connection_to(embedded, bucket))
        with pytest.raises(StoreError, match="no such bucket"):
            record(tracker, schema)
        make_bucket(embedded, bucket)
        assert record(tracker, schema).created

    def test_deleting_asks_until_it_is_answered(self, embedded: Server, schema: str) -> None:
        """Deleting twice is as good as deleting once."""
        record(Tracker.over(connection_to(embedded)), schema)

        def second_time_lucky(seen: Seen) -> Fate:
            return Fate.ERROR_500 if seen.number == 1 else Fate.ANSWERED

        with FaultyProxy(embedded.endpoint_url, second_time_lucky) as proxy:
            connection = Connection(access_to(embedded, endpoint_url=proxy.endpoint_url))
            connection.retrying(lambda: connection.store.delete(raw_key(schema)), raw_key(schema))
            assert 2 == proxy.counts.total()
        assert connection_to(embedded).store.read(raw_key(schema)) is None
