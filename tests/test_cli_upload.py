"""`upload` on the command line: what it prints, where, and how it ends."""

import json
import os
import pty
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from cf_data_tracker import Tracker
from cf_data_tracker.cli.app import app
from cf_data_tracker.names import raw_key

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@pytest.fixture(autouse=True)
def files(s3: "S3Client", scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001 - in force before it
    """Be in a folder with some files, where the settings lead to the embedded S3."""
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    for name, content in {"a.zip": b"first", "b.zip": b"second", "c.zip": b"third", "twin.zip": b"first"}.items():
        (scratch / name).write_bytes(content)
    return scratch


def run(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, arguments)


def upload(schema: str, *paths: str, options: tuple[str, ...] = ()) -> Result:
    """Upload files into `births/FY2023`."""
    return run("upload", *paths, schema, "births", "FY2023", *options)


def lines(schema: str, *lines: str) -> str:
    """The lines of data that begin with where the files are recorded."""
    return "".join(f"{schema}/births/FY2023 {line}\n" for line in lines)


def test_files_become_versions_in_the_order_given(schema: str, s3: "S3Client") -> None:
    """Several files are one commit, a line each on stdout, and a sum on stderr."""
    result = upload(schema, "a.zip", "b.zip", "c.zip")
    expected = lines(schema, *(f"{name}.zip: version {number}, created" for number, name in enumerate("abc", 1)))
    assert (0, expected) == (result.exit_code, result.stdout)
    assert "3 files: 3 new, 0 known\n" == result.stderr
    document = Tracker.from_env().document(schema)
    assert document is not None
    assert 1 == document["revision"]
    assert b"second" == s3.get_object(Bucket="raw", Key=f"{schema}/births/FY2023/b.zip")["Body"].read()


def test_what_is_there_is_not_sent_again(schema: str) -> None:
    """The same command again says that all is there, and so does a part of it."""
    upload(schema, "a.zip")
    result = upload(schema, "a.zip", "b.zip")
    assert lines(schema, "a.zip: version 1, was there already", "b.zip: version 2, created") == result.stdout
    assert "2 files: 1 new, 1 known\n" == result.stderr


def test_a_dry_run_sends_nothing(schema: str, s3: "S3Client") -> None:
    """`--dry-run` says what would come of it, and leaves the bucket as it is."""
    result = upload(schema, "a.zip", "b.zip", options=("--dry-run",))
    assert lines(schema, "a.zip: version 1, would be created", "b.zip: version 2, would be created") == result.stdout
    assert 0 == s3.list_objects_v2(Bucket="raw", Prefix=f"{schema}/")["KeyCount"]


def test_a_dry_run_finds_other_content(schema: str, s3: "S3Client") -> None:
    """What a real run would refuse, a dry one refuses as well."""
    s3.put_object(Bucket="raw", Key=f"{schema}/births/FY2023/a.zip", Body=b"other")
    result = upload(schema, "a.zip", options=("--dry-run",))
    assert (1, "") == (result.exit_code, result.stdout)
    assert "is there already, with other content (5 bytes there, 5 here)" in result.stderr


def test_as_json(schema: str) -> None:
    """One file is an object, several are a list: the fields of `Recorded`."""
    expected = {"schema": schema, "table": "births", "file_name": "FY2023", "created": True, "same_content_as": None}
    expected["other_content"] = None
    one = json.loads(upload(schema, "a.zip", options=("--json",)).stdout)
    assert expected | {"file": "a.zip", "version": 1} == one
    two = json.loads(upload(schema, "b.zip", "c.zip", options=("--json",)).stdout)
    assert [expected | {"file": "b.zip", "version": 2}, expected | {"file": "c.zip", "version": 3}] == two


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("record", 0, "twin.zip: version 2, created, with the content of version 1"),
        ("skip", 0, "twin.zip: not recorded, version 1 has the same content"),
        ("error", 1, "twin.zip has the same content as version 1 of"),
        ("forget", 2, "on_same_content must be one of record, skip, error, got 'forget'"),
    ],
)
def test_the_same_bytes_under_another_name(schema: str, what: str, code: int, said: str) -> None:
    """`--on-same-content` decides; without it they are recorded, and that is told."""
    upload(schema, "a.zip")
    result = upload(schema, "twin.zip", options=("--on-same-content", what))
    assert code == result.exit_code
    assert said in result.output


