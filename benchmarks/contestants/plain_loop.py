"""The loop that a user would write: boto3, tenacity, read the document, change it, put it back if nobody was faster."""

from http import HTTPStatus
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from tenacity import retry, retry_if_exception

from contestants import loop
from contestants.harness import Contestant, File, Job, main


def _may_succeed_later(error: BaseException) -> bool:
    if not isinstance(error, ClientError):
        return isinstance(error, HTTPClientError)
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status in (HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED) or status >= HTTPStatus.INTERNAL_SERVER_ERROR


class PlainLoop(Contestant):
    """boto3 sends each request once: tenacity alone retries, as a resend by boto3 would lose to itself."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._client = boto3.client(
            "s3",
            endpoint_url=job.endpoint_url,
            region_name=job.region,
            aws_access_key_id=job.access_key,
            aws_secret_access_key=job.secret_key,
            config=Config(retries={"total_max_attempts": 1}, request_checksum_calculation="when_required"),
        )

    def open(self) -> None:
        """Read once."""
        self._read()

    @retry(retry=retry_if_exception(_may_succeed_later), wait=loop.WAIT, stop=loop.STOP, reraise=True)
    def record(self, file: File) -> None:
        """GET, change, PUT under the condition that the document still is as it was read."""
        body, condition = self._read()
        changed = loop.grown(body, file)
        if changed is not None:
            self._client.put_object(Bucket=self.job.bucket, Key=loop.KEY, Body=changed, **condition)

    def stored(self) -> list[str]:
        """Read the files of the document."""
        return loop.files_in(self._read()[0])

    def _read(self) -> tuple[bytes | None, dict[str, Any]]:
        try:
            answer = self._client.get_object(Bucket=self.job.bucket, Key=loop.KEY)
        except self._client.exceptions.NoSuchKey:
            return None, {"IfNoneMatch": "*"}
        return answer["Body"].read(), {"IfMatch": answer["ETag"].strip('"')}  # Ceph 16 wants it without the quotes


if __name__ == "__main__":
    main(PlainLoop)
