"""What is to hold of the document, of the answers and of the inbox. It is looked at in every step of a run.

states     each commit raises the revision by one and takes nothing away; numbers are dense; no file and no
           recording stands there twice; what a worker was told is not written never appears
replay     the recordings, put one by one through the rules in the order in which they came, give each stored body
           byte for byte
answers    each is true of the document at some time during the call; a new number is higher than those before, and
           came after all that had been acknowledged when the call began
entries    each that was published is in the document after two commits that listed the inbox, or earlier
leftovers  each is in the document after so many commits as the plan says, whether its publisher lives or not
the end    nothing is left in the inbox, and nothing is left out

The first law that is broken ends the run.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cf_data_tracker.document import Document, to_bytes
from simulation.books import Book, Came, Line


class Broken(AssertionError):  # noqa: N818 - what is broken is a law
    """A law does not hold."""


def must(holds: bool, law: str) -> None:  # noqa: FBT001
    """Raise `Broken` unless the law holds."""
    if not holds:
        raise Broken(f"it does not hold that {law}")


class Laws:
    """The laws, and what is known of one run.

    Args:
        book: How to read the document.
        within: After how many commits what was published is there, whoever made them; 0: that is not looked at.
    """

    def __init__(self, book: Book[Any], within: int = 0) -> None:
        self._book = book
        self._within = within
        self._document: Document | None = None  # as the recordings give it, one by one
        self._states: list[tuple[Line, ...]] = [()]
        self._asked: dict[str, Any] = {}  # by id, all recordings that anybody was ever asked for
        self._came: dict[str, int] = {}  # by id, the moment at which it was there
        self._acknowledged: list[Line] = []
        self._newest = 0  # the moment at which the newest of them was there
        self._floors: dict[str, int] = {}  # by id, what that was when its call began
        self.never: dict[str, str] = {}  # ids of recordings that are not to appear, and what their worker was told
        self.published: dict[str, Sequence[Any]] = {}  # by key, the recordings
        self.met: Counter[str] = Counter()  # by key, commits since that carried what was in the inbox
        self.commits: Counter[str] = Counter()  # by key, commits since, where the plan says how many there may be
        self.unfetched: set[str] = set()  # keys of entries that somebody was not given when it asked

    @property
    def moment(self) -> int:
        """The place of the document's present state among all that there have been."""
        return len(self._states) - 1

    def asked(self, recordings: Iterable[Any]) -> None:
        """Hear that a worker is asked to record."""
        for one in recordings:
            self._asked[one.recorded_by] = one
            self._floors[one.recorded_by] = self._newest

    def check_state(self, body: bytes, *, combines: bool) -> None:
        """Look at what was written, perhaps by a worker that had just listed the inbox."""
        before, after = self._states[-1], self._book.lines(body)
        must(self._book.is_lawful(before, after), f"a commit may make {after} of {before}")
        new = [line.recorded_by or "" for line in after if line not in before]
        for one in new:
            told = self.never.get(one)
            must(told is None, f"{one}, whose worker was told {told}, never appears")
            must(one in self._asked, f"somebody was asked for what came as {one}")
        self._replay(new, body)
        self._states.append(after)
        self._came.update(dict.fromkeys(new, self.moment))
        if combines:
            self._check_entries()
        if self._within:
            self._check_leftovers()

    def acknowledged(self, began: int, one: Any, came: Came) -> None:  # noqa: ANN401 - a recording
        """Look at what came of a recording, by what its worker was told; `began` is the moment when it called."""

        def is_true(line: Line) -> bool:
            same = (line.file_name, line.version) == (came.file_name, came.version)
            return same and came.created == (line.recorded_by == one.recorded_by) and self._book.is_answered(one, line)

        told = [line for state in self._states[began:] for line in state if is_true(line)]
        must(bool(told), f"{came} is true of the document at some time during the call")
        before = [line.version for line in self._states[began] if line.file_name == came.file_name]
        must(not came.created or came.version > max(before, default=0), "a new number is higher than any before")
        self._acknowledged.append(told[0])
        if came.created:
            there = self._came[one.recorded_by]
            must(there > self._floors[one.recorded_by], "what is new came after all that had been acknowledged before")
            self._newest = max(self._newest, there)

    def refused(self, recordings: Sequence[Any], told: str) -> None:
        """Look at recordings whose worker was told that nothing was written."""
        there = {line.recorded_by for line in self._states[-1]}
        for one in recordings:
            must(one.recorded_by not in there, f"{one.recorded_by}, whose worker was told {told}, is not there")
            self.never[one.recorded_by] = told

    def judge(self, left: Sequence[str]) -> None:
        """Look at the end, and at the keys that are left in the inbox."""
        must(not left, "whoever combines last leaves nothing in the inbox")
        must(all(map(self._holds, self.published)), "whatever was published is in the document at last")
        final = {line.file_name: line.version for line in self._states[-1]}
        lost = [line for line in self._acknowledged if not self._is_kept(line, final)]
        must(not lost, f"what was acknowledged is there at last, and so is {lost}")

    def _replay(self, new: Sequence[str], body: bytes) -> None:
        """Put what is new through the rules: in the order of the lines, which is that of a batch or gives the same."""
        was = self._document["revision"] if self._document is not None else 0
        document = self._book.one_by_one(self._document, [self._asked[one] for one in new])
        self._document = {**(document or {}), "revision": was + 1}
        by_rule = to_bytes(self._document)
        must(by_rule == body, f"recordings one by one, and a revision each commit, give what is stored: {body!r}")

    def _check_entries(self) -> None:
        for key in self.published:
            self.met[key] += 1
            if self.met[key] == 2 and key not in self.unfetched:
                must(self._holds(key), "what was published is in the document after two commits that listed the inbox")

    def _check_leftovers(self) -> None:
        for key in self.published:
            self.commits[key] += 1
            if self.commits[key] == self._within:
                must(self._holds(key), f"what was published is in the document after {self._within} commits")

    def _holds(self, key: str) -> bool:
        """Return whether there is nothing left to write of an entry."""
        return self._book.ledger.record(self._document, self.published[key])[0] is self._document

    def _is_kept(self, line: Line, final: Mapping[str, int]) -> bool:
        return line in self._states[-1] or (self._book.replaces and final[line.file_name] > line.version)
