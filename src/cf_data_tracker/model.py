"""The values that go in and come out: frozen, keyword-only, checked where they are made.

Documents stay plain dictionaries inside; these are for the faces.
"""

import math
from dataclasses import dataclass

from cf_data_tracker.names import check_count, check_name, check_schema, check_text


@dataclass(frozen=True, kw_only=True, slots=True)
class NewFile:
    """A file to be recorded.

    Attributes:
        schema: The data source; one document each.
        table: A table of the schema.
        file_name: The time period, like `FY2023` or `2024-01`.
        file: The actual name of the uploaded file. A file name takes each file once.
        file_size: Its size in bytes.
        s3_location: Where its bytes are, like `s3://raw/vitals/births/births_q1.zip`.
        timestamp: When it was recorded, `YYYY-MM-DD HH:MM:SS`; now, in UTC, if left out.
        fyear: Its fiscal year; `FY` and this year if left out.
        upload_date: `YYYY-MM-DD`; today, in UTC, if left out.
        checksum: A checksum of its bytes, if known.

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

    def __post_init__(self) -> None:
        check_schema(self.schema)
        for what in ("table", "file_name", "file"):
            check_name(what, getattr(self, what))
        check_count("file_size", self.file_size)
        check_text("s3_location", self.s3_location)
        for what in ("timestamp", "fyear", "upload_date", "checksum"):
            if getattr(self, what) is not None:
                check_text(what, getattr(self, what))


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
    """

    schema: str
    table: str
    file_name: str
    file: str
    version: int
    created: bool


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


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanRecord:
    """The clean files that were made of one raw version.

    Attributes:
        raw: The raw version.
        clean_files: The keys of the files made of it.
        timestamp: When that was recorded, `YYYY-MM-DD HH:MM:SS`, in UTC.
        recorded_by: Unique for this recording.

    Raises:
        InvalidNameError: A name, the timestamp or a clean file's key is not text, or the version no number.
    """

    raw: FileVersion
    clean_files: tuple[str, ...]
    timestamp: str
    recorded_by: str

    def __post_init__(self) -> None:
        check_schema(self.raw.schema)
        # What was read from a document is taken as it is: it need only be of its kind.
        check_count("raw.version", self.raw.version, at_most=math.inf)
        for what in ("table", "file_name"):
            check_text(f"raw.{what}", getattr(self.raw, what))
        check_text("timestamp", self.timestamp)
        for position, clean_file in enumerate(self.clean_files):
            check_text(f"clean_files[{position}]", clean_file)


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
