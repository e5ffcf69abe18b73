"""The slow server passes on what is said, once, and counts it; behind it is S3, or a small server that keeps bytes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

import pytest
from botocore.exceptions import ClientError

from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.stores.s3 import open_client
from cf_data_tracker.stress.latency import PROFILES
from cf_data_tracker.stress.slowed import KINDS, Pace, _Peer, kind_of, slowed
from conftest import access_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mypy_boto3_s3.client import S3Client

    from cf_data_tracker.stress.slowed import Slowed
    from servers.server import Server

NOTHING = dict.fromkeys(KINDS, 0)
MIB = 1024 * 1024


class TestS3:
    """An S3 server behind it: a client of the library's sees no difference."""

    @pytest.fixture
    def front(self, server: Server) -> Iterator[Slowed]:
        """Put a proxy that only counts before the server."""
        with slowed(server.endpoint_url, "none") as front:
            yield front

    @pytest.fixture
    def s3(self, server: Server, front: Slowed) -> Iterator[S3Client]:
        """Give a client that goes through it."""
        with contextlib.closing(open_client(access_to(server, endpoint_url=front.endpoint_url))) as s3:
            yield s3

    def test_a_conditional_write_is_taken_or_refused(self, s3: S3Client, front: Slowed, schema: str) -> None:
        """The conditions of writes reach the server, and its refusals the client; all count as writes."""
        s3.put_object(Bucket="raw", Key=schema, Body=b"first", IfNoneMatch="*")
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="raw", Key=schema, Body=b"lost", IfNoneMatch="*")
        stale = s3.put_object(Bucket="raw", Key=schema, Body=b"second")["ETag"].strip('"')  # as Ceph 16 wants it
        s3.put_object(Bucket="raw", Key=schema, Body=b"third", IfMatch=stale)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            s3.put_object(Bucket="raw", Key=schema, Body=b"lost", IfMatch=stale)
        assert b"third" == s3.get_object(Bucket="raw", Key=schema)["Body"].read()
        assert NOTHING | {"write": 5, "read": 1} == front.requests()

    def test_a_read_finds_nothing_or_no_news(self, s3: S3Client, front: Slowed, schema: str) -> None:
        """404 and 304 come through, the latter counted apart; HEAD is a read."""
        with pytest.raises(ClientError, match="NoSuchKey"):
            s3.get_object(Bucket="raw", Key=schema)
        etag = s3.put_object(Bucket="raw", Key=schema, Body=b"12345")["ETag"]
        with pytest.raises(ClientError, match="304"):
            s3.get_object(Bucket="raw", Key=schema, IfNoneMatch=etag)
        assert 5 == s3.head_object(Bucket="raw", Key=schema)["ContentLength"]
        assert NOTHING | {"read": 2, "unchanged": 1, "write": 1} == front.requests()

    def test_keys_are_listed_and_deleted(self, s3: S3Client, front: Slowed, schema: str) -> None:
        """A LIST, a DELETE, and a deletion of several keys at once do what they do, and count as what they are."""
        keys = [f"{schema}/{name}" for name in ("a b", "c%20d", "delete", "é")]
        for key in keys:
            s3.put_object(Bucket="raw", Key=key, Body=b"")
        listed = s3.list_objects_v2(Bucket="raw", Prefix=f"{schema}/")
        assert keys == [entry["Key"] for entry in listed["Contents"]]
        s3.delete_object(Bucket="raw", Key=keys[0])
        s3.delete_objects(Bucket="raw", Delete={"Objects": [{"Key": key} for key in keys[1:]]})
        assert 0 == s3.list_objects_v2(Bucket="raw", Prefix=f"{schema}/")["KeyCount"]
        assert NOTHING | {"write": 4, "list": 2, "delete": 2} == front.requests()

    @pytest.mark.parametrize("size", [0, 5 * MIB, 20 * MIB])
    @pytest.mark.parametrize("wrap", [bytes, bytearray], ids=["asks first (Expect: 100-continue)", "sends at once"])
    def test_a_body_of_any_size_comes_back(
        self, s3: S3Client, schema: str, wrap: Callable[[bytes], bytes], size: int
    ) -> None:
        """What was written is what is read, whether the client waits for a word to go on or not."""
        body = os.urandom(size)
        s3.put_object(Bucket="raw", Key=schema, Body=wrap(body))
        assert body == s3.get_object(Bucket="raw", Key=schema)["Body"].read()


