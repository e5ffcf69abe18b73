"""Who needs which rights: policies for S3 as plain JSON, made of the names that the library itself uses.

What a role may do is what the library asks for when it does that role's work, and no more; the tests hold the one
against the other. What a worker reads and writes by itself (the raw files that it cleans, say) comes on top.

The bucket's policy makes S3 refuse what no worker of this library ever sends: a write to a document that does not say
what it replaces, as the earlier package sends, and a document's deletion. A document is always a single PUT, so its
parts are refused, too; and so is a copy onto it that names no condition.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias, cast

from cf_data_tracker.aws import misfit, partition_of
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import store
from cf_data_tracker.names import (
    INTERNAL_PREFIX,
    aside_key,
    check_schema,
    clean_key,
    data_key,
    inbox_prefix,
    older_clean_key,
    plain,
    probe_key,
    raw_key,
    shown,
)

Statement: TypeAlias = dict[str, object]
Policy: TypeAlias = dict[str, object]

VERSION: Final = "2012-10-17"
"""Of the language, not of the policy."""

MAX_IDENTITY: Final = 6_144
"""Characters of a managed policy that IAM takes, white space not counted."""

MAX_BUCKET: Final = 20 * 1024
"""Bytes of a bucket's policy that S3 takes."""

MAX_RULES: Final = 1_000
"""Rules that a lifecycle configuration may have."""

KEPT: Final = {"NoncurrentDays": 30, "NewerNoncurrentVersions": 100}
"""Earlier versions of a document that stay: all of 30 days, and of older ones the newest 100, which is S3's limit."""

UNFINISHED_DAYS: Final = 7
"""Days after which the parts of a large file that was never finished are removed."""

GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
GET_VERSION, DELETE_VERSION = "s3:GetObjectVersion", "s3:DeleteObjectVersion"
ABORT, LIST, LIST_VERSIONS = "s3:AbortMultipartUpload", "s3:ListBucket", "s3:ListBucketVersions"

_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_WILD: Final = re.compile(r"[*?$]")


class Role(str, Enum):
    """Whom or what a policy is for."""

    RECORDER = "recorder"
    READER = "reader"
    UPLOADER = "uploader"
    CLEANER = "cleaner"
    AUDITOR = "auditor"
    BUCKET = "bucket"
    CLEAN_BUCKET = "clean-bucket"
    LIFECYCLE = "lifecycle"


NEEDS_RAW: Final = frozenset(Role) - {Role.CLEAN_BUCKET, Role.LIFECYCLE}
NEEDS_CLEAN: Final = frozenset({Role.CLEANER, Role.CLEAN_BUCKET})


@dataclass(frozen=True, kw_only=True, slots=True)
class Scope:
    """Where rights are to hold.

    Attributes:
        raw: The raw bucket; `""` where the policy is not about it.
        clean: The clean bucket; `""` likewise.
        schemas: The data sources; all, and those to come, if there are none.
        region: A region of the buckets, which decides the partition (`aws-cn`, say); AWS's main one if `None`.

    Raises:
        InvalidNameError: A bucket's or a schema's name is not acceptable.
    """

    raw: str = ""
    clean: str = ""
    schemas: tuple[str, ...] = ()
    region: str | None = None

    def __post_init__(self) -> None:
        for bucket in filter(None, (self.raw, self.clean)):
            if not _BUCKET.fullmatch(bucket):
                raise InvalidNameError(
                    f"a bucket's name is 3 to 63 small letters, digits, dots and hyphens, got {shown(bucket)}"
                )
            if why := misfit(bucket):
                raise InvalidNameError(f"{shown(bucket)} {why}")
        if isinstance(cast("object", self.schemas), str):
            raise InvalidNameError(f"schemas must be a list of names, got {shown(self.schemas)}")
        store(
            self,
            raw=plain(self.raw),
            clean=plain(self.clean),
            schemas=tuple(map(check_schema, self.schemas)),
            region=plain(self.region),
        )

    def arn(self, bucket: str, key: str = "") -> str:
        """Return the name of a bucket, or of objects of it, in a policy."""
        return f"arn:{partition_of(self.region)}:s3:::{bucket}{'/' if key else ''}{key}"

    def keys(self, *of: Callable[[str], str]) -> list[str]:
        """Return patterns for what each schema has; what a policy would take for a wildcard is escaped in its name."""
        names = [_WILD.sub(r"${\g<0>}", schema) for schema in self.schemas] or ["*"]
        return [one(name) for name in names for one in of]


