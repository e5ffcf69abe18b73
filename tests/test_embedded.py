"""The embedded S3: one winner a race, an end that comes with its parent's, and boto3 none the wiser."""

import contextlib
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.client import HTTPConnection, HTTPResponse
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from cf_data_tracker import embedded
from cf_data_tracker.embedded import EmbeddedS3
from cf_data_tracker.errors import InvalidNameError, StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytest.importorskip("moto")

WRITERS = 16
OFTEN = 1e-6  # seconds: the server changes threads as often as it can
SIGNED = {"Authorization": "AWS4-HMAC-SHA256 Credential=embedded/20240301/us-east-1/s3/aws4_request"}


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedS3]:
    """One server for the tests that need none of their own."""
    with embedded.running(switch_interval=OFTEN) as running:
        yield running


@contextlib.contextmanager
def connected(server: EmbeddedS3) -> Iterator[HTTPConnection]:
    """Plain HTTP: boto3 needs so much of this process's time for a request that its threads hardly race."""
    with contextlib.closing(HTTPConnection(server.endpoint_url.removeprefix("http://"), timeout=20)) as connection:
        yield connection


@contextlib.contextmanager
def boto3_client(server: EmbeddedS3) -> Iterator["S3Client"]:
    """The client that users have."""
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(retries={"total_max_attempts": 1}),
    )
    with contextlib.closing(client):
        yield client


def ask(
    connection: HTTPConnection, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    """Send one request about `raw` and read its answer; a keyword is a header, with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, f"/raw/{path}", body, SIGNED | named)
    response = connection.getresponse()
    return response, response.read()


def put(connection: HTTPConnection, path: str, body: bytes, **headers: str) -> int:
    """Write, and return the status."""
    return ask(connection, "PUT", path, body, **headers)[0].status


def etag(connection: HTTPConnection, path: str) -> str:
    """The ETag of what is there."""
    return ask(connection, "HEAD", path)[0].getheader("ETag", "")


def races(server: EmbeddedS3, rounds: int) -> Iterator[list[int]]:
    """In each round all writers write at once under the same condition; yields the statuses that they got."""
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(connected(server)) for _ in range(WRITERS)]
        pool = stack.enter_context(ThreadPoolExecutor(WRITERS))
        put(writers[0], "raced", b"before the first round")
        for number in range(rounds):
            if number % 4:
                write = partial(write_in_line, threading.Barrier(WRITERS), "raced", If_Match=etag(writers[0], "raced"))
            else:
                write = partial(write_in_line, threading.Barrier(WRITERS), f"new/{number}", If_None_Match="*")
            # No body may come twice: the ETag is its MD5, and a stale If-Match would pass.
            bodies = [f"round {number}, writer {writer}".encode() for writer in range(WRITERS)]
            yield sorted(pool.map(write, writers, bodies))


def write_in_line(line: threading.Barrier, path: str, connection: HTTPConnection, body: bytes, **condition: str) -> int:
    """Write when all the others in the line are ready to."""
    line.wait()
    return put(connection, path, body, **condition)


def test_a_race_has_exactly_one_winner(server: EmbeddedS3) -> None:
    """Of 16 writers with the same ETag, or the same new key, one gets 200 and all others 412, in each of 200 rounds."""
    one_winner = [200] + [412] * (WRITERS - 1)
    assert [one_winner] * 200 == list(races(server, 200))


def test_without_its_lock_a_race_has_several_winners() -> None:
    """Unserialised, moto lets several writers win one race: the law above is the lock's doing, and can fail."""
    with embedded.running(serialised=False, switch_interval=OFTEN) as server:
        assert any(statuses.count(200) > 1 for statuses in races(server, 200))


def test_a_read_beside_writes_is_whole(server: EmbeddedS3) -> None:
    """A read answers one writer's whole body under that body's ETag, whatever is being written meanwhile."""
    bodies = [letter * 10_000 for letter in (b"a", b"b", b"c", b"d")]
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(connected(server)) for _ in bodies]
        readers = [stack.enter_context(connected(server)) for _ in range(4)]
        put(writers[0], "whole", bodies[0])
        pool = stack.enter_context(ThreadPoolExecutor(8))
        written = pool.map(lambda writer, body: [put(writer, "whole", body) for _ in range(100)], writers, bodies)
        read = pool.map(lambda reader: [ask(reader, "GET", "whole") for _ in range(100)], readers)
        assert {200} == set(chain.from_iterable(written))
        answers = {(head.status, head.getheader("ETag"), body) for head, body in chain.from_iterable(read)}
    assert answers <= {(200, f'"{hashlib.md5(body).hexdigest()}"', body) for body in bodies}


