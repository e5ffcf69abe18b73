"""Work on the clean side: `claims`, `reprocess`, `sweep`. Claiming itself is for the workers, in Python."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from cf_data_tracker.cli.options import (
    A_DAY,
    AsJson,
    CleanBucket,
    EndpointUrl,
    FileName,
    RawBucket,
    Schema,
    Table,
    Timeout,
    open_clean_tracker,
)
from cf_data_tracker.cli.output import counted, note, say, say_json
from cf_data_tracker.rules.claims import held

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cf_data_tracker.sweep import Swept


def claims(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    *,
    raw_bucket: RawBucket = None,
    clean_bucket: CleanBucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the raw versions that workers have claimed and not recorded yet.

    A claim whose time has passed counts until another worker takes it over. That there are none is no error.
    """
    document = open_clean_tracker(raw_bucket, clean_bucket, endpoint_url, timeout).document(schema)
    found = [
        {"table": table, "file_name": file_name}
        | {name: claim[name] for name in ("version", "fence", "until", "claimed_by")}
        for table, file_name, claim in held(document)
    ]
    if as_json:
        say_json(found)
        return
    for claim in found:
        say("{table}/{file_name} version {version}, until {until}, number {fence}, by {claimed_by}".format(**claim))
    if not found:
        note(f"nothing is claimed in {schema}")


def reprocess(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    table: Table,
    file_name: FileName,
    *,
    raw_bucket: RawBucket = None,
    clean_bucket: CleanBucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Have the newest raw version of a file name cleaned again, though it has a record.

    It is pending from now on, and the record made under the next claim on it replaces the one that is there. A worker
    that is at it already is too late to record it.
    """
    version = open_clean_tracker(raw_bucket, clean_bucket, endpoint_url, timeout).reprocess(schema, table, file_name)
    if as_json:
        say_json(version)
    else:
        say(f"{schema}/{table}/{file_name} version {version.version} ({version.file}) is to be cleaned again")


def sweep(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    *,
    delete: Annotated[bool, typer.Option("--delete/--dry-run", help="Delete them, or only list them.")] = False,
    older_than: Annotated[
        float,
        typer.Option("--older-than", metavar="DAYS", min=0.0, max=365.0, help="For how many days they are outdated."),
    ] = 7.0,
    raw_bucket: RawBucket = None,
    clean_bucket: CleanBucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """List the clean files that no record names any more, or delete them.

    A file is outdated once the record that named it was replaced. It stays where any document names it or may name it,
    where it was written again since, where a worker may be about to record it, and where its name is not certain.
    """
    tracker = open_clean_tracker(raw_bucket, clean_bucket, endpoint_url, timeout)
    swept = tracker.sweep(schema, older_than=max(older_than * A_DAY, 0.001), dry_run=not delete)
    if as_json:
        say_json([{**dataclasses.asdict(one), "deleted": delete and one.left is None} for one in swept])
    else:
        _say(swept, delete=delete)


def _say(swept: "Sequence[Swept]", *, delete: bool) -> None:
    did = "deleted" if delete else "would be deleted"
    for one in swept:
        say(f"{one.file}: {did if one.left is None else f'left, {one.left}'} (outdated since {one.outdated})")
    gone = sum(1 for one in swept if one.left is None)
    note(f"{counted(gone, 'file')} {did}, {len(swept) - gone} left")
