"""Group commit: threads of one process that record into one document share commits.

A thread that comes while a commit is in flight waits for the next one, which carries all that waited. There is no
thread of our own: whoever has waited longest leads the next commit, and then goes its way.

An error goes to the recordings that it belongs to. Store errors and contention are raised in every
thread of a commit; where one recording may be to blame, halves of them are committed alone until it is found. A commit
ends with the call of its leader. If time ran out, members whose calls go on are left to the next leader.

A thread may be interrupted at any moment. If it leads, it leaves the others to the next leader: by the rules, what it
had committed already is not committed again. So every step below may be left in its middle, and `_leave` puts right
what is to be put right from any point. That is why there are a bare lock, and a mailbox for each member: what
`threading` builds of locks may be left locked by an interrupt. So may be a lock with a loop in its `with`, as Python
3.13 misses the `with` where a loop jumps back: loops stand in functions of their own.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

from cf_data_tracker.deadline import deadline
from cf_data_tracker.engine.combine import MAX_BYTES, MAX_OWN, Outcome, RecordSpec
from cf_data_tracker.entries import Identified, json_size
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    OutcomeUnknownError,
    StoreError,
)
from cf_data_tracker.store import Unanswered

R = TypeVar("R", bound=Identified)
T = TypeVar("T", bound=Outcome)

COMPANY: Final = 0.01
"""How long a leader waits at most, in seconds, for those whom the last commit carried to come back with more."""

MORE_TIME: Final = 1.0
"""Seconds that a member has to have left, when the leader's call ends in vain, to be left to the next leader."""


@dataclass(eq=False, slots=True)
class _Member(Generic[R, T]):
    """A thread's recordings, and what came of them."""

    ledger: RecordSpec[R, T]
    recordings: Sequence[R]
    carried: bool = False  # by a commit that is in flight, or that was interrupted
    in_doubt: bool = False  # by such a one, which may have landed
    done: bool = False  # or gone
    outcomes: Sequence[T] = ()
    error: Exception | None = None
    size: int = field(init=False)
    ends: float = field(default_factory=deadline)  # when its call does
    mailbox: "SimpleQueue[None]" = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        self.size = json_size(map(self.ledger.to_json, self.recordings))

    def settle(self, outcomes: Sequence[T], error: Exception | None = None) -> None:
        self.outcomes, self.error = outcomes, error
        if self.in_doubt and error is not None and _is_everybodys(error):
            self.error = _in_doubt(error, self.ledger.key)
        self.done = True

    def wake(self) -> None:
        self.mailbox.put(None)

    def woken(self, seconds: float | None) -> bool:
        """Wait for that, and return whether it came in time."""
        try:
            self.mailbox.get(timeout=seconds)
        except Empty:
            return False
        return True


