"""The raw tracker: record files, and ask what is recorded.

Questions (`exists`, `latest`, `history`, `tables`) answer with nothing where nothing is; they never raise because a
schema, a table or a file name is new.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cf_data_tracker.audit import Audit, OnProgress, TakenIn, Waiting, audit, check_never_there, to_take_in, waiting
from cf_data_tracker.connection import Connection
from cf_data_tracker.document import Document, raw_document, table_name_of, tables_of, versions_of
from cf_data_tracker.engine.cas import LOG, DocumentSpec
from cf_data_tracker.engine.combine import RecordSpec
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import DifferentContentError, InvalidNameError, TrackerError, joined
from cf_data_tracker.frames import Versions
from cf_data_tracker.model import FileVersion, NewFile, Recorded, Recording
from cf_data_tracker.names import (
    ambiguous,
    check_count,
    check_name,
    check_schema,
    check_seconds,
    check_text,
    raw_key,
    shown,
)
from cf_data_tracker.past import History, Restored, restore, walk
from cf_data_tracker.rules.raw import record
from cf_data_tracker.runtime import RUNTIME
from cf_data_tracker.settings import Access, environment, raw_access
from cf_data_tracker.stats import Stats
from cf_data_tracker.store import Progress
from cf_data_tracker.upload import MAX_WORKERS, Crew, NewUpload, Source, check_sources, place, same_content

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
        etag: str | None = None,
        on_same_content: str = "record",
    ) -> Recorded:
        """Record a file as a version of its file name, once; see `NewFile` for the arguments.

        Returns:
            Its version, and whether this call created it. A file that is there already keeps its version.

        Raises:
            InvalidNameError: An argument is not acceptable; nothing was sent.
            DifferentContentError: The file is there already, recorded with another checksum of the same algorithm;
                nothing was written. Where no checksums can be compared and the sizes differ, that is a warning in the
                log and in `Recorded.other_content`.
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
            etag=etag,
            on_same_content=on_same_content,
        )
        return self.record_many([new])[0]

    def record_many(
        self,
        files: Iterable[NewFile],
        *,
        dry_run: bool = False,
        on_recorded: Callable[[Recorded], object] | None = None,
    ) -> list[Recorded]:
        """Record files, with one commit for each schema among them.

        A schema's files are recorded together or not at all. With several schemas, the first may be recorded when a
        later one fails; calling again with the same files is safe.

        Args:
            files: The files.
            dry_run: Tell what would come of it by the document as it is, and write nothing.
            on_recorded: Is called with the outcome of each, in the order given, also where a file among them is an
                error.

        Returns:
            What became of each, in the order given.

        Raises:
            InvalidNameError: `files` holds something other than `NewFile`; nothing was sent.
            SameContentError: A file has the content of a version, and asks for that to be an error. All others were
                recorded.
            DifferentContentError: A file is there already, recorded with another checksum. All others were recorded.
            TrackerError: As `record` raises.
        """
        recordings = recordings_of(files, RUNTIME.now())
        outcomes = self._record_all(recordings, dry_run=dry_run)
        for outcome in outcomes:
            (on_recorded or _unheard)(outcome)
        pairs = zip(recordings, outcomes, strict=True)
        failures = [error for recording, outcome in pairs if (error := refused_recording(recording.new, outcome))]
        if failures:
            raise joined(failures)
        return outcomes

    def _record_all(self, recordings: Sequence[Recording], *, dry_run: bool) -> list[Recorded]:
        done: dict[str, Recorded] = {}
        for schema in dict.fromkeys(recording.new.schema for recording in recordings):
            ours = [recording for recording in recordings if recording.new.schema == schema]
            if dry_run:
                outcomes: Sequence[Recorded] = record(self.document(schema), schema, ours)[1]
            else:
                outcomes = self._connection.commit(raw_record_spec(schema), ours)
            for recording, outcome in zip(ours, outcomes, strict=True):
                done[recording.recorded_by] = outcome
                warn(recording.new, outcome)
        return [done[recording.recorded_by] for recording in recordings]

    def upload(  # noqa: PLR0913 - a file has that many properties
        self,
        path_or_file: Source,
        schema: str,
        table: str,
        file_name: str,
        *,
        file: str | None = None,
        key: str | None = None,
        timestamp: str | None = None,
        fyear: str | None = None,
        upload_date: str | None = None,
        on_same_content: str = "record",
        on_progress: Progress | None = None,
    ) -> Recorded:
        """Upload a file and record it, once; see `NewUpload` for the arguments.

        A file that its file name has already is not sent. One that is in the bucket with the same bytes, but has no
        record, is recorded. The same call again, after any error or crash, finishes what was begun.

        Args:
            path_or_file: Its path, or an open binary file.
            schema: The data source.
            table: A table of the schema.
            file_name: The time period.
            file: What to record it as; the last part of its path if left out.
            key: Where to put it; `{schema}/{table}/{file_name}/{file}` if left out.
            timestamp: As for `record`; so are `fyear` and `upload_date`.
            fyear: Its fiscal year.
            upload_date: The day.
            on_same_content: As for `NewFile`.
            on_progress: Is told of bytes as they are sent, by threads of its own: how many more, or a negative number
                where they have to be sent again. `tqdm(...).update` will do.

        Returns:
            Its version, and whether this call created it.

        Raises:
            LocalFileError: The file is missing, is no file, or changed while it was sent; nothing was recorded.
            DifferentContentError: Other bytes are there under its name; nothing was overwritten or recorded.
            SameContentError: The file name has these bytes, and `on_same_content` is `error`; it was not recorded.
            TrackerError: As `record` raises.
        """
        new = NewUpload(
            path_or_file=path_or_file,
            schema=schema,
            table=table,
            file_name=file_name,
            file=file or "",
            key=key or "",
            timestamp=timestamp,
            fyear=fyear,
            upload_date=upload_date,
            on_same_content=on_same_content,
        )
        return self.upload_many([new], on_progress=on_progress)[0]

    def upload_many(
        self,
        uploads: Iterable[NewUpload],
        *,
        workers: int = 8,
        on_progress: Progress | None = None,
        on_recorded: Callable[[Recorded], object] | None = None,
        dry_run: bool = False,
    ) -> list[Recorded]:
        """Upload files, several at once, and record them together: up to 200 of a schema are one commit.

        If a file fails by its own fault (`LocalFileError`, `DifferentContentError`, `SameContentError`), all others are
        uploaded and recorded before its error is raised. If several do, that is one error, with the class of the first,
        whose message names each and whose `failures` holds theirs. An error of the store ends the call: no more are
        begun, those that are in the bucket by then are recorded, and it is raised. The same call again does the rest.

        Args:
            uploads: The files.
            workers: How many are sent at once. A large one is sent in four parts at a time, one such file at a time.
            on_progress: As for `upload`, for all of them.
            on_recorded: Is told what became of each, as soon as that is known.
            dry_run: Read the files, look at the bucket, tell what would come of it, and send and write nothing.

        Returns:
            What became of each, in the order given.

        Raises:
            TrackerError: As `upload` raises.
        """
        listed = uploads_of(uploads)
        if not 0 < check_count("workers", workers) <= MAX_WORKERS:
            raise InvalidNameError(f"workers must be 1 to {MAX_WORKERS}, got {workers}")
        check_sources(listed)
        documents = {schema: self.document(schema) for schema in dict.fromkeys(new.schema for new in listed)}
        file_names = dict.fromkeys((new.schema, new.table, new.file_name) for new in listed)
        known = {name: list(versions_of(documents[name[0]], *name)) for name in file_names}

        def place_one(new: NewUpload, progress: Progress) -> NewFile | Recorded:
            versions = known[new.schema, new.table, new.file_name]
            return place(self._connection, new, versions, progress, dry_run=dry_run)

        def record_placed(files: Sequence[NewFile]) -> Sequence[Recorded]:
            now = RUNTIME.now()
            return self._record_all(recordings_of(files, now), dry_run=dry_run)

        crew = Crew(
            place=place_one,
            record=record_placed,
            progress=on_progress or _unheard,
            on_recorded=on_recorded or _unheard,
            clock=RUNTIME.clock,
            workers=workers,
            dry_run=dry_run,
        )
        return crew.upload(listed)

    def exists(self, schema: str, table: str, file_name: str, file: str) -> bool:
        """Return whether a file name has a file.

        Raises:
            InvalidNameError: A name is not acceptable.
            DocumentError: The stored document is not a tracker document.
            DocumentVanishedError: The document was there and is gone.
            StoreError: The store refused or did not answer.
        """
        file = check_name("file", file)
        versions = self._versions(schema, table, check_name("file_name", file_name))
        return any(version.file == file for version in versions)

    def latest(self, schema: str, table: str, file_name: str) -> FileVersion | None:
        """Return the newest version of a file name, or `None` where there is none. Raises as `exists` does."""
        versions = self._versions(schema, table, check_name("file_name", file_name))
        return max(versions, key=lambda version: version.version, default=None)

    def history(self, schema: str, table: str, file_name: str | None = None) -> Versions:
        """Return the versions of a table, or of one file name of it: file names in the order in which they came.

        They are a list of `FileVersion`, which can also be had as a table: `.to_pandas()`, `.to_polars()`,
        `.to_arrow()`. Raises as `exists` does.
        """
        versions = list(self._versions(schema, table, file_name))
        order = {name: number for number, name in enumerate(dict.fromkeys(version.file_name for version in versions))}
        return Versions(sorted(versions, key=lambda version: (order[version.file_name], version.version)))

    def tables(self, schema: str) -> list[str]:
        """Return the names of a schema's tables, in the order in which they came. Raises as `exists` does."""
        schema = check_schema(schema)
        return list(dict.fromkeys(map(table_name_of, tables_of(self.document(schema), schema))))

    def document(self, schema: str) -> Document | None:
        """Return the stored document of a schema as it is now, or `None`; to be read, not changed.

        Raises as `exists` does.
        """
        return self._connection.read(raw_spec(check_schema(schema)))

    def audit(
        self, schema: str, *, deep: bool = False, min_age: float = 0.0, on_progress: OnProgress | None = None
    ) -> Audit:
        """Compare what is recorded with what is in the bucket, by one listing: a request for every 1,000 objects.

        Args:
            schema: The data source.
            deep: Whether to read the objects through whose bytes a listing tells too little of, where a SHA-256 was
                recorded.
            min_age: Seconds; younger objects without a record are left out, since a worker may be about to record them.
            on_progress: Is told how many more objects were listed, again and again.

        Raises:
            StoreError: The caller may not list the bucket or look at an object in it; the store lists out of order.
            TrackerError: As `exists` raises.
        """
        now = RUNTIME.now().timestamp()
        written_until = now - check_seconds("min_age", min_age) if min_age else math.inf
        return audit(
            self._connection, check_schema(schema), deep=deep, written_until=written_until, on_progress=on_progress
        )

    def waiting(self, schema: str) -> Waiting | None:
        """Return what waits in the inbox of a schema's document, by a request for every 1,000 entries.

        `None` where the caller may not list the inbox.

        Raises:
            InvalidNameError: The schema is no name.
            StoreError: The store refused or did not answer.
        """
        return waiting(self._connection, check_schema(schema))

    def record_orphans(self, audit: Audit, *, dry_run: bool = False) -> TakenIn:
        """Record the objects that an audit found without a record, in one commit.

        Those are taken in whose key is `SCHEMA/TABLE/FILE_NAME/FILE`, the oldest first, with the size, the ETag, the
        day and, where it was left with the object, the SHA-256 that it has now. A worker that is just about to record
        one itself finds it recorded, with the dates of the object.

        Args:
            audit: What has found them.
            dry_run: Whether to say what would come of it, and write nothing.

        Raises:
            DocumentVanishedError: The document is gone, and the bucket keeps what it was. Restore it first: a new one
                would begin with other numbers.
            TrackerError: As `record` raises.
        """
        if not audit.tracked:
            check_never_there(self._connection, raw_key(audit.schema))
        files, left = to_take_in(self._connection, audit, self.document(audit.schema))
        recorded = self.record_many(files, dry_run=dry_run)
        return TakenIn(recorded=tuple(recorded), left=tuple(left))

    def verify_history(self, schema: str, *, on_progress: OnProgress | None = None) -> History:
        """Compare all that the bucket keeps of a schema's document, each version with the one before.

        Nothing is ever removed from a document, so each contains its predecessor. What is not so is found, unless it is
        back in the newest.

        Args:
            schema: The data source.
            on_progress: Is told how many more versions were read, again and again.

        Raises:
            InvalidNameError: The schema is no name.
            NotTrackedError: There is no document of it, and never was one that is kept.
            StoreError: The bucket keeps no versions; the store refused or did not answer.
        """
        return walk(self._connection, check_schema(schema), on_progress)

    def restore(
        self,
        schema: str,
        revision: int | None = None,
        *,
        version: str | None = None,
        discard: bool = False,
        dry_run: bool = False,
    ) -> Restored:
        """Write what a schema's document was at a revision as its newest revision, in a bucket that keeps versions.

        Over a document that is ruined, a gap where one has vanished, or one from which something was lost. Workers may
        go on meanwhile: whatever they are told that is recorded is not lost by it.

        Args:
            schema: The data source.
            revision: The revision to restore.
            version: In place of it, the id of an S3 version: documents of the earlier package have no revision.
            discard: Whether versions may be lost that were recorded since.
            dry_run: Whether to say what would come of it, and write nothing.

        Raises:
            InvalidNameError: The schema is no name, or not one of `revision` and `version` is given.
            NotTrackedError: It is not kept; the message says what is.
            WouldLoseError: Versions were recorded since, and may not be lost; nothing was written.
            DocumentError: What that version holds is no tracker document.
            ContentionError: Others kept committing until the time ran out; nothing was written.
            OutcomeUnknownError: It may have been restored. Restoring it again is safe.
            UnsafeStoreError: The store does not honour conditional writes; nothing was written.
            StoreError: The bucket keeps no versions; the store refused or did not answer.
        """
        if (revision is None) == (version is None):
            raise InvalidNameError("give the revision to restore, or the id of an S3 version, and not both")
        wanted = check_text("version", version) if revision is None else check_count("revision", revision)
        return restore(self._connection, check_schema(schema), wanted, discard=discard, dry_run=dry_run)

    def _versions(self, schema: str, table: str, file_name: str | None) -> Iterable[FileVersion]:
        schema, table = check_schema(schema), check_name("table", table)
        file_name = None if file_name is None else check_name("file_name", file_name)
        return versions_of(self.document(schema), schema, table, file_name)


