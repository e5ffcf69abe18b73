"""Trackers beside plain models, call after call, while others edit, spoil, remove and restore what is stored.

Two workers share the bucket, each with what it remembers of it. After every step the stored bytes are what the model
says: after a commit to the byte, after a refusal those that were there.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import clean_document, older_clean_document, raw_document
from cf_data_tracker.errors import DocumentError, DocumentVanishedError, NotTrackedError, TrackerError
from cf_data_tracker.model import CleanRecord, FileVersion, NewFile, Recording
from cf_data_tracker.names import clean_key, inbox_prefix, older_clean_key, raw_key
from cf_data_tracker.rules.verify import findings
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Store, Stored
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker, raw_record_spec
from conftest import access_to
from models import ANY_ID, CleanModel, Plain, RawModel, Shelf, stored_form, with_identities
from servers.server import Server
from strategies import file_version

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")
Draw = Callable[[st.SearchStrategy[Any]], Any]
Counts = Counter[str]

GOLDEN: Final = Path(__file__).parent / "golden"

TABLES: Final = st.sampled_from(("births", "deaths"))
NAMED: Final = ("FY2022", "FY2023")
FILE_NAMES: Final = st.sampled_from(NAMED)
FILES: Final = st.sampled_from(("a.zip", "b.zip", "c.zip", "FY2022", "births_FY2022_0.zip"))
NAMES: Final = st.tuples(TABLES, FILE_NAMES, FILES)
NUMBERS: Final = st.integers(0, 12)
VERSIONS: Final = st.tuples(TABLES, FILE_NAMES, NUMBERS)
FIELDS: Final = st.sampled_from(("note", "größe"))
UNKNOWN: Final = st.sampled_from((None, 1.5, "text", [1, {"version": "x"}], {"tables": 5}, "größe")).map(deepcopy)
SCHEMAS: Final = st.sampled_from(("vitals", "vitals", "vital"))
WORKERS: Final = st.integers(0, 1)
QUESTIONS: Final = st.sampled_from(
    (("exists", 4), ("latest", 3), ("history", 3), ("history", 2), ("tables", 1), ("document", 1))
)
"""What a tracker is asked, and how many of schema, table, file name and file it takes."""


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A bucket: how workers get at it, and what others reach it by."""

    connect: Callable[[], Connection]
    store: Store

    def body(self, key: str) -> bytes | None:
        """Return what is stored under a key."""
        there = self.store.read(key)
        return there.body if isinstance(there, Stored) else None


def in_memory(name: str) -> Bucket:
    """Return an empty bucket in this process."""
    store = MemoryStore()
    return Bucket(connect=lambda: Connection(Access(bucket=name), store=store), store=store)


def on_server(server: Server, client: "S3Client") -> Callable[[str], Bucket]:
    """Return what gives the buckets of a server; they share a client, but no memory."""

    def bucket(name: str) -> Bucket:
        def connect() -> Connection:
            return Connection(access_to(server, name), client=client)

        return Bucket(connect=connect, store=connect().store)

    return bucket


# What others do by hand


def _entries(document: Plain) -> list[Plain]:
    """Return the file entries of a raw document that workers may meet."""
    tables = [table for schema in document["tables"] for table in schema["tables"]]
    return [entry for table in tables for entry in table["files"] if entry["file_name"] in NAMED]


