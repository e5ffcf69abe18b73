"""Sweeps beside workers that claim, write, record and reprocess under the same keys, on the embedded S3.

    python benchmarks/sweep.py                    a minute, with 8 workers
    python benchmarks/sweep.py --seconds 5 --workers 2

Each worker claims a version, writes new bytes under keys that all of them share, and records them, each in one of six
forms of its name; then it has a version cleaned again. One process sweeps all the time, with an `older_than` of a
millisecond. A check with boto3 alone reads the document and looks at each object that a record names. It ends with 1 if
one was missing while a record named it.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

import boto3

from cf_data_tracker import CleanTracker, Tracker
from cf_data_tracker.embedded import EmbeddedS3, running
from cf_data_tracker.errors import ClaimLostError, TrackerError

if TYPE_CHECKING:
    import threading
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

    from mypy_boto3_s3.client import S3Client

SCHEMA: Final = "vitals"
DOCUMENT: Final = f"{SCHEMA}/{SCHEMA}_clean_version_info.json"
FILE_NAMES: Final = [f"FY{2000 + number}" for number in range(4)]
SHARED: Final = [f"{SCHEMA}/shared/{number}/p.parquet" for number in range(6)]
OLDER_THAN: Final = 0.001
"""Seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        recorded: How many records were made.
        reprocessed: How often a version was to be cleaned again.
        sweeps: How many sweeps there were.
        deleted: How many files they deleted.
        left: Why others stayed, and how often.
        looks: How often the check looked at an object.
        missing: Objects that were missing while a record named them.
        failed: Errors that nothing explains.
    """

    recorded: int
    reprocessed: int
    sweeps: int
    deleted: int
    left: dict[str, int]
    looks: int
    missing: tuple[str, ...]
    failed: tuple[str, ...]


class Start:
    """Begins the work of all processes at one moment, and ends it after so many seconds.

    Args:
        seconds: How long they go on.
        barrier: Where they wait for each other.
    """

    def __init__(self, seconds: float, barrier: "Barrier | threading.Barrier") -> None:
        self._seconds = seconds
        self._barrier = barrier
        self._end = 0.0

    def wait(self) -> None:
        """Wait for the others."""
        self._barrier.wait(120)
        self._end = time.monotonic() + self._seconds

    def goes_on(self) -> bool:
        """Return whether the time is not up."""
        return time.monotonic() < self._end


def forms(key: str, endpoint_url: str) -> list[str]:
    """Return six names of an object."""
    folder = key.rpartition("/")[0]
    return [key, f"/{key}", f"s3://clean/{key}", f"S3://clean/{key}", f"{endpoint_url}/clean/{key}", f"{folder}/"]


def key_of(name: str, endpoint_url: str) -> str:
    """Return the key of an object by any of its six names; this does not use what is tested."""
    for prefix in ("s3://clean/", "S3://clean/", f"{endpoint_url}/clean/", "/"):
        name = name.removeprefix(prefix)
    return f"{name}p.parquet" if name.endswith("/") else name


class Files(Protocol):
    """The objects of the clean bucket, asked for without what is tested."""

    @property
    def endpoint_url(self) -> str:
        """The endpoint."""

    def put(self, key: str, body: bytes) -> object:
        """Write an object."""

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, `None` where there is none."""

    def has(self, key: str) -> bool:
        """Return whether there is an object."""


class PlainFiles:
    """Files by boto3 alone. It may be pickled; each process has a client of its own.

    Args:
        server: The server.
    """

    def __init__(self, server: EmbeddedS3) -> None:
        self._server = server

    @property
    def endpoint_url(self) -> str:
        """The endpoint."""
        return self._server.endpoint_url

    @cached_property
    def _client(self) -> "S3Client":
        return boto3.client(
            "s3",
            endpoint_url=self._server.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=self._server.access_key,
            aws_secret_access_key=self._server.secret_key,
        )

    def put(self, key: str, body: bytes) -> None:
        """PUT an object."""
        self._client.put_object(Bucket="clean", Key=key, Body=body)

    def get(self, key: str) -> bytes | None:
        """GET an object."""
        try:
            return self._client.get_object(Bucket="clean", Key=key)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None

    def has(self, key: str) -> bool:
        """HEAD an object."""
        try:
            self._client.head_object(Bucket="clean", Key=key)
        except self._client.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:  # noqa: PLR2004 - not found
                return False
            raise
        return True


def tracker_of(server: EmbeddedS3) -> CleanTracker:
    """Return a clean tracker."""
    return CleanTracker(
        "raw",
        "clean",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )


def work(clean: CleanTracker, files: Files, start: Start, number: int, results: "Queue[Any]") -> None:
    """Claim, write, record, and have it cleaned again, until the time is up."""
    chance = random.Random(number)
    counts: Counter[str] = Counter()
    start.wait()
    try:
        while start.goes_on():
            claims = clean.claim(SCHEMA, lease=120)
            for claim in claims:
                mine = f"{SCHEMA}/own/{claim.raw.file_name}/{claim.fence}.parquet"
                keys = [mine, *chance.sample(SHARED, chance.randrange(3))]
                for key in keys:
                    files.put(key, os.urandom(16))
                time.sleep(chance.random() ** 3 / 2)  # noqa: TID251 - work takes time, in which sweeps go on
                shared = [chance.choice(forms(key, files.endpoint_url)) for key in keys[1:]]
                try:
                    clean.record(claim, [mine, *shared])
                    counts["recorded"] += 1
                except ClaimLostError:
                    counts["lost"] += 1
            if not claims:
                clean.reprocess(SCHEMA, "births", chance.choice(FILE_NAMES))
                counts["reprocessed"] += 1
    except TrackerError as error:
        results.put(("failed", f"worker {number}: {error!r}"))
    results.put(("counts", counts))


