"""The clean rules, one law a test: a record is only ever replaced by one of a newer raw version."""

import json
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.document import Document, clean_document, older_clean_document, to_bytes, versions_of
from cf_data_tracker.model import CleanChanged, CleanRecord, CleanRecorded, FileVersion
from cf_data_tracker.rules.claims import change_many
from cf_data_tracker.rules.clean import (
    CARRIED_OVER,
    carry_over,
    pending,
    record,
    skipped,
    skipped_in_words,
    without_outdated,
)
from strategies import (
    SCHEMA,
    at,
    clean_documents,
    clean_record,
    clean_records,
    file_version,
    older_clean_documents,
    places,
    raw_documents,
)

DOCUMENTS: Final = st.none() | clean_documents()
OLDER: Final = st.none() | older_clean_documents()
RECORDS: Final = clean_records()

FileName = tuple[str, str]


def folded(document: Document | None, records: list[CleanRecord]) -> tuple[Document | None, list[CleanRecorded]]:
    """Record one after the other."""
    outcomes = []
    for new in records:
        document, outcome = record(document, new)
        outcomes.append(outcome)
    return document, outcomes


def recorded(document: Document | None, new: CleanRecord) -> Document:
    """Return the document with a record in it."""
    grown, _ = record(document, new)
    assert grown is not None
    return grown


def numbers(document: Document | None) -> dict[FileName, int]:
    """Return the raw version that a clean document names for each file name."""
    tables = document["tables"] if document is not None else {}
    return {
        (table, file_name): entry["file_info"]["version"]
        for table, records in tables.items()
        for file_name, entry in records.items()
    }


def without_revision(document: Document | None) -> Document | None:
    """Return what a document says, leaving out how many commits it took."""
    return document and {key: value for key, value in document.items() if key != "revision"}


def raised(numbers: dict[FileName, int], records: list[CleanRecord]) -> dict[FileName, int]:
    """Return what the numbers are when each record that is newer has taken its place: rule 5 over a dictionary."""
    result = dict(numbers)
    for new in records:
        key = new.raw.table, new.raw.file_name
        result[key] = max(result.get(key, 0), new.raw.version)
    return result


@given(DOCUMENTS, RECORDS)
def test_a_record_is_replaced_only_by_a_newer_one(document: Document | None, records: list[CleanRecord]) -> None:
    """Rule 5: each file name ends with the newest raw version that it had or was given, in whatever order they came."""
    assert raised(numbers(document), records) == numbers(folded(document, records)[0])


@given(DOCUMENTS, RECORDS.flatmap(lambda records: st.tuples(st.just(records), st.permutations(records))))
def test_the_order_of_the_workers_does_not_matter(
    document: Document | None, orders: tuple[list[CleanRecord], list[CleanRecord]]
) -> None:
    """Rule 5: late workers lead to the same versions as punctual ones."""
    one, other = orders
    assert numbers(folded(document, one)[0]) == numbers(folded(document, other)[0])


@given(DOCUMENTS, RECORDS)
def test_an_answer_names_the_version_that_is_there(document: Document | None, records: list[CleanRecord]) -> None:
    """The answer names the version that the document names afterwards, and whether this very record put it there."""
    for new in records:
        document = recorded(document, new)
        _, outcome = record(document, new)
        raw = new.raw
        info = document["tables"][raw.table][raw.file_name]["file_info"]
        expected = (SCHEMA, raw.table, raw.file_name, info["version"], info.get("recorded_by") == new.recorded_by)
        assert expected == (
            outcome.schema,
            outcome.table,
            outcome.file_name,
            outcome.version,
            outcome.created,
        )


@given(DOCUMENTS, RECORDS)
def test_recording_again_changes_nothing(document: Document | None, records: list[CleanRecord]) -> None:
    """The very same document comes back for a record that it has, or has a newer one of."""
    grown, _ = folded(document, records)
    again, _ = folded(grown, records)
    assert grown is again


def test_a_lost_answer_is_recognised() -> None:
    """The same record applied again says once more that it was put there; another worker's says that it was not."""
    new = clean_record(file_version(2))
    grown, first = record(None, new)
    assert first == record(grown, new)[1]
    assert replace(first, created=False) == record(grown, replace(new, recorded_by="another"))[1]