def _objects(value: object) -> list[Plain]:
    """Return every object in a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict) else []
    return own + [found for one in inner for found in _objects(one)]


def _one(draw: Draw, found: Sequence[T]) -> Sequence[T]:
    """Return one of those that were found; none, where none was."""
    return [found[draw(st.integers(0, len(found) - 1))]] if found else []


def _begun(file_names: list[str]) -> list[Plain]:
    """Return file entries without versions."""
    return [{"file_name": name, "current_version": 0, "versions": []} for name in file_names]


def adds_unknown_field(draw: Draw, document: Plain) -> None:
    """Add a field that is not ours, anywhere."""
    for anything in _one(draw, _objects(document)):
        anything[draw(FIELDS)] = draw(UNKNOWN)


def appends_as_the_earlier_package(draw: Draw, document: Plain) -> None:
    """Append a version without an identity and without a revision, as releases without conditional writes do."""
    table, file_name, file = draw(NAMES)
    (schema, *_) = document["tables"] or [{"tables": []}]
    tables = [entry for entry in schema["tables"] if table in (entry.get("name"), entry.get("table_name"))]
    if not tables:
        tables = [{draw(st.sampled_from(("name", "table_name"))): table, "files": []}]
        schema["tables"].extend(tables)
    files = [entry for entry in tables[0]["files"] if entry["file_name"] == file_name]
    if not files:
        files = _begun([file_name])
        tables[0]["files"].extend(files)
    files[0]["current_version"] += 1
    files[0]["versions"].append({"version": files[0]["current_version"], "file": file, "file_size": 1})


def changes_current_version(draw: Draw, document: Plain) -> None:
    """Set the number of a current version."""
    for entry in _one(draw, _entries(document)):
        entry["current_version"] = draw(NUMBERS)


def changes_version(draw: Draw, document: Plain) -> None:
    """Set the number of a version."""
    versions = [version for entry in _entries(document) for version in entry["versions"]]
    for version in _one(draw, versions):
        version["version"] = draw(NUMBERS)


def takes_version_out(draw: Draw, document: Plain) -> None:
    """Take a version out."""
    for entry in _one(draw, [entry for entry in _entries(document) if entry["versions"]]):
        entry["versions"].pop(draw(st.integers(0, len(entry["versions"]) - 1)))


def names_table_otherwise(draw: Draw, document: Plain) -> None:
    """Name a table under the other key, or under both."""
    tables = [table for schema in document["tables"] for table in schema["tables"]]
    for table in _one(draw, tables):
        name = table.pop("name", None) or table.get("table_name")
        table.pop("table_name", None)
        table.update(dict.fromkeys(draw(st.sampled_from((["name"], ["table_name"], ["name", "table_name"]))), name))


def repeats_table(draw: Draw, document: Plain) -> None:
    """Put a table there a second time, perhaps with a file name that it has."""
    for schema in document["tables"][:1]:
        files = draw(st.lists(FILE_NAMES, max_size=1).map(_begun))
        schema["tables"].append({"table_name": draw(TABLES), "files": files})


def changes_revision(draw: Draw, document: Plain) -> None:
    """Set the revision, or take it out."""
    document.pop("revision", None)
    document.update(draw(st.sampled_from(({}, {"revision": 0}, {"revision": 41}))))


def adds_another_schema(_draw: Draw, document: Plain) -> None:
    """Put the entry of another schema before ours."""
    if "elsewhere" not in [entry["schema_name"] for entry in document["tables"]]:
        document["tables"].insert(0, {"schema_name": "elsewhere", "tables": []})


def adds_unknown_field_to_a_record(draw: Draw, document: Plain) -> None:
    """Add a field that is not ours to a clean document, a record, or what it tells of the raw file."""
    records = [record for table in document["tables"].values() for record in table.values()]
    objects = [document, *records, *(record["file_info"] for record in records)]
    for anything in _one(draw, objects):
        anything[draw(FIELDS)] = draw(UNKNOWN)


def changes_record(draw: Draw, document: Plain) -> None:
    """Set the version of a record; one that is not there is begun."""
    record = {"file_info": {"version": 0}, "clean_files": []}
    table = document["tables"].setdefault(draw(TABLES), {})
    table.setdefault(draw(FILE_NAMES), record)["file_info"]["version"] = draw(NUMBERS)


def takes_record_out(draw: Draw, document: Plain) -> None:
    """Take a record out."""
    for records in _one(draw, [records for records in document["tables"].values() if records]):
        del records[draw(st.sampled_from(sorted(records)))]


def forgets_the_older_document(_draw: Draw, document: Plain) -> None:
    """Take out the word that the older document need not be looked at again."""
    document.pop("carried_over", None)


def records_in_the_older_shape(draw: Draw, document: list[Plain]) -> None:
    """Put a record into the older document, as the releases do that know no other."""
    info = {"version": draw(NUMBERS), "table_name": draw(TABLES), "parquet_files": ["older.parquet"]}
    document[0]["tables"][draw(FILE_NAMES)] = {"file_info": info, "note": draw(UNKNOWN)}


LAYOUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "compact": {"separators": (",", ":")},
    "one line": {"ensure_ascii": False},
    "pretty": {"indent": 4},
    "sorted": {"sort_keys": True, "indent": "\t"},
}

NO_JSON: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "empty": lambda _: b"",
    "words": lambda _: b"<html>503</html>",
    "cut off": lambda body: body.rstrip()[: len(body.rstrip()) // 2],
    "last byte lost": lambda body: body.rstrip()[:-1],
    "twice": lambda body: body + body,
    "a byte order mark": lambda body: b"\xef\xbb\xbf" + body,
    "another encoding": lambda body: body.decode().encode("utf-16"),
    "not a number": lambda _: b'{"schema_name": "vitals", "tables": [], "x": NaN}',
    "a number": lambda _: b"5",
    "null": lambda _: b"null",
}

FILE: Final[Plain] = {"file_name": "F", "current_version": 1, "versions": [{"version": 1, "file": "a.zip"}]}


def _raw(schema: object = "vitals", **different: object) -> Plain:
    return {"tables": [{"schema_name": schema, "tables": [{"name": "births", "files": [{**FILE, **different}]}]}]}


NO_RAW: Final[Mapping[str, object]] = {
    "a list": [],
    "no tables": {"revision": 1},
    "tables that are no list": {"tables": {}},
    "a name that is no text": _raw(7),
    "a schema twice": {"tables": _raw()["tables"] * 2},
    "a current version in quotes": _raw(current_version="3"),
    "a version in quotes": _raw(versions=[{"version": "1", "file": "a.zip"}]),
    "a version and a half": _raw(versions=[{"version": 1.5, "file": "a.zip"}]),
    "a version below 0": _raw(versions=[{"version": -1, "file": "a.zip"}]),
    "a version of no file": _raw(versions=[{"version": 1}]),
    "versions that are no list": _raw(versions=None),
    "a revision in quotes": {**_raw(), "revision": "7"},
}

NO_CLEAN: Final[Mapping[str, object]] = {
    "the older shape": [{"schema_name": "vitals", "tables": {}}],
    "no schema": {"tables": {}},
    "tables that are a list": {"schema_name": "vitals", "tables": []},
    "a record of no file": {"schema_name": "vitals", "tables": {"births": {"FY2022": {"clean_files": []}}}},
    "a revision that is true": {"schema_name": "vitals", "tables": {}, "revision": True},
}

NO_OLDER: Final[Mapping[str, object]] = {
    "nothing in it": [],
    "the shape of now": {"schema_name": "vitals", "tables": {}},
    "a record of no table": [{"tables": {"FY2022": {"file_info": {"version": 1}}}}],
    "a version in quotes": [{"tables": {"FY2022": {"file_info": {"version": "1", "table_name": "births"}}}}],
}


def _made_of(version: int) -> Plain:
    """Return a record that is one in either shape."""
    return {"file_info": {"version": version, "table_name": "births"}, "clean_files": ["older.parquet"]}


def golden(name: str, schema: str) -> bytes:
    """Return a document of the earlier package, of another schema."""
    return (GOLDEN / name).read_bytes().replace(name.partition("_")[0].encode(), schema.encode())


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of document, as others know it.

    Attributes:
        parse: What the library reads it with.
        begun: Ways to begin one by hand, by schema.
        edits: What is done to one by hand; it stays one.
        rubbish: What looks like one, and is none.
    """

    parse: Callable[[bytes], Plain]
    begun: Sequence[Callable[[str], bytes]]
    edits: Sequence[Callable[[Draw, Any], None]]
    rubbish: Mapping[str, object]


