"""The version rules, one law a test, on every document that reading accepts."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cf_data_tracker.document import Document, raw_document, table_name_of, tables_of, to_bytes, versions_of
from cf_data_tracker.errors import DocumentError
from cf_data_tracker.model import Recorded, Recording
from cf_data_tracker.rules.raw import record
from cf_data_tracker.rules.verify import findings
from strategies import SCHEMA, at, commits, places, raw_documents, recording, recordings

Path = tuple[str | int, ...]

DOCUMENTS: Final = st.none() | raw_documents()
BATCHES: Final = recordings()
SOME: Final = recordings(min_size=1)


def folded(document: Document | None, batch: Iterable[Recording]) -> tuple[Document | None, tuple[Recorded, ...]]:
    """Record one by one."""
    outcomes: list[Recorded] = []
    for one in batch:
        document, outcome = record(document, SCHEMA, [one])
        outcomes += outcome
    return document, tuple(outcomes)


def recorded(document: Document | None, batch: list[Recording]) -> Document:
    """Return the document with the recordings in it."""
    grown, _ = record(document, SCHEMA, batch)
    assert grown is not None
    return grown


def without_revision(document: Document | None) -> Document | None:
    """Return what a document says, leaving out how many commits it took."""
    return document and {key: value for key, value in document.items() if key != "revision"}


def entries_of(document: Document | None, table: str, file_name: str) -> list[Document]:
    """Return the file entries of a file name, wherever they stand."""
    tables = [entry for entry in tables_of(document, SCHEMA) if table_name_of(entry) == table]
    return [entry for found in tables for entry in found["files"] if entry["file_name"] == file_name]


def numbers_of(document: Document | None, table: str, file_name: str) -> list[int]:
    """Return every number that a file name has given."""
    entries = entries_of(document, table, file_name)
    versions = [version["version"] for entry in entries for version in entry["versions"]]
    return versions + [entry["current_version"] for entry in entries]


def document_of(*tables: Document, **fields: Any) -> Document:  # noqa: ANN401 - any JSON value
    """Return a document of one schema."""
    return {"tables": [{"schema_name": SCHEMA, "tables": list(tables)}], **fields}


def file_entry(*numbers: int, name: str = "FY2023", current: int | None = None) -> Document:
    """Return a file entry with these versions: of `1.zip`, `2.zip` and so on."""
    versions = [{"version": number, "file": f"{number}.zip"} for number in numbers]
    return {"file_name": name, "current_version": numbers[-1] if current is None else current, "versions": versions}


# Rule 1: numbers


@given(DOCUMENTS)
def test_a_new_file_name_starts_at_version_1(document: Document | None) -> None:
    """Rule 1: a new file name starts at version 1."""
    assume(not entries_of(document, "births", "FY2024"))
    grown, (outcome,) = record(document, SCHEMA, [recording(file_name="FY2024")])
    assert (1, True) == (outcome.version, outcome.created)
    (entry,) = entries_of(grown, "births", "FY2024")
    assert (1, [1]) == (entry["current_version"], [version["version"] for version in entry["versions"]])


@given(DOCUMENTS, BATCHES)
def test_a_new_file_gets_the_highest_number_and_one(document: Document | None, batch: list[Recording]) -> None:
    """Rule 1: a new file in a known file name gets the highest number that was given there + 1, whatever the gaps."""
    for one in batch:
        highest = max(numbers_of(document, one.new.table, one.new.file_name), default=0)
        document, (outcome,) = record(document, SCHEMA, [one])
        assert highest + 1 == outcome.version or not outcome.created


@given(DOCUMENTS, BATCHES)
def test_current_version_is_the_last_one_given(document: Document | None, batch: list[Recording]) -> None:
    """Rule 1: after a version was created, `current_version` is its number, in the entry that took it."""
    for one in batch:
        document, (outcome,) = record(document, SCHEMA, [one])
        if outcome.created:
            entries = entries_of(document, one.new.table, one.new.file_name)
            (taker,) = [entry for entry in entries if one.recorded_by in map(_recorded_by, entry["versions"])]
            assert outcome.version == taker["current_version"]


def _recorded_by(version: Document) -> object:
    return version.get("recorded_by")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (file_entry(1, 2), 3),
        (file_entry(1, 5), 6),
        (file_entry(5, 1), 6),
        (file_entry(4), 5),
        (file_entry(1, current=7), 8),
        (file_entry(3, current=1), 4),
        (file_entry(2, 2), 3),
        (file_entry(0), 1),
        (file_entry(current=0), 1),
        (file_entry(current=2), 3),
    ],
    ids=str,
)
def test_numbers_are_highest_and_one_never_count_and_one(entry: Document, expected: int) -> None:
    """Rule 1: gaps, disorder and a `current_version` that is ahead or behind do not lead to a number given before."""
    grown, (outcome,) = record(document_of({"name": "births", "files": [entry]}), SCHEMA, [recording()])
    assert expected == outcome.version
    assert expected == entries_of(grown, "births", "FY2023")[0]["current_version"]


@pytest.mark.parametrize("place", ["current_version", "version", "revision"])
def test_a_number_that_cannot_be_written_is_an_error_of_the_document(place: str) -> None:
    """A document whose numbers are as long as reading allows is refused, at the latest when the next is written."""
    numbers = {"current_version": 1, "version": 1, "revision": 1, place: 10**4_300 - 1}
    entry = {**file_entry(numbers["version"]), "current_version": numbers["current_version"]}
    body = to_bytes(document_of({"name": "births", "files": [entry]}, revision=numbers["revision"]))
    with pytest.raises(DocumentError):
        to_bytes(recorded(raw_document(body), [recording()]))


# Rule 2: idempotence


@given(DOCUMENTS, BATCHES)
def test_recording_again_changes_nothing(document: Document | None, batch: list[Recording]) -> None:
    """Rule 2: the very same document comes back when everything is in it: that is how "do not write" is said."""
    grown, outcomes = record(document, SCHEMA, batch)
    again, same_outcomes = record(grown, SCHEMA, batch)
    assert grown is again
    assert outcomes == same_outcomes


@given(DOCUMENTS, BATCHES)
def test_a_lost_answer_is_recognised(document: Document | None, batch: list[Recording]) -> None:
    """Rule 2: the same recording applied to a document that has it already says once more that it created its version.

    That is how a worker whose write was not answered learns what became of it.
    """
    grown, outcomes = record(document, SCHEMA, batch)
    stored = raw_document(to_bytes(grown)) if grown is not None else None
    assert outcomes == record(stored, SCHEMA, batch)[1]


@given(DOCUMENTS, BATCHES)
def test_another_worker_with_the_same_files_creates_none(document: Document | None, batch: list[Recording]) -> None:
    """Rule 2: another recording of a file that is there gets the file's number and `created=False`."""
    grown, outcomes = record(document, SCHEMA, batch)
    rivals = [replace(one, recorded_by=f"rival of {one.recorded_by}") for one in batch]
    same, theirs = record(grown, SCHEMA, rivals)
    assert grown is same
    assert tuple(replace(outcome, created=False) for outcome in outcomes) == theirs


