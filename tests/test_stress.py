"""The stress benchmark: its plan, its judge, and real runs with worker processes, faults and kills."""

import json
import multiprocessing
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cf_data_tracker.cli.app import app
from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import FileVersion
from cf_data_tracker.names import aside_key, inbox_prefix, raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING
from cf_data_tracker.stress import Options, Progress, Report, run
from cf_data_tracker.stress.plan import plan
from cf_data_tracker.stress.verdict import Acknowledged, judge
from cf_data_tracker.tracker import Tracker, raw_spec
from conftest import access_to, connection_to
from servers.proxy import Fate, FaultyProxy, mix
from servers.server import Server


class TestPlan:
    """Who records what."""

    @pytest.mark.parametrize(("workers", "files"), [(8, 25), (2, 3), (32, 10)])
    def test_half_of_the_files_are_recorded_by_two_workers(self, workers: int, files: int) -> None:
        """With workers in pairs, as many files have two recorders as have one, to within a file a worker."""
        recorders = Counter(new.file for own in plan("s", workers, files) for new in own)
        assert workers * files == sum(recorders.values())
        twice = sum(count == 2 for count in recorders.values())
        assert abs(len(recorders) - 2 * twice) <= workers
        assert set(recorders.values()) == {1, 2}

    def test_partners_record_a_shared_file_at_the_same_step(self) -> None:
        """Two workers with a file in common come to it at the same point of their lists, that is, at once."""
        first, second = plan("s", 2, 9)
        shared = {new.file for new in first} & {new.file for new in second}
        assert len(shared) == 6
        assert [new.file in shared for new in first] == [new.file in shared for new in second]

    def test_a_worker_without_a_partner_records_its_own(self) -> None:
        """An odd worker out shares nothing."""
        *_, last = plan("s", 3, 5)
        assert {new.file[:6] for new in last} == {"worker"}


def told(  # noqa: PLR0913 - an acknowledgement has that many properties
    file: str, version: int, *, created: bool = True, began: float = 0.0, ended: float = 1.0, host: str = ""
) -> Acknowledged:
    """Return an acknowledgement of a file of t/f."""
    return Acknowledged(
        worker=0,
        table="t",
        file_name="f",
        file=file,
        version=version,
        created=created,
        began=began,
        ended=ended,
        host=host,
    )


def there(file: str, version: int) -> FileVersion:
    """Return a version of t/f in the document."""
    return FileVersion(
        schema="s",
        table="t",
        file_name="f",
        file=file,
        version=version,
        file_size=1,
        s3_location="",
        timestamp="",
        fyear="",
        upload_date="",
        checksum=None,
        recorded_by=None,
    )