RAW: Final = Kind(
    parse=raw_document,
    begun=[
        lambda _: b'{"tables": []}',
        lambda schema: stored_form({"tables": [{"schema_name": schema, "tables": []}]}),
        lambda schema: golden("vitals_0.3.11.json", schema),
        lambda schema: golden("legacy_0.3.9.json", schema),
    ],
    edits=[
        adds_unknown_field,
        appends_as_the_earlier_package,
        changes_current_version,
        changes_version,
        takes_version_out,
        names_table_otherwise,
        repeats_table,
        changes_revision,
        adds_another_schema,
    ],
    rubbish=NO_RAW,
)

CLEAN: Final = Kind(
    parse=clean_document,
    begun=[
        lambda schema: stored_form({"schema_name": schema, "tables": {}}),
        lambda schema: stored_form({"schema_name": schema, "tables": {"births": {"FY2022": _made_of(3)}}}),
    ],
    edits=[
        adds_unknown_field_to_a_record,
        changes_record,
        takes_record_out,
        forgets_the_older_document,
        changes_revision,
    ],
    rubbish=NO_CLEAN,
)

OLDER: Final = Kind(
    parse=older_clean_document,
    begun=[
        lambda schema: stored_form([{"schema_name": schema, "tables": {}}]),
        lambda schema: stored_form([{"schema_name": schema, "tables": {name: _made_of(2) for name in NAMED}}]),
    ],
    edits=[records_in_the_older_shape],
    rubbish=NO_OLDER,
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a document stands: its bucket, what the model says of it, its kind, its schema, and copies of it."""

    bucket: Bucket
    shelf: Shelf
    kind: Kind
    schema: str
    copies: list[bytes] = field(default_factory=list)


def begins(draw: Draw, place: Place) -> bytes:
    """Begin a document, as the earlier package does or did."""
    number: int = draw(st.integers(0, len(place.kind.begun) - 1))
    return place.kind.begun[number](place.schema)


def edits(draw: Draw, place: Place) -> bytes:
    """Change a document in an editor that lays it out anew, or only that."""
    document = place.shelf.document()
    for edit in draw(st.lists(st.sampled_from(place.kind.edits), max_size=3)):
        edit(draw, document)
    return json.dumps(document, **LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))]).encode()


def spoils(draw: Draw, place: Place) -> bytes:
    """Make of a document what is no JSON, or not of its kind."""
    spoilt: dict[str, bytes] = {name: spoil(place.shelf.body or b"") for name, spoil in NO_JSON.items()}
    spoilt |= {name: stored_form(value) for name, value in place.kind.rubbish.items()}
    return spoilt[draw(st.sampled_from(sorted(spoilt)))]


def removes(_draw: Draw, _place: Place) -> None:
    """Leave nothing there."""


def restores(draw: Draw, place: Place) -> bytes:
    """Put back what was there before, or long before."""
    body: bytes = place.copies[-draw(st.integers(1, len(place.copies)))]
    return body


ACTS: Final[Mapping[str, Callable[[Draw, Place], bytes | None]]] = {
    act.__name__: act for act in (begins, edits, spoils, removes, restores)
}


REFUSALS: Final[Mapping[type, str]] = {
    DocumentVanishedError: "vanished",
    DocumentError: "no document",
    NotTrackedError: "not tracked",
}
"""How the refusals are counted."""


def answer(call: Callable[[], object]) -> object:
    """Return what a call answers, as JSON has it, or the class of what it raises."""
    try:
        return _as_plain(call())
    except TrackerError as error:
        return type(error)


def _as_plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_as_plain(one) for one in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


class Together(RuleBasedStateMachine):
    """Workers and others at the same documents; which calls the workers make is said below."""

    def __init__(self, counts: Counts, places: Mapping[str, Place]) -> None:
        super().__init__()
        self.counts = counts
        self.places = places
        self.counts["runs"] += 1

    def both(self, call: Callable[[], object], plain: Callable[[], object]) -> object:
        """Let a worker call, and the model; let them agree on the answer, and on every stored byte."""
        before = [place.shelf.body for place in self.places.values()]
        got, expected = answer(call), answer(plain)
        self.counts["calls"] += 1
        if isinstance(expected, type):
            self.counts[REFUSALS[expected]] += 1
        for place, was in zip(self.places.values(), before, strict=True):
            if place.shelf.body != was:
                self._settle(place)
        assert with_identities(expected, got) == got
        return got

    def _settle(self, place: Place) -> None:
        """Take from what a commit stored what nobody could know: which identities the tracker gave."""
        self.counts["commits"] += 1
        stored = json.loads(place.bucket.body(place.shelf.key) or b"null")
        place.shelf.body = stored_form(with_identities(place.shelf.document(), stored))

    @invariant()
    def stored_is_what_the_model_says(self) -> None:
        """Nothing is stored, removed or changed but by what the model knows of."""
        for place in self.places.values():
            assert place.shelf.body == place.bucket.body(place.shelf.key)
            if place.shelf.there:
                (document,) = place.shelf.document() if place.kind is OLDER else [place.shelf.document()]
                assert document == place.kind.parse(place.shelf.body or b"")

    @initialize(data=st.data())
    def somebody_was_there_before(self, data: st.DataObject) -> None:
        """Each document may be there already."""
        for name in data.draw(st.sets(st.sampled_from(sorted(self.places))), "begun"):
            self.does("begins", self.places[name], data.draw)

    def possible(self) -> list[tuple[str, str]]:
        """Return what others can do and where, as often as it should come: what is spoilt is mended before long."""
        acts: list[tuple[str, str]] = []
        for name, place in self.places.items():
            if place.shelf.there:
                chances = {"edits": 3, "spoils": 1, "removes": 1, "restores": bool(place.copies)}
            else:
                chances = {"begins": 2, "restores": 6 * bool(place.copies)}
            acts += [(act, name) for act, times in chances.items() for _ in range(times)]
        return acts

    @rule(data=st.data())
    def others(self, data: st.DataObject) -> None:
        """Do to a document what no worker is told of."""
        act, name = data.draw(st.sampled_from(self.possible()), "others")
        self.does(act, self.places[name], data.draw)

    def does(self, act: str, place: Place, draw: Draw) -> None:
        """Do it, and note it in the model."""
        body = ACTS[act](draw, place)
        if place.shelf.there and place.shelf.body is not None:
            place.copies.append(place.shelf.body)
        if body is None:
            place.bucket.store.delete(place.shelf.key)
        else:
            place.bucket.store.write(place.shelf.key, body, replacing=ANYTHING)
        place.shelf.body, place.shelf.sound = body, act != "spoils"
        self.counts[act] += 1

    def teardown(self) -> None:
        """Nothing waits in an inbox: whoever came alone has left nothing to others."""
        for place in self.places.values():
            assert [] == place.bucket.store.list(inbox_prefix(place.shelf.key))
        super().teardown()


class RawTrackers(Together):
    """Two workers record into two schemas, and ask."""

    recordings = Bundle("recordings")

    def __init__(self, counts: Counts, bucket_of: Callable[[str], Bucket]) -> None:
        bucket, run = bucket_of("raw"), uuid4().hex[:12]
        self.schemas = {name: f"{name}{run}" for name in ("vital", "vitals")}
        shelves = {schema: Shelf(key=raw_key(schema)) for schema in self.schemas.values()}
        places = {
            name: Place(bucket=bucket, shelf=shelves[schema], kind=RAW, schema=schema)
            for name, schema in self.schemas.items()
        }
        super().__init__(counts, places)
        self.model = RawModel(shelves)
        self.shelves = shelves
        self.connect = bucket.connect
        self.connections = [bucket.connect() for _ in range(2)]
        self.made = 0

    def new(self, name: str, names: tuple[str, str, str], checksum: str | None = None) -> NewFile:
        """Return a file."""
        table, file_name, file = names
        self.made += 1
        return NewFile(
            schema=self.schemas[name],
            table=table,
            file_name=file_name,
            file=file,
            file_size=self.made,
            s3_location=f"s3://raw/{file}",
            timestamp="2024-03-01 09:00:00",
            fyear="FY2023",
            upload_date="2024-03-01",
            checksum=checksum,
        )

    def tracker(self, worker: int) -> Tracker:
        """Return a worker's tracker."""
        return Tracker.over(self.connections[worker])

    @rule(worker=WORKERS)
    def a_worker_is_replaced(self, worker: int) -> None:
        """By a new one, which remembers nothing."""
        self.connections[worker] = self.connect()
        for shelf in self.shelves.values():
            shelf.seen.pop(worker, None)

    @rule(worker=WORKERS, name=SCHEMAS, names=NAMES, checksum=st.none() | st.just("sha256:1f"))
    def records(self, worker: int, name: str, names: tuple[str, str, str], checksum: str | None) -> None:
        """One file."""
        new = self.new(name, names, checksum)
        self.both(lambda: [self.tracker(worker).record(**asdict(new))], lambda: self.model.record(worker, [new]))

    @rule(worker=WORKERS, batch=st.lists(st.tuples(SCHEMAS, NAMES), max_size=5))
    def records_many(self, worker: int, batch: list[tuple[str, tuple[str, str, str]]]) -> None:
        """Files of one schema or of both, in any order, and some of them twice."""
        files = [self.new(*one) for one in batch]
        self.both(lambda: self.tracker(worker).record_many(files), lambda: self.model.record(worker, files))

    @rule(target=recordings, worker=WORKERS, name=SCHEMAS, batch=st.lists(NAMES, min_size=1, max_size=3))
    def commits(self, worker: int, name: str, batch: list[tuple[str, str, str]]) -> list[Recording]:
        """Recordings whose identities are known, so that they may be committed again."""
        recordings = [Recording(new=self.new(name, names), recorded_by=uuid4().hex) for names in batch]
        self.commit(worker, recordings)
        return recordings

    @rule(worker=WORKERS, recordings=recordings)
    def commits_again(self, worker: int, recordings: list[Recording]) -> None:
        """The same recordings, as whoever had no answer does, or whoever finds them in an inbox."""
        self.commit(worker, recordings)

    def commit(self, worker: int, recordings: list[Recording]) -> None:
        """Commit recordings that have an identity."""
        ledger = raw_record_spec(recordings[0].new.schema)
        connection = self.connections[worker]
        self.both(lambda: connection.commit(ledger, recordings), lambda: self.model.commit(worker, recordings))

    @rule(worker=WORKERS, name=SCHEMAS, names=NAMES, question=QUESTIONS)
    def asks(self, worker: int, name: str, names: tuple[str, str, str], question: tuple[str, int]) -> None:
        """Whatever can be asked."""
        what, parameters = question
        given = (self.schemas[name], *names)[:parameters]
        ours, plain = getattr(self.tracker(worker), what), getattr(self.model, what)
        self.both(lambda: ours(*given), lambda: plain(worker, *given))

    @rule(worker=WORKERS, name=SCHEMAS)
    def verifies(self, worker: int, name: str) -> None:
        """Whether the document is sound, though not what is wrong with it."""
        tracker, schema = self.tracker(worker), self.schemas[name]
        self.both(
            lambda: [] == findings(tracker.document(schema) or {"tables": []}, schema),
            lambda: self.model.sound(worker, schema),
        )


class CleanTrackers(Together):
    """Two workers ask what is pending, and record what they made of it."""

    records = Bundle("records")

    def __init__(self, counts: Counts, bucket_of: Callable[[str], Bucket]) -> None:
        self.schema = f"vitals{uuid4().hex[:12]}"
        raw, clean = bucket_of("raw"), bucket_of("clean")
        shelves = [Shelf(key=key(self.schema)) for key in (raw_key, clean_key, older_clean_key)]
        names, kinds = ("raw", "clean", "older"), (RAW, CLEAN, OLDER)
        places = {
            name: Place(bucket=bucket, shelf=shelf, kind=kind, schema=self.schema)
            for name, bucket, shelf, kind in zip(names, (raw, clean, clean), shelves, kinds, strict=True)
        }
        super().__init__(counts, places)
        self.model = CleanModel(self.schema, *shelves)
        self.shelves = shelves
        self.buckets = raw, clean
        self.connections = [self.connect() for _ in range(2)]

    def tracker(self, worker: int) -> CleanTracker:
        """Return a worker's clean tracker."""
        return CleanTracker.over(*self.connections[worker])

    def version(self, table: str, file_name: str, number: int) -> FileVersion:
        """Return a raw version, whether there is one or not."""
        described = dict.fromkeys(("file_size", "s3_location", "timestamp", "fyear", "upload_date", "checksum"))
        named = {"schema": self.schema, "table": table, "file_name": file_name, "file": f"{number}.zip"}
        return FileVersion(version=number, recorded_by=None, **named, **described)  # type: ignore[arg-type]

    def connect(self) -> list[Connection]:
        """Return what a new worker reaches both buckets by."""
        return [bucket.connect() for bucket in self.buckets]

    def record_of(self, version: FileVersion, recorded_by: str, at: str | None = None) -> CleanRecord:
        """Return a record of a raw version."""
        return CleanRecord(
            raw=version, clean_files=("x.parquet",), timestamp="2024-03-02 10:00:00", recorded_by=recorded_by, at=at
        )

    def records_version(self, worker: int, version: FileVersion) -> None:
        """Record a raw version under an identity that the tracker gives."""
        record, tracker = self.record_of(version, f"{ANY_ID}0", f"{ANY_ID}1"), self.tracker(worker)
        self.both(
            lambda: [tracker.record(version, record.clean_files, timestamp=record.timestamp)],
            lambda: self.model.commit(worker, [record]),
        )

    @rule(worker=WORKERS)
    def a_worker_is_replaced(self, worker: int) -> None:
        """By a new one, which remembers nothing."""
        self.connections[worker] = self.connect()
        for shelf in self.shelves:
            shelf.seen.pop(worker, None)

    @rule(worker=WORKERS, version=VERSIONS)
    def records_any(self, worker: int, version: tuple[str, str, int]) -> None:
        """What was made of any version, old or new, and of one that is not there."""
        self.records_version(worker, self.version(*version))

    @rule(worker=WORKERS, place=st.integers(0, 2))
    def records_pending(self, worker: int, place: int) -> None:
        """What was made of one of those that are pending."""
        pending = self.pending(worker)
        for version in pending[place : place + 1] if isinstance(pending, list) else ():
            self.records_version(worker, FileVersion(**version))

    @rule(target=records, worker=WORKERS, versions=st.lists(VERSIONS, min_size=1, max_size=3))
    def commits(self, worker: int, versions: list[tuple[str, str, int]]) -> list[CleanRecord]:
        """Records whose identities are known, so that they may be committed again."""
        records = [self.record_of(self.version(*version), uuid4().hex) for version in versions]
        self.commit(worker, records)
        return records

    @rule(worker=WORKERS, records=records)
    def commits_again(self, worker: int, records: list[CleanRecord]) -> None:
        """The same records, as whoever had no answer does, or whoever finds them in an inbox."""
        self.commit(worker, records)

    def commit(self, worker: int, records: list[CleanRecord]) -> None:
        """Commit records that have an identity."""
        ledger = self.tracker(worker)._ledger(self.schema)  # noqa: SLF001 - what it hands to the combiner
        clean = self.connections[worker][1]
        self.both(lambda: clean.commit(ledger, records), lambda: self.model.commit(worker, records))

    @rule(worker=WORKERS)
    def asks_what_is_pending(self, worker: int) -> None:
        """Of the raw document as it is, and the clean one."""
        self.pending(worker)

    def pending(self, worker: int) -> object:
        """Return what is pending, or what was raised."""
        tracker = self.tracker(worker)
        return self.both(lambda: tracker.pending(self.schema), lambda: self.model.pending(worker))

    @rule(worker=WORKERS)
    def asks_for_the_document(self, worker: int) -> None:
        """With the older one's records in it."""
        tracker = self.tracker(worker)
        self.both(lambda: tracker.document(self.schema), lambda: self.model.document(worker))


Machine = type[RawTrackers] | type[CleanTrackers]
Counted = Callable[[str, Mapping[str, int]], None]

RUNS: Final = min(2 * settings().max_examples, 200)
"""Few at the desk and twice as many in CI, which takes some seconds: `make prove` tries thousands."""

FIRST: Final = ("runs", "calls", "commits")
"""What a report of them tells first."""

EVERYTHING: Final = {"begins", "edits", "spoils", "removes", "restores", "vanished", "no document", "commits"}
"""What is to befall the documents of many runs."""

machines = pytest.mark.parametrize("machine", [RawTrackers, CleanTrackers], ids=["raw", "clean"])


def played(machine: Machine, bucket_of: Callable[[str], Bucket], *, runs: int, steps: int = 50) -> Counts:
    """Play workers against their model, and return how much was tried."""
    counts: Counts = Counter()
    bounds = settings(
        max_examples=runs,
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],  # a run is many calls to a store
    )
    run_state_machine_as_test(
        lambda: machine(counts, bucket_of),  # type: ignore[arg-type] # a function will do, says its docstring
        settings=bounds,
    )
    return Counter({name: counts[name] for name in [*FIRST, *sorted(set(counts) - set(FIRST))]})


