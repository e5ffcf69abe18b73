"""No answer of a server, however odd, gets more out of a public call than an error of ours, in time and without harm.

A matrix of calls, of the purpose of the request that is answered oddly, and of kinds of answers (`servers.hostile`).
Of each cell must hold, whatever comes back:

- what is raised is a `TrackerError` that does not blame the caller, one short line, and shows no secret;
- the call ends within `timeout` and one `request_timeout`, or, where it asks many questions, so long after the last
  proper answer;
- what was acknowledged is in the bucket, what failed for certain is not, and what is said is true;
- the same tracker goes on once the server behaves.

Subsets: `-k "sweep"` by call, `-k "put-document"` by purpose, and the environment's `HOSTILE_KINDS="trickling-*"` by
kind. `HOSTILE_REPORT=file.jsonl` keeps a line for each cell.
"""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import logging
import os
import pickle
import string
import sys
import threading
import time
import traceback
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.loaders
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from typer.testing import CliRunner

import cf_data_tracker
from cf_data_tracker import clean, clean_tracker, raw_tracker, settings, tracker
from cf_data_tracker.clean import CleanTracker
from cf_data_tracker.cli.app import app
from cf_data_tracker.cli.failure import Code
from cf_data_tracker.connection import Connection, _proven
from cf_data_tracker.embedded import running
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.entries import sealed
from cf_data_tracker.errors import (
    ClaimLostError,
    DifferentContentError,
    DocumentVanishedError,
    InvalidNameError,
    LocalFileError,
    NotTrackedError,
    OutcomeUnknownError,
    TrackerError,
    WouldLoseError,
)
from cf_data_tracker.model import Claim, CleanRecorded, NewFile, Recorded
from cf_data_tracker.names import clean_key, data_key, inbox_prefix, raw_key
from cf_data_tracker.stores import s3 as stores_s3
from cf_data_tracker.sweep import Swept
from cf_data_tracker.tracker import Tracker, raw_record_spec, recordings_of
from cf_data_tracker.upload import NewUpload
from servers.hostile import DELETES, GIGABYTE, KINDS, WRITES, HostileServer, Kind, bomb, purpose_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_s3.client import S3Client

