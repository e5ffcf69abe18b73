"""boto3's own settings: what it finds, in which order, and errors that name the setting, without what it holds."""

import contextlib
import json
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
from botocore.exceptions import ClientError

from cf_data_tracker import Tracker
from cf_data_tracker.errors import StoreError
from cf_data_tracker.settings import Access, environment, raw_access
from cf_data_tracker.store import Unanswered
from cf_data_tracker.stores.s3 import S3Store, open_client
from cf_data_tracker.stores.session import credentials_error, sources_of

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

NOWHERE: Final = "http://127.0.0.1:9"
AWS: Final = Access(bucket="raw", region="eu-west-1")
GIVEN: Final = Access(bucket="raw", region="eu-west-1", endpoint_url=NOWHERE)
ROLE: Final = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture(autouse=True)
def home(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder where boto3 looks for its files, on a machine that is nobody's."""
    monkeypatch.setenv("HOME", str(scratch))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    (scratch / ".aws").mkdir()
    return scratch


def config(home: Path, text: str) -> None:
    """Write boto3's config file."""
    (home / ".aws" / "config").write_text(text)


def keys(home: Path, text: str = "[default]\naws_access_key_id = AKID\naws_secret_access_key = opensesame\n") -> None:
    """Write boto3's credentials file."""
    (home / ".aws" / "credentials").write_text(text)


def program(home: Path, text: str) -> str:
    """Write a program that prints credentials, and return its path."""
    path = home / "program"
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def endpoint_of(access: Access) -> str:
    """Return where a client would send to."""
    with contextlib.closing(open_client(access)) as client:
        return client.meta.endpoint_url


def refusal(access: Access) -> StoreError:
    """Return the error of a client that is opened and asked, which shows no secret, nor does any error beneath it."""
    with pytest.raises(StoreError) as caught, contextlib.closing(open_client(access)) as client:
        S3Store(client, "raw").read("k")
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    return caught.value


# Blank variables


BLANK: Final = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_MAX_ATTEMPTS",
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
)


@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_blank_variables_do_not_confuse_boto3(home: Path, monkeypatch: pytest.MonkeyPatch, blank: str) -> None:
    """They are not set: what boto3's files say counts."""
    config(home, f"[default]\nregion = eu-west-3\nendpoint_url = {NOWHERE}\n")
    keys(home)
    for variable in BLANK:
        monkeypatch.setenv(variable, blank)
    with contextlib.closing(open_client(Access(bucket="raw"))) as client:
        assert (NOWHERE, "eu-west-3") == (client.meta.endpoint_url, client.meta.region_name)
        assert "AKID" == client._request_signer._credentials.access_key  # type: ignore[attr-defined]  # noqa: SLF001 - no door


