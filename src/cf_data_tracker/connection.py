"""One bucket, as seen from this process: settings travel, connections do not.

Made in one process and used in another (after a fork, or pickled), it opens what it needs anew there. A store that is
not AWS's own is examined before the first write, once a process; the verdict travels too.
"""

import concurrent.futures.thread  # noqa: F401 - boto3 needs it, and it cannot be imported once the main thread has ended
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from cf_data_tracker.deadline import run_until
from cf_data_tracker.document import Document
from cf_data_tracker.engine.cas import ABSENT, LOG, DocumentSpec, Engine
from cf_data_tracker.engine.combine import Combiner, Outcome, RecordSpec
from cf_data_tracker.engine.group_commit import GroupCommit
from cf_data_tracker.engine.recent import MAX_DOCUMENTS, Recent
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.entries import Identified
from cf_data_tracker.errors import ContentionError, UnsafeStoreError
from cf_data_tracker.forks import unforked
from cf_data_tracker.runtime import RUNTIME
from cf_data_tracker.settings import Access, is_aws
from cf_data_tracker.stats import CountedObjects, Stats, Tally
from cf_data_tracker.store import Objects, Store
from cf_data_tracker.telemetry import MeteredTally, span

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

    from cf_data_tracker.stores.probe import Diagnosis
    from cf_data_tracker.stores.s3 import Quoting, S3Store

R = TypeVar("R", bound=Identified)
T = TypeVar("T")
Came = TypeVar("Came", bound=Outcome)

EXAMINATION_SECONDS: Final = 30.0
"""What the examination of a store may take at least: each of its steps gives up earlier, where a call does."""

Place: TypeAlias = tuple[str, str]  # endpoint, bucket


_proven: "dict[Place, Quoting]" = {}
"""The buckets whose store was examined in this process, or in the one it was forked from: the last 256 of them."""


def _note_verdict(place: Place, quoting: "Quoting") -> None:
    """Remember how a store wants its ETags."""
    _proven.setdefault(place, quoting)
    for oldest in list(_proven)[:-MAX_DOCUMENTS]:
        _proven.pop(oldest, None)


