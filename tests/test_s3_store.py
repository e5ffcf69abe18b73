"""S3 on boto3: each row of the table of statuses, what a client sends, and that no message shows a secret."""

import contextlib
import io
import os
import re
import socket
import socketserver
import struct
import sys
import threading
import traceback
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.stub import ANY, Stubber

from cf_data_tracker.errors import (
    DeniedError,
    DocumentVanishedError,
    ReadDeniedError,
    RetainedError,
    StoreError,
    TrackerError,
    UnsafeStoreError,
)
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, UNCHANGED, Conflict, Replacing, Store, Stored, Unanswered, Written
from cf_data_tracker.stores.s3 import ADVICE, CONFLICTS, Quoting, S3Store, access_of, open_client
from conftest import access_to
from servers.process import free_ports
from servers.proxy import Fate, FaultyProxy, Seen, always
from servers.server import Server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

SECRET: Final = "the-secret-of-the-key"
TOKEN: Final = "the-token-of-the-session"
AWS: Final = Access(
    bucket="raw", region="eu-central-1", access_key="AKIDEXAMPLE", secret_key=SECRET, session_token=TOKEN
)

ACTIONS: Final = {
    "get_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "list_objects_v2": "s3:ListBucket",
    "delete_object": "s3:DeleteObject",
    "delete_objects": "s3:DeleteObject",
}


def ask(store: Store, operation: str, *, replacing: Replacing = '"e0"') -> object:
    """Ask the store for one thing, by boto3's name for it."""
    questions: dict[str, Callable[[], object]] = {
        "get_object": lambda: store.read("k"),
        "put_object": lambda: store.write("k", b"{}", replacing=replacing),
        "list_objects_v2": lambda: store.list("p/"),
        "delete_object": lambda: store.delete("k"),
        "delete_objects": lambda: store.delete("k", "l"),
    }
    return questions[operation]()


def refusal_of(store: Store, operation: str) -> Exception:
    """Return the signal or error that one operation ends in."""
    return refusal(lambda: ask(store, operation))


def refusal(question: Callable[[], object]) -> Exception:
    """Return the signal or error that a question ends in."""
    with pytest.raises((Conflict, Unanswered, TrackerError)) as caught:
        question()
    return caught.value


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """AWS, and what says how it answers next."""

    store: S3Store
    stubber: Stubber


@pytest.fixture(scope="module")
def client() -> "Iterator[S3Client]":
    """Give a client of AWS's own endpoint, which every test that uses it keeps from sending anything."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        opened = open_client(AWS)
    yield opened
    opened.close()


@pytest.fixture
def aws(client: "S3Client") -> Iterator[Scripted]:
    """Give AWS as told by the test."""
    with Stubber(client) as stubber:
        yield Scripted(store=S3Store(client, "raw"), stubber=stubber)
        stubber.assert_no_pending_responses()


def meaning(aws: Scripted, operation: str, code: str, status: int, *, replacing: Replacing = '"e0"') -> Exception:
    """Return what the store makes of an answer with this code and status."""
    aws.stubber.add_client_error(operation, code, "said by the store", status)
    return refusal(lambda: ask(aws.store, operation, replacing=replacing))


@contextlib.contextmanager
def store_at(endpoint_url: str, **settings: Any) -> Iterator[S3Store]:  # noqa: ANN401 - of an Access
    """Yield a store at an endpoint, and close its connections."""
    known: dict[str, Any] = {"region": "us-east-1", "access_key": "AKIDEXAMPLE", "secret_key": SECRET}
    client = open_client(Access(bucket="raw", endpoint_url=endpoint_url, **{**known, **settings}))
    try:
        yield S3Store(client, "raw")
    finally:
        client.close()


class _Odd(socketserver.ThreadingTCPServer):
    """A server that answers each request with the same bytes, and may then hang, or reset the connection."""

    daemon_threads = False

    def __init__(self, answer: bytes, *, hang: bool, reset: bool) -> None:
        super().__init__(("127.0.0.1", 0), _OddHandler)
        self.answer, self.hang, self.reset = answer, hang, reset
        self.over = threading.Event()

    @property
    def endpoint_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as the standard library has it
        """Pass over a client that hung up."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as the standard library has it
        if self.reset:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_request(request)
        else:
            super().shutdown_request(request)


class _OddHandler(socketserver.BaseRequestHandler):
    server: _Odd
    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(5.0)
        heard = b""
        while not self._complete(heard):
            heard += self._more()
        self.request.sendall(self.server.answer)
        if self.server.hang:
            self.server.over.wait(5.0)

    def _more(self) -> bytes:
        if not (more := self.request.recv(65_536)):
            raise ConnectionAbortedError
        return more

    @staticmethod
    def _complete(heard: bytes) -> bool:
        head, end, body = heard.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        greeting = heard[:1] == b"\x16"  # of TLS, which ends in no blank line
        return greeting or (bool(end) and len(body) >= int(length[1] if length else 0))


