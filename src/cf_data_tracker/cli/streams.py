"""The standard streams of the command line, whatever they are: closed, full, or a pipe that nobody reads.

A command does its work first and its talking second. So no write to a stream raises: data that cannot be written makes
the exit code 1 in the end, with a line on standard error, and a note that cannot be written is left out.

A closed stream's descriptor is taken by something that cannot be read or written. Else the next socket or file that is
opened would get its number, and with it what is meant for the stream.
"""

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STDIN, _STDOUT, _STDERR = range(3)
_UNUSABLE: Final = {_STDIN: os.O_WRONLY, _STDOUT: os.O_RDONLY, _STDERR: os.O_RDONLY}
"""How the null device is opened in place of a closed stream, so that its use fails as it should."""


class _Output(io.FileIO):
    """An output whose writes never raise.

    Attributes:
        failed: Why a write failed, the first that did. From then on nothing is written: it would leave a hole.
    """

    failed: OSError | None = None

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write, or note why not. A full pipe that does not block is waited for, like any other."""
        if self.failed is None:
            try:
                while (written := super().write(data)) is None:
                    select.select((), (self,), ())
            except OSError as error:
                self.failed = error
            else:
                return written
        return memoryview(data).nbytes


@contextmanager
def standard_streams() -> Iterator[None]:
    """Put streams that never raise in place of standard output and standard error, and give a closed one a stand-in.

    Streams that somebody else has put there, as test runners do, are left alone.

    Raises:
        SystemExit: What the command ends with; if that is success and its data could not be written, 1.
    """
    for descriptor in _UNUSABLE:
        _occupy(descriptor)
    if sys.stdin is None:
        sys.stdin = open(_STDIN, closefd=False, encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    data = _Output(_STDOUT, "w", closefd=False)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _text(data, sys.stdout, errors="strict")
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Output(_STDERR, "w", closefd=False), sys.stderr, errors="backslashreplace")
    try:
        yield
    except SystemExit as end:
        sys.stdout.flush()
        if data.failed is not None and not end.code:
            _regret(data.failed)
            raise SystemExit(1) from None
        raise


def _occupy(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        opened = os.open(os.devnull, _UNUSABLE[descriptor])
        if opened != descriptor:
            os.dup2(opened, descriptor)
            os.close(opened)
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - it is positional only


def _text(output: _Output, former: TextIO | None, *, errors: str) -> TextIO:
    """Return a text stream over an output, with the ways of the stream that it replaces."""
    if not isinstance(former, io.TextIOWrapper):
        return io.TextIOWrapper(io.BufferedWriter(output), encoding="utf-8", errors=errors, line_buffering=True)
    return io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=former.encoding,
        errors=former.errors,
        line_buffering=former.line_buffering or former.write_through,
    )


def _regret(error: OSError) -> None:
    if not isinstance(error, BrokenPipeError):  # else who reads our output has seen enough
        sys.stderr.write(
            "cf-data-tracker: error: standard output could not be written "
            f"({error.strerror}); what was recorded stays recorded\n"
        )
        sys.stderr.flush()
