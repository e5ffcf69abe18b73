"""S3 on boto3: how a client is made, what its answers mean, and documents; files are for `objects`.

The table, with its reasons:

| answer | meaning |
|---|---|
| 412 PreconditionFailed | `Conflict`: what is there is not what was to be replaced |
| 409 ConditionalRequestConflict, Ceph's ConcurrentModification | `Conflict`: another was under way; not applied |
| either of them to anything but a write | `Unanswered`: another operation was under way |
| 404 NoSuchKey under If-Match | vanished: S3 says 404, not 412, when the key is gone |
| 404 to a read | there is no such object; with `x-amz-delete-marker: true`, `DELETED` |
| 403 AccessDenied to a read | `ReadDeniedError`: so is a missing key answered where the caller may not list |
| 304 | `UNCHANGED` |
| 503 SlowDown, 429 | `Unanswered`, and slower |
| any other 5xx, 400 RequestTimeout, time-outs, resets | `Unanswered`: Ceph answers most of its lost races with 500 |
| 400 BadDigest | `Unanswered`: what arrived is not what was sent, and was not kept |
| 507, QuotaExceeded, XMinioStorageFull | `StoreError`: there is no room |
| 501 NotImplemented to a write | the store does not know conditional writes |
| connection refused, name not found | `Unanswered`, and certainly not sent |
| anything else | `StoreError`, with what to fix |

An answer is classified by its code first and by its status where the code says nothing: a 412 has been seen inside an
HTTP 200, which botocore turns into a 500 with the code PreconditionFailed.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, cast

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
    SSOError,
    TokenRetrievalError,
)
from botocore.parsers import ResponseParserError

from cf_data_tracker.errors import DeniedError, ReadDeniedError, StoreError, TrackerError, UnsafeStoreError
from cf_data_tracker.settings import Access, is_aws
from cf_data_tracker.store import (
    ANYTHING,
    DELETED,
    UNCHANGED,
    Answer,
    Conflict,
    Replacing,
    Stored,
    TooLarge,
    Unanswered,
    Written,
    vanished,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import DeleteObjectRequestTypeDef as Doomed
    from mypy_boto3_s3.type_defs import DeleteTypeDef as Delete
    from mypy_boto3_s3.type_defs import ErrorTypeDef as Refused

POOL_SIZE: Final = 64
"""Connections kept open by a client; more threads than this wait for one or open one of their own."""

CONFLICTS: Final = frozenset(
    {"PreconditionFailed", "ConditionalRequestConflict", "ConcurrentModification", "OperationAborted", "412", "409"}
)
MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NotFound", "404"})
DENIED: Final = frozenset({"AccessDenied", "403"})
SLOWER: Final = frozenset(
    {"SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded", "503", "429"}
)
DAMAGED: Final = frozenset({"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})  # on its way
UNKNOWN: Final = DAMAGED | {"RequestTimeout", "InternalError", "408"}  # with a 400; of one key of many, with a 200
WAITING: Final = "waiting"
"""The note that travels with an object is kept as user metadata: `x-amz-meta-waiting`."""

PUT: Final = "s3:PutObject"
LIST: Final = "s3:ListBucket"
DELETE: Final = "s3:DeleteObject"
ERASE: Final = "s3:DeleteObjectVersion"
NEVER_SENT: Final = (EndpointConnectionError, ConnectTimeoutError)
SILENT: Final = (BotoCoreError, ResponseParserError, RecursionError, ValueError)  # ValueError: a date that is none, say
INTERRUPTED: Final = (
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    ResponseParserError,
    ValueError,
)
CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    SSOError,
    TokenRetrievalError,
)
HOPELESS: Final = (*CREDENTIALS, ParamValidationError)
NOT_MODIFIED, FORBIDDEN, CONFLICT, PRECONDITION_FAILED, TOO_MANY = 304, 403, 409, 412, 429
SERVER_ERROR, NOT_IMPLEMENTED, SERVICE_UNAVAILABLE = 500, 501, 503
HIDDEN: Final = ", and s3:ListBucket on the bucket, without which a missing object is answered so too"
FOREIGN: Final = {
    # Newer boto3 adds checksums by default, which break several stores that are not AWS.
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",
}
ADVICE: Final = {
    "NoSuchBucket": "there is no such bucket: create it, or correct its name",
    "InvalidBucketName": "this is no bucket name: correct it",
    "AllAccessDisabled": "the bucket is disabled",
    "InvalidAccessKeyId": "the access key is not known there: correct AWS_ACCESS_KEY_ID, or the endpoint",
    "SignatureDoesNotMatch": "the secret key is wrong: correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired: renew them (sign in again, or assume the role again)",
    "TokenRefreshRequired": "the credentials have expired: renew them",
    "InvalidToken": "the session token is not valid: renew the credentials",
    "RequestTimeTooSkewed": "this machine's clock is wrong by more than 15 minutes: set it",
    "PermanentRedirect": "the bucket is in another region: correct AWS_REGION_NAME",
    "TemporaryRedirect": "the bucket is in another region: correct AWS_REGION_NAME",
    "AuthorizationHeaderMalformed": "the region is wrong: correct AWS_REGION_NAME",
    "IllegalLocationConstraintException": "the bucket is in another region: correct AWS_REGION_NAME",
    "EntityTooLarge": "this is larger than a single PUT may be",
    "QuotaExceeded": "the quota is used up: make room, or have it raised",
    "XMinioStorageFull": "the store is full: make room",
    "InsufficientStorage": "the store is full: make room",
    "507": "the store is full: make room",
    "301": "the bucket is in another region: correct AWS_REGION_NAME",
}


class Quoting(Enum):
    """The form in which a store wants its ETags back; all send them in double quotes."""

    AS_RECEIVED = "as received"
    UNQUOTED = "unquoted"  # Ceph up to 16 answers 412 for ever to a quoted one

    def of(self, etag: str) -> str:
        """Return an ETag in this form."""
        return etag if self is Quoting.AS_RECEIVED else etag.strip('"')


def open_client(access: Access) -> "S3Client":
    """Return a client for a bucket that sends each request once.

    Raises:
        StoreError: The endpoint is no URL, or the profile or region does not exist.
    """
    client = _client(access)
    found = foreign_endpoint(client)
    if found is None:
        return client
    if access.endpoint_url is None:
        client.close()  # boto3 took an endpoint from variables or files of its own, and it is not AWS's
        client = _client(replace(access, endpoint_url=found))
    client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
    return client


def foreign_endpoint(client: "S3Client") -> str | None:
    """Return where a client's requests go, or `None` for AWS."""
    return None if is_aws(client.meta.endpoint_url) else client.meta.endpoint_url


