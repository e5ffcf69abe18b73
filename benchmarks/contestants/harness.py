"""What a contestant is, and the processes that it runs in: this end of the protocol; the other end is `racing.race`.

A process is told its job as one line of JSON on its standard input, and answers with lines of JSON:

| process | says |
|---|---|
| `prepare` | what packages are installed, once what must be there before the first recording is made |
| `work` | that it is ready, then waits for the word; each recording as it ends; at its end the CPU time since |
| `stored` | the files that are stored |

It runs in each contestant's own environment, so it uses the standard library alone.
"""

import json
import os
import resource
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import distributions
from typing import Final

GIVE_UP_SECONDS: Final = 120.0
"""How long a contestant tries to record one file."""

FILE_NAMES: Final = 12

Say = Callable[[dict[str, object]], None]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a process is told.

    Attributes:
        endpoint_url: Where the S3 server is, or what stands before it.
        bucket: An empty bucket for this contestant and run.
        access_key: Opens it.
        secret_key: Its secret.
        region: Where the bucket is.
        directory: A directory on local disk that the processes of one run share.
        worker: The worker's number.
        files: How many files it records.
    """

    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    directory: str
    worker: int = 0
    files: int = 0


@dataclass(frozen=True, kw_only=True)
class File:
    """What is recorded: the fields of a version, and no contestant stores fewer. `file` tells it from all others."""

    table: str
    file_name: str
    file: str
    file_size: int
    s3_location: str
    timestamp: str = "2024-03-01 09:00:00"
    fyear: str = "FY2024"
    upload_date: str = "2024-03-01"


class Contestant(ABC):
    """A way to record files."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Make what must be there before the first recording; called once, in a process of its own."""

    @abstractmethod
    def open(self) -> None:
        """Open connections by reading once."""

    @abstractmethod
    def record(self, file: File) -> None:
        """Record a file; to return is to acknowledge it."""

    @abstractmethod
    def stored(self) -> list[str]:
        """Return the files that are stored, each as often as it is there."""


def files_of(job: Job) -> list[File]:
    """Return what a worker records: files of its own, in one table, under file names that all workers share."""
    return [_file(job, number) for number in range(job.files)]


def _file(job: Job, number: int) -> File:
    file = f"worker_{job.worker:04d}_{number:05d}.zip"
    file_name = f"2024-{1 + number % FILE_NAMES:02d}"
    return File(
        table="births",
        file_name=file_name,
        file=file,
        file_size=810_112 + number,
        s3_location=f"s3://{job.bucket}/vitals/births/{file_name}/{file}",
    )


def main(make: Callable[[Job], Contestant]) -> None:
    """Be the process that the command line names."""
    say = _voice()
    job = Job(**json.loads(sys.stdin.readline()))
    contestant = make(job)
    if sys.argv[1] == "work":
        _work(contestant, say)
    elif sys.argv[1] == "stored":
        say({"stored": contestant.stored()})
    else:
        contestant.prepare()
        say({"packages": _packages()})


def _work(contestant: Contestant, say: Say) -> None:
    contestant.open()
    say({"ready": True})
    word = sys.stdin.readline()
    if not word:
        return  # the race was called off
    begun, speaking = cpu_seconds(), threading.Lock()

    def end() -> None:
        with speaking:  # and nothing more is said
            say({"ended": time.monotonic(), "cpu": cpu_seconds() - begun})
            os._exit(0)  # whatever is under way in native threads is not waited for

    late = threading.Timer(json.loads(word)["seconds"], end)
    late.daemon = True
    late.start()
    for file in files_of(contestant.job):
        outcome = recorded(contestant, file)
        with speaking:
            say(outcome)
    end()


def recorded(contestant: Contestant, file: File) -> dict[str, object]:
    """Record a file, and return what is said of it: when it began and ended, and the error if it failed."""
    began, error = time.monotonic(), None
    try:
        contestant.record(file)
    except Exception as raised:  # noqa: BLE001 - whatever a library raises is what is to be told
        error = " ".join(f"{type(raised).__name__}: {raised}".split())[:500]
    return {"file": file.file, "began": began, "ended": time.monotonic(), "error": error}


def cpu_seconds() -> float:
    """Return the CPU time of this process, native threads among it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _voice() -> Say:
    """Return what writes a line where the runner listens; what libraries print goes to standard error instead."""
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(message: dict[str, object]) -> None:
        line = (json.dumps(message) + "\n").encode()
        while line:
            line = line[os.write(output, line) :]

    return say


def _packages() -> dict[str, str]:
    return dict(sorted((found.metadata["Name"], found.version) for found in distributions()))
