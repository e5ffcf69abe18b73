"""Uploading beside plain boto3: the memory and the time of one large file, and the requests of many small ones.

    python benchmarks/upload.py --server ceph --markdown benchmarks/results/upload.md

Each upload runs in a process of its own, whose peak of memory is the kernel's (`VmHWM`). Plain boto3 is what it offers
for the same work, through a client of the same settings: `upload_file` for the large file, `put_object` in as many
threads for the small ones. It asks nothing first, overwrites what is there, and records nothing; a file's SHA-256 it
leaves to others. Many small files are uploaded in turns, several times, and the median of each is taken. That a store
other than AWS's is examined, once a process, is left out.

Server and client share this machine, so ratios of one run are what counts.
"""

import argparse
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.tracker import Tracker
from cf_data_tracker.upload import NewUpload
from racing.places import SERVERS, Place, make_bucket, serving
from servers import ceph

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe

MIB: Final = 1 << 20
SCHEMA: Final = "vitals"
THREADS: Final = 8
SMALL: Final = (1 << 10, 1 << 20)
"""Bytes of the least and of the largest of the small files."""
MEMORY_LIMIT: Final = 200
"""MiB that an upload may take at its peak, whatever the size of the file."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be uploaded, and where to.

    Attributes:
        access: The bucket.
        paths: The files.
        table: Where they are recorded, and a part of their keys.
    """

    access: Access
    paths: Sequence[Path]
    table: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What an upload took.

    Attributes:
        seconds: From the first request to the last answer.
        before: MiB of the process before, with a client open.
        peak: MiB of the process at its peak.
        requests: Requests, by kind, where they were counted; `upload` is one for each file.
        commits: Commits of the document.
    """

    seconds: float
    before: float
    peak: float
    requests: Mapping[str, int] = field(default_factory=dict)
    commits: int = 0


Uploading = Callable[[Job], Measured]


def ours(job: Job) -> Measured:
    """Upload and record; return the requests and the commits."""
    uploads = [NewUpload(path_or_file=path, schema=SCHEMA, table=job.table, file_name="FY2023") for path in job.paths]
    connection = Connection(job.access, patience=Patience(seconds=600.0))
    connection.prove()
    before = _memory("VmRSS")
    tracker = Tracker.over(connection)
    begun = time.perf_counter()
    tracker.upload_many(uploads, workers=THREADS)
    seconds = time.perf_counter() - begun
    return Measured(
        seconds=seconds,
        before=before,
        peak=_memory("VmHWM"),
        requests=tracker.stats.requests,
        commits=tracker.stats.commits,
    )


def boto3_large(job: Job) -> Measured:
    """Upload by boto3's own transfer manager."""
    with closing(open_client(job.access)) as client:
        client.head_bucket(Bucket=job.access.bucket)
        before = _memory("VmRSS")
        begun = time.perf_counter()
        for path in job.paths:
            client.upload_file(str(path), job.access.bucket, f"{SCHEMA}/{job.table}/FY2023/{path.name}")
        seconds = time.perf_counter() - begun
    return Measured(seconds=seconds, before=before, peak=_memory("VmHWM"))


def boto3_small(job: Job) -> Measured:
    """Put each file by one request, in threads."""
    with closing(open_client(job.access)) as client, ThreadPoolExecutor(THREADS) as pool:

        def put(path: Path) -> None:
            key = f"{SCHEMA}/{job.table}/FY2023/{path.name}"
            client.put_object(Bucket=job.access.bucket, Key=key, Body=path.read_bytes())

        client.head_bucket(Bucket=job.access.bucket)
        before = _memory("VmRSS")
        begun = time.perf_counter()
        list(pool.map(put, job.paths))
        seconds = time.perf_counter() - begun
    return Measured(seconds=seconds, before=before, peak=_memory("VmHWM"))


