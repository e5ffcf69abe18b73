"""A proxy between a client and its store, and TLS that was replaced too late: the error names them."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cf_data_tracker import Tracker
from cf_data_tracker.errors import StoreError
from cf_data_tracker.store import Unanswered
from cf_data_tracker.stores.transport import Proxy, not_opened, proxy_for, proxy_trouble

SECRET = "pass-of-the-proxy"
AWS = "https://s3.eu-west-2.amazonaws.com"


@pytest.mark.parametrize(
    ("endpoint", "env", "found"),
    [
        (AWS, {}, None),
        (AWS, {"HTTP_PROXY": "http://p:1"}, None),
        (AWS, {"HTTPS_PROXY": "http://p:1"}, ("HTTPS_PROXY", "http://p:1")),
        (AWS, {"HTTPS_PROXY": "http://p:1", "https_proxy": "q:2"}, ("https_proxy", "q:2")),
        (AWS, {"HTTPS_PROXY": f"http://me:{SECRET}@p:1"}, ("HTTPS_PROXY", "http://p:1")),
        (AWS, {"HTTPS_PROXY": f"me:{SECRET}@p"}, ("HTTPS_PROXY", "p")),
        (AWS, {"HTTPS_PROXY": f"http://m@e:{SECRET}@p:1/"}, ("HTTPS_PROXY", "http://p:1/")),
        (AWS, {"HTTPS_PROXY": "p", "NO_PROXY": "localhost, .amazonaws.com"}, None),
        (AWS, {"HTTPS_PROXY": "p", "no_proxy": "*"}, None),
        (AWS, {"HTTPS_PROXY": ""}, None),
        ("http://127.0.0.1:9000", {"http_proxy": "garbage"}, ("http_proxy", "garbage")),
    ],
)
def test_the_proxy_is_the_one_that_boto3_takes(
    endpoint: str, env: dict[str, str], found: tuple[str, str] | None
) -> None:
    """It goes by the scheme of the endpoint; its user and password are not shown."""
    assert (Proxy(*found) if found is not None else None) == proxy_for(endpoint, env)


class RefusedError(Exception):
    """As botocore wraps what a proxy has to do with."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.kwargs = {"error": error}


ProxyConnectionError = type("ProxyConnectionError", (RefusedError,), {})
LocationParseError = type("LocationParseError", (ValueError,), {})
NewConnectionError = type("NewConnectionError", (Exception,), {})
NameResolutionError = type("NameResolutionError", (NewConnectionError,), {})


def wrapping(original: Exception) -> Exception:
    """Return an error as urllib3's."""
    error = Exception("proxy")
    error.original_error = original  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "kind", "sent", "words"),
    [
        (ProxyConnectionError(wrapping(NewConnectionError())), Unanswered, False, "correct or unset it"),
        (ProxyConnectionError(wrapping(NameResolutionError())), Unanswered, False, "correct or unset it"),
        (ProxyConnectionError(wrapping(OSError("Tunnel connection failed: 502 x"))), Unanswered, False, "NO_PROXY"),
        (ProxyConnectionError(wrapping(OSError("Tunnel connection failed: 407 x"))), StoreError, None, "a password"),
        (ProxyConnectionError(wrapping(ConnectionResetError())), Unanswered, True, "no answer through"),
        (RefusedError(LocationParseError(SECRET)), StoreError, None, "is malformed"),
    ],
)
def test_trouble_with_a_proxy_names_it(error: Exception, kind: type[Exception], sent: bool | None, words: str) -> None:  # noqa: FBT001 - a case
    """And says whether the request may have been passed on; a password that is missing is not waited for."""
    trouble = proxy_trouble(error, AWS, {"HTTPS_PROXY": f"http://me:{SECRET}@p:1"})
    assert type(trouble) is kind
    assert sent is getattr(trouble, "sent", None)
    assert "the proxy http://p:1 of HTTPS_PROXY" in str(trouble)
    assert words in str(trouble)
    assert SECRET not in str(trouble)


def test_other_trouble_is_no_proxys() -> None:
    """Where none is named, and where the error is another."""
    assert None is proxy_trouble(ProxyConnectionError(NewConnectionError()), AWS, {})
    assert None is proxy_trouble(RefusedError(OSError()), AWS, {"HTTPS_PROXY": "p"})
    assert None is proxy_trouble(RuntimeError(), AWS, {"HTTPS_PROXY": "p"})


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Give the address of what answers every connection so."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def failure(endpoint_url: str) -> str:
    """Return the error of a question to a store, without any wait that matters."""
    tracker = Tracker(
        "raw",
        endpoint_url=endpoint_url,
        region_name="x",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        timeout=2,
    )
    with pytest.raises(StoreError) as refused:
        tracker.tables("vitals")
    return str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "variable", "value"),
    [
        ("http://192.0.2.1", "HTTP_PROXY", f"http://me:{SECRET}@127.0.0.1:1"),
        ("https://192.0.2.1", "HTTPS_PROXY", f"http://me:{SECRET}@127.0.0.1:1"),
        ("https://192.0.2.1", "https_proxy", "garbage.invalid"),
        ("https://192.0.2.1", "HTTPS_PROXY", "http://[::1"),
        ("https://192.0.2.1", "HTTPS_PROXY", "http://127.0.0.1:port"),
    ],
)
@pytest.mark.usefixtures("scratch")
def test_a_proxy_that_cannot_be_reached_is_named(
    endpoint: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable that names it, and without its password."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    error = failure(endpoint)
    assert f"of {variable}" in error
    assert value.rpartition("@")[2] in error
    assert SECRET not in error


@pytest.mark.parametrize(("scheme", "variable"), [("https", "HTTPS_PROXY"), ("http", "HTTP_PROXY")])
@pytest.mark.usefixtures("scratch")
def test_a_proxy_that_wants_a_password_is_named(scheme: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, since asking again changes nothing; whether it refuses a tunnel, or answers in place of the store."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    page = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>"
    with answering(page) as proxy:
        monkeypatch.setenv(variable, f"http://{proxy}")
        error = failure(f"{scheme}://192.0.2.1")
    assert f"the proxy http://{proxy} of {variable} asks for a user and a password (407)" in error


@pytest.mark.usefixtures("scratch")
def test_tls_that_was_replaced_too_late_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As gevent does it: a setter of `ssl` looks its class up by name, finds the subclass, and calls itself."""
    monkeypatch.setattr(ssl, "SSLContext", type("SSLContext", (ssl.SSLContext,), {}))
    assert "call gevent.monkey.patch_all() before anything else is imported" in failure("http://127.0.0.1:1")


def test_another_recursion_is_not_taken_for_that() -> None:
    """Words of any other error are its own."""

    def forever(*_: Any) -> None:  # noqa: ANN401 - nothing of it matters
        forever()

    with pytest.raises(RecursionError) as deep:
        forever()
    assert not_opened(deep.value) == str(deep.value)
    assert "why" == not_opened(ValueError("why"))
