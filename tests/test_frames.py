"""Versions as a table: the same types whatever is in it, and the library imported only when it is asked for."""

import json
import pickle
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import versions_of
from cf_data_tracker.errors import TrackerError
from cf_data_tracker.frames import COLUMNS, NUMBERS, MissingLibraryError, Versions
from cf_data_tracker.model import FileVersion
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from strategies import SCHEMA, file_version, raw_documents

GOLDEN: Final = Path(__file__).parent / "golden"
EXTRAS: Final = [("to_pandas", "pandas", "pandas"), ("to_polars", "polars", "polars"), ("to_arrow", "pyarrow", "arrow")]
ODD: Final[list[tuple[Any, str | None]]] = [
    (None, None),
    ("", ""),
    (2023, "2023"),
    (2023.5, "2023.5"),
    (True, "true"),
    (["a", None], '["a", null]'),
    ({"a": 1}, '{"a": 1}'),
    ("\ud800 half", "\\ud800 half"),
    ("Geb\N{LATIN SMALL LETTER U WITH DIAERESIS}hr", "Geb\N{LATIN SMALL LETTER U WITH DIAERESIS}hr"),
]
SIZES: Final[list[tuple[Any, int | None]]] = [
    (0, 0),
    (2**63 - 1, 2**63 - 1),
    (2**63, None),
    (12.0, 12),
    (12.5, None),
    (1e300, None),
    (True, None),
    ("12", None),
    ([], None),
    (None, None),
]


def of_pandas(table: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a table, with `None` for what is missing."""
    return [
        {str(name): None if value is pd.NA else value for name, value in row.items()}
        for row in table.astype(object).to_dict(orient="records")
    ]


def rows(versions: Versions) -> list[list[dict[str, object]]]:
    """Return the rows of all three tables."""
    return [of_pandas(versions.to_pandas()), versions.to_polars().to_dicts(), versions.to_arrow().to_pylist()]


def check_types(versions: Versions) -> None:
    """Check the type of each column of all three tables."""
    text, number = set(COLUMNS) - NUMBERS, NUMBERS
    pandas, polars, arrow = versions.to_pandas(), versions.to_polars(), versions.to_arrow()
    assert list(COLUMNS) == list(pandas.columns) == polars.columns == arrow.column_names
    assert {"string"} == {str(pandas.dtypes[name]) for name in text}
    assert {"Int64"} == {str(pandas.dtypes[name]) for name in number}
    assert {"String"} == {str(polars.schema[name]) for name in text}
    assert {"Int64"} == {str(polars.schema[name]) for name in number}
    types = {field.name: field.type for field in arrow.schema}
    assert {pa.string()} == {types[name] for name in text}
    assert {pa.int64()} == {types[name] for name in number}


def test_each_table_has_a_row_a_version_and_a_column_a_field() -> None:
    """In all three tables the rows are the versions in their order, and the columns their fields."""
    versions = Versions([file_version(), replace(file_version(), version=2, file_size=None, checksum=None)])
    wanted = [asdict(version) for version in versions]
    assert [wanted, wanted, wanted] == rows(versions)
    check_types(versions)


def test_an_empty_table_has_its_columns_and_types() -> None:
    """Where there are no versions, the table has no rows, and the columns and types that it always has."""
    assert [[], [], []] == rows(Versions())
    check_types(Versions())


@pytest.mark.parametrize(("held", "shown"), ODD)
def test_text_that_is_none_is_shown_as_json(held: Any, shown: str | None) -> None:  # noqa: ANN401 - anything may be stored
    """In a column of text, what an older writer left there that is no text stands as JSON."""
    versions = Versions([replace(file_version(), fyear=held)])
    assert [shown] * 3 == [table[0]["fyear"] for table in rows(versions)]
    check_types(versions)


@pytest.mark.parametrize(("held", "shown"), SIZES)
def test_a_size_that_is_none_is_missing(held: Any, shown: int | None) -> None:  # noqa: ANN401 - anything may be stored
    """In a column of numbers, what is no whole number of 64 bits is missing."""
    versions = Versions([replace(file_version(), file_size=held)])
    assert [shown] * 3 == [table[0]["file_size"] for table in rows(versions)]
    check_types(versions)


@given(raw_documents())
def test_any_document_becomes_a_table(document: dict[str, Any]) -> None:
    """Whatever a readable document holds, each of its versions is a row of each table."""
    versions = Versions(versions_of(document, SCHEMA))
    assert [len(versions)] * 3 == [len(table) for table in rows(versions)]
    check_types(versions)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.name)
def test_documents_in_the_wild_become_tables(path: Path) -> None:
    """Documents of the earlier package become tables in which no size is lost."""
    document = json.loads(path.read_text(encoding="utf-8"))
    versions = Versions(versions_of(document, document["tables"][0]["schema_name"]))
    assert versions
    assert [[version.file_size for version in versions]] * 3 == [
        [row["file_size"] for row in table] for table in rows(versions)
    ]


def test_a_history_is_a_list_that_can_be_a_table() -> None:
    """`Tracker.history` returns a list, equal to a plain one and good to pickle, that can be had as a table."""
    tracker = Tracker.over(Connection(Access(bucket="raw"), store=MemoryStore()))
    for file in ("a.zip", "b.zip"):
        tracker.record("vitals", "births", "FY2023", file, file_size=1, s3_location=f"s3://raw/{file}")
    history = tracker.history("vitals", "births")
    assert list(history) == history
    assert history == pickle.loads(pickle.dumps(history))
    assert isinstance(history, list)
    assert all(isinstance(version, FileVersion) for version in history)
    assert ["a.zip", "b.zip"] == list(history.to_pandas()["file"])
    assert [] == tracker.history("vitals", "deaths")
    assert 0 == tracker.history("vitals", "deaths").to_polars().height


@pytest.mark.parametrize(("method", "library", "extra"), EXTRAS)
def test_a_missing_library_is_named(method: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library, the error is an `ImportError` and a `TrackerError`, and says which extra brings it."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingLibraryError, match=rf"^{method}\(\) needs {library}: pip install .*\[{extra}\]"
    ) as caught:
        getattr(Versions(), method)()
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value, TrackerError)
    assert str(caught.value) == str(pickle.loads(pickle.dumps(caught.value)))


def test_no_library_is_imported_before_it_is_asked_for() -> None:
    """Importing the package, and making a list of versions, imports neither pandas nor polars nor Arrow."""
    program = "import sys, cf_data_tracker.frames as f; f.Versions(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert not {"pandas", "polars", "pyarrow"} & set(done.stdout.split())
