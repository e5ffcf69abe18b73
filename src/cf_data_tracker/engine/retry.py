"""Retries."""

from dataclasses import dataclass

from cf_data_tracker.names import check_seconds
from cf_data_tracker.store import Unanswered


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long to go on, and how to wait between attempts: full jitter up to a bound that doubles.

    Attributes:
        attempts: Attempts at most.
        seconds: No attempt begins later than this after the first; one that has begun is awaited.
        first: The bound of the first wait, in seconds: about the time of one write to S3 (p50 61 ms).
        longest: The bound of any wait, in seconds.

    Raises:
        InvalidNameError: `seconds` is no time that can be waited for.
    """

    attempts: int = 200
    seconds: float = 120.0
    first: float = 0.05
    longest: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", check_seconds("timeout", self.seconds))

    def bound(self, attempt: int, signal: BaseException | None) -> float:
        """Return the bound of the wait after `attempt` (1 for the first); a store that asks for less waits longer."""
        slower = 4.0 if isinstance(signal, Unanswered) and signal.slow else 1.0
        return slower * min(self.longest, self.first * 2.0 ** min(attempt - 1, 30))