@given(DOCUMENTS, BATCHES)
def test_created_says_whose_the_version_is(document: Document | None, batch: list[Recording]) -> None:
    """Rule 2: `created` is true exactly where a version of the result bears the recording's identity."""
    grown, outcomes = record(document, SCHEMA, batch)
    theirs = {version.recorded_by for version in versions_of(grown, SCHEMA)}
    assert [one.recorded_by in theirs for one in batch] == [outcome.created for outcome in outcomes]


def test_a_file_that_stands_twice_answers_with_its_newest_version() -> None:
    """Rule 2: where the earlier package gave one file several versions, the newest one is the answer."""
    versions = [{"version": number, "file": "FY2022"} for number in (1, 3, 2)]
    entry = {"file_name": "FY2022", "current_version": 3, "versions": versions}
    document = document_of({"table_name": "births", "files": [entry]})
    same, (outcome,) = record(document, SCHEMA, [recording("FY2022", file_name="FY2022")])
    assert document is same
    assert (3, False) == (outcome.version, outcome.created)


def test_a_file_is_known_by_its_file_name_alone() -> None:
    """Rule 2: the same file under another file name, or in another table, is a file of its own."""
    batch = [
        recording("a.zip", recorded_by="1"),
        recording("a.zip", file_name="FY2024", recorded_by="2"),
        recording("a.zip", table="deaths", recorded_by="3"),
        recording("a.zip", recorded_by="4"),
    ]
    _, outcomes = record(None, SCHEMA, batch)
    assert [(1, True), (1, True), (1, True), (1, False)] == [(one.version, one.created) for one in outcomes]