pytestmark = [  # clients are left to the garbage collector, with the connections that a server has spoiled
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TIMEOUT: Final = 1.5
REQUEST_TIMEOUT: Final = 0.7
MARGIN: Final = 1.5
"""Seconds for the machine, which does many of these at once."""

GIVE_UP: Final = 3.0
"""Seconds beyond its bound after which a call is taken to hang."""

AT_ONCE, FEW_AT_ONCE = 16, 3
"""Calls at once; of those that send large files, few."""

LONGEST_MESSAGE: Final = 1000
MEMORY: Final = 300 << 20
"""Bytes by which a call may grow for each document that it holds at a time: one has at most 256 MiB."""

ACCESS_KEY: Final = "AKIAHOSTILESERVER000"
SECRET_KEY: Final = "sEcReT/oF+tHe/hOsTiLe+tEsT0123456789ABCD"
SESSION_TOKEN: Final = "tOkEn//oF//tHe//hOsTiLe//tEsT=="
SECRETS: Final = (SECRET_KEY, SESSION_TOKEN, "AWS4-HMAC-SHA256")
TABLE, PERIOD = "births", "FY2023"
BASE: Final = {"a.zip": b"a" * 10, "b.zip": b"b" * 20}

LIES: Final = (
    "xml-*",
    "listing-*",
    "versions-*",
    "no-such-*",
    "empty-404",
    "odd-*",
    "*etag*",
    "*length*",
    "empty-304",
    "document-*",
)
"""Kinds that S3 itself could answer, if other things were in the bucket: what is said of it then need not be true."""

FOUR_O_FOUR: Final = ("html-404", "gigabyte-404", "redirect-302-endless")
"""Kinds that say to a HEAD, which has no body, exactly what S3 says of a missing object."""

OTHER_BYTES: Final = ("gzip-that-is-none", "echo-as-page", "gigabyte-200")
"""Kinds that could be an object with these bytes: they have an ETag and a length."""

WHERE: Final = str(Path(cf_data_tracker.__file__).parent)


# -- the calls ------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Way:
    """How a call gets to the store: through the hostile server, or straight."""

    endpoint_url: str
    tracker: Tracker
    kept: Tracker
    clean: CleanTracker


@dataclass(kw_only=True)
class Stage:
    """What is there before a call, and what it is made with."""

    s3: S3Client
    direct: Way
    folder: Path
    schema: str = field(default_factory=lambda: f"s{uuid.uuid4().hex[:10]}")
    expected: Any = None
    claim: Any = None
    audit: Any = None
    revision: int = 0
    before: dict[str, int] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)

    def new(self, file: str, schema: str = "", **more: str) -> NewFile:
        """Return a file to be recorded."""
        key = data_key(schema or self.schema, TABLE, PERIOD, file)
        return NewFile(
            schema=schema or self.schema,
            table=TABLE,
            file_name=PERIOD,
            file=file,
            file_size=len(BASE.get(file, b"12345")),
            s3_location=f"s3://raw/{key}",
            **more,
        )

    def local(self, file: str, content: bytes) -> NewUpload:
        """Return a file to be uploaded."""
        path = self.folder / f"{self.schema}-{file}"
        if not path.exists():
            path.write_bytes(content)
        self.contents[file] = content
        return NewUpload(path_or_file=path, schema=self.schema, table=TABLE, file_name=PERIOD, file=file)

    def put(self, file: str, content: bytes) -> None:
        """Put an object where the tracker would."""
        self.s3.put_object(Bucket="raw", Key=data_key(self.schema, TABLE, PERIOD, file), Body=content)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A public call.

    Attributes:
        name: Its name.
        run: Makes it.
        purposes: Those of its requests; with a star, every kind is tried on them; with a plus, those made for them.
        prepare: Puts there what it needs.
        reads: Whether it only asks, so that its answer is the one that comes straight from the store.
        many: Whether it asks many questions, and its time runs from the last proper answer.
        bucket: Of its raw document.
        late: Errors that it may raise when it is called a second time.
        also: Other requests that are answered oddly meanwhile, by purpose.
        proven: Whether the store is known to be safe.
        documents: How many documents it holds at a time.
    """

    name: str
    run: Callable[[Stage, Way], Any]
    purposes: tuple[str, ...]
    prepare: Callable[[Stage], None]
    reads: bool = False
    many: bool = False
    bucket: str = "raw"
    late: tuple[type[TrackerError], ...] = ()
    also: tuple[tuple[str, str], ...] = ()
    proven: bool = True
    documents: int = 1

    @property
    def clean(self) -> bool:
        """Whether it goes through the clean tracker."""
        return "clean" in self.run.__code__.co_names


CALLS: Final[dict[str, Call]] = {}


def _nothing(_: Stage) -> None:
    """Prepare nothing."""


def _base(stage: Stage) -> None:
    """Record two versions, whose objects are there."""
    for file, content in BASE.items():
        stage.put(file, content)
    sha256 = {file: f"sha256:{hashlib.sha256(content).hexdigest()}" for file, content in BASE.items()}
    files = [stage.new("a.zip", checksum=sha256["a.zip"]), stage.new("b.zip", checksum=sha256["b.zip"], etag="0" * 32)]
    stage.direct.tracker.record_many(files)


def call(
    name: str,
    *purposes: str,
    prepare: Callable[[Stage], None] = _base,
    **more: Any,  # noqa: ANN401 - the fields of `Call`
) -> Callable[[Callable[[Stage, Way], Any]], Callable[[Stage, Way], Any]]:
    """Enter a function into `CALLS`."""

    def enter(run: Callable[[Stage, Way], Any]) -> Callable[[Stage, Way], Any]:
        CALLS[name] = Call(name=name, run=run, purposes=purposes, prepare=prepare, **more)
        return run

    return enter


@call("exists", "get-document*", reads=True)
def _exists(stage: Stage, way: Way) -> object:
    return way.tracker.exists(stage.schema, TABLE, PERIOD, "a.zip")


@call("latest", "get-document", reads=True)
def _latest(stage: Stage, way: Way) -> object:
    return way.tracker.latest(stage.schema, TABLE, PERIOD)


@call("history", "get-document", reads=True)
def _history(stage: Stage, way: Way) -> object:
    return list(way.tracker.history(stage.schema, TABLE))


@call("tables", "get-document", reads=True)
def _tables(stage: Stage, way: Way) -> object:
    return way.tracker.tables(stage.schema)


@call("document", "get-document", reads=True)
def _document(stage: Stage, way: Way) -> object:
    return way.tracker.document(stage.schema)


def _record(stage: Stage, way: Way, file: str) -> Recorded:
    new = stage.new(file)
    return way.tracker.record(new.schema, TABLE, PERIOD, new.file, file_size=new.file_size, s3_location=new.s3_location)


@call("record-first", "get-document", "put-document", prepare=_nothing)
def _record_first(stage: Stage, way: Way) -> object:
    return _record(stage, way, "c.zip")


@call("record-next", "get-document*", "put-document*")
def _record_next(stage: Stage, way: Way) -> object:
    return _record(stage, way, "c.zip")


@call("record-known", "get-document")
def _record_known(stage: Stage, way: Way) -> object:
    return _record(stage, way, "b.zip")


@call("record-many", "get-document", "put-document")
def _record_many(stage: Stage, way: Way) -> object:
    return way.tracker.record_many([stage.new("c.zip"), stage.new("d.zip"), stage.new("a.zip")])


@call("record-many-dry", "get-document", reads=True)
def _record_many_dry(stage: Stage, way: Way) -> object:
    return way.tracker.record_many([stage.new("c.zip"), stage.new("a.zip")], dry_run=True)


@call("record-two-schemas", "get-document", "put-document", many=True)
def _record_two_schemas(stage: Stage, way: Way) -> object:
    return way.tracker.record_many([stage.new("c.zip"), stage.new("c.zip", schema=f"{stage.schema}_2")])[:1]


def _with_entry(stage: Stage) -> None:
    """Leave in the inbox what a dead worker published, too large for a key."""
    _base(stage)
    ledger = raw_record_spec(stage.schema)
    new = [stage.new(f"{uuid.uuid4().hex}{number}.zip", checksum=uuid.uuid4().hex) for number in range(40)]
    recordings = recordings_of(new, datetime(2024, 1, 1, tzinfo=timezone.utc))
    key, body = sealed(inbox_prefix(raw_key(stage.schema)), [ledger.to_json(one) for one in recordings])
    stage.s3.put_object(Bucket="raw", Key=key, Body=body)


@call(
    "record-back-to-back", "list-inbox*", "get-entry*", "delete-entry", "put-document", prepare=_with_entry, many=True
)
def _record_back_to_back(stage: Stage, way: Way) -> object:
    done = [_record(stage, way, f"{name}.zip") for name in "cdefgh"]
    time.sleep(0.05)  # noqa: TID251 - for what is deleted beside it
    return done


def _with_many_entries(stage: Stage) -> None:
    """Leave 300 entries in the inbox whose bodies have to be fetched."""
    _base(stage)
    for number in range(300):
        key = f"{inbox_prefix(raw_key(stage.schema))}{number:032x}"
        stage.s3.put_object(Bucket="raw", Key=key, Body=b"no entry")


@call("record-beside-300-entries", "get-entry", prepare=_with_many_entries, many=True)
def _record_beside_many(stage: Stage, way: Way) -> object:
    return [_record(stage, way, f"{name}.zip") for name in "cdefg"]


def _with_bomb(stage: Stage) -> None:
    """Leave an entry of 61 KB in the inbox that inflates to 60 MiB."""
    _base(stage)
    payload = zlib.compress(b'[{"a": "' + b" " * (60 << 20) + b'"}]', 9)
    key = f"{inbox_prefix(raw_key(stage.schema))}{hashlib.sha256(payload).hexdigest()[:32]}"
    stage.s3.put_object(Bucket="raw", Key=key, Body=payload)


@call("record-beside-a-bomb", prepare=_with_bomb, many=True)
def _record_beside_a_bomb(stage: Stage, way: Way) -> object:
    return [_record(stage, way, f"{name}.zip") for name in "cdefg"]


@call(
    "record-contended",
    "put-entry*",
    "list-inbox",
    "get-document",
    also=(("put-document", "precondition-412"),),
)
def _record_contended(stage: Stage, way: Way) -> object:
    return _record(stage, way, "c.zip")


@call("record-probing", "probe", prepare=_nothing, many=True, proven=False)
def _record_probing(stage: Stage, way: Way) -> object:
    return _record(stage, way, "c.zip")


def _upload(stage: Stage, way: Way, file: str, content: bytes) -> Recorded:
    new = stage.local(file, content)
    return way.tracker.upload(new.path_or_file, stage.schema, TABLE, PERIOD, file=file)


@call("upload-small", "get-document", "put-object*", "put-document")
def _upload_small(stage: Stage, way: Way) -> object:
    return _upload(stage, way, "c.zip", b"small")


def _there(stage: Stage) -> None:
    _base(stage)
    stage.put("c.zip", b"small")


@call("upload-there", "put-object", "head*", prepare=_there)
def _upload_there(stage: Stage, way: Way) -> object:
    return _upload(stage, way, "c.zip", b"small")


@call("upload-known", "get-document")
def _upload_known(stage: Stage, way: Way) -> object:
    return _upload(stage, way, "a.zip", BASE["a.zip"])


LARGE: Final = b"0123456789abcdef" * (9 << 16)


@call("upload-large", "get-document", "head", "probe", "begin-parts+", "put-part+", "end-parts+", "put-document")
def _upload_large(stage: Stage, way: Way) -> object:
    return _upload(stage, way, "c.zip", LARGE)


def _there_in_parts(stage: Stage) -> None:
    _base(stage)
    key: Any = {"Bucket": "raw", "Key": data_key(stage.schema, TABLE, PERIOD, "c.zip")}
    upload: Any = {**key, "UploadId": stage.s3.create_multipart_upload(**key)["UploadId"]}
    part: Any = {"PartNumber": 1, "ETag": stage.s3.upload_part(**upload, PartNumber=1, Body=LARGE)["ETag"]}
    stage.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [part]})


@call("upload-large-there", "head", "get-object*", prepare=_there_in_parts)
def _upload_large_there(stage: Stage, way: Way) -> object:
    return _upload(stage, way, "c.zip", LARGE)


@call("upload-many", "get-document", "put-object", "put-document", many=True)
def _upload_many(stage: Stage, way: Way) -> object:
    return way.tracker.upload_many([stage.local(f"{name}.zip", name.encode() * 9) for name in "cde"], workers=2)


@call("upload-many-dry", "get-document", "head", reads=True, many=True, prepare=_there)
def _upload_many_dry(stage: Stage, way: Way) -> object:
    files = [stage.local("c.zip", b"small"), stage.local("d.zip", b"new")]
    return way.tracker.upload_many(files, dry_run=True)


def _with_orphan(stage: Stage) -> None:
    _base(stage)
    stage.put("orphan.zip", b"orphan")
    stage.direct.tracker.record_many([stage.new("gone.zip")])
    stage.audit = stage.direct.tracker.audit(stage.schema)


@call("audit", "get-document", "list*", "head", prepare=_with_orphan, reads=True, many=True)
def _audit(stage: Stage, way: Way) -> object:
    return way.tracker.audit(stage.schema)


@call("audit-deep", "list", "get-object", prepare=_with_orphan, reads=True, many=True)
def _audit_deep(stage: Stage, way: Way) -> object:
    return way.tracker.audit(stage.schema, deep=True)


@call("record-orphans", "get-document", "head", "put-document", prepare=_with_orphan, many=True)
def _record_orphans(stage: Stage, way: Way) -> object:
    return list(way.tracker.record_orphans(stage.audit).recorded)


def _untracked(stage: Stage) -> None:
    stage.put("orphan.zip", b"orphan")
    stage.audit = stage.direct.tracker.audit(stage.schema)


@call("record-orphans-untracked", "list-versions*", "head", "put-document", prepare=_untracked, many=True)
def _record_orphans_untracked(stage: Stage, way: Way) -> object:
    return list(way.tracker.record_orphans(stage.audit).recorded)


def _with_past(stage: Stage) -> None:
    for file in ("a.zip", "b.zip"):
        stage.direct.kept.record_many([stage.new(file)])
    stage.revision = (stage.direct.kept.document(stage.schema) or {})["revision"]


@call(
    "verify-history",
    "list-versions*",
    "get-version*",
    prepare=_with_past,
    reads=True,
    many=True,
    bucket="kept",
    documents=2,  # all versions that there are, of the four that are read beside each other
)
def _verify_history(stage: Stage, way: Way) -> object:
    return way.kept.verify_history(stage.schema)


@call("restore", "list-versions", "get-version", prepare=_with_past, many=True, bucket="kept")
def _restore(stage: Stage, way: Way) -> object:
    return way.kept.restore(stage.schema, stage.revision)


@call(
    "restore-older", "list-versions", "get-document", "put-document", prepare=_with_past, many=True, bucket="restored"
)
def _restore_older(stage: Stage, way: Way) -> object:
    return way.kept.restore(stage.schema, stage.revision - 1, discard=True)


def _with_clean(stage: Stage) -> None:
    """Record a version that has been cleaned twice, so that the files of the first time are outdated."""
    _base(stage)
    raw, made = stage.direct.tracker, stage.direct.clean
    raw.record(stage.schema, TABLE, "FY2022", "x.zip", file_size=1, s3_location="s3://raw/x")
    for file in ("old-1", "old-2", "x"):
        stage.s3.put_object(Bucket="clean", Key=f"{stage.schema}/{file}.parquet", Body=b"clean")
    version = raw.latest(stage.schema, TABLE, "FY2022")
    assert version is not None
    made.record(version, [f"{stage.schema}/old-1.parquet", f"{stage.schema}/old-2.parquet"])
    made.reprocess(stage.schema, TABLE, "FY2022")
    claim = next(one for one in made.claim(stage.schema, limit=2) if one.raw.file_name == "FY2022")
    made.record(claim, [f"{stage.schema}/x.parquet"])
    claims = (made.document(stage.schema) or {}).get("claims", {})
    held = claims.get(TABLE, {}).get(PERIOD, {})
    if held:  # the other one is given back
        raw_version = raw.latest(stage.schema, TABLE, PERIOD)
        assert raw_version is not None
        made.release(Claim(raw=raw_version, fence=held["fence"], until=held["until"], claimed_by=held["claimed_by"]))


def _with_claim(stage: Stage) -> None:
    _with_clean(stage)
    [stage.claim] = stage.direct.clean.claim(stage.schema)


CLEAN_READS: Final = ("get-document", "get-clean")


@call("pending", "get-document", "get-clean*", prepare=_with_clean, reads=True)
def _pending(stage: Stage, way: Way) -> object:
    return way.clean.pending(stage.schema)


@call("pending-older", "get-older", reads=True)
def _pending_older(stage: Stage, way: Way) -> object:
    return way.clean.pending(stage.schema)


@call("clean-document", "get-clean", prepare=_with_clean, reads=True)
def _clean_document(stage: Stage, way: Way) -> object:
    return way.clean.document(stage.schema)


@call("claim", *CLEAN_READS, "put-clean*", prepare=_with_clean)
def _claim(stage: Stage, way: Way) -> object:
    return way.clean.claim(stage.schema)


@call("extend", "get-clean", "put-clean", prepare=_with_claim)
def _extend(stage: Stage, way: Way) -> object:
    return way.clean.extend(stage.claim)


@call("release", "get-clean", "put-clean", prepare=_with_claim)
def _release(stage: Stage, way: Way) -> None:
    way.clean.release(stage.claim)


@call("clean-record", "get-clean", "put-clean", prepare=_with_claim, late=(ClaimLostError,))
def _clean_record(stage: Stage, way: Way) -> object:
    return way.clean.record(stage.claim, [f"{stage.schema}/b.parquet"])


@call("clean-record-unclaimed", "get-clean", "get-older", "put-clean")
def _clean_record_unclaimed(stage: Stage, way: Way) -> object:
    version = stage.direct.tracker.latest(stage.schema, TABLE, PERIOD)
    assert version is not None
    return way.clean.record(version, [f"{stage.schema}/b.parquet"])


@call("reprocess", *CLEAN_READS, "put-clean", prepare=_with_clean)
def _reprocess(stage: Stage, way: Way) -> object:
    return way.clean.reprocess(stage.schema, TABLE, "FY2022")


@call("sweep-dry", "get-clean", "head*", prepare=_with_clean, reads=True, many=True)
def _sweep_dry(stage: Stage, way: Way) -> object:
    return way.clean.sweep(stage.schema, older_than=0.001)


@call("sweep", "get-clean", "head", "delete*", "put-clean", prepare=_with_clean, many=True)
def _sweep(stage: Stage, way: Way) -> object:
    return way.clean.sweep(stage.schema, older_than=0.001, dry_run=False)


@call("read_version_file", "get-document", reads=True)
def _read_version_file(stage: Stage, _: Way) -> object:
    return raw_tracker.read_version_file(stage.schema)


@call("update_version_tracker", "get-document", "put-document")
def _update_version_tracker(stage: Stage, _: Way) -> object:
    return raw_tracker.update_version_tracker(stage.schema, TABLE, PERIOD, "c.zip", 5, "s3://raw/c.zip")


@call("upload_to_s3", "put-object*")
def _upload_to_s3(stage: Stage, _: Way) -> None:
    new = stage.local("c.zip", b"small")
    raw_tracker.upload_to_s3(str(new.path_or_file), "raw", new.key)


@call("upload_to_s3-large", "begin-parts", "put-part", "end-parts")
def _upload_to_s3_large(stage: Stage, _: Way) -> None:
    new = stage.local("c.zip", LARGE)
    raw_tracker.upload_to_s3(str(new.path_or_file), "raw", new.key)


@call("check_if_file_exists", "list", reads=True)
def _check_if_file_exists(stage: Stage, _: Way) -> object:
    return clean_tracker.check_if_file_exists("raw", data_key(stage.schema, TABLE, PERIOD, "a.zip"))


@call("does_s3_directory_exist", "list", reads=True)
def _does_s3_directory_exist(stage: Stage, _: Way) -> object:
    return clean_tracker.does_s3_directory_exist("raw", f"{stage.schema}/{TABLE}")


@call("delete_parquet_files_boto3", "list*", "delete*", prepare=_with_clean, many=True)
def _delete_parquet_files_boto3(stage: Stage, way: Way) -> None:
    with closing(client_to(way.endpoint_url)) as client:
        clean_tracker.delete_parquet_files_boto3("clean", f"{stage.schema}/old-1", client)


@call("read_clean_version_json", "get-older", "get-clean", prepare=_with_clean, reads=True)
def _read_clean_version_json(stage: Stage, _: Way) -> object:
    return clean_tracker.read_clean_version_json("clean", f"{stage.schema}/clean_version.json", stage.schema)


@call("read_clean_version_tracker", "get-clean", prepare=_with_clean, reads=True)
def _read_clean_version_tracker(stage: Stage, _: Way) -> object:
    return clean_tracker.read_clean_version_tracker("clean", clean_key(stage.schema))


@call("get_raw_and_clean_data_versions", *CLEAN_READS, prepare=_with_clean, reads=True)
def _get_raw_and_clean_data_versions(stage: Stage, _: Way) -> object:
    return clean_tracker.get_raw_and_clean_data_versions(stage.schema, "clean", "raw")


# -- the machinery --------------------------------------------------------------------------------------------------

_ways = threading.local()


def _environment() -> dict[str, str]:
    """Return the settings of the thread that asks, in place of the environment."""
    return {
        "AWS_ENDPOINT_URL_S3": _ways.endpoint_url,
        "AWS_DEST_BUCKET_RAW": "raw",
        "AWS_DEST_BUCKET_CLEAN": "clean",
        "AWS_REGION_NAME": "us-east-1",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": SESSION_TOKEN,
    }


def client_to(endpoint_url: str, timeout: float = REQUEST_TIMEOUT) -> S3Client:
    """Return a boto3 client as a user has one."""
    config = Config(retries={"total_max_attempts": 1}, read_timeout=timeout, connect_timeout=timeout)
    return boto3.session.Session(
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        aws_session_token=SESSION_TOKEN,
        region_name="us-east-1",
    ).client("s3", endpoint_url=endpoint_url, config=config)


def way_to(
    endpoint_url: str, *, timeout: float = TIMEOUT, request_timeout: float = REQUEST_TIMEOUT, proven: bool = True
) -> Way:
    """Return trackers of a store."""
    keys: Any = {
        "endpoint_url": endpoint_url,
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET_KEY,
        "aws_session_token": SESSION_TOKEN,
        "region_name": "us-east-1",
        "timeout": timeout,
        "request_timeout": request_timeout,
    }
    for bucket in ("raw", "clean", "kept") if proven else ():
        _proven[endpoint_url, bucket] = stores_s3.Quoting.AS_RECEIVED
    return Way(
        endpoint_url=endpoint_url,
        tracker=Tracker("raw", **keys),
        kept=Tracker("kept", **keys),
        clean=CleanTracker("raw", "clean", **keys),
    )


@dataclass(kw_only=True)
class House:
    """A real S3, and straight ways to it, for all cells of a run."""

    endpoint_url: str
    s3: S3Client
    direct: Way
    folder: Path
    logged: list[str]


class _Listener(logging.Handler):
    """Keeps of the log what should not be in it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.wrong: list[str] = []
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a line."""
        text = self.format(record)
        said = problem_of_text(record.getMessage())
        if any(secret in text for secret in SECRETS):
            said = "shows a secret"
        if said:
            self.wrong.append(f"{record.filename}:{record.lineno}: {said}: {text[:200]!r}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Give the embedded S3, with a log that is listened to and the settings of each thread apart."""
    listener, log = _Listener(), logging.getLogger("cf_data_tracker")
    level = log.level
    with (
        running(["raw", "clean", "kept"]) as server,
        closing(client_to(server.endpoint_url, 30.0)) as s3,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for module in (settings, raw_tracker, clean_tracker, tracker, clean):
            patch.setattr(module, "environment", _environment)
        patch.setattr(settings, "Access", partial(settings.Access, request_timeout=REQUEST_TIMEOUT))
        patch.setattr(stores_s3, "access_of", partial(stores_s3.access_of, request_timeout=REQUEST_TIMEOUT))
        for earlier in (raw_tracker, clean_tracker):
            patch.setattr(earlier, "Connection", partial(Connection, patience=Patience(seconds=TIMEOUT)))
        loader = botocore.loaders.create_loader(None)  # what boto3 reads for each client anew costs 0.14 s of its 0.16
        patch.setattr(botocore.session, "create_loader", lambda _=None: loader)
        s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
        log.addHandler(listener)
        log.setLevel(logging.DEBUG)
        try:
            yield House(
                endpoint_url=server.endpoint_url,
                s3=s3,
                direct=way_to(server.endpoint_url, timeout=60.0, request_timeout=30.0),
                folder=tmp_path_factory.mktemp("files"),
                logged=listener.wrong,
            )
        finally:
            log.removeHandler(listener)
            log.setLevel(level)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A call, the purpose of the requests that are answered oddly (all, if none), and how."""

    call: Call
    purpose: str
    kind: Kind
    applied: bool = False

    def __str__(self) -> str:
        return f"{self.call.name} / {self.purpose or 'everything'} / {self.kind.name}{' (applied)' * self.applied}"


@dataclass(kw_only=True)
class Result:
    """What came of a cell."""

    cell: str
    call: str
    purpose: str
    kind: str
    applied: bool
    hits: int = 0
    seconds: float = 0.0
    beyond: float = 0.0
    outcome: str = ""
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    """Of each: what kind of problem, where in the source, and the details."""

    def complain(self, what: str, where: str, details: str) -> None:
        """Add a problem."""
        self.problems.append((what, where, details[:400]))


def problem_of_text(text: str) -> str:
    """Return what is wrong with what is said to a person, or nothing."""
    if any(secret in text for secret in SECRETS):
        return "shows a secret"
    if len(text) > LONGEST_MESSAGE:
        return f"{len(text)} characters long"
    if not text.isprintable():
        return "is not one printable line"
    return ""


def place_of(error: BaseException) -> str:
    """Return where in the package an error arose: the last line of it in the traceback."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(WHERE)]
    return _spot(frames[-1]) if frames else "outside"


def _spot(frame: traceback.FrameSummary) -> str:
    return f"{frame.filename.removeprefix(WHERE + os.sep)}:{frame.lineno} {frame.name}"


def _standing(ident: int | None) -> str:
    """Return where a thread is."""
    frame = sys._current_frames().get(ident or 0)  # noqa: SLF001 - there is no other way to see a thread that hangs
    stack = traceback.extract_stack(frame) if frame is not None else []
    ours = [one for one in stack if one.filename.startswith(WHERE)]
    inner = f"{Path(stack[-1].filename).name}:{stack[-1].lineno} {stack[-1].name}" if stack else "?"
    return f"{' < '.join(map(_spot, ours[:-3:-1]))} (in {inner})" if ours else inner


class _Running(threading.Thread):
    """A call in a thread of its own."""

    def __init__(self, run: Callable[[Stage, Way], Any], stage: Stage, way: Way) -> None:
        super().__init__(daemon=True, name="call")
        self._job = (run, stage, way)
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended = 0.0

    def run(self) -> None:
        """Make the call."""
        run, stage, way = self._job
        _ways.endpoint_url = way.endpoint_url
        try:
            self.value = run(stage, way)
        except BaseException as error:  # noqa: BLE001 - it is looked at by another thread
            self.error = error
        self.ended = time.monotonic()


def try_cell(house: House, cell: Cell) -> Result:
    """Make a call against a server that misbehaves, and look at everything that must hold."""
    result = Result(
        cell=str(cell), call=cell.call.name, purpose=cell.purpose, kind=cell.kind.name, applied=cell.applied
    )
    stage = Stage(s3=house.s3, direct=house.direct, folder=house.folder)
    _ways.endpoint_url = house.endpoint_url
    cell.call.prepare(stage)
    stage.before = versions_of(stage, cell.call.bucket)
    if cell.call.reads:
        stage.expected = cell.call.run(stage, house.direct)
    with HostileServer(house.endpoint_url) as server:
        way = way_to(server.endpoint_url, proven=cell.call.proven)
        if cell.call.proven:  # which also makes the client; that takes its time, and is not measured
            for connection in _connections(cell.call, way):
                connection.prove()
        server.misbehave(
            cell.kind,
            cell.purpose,
            applied=cell.applied,
            also={purpose: KINDS[kind] for purpose, kind in cell.call.also if purpose != cell.purpose},
        )
        _make(cell, stage, way, server, result)
        if not any(what == "hangs for good" for what, _, _ in result.problems):
            _look_at_the_bucket(cell, stage, result)
            _go_on(cell, stage, way, result)
    for file in stage.contents:
        with suppress(OSError):
            (stage.folder / f"{stage.schema}-{file}").unlink()
        if stage.contents[file] is LARGE:
            house.s3.delete_object(Bucket="raw", Key=data_key(stage.schema, TABLE, PERIOD, file))
    return result


def _connections(call: Call, way: Way) -> list[Connection]:
    """Return those that a call goes through."""
    if call.clean:
        return [way.clean._raw, way.clean._clean]  # noqa: SLF001 - see `try_cell`
    return [(way.kept if call.bucket in {"kept", "restored"} else way.tracker)._connection]  # noqa: SLF001 - so is this


def _make(cell: Cell, stage: Stage, way: Way, server: HostileServer, result: Result) -> None:
    running_call = _Running(cell.call.run, stage, way)
    began = time.monotonic()
    running_call.start()
    allowed = TIMEOUT + REQUEST_TIMEOUT + MARGIN

    def since() -> float:
        return max(began, server.last_proper) if cell.call.many else began

    while running_call.is_alive() and time.monotonic() < since() + allowed + GIVE_UP:
        running_call.join(0.05)
    standing = _standing(running_call.ident) if running_call.is_alive() else ""
    start = since()
    result.hits = sum(server.hits.values())
    server.behave()
    if standing:
        result.complain("late", standing, f"not back {GIVE_UP} s after its bound")
        running_call.join(15)
        if running_call.is_alive():
            result.complain("hangs for good", _standing(running_call.ident), "not even back once the server behaved")
            return
    result.seconds = running_call.ended - began
    result.beyond = running_call.ended - start - allowed
    error = running_call.error
    if result.beyond > 0 and not standing:
        where = place_of(error) if error is not None else cell.call.name
        result.complain("late", where, f"{result.seconds:.1f} s, {result.beyond:.1f} s beyond its bound")
    result.outcome = type(error).__name__ if error is not None else "done"
    stage.claim = stage.claim or running_call.value
    if error is not None:
        _look_at_the_error(cell, error, server.signatures, result)
    elif cell.call.reads and running_call.value != stage.expected and not _may_be_untrue(cell):
        result.complain("untrue", cell.call.name, f"{running_call.value!r} for {stage.expected!r}")
    _look_at_the_value(cell, stage, running_call.value, error, result)
    _look_at_the_clean_value(cell, stage, running_call.value, result)


def _may_be_untrue(cell: Cell) -> bool:
    more = {"head": FOUR_O_FOUR, "get-object": OTHER_BYTES, "get-version": OTHER_BYTES}
    names = (*LIES, *more.get(cell.purpose, ()))
    return any(fnmatch.fnmatch(cell.kind.name, pattern) for pattern in names)


def plainly_pickled(error: BaseException) -> bytes:
    """Return an error as Python itself pickles it, whatever other packages in this process have registered."""
    written = io.BytesIO()
    pickler = pickle.Pickler(written)
    pickler.dispatch_table = {}
    pickler.dump(error)
    return written.getvalue()


def _look_at_the_error(cell: Cell, error: BaseException, signatures: Iterable[str], result: Result) -> None:
    where, text = place_of(error), str(error)
    said = f"{type(error).__name__}: {text[:300]}"
    if not isinstance(error, TrackerError):
        result.complain("bare exception", where, said)
        return
    if isinstance(error, (InvalidNameError, LocalFileError)):
        result.complain("blames the caller", where, said)
    untrue = (NotTrackedError, DifferentContentError, WouldLoseError, DocumentVanishedError)
    if isinstance(error, untrue) and not _may_be_untrue(cell):
        result.complain("untrue", where, said)
    if problem := problem_of_text(text):
        result.complain(f"text {'is too long' if 'long' in problem else problem}", where, f"{problem}: {said}")
    for what, shown in (("repr", repr(error)), ("pickle", plainly_pickled(error).decode("latin-1"))):
        if any(secret in shown for secret in (*SECRETS, *signatures)):
            result.complain(f"{what} shows a secret", where, said)
        if len(shown) > 2 * LONGEST_MESSAGE and len(text) <= LONGEST_MESSAGE:
            result.complain(f"{what} is too long", where, f"{len(shown)}: {said}")
    again = pickle.loads(plainly_pickled(error))
    if (type(again), str(again)) != (type(error), text):
        result.complain("does not pickle", where, said)


def _look_at_the_value(cell: Cell, stage: Stage, value: object, error: BaseException | None, result: Result) -> None:
    """Look whether what is acknowledged is in the bucket, and what failed is not."""
    there = versions_of(stage, cell.call.bucket)
    recorded = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Recorded)]
    if not cell.call.reads:
        for one in recorded:
            if there.get(one.file) != one.version:
                result.complain("lost", cell.call.name, f"{one} was acknowledged, there is {there}")
            if one.file in stage.contents and one.created:
                _look_at_the_object(stage, one, result)
    certain = error is not None and not isinstance(error, OutcomeUnknownError)
    if certain and not cell.applied and not cell.kind.proxied and not cell.call.many:
        came = {file for file in there if file not in stage.before}
        if came:
            result.complain("written all the same", cell.call.name, f"{type(error).__name__}, but there is {came}")


