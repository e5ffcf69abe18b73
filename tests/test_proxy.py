"""The proxy does to a request what its fate says, and no more. Behind it is a small server that keeps what arrives."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse, RemoteDisconnected
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from servers.proxy import Fate, FaultyProxy, Seen, always, in_order, mix, one_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from servers.proxy import Plan

NOT_SENT_ON = {
    Fate.CONFLICT_409: (409, "ConditionalRequestConflict"),
    Fate.ERROR_500: (500, "InternalError"),
    Fate.SLOW_DOWN_503: (503, "SlowDown"),
    Fate.REFUSED_IN_200: (200, "PreconditionFailed"),
}

ANSWERS = {
    "/": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n", b"thank you"),
    "/chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", b"6\r\nthank \r\n3\r\nyou\r\n0\r\n\r\n"),
    "/204": (b"HTTP/1.1 204 No Content\r\n", b""),
    "/304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n", b""),
    "/412": (b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\n", b"no"),
}


@dataclass
class Behind:
    """The server behind the proxy: the requests that reached it, as method, path, headers and body."""

    port: int
    arrived: list[tuple[str, str, list[tuple[str, str]], bytes]] = field(default_factory=list)
    news: threading.Event = field(default_factory=threading.Event)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the requests that reached it, in their order."""
        return [body for *_, body in self.arrived]


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = Behind(self.server_port)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        method, path, _ = self.requestline.split()
        self.server.behind.arrived.append((method, path, self.headers.items(), self._body()))
        self.server.behind.news.set()
        head, body = ANSWERS.get(path, ANSWERS["/"])
        self.wfile.write(head + b'ETag: "e1"\r\n\r\n' + (b"" if method == "HEAD" else body))

    do_GET = do_HEAD = do_PUT = do_DELETE = _serve  # noqa: N815 - names that the base class calls

    def _body(self) -> bytes:
        if "Transfer-Encoding" not in self.headers:
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the standard library has it
        """Say nothing."""


@pytest.fixture
def behind() -> Iterator[Behind]:
    """Run the server behind the proxy for one test."""
    with _Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.behind
        server.shutdown()
        thread.join()


@pytest.fixture
def down() -> Behind:
    """Return a server that has ended: nobody listens on its port."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        return Behind(nobody.getsockname()[1])


@contextmanager
def through(
    behind: Behind, plan: Plan, *, answer_after: float = 30.0, apply_after: float = 30.0
) -> Iterator[tuple[FaultyProxy, HTTPConnection]]:
    """Yield a proxy with that plan, and a client of it that gives up after a while."""
    url = f"http://127.0.0.1:{behind.port}"
    with FaultyProxy(url, plan, answer_after=answer_after, apply_after=apply_after) as proxy:
        address = proxy.endpoint_url.removeprefix("http://")
        with closing(HTTPConnection(address, timeout=5)) as client:
            yield proxy, client


def put(client: HTTPConnection, body: bytes = b"v1", path: str = "/raw/k") -> tuple[HTTPResponse, bytes]:
    """Send a conditional PUT; return the head and the body of its answer."""
    client.request("PUT", path, body, {"If-Match": '"e0"', "Authorization": "signed"})
    answer = client.getresponse()
    return answer, answer.read()


def raw(proxy: FaultyProxy) -> socket.socket:
    """Return a connection to the proxy on which a test writes HTTP itself."""
    return socket.create_connection(("127.0.0.1", int(proxy.endpoint_url.rpartition(":")[2])), timeout=5)


def test_an_answered_request_arrives_as_it_was_written(behind: Behind) -> None:
    """Method, path, headers and body reach the server unchanged, the client's Host among them."""
    with through(behind, always(Fate.ANSWERED)) as (proxy, client):
        put(client, path="//raw/a%20b%2Fc//d?x-id=PutObject")
    host = ("Host", proxy.endpoint_url.removeprefix("http://"))
    own = [("Accept-Encoding", "identity"), ("Content-Length", "2")]
    signed = [("If-Match", '"e0"'), ("Authorization", "signed")]
    expected = ("PUT", "//raw/a%20b%2Fc//d?x-id=PutObject", [host, *own, *signed, ("Connection", "close")], b"v1")
    assert [expected] == behind.arrived


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/", (200, b"thank you")), ("/chunked", (200, b"thank you")), ("/412", (412, b"no"))],
)
def test_an_answered_request_gets_the_answer_of_the_server(
    behind: Behind, path: str, expected: tuple[int, bytes]
) -> None:
    """Status, headers and body of the answer come back, whatever it says and however it is sent."""
    with through(behind, always(Fate.ANSWERED)) as (_, client):
        answer, body = put(client, path=path)
    assert (expected, '"e1"') == ((answer.status, body), answer.headers["ETag"])


