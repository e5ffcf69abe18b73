"""What can befall a request, written down, so that tests can tell stories: a store that meets each call with a fate."""

from collections.abc import Callable, Iterable
from enum import Enum, auto

from cf_data_tracker.errors import ReadDeniedError, StoreError
from cf_data_tracker.store import Conflict, Replacing, Store, Stored, Unanswered, Unchanged


class Fate(Enum):
    """What befalls a call."""

    ANSWERED = auto()
    ANSWER_LOST = auto()  # applied, and the answer is lost
    LOST = auto()  # lost on its way, though the caller cannot know
    LATE = auto()  # no answer; applied when `catch_up` is called, if its condition holds by then
    NOT_SENT = auto()  # the connection is refused
    CONFLICT = auto()  # refused, whatever is there: a 409
    SLOW_DOWN = auto()  # not applied, and the store asks for less
    DENIED = auto()  # 403
    REFUSED = auto()  # a refusal that asking again would not change


class FatefulStore:
    """A `Store` over another that meets each read or write with the next fate told for it, and then with answers.

    `before` is called before each call with its kind and number, so that a rival can act at that moment.
    """

    def __init__(self, store: Store, *, reads: Iterable[Fate] = (), writes: Iterable[Fate] = ()) -> None:
        self._store = store
        self._fates = {"read": list(reads), "write": list(writes)}
        self._late: list[Callable[[], object]] = []
        self.calls: list[str] = []
        self.bodies: list[bytes] = []
        self.replaced: list[Replacing] = []
        self.before: Callable[[str, int], None] = lambda kind, number: None  # noqa: ARG005

    def location(self, key: str) -> str:
        """Return where the object is."""
        return self._store.location(key)

    def read(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        """Read as the next fate of reads has it."""
        fate = self._next("read")
        self._refuse(fate)
        if fate is not Fate.ANSWERED:
            raise Unanswered(fate.name)
        return self._store.read(key, unless=unless)

    def write(self, key: str, body: bytes, *, replacing: Replacing) -> str:
        """Write as the next fate of writes has it."""
        self.bodies.append(body)
        self.replaced.append(replacing)
        fate = self._next("write")
        self._refuse(fate)
        if fate is Fate.LATE:
            self._late.append(lambda: self._store.write(key, body, replacing=replacing))
        if fate in (Fate.ANSWERED, Fate.ANSWER_LOST):
            etag = self._applied(key, body, replacing, fate)
            if fate is Fate.ANSWERED:
                return etag
        raise Unanswered(fate.name)

    def list(self, prefix: str) -> list[str]:
        """List."""
        return self._store.list(prefix)

    def delete(self, key: str) -> None:
        """Delete."""
        self._store.delete(key)

    def catch_up(self) -> int:
        """Apply the late writes now, each under its condition, and return how many landed."""
        landed = 0
        for write in self._late:
            try:
                write()
            except Conflict:
                continue
            landed += 1
        self._late.clear()
        return landed

    def _applied(self, key: str, body: bytes, replacing: Replacing, fate: Fate) -> str:
        try:
            return self._store.write(key, body, replacing=replacing)
        except Conflict:
            if fate is Fate.ANSWER_LOST:
                raise Unanswered(fate.name) from None
            raise

    def _next(self, kind: str) -> Fate:
        self.calls.append(kind)
        self.before(kind, self.calls.count(kind))
        fates = self._fates[kind]
        return fates.pop(0) if fates else Fate.ANSWERED

    @staticmethod
    def _refuse(fate: Fate) -> None:
        refusals: dict[Fate, Exception] = {
            Fate.CONFLICT: Conflict("409", certain=False),
            Fate.SLOW_DOWN: Unanswered("503", slow=True),
            Fate.NOT_SENT: Unanswered("connection refused", sent=False),
            Fate.DENIED: ReadDeniedError("access denied"),
            Fate.REFUSED: StoreError("ExpiredToken"),
        }
        if fate in refusals:
            raise refusals[fate]
