"""The clean tracker: which raw versions wait to be cleaned, whose turn it is, and which clean files were made of which.

It keeps a document of its own in the clean bucket. Where only the older shape of it is found there, its records count
as ours, and the first record carries them over.

Time and chance come in here: until when a claim lasts, and which of the pending versions a worker picks, so that two
seldom pick the same. What they may do is for `rules.claims` to say; who is too late learns it from the document.
"""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, cast

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, claim_in, clean_document, older_clean_document, versions_of
from cf_data_tracker.engine.cas import DocumentSpec
from cf_data_tracker.engine.combine import RecordSpec
from cf_data_tracker.errors import (
    ClaimLostError,
    ContentionError,
    DocumentVanishedError,
    InvalidNameError,
    NotTrackedError,
    ReadDeniedError,
    TrackerError,
)
from cf_data_tracker.locations import check_clean_file
from cf_data_tracker.model import (
    Claim,
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
    Noting,
    Releasing,
    Reprocessing,
    Seen,
    with_plain_text,
)
from cf_data_tracker.names import (
    check_count,
    check_name,
    check_schema,
    check_seconds,
    check_text,
    clean_key,
    older_clean_key,
    shown,
)
from cf_data_tracker.rules.claims import change_many, claimable
from cf_data_tracker.rules.clean import (
    CARRIED_OVER,
    carry_over,
    dropped,
    pending,
    recorded_version,
    settled,
    skipped,
    skipped_in_words,
)
from cf_data_tracker.runtime import RUNTIME
from cf_data_tracker.settings import Access, clean_access, environment, raw_access
from cf_data_tracker.stats import Stats
from cf_data_tracker.sweep import Sweep, Swept, forgettable, notable, seen_now
from cf_data_tracker.tracker import connect, raw_spec

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from typing_extensions import Self

LEASE: Final = 900.0
"""Seconds that a claim lasts, unless it is said otherwise: a quarter of an hour."""

LOG: Final = logging.getLogger("cf_data_tracker")

A_WEEK: Final = 7 * 86_400.0
"""Seconds."""