class TestVerdict:
    """What the judge must see."""

    def test_all_that_is_as_it_should_be_is_clean(self) -> None:
        """Two files, one of them recorded twice, in order."""
        verdict = judge(
            [told("a", 1, ended=1), told("a", 1, created=False, ended=2), told("b", 2, began=2, ended=3)],
            [there("a", 1), there("b", 2)],
        )
        assert verdict.clean
        assert (0, 0) == (verdict.lost, verdict.duplicated)

    def test_an_acknowledged_file_that_is_not_there_is_lost(self) -> None:
        """The first invariant: every acknowledged recording is in the document."""
        verdict = judge([told("a", 1), told("b", 2)], [there("a", 1)])
        assert verdict.lost == 1
        assert verdict.violations == ("t/f/b: acknowledged as version 2, there 0 times",)

    def test_a_file_that_is_there_twice_is_duplicated(self) -> None:
        """Exactly once."""
        verdict = judge([told("a", 1)], [there("a", 1), there("a", 2)])
        assert verdict.duplicated == 1
        assert verdict.violations == ("t/f/a: acknowledged as version 1, there 2 times",)

    def test_another_number_than_the_acknowledged_one_is_wrong(self) -> None:
        """Under its acknowledged number."""
        verdict = judge([told("a", 2), told("b", 1)], [there("a", 1), there("b", 2)])
        assert len(verdict.violations) == 2
        assert "under another number" in verdict.violations[0]

    @pytest.mark.parametrize("numbers", [[2], [1, 3], [1, 1]])
    def test_numbers_that_are_not_dense_are_wrong(self, numbers: list[int]) -> None:
        """The second invariant: 1, 2, 3 ..."""
        verdict = judge([], [there(f"file {place}", number) for place, number in enumerate(numbers)])
        assert len(verdict.violations) == 1
        assert "are not 1 to" in verdict.violations[0]

    def test_two_creators_of_a_file_are_wrong(self) -> None:
        """The third invariant: exactly one was told that it created the version."""
        verdict = judge([told("a", 1), told("a", 1)], [there("a", 1)])
        assert verdict.violations == ("a: 2 recordings were told that they created it",)

    def test_no_creator_of_a_file_is_wrong(self) -> None:
        """Not none."""
        verdict = judge([told("a", 1, created=False)], [there("a", 1)])
        assert verdict.violations == ("a: 0 recordings were told that they created it",)

    def test_a_creator_that_was_killed_may_not_have_told(self) -> None:
        """If a recording of the file ended without an acknowledgement, it may be the creator."""
        assert judge([told("a", 1, created=False)], [there("a", 1)], frozenset({"a"})).clean

    def test_a_lower_number_for_a_later_recording_is_wrong(self) -> None:
        """The fourth invariant: what was acknowledged before another began has the lower number."""
        verdict = judge(
            [told("a", 2, began=0, ended=1), told("b", 1, began=2, ended=3)], [there("b", 1), there("a", 2)]
        )
        assert verdict.violations == ("t/f/a: version 2 was acknowledged before 1 began",)

    def test_recordings_at_the_same_time_may_come_in_either_order(self) -> None:
        """Overlapping recordings have no order to keep."""
        assert judge(
            [told("a", 2, began=0, ended=2), told("b", 1, began=1, ended=3)], [there("b", 1), there("a", 2)]
        ).clean

    def test_times_of_two_machines_are_not_compared(self) -> None:
        """Each machine has a clock of its own: what one tells of an order that the other breaks is no violation."""
        acknowledged = [
            told("a", 2, began=0, ended=1, host="one"),
            told("b", 1, began=2, ended=3, host="other"),
            told("b", 1, created=False, began=0, ended=0.5, host="one"),
        ]
        assert judge(acknowledged, [there("b", 1), there("a", 2)]).clean

    def test_a_machine_is_judged_by_its_own_clock_beside_others(self) -> None:
        """The fourth invariant holds for the recordings of each machine by themselves."""
        acknowledged = [
            told("c", 3, began=0, ended=1, host="one"),
            told("b", 2, began=0, ended=9, host="other"),
            told("a", 1, began=2, ended=3, host="one"),
        ]
        verdict = judge(acknowledged, [there("a", 1), there("b", 2), there("c", 3)])
        assert verdict.violations == ("t/f/c: version 3 was acknowledged before 1 began",)

    def test_a_file_that_was_there_before_its_creator_began_is_wrong(self) -> None:
        """A recording cannot have found what nobody had yet begun to record."""
        verdict = judge([told("a", 1, began=5, ended=6), told("a", 1, created=False, ended=1)], [there("a", 1)])
        assert len(verdict.violations) == 1


def silently(connection: Connection, options: Options) -> Report:
    """Run without showing anything."""
    return run(connection, options, lambda _progress: None)


def assert_spotless(report: Report) -> None:
    """Assert that nothing was lost, doubled, disordered or failed."""
    assert report.verdict.violations == ()
    assert (0, 0) == (report.verdict.lost, report.verdict.duplicated)
    assert list(report.failed) == []
    assert report.died == 0