@contextlib.contextmanager
def odd_server(answer: bytes = b"", *, hang: bool = False, reset: bool = False) -> Iterator[str]:
    """Yield where a server of such answers listens."""
    with _Odd(answer, hang=hang, reset=reset) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.endpoint_url
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def answer(status: str, body: bytes = b"", *headers: str, length: int | None = None) -> bytes:
    """Return an HTTP answer, perhaps one that promises more than it holds."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*head, "Connection: close", "", ""]).encode() + body


class TestRefusedForItsCondition:
    """The signal `Conflict`: what is there is not what was to be replaced."""

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("PreconditionFailed", 412),
            ("ConditionalRequestConflict", 409),
            ("OperationAborted", 409),
            ("ConcurrentModification", 409),
        ],
    )
    @pytest.mark.parametrize("replacing", ['"e0"', None], ids=["If-Match", "If-None-Match"])
    def test_a_write_whose_condition_fails_is_a_conflict(
        self, aws: Scripted, code: str, status: int, replacing: Replacing
    ) -> None:
        """412, and 409 by any of its names, say that nothing was written."""
        assert Conflict is type(meaning(aws, "put_object", code, status, replacing=replacing))

    @pytest.mark.parametrize("code", sorted(CONFLICTS))
    @pytest.mark.parametrize("status", [400, 500])
    def test_the_code_says_conflict_whatever_the_status(self, aws: Scripted, code: str, status: int) -> None:
        """An answer is classified by its code first: a 412 has been seen inside other statuses."""
        assert Conflict is type(meaning(aws, "put_object", code, status))

    @pytest.mark.parametrize("status", [409, 412])
    def test_the_status_says_conflict_where_the_code_says_nothing(self, aws: Scripted, status: int) -> None:
        """A store may have a name of its own for it, or none."""
        for code in ("NameOfItsOwn", ""):
            assert Conflict is type(meaning(aws, "put_object", code, status))

    @pytest.mark.parametrize(
        ("code", "status", "certain"),
        [
            ("PreconditionFailed", 412, True),
            ("PreconditionFailed", 500, True),
            ("NameOfItsOwn", 412, True),
            ("ConditionalRequestConflict", 409, False),
            ("NameOfItsOwn", 409, False),
        ],
    )
    def test_only_a_412_says_that_something_else_is_there(
        self, aws: Scripted, code: str, status: int, *, certain: bool
    ) -> None:
        """A 409 says that others are writing, and nothing of what is there."""
        conflict = meaning(aws, "put_object", code, status)
        assert isinstance(conflict, Conflict)
        assert certain == conflict.certain

    @pytest.mark.parametrize("operation", [operation for operation in ACTIONS if operation != "put_object"])
    def test_only_a_write_can_conflict(self, aws: Scripted, operation: str) -> None:
        """What replaces nothing is no loser of a race: a 409 says that it was not done, and it is asked again."""
        assert Unanswered is type(meaning(aws, operation, "OperationAborted", 409))

    def test_a_code_that_is_known_speaks_louder_than_a_409(self, aws: Scripted) -> None:
        """What has to be mended is no conflict, which would be tried again and again."""
        assert StoreError is type(meaning(aws, "put_object", "NoSuchBucket", 409))

    def test_a_412_inside_a_200_is_a_conflict(self, embedded: Server) -> None:
        """The status says 200 and the body says PreconditionFailed: the write was refused."""
        with (
            FaultyProxy(embedded.endpoint_url, always(Fate.REFUSED_IN_200)) as proxy,
            store_at(proxy.endpoint_url) as store,
        ):
            assert Conflict is type(refusal(lambda: store.write("k", b"{}", replacing='"e0"')))
            assert 1 == proxy.counts.total()

    @pytest.mark.parametrize("status", ["412 Precondition Failed", "409 Conflict"])
    def test_an_answer_without_a_body_has_a_status(self, status: str) -> None:
        """The status alone is enough."""
        with odd_server(answer(status)) as url, store_at(url) as store:
            assert Conflict is type(refusal(lambda: store.write("k", b"{}", replacing='"e0"')))


class TestNotThere:
    """404, which means one thing to a read and another to a write."""

    @pytest.mark.parametrize("code", ["NoSuchKey", "NotFound", "404"])
    def test_a_missing_object_reads_as_nothing(self, aws: Scripted, code: str) -> None:
        """A 404 to a read says that there is no such object."""
        aws.stubber.add_client_error("get_object", code, http_status_code=404)
        assert aws.store.read("k") is None

    @pytest.mark.parametrize("code", ["NoSuchKey", "404"])
    def test_a_write_that_replaces_what_is_gone_finds_it_vanished(self, aws: Scripted, code: str) -> None:
        """S3 answers 404 to `If-Match` when the key is gone, and the error says where."""
        error = meaning(aws, "put_object", code, 404, replacing='"e0"')
        assert isinstance(error, DocumentVanishedError)
        assert "s3://raw/k was there and is gone; nothing was written" in str(error)

    def test_a_first_write_that_is_answered_404_finds_nothing_vanished(self) -> None:
        """Where nothing was there before nothing is gone: such an answer comes from a wrong endpoint."""
        with odd_server(answer("404 Not Found", b"<html>")) as url, store_at(url) as store:
            assert StoreError is type(refusal(lambda: store.write("k", b"{}", replacing=None)))

    @pytest.mark.parametrize("operation", ACTIONS)
    def test_a_missing_bucket_is_no_missing_object(self, aws: Scripted, operation: str) -> None:
        """It is to be created or spelt right, whatever was asked."""
        error = meaning(aws, operation, "NoSuchBucket", 404)
        assert StoreError is type(error)
        assert "no such bucket: create it, or correct its name" in str(error)

    def test_deleting_what_is_not_there_is_no_error(self, aws: Scripted) -> None:
        """Some stores answer 404 where S3 answers 204."""
        aws.stubber.add_client_error("delete_object", "NoSuchKey", http_status_code=404)
        aws.store.delete("k")


class TestDenied:
    """403, which may hide that something is missing."""

    @pytest.mark.parametrize("code", ["AccessDenied", "403"])
    def test_a_denied_read_names_both_permissions_that_may_be_missing(self, aws: Scripted, code: str) -> None:
        """A missing key reads as 403 too where the caller may not list."""
        error = meaning(aws, "get_object", code, 403)
        assert ReadDeniedError is type(error)
        assert "allow s3:GetObject on it, and s3:ListBucket on the bucket" in str(error)

    @pytest.mark.parametrize("operation", [operation for operation in ACTIONS if operation != "get_object"])
    def test_any_other_denial_names_the_permission(self, aws: Scripted, operation: str) -> None:
        """The message says which permission to give."""
        error = meaning(aws, operation, "AccessDenied", 403)
        assert DeniedError is type(error)
        assert f"access denied; allow {ACTIONS[operation]} on it" in str(error)
        assert "s3:ListBucket on the bucket" not in str(error)

    @pytest.mark.parametrize("operation", ACTIONS)
    def test_a_denial_without_a_code_is_one_too(self, aws: Scripted, operation: str) -> None:
        """A gateway in between may send a page of its own; the status is enough."""
        error = meaning(aws, operation, "", 403)
        assert isinstance(error, DeniedError)
        assert isinstance(error, ReadDeniedError) == (operation == "get_object")
        assert f"allow {ACTIONS[operation]} on it" in str(error)

    def test_a_denial_without_a_body_is_one_too(self) -> None:
        """The status alone is enough."""
        with odd_server(answer("403 Forbidden")) as url, store_at(url) as store:
            for operation, action in ACTIONS.items():
                assert f"allow {action} on it" in str(refusal_of(store, operation))


class TestNoAnswer:
    """The signal `Unanswered`: whether a write landed is not known."""

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("InternalError", 500),
            ("InternalError", 400),
            ("500", 500),
            ("UnknownError", 500),
            ("", 502),
            ("504", 504),
            ("RequestTimeout", 400),
            ("408", 408),
        ],
    )
    @pytest.mark.parametrize("operation", ACTIONS)
    def test_a_server_that_fails_or_times_out_says_nothing(
        self, aws: Scripted, operation: str, code: str, status: int
    ) -> None:
        """A 5xx, and the 400 by which S3 says RequestTimeout, leave open what happened."""
        signal = meaning(aws, operation, code, status)
        assert isinstance(signal, Unanswered)
        assert (True, False) == (signal.sent, signal.slow)

    @pytest.mark.parametrize(
        ("code", "status"),
        [
            ("SlowDown", 503),
            ("ServiceUnavailable", 503),
            ("ServiceUnavailable", 400),
            ("503", 503),
            ("", 503),
            ("429", 429),
            ("Throttling", 400),
            ("RequestLimitExceeded", 400),
            ("TooManyRequests", 429),
        ],
    )
    @pytest.mark.parametrize("operation", ACTIONS)
    def test_a_store_that_asks_for_less_says_nothing_else(
        self, aws: Scripted, operation: str, code: str, status: int
    ) -> None:
        """503 and 429 leave open what happened, and ask for fewer requests."""
        signal = meaning(aws, operation, code, status)
        assert isinstance(signal, Unanswered)
        assert (True, True) == (signal.sent, signal.slow)

    def test_a_refused_connection_was_not_sent(self) -> None:
        """Where nobody listens nothing can have been written."""
        [port] = free_ports(1)
        with store_at(f"http://127.0.0.1:{port}") as store:
            for operation in ACTIONS:
                signal = refusal_of(store, operation)
                assert isinstance(signal, Unanswered)
                assert not signal.sent

    def test_a_proxy_that_is_not_there_was_sent_nothing(self, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nor where the proxy of the machine's own settings does not listen."""
        assert scratch.is_dir()
        [port] = free_ports(1)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with store_at("http://store.invalid") as store:
            signal = refusal(lambda: store.write("k", b"{}", replacing=None))
        assert isinstance(signal, Unanswered)
        assert not signal.sent

    def test_a_read_time_out_may_have_been_applied(self) -> None:
        """A server that takes the request and says nothing may have done what it was asked."""
        with odd_server(hang=True) as url, store_at(url, request_timeout=0.1) as store:
            for operation in ACTIONS:
                signal = refusal_of(store, operation)
                assert isinstance(signal, Unanswered)
                assert signal.sent

    @pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
    def test_a_connection_that_breaks_may_have_been_applied(self, *, reset: bool) -> None:
        """A reset connection, and one closed without an answer, leave open what happened."""
        with odd_server(reset=reset) as url, store_at(url) as store:
            for operation in ACTIONS:
                signal = refusal_of(store, operation)
                assert isinstance(signal, Unanswered)
                assert signal.sent

    @pytest.mark.parametrize("hang", [True, False], ids=["hangs", "ends"])
    def test_a_body_that_stops_half_way_is_no_answer(self, *, hang: bool) -> None:
        """Half a document is none, whether its server hangs or ends."""
        half = answer("200 OK", b'{"tables"', 'ETag: "e1"', length=100)
        with odd_server(half, hang=hang) as url, store_at(url, request_timeout=0.1) as store:
            assert isinstance(refusal(lambda: store.read("k")), Unanswered)

    def test_rubbish_is_no_answer(self) -> None:
        """What is not HTTP says nothing."""
        with odd_server(b"rubbish\r\n\r\n") as url, store_at(url) as store:
            assert isinstance(refusal(lambda: store.write("k", b"{}", replacing=None)), Unanswered)

    def test_a_write_without_an_etag_in_its_answer_is_unanswered(self, aws: Scripted) -> None:
        """Without the ETag the next write could not say what it replaces, so the document has to be read."""
        aws.stubber.add_response("put_object", {})
        signal = refusal(lambda: aws.store.write("k", b"{}", replacing=None))
        assert isinstance(signal, Unanswered)
        assert "has no ETag" in str(signal)

    def test_an_answer_that_makes_no_sense_is_none(self) -> None:
        """A head that cannot be read says nothing about what happened."""
        with odd_server(answer("200 OK", b"", 'ETag: "e"', "x-amz-object-size: many")) as url, store_at(url) as store:
            assert isinstance(refusal(lambda: store.write("k", b"{}", replacing=None)), Unanswered)

    def test_a_document_without_an_etag_cannot_be_replaced(self) -> None:
        """Nor could one that was read without."""
        with odd_server(answer("200 OK", b"{}")) as url, store_at(url) as store:
            refusal(lambda: store.read("k"))