def test_a_write_takes_as_long_as_on_s3(embedded: Server, schema: str) -> None:
    """With the profile `s3` no write is answered before 25 ms, less than half the median, have passed."""
    with (
        slowed(embedded.endpoint_url, "s3") as front,
        contextlib.closing(open_client(access_to(embedded, endpoint_url=front.endpoint_url))) as s3,
    ):
        for number in range(8):
            began = time.monotonic()
            s3.put_object(Bucket="raw", Key=f"{schema}/{number}", Body=b"")
            assert time.monotonic() - began >= 0.025


CHUNKS = b"4;x=y\r\none \r\n003\r\ntwo\r\n0\r\nx-sum: 1\r\n\r\n"
"""A body in chunks, with all that may stand in one."""


class Behind(socketserver.ThreadingTCPServer):
    """The server behind the proxy: the requests that reached it, byte for byte, and on how many connections."""

    daemon_threads = False
    request_queue_size = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint_url = f"http://127.0.0.1:{self.server_address[1]}"
        self.arrived: list[bytes] = []
        self.connections = 0
        self.hung_up = threading.Event()
        self.news = threading.Event()


class _Handler(socketserver.StreamRequestHandler):
    server: Behind

    ANSWERS: ClassVar = {
        "/b/k": b"HTTP/1.1 200 OK\r\nx-Odd:  and kept \r\nConTent-LENGTH: 9\r\n\r\nthank you",
        "/b/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS,
        "/b/204": b"HTTP/1.1 204 No Content\r\n\r\n",
        "/b/304": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        "/b/head": b"HTTP/1.1 200\r\nContent-Length: 9\r\n\r\n",
        "/b/closes": b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok",
        "/b/to-the-end": b"HTTP/1.1 200 OK\r\n\r\nthank you",
        "/b/old": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "/b/hangs-up": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "/b/silence": b"",
        "/b/half": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "/b/garbage": b"thank you\r\n\r\n",
    }
    HANGS_UP_AFTER = frozenset({"closes", "to-the-end", "old", "hangs-up", "silence", "half", "garbage"})

    def handle(self) -> None:
        self.server.connections += 1
        while head := self._through(b"\r\n\r\n"):
            self.server.arrived.append(head + self._body(head.lower()))
            self.server.news.set()
            path = head.split(b" ")[1].decode()
            if b"100-continue" in head:
                self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
            self.wfile.write(self.ANSWERS[path])
            if path.rpartition("/")[2] in self.HANGS_UP_AFTER:
                break

    def finish(self) -> None:
        super().finish()
        self.request.shutdown(socket.SHUT_RDWR)
        self.server.hung_up.set()

    def _body(self, head: bytes) -> bytes:
        if b"chunked" in head:
            return self._chunks()
        length = re.search(rb"content-length: *(\d+)", head)
        return self.rfile.read(int(length[1])) if length else b""

    def _chunks(self) -> bytes:
        text = self._through(b"\r\n0\r\n")
        while not text.endswith(b"\r\n\r\n") and (line := self.rfile.readline()):
            text += line
        return text

    def _through(self, end: bytes) -> bytes:
        text = b""
        while not text.endswith(end):
            line = self.rfile.readline()
            if not line:
                return b""
            text += line
        return text


@pytest.fixture
def behind() -> Iterator[Behind]:
    """Run the server behind the proxy for one test."""
    with Behind() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def front(behind: Behind) -> Iterator[Slowed]:
    """Put a proxy that only counts before it."""
    with slowed(behind.endpoint_url, "none") as front:
        yield front


@contextlib.contextmanager
def connected(front: Slowed) -> Iterator[socket.socket]:
    """Yield a connection to the proxy on which a test writes HTTP itself."""
    with socket.create_connection(("127.0.0.1", int(front.endpoint_url.rpartition(":")[2])), timeout=20) as client:
        yield client


def asked(method: str, name: str, *fields: str, body: bytes = b"") -> bytes:
    """Return a request about an object, as it is written."""
    lines = [f"{method} /b/{name} HTTP/1.1", "Host: signed", *fields]
    if method == "PUT" and "Transfer-Encoding: chunked" not in fields:
        lines.append(f"Content-Length: {len(body)}")
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


def answered(client: socket.socket, name: str) -> bool:
    """Whether the next thing that comes is the answer of the server behind, byte for byte."""
    return _Handler.ANSWERS[f"/b/{name}"] == came(client, len(_Handler.ANSWERS[f"/b/{name}"]))


