"""Files with the same bytes: the rule, one law a test, and every way of recording that has to keep it."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, to_bytes, versions_of
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.entries import sealed
from cf_data_tracker.errors import DifferentContentError, InvalidNameError, SameContentError
from cf_data_tracker.model import ON_SAME_CONTENT, FileVersion, NewFile, Recorded, Recording
from cf_data_tracker.names import inbox_prefix, raw_key
from cf_data_tracker.rules.raw import record
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker, raw_record_spec
from cf_data_tracker.upload import NewUpload, content_of, place
from dying import contended
from strategies import FILE_NAMES, FILES, SCHEMA, TABLES, raw_documents, recording

CONTENTS: Final = (b"one", b"two")


def checksum(content: bytes) -> str:
    """Return the checksum of some bytes, as it is recorded."""
    with content_of(io.BytesIO(content)) as read:
        return f"sha256:{read.sha256.hex()}"


CHECKSUMS: Final = (None, *map(checksum, CONTENTS))
CHOICES: Final = st.sampled_from(ON_SAME_CONTENT)


@st.composite
def batches(draw: st.DrawFn) -> list[Recording]:
    """Recordings of few files with few contents, which leave open, or ask, what to do where one comes again."""
    kinds = st.tuples(
        st.sampled_from(FILES),
        st.sampled_from(TABLES[:2]),
        st.sampled_from(FILE_NAMES[:2]),
        st.sampled_from(CHECKSUMS),
        CHOICES,
    )
    return [
        asking(recording(file, table=table, file_name=file_name, recorded_by=f"recording {number}"), content, choice)
        for number, (file, table, file_name, content, choice) in enumerate(draw(st.lists(kinds, max_size=8)))
    ]


def asking(recording: Recording, content: str | None, choice: str = "record") -> Recording:
    """Return the recording with a checksum, and what to do where that is there."""
    return replace(recording, new=replace(recording.new, checksum=content, on_same_content=choice))


def recordings_into(document: Document | None, batch: Sequence[Recording]) -> Document | None:
    """Return the document with the recordings in it, but for its revision."""
    grown, _ = record(document, SCHEMA, batch)
    return grown and {name: value for name, value in grown.items() if name != "revision"}


DOCUMENTS: Final = st.none() | st.builds(recordings_into, st.none() | raw_documents(), batches())


def siblings(document: Document | None, recording: Recording) -> list[FileVersion]:
    """Return the versions of a recording's file name."""
    return list(versions_of(document, SCHEMA, recording.new.table, recording.new.file_name))


def first_with(document: Document | None, recording: Recording, content: object) -> FileVersion | None:
    """Return the first version of a recording's file name that has a content."""
    alike = [one for one in siblings(document, recording) if one.checksum == content and content is not None]
    return min(alike, key=lambda one: one.version, default=None)


@given(DOCUMENTS, batches())
def test_recording_again_changes_nothing(document: Document | None, batch: list[Recording]) -> None:
    """What is recorded again, in whatever way, leaves the document as it is."""
    once, _ = record(document, SCHEMA, batch)
    twice, _ = record(once, SCHEMA, batch)
    assert once is twice


@given(DOCUMENTS, batches())
def test_recording_again_tells_the_same(document: Document | None, batch: list[Recording]) -> None:
    """Of files that stand in it once, whatever else was recorded with them."""
    each_once = list({(one.new.table, one.new.file_name, one.new.file): one for one in batch}.values())
    once, told = record(document, SCHEMA, each_once)
    _, told_again = record(once, SCHEMA, each_once)
    assert told == told_again


@given(DOCUMENTS, batches())
def test_recording_many_is_a_fold(document: Document | None, batch: list[Recording]) -> None:
    """Recording many is recording one after the other, but for the number of commits."""
    at_once, told = record(document, SCHEMA, batch)
    one_by_one = document
    told_by_one: list[Recorded] = []
    for each in batch:
        one_by_one, outcome = record(one_by_one, SCHEMA, [each])
        told_by_one += outcome
    assert recordings_into(at_once, []) == recordings_into(one_by_one, [])
    assert list(told) == told_by_one


