"""Outdated clean files: they go when it is long enough ago, nobody names them, and nobody has written them since."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import pytest

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import DeniedError, InvalidNameError, StoreError
from cf_data_tracker.names import clean_key
from cf_data_tracker.runtime import utc_now
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Head, Stored, Unanswered
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.sweep import AT_A_TIME, WRITTEN_AGAIN, Swept
from conftest import connection_to
from servers.server import Server
from strategies import file_version

KEY: Final = clean_key("vitals")
NINE: Final = datetime(2024, 3, 1, 9, tzinfo=timezone.utc)
OUTDATED: Final = "2024-03-02T09:00:00.000Z"
A_WEEK: Final = 7 * 86_400
NAMED: Final = "a record names it, or did a moment ago"


class Bucket(MemoryStore):
    """A bucket that can be told what to do before it answers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.before: Callable[[str, str], None] = lambda kind, key: None  # noqa: ARG005
        self.deletions: list[tuple[str, ...]] = []
        self.honours_if_match = True

    def head(self, key: str) -> Head | None:
        """Tell of an object."""
        self.before("head", key)
        return super().head(key)

    def delete(self, *keys: str) -> None:
        """Delete objects."""
        self.before("delete", keys[0])
        self.deletions.append(keys)
        super().delete(*keys)

    def delete_unchanged(self, key: str, etag: str) -> bool | None:
        """Delete an object if it is as it was, in a store that honours that."""
        if not self.honours_if_match:
            return None
        self.before("delete", key)
        self.deletions.append((key,))
        return super().delete_unchanged(key, etag)


@dataclass(kw_only=True)
class Office:
    """A clean bucket, and a clock that both it and its workers go by."""

    now: datetime = NINE
    clean: Bucket = field(init=False)
    version: int = 0

    def __post_init__(self) -> None:
        self.clean = Bucket(self.seconds)

    def seconds(self) -> float:
        """Return the time as a store has it."""
        return self.now.timestamp()

    def worker(self) -> CleanTracker:
        """Return a worker."""
        patience = Patience(first=0.0, attempts=3)
        raw, clean = (
            Connection(Access(bucket=name), store=store, patience=patience)
            for name, store in (("raw", MemoryStore()), ("clean", self.clean))
        )
        return CleanTracker.over(raw, clean, clock=lambda: self.now)

    def clean_up(self, *files: str, file_name: str = "FY2023") -> None:
        """Write clean files, and record them as made of a new raw version."""
        self.version += 1
        for file in files:
            self.write(file.removeprefix("s3://clean/"))
        worker = self.worker()
        worker.document("vitals")  # as `pending` and `claim` read it
        worker.record(file_version(self.version, file_name=file_name), files)

    def write(self, key: str) -> None:
        """Write a clean file."""
        self.clean.write(key, b"rows", replacing=ANYTHING)

    def pass_by(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)

    def stored(self) -> Document:
        """Return the clean document as it is stored."""
        there = self.clean.read(KEY)
        assert isinstance(there, Stored)
        document: Document = json.loads(there.body)
        return document

    def edit(self, **fields: object) -> None:
        """Change the document by hand."""
        self.clean.write(KEY, json.dumps({**self.stored(), **fields}).encode(), replacing=ANYTHING)

    def files(self) -> list[str]:
        """Return what is in the bucket, but for the document."""
        return [key for key in self.clean.list("") if key != KEY]


@pytest.fixture
def office() -> Office:
    """Give an office in which one of two clean files became outdated, eight days ago."""
    office = Office()
    office.clean_up("a.parquet", "b.parquet")
    office.pass_by(days=1)
    office.clean_up("b.parquet", "c.parquet")
    office.pass_by(days=8)
    return office


def test_a_sweep_deletes_what_is_outdated(office: Office) -> None:
    """And takes it off the list: the next one finds nothing."""
    worker = office.worker()
    assert [Swept(file="a.parquet", outdated=OUTDATED, left=None)] == worker.sweep("vitals", dry_run=False)
    assert ["b.parquet", "c.parquet"] == office.files()
    assert "outdated" not in office.stored()
    assert [] == worker.sweep("vitals", dry_run=False)


def test_unless_it_is_told_to_it_deletes_nothing(office: Office) -> None:
    """It says what it would; the document stays as it is."""
    before = office.stored()
    assert [Swept(file="a.parquet", outdated=OUTDATED, left=None)] == office.worker().sweep("vitals")
    assert ["a.parquet", "b.parquet", "c.parquet"] == office.files()
    assert before == office.stored()


