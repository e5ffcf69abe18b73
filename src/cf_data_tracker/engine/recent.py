"""What a process keeps for each document, within bounds: for the documents that it used last.

A value that was dropped is made or read again. So the bounds cost requests where a process goes round more documents
than that, and never a recording.

An interrupt may come at any moment: no step here needs the next one to be taken. (That loops stand in functions of
their own has the reason that `batch` gives.)
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

V = TypeVar("V")

MAX_DOCUMENTS: Final = 256
"""For so many documents a process keeps something."""

MAX_BYTES: Final = 64 << 20
"""Bytes of the documents that it carries, as they are stored; the one used last is carried however large it is."""

MAX_KNOWN: Final = 100_000
"""Keys of documents that are known to have been there: some 10 MB."""


class Carried(Generic[V]):
    """What was last seen of each document, and which documents were ever seen. Safe to share between threads.

    Args:
        documents: How many are carried at most.
        most: How many bytes they have at most.
        known: How many keys are known at most.
    """

    def __init__(self, documents: int = MAX_DOCUMENTS, most: int = MAX_BYTES, known: int = MAX_KNOWN) -> None:
        self._documents = documents
        self._most = most
        self._most_known = known
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()  # with their bytes; the one used last is last
        self._known: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> V | None:
        """Return what is carried of a document, or `None`."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key][0]

    def knows(self, key: str) -> bool:
        """Return whether the document was there, as far as this is remembered: longer than it is carried."""
        return key in self._known

    def put(self, key: str, value: V, size: int) -> None:
        """Carry this, of so many bytes, in place of what was carried of the document."""
        with self._lock:
            self._known[key] = None
            self._known.move_to_end(key)
            self._values[key] = value, size
            self._values.move_to_end(key)
            self._drop()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._known.clear()

    def _drop(self) -> None:
        while len(self._known) > self._most_known:
            self._known.popitem(last=False)
        while len(self._values) > self._documents or (len(self._values) > 1 and self._bytes() > self._most):
            self._values.popitem(last=False)

    def _bytes(self) -> int:
        return sum(size for _, size in self._values.values())


class Recent(Generic[V]):
    """One value for each key: those used last, and whichever somebody holds. Safe to share between threads.

    As long as a thread works with the value of a key, everybody gets that one.

    Args:
        most: How many are kept that nobody holds.
    """

    def __init__(self, most: int = MAX_DOCUMENTS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._held: WeakValueDictionary[str, V] = WeakValueDictionary()
        self._kept: OrderedDict[str, V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: str, make: Callable[[], V]) -> V:
        """Return the value of a key; make it if there is none."""
        with self._lock:
            value = self._held.get(key)
            if value is None:
                value = make()
                self._held[key] = value
            self._kept[key] = value
            self._kept.move_to_end(key)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return value
