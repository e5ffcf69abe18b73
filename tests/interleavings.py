"""Interleavings: workers at one document, where one hand decides what threads, processes and networks decide.

A worker is the real engine in a greenlet. Whenever one asks the store, the run stops, and the dice say who goes on,
what befalls the request, and how a random number compares. So a run is what its dice say: it can be told again, and a
small plan can be tried in every way. The laws are looked at in every step, and the first that is broken ends the run
with its story:

    states     each commit raises the revision by one and takes nothing away; numbers are dense; no file and no
               recording stands there twice; what a worker was told is not written never appears
    answers    each is true of the document at some time during the call, and a new number is higher than those before
    entries    each that was published is in the document after two commits that listed the inbox, or earlier
    the end    every worker comes to an end; one more that combines then leaves nothing in the inbox, and nothing out

What one worker makes of one answer is left to `test_commit` and `test_combine`.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet

from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, to_bytes, versions_of
from cf_data_tracker.engine.combine import TUNING, Combiner, Ledger, Tuning
from cf_data_tracker.engine.commit import Engine, Patience, Surroundings
from cf_data_tracker.entries import opened
from cf_data_tracker.errors import (
    DeniedError,
    DocumentVanishedError,
    OutcomeUnknownError,
    ReadDeniedError,
    StoreError,
    TrackerError,
)
from cf_data_tracker.model import CleanRecord, Recording
from cf_data_tracker.names import inbox_prefix
from cf_data_tracker.settings import Access
from cf_data_tracker.stats import Tally
from cf_data_tracker.store import Conflict, Replacing, Stored, Unanswered, Unchanged, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import raw_ledger
from fates import INBOX, Fate
from strategies import SCHEMA, clean_record, file_version, recording

NAMES: Final = "ABCDEFGH"
PAGE: Final = 1000

T = TypeVar("T")
R = TypeVar("R", Recording, CleanRecord)


class End(Enum):
    """What befalls a worker while it waits for an answer."""

    DIES_BEFORE = auto()  # the request is never sent
    DIES_AFTER = auto()  # it was applied
    DIES_MEANWHILE = auto()  # it is under way, and applied later
    INTERRUPTED = auto()  # it was applied, and the worker goes on with the next


Befalls: TypeAlias = Fate | End

ENDS: Final = tuple(End)
SILENCES: Final = (Fate.LOST, Fate.NOT_SENT, Fate.SLOW_DOWN)
UNHEARD: Final = (*SILENCES, Fate.ANSWER_LOST, Fate.LATE)
REFUSALS: Final = (Fate.DENIED, Fate.REFUSED)

ALL: Final[Mapping[str, tuple[Befalls, ...]]] = {
    "read": (*SILENCES, *REFUSALS, End.DIES_BEFORE, End.INTERRUPTED),
    "write": (*UNHEARD, *REFUSALS, Fate.CONFLICT, *ENDS),
    "publish": (*UNHEARD, *REFUSALS, Fate.CONFLICT, *ENDS),
    "list": (*SILENCES, *REFUSALS, End.DIES_BEFORE, End.INTERRUPTED),
    "fetch": (*SILENCES, *REFUSALS, End.DIES_BEFORE),
    "delete": (*UNHEARD, *REFUSALS, End.DIES_BEFORE, End.DIES_AFTER, End.DIES_MEANWHILE),
}
"""What may befall each kind of request: of the document `read` and `write`, of the inbox the others."""

CRUCIAL: Final[Mapping[str, tuple[Befalls, ...]]] = {
    "read": (Fate.LOST, End.DIES_BEFORE),
    "write": (Fate.ANSWER_LOST, Fate.LOST, Fate.LATE, Fate.CONFLICT, *ENDS[:3]),
    "publish": (Fate.ANSWER_LOST, Fate.LOST, Fate.LATE, Fate.DENIED, *ENDS[:3]),
    "list": (Fate.LOST, Fate.DENIED, End.DIES_BEFORE),
    "fetch": (Fate.LOST, End.DIES_BEFORE),
    "delete": (Fate.LOST, Fate.LATE, End.DIES_BEFORE),
}
"""As many of these as can be tried in every way."""

SIGNALS: Final[Mapping[Befalls, Callable[[], BaseException]]] = {
    Fate.LOST: lambda: Unanswered("lost"),
    Fate.LATE: lambda: Unanswered("late"),
    Fate.NOT_SENT: lambda: Unanswered("connection refused", sent=False),
    Fate.SLOW_DOWN: lambda: Unanswered("503", slow=True),
    Fate.CONFLICT: lambda: Conflict("409", certain=False),
    Fate.DENIED: lambda: DeniedError("403"),
    Fate.REFUSED: lambda: StoreError("ExpiredToken"),
}
"""What the worker hears of a request that is not applied now."""


class Broken(AssertionError):  # noqa: N818 - what is broken is a law
    """A law does not hold."""


class Pruned(BaseException):
    """What follows from here has been tried already."""


# what is planned


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one worker does.

    Attributes:
        commits: The files of each of its commits, like `FY2023/a`; with a `+`, one too large for an inbox key. Of a
            clean document, the version in place of the file: `FY2023/3`.
        tuning: How it combines; `None` for one that does not.
        lists: Whether it may list the bucket.
    """

    commits: Sequence[Sequence[str]]
    tuning: Tuning | None = TUNING
    lists: bool = True

    def __str__(self) -> str:
        own = dict(asdict(self.tuning).items() - asdict(TUNING).items()) if self.tuning is not None else "alone"
        return f"{self.commits}, {own or 'as it comes'}{'' if self.lists else ', may not list'}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Who is there, and what may happen.

    Attributes:
        parts: The workers' parts.
        faults: How many requests something befalls at most.
        befalls: What may befall which.
        attempts: Attempts of a call.
        calls: How often a worker calls for one commit, if it is told an error.
        clean: Whether it is a clean document.
        fresh: Whether there is no document yet.
        versioned: Whether the bucket keeps versions.
        threads: Whether the threads of a worker are slow to hear answers, and one of them reads the document.
        page: How many keys one LIST gives.
    """

    parts: Sequence[Part]
    faults: int = 0
    befalls: Mapping[str, tuple[Befalls, ...]] = field(default_factory=lambda: CRUCIAL)
    attempts: int = 6
    calls: int = 1
    clean: bool = False
    fresh: bool = False
    versioned: bool = False
    threads: bool = False
    page: int = PAGE


# what is recorded


@dataclass(frozen=True, slots=True)
class Line:
    """What a document says of one file."""

    file_name: str
    version: int
    file: str
    recorded_by: str | None


class Came(Protocol):
    """What came of a recording, raw or clean."""

    @property
    def file_name(self) -> str: ...  # noqa: D102 - as in `Recorded`
    @property
    def version(self) -> int: ...  # noqa: D102
    @property
    def created(self) -> bool: ...  # noqa: D102


class Book(Protocol[R]):
    """A document of one kind: how to record in it, and how to read it."""

    ledger: Ledger[R, Any]
    replaces: bool  # whether a newer line takes the place of an older one

    def recording(self, file: str, recorded_by: str) -> R:
        """Return a recording of a file, as a plan names it."""

    def lines(self, document: Document | None) -> list[Line]:
        """Return what the document says."""

    def is_lawful(self, before: Sequence[Line], after: Sequence[Line]) -> bool:
        """Return whether a commit may make one of the other."""

    def is_answered(self, recording: R, line: Line) -> bool:
        """Return whether a line is one that a worker may be told of for a recording."""


class RawBook:
    """The raw document."""

    replaces = False

    def __init__(self) -> None:
        self.ledger = raw_ledger(SCHEMA)

    def recording(self, file: str, recorded_by: str) -> Recording:
        """Return a recording of a file."""
        file_name, _, name = file.partition("/")
        made = recording(name.rstrip("+"), file_name=file_name, recorded_by=recorded_by)
        large = replace(made.new, s3_location=incompressible(recorded_by)) if name.endswith("+") else made.new
        return replace(made, new=large)

    def lines(self, document: Document | None) -> list[Line]:
        """Return its versions."""
        return [Line(one.file_name, one.version, one.file, one.recorded_by) for one in versions_of(document, SCHEMA)]

    def is_lawful(self, before: Sequence[Line], after: Sequence[Line]) -> bool:
        """Return whether something came, nothing went, numbers are dense, and neither file nor recording is twice."""
        numbers: dict[str, list[int]] = {}
        for line in after:
            numbers.setdefault(line.file_name, []).append(line.version)
        return (
            set(before) < set(after)
            and all(sorted(each) == list(range(1, len(each) + 1)) for each in numbers.values())
            and len(after) == len({(line.file_name, line.file) for line in after})
            and len(after) == len({line.recorded_by for line in after})
        )

    def is_answered(self, recording: Recording, line: Line) -> bool:
        """Return whether it is the line of the file."""
        return (line.file_name, line.file) == (recording.new.file_name, recording.new.file)


class CleanBook:
    """The clean document."""

    replaces = True

    def __init__(self, store: MemoryStore) -> None:
        connection = Connection(Access(bucket="clean"), store=store)
        self.ledger = CleanTracker.over(connection, connection)._ledger(SCHEMA)  # noqa: SLF001 - what it hands to the combiner

    def recording(self, file: str, recorded_by: str) -> CleanRecord:
        """Return a record of a version of a file name."""
        file_name, _, version = file.partition("/")
        made = clean_record(file_version(int(version.rstrip("+")), file_name=file_name), recorded_by)
        return replace(made, clean_files=(incompressible(recorded_by),)) if version.endswith("+") else made

    def lines(self, document: Document | None) -> list[Line]:
        """Return its records."""
        records = document["tables"]["births"] if document is not None else {}
        infos = {file_name: entry["file_info"] for file_name, entry in records.items()}
        return [Line(name, info["version"], info["raw_file"], info["recorded_by"]) for name, info in infos.items()]

    def is_lawful(self, before: Sequence[Line], after: Sequence[Line]) -> bool:
        """Return whether something came, and what is another one is a newer one."""
        now = {line.file_name: line for line in after}
        kept = all(was == now[was.file_name] or was.version < now[was.file_name].version for was in before)
        return kept and set(before) != set(after)

    def is_answered(self, recording: CleanRecord, line: Line) -> bool:
        """Return whether it is of the version of the file name, or of a newer one."""
        return line.file_name == recording.raw.file_name and line.version >= recording.raw.version


def incompressible(seed: str) -> str:
    """Return a text that is too long for an inbox key, however it is written there."""
    return "".join(random.Random(seed).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=1800))


# what is to hold


class Laws:
    """What is to hold of the document, of the answers and of the inbox, and what is known of them."""

    def __init__(self, book: Book[Any]) -> None:
        self._book = book
        self._document: Document | None = None
        self._states: list[list[Line]] = [[]]
        self._acknowledged: list[Line] = []
        self._never: dict[str, str] = {}  # ids of recordings that are not to appear, and what their worker was told
        self.published: dict[str, Sequence[Any]] = {}  # by key, the recordings
        self.met: Counter[str] = Counter()  # by key, commits since that carried what was in the inbox
        self.unfetched: set[str] = set()  # keys of entries that somebody was not given when it asked

    @property
    def moment(self) -> int:
        """The place of the document's present state among all that there have been."""
        return len(self._states) - 1

    def check_state(self, body: bytes, *, combines: bool) -> None:
        """Look at what was written, perhaps by a worker that had just listed the inbox."""
        document = self._book.ledger.parse(body)
        before, after = self._states[-1], self._book.lines(document)
        was = self._document["revision"] if self._document is not None else 0
        must(document["revision"] == was + 1, "each commit raises the revision by one")
        must(self._book.is_lawful(before, after), f"a commit may make {after} of {before}")
        for line in after:
            told = self._never.get(line.recorded_by or "")
            must(told is None, f"{line.recorded_by}, whose worker was told {told}, never appears")
        self._document = document
        self._states.append(after)
        if combines:
            self._check_entries()

    def acknowledged(self, began: int, one: Any, came: Came) -> None:  # noqa: ANN401 - a recording
        """Look at what came of a recording, by what its worker was told; `began` is the moment when it called."""

        def is_true(line: Line) -> bool:
            same = (line.file_name, line.version) == (came.file_name, came.version)
            return same and came.created == (line.recorded_by == one.recorded_by) and self._book.is_answered(one, line)

        told = [line for state in self._states[began:] for line in state if is_true(line)]
        must(bool(told), f"{came} is true of the document at some time during the call")
        before = [line.version for line in self._states[began] if line.file_name == came.file_name]
        must(not came.created or came.version > max(before, default=0), "a new number is higher than any before")
        self._acknowledged.append(told[0])

    def refused(self, recordings: Sequence[Any], told: str) -> None:
        """Look at recordings whose worker was told that nothing was written."""
        there = {line.recorded_by for line in self._states[-1]}
        for one in recordings:
            must(one.recorded_by not in there, f"{one.recorded_by}, whose worker was told {told}, is not there")
            self._never[one.recorded_by] = told

    def judge(self, left: Sequence[str]) -> None:
        """Look at the end, and at the keys that are left in the inbox."""
        must(not left, "whoever combines last leaves nothing in the inbox")
        must(all(map(self._holds, self.published)), "whatever was published is in the document at last")
        final = {line.file_name: line.version for line in self._states[-1]}
        lost = [line for line in self._acknowledged if not self._is_kept(line, final)]
        must(not lost, f"what was acknowledged is there at last, and so is {lost}")

    def _check_entries(self) -> None:
        for key in self.published:
            self.met[key] += 1
            if self.met[key] == 2 and key not in self.unfetched:
                must(self._holds(key), "what was published is in the document after two commits that listed the inbox")

    def _holds(self, key: str) -> bool:
        """Return whether there is nothing left to write of an entry."""
        return self._book.ledger.record(self._document, self.published[key])[0] is self._document

    def _is_kept(self, line: Line, final: Mapping[str, int]) -> bool:
        return line in self._states[-1] or (self._book.replaces and final[line.file_name] > line.version)


