"""`cf-data-tracker stress`: how a run of the stress benchmark looks.

Without an endpoint or a bucket it runs on the embedded S3. The environment alone never leads it to a real bucket.
"""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cf_data_tracker.errors import TrackerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from cf_data_tracker.connection import Connection
    from cf_data_tracker.stress import Options, Progress, Report

SHOWN_VIOLATIONS = 10
SHOWN_FAILURES = 5


def stress(  # noqa: PLR0913, PLR0917 - one parameter an option
    workers: Annotated[int, typer.Option(min=1, max=512, help="Workers that record at once.")] = 8,
    files: Annotated[int, typer.Option(min=1, help="Files that each worker records.")] = 25,
    strategy: Annotated[
        str,
        typer.Option(
            help="combining: as the library does, where workers commit for each other. cas: conditional writes, each "
            "worker for itself. unsafe: read, change, put back blindly, to see what that loses."
        ),
    ] = "combining",
    latency: Annotated[
        str,
        typer.Option(help="s3 or express: make the local S3 answer as slowly as these do. none: as it comes."),
    ] = "none",
    executor: Annotated[
        str,
        typer.Option(
            help="What the workers are: processes, threads that share one connection, or jobs of a dask cluster at "
            "dask://host:port."
        ),
    ] = "processes",
    endpoint_url: Annotated[
        str | None, typer.Option(help="A store other than AWS; credentials come from the environment.")
    ] = None,
    bucket: Annotated[
        str | None,
        typer.Option(help="The bucket to run in; its endpoint is that of the environment, if none is given."),
    ] = None,
    schema: Annotated[
        str | None, typer.Option(help="The schema to record into, which must not exist yet; a random name if left out.")
    ] = None,
    kill: Annotated[
        float, typer.Option(min=0, max=1, help="The share of the processes to end in mid-run by SIGKILL.")
    ] = 0.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which a recording gives up.")] = 120.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file as JSON; - for standard output.")
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE.html", help="Write a page with the verdict, figures and drawings."),
    ] = None,
) -> None:
    """Let workers record into one document at once, and judge whether anything was lost.

    Needs no AWS account: unless an endpoint or a bucket is named, a local S3 is started for the run. What the run
    wrote is removed at its end.
    """
    from rich.console import Console  # noqa: PLC0415 - --help should not wait for it

    from cf_data_tracker.stress import Options, run  # noqa: PLC0415 - as above
    from cf_data_tracker.stress.executors import opened  # noqa: PLC0415 - as above

    _check_places(json_file, report_file)
    given = {} if schema is None else {"schema": schema}
    options = Options(workers=workers, files=files, strategy=strategy, latency=latency, kill=kill, **given)
    _check_latency(options, endpoint_url, bucket)
    with (
        opened(executor, workers) as pool,
        _connection(endpoint_url, bucket, timeout) as connection,
        _shown(Console(stderr=True), options) as on_progress,
    ):
        report = run(connection, options, on_progress, pool)
    _print(report, Console(stderr=json_file == Path("-")))
    if json_file is not None:
        _write_json(report, json_file)
    if report_file is not None:
        _write_page(report, report_file)
    raise typer.Exit(_exit_code(report))


@contextmanager
def _connection(endpoint_url: str | None, bucket: str | None, timeout: float) -> "Iterator[Connection]":
    from cf_data_tracker.connection import Connection  # noqa: PLC0415 - as above
    from cf_data_tracker.embedded import running  # noqa: PLC0415 - as above
    from cf_data_tracker.engine.retry import Patience  # noqa: PLC0415 - as above
    from cf_data_tracker.settings import Access, environment, raw_access  # noqa: PLC0415 - as above

    patience = Patience(seconds=timeout)
    if endpoint_url is not None or bucket is not None:
        yield Connection(raw_access(environment(), bucket, endpoint_url), patience=patience)
        return
    with running(["stress"]) as server:
        access = Access(
            bucket="stress",
            endpoint_url=server.endpoint_url,
            region=server.region,
            access_key=server.access_key,
            secret_key=server.secret_key,
        )
        yield Connection(access, patience=patience)


