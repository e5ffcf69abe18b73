"""`record`: one file from the arguments, or many from a file of lines; what came of each is printed.

A dry run applies the same rules to the document as it is, and writes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, BinaryIO, Final

import typer

from cf_data_tracker.cli.lines import REQUIRED, new_files
from cf_data_tracker.cli.options import AsJson, Bucket, EndpointUrl, SameContent, Timeout, UploadDate, open_tracker
from cf_data_tracker.cli.output import counted, note, say, say_json
from cf_data_tracker.errors import (
    DifferentContentError,
    InvalidNameError,
    LocalFileError,
    SameContentError,
    TrackerError,
    joined,
)
from cf_data_tracker.model import NewFile, Recorded

Commit = Callable[[list[NewFile], Callable[[Recorded], object]], object]
"""Records the files of one schema, or finds out what that would do, and calls back with the outcome of each."""

_SHOWN_AS: Final = {"file_size": "--size", "s3_location": "--location"}


def record(  # noqa: PLR0913 - one parameter an option
    schema: Annotated[str | None, typer.Argument(metavar="SCHEMA", help="The data source.")] = None,
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="A table of it.")] = None,
    file_name: Annotated[str | None, typer.Argument(metavar="FILE_NAME", help="The time period, like FY2023.")] = None,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="The actual name of the file.")] = None,
    *,
    size: Annotated[int | None, typer.Option("--size", min=0, metavar="BYTES", help="Its size in bytes.")] = None,
    location: Annotated[
        str | None, typer.Option("--location", metavar="URL", help="Where its bytes are, like s3://raw/births_q1.zip.")
    ] = None,
    timestamp: Annotated[
        str | None, typer.Option("--timestamp", metavar="TEXT", help='"YYYY-MM-DD HH:MM:SS"; now, in UTC, if left out.')
    ] = None,
    fyear: Annotated[
        str | None, typer.Option("--fyear", metavar="TEXT", help="Its fiscal year; FY and this year if left out.")
    ] = None,
    upload_date: UploadDate = None,
    checksum: Annotated[
        str | None, typer.Option("--checksum", metavar="TEXT", help="A checksum of its bytes, if known.")
    ] = None,
    etag: Annotated[str | None, typer.Option("--etag", metavar="TEXT", help="Its object's ETag, if known.")] = None,
    on_same_content: SameContent = None,
    source: Annotated[
        typer.FileBinaryRead | None,
        typer.Option(
            "--from", metavar="FILE.jsonl", help="Record what stands in this file instead, - for standard input."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would come of it; write nothing.")] = False,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Record a file, or many.

    A file becomes the next version of its file name. One that is there already keeps its version; that is no error,
    unless it is there with another checksum: then it needs another name, and the others are recorded all the same.

    Many files are recorded with --from: one JSON object a line, with the keys schema, table, file_name, file,
    file_size, s3_location and, if need be, timestamp, fyear, upload_date, checksum, etag, on_same_content. Each schema
    is one commit: its files are recorded together or not at all. Running it again is safe.
    """
    given = {
        "schema": schema,
        "table": table,
        "file_name": file_name,
        "file": file,
        "file_size": size,
        "s3_location": location,
        "timestamp": timestamp,
        "fyear": fyear,
        "upload_date": upload_date,
        "checksum": checksum,
        "etag": etag,
        "on_same_content": on_same_content,
    }
    files = [_one(given)] if source is None else _many(given, source)
    tracker = open_tracker(bucket, endpoint_url, timeout)
    outcomes: dict[int, Recorded] = {}
    try:
        _record(
            files,
            lambda some, on_recorded: tracker.record_many(some, dry_run=dry_run, on_recorded=on_recorded),
            outcomes,
        )
    finally:  # what was recorded before a later schema failed is told as well
        if outcomes or not files:
            done = [outcomes[number] for number in sorted(outcomes)]
            show(done, as_json=as_json, one=source is None, dry_run=dry_run)


def _one(given: Mapping[str, Any]) -> NewFile:
    missing = [_shown_as(name) for name in REQUIRED if given[name] is None]
    if missing:
        raise InvalidNameError(
            f"{', '.join(missing)} missing: record takes SCHEMA TABLE FILE_NAME FILE --size --location, or --from alone"
        )
    return NewFile(**{name: value for name, value in given.items() if value is not None})


def _many(given: Mapping[str, Any], source: BinaryIO) -> list[NewFile]:
    superfluous = [_shown_as(name) for name, value in given.items() if value is not None]
    if superfluous:
        raise InvalidNameError(f"--from brings everything itself: leave out {', '.join(superfluous)}")
    try:
        lines = source.read()
    except OSError as error:
        name = "standard input" if source.name in (0, "<stdin>") else source.name  # its descriptor, if it was closed
        raise LocalFileError(f"{name} cannot be read: {error.strerror}; nothing was recorded") from error
    return new_files(lines)


def _shown_as(name: str) -> str:
    if name in _SHOWN_AS:
        return _SHOWN_AS[name]
    return name.upper() if name in REQUIRED else f"--{name.replace('_', '-')}"


def _record(files: list[NewFile], commit: Commit, outcomes: dict[int, Recorded]) -> None:
    """Record one schema after the other, and note the outcome of each file under its number.

    Files that fail by their own fault keep no other from being recorded; their errors are raised in the end.
    """
    failures: list[TrackerError] = []
    for schema in dict.fromkeys(new.schema for new in files):
        numbers = [number for number, new in enumerate(files) if new.schema == schema]
        recorded: list[Recorded] = []
        try:
            commit([files[number] for number in numbers], recorded.append)
        except (DifferentContentError, SameContentError) as error:
            failures += error.failures or (error,)
        outcomes.update(zip(numbers, recorded, strict=True))
    if failures:
        raise joined(failures)


def show(outcomes: list[Recorded], *, as_json: bool, one: bool, dry_run: bool) -> None:
    """Print what came of files, or would."""
    if as_json:
        say_json(outcomes[0] if one else outcomes)
    else:
        for outcome in outcomes:
            say(_sentence(outcome, dry_run=dry_run))
    if not one:
        created = sum(outcome.created for outcome in outcomes)
        note(f"{counted(len(outcomes), 'file')}: {created} new, {len(outcomes) - created} known")


def _sentence(outcome: Recorded, *, dry_run: bool) -> str:
    name, number, twin = (
        f"{outcome.schema}/{outcome.table}/{outcome.file_name}",
        outcome.version,
        outcome.same_content_as,
    )
    if twin == number:
        return f"{name} {outcome.file}: not recorded, version {number} has the same content"
    if isinstance(outcome.other_content, str):
        return f"{name} {outcome.file}: not recorded, version {number} of that name has other content"
    present, past = ("would be created", "created") if outcome.created else ("is there already", "was there already")
    same = f", with the content of version {twin}" if twin is not None else ""
    other = f", with {outcome.other_content} bytes" if outcome.other_content is not None else ""
    return f"{name} {outcome.file}: version {number}, {present if dry_run else past}{same}{other}"
