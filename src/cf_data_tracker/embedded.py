"""A local S3 for first runs and the stress benchmark: moto behind one lock, in a process of its own.

moto answers as S3 does, but checks a write's condition and stores its body in two steps with no lock between them, so
that several writers can win one race. Here requests reach moto one at a time, and a conditional write is one step. Nor
does moto look at `Content-MD5`: here a body that is not what was sent is refused, as by S3.

`running` is what the library uses; what stands below it happens in the server's process, which alone imports moto.
What to ask of the server, and through which client, is left to the stores.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import io
import os
import resource
import select
import socketserver
import subprocess
import sys
import tempfile
import threading
from base64 import b64encode
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.names import check_text, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from email.message import Message

    Environ = dict[str, Any]
    Respond = Callable[[Environ], tuple[Iterable[bytes], str, Iterable[tuple[str, str]]]]

__all__ = ["EmbeddedS3", "running"]

_LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0  # it takes 0.3 s, and much longer where moto comes from a cold, slow disk
_STOP_SECONDS = 2.0
_SHOWN_OF_STDERR = 2000  # characters
_MOTO_IS_MISSING = 3  # the exit code by which the server's process says so
_BAD_DIGEST = b"<Error><Code>BadDigest</Code><Message>The Content-MD5 you specified did not match.</Message></Error>"
_CONNECTIONS = 4096  # many systems allow a process 1,024 open files until it asks for more


@dataclass(frozen=True, kw_only=True)
class EmbeddedS3:
    """Where an embedded S3 listens, and what to sign requests with.

    Attributes:
        endpoint_url: The server's URL on the loopback interface.
        pid: The server's process.
        access_key: Any key is let in; this is one.
        secret_key: Opens nothing else.
        region: Where the buckets are.
    """

    endpoint_url: str
    pid: int
    access_key: str = "embedded"
    secret_key: str = field(default="embedded", repr=False)
    region: str = "us-east-1"


@contextlib.contextmanager
def running(
    buckets: Iterable[str] = ("raw", "clean"),
    *,
    switch_interval: float | None = None,
    serialised: bool = True,
) -> Iterator[EmbeddedS3]:
    """Run an S3 with these buckets, all empty, until the context ends or this process does, even by SIGKILL.

    Args:
        buckets: Names of the buckets that are there from the start.
        switch_interval: Seconds after which the server may change threads; `None` is Python's own. For tests of races.
        serialised: False is moto as it comes: a store on which several writers can win one race.

    Raises:
        InvalidNameError: `buckets` is one text in place of a list of names, or a name is no text.
        StoreError: moto is not installed, or the server did not start; the message says why.
    """
    if isinstance(buckets, (str, bytes)):
        raise InvalidNameError(f"buckets must be a list of names, like [{shown(buckets)}], got {shown(buckets)}")
    buckets = [check_text("bucket", bucket) for bucket in buckets]
    options = [] if serialised else ["--unserialised"]
    if switch_interval is not None:
        options.append(f"--switch-interval={switch_interval}")
    with tempfile.TemporaryFile() as stderr, _process([*options, "--", *buckets], stderr) as process:
        port = _announced_port(process, stderr)
        yield EmbeddedS3(endpoint_url=f"http://{_LOOPBACK}:{port}", pid=process.pid)


@contextlib.contextmanager
def _process(arguments: list[str], stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(  # noqa: S603 - this very module, run by the interpreter that runs us
        [sys.executable, "-m", "cf_data_tracker.embedded", *arguments],
        stdin=subprocess.PIPE,  # its end is how the server learns of ours
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,  # Ctrl-C in the terminal is for us, who then stop the server
    ) as process:
        try:
            yield process
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _announced_port(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> int:
    late = threading.Timer(_START_SECONDS, process.kill)  # which ends the reading below
    late.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        late.cancel()
    if line.strip().isdigit():
        return int(line)
    raise StoreError(_why_not_started(process, stderr))


def _why_not_started(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)  # its exit code says more than that of one stopped
    stderr.seek(0)
    said = stderr.read().decode(errors="replace").strip()[-_SHOWN_OF_STDERR:]
    if process.returncode == _MOTO_IS_MISSING:
        return f'The embedded S3 needs moto: pip install "cf-data-tracker[stress]" ({said})'
    return f"The embedded S3 did not start (exit code {process.returncode}): {said or 'it said nothing'}"


# -- from here on: the server's process -----------------------------------------------------------------------------


def main() -> int:
    """Serve until the parent is gone. SIGTERM ends it too, in the way it ends any process."""
    parent = os.getppid()
    options = _options()
    try:
        respond = _moto(options.buckets)
    except ImportError as missing:
        sys.stderr.write(str(missing))
        return _MOTO_IS_MISSING
    sys.setswitchinterval(options.switch_interval)
    _allow_open_files(_CONNECTIONS)
    turn = contextlib.nullcontext() if options.unserialised else threading.Lock()
    with _Server(respond, turn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        _announce(server.server_address[1])
        _wait_for_the_end_of(parent)
        server.shutdown()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("buckets", nargs="*")
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval())
    parser.add_argument("--unserialised", action="store_true")
    return parser.parse_args()


def _moto(buckets: Iterable[str]) -> Respond:
    """Moto's S3 without the rest of its AWS, with these buckets in it."""
    from moto.moto_server.werkzeug_app import create_backend_app  # noqa: PLC0415 - an optional extra
    from werkzeug.test import run_wsgi_app  # noqa: PLC0415 - comes with moto

    app = create_backend_app("s3")
    app.debug = False  # a fault of moto's is answered with 500 rather than raised
    for bucket in buckets:
        answer = app.test_client().put(f"/{bucket}")
        if not answer.status.startswith("200"):
            raise SystemExit(f"bucket {bucket!r}: {answer.get_data(as_text=True)}")
    return functools.partial(run_wsgi_app, app, buffered=True)