def sweep(clean: CleanTracker, start: Start, results: "Queue[Any]") -> None:
    """Sweep until the time is up."""
    counts: Counter[str] = Counter()
    left: Counter[str] = Counter()
    start.wait()
    try:
        while start.goes_on():
            swept = clean.sweep(SCHEMA, older_than=OLDER_THAN, dry_run=False)
            counts["sweeps"] += 1
            counts["deleted"] += sum(one.left is None for one in swept)
            left.update(_kind(one.left) for one in swept if one.left is not None)
    except TrackerError as error:
        results.put(("failed", f"sweep: {error!r}"))
    results.put(("counts", counts))
    results.put(("left", left))


def check(files: Files, start: Start, results: "Queue[Any]") -> None:
    """Look at what the records name, with boto3 alone, until the time is up."""
    looks = 0
    missing: list[str] = []
    start.wait()
    while start.goes_on():
        seen, absent = look(files)
        looks += seen
        missing += absent
    results.put(("looks", looks))
    results.put(("missing", missing))


def look(files: Files) -> tuple[int, list[str]]:
    """Return how many objects the records name, and those that are missing though the same record names them still."""
    records = records_in(files)
    absent = [(record, name) for record, name in records if not files.has(key_of(name, files.endpoint_url))]
    still = set(records_in(files)) if absent else set()
    return len(records), [f"{record}: {name}" for record, name in absent if (record, name) in still]


def records_in(files: Files) -> list[tuple[str, str]]:
    """Return each record's id with each file that it names."""
    document = json.loads(files.get(DOCUMENT) or b'{"tables": {}}')
    records = [record for table in document["tables"].values() for record in table.values()]
    return [(one["file_info"]["recorded_by"], name) for one in records for name in one["clean_files"]]


def run(seconds: float, workers: int) -> Result:
    """Let workers, a sweep and a check go on beside each other for so long, and return what came of it."""
    context = multiprocessing.get_context("spawn")
    with running() as server:
        raw = Tracker(
            "raw",
            endpoint_url=server.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
        )
        for file_name in FILE_NAMES:
            raw.record(SCHEMA, "births", file_name, "a.zip", file_size=1, s3_location=f"s3://raw/{file_name}.zip")
        files, clean = PlainFiles(server), tracker_of(server)
        for claim in clean.claim(SCHEMA):  # examines the store once, for all processes
            clean.release(claim)
        results: Queue[Any] = context.Queue()
        start = Start(seconds, context.Barrier(workers + 2))
        tasks: list[tuple[Any, tuple[Any, ...]]] = [
            *((work, (clean, files, start, number, results)) for number in range(workers)),
            (sweep, (clean, start, results)),
            (check, (files, start, results)),
        ]
        processes = [context.Process(target=task, args=arguments, daemon=True) for task, arguments in tasks]
        for process in processes:
            process.start()
        told = list(_all_of(results, processes, seconds + 120))
        _, missing = look(files)
    return result_of(told, missing)


def _all_of(results: "Queue[Any]", processes: Sequence[Any], seconds: float) -> Iterator[tuple[str, Any]]:
    """Yield what the processes put, until all of them have ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(process.is_alive() for process in processes):
        while not results.empty():
            yield results.get()
        processes[0].join(0.05)
    while not results.empty():
        yield results.get()
    for process in processes:
        if process.exitcode != 0:
            process.kill()
            yield "failed", f"{process.name} ended with {process.exitcode}"


def result_of(told: Sequence[tuple[str, Any]], missing: list[str]) -> Result:
    """Return what came of it, by what the workers, the sweep and the check put."""
    counts: Counter[str] = sum((value for kind, value in told if kind == "counts"), Counter())
    left: Counter[str] = sum((value for kind, value in told if kind == "left"), Counter())
    absent = [name for kind, value in told if kind == "missing" for name in value]
    return Result(
        recorded=counts["recorded"],
        reprocessed=counts["reprocessed"],
        sweeps=counts["sweeps"],
        deleted=counts["deleted"],
        left=dict(left),
        looks=sum(value for kind, value in told if kind == "looks"),
        missing=(*absent, *missing),
        failed=tuple(value for kind, value in told if kind == "failed"),
    )


def _kind(reason: str) -> str:
    return "a claim is held" if " is claimed, since" in reason else reason


def main() -> int:
    """Run it, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    result = run(options.seconds, options.workers)
    print(f"{result.recorded} records, {result.reprocessed} to be cleaned again, {result.looks} looks")
    print(f"{result.sweeps} sweeps deleted {result.deleted} files; others stayed:")
    for reason, times in sorted(result.left.items(), key=lambda pair: -pair[1]):
        print(f"{times:8} {reason}")
    for line in (*result.missing, *result.failed):
        print(f"✗ {line}")
    wrong = result.missing or result.failed or not (result.recorded and result.deleted)
    print("✗ wrong" if wrong else "✓ nothing that a record names was missing")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
