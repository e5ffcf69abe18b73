"""Inbox entries: recordings on their way into a document, written so that any worker can apply them.

    key    <prefix><digest>.<payload>    where that is at most 1,024 bytes: a LIST then carries what was recorded
           <prefix><digest>              where it is more: the payload is the object's body, and is fetched
    payload  deflated JSON, a list of recordings; in a key as base64 with `-` and `_`
    digest   the first half of the payload's SHA-256, in hexadecimal

The digest tells a whole entry from a damaged one. As each recording has an id of its own, it makes the key unique, and
publishing the same recordings twice is publishing them once.

What a recording is, this page does not know: it is handed how to write one as JSON, and back.
"""

import hashlib
import json
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from cf_data_tracker.errors import TrackerError
from cf_data_tracker.names import MAX_KEY_BYTES


class Identified(Protocol):
    """A recording on its way."""

    @property
    def recorded_by(self) -> str:
        """Its id."""


R = TypeVar("R", bound=Identified)

MAX_PAYLOAD_BYTES: Final = 4 << 20
"""What a payload has at most, inflated or not: some 15,000 recordings. Larger sets are not published."""

MAX_VALUES: Final = 250_000
"""How many values the JSON of an entry holds at most, counted by what comes before each: `[`, `{` and `,`, in texts
too. `{},` takes 3 bytes, and some 70 once it is read. A recording has about ten values."""

MAX_DEPTH: Final = 100
"""How deep lists and objects of an entry may be nested: what one worker can still read, another could not write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry(Generic[R]):
    """A published set of recordings, which go into the document together.

    Attributes:
        key: Its key.
        recordings: What it holds.
        size: What that is as JSON, in bytes: about what the document grows by.
    """

    key: str
    recordings: tuple[R, ...]
    size: int

    def adds(self, added: frozenset[str]) -> bool:
        """Return whether any of its recordings is among those that a commit added, given by id."""
        return any(recording.recorded_by in added for recording in self.recordings)


class UnreadableError(ValueError):
    """An inbox entry is damaged, or written by a release that this one does not understand."""


def sealed(prefix: str, recordings: Sequence[object]) -> tuple[str, bytes]:
    """Return the key and the body of an entry; the body is empty where the key carries the payload.

    Args:
        prefix: What the keys of this inbox begin with.
        recordings: The recordings as JSON values.

    Raises:
        TypeError, ValueError, RecursionError: They are none, or more than an entry may hold.
    """
    plain = _as_json(recordings)
    _check_size(plain)
    _check_depth(recordings)
    payload = zlib.compress(plain, 9)
    bare = f"{prefix}{_digest(payload)}"
    full = f"{bare}.{_as_text(payload)}"
    return (full, b"") if len(full.encode()) <= MAX_KEY_BYTES else (bare, payload)


def carries_payload(key: str) -> bool:
    """Return whether an entry can be read from its key alone."""
    return "." in key.rpartition("/")[2]


def opened(key: str, body: bytes, from_json: Callable[[object], R]) -> Entry[R]:
    """Return the entry of a key; `body` is looked at only where the key does not carry the payload.

    Raises:
        UnreadableError: It is damaged, or holds what is no recording.
    """
    try:
        plain = _inflated(_payload(key, body))
        _check_size(plain)
        values = json.loads(plain)
        if not isinstance(values, list) or not values:
            raise UnreadableError("expected a list of recordings")
        _check_depth(values)
        size = len(_as_json(values))  # NaN can be read, but no document can be written with it
        return Entry(key=key, recordings=tuple(map(from_json, values)), size=size)
    except (ValueError, TypeError, KeyError, AttributeError, zlib.error, RecursionError, TrackerError) as error:
        raise UnreadableError(f"{key}: {error}") from error


def _payload(key: str, body: bytes) -> bytes:
    digest, dot, text = key.rpartition("/")[2].partition(".")
    payload = urlsafe_b64decode(f"{text}==") if dot else body
    if _digest(payload) != digest:
        raise UnreadableError("its digest does not match")
    if dot and _as_text(payload) != text:  # Python skips what is no base64
        raise UnreadableError("it is not the base64 that is written here")
    return payload


def _inflated(payload: bytes) -> bytes:
    inflating = zlib.decompressobj()
    plain = inflating.decompress(payload, MAX_PAYLOAD_BYTES)
    if not inflating.eof:
        raise UnreadableError("it is cut off, or too large (more than 4 MiB)")
    return plain


def _check_size(plain: bytes) -> None:
    if len(plain) > MAX_PAYLOAD_BYTES or sum(map(plain.count, (b"[", b"{", b","))) > MAX_VALUES:
        raise ValueError("it is too large")


def _check_depth(value: Sequence[object]) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        items = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in items if isinstance(item, (dict, list))]
    if level:
        raise ValueError("it is nested too deeply")


def _as_text(payload: bytes) -> str:
    return urlsafe_b64encode(payload).decode().rstrip("=")


def _as_json(value: object) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")  # an older document may hold half a character


def _digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:32]


def json_size(values: Iterable[object]) -> int:
    """Return how many bytes values take as JSON, or 0 for what is none: whoever writes it finds out."""
    try:
        return sum(len(_as_json(value)) for value in values)
    except (TypeError, ValueError, RecursionError):
        return 0
