"""How a command ends: every error is one line on stderr and an exit code that says what to do next.

Where several files of a call failed, each has its line.

Usage errors that typer finds by itself (a missing argument, an unknown option) are typer's to show, with code 2; so
is Ctrl-C, which ends a command without a word, with code 130.
"""

import functools
import traceback
from collections.abc import Callable
from contextvars import ContextVar
from enum import IntEnum
from typing import Final, ParamSpec

import typer

from cf_data_tracker.cli.output import note
from cf_data_tracker.errors import (
    ContentionError,
    InvalidNameError,
    NotTrackedError,
    OutcomeUnknownError,
    TrackerError,
    UnsafeStoreError,
)

P = ParamSpec("P")

NAME: Final = "cf-data-tracker"
"""The command, and the distribution."""

DEBUG: Final = ContextVar("DEBUG", default=False)
"""Whether an error's traceback is shown."""


class Code(IntEnum):
    """The exit codes."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    NOT_FOUND = 3
    CONTENTION = 4
    WRONG = 5
    UNSAFE = 6


_CODES: Final = (
    (InvalidNameError, Code.USAGE),
    (NotTrackedError, Code.NOT_FOUND),
    (ContentionError, Code.CONTENTION),
    (OutcomeUnknownError, Code.CONTENTION),
    (UnsafeStoreError, Code.UNSAFE),
    (Exception, Code.ERROR),
)


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Return the command such that whatever it raises becomes a line and an exit code."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            raise typer.Exit(_reported(error)) from error

    return run


def _reported(error: Exception) -> Code:
    if DEBUG.get():
        traceback.print_exception(error)
    for failure in getattr(error, "failures", ()) or (error,):
        note(f"{NAME}: error: {failure if isinstance(failure, TrackerError) else _unexpected(failure)}")
    return next(code for kind, code in _CODES if isinstance(error, kind))


def _unexpected(error: Exception) -> str:
    return f"unexpected error {type(error).__name__}: {error}: run again as {NAME} --debug ... to see where"