def _client(access: Access) -> "S3Client":
    options: dict[str, Any] = {} if is_aws(access.endpoint_url) else FOREIGN
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=min(5.0, access.request_timeout),
        read_timeout=access.request_timeout,
        max_pool_connections=POOL_SIZE,
        **options,
    )
    try:
        session = boto3.session.Session(
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            aws_session_token=access.session_token,
            region_name=access.region,
        )
        return session.client("s3", endpoint_url=access.endpoint_url, config=config)
    except (BotoCoreError, ValueError) as error:
        raise StoreError(f"no connection can be made to the bucket {access.bucket}: {error}") from error


def _add_md5(params: dict[str, Any], **_: object) -> None:
    # S3 asks for a digest of this request's body. boto3 has sent CRC32 since 1.36, where many stores know MD5 alone.
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = b64encode(digest).decode()


def access_of(client: "S3Client", bucket: str, request_timeout: float = 15.0) -> Access:
    """Return what it takes to make a client like this one in another process.

    Credentials that a role or SSO renews are left to boto3's chain there.
    """
    credentials = client._request_signer._credentials  # type: ignore[attr-defined]  # noqa: SLF001 - not told elsewhere
    fixed = type(credentials).__name__ == "Credentials"
    return Access(
        bucket=bucket,
        request_timeout=request_timeout,
        endpoint_url=foreign_endpoint(client),
        region=client.meta.region_name,
        access_key=credentials.access_key if fixed else None,
        secret_key=credentials.secret_key if fixed else None,
        session_token=credentials.token if fixed else None,
    )


