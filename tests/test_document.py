"""Documents: what is one is read and written without loss; what is none is refused, and says where."""

import contextlib
import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.document import (
    Document,
    clean_document,
    older_clean_document,
    raw_document,
    table_name_of,
    tables_of,
    to_bytes,
    versions_of,
)
from cf_data_tracker.errors import DocumentError
from strategies import JSON, SCHEMA, SCHEMAS, at, clean_documents, file_version, older_clean_documents, places
from strategies import raw_documents as raw_documents_

Parse = Callable[[bytes], Document]
Path_ = tuple[str | int, ...]

GOLDEN: Final = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("golden/*.json"))]
GONE: Final = object()
MIB: Final = 1 << 20


def _version(number: int, file: str) -> Document:
    return {"version": number, "file": file, "timestamp": "2024-03-01 09:00:00", "file_size": 810_112}


def _file_name(name: str) -> Document:
    return {"file_name": name, "current_version": 2, "versions": [_version(1, "a.zip"), _version(2, "b.zip")]}


SOUND: Final[Document] = {
    "revision": 7,
    "tables": [
        {
            "schema_name": "vitals",
            "tables": [
                {"name": "births", "files": [_file_name("FY2022")]},
                {"table_name": "deaths", "files": []},
                {"name": "fees", "table_name": "fees", "files": [_file_name("FY2022"), _file_name("FY2023")]},
            ],
        },
        {"schema_name": "weather", "tables": []},
    ],
}

SOUND_CLEAN: Final[Document] = {
    "revision": 7,
    "schema_name": "vitals",
    "tables": {"births": {"FY2023": {"file_info": {"version": 2, "raw_file": "b.zip"}, "clean_files": ["b.parquet"]}}},
}

SOUND_OLDER: Final[Any] = [
    {
        "schema_name": "vitals",
        "tables": {"FY2023": {"file_info": {"version": 2, "table_name": "births", "parquet_files": ["b.parquet"]}}},
    }
]


def broken(sound: Any, path: Path_, value: object) -> bytes:  # noqa: ANN401 - any JSON value
    """Return a sound document with another value at one place, or with nothing there."""
    document = deepcopy(sound)
    if not path:
        document = value
    elif value is GONE:
        del at(document, path[:-1])[path[-1]]
    else:
        at(document, path[:-1])[path[-1]] = value
    return json.dumps(document).encode()


def refused(parse: Parse, body: bytes) -> tuple[str, str]:
    """Return where and why a body is refused."""
    with pytest.raises(DocumentError) as caught:
        parse(body)
    assert "" == caught.value.location
    return caught.value.where, caught.value.problem


EARLY_END: Final = "not JSON: .* line 1 column "

NOT_JSON: Final = {
    "empty": (b"", f"{EARLY_END}1"),
    "blank": (b" \n", "not JSON: .* line 2 column 1"),
    "truncated": (b'{"tables": [', f"{EARLY_END}13"),
    "truncated text": (b'{"tab', f"{EARLY_END}2"),
    "two documents": (b'{"tables": []}{}', f"{EARLY_END}15"),
    "byte order mark": (b'\xef\xbb\xbf{"tables": []}', f"{EARLY_END}1"),
    "not UTF-8": (b'{"tables": "\xff"}', "not UTF-8 at byte 12"),
    "UTF-16": ('{"tables": []}'.encode("utf-16"), "not UTF-8 at byte 0"),
    "NaN": (b'{"tables": [], "x": NaN}', "not JSON: NaN"),
    "infinity": (b'{"tables": [], "x": -Infinity}', "not JSON: -Infinity"),
    "1e999": (b'{"tables": [], "x": 1e999}', 'not a tracker document: the number "1e999" is out of range'),
    "-1e999": (b'{"tables": [], "x": [-1e999]}', 'not a tracker document: the number "-1e999" is out of range'),
    "long integer": (b'{"x": %s}' % (b"9" * 5_000), "not a tracker document: a number is too long"),
    "deep": (b'{"x": %s' % (b"[" * 200_000), "not a tracker document: nested too deeply"),
    "key twice": (b'{"tables": [], "tables": []}', 'the key "tables" stands twice in one object'),
    "inner key twice": (b'{"tables": [{"x": {"a": 1, "b": 2, "a": 1}}]}', 'the key "a" stands twice in one object'),
    "60 MiB of letters": (b"x" * 60 * MIB, f"{EARLY_END}1"),
    "60 MiB of bytes": (b"\xff" * 60 * MIB, "not UTF-8 at byte 0"),
    "60 MiB of brackets": (b"[" * 60 * MIB, "not a tracker document: nested too deeply"),
    "60 MiB of digits": (b"1" * 60 * MIB, "not a tracker document: a number is too long"),
}


