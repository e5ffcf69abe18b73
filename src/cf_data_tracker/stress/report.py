"""What came of a run: its figures, and the same as plain data. How they look is left to `words` and `page`."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from cf_data_tracker.stats import Stats
from cf_data_tracker.stress.options import Options
from cf_data_tracker.stress.verdict import Acknowledged, Verdict
from cf_data_tracker.stress.watch import Committed
from cf_data_tracker.stress.worker import Failed

PERCENTILES: Final[Mapping[str, int]] = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What came of a run.

    Attributes:
        options: What was run.
        executor: What the workers ran on: `processes`, `threads`, `dask`, or the class of another executor.
        endpoint: The store.
        seconds: From the word to the last report.
        acknowledged: What workers were told.
        failed: What ended in an error.
        killed: Workers killed on purpose.
        died: Workers that ended of themselves before they had finished.
        stats: What all connections of the workers asked of the store, from the word to their end.
        commits: The commits that were seen. Blind writes are not, nor those whose answer was lost, or came as the
            worker was killed.
        versions: Versions in the document at the end.
        revision: The document's revision at the end, the number of commits.
        verdict: What the judge found.
    """

    options: Options
    executor: str
    endpoint: str
    seconds: float
    acknowledged: Sequence[Acknowledged]
    failed: Sequence[Failed]
    killed: int
    died: int
    stats: Stats
    commits: Sequence[Committed]
    versions: int
    revision: int
    verdict: Verdict

    @property
    def per_second(self) -> float:
        """Recordings acknowledged per second."""
        return len(self.acknowledged) / self.seconds if self.seconds > 0 else 0.0

    @property
    def latencies(self) -> list[float]:
        """How long each acknowledged recording took, in seconds, the quickest first."""
        return sorted(done.ended - done.began for done in self.acknowledged)

    def latency(self, percent: int) -> float:
        """Return the time, in seconds, within which so many percent of the recordings were acknowledged."""
        times = self.latencies
        return times[max(0, -(-len(times) * percent // 100) - 1)] if times else 0.0

    @property
    def requests(self) -> int:
        """Requests of all kinds."""
        return sum(self.stats.requests.values())

    @property
    def attempts(self) -> int:
        """Writes that were tried."""
        return self.stats.requests.get("write", 0)

    def per_recording(self, number: int) -> float:
        """Return how many of something there were for each acknowledged recording, on average."""
        return number / len(self.acknowledged) if self.acknowledged else 0.0

    @property
    def mean_batch(self) -> float | None:
        """How many recordings a commit carried on average; `None` where no commit was seen."""
        return statistics.fmean(commit.recordings for commit in self.commits) if self.commits else None

    @property
    def max_batch(self) -> int | None:
        """How many recordings the largest commit carried; `None` where no commit was seen."""
        return max((commit.recordings for commit in self.commits), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            **asdict(self.options),
            "executor": self.executor,
            "endpoint": self.endpoint,
            "seconds": self.seconds,
            "recordings": len(self.acknowledged),
            "recordings_per_second": self.per_second,
            "latency_seconds": {name: self.latency(percent) for name, percent in PERCENTILES.items()},
            "attempts_per_recording": self.per_recording(self.attempts),
            "requests_per_recording": self.per_recording(self.requests),
            "requests": dict(self.stats.requests),
            "conflicts": self.stats.conflicts,
            "commits": self.revision,
            "batch": {"mean": self.mean_batch, "max": self.max_batch},
            "combined": self.stats.combined,
            "failed": [asdict(failed) for failed in self.failed],
            "killed": self.killed,
            "died": self.died,
            "versions": self.versions,
            "lost": self.verdict.lost,
            "duplicated": self.verdict.duplicated,
            "clean": self.verdict.clean,
            "violations": list(self.verdict.violations),
        }
