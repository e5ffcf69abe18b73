"""Outdated clean files: which of them may go, and that they do.

A file is outdated when the record that named it was replaced by one that does not. It goes when that is long enough
ago, no record names it, and nobody has written it since. It is looked at right before, yet not in the same moment: so
a worker should write no file under a key that was there before, and with the number of its claim in it none does.

What is on the list, and comes off it, is for `rules.clean` to say.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Final

from cf_data_tracker.ahead import side_by_side
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, clean_files_in
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.names import check_key, in_s3

AT_A_TIME: Final = 100
"""Files that are looked at, and then deleted: a second passes between the two at most."""

IS_NAMED: Final = "a record names it, or did a moment ago"


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


class Sweep:
    """The deletion of a schema's outdated clean files.

    Args:
        clean: The clean bucket.
        schema: The data source.
        document: The clean document as it is at the moment.
        before: Files are due that were outdated before this time.
    """

    def __init__(self, clean: Connection, schema: str, document: Callable[[], Document | None], before: str) -> None:
        self._clean = clean
        self._schema = schema
        self._document = document
        self._before = before

    def looked_at(self) -> Iterator[Swept]:
        """Yield what would become of each file that is due."""
        document = self._document()
        return side_by_side(partial(self._judged, one) for one in self._due(document))

    def deleted(self) -> Iterator[list[Swept]]:
        """Delete the files that are due, a few at a time, and yield what became of them."""
        left = self.looked_at()
        while some := list(islice(left, AT_A_TIME)):
            due = list(self._due(self._document()))
            some = [one if one.left or one in due else replace(one, left=IS_NAMED) for one in some]
            self._delete([self._key(one.file) for one in some if one.left is None])
            yield some

    def _delete(self, keys: Sequence[str]) -> None:
        if keys:
            self._clean.about("delete", lambda objects: objects.delete(*keys), keys[0])

    def _due(self, document: Document | None) -> Iterator[Swept]:
        """Yield the files that are due by the document alone."""
        outdated: Mapping[str, str] = document.get("outdated", {}) if document is not None else {}
        due = sorted((since, file) for file, since in outdated.items() if since < self._before)
        named = {self._key_or_file(file) for file in clean_files_in(document)} if due else frozenset()
        for since, file in due:
            is_named = self._key_or_file(file) in named
            yield Swept(file=file, outdated=since, left=IS_NAMED if is_named else None)

    def _judged(self, one: Swept) -> Swept:
        return one if one.left is not None else replace(one, left=self._reason_to_stay(one))

    def _reason_to_stay(self, one: Swept) -> str | None:
        try:
            since, key = _seconds(one.outdated), self._key(one.file)
        except ValueError as error:  # InvalidNameError is one
            return str(error)
        head = self._clean.about("head", lambda objects: objects.head(key), key)
        return "it was written again since" if head is not None and head.modified > since else None

    def _key(self, file: str) -> str:
        """Return the key of a file.

        Raises:
            InvalidNameError: It is in another bucket, or the key is none of a clean file.
        """
        bucket, key = in_s3(file) or (self._clean.access.bucket, file)
        if bucket != self._clean.access.bucket:
            raise InvalidNameError("it is in another bucket")
        return check_key("a clean file", key, [self._schema])

    def _key_or_file(self, file: str) -> str:
        try:
            return self._key(file)
        except InvalidNameError:
            return file


def forgettable(swept: Iterable[Swept]) -> dict[str, str]:
    """Return the files that are gone, and since when each was outdated."""
    return {one.file: one.outdated for one in swept if one.left is None}


def _seconds(time: str) -> float:
    """Return a time in seconds since 1970.

    Raises:
        ValueError: It is none.
    """
    try:
        return datetime.strptime(time, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except ValueError:
        raise ValueError("since when it is outdated cannot be read") from None
