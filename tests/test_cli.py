"""The command line: what it prints where, and the exit code that says what to do next."""

import functools
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import pytest
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count
from typer.testing import CliRunner, Result

from cf_data_tracker import CleanTracker, FileVersion, Tracker
from cf_data_tracker.cli import main
from cf_data_tracker.cli.app import app
from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import DeniedError, DocumentVanishedError, ReadDeniedError
from cf_data_tracker.settings import raw_access
from cf_data_tracker.store import ANYTHING, Conflict, Replacing, Unanswered, Written
from cf_data_tracker.stores import probe
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.probe import Diagnosis, examine
from cf_data_tracker.stores.s3 import S3Store, open_client
from conftest import access_to, connection_to, make_bucket
from fates import INBOX
from servers.server import Server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


KEY = "vitals/vitals_version_info.json"
HISTORY = ["history", "vitals", "births"]
COMMANDS = {
    "record": ["record", "vitals", "births", "FY2023", "q1.zip", "--size", "5", "--location", "s3://raw/q1.zip"],
    "record many": ["record", "--from", "-"],
    "exists": ["exists", "vitals", "births", "FY2023", "q1.zip"],
    "latest": ["latest", "vitals", "births", "FY2023"],
    "history": HISTORY,
    "tables": ["tables", "vitals"],
    "pending": ["pending", "vitals"],
    "verify": ["verify", "vitals"],
    "doctor": ["doctor"],
}
IN_PROCESS = {
    "AWS_DEST_BUCKET_RAW": "raw",
    "AWS_DEST_BUCKET_CLEAN": "clean",
    "AWS_REGION_NAME": "us-east-1",
    "AWS_ACCESS_KEY_ID": "the-key",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
}
LONG = f"[red]{'x' * 100}.zip"
READING = [arguments for name, arguments in COMMANDS.items() if name not in ("record", "record many", "doctor")]
LINE = {
    "schema": "vitals",
    "table": "births",
    "file_name": "FY2023",
    "file": "q1.zip",
    "file_size": 5,
    "s3_location": "s3://raw/q1.zip",
}


client_for = functools.cache(open_client)
"""A client takes 0.1 s to make, and the same settings make the same client."""


@pytest.fixture
def elsewhere(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty folder; no settings, and no client but ours."""
    monkeypatch.setattr("cf_data_tracker.stores.s3.open_client", client_for)
    return scratch


@pytest.fixture
def s3(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator["S3Client"]:  # noqa: ARG001 - in force before it
    """Give an AWS in this process with two empty buckets, and the settings that lead there."""
    with mock_aws():
        for name, value in IN_PROCESS.items():
            monkeypatch.setenv(name, value)
        client = client_for(raw_access(IN_PROCESS))
        for bucket in ("raw", "clean"):
            client.create_bucket(Bucket=bucket)
        yield client


@pytest.fixture(scope="module")
def reachable(embedded: Server) -> dict[str, str]:
    """Give the settings that lead other processes to a bucket with a schema in it."""
    make_bucket(embedded, "cli")
    with closing(open_client(access_to(embedded, "cli"))) as client:
        store(client, document({"version": 1, "file": LONG, "s3_location": "s3://raw/it"}), bucket="cli")
    return {
        "AWS_ENDPOINT_URL_S3": embedded.endpoint_url,
        "AWS_DEST_BUCKET_RAW": "cli",
        "AWS_REGION_NAME": embedded.region,
        "AWS_ACCESS_KEY_ID": embedded.access_key,
        "AWS_SECRET_ACCESS_KEY": embedded.secret_key,
    }


def run(*arguments: str, given: bytes = b"", charset: str = "utf-8") -> Result:
    """Run the command in this process."""
    return CliRunner(charset=charset).invoke(app, list(arguments), input=given, prog_name="cf-data-tracker")


def started(environment: dict[str, str], *arguments: str, **options: Any) -> "subprocess.Popen[str]":  # noqa: ANN401
    """Start the command as a process, with these settings and none of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_") and name != "NO_COLOR"}
    command = [sys.executable, "-m", "cf_data_tracker", *arguments]
    kept |= {"PYTHONUNBUFFERED": ""}  # output is held back in a pipe, as it usually is
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=kept | environment, **options)


