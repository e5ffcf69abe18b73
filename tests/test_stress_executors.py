"""The stress benchmark on executors: threads that share a connection, jobs anywhere else, and a dask cluster."""

import json
import multiprocessing
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import dask
import pytest
from distributed import LocalCluster
from typer.testing import CliRunner

from cf_data_tracker.cli.app import app
from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.names import raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stress import Options, Progress, Report, executors, run
from cf_data_tracker.stress.crew import Crew
from cf_data_tracker.stress.executors import name_of, opened, run_on
from cf_data_tracker.stress.plan import plan
from cf_data_tracker.stress.verdict import Acknowledged
from cf_data_tracker.stress.worker import Account, Failed, Job, results, work_within
from cf_data_tracker.tracker import raw_spec
from conftest import connection_to
from servers.server import Server

P = ParamSpec("P")
T = TypeVar("T")


def in_memory() -> Connection:
    """Return a connection to a store of this process."""
    return Connection(Access(bucket="raw"), store=MemoryStore())


def on(executor: Executor, connection: Connection, options: Options) -> Report:
    """Run on an executor without showing anything."""
    return run(connection, options, lambda _progress: None, executor)


def assert_spotless(report: Report, recordings: int) -> None:
    """Assert that all was recorded and nothing was lost, doubled, disordered or failed."""
    assert report.verdict.violations == ()
    assert list(report.failed) == []
    assert (recordings, 0) == (len(report.acknowledged), report.died)


class TestThreads:
    """Threads of this process."""

    def test_threads_lose_nothing(self, embedded: Server) -> None:
        """8 threads x 25 files: 200 recordings of 132 files."""
        with ThreadPoolExecutor(8) as pool:
            report = on(pool, connection_to(embedded), Options(workers=8, files=25))
        assert_spotless(report, 200)
        assert (132, "threads") == (report.versions, report.executor)

    def test_threads_share_their_commits(self, embedded: Server) -> None:
        """They share one connection, so one commit carries the recordings of several, and each commit is seen once."""
        with ThreadPoolExecutor(8) as pool:
            report = on(pool, connection_to(embedded), Options(workers=8, files=10))
        assert (report.max_batch or 0) > 1
        assert report.revision == len(report.commits) < report.versions
        assert report.versions == sum(commit.recordings for commit in report.commits)

    def test_their_requests_are_counted_once(self) -> None:
        """What the one connection asked is counted, and not once for each thread."""
        with ThreadPoolExecutor(4) as pool:
            report = on(pool, in_memory(), Options(workers=4, files=5))
        assert report.revision <= report.attempts <= report.revision + report.stats.conflicts
        assert report.requests < 2 * len(report.acknowledged)

    def test_blind_threads_lose(self, embedded: Server) -> None:
        """The unsafe strategy loses with threads, too, and its commits are not seen."""
        with ThreadPoolExecutor(8) as pool:
            report = on(pool, connection_to(embedded), Options(workers=8, files=12, strategy="unsafe"))
        assert report.verdict.lost > 0
        assert (None, None) == (report.mean_batch, report.max_batch)

    def test_threads_are_called_off(self, embedded: Server, schema: str) -> None:
        """On Ctrl-C each thread ends with the recording that it is at, and the document is removed."""

        def break_off(progress: Progress) -> None:
            if progress.acknowledged:
                raise KeyboardInterrupt

        connection = connection_to(embedded)
        with ThreadPoolExecutor(3) as pool:
            with pytest.raises(KeyboardInterrupt):
                run(connection, Options(workers=3, files=2_000, schema=schema), break_off, pool)
            together = threading.Barrier(3, timeout=60)  # none is at work any more
            assert [0, 1, 2] == sorted(pool.map(lambda _: together.wait(), range(3)))
        assert connection_to(embedded).read(raw_spec(schema)) is None

    def test_a_thread_that_is_told_to_stop_stops(self, schema: str) -> None:
        """It ends with the recording that it is at."""
        stop, heard = threading.Event(), list[Account]()
        stop.set()
        assert Account() == work_within(job(in_memory(), schema), 0.0, heard.append, stop)
        assert 1 == len(heard)


