"""Errors: they travel between processes, say who moves next by their kind, and read as sentences."""

import pickle

import pytest

import cf_data_tracker
from cf_data_tracker import errors
from cf_data_tracker.errors import (
    ClaimLostError,
    ContentionError,
    DeniedError,
    DifferentContentError,
    DocumentError,
    DocumentVanishedError,
    InvalidNameError,
    LocalFileError,
    NotTrackedError,
    OutcomeUnknownError,
    ReadDeniedError,
    SameContentError,
    StoreError,
    TrackerError,
    UnsafeStoreError,
    WouldLoseError,
)

WHERE = "tables[0].tables[2].files[1].current_version"
PROBLEM = 'expected an integer, got "3"'
LOCATION = "s3://raw/vitals/vitals_version_info.json"

RAISED = [
    TrackerError("something"),
    InvalidNameError("schema must not be empty"),
    DocumentError(WHERE, PROBLEM),
    DocumentError("", "not JSON", LOCATION),
    NotTrackedError("the schema 'vitals' is not tracked"),
    DocumentVanishedError("it was there and is gone"),
    ContentionError("others kept winning"),
    OutcomeUnknownError("it may have landed"),
    LocalFileError("births_q1.zip: there is no such file"),
    DifferentContentError("s3://raw/births_q1.zip is there already"),
    SameContentError("version 1 has the same content"),
    ClaimLostError("another worker has it"),
    WouldLoseError("it lacks what was recorded since", ("births/FY2023 version 3",)),
    UnsafeStoreError("it does not honour If-Match"),
    StoreError("the bucket does not exist"),
    DeniedError("allow s3:PutObject on it"),
    ReadDeniedError("allow s3:GetObject on it"),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_an_error_pickles_whole(error: TrackerError) -> None:
    """An error that crosses to another process says and holds there what it said and held here."""
    there = pickle.loads(pickle.dumps(error))
    assert type(error) is type(there)
    assert str(error) == str(there)
    assert error.args == there.args
    assert vars(error) == vars(there)


def test_every_public_error_is_proven_to_pickle() -> None:
    """No error is public and missing from the list of those that are proven to pickle."""
    assert {getattr(errors, name) for name in errors.__all__} <= {type(error) for error in RAISED}


@pytest.mark.parametrize("name", errors.__all__)
def test_one_except_clause_catches_every_error(name: str) -> None:
    """Every error is a `TrackerError`, and is given at the top level."""
    assert issubclass(getattr(errors, name), TrackerError)
    assert getattr(errors, name) is getattr(cf_data_tracker, name)


@pytest.mark.parametrize(("error", "also"), [(InvalidNameError, ValueError), (NotTrackedError, KeyError)])
def test_an_error_is_also_what_python_would_raise(error: type[TrackerError], also: type[Exception]) -> None:
    """Code that expects Python's own error for a bad value or a missing key catches ours."""
    assert issubclass(error, also)


def test_a_denial_is_a_refusal_of_the_store() -> None:
    """Who handles `StoreError` need not know that a 403 has a name within; a denied read is one of the denials."""
    assert (DeniedError, StoreError, TrackerError) == ReadDeniedError.__mro__[1:4]
    assert {"DeniedError", "ReadDeniedError"}.isdisjoint(errors.__all__)


@pytest.mark.parametrize("name", sorted(set(errors.__all__) - {"TrackerError"}))
def test_no_error_hides_behind_another(name: str) -> None:
    """What the caller does next differs, so a public error is no other public error."""
    others = [getattr(errors, other) for other in errors.__all__ if other not in (name, "TrackerError")]
    assert not issubclass(getattr(errors, name), tuple(others))


def test_a_missing_name_reads_as_a_sentence() -> None:
    """`NotTrackedError` shows its message, without the quotes of a `KeyError`."""
    assert "the schema 'vitals' is not tracked" == str(NotTrackedError("the schema 'vitals' is not tracked"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DocumentError(WHERE, PROBLEM), f"{WHERE}: {PROBLEM}"),
        (DocumentError("", "not JSON"), "not JSON"),
        (DocumentError("", "not JSON", LOCATION), f"not JSON (in {LOCATION}, which was left as it is)"),
        (DocumentError(WHERE, PROBLEM, LOCATION), f"{WHERE}: {PROBLEM} (in {LOCATION}, which was left as it is)"),
    ],
)
def test_a_bad_document_says_where(error: DocumentError, text: str) -> None:
    """The message of a `DocumentError` is the place, the problem and the document, as far as they are known."""
    assert text == str(error)