def ended(environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run the command as a process: its exit code and what it printed."""
    with started(environment, *arguments) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def record(file: str = "q1.zip", *more: str, schema: str = "vitals", table: str = "births") -> Result:
    """Record a file of FY2023."""
    return run("record", schema, table, "FY2023", file, "--size", "5", "--location", f"s3://raw/{file}", *more)


def lines(*changes: dict[str, Any]) -> bytes:
    """A file of recordings: each is `LINE` with some changes."""
    return b"".join(json.dumps(LINE | change).encode() + b"\n" for change in changes)


def store(s3: "S3Client", document: object, bucket: str = "raw") -> None:
    """Put a raw document in place."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    s3.put_object(Bucket=bucket, Key=KEY, Body=body)


def document(*versions: dict[str, Any], current: object = 1) -> dict[str, Any]:
    """A raw document with one file name."""
    files = [{"file_name": "FY2023", "current_version": current, "versions": list(versions)}]
    return {"tables": [{"schema_name": "vitals", "tables": [{"name": "births", "files": files}]}]}


def keys(s3: "S3Client", bucket: str = "raw") -> list[str]:
    """What is in a bucket."""
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def error_of(result: Result) -> str:
    """The one line by which a command says that it failed."""
    prefix, _, message = result.stderr.partition("cf-data-tracker: error: ")
    assert ("", "\n", 1) == (prefix, message[-1:], message.count("\n"))
    return message.rstrip("\n")


# -- record


@pytest.mark.usefixtures("s3")
def test_a_recording_is_told_with_its_version() -> None:
    """`record` prints where the file went, its version, and that this call created it."""
    record("q1.zip")
    result = record("q2.zip")
    assert (0, "vitals/births/FY2023 q2.zip: version 2, created\n", "") == (
        result.exit_code,
        result.stdout,
        result.stderr,
    )


@pytest.mark.usefixtures("s3")
def test_recording_again_is_no_error() -> None:
    """A file that is there already keeps its version, and the exit code is 0."""
    record()
    result = record()
    assert (0, "vitals/births/FY2023 q1.zip: version 1, was there already\n") == (result.exit_code, result.stdout)


@pytest.mark.usefixtures("s3")
def test_a_recording_as_json_is_one_object() -> None:
    """`record --json` prints the fields of `Recorded`."""
    expected = {"schema": "vitals", "table": "births", "file_name": "FY2023", "file": "q1.zip", "same_content_as": None}
    expected["other_content"] = None
    assert expected | {"version": 1, "created": True} == json.loads(record("q1.zip", "--json").stdout)


@pytest.mark.usefixtures("s3")
def test_every_property_of_a_file_can_be_given() -> None:
    """What the options of `record` say stands in the document."""
    given = {"timestamp": "2024-03-01 09:00:00", "fyear": "FY2024", "upload_date": "2024-03-01", "checksum": "md5:1"}
    given |= {"etag": "d41d8"}
    record("q1.zip", *(word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)))
    version = Tracker.from_env().latest("vitals", "births", "FY2023")
    assert version is not None
    assert {**given, "file_size": 5, "s3_location": "s3://raw/q1.zip"} == {
        name: getattr(version, name) for name in (*given, "file_size", "s3_location")
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["record", "vitals", "births"], "FILE_NAME, FILE, --size, --location missing"),
        (["record", "vitals", "births", "FY2023", "q1.zip", "--size", "0"], "--location missing"),
        (
            ["record", "--from", "-", "vitals", "--size", "5", "--upload-date", "2024-03-01"],
            "leave out SCHEMA, --size, --upload",
        ),
    ],
)
def test_a_recording_is_given_whole_or_not_at_all(s3: "S3Client", arguments: list[str], named: str) -> None:
    """What is missing beside a recording's arguments, or too much beside `--from`, is named, and exits with 2."""
    result = run(*arguments, given=lines({}))
    assert 2 == result.exit_code
    assert named in error_of(result)
    assert [] == keys(s3)


@pytest.mark.parametrize("size", ["abc", "-1", "1.5", ""])
def test_a_size_is_a_number_of_bytes(s3: "S3Client", size: str) -> None:
    """A size that is no whole number, or less than 0, is a usage error."""
    result = run("record", "vitals", "births", "FY2023", "q1.zip", "--size", size, "--location", "s3://raw/q1.zip")
    assert 2 == result.exit_code
    assert "--size" in result.stderr
    assert [] == keys(s3)


@pytest.mark.parametrize("timeout", ["abc", "0", "-1", "nan", "inf", "86401"])
@pytest.mark.usefixtures("s3")
def test_a_timeout_is_a_number_of_seconds(timeout: str) -> None:
    """A time-out that is no number, not more than 0 or longer than a day is a usage error."""
    result = run("tables", "vitals", "--timeout", timeout)
    assert 2 == result.exit_code
    assert "--timeout" in result.stderr


# -- record --from


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize("dry", [True, False])
def test_known_files_with_other_content_keep_no_other_from_being_recorded(*, dry: bool) -> None:
    """Each is a line on stderr, and exits with 1; all others are recorded, also those of later schemas."""
    two = [{"file": f"q{number}.zip", "checksum": f"crc32:0000000{number}"} for number in (1, 2)]
    run("record", "--from", "-", given=lines(*two))
    others = [{"file": "q3.zip"}, {"schema": "rates", "file": "r.zip"}]
    given = lines(*(one | {"checksum": "crc32:ffffffff"} for one in two), *others)
    result = run("record", "--from", "-", "--json", *(["--dry-run"] if dry else []), given=given)
    told = [(one["file"], one["created"], one["other_content"]) for one in json.loads(result.stdout)]
    known = [(one["file"], False, one["checksum"]) for one in two]
    assert (1, [*known, ("q3.zip", True, None), ("r.zip", True, None)]) == (result.exit_code, told)
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert [True, True] == [f"has {one['file']} as version" in line for one, line in zip(two, errors, strict=True)]
    text = run("record", "--from", "-", given=given).stdout
    assert "vitals/births/FY2023 q1.zip: not recorded, version 1 of that name has other content\n" in text


@pytest.mark.usefixtures("s3")
def test_a_known_file_with_another_size_is_said_to_have_it() -> None:
    """It is no error; the size that is recorded stands in the line."""
    run("record", "--from", "-", given=lines({"file_size": 7}))
    result = run("record", "--from", "-", given=lines({"file_size": 8}))
    assert 0 == result.exit_code
    assert result.stdout.endswith(": version 1, was there already, with 7 bytes\n")


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\n\n\n"])
@pytest.mark.usefixtures("s3")
def test_many_are_recorded_from_lines(ending: bytes) -> None:
    """Each line is a recording, whatever ends the lines; what came of each is told in their order."""
    given = lines({}, {"schema": "deaths"}, {"file": "q2.zip"}, {}).replace(b"\n", ending)
    result = run("record", "--from", "-", given=b"\xef\xbb\xbf" + given)
    told = [
        "vitals/births/FY2023 q1.zip: version 1, created",
        "deaths/births/FY2023 q1.zip: version 1, created",
        "vitals/births/FY2023 q2.zip: version 2, created",
        "vitals/births/FY2023 q1.zip: version 1, was there already",
    ]
    assert (0, told) == (result.exit_code, result.stdout.splitlines())
    assert "4 files: 3 new, 1 known\n" == result.stderr


