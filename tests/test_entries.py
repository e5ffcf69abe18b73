"""Inbox entries: what is sealed is opened again, by its key alone where that is possible; and damage is noticed."""

import hashlib
import json
import random
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker import entries
from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.combine import RecordSpec
from cf_data_tracker.entries import Entry, UnreadableError, carries_payload, json_size, opened, sealed
from cf_data_tracker.errors import DocumentError, InvalidNameError
from cf_data_tracker.model import CleanRecord, CleanRecorded, Recorded, Recording
from cf_data_tracker.names import MAX_NAME_BYTES, aside_key, clean_key, inbox_prefix, raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import raw_record_spec
from strategies import SCHEMA, clean_record, clean_records, file_version, recording, recordings

PREFIX = inbox_prefix(raw_key(SCHEMA))


@dataclass(frozen=True)
class Note:
    """A recording of another kind: these pages know no more of it than its id."""

    recorded_by: str
    value: Any


def as_note(value: Any) -> Note:  # noqa: ANN401 - any JSON value
    """Return the note that a JSON value is."""
    return Note(value["recorded_by"], value.get("value"))


def sealed_text(text: str, prefix: str = PREFIX) -> tuple[str, bytes]:
    """Return the key and body of an entry that holds this text, whatever it is."""
    payload = zlib.compress(text.encode("utf-8", "surrogatepass"))
    return f"{prefix}{hashlib.sha256(payload).hexdigest()[:32]}", payload


def raw() -> RecordSpec[Recording, Recorded]:
    """Return how raw recordings are written and read."""
    return raw_record_spec(SCHEMA)


def clean() -> RecordSpec[CleanRecord, CleanRecorded]:
    """Return how clean records are written and read."""
    connection = Connection(Access(bucket="clean"), store=MemoryStore())
    return CleanTracker.over(connection, connection)._ledger(SCHEMA)  # noqa: SLF001 - what its inbox is made with


def values_of(batch: list[Recording]) -> list[object]:
    """Return recordings as JSON values."""
    return [raw().to_json(one) for one in batch]


def many(number: int) -> list[Recording]:
    """Return recordings that have little in common, so that they do not deflate to nothing."""
    ids = random.Random(1)
    return [recording(f"{ids.getrandbits(96):x}", recorded_by=f"{ids.getrandbits(128):032x}") for _ in range(number)]


IN_KEY = sealed(PREFIX, values_of(many(2)))
IN_BODY = sealed(PREFIX, values_of(many(40)))


class TestRoundTrip:
    """What one worker seals, another opens."""

    @given(recordings(min_size=1))
    def test_raw_recordings_come_back_from_an_entry(self, batch: list[Recording]) -> None:
        """Recordings come out as they went in, in the same order."""
        key, body = sealed(PREFIX, values_of(batch))
        assert tuple(batch) == opened(key, body, raw().from_json).recordings

    @given(clean_records().filter(bool))
    def test_clean_records_come_back_from_an_entry(self, batch: list[CleanRecord]) -> None:
        """So do clean records."""
        key, body = sealed(PREFIX, [asdict(one) for one in batch])
        assert tuple(batch) == opened(key, body, clean().from_json).recordings

    @given(st.lists(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False), min_size=1))
    def test_any_json_comes_back(self, values: list[Any]) -> None:
        """Whatever JSON can say of a recording comes back, and the size is that of the JSON."""
        notes = [Note(f"{number}", value) for number, value in enumerate(values)]
        key, body = sealed(PREFIX, [asdict(note) for note in notes])
        entry = opened(key, body, as_note)
        assert Entry(key=key, recordings=tuple(notes), size=entry.size) == entry
        # The brackets of the list, and a comma between two.
        assert json_size(map(asdict, notes)) + 2 + len(notes) - 1 == entry.size

    def test_half_a_character_comes_back(self) -> None:
        """A name of an older document that holds half a character (JSON can escape that) is no hindrance."""
        half = Note("me", "\ud83d")
        key, body = sealed(PREFIX, [asdict(half)])
        assert (half,) == opened(key, body, as_note).recordings

    def test_many_recordings_come_back_from_a_body(self) -> None:
        """What does not fit into a key comes back from the body."""
        key, body = IN_BODY
        assert tuple(many(40)) == opened(key, body, raw().from_json).recordings

    def test_the_same_recordings_have_the_same_key(self) -> None:
        """Publishing twice is publishing once."""
        assert IN_KEY == sealed(PREFIX, values_of(many(2)))

    @given(recordings(min_size=1), recordings(min_size=1))
    def test_other_recordings_have_another_key(self, batch: list[Recording], other: list[Recording]) -> None:
        """A recording has an id of its own, so two entries never share a key."""
        renamed = [{**asdict(one.new), "recorded_by": f"another {one.recorded_by}"} for one in other]
        assert sealed(PREFIX, values_of(batch))[0] != sealed(PREFIX, renamed)[0]