class CleanTracker:
    """Which raw versions have been cleaned, and which worker is to clean which.

    Safe to share between threads, usable after a fork, and picklable, as `Tracker` is.

    Args:
        raw_bucket: The bucket of the raw documents, which are only read.
        clean_bucket: The bucket of the clean documents.
        client: As for `Tracker`; so are all that follow.
        endpoint_url: The endpoint of a store other than AWS.
        region_name: The region.
        aws_access_key_id: The access key.
        aws_secret_access_key: Its secret.
        aws_session_token: The token that goes with temporary keys.
        request_timeout: Seconds without an answer after which a request counts as unanswered.
        timeout: Seconds after which a call gives up.

    Raises:
        StoreError: The settings do not make a connection.
    """

    def __init__(  # noqa: PLR0913 - boto3's settings, under boto3's names
        self,
        raw_bucket: str,
        clean_bucket: str,
        *,
        client: "S3Client | None" = None,
        endpoint_url: str | None = None,
        region_name: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | None = None,
        aws_session_token: str | None = None,
        request_timeout: float = 15.0,
        timeout: float = 120.0,
    ) -> None:
        raw, clean = (
            Access(
                bucket=bucket,
                endpoint_url=endpoint_url,
                region=region_name,
                access_key=aws_access_key_id,
                secret_key=aws_secret_access_key,
                session_token=aws_session_token,
                request_timeout=request_timeout,
            )
            for bucket in (raw_bucket, clean_bucket)
        )
        self._raw, self._clean = connect(raw, client, timeout), connect(clean, client, timeout)
        self._clock = RUNTIME.now

    @classmethod
    def from_env(
        cls,
        *,
        raw_bucket: str | None = None,
        clean_bucket: str | None = None,
        endpoint_url: str | None = None,
        timeout: float = 120.0,
    ) -> "Self":
        """Return a clean tracker with the settings of the environment and `.env`; arguments go before them.

        Raises:
            StoreError: `AWS_DEST_BUCKET_RAW` or `AWS_DEST_BUCKET_CLEAN` is not set, or a setting is malformed.
        """
        env = environment()
        raw, clean = raw_access(env, raw_bucket, endpoint_url), clean_access(env, clean_bucket, endpoint_url)
        return cls.over(connect(raw, None, timeout), connect(clean, None, timeout))

    @classmethod
    def over(cls, raw: Connection, clean: Connection, *, clock: Callable[[], datetime] = RUNTIME.now) -> "Self":
        """Return a clean tracker over connections that were made elsewhere, which takes the time from this clock."""
        tracker = cls.__new__(cls)
        tracker._raw, tracker._clean, tracker._clock = raw, clean, clock  # noqa: SLF001 - its own
        return tracker

    def __repr__(self) -> str:
        return f"{type(self).__name__}(raw: {self._raw!r}, clean: {self._clean!r})"

    @property
    def stats(self) -> Stats:
        """What this tracker has asked of the clean bucket, in this process."""
        return self._clean.stats

    def pending(self, schema: str) -> list[FileVersion]:
        """Return the newest raw version of each file name that has no clean record, or only one of an older version.

        So is one that is to be cleaned again, see `reprocess`. Whether a worker is at it makes no difference.

        Older versions of a file name are not given, though they were never cleaned: a warning is logged, and `skipped`
        returns them. Files that are no versions of each other need file names of their own.

        Raises:
            NotTrackedError: The raw bucket has no document of this schema.
            InvalidNameError: The schema is no name.
            DocumentError: A stored document is not a tracker document.
            DocumentVanishedError: A document was there and is gone.
            StoreError: The store refused or did not answer.
        """
        schema = check_schema(schema)
        raw, clean = self._raw_document(schema), self.document(schema)
        _warn(skipped(raw, clean, schema))
        return pending(raw, clean, schema)

    def skipped(self, schema: str) -> list[FileVersion]:
        """Return the raw versions that `pending` and `claim` pass over: older ones of a pending file name.

        They are newer than the clean record of their file name, if it has one, and were never cleaned. Where they are
        files of their own, and no earlier versions of the pending one, give each a file name of its own.

        Raises as `pending` does.
        """
        schema = check_schema(schema)
        return skipped(self._raw_document(schema), self.document(schema), schema)

    def claim(self, schema: str, *, limit: int = 1, lease: float | timedelta = LEASE) -> list[Claim]:
        """Return claims on pending raw versions that no other worker holds: each is handed to one worker at a time.

        As `pending` does, it gives the newest version of a file name alone, and warns of older ones that were never
        cleaned.

        Whoever has cleaned a version ends its claim with `record`. A worker that dies holds up a version until its
        claim has run out; then another worker may claim it, and the first is too late to record it.

        Args:
            schema: The data source.
            limit: How many to claim at most.
            lease: How long they last, in seconds: longer than the work takes, or than `extend` is called.

        Returns:
            Up to `limit` claims; none where nothing is pending that others do not hold. Fewer than there are, where
            an error comes between: the next call meets it again.

        Raises:
            InvalidNameError: The schema is no name, `limit` no number above 0, or `lease` no time.
            ContentionError: Others kept claiming the same until the time ran out; nothing was claimed.
            OutcomeUnknownError: Some may have been claimed; others get them when these claims have run out.
            TrackerError: As `pending` and `Tracker.record` raise.
        """
        schema, limit = check_schema(schema), check_limit(limit)
        seconds = _seconds("lease", lease)
        held: list[Claim] = []
        try:
            for _ in self._tries(f"claiming what is pending in {schema}"):
                free = self._claimable(schema)
                picked = random.sample(free, min(limit - len(held), len(free)))
                held += self._claimed(schema, picked, seconds)
                if len(held) == limit or not picked:
                    break
        except TrackerError:
            if not held:
                raise
        return held

    def extend(self, claim: Claim, *, lease: float | timedelta = LEASE) -> Claim:
        """Let a claim last so many seconds from now, or as long as it does already, and return it as it is then.

        A claim that has run out can be extended as long as nobody has taken over.

        Raises:
            ClaimLostError: Another worker has taken over, or the claim has ended.
            InvalidNameError: An argument is not acceptable; nothing was sent.
            TrackerError: As `Tracker.record` raises. Extending again is safe.
        """
        claim = _checked_claim(claim)
        raw = claim.raw
        change = Extending(
            table=raw.table,
            file_name=raw.file_name,
            fence=claim.fence,
            claimed_by=claim.claimed_by,
            until=self._in(_seconds("lease", lease)),
            recorded_by=RUNTIME.unique_id(),
        )
        standing = self._change_claim(raw.schema, change)
        if not standing.created or standing.until is None:
            raise _lost(claim, standing)
        return replace(claim, until=standing.until)

    def release(self, claim: Claim) -> None:
        """End a claim with nothing recorded, so that another worker may claim the version at once.

        Afterwards it is not this worker's in any case: where it was not any more, that is no error.

        Raises:
            InvalidNameError: `claim` is no claim; nothing was sent.
            TrackerError: As `Tracker.record` raises. Releasing again is safe.
        """
        claim = _checked_claim(claim)
        raw = claim.raw
        change = Releasing(
            table=raw.table,
            file_name=raw.file_name,
            fence=claim.fence,
            claimed_by=claim.claimed_by,
            recorded_by=RUNTIME.unique_id(),
        )
        self._change_claim(raw.schema, change)

    def record(
        self,
        raw: FileVersion | Claim,
        clean_files: Iterable[str],
        *,
        timestamp: str | None = None,
    ) -> CleanRecorded:
        """Record the clean files that were made of a raw version, unless this version or a newer one has a record.

        A claim ends with it. The record of the same version is replaced if the claim was made after `reprocess`.

        Args:
            raw: The raw version, as `pending` or `Tracker.latest` gave it; or the claim on it, as `claim` gave it.
            clean_files: The files made of it: their keys, or their URLs (`s3://BUCKET/KEY`, say).
            timestamp: When, `YYYY-MM-DD HH:MM:SS`; now, in UTC, if left out.

        Returns:
            The version that the clean document names now, and whether this call put it there.

        Raises:
            ClaimLostError: The claim ran out and another worker has taken over, or it has ended: this is not recorded.
            InvalidNameError: An argument is not acceptable; nothing was sent.
            TrackerError: As `Tracker.record` raises. Recording again is safe.
        """
        claim = _checked_claim(raw) if isinstance(raw, Claim) else None
        now = self._clock()
        new = CleanRecord(
            raw=_checked(raw),
            clean_files=_listed(clean_files),
            timestamp=now.strftime("%Y-%m-%d %H:%M:%S") if timestamp is None else timestamp,
            recorded_by=RUNTIME.unique_id() if claim is None else claim.claimed_by,
            at=moment(now),
        )
        for position, clean_file in enumerate(new.clean_files):
            check_clean_file(f"clean_files[{position}]", clean_file)
        if claim is None:
            return self._clean.commit(self._ledger(new.raw.schema), [self._seen(new)])[0]
        change = ClaimedRecord(record=new, fence=claim.fence)
        (outcome,) = self._change(new.raw.schema, [replace(change, record=self._seen(new))])
        if isinstance(outcome, ClaimChanged):
            raise _lost(claim, outcome)
        return cast("CleanRecorded", outcome)

    def reprocess(self, schema: str, table: str, file_name: str) -> FileVersion:
        """Have the newest raw version of a file name cleaned again, though it has a record, and return it.

        It is pending from now on, and the record made under the next claim on it replaces the one that is there. A
        worker that is at it already is too late.

        Raises:
            NotTrackedError: There is no such raw version.
            InvalidNameError: A name is not acceptable; nothing was sent.
            ContentionError: Others kept claiming it until the time ran out; nothing was changed.
            TrackerError: As `pending` and `Tracker.record` raise. Calling again is safe.
        """
        schema, table = check_schema(schema), check_name("table", table)
        file_name = check_name("file_name", file_name)
        for _ in self._tries(f"claiming {schema}/{table}/{file_name}"):
            newest = self._newest(schema, table, file_name)
            clean = self.document(schema)
            known = recorded_version(clean, table, file_name) or 0
            if known > newest.version:
                raise NotTrackedError(
                    f"{schema}/{table}/{file_name} has a clean record of version {known}, and {newest.version} is the "
                    "newest raw version: restore the raw document first"
                )
            change = Reprocessing(
                table=table,
                file_name=file_name,
                fence=claim_in(clean, table, file_name).get("fence", 0),
                version=newest.version,
                recorded_by=RUNTIME.unique_id(),
            )
            if self._change_claim(schema, change).created:
                return newest
        raise AssertionError  # the tries end with an error

    def sweep(self, schema: str, *, older_than: float | timedelta = A_WEEK, dry_run: bool = True) -> list[Swept]:
        """Delete the clean files that have been outdated for a while, or, in a dry run, say which it would be.

        A file is outdated once the record that named it was replaced by one that does not. It stays if any document
        of the clean bucket or any raw document names it or may name it, if it was written again since, if it is in
        another bucket, and if its name does not say for certain which object it is. A file that was written again, and
        one of which nobody noted which object it was, counts as outdated from this sweep on, unless it is a dry run.
        Where the bucket keeps versions, what is deleted can be had back.

        Args:
            schema: The data source.
            older_than: For how long they are to have been outdated, in seconds: longer than anybody reads what was
                replaced, and longer than a worker without a claim takes from writing a file to recording it.
            dry_run: Whether to say it alone.

        Returns:
            What became of each file that has been outdated so long, or would.

        Raises:
            InvalidNameError: The schema is no name, or `older_than` no time; nothing was sent.
            TrackerError: As `pending` and `Tracker.record` raise; so where the document of any schema cannot be read.
                What is deleted by then is gone; sweeping again is safe.
        """
        schema = check_schema(schema)
        before = self._in(-_seconds("older_than", older_than))
        sweep = Sweep(self._raw, self._clean, schema, before)
        if dry_run:
            return [one.swept for one in sweep.looked_at()]
        done: list[Swept] = []
        for some in sweep.deleted():
            changes: list[CleanChange] = []
            if gone := forgettable(some):
                changes.append(Forgetting(outdated=gone, recorded_by=RUNTIME.unique_id()))
            if found := notable(some):
                outdated = {one.swept.file: one.swept.outdated for one in found}
                seen = tuple(one.there for one in found if one.there is not None)
                changes.append(Noting(outdated=outdated, at=self._in(0), seen=seen, recorded_by=RUNTIME.unique_id()))
            if changes:
                self._change(schema, changes)
            done += [one.swept for one in some]
        return done

    def document(self, schema: str) -> Document | None:
        """Return the clean document of a schema as it is now, with the records of an older one in it; or `None`.

        Raises as `pending` does.
        """
        schema = check_schema(schema)
        return self._with_older(self._clean.read(_clean_spec(schema)), schema)

    def _raw_document(self, schema: str) -> Document:
        raw = self._raw.read(raw_spec(schema))
        if raw is None:
            raise NotTrackedError(
                f"the schema {schema} is not tracked: {self._raw.store.location(schema)}/ has no document"
            )
        return raw

    def _newest(self, schema: str, table: str, file_name: str) -> FileVersion:
        versions = versions_of(self._raw_document(schema), schema, table, file_name)
        newest = max(versions, key=lambda version: version.version, default=None)
        if newest is None:
            raise NotTrackedError(f"{schema}/{table}/{file_name} has no raw version")
        return newest

    def _seen(self, new: CleanRecord) -> CleanRecord:
        """Return a record with the objects at the clean files that it would replace, by what this process has read."""
        schema = new.raw.schema
        files = dropped(self._clean.kept(clean_key(schema)), new.raw, new.clean_files)
        return replace(new, seen=seen_now(self._clean, schema, files)) if files else new

    def _claimable(self, schema: str) -> list[tuple[FileVersion, int]]:
        raw, clean = self._raw_document(schema), self.document(schema)
        _warn(skipped(raw, clean, schema))
        return claimable(raw, clean, schema, self._in(0))

    def _claimed(self, schema: str, picked: Sequence[tuple[FileVersion, int]], lease: float) -> Iterable[Claim]:
        """Claim these versions, and return the claims on those that nobody else has claimed meanwhile."""
        now, until = self._in(0), self._in(lease)
        changes = [
            Claiming(
                table=raw.table,
                file_name=raw.file_name,
                fence=fence,
                version=raw.version,
                at=now,
                until=until,
                recorded_by=RUNTIME.unique_id(),
            )
            for raw, fence in picked
        ]
        outcomes = self._change(schema, changes) if changes else ()
        return [
            Claim(raw=raw, fence=change.fence + 1, until=until, claimed_by=change.recorded_by)
            for (raw, _), change, outcome in zip(picked, changes, outcomes, strict=True)
            if outcome.created
        ]

    def _tries(self, doing: str) -> Iterator[None]:
        """Yield once for each try, and end with an error."""
        patience = self._clean.patience
        end = RUNTIME.clock() + patience.seconds
        for _ in range(patience.attempts):
            yield
            if RUNTIME.clock() >= end:
                break
        raise ContentionError(f"others kept {doing}; nothing was changed, try later")

    def _in(self, seconds: float) -> str:
        return moment(self._clock() + timedelta(seconds=seconds))

    def _change_claim(self, schema: str, change: ClaimChange) -> ClaimChanged:
        return cast("ClaimChanged", self._change(schema, [cast("CleanChange", change)])[0])

    def _change(self, schema: str, changes: Sequence[CleanChange]) -> Sequence[CleanChanged]:
        return self._clean.commit(self._changes(schema), changes)

    def _ledger(self, schema: str) -> RecordSpec[CleanRecord, CleanRecorded]:
        """Return the clean document, for those who put records into it and nothing else."""
        return cast("RecordSpec[CleanRecord, CleanRecorded]", self._changes(schema))

    def _changes(self, schema: str) -> RecordSpec[CleanChange, CleanChanged]:
        def change(
            document: Document | None, changes: Sequence[CleanChange]
        ) -> tuple[Document | None, Sequence[CleanChanged]]:
            base = self._with_older(document, schema)
            grown, outcomes = change_many(base, schema, changes)
            return (document if grown is base or grown is None else settled(grown)), outcomes

        return RecordSpec(
            key=clean_key(schema),
            parse=clean_document,
            lasting=lambda document: CARRIED_OVER in document,
            record=change,
            to_json=_to_json,
            from_json=partial(_from_json, schema),
        )

    def _with_older(self, document: Document | None, schema: str) -> Document | None:
        """Return the document with the older one's records in it, which is read for as long as they are not."""
        if document is not None and CARRIED_OVER in document:
            return document
        try:
            older = self._clean.read(DocumentSpec(key=older_clean_key(schema), parse=older_clean_document))
        except ReadDeniedError:  # as a missing one is answered where the caller may not list
            older = None
        except DocumentVanishedError:
            if document is None:  # nothing has carried its records over
                raise
            older = None
        return carry_over(document, older, schema)