def _look_at_the_clean_value(cell: Cell, stage: Stage, value: object, result: Result) -> None:
    """Look whether what was acknowledged of the clean side is there."""
    if isinstance(value, CleanRecorded) and value.created:
        text = json.dumps(read_json(stage, "clean", clean_key(stage.schema)))
        if f"{stage.schema}/b.parquet" not in text:
            result.complain("lost", cell.call.name, "a clean record was acknowledged and is not there")
    for one in value if isinstance(value, list) else []:
        if isinstance(one, Claim):
            document = read_json(stage, "clean", clean_key(stage.schema)) or {}
            if one.claimed_by not in json.dumps(document):
                result.complain("lost", cell.call.name, "a claim was acknowledged and is not there")
        if isinstance(one, Swept) and one.left is None and not cell.call.reads and not _may_be_untrue(cell):
            with suppress(ClientError):
                stage.s3.head_object(Bucket="clean", Key=one.file)
                result.complain("untrue", cell.call.name, f"{one.file} is said to be deleted, and is there")


def _look_at_the_object(stage: Stage, one: Recorded, result: Result) -> None:
    key = data_key(stage.schema, TABLE, PERIOD, one.file)
    try:
        content = stage.s3.get_object(Bucket="raw", Key=key)["Body"].read()
    except ClientError as missing:
        result.complain("lost", "upload", f"{one} was acknowledged, its object: {missing}")
        return
    if content != stage.contents[one.file]:
        result.complain("lost", "upload", f"{one} was acknowledged, its object has {len(content)} other bytes")


