"""Plans that a seed makes: 2 to 12 workers with many commits, some that combine and some that do not."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from cf_data_tracker.engine.combine import TUNING
from simulation.dice import Rolled
from simulation.plans import ALL, DUE, EAGER, ENDS, HOT, NAMES, PAGE, PUSHY, REFUSALS, Part, Plan, Wait
from simulation.play import Interleaving

TUNINGS: Final = (
    TUNING,
    EAGER,
    EAGER,
    PUSHY,
    HOT,
    DUE,
    replace(EAGER, beside_every=2, beside_crowd=1, ahead=2),
    replace(EAGER, beside_every=1, memory=0.0),
    replace(EAGER, memory=3.0, eagerness=0.3, growth=1.5),
)
RAW_FILES: Final = ("FY2023/a", "FY2023/b", "FY2023/c", "FY2023/d+", "2024-01/e", "2024-01/f+")


def at_random(seed: str, *, clean: bool = False, page: int = PAGE, threads: Sequence[int] = (1,)) -> Interleaving:
    """Return a run of a plan that the seed makes.

    Args:
        seed: The seed.
        clean: Whether it is a clean document.
        page: How many keys one LIST gives.
        threads: How many threads may share a tracker.
    """
    roll = random.Random(f"plan {seed}")
    crowd = roll.choice([2, 2, 2, 3, 3, 4, 5, roll.randint(6, 12)])
    parts = [_part(roll, NAMES[place], threads, clean=clean) for place in range(crowd)]
    without = roll.choice([(), ENDS, REFUSALS, (*ENDS, *REFUSALS, *Wait)])
    plan = Plan(
        parts=parts,
        faults=roll.choice([0, 1, 2, 4, 8, 16]),
        befalls={kind: tuple(one for one in befalls if one not in without) for kind, befalls in ALL.items()},
        attempts=roll.choice([3, 4, 6, 8, 12, 25]),
        calls=roll.choice([1, 1, 3]),
        clean=clean,
        fresh=roll.random() < 0.3,
        versioned=roll.random() < 0.4,
        slow=roll.random() < 0.3,
        page=page,
    )
    return Interleaving(plan, Rolled(seed))


def _part(roll: random.Random, name: str, threads: Sequence[int], *, clean: bool) -> Part:
    number = roll.choice(threads)
    commits = roll.choice([1, 1, 2, 3, 5]) + number - 1
    return Part(
        commits=[_files(roll, f"{name}{place}", clean=clean) for place in range(commits)],
        tuning=None if roll.random() < 0.15 else roll.choice(TUNINGS),
        lists=roll.random() < 0.95,
        threads=number,
    )


def _files(roll: random.Random, own: str, *, clean: bool) -> list[str]:
    number = roll.choice([1, 1, 1, 2, 3])
    if clean:
        return [f"{name}/{roll.randint(1, 6)}{roll.choice(['', '', '+'])}" for name in roll.sample("FGH", number)]
    mine = [f"FY2023/{own}{place}{roll.choice(['', '', '+'])}" for place in range(number)]
    return mine if roll.random() < 0.6 else roll.choices(RAW_FILES, k=number)
