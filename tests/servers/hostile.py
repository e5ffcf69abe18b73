"""A server on loopback that answers as no S3 should: slowly, endlessly, without sense, or far too much.

It stands in front of a real S3, if one is named, and passes requests on until it is asked to misbehave: with one kind
of answer, to every request or to those of one `purpose` alone. A kind is a function that writes to the socket. Some
take the real answer and spoil it; the others make up their own, and then the request is applied only if asked for.

Whatever it sends ends when it is asked to behave again, when the client hangs up, or after `LONGEST` seconds.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

LONGEST: Final = 60.0
"""Seconds that one answer lasts at most."""

PAUSE: Final = 0.2
"""Seconds between two bytes that trickle: less than a client's time-out, so that no single read of it runs out."""

PAGES: Final = 60
"""Pages of an endless listing whose pages all are new: no client can tell it from a long one, so it has an end."""

CONNECTIONS: Final = 200
"""At the same time; one more is closed."""

GIGABYTE: Final = 1 << 30
CHUNK: Final = 1 << 18
UPSTREAM_SECONDS: Final = 30.0

OF_THE_CONNECTION: Final = frozenset({"connection", "keep-alive", "proxy-connection", "expect", "transfer-encoding"})
REASONS: Final = {200: "OK", 204: "No Content", 206: "Partial Content", 301: "Moved Permanently", 304: "Not Modified"}
LISTINGS: Final = frozenset({"list", "list-inbox"})
READS: Final = frozenset({"get-document", "get-clean", "get-older", "get-version", "get-entry", "get-object"})
PARTS: Final = frozenset({"begin-parts", "put-part", "end-parts"})
WRITES: Final = frozenset({"put-document", "put-clean", "put-entry", "put-object"}) | PARTS
DELETES: Final = frozenset({"delete", "delete-entry"})


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, read to its end."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def purpose(self) -> str:
        """What it is for, as far as its head shows: `get-document`, `list-inbox`, `put-part` and so on."""
        return purpose_of(self.method, self.path)

    @property
    def query(self) -> dict[str, str]:
        """The parameters of the query."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}

    def header(self, name: str) -> str:
        """Return a header, empty where there is none."""
        return next((value for known, value in self.headers if known.lower() == name), "")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer of the S3 behind."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def with_header(self, name: str, value: str | None) -> Answer:
        """Return it with this header, or without it."""
        others = tuple((known, old) for known, old in self.headers if known.lower() != name.lower())
        return replace(self, headers=others if value is None else (*others, (name, value)))


NOTHING_THERE: Final = Answer(status=200, reason="OK", headers=(("ETag", '"0"'),), body=b"{}")


def purpose_of(method: str, path: str) -> str:  # noqa: PLR0911 - a table, in code
    """Return what a request is for."""
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    key = unquote(parts.path).lstrip("/").partition("/")[2]
    if key.startswith("_cf_tracker/probe/"):
        return "probe"
    if method == "POST":
        return {"uploads": "begin-parts", "uploadId": "end-parts"}.get(next(iter(query), ""), "delete")
    if "versions" in query:
        return "list-versions"
    if method == "GET" and not key:
        return "list-inbox" if query.get("prefix", [""])[0].startswith("_cf_tracker/inbox/") else "list"
    if method == "PUT" and "uploadId" in query:
        return "put-part"
    if method == "DELETE":
        in_inbox = key.startswith("_cf_tracker/inbox/")
        return "abort-parts" if "uploadId" in query else "delete-entry" if in_inbox else "delete"
    if method == "HEAD":
        return "head"
    return "get-version" if "versionId" in query else f"{method.lower()}-{_object_of(key)}"


def _object_of(key: str) -> str:
    if key.startswith("_cf_tracker/"):
        return "entry"
    endings = (
        ("_clean_version_info.json", "clean"),
        ("/clean_version.json", "older"),
        ("_version_info.json", "document"),
    )
    return next((name for ending, name in endings if key.endswith(ending)), "object")


class Over(Exception):  # noqa: N818 - a signal within this module
    """The answer is to end here."""


@dataclass(kw_only=True)
class Exchange:
    """One request and what is written in return."""

    server: HostileServer
    connection: socket.socket
    request: Request
    theirs: Answer
    until: threading.Event
    closes: bool = True
    end: float = field(default_factory=lambda: time.monotonic() + LONGEST)

    def send(self, data: bytes) -> None:
        """Send bytes, unless it is time to end."""
        if self.until.is_set() or time.monotonic() > self.end:
            raise Over
        self.connection.sendall(data)

    def wait(self, seconds: float) -> None:
        """Wait, unless the client hangs up or it is time to end."""
        end = min(self.end, time.monotonic() + seconds)
        while (left := end - time.monotonic()) > 0:
            if self.until.wait(min(left, 0.05)):
                raise Over
            if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                raise Over

    def trickle(self, data: bytes, pause: float = PAUSE) -> None:
        """Send byte after byte."""
        for number in range(len(data)):
            self.send(data[number : number + 1])
            self.wait(pause)

    def head(self, status: int, *headers: tuple[str, str], reason: str = "") -> None:
        """Send a status line and headers."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        text = f"HTTP/1.1 {status} {reason or REASONS.get(status, 'Whatever')}\r\n{lines}\r\n"
        self.send(text.encode("iso-8859-1", "replace"))

    def answer(self, status: int, body: bytes, *headers: tuple[str, str], reason: str = "") -> None:
        """Send an answer that is well formed, whatever is in it."""
        self.head(status, ("Content-Length", str(len(body))), *headers, reason=reason)
        if self.request.method != "HEAD":
            self.send(body)
        self.closes = False

    def pass_on(self, answer: Answer) -> None:
        """Send an answer of the S3 behind."""
        names = {name.lower() for name, _ in answer.headers}
        length = () if "content-length" in names else (("Content-Length", str(len(answer.body))),)
        self.head(answer.status, *answer.headers, *length, reason=answer.reason)
        if self.request.method != "HEAD" and answer.body:
            self.send(answer.body)
        self.closes = False

    def chunks(self, some: Iterable[bytes]) -> None:
        """Send chunks of a body that is sent so."""
        for data in some:
            self.send(b"%x\r\n%b\r\n" % (len(data), data))