def test_a_late_worker_learns_of_the_newer_record() -> None:
    """Rule 5: a record of an older raw version is not made, and its answer names the newer version."""
    grown = recorded(None, clean_record(file_version(3), "punctual"))
    same, outcome = record(grown, clean_record(file_version(2), "late"))
    assert grown is same
    assert (3, False) == (outcome.version, outcome.created)


@given(DOCUMENTS, RECORDS)
def test_a_commit_is_one_revision(document: Document | None, records: list[CleanRecord]) -> None:
    """A record that changes something raises `revision` by one; one that changes nothing does not."""
    for new in records:
        grown = recorded(document, new)
        before, after = (document or {}).get("revision", 0), grown.get("revision", 0)
        assert (before if grown is document else before + 1) == after
        document = grown


@given(DOCUMENTS, RECORDS)
def test_recording_the_last_again_gives_the_same_answer(document: Document | None, records: list[CleanRecord]) -> None:
    """The very same document and answer come back for a record that was just made, whether it was put there or not."""
    for new in records:
        document, outcome = record(document, new)
        again, same_outcome = record(document, new)
        assert document is again
        assert outcome == same_outcome


# Batches


@given(DOCUMENTS, RECORDS)
def test_many_are_a_fold_of_ones(document: Document | None, records: list[CleanRecord]) -> None:
    """Recording many leads to what recording one after another leads to, with the same answers."""
    grown, outcomes = change_many(document, SCHEMA, records)
    one_by_one, same_outcomes = folded(document, records)
    assert list(outcomes) == same_outcomes
    assert without_revision(grown) == without_revision(one_by_one)


@given(DOCUMENTS, RECORDS, st.lists(st.integers(0, 6), max_size=3).map(sorted))
def test_many_may_be_parted_anywhere(document: Document | None, records: list[CleanRecord], ends: list[int]) -> None:
    """Recording is associative: into however many commits a batch is parted, answers and document are the same."""
    grown, outcomes = change_many(document, SCHEMA, records)
    parts = document
    same_outcomes: tuple[CleanChanged, ...] = ()
    for start, end in pairwise([0, *ends, len(records)]):
        parts, some = change_many(parts, SCHEMA, records[start:end])
        same_outcomes += some
    assert outcomes == same_outcomes
    assert without_revision(grown) == without_revision(parts)


@given(DOCUMENTS, RECORDS)
def test_many_are_one_revision(document: Document | None, records: list[CleanRecord]) -> None:
    """A commit raises `revision` by one, whatever the number of records, and only if it changes something."""
    grown, _ = change_many(document, SCHEMA, records)
    before, after = ((found or {}).get("revision", 0) for found in (document, grown))
    assert (before if grown is document else before + 1) == after


@given(DOCUMENTS, RECORDS)
def test_many_that_are_there_are_nothing_to_write(document: Document | None, records: list[CleanRecord]) -> None:
    """The very same document comes back when it has all of them, or newer ones; and none, for none."""
    grown, _ = change_many(document, SCHEMA, records)
    assert grown is change_many(grown, SCHEMA, records)[0]
    assert document is change_many(document, SCHEMA, [])[0]


@given(DOCUMENTS, RECORDS)
def test_a_record_never_goes_back(document: Document | None, records: list[CleanRecord]) -> None:
    """Rule 5: from commit to commit, the version that a file name has a record of rises or stays, and is never lost."""
    for new in records:
        before = numbers(document)
        document, _ = change_many(document, SCHEMA, [new])
        assert all(version <= numbers(document)[name] for name, version in before.items())


# What is left alone


@given(DOCUMENTS, RECORDS)
def test_arguments_are_never_changed(document: Document | None, records: list[CleanRecord]) -> None:
    """The document that was handed in is afterwards what it was, to the byte."""
    before = to_bytes(document or {})
    folded(document, records)
    assert before == to_bytes(document or {})


@given(clean_documents(), st.integers(0, 6))
def test_nothing_but_the_named_record_changes(document: Document, version: int) -> None:
    """Whatever stands outside the record, and `revision`, stands there afterwards, and is shared, not copied."""
    new = clean_record(file_version(version))
    ways = {("tables", "births", "FY2023")[:length] for length in range(4)}
    grown = recorded(document, new)
    for path, value in places(document):
        if path[:3] != ("tables", "births", "FY2023") and path != ("revision",) and path not in ways:
            assert at(document, path) is at(grown, path), (path, value)
    assert set(document) - {"revision"} <= set(grown)
    assert set(document["tables"]) <= set(grown["tables"])