@lru_cache(maxsize=64)
def _warn_of(warning: str) -> None:
    LOG.warning("%s", warning)  # once, as `warnings` does: a worker asks again and again


def _warn(passed_over: Sequence[FileVersion]) -> None:
    if passed_over:
        _warn_of(skipped_in_words(passed_over))


def moment(time: datetime) -> str:
    """Return a time as the clean document has it: text that sorts as times do."""
    return f"{time.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def check_limit(value: object) -> int:
    """Return `value` if it is a whole number, 1 or more.

    Raises:
        InvalidNameError: It is not.
    """
    limit = check_count("limit", value)
    if limit == 0:
        raise InvalidNameError("limit must be 1 or more, got 0")
    return limit


def _seconds(what: str, value: object) -> float:
    return check_seconds(what, value.total_seconds() if isinstance(value, timedelta) else value)


def _clean_spec(schema: str) -> DocumentSpec:
    return DocumentSpec(key=clean_key(schema), parse=clean_document)


KINDS: Final[dict[str, type[CleanChange]]] = {
    "claim": Claiming,
    "extend": Extending,
    "release": Releasing,
    "reprocess": Reprocessing,
    "forget": Forgetting,
    "note": Noting,
}
"""How an inbox entry names a change. A record without a claim has its fields alone, as it ever had."""