@pytest.mark.usefixtures("s3")
def test_each_schema_of_many_is_one_commit() -> None:
    """However many lines there are, a schema's document is written once."""
    run("record", "--from", "-", given=lines(*({"file": f"q{number}.zip"} for number in range(50))))
    stored = Tracker.from_env().document("vitals")
    assert stored is not None
    assert 1 == stored["revision"]


@pytest.mark.usefixtures("s3")
def test_many_may_stand_in_a_file(tmp_path: Path) -> None:
    """`--from` takes a path, and `--json` prints an array."""
    path = tmp_path / "files.jsonl"
    path.write_bytes(lines({}, {"file": "q2.zip"}))
    told = json.loads(run("record", "--from", str(path), "--json").stdout)
    assert [1, 2] == [recorded["version"] for recorded in told]


def test_no_lines_are_no_recordings(s3: "S3Client") -> None:
    """An empty file is recorded by doing nothing."""
    result = run("record", "--from", "-", "--json", given=b"\n")
    assert (0, [], []) == (result.exit_code, json.loads(result.stdout), keys(s3))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        (b"[1]", "expected an object, got a list"),
        (b'{"schema": "vitals"}', "table is missing"),
        (lines({"size": 5}).strip(), "'size' is no field of a recording: those are schema, table, "),
        (lines({"file_size": "5"}).strip(), "file_size must be a whole number, 0 or more, got '5'"),
        (lines({"schema": "a/b"}).strip(), "schema must not contain '/', got 'a/b'"),
        (lines({}).strip()[:-1] + b', "file": "q2.zip"}', "a key stands there twice"),
        (b'{"schema": "\xff"}', "not UTF-8 at byte 12"),
        (b"[" * 100_000, "not JSON that can be read"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(s3: "S3Client", bad: bytes, reason: str) -> None:
    """One line that is no recording stops them all; the error gives its number, counting blank ones."""
    result = run("record", "--from", "-", given=lines({}) + b"\n" + bad + b"\n" + lines({"file": "q2.zip"}))
    assert (2, "") == (result.exit_code, result.stdout)
    assert error_of(result).startswith(f"line 3: {reason}")
    assert [] == keys(s3)


@pytest.mark.usefixtures("s3")
def test_a_missing_file_of_lines_is_a_usage_error(tmp_path: Path) -> None:
    """`--from` with a path that leads nowhere exits with 2 and names it."""
    result = run("record", "--from", str(tmp_path / "none.jsonl"))
    assert 2 == result.exit_code
    assert "none.jsonl" in result.stderr


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "JSON"])
def test_what_was_recorded_before_an_error_is_told(s3: "S3Client", as_json: bool) -> None:  # noqa: FBT001 - cases of one law
    """When a later schema fails, the recordings of the earlier ones are printed, and the exit code is the error's."""
    store(s3, b"{")
    given = lines({"schema": "deaths"}, {})
    result = run("record", "--from", "-", *(["--json"] if as_json else []), given=given)
    told = [recorded["schema"] for recorded in json.loads(result.stdout)] if as_json else [result.stdout.split("/")[0]]
    assert (1, ["deaths"]) == (result.exit_code, told)
    assert Tracker.from_env().exists("deaths", "births", "FY2023", "q1.zip")


@pytest.mark.usefixtures("s3")
def test_a_dry_run_tells_what_would_come_of_it() -> None:
    """`--dry-run` prints the versions that recording would give, duplicates and all."""
    record("q1.zip")
    given = lines({"file": "q3.zip"}, {"file": "q1.zip"}, {"file": "q3.zip"}, {"schema": "deaths"})
    told = [
        "vitals/births/FY2023 q3.zip: version 2, would be created",
        "vitals/births/FY2023 q1.zip: version 1, is there already",
        "vitals/births/FY2023 q3.zip: version 2, is there already",
        "deaths/births/FY2023 q1.zip: version 1, would be created",
    ]
    assert told == run("record", "--from", "-", "--dry-run", given=given).stdout.splitlines()
    dry = json.loads(run("record", "--from", "-", "--dry-run", "--json", given=given).stdout)
    assert dry == json.loads(run("record", "--from", "-", "--json", given=given).stdout)


@pytest.mark.parametrize("arguments", [COMMANDS["record"], COMMANDS["record many"]])
def test_a_dry_run_writes_nothing(s3: "S3Client", arguments: list[str]) -> None:
    """After `--dry-run` the bucket is as it was."""
    assert 0 == run(*arguments, "--dry-run", given=lines({})).exit_code
    assert [] == keys(s3)


# -- questions


@pytest.mark.usefixtures("s3")
def test_exists_answers_by_exit_code_too() -> None:
    """`exists` prints yes or no, and exits with 0 or 3."""
    record("q1.zip")
    exists = functools.partial(run, "exists", "vitals", "births", "FY2023")
    yes, no = exists("q1.zip"), exists("q2.zip")
    assert (0, "yes\n", "") == (yes.exit_code, yes.stdout, yes.stderr)
    assert (3, "no\n", "") == (no.exit_code, no.stdout, no.stderr)
    assert {"exists": True} == json.loads(exists("q1.zip", "--json").stdout)
    assert {"exists": False} == json.loads(exists("q2.zip", "--json").stdout)


