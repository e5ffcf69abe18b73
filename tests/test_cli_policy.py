"""`policy`: JSON that AWS takes, the same as on the page about permissions."""

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from cf_data_tracker.cli.failure import guarded
from cf_data_tracker.cli.policy import policy
from cf_data_tracker.rights import Role

PAGE = Path(__file__).parents[1] / "docs" / "permissions.md"
SHOWN = re.findall(
    r"^    \$ cf-data-tracker policy ([^>\n]*)\n\n```json\n(.*?)```",
    PAGE.read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)

app = typer.Typer()
app.command()(guarded(policy))


@pytest.fixture(autouse=True)
def _no_settings(scratch: Path) -> None:
    """Let no setting of this machine be in force."""


def run(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(("arguments", "shown"), SHOWN, ids=[arguments.split()[0] for arguments, _ in SHOWN])
def test_the_page_shows_what_is_printed(arguments: str, shown: str) -> None:
    """Each policy on the page is, to the letter, what the command above it prints."""
    ended = run(*arguments.split())
    assert (0, shown, "") == (ended.exit_code, ended.stdout, ended.stderr)


def test_the_page_shows_each_role() -> None:
    """The page leaves no role out."""
    assert {role.value for role in Role} == {arguments.split()[0] for arguments, _ in SHOWN}


def test_buckets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not named comes from the environment, the region among it, and what is named goes before."""
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "theirs")
    monkeypatch.setenv("AWS_DEST_BUCKET_CLEAN", "cleaned")
    monkeypatch.setenv("AWS_REGION_NAME", "cn-north-1")
    buckets = set(re.findall(r"arn:aws-cn:s3:::([a-z]+)", run("cleaner").stdout))
    assert {"theirs", "cleaned"} == buckets
    assert {"ours"} == set(re.findall(r":s3:::([a-z]+)", run("recorder", "--bucket", "ours").stdout))


@pytest.mark.parametrize("variable", ["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"])
@pytest.mark.parametrize(("region", "partition"), [("eusc-de-east-1", "aws-eusc"), ("us-iso-east-1", "aws-iso")])
def test_the_region_decides_the_partition(
    monkeypatch: pytest.MonkeyPatch, variable: str, region: str, partition: str
) -> None:
    """Whichever of its names is set; botocore knows the partitions."""
    monkeypatch.setenv("AWS_REGION_NAME", " ")
    monkeypatch.setenv(variable, region)
    assert {partition} == set(re.findall(r"arn:([a-z-]+):s3", run("auditor", "--bucket", "raw").stdout))


def test_a_blank_variable_names_no_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clean bucket of a reader is left out, and one that is needed is missing."""
    monkeypatch.setenv("AWS_DEST_BUCKET_CLEAN", " ")
    assert "Clean" not in run("reader", "--bucket", "raw").stdout
    assert "AWS_DEST_BUCKET_CLEAN is not set" in run("cleaner", "--bucket", "raw").stderr


def test_schemas_may_be_several() -> None:
    """Each schema that is named is in the policy."""
    printed = json.loads(run("reader", "--bucket", "raw", "--schema", "vitals", "--schema", "weather").stdout)
    wanted = [f"arn:aws:s3:::raw/{schema}/{schema}_version_info.json" for schema in ("vitals", "weather")]
    assert wanted == printed["Statement"][0]["Resource"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["recorder"], 1, "AWS_DEST_BUCKET_RAW is not set"),
        (["cleaner", "--bucket", "raw"], 1, "AWS_DEST_BUCKET_CLEAN is not set"),
        (["bucket", "--bucket", "No Bucket"], 2, "a bucket's name is"),
        (["bucket", "--bucket", "raw", "--schema", "a/b"], 2, "schema must not contain '/'"),
        (["king"], 2, "king"),
        ([], 2, "ROLE"),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], code: int, said: str) -> None:
    """What is missing or malformed is one clear line, and nothing is printed that could be taken for a policy."""
    ended = run(*arguments)
    assert (code, "") == (ended.exit_code, ended.stdout)
    assert said in ended.stderr