def read_json(stage: Stage, bucket: str, key: str) -> dict[str, Any] | None:
    """Return a document, past the library."""
    try:
        found: dict[str, Any] = json.loads(stage.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except stage.s3.exceptions.NoSuchKey:
        return None
    return found


def versions_of(stage: Stage, bucket: str) -> dict[str, int]:
    """Return the files of the period and their numbers, past the library."""
    document = read_json(stage, "kept" if bucket == "restored" else bucket, raw_key(stage.schema))
    entries = [
        version
        for schema in (document or {}).get("tables", ())
        for table in schema["tables"]
        for name in table["files"]
        if name["file_name"] == PERIOD
        for version in name["versions"]
    ]
    numbers = [entry["version"] for entry in entries]
    assert sorted(set(numbers)) == sorted(numbers), f"numbers twice in {document}"
    return {entry["file"]: entry["version"] for entry in entries}


def _look_at_the_bucket(cell: Cell, stage: Stage, result: Result) -> None:
    """Look whether what was there before is there still."""
    there = versions_of(stage, cell.call.bucket)
    lost = {} if cell.call.bucket == "restored" else dict(stage.before.items() - there.items())
    if lost:
        result.complain("lost", cell.call.name, f"{lost} of {stage.before}; there is {there}")
    if cell.call.prepare in (_with_clean, _with_claim):
        document = json.dumps(read_json(stage, "clean", clean_key(stage.schema)))
        if f"{stage.schema}/x.parquet" not in document:
            result.complain("lost", cell.call.name, "a clean record is gone")
        try:
            stage.s3.head_object(Bucket="clean", Key=f"{stage.schema}/x.parquet")
        except ClientError:
            result.complain("lost", cell.call.name, "a clean file that a record names is gone")


def _go_on(cell: Cell, stage: Stage, way: Way, result: Result) -> None:
    """Make the call again, and record, now that the server behaves, with the same tracker."""
    again = _Running(cell.call.run, stage, way)
    again.start()
    again.join(20)
    if again.is_alive():
        result.complain("does not go on", _standing(again.ident), "the call does not end once the server behaves")
        return
    if again.error is not None and not isinstance(again.error, cell.call.late):
        said = f"{type(again.error).__name__}: {str(again.error)[:200]}"
        result.complain("does not go on", place_of(again.error), f"the call, once the server behaves: {said}")
    elif cell.call.reads and again.value != stage.expected:
        result.complain("does not go on", cell.call.name, f"{again.value!r} for {stage.expected!r}")
    ours = way.kept if cell.call.bucket in {"kept", "restored"} else way.tracker
    new = stage.new("later.zip")
    try:
        done = ours.record_many([new])[0]
    except Exception as error:  # noqa: BLE001 - whatever it is
        result.complain("does not go on", place_of(error), f"record, once the server behaves: {error!s:.200}")
        return
    if versions_of(stage, cell.call.bucket).get("later.zip") != done.version:
        result.complain("lost", cell.call.name, f"{done} was acknowledged once the server behaved, and is not there")


# -- the matrix -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The cells of a call and a purpose."""

    call: Call
    purpose: str
    kinds: str = ""

    def cells(self) -> list[Cell]:
        """Return them, without those that cost too much to be many."""
        wanted = os.environ.get("HOSTILE_KINDS", "*").split(",")
        kinds = [
            kind
            for kind in KINDS.values()
            if not kind.heavy
            and any(fnmatch.fnmatch(kind.name, pattern) for pattern in wanted)
            and (kind.suits(self.purpose) if self.purpose else not kind.on)
            and (kind.core or self.kinds == "*" or (kind.on and self.kinds == "+"))
        ]
        cells = [Cell(call=self.call, purpose=self.purpose, kind=kind) for kind in kinds]
        applies = self.purpose in WRITES | DELETES | {"probe"}
        return cells + [
            Cell(call=self.call, purpose=self.purpose, kind=kind, applied=True)
            for kind in kinds
            if applies and kind.core and not kind.proxied
        ]

    def __str__(self) -> str:
        return f"{self.call.name}-{self.purpose or 'everything'}"


LANES: Final = [
    *(
        Lane(call=one, purpose=purpose.rstrip("*+"), kinds=purpose.lstrip(string.ascii_letters + "-"))
        for one in CALLS.values()
        for purpose in one.purposes
    ),
    *(Lane(call=one, purpose="") for one in CALLS.values()),
]


def _run(house: House, cells: Sequence[Cell]) -> list[Result]:
    """Try cells, many at once; one that only was slow is tried again alone, where the machine has no excuse."""
    large = any("large" in cell.call.name for cell in cells)
    with ThreadPoolExecutor(FEW_AT_ONCE if large else AT_ONCE) as pool:
        results: list[Result] = []
        for start in range(0, len(cells), AT_ONCE):
            results += pool.map(partial(_safely, house), cells[start : start + AT_ONCE])
            _tidy(house)
    for number, (cell, result) in enumerate(zip(cells, results, strict=True)):
        doubts = {what for what, _, _ in result.problems}
        if doubts and doubts <= {"late", "does not go on"} and result.beyond < GIVE_UP:
            results[number] = _safely(house, cell)
    if file := os.environ.get("HOSTILE_REPORT"):
        with Path(file).open("a") as report:
            report.writelines(json.dumps(asdict(result)) + "\n" for result in results)
    return results


def _tidy(house: House) -> None:
    """Delete what cells have left: a sweep, and the recording of orphans, read the documents of all schemas."""
    for bucket in ("raw", "clean"):
        for page in house.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            if keys := [one["Key"] for one in page.get("Contents", ())]:
                house.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})


