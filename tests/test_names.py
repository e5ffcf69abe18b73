"""Names: what S3, a shell or a reader would stumble over is refused before anything is sent."""

import os
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.names import (
    ambiguous,
    check_choice,
    check_count,
    check_name,
    check_number,
    check_schema,
    check_seconds,
    check_text,
    clean_key,
    in_s3,
    older_clean_key,
    plain,
    probe_key,
    raw_key,
    shown,
)

ORDINARY = [
    "FY2023",
    "2024-01",
    "births_q1.zip",
    "births q1 (final).zip",
    " leading and trailing ",
    "Geburten_übersicht.csv",
    "出生.csv",
    "naïve-🙂.parquet",
    ".env",
    "a.b.c",
    "100%",
    "a\\b",
    "x" * 255,
    "é" * 127,
]

REFUSED = {
    "empty": ("", "table must not be empty"),
    "blank": (" \u00a0 ", "table must not be empty"),
    "slash": ("a/b", "table must not contain '/', got 'a/b': give the last part of the path alone"),
    "parent": ("..", "table must not be '.' or contain '..', got '..'"),
    "this": (".", "table must not be '.' or contain '..', got '.'"),
    "dots": ("a..b", "table must not be '.' or contain '..', got 'a..b'"),
    "newline": ("a\nb", "table must not contain control characters, got 'a\\nb'"),
    "NUL": ("a\0", "table must not contain control characters, got 'a\\x00'"),
    "C1": ("a\x85b", "table must not contain control characters, got 'a\\x85b'"),
    "line separator": ("a\u2028b", "table must not contain control characters, got 'a\\u2028b'"),
    "paragraph separator": ("a\u2029b", "table must not contain control characters, got 'a\\u2029b'"),
    "lone surrogate": ("a\ud800", "table must be UTF-8, got 'a\\ud800': give it another name"),
    "Latin-1": (os.fsdecode(b"\xfcbersicht"), "table must be UTF-8, got '\\udcfcbersicht': give it another name"),
    "long": ("x" * 256, "table must be at most 255 bytes of UTF-8, got 256"),
    "long in bytes": ("é" * 128, "table must be at most 255 bytes of UTF-8, got 256"),
    "None": (None, "table must be text, got None"),
    "number": (2023, "table must be text, got 2023"),
    "bytes": (b"births", "table must be text, got b'births'"),
    "list": (["births"], "table must be text, got a list"),
}


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_name_passes(name: str) -> None:
    """Letters of any script, spaces, dots and signs make a name, up to 255 bytes of UTF-8; it comes back as it is."""
    assert name == check_name("table", name)


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_name_is_refused(value: object, message: str) -> None:
    """What cannot be part of a key is refused, with the argument that it was given for and what to correct."""
    with pytest.raises(InvalidNameError) as caught:
        check_name("table", value)
    assert message == str(caught.value)


def refusal(value: object) -> str | None:
    """Return why a value is no name; `None` where it is one."""
    try:
        check_name("file", value)
    except InvalidNameError as error:
        return str(error)
    return None


@given(st.text(st.characters()) | st.text(st.sampled_from("a./ \n\u2028"), max_size=3) | st.binary() | st.integers())
def test_a_value_is_a_name_or_is_told_why_not(value: object) -> None:
    """Whatever is handed in is one part of a path in a key, or is refused in one printable sentence."""
    message = refusal(value)
    if message is not None:
        assert message.startswith("file must")
        assert message.isprintable()
    else:
        assert isinstance(value, str)
        assert [value] == value.splitlines()
        assert [value] == value.split("/")
        assert 1 <= len(value.strip().encode()) <= 255
        assert value != "."
        assert ".." not in value


def test_a_schema_is_a_name() -> None:
    """A schema follows the rules of names."""
    assert "vitals" == check_schema("vitals")
    with pytest.raises(InvalidNameError, match=r"^schema must not contain '/'"):
        check_schema("vitals/births")


def test_the_tracker_keeps_one_schema_for_itself() -> None:
    """`_cf_tracker` is no schema: the tracker's own objects lie there. Names that resemble it are."""
    with pytest.raises(InvalidNameError, match=r"^schema must not be '_cf_tracker'"):
        check_schema("_cf_tracker")
    assert "_cf_tracker2" == check_schema("_cf_tracker2")


