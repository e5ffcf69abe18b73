"""Outdated clean files: which of them may go, and that they do.

A file is outdated when the record that named it was replaced by one that does not. It goes when that is long enough
ago, no document names it, and the object is the one that was seen when it became outdated: its ETag, its Last-Modified
and its version are the same. No clock of ours is compared with the store's.

It is deleted under the condition that it still has that ETag, where the store honours this (`Objects`). Elsewhere it is
looked at once more right before, which leaves a moment between the two.

An object that was written again since, or that nobody saw then, is noted as it is now: it is outdated since now. If
the claim of a worker that may have written it is still held, it waits until that has ended.

What is on the list, and comes off it, is for `rules.clean` to say; which names mean which object, for `locations`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from cf_data_tracker.concurrently import map_concurrently
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, outdated_in, seen_in
from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.locations import meaning
from cf_data_tracker.model import Seen
from cf_data_tracker.named import NAMES, Documents, Named
from cf_data_tracker.names import check_key, clean_key
from cf_data_tracker.rules.claims import in_flight
from cf_data_tracker.store import Conflict, Head, Unanswered

AT_A_TIME: Final = 100
"""Files that are looked at, and then deleted: a second passes between the two at most."""

MOST_SEEN: Final = 256
"""Files that a recorder looks at, at most, when they become outdated: half a second. A sweep notes the rest."""

IS_NAMED: Final = "a record names it, or did a moment ago"
WRITTEN_AGAIN: Final = "it was written again since"
NOT_SEEN: Final = "nobody noted which object it was; a sweep that deletes notes that, and it is outdated since then"
CHANGED: Final = "it became outdated again a moment ago, or another sweep noted it"
NO_ETAG: Final = "the store sends no ETag of it, so nobody can say whether it was written again"
UNCERTAIN: Final = "its name does not say for certain which object it is"


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What became of an outdated clean file, or would in a dry run.

    Attributes:
        file: The file, as the record named it.
        outdated: Since when no record of its file name names it, `YYYY-MM-DDTHH:MM:SS.mmmZ`.
        left: Why it stays; `None` if it is deleted.
    """

    file: str
    outdated: str
    left: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """A file that is due by the list.

    Attributes:
        swept: What becomes of it.
        key: Its key; `""` where it is not known for certain.
        seen: Which object it was, as the document has it.
        there: Which object it is now; `None` before it was looked at, and where there is none.
    """

    swept: Swept
    key: str = ""
    seen: Seen | None = None
    there: Seen | None = None

    def left(self, reason: str) -> "Due":
        """Return it as one that stays."""
        return replace(self, swept=replace(self.swept, left=reason))


class Sweep:
    """The deletion of a schema's outdated clean files.

    Args:
        raw: The raw bucket, whose documents may name objects of the clean one.
        clean: The clean bucket.
        schema: The data source.
        before: Files are due that were outdated before this time.
    """

    def __init__(self, raw: Connection, clean: Connection, schema: str, before: str) -> None:
        self._clean = clean
        self._schema = schema
        self._before = before
        self._documents = Documents(clean, raw=raw, before=before)
        self._named_here = f"{clean.store.location(clean_key(schema))} {NAMES}"

    def looked_at(self) -> Iterator[Due]:
        """Yield what would become of each file that is due."""
        return map_concurrently([partial(self._looked_at, one) for one in self._due()])

    def deleted(self) -> Iterator[list[Due]]:
        """Delete the files that are due, a few at a time, and yield what became of them."""
        looked_at = self.looked_at()
        while some := list(islice(looked_at, AT_A_TIME)):
            now = {one.swept.file: one for one in self._due()}
            yield self._gone([_still(one, now.get(one.swept.file)) for one in some])

    def _due(self) -> list[Due]:
        """Return the files that are due by the list, and why they stay, as far as the documents say."""
        if not self._listed(self._documents.clean_document(self._schema)):
            return []
        named = self._documents.read(self._schema)
        document = named.clean[self._schema]
        return [self._by_documents(swept, document, named) for swept in self._listed(document)]

    def _listed(self, document: Document | None) -> list[Swept]:
        due = sorted((since, file) for file, since in outdated_in(document).items() if since < self._before)
        return [Swept(file=file, outdated=since, left=None) for since, file in due]

    def _by_documents(self, swept: Swept, document: Document | None, named: Named) -> Due:
        try:
            _check_moment(swept.outdated)
            key = certain_key(self._clean, self._schema, swept.file)
        except InvalidNameError as error:
            return Due(swept=swept).left(str(error))
        noted = seen_in(document, swept.file)
        due = Due(swept=swept, key=key, seen=_noted(swept.file, noted))
        if reason := named.reason(key):
            return due.left(IS_NAMED if reason == self._named_here else reason)
        claimed = in_flight(document, noted.get("revision", math.inf), self._before) if noted is not None else None
        return due.left(_claimed(*claimed)) if claimed else due

    def _looked_at(self, one: Due) -> Due:
        if one.swept.left is not None:
            return one
        head = self._clean.retrying(lambda: self._clean.objects.head(one.key), one.key)
        there = _identity(one.swept.file, head)
        if there is None:
            return one if head is None else one.left(NO_ETAG)
        one = replace(one, there=there)
        if one.seen is None:
            return one.left(NOT_SEEN)
        return one if one.seen == there else one.left(WRITTEN_AGAIN)

    def _gone(self, some: Sequence[Due]) -> list[Due]:
        """Delete those that are not left, and return all as they are then."""
        answers = list(map_concurrently(partial(self._deleted_unchanged, one) for one in some))
        result = [one if answer is not False else _refused(one) for one, answer in zip(some, answers, strict=True)]
        unconditional = [place for place, answer in enumerate(answers) if answer is None]
        again = list(map_concurrently(partial(self._looked_at, result[place]) for place in unconditional))
        if keys := [one.key for one in again if one.swept.left is None]:
            self._clean.retrying(lambda: self._clean.objects.delete(*keys), keys[0])
        for place, one in zip(unconditional, again, strict=True):
            result[place] = one
        return result

    def _deleted_unchanged(self, one: Due) -> bool | None:
        """Return whether the object is gone, or not to go; `False` if it is another one now, `None` as `Objects`."""
        there = one.there
        if one.swept.left is not None or there is None:
            return True
        return self._clean.retrying(lambda: self._clean.objects.delete_unchanged(one.key, there.etag), one.key)


