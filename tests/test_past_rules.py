"""The rules of a document's past: what a later document lacks of an earlier one."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.document import Document
from cf_data_tracker.model import NewFile, Recording
from cf_data_tracker.rules.past import is_back, lost, peaks, same_content, spans, versions_in
from cf_data_tracker.rules.raw import record


def document(*versions: Document, file_name: str = "FY2023", key: str = "name", **more: Any) -> Document:  # noqa: ANN401 - any JSON
    """Return a document with one file name."""
    files = [{"file_name": file_name, "current_version": len(versions), "versions": list(versions)}]
    return {"tables": [{"schema_name": "vitals", "tables": [{key: "births", "files": files}]}], **more}


def version(number: int, file: str = "q1.zip", **more: Any) -> Document:  # noqa: ANN401 - any JSON
    """Return a version."""
    return {"version": number, "file": file, **more}


def losses(before: Document, after: Document) -> list[str]:
    """Return what is lost, in words."""
    return [str(loss) for loss in lost(versions_in(before), versions_in(after))]


FILES = st.lists(
    st.builds(
        lambda table, file_name, file: NewFile(
            schema="vitals", table=table, file_name=file_name, file=file, file_size=5, s3_location="s3://raw/x"
        ),
        *[st.sampled_from("abc")] * 3,
    ),
    max_size=6,
)


@given(FILES, FILES)
def test_what_the_rules_add_loses_nothing(first: list[NewFile], then: list[NewFile]) -> None:
    """Every document contains the one that it was made of; what was added is what the earlier one lacks."""
    before, _ = record(None, "vitals", [Recording(new=new, recorded_by=f"1-{n}") for n, new in enumerate(first)])
    after, outcomes = record(before, "vitals", [Recording(new=new, recorded_by=f"2-{n}") for n, new in enumerate(then)])
    empty: Document = {"tables": []}
    assert [] == losses(before or empty, after or empty)
    assert len({(one.table, one.file_name, one.version) for one in outcomes if one.created}) == len(
        losses(after or empty, before or empty)
    )


def test_a_version_that_is_gone_is_lost() -> None:
    """It is named by its schema, table, file name, number and file."""
    assert ["vitals/births/FY2023 version 1 (q1.zip)"] == losses(document(version(1), version(2)), document(version(2)))
    assert ["vitals/births/FY2023 version 1 (q1.zip)"] == losses(document(version(1)), {"tables": []})


def test_a_version_whose_fields_changed_is_lost() -> None:
    """It says which, and what they were."""
    before = document(version(1, file_size=5, checksum="a", fyear=None))
    after = document(version(1, "q2.zip", file_size=7, fyear=None))
    (loss,) = losses(before, after)
    assert loss == (
        "vitals/births/FY2023 version 1 (q1.zip): file was 'q1.zip' and is 'q2.zip', file_size was 5 and is 7, "
        "checksum was 'a' and is gone"
    )


def test_a_version_with_more_fields_is_no_loss() -> None:
    """Whoever adds one loses nothing."""
    assert [] == losses(document(version(1)), document(version(1, etag="x")))


def test_order_and_the_tables_key_do_not_matter() -> None:
    """A version is known by its place and its number, wherever in the document it stands."""
    before = document(version(1), version(2))
    assert [] == losses(before, document(version(3), version(2), version(1), key="table_name"))


def test_a_number_that_is_there_twice_is_there_if_one_is_the_same() -> None:
    """Unsound documents are compared as well."""
    twice = document(version(1, "a"), version(1, "b"))
    assert [] == losses(twice, document(version(1, "b"), version(1, "a")))
    assert [] == losses(document(version(1, "b")), twice)
    assert 1 == len(losses(twice, document(version(1, "b"))))


def test_other_schemas_in_the_document_are_compared_too() -> None:
    """It is the document that is restored, whatever is in it."""
    before = document(version(1))
    before["tables"].append({"schema_name": "other", "tables": document(version(1))["tables"][0]["tables"]})
    assert ["other/births/FY2023 version 1 (q1.zip)"] == losses(before, document(version(1)))


def test_what_was_lost_can_be_back() -> None:
    """In a later document still, with all its fields."""
    before = versions_in(document(version(1, file_size=5)))
    (loss,) = lost(before, versions_in(document()))
    assert is_back(loss, before)
    assert not is_back(loss, versions_in(document(version(1, file_size=6))))
    assert not is_back(loss, versions_in(document()))


def test_nothing_is_changed_by_comparing() -> None:
    """Documents are read, not written to."""
    before, after = document(version(1)), document(version(2))
    copies = deepcopy((before, after))
    losses(before, after)
    assert copies == (before, after)


def test_a_table_in_two_places_is_one() -> None:
    """Under either key, as releases of the earlier package took turns."""
    both = document(version(1))
    again = document(version(2), key="table_name")
    both["tables"][0]["tables"] += again["tables"][0]["tables"]
    assert [] == losses(both, document(version(1), version(2)))
    assert [1, 2] == [entry["version"] for entry in versions_in(both)["vitals", "births", "FY2023"]]


def test_the_number_of_commits_is_no_content() -> None:
    """Two documents that differ in it alone say the same."""
    assert same_content(document(version(1), revision=1), document(version(1), revision=7))
    assert same_content(document(version(1)), document(version(1), revision=7))
    assert not same_content(document(version(1), revision=1), document(version(2), revision=1))
    assert not same_content(document(version(1), note=1), document(version(1)))


@pytest.mark.parametrize(
    ("revisions", "expected"),
    [
        ([], []),
        ([5], [0]),
        ([5, 4, 2], [0]),
        ([3, 2, 1, None], [0]),
        ([2, 1, 50, 49], [0, 2]),
        ([7, 7, 6], [0, 1]),
        ([None, None, 5], [0, 1, 2]),
        ([None, 1], [0, 1]),
    ],
)
def test_peaks_are_what_the_next_need_not_contain(revisions: list[int | None], expected: list[int]) -> None:
    """The newest, and each that is followed by one whose number does not rise."""
    assert expected == peaks(revisions)


@pytest.mark.parametrize(
    ("numbers", "words"), [([], ""), ([3], "3"), ([2, 1, 3], "1 to 3"), ([1, 2, 7, 9, 9, 8, 5], "1 to 2, 5, 7 to 9")]
)
def test_numbers_in_words(numbers: list[int], words: str) -> None:
    """Runs are named by their ends."""
    assert words == spans(numbers)
