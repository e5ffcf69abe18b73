"""Where an S3 server answers, and to which keys: all that a test needs to know of one.

How a server is started is left to `ceph` and `unsafe`, how a process is held to `process`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Server:
    """An S3 endpoint on loopback that accepts these keys."""

    endpoint_url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"


class ServerError(Exception):
    """A server could not be started or stopped; the message ends with what the server itself said last."""
