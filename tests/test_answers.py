"""How answers are read: what is none of S3's is a signal or an error; a refusal comes with the store's own words."""

import io
import traceback
from collections.abc import Callable
from typing import Final

import pytest

from cf_data_tracker.errors import DeniedError, ReadDeniedError, RetainedError, StoreError
from cf_data_tracker.store import ANYTHING, Content, Unanswered
from cf_data_tracker.stores.objects import S3Objects
from cf_data_tracker.stores.s3 import MAX_WORDS, S3Store
from cf_data_tracker.upload import content_of
from servers.server import Server
from test_s3_store import SECRET, TOKEN, Scripted, answer, aws, client, heard, odd_server, refusal, store_at

__all__ = ["aws", "client"]  # fixtures

XML: Final = '<?xml version="1.0" encoding="UTF-8"?>'
DATE: Final = "2026-01-01T00:00:00.000Z"
FIRST_YEAR, LAST_YEAR = "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"  # in UTC these are in other years
HTML: Final = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Welcome<br></body></html>"


def xml(body: str) -> bytes:
    """Return an answer of status 200 with a body of XML."""
    return answer("200 OK", f"{XML}{body}".encode(), "Content-Type: application/xml")


def listing(*entries: str, truncated: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    """Return a page of a listing."""
    found = "".join(f"<Contents>{one}</Contents>" for one in entries)
    return xml(f"<ListBucketResult>{truncated}{found}</ListBucketResult>")


def versions(*entries: str, truncated: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    """Return a page of a listing of versions."""
    found = "".join(f"<Version>{one}</Version>" for one in entries)
    return xml(f"<ListVersionsResult>{truncated}{found}</ListVersionsResult>")


KEY, SIZE, WHEN = "<Key>p/k</Key>", "<Size>1</Size>", f"<LastModified>{DATE}</LastModified>"
VERSION, LATEST = "<VersionId>v1</VersionId>", "<IsLatest>true</IsLatest>"
MORE: Final = (
    "<IsTruncated>true</IsTruncated><NextKeyMarker>p/k</NextKeyMarker><NextVersionIdMarker>v1</NextVersionIdMarker>"
)


def files(store: S3Store) -> S3Objects:
    """Return the files of the same bucket."""
    return S3Objects(store, "raw", lambda question: question())


def some_content() -> Content:
    """Return the content of a file."""
    with content_of(io.BytesIO(b"x")) as content:
        return content


Question = Callable[[S3Store], object]
MALFORMED: Final[dict[str, tuple[bytes, Question]]] = {
    "a page of HTML to a listing": (answer("200 OK", HTML, "Content-Type: text/html"), lambda s: s.list("p/")),
    "a page of HTML to a listing of files": (answer("200 OK", HTML), lambda s: files(s).page("p/")),
    "nothing to a listing": (answer("200 OK"), lambda s: files(s).page("p/")),
    "a listing without IsTruncated": (listing(KEY, truncated=""), lambda s: s.list("p/")),
    "an entry without a key": (listing(SIZE + WHEN), lambda s: files(s).page("p/")),
    "an entry without a size": (listing(KEY + WHEN), lambda s: files(s).page("p/")),
    "an entry without a date": (listing(KEY + SIZE), lambda s: files(s).page("p/")),
    "an entry with a date that is none": (
        listing(f"{KEY}{SIZE}<LastModified>soon</LastModified>"),
        lambda s: files(s).page("p/"),
    ),
    "an entry with a date before all": (
        listing(f"{KEY}{SIZE}<LastModified>{FIRST_YEAR}</LastModified>"),
        lambda s: files(s).page("p/"),
    ),
    "an entry with a date after all": (
        listing(f"{KEY}{SIZE}<LastModified>{LAST_YEAR}</LastModified>"),
        lambda s: files(s).page("p/"),
    ),
    "a size that is no number": (listing(f"{KEY}<Size>big</Size>{WHEN}"), lambda s: files(s).page("p/")),
    "an empty page with more after it": (
        listing(truncated="<IsTruncated>true</IsTruncated>"),
        lambda s: files(s).page("p/"),
    ),
    "a version without an id": (versions(f"<Key>k</Key>{WHEN}{LATEST}"), lambda s: files(s).versions("k")),
    "a version without a date": (versions(f"<Key>k</Key>{VERSION}{LATEST}"), lambda s: files(s).versions("k")),
    "a version with a date before all": (
        versions(f"<Key>k</Key>{VERSION}<LastModified>{FIRST_YEAR}</LastModified>{LATEST}"),
        lambda s: files(s).versions("k"),
    ),
    "a version that may be the latest": (versions(f"<Key>k</Key>{VERSION}{WHEN}"), lambda s: files(s).versions("k")),
    "a version without a key": (versions(VERSION + WHEN + LATEST), lambda s: files(s).versions("k")),
    "a page of HTML to a listing of versions": (answer("200 OK", HTML), lambda s: files(s).versions("k")),
    "a listing of versions without its next marker": (
        versions(truncated="<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"),
        lambda s: files(s).versions("k"),
    ),
    "a listing of versions that begins again": (
        versions(f"{KEY}{VERSION}{WHEN}{LATEST}", truncated=MORE),
        lambda s: files(s).versions("p/k"),
    ),
    "a HEAD without a date": (answer("200 OK", b"", 'ETag: "e"'), lambda s: files(s).head("k")),
    "a HEAD with a date before all": (
        answer("200 OK", b"", 'ETag: "e"', f"Last-Modified: {FIRST_YEAR}"),
        lambda s: files(s).head("k"),
    ),
    "a HEAD without a length": (
        b'HTTP/1.1 200 OK\r\nETag: "e"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n',
        lambda s: files(s).head("k"),
    ),
    "a HEAD with a length that is none": (
        b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: many\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n',
        lambda s: files(s).head("k"),
    ),
}


class TestNotS3s:
    """An answer that lacks what every answer of S3 has says nothing, and is not taken for an empty one."""

    @pytest.mark.parametrize(("said", "question"), MALFORMED.values(), ids=MALFORMED)
    def test_it_is_no_answer(self, said: bytes, question: Question) -> None:
        """Neither a bare `KeyError` nor a listing with nothing in it."""
        with odd_server(said) as url, store_at(url, request_timeout=2.0) as store:
            assert isinstance(refusal(lambda: question(store)), Unanswered)

    def test_it_says_what_may_be_wrong(self) -> None:
        """Most likely another server is at the endpoint, and asking it often would not help."""
        with odd_server(xml("<Welcome/>")) as url, store_at(url) as store:
            signal = refusal(lambda: store.list("p/"))
        assert isinstance(signal, Unanswered)
        assert not signal.sent
        assert "the answer to a listing has no IsTruncated: is AWS_ENDPOINT_URL_S3 the address of an S3" in str(signal)

    def test_an_error_whose_body_does_not_come_is_no_answer(self) -> None:
        """Boto3 lets what breaks off there through as it is."""
        half = answer("404 Not Found", b"<Error>", length=100)
        with odd_server(half, hang=True) as url, store_at(url, request_timeout=0.2) as store:
            assert isinstance(refusal(lambda: store.read("k")), Unanswered)

    @pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "502 Bad Gateway", "200 OK"])
    def test_a_page_of_html_is_named(self, status: str) -> None:
        """A missing object is not what a proxy's page tells."""
        with odd_server(answer(status, HTML, "Content-Type: text/html")) as url, store_at(url) as store:
            said = refusal(lambda: store.read("k") if status[0] == "4" else store.list("p/"))
        assert "AWS_ENDPOINT_URL_S3" in str(said)

    @pytest.mark.parametrize("said", [answer("200 OK", HTML), answer("200 OK"), answer("200 OK", b"", "ETag: ")])
    def test_a_write_that_was_answered_so_is_in_doubt(self, said: bytes) -> None:
        """A document's and a file's alike: it may be there."""
        with odd_server(said) as url, store_at(url) as store:
            for write in (
                lambda: store.write("k", b"{}", replacing=ANYTHING),
                lambda: files(store).create("k", some_content(), lambda _: None),
            ):
                signal = refusal(write)
                assert isinstance(signal, Unanswered)
                assert signal.sent

    def test_a_listing_of_s3_is_read(self) -> None:
        """With what it has."""
        with odd_server(listing(KEY + SIZE + WHEN)) as url, store_at(url) as store:
            assert ["p/k"] == store.list("p/")
            assert [("p/k", 1)] == [(one.key, one.size) for one in files(store).page("p/").objects]