def job(connection: Connection, schema: str) -> Job:
    """Return a lone worker's job of five files."""
    return Job(number=0, connection=connection, strategy="combining", files=tuple(plan(schema, 1, 5)[0]))


def test_a_worker_stops_where_the_document_is_taken_away(schema: str) -> None:
    """Once the document is gone the run is over, and nobody begins another one."""
    connection = in_memory()
    steps = results(job(connection, schema))
    assert isinstance(next(steps), Acknowledged)
    connection.store.delete(raw_key(schema))
    last = next(steps)
    assert isinstance(last, Failed)
    assert "DocumentVanishedError" == last.kind
    assert [] == list(steps)
    assert connection.store.read(raw_key(schema)) is None


def test_a_worker_stops_where_the_store_refuses() -> None:
    """What it refuses once, it would refuse for each file, perhaps after the whole time of patience."""
    connection = Connection(
        Access(bucket="raw", endpoint_url="http://127.0.0.1:9"), patience=Patience(attempts=1, seconds=1.0)
    )
    (only,) = results(job(connection, "s"))
    assert isinstance(only, Failed)
    assert "StoreError" == only.kind


class Never(Executor):
    """Takes jobs and does none."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:  # noqa: ARG002 - see above
        """Take a job."""
        future: Future[T] = Future()
        self.futures.append(future)
        return future


class AtOnce(Never):
    """Runs each job when it comes, in the caller's thread and process; one of them ends in an error instead."""

    def __init__(self, broken: int | None = None) -> None:
        super().__init__()
        self._broken = broken

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Take a job, and run it."""
        future = super().submit(fn, *args, **kwargs)
        if self._broken == len(self.futures) - 1:
            future.set_exception(OSError("its machine is gone"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


class TestAnyExecutor:
    """Jobs that go elsewhere."""

    @pytest.fixture(autouse=True)
    def _at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give jobs no time to get ready: these tests are of what becomes of them."""
        monkeypatch.setattr(executors, "LEAD_SECONDS", 0.0)

    def test_jobs_run_in_other_processes(self, embedded: Server) -> None:
        """A pool of processes: each job has a connection of its own, and reports at its end."""
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
            report = on(pool, connection_to(embedded), Options(workers=2, files=10))
        assert_spotless(report, 20)
        assert "ProcessPoolExecutor" == report.executor
        assert report.versions == sum(commit.recordings for commit in report.commits)
        assert list(range(1, report.revision + 1)) == [commit.revision for commit in report.commits]

    def test_jobs_have_connections_of_their_own_in_one_process_too(self) -> None:
        """An executor need not pickle: two jobs of one process, one after the other, begin with a read each."""
        report = on(AtOnce(), in_memory(), Options(workers=2, files=3, strategy="cas"))
        assert_spotless(report, 6)
        # The first reads once and writes all three; the second finds two there, which takes a look, and writes its own.
        assert {"read": 3, "write": 4} == report.stats.requests

    def test_a_job_that_ends_in_an_error_is_lost_alone(self) -> None:
        """Its error is told, its files are uncertain, and the others run on."""
        report = on(AtOnce(broken=1), in_memory(), Options(workers=3, files=4))
        assert report.verdict.clean
        assert (8, 1) == (len(report.acknowledged), report.died)
        assert [Failed(worker=1, file="", kind="OSError", message="its machine is gone")] == list(report.failed)

    def test_a_job_that_is_run_again_is_no_violation(self) -> None:
        """A cluster does so where it loses a machine: the second run finds what the first created."""

        class Twice(AtOnce):
            def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
                fn(*args, **kwargs)
                return super().submit(fn, *args, **kwargs)

        report = on(Twice(), in_memory(), Options(workers=2, files=4))
        assert_spotless(report, 8)
        assert {False} == {done.created for done in report.acknowledged}

    def test_jobs_that_tell_nothing_are_given_up(self) -> None:
        """After their time is over they are cancelled, and lost."""
        executor, options = Never(), Options(workers=2, files=1)
        crew = Crew(in_memory(), options, lambda _progress: None)
        run_on(executor, crew, in_memory(), patience=0.0)
        assert (2, {"TimeoutError"}) == (crew.died, {failed.kind for failed in crew.failed})
        assert all(future.cancelled() for future in executor.futures)

    def test_jobs_are_called_off(self, schema: str) -> None:
        """On Ctrl-C those that have not begun are cancelled."""
        executor = Never()

        def break_off(progress: Progress) -> None:
            if progress.phase == "recording":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(in_memory(), Options(workers=2, files=1, schema=schema), break_off, executor)
        assert [True, True] == [future.cancelled() for future in executor.futures]

    @pytest.mark.parametrize(
        ("executor", "why"), [(ThreadPoolExecutor(1), "a thread cannot be ended"), (AtOnce(), "those of AtOnce")]
    )
    def test_workers_that_are_not_ours_are_not_killed(self, executor: Executor, why: str) -> None:
        """Killing takes processes of the run's own; the error says why."""
        with pytest.raises(InvalidNameError, match=why):
            on(executor, in_memory(), Options(workers=2, kill=0.5))