def _safely(house: House, cell: Cell) -> Result:
    try:
        return try_cell(house, cell)
    except Exception as error:  # noqa: BLE001 - it is shown with the others
        failed = Result(
            cell=str(cell), call=cell.call.name, purpose=cell.purpose, kind=cell.kind.name, applied=cell.applied
        )
        failed.complain("the test itself", place_of(error), "".join(traceback.format_exception(error))[-400:])
        return failed


def _check(house: House, results: Sequence[Result], counted: Callable[[str, dict[str, int]], None]) -> None:
    reached = [result for result in results if result.hits]
    counted("hostile answers", {"cells": len(results), "reached": len(reached)})
    wrong = [
        f"{result.cell}: {what} at {where}: {details}" for result in results for what, where, details in result.problems
    ]
    logged, house.logged[:] = list(dict.fromkeys(house.logged)), []
    assert not wrong, f"{len(wrong)} problems in {len(results)} cells:\n" + "\n".join(wrong)
    assert not logged, "the log:\n" + "\n".join(logged)
    assert reached, "no request of this purpose was made"


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("lane", LANES, ids=str)
def test_every_kind_of_answer(house: House, lane: Lane, counted: Callable[[str, dict[str, int]], None]) -> None:
    """Whatever the server answers, a call ends in time, with an error of ours or the truth, and nothing is lost."""
    if cells := lane.cells():
        _check(house, _run(house, cells), counted)