class TestRuns:
    """Worker processes against a real S3 server."""

    @pytest.mark.parametrize("strategy", ["combining", "cas"])
    def test_eight_workers_lose_nothing(self, server: Server, strategy: str) -> None:
        """8 workers x 25 files: 200 recordings of 132 files, each there once."""
        report = silently(connection_to(server), Options(workers=8, files=25, strategy=strategy))
        assert_spotless(report)
        assert (200, 132) == (len(report.acknowledged), report.versions)

    def test_every_commit_is_seen(self, embedded: Server) -> None:
        """Workers report their commits: all revisions, with as many recordings in them as the document has versions."""
        report = silently(connection_to(embedded), Options(workers=6, files=10))
        assert_spotless(report)
        assert list(range(1, report.revision + 1)) == [commit.revision for commit in report.commits]
        assert report.versions == sum(commit.recordings for commit in report.commits)
        assert report.stats.combined == sum(commit.others for commit in report.commits)
        assert all(0 <= commit.at <= report.seconds for commit in report.commits)

    def test_without_combining_each_commits_for_itself(self, server: Server) -> None:
        """With the strategy `cas` a commit has one recording, and nothing is listed."""
        report = silently(connection_to(server), Options(workers=6, files=10, strategy="cas"))
        assert_spotless(report)
        assert (report.versions, 1, 0) == (report.revision, report.max_batch, report.stats.combined)
        assert {"read", "write"} == set(report.stats.requests)

    def test_requests_are_those_of_the_workers_since_the_word(self, embedded: Server) -> None:
        """A lone worker that records three files of its own reads once at the start, and writes each."""
        report = silently(connection_to(embedded), Options(workers=1, files=3))
        assert {"read": 1, "write": 3} == report.stats.requests
        assert (1.0, 4 / 3) == (report.per_recording(report.attempts), report.per_recording(report.requests))

    def test_a_store_can_be_made_as_slow_as_s3(self, embedded: Server) -> None:
        """With the latencies of S3 no recording of a lone worker, which is a write each, is done within 25 ms."""
        report = silently(connection_to(embedded), Options(workers=1, files=3, latency="s3"))
        assert_spotless(report)
        assert min(report.latencies) >= 0.025
        assert embedded.endpoint_url == report.endpoint

    def test_only_a_store_at_http_can_be_made_slow(self) -> None:
        """The proxy does not speak TLS, and AWS has no latency to add."""
        with pytest.raises(InvalidNameError, match="must be http://host:port"):
            silently(Connection(Access(bucket="raw", endpoint_url="https://127.0.0.1:1")), Options(latency="s3"))

    def test_blind_writes_lose(self, server: Server) -> None:
        """On the same server, reading, changing and putting back blindly loses acknowledged files."""
        report = silently(connection_to(server), Options(workers=8, files=12, strategy="unsafe"))
        assert report.verdict.lost > 0
        assert not report.verdict.clean

    def test_workers_that_are_killed_take_nothing_with_them(self, server: Server) -> None:
        """SIGKILL to a third in mid-run: what was acknowledged is there, and the rest run on to their end."""
        report = silently(connection_to(server), Options(workers=9, files=20, kill=0.34))
        assert_spotless(report)
        assert report.killed == 3
        assert 6 * 20 <= len(report.acknowledged) < 9 * 20

    @pytest.mark.ceph
    def test_thirty_two_workers_meet_no_error(self, ceph: Server) -> None:
        """32 workers x 10 on Ceph, which answers most lost races with 500: no error reaches a worker."""
        report = silently(connection_to(ceph), Options(workers=32, files=10))
        assert_spotless(report)
        assert len(report.acknowledged) == 320

    def test_what_was_written_is_removed(self, embedded: Server, schema: str) -> None:
        """The document is gone afterwards, and so is all else that the run wrote."""
        silently(connection_to(embedded), Options(workers=1, files=3, schema=schema))
        connection = connection_to(embedded)
        assert connection.read(raw_spec(schema)) is None
        assert connection.store.list(f"{schema}/") == []
        assert connection.store.list("_cf_tracker/") == []

    @pytest.mark.parametrize("strategy", ["combining", "cas"])
    def test_what_workers_left_in_the_inbox_is_removed(self, embedded: Server, schema: str, strategy: str) -> None:
        """What stands in the document's inbox at the end, or was set aside from it, goes; `cas` looks at none."""
        connection, inbox = connection_to(embedded), inbox_prefix(raw_key(schema))
        left = {f"{inbox}left-behind", aside_key(f"{inbox}set-aside")}

        def leave(progress: Progress) -> None:
            if progress.phase == "recording":
                for key in left:
                    connection.store.write(key, b"", replacing=ANYTHING)

        run(connection, Options(workers=1, files=2, schema=schema, strategy=strategy), leave)
        there = {*connection.store.list(inbox), *connection.store.list(aside_key(inbox))}
        connection.store.delete(*left)
        assert (set() if strategy == "combining" else left) == there

    def test_a_run_that_is_broken_off_leaves_nothing(self, embedded: Server, schema: str) -> None:
        """On Ctrl-C the workers are ended, and the document is removed."""

        def break_off(progress: Progress) -> None:
            if progress.acknowledged:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(connection_to(embedded), Options(workers=3, files=1000, schema=schema), break_off)
        assert multiprocessing.active_children() == []
        assert connection_to(embedded).read(raw_spec(schema)) is None

    def test_somebodys_document_is_not_touched(self, embedded: Server, schema: str) -> None:
        """A schema that holds a document already is refused, and the document stays as it is."""
        tracker = Tracker.over(connection_to(embedded))
        tracker.record(schema, "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/a.zip")
        before = tracker.document(schema)
        with pytest.raises(InvalidNameError, match="holds a document already"):
            silently(connection_to(embedded), Options(workers=1, files=1, schema=schema))
        assert before == tracker.document(schema)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"workers": 0},
            {"workers": 513},
            {"files": 0},
            {"strategy": "hope"},
            {"latency": "moon"},
            {"kill": 1.5},
            {"schema": "a/b"},
        ],
    )
    def test_options_out_of_their_range_are_refused(self, wrong: dict[str, Any]) -> None:
        """Each option says what it may be."""
        with pytest.raises(InvalidNameError):
            Options(**wrong)


