"""A Prefect flow that records a year's file; its version is told with the asset."""

import tempfile
from pathlib import Path

from prefect import flow
from prefect.assets import Asset, materialize

from cf_data_tracker import Recorded, Tracker

BIRTHS = Asset(key="s3://raw/vitals/births")


def fetched(year: str, folder: Path) -> Path:
    """Put the year's file into a folder; in earnest it comes from its source."""
    path = folder / f"births_{year}.csv"
    path.write_text(f"year,births\n{year},810112\n")
    return path


@materialize(BIRTHS)
def births(year: str) -> Recorded:
    """Upload and record the births of a year."""
    with tempfile.TemporaryDirectory() as folder:
        done = Tracker.from_env().upload(fetched(year, Path(folder)), "vitals", "births", year)
    BIRTHS.add_metadata(done.as_event_metadata())
    return done


@flow
def ingest(years: list[str]) -> list[Recorded]:
    """Ingest the births of some years."""
    return [births(year) for year in years]


if __name__ == "__main__":
    ingest(["FY2023", "FY2024"])
