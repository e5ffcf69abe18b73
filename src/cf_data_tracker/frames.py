"""Versions as a table of pandas, polars or Arrow; none of these is imported before it is asked for.

A column has the same type whatever is in it, also where nothing is: numbers are 64-bit integers, all else is text.
Documents of older writers may hold anything in a descriptive field. In a column of text, what is no text stands as
JSON; in one of numbers, what is no whole number of 64 bits is missing.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from cf_data_tracker.errors import TrackerError
from cf_data_tracker.model import FileVersion

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

COLUMNS: Final = tuple(field.name for field in fields(FileVersion))
"""The columns, in their order."""

NUMBERS: Final = frozenset({"version", "file_size"})
"""Those that hold numbers; all others hold text."""

MIN_INT64: Final = -(2**63)
MAX_INT64: Final = 2**63 - 1


class MissingLibraryError(TrackerError, ImportError):
    """The library that makes this kind of table is not installed. The message says how to install it."""


class Versions(list[FileVersion]):
    """A list of versions that can be had as a table, with a row for each and a column for each of their fields."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return a pandas DataFrame: columns of `string` and `Int64`, both of which may miss values.

        Raises:
            MissingLibraryError: pandas is not installed.
        """
        pandas = _library("pandas", "pandas", "to_pandas")
        columns = _columns(self)
        dtypes = {name: "Int64" if name in NUMBERS else "string" for name in COLUMNS}
        table: pd.DataFrame = pandas.DataFrame(
            {name: pandas.array(columns[name], dtype=dtype) for name, dtype in dtypes.items()}
        )
        return table

    def to_polars(self) -> "pl.DataFrame":
        """Return a polars DataFrame: columns of `String` and `Int64`.

        Raises:
            MissingLibraryError: polars is not installed.
        """
        polars = _library("polars", "polars", "to_polars")
        schema = {name: polars.Int64 if name in NUMBERS else polars.String for name in COLUMNS}
        table: pl.DataFrame = polars.DataFrame(_columns(self), schema=schema)
        return table

    def to_arrow(self) -> "pa.Table":
        """Return an Arrow table: columns of `string` and `int64`.

        Raises:
            MissingLibraryError: pyarrow is not installed.
        """
        arrow = _library("pyarrow", "arrow", "to_arrow")
        schema = arrow.schema([(name, arrow.int64() if name in NUMBERS else arrow.string()) for name in COLUMNS])
        table: pa.Table = arrow.table(_columns(self), schema=schema)
        return table


def _library(name: str, extra: str, method: str) -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingLibraryError(f'{method}() needs {name}: pip install "cf-data-tracker[{extra}]"') from error


def _columns(versions: Sequence[FileVersion]) -> Mapping[str, Sequence[int | str | None]]:
    return {
        name: [(_number if name in NUMBERS else _text)(getattr(version, name)) for version in versions]
        for name in COLUMNS
    }


def _number(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and MIN_INT64 <= value <= MAX_INT64 else None


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "backslashreplace").decode()  # half a character of UTF-16 is JSON, but no UTF-8