@given(DOCUMENTS, batches())
def test_by_default_a_checksum_decides_nothing(document: Document | None, batch: list[Recording]) -> None:
    """Where nothing is asked, the checksums change no byte of the document, but that they stand in it."""
    plain = [asking(one, None) for one in batch]
    with_checksums = recordings_into(document, [asking(one, one.new.checksum) for one in batch])
    without = recordings_into(document, plain)
    ours = {one.recorded_by for one in batch}
    assert as_bytes(_without_checksums(with_checksums, ours)) == as_bytes(without)


@given(DOCUMENTS, batches(), CHOICES)
def test_what_is_asked_of_other_bytes_decides_nothing(
    document: Document | None, batch: list[Recording], choice: str
) -> None:
    """Where no content comes again, the document is the same byte for byte, whatever was asked."""
    fresh = [asking(one, f"sha256:{number}", choice) for number, one in enumerate(batch)]
    default = [asking(one, one.new.checksum) for one in fresh]
    assert as_bytes(record(document, SCHEMA, default)[0]) == as_bytes(record(document, SCHEMA, fresh)[0])


def as_bytes(document: Document | None) -> bytes | None:
    """Return a document as it is stored."""
    return document if document is None else to_bytes(document)


def _without_checksums(document: Document | None, ours: set[str]) -> Document | None:
    if document is None:
        return None
    for schema in document["tables"]:
        for table in schema["tables"]:
            for file_name in table["files"]:
                for version in file_name["versions"]:
                    if version.get("recorded_by") in ours:
                        version.pop("checksum", None)
    return document


@given(DOCUMENTS, batches())
def test_a_new_file_with_known_bytes_is_added_if_nothing_is_asked(
    document: Document | None, batch: list[Recording]
) -> None:
    """`record` adds it and names the first with its bytes; `skip` and `error` add nothing and name that."""
    for one in batch:
        known = {version.file for version in siblings(document, one)}
        first = first_with(document, one, one.new.checksum)
        grown, (told,) = record(document, SCHEMA, [one])
        if one.new.file not in known and first is not None:
            assert first.version == told.same_content_as
            assert told.created == (one.new.on_same_content == "record") == (grown is not document)
            assert told.created or first.version == told.version
        document = grown


@given(DOCUMENTS, batches())
def test_a_version_is_not_told_that_it_is_itself(document: Document | None, batch: list[Recording]) -> None:
    """Of the first version with its bytes nothing is told, and of a file without a checksum neither."""
    for one in batch:
        document, (told,) = record(document, SCHEMA, [one])
        here = siblings(document, one)
        entry = max((each for each in here if each.file == one.new.file), key=lambda each: each.version, default=None)
        if entry is not None and told.same_content_as is not None:
            alike = [each for each in here if each.checksum == entry.checksum and each.file != entry.file]
            assert told.same_content_as in {each.version for each in alike}
            assert entry.checksum is not None


@given(DOCUMENTS, st.sampled_from(FILES), st.sampled_from(CONTENTS), CHOICES)
def test_what_an_upload_finds_known_the_rule_finds_too(
    document: Document | None, file: str, content: bytes, choice: str
) -> None:
    """What is told before anything is sent is what recording would have told."""
    one = asking(recording(file), checksum(content), choice)
    known = [replace(version, file_size=len(content)) for version in siblings(document, one)]
    if any(version.checksum not in (None, one.new.checksum) for version in known if version.file == file):
        return  # other bytes under its name: no question of what is known
    new = NewUpload(
        path_or_file=io.BytesIO(content),
        schema=SCHEMA,
        table=one.new.table,
        file_name=one.new.file_name,
        file=file,
        on_same_content=choice,
    )
    connection = Connection(Access(bucket="raw"), store=MemoryStore())
    placed = place(connection, new, known, lambda _: None)
    _, (told,) = record(document, SCHEMA, [one])
    entry = max((version for version in known if version.file == file), key=lambda one: one.version, default=None)
    if isinstance(placed, NewFile):
        assert told.created
        assert (one.new.checksum, choice) == (placed.checksum, placed.on_same_content)
    elif entry is not None and entry.checksum is None:  # the upload knows its bytes, the document does not
        assert (told.version, False) == (placed.version, placed.created)
    else:
        assert replace(told, created=False) == placed


# Every way of recording


