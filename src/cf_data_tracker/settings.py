"""Where the bucket is and who we are, from arguments, the environment and `.env`.

`.env` is read when asked for, never at import, and does not change the environment. An argument goes before the
environment, and any name of a setting in the environment before any of its names in `.env`. What is empty, or blank, is
not set. Without keys, credentials are left to boto3's own chain (roles, profiles, SSO). Each setting keeps its source.
"""

import os
import re
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from typing import Final, TypeAlias
from urllib.parse import unquote, urlsplit, urlunsplit

from dotenv import dotenv_values, find_dotenv

from cf_data_tracker.aws import bare_s3_host, host_of, is_s3_host, misfit
from cf_data_tracker.errors import StoreError
from cf_data_tracker.names import check_seconds, plain, shortened, shown

RAW_BUCKET: Final = ("AWS_DEST_BUCKET_RAW", "RAW_BUCKET_NAME")
"""The raw bucket; releases from 0.3.14 of the earlier package read the second name."""

CLEAN_BUCKET: Final = "AWS_DEST_BUCKET_CLEAN"
ENDPOINT_URL: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
IGNORE_ENDPOINTS: Final = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
REGION: Final = ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION")
KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
TOKEN: Final = ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")  # in the order of boto3, like the next
PROFILE: Final = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")

ARGUMENT: Final = "an argument"
CHAIN: Final = "boto3's own chain"
IN_ENVIRONMENT: Final = "in the environment"
_ENV_FILE: Final = f"{os.sep}.env"

_ARGUMENTS: Final = {
    "region": "region_name",
    "access_key": "aws_access_key_id",
    "secret_key": "aws_secret_access_key",
    "session_token": "aws_session_token",
}
"""The arguments that are named otherwise than the fields of `Access`."""

Layer: TypeAlias = tuple[str, Mapping[str, str]]
"""Where variables are set, and what is set there."""

_PLAIN: Final = re.compile(r"[!-~]+")
_SECRET: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")  # it is not sent, and some stores take one with blanks inside


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How to reach a bucket. Pickles; its `repr` shows no secret.

    Attributes:
        bucket: The bucket's name.
        endpoint_url: The endpoint, or `None` for AWS.
        region: The region, or `None` to leave it to boto3.
        access_key: The access key, or `None` to leave credentials to boto3's chain.
        secret_key: Its secret.
        session_token: The token that goes with temporary keys. Without keys it is ignored, as boto3 does.
        request_timeout: Seconds without an answer after which a request counts as unanswered.
        sources: Where fields come from, by their names; what is missing there is an argument.

    Raises:
        StoreError: The bucket is missing, or no general purpose bucket; the endpoint is malformed, or has the bucket in
            it; a key stands without its other half; or a setting holds a blank or a line break.
        InvalidNameError: The time-out is no number of seconds.
    """

    bucket: str
    endpoint_url: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    request_timeout: float = 15.0
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for one in fields(self):  # what is text goes into URLs, and a member of an enum would not go in as its text
            object.__setattr__(self, one.name, plain(getattr(self, one.name)))
        if not self.bucket or not isinstance(self.bucket, str):
            raise StoreError("no bucket is named: pass bucket=, or set AWS_DEST_BUCKET_RAW")
        self._check_plain("bucket", f" {shown(self.bucket)}")
        if why := misfit(self.bucket):
            raise StoreError(f"{shown(self.bucket)} {why}")
        if self.endpoint_url is not None and not _is_endpoint(self.endpoint_url):
            raise StoreError(
                "the endpoint must be a URL like https://host:port, with no user, password or query in it"
                f"{self._origin('endpoint_url')}"
            )
        self.check_holds_none_of([self.bucket])
        self._check_plain("region", f" {shown(self.region)}")
        for secret in ("access_key", "secret_key", "session_token"):
            self._check_plain(secret)
        if (self.access_key is None) != (self.secret_key is None):
            missing = KEYS[0] if self.access_key is None else KEYS[1]
            raise StoreError(f"{missing} is missing: a key needs its other half; set both or neither")
        object.__setattr__(self, "request_timeout", check_seconds("request_timeout", self.request_timeout))

    @property
    def endpoint(self) -> str:
        """The endpoint, for messages."""
        return self.endpoint_url or "AWS"

    def source(self, name: str) -> str:
        """Return where a field comes from, for messages."""
        return self.sources.get(name, ARGUMENT)

    def check_holds_none_of(self, buckets: Collection[str]) -> None:
        """Check that no bucket is in the endpoint; see `check_no_bucket_in`."""
        check_no_bucket_in(self.endpoint_url, buckets, self._origin("endpoint_url"))

    def _check_plain(self, name: str, value: str = "") -> None:
        setting = getattr(self, name)
        if setting is not None and not is_plain(name, setting):
            raise StoreError(f"{_ARGUMENTS.get(name, name)}{value} {NOT_PLAIN}{self._origin(name)}")

    def _origin(self, name: str) -> str:
        return f" ({self.sources[name]})" if name in self.sources else ""


NOT_PLAIN: Final = "is empty, or has a blank, a line break or a character that is not ASCII in it: correct it"


def is_plain(name: str, value: object) -> bool:
    """Return whether a setting is plain ASCII without blanks and line breaks: one at its end is easily pasted."""
    return isinstance(value, str) and bool((_SECRET if name == "secret_key" else _PLAIN).fullmatch(value))


def _is_endpoint(url: str) -> bool:
    if not is_plain("endpoint_url", url):
        return False
    try:
        parts = urlsplit(url)
        can_be = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return can_be and plain and parts.scheme in ("http", "https")


def is_aws(endpoint_url: str | None) -> bool:
    """Return whether an endpoint is AWS's own S3, whose conditional writes need no proof."""
    return not endpoint_url or is_s3_host(host_of(endpoint_url))


