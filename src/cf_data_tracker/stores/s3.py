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
| 407 | `StoreError`: a proxy asks for a user and a password |
| 507, QuotaExceeded, XMinioStorageFull | `StoreError`: there is no room |
| 501 NotImplemented to a write | the store does not know conditional writes |
| connection refused, name not found | `Unanswered`, and certainly not sent |
| anything else | `StoreError`, with what to fix |

An answer is classified by its code first and by its status where the code says nothing: a 412 has been seen inside an
HTTP 200, which botocore turns into a 500 with the code PreconditionFailed.
"""

import hashlib
import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from enum import Enum
from functools import partial
from http.client import HTTPException
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, cast

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
from urllib3.exceptions import HTTPError

from cf_data_tracker.errors import (
    AnswerTooLargeError,
    DeniedError,
    ReadDeniedError,
    RetainedError,
    StoreError,
    TrackerError,
    UnsafeStoreError,
)
from cf_data_tracker.names import MAX_DOCUMENT_BYTES, shortened
from cf_data_tracker.settings import Access, check_no_bucket_in, is_aws
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
from cf_data_tracker.stores.limits import Request, expect, limited, observant, with_new_connections
from cf_data_tracker.stores.session import fetching, open_session, settling
from cf_data_tracker.stores.transport import proxy_for, proxy_trouble, wants_password

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
GIVEN: Final = "the client that was handed in"
WAITING: Final = "waiting"
"""The note that travels with an object is kept as user metadata: `x-amz-meta-waiting`."""

GET: Final = "s3:GetObject"
PUT: Final = "s3:PutObject"
LIST: Final = "s3:ListBucket"
DELETE: Final = "s3:DeleteObject"
ERASE: Final = "s3:DeleteObjectVersion"
NEVER_SENT: Final = (EndpointConnectionError, ConnectTimeoutError)
BROKEN: Final = (HTTPError, HTTPException, OSError)  # which boto3 lets through where the body of an error breaks off
NONSENSE: Final = (
    ResponseParserError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
"""What boto3 raises where an answer is not what S3 sends: a date that is none, a missing element."""

SILENT: Final = (BotoCoreError, *BROKEN, *NONSENSE)
INTERRUPTED: Final = (
    ConnectionError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    *BROKEN,
    *NONSENSE,
)
CREDENTIALS: Final = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    SSOError,
    TokenRetrievalError,
)
HOPELESS: Final = (*CREDENTIALS, ParamValidationError, RecursionError)
NO_CONTENT, NOT_MODIFIED, FORBIDDEN, PROXY_AUTHENTICATION = 204, 304, 403, 407
CONFLICT, PRECONDITION_FAILED, TOO_MANY = 409, 412, 429
SERVER_ERROR, NOT_IMPLEMENTED, SERVICE_UNAVAILABLE = 500, 501, 503
RETAINED: Final = ("object lock", "worm protected")
"""What a store says of an object under a retention: AWS and moto, MinIO."""

HIDDEN: Final = ", and s3:ListBucket on the bucket, without which a missing object is answered so too"
NOT_S3: Final = "is AWS_ENDPOINT_URL_S3 the address of an S3 store, or is a proxy in between?"
MAX_WORDS: Final = 300
"""Characters of a store's own words in a message."""

MAX_CODE: Final = 60
"""Characters of a store's code in a message; those of S3 have 41 at most."""

MAX_EMPTY_PAGES: Final = 100
MAX_ETAG: Final = 255
MAX_LOOKED_AT: Final = 10_000
"""Characters of them that are looked at: an error of 2.5 million characters has been seen."""

STARS: Final = "***"
SIGNED: Final = re.compile(r"AWS4-HMAC-SHA256[^<]*|(?i:signature|security-token|credential)[\w-]*[=:]\s*[^\s&<,]+")
"""What a store may repeat of a request's signature."""

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
    "InvalidObjectState": "the object is archived: restore it from the archive first",
    "AccountProblem": "the account is suspended or has another problem: ask its owner",
    "EntityTooLarge": "this is larger than a single PUT may be",
    "QuotaExceeded": "the quota is used up: make room, or have it raised",
    "XMinioStorageFull": "the store is full: make room",
    "InsufficientStorage": "the store is full: make room",
    "507": "the store is full: make room",
    "301": "the bucket is in another region: correct AWS_REGION_NAME",
}


