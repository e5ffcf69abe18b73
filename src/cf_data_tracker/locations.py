"""What a name of a clean file, or a recorded location, may mean in a bucket.

Callers name one object in many ways: by its key, by a URL of one scheme or another, by the URL of HTTP, by an ARN, by
a directory or a pattern that holds it. Two questions are answered here, for two purposes. Which key a name gives *for
certain*: only such an object may be deleted. And which keys it *may* mean: none of these may be deleted while a
document names them. The second answer errs on the side of too many.

Which documents count, and what is deleted, is left to `named` and `sweep`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.names import S3_SCHEMES, in_s3

AWS_SUFFIXES: Final = (
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".api.aws",
    ".api.amazonwebservices.com.cn",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
)
"""How the hosts of S3 end in AWS's partitions; from botocore's `endpoints.json`."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ARN: Final = re.compile(r"arn:[a-z0-9-]+:s3:([^:]*):([^:]*):(.*)", re.DOTALL)
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_WILDCARD: Final = re.compile(r"[*?\[{]")
_ALIAS: Final = re.compile(r".*-s3alias|.*--ol-s3|arn:.*", re.DOTALL)
_OTHER_SERVICES: Final = ("s3-accesspoint", "s3-object-lambda", "s3-outposts")


@dataclass(frozen=True, kw_only=True, slots=True)
class Meaning:
    """What a name means, seen from one bucket.

    Attributes:
        written: The bucket and the key as they are written; `None` where the form does not give them.
        sure: Whether the name gives this bucket and key, and can mean nothing else.
        keys: The keys of the bucket that it may mean; each stands for all that lies below it as well.
        prefixes: Keys that begin so it may mean as well.
    """

    written: tuple[str, str] | None
    sure: bool
    keys: frozenset[str] = frozenset()
    prefixes: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """A name taken apart: what is written, whether by its form it is certain, and what else the key may be."""

    written: tuple[str, str] | None = None
    sure: bool = False
    candidates: tuple[str, ...] = ()


class Names:
    """Keys of one bucket that names may mean, each with a reason to keep the object."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}
        self._prefixes: dict[str, str] = {}

    def add(self, meaning: Meaning, reason: str) -> None:
        """Add what a name may mean; of two reasons for one key the first stays."""
        for key in meaning.keys:
            self._keys.setdefault(key, reason)
        for prefix in meaning.prefixes:
            self._prefixes.setdefault(prefix, reason)

    def reason(self, key: str) -> str | None:
        """Return why the object under a key is to be kept; `None` if no name can mean it."""
        for end in (len(key), *(place for place, letter in enumerate(key) if letter == "/")):
            if key[:end] in self._keys:
                return self._keys[key[:end]]
        return next((reason for prefix, reason in self._prefixes.items() if key.startswith(prefix)), None)


def meaning(name: str, bucket: str, host: str | None = None) -> Meaning:
    """Return what a name means, seen from a bucket.

    Args:
        name: The name. Without a scheme it is a key of the bucket.
        bucket: The bucket.
        host: Host and port of its endpoint; `""` for AWS, `None` if unknown.
    """
    read = _read(name, bucket, host)
    keys: set[str] = set()
    prefixes: set[str] = set()
    for key in _variants(read.candidates):
        wildcard = _WILDCARD.search(key)
        if wildcard:
            prefixes.add(key[: wildcard.start()])
        if key.strip("/"):
            keys.add(key.rstrip("/"))
        else:
            prefixes.add("")  # a bucket without a key: whatever is in it
    sure = read.sure and read.written is not None and _is_plain(read.written[1])
    return Meaning(written=read.written, sure=sure, keys=frozenset(keys), prefixes=frozenset(prefixes))


def check_clean_file(what: str, name: str) -> None:
    """Raise if a text can be no name of objects in S3.

    Raises:
        InvalidNameError: It is a URL of another scheme, or one of S3 or HTTP without a bucket or a key.
    """
    scheme = _scheme_of(name)
    if scheme is None:
        return
    # The name itself is not shown: a URL may hold credentials.
    if f"{scheme}://" not in S3_SCHEMES and scheme not in ("http", "https"):
        raise InvalidNameError(
            f"{what} must name an object in S3, got a URL of the scheme {scheme}://: record its key, or s3://BUCKET/KEY"
        )
    authority, path = _parts(name)
    if not authority or not path.strip("/"):
        raise InvalidNameError(f"{what} must name an object in S3, got a URL without a bucket or a key: add it")


def _read(name: str, bucket: str, host: str | None) -> _Read:
    text = name.strip()
    scheme = _scheme_of(text)
    if scheme in ("http", "https"):
        return _of_http(text, bucket, host)
    if scheme is not None and f"{scheme}://" in S3_SCHEMES:
        return _in_bucket(in_s3(text) or ("", ""), bucket, sure=text == name)
    if scheme is not None:
        return _Read(candidates=tuple(_tails(text.partition("://")[2])))
    if arn := _ARN.fullmatch(text):
        return _of_arn(*arn.groups(), bucket=bucket)
    first, _, rest = text.partition("/")
    also = (rest,) if first.lower() == bucket.lower() and rest else ()  # as s3fs writes paths
    also = (*also, *_tails(text)) if text.startswith("/") else also
    return _Read(written=(bucket, name), sure=True, candidates=(name, *also) if text else ())


def _of_http(text: str, bucket: str, host: str | None) -> _Read:
    authority, path = _parts(text)
    plain = path.partition("?")[0].partition("#")[0]
    bare = plain == path and "+" not in path  # S3 reads a plus in the path of a URL as a blank
    authority = authority.rpartition("@")[2].lower().rstrip(".")
    name = _aws_bucket(authority.partition(":")[0])
    if name is not None:
        named = (name, plain) if name else _first_part(plain)
        return _in_bucket(named, bucket, sure=bare and host == "", more=(path,))
    if host and authority == host.lower():
        return _in_bucket(_first_part(plain), bucket, sure=bare, more=(path,))
    if host and authority == f"{bucket}.{host}".lower():
        return _in_bucket((bucket, plain), bucket, sure=bare, more=(path,))
    return _Read(candidates=(*_tails(plain), path))  # a name of one's own for the bucket, a gateway, a cache


def _of_arn(region: str, account: str, resource: str, *, bucket: str) -> _Read:
    if region or account:  # an access point, whose bucket is not in its name
        return _Read(candidates=tuple(_tails(resource)))
    return _in_bucket(_first_part(resource), bucket, sure=True)


def _in_bucket(named: tuple[str, str], bucket: str, *, sure: bool, more: tuple[str, ...] = ()) -> _Read:
    """Return the reading of a bucket and a key: another bucket's key means nothing in this one."""
    name, key = named
    secret, _, name = name.rpartition("@")  # as Hadoop took keys and secrets once
    if name == bucket:
        return _Read(written=(name, key), sure=sure and not secret, candidates=(key, *more))
    if not name or name.lower() == bucket.lower() or _ALIAS.fullmatch(name):
        return _Read(written=named if name else None, candidates=tuple(_tails(key)))
    return _Read(written=(name, key), sure=sure)