def test_another_name_and_place(schema: str, s3: "S3Client") -> None:
    """`--file` and `--key` say what to record a file as, and where to put it."""
    result = upload(schema, "a.zip", options=("--file", "q1.zip", "--key", f"{schema}/elsewhere/q1", "--fyear", "FY24"))
    assert lines(schema, "q1.zip: version 1, created") == result.stdout
    version = Tracker.from_env().latest(schema, "births", "FY2023")
    assert version is not None
    assert (f"s3://raw/{schema}/elsewhere/q1", "FY24") == (version.s3_location, version.fyear)
    assert b"first" == s3.get_object(Bucket="raw", Key=f"{schema}/elsewhere/q1")["Body"].read()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a.zip", "none.zip", "{}", "births", "FY2023"], 1, "none.zip: there is no such file; nothing was sent"),
        ([".", "{}", "births", "FY2023"], 1, ". is a directory: upload the files in it"),
        (["{}", "births", "FY2023", "a.zip"], 2, "the files come first: upload PATH... SCHEMA TABLE FILE_NAME"),
        (["a.zip", "b.zip", "{}", "births", "FY2023", "--file", "x"], 2, "--file and --key are for one file"),
        (["a.zip", "b.zip", "{}", "births"], 2, "b.zip is a file here: one of SCHEMA TABLE FILE_NAME is missing"),
        (["a.zip", "b.zip", "c.zip", "{}"], 2, "b.zip is a file here: one of SCHEMA TABLE FILE_NAME is missing"),
        (
            ["a.zip", "{}", "births", "FY2023", "--upload-date", "2024-13-01"],
            2,
            "'2024-13-01' is no day like 2024-03-01",
        ),
        (["a.zip", "{}", "births", "FY2023", "--upload-date", "20240301"], 2, "'20240301' is no day like 2024-03-01"),
        (["a.zip", "{}", "births", "FY2023", "--fyear", ""], 2, "fyear must not be empty"),
        (["a.zip", "{}", "births", "FY/2023"], 2, "file_name must not contain '/'"),
        (["a.zip", "{}", "births", "FY2023", "--key", "_cf_tracker/x"], 2, "key must not be '_cf_tracker/x'"),
        (["a.zip", "{}", "births", "FY2023", "--bucket", "none"], 1, "there is no such bucket"),
        (["a.zip", "{}", "births"], 2, "Missing argument"),
    ],
)
def test_a_bad_input_is_a_line_and_sends_nothing(arguments: list[str], code: int, said: str, s3: "S3Client") -> None:
    """Whatever is wrong is said in one line, and neither an object nor a record comes of it."""
    schema = f"bad_{uuid.uuid4().hex[:8]}"
    result = run("upload", *(word.format(schema) for word in arguments))
    assert (code, "") == (result.exit_code, result.stdout)
    assert said in result.stderr
    assert 0 == s3.list_objects_v2(Bucket="raw", Prefix=f"{schema}/")["KeyCount"]


def test_what_was_recorded_before_a_failure_is_told(schema: str, s3: "S3Client") -> None:
    """Where one of several files cannot be uploaded, the others are in the tracker, and on stdout."""
    s3.put_object(Bucket="raw", Key=f"{schema}/births/FY2023/c.zip", Body=b"other")
    result = upload(schema, "a.zip", "c.zip", options=("--workers", "1"))
    assert (1, lines(schema, "a.zip: version 1, created")) == (result.exit_code, result.stdout)
    assert "c.zip is there already, with other content (5 bytes there, 5 here)" in result.stderr


def test_one_that_fails_keeps_no_other_from_its_place(schema: str, s3: "S3Client") -> None:
    """Each that failed is a line on stderr, the others are recorded, and a second run does the rest."""
    for name in ("a.zip", "c.zip"):
        s3.put_object(Bucket="raw", Key=f"{schema}/births/FY2023/{name}", Body=b"in the way")
    result = upload(schema, "a.zip", "b.zip", "c.zip", "twin.zip")
    assert lines(schema, "b.zip: version 1, created", "twin.zip: version 2, created") == result.stdout
    errors = [line for line in result.stderr.splitlines() if "error:" in line]
    assert (1, ["a.zip", "c.zip"]) == (result.exit_code, [line.split(" is there")[0].split("/")[-1] for line in errors])
    s3.delete_object(Bucket="raw", Key=f"{schema}/births/FY2023/a.zip")
    result = upload(schema, "a.zip", "b.zip", "twin.zip")
    expected = ("a.zip: version 3, created, with the content of version 2", "b.zip: version 1, was there already")
    assert (0, True) == (result.exit_code, result.stdout.startswith(lines(schema, *expected)))


def test_what_fails_leaves_json_valid(schema: str, s3: "S3Client") -> None:
    """Of several files the outcomes are a list, if an empty one."""
    for name, code in (("b.zip", 1), ("a.zip", 1)):
        s3.put_object(Bucket="raw", Key=f"{schema}/births/FY2023/{name}", Body=b"in the way")
        result = upload(schema, "a.zip", "b.zip", options=("--json",))
        assert (code, ["a.zip"] if name == "b.zip" else []) == (
            result.exit_code,
            [one["file"] for one in json.loads(result.stdout)],
        )
        s3.delete_object(Bucket="raw", Key=raw_key(schema))


def test_bars_are_for_terminals(schema: str, files: Path) -> None:
    """On a terminal, stderr shows how far it is; the data is on stdout, and is the same."""
    (files / "large.zip").write_bytes(b"0" * (9 << 20))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "cf_data_tracker", "upload", "large.zip", "a.zip", schema, "births", "FY2023"]
    with os.fdopen(theirs, "wb") as terminal:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, env=environment, timeout=60, check=True)
    seen = ""
    with os.fdopen(ours, "rb", buffering=0) as screen, suppress(OSError):  # which is how a terminal ends
        while some := screen.read(65536):  # 4 KiB at most
            seen += some.decode(errors="replace")
    assert "2 of 2 files recorded" in seen
    assert "9.4/9.4 MB" in seen
    expected = ["large.zip: version 1, created", "a.zip: version 2, created"]
    assert lines(schema, *expected) == done.stdout.decode()
