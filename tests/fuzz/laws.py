"""What must hold of any bytes that stand where a document or an inbox entry should, whoever put them there.

Each kind of document has one function: it takes the bytes, returns whether they are accepted, and raises
`AssertionError`, or whatever broke, if a law does not hold:

- what is refused is refused with the one declared error, whose message can be printed anywhere;
- what is accepted is written back equal, and the tracker's questions about it have answers;
- a recording is added to it, or is refused with a `TrackerError`; and nothing that was there is lost either way.
"""

import hashlib
import pickle
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import (
    Document,
    clean_document,
    older_clean_document,
    raw_document,
    recorded_since,
    table_name_of,
    tables_of,
    to_bytes,
    versions_of,
)
from cf_data_tracker.entries import UnreadableError, carries_payload, opened
from cf_data_tracker.errors import DocumentError, TrackerError
from cf_data_tracker.model import CleanRecorded
from cf_data_tracker.names import inbox_prefix, older_clean_key, raw_key
from cf_data_tracker.rules import clean as clean_rules
from cf_data_tracker.rules.claims import change_many
from cf_data_tracker.rules.raw import record
from cf_data_tracker.rules.verify import findings
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker, raw_record_spec
from strategies import FILE_NAMES, SCHEMA, TABLES, clean_record, file_version, recording

if TYPE_CHECKING:
    from cf_data_tracker.engine.combine import RecordSpec

Law: TypeAlias = Callable[[bytes], bool]

PREFIX: Final = inbox_prefix(raw_key(SCHEMA))
LONGEST_MESSAGE: Final = 400
DEEPEST: Final = 400
"""What is nested more deeply is not judged: whether Python reads it hangs on how deep the caller is itself."""

CHANGING: Final = frozenset({"current_version", "revision"})
"""The two fields of a raw document that a recording may change; it adds whatever else it brings."""

CHANGING_AT: Final = (1, 7)
"""How deep they stand: the revision, and the current version of a file name."""

GONE: Final = object()
Path: TypeAlias = tuple[str | int, ...]


def raw(body: bytes) -> bool:
    """Hold a raw document to the laws."""
    document = _accepted(raw_document, body)
    if document is None:
        return False
    assert _survives(raw_document, document)
    _ask(document)
    _record(document)
    _track(body)
    _clean_up(body)
    return True


def clean(body: bytes) -> bool:
    """Hold a clean document to the laws."""
    document = _accepted(clean_document, body)
    if document is None:
        return False
    assert _survives(clean_document, document)
    pending = clean_rules.pending(RAW, document, SCHEMA)
    assert set(pending) <= set(versions_of(RAW, SCHEMA))
    for version in (0, 7):
        raw_version = file_version(version, table=TABLES[0], file_name=FILE_NAMES[0])
        grown, (outcome,) = change_many(document, SCHEMA, [clean_record(raw_version, "fuzz")])
        assert grown is not None
        assert isinstance(outcome, CleanRecorded)
        assert outcome.version >= version
        assert outcome.created == (grown is not document)
        lost = _lost(document["tables"], grown["tables"])
        assert lost is None or lost[:2] == (TABLES[0], FILE_NAMES[0])
        _writable(clean_document, grown)
    return True


def older(body: bytes) -> bool:
    """Hold a clean document of the older shape to the laws: it becomes a clean document that is accepted."""
    entry = _accepted(older_clean_document, body)
    if entry is None:
        return False
    carried = clean_rules.carry_over(None, entry, SCHEMA)
    assert carried is not None
    assert _survives(clean_document, carried)
    names = [name for name, record_ in entry["tables"].items() if record_["file_info"]["table_name"] == TABLES[0]]
    assert names == list(carried["tables"].get(TABLES[0], {}))
    store = MemoryStore()
    store.write(older_clean_key(SCHEMA), body, replacing=None)
    tracker = _clean_tracker(store)
    assert carried == tracker.document(SCHEMA)
    tracker.record(file_version(1), ["a.parquet"])
    return True


def inbox(body: bytes) -> bool:
    """Hold the text of an inbox entry to the laws, as one of raw recordings and as one of clean records."""
    payload = zlib.compress(body, 1)
    key = f"{PREFIX}{hashlib.sha256(payload).hexdigest()[:32]}"
    return _opened_by_any(key, payload)


def key(body: bytes) -> bool:
    """Hold the last part of an inbox entry's key to the laws, and its body: the bytes behind the first line."""
    name, _, rest = body.partition(b"\n")
    text = f"{PREFIX}{name.decode('utf-8', 'replace')}"
    assert carries_payload(text) == ("." in text.rpartition("/")[2])
    return _opened_by_any(text, rest)


LAWS: Final[Mapping[str, Law]] = {"raw": raw, "clean": clean, "older": older, "inbox": inbox, "key": key}


def _accepted(parse: Callable[[bytes], Document], body: bytes) -> Document | None:
    try:
        document = parse(body)
    except DocumentError as error:
        refusal = error
    else:
        return None if _is_deep(document) else document
    assert str(refusal).isprintable()
    assert 0 < len(str(refusal)) < LONGEST_MESSAGE
    assert "" == refusal.location
    assert str(refusal) == str(pickle.loads(pickle.dumps(refusal)))
    return None


def _is_deep(document: Document) -> bool:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        items = (item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer))
        level = [item for item in items if isinstance(item, (dict, list))]
    return bool(level)


def _survives(parse: Callable[[bytes], Document], document: Document) -> bool:
    """Return whether a document is written back equal, and to the byte: `1` is not `1.0`, nor `true`."""
    written = to_bytes(document)
    again = parse(written)
    return document == again and written == to_bytes(again)


