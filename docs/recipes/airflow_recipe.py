"""An Airflow DAG (3 and later) that records a year's file; its version is in the `extra` of the asset's event."""

import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from airflow.sdk import Asset, Metadata, dag, task

from cf_data_tracker import Tracker

BIRTHS = Asset(name="births", uri="s3://raw/vitals/births")


def fetched(year: str, folder: Path) -> Path:
    """Put the year's file into a folder; in earnest it comes from its source."""
    path = folder / f"births_{year}.csv"
    path.write_text(f"year,births\n{year},810112\n")
    return path


@task(outlets=[BIRTHS])
def births(year: str) -> Iterator[Metadata]:
    """Upload and record the births of a year."""
    with tempfile.TemporaryDirectory() as folder:
        done = Tracker.from_env().upload(fetched(year, Path(folder)), "vitals", "births", year)
    yield Metadata(BIRTHS, extra=done.as_event_metadata())


@dag(schedule="@yearly", start_date=datetime(2023, 1, 1, tzinfo=timezone.utc), catchup=False)
def ingest() -> None:
    """Ingest the births of a year."""
    births("FY2023")


ingest()