def came(client: socket.socket, size: int) -> bytes:
    """Return the next bytes, fewer if the connection ends."""
    text = b""
    while len(text) < size and (more := client.recv(size - len(text))):
        text += more
    return text


class TestPassage:
    """What is said comes out at the other side as it went in."""

    @pytest.mark.parametrize(
        "request_",
        [
            b"GET /b/k HTTP/1.1\r\nhOST:   a.b:1 \r\nX-Twice: 1\r\nx-twice: 2\r\nAuthorization: s3cr3t\r\n\r\n",
            asked("PUT", "k", 'If-Match: "e"', body=bytes(range(256))),
            asked("PUT", "k", "Transfer-Encoding: chunked", body=CHUNKS),
            asked("PUT", "k", body=b""),
        ],
        ids=["fields", "body", "chunks", "no body"],
    )
    def test_a_request_arrives_as_it_was_written(self, behind: Behind, front: Slowed, request_: bytes) -> None:
        """Letters, order and spaces of its head are kept, the Host with them, and so is the body."""
        with connected(front) as client:
            client.sendall(request_)
            assert answered(client, "k")
        assert [request_] == behind.arrived

    def test_connections_stay_open(self, behind: Behind, front: Slowed) -> None:
        """One connection on each side carries every kind of answer, each as it was written, after the other."""
        with connected(front) as client:
            for method, name in [("GET", "chunks"), ("DELETE", "204"), ("GET", "304"), ("HEAD", "head"), ("PUT", "k")]:
                client.sendall(asked(method, name))
                assert answered(client, name)
        assert 1 == behind.connections

    def test_requests_may_come_in_a_row(self, behind: Behind, front: Slowed) -> None:
        """A client that sends the next request before it has an answer gets the answers in their order."""
        row = [asked("PUT", "k", body=b"1"), asked("GET", "chunks"), asked("DELETE", "204")]
        with connected(front) as client:
            client.sendall(b"".join(row))
            assert answered(client, "k")
            assert answered(client, "chunks")
            assert answered(client, "204")
        assert row == behind.arrived

    def test_a_request_may_come_in_crumbs(self, behind: Behind, front: Slowed) -> None:
        """A request that comes byte by byte is one request, and holds up nobody meanwhile."""
        whole = asked("PUT", "k", body=b"crumbs")
        with connected(front) as slow, connected(front) as quick:
            for crumb in whole[:-1]:
                slow.sendall(bytes([crumb]))
            quick.sendall(asked("GET", "k"))
            assert answered(quick, "k")
            slow.sendall(whole[-1:])
            assert answered(slow, "k")
        assert [asked("GET", "k"), whole] == behind.arrived

    def test_a_client_that_asks_first_is_told_to_go_on(self, behind: Behind, front: Slowed) -> None:
        """`Expect: 100-continue` is answered at once, and the server's own word to go on, then late, is left out."""
        whole = asked("PUT", "k", "Expect: 100-continue", body=b"v1")
        with connected(front) as client:
            client.sendall(whole[:-2])
            assert b"HTTP/1.1 100 Continue\r\n\r\n" == came(client, 25)
            client.sendall(whole[-2:])
            assert answered(client, "k")
        assert [whole] == behind.arrived


