"""Limits of one request: it ends as a whole, whatever trickles, and an answer that is too long is not read."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Final

import boto3
import pytest
from botocore.config import Config

from cf_data_tracker.deadline import deadline, run_until, run_without_deadline
from cf_data_tracker.errors import AnswerTooLargeError, TrackerError
from cf_data_tracker.store import Conflict, TooLarge, Unanswered
from cf_data_tracker.stores.limits import (
    BYTES_A_SECOND,
    FILE_BYTES_A_SECOND,
    MAX_ANSWER,
    AnswerTooLong,
    Request,
    expect,
    limited,
    observant,
)
from cf_data_tracker.stores.objects import S3Objects
from cf_data_tracker.stores.s3 import S3Store
from cf_data_tracker.upload import content_of
from conftest import make_bucket
from servers.hostile import KINDS, HostileServer
from servers.server import Server
from test_s3_store import refusal, store_at

OK: Final = b'HTTP/1.1 200 OK\r\nETag: "e"\r\n'
TIMEOUT: Final = 0.3
SLACK: Final = 5.0
"""Seconds that a loaded machine may add."""

Answer = Callable[[socket.socket], None]


def trickling(head: bytes, body: bytes) -> Answer:
    """Return an answer whose body comes byte by byte, a little faster than a read times out."""

    def answer(peer: socket.socket) -> None:
        peer.sendall(head)
        for number in range(len(body)):
            peer.sendall(body[number : number + 1])
            time.sleep(TIMEOUT / 3)  # noqa: TID251 - a slow server is what is tried

    return answer


def endless(head: bytes, piece: bytes) -> Answer:
    """Return an answer of 40 MiB, which is longer than any that is read here, as fast as it can."""

    def answer(peer: socket.socket) -> None:
        peer.sendall(head)
        for _ in range((40 << 20) // len(piece)):
            peer.sendall(piece)

    return answer


def silent(peer: socket.socket) -> None:
    """Answer nothing, until the client hangs up or the server ends."""
    peer.recv(1)


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[str]:
    """Yield where a server listens that gives each connection this answer once a request has begun."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        peers: list[socket.socket] = []

        def serve(peer: socket.socket) -> None:
            with contextlib.suppress(OSError), peer:
                peer.recv(65_536)
                answer(peer)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peers.append(listening.accept()[0])
                    pool.submit(serve, peers[-1])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.shutdown(socket.SHUT_RDWR)
            thread.join()


def dropped(_address: object, timeout: float, **_: object) -> socket.socket:
    """Wait for an answer that does not come, as where a firewall drops packets."""
    time.sleep(timeout)  # noqa: TID251 - it is what is tried
    raise TimeoutError


def seconds_of(question: Callable[[], object]) -> float:
    """Return how long a question takes that ends in a signal or an error."""
    began = time.monotonic()
    assert isinstance(refusal(question), (Unanswered, Conflict, TrackerError))
    return time.monotonic() - began


LONG: Final = b"x" * 80
SLOW: Final = {
    "a head that trickles": trickling(b"HTTP/1.1 200 OK\r\n", b"X: " + LONG),
    "a body that trickles": trickling(OK + b"Content-Length: 80\r\n\r\n", LONG),
    "a body without a length that trickles": trickling(OK + b"\r\n", LONG),
    "chunks that trickle": trickling(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 15),
    "100 Continue for ever": trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4),
    "an endless head": endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
}