def policy_for(role: Role, scope: Scope) -> Policy:
    """Return the policy of a role, ready to be printed as JSON.

    Raises:
        InvalidNameError: A bucket is not named that it is about, or it would be longer than AWS takes.
    """
    if (role in NEEDS_RAW and not scope.raw) or (role in NEEDS_CLEAN and not scope.clean):
        raise InvalidNameError(f"the policy {role.value} is about a bucket that is not named")
    policy = _POLICIES[role](scope)
    _check_size(role, policy)
    return policy


def _recorder(scope: Scope) -> Policy:
    return _allowing(*_recording(scope, "Raw", scope.raw, raw_key))


def _reader(scope: Scope) -> Policy:
    clean = _reading(scope, "Clean", scope.clean, clean_key, older_clean_key) if scope.clean else ()
    return _allowing(*_reading(scope, "Raw", scope.raw, raw_key), *clean)


def _uploader(scope: Scope) -> Policy:
    files = _objects(scope, scope.raw, lambda schema: data_key(schema, "*", "*", "*"))
    scratch = scope.arn(scope.raw, probe_key("*"))
    return _allowing(
        *_recording(scope, "Raw", scope.raw, raw_key),
        _allow("RawFiles", [GET, PUT], files),
        _allow("RawUnfinishedFiles", [ABORT], [*files, scratch]),
    )


def _cleaner(scope: Scope) -> Policy:
    return _allowing(
        *_reading(scope, "Raw", scope.raw, raw_key),
        *_recording(scope, "Clean", scope.clean, clean_key),
        _allow("CleanOlderDocuments", [GET], _objects(scope, scope.clean, older_clean_key)),
        # In a folder at least, where the documents are not.
        _allow("CleanFiles", [GET, DELETE], _objects(scope, scope.clean, lambda schema: f"{schema}/*/*")),
        # What the documents of any schema name, a sweep keeps.
        _allow("SweepRawDocuments", [GET], [scope.arn(scope.raw, raw_key("*"))]),
        _allow("SweepCleanDocuments", [GET], [scope.arn(scope.clean, of("*")) for of in (raw_key, older_clean_key)]),
    )


def _auditor(scope: Scope) -> Policy:
    documents = _objects(scope, scope.raw, raw_key)
    return _allowing(
        _allow("RawFilesAndDocuments", [GET], _objects(scope, scope.raw, lambda schema: f"{schema}/*")),
        _allow("RawRestoredDocuments", [GET_VERSION, PUT], documents),
        _allow("RawBucket", [LIST, LIST_VERSIONS], [scope.arn(scope.raw)]),
    )


def _recording(scope: Scope, side: str, bucket: str, document: Callable[[str], str]) -> Sequence[Statement]:
    inbox = [f"{inbox_prefix(key)}*" for key in scope.keys(document)]
    return (
        _allow(f"{side}Documents", [GET, PUT], _objects(scope, bucket, document)),
        _allow(f"{side}Inbox", [GET, PUT, DELETE, DELETE_VERSION], [scope.arn(bucket, key) for key in inbox]),
        _allow(f"{side}SetAside", [PUT], [scope.arn(bucket, aside_key(key)) for key in inbox]),
        _allow(f"{side}Examination", [GET, PUT, DELETE], [scope.arn(bucket, probe_key("*"))]),
        _allow(f"{side}Bucket", [LIST], [scope.arn(bucket)]),
    )