Respond: TypeAlias = "Callable[[Exchange], None]"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of answer.

    Attributes:
        name: Its name.
        respond: Writes it.
        proxied: Whether it is made of the real answer, so that the request is always applied.
        on: The purposes for which it makes sense; all, if none is named.
        heavy: Whether it costs so much that few should be under way at once.
        core: Whether it is tried on every purpose of every call; the others where a purpose is met first.
    """

    name: str
    respond: Respond
    proxied: bool = False
    on: frozenset[str] = frozenset()
    heavy: bool = False
    core: bool = False

    def suits(self, purpose: str) -> bool:
        """Return whether it makes sense for a purpose."""
        return not self.on or purpose in self.on


KINDS: Final[dict[str, Kind]] = {}
"""All kinds, by name."""


def kind(
    name: str, *, proxied: bool = False, on: Collection[str] = (), heavy: bool = False, core: bool = False
) -> Callable[[Respond], Respond]:
    """Enter a function into `KINDS`."""

    def enter(respond: Respond) -> Respond:
        KINDS[name] = Kind(name=name, respond=respond, proxied=proxied, on=frozenset(on), heavy=heavy, core=core)
        return respond

    return enter


class HostileServer:
    """The server, from `with` to the end of its block.

    Args:
        upstream: The endpoint of the S3 behind, `http://host:port`; nothing is behind it if left out.
    """

    def __init__(self, upstream: str | None = None) -> None:
        self._upstream = urlsplit(upstream).netloc if upstream else ""
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._closing = False
        self._kinds: Mapping[str, tuple[Kind, bool]] = {}
        self._until = threading.Event()
        self._acceptor = threading.Thread(target=self._accept, name="hostile", daemon=True)
        self.counts: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()
        self.signatures: set[str] = set()
        self.last_proper = 0.0
        self.pages = 0

    @property
    def port(self) -> int:
        """The port."""
        return int(self._listening.getsockname()[1])

    @property
    def endpoint_url(self) -> str:
        """Where the client is to send its requests."""
        return f"http://127.0.0.1:{self.port}"

    def misbehave(
        self, kind: Kind, on: str = "", *, applied: bool = False, also: Mapping[str, Kind] | None = None
    ) -> None:
        """Answer in this way from now on.

        Args:
            kind: The kind of answer.
            on: The purpose of the requests that are answered so; all, if none is named.
            applied: Whether the request is applied all the same.
            also: Other kinds, by the purpose of the requests that are answered so; they are not applied.
        """
        others = {purpose: (other, False) for purpose, other in (also or {}).items()}
        with self._lock:
            self._until = threading.Event()
            self._kinds = {**others, on: (kind, applied)}
            self.hits = Counter()
            self.pages = 0

    def behave(self) -> None:
        """Pass on requests and answers from now on; answers under way end."""
        with self._lock:
            self._kinds = {}
            self._until.set()

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        self._until.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._acceptor.join(5)
        with self._lock:
            left = dict(self._connections)
        for connection in left:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        end = time.monotonic() + 5
        for thread in left.values():
            thread.join(max(0.0, end - time.monotonic()))

    def _accept(self) -> None:
        while not self._closing:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                if len(self._connections) >= CONNECTIONS:
                    connection.close()
                    continue
                thread = threading.Thread(target=self._serve, args=[connection], name="hostile", daemon=True)
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with closing(connection), suppress(OSError, Over, HTTPException, ValueError):
                connection.settimeout(LONGEST)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with connection.makefile("rb") as reader:
                    while (request := _read(reader, connection)) is not None and self._answered(connection, request):
                        pass
        finally:
            with self._lock:
                del self._connections[connection]

    def _answered(self, connection: socket.socket, request: Request) -> bool:
        """Answer, and return whether the connection stays open."""
        purpose = request.purpose
        with self._lock:
            kind, applied = self._kinds.get(purpose, self._kinds.get("", (None, False)))
            until = self._until
            self.counts[purpose] += 1
            if kind is not None:
                self.hits[purpose] += 1
            self.signatures.update(re.findall(r"Signature=(\w+)", request.header("authorization")))
        theirs = self._sent_on(request) if kind is None or kind.proxied or applied else NOTHING_THERE
        exchange = Exchange(server=self, connection=connection, request=request, theirs=theirs, until=until)
        if kind is None:
            exchange.until = threading.Event()
            exchange.pass_on(theirs)
            self.last_proper = time.monotonic()
        else:
            kind.respond(exchange)
        return not exchange.closes

    def _sent_on(self, request: Request) -> Answer:
        if not self._upstream:
            return NOTHING_THERE
        with closing(HTTPConnection(self._upstream, timeout=UPSTREAM_SECONDS)) as behind:
            behind.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                if name.lower() not in OF_THE_CONNECTION | {"content-length"}:
                    behind.putheader(name, value)
            behind.putheader("Content-Length", str(len(request.body)))
            behind.endheaders(request.body)
            answer = behind.getresponse()
            headers = tuple((n, v) for n, v in answer.getheaders() if n.lower() not in OF_THE_CONNECTION)
            return Answer(status=answer.status, reason=answer.reason, headers=headers, body=answer.read())


def _read(reader: socket.SocketIO | object, connection: socket.socket) -> Request | None:
    """Return the next request, or `None` where the client has hung up."""
    readline, read = reader.readline, reader.read  # type: ignore[union-attr]
    line = readline(65_536)
    if not line.endswith(b"\n"):
        return None
    method, path, _ = line.decode("iso-8859-1").split()
    headers = []
    while text := readline(65_536).decode("iso-8859-1").strip():
        name, _, value = text.partition(":")
        headers.append((name, value.strip()))
    request = Request(method=method, path=path, headers=tuple(headers), body=b"")
    if request.header("expect"):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if request.header("transfer-encoding").lower() == "chunked":
        body = b""
        while size := int(readline(100).split(b";")[0], 16):
            body += read(size)
            readline(100)
        while readline(65_536).strip():
            pass
    else:
        length = int(request.header("content-length") or 0)
        body = read(length)
        if len(body) < length:
            return None
    return replace(request, body=body)


# -- slow -----------------------------------------------------------------------------------------------------------


@kind("trickling-head", core=True)
def _trickling_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    exchange.trickle(b"a" * 10_000)


@kind("trickling-status-line")
def _trickling_status_line(exchange: Exchange) -> None:
    exchange.trickle(b"HTTP/1.1 200 " + b"O" * 10_000)


@kind("trickling-headers")
def _trickling_headers(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000):
        exchange.send(b"X-Padding-%d: a\r\n" % number)
        exchange.wait(PAUSE)


@kind("trickling-body-with-length", core=True)
def _trickling_body_with_length(exchange: Exchange) -> None:
    exchange.head(200, ("Content-Length", "10000"))
    exchange.trickle(b"<" * 10_000)


@kind("trickling-body-to-the-end")
def _trickling_body_to_the_end(exchange: Exchange) -> None:
    exchange.head(200, ("Connection", "close"))
    exchange.trickle(b" " * 10_000)


@kind("trickling-body-in-chunks")
def _trickling_body_in_chunks(exchange: Exchange) -> None:
    exchange.head(200, ("Transfer-Encoding", "chunked"))
    for _ in range(10_000):
        exchange.chunks([b" "])
        exchange.wait(PAUSE)


@kind("trickling-chunk-size")
def _trickling_chunk_size(exchange: Exchange) -> None:
    exchange.head(200, ("Transfer-Encoding", "chunked"))
    exchange.trickle(b"0" * 10_000)


@kind("trickling-trailers")
def _trickling_trailers(exchange: Exchange) -> None:
    exchange.head(200, ("Transfer-Encoding", "chunked"))
    exchange.send(b"2\r\n{}\r\n0\r\n")
    for number in range(10_000):
        exchange.send(b"X-Trailer-%d: a\r\n" % number)
        exchange.wait(PAUSE)


@kind("trickling-real-body", proxied=True, on=READS | LISTINGS | {"list-versions", "begin-parts"})
def _trickling_real_body(exchange: Exchange) -> None:
    headers = exchange.theirs.with_header("content-length", str(len(exchange.theirs.body))).headers
    exchange.head(exchange.theirs.status, *headers)
    exchange.trickle(exchange.theirs.body)


@kind("trickling-403")
def _trickling_403(exchange: Exchange) -> None:
    exchange.head(403, ("Content-Length", "10000"), ("Content-Type", "application/xml"))
    exchange.trickle(b"<Error><Code>AccessDenied</Code><Message>" + b"a" * 10_000)


@kind("trickling-500")
def _trickling_500(exchange: Exchange) -> None:
    exchange.head(500, ("Transfer-Encoding", "chunked"), ("Content-Type", "text/html"))
    for _ in range(10_000):
        exchange.chunks([b"a"])
        exchange.wait(PAUSE)


@kind("silence", core=True)
def _silence(exchange: Exchange) -> None:
    exchange.wait(LONGEST)


@kind("silence-after-status-line")
def _silence_after_status_line(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    exchange.wait(LONGEST)


@kind("silence-after-head")
def _silence_after_head(exchange: Exchange) -> None:
    exchange.head(200, ("Content-Length", "1000"))
    exchange.wait(LONGEST)


# -- interim answers ------------------------------------------------------------------------------------------------


def _interim(status: int, pause: float) -> Respond:
    def respond(exchange: Exchange) -> None:
        while True:
            exchange.head(status)
            exchange.wait(pause)

    return respond


kind("continue-for-ever", core=True)(_interim(100, PAUSE))
kind("processing-for-ever")(_interim(102, PAUSE))
kind("early-hints-for-ever")(_interim(103, PAUSE))


@kind("continue-flood", heavy=True)
def _continue_flood(exchange: Exchange) -> None:
    while True:
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@kind("continue-then-close", core=True)
def _continue_then_close(exchange: Exchange) -> None:
    exchange.head(100)


# -- connections that break -----------------------------------------------------------------------------------------


@kind("reset", core=True)
def _reset(exchange: Exchange) -> None:
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@kind("closed", core=True)
def _closed(_: Exchange) -> None:
    """Close the connection."""


@kind("half-a-head")
def _half_a_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Len")


@kind("status-line-only")
def _status_line_only(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n")


@kind("half-a-body", core=True)
def _half_a_body(exchange: Exchange) -> None:
    exchange.head(200, ("Content-Length", "1000"))
    exchange.send(b"{" * 500)


@kind("half-a-real-body", proxied=True, core=True, on=READS | LISTINGS | {"list-versions", "begin-parts", "end-parts"})
def _half_a_real_body(exchange: Exchange) -> None:
    body = exchange.theirs.body
    exchange.head(exchange.theirs.status, *exchange.theirs.with_header("content-length", str(len(body))).headers)
    exchange.send(body[: len(body) // 2])


@kind("half-a-chunk")
def _half_a_chunk(exchange: Exchange) -> None:
    exchange.head(200, ("Transfer-Encoding", "chunked"))
    exchange.send(b"ff\r\nabc")


@kind("no-chunk-size")
def _no_chunk_size(exchange: Exchange) -> None:
    exchange.head(200, ("Transfer-Encoding", "chunked"))
    exchange.send(b"many\r\nabc\r\n")


@kind("reset-in-the-body")
def _reset_in_the_body(exchange: Exchange) -> None:
    exchange.head(200, ("Content-Length", "100000"))
    exchange.send(b"{" * 500)
    exchange.wait(0.05)
    _reset(exchange)


# -- no HTTP --------------------------------------------------------------------------------------------------------


def _raw(data: bytes) -> Respond:
    return lambda exchange: exchange.send(data)


kind("ssh", core=True)(_raw(b"SSH-2.0-OpenSSH_9.6\r\n"))
kind("zeros")(_raw(b"\0" * 2000))
kind("bytes")(_raw(bytes(range(256)) * 8))
kind("no-status")(_raw(b"HTTP/1.1 abc OK\r\n\r\n"))
kind("status-0")(_raw(b"HTTP/1.1 0 OK\r\nContent-Length: 0\r\n\r\n"))
kind("status-999")(_raw(b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n"))
kind("body-without-head")(_raw(b"<html><body>Hello</body></html>"))
kind("endless-line", heavy=True)(_raw(b"HTTP/1.1 200 " + b"O" * (10 << 20)))


# -- pages of HTML --------------------------------------------------------------------------------------------------

PAGE: Final = (
    b"<!DOCTYPE html>\n<html><head><title>Sign in</title><meta charset=utf-8></head>\n<body>\n<h1>Welcome</h1>"
    b"<p>Your session <b>has ended<br>Sign in &amp; go on&nbsp;\xc3\xbc\n</body></html>\n"
)


def _html(status: int, *headers: tuple[str, str]) -> Respond:
    return lambda exchange: exchange.answer(status, PAGE, ("Content-Type", "text/html"), *headers)


for _status in (200, 403, 404, 500):
    kind(f"html-{_status}", core=True)(_html(_status))
for _status in (201, 400, 401, 405, 407, 408, 410, 411, 413, 502, 503):
    kind(f"html-{_status}")(_html(_status))
kind("html-200-with-etag", on=READS | LISTINGS | {"list-versions", "begin-parts", "head"})(_html(200, ("ETag", '"x"')))


# -- redirects ------------------------------------------------------------------------------------------------------


def _redirect(status: int, where: Callable[[Exchange], str]) -> Respond:
    return lambda exchange: exchange.answer(status, b"", ("Location", where(exchange)))


def _myself(exchange: Exchange) -> str:
    return f"{exchange.server.endpoint_url}{exchange.request.path}"


def _elsewhere(exchange: Exchange) -> str:
    exchange.server.pages += 1
    return f"{exchange.server.endpoint_url}/raw/elsewhere-{exchange.server.pages}"


kind("redirect-301-to-itself", core=True)(_redirect(301, _myself))
kind("redirect-307-to-itself", core=True)(_redirect(307, _myself))
kind("redirect-308-to-itself")(_redirect(308, _myself))
kind("redirect-302-endless")(_redirect(302, _elsewhere))
kind("redirect-to-a-dead-port")(_redirect(307, lambda _: "http://127.0.0.1:9/"))
kind("redirect-to-nonsense")(_redirect(301, lambda _: "ht!tp:\\\\[::"))


@kind("redirect-301-slowly")
def _redirect_slowly(exchange: Exchange) -> None:
    exchange.wait(2 * PAUSE)
    exchange.answer(301, b"", ("Location", _myself(exchange)))


@kind("slow-down-slowly")
def _slow_down_slowly(exchange: Exchange) -> None:
    exchange.wait(2 * PAUSE)
    exchange.answer(503, b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")


@kind("redirect-without-location")
def _redirect_without_location(exchange: Exchange) -> None:
    exchange.answer(301, b"")


@kind("redirect-to-another-region")
def _redirect_to_another_region(exchange: Exchange) -> None:
    text = "<Error><Code>PermanentRedirect</Code><Message>m</Message><Endpoint>raw.s3.eu-west-9.x</Endpoint></Error>"
    exchange.answer(301, text.encode(), ("x-amz-bucket-region", "eu-west-9"), ("Content-Type", "application/xml"))


# -- other statuses -------------------------------------------------------------------------------------------------


def _error(status: int, code: str, message: str, more: str = "") -> Respond:
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>'
    )
    return lambda exchange: exchange.answer(status, text.encode(), ("Content-Type", "application/xml"))


def _empty(status: int) -> Respond:
    def respond(exchange: Exchange) -> None:
        if status in (204, 304):
            exchange.head(status)
            exchange.closes = False
        else:
            exchange.answer(status, b"")

    return respond


for _status in (200, 202, 204, 206, 304, 400, 403, 404, 409, 412, 416, 500):
    kind(f"empty-{_status}")(_empty(_status))
kind("slow-down-503", core=True)(_error(503, "SlowDown", "Please reduce your request rate."))
kind("too-many-429")(_error(429, "TooManyRequests", "Slow down"))
kind("not-implemented-501")(_error(501, "NotImplemented", "A header you provided implies functionality"))
kind("conflict-409")(_error(409, "ConditionalRequestConflict", "Another request is under way."))
kind("precondition-412")(_error(412, "PreconditionFailed", "At least one of the pre-conditions did not hold"))
kind("no-such-bucket")(_error(404, "NoSuchBucket", "The specified bucket does not exist"))
kind("no-such-key")(_error(404, "NoSuchKey", "The specified key does not exist."))
kind("no-such-upload", on=PARTS)(_error(404, "NoSuchUpload", "The specified upload does not exist."))
kind("error-in-200")(_error(200, "InternalError", "We encountered an internal error."))
kind("access-denied", core=True)(_error(403, "AccessDenied", "Access Denied"))
kind("denied-by-kms")(
    _error(
        403,
        "AccessDenied",
        "User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey on resource: k",
    )
)
kind("denied-explicitly")(
    _error(
        403, "AccessDenied", 'User: arn is not authorized to perform: "s3:GetObject" with an explicit deny in a policy'
    )
)
kind("kms-disabled")(_error(400, "KMS.DisabledException", "arn:aws:kms:us-east-1:1:key/k is disabled."))
kind("archived")(
    _error(
        403,
        "InvalidObjectState",
        "The operation is not valid for the object's storage class",
        "<StorageClass>GLACIER</StorageClass>",
    )
)
kind("account-problem")(_error(403, "AccountProblem", "There is a problem with your AWS account"))
kind("all-access-disabled")(_error(403, "AllAccessDisabled", "All access to this object has been disabled"))
kind("invalid-access-key")(
    _error(
        403,
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist",
        "<AWSAccessKeyId>A</AWSAccessKeyId>",
    )
)
kind("request-timeout-400")(_error(400, "RequestTimeout", "Your socket connection was not read from"))
kind("error-without-code")(_error(403, "", ""))
kind("error-cut-short")(lambda exchange: exchange.answer(403, b"<Error><Code>AccessDenied</Code><Mess"))
kind("error-in-json")(lambda exchange: exchange.answer(400, b'{"error": {"code": 3, "message": null}}'))
kind("error-nested")(
    lambda exchange: exchange.answer(403, b"<Error><Code><a><b/></a></Code><Message><c>1</c><c>2</c></Message></Error>")
)
kind("error-twice")(lambda exchange: exchange.answer(403, b"<Error><Code>A</Code><Code>B</Code><Message/></Error>"))


# -- echoes, and far too much ---------------------------------------------------------------------------------------


def echo(request: Request) -> str:
    """Return what a careless proxy shows of a request: its head, with what signs it."""
    lines = "\n".join(f"{name}: {value}" for name, value in request.headers)
    return f"{request.method} {request.path}\n{lines}"


def _echoing(status: int, code: str, before: int = 0) -> Respond:
    def respond(exchange: Exchange) -> None:
        text = echo(exchange.request).replace("&", "&amp;").replace("<", "&lt;")
        filling = "Lorem ipsum\r\n&lt;&amp;&#27;[31m " * (before // 30)
        message = f"{text}\n{filling}\n{text}"
        body = f"<Error><Code>{code}</Code><Message>{message}</Message><Echo>{text}</Echo></Error>".encode()
        exchange.answer(status, body, ("Content-Type", "application/xml"))

    return respond


kind("echo-403", core=True)(_echoing(403, "SignatureDoesNotMatch"))
kind("echo-403-denied")(_echoing(403, "AccessDenied"))
kind("echo-400")(_echoing(400, "SomethingElse"))
kind("echo-500")(_echoing(500, "InternalError"))
kind("echo-412")(_echoing(412, "PreconditionFailed"))
kind("huge-error-403", core=True)(_echoing(403, "Forbidden", 2_500_000))
kind("huge-error-400")(_echoing(400, "Whatever", 2_500_000))
kind("huge-error-500")(_echoing(500, "InternalError", 2_500_000))
kind("huge-code")(lambda exchange: exchange.answer(400, b"<Error><Code>" + b"Az\n" * 300_000 + b"</Code></Error>"))
kind("huge-html-403")(
    lambda exchange: exchange.answer(403, PAGE + echo(exchange.request).encode() + b"<p>line\n" * 300_000)
)
kind("echo-in-code")(
    lambda exchange: exchange.answer(
        400, f"<Error><Code>{echo(exchange.request).replace('&', '')}</Code></Error>".encode()
    )
)
kind("echo-in-reason")(lambda exchange: exchange.answer(403, b"", reason=echo(exchange.request).replace("\n", " ")))
kind("echo-as-page", on=READS | LISTINGS | {"list-versions", "begin-parts"})(
    lambda exchange: exchange.answer(200, echo(exchange.request).encode(), ("ETag", '"x"'))
)
kind("echo-as-status-line")(lambda exchange: exchange.send(echo(exchange.request).encode() + b"\r\n\r\n"))


def _gigabyte(status: int, first: bytes, some: bytes) -> Respond:
    def respond(exchange: Exchange) -> None:
        data = some * (CHUNK // len(some))
        exchange.head(status, ("Transfer-Encoding", "chunked"), ("ETag", '"x"'), ("Content-Type", "application/xml"))
        exchange.chunks([first])
        exchange.chunks(data for _ in range(GIGABYTE // len(data)))
        exchange.chunks([b""])

    return respond


ENTRY: Final = (
    b"<Contents><Key>k</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
    b"<Size>1</Size></Contents>"
)
kind("gigabyte-200", heavy=True)(_gigabyte(200, b"{", b'"aaaaaaaaa": 1, '))
kind("gigabyte-403", heavy=True)(_gigabyte(403, b"<Error><Code>AccessDenied</Code><Message>", b"a lot of words "))
kind("gigabyte-500", heavy=True)(_gigabyte(500, b"", b"a lot of words "))
kind("gigabyte-404", heavy=True)(_gigabyte(404, b"<Error><Code>NoSuchKey</Code><Message>", b"a lot of words "))
kind("gigabyte-listing", heavy=True, on=LISTINGS)(
    _gigabyte(200, b"<ListBucketResult><IsTruncated>false</IsTruncated>", ENTRY)
)


@kind("gigabyte-with-length", heavy=True)
def _gigabyte_with_length(exchange: Exchange) -> None:
    exchange.head(200, ("Content-Length", str(GIGABYTE)), ("ETag", '"x"'))
    for _ in range(GIGABYTE // CHUNK):
        exchange.send(b" " * CHUNK)


def bomb(size: int) -> bytes:
    """Return a gzip stream that inflates to so many blanks."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(b" " * (1 << 20)) for _ in range(size >> 20)) + packer.flush()