def test_a_list_beside_deletes_succeeds(server: EmbeddedS3) -> None:
    """A LIST answers while keys under its prefix come and go."""
    with connected(server) as writing, connected(server) as listing, ThreadPoolExecutor(1) as pool:
        for number in range(20):
            put(writing, f"listed/{number}", b"")
        deletes = pool.submit(lambda: [ask(writing, "DELETE", f"listed/{n % 20}")[0].status for n in range(200)])
        lists = [ask(listing, "GET", "?list-type=2&prefix=listed/")[0].status for _ in range(60)]
        assert ({200}, {204}) == (set(lists), set(deletes.result()))


def test_half_a_request_changes_nothing(server: EmbeddedS3) -> None:
    """A PUT whose sender dies in the middle of the body leaves the object as it was."""
    with connected(server) as connection:
        put(connection, "half", b"whole")
        with connected(server) as dying:
            begin_put(dying, "half", length=10, sent=b"half")
            assert dying.sock is not None
            dying.sock.shutdown(socket.SHUT_WR)
            assert b"" == dying.sock.recv(1)
        assert b"whole" == ask(connection, "GET", "half")[1]


def test_a_body_that_is_not_what_was_sent_is_refused(server: EmbeddedS3) -> None:
    """Where a `Content-MD5` is not that of the body, the answer is S3's, and the object stays as it was."""
    digest = b64encode(hashlib.md5(b"as sent").digest()).decode()
    with connected(server) as connection:
        assert 200 == put(connection, "digested", b"as sent", Content_MD5=digest)
        refused, said = ask(connection, "PUT", "digested", b"damaged", Content_MD5=digest)
        assert (400, True) == (refused.status, b"<Code>BadDigest</Code>" in said)
        assert b"as sent" == ask(connection, "GET", "digested")[1]


def test_a_slow_client_holds_up_nobody(server: EmbeddedS3) -> None:
    """While one client is slow to send its body, others are answered."""
    with connected(server) as slow, connected(server) as quick:
        begin_put(slow, "slow", length=10, sent=b"01234")
        assert 200 == put(quick, "quick", b"")
        slow.send(b"56789")
        assert 200 == slow.getresponse().status
        assert b"0123456789" == ask(quick, "GET", "slow")[1]


def begin_put(connection: HTTPConnection, path: str, length: int, sent: bytes) -> None:
    """Announce a body of some length and send less of it."""
    connection.putrequest("PUT", f"/raw/{path}")
    for name, value in {**SIGNED, "Content-Length": str(length)}.items():
        connection.putheader(name, value)
    connection.endheaders(sent)


def test_many_may_connect_at_once(server: EmbeddedS3) -> None:
    """A hundred clients that connect while the server is busy elsewhere are all let in, and answered."""
    with contextlib.ExitStack() as stack:
        os.kill(server.pid, signal.SIGSTOP)
        stack.callback(os.kill, server.pid, signal.SIGCONT)
        clients = [stack.enter_context(connected(server)) for _ in range(100)]
        for client in clients:
            client.request("HEAD", "/raw/nothing", headers=SIGNED)
        os.kill(server.pid, signal.SIGCONT)
        assert {404} == {client.getresponse().status for client in clients}


def test_a_connection_stays_open(server: EmbeddedS3) -> None:
    """One connection carries request after request, also past answers without a body and refusals."""
    with connected(server) as connection:
        connection.connect()
        first = connection.sock
        for method, path in [("PUT", "k"), ("HEAD", "k"), ("GET", "no"), ("HEAD", "no"), ("DELETE", "k"), ("GET", "k")]:
            ask(connection, method, path)
        assert first is connection.sock


@pytest.mark.parametrize("size", [0, 5, 64 * 1024 * 1024])
@pytest.mark.parametrize("as_sent", [bytes, io.BytesIO], ids=["bytes", "file object, hence Expect: 100-continue"])
def test_boto3_reads_what_it_wrote(server: EmbeddedS3, as_sent: type, size: int) -> None:
    """Bodies of any size come back as they were sent, through boto3 with its default checksums."""
    body = os.urandom(size)
    with boto3_client(server) as client:
        written = client.put_object(Bucket="clean", Key="written", Body=as_sent(body))
        read = client.get_object(Bucket="clean", Key="written")
        assert (written["ETag"], body) == (read["ETag"], read["Body"].read())


def test_keys_keep_their_letters() -> None:
    """Keys that a URL has to escape are stored under the name they were given."""
    keys = {"a b/c", "a%20b/c", "a+b/c", "a%2Fb", "a/b", "é?#&="}
    with embedded.running(["keys"]) as other, boto3_client(other) as client:
        for key in keys:
            client.put_object(Bucket="keys", Key=key, Body=key.encode())
        assert keys == {entry["Key"] for entry in client.list_objects_v2(Bucket="keys")["Contents"]}
        assert keys == {client.get_object(Bucket="keys", Key=key)["Body"].read().decode() for key in keys}