def _to_json(change: CleanChange) -> dict[str, object]:
    if isinstance(change, CleanRecord):
        return {name: value for name, value in asdict(change).items() if value is not None and value != ()}
    if isinstance(change, ClaimedRecord):
        return {"record": {"fence": change.fence, **_to_json(change.record)}}
    return next({kind: asdict(change)} for kind, made in KINDS.items() if type(change) is made)


def _from_json(schema: str, value: Any) -> CleanChange:  # noqa: ANN401 - any JSON value
    if "raw" in value:
        return _record_from_json(schema, value)
    ((kind, fields),) = value.items()
    if kind == "record":
        return ClaimedRecord(record=_record_from_json(schema, fields), fence=fields["fence"])
    if kind == "note":
        return Noting(**{**fields, "seen": _seen_from_json(fields["seen"])})
    return KINDS[kind](**fields)


def _seen_from_json(value: Any) -> tuple[Seen, ...]:  # noqa: ANN401 - any JSON value
    return tuple(Seen(**one) for one in value)


def _record_from_json(schema: str, value: Any) -> CleanRecord:  # noqa: ANN401 - any JSON value
    raw = FileVersion(**value["raw"])
    if raw.schema != schema:
        raise InvalidNameError(f"a record for {shown(raw.schema)} waits at {shown(schema)}")
    return CleanRecord(
        raw=raw,
        clean_files=_listed(value["clean_files"]),
        timestamp=value["timestamp"],
        recorded_by=check_text("recorded_by", value["recorded_by"]),
        at=value.get("at"),
        seen=_seen_from_json(value.get("seen", ())),
    )