KMS: Final = (
    "User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey on resource: arn:aws:kms:eu-west-2:"
    "1:key/2 because no identity-based policy allows the kms:GenerateDataKey action"
)
DENY: Final = (
    "User: arn:aws:iam::1:user/x is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::raw/k with an "
    "explicit deny in a service control policy"
)


def denial(aws: Scripted, code: str, words: str, operation: str = "put_object", **headers: str) -> Exception:
    """Return what the store makes of a 403."""
    aws.stubber.add_client_error(operation, code, words, 403, response_meta={"HTTPHeaders": headers})
    write = operation == "put_object"
    return refusal(lambda: aws.store.write("k", b"{}", replacing=None) if write else aws.store.read("k"))


class TestDenials:
    """A 403 comes with the store's code and words, and with advice where it is certain what would help."""

    def test_a_plain_denial_names_the_permission(self, aws: Scripted) -> None:
        """It is what is missing most of the time, and the words say if not."""
        error = denial(aws, "AccessDenied", "Access Denied")
        assert "s3://raw/k: access denied; allow s3:PutObject on it (AccessDenied: Access Denied)" == str(error)

    @pytest.mark.parametrize("operation", ["put_object", "get_object"])
    def test_the_key_that_encrypts_may_be_what_denies(self, aws: Scripted, operation: str) -> None:
        """A permission for S3 would not help; and the object is there."""
        error = denial(aws, "AccessDenied", KMS, operation)
        assert DeniedError is type(error)
        assert "kms:GenerateDataKey" in str(error)
        assert "allow s3:" not in str(error)

    def test_an_explicit_deny_is_not_overcome_by_a_permission(self, aws: Scripted) -> None:
        """Its words say where it stands."""
        error = denial(aws, "AccessDenied", DENY)
        assert "with an explicit deny in a service control policy" in str(error)
        assert "; allow" not in str(error)

    @pytest.mark.parametrize(
        ("code", "expected"),
        [
            ("InvalidObjectState", "is archived: restore it from the archive first"),
            ("AccountProblem", "the account is suspended"),
            ("AllAccessDisabled", "the bucket is disabled"),
            ("RequesterPays", "refused (RequesterPays: some words)"),
        ],
    )
    def test_another_403_is_told_by_its_code(self, aws: Scripted, code: str, expected: str) -> None:
        """No permission would help."""
        error = denial(aws, code, "some words", "get_object")
        assert isinstance(error, StoreError)
        assert not isinstance(error, ReadDeniedError)
        assert expected in str(error)
        assert "; allow" not in str(error)

    @pytest.mark.parametrize(
        ("code", "status", "words"),
        [
            ("AccessDenied", 403, "Access Denied because object protected by object lock."),
            ("InvalidRequest", 400, "Object is WORM protected and cannot be overwritten"),
        ],
    )
    def test_a_retained_object_is_said_to_be_retained(self, aws: Scripted, code: str, status: int, words: str) -> None:
        """No permission would delete it."""
        aws.stubber.add_client_error("delete_object", code, words, status)
        error = refusal(lambda: aws.store.erase("k", "v1"))
        assert RetainedError is type(error)
        assert "under a retention, and stays until it ends" in str(error)
        assert "; allow" not in str(error)

    def test_a_page_of_a_proxy_is_not_the_stores_denial(self) -> None:
        """It says that something stands in between."""
        page = answer("403 Forbidden", HTML, "Content-Type: text/html")
        with odd_server(page) as url, store_at(url) as store:
            error = refusal(lambda: store.write("k", b"{}", replacing=None))
        assert isinstance(error, DeniedError)
        assert "answered 403 by a page of HTML, which is not S3's" in str(error)
        assert "; allow" not in str(error)


