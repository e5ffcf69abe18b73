"""`restore`: a document as it was, as its newest revision. What may be written over is for `past` to say."""

from typing import TYPE_CHECKING, Annotated

import typer

from cf_data_tracker.cli.options import AsJson, Bucket, EndpointUrl, Schema, Timeout, open_tracker
from cf_data_tracker.cli.output import say, say_json
from cf_data_tracker.errors import InvalidNameError

if TYPE_CHECKING:
    from cf_data_tracker.past import Restored


def restore(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    *,
    to: Annotated[int | None, typer.Option("--to", min=0, metavar="REVISION", help="The revision to restore.")] = None,
    to_version: Annotated[
        str | None,
        typer.Option(
            "--to-version",
            metavar="ID",
            help="In place of a revision, the S3 version of a document that has none, or the number of another.",
        ),
    ] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Let versions be lost that were recorded since.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would come of it; write nothing.")] = False,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Bring a document back that has vanished or is ruined, in a bucket that keeps versions.

    What it was at that revision is written as a new revision, over what is there now. Where versions would be lost that
    were recorded since, they are listed, and nothing is written without --discard.

    `verify --history` shows which revisions are kept.
    """
    if (to is None) == (to_version is None):
        raise InvalidNameError("give the revision with --to, or an S3 version with --to-version")
    tracker = open_tracker(bucket, endpoint_url, timeout)
    restored = tracker.restore(schema, to, version=to_version, discard=discard, dry_run=dry_run)
    if as_json:
        say_json(restored)
    else:
        _say(restored, dry_run=dry_run)


def _say(restored: "Restored", *, dry_run: bool) -> None:
    for loss in restored.lost:
        say(f"{'would be lost' if dry_run else 'lost'}: {loss}")
    if not restored.created:
        say(f"{restored.schema}: the document has the content of {restored.source} already; nothing to do")
    else:
        done = "would be restored" if dry_run else "restored"
        say(f"{restored.schema}: {restored.source} {done} as revision {restored.revision}")
