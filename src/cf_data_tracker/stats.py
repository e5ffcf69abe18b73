"""What was asked of a store, counted: requests by kind, commits, conflicts, bytes."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cf_data_tracker.store import (
    UNCHANGED,
    Answer,
    Content,
    Folders,
    Head,
    Kept,
    Objects,
    Page,
    Progress,
    Replacing,
    Store,
    Stored,
    Written,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """Counts since a tracker was made, in this process. The examination of a store is not among them.

    Attributes:
        requests: Requests sent, by kind: `read`, `write`, `list`, `delete`, `head`, `versions`; and `upload`: files
            sent, a large one being several requests.
        unchanged: Reads that were answered with "still the same" (304) and carried no document.
        commits: Documents written.
        conflicts: Writes that lost to another worker's.
        unanswered: Requests without an answer, or with a 5xx.
        combined: Recordings of other workers that commits of this one carried.
        bytes_read: Bytes of documents received.
        bytes_written: Bytes of documents sent, whether they were taken or not.
    """

    requests: Mapping[str, int] = field(default_factory=dict)
    unchanged: int = 0
    commits: int = 0
    conflicts: int = 0
    unanswered: int = 0
    combined: int = 0
    bytes_read: int = 0
    bytes_written: int = 0


class Tally:
    """Counts up, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def request(self, kind: str) -> None:
        """Count a request that is about to be sent."""
        with self._lock:
            self._requests[kind] += 1

    def add(self, what: str, number: int = 1) -> None:
        """Count something that a field of `Stats` is named after."""
        with self._lock:
            self._counts[what] += number

    def snapshot(self) -> Stats:
        """Return the counts as they are now."""
        with self._lock:
            return Stats(requests=dict(self._requests), **self._counts)


class CountedStore:
    """A `Store` that counts what passes through to another."""

    def __init__(self, store: Store, tally: Tally) -> None:
        self._store = store
        self._tally = tally

    def location(self, key: str) -> str:
        """Return the URL of a key."""
        return self._store.location(key)

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read, and count the request and the bytes."""
        self._tally.request("read")
        answer = self._store.read(key, unless=unless, most=most)
        if answer is UNCHANGED:
            self._tally.add("unchanged")
        elif isinstance(answer, Stored):
            self._tally.add("bytes_read", len(answer.body))
        return answer

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write, and count the request and the bytes."""
        self._tally.request("write")
        self._tally.add("bytes_written", len(body))
        return self._store.write(key, body, replacing=replacing, waiting=waiting)

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """List, and count the request."""
        self._tally.request("list")
        return self._store.list(prefix, after=after)

    def delete(self, *keys: str) -> None:
        """Delete, and count the request."""
        self._tally.request("delete")
        self._store.delete(*keys)

    def erase(self, key: str, version: str) -> None:
        """Delete a version, and count the request."""
        self._tally.request("delete")
        self._store.erase(key, version)


class CountedObjects:
    """An `Objects` that counts what passes through to another."""

    def __init__(self, objects: Objects, tally: Tally) -> None:
        self._objects = objects
        self._tally = tally

    def location(self, key: str) -> str:
        """Return the URL of a key."""
        return self._objects.location(key)

    def head(self, key: str) -> Head | None:
        """Ask for what is known of an object, and count the request."""
        self._tally.request("head")
        return self._objects.head(key)

    def sha256(self, key: str) -> bytes | None:
        """Read an object through, and count the request."""
        self._tally.request("read")
        return self._objects.sha256(key)

    def create(self, key: str, content: Content, progress: Progress) -> str | None:
        """Upload, and count the file."""
        self._tally.request("upload")
        return self._objects.create(key, content, progress)

    def overwrite(self, key: str, path: str) -> None:
        """Overwrite the object, and count the file."""
        self._tally.request("upload")
        self._objects.overwrite(key, path)

    def page(self, prefix: str, *, after: str = "") -> Page:
        """List, and count the request."""
        self._tally.request("list")
        return self._objects.page(prefix, after=after)

    def folders(self, *, after: str = "") -> Folders:
        """List the folders, and count the request."""
        self._tally.request("list")
        return self._objects.folders(after=after)

    def delete(self, *keys: str) -> None:
        """Delete, and count the request."""
        self._tally.request("delete")
        self._objects.delete(*keys)

    def delete_unchanged(self, key: str, etag: str) -> bool | None:
        """Delete on a condition, and count the request."""
        self._tally.request("delete")
        return self._objects.delete_unchanged(key, etag)

    def versions(self, key: str) -> Sequence[Kept]:
        """List the versions of an object, and count the request."""
        self._tally.request("versions")
        return self._objects.versions(key)

    def read_version(self, key: str, version: str) -> bytes | None:
        """Read a version, and count the request."""
        self._tally.request("read")
        return self._objects.read_version(key, version)
