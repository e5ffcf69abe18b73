"""What boto3 settles by itself: its session, the endpoint and credentials that it finds, and what went wrong there.

boto3 looks for settings in its own variables and files. Two things are done otherwise here. A variable that is blank is
not set. And the endpoint is looked up here, in boto3's order, so that its source is known and its keys can be checked.

The providers of credentials raise whatever they meet: a missing file, an answer without a key. Such an error is known
by its traceback, which leads through botocore's credentials, and it names the setting that it comes from.
"""

import os
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.credentials import ContainerProvider, EnvProvider
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConfigParseError,
    ConnectionError,  # noqa: A004 - botocore's
    HTTPClientError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.session import Session

from cf_data_tracker.errors import StoreError, TrackerError
from cf_data_tracker.names import shortened, shown
from cf_data_tracker.settings import (
    ARGUMENT,
    CHAIN,
    ENDPOINT_URL,
    IN_ENVIRONMENT,
    KEYS,
    NOT_PLAIN,
    PROFILE,
    TOKEN,
    Access,
    check_same_place,
    is_plain,
    is_set,
    named_profile,
)
from cf_data_tracker.store import Unanswered
from cf_data_tracker.stores.transport import not_opened

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PROVIDERS: Final = {
    "env": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_CREDENTIAL_EXPIRATION in the environment",
    "assume-role": "role_arn in boto3's files",
    "assume-role-with-web-identity": "AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN, or web_identity_token_file in "
    "boto3's files",
    "sso": "the sign-in of boto3's files (aws sso login renews it)",
    "login": "the sign-in of boto3's files (aws login renews it)",
    "shared-credentials-file": "the credentials file (~/.aws/credentials, or AWS_SHARED_CREDENTIALS_FILE)",
    "config-file": "keys in the config file (~/.aws/config, or AWS_CONFIG_FILE)",
    "custom-process": "credential_process in boto3's files (run it by hand: it prints JSON with Version 1)",
    "container-role": "AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI, with "
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE if that is set",
    "iam-role": "the role of this machine",
}
"""The settings of each provider of botocore, by its method."""

