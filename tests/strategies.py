"""Documents and recordings for the laws: all that a bucket may hold, with names few enough to meet.

Documents are drawn with unknown fields at every level, tables under either key or both, tables and file names that
stand twice, gaps, repeated numbers and files, and a `current_version` that may be wrong: whatever reading accepts.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st

from cf_data_tracker.document import Document
from cf_data_tracker.model import CleanRecord, FileVersion, NewFile, Recording

SCHEMA: Final = "vitals"
SCHEMAS: Final = (SCHEMA, "vital", "weather")
TABLES: Final = ("births", "deaths", "Geburten \N{LATIN SMALL LETTER U WITH DIAERESIS}ber alles")
FILE_NAMES: Final = ("FY2023", "2024-01", "2. quarter")
FILES: Final = ("a.zip", "b.zip", "c d.csv", "FY2023")

TEXT: Final = st.text(max_size=6)
NUMBERS: Final = st.integers(0, 9) | st.integers(0, 2**70)
JSON: Final[st.SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)

_UNKNOWN: Final[st.SearchStrategy[Document]] = st.just({}) | st.dictionaries(
    st.sampled_from(("owner", "note", "größe")), JSON, max_size=2
)


def _objects(known: dict[str, Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Document]:
    known_fields = st.fixed_dictionaries(known, optional=optional)
    return st.builds(lambda unknown, fields: {**unknown, **fields}, _UNKNOWN, known_fields)


_TABLE_NAMES: Final = st.sampled_from(TABLES) | TEXT
_FILE_NAMES: Final = st.sampled_from(FILE_NAMES) | TEXT

_VERSIONS: Final = _objects(
    {"version": NUMBERS, "file": st.sampled_from(FILES) | TEXT},
    file_size=JSON,
    timestamp=JSON,
    recorded_by=st.sampled_from(("earlier", "another", None)),
    checksum=TEXT,
)

_FILE_ENTRIES: Final = _objects(
    {
        "file_name": _FILE_NAMES,
        "current_version": NUMBERS,
        "versions": st.lists(_VERSIONS, max_size=4),
    }
)


def _named(name: str, keys: tuple[str, ...], entry: Document) -> Document:
    return {**dict.fromkeys(keys, name), **entry}


_TABLE_ENTRIES: Final = st.builds(
    _named,
    _TABLE_NAMES,
    st.sampled_from((("name",), ("table_name",), ("name", "table_name"))),
    _objects({"files": st.lists(_FILE_ENTRIES, max_size=3)}),
)


@st.composite
def raw_documents(draw: st.DrawFn) -> Document:
    """Raw documents that reading accepts."""
    names = draw(st.lists(st.sampled_from(SCHEMAS), unique=True, max_size=2))
    tables = _objects({"tables": st.lists(_TABLE_ENTRIES, max_size=3)})
    entries = [{"schema_name": name, **draw(tables)} for name in names]
    return draw(_objects({"tables": st.just(entries)}, revision=NUMBERS))


def recording(
    file: str = "new.zip", *, table: str = "births", file_name: str = "FY2023", recorded_by: str = "me"
) -> Recording:
    """Return a recording, dates and all."""
    new = NewFile(
        schema=SCHEMA,
        table=table,
        file_name=file_name,
        file=file,
        file_size=810_112,
        s3_location=f"s3://raw/{SCHEMA}/{table}/{file}",
        timestamp="2024-03-01 09:00:00",
        fyear="FY2023",
        upload_date="2024-03-01",
    )
    return Recording(new=new, recorded_by=recorded_by)


@st.composite
def recordings(draw: st.DrawFn, min_size: int = 0) -> list[Recording]:
    """A batch of recordings for `SCHEMA`, each with an identity of its own."""
    kinds = st.tuples(st.sampled_from(FILES), st.sampled_from(TABLES), st.sampled_from(FILE_NAMES))
    return [
        recording(file, table=table, file_name=file_name, recorded_by=f"recording {number}")
        for number, (file, table, file_name) in enumerate(draw(st.lists(kinds, min_size=min_size, max_size=6)))
    ]


@st.composite
def commits(draw: st.DrawFn, min_size: int = 0) -> list[list[Recording]]:
    """Batches of recordings, to be committed one after the other; no two recordings have one identity."""
    batches = draw(st.lists(recordings(min_size=1), min_size=min_size, max_size=4))
    return [
        [replace(one, recorded_by=f"{one.recorded_by} of commit {number}") for one in batch]
        for number, batch in enumerate(batches)
    ]


def file_version(
    version: int = 1, *, table: str = "births", file_name: str = "FY2023", file: str = "a.zip"
) -> FileVersion:
    """Return a raw version, as the raw tracker gives it."""
    return FileVersion(
        schema=SCHEMA,
        table=table,
        file_name=file_name,
        file=file,
        version=version,
        file_size=810_112,
        s3_location=f"s3://raw/{SCHEMA}/{table}/{file}",
        timestamp="2024-03-01 09:00:00",
        fyear="FY2023",
        upload_date="2024-03-01",
        checksum=None,
        recorded_by="raw",
    )


def clean_record(raw: FileVersion, recorded_by: str = "me") -> CleanRecord:
    """Return a record of the clean files that were made of a raw version."""
    key = f"{raw.schema}/{raw.table}/{raw.file_name}.{raw.version}.parquet"
    return CleanRecord(raw=raw, clean_files=(key,), timestamp="2024-03-02 10:00:00", recorded_by=recorded_by)


@st.composite
def clean_records(draw: st.DrawFn) -> list[CleanRecord]:
    """Clean records for `SCHEMA`, each with an identity of its own."""
    kinds = st.tuples(st.integers(0, 6), st.sampled_from(TABLES[:2]), st.sampled_from(FILE_NAMES[:2]))
    return [
        clean_record(file_version(version, table=table, file_name=file_name), f"record {number}")
        for number, (version, table, file_name) in enumerate(draw(st.lists(kinds, max_size=6)))
    ]


@st.composite
def clean_documents(draw: st.DrawFn) -> Document:
    """Clean documents that reading accepts."""
    infos = _objects({"version": NUMBERS}, raw_file=TEXT, recorded_by=st.just("earlier"))
    records = _objects({"file_info": infos, "clean_files": st.lists(TEXT, max_size=2)})
    tables = st.dictionaries(_TABLE_NAMES, st.dictionaries(_FILE_NAMES, records, max_size=3), max_size=3)
    return draw(_objects({"schema_name": st.just(SCHEMA), "tables": tables}, revision=NUMBERS))


@st.composite
def older_clean_documents(draw: st.DrawFn) -> Document:
    """Entries of older clean documents, as reading returns them."""
    infos = _objects(
        {"version": NUMBERS, "table_name": st.sampled_from(TABLES)},
        raw_file=TEXT,
        modified_on=st.just("2024-03-01-09-00-00"),
        parquet_files=st.lists(TEXT, max_size=2),
    )
    records = st.dictionaries(_FILE_NAMES, _objects({"file_info": infos}), max_size=3)
    return draw(_objects({"schema_name": st.just(SCHEMA), "tables": records}))


def places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield every path into a JSON value with what stands there; a container is there as its kind."""
    if not isinstance(value, (dict, list)):
        yield path, value
        return
    yield path, type(value)
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from places(inner, (*path, key))


def at(value: Any, path: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - any JSON value
    """Return what stands at a path."""
    for key in path:
        value = value[key]
    return value