ACCESS: Final = Access(bucket="raw")
FIRST: Final = checksum(b"one")


def tracker_over(store: MemoryStore, *, combining: bool) -> Tracker:
    """Return a tracker; when combining, one that meets contention, and so goes through the inbox."""
    connection = Connection(ACCESS, store=store, patience=Patience(first=0.001, longest=0.01))
    return Tracker.over(contended(connection) if combining else connection)


def file(name: str, choice: str = "record") -> NewFile:
    """Return a file whose content is always the same."""
    return NewFile(
        schema=SCHEMA,
        table="births",
        file_name="FY2023",
        file=name,
        file_size=3,
        s3_location=f"s3://raw/{name}",
        checksum=FIRST,
        on_same_content=choice,
    )


def recorded(store: MemoryStore) -> list[str]:
    """Return the recorded files."""
    tracker = tracker_over(store, combining=False)
    return [version.file for version in versions_of(tracker.document(SCHEMA), SCHEMA)]


@pytest.mark.parametrize("combining", [False, True], ids=["alone", "combining"])
class TestWaysOfRecording:
    """By themselves and through the inbox, one by one and many at once."""

    def test_by_default_it_is_recorded(self, *, combining: bool) -> None:
        """It becomes a version, and the first with its bytes is named."""
        store = MemoryStore()
        tracker = tracker_over(store, combining=combining)
        tracker.record_many([file("first.zip")])
        [done] = tracker.record_many([file("second.zip")])
        assert (2, True, 1) == (done.version, done.created, done.same_content_as)

    def test_skipped_it_is_not_recorded(self, *, combining: bool) -> None:
        """It adds nothing, and the version that has its bytes is named."""
        store = MemoryStore()
        tracker = tracker_over(store, combining=combining)
        tracker.record_many([file("first.zip")])
        done = tracker.record(
            SCHEMA,
            "births",
            "FY2023",
            "second.zip",
            file_size=3,
            s3_location="s3://raw/second.zip",
            checksum=FIRST,
            on_same_content="skip",
        )
        assert (1, False, 1) == (done.version, done.created, done.same_content_as)
        assert ["first.zip"] == recorded(store)

    def test_as_an_error_it_does_not_stop_the_others(self, *, combining: bool) -> None:
        """The others of the call are recorded, and then it is raised."""
        store = MemoryStore()
        tracker = tracker_over(store, combining=combining)
        tracker.record_many([file("first.zip")])
        other = replace(file("third.zip"), checksum="sha256:other")
        with pytest.raises(SameContentError, match=r"second\.zip has the same content as version 1"):
            tracker.record_many([file("second.zip", "error"), other])
        assert ["first.zip", "third.zip"] == recorded(store)

    def test_within_one_call_the_first_counts(self, *, combining: bool) -> None:
        """Of files with the same bytes in one call the first is recorded."""
        store = MemoryStore()
        done = tracker_over(store, combining=combining).record_many(
            [file(name, "skip") for name in ("first.zip", "second.zip", "third.zip")]
        )
        assert [(1, True), (1, False), (1, False)] == [(one.version, one.created) for one in done]
        assert ["first.zip"] == recorded(store)


@pytest.mark.parametrize("choice", ON_SAME_CONTENT)
def test_what_was_asked_travels_through_the_inbox(choice: str) -> None:
    """What one worker asks is heeded by another, who commits for it."""
    store = MemoryStore()
    tracker_over(store, combining=False).record_many([file("first.zip")])
    ledger = raw_record_spec(SCHEMA)
    dead = Recording(new=replace(file("second.zip", choice), fyear="FY2023"), recorded_by="a dead worker's")
    key, body = sealed(inbox_prefix(raw_key(SCHEMA)), [ledger.to_json(dead)])
    assert dead == ledger.from_json(ledger.to_json(dead))
    store.write(key, body, replacing=None)
    tracker_over(store, combining=True).record_many([replace(file("third.zip"), checksum=None)])
    assert (["second.zip"] if choice == "record" else []) == [
        one for one in recorded(store) if one not in ("first.zip", "third.zip")
    ]


def test_an_entry_does_not_say_what_is_the_default() -> None:
    """Keys are short: whoever asks for nothing sends nothing more than before."""
    as_json = raw_record_spec(SCHEMA).to_json(recording())
    assert isinstance(as_json, dict)
    assert "on_same_content" not in as_json