class GroupCommit(Generic[R, T]):
    """The threads of this process that record into one document. Safe to share between them.

    Args:
        commit: Puts recordings into the document, and returns what came of each.
        seconds: How long a thread waits at most for the commits before its own to end.
    """

    def __init__(self, commit: Callable[[RecordSpec[R, T], Sequence[R]], Sequence[T]], seconds: float) -> None:
        self._commit = commit
        self._seconds = seconds
        self._lock = threading.Lock()
        self._queue: list[_Member[R, T]] = []  # who waits or is carried, in the order in which they came
        self._leader: _Member[R, T] | None = None
        self._company = 1  # how many the last commit carried
        self._enough: SimpleQueue[None] | None = None  # where a leader waits to be told that as many are there again

    def commit(self, ledger: RecordSpec[R, T], recordings: Sequence[R]) -> Sequence[T]:
        """Put the recordings into the document, perhaps together with those of other threads; return what came of each.

        Raises:
            ContentionError: The commits of other threads did not end in time; nothing was written.
            TrackerError: As the commit raises.
        """
        member = _Member(ledger, recordings)
        try:
            try:
                self._queue_up(member)
                self._await(member)
                if self._leader is member:
                    self._lead()
            finally:
                self._leave(member)
        except BaseException:
            self._leave(member)  # once more: an interrupt may have come while it left
            raise
        if member.error is not None:
            raise member.error
        return member.outcomes

    def _queue_up(self, member: _Member[R, T]) -> None:
        with self._lock:
            self._queue.append(member)
            self._pass_on()
            if self._enough is not None and len(self._queue) >= self._company:
                self._enough.put(None)
                self._enough = None

    def _await(self, member: _Member[R, T]) -> None:
        """Wait until it leads, or is done."""
        seconds: float | None = self._seconds
        while self._is_to_wait(member):
            if not member.woken(seconds):
                self._give_up(member)
            seconds = None  # it is carried, by a commit that has an end of its own

    def _is_to_wait(self, member: _Member[R, T]) -> bool:
        with self._lock:
            return self._leader is not member and not member.done

    def _give_up(self, member: _Member[R, T]) -> None:
        """Raise `ContentionError`, unless it is carried by now, or leads."""
        with self._lock:
            if self._leader is not member and not member.carried:
                member.done = True  # from here on nobody carries it
                raise ContentionError(
                    f"other threads kept committing to {member.ledger.key}; nothing was written, try later"
                )

    def _lead(self) -> None:
        self._gather()
        with self._lock:
            members = self._taken()
        self._carry(members)

    def _taken(self) -> Sequence[_Member[R, T]]:
        members = _fitting([member for member in self._queue if not member.done])
        for member in members:
            member.in_doubt, member.carried = member.carried, True  # who was, and is not done, has lost its leader
        self._company = len(members)
        return members

    def _gather(self) -> None:
        """Wait a moment for company, if there was any last time."""
        with self._lock:
            if len(self._queue) >= self._company:
                return
            self._enough = enough = SimpleQueue[None]()
        with suppress(Empty):
            enough.get(timeout=COMPANY)

    def _leave(self, member: _Member[R, T]) -> None:
        """Let a thread go; if it leads, wake those that are done, and leave the others to the next leader."""
        with self._lock:
            member.done = True
            if self._leader in (member, None):
                self._wake_the_done()
                self._leader = None
                self._pass_on()

    def _wake_the_done(self) -> None:
        for member in self._queue:
            if member.done:
                member.wake()

    def _pass_on(self) -> None:
        """Let whoever has waited longest lead, if nobody does."""
        if self._leader is None:
            self._queue = [member for member in self._queue if not member.done]
            for longest in self._queue[:1]:
                longest.wake()
                self._leader = longest

    def _carry(self, members: Sequence[_Member[R, T]]) -> None:
        recordings = [recording for member in members for recording in member.recordings]
        try:
            outcomes = self._commit(members[0].ledger, recordings)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to somebody
            self._blame(members, error)
        else:
            _hand_out(members, outcomes)

    def _blame(self, members: Sequence[_Member[R, T]], error: Exception) -> None:
        if len(members) == 1:
            members[0].settle((), error)
        elif _is_everybodys(error):
            for member in members:
                if _is_of_time(error) and member.ends > members[0].ends + MORE_TIME:
                    member.carried = isinstance(error, OutcomeUnknownError)  # for the next leader, which has more time
                else:
                    member.settle((), _another(error))
        else:
            half = len(members) // 2
            self._carry(members[:half])
            self._carry(members[half:])


def _fitting(waiting: Sequence[_Member[R, T]]) -> Sequence[_Member[R, T]]:
    """Return those that one commit may carry, from the first on, which it carries however large it is."""
    number = size = 0
    for place, member in enumerate(waiting):
        number, size = number + len(member.recordings), size + member.size
        if place and (number > MAX_OWN or size > MAX_BYTES):
            return waiting[:place]
    return waiting


def _hand_out(members: Sequence[_Member[R, T]], outcomes: Sequence[T]) -> None:
    start = 0
    for member in members:
        end = start + len(member.recordings)
        member.settle(outcomes[start:end])
        start = end


def _is_everybodys(error: Exception) -> bool:
    """Return whether no recording is to blame, but the store, another worker or the document that is there."""
    if isinstance(error, DocumentError):
        return bool(error.location)
    return isinstance(error, (ContentionError, DocumentVanishedError, OutcomeUnknownError, StoreError))


def _is_of_time(error: Exception) -> bool:
    """Return whether more time might have helped: others kept winning, or the store did not answer."""
    return isinstance(error, (ContentionError, OutcomeUnknownError)) or isinstance(error.__cause__, Unanswered)


def _in_doubt(error: Exception, key: str) -> Exception:
    """Return what is true for one whom a commit carried that was interrupted, if the next one ends in this error."""
    if isinstance(error, OutcomeUnknownError):
        return error
    kind = DocumentVanishedError if isinstance(error, DocumentVanishedError) else OutcomeUnknownError
    true = kind(
        f"the commit that carried it was interrupted, so it may be in {key}, or come into it yet; the next one failed: "
        f"{error}. Recording again is safe"
    )
    true.__cause__ = error
    return true


def _another(error: Exception) -> Exception:
    """Return an error like this one, for another thread to raise."""
    another = copy.copy(error).with_traceback(error.__traceback__)
    another.__cause__ = error.__cause__
    return another
