"""What the documents of all schemas name in a bucket: what has to stay there.

One object may be named by the documents of several schemas, of either side, and in many forms. So all documents of a
bucket are read; its schemas are the folders at its top. Read again, a document is sent only if it has changed, and
looked through only then. What a name may mean is for `locations` to say.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cf_data_tracker.concurrently import map_concurrently
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import (
    Document,
    clean_document,
    clean_files_in,
    older_clean_document,
    outdated_in,
    raw_document,
    raw_locations_in,
    versions_of,
)
from cf_data_tracker.engine.cas import DocumentSpec
from cf_data_tracker.errors import DeniedError, DocumentError, DocumentVanishedError
from cf_data_tracker.locations import Names, meaning
from cf_data_tracker.names import INTERNAL_PREFIX, clean_key, older_clean_key, raw_key
from cf_data_tracker.rules.clean import CARRIED_OVER, carry_over


@dataclass(frozen=True, slots=True)
class Named:
    """What the documents of a bucket and of others name in it.

    Attributes:
        clean: The clean documents of the bucket, with the records of older ones in them, by schema.
        names: What each document names.
    """

    clean: dict[str, Document | None]
    names: list[Names]

    def reason(self, key: str) -> str | None:
        """Return which document names an object, or may; `None` if none does."""
        return next(filter(None, (names.reason(key) for names in self.names)), None)


class Documents:
    """The documents that may name objects of a bucket, to be read again and again.

    Args:
        bucket: The bucket. Its raw and its clean documents count.
        raw: Another bucket, whose raw documents count as well.
        before: Outdated clean files count as named if they are so since this moment or later; none if left out.
        strict: Schemas whose documents must be readable; all, if left out. Others that are not name nothing.
        whole: Whether a name without a key means the whole bucket.
    """

    def __init__(
        self,
        bucket: Connection,
        *,
        raw: Connection | None = None,
        before: str | None = None,
        strict: Collection[str] | None = None,
        whole: bool = True,
    ) -> None:
        self._bucket = bucket
        self._raw = raw if raw is not None and _place(raw) != _place(bucket) else None
        self._before = before
        self._strict = strict
        self._whole = whole
        self._schemas: dict[Connection, set[str]] = {}  # a folder that is gone may have held a document that is lost
        self._known: dict[str, tuple[Document, Names]] = {}

    def read(self, *schemas: str) -> Named:
        """Read all documents as they are now, these schemas' in any case.

        Raises:
            DocumentError: What is stored is no tracker document; the error says where.
            DocumentVanishedError: A document was there when it was last read.
            StoreError: The store refused, or did not answer; the error says for which object.
        """
        clean = sorted(self._found(self._bucket).union(schemas))
        raw = [(self._bucket, schema) for schema in clean]
        raw += [(self._raw, schema) for schema in sorted(self._found(self._raw))] if self._raw is not None else []
        found = dict(
            zip(clean, map_concurrently(partial(self.clean_document, schema) for schema in clean), strict=True)
        )
        names = [self._names(self._bucket, clean_key(one), there, self._in_clean) for one, there in found.items()]
        versions = map_concurrently(partial(self._raw_document, *one) for one in raw)
        for (connection, schema), there in zip(raw, versions, strict=True):
            names.append(self._names(connection, raw_key(schema), there, partial(self._in_raw, schema)))
        return Named(found, names)

    def named_in_clean(self, schema: str) -> Names:
        """Return what the clean document of a schema names, read alone. Raises as `read`."""
        return self._names(self._bucket, clean_key(schema), self.clean_document(schema), self._in_clean)

    def _found(self, connection: Connection) -> set[str]:
        """Return the folders at the top of a bucket, now or earlier: each may be a schema's."""
        schemas = self._schemas.setdefault(connection, set())
        after: str | None = ""
        while after is not None:
            page = connection.retrying(partial(connection.objects.folders, after=after), "")
            schemas.update(name for name in page.names if f"{name}/" != INTERNAL_PREFIX)
            after = page.after
        return schemas

    def clean_document(self, schema: str) -> Document | None:
        """Return a clean document as it is now, with the records of an older one in it. Raises as `read`."""
        own = self._read(self._bucket, schema, DocumentSpec(key=clean_key(schema), parse=clean_document))
        if own is not None and CARRIED_OVER in own:
            return own
        try:
            older = self._read(
                self._bucket, schema, DocumentSpec(key=older_clean_key(schema), parse=older_clean_document)
            )
        except DocumentVanishedError:
            if own is None:  # nothing has carried its records over
                raise
            older = None
        return carry_over(own, older, schema)

    def _raw_document(self, connection: Connection, schema: str) -> Document | None:
        return self._read(connection, schema, DocumentSpec(key=raw_key(schema), parse=raw_document))

    def _read(self, connection: Connection, schema: str, target: DocumentSpec) -> Document | None:
        try:
            return connection.read(target)
        except (DeniedError, DocumentError):
            if self._strict is None or schema in self._strict:
                raise
            return None

    def _names(
        self,
        connection: Connection,
        key: str,
        document: Document | None,
        named: Callable[[Document], Iterator[tuple[str, str]]],
    ) -> Names:
        """Return what a document names, looked through again only if it is another one."""
        location = connection.store.location(key)
        known = self._known.get(location)
        if document is None or (known is not None and known[0] is document):
            return Names() if document is None or known is None else known[1]
        names = Names()
        for name, how in named(document):
            meant = meaning(name, self._bucket.access.bucket, self._bucket.host)
            if not self._whole:
                meant = replace(meant, prefixes=meant.prefixes - {""})
            names.add(meant, f"{location} {how}")
        self._known[location] = document, names
        return names

    def _in_clean(self, document: Document) -> Iterator[tuple[str, str]]:
        yield from ((name, NAMES) for name in clean_files_in(document))
        yield from ((location, NAMES) for location in raw_locations_in(document))
        for name, since in outdated_in(document).items():
            if self._before is not None and since >= self._before:
                yield name, f"lists it as outdated since {since} only"

    def _in_raw(self, schema: str, document: Document) -> Iterator[tuple[str, str]]:
        locations = (version.s3_location for version in versions_of(document, schema))
        return ((location, NAMES) for location in locations if isinstance(location, str))


NAMES: Final = "names it, or may"


def _place(connection: Connection) -> tuple[str, str]:
    return connection.host, connection.access.bucket
