"""S3's twin in memory, for tests and simulations: one lock, the same contract, the same ETags."""

import hashlib
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

from cf_data_tracker.store import (
    ANYTHING,
    DELETED,
    UNCHANGED,
    Answer,
    Conflict,
    Content,
    Folders,
    Head,
    Kept,
    Listed,
    Page,
    Progress,
    Replacing,
    Stored,
    TooLarge,
    Written,
    vanished,
)


@dataclass(frozen=True, slots=True)
class _Version:
    name: str | None
    stored: Stored | None  # None: a marker, which hides the versions before it
    modified: float = 0.0
    sha256: str | None = None


class MemoryStore:
    """A `Store` in this process, and the `Objects` of the same bucket.

    Its ETags are the quoted MD5 of the body, as S3's are for a single PUT.

    Args:
        versioned: Whether it is a bucket that keeps versions: a write is answered with one, what is replaced is kept
            behind it, and a deleted object leaves a marker.
        clock: Seconds since 1970, for when an object was written.
    """

    def __init__(self, *, versioned: bool = False, clock: Callable[[], float] = lambda: 0.0) -> None:
        self._versioned = versioned
        self._clock = clock
        self._keys: list[str] = []  # sorted; the order of Unicode is that of UTF-8's bytes
        self._objects: dict[str, list[_Version]] = {}  # the newest last
        self._numbers = count(1)
        self._lock = threading.Lock()

    @property
    def markers(self) -> list[str]:
        """The keys of deleted objects, each as often as it was deleted."""
        with self._lock:
            return [key for key, kept in self._objects.items() for version in kept if version.stored is None]

    def location(self, key: str) -> str:
        """Return a URL that says where the object is not."""
        return f"memory://{key}"

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Return the object, `UNCHANGED` if its ETag is `unless`, `DELETED` behind a marker, or `None`."""
        with self._lock:
            there, is_known = self._there(key), key in self._objects
        if there is None:
            return DELETED if is_known else None
        if there.etag == unless:
            return UNCHANGED
        if most is not None and len(there.body) > most:
            raise TooLarge(key)
        return there

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object if what is there is what it replaces."""
        etag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        new = Stored(body=bytes(body), etag=etag, waiting=waiting)
        with self._lock:
            there = self._there(key)
            if there is None and isinstance(replacing, str):
                raise vanished(self.location(key))  # S3 answers 404, not 412
            if replacing is not ANYTHING and (there and there.etag) != replacing:
                raise Conflict(key)
            return Written(etag=new.etag, version=self._put(key, new))

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """Return up to 1,000 keys under `prefix`, in the order of their bytes."""
        with self._lock:
            return list(islice(self._under(prefix, after), 1000))

    def page(self, prefix: str, *, after: str = "") -> Page:
        """Return up to 1,000 objects under `prefix`, in the order of their keys' bytes."""
        with self._lock:
            keys = list(islice(self._under(prefix, after), 1001))
            objects = [self._listed(key) for key in keys[:1000]]
        return Page(objects=objects, more=len(keys) > len(objects))

    def folders(self, *, after: str = "") -> Folders:
        """Return up to 1,000 folders, in the order of their names' bytes."""
        with self._lock:
            tops = {key.partition("/")[0] for key in self._under("", "") if "/" in key}
        names = sorted((top for top in tops if f"{top}/" > after), key=lambda top: f"{top}/")
        return Folders(names=names[:1000], after=f"{names[999]}0" if len(names) > 1000 else None)  # noqa: PLR2004 - S3's

    def head(self, key: str) -> Head | None:
        """Tell of an object."""
        with self._lock:
            if self._there(key) is None:
                return None
            listed = self._listed(key)
            return Head(
                size=listed.size,
                etag=listed.etag,
                modified=listed.modified,
                sha256=self._objects[key][-1].sha256,
                version=self._objects[key][-1].name,
            )

    def sha256(self, key: str) -> bytes | None:
        """Return the SHA-256 of an object."""
        with self._lock:
            there = self._there(key)
        return hashlib.sha256(there.body).digest() if there is not None else None

    def create(self, key: str, content: Content, progress: Progress) -> str | None:
        """Put an object where there is none."""
        with content.opened() as file:
            body = file.read()
        new = Stored(body=body, etag=f'"{content.md5.hex()}"')
        with self._lock:
            if self._there(key) is not None:
                return None
            self._put(key, new, content.sha256.hex())
        progress(len(body))
        return content.md5.hex()

    def overwrite(self, key: str, path: str) -> None:
        """Put a local file in place of whatever stands there."""
        self.write(key, Path(path).read_bytes(), replacing=ANYTHING)

    def versions(self, key: str) -> Sequence[Kept]:
        """Return the versions that are kept, the oldest first."""
        with self._lock:
            return [
                Kept(version=version.name, modified=version.modified, marker=version.stored is None)
                for version in self._objects.get(key, ())
                if version.name is not None
            ]

    def read_version(self, key: str, version: str) -> bytes | None:
        """Return the body of a version."""
        with self._lock:
            bodies = {kept.name: kept.stored.body for kept in self._objects.get(key, ()) if kept.stored is not None}
        return bodies.get(version)

    def delete(self, *keys: str) -> None:
        """Delete the objects that are there; where versions are kept, put a marker in the place of each."""
        with self._lock:
            for key in keys:
                self._remove(key)

    def delete_unchanged(self, key: str, etag: str) -> bool | None:
        """Delete the object if it has this ETag."""
        with self._lock:
            there = self._there(key)
            if there is not None and there.etag.strip('"') == etag:
                self._remove(key)
                there = None
        return there is None

    def erase(self, key: str, version: str) -> None:
        """Delete this version for good; what it had replaced is there again."""
        with self._lock:
            if left := [kept for kept in self._objects.get(key, ()) if kept.name != version]:
                self._objects[key] = left
            elif self._objects.pop(key, None):
                self._keys.remove(key)

    def _remove(self, key: str) -> None:
        if self._versioned:
            self._put(key, None)
        elif self._objects.pop(key, None):
            self._keys.remove(key)

    def _there(self, key: str) -> Stored | None:
        kept = self._objects.get(key)
        return kept[-1].stored if kept else None

    def _under(self, prefix: str, after: str) -> Iterator[str]:
        """Yield the keys of what is there under a prefix, after a key."""
        first = bisect_right(self._keys, after)
        if after < prefix:
            first = bisect_left(self._keys, prefix)
        for place in range(first, len(self._keys)):
            key = self._keys[place]
            if not key.startswith(prefix):
                return
            if self._there(key) is not None:
                yield key

    def _listed(self, key: str) -> Listed:
        newest = self._objects[key][-1]
        assert newest.stored is not None  # noqa: S101 - whoever asks has looked
        return Listed(
            key=key, size=len(newest.stored.body), etag=newest.stored.etag.strip('"'), modified=newest.modified
        )

    def _put(self, key: str, stored: Stored | None, sha256: str | None = None) -> str | None:
        if key not in self._objects:
            insort(self._keys, key)
        if not self._versioned:
            self._objects[key] = [_Version(None, stored, self._clock(), sha256)]
            return None
        name = f"v{next(self._numbers)}"
        named = stored and replace(stored, version=name)
        self._objects.setdefault(key, []).append(_Version(name, named, self._clock(), sha256))
        return name