def test_nothing_to_record_is_nothing_to_write() -> None:
    """Rule 2: no recordings leave the very same document, or none at all."""
    document: Document = {"tables": []}
    assert document is record(document, SCHEMA, [])[0]
    assert (None, ()) == record(None, SCHEMA, [])


# Rule 3: nothing else changes


def spine(document: Document, batch: list[Recording]) -> set[Path]:
    """Return the paths from the top of a document down to each version of these recordings."""
    ours = {one.recorded_by for one in batch}
    added = [path[:-1] for path, value in places(document) if path[-1:] == ("recorded_by",) and value in ours]
    return {path[:length] for path in added for length in range(len(path) + 1)}


def changed_numbers(paths: set[Path]) -> set[Path]:
    """Return where a commit writes a number: in the file entries on these paths, and at the top."""
    return {(*path, "current_version") for path in paths} | {("revision",)}


@given(DOCUMENTS, SOME)
def test_nothing_but_the_named_file_names_changes(document: Document | None, batch: list[Recording]) -> None:
    """Rule 3: what stood at a path stands there afterwards, but for `current_version` on the way, and `revision`."""
    grown = recorded(document, batch)
    after = dict(places(grown))
    before = dict(places(document)) if document is not None else {}
    assert {} == {path: value for path, value in before.items() if path not in after}
    differing = {path for path, value in before.items() if repr(value) != repr(after[path])}
    assert differing <= changed_numbers(spine(grown, batch))


@given(DOCUMENTS, SOME)
def test_nothing_is_added_but_the_versions(document: Document | None, batch: list[Recording]) -> None:
    """Rule 3: what was not there before leads to a new version, or belongs to it or to the file name that it begins."""
    grown = recorded(document, batch)
    before = {path for path, _ in places(document)} if document is not None else set()
    ways = spine(grown, batch)
    names = {(*path, key) for path in ways for key in ("schema_name", "name", "file_name")}
    fields = {path for path, _ in places(grown) if path[:-1] in ways and path[-3:-2] == ("versions",)}
    new = {path for path, _ in places(grown)} - before
    assert new <= ways | names | fields | changed_numbers(ways)


@given(DOCUMENTS, BATCHES)
def test_arguments_are_never_changed(document: Document | None, batch: list[Recording]) -> None:
    """Rule 3: the document that was handed in is afterwards what it was, to the byte."""
    before = to_bytes(document or {})
    again = list(batch)
    record(document, SCHEMA, batch)
    assert before == to_bytes(document or {})
    assert again == batch