def _writable(parse: Callable[[bytes], Document], grown: Document) -> None:
    """Check a document that was made of an accepted one; a number in it may have become too long to be written."""
    with suppress(DocumentError):
        written = to_bytes(grown)
        assert grown == parse(written)


def _ask(document: Document) -> None:
    for schema in [entry["schema_name"] for entry in document["tables"]]:
        versions = list(versions_of(document, schema))
        names = {table_name_of(entry) for entry in tables_of(document, schema)}
        assert names >= {version.table for version in versions}
        assert sum(len(list(versions_of(document, schema, name))) for name in names) == len(versions)
        assert all(sentence for sentence in findings(document, schema))


def _record(document: Document) -> None:
    for table in TABLES[:2]:
        batch = [recording(file, table=table, recorded_by=f"fuzz {file}") for file in ("fuzz.zip", "a.zip")]
        grown, outcomes = record(document, SCHEMA, batch)
        assert grown is not None
        assert ["fuzz.zip", "a.zip"] == [outcome.file for outcome in outcomes]
        assert outcomes[0].created
        assert document.get("revision", 0) + 1 == grown["revision"]
        assert None is _lost(document, grown)
        assert {"fuzz fuzz.zip"} <= set(recorded_since(document, grown))
        _writable(raw_document, grown)


def _track(body: bytes) -> None:
    """Ask and record as callers do."""
    store = MemoryStore()
    store.write(raw_key(SCHEMA), body, replacing=None)
    tracker = Tracker.over(_connection(store))
    for table in tracker.tables(SCHEMA)[:2]:
        with suppress(TrackerError):  # no name that a caller may give
            history = tracker.history(SCHEMA, table)
            assert all(tracker.exists(SCHEMA, table, one.file_name, one.file) for one in history[:2])
            assert all(tracker.latest(SCHEMA, table, one.file_name) for one in history[:2])
    try:
        done = tracker.record(SCHEMA, TABLES[0], FILE_NAMES[0], "fuzz.zip", file_size=1, s3_location="s3://raw/fuzz")
    except TrackerError:
        assert body == _stored(store)
    else:
        assert done.created
        assert tracker.exists(SCHEMA, TABLES[0], FILE_NAMES[0], "fuzz.zip")
        assert None is _lost(raw_document(body), raw_document(_stored(store)))


def _clean_up(body: bytes) -> None:
    """Record what is pending as cleaned: whatever the raw document has in its fields, the clean one is accepted."""
    store = MemoryStore()
    store.write(raw_key(SCHEMA), body, replacing=None)
    tracker = _clean_tracker(store)
    for version in tracker.pending(SCHEMA)[:2]:
        try:
            done = tracker.record(version, ["a.parquet"])
        except TrackerError:  # a name that is blank, say
            continue
        assert done.created
        assert version not in tracker.pending(SCHEMA)


def _opened_by_any(key: str, body: bytes) -> bool:
    by_raw, by_clean = (_combined(ledger, key, body) for ledger in (RAW_LEDGER, CLEAN_LEDGER))
    return by_raw or by_clean


def _combined(ledger: "RecordSpec[Any, Any]", key: str, body: bytes) -> bool:
    """Return whether an entry is readable; if so, whoever takes it along gets a commit out of it."""
    try:
        entry = opened(key, body, ledger.from_json)
    except UnreadableError as error:
        refusal = error
    else:
        _commit(ledger, entry.recordings)
        return True
    assert str(refusal).startswith(key)
    return False


def _commit(ledger: "RecordSpec[Any, Any]", recordings: Sequence[Any]) -> None:
    assert recordings
    grown, outcomes = ledger.record(None, recordings)
    assert len(recordings) == len(outcomes)
    assert grown is not None
    if not _is_deep(grown):
        assert _survives(ledger.parse, grown)
        assert list(recorded_since(None, grown))


def _lost(before: object, after: object) -> Path | None:
    """Return a place where something was lost or has changed, or `None`: more may be there."""
    places: list[tuple[Path, object, object]] = [((), before, after)]
    while places:  # no recursion: a document may be nested more deeply than Python calls
        path, was, now = places.pop()
        if was is now or (path[-1:] and path[-1] in CHANGING and len(path) in CHANGING_AT and type(now) is int):
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            places += [((*path, key), value, now.get(key, GONE)) for key, value in was.items()]
        elif isinstance(was, list) and isinstance(now, list):
            later = [*now, *[GONE] * len(was)]
            places += [((*path, place), value, later[place]) for place, value in enumerate(was)]
        elif type(was) is not type(now) or was != now:
            return path
    return None


def _stored(store: MemoryStore) -> bytes:
    stored = store.read(raw_key(SCHEMA))
    body: bytes = getattr(stored, "body")  # noqa: B009 - it was written: it is there
    return body


def _connection(store: MemoryStore) -> Connection:
    return Connection(Access(bucket="raw"), store=store)


def _clean_tracker(store: MemoryStore) -> CleanTracker:
    return CleanTracker.over(_connection(store), _connection(store))


def _raw_with_versions() -> Document:
    batch = [recording(file, table=table) for table in TABLES[:2] for file in ("a.zip", "b.zip")]
    document, _ = record(None, SCHEMA, batch)
    assert document is not None
    return document


RAW: Final = _raw_with_versions()
RAW_LEDGER: Final = raw_record_spec(SCHEMA)
CLEAN_LEDGER: Final = _clean_tracker(MemoryStore())._ledger(SCHEMA)  # noqa: SLF001 - what its inbox is made with
