"""S3 in virtual time: the memory store, with the latencies and the limits that are published for S3.

A request takes a time drawn from the published latencies (`cf_data_tracker.stress.latency`), and takes effect within
it. When within it was not published, and decides how many writers lose to one. So it was fitted to what was measured,
14.7 to 15.3 commits a second and 13.6 attempts for each at 16 writers that retry at once:

- A write takes effect in the last 30 % of its time (`EARLIEST`).
- A conditional write is looked at before, when it arrives (`ARRIVAL`), and is refused at once if it is late already.

A prefix answers so many requests a second, and a tenth of that at once; more are answered with 503, and not done. A
DELETE of many keys counts as many.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from cf_data_tracker.store import ANYTHING, UNCHANGED, Answer, Conflict, Replacing, Stored, Unanswered, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stress.latency import Latency
from virtual.world import World

T = TypeVar("T")

EARLIEST: Final = 0.7
"""After which share of its time a write may take effect. Fitted."""

ARRIVAL: Final = 0.5
"""A conditional write arrives at a random number, raised to this power, times the moment of its effect. Fitted."""

WRITES_PER_SECOND: Final = 3500.0
"""What a prefix of S3 answers: writes, lists and deletes."""

READS_PER_SECOND: Final = 5500.0

AT_ONCE: Final = 0.1
"""How much of a second's requests a prefix answers at once."""

SLOW_DOWN_SECONDS: Final = 0.010
"""How long a 503 takes from the request's arrival."""


@dataclass(slots=True)
class Allowance:
    """How many requests are still answered.

    Attributes:
        world: Whose time it is.
        per_second: How many become free each second.
        left: How many are free. Less than none after a request that counted for many.
        since: When that was counted.
    """

    world: World
    per_second: float
    left: float = 0.0
    since: float = float("-inf")

    def take(self, number: int) -> bool:
        """Return whether a request that counts as `number` is answered."""
        grown = self.left + (self.world.now - self.since) * self.per_second
        self.left, self.since = min(self.per_second * AT_ONCE, grown), self.world.now
        if self.left < 1:
            return False
        self.left -= number
        return True


class VirtualS3:
    """A `Store` that takes S3's time, and perhaps has its limits.

    Args:
        world: Whose time it takes.
        memory: What is in it.
        profile: How long each kind of request takes.
        limits: Whether a prefix answers so many requests a second and no more.

    Attributes:
        commits: When conditional writes took effect.
        slowed: How many requests were answered with 503.
    """

    def __init__(self, world: World, memory: MemoryStore, profile: Mapping[str, Latency], *, limits: bool) -> None:
        self.commits: list[float] = []
        self.slowed = 0
        self._world = world
        self._memory = memory
        self._profile = profile
        self._limits = limits
        self._writes = Allowance(world, WRITES_PER_SECOND)
        self._reads = Allowance(world, READS_PER_SECOND)

    def location(self, key: str) -> str:
        """Return a URL that says where the object is not."""
        return self._memory.location(key)

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read at a moment within the time of a read that finds nothing new; what is new takes longer to come."""
        normal = self._world.random.gauss(0.0, 1.0)
        full, unchanged = (self._profile[kind].draw(lambda _, s: s * normal) for kind in ("read", "unchanged"))
        before = unchanged * self._world.random.random()
        self._world.sleep(before)
        self._admit(self._reads)
        answer = self._memory.read(key, unless=unless, most=most)
        self._world.sleep((unchanged if answer is UNCHANGED else full) - before)
        return answer

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write late within the time of a write; one that loses is refused as soon as that is known."""
        total = self._profile["write"].draw(self._world.random.gauss)
        effect = total * (EARLIEST + (1 - EARLIEST) * self._world.random.random())
        arrival = effect * self._world.random.random() ** ARRIVAL
        self._world.sleep(arrival)
        self._admit(self._writes)
        self._refuse_if_late(key, replacing)
        self._world.sleep(effect - arrival)
        written = self._memory.write(key, body, replacing=replacing, waiting=waiting)
        if replacing is not ANYTHING:
            self.commits.append(self._world.now)
        self._world.sleep(total - effect)
        return written

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """List at a moment within the time of a list."""
        return self._timed("list", 1, lambda: self._memory.list(prefix, after=after))

    def delete(self, *keys: str) -> None:
        """Delete at a moment within the time of a delete; each key counts as a write."""
        self._timed("delete", len(keys), lambda: self._memory.delete(*keys))

    def erase(self, key: str, version: str) -> None:
        """Delete a version at a moment within the time of a delete."""
        self._timed("delete", 1, lambda: self._memory.erase(key, version))

    def _refuse_if_late(self, key: str, replacing: Replacing) -> None:
        there = self._memory.read(key)
        if replacing is not ANYTHING and (there.etag if isinstance(there, Stored) else None) != replacing:
            raise Conflict(key)

    def _timed(self, kind: str, number: int, effect: Callable[[], T]) -> T:
        total = self._profile[kind].draw(self._world.random.gauss)
        before = total * self._world.random.random()
        self._world.sleep(before)
        self._admit(self._writes, number)
        result = effect()
        self._world.sleep(total - before)
        return result

    def _admit(self, allowance: Allowance, number: int = 1) -> None:
        if self._limits and not allowance.take(number):
            self.slowed += 1
            self._world.sleep(SLOW_DOWN_SECONDS)
            raise Unanswered("503", slow=True)


class MortalStore:
    """A `Store` at whose calls the worker may die: before one, or after it, so that nobody hears the answer.

    A dead worker does nothing any more, nor does what it had begun beside its own work.

    Args:
        world: Where it lives.
        store: The store.
        chance: How likely death is at either moment of a call.

    Attributes:
        dead: Whether it has died.
    """

    def __init__(self, world: World, store: VirtualS3, chance: float) -> None:
        self.dead = False
        self._world = world
        self._store = store
        self._chance = chance

    def location(self, key: str) -> str:
        """Return the URL of a key."""
        return self._store.location(key)

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read, or die."""
        return self._survived(lambda: self._store.read(key, unless=unless, most=most))

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write, or die."""
        return self._survived(lambda: self._store.write(key, body, replacing=replacing, waiting=waiting))

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """List, or die."""
        return self._survived(lambda: self._store.list(prefix, after=after))

    def delete(self, *keys: str) -> None:
        """Delete, or die."""
        self._survived(lambda: self._store.delete(*keys))

    def erase(self, key: str, version: str) -> None:
        """Delete a version, or die."""
        self._survived(lambda: self._store.erase(key, version))

    def _survived(self, request: Callable[[], T]) -> T:
        self._live_on()
        try:
            return request()
        finally:
            self._live_on()

    def _live_on(self) -> None:
        self.dead = self.dead or self._world.random.random() < self._chance
        if self.dead:
            self._world.sleep_for_ever()
