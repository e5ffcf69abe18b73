"""`upload`: files from here into the bucket and into the tracker. What is sent, and when, is for `upload` to say."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from cf_data_tracker.cli.options import (
    AsJson,
    Bucket,
    EndpointUrl,
    FileName,
    SameContent,
    Schema,
    Table,
    Timeout,
    UploadDate,
    open_tracker,
)
from cf_data_tracker.cli.output import counted, note
from cf_data_tracker.cli.recording import show
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import Recorded


def upload(  # noqa: PLR0913 - one parameter an option
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="The files.", show_default=False)],
    schema: Schema,
    table: Table,
    file_name: FileName,
    *,
    file: Annotated[
        str | None, typer.Option("--file", metavar="NAME", help="What to record it as; the last part of its path.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Where to put it; SCHEMA/TABLE/FILE_NAME/FILE.")
    ] = None,
    fyear: Annotated[
        str | None, typer.Option("--fyear", metavar="TEXT", help="The fiscal year; FY and this year if left out.")
    ] = None,
    upload_date: UploadDate = None,
    on_same_content: SameContent = None,
    workers: Annotated[int, typer.Option("--workers", min=1, max=256, help="Files that are sent at once.")] = 8,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would come of it; send nothing.")] = False,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Upload files, and record them as versions of a file name.

    A file that is recorded already is not sent again. One that is in the bucket, with the same bytes, is recorded.
    Where other bytes are under its name, that is an error, and nothing is overwritten; the other files are uploaded
    and recorded all the same, and each that failed is named. All is recorded together, in one commit for up to 200
    files. Running it again after any failure does the rest.
    """
    from cf_data_tracker.upload import NewUpload  # noqa: PLC0415 - --help does without

    if len(paths) > 1 and (file or key):
        raise InvalidNameError("--file and --key are for one file: upload others by themselves")
    if os.path.isfile(file_name) and not os.path.exists(paths[0]):  # noqa: PTH110, PTH113 - as in _size
        raise InvalidNameError("the files come first: upload PATH... SCHEMA TABLE FILE_NAME")
    for name in (schema, table):
        if os.path.isfile(name):  # noqa: PTH113 - as in _size
            raise InvalidNameError(f"{name} is a file here: one of SCHEMA TABLE FILE_NAME is missing after the files")
    uploads = [
        NewUpload(
            path_or_file=path,
            schema=schema,
            table=table,
            file_name=file_name,
            file=file or "",
            key=key or "",
            fyear=fyear,
            upload_date=upload_date,
            on_same_content=on_same_content or "record",
        )
        for path in paths
    ]
    tracker = open_tracker(bucket, endpoint_url, timeout)
    done: list[Recorded] = []
    try:
        with _progress(paths, shown=not dry_run) as (sent, recorded):
            done = tracker.upload_many(
                uploads, workers=workers, on_progress=sent, on_recorded=recorded(done), dry_run=dry_run
            )
    except KeyboardInterrupt:
        note("interrupted: the same command does the rest")
        raise
    finally:  # what was recorded before another failed is told as well; several files are a list in JSON, if of none
        if done or (as_json and len(paths) > 1):
            show(done, as_json=as_json, one=len(paths) == 1, dry_run=dry_run)


Told = tuple[Callable[[int], object], Callable[[list[Recorded]], Callable[[Recorded], object]]]


@contextmanager
def _progress(paths: Sequence[str], *, shown: bool) -> Iterator[Told]:
    """Show bars on a terminal; give what is to be told of bytes, and of files, which it adds to a list."""
    if not shown or not sys.stderr.isatty():
        yield (lambda _: None), (lambda done: done.append)
        return
    from rich.console import Console  # noqa: PLC0415 - only here, and it takes a while
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 - as above

    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,  # in the end the lines say all
    )
    with bars:
        task = bars.add_task(counted(len(paths), "file"), total=sum(map(_size, paths)))

        def recorded(done: list[Recorded]) -> Callable[[Recorded], object]:
            def tell(outcome: Recorded) -> None:
                done.append(outcome)
                bars.update(task, description=f"{len(done)} of {counted(len(paths), 'file')} recorded")

            return tell

        yield (lambda sent: bars.advance(task, sent)), recorded


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)  # noqa: PTH202 - a path need be no more than text here
    except OSError:
        return 0  # whoever uploads it says so