@pytest.mark.parametrize("sender", ["aws-chunked", "aws-chunked in HTTP chunks"])
def test_a_body_in_chunks_is_put_together(server: EmbeddedS3, sender: str) -> None:
    """A body in chunks with a trailing checksum is stored without its wrapping."""
    wrapped = b"5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n"
    headers = {
        **SIGNED,
        "Content-Encoding": "aws-chunked",
        "X-Amz-Content-Sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Decoded-Content-Length": "11",
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    with connected(server) as connection:
        body = iter([wrapped[:7], wrapped[7:]]) if "HTTP" in sender else wrapped
        connection.request("PUT", "/raw/chunks", body, headers, encode_chunked="HTTP" in sender)
        assert b"" == connection.getresponse().read()
        assert b"hello world" == ask(connection, "GET", "chunks")[1]


def test_servers_are_strangers() -> None:
    """Two servers run side by side and share nothing."""
    with embedded.running() as one, embedded.running(["other"]) as two, connected(one) as first:
        put(first, "k", b"one")
        with boto3_client(two) as second:
            assert ["other"] == [bucket["Name"] for bucket in second.list_buckets()["Buckets"]]
            assert [] == second.list_objects_v2(Bucket="other").get("Contents", [])


@pytest.mark.parametrize("stopped", [False, True], ids=["as usual", "deaf to SIGTERM"])
def test_closing_leaves_no_process(stopped: bool) -> None:  # noqa: FBT001 - the two cases of one law
    """When the context ends the server's process is gone, within seconds even if it does not react."""
    with embedded.running() as server:
        if stopped:
            os.kill(server.pid, signal.SIGSTOP)
            os.waitpid(server.pid, os.WUNTRACED)  # until it has stopped, SIGTERM could still be faster
        started = time.monotonic()
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_the_server_is_out_of_reach_of_ctrl_c() -> None:
    """The server has a session of its own, so that Ctrl-C in the parent's terminal is not sent to it."""
    with embedded.running() as server:
        assert server.pid == os.getsid(server.pid)


PARENT = """
import os, time
from cf_data_tracker import embedded

with embedded.running() as server:
    forked = os.fork() if {forks} else 0
    if forked or not {forks}:
        print(server.endpoint_url, forked, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("forks", [False, True], ids=["alone", "with a forked worker that lives on"])
def test_the_server_dies_with_its_parent(forks: bool) -> None:  # noqa: FBT001 - the two cases of one law
    """A parent killed by SIGKILL takes its server along, although workers it forked hold the pipe open."""
    script = [sys.executable, "-c", PARENT.format(forks=forks)]
    with contextlib.ExitStack() as stack:
        parent = stack.enter_context(subprocess.Popen(script, stdout=subprocess.PIPE, text=True))
        stack.callback(parent.kill)
        assert parent.stdout is not None
        url, worker = parent.stdout.readline().split()
        if forks:
            stack.callback(os.kill, int(worker), signal.SIGKILL)
        connection = stack.enter_context(connected(EmbeddedS3(endpoint_url=url, pid=0)))
        ask(connection, "HEAD", "anything")
        parent.kill()
        assert b"" == connection.sock.recv(1)


def test_the_server_ends_with_its_standard_input() -> None:
    """A server whose standard input is at its end stops by itself, so that none outlives a parent that dies early."""
    command = [sys.executable, "-m", "cf_data_tracker.embedded", "raw"]
    ended = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=20)
    assert 0 == ended.returncode


def test_a_missing_moto_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without moto the error names the command that installs it."""
    (tmp_path / "moto.py").write_text("raise ModuleNotFoundError(\"No module named 'moto'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(StoreError, match=r'pip install "cf-data-tracker\[stress\]" \(No module named .moto.\)'):
        embedded.running().__enter__()


def test_a_server_that_does_not_start_says_why() -> None:
    """The error of a server that did not start ends with what it wrote to standard error."""
    with pytest.raises(StoreError, match=r"did not start \(exit code 1\): bucket 'x': (.|\n)*not valid"):
        embedded.running(["x"]).__enter__()


@pytest.mark.parametrize("wrong", ["raw", b"raw", [""], [5], ["raw", None]])
def test_buckets_are_a_list_of_names(wrong: Any) -> None:  # noqa: ANN401 - wrong on purpose
    """One text would be a bucket for each of its letters."""
    with pytest.raises(InvalidNameError, match=r"^bucket"):
        embedded.running(wrong).__enter__()


def test_importing_it_is_cheap() -> None:
    """Importing the module loads neither moto nor boto3, nor what they stand on."""
    heavy = "{'moto', 'flask', 'werkzeug', 'boto3', 'botocore'}"
    script = f"import sys, cf_data_tracker.embedded; print({heavy} & set(sys.modules))"
    assert "set()\n" == subprocess.check_output([sys.executable, "-c", script], text=True)


def test_its_secret_is_not_shown(server: EmbeddedS3) -> None:
    """A repr shows no secret, not even one that opens nothing."""
    assert "secret_key" not in repr(server)