class TestEnds:
    """Who breaks off harms no one else, and nothing is sent twice."""

    def test_the_client_may_end_the_connection(self, behind: Behind, front: Slowed) -> None:
        """After a request that says so both connections end, and the next client gets another."""
        for _ in range(2):
            with connected(front) as client:
                client.sendall(asked("GET", "k", "Connection: close"))
                assert answered(client, "k")
                assert b"" == client.recv(1)
        assert 2 == behind.connections

    def test_the_client_may_say_that_it_says_no_more(self, front: Slowed) -> None:
        """A client that has closed its side for writing still gets its answer."""
        with connected(front) as client:
            client.sendall(asked("GET", "k"))
            client.shutdown(socket.SHUT_WR)
            assert answered(client, "k")
            assert b"" == client.recv(1)

    @pytest.mark.parametrize("name", ["closes", "to-the-end", "old"])
    def test_the_server_may_end_the_connection(self, front: Slowed, name: str) -> None:
        """An answer with which the server's connection ends is passed on whole, and ends the client's too."""
        with connected(front) as client:
            client.sendall(asked("GET", name))
            assert answered(client, name)
            assert b"" == client.recv(1)

    def test_a_connection_that_the_server_left_is_not_used(self, behind: Behind, front: Slowed) -> None:
        """If the server hung up after its last answer, without a word, the next request takes another connection."""
        with connected(front) as client:
            for number in range(20):
                client.sendall(asked("PUT", "hangs-up", body=b"%d" % number))
                assert answered(client, "hangs-up")
                assert behind.hung_up.wait(20)
                behind.hung_up.clear()
        assert [asked("PUT", "hangs-up", body=b"%d" % number) for number in range(20)] == behind.arrived
        assert 20 == behind.connections

    def test_an_end_that_nobody_has_noticed_yet_is_seen(self) -> None:
        """A server may hang up between two looks of the proxy's loop: the system is asked, and knows."""

        async def noticed() -> tuple[bool, bool]:
            ours, theirs = socket.socketpair()
            with theirs:
                _, peer = await asyncio.get_running_loop().create_connection(_Peer, sock=ours)
                before = peer.is_idle()
                theirs.shutdown(socket.SHUT_WR)
                after = peer.is_idle()  # nothing was awaited since, so the loop cannot know
                peer.close()
                await asyncio.sleep(0)
            return before, after

        assert (True, False) == asyncio.run(noticed())

    @pytest.mark.parametrize("name", ["silence", "half", "garbage"])
    @pytest.mark.parametrize("used", [False, True], ids=["new connection", "used connection"])
    def test_an_unanswered_request_is_not_sent_again(
        self,
        behind: Behind,
        front: Slowed,
        name: str,
        used: bool,  # noqa: FBT001 - the two cases of one law
    ) -> None:
        """If the server breaks off, or answers no HTTP, so does the proxy: the write arrived once, and counts."""
        with connected(front) as client:
            if used:
                client.sendall(asked("PUT", "k"))
                assert answered(client, "k")
            client.sendall(asked("PUT", name))
            assert b"" == client.recv(1)
        assert [asked("PUT", name)] == behind.arrived[-1:]
        assert 1 + used == len(behind.arrived) == front.requests()["write"]

    def test_a_server_that_is_down_is_told_of(self) -> None:
        """If nobody listens behind the proxy the client learns it: nothing was sent."""
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            port = nobody.getsockname()[1]
        with slowed(f"http://127.0.0.1:{port}", "none") as front, connected(front) as client:
            client.sendall(asked("PUT", "k"))
            assert came(client, 1000).startswith(b"HTTP/1.1 502 Bad Gateway\r\n")

    @pytest.mark.parametrize(
        "part",
        [
            asked("PUT", "k")[:-2],
            asked("PUT", "k", body=b"whole")[:-1],
            asked("PUT", "k", "Transfer-Encoding: chunked", body=b"5\r\nhal"),
            asked("PUT", "k", "Transfer-Encoding: chunked", body=b"4\r\nhalf\r\n0\r\n"),
            asked("PUT", "k", "Transfer-Encoding: chunked", body=b"4\r\nhalf\r\nno size\r\n"),
            asked("GET", "k", "Content-Length: -1"),
            b"no HTTP\r\n\r\n",
        ],
    )
    def test_half_a_request_is_none(self, behind: Behind, front: Slowed, part: bytes) -> None:
        """Of a request that is not whole, or is none, nothing is sent on; others are served as before."""
        with connected(front) as client:
            client.sendall(part)
            client.shutdown(socket.SHUT_WR)
            assert b"" == client.recv(1)
        with connected(front) as client:
            client.sendall(asked("GET", "k"))
            assert answered(client, "k")
        assert [asked("GET", "k")] == behind.arrived
        assert NOTHING | {"read": 1} == front.requests()

    def test_a_head_has_an_end(self, front: Slowed) -> None:
        """On a client that sends a mebibyte and still no end of a head the proxy hangs up."""
        with connected(front) as client, contextlib.suppress(ConnectionError):  # perhaps before all is sent
            client.sendall(b"x" * MIB)
            assert b"" == client.recv(1)

    def test_a_request_of_a_client_that_is_gone_is_applied(self, behind: Behind) -> None:
        """Clients that die right after their last byte leave a request that arrives, and harm no one."""
        with slowed(behind.endpoint_url, "s3") as front:
            for number in range(10):
                with connected(front) as dying:
                    dying.sendall(asked("PUT", "k", body=b"%d" % number))
                    if number % 2:  # with a reset
                        dying.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with connected(front) as living:
                while front.requests()["write"] < 10:
                    living.sendall(asked("GET", "k"))
                    assert answered(living, "k")
        writes = {request for request in behind.arrived if request.startswith(b"PUT")}
        assert {asked("PUT", "k", body=b"%d" % number) for number in range(10)} == writes

    def test_many_may_connect_at_once(self, front: Slowed) -> None:
        """A hundred clients at once are all let in, and answered."""
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(front)) for _ in range(100)]
            for client in clients:
                client.sendall(asked("GET", "k"))
            assert all(answered(client, "k") for client in clients)
        assert 100 == front.requests()["read"]


