"""This project beside others that commit to S3 by optimistic concurrency: one server, one machine, the same work.

    python benchmarks/peers.py --workers 32 --latency both --markdown docs/peers.md

Worker processes record files of their own, one after the other, in one document, table or branch. All are started,
have read once and wait when the word is given. Requests are counted by a proxy before the server, which with
`--latency s3` also holds each back for as long as S3 takes. At the end the runner reads what is stored.

Servers, workers and proxy share this machine: where its cores are busy all the time, they are what was measured. Ratios
of one run are what counts. The contestants are in `contestants/`, one file each, the line-up in `lineup.py`.
"""

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cf_data_tracker.errors import TrackerError
from cf_data_tracker.stress.slowed import Slowed, slowed
from contestants.harness import GIVE_UP_SECONDS, Job
from contestants.lineup import LINEUP, Entry
from racing.environments import BENCHMARKS, InstallError, interpreter, runtime
from racing.figures import COLUMNS, LEGEND, Measured, Row, cells, figures, known, markdown, remarks, tables, title
from racing.meters import BusyMeter, cpu_seconds, memory_bytes
from racing.places import SERVERS, Place, PlaceError, make_bucket, serving
from racing.race import RaceError, Team, race

LATENCIES = ("none", "s3")
MAX_WORKERS = 512
BROKEN_OFF = 130  # as shells have it for Ctrl-C
WIDTH = 140  # characters, where the output is no terminal
NAMES = [entry.name for entry in LINEUP]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run.

    Attributes:
        workers: Worker processes.
        files: Files that each records.
        servers: Which servers.
        latencies: Which latencies: `none` is the bare server behind a proxy that only counts.
        entries: Which contestants.
        time_limit: Seconds after which a contestant is stopped.
    """

    workers: int
    files: int
    servers: Sequence[str]
    latencies: Sequence[str]
    entries: Sequence[Entry]
    time_limit: float


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line, with `options` made of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=_between(1, MAX_WORKERS), default=32, help="processes (default 32)")
    parser.add_argument("--files", type=_between(1, 100_000), default=10, help="files that each records (default 10)")
    parser.add_argument("--server", choices=(*SERVERS, "both"), default="both")
    parser.add_argument("--latency", choices=(*LATENCIES, "both"), default="both", help="none only counts requests")
    parser.add_argument("--only", type=_entries, default=LINEUP, metavar="NAME,...", help=", ".join(NAMES))
    parser.add_argument(
        "--time-limit",
        type=_between(1, 86_400),
        default=120,
        metavar="SECONDS",
        help="for each contestant on each server, after which it is stopped (default 120)",
    )
    parser.add_argument("--out", type=_file, default=BENCHMARKS / "results" / "peers.json", metavar="FILE")
    parser.add_argument("--markdown", type=_file, metavar="FILE", help="write the tables there, too")
    parsed = parser.parse_args(words)
    parsed.options = Options(
        workers=parsed.workers,
        files=parsed.files,
        servers=SERVERS if parsed.server == "both" else (parsed.server,),
        latencies=LATENCIES if parsed.latency == "both" else (parsed.latency,),
        entries=parsed.only,
        time_limit=parsed.time_limit,
    )
    return parsed


def run(server: str, options: Options, console: Console) -> Iterator[Row]:
    """Run all races on one server; yield a row as each ends.

    Raises:
        PlaceError: The server could not be started.
    """
    with tempfile.TemporaryDirectory(prefix="peers-") as scratch, serving(server, Path(scratch, "server")) as place:
        for number, (latency, entry) in enumerate(itertools.product(options.latencies, options.entries)):
            what = {"contestant": entry.name, "server": server, "server_version": place.version, "latency": latency}
            console.print(f"{place.version}, latency {latency}: {entry.title} ...", style="dim")
            directory = Path(scratch, str(number))
            directory.mkdir()
            yield {**what, **_row(entry, place, latency, options, directory)}


def _row(entry: Entry, place: Place, latency: str, options: Options, directory: Path) -> Row:
    try:
        team = Team(
            python=interpreter(entry),
            module=entry.module,
            environment=runtime(os.environ),
            log=directory / "log",
        )
        with slowed(place.endpoint_url, latency) as front:
            return _raced(entry, team, _Meters(place, front), _job(entry, place, options, directory), options)
    except (InstallError, RaceError, TrackerError) as error:
        return {"title": entry.title, "problem": str(error)}


def _raced(entry: Entry, team: Team, meters: "_Meters", job: Job, options: Options) -> Row:
    fronted = replace(job, endpoint_url=meters.front.endpoint_url)
    packages = team.ask("prepare", fronted)
    jobs = [replace(fronted, worker=number) for number in range(options.workers)]
    heard = race(team, jobs, options.time_limit, meters.begin)
    row = figures(heard, meters.end(), team.ask("stored", job))
    return {"title": title(entry, packages), "packages": known(entry, packages), **row}


class _Meters:
    """What is measured beside a race."""

    def __init__(self, place: Place, front: Slowed) -> None:
        self.front = front
        self._pids = place.pids
        self._busy = BusyMeter()

    def begin(self) -> None:
        """Begin, as the word is given."""
        self._requests, self._cpu = self.front.requests(), cpu_seconds(self._pids)
        self._busy.begin()

    def end(self) -> Measured:
        """Return what was measured since."""
        return Measured(
            busy=self._busy.end(),
            server_cpu=cpu_seconds(self._pids) - self._cpu,
            requests={kind: count - self._requests[kind] for kind, count in self.front.requests().items()},
        )


def _job(entry: Entry, place: Place, options: Options, directory: Path) -> Job:
    bucket = f"peers-{entry.name}-{directory.name}"
    make_bucket(place, bucket)
    return Job(
        endpoint_url=place.endpoint_url,
        bucket=bucket,
        access_key=place.access_key,
        secret_key=place.secret_key,
        region=place.region,
        directory=str(directory),
        files=options.files,
    )


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_bytes() / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def settings(options: Options) -> dict[str, Any]:
    """Return what was asked for."""
    return {
        "workers": options.workers,
        "files": options.files,
        "time_limit_seconds": options.time_limit,
        "give_up_seconds": GIVE_UP_SECONDS,
    }


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the tables."""
    for name, of_one in tables(rows).items():
        table = Table(title=name, title_justify="left")
        for number, column in enumerate(COLUMNS):
            table.add_column(column, justify="right" if number else "left", overflow="fold")
        for row in of_one:
            table.add_row(*cells(row))
        console.print(table)
        for remark in remarks(of_one):
            console.print(remark, style="yellow", markup=False)
    console.print(LEGEND, style="dim")