def test_the_answer_is_lost(behind: Behind) -> None:
    """The request is applied before the connection closes without an answer."""
    with through(behind, always(Fate.ANSWER_LOST)) as (_, client), pytest.raises(RemoteDisconnected):
        put(client)
    assert [b"v1"] == behind.bodies


def test_the_request_is_lost(behind: Behind) -> None:
    """The connection closes without an answer, and the request never arrives."""
    with through(behind, always(Fate.LOST_BEFORE)) as (_, client), pytest.raises(RemoteDisconnected):
        put(client)
    assert [] == behind.bodies


def test_the_answer_is_late(behind: Behind) -> None:
    """The request is applied at once, and the client's time-out passes before the answer comes."""
    with through(behind, always(Fate.ANSWER_LATE)) as (_, client):
        client.timeout = 0.2
        with pytest.raises(TimeoutError):
            put(client)
        assert behind.news.wait(5)


def test_a_late_answer_reaches_a_client_that_waits(behind: Behind) -> None:
    """A client with patience gets the answer of the server."""
    with through(behind, always(Fate.ANSWER_LATE), answer_after=0.05) as (_, client):
        assert 200 == put(client)[0].status


def test_the_request_is_applied_late(behind: Behind) -> None:
    """The connection closes without an answer, and after a while the request is applied."""
    begun = time.monotonic()
    with through(behind, always(Fate.APPLIED_LATE), apply_after=0.3) as (_, client):
        with pytest.raises(RemoteDisconnected):
            put(client)
        assert behind.news.wait(5)
        assert time.monotonic() - begun >= 0.3
    assert [b"v1"] == behind.bodies


def test_what_is_to_be_applied_late_is_applied_when_the_proxy_closes(behind: Behind) -> None:
    """No request that was promised to be applied is forgotten, and closing does not wait for its time."""
    with through(behind, always(Fate.APPLIED_LATE)) as (_, client), pytest.raises(RemoteDisconnected):
        put(client)
    assert [b"v1"] == behind.bodies


@pytest.mark.parametrize("fate", NOT_SENT_ON, ids=lambda fate: fate.name)
def test_a_refusal_is_not_sent_on(behind: Behind, fate: Fate) -> None:
    """The client gets an error document of S3 with its status and code, and the request never arrives."""
    with through(behind, always(fate)) as (_, client):
        answer, text = put(client)
    status, code = NOT_SENT_ON[fate]
    assert (status, "application/xml") == (answer.status, answer.headers["Content-Type"])
    assert f"<Error><Code>{code}</Code>".encode() in text
    assert [] == behind.bodies


def test_a_500_may_hide_a_success(behind: Behind) -> None:
    """The request is applied, and answered with 500."""
    with through(behind, always(Fate.APPLIED_500)) as (_, client):
        answer, text = put(client)
    assert (500, True) == (answer.status, b"<Code>InternalError</Code>" in text)
    assert [b"v1"] == behind.bodies


