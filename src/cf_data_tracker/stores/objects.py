"""Files in S3, on boto3: put where nothing is, told of, listed, and looked back at.

A file is written create-only (`If-None-Match: *`), with a checksum that the store compares with what arrives: SHA-256
at AWS, MD5 elsewhere, which every store knows. A large one goes in parts, by boto3's own transfer manager; there the
condition stands at the end, where the parts are put together. Some stores ignore it there, Ceph up to 16 among them,
though not on a single PUT: those are found out, and get a large file in one piece. Only a 412 shows that a store keeps
the condition: a 409, a 5xx or silence says nothing about it, and is tried again. What lies there after an upload by the
transfer manager is compared with what was sent.

What a status means is for `stores.s3` to say, and which file to put where for `upload`.
"""

import hashlib
import math
import threading
import uuid
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, TypeVar, cast

from boto3.s3.transfer import TransferConfig, create_transfer_manager
from s3transfer.subscribers import BaseSubscriber

from cf_data_tracker.deadline import run_without_deadline
from cf_data_tracker.errors import (
    DeniedError,
    LocalFileError,
    ReadDeniedError,
    StoreError,
    TooLargeError,
    UnsafeStoreError,
)
from cf_data_tracker.names import MAX_DOCUMENT_BYTES, probe_key
from cf_data_tracker.settings import is_aws
from cf_data_tracker.store import Conflict, Content, Folders, Head, Kept, Listed, Page, Progress, Unanswered
from cf_data_tracker.stores.limits import expect
from cf_data_tracker.stores.s3 import (
    DELETE,
    GET,
    LIST,
    PUT,
    MalformedAnswer,
    S3Store,
    check_deleted,
    check_whole,
    digest,
    etag_in,
    is_missing,
    is_precondition_failed,
    modified_in,
    needed,
    version_of,
    whole_page,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import GetObjectRequestTypeDef as Wanted

T = TypeVar("T")

PART: Final = 8 << 20
"""Bytes of a part, and from how many on a file goes in parts: boto3's own choice. Beyond 80 GB it makes them larger."""

AT_ONCE: Final = 4
"""Parts in memory, and under way, at most: one large file after the other, each in 32 MiB and what boto3 takes."""

MAX_SINGLE_PUT: Final = 5 << 30
"""What S3 and its like take in one request."""

CHUNK: Final = 1 << 20
MAX_PAGES: Final = 1000
"""Pages of a listing of versions: a million versions of one object. S3 slows down long before."""

SHA256: Final = "sha256"
"""The checksum travels with the object as user metadata, `x-amz-meta-sha256`: for a file in parts S3 itself keeps none
of the whole."""

VERSIONS: Final = "s3:ListBucketVersions"
GET_VERSION: Final = "s3:GetObjectVersion"


class Patiently(Protocol):
    """Asks what may be asked twice until it is answered, within bounds."""

    def __call__(self, question: Callable[[], T], /) -> T:
        """Return the answer, or raise the last signal."""


class S3Objects:
    """The `Objects` of one bucket.

    Args:
        store: Who knows what its answers mean.
        bucket: The bucket.
        patiently: How often to send a part of a large file again: all others are not asked to start anew for one.
    """

    def __init__(self, store: S3Store, bucket: str, patiently: Patiently) -> None:
        self._store = store
        self._bucket = bucket
        self._patiently = patiently
        self._one_large = threading.Lock()
        self._keeps_parts_out: bool | None = None
        self._one_probe = threading.Lock()
        self._deletes_unchanged: bool | None = None

    def location(self, key: str) -> str:
        """Return the S3 URL of a key."""
        return self._store.location(key)

    def head(self, key: str) -> Head | None:
        """HEAD the object."""
        with self._store.asking(GET, key, denied=ReadDeniedError) as client:
            try:
                answer = client.head_object(Bucket=self._bucket, Key=key)
            except client.exceptions.ClientError as error:
                if is_missing(error):
                    return None  # as a bucket that is gone is answered, too: a HEAD's answer has no words
                raise
            return Head(
                size=needed(answer, "ContentLength", "a HEAD"),
                etag=etag_in(answer, "a HEAD").strip('"'),
                modified=modified_in(answer, "a HEAD"),
                sha256=answer.get("Metadata", {}).get(SHA256),
                encrypted=bool(answer.get("SSECustomerAlgorithm"))
                or answer.get("ServerSideEncryption", "AES256") != "AES256",
                version=version_of(answer.get("VersionId")),
            )

    def sha256(self, key: str) -> bytes | None:
        """GET the object, and keep nothing of it."""
        return run_without_deadline(partial(self._sha256, key))

    def _sha256(self, key: str) -> bytes | None:
        sha256 = hashlib.sha256()
        with self._store.asking(GET, key, denied=ReadDeniedError) as client:
            try:
                answer = client.get_object(Bucket=self._bucket, Key=key)
            except client.exceptions.ClientError as error:
                if is_missing(error):
                    return None
                raise
            expect(math.inf)
            with closing(answer["Body"]) as body:
                etag_in(answer, "a read")
                check_whole(answer)
                while chunk := body.read(CHUNK):
                    sha256.update(chunk)
        return sha256.digest()

    def create(self, key: str, content: Content, progress: Progress) -> str | None:
        """PUT the object, in parts if it is large, under `If-None-Match: *`."""
        return run_without_deadline(partial(self._create, key, content, progress))

    def _create(self, key: str, content: Content, progress: Progress) -> str | None:
        try:
            if content.size < PART:
                etag = self._put(key, content)
                progress(content.size)
                return etag
            self._transfer(key, content, progress)
        except Conflict as signal:
            if not signal.certain:
                raise
            return None
        there = self.head(key)  # the transfer manager keeps the answer, which at some stores has no ETag
        if there is None:
            raise Unanswered(f"{self.location(key)} was put there, and is not there")
        # Anything but our own note is for the caller to compare, as an object that was there before.
        return there.etag if (there.size, there.sha256) == (content.size, content.sha256.hex()) else None

    def overwrite(self, key: str, path: str) -> None:
        """PUT a local file in place of what stands there, in parts if it is large, as the earlier package did.

        Raises:
            OSError: The local file cannot be read.
        """
        with open(path, "rb"):  # noqa: PTH123 - boto3 takes text; it is read there, and this finds out whether it can be
            run_without_deadline(partial(self._overwrite, key, path))

    def _overwrite(self, key: str, path: str) -> None:
        sender = cast("S3Client", _Sender(self._store, self._patiently))
        with create_transfer_manager(sender, _config(in_parts=True, threads=False)) as manager:
            manager.upload(path, self._bucket, key).result()

    def page(self, prefix: str, *, after: str = "") -> Page:
        """LIST up to 1,000 objects."""
        answer = self._store.listed(prefix, after)
        with self._store.asking(LIST, prefix):
            objects = [
                Listed(
                    key=entry["Key"],
                    size=needed(entry, "Size", "a listing"),
                    etag=entry.get("ETag", "").strip('"'),
                    modified=modified_in(entry, "a listing"),
                )
                for entry in answer["Contents"]
            ]
        return Page(objects=objects, more=answer["IsTruncated"])

    def delete(self, *keys: str) -> None:
        """DELETE the objects."""
        self._store.delete(*keys)

    def folders(self, *, after: str = "") -> Folders:
        """LIST up to 1,000 objects and folders, and return the folders."""
        start: dict[str, Any] = {"StartAfter": after} if after else {}
        with self._store.asking(LIST, "") as client:
            answer = whole_page(partial(client.list_objects_v2, Bucket=self._bucket, Delimiter="/"), start)
            prefixes = [needed(entry, "Prefix", "a listing") for entry in answer.get("CommonPrefixes", ())]
            keys = [needed(entry, "Key", "a listing") for entry in answer.get("Contents", ())]
        names = [prefix.removesuffix("/") for prefix in prefixes]
        last = max((*keys, *(f"{name}0" for name in names)), default="")  # 0 comes after the slash: past the folder
        if not answer["IsTruncated"]:
            return Folders(names=names, after=None)
        if last <= after:
            raise StoreError(
                f"{self.location('')}: the store says that there are more folders, and does not go on: the schemas of "
                "the bucket are not known"
            )
        return Folders(names=names, after=last)

    def delete_unchanged(self, key: str, etag: str) -> bool | None:
        """DELETE the object under `If-Match`, if the store honours that."""
        with self._one_probe:
            if self._deletes_unchanged is None:
                self._deletes_unchanged = self._honours_if_match()
        return self._delete_if_match(key, etag) if self._deletes_unchanged else None

    def _honours_if_match(self) -> bool:
        """Return whether a DELETE under `If-Match` can be sent, and is refused where it does not match."""
        client = self._store.client
        known = client.meta.service_model.operation_model("DeleteObject").input_shape
        if known is None or "IfMatch" not in known.members:
            return False  # an older boto3 cannot send it
        return is_aws(client.meta.endpoint_url) or self._refuses_to_delete()

    def _refuses_to_delete(self) -> bool:
        """Return whether a DELETE with another ETag leaves a scratch object, and one with its own removes it."""
        key, honoured = probe_key(uuid.uuid4().hex), False
        etag = self._store.write(key, b"to be deleted", replacing=None).etag.strip('"')
        try:
            refused = not self._delete_if_match(key, "0" * len(etag)) and self.head(key) is not None
            honoured = refused and self._delete_if_match(key, etag) and self.head(key) is None
        except StoreError:
            pass  # the store does not know it: 501, say
        finally:
            if not honoured:
                with suppress(Unanswered, StoreError):
                    self._store.delete(key)
        return honoured

    def _delete_if_match(self, key: str, etag: str) -> bool:
        with self._store.asking(DELETE, key) as client:
            try:
                answer = client.delete_object(Bucket=self._bucket, Key=key, IfMatch=f'"{etag}"')
                check_deleted(answer)
            except client.exceptions.ClientError as error:
                if is_precondition_failed(error):
                    return False
                if not is_missing(error):
                    raise
        return True

    def versions(self, key: str) -> Sequence[Kept]:
        """LIST the versions of the object."""
        found: list[tuple[float, bool, Kept]] = []
        start: dict[str, Any] | None = {}
        seen: set[str] = set()
        while start is not None:
            with self._store.asking(VERSIONS, key) as client:
                answer = client.list_object_versions(Bucket=self._bucket, Prefix=key, **start)
                needed(answer, "IsTruncated", "a listing of versions")
                found += [
                    *_kept(answer.get("DeleteMarkers", ()), key, marker=True),
                    *_kept(answer.get("Versions", ()), key),
                ]
                start = _next_page(answer, key)
                if start is not None and (start["VersionIdMarker"] in seen or len(seen) == MAX_PAGES):
                    raise MalformedAnswer("the listing of versions does not end")
                seen.update([start["VersionIdMarker"]] if start else [])
        # Each list has the newest first. Between the two only times tell, in seconds, and who is the newest of all: of
        # one second, a marker is taken to be later than what it may have hidden.
        found.reverse()
        ordered = [kept for _, _, kept in sorted(found, key=lambda one: one[:2])]
        return [] if [kept.version for kept in ordered] == ["null"] else ordered

    def read_version(self, key: str, version: str) -> bytes | None:
        """GET a version."""
        wanted: Wanted = {"Bucket": self._bucket, "Key": key, "VersionId": version}
        with self._store.asking(GET_VERSION, key, denied=ReadDeniedError) as client:
            try:
                answer = client.get_object(**wanted)
            except client.exceptions.ClientError as error:
                if is_missing(error):
                    return None
                raise
            return self._store.content(key, answer, MAX_DOCUMENT_BYTES)

    def _put(self, key: str, content: Content) -> str:
        with content.opened() as file:
            body = file.read()
        with self._store.asking(PUT, key) as client:
            answer = client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=cast("bytes", bytearray(body)),  # see `S3Store.write`
                Metadata=_metadata(content),
                IfNoneMatch="*",
                **_digest(client, content),
            )
            return etag_in(answer, "a write").strip('"')

    def _transfer(self, key: str, content: Content, progress: Progress) -> None:
        client = self._store.client
        with self._one_large, content.opened() as file:
            in_parts = self._known_to_keep_parts_out(client)
            if not in_parts and content.size > MAX_SINGLE_PUT:
                raise TooLargeError(
                    f"{self.location(key)}: this store lets a file in parts overwrite another, and takes 5 GiB at most "
                    "in one piece: record smaller files, or use another store"
                )
            told = _Told(progress)
            sender = cast("S3Client", _Sender(self._store, self._patiently, content, told))
            extra: dict[str, Any] = {"Metadata": _metadata(content)}
            if is_aws(client.meta.endpoint_url) and in_parts:
                extra["ChecksumAlgorithm"] = "SHA256"

            def send(*, threads: bool) -> None:
                file.seek(0)
                config = _config(in_parts=in_parts, threads=threads)
                try:
                    with create_transfer_manager(sender, config) as manager:
                        manager.upload(file, self._bucket, key, extra, [_Subscriber(told)]).result()
                except Exception as error:  # noqa: BLE001 - its cause is raised
                    told.take_back()
                    cause = told.failed or _cause(error)
                    raise cause from None if cause is error else error

            try:
                send(threads=True)
            except RuntimeError as error:
                if type(error) is not RuntimeError or error is told.failed:
                    raise
                send(threads=False)  # none can be started: too many, or the main thread has ended

    def _known_to_keep_parts_out(self, client: "S3Client") -> bool:
        if self._keeps_parts_out is None:
            self._keeps_parts_out = is_aws(client.meta.endpoint_url) or self._keeps_out(client)
        return self._keeps_parts_out

    def _keeps_out(self, client: "S3Client") -> bool:
        """Return whether the store refuses to put parts together where an object is, under the condition.

        Raises:
            Conflict: It is not certain: the store says that others are writing.
            Unanswered: No answer.
        """
        key = probe_key(uuid.uuid4().hex)
        where: Any = {"Bucket": self._bucket, "Key": key}
        try:
            with self._store.asking(PUT, key):
                client.put_object(**where, Body=b"", **digest(client, b""))
                upload: Any = {**where, **_only(client.create_multipart_upload(**where), "UploadId")}
            try:
                return self._refuses(client, upload)
            finally:
                with suppress(Unanswered, StoreError), self._store.asking(PUT, key):
                    client.abort_multipart_upload(**upload)  # it may have ended, by success or refusal
        except UnsafeStoreError:  # it does not know parts, or the condition on them
            return False
        finally:
            with suppress(Unanswered, DeniedError):
                self._store.delete(key)

    def _refuses(self, client: "S3Client", upload: Any) -> bool:  # noqa: ANN401 - boto3's parameters
        with self._store.asking(PUT, upload["Key"]):
            part = client.upload_part(**upload, PartNumber=1, Body=b"part", **digest(client, b"part"))
            parts: Any = {"Parts": [{"PartNumber": 1, **_only(part, "ETag")}]}
        try:
            with self._store.asking(PUT, upload["Key"]):
                client.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*")
        except Conflict as signal:
            if not signal.certain:
                raise
            return True
        return False