@pytest.mark.parametrize(("body", "problem"), NOT_JSON.values(), ids=NOT_JSON.keys())
@pytest.mark.parametrize("parse", [raw_document, clean_document, older_clean_document])
def test_what_is_not_json_is_no_document(parse: Parse, body: bytes, problem: str) -> None:
    """A body that is no JSON, or none that can be written back as it was, is refused as a whole."""
    where, found = refused(parse, body)
    assert "" == where
    assert re.fullmatch(problem, found)


@pytest.mark.timeout(20)
def test_many_keys_are_read_in_no_time() -> None:
    """An object of a million keys, of which the last stands twice, is refused as soon as one of few keys."""
    keys = [*range(1_000_000), 999_999]
    body = b"{%s}" % b",".join(b'"%d":0' % key for key in keys)
    assert ("", 'the key "999999" stands twice in one object') == refused(raw_document, body)


def test_a_message_is_short_whatever_the_document() -> None:
    """A document may be huge, a message must not."""
    _, problem = refused(raw_document, b'{"revision": -%s}' % (b"9" * 4_000))
    assert len(problem) < 120


FILE: Final = ("tables", 0, "tables", 2, "files", 1)
VERSION: Final = (*FILE, "versions", 1)
IN_FILE: Final = "tables[0].tables[2].files[1]"

BAD_RAW: Final = {
    "list": ((), [], "", "expected an object, got a list"),
    "text": ((), "tables", "", 'expected an object, got "tables"'),
    "null": ((), None, "", "expected an object, got null"),
    "revision text": (("revision",), "7", "revision", 'expected an integer, got "7"'),
    "revision null": (("revision",), None, "revision", "expected an integer, got null"),
    "revision negative": (("revision",), -1, "revision", "expected 0 or more, got -1"),
    "no tables": (("tables",), GONE, "tables", "expected a list, got nothing"),
    "tables object": (("tables",), {}, "tables", "expected a list, got an object"),
    "schema text": (("tables", 1), "weather", "tables[1]", 'expected an object, got "weather"'),
    "no schema name": (("tables", 1, "schema_name"), GONE, "tables[1].schema_name", "expected text, got nothing"),
    "schema name number": (("tables", 1, "schema_name"), 1, "tables[1].schema_name", "expected text, got 1"),
    "schema twice": (
        ("tables", 1, "schema_name"),
        "vitals",
        "tables[1].schema_name",
        'the schema "vitals" stands here a second time',
    ),
    "schema without tables": (("tables", 0, "tables"), GONE, "tables[0].tables", "expected a list, got nothing"),
    "table null": (("tables", 0, "tables", 1), None, "tables[0].tables[1]", "expected an object, got null"),
    "no table name": (
        ("tables", 0, "tables", 1, "table_name"),
        GONE,
        "tables[0].tables[1]",
        "expected the table's name under 'name' or 'table_name', got neither",
    ),
    "table name number": (
        ("tables", 0, "tables", 0, "name"),
        1.5,
        "tables[0].tables[0].name",
        "expected text, got 1.5",
    ),
    "two table names": (
        ("tables", 0, "tables", 2, "name"),
        "tolls",
        "tables[0].tables[2]",
        "'name' and 'table_name' name two different tables",
    ),
    "no files": (
        ("tables", 0, "tables", 1, "files"),
        GONE,
        "tables[0].tables[1].files",
        "expected a list, got nothing",
    ),
    "file list": (FILE, [], IN_FILE, "expected an object, got a list"),
    "file name null": ((*FILE, "file_name"), None, f"{IN_FILE}.file_name", "expected text, got null"),
    "current text": ((*FILE, "current_version"), "3", f"{IN_FILE}.current_version", 'expected an integer, got "3"'),
    "no current": ((*FILE, "current_version"), GONE, f"{IN_FILE}.current_version", "expected an integer, got nothing"),
    "current negative": ((*FILE, "current_version"), -3, f"{IN_FILE}.current_version", "expected 0 or more, got -3"),
    "versions text": ((*FILE, "versions"), "2", f"{IN_FILE}.versions", 'expected a list, got "2"'),
    "no versions": ((*FILE, "versions"), GONE, f"{IN_FILE}.versions", "expected a list, got nothing"),
    "version entry": (VERSION, 2, f"{IN_FILE}.versions[1]", "expected an object, got 2"),
    "version float": ((*VERSION, "version"), 2.0, f"{IN_FILE}.versions[1].version", "expected an integer, got 2.0"),
    "version bool": ((*VERSION, "version"), True, f"{IN_FILE}.versions[1].version", "expected an integer, got true"),
    "version text": ((*VERSION, "version"), "2", f"{IN_FILE}.versions[1].version", 'expected an integer, got "2"'),
    "no version": ((*VERSION, "version"), GONE, f"{IN_FILE}.versions[1].version", "expected an integer, got nothing"),
    "file number": ((*VERSION, "file"), 2, f"{IN_FILE}.versions[1].file", "expected text, got 2"),
    "no file": ((*VERSION, "file"), GONE, f"{IN_FILE}.versions[1].file", "expected text, got nothing"),
    "long text": (
        (*VERSION, "version"),
        "x" * 99,
        f"{IN_FILE}.versions[1].version",
        f'expected an integer, got "{"x" * 56}...',
    ),
}


