"""Files from here to the bucket: read to know their content, put where nothing is, or found there.

    known already → nothing is sent
    read it through: its size and SHA-256
    put it create-only → there → record it
                       → something was there → the same bytes? they are ours; else an error, and nothing is overwritten

An object is there before its record is, so a crash in between leaves an object without one, and the same call again
finds it there. The file is read a second time while it is sent; what is not what was read first is not put together.

What is recorded, and when a file is known, is left to `tracker` and `rules`.
"""

import hashlib
import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import PurePath
from typing import IO, Any, BinaryIO, Final, TypeAlias, cast

from cf_data_tracker.connection import Connection
from cf_data_tracker.deadline import run_without_deadline
from cf_data_tracker.errors import (
    DifferentContentError,
    InvalidNameError,
    LocalFileError,
    ReadDeniedError,
    SameContentError,
    TooLargeError,
    TrackerError,
    joined,
)
from cf_data_tracker.model import ON_SAME_CONTENT, FileVersion, NewFile, Recorded, store
from cf_data_tracker.names import check_choice, check_key, check_name, check_schema, check_text, data_key, plain, shown
from cf_data_tracker.rules.audit import md5_of, sha256_of
from cf_data_tracker.runtime import in_thread
from cf_data_tracker.store import Conflict, Content, Head, Objects, Progress
from cf_data_tracker.telemetry import span

LARGE: Final = 8 << 20
"""From how many bytes on it is asked whether a file is there, before it is sent for nothing."""

CHUNK: Final = 1 << 20

TOGETHER: Final = 200
"""Files in the bucket that are recorded without waiting for more."""

SECONDS_TOGETHER: Final = 5.0
"""After how many seconds those that are there are recorded."""

MAX_WORKERS: Final = 256
"""Files at once, at most: a client keeps 64 connections."""

OF_ONE_FILE: Final = (DifferentContentError, InvalidNameError, LocalFileError, SameContentError, TooLargeError)
"""Errors that say nothing about the other files of a call."""

UNPACKING: Final = frozenset({"gzip", "bz2", "lzma", "tarfile", "compression.zstd", "compression.zstd._zstdfile"})
"""Modules whose files have the name of what they read from, while their content is another."""

BROKEN_OFF: Final = frozenset({"http.client", "urllib3.exceptions", "botocore.exceptions", "zlib", "lzma", "_lzma"})
"""Modules of errors, none of them an `OSError`, that end the reading of what was cut short or damaged."""

Task: TypeAlias = Callable[[], NewFile | Recorded]
"""Places a file."""

