"""What a later document must have of an earlier one: every version, with all its fields.

Nothing is ever removed from a document, so each contains the one that it was made of. Versions are known by schema,
table, file name and number, wherever in the document they stand; that a later entry has more fields is no loss.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import TypeAlias

from cf_data_tracker.document import Document, table_name_of
from cf_data_tracker.names import shown

Place: TypeAlias = tuple[str, str, str]
"""Schema, table, file name."""

Versions: TypeAlias = Mapping[Place, Sequence[Document]]
"""The versions of a document by their place, as entries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """A version that a document had and a later one has not, or not as it was.

    Attributes:
        place: Where it stood.
        entry: The version.
        now: What stands there under its number; `None` where nothing does.
    """

    place: Place
    entry: Document
    now: Document | None

    def __str__(self) -> str:
        schema, table, file_name = self.place
        name = f"{schema}/{table}/{file_name} version {self.entry['version']} ({self.entry['file']})"
        return f"{name}: {', '.join(_changes(self.entry, self.now))}" if self.now is not None else name


def versions_in(document: Document) -> Versions:
    """Return the versions of a document by their place."""
    found: defaultdict[Place, list[Document]] = defaultdict(list)
    for schema in document["tables"]:
        for table in schema["tables"]:
            for file_entry in table["files"]:
                place = schema["schema_name"], table_name_of(table), file_entry["file_name"]
                found[place] += file_entry["versions"]
    return found


def lost(before: Versions, after: Versions) -> Iterator[Loss]:
    """Yield what a document has, and a later one lacks."""
    for place, entries in before.items():
        there = after.get(place, ())
        if list(there[: len(entries)]) != entries:  # what was added stands at the end: nearly always this is all
            yield from _lost_in(place, entries, there)


def is_back(loss: Loss, versions: Versions) -> bool:
    """Return whether a document has what was lost."""
    return any(_contains(entry, loss.entry) for entry in versions.get(loss.place, ()))


def same_content(one: Document, other: Document) -> bool:
    """Return whether two documents differ in nothing but the number of their commits."""
    return {**one, "revision": 0} == {**other, "revision": 0}


def peaks(revisions: Sequence[int | None]) -> list[int]:
    """Return where, of documents with the newest first, one stands that the next newer need not have been made of.

    A document whose revision is higher than the one before it was made of that one, and has all that it has. The very
    newest is always among them.
    """
    return [0, *(n for n, (newer, older) in enumerate(pairwise(revisions), 1) if not _rises(older, newer))][
        : len(revisions)
    ]


def _rises(older: int | None, newer: int | None) -> bool:
    return newer is not None and (older is None or newer > older)


def spans(numbers: Iterable[int]) -> str:
    """Return numbers in words: `1 to 3, 7`."""
    runs = groupby(enumerate(sorted(set(numbers))), key=lambda pair: pair[1] - pair[0])
    ends = [[number for _, number in run] for _, run in runs]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in ends)


def _lost_in(place: Place, entries: Sequence[Document], there: Sequence[Document]) -> Iterator[Loss]:
    by_number: defaultdict[int, list[Document]] = defaultdict(list)
    for entry in there:
        by_number[entry["version"]].append(entry)
    for entry in entries:
        rivals = by_number.get(entry["version"], ())
        if not any(_contains(rival, entry) for rival in rivals):
            yield Loss(place=place, entry=entry, now=rivals[0] if rivals else None)


def _contains(entry: Document, earlier: Document) -> bool:
    return earlier.items() <= entry.items()


def _changes(was: Document, now: Document) -> Iterator[str]:
    for name, value in was.items():
        if name not in now:
            yield f"{name} was {shown(value)} and is gone"
        elif now[name] != value:
            yield f"{name} was {shown(value)} and is {shown(now[name])}"
