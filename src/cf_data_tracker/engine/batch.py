"""Group commit: threads of one process that record into one document share commits.

A thread that comes while a commit is in flight waits for the next one, which carries all that waited. There is no
thread of our own: whoever has waited longest leads the next commit, and then goes its way.

An error goes to the recordings that it belongs to. What the store or another worker is to blame for, all of a commit
are told; where one recording may be to blame, each is committed by itself. A thread that is interrupted while it leads
leaves the rest to the next: by the rules, what it had committed already is not committed again.
"""

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final, Generic, TypeVar

from cf_data_tracker.engine.combine import MAX_BYTES, MAX_OWN, Ledger, Outcome
from cf_data_tracker.entries import Identified, json_size
from cf_data_tracker.errors import ContentionError, DocumentError, TrackerError

R = TypeVar("R", bound=Identified)
T = TypeVar("T", bound=Outcome)

COMPANY: Final = 0.01
"""How long a leader waits at most, in seconds, for those whom the last commit carried to come back with more."""


class _Turn(Enum):
    WAITING = auto()
    LEADING = auto()
    TAKEN = auto()
    DONE = auto()


@dataclass(eq=False, slots=True)
class _Member(Generic[R, T]):
    """A thread's recordings, and what came of them."""

    ledger: Ledger[R, T]
    recordings: Sequence[R]
    turn: _Turn = _Turn.WAITING
    outcomes: Sequence[T] = ()
    error: Exception | None = None
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = json_size(map(self.ledger.to_json, self.recordings))


class Batch(Generic[R, T]):
    """The threads of this process that record into one document. Safe to share between them.

    Args:
        commit: Puts recordings into the document, and returns what came of each.
        seconds: How long a thread waits at most for the commits before its own to end.
    """

    def __init__(self, commit: Callable[[Ledger[R, T], Sequence[R]], Sequence[T]], seconds: float) -> None:
        self._commit = commit
        self._seconds = seconds
        self._queue: list[_Member[R, T]] = []
        self._changed = threading.Condition()
        self._led = False  # whether somebody leads
        self._company = 1  # how many the last commit carried

    def commit(self, ledger: Ledger[R, T], recordings: Sequence[R]) -> Sequence[T]:
        """Put the recordings into the document, perhaps together with those of other threads; return what came of each.

        Raises:
            ContentionError: The commits of other threads did not end in time; nothing was written.
            TrackerError: As the commit raises.
        """
        member = _Member(ledger, recordings)
        self._queue_up(member)
        if member.turn is _Turn.LEADING:
            self._lead(member)
        if member.error is not None:
            raise member.error
        return member.outcomes

    def _queue_up(self, member: _Member[R, T]) -> None:
        with self._changed:
            self._queue.append(member)
            self._changed.notify_all()  # a leader may be waiting for company
            self._pass_on()
            try:
                self._await(member)
            except BaseException:
                self._leave(member)
                raise

    def _await(self, member: _Member[R, T]) -> None:
        if not self._changed.wait_for(lambda: member.turn is not _Turn.WAITING, timeout=self._seconds):
            raise ContentionError(
                f"other threads kept committing to {member.ledger.key}; nothing was written, try later"
            )
        self._changed.wait_for(lambda: member.turn in (_Turn.LEADING, _Turn.DONE))

    def _leave(self, member: _Member[R, T]) -> None:
        """Let a thread go that waits no longer; what is on its way already is."""
        if member in self._queue:
            self._queue.remove(member)
        if member.turn is _Turn.LEADING:
            self._led = False
            self._pass_on()

    def _pass_on(self) -> None:
        """Let whoever has waited longest lead, if nobody does."""
        if self._queue and not self._led:
            self._led = True
            self._queue[0].turn = _Turn.LEADING
            self._changed.notify_all()

    def _lead(self, leader: _Member[R, T]) -> None:
        taken = [leader]
        try:
            taken = self._taken()
            self._carry(taken)
        except BaseException:
            with self._changed:
                others = [member for member in taken if member is not leader and member.turn is not _Turn.DONE]
                for member in others:
                    member.turn = _Turn.WAITING
                self._queue[:0] = others
            raise
        finally:
            with self._changed:
                if leader in self._queue:
                    self._queue.remove(leader)
                self._led = False
                self._pass_on()
                self._changed.notify_all()

    def _taken(self) -> list[_Member[R, T]]:
        """Take as many as one commit may carry, the leader first."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._queue) >= self._company, timeout=COMPANY)
            taken, number, size = self._queue[:1], len(self._queue[0].recordings), self._queue[0].size
            for member in self._queue[1:]:
                number, size = number + len(member.recordings), size + member.size
                if number > MAX_OWN or size > MAX_BYTES:
                    break
                taken.append(member)
            del self._queue[: len(taken)]
            for member in taken[1:]:
                member.turn = _Turn.TAKEN
            self._company = len(taken)
            return taken

    def _carry(self, members: Sequence[_Member[R, T]]) -> None:
        recordings = [recording for member in members for recording in member.recordings]
        try:
            outcomes = self._commit(members[0].ledger, recordings)
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to somebody
            self._blame(members, error)
        else:
            self._hand_out(members, outcomes)

    def _blame(self, members: Sequence[_Member[R, T]], error: Exception) -> None:
        if len(members) == 1:
            members[0].error = error
        elif isinstance(error, TrackerError) and not isinstance(error, DocumentError):
            for member in members:
                member.error = copy.copy(error)
                member.error.__cause__ = error.__cause__
        else:
            for member in members:
                self._carry([member])
        self._done(members)

    def _hand_out(self, members: Sequence[_Member[R, T]], outcomes: Sequence[T]) -> None:
        start = 0
        for member in members:
            end = start + len(member.recordings)
            member.outcomes, start = outcomes[start:end], end
        self._done(members)

    def _done(self, members: Sequence[_Member[R, T]]) -> None:
        with self._changed:
            for member in members:
                member.turn = _Turn.DONE
            self._changed.notify_all()
