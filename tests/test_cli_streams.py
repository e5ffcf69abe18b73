"""The command line with standard streams that are closed or full: the work is done, and the exit code is right."""

import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest

from cf_data_tracker import Tracker
from cf_data_tracker.cli.streams import standard_streams
from conftest import connection_to, make_bucket
from servers.server import Server

BUCKET: Final = "streams"
UNWRITABLE: Final = (">&-", ">/dev/full")
UNHEARD: Final = ("2>&-", "2>/dev/full")
REGRET: Final = "cf-data-tracker: error: standard output could not be written ({why}); what was recorded stays recorded"
WHY: Final = {">&-": "Bad file descriptor", ">/dev/full": "No space left on device"}

# What each command ends with where its data can be written.
CODES: Final = {
    "--version": 0,
    "no-such-command": 2,
    "tables unknown": 3,
    "record --from lines.jsonl --json": 0,
}


@pytest.fixture(scope="module")
def reachable(embedded: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Give the settings that lead to a bucket with a schema in it, and the folder with what commands read."""
    make_bucket(embedded, BUCKET)
    Tracker.over(connection_to(embedded, BUCKET)).record(
        "known", "births", "FY2023", "q1.zip", file_size=5, s3_location=f"s3://{BUCKET}/known/births/FY2023/q1.zip"
    )
    folder = tmp_path_factory.mktemp("streams")
    (folder / "here.zip").write_bytes(b"births")
    line = (
        '{"schema": "%s", "table": "t", "file_name": "F", "file": "f", "file_size": 1, "s3_location": "s3://raw/f"}\n'
    )
    (folder / "lines.jsonl").write_text(line % "many")
    return {
        "PWD": str(folder),
        "AWS_ENDPOINT_URL_S3": embedded.endpoint_url,
        "AWS_DEST_BUCKET_RAW": BUCKET,
        "AWS_DEST_BUCKET_CLEAN": "clean",
        "AWS_REGION_NAME": embedded.region,
        "AWS_ACCESS_KEY_ID": embedded.access_key,
        "AWS_SECRET_ACCESS_KEY": embedded.secret_key,
    }


def ended(environment: dict[str, str], command: str, redirection: str) -> tuple[int, str, str]:
    """Run a command with a redirection of the shell: its exit code and what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} -m cf_data_tracker {command} {redirection}"],
        env=kept | environment,
        cwd=environment["PWD"],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def ended_all(environment: dict[str, str], redirection: str) -> dict[str, tuple[int, str, str]]:
    """Run all commands, a few at a time."""
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(CODES, pool.map(lambda command: ended(environment, command, redirection), CODES), strict=True))


@pytest.mark.parametrize("redirection", UNWRITABLE)
def test_data_that_cannot_be_written_is_an_error(reachable: dict[str, str], redirection: str) -> None:
    """A command that succeeds otherwise exits with 1 and says so in one line; another keeps its code. No traceback."""
    done = ended_all(reachable, redirection)
    assert {command: code or 1 for command, code in CODES.items()} == {command: run[0] for command, run in done.items()}
    regret = REGRET.format(why=WHY[redirection])
    for command, (_, out, err) in done.items():
        assert "" == out
        assert "Traceback" not in err
        assert (CODES[command] == 0) == (regret == (err.splitlines() or [""])[-1]), command


@pytest.mark.parametrize("redirection", UNHEARD)
def test_notes_that_cannot_be_written_are_left_out(reachable: dict[str, str], redirection: str) -> None:
    """Every command does its work, prints its data and ends with its own exit code."""
    done = ended_all(reachable, redirection)
    assert CODES == {command: run[0] for command, run in done.items()}
    assert all("" == run[2] for run in done.values())
    assert {command for command, code in CODES.items() if code == 0} <= {name for name, run in done.items() if run[1]}