@pytest.mark.parametrize("blank", ["", " "])
@pytest.mark.parametrize("variable", ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_ACCESS_KEY_ID"])
def test_a_blank_variable_is_no_source_of_credentials(
    monkeypatch: pytest.MonkeyPatch, variable: str, blank: str
) -> None:
    """Without any other, there are none."""
    monkeypatch.setenv(variable, blank)
    assert "boto3's own chain: nothing found" == sources_of(AWS)[1]["credentials"]


# Endpoints


def test_the_endpoint_is_looked_up_in_boto3s_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument, the variables, the profile's services, the profile; and AWS if none of them names one."""
    keys(home)
    assert "https://s3.eu-west-1.amazonaws.com" == endpoint_of(AWS)
    config(home, "[default]\nendpoint_url = http://127.0.0.1:1\n")
    assert "http://127.0.0.1:1" == endpoint_of(AWS)
    config(home, "[default]\nservices = mine\nendpoint_url = http://127.0.0.1:1\n[services mine]\nsts =\n  a = b\n")
    assert "http://127.0.0.1:1" == endpoint_of(AWS)
    config(
        home,
        "[default]\nservices = mine\nendpoint_url = http://127.0.0.1:1\n"
        "[services mine]\ns3 =\n  endpoint_url = http://127.0.0.1:2\n",
    )
    assert "http://127.0.0.1:2" == endpoint_of(AWS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:3")
    assert "http://127.0.0.1:3" == endpoint_of(AWS)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:4")
    assert "http://127.0.0.1:4" == endpoint_of(AWS)
    assert NOWHERE == endpoint_of(GIVEN)


def test_the_profile_of_the_environment_has_its_own_endpoint(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another profile's does not count."""
    keys(home)
    config(home, f"[default]\nendpoint_url = {NOWHERE}\n[profile other]\nregion = eu-west-3\n")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert "https://s3.eu-west-3.amazonaws.com" == endpoint_of(Access(bucket="raw"))


@pytest.mark.parametrize("where", ["variable", "file"])
def test_configured_endpoints_may_be_ignored(home: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """The variable and the file say so, as to boto3: all but an argument are ignored then."""
    keys(home)
    if where == "variable":
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        config(home, f"[default]\nendpoint_url = {NOWHERE}\n")
    else:
        config(home, f"[default]\nendpoint_url = {NOWHERE}\nignore_configured_endpoint_urls = true\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", NOWHERE)
    monkeypatch.setenv("AWS_DEST_BUCKET_RAW", "raw")
    for access in (AWS, raw_access({**environment(), "AWS_REGION_NAME": "eu-west-1"})):
        assert "https://s3.eu-west-1.amazonaws.com" == endpoint_of(access)
    assert NOWHERE == endpoint_of(GIVEN)
    assert "endpoint='AWS'" in repr(opened(Tracker.from_env()))
    assert NOWHERE in repr(opened(Tracker.from_env(endpoint_url=NOWHERE)))


def opened(tracker: Tracker) -> Tracker:
    """Return a tracker that has opened its client."""
    assert tracker._connection._here.place  # noqa: SLF001 - without sending anything
    return tracker


@pytest.mark.parametrize(
    "text",
    ["[default]\nendpoint_url = {}\n", "[default]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = {}\n"],
    ids=["profile", "services"],
)
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:9/raw", "has a bucket in it .* boto3's files"),
        ("http://raw.minio.local:9", "has a bucket in it .* boto3's files"),
        ("http://user:hush@127.0.0.1:9", "must be a URL .* boto3's files"),
        ("127.0.0.1:9", "must be a URL .* boto3's files"),
        ("http://127.0.0.1:9 # mine", "must be a URL .* boto3's files"),
    ],
)
def test_a_bad_endpoint_of_boto3s_files_is_named(home: Path, text: str, url: str, said: str) -> None:
    """As one that is an argument, or set."""
    keys(home)
    config(home, text.format(url))
    with pytest.raises(StoreError, match=said) as caught:
        open_client(AWS)
    assert "hush" not in str(caught.value)


def test_a_bad_endpoint_that_boto3_would_read_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the variables are left to boto3."""
    keys(home)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"{NOWHERE}/raw")
    with pytest.raises(StoreError, match=r"has a bucket in it \(AWS_ENDPOINT_URL in the environment\)"):
        open_client(AWS)


@pytest.mark.parametrize("url", ["https://raw.s3.eu-west-1.amazonaws.com", f"{NOWHERE}/raw", "http://raw.minio.local"])
def test_a_given_client_whose_endpoint_has_the_bucket_in_it_is_refused(url: str) -> None:
    """It would write a second document, under the bucket's name."""
    client = boto3.client(
        "s3", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with pytest.raises(StoreError, match=r"has a bucket in it \(the client that was handed in\)"):
        Tracker("raw", client=client)


def test_keys_of_the_env_file_are_not_sent_to_an_endpoint_of_boto3s_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two are from two places, and nobody has said that they belong together."""
    (home / ".env").write_text("AWS_DEST_BUCKET_RAW=raw\nAWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=hush\n")
    config(home, f"[default]\nendpoint_url = {NOWHERE}\n")
    said = rf"keys \(AWS_ACCESS_KEY_ID in {home}/\.env\) would be sent to {NOWHERE} \(endpoint_url in boto3's files\)"
    with pytest.raises(StoreError, match=said):
        open_client(raw_access(environment()))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", NOWHERE)
    assert NOWHERE == endpoint_of(raw_access(environment()))


# Settings that make no session


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_an_unknown_profile_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """With its variable; a line break at its end can be seen."""
    keys(home)
    monkeypatch.setenv(variable, "prod\n")
    with pytest.raises(StoreError, match=rf"there is no profile 'prod\\n': correct {variable}, or add the profile"):
        open_client(AWS)


@pytest.mark.parametrize("file", ["config", "credentials"])
@pytest.mark.parametrize(
    "text", ["aws_secret_access_key = hush\n", "[default]\naws_secret_access_key\n", "[default]\ns3 =\n  hush\n"]
)
def test_a_malformed_file_is_named(home: Path, file: str, text: str) -> None:
    """Without the line that is wrong: it may hold a key."""
    (home / ".aws" / file).write_text(text)
    assert f".aws/{file} cannot be read as settings of boto3: correct it" in str(refusal(AWS))


def test_a_file_that_is_not_utf_8_is_named(home: Path) -> None:
    """As one that is malformed."""
    (home / ".aws" / "config").write_bytes(b"[default]\nregion = \xff\n")
    assert ".aws/config cannot be read as settings of boto3" in str(refusal(AWS))


def test_services_that_are_not_there_are_named(home: Path) -> None:
    """A profile may refer to a section that is missing."""
    config(home, "[default]\nservices = mine\n")
    assert "services = 'mine' in boto3's files names a section that is not there" in str(refusal(AWS))


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_are_missing_are_named(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Each request would miss them. Without TLS they are not needed."""
    keys(home)
    monkeypatch.setenv(variable, str(home / "missing.pem"))
    assert f"missing.pem is not there: correct {variable}" in str(refusal(AWS)).replace(
        "AWS_CA_BUNDLE, ca_bundle in boto3's files, or ", "" if variable.startswith("R") else "AWS_CA_BUNDLE, or "
    )
    assert NOWHERE == endpoint_of(GIVEN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("aws_access_key_id = AKID\n", r"missing: aws_secret_access_key: set both or neither"),
        ("aws_access_key_id =\naws_secret_access_key = hush\n", r"the access key is empty, .*the credentials file"),
        ("aws_access_key_id = AKID\naws_secret_access_key =\n", r"the secret key is empty, .*the credentials file"),
        ("aws_access_key_id = AK ID\naws_secret_access_key = hush\n", r"the access key is empty, or has a blank"),
        ("aws_access_key_id = AKID\naws_secret_access_key = hush\n  hush\n", r"the secret key .* a line break"),
        (
            "aws_access_key_id = AKID\naws_secret_access_key = hush\naws_session_token = h\u00fcsh\n",
            r"the session token .* not ASCII in it: correct it \(the credentials file",
        ),
    ],
)
def test_oddities_of_the_credentials_file_are_named(home: Path, text: str, said: str) -> None:
    """At once, when the client is opened."""
    keys(home, f"[default]\n{text}")
    with pytest.raises(StoreError, match=said) as caught:
        open_client(AWS)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("access key", "AWS_ACCESS_KEY_ID"),
        ("secret key", "AWS_SECRET_ACCESS_KEY"),
        ("session token", "AWS_SESSION_TOKEN"),
    ],
)
@pytest.mark.parametrize("bad", ["hush\n", "h\u00fcsh"])
def test_keys_that_boto3_finds_in_the_environment_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, variable: str, bad: str
) -> None:
    """Where the variables are left to boto3."""
    for key, value in {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s", variable: bad}.items():
        monkeypatch.setenv(key, value)
    said = str(refusal(AWS))
    assert f"the {name} is empty, or has" in said
    assert f"({variable} in the environment)" in said


def test_half_a_key_whose_other_half_is_blank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank half is a missing one."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", " ")
    assert "missing: AWS_SECRET_ACCESS_KEY: set both or neither" in str(refusal(AWS))


