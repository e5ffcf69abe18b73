"""The comparison with peers: what of it is pure, and a race of a contestant that needs no server."""

import json
import sys
from pathlib import Path

import pytest

from cf_data_tracker.document import raw_document, versions_of

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import peers
from contestants import loop
from contestants.harness import Contestant, File, Job, files_of, recorded
from contestants.lineup import LINEUP, Entry
from racing.environments import BENCHMARKS, runtime
from racing.figures import COLUMNS, Measured, cells, figures, known, markdown, remarks, title
from racing.meters import Busy, busy, cpu_seconds
from racing.race import Heard, Message, RaceError, Team, race

FAKE = """
import pathlib, sys, threading
from contestants.harness import Contestant, main

class Fake(Contestant):
    def open(self):
        if self.job.bucket == "absent":
            raise LookupError("there is no bucket")
    def record(self, file):
        if self.job.bucket == "endless" and file.file.endswith("00001.zip"):
            threading.Event().wait()
        if self.job.bucket == "flaky" and file.file.endswith("00001.zip"):
            raise OSError("no luck")
        print("libraries print what they like")
        pathlib.Path(self.job.directory, file.file).touch()
    def stored(self):
        return [path.name for path in pathlib.Path(self.job.directory).glob("*.zip")]

main(Fake)
"""


def job(directory: Path = Path(), **given: object) -> Job:
    """Return a job whose server is nowhere."""
    told = {"endpoint_url": "", "bucket": "raw", "access_key": "", "secret_key": "", "region": "", "files": 3}
    return Job(**{**told, "directory": str(directory), **given})  # type: ignore[arg-type]


def said(file: str, began: float = 0.0, ended: float = 1.0, error: str | None = None) -> Message:
    """Return what a worker says of a recording."""
    return {"file": file, "began": began, "ended": ended, "error": error}


def heard(*recordings: Message, seconds: float = 2.0, cut_short: bool = False) -> Heard:
    """Return what was heard in a race of two seconds."""
    return Heard(seconds=seconds, recordings=list(recordings), cpu=0.5, died=0, cut_short=cut_short)


MEASURED = Measured(requests={"read": 3, "write": 5}, server_cpu=0.25, busy=Busy(mean=0.5, saturated=0.25))
RACED = {"contestant": "delta", "title": "delta-rs 1", "server_version": "Ceph 16", "latency": "s3"}


def test_what_is_lost_or_there_twice_is_counted() -> None:
    """An acknowledged file that is not stored is lost; one that is stored more than once is duplicated."""
    row = figures(heard(said("a"), said("b"), said("c")), MEASURED, ["a", "b", "b", "x"])
    assert (1, 1, 4) == (row["lost"], row["duplicated"], row["stored"])


def test_a_failed_recording_is_neither_acknowledged_nor_lost() -> None:
    """A recording that ended in an error counts as failed, whether it is stored or not, and its error is kept."""
    row = figures(heard(said("a"), said("b", error="OSError: x"), said("c", error="OSError: x")), MEASURED, ["a", "c"])
    assert (1, 2, 0) == (row["acknowledged"], row["failed"], row["lost"])
    assert {"OSError: x": 2} == row["errors"]


def test_figures_are_for_each_acknowledged_recording() -> None:
    """Requests and CPU time are shared among the acknowledged recordings, the rate is of the whole time."""
    row = figures(heard(said("a"), said("b"), said("c", error="x"), seconds=4.0), MEASURED, ["a", "b"])
    assert 0.5 == row["recordings_per_second"]
    assert 4.0 == row["requests_per_recording"]
    assert (0.25, 0.125) == (row["cpu_seconds_per_recording"], row["server_cpu_seconds_per_recording"])


def test_latencies_are_by_nearest_rank() -> None:
    """Of a hundred recordings p99 is the second slowest, of few it is the slowest; failed ones have no say."""
    hundred = [said(str(number), began=1.0, ended=1.0 + number) for number in range(1, 101)]
    row = figures(heard(*hundred, said("x", ended=900.0, error="x")), MEASURED, [])
    assert {"p50": 50.0, "p99": 99.0, "max": 100.0} == row["latency_seconds"]
    row = figures(heard(*hundred[:3]), MEASURED, [])
    assert {"p50": 2.0, "p99": 3.0, "max": 3.0} == row["latency_seconds"]