@pytest.mark.parametrize(("path", "value", "where", "problem"), BAD_RAW.values(), ids=BAD_RAW.keys())
def test_a_bad_raw_document_says_where(path: Path_, value: object, where: str, problem: str) -> None:
    """What the rules rely on is checked, and the place that is wrong is named with what was found there."""
    assert (where, problem) == refused(raw_document, broken(SOUND, path, value))


@pytest.mark.parametrize("name", ["a\nb\x1b[31m", "\ud800", "x" * 10_000], ids=["control", "surrogate", "long"])
def test_a_place_is_one_short_printable_line(name: str) -> None:
    """Whatever names a stored document has, the place that is wrong can be printed anywhere."""
    for parse, document in (
        (clean_document, {"schema_name": "vitals", "tables": {name: {name: 1}}}),
        (older_clean_document, [{"schema_name": "vitals", "tables": {name: 1}}]),
    ):
        where, _ = refused(parse, json.dumps(document).encode())
        assert where.isprintable()
        assert len(where) < 250


def test_a_negative_version_is_refused() -> None:
    """A version is 0 or more, as every number in a document."""
    assert (f"{IN_FILE}.versions[1].version", "expected 0 or more, got -2") == refused(
        raw_document, broken(SOUND, (*VERSION, "version"), -2)
    )


RECORD: Final = ("tables", "births", "FY2023")

BAD_CLEAN: Final = {
    "list": ((), [], "", "expected an object, got a list"),
    "revision": (("revision",), 1.0, "revision", "expected an integer, got 1.0"),
    "no schema": (("schema_name",), GONE, "schema_name", "expected text, got nothing"),
    "no tables": (("tables",), GONE, "tables", "expected an object, got nothing"),
    "tables list": (("tables",), [], "tables", "expected an object, got a list"),
    "table": (("tables", "births"), [], "tables.births", "expected an object, got a list"),
    "record": (RECORD, None, "tables.births.FY2023", "expected an object, got null"),
    "no info": ((*RECORD, "file_info"), GONE, "tables.births.FY2023.file_info", "expected an object, got nothing"),
    "info": ((*RECORD, "file_info"), 1, "tables.births.FY2023.file_info", "expected an object, got 1"),
    "version": (
        (*RECORD, "file_info", "version"),
        "2",
        "tables.births.FY2023.file_info.version",
        'expected an integer, got "2"',
    ),
    "negative": (
        (*RECORD, "file_info", "version"),
        -1,
        "tables.births.FY2023.file_info.version",
        "expected 0 or more, got -1",
    ),
    "no files": ((*RECORD, "clean_files"), GONE, "tables.births.FY2023.clean_files", "expected a list, got nothing"),
    "files": ((*RECORD, "clean_files"), "x", "tables.births.FY2023.clean_files", 'expected a list, got "x"'),
}


