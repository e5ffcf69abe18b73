"""The standard library's `json` beside `orjson`: what a commit would gain, and what would be read or written otherwise.

Run it with `python benchmarks/parsers.py` where `orjson` is installed, which this library does without. Times are of
one run on one machine: their ratios are what counts. The differences are not told but tried, in front of the reader.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

from cf_data_tracker.document import Document, _parsed, raw_document, to_bytes
from cf_data_tracker.names import shortened
from cf_data_tracker.rules.raw import record
from rules import SCHEMA, best_of, spread

Read = Callable[[bytes], Any]
Write = Callable[[Any], bytes]

PARSER = "cf_data_tracker.document._parsed"

READINGS = {
    "a key that stands twice": b'{"tables":[],"x":1,"x":2}',
    "an integer of 64 bits": b'{"tables":[],"x":18446744073709551615}',
    "an integer of 65 bits": b'{"tables":[],"x":18446744073709551616}',
    "an integer of 5,000 digits": b'{"tables":[],"x":%s}' % (b"9" * 5_000),
    "1e999": b'{"tables":[],"x":1e999}',
    "NaN": b'{"tables":[],"x":NaN}',
    "half a surrogate pair": b'{"tables":[],"x":"\\ud800"}',
    "a letter beyond ASCII": '{"tables":[],"x":"ü"}'.encode(),
    "a float": b'{"tables":[],"x":1e-07}',
    "what is not UTF-8": b'{"tables":[],"x":"\xff"}',
    "a byte order mark": b'\xef\xbb\xbf{"tables":[]}',
    "300 lists in each other": b'{"tables":[],"x":%s}' % (b"[" * 300 + b"]" * 300),
    "2,000 lists in each other": b'{"tables":[],"x":%s}' % (b"[" * 2_000 + b"]" * 2_000),
}

WRITINGS: dict[str, Document] = {
    "NaN": {"tables": [], "x": float("nan")},
    "an integer of 65 bits": {"tables": [], "x": 2**64},
    "half a surrogate pair": {"tables": [], "x": "\ud800"},
}


@contextmanager
def parsing_with(read: Read) -> Iterator[None]:
    """Let `raw_document` parse with something else, and check as it does."""
    with mock.patch(PARSER, read):
        yield


def seconds(body: bytes, read: Read, write: Write, runs: int) -> dict[str, float]:
    """Return how long each step of a commit takes with one parser."""
    parse, parsed = best_of(runs, lambda: read(body))
    with parsing_with(lambda _: parsed):
        check, document = best_of(runs, lambda: raw_document(body))
    writing, _ = best_of(runs, lambda: write(document))
    with parsing_with(read):
        whole, _ = best_of(runs, lambda: write(raw_document(body)))
    return {"parse": parse, "check": check, "write": writing, "all three": whole}


def attempt(action: Callable[[Any], bytes], value: object) -> str:
    """Return what an action wrote, or the error that it raised, in a few words."""
    try:
        text = action(value).decode()
    except Exception as error:  # noqa: BLE001 - whatever a parser raises is what is asked
        text = f"refused: {error}".partition(": line ")[0]
    return shortened(text)


def document_of(versions: int) -> Document:
    """Return a document with so many versions, of about 250 bytes each."""
    document, _ = record(None, SCHEMA, spread(versions, "there"))
    return document or {}


def print_times(document: Document, orjson: Any, runs: int) -> None:  # noqa: ANN401 - a module that may be missing
    """Print what each step costs with either parser, and the ratio."""
    body = to_bytes(document)
    by_json = seconds(body, _parsed, to_bytes, runs)
    by_orjson = seconds(body, orjson.loads, orjson.dumps, runs)
    print(f"{len(body) / 2**20:.2f} MiB, best of {runs}, milliseconds")
    print(f"{'step':12}{'json':>9}{'orjson':>9}{'json/orjson':>13}")
    for step, taken in by_json.items():
        print(f"{step:12}{1000 * taken:9.2f}{1000 * by_orjson[step]:9.2f}{taken / by_orjson[step]:13.1f}")
    plain, _ = best_of(runs, lambda: json.loads(body))
    print(f"json without its checks (keys that stand twice, numbers out of range) parses in {1000 * plain:.2f}")


def print_differences(orjson: Any) -> None:  # noqa: ANN401 - as above
    """Print what comes out where a document is read and written back, and where a value is written."""
    print(f"\n{'read and written back':30}{'json':62}orjson")
    for what, body in READINGS.items():
        ours = attempt(lambda body: to_bytes(_parsed(body)), body)
        print(f"{what:30}{ours:62}{attempt(lambda body: orjson.dumps(orjson.loads(body)), body)}")
    print(f"\n{'written':30}{'json':62}orjson")
    for what, value in WRITINGS.items():
        print(f"{what:30}{attempt(to_bytes, value):62}{attempt(orjson.dumps, value)}")


def main() -> int:
    """Print both tables; return 2 where `orjson` is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000, help="versions in the document")
    parser.add_argument("--runs", type=int, default=20, help="runs, of which the fastest counts")
    options = parser.parse_args()
    try:
        orjson = import_module("orjson")
    except ImportError:
        print("orjson is not installed; this comparison alone needs it: pip install orjson", file=sys.stderr)
        return 2
    print_times(document_of(options.versions), orjson, options.runs)
    print_differences(orjson)
    return 0


if __name__ == "__main__":
    sys.exit(main())
