"""Many recordings in one file: a JSON object a line, whose keys are the fields of `NewFile`.

Pure: bytes in, values out. One bad line and there are no values at all.
"""

import codecs
import dataclasses
import json
from typing import Any, Final

from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import shown

REQUIRED: Final = tuple(field.name for field in dataclasses.fields(NewFile) if field.default is dataclasses.MISSING)
ALLOWED: Final = tuple(field.name for field in dataclasses.fields(NewFile))


def new_files(body: bytes) -> list[NewFile]:
    """Return what stands in the lines, blank ones left out.

    Raises:
        InvalidNameError: A line is no JSON object, a field is missing, unknown or not acceptable; it says which line.
    """
    lines = body.removeprefix(codecs.BOM_UTF8).split(b"\n")
    return [_new_file(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _new_file(number: int, line: bytes) -> NewFile:
    try:
        return NewFile(**_fields(json.loads(line.decode(), object_pairs_hook=_unique)))
    except (ValueError, RecursionError) as error:
        raise InvalidNameError(f"line {number}: {_reason(error)}; nothing was recorded") from None


def _fields(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidNameError(f"expected an object, got {shown(value)}")
    for name in REQUIRED:
        if name not in value:
            raise InvalidNameError(f"{name} is missing")
    for name in value:
        if name not in ALLOWED:
            raise InvalidNameError(f"{shown(name)} is no field of a recording: those are {', '.join(ALLOWED)}")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidNameError("a key stands there twice")
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} at column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    return str(error) if isinstance(error, InvalidNameError) else "not JSON that can be read"
