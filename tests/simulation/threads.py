"""Group commit among greenlets: the engine's own `group_commit`, over locks and queues that let the hub decide.

`group_commit` is loaded a second time, with a `threading` and a `queue` of ours in place of Python's. Whoever takes a
lock or waits at a queue stands at a door, and the dice say who goes through: so all orders of what the lock guards can
be played. Whoever waits for a moment only may go on at any time; whoever would wait for minutes goes on when it is
woken, and where nobody is left to wake it, that is a broken law.
"""

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec
from queue import Empty
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from greenlet import getcurrent, greenlet

from cf_data_tracker.engine import group_commit

T = TypeVar("T")

MOMENT: Final = 1.0
"""Whoever waits no longer than this, in seconds, is soon back, whatever the others do."""


class Thread(greenlet):
    """A greenlet that plays a thread; `wait` lets the others go on."""

    wait: "Callable[[Door], object]"


@dataclass(eq=False, slots=True)
class Door:
    """Where a thread waits for others of its process.

    Attributes:
        what: For what.
        opens: Whether it is there.
        seconds: How long it waits at most; `None`: for ever.
    """

    what: str
    opens: Callable[[], bool]
    seconds: float | None = None

    def lets_through(self) -> bool:
        """Return whether the thread may go on, perhaps with nothing."""
        return (self.seconds is not None and self.seconds <= MOMENT) or self.opens()

    @property
    def may_tire(self) -> bool:
        """Whether it is left where patience ends."""
        return self.seconds is not None and self.seconds > MOMENT and not self.opens()


def stand_at(door: Door) -> bool:
    """Let others go on, and return whether the door was open at last."""
    thread = getcurrent()
    assert isinstance(thread, Thread)
    thread.wait(door)
    return door.opens()


class Lock:
    """As `threading.Lock`."""

    def __init__(self) -> None:
        self._taken = False

    def __enter__(self) -> bool:
        stand_at(Door("lock", lambda: not self._taken))
        self._taken = True
        return True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class SimpleQueue(Generic[T]):
    """As `queue.SimpleQueue`."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()

    def put(self, item: T) -> None:
        """Put something there."""
        self._items.append(item)

    def get(self, timeout: float | None = None) -> T:
        """Take the first that is there, or that comes in time."""
        if not stand_at(Door("mail", lambda: bool(self._items), timeout)):
            raise Empty
        return self._items.popleft()


def _loaded_anew(module: ModuleType, **instead: ModuleType) -> ModuleType:
    """Return a copy of a module that has other modules in the place of some."""
    spec = find_spec(module.__name__)
    assert spec is not None
    assert spec.loader is not None
    copy = module_from_spec(spec)
    kept = {name: sys.modules[name] for name in (spec.name, *instead)}
    sys.modules.update({spec.name: copy, **instead})
    try:
        spec.loader.exec_module(copy)
    finally:
        sys.modules.update(kept)
    return copy


def _module(name: str, **holds: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(holds)
    return module


if TYPE_CHECKING:
    from cf_data_tracker.engine.group_commit import GroupCommit as GroupCommit  # noqa: PLC0414 - so that it may be imported from here
else:
    GroupCommit: Any = _loaded_anew(
        group_commit,
        threading=_module("threading", Lock=Lock),
        queue=_module("queue", SimpleQueue=SimpleQueue, Empty=Empty),
    ).GroupCommit
