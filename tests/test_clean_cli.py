"""The commands of the clean side: what they print where, and with which exit code they end."""

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner, Result

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.cli.cleaning import claims, reprocess, sweep
from cf_data_tracker.cli.failure import guarded
from cf_data_tracker.runtime import utc_now
from cf_data_tracker.store import ANYTHING
from cf_data_tracker.tracker import Tracker
from conftest import connection_to
from servers.server import Server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
for command in (claims, reprocess, sweep):
    app.command()(guarded(command))


def run(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def worker(s3: "S3Client", embedded: Server, schema: str, monkeypatch: pytest.MonkeyPatch) -> CleanTracker:  # noqa: ARG001 - its settings are in force
    """Give a worker, and a raw version of FY2023 for it."""
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    monkeypatch.setenv("AWS_DEST_BUCKET_CLEAN", "clean")
    raw = connection_to(embedded)
    Tracker.over(raw).record(schema, "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/a.zip")
    return CleanTracker.over(raw, connection_to(embedded, "clean"))


class TestClaims:
    """Who is at what."""

    def test_claims_are_listed(self, worker: CleanTracker, schema: str) -> None:
        """One a line, or as JSON."""
        (claim,) = worker.claim(schema)
        line = f"births/FY2023 version 1, until {claim.until}, number 1, by {claim.claimed_by}\n"
        listed = run("claims", schema)
        assert (0, line) == (listed.exit_code, listed.stdout)
        assert [
            {
                "table": "births",
                "file_name": "FY2023",
                "version": 1,
                "fence": 1,
                "until": claim.until,
                "claimed_by": claim.claimed_by,
            }
        ] == json.loads(run("claims", schema, "--json").stdout)

    def test_there_may_be_none(self, worker: CleanTracker, schema: str) -> None:
        """Neither before a worker has come, nor when it has recorded."""
        assert (0, "", f"nothing is claimed in {schema}\n") == said(run("claims", schema))
        (claim,) = worker.claim(schema)
        worker.record(claim, [])
        assert (0, "[]\n", "") == said(run("claims", schema, "--json"))


def said(result: Result) -> tuple[int, str, str]:
    """Return how a command ended, and what it said on either stream."""
    return result.exit_code, result.stdout, result.stderr


class TestReprocess:
    """A version that is to be cleaned again."""

    def test_a_recorded_version_is_pending_again(self, worker: CleanTracker, schema: str) -> None:
        """The command says which it is."""
        worker.record(worker.pending(schema)[0], [])
        line = f"{schema}/births/FY2023 version 1 (a.zip) is to be cleaned again\n"
        assert (0, line, "") == said(run("reprocess", schema, "births", "FY2023"))
        assert 1 == len(worker.pending(schema))
        assert 1 == json.loads(run("reprocess", schema, "births", "FY2023", "--json").stdout)["version"]

    @pytest.mark.usefixtures("worker")
    def test_what_there_is_not_is_not_found(self, schema: str) -> None:
        """Exit code 3, and a word of what is missing."""
        ended = run("reprocess", schema, "births", "FY2099")
        assert (3, "") == (ended.exit_code, ended.stdout)
        assert f"{schema}/births/FY2099 has no raw version" in ended.stderr


class TestSweep:
    """Outdated clean files."""

    @pytest.fixture
    def outdated(self, worker: CleanTracker, embedded: Server, schema: str) -> str:
        """Give a clean file that was replaced eight days ago, and was written again since: it is not to be deleted."""
        clean = connection_to(embedded, "clean")
        raw = worker.pending(schema)[0]
        long_ago = utc_now() - timedelta(days=8)
        then = CleanTracker.over(connection_to(embedded), clean, clock=lambda: long_ago)
        clean.store.write(f"{schema}/written again.parquet", b"rows", replacing=None)
        then.record(raw, [f"{schema}/written again.parquet", f"{schema}/gone.parquet", "s3://elsewhere/x.parquet"])
        then.reprocess(schema, "births", "FY2023")
        (claim,) = then.claim(schema)
        then.record(claim, [])
        clean.store.write(f"{schema}/written again.parquet", b"other rows", replacing=ANYTHING)
        return f"outdated since {long_ago:%Y-%m-%d}"

    def test_it_lists_what_it_would_delete(self, outdated: str, worker: CleanTracker, schema: str) -> None:
        """And why the rest stays; nothing changes."""
        code, told, noted = said(run("sweep", schema))
        assert (0, "1 file would be deleted, 2 left\n") == (code, noted)
        assert 3 == told.count(outdated)
        assert f"{schema}/gone.parquet: would be deleted" in told
        assert f"{schema}/written again.parquet: left, it was written again since" in told
        assert "s3://elsewhere/x.parquet: left, it is in another bucket" in told
        assert 3 == len((worker.document(schema) or {})["outdated"])

    @pytest.mark.usefixtures("outdated")
    def test_it_deletes_when_it_is_told_to(self, worker: CleanTracker, schema: str) -> None:
        """What it has deleted is listed no more."""
        swept = json.loads(run("sweep", schema, "--delete", "--json").stdout)
        assert [f"{schema}/gone.parquet"] == [one["file"] for one in swept if one["deleted"]]
        assert 2 == len((worker.document(schema) or {})["outdated"])

    @pytest.mark.usefixtures("outdated")
    def test_an_age_may_be_given(self, schema: str) -> None:
        """In days, 0 for whatever is outdated."""
        assert (0, "[]\n", "") == said(run("sweep", schema, "--older-than", "30", "--json"))
        assert not any(one["deleted"] for one in json.loads(run("sweep", schema, "--dry-run", "--json").stdout))
        assert 3 == len(json.loads(run("sweep", schema, "--older-than", "0", "--json").stdout))
        assert 2 == run("sweep", schema, "--older-than", "-1").exit_code
