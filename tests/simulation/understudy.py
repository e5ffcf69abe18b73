"""Workers by heart: what a worker does next depends on nothing but what it was told, so it is asked once.

An understudy plays a worker's part. Where the worker was told before what the understudy is told now, it does as the
worker did. Where not, the worker itself, the real engine in its greenlets, is told all of it once more, in a rehearsal
of its own, and what it does then is learnt. So however many runs a plan has, the engine does each thing once; and an
understudy can be brought back to where it was, as a greenlet cannot.

Left to `play`: threads that wait for each other, and those that are slow to hear. No understudy can play them.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from cf_data_tracker.errors import TrackerError
from fates import Fate
from simulation.actors import Actor, Asks, Call, Hub, Player, Stage, Worker, as_told
from simulation.back import Back, saved
from simulation.books import Came
from simulation.plans import REFUSALS, Befalls, Part, Plan

T = TypeVar("T")


class Chooses(NamedTuple):
    """A worker waits for what the dice say."""

    what: str


class Awaits(NamedTuple):
    """A worker waits for the end of one of its threads."""

    number: int


class Cue(NamedTuple):
    """What a thread of a worker is told."""

    number: int
    befalls: Befalls
    answer: object


Event: TypeAlias = "Callable[[Understudy], object]"


class Line(NamedTuple):
    """What a worker does when it is told something.

    Attributes:
        events: What others hear of it.
        asks: What it waits for then; `None`: its thread has come to an end.
        place: Where it is then.
    """

    events: Sequence[Event]
    asks: Call | Awaits | Chooses | None
    place: "Place"


@dataclass(eq=False, slots=True)
class Place:
    """Where a worker is in its part: after all that it was told, as far as that matters.

    Attributes:
        past: All that, as a number.
        came: How it came here for the first time.
        lines: What it does next, by what it is told.
    """

    past: int
    came: "tuple[Place, Cue] | None" = None
    lines: dict[object, Line] = field(default_factory=dict)

    def cues(self) -> list[Cue]:
        """Return all that it was told."""
        cues, place = [], self
        while place.came is not None:
            place, cue = place.came
            cues.append(cue)
        return cues[::-1]


def can_be_learnt(plan: Plan) -> bool:
    """Return whether understudies can play a plan."""
    return not plan.slow and all(part.threads == 1 for part in plan.parts)


class Company:
    """Understudies, and all that they have learnt."""

    def __init__(self) -> None:
        self._roles: dict[object, Role] = {}

    def __call__(self, hub: Hub, name: str, part: Part, attempts: int) -> Player:
        """Return an understudy."""
        key = (name, repr(part))
        if key not in self._roles:
            self._roles[key] = Role(lambda: Rehearsal(hub, name, part, attempts))
        return Understudy(hub, name, part, self._roles[key])

    def dismiss(self) -> None:
        """End all rehearsals."""
        for role in self._roles.values():
            role.dismiss()


class Role:
    """What a worker does, as far as that is known.

    Attributes:
        opening: What it does before it is told anything.
    """

    def __init__(self, rehearsal: "Callable[[], Rehearsal]") -> None:
        self._begin = rehearsal
        self._rehearsal = rehearsal()
        self._at: Place | None = Place(self._rehearsal.worker.past)
        self._forgetful: dict[int, Place] = {}  # places where it has forgotten how it came there
        self.opening = Line(self._rehearsal.events, None, self._at)

    def line(self, place: Place, cue: Cue) -> Line:
        """Return what it does at a place when it is told something."""
        key = (cue.number, cue.befalls in REFUSALS, as_told(cue.answer))
        line = place.lines.get(key)
        if line is None:
            line = place.lines[key] = self._learnt(place, cue)
        return line

    def dismiss(self) -> None:
        """End the rehearsal."""
        self._at = None
        self._rehearsal.bury()

    def _learnt(self, place: Place, cue: Cue) -> Line:
        if self._at is not place:
            self._rehearse(place.cues())
        self._at = None  # whoever fails is nowhere
        asks = self._rehearsal.tell(cue)
        worker = self._rehearsal.worker
        then = Place(worker.past, (place, cue))
        if worker.forgot:
            then = self._forgetful.setdefault(worker.past, then)
        self._at = then
        return Line(self._rehearsal.events, asks, then)

    def _rehearse(self, cues: Sequence[Cue]) -> None:
        self._rehearsal.bury()
        self._rehearsal = self._begin()
        for cue in cues:
            self._rehearsal.tell(cue)


class Rehearsal(Stage):
    """A worker that is alone.

    Attributes:
        worker: The worker.
        events: What others would have heard since it was told something.
    """

    def __init__(self, hub: Hub, name: str, part: Part, attempts: int) -> None:
        super().__init__()
        self.plan, self.memory, self.book = hub.plan, hub.memory, hub.book
        self.events: list[Event] = []
        self.worker = Worker(self, name, part, attempts)
        self.worker.enter()

    def tell(self, cue: Cue) -> Call | Awaits | Chooses | None:
        """Tell it something, and return what it waits for then."""
        self.events, self.worker.forgot = [], False
        actor = self.worker.actors[cue.number]
        if isinstance(actor.asks, Call):
            self.worker.hear(actor, actor.asks, cue.befalls, cue.answer)
        self._current = actor
        asks = actor.asks = actor.thread.switch(_bare(cue.answer))
        return Awaits(asks.number) if isinstance(asks, Actor) else asks

    def chooses(self, what: str) -> bool:
        """Wait for what the dice say."""
        return bool(self.wait(self.worker, Chooses(what)))

    def begun(self, actor: Actor) -> None:
        """Let it be heard that a thread begins."""
        self.worker.actors.append(actor)
        self.events.append(partial(Understudy.begin, records=actor.records))

    def called(self, actor: Actor, recordings: Sequence[Any]) -> None:
        """Let it be heard that a thread begins a call."""
        number = actor.number
        self.events.append(lambda one: one.hub.called(one.actors[number], recordings))

    def acknowledged(self, actor: Actor, recordings: Sequence[Any], outcomes: Sequence[Came]) -> None:
        """Let be heard what a thread was told."""
        number = actor.number
        self.events.append(lambda one: one.hub.acknowledged(one.actors[number], recordings, outcomes))

    def refused(self, actor: Actor, recordings: Sequence[Any], error: TrackerError) -> None:
        """Let be heard that a thread was told an error."""
        number, told = actor.number, _bare(error)
        self.events.append(lambda one: one.hub.refused(one.actors[number], recordings, told))

    def bury(self) -> None:
        """Let it be gone."""
        self.worker.bury()


class Prompted:
    """A thread that does as the worker's did."""

    def __init__(self, understudy: "Understudy", number: int) -> None:
        self._understudy = understudy
        self._number = number

    @property
    def dead(self) -> bool:
        """Whether it has come to an end."""
        return self._number in self._understudy.ended

    def switch(self, answer: object) -> Asks | None:
        """Hear an answer, and return what is asked next."""
        asks = self._understudy.told(self._number, answer)
        while isinstance(asks, Chooses):
            asks = self._understudy.told(self._number, self._understudy.hub.chooses(asks.what))
        if asks is None:
            self.throw()
        return self._understudy.actors[asks.number] if isinstance(asks, Awaits) else asks

    def throw(self, _: object = None) -> None:
        """Come to an end."""
        self._understudy.ended.add(self._number)