def must(holds: bool, law: str) -> None:  # noqa: FBT001
    """Raise `Broken` unless the law holds."""
    if not holds:
        raise Broken(f"it does not hold that {law}")


# who plays


@dataclass(eq=False, slots=True)
class Call:
    """A request that a worker waits for."""

    kind: str
    told: str
    apply: Callable[[], Any]
    key: str = ""
    body: bytes = b""
    replacing: Replacing = None
    combines: bool = False  # whether it writes the document by a worker that has just listed the inbox


@dataclass(eq=False, slots=True)
class Held:
    """An answer that has not reached its thread."""

    answer: object = None


@dataclass(eq=False, slots=True)
class Actor:
    """A thread of a worker: 0 records, the others do what is to be done beside."""

    worker: "Worker"
    number: int
    greenlet: "greenlet"
    asks: "Call | Held | Actor | None" = None  # an actor: it waits for its end
    result: Any = None
    error: Exception | None = None

    @property
    def name(self) -> str:
        """The worker's, and its number."""
        return f"{self.worker.name}{self.number or ''}"

    @property
    def is_ready(self) -> bool:
        """Whether it can go on, if the dice say so."""
        return not (self.worker.dead or self.greenlet.dead or isinstance(self.asks, Actor))


@dataclass(eq=False, slots=True)
class Late:
    """A request that was sent, and is applied later."""

    call: Call


