"""What an audit costs: time, memory and requests, for as many versions and objects as are asked for.

Run it with `python benchmarks/audit.py`. The bucket is the twin in memory, in the same process: the memory is that of
the process, with the bucket in it, and beside it what it was before the audit. --embedded audits the embedded S3, a
process of its own, as well. Measured are a clean audit, and one of a bucket where a tenth of the objects is gone, a
tenth has no record, and a tenth was written again with the same bytes and another ETag, so that each has to be asked
about. Times are of one run on one machine.
"""

import argparse
import hashlib
import io
import resource
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

from cf_data_tracker.audit import Audit
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import to_bytes
from cf_data_tracker.embedded import running
from cf_data_tracker.model import NewFile, Recording
from cf_data_tracker.names import raw_key
from cf_data_tracker.rules.raw import record
from cf_data_tracker.settings import Access
from cf_data_tracker.store import Content, Objects
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker

SCHEMA = "vitals"
BODY = b"5 byt"
TABLES, FILE_NAMES = 10, 100
CONTENT = Content(
    size=len(BODY),
    sha256=hashlib.sha256(BODY).digest(),
    md5=hashlib.md5(BODY, usedforsecurity=False).digest(),
    opened=partial(io.BytesIO, BODY),
)


def places(number: int) -> Iterator[tuple[str, str, str]]:
    """Yield table, file name and file of so many objects."""
    for n in range(number):
        yield f"table_{n % TABLES}", f"FY{1900 + n // TABLES % FILE_NAMES}", f"file_{n:08}.zip"


def key_of(table: str, file_name: str, file: str) -> str:
    """Return where an upload puts it."""
    return f"{SCHEMA}/{table}/{file_name}/{file}"


def document(number: int, home: str, *, wrong: bool) -> bytes:
    """Return the document of so many versions, of which a tenth is not what is there, if something is to be wrong."""
    recordings = [
        Recording(new=_new(number, place, home, wrong=wrong), recorded_by=f"{number:032x}")
        for number, place in enumerate(places(number))
        if not (wrong and number % 10 == 1)
    ]
    document, _ = record(None, SCHEMA, recordings)
    return to_bytes(document or {})


def _new(number: int, place: tuple[str, str, str], home: str, *, wrong: bool) -> NewFile:
    table, file_name, file = place
    return NewFile(
        schema=SCHEMA,
        table=table,
        file_name=file_name,
        file=file,
        file_size=len(BODY),
        s3_location=f"{home}{key_of(*place)}",
        timestamp="2024-03-01 09:00:00",
        fyear="FY2024",
        upload_date="2024-03-01",
        checksum=f"sha256:{CONTENT.sha256.hex()}",
        etag="sent-in-parts-1" if wrong and number % 10 == 2 else CONTENT.md5.hex(),  # noqa: PLR2004 - which tenth
    )


def fill(objects: Objects, number: int, *, wrong: bool, threads: int) -> None:
    """Put the objects there, in the order of their keys; a tenth is missing, if something is to be wrong."""
    keys = sorted(key_of(*place) for n, place in enumerate(places(number)) if not (wrong and n % 10 == 0))
    create = partial(objects.create, content=CONTENT, progress=lambda _: None)
    if threads == 1:
        deque(map(create, keys), maxlen=0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            deque(pool.map(create, keys), maxlen=0)


def peak() -> float:
    """Return the most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(tracker: Tracker, audit: Callable[[], Audit]) -> str:
    """Return what an audit took, in a line."""
    before, held, begun = tracker.stats.requests, peak(), time.perf_counter()
    found = audit()
    seconds = time.perf_counter() - begun
    requests = Counter(tracker.stats.requests) - Counter(before)
    kinds = Counter(finding.kind for finding in found.findings)
    shown = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.items())) or "nothing"
    return (
        f"{found.versions:>9,} versions {found.objects:>9,} objects {seconds:7.2f} s "
        f"{peak():6.0f} MiB ({held:.0f} before) {requests.total():>6,} requests {dict(requests)}; found: {shown}"
    )


def on_memory(number: int, *, wrong: bool) -> str:
    """Measure an audit of the twin in memory. In a process of its own, memory is not what another has left."""
    store = MemoryStore()
    with ProcessPoolExecutor(1) as pool:
        store.write(
            raw_key(SCHEMA), pool.submit(document, number, store.location(""), wrong=wrong).result(), replacing=None
        )
    fill(store, number, wrong=wrong, threads=1)
    tracker = Tracker.over(Connection(Access(bucket="raw"), store=store))
    return measured(tracker, partial(tracker.audit, SCHEMA))


def on_embedded(number: int, *, wrong: bool) -> str:
    """Measure an audit of the embedded S3, which is filled by 16 threads first."""
    with running(["raw"]) as server:
        access = Access(
            bucket="raw",
            endpoint_url=server.endpoint_url,
            region=server.region,
            access_key=server.access_key,
            secret_key=server.secret_key,
        )
        connection = Connection(access)
        body = document(number, "s3://raw/", wrong=wrong)
        connection.store.write(raw_key(SCHEMA), body, replacing=None)
        fill(connection.objects, number, wrong=wrong, threads=16)
        tracker = Tracker.over(connection)
        return measured(tracker, partial(tracker.audit, SCHEMA))


def main() -> int:
    """Print a line for each audit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="how many")
    parser.add_argument("--embedded", type=int, nargs="*", default=[], help="how many in the embedded S3, too")
    options = parser.parse_args()
    for measure, sizes in ((on_memory, options.objects), (on_embedded, options.embedded)):
        for number in sizes:
            for wrong in (False, True):
                with ProcessPoolExecutor(1) as pool:
                    line = pool.submit(measure, number, wrong=wrong).result()
                print(f"{measure.__name__.removeprefix('on_'):9}{'a tenth wrong' if wrong else 'clean':14}{line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