class TestWhatToMend:
    """Errors that asking again would not change; each says what to do."""

    @pytest.mark.parametrize(("code", "status"), [("NotImplemented", 501), ("501", 501), ("NotImplemented", 400)])
    def test_a_store_that_does_not_know_conditions_is_unsafe(self, aws: Scripted, code: str, status: int) -> None:
        """501 to a conditional write says that the store cannot do what everything here rests on."""
        error = meaning(aws, "put_object", code, status)
        assert UnsafeStoreError is type(error)
        assert "does not know this request (s3:PutObject with a condition)" in str(error)

    @pytest.mark.parametrize("operation", ["list_objects_v2", "delete_object", "delete_objects"])
    def test_a_store_that_does_not_know_a_request_without_a_condition_is_not_unsafe(
        self, aws: Scripted, operation: str
    ) -> None:
        """One without DeleteObjects, say, may well honour conditions; the message has the request."""
        error = meaning(aws, operation, "NotImplemented", 501)
        assert StoreError is type(error)
        assert f"the store does not know this request ({ACTIONS[operation]})" in str(error)

    @pytest.mark.parametrize(
        ("code", "status", "advice"),
        [
            ("NoSuchBucket", 404, "create it, or correct its name"),
            ("InvalidBucketName", 400, "no bucket name: correct it"),
            ("InvalidAccessKeyId", 403, "correct AWS_ACCESS_KEY_ID"),
            ("SignatureDoesNotMatch", 403, "correct AWS_SECRET_ACCESS_KEY"),
            ("ExpiredToken", 400, "have expired: renew them"),
            ("TokenRefreshRequired", 400, "have expired: renew them"),
            ("InvalidToken", 400, "renew the credentials"),
            ("RequestTimeTooSkewed", 403, "clock is wrong by more than 15 minutes: set it"),
            ("PermanentRedirect", 301, "correct AWS_REGION_NAME"),
            ("TemporaryRedirect", 307, "correct AWS_REGION_NAME"),
            ("301", 301, "correct AWS_REGION_NAME"),
            ("AuthorizationHeaderMalformed", 400, "correct AWS_REGION_NAME"),
            ("IllegalLocationConstraintException", 400, "correct AWS_REGION_NAME"),
            ("EntityTooLarge", 400, "larger than a single PUT may be"),
            ("AllAccessDisabled", 403, "the bucket is disabled"),
        ],
    )
    @pytest.mark.parametrize("operation", ACTIONS)
    def test_what_the_store_refuses_comes_with_what_to_mend(
        self, aws: Scripted, operation: str, code: str, status: int, advice: str
    ) -> None:
        """The message has the place, the store's code and the remedy; no denial is mistaken for a missing key."""
        error = meaning(aws, operation, code, status)
        assert StoreError is type(error)
        assert str(error).startswith("s3://raw/")
        assert code in str(error)
        assert advice in str(error)

    def test_every_code_with_advice_is_an_error(self, aws: Scripted) -> None:
        """What is to be mended is not tried again."""
        for code in ADVICE:
            assert isinstance(meaning(aws, "put_object", code, 400), StoreError)

    def test_any_other_refusal_is_told_in_the_words_of_the_store(self, aws: Scripted) -> None:
        """Of what is not known here the store's own message is all there is to say."""
        error = meaning(aws, "put_object", "InvalidArgument", 400)
        assert StoreError is type(error)
        assert str(error) == "s3://raw/k: InvalidArgument: said by the store"

    def test_a_refusal_without_words_is_an_error_too(self, aws: Scripted) -> None:
        """A code alone is told."""
        aws.stubber.add_client_error("put_object", "InvalidArgument", "", 400)
        error = refusal(lambda: aws.store.write("k", b"{}", replacing=ANYTHING))
        assert str(error) == "s3://raw/k: InvalidArgument: refused"

    def test_an_endpoint_that_redirects_everything_is_to_be_corrected(self) -> None:
        """As a server does of which only the https:// endpoint is S3."""
        with odd_server(answer("301 Moved Permanently")) as url, store_at(url) as store:
            assert isinstance(refusal(lambda: store.read("k")), StoreError)

    def test_a_certificate_or_protocol_that_is_wrong_is_an_error(self) -> None:
        """TLS that cannot be agreed on today cannot be agreed on in a second either."""
        with odd_server(answer("400 Bad Request")) as url, store_at(url.replace("http:", "https:")) as store:
            error = refusal(lambda: store.read("k"))
            broken_off = refusal(lambda: store.write("k", b"{}", replacing=None))
        assert StoreError is type(error)
        assert "SSL" in str(error)
        assert isinstance(broken_off, Unanswered)  # a write may have been received before TLS broke

    def test_a_proxy_that_breaks_off_may_have_passed_a_write_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Botocore tells it as it tells a proxy that is not there, and only the latter was certainly sent nothing."""
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with odd_server(b"") as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy)
            with store_at("http://store.invalid") as store:
                signal = refusal(lambda: store.write("k", b"{}", replacing=None))
        assert isinstance(signal, Unanswered)
        assert signal.sent

    @pytest.mark.parametrize("operation", ACTIONS)
    def test_a_bucket_that_no_store_can_have_is_an_error(self, client: "S3Client", operation: str) -> None:
        """A name that boto3 itself does not accept is told before anything is sent."""
        error = refusal(lambda: ask(S3Store(client, "two words"), operation))
        assert StoreError is type(error)
        assert str(error) == "'two words' can be no bucket's name: correct it"


class TestDeletingMany:
    """One request, answered with 200; each key in it has an answer of its own."""

    def refused(self, aws: Scripted, *codes: str) -> None:
        """Delete objects of which some are answered with these codes."""
        errors = [{"Key": f"key-{code}", "Code": code, "Message": "said by the store"} for code in codes]
        aws.stubber.add_response("delete_objects", {"Errors": errors} if errors else {})
        aws.store.delete("k", *(f"key-{code}" for code in codes))

    def test_all_are_named_in_one_request(self, aws: Scripted) -> None:
        """And only what was not deleted is to be answered, so the answer is short."""
        doomed = {"Objects": [{"Key": f"k{number}"} for number in range(1000)], "Quiet": True}
        aws.stubber.add_response("delete_objects", {}, {"Bucket": "raw", "Delete": doomed})
        aws.store.delete(*(f"k{number}" for number in range(1000)))

    def test_nothing_to_delete_is_no_request(self, aws: Scripted) -> None:
        """Nobody is asked to delete no objects, which S3 would refuse."""
        aws.store.delete()

    def test_an_object_that_may_not_be_deleted_is_named(self, aws: Scripted) -> None:
        """With the permission that is missing, as if it had been asked for alone."""
        error = refusal(lambda: self.refused(aws, "AccessDenied"))
        assert DeniedError is type(error)
        allow = (
            "s3://raw/key-AccessDenied: access denied; allow s3:DeleteObject on it (AccessDenied: said by the store)"
        )
        assert allow == str(error)

    def test_any_other_refusal_is_told_in_the_words_of_the_store(self, aws: Scripted) -> None:
        """Of what is not known here the store's own message is all there is to say."""
        error = refusal(lambda: self.refused(aws, "InvalidArgument"))
        assert StoreError is type(error)
        assert "s3://raw/key-InvalidArgument: InvalidArgument: said by the store" == str(error)

    @pytest.mark.parametrize(
        ("code", "slow"),
        [
            ("InternalError", False),
            ("OperationAborted", False),
            ("SlowDown", True),
            ("ServiceUnavailable", True),
            ("503", True),
        ],
    )
    def test_an_object_that_was_perhaps_not_deleted_is_unanswered(
        self, aws: Scripted, code: str, *, slow: bool
    ) -> None:
        """Its code says what its status would have said."""
        signal = refusal(lambda: self.refused(aws, code))
        assert isinstance(signal, Unanswered)
        assert (True, slow) == (signal.sent, signal.slow)

    @pytest.mark.parametrize("code", ["NoSuchKey", "NoSuchVersion", "NotFound", "404"])
    def test_an_object_that_is_not_there_is_no_error(self, aws: Scripted, code: str) -> None:
        """It is as it was to be."""
        self.refused(aws, code)

    def test_one_that_is_not_there_hides_no_other(self, aws: Scripted) -> None:
        """The answers are read to their end."""
        assert "key-AccessDenied" in str(refusal(lambda: self.refused(aws, "NoSuchKey", "AccessDenied")))

    def test_an_error_without_a_key_or_code_is_one_too(self, aws: Scripted) -> None:
        """Whatever the store leaves out."""
        aws.stubber.add_response("delete_objects", {"Errors": [{}]})
        error = refusal(lambda: aws.store.delete("k", "l"))
        assert StoreError is type(error)
        assert str(error).startswith("s3://raw/k: ")