@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-"])
def test_no_stream_at_all(reachable: dict[str, str], redirection: str) -> None:
    """The exit code alone says how it ended."""
    done = ended_all(reachable, redirection)
    assert {command: (code or 1, "", "") for command, code in CODES.items()} == done


@pytest.mark.parametrize("redirection", [">/dev/full", "2>&-"])
def test_what_was_done_stays_done(embedded: Server, reachable: dict[str, str], schema: str, redirection: str) -> None:
    """A file is recorded, and another sent and recorded, whatever becomes of the words about it."""
    code = 0 if redirection in UNHEARD else 1
    record = f"record {schema} births FY2023 q1.zip --size 5 --location s3://raw/q1.zip"
    upload = f"upload here.zip {schema} births FY2024"
    assert [code, code] == [ended(reachable, command, redirection)[0] for command in (record, upload)]
    tracker = Tracker.over(connection_to(embedded, BUCKET))
    assert ["q1.zip", "here.zip"] == [version.file for version in tracker.history(schema, "births")]


def test_lines_from_a_closed_input_are_an_error(reachable: dict[str, str]) -> None:
    """It is not taken for an empty one, which would be a success with nothing recorded."""
    code, out, err = ended(reachable, "record --from -", "<&-")
    assert (1, "") == (code, out)
    assert "cf-data-tracker: error: standard input cannot be read: Bad file descriptor; nothing was recorded\n" == err


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_a_report_that_cannot_be_written_is_an_error(reachable: dict[str, str], option: str) -> None:
    """The run is judged, and one line says that its report is nowhere."""
    code, out, err = ended(reachable, f"stress --workers 1 --files 1 {option} /dev/full", "")
    assert 1 == code
    assert "Verdict: clean" in out
    assert (
        "cf-data-tracker: error: /dev/full cannot be written: No space left on device; the verdict above stands\n"
        == err
    )


def test_a_benchmark_without_streams_is_judged(reachable: dict[str, str]) -> None:
    """Its workers and its server are processes, which inherit the streams: the verdict is the exit code."""
    assert (0, "", "") == ended(reachable, "stress --workers 2 --files 2 >/dev/null", "<&- 2>&-")


def test_a_closed_stream_gives_its_number_to_nobody(reachable: dict[str, str]) -> None:
    """No file that is opened later gets the number of a standard stream, and with it what is meant for the stream."""
    opens = (
        "import os\n"
        "from cf_data_tracker.cli.streams import standard_streams\n"
        "with standard_streams():\n"
        "    number = os.open('lines.jsonl', os.O_RDONLY)\n"
        "raise SystemExit(number)"
    )
    done = subprocess.run(
        ["sh", "-c", f"exec {shlex.quote(sys.executable)} -c {shlex.quote(opens)} <&- >&- 2>&-"],
        cwd=reachable["PWD"],
        check=False,
    )
    assert 3 <= done.returncode < 10


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_pipe_that_does_not_block_loses_nothing(stream: str) -> None:
    """Where it is full, as that of a parent with an event loop may be, the command waits until somebody reads."""
    says = (
        "import sys\n"
        "from cf_data_tracker.cli.streams import standard_streams\n"
        "with standard_streams():\n"
        f"    for number in range(60_000): print(number, file=sys.{stream})\n"
        "    sys.exit(0)"
    )
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    streams: dict[str, Any] = {stream: writer}
    with os.fdopen(reader, "rb") as read, subprocess.Popen([sys.executable, "-c", says], **streams) as process:
        os.close(writer)
        time.sleep(1.0)  # noqa: TID251 - it fills the pipe meanwhile
        heard = read.read()
    assert ("".join(f"{number}\n" for number in range(60_000)).encode(), 0) == (heard, process.returncode)


def test_streams_of_others_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever has put streams in place of the process's own, as a test runner has, reads what is printed there."""
    with standard_streams():
        sys.stdout.write("data\n")
        sys.stderr.write("note\n")
    assert ("data\n", "note\n") == capsys.readouterr()