@pytest.mark.parametrize("choice", ["", "SKIP", "overwrite", None, 1])
def test_another_choice_is_refused(choice: Any) -> None:  # noqa: ANN401 - that is the case
    """There are three, and the error names them."""
    with pytest.raises(InvalidNameError, match="must be one of record, skip, error"):
        replace(file("a.zip"), on_same_content=choice)


def test_an_error_names_what_would_record_it() -> None:
    """`SameContentError` says which version has the bytes, and what to ask for instead."""
    tracker = tracker_over(MemoryStore(), combining=False)
    tracker.record_many([file("first.zip")])
    with pytest.raises(SameContentError, match=r"vitals/births/FY2023, and was not recorded: .* record"):
        tracker.record_many([file("second.zip", "error")])


def test_an_outcome_is_told_as_event_metadata() -> None:
    """The number of the first version with its bytes is there, if there is one."""
    done = Recorded(
        schema=SCHEMA, table="births", file_name="FY2023", file="b.zip", version=2, created=True, same_content_as=1
    )
    assert 1 == done.as_event_metadata()["same_content_as"]
    assert "same_content_as" not in replace(done, same_content_as=None).as_event_metadata()


def test_no_checksum_is_like_no_other() -> None:
    """A recording without a checksum is never the same as one of a document of others whose checksum is empty."""
    entry = {"version": 1, "file": "a.zip", "checksum": ""}
    files = [{"file_name": "FY2023", "current_version": 1, "versions": [entry]}]
    document = {"tables": [{"schema_name": SCHEMA, "tables": [{"name": "births", "files": files}]}]}
    wanted = replace(file("b.zip"), checksum=None, on_same_content="skip")
    wanted = replace(wanted, table="births", file_name="FY2023")
    _, (outcome,) = record(document, SCHEMA, [Recording(new=wanted, recorded_by="one")])
    assert (2, True, None) == (outcome.version, outcome.created, outcome.same_content_as)


# A known file with other content


@pytest.fixture
def tracker() -> Tracker:
    """Give a tracker over an empty bucket in memory."""
    return tracker_over(MemoryStore(), combining=False)


ONE, TWO = CHECKSUMS[1:]
FACTS: Final = {"schema": "vitals", "table": "births", "file_name": "FY2023", "s3_location": "s3://raw/x"}


def known(name: str = "a.zip", *, checksum: str | None = None, size: int = 5, **options: Any) -> NewFile:  # noqa: ANN401 - of `NewFile`
    """Return a file of births/FY2023."""
    return NewFile(**FACTS, file=name, file_size=size, checksum=checksum, **options)


@pytest.mark.parametrize(
    ("recorded", "given", "other"),
    [
        (ONE, ONE, False),
        (ONE, TWO, True),
        (ONE, str(TWO).removeprefix("sha256:"), True),
        (ONE, str(ONE).upper(), False),
        (str(ONE).replace("sha256", "SHA-256"), TWO, True),
        (ONE, None, None),
        (None, ONE, None),
        (ONE, "md5:" + "0" * 32, None),
        ("md5:" + "0" * 32, "1" * 32, True),
        ("crc32:00000000", "crc32:11111111", True),
        ("crc32c:yZRlqg==", "crc32c:YZRlqg==", True),
        ("crc32c:yZRlqg==", "crc32c:c99465aa", None),
        (ONE, "sha256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", None),
        ("opaque", "other", None),
        ("zz" * 32, "1" * 64, None),
    ],
)
def test_checksums_of_one_algorithm_and_form_are_compared(
    recorded: str | None, given: str | None, *, other: bool | None
) -> None:
    """Where they differ that is other content; where they cannot be compared the sizes are."""
    for size in (5, 6):
        document, _ = record(None, "vitals", [Recording(new=known(checksum=recorded), recorded_by="first")])
        same, (outcome,) = record(
            document, "vitals", [Recording(new=known(checksum=given, size=size), recorded_by="second")]
        )
        assert same is document
        by_size = 5 if size == 6 else None
        assert (by_size if other is None else recorded if other else None) == outcome.other_content
        assert (1, False) == (outcome.version, outcome.created)