def test_a_contestant_that_records_nothing_has_a_row() -> None:
    """Where nothing was acknowledged there is a rate of nothing, and no figure for each recording."""
    row = {**RACED, **figures(heard(said("a", error="x")), MEASURED, [])}
    assert ["delta-rs 1", "0.0", "-", "-", "-", "-", "-", "-", "1", "0", "0", "50% (25%)"] == cells(row)
    assert ["delta-rs 1, 1 times: x"] == remarks([row])


def test_a_contestant_that_could_not_take_part_has_a_row() -> None:
    """Its row is as wide as the others, and the reason is told."""
    row = {**RACED, "problem": "prepare: it was refused"}
    assert len(COLUMNS) == len(cells(row))
    assert ["delta-rs 1 could not take part: prepare: it was refused"] == remarks([row])


def test_the_page_has_a_table_for_each_server_and_latency() -> None:
    """Rows stand under their server and latency; one that was stopped at the time limit is marked."""
    row = {**RACED, **figures(heard(said("a"), cut_short=True), MEASURED, ["a"])}
    machine = {"cores": 2, "memory_gib": 8, "python": "3.12.1"}
    rows = [row, {**row, "latency": "none"}]
    page = markdown({"machine": machine, "settings": {"workers": 32, "files": 10}, "rows": rows})
    assert "**Ceph 16, made as slow as S3, behind a proxy that counts**" in page
    assert "**Ceph 16, as it is, behind a proxy that counts**" in page
    assert r"| delta-rs 1\* | 0.5 | 1 | 1 | 1 | 8.0 | 500 | 250 | 0 | 0 | 0 | 50% (25%) |" in page


def test_a_title_names_the_version() -> None:
    """A table calls a contestant by the version of what it is made of, and keeps all versions of its environment."""
    entry = Entry(name="delta", title="delta-rs", packages=("deltalake==1",), shown="deltalake")
    assert "delta-rs 1" == title(entry, {"deltalake": "1"})
    assert {"deltalake": "1", "x": "2"} == known(entry, {"deltalake": "1", "x": "2"})
    assert {"boto3": "1"} == known(Entry(name="cas", title="x"), {"boto3": "1", "x": "2"})


def test_busy_is_the_share_of_ticks_that_were_not_idle() -> None:
    """Each sample stands for the time since the one before; one in which no tick passed says nothing."""
    assert Busy(mean=0.75, saturated=0.5) == busy([(100, 200), (105, 210), (105, 210), (105, 220)])
    assert Busy(mean=0.0, saturated=0.0) == busy([(100, 200)])


def test_a_process_that_is_gone_has_used_nothing() -> None:
    """CPU time is read of living processes; one that has ended since does no harm."""
    assert 0.0 == cpu_seconds([2**22 + 1])


def test_each_worker_records_files_of_its_own() -> None:
    """No two recordings of a race are of one file, and all are in one table."""
    files = [file for worker in range(20) for file in files_of(job(worker=worker, files=30))]
    assert 600 == len({file.file for file in files})
    assert {"births"} == {file.table for file in files}


def test_an_error_is_told_with_its_name() -> None:
    """Whatever a contestant raises ends that recording alone, and is told on one line."""

    class Failing(Contestant):
        def open(self) -> None: ...

        def record(self, file: File) -> None:
            raise LookupError(f"{file.file}\nis  refused")

        def stored(self) -> list[str]:
            return []

    outcome = recorded(Failing(job()), files_of(job())[0])
    assert "LookupError: worker_0000_00000.zip is refused" == outcome["error"]


def test_the_loops_write_this_projects_document() -> None:
    """What the hand-written loops store is read by this project, with the same numbers; a known file changes none."""
    body: bytes | None = None
    for file in files_of(job(files=24)):
        body = loop.grown(body, file)
        assert body is not None
        assert loop.grown(body, file) is None
    versions = list(versions_of(raw_document(body or b""), "vitals"))
    assert [1, 2] * 12 == [version.version for version in versions]
    assert sorted(version.file for version in versions) == sorted(loop.files_in(body))


def test_the_line_up_is_pinned_and_there() -> None:
    """Each contestant has a name of its own and a file, and each package that it needs has an exact version."""
    assert len(LINEUP) == len({entry.name for entry in LINEUP})
    assert all((BENCHMARKS / f"{entry.module.replace('.', '/')}.py").is_file() for entry in LINEUP)
    assert all("==" in package for entry in LINEUP for package in entry.packages)