@machines
def test_trackers_do_what_a_plain_model_does(machine: Machine, counted: Counted) -> None:
    """Whatever is recorded and asked, and whatever others do meanwhile: answers, refusals and bytes are the model's."""
    counts = played(machine, in_memory, runs=RUNS)
    counted(f"stateful, {machine.__name__} in memory", counts)
    assert {"commits", "edits", "spoils", "no document"} <= set(counts)


@machines
def test_trackers_of_a_server_do_what_a_plain_model_does(
    machine: Machine, embedded: Server, client: "S3Client", counted: Counted
) -> None:
    """The same over HTTP."""
    counts = played(machine, on_server(embedded, client), runs=RUNS // 8, steps=30)
    counted(f"stateful, {machine.__name__} on a server", counts)
    assert counts["calls"]


@pytest.mark.prove
@machines
def test_many_runs_of_trackers_do_what_a_plain_model_does(machine: Machine, counted: Counted) -> None:
    """Thousands of runs find no call that the model would answer otherwise."""
    counts = played(machine, in_memory, runs=2_000)
    counted(f"stateful, thousands, {machine.__name__} in memory", counts)
    assert set() == EVERYTHING - set(counts)


@pytest.mark.prove
@machines
def test_many_runs_on_a_server_do_what_a_plain_model_does(
    machine: Machine, embedded: Server, client: "S3Client", counted: Counted
) -> None:
    """Nor do hundreds over HTTP."""
    counts = played(machine, on_server(embedded, client), runs=150)
    counted(f"stateful, hundreds, {machine.__name__} on a server", counts)
    assert {"commits", "edits", "spoils", "no document"} <= set(counts)


# What was found so


@pytest.mark.parametrize("spoilt", [None, b"rubbish"], ids=["removed", "spoilt"])
def test_an_older_document_that_was_carried_over_by_others_may_go(spoilt: bytes | None) -> None:
    """A worker that saw the clean document before the older one was carried over into it does not need that either."""
    raw, clean = in_memory("raw"), in_memory("clean")
    older, ours = older_clean_key("vitals"), clean_key("vitals")
    clean.store.write(ours, stored_form({"schema_name": "vitals", "tables": {}}), replacing=None)
    clean.store.write(older, stored_form([{"tables": {}}]), replacing=None)
    late, punctual = (CleanTracker.over(raw.connect(), clean.connect()) for _ in range(2))
    late.document("vitals")
    punctual.record(file_version(1), [])
    clean.store.delete(older)
    if spoilt is not None:
        clean.store.write(older, spoilt, replacing=None)
    assert 2 == late.record(file_version(2), []).version
