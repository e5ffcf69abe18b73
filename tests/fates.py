"""What can befall a request, written down, so that tests can tell stories: a store that meets each call with a fate."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import Enum, auto
from typing import Final, TypeVar, cast

from cf_data_tracker.errors import DocumentVanishedError, ReadDeniedError, StoreError
from cf_data_tracker.names import INTERNAL_PREFIX
from cf_data_tracker.store import Answer, Conflict, Head, Objects, Replacing, Store, Unanswered, Written

T = TypeVar("T")

INBOX: Final = f"{INTERNAL_PREFIX}inbox/"


class Fate(Enum):
    """What befalls a call."""

    ANSWERED = auto()
    ANSWER_LOST = auto()  # applied, and the answer is lost
    LOST = auto()  # lost on its way, though the caller cannot know
    LATE = (
        auto()
    )  # no answer; applied when `catch_up` is called, if its condition holds by then and it changes anything
    NOT_SENT = auto()  # the connection is refused
    CONFLICT = auto()  # refused, whatever is there: a 409
    SLOW_DOWN = auto()  # not applied, and the store asks for less
    DENIED = auto()  # 403
    REFUSED = auto()  # a refusal that asking again would not change


class FatefulStore:
    """A `Store` over another that meets each call with the next fate told for its kind, and then with answers.

    Kinds are `read`, `write`, `list`, `delete` (an erasure too) and `publish`: a write into an inbox, which takes
    neither a fate nor a place among the `bodies` from the writes of documents. `calls` has them in order.

    `before` is called before each call with its kind and number, so that a rival can act at that moment.
    """

    def __init__(  # noqa: PLR0913 - one for each kind
        self,
        store: Store,
        *,
        reads: Iterable[Fate] = (),
        writes: Iterable[Fate] = (),
        publishes: Iterable[Fate] = (),
        lists: Iterable[Fate] = (),
        deletes: Iterable[Fate] = (),
    ) -> None:
        told = {"read": reads, "write": writes, "publish": publishes, "list": lists, "delete": deletes}
        self._store = store
        self._fates = {kind: list(fates) for kind, fates in told.items()}
        self._late: list[Callable[[], object]] = []
        self.calls: list[str] = []
        self.bodies: list[bytes] = []
        self.replaced: list[Replacing] = []
        self.before: Callable[[str, int], None] = lambda kind, number: None  # noqa: ARG005

    def location(self, key: str) -> str:
        """Return where the object is."""
        return self._store.location(key)

    def head(self, key: str) -> Head | None:
        """Look at a file, which is no call to the store of documents."""
        return cast("Objects", self._store).head(key)

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Read as the next fate of reads has it."""
        return self._met("read", lambda: self._store.read(key, unless=unless, most=most))

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Write as the next fate of writes has it, or, into an inbox, that of publishes."""
        publishing = key.startswith(INBOX)
        if not publishing:
            self.bodies.append(body)
            self.replaced.append(replacing)
        kind = "publish" if publishing else "write"
        return self._met(kind, lambda: self._store.write(key, body, replacing=replacing, waiting=waiting))

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """List as the next fate of lists has it."""
        return self._met("list", lambda: self._store.list(prefix, after=after))

    def delete(self, *keys: str) -> None:
        """Delete as the next fate of deletes has it."""
        self._met("delete", lambda: self._store.delete(*keys))

    def erase(self, key: str, version: str) -> None:
        """Delete a version as the next fate of deletes has it."""
        self._met("delete", lambda: self._store.erase(key, version))

    def catch_up(self) -> int:
        """Apply now what is late, each write under its condition, and return how many landed."""
        landed = 0
        while self._late:
            with suppress(Conflict, DocumentVanishedError):
                self._late.pop(0)()
                landed += 1
        return landed

    def _met(self, kind: str, call: Callable[[], T]) -> T:
        fate = self._next(kind)
        self._refuse(fate, kind)
        if fate is Fate.ANSWERED:
            return call()
        if fate is Fate.ANSWER_LOST:
            with suppress(Conflict, DocumentVanishedError):
                call()
        if fate is Fate.LATE and kind not in ("read", "list"):
            self._late.append(call)
        raise Unanswered(fate.name)

    def _next(self, kind: str) -> Fate:
        self.calls.append(kind)
        self.before(kind, self.calls.count(kind))
        fates = self._fates[kind]
        return fates.pop(0) if fates else Fate.ANSWERED

    @staticmethod
    def _refuse(fate: Fate, kind: str) -> None:
        conditional = kind in ("write", "publish")
        refusals: dict[Fate, Exception] = {
            Fate.CONFLICT: Conflict("409", certain=False) if conditional else Unanswered("409"),
            Fate.SLOW_DOWN: Unanswered("503", slow=True),
            Fate.NOT_SENT: Unanswered("connection refused", sent=False),
            Fate.DENIED: ReadDeniedError("access denied") if kind == "read" else StoreError("access denied"),
            Fate.REFUSED: StoreError("ExpiredToken"),
        }
        if fate in refusals:
            raise refusals[fate]
