"""Settings: from the environment and `.env`, never changing either, and without showing a secret."""

import os
import pickle
from pathlib import Path
from typing import Any, Final

import pytest

from cf_data_tracker import CleanTracker, Tracker
from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.settings import Access, clean_access, environment, is_aws, raw_access

RAW: Final = {"AWS_DEST_BUCKET_RAW": "raw"}


def test_every_setting_is_read_from_its_variable() -> None:
    """Each variable is read into its field."""
    env = {
        "AWS_DEST_BUCKET_RAW": "raw",
        "AWS_DEST_BUCKET_CLEAN": "clean",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000",
        "AWS_REGION_NAME": "eu-west-2",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
    }
    expected: dict[str, Any] = {
        "endpoint_url": "http://127.0.0.1:9000",
        "region": "eu-west-2",
        "access_key": "key",
        "secret_key": "secret",
        "session_token": "token",
    }
    assert Access(bucket="raw", **expected) == raw_access(env)
    assert Access(bucket="clean", **expected) == clean_access(env)


def test_what_is_not_set_is_left_to_boto3() -> None:
    """With a bucket alone, endpoint, region and credentials are boto3's own choice."""
    assert Access(bucket="raw", request_timeout=15.0) == raw_access(RAW)
    assert None is raw_access(RAW).access_key


def test_an_argument_goes_before_a_variable() -> None:
    """A bucket or endpoint that is given goes before one that is set."""
    env = {**RAW, "AWS_DEST_BUCKET_CLEAN": "clean", "AWS_ENDPOINT_URL_S3": "http://set"}
    assert Access(bucket="given", endpoint_url="http://given") == raw_access(env, "given", "http://given")
    assert Access(bucket="given", endpoint_url="http://given") == clean_access(env, "given", "http://given")
    assert "given" == raw_access({}, "given").bucket


@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("bucket", ["AWS_DEST_BUCKET_RAW", "RAW_BUCKET_NAME"]),
        ("endpoint_url", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]),
        ("region", ["AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"]),
    ],
)
def test_one_setting_may_have_several_names(field: str, names: list[str]) -> None:
    """The first name that is set counts; the later ones are those of the earlier package or of boto3."""
    for first, name in enumerate(names):
        env = {"RAW_BUCKET_NAME": "raw"} | {later: f"http://{later}" for later in names[first:]}
        assert f"http://{name}" == getattr(raw_access(env), field)


def test_a_variable_that_is_empty_is_not_set() -> None:
    """An empty variable counts as one that is not set."""
    assert Access(bucket="old") == raw_access(
        {"AWS_DEST_BUCKET_RAW": "", "RAW_BUCKET_NAME": "old", "AWS_REGION_NAME": "", "AWS_ACCESS_KEY_ID": ""}
    )


def test_a_bucket_that_is_not_named_says_where_to_name_it() -> None:
    """Without a bucket, the error names the variable to set."""
    with pytest.raises(StoreError, match=r"^AWS_DEST_BUCKET_RAW is not set: .* in the environment or in \.env$"):
        raw_access({"AWS_DEST_BUCKET_RAW": "", "AWS_DEST_BUCKET_CLEAN": "clean"})
    with pytest.raises(StoreError, match=r"^AWS_DEST_BUCKET_CLEAN is not set"):
        clean_access(RAW)


def test_what_is_given_empty_is_not_taken_from_a_variable() -> None:
    """An argument that is empty, as a lookup that went wrong gives it, is refused: nothing is put in its place."""
    env = {**RAW, "AWS_DEST_BUCKET_CLEAN": "clean", "AWS_ENDPOINT_URL_S3": "http://set"}
    for access in (raw_access, clean_access):
        with pytest.raises(StoreError, match=r"^no bucket is named"):
            access(env, "")
        with pytest.raises(StoreError, match=r"^the endpoint must be a URL"):
            access(env, None, "")


@pytest.mark.parametrize("bucket", ["", None, b"raw", 7])
def test_a_bucket_is_text(bucket: Any) -> None:  # noqa: ANN401 - anything may be passed
    """Without a bucket there is no access to it."""
    with pytest.raises(StoreError, match=r"^no bucket is named: pass bucket="):
        Access(bucket=bucket)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:9000",
        "s3://raw",
        "ftp://host",
        "",
        "https://",
        "http://:9000",
        "http://[",
        "http://host:port",
        "http://host:0",
        "http://host:99999",
        "http://user:password@127.0.0.1:9000",
        "http://user:pass/word@127.0.0.1:9000",
        "https://user@host",
        "http://host/?question",
        "http://host/#part",
    ],
)
def test_a_bad_endpoint_is_refused(url: str) -> None:
    """An endpoint is an http or https URL of a host; the message does not repeat it, since it may hold a password."""
    with pytest.raises(StoreError) as caught:
        Access(bucket="raw", endpoint_url=url)
    expected = "the endpoint must be a URL like https://host:port, with no user, password or query in it"
    assert expected == str(caught.value)


@pytest.mark.parametrize("url", ["http://a b", "http://ho\nst", 9000])
def test_an_endpoint_that_can_be_no_url_is_refused(url: Any) -> None:  # noqa: ANN401 - anything may be passed
    """An endpoint is text without spaces and line ends."""
    with pytest.raises(StoreError, match=r"^the endpoint must be a URL"):
        Access(bucket="raw", endpoint_url=url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000", "https://s3.example.org/", "HTTP://host", "http://[::1]:9000"]
)
def test_an_endpoint_is_kept_as_it_was_given(url: str) -> None:
    """Any http or https URL of a host is an endpoint."""
    assert url == Access(bucket="raw", endpoint_url=url).endpoint_url