@pytest.mark.parametrize(("path", "value", "where", "problem"), BAD_CLEAN.values(), ids=BAD_CLEAN.keys())
def test_a_bad_clean_document_says_where(path: Path_, value: object, where: str, problem: str) -> None:
    """A clean document is checked in the same way: its places are named by table and file name."""
    assert (where, problem) == refused(clean_document, broken(SOUND_CLEAN, path, value))


INFO: Final = (0, "tables", "FY2023", "file_info")
IN_OLDER: Final = "[0].tables.FY2023"

BAD_OLDER: Final = {
    "object": ((), {}, "", "expected a list of one schema, got an object"),
    "number": ((), 1, "", "expected a list of one schema, got 1"),
    "entry": ((0,), "vitals", "[0]", 'expected an object, got "vitals"'),
    "no tables": ((0, "tables"), GONE, "[0].tables", "expected an object, got nothing"),
    "record": ((0, "tables", "FY2023"), [], IN_OLDER, "expected an object, got a list"),
    "no info": (INFO, GONE, f"{IN_OLDER}.file_info", "expected an object, got nothing"),
    "version": ((*INFO, "version"), None, f"{IN_OLDER}.file_info.version", "expected an integer, got null"),
    "table name": ((*INFO, "table_name"), 1, f"{IN_OLDER}.file_info.table_name", "expected text, got 1"),
    "no table name": ((*INFO, "table_name"), GONE, f"{IN_OLDER}.file_info.table_name", "expected text, got nothing"),
}


@pytest.mark.parametrize(("path", "value", "where", "problem"), BAD_OLDER.values(), ids=BAD_OLDER.keys())
def test_a_bad_older_clean_document_says_where(path: Path_, value: object, where: str, problem: str) -> None:
    """So is a clean document of the older shape."""
    assert (where, problem) == refused(older_clean_document, broken(SOUND_OLDER, path, value))


@pytest.mark.parametrize("entries", [[], [SOUND_OLDER[0], SOUND_OLDER[0]]])
def test_an_older_clean_document_is_of_one_schema(entries: list[Document]) -> None:
    """A clean document of the older shape is a list of exactly one schema."""
    where, problem = refused(older_clean_document, broken(SOUND_OLDER, (), entries))
    assert ("", True) == (where, problem.startswith("expected a list of one schema, got"))


def test_a_sound_document_is_read_as_it_stands() -> None:
    """A sound document is read as what it says: raw, clean and older clean."""
    assert SOUND == raw_document(to_bytes(SOUND))
    assert SOUND_CLEAN == clean_document(to_bytes(SOUND_CLEAN))
    assert SOUND_OLDER[0] == older_clean_document(json.dumps(SOUND_OLDER).encode())


def test_the_smallest_document_is_the_earlier_packages() -> None:
    """The earlier package starts a schema with `{"tables": []}`, which has no revision yet."""
    assert {"tables": []} == raw_document(b'{"tables": []}')


def round_trips(parse: Parse, document: Document) -> bool:
    """Return whether writing and reading gives the same, to the byte: order, `1` and `1.0`, `true` and `1`."""
    body = to_bytes(document)
    return document == parse(body) and body == to_bytes(parse(body))


@given(raw_documents_())
def test_a_raw_document_survives_writing_and_reading(document: Document) -> None:
    """Any raw document is read back as it was written, with the fields that are not ours, at every level."""
    assert round_trips(raw_document, document)


@given(clean_documents())
def test_a_clean_document_survives_writing_and_reading(document: Document) -> None:
    """Any clean document is read back as it was written."""
    assert round_trips(clean_document, document)


