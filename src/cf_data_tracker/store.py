"""The port: what is asked of a store, and the two signals by which it answers other than with a value.

`Store` is what the engine asks for: documents and inbox entries, whole and small. `Objects` is for what documents
speak of: files of any size, their listing, and the versions that a bucket keeps.

A store holds objects by key. It is asked to read one, to write one *if* what is there is what the writer believes to
be there, to list keys and to delete them. Whether to try again is not its business: a store tries once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, Final, Protocol, TypeAlias

from cf_data_tracker.errors import DocumentVanishedError


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An object as it was read. The ETag travels with what it guards.

    Attributes:
        body: The bytes.
        etag: What to hand back to replace them; opaque.
        waiting: The note that its writer left with it: how many others were waiting to write.
        version: Its id, in a bucket that keeps versions.
    """

    body: bytes
    etag: str
    waiting: int = 0
    version: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What a write left there.

    Attributes:
        etag: What to hand back to replace it; opaque.
        version: Its id, in a bucket that keeps versions; `None` in one that does not.
    """

    etag: str
    version: str | None = None


class Unchanged(Enum):
    """The answer to a conditional read of an object that still is what the reader has."""

    UNCHANGED = "unchanged"


class Anything(Enum):
    """For a write that does not care what it replaces, and so may lose what others wrote."""

    ANYTHING = "anything"


class Deleted(Enum):
    """The answer to a read of an object that was deleted, in a bucket that keeps versions: a delete marker hides it."""

    DELETED = "deleted"


UNCHANGED: Final = Unchanged.UNCHANGED
DELETED: Final = Deleted.DELETED
ANYTHING: Final = Anything.ANYTHING

Replacing: TypeAlias = str | Anything | None
"""What a write replaces: an ETag; `None`, "there must be nothing there"; or `ANYTHING`."""


class Conflict(Exception):  # noqa: N818 - a signal, not an error
    """Not written: what is there is not what the writer said it replaces.

    Attributes:
        certain: Whether the store has looked at what is there (412). A 409 says only that others are writing.
    """

    def __init__(self, what: str, *, certain: bool = True) -> None:
        super().__init__(what)
        self.certain = certain


class Unanswered(Exception):  # noqa: N818 - a signal, not an error
    """No answer, or one that says nothing about what happened (a 5xx): a write may have landed or may yet land.

    Attributes:
        sent: Whether the request may have reached the store. `False` for a refused connection.
        slow: Whether the store asks for fewer requests (503 SlowDown).
    """

    def __init__(self, what: str, *, sent: bool = True, slow: bool = False) -> None:
        super().__init__(what)
        self.sent = sent
        self.slow = slow


class TooLarge(Exception):  # noqa: N818 - a signal, not an error
    """Not read: the object has more bytes than the reader takes."""


Answer: TypeAlias = Stored | Unchanged | Deleted | None
"""What a read is answered with."""


def vanished(location: str, *, in_doubt: bool = False) -> DocumentVanishedError:
    """Return the error for a document that was there and is gone; `in_doubt`, if a write to it was never answered."""
    written = "a write was not answered and may be in what is restored; recording again is safe" if in_doubt else ""
    return DocumentVanishedError(
        f"{location} was there and is gone; {written or 'nothing was written'}. Restore it (an earlier S3 version, a "
        "copy) before recording goes on. If it was removed on purpose, begin anew with a new tracker; where the bucket "
        "keeps versions, first delete its delete marker and all its earlier versions"
    )


class Store(Protocol):
    """An object store with conditional writes, linearizable for each key.

    Besides the signals, every method may raise `StoreError` when the store refuses in a way that asking again would
    not change.
    """

    def location(self, key: str) -> str:
        """Return the URL of a key, for messages."""

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Return the object, or `None` where there is none.

        Args:
            key: Its key.
            unless: The ETag of what the reader has; `UNCHANGED` comes back if it still is there.
            most: Do not receive an object of more bytes than this.

        Returns:
            `DELETED` in place of `None` where the store says that the object was deleted. AWS does where the bucket
            keeps versions; some other stores never do.

        Raises:
            TooLarge: The object has more than `most` bytes.
            Unanswered: No answer.
            ReadDeniedError: Answered 403, as a missing key is too where the reader may not list the bucket.
        """

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object if what is there is what it replaces.

        Args:
            key: Its key.
            body: The bytes.
            replacing: What it replaces.
            waiting: A note for whoever reads it; see `Stored`.

        Raises:
            Conflict: It is something else; nothing was written.
            Unanswered: It may have been written, or may yet be.
            DocumentVanishedError: An ETag was given, and there is no object. Some stores say `Conflict` instead.
        """

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """Return up to 1,000 keys under `prefix`, in the order of their bytes.

        Args:
            prefix: What they begin with.
            after: Only keys that come after this one.

        Raises:
            Unanswered: No answer.
        """

    def delete(self, *keys: str) -> None:
        """Delete up to 1,000 objects in one request; that there is none is no error.

        A bucket that keeps versions puts a marker in the place of each.

        Raises:
            Unanswered: Any of them may have been deleted.
        """

    def erase(self, key: str, version: str) -> None:
        """Delete one version of an object for good, in a bucket that keeps versions; no marker stays.

        Raises:
            Unanswered: It may have been deleted.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """An object as a listing shows it.

    Attributes:
        key: Its key.
        size: Its size in bytes.
        etag: Its ETag as received, without the quotes.
        modified: When it was written, in seconds since 1970, by the store's clock.
    """

    key: str
    size: int
    etag: str
    modified: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page of a listing.

    Attributes:
        objects: What is on it, in the order of the keys' bytes.
        more: Whether there are more after the last of them.
    """

    objects: Sequence[Listed]
    more: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What a store tells of an object without sending it.

    Attributes:
        size: Its size in bytes.
        etag: Its ETag as received, without the quotes.
        modified: When it was written, in seconds since 1970, by the store's clock.
        sha256: The SHA-256 of its bytes in hexadecimal, if whoever wrote it left that with it.
        encrypted: Whether by a key of the caller's or of KMS, so that the ETag is no MD5 of its bytes.
        version: Its version, in a bucket that keeps versions.
    """

    size: int
    etag: str
    modified: float
    sha256: str | None = None
    encrypted: bool = False
    version: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Folders:
    """A page of the folders at the top of a bucket.

    Attributes:
        names: Their names, without the slash, in the order of their bytes.
        after: What to hand back for those that come after them; `None` if these are the last.
    """

    names: Sequence[str]
    after: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A version of an object that a bucket keeps.

    Attributes:
        version: Its id.
        modified: When it was written, in seconds since 1970, by the store's clock.
        marker: Whether it is a marker: the object was deleted here.
    """

    version: str
    modified: float
    marker: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What is to be uploaded.

    Attributes:
        size: Its size in bytes.
        sha256: Its SHA-256.
        md5: Its MD5.
        opened: Gives it as a file, from its beginning; whoever reads that to its end is told if it is not this content.
    """

    size: int
    sha256: bytes
    md5: bytes
    opened: Callable[[], BinaryIO]


