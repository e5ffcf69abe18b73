"""Stores that do not honour `If-Match` in a deletion: a scratch object finds them out, and nothing is deleted."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from cf_data_tracker.errors import DeniedError
from cf_data_tracker.store import Unanswered
from cf_data_tracker.stores.objects import S3Objects
from cf_data_tracker.stores.s3 import S3Store, open_client
from conftest import access_to
from servers.server import Server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@pytest.fixture
def client(embedded: Server) -> "S3Client":
    """Give a client of its own to each test."""
    return open_client(access_to(embedded, "raw"))


@pytest.fixture
def files(client: "S3Client") -> S3Objects:
    """Give a bucket of files."""
    return S3Objects(S3Store(client, "raw"), "raw", lambda question: question())


def ignores(params: dict[str, Any], **_: object) -> None:
    """Send a deletion without its condition, as a store sees it that ignores that."""
    params["headers"].pop("If-Match", None)


def answers(status: int, code: str) -> Callable[..., tuple[AWSResponse, dict[str, Any]] | None]:
    """Return what answers a conditional deletion with an error."""

    def answer(params: dict[str, Any], **_: object) -> tuple[AWSResponse, dict[str, Any]] | None:
        if "If-Match" not in params["headers"]:
            return None
        said = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
        return AWSResponse("", status, HTTPHeaders(), None), said

    return answer


@pytest.mark.parametrize(
    "behaviour", [ignores, answers(501, "NotImplemented"), answers(400, "InvalidArgument"), answers(412, "Always")]
)
def test_a_store_without_the_condition_deletes_nothing(
    client: "S3Client", files: S3Objects, behaviour: Callable[..., Any], schema: str
) -> None:
    """It ignores it, does not know it, or refuses all; the scratch object is removed. It is found out once."""
    key = f"{schema}/a"
    etag = client.put_object(Bucket="raw", Key=key, Body=b"x")["ETag"].strip('"')
    client.meta.events.register("before-call.s3.DeleteObject", behaviour)
    puts: list[str] = []
    client.meta.events.register("before-call.s3.PutObject", lambda params, **_: puts.append(params["url"]))
    assert [None, None] == [files.delete_unchanged(key, etag) for _ in range(2)]
    assert files.head(key) is not None
    assert 1 == len(puts)
    assert files.head(puts[0].partition("/raw/")[2]) is None


def test_an_older_boto3_cannot_send_the_condition(
    client: "S3Client", files: S3Objects, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the store is not asked."""
    key = f"{schema}/a"
    etag = client.put_object(Bucket="raw", Key=key, Body=b"x")["ETag"].strip('"')
    known = client.meta.service_model.operation_model("DeleteObject").input_shape
    assert known is not None
    monkeypatch.delitem(known.members, "IfMatch")
    monkeypatch.setattr(
        client.meta.service_model, "operation_model", lambda _: type("Model", (), {"input_shape": known})
    )
    assert files.delete_unchanged(key, etag) is None


@pytest.mark.parametrize(("status", "code", "meant"), [(403, "AccessDenied", DeniedError), (500, "Oops", Unanswered)])
def test_another_answer_means_what_it_means_elsewhere(  # noqa: PLR0913, PLR0917 - one for each
    client: "S3Client", files: S3Objects, schema: str, status: int, code: str, meant: type[Exception]
) -> None:
    """A refusal, or no answer."""
    key = f"{schema}/a"
    etag = client.put_object(Bucket="raw", Key=key, Body=b"x")["ETag"].strip('"')
    assert not files.delete_unchanged(key, "0" * 32)
    client.meta.events.register("before-call.s3.DeleteObject", answers(status, code))  # type: ignore[arg-type]  # it may answer
    with pytest.raises(meant):
        files.delete_unchanged(key, etag)
