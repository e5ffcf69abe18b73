"""What AWS makes of policies, as far as ours go, and a gate in front of a boto3 client that answers as AWS would.

Allow and Deny, wildcards and their escapes, and the operator `Null`; anything else in a policy is an error here. Of a
request it is known which rights it takes: a write or a deletion that names an ETag takes that of reading as well.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

READS = ("GetObject", "HeadObject")
WRITES = ("PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject")
LISTS = {"ListObjectsV2": "s3:ListBucket", "ListObjectVersions": "s3:ListBucketVersions"}
NOT_FOUND = 404
DENIED: dict[str, Any] = {
    "Error": {"Code": "AccessDenied", "Message": "Access Denied"},
    "ResponseMetadata": {"HTTPStatusCode": 403},
}
ESCAPES = {"${*}": r"\*", "${?}": r"\?", "${$}": r"\$", "*": ".*", "?": "."}


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A right that a request takes: an action, on what, and which conditions it names."""

    action: str
    resource: str
    named: frozenset[str] = frozenset()


def needs_of(operation: str, params: Mapping[str, Any]) -> Iterator[Need]:
    """Yield what a request takes."""
    bucket = f"arn:aws:s3:::{params['Bucket']}"
    if operation in LISTS:
        yield Need(action=LISTS[operation], resource=bucket)
    elif operation == "DeleteObjects":
        for doomed in params["Delete"]["Objects"]:
            yield from needs_of("DeleteObject", {"Bucket": params["Bucket"], **doomed})
    else:
        yield from _needs_of_object(operation, params, f"{bucket}/{params['Key']}")


def _needs_of_object(operation: str, params: Mapping[str, Any], resource: str) -> Iterator[Need]:
    version = "Version" if "VersionId" in params else ""
    if operation in READS:
        yield Need(action=f"s3:GetObject{version}", resource=resource)
    elif operation == "DeleteObject":
        yield Need(action=f"s3:DeleteObject{version}", resource=resource)
        if "IfMatch" in params:
            yield Need(action="s3:GetObject", resource=resource)
    elif operation == "AbortMultipartUpload":
        yield Need(action="s3:AbortMultipartUpload", resource=resource)
    elif operation in WRITES:
        names = {"IfMatch": "s3:if-match", "IfNoneMatch": "s3:if-none-match"}
        named = frozenset(key for name, key in names.items() if name in params)
        yield Need(action="s3:PutObject", resource=resource, named=named)
        if "IfMatch" in params:
            yield Need(action="s3:GetObject", resource=resource)
    else:
        raise AssertionError(f"which rights does {operation} take?")


def matches(pattern: str, resource: str) -> bool:
    """Return whether a resource is meant by a pattern of a policy."""
    parts = re.split(r"(\$\{[*?$]\}|\*|\?)", pattern)
    return re.fullmatch("".join(ESCAPES.get(part, re.escape(part)) for part in parts), resource) is not None


def _holds(statement: Mapping[str, Any], need: Need) -> bool:
    conditions = statement.get("Condition", {"Null": {}})
    assert set(conditions) == {"Null"}
    return all((key not in need.named) == (wanted == "true") for key, wanted in conditions["Null"].items())


def _each(value: str | Sequence[str]) -> Sequence[str]:
    return [value] if isinstance(value, str) else value


def decisive(statement: Mapping[str, Any], need: Need) -> tuple[str, str] | None:
    """Return the action and the resource by which a statement is about a need, or `None` where it is not."""
    if need.action in _each(statement["Action"]) and _holds(statement, need):
        for pattern in _each(statement["Resource"]):
            if matches(pattern, need.resource):
                return need.action, pattern
    return None


@dataclass(kw_only=True)
class Gate:
    """Lets a client ask for what policies allow, answers 403 to the rest, and notes which rights were used.

    Attributes:
        policies: Those of the caller and of the buckets.
        refused: What was refused.
        used: By statement, the actions and the resources that were used.
        before: Is called before each request, with the operation and the key.
    """

    policies: Sequence[Mapping[str, Any]]
    refused: list[Need] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)
    before: Callable[[str, str], None] = lambda operation, key: None  # noqa: ARG005

    def put_before(self, client: "S3Client") -> "S3Client":
        """Put the gate before a client, and return it."""
        client.meta.events.register("before-parameter-build.s3", self._note)
        client.meta.events.register("before-call.s3", self._judge)  # type: ignore[arg-type]  # it may answer
        client.meta.events.register("after-call.s3", self._hide)
        return client

    def allows(self, need: Need) -> bool:
        """Return whether a need is met: by an Allow, and no Deny. An Allow that was used is noted."""
        allowed = False
        for statement in (statement for policy in self.policies for statement in policy["Statement"]):
            found = decisive(statement, need)
            if found is not None and statement["Effect"] == "Deny":
                return False
            if found is not None:
                allowed = True
                self.used.update((statement["Sid"], what) for what in found)
        return allowed

    def _note(self, params: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        context["asked"] = dict(params)

    def _judge(self, model: Any, context: dict[str, Any], **_: object) -> tuple[AWSResponse, dict[str, Any]] | None:  # noqa: ANN401 - botocore's
        asked = context["asked"]
        self.before(model.name, asked.get("Key", ""))
        denied = [need for need in needs_of(model.name, asked) if not self.allows(need)]
        if not denied:
            return None
        self.refused += denied
        return AWSResponse("", 403, HTTPHeaders(), None), dict(DENIED)

    def _hide(self, http_response: AWSResponse, parsed: dict[str, Any], context: dict[str, Any], **_: object) -> None:
        """Answer 403 for what is not there, as S3 does, to whoever may not list the bucket."""
        asked = context["asked"]
        if "Key" in asked and "UploadId" not in asked and http_response.status_code == NOT_FOUND:
            need = Need(action="s3:ListBucket", resource=f"arn:aws:s3:::{asked['Bucket']}")
            if not self.allows(need):
                self.refused.append(need)
                http_response.status_code = 403
                parsed.update(DENIED)


def granted(policy: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return, by statement, the actions and the resources that a policy allows."""
    return {
        (statement["Sid"], what)
        for statement in policy["Statement"]
        for what in (*_each(statement["Action"]), *_each(statement["Resource"]))
    }