class Dice(Protocol):
    """Who decides."""

    def pick(self, what: str, options: Sequence[T]) -> T:
        """Return one of the options; the first is what happens when nothing is the matter."""

    def before_turn(self, state: Callable[[], int]) -> None:
        """Hear that it is somebody's turn.

        Args:
            state: What all that follows depends on, as a number.

        Raises:
            Pruned: Do not go on.
        """


class Chance(float):
    """A random number that is decided when it is compared; where it is reckoned with, it is a half."""

    __slots__ = ("decide",)
    decide: Callable[[], bool]

    def __ge__(self, bound: float) -> bool:
        return bound < 1.0 and self.decide()


class Asking:
    """The store as a worker sees it: whatever it asks, it asks the hub."""

    def __init__(self, run: "Interleaving", worker: "Worker") -> None:
        self._run = run
        self._memory = run.memory
        self._worker = worker

    def location(self, key: str) -> str:
        """Return where the object is not."""
        return self._memory.location(key)

    def read(self, key: str, *, unless: str | None = None) -> Stored | Unchanged | None:
        """Ask for an object."""
        kind = "fetch" if key.startswith(INBOX) else "read"
        answer: Stored | Unchanged | None = self._ask(
            Call(kind, f"{kind} {self._run.short(key)}", lambda: self._memory.read(key, unless=unless), key=key)
        )
        return answer

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Ask for an object to be written."""
        publishing = key.startswith(INBOX)
        kind, on = ("publish", "") if publishing else ("write", f" on {short_etag(replacing)}, {waiting} waiting")
        answer: Written = self._ask(
            Call(
                kind,
                f"{kind} {self._run.short(key)}{on}",
                lambda: self._memory.write(key, body, replacing=replacing, waiting=waiting),
                key=key,
                body=body,
                replacing=replacing,
                combines=not publishing and self._worker.listed,
            )
        )
        return answer

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """Ask what is there."""
        page = self._run.plan.page
        keys: list[str] = self._ask(
            Call("list", f"list after {self._run.short(after)}", lambda: self._memory.list(prefix, after=after)[:page])
        )
        return keys

    def delete(self, *keys: str) -> None:
        """Ask for objects to be deleted."""
        self._ask(Call("delete", f"delete {' '.join(map(self._run.short, keys))}", lambda: self._memory.delete(*keys)))

    def erase(self, key: str, version: str) -> None:
        """Ask for a version to be deleted."""
        told = f"erase {self._run.short(key)} {version}"
        self._ask(Call("delete", told, lambda: self._memory.erase(key, version)))

    def _ask(self, call: Call) -> Any:  # noqa: ANN401 - each kind has an answer of its own
        return self._run.wait(self._worker, call)


class Worker:
    """A process that records, with a time of its own, which requests take and waiting lets pass."""

    def __init__(self, run: "Interleaving", name: str, part: Part, attempts: int) -> None:
        self._run = run
        self.name = name
        self.part = part
        self.now = 0.0
        self.dead = False
        self.past = hash(name)  # all that it was ever told, as a number
        self.threads = 0
        self.began: int | None = (
            None  # how many states there had been when the call began; None: its first request is to come
        )
        self.listed = False  # whether its next write carries what it found in the inbox
        self.shut = False  # whether it has been refused something, and so may see nothing of the inbox any more
        self.unheard = False  # whether in this call anything was published, or written without an answer
        surroundings = Surroundings(clock=lambda: self.now, sleep=self._sleep, random=self._random, beside=self._beside)
        patience = Patience(attempts=attempts, seconds=1e6)
        self.engine = Engine(Asking(run, self), Tally(), patience, surroundings)
        self._combiner = Combiner(self.engine, part.tuning) if part.tuning is not None else None

    def play(self) -> None:
        """Do its part."""
        for number, files in enumerate(self.part.commits):
            if number and self._run.dice.pick("idle", [False, True]):
                self.now += 1000.0  # what it knew of others is forgotten
            for again in range(self._run.plan.calls):
                if self._call(files, f"{self.name}{number}{again}"):
                    break

    def read(self) -> None:
        """Read the document now and then, as a thread does that asks what is there."""
        for _ in range(3):
            with suppress(TrackerError):
                self.engine.read(self._run.book.ledger)

    def remember(self, *told: object) -> None:
        """Add to what it was told."""
        self.past = hash((self.past, *told))

    def _call(self, files: Sequence[str], call: str) -> bool:
        """Record files in one commit, and return whether that is done."""
        self.began, self.listed, self.unheard = None, False, False
        recordings = [self._run.book.recording(file, f"{call}{place}") for place, file in enumerate(files)]
        try:
            outcomes = self._commit(recordings)
        except KeyboardInterrupt:
            return False
        except TrackerError as error:
            self._run.refused(self, recordings, error)
            return False
        self._run.acknowledged(self, recordings, outcomes)
        return True

    def _commit(self, recordings: Sequence[Any]) -> Sequence[Came]:
        ledger = self._run.book.ledger
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
        decided = self._run.dice.pick("chance", [False, True])
        self.remember(decided)
        return decided

    def _beside(self, task: Callable[[], T]) -> Callable[[], T]:
        actor = self._run.begin(self, task)
        if self._run.plan.threads and self._run.dice.pick("hold", [False, True]):
            self._run.wait(self, Held())

        def result() -> T:
            while not actor.greenlet.dead:
                self._run.wait(self, actor)
            error, actor.error = actor.error, None
            if error is not None:
                raise error
            came: T = actor.result
            return came

        return result


class Interleaving:
    """One run of a plan."""

    def __init__(self, plan: Plan, dice: Dice) -> None:
        self.plan = plan
        self.dice = dice
        self.memory = MemoryStore(versioned=plan.versioned)
        self.book: Book[Any] = CleanBook(self.memory) if plan.clean else RawBook()
        self.laws = Laws(self.book)
        self.story: list[str] = []
        self.befallen: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self._hub = getcurrent()
        self._key = self.book.ledger.key
        self._inbox = inbox_prefix(self._key)
        self._shorts: dict[str, str] = {}
        self._faults = plan.faults
        self._workers: list[Worker] = []
        self._actors: list[Actor] = []
        self._beginning: list[Actor] = []
        self._late: list[Late] = []
        self._touched: set[str] = set()  # all that was done to the inbox

    def run(self) -> "Interleaving":
        """Play the plan.

        Raises:
            Broken: A law does not hold.
            Pruned: The dice say that what follows has been tried.
        """
        try:
            self._prepare()
            self._play()
            self._sweep()
            self.laws.judge(self.memory.list(self._inbox))
        except Broken as broken:
            parts = [f"{name}: {part}" for name, part in zip(NAMES, self.plan.parts, strict=False)]
            raise Broken("\n".join([str(broken), repr(self.dice), *parts, *self.story])) from broken
        finally:
            self._bury()
        return self

    # what workers call

    def short(self, key: str) -> str:
        """Return a short name of a key."""
        return self._shorts.setdefault(key, f"e{len(self._shorts)}") if key.startswith(INBOX) else key[-4:]

    def begin(self, worker: Worker, task: Callable[[], object]) -> Actor:
        """Begin a thread of a worker."""

        def run(_: object) -> None:
            try:
                actor.result = task()
            except (Unanswered, Conflict, TrackerError) as error:
                actor.error = error

        actor = Actor(worker, worker.threads, greenlet(run, parent=self._hub))
        worker.threads += 1
        self._beginning.append(actor)
        return actor

    def wait(self, worker: Worker, asks: Call | Held | Actor) -> object:
        """Let others go on, and return the answer, or raise it."""
        if worker.dead:
            raise GreenletExit
        answer: object = self._hub.switch(asks)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def acknowledged(self, worker: Worker, recordings: Sequence[Any], outcomes: Sequence[Came]) -> None:
        """Hear what a worker was told."""
        self._tell(f"  {worker.name}: {[(came.version, came.created) for came in outcomes]}")
        self.answers[f"{worker.name} acknowledged"] += 1
        must(len(recordings) == len(outcomes), "each recording has an outcome")
        for one, came in zip(recordings, outcomes, strict=True):
            self.laws.acknowledged(worker.began or 0, one, came)

    def refused(self, worker: Worker, recordings: Sequence[Any], error: TrackerError) -> None:
        """Hear that a worker was told an error."""
        name = type(error).__name__
        self._tell(f"  {worker.name}: {name}: {error}")
        self.answers[f"{worker.name} {name}"] += 1
        must(not isinstance(error, DocumentVanishedError), "nothing has vanished")
        if isinstance(error, OutcomeUnknownError):
            must(worker.unheard, "an outcome is unknown only where something may have landed")
        else:
            self.laws.refused(recordings, name)

    # the play

    def _prepare(self) -> None:
        if not self.plan.fresh:
            first = self.book.recording("FY2023/0", "first")
            document = self.book.ledger.record(None, [first])[0]
            self.memory.write(self._key, to_bytes(document or {}), replacing=None)
            self._written(combines=False)
        for name, part in zip(NAMES, self.plan.parts, strict=False):
            self._enter(Worker(self, name, part, self.plan.attempts))

    def _enter(self, worker: Worker) -> None:
        self._workers.append(worker)
        self.begin(worker, worker.play)
        if self.plan.threads:
            self.begin(worker, worker.read)
        self._begin_all()

    def _play(self) -> None:
        steps = 60 * (self.plan.attempts + 6) * self.plan.calls * len(self._workers)
        while ready := [actor for actor in self._actors if actor.is_ready]:
            self.dice.before_turn(self._state)
            turns: list[Actor | Late] = [*ready, *filter(self._can_land, self._late)]
            self._turn(self.dice.pick("turn", turns))
            steps -= 1
            must(steps > 0, "every worker comes to an end")
        waiting = [actor.name for actor in self._actors if not (actor.worker.dead or actor.greenlet.dead)]
        must(not waiting, f"nobody waits for ever, but {waiting}")

    def _sweep(self) -> None:
        """Let what is late land, and one more worker combine until nothing should be left."""
        while self._late:
            self._turn(self.dice.pick("last", self._late))
        left = len(self.memory.list(self._inbox))
        rounds = 4 * left + 6 if self.plan.versioned or self.plan.page < PAGE else 1
        commits = [[f"swept{place}/1"] for place in range(rounds)]
        self._faults, self.dice = 0, Steady(self.dice)
        self._tell("  one more")
        self._enter(Worker(self, "Z", Part(commits=commits, tuning=replace(TUNING, losses=0)), attempts=6))
        self._play()

    def _turn(self, who: Actor | Late) -> None:
        if isinstance(who, Late):
            self._late.remove(who)
            self._tell(f"  late: {who.call.told}")
            with suppress(Conflict, DocumentVanishedError):
                self._apply(who.call)
        elif isinstance(who.asks, Call):
            self._meet(who, who.asks)
        else:
            who.worker.remember(who.number)
            self._go_on(who, who.asks.answer if isinstance(who.asks, Held) else None)

    def _meet(self, actor: Actor, call: Call) -> None:
        """Let something befall a request."""
        worker = actor.worker
        if actor.number == 0 and worker.began is None:
            worker.began = self.laws.moment
        befalls = self.dice.pick("befalls", [Fate.ANSWERED, *(self._possible(actor, call))])
        if befalls is not Fate.ANSWERED:
            self._faults -= 1
            self.befallen[f"{call.kind} {befalls.name}"] += 1
        answer = self._answer(worker, call, befalls)
        self._tell(f"{actor.name} {call.told}: {befalls.name}, {self._shown(answer)}")
        if isinstance(befalls, End) and befalls is not End.INTERRUPTED:
            worker.dead = True
            return
        self._note(actor, call, befalls, answer)
        late = self.plan.threads and self.dice.pick("hold", [False, True])
        if late:
            actor.asks = Held(answer)
        else:
            self._go_on(actor, answer)

    def _possible(self, actor: Actor, call: Call) -> Sequence[Befalls]:
        befalls = self.plan.befalls[call.kind] if self._faults > 0 else ()
        return befalls if actor.number == 0 else [one for one in befalls if one is not End.INTERRUPTED]

    def _answer(self, worker: Worker, call: Call, befalls: Befalls) -> Any:  # noqa: ANN401 - each kind has its own
        """Return the answer to a request, or what is to be raised in its place."""
        if befalls in (Fate.LATE, End.DIES_MEANWHILE):
            self._late.append(Late(call))
        if befalls is Fate.DENIED and call.kind in ("read", "fetch"):
            return ReadDeniedError("403")
        if befalls in SIGNALS:
            return SIGNALS[befalls]()
        if befalls in (End.DIES_BEFORE, End.DIES_MEANWHILE):
            return None
        try:
            answer = self._permitted(worker, call)
        except (Conflict, DocumentVanishedError, DeniedError) as signal:
            answer = signal
        if befalls is End.INTERRUPTED:
            return KeyboardInterrupt()
        return Unanswered("answer lost") if befalls is Fate.ANSWER_LOST else answer

    def _permitted(self, worker: Worker, call: Call) -> object:
        if not worker.part.lists:
            if call.kind == "list":
                raise DeniedError("403")
            if call.kind in ("read", "fetch") and self.memory.read(call.key) is None:
                raise ReadDeniedError("403, as a missing key is answered")
        return self._apply(call)

    def _apply(self, call: Call) -> object:
        answer: object = call.apply()
        if call.kind == "write":
            self._written(combines=call.combines)
        elif call.kind != "read":
            self._touched.add(f"{call.told} {answer if call.kind == 'publish' else ''}")
        if call.kind == "publish" and call.key.startswith(self._inbox):
            entry = opened(call.key, call.body, self.book.ledger.from_json)
            self.laws.published.setdefault(call.key, entry.recordings)
        return answer

    def _written(self, *, combines: bool) -> None:
        there = self.memory.read(self._key)
        if isinstance(there, Stored):
            self.laws.check_state(there.body, combines=combines and self.plan.page == PAGE)

    def _note(self, actor: Actor, call: Call, befalls: Befalls, answer: object) -> None:
        """Remember what the laws, or the worker, will ask for."""
        worker = actor.worker
        worker.now += 0.06
        worker.remember(actor.number, self._shown(answer))
        worker.shut = worker.shut or befalls in REFUSALS
        worker.unheard = worker.unheard or (
            befalls in (*UNHEARD, *((Fate.ANSWERED, Fate.CONFLICT) if call.kind == "publish" else ()))
            and call.kind in ("write", "publish")
            and befalls is not Fate.NOT_SENT
        )
        if actor.number == 0 and call.kind in ("list", "write"):
            worker.listed = call.kind == "list" and not isinstance(answer, BaseException) and not worker.shut
        if call.kind == "fetch" and befalls is not Fate.ANSWERED:
            self.laws.unfetched.add(call.key)

    def _can_land(self, late: Late) -> bool:
        """Return whether it would change anything now."""
        if late.call.kind != "write":
            return True
        there = self.memory.read(self._key)
        return (there.etag if isinstance(there, Stored) else None) == late.call.replacing

    def _go_on(self, actor: Actor, answer: object) -> None:
        """Hand an actor its answer, and let those go on who waited for its end."""
        self._switch(actor, answer)
        self._begin_all()
        for other in self._actors:
            if isinstance(other.asks, Actor) and other.asks.greenlet.dead and not other.worker.dead:
                self._go_on(other, None)

    def _begin_all(self) -> None:
        while self._beginning:
            actor = self._beginning.pop(0)
            self._actors.append(actor)
            self._switch(actor, None)

    def _switch(self, actor: Actor, answer: object) -> None:
        actor.asks = None
        try:
            actor.asks = actor.greenlet.switch(answer)
        except (Broken, Pruned):
            raise
        except BaseException as error:
            raise Broken(f"it does not hold that nothing but a TrackerError escapes: {error!r}") from error

    def _bury(self) -> None:
        for worker in self._workers:
            worker.dead = True
        for actor in [*self._actors, *self._beginning]:
            while actor.greenlet and not actor.greenlet.dead:
                actor.greenlet.throw(GreenletExit)

    def _tell(self, what: str) -> None:
        self.story.append(what)

    def _shown(self, answer: object) -> str:
        if isinstance(answer, list):
            return f"[{' '.join(map(self.short, answer))}]"
        if isinstance(answer, (Stored, Written)):
            note = f", {answer.waiting} waiting" if isinstance(answer, Stored) else ""
            return f"{short_etag(answer.etag)}{note} {answer.version or ''}".strip()
        return repr(answer)

    def _state(self) -> int:
        keys = self.memory.list("")
        there = tuple((key, self._shown(self.memory.read(key))) for key in keys)
        workers = tuple((worker.past, worker.dead, worker.began) for worker in self._workers)
        late = tuple((one.call.told, one.call.body, one.call.combines) for one in self._late)
        met = tuple(sorted(self.laws.met.items()))
        touched = frozenset(self._touched) if self.plan.versioned else frozenset()
        return hash((there, workers, late, self._faults, met, frozenset(self.laws.unfetched), touched))


def short_etag(etag: object) -> str:
    """Return a short name of an ETag, or of what is there in its place."""
    return str(etag).strip('"')[:4]


# who decides


class Steady:
    """Nothing is the matter, and what was begun last is done first."""

    def __init__(self, before: Dice) -> None:
        self._before = before

    def __repr__(self) -> str:
        return f"{self._before!r}, then nothing the matter"

    def pick(self, what: str, options: Sequence[T]) -> T:
        """Return what goes well."""
        return options[-1] if what == "turn" else options[0]

    def before_turn(self, state: Callable[[], int]) -> None:
        """Go on."""


class Told:
    """What is told to the end of the telling, and then the first of the options each time."""

    def __init__(self, telling: Sequence[int] = (), seen: set[int] | None = None) -> None:
        self._telling = telling
        self._seen = seen
        self.rolled: list[tuple[int, int]] = []  # what came up, of how many

    def __repr__(self) -> str:
        return f"Told({[came for came, _ in self.rolled]})"

    def pick(self, what: str, options: Sequence[T]) -> T:  # noqa: ARG002
        """Return the next."""
        if len(options) == 1:
            return options[0]
        place = len(self.rolled)
        came = self._telling[place] if place < len(self._telling) else 0
        self.rolled.append((came, len(options)))
        return options[came]

    def before_turn(self, state: Callable[[], int]) -> None:
        """Stop where somebody has been who had as much to tell."""
        if self._seen is not None and len(self.rolled) >= len(self._telling):
            now = state()
            if now in self._seen:
                raise Pruned
            self._seen.add(now)

    def next_telling(self) -> list[int] | None:
        """Return what is to be told after this, or `None` at the end."""
        rolled = self.rolled
        while rolled and rolled[-1][0] + 1 >= rolled[-1][1]:
            rolled.pop()
        return [*(came for came, _ in rolled[:-1]), rolled[-1][0] + 1] if rolled else None


class Rolled:
    """Seeded dice, loaded: some workers are slow for a while, so that others overtake them."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._roll = random.Random(seed)
        self._weights: dict[str, float] = {}
        self._odds = {
            "befalls": self._roll.choice([0.03, 0.1, 0.3, 0.6]),
            "chance": self._roll.choice([0.1, 0.5, 0.9]),
            "hold": 0.3,
            "idle": 0.3,
        }
        self._landing = self._roll.choice([0.02, 0.1, 0.5])
        self._speeds = self._roll.choice([[1.0], [1.0, 1.0, 0.03, 8.0]])

    def __repr__(self) -> str:
        return f"dice of the seed {self._seed!r}"

    def pick(self, what: str, options: Sequence[T]) -> T:
        """Return what comes up."""
        if what == "turn":
            return self._turn(options)
        if what == "last":
            return self._roll.choice(options)
        return self._roll.choice(options[1:]) if options[1:] and self._roll.random() < self._odds[what] else options[0]

    def before_turn(self, state: Callable[[], int]) -> None:  # noqa: ARG002
        """Change who is slow, now and then."""
        if self._roll.random() < 0.03:
            self._weights.clear()

    def _turn(self, options: Sequence[T]) -> T:
        late = [one for one in options if isinstance(one, Late)]
        if late and self._roll.random() < self._landing:
            return self._roll.choice(late)
        actors = [one for one in options if not isinstance(one, Late)]
        return self._roll.choices(actors, [self._weight(one) for one in actors])[0]

    def _weight(self, one: object) -> float:
        name = one.name if isinstance(one, Actor) else ""
        return self._weights.setdefault(name, self._roll.choice(self._speeds))


