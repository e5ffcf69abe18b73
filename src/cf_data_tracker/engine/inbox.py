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
from functools import partial
from typing import Final, Generic, TypeVar

from cf_data_tracker.engine.commit import Engine
from cf_data_tracker.entries import Entry, Identified, UnreadableError, carries_payload, opened, sealed
from cf_data_tracker.errors import StoreError
from cf_data_tracker.names import aside_key, inbox_prefix
from cf_data_tracker.store import ANYTHING, Conflict, Stored, Unanswered

LOG: Final = logging.getLogger("cf_data_tracker")

PAGE: Final = 1000
"""Keys that one LIST gives, and one DELETE takes."""

FETCHED_AT_ONCE: Final = 16
"""Entries with a body of their own that are fetched beside each other."""

SWEPT_AT_ONCE: Final = 2
"""Entries of others that one commit erases where versions are kept. Most are erased by their publishers meanwhile."""

REMEMBERED: Final = 4 * PAGE
"""Keys remembered as removed, or as unreadable: more than were listed since."""

R = TypeVar("R", bound=Identified)


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
        self._removing = False
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
        keys = [key for key in keys if key != own and key not in self._done]
        self.crowd = len(keys)
        return list(self._readable(keys))

    def remove(self, keys: Iterable[str]) -> None:
        """Delete entries beside the caller's own work. What is not deleted is met again, and changes nothing."""
        with self._lock:
            self._doomed.update(dict.fromkeys(keys))
            self._done.update(self._doomed)
            _forget_all_but_the_newest(self._doomed)
            _forget_all_but_the_newest(self._done)
            begin = bool(self._doomed) and not self._removing
            self._removing = self._removing or begin
        if begin:
            self._beside(self._remove_doomed)

    def withdraw(self, key: str, version: str | None) -> None:
        """Delete one entry beside the caller's own work, and leave no marker; its version where that is known."""
        if version is not None:
            self._beside(lambda: self._quietly(lambda: self._engine.store.erase(key, version)))
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
            self._engine.store.erase(key, stored.version)

    def _remove_doomed(self) -> None:
        try:
            while keys := self._next_doomed():
                if not self._quietly(partial(self._engine.store.delete, *keys)):
                    with self._lock:
                        for key in keys:
                            self._done.pop(key, None)
        except BaseException:  # whatever it is, the next removal begins anew
            self._removing = False
            raise

    def _next_doomed(self) -> list[str]:
        with self._lock:
            keys = list(self._doomed)[:PAGE]
            for key in keys:
                del self._doomed[key]
            self._removing = bool(keys)
        return keys

    def _beside(self, task: Callable[[], object]) -> None:
        self._engine.surroundings.beside(task)

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
        bodies = self._fetched([key for key in keys if not carries_payload(key)])
        for key in keys:
            body = b"" if carries_payload(key) else bodies.get(key)
            if body is not None:
                with suppress(_SetAside):
                    yield self._opened(key, body)

    def _fetched(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for start in range(0, len(keys), FETCHED_AT_ONCE):
            asked = keys[start : start + FETCHED_AT_ONCE]
            answers = [self._engine.surroundings.beside(partial(self._body, key)) for key in asked]
            bodies = zip(asked, (answer() for answer in answers), strict=True)
            found.update((key, body) for key, body in bodies if body is not None)
        return found

    def _body(self, key: str) -> bytes | None:
        """Return the body, or `None` where it is gone since it was listed, or is left for later."""
        try:
            stored = self._engine.store.read(key)
        except Unanswered:
            return None
        except StoreError as error:
            self._close(error)
            return None
        return stored.body if isinstance(stored, Stored) else None

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
        self._done[key] = None
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


def _forget_all_but_the_newest(keys: dict[str, None]) -> None:
    for key in list(keys)[:-REMEMBERED]:
        del keys[key]


class _SetAside(Exception):  # noqa: N818 - a signal within this module
    """An entry was unreadable."""
