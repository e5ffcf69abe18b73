"""What can be seen of a connection from within its process: what it asks of the store, and each commit as it is made.

The engine logs a line for each commit. They are picked up by a filter rather than a handler: it lets pass what would
have passed without it, so that nobody's own logging changes.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from cf_data_tracker.connection import Connection
from cf_data_tracker.stats import Stats

if TYPE_CHECKING:
    from typing_extensions import Self

LOG: Final = logging.getLogger("cf_data_tracker")


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """A commit of the document.

    Attributes:
        revision: The document's revision since then.
        at: When it was made, in seconds after the word to start.
        recordings: How many recordings it carried.
        others: How many of them were other workers'.
    """

    revision: int
    at: float
    recordings: int
    others: int


class Watch:
    """Sees what a connection does while the context lasts. One at a time is to be asked for news.

    Args:
        connection: The connection.
        key: The key of the document whose commits to note; those of others who share the process are noted too.
        word: When the word to start was given, in seconds of the monotonic clock.
    """

    def __init__(self, connection: Connection, key: str, word: float) -> None:
        self._connection = connection
        self._places = (key, connection.store.location(key))
        self._word = word
        self._heard: list[Committed] = []
        self._told = 0

    def __enter__(self) -> "Self":
        self._before = self._connection.stats
        _EARS.add(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        _EARS.remove(self._hear)

    def news(self) -> tuple[Stats, tuple[Committed, ...]]:
        """Return what was asked of the store, and the commits, since the last news."""
        now, new = self._connection.stats, self._heard[self._told :]
        spent, self._before = difference(now, self._before), now
        self._told += len(new)
        return spent, tuple(new)

    def _hear(self, record: logging.LogRecord) -> None:
        said = vars(record)
        if "revision" in said and isinstance(record.args, tuple) and record.args[0] in self._places:
            self._heard.append(
                Committed(
                    revision=said["revision"],
                    at=time.monotonic() - self._word,
                    recordings=said["recordings"],
                    others=said["others"],
                )
            )


class _Ears:
    """All watches of this process. The first to come opens the logger for INFO, the last to go closes it again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[Callable[[logging.LogRecord], None]] = []
        self._own_level = logging.NOTSET
        self._passing = logging.NOTSET

    def add(self, hear: Callable[[logging.LogRecord], None]) -> None:
        with self._lock:
            if not self._all:
                self._own_level, self._passing = LOG.level, LOG.getEffectiveLevel()
                LOG.addFilter(self._pass)
                LOG.setLevel(min(self._passing, logging.INFO))
            self._all.append(hear)

    def remove(self, hear: Callable[[logging.LogRecord], None]) -> None:
        with self._lock:
            self._all.remove(hear)
            if not self._all:
                LOG.removeFilter(self._pass)
                LOG.setLevel(self._own_level)

    def _pass(self, record: logging.LogRecord) -> bool:
        for hear in tuple(self._all):
            hear(record)
        return record.levelno >= self._passing


_EARS: Final = _Ears()


def difference(after: Stats, before: Stats) -> Stats:
    """Return what came to be between two counts."""
    return _combined(after, before, lambda one, other: one - other)


def total(one: Stats, other: Stats) -> Stats:
    """Return two counts as one."""
    return _combined(one, other, lambda one, other: one + other)


def _combined(one: Stats, other: Stats, by: Callable[[int, int], int]) -> Stats:
    first, second = Counter(one.requests), Counter(other.requests)
    requests = {kind: by(first[kind], second[kind]) for kind in first | second}
    names = [field.name for field in fields(Stats) if field.name != "requests"]
    return Stats(requests=requests, **{name: by(getattr(one, name), getattr(other, name)) for name in names})