Progress: TypeAlias = Callable[[int], object]
"""Is told of bytes that were sent, as they are; of a negative number, if they have to be sent again."""


class Objects(Protocol):
    """A bucket of files. Asks once, as a `Store` does; signals and errors are the same."""

    def location(self, key: str) -> str:
        """Return the URL of a key."""

    def head(self, key: str) -> Head | None:
        """Return what is told of an object, or `None` where there is none.

        Raises:
            Unanswered: No answer.
            ReadDeniedError: Answered 403, as a missing key is too where the caller may not list the bucket.
        """

    def sha256(self, key: str) -> bytes | None:
        """Read an object through and return the SHA-256 of its bytes, or `None` where there is none.

        Raises as `head` does.
        """

    def create(self, key: str, content: Content, progress: Progress) -> str | None:
        """Put an object where there is none; return its ETag, without the quotes, or `None` where there was one.

        Raises:
            Conflict: Others are writing there; nothing was written.
            Unanswered: It may have been written, or may yet be.
            LocalFileError: The file is not what it was; nothing was written.
        """

    def overwrite(self, key: str, path: str) -> None:
        """Put a local file in place of whatever stands there.

        Raises:
            OSError: The local file cannot be read.
            Unanswered: It may have been written, or may yet be.
        """

    def page(self, prefix: str, *, after: str = "") -> Page:
        """Return a page of the objects under `prefix` whose keys come after one, up to 1,000.

        Raises:
            Unanswered: No answer.
        """

    def folders(self, *, after: str = "") -> Folders:
        """Return a page of the folders at the top of the bucket: what the keys have before their first slash.

        Raises:
            Unanswered: No answer.
        """

    def delete(self, *keys: str) -> None:
        """Delete up to 1,000 objects; see `Store.delete`."""

    def delete_unchanged(self, key: str, etag: str) -> bool | None:
        """Delete an object if it has this ETag, without the quotes; that there is none is no error.

        Returns:
            `True` if there is no object now, `False` if there is one with another ETag, and `None` if the store does
            not honour the condition: then nothing was deleted.

        Raises:
            Unanswered: It may have been deleted.
        """

    def versions(self, key: str) -> Sequence[Kept]:
        """Return the versions that the bucket keeps of an object, the oldest first; none in one that keeps no versions.

        Raises:
            Unanswered: No answer.
        """

    def read_version(self, key: str, version: str) -> bytes | None:
        """Return the bytes of a version, or `None` where it is gone. Raises as `head`."""