def measured(uploading: Uploading, job: Job) -> Measured:
    """Run an upload in a process of its own.

    Raises:
        EOFError: It failed, and has said why.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_measure, args=(uploading, job, there))
    process.start()
    there.close()
    with closing(here):
        result: Measured = here.recv()
    process.join()
    return result


def _measure(uploading: Uploading, job: Job, pipe: "Pipe") -> None:
    pipe.send(uploading(job))


def _memory(what: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def run_large(access: Access, folder: Path, mebibytes: int) -> tuple[Measured, Measured]:
    """Upload one large file, which takes no room on this disk, by ours and by boto3."""
    path = folder / "large.bin"
    path.touch()
    os.truncate(path, mebibytes * MIB)
    results = [
        measured(uploading, Job(access=access, paths=[path], table=f"large_{uploading.__name__}"))
        for uploading in (ours, boto3_large)
    ]
    return results[0], results[1]


def run_small(access: Access, folder: Path, files: int, rounds: int) -> tuple[Measured, Measured]:
    """Upload many small files in turns, and return the median of each."""
    dice = random.Random(5)
    paths = [folder / f"{number:04}.zip" for number in range(files)]
    for path in paths:
        path.write_bytes(dice.randbytes(int(SMALL[0] * (SMALL[1] / SMALL[0]) ** dice.random())))
    runs = [
        [
            measured(uploading, Job(access=access, paths=paths, table=f"small_{uploading.__name__}_{number}"))
            for uploading in (ours, boto3_small)
        ]
        for number in range(rounds)
    ]
    by_time = [sorted(column, key=lambda one: one.seconds) for column in zip(*runs, strict=True)]
    return by_time[0][rounds // 2], by_time[1][rounds // 2]


def report(options: argparse.Namespace, place: Place, large: Sequence[Measured], small: Sequence[Measured]) -> str:
    """Return the tables, with how they came about."""
    asked = small[0].requests
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(asked.items(), key=lambda pair: -pair[1]))
    return "\n".join(
        [
            f"{place.version}, Python {platform.python_version()}, {os.cpu_count()} cores for server and client.",
            "",
            f"| one file of {options.mebibytes:,} MiB | seconds | MiB before | MiB at the peak |",
            "|---|---|---|---|",
            _row("`tracker.upload`", large[0], f"{large[0].before:.0f}", f"{large[0].peak:.0f}"),
            _row("boto3's `upload_file`", large[1], f"{large[1].before:.0f}", f"{large[1].peak:.0f}"),
            f"| ratio | {large[0].seconds / large[1].seconds:.2f} | | {large[0].peak / large[1].peak:.2f} |",
            "",
            f"| {options.files} files of 1 KiB to 1 MiB, {THREADS} at once | seconds | requests | commits |",
            "|---|---|---|---|",
            _row("`tracker.upload_many`", small[0], told, str(small[0].commits)),
            _row("boto3's `put_object`", small[1], f"{options.files} put", ""),
            _ratios(f"medians of {options.rounds}", small, sum(asked.values()) / options.files),
            "",
        ]
    )


def _ratios(of: str, pair: Sequence[Measured], requests: float) -> str:
    return f"| ratio ({of}) | {pair[0].seconds / pair[1].seconds:.2f} | {requests:.2f} | |"


def _row(what: str, one: Measured, *cells: str) -> str:
    return f"| {' | '.join([what, f'{one.seconds:.1f}', *cells])} |"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", choices=SERVERS, default="ceph" if ceph.missing() is None else "embedded")
    parser.add_argument("--mebibytes", type=int, default=2048, help="of the large file (default 2048)")
    parser.add_argument("--files", type=int, default=500, help="small ones (default 500)")
    parser.add_argument("--rounds", type=int, default=3, help="of the small files (default 3)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there, too")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run all, and return 5 if the large file took more memory than it may."""
    options = arguments(words)
    _give_room(8 << 30)
    with (
        tempfile.TemporaryDirectory(prefix="upload-") as scratch,
        serving(options.server, Path(scratch, "server")) as place,
    ):
        access = Access(
            bucket="raw",
            endpoint_url=place.endpoint_url,
            region=place.region,
            access_key=place.access_key,
            secret_key=place.secret_key,
            request_timeout=600.0,
        )
        make_bucket(place, "raw")
        small = run_small(access, Path(scratch), options.files, options.rounds)
        large = run_large(access, Path(scratch), options.mebibytes)
        text = report(options, place, large, small)
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    return 0 if large[0].peak < MEMORY_LIMIT else 5


def _give_room(wanted: int) -> None:
    """Let Ceph keep more than the 2 GiB in memory that tests need."""
    told = ceph._CONFIGURATION  # noqa: SLF001 - tests have no use for an option
    ceph._CONFIGURATION = told.replace("device bytes = 2147483648", f"device bytes = {wanted}")  # noqa: SLF001 - as above


if __name__ == "__main__":
    sys.exit(main())
