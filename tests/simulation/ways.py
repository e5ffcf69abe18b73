"""A small plan in every way: all that the dice could say, but what has been tried already from the same state.

A state is all that what follows depends on: what the store holds and what is under way, what each worker that is not
gone was ever told, and what the laws know. Two orders of requests that do not touch each other end in one state, so
one of them is played and the other is cut short there.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from simulation.dice import Choice, Pruned, Told
from simulation.plans import Plan
from simulation.play import Interleaving
from simulation.shrink import played


@dataclass
class Ways:
    """The ways in which a plan can go.

    Attributes:
        plan: The plan.
        cuts: Whether runs are cut short.
        ended: Runs that came to their end.
        cut: Runs that were cut short where somebody had been.
        schedules: How many runs there would have been with none cut short.
        faults: What befell requests, each time in another state or another way.
    """

    plan: Plan
    cuts: bool = True
    ended: int = 0
    cut: int = 0
    schedules: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[Interleaving]:
        """Play each, and yield those that came to their end."""
        tried = _Tried(cuts=self.cuts)
        telling: list[int] | None = []
        while telling is not None:
            run = Interleaving(self.plan, _Untried(telling, tried))
            try:
                yield played(run)
                self.ended, number = self.ended + 1, 1
            except Pruned:
                self.cut, number = self.cut + 1, tried.schedules[tried.last]
            self.faults.update(one.fault for one in run.tape[len(telling) - 1 : len(telling)] if one.fault)
            telling = tried.next_telling(run.tape, number)
        self.schedules = tried.total

    @property
    def counts(self) -> Mapping[str, int]:
        """All that was counted."""
        numbers = {"runs to their end": self.ended, "cut short": self.cut, "schedules": self.schedules}
        return numbers | {"faults": self.faults.total()} | as_words(self.faults)


def as_words(faults: Counter[str]) -> dict[str, int]:
    """Return how many faults there were of each kind, in the words of a report."""
    return {name.lower().replace("_", " "): number for name, number in sorted(faults.items())}


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
