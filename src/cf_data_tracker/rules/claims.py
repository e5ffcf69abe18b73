"""The rules of claims: which worker may clean a raw version, and record what was made of it.

6. A file name has a fence, a number that only grows. Each claim gets the next one. A record under a claim is taken as
   long as its number is the highest and the claim has not ended.
7. A file name has one claim at a time. It ends when it is recorded or released. Once its time has passed, another may
   take its place, by the clock of whoever asks: clocks decide who goes on, never what is recorded.
8. Where a version is to be cleaned again, the fence grows: whoever is at it is too late. Under a claim made since then
   the record of that version is replaced, once.

Every change names the fence that it is meant for. Applied twice, late or by another worker, it changes nothing where
the fence has moved on; so changes can wait in an inbox, as records do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from cf_data_tracker.document import Document, claim_in, outdated_in
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import (
    ClaimChange,
    ClaimChanged,
    ClaimedRecord,
    Claiming,
    CleanChange,
    CleanChanged,
    CleanRecord,
    CleanRecorded,
    Extending,
    FileVersion,
    Forgetting,
    Forgotten,
    Noting,
    Releasing,
    Reprocessing,
)
from cf_data_tracker.rules.clean import (
    has_record,
    is_to_be_cleaned,
    noted,
    pending,
    record,
    recorded_version,
    replaced,
    without_outdated,
)

HOLDER: Final = frozenset({"claimed_by", "version", "until", "revision"})
"""The fields that are there while somebody holds a claim."""


def change_many(
    document: Document | None, schema: str, changes: Sequence[CleanChange]
) -> tuple[Document | None, tuple[CleanChanged, ...]]:
    """Return the clean document with the changes in it, and what became of each: one after another, and one commit.

    The very same document comes back when it has all of them, or is past them.
    """
    grown, outcomes = document, []
    for change in changes:
        before = grown
        grown, outcome = changed(before, schema, change)
        outcomes.append(outcome)
        if grown is not before and grown is not None:  # all is one commit: each is applied at the same revision
            grown = {**grown, "revision": (document or {}).get("revision", 0)}
    if grown is not document and grown is not None:
        grown = {**grown, "revision": (document or {}).get("revision", 0) + 1}
    return grown, tuple(outcomes)


def changed(document: Document | None, schema: str, change: CleanChange) -> tuple[Document | None, CleanChanged]:
    """Return the clean document with a change in it, and what became of it; `revision` is left to `change_many`."""
    if isinstance(change, CleanRecord):
        return record(document, change)
    if isinstance(change, ClaimedRecord):
        return record_claimed(document, schema, change)
    if isinstance(change, (Forgetting, Noting)):
        return _listed(document, change)
    return change_claim(document, schema, change)


def change_claim(document: Document | None, schema: str, change: ClaimChange) -> tuple[Document | None, ClaimChanged]:
    """Return the clean document with a change to a claim in it, if it holds, and how the claim stands then."""
    before = claim_in(document, change.table, change.file_name)
    after = _applied(document, before, change)
    if after is not before:
        document = _with_claim(document, schema, change.table, change.file_name, after)
    return document, _standing(document, change.table, change.file_name, created=_is_so(after, change))


def record_claimed(
    document: Document | None, schema: str, change: ClaimedRecord
) -> tuple[Document | None, CleanRecorded | ClaimChanged]:
    """Return the clean document with a record in it that was made under a claim, and the claim ended.

    The very same document comes back, and how the claim stands, when the record comes too late.
    """
    new, raw = change.record, change.record.raw
    claim = claim_in(document, raw.table, raw.file_name)
    if has_record(document, new):
        return record(document, new)
    if claim.get("fence") == change.fence:
        if (claim.get("claimed_by"), claim.get("version")) == (new.recorded_by, raw.version):
            grown, outcome = _recorded(document, new)
            return _with_claim(grown, schema, raw.table, raw.file_name, _ended(claim)), outcome
        if "claimed_by" not in claim and not is_to_be_cleaned(document, raw.table, raw.file_name, raw.version):
            return document, replace(record(document, new)[1], created=False)  # it has ended by itself
    return document, _standing(document, raw.table, raw.file_name, created=False)


def in_flight(document: Document | None, revision: float, expired: str) -> tuple[str, str] | None:
    """Return a table and a file name whose claim was made up to a revision, and is held still; `None` if none is.

    What its worker has written it may yet record. What a worker writes under a later claim is another object than the
    one that was seen in the commit of that revision: it has another ETag or Last-Modified. A claim of an older release
    does not say when it was made.

    Args:
        document: The clean document.
        revision: The revision.
        expired: Claims that ran out before this time do not count.
    """
    for table, file_name, claim in held(document):
        if claim["until"] >= expired and claim.get("revision", 0) <= revision:
            return table, file_name
    return None


def _listed(document: Document | None, change: Forgetting | Noting) -> tuple[Document | None, Forgotten]:
    """Return the clean document with a change to its list of outdated clean files."""
    outcome = Forgotten(created=True)
    if document is None:
        return None, outcome
    if isinstance(change, Noting):
        return noted(document, change), outcome
    return without_outdated(document, change.outdated), outcome


def claimable(raw: Document, clean: Document | None, schema: str, now: str) -> list[tuple[FileVersion, int]]:
    """Return the pending raw versions that nobody holds at this time, each with the fence of its file name."""
    found = []
    for version in pending(raw, clean, schema):
        claim = claim_in(clean, version.table, version.file_name)
        if _is_free(claim, now) and _can_be_recorded(version):
            found.append((version, claim.get("fence", 0)))
    return found


def held(document: Document | None) -> Iterator[tuple[str, str, Document]]:
    """Yield the claims that somebody holds: table, file name, and how the document has it."""
    for table, claims in document.get("claims", {}).items() if document is not None else ():
        for file_name, claim in claims.items():
            if "claimed_by" in claim:
                yield table, file_name, claim


def _applied(document: Document | None, claim: Document, change: ClaimChange) -> Document:
    """Return the claim with the change in it; the very same one where the fence is not the one that is meant."""
    if claim.get("fence", 0) != change.fence:
        return claim
    if isinstance(change, Claiming):
        return _claimed(document, claim, change)
    if isinstance(change, Reprocessing):
        return _wanted_again(document, claim, change)
    if isinstance(change, Extending):
        return _extended(claim, change)
    return _released(claim, change) if isinstance(change, Releasing) else claim


def _claimed(document: Document | None, claim: Document, change: Claiming) -> Document:
    pending = is_to_be_cleaned(document, change.table, change.file_name, change.version)
    if not pending or not _is_free(claim, change.at):
        return claim
    holder = {"claimed_by": change.recorded_by, "version": change.version, "until": change.until}
    if document is not None and outdated_in(document):  # for a sweep, see `in_flight`
        holder["revision"] = document.get("revision", 0) + 1
    return {**_without(claim, HOLDER), "fence": change.fence + 1, **holder, "recorded_by": change.recorded_by}


def _wanted_again(document: Document | None, claim: Document, change: Reprocessing) -> Document:
    if (recorded_version(document, change.table, change.file_name) or 0) > change.version:
        return claim
    again = {"fence": change.fence + 1, "again": change.version, "recorded_by": change.recorded_by}
    return {**_without(claim, HOLDER), **again}


def _extended(claim: Document, change: Extending) -> Document:
    if claim.get("claimed_by") != change.claimed_by or claim["until"] >= change.until:
        return claim
    return {**claim, "until": change.until, "recorded_by": change.recorded_by}


def _released(claim: Document, change: Releasing) -> Document:
    if claim.get("claimed_by") != change.claimed_by:
        return claim
    return {**_without(claim, HOLDER), "recorded_by": change.recorded_by}


def _ended(claim: Document) -> Document:
    return _without(claim, HOLDER | {"again", "recorded_by"})  # which the record has


def _is_so(claim: Document, change: ClaimChange) -> bool:
    """Return whether a claim stands as a change would have it."""
    fence = claim.get("fence", 0)
    if isinstance(change, Claiming):
        return claim.get("claimed_by") == change.recorded_by
    if isinstance(change, Reprocessing):
        return fence > change.fence and claim.get("again") == change.version
    if isinstance(change, Extending):
        return fence == change.fence and claim.get("claimed_by") == change.claimed_by
    return fence == change.fence and "claimed_by" not in claim


def _recorded(document: Document | None, new: CleanRecord) -> tuple[Document | None, CleanRecorded]:
    """Return the document with a record that may replace one of the same version, where that is wanted."""
    wanted = is_to_be_cleaned(document, new.raw.table, new.raw.file_name, new.raw.version)
    return replaced(document, new) if wanted else record(document, new)


def _is_free(claim: Document, now: str) -> bool:
    return "claimed_by" not in claim or claim["until"] <= now


def _can_be_recorded(version: FileVersion) -> bool:
    try:
        CleanRecord(raw=version, clean_files=(), timestamp="now", recorded_by="anybody")
    except InvalidNameError:
        return False
    return True


def _standing(document: Document | None, table: str, file_name: str, *, created: bool) -> ClaimChanged:
    claim = claim_in(document, table, file_name)
    return ClaimChanged(
        created=created,
        fence=claim.get("fence", 0),
        until=claim["until"] if "claimed_by" in claim else None,
        recorded=recorded_version(document, table, file_name),
    )


def _with_claim(document: Document | None, schema: str, table: str, file_name: str, claim: Document) -> Document:
    document = document if document is not None else {"schema_name": schema, "tables": {}}
    claims = document.get("claims", {})
    return {**document, "claims": {**claims, table: {**claims.get(table, {}), file_name: claim}}}


def _without(claim: Document, fields: frozenset[str]) -> Document:
    return {name: value for name, value in claim.items() if name not in fields}