def _reading(scope: Scope, side: str, bucket: str, *documents: Callable[[str], str]) -> Sequence[Statement]:
    return (
        _allow(f"{side}Documents", [GET], _objects(scope, bucket, *documents)),
        _allow(f"{side}Bucket", [LIST], [scope.arn(bucket)]),
    )


def _raw_bucket(scope: Scope) -> Policy:
    both = scope.clean == scope.raw
    return _guarding(scope, scope.raw, raw_key, *((clean_key, older_clean_key) if both else ()))


def _clean_bucket(scope: Scope) -> Policy:
    both = scope.clean == scope.raw
    return _guarding(scope, scope.clean, clean_key, older_clean_key, *((raw_key,) if both else ()))


def _guarding(scope: Scope, bucket: str, *documents: Callable[[str], str]) -> Policy:
    guarded = {"Effect": "Deny", "Principal": "*", "Resource": _objects(scope, bucket, *documents)}
    # Both absent: of keys that stand in one condition, all have to hold.
    unconditional = {"Null": {"s3:if-match": "true", "s3:if-none-match": "true"}}
    return _allowing(
        {"Sid": "WritesSayWhatTheyReplace", **guarded, "Action": PUT, "Condition": unconditional},
        {"Sid": "DocumentsStay", **guarded, "Action": [DELETE, DELETE_VERSION]},
    )


def _lifecycle(scope: Scope) -> Policy:
    documents = [of(schema) for schema in scope.schemas for of in (raw_key, clean_key)] or [""]
    scratch = {"inbox": f"{INTERNAL_PREFIX}inbox/", "examination": probe_key("")}
    return {
        "Rules": [
            *(_rule(f"cf-data-tracker documents {number}", key, KEPT) for number, key in enumerate(documents, 1)),
            *(_rule(f"cf-data-tracker {name}", prefix, {"NoncurrentDays": 1}) for name, prefix in scratch.items()),
            {
                "ID": "cf-data-tracker unfinished uploads",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": UNFINISHED_DAYS},
            },
        ]
    }


def _rule(name: str, prefix: str, kept: Mapping[str, int]) -> Statement:
    return {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "NoncurrentVersionExpiration": dict(kept),
        "Expiration": {"ExpiredObjectDeleteMarker": True},
    }


def _allowing(*statements: Statement) -> Policy:
    return {"Version": VERSION, "Statement": list(statements)}


def _allow(sid: str, actions: Sequence[str], resources: Sequence[str]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _objects(scope: Scope, bucket: str, *of: Callable[[str], str]) -> list[str]:
    return [scope.arn(bucket, key) for key in scope.keys(*of)]


_POLICIES: Final[Mapping[Role, Callable[[Scope], Policy]]] = {
    Role.RECORDER: _recorder,
    Role.READER: _reader,
    Role.UPLOADER: _uploader,
    Role.CLEANER: _cleaner,
    Role.AUDITOR: _auditor,
    Role.BUCKET: _raw_bucket,
    Role.CLEAN_BUCKET: _clean_bucket,
    Role.LIFECYCLE: _lifecycle,
}


def _check_size(role: Role, policy: Policy) -> None:
    size, limit, unit = _size(role, policy)
    if size > limit:
        raise InvalidNameError(
            f"the policy {role.value} would have {size} {unit}, and AWS takes {limit}: name fewer schemas, in several "
            "policies, or none, which means all"
        )


def _size(role: Role, policy: Policy) -> tuple[int, int, str]:
    """Return how large a policy is, how large it may be, and in what that is counted."""
    rules = policy.get("Rules")
    if isinstance(rules, list):
        return len(rules), MAX_RULES, "rules"
    if role in (Role.BUCKET, Role.CLEAN_BUCKET):
        return len(json.dumps(policy, indent=2)), MAX_BUCKET, "bytes"
    return len(json.dumps(policy, separators=(",", ":"))), MAX_IDENTITY, "characters"