@pytest.mark.usefixtures("s3")
def test_latest_shows_the_newest_version() -> None:
    """`latest` prints every field of the newest version, one a line; `--json` the same as an object."""
    record("q1.zip")
    record("q2.zip")
    shown = dict(line.split(maxsplit=1) for line in run(*COMMANDS["latest"]).stdout.splitlines() if " " in line)
    as_json = json.loads(run(*COMMANDS["latest"], "--json").stdout)
    assert ("q2.zip", "2") == (shown["file"], shown["version"])
    assert [field.name for field in fields(FileVersion)] == list(as_json)
    assert {name: str(value) for name, value in as_json.items() if value is not None} == shown


@pytest.mark.usefixtures("s3")
def test_history_in_a_pipe_is_tab_separated() -> None:
    """Without a terminal `history` prints a header and a line a version, whole, in the order of the JSON."""
    long = f"{'births' * 30}.zip"
    for file in ("q1.zip", long):
        record(file)
    header, *rows = [line.split("\t") for line in run(*HISTORY).stdout.splitlines()]
    versions = json.loads(run(*HISTORY, "--json").stdout)
    assert [field.name for field in fields(FileVersion)] == header == list(versions[0])
    assert [["q1.zip", "1"], [long, "2"]] == [[row[3], row[4]] for row in rows]
    assert rows == [["" if value is None else str(value) for value in version.values()] for version in versions]


@pytest.mark.usefixtures("s3")
def test_history_can_be_that_of_one_file_name() -> None:
    """With a file name `history` lists the versions of that one alone."""
    run("record", "--from", "-", given=lines({}, {"file_name": "FY2024", "file": "q2.zip"}))
    assert ["q2.zip"] == [version["file"] for version in json.loads(run(*HISTORY, "FY2024", "--json").stdout)]


@pytest.mark.usefixtures("s3")
def test_tables_are_listed_one_a_line() -> None:
    """`tables` prints the names in the order in which they came."""
    for table in ("deaths", "births"):
        record(table=table)
    assert "deaths\nbirths\n" == run("tables", "vitals").stdout
    assert ["deaths", "births"] == json.loads(run("tables", "vitals", "--json").stdout)


@pytest.mark.parametrize(
    ("arguments", "message", "nothing"),
    [
        (COMMANDS["latest"], "vitals/births/FY2023 has no version", None),
        (HISTORY, "vitals/births has no versions", []),
        ([*HISTORY, "FY2023"], "vitals/births/FY2023 has no versions", []),
        (COMMANDS["tables"], "vitals has no tables", []),
    ],
)
@pytest.mark.usefixtures("s3")
def test_nothing_found_is_exit_code_3(arguments: list[str], message: str, nothing: object) -> None:
    """Where nothing is recorded that is said on stderr; stdout is empty, or holds JSON for nothing."""
    result = run(*arguments)
    assert (3, "", message) == (result.exit_code, result.stdout, error_of(result))
    result = run(*arguments, "--json")
    assert (3, nothing, message) == (result.exit_code, json.loads(result.stdout), error_of(result))


@pytest.mark.parametrize("arguments", [COMMANDS["pending"], COMMANDS["verify"]])
@pytest.mark.usefixtures("s3")
def test_a_schema_without_a_document_is_exit_code_3(arguments: list[str]) -> None:
    """`pending` and `verify` say that the schema is not tracked."""
    result = run(*arguments, "--json")
    assert (3, "") == (result.exit_code, result.stdout)
    assert "the schema vitals is not tracked" in error_of(result)


@pytest.mark.usefixtures("s3")
def test_pending_lists_what_waits_to_be_cleaned() -> None:
    """`pending` lists the newest raw versions without a clean record, as `history` does."""
    for table in ("births", "deaths"):
        record("q1.zip", table=table)
    waiting = json.loads(run(*COMMANDS["pending"], "--json").stdout)
    assert [["births", 1], ["deaths", 1]] == [[version["table"], version["version"]] for version in waiting]
    assert 3 == len(run(*COMMANDS["pending"]).stdout.splitlines())


def test_pending_says_what_it_passes_over(embedded: Server, schema: str) -> None:
    """A line on stderr counts older versions that were never cleaned, and so does a key of each version in JSON."""
    settings = {
        **IN_PROCESS,
        "AWS_ENDPOINT_URL_S3": embedded.endpoint_url,
        "AWS_ACCESS_KEY_ID": embedded.access_key,
        "AWS_SECRET_ACCESS_KEY": embedded.secret_key,
    }
    tracker = Tracker.over(connection_to(embedded))
    for file, table in (("q1.zip", "births"), ("q2.zip", "births"), ("all.zip", "deaths")):
        tracker.record(schema, table, "FY2023", file, file_size=1, s3_location=f"s3://raw/{file}")
    code, out, err = ended(settings, "pending", schema, "--json")
    found = [(version["file"], version["version"], version["skipped"]) for version in json.loads(out)]
    assert (0, [("q2.zip", 2, 1), ("all.zip", 1, 0)]) == (code, found)
    assert err.startswith(f"{schema}: older versions were never cleaned: 1 of 'births/FY2023'. ")
    assert 1 == err.count("\n")


@pytest.mark.usefixtures("s3")
def test_nothing_pending_is_no_error() -> None:
    """When all is clean, `pending` prints nothing but a note, and exits with 0."""
    record()
    clean = CleanTracker.from_env()
    clean.record(clean.pending("vitals")[0], ["vitals/q1.parquet"])
    result = run(*COMMANDS["pending"])
    assert (0, "", "nothing is pending in vitals\n") == (result.exit_code, result.stdout, result.stderr)
    assert [] == json.loads(run(*COMMANDS["pending"], "--json").stdout)