@given(DOCUMENTS, OLDER, RECORDS)
def test_the_result_is_a_clean_document(
    document: Document | None, older: Document | None, records: list[CleanRecord]
) -> None:
    """What the rules make is read again as it is, so that no commit makes a document that nobody can read."""
    grown, _ = folded(carry_over(document, older, SCHEMA), [*records, clean_record(file_version(9))])
    assert grown is not None
    assert grown == clean_document(to_bytes(grown))


def test_a_first_record_begins_a_document() -> None:
    """Without a document, one is begun, in the shape of the earlier package, with what is ours beside it."""
    info = {
        "raw_file": "a.zip",
        "version": 2,
        "timestamp": "2024-03-02 10:00:00",
        "file_size": 810_112,
        "s3_location": "s3://raw/vitals/births/a.zip",
        "fyear": "FY2023",
        "upload_date": "2024-03-01",
        "recorded_by": "me",
    }
    entry = {"file_info": info, "clean_files": ["vitals/births/FY2023.2.parquet"]}
    expected = {"schema_name": "vitals", "tables": {"births": {"FY2023": entry}}, "revision": 1}
    assert expected == recorded(None, clean_record(file_version(2)))


# What waits to be cleaned


@given(raw_documents(), DOCUMENTS)
def test_pending_is_what_is_newer_than_its_record(raw: Document, clean: Document | None) -> None:
    """Pending is the newest raw version of each file name, if it is newer than the clean record or there is none."""
    newest: dict[FileName, int] = {}
    for found in versions_of(raw, SCHEMA):
        key = found.table, found.file_name
        newest[key] = max(newest.get(key, 0), found.version)
    cleaned = numbers(clean)
    expected = {key: version for key, version in newest.items() if version > cleaned.get(key, -1)}
    waiting = pending(raw, clean, SCHEMA)
    assert expected == {(found.table, found.file_name): found.version for found in waiting}
    assert len(expected) == len(waiting)


def speaks(found: FileVersion) -> bool:
    """Return whether a version's names can be handed in; reading accepts others."""
    return all(name.isprintable() and name.strip() for name in (found.table, found.file_name))


@given(raw_documents(), DOCUMENTS)
def test_what_is_pending_is_so_until_it_is_recorded(raw: Document, clean: Document | None) -> None:
    """Once a pending version has a record, it is not pending, nor is another of its file name; all others still are."""
    waiting = pending(raw, clean, SCHEMA)
    records = [
        CleanRecord(raw=found, clean_files=(), timestamp="2024-03-02 10:00:00", recorded_by=str(number))
        for number, found in enumerate(filter(speaks, waiting))
    ]
    grown, outcomes = folded(clean, records)
    assert all(outcome.created for outcome in outcomes)
    assert [found for found in waiting if not speaks(found)] == pending(raw, grown, SCHEMA)


def test_a_superseded_version_is_not_pending() -> None:
    """Of a file name with two uncleaned versions, the newer one alone is pending, as the raw document has it."""
    versions = [{"version": 1, "file": "a.zip"}, {"version": 3, "file": "c.zip"}, {"version": 2, "file": "b.zip"}]
    files = [{"file_name": "FY2023", "current_version": 3, "versions": versions}]
    raw = {"tables": [{"schema_name": SCHEMA, "tables": [{"name": "births", "files": files}]}]}
    assert [("births", "FY2023", "c.zip", 3)] == [
        (found.table, found.file_name, found.file, found.version) for found in pending(raw, None, SCHEMA)
    ]


@given(raw_documents(), DOCUMENTS)
def test_skipped_is_what_lies_between_the_record_and_the_pending_version(raw: Document, clean: Document | None) -> None:
    """Each raw version newer than its record is pending, or skipped, or another entry of the pending file."""
    waiting = {(found.table, found.file_name): found for found in pending(raw, clean, SCHEMA)}
    passed_over, cleaned = skipped(raw, clean, SCHEMA), numbers(clean)
    for found in versions_of(raw, SCHEMA):
        key = found.table, found.file_name
        uncleaned = key in waiting and found.version > cleaned.get(key, -1)
        other = uncleaned and found.version < waiting[key].version and found.file != waiting[key].file
        assert other == (found in passed_over)
    assert all((found.table, found.file_name) in waiting for found in passed_over)


