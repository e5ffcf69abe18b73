"""The corpus: what fuzzing has found worth trying again, one file each, named after what it holds.

Bytes are kept as text, so that a change of the corpus can be read: what is not printable is written as `%FF`, as in a
URL. Of all that was found, those are kept that between them take every path that any took, the smallest first.
"""

import hashlib
import json
import re
import string
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import cf_data_tracker
from cf_data_tracker.entries import sealed
from fuzz.laws import CLEAN_LEDGER, LAWS, PREFIX, RAW_LEDGER
from strategies import clean_record, file_version, recording

if TYPE_CHECKING:
    from _typeshed import TraceFunction

FOLDER: Final = Path(__file__).parent / "corpus"
GOLDEN: Final = tuple(path.read_bytes() for path in sorted(FOLDER.parents[1].glob("golden/*.json")))
PACKAGE: Final = str(Path(cf_data_tracker.__file__).parent)
PLAIN: Final = string.punctuation.replace("%", "") + " "
LARGEST_KEPT: Final = 3000

SMALL: Final = (
    b'{"revision":3,"owner":{"x":[1.5]},"tables":[{"schema_name":"vitals","tables":[{"name":"births","files":[{"file_name":'
    b'"FY2023","current_version":1,"versions":[{"version":1,"file":"a.zip","recorded_by":"x","file_size":3}]}]},'
    b'{"table_name":"deaths","files":[]}]}]}'
)
SMALL_CLEAN: Final = (
    b'{"revision":7,"schema_name":"vitals","tables":{"births":{"FY2023":{"file_info":{"version":2,"raw_file":"b.zip"},'
    b'"clean_files":["b.parquet"]}}}}'
)
SMALL_OLDER: Final = (
    b'[{"schema_name":"vitals","tables":{"FY2023":{"file_info":{"version":2,"table_name":"births","parquet_files":'
    b'["b.parquet"]}}}}]'
)


def seeds(kind: str) -> tuple[bytes, ...]:
    """Return what to spoil: sound documents of the kind, and all of the corpus."""
    return (*sound(kind), *kept(kind))


def sound(kind: str) -> tuple[bytes, ...]:
    """Return what is accepted."""
    entries = [[RAW_LEDGER.to_json(recording())], [CLEAN_LEDGER.to_json(clean_record(file_version()))]]
    sealed_ = [sealed(PREFIX, entry) for entry in entries]
    known = {
        "raw": (SMALL, *GOLDEN),
        "clean": (SMALL_CLEAN,),
        "older": (SMALL_OLDER,),
        "inbox": tuple(json.dumps(entry).encode() for entry in entries),
        "key": tuple(key.removeprefix(PREFIX).encode() + b"\n" + body for key, body in sealed_),
    }
    return known[kind]


def kept(kind: str) -> list[bytes]:
    """Return the corpus of a kind."""
    return [body_of(path.read_text(encoding="ascii")) for path in paths(kind)]


def paths(kind: str) -> list[Path]:
    """Return the files of the corpus of a kind."""
    return sorted((FOLDER / kind).glob("*.txt"))


def keep(kind: str, bodies: Iterable[bytes]) -> None:
    """Make these the corpus of a kind."""
    for path in paths(kind):
        path.unlink()
    (FOLDER / kind).mkdir(parents=True, exist_ok=True)
    for body in bodies:
        (FOLDER / kind / name_of(body)).write_text(text_of(body), encoding="ascii")


def name_of(body: bytes) -> str:
    """Return the name of the file that holds this."""
    return f"{hashlib.sha256(body).hexdigest()[:16]}.txt"


def text_of(body: bytes) -> str:
    """Return bytes as text."""
    return f"{quote_from_bytes(body, safe=PLAIN)}\n"


def body_of(text: str) -> bytes:
    """Return the bytes that a text stands for."""
    return unquote_to_bytes(text.removesuffix("\n"))


def fewest(kind: str, bodies: Iterable[bytes]) -> list[bytes]:
    """Return those, the smallest first, that take a path through the package which none before took."""
    seen: set[object] = set()
    chosen = []
    for body in sorted({body for body in bodies if len(body) <= LARGEST_KEPT}, key=lambda body: (len(body), body)):
        new = _paths_taken(kind, body) - seen
        if new:
            seen |= new
            chosen.append(body)
    return chosen


def _paths_taken(kind: str, body: bytes) -> set[object]:
    """Return the steps from line to line that the package takes, and how it words a refusal."""
    taken: set[object] = set()
    with _Tracing(taken.add):
        LAWS[kind](body)
    return taken


class _Tracing:
    """Tells of each step from one line of the package to another, and of each error that passes, less its numbers."""

    def __init__(self, tell: Callable[[object], None]) -> None:
        self._tell = tell
        self._before: object = None

    def __enter__(self) -> None:
        self._others = sys.gettrace()  # who measures coverage, say
        sys.settrace(self._called)

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._others)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> "TraceFunction | None":
        return self._step if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _step(self, frame: FrameType, event: str, argument: object) -> "TraceFunction":
        here = (frame.f_code.co_filename, frame.f_lineno)
        self._tell((self._before, here))
        self._before = here
        if event == "exception" and isinstance(argument, tuple):
            self._tell(re.sub(r'"[^"]*"|\d+|memory:.*', "", f"{argument[0]}: {argument[1]}")[:60])
        return self._step