class TestKinds:
    """What counts as what."""

    @pytest.mark.parametrize(
        ("method", "target", "kind"),
        [
            ("PUT", "/raw/a/b?x-id=PutObject", "write"),
            ("POST", "/raw/k?uploads", "write"),
            ("POST", "/raw/k?uploadId=delete", "write"),
            ("GET", "/raw/k", "read"),
            ("GET", "/raw//k", "read"),
            ("GET", "/raw/delete?versionId=1", "read"),
            ("HEAD", "/raw/k", "read"),
            ("HEAD", "/raw", "read"),
            ("GET", "/raw?list-type=2&prefix=a%2F", "list"),
            ("GET", "/raw/?prefix=a", "list"),
            ("GET", "/?list-type=2", "list"),
            ("DELETE", "/raw/k", "delete"),
            ("POST", "/raw?delete", "delete"),
            ("POST", "/raw/?delete=", "delete"),
            ("GET", "/", "other"),
            ("OPTIONS", "/raw/k", "other"),
        ],
    )
    def test_the_kind_of_a_request(self, method: str, target: str, kind: str) -> None:
        """The kind follows from method, path and query."""
        assert kind == kind_of(method, target)


class TestPace:
    """How long a request is held back."""

    @pytest.mark.parametrize("profile", PROFILES)
    @pytest.mark.parametrize("kind", ["read", "write", "list", "delete"])
    def test_the_first_wait_is_a_random_share(self, profile: str, kind: str) -> None:
        """The request goes on at any moment of its time: shares of it are spread evenly between none and all."""
        pace = Pace(profile, 1)
        drawn = [pace.draw(kind) for _ in range(4_000)]
        shares = sorted(before / min(until.values()) for before, until in drawn)
        assert [0.1, 0.5, 0.9] == pytest.approx([shares[len(shares) * tenth // 10] for tenth in (1, 5, 9)], abs=0.03)
        assert 0.0 <= shares[0] <= shares[-1] <= 1.0

    def test_a_read_has_the_time_of_what_it_turns_out_to_be(self) -> None:
        """A read draws both times by the same luck: who is slow is slow either way."""
        pace = Pace("s3", 1)
        drawn = sorted((until["read"], until["unchanged"]) for _, until in (pace.draw("read") for _ in range(1_000)))
        assert sorted(unchanged for _, unchanged in drawn) == [unchanged for _, unchanged in drawn]
        assert (0.027, 0.010) == pytest.approx(drawn[500], rel=0.1)

    def test_a_write_has_the_time_of_a_write(self) -> None:
        """Nothing else than its own kind is drawn for it."""
        assert {"write"} == set(Pace("s3", 1).draw("write")[1])

    @pytest.mark.parametrize(("profile", "kind"), [("s3", "other"), ("none", "write"), ("none", "read")])
    def test_some_requests_are_not_held_back(self, profile: str, kind: str) -> None:
        """Neither `other` requests nor any with the profile `none` wait at all."""
        assert (0.0, {}) == Pace(profile, 1).draw(kind)

    def test_the_same_seed_gives_the_same_times(self) -> None:
        """Times depend on the seed and the kinds of the requests, in their order, and on nothing else."""
        one, same, other = ([pace.draw("write") for _ in range(5)] for pace in (Pace("s3", s) for s in (7, 7, 8)))
        assert one == same
        assert one != other


class TestProcess:
    """The proxy's process: how it is asked for, and how it ends."""

    def test_an_unknown_profile_is_refused(self) -> None:
        """The error names the choices."""
        with pytest.raises(InvalidNameError, match=r"one of s3, express, none, got 'S3'"):
            slowed("http://127.0.0.1:1", "S3").__enter__()

    @pytest.mark.parametrize(
        "url",
        ["https://127.0.0.1:1", "127.0.0.1:1", "http://", "http://h:x", "http://h/path", "http://h?q", "http://u:pw@h"],
    )
    def test_an_endpoint_of_another_form_is_refused(self, url: str) -> None:
        """Only plain HTTP to a host and port can be slowed; the error does not show what may be a password."""
        with pytest.raises(InvalidNameError, match="http://host:port") as refused:
            slowed(url, "none").__enter__()
        assert "pw" not in str(refused.value)

    def test_a_slash_after_the_port_is_no_path(self, behind: Behind) -> None:
        """The endpoint may end with a slash, as people write it."""
        with slowed(f"{behind.endpoint_url}/", "none") as front, connected(front) as client:
            client.sendall(asked("GET", "k"))
            assert answered(client, "k")

    def test_a_proxy_that_does_not_start_says_why(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error of a proxy that did not start ends with what it wrote to standard error."""
        (tmp_path / "mmap.py").write_text("raise ImportError('no mmap today')")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
        with pytest.raises(StoreError, match=r"did not start \(exit code 1\): (.|\n)*no mmap today"):
            slowed("http://127.0.0.1:1", "none").__enter__()

    def test_it_ends_with_its_context_and_leaves_its_counts(self, behind: Behind) -> None:
        """When the context has ended nobody listens any more, idle clients are hung up on, and the counts stay."""
        with contextlib.ExitStack() as clients:
            with slowed(behind.endpoint_url, "none") as front:
                client = clients.enter_context(connected(front))
                client.sendall(asked("PUT", "k"))
                assert answered(client, "k")
            assert b"" == client.recv(1)
            with pytest.raises(ConnectionRefusedError):
                clients.enter_context(connected(front))
        assert NOTHING | {"write": 1} == front.requests()

    def test_it_ends_with_its_standard_input(self) -> None:
        """A proxy whose standard input is at its end stops by itself: none outlives a parent that dies early."""
        with tempfile.TemporaryFile() as counts:
            counts.truncate(8 * len(KINDS))
            program = "from cf_data_tracker.stress import slowed; slowed.main()"
            command = [sys.executable, "-c", program, str(counts.fileno()), "127.0.0.1", "1", "none", "0"]
            ended = subprocess.run(command, input=b"", pass_fds=[counts.fileno()], check=False, timeout=20)
        assert 0 == ended.returncode

    def test_two_proxies_are_strangers(self, behind: Behind, front: Slowed) -> None:
        """Each counts what went through itself."""
        with slowed(behind.endpoint_url, "none") as other, connected(other) as client:
            client.sendall(asked("PUT", "k"))
            assert answered(client, "k")
            assert (1, 0) == (other.requests()["write"], front.requests()["write"])

    def test_counts_may_be_read_by_threads(self, front: Slowed) -> None:
        """Any thread may ask while requests go on; what it is told never goes back."""
        with connected(front) as client, ThreadPoolExecutor(4) as pool:
            told = [pool.submit(lambda: [front.requests()["read"] for _ in range(2_000)]) for _ in range(4)]
            for _ in range(100):
                client.sendall(asked("GET", "k"))
                assert answered(client, "k")
            for counts in told:
                assert sorted(counts.result()) == counts.result()
        assert 100 == front.requests()["read"]

    @pytest.mark.parametrize("forks", [False, True], ids=["alone", "with a forked worker that lives on"])
    def test_it_dies_with_its_parent(self, behind: Behind, forks: bool) -> None:  # noqa: FBT001 - the two cases of one law
        """A parent killed by SIGKILL takes its proxy along, although workers it forked hold the pipe open."""
        script = [sys.executable, "-c", PARENT.format(forks=forks, endpoint_url=behind.endpoint_url)]
        with contextlib.ExitStack() as stack:
            parent = stack.enter_context(subprocess.Popen(script, stdout=subprocess.PIPE, text=True))
            stack.callback(parent.kill)
            assert parent.stdout is not None
            port, worker = parent.stdout.readline().split()
            if forks:
                stack.callback(os.kill, int(worker), signal.SIGKILL)
            client = stack.enter_context(socket.create_connection(("127.0.0.1", int(port)), timeout=20))
            client.sendall(asked("GET", "k"))
            assert answered(client, "k")
            parent.kill()
            assert b"" == client.recv(1)


PARENT = """
import os, time
from cf_data_tracker.stress.slowed import slowed

with slowed("{endpoint_url}", "none") as front:
    forked = os.fork() if {forks} else 0
    if forked or not {forks}:
        print(front.endpoint_url.rpartition(":")[2], forked, flush=True)
    time.sleep(60)
"""