@pytest.mark.parametrize(
    ("half", "missing"),
    [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")],
)
def test_a_key_needs_its_other_half(half: str, missing: str) -> None:
    """Half a key pair is refused with the name of the other half, and without the value that is there."""
    with pytest.raises(StoreError) as caught:
        raw_access({**RAW, half: "hush"})
    assert f"{missing} is missing: a key needs its other half; set both or neither" == str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), 367 * 24 * 3600, True, "15", None])
def test_a_time_out_is_a_time_that_can_be_waited_for(seconds: Any) -> None:  # noqa: ANN401 - anything may be passed
    """A request has some time to be answered in, and not for ever."""
    with pytest.raises(
        InvalidNameError, match=r"^request_timeout must be more than 0 seconds and at most a year, got "
    ):
        Access(bucket="raw", request_timeout=seconds)


def test_settings_travel() -> None:
    """Access is the same in another process, secrets included."""
    access = Access(bucket="raw", access_key="key", secret_key="secret", session_token="token")
    assert access == pickle.loads(pickle.dumps(access))


# .env


def test_without_env_file_the_environment_is_what_is_set(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no `.env`, the settings are the environment's."""
    assert not list(scratch.iterdir())
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    assert dict(os.environ) == environment()


@pytest.mark.parametrize("below", [".", "a/b/c"])
def test_the_nearest_env_file_counts(scratch: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    """`.env` is looked for in the working directory, then in those above it; the first one found counts alone."""
    (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=far\nAWS_REGION_NAME=eu-west-2\n")
    (scratch / below).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(scratch / below)
    assert ("far", "eu-west-2") == (raw_access(environment()).bucket, raw_access(environment()).region)
    Path(".env").write_text("AWS_DEST_BUCKET_RAW=near\n")
    assert ("near", None) == (raw_access(environment()).bucket, raw_access(environment()).region)


def test_the_environment_goes_before_the_env_file(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set in the environment wins over `.env`; what is set in one of them alone counts."""
    (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=of-file\nAWS_REGION_NAME='eu-west-2'\n")
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "of-environment")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9000")
    expected = Access(bucket="of-environment", region="eu-west-2", endpoint_url="http://127.0.0.1:9000")
    assert expected == raw_access(environment())


def test_what_the_env_file_leaves_empty_is_not_set(scratch: Path) -> None:
    """A name without a value, or with an empty one, sets nothing."""
    (scratch / ".env").write_text("# the bucket\nAWS_DEST_BUCKET_RAW=\nAWS_REGION_NAME\nRAW_BUCKET_NAME=raw\n")
    assert {"RAW_BUCKET_NAME": "raw"} == {k: v for k, v in environment().items() if k.startswith(("AWS", "RAW"))}


def test_reading_the_settings_changes_no_environment(scratch: Path) -> None:
    """`.env` is read without putting what it says into the process's environment."""
    (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_SECRET_ACCESS_KEY=hush\nAWS_ACCESS_KEY_ID=key\n")
    before = dict(os.environ)
    assert ("raw", "hush") == (raw_access(environment()).bucket, raw_access(environment()).secret_key)
    assert before == dict(os.environ)


def test_keys_of_two_places_are_not_joined(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the environment never goes with a secret or a token of `.env`."""
    (scratch / ".env").write_text("AWS_ACCESS_KEY_ID=k\nAWS_SECRET_ACCESS_KEY=s\nAWS_SESSION_TOKEN=t\n")
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    assert Access(bucket="raw", access_key="k", secret_key="s", session_token="t") == raw_access(environment())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    with pytest.raises(StoreError, match="AWS_SECRET_ACCESS_KEY is missing"):
        raw_access(environment())
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other secret")
    assert Access(bucket="raw", access_key="other", secret_key="other secret") == raw_access(environment())


def test_an_env_file_that_is_no_text_is_an_error(scratch: Path) -> None:
    """A `.env` in another encoding than UTF-8 is named, with what to do."""
    (scratch / ".env").write_bytes(b"AWS_DEST_BUCKET_RAW=b\xfccket\n")
    with pytest.raises(StoreError, match=r"\.env is not UTF-8: save it as such"):
        environment()


def test_trackers_are_made_of_the_settings(scratch: Path) -> None:
    """`from_env` reads `.env`; what is given goes before it."""
    (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_DEST_BUCKET_CLEAN=clean\n")
    assert "Tracker(bucket='raw', endpoint='AWS')" == repr(Tracker.from_env())
    assert "Tracker(bucket='given', endpoint='AWS')" == repr(Tracker.from_env(bucket="given"))
    assert "clean: bucket='clean'" in repr(CleanTracker.from_env())


# Secrets and endpoints


def test_no_secret_is_shown() -> None:
    """The `repr` of access shows neither key, secret nor token."""
    shown = repr(Access(bucket="raw", access_key="hush1", secret_key="hush2", session_token="hush3"))
    assert "bucket='raw'" in shown
    assert "hush" not in shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, True),
        ("https://s3.amazonaws.com", True),
        ("https://s3.eu-west-2.amazonaws.com/", True),
        ("https://bucket.vpce-1a.s3.us-east-1.vpce.amazonaws.com", True),
        ("https://s3.cn-north-1.amazonaws.com.cn", True),
        ("https://S3.AMAZONAWS.COM:443", True),
        ("http://127.0.0.1:9000", False),
        ("https://s3.amazonaws.com.example.org", False),
        ("https://notamazonaws.com", False),
        ("https://user:s3.amazonaws.com@example.org", False),
        ("https://", False),
    ],
)
def test_awss_own_endpoints_are_known(url: str | None, expected: bool) -> None:  # noqa: FBT001 - an expected value
    """Only hosts of AWS's own domains count as AWS, whose conditional writes need no proof."""
    assert expected is is_aws(url)
