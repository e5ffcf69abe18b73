"""The same loop on obstore, the Python face of Rust's object_store."""

from datetime import timedelta

import obstore  # type: ignore[import-not-found,unused-ignore]
from obstore.exceptions import (  # type: ignore[import-not-found,unused-ignore]
    AlreadyExistsError,
    GenericError,
    PreconditionError,
)
from obstore.store import S3Store  # type: ignore[import-not-found,unused-ignore]
from tenacity import retry, retry_if_exception_type

from contestants import loop
from contestants.harness import Contestant, File, Job, main

LATER = (AlreadyExistsError, PreconditionError, GenericError)  # GenericError: 409, 5xx, no answer


class ObstoreLoop(Contestant):
    """obstore sends each request once, for the reason that boto3 does in the plain loop."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._store = S3Store(
            job.bucket,
            endpoint=job.endpoint_url,
            region=job.region,
            access_key_id=job.access_key,
            secret_access_key=job.secret_key,
            virtual_hosted_style_request=False,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0, "retry_timeout": timedelta(seconds=30)},
        )

    def open(self) -> None:
        """Read once."""
        self._read()

    @retry(retry=retry_if_exception_type(LATER), wait=loop.WAIT, stop=loop.STOP, reraise=True)
    def record(self, file: File) -> None:
        """GET, change, PUT under the condition that the document still is as it was read."""
        body, mode = self._read()
        changed = loop.grown(body, file)
        if changed is not None:
            obstore.put(self._store, loop.KEY, changed, mode=mode, use_multipart=False)

    def stored(self) -> list[str]:
        """Read the files of the document."""
        return loop.files_in(self._read()[0])

    def _read(self) -> tuple[bytes | None, str | dict[str, str]]:
        try:
            answer = obstore.get(self._store, loop.KEY)
        except FileNotFoundError:
            return None, "create"
        return bytes(answer.bytes()), {"e_tag": answer.meta["e_tag"].strip('"')}  # Ceph 16 wants it without the quotes


if __name__ == "__main__":
    main(ObstoreLoop)