@pytest.mark.parametrize("size", [None, "5", 5.0, True])
def test_a_size_that_is_no_number_says_nothing(size: object) -> None:
    """Documents of others hold anything there."""
    document, _ = record(None, "vitals", [Recording(new=known(), recorded_by="first")])
    assert document is not None
    document["tables"][0]["tables"][0]["files"][0]["versions"][0]["file_size"] = size
    _, (outcome,) = record(document, "vitals", [Recording(new=known(size=7), recorded_by="second")])
    assert outcome.other_content is None


def test_a_known_file_with_another_checksum_is_an_error(tracker: Tracker) -> None:
    """Nothing is written for it, all others of its call are recorded, and each such file is named."""
    tracker.record_many([known("a.zip", checksum=ONE), known("b.zip", checksum=ONE)])
    told: list[Recorded] = []
    again = [known("a.zip", checksum=TWO), known("c.zip", checksum=TWO), known("b.zip", checksum=TWO)]
    for dry_run in (True, False):
        with pytest.raises(
            DifferentContentError, match=r"^2 files failed: .*a\.zip as version 1.*; .*b\.zip"
        ) as caught:
            tracker.record_many(again, dry_run=dry_run, on_recorded=told.append)
        assert [DifferentContentError] * 2 == [*map(type, caught.value.failures)]
        assert [(ONE, 1), (None, 3), (ONE, 2)] == [(one.other_content, one.version) for one in told[-3:]]
    assert [("a.zip", ONE), ("b.zip", ONE), ("c.zip", TWO)] == [
        (version.file, version.checksum) for version in tracker.history("vitals", "births")
    ]
    with pytest.raises(DifferentContentError, match=r"a\.zip as version 1 already, recorded with other content") as one:
        tracker.record(**FACTS, file="a.zip", file_size=5, checksum=TWO)
    assert () == one.value.failures


def test_a_known_file_with_another_size_alone_is_a_warning(tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    """As ever it keeps its version; the log, and the outcome, give the size that is recorded."""
    tracker.record_many([known(size=5)])
    (done,) = tracker.record_many([known(size=6)])
    assert (1, False, 5) == (done.version, done.created, done.other_content)
    assert "has 'a.zip' as version 1 already, recorded with 5 bytes, not 6" in caplog.text
    caplog.clear()
    assert tracker.record_many([known(size=5)])[0].other_content is None
    assert "" == caplog.text


def test_of_workers_that_record_one_file_with_other_content_one_is_right() -> None:
    """Whoever commits for whom: the document decides, and all others get the error."""
    store = MemoryStore()
    contents = [f"sha256:{number:064x}" for number in range(16)]

    def record_one(content: str) -> Recorded | DifferentContentError:
        connection = contended(Connection(Access(bucket="raw"), store=store, patience=Patience(first=0.001)))
        try:
            return Tracker.over(connection).record(**FACTS, file="a.zip", file_size=5, checksum=content)
        except DifferentContentError as error:
            return error

    with ThreadPoolExecutor(len(contents)) as pool:
        done = list(pool.map(record_one, contents))
    (right,) = [content for content, one in zip(contents, done, strict=True) if isinstance(one, Recorded)]
    (version,) = Tracker.over(Connection(Access(bucket="raw"), store=store)).history("vitals", "births")
    assert right == version.checksum
    assert 15 == sum(isinstance(one, DifferentContentError) for one in done)


# Names that look like others


def test_a_name_that_looks_like_another_is_a_warning_when_it_is_new(
    tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    """Its first recording says so; later ones, and other files of a known file name, do not."""
    odd = {**FACTS, "table": "births\u200b"}
    tracker.record(**odd, file="u\u0308.zip", file_size=1)
    assert 2 == len(caplog.messages)
    assert r"file 'u\u0308.zip', recorded in 'vitals/births\u200b/FY2023', may be taken for another" in caplog.text
    assert r"table 'births\u200b', recorded in 'vitals/births\u200b/FY2023'" in caplog.text
    assert "holds characters that cannot be seen: U+200B" in caplog.text
    caplog.clear()
    tracker.record(**odd, file="u\u0308.zip", file_size=1)
    tracker.record(**odd, file="plain.zip", file_size=1)
    assert [] == caplog.messages
