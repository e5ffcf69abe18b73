"""From a run in which a law is broken to the shortest one that can be found, as a story, and as code to run it again.

What the dice said is a tape of numbers, of which 0 is what happens when nothing is the matter. So a run is made
simpler by leaving out workers, commits and faults of its plan, and by setting the tape's numbers to 0 or leaving them
out; whatever still breaks a law is kept. A smaller plan needs another tape: some are tried that are rolled.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from simulation.dice import Dice, Rolled, Told
from simulation.laws import Broken
from simulation.plans import Befalls, Part, Plan
from simulation.play import Interleaving

SEEDS: Final = 60
"""How many rolled tapes are tried for a smaller plan."""

TRIES: Final = 3000
"""How many runs are made at most to shorten one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A run in which a law is broken.

    Attributes:
        law: What does not hold.
        plan: The plan.
        telling: What the dice said.
        story: What happened.
        befallen: How many requests what befell.
    """

    law: str
    plan: Plan
    telling: Sequence[int]
    story: Sequence[str]
    befallen: Counter[str]

    @property
    def weight(self) -> tuple[int, int, int]:
        """How much there is to read."""
        return self.befallen.total(), len(self.story), sum(1 for one in self.telling if one)

    @property
    def code(self) -> str:
        """Python that breaks the law again."""
        return f"{IMPORTS}\nagain({self.plan!r}, {list(self.telling)})"

    def __str__(self) -> str:
        return "\n".join([self.law, *self.story, "", "To run it again:", "", self.code])


IMPORTS: Final = """\
from cf_data_tracker.engine.combine import Tuning
from fates import Fate
from simulation.plans import End, Part, Plan, Wait
from simulation.shrink import again
"""


def again(plan: Plan, telling: Sequence[int]) -> None:
    """Play a plan once more as the dice said then.

    Raises:
        Broken: A law does not hold; what happened stands below it.
    """
    found = tried(plan, Told(telling))
    if found is not None:
        raise Broken("\n".join([found.law, *found.story]))


def played(run: Interleaving) -> Interleaving:
    """Play a run; if a law is broken, tell the shortest story of it that can be found.

    Raises:
        Broken: A law does not hold.
    """
    try:
        return run.run()
    except Broken as broken:
        found = failure_of(run, broken)
        raise Broken(f"{found.law}\n{len(found.story)} lines, shrunk to:\n\n{shrunk(found)}") from broken


def tried(plan: Plan, dice: Dice) -> Failure | None:
    """Return what is wrong with a run, if anything."""
    run = Interleaving(plan, dice)
    try:
        run.run()
    except Broken as broken:
        return failure_of(run, broken)
    return None


def shrunk(failure: Failure) -> Failure:
    """Return a shorter run in which a law is broken, if there is one."""
    for step in (_with_less, _told_less, _with_fewer_faults):
        failure = _repeated(step, failure)
    return failure


def failure_of(run: Interleaving, broken: Broken) -> Failure:
    """Return what is wrong with a run, once a law was broken in it."""
    telling = [one.came for one in run.tape]
    while telling and telling[-1] == 0:
        telling.pop()
    return Failure(law=str(broken), plan=run.plan, telling=telling, story=run.story, befallen=run.befallen)


def _repeated(step: "Callable[[Failure], Iterator[Failure | None]]", failure: Failure) -> Failure:
    """Take a step for as long as it leads to something shorter, though not for ever."""
    tries = TRIES
    while tries:
        tries, found = _first(step(failure), tries)
        if found is None:
            break
        failure = found
    return failure


def _first(runs: "Iterator[Failure | None]", tries: int) -> "tuple[int, Failure | None]":
    """Return the first failure among so many runs, and how many runs are left."""
    for found in runs:
        tries -= 1
        if found is not None or tries == 0:
            return tries, found
    return tries, None


def _with_less(failure: Failure) -> "Iterator[Failure | None]":
    """Yield what is wrong with runs of smaller plans."""
    for plan in smaller(failure):
        yield tried(plan, Told(failure.telling))
        yield from (tried(plan, Rolled(f"less {seed}")) for seed in range(SEEDS))


def _told_less(failure: Failure) -> "Iterator[Failure | None]":
    """Yield what is wrong with runs of the same plan that have less to tell."""
    for telling in shorter(failure.telling):
        found = tried(failure.plan, Told(telling))
        yield found if found is not None and found.weight < failure.weight else None


def _with_fewer_faults(failure: Failure) -> "Iterator[Failure | None]":
    """Yield what is wrong with the same run where no more may befall anybody than did."""
    if failure.befallen.total() < failure.plan.faults:
        yield tried(replace(failure.plan, faults=failure.befallen.total()), Told(failure.telling))


def shorter(telling: Sequence[int]) -> Iterator[list[int]]:
    """Yield tellings with less in them: large pieces first."""
    size = len(telling)
    while size:
        for start in range(0, len(telling), size):
            before, piece, after = telling[:start], telling[start : start + size], telling[start + size :]
            yield [*before, *after]
            if any(piece):
                yield [*before, *[0] * len(piece), *after]
        size //= 2


def smaller(failure: Failure) -> Iterator[Plan]:
    """Yield plans with less in them: fewer workers first."""
    plan = failure.plan
    for place in range(len(plan.parts) if len(plan.parts) > 1 else 0):
        yield replace(plan, parts=[*plan.parts[:place], *plan.parts[place + 1 :]])
    for place, part in enumerate(plan.parts):
        for less in _smaller_parts(part):
            yield replace(plan, parts=[*plan.parts[:place], less, *plan.parts[place + 1 :]])
    if failure.befallen.total() < plan.faults:
        yield replace(plan, faults=failure.befallen.total())
    befell = _only_what_befell(failure)
    if befell != plan.befalls:
        yield replace(plan, befalls=befell)
    plain = Plan(parts=())
    for name in ("slow", "versioned", "fresh", "calls", "page"):
        if getattr(plan, name) != getattr(plain, name):
            yield replace(plan, **{name: getattr(plain, name)})


def _only_what_befell(failure: Failure) -> Mapping[str, tuple[Befalls, ...]]:
    befalls = {
        kind: tuple(one for one in options if f"{kind} {one.name}" in failure.befallen)
        for kind, options in failure.plan.befalls.items()
    }
    return {kind: options for kind, options in befalls.items() if options}


def _smaller_parts(part: Part) -> Iterator[Part]:
    for number in range(len(part.commits) if len(part.commits) > 1 else 0):
        yield replace(part, commits=[*part.commits[:number], *part.commits[number + 1 :]])
    for number, files in enumerate(part.commits):
        if len(files) > 1:
            yield replace(part, commits=[*part.commits[:number], files[:1], *part.commits[number + 1 :]])
    if part.threads > 1:
        yield replace(part, threads=part.threads - 1)
    if not part.lists:
        yield replace(part, lists=True)
    if part.tuning is not None:
        yield replace(part, tuning=None)