def _aws_bucket(host: str) -> str | None:
    """Return the bucket in a host of AWS's S3, `""` where the path begins with it; `None` for any other host."""
    suffix = next((suffix for suffix in AWS_SUFFIXES if host.endswith(suffix)), None)
    if suffix is None:
        return None
    labels = host.removesuffix(suffix).split(".")
    services = [place for place, label in enumerate(labels) if label == "s3" or label.startswith("s3-")]
    if not services or labels[services[-1]] in _OTHER_SERVICES:
        return None
    return ".".join(labels[: services[-1]])


def _variants(candidates: Iterable[str]) -> set[str]:
    """Return the keys with all that each may have been before it was written down."""
    found = set(candidates)
    for step in _STEPS:
        found |= {step(one) for one in found}
    return found


def _unquoted(text: str) -> str:
    while (decoded := unquote(text, errors="surrogateescape")) != text:
        text = decoded
    return text


def _normalised(text: str) -> str:
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def _form(form: str) -> Callable[[str], str]:
    return lambda text: text if text.isascii() else unicodedata.normalize(form, text)  # type: ignore[arg-type]


_STEPS: Final[tuple[Callable[[str], str], ...]] = (
    _unquoted,
    lambda text: text.replace("+", " "),
    lambda text: text.partition("#")[0] or text,
    lambda text: text.replace("\\", "/"),
    _normalised,
    str.strip,
    _form("NFC"),
    _form("NFD"),
)


def _is_plain(key: str) -> bool:
    """Return whether a key can be read in one way only."""
    doubtful = _ESCAPE.search(key) or _WILDCARD.search(key) or "\\" in key or key != key.strip()
    return not doubtful and key == _normalised(key) and bool(key)


def _tails(path: str) -> Iterator[str]:
    """Yield a path, and what is left of it without its first part, its first two, and so on."""
    yield path
    yield from (path[place + 1 :] for place, letter in enumerate(path) if letter == "/" and path[place + 1 :])


def _first_part(path: str) -> tuple[str, str]:
    first, _, rest = path.partition("/")
    return first, rest


def _parts(url: str) -> tuple[str, str]:
    return _first_part(url.partition("://")[2])


def _scheme_of(text: str) -> str | None:
    found = _SCHEME.match(text.strip())
    return found[1].lower() if found else None
