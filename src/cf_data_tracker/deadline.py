"""When a call ends: one deadline for all that is done on its behalf, whichever layer does it and in whichever thread.

A call sets its deadline where it begins. The engine stops retrying at it, and a store cuts off a request that is still
under way one request timeout after it. Calls nest: an inner one never ends later than the outer one.

The deadline travels with the context (`contextvars`), so tasks that are spawned on behalf of a call inherit it. It is
set with `Context.run`, which resets it by itself: an interrupt at any moment leaves no deadline behind.
"""

from collections.abc import Callable
from contextvars import ContextVar, copy_context
from math import inf
from typing import Final, TypeVar

T = TypeVar("T")

_DEADLINE: Final = ContextVar("deadline", default=inf)


def deadline() -> float:
    """Return when the current call ends, in seconds of the runtime's clock; infinity where no call has a deadline."""
    return _DEADLINE.get()


def run_until(ends: float, call: Callable[[], T]) -> T:
    """Run a call that ends at `ends`, or with the call around it if that ends earlier."""
    return _run(min(ends, deadline()), call)


def run_without_deadline(call: Callable[[], T]) -> T:
    """Run a call that takes the time it takes: it moves a file, and each of its requests has bounds of its own."""
    return _run(inf, call)


def _run(ends: float, call: Callable[[], T]) -> T:
    context = copy_context()
    context.run(_DEADLINE.set, ends)
    return context.run(call)