def _allow_open_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, ceiling), hard))


def _announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nobody reads on: what moto may print must not fill the pipe


def _wait_for_the_end_of(parent: int) -> None:
    # Processes forked from the parent hold our standard input open after it has died, hence the look at its id.
    while os.getppid() == parent and not select.select([sys.stdin], [], [], 1.0)[0]:
        pass


class _Server(socketserver.ThreadingTCPServer):
    """A thread for each connection; a turn at moto for each request."""

    daemon_threads = True
    request_queue_size = 1024  # workers connect all at once: beyond the default of 5 they would wait a second

    def __init__(self, respond: Respond, turn: contextlib.AbstractContextManager[object]) -> None:
        super().__init__((_LOOPBACK, 0), _Handler)
        self.respond = respond
        self.turn = turn


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with connections that stay open.

    werkzeug's server, which moto comes with, closes the connection after every answer. The connection and the thread
    that each request then needs cost half of the requests a second (1,150 of 2,000 with eight clients).
    """

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # the last segment of a long answer need not wait for the client's ACK

    def _answer(self) -> None:
        body = _body(self.rfile, self.headers)  # before the turn: a slow client holds up nobody
        if _is_damaged(body, self.headers):
            self._send("400 Bad Request", [("content-type", "application/xml")], _BAD_DIGEST)
            return
        request = self._request(body)
        # Reads take turns as well. moto closes an object's buffer when a write replaces it, and looks every key up
        # again while it lists them: a GET beside a PUT, or a LIST beside a DELETE, can answer 500.
        with self.server.turn:
            parts, status, headers = self.server.respond(request)
            if self.command == "GET" and status.startswith("404"):
                headers = [*headers, *self._marker()]
        self._send(status, headers, b"".join(parts))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - the names that http.server calls

    def _marker(self) -> Iterable[tuple[str, str]]:
        """Return the header of an answer where a delete marker is. To a GET S3 sends it too, moto to a HEAD alone."""
        _, _, headers = self.server.respond({**self._request(b""), "REQUEST_METHOD": "HEAD"})
        return [(name, value) for name, value in headers if name.lower() == "x-amz-delete-marker"]

    def _request(self, body: bytes) -> Environ:
        path, _, query = self.path.partition("?")
        headers = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()}
        headers.pop("HTTP_TRANSFER_ENCODING", None)  # the body has been put together
        return headers | {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "iso-8859-1"),  # as WSGI has it
            "RAW_URI": self.path,  # tells moto `a%2Fb` from `a/b`
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "SERVER_NAME": _LOOPBACK,
            "SERVER_PORT": str(self.server.server_address[1]),
            "SERVER_PROTOCOL": self.request_version,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }

    def _send(self, status: str, headers: Iterable[tuple[str, str]], content: bytes) -> None:
        # The answer to a HEAD brings a length of its own, which is the object's.
        fields = {"date": self.date_time_string(), "content-length": str(len(content))}
        fields |= {name.lower(): value for name, value in headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.wfile.write(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("iso-8859-1") + content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _body(stream: io.BufferedIOBase, headers: Message) -> bytes:
    if headers.get("Transfer-Encoding", "").lower() == "chunked":
        return _put_together(stream)
    return _exactly(stream, int(headers.get("Content-Length", "0")))


def _is_damaged(body: bytes, headers: Message) -> bool:
    """Return whether this is not the body whose MD5 its sender gave."""
    given = headers.get("Content-MD5")
    return given not in (None, b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode())


def _put_together(stream: io.BufferedIOBase) -> bytes:
    chunks = []
    while size := int(stream.readline().partition(b";")[0], base=16):
        chunks.append(_exactly(stream, size))
        _exactly(stream, len(b"\r\n"))
    while stream.readline().strip():
        pass  # trailers
    return b"".join(chunks)


def _exactly(stream: io.BufferedIOBase, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:  # the sender died in the middle: half a request must not reach moto
        raise ConnectionAbortedError(f"{len(data)} of {size} bytes came")
    return data


if __name__ == "__main__":
    sys.exit(main())
