"""Where races are held: an S3 server on loopback, bare or slowed, and an empty bucket in it for each race."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cf_data_tracker import embedded
from cf_data_tracker.errors import StoreError
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.s3 import open_client

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from servers import ceph
from servers.server import ServerError

SERVERS: Final = ("ceph", "embedded")


class PlaceError(Exception):
    """A server could not be started; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """A running S3 server.

    Attributes:
        endpoint_url: Where it is.
        access_key: Opens it.
        secret_key: Its secret.
        region: Where its buckets are.
        version: What it is.
        pids: Its processes.
    """

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str
    version: str
    pids: tuple[int, ...]


@contextmanager
def serving(server: str, directory: Path) -> Iterator[Place]:
    """Run one of `SERVERS`, whose files go to a directory.

    Raises:
        PlaceError: It could not be started.
    """
    try:
        with _ceph(directory) if server == "ceph" else _embedded() as place:
            yield place
    except (ServerError, StoreError) as error:
        raise PlaceError(f"{server}: {error}") from error


def make_bucket(place: Place, bucket: str) -> None:
    """Make an empty bucket."""
    client = open_client(
        Access(
            bucket=bucket,
            endpoint_url=place.endpoint_url,
            region=place.region,
            access_key=place.access_key,
            secret_key=place.secret_key,
        )
    )
    client.create_bucket(Bucket=bucket)
    client.close()


@contextmanager
def _ceph(directory: Path) -> Iterator[Place]:
    with ceph.running(directory) as server:
        yield Place(
            endpoint_url=server.endpoint_url,
            access_key=server.access_key,
            secret_key=server.secret_key,
            region=server.region,
            version=_ceph_version(),
            pids=tuple(int(json.loads(file.read_text())["pid"]) for file in sorted(directory.glob("*.pid"))),
        )


@contextmanager
def _embedded() -> Iterator[Place]:
    with embedded.running(()) as server:
        yield Place(
            endpoint_url=server.endpoint_url,
            access_key=server.access_key,
            secret_key=server.secret_key,
            region=server.region,
            version=f"moto {version('moto')}",
            pids=(server.pid,),
        )


def _ceph_version() -> str:
    said = subprocess.run(["ceph", "--version"], check=False, capture_output=True, text=True)  # noqa: S607 - as `ceph.running` finds it
    return "Ceph " + [*said.stdout.split(), "", "", "unknown"][2]
