"""Names and the S3 keys made of them.

A name becomes part of a key, so whatever S3, a shell or a reader would stumble over is refused here, before anything
is sent. Reading accepts whatever names a stored document holds; only what callers hand in is checked.
"""

import operator
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, Final, cast

from cf_data_tracker.errors import InvalidNameError

INTERNAL_PREFIX: Final = "_cf_tracker/"
"""Everything of ours that is no document lies under this prefix, which no schema may therefore take."""

MAX_NAME_BYTES: Final = 255
"""A schema stands twice in its key, which S3 limits to 1,024 bytes of UTF-8; file systems stop at 255 as well."""

MAX_TEXT_BYTES: Final = 2048
"""The longest location or date accepted: an S3 URL is at most 1,024 bytes of key, a bucket and a few more."""

MAX_COUNT: Final = 2**63 - 1
"""What other readers of JSON take for an integer; Python itself prints none of more than 4,300 digits."""

MAX_KEY_BYTES: Final = 1024
"""S3's limit for a key."""

MAX_DOCUMENT_BYTES: Final = 256 << 20
"""The longest document that is read: about 700,000 versions."""

S3_SCHEMES: Final = ("s3://", "s3a://", "s3n://")
"""How the URL of an object begins, as Hadoop's file systems write it, too."""

YEAR: Final = 366 * 24 * 3600.0

_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_INVISIBLE: Final = frozenset({"Cf", "Zs"})
"""Format characters (zero-width, bidirectional) and spaces: among the latter the usual one is welcome."""


def check_name(what: str, value: object) -> str:
    """Return `value` if it can name a schema, table, file name or file.

    Raises:
        InvalidNameError: It is not text, is blank or over 255 bytes, or holds `/`, `..` or a control character.
    """
    name = check_text(what, value, at_most=MAX_NAME_BYTES)
    if "/" in name:
        raise InvalidNameError(f"{what} must not contain '/', got {shown(name)}: give the last part of the path alone")
    if name == "." or ".." in name:
        raise InvalidNameError(f"{what} must not be '.' or contain '..', got {shown(name)}")
    return name


def check_schema(value: object) -> str:
    """Return `value` if it can name a schema, whose documents stand under `{schema}/` in the bucket.

    Raises:
        InvalidNameError: It is no name (see `check_name`), or the one that this library keeps for itself.
    """
    schema = check_name("schema", value)
    if f"{schema}/" == INTERNAL_PREFIX:
        raise InvalidNameError(f"schema must not be {shown(schema)}: the tracker keeps its own objects there")
    return schema


def check_text(what: str, value: object, *, at_most: int = MAX_TEXT_BYTES) -> str:
    """Return `value` as a plain `str` (see `plain`) if it is one line of text that is not blank.

    Raises:
        InvalidNameError: It is not text, blank, no Unicode (the name of a local file may be other bytes), longer than
            `at_most` bytes of UTF-8, or holds a control character.
    """
    text: str = plain(value)
    if type(text) is not str:
        raise InvalidNameError(f"{what} must be text, got {shown(value)}")
    if not text.strip():
        raise InvalidNameError(f"{what} must not be empty")
    categories = {unicodedata.category(character) for character in text}
    if "Cs" in categories:
        raise InvalidNameError(f"{what} must be UTF-8, got {shown(text)}: give it another name")
    if not categories.isdisjoint(_UNPRINTABLE):
        raise InvalidNameError(f"{what} must not contain control characters, got {shown(text)}")
    if len(text.encode()) > at_most:
        raise InvalidNameError(f"{what} must be at most {at_most} bytes of UTF-8, got {len(text.encode())}")
    return text


def plain(value: Any) -> Any:  # noqa: ANN401 - what is no text comes back as it is
    """Return the text of a `str` of any subclass as a plain `str`; anything else as it is.

    That of a member of `class Source(str, Enum)` is its value; formatted, it is `Source.VITALS` from Python 3.11 on.
    """
    return str.__str__(value) if issubclass(type(value), str) else value


def ambiguous(name: str) -> str | None:
    """Return why a name may be taken for another one that looks the same; `None` if there is no reason to."""
    odd = dict.fromkeys(sign for sign in name if unicodedata.category(sign) in _INVISIBLE and sign != " ")
    if odd:
        return f"holds characters that cannot be seen: {', '.join(f'U+{ord(sign):04X}' for sign in odd)}"
    if not unicodedata.is_normalized("NFC", name):
        return "is not in Unicode's NFC form, in which most systems write names"
    return None


def check_count(what: str, value: object, *, at_most: float = MAX_COUNT) -> int:
    """Return `value` as an `int` if it is a whole number, 0 or more: NumPy's integers and an integral `Decimal` are.

    Raises:
        InvalidNameError: It is not (neither a `bool` nor a float is one here), or more than `at_most`.
    """
    count = _whole(value)
    if count is None or not 0 <= count <= at_most:
        raise InvalidNameError(f"{what} must be a whole number, 0 or more, got {shown(value)}")
    return count