QUICK: Final = {
    ("exists", "get-document"): (
        "trickling-body-in-chunks",
        "continue-for-ever",
        "html-200",
        "huge-error-403",
        "no-etag",
    ),
    ("record-next", "put-document"): ("trickling-head", "html-200", "redirect-301-to-itself", "echo-403", "reset"),
    ("record-back-to-back", "list-inbox"): ("trickling-body-with-length", "html-200", "listing-same-page-for-ever"),
    ("record-back-to-back", "get-entry"): ("silence", "document-empty"),
    ("upload-small", "put-object"): ("no-etag", "continue-for-ever", "empty-etag"),
    ("upload-large", "begin-parts"): ("xml-lacks-UploadId", "html-200"),
    ("upload-large", "put-part"): ("no-etag", "trickling-head"),
    ("upload-there", "head"): ("no-length", "length-no-number", "last-modified-no-date"),
    ("audit", "list"): ("html-200", "xml-lacks-Key", "xml-lacks-Size", "xml-lacks-LastModified", "listing-backwards"),
    ("audit-deep", "get-object"): ("trickling-body-to-the-end", "half-a-real-body"),
    ("verify-history", "list-versions"): (
        "versions-same-page-for-ever",
        "versions-without-marker",
        "xml-lacks-VersionId",
        "xml-lacks-IsLatest",
        "html-200",
    ),
    ("claim", "put-clean"): ("html-200", "continue-for-ever"),
    ("sweep", "delete"): ("odd-deletion", "huge-error-403", "empty-200"),
    ("upload_to_s3", "put-object"): ("huge-error-403", "trickling-head"),
    ("upload-large-there", "get-object"): ("half-a-head", "html-200"),
    ("check_if_file_exists", "list"): ("half-a-head",),
    ("pending", "get-clean"): ("html-404", "error-nested", "last-modified-beyond-all"),
    ("delete_parquet_files_boto3", "list"): ("xml-lacks-Key", "huge-error-403", "html-200"),
}
"""What runs every time: of each way in which an answer is read, a few kinds."""


