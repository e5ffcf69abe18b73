"""Questions: `exists`, `latest`, `history`, `tables`, `pending`. They change nothing.

Where there is nothing to show, `--json` still prints what there is of it (`[]`, `null`), and the exit code is 3.
"""

import dataclasses
from collections import Counter
from typing import Annotated

import typer

from cf_data_tracker.cli.failure import Code
from cf_data_tracker.cli.options import (
    AsJson,
    Bucket,
    CleanBucket,
    EndpointUrl,
    File,
    FileName,
    RawBucket,
    Schema,
    Table,
    Timeout,
    open_clean_tracker,
    open_tracker,
)
from cf_data_tracker.cli.output import note, say, say_json, say_version, say_versions
from cf_data_tracker.errors import NotTrackedError


def exists(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    table: Table,
    file_name: FileName,
    file: File,
    *,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Say whether a file is recorded.

    Exit code 0 and yes, or 3 and no.
    """
    found = open_tracker(bucket, endpoint_url, timeout).exists(schema, table, file_name, file)
    if as_json:
        say_json({"exists": found})
    else:
        say("yes" if found else "no")
    if not found:
        raise typer.Exit(Code.NOT_FOUND)


def latest(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    table: Table,
    file_name: FileName,
    *,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Show the newest version of a file name."""
    version = open_tracker(bucket, endpoint_url, timeout).latest(schema, table, file_name)
    if as_json:
        say_json(version)
    elif version is not None:
        say_version(version)
    if version is None:
        raise NotTrackedError(f"{schema}/{table}/{file_name} has no version")


def history(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    table: Table,
    file_name: Annotated[
        str | None, typer.Argument(metavar="FILE_NAME", help="The time period; all if left out.")
    ] = None,
    *,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the versions of a table, or of one file name of it.

    A table on a terminal. In a pipe, a header and a line for each version, with tabs between: nothing is cut off, and
    the columns are the keys of the JSON.
    """
    versions = open_tracker(bucket, endpoint_url, timeout).history(schema, table, file_name)
    if as_json:
        say_json(versions)
    elif versions:
        say_versions(versions, tables=False)
    if not versions:
        raise NotTrackedError("/".join(filter(None, (schema, table, file_name))) + " has no versions")


def tables(
    schema: Schema,
    *,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the tables of a schema."""
    names = open_tracker(bucket, endpoint_url, timeout).tables(schema)
    if as_json:
        say_json(names)
    else:
        for name in names:
            say(name)
    if not names:
        raise NotTrackedError(f"{schema} has no tables")


def pending(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    *,
    raw_bucket: RawBucket = None,
    clean_bucket: CleanBucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the raw versions that still wait to be cleaned.

    They are the newest of each file name, where the clean bucket has no record of it, or only one of an older version.
    That there are none is no error.

    Older versions that were never cleaned are not listed: a line on standard error counts them, and so does the key
    "skipped" of the JSON. Files that are not versions of each other need file names of their own.
    """
    tracker = open_clean_tracker(raw_bucket, clean_bucket, endpoint_url, timeout)
    versions = tracker.pending(schema)
    if as_json:
        passed_over = Counter((version.table, version.file_name) for version in tracker.skipped(schema))
        say_json(
            [
                {**dataclasses.asdict(version), "skipped": passed_over[version.table, version.file_name]}
                for version in versions
            ]
        )
    elif versions:
        say_versions(versions, tables=True)
    if not versions:
        note(f"nothing is pending in {schema}")
