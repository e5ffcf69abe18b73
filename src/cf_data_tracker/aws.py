"""What AWS's names mean: the partition of a region, the hosts that are AWS's S3, and buckets that are none for us.

Partitions and their domains are botocore's own data. It is read when it is first asked for: importing botocore takes a
while.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, cast
from urllib.parse import urlsplit

_S3: Final = re.compile(
    r"(?:(?P<before>.+)\.)?"
    r"(?P<s3>s3(?:express)?(?:-[a-z0-9-]+)?(?:\.dualstack)?(?:\.[a-z]+(?:-[a-z]+)+-[0-9]+)?(?:\.vpce)?)"
)
"""An S3 host in front of a partition's domain. Load balancers and virtual machines have names in that domain as well,
and a store of any kind may stand behind them."""

_VPC_ENDPOINT: Final = re.compile(r"(?:(?:bucket|accesspoint|control)\.)?vpce-[a-z0-9-]+")

_NO_BUCKETS: Final = {
    "--x-s3": "an S3 Express directory bucket, whose listings have no order",
    "--xa-s3": "an access point of an S3 Express directory bucket, whose listings have no order",
    "--table-s3": "a table bucket, which takes no files",
    "--ol-s3": "an Object Lambda access point, which may change what is read",
    "--op-s3": "an access point of S3 on Outposts",
    "-ext-s3alias": "an access point of a file system",
    ".mrap": "a Multi-Region Access Point, whose buckets are copies that lag behind each other",
}
"""Names that AWS gives to what is no general purpose bucket, by their ends. An access point of such a bucket
(`-s3alias`) is another name of it."""


def misfit(bucket: str) -> str | None:
    """Return why a bucket cannot hold tracker documents, by its name and with what to do; `None` if it can."""
    if bucket.startswith("arn:"):
        return "is an ARN: name the bucket, or the alias of its access point (which ends with -s3alias)"
    what = next((what for end, what in _NO_BUCKETS.items() if bucket.endswith(end)), None)
    return None if what is None else f"is {what}: use a general purpose bucket"


def partition_of(region: str | None) -> str:
    """Return the partition of a region, as it stands in an ARN: AWS's main one, `aws`, if botocore knows no other."""
    for partition in _partitions():
        if region and (region in partition["regions"] or re.match(partition["regionRegex"], region)):
            return cast("str", partition["id"])
    return "aws"


def is_s3_host(host: str) -> bool:
    """Return whether a host is an S3 endpoint of AWS itself, in any partition."""
    return _split(host) is not None


def bare_s3_host(host: str) -> str:
    """Return AWS's S3 host without the bucket or access point in front of it; others as they are."""
    found = _split(host)
    if found is None:
        return host
    before, s3, domain = found
    return f"{s3}.{domain}" if before and not _VPC_ENDPOINT.fullmatch(before) else host


def host_of(endpoint_url: str) -> str:
    """Return the host of an endpoint, in small letters and without the dot that may end it; `""` if it has none."""
    try:
        return (urlsplit(endpoint_url).hostname or "").removesuffix(".")
    except ValueError:  # brackets that are none
        return ""


def _split(host: str) -> tuple[str, str, str] | None:
    if "s3" not in host:  # then it is none, and the data need not be read
        return None
    for domain in _domains():
        if host.endswith(f".{domain}") and (found := _S3.fullmatch(host.removesuffix(f".{domain}"))):
            return found["before"] or "", found["s3"], domain
    return None


@cache
def _domains() -> Sequence[str]:
    return [one["outputs"][kind] for one in _partitions() for kind in ("dnsSuffix", "dualStackDnsSuffix")]


@cache
def _partitions() -> Sequence[Mapping[str, Any]]:
    from botocore.loaders import create_loader  # noqa: PLC0415 - it takes a while

    return cast("Sequence[Mapping[str, Any]]", create_loader().load_data("partitions")["partitions"])