class S3Store:
    """A `Store` over one bucket. It asks once; an answer comes back as a value, a signal or an error."""

    def __init__(self, client: "S3Client", bucket: str, quoting: Quoting = Quoting.AS_RECEIVED) -> None:
        self._client = client
        self._bucket = bucket
        self._quoting = quoting

    def location(self, key: str) -> str:
        """Return the S3 URL of a key."""
        return f"s3://{self._bucket}/{key}"

    @contextmanager
    def asking(self, action: str, key: str, *, denied: type[StoreError] = DeniedError) -> "Iterator[S3Client]":
        """Give the client, and raise the signal or error that its answer stands for."""
        try:
            yield self._client
        except ClientError as error:
            raise self._meaning(error, action, key, denied=denied) from error
        except SILENT as error:
            raise self._silence(error, action, key) from error

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """GET the object, or learn that its ETag still is `unless`."""
        condition: dict[str, Any] = {} if unless is None else {"IfNoneMatch": self._quoting.of(unless)}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key, **condition)
            with closing(answer["Body"]) as body:  # as a context itself it gives the bare socket, which checks nothing
                if most is not None and answer.get("ContentLength", most + 1) > most:
                    raise TooLarge(self.location(key))
                text = body.read()
        except ClientError as error:
            if _status(error) == NOT_MODIFIED:
                return UNCHANGED
            if _is_deleted(error):
                return DELETED
            if is_missing(error):
                return None
            raise self._meaning(error, "s3:GetObject", key, denied=ReadDeniedError) from error
        except SILENT as error:
            raise self._silence(error, "s3:GetObject", key) from error
        if "ETag" not in answer:
            raise StoreError(f"{self.location(key)}: the store sends no ETag, and without one nothing can be replaced")
        return Stored(
            body=text,
            etag=answer["ETag"],
            waiting=_number(answer.get("Metadata", {}).get(WAITING, "")),
            version=_version(answer.get("VersionId")),
        )

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """PUT the object under the condition that `replacing` states."""
        try:
            answer = self._client.put_object(
                Bucket=self._bucket,
                Key=key,
                # botocore makes a file object of bytes, and of those it sends the head first and waits for a word
                # (`Expect: 100-continue`): a round trip more. It takes a bytearray as it is.
                Body=cast("bytes", bytearray(body)),
                ContentType="application/json",
                Metadata={WAITING: str(waiting)} if waiting else {},
                **self._condition(replacing),
            )
        except ClientError as error:
            if is_missing(error) and isinstance(replacing, str):
                raise vanished(self.location(key)) from error
            raise self._meaning(error, PUT, key) from error
        except SILENT as error:
            raise self._silence(error, PUT, key) from error
        if "ETag" not in answer:
            raise Unanswered(f"{self.location(key)}: the answer to a write has no ETag")
        return Written(etag=answer["ETag"], version=_version(answer.get("VersionId")))

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """LIST up to 1,000 keys."""
        start: dict[str, Any] = {"StartAfter": after} if after else {}
        try:
            answer = self._client.list_objects_v2(Bucket=self._bucket, Prefix=prefix, **start)
        except ClientError as error:
            raise self._meaning(error, LIST, prefix) from error
        except SILENT as error:
            raise self._silence(error, LIST, prefix) from error
        return [entry["Key"] for entry in answer.get("Contents", ()) if "Key" in entry]

    def delete(self, *keys: str) -> None:
        """DELETE the objects."""
        if len(keys) == 1:
            self._delete(DELETE, {"Bucket": self._bucket, "Key": keys[0]})
        elif keys:
            self._delete_many(keys)

    def erase(self, key: str, version: str) -> None:
        """DELETE a version."""
        self._delete(ERASE, {"Bucket": self._bucket, "Key": key, "VersionId": version})

    def _delete(self, action: str, which: "Doomed") -> None:
        try:
            self._client.delete_object(**which)
        except ClientError as error:
            if not is_missing(error):  # some stores answer 404 where S3 answers 204
                raise self._meaning(error, action, which["Key"]) from error
        except SILENT as error:
            raise self._silence(error, action, which["Key"]) from error

    def _delete_many(self, keys: Sequence[str]) -> None:
        first = keys[0]
        doomed: Delete = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        try:
            answer = self._client.delete_objects(Bucket=self._bucket, Delete=doomed)
        except ClientError as error:
            raise self._meaning(error, DELETE, first) from error
        except SILENT as error:
            raise self._silence(error, DELETE, first) from error
        for refused in answer.get("Errors", ()):  # the request was answered 200; each key has its own answer
            if refused.get("Code") not in MISSING:
                raise self._meaning(_refusal(refused), DELETE, refused.get("Key", first))

    def _condition(self, replacing: Replacing) -> dict[str, Any]:
        if replacing is ANYTHING:
            return {}
        return {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": self._quoting.of(replacing)}

    def _meaning(
        self, error: ClientError, action: str, key: str, *, denied: type[StoreError] = DeniedError
    ) -> Exception:
        """Return the signal or error that an answer of the store stands for."""
        code, status = _code(error), _status(error)
        where = f"{self.location(key)}: {code or status}"
        if code in CONFLICTS or (code not in ADVICE and status in (CONFLICT, PRECONDITION_FAILED)):
            # Only a write says what it replaces: for the others it means that something else was under way.
            if action == PUT:
                return Conflict(where, certain=code == "PreconditionFailed" or status == PRECONDITION_FAILED)
            return Unanswered(f"answered {code or status}")
        if code == "NotImplemented" or status == NOT_IMPLEMENTED:
            return _not_known(where, action)
        slow = code in SLOWER or status in (TOO_MANY, SERVICE_UNAVAILABLE)
        if slow or code in UNKNOWN or (status >= SERVER_ERROR and code not in ADVICE):
            return Unanswered(f"answered {code or status}", slow=slow)
        if code in DENIED or (code not in ADVICE and status == FORBIDDEN):
            hint = HIDDEN if denied is ReadDeniedError else ""
            return denied(f"{self.location(key)}: access denied; allow {action} on it{hint}")
        plain = (
            "refused" if code.strip("0123456789") else "refused, though not in S3's words: correct AWS_ENDPOINT_URL_S3"
        )
        return StoreError(f"{where}: {ADVICE.get(code) or error.response['Error'].get('Message') or plain}")

    def _silence(self, error: Exception, action: str, key: str) -> Exception:
        """Return the signal or error for a request that has no answer of the store."""
        endpoint_url = self._client.meta.endpoint_url
        if _never_sent(error):
            what = f"{endpoint_url} cannot be reached ({type(error).__name__})"
            return Unanswered(f"{what}: is the endpoint right, and the store running?", sent=False)
        # Of a write, TLS may break after it was received; only a certificate is looked at before.
        unmet = isinstance(error, SSLError) and (action != PUT or "CERTIFICATE_VERIFY_FAILED" in str(error))
        if isinstance(error, INTERRUPTED) and not unmet and not isinstance(error, HOPELESS):
            return Unanswered(f"no answer ({type(error).__name__})")
        return StoreError(self._mending(error, f"{self.location(key)} at {endpoint_url}"))

    def _mending(self, error: Exception, where: str) -> str:
        if isinstance(error, CREDENTIALS):
            return f"no credentials for {where}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in ({error})"
        if isinstance(error, ParamValidationError) and "bucket" in str(error):
            return f"{self._bucket!r} can be no bucket's name: correct it"
        if isinstance(error, RecursionError):
            return f"{where}: the endpoint redirects every request: correct AWS_ENDPOINT_URL_S3 (https?)"
        return f"{where}: {error}"


def _not_known(where: str, action: str) -> TrackerError:
    what = f"{where}: the store does not know this request ({action}"
    if action in (LIST, DELETE, ERASE):
        return StoreError(f"{what})")
    return UnsafeStoreError(f"{what} with a condition)")


def _never_sent(error: Exception) -> bool:
    if isinstance(error, ProxyConnectionError):
        # So is also told that a proxy took the request and then broke off; urllib3's cause tells the cases apart.
        cause = getattr(error.kwargs.get("error"), "original_error", None)
        return type(cause).__name__ == "NewConnectionError"
    return isinstance(error, NEVER_SENT)


def _refusal(refused: "Refused") -> ClientError:
    said = {"Code": refused.get("Code", ""), "Message": refused.get("Message", "")}
    return ClientError({"Error": said}, "DeleteObjects")  # type: ignore[typeddict-item]  # all that is told of one key


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004 - not for us to trust


def _version(name: str | None) -> str | None:
    return None if name == "null" else name  # so they are called where versions were kept once


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def is_missing(error: ClientError) -> bool:
    """Return whether a store says that there is no such object, or no such version of it."""
    return _code(error) in MISSING


def _is_deleted(error: ClientError) -> bool:
    """Return whether a store says that the newest version of an object is a delete marker."""
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers.get("x-amz-delete-marker") == "true"


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