def test_what_is_young_stays(office: Office) -> None:
    """A week, unless it is said otherwise: readers may be at what was replaced."""
    worker = office.worker()
    assert [] == worker.sweep("vitals", older_than=8 * 86_400, dry_run=False)
    assert [] == worker.sweep("vitals", older_than=timedelta(days=30), dry_run=False)
    office.now = NINE + timedelta(days=8)
    assert [] == worker.sweep("vitals", dry_run=False)
    office.pass_by(milliseconds=1)
    assert 1 == len(worker.sweep("vitals", dry_run=False))


def test_a_timestamp_of_long_ago_makes_nothing_old(office: Office) -> None:
    """Whoever records says what timestamp he likes; a file is outdated from that moment on."""
    office.worker().record(file_version(9), ["d.parquet"], timestamp="1999-01-01 00:00:00")
    assert ["a.parquet"] == [one.file for one in office.worker().sweep("vitals")]


def test_what_is_named_again_stays(office: Office) -> None:
    """It is no longer on the list."""
    office.clean_up("a.parquet")
    office.pass_by(days=8)
    assert ["b.parquet", "c.parquet"] == [one.file for one in office.worker().sweep("vitals", dry_run=False)]
    assert ["a.parquet"] == office.files()


@pytest.mark.parametrize("name", ["a.parquet", "s3://clean/a.parquet", "s3a://clean/a.parquet"])
def test_what_another_file_name_names_stays(name: str) -> None:
    """Whichever way it is written, and though the record that named it first was replaced."""
    office = Office()
    office.clean_up("a.parquet")
    office.clean_up(name, file_name="FY2024")
    office.clean_up("b.parquet")
    office.pass_by(days=8)
    assert [("a.parquet", NAMED)] == [(one.file, one.left) for one in office.worker().sweep("vitals", dry_run=False)]
    assert "a.parquet" in office.files()


def test_what_was_written_again_stays(office: Office) -> None:
    """Somebody may be about to record it; it counts as outdated since the sweep that saw it, and goes a week later."""
    office.write("a.parquet")
    left = [Swept(file="a.parquet", outdated=OUTDATED, left=WRITTEN_AGAIN)]
    assert left == office.worker().sweep("vitals") == office.worker().sweep("vitals", dry_run=False)
    assert [] == office.worker().sweep("vitals", dry_run=False)
    assert {"a.parquet": "2024-03-10T09:00:00.000Z"} == office.stored()["outdated"]
    office.pass_by(days=8)
    assert [None] == [one.left for one in office.worker().sweep("vitals", dry_run=False)]
    assert "a.parquet" not in office.files()


def test_what_is_recorded_meanwhile_stays(office: Office) -> None:
    """The document is looked at once more, right before."""
    late = office.worker()

    def records(kind: str, _key: str) -> None:
        if kind == "head":
            late.record(file_version(9, file_name="FY2024"), ["a.parquet"])

    office.clean.before = records
    assert [NAMED] == [one.left for one in office.worker().sweep("vitals", dry_run=False)]
    assert "a.parquet" in office.files()


def test_what_is_gone_already_is_forgotten(office: Office) -> None:
    """A sweep may have died between the two."""
    office.clean.delete("a.parquet")
    assert [None] == [one.left for one in office.worker().sweep("vitals", dry_run=False)]
    assert "outdated" not in office.stored()


def test_a_sweep_that_fails_can_be_made_again(office: Office) -> None:
    """What it could not delete stays on the list."""

    def unanswered(kind: str, _key: str) -> None:
        if kind == "delete":
            raise Unanswered("500")

    office.clean.before = unanswered
    with pytest.raises(StoreError, match="does not answer"):
        office.worker().sweep("vitals", dry_run=False)
    assert {"a.parquet": OUTDATED} == office.stored()["outdated"]
    office.clean.before = lambda kind, key: None  # noqa: ARG005
    assert 1 == len(office.worker().sweep("vitals", dry_run=False))


def test_a_refusal_is_told_as_it_is(office: Office) -> None:
    """It names the permission."""

    def denied(_kind: str, _key: str) -> None:
        raise DeniedError("allow s3:GetObject on it")

    office.clean.before = denied
    with pytest.raises(DeniedError, match="s3:GetObject"):
        office.worker().sweep("vitals")