class Turns:
    """Threads do something one after the other.

    A thread may be interrupted at any moment, and leaves its place to the next from any line. A lock that is taken for
    so many seconds would stay taken by an interrupt between its `acquire` and the `try` that releases it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[SimpleQueue[None]] = []  # the mailbox of the one whose turn it is, and of those who wait

    def take(self, act: Callable[[], object], seconds: float) -> None:
        """Do it, after those who came before.

        Raises:
            ContentionError: They took longer than so many seconds; nothing was done.
        """
        mailbox: SimpleQueue[None] = SimpleQueue()
        try:
            try:
                self._wait(mailbox, seconds)
                act()
            finally:
                self._leave(mailbox)
        except BaseException:
            self._leave(mailbox)  # once more: an interrupt may have come while it left
            raise

    def _wait(self, mailbox: "SimpleQueue[None]", seconds: float) -> None:
        with self._lock:
            self._queue.append(mailbox)
            is_first = self._queue[0] is mailbox
        if not is_first:
            try:
                mailbox.get(timeout=seconds)
            except Empty:
                raise ContentionError(
                    "other threads kept examining the store; nothing was written, try later"
                ) from None

    def _leave(self, mailbox: "SimpleQueue[None]") -> None:
        with self._lock:
            self._pass_on(mailbox)

    def _pass_on(self, mailbox: "SimpleQueue[None]") -> None:
        self._queue = [one for one in self._queue if one is not mailbox]
        for first in self._queue[:1]:
            first.put(None)


class Connection:
    """A bucket, opened when it is first used in a process. Safe to share between threads.

    Args:
        access: How to reach it.
        client: A boto3 client to use in this process in place of one of our own.
        store: A store to use in place of S3; it is trusted. For files it has to be their bucket, too.
        patience: How long to go on.
        combining: Whether workers commit for each other under contention.
    """

    def __init__(
        self,
        access: Access,
        *,
        client: "S3Client | None" = None,
        store: Store | None = None,
        patience: Patience | None = None,
        combining: bool = True,
    ) -> None:
        self.access = access
        self.patience = patience if patience is not None else Patience()
        self.combining = combining
        self._store = store
        # By process: after a fork, what the parent opened is left alone.
        self._opened: dict[int, _Here] = {os.getpid(): _Here(access, client, store, self.patience, combining=combining)}

    def __getstate__(self) -> dict[str, Any]:
        return {
            "access": self._known_access,
            "patience": self.patience,
            "combining": self.combining,
            "_store": self._store,
            "proven": dict(_proven),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for place, quoting in state.pop("proven").items():
            _note_verdict(place, quoting)
        self.__dict__.update(state, _opened={})

    def __repr__(self) -> str:
        access = self._known_access
        return f"bucket={access.bucket!r}, endpoint={access.endpoint!r}"

    @property
    def stats(self) -> Stats:
        """What was asked of the store by this object, in this process."""
        return self._here.tally.snapshot()

    @property
    def store(self) -> Store:
        """The bucket's documents and inboxes; each request is made once, and counted."""
        return self._here.engine.store

    @property
    def objects(self) -> Objects:
        """The bucket's files; each request is made once, and counted."""
        return self._here.objects

    @property
    def host(self) -> str:
        """Host and port of the endpoint; `""` for AWS, and for a store that was handed in."""
        endpoint_url = self._here.endpoint_url
        return "" if endpoint_url is None or is_aws(endpoint_url) else urlsplit(endpoint_url).netloc

    def read(self, target: DocumentSpec) -> Document | None:
        """Return the document as it is now; see `Engine.read`."""
        with span("read", self.access.bucket, target.key) as note:
            document = self._here.engine.read(target)
            note(revision=_revision(document))
        return document

    def retrying(self, request: Callable[[], T], key: str) -> T:
        """Make a request to `store` or `objects` until it is answered, within the patience.

        Args:
            request: The request. It must be safe to make twice.
            key: What it is about, for messages.

        Raises:
            StoreError: The store refused or did not answer.
        """
        return self._here.engine.retrying(request, key)

    def kept(self, key: str) -> Document | None:
        """Return a document as this process last saw it, which may be outdated; `None` if it has not. No request."""
        return (self._here.engine.carried.get(key) or ABSENT).document

    def commit(self, ledger: RecordSpec[R, Came], recordings: Sequence[R]) -> Sequence[Came]:
        """Put recordings into a document, and return what came of each. Threads of this object share commits.

        Raises:
            UnsafeStoreError: The store does not honour conditional writes; no document was written.
            TrackerError: As `Combiner.commit` raises.
        """
        here = self._here
        with span("commit", self.access.bucket, ledger.key) as note:
            note(recordings=len(recordings))
            self.prove()
            ends = RUNTIME.clock() + self.patience.seconds
            outcomes = run_until(ends, lambda: here.batch(ledger).commit(ledger, recordings))
            seen = (here.engine.carried.get(ledger.key) or ABSENT).document  # which may be later than this call's
            note(created=sum(one.created for one in outcomes), revision=_revision(seen))
        here.tally.recorded(len(outcomes))
        return outcomes

    def prove(self) -> None:
        """Examine the store, unless it is known to be safe.

        Raises:
            UnsafeStoreError: It is not.
            StoreError: It refused, or did not answer.
        """
        if not self._here.trusted:
            self._here.proving.take(self._prove, self.patience.seconds)

    def _prove(self) -> None:
        here = self._here
        if not here.trusted:
            self._trust()

    def diagnose(self) -> "Diagnosis":
        """Examine the store and return what was found, whatever that is.

        Raises:
            StoreError: It refused, or did not answer.
        """
        with unforked():
            from cf_data_tracker.stores.probe import examine  # noqa: PLC0415 - it imports boto3, which takes a while

        here = self._here
        patient = Engine(here.store, Tally(), self.patience, RUNTIME)
        ends = RUNTIME.clock() + max(self.patience.seconds, EXAMINATION_SECONDS)
        return run_until(ends, lambda: examine(here.with_etags, patient.persist, RUNTIME.unique_id()))

    @property
    def _known_access(self) -> Access:
        """How to reach the bucket, with the endpoint that boto3 found, if it has been asked."""
        here = self._opened.get(os.getpid())
        return here.access if here is not None else self.access

    @property
    def _here(self) -> "_Here":
        pid = os.getpid()
        if pid not in self._opened:
            self._opened.setdefault(pid, _Here(self.access, None, self._store, self.patience, combining=self.combining))
        return self._opened[pid]

    def _trust(self) -> None:
        """Trust the store from now on; for this call alone, if its examination had to go without races."""
        here = self._here
        if here.place in _proven:
            here.trust(_proven[here.place])
            return
        diagnosis = here.diagnosis or self.diagnose()
        endpoint, bucket = here.place
        if diagnosis.raced or not diagnosis.safe:
            here.diagnosis = diagnosis
        if diagnosis.quoting is None or not diagnosis.safe:
            raise UnsafeStoreError(
                f"{endpoint} does not honour conditional writes, so it would lose recordings. It fails "
                f"this: {diagnosis.failed}. No document was written. Use S3, or a store that passes "
                "`cf-data-tracker doctor`"
            )
        if diagnosis.raced:
            _note_verdict((endpoint, bucket), diagnosis.quoting)
            here.trust(diagnosis.quoting)
        else:
            LOG.warning(
                "%s passed its examination, but without races between writers, since no threads can be started here; "
                "it is examined again before the next write",
                endpoint,
            )
            here.use(diagnosis.quoting)