@pytest.mark.parametrize("place", QUICK, ids="-".join)
def test_some_kinds_of_answer(
    house: House, place: tuple[str, str], counted: Callable[[str, dict[str, int]], None]
) -> None:
    """Of each way in which an answer is read, a few kinds: the same, in a minute."""
    name, purpose = place
    cells = [Cell(call=CALLS[name], purpose=purpose, kind=KINDS[kind]) for kind in QUICK[place]]
    _check(house, _run(house, cells), counted)


# -- memory ---------------------------------------------------------------------------------------------------------

HEAVY: Final = [
    ("exists", "get-document"),
    ("record-next", "put-document"),
    ("record-back-to-back", "list-inbox"),
    ("record-back-to-back", "get-entry"),
    ("upload-small", "put-object"),
    ("upload-there", "head"),
    ("upload-large", "begin-parts"),
    ("audit", "list"),
    ("audit-deep", "get-object"),
    ("verify-history", "list-versions"),
    ("verify-history", "get-version"),
    ("pending", "get-clean"),
    ("sweep", "delete"),
    ("upload_to_s3", "put-object"),
    ("delete_parquet_files_boto3", "list"),
]


@contextmanager
def peak_memory() -> Iterator[Callable[[], int]]:
    """Give what says by how many bytes this process has grown at most since."""
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    yield lambda: _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def _heavy_cells(name: str, purpose: str) -> list[Cell]:
    wanted = os.environ.get("HOSTILE_KINDS", "*").split(",")
    return [
        Cell(call=CALLS[name], purpose=purpose, kind=kind)
        for kind in KINDS.values()
        if kind.heavy and kind.suits(purpose) and any(fnmatch.fnmatch(kind.name, pattern) for pattern in wanted)
    ]


def _measured(house: House, cell: Cell) -> Result:
    with peak_memory() as grown:
        result = _safely(house, cell)
        if grown() > MEMORY * cell.call.documents:
            result.complain("memory", f"{cell.call.name} {cell.purpose}", f"grew by {grown() >> 20} MiB")
    if file := os.environ.get("HOSTILE_REPORT"):
        with Path(file).open("a") as report:
            report.write(json.dumps(asdict(result)) + "\n")
    return result


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of memory is told by Linux alone")
@pytest.mark.parametrize("place", HEAVY, ids="-".join)
def test_answers_without_measure(
    house: House, place: tuple[str, str], counted: Callable[[str, dict[str, int]], None]
) -> None:
    """An answer of a gigabyte, a bomb or a flood of headers costs neither memory nor time."""
    _check(house, [_measured(house, cell) for cell in _heavy_cells(*place)], counted)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of memory is told by Linux alone")
@pytest.mark.parametrize(
    ("name", "purpose", "kind"),
    [
        ("exists", "get-document", "gigabyte-200"),
        ("audit", "list", "gigabyte-403"),
        ("audit", "list", "gigabyte-listing"),
    ],
)
def test_an_answer_of_a_gigabyte(
    house: House, name: str, purpose: str, kind: str, counted: Callable[[str, dict[str, int]], None]
) -> None:
    """An answer of a gigabyte is not held in memory."""
    _check(house, [_measured(house, Cell(call=CALLS[name], purpose=purpose, kind=KINDS[kind]))], counted)