class TestErasing:
    """A DELETE of one version, for which there is a permission of its own."""

    def test_the_version_is_named(self, aws: Scripted) -> None:
        """Without it a marker would be put there."""
        aws.stubber.add_response("delete_object", {}, {"Bucket": "raw", "Key": "k", "VersionId": "v1"})
        aws.store.erase("k", "v1")

    def test_a_denial_names_the_permission(self, aws: Scripted) -> None:
        """Who may delete objects may not delete their versions yet."""
        aws.stubber.add_client_error("delete_object", "AccessDenied", http_status_code=403)
        error = refusal(lambda: aws.store.erase("k", "v1"))
        assert DeniedError is type(error)
        assert "s3://raw/k: access denied; allow s3:DeleteObjectVersion on it" == str(error)

    @pytest.mark.parametrize(
        ("said", "expected"),
        [
            (
                {"ObjectLockRetainUntilDate": datetime(2030, 1, 2, tzinfo=timezone.utc)},
                "and stays until 2030-01-02 00:00:00 UTC",
            ),
            ({"ObjectLockLegalHoldStatus": "ON"}, "a legal hold, and stays until that is taken off"),
        ],
    )
    def test_a_version_under_a_retention_is_said_to_be(
        self, aws: Scripted, said: dict[str, Any], expected: str
    ) -> None:
        """A store that denies its deletion may say no more than that; the version itself tells."""
        aws.stubber.add_client_error("delete_object", "AccessDenied", http_status_code=403)
        aws.stubber.add_response("head_object", said, {"Bucket": "raw", "Key": "k", "VersionId": "v1"})
        error = refusal(lambda: aws.store.erase("k", "v1"))
        assert RetainedError is type(error)
        assert f"s3://raw/k: under a retention, {expected}" == str(error)

    @pytest.mark.parametrize("code", ["NoSuchVersion", "NoSuchKey", "404"])
    def test_a_version_that_is_not_there_is_no_error(self, aws: Scripted, code: str) -> None:
        """Some stores answer 404 where S3 answers 204."""
        aws.stubber.add_client_error("delete_object", code, http_status_code=404)
        aws.store.erase("k", "v1")

    def test_a_store_that_asks_for_less_is_unanswered(self, aws: Scripted) -> None:
        """It may be asked again."""
        aws.stubber.add_client_error("delete_object", "SlowDown", http_status_code=503)
        signal = refusal(lambda: aws.store.erase("k", "v1"))
        assert isinstance(signal, Unanswered)
        assert signal.slow

    @pytest.mark.parametrize("version", ["v1", None])
    def test_a_write_says_which_version_it_made(self, aws: Scripted, version: str | None) -> None:
        """If the bucket keeps versions."""
        said = {"ETag": '"e1"'} if version is None else {"ETag": '"e1"', "VersionId": version}
        aws.stubber.add_response("put_object", said)
        assert Written(etag='"e1"', version=version) == aws.store.write("k", b"{}", replacing=None)

    def test_what_was_written_while_no_versions_were_kept_has_none(self, aws: Scripted) -> None:
        """S3 calls it `null` once they are; nobody may erase that for one's own."""
        aws.stubber.add_response("put_object", {"ETag": '"e1"', "VersionId": "null"})
        assert aws.store.write("k", b"{}", replacing=None).version is None