@pytest.mark.parametrize("file", ["s3://clean/x/y.parquet", "s3a://clean/x/y.parquet", "s3n://clean/x/y.parquet"])
def test_a_file_may_be_named_by_its_url(file: str) -> None:
    """In this bucket, whichever way it is written."""
    office = Office()
    office.write("x/y.parquet")
    office.clean_up(file)
    office.clean_up("new.parquet")
    office.pass_by(days=8)
    assert [(file, None)] == [(one.file, one.left) for one in office.worker().sweep("vitals", dry_run=False)]
    assert "x/y.parquet" not in office.files()


@pytest.mark.parametrize(
    ("file", "left"),
    [
        ("s3://elsewhere/a.parquet", "it is in another bucket"),
        ("s3://clean", "a clean file must not be empty"),
        ("s3://clean/", "a clean file must not be empty"),
        (KEY, "a clean file must not be"),
        (f"s3://clean/{KEY}", "a clean file must not be"),
        ("vitals/vitals_version_info.json", "a clean file must not be"),
        ("_cf_tracker/inbox/x", "a clean file must not be"),
        ("vitals/", "a clean file must not be"),
        ("a\nb", "a clean file must not contain control characters"),
    ],
)
def test_what_is_no_clean_file_of_this_bucket_stays(office: Office, file: str, left: str) -> None:
    """Whatever a document may say: the tracker's own objects are never deleted."""
    office.edit(outdated={file: OUTDATED})
    (swept,) = office.worker().sweep("vitals", dry_run=False)
    assert file == swept.file
    assert left in (swept.left or "")
    assert [] == office.clean.deletions
    assert {file: OUTDATED} == office.stored()["outdated"]


def test_a_moment_that_cannot_be_read_keeps_the_file(office: Office) -> None:
    """Nobody knows whether it was written since."""
    office.edit(outdated={"a.parquet": "1 March"})
    assert ["since when it is outdated cannot be read"] == [one.left for one in office.worker().sweep("vitals")]


@pytest.mark.parametrize("honours", [True, False])
def test_many_are_deleted_in_a_few_requests(honours: bool) -> None:  # noqa: FBT001 - of the store
    """One commit for each hundred; so is one deletion, where the store takes no condition with it."""
    office = Office()
    office.clean.honours_if_match = honours
    office.clean_up(*(f"{number:03}.parquet" for number in range(250)))
    office.clean_up("new.parquet")
    office.pass_by(days=8)
    before = office.stored()["revision"]
    assert 250 == len(office.worker().sweep("vitals", dry_run=False))
    expected = [1] * 250 if honours else [AT_A_TIME, AT_A_TIME, 50]
    assert expected == [len(keys) for keys in office.clean.deletions]
    assert before + 3 == office.stored()["revision"]
    assert ["new.parquet"] == office.files()


def test_where_nothing_was_recorded_there_is_nothing_to_sweep() -> None:
    """That is no error, and nothing is written."""
    office = Office()
    assert [] == office.worker().sweep("vitals", dry_run=False)
    assert [] == office.clean.list("")


@pytest.mark.parametrize(
    "wrong", [{"schema": "a/b"}, {"older_than": 0}, {"older_than": -1}, {"older_than": "7"}, {"older_than": None}]
)
def test_bad_arguments_are_told_before_anything_is_deleted(office: Office, wrong: dict[str, Any]) -> None:
    """Each is named."""
    with pytest.raises(InvalidNameError, match=next(iter(wrong))):
        office.worker().sweep(**{"schema": "vitals", "dry_run": False, **wrong})
    assert [] == office.clean.deletions


def test_on_a_server(embedded: Server, schema: str) -> None:
    """The same over HTTP."""
    clean = connection_to(embedded, "clean")
    now = utc_now()
    worker = CleanTracker.over(connection_to(embedded), clean, clock=lambda: now + timedelta(minutes=1))
    in_a_week = CleanTracker.over(connection_to(embedded), clean, clock=lambda: now + timedelta(days=8))
    for name in ("a", "b"):
        clean.store.write(f"{schema}/{name}.parquet", b"rows", replacing=None)
    for number, name in enumerate("ab", 1):
        worker.record(replace(file_version(number), schema=schema), [f"{schema}/{name}.parquet"])
    assert [None] == [one.left for one in in_a_week.sweep(schema, dry_run=False)]
    assert [f"{schema}/b.parquet"] == [key for key in clean.store.list(f"{schema}/") if key.endswith(".parquet")]
