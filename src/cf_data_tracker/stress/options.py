"""What to run, and how far a run is: values that the command line makes and shows."""

import uuid
from dataclasses import dataclass, field
from typing import Final

from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.names import check_schema
from cf_data_tracker.stress.latency import PROFILES

STRATEGIES: Final = ("combining", "cas", "unsafe")
LATENCIES: Final = (*PROFILES, "none")
MAX_WORKERS: Final = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What to run.

    Attributes:
        workers: How many record at once, 1 to 512.
        files: Files that each records.
        strategy: `combining` as the library does, `cas` for conditional writes without help among workers, `unsafe`
            for read, change, and put back blindly.
        latency: Which published latencies to put in front of the store, which must then be at an `http://` endpoint;
            `none` leaves it as it is.
        schema: The schema to record into, which must not exist; one with a random name if left out.
        kill: The share of the workers that is killed in mid-run by SIGKILL, 0 to 1.

    Raises:
        InvalidNameError: One of them is out of its range.
    """

    workers: int = 8
    files: int = 25
    strategy: str = "combining"
    latency: str = "none"
    schema: str = field(default_factory=lambda: f"stress_{uuid.uuid4().hex[:12]}")
    kill: float = 0.0

    def __post_init__(self) -> None:
        check_schema(self.schema)
        if not 1 <= self.workers <= MAX_WORKERS:
            raise InvalidNameError(f"workers must be 1 to {MAX_WORKERS}, got {self.workers}")
        if self.files < 1:
            raise InvalidNameError(f"files must be 1 or more, got {self.files}")
        _check_choice("strategy", self.strategy, STRATEGIES)
        _check_choice("latency", self.latency, LATENCIES)
        if not 0 <= self.kill <= 1:
            raise InvalidNameError(f"kill must be a share between 0 and 1, got {self.kill}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the run is.

    Attributes:
        phase: What is being done.
        ready: Workers that have started.
        acknowledged: Recordings that were acknowledged.
        failed: Recordings that ended in an error.
        killed: Workers that were killed.
        conflicts: Writes that lost.
    """

    phase: str
    ready: int = 0
    acknowledged: int = 0
    failed: int = 0
    killed: int = 0
    conflicts: int = 0


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidNameError(f"{what} must be one of {', '.join(choices)}, got {value!r}")