class TestTime:
    """A request ends `request_timeout` seconds after it began."""

    @pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
    @pytest.mark.parametrize("operation", ["read", "write", "list", "delete"])
    def test_an_answer_that_trickles_is_cut_off(self, answer: Answer, operation: str) -> None:
        """However often a byte comes: a read timeout alone would wait for each."""
        with server(answer) as url, store_at(url, request_timeout=TIMEOUT) as plain:
            store = S3Store(plain._client, "raw", request_timeout=TIMEOUT)  # noqa: SLF001 - the client that is closed
            questions = {
                "read": lambda: store.read("k"),
                "write": lambda: store.write("k", b"{}", replacing=None),
                "list": lambda: store.list("p/"),
                "delete": lambda: store.delete("k"),
            }
            assert TIMEOUT + SLACK > seconds_of(questions[operation])

    def test_silence_is_cut_off_whatever_the_timeouts_of_the_client(self) -> None:
        """A client that was handed in may wait a minute for each byte."""
        with server(silent) as url, store_at(url, request_timeout=60.0) as plain:
            store = S3Store(plain.client, "raw", request_timeout=TIMEOUT)
            assert TIMEOUT + SLACK > seconds_of(lambda: store.read("k"))

    def test_a_client_that_expects_a_word_first_is_cut_off(self) -> None:
        """Botocore reads lines after `100 Continue` until a blank one comes, even where the connection has ended."""
        broken = trickling(b"HTTP/1.1 100 Continue\r\n", b"")
        with server(broken) as url, store_at(url) as plain:
            client = plain._client  # noqa: SLF001 - as above
            store = S3Store(client, "raw", request_timeout=TIMEOUT)

            def put() -> None:
                with store.asking("s3:PutObject", "k") as usable:
                    usable.put_object(Bucket="raw", Key="k", Body=b"x")

            assert TIMEOUT + SLACK > seconds_of(put)

    def test_a_call_that_has_ended_cuts_off_its_requests(self) -> None:
        """One request timeout after its deadline, whatever the request has earned by moving bytes."""
        clock = iter([100.0, 100.0, 101.0, 104.0, 115.0, 115.1])
        request = run_until(100.0, lambda: Request(15.0, lambda: next(clock)))
        request.sent(MAX_ANSWER // 2)
        assert [15.0, 14.0, 11.0] == [request.seconds() for _ in range(3)]
        for _ in range(2):
            with pytest.raises(TimeoutError):
                request.seconds()

    @pytest.mark.parametrize(("ends", "pace"), [(100.0, BYTES_A_SECOND), (float("inf"), FILE_BYTES_A_SECOND)])
    def test_what_moves_at_a_useful_pace_earns_time(self, ends: float, pace: int) -> None:
        """A second for each 128 KiB, or for each 8 KiB of a file, in either direction."""
        clock = iter([0.0, 10.0, 10.0])
        request = run_until(ends, lambda: Request(15.0, lambda: next(clock)))
        request.sent(pace)
        request.received(2 * pace)
        assert 18.0 - 10.0 == request.seconds()

    def test_what_moved_fast_earns_an_answer_no_more_than_one_request_timeout(self) -> None:
        """After gigabytes that took a moment, the rest may not trickle for hours."""
        clock = iter([0.0, 2.0, 2.0, 16.0, 16.0])
        with limited(15.0, lambda: next(clock)) as request:
            expect(float("inf"))
            request.sent(1 << 30)
            request.received(1 << 30)
            assert 15.0 == request.seconds()
            request.received(1)
            assert 1 == round(request.seconds())

    @pytest.mark.parametrize(
        ("size", "purpose"), [(1 << 20, "put-object"), (9 << 20, "put-part"), (9 << 20, "end-parts")]
    )
    def test_the_answer_to_a_large_file_is_cut_off(
        self, embedded: Server, schema: str, tmp_path: Path, size: int, purpose: str
    ) -> None:
        """Whatever was sent before it, and whether it goes where nothing is or in place of what is there."""
        make_bucket(embedded, "limits")
        path = tmp_path / "large"
        path.write_bytes(bytes(size))
        with HostileServer(embedded.endpoint_url) as odd, store_at(odd.endpoint_url) as plain:
            odd.misbehave(KINDS["trickling-head"], purpose)
            files = S3Objects(S3Store(plain.client, "limits", request_timeout=TIMEOUT), "limits", lambda once: once())
            with content_of(path) as content:
                for write in (
                    lambda: files.overwrite(f"{schema}/k", str(path)),
                    lambda: files.create(f"{schema}/k", content, lambda _: None),
                ):
                    assert TIMEOUT + SLACK > seconds_of(write)
            assert 2 <= odd.hits[purpose]

    def test_all_addresses_of_a_host_share_the_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A host of S3 has eight; where packets are dropped, each would take the time for a connection."""
        silent = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{number}", 9)) for number in range(2, 10)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: silent)
        monkeypatch.setattr("urllib3.util.connection.create_connection", dropped)
        with store_at("http://store.invalid:9") as plain:
            store = S3Store(plain.client, "raw", request_timeout=TIMEOUT)
            began = time.monotonic()
            signal = refusal(lambda: store.write("k", b"{}", replacing=None))
        assert TIMEOUT + SLACK > time.monotonic() - began
        assert isinstance(signal, Unanswered)
        assert not signal.sent

    def test_a_body_is_sent_in_pieces_that_may_take_their_time(self, embedded: Server, schema: str) -> None:
        """The whole of it arrives."""
        body = bytes(range(256)) * 3000
        with store_at(embedded.endpoint_url) as store:
            store.write(f"{schema}/k", body, replacing=None)
            there = store.read(f"{schema}/k")
        assert body == getattr(there, "body", None)


class TestSize:
    """An answer that is longer than expected is not read."""

    @pytest.mark.parametrize("operation", ["list", "delete", "read"])
    def test_an_endless_answer_is_an_error(self, operation: str) -> None:
        """Of a listing, a deletion, and an error to a read: what none of S3's can be."""
        status = b"HTTP/1.1 200 OK\r\n\r\n" if operation != "read" else b"HTTP/1.1 404 Not Found\r\n\r\n"
        with server(endless(status, b"<a/>" * 16_384)) as url, store_at(url) as store:
            questions = {
                "list": lambda: store.list("p/"),
                "delete": lambda: store.delete("k", "l"),
                "read": lambda: store.read("k"),
            }
            error = refusal(questions[operation])
        assert isinstance(error, AnswerTooLargeError)
        assert "is longer than 16 MiB, and was not read" in str(error)

    def test_an_endless_answer_to_a_write_leaves_it_in_doubt(self) -> None:
        """The write may have been done before the answer began."""
        with server(endless(b"HTTP/1.1 200 OK\r\n\r\n", b"<a/>" * 16_384)) as url, store_at(url) as store:
            signal = refusal(lambda: store.write("k", b"{}", replacing=None))
        assert isinstance(signal, Unanswered)
        assert signal.sent

    @pytest.mark.parametrize("length", [b"Content-Length: 999999999\r\n", b"Transfer-Encoding: chunked\r\n"])
    def test_an_entry_that_is_too_long_is_an_error(self, length: bytes) -> None:
        """An object that the tracker keeps for itself is at most 4 MiB, announced or not."""
        with (
            server(endless(OK + length + b"\r\n", b"10000\r\n" + b"x" * 0x10000 + b"\r\n")) as url,
            store_at(url) as store,
            pytest.raises(TooLarge),
        ):
            store.read("_cf_tracker/inbox/k/1", most=4 << 20)

    def test_the_content_of_a_file_may_have_any_length(self) -> None:
        """It is not held in memory."""
        clock = count(0.0, 0.0)
        with limited(15.0, lambda: next(clock)) as request:
            with pytest.raises(AnswerTooLong):
                request.received(MAX_ANSWER + 1)
            expect(float("inf"))
            request.received(1 << 50)

    def test_outside_a_request_there_is_nothing_to_expect(self) -> None:
        """It is no error: a twin in memory has no limits."""
        expect(1)


class TestClients:
    """Which clients observe the limits."""

    def test_a_client_works_as_before_where_no_limits_are_set(self) -> None:
        """A client that was handed in is its owner's as well."""
        body = b"x" * 100
        with server(trickling(OK + b"Content-Length: 100\r\n\r\n", body[:7])) as url:
            client = observant(
                boto3.client(
                    "s3",
                    endpoint_url=url,
                    region_name="us-east-1",
                    aws_access_key_id="a",
                    aws_secret_access_key="b",
                    config=Config(retries={"total_max_attempts": 1}),
                )
            )
            answer = client.get_object(Bucket="raw", Key="k")
            assert b"xxx" == answer["Body"].read(3)
            client.close()

    def test_a_client_is_made_observant_once(self, embedded: Server) -> None:
        """Its connections stay open from then on."""
        with store_at(embedded.endpoint_url) as store:
            client = store._client  # noqa: SLF001 - there is no other way to it
            store.list("p/")
            pools = client._endpoint.http_session._manager.pools  # type: ignore[attr-defined]  # noqa: SLF001 - as above
            assert 1 == len(pools)
            assert observant(client) is client
            assert 1 == len(pools)


class TestForeignExceptions:
    """What is raised in the middle of a request by something else than boto3."""

    class Interrupt(BaseException):
        """Raised by a signal handler, say."""

    class SoftLimit(Exception):  # noqa: N818 - so are those of task queues called
        """The same, as an ordinary exception."""

    @pytest.mark.parametrize("kind", [Interrupt, SoftLimit, KeyboardInterrupt])
    def test_the_client_opens_its_connections_anew(self, embedded: Server, kind: type[BaseException]) -> None:
        """It may have left their pool locked, where the next request would wait for ever."""
        with store_at(embedded.endpoint_url) as store:
            client = store.client
            session = client._endpoint.http_session  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way
            before = session._manager  # noqa: SLF001 - as above

            def interrupt(**_: object) -> None:
                raise kind

            client.meta.events.register("before-send.s3.ListObjectsV2", interrupt, unique_id="once")
            with pytest.raises(kind):
                store.list("p/")
            client.meta.events.unregister("before-send.s3.ListObjectsV2", interrupt, unique_id="once")
            assert before is not session._manager  # noqa: SLF001 - as above
            assert [] == store.list("p/")
            assert client is store.client

    def test_one_that_boto3_wraps_comes_out_as_it_is(self, embedded: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """Botocore takes any exception for one of sending; a time limit of a task queue is not to be tried again."""
        with store_at(embedded.endpoint_url) as store:

            def limit(*_: object, **__: object) -> None:
                raise self.SoftLimit

            monkeypatch.setattr("urllib3.connectionpool.HTTPConnectionPool.urlopen", limit)
            with pytest.raises(self.SoftLimit):
                store.list("p/")


class TestDeadline:
    """A call has one deadline, for all that is done on its behalf."""

    def test_an_inner_call_never_ends_later(self) -> None:
        """And the outer one has its own again afterwards."""
        assert float("inf") == deadline()
        assert 5.0 == run_until(5.0, lambda: run_until(9.0, deadline))
        assert 3.0 == run_until(5.0, lambda: run_until(3.0, deadline))
        assert float("inf") == run_until(5.0, lambda: run_without_deadline(deadline))
        assert float("inf") == deadline()

    def test_an_interrupt_leaves_no_deadline_behind(self) -> None:
        """It is reset by Python itself, not by a line that may not be reached."""

        def interrupted() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_until(5.0, interrupted)
        assert float("inf") == deadline()
