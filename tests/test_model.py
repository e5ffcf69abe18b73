"""Values: checked where they are made, frozen afterwards, and good to send to another process."""

import json
import pickle
import re
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import CleanRecord, CleanRecorded, NewFile, Recorded
from strategies import clean_record, file_version, recording

NEW = NewFile(
    schema="vitals",
    table="births",
    file_name="FY2023",
    file="births_q1.zip",
    file_size=810_112,
    s3_location="s3://raw/vitals/births/births_q1.zip",
)

VALUES = [
    NEW,
    recording(),
    Recorded(schema="vitals", table="births", file_name="FY2023", file="a.zip", version=3, created=True),
    file_version(),
    clean_record(file_version()),
    CleanRecorded(schema="vitals", table="births", file_name="FY2023", version=3, created=False),
]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("schema", "vitals/births"),
        ("schema", "_cf_tracker"),
        ("table", ""),
        ("file_name", None),
        ("file", "dir/births_q1.zip"),
        ("file_size", -1),
        ("file_size", True),
        ("file_size", "810112"),
        ("s3_location", ""),
        ("s3_location", None),
        ("timestamp", ""),
        ("timestamp", 20240301),
        ("fyear", " "),
        ("fyear", 2023),
        ("upload_date", "2024-03-01\n"),
        ("checksum", b"1f"),
    ],
)
def test_a_bad_file_is_refused_where_it_is_made(argument: str, value: Any) -> None:  # noqa: ANN401 - anything may be passed
    """A `NewFile` with an argument that is not acceptable is never made; the message names the argument."""
    with pytest.raises(InvalidNameError, match=f"^{argument} must"):
        replace(NEW, **{argument: value})


def test_dates_and_checksum_may_be_left_out() -> None:
    """Dates may be left out for the tracker to fill in, and a checksum that is not known."""
    assert (None, None, None, None) == (NEW.timestamp, NEW.fyear, NEW.upload_date, NEW.checksum)


def test_dates_and_checksum_are_kept() -> None:
    """What is given is kept as it is."""
    dated = replace(NEW, timestamp="2024-03-01 09:00:00", fyear="FY2023", upload_date="2024-03-01", checksum="1f")
    assert ("2024-03-01 09:00:00", "FY2023", "2024-03-01", "1f") == (
        dated.timestamp,
        dated.fyear,
        dated.upload_date,
        dated.checksum,
    )


def test_a_bad_clean_file_is_refused_by_its_position() -> None:
    """A clean record names the clean file that is not acceptable."""
    with pytest.raises(InvalidNameError, match=r"^clean_files\[1\] must not be empty"):
        CleanRecord(raw=file_version(), clean_files=("a.parquet", ""), timestamp="2024-03-01", recorded_by="me")


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("schema", "vitals/births", "schema must not contain '/'"),
        ("table", "", "raw.table must not be empty"),
        ("file_name", None, "raw.file_name must be text, got None"),
        ("version", "3", "raw.version must be a whole number, 0 or more"),
    ],
)
def test_a_raw_version_that_no_tracker_gave_is_refused(argument: str, value: Any, message: str) -> None:  # noqa: ANN401 - anything may be passed
    """A clean record is made of a raw version with a schema, names and a number."""
    with pytest.raises(InvalidNameError, match=f"^{re.escape(message)}"):
        clean_record(replace(file_version(), **{argument: value}))


def test_a_raw_versions_names_are_taken_as_they_were_read() -> None:
    """Stored documents may hold names that no recording would bring in now; they can still be cleaned."""
    assert "2023/24" == clean_record(file_version(file_name="2023/24")).raw.file_name


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_is_frozen(value: Any) -> None:  # noqa: ANN401 - any of the values
    """No field of a value can be changed, and none added."""
    first = fields(value)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(value, first, getattr(value, first))
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        value.surprise = 1


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_pickles_and_can_be_a_key(value: object) -> None:
    """A value is the same in another process, and hashes."""
    there = pickle.loads(pickle.dumps(value))
    assert value == there
    assert hash(value) == hash(there)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_takes_no_argument_by_its_position(value: object) -> None:
    """Fields are named where a value is made, so that no two of them are mixed up."""
    with pytest.raises(TypeError, match="positional"):
        type(value)(*(getattr(value, field.name) for field in fields(value)))  # type: ignore[arg-type]


def test_event_metadata_is_plain_json() -> None:
    """What is attached to an asset is a dictionary of text, numbers and truth values, and survives JSON."""
    done = Recorded(schema="vitals", table="births", file_name="FY2023", file="a.zip", version=3, created=True)
    metadata = done.as_event_metadata()
    wanted = {"schema": "vitals", "table": "births", "file_name": "FY2023", "file": "a.zip", "version": 3}
    assert {**wanted, "created": True} == metadata
    assert metadata == json.loads(json.dumps(metadata))
    assert {str, int, bool} == {type(value) for value in metadata.values()}


def test_event_metadata_tells_of_the_same_content() -> None:
    """The number of the version that has the same bytes is among the metadata where there is one."""
    done = Recorded(
        schema="vitals", table="births", file_name="FY2023", file="a.zip", version=3, created=True, same_content_as=1
    )
    assert 1 == done.as_event_metadata()["same_content_as"]
