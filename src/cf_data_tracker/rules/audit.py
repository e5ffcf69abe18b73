"""What a bucket should hold by its tracker, and what a listing shows of it: one merge of two sorted lists, no request.

- A recorded version has an object at its location, of its size and with its bytes.
- An object under the schema's prefix is the tracker's own, or a version is recorded of it.

Bytes are judged by what a listing has: the ETag that the object had when it was recorded, or the MD5 of its bytes,
which an ETag is unless the object came in parts. Where these do not settle it, that is the answer (`Content`); whether
to ask further is left to `audit`.

Several versions may name one object: buckets of the earlier package hold file names to which one file was uploaded
again and again. Of the versions of one file name the newest says what is there now; the bytes of the others were
overwritten, and nothing that is done today brings them back, so they are counted and are no findings.
"""

import heapq
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import groupby
from operator import itemgetter
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, unquote_plus

from cf_data_tracker.document import Document, versions_of
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import FileVersion
from cf_data_tracker.names import check_name, clean_key, in_s3, older_clean_key, raw_key, shortened
from cf_data_tracker.store import Listed

Kind: TypeAlias = Literal["missing", "size", "checksum", "orphan"]
"""No object is where a version was recorded; it has another size; it has other bytes; no version is recorded of it."""

Sought: TypeAlias = tuple[str, FileVersion]
"""A key of the bucket, and a version that is recorded with it."""

ANOTHER_BUCKET: Final = "in another bucket"
NO_URL: Final = "no URL of an object in S3"

MD5_DIGITS: Final = 32
SHA256_DIGITS: Final = 64
DIGITS: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """Something that is wrong between a tracker and its bucket.

    Attributes:
        kind: What is: `missing`, `size`, `checksum` or `orphan`.
        location: The object's URL.
        sentence: What was expected there and what was found.
        found: The object as it was listed; `None` where there is none.
    """

    kind: Kind
    location: str
    sentence: str
    found: Listed | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NotLookedAt:
    """Versions whose location says that they are not in this bucket.

    Attributes:
        reason: Why.
        versions: How many.
        example: The location of one of them, cut short if it is long.
    """

    reason: str
    versions: int
    example: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a document says of a bucket.

    Attributes:
        versions: How many versions it has.
        inside: Those under the schema's prefix, in the order of their keys.
        outside: Those elsewhere in the bucket, in the order of their keys.
        not_looked_at: Those that are not in it.
    """

    versions: int
    inside: Sequence[Sought]
    outside: Sequence[Sought]
    not_looked_at: tuple[NotLookedAt, ...]


class Content(Enum):
    """What a listing tells of an object's bytes."""

    SAME = "they are what was recorded"
    OTHER_ETAG = "the ETag is not the recorded one"
    OTHER_MD5 = "the ETag is not the recorded MD5"
    UNKNOWN = "nothing was recorded that a listing has, too"


def expected(document: Document | None, schema: str, home: str) -> Expected:
    """Return what the document of a schema says of the bucket whose URL is `home`."""
    inside: list[Sought] = []
    outside: list[Sought] = []
    away: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for version in versions_of(document, schema):
        key, reason = _key_in(home, version.s3_location)
        if reason:
            away[reason] += 1
            examples.setdefault(reason, shortened(str(version.s3_location), to=200))
        else:
            (inside if key.startswith(f"{schema}/") else outside).append((key, version))
    return Expected(
        versions=len(inside) + len(outside) + away.total(),
        inside=sorted(inside, key=itemgetter(0)),
        outside=sorted(outside, key=itemgetter(0)),
        not_looked_at=tuple(NotLookedAt(reason=why, versions=away[why], example=examples[why]) for why in sorted(away)),
    )


def merged(
    sought: Iterable[Sought], listed: Iterable[Listed]
) -> Iterator[tuple[str, Listed | None, Sequence[FileVersion]]]:
    """Yield each key, in their order, with its object and the versions that are recorded with it."""
    shown: Iterator[tuple[str, FileVersion | Listed]] = ((one.key, one) for one in listed)
    both = heapq.merge(sought, shown, key=itemgetter(0))
    for key, group in groupby(both, key=itemgetter(0)):
        found: Listed | None = None
        versions: list[FileVersion] = []
        for _, one in group:
            if isinstance(one, Listed):
                found = one
            else:
                versions.append(one)
        yield key, found, versions


def newest(versions: Sequence[FileVersion]) -> Sequence[FileVersion]:
    """Return, of versions that name one object, the newest of each file name."""
    if len(versions) == 1:
        return versions
    latest: dict[tuple[str, str], FileVersion] = {}
    for version in versions:
        known = latest.get((version.table, version.file_name))
        if known is None or known.version <= version.version:
            latest[version.table, version.file_name] = version
    return list(latest.values())


def content_of(version: FileVersion, found: Listed) -> Content:
    """Return whether an object's bytes are those of a version, as far as a listing tells."""
    if isinstance(version.etag, str):
        return Content.SAME if version.etag.strip('"') == found.etag else Content.OTHER_ETAG
    md5 = md5_of(version)
    if md5 is None or not _is_digest(found.etag.lower(), MD5_DIGITS):
        return Content.UNKNOWN
    return Content.SAME if md5 == found.etag.lower() else Content.OTHER_MD5


