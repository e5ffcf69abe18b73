"""What stands between a client and its store, and how its errors show: a proxy, and TLS that was replaced too late.

Pure: an error and settings in, words or a signal out. Errors are known by the names of their classes, since botocore
wraps those of urllib3, which is its business and not ours.
"""

import encodings.idna  # noqa: F401 - else the first request imports it, and a fork may come between: see `forks`
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from traceback import walk_tb
from typing import Final
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined] # typeshed lacks it

from cf_data_tracker.errors import StoreError
from cf_data_tracker.names import shortened
from cf_data_tracker.store import Unanswered

MALFORMED: Final = frozenset(
    {"LocationParseError", "ProxySchemeUnknown", "ProxySchemeUnsupported", "InvalidProxiesConfigError"}
)
TUNNEL: Final = "Tunnel connection failed"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names.

    Attributes:
        variable: Which variable names it.
        url: Its URL, without user and password.
    """

    variable: str
    url: str

    def __str__(self) -> str:
        return f"the proxy {self.url} of {self.variable}"


def proxy_for(endpoint_url: str, env: Mapping[str, str]) -> Proxy | None:
    """Return the proxy through which boto3 reaches an endpoint, by this environment; `None` where it needs none."""
    parts = urlsplit(endpoint_url)
    names = (f"{parts.scheme}_proxy", f"{parts.scheme}_proxy".upper())  # the small letters go first, as in urllib
    variable = next((name for name in names if env.get(name)), None)
    exempt = env.get("no_proxy") or env.get("NO_PROXY") or ""
    if variable is None or proxy_bypass_environment(parts.netloc, {"no": exempt}):
        return None
    scheme, separator, rest = env[variable].rpartition("://")
    return Proxy(variable, shortened(f"{scheme}{separator}{rest.rpartition('@')[2]}"))


def proxy_trouble(error: Exception, endpoint_url: str, env: Mapping[str, str]) -> Exception | None:
    """Return the signal or error for a request that failed at a proxy; `None` if it did not, or there is none."""
    proxy = proxy_for(endpoint_url, env)
    if proxy is None:
        return None
    causes = list(_causes(error))
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if kinds & MALFORMED or ("HTTPClientError" in kinds and not _is_url(proxy.url)):
        return StoreError(
            f"{endpoint_url} cannot be reached: {proxy} is malformed; correct it, or unset {proxy.variable}"
        )
    if "ProxyConnectionError" not in kinds:
        return None
    refusals = [str(cause).partition(TUNNEL)[2] for cause in causes if TUNNEL in str(cause)]
    if any("407" in refusal for refusal in refusals):
        return wants_password(endpoint_url, env)
    what = f"{endpoint_url} cannot be reached through {proxy}"
    if refusals or "NewConnectionError" in kinds:
        return Unanswered(f"{what}: correct or unset it, or name the endpoint's host in NO_PROXY", sent=False)
    return Unanswered(f"no answer through {proxy}")  # it may have passed the request on


def wants_password(endpoint_url: str, env: Mapping[str, str]) -> StoreError | None:
    """Return the error for a 407, which is a proxy's and never a store's; `None` if the environment names no proxy."""
    proxy = proxy_for(endpoint_url, env)
    if proxy is None:
        return None
    return StoreError(
        f"{endpoint_url} cannot be reached: {proxy} asks for a user and a password (407); give them in its URL"
    )


def not_opened(error: Exception) -> str:
    """Return why a client could not be made."""
    if isinstance(error, RecursionError) and any(
        frame.f_globals.get("__name__") == "ssl" for frame, _ in walk_tb(error.__traceback__)
    ):
        return (
            "Python's ssl was replaced after it had been imported, as by gevent: call gevent.monkey.patch_all() before "
            "anything else is imported"
        )
    return str(error)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it wraps: botocore's `error`, urllib3's `original_error`, Python's cause."""
    for _ in range(8):
        if not isinstance(error, BaseException):
            return
        yield error
        error = getattr(error, "kwargs", {}).get("error") or getattr(error, "original_error", None) or error.__cause__