def test_a_token_without_keys_is_left_out(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's chain finds the credentials, and theirs is the token."""
    keys(home)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    for access in (AWS, Access(bucket="raw", region="eu-west-1", session_token="token")):
        with contextlib.closing(open_client(access)) as client:
            found = client._request_signer._credentials  # type: ignore[attr-defined]  # noqa: SLF001 - no door
            assert ("AKID", None) == (found.access_key, found.token)


# Credentials that have to be fetched


def printing(answer: object) -> str:
    """Return a program that prints JSON."""
    return f"print({json.dumps(json.dumps(answer))})"


@pytest.mark.parametrize(
    "text",
    [
        "raise SystemExit('hush')",
        "print('hush')",
        "print('[]')",
        "print('null')",
        "print('\\xff')",
        printing({"Version": 1, "AccessKeyId": "hush"}),
        printing({"Version": 2, "AccessKeyId": "hush", "SecretAccessKey": "hush"}),
        printing({"Version": 1, "AccessKeyId": "hush\n", "SecretAccessKey": "hush"}),
        printing({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "hush", "Expiration": "hush"}),
        printing({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "hush", "Expiration": "2999-01-01T00:00:00"}),
        printing({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "hush\n", "Expiration": "2999-01-01T00:00:00Z"}),
        printing({"Version": 1, "AccessKeyId": "a", "SecretAccessKey": 7, "Expiration": "2999-01-01T00:00:00Z"}),
    ],
)
def test_a_credential_process_that_fails_is_named(home: Path, text: str) -> None:
    """With what it should print, and without what it did."""
    config(home, f"[default]\ncredential_process = {program(home, text)}\n")
    assert "credential_process in boto3's files" in str(refusal(AWS))


@pytest.mark.parametrize("command", ["/nowhere/program", "unclosed 'quote"])
def test_a_credential_process_that_cannot_be_run_is_named(home: Path, command: str) -> None:
    """Its path is no secret."""
    config(home, f"[default]\ncredential_process = {command}\n")
    assert "credential_process in boto3's files" in str(refusal(AWS))
    assert ("/nowhere/program cannot be read" in str(refusal(AWS))) == command.startswith("/")


def test_a_credential_process_may_be_good(home: Path) -> None:
    """What it prints is sent, to where nobody listens here."""
    answer = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "2999-01-01T00:00:00Z"}
    config(home, f"[default]\ncredential_process = {program(home, printing(answer))}\n")
    with contextlib.closing(open_client(GIVEN)) as client, pytest.raises(Unanswered, match="cannot be reached"):
        S3Store(client, "raw").read("k")


