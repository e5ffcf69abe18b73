"""Settings: from the environment and `.env`, never changing either, and without showing a secret."""

import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import boto3
import pytest
from botocore.loaders import create_loader
from botocore.regions import EndpointResolver

from cf_data_tracker import CleanTracker, Tracker
from cf_data_tracker.aws import partition_of
from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.rights import Scope
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


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://s3.eusc-de-east-1.amazonaws.eu", True),
        ("https://s3.us-iso-east-1.c2s.ic.gov", True),
        ("https://s3.us-isob-east-1.sc2s.sgov.gov", True),
        ("https://s3.us-gov-west-1.amazonaws.com", True),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", True),
        ("https://s3.eu-west-1.api.aws", True),
        ("https://s3.cn-north-1.api.amazonwebservices.com.cn", True),
        ("https://S3.Eu-West-1.API.AWS.:443/", True),
        ("https://s3.eu-west-1.amazonaws.com.", True),
        ("https://s3-us-west-2.amazonaws.com", True),
        ("https://s3-fips.dualstack.us-gov-east-1.amazonaws.com", True),
        ("https://s3.evilamazonaws.com", False),
        ("https://s3.amazonaws.com.evil.org", False),
        ("https://s3.amazonaws.eu.evil.org.", False),
        ("https://amazonaws.com", False),
        ("http://s3:9000", False),
        ("http://files.s3-gateway:9000", False),
        ("https://s3.eu-west-1.xapi.aws", False),
        ("http://ec2-52-1-2-3.eu-west-1.compute.amazonaws.com:9000", False),
        ("http://ec2-52-1-2-3.compute-1.amazonaws.com:9000", False),
        ("https://s3-gateway-1234567890.us-east-1.elb.amazonaws.com", False),
        ("https://s3-gateway-1234567890.elb.us-east-1.amazonaws.com", False),
        ("https://abcdef.execute-api.eu-west-1.amazonaws.com/s3", False),
        ("http://[", False),
    ],
)
def test_botocores_data_decides_which_hosts_are_awss_s3(url: str, expected: bool) -> None:  # noqa: FBT001 - as above
    """Every partition has its domains; in them, a load balancer or a virtual machine may be anybody's store."""
    assert expected is is_aws(url)


def test_every_endpoint_of_s3_that_botocore_knows_is_awss() -> None:
    """Of all partitions and regions, FIPS and dual-stack ones among them, and accelerated."""
    resolver = EndpointResolver(create_loader().load_data("endpoints"))
    hosts = {"s3-accelerate.amazonaws.com", "s3-accelerate.dualstack.amazonaws.com"}
    for partition in resolver.get_available_partitions():
        for region in resolver.get_available_endpoints("s3", partition, allow_non_regional=True):
            for dual in {False, "iso" not in partition and region[-1].isdigit()}:
                found = resolver.construct_endpoint("s3", region, partition, use_dualstack_endpoint=dual)
                hosts.add((found or {})["hostname"])
    assert 40 < len(hosts)
    assert [] == [host for host in sorted(hosts) if not is_aws(f"https://{host}")]


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (None, "aws"),
        ("", "aws"),
        ("eu-west-2", "aws"),
        ("garage", "aws"),
        ("cn-northwest-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
        ("eusc-de-north-7", "aws-eusc"),
    ],
)
def test_a_region_belongs_to_a_partition(region: str | None, expected: str) -> None:
    """Also a region that is newer than the data; one that is none of AWS's counts as of its main partition."""
    assert expected == partition_of(region)


def test_settings_are_imported_without_boto3() -> None:
    """Neither the package nor its settings wait for boto3, nor for botocore's data."""
    code = "import sys, cf_data_tracker, cf_data_tracker.settings; print({'boto3', 'botocore'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "set()" == run.stdout.strip()


# The bucket in the endpoint


