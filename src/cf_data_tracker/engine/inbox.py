"""The inbox of one document, as a place: publish, see what waits there, remove what is done.

It keeps what this process knows of it from one commit to the next. Who combines, and when, is left to `combine`.

What goes wrong here costs time, never a recording: an entry that cannot be fetched now is left for later, one that
cannot be removed is met again and changes nothing, one that cannot be read is set aside. Where the store refuses the
inbox, most likely for want of permissions, that is said once, and it is not used any more.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from functools import partial
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from cf_data_tracker.deadline import run_without_deadline
from cf_data_tracker.engine.cas import Engine
from cf_data_tracker.entries import (
    MAX_PAYLOAD_BYTES,
    Entry,
    Identified,
    UnreadableError,
    carries_payload,
    opened,
    sealed,
)
from cf_data_tracker.errors import RetainedError, StoreError
from cf_data_tracker.names import aside_key, inbox_prefix
from cf_data_tracker.store import ANYTHING, Conflict, Stored, TooLarge, Unanswered

LOG: Final = logging.getLogger("cf_data_tracker")

PAGE: Final = 1000
"""Keys that one LIST gives, and one DELETE takes."""

FETCHED_AT_ONCE: Final = 16
"""Entries with a body of their own that are fetched beside each other."""

SWEPT_AT_ONCE: Final = 2
"""Entries of others that one commit erases where versions are kept. Most are erased by their publishers meanwhile."""

REMEMBERED: Final = 4 * PAGE
"""Keys remembered as removed, or as unreadable: more than were listed since."""

MAX_LISTED_BYTES: Final = 8 << 20
"""What the entries of one list hold at most, as JSON; one more may be larger. A commit takes less."""

FIRST_POSTPONED: Final = 10.0
"""Seconds for which an entry is left alone whose body was not answered. They double each time."""

LONGEST_POSTPONED: Final = 3600.0

R = TypeVar("R", bound=Identified)


class _Lacking(Enum):
    """Why there is no body."""

    GONE = "gone"  # or refused: removed since it was listed, or not readable for this process
    UNANSWERED = "unanswered"
    TOO_LARGE = "too large"


@dataclass(eq=False, slots=True)
class _Removal:
    """A removal that runs beside the caller's work.

    It is under way from when it has been handed over until it is over. An interrupt on the way there leaves one that
    is not under way, so the next removal begins another; two at a time do no harm.
    """

    handed_over: bool = False
    over: bool = False

    @property
    def under_way(self) -> bool:
        return self.handed_over and not self.over


class Inbox(Generic[R]):
    """The inbox of one document. One thread at a time may use it.

    Args:
        engine: What requests go through.
        document_key: Whose inbox it is.
        to_json: A recording as a JSON value.
        from_json: The recording of such a value.

    Attributes:
        usable: Whether the store allows it, as far as is known.
        crowd: How many entries of others were waiting when that was last seen.
        versioned: Whether the bucket keeps versions: then who published removes its own entry.
    """

    def __init__(
        self,
        engine: Engine,
        document_key: str,
        to_json: Callable[[R], object],
        from_json: Callable[[object], R],
    ) -> None:
        self.usable = True
        self.crowd = 0
        self.versioned = False
        self._engine = engine
        self._prefix = inbox_prefix(document_key)
        self._to_json = to_json
        self._from_json = from_json
        self._after = ""  # where the next LIST begins, when the last one did not reach the end
        self._done: dict[str, None] = {}  # keys that need not be looked at again, in the order in which that was learnt
        self._doomed: dict[str, None] = {}  # keys to remove
        self._postponed: dict[str, tuple[float, float]] = {}  # until when, and for how many seconds
        self._removal = _Removal()
        self._retained = False  # whether the bucket was seen to keep entries under a retention
        self._lock = threading.Lock()

    def seal(self, recordings: Iterable[R]) -> tuple[str, bytes]:
        """Return the key and the body of the entry that holds these recordings."""
        return sealed(self._prefix, [self._to_json(recording) for recording in recordings])

    def publish(self, key: str, body: bytes) -> str | None:
        """Put an entry there, and return its version in a bucket that keeps versions.

        Raises:
            Unanswered: It may be there.
            StoreError: The store refused: it is not there, and the inbox not `usable` any more.
        """
        try:
            return self._put(key, body)
        except StoreError as error:
            self._close(error)
            raise

    def waiting(self, own: str = "") -> list[Entry[R]]:
        """Return what waits there, but for the entry whose key is `own`: up to a page of it, in the order of the keys.

        Entries whose bodies are not answered are left for later; the caller waits for one request's time-out at most.
        Where the store refuses, nothing, and the inbox is not `usable` any more.

        Raises:
            Unanswered: No answer.
        """
        try:
            keys = self._engine.store.list(self._prefix, after=self._after)
        except StoreError as error:
            self._close(error)
            return []
        self._after = keys[-1] if len(keys) >= PAGE else ""
        now = self._engine.runtime.clock()
        keys = [key for key in keys if key != own and key not in self._done and not self._is_postponed(key, now)]
        self.crowd = len(keys)
        return list(self._readable(keys))

    def remove(self, keys: Iterable[str]) -> None:
        """Delete entries beside the caller's own work. What is not deleted is met again, and changes nothing."""
        with self._lock:
            self._doomed.update(dict.fromkeys(keys))
            self._done.update(self._doomed)
            _forget_all_but_the_newest(self._doomed)
            _forget_all_but_the_newest(self._done)
            begin = bool(self._doomed) and not self._removal.under_way
        if begin:
            self._removal = removal = _Removal()
            self._beside(partial(self._remove_doomed, removal))
            removal.handed_over = True

    def withdraw(self, key: str, version: str | None) -> None:
        """Delete one entry beside the caller's own work, and leave no marker; its version where that is known."""
        if version is not None:
            self._beside(lambda: self._quietly(partial(self._erase, key, version)))
        elif self.versioned:
            self.sweep([key])
        else:
            self.remove([key])

    def sweep(self, keys: Iterable[str]) -> None:
        """Delete entries of others for good, beside the caller's own work, in a bucket that keeps versions."""
        swept = list(keys)[:SWEPT_AT_ONCE]
        if swept:
            self._beside(lambda: [self._quietly(partial(self._swept, key)) for key in swept])

    def _put(self, key: str, body: bytes) -> str | None:
        try:
            version = self._engine.store.write(key, body, replacing=ANYTHING).version
        except Conflict as signal:  # a 409: a write that replaces whatever is there cannot lose
            raise Unanswered(str(signal)) from signal
        self.versioned = version is not None
        return version

    def _swept(self, key: str) -> None:
        stored = self._engine.store.read(key)
        if isinstance(stored, Stored) and stored.version is not None:
            self._erase(key, stored.version)

    def _erase(self, key: str, version: str) -> None:
        """Delete a version for good, or hide it behind a marker while it is under a retention."""
        try:
            self._engine.store.erase(key, version)
        except RetainedError as error:
            if not self._retained:
                self._retained = True
                LOG.warning(
                    "an inbox entry is retained: %s. So are all that are published here: they are hidden behind "
                    "delete markers, and a lifecycle rule removes them once their retention has ended",
                    error,
                )
            self._engine.store.delete(key)

    def _remove_doomed(self, removal: _Removal) -> None:
        try:
            while keys := self._next_doomed(removal):
                if not self._quietly(partial(self._engine.store.delete, *keys)):
                    with self._lock:
                        _take_out(self._done, keys)
        finally:  # whatever it is, the next removal begins anew
            removal.over = True

    def _next_doomed(self, removal: _Removal) -> list[str]:
        with self._lock:
            keys = list(self._doomed)[:PAGE]
            _take_out(self._doomed, keys)
            removal.over = not keys
        return keys

    def _beside(self, task: Callable[[], object]) -> None:
        """Begin a task that may go on when the call that begins it has ended."""
        self._engine.runtime.spawn(partial(run_without_deadline, task))

    def _quietly(self, request: Callable[[], None]) -> bool:
        try:
            request()
        except StoreError as error:
            self._close(error)
        except Unanswered as signal:
            LOG.debug("an inbox entry was not removed, and is left for later: %s", signal)
        else:
            return True
        return False

    def _readable(self, keys: Sequence[str]) -> Iterator[Entry[R]]:
        """Yield the entries of these keys, as many as one list holds; the next list goes on after them."""
        size = 0
        for key, body in self._with_bodies(keys):
            with suppress(_SetAside):
                entry = self._opened(key, body)
                yield entry
                size += entry.size
            if size > MAX_LISTED_BYTES:
                self._after = key
                return

    def _with_bodies(self, keys: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield each key with its body, which is empty where the key carries the payload; leave out those without."""
        unfetched = (key for key in keys if not carries_payload(key))
        bodies: dict[str, bytes | _Lacking] = {}
        for key in keys:
            if not carries_payload(key) and key not in bodies:
                if _Lacking.UNANSWERED in bodies.values():
                    continue  # the rest is left for later
                bodies = self._fetched(list(islice(unfetched, FETCHED_AT_ONCE)))
            body = b"" if carries_payload(key) else bodies[key]
            if isinstance(body, bytes):
                yield key, body

    def _fetched(self, keys: Sequence[str]) -> dict[str, bytes | _Lacking]:
        answers = [self._engine.runtime.spawn(partial(self._body, key)) for key in keys]
        bodies = dict(zip(keys, (answer() for answer in answers), strict=True))
        for key, body in bodies.items():
            if body is _Lacking.UNANSWERED:
                self._postpone(key)
            elif body is _Lacking.TOO_LARGE:
                self._leave_alone(key)
        return bodies

    def _body(self, key: str) -> bytes | _Lacking:
        try:
            stored = self._engine.store.read(key, most=MAX_PAYLOAD_BYTES)
        except Unanswered:
            return _Lacking.UNANSWERED
        except TooLarge:
            return _Lacking.TOO_LARGE
        except StoreError as error:
            self._close(error)
            return _Lacking.GONE
        return stored.body if isinstance(stored, Stored) else _Lacking.GONE

    def _is_postponed(self, key: str, now: float) -> bool:
        return key in self._postponed and now < self._postponed[key][0]

    def _postpone(self, key: str) -> None:
        """Leave an entry alone for a while: each commit would wait for its body in vain."""
        _, before = self._postponed.pop(key, (0.0, FIRST_POSTPONED / 2))
        seconds = min(2 * before, LONGEST_POSTPONED)
        self._postponed[key] = self._engine.runtime.clock() + seconds, seconds
        _forget_all_but_the_newest(self._postponed)

    def _leave_alone(self, key: str) -> None:
        LOG.warning(
            "%s is larger than an inbox entry may be (4 MiB), and is left where it is: no worker has published it. "
            "Look at it, then delete it",
            self._engine.store.location(key),
        )
        self._note_done(key)

    def _note_done(self, key: str) -> None:
        with self._lock:
            self._done[key] = None
            _forget_all_but_the_newest(self._done)

    def _opened(self, key: str, body: bytes) -> Entry[R]:
        try:
            return opened(key, body, self._from_json)
        except UnreadableError as error:
            self._set_aside(key, body, error)
            raise _SetAside from error

    def _set_aside(self, key: str, body: bytes, error: UnreadableError) -> None:
        aside = aside_key(key)
        LOG.warning(
            "an inbox entry cannot be read and was set aside as %s: %s. Whoever published it commits it by itself, "
            "if it still runs; look at it, then delete it",
            self._engine.store.location(aside),
            error,
        )
        self._note_done(key)
        with suppress(Unanswered, StoreError):
            self._put(aside, body)
            self.withdraw(key, None)

    def _close(self, error: StoreError) -> None:
        with self._lock:
            first, self.usable = self.usable, False
        if first:
            LOG.warning(
                "workers cannot commit for each other, which is slow when there are many: %s. It takes s3:ListBucket "
                "on the bucket, and under %s s3:GetObject, s3:PutObject, s3:DeleteObject and, where versions are "
                "kept, s3:DeleteObjectVersion",
                error,
                self._engine.store.location(self._prefix),
            )


def _take_out(left: dict[str, None], keys: Iterable[str]) -> None:
    for key in keys:
        left.pop(key, None)


def _forget_all_but_the_newest(keys: dict[str, Any]) -> None:
    for key in list(keys)[:-REMEMBERED]:
        del keys[key]


class _SetAside(Exception):  # noqa: N818 - a signal within this module
    """An entry was unreadable."""