def test_contestants_see_no_keys_of_the_callers() -> None:
    """Of the caller's environment a contestant is given no AWS settings and no proxies."""
    given = runtime({"AWS_PROFILE": "x", "aws_secret_access_key": "x", "https_proxy": "x", "PATH": "/bin"})
    assert "/bin" == given["PATH"]
    assert "x" not in given.values()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--workers", "0"], "must be a number from 1 to 512, got '0'"),
        (["--files", "many"], "must be a number from 1 to 100000, got 'many'"),
        (["--time-limit", "-1"], "must be a number from 1 to 86400, got '-1'"),
        (["--only", "delta,oracle"], "there is no contestant 'oracle': name some of combining, cas,"),
        (["--server", "rustfs"], "invalid choice: 'rustfs'"),
        (["--out", "."], "'.' is no file that can be written"),
    ],
)
def test_a_bad_argument_is_refused(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong argument ends the run before it begins, and the message says what would be right."""
    with pytest.raises(SystemExit, match="2"):
        peers.arguments(words)
    assert reason in capsys.readouterr().err


def test_arguments_choose() -> None:
    """`both` is both, and contestants stand in the order of the line-up."""
    options = peers.arguments(["--only", "delta, cas", "--latency", "both", "--server", "embedded"]).options
    assert ["cas", "delta"] == [entry.name for entry in options.entries]
    assert (("none", "s3"), ("embedded",)) == (options.latencies, options.servers)


@pytest.fixture
def team(tmp_path: Path) -> Team:
    """Return a contestant that stores files as files."""
    (tmp_path / "fake.py").write_text(FAKE)
    environment = {"PYTHONPATH": str(tmp_path)}
    return Team(python=sys.executable, module="fake", environment=environment, log=tmp_path / "log")


def test_a_race_hears_every_recording(team: Team, tmp_path: Path) -> None:
    """Every recording of every worker is heard, with its times; what is stored is asked for afterwards."""
    words: list[str] = []
    jobs = [job(tmp_path, worker=number) for number in range(2)]
    result = race(team, jobs, 60.0, lambda: words.append("go"))
    assert ["go"] == words
    assert (0, False) == (result.died, result.cut_short)
    assert sorted(team.ask("stored", jobs[0])) == sorted(recording["file"] for recording in result.recordings)
    assert all(recording["began"] <= recording["ended"] for recording in result.recordings)
    assert 6 == len(result.recordings)


def test_a_race_goes_on_after_an_error(team: Team, tmp_path: Path) -> None:
    """A recording that fails is heard of, and its worker records the next."""
    result = race(team, [job(tmp_path, bucket="flaky")], 60.0, lambda: None)
    assert [None, "OSError: no luck", None] == [recording["error"] for recording in result.recordings]


def test_a_race_is_stopped_at_its_limit(team: Team, tmp_path: Path) -> None:
    """Workers stop where they are when the time is up; what was acknowledged by then counts."""
    result = race(team, [job(tmp_path, bucket="endless")], 0.5, lambda: None)
    assert ["worker_0000_00000.zip"] == [recording["file"] for recording in result.recordings]
    assert (0, True) == (result.died, result.cut_short)


def test_a_worker_that_does_not_start_says_why(team: Team, tmp_path: Path) -> None:
    """A contestant that cannot open the bucket does not race; the error is its own."""
    with pytest.raises(RaceError, match="a worker did not start: LookupError: there is no bucket"):
        race(team, [job(tmp_path, bucket="absent")], 60.0, lambda: None)


def test_results_are_kept(tmp_path: Path) -> None:
    """Results are written as JSON and, if wanted, as a page, in directories that need not be there."""
    machine = {"cores": 2, "memory_gib": 8, "python": "3.12.1"}
    results = {"machine": machine, "settings": {"workers": 1, "files": 1}, "rows": []}
    peers.write(results, tmp_path / "new" / "peers.json", tmp_path / "page" / "peers.md")
    assert results == json.loads((tmp_path / "new" / "peers.json").read_text())
    assert "1 processes record 1 files each. 2 cores" in (tmp_path / "page" / "peers.md").read_text()
