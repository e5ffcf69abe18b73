"""The commit: read, apply the rules, write if nothing has changed since; and what to make of every answer.

    read body and ETag → apply the rules → nothing new? done
    → write, replacing that ETag (or, for a first document, nothing)
        → answered: done
        → Conflict: somebody else was first; read again
        → Unanswered: it may have landed, or may land yet; read again and look

A write whose answer is lost needs no case of its own. The rules know a recording by its `recorded_by`, so they say of
the document that is read next whether it landed. If it did not, and the ETag is another one, it never can: every
commit raises `revision`, so no ETag comes back. If the ETag is the same, it may still be under way, and the same
bytes are sent again: of two equal writes that replace one ETag, one can win.

What a document means is left to `rules`, what a status means to `stores`. Nothing else in this library retries: boto3
is told not to, because a resend behind our back turns a lost answer into a false conflict.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from cf_data_tracker.deadline import deadline, run_until
from cf_data_tracker.document import Document, recorded_since, to_bytes
from cf_data_tracker.engine.recent import Carried
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    OutcomeUnknownError,
    ReadDeniedError,
    StoreError,
    TrackerError,
)
from cf_data_tracker.runtime import Runtime
from cf_data_tracker.stats import CountedStore, Tally
from cf_data_tracker.store import DELETED, UNCHANGED, Conflict, Store, Unanswered, Written, vanished

T = TypeVar("T")

LOG: Final = logging.getLogger("cf_data_tracker")

Rule: TypeAlias = Callable[[Document | None], tuple[Document | None, T]]
"""A change: the document and what came of it. The very same document means that there is nothing to write."""

Pause: TypeAlias = Callable[[int, BaseException | None], float]
"""How long to wait, in seconds, after an attempt (1 for the first) that ended in a signal."""

FIRST_CONTACT_ATTEMPTS: Final = 4
"""How often an endpoint that never answered is tried: a typing error should not cost the whole patience."""


class Waiting(Exception):  # noqa: N818 - a signal, not an error
    """Nothing is wrong: others are at it, and it is too early to say.

    Attributes:
        seconds: When to look again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("others have not committed it yet")
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentSpec:
    """A document: its key, and how to read one of its kind.

    Attributes:
        key: Its key.
        parse: The document of the bytes that are stored.
        lasting: Whether a commit may build on a kept one without a look: not where the rule reads other documents on
            its word.
    """

    key: str
    parse: Callable[[bytes], Document]
    lasting: Callable[[Document], bool] = lambda _document: True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A document as it stood under an ETag; neither, where there is none yet.

    Attributes:
        document: The document.
        etag: The ETag.
        waiting: How many others its writer had seen waiting to write.
    """

    document: Document | None
    etag: str | None
    waiting: int = 0


ABSENT: Final = Snapshot(None, None)


class Engine:
    """Reads and commits documents of one store. Safe to share between threads.

    It carries the documents that it used last, each with its ETag: a commit to a quiet document costs one write, a read
    one conditional read. A running commit holds the document that it builds on, whether that is carried or not.
    """

    def __init__(self, store: Store, tally: Tally, patience: Patience, runtime: Runtime) -> None:
        self.tally = tally
        self.use(store)
        self.carried: Carried[Snapshot] = Carried()
        self._patience = patience
        self.runtime = runtime
        self._reached = False

    def use(self, store: Store) -> None:
        """Go on with this store, which is to be one with the same objects; what was carried stays."""
        self.store = CountedStore(store, self.tally)

    def read(self, target: DocumentSpec) -> Document | None:
        """Return the document as it is now, or `None` where there is none.

        Raises:
            DocumentError: What is there is no tracker document.
            DocumentVanishedError: There was one when this engine last looked, or the store says that it was deleted.
            StoreError: The store refused, or did not answer in time.
        """
        return self.retrying(lambda: self.look(target), target.key).document

    def commit(self, target: DocumentSpec, rule: Rule[T]) -> T:
        """Apply the rule to the document until that is in the store, and return what came of it.

        Raises:
            ContentionError: Others kept winning; nothing was written.
            OutcomeUnknownError: A write was never answered, and may have landed.
            DocumentError: What is there is no tracker document; it was left as it is.
            DocumentVanishedError: The document was there and is gone; nothing was written.
            StoreError: The store refused, or did not answer; nothing was written.
        """
        return self.run(Commit(self, target, rule))

    def run(self, commit: "Commit[T]") -> T:
        """Attempt a commit until it is done or patience ends. Raises as `commit` does."""
        try:
            return run_until(self._ends(), lambda: self._persisted(commit))
        except (DocumentVanishedError, StoreError) as error:
            if commit.in_doubt:  # a refusal says nothing about a write that was sent before
                raise commit.unknown(error) from error
            raise

    def look(self, target: DocumentSpec) -> Snapshot:
        """Read the document once, or learn that it is still the carried one.

        Raises:
            DocumentVanishedError: As `read` raises.
            Unanswered: No answer.
        """
        # Asked before the read: another thread may see the document come while an answer of "nothing" is on its way.
        known = self.carried.knows(target.key)
        carried = self.carried.get(target.key) or ABSENT
        answer = self.store.read(target.key, unless=carried.etag)
        if answer is UNCHANGED:
            return carried
        if answer is None or answer is DELETED:
            return self._absent(target.key, was_there=known or answer is DELETED)
        snapshot = Snapshot(self._parsed(target, answer.body), answer.etag, answer.waiting)
        self.carried.put(target.key, snapshot, len(answer.body))
        return snapshot

    def put(self, key: str, document: Document, base: Snapshot, waiting: int = 0) -> Written:
        """Write the document once, if `base` is still there, and carry it; `waiting` is noted beside it.

        Raises:
            Conflict: It is not; nothing was written.
            Unanswered: It may have been written.
        """
        body = to_bytes(document)
        written = self.store.write(key, body, replacing=base.etag, waiting=waiting)
        self.carried.put(key, Snapshot(document, written.etag, waiting), len(body))
        self.tally.add("commits")
        return written

    def told(self, key: str, document: Document, *, recordings: int, others: int) -> None:
        """Tell the log and the tally of a commit, and how many of its recordings were those of others."""
        self.tally.add("combined", others)
        LOG.info(
            "%s: revision %d, %d recordings, %d of them of others",
            self.store.location(key),
            document.get("revision", 0),
            recordings,
            others,
            extra={"revision": document.get("revision", 0), "recordings": recordings, "others": others},
        )

    def retrying(self, question: Callable[[], T], key: str) -> T:
        """Return the answer to something that may be asked twice, asked again while there is none.

        Raises:
            StoreError: There was none in time.
        """
        try:
            return self.persist(question)
        except (Conflict, Unanswered) as signal:
            raise StoreError(f"{self.store.location(key)} does not answer: {signal}") from signal

    def persist(self, attempt: Callable[[], T], pause: "Pause | None" = None) -> T:
        """Call until it answers or patience ends; then the last signal is raised.

        Args:
            attempt: What to call.
            pause: How long to wait after an attempt; full jitter if left out.

        Raises:
            Conflict: The last attempt lost.
            Unanswered: The last attempt had no answer.
            Waiting: The last attempt found that others are still at it.
        """
        wait, ends = pause if pause is not None else self.jitter, self._ends()
        retrying = Retrying(
            retry=retry_if_exception_type((Conflict, Unanswered, Waiting)),
            wait=lambda state: wait(state.attempt_number, _signal(state)),
            stop=self._stop_after(ends),
            sleep=self.runtime.sleep,
            reraise=True,
        )
        answer: T = run_until(ends, lambda: retrying(self._noting_contact, attempt))
        return answer

    def jitter(self, attempt: int, signal: BaseException | None) -> float:
        """Return how long to wait after an attempt: full jitter."""
        return self.runtime.random() * self._patience.bound(attempt, signal)

    def _ends(self) -> float:
        """Return when a call that begins now ends, or the call that it is part of, if that is earlier."""
        return min(self.runtime.clock() + self._patience.seconds, deadline())

    def _persisted(self, commit: "Commit[T]") -> T:
        try:
            return self.persist(commit.attempt, commit.pause)
        except (Conflict, Unanswered, Waiting) as signal:
            return commit.last_look(signal)

    def _noting_contact(self, attempt: Callable[[], T]) -> T:
        try:
            answer = attempt()
        except Unanswered as signal:
            self.tally.add("unanswered")
            self._reached = self._reached or signal.sent
            raise
        except Conflict:
            self.tally.add("conflicts")
            self._reached = True
            raise
        except Waiting:
            self._reached = True
            raise
        self._reached = True
        return answer

    def _stop_after(self, deadline: float) -> Callable[[RetryCallState], bool]:
        def stop(state: RetryCallState) -> bool:
            attempts = self._patience.attempts if self._reached else FIRST_CONTACT_ATTEMPTS
            late = self.runtime.clock() + state.upcoming_sleep > deadline
            return late or state.attempt_number >= min(attempts, self._patience.attempts)

        return stop

    def _absent(self, key: str, *, was_there: bool) -> Snapshot:
        if was_there:
            raise vanished(self.store.location(key))
        return ABSENT

    def _parsed(self, target: DocumentSpec, body: bytes) -> Document:
        try:
            return target.parse(body)
        except DocumentError as error:
            raise DocumentError(error.where, error.problem, self.store.location(target.key)) from None


class Commit(Generic[T]):
    """One commit, attempt after attempt."""

    def __init__(self, engine: Engine, target: DocumentSpec, rule: Rule[T]) -> None:
        self._engine = engine
        self._target = target
        self._rule = rule
        carried = engine.carried.get(target.key)
        lasting = carried is not None and carried.document is not None and target.lasting(carried.document)
        self._base = carried if lasting else None  # to be built on; None: look first
        self._seen = False  # whether the base was read in this commit, rather than carried from an earlier one
        self._unanswered: set[str | None] = set()  # the ETags that writes without an answer were to replace
        self._doubtful = False  # whether one of these may have landed since the last look, or may yet land
        self._lost = False  # whether a write found since the last look that something else is there

    @property
    def in_doubt(self) -> bool:
        """Whether the recordings may be in the document, or may yet come into it, for all that is known."""
        return self._doubtful

    def pause(self, attempt: int, signal: BaseException | None) -> float:
        """Return how long to wait after an attempt, in seconds."""
        return self._engine.jitter(attempt, signal)

    def attempt(self) -> T:
        """Look if need be, apply the rule, write if need be."""
        base = self._base if self._base is not None else self._look()
        document, outcome = self._rule(base.document)
        if document is not base.document and document is not None:
            self._write(document, base)
            added = sum(1 for _ in recorded_since(base.document, document))
            self._engine.told(self._target.key, document, recordings=added, others=0)
        elif not self._seen:
            self._look()  # "it is there already" is said of the document as it is, not as it was
            return self.attempt()
        return outcome

    def last_look(self, signal: Conflict | Unanswered | Waiting) -> T:
        """Return the outcome after all if a last look finds it in the document; else raise the error that is true."""
        if not self.in_doubt and isinstance(signal, Unanswered):
            raise StoreError(f"{self._location} does not answer: {signal}; nothing was written") from signal
        try:
            base = self._look()
        except (Conflict, Unanswered, StoreError) as error:
            raise self._gave_up() from error
        document, outcome = self._rule(base.document)
        if document is base.document:
            return outcome
        raise self._gave_up() from signal

    def unknown(self, error: DocumentVanishedError | StoreError) -> TrackerError:
        """Return the error to raise in place of one that would say that nothing was written."""
        return vanished(self._location, in_doubt=True) if isinstance(error, DocumentVanishedError) else self._gave_up()

    def _look(self) -> Snapshot:
        known = self._engine.carried.knows(self._target.key)
        try:
            base = self._engine.look(self._target)
        except ReadDeniedError:
            # So is a missing key answered where the caller may not list. Only a write can tell: one that is to
            # replace nothing. If one has lost already, the document is there, and may not be read.
            if self._lost or known:
                raise
            base = ABSENT
        # Another ETag is gone for good, and with it the chance of whatever was to replace it.
        self._doubtful = base.etag in self._unanswered
        self._base, self._seen = base, True
        return base

    def _write(self, document: Document, base: Snapshot, waiting: int = 0) -> Written:
        self._base, self._seen, self._lost = None, False, False
        try:
            return self._engine.put(self._target.key, document, base, waiting)
        except Conflict as signal:
            self._lost = signal.certain
            raise
        except Unanswered as signal:
            if signal.sent:
                self._doubtful = True
                self._unanswered.add(base.etag)
            raise

    @property
    def _location(self) -> str:
        return self._engine.store.location(self._target.key)

    def _gave_up(self) -> TrackerError:
        if not self.in_doubt:
            return ContentionError(f"other workers kept committing to {self._location}; nothing was written, try later")
        return OutcomeUnknownError(f"{self._doubt()}; calling again is safe")

    def _doubt(self) -> str:
        return f"a write to {self._location} was never answered and may have landed"


def _signal(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None