class TestWords:
    """The words of a store in a message: one line, cut short, no secret."""

    @pytest.mark.parametrize(("code", "status"), [("InvalidArgument", 400), ("AccessDenied", 403), ("Odd", 403)])
    def test_they_are_short_and_on_one_line(self, aws: Scripted, code: str, status: int) -> None:
        """An error of 2.5 million characters has been seen."""
        aws.stubber.add_client_error("put_object", code, "a\r\nb\x1b[31m\u202e" * 400_000, status)
        error = refusal(lambda: aws.store.write("k", b"{}", replacing=None))
        assert MAX_WORDS + 100 > len(str(error))
        assert str(error).isprintable()
        assert "a b" in str(error)

    @pytest.mark.parametrize(
        "said",
        [
            f"wrong secret {SECRET}, token {TOKEN}",
            f"x-amz-security-token: {TOKEN}",
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101, SignedHeaders=host, Signature=feedbeef",
            "no match for X-Amz-Signature=feedbeef&X-Amz-Credential=AKIDEXAMPLE/20260101",
        ],
    )
    def test_what_they_repeat_of_a_request_is_not_shown(self, aws: Scripted, said: str) -> None:
        """Neither a secret nor a signature."""
        aws.stubber.add_client_error("put_object", "InvalidArgument", said, 400)
        shown = str(refusal(lambda: aws.store.write("k", b"{}", replacing=None)))
        assert "***" in shown
        for secret in (SECRET, TOKEN, "feedbeef"):
            assert secret not in shown

    def test_a_bad_answer_is_not_repeated(self) -> None:
        """A page of HTML is not quoted, however long it is."""
        with odd_server(answer("400 Bad Request", HTML * 1000)) as url, store_at(url) as store:
            assert 400 > len(str(refusal(lambda: store.list("p/"))))


def test_a_document_goes_to_another_store_with_its_md5(embedded: Server, schema: str) -> None:
    """A bucket with a default retention demands it for every PUT; AWS gets boto3's own checksum."""
    with heard(embedded) as (requests, store):
        store.write(f"{schema}/k", b"{}", replacing=None)
    assert "mZFLkyvTelC5g8XnyQrpOw==" == requests[0].headers["content-md5"]


def test_what_boto3_raises_is_not_lost(aws: Scripted) -> None:
    """It is the cause of what is raised."""
    error = denial(aws, "AccessDenied", "Access Denied")
    assert "PutObject was answered AccessDenied: Access Denied" in "".join(traceback.format_exception(error))
