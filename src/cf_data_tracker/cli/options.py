"""The arguments and options that commands share, and what is opened with them.

The faces are imported when they are opened: they bring boto3's settings, the engine and what it stands on.
"""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from cf_data_tracker.clean import CleanTracker
    from cf_data_tracker.tracker import Tracker

A_DAY: Final = 86_400.0
"""Seconds."""


def _seconds(value: float) -> float:
    if not 0 < value <= A_DAY:
        raise typer.BadParameter(f"{value} is not more than 0 and at most a day ({A_DAY:.0f})")
    return value


def _day(value: str | None) -> str | None:
    try:
        day = dt.date.fromisoformat(value) if value is not None else None
    except ValueError:
        day = None
    if value is not None and (day is None or day.isoformat() != value):
        raise typer.BadParameter(f"{value!r} is no day like 2024-03-01")
    return value


Schema = Annotated[str, typer.Argument(metavar="SCHEMA", help="The data source.")]
Table = Annotated[str, typer.Argument(metavar="TABLE", help="A table of it.")]
FileName = Annotated[str, typer.Argument(metavar="FILE_NAME", help="The time period, like FY2023.")]
File = Annotated[str, typer.Argument(metavar="FILE", help="The actual name of the file.")]
Bucket = Annotated[
    str | None,
    typer.Option("--bucket", metavar="NAME", help="The raw bucket, in place of AWS_DEST_BUCKET_RAW."),
]
RawBucket = Annotated[
    str | None,
    typer.Option("--raw-bucket", "--bucket", metavar="NAME", help="The raw bucket, in place of AWS_DEST_BUCKET_RAW."),
]
CleanBucket = Annotated[
    str | None,
    typer.Option("--clean-bucket", metavar="NAME", help="The clean bucket, in place of AWS_DEST_BUCKET_CLEAN."),
]
EndpointUrl = Annotated[
    str | None,
    typer.Option("--endpoint-url", metavar="URL", help="A store other than AWS, in place of AWS_ENDPOINT_URL_S3."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", callback=_seconds, help="Seconds after which to give up.")
]
SameContent = Annotated[
    str | None,
    typer.Option(
        "--on-same-content",
        metavar="WHAT",
        help="Where the file name has these bytes already, by their checksum: record (which is what is done), skip or "
        "error.",
    ),
]
UploadDate = Annotated[
    str | None,
    typer.Option("--upload-date", metavar="DATE", callback=_day, help="YYYY-MM-DD; today, in UTC, if left out."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def open_tracker(bucket: str | None, endpoint_url: str | None, timeout: float) -> "Tracker":
    """Return a tracker; what is not given comes from the environment and `.env`.

    Raises:
        StoreError: No bucket is named, or a setting is malformed.
    """
    from cf_data_tracker.tracker import Tracker  # noqa: PLC0415 - see above

    return Tracker.from_env(bucket=bucket, endpoint_url=endpoint_url, timeout=timeout)


def open_clean_tracker(
    raw_bucket: str | None, clean_bucket: str | None, endpoint_url: str | None, timeout: float
) -> "CleanTracker":
    """Return a clean tracker; what is not given comes from the environment and `.env`.

    Raises:
        StoreError: A bucket is not named, or a setting is malformed.
    """
    from cf_data_tracker.clean import CleanTracker  # noqa: PLC0415 - see above

    return CleanTracker.from_env(
        raw_bucket=raw_bucket, clean_bucket=clean_bucket, endpoint_url=endpoint_url, timeout=timeout
    )