def test_one_connection_serves_many_requests(behind: Behind) -> None:
    """After an answer, its own or the server's, the client's connection stays open."""
    with through(behind, in_order(Fate.ANSWERED, Fate.ERROR_500)) as (_, client):
        put(client)
        first = client.sock
        put(client)
        put(client)
        assert first is client.sock


@pytest.mark.parametrize(
    ("method", "path", "length"), [("HEAD", "/k", "9"), ("GET", "/304", "9"), ("DELETE", "/204", None)]
)
def test_an_answer_without_a_body_has_none(behind: Behind, method: str, path: str, length: str | None) -> None:
    """Nothing follows the head of such an answer, which may tell the object's length; the next one is understood."""
    with through(behind, always(Fate.ANSWERED)) as (_, client):
        client.request(method, path)
        answer = client.getresponse()
        assert (b"", length) == (answer.read(), answer.headers["Content-Length"])
        assert b"thank you" == put(client)[1]


def test_a_refused_head_has_no_body(behind: Behind) -> None:
    """An error document is left out of the answer to HEAD, and the next answer is understood."""
    with through(behind, in_order(Fate.ERROR_500)) as (_, client):
        client.request("HEAD", "/k")
        answer = client.getresponse()
        assert (500, b"") == (answer.status, answer.read())
        assert b"thank you" == put(client)[1]


def test_a_chunked_body_arrives_whole(behind: Behind) -> None:
    """A body of unknown length, sent in chunks, arrives in chunks and whole."""
    with through(behind, always(Fate.ANSWERED)) as (_, client):
        client.request("PUT", "/k", iter([b"one ", b"two"]), encode_chunked=True)
        client.getresponse().read()
    [(_, _, headers, body)] = behind.arrived
    assert (b"one two", "chunked") == (body, dict(headers)["Transfer-Encoding"])


def test_a_client_that_asks_first_is_told_to_go_on(behind: Behind) -> None:
    """`Expect: 100-continue` is answered before the body is sent."""
    head = b"PUT /k HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    with through(behind, always(Fate.ANSWERED)) as (proxy, _), raw(proxy) as connection:
        connection.sendall(head)
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == connection.recv(100)
        connection.sendall(b"v1")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    [(_, _, headers, body)] = behind.arrived
    assert (b"v1", False) == (body, "Expect" in dict(headers))


@pytest.mark.parametrize(
    "rest",
    [
        "Content-Length: 9\r\n\r\nhalf",
        "Transfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhal",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ],
)
def test_half_a_request_is_none(behind: Behind, capfd: pytest.CaptureFixture[str], rest: str) -> None:
    """A client that hangs up while it sends has sent nothing, and nobody complains."""
    with through(behind, always(Fate.ANSWERED)) as (proxy, _):
        with raw(proxy) as connection:
            connection.sendall(f"PUT /k HTTP/1.1\r\nHost: h\r\n{rest}".encode())
        assert not behind.news.wait(0.1)
    assert Counter() == proxy.counts
    assert ("", "") == capfd.readouterr()


