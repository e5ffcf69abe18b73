"""A document's own past, as the S3 versions of a bucket that keeps them: was anything lost, and how to get it back.

`walk` reads them from the oldest to the newest and compares each with the one before. `restore` writes the content of
one of them as a *new* revision, by a conditional write over what is there now, whether that is a document, something
that is none, or nothing. Its number is higher than any that was seen: so no content and no ETag comes back that a
worker may still hold for its own, and workers that are under way find a changed document, and read it again.

What the rules would make of a document does not matter here, so this is no commit of the engine's: that leaves alone
what is ruined, and refuses to go on where a document has vanished. What one document lacks of another is for
`rules.past` to say.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

from cf_data_tracker.audit import utc
from cf_data_tracker.concurrently import map_concurrently
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, raw_document, to_bytes
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    NotTrackedError,
    OutcomeUnknownError,
    StoreError,
    TrackerError,
    WouldLoseError,
)
from cf_data_tracker.names import raw_key
from cf_data_tracker.rules.past import Loss, Versions, is_back, lost, peaks, same_content, spans, versions_in
from cf_data_tracker.store import Conflict, Kept, Store, Stored, Unanswered

LOG: Final = logging.getLogger("cf_data_tracker")

BODIES_AT_ONCE: Final = 4
"""Documents that are fetched beside each other, or wait to be looked at."""

SHOWN: Final = 10
"""Losses that an error names; all are among its attributes."""

OnProgress: TypeAlias = Callable[[int], object]
"""Is told how many more documents were read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """A document as it was.

    Attributes:
        revision: Its number; `None` where only the earlier package had written it.
        version: The id of the S3 version that holds it.
        written: When it was written, `YYYY-MM-DD HH:MM:SS` in UTC, by the store's clock.
    """

    revision: int | None
    version: str
    written: str

    def __str__(self) -> str:
        number = "a document without revision" if self.revision is None else f"revision {self.revision}"
        return f"{number} ({self.written}, version {self.version})"


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """What the kept versions of a document show.

    Attributes:
        schema: The data source.
        documents: How many of them were read.
        oldest: The first of them.
        newest: The last of them.
        findings: What was lost and is not back, or makes the document unusable now; one sentence each.
        notes: What else is out of the ordinary, one sentence each: what is back, what is not kept any more.
    """

    schema: str
    documents: int
    oldest: Past | None
    newest: Past | None
    findings: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What came of a restoration.

    Attributes:
        schema: The data source.
        source: What was restored.
        revision: The document's revision now; in a dry run, the one that it would have.
        created: Whether this call wrote it, or would; `False` where the document is what was asked for already.
        lost: What the document that was replaced had, and this one has not, since the call said that it may be lost.
    """

    schema: str
    source: Past
    revision: int | None
    created: bool
    lost: tuple[str, ...]


def walk(connection: Connection, schema: str, on_progress: OnProgress | None = None) -> History:
    """Read the kept versions of a schema's document, and compare each with the one before; see `Tracker`."""
    archive = _Archive(connection, schema)
    walker = _Walker(schema)
    for kept, body in archive.bodies(archive.kept()):
        walker.see(kept, body)
        if on_progress is not None:
            on_progress(1)
    return walker.history()


def restore(connection: Connection, schema: str, wanted: int | str, *, discard: bool, dry_run: bool) -> Restored:
    """Write what a document was as its newest revision; see `Tracker.restore`.

    Args:
        connection: The raw bucket.
        schema: The data source.
        wanted: What to restore: a revision, or the id of an S3 version.
        discard: Whether versions may be lost that were recorded since.
        dry_run: Whether to write nothing.
    """
    restoration = _Restoration(_Archive(connection, schema), discard=discard, dry_run=dry_run)
    restoration.find(wanted)
    if not dry_run:
        connection.prove()
    try:
        return connection.retrying(lambda: restoration.attempt(connection.store), raw_key(schema))
    except StoreError as error:
        raise restoration.meaning(error) from error


