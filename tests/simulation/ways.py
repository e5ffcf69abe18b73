"""A small plan in every way: all that the dice could say, but what has been tried already from the same state.

Understudies play by heart where they can, and are brought back to each place from where there is another way. Where
they cannot, each run begins anew.

A state is all that what follows depends on: what the store holds and what is under way, what each worker that is not
gone was ever told, and what the laws know. Two orders of requests that do not touch each other end in one state, so
one of them is played and the other is cut short there.
"""

import gc
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from fates import Fate
from simulation.dice import Choice, Pruned, Told
from simulation.laws import Broken
from simulation.plans import End, Plan, Wait
from simulation.play import Interleaving
from simulation.shrink import played
from simulation.understudy import Company, can_be_learnt

MANY: Final = 50_000
"""After so many states, what has been learnt by then is left alone by the garbage collector, which would look through
all of it again and again."""

Ended: TypeAlias = Generator[Interleaving, None, int]
"""Runs that came to their end, and at last how many schedules there were."""


@dataclass
class Ways:
    """The ways in which a plan can go.

    Attributes:
        plan: The plan.
        cuts: Whether runs are cut short.
        anew: Whether each run is played from its beginning, as it is anyway where nobody can play a part by heart.
        ended: Runs that came to their end.
        cut: Runs that were cut short where somebody had been.
        schedules: How many runs there would have been with none cut short.
        faults: What befell requests, each time in another state or another way.
    """

    plan: Plan
    cuts: bool = True
    anew: bool = False
    ended: int = 0
    cut: int = 0
    schedules: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    _known: dict[int, int] = field(default_factory=dict)  # by state, how many schedules go on from there

    def __iter__(self) -> Iterator[Interleaving]:
        """Play each, and yield those that came to their end; what one of them holds may be gone with the next."""
        return self._anew() if self.anew or not can_be_learnt(self.plan) else self._by_heart()

    def _by_heart(self) -> Iterator[Interleaving]:
        company, dice = Company(), Told()
        run = Interleaving(self.plan, dice, company)
        try:
            run.prepare()
            self.schedules = yield from self._onwards(run, dice)
        except Broken:
            played(Interleaving(self.plan, Told([one.came for one in run.tape])))
            raise
        finally:
            company.dismiss()
            gc.unfreeze()

    def _onwards(self, run: Interleaving, dice: Told) -> Ended:
        """Go on in every way from where the run is, and be back there before each but the first."""
        number, goes_on, back, begun = 0, run.goes_on(), run.saved(), len(run.tape)
        telling: list[int] | None = []
        while telling is not None:
            dice.tell(telling)
            if goes_on:
                run.turn()
            else:
                run.end()
            tape = run.tape[begun:]
            self._note_fault(tape, telling)
            number += yield from self._then(run, dice) if goes_on else self._at_its_end(run)
            telling = following(tape)
            if telling is not None:
                back()
        return number

    def _then(self, run: Interleaving, dice: Told) -> Ended:
        """Go on, unless somebody has been there."""
        state = run.state()
        if state in self._known and self.cuts:
            self.cut += 1
        else:
            self._known[state] = yield from self._onwards(run, dice)
            if len(self._known) % MANY == 0:
                gc.freeze()
        return self._known[state]

    def _at_its_end(self, run: Interleaving) -> Ended:
        self.ended += 1
        yield run
        return 1

    def _anew(self) -> Iterator[Interleaving]:
        tried = _Tried(cuts=self.cuts)
        telling: list[int] | None = []
        while telling is not None:
            run = Interleaving(self.plan, _Untried(telling, tried))
            try:
                yield played(run)
                self.ended, number = self.ended + 1, 1
            except Pruned:
                self.cut, number = self.cut + 1, tried.schedules[tried.last]
            self._note_fault(run.tape, telling)
            telling = tried.next_telling(run.tape, number)
        self.schedules = tried.total

    def _note_fault(self, tape: Sequence[Choice], telling: Sequence[int]) -> None:
        """Note what befell somebody by the last that was told, which has not been told before."""
        self.faults.update(one.fault for one in tape[len(telling) - 1 : len(telling)] if one.fault)

    @property
    def counts(self) -> Mapping[str, int]:
        """All that was counted."""
        numbers = {"runs to their end": self.ended, "cut short": self.cut, "schedules": self.schedules}
        return numbers | {"faults": self.faults.total()} | as_words(self.faults)


KINDS: Final = sorted({one.name for one in (*Fate, *End, *Wait)} - {Fate.ANSWERED.name})


def as_words(faults: Mapping[str, int]) -> dict[str, int]:
    """Return how many faults there were of each kind, in the words of a report, and always in the same order."""
    return {name.lower().replace("_", " "): faults.get(name, 0) for name in KINDS}


def in_every_way(plan: Plan) -> Mapping[str, int]:
    """Play a plan in every way, see to it that somebody is told something in each, and return what was counted."""
    ways = Ways(plan)
    assert all(sum(way.answers.values()) or way.befallen for way in ways)
    return ways.counts


def following(tape: Sequence[Choice]) -> list[int] | None:
    """Return what to tell after all that was told on a tape: its last choice that has another option, and that one."""
    for place in range(len(tape) - 1, -1, -1):
        if tape[place].came + 1 < tape[place].of:
            return [*(one.came for one in tape[:place]), tape[place].came + 1]
    return None


class _Tried:
    """The states in which somebody has been, and how many schedules go on from each."""

    def __init__(self, *, cuts: bool) -> None:
        self.schedules: dict[int, int] = {}
        self._cuts = cuts
        self.last = 0  # where a run was cut short
        self.total = 0
        self._open: list[tuple[int, int]] = []  # places and states on the way to where we are
        self._numbers: list[int] = []  # by place, how many schedules have gone on from there

    def meet(self, place: int, state: int) -> bool:
        """Return whether somebody has been there."""
        self.last = state
        if self._cuts and state in self.schedules:
            return True
        self._open.append((place, state))
        return False

    def next_telling(self, tape: list[Choice], number: int) -> list[int] | None:
        """Return what is to be told after a tape from whose end a number of schedules go on; `None` at the end."""
        numbers = self._numbers
        numbers.extend([0] * (len(tape) - len(numbers)))
        self._close(len(tape), number)
        while tape and tape[-1].came + 1 == tape[-1].of:
            tape.pop()
            number += numbers.pop()
            self._close(len(tape), number)
        if not tape:
            self.total = number
            return None
        numbers[-1] += number
        return [*(one.came for one in tape[:-1]), tape[-1].came + 1]

    def _close(self, place: int, number: int) -> None:
        """Note how many schedules go on from the states before a place's choice."""
        while self._open and self._open[-1][0] == place:
            self.schedules[self._open.pop()[1]] = number


class _Untried(Told):
    """What is told, and what has not been tried after it."""

    def __init__(self, telling: list[int], tried: _Tried) -> None:
        super().__init__(telling)
        self._told = len(telling)
        self._tried = tried

    def before_turn(self, place: int, state: Callable[[], int]) -> None:
        """Stop where somebody has been."""
        if place >= self._told and self._tried.meet(place, state()):
            raise Pruned
