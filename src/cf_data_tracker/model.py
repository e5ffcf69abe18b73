"""The values that go in and come out: frozen, keyword-only, checked where they are made.

Documents stay plain dictionaries inside; these are for the faces.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final, TypeAlias

from cf_data_tracker.names import check_choice, check_count, check_name, check_number, check_schema, check_text, plain

ON_SAME_CONTENT: Final = ("record", "skip", "error")
"""What can be done with a file whose content a version of its file name has already."""


def store(value: object, **checked: object) -> None:
    """Set fields of a frozen value to what their checks returned: plain text in place of any other kind of `str`."""
    for name, field in checked.items():
        object.__setattr__(value, name, field)


def with_plain_text(value: Any) -> Any:  # noqa: ANN401 - any of the values below comes back as one of its kind
    """Return a value whose text is plain `str`: others may have made it, of names of their own."""
    own = {field.name: getattr(value, field.name) for field in fields(value)}
    texts = {name: plain(one) for name, one in own.items() if plain(one) is not one}
    return replace(value, **texts) if texts else value


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFile:
    """A file to be recorded.

    Attributes:
        schema: The data source; one document each.
        table: A table of the schema.
        file_name: The time period, like `FY2023` or `2024-01`.
        file: The actual name of the uploaded file. A file name takes each file once.
        file_size: Its size in bytes.
        s3_location: Where its bytes are, like `s3://raw/vitals/births/births_2023.zip`.
        timestamp: When it was recorded, `YYYY-MM-DD HH:MM:SS`; now, in UTC, if left out.
        fyear: Its fiscal year; `FY` and this year if left out.
        upload_date: `YYYY-MM-DD`; today, in UTC, if left out.
        checksum: A checksum of its bytes, if known: of `upload`, `sha256:` and the SHA-256 in hexadecimal.
        etag: The ETag of its object, if known: what a listing of the bucket shows, so that an audit need not ask for
            each.
        on_same_content: What to do where a version of the file name has this very checksum: `record` it none the less;
            `skip` it; or `error`, which is a `SameContentError` once the others of its call are recorded.

    Raises:
        InvalidNameError: A name, a size or a text is not acceptable.
    """

    schema: str
    table: str
    file_name: str
    file: str
    file_size: int
    s3_location: str
    timestamp: str | None = None
    fyear: str | None = None
    upload_date: str | None = None
    checksum: str | None = None
    etag: str | None = None
    on_same_content: str = "record"

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("timestamp", "fyear", "upload_date", "checksum", "etag")}
        store(
            self,
            schema=check_schema(self.schema),
            **{what: check_name(what, getattr(self, what)) for what in ("table", "file_name", "file")},
            file_size=check_count("file_size", self.file_size),
            s3_location=check_text("s3_location", self.s3_location),
            **{what: check_text(what, value) for what, value in given.items() if value is not None},
            on_same_content=check_choice("on_same_content", self.on_same_content, ON_SAME_CONTENT),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """A file on its way into the document: the dates are filled in, and it has an identity of its own.

    Attributes:
        new: The file, with `timestamp`, `fyear` and `upload_date` present.
        recorded_by: Unique for this recording; the same in every attempt, so that a write whose answer was lost is
            recognised.
    """

    new: NewFile
    recorded_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What became of a recording.

    Attributes:
        schema: The data source.
        table: The table.
        file_name: The time period.
        file: The actual name of the file.
        version: Its number within the file name.
        created: Whether this recording created the version; `False` when the file was there already.
        same_content_as: The number of the first version of the file name that has the same checksum, if that is another
            file's. Where it is `version`, the file was not recorded, for `on_same_content` asked for that.
        other_content: Where the file is known with other content than this recording has: its recorded checksum, or,
            where no two checksums can be compared, its recorded size. `None` where nothing speaks for other content.
    """

    schema: str
    table: str
    file_name: str
    file: str
    version: int
    created: bool
    same_content_as: int | None = None
    other_content: str | int | None = None

    def as_event_metadata(self) -> dict[str, str | int | bool]:
        """Return the fields as plain JSON values, such as Airflow, Dagster and Prefect attach to an asset.

        What is `None` is left out.
        """
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileVersion:
    """One version of a file name, as the document has it.

    Descriptive fields are given as they stand; what an older writer left out is `None`.
    """

    schema: str
    table: str
    file_name: str
    file: str
    version: int
    file_size: int | None
    s3_location: str | None
    timestamp: str | None
    fyear: str | None
    upload_date: str | None
    checksum: str | None
    recorded_by: str | None
    etag: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """Which object stood at an outdated clean file when it was looked at: by the store's own values, no clock of ours.

    Attributes:
        file: The file, as its record named it.
        etag: The object's ETag, without the quotes.
        modified: Its Last-Modified, in seconds since 1970, by the store's clock.
        version: Its version, in a bucket that keeps versions.

    Raises:
        InvalidNameError: A text or the number is none.
    """

    file: str
    etag: str
    modified: float
    version: str | None = None

    def __post_init__(self) -> None:
        check_text("file", self.file)
        check_text("etag", self.etag)
        check_number("modified", self.modified)
        if self.version is not None:
            check_text("version", self.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanRecord:
    """The clean files that were made of one raw version.

    Attributes:
        raw: The raw version.
        clean_files: The keys of the files made of it.
        timestamp: When that was recorded, `YYYY-MM-DD HH:MM:SS`, in UTC.
        recorded_by: Unique for this recording; of one under a claim, that of the claim, which ends with it.
        at: When it is recorded, `YYYY-MM-DDTHH:MM:SS.mmmZ`, by the clock of who does: whoever gives a `timestamp` may
            give any. From then on the clean files that it replaces are outdated; unknown, they are not listed as such.
        seen: The objects at the clean files that it replaces, as far as they were looked at.

    Raises:
        InvalidNameError: A name, the timestamp or a clean file's key is not text, or the version no number.
    """

    raw: FileVersion
    clean_files: tuple[str, ...]
    timestamp: str
    recorded_by: str
    at: str | None = None
    seen: tuple[Seen, ...] = ()

    def __post_init__(self) -> None:
        check_schema(self.raw.schema)
        # What was read from a document is taken as it is: it need only be of its kind.
        version = check_count("raw.version", self.raw.version, at_most=math.inf)
        for what in ("table", "file_name"):
            check_text(f"raw.{what}", getattr(self.raw, what))
        store(
            self,
            raw=replace(with_plain_text(self.raw), version=version),
            timestamp=check_text("timestamp", self.timestamp),
            at=None if self.at is None else check_text("at", self.at),
            clean_files=tuple(
                check_text(f"clean_files[{position}]", clean_file)
                for position, clean_file in enumerate(self.clean_files)
            ),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanRecorded:
    """What became of a clean record.

    Attributes:
        schema: The data source.
        table: The table.
        file_name: The time period.
        version: The raw version that the clean document names now: the recorded one, or a newer one that was there.
        created: Whether this call put it there.
    """

    schema: str
    table: str
    file_name: str
    version: int
    created: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """The right to clean a raw version and to record what was made of it. It may be pickled and handed on.

    Attributes:
        raw: The raw version.
        fence: Its number among the claims of the file name, which only grows: the highest is the one that counts. What
            a worker writes under a key with this number in it, no other worker writes over.
        until: When others may take it over, `YYYY-MM-DDTHH:MM:SS.mmmZ`, in UTC.
        claimed_by: Unique for this claim.
    """

    raw: FileVersion
    fence: int
    until: str
    claimed_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimChange:
    """A change to the claim on a file name, on its way into the document. It holds under one fence alone.

    So it may be applied twice, late, or by anybody: where the fence is another one by then, nothing changes.

    Attributes:
        table: The table.
        file_name: The file name.
        fence: The number that the claim must have.
        recorded_by: Unique for this change.

    Raises:
        InvalidNameError: A text or a number is none.
    """

    table: str
    file_name: str
    fence: int
    recorded_by: str

    def __post_init__(self) -> None:
        for what in ("table", "file_name", "recorded_by"):
            check_text(what, getattr(self, what))
        check_count("fence", self.fence, at_most=math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Claiming(ClaimChange):
    """Hand a raw version out, under the next number, unless somebody holds the file name.

    Attributes:
        version: The raw version.
        at: The claimer's time: a claim that lasts until then, or less long, has run out.
        until: How long this one lasts.
    """

    version: int
    at: str
    until: str

    def __post_init__(self) -> None:
        ClaimChange.__post_init__(self)
        check_count("version", self.version, at_most=math.inf)
        check_text("at", self.at)
        check_text("until", self.until)


@dataclass(frozen=True, kw_only=True, slots=True)
class Extending(ClaimChange):
    """Let a claim last longer.

    Attributes:
        claimed_by: The claim.
        until: How long, if it does not last longer already.
    """

    claimed_by: str
    until: str

    def __post_init__(self) -> None:
        ClaimChange.__post_init__(self)
        check_text("claimed_by", self.claimed_by)
        check_text("until", self.until)


@dataclass(frozen=True, kw_only=True, slots=True)
class Releasing(ClaimChange):
    """End a claim, with nothing recorded.

    Attributes:
        claimed_by: The claim.
    """

    claimed_by: str

    def __post_init__(self) -> None:
        ClaimChange.__post_init__(self)
        check_text("claimed_by", self.claimed_by)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reprocessing(ClaimChange):
    """Have a raw version cleaned again, though it has a record; whoever holds the file name loses it.

    Attributes:
        version: The raw version.
    """

    version: int

    def __post_init__(self) -> None:
        ClaimChange.__post_init__(self)
        check_count("version", self.version, at_most=math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedRecord:
    """Record what was made of a raw version, if the claim on it still counts, and end the claim.

    Attributes:
        record: The record; its `recorded_by` is that of the claim.
        fence: The number of the claim.

    Raises:
        InvalidNameError: The fence is no number.
    """

    record: CleanRecord
    fence: int

    def __post_init__(self) -> None:
        check_count("fence", self.fence, at_most=math.inf)

    @property
    def recorded_by(self) -> str:
        """The claim."""
        return self.record.recorded_by


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgetting:
    """Take clean files off the list of outdated ones, since they were deleted.

    Attributes:
        outdated: The files, and since when each was outdated: one that became so again stays on the list.
        recorded_by: Unique for this change.

    Raises:
        InvalidNameError: They are no text.
    """

    outdated: Mapping[str, str]
    recorded_by: str

    def __post_init__(self) -> None:
        check_text("recorded_by", self.recorded_by)
        for since in self.outdated.values():
            check_text("outdated", since)


@dataclass(frozen=True, kw_only=True, slots=True)
class Noting:
    """Note which objects stand at outdated clean files now; they count as outdated since then.

    Attributes:
        outdated: The files, and since when each was outdated: one that became so again stays as it is.
        at: Since when they are outdated from now on.
        seen: The objects.
        recorded_by: Unique for this change.

    Raises:
        InvalidNameError: They are no text.
    """

    outdated: Mapping[str, str]
    at: str
    seen: tuple[Seen, ...]
    recorded_by: str

    def __post_init__(self) -> None:
        check_text("recorded_by", self.recorded_by)
        check_text("at", self.at)
        for since in self.outdated.values():
            check_text("outdated", since)


CleanChange: TypeAlias = (
    CleanRecord | ClaimedRecord | Claiming | Extending | Releasing | Reprocessing | Forgetting | Noting
)
"""All that goes into a clean document."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimChanged:
    """What became of a change to a claim, and how the claim stands now.

    Attributes:
        created: Whether it is as the change would have it.
        fence: The number of the last claim on the file name; 0 where there never was one.
        until: How long the claim lasts that somebody holds; `None` where nobody does.
        recorded: The raw version that has a record; `None` where none has.
    """

    created: bool
    fence: int
    until: str | None
    recorded: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgotten:
    """What became of a change to the list of outdated clean files (`Forgetting`, `Noting`).

    Attributes:
        created: Whether the list is as the change would have it.
    """

    created: bool


CleanChanged: TypeAlias = CleanRecorded | ClaimChanged | Forgotten
"""What came of a change to a clean document."""