class _Sender:
    """A client for one upload by boto3's transfer manager, which sends each part once and has limits for none.

    Here each request has limits of its own, and those that may be made twice are made until they are answered.

    Args:
        store: The store.
        patiently: How often to send a part again.
        content: What is sent, create-only: each write that completes it is conditional. If left out, the object is
            overwritten.
        told: Counts the bytes that were sent.
    """

    def __init__(
        self, store: S3Store, patiently: Patiently, content: Content | None = None, told: "_Told | None" = None
    ) -> None:
        self._client = store.client
        self._store = store
        self._patiently = patiently
        self._condition: dict[str, Any] = {} if content is None else {"IfNoneMatch": "*"}
        self._digest: dict[str, Any] = {} if content is None else _digest(self._client, content)
        self._told = told

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all else is the client's
        return getattr(self._client, name)

    def put_object(self, **params: Any) -> object:  # noqa: ANN401 - boto3's to check
        """PUT it as a whole."""
        return self._sent(params["Key"], partial(self._client.put_object, **params, **self._condition, **self._digest))

    def create_multipart_upload(self, **params: Any) -> object:  # noqa: ANN401 - boto3's to check
        """Begin, again if there is no answer: what was begun and is not known of is for the lifecycle rule."""
        begin = partial(self._client.create_multipart_upload, **params)
        return self._patiently(partial(self._sent, params["Key"], begin, "UploadId"))

    def upload_part(self, *, Body: BinaryIO, **params: Any) -> object:  # noqa: ANN401, N803 - boto3's
        """PUT a part, again if there is no answer: two of one number are one."""
        if not is_aws(self._client.meta.endpoint_url):
            params["ContentMD5"] = _base64(_md5(Body))

        def once() -> object:
            Body.seek(0)
            return self._sent(params["Key"], partial(self._client.upload_part, Body=Body, **params), "ETag")

        return self._patiently(once)

    def complete_multipart_upload(self, **params: Any) -> object:  # noqa: ANN401 - boto3's to check
        """Put the parts together."""
        complete = partial(self._client.complete_multipart_upload, **params, **self._condition)
        return self._sent(params["Key"], complete)

    def abort_multipart_upload(self, **params: Any) -> object:  # noqa: ANN401 - boto3's to check
        """Give up what was begun."""
        return self._sent(params["Key"], partial(self._client.abort_multipart_upload, **params))

    def _sent(self, key: str, send: Callable[[], Any], element: str = "") -> object:
        """Return the answer to a request, which has this element, if one is named."""
        try:
            with self._store.asking(PUT, key):
                answer = send()
                if element:
                    needed(answer, element, "an upload in parts")
                return cast("object", answer)
        except Unanswered as signal:  # boto3 makes one of whatever a callback raises while it sends
            failed = self._told.failed if self._told is not None else None
            raise failed or signal from None


