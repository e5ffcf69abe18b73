"""The earlier package, as the registry has it: read the document, change it, put it back, whatever is there by then.

Its import name is this project's, so it has an environment of its own. It prints errors of its write and returns.
"""

import os
from types import ModuleType

from contestants import harness


class EarlierPackage(harness.Contestant):
    """Tuning: none; it has no settings. Its client is made at import, from the environment."""

    def __init__(self, job: harness.Job) -> None:
        super().__init__(job)
        os.environ.update(
            RAW_BUCKET_NAME=job.bucket,
            AWS_ENDPOINT_URL_S3=job.endpoint_url,
            AWS_REGION_NAME=job.region,
            AWS_ACCESS_KEY_ID=job.access_key,
            AWS_SECRET_ACCESS_KEY=job.secret_key,
        )

    def open(self) -> None:
        """Read once."""
        self._module().read_version_file("vitals")

    def record(self, file: harness.File) -> None:
        """Call its one function for it."""
        self._module().update_version_tracker(
            schema_name="vitals",
            table_name=file.table,
            file_name=file.file_name,
            file=file.file,
            file_size=file.file_size,
            s3_location=file.s3_location,
            timestamp=file.timestamp,
            fyear=file.fyear,
            upload_date=file.upload_date,
        )

    def stored(self) -> list[str]:
        """Read the files of the document."""
        (schema,) = self._module().read_version_file("vitals")["tables"]
        entries = (entry for table in schema["tables"] for entry in table["files"])
        return [version["file"] for entry in entries for version in entry["versions"]]

    @staticmethod
    def _module() -> ModuleType:
        from cf_data_tracker import raw_tracker  # noqa: PLC0415 - it reads the environment when it is imported

        return raw_tracker


if __name__ == "__main__":
    harness.main(EarlierPackage)