def test_a_missing_web_identity_token_file_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a variable, and in boto3's files."""
    missing = home / "missing.jwt"
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(missing))
    said = f"{missing} cannot be read (No such file or directory): correct AWS_WEB_IDENTITY_TOKEN_FILE"
    assert str(refusal(AWS)).endswith(said)
    monkeypatch.delenv("AWS_WEB_IDENTITY_TOKEN_FILE")
    config(home, f"[default]\nrole_arn = {ROLE}\nweb_identity_token_file = {missing}\n")
    assert f"{missing} cannot be read (No such file or directory): correct " in str(refusal(AWS))
    assert "web_identity_token_file in boto3's files" in str(refusal(AWS))


def test_a_web_identity_without_a_role_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The role is the other half of it."""
    (home / "token.jwt").write_text("hush")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token.jwt"))
    assert "AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN" in str(refusal(AWS))


def test_a_missing_pod_identity_token_file_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The container's agent is not asked without it."""
    missing = home / "missing.token"
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(missing))
    said = f"{missing} cannot be read (No such file or directory): correct AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    assert said in str(refusal(AWS))
    missing.write_text("hush\nhush\n")
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in str(refusal(AWS))
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://store.invalid/v1/credentials")
    missing.write_text("hush")
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in str(refusal(AWS))


def test_credentials_without_what_they_should_have_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's agent may answer with anything."""
    with answering(200, b'{"hush": 1}') as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in str(refusal(AWS))