@given(raw_documents(), DOCUMENTS)
def test_nothing_is_skipped_of_what_is_not_pending(raw: Document, clean: Document | None) -> None:
    """Once the pending versions have records, nobody can know any more what was skipped."""
    records = [
        CleanRecord(raw=found, clean_files=(), timestamp="2024-03-02 10:00:00", recorded_by=str(number))
        for number, found in enumerate(filter(speaks, pending(raw, clean, SCHEMA)))
    ]
    grown, _ = folded(clean, records)
    assert [] == [found for found in skipped(raw, grown, SCHEMA) if speaks(found)]


@pytest.mark.parametrize(("cleaned", "passed_over"), [(None, [0, 1, 2]), (0, [1, 2]), (1, [2]), (2, []), (3, [])])
def test_older_versions_without_a_record_are_skipped(cleaned: int | None, passed_over: list[int]) -> None:
    """They are those that are newer than the record; another entry of the pending file is none of them."""
    files = [(0, "z.zip"), (1, "a.zip"), (2, "b.zip"), (2, "c.zip"), (3, "c.zip")]
    versions = [{"version": number, "file": file} for number, file in files]
    entry = {"file_name": "FY2023", "current_version": 3, "versions": versions}
    raw = {"tables": [{"schema_name": SCHEMA, "tables": [{"name": "births", "files": [entry]}]}]}
    info = {"tables": {"births": {"FY2023": {"file_info": {"version": cleaned}, "clean_files": []}}}}
    clean = info if cleaned is not None else None
    assert passed_over == [found.version for found in skipped(raw, clean, SCHEMA)]


def test_skipped_versions_are_counted_in_one_line() -> None:
    """The file names that have most are named, printable ones; of the others there is a number."""
    found = [
        file_version(number, file_name=name)
        for name, many in zip("a\nbcde", range(6), strict=True)
        for number in range(many)
    ]
    words = skipped_in_words(found)
    assert words.startswith(
        f"{SCHEMA}: older versions were never cleaned: 5 of 'births/e', 4 of 'births/d', 3 of 'births/c', "
        "3 of 2 other file names. "
    )
    (newline,) = [file_version(file_name="a\nb")]
    assert r"1 of 'births/a\nb'. " in skipped_in_words([newline])


# The older shape


def older(**info: object) -> Document:
    """Return the entry of an older clean document that has one record, of version 2."""
    record = {"file_info": {"version": 2, "table_name": "births", **info}}
    return older_clean_document(json.dumps([{"schema_name": SCHEMA, "tables": {"FY2023": record}}]).encode())


def test_neither_document_makes_none() -> None:
    """Where there is neither a clean document nor an older one, there is none to carry over to."""
    assert None is carry_over(None, None, SCHEMA)


@given(DOCUMENTS)
def test_without_an_older_document_nothing_is_carried_over(document: Document | None) -> None:
    """Without an older document the very same document comes back."""
    assert document is carry_over(document, None, SCHEMA)


@given(DOCUMENTS, older_clean_documents())
def test_newer_and_missing_records_are_carried_over(document: Document | None, entry: Document) -> None:
    """An older document's record is carried over where the clean document has none, or one of an older version."""
    theirs = {
        (found["file_info"]["table_name"], name): found["file_info"]["version"]
        for name, found in entry["tables"].items()
    }
    own = numbers(document)
    expected = own | {key: version for key, version in theirs.items() if version > own.get(key, -1)}
    assert expected == numbers(carry_over(document, entry, SCHEMA))


@pytest.mark.parametrize(("own", "carried"), [(1, True), (2, False), (3, False)])
def test_a_record_of_our_own_is_replaced_by_a_newer_one_alone(own: int, carried: bool) -> None:  # noqa: FBT001 - expected
    """Rule 5: of our own record and an older document's, of version 2, the newer stays; of two equal ones, ours."""
    document = recorded(None, clean_record(file_version(own)))
    grown = carry_over(document, older(), SCHEMA)
    assert grown is not None
    kept = grown["tables"]["births"]["FY2023"]
    assert carried is (kept is not document["tables"]["births"]["FY2023"])