def every_way(plan: Plan) -> Iterator[Interleaving]:
    """Play a plan in every way, and yield each run that came to its end: what others had in common is played once."""
    seen: set[int] = set()
    telling: list[int] | None = []
    while telling is not None:
        dice = Told(telling, seen)
        with suppress(Pruned):
            yield Interleaving(plan, dice).run()
        telling = dice.next_telling()


EAGER: Final = replace(TUNING, losses=1)
TUNINGS: Final = (
    TUNING,
    EAGER,
    EAGER,
    replace(TUNING, losses=0),
    replace(EAGER, beside_every=1, beside_crowd=1, ahead=1),
    replace(EAGER, beside_every=2, beside_crowd=1, ahead=2),
    replace(EAGER, beside_every=1, memory=0.0),
    replace(EAGER, memory=3.0, eagerness=0.3, growth=1.5),
)
RAW_FILES: Final = ("FY2023/a", "FY2023/b", "FY2023/c", "FY2023/d+", "2024-01/e", "2024-01/f+")


def at_random(seed: str, *, clean: bool = False, page: int = PAGE) -> Interleaving:
    """Return a run of a plan that the seed makes."""
    roll = random.Random(f"plan {seed}")
    parts = [_part(roll, "ABCDE"[place], clean=clean) for place in range(roll.choice([2, 2, 2, 3, 3, 4, 5]))]
    without = roll.choice([(), ENDS, REFUSALS, (*ENDS, *REFUSALS)])
    plan = Plan(
        parts=parts,
        faults=roll.choice([0, 1, 2, 4, 8, 16]),
        befalls={kind: tuple(one for one in befalls if one not in without) for kind, befalls in ALL.items()},
        attempts=roll.choice([3, 4, 6, 8, 12, 25]),
        calls=roll.choice([1, 1, 3]),
        clean=clean,
        fresh=roll.random() < 0.3,
        versioned=roll.random() < 0.4,
        threads=roll.random() < 0.3,
        page=page,
    )
    return Interleaving(plan, Rolled(seed))


def _part(roll: random.Random, name: str, *, clean: bool) -> Part:
    return Part(
        commits=[_files(roll, f"{name}{place}", clean=clean) for place in range(roll.choice([1, 1, 2, 3, 5]))],
        tuning=None if roll.random() < 0.15 else roll.choice(TUNINGS),
        lists=roll.random() < 0.95,
    )


def _files(roll: random.Random, own: str, *, clean: bool) -> list[str]:
    number = roll.choice([1, 1, 1, 2, 3])
    if clean:
        return [f"{name}/{roll.randint(1, 6)}{roll.choice(['', '', '+'])}" for name in roll.sample("FGH", number)]
    mine = [f"FY2023/{own}{place}{roll.choice(['', '', '+'])}" for place in range(number)]
    return mine if roll.random() < 0.6 else roll.choices(RAW_FILES, k=number)