def check_no_bucket_in(endpoint_url: str | None, buckets: Collection[str], origin: str = "") -> None:
    """Check that an endpoint holds no bucket: boto3 adds it, so the documents would stand where nobody looks for them.

    A path that is no bucket may be where a gateway has its S3; AWS's own endpoints have none.

    Raises:
        StoreError: It holds one; the message names the endpoint that was probably meant.
    """
    meant = _without_bucket(endpoint_url, buckets) if endpoint_url else ""
    if endpoint_url and meant != endpoint_url:
        same_host = urlsplit(meant).netloc == urlsplit(endpoint_url).netloc
        raise StoreError(
            f"the endpoint {shortened(endpoint_url, to=200)} has a bucket in it{origin}, and boto3 adds the bucket "
            f"itself: the endpoint is probably {shortened(meant, to=200)}"
            f"{'' if same_host else '. If the store itself has that name, give its address'}"
        )


STORES: Final = ("s3", "minio", "ceph", "rgw", "garage", "storage", "object", "spaces", "wasabi", "localhost", "local")
"""What the address of a store other than AWS has in it, behind a bucket's name."""


def _without_bucket(endpoint_url: str, buckets: Collection[str]) -> str:
    parts = urlsplit(endpoint_url)
    host, path = host_of(endpoint_url), unquote(parts.path).split("/")
    if is_s3_host(host):
        bare, kept = bare_s3_host(host), path if not any(path) else []
    else:
        bare = next((host[len(bucket) + 1 :] for bucket in buckets if _is_label_of(bucket, host)), host)
        bare = bare if any(word in bare for word in STORES) else host  # the store itself may have the bucket's name
        parts_of_path = [part for part in path if part]
        ends_with_it = parts_of_path[-1:] and parts_of_path[-1] in buckets
        begins_with_it = parts_of_path[:1] and parts_of_path[0] in buckets
        kept = ["", *parts_of_path[:-1]] if ends_with_it else [] if begins_with_it else path
    if (bare, kept) == (host, path):
        return endpoint_url
    port = f":{parts.port}" if parts.port else ""
    place = f"{bare}{port}" if bare != host else parts.netloc
    return urlunsplit((parts.scheme, place, "/".join(kept).rstrip("/"), "", ""))


def _is_label_of(bucket: str, host: str) -> bool:
    """Return whether a host begins with a bucket, as a virtual host of it does; an address never does."""
    try:
        ip_address(host)
    except ValueError:
        return host.startswith(f"{bucket.lower()}.")
    return False


class Environment(ChainMap[str, str]):
    """The environment, and beneath it what `.env` sets.

    Attributes:
        path: The `.env`; `""` if there is none.
    """

    def __init__(self, variables: Mapping[str, str], file: Mapping[str, str], path: str) -> None:
        super().__init__(dict(variables), dict(file))
        self.path = path


def environment() -> Environment:
    """Return the environment, and beneath it what the nearest `.env` sets, from the working directory upwards.

    Keys come from the one or from the other: a key is never joined with the secret of another. A profile that is named
    in the environment goes before keys in `.env`, for boto3 would take it before them, too.

    Raises:
        StoreError: `.env` cannot be read, or is not UTF-8.
    """
    try:
        path = find_dotenv(usecwd=True)
    except OSError:  # the working directory is gone
        path = ""
    try:
        file = {name: value for name, value in dotenv_values(path, encoding="utf-8-sig").items() if value}
    except UnicodeDecodeError:
        raise StoreError(f"{path} is not UTF-8: save it as such") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}): allow it, or remove the file") from error
    if any(is_set(os.environ, name) for name in (*KEYS, *PROFILE)):
        file = {name: value for name, value in file.items() if name not in (*KEYS, *TOKEN)}
    return Environment(os.environ, file, path)


def is_set(env: Mapping[str, str], name: str) -> bool:
    """Return whether a variable is set to more than blanks."""
    return bool(env.get(name, "").strip())


def named_profile() -> tuple[str, str] | None:
    """Return the profile of boto3 that the environment names, and the variable that does; `None` if none does."""
    return next(((os.environ[name], name) for name in PROFILE if is_set(os.environ, name)), None)


