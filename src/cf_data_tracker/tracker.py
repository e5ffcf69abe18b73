"""The raw tracker: record files, and ask what is recorded.

Questions (`exists`, `latest`, `history`, `tables`) answer with nothing where nothing is; they never raise because a
schema, a table or a file name is new.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, raw_document, table_name_of, tables_of, versions_of
from cf_data_tracker.engine.combine import Ledger
from cf_data_tracker.engine.commit import Patience, Target
from cf_data_tracker.errors import InvalidNameError
from cf_data_tracker.model import FileVersion, NewFile, Recorded, Recording
from cf_data_tracker.names import check_name, check_schema, check_text, raw_key, shown
from cf_data_tracker.rules.raw import record
from cf_data_tracker.settings import Access, environment, raw_access
from cf_data_tracker.stats import Stats

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from typing_extensions import Self


class Tracker:
    """Which versions of which files are in a raw bucket.

    Safe to share between threads, usable after a fork, and picklable: settings travel, connections do not.

    Args:
        bucket: The raw bucket.
        client: A boto3 S3 client to use in place of one of its own. Make it with
            `Config(retries={"total_max_attempts": 1})`: a client that resends by itself hides lost answers, which costs
            requests, though nothing is lost. Another process makes a client of its own, with the same endpoint, region
            and keys.
        endpoint_url: The endpoint of a store other than AWS. It is examined before the first write.
        region_name: The region; boto3's choice if left out.
        aws_access_key_id: The access key; boto3's chain (roles, profiles, SSO) if left out.
        aws_secret_access_key: Its secret.
        aws_session_token: The token that goes with temporary keys.
        request_timeout: Seconds without an answer after which a request counts as unanswered.
        timeout: Seconds after which a question or a commit gives up. A call that makes several commits (one for each
            schema), or that examines the store first, has as many for each.

    Raises:
        StoreError: The settings do not make a connection.
    """

    def __init__(  # noqa: PLR0913 - boto3's settings, under boto3's names
        self,
        bucket: str,
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
        access = Access(
            bucket=bucket,
            endpoint_url=endpoint_url,
            region=region_name,
            access_key=aws_access_key_id,
            secret_key=aws_secret_access_key,
            session_token=aws_session_token,
            request_timeout=request_timeout,
        )
        self._connection = connect(access, client, timeout)

    @classmethod
    def from_env(cls, *, bucket: str | None = None, endpoint_url: str | None = None, timeout: float = 120.0) -> "Self":
        """Return a tracker with the settings of the environment and `.env`; arguments go before them.

        Raises:
            StoreError: `AWS_DEST_BUCKET_RAW` is not set, or a setting is malformed.
        """
        return cls.over(connect(raw_access(environment(), bucket, endpoint_url), None, timeout))

    @classmethod
    def over(cls, connection: Connection) -> "Self":
        """Return a tracker over a connection that was made elsewhere."""
        tracker = cls.__new__(cls)
        tracker._connection = connection  # noqa: SLF001 - its own
        return tracker

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection!r})"

    @property
    def stats(self) -> Stats:
        """What this tracker has asked of the store, in this process."""
        return self._connection.stats

    def record(  # noqa: PLR0913 - a file has that many properties
        self,
        schema: str,
        table: str,
        file_name: str,
        file: str,
        *,
        file_size: int,
        s3_location: str,
        timestamp: str | None = None,
        fyear: str | None = None,
        upload_date: str | None = None,
        checksum: str | None = None,
    ) -> Recorded:
        """Record a file as a version of its file name, once; see `NewFile` for the arguments.

        Returns:
            Its version, and whether this call created it. A file that is there already keeps its version.

        Raises:
            InvalidNameError: An argument is not acceptable; nothing was sent.
            ContentionError: Others kept committing until the time ran out; nothing was written.
            OutcomeUnknownError: It may have been recorded. Recording it again is safe.
            DocumentError: The stored document is not a tracker document; it was left as it is.
            DocumentVanishedError: The document was there and is gone; nothing was written.
            UnsafeStoreError: The store does not honour conditional writes; nothing was written.
            StoreError: The store refused; nothing was written.
        """
        new = NewFile(
            schema=schema,
            table=table,
            file_name=file_name,
            file=file,
            file_size=file_size,
            s3_location=s3_location,
            timestamp=timestamp,
            fyear=fyear,
            upload_date=upload_date,
            checksum=checksum,
        )
        return self.record_many([new])[0]

    def record_many(self, files: Iterable[NewFile]) -> list[Recorded]:
        """Record files, with one commit for each schema among them.

        A schema's files are recorded together or not at all. With several schemas, the first may be recorded when a
        later one fails; calling again with the same files is safe.

        Returns:
            What became of each, in the order given.

        Raises:
            InvalidNameError: `files` holds something other than `NewFile`; nothing was sent.
            TrackerError: As `record` raises.
        """
        recordings = recordings_of(files, datetime.now(timezone.utc))  # noqa: TID251 - a face: here time comes in
        done: dict[str, Recorded] = {}
        for schema in dict.fromkeys(recording.new.schema for recording in recordings):
            ours = [recording for recording in recordings if recording.new.schema == schema]
            outcomes = self._connection.commit(raw_ledger(schema), ours)
            done.update(zip((recording.recorded_by for recording in ours), outcomes, strict=True))
        return [done[recording.recorded_by] for recording in recordings]

    def exists(self, schema: str, table: str, file_name: str, file: str) -> bool:
        """Return whether a file name has a file.

        Raises:
            InvalidNameError: A name is not acceptable.
            DocumentError: The stored document is not a tracker document.
            DocumentVanishedError: The document was there and is gone.
            StoreError: The store refused or did not answer.
        """
        check_name("file_name", file_name)
        check_name("file", file)
        return any(version.file == file for version in self._versions(schema, table, file_name))

    def latest(self, schema: str, table: str, file_name: str) -> FileVersion | None:
        """Return the newest version of a file name, or `None` where there is none. Raises as `exists` does."""
        check_name("file_name", file_name)
        return max(self._versions(schema, table, file_name), key=lambda version: version.version, default=None)

    def history(self, schema: str, table: str, file_name: str | None = None) -> list[FileVersion]:
        """Return the versions of a table, or of one file name of it: file names in the order in which they came.

        Raises as `exists` does.
        """
        versions = list(self._versions(schema, table, file_name))
        order = {name: number for number, name in enumerate(dict.fromkeys(version.file_name for version in versions))}
        return sorted(versions, key=lambda version: (order[version.file_name], version.version))

    def tables(self, schema: str) -> list[str]:
        """Return the names of a schema's tables, in the order in which they came. Raises as `exists` does."""
        return list(dict.fromkeys(map(table_name_of, tables_of(self.document(schema), schema))))

    def document(self, schema: str) -> Document | None:
        """Return the stored document of a schema as it is now, or `None`; to be read, not changed.

        Raises as `exists` does.
        """
        return self._connection.read(raw_target(check_schema(schema)))

    def _versions(self, schema: str, table: str, file_name: str | None) -> Iterable[FileVersion]:
        check_name("table", table)
        if file_name is not None:
            check_name("file_name", file_name)
        return versions_of(self.document(schema), schema, table, file_name)


