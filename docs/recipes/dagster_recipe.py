"""A Dagster asset, one partition a fiscal year: each run records the year's file, and shows its version in Dagster."""

import tempfile
from pathlib import Path

import dagster as dg

from cf_data_tracker import Tracker

YEARS = dg.StaticPartitionsDefinition(["FY2023", "FY2024"])


def fetched(year: str, folder: Path) -> Path:
    """Put the year's file into a folder; in earnest it comes from its source."""
    path = folder / f"births_{year}.csv"
    path.write_text(f"year,births\n{year},810112\n")
    return path


@dg.asset(partitions_def=YEARS)
def births(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """The births of a year, in the bucket and in its tracker."""
    with tempfile.TemporaryDirectory() as folder:
        path = fetched(context.partition_key, Path(folder))
        done = Tracker.from_env().upload(path, "vitals", "births", context.partition_key)
    return dg.MaterializeResult(metadata=done.as_event_metadata())


defs = dg.Definitions(assets=[births])
