"""What can go wrong, named for what the caller does next.

Every error here is a `TrackerError`, pickles, and carries no secret. The signals by which a store speaks to the
engine (`Conflict`, `Unanswered`) are not errors of this module: they live in `store.py` and never reach a caller.
"""

from collections.abc import Sequence

__all__ = [
    "ClaimLostError",
    "ContentionError",
    "DifferentContentError",
    "DocumentError",
    "DocumentVanishedError",
    "InvalidNameError",
    "LocalFileError",
    "NotTrackedError",
    "OutcomeUnknownError",
    "SameContentError",
    "StoreError",
    "TrackerError",
    "UnsafeStoreError",
    "WouldLoseError",
]


class TrackerError(Exception):
    """Anything that this library raises on purpose.

    Attributes:
        failures: Where a call failed for several of its files: the error of each, in the order of the files.
    """

    failures: "tuple[TrackerError, ...]" = ()


def joined(failures: Sequence[TrackerError]) -> TrackerError:
    """Return the only error, or one for all of them, whose class is that of the first and whose message names each."""
    first = failures[0]
    if len(failures) == 1:
        return first
    error = type(first)(f"{len(failures)} files failed: {'; '.join(map(str, failures))}")
    error.failures = tuple(failures)
    return error


class InvalidNameError(TrackerError, ValueError):
    """A name, a size or another argument is not acceptable; nothing was sent. Correct the call."""


class DocumentError(TrackerError):
    """The stored document is not a tracker document; it was left as it is. Mend or restore it by hand.

    Attributes:
        where: The place, like `tables[0].tables[2].files[1].current_version`, or `""` for the whole document.
        problem: What was expected there and what was found.
        location: The document's URL, or `""` where only its text was seen.
    """

    def __init__(self, where: str, problem: str, location: str = "") -> None:
        super().__init__(where, problem, location)
        self.where = where
        self.problem = problem
        self.location = location

    def __str__(self) -> str:
        what = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{what} (in {self.location}, which was left as it is)" if self.location else what


class NotTrackedError(TrackerError, KeyError):
    """The tracker has no such schema, table, file name or version. Look at the spelling."""

    def __str__(self) -> str:
        return str(*self.args[:1])  # KeyError would show the repr


class DocumentVanishedError(TrackerError):
    """A document that was there is gone; nothing was written. Restore it before recording goes on."""


class ContentionError(TrackerError):
    """Others kept winning until the time or the attempts ran out; nothing was written. Call again later."""


class ClaimLostError(TrackerError):
    """The claim does not count any more: another worker has taken over, or it has ended. Leave it, and claim anew.

    What was made under it is not what the document names.
    """


class OutcomeUnknownError(TrackerError):
    """The last write was never answered and may have landed, or what was published for others to commit still waits.

    Calling again with the same file is safe.
    """


class LocalFileError(TrackerError, OSError):
    """A file here cannot be read, or changed while it was; nothing of it was recorded. Call again once it is whole."""


class DifferentContentError(TrackerError):
    """Other bytes are there, or recorded, under this name already; nothing was overwritten or recorded for this file.

    Give the file another name.
    """


class SameContentError(TrackerError):
    """A version of this file name has these very bytes already, and the call asked for that to be an error.

    The file was not recorded.
    """


class WouldLoseError(TrackerError):
    """What is to be restored lacks versions that were recorded since; nothing was written.

    Restore a later document, or say that they may be lost.

    Attributes:
        lost: The versions, one sentence each.
    """

    def __init__(self, what: str, lost: tuple[str, ...]) -> None:
        super().__init__(what, lost)
        self.lost = lost

    def __str__(self) -> str:
        return str(self.args[0])


class UnsafeStoreError(TrackerError):
    """The store does not honour conditional writes, so it would lose recordings; no document was written."""


class StoreError(TrackerError):
    """The store refused, or cannot be reached; nothing was written. The message says what to fix."""


class TooLargeError(StoreError):
    """This file is larger than what the store takes create-only; nothing was sent. Other files can be uploaded."""


class DeniedError(StoreError):
    """The store answered 403: this caller may not do that. The message names the permission."""


class RetainedError(DeniedError):
    """The object is under a retention (Object Lock) and cannot be deleted before it ends. No permission would help."""


class ReadDeniedError(DeniedError):
    """A read answered 403, as a missing key does where the caller may not list the bucket."""


class AnswerTooLargeError(StoreError):
    """An answer is longer than what is asked for can be, and was not read."""