@pytest.mark.usefixtures("s3")
def test_buckets_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--bucket`, `--raw-bucket` and `--clean-bucket` go before the environment."""
    record()
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "none")
    monkeypatch.delenv("AWS_DEST_BUCKET_CLEAN")
    assert 0 == run("tables", "vitals", "--bucket", "raw").exit_code
    assert 0 == run("pending", "vitals", "--raw-bucket", "raw", "--clean-bucket", "clean").exit_code


@pytest.mark.usefixtures("s3")
def test_settings_may_stand_in_an_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command reads `.env` in the working directory."""
    record()
    monkeypatch.delenv("AWS_DEST_BUCKET_RAW")
    (tmp_path / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\n")
    assert "births\n" == run("tables", "vitals").stdout


# -- verify


@pytest.mark.usefixtures("s3")
def test_a_sound_document_is_counted() -> None:
    """`verify` prints what there is of a document, and that nothing is wrong."""
    for table in ("births", "deaths"):
        record("q1.zip", table=table)
        record("q2.zip", table=table)
    result = run("verify", "vitals")
    assert 0 == result.exit_code
    assert "vitals: 2 tables, 2 file names, 4 versions, revision 4\n✓ nothing is wrong\n" == result.stdout
    counts = {"schema": "vitals", "readable": True, "revision": 4, "tables": 2, "file_names": 2, "versions": 4}
    assert counts | {"findings": []} == json.loads(run("verify", "vitals", "--json").stdout)


def test_findings_are_exit_code_5(s3: "S3Client") -> None:
    """`verify` prints what is wrong, and exits with 5."""
    store(s3, document({"version": 1, "file": "q1.zip"}, current=2))
    finding = "births/FY2023: current_version is 2, the newest version is 1"
    result = run("verify", "vitals")
    assert (5, ["vitals: 1 table, 1 file name, 1 version, revision none", f"✗ {finding}"]) == (
        result.exit_code,
        result.stdout.splitlines(),
    )
    as_json = run("verify", "vitals", "--json")
    assert (5, [finding]) == (as_json.exit_code, json.loads(as_json.stdout)["findings"])


@pytest.mark.parametrize(
    ("stored", "where"),
    [
        (document(current="3"), 'tables[0].tables[0].files[0].current_version: expected an integer, got "3"'),
        (json.dumps(document()).encode()[:-9], "not JSON: Expecting"),
    ],
    ids=["a wrong type", "truncated"],
)
def test_a_document_that_is_none_is_found_wrong(s3: "S3Client", stored: object, where: str) -> None:
    """`verify` says where a document is no tracker document, with exit code 5; all others call it an error."""
    store(s3, stored)
    verified = run("verify", "vitals")
    assert 5 == verified.exit_code
    assert f"✗ not a tracker document: {where}" in verified.stdout
    found = json.loads(run("verify", "vitals", "--json").stdout)
    assert (False, 0) == (found["readable"], found["versions"])
    assert where in found["findings"][0]
    for arguments in (COMMANDS["record"], COMMANDS["latest"], HISTORY, COMMANDS["tables"], COMMANDS["pending"]):
        result = run(*arguments)
        assert (1, "") == (result.exit_code, result.stdout)
        assert error_of(result).startswith(where)


# -- doctor


class Careless(MemoryStore):
    """A store that takes a write whatever it is to replace."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object."""
        return super().write(key, body, replacing=None if replacing is None else ANYTHING, waiting=waiting)


def diagnosis_of_careless(_: object = None) -> Diagnosis:
    """What the examination of such a store finds."""
    careless = Careless()
    return examine(lambda _: careless, lambda attempt: attempt(), "here")


def test_doctor_finds_a_good_store_safe(reachable: dict[str, str]) -> None:
    """`doctor` shows the settings without their secrets, ticks every check and exits with 0."""
    secrets = {"AWS_ACCESS_KEY_ID": "AKIDSESAME", "AWS_SECRET_ACCESS_KEY": "opensesame", "AWS_SESSION_TOKEN": "token1"}
    code, out, err = ended(reachable | secrets | {"PYTHONIOENCODING": "utf-8"}, "doctor")
    assert (0, "") == (code, err)
    assert not any(secret in out for secret in secrets.values())
    shown = [
        "bucket       cli  (AWS_DEST_BUCKET_RAW in the environment)",
        f"endpoint     {reachable['AWS_ENDPOINT_URL_S3']}  (AWS_ENDPOINT_URL_S3 in the environment)",
        "region       us-east-1  (AWS_REGION_NAME in the environment)",
        "credentials  AWS_ACCESS_KEY_ID in the environment",
    ]
    assert shown == out.splitlines()[:4]
    assert ["✓"] * 9 == [line[0] for line in out.splitlines()[4:13]]
    assert "safe: the store honours conditional writes (ETags as received)" == out.splitlines()[13]


SOURCES = {"bucket": "AWS_DEST_BUCKET_RAW", "region": "AWS_REGION_NAME", "credentials": "AWS_ACCESS_KEY_ID"}
NONE_SET = {"endpoint": "none is set"}


def test_doctor_examines_aws_too(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS is trusted by the engine, and examined by `doctor`; nothing of that stays in the bucket."""
    monkeypatch.setattr(probe, "RACERS", 1)  # in this process moto has no lock that would let one of many win
    found = json.loads(run("doctor", "--json").stdout)
    assert (True, True, "as received", [True] * 8) == (
        found["lists"],
        found["safe"],
        found["etags"],
        [check["passed"] for check in found["checks"]],
    )
    assert {"bucket", "endpoint", "region", "credentials"} == found["settings"].keys()
    assert {name: f"{variable} in the environment" for name, variable in SOURCES.items()} | NONE_SET == found["sources"]
    assert ("AWS", []) == (found["settings"]["endpoint"], keys(s3))


@pytest.mark.parametrize("charset", ["utf-8", "ascii"])
@pytest.mark.usefixtures("s3")
def test_a_careless_store_is_exit_code_6(monkeypatch: pytest.MonkeyPatch, charset: str) -> None:
    """`doctor` crosses the check that a store fails, in words where the stream has no cross, and exits with 6."""
    monkeypatch.setattr(Connection, "diagnose", diagnosis_of_careless)
    good, bad = ("✓", "✗") if charset == "utf-8" else ("ok:", "FAILED:")
    result = run("doctor", charset=charset)
    told = result.stdout_bytes.decode(charset).splitlines()[-5:]
    assert 6 == result.exit_code
    assert [
        f"{good} a create-only write onto an object is refused",
        f"{good} a write that names the current ETag is taken",
        f"{good} a write changes the ETag",
        f"{bad} a write that names a stale ETag is refused",
        "UNSAFE: the store would lose recordings, so nothing is recorded there",
    ] == told
    as_json = run("doctor", "--json")
    assert (6, False) == (as_json.exit_code, json.loads(as_json.stdout)["safe"])


@pytest.mark.usefixtures("s3")
def test_nothing_is_recorded_in_a_careless_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """`record` exits with 6, and names what the store fails."""
    monkeypatch.setattr(Connection, "diagnose", diagnosis_of_careless)
    result = record("q1.zip", "--endpoint-url", "http://127.0.0.1:9")
    assert (6, "") == (result.exit_code, result.stdout)
    assert "It fails this: a write that names a stale ETag is refused" in error_of(result)


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ({"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}, "AWS_ACCESS_KEY_ID in the environment"),
        ({"AWS_PROFILE": "analyst"}, "boto3's own chain, profile analyst"),
        ({}, "boto3's own chain, which tries profiles, SSO and roles"),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_doctor_says_where_credentials_come_from(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], source: str
) -> None:
    """It names the variable or the profile, and never what it holds, before anything is sent."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(Connection, "read", _no_answer)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    lines = [line.partition("  (")[0] for line in run("doctor", "--bucket", "raw").stdout.splitlines()]
    assert f"credentials  {source}" in lines


@pytest.mark.usefixtures("elsewhere")
def test_doctor_names_the_source_of_each_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable with the path of `.env` or the environment, an argument, or what boto3 found."""
    (tmp_path / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_ENDPOINT_URL=http://127.0.0.1:8\n")
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = a\naws_secret_access_key = opensesame\n")
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setattr(Connection, "read", _no_answer)
    shown = run("doctor", "--endpoint-url", "http://127.0.0.1:9").stdout
    assert [
        f"bucket       raw  (AWS_DEST_BUCKET_RAW in {tmp_path / '.env'})",
        "endpoint     http://127.0.0.1:9  (an argument)",
        "region       left to boto3  (boto3's own chain: eu-west-3)",
        "credentials  boto3's own chain, which tries profiles, SSO and roles  (shared-credentials-file)",
    ] == shown.splitlines()
    assert "opensesame" not in shown
    refused = run("doctor")
    assert (1, "") == (refused.exit_code, refused.stdout)
    assert f"would be sent to http://127.0.0.1:8 (AWS_ENDPOINT_URL in {tmp_path / '.env'})" in error_of(refused)


@pytest.mark.usefixtures("elsewhere")
def test_doctor_tells_keys_of_an_env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that stand in `.env` are said to, with its path."""
    (tmp_path / ".env").write_text("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    monkeypatch.setattr(Connection, "read", _no_answer)
    credentials = f"credentials  AWS_ACCESS_KEY_ID in {tmp_path / '.env'}"
    assert credentials in run("doctor", "--bucket", "raw").stdout.splitlines()


@pytest.mark.usefixtures("s3")
def test_doctor_names_a_permission_to_list_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a missing object is answered with 403, `doctor` says which permission mends that; the store may be safe."""
    monkeypatch.setattr(probe, "RACERS", 1)
    monkeypatch.setattr(S3Store, "read", _denying_what_is_missing(S3Store.read))
    result = run("doctor")
    assert 0 == result.exit_code
    assert "✗ a missing object is told from a forbidden one\n  allow s3:ListBucket" in result.stdout


def _no_answer(*_: object) -> NoReturn:
    raise DocumentVanishedError("the rest is of no interest here")


def _denying_what_is_missing(read: Callable[..., Any]) -> Callable[..., Any]:
    def denying(store: S3Store, key: str, **options: Any) -> object:  # noqa: ANN401
        found = read(store, key, **options)
        if found is None:
            raise ReadDeniedError("403")
        return found

    return denying


# -- errors


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.usefixtures("elsewhere")
def test_without_settings_the_error_names_the_variable(arguments: list[str]) -> None:
    """Without a bucket every command exits with 1 and says which variable names it."""
    result = run(*arguments, given=lines({}))
    assert (1, "") == (result.exit_code, result.stdout)
    assert "AWS_DEST_BUCKET_RAW is not set" in error_of(result)


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.usefixtures("s3")
def test_a_missing_bucket_is_named(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """A bucket that does not exist exits with 1 and is named."""
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "no-such-bucket")
    result = run(*arguments, given=lines({}))
    assert 1 == result.exit_code
    assert "s3://no-such-bucket/" in error_of(result)
    assert "there is no such bucket" in error_of(result)


@pytest.mark.parametrize("arguments", [COMMANDS["record"], HISTORY, COMMANDS["doctor"]])
@pytest.mark.usefixtures("s3")
def test_wrong_credentials_are_named(arguments: list[str]) -> None:
    """A key that the store does not know exits with 1 and says which variable to correct, but not what it holds."""
    result = set_initial_no_auth_action_count(0)(run)(*arguments)  # moto knows no keys, and now asks for them
    assert 1 == result.exit_code
    assert "correct AWS_ACCESS_KEY_ID" in error_of(result)
    assert "the-secret" not in result.output


@pytest.mark.parametrize("arguments", READING, ids=lambda arguments: str(arguments[0]))
@pytest.mark.usefixtures("s3")
def test_an_invalid_name_is_a_usage_error(arguments: list[str]) -> None:
    """A name that cannot be one exits with 2, before anything is asked."""
    result = run(arguments[0], "vi/tals", *arguments[2:])
    assert (2, "") == (result.exit_code, result.stdout)
    assert error_of(result).startswith("schema must not contain '/'")


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("inbox", "told"),
    [
        (None, "it was published for others to commit; .* calling again is safe"),
        (Unanswered("silence"), "it may have been published for others to commit; .* calling again is safe"),
        (DeniedError("403"), "other workers kept committing to s3://.*; nothing was written, try later"),
    ],
    ids=["published", "perhaps published", "not published"],
)
def test_lost_races_are_exit_code_4(monkeypatch: pytest.MonkeyPatch, inbox: Exception | None, told: str) -> None:
    """Where others keep winning until the time is out, the exit code is 4, and it is told what is known."""
    write = S3Store.write

    def lose(store: S3Store, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        if not key.startswith(INBOX):
            raise Conflict("lost")
        if inbox is not None:
            raise inbox
        return write(store, key, body, replacing=replacing, waiting=waiting)

    monkeypatch.setattr(S3Store, "write", lose)
    result = record("q1.zip", "--timeout", "0.3")
    assert (4, "") == (result.exit_code, result.stdout)
    assert re.search(told, error_of(result))


@pytest.mark.usefixtures("s3")
def test_an_unknown_outcome_is_exit_code_4(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a write was never answered, that is said, and the exit code is 4."""
    monkeypatch.setattr(S3Store, "write", _raising(Unanswered("silence")))
    result = record("q1.zip", "--timeout", "0.1")
    assert (4, "") == (result.exit_code, result.stdout)
    assert "may have landed; calling again is safe" in error_of(result)


@pytest.mark.usefixtures("s3")
def test_what_nobody_expected_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that is none of ours exits with 1, in one line that says how to see more."""
    monkeypatch.setattr(Tracker, "tables", _raising(RuntimeError("first\nsecond")))
    result = run("tables", "vitals")
    assert (1, "") == (result.exit_code, result.stdout)
    assert error_of(result).startswith(
        "unexpected error RuntimeError: first\\nsecond: run again as cf-data-tracker --d"
    )


@pytest.mark.usefixtures("elsewhere")
def test_a_traceback_is_shown_when_asked_for() -> None:
    """With `--debug` the traceback precedes the line."""
    lines_of_error = run("--debug", "tables", "vitals").stderr.splitlines()
    assert "Traceback (most recent call last):" == lines_of_error[0]
    assert lines_of_error[-1].startswith("cf-data-tracker: error: AWS_DEST_BUCKET_RAW is not set")


@pytest.mark.parametrize("arguments", [["none"], ["tables"], ["tables", "vitals", "--none"], ["exists", "vitals"]])
def test_a_wrong_call_is_a_usage_error(arguments: list[str]) -> None:
    """An unknown command or option, or a missing argument, exits with 2, and stdout stays empty."""
    result = run(*arguments)
    assert (2, "") == (result.exit_code, result.stdout)
    assert "Usage: cf-data-tracker" in result.stderr


def _raising(error: BaseException) -> Callable[..., NoReturn]:
    def raising(*_: object, **__: object) -> NoReturn:
        raise error

    return raising


# -- what is printed


def test_what_a_terminal_would_obey_is_escaped(s3: "S3Client") -> None:
    """Whatever a stored name holds, a version is one line of as many cells as there are headings."""
    store(s3, document({"version": 1, "file": "a\tb\n\x1b[31mc\ud800", "file_size": [1]}))
    header, row = run(*HISTORY).stdout.split("\n")[:2]
    cells = dict(zip(header.split("\t"), row.split("\t"), strict=True))
    assert (r"a\tb\n\x1b[31mc\ud800", "[1]") == (cells["file"], cells["file_size"])
    assert "a\tb\n\x1b[31mc\ud800" == json.loads(run(*HISTORY, "--json").stdout)[0]["file"]


@pytest.mark.usefixtures("s3")
def test_a_stream_that_is_not_unicode_gets_escapes() -> None:
    """A name that the stream cannot encode is printed escaped, and is no error."""
    result = record("é.zip")
    assert "vitals/births/FY2023 é.zip: version 1, created\n" == result.stdout
    result = run(*HISTORY, charset="ascii")
    assert 0 == result.exit_code
    assert rb"\xe9.zip" in result.stdout_bytes


def test_the_version_is_that_of_the_distribution() -> None:
    """`--version` prints the command's name and the distribution's version."""
    assert f"cf-data-tracker {version('cf-data-tracker')}\n" == run("--version").stdout


def test_a_version_that_nobody_installed_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs from a source tree, too."""
    monkeypatch.setattr("cf_data_tracker.installed.version", _raising(PackageNotFoundError("cf-data-tracker")))
    result = run("--version")
    assert (0, "cf-data-tracker unknown (not installed)\n") == (result.exit_code, result.stdout)


def test_the_command_is_installed() -> None:
    """The distribution's command is `main`."""
    (command,) = entry_points(group="console_scripts", name="cf-data-tracker")
    assert main is command.load()


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_commands_and_exit_codes(flag: str) -> None:
    """The help names every command and what each exit code means."""
    shown = run(flag).stdout
    listed = {
        line.split()[0]
        for line in shown.partition("Commands:")[2].splitlines()
        if line.startswith("  ") and line.split()
    }
    assert {"record", "exists", "latest", "history", "tables", "pending", "verify", "doctor", "stress"} <= listed
    assert "Exit codes: 0 done, 1 error, 2 usage, 3 not found, 4 contention" in shown


# -- as a process

HELP = """
import sys
from cf_data_tracker.cli import main

for arguments in [], *([name] for name in sys.argv[1:]):
    sys.argv[1:] = [*arguments, "--help"]
    try:
        main()
    except SystemExit as ended:
        print(ended.code, file=sys.stderr)
print(sorted({"boto3", "botocore", "moto", "flask", "rich.table", "rich.console"} & set(sys.modules)), file=sys.stderr)
"""


def test_help_waits_for_nothing_heavy() -> None:
    """No `--help` imports boto3, moto or rich."""
    commands = sorted({arguments[0] for arguments in COMMANDS.values()} | {"stress"})
    done = subprocess.run([sys.executable, "-c", HELP, *commands], capture_output=True, text=True, check=True)
    assert "0\n" * (len(commands) + 1) + "[]\n" == done.stderr


def test_an_error_of_the_process_is_one_line(tmp_path: Path) -> None:
    """The process prints one line on stderr, no traceback, and exits with the code."""
    with started({}, "tables", "vitals", cwd=tmp_path) as process:
        out, err = process.communicate(timeout=60)
    assert (1, "") == (process.returncode, out)
    assert [
        "cf-data-tracker: error: AWS_DEST_BUCKET_RAW is not set: name the bucket there, in the environment or in .env"
    ] == (err.splitlines())


def test_a_store_out_of_reach_is_an_error() -> None:
    """An endpoint where nobody listens exits with 1 in seconds, and is named."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = url_of(nobody)
        code, out, err = ended(IN_PROCESS, "tables", "vitals", "--endpoint-url", url)
    assert (1, "", 1) == (code, out, err.count("\n"))
    assert url in err


def test_ctrl_c_is_quiet() -> None:
    """An interrupted command prints nothing and exits with 130."""
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        started(IN_PROCESS, "tables", "vitals", "--endpoint-url", url_of(silent)) as process,
        silent.accept()[0],
    ):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (130, "", "") == (process.returncode, out, err)


def test_ctrl_c_is_quiet_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption before there is a command to be interrupted exits with 130, too."""
    monkeypatch.setattr("cf_data_tracker.cli.app.app", _raising(KeyboardInterrupt()))
    with pytest.raises(SystemExit) as ended:
        main()
    assert 130 == ended.value.code


def test_a_reader_that_leaves_is_no_trouble(reachable: dict[str, str]) -> None:
    """When whoever reads our output has closed it, the command ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed, started(reachable, *HISTORY, stdout=closed) as process:
        _, err = process.communicate(timeout=60)
    assert (1, "") == (process.returncode, err)


@pytest.mark.parametrize(("no_color", "tick"), [({}, "\x1b[32m✓\x1b[0m"), ({"NO_COLOR": "1"}, "✓")])
def test_a_terminal_gets_colour(reachable: dict[str, str], no_color: dict[str, str], tick: str) -> None:
    """On a terminal a tick is green unless `NO_COLOR` is set."""
    assert f"\n{tick} nothing is wrong\r\n" in on_terminal(reachable | no_color, "verify", "vitals")


def test_a_terminal_gets_a_table(reachable: dict[str, str]) -> None:
    """On a terminal `history` prints a table, in which names are folded rather than cut off."""
    table = on_terminal(reachable | {"COLUMNS": "80", "NO_COLOR": "1"}, *HISTORY)
    assert "bytes" in table
    assert "schema" not in table
    assert LONG.count("x") == table.count("x")
    assert "[red]" in table
    assert 80 == max(len(re.sub(r"\x1b\[\d*m", "", line)) for line in table.splitlines())


def url_of(listening: socket.socket) -> str:
    """The URL of a socket on this machine."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def on_terminal(environment: dict[str, str], *arguments: str) -> str:
    """Run the command on a terminal, and return what is seen there."""
    ours, theirs = pty.openpty()
    more = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    with os.fdopen(ours, "rb", buffering=0) as screen:
        with os.fdopen(theirs, "wb") as terminal, started(environment | more, *arguments, stdout=terminal) as process:
            _, err = process.communicate(timeout=60)  # what is printed fits into the terminal's buffer
        assert (0, "") == (process.returncode, err)
        return b"".join(_parts(screen)).decode()


def _parts(screen: BinaryIO) -> Iterator[bytes]:
    with suppress(OSError):  # Linux's way to say that the other end is closed
        while part := screen.read(65536):
            yield part


def test_a_shell_can_complete() -> None:
    """The shell's completion offers the commands that begin like the word before the cursor."""
    asked = {"_CF_DATA_TRACKER_COMPLETE": "complete_bash", "COMP_WORDS": "cf-data-tracker hi", "COMP_CWORD": "1"}
    assert (0, "history\n", "") == ended(asked)
