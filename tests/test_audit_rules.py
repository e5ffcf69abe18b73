"""The rules of an audit: where a version's object should be, what a listing tells of it, and what is nobody's."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cf_data_tracker.document import Document
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import FileVersion
from cf_data_tracker.names import clean_key, older_clean_key, raw_key
from cf_data_tracker.rules.audit import (
    ANOTHER_BUCKET,
    NO_URL,
    Content,
    NotLookedAt,
    content_of,
    differs_in_size,
    expected,
    hinted,
    is_own,
    just_before,
    md5_of,
    merged,
    missing,
    newest,
    orphan,
    place_of,
    sha256_of,
    was_overwritten,
)
from cf_data_tracker.store import Listed

HOME = "s3://raw/"
MD5 = "0123456789abcdef0123456789abcdef"
OTHER_MD5 = "f" * 32
SHA256 = "0123456789abcdef" * 4
IN_PARTS = f"{MD5}-3"


def version(number: int = 1, file_name: str = "FY2023", table: str = "births", **fields: Any) -> FileVersion:  # noqa: ANN401 - any field
    """Return a version, of which nothing is known but what is given."""
    unknown: dict[str, Any] = dict.fromkeys(
        ("file_size", "s3_location", "timestamp", "fyear", "upload_date", "checksum", "recorded_by")
    )
    named = {"schema": "vitals", "table": table, "file_name": file_name, "file": "q1.zip", "version": number}
    return FileVersion(**unknown | named | fields)


def listed(key: str = "k", size: int = 5, etag: str = MD5) -> Listed:
    """Return an object as a listing shows it."""
    return Listed(key=key, size=size, etag=etag, modified=0.0)


def document(*locations: object) -> Document:
    """Return a document with a version at each location."""
    versions = [{"version": n, "file": f"{n}", "s3_location": one} for n, one in enumerate(locations, 1)]
    files = [{"file_name": "FY2023", "current_version": len(versions), "versions": versions}]
    return {"tables": [{"schema_name": "vitals", "tables": [{"name": "births", "files": files}]}]}


@pytest.mark.parametrize(
    ("recorded", "there"),
    [
        ("vitals/births%20q1.zip", "vitals/births q1.zip"),
        ("vitals/births+q1.zip", "vitals/births q1.zip"),
        ("vitals/a%2Bb+c.zip", "vitals/a+b c.zip"),
        ("vitals/a%2Bb+c.zip", "vitals/a+b+c.zip"),
        ("vitals/%C3%A9.zip", "vitals/é.zip"),
    ],
)
def test_a_missing_object_whose_decoded_key_is_there_says_so(recorded: str, there: str) -> None:
    """The sentence names the object that is there without a record, after what it says anyhow."""
    finding = missing(version(), HOME + recorded)
    found = hinted(finding, {HOME + there, HOME + recorded})
    assert found.sentence.startswith(f"{finding.sentence}; {HOME}{there} is there and has no record: ")
    assert (finding.kind, finding.location) == (found.kind, found.location)


def test_there_is_no_hint_without_such_an_object() -> None:
    """Nor of a key that is not encoded, nor of a finding that is none of a missing object."""
    encoded, plain = missing(version(), f"{HOME}a%20b"), missing(version(), f"{HOME}a b")
    assert encoded is hinted(encoded, {f"{HOME}a%20b", f"{HOME}a"})
    assert plain is hinted(plain, {f"{HOME}a b"})
    other = orphan(f"{HOME}a%20b", listed(), "2024-03-01 09:00:00")
    assert other is hinted(other, {f"{HOME}a b"})


@pytest.mark.parametrize("scheme", ["s3", "s3a", "s3n"])
def test_a_location_under_the_schema_is_sought_there(scheme: str) -> None:
    """Whatever the scheme is called by which S3 is meant."""
    found = expected(document(f"{scheme}://raw/vitals/births/q1.zip"), "vitals", HOME)
    assert ["vitals/births/q1.zip"] == [key for key, _ in found.inside]
    assert [] == list(found.outside)


def test_a_location_elsewhere_in_the_bucket_is_sought_there() -> None:
    """A key that merely begins as the schema does is not under its prefix."""
    found = expected(document("s3://raw/vitals2/b", "s3://raw/a", "s3://raw/vitals/c"), "vitals", HOME)
    assert ["a", "vitals2/b"] == [key for key, _ in found.outside]
    assert ["vitals/c"] == [key for key, _ in found.inside]
    assert 3 == found.versions


@pytest.mark.parametrize("location", ["s3://other/vitals/q1.zip", "s3a://raw2/vitals/q1.zip"])
def test_a_location_in_another_bucket_is_not_looked_at(location: str) -> None:
    """It is counted, and one of them is named."""
    found = expected(document(location, location), "vitals", HOME)
    assert (NotLookedAt(reason=ANOTHER_BUCKET, versions=2, example=location),) == found.not_looked_at
    assert 2 == found.versions


@pytest.mark.parametrize(
    "location",
    [None, "", "/mnt/q1.zip", "https://raw.s3.amazonaws.com/q1.zip", "s3://", "s3://raw", HOME, "s3:///q1", 7],
)
def test_what_is_no_url_of_an_object_is_not_looked_at(location: object) -> None:
    """Documents of the earlier package hold whatever its callers passed."""
    (left,) = expected(document(location), "vitals", HOME).not_looked_at
    assert (NO_URL, 1, str(location)) == (left.reason, left.versions, left.example)


def test_a_schema_without_a_document_expects_nothing() -> None:
    """Every object under its prefix is then one without a record."""
    found = expected(None, "vitals", HOME)
    assert (0, [], []) == (found.versions, list(found.inside), list(found.outside))


KEYS = st.lists(st.text(alphabet="ab/é\U0001f600", min_size=1, max_size=3), max_size=8)


@given(KEYS, KEYS)
def test_each_key_comes_once_with_all_that_is_known_of_it(sought: list[str], there: list[str]) -> None:
    """The merge gives every key of either side, in order, with its object and all its versions."""
    versions = sorted(((key, version(number)) for number, key in enumerate(sought)), key=lambda pair: pair[0])
    objects = [listed(key) for key in sorted(set(there))]
    result = list(merged(versions, objects))
    assert sorted({*sought, *there}) == [key for key, _, _ in result]
    for key, found, known in result:
        assert (key in there) == (found is not None)
        assert found is None or key == found.key
        assert [one for where, one in versions if where == key] == list(known)


def test_the_newest_of_a_file_name_says_what_is_there() -> None:
    """Of versions of several file names at one place, the newest of each: none of them can be the older one."""
    older, newer = version(1), version(3)
    other = version(2, file_name="FY2024")
    other_table = version(1, table="deaths")
    assert [newer, other, other_table] == list(newest([newer, other, older, other_table]))
    assert [older] == list(newest([older]))


class TestContent:
    """What a listing tells of an object's bytes."""

    @pytest.mark.parametrize("etag", [IN_PARTS, f'"{IN_PARTS}"'], ids=["bare", "quoted"])
    def test_the_recorded_etag_is_the_same(self, etag: str) -> None:
        """Then so are the bytes; whether it was recorded with its quotes does not matter."""
        assert Content.SAME is content_of(version(etag=etag, checksum=f"sha256:{SHA256}"), listed(etag=IN_PARTS))

    def test_the_recorded_etag_is_another(self) -> None:
        """Then the object was written again, with the same bytes or with others."""
        assert Content.OTHER_ETAG is content_of(version(etag=IN_PARTS, checksum=f"md5:{MD5}"), listed(etag=MD5))

    @pytest.mark.parametrize("checksum", [MD5, f"md5:{MD5}", f"MD5:{MD5.upper()}"])
    def test_the_recorded_md5_is_the_etag(self, checksum: str) -> None:
        """Where no ETag was recorded, the MD5 is compared, in whichever form."""
        assert Content.SAME is content_of(version(checksum=checksum), listed(etag=MD5))
        assert Content.OTHER_MD5 is content_of(version(checksum=checksum), listed(etag=OTHER_MD5))

    def test_the_etag_of_an_object_in_parts_is_no_md5(self) -> None:
        """So nothing is told by its being another."""
        assert Content.UNKNOWN is content_of(version(checksum=MD5), listed(etag=f"{OTHER_MD5}-2"))

    @pytest.mark.parametrize(
        "checksum", [None, f"sha256:{SHA256}", SHA256, "crc32:12345678", "md5:12", f"md5:{'z' * 32}", 5]
    )
    def test_nothing_was_recorded_that_a_listing_has(self, checksum: object) -> None:
        """A SHA-256 is in no listing, and what is no digest is compared with nothing."""
        assert Content.UNKNOWN is content_of(version(checksum=checksum), listed())

    @pytest.mark.parametrize("checksum", [SHA256, f"sha256:{SHA256}", f"SHA256:{SHA256.upper()}"])
    def test_a_sha256_is_read_in_either_form(self, checksum: str) -> None:
        """With the algorithm's name before it, or by its length."""
        assert SHA256 == sha256_of(version(checksum=checksum))
        assert md5_of(version(checksum=checksum)) is None

    @pytest.mark.parametrize("size", [None, "5", "810 KB", 5.0, True])
    def test_a_size_that_is_no_number_is_not_compared(self, size: object) -> None:
        """Documents of the earlier package hold whatever its callers passed."""
        assert not differs_in_size(version(file_size=size), listed(size=7))

    def test_a_size_is_compared(self) -> None:
        """It is that of the object, or it is not."""
        assert not differs_in_size(version(file_size=5), listed(size=5))
        assert differs_in_size(version(file_size=5), listed(size=0))

    def test_an_older_version_was_overwritten_if_the_object_is_not_its(self) -> None:
        """By its size, its ETag or its MD5; where nothing is known of it, nothing is said."""
        assert was_overwritten(version(file_size=7), listed(size=5))
        assert was_overwritten(version(file_size=5, etag=OTHER_MD5), listed(size=5))
        assert was_overwritten(version(checksum=OTHER_MD5), listed())
        assert not was_overwritten(version(file_size=5), listed(size=5))


