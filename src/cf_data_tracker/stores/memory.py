"""S3's twin in memory, for tests and simulations: one lock, the same contract, the same ETags."""

import hashlib
import threading
from dataclasses import dataclass, replace
from itertools import count

from cf_data_tracker.store import ANYTHING, UNCHANGED, Conflict, Replacing, Stored, Unchanged, Written, vanished


@dataclass(frozen=True, slots=True)
class _Version:
    name: str | None
    stored: Stored | None  # None: a marker, which hides the versions before it


class MemoryStore:
    """A `Store` in this process. Its ETags are the quoted MD5 of the body, as S3's are for a single PUT.

    Args:
        versioned: Whether it is a bucket that keeps versions: a write is answered with one, what is replaced is kept
            behind it, and a deleted object leaves a marker.
    """

    def __init__(self, *, versioned: bool = False) -> None:
        self._versioned = versioned
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

    def read(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        """Return the object, `UNCHANGED` if its ETag is `unless`, or `None`."""
        with self._lock:
            there = self._there(key)
        return UNCHANGED if there is not None and there.etag == unless else there

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
        start = after.encode()
        with self._lock:
            keys = [
                key for key in self._objects if key.startswith(prefix) and key.encode() > start and self._there(key)
            ]
        return sorted(keys, key=str.encode)[:1000]

    def delete(self, *keys: str) -> None:
        """Delete the objects that are there; where versions are kept, put a marker in the place of each."""
        with self._lock:
            for key in keys:
                if self._versioned:
                    self._put(key, None)
                else:
                    self._objects.pop(key, None)

    def erase(self, key: str, version: str) -> None:
        """Delete this version for good; what it had replaced is there again."""
        with self._lock:
            left = [kept for kept in self._objects.pop(key, ()) if kept.name != version]
            if left:
                self._objects[key] = left

    def _there(self, key: str) -> Stored | None:
        kept = self._objects.get(key)
        return kept[-1].stored if kept else None

    def _put(self, key: str, stored: Stored | None) -> str | None:
        if not self._versioned:
            self._objects[key] = [_Version(None, stored)]
            return None
        name = f"v{next(self._numbers)}"
        named = stored and replace(stored, version=name)
        self._objects.setdefault(key, []).append(_Version(name, named))
        return name
