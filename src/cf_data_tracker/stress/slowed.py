"""An S3 server made as slow as S3 is: a proxy before it, in a process of its own, that waits and counts.

A request is read whole, held back for a random share of its time, sent on, and answered when its time is over: its
effect falls somewhere inside that time, as it does in S3. What the server itself takes is part of the time.

Requests and answers pass as they were written, byte for byte, since signatures cover the Host. A request is sent on
once at most: where the server breaks off, the proxy breaks off too, and whether the request was applied is as unknown
as it would be without a proxy. A request that was read whole is sent on, even if its client is gone by then.

How long a request takes is left to `latency`. `slowed` is what the library uses; what stands below the line happens
in the proxy's process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import mmap
import os
import random
import resource
import select
import selectors
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final, cast
from urllib.parse import urlsplit

from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.names import shown
from cf_data_tracker.stress.latency import PROFILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["KINDS", "Pace", "Slowed", "kind_of", "slowed"]

KINDS: Final = ("read", "unchanged", "write", "list", "delete", "other")
"""Kinds of requests. `unchanged` is a read that is answered with 304; `other` is not held back."""

_CHOICES = (*PROFILES, "none")
_LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0  # it takes 0.2 s, and much longer from a cold, slow disk
_SHOWN_OF_STDERR = 2000  # characters
_PROGRAM = "from cf_data_tracker.stress import slowed; slowed.main()"
_BACKLOG = 1024  # workers connect all at once: one that finds no place waits a second
_OPEN_FILES = 16_384  # two for each client; many systems allow a process 1,024 until it asks for more
_COUNTS_BYTES = 8 * len(KINDS)
_LONGEST_HEAD = 256 * 1024  # bytes; S3 itself takes 8 KiB
_LINE_END, _END_OF_HEAD = b"\r\n", b"\r\n\r\n"
_LENGTH, _ENCODING = b"content-length", b"transfer-encoding"
_WITHOUT_BODY = frozenset({"204", "304"})  # whatever their fields say of a length


@dataclass(frozen=True, kw_only=True, slots=True)
class Slowed:
    """Where the slow server listens, and what was asked of it.

    Attributes:
        endpoint_url: The proxy's URL on the loopback interface.
    """

    endpoint_url: str
    _counts: memoryview = field(repr=False, compare=False)  # memory that the proxy's process writes to

    def requests(self) -> dict[str, int]:
        """Return how many requests there were so far of each of `KINDS`, with those whose answer is still held back.

        May be asked by any thread, and also when the context has ended.
        """
        return dict(zip(KINDS, self._counts, strict=True))


@contextlib.contextmanager
def slowed(endpoint_url: str, profile: str, *, seed: int = 0) -> Iterator[Slowed]:
    """Run a proxy before a server until the context ends or this process does, even by SIGKILL.

    What is under way when the context ends may or may not be applied.

    Args:
        endpoint_url: The server, `http://host:port`.
        profile: One of `latency.PROFILES`, or `none`, which only counts.
        seed: Of the times drawn: the same requests in the same order are given the same.

    Raises:
        InvalidNameError: There is no such profile, or the URL has another form.
        StoreError: The proxy did not start; the message says why.
    """
    if profile not in _CHOICES:
        raise InvalidNameError(f"the latencies must be one of {', '.join(_CHOICES)}, got {shown(profile)}")
    host, port = _address(endpoint_url)
    with tempfile.TemporaryFile() as counts, tempfile.TemporaryFile() as stderr:
        counts.truncate(_COUNTS_BYTES)
        with _process([host, str(port), profile, str(seed)], counts, stderr) as process:
            own = _announced_port(process, stderr)
            yield Slowed(endpoint_url=f"http://{_LOOPBACK}:{own}", _counts=_shared(counts.fileno()))


def _address(endpoint_url: str) -> tuple[str, int]:
    with contextlib.suppress(ValueError):  # a port that is no number
        url = urlsplit(endpoint_url)
        bare = not (url.path.strip("/") or url.query or url.username or url.password)
        if url.scheme == "http" and url.hostname and bare:
            return url.hostname, url.port or 80
    # The URL is not shown: there may be a password in it.
    raise InvalidNameError(
        "the endpoint to be slowed must be http://host:port, with nothing after it and no user in it"
    )


@contextlib.contextmanager
def _process(arguments: list[str], counts: IO[bytes], stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    inherited = counts.fileno()
    with subprocess.Popen(  # noqa: S603 - this very module, run by the interpreter that runs us
        [sys.executable, "-c", _PROGRAM, str(inherited), *arguments],  # -m would warn where `stress` imports us
        stdin=subprocess.PIPE,  # its end is how the proxy learns of ours
        stdout=subprocess.PIPE,
        stderr=stderr,
        pass_fds=[inherited],
        start_new_session=True,  # Ctrl-C in the terminal is for us, who then stop the proxy
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # it has nothing to put in order


def _announced_port(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> int:
    late = threading.Timer(_START_SECONDS, process.kill)  # which ends the reading below
    late.start()
    try:
        line = process.stdout.readline() if process.stdout else b""
    finally:
        late.cancel()
    if line.strip().isdigit():
        return int(line)
    process.kill()
    code = process.wait()
    stderr.seek(0)
    said = stderr.read().decode(errors="replace").strip()[-_SHOWN_OF_STDERR:]
    raise StoreError(f"The slow server did not start (exit code {code}): {said or 'it said nothing'}")


def _shared(file: int) -> memoryview:
    return memoryview(mmap.mmap(file, _COUNTS_BYTES)).cast("Q")


def kind_of(method: str, target: str) -> str:
    """Return the kind of a request, one of `KINDS`; that a read is `unchanged` shows only in its answer.

    Args:
        method: The HTTP method.
        target: Path and query, with the bucket in the path.
    """
    path, _, query = target.partition("?")
    bucket, _, key = path.removeprefix("/").partition("/")
    asked = query.split("&")
    if method == "DELETE" or (method == "POST" and ("delete" in asked or "delete=" in asked)):
        return "delete"
    if method in {"PUT", "POST"}:
        return "write"
    if method == "GET" and ("list-type=2" in asked or (bucket and not key)):
        return "list"
    return "read" if method == "HEAD" or (method == "GET" and key) else "other"


class Pace:
    """How long requests take. The same seed gives the same times, one after the other.

    Args:
        profile: One of `latency.PROFILES`, or `none`.
        seed: Where the times come from.
    """

    def __init__(self, profile: str, seed: int) -> None:
        self._latencies = PROFILES.get(profile, {})
        self._random = random.Random(seed)  # noqa: S311 - times to wait, no secrets

    def draw(self, kind: str) -> tuple[float, Mapping[str, float]]:
        """Return the seconds before a request is sent on, and those until it is answered, by what it turns out to be.

        A read may turn out to be `unchanged`. Both times are drawn by the same luck, and the first wait fits in either.
        """
        luck = self._random.gauss(0.0, 1.0)
        kinds = ("read", "unchanged") if kind == "read" else (kind,)
        until = {
            kind: self._latencies[kind].draw(lambda mean, deviation: mean + deviation * luck)
            for kind in kinds
            if kind in self._latencies
        }
        return self._random.random() * min(until.values(), default=0.0), until


# -- from here on: the proxy's process ------------------------------------------------------------------------------


def main() -> None:
    """Serve until the parent is gone."""
    parent = os.getppid()
    options = _options()
    _allow_open_files()
    proxy = _Proxy(options.host, options.port, Pace(options.profile, options.seed), _shared(options.counts))
    with contextlib.closing(asyncio.SelectorEventLoop(_Precise())) as loop:
        loop.run_until_complete(_serve(proxy, parent))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("counts", type=int)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("profile")
    parser.add_argument("seed", type=int)
    return parser.parse_args()


def _allow_open_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, ceiling), hard))


async def _serve(proxy: _Proxy, parent: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Peer(proxy.welcome), _LOOPBACK, 0, backlog=_BACKLOG)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    # Processes forked from the parent hold our standard input open after it has died, hence the look at its id.
    while os.getppid() == parent and not ended.is_set():
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), 1.0)


class _Precise(selectors.DefaultSelector):
    """A selector that wakes in time: epoll rounds up to a millisecond, and a read from S3 Express takes but 2.5."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            select.select([self.fileno()], [], [], timeout)
        return super().select(0)


