"""`verify`: is a schema's document sound, and with --history: was anything ever lost from it?

What sound means is for `document` and `rules.verify` to say, what lost means for `past`.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cf_data_tracker.cli.auditing import counting, say_waiting
from cf_data_tracker.cli.failure import Code
from cf_data_tracker.cli.options import AsJson, Bucket, EndpointUrl, Schema, Timeout, open_tracker
from cf_data_tracker.cli.output import counted, say, say_check, say_json
from cf_data_tracker.document import Document, table_name_of, tables_of, versions_of
from cf_data_tracker.errors import DocumentError, DocumentVanishedError, NotTrackedError
from cf_data_tracker.rules.verify import findings

if TYPE_CHECKING:
    from cf_data_tracker.audit import Waiting
    from cf_data_tracker.past import History
    from cf_data_tracker.tracker import Tracker


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What `verify` found.

    Attributes:
        schema: The data source.
        readable: Whether it has a tracker document; where not, there is nothing to count.
        revision: How many commits its document has seen; `None` where only the earlier package wrote to it.
        tables: How many tables it has.
        file_names: How many file names.
        versions: How many versions.
        findings: What is wrong, one sentence each.
        waiting: What waits in the document's inbox; `None` where that may not be listed. JSON has it if something does.
    """

    schema: str
    readable: bool
    revision: int | None = None
    tables: int = 0
    file_names: int = 0
    versions: int = 0
    findings: list[str]
    waiting: "Waiting | None" = None


def verify(  # noqa: PLR0913 - one parameter an option
    schema: Schema,
    *,
    history: Annotated[
        bool,
        typer.Option("--history", help="Compare all versions that the bucket keeps of it, each with the one before."),
    ] = False,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Check the document of a schema.

    With --history also whether anything was ever lost from it, as far as a bucket with versioning keeps its past: each
    version of the document has to contain the one before.

    Exit code 5 where something is wrong with it, or was lost and is not back.
    """
    tracker = open_tracker(bucket, endpoint_url, timeout)
    past = _walked(tracker, schema) if history else None
    verified = dataclasses.replace(_looked_at(tracker, schema, past), waiting=tracker.waiting(schema))
    if as_json:
        found = {name: value for name, value in dataclasses.asdict(verified).items() if name != "waiting"}
        waits = verified.waiting is not None and verified.waiting.entries
        say_json(found | ({"waiting": verified.waiting} if waits else {}) | ({} if past is None else {"history": past}))
    else:
        _say(verified, past)
    if verified.findings or (past is not None and past.findings):
        raise typer.Exit(Code.WRONG)


def _walked(tracker: "Tracker", schema: str) -> "History":
    with counting("version") as read:
        return tracker.verify_history(schema, on_progress=read)


def _looked_at(tracker: "Tracker", schema: str, past: "History | None") -> Verified:
    try:
        document = tracker.document(schema)
    except DocumentError as error:
        return Verified(schema=schema, readable=False, findings=[f"not a tracker document: {error}"])
    except DocumentVanishedError as error:
        return Verified(schema=schema, readable=False, findings=[str(error)] if past is None else [])
    if document is None and past is not None:  # which says that it is gone, and since when
        return Verified(schema=schema, readable=False, findings=[])
    return _verified(document, schema)


def _verified(document: Document | None, schema: str) -> Verified:
    if document is None:
        raise NotTrackedError(f"the schema {schema} is not tracked: the bucket has no document of it")
    tables = tables_of(document, schema)
    return Verified(
        schema=schema,
        readable=True,
        revision=document.get("revision"),
        tables=len({table_name_of(table) for table in tables}),
        file_names=len({(table_name_of(table), entry["file_name"]) for table in tables for entry in table["files"]}),
        versions=sum(1 for _ in versions_of(document, schema)),
        findings=findings(document, schema),
    )


def _say(verified: Verified, past: "History | None") -> None:
    if verified.readable:
        say(
            f"{verified.schema}: {counted(verified.tables, 'table')}, {counted(verified.file_names, 'file name')}, "
            f"{counted(verified.versions, 'version')}, revision {verified.revision or 'none'}"
        )
    if past is not None:
        say(f"{counted(past.documents, 'document')} kept, from {past.oldest or 'none'} to {past.newest or 'none'}")
        for remark in past.notes:
            say(remark)
    say_waiting(verified.waiting)
    wrong = [*verified.findings, *(past.findings if past is not None else ())]
    for finding in wrong:
        say_check(finding, passed=False)
    if not wrong:
        say_check("nothing is wrong" if past is None else "nothing is wrong, and nothing was lost", passed=True)
