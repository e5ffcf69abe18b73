"""What a name may mean: one law a test. What is not for certain is never deleted, and what may be meant is kept."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.locations import AWS_SUFFIXES, Names, check_clean_file, meaning

KEY: Final = "S/b/p.parquet"
OURS: Final = "127.0.0.1:9000"

CERTAIN: Final = [
    (KEY, ""),
    (f"s3://clean/{KEY}", ""),
    (f"s3a://clean/{KEY}", ""),
    (f"S3://clean/{KEY}", ""),
    (f"S3N://clean/{KEY}", OURS),
    (f"https://clean.s3.eu-west-2.amazonaws.com/{KEY}", ""),
    (f"https://s3.eu-west-2.amazonaws.com/clean/{KEY}", ""),
    (f"https://s3-eu-west-2.amazonaws.com/clean/{KEY}", ""),
    (f"https://clean.s3.dualstack.eu-west-2.amazonaws.com/{KEY}", ""),
    (f"https://clean.s3-fips.dualstack.us-east-1.amazonaws.com/{KEY}", ""),
    (f"https://clean.s3-accelerate.amazonaws.com/{KEY}", ""),
    (f"HTTPS://CLEAN.S3.AMAZONAWS.COM/{KEY}", ""),
    (f"https://s3.cn-north-1.amazonaws.com.cn/clean/{KEY}", ""),
    (f"http://{OURS}/clean/{KEY}", OURS),
    (f"http://clean.{OURS}/{KEY}", OURS),
    (f"arn:aws:s3:::clean/{KEY}", ""),
    (f"arn:aws-us-gov:s3:::clean/{KEY}", ""),
]

DOUBTFUL: Final = [
    (f"/{KEY}", ""),
    ("S/b/", ""),
    ("S/b", ""),
    ("S/", ""),
    ("S", ""),
    ("S//b/p.parquet", ""),
    ("S/./b/p.parquet", ""),
    ("S/x/../b/p.parquet", ""),
    ("S/b/%70.parquet", ""),
    ("S%2Fb%2Fp.parquet", ""),
    ("S/b/%2570.parquet", ""),
    ("S/b/*.parquet", ""),
    ("S/b/?.parquet", ""),
    ("S/b/[a-z].parquet", ""),
    ("S/{a,b}/p.parquet", ""),
    ("*", ""),
    (f" {KEY} ", ""),
    ("S\\b\\p.parquet", ""),
    (f"clean/{KEY}", ""),
    (f"/mnt/clean/{KEY}", ""),
    ("s3://clean/S/b/", ""),
    ("s3://clean/", ""),
    ("s3://clean", ""),
    (f"s3://clean//{KEY}", ""),
    (f"s3://clean/{KEY}?versionId=1", ""),
    (f"s3://clean/{KEY}#sheet", ""),
    (f"s3://Clean/{KEY}", ""),
    (f"s3:///{KEY}", ""),
    (f"s3://AKIA:secret@clean/{KEY}", ""),
    (f"s3://an-access-point-abc-s3alias/{KEY}", ""),
    (f"https://clean.s3.amazonaws.com/{KEY}?versionId=1", ""),
    (f"https://clean.s3.amazonaws.com/{KEY}?X-Amz-Signature=1", ""),
    (f"https://clean.s3.amazonaws.com/{KEY}", OURS),
    (f"https://clean.s3.amazonaws.com/{KEY}", None),
    (f"https://clean.s3.amazonaws.com/{KEY}#x", ""),
    (f"https://ap-123.s3-accesspoint.eu-west-2.amazonaws.com/{KEY}", ""),
    (f"https://files.example.com/{KEY}", ""),
    (f"https://files.example.com/clean/{KEY}", ""),
    (f"https://gateway.example.com/s3/clean/{KEY}", OURS),
    (f"http://{OURS}/clean/S/b/%70.parquet", OURS),
    (f"http://{OURS}/clean/{KEY}?versionId=1", OURS),
    (f"arn:aws:s3:eu-west-2:123:accesspoint/ap/object/{KEY}", ""),
    ("arn:aws:s3:::clean/S/*", ""),
    (f"hdfs://namenode/warehouse/{KEY}", ""),
    (f"file:///mnt/clean/{KEY}", ""),
]
"""Names that may mean the key, and the host of the endpoint. Some are certain, and mean another key for certain."""

ELSEWHERE: Final = [
    (f"s3://other/{KEY}", ""),
    (f"https://other.s3.amazonaws.com/{KEY}", ""),
    (f"https://s3.amazonaws.com/other/{KEY}", ""),
    (f"http://{OURS}/other/{KEY}", OURS),
    (f"arn:aws:s3:::other/{KEY}", ""),
    ("S/b/q.parquet", ""),
    ("S/b/p.parquet2", ""),
    ("S/b/p", ""),
    ("S/b2/", ""),
    ("", ""),
    (" ", ""),
]


def keeps(name: str, host: str | None, key: str = KEY) -> bool:
    """Return whether a name keeps the object under a key of the bucket `clean`."""
    names = Names()
    names.add(meaning(name, "clean", host), "it is named")
    return names.reason(key) == "it is named"


@pytest.mark.parametrize(("name", "host"), CERTAIN)
def test_a_form_that_is_understood_gives_bucket_and_key(name: str, host: str) -> None:
    """It means that object for certain, and protects it."""
    meant = meaning(name, "clean", host)
    assert (("clean", KEY), True) == (meant.written, meant.sure)
    assert keeps(name, host)


@pytest.mark.parametrize(("name", "host"), [*CERTAIN, *DOUBTFUL])
def test_what_may_mean_an_object_keeps_it(name: str, host: str | None) -> None:
    """In whichever of the ways it may be read."""
    assert keeps(name, host)


@pytest.mark.parametrize(("name", "host"), [*CERTAIN, *DOUBTFUL])
def test_what_may_mean_several_objects_means_none_for_certain(name: str, host: str | None) -> None:
    """A name gives this key for certain, another one for certain, or none."""
    meant = meaning(name, "clean", host)
    plain = name in ("S", "S/b", f"clean/{KEY}", f"s3://clean/{KEY}#sheet")  # each a key as it stands
    assert ((name, host) in CERTAIN or plain) == meant.sure


@pytest.mark.parametrize(("name", "host"), ELSEWHERE)
def test_what_means_another_object_keeps_none(name: str, host: str) -> None:
    """In another bucket, or under another key."""
    assert not keeps(name, host)


@pytest.mark.parametrize("suffix", AWS_SUFFIXES)
def test_each_partition_of_aws_is_known(suffix: str) -> None:
    """Its hosts name a bucket before `s3`, or in the path."""
    for url in (f"https://clean.s3.xy-z-1{suffix}/{KEY}", f"https://s3.xy-z-1{suffix}/clean/{KEY}"):
        assert (("clean", KEY), True) == (meaning(url, "clean", "").written, meaning(url, "clean", "").sure)
    assert not keeps(f"https://other.s3.xy-z-1{suffix}/{KEY}", "")


@pytest.mark.parametrize("name", ["S/b/p.parquet", "/S/b/p.parquet", "s3://clean/S/b/p.parquet/"])
def test_a_name_keeps_what_is_below_it(name: str) -> None:
    """Writers of Parquet make a directory of it: `x.parquet/part-0`. Beside it nothing is kept."""
    assert keeps(name, "", "S/b/p.parquet/part-0")
    assert not keeps(name, "", "S/b/p.parquet.bak")


def test_a_bucket_may_have_a_dot_in_its_name() -> None:
    """It stands before `s3` as a whole."""
    assert ("my.clean", "a") == meaning("https://my.clean.s3.amazonaws.com/a", "clean", "").written


def test_forms_of_unicode_are_kept_alike() -> None:
    """One letter may be one character or two."""
    assert keeps("S/\u00e9.parquet", "", "S/e\u0301.parquet")
    assert keeps("S/e\u0301.parquet", "", "S/\u00e9.parquet")


def test_a_plus_may_be_a_blank() -> None:
    """As it is in the keys of events; by its own it is a key for certain, but in a URL of HTTP."""
    assert keeps("S/a+b", "", "S/a b")
    assert meaning("S/a+b", "clean", "").sure
    assert not meaning("https://clean.s3.amazonaws.com/S/a+b", "clean", "").sure


@given(st.text(max_size=30), st.sampled_from(["", OURS, None]))
def test_any_text_has_a_meaning(name: str, host: str | None) -> None:
    """None is an error, and what is certain is kept by its own name."""
    meant = meaning(name, "clean", host)
    if meant.sure and meant.written is not None and meant.written[0] == "clean":
        assert keeps(name, host, meant.written[1])


@given(st.text(alphabet="Sbp./%2F *", max_size=12))
def test_whichever_key_it_is_it_is_kept(name: str) -> None:
    """A name without a scheme keeps the key that it is, whatever else it may mean."""
    assert not name.strip() or not name.strip("/") or keeps(name, "", name)


def test_the_first_reason_stays() -> None:
    """Of two documents that name an object, one is named."""
    names = Names()
    names.add(meaning("S/b/", "clean"), "first")
    names.add(meaning("S/b/", "clean"), "second")
    names.add(meaning("S/*", "clean"), "third")
    assert ["first", "third", None] == [names.reason(key) for key in ("S/b/x", "S/x", "T/x")]


@pytest.mark.parametrize(
    "name",
    [KEY, f"/{KEY}", f"s3://clean/{KEY}", f"S3://clean/{KEY}", f"https://x.example/{KEY}", "S/b/", "arn:aws:s3:::b/k"],
)
def test_all_forms_of_names_can_be_recorded(name: str) -> None:
    """Also those that are not certain."""
    check_clean_file("clean_files[0]", name)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("gs://clean/a", "got a URL of the scheme gs://: record its key"),
        ("FILE:///a", "got a URL of the scheme file://"),
        ("abfss://clean@account/a", "got a URL of the scheme abfss://"),
        ("s3://clean", "without a bucket or a key"),
        ("s3://clean/", "without a bucket or a key"),
        ("s3:///a", "without a bucket or a key"),
        ("S3A://", "without a bucket or a key"),
        ("https://clean.s3.amazonaws.com", "without a bucket or a key"),
        ("https://key:secret@clean.s3.amazonaws.com/", "without a bucket or a key"),
    ],
)
def test_what_can_be_no_object_is_refused(name: str, wrong: str) -> None:
    """The error says what to record in its place, and shows no secret."""
    with pytest.raises(InvalidNameError, match=wrong) as caught:
        check_clean_file("clean_files[3]", name)
    assert str(caught.value).startswith("clean_files[3] must name an object in S3")
    assert "secret" not in str(caught.value)
