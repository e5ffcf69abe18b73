"""`audit`: is what is recorded in the bucket, and what is in the bucket recorded? What is wrong is for `audit` to say.

With --record-orphans, objects without a record are recorded, and what is told is what remains.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cf_data_tracker.cli.failure import Code
from cf_data_tracker.cli.options import AsJson, Bucket, EndpointUrl, Schema, Timeout, open_tracker
from cf_data_tracker.cli.output import counted, say, say_check, say_json
from cf_data_tracker.cli.recording import show
from cf_data_tracker.errors import InvalidNameError, NotTrackedError

if TYPE_CHECKING:
    from cf_data_tracker.audit import Audit, TakenIn, Waiting


def audit(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="Read the objects whose bytes cannot be judged by a listing.")
    ] = False,
    min_age: Annotated[
        float,
        typer.Option(
            "--min-age", min=0.0, metavar="SECONDS", help="Leave out younger objects that have no record (yet)."
        ),
    ] = 0.0,
    record_orphans: Annotated[
        bool, typer.Option("--record-orphans", help="Record the objects that have no record.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what --record-orphans would record; write nothing.")
    ] = False,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Compare what is recorded of a schema with what is in the bucket.

    Found are versions without an object, objects of another size or with other bytes, and objects without a record.
    It takes a request for every 1,000 objects, and reads none of them without --deep.

    --record-orphans takes in the objects without a record whose key is SCHEMA/TABLE/FILE_NAME/FILE, in one commit.

    Exit code 5 where something is wrong, or still is; 3 where the schema is not tracked.
    """
    if dry_run and not record_orphans:
        raise InvalidNameError("--dry-run goes with --record-orphans: without it, nothing is written anyway")
    tracker = open_tracker(bucket, endpoint_url, timeout)
    with counting("object") as listed:
        found = tracker.audit(schema, deep=deep, min_age=min_age, on_progress=listed)
    taken = tracker.record_orphans(found, dry_run=dry_run) if record_orphans else None
    remains = found if taken is None or dry_run else _without(found, taken)
    if as_json:
        recorded, left = (taken.recorded, taken.left) if taken is not None else ((), ())
        say_json({**dataclasses.asdict(remains), "recorded": recorded, "left": left})
    else:
        _say(remains, taken, dry_run=dry_run)
    if not remains.tracked:
        raise NotTrackedError(_untracked(remains))
    if remains.findings:
        raise typer.Exit(Code.WRONG)


def _without(found: "Audit", taken: "TakenIn") -> "Audit":
    """Return an audit with what remains of it after objects were taken in."""
    left = {finding.location for finding in taken.left}
    remaining = (finding for finding in found.findings if finding.kind != "orphan" or finding.location in left)
    return dataclasses.replace(found, findings=tuple(remaining), tracked=found.tracked or bool(taken.recorded))


def _say(found: "Audit", taken: "TakenIn | None", *, dry_run: bool) -> None:
    versions, objects = counted(found.versions, "version"), counted(found.objects, "object")
    say(f"{found.schema}: {versions}, {objects}, revision {found.revision or 'none'}")
    if taken is not None:
        show(list(taken.recorded), as_json=False, one=False, dry_run=dry_run)
        for finding in taken.left:
            say(f"{finding.location}: {finding.sentence}")
    for finding in found.findings:
        say_check(f"{finding.kind}: {finding.location}: {finding.sentence}", passed=False)
    for remark in _remarks(found):
        say(remark)
    say_waiting(found.waiting)
    if found.tracked and not found.findings:
        say_check("nothing is wrong", passed=True)


def _remarks(found: "Audit") -> Iterator[str]:
    if found.not_compared:
        yield f"{counted(found.not_compared, 'version')} not compared by content: the object is there, no more is known"
    if found.overwritten:
        yield f"{counted(found.overwritten, 'version')} overwritten by a newer one of the same file name"
    if found.young:
        yield f"{counted(found.young, 'object')} without a record left out, younger than --min-age"
    for left in found.not_looked_at:
        yield f"{counted(left.versions, 'version')} not looked at, {left.reason}: {left.example}"


def say_waiting(waiting: "Waiting | None") -> None:
    """Print what waits in an inbox, if anything does. It is not wrong: a commit takes it in."""
    if waiting is not None and waiting.entries:
        waits = "1 inbox entry waits" if waiting.entries == 1 else f"{waiting.entries} inbox entries wait"
        say(f"{waits} to be committed, the oldest since {waiting.since}")


def _untracked(found: "Audit") -> str:
    what = f"the schema {found.schema} is not tracked: the bucket has no document of it"
    if not found.objects:
        return what
    there = counted(found.objects, "object")
    return (
        f"{what}, though {there} under {found.schema}/. If it had one, bring that back first: "
        "verify --history, restore. If it never had, audit --record-orphans takes them in"
    )


@contextmanager
def counting(noun: str) -> Iterator[Callable[[int], object] | None]:
    """Give what shows on a terminal how many things there were so far, and takes it away in the end."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only here, and it takes a while

    total = 0
    with Console(stderr=True).status(f"no {noun} yet") as status:

        def more(number: int) -> None:
            nonlocal total
            total += number
            status.update(counted(total, noun))

        yield more