def certain_key(clean: Connection, schema: str, file: str) -> str:
    """Return the key of a clean file.

    Raises:
        InvalidNameError: It is in another bucket, the key is none of a clean file, or the name is not certain.
    """
    meant = meaning(file, clean.access.bucket, clean.host)
    if meant.written is None:
        raise InvalidNameError(UNCERTAIN)
    bucket, key = meant.written
    if bucket != clean.access.bucket:
        raise InvalidNameError("it is in another bucket")
    check_key("a clean file", key, [schema])
    if not meant.sure:
        raise InvalidNameError(UNCERTAIN)
    return key


def seen_now(clean: Connection, schema: str, files: Iterable[str]) -> tuple[Seen, ...]:
    """Return which objects stand at clean files, as far as the store says so at once: a sweep notes the others."""
    looks = map_concurrently(partial(_seen, clean, schema, file) for file in islice(files, MOST_SEEN))
    found: list[Seen] = []
    with suppress(Conflict, Unanswered, StoreError):
        found.extend(one for one in looks if one is not None)
    return tuple(found)


def forgettable(swept: Iterable[Due]) -> dict[str, str]:
    """Return the files that are gone, and since when each was outdated."""
    return {one.swept.file: one.swept.outdated for one in swept if one.swept.left is None}


def notable(swept: Iterable[Due]) -> list[Due]:
    """Return the files that are other objects than was noted, or of which nothing was."""
    return [one for one in swept if one.there is not None and one.swept.left in {NOT_SEEN, WRITTEN_AGAIN}]


def _still(one: Due, now: Due | None) -> Due:
    """Return a file as it is by the documents now, if it was to go or to be noted."""
    if one.swept.left not in {None, NOT_SEEN, WRITTEN_AGAIN}:
        return one
    if now is None:
        return one.left(IS_NAMED)
    if now.swept.left is not None:
        return one.left(now.swept.left)
    return one if (now.swept.outdated, now.seen) == (one.swept.outdated, one.seen) else one.left(CHANGED)


def _refused(one: Due) -> Due:
    """Return a file whose deletion was refused: which object it is now, nobody has seen."""
    return replace(one, there=None).left(WRITTEN_AGAIN)


def _seen(clean: Connection, schema: str, file: str) -> Seen | None:
    try:
        key = certain_key(clean, schema, file)
    except InvalidNameError:
        return None
    return _identity(file, clean.objects.head(key))


def _identity(file: str, head: Head | None) -> Seen | None:
    if head is None or not head.etag:
        return None
    return Seen(file=file, etag=head.etag, modified=head.modified, version=head.version)


def _noted(file: str, noted: Document | None) -> Seen | None:
    if noted is None:
        return None
    return Seen(file=file, etag=noted["etag"], modified=noted["modified"], version=noted.get("version"))


def _claimed(table: str, file_name: str) -> str:
    return f"{table}/{file_name} is claimed, since before it was noted: its worker may have written it"


def _check_moment(time: str) -> None:
    try:
        datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError:
        raise InvalidNameError("since when it is outdated cannot be read") from None
