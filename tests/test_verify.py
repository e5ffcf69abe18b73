"""Verify: what is found in an unsound document, and that nothing is found in a sound one."""

from pathlib import Path

import pytest

from cf_data_tracker.document import Document, raw_document, to_bytes
from cf_data_tracker.rules.verify import findings


def document(current: int, *versions: Document, table: str = "births") -> Document:
    """Return a document with one file name."""
    files = [{"file_name": "FY2023", "current_version": current, "versions": list(versions)}]
    return {"tables": [{"schema_name": "vitals", "tables": [{"name": table, "files": files}]}]}


def version(number: int, file: str, recorded_by: str | None = None) -> Document:
    """Return a version, with an identity if it has one."""
    identity = {} if recorded_by is None else {"recorded_by": recorded_by}
    return {"version": number, "file": file, **identity}


SOUND = {
    "empty": document(0),
    "dense": document(2, version(1, "a", "1"), version(2, "b", "2")),
    "gap": document(5, version(1, "a"), version(5, "b")),
    "file twice": document(2, version(1, "FY2023"), version(2, "FY2023")),
    "out of order": document(2, version(2, "b"), version(1, "a")),
    "without identities": document(2, version(1, "a"), version(2, "b")),
}


@pytest.mark.parametrize("sound", SOUND.values(), ids=SOUND.keys())
def test_a_sound_document_has_no_findings(sound: Document) -> None:
    """Gaps, files that repeat and versions out of order are found in sound buckets, and are no findings."""
    assert [] == findings(sound, "vitals")


@pytest.mark.parametrize("path", sorted((Path(__file__).parent / "golden").glob("*.json")), ids=lambda path: path.stem)
def test_what_the_earlier_package_wrote_has_no_findings(path: Path) -> None:
    """The documents that the earlier package wrote are sound."""
    assert [] == findings(raw_document(path.read_bytes()), path.stem.partition("_")[0])


@pytest.mark.parametrize("current", [0, 1, 3])
def test_a_current_version_that_is_not_the_newest_is_found(current: int) -> None:
    """`current_version` is to be the newest version."""
    unsound = document(current, version(1, "a"), version(2, "b"))
    assert [f"births/FY2023: current_version is {current}, the newest version is 2"] == findings(unsound, "vitals")


def test_a_current_version_without_versions_is_found() -> None:
    """A file name without versions has `current_version` 0."""
    assert ["births/FY2023: current_version is 1, the newest version is 0"] == findings(document(1), "vitals")


def test_two_versions_under_one_number_are_found() -> None:
    """A number is given once within a file name."""
    unsound = document(2, version(2, "a"), version(1, "b"), version(2, "c"), version(2, "d"))
    assert ["births/FY2023: version 2 is there 3 times"] == findings(unsound, "vitals")


def test_a_number_that_two_places_of_a_table_give_is_found() -> None:
    """Two entries of one table, one under either key, are one table: a number that both have is there twice."""
    unsound = document(1, version(1, "a"))
    again = {**unsound["tables"][0]["tables"][0], "table_name": "births"}
    del again["name"]
    unsound["tables"][0]["tables"].append(again)
    assert ["births/FY2023: version 1 is there 2 times"] == findings(unsound, "vitals")


def test_a_recording_that_is_there_twice_is_found() -> None:
    """A recording creates one version."""
    unsound = document(2, version(1, "a", "1f"), version(2, "a", "1f"))
    assert ["the recording 1f is there 2 times"] == findings(unsound, "vitals")


@pytest.mark.parametrize("odd", [[], {}, [["1f"]]])
def test_an_id_that_is_no_text_is_no_recording(odd: object) -> None:
    """What an older document has under `recorded_by` may be anything: the document is read, so it can be verified."""
    entry = {**version(1, "a"), "recorded_by": odd}
    read = raw_document(to_bytes(document(2, entry, {**entry, "version": 2})))
    assert [] == findings(read, "vitals")


def test_all_findings_are_listed() -> None:
    """A document that is unsound in several ways is told all of them."""
    unsound = document(1, version(2, "a", "1f"), version(2, "a", "1f"))
    assert 3 == len(findings(unsound, "vitals"))


def test_a_document_of_another_schema_is_found() -> None:
    """A document is to have an entry for its schema, if it has any; one that was begun and is empty needs none."""
    found = ["the document has no entry for the schema weather, though one for vitals"]
    assert found == findings(document(0), "weather")
    assert [] == findings({"tables": []}, "weather")


def test_other_schemas_are_not_looked_at() -> None:
    """What is wrong with another schema in the document is no finding."""
    entry = {"schema_name": "weather", "tables": []}
    assert [] == findings({"tables": [*document(7)["tables"], entry]}, "weather")
