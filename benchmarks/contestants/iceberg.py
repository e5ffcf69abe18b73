"""PyIceberg on its SQL catalog: each recording is a row appended to one table, in a snapshot of its own.

The warehouse is in the bucket. The catalog is a SQLite file on local disk, which every worker reaches in microseconds:
a catalog that workers on several machines can share is slower.
"""

from dataclasses import asdict

import pyarrow as pa  # type: ignore[import-not-found,unused-ignore]
from pyiceberg.catalog.sql import SqlCatalog  # type: ignore[import-not-found,unused-ignore]
from pyiceberg.exceptions import CommitFailedException  # type: ignore[import-not-found,unused-ignore]
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random_exponential

from contestants.harness import GIVE_UP_SECONDS, Contestant, File, Job, main

TABLE = "vitals.births"
SCHEMA = pa.schema([(name, pa.int64() if name == "file_size" else pa.string()) for name in File.__dataclass_fields__])


class Iceberg(Contestant):
    """Commits by compare-and-swap of the table's row in the catalog.

    Tuning: a hundred retries of its own in place of four, which keep the data file and write the manifests again, with
    10 s between them at most; and the whole append again should these be used up. No other setting made it faster.
    """

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._catalog = SqlCatalog(
            "peers",
            **{
                "uri": f"sqlite:///{job.directory}/catalog.db?timeout=60",
                "warehouse": f"s3://{job.bucket}/warehouse",
                "s3.endpoint": job.endpoint_url,
                "s3.region": job.region,
                "s3.access-key-id": job.access_key,
                "s3.secret-access-key": job.secret_key,
            },
        )

    def prepare(self) -> None:
        """Create the table."""
        self._catalog.create_namespace("vitals")
        patience = {"commit.retry.num-retries": "100", "commit.retry.max-wait-ms": "10000"}
        self._catalog.create_table(TABLE, schema=SCHEMA, properties=patience)

    def open(self) -> None:
        """Read the table's metadata."""
        self._table = self._catalog.load_table(TABLE)

    @retry(
        retry=retry_if_exception_type(CommitFailedException),
        wait=wait_random_exponential(multiplier=0.1, max=5.0),
        stop=stop_after_delay(GIVE_UP_SECONDS),
        reraise=True,
    )
    def record(self, file: File) -> None:
        """Append a row to the table as it is now."""
        self._table.refresh()
        self._table.append(pa.Table.from_pylist([asdict(file)], schema=SCHEMA))

    def stored(self) -> list[str]:
        """Read the column of files."""
        self.open()
        return list(self._table.scan(selected_fields=("file",)).to_arrow()["file"].to_pylist())


if __name__ == "__main__":
    main(Iceberg)