@kind("gzip-bomb", heavy=True)
def _gzip_bomb(exchange: Exchange) -> None:
    exchange.answer(200, bomb(GIGABYTE >> 2), ("Content-Encoding", "gzip"), ("ETag", '"x"'))


@kind("gzip-that-is-none", on=READS | LISTINGS | {"list-versions", "begin-parts"})
def _gzip_that_is_none(exchange: Exchange) -> None:
    exchange.answer(200, b"{}" * 50, ("Content-Encoding", "gzip"), ("ETag", '"x"'))


@kind("header-flood", heavy=True)
def _header_flood(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-H-%d: a\r\n" % n for n in range(100_000)) + b"\r\n")


@kind("header-of-10-megabytes", heavy=True)
def _header_of_10_megabytes(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nETag: " + b"a" * (10 << 20) + b"\r\nContent-Length: 0\r\n\r\n")


# -- headers that are none ------------------------------------------------------------------------------------------


def _spoiled(name: str, value: str | None, *, closes: bool = False) -> Respond:
    """Return what passes on the real answer with another header, or without it."""

    def respond(exchange: Exchange) -> None:
        answer = exchange.theirs.with_header(name, value)
        exchange.head(answer.status, *answer.headers, reason=answer.reason)
        if exchange.request.method != "HEAD" and answer.body:
            exchange.send(answer.body)
        exchange.closes = closes

    return respond


ETAGS: Final = READS | WRITES | {"head"}
kind("no-etag", proxied=True, on=ETAGS, core=True)(_spoiled("ETag", None))
kind("empty-etag", proxied=True, on=ETAGS)(_spoiled("ETag", ""))
kind("folded-etag", proxied=True, on=ETAGS)(_spoiled("ETag", '"abc\r\n def"'))
kind("etag-not-ascii", proxied=True, on=ETAGS)(_spoiled("ETag", '"\xe4\xf6\xfc"'))
kind("etag-with-nul", proxied=True, on=ETAGS)(_spoiled("ETag", '"a\0b\x1b[31m"'))
kind("long-etag", proxied=True, on=ETAGS)(_spoiled("ETag", f'"{"e" * 60_000}"'))
SIZED: Final = READS | LISTINGS | {"head", "list-versions"}
kind("no-length", proxied=True, on=SIZED, core=True)(_spoiled("Content-Length", None, closes=True))
kind("length-too-long", proxied=True, on=SIZED)(_spoiled("Content-Length", "999999", closes=True))
kind("length-too-short", proxied=True, on=SIZED)(_spoiled("Content-Length", "7", closes=True))
kind("length-negative", proxied=True, on=SIZED)(_spoiled("Content-Length", "-5", closes=True))
kind("length-no-number", proxied=True, on=SIZED)(_spoiled("Content-Length", "many", closes=True))
kind("length-beyond-all", proxied=True, on=SIZED)(_spoiled("Content-Length", "9" * 5000, closes=True))
kind("two-lengths", proxied=True, on=SIZED)(_spoiled("Content-Length", "1\r\nContent-Length: 2", closes=True))
kind("no-last-modified", proxied=True, on=READS | {"head"})(_spoiled("Last-Modified", None))
kind("last-modified-no-date", proxied=True, on=READS | {"head"})(_spoiled("Last-Modified", "yesterday"))
kind("last-modified-beyond-all", proxied=True, on=READS | {"head"})(_spoiled("Last-Modified", "9" * 30))
kind("odd-metadata", proxied=True, on=READS | {"head"})(_spoiled("x-amz-meta-waiting", "\xff" * 50))
kind("odd-sha256", proxied=True, on={"head"})(_spoiled("x-amz-meta-sha256", "\xff no hash"))
kind("odd-version", proxied=True, on=ETAGS)(_spoiled("x-amz-version-id", ""))
kind("expiry-no-date", proxied=True, on=READS | {"head"})(_spoiled("Expires", "\xff\xfe"))


@kind("header-without-name", proxied=True)
def _header_without_name(exchange: Exchange) -> None:
    answer = exchange.theirs.with_header("content-length", str(len(exchange.theirs.body)))
    exchange.head(answer.status, ("", "x"), ("\xe4\xf6", "\xfc\0"), *answer.headers)
    if exchange.request.method != "HEAD":
        exchange.send(answer.body)


# -- XML that lacks, or has, what it should not ---------------------------------------------------------------------


def _with_body(change: Callable[[Exchange, bytes], bytes]) -> Respond:
    def respond(exchange: Exchange) -> None:
        body = change(exchange, exchange.theirs.body)
        exchange.pass_on(replace(exchange.theirs.with_header("content-length", None), body=body))

    return respond


def _element(name: str) -> re.Pattern[bytes]:
    return re.compile(rf"<{name}(?: [^>]*)?>.*?</{name}>|<{name}/>".encode(), re.DOTALL)


def _lacks(name: str) -> Respond:
    return _with_body(lambda _, body: _element(name).sub(b"", body))


def _has(name: str, text: str) -> Respond:
    changed = f"<{name}>{text}</{name}>".encode()
    return _with_body(lambda _, body: _element(name).sub(lambda _: changed, body))


def _xml(text: bytes) -> Respond:
    return lambda exchange: exchange.answer(200, text, ("Content-Type", "application/xml"), ("ETag", '"x"'))


VERSIONS: Final = frozenset({"list-versions"})
LISTED: Final = LISTINGS | VERSIONS
TEXTS: Final = LISTED | {"begin-parts", "end-parts", "delete"}
for _name in ("Key", "Size", "ETag", "LastModified", "IsTruncated"):
    kind(f"xml-lacks-{_name}", proxied=True, on=LISTED)(_lacks(_name))
for _name in ("VersionId", "IsLatest", "Version"):
    kind(f"xml-lacks-{_name}", proxied=True, on=VERSIONS)(_lacks(_name))
kind("xml-lacks-Contents", proxied=True, on=LISTINGS)(_lacks("Contents"))
kind("xml-lacks-UploadId", proxied=True, on={"begin-parts"})(_lacks("UploadId"))
kind("xml-empty-UploadId", proxied=True, on={"begin-parts"})(_has("UploadId", ""))
kind("xml-lacks-ETag-of-all", proxied=True, on={"end-parts"})(_lacks("ETag"))
for _name, _text in (
    ("Size", "many"),
    ("Size", "-1"),
    ("Size", ""),
    ("Size", "9" * 5000),
    ("LastModified", "yesterday"),
    ("LastModified", "99999999-01-01T00:00:00Z"),
    ("LastModified", ""),
    ("LastModified", "0001-01-01T00:00:00+23:59"),
    ("LastModified", "9" * 20),
    ("IsTruncated", "perhaps"),
    ("IsTruncated", "true"),
    ("Key", ""),
    ("Key", "&#65533;\xe4/%00/%zz"),
    ("Key", "somewhere/else"),
    ("Key", "x" * 5000),
    ("ETag", ""),
):
    kind(f"xml-{_name}={_text[:12] or 'empty'}".replace("/", "-"), proxied=True, on=LISTED)(_has(_name, _text))
for _name, _text in (("VersionId", ""), ("IsLatest", "perhaps"), ("VersionId", "a/b?c=&amp;\xe4")):
    kind(f"xml-{_name}={_text[:5] or 'empty'}".replace("/", "-"), proxied=True, on=VERSIONS)(_has(_name, _text))
kind("xml-nul-in-keys", proxied=True, on=LISTED)(_with_body(lambda _, body: body.replace(b"<Key>", b"<Key>\0")))
kind("xml-not-utf-8", proxied=True, on=LISTED)(_with_body(lambda _, body: body.replace(b"<Key>", b"<Key>\xff\xfe")))
kind("xml-other-root", on=TEXTS)(_xml(b"<Something><Else>1</Else></Something>"))
kind("xml-empty-root", on=TEXTS)(_xml(b"<ListBucketResult/>"))
kind("xml-text-only", on=TEXTS)(_xml(b"<ListBucketResult>Hello</ListBucketResult>"))
kind("xml-empty-entry", on=LISTED)(
    _xml(b"<ListBucketResult><Contents/><Version/><DeleteMarker/><IsTruncated>false</IsTruncated></ListBucketResult>")
)
kind("xml-deep", on=TEXTS)(_xml(b"<ListBucketResult>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</ListBucketResult>"))
kind("xml-laughs", on=TEXTS)(
    _xml(
        b'<!DOCTYPE x [<!ENTITY a0 "ha">'
        + b"".join(b'<!ENTITY a%d "%b">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
        + b"]><ListBucketResult><Contents><Key>&a11;</Key></Contents></ListBucketResult>"
    )
)
kind("xml-outer-entity", on=TEXTS)(
    _xml(
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><ListBucketResult><Prefix>&e;</Prefix></ListBucketResult>'
    )
)
kind("xml-cut-short", proxied=True, on=TEXTS)(_with_body(lambda _, body: body[: len(body) * 2 // 3]))
kind("json-for-xml", on=TEXTS)(_xml(b'{"Contents": []}'))
ODD_DELETE: Final = b"<DeleteResult><Error/><Error><Key>k</Key></Error><Deleted>1</Deleted></DeleteResult>"
kind("odd-deletion", on=DELETES)(_xml(ODD_DELETE))
kind("huge-deletion", on=DELETES)(
    _xml(b"<DeleteResult><Error><Code>A</Code><Message>" + b"x\n" * 100_000 + b"</Message></Error></DeleteResult>")
)


# -- listings without end -------------------------------------------------------------------------------------------


def _page(exchange: Exchange, keys: Iterable[str], *, more: bool, token: str) -> None:
    entries = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>"
        for key in keys
    )
    going_on = f"<NextContinuationToken>{token}</NextContinuationToken>" if more else ""
    text = (
        f"<ListBucketResult><Name>raw</Name><IsTruncated>{str(more).lower()}</IsTruncated>{going_on}{entries}"
        "</ListBucketResult>"
    )
    exchange.answer(200, text.encode(), ("Content-Type", "application/xml"))


def _prefix(exchange: Exchange) -> str:
    return exchange.request.query.get("prefix", "")


@kind("listing-same-page-for-ever", on=LISTINGS)
def _listing_same_page(exchange: Exchange) -> None:
    _page(exchange, [f"{_prefix(exchange)}same"], more=True, token="same")


@kind("listing-empty-pages-for-ever", on=LISTINGS)
def _listing_empty_pages(exchange: Exchange) -> None:
    exchange.server.pages += 1
    _page(exchange, [], more=True, token=f"{exchange.server.pages}")


@kind("listing-new-pages-for-ever", on=LISTINGS)
def _listing_new_pages(exchange: Exchange) -> None:
    exchange.server.pages += 1
    number = exchange.server.pages
    _page(exchange, [f"{_prefix(exchange)}~{number:09d}"], more=number < PAGES, token=f"{number}")


@kind("listing-backwards", on=LISTINGS)
def _listing_backwards(exchange: Exchange) -> None:
    exchange.server.pages += 1
    number = 1_000_000 - exchange.server.pages
    _page(exchange, [f"{_prefix(exchange)}~{number:09d}"], more=True, token=f"{number}")


@kind("listing-out-of-order", on=LISTINGS)
def _listing_out_of_order(exchange: Exchange) -> None:
    _page(exchange, [f"{_prefix(exchange)}{name}" for name in "cabbage"], more=False, token="")


@kind("listing-of-a-million", on=LISTINGS, heavy=True)
def _listing_of_many(exchange: Exchange) -> None:
    _page(exchange, [f"{_prefix(exchange)}{number:07d}" for number in range(100_000)], more=True, token="t")


def _versions(exchange: Exchange, marker: str, *, number: int, more: bool, next_key: str | None = None) -> None:
    key = _prefix(exchange)
    entries = (
        f"<Version><Key>{key}</Key><VersionId>v{number}</VersionId><IsLatest>{str(number == 1).lower()}</IsLatest>"
        f"<LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>2</Size></Version>"
    )
    going_on = f"<NextKeyMarker>{key if next_key is None else next_key}</NextKeyMarker>{marker}" if more else ""
    text = f"<ListVersionsResult><IsTruncated>{str(more).lower()}</IsTruncated>{going_on}{entries}</ListVersionsResult>"
    exchange.answer(200, text.encode(), ("Content-Type", "application/xml"))


@kind("versions-same-page-for-ever", on=VERSIONS)
def _versions_same_page(exchange: Exchange) -> None:
    _versions(exchange, "<NextVersionIdMarker>same</NextVersionIdMarker>", number=1, more=True)


@kind("versions-new-pages-for-ever", on=VERSIONS)
def _versions_new_pages(exchange: Exchange) -> None:
    exchange.server.pages += 1
    number = exchange.server.pages
    marker = f"<NextVersionIdMarker>{number}</NextVersionIdMarker>"
    _versions(exchange, marker, number=number, more=number < PAGES)


@kind("versions-two-pages-in-turn", on=VERSIONS)
def _versions_in_turn(exchange: Exchange) -> None:
    exchange.server.pages += 1
    number = exchange.server.pages % 2
    _versions(exchange, f"<NextVersionIdMarker>{number}</NextVersionIdMarker>", number=number, more=True)


kind("versions-without-marker", on=VERSIONS)(lambda exchange: _versions(exchange, "", number=1, more=True))
kind("versions-of-another-key", on=VERSIONS)(
    lambda exchange: _versions(exchange, "", number=1, more=True, next_key="zzz")
)


# -- documents that are none ----------------------------------------------------------------------------------------


def _document(body: bytes) -> Respond:
    return lambda exchange: exchange.answer(
        200, body, ("ETag", '"x"'), ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
    )


kind("document-empty", on=READS)(_document(b""))
kind("document-null", on=READS)(_document(b"null"))
kind("document-not-utf-8", on=READS)(_document(b'{"tables": "\xff"}'))
kind("document-deep", on=READS)(_document(b"[" * 200_000))
kind("document-echo", on=READS)(
    lambda exchange: exchange.answer(
        200, b'{"tables": "' + echo(exchange.request).replace("\n", " ").encode() + b'"}', ("ETag", '"x"')
    )
)
kind("document-huge-number", on=READS)(_document(b'{"tables": [], "revision": ' + b"9" * 10_000 + b"}"))