class _Peer(asyncio.Protocol):
    """A connection, to a client or to the server: what has come on it and was not taken yet."""

    def __init__(self, welcome: Callable[[_Peer], None] | None = None) -> None:
        self._welcome = welcome
        self._come = bytearray()
        self._ended = False  # the other side says no more; it may still listen
        self._lost = False
        self._news: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if self._welcome:
            self._welcome(self)

    def data_received(self, data: bytes) -> None:
        self._come += data
        self._tell()

    def eof_received(self) -> bool:
        self._ended = True
        self._tell()
        return True  # stay open: who says no more may still want the answer

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the name is asyncio's
        self._lost = True
        self._tell()

    async def take(self, size: int) -> bytes:
        """Return the next so many bytes."""
        if size < 0:
            raise ValueError(f"a length of {size}")
        while len(self._come) < size:
            await self._more()
        taken = bytes(self._come[:size])
        del self._come[:size]
        return taken

    async def take_through(self, end: bytes) -> bytes:
        """Return the next bytes up to and with `end`."""
        while (at := self._come.find(end)) < 0:
            if len(self._come) > _LONGEST_HEAD:
                raise ValueError("no end of a line or head comes")
            await self._more()
        return await self.take(at + len(end))

    async def take_rest(self) -> bytes:
        """Return all that comes until the other side says that it was all."""
        while not self._ended:
            await self._more()
        return await self.take(len(self._come))

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self._transport.close()

    def is_idle(self) -> bool:
        """Whether the next request can go this way: nothing is under way, and nothing has come, not even the end."""
        if self._come or self._ended or self._transport.is_closing() or self._transport.get_write_buffer_size():
            return False
        poll = select.poll()  # what the loop has not come round to see
        poll.register(self._transport.get_extra_info("socket"), select.POLLIN)
        return not poll.poll(0)

    async def _more(self) -> None:
        if self._ended or self._lost:
            raise ConnectionAbortedError("the other side broke off")
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _tell(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Message:
    """A request or an answer.

    Attributes:
        text: All of it, as it was written.
        start: The three words of its first line.
        last: Whether the connection that it came on ends with it.
    """

    text: bytes
    start: tuple[str, str, str]
    last: bool


_BAD_GATEWAY = _Message(
    text=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    start=("HTTP/1.1", "502", "Bad Gateway"),
    last=True,
)


class _Proxy:
    """What all connections share: where the server is, the connections to it, the pace and the counts."""

    def __init__(self, host: str, port: int, pace: Pace, counts: memoryview) -> None:
        self._host = host
        self._port = port
        self._pace = pace
        self._counts = counts
        self._connections: list[_Peer] = []  # to the server, and not in use; the last used is the next used
        self._tasks: set[asyncio.Task[None]] = set()  # asyncio itself holds them but weakly

    def welcome(self, client: _Peer) -> None:
        task = asyncio.get_running_loop().create_task(self._attend(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, client: _Peer) -> None:
        # A client may break off, and what it writes may be no HTTP: in either case that was all.
        with contextlib.closing(client), contextlib.suppress(ConnectionError, ValueError):
            last = False
            while not last:
                request = await _request(client)
                answer = await self._slowly(request)
                client.send(answer.text)
                last = request.last or answer.last

    async def _slowly(self, request: _Message) -> _Message:
        method, target, _ = request.start
        began, kind = asyncio.get_running_loop().time(), kind_of(method, target)
        before, until = self._pace.draw(kind)
        await _sleep_until(began + before)
        try:
            answer = await self._exchange(request)
            if kind == "read" and answer.start[1] == "304":
                kind = "unchanged"
        finally:
            self._counts[KINDS.index(kind)] += 1
        await _sleep_until(began + until.get(kind, 0.0))
        return answer

    async def _exchange(self, request: _Message) -> _Message:
        """Send the request on, once, and return the server's answer."""
        try:
            server = await self._connection()
        except OSError:
            return _BAD_GATEWAY  # nothing was sent
        try:
            server.send(request.text)
            answer = await _answer(server, request.start[0])
        except BaseException:
            server.close()
            raise
        if request.last or answer.last:
            server.close()
        else:
            self._connections.append(server)
        return answer

    async def _connection(self) -> _Peer:
        while self._connections:
            server = self._connections.pop()
            if server.is_idle():
                return server
            server.close()
        _, server = await asyncio.get_running_loop().create_connection(_Peer, self._host, self._port)
        return server


async def _sleep_until(moment: float) -> None:
    wait = moment - asyncio.get_running_loop().time()
    if wait > 0:
        await asyncio.sleep(wait)


async def _request(client: _Peer) -> _Message:
    head = await client.take_through(_END_OF_HEAD)
    start, fields = _parsed(head)
    if b"100-continue" in fields.get(b"expect", b""):
        client.send(b"HTTP/1.1 100 Continue\r\n\r\n")  # the server's own word to go on is passed over in `_answer`
    body = await _body(client, fields)
    return _Message(text=head + body, start=start, last=_closes(start[2], fields))


async def _answer(server: _Peer, method: str) -> _Message:
    status = "100"
    while status.startswith("1"):
        text = await server.take_through(_END_OF_HEAD)
        start, fields = _parsed(text)
        status = start[1]
    last = _closes(start[0], fields)
    if method != "HEAD" and status not in _WITHOUT_BODY:
        has_end = _LENGTH in fields or _ENCODING in fields
        text += await (_body(server, fields) if has_end else server.take_rest())
        last = last or not has_end
    return _Message(text=text, start=start, last=last)


def _parsed(head: bytes) -> tuple[tuple[str, str, str], Mapping[bytes, bytes]]:
    """Return the words of the first line, and the fields by name, names and values in small letters."""
    first, *lines = head.split(b"\r\n")
    one, two, three = (*first.decode("latin-1").split(" ", 2), "")[:3]  # the reason for a status may be missing
    parts = (line.lower().partition(b":") for line in lines)
    return (one, two, three), {name: value.strip() for name, _, value in parts}


def _closes(version: str, fields: Mapping[bytes, bytes]) -> bool:
    if not version.startswith("HTTP/1."):
        raise ValueError(f"{version} is not HTTP/1")
    return version == "HTTP/1.0" or b"close" in fields.get(b"connection", b"")


async def _body(peer: _Peer, fields: Mapping[bytes, bytes]) -> bytes:
    if b"chunked" in fields.get(_ENCODING, b""):
        return await _chunks(peer)
    return await peer.take(int(fields.get(_LENGTH, b"0")))


async def _chunks(peer: _Peer) -> bytes:
    """Return a body in chunks as it was written, with what may follow the last of them."""
    parts = []
    size = -1
    while size:
        parts.append(await peer.take_through(_LINE_END))
        size = int(parts[-1].partition(b";")[0], 16)
        if size:
            parts.append(await peer.take(size + len(_LINE_END)))
    while parts[-1] != _LINE_END:
        parts.append(await peer.take_through(_LINE_END))
    return b"".join(parts)
