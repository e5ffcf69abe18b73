"""The clean tracker: which raw versions still wait to be cleaned, and which clean files were made of which.

It keeps a document of its own in the clean bucket. Where only the older shape of it is found there, its records count
as ours, and the first record carries them over.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, clean_document, older_clean_document
from cf_data_tracker.engine.combine import Ledger
from cf_data_tracker.engine.commit import Target
from cf_data_tracker.errors import InvalidNameError, NotTrackedError, ReadDeniedError
from cf_data_tracker.model import CleanRecord, CleanRecorded, FileVersion
from cf_data_tracker.names import check_schema, check_text, clean_key, older_clean_key, shown
from cf_data_tracker.rules.clean import CARRIED_OVER, carry_over, pending, record_many, settled
from cf_data_tracker.settings import Access, clean_access, environment, raw_access
from cf_data_tracker.stats import Stats
from cf_data_tracker.tracker import connect, raw_target

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from typing_extensions import Self


class CleanTracker:
    """Which raw versions have been cleaned.

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
    def over(cls, raw: Connection, clean: Connection) -> "Self":
        """Return a clean tracker over connections that were made elsewhere."""
        tracker = cls.__new__(cls)
        tracker._raw, tracker._clean = raw, clean  # noqa: SLF001 - its own
        return tracker

    def __repr__(self) -> str:
        return f"{type(self).__name__}(raw: {self._raw!r}, clean: {self._clean!r})"

    @property
    def stats(self) -> Stats:
        """What this tracker has asked of the clean bucket, in this process."""
        return self._clean.stats

    def pending(self, schema: str) -> list[FileVersion]:
        """Return the newest raw version of each file name that has no clean record, or only one of an older version.

        Raises:
            NotTrackedError: The raw bucket has no document of this schema.
            InvalidNameError: The schema is no name.
            DocumentError: A stored document is not a tracker document.
            DocumentVanishedError: A document was there and is gone.
            StoreError: The store refused or did not answer.
        """
        raw = self._raw.read(raw_target(check_schema(schema)))
        if raw is None:
            raise NotTrackedError(
                f"the schema {schema} is not tracked: {self._raw.store.location(schema)}/ has no document"
            )
        return pending(raw, self.document(schema), schema)

    def record(
        self,
        raw: FileVersion,
        clean_files: Iterable[str],
        *,
        timestamp: str | None = None,
    ) -> CleanRecorded:
        """Record the clean files that were made of a raw version, unless this version or a newer one has a record.

        Args:
            raw: The raw version, as `pending` or `Tracker.latest` gave it.
            clean_files: The keys of the files made of it.
            timestamp: When, `YYYY-MM-DD HH:MM:SS`; now, in UTC, if left out.

        Returns:
            The version that the clean document names now, and whether this call put it there.

        Raises:
            InvalidNameError: An argument is not acceptable; nothing was sent.
            TrackerError: As `Tracker.record` raises.
        """
        now = datetime.now(timezone.utc)  # noqa: TID251 - a face: here time comes in
        new = CleanRecord(
            raw=_checked(raw),
            clean_files=_listed(clean_files),
            timestamp=now.strftime("%Y-%m-%d %H:%M:%S") if timestamp is None else timestamp,
            recorded_by=uuid.uuid4().hex,
        )

        return self._clean.commit(self._ledger(raw.schema), [new])[0]

    def document(self, schema: str) -> Document | None:
        """Return the clean document of a schema as it is now, with the records of an older one in it; or `None`.

        Raises as `pending` does.
        """
        return self._with_older(self._clean.read(_clean_target(check_schema(schema))), schema)

    def _ledger(self, schema: str) -> Ledger[CleanRecord, CleanRecorded]:
        def record(
            document: Document | None, records: Sequence[CleanRecord]
        ) -> tuple[Document | None, Sequence[CleanRecorded]]:
            base = self._with_older(document, schema)
            grown, outcomes = record_many(base, records)
            return (document if grown is base or grown is None else settled(grown)), outcomes

        return Ledger(
            key=clean_key(schema),
            parse=clean_document,
            lasting=lambda document: CARRIED_OVER in document,
            record=record,
            to_json=asdict,
            from_json=partial(_from_json, schema),
        )

    def _with_older(self, document: Document | None, schema: str) -> Document | None:
        """Return the document with the older one's records in it, which is read for as long as they are not."""
        if document is not None and CARRIED_OVER in document:
            return document
        try:
            older = self._clean.read(Target(key=older_clean_key(schema), parse=older_clean_document))
        except ReadDeniedError:  # as a missing one is answered where the caller may not list
            older = None
        return carry_over(document, older, schema)


def _clean_target(schema: str) -> Target:
    return Target(key=clean_key(schema), parse=clean_document)


def _from_json(schema: str, value: Any) -> CleanRecord:  # noqa: ANN401 - any JSON value
    raw = FileVersion(**value["raw"])
    if raw.schema != schema:
        raise InvalidNameError(f"a record for {shown(raw.schema)} waits at {shown(schema)}")
    return CleanRecord(
        raw=raw,
        clean_files=_listed(value["clean_files"]),
        timestamp=value["timestamp"],
        recorded_by=check_text("recorded_by", value["recorded_by"]),
    )


def _checked(raw: object) -> FileVersion:
    if not isinstance(raw, FileVersion):
        raise InvalidNameError(f"raw must be a FileVersion, as pending() gives, got {shown(raw)}")
    return raw


def _listed(clean_files: Iterable[str]) -> tuple[str, ...]:
    if isinstance(clean_files, (str, bytes)) or not isinstance(clean_files, Iterable):
        raise InvalidNameError(f"clean_files must be a list of keys, got {shown(clean_files)}")
    return tuple(clean_files)