def _revision(document: Document | None) -> int:
    return document.get("revision", 0) if document is not None else 0


class _Here:
    """What one process has opened. Connections are made when they are first needed."""

    def __init__(
        self, access: Access, client: "S3Client | None", store: Store | None, patience: Patience, *, combining: bool
    ) -> None:
        self.tally = MeteredTally(access.bucket)
        self._batches: Recent[GroupCommit[Any, Any]] = Recent()
        self.proving = Turns()
        self.diagnosis: Diagnosis | None = None
        self.access = access
        self._client = client
        self._ready = False  # whether the client is opened, and observes the limits of a request
        self._given = store
        self._patience = patience
        self._opening = threading.RLock()
        self._combining = combining
        self._engine: Engine | None = None
        self._trusted = store is not None
        self._objects: Objects | None = None

    @property
    def objects(self) -> Objects:
        """The bucket's files."""
        with self._opening:
            if self._objects is None:
                self._objects = self._opened_objects()
            return self._objects

    @property
    def engine(self) -> Engine:
        """The engine over the store."""
        with self._opening:
            if self._engine is None:
                self._engine = Engine(self.store, self.tally, self._patience, RUNTIME)
            return self._engine

    def batch(self, ledger: RecordSpec[R, Came]) -> GroupCommit[R, Came]:
        """Return where the threads meet that record into a document."""
        return self._batches.get(ledger.key, self._new_batch)

    def _new_batch(self) -> GroupCommit[Any, Any]:
        commit = Combiner(self.engine).commit if self._combining else self._commit_alone
        return GroupCommit(commit, self._patience.seconds)

    def _commit_alone(self, ledger: RecordSpec[R, Came], recordings: Sequence[R]) -> Sequence[Came]:
        return self.engine.commit(ledger, lambda document: ledger.record(document, recordings))

    @property
    def store(self) -> Store:
        """The store, not counted, and with its ETags as they come."""
        return self.with_etags(None)

    @property
    def place(self) -> Place:
        """Where requests go, which is boto3's to say: it may take an endpoint from variables and files of its own."""
        return self._opened_client().meta.endpoint_url, self.access.bucket

    @property
    def endpoint_url(self) -> str | None:
        """Where requests go; `None` for a store that was handed in."""
        return None if self._given is not None else self.place[0]

    @property
    def trusted(self) -> bool:
        """Whether the store may be written to."""
        return self._trusted or is_aws(self.place[0])

    def trust(self, quoting: "Quoting") -> None:
        """Write to the store from now on, with ETags in the form that it wants."""
        self.use(quoting)
        self._trusted = True

    def use(self, quoting: "Quoting") -> None:
        """Send ETags in the form that the store wants."""
        self.engine.use(self.with_etags(quoting))

    def with_etags(self, quoting: "Quoting | None") -> Store:
        """Return the store with one form of ETags; one that was handed in takes any."""
        if self._given is not None:
            return self._given
        return self._s3_store(quoting)

    def _opened_objects(self) -> Objects:
        if self._given is not None:
            return CountedObjects(cast("Objects", self._given), self.tally)
        with unforked():
            from cf_data_tracker.stores.objects import S3Objects  # noqa: PLC0415 - it imports boto3: that takes a while

        objects = S3Objects(self._s3_store(None), self.access.bucket, self.engine.persist)
        return CountedObjects(objects, self.tally)

    def _s3_store(self, quoting: "Quoting | None") -> "S3Store":
        with unforked():
            from cf_data_tracker.stores.s3 import Quoting, S3Store  # noqa: PLC0415 - as above

        return S3Store(
            self._opened_client(),
            self.access.bucket,
            quoting or Quoting.AS_RECEIVED,
            request_timeout=self.access.request_timeout,
        )

    def _opened_client(self) -> "S3Client":
        with self._opening:
            if not self._ready:
                with unforked():
                    self._client = self._opened_anew(self._client)
                self._ready = True
            return cast("S3Client", self._client)

    def _opened_anew(self, given: "S3Client | None") -> "S3Client":
        from cf_data_tracker.stores.limits import observant  # noqa: PLC0415 - as above
        from cf_data_tracker.stores.s3 import foreign_endpoint, open_client  # noqa: PLC0415 - as above

        if given is not None:
            return observant(given)
        client = open_client(self.access)
        kept = self.access.endpoint_url if is_aws(self.access.endpoint_url) else None
        self.access = replace(self.access, endpoint_url=foreign_endpoint(client) or kept)
        return client