def _whole(value: Any) -> int | None:  # noqa: ANN401 - anything
    if isinstance(value, Decimal):  # compared first: an exponent may stand for any number of digits
        return int(value) if value.is_finite() and 0 <= value <= MAX_COUNT and value == int(value) else None
    try:
        return None if isinstance(value, bool) else int(operator.index(value))
    except TypeError:
        return None


def check_number(what: str, value: object) -> float:
    """Return `value` if it is a number.

    Raises:
        InvalidNameError: It is not, or a `bool`.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidNameError(f"{what} must be a number, got {shown(value)}")
    return value


def check_seconds(what: str, value: object) -> float:
    """Return `value` as an `int` or a `float` if it is a time that can be waited for.

    Raises:
        InvalidNameError: It is no number, or not more than 0 seconds and at most a year.
    """
    seconds = _number(value)
    if seconds is None or not 0 < seconds <= YEAR:
        raise InvalidNameError(f"{what} must be more than 0 seconds and at most a year, got {shown(value)}")
    return seconds


def _number(value: Any) -> float | None:  # noqa: ANN401 - anything
    if type(value) in (int, float):
        return cast("float", value)
    try:
        return float(value) if type(value) is not bool and isinstance(value, (Real, Decimal)) else None
    except (OverflowError, ValueError):  # a fraction that is too large, a signaling NaN
        return None


def check_choice(what: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` as a plain `str` if it is one of the choices.

    Raises:
        InvalidNameError: It is not; it says which there are.
    """
    choice: str = plain(value)
    if type(choice) is not str or choice not in choices:
        raise InvalidNameError(f"{what} must be one of {', '.join(choices)}, got {shown(value)}")
    return choice


def check_key(what: str, value: object, schemas: Iterable[str]) -> str:
    """Return `value` if it can be the key of a file, beside the documents of these schemas.

    Raises:
        InvalidNameError: It is no text, too long for S3, a place that the tracker keeps for itself, or a folder's.
    """
    key = check_text(what, value, at_most=MAX_KEY_BYTES)
    owners = (*schemas, key.partition("/")[0])  # another schema's documents are no place for a file, either
    documents = [of(schema) for schema in owners for of in (raw_key, clean_key, older_clean_key)]
    if key in documents or key.startswith((INTERNAL_PREFIX, "/")) or key.endswith("/"):
        raise InvalidNameError(f"{what} must not be {shown(key)}: the tracker's own, or no key of a file")
    if any(part in (".", "..") for part in key.split("/")):
        raise InvalidNameError(f"{what} must not have '.' or '..' for a part, got {shown(key)}")
    return key


def in_s3(location: str) -> tuple[str, str] | None:
    """Return the bucket and the key that an S3 URL names, either of them empty if it lacks it; `None` for no S3 URL.

    What else names an object in S3, and what a name may mean, is for `locations`.
    """
    scheme = next((scheme for scheme in S3_SCHEMES if location[: len(scheme)].lower() == scheme), None)
    if scheme is None:
        return None
    bucket, _, key = location[len(scheme) :].partition("/")
    return bucket, key


def shown(value: object) -> str:
    """Return a short, printable form of whatever a caller handed in, for error messages."""
    if isinstance(value, int) and abs(value) > MAX_COUNT:
        return f"an integer of {value.bit_length()} bits"
    value = plain(value)
    exact = type(value) in (str, bytes, int, bool, float, Decimal, type(None))  # a subclass shows itself in any way
    return shortened(ascii(value) if exact else f"a {type(value).__name__}")


def shortened(text: str, *, to: int = 60) -> str:
    """Return `text`, cut with an ellipsis if it is longer than `to` characters."""
    return text if len(text) <= to else f"{text[: to - 3]}..."


def raw_key(schema: str) -> str:
    """Return the key of a schema's document in the raw bucket: the earlier package's, so that its buckets work."""
    return f"{schema}/{schema}_version_info.json"


def clean_key(schema: str) -> str:
    """Return the key of a schema's document in the clean bucket."""
    return f"{schema}/{schema}_clean_version_info.json"


def older_clean_key(schema: str) -> str:
    """Return the key under which releases up to 0.3.11 of the earlier package kept the clean document."""
    return f"{schema}/clean_version.json"


def data_key(schema: str, table: str, file_name: str, file: str) -> str:
    """Return the key of a file in the raw bucket: where users of the earlier package put theirs."""
    return f"{schema}/{table}/{file_name}/{file}"


def probe_key(unique: str) -> str:
    """Return the key of a scratch object of the conformance probe."""
    return f"{INTERNAL_PREFIX}probe/{unique}"


def inbox_prefix(document_key: str) -> str:
    """Return what the keys of a document's inbox begin with: with its `/`, `vital` never sees the inbox of `vitals`."""
    return f"{INTERNAL_PREFIX}inbox/{document_key}/"


def aside_key(inbox_key: str) -> str:
    """Return where an inbox entry that cannot be read is kept for a human to look at: a key of the same length."""
    return inbox_key.replace(f"{INTERNAL_PREFIX}inbox/", f"{INTERNAL_PREFIX}aside/", 1)