def raw_access(env: Mapping[str, str], bucket: str | None = None, endpoint_url: str | None = None) -> Access:
    """Return how to reach the raw bucket; what is given goes before what is set.

    Raises:
        StoreError: `AWS_DEST_BUCKET_RAW` is not set, or a setting is malformed.
    """
    return _access(env, bucket, endpoint_url, RAW_BUCKET)


def clean_access(env: Mapping[str, str], bucket: str | None = None, endpoint_url: str | None = None) -> Access:
    """Return how to reach the clean bucket; what is given goes before what is set.

    Raises:
        StoreError: `AWS_DEST_BUCKET_CLEAN` is not set, or a setting is malformed.
    """
    return _access(env, bucket, endpoint_url, (CLEAN_BUCKET,))


def raw_bucket(env: Mapping[str, str]) -> str:
    """Return the name of the raw bucket, for what needs nothing else.

    Raises:
        StoreError: `AWS_DEST_BUCKET_RAW` is not set.
    """
    return _bucket(env, RAW_BUCKET)[0]


def clean_bucket(env: Mapping[str, str]) -> str:
    """Return the name of the clean bucket, likewise.

    Raises:
        StoreError: `AWS_DEST_BUCKET_CLEAN` is not set.
    """
    return _bucket(env, (CLEAN_BUCKET,))[0]


def region(env: Mapping[str, str]) -> str | None:
    """Return the region that is set."""
    return (_found(_layers(env), *REGION) or (None,))[0]


def _bucket(env: Mapping[str, str], names: tuple[str, ...]) -> tuple[str, str]:
    found = _found(_layers(env), *names)
    if found is None:
        raise StoreError(f"{names[0]} is not set: name the bucket there, in the environment or in .env")
    return found


def _access(env: Mapping[str, str], bucket: str | None, endpoint_url: str | None, names: tuple[str, ...]) -> Access:
    found = dict(_settings(env))
    if bucket is None:
        found["bucket"] = _bucket(env, names)
        bucket = found["bucket"][0]
    if endpoint_url is not None:
        found.pop("endpoint_url", None)
    set_to = {name: value for name, (value, _) in found.items()}
    access = Access(
        bucket=bucket,
        endpoint_url=set_to.get("endpoint_url") if endpoint_url is None else endpoint_url,
        region=set_to.get("region"),
        access_key=set_to.get("access_key"),
        secret_key=set_to.get("secret_key"),
        session_token=set_to.get("session_token"),
        sources={name: source for name, (_, source) in found.items()},
    )
    buckets = filter(None, (_found(_layers(env), *RAW_BUCKET), _found(_layers(env), CLEAN_BUCKET)))
    access.check_holds_none_of([name for name, _ in buckets])
    check_same_place(access)
    return access


def _settings(env: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    wanted = {"region": REGION, "access_key": KEYS[:1], "secret_key": KEYS[1:]}
    if not ignores_endpoints(env):
        wanted["endpoint_url"] = ENDPOINT_URL
    for name, variables in wanted.items():
        if found := _found(_layers(env), *variables):
            yield name, found
    with_keys = [layer for layer in _layers(env) if any(is_set(layer[1], name) for name in KEYS)]
    if found := _found(with_keys, *TOKEN):
        yield "session_token", found


def ignores_endpoints(env: Mapping[str, str]) -> bool:
    """Return whether the environment says, as to boto3, that only an endpoint that is an argument counts."""
    return dict(_layers(env)).get(IN_ENVIRONMENT, {}).get(IGNORE_ENDPOINTS, "").strip().lower() == "true"


def _found(layers: Sequence[Layer], *names: str) -> tuple[str, str] | None:
    """Return a setting and its source: any name of it in the environment goes before any in `.env`."""
    for place, variables in layers:
        for name in names:
            if is_set(variables, name):
                return variables[name], f"{name} {place}"
    return None


def _layers(env: Mapping[str, str]) -> Sequence[Layer]:
    if isinstance(env, Environment):
        return [(IN_ENVIRONMENT, env.maps[0]), (f"in {env.path}", env.maps[1])]
    return [(IN_ENVIRONMENT, env)]


def check_same_place(access: Access) -> None:
    """Check that keys are not sent to an endpoint from another place, where one of the two comes from `.env`.

    `.env` is looked for in all folders above, and may be another project's. An endpoint that is an argument, or set in
    the environment, is wanted by the caller, and AWS's own is safe.

    Raises:
        StoreError: Only one of endpoint and keys comes from `.env`.
    """
    if access.endpoint_url is None or is_aws(access.endpoint_url):
        return
    endpoint = access.source("endpoint_url")
    keys = access.source("access_key") if access.access_key is not None else CHAIN
    confirmed = endpoint == ARGUMENT or endpoint.endswith(IN_ENVIRONMENT)
    if not confirmed and endpoint.endswith(_ENV_FILE) != keys.endswith(_ENV_FILE):
        raise StoreError(
            f"the keys ({keys}) would be sent to {access.endpoint_url} ({endpoint}), which is from another place. If "
            f"that is right, set {ENDPOINT_URL[0]} in the environment or pass the endpoint as an argument; if not, "
            "correct the setting"
        )