def test_a_location_is_a_line_of_text() -> None:
    """A text may hold slashes and dots and be 2,048 bytes long, but is one line."""
    location = "s3://raw/../" + "x" * 2036
    assert location == check_text("s3_location", location)
    with pytest.raises(InvalidNameError, match=r"^s3_location must be at most 2048 bytes of UTF-8, got 2049"):
        check_text("s3_location", location + "x")
    with pytest.raises(InvalidNameError, match=r"^s3_location must not contain control characters"):
        check_text("s3_location", "s3://raw/a\r\nb")


@pytest.mark.parametrize("count", [0, 1, 5 * 2**40])
def test_a_count_is_a_whole_number(count: int) -> None:
    """A count is 0 or more and comes back as it is."""
    assert count == check_count("file_size", count)


class Number(IntEnum):
    """An `int` that has a name."""

    FIVE = 5


@pytest.mark.parametrize("value", [np.int64(5), np.uint8(5), Number.FIVE, Decimal(5), Decimal("5.0"), Decimal("0.5E1")])
def test_a_count_may_be_of_another_kind(value: object) -> None:
    """NumPy's integers, members of an `IntEnum` and a `Decimal` without a fraction are counts, and become an `int`."""
    count = check_count("file_size", value)
    assert (5, int) == (count, type(count))


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        -1,
        1.0,
        float("nan"),
        "12",
        None,
        [1],
        np.bool_(True),  # noqa: FBT003 - NumPy's own
        np.float64(5),
        np.int64(-5),
        Decimal("5.5"),
        Decimal(-1),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("1E+999999999"),
    ],
)
def test_a_bad_count_is_refused(value: object) -> None:
    """Neither a `bool`, nor a float, nor a fraction, nor a negative number is a count."""
    with pytest.raises(InvalidNameError, match=r"^file_size must be a whole number, 0 or more"):
        check_count("file_size", value)


@pytest.mark.parametrize("seconds", [0.001, 1, 366 * 24 * 3600.0])
def test_seconds_are_a_time_that_can_be_waited_for(seconds: float) -> None:
    """Seconds are more than 0 and at most a year, and come back as they are."""
    assert seconds == check_seconds("timeout", seconds)


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(2), Decimal("0.5"), Fraction(1, 2), Number.FIVE])
def test_seconds_may_be_of_another_kind(value: float) -> None:
    """Whatever is a real number is a time, and becomes a `float`."""
    seconds = check_seconds("timeout", value)
    assert (value, float) == (seconds, type(seconds))


@pytest.mark.parametrize(
    "value",
    [
        0,
        -0.0,
        -1,
        float("nan"),
        float("inf"),
        366 * 24 * 3600.1,
        True,
        "1",
        None,
        Decimal("NaN"),
        Decimal("sNaN"),
        Fraction(10**400),
        np.float64("nan"),
    ],
)
def test_a_bad_time_is_refused(value: object) -> None:
    """What cannot be waited for is refused: no time, less than none, for ever, and what is no number."""
    with pytest.raises(InvalidNameError, match=r"^timeout must be more than 0 seconds and at most a year, got "):
        check_seconds("timeout", value)


@pytest.mark.parametrize("value", [10**5_000, -(10**5_000)], ids=["positive", "negative"])
@pytest.mark.parametrize("check", [check_name, check_text, check_count])
def test_an_endless_number_is_refused(check: Callable[[str, object], object], value: int) -> None:
    """A number of more digits than Python writes is neither a name nor a count, and can still be refused."""
    with pytest.raises(InvalidNameError, match=r"^file must"):
        check("file", value)


@pytest.mark.parametrize("check", [check_name, check_text, check_count])
def test_a_refusal_is_also_a_value_error(check: Callable[[str, object], object]) -> None:
    """Code that knows nothing of this library catches a refused argument as `ValueError`."""
    with pytest.raises(ValueError, match=r"^file must"):
        check("file", None)


@pytest.mark.parametrize(
    "value", ["x" * 1000, b"x" * 1000, 10**1000, {"a": 1}, "\x1b[31m\n"], ids=["str", "bytes", "int", "dict", "escape"]
)
def test_what_was_handed_in_is_shown_short_and_printable(value: object) -> None:
    """A message shows at most 60 characters of a value, none of which moves the cursor of a terminal."""
    assert len(shown(value)) <= 60
    assert shown(value).isprintable()