def _checked(raw: object) -> FileVersion:
    raw = raw.raw if isinstance(raw, Claim) else raw
    if not isinstance(raw, FileVersion):
        raise InvalidNameError(f"raw must be a FileVersion, as pending() gives, got {shown(raw)}")
    return cast("FileVersion", with_plain_text(raw))


def _checked_claim(claim: object) -> Claim:
    if not isinstance(claim, Claim):
        raise InvalidNameError(f"claim must be a Claim, as claim() gives, got {shown(claim)}")
    raw = _checked(claim)
    check_schema(raw.schema)
    return replace(claim, raw=raw, claimed_by=check_text("claimed_by", claim.claimed_by))


def _lost(claim: Claim, standing: ClaimChanged) -> ClaimLostError:
    raw = claim.raw
    if standing.fence == claim.fence:
        why = "it was recorded or released"
    elif standing.until is not None:
        why = f"another worker has it as number {standing.fence}, until {standing.until}"
    else:
        why = f"the last one on it is number {standing.fence}"
    known = "has no record" if standing.recorded is None else f"has a record of version {standing.recorded}"
    return ClaimLostError(
        f"the claim on {raw.schema}/{raw.table}/{raw.file_name} version {raw.version}, number {claim.fence}, counts no "
        f"more: {why}. The file name {known}, which is not this one. Leave what was made under it, and claim anew"
    )


def _listed(clean_files: Iterable[str]) -> tuple[str, ...]:
    if isinstance(clean_files, (str, bytes)) or not isinstance(clean_files, Iterable):
        raise InvalidNameError(f"clean_files must be a list of keys, got {shown(clean_files)}")
    return tuple(clean_files)