class TestNotes:
    """What a writer notes beside a document: metadata, which anybody who may write it could have set."""

    @pytest.mark.parametrize(("waiting", "metadata"), [(0, {}), (12, {"waiting": "12"})])
    def test_a_note_is_sent_as_metadata(self, aws: Scripted, waiting: int, metadata: dict[str, str]) -> None:
        """None is sent where there is nothing to note."""
        sent = {"Bucket": "raw", "Key": "k", "Body": ANY, "ContentType": ANY, "IfNoneMatch": "*", "Metadata": metadata}
        aws.stubber.add_response("put_object", {"ETag": '"e1"'}, sent)
        aws.store.write("k", b"{}", replacing=None, waiting=waiting)

    @pytest.mark.parametrize(
        ("text", "number"), [("7", 7), ("", 0), ("-7", 0), ("7.5", 0), ("many", 0), ("²", 0), ("9" * 10, 0)]
    )
    def test_a_note_that_is_no_number_is_none(self, aws: Scripted, text: str, number: int) -> None:
        """Nor is one that cannot be meant."""
        aws.stubber.add_response(
            "get_object", {"Body": io.BytesIO(b"{}"), "ETag": '"e1"', "Metadata": {"waiting": text}}
        )
        there = aws.store.read("k")
        assert isinstance(there, Stored)
        assert number == there.waiting