@pytest.mark.parametrize("setting", ["AWS_CREDENTIAL_EXPIRATION", "AWS_METADATA_SERVICE_TIMEOUT"])
def test_a_setting_that_is_no_date_or_number_is_an_error(monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    """It is named, or its value is."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv(setting, "soon")
    assert setting in str(refusal(AWS)) or "soon" in str(refusal(AWS))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", StoreError),
        (400, "InvalidIdentityToken", StoreError),
        (400, "ExpiredTokenException", StoreError),
        (503, "ServiceUnavailable", Unanswered),
        (429, "Throttling", Unanswered),
    ],
)
def test_what_the_token_service_refuses_is_not_said_of_the_store(
    home: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str, kind: type[Exception]
) -> None:
    """It has codes like S3's. Nothing was sent to the store, so that what will pass is tried again."""
    (home / "token.jwt").write_text("hush")
    answer = f"<ErrorResponse><Error><Code>{code}</Code><Message>not  now\n</Message></Error></ErrorResponse>"
    with answering(status, answer.encode()) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token.jwt"))
        with contextlib.closing(open_client(AWS)) as client, pytest.raises(kind) as caught:
            S3Store(client, "raw").write("k", b"", replacing=None)
    assert f"AssumeRoleWithWebIdentity was answered {code}: not now: correct AWS_WEB_IDENTITY" in str(caught.value)
    assert getattr(caught.value, "sent", False) is False


def test_a_token_service_that_cannot_be_reached_is_tried_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent to the store."""
    (home / "token.jwt").write_text("hush")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", NOWHERE)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token.jwt"))
    with (
        contextlib.closing(open_client(AWS)) as client,
        pytest.raises(Unanswered, match="no credentials for") as caught,
    ):
        S3Store(client, "raw").read("k")
    assert not caught.value.sent


def test_the_credentials_of_a_given_client_are_known_by_their_errors(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a client has none of our checks, so what its calls raise is looked at. Other errors are none of these."""
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "missing.jwt"))
    client: S3Client = boto3.client("s3", region_name="eu-west-1")
    error = raised(lambda: client.get_object(Bucket="raw", Key="k"))
    assert isinstance(error, FileNotFoundError)
    meant = credentials_error(error, "s3://raw/k")
    assert isinstance(meant, StoreError)
    assert str(meant).startswith(f"no credentials for s3://raw/k: {home / 'missing.jwt'} cannot be read")
    with pytest.raises(StoreError, match=r"^no credentials for s3://raw/k: .*missing\.jwt cannot be read"):
        S3Store(client, "raw").read("k")
    assert None is credentials_error(ClientError({"Error": {"Code": "AccessDenied"}}, "GetObject"), "s3://raw/k")
    assert None is credentials_error(raised(lambda: Path("missing").read_text(encoding="utf-8")), "s3://raw/k")


class Stop(Exception):  # noqa: N818 - as a program names what its signal handler raises
    """What a program raises at any point."""


@pytest.mark.parametrize("given", [True, False])
def test_an_exception_of_the_program_passes_through(
    home: Path, monkeypatch: pytest.MonkeyPatch, *, given: bool
) -> None:
    """It is raised while credentials are fetched, and says nothing of them."""

    def stop(*_: object, **__: object) -> None:
        raise Stop

    (home / "token.jwt").write_text("token")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(home / "token.jwt"))
    monkeypatch.setattr("botocore.utils.FileWebIdentityTokenLoader.__call__", stop)
    client: S3Client = boto3.client("s3", region_name="eu-west-1") if given else open_client(AWS)
    with contextlib.closing(client), pytest.raises(Stop):
        S3Store(client, "raw").read("k")


def raised(call: Callable[[], object]) -> Exception:
    """Return what a call raises."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Yield the URL of a server on this machine that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name is the library's

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the library's signature
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# Sources


def test_what_boto3_finds_has_a_source(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint and the region of its files, and the provider of its keys."""
    keys(home)
    config(home, f"[default]\nregion = eu-west-3\nendpoint_url = {NOWHERE}\n")
    access, sources = sources_of(Access(bucket="raw"))
    assert NOWHERE == access.endpoint_url
    assert {
        "bucket": "an argument",
        "endpoint": "endpoint_url in boto3's files",
        "region": "boto3's own chain: eu-west-3",
        "credentials": "boto3's own chain: shared-credentials-file",
    } == sources
    monkeypatch.setenv("AWS_PROFILE", "missing")
    expected = {"region": "boto3's own chain", "credentials": "boto3's own chain", "endpoint": "none is set"}
    assert {"bucket": "an argument", **expected} == sources_of(Access(bucket="raw"))[1]