@given(older_clean_documents())
def test_an_older_clean_document_is_read_as_it_stands(entry: Document) -> None:
    """Any clean document of the older shape is read as its one entry."""
    assert entry == older_clean_document(json.dumps([entry]).encode())


LAYOUTS: Final = st.fixed_dictionaries(
    {"indent": st.sampled_from((None, 0, 4, "\t")), "ensure_ascii": st.booleans(), "sort_keys": st.booleans()}
)


@given(
    st.tuples(st.just(raw_document), raw_documents_()) | st.tuples(st.just(clean_document), clean_documents()), LAYOUTS
)
def test_the_layout_of_the_text_does_not_matter(made: tuple[Parse, Document], layout: dict[str, Any]) -> None:
    """A document is the same however its text is laid out; written, it has one form, which stays."""
    parse, document = made
    found = parse(json.dumps(document, **layout).encode())
    assert document == found
    assert to_bytes(found) == to_bytes(parse(to_bytes(found)))


def test_text_that_is_no_text_survives() -> None:
    """Half a surrogate pair, which JSON can escape and UTF-8 cannot hold, is written back as it was."""
    body = rb'{"tables":[],"owner":"\ud800"}'
    assert body == to_bytes(raw_document(body))


def test_the_stored_form_is_compact_ascii() -> None:
    """A document is stored without spaces, in ASCII."""
    assert rb'{"tables":[],"owner":"\u00fc"}' == to_bytes({"tables": [], "owner": "ü"})


def test_what_is_no_json_is_never_written() -> None:
    """A number that JSON does not have is refused, not written."""
    with pytest.raises((ValueError, DocumentError), match="not JSON compliant"):
        to_bytes({"tables": [], "x": float("nan")})


def accepted_round_trips(parse: Parse, body: bytes) -> bool:
    """Return whether a body is refused as it should be, or else is read without loss."""
    try:
        document = parse(body)
    except DocumentError:
        return True
    return round_trips(parse, document)


PARSERS: Final = st.sampled_from((raw_document, clean_document))

SYLLABLES: Final = (b"{", b"}", b"[", b"]", b",", b":", b'"', b'"tables"', b'"schema_name"', b"-", b"1", b"e9", b"\\u")


@given(PARSERS, st.binary() | st.lists(st.sampled_from(SYLLABLES), max_size=20).map(b"".join))
def test_no_bytes_break_reading(parse: Parse, body: bytes) -> None:
    """Of arbitrary bytes, reading makes a document that can be written back, or a `DocumentError`: nothing else."""
    assert accepted_round_trips(parse, body)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_bytes_break_reading_the_older_shape(body: bytes) -> None:
    """Of arbitrary bytes, reading the older shape makes an object, or a `DocumentError`: nothing else."""
    with contextlib.suppress(DocumentError):
        assert isinstance(older_clean_document(body), dict)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A golden document with some bytes taken out of it and others put in."""
    body = draw(st.sampled_from(GOLDEN))
    start = draw(st.integers(0, len(body)))
    return body[:start] + draw(st.binary(max_size=8)) + body[start + draw(st.integers(0, 40)) :]


@given(spoilt())
def test_no_spoilt_bytes_break_reading(body: bytes) -> None:
    """A document of which bytes are damaged is refused, or read without loss."""
    assert accepted_round_trips(raw_document, body)


@st.composite
def rebuilt(draw: st.DrawFn, document: Any) -> bytes:  # noqa: ANN401 - any JSON value
    """A document with another value at one of its places, or with nothing there."""
    path = draw(st.sampled_from([path for path, _ in places(document)]))
    return broken(document, path, draw(JSON | (st.just(GONE) if path else st.nothing())))


@given(st.sampled_from([json.loads(body) for body in GOLDEN]).flatmap(rebuilt) | rebuilt(SOUND))
def test_no_rebuilt_raw_document_breaks_reading(body: bytes) -> None:
    """A raw document with any value in any place is refused, or read without loss."""
    assert accepted_round_trips(raw_document, body)


@given(rebuilt(SOUND_CLEAN))
def test_no_rebuilt_clean_document_breaks_reading(body: bytes) -> None:
    """A clean document with any value in any place is refused, or read without loss."""
    assert accepted_round_trips(clean_document, body)


@given(rebuilt(SOUND_OLDER))
def test_no_rebuilt_older_clean_document_breaks_reading(body: bytes) -> None:
    """A clean document of the older shape with any value in any place is refused, or read."""
    with contextlib.suppress(DocumentError):
        assert isinstance(older_clean_document(body), dict)


def test_a_schema_has_the_tables_of_its_own_entry() -> None:
    """The tables of a schema are those of the entry that bears its name; none, where there is no entry or document."""
    assert SOUND["tables"][0]["tables"] == tables_of(SOUND, "vitals")
    assert [] == tables_of(SOUND, "weather")
    assert [] == tables_of(SOUND, "vital")
    assert [] == tables_of(None, "vitals")


def test_a_table_is_named_under_either_key() -> None:
    """A table is named under `name` or under `table_name`."""
    assert ["births", "deaths", "fees"] == [table_name_of(entry) for entry in tables_of(SOUND, "vitals")]


def test_versions_are_yielded_in_the_documents_order() -> None:
    """The versions of a schema come in the document's order, what was left out as `None`."""
    assert [
        ("births", "FY2022", 1, "a.zip"),
        ("births", "FY2022", 2, "b.zip"),
        ("fees", "FY2022", 1, "a.zip"),
        ("fees", "FY2022", 2, "b.zip"),
        ("fees", "FY2023", 1, "a.zip"),
        ("fees", "FY2023", 2, "b.zip"),
    ] == [(found.table, found.file_name, found.version, found.file) for found in versions_of(SOUND, "vitals")]
    first = next(versions_of(SOUND, "vitals"))
    assert (810_112, "2024-03-01 09:00:00") == (first.file_size, first.timestamp)
    assert (None, None, None, None, None) == (
        first.s3_location,
        first.fyear,
        first.upload_date,
        first.checksum,
        first.recorded_by,
    )