def main() -> int:
    """Run, print the tables and write the files; return 1 where a server could not be started."""
    parsed = arguments()
    options: Options = parsed.options
    notes = Console(stderr=True)
    results: dict[str, Any] = {"machine": machine(), "settings": settings(options), "packages": {}, "rows": []}
    started = 0
    try:
        for server in options.servers:
            started += _run_into(results, server, parsed, notes)
    except KeyboardInterrupt:
        notes.print("broken off; what was measured was kept", style="red")
        return BROKEN_OFF
    finally:
        show(results["rows"], Console(width=None if sys.stdout.isatty() else WIDTH))
    return int(started < len(options.servers))


def _run_into(results: dict[str, Any], server: str, parsed: argparse.Namespace, notes: Console) -> bool:
    """Add the rows of one server to the results; tell whether it could be started."""
    try:
        for row in run(server, parsed.options, notes):
            results["packages"].setdefault(row["contestant"], {}).update(row.pop("packages", {}))
            results["rows"].append(row)
            notes.print("  ".join(cells(row)), markup=False)
            write(results, parsed.out, parsed.markdown)  # after each: what was measured outlives a run broken off
    except PlaceError as error:
        notes.print(str(error), style="red", markup=False)
        return False
    return True


def write(results: dict[str, Any], out: Path, page: Path | None) -> None:
    """Write the results as JSON, and as a page if one is wanted."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n")
    if page:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(markdown(results))


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"must be a number from {least} to {most}, got {text!r}")
        return int(text)

    return number


def _entries(text: str) -> tuple[Entry, ...]:
    wanted = [name.strip() for name in text.split(",")]
    known = {entry.name for entry in LINEUP}
    for name in wanted:
        if name not in known:
            raise argparse.ArgumentTypeError(f"there is no contestant {name!r}: name some of {', '.join(NAMES)}")
    return tuple(entry for entry in LINEUP if entry.name in wanted)


def _file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or any(parent.exists() and not parent.is_dir() for parent in path.parents):
        raise argparse.ArgumentTypeError(f"{text!r} is no file that can be written")
    return path


if __name__ == "__main__":
    sys.exit(main())