def containers(value: object, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every list and object."""
    return (path for path, kind in places(value, path) if isinstance(kind, type))


@given(raw_documents(), SOME)
def test_what_is_not_touched_is_shared(document: Document, batch: list[Recording]) -> None:
    """Rule 3: lists and objects off the way to a new version are not copied; a large document costs what it adds."""
    grown = recorded(document, batch)
    copied = {path for path in containers(document) if at(document, path) is not at(grown, path)}
    assert copied <= spine(grown, batch)


def test_the_result_shares_no_list_with_a_later_one() -> None:
    """Rule 3: what came back is not changed by recording into it."""
    first = recorded(None, [recording("a.zip", recorded_by="1")])
    before = to_bytes(first)
    recorded(first, [recording("b.zip", recorded_by="2")])
    assert before == to_bytes(first)


def test_unknown_fields_survive_at_every_level() -> None:
    """Rule 3: fields that are not ours stay where they are: at the top, in a schema, table, file name and version."""
    version = {"version": 1, "file": "a.zip", "note": [1.5, None]}
    entry = {"file_name": "FY2023", "note": "n4", "current_version": 1, "versions": [version]}
    table = {"note": "n3", "table_name": "births", "files": [entry]}
    schema = {"schema_name": SCHEMA, "note": "n2", "tables": [table]}
    grown = recorded({"note": {"n": 1}, "tables": [schema]}, [recording()])
    assert {"n": 1} == grown["note"]
    assert "n2" == grown["tables"][0]["note"]
    assert "n3" == grown["tables"][0]["tables"][0]["note"]
    assert "n4" == grown["tables"][0]["tables"][0]["files"][0]["note"]
    assert version == grown["tables"][0]["tables"][0]["files"][0]["versions"][0]


@given(DOCUMENTS, SOME)
def test_the_result_is_a_document(document: Document | None, batch: list[Recording]) -> None:
    """Rule 3: what comes back is read again as it is, so that no commit makes a document that nobody can read."""
    grown = recorded(document, batch)
    assert grown == raw_document(to_bytes(grown))


@given(raw_documents(), SOME)
def test_other_schemas_are_not_touched(document: Document, batch: list[Recording]) -> None:
    """Rule 3: the entries of other schemas in the document are the same objects as before."""
    others = [entry for entry in document["tables"] if entry["schema_name"] != SCHEMA]
    grown = recorded(document, batch)
    kept = [entry for entry in grown["tables"] if entry["schema_name"] != SCHEMA]
    assert list(map(id, others)) == list(map(id, kept))


# Rule 4 and batches


@given(DOCUMENTS, BATCHES)
def test_a_batch_is_a_fold_of_ones(document: Document | None, batch: list[Recording]) -> None:
    """Recording many leads to what recording one after another leads to, with the same answers."""
    grown, outcomes = record(document, SCHEMA, batch)
    one_by_one, same_outcomes = folded(document, batch)
    assert outcomes == same_outcomes
    assert without_revision(grown) == without_revision(one_by_one)


@given(DOCUMENTS, BATCHES, st.lists(st.integers(0, 6), max_size=3).map(sorted))
def test_a_batch_may_be_parted_anywhere(document: Document | None, batch: list[Recording], ends: list[int]) -> None:
    """Recording is associative: into however many commits a batch is parted, answers and document are the same."""
    grown, outcomes = record(document, SCHEMA, batch)
    parts = document
    same_outcomes: tuple[Recorded, ...] = ()
    for start, end in pairwise([0, *ends, len(batch)]):
        parts, some = record(parts, SCHEMA, batch[start:end])
        same_outcomes += some
    assert outcomes == same_outcomes
    assert without_revision(grown) == without_revision(parts)


@given(DOCUMENTS, BATCHES)
def test_numbers_follow_the_order_of_the_batch(document: Document | None, batch: list[Recording]) -> None:
    """Rule 1: what a batch creates in a file name has the next numbers, none left out, in the order given."""
    _, outcomes = record(document, SCHEMA, batch)
    for name in {(one.table, one.file_name) for one in outcomes}:
        created = [one.version for one in outcomes if one.created and (one.table, one.file_name) == name]
        highest = max(numbers_of(document, *name), default=0)
        assert list(range(highest + 1, highest + 1 + len(created))) == created


@given(DOCUMENTS, commits())
def test_an_answer_stays_true(document: Document | None, batches: list[list[Recording]]) -> None:
    """Rule 3: a number that was given never changes: after any number of later commits, the answer is the same."""
    told = []
    for batch in batches:
        document, outcomes = record(document, SCHEMA, batch)
        told.append(outcomes)
    assert told == [record(document, SCHEMA, batch)[1] for batch in batches]


@given(DOCUMENTS, BATCHES)
def test_a_batch_is_one_revision(document: Document | None, batch: list[Recording]) -> None:
    """A commit raises `revision` by one, whatever the number of recordings, and only if it adds something."""
    grown, outcomes = record(document, SCHEMA, batch)
    before, after = ((found or {}).get("revision", 0) for found in (document, grown))
    assert (before + 1 if any(outcome.created for outcome in outcomes) else before) == after


@given(DOCUMENTS, BATCHES, st.integers(0, 6))
def test_later_recordings_have_later_versions(document: Document | None, batch: list[Recording], split: int) -> None:
    """Rule 4: what a later commit creates has a higher number than all that was there when it began."""
    middle, _ = record(document, SCHEMA, batch[:split])
    _, outcomes = record(middle, SCHEMA, batch[split:])
    for outcome in outcomes:
        earlier = numbers_of(middle, outcome.table, outcome.file_name)
        assert not outcome.created or outcome.version > max(earlier, default=0)


@given(DOCUMENTS, BATCHES)
def test_answers_come_in_the_order_of_the_recordings(document: Document | None, batch: list[Recording]) -> None:
    """There is one answer for each recording, in the order given, with its names."""
    _, outcomes = record(document, SCHEMA, batch)
    assert [(one.new.schema, one.new.table, one.new.file_name, one.new.file) for one in batch] == [
        (outcome.schema, outcome.table, outcome.file_name, outcome.file) for outcome in outcomes
    ]


# A plain model beside the rules


class Model:
    """The rules over two plain dictionaries: the newest version of each file, and the highest number."""

    def __init__(self, document: Document | None) -> None:
        self.newest: dict[tuple[str, str, str], tuple[int, str | None]] = {}
        self.highest: dict[tuple[str, str], int] = {}
        for found in versions_of(document, SCHEMA):
            file = (found.table, found.file_name, found.file)
            if found.version >= self.newest.get(file, (0, None))[0]:
                self.newest[file] = (found.version, found.recorded_by)
        for table in tables_of(document, SCHEMA):
            for entry in table["files"]:
                name = table_name_of(table), entry["file_name"]
                numbers = [entry["current_version"], *(version["version"] for version in entry["versions"])]
                self.highest[name] = max(self.highest.get(name, 0), *numbers)

    def record(self, one: Recording) -> tuple[int, bool]:
        """Return the version and whether this recording created it."""
        name = one.new.table, one.new.file_name
        file = (*name, one.new.file)
        if file not in self.newest:
            self.highest[name] = self.highest.get(name, 0) + 1
            self.newest[file] = (self.highest[name], one.recorded_by)
        version, by = self.newest[file]
        return version, by == one.recorded_by


@given(DOCUMENTS, commits())
def test_the_rules_do_what_a_plain_model_does(document: Document | None, batches: list[list[Recording]]) -> None:
    """Two dictionaries give the same answers as the document, over several commits, and hold the same afterwards."""
    model = Model(document)
    for batch in batches:
        expected = [model.record(one) for one in batch]
        document, outcomes = record(document, SCHEMA, batch)
        assert expected == [(outcome.version, outcome.created) for outcome in outcomes]
    assert (model.newest, model.highest) == (Model(document).newest, Model(document).highest)


@given(commits(min_size=1))
def test_a_document_of_our_own_is_sound(batches: list[list[Recording]]) -> None:
    """A document that was begun by these rules has dense numbers, one version a file, and no findings."""
    document: Document | None = None
    for batch in batches:
        document = recorded(document, batch)
    assert document is not None
    assert [] == findings(document, SCHEMA)
    for table in tables_of(document, SCHEMA):
        for entry in table["files"]:
            assert list(range(1, entry["current_version"] + 1)) == [found["version"] for found in entry["versions"]]


# Where things go


def test_a_first_recording_begins_a_document() -> None:
    """Without a document, one is begun, in the shape of the earlier package, with what is ours beside it."""
    version = {
        "version": 1,
        "timestamp": "2024-03-01 09:00:00",
        "file_size": 810_112,
        "file": "new.zip",
        "s3_location": "s3://raw/vitals/births/new.zip",
        "fyear": "FY2023",
        "upload_date": "2024-03-01",
        "recorded_by": "me",
    }
    files = [{"file_name": "FY2023", "current_version": 1, "versions": [version]}]
    expected = {**document_of({"name": "births", "files": files}), "revision": 1}
    assert expected == record(None, SCHEMA, [recording()])[0]
    assert expected == record({"tables": []}, SCHEMA, [recording()])[0]
    assert expected == record(document_of(), SCHEMA, [recording()])[0]


def test_a_checksum_is_recorded_where_it_is_known() -> None:
    """A version has a `checksum` if its file came with one."""
    new = recording()
    grown = recorded(None, [replace(new, new=replace(new.new, checksum="sha256:1f"))])
    assert "sha256:1f" == next(versions_of(grown, SCHEMA)).checksum
    assert "checksum" not in entries_of(recorded(None, [new]), "births", "FY2023")[0]["versions"][0]


def test_a_second_schema_finds_its_place_beside_the_first() -> None:
    """A document that holds another schema alone gets an entry for ours, after it."""
    other = {"schema_name": "weather", "tables": []}
    grown = recorded({"tables": [other], "revision": 41}, [recording()])
    assert ["weather", "vitals"] == [entry["schema_name"] for entry in grown["tables"]]
    assert other is grown["tables"][0]
    assert 42 == grown["revision"]


@pytest.mark.parametrize("keys", [("name",), ("table_name",), ("name", "table_name")])
def test_a_table_is_known_under_either_key(keys: tuple[str, ...]) -> None:
    """A table that stands under `name`, `table_name` or both takes the recording, and keeps its keys."""
    table = {**dict.fromkeys(keys, "births"), "files": [file_entry(1)]}
    grown, (outcome,) = record(document_of(table), SCHEMA, [recording()])
    assert 2 == outcome.version
    (entry,) = tables_of(grown, SCHEMA)
    assert [*keys, "files"] == list(entry)


def test_a_table_under_both_keys_is_one_table() -> None:
    """A table that stands in the document twice counts as one: numbers go on from the highest in either place."""
    first = {"table_name": "births", "files": [file_entry(1, 2)]}
    second = {"name": "births", "files": [file_entry(1)]}
    grown, outcomes = record(
        document_of(first, second), SCHEMA, [recording("2.zip"), recording("3.zip", recorded_by="3")]
    )
    assert [(2, False), (3, True)] == [(outcome.version, outcome.created) for outcome in outcomes]
    untouched, taker = tables_of(grown, SCHEMA)
    assert first is untouched
    assert [1, 3] == [version["version"] for version in taker["files"][0]["versions"]]
    assert 3 == taker["files"][0]["current_version"]


def test_a_new_file_name_goes_to_the_first_entry_of_its_table() -> None:
    """A file name that neither entry of a table has is begun in the first."""
    first: Document = {"table_name": "births", "files": []}
    second = {"name": "births", "files": [file_entry(1)]}
    grown = recorded(document_of(first, second), [recording(file_name="FY2024")])
    untouched = tables_of(grown, SCHEMA)[1]
    assert second is untouched
    assert ["FY2024"] == [entry["file_name"] for entry in tables_of(grown, SCHEMA)[0]["files"]]


def test_a_file_name_that_stands_twice_in_a_table_is_one() -> None:
    """A file name that a table has twice counts as one; the last place takes what is new."""
    table = {"name": "births", "files": [file_entry(1, 4), file_entry(2), file_entry(9, name="FY2024")]}
    grown, (outcome,) = record(document_of(table), SCHEMA, [recording()])
    assert 5 == outcome.version
    assert [[1, 4], [2, 5], [9]] == [
        [version["version"] for version in entry["versions"]] for entry in tables_of(grown, SCHEMA)[0]["files"]
    ]
