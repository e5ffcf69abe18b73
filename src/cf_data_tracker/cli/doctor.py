"""`doctor`: which settings are in force, whether the bucket answers, and whether its store can be trusted.

What is tried on the store, and why, is for `stores.probe` to say. It works in scratch objects of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from cf_data_tracker.cli.failure import Code
from cf_data_tracker.cli.options import AsJson, Bucket, EndpointUrl, Timeout
from cf_data_tracker.cli.output import say, say_check, say_json
from cf_data_tracker.document import raw_document
from cf_data_tracker.errors import ReadDeniedError
from cf_data_tracker.names import probe_key

if TYPE_CHECKING:
    from cf_data_tracker.connection import Connection
    from cf_data_tracker.settings import Access
    from cf_data_tracker.stores.probe import Check, Diagnosis


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What is in force; no secret is among it.

    Attributes:
        bucket: The raw bucket.
        endpoint: The store's URL without any password, or `AWS`.
        region: The region, or `None` where boto3 is to choose.
        credentials: Where they come from.
    """

    bucket: str
    endpoint: str
    region: str | None
    credentials: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What `doctor` found.

    Attributes:
        settings: What is in force.
        sources: Where each of the settings comes from.
        lists: Whether a missing object is told from a forbidden one, which takes s3:ListBucket.
        checks: What was tried on the store, in order; the first that failed ended it.
        etags: The form in which the store wants ETags back, or `None` if it takes none.
        safe: Whether the store can be trusted with tracker documents.
        raced: Whether writers could race; `False` where no threads could be started for it.
    """

    settings: Settings
    sources: Mapping[str, str]
    lists: bool
    checks: "tuple[Check, ...]"
    etags: str | None
    safe: bool
    raced: bool


def doctor(
    *,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Show the settings in force, and examine the store.

    The store has to refuse what it should refuse, and to let one of 32 writers win a race. That takes some two
    hundred requests to scratch objects, which are removed. Exit code 6 where the store would lose recordings. A race
    is a matter of luck, so a store that passes is very likely, though not certainly, safe.
    """
    from cf_data_tracker.settings import environment, raw_access  # noqa: PLC0415 - --help does without
    from cf_data_tracker.tracker import connect  # noqa: PLC0415 - as above

    access = raw_access(environment(), bucket, endpoint_url)
    settings, sources = _settings(access)
    if not as_json:
        _say_settings(settings, sources)
    connection = connect(access, None, timeout)
    lists = _lists(connection)
    health = _health(settings, sources, lists=lists, diagnosis=connection.diagnose())
    if as_json:
        say_json(health)
    else:
        _say_health(health)
    if not health.safe:
        raise typer.Exit(Code.UNSAFE)


def _settings(access: "Access") -> tuple[Settings, Mapping[str, str]]:
    from cf_data_tracker.stores.session import sources_of  # noqa: PLC0415 - --help does without

    access, sources = sources_of(access)
    settings = Settings(
        bucket=access.bucket, endpoint=access.endpoint, region=access.region, credentials=_credentials(access)
    )
    return settings, sources


def _credentials(access: "Access") -> str:
    from cf_data_tracker.settings import CHAIN, named_profile  # noqa: PLC0415 - --help does without

    if access.access_key is not None:
        return access.source("access_key")
    profile = named_profile()
    return f"{CHAIN}, {f'profile {profile[0]}' if profile else 'which tries profiles, SSO and roles'}"


def _lists(connection: "Connection") -> bool:
    """Return whether the bucket says of a missing object that it is missing.

    Raises:
        StoreError: It refused in another way, or did not answer.
    """
    from cf_data_tracker.engine.cas import DocumentSpec  # noqa: PLC0415 - --help does without

    try:
        connection.read(DocumentSpec(key=probe_key("missing"), parse=raw_document))
    except ReadDeniedError:
        return False
    return True


def _health(settings: Settings, sources: Mapping[str, str], *, lists: bool, diagnosis: "Diagnosis") -> Health:
    return Health(
        settings=settings,
        sources=sources,
        lists=lists,
        checks=diagnosis.checks,
        etags=diagnosis.quoting.value if diagnosis.quoting is not None else None,
        safe=diagnosis.safe,
        raced=diagnosis.raced,
    )


def _say_settings(settings: Settings, sources: Mapping[str, str]) -> None:
    say(f"bucket       {settings.bucket}  ({sources['bucket']})")
    say(f"endpoint     {settings.endpoint}  ({sources['endpoint']})")
    say(f"region       {settings.region or 'left to boto3'}  ({sources['region']})")
    found = sources["credentials"].partition(": ")[2]
    say(f"credentials  {settings.credentials}{f'  ({found})' if found else ''}")


def _say_health(health: Health) -> None:
    say_check("a missing object is told from a forbidden one", passed=health.lists)
    if not health.lists:
        say("  allow s3:ListBucket on the bucket, or a missing document cannot be told from a forbidden one")
    for check in health.checks:
        say_check(check.name, passed=check.passed)
    if not health.raced:
        say("  writers did not race: no threads can be started here; run it again where they can")
    if health.safe:
        say(f"safe: the store honours conditional writes (ETags {health.etags})")
    else:
        say("UNSAFE: the store would lose recordings, so nothing is recorded there")
