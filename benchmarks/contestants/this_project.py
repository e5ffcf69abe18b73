"""This project, with either strategy; the files `combining` and `cas` say which.

The store is examined before the race and the verdict handed to the workers, since on AWS nothing is examined.
"""

import pickle
from dataclasses import asdict
from pathlib import Path

from cf_data_tracker import NewFile, Tracker
from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.settings import Access
from contestants.harness import GIVE_UP_SECONDS, Contestant, File, Job


class ThisProject(Contestant):
    """Tuning: none; its defaults."""

    def __init__(self, job: Job, *, combining: bool) -> None:
        super().__init__(job)
        self._combining = combining
        self._connection_file = Path(job.directory, "connection")

    def prepare(self) -> None:
        """Examine the store."""
        connection = self._connection()
        connection.prove()
        self._connection_file.write_bytes(pickle.dumps(connection))

    def open(self) -> None:
        """Read once."""
        connection = pickle.loads(self._connection_file.read_bytes())  # noqa: S301 - written by `prepare`
        self._tracker = Tracker.over(connection)
        self._tracker.document("vitals")

    def record(self, file: File) -> None:
        """Record it."""
        self._tracker.record_many([NewFile(schema="vitals", **asdict(file))])

    def stored(self) -> list[str]:
        """Read the files of the document."""
        return [version.file for version in Tracker.over(self._connection()).history("vitals", "births")]

    def _connection(self) -> Connection:
        access = Access(
            bucket=self.job.bucket,
            endpoint_url=self.job.endpoint_url,
            region=self.job.region,
            access_key=self.job.access_key,
            secret_key=self.job.secret_key,
        )
        return Connection(access, patience=Patience(seconds=GIVE_UP_SECONDS), combining=self._combining)
