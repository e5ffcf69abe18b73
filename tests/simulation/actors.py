"""Who plays: workers, each the real engine over a store that asks the hub, and their threads, which are greenlets."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

from greenlet import GreenletExit, getcurrent

from cf_data_tracker.engine.cas import Engine
from cf_data_tracker.engine.combine import Combiner, RecordSpec
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import TrackerError
from cf_data_tracker.runtime import Runtime
from cf_data_tracker.stats import Tally
from cf_data_tracker.store import Answer, Conflict, Replacing, Stored, Unanswered, Written
from cf_data_tracker.stores.memory import MemoryStore
from fates import INBOX
from simulation.books import Book, Came, the_same
from simulation.plans import REFUSALS, Befalls, Part, Plan
from simulation.threads import Door, GroupCommit, Thread

T = TypeVar("T")

PATIENCE = 1e6
"""Seconds that a call may take: no attempt is one too many for want of time."""


@dataclass(eq=False, slots=True)
class Call:
    """A request that a worker waits for.

    Attributes:
        kind: Of the document `read` or `write`, of the inbox `publish`, `list`, `fetch` or `delete`.
        what: All that can be said of it.
        apply: Puts it to a store.
        key: The key, if there is one.
        body: What is to be written.
        replacing: What that is to replace.
        combines: Whether it writes the document by a worker that has just listed the inbox.
    """

    kind: str
    what: tuple[object, ...]
    apply: Callable[[MemoryStore], Any]
    key: str = ""
    body: bytes = b""
    replacing: Replacing = None
    combines: bool = False


@dataclass(eq=False, slots=True)
class Held:
    """An answer that has not reached its thread."""

    answer: object = None


class Playing(Protocol):
    """What plays a thread."""

    @property
    def dead(self) -> bool:
        """Whether it has come to an end."""

    def switch(self, answer: object) -> Any:  # noqa: ANN401 - what it waits for next
        """Hear an answer, and return what is asked next."""

    def throw(self, error: type[BaseException]) -> object:
        """End."""


@dataclass(eq=False, slots=True)
class Actor:
    """A thread of a worker: one that records, or that does what is to be done beside.

    Attributes:
        worker: Whose it is.
        number: Its number among the worker's.
        records: Whether it records.
        thread: What plays it.
        asks: What it waits for; an actor: for its end.
        began: How many states there had been when its call began; `None`: its first request is to come.
        unheard: Whether in this call anything was published, or written without an answer.
        interrupted: Whether it has been, in this call.
        result: What came of what it did beside.
        error: What it raised.
    """

    worker: "Player"
    number: int
    records: bool
    thread: Playing
    asks: "Asks | None" = None
    began: int | None = None
    unheard: bool = False
    interrupted: bool = False
    result: Any = None
    error: Exception | None = None

    @property
    def name(self) -> str:
        """The worker's, and its number."""
        return f"{self.worker.name}{self.number or ''}"

    @property
    def is_gone(self) -> bool:
        """Whether it has come to an end."""
        return self.worker.dead or self.thread.dead

    @property
    def is_ready(self) -> bool:
        """Whether it can go on, if the dice say so."""
        waits = isinstance(self.asks, Actor) or (isinstance(self.asks, Door) and not self.asks.lets_through())
        return not (self.is_gone or waits)


@dataclass(eq=False, slots=True)
class Late:
    """A request that was sent, and is applied later."""

    call: Call


@dataclass(eq=False, slots=True)
class Tired:
    """A thread whose patience with the others of its process ends."""

    actor: Actor


Asks: TypeAlias = Call | Held | Door | Actor
Turn: TypeAlias = Actor | Late | Tired


class Hub(Protocol):
    """What players ask of the run."""

    plan: Plan
    book: Book[Any]

    @property
    def memory(self) -> MemoryStore:
        """The store."""

    @property
    def current(self) -> Actor:
        """Who is playing just now."""

    def chooses(self, what: str) -> bool:
        """Return what the dice say."""

    def wait(self, worker: "Player", asks: Asks) -> object:
        """Let others go on, and return the answer, or raise it."""

    def begin(self, worker: "Player", task: Callable[[], object], *, records: bool = False) -> Actor:
        """Begin a thread of a worker."""

    def begun(self, actor: Actor) -> None:
        """Let a thread play, when its turn has come."""

    def called(self, actor: Actor, recordings: Sequence[Any]) -> None:
        """Hear that a thread begins a call."""

    def acknowledged(self, actor: Actor, recordings: Sequence[Any], outcomes: Sequence[Came]) -> None:
        """Hear what a thread was told."""

    def refused(self, actor: Actor, recordings: Sequence[Any], error: TrackerError) -> None:
        """Hear that a thread was told an error."""