Source: TypeAlias = "str | os.PathLike[str] | IO[bytes]"
"""A path, or a file that is open for reading in binary mode: what follows its position is the content."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NewUpload:
    """A file here, to be uploaded and recorded.

    Attributes:
        path_or_file: Its path, or an open binary file, from its position on. What cannot seek is copied to a temporary
            file first.
        schema: The data source.
        table: A table of the schema.
        file_name: The time period.
        file: What to record it as; the last part of its path if left out.
        key: Where to put it in the bucket; `{schema}/{table}/{file_name}/{file}` if left out.
        timestamp: As for `NewFile`; so are all that follow.
        fyear: Its fiscal year.
        upload_date: The day.
        on_same_content: What to do where the file name has these bytes already.

    Raises:
        InvalidNameError: A name or the key is not acceptable.
    """

    path_or_file: Source
    schema: str
    table: str
    file_name: str
    file: str = ""
    key: str = ""
    timestamp: str | None = None
    fyear: str | None = None
    upload_date: str | None = None
    on_same_content: str = "record"

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in ("timestamp", "fyear", "upload_date")}
        store(
            self,
            path_or_file=plain(self.path_or_file),
            schema=check_schema(self.schema),
            **{what: check_name(what, getattr(self, what)) for what in ("table", "file_name")},
            file=check_name("file", self.file or _name_of(plain(self.path_or_file))),
            **{what: check_text(what, value) for what, value in given.items() if value is not None},
            on_same_content=check_choice("on_same_content", self.on_same_content, ON_SAME_CONTENT),
        )
        key = self.key or data_key(self.schema, self.table, self.file_name, self.file)
        store(self, key=check_key("key", key, [self.schema]))


def place(
    connection: Connection,
    new: NewUpload,
    known: Sequence[FileVersion],
    progress: Progress,
    *,
    dry_run: bool = False,
) -> NewFile | Recorded:
    """Put a file into the bucket, unless it is known; return what to record, or what is known of it.

    Args:
        connection: To the bucket.
        new: The file.
        known: The versions of its file name.
        progress: Is told of bytes as they are sent.
        dry_run: Look at everything, and send nothing.

    Raises:
        LocalFileError: It cannot be read, or changed while it was.
        DifferentContentError: Something else is recorded, or is in the bucket, under its name.
        StoreError: The store refused or did not answer.
    """
    there = max((one for one in known if one.file == new.file), key=lambda one: one.version, default=None)
    with content_of(new.path_or_file) as content:
        checksum = f"sha256:{content.sha256.hex()}"
        if there is not None:
            _check_known(there, content)
            return _known(new, there.version, known, checksum)
        if new.on_same_content != "record" and (twin := _first_with(checksum, known)):
            return _known(new, twin.version, known, checksum)
        if dry_run:
            connection.retrying(lambda: _found(new.key, content, connection.objects), new.key)
            etag = None
        else:
            connection.prove()  # create-only is to be relied on
            with span("upload", connection.access.bucket, new.key) as note:
                note(bytes=content.size)
                etag = connection.retrying(lambda: _put(new.key, content, progress, connection.objects), new.key)
    return NewFile(
        schema=new.schema,
        table=new.table,
        file_name=new.file_name,
        file=new.file,
        file_size=content.size,
        s3_location=f"s3://{connection.access.bucket}/{new.key}",
        timestamp=new.timestamp,
        fyear=new.fyear,
        upload_date=new.upload_date,
        checksum=checksum,
        etag=etag,
        on_same_content=new.on_same_content,
    )


def refused_upload(new: NewUpload, outcome: Recorded) -> TrackerError | None:
    """Return why a file that is in the bucket was not recorded, if that is an error.

    The document decides: another worker may have recorded the file, or its content, while this one was sent.
    """
    name = f"{new.schema}/{new.table}/{new.file_name}"
    if outcome.other_content is not None:
        return DifferentContentError(
            f"{name} got {new.file} from another worker meanwhile, as version {outcome.version}, with other content "
            f"({outcome.other_content}); the object under {new.key} is in the bucket, and was not recorded"
        )
    return same_content(new.on_same_content, outcome)


def check_sources(uploads: Sequence[NewUpload]) -> None:
    """Look at the files before anything is sent.

    Raises:
        LocalFileError: One is missing, or is no file.
        InvalidNameError: One open file is there twice.
    """
    opened = [id(new.path_or_file) for new in uploads if not isinstance(new.path_or_file, (str, os.PathLike))]
    if len(set(opened)) < len(opened):
        raise InvalidNameError("one open file is given twice, and has one position: open it once for each")
    keys: dict[tuple[str, str, str, str], str] = {}
    for new in uploads:
        if keys.setdefault((new.schema, new.table, new.file_name, new.file), new.key) != new.key:
            raise InvalidNameError(
                f"{new.schema}/{new.table}/{new.file_name} would get {shown(new.file)} from two keys, and takes it once"
            )
        if isinstance(new.path_or_file, (str, os.PathLike)):
            _regular(new.path_or_file)


def same_content(asked: str, outcome: Recorded) -> SameContentError | None:
    """Return the error for a file that was not recorded for its content, if that is asked to be one."""
    if asked != "error" or outcome.same_content_as != outcome.version:
        return None
    return SameContentError(
        f"{outcome.file} has the same content as version {outcome.version} of {outcome.schema}/{outcome.table}/"
        f"{outcome.file_name}, and was not recorded: to record it all the same, say record (on_same_content)"
    )


@contextmanager
def content_of(source: Source) -> Iterator[Content]:
    """Read a file through, and give its content.

    Raises:
        LocalFileError: It cannot be read.
        InvalidNameError: It is open as text.
    """
    with _opened(source) as file:
        yield _read_through(_shown(source), file)


def _read_through(name: str, file: BinaryIO) -> Content:
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with _telling(name):
        start = file.tell()
        while chunk := file.read(CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    digest = sha256.digest()
    opened = partial(_Verified, name, file, start, size, digest)
    return Content(size=size, sha256=digest, md5=md5.digest(), opened=cast("Callable[[], BinaryIO]", opened))


class _Verified(io.BufferedIOBase):
    """A file from a place on, which is found out if it is not what it was when it was first read.

    Closing it leaves the file open. It is told when it has been read from its beginning to its end.
    """

    def __init__(self, name: str, file: BinaryIO, start: int, size: int, sha256: bytes) -> None:
        self._name = name
        self._file = file
        self._start = start
        self._size = size
        self._sha256 = sha256
        self._position = 0
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position if whence else 0, io.SEEK_END: self._size}[whence]
        self._position = base + offset
        self._file.seek(self._start + self._position)
        self._digest = hashlib.sha256() if self._position == 0 else None  # of what was read from the beginning
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        left = self._size - self._position
        wanted = left if size is None or size < 0 else min(size, left)
        with _telling(self._name):
            data = self._file.read(wanted)
        self._position += len(data)
        if self._digest is not None:
            self._digest.update(data)
        if len(data) < wanted or (self._position == self._size and not self._is_whole()):
            raise LocalFileError(
                f"{self._name} changed while it was uploaded; nothing of it was recorded: upload it again once whole"
            )
        return data

    def _is_whole(self) -> bool:
        same = self._digest is None or self._digest.digest() == self._sha256
        return same and not self._file.read(1)


def _put(key: str, content: Content, progress: Progress, objects: Objects) -> str:
    """Put the content where nothing is, or find it there; return the object's ETag."""
    progress(0)  # which ends all this, if others failed
    there = _found(key, content, objects) if content.size >= LARGE else None
    if there is not None:
        return there.etag
    etag = objects.create(key, content, progress)
    if etag is not None:
        return etag
    there = run_without_deadline(partial(objects.head, key))  # it took its time to send
    if there is None:
        raise Conflict(f"{objects.location(key)} was there, and is gone", certain=False)
    _check_there(key, content, there, objects)
    return there.etag


