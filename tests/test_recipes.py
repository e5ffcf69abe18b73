"""The recipes for Dagster, Prefect and Airflow do what their page says, on the embedded S3 and on this machine alone.

Dagster and Prefect need an environment of their own: `make test-recipes`.
"""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from cf_data_tracker.tracker import Tracker
from conftest import connection_to
from servers.server import Server

RECIPES: Final = Path(__file__).parents[1] / "docs" / "recipes"

DAGSTER: Final = """
import json, sys
import dagster as dg
from dagster_recipe import births

told = []
for year in ("FY2023", "FY2024", "FY2023"):
    result = dg.materialize([births], partition_key=year, instance=dg.DagsterInstance.ephemeral())
    (event,) = result.asset_materializations_for_node("births")
    told.append({name: value.value for name, value in event.metadata.items()})
print(json.dumps(told))
"""

PREFECT: Final = """
import json
from unittest import mock
from prefect.testing.utilities import prefect_test_harness
from prefect_recipe import ingest

told = []

def emit_event(event, resource, payload=None, **more):
    if event == "prefect.asset.materialization.succeeded":
        told.append(payload)

with prefect_test_harness(), mock.patch("prefect.events.emit_event", emit_event):
    ingest(["FY2023", "FY2024", "FY2023"])
print(json.dumps(told))
"""


def what_was_told(program: str, server: Server, folder: Path) -> list[dict[str, Any]]:
    """Run a program beside the recipes, and return what it prints last."""
    settings = {
        "AWS_DEST_BUCKET_RAW": "raw",
        "AWS_ENDPOINT_URL_S3": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "PYTHONPATH": str(RECIPES),
        "DAGSTER_HOME": str(folder),
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-c", program]
    run = subprocess.run(
        command, env=os.environ | settings, cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )
    assert 0 == run.returncode, run.stderr
    told: list[dict[str, Any]] = json.loads(run.stdout.splitlines()[-1])
    return told


@pytest.mark.recipes
@pytest.mark.parametrize(("library", "program"), [("dagster", DAGSTER), ("prefect", PREFECT)])
def test_a_recipe_records_and_tells(library: str, program: str, embedded: Server, tmp_path: Path) -> None:
    """Each year's file is uploaded and recorded once, and its version is told with the asset, also when it is known."""
    pytest.importorskip(library)
    # The recipes share a schema, so what one of them finds may be there already.
    told = what_was_told(program, embedded, tmp_path)
    versions = [
        {"schema": "vitals", "table": "births", "file_name": year, "file": f"births_{year}.csv", "version": 1}
        for year in ("FY2023", "FY2024", "FY2023")
    ]
    assert versions == [{name: value for name, value in one.items() if name != "created"} for one in told]
    assert told[2]["created"] is False
    history = Tracker.over(connection_to(embedded)).history("vitals", "births")
    assert ["births_FY2023.csv", "births_FY2024.csv"] == [version.file for version in history]


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_a_recipe_is_code(recipe: Path) -> None:
    """Each recipe compiles, uses the tracker, and attaches what it returned."""
    text = recipe.read_text(encoding="utf-8")
    called = {
        node.func.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert {"from_env", "upload", "as_event_metadata"} <= called
    compile(text, str(recipe), "exec")