class TestKey:
    """Where the payload is."""

    def test_a_key_is_the_digest_and_the_payload(self) -> None:
        """The digest is half a SHA-256 of the payload: deflated JSON, which in a key is base64 without padding."""
        for name in ("m", "me", "men"):
            payload = zlib.compress(f'[{{"recorded_by":"{name}"}}]'.encode(), 9)
            digest, text = hashlib.sha256(payload).hexdigest()[:32], urlsafe_b64encode(payload).decode().rstrip("=")
            assert (f"{PREFIX}{digest}.{text}", b"") == sealed(PREFIX, [{"recorded_by": name}])

    def test_a_body_is_the_payload(self) -> None:
        """Where the key is the digest alone, the body is the payload."""
        key, body = IN_BODY
        assert f"{PREFIX}{hashlib.sha256(body).hexdigest()[:32]}" == key
        assert values_of(many(40)) == json.loads(zlib.decompress(body))

    def test_the_payload_is_in_the_key_as_long_as_s3_allows(self) -> None:
        """With a key of 1,024 bytes the payload is in it; with one byte more it is the body. Bytes, not characters."""
        name, _ = sealed("", values_of(many(2)))
        room = 1024 - len(name) - len("/")
        within, over = (f"{'x' * (room % 2 + more)}{'ä' * (room // 2)}/" for more in (0, 1))
        assert (f"{within}{name}", b"") == sealed(within, values_of(many(2)))
        assert 1024 == len(f"{within}{name}".encode())
        key, body = sealed(over, values_of(many(2)))
        assert f"{over}{name.partition('.')[0]}" == key
        assert tuple(many(2)) == opened(key, body, raw().from_json).recordings

    @given(recordings(min_size=1))
    def test_no_key_is_longer_than_s3_allows(self, batch: list[Recording]) -> None:
        """Even under the longest schema name there is room for the digest, and for that of one set aside."""
        prefix = inbox_prefix(clean_key("ä" * (MAX_NAME_BYTES // 2)))
        key, _ = sealed(prefix, values_of(batch))
        assert len(key.encode()) <= 1024
        assert len(aside_key(key).encode()) <= 1024

    def test_a_payload_in_the_key_needs_no_body(self) -> None:
        """What is in the key is read from there alone, so that a LIST is enough."""
        assert carries_payload(IN_KEY[0])
        assert tuple(many(2)) == opened(IN_KEY[0], b"whatever", raw().from_json).recordings

    def test_a_payload_in_the_body_is_not_in_the_key(self) -> None:
        """What is in the body must be fetched, though the document's key has a dot as well."""
        assert "." in PREFIX
        assert not carries_payload(IN_BODY[0])


class TestSize:
    """What an entry adds to a document."""

    def test_the_size_is_that_of_the_recordings_as_json(self) -> None:
        """It is counted in bytes, before deflating."""
        values = values_of(many(40))
        key, body = IN_BODY
        assert len(json.dumps(values, separators=(",", ":"))) == opened(key, body, raw().from_json).size

    def test_the_size_of_values_is_that_of_each(self) -> None:
        """Bytes are counted, not characters."""
        assert 0 == json_size([])
        assert 4 + 3 == json_size(["ä", [1]])
        assert 5 == json_size(["\ud83d"])

    def test_what_is_no_json_has_no_size(self) -> None:
        """Whoever writes it finds out."""
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        for value in (object(), float("nan"), deep):
            assert 0 == json_size([1, value])


class TestReading:
    """What is no recording is none."""

    @pytest.mark.parametrize("files", ["a.parquet", 3, None])
    def test_clean_files_that_are_no_list_are_unreadable(self, files: object) -> None:
        """A text is not taken for the list of its letters."""
        record = clean_record(file_version(1))
        value = {**asdict(record), "clean_files": files}
        with pytest.raises(UnreadableError):
            opened(*sealed(PREFIX, [value]), clean().from_json)


class TestAdds:
    """Whether a commit had something of an entry to add."""

    def test_an_entry_adds_if_one_of_its_recordings_was_added(self) -> None:
        """One is enough, whoever else was added."""
        entry = opened(*sealed(PREFIX, values_of(many(2))), raw().from_json)
        second = entry.recordings[1].recorded_by
        assert entry.adds(frozenset({second, "another"}))
        assert not entry.adds(frozenset({"another"}))
        assert not entry.adds(frozenset())


class TestSealing:
    """What cannot be sealed."""

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_no_document_can_hold_is_not_sealed(self, value: float) -> None:
        """A number that is none would make the commit of whoever takes it along fail."""
        with pytest.raises(ValueError, match="not JSON"):
            sealed(PREFIX, [value])

    def test_what_is_no_json_is_not_sealed(self) -> None:
        """Neither is any other thing."""
        with pytest.raises(TypeError):
            sealed(PREFIX, [object()])


class TestDamage:
    """Whatever is damaged is unreadable, and never another recording."""

    @given(st.data())
    def test_a_flipped_bit_of_a_key_is_noticed(self, data: st.DataObject) -> None:
        """Wherever a key was changed behind its prefix, it is no entry any more."""
        key, _ = IN_KEY
        position = data.draw(st.integers(len(PREFIX), len(key) - 1))
        changed = chr(ord(key[position]) ^ 1 << data.draw(st.integers(0, 7)))
        with pytest.raises(UnreadableError):
            opened(f"{key[:position]}{changed}{key[position + 1 :]}", b"", raw().from_json)

    @given(st.data())
    def test_a_flipped_bit_of_a_body_is_noticed(self, data: st.DataObject) -> None:
        """Wherever a body was changed, it is no entry any more."""
        key, body = IN_BODY
        position = data.draw(st.integers(0, len(body) - 1))
        changed = bytes([body[position] ^ 1 << data.draw(st.integers(0, 7))])
        with pytest.raises(UnreadableError):
            opened(key, body[:position] + changed + body[position + 1 :], raw().from_json)

    @given(st.integers(0, 10_000))
    def test_an_entry_that_is_cut_off_is_noticed(self, left: int) -> None:
        """A part of an entry is none."""
        key, _ = IN_KEY
        with pytest.raises(UnreadableError):
            opened(key[: len(PREFIX) + left % (len(key) - len(PREFIX))], b"", raw().from_json)
        key, body = IN_BODY
        with pytest.raises(UnreadableError):
            opened(key, body[: left % len(body)], raw().from_json)

    @pytest.mark.parametrize("more", ["!", "=", "==", "\n", "\N{EURO SIGN}", ".", "A", "AAAA"])
    def test_what_was_added_to_a_key_is_noticed(self, more: str) -> None:
        """Python's base64 skips what it does not know; here it makes another key, and so no entry."""
        with pytest.raises(UnreadableError):
            opened(f"{IN_KEY[0]}{more}", b"", raw().from_json)

    def test_a_wrong_digest_is_noticed(self) -> None:
        """The digest is that of this payload, and no other's."""
        key, _ = IN_KEY
        digest = hashlib.sha256(b"another").hexdigest()[:32]
        for wrong in (f"{PREFIX}{digest}.{key.rpartition('.')[2]}", f"{PREFIX}{digest}"):
            with pytest.raises(UnreadableError) as caught:
                opened(wrong, IN_BODY[1], raw().from_json)
            assert f"{wrong}: its digest does not match" == str(caught.value)

    def test_what_is_not_deflated_is_noticed(self) -> None:
        """A digest of plain JSON does not make an entry of it."""
        body = b'[{"recorded_by":"me"}]'
        with pytest.raises(UnreadableError):
            opened(f"{PREFIX}{hashlib.sha256(body).hexdigest()[:32]}", body, as_note)

    def test_what_is_deflated_in_part_is_noticed(self) -> None:
        """Nor does one of a payload that was cut off before it was digested, even if all of the text is there."""
        body = zlib.compress(b'[{"recorded_by":"me"}]')[:-1]
        with pytest.raises(UnreadableError, match="cut off"):
            opened(f"{PREFIX}{hashlib.sha256(body).hexdigest()[:32]}", body, as_note)

    def test_a_bomb_is_not_inflated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A few bytes that inflate to gigabytes do not fill the memory: inflating ends at a bound."""
        monkeypatch.setattr(entries, "MAX_PAYLOAD_BYTES", 1000)
        key, body = sealed_text(json.dumps([{"recorded_by": "me", "value": "x" * 2000}]))
        assert len(body) < 100
        with pytest.raises(UnreadableError, match="too large"):
            opened(key, body, as_note)
        monkeypatch.setattr(entries, "MAX_PAYLOAD_BYTES", 4000)
        assert "x" * 2000 == opened(key, body, as_note).recordings[0].value

    def test_the_bounds_are_far_above_what_a_commit_takes(self) -> None:
        """The worst entry that was found takes 60 MiB and half a second to read."""
        assert (4 * 1024 * 1024, 250_000) == (entries.MAX_PAYLOAD_BYTES, entries.MAX_VALUES)

    @pytest.mark.parametrize("text", ["[" + "{}," * 700_000 + "{}]", "[" + "[]," * 125_000 + "[]]", "[" * 250_001])
    def test_a_bomb_of_many_values_is_not_read(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A few bytes each, they take many times as much memory when they are read."""
        monkeypatch.setattr(json, "loads", None)
        with pytest.raises(UnreadableError, match="too large"):
            opened(*sealed_text(text), as_note)

    def test_what_could_not_be_read_is_not_sealed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither too many bytes, nor too many values, nor lists too deep; up to the bounds it is sealed and read."""
        note = {"recorded_by": "me", "value": "x" * 100}
        size = len(json.dumps([note], separators=(",", ":")))
        monkeypatch.setattr(entries, "MAX_PAYLOAD_BYTES", size)
        assert "x" * 100 == opened(*sealed(PREFIX, [note]), as_note).recordings[0].value
        with pytest.raises(ValueError, match="too large"):
            sealed(PREFIX, [{**note, "value": "x" * 101}])
        monkeypatch.setattr(entries, "MAX_VALUES", 3)
        assert opened(*sealed(PREFIX, [note]), as_note).recordings
        with pytest.raises(ValueError, match="too large"):
            sealed(PREFIX, [note, note])
        monkeypatch.undo()
        deep: list[object] = []
        for _ in range(entries.MAX_DEPTH + 1):
            deep = [deep]
        with pytest.raises(ValueError, match="nested too deeply"):
            sealed(PREFIX, deep)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{",
            "[]",
            "{}",
            "null",
            "1",
            '"recorded_by"',
            "[null]",
            "[1]",
            '["recorded_by"]',
            "[[]]",
            "[{}]",
            '[{"recorded_by":1}]',
            '[{"recorded_by":""}]',
            '{"recorded_by":"me"}',
            "[" * 100_000,
            f"[{'9' * 5000}]",
        ],
    )
    @pytest.mark.parametrize("ledger", [raw, clean])
    def test_json_of_another_shape_is_unreadable(self, text: str, ledger: Callable[[], RecordSpec[Any, Any]]) -> None:
        """Whatever JSON holds that is no list of recordings, or no JSON at all, is unreadable, and no other error."""
        with pytest.raises(UnreadableError):
            opened(*sealed_text(text), ledger().from_json)

    @pytest.mark.parametrize("text", ['{"a":1}', '"ab"'])
    def test_what_is_no_list_is_unreadable_whoever_reads_it(self, text: str) -> None:
        """That an entry is a list is a rule of these pages, and no matter of what a recording is."""
        with pytest.raises(UnreadableError, match="expected a list"):
            opened(*sealed_text(text), lambda value: Note("me", value))

    @pytest.mark.parametrize("error", [DocumentError("", "bad"), KeyError("a"), AttributeError("a"), TypeError("a")])
    def test_whatever_its_reader_says_it_is_unreadable(self, error: Exception) -> None:
        """The error for what is no recording may be one of the language's, or one of ours."""

        def fail(_: object) -> Note:
            raise error

        with pytest.raises(UnreadableError) as caught:
            opened(*sealed_text("[1]"), fail)
        assert error is caught.value.__cause__

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_a_number_that_no_document_can_hold_is_unreadable(self, number: str) -> None:
        """Python reads some numbers that cannot be written; taken along, they would make everybody's commit fail."""
        with pytest.raises(UnreadableError):
            opened(*sealed_text(f'[{{"recorded_by":"me","value":{number}}}]'), as_note)

    @pytest.mark.parametrize(
        "changed",
        [
            {"schema": SCHEMA},
            {"colour": "red"},
            {"table": ""},
            {"table": "../births"},
            {"file_name": "a/b"},
            {"file": 7},
            {"file_size": -1},
            {"file_size": "7"},
            {"file_size": True},
            {"s3_location": None},
            {"timestamp": "one line\nanother"},
            {"recorded_by": "x" * 3000},
            {"recorded_by": None},
        ],
    )
    def test_a_raw_recording_that_is_none_is_unreadable(self, changed: dict[str, object]) -> None:
        """Fields that are unknown and names that no caller could give are not taken from an entry either."""
        value: Any = raw().to_json(recording())
        opened(*sealed(PREFIX, [value]), raw().from_json)
        with pytest.raises(UnreadableError):
            opened(*sealed(PREFIX, [value, {**value, **changed}]), raw().from_json)

    @pytest.mark.parametrize("missing", ["table", "file_name", "file", "file_size", "s3_location", "recorded_by"])
    def test_a_raw_recording_that_lacks_something_is_unreadable(self, missing: str) -> None:
        """What a recording cannot do without must be there."""
        value: Any = raw().to_json(recording())
        del value[missing]
        with pytest.raises(UnreadableError):
            opened(*sealed(PREFIX, [value]), raw().from_json)

    @pytest.mark.parametrize(
        "changed",
        [
            {"raw": None},
            {"raw": {}},
            {"raw": {**asdict(file_version()), "schema": "vital"}},
            {"raw": {**asdict(file_version()), "version": "1"}},
            {"raw": {**asdict(file_version()), "colour": "red"}},
            {"raw": {**asdict(file_version()), "table": None}},
            {"clean_files": None},
            {"clean_files": [1]},
            {"timestamp": 7},
            {"recorded_by": None},
        ],
    )
    def test_a_clean_record_that_is_none_is_unreadable(self, changed: dict[str, object]) -> None:
        """So it is with clean records, and with one for another schema."""
        value = asdict(clean_record(file_version()))
        opened(*sealed(PREFIX, [value]), clean().from_json)
        with pytest.raises(UnreadableError):
            opened(*sealed(PREFIX, [{**value, **changed}]), clean().from_json)

    def test_the_message_names_the_key_once_and_the_reason(self) -> None:
        """Whoever looks for what was set aside is told which entry it was, and why."""
        key, body = sealed(PREFIX, [{**asdict(recording().new), "recorded_by": "me"}])
        with pytest.raises(UnreadableError) as caught:
            opened(key, body, raw().from_json)
        assert 1 == str(caught.value).count(key)
        key, body = sealed_text("[]")
        with pytest.raises(UnreadableError) as caught:
            opened(key, body, raw().from_json)
        assert f"{key}: expected a list of recordings" == str(caught.value)

    def test_the_cause_is_kept(self) -> None:
        """The error below is not hidden."""
        value: Any = {**asdict(recording().new), "table": "", "recorded_by": "me"}
        del value["schema"]
        with pytest.raises(UnreadableError) as caught:
            opened(*sealed(PREFIX, [value]), raw().from_json)
        assert isinstance(caught.value.__cause__, InvalidNameError)