def _found(key: str, content: Content, objects: Objects) -> Head | None:
    """Return what is told of the object, if it is there and has this content."""
    try:
        there = objects.head(key)
    except ReadDeniedError:  # as a missing one is answered where the caller may not list
        return None
    if there is not None:
        _check_there(key, content, there, objects)
    return there


def _check_there(key: str, content: Content, there: Head, objects: Objects) -> None:
    if not _is_same(objects, key, there, content):
        raise DifferentContentError(
            f"{objects.location(key)} is there already, with other content ({there.size} bytes there, {content.size} "
            "here); nothing was overwritten or recorded: give the file another name, or remove what is there"
        )


def _is_same(objects: Objects, key: str, there: Head, content: Content) -> bool:
    if there.size != content.size:
        return False
    if there.sha256 is not None:
        return there.sha256 == content.sha256.hex()
    return there.etag == content.md5.hex() or objects.sha256(key) == content.sha256


def _check_known(there: FileVersion, content: Content) -> None:
    """Look whether a file that is known by its name is the one here, as far as the record tells."""
    other_size = isinstance(there.file_size, int) and there.file_size != content.size
    other_bytes = sha256_of(there) not in (None, content.sha256.hex()) or md5_of(there) not in (None, content.md5.hex())
    if other_size or other_bytes:
        raise DifferentContentError(
            f"{there.schema}/{there.table}/{there.file_name} has {there.file} as version {there.version} already, with "
            f"other content ({there.file_size} bytes there, {content.size} here); nothing was sent: give the file "
            "another name"
        )


def _known(new: NewUpload, version: int, known: Sequence[FileVersion], checksum: str) -> Recorded:
    first = _first_with(checksum, known)
    return Recorded(
        schema=new.schema,
        table=new.table,
        file_name=new.file_name,
        file=new.file,
        version=version,
        created=False,
        same_content_as=first.version if first is not None and first.file != new.file else None,
    )