def connect(access: Access, client: "S3Client | None", timeout: float) -> Connection:
    """Return a connection to a bucket; through a client of the caller's, where it goes and as whom is the client's."""
    if client is not None:
        from cf_data_tracker.stores.s3 import access_of  # noqa: PLC0415 - whoever has a client has waited for boto3

        access = access_of(client, access.bucket, access.request_timeout)
    return Connection(access, client=client, patience=Patience(seconds=timeout))


def raw_target(schema: str) -> Target:
    """Return the raw document of a schema."""
    return Target(key=raw_key(schema), parse=raw_document)


def raw_ledger(schema: str) -> Ledger[Recording, Recorded]:
    """Return the raw document of a schema, as one that recordings go into."""
    return Ledger(
        key=raw_key(schema),
        parse=raw_document,
        record=lambda document, recordings: record(document, schema, recordings),
        to_json=_as_json,
        from_json=lambda value: _from_json(schema, value),
    )


def _as_json(recording: Recording) -> dict[str, object]:
    fields = {name: value for name, value in asdict(recording.new).items() if name != "schema" and value is not None}
    return {**fields, "recorded_by": recording.recorded_by}


def _from_json(schema: str, value: Any) -> Recording:  # noqa: ANN401 - any JSON value
    recorded_by = check_text("recorded_by", value["recorded_by"])
    new = NewFile(schema=schema, **{name: field for name, field in value.items() if name != "recorded_by"})
    return Recording(new=new, recorded_by=recorded_by)


def recordings_of(files: Iterable[NewFile], now: datetime) -> Sequence[Recording]:
    """Return the files on their way: with dates, and an identity each that stays the same in every attempt.

    Raises:
        InvalidNameError: One of them is no `NewFile`.
    """
    if not isinstance(files, Iterable):
        raise InvalidNameError(f"files must be a list of NewFile, got {shown(files)}")
    recordings = []
    for number, new in enumerate(files):
        if not isinstance(new, NewFile):
            raise InvalidNameError(f"files[{number}] must be a NewFile, got {shown(new)}")
        recordings.append(Recording(new=dated(new, now), recorded_by=uuid.uuid4().hex))
    return recordings


def dated(new: NewFile, now: datetime) -> NewFile:
    """Return a file with the dates that it lacks: those of `now`."""
    return replace(
        new,
        timestamp=new.timestamp or now.strftime("%Y-%m-%d %H:%M:%S"),
        fyear=new.fyear or f"FY{now.year}",
        upload_date=new.upload_date or now.strftime("%Y-%m-%d"),
    )
