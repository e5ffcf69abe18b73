"""What is printed and how: JSON for programs, a table on a terminal, tab-separated text in a pipe; notes on stderr.

Stored names may hold anything. What a terminal would obey, or the stream cannot encode, is printed as an escape, so a
line stays a line and a cell a cell.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

import typer

from cf_data_tracker.model import FileVersion

FIELDS: Final = tuple(field.name for field in dataclasses.fields(FileVersion))
"""The columns of a piped list: the keys of the JSON, in its order."""

COLUMNS: Final = {
    "table": "table",
    "file_name": "file name",
    "version": "version",
    "file": "file",
    "file_size": "bytes",
    "timestamp": "recorded",
    "s3_location": "location",
}
"""What fits on a terminal, and its headings."""

_NUMBERS: Final = ("version", "file_size")


def say(line: str) -> None:
    """Print a line of data."""
    sys.stdout.write(f"{printable(line, sys.stdout)}\n")


def note(line: str) -> None:
    """Print a line that is no data."""
    typer.echo(printable(line, sys.stderr), err=True)


def say_json(value: object) -> None:
    """Print a value, or a list of them, as JSON in ASCII: the keys are the names of its fields."""
    sys.stdout.write(f"{json.dumps(value, default=dataclasses.asdict, indent=2)}\n")


def say_version(version: FileVersion) -> None:
    """Print one version, a line for each of its fields."""
    for name, value in dataclasses.asdict(version).items():
        say(f"{name:<12} {_cell(value)}".rstrip())


def say_versions(versions: Sequence[FileVersion], *, tables: bool) -> None:
    """Print versions: a table on a terminal, where `tables` asks for a column of that; else a header and a line each.

    In neither form is anything cut off.
    """
    if sys.stdout.isatty():
        _say_table(versions, [name for name in COLUMNS if tables or name != "table"])
    else:
        _say_cells(FIELDS)
        for version in versions:
            _say_cells(_cell(getattr(version, name)) for name in FIELDS)


def say_check(line: str, *, passed: bool) -> None:
    """Print a line of data after a tick or a cross: coloured where that is welcome, a word where there is neither."""
    sys.stdout.write(f"{_mark(sys.stdout, good=passed)} {printable(line, sys.stdout)}\n")


def counted(number: int, noun: str) -> str:
    """Return a number of things in words that agree with it."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str, stream: TextIO) -> str:
    """Return the text with all that is not printable there as an escape."""
    shown = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return _encoded(shown, stream)


def _mark(stream: TextIO, *, good: bool) -> str:
    sign, word, colour = ("✓", "ok:", "32") if good else ("✗", "FAILED:", "31")
    if _encoded(sign, stream) != sign:
        return word
    return f"\x1b[{colour}m{sign}\x1b[0m" if _is_coloured(stream) else sign


def _encoded(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_coloured(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _cell(value: object) -> str:
    # Descriptive fields of older writers may be any JSON.
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _say_cells(cells: Iterable[str]) -> None:
    sys.stdout.write("\t".join(printable(cell, sys.stdout) for cell in cells) + "\n")


def _say_table(versions: Iterable[FileVersion], names: Sequence[str]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - only here, and it takes a while
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(COLUMNS[name], justify="right" if name in _NUMBERS else "left", overflow="fold")
    for version in versions:  # as Text: what looks like markup in a name is none
        table.add_row(*(Text(printable(_cell(getattr(version, name)), sys.stdout)) for name in names))
    Console().print(table)
