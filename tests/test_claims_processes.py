"""Work shared by real processes on real servers, a third of which are killed: all is cleaned, and each version once."""

import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import pytest

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import clean_key, inbox_prefix
from cf_data_tracker.tracker import Tracker
from claiming import Line, lines, start
from conftest import connection_to, make_bucket
from servers.server import Server

VERSIONS: Final = 200
WORKERS: Final = 16
VICTIMS: Final = WORKERS // 3

_sleep = time.sleep  # noqa: TID251 - real processes take real time


@pytest.fixture
def sides(server: Server, schema: str) -> tuple[Connection, Connection]:
    """Give both buckets of one server after the other, known to be safe, and raw versions that wait to be cleaned."""
    bucket = f"clean-{uuid.uuid4().hex[:8]}"
    make_bucket(server, bucket)
    raw, clean = connection_to(server), connection_to(server, bucket)
    for side in (raw, clean):
        side.prove()
    Tracker.over(raw).record_many(
        NewFile(
            schema=schema,
            table="births",
            file_name=f"period {number:03}",
            file="a.zip",
            file_size=1,
            s3_location="s3://raw/a.zip",
        )
        for number in range(VERSIONS)
    )
    return raw, clean


@pytest.mark.timeout(300)
def test_a_third_of_the_workers_may_be_killed(
    sides: tuple[Connection, Connection],
    schema: str,
    tmp_path: Path,
    counted: Callable[[str, Mapping[str, int]], None],
) -> None:
    """200 pending versions, 16 workers: each version is recorded once, and under the highest claim on it."""
    raw, clean = sides
    diaries = [tmp_path / str(number) for number in range(WORKERS)]
    workers = [start(raw, clean, schema, f"{schema} {diary.name}", diary) for diary in diaries]
    killed = kill_at_random(workers[:VICTIMS], diaries[:VICTIMS])
    for worker in workers:
        worker.join()
    assert Counter({0: WORKERS - killed, -signal.SIGKILL: killed}) == Counter(worker.exitcode for worker in workers)
    assert VICTIMS == killed
    for worker in workers:
        worker.close()

    tracker = CleanTracker.over(raw, clean)
    assert [] == tracker.pending(schema)
    written = [line for diary in diaries for line in lines(diary)]
    numbers = judge(tracker.document(schema) or {}, written)
    # What the dead had published and nobody needed is all that may be left there.
    assert len(clean.store.list(inbox_prefix(clean_key(schema)))) <= killed
    counted("work shared by processes, a third of them killed", {"versions": VERSIONS, "killed": killed, **numbers})


def kill_at_random(victims: list[BaseProcess], diaries: list[Path]) -> int:
    """Kill workers, each at a random moment after it has begun to work, and return how many were killed."""
    chance = random.Random(61)
    for victim, diary in zip(victims, diaries, strict=True):
        while not lines(diary) and victim.is_alive():
            _sleep(0.01)
        _sleep(chance.random() * 0.4)
        if victim.is_alive() and victim.pid is not None:
            os.kill(victim.pid, signal.SIGKILL)
            victim.join()
    return sum(victim.exitcode == -signal.SIGKILL for victim in victims)


def judge(document: Document, written: list[Line]) -> dict[str, int]:
    """Compare what the workers were told with what the document says, and return how much befell them."""
    claims, records = document["claims"]["births"], document["tables"]["births"]
    assert VERSIONS == len(records) == len(claims)
    by_what = {what: [line for line in written if what == line.what] for what in ("claimed", "recorded", "lost")}
    recorded = {line.file_name: line for line in by_what["recorded"]}
    assert len(recorded) == len(by_what["recorded"])  # none was acknowledged twice
    assert {1} == set(Counter((line.file_name, line.fence) for line in by_what["claimed"]).values())
    for file_name, record in records.items():
        highest = claims[file_name]["fence"]
        assert {"fence": highest} == claims[file_name]
        assert [f"births/{file_name}.{highest}.parquet"] == record["clean_files"]
        if file_name in recorded:
            assert (highest, record["file_info"]["recorded_by"]) == (
                recorded[file_name].fence,
                recorded[file_name].claimed_by,
            )
    late = {(line.file_name, line.fence) for line in by_what["lost"]}
    assert all(fence < claims[file_name]["fence"] for file_name, fence in late)
    taken_over = sum(claim["fence"] - 1 for claim in claims.values())
    assert taken_over > 0
    return {"claims": sum(claim["fence"] for claim in claims.values()), "taken over": taken_over, "late": len(late)}
