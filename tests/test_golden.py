"""Golden documents: a bucket of the earlier package works on day one, and loses nothing."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pytest

from cf_data_tracker.document import Document, raw_document, to_bytes, versions_of
from cf_data_tracker.model import FileVersion, NewFile, Recording
from cf_data_tracker.rules.raw import record
from strategies import at, places, recording

FOLDER: Final = Path(__file__).parent / "golden"
VITALS: Final = FOLDER / "vitals_0.3.11.json"
LEGACY: Final = FOLDER / "legacy_0.3.9.json"

goldens = pytest.mark.parametrize(("path", "schema"), [(VITALS, "vitals"), (LEGACY, "legacy")], ids=["0.3.11", "0.3.9"])


def plain(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Return what Python's own reader makes of a document."""
    return json.loads(path.read_text(encoding="utf-8"))


def history(document: Document, schema: str, table: str, file_name: str) -> list[tuple[int, str, int | None]]:
    """Return number, file and size of each version of a file name."""
    return [(found.version, found.file, found.file_size) for found in versions_of(document, schema, table, file_name)]


def recording_of(found: FileVersion) -> Recording:
    """Return a recording of what an earlier document tells of a version, but for its number."""
    fields = {name: value for name, value in asdict(found).items() if name not in {"version", "recorded_by"}}
    return Recording(new=NewFile(**fields), recorded_by=f"{found.table} {found.file_name} {found.version}")


@goldens
def test_an_earlier_document_is_read_without_loss(path: Path, schema: str) -> None:
    """A document of the earlier package is read as it stands, and written back with every key in its order."""
    document = raw_document(path.read_bytes())
    assert [schema] == [entry["schema_name"] for entry in document["tables"]]
    assert plain(path) == document
    assert list(places(plain(path))) == list(places(json.loads(to_bytes(document))))


@goldens
def test_recording_loses_nothing_of_an_earlier_document(path: Path, schema: str) -> None:
    """Recording a new file in every file name keeps all that was there, but for `current_version`."""
    document = raw_document(path.read_bytes())
    names = list(dict.fromkeys((found.table, found.file_name) for found in versions_of(document, schema)))
    batch = [recording(table=table, file_name=name, recorded_by=f"{table} {name}") for table, name in names]
    grown, outcomes = record(document, schema, batch)
    assert grown is not None
    assert [True] * 11 == [outcome.created for outcome in outcomes]
    after = dict(places(json.loads(to_bytes(grown))))
    lost = {path for path, value in places(plain(path)) if after.get(path) != value}
    assert {path for path, _ in places(plain(path)) if path[-1:] == ("current_version",)} == lost


@goldens
def test_recording_in_an_earlier_document_begins_its_revision(path: Path, schema: str) -> None:
    """An earlier document has no revision; the first commit of ours is revision 1."""
    grown, _ = record(raw_document(path.read_bytes()), schema, [recording()])
    assert grown is not None
    assert 1 == grown["revision"]


@goldens
def test_every_file_of_an_earlier_document_is_there_already(path: Path, schema: str) -> None:
    """Recording again what an earlier document has changes nothing, and is answered with the newest number."""
    document = raw_document(path.read_bytes())
    found = list(versions_of(document, schema))
    newest = {(one.table, one.file_name, one.file): one.version for one in found}
    batch = [recording(one.file, table=one.table, file_name=one.file_name) for one in found]
    same, outcomes = record(document, schema, batch)
    assert document is same
    assert [(newest[one.table, one.file_name, one.file], False) for one in found] == [
        (outcome.version, outcome.created) for outcome in outcomes
    ]


def test_what_0_3_11_wrote_is_what_the_rules_write() -> None:
    """Its files, recorded anew in the order of its document, make that document, but for the fields that are ours."""
    found = list(versions_of(raw_document(VITALS.read_bytes()), "vitals"))
    recordings = [recording_of(one) for one in found]
    grown, outcomes = record(None, "vitals", recordings)
    assert grown is not None
    assert [(one.version, True) for one in found] == [(outcome.version, outcome.created) for outcome in outcomes]
    ours = [path for path, _ in places(grown) if path[-1:] in {("recorded_by",), ("revision",)}]
    for path in ours:
        del at(grown, path[:-1])[path[-1]]
    assert plain(VITALS) == grown


def test_the_history_of_0_3_11_is_as_it_was_written() -> None:
    """The versions of 0.3.11 come back with their numbers, files, sizes and dates."""
    document = raw_document(VITALS.read_bytes())
    assert [
        (1, "deaths_FY2022_3.zip", 810112),
        (2, "deaths_FY2022_2.zip", 2549878),
        (3, "deaths_FY2022_4.zip", 1964542),
    ] == history(document, "vitals", "deaths", "FY2022")
    assert [(1, "births_2024-01_0.zip", 9486739)] == history(document, "vitals", "births", "2024-01")
    first = next(versions_of(document, "vitals"))
    assert ("2024-03-01 09:00:00", "FY2022", "2024-03-01") == (first.timestamp, first.fyear, first.upload_date)
    assert "s3://raw/vitals/deaths/FY2022/deaths_FY2022_3.zip" == first.s3_location
    assert (None, None) == (first.checksum, first.recorded_by)
    assert 31 == len(list(versions_of(document, "vitals")))


def test_the_history_of_0_3_9_is_as_it_was_written() -> None:
    """The versions of 0.3.9 come back, though all of a file name bear one file."""
    document = raw_document(LEGACY.read_bytes())
    assert [(1, "FY2022", 810112), (2, "FY2022", 2549878)] == history(document, "legacy", "deaths", "FY2022")
    first, second = versions_of(document, "legacy", "deaths", "FY2022")
    assert "s3://raw/legacy/deaths/FY2022/deaths_FY2022_3.zip" == first.s3_location
    assert "s3://raw/legacy/deaths/FY2022/deaths_FY2022_2.zip" == second.s3_location
    assert 25 == len(list(versions_of(document, "legacy")))


def test_a_file_of_0_3_11_is_there_already() -> None:
    """A file that 0.3.11 recorded keeps its version, and there is nothing to write."""
    document = raw_document(VITALS.read_bytes())
    same, (outcome,) = record(
        document, "vitals", [recording("deaths_2024-01_1.zip", table="deaths", file_name="2024-01")]
    )
    assert document is same
    assert (3, False) == (outcome.version, outcome.created)


def test_a_file_that_0_3_9_repeats_is_there_in_its_newest_version() -> None:
    """A file that stands in several versions of 0.3.9 answers with the newest; its real name is a new file."""
    document = raw_document(LEGACY.read_bytes())
    same, (known,) = record(document, "legacy", [recording("FY2022", table="births", file_name="FY2022")])
    assert document is same
    assert (4, False) == (known.version, known.created)
    _, (new,) = record(document, "legacy", [recording("births_FY2022_5.zip", table="births", file_name="FY2022")])
    assert (5, True) == (new.version, new.created)


def test_a_table_of_0_3_9_keeps_its_key() -> None:
    """A table keyed `table_name` is written back under that key, with what is new in it."""
    grown, _ = record(raw_document(LEGACY.read_bytes()), "legacy", [recording(table="population", file_name="FY2024")])
    assert grown is not None
    tables = grown["tables"][0]["tables"]
    assert [["table_name", "files"]] * 3 == [list(table) for table in tables]
    assert "FY2024" == tables[2]["files"][-1]["file_name"]