@pytest.mark.parametrize("key", [raw_key("vitals"), clean_key("vitals"), older_clean_key("vitals"), "vitals/births/"])
def test_documents_and_folders_need_no_record(key: str) -> None:
    """They are the trackers' own, or what a console makes to show an empty folder."""
    assert is_own("vitals", key)
    assert not is_own("vitals", f"{key}x")
    assert not is_own("vitals", "vitals/births/FY2023/vitals_version_info.json")


def test_a_place_is_read_from_a_key() -> None:
    """Table, file name and file, as `upload` puts them."""
    assert ("births", "FY2023", "q1.zip") == place_of("vitals", "vitals/births/FY2023/q1.zip")


@pytest.mark.parametrize("key", ["vitals/q1.zip", "vitals/births/q1.zip", "vitals/births/FY2023/more/q1.zip"])
def test_a_key_of_another_depth_names_no_place(key: str) -> None:
    """What table and file name it would be is not guessed."""
    with pytest.raises(InvalidNameError, match="its key is not vitals/TABLE/FILE_NAME/FILE"):
        place_of("vitals", key)


@pytest.mark.parametrize(
    "key", ["vitals//FY2023/q1.zip", "vitals/births/ /q1.zip", "vitals/births/FY2023/a..b", "vitals/b/F/"]
)
def test_a_key_of_impossible_names_names_no_place(key: str) -> None:
    """Nothing is taken in that could not have been recorded."""
    with pytest.raises(InvalidNameError, match="must not"):
        place_of("vitals", key)


@given(st.text(alphabet=string.printable + "é\U0001f600", min_size=1))
def test_just_before_a_key_is_before_it(key: str) -> None:
    """A listing that begins after it has the key, if it is there."""
    assert just_before(key) < key


@pytest.mark.parametrize(("key", "before"), [("a/b.zip", "a/b.zio"), ("a/", "a."), ("a", "`"), ("a ", "a"), ("é", "")])
def test_just_before_a_key_is_near(key: str, before: str) -> None:
    """The last letter is the one before; where that would be none that can be shown, it is left out."""
    assert before == just_before(key)
