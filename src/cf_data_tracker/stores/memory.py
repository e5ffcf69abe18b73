"""S3's twin in memory, for tests and simulations: one lock, the same contract, the same ETags."""

import hashlib
import threading

from cf_data_tracker.store import ANYTHING, UNCHANGED, Conflict, Replacing, Stored, Unchanged, vanished


class MemoryStore:
    """A `Store` in this process. Its ETags are the quoted MD5 of the body, as S3's are for a single PUT."""

    def __init__(self) -> None:
        self._objects: dict[str, Stored] = {}
        self._lock = threading.Lock()

    def location(self, key: str) -> str:
        """Return a URL that says where the object is not."""
        return f"memory://{key}"

    def read(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        """Return the object, `UNCHANGED` if its ETag is `unless`, or `None`."""
        with self._lock:
            there = self._objects.get(key)
        return UNCHANGED if there is not None and there.etag == unless else there

    def write(self, key: str, body: bytes, *, replacing: Replacing) -> str:
        """Put the object if what is there is what it replaces, and return its ETag."""
        new = Stored(body=bytes(body), etag=f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"')
        with self._lock:
            there = self._objects.get(key)
            if there is None and isinstance(replacing, str):
                raise vanished(self.location(key))  # S3 answers 404, not 412
            if replacing is not ANYTHING and (there and there.etag) != replacing:
                raise Conflict(key)
            self._objects[key] = new
        return new.etag

    def list(self, prefix: str) -> list[str]:
        """Return up to 1,000 keys under `prefix`, in the order of their bytes."""
        with self._lock:
            keys = [key for key in self._objects if key.startswith(prefix)]
        return sorted(keys, key=str.encode)[:1000]

    def delete(self, key: str) -> None:
        """Delete the object, if it is there."""
        with self._lock:
            self._objects.pop(key, None)