def _first_with(checksum: str, known: Sequence[FileVersion]) -> FileVersion | None:
    alike = (one for one in known if one.checksum == checksum)
    return min(alike, key=lambda one: one.version, default=None)


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Raise what the file system says as an error of ours."""
    try:
        yield
    except FileNotFoundError:
        raise LocalFileError(f"{name}: there is no such file; nothing was sent") from None
    except TrackerError:
        raise
    except Exception as error:
        if not _is_of_a_file(error):
            raise
        why = getattr(error, "strerror", None) or error
        raise LocalFileError(f"{name} cannot be read: {why}; nothing of it was recorded") from error


def _is_of_a_file(error: Exception) -> bool:
    """Return whether an error comes from reading a file, a compressed one or the answer of an HTTP server, say.

    A `ValueError` is that of a file that was closed, or of a path that can be none.
    """
    return isinstance(error, (OSError, ValueError, EOFError)) or bool(_modules_of(error) & BROKEN_OFF)


def _modules_of(value: object) -> set[str]:
    """Return the modules of the classes of a value; most of them are not imported here for that alone."""
    return {kind.__module__ for kind in type(value).__mro__}


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    with ExitStack() as stack:
        with _telling(_shown(source)):
            file = _seekable(source, stack)
        yield file


def _seekable(source: Source, stack: ExitStack) -> BinaryIO:
    """Return the file, which the stack closes if it was opened here."""
    if isinstance(source, (str, os.PathLike)):
        _regular(source)
        return stack.enter_context(open(source, "rb"))  # noqa: PTH123 - so is this, and a path may be text
    if _can_seek(source):
        stack.callback(_back, source, source.tell())
        return cast("BinaryIO", source)
    copy = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is one: the stack's
    shutil.copyfileobj(source, copy, CHUNK)
    if missing := max(map(_still_to_come, _layers(source))):
        raise LocalFileError(
            f"{_shown(source)} ended {missing} bytes before the length that its server gave; nothing of it was "
            "recorded: fetch it again"
        )
    copy.seek(0)
    return cast("BinaryIO", copy)


def _layers(file: object) -> list[object]:
    """Return a file and the one behind its buffer, if there is one."""
    return [file, getattr(file, "raw", None)]


def _still_to_come(file: object) -> int:
    """Return how many bytes of the answer of an HTTP server were not read, as far as it gave their number.

    `http.client` and urllib3, which `requests` hands out as `raw`, may end a body that was cut short like a whole one.
    """
    left = getattr(file, "length" if "http.client" in _modules_of(file) else "length_remaining", None)
    return left if isinstance(left, int) else 0


def _can_seek(source: IO[bytes]) -> bool:
    if isinstance(source.read(0), str):
        raise InvalidNameError("the file is open as text: open it in binary mode, 'rb'")
    return bool(getattr(source, "seekable", lambda: False)())


def _back(file: IO[bytes], start: int) -> None:
    """Leave a file where it was: the same call again is to mean the same content, not the nothing that follows it."""
    if not file.closed:
        file.seek(start)


def _regular(path: "str | os.PathLike[str]") -> None:
    """Raise unless a path is that of a file: to open a pipe would wait for whoever writes to it."""
    name = _shown(path)
    with _telling(name):
        mode = os.stat(path).st_mode  # noqa: PTH116 - as above
    if stat.S_ISDIR(mode):
        raise LocalFileError(f"{name} is a directory: upload the files in it; nothing was sent")
    if not stat.S_ISREG(mode):
        raise LocalFileError(f"{name} is no regular file: save it first, or open it and hand it in; nothing was sent")


def _name_of(source: object) -> str:
    if isinstance(source, (str, os.PathLike)):
        path = plain(os.fsdecode(source))
        return PurePath(path).name or os.path.basename(os.path.realpath(path))  # noqa: PTH119 - of "."
    if not hasattr(source, "read"):
        raise InvalidNameError(f"path_or_file must be a path or an open binary file, got {shown(source)}")
    if any(_modules_of(layer) & UNPACKING for layer in _layers(source)):
        raise InvalidNameError(
            "file is missing: what is unpacked from an archive or a compressed file has another name than that, "
            "file='births_q1.csv'"
        )
    name = plain(getattr(source, "name", None))
    if not isinstance(name, str):
        raise InvalidNameError("file is missing: an open file without a name needs one, file='births_q1.zip'")
    return PurePath(name).name


def _shown(source: Any) -> str:  # noqa: ANN401 - whatever was handed in
    """Return a path, or the name of an open file, for messages; a name that is not UTF-8 is shown with escapes."""
    path = isinstance(source, (str, os.PathLike))
    name = plain(os.fsdecode(source)) if path else str(getattr(source, "name", "the file"))
    return name.encode(errors="backslashreplace").decode()


@dataclass
class Crew:
    """Places many files at once, and records what is there together.

    A file that fails by its own fault keeps no other from its place. Any other error, of the store say, would meet the
    others as well: no more are begun.

    Attributes:
        place: Puts one into the bucket, and tells of the bytes that it sends.
        record: Records what is there, in one commit for each schema.
        progress: Is told of bytes.
        on_recorded: Is told what became of each file.
        clock: Seconds that never run backwards.
        workers: How many files at once.
        dry_run: Whether nothing is written.
        in_thread: Begins a task in a thread, and returns its future; `None` if no thread can be started.
    """

    place: Callable[[NewUpload, Progress], NewFile | Recorded]
    record: Callable[[Sequence[NewFile]], Sequence[Recorded]]
    progress: Progress
    on_recorded: Callable[[Recorded], object]
    clock: Callable[[], float]
    workers: int
    dry_run: bool = False
    in_thread: "Callable[[Task], Future[NewFile | Recorded] | None]" = in_thread
    _outcomes: dict[int, Recorded] = field(default_factory=dict)
    _failures: dict[int, TrackerError] = field(default_factory=dict)
    _placed: dict[int, NewFile] = field(default_factory=dict)
    _begun: "dict[Future[NewFile | Recorded], int]" = field(default_factory=dict)
    _recorded_at: float = 0.0
    _stopped: bool = False

    def upload(self, uploads: Sequence[NewUpload]) -> list[Recorded]:
        """Upload and record all, or raise one error for all that failed once the others are recorded.

        What is there is recorded when 200 files are, or 5 seconds after the last time, so that a run that is killed has
        most of its records.
        """
        self._recorded_at = self.clock()
        try:
            self._gather(uploads)
        except BaseException:
            self._stopped = True  # no more is begun, or tried again; what is under way ends as it tells of bytes
            raise
        finally:
            try:
                self._record(uploads)
            finally:
                wait(self._begun)
        if self._failures:
            raise joined([self._failures[number] for number in sorted(self._failures)])
        return [self._outcomes[number] for number in range(len(uploads))]

    def _place(self, new: NewUpload) -> NewFile | Recorded:
        self._told(0)
        return self.place(new, self._told)

    def _told(self, sent: int) -> None:
        if self._stopped:
            raise LocalFileError("the upload was interrupted; nothing of it was recorded")
        if sent:
            self.progress(sent)

    def _gather(self, uploads: Sequence[NewUpload]) -> None:
        begin = self._begin if len(uploads) > 1 else _done_at_once
        left = iter(enumerate(uploads))
        fatal: list[Future[NewFile | Recorded]] = []
        while True:
            room = 0 if fatal else self.workers - len(self._begun)
            for number, new in islice(left, room):
                self._begun[begin(partial(self._place, new))] = number
            if not self._begun:
                break
            for future in wait(self._begun, SECONDS_TOGETHER, FIRST_COMPLETED).done:
                number, error = self._begun.pop(future), future.exception()
                if error is None:
                    self._note(uploads[number], number, future.result())
                elif isinstance(error, OF_ONE_FILE):
                    self._failures[number] = error
                else:
                    fatal.append(future)
            late = len(self._placed) >= TOGETHER or self.clock() - self._recorded_at >= SECONDS_TOGETHER
            if late and not self.dry_run:  # which goes by the document as it is: all at once
                self._record(uploads)
        for future in fatal:
            future.result()

    def _begin(self, task: "Task") -> "Future[NewFile | Recorded]":
        return self.in_thread(task) or _done_at_once(task)

    def _note(self, new: NewUpload, number: int, placed: NewFile | Recorded) -> None:
        if isinstance(placed, NewFile):
            self._placed[number] = placed
        else:
            self._take(new, number, placed)

    def _record(self, uploads: Sequence[NewUpload]) -> None:
        placed, self._placed = dict(sorted(self._placed.items())), {}  # in the order given, whoever was first
        outcomes = self.record(list(placed.values())) if placed else ()
        for number, outcome in zip(placed, outcomes, strict=True):
            self._take(uploads[number], number, outcome)
        self._recorded_at = self.clock()

    def _take(self, new: NewUpload, number: int, outcome: Recorded) -> None:
        self._outcomes[number] = outcome
        if error := refused_upload(new, outcome):
            self._failures[number] = error
        self.on_recorded(outcome)


def _done_at_once(task: "Task") -> "Future[NewFile | Recorded]":
    """Do a task in this thread."""
    future: Future[NewFile | Recorded] = Future()
    try:
        future.set_result(task())
    except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
        future.set_exception(error)
    return future