# -- the command line -----------------------------------------------------------------------------------------------

COMMANDS: Final = {
    "doctor": ["doctor"],
    "record": ["record", "SCHEMA", TABLE, PERIOD, "c.zip", "--size", "5", "--location", "s3://raw/c.zip"],
    "exists": ["exists", "SCHEMA", TABLE, PERIOD, "a.zip"],
    "audit": ["audit", "SCHEMA"],
    "verify": ["verify", "SCHEMA"],
    "pending": ["pending", "SCHEMA"],
    "upload": ["upload", "FILE", "SCHEMA", TABLE, PERIOD],
}
TRUE_CODES: Final = {Code.ERROR, Code.CONTENTION, Code.UNSAFE}


def try_command(house: House, command: str, kind: Kind) -> Result:
    """Run a command against a server that misbehaves from the start."""
    result = Result(cell=f"$ {command} / {kind.name}", call=f"$ {command}", purpose="", kind=kind.name, applied=False)
    stage = Stage(s3=house.s3, direct=house.direct, folder=house.folder)
    _base(stage)
    file = stage.local("c.zip", b"small").path_or_file
    words = {"SCHEMA": stage.schema, "FILE": str(file)}
    with HostileServer(house.endpoint_url) as server:
        way_to(server.endpoint_url)
        _ways.endpoint_url = server.endpoint_url
        server.misbehave(kind)
        began = time.monotonic()
        giving_up = threading.Timer(TIMEOUT + REQUEST_TIMEOUT + MARGIN + GIVE_UP, server.behave)
        giving_up.start()
        done = CliRunner().invoke(
            app, [*(words.get(word, word) for word in COMMANDS[command]), "--timeout", str(TIMEOUT)]
        )
        giving_up.cancel()
        result.seconds = time.monotonic() - began
        result.hits = sum(server.hits.values())
    allowed = TIMEOUT + REQUEST_TIMEOUT + MARGIN
    if result.seconds > allowed:
        result.complain("late", f"$ {command}", f"{result.seconds:.1f} s")
    result.outcome = str(done.exit_code)
    lines = done.stderr.splitlines()
    if done.exit_code not in TRUE_CODES:
        result.complain("untrue", f"$ {command}", f"exit code {done.exit_code}: {done.output[-300:]}")
    if len(lines) != 1 or problem_of_text(done.stderr.strip()) or "unexpected error" in done.stderr:
        said = problem_of_text(done.stderr.strip()) or f"{len(lines)} lines"
        result.complain("text of the command", f"$ {command}", f"{said}: {done.stderr[:300]}")
    if any(secret in done.output for secret in SECRETS):
        result.complain("shows a secret", f"$ {command}", done.output[:300])
    return result


@pytest.mark.prove
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command(house: House, command: str, counted: Callable[[str, dict[str, int]], None]) -> None:
    """A command ends in time, with one line and an exit code."""
    wanted = os.environ.get("HOSTILE_KINDS", "*").split(",")
    core = [kind for kind in KINDS.values() if kind.core and not kind.on]
    kinds = [kind for kind in core if any(fnmatch.fnmatch(kind.name, one) for one in wanted)]
    results = [try_command(house, command, kind) for kind in kinds]
    if file := os.environ.get("HOSTILE_REPORT"):
        with Path(file).open("a") as report:
            report.writelines(json.dumps(asdict(result)) + "\n" for result in results)
    _check(house, results, counted)


@pytest.mark.parametrize(("command", "kind"), [("record", "huge-error-403"), ("audit", "html-200"), ("doctor", "ssh")])
def test_some_commands(house: House, command: str, kind: str, counted: Callable[[str, dict[str, int]], None]) -> None:
    """A few commands, every time."""
    _check(house, [try_command(house, command, KINDS[kind])], counted)


# -- the server itself ----------------------------------------------------------------------------------------------


def test_what_a_tracker_shows_of_itself_asks_for_nothing(house: House) -> None:
    """`repr` and `stats` need no answer, and show no secret."""
    with HostileServer(house.endpoint_url) as server:
        way = way_to(server.endpoint_url)
        server.misbehave(KINDS["silence"])
        shown = f"{way.tracker!r}{way.clean!r}{way.tracker.stats}{way.clean.stats}"
        assert not server.hits
    assert not any(secret in shown for secret in SECRETS)


def test_a_server_that_behaves_is_an_s3(house: House) -> None:
    """All calls work through the server as long as it behaves."""
    stage = Stage(s3=house.s3, direct=house.direct, folder=house.folder)
    with HostileServer(house.endpoint_url) as server:
        way = way_to(server.endpoint_url)
        assert _record(stage, way, "a.zip").created
        assert {"a.zip": 1} == versions_of(stage, "raw")
        assert {"get-document": 1, "put-document": 1} == dict(server.counts)


def test_a_server_leaves_nothing_running(house: House) -> None:
    """Threads and connections end with the block, also those that were in the middle of an answer."""
    with HostileServer(house.endpoint_url) as server, ExitStack() as stack:
        server.misbehave(KINDS["silence"])
        client = stack.enter_context(closing(client_to(server.endpoint_url)))
        with suppress(Exception):
            client.list_buckets()
    assert not [thread for thread in threading.enumerate() if thread.name == "hostile"]


@pytest.mark.parametrize(
    ("method", "path", "purpose"),
    [
        ("GET", "/raw/s/s_version_info.json", "get-document"),
        ("PUT", "/clean/s/s_clean_version_info.json", "put-clean"),
        ("GET", "/clean/s/clean_version.json", "get-older"),
        ("GET", "/raw?list-type=2&prefix=_cf_tracker%2Finbox%2Fs%2F", "list-inbox"),
        ("GET", "/raw?list-type=2&prefix=s%2F", "list"),
        ("GET", "/kept?versions&prefix=s", "list-versions"),
        ("GET", "/kept/s/s_version_info.json?versionId=1", "get-version"),
        ("POST", "/raw/s/t/a.zip?uploads", "begin-parts"),
        ("PUT", "/raw/s/t/a.zip?uploadId=1&partNumber=1", "put-part"),
        ("POST", "/raw/s/t/a.zip?uploadId=1", "end-parts"),
        ("DELETE", "/raw/s/t/a.zip?uploadId=1", "abort-parts"),
        ("POST", "/raw?delete", "delete"),
        ("DELETE", "/raw/_cf_tracker/inbox/s/1", "delete-entry"),
        ("PUT", "/raw/_cf_tracker/inbox/s/1", "put-entry"),
        ("HEAD", "/raw/s/t/a.zip", "head"),
        ("PUT", "/raw/_cf_tracker/probe/1", "probe"),
    ],
)
def test_the_purpose_of_a_request(method: str, path: str, purpose: str) -> None:
    """A request's head says what it is for."""
    assert purpose == purpose_of(method, path)


def test_a_bomb_inflates_to_what_it_says() -> None:
    """The bomb is small, and its content is not."""
    assert len(bomb(GIGABYTE >> 6)) < GIGABYTE >> 14