class _Archive:
    """The kept versions of one document."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self.schema = schema
        self.key = raw_key(schema)
        self.location = connection.store.location(self.key)
        self._connection = connection

    def kept(self) -> Sequence[Kept]:
        """Return them, the oldest first.

        Raises:
            NotTrackedError: There is no document, and never was one that is kept.
            StoreError: The bucket keeps no versions.
        """
        kept = self._connection.retrying(lambda: self._connection.objects.versions(self.key), self.key)
        if kept:
            return kept
        if not isinstance(self._connection.retrying(lambda: self._connection.store.read(self.key), self.key), Stored):
            raise NotTrackedError(f"the schema {self.schema} is not tracked: the bucket has no document of it")
        raise StoreError(
            f"{self.location}: the bucket keeps no versions, so nothing is known of its past. Turn versioning on "
            "(aws s3api put-bucket-versioning --versioning-configuration Status=Enabled --bucket ...): what is "
            "written from then on is kept"
        )

    def bodies(self, wanted: Iterable[Kept]) -> Iterator[tuple[Kept, bytes | None]]:
        """Yield versions with what they hold; a marker holds nothing, nor does one that is gone since."""
        wanted = list(wanted)
        return zip(wanted, map_concurrently((partial(self.body, one) for one in wanted), BODIES_AT_ONCE), strict=True)

    def body(self, kept: Kept) -> bytes | None:
        """Return what a version holds."""
        if kept.marker:
            return None
        return self._connection.retrying(
            lambda: self._connection.objects.read_version(self.key, kept.version), self.key
        )


class _Walker:
    """What is known after each version that was seen. It holds the versions of one document, the last that was read."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._documents = 0
        self._oldest: Past | None = None
        self._newest: Past | None = None
        self._versions: Versions = {}
        self._losses: list[tuple[Loss, Past]] = []
        self._notes: list[str] = []
        self._deleted: Kept | None = None  # and not back
        self._ruined: str = ""  # and not mended: when, and how

    def see(self, kept: Kept, body: bytes | None) -> None:
        """Take in the next version."""
        if kept.marker:
            self._deleted = self._deleted or kept
        elif body is None:
            self._notes.append(f"version {kept.version}, written {utc(kept.modified)}, is not kept any more")
        else:
            self._note_that_it_is_back(kept)
            self._read(kept, body)

    def history(self) -> History:
        """Return what has been found."""
        return History(
            schema=self._schema,
            documents=self._documents,
            oldest=self._oldest,
            newest=self._newest,
            findings=tuple(self._findings()),
            notes=(*self._notes, *(f"{past} lost {loss}, which is back" for loss, past in self._found_again())),
        )

    def _read(self, kept: Kept, body: bytes) -> None:
        try:
            document = raw_document(body)
        except DocumentError as error:
            self._ruined = (
                self._ruined or f"no tracker document since {utc(kept.modified)} (version {kept.version}): {error}"
            )
            return
        past, versions = _past(kept, document), versions_in(document)
        if self._ruined:
            self._notes.append(f"it was {self._ruined}; it is one again since {past}")
            self._ruined = ""
        if self._newest is not None:
            self._note_revisions(self._newest, past)
            self._losses += [(loss, past) for loss in lost(self._versions, versions)]
        self._documents += 1
        self._oldest = self._oldest or past
        self._newest, self._versions = past, versions

    def _note_that_it_is_back(self, kept: Kept) -> None:
        if self._deleted is not None and self._newest is not None:
            self._notes.append(f"it was deleted {utc(self._deleted.modified)}, and is back since {utc(kept.modified)}")
        self._deleted = None

    def _note_revisions(self, before: Past, after: Past) -> None:
        was, now = before.revision, after.revision
        if now is not None and was is not None and now > was + 1:
            self._notes.append(f"not kept: {_revisions(range(was + 1, now))}")
        elif was is not None and (now is None or now <= was):
            self._notes.append(
                f"{after} follows {before}: a program wrote it that does not count, or it was begun anew"
            )

    def _findings(self) -> Iterator[str]:
        if self._deleted is not None:
            yield f"it was deleted {utc(self._deleted.modified)}, and is gone: restore it"
        if self._ruined:
            yield f"it is {self._ruined}: restore it"
        for loss, past in self._losses:
            if not is_back(loss, self._versions):
                yield f"{past} lost {loss}"

    def _found_again(self) -> Iterator[tuple[Loss, Past]]:
        return ((loss, past) for loss, past in self._losses if is_back(loss, self._versions))


