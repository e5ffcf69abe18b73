"""Interleavings: workers at one document, where one hand decides what threads, processes and networks decide.

A worker is the real engine in greenlets. Whenever one asks the store, or waits for a thread of its own process, the
run stops, and the dice say who goes on, what befalls the request, and how a random number compares. So a run is what
its dice say: it can be told again, and a small plan can be tried in every way.

`laws` says what is to hold. What one worker makes of one answer is left to `test_commit` and `test_combine`.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, Protocol

from cf_data_tracker.document import to_bytes
from cf_data_tracker.engine.combine import TUNING
from cf_data_tracker.entries import opened
from cf_data_tracker.errors import (
    DeniedError,
    DocumentVanishedError,
    OutcomeUnknownError,
    ReadDeniedError,
    TrackerError,
)
from cf_data_tracker.names import inbox_prefix
from cf_data_tracker.store import Conflict, Stored, Unanswered
from fates import Fate
from simulation.actors import Actor, Call, Held, Hub, Late, Player, Stage, Tired, Turn, Worker, as_told
from simulation.back import Back, Shelf, saved
from simulation.books import Book, Came, CleanBook, RawBook
from simulation.dice import Choice, Dice, Pruned, Steady
from simulation.laws import Broken, Laws, must
from simulation.plans import DEATHS, NAMES, PAGE, SIGNALS, UNHEARD, Befalls, End, Part, Plan, Wait
from simulation.story import as_lines
from simulation.threads import Door
from simulation.understudy import Understudy

DOUBTFUL: Final = {*UNHEARD, End.INTERRUPTED} - {Fate.NOT_SENT}
"""What leaves open whether a write was done."""


class Cast(Protocol):
    """Who plays the workers."""

    def __call__(self, hub: Hub, name: str, part: Part, attempts: int) -> Player:
        """Return who plays a worker."""


class Interleaving(Stage):
    """One run of a plan.

    Attributes:
        memory: The store.
        book: How to record in the document, and how to read it.
        laws: What is to hold.
        tape: What the dice said.
        befallen: How many requests what befell.
        answers: How many workers were told what.
    """

    def __init__(self, plan: Plan, dice: Dice, cast: Cast = Worker) -> None:
        super().__init__()
        self.plan = plan
        self.memory = Shelf(versioned=plan.versioned)
        self.book: Book[Any] = CleanBook(self.memory) if plan.clean else RawBook()
        self.laws = Laws(self.book, plan.within)
        self.tape: list[Choice] = []
        self.befallen: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self._dice = dice
        self._cast = cast
        self._key = self.book.ledger.key
        self._inbox = inbox_prefix(self._key)
        self._story: list[tuple[object, ...]] = []
        self._faults = plan.faults
        self._workers: list[Player] = []
        self._actors: list[Actor] = []
        self._beginning: list[Actor] = []
        self._late: list[Late] = []
        self._touched: set[tuple[object, ...]] = set()  # all that was done to the inbox
        self._sweeping = False
        self._steps = 0

    def run(self) -> "Interleaving":
        """Play the plan.

        Raises:
            Broken: A law does not hold.
            Pruned: The dice say that what follows has been tried.
        """
        try:
            self.prepare()
            self._play()
            self._dice.before_turn(len(self.tape), self.state)
            self.end()
        finally:
            self.bury()
        return self

    @property
    def story(self) -> list[str]:
        """What happened, a line each."""
        return as_lines(self._story)

    # what actors call

    def chooses(self, what: str) -> bool:
        """Return what the dice say."""
        said: bool = self._pick(what, (False, True))
        return said

    def begun(self, actor: Actor) -> None:
        """Let a thread play, when its turn has come."""
        actor.worker.actors.append(actor)
        self._beginning.append(actor)

    def called(self, actor: Actor, recordings: Sequence[Any]) -> None:
        """Hear that a thread begins a call."""
        actor.began = self.laws.moment if actor.worker.part.threads > 1 else None
        actor.unheard = actor.interrupted = False
        self.laws.asked(recordings)

    def acknowledged(self, actor: Actor, recordings: Sequence[Any], outcomes: Sequence[Came]) -> None:
        """Hear what a thread was told."""
        self._tell(f"  {actor.name}: {[(came.version, came.created) for came in outcomes]}")
        self.answers[f"{actor.worker.name} acknowledged"] += 1
        must(len(recordings) == len(outcomes), "each recording has an outcome")
        for one, came in zip(recordings, outcomes, strict=True):
            self.laws.acknowledged(actor.began or 0, one, came)

    def refused(self, actor: Actor, recordings: Sequence[Any], error: TrackerError) -> None:
        """Hear that a thread was told an error."""
        name = type(error).__name__
        self._tell(f"  {actor.name}: {name}: {error}")
        self.answers[f"{actor.worker.name} {name}"] += 1
        must(not isinstance(error, DocumentVanishedError), "nothing has vanished")
        if isinstance(error, OutcomeUnknownError):
            must(actor.unheard, "an outcome is unknown only where something may have landed")
        else:
            self.laws.refused(recordings, name)

    # the play

    def prepare(self) -> None:
        """Let everybody enter."""
        if not self.plan.fresh:
            first = self.book.recording("FY2023/0", "first")
            self.laws.asked([first])
            document = self.book.ledger.record(None, [first])[0]
            self.memory.write(self._key, to_bytes(document or {}), replacing=None)
            self._written(combines=False)
        for name, part in zip(NAMES, self.plan.parts, strict=False):
            self._enter(self._cast(self, name, part, self.plan.attempts))
        self._steps = self._enough()

    def _enter(self, worker: Player) -> None:
        self._workers.append(worker)
        worker.enter()
        self._begin_all()

    def _enough(self) -> int:
        """Return how many turns there may be."""
        threads = sum(6 * worker.part.threads if worker.part.threads > 1 else 1 for worker in self._workers)
        return 60 * (self.plan.attempts + 6) * self.plan.calls * threads

    def _play(self) -> None:
        while self.goes_on():
            self._dice.before_turn(len(self.tape), self.state)
            self.turn()

    def goes_on(self) -> bool:
        """Return whether it is anybody's turn."""
        if self._ready():
            return True
        waiting = [actor.name for actor in self._actors if not actor.is_gone]
        must(not waiting, f"nobody waits for ever, but {waiting}")
        return False

    def turn(self) -> None:
        """Let one of those go on who can."""
        turns: list[Turn] = [*self._ready(), *filter(self._can_land, self._late), *self._tired()]
        self._turn(self._pick("turn", turns))
        self._steps -= 1
        must(self._steps > 0, "every worker comes to an end")

    def _ready(self) -> list[Actor]:
        """Return who can go on: of workers that are alike, no one begins before those that stand before it."""
        ready = [actor for actor in self._actors if actor.is_ready]
        if self.plan.alike:
            idle = [worker for worker in self._workers if not worker.started]
            ready = [actor for actor in ready if actor.worker not in idle[1:]]
        return ready

    def end(self) -> None:
        """Let what is late land, and one more worker combine until nothing should be left; and look at what is."""
        while self._late:
            self._turn(self._pick("last", self._late))
        left = len(self.memory.list(self._inbox))
        rounds = 4 * left + 6 if self.plan.versioned or self.plan.page < PAGE else 1
        commits = [[f"swept{place}/1"] for place in range(rounds)]
        self._faults, self._dice, self._sweeping = 0, Steady(), True
        self._tell("  one more")
        self._enter(self._cast(self, "Z", Part(commits=commits, tuning=replace(TUNING, losses=0)), 6))
        self._steps = self._enough()
        self._play()
        self.laws.judge(self.memory.list(self._inbox))

    def _pick(self, what: str, options: Sequence[Any]) -> Any:  # noqa: ANN401 - one of the options
        if len(options) == 1:
            return options[0]
        place = self._dice.pick(what, options)
        if not self._sweeping:
            self.tape.append(Choice(place, len(options)))
        return options[place]

    def _tired(self) -> list[Tired]:
        if self._faults == 0 or Wait.TIMED_OUT not in self.plan.befalling("wait"):
            return []
        doors = [actor for actor in self._actors if isinstance(actor.asks, Door) and not actor.is_gone]
        return [Tired(actor) for actor in doors if isinstance(actor.asks, Door) and actor.asks.may_tire]

    def _turn(self, who: Turn) -> None:
        if isinstance(who, Late):
            self._land(who)
            return
        if isinstance(who, Actor):
            who.worker.started = True
        if isinstance(who, Tired):
            self._befell("wait", Wait.TIMED_OUT)
            self._tell(who.actor.name, "waits no longer")
            who.actor.worker.remember(who.actor.number, Wait.TIMED_OUT)
            self._go_on(who.actor, None)
        elif isinstance(who.asks, Call):
            self._meet(who, who.asks)
        elif isinstance(who.asks, Door):
            self._pass(who, who.asks)
        else:
            who.worker.remember(who.number)
            self._go_on(who, who.asks.answer if isinstance(who.asks, Held) else None)

    def _land(self, late: Late) -> None:
        self._late.remove(late)
        self._tell("  late:", *late.call.what)
        with suppress(Conflict, DocumentVanishedError):
            self._apply(late.call)

    def _pass(self, actor: Actor, door: Door) -> None:
        """Let a thread go through a door, or interrupt it there."""
        can = self._faults > 0 and actor.records and not actor.interrupted
        can = can and Wait.INTERRUPTED in self.plan.befalling("wait")
        if can and self._pick("befalls", (Fate.ANSWERED, Wait.INTERRUPTED)) is Wait.INTERRUPTED:
            actor.interrupted = True
            self._befell("wait", Wait.INTERRUPTED)
            self._tell(actor.name, door.what, Wait.INTERRUPTED)
            actor.worker.remember(actor.number, Wait.INTERRUPTED)
            self._go_on(actor, KeyboardInterrupt())
        else:
            actor.worker.remember(actor.number)
            self._tell(actor.name, door.what, "got" if door.opens() else "not got")
            self._go_on(actor, None)

    def _meet(self, actor: Actor, call: Call) -> None:
        """Let something befall a request."""
        if actor.records and actor.began is None:
            actor.began = self.laws.moment
        befalls = self._pick("befalls", [Fate.ANSWERED, *self._possible(actor, call)])
        if befalls is not Fate.ANSWERED:
            self._befell(call.kind, befalls)
        answer = self._answer(actor.worker, call, befalls)
        self._tell(actor.name, *call.what, ":", befalls, answer)
        if befalls in DEATHS:
            actor.worker.dead = True
            return
        self._note(actor, call, befalls, answer)
        if self.plan.slow and self.chooses("hold"):
            actor.asks = Held(answer)
        else:
            self._go_on(actor, answer)

    def _befell(self, kind: str, befalls: Befalls) -> None:
        self._faults -= 1
        self.befallen[f"{kind} {befalls.name}"] += 1
        self.tape[-1] = replace(self.tape[-1], fault=befalls.name)

    def _possible(self, actor: Actor, call: Call) -> Sequence[Befalls]:
        befalls = self.plan.befalling(call.kind) if self._faults > 0 else ()
        can = actor.records and not actor.interrupted
        return befalls if can else [one for one in befalls if one is not End.INTERRUPTED]

    def _answer(self, worker: Player, call: Call, befalls: Befalls) -> Any:  # noqa: ANN401 - each kind has its own
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

    def _permitted(self, worker: Player, call: Call) -> object:
        if not worker.part.lists:
            if call.kind == "list":
                raise DeniedError("403")
            if call.kind in ("read", "fetch") and self.memory.read(call.key) is None:
                raise ReadDeniedError("403, as a missing key is answered")
        return self._apply(call)

    def _apply(self, call: Call) -> object:
        answer: object = call.apply(self.memory)
        if call.kind == "write":
            self._written(combines=call.combines)
        elif call.kind != "read" and self.plan.versioned:
            self._touched.add((*call.what, repr(answer) if call.kind == "publish" else ""))
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
        worker.hear(actor, call, befalls, answer)
        if call.kind in ("write", "publish") and _may_have_been_done(call.kind, befalls):
            worker.heard_nothing()
        if befalls is End.INTERRUPTED:
            actor.interrupted = True
            worker.heard_nothing()  # what it led may have been done, for all that those know whom it carried
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
            if isinstance(other.asks, Actor) and other.asks.thread.dead and not other.worker.dead:
                self._go_on(other, None)

    def _begin_all(self) -> None:
        while self._beginning:
            actor = self._beginning.pop(0)
            self._actors.append(actor)
            self._switch(actor, None)

    def _switch(self, actor: Actor, answer: object) -> None:
        actor.asks = None
        self._current = actor
        try:
            actor.asks = actor.thread.switch(answer)
        except (Broken, Pruned):
            raise
        except BaseException as error:
            raise Broken(f"it does not hold that nothing but a TrackerError escapes: {error!r}") from error

    def bury(self) -> None:
        """Let nobody go on."""
        for worker in self._workers:
            worker.bury()

    def _tell(self, *what: object) -> None:
        self._story.append(what)

    def saved(self) -> Back:
        """Return what brings the run back to where it is now, from wherever it goes on to by then."""
        backs = [
            self.memory.saved(),
            saved(self),
            saved(self.laws),
            *(worker.saved() for worker in self._workers if isinstance(worker, Understudy)),
        ]

        def back() -> None:
            for each in backs:
                each()

        return back

    def state(self) -> int:
        """Return what all that follows depends on, as a number."""
        there = tuple((key, as_told(self.memory.read(key))) for key in self.memory.list(""))
        workers = tuple(_state_of(worker) for worker in self._workers)
        under_way = filter(self._can_land, self._late)  # what cannot land now never can: no ETag comes again
        late = frozenset(Counter((one.call.what, one.call.body, one.call.combines) for one in under_way).items())
        counts = (frozenset(self.laws.met.items()), frozenset(self.laws.commits.items()))
        laws = (frozenset(self.laws.published), frozenset(self.laws.never), *counts)
        return hash(
            (there, workers, late, self._faults, laws, frozenset(self.laws.unfetched), frozenset(self._touched))
        )


def _state_of(worker: Player) -> object:
    """Return what a worker will do depends on; nothing, if it is gone."""
    if worker.gone:
        return None
    return worker.past, tuple((actor.began, actor.unheard) for actor in worker.actors if actor.records)


def _may_have_been_done(kind: str, befalls: Befalls) -> bool:
    """Return whether what was asked for may be there without the worker's knowing that it is in the document."""
    return befalls in DOUBTFUL or (kind == "publish" and befalls in (Fate.ANSWERED, Fate.CONFLICT))
