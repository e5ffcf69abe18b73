"""`verify`: is a schema's document sound? What sound means is for `document` and `rules.verify` to say."""

from dataclasses import dataclass

import typer

from cf_data_tracker.cli.failure import Code
from cf_data_tracker.cli.options import AsJson, Bucket, EndpointUrl, Schema, Timeout, open_tracker
from cf_data_tracker.cli.output import counted, say, say_check, say_json
from cf_data_tracker.document import Document, table_name_of, tables_of, versions_of
from cf_data_tracker.errors import DocumentError, NotTrackedError
from cf_data_tracker.rules.verify import findings


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
    """

    schema: str
    readable: bool
    revision: int | None = None
    tables: int = 0
    file_names: int = 0
    versions: int = 0
    findings: list[str]


def verify(
    schema: Schema,
    *,
    bucket: Bucket = None,
    endpoint_url: EndpointUrl = None,
    timeout: Timeout = 120.0,
    as_json: AsJson = False,
) -> None:
    """Check the document of a schema.

    Exit code 5 where something is wrong with it.
    """
    tracker = open_tracker(bucket, endpoint_url, timeout)
    try:
        document = tracker.document(schema)
    except DocumentError as error:
        verified = Verified(schema=schema, readable=False, findings=[f"not a tracker document: {error}"])
    else:
        verified = _verified(document, schema)
    if as_json:
        say_json(verified)
    else:
        _say(verified)
    if verified.findings:
        raise typer.Exit(Code.WRONG)


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


def _say(verified: Verified) -> None:
    if verified.readable:
        say(
            f"{verified.schema}: {counted(verified.tables, 'table')}, {counted(verified.file_names, 'file name')}, "
            f"{counted(verified.versions, 'version')}, revision {verified.revision or 'none'}"
        )
    for finding in verified.findings:
        say_check(finding, passed=False)
    if not verified.findings:
        say_check("nothing is wrong", passed=True)
