"""A fork waits while a thread imports boto3 or opens a client: neither can be copied in the middle.

A fork copies one thread, and the locks of all. If another thread is just importing a module, or in OpenSSL, the new
process waits for a lock that nobody there will release, or finds half a module. Python's import locks and OpenSSL's are
not ours to release, but both are taken where a client is opened, and that is in our hands.

What other libraries do in their threads is out of reach, and so is OpenSSL in the middle of a request.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Final

from cf_data_tracker.deadline import deadline

LONGEST: Final = 10.0
"""Seconds that a fork waits at most. A client is opened in tenths of a second, unless its credentials take longer."""


class _Gate:
    """A lock that a fork takes as well."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a thread that opens a client may itself fork, to run a command for credentials

    def before(self) -> None:
        """Wait until no other thread is inside, though not for ever."""
        self.lock.acquire(timeout=LONGEST)

    def in_parent(self) -> None:
        """Let others in again."""
        with suppress(RuntimeError):  # it is not ours: the wait was too long
            self.lock.release()

    def in_child(self) -> None:
        """Begin anew: no thread that was inside is here."""
        self.lock = threading.RLock()


_GATE: Final = _Gate()
os.register_at_fork(before=_GATE.before, after_in_parent=_GATE.in_parent, after_in_child=_GATE.in_child)


@contextmanager
def unforked() -> Iterator[None]:
    """Let no other thread fork this process meanwhile, nor come in here; wait for one no longer than a call may."""
    lock = _GATE.lock
    inside = lock.acquire(timeout=min(LONGEST, max(0.0, deadline() - monotonic())))
    try:
        yield
    finally:
        if inside:
            lock.release()
