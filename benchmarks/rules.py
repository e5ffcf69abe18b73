"""What the rules cost beside reading and writing the document: 10,000 files into 100,000 versions.

Run it with `python benchmarks/rules.py`. A commit parses the document, applies the rules and writes it; the rules are
to cost little beside the other two, whatever the batch. Network and store are left out.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from cf_data_tracker.document import Document, raw_document, to_bytes
from cf_data_tracker.model import NewFile, Recording
from cf_data_tracker.rules.raw import record

T = TypeVar("T")

SCHEMA = "vitals"
TABLES, FILE_NAMES = 20, 50
TARGET_SECONDS = 0.2


def new_file(table: int, file_name: int, file: str) -> NewFile:
    """Return a file of the size that files have in practice: about 300 bytes of JSON."""
    return NewFile(
        schema=SCHEMA,
        table=f"table_{table:02}",
        file_name=f"FY{1975 + file_name}",
        file=file,
        file_size=810_112,
        s3_location=f"s3://raw/{SCHEMA}/table_{table:02}/FY{1975 + file_name}/{file}",
        timestamp="2024-03-01 09:00:00",
        fyear="FY2024",
        upload_date="2024-03-01",
    )


def spread(count: int, label: str) -> list[Recording]:
    """Return recordings that take turns over all file names of all tables."""
    places = TABLES * FILE_NAMES
    files = (
        new_file(number % TABLES, number // TABLES % FILE_NAMES, f"{label}_{number // places:05}.zip")
        for number in range(count)
    )
    return [Recording(new=new, recorded_by=f"{label}{number:026x}") for number, new in enumerate(files)]


def together(count: int) -> list[Recording]:
    """Return recordings for one file name alone."""
    files = (new_file(0, 0, f"together_{number:05}.zip") for number in range(count))
    return [Recording(new=new, recorded_by=f"together{number:024x}") for number, new in enumerate(files)]


def best_of(runs: int, action: Callable[[], T]) -> tuple[float, T]:
    """Return the least time that an action took, in seconds, and what it returned."""
    least = float("inf")
    for _ in range(runs):
        begun = time.perf_counter()
        result = action()
        least = min(least, time.perf_counter() - begun)
    return least, result


def measure(document: Document, batch: Sequence[Recording], runs: int) -> tuple[float, float, float, int]:
    """Return the seconds of parsing, of the rules and of writing one commit, and how many versions it created."""
    body = to_bytes(document)
    parse, parsed = best_of(runs, lambda: raw_document(body))
    rules, (grown, outcomes) = best_of(runs, lambda: record(parsed, SCHEMA, batch))
    write, _ = best_of(runs, lambda: to_bytes(grown or {}))
    return parse, rules, write, sum(outcome.created for outcome in outcomes)


def main() -> int:
    """Measure, print a table, and return 1 if the rules took longer than their target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=100_000, help="versions in the document")
    parser.add_argument("--files", type=int, default=10_000, help="files to record in one commit")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which the fastest counts")
    options = parser.parse_args()
    document, _ = record(None, SCHEMA, spread(options.versions, "there"))
    batches = {
        "new, over all file names": spread(options.files, "new"),
        "new, in one file name": together(options.files),
        "known already": spread(options.files, "there"),
        "one new file": together(1),
    }
    print(f"{options.versions:,} versions in {len(to_bytes(document or {})) / 2**20:.1f} MiB, best of {options.runs}")
    print(
        f"{'batch':26}{'files':>7}{'created':>9}{'parse s':>9}{'rules s':>9}{'write s':>9}{'rules/(parse+write)':>21}"
    )
    slowest = 0.0
    for name, batch in batches.items():
        parse, rules, write, created = measure(document or {}, batch, options.runs)
        slowest = max(slowest, rules)
        print(
            f"{name:26}{len(batch):7,}{created:9,}{parse:9.3f}{rules:9.3f}{write:9.3f}{rules / (parse + write):21.3f}"
        )
    print(f"rules: {slowest:.3f} s at most, target {TARGET_SECONDS} s")
    return int(slowest > TARGET_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