def _unheard(_: object) -> None:
    """Tell nobody."""


def uploads_of(uploads: Iterable[NewUpload]) -> list[NewUpload]:
    """Return the uploads, if that is what they are.

    Raises:
        InvalidNameError: One of them is no `NewUpload`.
    """
    if not isinstance(uploads, Iterable):
        raise InvalidNameError(f"uploads must be a list of NewUpload, got {shown(uploads)}")
    listed = list(uploads)
    for number, new in enumerate(listed):
        if not isinstance(new, NewUpload):
            raise InvalidNameError(f"uploads[{number}] must be a NewUpload, got {shown(new)}")
    return listed


def refused_recording(new: NewFile, outcome: Recorded) -> TrackerError | None:
    """Return why a file was not recorded, if that is an error.

    Another size alone is none: see `warn`.
    """
    if isinstance(outcome.other_content, str):
        return DifferentContentError(
            f"{new.schema}/{new.table}/{new.file_name} has {new.file} as version {outcome.version} already, recorded "
            f"with other content ({shown(outcome.other_content)} there, {shown(new.checksum)} here); this file was not "
            "recorded: give it another name"
        )
    return same_content(new.on_same_content, outcome)


def warn(new: NewFile, outcome: Recorded) -> None:
    """Log what may be a mistake and is no error: another size of a known file, a new name that looks like another."""
    where = f"{new.schema}/{new.table}/{new.file_name}"
    if isinstance(outcome.other_content, int):
        LOG.warning(
            "%s has %s as version %d already, recorded with %d bytes, not %d: a changed file needs another name",
            ascii(where),
            ascii(new.file),
            outcome.version,
            outcome.other_content,
            new.file_size,
        )
    names = {"file": new.file}
    if outcome.version == 1:
        names |= {"schema": new.schema, "table": new.table, "file_name": new.file_name}
    for what, name in names.items():
        if outcome.created and (why := ambiguous(name)):
            LOG.warning("%s %s, recorded in %s, may be taken for another: it %s", what, ascii(name), ascii(where), why)