FAULTS = {
    "lost answers": {Fate.ANSWER_LOST: 0.1},
    "lost requests": {Fate.LOST_BEFORE: 0.1},
    "late answers": {Fate.ANSWER_LATE: 0.1},
    "late arrivals": {Fate.APPLIED_LATE: 0.1},
    "409": {Fate.CONFLICT_409: 0.1},
    "500": {Fate.ERROR_500: 0.05, Fate.APPLIED_500: 0.05},
    "503": {Fate.SLOW_DOWN_503: 0.1},
    "all": {fate: 0.1 / 8 for fate in Fate if fate not in (Fate.ANSWERED, Fate.REFUSED_IN_200)},
}


class TestFaults:
    """A proxy between the workers and the server that spoils a tenth of all requests changes nothing but the time."""

    @pytest.mark.parametrize("shares", FAULTS.values(), ids=FAULTS.keys())
    def test_faults_change_nothing_but_the_time(self, server: Server, shares: dict[Fate, float]) -> None:
        """Nothing is lost, doubled or failed; every fault was met."""
        with FaultyProxy(server.endpoint_url, mix(shares, seed=51), answer_after=0.8, apply_after=0.3) as proxy:
            access = access_to(server, endpoint_url=proxy.endpoint_url, timeout=0.4)
            report = silently(Connection(access), Options(workers=4, files=15))
            assert set(shares) <= {fate for fate, count in proxy.counts.items() if count}
        assert_spotless(report)
        assert len(report.acknowledged) == 60


@pytest.fixture
def figures(tmp_path: Path) -> Path:
    """Give a file to write figures to."""
    return tmp_path / "figures.json"