class MalformedAnswer(ValueError):  # noqa: N818 - a signal within the stores
    """An answer lacks what every answer of S3 to such a request has."""


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
        StoreError: The settings, boto3's own among them, do not make a connection.
    """
    opened = open_session(access)
    endpoint_url = opened.access.endpoint_url
    foreign = not is_aws(endpoint_url)
    # Configured endpoints were looked up, and may be none.
    options: dict[str, Any] = {"ignore_configured_endpoint_urls": True, **(FOREIGN if foreign else {})}
    config = Config(
        retries={"total_max_attempts": 1},
        connect_timeout=min(5.0, access.request_timeout),
        read_timeout=access.request_timeout,
        max_pool_connections=POOL_SIZE,
        **options,
    )
    with settling(access.bucket):
        client = opened.session.client("s3", endpoint_url=endpoint_url, config=config, verify=opened.verify)
    opened.check_renewals(client)
    if foreign:
        client.meta.events.register("before-call.s3.DeleteObjects", _add_md5)
    return observant(client)


def foreign_endpoint(client: "S3Client") -> str | None:
    """Return where a client's requests go, or `None` for AWS."""
    return None if is_aws(client.meta.endpoint_url) else client.meta.endpoint_url


def _add_md5(params: dict[str, Any], **_: object) -> None:
    # S3 asks for a digest of this request's body. boto3 has sent CRC32 since 1.36, where many stores know MD5 alone.
    digest = hashlib.md5(params["body"], usedforsecurity=False).digest()
    params["headers"]["Content-MD5"] = b64encode(digest).decode()


def access_of(client: "S3Client", bucket: str, request_timeout: float = 15.0) -> Access:
    """Return what it takes to make a client like this one in another process.

    Credentials that a role or SSO renews are left to boto3's chain there.

    Raises:
        StoreError: The client's endpoint has a bucket in it, its keys cannot be sent, or the bucket is none for us.
    """
    check_no_bucket_in(client.meta.endpoint_url, [bucket], f" ({GIVEN})")
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
        sources=dict.fromkeys(("region", "access_key", "secret_key", "session_token"), GIVEN),
    )