FILES: Final = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
)
IN_BOTO3: Final = "in boto3's files"
NATURAL: Final = (
    BotoCoreError,
    ClientError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
"""What botocore raises over settings that are wrong; anything else is the program's around us, and passes through."""

TRANSIENT: Final = (ConnectionError, HTTPClientError)
SERVER_ERROR, TOO_MANY = 500, 429


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A session of boto3, and how to reach the bucket as far as boto3 knows.

    Attributes:
        session: The session.
        access: Given access with the endpoint that boto3 finds; its sources say where from.
        credentials: botocore's, which may renew themselves; `None` if it finds none.
        verify: The file with the certificates that are trusted, or `True` for boto3's own.
    """

    session: boto3.session.Session
    access: Access
    credentials: Any
    verify: str | bool

    def check_renewals(self, client: "S3Client") -> None:
        """Let a client check its credentials before each request, if they renew themselves."""
        if self.credentials is not None and not _stay(self.credentials):
            client.meta.events.register_first(
                "before-sign.s3", checking(self.credentials, f"s3://{self.access.bucket}")
            )


def open_session(access: Access) -> Opened:
    """Return a session for a bucket. Nothing is sent, unless a role or a sign-in needs it for its keys.

    Raises:
        StoreError: The settings, boto3's own among them, do not make one.
    """
    with settling(access.bucket):
        core = Session(session_vars=_without_blank_variables())
        keys = access.access_key is not None
        session = boto3.session.Session(
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            aws_session_token=access.session_token if keys else None,
            region_name=access.region,
            botocore_session=core,
        )
        access = _with_endpoint(access, core)
        check_same_place(access)
        if not keys:
            _read_without_blanks(core)
        credentials: Any = core.get_credentials()
        if _stay(credentials):
            check_credentials(credentials, credentials.method)
        return Opened(
            session=session, access=access, credentials=credentials, verify=_certificates(core, access.endpoint_url)
        )


@contextmanager
def settling(bucket: str) -> Iterator[None]:
    """Raise what goes wrong while boto3 reads its settings as `StoreError`.

    Raises:
        StoreError: So it does.
    """
    try:
        yield
    except NATURAL as error:
        if isinstance(error, TrackerError):
            raise
        # What a provider of credentials says may hold a secret, so that it is not shown as the cause, either.
        cause = error if _provider(error) is None else None
        raise StoreError(f"no connection can be made to the bucket {bucket}: {_reason(error)}") from cause


def credentials_error(error: BaseException, where: str) -> Exception | None:
    """Return the signal or error for a request that was not sent because its credentials could not be had.

    Args:
        error: What a call of a client raised, or what is handled now.
        where: What was asked for, for the message.

    Returns:
        `None` if it has nothing to do with credentials.
    """
    if _provider(error) is None or isinstance(error, TrackerError):
        return None
    said = f"no credentials for {where}: {_reason(error)}"
    answer = error.response if isinstance(error, ClientError) else {}
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if isinstance(error, TRANSIENT) or status >= SERVER_ERROR or status == TOO_MANY:
        return Unanswered(said, sent=False)
    return StoreError(said)


@contextmanager
def fetching(where: str) -> Iterator[None]:
    """Raise a failure to fetch the credentials of a request as the signal or error that it stands for.

    Raises:
        StoreError: A setting has to be corrected.
        Unanswered: What gives the credentials did not answer, and may do so later.
    """
    try:
        yield
    except NATURAL as error:
        meant = credentials_error(error, where)
        if meant is None:
            raise
        raise meant from None


def check_credentials(credentials: Any, method: str) -> None:  # noqa: ANN401 - botocore's, frozen or not
    """Check that credentials can be sent: with a line break in a key, every request would fail, and be tried again.

    Raises:
        StoreError: One of them is malformed; its setting is named, and not its value.
    """
    names = {
        "access_key": (credentials.access_key, "access key", KEYS[0]),
        "secret_key": (credentials.secret_key, "secret key", KEYS[1]),
        "session_token": (credentials.token, "session token", TOKEN[1]),
    }
    for name, (value, called, variable) in names.items():
        if not is_plain(name, value) and (value is not None or name != "session_token"):
            source = f"{variable} {IN_ENVIRONMENT}" if method == "env" else PROVIDERS.get(method, method)
            raise StoreError(f"the {called} {NOT_PLAIN} ({source})")


def checking(credentials: Any, where: str) -> Callable[..., None]:  # noqa: ANN401 - botocore's
    """Return a handler of `before-sign` that fetches credentials where they renew themselves, and checks them.

    It raises the signal or error that `credentials_error` returns, or `StoreError` for what cannot be sent.
    """

    def check(**_: object) -> None:
        with fetching(where):
            frozen = credentials.get_frozen_credentials()
        check_credentials(frozen, credentials.method)

    return check


def sources_of(access: Access) -> tuple[Access, dict[str, str]]:
    """Return access with the endpoint that boto3 finds, and where each setting comes from.

    If boto3 can make no session, they say what is known without: opening a client raises the error.
    """
    region = keys = CHAIN
    try:
        opened = open_session(access)
    except StoreError:
        pass
    else:
        access = opened.access
        region = f"{CHAIN}: {opened.session.region_name or 'nothing found'}"
        keys = f"{CHAIN}: {opened.credentials.method if opened.credentials is not None else 'nothing found'}"
    return access, {
        "bucket": access.source("bucket"),
        "endpoint": access.source("endpoint_url") if access.endpoint_url else "none is set",
        "region": access.source("region") if access.region else region,
        "credentials": access.source("access_key") if access.access_key else keys,
    }


def _without_blank_variables() -> dict[str, Any]:
    blank = {name for name, value in os.environ.items() if not value.strip()}
    kept: dict[str, Any] = {}
    for name, (in_files, variables, default, convert) in Session.SESSION_VARIABLES.items():
        names = variables if isinstance(variables, list) else [variables]
        if blank.intersection(names):
            kept[name] = (in_files, [one for one in names if one not in blank], default, convert)
    return kept


def _read_without_blanks(core: Session) -> None:
    environ = {name: value for name, value in os.environ.items() if value.strip()}
    for provider in core.get_component("credential_provider").providers:
        if isinstance(provider, EnvProvider):
            provider.environ = environ
        elif isinstance(provider, ContainerProvider):
            provider._environ = environ  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other door


def _stay(credentials: Any) -> bool:  # noqa: ANN401 - botocore's, or none
    """Return whether credentials are what they will be: those of a role or a sign-in are fetched, and fetched again."""
    return type(credentials).__name__ == "Credentials"


def _certificates(core: Session, endpoint_url: str | None) -> str | bool:
    """Return what boto3 would trust. A file that is missing would be missed by each request, and tried again."""
    path = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE", "")
    if not path.strip():
        return True
    if not Path(path).exists() and not (endpoint_url or "").startswith("http:"):
        raise StoreError(f"{path} is not there: correct AWS_CA_BUNDLE, ca_bundle {IN_BOTO3}, or REQUESTS_CA_BUNDLE")
    return str(path)


def _with_endpoint(access: Access, core: Session) -> Access:
    """Return access with the endpoint that counts, as boto3 has it: an argument, variables, and its files."""
    if access.endpoint_url is not None and access.source("endpoint_url") == ARGUMENT:
        return access
    endpoint_url, source = access.endpoint_url, access.sources.get("endpoint_url", "")
    if core.get_config_variable("ignore_configured_endpoint_urls"):
        endpoint_url = None
    elif endpoint_url is None:
        endpoint_url, source = _configured(core)
    return replace(access, endpoint_url=endpoint_url, sources={**access.sources, "endpoint_url": source})


def _configured(core: Session) -> tuple[str | None, str]:
    for name in ENDPOINT_URL:
        if is_set(os.environ, name):
            return os.environ[name], f"{name} {IN_ENVIRONMENT}"
    profile: Mapping[str, Any] = core.get_scoped_config()
    if "services" in profile:
        services = core.full_config.get("services", {}).get(profile["services"])
        if not services:
            raise StoreError(f"services = {shown(profile['services'])} {IN_BOTO3} names a section that is not there")
        if isinstance(services.get("s3"), Mapping) and services["s3"].get("endpoint_url"):
            return services["s3"]["endpoint_url"], f"endpoint_url of services {profile['services']} {IN_BOTO3}"
    return profile.get("endpoint_url") or None, f"endpoint_url {IN_BOTO3}"


def _reason(error: BaseException) -> str:  # noqa: PLR0911 - one for each kind
    """Return what is wrong with a setting, without what it holds: a file may have a key in the line that is wrong."""
    if isinstance(error, ProfileNotFound):
        profile, variable = named_profile() or ("default", PROFILE[1])
        return f"there is no profile {shown(profile)}: correct {variable}, or add the profile to ~/.aws/config"
    if isinstance(error, RecursionError):
        return not_opened(error)
    if isinstance(error, ConfigParseError):
        return f"{error.kwargs['path']} cannot be read as settings of boto3: correct it"
    if isinstance(error, PartialCredentialsError):
        return f"{error}: set both or neither"
    provider = _provider(error)
    what = "the settings" if provider is None else PROVIDERS.get(provider, provider)
    if isinstance(error, OSError) and error.filename is not None:
        variable = next((name for name in FILES if os.environ.get(name) == error.filename), "")
        return f"{error.filename} cannot be read ({error.strerror}): correct {variable or what}"
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        why = shortened(f"{error.operation_name} was answered {said.get('Code')}: {said.get('Message')}", to=300)
        return f"{' '.join(why.split())}: correct {what}"
    if provider is not None:
        # The words of a provider may hold what a program printed, or a secret.
        return f"{type(error).__name__}: correct {what}"
    return shortened(" ".join(str(error).split()), to=300)


def _provider(error: BaseException) -> str | None:
    """Return by which method credentials were being fetched when an error was raised, or `None` if they were not."""
    methods = [
        str(getattr(owner, "METHOD", None) or getattr(owner, "method", None) or "credentials")
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") in ("botocore.credentials", "botocore.tokens")
        and (owner := frame.f_locals.get("self"))
    ]
    return next((method for method in reversed(methods) if method != "credentials"), methods[0] if methods else None)