class _Told:
    """How much a caller was told of as sent, and the error by which it ended that."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()  # parts are sent by threads
        self._sent = 0
        self.failed: Exception | None = None

    def __call__(self, number: int) -> None:
        with self._lock:
            self._sent += number
            try:
                self._progress(number)
            except Exception as error:
                self.failed = error
                raise

    def take_back(self) -> None:
        if self._sent and self.failed is None:
            self(-self._sent)


class _Subscriber(BaseSubscriber):
    """What the transfer manager calls."""

    def __init__(self, told: _Told) -> None:
        self._told = told

    def on_progress(self, future: object, bytes_transferred: int, **_: object) -> None:  # noqa: ARG002 - one upload
        """Hear of bytes."""
        self._told(bytes_transferred)


def _config(*, in_parts: bool, threads: bool) -> TransferConfig:
    config = TransferConfig(
        multipart_threshold=PART if in_parts else MAX_SINGLE_PUT + 1,
        multipart_chunksize=PART,
        max_concurrency=AT_ONCE,
        use_threads=threads,
        preferred_transfer_client="classic",  # the other has a client of its own, which knows no conditions
    )
    config.max_in_memory_upload_chunks = AT_ONCE
    return config


def _cause(error: BaseException) -> BaseException:
    """Return what is behind an error of boto3: that of the file, if reading it failed while it was sent."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, LocalFileError):
        inner = inner.__context__
    return inner or error


def _only(answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: needed(answer, name, "an upload in parts")}


def _metadata(content: Content) -> Mapping[str, str]:
    return {SHA256: content.sha256.hex()}


def _digest(client: "S3Client", content: Content) -> dict[str, Any]:
    if is_aws(client.meta.endpoint_url):
        return {"ChecksumSHA256": _base64(content.sha256)}
    return {"ContentMD5": _base64(content.md5)}


def _md5(file: BinaryIO) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.digest()


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode()


def _kept(entries: Sequence[Any], key: str, *, marker: bool = False) -> list[tuple[float, bool, Kept]]:
    kept = []
    for entry in entries:
        if needed(entry, "Key", "a listing of versions") == key:
            version = needed(entry, "VersionId", "a listing of versions")
            modified = modified_in(entry, "a listing of versions")
            is_latest = needed(entry, "IsLatest", "a listing of versions")
            kept.append((modified, is_latest, Kept(version=version, modified=modified, marker=marker)))
    return kept


def _next_page(answer: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    if not answer["IsTruncated"] or answer.get("NextKeyMarker") != key:
        return None
    return {"KeyMarker": key, "VersionIdMarker": needed(answer, "NextVersionIdMarker", "a listing of versions")}