def connect(access: Access, client: "S3Client | None", timeout: float) -> Connection:
    """Return a connection to a bucket; through a client of the caller's, where it goes and as whom is the client's."""
    if client is not None:
        from cf_data_tracker.stores.s3 import access_of  # noqa: PLC0415 - whoever has a client has waited for boto3

        access = access_of(client, access.bucket, access.request_timeout)
    return Connection(access, client=client, patience=Patience(seconds=timeout))


def raw_spec(schema: str) -> DocumentSpec:
    """Return the raw document of a schema."""
    return DocumentSpec(key=raw_key(schema), parse=raw_document)


def raw_record_spec(schema: str) -> RecordSpec[Recording, Recorded]:
    """Return the raw document of a schema, as one that recordings go into."""
    return RecordSpec(
        key=raw_key(schema),
        parse=raw_document,
        record=lambda document, recordings: record(document, schema, recordings),
        to_json=_as_json,
        from_json=lambda value: _from_json(schema, value),
    )


def _as_json(recording: Recording) -> dict[str, object]:
    fields = {name: value for name, value in asdict(recording.new).items() if name != "schema" and value is not None}
    if recording.new.on_same_content == "record":
        del fields["on_same_content"]  # keys are short, and hold what is said
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
        recordings.append(Recording(new=dated(new, now), recorded_by=RUNTIME.unique_id()))
    return recordings


def dated(new: NewFile, now: datetime) -> NewFile:
    """Return a file with the dates that it lacks: those of `now`."""
    return replace(
        new,
        timestamp=new.timestamp or now.strftime("%Y-%m-%d %H:%M:%S"),
        fyear=new.fyear or f"FY{now.year}",
        upload_date=new.upload_date or now.strftime("%Y-%m-%d"),
    )