class Stage:
    """Where greenlets play the threads of workers."""

    def __init__(self) -> None:
        self._hub = getcurrent()
        self._current: Actor | None = None

    @property
    def current(self) -> Actor:
        """Who is playing just now."""
        assert self._current is not None
        return self._current

    def begin(self, worker: "Player", task: Callable[[], object], *, records: bool = False) -> Actor:
        """Begin a thread of a worker."""

        def run(_: object) -> None:
            try:
                actor.result = task()
            except (Unanswered, Conflict, TrackerError) as error:
                actor.error = error

        thread = Thread(run, parent=self._hub)
        thread.wait = lambda door: self.wait(worker, door)
        actor = Actor(worker, len(worker.actors), records, thread)
        self.begun(actor)
        return actor

    def wait(self, worker: "Player", asks: object) -> object:
        """Let others go on, and return the answer, or raise it."""
        if worker.dead:
            raise GreenletExit
        answer: object = self._hub.switch(asks)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def begun(self, actor: Actor) -> None:
        """Let a thread play, when its turn has come."""
        raise NotImplementedError


class Chance(float):
    """A random number that is decided when it is compared; where it is reckoned with, it is a half."""

    __slots__ = ("decide",)
    decide: Callable[[], bool]

    def __ge__(self, bound: float) -> bool:
        return bound < 1.0 and self.decide()


class Asking:
    """The store as a worker sees it: whatever it asks, it asks the hub."""

    def __init__(self, hub: Hub, worker: "Worker") -> None:
        self._hub = hub
        self._memory = hub.memory
        self._worker = worker

    def location(self, key: str) -> str:
        """Return where the object is not."""
        return self._memory.location(key)

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Ask for an object."""
        kind = "fetch" if key.startswith(INBOX) else "read"
        answer: Answer = self._ask(
            Call(kind, (kind, key), lambda memory: memory.read(key, unless=unless, most=most), key=key)
        )
        return answer

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Ask for an object to be written."""
        publishing = key.startswith(INBOX)
        body = the_same(body)
        answer: Written = self._ask(
            Call(
                "publish" if publishing else "write",
                ("publish", key) if publishing else ("write", key, "on", replacing, "waiting", waiting),
                lambda memory: memory.write(key, body, replacing=replacing, waiting=waiting),
                key=key,
                body=body,
                replacing=replacing,
                combines=not publishing and self._worker.listed,
            )
        )
        return answer

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """Ask what is there."""
        page = self._hub.plan.page
        what = ("list", "after", after) if after else ("list",)
        keys: list[str] = self._ask(Call("list", what, lambda memory: memory.list(prefix, after=after)[:page]))
        return keys

    def delete(self, *keys: str) -> None:
        """Ask for objects to be deleted."""
        self._ask(Call("delete", ("delete", *keys), lambda memory: memory.delete(*keys)))

    def erase(self, key: str, version: str) -> None:
        """Ask for a version to be deleted."""
        self._ask(Call("delete", ("erase", key, version), lambda memory: memory.erase(key, version)))

    def _ask(self, call: Call) -> Any:  # noqa: ANN401 - each kind has an answer of its own
        return self._hub.wait(self._worker, call)


class Player:
    """Plays a worker.

    Attributes:
        name: A letter.
        part: What it does.
        dead: Whether it has died.
        started: Whether it has had its first turn.
        past: All that it was ever told, as a number.
        actors: Its threads.
    """

    past: int

    def __init__(self, name: str, part: Part) -> None:
        self.name = name
        self.part = part
        self.dead = False
        self.started = False
        self.actors: list[Actor] = []

    @property
    def gone(self) -> bool:
        """Whether all of it has come to an end."""
        return all(actor.is_gone for actor in self.actors)

    def enter(self) -> None:
        """Begin its threads."""
        raise NotImplementedError

    def hear(self, actor: Actor, call: Call, befalls: Befalls, answer: object) -> None:
        """Hear what came of a request, before the thread does that made it."""
        raise NotImplementedError

    def heard_nothing(self) -> None:
        """Let those who are in a call know that what they asked for may have been done."""
        for actor in self.actors:
            actor.unheard = True

    def remember(self, *told: object) -> None:
        """Add to what it was told, unless that is known from elsewhere."""

    def bury(self) -> None:
        """Let it be gone."""
        self.dead = True
        for actor in self.actors:
            while actor.thread and not actor.thread.dead:
                actor.thread.throw(GreenletExit)


