"""`cf-data-tracker stress`: how a run of the stress benchmark looks.

Without an endpoint or a bucket it runs on the embedded S3. The environment alone never leads it to a real bucket.
"""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from cf_data_tracker.connection import Connection
    from cf_data_tracker.stress import Options, Progress, Report

SHOWN_VIOLATIONS = 10
SHOWN_FAILURES = 5


def stress(  # noqa: PLR0913, PLR0917 - one parameter an option
    workers: Annotated[int, typer.Option(min=1, max=512, help="Worker processes.")] = 8,
    files: Annotated[int, typer.Option(min=1, help="Files that each worker records.")] = 25,
    strategy: Annotated[
        str,
        typer.Option(help="cas: conditional writes. unsafe: read, change, put back blindly, to see what that loses."),
    ] = "cas",
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
        float, typer.Option(min=0, max=1, help="The share of the workers to end in mid-run by SIGKILL.")
    ] = 0.0,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which a recording gives up.")] = 120.0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file as JSON; - for standard output.")
    ] = None,
) -> None:
    """Let worker processes record into one document at once, and judge whether anything was lost.

    Needs no AWS account: unless an endpoint or a bucket is named, a local S3 is started for the run. What the run
    wrote is removed at its end.
    """
    from rich.console import Console  # noqa: PLC0415 - --help should not wait for it

    from cf_data_tracker.stress import Options, run  # noqa: PLC0415

    _check_writable(json_file)
    given = {} if schema is None else {"schema": schema}
    options = Options(workers=workers, files=files, strategy=strategy, kill=kill, **given)
    progress = Console(stderr=True)
    with _connection(endpoint_url, bucket, timeout) as connection, _shown(progress, options) as on_progress:
        report = run(connection, options, on_progress)
    _print(report, Console(stderr=json_file == Path("-")))
    if json_file is not None:
        _write_json(report, json_file)
    raise typer.Exit(_exit_code(report))


@contextmanager
def _connection(endpoint_url: str | None, bucket: str | None, timeout: float) -> "Iterator[Connection]":
    from cf_data_tracker.connection import Connection  # noqa: PLC0415
    from cf_data_tracker.embedded import running  # noqa: PLC0415
    from cf_data_tracker.engine.commit import Patience  # noqa: PLC0415
    from cf_data_tracker.settings import Access, environment, raw_access  # noqa: PLC0415

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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

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
    from rich.table import Table  # noqa: PLC0415

    options = report.options
    table = Table(title=f"{options.workers} workers x {options.files} files, strategy {options.strategy}")
    table.add_column("measure")
    table.add_column("value", justify="right")
    for measure, value in _rows(report):
        table.add_row(measure, value)
    console.print(table)
    for line in _verdict_lines(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _rows(report: "Report") -> "Iterator[tuple[str, str]]":
    yield "store", report.endpoint
    yield "recordings acknowledged", f"{len(report.acknowledged)} in {report.seconds:.2f} s"
    yield "throughput", f"{report.per_second:.1f} recordings/s"
    for name, percent in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
        yield f"latency {name}", f"{report.latency(percent) * 1000:.1f} ms"
    yield "attempts per recording", f"{report.per_recording('writes'):.2f}"
    yield "requests per recording", f"{report.per_recording('requests'):.2f}"
    yield "conflicts", str(sum(done.conflicts for done in report.acknowledged))
    yield "versions in the document", str(report.versions)
    yield "failed / killed / died", f"{len(report.failed)} / {report.killed} / {report.died}"
    yield "lost", str(report.verdict.lost)
    yield "duplicated", str(report.verdict.duplicated)


def _verdict_lines(report: "Report") -> "Iterator[str]":
    for failed in report.failed[:SHOWN_FAILURES]:
        yield f"failed: worker {failed.worker}, {failed.file}: {failed.kind}: {failed.message}"
    if len(report.failed) > SHOWN_FAILURES:
        yield f"... and {len(report.failed) - SHOWN_FAILURES} more failures"
    verdict = report.verdict
    if verdict.clean:
        yield (
            "Verdict: clean. Every acknowledged recording is there once under its number, numbers are dense, "
            "each file was created once, and the order is that of real time."
        )
        if report.failed:
            yield f"But {len(report.failed)} recordings failed, as told above."
        return
    for violation in verdict.violations[:SHOWN_VIOLATIONS]:
        yield f"wrong: {violation}"
    if len(verdict.violations) > SHOWN_VIOLATIONS:
        yield f"... and {len(verdict.violations) - SHOWN_VIOLATIONS} more"
    yield (
        f"Verdict: NOT clean. {verdict.lost} acknowledged files were lost, {verdict.duplicated} are there twice, "
        f"{len(verdict.violations)} violations in all."
    )


def _check_writable(path: Path | None) -> None:
    # A run takes a while: that its figures have no place to go is told before it.
    if path is not None and path != Path("-") and (path.is_dir() or not path.parent.is_dir()):
        raise typer.BadParameter(f"{path} is no file that can be written", param_hint="'--json'")


def _write_json(report: "Report", path: Path) -> None:
    text = json.dumps(report.as_json(), indent=2) + "\n"
    if path == Path("-"):
        typer.echo(text, nl=False)
    else:
        path.write_text(text, encoding="utf-8")


def _exit_code(report: "Report") -> int:
    if not report.verdict.clean:
        return 5
    timed_out = {"ContentionError", "OutcomeUnknownError"}
    kinds = {failed.kind for failed in report.failed}
    if kinds:
        return 4 if kinds <= timed_out else 1
    return 1 if report.died else 0