@contextmanager
def _shown(console: "Console", options: "Options") -> "Iterator[Callable[[Progress], None]]":
    """Show a progress bar while the run goes on; nothing where nobody looks."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415 - as above
    from rich.progress import Progress as Bar  # noqa: PLC0415 - as above

    total = options.workers * options.files
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("starting", total=options.workers, note="")

        def on_progress(progress: "Progress") -> None:
            recording = progress.phase == "recording"
            bar.update(
                task,
                description=progress.phase,
                total=total if recording else options.workers,
                completed=progress.acknowledged if recording else progress.ready,
                note=f"{progress.conflicts} conflicts, {progress.failed} failed, {progress.killed} killed"
                if recording
                else "",
            )

        yield on_progress


def _print(report: "Report", console: "Console") -> None:
    from rich.table import Table  # noqa: PLC0415 - as above

    from cf_data_tracker.stress.words import rows  # noqa: PLC0415 - as above

    options = report.options
    table = Table(title=f"{options.workers} workers x {options.files} files, strategy {options.strategy}")
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_row("store", report.endpoint)
    for measure, value in rows(report):
        table.add_row(measure, value)
    console.print(table)
    for line in _verdict_lines(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _verdict_lines(report: "Report") -> "Iterator[str]":
    from cf_data_tracker.stress.words import failure, reasons, verdict  # noqa: PLC0415 - as above

    for failed in report.failed[:SHOWN_FAILURES]:
        yield f"failed: {failure(failed)}"
    if len(report.failed) > SHOWN_FAILURES:
        yield f"... and {len(report.failed) - SHOWN_FAILURES} more failures"
    violations = report.verdict.violations
    for violation in violations[:SHOWN_VIOLATIONS]:
        yield f"wrong: {violation}"
    if len(violations) > SHOWN_VIOLATIONS:
        yield f"... and {len(violations) - SHOWN_VIOLATIONS} more"
    yield f"Verdict: {verdict(report)}. {reasons(report)}"


def _check_places(json_file: Path | None, report_file: Path | None) -> None:
    # A run takes a while: that its figures have no place to go is told before it.
    if json_file != Path("-"):
        _check_writable(json_file, "--json")
    _check_writable(report_file, "--report")


def _check_writable(path: Path | None, option: str) -> None:
    if path is not None and (path == Path("-") or path.is_dir() or not path.parent.is_dir()):
        raise typer.BadParameter(f"{path} is no file that can be written", param_hint=f"'{option}'")


def _check_latency(options: "Options", endpoint_url: str | None, bucket: str | None) -> None:
    if options.latency != "none" and (endpoint_url is not None or bucket is not None):
        raise typer.BadParameter(
            "only the local S3 can be made slow, and a store of your own takes the time that it takes; leave "
            "--latency out, or --endpoint-url and --bucket",
            param_hint="'--latency'",
        )


def _write_json(report: "Report", path: Path) -> None:
    text = json.dumps(report.as_json(), indent=2) + "\n"
    if path == Path("-"):
        typer.echo(text, nl=False)
    else:
        _put(path, text)


def _write_page(report: "Report", path: Path) -> None:
    from cf_data_tracker.stress.page import page  # noqa: PLC0415 - as above

    _put(path, page(report, _made_with()))


def _put(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TrackerError(f"{path} cannot be written: {error.strerror}; the verdict above stands") from error


def _made_with() -> dict[str, str]:
    import os  # noqa: PLC0415 - only here, as all of these
    import platform  # noqa: PLC0415 - as above
    from datetime import datetime, timezone  # noqa: PLC0415 - as above

    from cf_data_tracker.installed import OURS, release  # noqa: PLC0415 - as above

    return {
        OURS: release(),
        "boto3": release("boto3"),
        "Python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "ended": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",  # noqa: TID251 - a face: here time comes in
    }


def _exit_code(report: "Report") -> int:
    if not report.verdict.clean:
        return 5
    timed_out = {"ContentionError", "OutcomeUnknownError"}
    kinds = {failed.kind for failed in report.failed}
    if kinds:
        return 4 if kinds <= timed_out else 1
    return 1 if report.died else 0
