"""delta-rs: each recording is a row appended to one Delta table, in a commit of its own."""

from dataclasses import asdict

import pyarrow as pa  # type: ignore[import-not-found,unused-ignore]
from deltalake import (  # type: ignore[import-not-found,unused-ignore]
    CommitProperties,
    DeltaTable,
    write_deltalake,
)
from deltalake.exceptions import CommitFailedError  # type: ignore[import-not-found,unused-ignore]
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from contestants.harness import GIVE_UP_SECONDS, Contestant, File, Job, main

SCHEMA = pa.schema([(name, pa.int64() if name == "file_size" else pa.string()) for name in File.__dataclass_fields__])


class Delta(Contestant):
    """Commits by put-if-absent, for which it needs no lock table.

    Tuning: an open table is kept, so that a commit reads only what is new in the log, and delta-rs makes a hundred
    attempts of its own in place of fifteen, before the row is written again. One attempt makes it slower.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._url = f"s3://{job.bucket}/vitals"
        self._options = {
            "AWS_ENDPOINT_URL": job.endpoint_url,
            "AWS_REGION": job.region,
            "AWS_ACCESS_KEY_ID": job.access_key,
            "AWS_SECRET_ACCESS_KEY": job.secret_key,
            "AWS_ALLOW_HTTP": "true",
            "AWS_CONDITIONAL_PUT": "etag",
        }

    def prepare(self) -> None:
        """Create the table."""
        DeltaTable.create(self._url, SCHEMA, storage_options=self._options)

    def open(self) -> None:
        """Read the log."""
        self._table = DeltaTable(self._url, storage_options=self._options)

    @retry(
        retry=retry_if_exception_type(CommitFailedError),
        wait=wait_random_exponential(multiplier=0.1, max=5.0),
        stop=stop_after_delay(GIVE_UP_SECONDS),
        reraise=True,
    )
    def record(self, file: File) -> None:
        """Append a row."""
        row = pa.Table.from_pylist([asdict(file)], schema=SCHEMA)
        write_deltalake(self._table, row, mode="append", commit_properties=CommitProperties(max_commit_retries=100))

    def stored(self) -> list[str]:
        """Read the column of files."""
        self.open()
        return list(self._table.to_pyarrow_table(columns=["file"])["file"].to_pylist())


if __name__ == "__main__":
    main(Delta)
