"""Who decides: dice that are told what to say, that are seeded and loaded, or with which nothing is the matter."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from simulation.actors import Actor, Late, Tired
from simulation.plans import NAMES


class Pruned(BaseException):
    """What follows from here has been tried already."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What came up.

    Attributes:
        came: Its place among the options.
        of: How many there were.
        fault: What befell somebody by it, if anything.
    """

    came: int
    of: int
    fault: str = ""


class Dice(Protocol):
    """Who decides."""

    def pick(self, what: str, options: Sequence[object]) -> int:
        """Return the place of one of the options; at 0 is what happens when nothing is the matter."""

    def before_turn(self, place: int, state: Callable[[], int]) -> None:
        """Hear that it is somebody's turn.

        Args:
            place: How many choices there have been.
            state: What all that follows depends on, as a number.

        Raises:
            Pruned: Do not go on.
        """


class Steady:
    """Nothing is the matter, and what was begun last is done first."""

    def pick(self, what: str, options: Sequence[object]) -> int:
        """Return what goes well."""
        return len(options) - 1 if what == "turn" else 0

    def before_turn(self, place: int, state: Callable[[], int]) -> None:
        """Go on."""


class Told:
    """What is told to the end of the telling, and then the first of the options each time."""

    def __init__(self, telling: Sequence[int] = ()) -> None:
        self.tell(telling)

    def tell(self, telling: Sequence[int]) -> None:
        """Tell what to say."""
        self._rest = iter(telling)

    def pick(self, what: str, options: Sequence[object]) -> int:  # noqa: ARG002
        """Return the next; what is told of a longer plan may be too much for a shorter one."""
        return min(next(self._rest, 0), len(options) - 1)

    def before_turn(self, place: int, state: Callable[[], int]) -> None:
        """Go on."""


LAST: Final = 1e-12
FIRST: Final = 1e12
FAVOURS: Final = (1.0, 1.0, 1.0, LAST, FIRST)
"""What one worker is to the others: no different, the last or the first whenever there is a choice."""

CHANGE: Final = 0.03
"""How often it changes who is slow."""


class Rolled:
    """Seeded dice, loaded: some workers are slow for a while, so that others overtake them.

    Args:
        seed: The seed.
        favour: What one worker is to the others, if not what the seed says.

    Attributes:
        favoured: The letter of that worker.
    """

    def __init__(self, seed: str, *, favour: float | None = None) -> None:
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
        self._favour = favour or self._roll.choice(FAVOURS)
        self.favoured = self._roll.choice(NAMES[:3])

    def pick(self, what: str, options: Sequence[object]) -> int:
        """Return what comes up."""
        if what == "turn":
            return options.index(self._turn(options))
        if what == "last":
            return self._roll.randrange(len(options))
        return self._roll.randrange(1, len(options)) if self._roll.random() < self._odds[what] else 0

    def before_turn(self, place: int, state: Callable[[], int]) -> None:  # noqa: ARG002
        """Change who is slow, now and then."""
        if self._roll.random() < CHANGE:
            self._weights.clear()

    def _turn(self, options: Sequence[object]) -> object:
        rare = [one for one in options if isinstance(one, (Late, Tired))]
        actors = [one for one in options if isinstance(one, Actor)]
        if rare and (not actors or self._roll.random() < self._landing):
            return self._roll.choice(rare)
        return self._roll.choices(actors, [self._weight(one) for one in actors])[0]

    def _weight(self, one: Actor) -> float:
        if one.worker.name == self.favoured and self._favour != 1.0:
            return self._favour
        return self._weights.setdefault(one.name, self._roll.choice(self._speeds))
