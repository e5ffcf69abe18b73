"""What the workers of one run have told so far, whatever they run on."""

import threading
from collections.abc import Callable

from cf_data_tracker.connection import Connection
from cf_data_tracker.stats import Stats
from cf_data_tracker.stress.options import Options, Progress
from cf_data_tracker.stress.plan import plan
from cf_data_tracker.stress.verdict import Acknowledged
from cf_data_tracker.stress.watch import Committed, total
from cf_data_tracker.stress.worker import Account, Failed, Job


class Crew:
    """The workers of one run: what each is to do, and what all have told. Safe to tell from any thread.

    Attributes:
        acknowledged: What they were told is recorded.
        failed: What ended in an error.
        killed: Workers killed on purpose, by number.
        died: Workers that ended by themselves before they had finished.
        repeating: Whether a job may be run again, unknown to us, if the worker that ran it is lost.
        stats: What they asked of the store.
    """

    def __init__(self, connection: Connection, options: Options, on_progress: Callable[[Progress], None]) -> None:
        self.acknowledged: list[Acknowledged] = []
        self.failed: list[Failed] = []
        self.killed: set[int] = set()
        self.died = 0
        self.repeating = False
        self.stats = Stats()
        self._commits: dict[int, Committed] = {}
        self._connection = connection
        self._options = options
        self._files = plan(options.schema, options.workers, options.files)
        self._on_progress = on_progress
        self._lock = threading.Lock()

    @property
    def commits(self) -> list[Committed]:
        """The commits that were seen, each once, in their order."""
        return [self._commits[revision] for revision in sorted(self._commits)]

    def jobs(self) -> list[Job]:
        """Return what each worker is to do."""
        strategy, connection = self._options.strategy, self._connection
        return [
            Job(number=number, connection=connection, strategy=strategy, files=tuple(files))
            for number, files in enumerate(self._files)
        ]

    def hear(self, account: Account) -> None:
        """Take what a worker has to tell."""
        with self._lock:
            for result in account.results:
                if isinstance(result, Acknowledged):
                    self.acknowledged.append(result)
                else:
                    self.failed.append(result)
            # Workers that share a process see each other's commits.
            self._commits.update({commit.revision: commit for commit in account.commits})
            self.stats = total(self.stats, account.stats)

    def lose(self, worker: int, error: BaseException) -> None:
        """Take note that a worker ended in an error, and told nothing."""
        failed = Failed(worker=worker, file="", kind=type(error).__name__, message=str(error))
        with self._lock:
            self.died += 1
            self.failed.append(failed)

    def uncertain(self) -> frozenset[str]:
        """Return the files of which a recording ended without an acknowledgement, as far as can be known."""
        told = set() if self.repeating else {(done.worker, done.file) for done in self.acknowledged}
        return frozenset(
            new.file for worker, files in enumerate(self._files) for new in files if (worker, new.file) not in told
        )

    def show(self, phase: str = "recording", ready: int | None = None) -> None:
        """Show how far the workers are."""
        progress = Progress(
            phase=phase,
            ready=len(self._files) if ready is None else ready,
            acknowledged=len(self.acknowledged),
            failed=len(self.failed),
            killed=len(self.killed),
            conflicts=self.stats.conflicts,
        )
        self._on_progress(progress)
