"""The tracker against its bucket: one listing, merged with the document as it comes.

A request for every 1,000 objects, one for the inbox, and one more for each object whose ETag is not the recorded one.
What is held in memory is the document and what is wrong, not the bucket.

Workers may go on meanwhile. An object is there before it is recorded and stays, so of a version that was in the
document before the listing began, the listing shows the object. And an object without a record may have got one since:
so the document is read once more, when the listing is done. An object whose worker is just about to record it cannot be
told from one that nobody will: an age can (`min_age`).

What is right and what is wrong is for `rules.audit` to say.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from itertools import pairwise, takewhile
from typing import TypeAlias

from cf_data_tracker.concurrently import map_concurrently
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, raw_document, versions_of
from cf_data_tracker.engine.cas import DocumentSpec
from cf_data_tracker.errors import DeniedError, InvalidNameError, StoreError
from cf_data_tracker.model import FileVersion, NewFile, Recorded
from cf_data_tracker.named import Documents, Named
from cf_data_tracker.names import clean_key, inbox_prefix, older_clean_key, raw_key
from cf_data_tracker.rules.audit import (
    Content,
    Expected,
    Finding,
    NotLookedAt,
    content_of,
    differs_in_size,
    expected,
    hinted,
    is_own,
    just_before,
    merged,
    missing,
    newest,
    orphan,
    other_content,
    other_size,
    place_of,
    sha256_of,
    was_overwritten,
    without,
)
from cf_data_tracker.store import Head, Listed, Page, vanished

OnProgress: TypeAlias = Callable[[int], object]
"""Is told how many more objects were listed."""

_Known: TypeAlias = Mapping[tuple[str, str, str], FileVersion]  # by table, file name and file


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """What waits in the inbox of a document: recordings that workers have published, and nobody has committed yet.

    While workers record, some always wait for a moment. What a dead worker left is committed by one of the next 32
    commits or so.

    Attributes:
        entries: How many entries; each holds the recordings of one worker, one or more.
        since: When the oldest of them was written, `YYYY-MM-DD HH:MM:SS` in UTC, by the store's clock; `None` for none.
    """

    entries: int
    since: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        schema: The data source.
        tracked: Whether it has a document; where not, every object under its prefix is one without a record.
        revision: The revision of the document; `None` where there is none, or only the earlier package wrote it.
        versions: How many versions it has.
        objects: How many objects are under the schema's prefix, but for the tracker's own.
        findings: What is wrong, in the order of locations.
        not_compared: Of how many versions the object is there, and its bytes were not compared with anything.
        overwritten: How many versions are older ones of a file name, and their object holds the bytes of a newer one.
        young: How many objects without a record were left out since they are young.
        not_looked_at: Versions that are not in this bucket.
        waiting: What waits in the document's inbox; `None` where the caller may not list that.
    """

    schema: str
    tracked: bool
    revision: int | None = None
    versions: int = 0
    objects: int = 0
    findings: tuple[Finding, ...] = ()
    not_compared: int = 0
    overwritten: int = 0
    young: int = 0
    not_looked_at: tuple[NotLookedAt, ...] = ()
    waiting: Waiting | None = None

    @property
    def orphans(self) -> list[Finding]:
        """The objects of which no version is recorded."""
        return [finding for finding in self.findings if finding.kind == "orphan"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenIn:
    """What became of objects without a record.

    Attributes:
        recorded: The versions that were recorded of them, or, in a dry run, would be.
        left: Those that were not taken in; each says why.
    """

    recorded: tuple[Recorded, ...]
    left: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A version whose object may not be what was recorded: only a further look can tell."""

    key: str
    version: FileVersion
    found: Listed
    content: Content


@dataclass(slots=True)
class _Seen:
    """What the listing has shown so far; local to one audit."""

    objects: int = 0
    overwritten: int = 0
    not_compared: int = 0
    wrong: list[tuple[str, FileVersion, Finding]] = field(default_factory=list)
    doubts: list[_Doubt] = field(default_factory=list)
    unrecorded: list[Listed] = field(default_factory=list)
    shares_bucket: bool = False  # with the clean files


def audit(
    connection: Connection, schema: str, *, deep: bool, written_until: float, on_progress: OnProgress | None
) -> Audit:
    """Compare a schema's document with the bucket; see `Tracker.audit`.

    Args:
        connection: The raw bucket.
        schema: The data source.
        deep: Whether to read what a listing tells too little of.
        written_until: Objects without a record that were written later, in seconds since 1970, are left out.
        on_progress: Is told of what was listed.
    """
    return _Auditor(connection, schema, deep=deep, on_progress=on_progress).audit(written_until)


def waiting(connection: Connection, schema: str) -> Waiting | None:
    """Return what waits in the inbox of a schema's document; see `Tracker.waiting`."""
    listing = Listing(connection, lambda _: None)
    try:
        written = [one.modified for one in listing.of(inbox_prefix(raw_key(schema)))]
    except DeniedError:
        return None
    return Waiting(entries=len(written), since=utc(min(written)) if written else None)


class _Auditor:
    def __init__(self, connection: Connection, schema: str, *, deep: bool, on_progress: OnProgress | None) -> None:
        self._connection = connection
        self._schema = schema
        self._deep = deep
        self._listing = Listing(connection, on_progress)
        self._home = connection.store.location("")
        self._raw = DocumentSpec(key=raw_key(schema), parse=raw_document)

    def audit(self, written_until: float) -> Audit:
        """Read, list, read again, and look further into what is in doubt."""
        document = self._connection.read(self._raw)
        wanted = expected(document, self._schema, self._home)
        seen = self._compared(wanted)
        later = self._connection.read(self._raw)
        if later is not document:
            self._settle(seen, later)
        if seen.shares_bucket:
            clean = Documents(self._connection, before="", whole=False).named_in_clean(self._schema)
            seen.unrecorded = [one for one in seen.unrecorded if clean.reason(one.key) is None]
        orphans = [one for one in seen.unrecorded if one.modified <= written_until]
        unrecorded = {self._home + one.key for one in seen.unrecorded}
        findings = [
            *(hinted(finding, unrecorded) for _, _, finding in seen.wrong),
            *self._of_doubts(seen),
            *map(self._orphan, orphans),
        ]
        return Audit(
            schema=self._schema,
            tracked=later is not None,
            revision=later.get("revision") if later is not None else None,
            versions=wanted.versions,
            objects=seen.objects,
            findings=tuple(sorted(findings, key=lambda finding: finding.location)),
            not_compared=seen.not_compared,
            overwritten=seen.overwritten,
            young=len(seen.unrecorded) - len(orphans),
            not_looked_at=wanted.not_looked_at,
            waiting=waiting(self._connection, self._schema),
        )

    def _compared(self, wanted: Expected) -> _Seen:
        seen = _Seen()
        for key, found, versions in merged(wanted.inside, self._listing.of(f"{self._schema}/")):
            if versions or found is None or not is_own(self._schema, key):
                seen.objects += found is not None
                self._judge(seen, key, found, versions)
            seen.shares_bucket = seen.shares_bucket or key in (clean_key(self._schema), older_clean_key(self._schema))
        for key, found, versions in merged(wanted.outside, self._listing.at([key for key, _ in wanted.outside])):
            self._judge(seen, key, found, versions)
        return seen

    def _judge(self, seen: _Seen, key: str, found: Listed | None, versions: Sequence[FileVersion]) -> None:
        if found is None:
            seen.wrong += [(key, version, missing(version, self._home + key)) for version in versions]
        elif not versions:
            seen.unrecorded.append(found)
        else:
            latest = newest(versions)
            for version in latest:
                self._compare(seen, key, found, version)
            seen.overwritten += sum(was_overwritten(one, found) for one in versions if one not in latest)

    def _compare(self, seen: _Seen, key: str, found: Listed, version: FileVersion) -> None:
        content = content_of(version, found)
        if differs_in_size(version, found):
            seen.wrong.append((key, version, other_size(version, self._home + key, found)))
        elif content is Content.UNKNOWN and not (self._deep and sha256_of(version)):
            seen.not_compared += 1
        elif content is not Content.SAME:
            seen.doubts.append(_Doubt(key, version, found, content))

    def _settle(self, seen: _Seen, document: Document | None) -> None:
        """Look again at what seemed wrong, now that workers have recorded more."""
        wanted = expected(document, self._schema, self._home)
        latest = {key: newest(versions) for key, _, versions in merged(wanted.inside, ())}
        latest.update((key, newest(versions)) for key, _, versions in merged(wanted.outside, ()))
        seen.unrecorded = without(seen.unrecorded, latest)
        before = len(seen.wrong) + len(seen.doubts)
        # That a version is not in the document any more is for `verify --history` to tell.
        seen.wrong = [one for one in seen.wrong if one[1] in latest.get(one[0], ())]
        seen.doubts = [one for one in seen.doubts if one.version in latest.get(one.key, ())]
        seen.overwritten += before - len(seen.wrong) - len(seen.doubts)

    def _orphan(self, found: Listed) -> Finding:
        return orphan(self._home + found.key, found, utc(found.modified))

    def _of_doubts(self, seen: _Seen) -> list[Finding]:
        verdicts = list(map_concurrently(partial(self._looked_at, doubt) for doubt in seen.doubts))
        seen.not_compared += sum(verdict is Content.UNKNOWN for verdict in verdicts)
        return [verdict for verdict in verdicts if isinstance(verdict, Finding)]

    def _looked_at(self, doubt: _Doubt) -> Finding | Content:
        """Return what is wrong with an object, or what there is to say of its bytes."""
        location, sha256 = self._home + doubt.key, sha256_of(doubt.version)
        if doubt.content is Content.UNKNOWN and sha256 is not None:
            return self._read_through(doubt, sha256)
        head = _head(self._connection, doubt.key)
        if head is None:
            return missing(doubt.version, location)
        if head.sha256 is not None and head.sha256 == sha256:
            return Content.SAME  # written again, in other parts perhaps
        if self._deep and sha256 is not None:
            return self._read_through(doubt, sha256)
        if head.encrypted and doubt.content is Content.OTHER_MD5:
            return Content.UNKNOWN
        return other_content(doubt.version, location, doubt.found, _why(doubt))

    def _read_through(self, doubt: _Doubt, sha256: str) -> Finding | Content:
        digest = self._connection.retrying(lambda: self._connection.objects.sha256(doubt.key), doubt.key)
        location = self._home + doubt.key
        if digest is None:
            return missing(doubt.version, location)
        if digest.hex() == sha256:
            return Content.SAME
        return other_content(doubt.version, location, doubt.found, f"their SHA-256 is {digest.hex()}, not {sha256}")


class Listing:
    """Objects of the bucket, page by page, in the order of their keys."""

    def __init__(self, connection: Connection, on_progress: OnProgress | None = None) -> None:
        self._connection = connection
        self._on_progress = on_progress or (lambda _: None)

    def of(self, prefix: str) -> Iterator[Listed]:
        """Yield all objects under a prefix."""
        more, last = True, ""
        while more:
            page = self._page(prefix, last)
            yield from page.objects
            more, last = page.more, page.objects[-1].key if page.objects else ""

    def at(self, keys: Sequence[str]) -> Iterator[Listed]:
        """Yield the objects at these keys, sorted ones: a page for all that it covers, and never more than it takes."""
        wanted, prefix = set(keys), _shared(keys[0], keys[-1]) if keys else ""
        place, last = 0, ""
        while place < len(keys):
            page = self._page(prefix, max(last, just_before(keys[place])))
            yield from (one for one in page.objects if one.key in wanted)
            last = page.objects[-1].key if page.more else keys[-1]
            if last < keys[place]:  # more than a page of others stands between
                yield from self._page(keys[place], "").objects[:1]
                last = keys[place]
            place = bisect_right(keys, last, lo=place)

    def _page(self, prefix: str, after: str) -> Page:
        page = self._connection.retrying(lambda: self._connection.objects.page(prefix, after=after), prefix)
        keys = [after, *(one.key for one in page.objects)]
        if any(one >= other for one, other in pairwise(keys)):
            raise StoreError(
                f"{self._connection.store.location(prefix)}: the store does not list keys in their order, so they "
                "cannot be compared with a document: audit a copy of the bucket in another store"
            )
        self._on_progress(len(page.objects))
        return page


def _shared(one: str, other: str) -> str:
    """Return what both begin with, and so does all that stands between them."""
    return "".join(here for here, _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _why(doubt: _Doubt) -> str:
    recorded = "ETag" if doubt.content is Content.OTHER_ETAG else "MD5"
    sure = "; --deep reads it, and is sure" if sha256_of(doubt.version) else ""
    return f"its ETag, {doubt.found.etag}, is not the recorded {recorded}{sure}"


def check_never_there(connection: Connection, key: str) -> None:
    """Look whether the bucket keeps what a document that is not there was.

    Raises:
        DocumentVanishedError: It does.
    """
    try:
        kept = connection.retrying(lambda: connection.objects.versions(key), key)
    except DeniedError:
        return  # nobody here can know
    if kept:
        raise vanished(connection.store.location(key))


def to_take_in(
    connection: Connection, audit: Audit, document: Document | None
) -> tuple[Sequence[NewFile], Sequence[Finding]]:
    """Return the objects without a record as files to be recorded, the oldest first, and those that cannot be.

    So are those that another document of the bucket names or may name, as far as these can be read: the clean files of
    another schema, say.

    Args:
        connection: The raw bucket.
        audit: What has found them.
        document: The document as it is now.
    """
    if not audit.orphans:
        return (), ()
    known = {(one.table, one.file_name, one.file): one for one in versions_of(document, audit.schema)}
    named = Documents(connection, before="", strict={audit.schema}, whole=False).read(audit.schema)
    heads = map_concurrently(partial(_head, connection, _found(finding).key) for finding in audit.orphans)
    oldest_first = sorted(
        zip(audit.orphans, heads, strict=True), key=lambda pair: (_found(pair[0]).modified, pair[0].location)
    )
    taken = [_file_or_left(audit.schema, finding, head, known, named) for finding, head in oldest_first]
    files = [one for one in taken if isinstance(one, NewFile)]
    return files, [one for one in taken if isinstance(one, Finding)]


def _head(connection: Connection, key: str) -> Head | None:
    return connection.retrying(lambda: connection.objects.head(key), key)


def _file_or_left(schema: str, finding: Finding, head: Head | None, known: _Known, named: Named) -> NewFile | Finding:
    if reason := named.reason(_found(finding).key):
        return replace(finding, sentence=f"not taken in: {reason}")
    try:
        return _file_of(schema, finding, head, known)
    except InvalidNameError as error:
        return replace(finding, sentence=f"not taken in: {error}")


def _file_of(schema: str, finding: Finding, head: Head | None, known: _Known) -> NewFile:
    """Return what there is to record of an object.

    Raises:
        InvalidNameError: Nothing is; it says why.
    """
    place = table, file_name, file = place_of(schema, _found(finding).key)
    if head is None:
        raise InvalidNameError("it is gone")
    if place in known:
        there = known[place]
        raise InvalidNameError(f"version {there.version} of {table}/{file_name} is {file}, from {there.s3_location}")
    day = utc(head.modified)[:10]
    return NewFile(
        schema=schema,
        table=table,
        file_name=file_name,
        file=file,
        file_size=head.size,
        s3_location=finding.location,
        fyear=f"FY{day[:4]}",
        upload_date=day,
        checksum=f"sha256:{head.sha256}" if head.sha256 else None,
        etag=head.etag or None,
    )


def _found(finding: Finding) -> Listed:
    assert finding.found is not None  # noqa: S101 - an orphan was found
    return finding.found


def utc(seconds: float) -> str:
    """Return a time as text: `YYYY-MM-DD HH:MM:SS`, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
