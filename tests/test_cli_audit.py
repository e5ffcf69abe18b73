"""`audit`, `verify --history` and `restore` on the command line: what they print, and how they end."""

import functools
import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from cf_data_tracker import Tracker
from cf_data_tracker.cli.app import app
from cf_data_tracker.names import inbox_prefix, raw_key
from cf_data_tracker.stores.s3 import open_client
from servers.server import Server
from test_store_contract import keep_versions

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

KEPT = "kept-for-the-command-line"

client_for = functools.cache(open_client)
"""A client takes 0.1 s to make, and the same settings make the same client."""


@pytest.fixture(autouse=True)
def one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all commands of a bucket share a client."""
    monkeypatch.setattr("cf_data_tracker.stores.s3.open_client", client_for)


@pytest.fixture
def bucket(s3: "S3Client", monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """Give the embedded S3, where the settings lead to its raw bucket."""
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    return s3


@pytest.fixture
def keeping(s3: "S3Client", embedded: Server, monkeypatch: pytest.MonkeyPatch) -> "S3Client":
    """Give the embedded S3, where the settings lead to a bucket that keeps versions."""
    if KEPT not in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}:
        keep_versions(embedded, KEPT)
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", KEPT)
    return s3


def run(*arguments: str) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, arguments)


def record(schema: str, *files: str, bucket: str = "raw", size: int = 5) -> None:
    """Record files, one after the other."""
    tracker = Tracker.from_env()
    for file in files:
        location = f"s3://{bucket}/{schema}/births/FY2023/{file}"
        tracker.record(schema, "births", "FY2023", file, file_size=size, s3_location=location)


def put(s3: "S3Client", schema: str, *files: str) -> None:
    """Put the objects of files there, of five bytes each."""
    for file in files:
        s3.put_object(Bucket="raw", Key=f"{schema}/births/FY2023/{file}", Body=b"5 byt")


def error_of(result: Result) -> str:
    """The one line of an error."""
    (line,) = result.stderr.splitlines()
    return line.removeprefix("cf-data-tracker: error: ")


class TestAudit:
    """What is recorded, against what is in the bucket."""

    def test_nothing_is_wrong(self, bucket: "S3Client", schema: str) -> None:
        """It counts, says what was not compared, and ends with 0."""
        record(schema, "a.zip", "b.zip")
        put(bucket, schema, "a.zip", "b.zip")
        result = run("audit", schema)
        assert (0, "") == (result.exit_code, result.stderr)
        assert [
            f"{schema}: 2 versions, 2 objects, revision 2",
            "2 versions not compared by content: the object is there, no more is known",
            "✓ nothing is wrong",
        ] == result.stdout.splitlines()

    def test_findings_are_exit_code_5(self, bucket: "S3Client", schema: str) -> None:
        """One line each, with the kind and the location."""
        record(schema, "gone.zip")
        record(schema, "size.zip", size=7)
        record(schema, "away.zip", bucket="other")
        put(bucket, schema, "size.zip", "x.zip")
        result = run("audit", schema)
        assert 5 == result.exit_code
        where = f"s3://raw/{schema}/births/FY2023"
        lines = result.stdout.splitlines()
        assert (
            f"✗ missing: {where}/gone.zip: births/FY2023 version 1 (gone.zip) is recorded, and no object is there"
            == lines[1]
        )
        assert f"✗ size: {where}/size.zip: births/FY2023 version 2 (size.zip) was recorded with 7 bytes" in lines[2]
        assert f"✗ orphan: {where}/x.zip: no version is recorded of this object of 5 bytes, written 2" in lines[3]
        assert f"1 version not looked at, in another bucket: s3://other/{schema}/births/FY2023/away.zip" == lines[4]
        assert 5 == len(lines)

    @pytest.mark.parametrize("command", ["audit", "verify"])
    def test_what_waits_in_the_inbox_is_told(self, bucket: "S3Client", schema: str, command: str) -> None:
        """As text and as JSON; nothing is wrong with it."""
        put(bucket, schema, "a.zip")
        record(schema, "a.zip")
        assert "inbox" not in run(command, schema).stdout
        nothing = {"audit": {"entries": 0, "since": None}, "verify": None}
        assert nothing[command] == json.loads(run(command, schema, "--json").stdout).get("waiting")
        for number in range(2):
            bucket.put_object(Bucket="raw", Key=f"{inbox_prefix(raw_key(schema))}{number}", Body=b"")
        result = run(command, schema)
        assert 0 == result.exit_code
        assert "2 inbox entries wait to be committed, the oldest since 20" in result.stdout
        assert 2 == json.loads(run(command, schema, "--json").stdout)["waiting"]["entries"]
        bucket.delete_object(Bucket="raw", Key=f"{inbox_prefix(raw_key(schema))}0")
        assert "1 inbox entry waits to be committed" in run(command, schema).stdout

    def test_findings_as_json(self, bucket: "S3Client", schema: str) -> None:
        """All that the audit gives, and what came of the orphans."""
        record(schema, "gone.zip")
        put(bucket, schema, "x.zip")
        result = run("audit", schema, "--json")
        assert 5 == result.exit_code
        audit = json.loads(result.stdout)
        assert ["missing", "orphan"] == [finding["kind"] for finding in audit["findings"]]
        assert (None, 5) == (audit["findings"][0]["found"], audit["findings"][1]["found"]["size"])
        assert (True, 1, 1, [], []) == (
            audit["tracked"],
            audit["versions"],
            audit["objects"],
            audit["recorded"],
            audit["left"],
        )

    def test_a_deep_audit_reads(self, bucket: "S3Client", schema: str) -> None:
        """What a listing does not tell."""
        put(bucket, schema, "a.zip")
        where = f"s3://raw/{schema}/births/FY2023/a.zip"
        Tracker.from_env().record(
            schema, "births", "FY2023", "a.zip", file_size=5, s3_location=where, checksum=f"sha256:{'0' * 64}"
        )
        assert 0 == run("audit", schema).exit_code
        assert f"✗ checksum: {where}: " in run("audit", schema, "--deep").stdout

    def test_orphans_are_shown_and_then_recorded(self, bucket: "S3Client", schema: str) -> None:
        """A dry run writes nothing; what remains is told, and is exit code 5."""
        record(schema, "a.zip")
        put(bucket, schema, "a.zip", "b.zip")
        dry = run("audit", schema, "--record-orphans", "--dry-run")
        assert 5 == dry.exit_code
        assert f"{schema}/births/FY2023 b.zip: version 2, would be created" in dry.stdout.splitlines()
        assert 1 == len(Tracker.from_env().history(schema, "births"))
        result = run("audit", schema, "--record-orphans")
        assert 0 == result.exit_code
        assert f"{schema}/births/FY2023 b.zip: version 2, created" in result.stdout.splitlines()
        assert result.stdout.endswith("✓ nothing is wrong\n")
        assert ["a.zip", "b.zip"] == [version.file for version in Tracker.from_env().history(schema, "births")]

    def test_an_orphan_that_cannot_be_taken_in_remains(self, bucket: "S3Client", schema: str) -> None:
        """It says why, and the exit code is still 5."""
        put(bucket, schema, "b.zip")
        bucket.put_object(Bucket="raw", Key=f"{schema}/loose.zip", Body=b"")
        result = run("audit", schema, "--record-orphans", "--json")
        assert 5 == result.exit_code
        audit = json.loads(result.stdout)
        assert (True, ["b.zip"]) == (audit["tracked"], [one["file"] for one in audit["recorded"]])
        assert [f"s3://raw/{schema}/loose.zip"] == [finding["location"] for finding in audit["findings"]]
        assert f"its key is not {schema}/TABLE/FILE_NAME/FILE" in audit["left"][0]["sentence"]
        assert (
            f"s3://raw/{schema}/loose.zip: not taken in: its key is not"
            in run("audit", schema, "--record-orphans").stdout
        )

    def test_young_and_overwritten_ones_are_told(self, bucket: "S3Client", schema: str) -> None:
        """Neither is wrong."""
        tracker = Tracker.from_env()
        where = f"s3://raw/{schema}/births/FY2023/a.zip"
        for file, size in {"old.zip": 7, "a.zip": 5}.items():
            tracker.record(schema, "births", "FY2023", file, file_size=size, s3_location=where)
        put(bucket, schema, "a.zip", "new.zip")
        result = run("audit", schema, "--min-age", "3600")
        assert 0 == result.exit_code
        assert "1 version overwritten by a newer one of the same file name" in result.stdout.splitlines()
        assert "1 object without a record left out, younger than --min-age" in result.stdout.splitlines()

    @pytest.mark.parametrize("more", [[], ["--json"]], ids=["text", "JSON"])
    def test_a_schema_that_is_not_tracked_is_exit_code_3(
        self, bucket: "S3Client", schema: str, more: list[str]
    ) -> None:
        """Whether there are objects or not; if there are, it says so."""
        result = run("audit", schema, *more)
        assert 3 == result.exit_code
        assert f"the schema {schema} is not tracked: the bucket has no document of it" == error_of(result)
        put(bucket, schema, "a.zip")
        result = run("audit", schema, *more)
        assert 3 == result.exit_code
        assert f"though 1 object under {schema}/. If it had one, bring that back first" in error_of(result)
        assert "orphan" in result.stdout

    def test_a_bucket_becomes_tracked(self, bucket: "S3Client", schema: str) -> None:
        """A schema that has files and no document gets one."""
        put(bucket, schema, "a.zip")
        assert 0 == run("audit", schema, "--record-orphans").exit_code
        assert 0 == run("audit", schema).exit_code

    def test_progress_is_for_terminals(self, bucket: "S3Client", schema: str) -> None:
        """On a terminal, stderr shows how many objects were listed; the data on stdout is the same."""
        record(schema, "a.zip")
        put(bucket, schema, "a.zip")
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "cf_data_tracker", "audit", schema]
        with os.fdopen(theirs, "wb") as terminal:
            environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=terminal, env=environment, timeout=60, check=True
            )
        with os.fdopen(ours, "rb", buffering=0) as screen:
            assert "object" in screen.read(65536).decode()
        assert run("audit", schema).stdout == done.stdout.decode()


class TestHistory:
    """`verify --history`: was anything ever lost?"""

    def test_nothing_was_lost(self, keeping: "S3Client", schema: str) -> None:  # noqa: ARG002 - in force before it
        """It says how far back it could look."""
        record(schema, "a.zip", "b.zip")
        result = run("verify", schema, "--history")
        assert 0 == result.exit_code
        first, second, last = result.stdout.splitlines()
        assert f"{schema}: 1 table, 1 file name, 2 versions, revision 2" == first
        assert second.startswith("2 documents kept, from revision 1 (")
        assert ") to revision 2 (" in second
        assert "✓ nothing is wrong, and nothing was lost" == last

    def test_what_was_lost_is_exit_code_5(self, keeping: "S3Client", schema: str) -> None:
        """With what lost it."""
        record(schema, "a.zip")
        blind = {"tables": [{"schema_name": schema, "tables": []}], "revision": 2}
        keeping.put_object(Bucket=KEPT, Key=raw_key(schema), Body=json.dumps(blind).encode())
        result = run("verify", schema, "--history")
        assert 5 == result.exit_code
        assert f"lost {schema}/births/FY2023 version 1 (a.zip)" in result.stdout
        as_json = run("verify", schema, "--history", "--json")
        found = json.loads(as_json.stdout)
        assert (5, [], 1, 2) == (
            as_json.exit_code,
            found["findings"],
            len(found["history"]["findings"]),
            found["history"]["documents"],
        )
        assert 0 == run("verify", schema).exit_code

    def test_a_document_that_is_gone_is_exit_code_5(self, keeping: "S3Client", schema: str) -> None:
        """It is told since when, and that it can be restored; it is told again once it is back."""
        record(schema, "a.zip")
        keeping.delete_object(Bucket=KEPT, Key=raw_key(schema))
        result = run("verify", schema, "--history")
        assert 5 == result.exit_code
        assert "is gone: restore it" in result.stdout
        result = run("verify", schema)
        assert 5 == result.exit_code
        assert "was there and is gone" in result.stdout
        run("restore", schema, "--to", "1")
        result = run("verify", schema, "--history")
        assert 0 == result.exit_code
        assert "it was deleted " in result.stdout

    def test_a_bucket_that_keeps_none_is_exit_code_1(self, bucket: "S3Client", schema: str) -> None:  # noqa: ARG002 - as above
        """It says what to turn on."""
        record(schema, "a.zip")
        result = run("verify", schema, "--history")
        assert (1, "") == (result.exit_code, result.stdout)
        assert "keeps no versions" in error_of(result)
        assert 3 == run("verify", f"{schema}x", "--history").exit_code


class TestRestore:
    """`restore`: a document as it was."""

    @pytest.fixture
    def ruined(self, keeping: "S3Client", schema: str) -> "S3Client":
        """Give a bucket whose document is ruined."""
        record(schema, "a.zip", "b.zip")
        keeping.put_object(Bucket=KEPT, Key=raw_key(schema), Body=b"ruined")
        return keeping

    def test_it_is_shown_and_then_done(self, ruined: "S3Client", schema: str) -> None:  # noqa: ARG002 - as above
        """A dry run writes nothing."""
        assert 5 == run("verify", schema).exit_code
        dry = run("restore", schema, "--to", "2", "--dry-run")
        assert (0, f"{schema}: revision 2 (") == (dry.exit_code, dry.stdout[: len(schema) + 14])
        assert dry.stdout.endswith(") would be restored as revision 3\n")
        assert 5 == run("verify", schema).exit_code
        assert run("restore", schema, "--to", "2").stdout.endswith(") restored as revision 3\n")
        assert 0 == run("verify", schema).exit_code
        again = run("restore", schema, "--to", "2")
        assert 0 == again.exit_code
        assert again.stdout.endswith(" already; nothing to do\n")

    def test_what_would_be_lost_is_listed(self, ruined: "S3Client", schema: str) -> None:  # noqa: ARG002 - as above
        """And nothing is written, unless it is said that it may be."""
        refused = run("restore", schema, "--to", "1")
        assert (1, "") == (refused.exit_code, refused.stdout)
        loss = f"{schema}/births/FY2023 version 2 (b.zip)"
        assert loss in error_of(refused)
        assert f"would be lost: {loss}\n" in run("restore", schema, "--to", "1", "--discard", "--dry-run").stdout
        result = run("restore", schema, "--to", "1", "--discard", "--json")
        restored = json.loads(result.stdout)
        assert (0, [loss], 3, 1) == (
            result.exit_code,
            restored["lost"],
            restored["revision"],
            restored["source"]["revision"],
        )

    def test_a_revision_that_is_not_kept_is_exit_code_3(self, ruined: "S3Client", schema: str) -> None:  # noqa: ARG002 - as above
        """The error names those that are."""
        result = run("restore", schema, "--to", "7")
        assert 3 == result.exit_code
        assert error_of(result).endswith("revision 7 is not kept; what is: revisions 1 to 2")

    def test_a_version_can_be_named(self, ruined: "S3Client", schema: str) -> None:
        """In place of a revision."""
        versions = ruined.list_object_versions(Bucket=KEPT, Prefix=raw_key(schema))["Versions"]
        result = run("restore", schema, "--to-version", versions[1]["VersionId"])
        assert (0, 2) == (result.exit_code, len(Tracker.from_env().history(schema, "births")))

    @pytest.mark.parametrize("arguments", [[], ["--to", "1", "--to-version", "x"], ["--to", "x"], ["--to", "-1"]])
    def test_what_to_restore_is_said_in_one_way(self, ruined: "S3Client", schema: str, arguments: list[str]) -> None:  # noqa: ARG002 - as above
        """Anything else is a usage error."""
        assert 2 == run("restore", schema, *arguments).exit_code
