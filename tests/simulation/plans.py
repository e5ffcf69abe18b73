"""What is planned: who is there, what each does, and what may befall their requests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum, auto
from typing import Final, TypeAlias

from cf_data_tracker.engine.combine import TUNING, Tuning
from cf_data_tracker.errors import DeniedError, StoreError
from cf_data_tracker.store import Conflict, Unanswered
from fates import Fate

NAMES: Final = "ABCDEFGHIJKL"
PAGE: Final = 1000


class End(Enum):
    """What befalls a worker while it waits for an answer."""

    DIES_BEFORE = auto()  # the request is never sent
    DIES_AFTER = auto()  # it was applied
    DIES_MEANWHILE = auto()  # it is under way, and applied later
    INTERRUPTED = auto()  # it was applied, and the worker goes on with the next


class Wait(Enum):
    """What befalls a thread while it waits for others of its process."""

    INTERRUPTED = auto()  # and goes on with the next commit
    TIMED_OUT = auto()  # its patience ends


Befalls: TypeAlias = Fate | End | Wait

ENDS: Final = tuple(End)
DEATHS: Final = ENDS[:3]
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
    "wait": tuple(Wait),
}
"""What may befall each kind of request: of the document `read` and `write`, of the inbox the others. A `wait` is for
another thread of the process."""

CRUCIAL: Final[Mapping[str, tuple[Befalls, ...]]] = {
    "read": (Fate.LOST, End.DIES_BEFORE),
    "write": (Fate.ANSWER_LOST, Fate.LOST, Fate.LATE, Fate.CONFLICT, Fate.SLOW_DOWN, *DEATHS),
    "publish": (Fate.ANSWER_LOST, Fate.LOST, Fate.LATE, Fate.DENIED, Fate.SLOW_DOWN, *DEATHS),
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

EAGER: Final = replace(TUNING, losses=1)
"""Takes one lost write for contention."""

PUSHY: Final = replace(TUNING, losses=0)
"""Takes anything for contention, so a worker publishes at once."""

DUE: Final = replace(TUNING, due_every=2, due_after=0)
"""Lists the inbox before every second revision, however quiet it is: so what was published is there after 3 commits."""

HOT: Final = replace(EAGER, beside_every=1, beside_crowd=1, ahead=1)
"""Looks into the inbox with every commit."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class Part:
    """What one worker does.

    Attributes:
        commits: The files of each of its commits, like `FY2023/a`; with a `+`, one too large for an inbox key. Of a
            clean document, the version in place of the file: `FY2023/3`.
        tuning: How it combines; `None` for one that does not.
        lists: Whether it may list the bucket.
        threads: How many threads share its tracker, and do the commits in turn.
    """

    commits: Sequence[Sequence[str]]
    tuning: Tuning | None = TUNING
    lists: bool = True
    threads: int = 1

    def __repr__(self) -> str:
        return _as_code(self)


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
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
        slow: Whether the threads of a worker are slow to hear answers, and one of them reads the document.
        page: How many keys one LIST gives.
        within: After how many commits, whoever makes them, what was published is in the document; 0: after any number.
        alike: Whether the workers differ in nothing but names: then they begin in their order, since any other is the
            same but for names.
    """

    parts: Sequence[Part]
    faults: int = 0
    befalls: Mapping[str, tuple[Befalls, ...]] = field(default_factory=lambda: CRUCIAL)
    attempts: int = 6
    calls: int = 1
    clean: bool = False
    fresh: bool = False
    versioned: bool = False
    slow: bool = False
    page: int = PAGE
    within: int = 0
    alike: bool = False

    def __repr__(self) -> str:
        return _as_code(self)

    def befalling(self, kind: str) -> Sequence[Befalls]:
        """Return what may befall a request of a kind."""
        return self.befalls.get(kind, ())


def _as_code(one: Part | Plan) -> str:
    """Return it as Python, as far as it is not as it is anyway."""
    default = Part(commits=()) if isinstance(one, Part) else Plan(parts=())
    said = {each.name: getattr(one, each.name) for each in fields(one)}
    own = [f"{name}={_code_of(value)}" for name, value in said.items() if value != getattr(default, name)]
    return f"{type(one).__name__}({', '.join(own)})"


def _code_of(value: object) -> str:
    if isinstance(value, Tuning):
        own = {each.name: getattr(value, each.name) for each in fields(value)}
        said = [f"{name}={number!r}" for name, number in own.items() if number != getattr(TUNING, name)]
        return f"Tuning({', '.join(said)})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_code_of(each)}' for key, each in value.items())}}}"
    if isinstance(value, tuple):
        return f"({''.join(f'{_code_of(each)}, ' for each in value).rstrip()})"
    return str(value) if isinstance(value, Enum) else repr(value)
