"""Where the bucket is and who we are, from the environment and `.env`.

`.env` is read when asked for, never at import, and does not change the environment: what is set there wins. Without
keys, credentials are left to boto3's own chain (roles, profiles, SSO).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final
from urllib.parse import urlsplit

from dotenv import dotenv_values, find_dotenv

from cf_data_tracker.errors import StoreError
from cf_data_tracker.names import check_seconds, plain

RAW_BUCKET: Final = ("AWS_DEST_BUCKET_RAW", "RAW_BUCKET_NAME")
"""The raw bucket; releases from 0.3.14 of the earlier package read the second name."""

ENDPOINT_URL: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
CLEAN_BUCKET: Final = "AWS_DEST_BUCKET_CLEAN"


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """How to reach a bucket. Pickles; its `repr` shows no secret.

    Attributes:
        bucket: The bucket's name.
        endpoint_url: The endpoint, or `None` for AWS.
        region: The region, or `None` to leave it to boto3.
        access_key: The access key, or `None` to leave credentials to boto3's chain.
        secret_key: Its secret.
        session_token: The token that goes with temporary keys.
        request_timeout: Seconds without an answer after which a request counts as unanswered.

    Raises:
        StoreError: The bucket or the endpoint is missing or malformed, or a key stands without its other half.
        InvalidNameError: The time-out is no number of seconds.
    """

    bucket: str
    endpoint_url: str | None = None
    region: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    request_timeout: float = 15.0

    def __post_init__(self) -> None:
        for one in fields(self):  # what is text goes into URLs, and a member of an enum would not go in as its text
            object.__setattr__(self, one.name, plain(getattr(self, one.name)))
        if not self.bucket or not isinstance(self.bucket, str):
            raise StoreError("no bucket is named: pass bucket=, or set AWS_DEST_BUCKET_RAW")
        if self.endpoint_url is not None and not _is_endpoint(self.endpoint_url):
            raise StoreError("the endpoint must be a URL like https://host:port, with no user, password or query in it")
        if (self.access_key is None) != (self.secret_key is None):
            missing = "AWS_ACCESS_KEY_ID" if self.access_key is None else "AWS_SECRET_ACCESS_KEY"
            raise StoreError(f"{missing} is missing: a key needs its other half; set both or neither")
        object.__setattr__(self, "request_timeout", check_seconds("request_timeout", self.request_timeout))

    @property
    def endpoint(self) -> str:
        """The endpoint, for messages."""
        return self.endpoint_url or "AWS"


def _is_endpoint(url: str) -> bool:
    if not isinstance(url, str) or any(character.isspace() for character in url):
        return False
    try:
        parts = urlsplit(url)
        can_be = bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc)
    return can_be and plain and parts.scheme in ("http", "https")


def is_aws(endpoint_url: str | None) -> bool:
    """Return whether an endpoint is AWS's own, whose conditional writes need no proof."""
    host = urlsplit(endpoint_url).hostname or "" if endpoint_url else "s3.amazonaws.com"
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def environment() -> dict[str, str]:
    """Return the environment, and beneath it what the nearest `.env` sets, from the working directory upwards.

    Keys come from the one or from the other: a key is never joined with the secret of another.

    Raises:
        StoreError: `.env` is not UTF-8.
    """
    path = find_dotenv(usecwd=True)
    try:
        settings = {name: value for name, value in dotenv_values(path).items() if value}
    except UnicodeDecodeError:
        raise StoreError(f"{path} is not UTF-8: save it as such") from None
    if any(os.environ.get(name) for name in KEYS):
        settings = {name: value for name, value in settings.items() if name not in KEYS}
    return {**settings, **os.environ}


def raw_access(env: Mapping[str, str], bucket: str | None = None, endpoint_url: str | None = None) -> Access:
    """Return how to reach the raw bucket; what is given goes before what is set.

    Raises:
        StoreError: `AWS_DEST_BUCKET_RAW` is not set, or a setting is malformed.
    """
    return _access(env, _first(env, *RAW_BUCKET) if bucket is None else bucket, endpoint_url, RAW_BUCKET[0])


def clean_access(env: Mapping[str, str], bucket: str | None = None, endpoint_url: str | None = None) -> Access:
    """Return how to reach the clean bucket; what is given goes before what is set.

    Raises:
        StoreError: `AWS_DEST_BUCKET_CLEAN` is not set, or a setting is malformed.
    """
    return _access(env, _first(env, CLEAN_BUCKET) if bucket is None else bucket, endpoint_url, CLEAN_BUCKET)


def _access(env: Mapping[str, str], bucket: str | None, endpoint_url: str | None, variable: str) -> Access:
    if bucket is None:
        raise StoreError(f"{variable} is not set: name the bucket there, in the environment or in .env")
    return Access(
        bucket=bucket,
        endpoint_url=_first(env, *ENDPOINT_URL) if endpoint_url is None else endpoint_url,
        region=_first(env, "AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"),
        access_key=_first(env, KEYS[0]),
        secret_key=_first(env, KEYS[1]),
        session_token=_first(env, KEYS[2]),
    )


def _first(env: Mapping[str, str], *names: str) -> str | None:
    return next((env[name] for name in names if env.get(name)), None)