def differs_in_size(version: FileVersion, found: Listed) -> bool:
    """Return whether a size was recorded, and the object has another."""
    return type(version.file_size) is int and version.file_size != found.size  # older documents may hold anything


def was_overwritten(version: FileVersion, found: Listed) -> bool:
    """Return whether an object shows that it is no longer what an older version was recorded with."""
    return differs_in_size(version, found) or content_of(version, found) in (Content.OTHER_ETAG, Content.OTHER_MD5)


def sha256_of(version: FileVersion) -> str | None:
    """Return the SHA-256 that a version was recorded with, in hexadecimal; `None` if there is none."""
    return _digest_in(version.checksum, "sha256", SHA256_DIGITS)


def md5_of(version: FileVersion) -> str | None:
    """Return the MD5 that a version was recorded with, in hexadecimal; `None` if there is none."""
    return _digest_in(version.checksum, "md5", MD5_DIGITS)


def is_own(schema: str, key: str) -> bool:
    """Return whether an object needs no record: a document, or what a console makes to show an empty folder."""
    return key.endswith("/") or key in (raw_key(schema), clean_key(schema), older_clean_key(schema))


def place_of(schema: str, key: str) -> tuple[str, str, str]:
    """Return the table, the file name and the file whose object stands under a key.

    Raises:
        InvalidNameError: It is not a key that a version's object has by default.
    """
    parts = key.removeprefix(f"{schema}/").split("/")
    if len(parts) != len(("table", "file_name", "file")):
        raise InvalidNameError(f"its key is not {schema}/TABLE/FILE_NAME/FILE")
    table, file_name, file = parts
    return check_name("table", table), check_name("file_name", file_name), check_name("file", file)


def just_before(key: str) -> str:
    """Return a text that comes before a key, with little room for other keys between the two."""
    previous = chr(max(ord(key[-1]) - 1, 0))
    return key[:-1] + (previous if previous.isascii() and previous.isprintable() else "")


def missing(version: FileVersion, location: str) -> Finding:
    """Return the finding that a version has no object."""
    return Finding(
        kind="missing", location=location, sentence=f"{_name_of(version)} is recorded, and no object is there"
    )


def hinted(finding: Finding, unrecorded: Container[str]) -> Finding:
    """Return the finding; if an object without a record has the decoded key of a missing one, its sentence says so.

    S3 percent-encodes keys in event notifications, by the rules of forms: a space comes as `+`.

    Args:
        finding: What is wrong.
        unrecorded: The locations of the objects of which no version is recorded.
    """
    if finding.kind != "missing":
        return finding
    for decoded in (unquote_plus(finding.location), unquote(finding.location)):
        if decoded != finding.location and decoded in unrecorded:
            hint = (
                f"{decoded} is there and has no record: the recorded key is percent-encoded, as S3 has it in events; "
                "decode it with urllib.parse.unquote_plus before it is recorded"
            )
            return replace(finding, sentence=f"{finding.sentence}; {hint}")
    return finding


def other_size(version: FileVersion, location: str, found: Listed) -> Finding:
    """Return the finding that an object has not the size that was recorded."""
    sentence = f"{_name_of(version)} was recorded with {version.file_size} bytes, the object has {found.size}"
    return Finding(kind="size", location=location, sentence=sentence, found=found)


def other_content(version: FileVersion, location: str, found: Listed, why: str) -> Finding:
    """Return the finding that an object has not the bytes that were recorded."""
    sentence = f"{_name_of(version)} was recorded with other bytes: {why}"
    return Finding(kind="checksum", location=location, sentence=sentence, found=found)


def orphan(location: str, found: Listed, written: str) -> Finding:
    """Return the finding that no version is recorded of an object."""
    sentence = f"no version is recorded of this object of {found.size} bytes, written {written}"
    return Finding(kind="orphan", location=location, sentence=sentence, found=found)


def without(candidates: Iterable[Listed], known: Container[str]) -> list[Listed]:
    """Return the objects whose keys are not known."""
    return [one for one in candidates if one.key not in known]


def _key_in(home: str, location: object) -> tuple[str, str]:
    """Return the key that a location names in a bucket and nothing, or why it names none."""
    if not isinstance(location, str):
        return "", NO_URL
    bucket, key = in_s3(location) or ("", "")
    url = f"s3://{bucket}/{key}" if bucket else location
    if url.startswith(home):
        return (url.removeprefix(home), "") if url != home else ("", NO_URL)
    return "", ANOTHER_BUCKET if bucket and key else NO_URL


def _digest_in(checksum: object, algorithm: str, digits: int) -> str | None:
    if not isinstance(checksum, str):
        return None
    text = checksum.lower().removeprefix(f"{algorithm}:")
    return text if _is_digest(text, digits) else None


def _is_digest(text: str, digits: int) -> bool:
    return len(text) == digits and DIGITS.issuperset(text)


def _name_of(version: FileVersion) -> str:
    return f"{version.table}/{version.file_name} version {version.version} ({version.file})"
