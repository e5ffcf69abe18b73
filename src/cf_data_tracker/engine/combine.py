"""Combining: workers that meet at one document commit for each other, through its inbox.

    quiet       commit directly, with the carried ETag: one write
    contention  publish the recordings as an inbox entry → wait → look at the document
                    → they are there: somebody else committed them
                    → they are not: with a probability that falls with the number waiting, combine; else wait again
    combine     (the document was read) → LIST the inbox → apply what waits there → one conditional write
                    → remove what it consumed

Contention is: to have lost a write that replaced what this commit had read (a stale cache is not), and again; or to
have met others a moment ago; or to read that the last writer saw others waiting, which it notes beside the document.

What a dead worker has left in a quiet document's inbox, where nobody combines, is taken in as well: the commit that
makes a revision a multiple of 16 lists the inbox before its write.

Whoever committed last has the newest ETag and is ahead of everybody else, who would have to read first. It leads: its
next commits take the others along. It lists the inbox before its write where many wait, and every few writes, beside
one and for the next, where few do: so nobody starves behind a worker that commits back to back.

Nobody waits for a particular worker, so nobody's death blocks anyone. There is no lease, and no clock decides what is
right: by the rules an entry that is applied twice changes nothing, so one that was left behind is applied or removed
whenever it is met. Waiting times decide about speed alone. They are in units of the time that a write takes at this
store, and grow where it asks for fewer requests.

Why nobody waits for ever: a combining commit lists after it has read the document that it replaces. Of two combining
commits in a row, the second has read after the first landed, and so has listed what was published before that. Where
more wait than one commit may take, the lists go on where the last one ended.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar, cast

from cf_data_tracker.deadline import deadline
from cf_data_tracker.document import Document, recorded_since
from cf_data_tracker.engine.cas import Commit, DocumentSpec, Engine, Rule, Snapshot, Waiting
from cf_data_tracker.engine.inbox import Inbox
from cf_data_tracker.engine.recent import Recent
from cf_data_tracker.entries import Entry, Identified
from cf_data_tracker.errors import DocumentVanishedError, StoreError, TrackerError
from cf_data_tracker.store import Conflict, Unanswered

MAX_RECORDINGS: Final = 1000
"""Recordings of one commit at most, as far as they can be parted: what one page of LIST can carry."""

MAX_OWN: Final = 900
"""How many of them threads of one process may take up, so that there is room for those of others."""

MAX_BYTES: Final = 1 << 20
"""What the recordings of others add to one commit at most, as JSON: about 20 ms of PUT."""


R = TypeVar("R", bound=Identified)


class Outcome(Protocol):
    """What came of a recording."""

    @property
    def created(self) -> bool:
        """Whether it is this recording that the document has."""


T = TypeVar("T", bound=Outcome)
Outcomes = TypeVar("Outcomes")


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordSpec(DocumentSpec, Generic[R, T]):
    """A document that recordings go into, and how.

    Attributes:
        record: The rule for many: the document with them in it, and what came of each. The very same document means
            that there is nothing to write.
        to_json: A recording as a JSON value.
        from_json: The recording of such a value; an error for what is none.
    """

    record: Callable[[Document | None, Sequence[R]], tuple[Document | None, Sequence[T]]]
    to_json: Callable[[R], object]
    from_json: Callable[[object], R]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tuning:
    """How eagerly to help. The figures were found with `benchmarks/simulate.py`.

    Attributes:
        losses: Lost writes that are taken for contention, if one of them was of what had just been read.
        memory: How long contention is remembered, in writes (so in the time that so many take).
        first_look: When to look for the first time after publishing, in writes.
        next_look: How long to wait between looks, in writes.
        patient_looks: After how many looks the waits grow.
        slower: By what factor.
        eagerness: How many of those who wait should combine after one look.
        growth: By what factor each further look raises that.
        growth_idle: The same, where the document has not changed since the look before.
        beside_every: Every how many commits in a row the inbox is listed beside the write.
        beside_crowd: The same, while others have been met lately.
        due_every: Every how many revisions of a document the commit lists the inbox before its write, however quiet the
            document is: what a dead worker has left there goes in then.
        due_after: Not if this process has listed it so few revisions ago.
        ahead: From how many waiting entries on the leader lists before its write.
        brake: Seconds that a request for fewer requests (503) adds to the wait before publishing.
        brake_growth: By what factor it lengthens that wait.
        brake_each: Seconds that this wait takes at least, for each entry that was seen waiting.
        brake_longest: Its bound, in seconds.
        release: By what factor each publishing that met no such request shortens it.
    """

    losses: int = 2
    memory: float = 50.0
    first_look: float = 2.0
    next_look: float = 1.0
    patient_looks: int = 3
    slower: float = 1.5
    eagerness: float = 1.0
    growth: float = 3.0
    growth_idle: float = 10.0
    beside_every: int = 4
    beside_crowd: int = 2
    due_every: int = 16
    due_after: int = 4
    ahead: int = 3
    brake: float = 0.1
    brake_growth: float = 1.5
    brake_each: float = 0.002
    brake_longest: float = 8.0
    release: float = 0.98


TUNING: Final = Tuning()


@dataclass
class _Standing(Generic[R]):
    """Where this process stands with a document, from one commit to the next."""

    inbox: Inbox[R]
    leading: bool = False  # whether the last commit to it, as far as is known, was ours
    streak: int = 0  # commits in a row, one right after the other, since the inbox was last listed
    found: Sequence[Entry[R]] = ()  # what was listed beside the last write, for the next one
    listed: float = float("-inf")  # the revision that the commit built on which last listed the inbox
    met: float = float("-inf")  # when others were last met
    ended: float = float("-inf")  # when the last commit ended
    pace: float = 0.06  # how long a write takes, in seconds, smoothed; S3's median to begin with
    brake: float = 0.0  # how long to wait before publishing, in seconds


class Combiner:
    """Commits recordings to documents of one store, with the help of others and for them.

    One thread at a time may commit to a document.
    """

    def __init__(self, engine: Engine, tuning: Tuning = TUNING) -> None:
        self._engine = engine
        self._tuning = tuning
        self._standings: Recent[_Standing[Any]] = Recent()

    def commit(self, ledger: RecordSpec[R, T], recordings: Sequence[R]) -> Sequence[T]:
        """Put the recordings into the document, and return what came of each.

        Raises:
            OutcomeUnknownError: A write was never answered, or the recordings were published for others to commit and
                nobody has yet: they may be in the document, or may yet come into it.
            TrackerError: As `Engine.commit` raises.
        """
        standing: _Standing[R] = self._standings.get(ledger.key, lambda: _Standing(self._inbox(ledger)))
        commit = _Combined(self._engine, ledger, recordings, standing, self._tuning)
        try:
            return self._engine.run(commit)
        finally:
            standing.ended = self._engine.runtime.clock()

    def _inbox(self, ledger: RecordSpec[R, T]) -> Inbox[R]:
        return Inbox(self._engine, ledger.key, ledger.to_json, ledger.from_json)


class _Combined(Commit[Sequence[T]], Generic[R, T]):
    """One commit: directly while it is quiet, through the inbox under contention."""

    def __init__(
        self, engine: Engine, ledger: RecordSpec[R, T], recordings: Sequence[R], standing: _Standing[R], tuning: Tuning
    ) -> None:
        super().__init__(engine, ledger, _remembering(self._asked_anew))
        self._ledger = ledger
        self._recordings = recordings
        self._standing = standing
        self._inbox = standing.inbox
        self._tuning = tuning
        self._losses = 0  # writes lost
        self._defeats = 0  # those of them that replaced what this commit had read
        self._looks = 0  # at the document, in vain, since the recordings were published
        self._zeal = 1.0  # what these looks make of the eagerness
        self._silences = 0  # requests without an answer
        self._braked = False  # whether it has waited to publish
        self._publishable = True  # as far as is known: not what is no JSON, or more than an entry holds
        self._key = ""  # of the entry, once it may have been published
        self._published = False  # whether that was answered
        self._version: str | None = None
        if engine.runtime.clock() - standing.ended > tuning.memory * standing.pace:
            standing.streak, standing.found, self._inbox.crowd = 0, (), 0  # all that was a while ago
            standing.listed = float("-inf")

    @property
    def in_doubt(self) -> bool:
        return self._doubtful or bool(self._key)

    def attempt(self) -> Sequence[T]:
        if not (self._inbox.usable and self._publishable):
            return self._alone()
        if self._published:
            return self._look_again()
        if self._key or ((self._braked or self._crowded()) and not self._known()):
            return self._publish()
        return self._direct(self._base) if self._base is not None else self._fresh()

    def pause(self, attempt: int, signal: BaseException | None) -> float:
        if isinstance(signal, Waiting):
            return signal.seconds
        if isinstance(signal, Unanswered):
            return self._after_silence(signal)
        if not self._inbox.usable:
            return super().pause(attempt, signal)
        # What cannot be published has to win against a leader that writes without a break: it tries as often.
        return self._standing.pace * self._random() if self._key or not self._publishable else 0.0

    def unknown(self, error: DocumentVanishedError | StoreError) -> TrackerError:
        if not self._key or not isinstance(error, DocumentVanishedError):
            return super().unknown(error)
        return DocumentVanishedError(
            f"{self._location} was there and is gone; what {self._was} published for others to commit may be in what "
            "is restored, or come into it; recording again is safe. Restore it (an earlier S3 version, a copy) before "
            "recording goes on"
        )

    def _doubt(self) -> str:
        if not self._key:
            return super()._doubt()
        return f"it {self._was} published for others to commit; it may be in {self._location}, or come into it yet"

    @property
    def _was(self) -> str:
        return "was" if self._published else "may have been"

    def _asked_anew(self, document: Document | None) -> tuple[Document | None, Sequence[T]]:
        return self._ledger.record(document, self._recordings)

    def _look(self) -> Snapshot:
        base = super()._look()
        if base.document is None:  # the rule may read other documents meanwhile, which may have come since
            self._rule = _remembering(self._asked_anew)
        return base

    # directly

    def _crowded(self) -> bool:
        """Whether others are known to be at it, and one of them is ahead."""
        return (self._lately() and not self._standing.leading) or self._is_defeated()

    def _is_defeated(self) -> bool:
        """Whether so many writes were lost; one of what an earlier commit left is, by itself, but a stale cache."""
        losses = self._tuning.losses
        return self._losses >= losses and self._defeats >= min(1, losses)

    def _known(self) -> bool:
        """Whether the recordings are in the document already, as far as is known without asking."""
        return self._base is not None and self._rule(self._base.document)[0] is self._base.document

    def _lately(self) -> bool:
        return self._clock() - self._standing.met < self._tuning.memory * self._standing.pace

    def _fresh(self) -> Sequence[T]:
        """Read the document, whose last writer noted how many others were waiting."""
        base = self._look()
        self._inbox.crowd = base.waiting
        if not base.waiting or self._known():
            return self._direct(base)
        if self._random() >= self._chance():
            return self._publish()
        return self._put(base, self._listed())

    def _direct(self, base: Snapshot) -> Sequence[T]:
        standing = self._standing
        if self._known():
            return super().attempt()
        found, standing.found = standing.found, ()
        if (standing.leading and self._inbox.crowd >= self._tuning.ahead) or self._is_due(base):
            return self._put(base, self._listed())
        standing.streak += 1
        return self._put(base, found, listed=False)

    def _is_due(self, base: Snapshot) -> bool:
        """Return whether it is this commit that is to look for what dead workers have left.

        The revision decides, so the processes that commit need not know of each other, nor live for long.
        """
        revision, tuning = _revision(base), self._tuning
        return (revision + 1) % tuning.due_every == 0 and revision - self._standing.listed > tuning.due_after

    def _alone(self) -> Sequence[T]:
        outcomes = super().attempt()
        if self._key:
            self._inbox.withdraw(self._key, self._version)
        return outcomes

    # through the inbox

    def _publish(self) -> Sequence[T]:
        if not self._braked and self._standing.brake > self._standing.pace:
            self._braked = True
            raise Waiting(self._in_time(self._standing.brake * self._around()))
        began = self._clock()
        try:
            key, body = self._inbox.seal(self._recordings)
            self._version = self._inbox.publish(key, body)
        except Unanswered as signal:
            self._key = key if signal.sent else self._key
            raise
        except StoreError:  # the document will tell
            return self._alone()
        except (TypeError, ValueError, RecursionError):  # no JSON, or more than an entry holds
            self._publishable = False
            return self._alone()
        self._key, self._published = key, True
        self._paced(began)
        raise Waiting(self._standing.pace * self._tuning.first_look * self._around(0.25))

    def _look_again(self) -> Sequence[T]:
        before, base = self._carried(), self._look()
        document, outcomes = self._rule(base.document)
        if document is base.document:
            return self._landed(outcomes)
        if self._looks:  # where nobody has committed anything since the last look, perhaps nobody is at it
            self._zeal *= self._tuning.growth_idle if base is before else self._tuning.growth
        self._inbox.crowd = base.waiting or self._inbox.crowd
        chance = self._chance()
        if self._random() >= chance:
            self._wait()
        entries = self._listed()
        if self._random() >= self._chance() / chance:  # more are waiting than was known
            self._wait()
        self._looks += 1
        return self._put(base, entries)

    def _chance(self) -> float:
        return min(1.0, self._tuning.eagerness * self._zeal / max(1, self._inbox.crowd))

    def _carried(self) -> Snapshot | None:
        return self._engine.carried.get(self._ledger.key)

    def _wait(self) -> NoReturn:
        self._looks += 1
        grown = self._tuning.slower ** min(max(0, self._looks - self._tuning.patient_looks), 6)
        raise Waiting(self._standing.pace * self._tuning.next_look * grown * self._around(0.25))

    def _landed(self, outcomes: Sequence[T]) -> Sequence[T]:
        """Leave it at what another worker committed, or a write of ours whose answer was lost."""
        self._met_others()
        self._standing.leading = False
        if self._version is not None or self._silences or not all(outcome.created for outcome in outcomes):
            self._inbox.withdraw(self._key, self._version)  # it may be that nobody else has met it
        return outcomes

    # the write

    def _put(self, base: Snapshot, entries: Sequence[Entry[R]] | None, *, listed: bool = True) -> Sequence[T]:
        """Write the document with our recordings and those of the entries, as far as they fit."""
        taken = fitting(entries or (), len(self._recordings))
        others = [recording for entry in taken for recording in entry.recordings]
        if others:
            grown, outcomes = self._ledger.record(base.document, [*others, *self._recordings])
        else:
            grown, outcomes = self._rule(base.document)
        document = cast("Document", grown)  # there is something to add, so there is one
        beside = not listed and self._standing.streak >= (
            self._tuning.beside_crowd if self._lately() else self._tuning.beside_every
        )
        listing = self._engine.runtime.spawn(self._listed) if beside else None
        began, seen = self._clock(), self._seen
        found: Sequence[Entry[R]] | None = None
        try:
            written = self._write(document, base, self._note(taken))
        except Conflict:
            self._lost_to_others(seen=seen)
            raise
        finally:
            if listing is not None:
                found = listing()
        self._paced(began)
        self._inbox.versioned = written.version is not None
        self._committed(base, document, taken)
        if beside:
            self._found(found or (), taken)
        if listed or beside:
            self._standing.streak = 0
        if found is not None or (listed and entries is not None):
            self._standing.listed = _revision(base)
        if self._inbox.crowd:
            self._met_others()
        return outcomes[len(others) :]

    def _note(self, taken: Sequence[Entry[R]]) -> int:
        return max(len(taken), self._inbox.crowd, min(1, self._defeats))

    def _listed(self) -> Sequence[Entry[R]] | None:
        """List what waits there; `None`, where there is no answer: that is left to others."""
        with suppress(Unanswered):
            return self._inbox.waiting(own=self._key)
        return None

    def _found(self, found: Sequence[Entry[R]], taken: Sequence[Entry[R]]) -> None:
        keys = {entry.key for entry in taken}
        self._standing.found = [entry for entry in found if entry.key not in keys]
        self._inbox.crowd = len(self._standing.found)

    def _committed(self, base: Snapshot, document: Document, taken: Sequence[Entry[R]]) -> None:
        self._standing.leading = True
        added = frozenset(recorded_since(base.document, document))
        own = {recording.recorded_by for recording in self._recordings}
        self._engine.told(self._ledger.key, document, recordings=len(added), others=len(added - own))
        if self._inbox.versioned:
            self._inbox.sweep(entry.key for entry in taken if not entry.adds(added))
            if self._version is not None:
                self._inbox.withdraw(self._key, self._version)
        else:
            self._inbox.remove([*(entry.key for entry in taken), *([self._key] if self._key else [])])

    def _lost_to_others(self, *, seen: bool) -> None:
        self._standing.leading = False
        self._losses += 1
        self._defeats += seen
        if self._is_defeated():
            self._met_others()

    def _met_others(self) -> None:
        self._standing.met = self._clock()

    # waiting

    def _after_silence(self, signal: Unanswered) -> float:
        self._silences += 1
        if not signal.slow or self._published or not self._key:
            return self._engine.jitter(self._silences, signal)
        tuning, standing = self._tuning, self._standing
        brake = max(tuning.brake_each * self._inbox.crowd, standing.brake * tuning.brake_growth + tuning.brake)
        standing.brake = min(tuning.brake_longest, brake)
        return self._in_time(max(2 * standing.pace, 0.3 * standing.brake) * self._around())

    def _in_time(self, seconds: float) -> float:
        """Return a wait of a throttled worker, cut to a quarter of the time left: else a short call never publishes."""
        return min(seconds, max(0.0, deadline() - self._clock()) / 4)

    def _paced(self, began: float) -> None:
        standing = self._standing
        standing.pace += 0.2 * (self._clock() - began - standing.pace)
        if not self._silences:
            standing.brake *= self._tuning.release

    def _around(self, spread: float = 0.5) -> float:
        return 1.0 - spread + 2.0 * spread * self._random()

    def _clock(self) -> float:
        return self._engine.runtime.clock()

    def _random(self) -> float:
        return self._engine.runtime.random()


def _revision(base: Snapshot) -> int:
    revision: int = base.document.get("revision", 0) if base.document is not None else 0
    return revision


def _remembering(rule: Rule[Outcomes]) -> Rule[Outcomes]:
    """Apply a rule to the same document once, however often it is asked."""
    last: list[tuple[Document | None, tuple[Document | None, Outcomes]]] = []

    def applied(document: Document | None) -> tuple[Document | None, Outcomes]:
        if not last or last[0][0] is not document:
            last[:] = [(document, rule(document))]
        return last[0][1]

    return applied


def fitting(entries: Sequence[Entry[R]], own: int) -> list[Entry[R]]:
    """Return the entries that one commit takes along: up to its bounds, or one that is too large for any, alone.

    Args:
        entries: What is waiting.
        own: How many recordings the commit has of its own. However many, there is room for a few of others.
    """
    room = MAX_RECORDINGS - min(own, MAX_OWN)
    large = [entry for entry in entries if len(entry.recordings) > room or entry.size > MAX_BYTES]
    if large:
        return large[:1]
    taken, number, size = [], 0, 0
    for entry in entries:
        if number + len(entry.recordings) <= room and size + entry.size <= MAX_BYTES:
            taken.append(entry)
            number, size = number + len(entry.recordings), size + entry.size
    return taken