@given(older_clean_documents())
def test_a_carried_record_keeps_every_field(entry: Document) -> None:
    """A record is carried over with every field that it had, known or not, under the table that it names."""
    grown = carry_over(None, entry, SCHEMA)
    assert grown is not None
    for name, found in entry["tables"].items():
        carried = grown["tables"][found["file_info"]["table_name"]][name]
        assert found == {key: value for key, value in carried.items() if key in found}
        assert found["file_info"].get("parquet_files", []) == carried["clean_files"]


@given(clean_documents(), older_clean_documents())
def test_carrying_over_takes_nothing_away(document: Document, entry: Document) -> None:
    """What the clean document had besides its records stays, and neither argument is changed."""
    before = deepcopy((document, entry))
    grown = carry_over(document, entry, SCHEMA)
    assert grown is not None
    assert before == (document, entry)
    assert {key: value for key, value in document.items() if key != "tables"} == {
        key: value for key, value in grown.items() if key in document and key != "tables"
    }
    assert set(numbers(document)) <= set(numbers(grown))


@given(DOCUMENTS, older_clean_documents(), RECORDS)
def test_carrying_over_happens_once(document: Document | None, entry: Document, records: list[CleanRecord]) -> None:
    """A document into which the older one was carried over is not asked again, whatever was recorded since."""
    grown, _ = folded(carry_over(document, entry, SCHEMA), records)
    assert grown is not None
    assert True is grown[CARRIED_OVER]
    assert grown is carry_over(grown, entry, SCHEMA)
    assert grown is carry_over(grown, older(version=999), SCHEMA)


def test_a_document_that_is_carried_over_to_is_begun_under_its_schema() -> None:
    """Where there is only the older document, the clean one begins with its records."""
    assert {
        "schema_name": "vitals",
        "tables": {
            "births": {
                "FY2023": {
                    "clean_files": ["a.parquet"],
                    "file_info": {"version": 2, "table_name": "births", "parquet_files": ["a.parquet"]},
                }
            }
        },
        "carried_over": True,
    } == carry_over(None, older(parquet_files=["a.parquet"]), "vitals")


def test_a_carried_record_counts() -> None:
    """Rule 5 holds across the two documents: a late worker does not take a carried record back, a newer one does."""
    document = carry_over(None, older(), SCHEMA)
    late, outcome = record(document, clean_record(file_version(2)))
    assert document is late
    assert (2, False) == (outcome.version, outcome.created)
    newer, outcome = record(document, clean_record(file_version(3)))
    assert {("births", "FY2023"): 3} == numbers(newer)
    assert outcome.created


@pytest.mark.parametrize("files", [None, "a.parquet", {}])
def test_clean_files_that_are_no_list_make_no_document_that_nobody_can_read(files: object) -> None:
    """An older record whose files are no list is carried over so that the result can be read again."""
    grown = carry_over(None, older(parquet_files=files), SCHEMA)
    assert grown is not None
    assert grown == clean_document(to_bytes(grown))


def test_a_clean_record_is_made_of_any_raw_version() -> None:
    """What an older writer left out of a raw version is recorded as `null`."""
    bare = FileVersion(
        schema=SCHEMA,
        table="births",
        file_name="FY2023",
        file="a.zip",
        version=1,
        file_size=None,
        s3_location=None,
        timestamp=None,
        fyear=None,
        upload_date=None,
        checksum=None,
        recorded_by=None,
    )
    info = recorded(None, clean_record(bare))["tables"]["births"]["FY2023"]["file_info"]
    assert ("a.zip", None, None) == (info["raw_file"], info["file_size"], info["s3_location"])


def test_what_is_not_listed_need_not_be_taken_off() -> None:
    """Files that are not on the list of outdated ones, or are so since another time, leave the very same document."""
    bare: Document = {"schema_name": "vitals", "tables": {}}
    listing = {**bare, "outdated": {"a.parquet": "2024-03-01T09:00:00.000Z"}}
    later = {"a.parquet": "2024-03-02T09:00:00.000Z", "b.parquet": "2024-03-01T09:00:00.000Z"}
    assert without_outdated(bare, later) is bare
    assert without_outdated(listing, later) is listing
    assert bare == without_outdated(listing, listing["outdated"])