IN_THE_ENDPOINT: Final = [
    ("raw", "http://127.0.0.1:9000/raw", "http://127.0.0.1:9000"),
    ("raw", "http://127.0.0.1:9000/raw/", "http://127.0.0.1:9000"),
    ("raw", "http://127.0.0.1:9000/%72aw", "http://127.0.0.1:9000"),
    ("raw", "http://[::1]:9000/raw", "http://[::1]:9000"),
    ("raw", "https://gateway.example.org/s3/raw", "https://gateway.example.org/s3"),
    ("raw", "https://gateway.example.org/raw/vitals", "https://gateway.example.org"),
    ("raw", "https://raw.s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
    ("raw", "https://RAW.S3.EU-WEST-1.AMAZONAWS.COM./", "https://s3.eu-west-1.amazonaws.com"),
    ("raw", "https://other.s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
    ("a.b", "https://a.b.s3.amazonaws.com", "https://s3.amazonaws.com"),
    ("raw", "https://raw.s3.eusc-de-east-1.amazonaws.eu", "https://s3.eusc-de-east-1.amazonaws.eu"),
    ("raw", "https://s3.eu-west-1.amazonaws.com/raw", "https://s3.eu-west-1.amazonaws.com"),
    ("raw", "https://s3.eu-west-1.amazonaws.com/other/", "https://s3.eu-west-1.amazonaws.com"),
    ("raw", "https://raw.s3.amazonaws.com/raw", "https://s3.amazonaws.com"),
    ("raw", "http://raw.minio.local:9000", "http://minio.local:9000"),
    ("raw", "http://raw.minio.local:9000/raw", "http://minio.local:9000"),
    ("a.b", "http://a.b.localhost:9000", "http://localhost:9000"),
]


@pytest.mark.parametrize(("bucket", "url", "meant"), IN_THE_ENDPOINT)
def test_an_endpoint_with_the_bucket_in_it_is_refused(bucket: str, url: str, meant: str) -> None:
    """boto3 would add the bucket to it, and a second document begin; the error names what was probably meant."""
    with pytest.raises(StoreError, match=rf"^the endpoint .* has a bucket in it, .* probably {re.escape(meant)}(\.|$)"):
        Access(bucket=bucket, endpoint_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9000/",
        "https://gateway.example.org/storage/v1/s3",
        "https://gateway.example.org/raw-files",
        "http://minio:9000",
        "http://raw:9000",
        "http://minio-raw.local",
        "https://s3.eu-west-1.amazonaws.com/",
        "https://bucket.vpce-1a2b.s3.us-east-1.vpce.amazonaws.com",
        "https://vpce-1a2b.s3.us-east-1.vpce.amazonaws.com",
    ],
)
def test_other_endpoints_are_kept(url: str) -> None:
    """A gateway may have its S3 under a path; only the bucket's own name does not belong there."""
    assert url == Access(bucket="raw", endpoint_url=url).endpoint_url


def test_an_address_is_no_virtual_host() -> None:
    """A bucket may have the number with which an address begins."""
    assert "http://127.0.0.1:9000" == Access(bucket="127", endpoint_url="http://127.0.0.1:9000").endpoint_url


@pytest.mark.parametrize("access", [raw_access, clean_access])
@pytest.mark.parametrize("bucket", ["raw", "clean"])
def test_neither_bucket_may_be_in_the_endpoint(access: Callable[..., Access], bucket: str) -> None:
    """An endpoint is one for both buckets, so that either of them does not belong there; the variable is named."""
    buckets = {**RAW, "AWS_DEST_BUCKET_CLEAN": "clean"}
    url = f"http://127.0.0.1:9000/{bucket}"
    with pytest.raises(StoreError, match=r"probably http://127\.0\.0\.1:9000$"):
        access(buckets, None, url)
    with pytest.raises(StoreError, match=r"has a bucket in it \(AWS_ENDPOINT_URL in the environment\)"):
        access({**buckets, "AWS_ENDPOINT_URL": url})


# Buckets that are none for us


@pytest.mark.parametrize(
    ("bucket", "said"),
    [
        ("files--usw2-az1--x-s3", "is an S3 Express directory bucket"),
        ("point--usw2-az1--xa-s3", "is an access point of an S3 Express directory bucket"),
        ("files--table-s3", "is a table bucket"),
        ("lambda-abc--ol-s3", "is an Object Lambda access point"),
        ("outpost-abc--op-s3", "is an access point of S3 on Outposts"),
        ("fsx-abc-ext-s3alias", "is an access point of a file system"),
        ("mfzwi23gnjvgw.mrap", "is a Multi-Region Access Point"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/files", "is an ARN: name the bucket, or the alias"),
        ("arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap", "is an ARN: name the bucket, or the alias"),
        ("arn:aws:s3:::raw", "is an ARN: name the bucket, or the alias"),
    ],
)
@pytest.mark.parametrize("way", ["argument", "raw", "older", "clean", "tracker", "policy", "client"])
def test_what_is_no_general_purpose_bucket_is_refused_by_name(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, bucket: str, said: str, way: str
) -> None:
    """Before anything is sent, and in whatever way it comes."""
    assert scratch.is_dir()
    variable = {"raw": "AWS_DEST_BUCKET_RAW", "older": "RAW_BUCKET_NAME", "clean": "AWS_DEST_BUCKET_CLEAN"}.get(way)
    if variable is not None:
        monkeypatch.setenv(variable, bucket)
    make: dict[str, Callable[[], object]] = {
        "argument": lambda: raw_access({}, bucket),
        "raw": Tracker.from_env,
        "older": Tracker.from_env,
        "clean": lambda: CleanTracker.from_env(raw_bucket="raw"),
        "tracker": lambda: CleanTracker("raw", bucket),
        "policy": lambda: Scope(raw=bucket),
        "client": lambda: Tracker(bucket, client=boto3.client("s3", region_name="eu-west-1")),
    }
    with pytest.raises((StoreError, InvalidNameError), match=said if way != "policy" or ":" not in bucket else None):
        make[way]()


def test_an_access_point_of_a_bucket_is_another_name_of_it() -> None:
    """Its alias leads to one general purpose bucket, and is taken."""
    alias = "point-hrzrlukc5m36ft7okagglf3gmwluquse1b-s3alias"
    assert alias == Access(bucket=alias).bucket


# Blank, and with blanks


SETTINGS: Final = {
    "bucket": ("AWS_DEST_BUCKET_RAW", "RAW_BUCKET_NAME"),
    "endpoint_url": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "region": ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"),
    "access_key": ("AWS_ACCESS_KEY_ID",),
    "secret_key": ("AWS_SECRET_ACCESS_KEY",),
    "session_token": ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"),
}
GOOD: Final = {
    "AWS_DEST_BUCKET_RAW": "raw",
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "opensesame",
}
ARGUMENTS: Final = {
    "region": "region_name",
    "access_key": "aws_access_key_id",
    "secret_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
VALUES: Final = {"endpoint_url": "http://127.0.0.1:9000"}
EACH_NAME: Final = [(name, variable) for name, variables in SETTINGS.items() for variable in variables]
BAD: Final = {
    "line break": "{}\n",
    "carriage return": "{}\r",
    "blank after": "{} ",
    "blank before": " {}",
    "tab": "\t{}",
    "no-break space": "{}\u00a0",
    "line break inside": "a\n{}",
    "not ASCII": "{}é",
    "zero-width space": "\u200b{}",
    "byte order mark": "\ufeff{}",
    "control character": "{}\x00",
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize(("name", "variable"), EACH_NAME, ids=[variable for _, variable in EACH_NAME])
def test_a_setting_with_a_blank_or_a_line_break_is_named(name: str, variable: str, bad: str) -> None:
    """At once, with its variable and without a secret: each request would fail, and be tried again for a minute."""
    value = bad.format(VALUES.get(name, "hush"))
    env = {key: good for key, good in GOOD.items() if name != "bucket" or key != "AWS_DEST_BUCKET_RAW"}
    with pytest.raises(StoreError, match=rf"\({variable} in the environment\)$") as caught:
        raw_access({**env, variable: value})
    if name not in ("bucket", "region"):
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("bad", [*BAD.values(), ""], ids=[*BAD, "empty"])
@pytest.mark.parametrize("name", SETTINGS)
def test_so_is_an_argument(name: str, bad: str) -> None:
    """An argument is named as the caller named it; one that is empty is refused, for nothing is put in its place."""
    given: dict[str, Any] = {"bucket": "raw", "aws_access_key_id": "AKID", "aws_secret_access_key": "opensesame"}
    given[ARGUMENTS.get(name, name)] = bad.format(VALUES.get(name, "hush")) if bad else ""
    with pytest.raises(StoreError, match=ARGUMENTS.get(name, name.removesuffix("_url"))) as caught:
        Tracker(**given)
    if name not in ("bucket", "region"):
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize("bad", ["{}\n", "{} "])
@pytest.mark.parametrize("name", ["access_key", "secret_key", "session_token"])
def test_so_are_the_keys_of_a_client_that_is_given(scratch: Path, name: str, bad: str) -> None:
    """They would be sent by the next process, too."""
    assert scratch.is_dir()
    given = {"aws_access_key_id": "AKID", "aws_secret_access_key": "open", "aws_session_token": "token"}
    given[ARGUMENTS[name]] = bad.format("hush")
    client = boto3.session.Session().client("s3", region_name="eu-west-1", **given)  # type: ignore[call-overload]
    with pytest.raises(StoreError, match=rf"^{ARGUMENTS[name]} .* \(the client that was handed in\)$") as caught:
        Tracker("raw", client=client)
    assert "hush" not in str(caught.value)


def test_a_secret_may_have_a_blank_inside() -> None:
    """It is not sent, and some stores take such a one. A key and a token are sent."""
    assert "open sesame" == raw_access({**GOOD, "AWS_SECRET_ACCESS_KEY": "open sesame"}).secret_key
    with pytest.raises(StoreError, match="aws_access_key_id"):
        raw_access({**GOOD, "AWS_ACCESS_KEY_ID": "AK ID"})


@pytest.mark.parametrize("kind", [7, b"AKID"])
def test_a_setting_is_text(kind: Any) -> None:  # noqa: ANN401 - anything may be passed
    """A region or key of another type is refused."""
    with pytest.raises(StoreError, match="region_name"):
        Access(bucket="raw", region=kind)
    with pytest.raises(StoreError, match="aws_access_key_id"):
        Access(bucket="raw", access_key=kind, secret_key="b")


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n", " \r\n"])
@pytest.mark.parametrize(("name", "variable"), EACH_NAME, ids=[variable for _, variable in EACH_NAME])
def test_a_blank_variable_hides_nothing(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, blank: str
) -> None:
    """A variable that a compose file sets to nothing is not set: neither another name nor `.env` is hidden by it."""
    value = VALUES.get(name, "of-file")
    lines = {**GOOD, "AWS_SESSION_TOKEN": "token", SETTINGS[name][-1]: value}
    if name == "bucket":
        del lines["AWS_DEST_BUCKET_RAW"]
    (scratch / ".env").write_text("".join(f"{key}={one}\n" for key, one in lines.items()))
    monkeypatch.setenv(variable, blank)
    assert value == getattr(raw_access(environment()), name)


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_a_blank_clean_bucket_is_not_set(scratch: Path, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    """So `.env` has it, or nobody."""
    monkeypatch.setenv("AWS_DEST_BUCKET_CLEAN", blank)
    with pytest.raises(StoreError, match=r"^AWS_DEST_BUCKET_CLEAN is not set"):
        clean_access(environment())
    (scratch / ".env").write_text("AWS_DEST_BUCKET_CLEAN=clean\n")
    assert "clean" == clean_access(environment()).bucket


# The order of sources


@pytest.mark.parametrize(
    ("name", "of_environment", "of_file"),
    [
        (name, of_environment, of_file)
        for name, variables in SETTINGS.items()
        for of_environment in variables
        for of_file in variables
    ],
)
def test_any_name_in_the_environment_goes_before_any_in_the_env_file(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, name: str, of_environment: str, of_file: str
) -> None:
    """The order of names decides in one place alone."""
    near, far = (f"http://{one}:9000" if name == "endpoint_url" else one for one in ("near", "far"))
    (scratch / ".env").write_text(f"{of_file}={far}\n")
    for key, good in GOOD.items():
        if name != "bucket" or key != "AWS_DEST_BUCKET_RAW":
            monkeypatch.setenv(key, good)
    monkeypatch.setenv(of_environment, near)
    access = raw_access(environment())
    assert (near, f"{of_environment} in the environment") == (getattr(access, name), access.source(name))


def test_each_setting_keeps_its_source(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, with the environment or the path of `.env`; sources travel, and make no difference."""
    (scratch / ".env").write_text("RAW_BUCKET_NAME=raw\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    access = raw_access(environment(), None, "http://127.0.0.1:9000")
    expected = {
        "bucket": f"RAW_BUCKET_NAME in {scratch / '.env'}",
        "endpoint_url": "an argument",
        "region": "AWS_DEFAULT_REGION in the environment",
        "access_key": f"AWS_ACCESS_KEY_ID in {scratch / '.env'}",
    }
    assert expected == {name: pickle.loads(pickle.dumps(access)).source(name) for name in expected}
    assert 1 == len({access, replace(access, sources={})})


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_of_the_environment_goes_before_keys_of_the_env_file(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """Keys of the environment go before the profile, as in boto3; a blank one is none."""
    (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    monkeypatch.setenv(variable, " ")
    assert "a" == raw_access(environment()).access_key
    monkeypatch.setenv(variable, "analyst")
    assert Access(bucket="raw") == raw_access(environment())
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "c")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "d")
    assert Access(bucket="raw", access_key="c", secret_key="d") == raw_access(environment())


@pytest.mark.parametrize("token", ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"])
def test_a_token_without_keys_is_ignored(scratch: Path, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Credentials are left to boto3's chain; keys of `.env` are taken, and without that token."""
    monkeypatch.setenv(token, "token")
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    assert Access(bucket="raw") == raw_access(environment())
    (scratch / ".env").write_text("AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n")
    access = raw_access(environment())
    assert ("a", "b", None) == (access.access_key, access.secret_key, access.session_token)


def test_the_environment_may_ignore_endpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for boto3: only an endpoint that is an argument counts then."""
    env = {**RAW, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9000", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"}
    assert None is raw_access(env).endpoint_url
    assert "http://given" == raw_access(env, None, "http://given").endpoint_url
    monkeypatch.setitem(env, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "false")
    assert "http://127.0.0.1:9000" == raw_access(env).endpoint_url


def test_without_a_working_directory_there_is_no_env_file(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose folder was removed has all that it needs in the environment."""
    gone = scratch / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    assert Access(bucket="raw") == raw_access(environment())
    monkeypatch.chdir(scratch)


def test_an_env_file_that_cannot_be_read_is_an_error(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with what to do."""

    def refuse(path: str, **_: object) -> None:
        raise PermissionError(13, "Permission denied", path)

    (scratch / ".env").write_text("")
    monkeypatch.setattr("cf_data_tracker.settings.dotenv_values", refuse)
    with pytest.raises(StoreError, match=r"\.env cannot be read \(Permission denied\): allow it, or remove the file$"):
        environment()


def test_an_env_file_may_begin_with_a_byte_order_mark(scratch: Path) -> None:
    """As Windows' editors write it; the first name would not be found with it."""
    (scratch / ".env").write_bytes(b"\xef\xbb\xbfAWS_DEST_BUCKET_RAW=raw\n")
    assert "raw" == raw_access(environment()).bucket


ELSEWHERE: Final = "http://127.0.0.1:9000"
KEYS_SET: Final = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}


@pytest.mark.parametrize(
    "set_there", [KEYS_SET, {"AWS_PROFILE": "analyst"}, {}], ids=["environment", "profile", "chain"]
)
@pytest.mark.parametrize("file_has_keys", [True, False])
@pytest.mark.parametrize("url", [ELSEWHERE, "https://store.example.org"])
def test_keys_are_not_sent_to_an_endpoint_of_the_env_file(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, set_there: dict[str, str], *, file_has_keys: bool, url: str
) -> None:
    """The `.env` of another project would lead them there. Its own keys may go; so may any, if the caller says so."""
    keys = "AWS_ACCESS_KEY_ID=c\nAWS_SECRET_ACCESS_KEY=d\n" if file_has_keys else ""
    (scratch / ".env").write_text(f"AWS_DEST_BUCKET_RAW=raw\nAWS_ENDPOINT_URL_S3={url}\n{keys}")
    for name, value in set_there.items():
        monkeypatch.setenv(name, value)
    if file_has_keys and not set_there:
        assert (url, "c") == (raw_access(environment()).endpoint_url, raw_access(environment()).access_key)
        return
    with pytest.raises(
        StoreError, match=rf"would be sent to {url} \(AWS_ENDPOINT_URL_S3 in {scratch}/\.env\)"
    ) as caught:
        raw_access(environment())
    assert "set AWS_ENDPOINT_URL_S3 in the environment or pass the endpoint as an argument" in str(caught.value)
    assert url == raw_access(environment(), None, url).endpoint_url
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    assert url == raw_access(environment()).endpoint_url


def test_awss_own_endpoint_may_come_from_the_env_file(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent there cannot be used by anybody else."""
    (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_ENDPOINT_URL_S3=https://s3.eu-west-1.amazonaws.com\n")
    for name, value in KEYS_SET.items():
        monkeypatch.setenv(name, value)
    assert "https://s3.eu-west-1.amazonaws.com" == raw_access(environment()).endpoint_url


def test_keys_of_the_env_file_go_where_the_environment_says(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that is set in the environment is what the caller wants."""
    (scratch / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_ACCESS_KEY_ID=c\nAWS_SECRET_ACCESS_KEY=d\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ELSEWHERE)
    assert (ELSEWHERE, "c") == (raw_access(environment()).endpoint_url, raw_access(environment()).access_key)