class _Restoration:
    """One restoration, attempt after attempt."""

    def __init__(self, archive: _Archive, *, discard: bool, dry_run: bool) -> None:
        self._archive = archive
        self._discard = discard
        self._dry_run = dry_run
        self._known: set[str] = set()  # the ids of the versions that were looked at
        self._lost: dict[str, None] = {}  # in the order in which that was found
        self._highest = 0
        self._sent: dict[bytes, int] = {}  # what may have landed, and its revision
        self._replaced: str | None = None  # the ETag that it was to replace
        self._doubtful = False

    def find(self, wanted: int | str) -> None:
        """Find what is to be restored, and what was recorded since.

        Raises:
            NotTrackedError: It is not kept.
            DocumentError: It is no tracker document.
        """
        kept = self._archive.kept()
        self._known.update(one.version for one in kept)
        newer: list[tuple[Kept, Past]] = []
        for one, document in self._readable(reversed(kept), but_for=wanted):
            past = _past(one, document)
            if wanted in (past.version, past.revision):
                self._source, self._document, self._versions = past, document, versions_in(document)
                break
            newer.append((one, past))
        else:
            raise NotTrackedError(self._not_kept(wanted, [past for _, past in newer]))
        self._highest = max(past.revision or 0 for past in (self._source, *(past for _, past in newer)))
        places = peaks([past.revision for _, past in newer])
        for _, document in self._readable(newer[place][0] for place in places):
            self._weigh(document)

    def attempt(self, store: Store) -> Restored:
        """Look at what is there now, and write over that, unless something would be lost.

        Raises:
            WouldLoseError: Something would, and the call did not say that it may.
            Conflict: Something else is there by now; nothing was written.
            Unanswered: It may have been written.
        """
        answer = store.read(self._archive.key)
        there = answer if isinstance(answer, Stored) else None
        landed = self._landed(there)
        if landed is not None:
            return self._restored(landed)
        now = self._parsed(there.body) if there is not None else None
        if now is not None and same_content(now, self._document):
            return self._restored(now.get("revision"), created=False)
        if now is not None:
            self._weigh(now)
        else:
            self._weigh_what_came_since()
        if self._lost and not self._discard:
            raise WouldLoseError(self._refusal(), tuple(self._lost))
        if not self._dry_run:
            self._write(store, there)
        return self._restored(self._highest + 1)

    def meaning(self, error: StoreError) -> TrackerError:
        """Return the error to raise for one that ended the attempts."""
        if self._doubtful:
            return OutcomeUnknownError(
                f"a write to {self._archive.location} was never answered and may have landed; restoring again is safe"
            )
        if isinstance(error.__cause__, Conflict):
            return ContentionError(
                f"other workers kept committing to {self._archive.location}; nothing was written, try later"
            )
        return error

    def _write(self, store: Store, there: Stored | None) -> None:
        revision = self._highest + 1
        body = to_bytes({**self._document, "revision": revision})
        replaced = there.etag if there is not None else None
        try:
            store.write(self._archive.key, body, replacing=replaced)
        except DocumentVanishedError:  # since it was read, a moment ago: look again
            raise Conflict(self._archive.location) from None
        except Unanswered as signal:
            if signal.sent:
                self._sent[body], self._replaced, self._doubtful = revision, replaced, True
            raise
        LOG.info("%s: revision %d, restored from %s", self._archive.location, revision, self._source)

    def _landed(self, there: Stored | None) -> int | None:
        """Return the revision of a write of ours that was not answered, if it was done."""
        if not self._sent:
            return None
        if there is not None and there.body in self._sent:
            return self._sent[there.body]
        # What was to be replaced is there still: it may yet land. Something else is: it never can, if it has not.
        self._doubtful = self._replaced == (there.etag if there is not None else None)
        bodies = (body for _, body in self._archive.bodies(self._new()))
        return next((self._sent[body] for body in bodies if body in self._sent), None)

    def _weigh(self, document: Document) -> None:
        """Note what a document has and the restored one would lack."""
        self._highest = max(self._highest, document.get("revision", 0))
        self._lost.update((str(loss), None) for loss in lost(versions_in(document), self._versions))

    def _weigh_what_came_since(self) -> None:
        new = self._new()
        self._known.update(one.version for one in new)
        for _, document in self._readable(new):
            self._weigh(document)

    def _new(self) -> Sequence[Kept]:
        return [one for one in self._archive.kept() if one.version not in self._known]

    def _readable(self, wanted: Iterable[Kept], *, but_for: int | str | None = None) -> Iterator[tuple[Kept, Document]]:
        """Yield the tracker documents among versions.

        Raises:
            DocumentError: That version is none.
        """
        for kept, body in self._archive.bodies(wanted):
            document = self._parsed(body, required=kept.version == but_for) if body is not None else None
            if document is not None:
                yield kept, document

    def _parsed(self, body: bytes, *, required: bool = False) -> Document | None:
        try:
            return raw_document(body)
        except DocumentError as error:
            if required:
                raise DocumentError(error.where, error.problem, self._archive.location) from None
            return None

    def _restored(self, revision: int | None, *, created: bool = True) -> Restored:
        return Restored(
            schema=self._archive.schema,
            source=self._source,
            revision=revision,
            created=created,
            lost=tuple(self._lost) if created else (),
        )

    def _not_kept(self, wanted: int | str, kept: Sequence[Past]) -> str:
        what = f"version {wanted}" if isinstance(wanted, str) else f"revision {wanted}"
        numbers = [past.revision for past in kept if past.revision is not None]
        there = [f"{_revisions(numbers)}"] if numbers else []
        there += [str(past) for past in kept if past.revision is None][:SHOWN]
        return f"{self._archive.location}: {what} is not kept; what is: {', '.join(there) or 'no tracker document'}"

    def _refusal(self) -> str:
        named = [*self._lost][:SHOWN]
        more = f" and {len(self._lost) - SHOWN} more" if len(self._lost) > SHOWN else ""
        return (
            f"{self._source} lacks what {self._archive.location} has had since: {'; '.join(named)}{more}. Nothing was "
            "written. Restore a later one, or say that these may be lost (--discard, discard=True)"
        )


def _past(kept: Kept, document: Document) -> Past:
    return Past(revision=document.get("revision"), version=kept.version, written=utc(kept.modified))


def _revisions(numbers: Sequence[int]) -> str:
    return f"{'revision' if len(numbers) == 1 else 'revisions'} {spans(numbers)}"