class TestNames:
    """What `--executor` may be."""

    def test_processes_need_no_executor(self) -> None:
        """The default is processes of the run's own."""
        with opened("processes", 8) as executor:
            assert executor is None
            assert "processes" == name_of(executor)

    def test_threads_are_a_pool_with_a_thread_for_each_worker(self) -> None:
        """Or some would wait for others to end."""
        with opened("threads", 3) as executor:
            assert executor is not None
            together = threading.Barrier(3, timeout=60)
            assert [0, 1, 2] == sorted(executor.map(lambda _: together.wait(), range(3)))

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "thread",
            "dask",
            "dask://",
            "dask://host",
            "dask://host:x",
            "dask://host:1/x",
            "tcp://host:1",
            "dask://:1",
        ],
    )
    def test_other_names_are_refused(self, name: str) -> None:
        """The error lists what there is."""
        with pytest.raises(InvalidNameError, match="processes, threads, or dask://host:port"), opened(name, 1):
            pass

    def test_no_password_is_shown(self) -> None:
        """An address with a user in it is refused, and not shown."""
        with pytest.raises(InvalidNameError) as refused, opened("dask://me:hunter2@host:8786", 1):
            pass
        assert "hunter2" not in str(refused.value)

    def test_a_missing_extra_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without `distributed`, the error says what to install."""
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(StoreError, match=r'pip install "cf-data-tracker\[dask\]"'), opened("dask://host:8786", 1):
            pass

    def test_a_scheduler_out_of_reach_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nobody listens, the error says where and what to start."""
        monkeypatch.setattr(executors, "CONNECT_SECONDS", 0.5)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{nobody.getsockname()[1]}"
            missing = pytest.raises(StoreError, match=f"no dask scheduler answers at tcp://{address}")
            with missing, opened(f"dask://{address}", 1):
                pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Give the address of a dask cluster of two processes with four threads each."""
    # Before Python 3.12, asking for the frames of all threads, as its profiler does, can hang (CPython's issue 106883).
    with (
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(n_workers=2, threads_per_worker=4, processes=True, dashboard_address="127.0.0.1:0") as running,  # type: ignore[no-untyped-call]  # distributed's
    ):
        yield running.scheduler_address.replace("tcp://", "dask://")


class TestDask:
    """A real cluster, on this machine."""

    def test_workers_on_a_cluster_lose_nothing(self, cluster: str, tmp_path: Path) -> None:
        """8 jobs x 25 files on the embedded server: 200 recordings of 132 files, each commit seen once."""
        figures = tmp_path / "figures.json"
        result = CliRunner().invoke(app, ["stress", "--executor", cluster, "--json", str(figures)])
        assert result.exit_code == 0, result.output
        found = json.loads(figures.read_text())
        assert (200, 132, True, "dask") == (found["recordings"], found["versions"], found["clean"], found["executor"])
        assert 132 == round(found["batch"]["mean"] * found["commits"])
        assert found["died"] == 0

    def test_a_cluster_with_fewer_threads_than_workers_is_refused(self, cluster: str) -> None:
        """Its jobs would not run at once, which is what is to be tried."""
        result = CliRunner().invoke(app, ["stress", "--executor", cluster, "--workers", "9"])
        assert result.exit_code == 2
        assert "runs 8 jobs at once" in result.stderr
