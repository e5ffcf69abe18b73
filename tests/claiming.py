"""Workers that share the cleaning of a schema, each in a process of its own, and the diaries that they keep.

A diary is a file with a line for each thing done, written before the next is begun, so that a worker that is killed
leaves one behind. When a worker is killed is for the test to say.
"""

import json
import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.errors import ClaimLostError
from cf_data_tracker.model import Claim

LEASE: Final = 2.0
"""Seconds: so short that what a killed worker held is handed on while the others are still at it."""

SLOW: Final = 0.03
"""How many of the claims take longer to work on than they last."""

_sleep = time.sleep  # noqa: TID251 - real processes take real time


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a diary.

    Attributes:
        what: `claimed`, `recorded`, `known` (another record was there) or `lost`.
        file_name: The file name.
        fence: The number of the claim.
        claimed_by: The claim.
    """

    what: str
    file_name: str
    fence: int
    claimed_by: str


def clean_file(claim: Claim) -> str:
    """Return the key of what a worker makes under a claim: no other writes there."""
    return f"{claim.raw.table}/{claim.raw.file_name}.{claim.fence}.parquet"


def start(raw: Connection, clean: Connection, schema: str, seed: str, diary: Path) -> BaseProcess:
    """Start a worker that goes on until nothing is pending."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["cf_data_tracker.clean", "cf_data_tracker.stores.s3"])
    process = context.Process(target=_work, args=(raw, clean, schema, seed, diary), daemon=True)
    process.start()
    return process


def lines(diary: Path) -> list[Line]:
    """Return what a worker has written down."""
    text = diary.read_text(encoding="utf-8") if diary.exists() else ""
    return [Line(**json.loads(line)) for line in text.splitlines()]


def _work(raw: Connection, clean: Connection, schema: str, seed: str, diary: Path) -> None:
    worker, chance = CleanTracker.over(raw, clean), random.Random(seed)
    with diary.open("ab", buffering=0) as book:
        for claim in _claims(worker, schema, chance):
            _write(book, "claimed", claim)
            _sleep(LEASE * 1.2 if chance.random() < SLOW else 0.05 * chance.random())
            _write(book, _recorded(worker, claim), claim)


def _claims(worker: CleanTracker, schema: str, chance: random.Random) -> Iterator[Claim]:
    """Yield claims until nothing is pending; wait while others hold all that is."""
    while True:
        claims = worker.claim(schema, limit=chance.randint(1, 3), lease=LEASE)
        yield from claims
        if not claims and not worker.pending(schema):
            return
        if not claims:
            _sleep(0.2)


def _recorded(worker: CleanTracker, claim: Claim) -> str:
    try:
        return "recorded" if worker.record(claim, [clean_file(claim)]).created else "known"
    except ClaimLostError:
        return "lost"


def _write(book: Any, what: str, claim: Claim) -> None:  # noqa: ANN401 - a file without a buffer
    line = {"what": what, "file_name": claim.raw.file_name, "fence": claim.fence, "claimed_by": claim.claimed_by}
    os.write(book.fileno(), f"{json.dumps(line)}\n".encode())
