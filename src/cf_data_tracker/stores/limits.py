"""Limits of one request: how long it may take as a whole, and how much of an answer is read.

The timeouts of boto3 hold for each wait at a socket. An answer that trickles, a byte a second, meets none of them, and
neither does an endless row of `100 Continue`. So the sockets of our clients know the request that they serve:

- A request ends `request_timeout` seconds after it began, plus a second for each 128 KiB that it has moved, or for each
  8 KiB of a file: what moves at a useful pace is not cut off, however large it is. Once its answer comes, it never has
  more than one `request_timeout` left: bytes that moved fast earn no time in which the rest may trickle.
- It ends one `request_timeout` after the deadline of its call (`deadline`), whatever it has moved.
- An answer that is longer than expected is cut off, before it is held in memory.

What is cut off looks to boto3 like a broken connection or a read timeout, which is what it means: no answer.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BufferedReader, RawIOBase
from math import inf
from typing import TYPE_CHECKING, Any, Final

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
from urllib3 import PoolManager
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from cf_data_tracker.deadline import deadline

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

BYTES_A_SECOND: Final = 128 << 10
"""The pace at which a request of a call with a deadline earns more time: about one megabit a second."""

FILE_BYTES_A_SECOND: Final = 8 << 10
"""The same for files, which go in several connections at once, and beside each other: slower than a useful link."""

MAX_ANSWER: Final = 16 << 20
"""Bytes of an answer that is not the content of an object. The longest that S3 sends, a page of 1,000 keys of 1,024
bytes each, all of them escaped, is under 5 MiB."""

PIECE: Final = 64 << 10
"""Bytes that are handed to a socket at a time."""


class AnswerTooLong(OSError):  # noqa: N818 - a signal that boto3 passes through
    """More was received than the request expects."""


class Request:
    """One request that is under way, as its socket sees it.

    Args:
        request_timeout: Seconds that it may take, before what it earns by moving bytes.
        clock: The clock that the deadline of its call is in.
    """

    __slots__ = ("_clock", "_ends", "_latest", "_pace", "_readable", "_request_timeout", "at_most", "too_long")

    def __init__(self, request_timeout: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._request_timeout = request_timeout
        self._ends = clock() + request_timeout
        self._latest = deadline() + request_timeout
        self._pace = FILE_BYTES_A_SECOND if deadline() == inf else BYTES_A_SECOND
        self.too_long = False
        self.expect(MAX_ANSWER)

    def expect(self, at_most: float) -> None:
        """Expect so many bytes from now on."""
        self.at_most = self._readable = at_most

    def seconds(self) -> float:
        """Return how many seconds the next wait may take.

        Raises:
            TimeoutError: None are left.
        """
        left = min(self._ends, self._latest) - self._clock()
        if left <= 0:
            raise TimeoutError("the request took too long as a whole")
        return left

    def sent(self, number: int) -> None:
        """Count bytes that were sent."""
        self._ends += number / self._pace

    def received(self, number: int) -> None:
        """Count bytes that were received.

        Raises:
            AnswerTooLong: They are more than expected.
        """
        self._ends = min(self._ends + number / self._pace, self._clock() + self._request_timeout)
        self._readable -= number
        if self._readable < 0:
            self.too_long = True
            raise AnswerTooLong("the answer is too long")


_CURRENT: Final[ContextVar[Request | None]] = ContextVar("request", default=None)


@contextmanager
def limited(request_timeout: float, clock: Callable[[], float]) -> Iterator[Request]:
    """Give the limits of the requests that are sent inside, in this thread, by clients that were made `observant`."""
    request = Request(request_timeout, clock)
    token = _CURRENT.set(request)
    try:
        yield request
    finally:
        _CURRENT.reset(token)


def expect(at_most: float) -> None:
    """Let the request that is under way read so many bytes more: the content of an object comes next."""
    request = _CURRENT.get()
    if request is not None:
        request.expect(at_most)


def observant(client: "S3Client") -> "S3Client":
    """Have a client's connections observe the limits; where none are set, they work as before.

    A client whose requests do not go through botocore's own HTTP session keeps the timeouts that it has.
    """
    session = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 - boto3 has no public way to it
    classes: dict[str, Any] | None = getattr(session, "_pool_classes_by_scheme", None)
    if classes is not None and classes.get("http") is AWSHTTPConnectionPool:
        classes.update(http=_Pool, https=_PoolOverTLS)  # connections that are open already are used up without limits
    return client


def with_new_connections(client: "S3Client") -> None:
    """Let a client open its connections anew: an exception in the middle of a request may have left their pool locked.

    Those that are under way in other threads go on in the old pool.
    """
    session = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 - as above
    manager = getattr(session, "_manager", None)
    if isinstance(manager, PoolManager):
        fresh = PoolManager(**session._get_pool_manager_kwargs())  # noqa: SLF001 - as botocore makes it
        fresh.pool_classes_by_scheme = manager.pool_classes_by_scheme
        session._manager, session._proxy_managers = fresh, {}  # noqa: SLF001


class _Socket:
    """A connected socket whose waits end with the request that it serves."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self._timeout = inner.gettimeout()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the socket's
        return getattr(self._inner, name)

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds
        self._inner.settimeout(seconds)

    def sendall(self, data: bytes) -> None:
        request = _CURRENT.get()
        if request is None:
            self._inner.sendall(data)
            return
        view = memoryview(data)
        for start in range(0, len(view), PIECE):
            piece = view[start : start + PIECE]
            self._inner.settimeout(request.seconds())
            self._inner.sendall(piece)
            request.sent(len(piece))

    def recv_into(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        request = _CURRENT.get()
        if request is None:
            self._inner.settimeout(self._timeout)
            return self._inner.recv_into(buffer)
        left = request.seconds()
        self._inner.settimeout(left if self._timeout is None else min(left, self._timeout))
        number = self._inner.recv_into(buffer)
        request.received(number)
        return number

    def makefile(self, mode: str = "r", buffering: int = -1) -> BufferedReader | RawIOBase:  # noqa: ARG002 - "rb" is asked for
        reader = _Reader(self)
        return reader if buffering == 0 else BufferedReader(reader)


class _Reader(RawIOBase):
    """What a socket receives, as a file. As with the standard library's, the socket stays open until this is closed."""

    def __init__(self, sock: _Socket) -> None:
        self._sock = sock
        self._held = sock._inner.makefile("rb", buffering=0)  # noqa: SLF001 - its own  # keeps the socket open

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        self._held.close()
        super().close()


class _Observant:
    """A connection whose socket observes the limits. What is behind a proxy's tunnel is observed likewise."""

    sock: Any
    timeout: Any
    port: Any
    _dns_host: str

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        self.sock = _Socket(self.sock)

    def _new_conn(self) -> Any:  # noqa: ANN401 - a socket
        """Connect to one address of the host after the other, within the time of the request."""
        request = _CURRENT.get()
        if request is None:
            return super()._new_conn()  # type: ignore[misc]
        host, timeout = self._dns_host, self.timeout
        addresses = _addresses(host, self.port) or [host]  # that there are none is for urllib3 to say
        try:
            while True:
                self._dns_host = addresses.pop(0)
                self.timeout = self._left(request, timeout)
                try:
                    return super()._new_conn()  # type: ignore[misc]
                except (ConnectTimeoutError, NewConnectionError):
                    if not addresses:
                        raise
        finally:
            self._dns_host, self.timeout = host, timeout

    def _left(self, request: Request, timeout: float | None) -> float:
        try:
            left = request.seconds()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, str(error)) from error  # which says that nothing was sent
        return left if timeout is None else min(timeout, left)

    def _tunnel(self) -> None:
        plain = self.sock
        self.sock = _Socket(plain)
        super()._tunnel()  # type: ignore[misc]
        self.sock = plain


def _addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host, each once; none where they cannot be looked up."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class _Connection(_Observant, AWSHTTPConnection):  # type: ignore[misc]  # the stubs of its bases disagree
    """A connection without TLS."""


class _ConnectionOverTLS(_Observant, AWSHTTPSConnection):  # type: ignore[misc]  # as above
    """A connection with TLS."""


class _Pool(AWSHTTPConnectionPool):
    ConnectionCls = _Connection


class _PoolOverTLS(AWSHTTPSConnectionPool):
    ConnectionCls = _ConnectionOverTLS