class S3Store:
    """A `Store` over one bucket. It asks once; an answer comes back as a value, a signal or an error.

    Args:
        client: The client.
        bucket: The bucket.
        quoting: The form in which it wants its ETags back.
        request_timeout: Seconds that a request may take, and more for what it moves: see `limits`.
    """

    def __init__(
        self,
        client: "S3Client",
        bucket: str,
        quoting: Quoting = Quoting.AS_RECEIVED,
        *,
        request_timeout: float = 15.0,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._quoting = quoting
        self._request_timeout = request_timeout

    @property
    def client(self) -> "S3Client":
        """The boto3 client."""
        return self._client

    def location(self, key: str) -> str:
        """Return the S3 URL of a key."""
        return f"s3://{self._bucket}/{key}"

    @contextmanager
    def asking(self, action: str, key: str, *, denied: type[DeniedError] = DeniedError) -> "Iterator[S3Client]":
        """Give the client for one request, within limits; raise the signal or error that its answer stands for.

        An exception that is not boto3's may come at any point of a request, from a signal handler for instance, and
        leave the client's pool of connections locked. So the client opens its connections anew.

        Args:
            action: The permission that the request takes.
            key: What it is about, for messages.
            denied: What a 403 is raised as.

        Raises:
            MalformedAnswer: Inside, while the answer is read: it is not S3's. It becomes `Unanswered`.
        """
        with limited(self._request_timeout, monotonic) as request:
            try:
                with fetching(self.location(key)):
                    yield self._client
            except (TrackerError, Conflict, Unanswered):
                raise
            except ClientError as error:
                self._clean(error)
                raise self._meaning(error, action, key, denied=denied) from error
            except SILENT as error:
                foreign = _foreign(error)
                if foreign is not None:
                    with_new_connections(self._client)
                    raise foreign from None
                getattr(error, "kwargs", {}).pop("request", None)  # its headers have the session token in them
                through_proxy = proxy_for(self._client.meta.endpoint_url, os.environ)  # whose password it may repeat
                raise self._silence(error, action, key, request) from (None if through_proxy else error)
            except BaseException:
                with_new_connections(self._client)
                raise

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """GET the object, or learn that its ETag still is `unless`."""
        condition: dict[str, Any] = {} if unless is None else {"IfNoneMatch": self._quoting.of(unless)}
        try:
            with self.asking(GET, key, denied=ReadDeniedError) as client:
                try:
                    answer = client.get_object(Bucket=self._bucket, Key=key, **condition)
                except ClientError as error:
                    if _status(error) == NOT_MODIFIED:
                        return UNCHANGED
                    if _is_deleted(error):
                        return DELETED
                    if is_missing(error):
                        return None
                    raise
                body = self.content(key, answer, MAX_DOCUMENT_BYTES if most is None else most)
                etag = etag_in(answer, "a read")
        except AnswerTooLargeError:
            if most is None:
                raise
            raise TooLarge(self.location(key)) from None
        return Stored(
            body=body,
            etag=etag,
            waiting=_number(answer.get("Metadata", {}).get(WAITING, "")),
            version=version_of(answer.get("VersionId")),
        )

    def content(self, key: str, answer: "Any", at_most: int) -> bytes:  # noqa: ANN401 - any answer with a body
        """Return the body of an answer, which is read inside `asking`.

        Raises:
            AnswerTooLargeError: It is longer than `at_most` bytes.
        """
        with closing(answer["Body"]) as body:  # as a context itself it gives the bare socket, which checks nothing
            etag_in(answer, "a read")
            check_whole(answer)
            if answer.get("ContentLength", 0) > at_most:
                raise AnswerTooLargeError(_too_large(self.location(key), at_most))
            expect(at_most)
            text: bytes = body.read()
        return text

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """PUT the object under the condition that `replacing` states."""
        with self.asking(PUT, key) as client:
            try:
                answer = client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    # botocore makes a file object of bytes, and of those it sends the head first and waits for a word
                    # (`Expect: 100-continue`): a round trip more. It takes a bytearray as it is.
                    Body=cast("bytes", bytearray(body)),
                    ContentType="application/json",
                    Metadata={WAITING: str(waiting)} if waiting else {},
                    **digest(client, body),
                    **self._condition(replacing),
                )
            except ClientError as error:
                if is_missing(error) and isinstance(replacing, str):
                    raise vanished(self.location(key)) from error
                raise
            etag = etag_in(answer, "a write")
        return Written(etag=etag, version=version_of(answer.get("VersionId")))

    def list(self, prefix: str, *, after: str = "") -> list[str]:
        """LIST up to 1,000 keys."""
        return [entry["Key"] for entry in self.listed(prefix, after)["Contents"]]

    def listed(self, prefix: str, after: str = "") -> "Mapping[str, Any]":
        """LIST up to 1,000 objects, and return the answer: `Contents`, each with a `Key`, and `IsTruncated`."""
        start: dict[str, Any] = {"StartAfter": after} if after else {}
        with self.asking(LIST, prefix) as client:
            answer = whole_page(partial(client.list_objects_v2, Bucket=self._bucket, Prefix=prefix), start)
            contents = answer.get("Contents", [])
            for entry in contents:
                needed(entry, "Key", "a listing")
        return {"Contents": contents, "IsTruncated": answer["IsTruncated"]}

    def delete(self, *keys: str) -> None:
        """DELETE the objects."""
        if len(keys) == 1:
            self._delete(DELETE, {"Bucket": self._bucket, "Key": keys[0]})
        elif keys:
            self._delete_many(keys)

    def erase(self, key: str, version: str) -> None:
        """DELETE a version; of one that may not be deleted, find out whether it is under a retention."""
        try:
            self._delete(ERASE, {"Bucket": self._bucket, "Key": key, "VersionId": version})
        except DeniedError as error:
            if not isinstance(error, RetainedError) and (retention := self._retention(key, version)):
                raise RetainedError(f"{self.location(key)}: under a retention, {retention}") from error
            raise

    def _retention(self, key: str, version: str) -> str:
        """Return how a version is retained, as far as the store shows that."""
        try:
            with self.asking(GET, key) as client:
                there: Mapping[str, Any] = client.head_object(Bucket=self._bucket, Key=key, VersionId=version)
        except (Unanswered, StoreError):
            return ""
        if "ObjectLockRetainUntilDate" in there:
            return f"and stays until {there['ObjectLockRetainUntilDate']:%Y-%m-%d %H:%M:%S} UTC"
        held = there.get("ObjectLockLegalHoldStatus") == "ON"
        return "a legal hold, and stays until that is taken off" if held else ""

    def _delete(self, action: str, which: "Doomed") -> None:
        with self.asking(action, which["Key"]) as client:
            try:
                answer = client.delete_object(**which)
                if "html" in _headers(answer).get(
                    "content-type", ""
                ):  # a DELETE is answered with 204, and nothing else
                    check_deleted(answer)
            except ClientError as error:
                if not is_missing(error):  # some stores answer 404 where S3 answers 204
                    raise

    def _delete_many(self, keys: Sequence[str]) -> None:
        doomed: Delete = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        with self.asking(DELETE, keys[0]) as client:
            answer = client.delete_objects(Bucket=self._bucket, Delete=doomed)
            headers = _headers(answer)  # S3 answers with a DeleteResult, if only an empty one
            if headers and (headers.get("content-length") == "0" or "xml" not in headers.get("content-type", "")):
                raise MalformedAnswer("the answer to a deletion is none of S3's")
        for refused in answer.get("Errors", ()):  # the request was answered 200; each key has its own answer
            if refused.get("Code") not in MISSING:
                raise self._meaning(_refusal(refused), DELETE, refused.get("Key", keys[0]))

    def _condition(self, replacing: Replacing) -> dict[str, Any]:
        if replacing is ANYTHING:
            return {}
        return {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": self._quoting.of(replacing)}

    def _meaning(  # noqa: PLR0911 - a row of the table each
        self, error: ClientError, action: str, key: str, *, denied: type[DeniedError] = DeniedError
    ) -> Exception:
        """Return the signal or error that an answer of the store stands for."""
        code, status = _code(error), _status(error)
        where = f"{self.location(key)}: {code or status}"
        if code in CONFLICTS or (code not in ADVICE and status in (CONFLICT, PRECONDITION_FAILED)):
            # Only a write says what it replaces: for the others it means that something else was under way.
            if action == PUT:
                return Conflict(where, certain=is_precondition_failed(error))
            return Unanswered(f"answered {code or status}{_page(error)}")
        if code == "NotImplemented" or status == NOT_IMPLEMENTED:
            return _not_known(where, action)
        slow = code in SLOWER or status in (TOO_MANY, SERVICE_UNAVAILABLE)
        if slow or code in UNKNOWN or (status >= SERVER_ERROR and code not in ADVICE):
            return Unanswered(f"answered {code or status}{_page(error)}", slow=slow)
        words = error.response.get("Error", {}).get("Message", "")
        if action in (DELETE, ERASE) and any(sign in words.lower() for sign in RETAINED):
            return RetainedError(f"{where}: under a retention, and stays until it ends{_in_brackets(words)}")
        if code in DENIED or (code not in ADVICE and status == FORBIDDEN):
            return _denial(error, self.location(key), action, words, denied)
        if code in ADVICE:
            return StoreError(f"{where}: {ADVICE[code]}{_in_brackets(words)}")
        if code == "400":  # an answer to a HEAD has no words, whatever is wrong
            return StoreError(f"{where}: refused: correct the credentials, the region or AWS_ENDPOINT_URL_S3")
        if not code.strip("0123456789"):
            at = self._client.meta.endpoint_url
            by_proxy = wants_password(at, os.environ) if status == PROXY_AUTHENTICATION else None
            return by_proxy or StoreError(f"{where}: refused, though not in S3's words: correct AWS_ENDPOINT_URL_S3")
        return StoreError(f"{where}: {words or 'refused'}")

    def _clean(self, error: ClientError) -> None:
        """Make what a store says fit to be shown: one line, cut short, without a secret that it may repeat."""
        credentials = getattr(getattr(self._client, "_request_signer", None), "_credentials", None)
        held = getattr(credentials, "__dict__", {})  # its properties would renew credentials that have expired
        secrets = [held.get(name) for name in ("_secret_key", "secret_key", "_token", "token")]
        said = error.response.setdefault("Error", {})
        said["Code"] = one_line(said.get("Code"), MAX_CODE, secrets)
        said["Message"] = one_line(said.get("Message"), MAX_WORDS, secrets)
        error.args = (f"{error.operation_name} was answered {said['Code']}: {said['Message']}",)

    def _silence(self, error: Exception, action: str, key: str, request: Request) -> Exception:
        """Return the signal or error for a request that has no answer of the store."""
        endpoint_url = self._client.meta.endpoint_url
        inner = error.kwargs.get("error") if type(error) is HTTPClientError else None
        error = inner if isinstance(inner, RecursionError) else error  # met wherever the redirects come to their end
        if request.too_long and action != PUT:
            return AnswerTooLargeError(_too_large(self.location(key), request.at_most))
        if isinstance(error, MalformedAnswer):
            return Unanswered(f"{error}: {NOT_S3}", sent=action == PUT)
        if trouble := proxy_trouble(error, endpoint_url, os.environ):
            return trouble
        if _never_sent(error):
            what = f"{endpoint_url} cannot be reached ({type(error).__name__})"
            return Unanswered(f"{what}: is the endpoint right, and the store running?", sent=False)
        # Of a write, TLS may break after it was received; only a certificate is looked at before.
        unmet = isinstance(error, SSLError) and (action != PUT or "CERTIFICATE_VERIFY_FAILED" in str(error))
        if isinstance(error, INTERRUPTED) and not unmet and not isinstance(error, HOPELESS):
            return Unanswered(f"no answer ({type(error).__name__})")
        return StoreError(self._mending(error, f"{self.location(key)} at {endpoint_url}"))

    def _mending(self, error: Exception, where: str) -> str:
        said = one_line(str(error), MAX_WORDS)
        if isinstance(error, CREDENTIALS):
            return f"no credentials for {where}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in ({said})"
        if isinstance(error, ParamValidationError) and "bucket" in str(error):
            return f"{self._bucket!r} can be no bucket's name: correct it"
        if isinstance(error, RecursionError):
            return f"{where}: the endpoint redirects every request: correct AWS_ENDPOINT_URL_S3 (https?)"
        return f"{where}: {said}"


def _not_known(where: str, action: str) -> TrackerError:
    what = f"{where}: the store does not know this request ({action}"
    if action in (LIST, DELETE, ERASE):
        return StoreError(f"{what})")
    return UnsafeStoreError(f"{what} with a condition)")


def one_line(said: object, at_most: int, secrets: Iterable[str | None] = ()) -> str:
    """Return what somebody else has said on one line, cut short, without secrets and what a request was signed with."""
    text = said[:MAX_LOOKED_AT] if isinstance(said, str) else ""
    for secret in filter(None, secrets):
        text = text.replace(secret, STARS)
    text = "".join(sign if sign.isprintable() else " " for sign in SIGNED.sub(STARS, text))
    return shortened(" ".join(text.split()), to=at_most)


def _denial(error: ClientError, location: str, action: str, words: str, denied: type[DeniedError]) -> StoreError:
    """Return the error for a 403, with advice only where it is certain what would help."""
    code, lowered = _code(error), words.lower()
    said = f"{code}: {words}" if words else code
    if code not in (*DENIED, ""):  # an archived object, a suspended account: no permission would help
        return DeniedError(f"{location}: refused ({said})")
    if _page(error):
        return denied(f"{location}: answered 403{_page(error)}")
    if "kms" in lowered:
        return DeniedError(f"{location}: access denied by the key that encrypts it ({said}): allow the use of that key")
    if "explicit deny" in lowered:
        return denied(f"{location}: access denied, and not for want of a permission ({said})")
    hint = HIDDEN if denied is ReadDeniedError else ""
    return denied(f"{location}: access denied; allow {action} on it{hint}{_in_brackets(words and said)}")


def _page(error: ClientError) -> str:
    """Return what to add where the answer is a page of HTML without a code of S3's; else nothing."""
    headers = _headers(error.response)
    is_html = "html" in headers.get("content-type", "") and headers.get("content-length") != "0"  # as moto's HEAD
    is_page = is_html and not _code(error).strip("0123456789")
    return f" by a page of HTML, which is not S3's: {NOT_S3}" if is_page else ""


def _in_brackets(words: str) -> str:
    return f" ({words})" if words else ""


def _too_large(location: str, at_most: float) -> str:
    return f"{location}: the answer is longer than {at_most / (1 << 20):.0f} MiB, and was not read: {NOT_S3}"


def _foreign(error: BaseException) -> BaseException | None:
    """Return an exception of the program around us that boto3 took for one of sending, or `None`."""
    inner = error.kwargs.get("error") if type(error) is HTTPClientError else None
    natural = (OSError, HTTPError, HTTPException, ValueError, TypeError, LookupError, RuntimeError, TrackerError)
    return None if inner is None or isinstance(inner, natural) else inner


def whole_page(ask: "Callable[..., Mapping[str, Any]]", start: "Mapping[str, Any]") -> "Mapping[str, Any]":
    """Return a page of a listing that has something on it, or is the last: some stores give empty ones in between.

    Raises:
        MalformedAnswer: It does not say whether there is more, or not how to go on.
    """
    for _ in range(MAX_EMPTY_PAGES):
        answer = ask(**start)
        more = needed(answer, "IsTruncated", "a listing")
        if not more or answer.get("Contents") or answer.get("CommonPrefixes"):
            return answer
        start = {"ContinuationToken": needed(answer, "NextContinuationToken", "a listing that is empty so far")}
    raise MalformedAnswer("a listing gives nothing but empty pages")


def needed(answer: "Mapping[str, Any]", name: str, to: str) -> Any:  # noqa: ANN401 - what it is depends on the name
    """Return an element that every answer of S3 to such a request has.

    Raises:
        MalformedAnswer: This one lacks it.
    """
    value = answer.get(name)
    if value is None or value == "":
        raise MalformedAnswer(f"the answer to {to} has no {name}")
    return value


def modified_in(answer: "Mapping[str, Any]", to: str) -> float:
    """Return the Last-Modified of an answer, in seconds since 1970.

    Raises:
        MalformedAnswer: It has none, or a time outside the years 1 to 9999 in UTC, which nobody could show.
    """
    seconds: float = needed(answer, "LastModified", to).timestamp()
    try:
        datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise MalformedAnswer(f"the answer to {to} has a LastModified that is none") from None
    return seconds


def etag_in(answer: "Mapping[str, Any]", to: str) -> str:
    """Return the ETag of an answer, as received.

    Raises:
        MalformedAnswer: It has none, or something else.
    """
    etag: str = needed(answer, "ETag", to)
    if len(etag) > MAX_ETAG or not etag.isascii() or not etag.isprintable() or not etag.strip('"'):
        raise MalformedAnswer(f"the answer to {to} has an ETag that is none")
    return etag


def check_whole(answer: "Mapping[str, Any]") -> None:
    """Check that the head of an answer with content is whole: http.client takes one that breaks off for a whole one.

    Raises:
        MalformedAnswer: It does not say how the content ends, as each of S3's does.
    """
    headers = _headers(answer)
    ends_with_it = headers.get("connection", "").lower() == "close"  # as behind a backend of HTTP/1.0
    if headers and not ends_with_it and not {"content-length", "transfer-encoding"} & set(headers):
        raise MalformedAnswer("the answer to a read is cut off")


def check_deleted(answer: "Mapping[str, Any]") -> None:
    """Check that the answer to a DELETE says that it was done: 204, as S3's always is.

    Raises:
        MalformedAnswer: It is another one.
    """
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", NO_CONTENT)
    if status != NO_CONTENT:
        raise MalformedAnswer(f"a deletion was answered {status}, not {NO_CONTENT}")


def _headers(answer: "Mapping[str, Any]") -> "Mapping[str, str]":
    headers: Mapping[str, str] = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers


def digest(client: "S3Client", body: bytes) -> dict[str, Any]:
    """Return the checksum that goes with a body: boto3 adds one at AWS; other stores know MD5, some demand it."""
    if is_aws(client.meta.endpoint_url):
        return {}
    return {"ContentMD5": b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()}


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


def version_of(name: str | None) -> str | None:
    """Return a version's id, `None` for what was written where the bucket kept no versions."""
    return None if name == "null" else name  # so they are called where versions were kept once


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def is_missing(error: ClientError) -> bool:
    """Return whether a store says that there is no such object, or no such version of it; a proxy's page does not."""
    return _code(error) in MISSING and not _page(error)


def is_precondition_failed(error: ClientError) -> bool:
    """Return whether a store says, having looked, that what is there is not what the condition names."""
    return _code(error) == "PreconditionFailed" or _status(error) == PRECONDITION_FAILED


def _is_deleted(error: ClientError) -> bool:
    """Return whether a store says that the newest version of an object is a delete marker."""
    return _headers(error.response).get("x-amz-delete-marker") == "true"


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