class Understudy(Player):
    """Plays a worker by heart.

    Attributes:
        hub: What it asks.
        ended: The numbers of its threads that have come to an end.
    """

    def __init__(self, hub: Hub, name: str, part: Part, role: Role) -> None:
        super().__init__(name, part)
        self.hub = hub
        self.ended: set[int] = set()
        self._role = role
        self._befalls: Befalls = Fate.ANSWERED
        self._stand(role.opening.place)

    def enter(self) -> None:
        """Begin its threads."""
        self._let_hear(self._role.opening)

    def begin(self, *, records: bool) -> None:
        """Begin a thread."""
        number = len(self.actors)
        self.hub.begun(Actor(self, number, records, Prompted(self, number)))

    def hear(self, actor: Actor, call: Call, befalls: Befalls, answer: object) -> None:  # noqa: ARG002 - its thread hears the answer
        """Hear what befell a request."""
        self._befalls = befalls

    def told(self, number: int, answer: object) -> Call | Awaits | Chooses | None:
        """Let a thread hear something, and return what it waits for then."""
        line = self._role.line(self._place, Cue(number, self._befalls, _bare(answer)))
        self._befalls = Fate.ANSWERED
        self._stand(line.place)
        self._let_hear(line)
        return line.asks

    def saved(self) -> Back:
        """Return what brings it back."""
        itself = saved(self)
        actors = [(one, one.asks, one.began, one.unheard, one.interrupted) for one in self.actors]

        def back() -> None:
            itself()
            for one, asks, began, unheard, interrupted in actors:
                one.asks, one.began, one.unheard, one.interrupted = asks, began, unheard, interrupted

        return back

    def _stand(self, place: Place) -> None:
        self._place, self.past = place, place.past

    def _let_hear(self, line: Line) -> None:
        for event in line.events:
            event(self)


def _bare(answer: T) -> T:
    """Return an answer; an error without the frames that it came through, which hold much that should be gone."""
    return copy(answer) if isinstance(answer, BaseException) else answer