def test_the_keys_are_the_earlier_packages() -> None:
    """Documents stand where the earlier package put them; what is ours alone lies under a prefix of its own."""
    assert "vitals/vitals_version_info.json" == raw_key("vitals")
    assert "vitals/vitals_clean_version_info.json" == clean_key("vitals")
    assert "vitals/clean_version.json" == older_clean_key("vitals")
    assert "_cf_tracker/probe/1f" == probe_key("1f")


def test_no_schema_has_a_document_among_the_trackers_own_objects() -> None:
    """The longest schema still makes a key that S3 takes: at most 1,024 bytes."""
    longest = check_schema("é" * 127)
    assert max(len(key(longest).encode()) for key in (raw_key, clean_key, older_clean_key)) <= 1024


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("s3://raw/vitals/a.zip", ("raw", "vitals/a.zip")),
        ("s3a://raw/a.zip", ("raw", "a.zip")),
        ("s3n://raw/s3://x", ("raw", "s3://x")),
        ("s3://raw", ("raw", "")),
        ("s3:///a.zip", ("", "a.zip")),
        ("S3://raw/a.zip", ("raw", "a.zip")),
        ("vitals/a.zip", None),
        ("https://raw.s3.amazonaws.com/a.zip", None),
    ],
)
def test_an_s3_url_names_a_bucket_and_a_key(location: str, place: tuple[str, str] | None) -> None:
    """Under whichever scheme; anything else names no place in S3."""
    assert place == in_s3(location)


@pytest.mark.parametrize("wrong", ["1", None, True, [1]])
def test_a_number_is_one(wrong: object) -> None:
    """Text is none, nor is a truth value."""
    assert 1.5 == check_number("modified", 1.5)
    with pytest.raises(InvalidNameError, match="modified must be a number, got"):
        check_number("modified", wrong)


class Source(str, Enum):
    """A text that has a name; formatted, it is `Source.VITALS` from Python 3.11 on."""

    VITALS = "vitals"


class Loud(str):
    """A text that shows itself in another way on every Python."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return what it is not."""
        return "LOUD"

    def __format__(self, _spec: str) -> str:
        """Return what it is not."""
        return "LOUD"


@pytest.mark.parametrize("value", [Source.VITALS, Loud("vitals"), np.str_("vitals"), "vitals"])
def test_a_name_becomes_plain_text(value: str) -> None:
    """Text of any kind of `str` is meant by its value, and comes back as a plain `str`."""
    checked = (
        check_schema(value),
        check_name("table", value),
        check_text("s3_location", value),
        check_choice("on_same_content", value, ["vitals"]),
        plain(value),
    )
    assert [("vitals", str)] * 5 == [(text, type(text)) for text in checked]


def test_what_is_no_text_stays_what_it_is() -> None:
    """Something that only claims to be text is refused as anything else is."""
    assert plain(None) is None
    with pytest.raises(InvalidNameError, match="table must be text, got a Mock"):
        check_name("table", Mock(spec=str))


def test_an_error_shows_the_text_of_a_member() -> None:
    """The text of a member is shown, and not its name in the code."""
    assert "'vitals'" == shown(Source.VITALS)
    assert "a Number" == shown(Number.FIVE)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("births", None),
        ("Geburten \u00fcbersicht.csv", None),
        ("Geburten u\u0308bersicht.csv", "is not in Unicode's NFC form, in which most systems write names"),
        ("bir\u200bths", "holds characters that cannot be seen: U+200B"),
        ("gpj.\u202eexe\u2066\u202e", "holds characters that cannot be seen: U+202E, U+2066"),
        ("births\u00a0q1", "holds characters that cannot be seen: U+00A0"),
        ("\ufeffbirths", "holds characters that cannot be seen: U+FEFF"),
    ],
)
def test_a_name_that_looks_like_another_is_known(name: str, why: str | None) -> None:
    """Decomposed letters, zero-width and bidirectional characters and odd spaces make a name look like another."""
    assert why == ambiguous(name)
    assert name == check_name("file", name)
