"""Back to where one was, so that another way can be taken from there."""

from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any, TypeAlias

from cf_data_tracker.stores.memory import MemoryStore

Full: TypeAlias = list[Any] | dict[Any, Any] | set[Any]

Back: TypeAlias = Callable[[], None]
"""Brings something back to where it was when it was saved, as often as need be."""


def saved(thing: object) -> Back:
    """Return what gives each attribute back its value: containers as full as they are now, anything else itself."""
    attributes = vars(thing)
    full = [(name, copied(value)) for name, value in attributes.items() if isinstance(value, (list, dict, set))]
    single = {name: value for name, value in attributes.items() if not isinstance(value, (list, dict, set))}

    def back() -> None:
        attributes.update(single)
        for name, value in full:
            attributes[name] = copied(value)

    return back


def copied(value: Full) -> Full:
    """Return a copy; of a Counter, in a third of the time that it takes by itself."""
    if isinstance(value, Counter):
        counter: Counter[Any] = Counter()
        dict.update(counter, value)
        return counter
    return value.copy()


class Shelf(MemoryStore):
    """A store in memory that can be brought back."""

    def saved(self) -> Back:
        """Return what brings it back."""
        number = next(self._numbers)
        keys, objects = self._keys.copy(), {key: kept.copy() for key, kept in self._objects.items()}

        def back() -> None:
            self._numbers = count(number)
            self._keys, self._objects = keys.copy(), {key: kept.copy() for key, kept in objects.items()}

        back()
        return back