def test_versions_of_a_table_or_a_file_name_are_those_alone() -> None:
    """A table or a file name that is asked for narrows the versions down; one that is not there has none."""
    assert {"births"} == {found.table for found in versions_of(SOUND, "vitals", "births")}
    assert {("fees", "FY2023")} == {(v.table, v.file_name) for v in versions_of(SOUND, "vitals", "fees", "FY2023")}
    assert [] == list(versions_of(SOUND, "vitals", "fees", "FY2024"))
    assert [] == list(versions_of(SOUND, "vitals", "tolls"))
    assert [] == list(versions_of(None, "vitals"))


def test_a_version_carries_every_descriptive_field() -> None:
    """A version gives each field that is recorded as it stands."""
    entry = {name: getattr(file_version(), name) for name in ("file_size", "s3_location", "timestamp", "fyear")}
    entry |= {"upload_date": "2024-03-01", "recorded_by": "raw", "version": 1, "file": "a.zip"}
    files = [{"file_name": "FY2023", "current_version": 1, "versions": [entry]}]
    document = {"tables": [{"schema_name": SCHEMA, "tables": [{"name": "births", "files": files}]}]}
    assert [file_version()] == list(versions_of(document, SCHEMA))


@given(raw_documents_(), st.sampled_from(SCHEMAS))
def test_each_version_entry_is_yielded_once(document: Document, schema: str) -> None:
    """As many versions are yielded as the schema has version entries, wherever its tables stand."""
    entries = [e for table in tables_of(document, schema) for file in table["files"] for e in file["versions"]]
    assert [(e["version"], e["file"]) for e in entries] == [(v.version, v.file) for v in versions_of(document, schema)]


@pytest.mark.parametrize("more", [{}, {"version": "v1"}, {"revision": 3}, {"version": "v1", "revision": 3}])
def test_what_was_seen_of_an_outdated_file_may_lack_version_and_revision(more: dict[str, object]) -> None:
    """A bucket that keeps no versions gives none, and another writer may leave out the revision."""
    seen = {"a.parquet": {"etag": "e", "modified": 1.5, **more}}
    document = {"schema_name": "vitals", "tables": {}, "outdated": {"a.parquet": "2026-01-01"}, "outdated_seen": seen}
    assert document == clean_document(json.dumps(document).encode())