def test_a_client_may_hang_up(behind: Behind, capfd: pytest.CaptureFixture[str]) -> None:
    """A client that does not wait for its answer gets none, and nobody complains."""
    with through(behind, always(Fate.ANSWER_LATE), answer_after=0.1) as (proxy, _):
        for _attempt in range(5):
            with raw(proxy) as connection:
                connection.sendall(b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n")
                assert behind.news.wait(5)
    assert ("", "") == capfd.readouterr()


def test_a_server_that_is_down_loses_the_answer(down: Behind) -> None:
    """If nobody listens behind the proxy, the connection closes without an answer."""
    with through(down, always(Fate.ANSWERED)) as (_, client), pytest.raises(RemoteDisconnected):
        put(client)


def test_a_500_hides_that_the_server_is_down(down: Behind) -> None:
    """The proxy's own answer is given even if the server gave none."""
    with through(down, always(Fate.APPLIED_500)) as (_, client):
        assert 500 == put(client)[0].status


def test_closing_hangs_up_on_all(behind: Behind) -> None:
    """Closing ends idle connections, and those whose answer is held back, at once."""
    begun = time.monotonic()
    with ExitStack() as clients:
        with through(behind, always(Fate.ANSWER_LATE)) as (proxy, _):
            idle, waiting = (clients.enter_context(raw(proxy)) for _ in range(2))
            waiting.sendall(b"GET /k HTTP/1.1\r\nHost: h\r\n\r\n")
            assert behind.news.wait(5)
        assert (b"", b"") == (idle.recv(1), waiting.recv(1))
    assert time.monotonic() - begun < 5


def test_fates_are_counted(behind: Behind) -> None:
    """The counts tell how many requests have met each fate."""
    with through(behind, in_order(Fate.ERROR_500, Fate.ANSWERED, Fate.ERROR_500)) as (proxy, client):
        for _ in range(3):
            put(client)
        assert {Fate.ERROR_500: 2, Fate.ANSWERED: 1} == proxy.counts


def test_a_plan_sees_the_head_of_the_request(behind: Behind) -> None:
    """A plan decides by number, method, path and headers."""
    seen: list[Seen] = []

    def plan(request: Seen) -> Fate:
        seen.append(request)
        return Fate.ANSWERED

    with through(behind, plan) as (_, client):
        put(client, path="/raw/k?x-id=PutObject")
        client.request("GET", "/raw/k")
        client.getresponse().read()
    assert [(1, "PUT", "/raw/k?x-id=PutObject"), (2, "GET", "/raw/k")] == [(s.number, s.method, s.path) for s in seen]
    assert ('"e0"', None) == (seen[0].headers.get("if-match"), seen[1].headers.get("if-match"))


def fates(plan: Plan, method: str = "PUT", count: int = 7_000) -> list[Fate]:
    """Return what the plan has in store for that many requests."""
    return [plan(Seen(number=number, method=method, path="/", headers={})) for number in range(1, count + 1)]


def test_a_seed_names_a_run() -> None:
    """Two plans of the same seed give each number the same fate; another seed gives others."""
    assert fates(one_in(7, Fate.ANSWER_LOST, seed=1)) == fates(one_in(7, Fate.ANSWER_LOST, seed=1))
    assert fates(one_in(7, Fate.ANSWER_LOST, seed=1)) != fates(one_in(7, Fate.ANSWER_LOST, seed=2))


def test_one_in_n_meets_the_fate() -> None:
    """About one request in n meets the fate, and the others are answered."""
    counts = Counter(fates(one_in(7, Fate.ANSWER_LOST, seed=1)))
    assert {Fate.ANSWER_LOST, Fate.ANSWERED} == set(counts)
    assert pytest.approx(1_000, rel=0.1) == counts[Fate.ANSWER_LOST]


def test_a_mix_keeps_its_shares() -> None:
    """Each fate of a mix is met with its own probability."""
    counts = Counter(fates(mix({Fate.ERROR_500: 0.1, Fate.LOST_BEFORE: 0.3}, seed=3)))
    expected = {Fate.ERROR_500: 700, Fate.LOST_BEFORE: 2_100, Fate.ANSWERED: 4_200}
    assert pytest.approx(expected, rel=0.15) == counts


def test_a_plan_may_concern_some_methods_only() -> None:
    """Requests of the methods that are not named are answered."""
    plan = one_in(1, Fate.ERROR_500, seed=1, methods={"PUT"})
    assert {Fate.ERROR_500} == set(fates(plan, "PUT"))
    assert {Fate.ANSWERED} == set(fates(plan, "GET"))


def test_a_mix_of_more_than_everything_is_none() -> None:
    """Probabilities that come to more than 1 are refused."""
    with pytest.raises(ValueError, match="more than 1"):
        mix({Fate.ERROR_500: 0.6, Fate.LOST_BEFORE: 0.6}, seed=1)
