"""A proxy on loopback that lets befall an S3 request what befalls requests in the world.

What can happen is an enum; when it happens is decided by a function handed in, a plan. The proxy is transparent:
S3's signature covers the Host header and others, so the request goes on as the client wrote it.

What becomes of a request is said by three sets below: which fates send it on, which pass the server's answer back, and
which have an answer of their own. A fate that has neither answer ends with the connection closed.
"""

from __future__ import annotations

import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import Enum, auto
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

_UPSTREAM_SECONDS = 30.0
_IDLE_SECONDS = 60.0
_LINE_LIMIT = 65_536

# Headers of one connection, not of the request or the answer. The proxy has two connections, and answers Expect itself.
# botocore leaves them out of its signature, since any proxy may change them.
_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "proxy-connection", "expect"})
_NO_BODY = frozenset({204, 304})
_REDIRECTED = 300  # below it, a status says that the request was carried out


class Fate(Enum):
    """What can befall a request."""

    ANSWERED = auto()
    """Nothing: it is sent on, and its answer passed back."""
    ANSWER_LOST = auto()
    """It is applied; the connection closes without an answer."""
    LOST_BEFORE = auto()
    """It never arrives; the connection closes without an answer."""
    ANSWER_LATE = auto()
    """It is applied at once; the answer comes when the client has long given up."""
    APPLIED_LATE = auto()
    """The connection closes without an answer; the request is applied some time after."""
    CONFLICT_409 = auto()
    """It is refused: another conditional write of the key is under way."""
    ERROR_500 = auto()
    """It is not applied, and answered as if nobody knew."""
    APPLIED_500 = auto()
    """It is applied, and answered as if nobody knew."""
    SLOW_DOWN_503 = auto()
    """It is refused: too many requests."""
    REFUSED_IN_200 = auto()
    """A PUT is refused for its condition, but the status says 200: only the body tells."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a plan knows of a request: its number, from 1 on, in order of arrival, and its head."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""


Plan: TypeAlias = Callable[[Seen], Fate]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """A request that the server said it had carried out, at some moment between these two (`time.monotonic`)."""

    method: str
    path: str
    body: bytes
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True)
class _Request:
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    chunked: bool


@dataclass(frozen=True, kw_only=True)
class _Answer:
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


def _s3_error(status: int, reason: str, code: str, message: str) -> _Answer:
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return _Answer(status=status, reason=reason, headers=(("Content-Type", "application/xml"),), body=text.encode())


_INTERNAL_ERROR = _s3_error(500, "Internal Server Error", "InternalError", "We encountered an internal error.")

_SENT_ON = frozenset({Fate.ANSWERED, Fate.ANSWER_LOST, Fate.ANSWER_LATE, Fate.APPLIED_500})
_PASSED_BACK = frozenset({Fate.ANSWERED, Fate.ANSWER_LATE})
_OWN_ANSWERS = {
    Fate.CONFLICT_409: _s3_error(409, "Conflict", "ConditionalRequestConflict", "Another request is under way."),
    Fate.ERROR_500: _INTERNAL_ERROR,
    Fate.APPLIED_500: _INTERNAL_ERROR,
    Fate.SLOW_DOWN_503: _s3_error(503, "Service Unavailable", "SlowDown", "Please reduce your request rate."),
    Fate.REFUSED_IN_200: _s3_error(200, "OK", "PreconditionFailed", "A pre-condition did not hold."),
}


def always(fate: Fate) -> Plan:
    """Return the plan in which every request meets the fate."""
    return lambda _seen: fate


def in_order(*fates: Fate) -> Plan:
    """Return the plan in which the first request meets the first fate, and so on; those after the last are answered."""
    return lambda seen: fates[seen.number - 1] if seen.number <= len(fates) else Fate.ANSWERED


def mix(shares: Mapping[Fate, float], *, seed: int, methods: Collection[str] = ()) -> Plan:
    """Return the plan in which each request meets a fate with the probability given; the rest are answered.

    The n-th request meets the same fate in every run of the same seed.

    Args:
        shares: The probability of each fate, 1 or less in all.
        seed: What the choice depends on, with the number of the request.
        methods: The HTTP methods that are concerned; all, if none is named.
    """
    answered = 1 - sum(shares.values())
    if answered < 0:
        raise ValueError(f"the shares come to {1 - answered}, more than 1")
    fates, weights = [*shares, Fate.ANSWERED], [*shares.values(), answered]

    def decide(seen: Seen) -> Fate:
        if methods and seen.method not in methods:
            return Fate.ANSWERED
        return random.Random(f"{seed}:{seen.number}").choices(fates, weights)[0]

    return decide


def one_in(n: int, fate: Fate, *, seed: int, methods: Collection[str] = ()) -> Plan:
    """Return the plan in which a request in n, chosen at random, meets the fate; see `mix`."""
    return mix({fate: 1 / n}, seed=seed, methods=methods)


@final
class FaultyProxy:
    """A proxy in front of an S3 endpoint, from `with` to the end of its block, in threads of its own.

    When the block ends, so does every connection; what was to be applied late is applied at once.

    Args:
        endpoint_url: Where the requests go, `http://host:port`.
        decide: The plan. It is asked once for each request, by one thread at a time.
        answer_after: Seconds that an `ANSWER_LATE` is held back: more than the client's time-out.
        apply_after: Seconds after which an `APPLIED_LATE` is sent on.
        applied: Is told of each request that the server carried out, by any thread.
    """

    def __init__(
        self,
        endpoint_url: str,
        decide: Plan,
        *,
        answer_after: float = 2.0,
        apply_after: float = 0.5,
        applied: Callable[[Applied], None] | None = None,
    ) -> None:
        self._server = _Server(endpoint_url, decide, answer_after, apply_after, applied)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def endpoint_url(self) -> str:
        """Where the client is to send its requests."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def counts(self) -> Counter[Fate]:
        """How many requests have met each fate so far."""
        return self._server.counts()

    def __enter__(self) -> FaultyProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    """The listening socket, the connections, and what all requests share: plan, number and counts."""

    daemon_threads = False  # only threads that are no daemons are waited for by server_close
    request_queue_size = 1024  # a connection that finds the queue full asks again a second later

    def __init__(
        self,
        endpoint_url: str,
        decide: Plan,
        answer_after: float,
        apply_after: float,
        applied: Callable[[Applied], None] | None,
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(endpoint_url)
        self.answer_after = answer_after
        self.apply_after = apply_after
        self.applied = applied
        self.closing = threading.Event()
        self._decide = decide
        self._lock = threading.Lock()
        self._counts: Counter[Fate] = Counter()
        self._connections: set[socket.socket] = set()

    def fate_of(self, request: _Request) -> Fate:
        """Number the request, ask the plan, and count the fate."""
        with self._lock:
            headers = MappingProxyType({name.lower(): value for name, value in request.headers})
            number = self._counts.total() + 1
            fate = self._decide(Seen(number=number, method=request.method, path=request.path, headers=headers))
            self._counts[fate] += 1
            return fate

    def counts(self) -> Counter[Fate]:
        """Return a copy of the counts."""
        with self._lock:
            return Counter(self._counts)

    def hang_up(self) -> None:
        """Wake all who wait: for a client to say more, and then, when no answer can leave any more, for a delay."""
        with self._lock:
            for connection in self._connections:
                _close_both_ways(connection)
        self.closing.set()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the standard library has it
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the standard library has it
        """Pass over a client that hung up, which is its right; show what is wrong with the proxy or the plan."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection of a client, request after request."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        request = self._request()
        fate = self.server.fate_of(request)
        theirs = self._sent_on(request) if fate in _SENT_ON else None
        if fate is Fate.ANSWER_LATE:
            self.server.closing.wait(self.server.answer_after)
        self._answer(_OWN_ANSWERS.get(fate, theirs if fate in _PASSED_BACK else None))
        if fate is Fate.APPLIED_LATE:
            self.server.closing.wait(self.server.apply_after)
            self._sent_on(request)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_OPTIONS = _serve  # noqa: N815 - names that the base class calls

    def _sent_on(self, request: _Request) -> _Answer | None:
        began = time.monotonic()
        answer = _send_on(self.server.upstream.netloc, request)
        if self.server.applied is not None and answer is not None and answer.status < _REDIRECTED:
            ended = time.monotonic()
            told = Applied(method=request.method, path=request.path, body=request.body, began=began, ended=ended)
            self.server.applied(told)
        return answer

    def _request(self) -> _Request:
        """Read the request to its end, so that no fate meets a client that is still sending."""
        chunked = self.headers.get("Transfer-Encoding", "").lower() == "chunked"
        return _Request(
            method=self.command,
            path=self.requestline.split()[1],  # self.path is the same with leading slashes folded: another key
            headers=tuple(self.headers.items()),
            body=self._chunks() if chunked else self._exactly(int(self.headers.get("Content-Length", 0))),
            chunked=chunked,
        )

    def _exactly(self, size: int) -> bytes:
        body = self.rfile.read(size)
        if len(body) < size:
            raise ConnectionResetError("the client hung up in the middle of a request")
        return body

    def _chunks(self) -> bytes:
        """Read a chunked body; a trailer that may follow it is left out."""
        chunks = []
        while size := int(self._line().split(b";")[0], 16):
            chunks.append(self._exactly(size))
            self._line()
        while self._line().strip():
            pass
        return b"".join(chunks)

    def _line(self) -> bytes:
        line = self.rfile.readline(_LINE_LIMIT)
        if not line.endswith(b"\n"):
            raise ConnectionResetError("the client hung up in the middle of a request")
        return line

    def _answer(self, answer: _Answer | None) -> None:
        """Send the answer, or, if there is none, close the connection."""
        if answer is None:
            _close_both_ways(self.connection)
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in _with_length(answer, self.command):
            self.send_header(name, value)
        self.end_headers()
        if _has_body(answer, self.command):
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the standard library has it
        """Say nothing: the counts tell what happened."""


def _send_on(address: str, request: _Request) -> _Answer | None:
    """Return the server's answer, or None if it gave none: to the client that looks like an answer lost."""
    with closing(HTTPConnection(address, timeout=_UPSTREAM_SECONDS)) as connection:
        try:
            return _exchange(connection, request)
        except (OSError, HTTPException):
            return None


def _exchange(connection: HTTPConnection, request: _Request) -> _Answer:
    connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
    for name, value in _without(_OF_THE_CONNECTION, request.headers):
        connection.putheader(name, value)
    connection.putheader("Connection", "close")
    connection.endheaders(request.body, encode_chunked=request.chunked)
    answer = connection.getresponse()
    return _Answer(status=answer.status, reason=answer.reason, headers=tuple(answer.getheaders()), body=answer.read())


def _with_length(answer: _Answer, method: str) -> tuple[tuple[str, str], ...]:
    """Return the headers with the length of the body sent; where none is, the length that the server spoke of stays."""
    if not _has_body(answer, method):
        return _without(_OF_THE_CONNECTION, answer.headers)
    kept = _without(_OF_THE_CONNECTION | {"content-length", "transfer-encoding"}, answer.headers)
    return (*kept, ("Content-Length", str(len(answer.body))))


def _has_body(answer: _Answer, method: str) -> bool:
    return method != "HEAD" and answer.status not in _NO_BODY


def _without(names: Collection[str], headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in headers if name.lower() not in names)


def _close_both_ways(connection: socket.socket) -> None:
    """Tell the other side now; `close` alone would leave a thread that reads from the connection waiting."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