class Worker(Player):
    """A process that records, with a time of its own, which requests take and waiting lets pass.

    Attributes:
        now: Its time.
        forgot: Whether of all that it was told, no more is left than matters.
        listed: Whether its next write carries what it found in the inbox.
        shut: Whether it has been refused something, and so may see nothing of the inbox any more.
    """

    def __init__(self, hub: Hub, name: str, part: Part, attempts: int) -> None:
        super().__init__(name, part)
        self._hub = hub
        self.now = 0.0
        self.past = hash(name)
        self.forgot = False
        self.listed = False
        self.shut = False
        runtime = Runtime(clock=lambda: self.now, sleep=self._sleep, random=self._random, spawn=self._beside)
        patience = Patience(attempts=attempts, seconds=PATIENCE)
        self.engine = Engine(Asking(hub, self), Tally(), patience, runtime)
        self._combiner = Combiner(self.engine, part.tuning) if part.tuning is not None else None
        self._batch: GroupCommit[Any, Any] | None = GroupCommit(self._commit, PATIENCE) if part.threads > 1 else None

    def enter(self) -> None:
        """Begin its threads."""
        for number in range(self.part.threads):
            self._hub.begin(self, partial(self._play, number), records=True)
        if self._hub.plan.slow:
            self._hub.begin(self, self._read)

    def hear(self, actor: Actor, call: Call, befalls: Befalls, answer: object) -> None:
        """Hear what came of a request, before the thread does that made it."""
        self.now += 0.06
        self.remember(actor.number, as_told(answer))
        self.shut = self.shut or befalls in REFUSALS
        if actor.records and call.kind in ("list", "write"):
            self.listed = call.kind == "list" and not isinstance(answer, BaseException) and not self.shut

    def remember(self, *told: object) -> None:
        """Add to what it was told."""
        self.past = hash((self.past, *told))

    def _play(self, thread: int) -> None:
        """Do a thread's share of the part."""
        for number in range(thread, len(self.part.commits), self.part.threads):
            if number >= self.part.threads:
                self._pause()
            for again in range(self._hub.plan.calls):
                if self._call(self.part.commits[number], f"{self.name}{number}{again}"):
                    self._forget(number)
                    break

    def _pause(self) -> None:
        """Be idle for a while, perhaps for so long that what it knew of others is forgotten."""
        if self._combiner is not None and self._hub.chooses("idle"):
            self.now += 1000.0
            self.remember("idle")

    def _forget(self, number: int) -> None:
        """Forget how a commit was done, where nothing but what is carried matters any more."""
        if self._combiner is None and self._batch is None and not self._hub.plan.slow:
            self.forgot = True
            carried = self.engine.carried.get(self._hub.book.ledger.key)
            self.past = hash((self.name, number, carried and carried.etag))

    def _read(self) -> None:
        """Read the document now and then, as a thread does that asks what is there."""
        for _ in range(3):
            with suppress(TrackerError):
                self.engine.read(self._hub.book.ledger)

    def _call(self, files: Sequence[str], call: str) -> bool:
        """Record files in one commit, and return whether that is done."""
        actor = self._hub.current
        recordings = [self._hub.book.recording(file, f"{call}{place}") for place, file in enumerate(files)]
        self._hub.called(actor, recordings)
        try:
            outcomes = self._recorded(recordings)
        except KeyboardInterrupt:
            return False
        except TrackerError as error:
            self._hub.refused(actor, recordings, error)
            return False
        self._hub.acknowledged(actor, recordings, outcomes)
        return True

    def _recorded(self, recordings: Sequence[Any]) -> Sequence[Came]:
        ledger = self._hub.book.ledger
        return (self._batch.commit if self._batch is not None else self._commit)(ledger, recordings)

    def _commit(self, ledger: RecordSpec[Any, Any], recordings: Sequence[Any]) -> Sequence[Any]:
        self.listed = False
        if self._combiner is not None:
            return self._combiner.commit(ledger, recordings)
        return self.engine.commit(ledger, lambda document: ledger.record(document, recordings))

    def _sleep(self, seconds: float) -> None:  # noqa: ARG002 - the same, however long, so that more runs are alike
        self.now += 0.03

    def _random(self) -> float:
        chance = Chance(0.5)
        chance.decide = self._decide
        return chance

    def _decide(self) -> bool:
        decided = self._hub.chooses("chance")
        self.remember(decided)
        return decided

    def _beside(self, task: Callable[[], T]) -> Callable[[], T]:
        actor = self._hub.begin(self, task)
        if self._hub.plan.slow and self._hub.chooses("hold"):
            self._hub.wait(self, Held())

        def result() -> T:
            while not actor.thread.dead:
                self._hub.wait(self, actor)
            error, actor.error = actor.error, None
            if error is not None:
                raise error
            came: T = actor.result
            return came

        return result


def as_told(answer: object) -> object:
    """Return all that an answer tells, as something that can be hashed."""
    if isinstance(answer, list):
        return tuple(answer)
    if isinstance(answer, Stored):
        return answer.etag, answer.waiting, answer.version
    if isinstance(answer, Written):
        return answer.etag, answer.version
    if isinstance(answer, Unanswered):
        return answer.sent, answer.slow
    return answer.certain if isinstance(answer, Conflict) else repr(answer)