class TestCommandLine:
    """What the command prints and how it exits."""

    def test_it_runs_on_the_embedded_server_by_itself(self, figures: Path) -> None:
        """Without an endpoint a server is started; the verdict is clean and the exit code 0."""
        result = CliRunner().invoke(app, ["stress", "--workers", "2", "--files", "6", "--json", str(figures)])
        assert result.exit_code == 0, result.output
        assert "Verdict: clean" in result.output
        found = json.loads(figures.read_text())
        assert (12, 0, 0, True) == (found["recordings"], found["lost"], found["duplicated"], found["clean"])
        assert {"p50", "p95", "p99", "max"} == set(found["latency_seconds"])
        assert ("combining", "none", "processes") == (found["strategy"], found["latency"], found["executor"])
        assert found["requests_per_recording"] == sum(found["requests"].values()) / 12
        assert {"mean", "max"} == set(found["batch"])

    def test_a_page_is_written(self, scratch: Path) -> None:
        """`--report` writes a page with the verdict."""
        page = scratch / "report.html"
        result = CliRunner().invoke(app, ["stress", "--workers", "2", "--files", "2", "--report", str(page)])
        assert result.exit_code == 0, result.output
        assert '<p class="verdict">Clean.</p>' in page.read_text(encoding="utf-8")

    @pytest.mark.parametrize("place", [["--bucket", "raw"], ["--endpoint-url", "http://127.0.0.1:1"]])
    def test_only_the_local_server_is_made_slow(self, place: list[str]) -> None:
        """`--latency` with a store of one's own is a usage error that says why."""
        result = CliRunner().invoke(app, ["stress", "--latency", "s3", *place])
        assert result.exit_code == 2
        assert "only the local S3 can be made slow" in " ".join(result.stderr.split())

    def test_figures_may_go_to_standard_output(self) -> None:
        """`--json -` prints the figures alone there; the table goes to standard error."""
        result = CliRunner().invoke(app, ["stress", "--workers", "1", "--files", "2", "--json", "-"])
        assert json.loads(result.stdout)["recordings"] == 2
        assert "Verdict" in result.stderr

    def test_blind_writes_exit_with_5_and_say_how_many_they_lost(self, figures: Path) -> None:
        """The unsafe strategy loses, says how many, and exits 5."""
        options = ["--strategy", "unsafe", "--workers", "8", "--files", "12", "--json", str(figures)]
        result = CliRunner().invoke(app, ["stress", *options])
        lost = json.loads(figures.read_text())["lost"]
        assert result.exit_code == 5
        assert lost > 0
        assert f"Verdict: NOT clean. {lost} acknowledged files were lost" in result.output

    def test_it_runs_against_a_given_store(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, scratch: Path
    ) -> None:
        """With an endpoint and a bucket it takes the credentials from the environment."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
        assert scratch.exists()
        where = ["--endpoint-url", server.endpoint_url, "--bucket", "raw"]
        result = CliRunner().invoke(app, ["stress", "--workers", "2", "--files", "4", *where])
        assert result.exit_code == 0, result.output
        assert server.endpoint_url in result.output

    @pytest.mark.parametrize("option", ["--json", "--report"])
    @pytest.mark.parametrize("place", [".", "nowhere/figures"])
    def test_figures_that_have_no_place_to_go_are_told_before_the_run(
        self, scratch: Path, option: str, place: str
    ) -> None:
        """A folder, or a file in a folder that does not exist, is a usage error."""
        result = CliRunner().invoke(app, ["stress", option, str(scratch / place)])
        assert result.exit_code == 2
        assert "is no file that can be written" in result.stderr
        assert "Verdict" not in result.output

    def test_recordings_that_ran_out_of_time_exit_with_4(self, embedded: Server) -> None:
        """A run that is clean, but in which recordings gave up, says so."""
        connection = Connection(access_to(embedded), patience=Patience(attempts=1))
        connection.prove()
        report = silently(connection, Options(workers=6, files=10, schema=f"s_{uuid.uuid4().hex[:8]}"))
        assert report.verdict.violations == ()
        assert {failed.kind for failed in report.failed} == {"ContentionError"}