class TestOpening:
    """Making a client: settings that cannot work are told before the first request, or by it."""

    def test_an_endpoint_that_boto3_does_not_take_is_an_error(self) -> None:
        """The message says which bucket cannot be reached, and why."""
        with pytest.raises(StoreError, match="no connection can be made to the bucket raw: Invalid endpoint"):
            open_client(
                Access(bucket="raw", endpoint_url="http://under_score.invalid", access_key="a", secret_key=SECRET)
            )

    def test_a_region_that_is_none_is_an_error(self) -> None:
        """The message says that it is the region."""
        with pytest.raises(StoreError, match="region_name 'no region'"):
            open_client(Access(bucket="raw", region="no region", access_key="a", secret_key=SECRET))

    def test_without_any_credentials_the_message_says_how_to_give_some(self, no_credentials: Path) -> None:
        """Nothing in the environment, in files, or from the machine: the first request says so."""
        assert no_credentials.is_dir()
        with store_at("http://127.0.0.1:9", access_key=None, secret_key=None) as store:
            for operation in ACTIONS:
                error = refusal_of(store, operation)
                assert StoreError is type(error)
                assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in" in str(error)

    def test_half_a_key_in_the_environment_is_an_error(
        self, no_credentials: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message names the half that is missing."""
        assert no_credentials.is_dir()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        with pytest.raises(StoreError, match="missing: AWS_SECRET_ACCESS_KEY"):
            open_client(Access(bucket="raw", region="us-east-1"))

    def test_a_session_that_has_to_be_signed_in_to_is_an_error(self, no_credentials: Path) -> None:
        """A profile of SSO without a session, or with one that has expired, asks for a sign-in."""
        profile = "sso_start_url = https://sso.invalid/start\nsso_region = us-east-1\n"
        profile += "sso_account_id = 123456789012\nsso_role_name = Reader\nregion = us-east-1\n"
        (no_credentials / "config").write_text(f"[default]\n{profile}")
        with store_at("http://127.0.0.1:9", access_key=None, secret_key=None) as store:
            assert isinstance(refusal(lambda: store.read("k")), StoreError)

    @pytest.fixture
    def no_credentials(self, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Give a folder in which AWS's files would be looked for, on a machine that is nobody's."""
        monkeypatch.setenv("HOME", str(scratch))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(scratch / "config"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(scratch / "credentials"))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        return scratch


class TestSecrets:
    """No message shows a secret, nor does any error beneath it."""

    @pytest.mark.parametrize("code", [*ADVICE, "InternalError", "SlowDown", "PreconditionFailed", "NotImplemented"])
    def test_no_refusal_shows_a_secret(self, aws: Scripted, code: str) -> None:
        """Neither the secret key nor the session's token is in what is raised."""
        shown = "".join(traceback.format_exception(meaning(aws, "put_object", code, 400)))
        assert SECRET not in shown
        assert TOKEN not in shown

    def test_no_silence_shows_a_secret(self) -> None:
        """Nor are they where no answer comes."""
        with odd_server(reset=True) as url, store_at(url, session_token=TOKEN) as store:
            shown = "".join(traceback.format_exception(refusal(lambda: store.read("k"))))
        assert SECRET not in shown
        assert TOKEN not in shown


class TestRequests:
    """What a client sends, seen by a proxy in front of a real server."""

    @pytest.mark.parametrize("fate", [Fate.ERROR_500, Fate.SLOW_DOWN_503, Fate.LOST_BEFORE, Fate.CONFLICT_409])
    def test_a_request_is_sent_exactly_once(self, embedded: Server, fate: Fate) -> None:
        """Whatever comes of it: a silent resend would turn a lost answer into a false conflict."""
        with FaultyProxy(embedded.endpoint_url, always(fate)) as proxy, store_at(proxy.endpoint_url) as store:
            for number, operation in enumerate(ACTIONS, start=1):
                refusal_of(store, operation)
                assert number == proxy.counts.total()

    def test_a_write_to_a_foreign_store_is_plain(self, embedded: Server, schema: str) -> None:
        """Its body goes with its length: no checksum, no chunks, which several stores do not know."""
        with heard(embedded) as (requests, store):
            store.write(f"{schema}/k", b"{}", replacing=None)
        [request] = requests
        assert "2" == request.headers["content-length"]
        assert "application/json" == request.headers["content-type"]
        unwanted = {"transfer-encoding", "content-encoding", "x-amz-trailer", "x-amz-sdk-checksum-algorithm"}
        assert not unwanted & set(request.headers)
        assert not [name for name in request.headers if name.startswith("x-amz-checksum")]

    def test_a_write_does_not_ask_first(self, embedded: Server, schema: str) -> None:
        """`Expect: 100-continue` costs a round trip, and a second where a server does not answer it."""
        with heard(embedded) as (requests, store):
            store.write(f"{schema}/k", b"{}", replacing=None)
        assert "expect" not in requests[0].headers

    def test_only_a_foreign_store_is_spared_checksums(self, client: "S3Client", embedded: Server) -> None:
        """AWS gets what boto3 sends by itself."""
        foreign = open_client(access_to(embedded))
        assert "when_supported" == client.meta.config.request_checksum_calculation  # type: ignore[attr-defined]
        assert "when_required" == foreign.meta.config.request_checksum_calculation  # type: ignore[attr-defined]
        assert "when_required" == foreign.meta.config.response_checksum_validation  # type: ignore[attr-defined]
        foreign.close()

    @pytest.mark.parametrize(
        ("quoting", "sent"), [(Quoting.AS_RECEIVED, '"{etag}"'), (Quoting.UNQUOTED, "{etag}")], ids=["quoted", "bare"]
    )
    def test_etags_are_sent_in_the_form_that_the_store_wants(
        self, embedded: Server, schema: str, quoting: Quoting, sent: str
    ) -> None:
        """With the quotes in which they came, or without them, on a write and on a read alike."""
        with heard(embedded, quoting) as (requests, store):
            etag = store.write(f"{schema}/k", b"1", replacing=None).etag
            store.read(f"{schema}/k", unless=etag)
            store.write(f"{schema}/k", b"2", replacing=etag)
        expected = sent.format(etag=etag.strip('"'))
        assert ("*", expected, expected) == (
            requests[0].headers["if-none-match"],
            requests[1].headers["if-none-match"],
            requests[2].headers["if-match"],
        )

    def test_a_blind_write_names_no_condition(self, embedded: Server, schema: str) -> None:
        """`ANYTHING` sends neither header."""
        with heard(embedded) as (requests, store):
            store.write(f"{schema}/k", b"1", replacing=ANYTHING)
        assert not {"if-match", "if-none-match"} & set(requests[0].headers)

    def test_a_list_is_one_request(self, embedded: Server, schema: str) -> None:
        """It names where to go on, and nothing where it begins at the beginning."""
        with heard(embedded) as (requests, store):
            store.list(f"{schema}/")
            store.list(f"{schema}/", after=f"{schema}/a+b")
        assert ["GET", "GET"] == [request.method for request in requests]
        assert "start-after" not in requests[0].path
        assert f"start-after={schema}%2Fa%2Bb" in requests[1].path

    def test_many_are_deleted_in_one_request(self, embedded: Server, schema: str) -> None:
        """One alone goes as a DELETE, which every store knows."""
        with heard(embedded) as (requests, store):
            store.delete(f"{schema}/a")
            store.delete(f"{schema}/a", f"{schema}/b", f"{schema}/c")
            store.delete()
        assert ["DELETE /raw/" + f"{schema}/a", "POST /raw?delete"] == [f"{r.method} {r.path}" for r in requests]

    def test_what_a_foreign_store_is_to_delete_comes_with_its_md5(self, embedded: Server, schema: str) -> None:
        """Many refuse the request without it, and boto3 no longer sends it."""
        with heard(embedded) as (requests, store):
            store.delete(f"{schema}/a", f"{schema}/b")
        assert 16 == len(b64decode(requests[0].headers["content-md5"]))

    def test_an_unchanged_document_is_not_sent(self, aws: Scripted) -> None:
        """304 says that what the reader has is what is there."""
        aws.stubber.add_client_error("get_object", "304", http_status_code=304)
        assert aws.store.read("k", unless='"e0"') is UNCHANGED

    def test_a_document_comes_with_its_etag_as_received(self, embedded: Server, schema: str) -> None:
        """ETags are opaque: what comes in quotes is kept in quotes."""
        with heard(embedded) as (_, store):
            etag = store.write(f"{schema}/k", b"1", replacing=None).etag
            assert Stored(body=b"1", etag=etag) == store.read(f"{schema}/k")
        assert etag.startswith('"')


@contextlib.contextmanager
def heard(server: Server, quoting: Quoting = Quoting.AS_RECEIVED) -> Iterator[tuple[list[Seen], S3Store]]:
    """Yield a store, and the requests that come from it."""
    requests: list[Seen] = []

    def note(seen: Seen) -> Fate:
        requests.append(seen)
        return Fate.ANSWERED

    with FaultyProxy(server.endpoint_url, note) as proxy:
        client = open_client(access_to(server, endpoint_url=proxy.endpoint_url))
        yield requests, S3Store(client, "raw", quoting)
        client.close()


class TestAccessOf:
    """What it takes to make a client like a given one elsewhere."""

    def test_a_client_of_ours_gives_what_it_was_made_from(self, client: "S3Client") -> None:
        """AWS's endpoint follows from the region, so it is left out."""
        assert access_of(client, "raw") == AWS

    def test_the_endpoint_of_a_foreign_store_travels(self, embedded: Server) -> None:
        """Another process has to go to the same store."""
        foreign = open_client(access_to(embedded))
        assert access_of(foreign, "raw") == access_to(embedded)
        foreign.close()

    @pytest.mark.parametrize("renewed", [True, False], ids=["renewed", "none"])
    def test_credentials_that_are_not_fixed_are_left_to_the_chain(self, scratch: Path, *, renewed: bool) -> None:
        """Those of a role or of SSO expire, so a copy would be of no use for long; nor is there one of none."""
        assert scratch.is_dir()
        session = botocore.session.Session()
        session._credentials = _of_a_role() if renewed else None  # type: ignore[attr-defined]  # noqa: SLF001 - no door
        unsigned = Config(signature_version=UNSIGNED)
        client = boto3.session.Session(botocore_session=session, region_name="eu-central-1").client(
            "s3", config=None if renewed else unsigned
        )
        assert Access(bucket="raw", region="eu-central-1") == access_of(client, "raw")
        client.close()


def _of_a_role() -> RefreshableCredentials:
    far = datetime(2999, 1, 1, tzinfo=timezone.utc)
    return RefreshableCredentials("AKIDEXAMPLE", SECRET, TOKEN, far, dict, "assume-role")
