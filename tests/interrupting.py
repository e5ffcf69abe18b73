"""Interrupts at each line of a module: what it leaves behind is for a test to say."""

import linecache
import sys
from collections.abc import Callable
from itertools import count
from types import FrameType, ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


def raised_at(step: int, act: Callable[[], T], *modules: ModuleType, error: type[BaseException]) -> T:
    """Do something, and raise an error at one of the lines that this thread runs in these modules.

    A `with` is passed again when its block ends. It cannot be interrupted there, which a trace function could.
    """
    steps, before, files = count(), sys.gettrace(), {module.__file__ for module in modules}

    def trace(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401 - a trace function gives one
        if frame.f_code.co_filename not in files:
            return None
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and "with self._lock" not in line and next(steps) == step:
            raise error
        return trace

    sys.settrace(trace)
    try:
        return act()
    finally:
        sys.settrace(before)


def interrupted_at(step: int, act: Callable[[], object], *modules: ModuleType) -> bool:
    """Do something, be interrupted at one of the lines that it runs in these modules; return whether that came."""
    try:
        raised_at(step, act, *modules, error=KeyboardInterrupt)
    except KeyboardInterrupt:
        return True
    return False
