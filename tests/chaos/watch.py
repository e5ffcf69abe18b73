"""Sees a document grow, past the library: reads it now and then, and hears of every commit that passes the proxy.

Of a commit whose answer does not reach the proxy either, as the server is ended meanwhile, nothing is heard.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from cf_data_tracker.names import raw_key
from cf_data_tracker.stores.s3 import open_client
from checker import Snapshot, snapshot_of

if TYPE_CHECKING:
    import threading

    from mypy_boto3_s3.client import S3Client

    from cf_data_tracker.model import FileVersion
    from cf_data_tracker.settings import Access
    from servers.proxy import Applied


@dataclass(kw_only=True)
class Watch:
    """Looks at the document of a schema, again and again, and is told of commits.

    Attributes:
        access: How to reach the bucket.
        schema: Whose document.
        every: How often, in seconds.
        snapshots: What was seen.
    """

    access: Access
    schema: str
    every: float
    snapshots: list[Snapshot] = field(default_factory=list)
    _heard: SimpleQueue[Applied] = field(default_factory=SimpleQueue)
    _known: dict[FileVersion, FileVersion] = field(default_factory=dict)

    def __call__(self, over: threading.Event) -> None:
        """Look until it is over; while the server is away there is nothing to be seen."""
        while not over.wait(self.every):
            with suppress(BotoCoreError, ClientError):
                self.look()

    def hear(self, applied: Applied) -> None:
        """Take note of a request that was carried out, if it was a commit. From any thread."""
        if applied.method == "PUT" and urlsplit(applied.path).path.endswith(f"/{raw_key(self.schema)}"):
            self._heard.put(applied)

    def look(self) -> None:
        """Look once, after what was heard."""
        while not self._heard.empty():
            commit = self._heard.get()
            self._see(commit.body, commit.began, commit.ended)
        with closing(open_client(self.access)) as client:
            began = time.monotonic()
            self._see(_body(client, self.access.bucket, raw_key(self.schema)), began, time.monotonic())

    def _see(self, body: bytes | None, began: float, ended: float) -> None:
        self.snapshots.append(snapshot_of(body, self.schema, began, ended, self._known))


def _body(client: S3Client, bucket: str, key: str) -> bytes | None:
    try:
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()
    except client.exceptions.NoSuchKey:
        return None
