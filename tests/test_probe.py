"""The examination of a store: what is safe passes whatever the network does, and what is not fails by name."""

import contextlib
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, TypeVar

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.cas import Engine
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import StoreError, TrackerError, UnsafeStoreError
from cf_data_tracker.runtime import Runtime
from cf_data_tracker.stats import Tally
from cf_data_tracker.store import ANYTHING, Answer, Conflict, Replacing, Store, Stored, Unanswered, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stores.probe import RACERS, RACES, ROUNDS, Check, Diagnosis, examine
from cf_data_tracker.stores.s3 import Quoting, open_client
from cf_data_tracker.tracker import Tracker
from conftest import IN_CI, access_to, connection_to, make_bucket
from fates import Fate, FatefulStore
from servers import proxy
from servers.proxy import FaultyProxy, Seen
from servers.server import Server, ServerError
from servers.unsafe import running_localbucket, running_rclone

T = TypeVar("T")

CACHE: Final = Path(__file__).parents[1] / ".cache" / "servers"

FIRST: Final = "a create-only write is taken where nothing is"
CREATE_ONLY: Final = "a create-only write onto an object is refused"
CHANGED: Final = "a write changes the ETag"
CURRENT: Final = "a write that names the current ETag is taken"
STALE: Final = "a write that names a stale ETag is refused"
ABSENT: Final = "a write that names an ETag creates nothing"
RACE: Final = "of 32 writers at once that name one ETag, one wins"
START: Final = "of 32 writers at once that create one object, one wins"


def persist(attempt: Callable[[], T]) -> T:
    """Call until there is an answer, as the engine does, in no time."""
    runtime = Runtime(clock=lambda: 0.0, sleep=lambda _seconds: None, random=lambda: 0.0)
    patience = Patience(attempts=100, seconds=1.0)
    return Engine(MemoryStore(), Tally(), patience, runtime).persist(attempt)


def examined(store: Store) -> Diagnosis:
    """Return what is found of a store that takes either form of ETag as it takes the other."""
    return examine(lambda _quoting: store, persist, "unique")


class IgnoresIfMatch(MemoryStore):
    """As `rclone serve s3` and localbucket do."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:  # noqa: ARG002 - the port's
        """Put the object whatever is there."""
        return super().write(key, body, replacing=ANYTHING if isinstance(replacing, str) else replacing)


class IgnoresIfNoneMatch(MemoryStore):
    """As `rclone serve s3` does."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object where there should be none."""
        return super().write(key, body, replacing=ANYTHING if replacing is None else replacing, waiting=waiting)


class CreatesUnderIfMatch(MemoryStore):
    """Checks the ETag of what is there, and takes a write where there is nothing."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:  # noqa: ARG002 - the port's
        """Put the object if there is none, or if its ETag is as said."""
        return super().write(key, body, replacing=ANYTHING if self.read(key) is None else replacing)


class LocksNothing(MemoryStore):
    """Checks the condition and stores the body in two steps, so that all who check first have won."""

    def __init__(self) -> None:
        super().__init__()
        self._checked = threading.Barrier(RACERS, timeout=10.0)

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object once every other racer has been let through too."""
        if threading.current_thread() is threading.main_thread():
            return super().write(key, body, replacing=replacing, waiting=waiting)
        there = self.read(key)
        assert isinstance(there, Stored)
        self._checked.wait()
        if there.etag != replacing:
            raise Conflict(key)
        return super().write(key, body, replacing=ANYTHING, waiting=waiting)


class StartsTwice(MemoryStore):
    """Checks in two steps that there is nothing yet, so that all who look first have created the object."""

    def __init__(self) -> None:
        super().__init__()
        self._checked = threading.Barrier(RACERS, timeout=10.0)

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object once every other racer has looked too."""
        if replacing is not None or threading.current_thread() is threading.main_thread():
            return super().write(key, body, replacing=replacing, waiting=waiting)
        there = self.read(key)
        self._checked.wait()
        if there is not None:
            raise Conflict(key)
        return super().write(key, body, replacing=ANYTHING, waiting=waiting)


class SavesAnother(MemoryStore):
    """Tells one of the racers that it has won, and stores what another has sent."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:  # noqa: ARG002 - the port's
        """Put the object, or something else."""
        racing = threading.current_thread() is not threading.main_thread()
        return super().write(key, b"another's" if racing else body, replacing=replacing)


class TakesNoEtag(MemoryStore):
    """Refuses every write that names an ETag."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object if there is none."""
        if isinstance(replacing, str):
            raise Conflict(key)
        return super().write(key, body, replacing=replacing, waiting=waiting)


class TakesNoFirst(MemoryStore):
    """Answers 412 to every create-only write."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object if it replaces one."""
        if replacing is None:
            raise Conflict(key)
        return super().write(key, body, replacing=replacing, waiting=waiting)


class OneEtag(MemoryStore):
    """Gives every object the same ETag, so that none is ever stale."""

    def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> Answer:
        """Return the object, under that ETag."""
        there = super().read(key, unless=unless, most=most)
        return Stored(body=there.body, etag='"e"') if isinstance(there, Stored) else there

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object if the ETag is that one."""
        named = self.read(key) is not None and replacing == '"e"'
        super().write(key, body, replacing=ANYTHING if named else replacing, waiting=waiting)
        return Written(etag='"e"')


class Sent:
    """A store as seen by a client that sends its ETags in one form."""

    def __init__(self, store: MemoryStore, quoting: Quoting, taken: Quoting) -> None:
        self._store = store
        self._quoting = quoting
        self._taken = taken
        self.location, self.read, self.list = store.location, store.read, store.list
        self.delete, self.erase = store.delete, store.erase

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object if the ETag is in the form that is taken, and the current one."""
        if isinstance(replacing, str):
            bare = self._quoting.of(replacing) == replacing.strip('"')
            if bare != (self._taken is Quoting.UNQUOTED):
                raise Conflict(key)  # for ever, as Ceph 16 does
        return self._store.write(key, body, replacing=replacing, waiting=waiting)


class TestSafe:
    """What can be trusted is found to be safe."""

    def test_a_store_that_does_all_is_safe(self) -> None:
        """Each check has passed, and what was tried is gone."""
        store = MemoryStore()
        diagnosis = examined(store)
        names = (FIRST, CREATE_ONLY, CURRENT, CHANGED, STALE, ABSENT, RACE, START)
        assert tuple(Check(name=name, passed=True) for name in names) == diagnosis.checks
        assert (True, "", Quoting.AS_RECEIVED) == (diagnosis.safe, diagnosis.failed, diagnosis.quoting)
        assert [] == store.list("")

    def test_a_store_that_keeps_versions_is_examined_as_any_other(self) -> None:
        """What was tried is out of sight."""
        store = MemoryStore(versioned=True)
        assert examined(store).safe
        assert [] == store.list("")

    @pytest.mark.parametrize("wanted", Quoting)
    def test_the_form_of_etag_that_a_store_wants_is_found_out(self, wanted: Quoting) -> None:
        """A store that answers 412 for ever to one form is safe with the other."""
        store = MemoryStore()
        diagnosis = examine(lambda quoting: Sent(store, quoting, wanted), persist, "unique")
        assert (True, wanted) == (diagnosis.safe, diagnosis.quoting)

    def test_a_passing_conflict_does_not_decide_the_form(self) -> None:
        """A 409 to the form that the store wants is no refusal of the form: it gets another turn."""
        store = FatefulStore(MemoryStore(), writes=[Fate.ANSWERED, Fate.ANSWERED, Fate.CONFLICT, Fate.CONFLICT])
        diagnosis = examine(lambda quoting: _told(store, quoting), persist, "unique")
        assert (True, Quoting.AS_RECEIVED) == (diagnosis.safe, diagnosis.quoting)

    def test_a_form_whose_answer_was_lost_is_the_one(self) -> None:
        """What is there tells that it was taken; no other form is tried."""
        writes = [Fate.ANSWERED, Fate.ANSWERED, Fate.ANSWER_LOST]
        assert Quoting.AS_RECEIVED is examined(FatefulStore(MemoryStore(), writes=writes)).quoting

    @pytest.mark.parametrize("seed", range(100))
    def test_a_bad_network_is_not_taken_for_a_bad_store(self, seed: int) -> None:
        """With every tenth request lost, unanswered, refused for now or applied late, the store is still safe."""
        chance = random.Random(seed)
        fates = [Fate.ANSWER_LOST, Fate.LOST, Fate.LATE, Fate.NOT_SENT, Fate.CONFLICT, Fate.SLOW_DOWN]
        writes = [chance.choice(fates) if chance.random() < 0.1 else Fate.ANSWERED for _ in range(1000)]
        reads = [Fate.LOST if chance.random() < 0.1 else Fate.ANSWERED for _ in range(1000)]
        store = FatefulStore(MemoryStore(), reads=reads, writes=writes)

        def late_ones_arrive(_kind: str, number: int) -> None:
            if number % 3 == 0:
                store.catch_up()

        store.before = late_ones_arrive
        diagnosis = examined(store)
        assert "" == diagnosis.failed
        assert diagnosis.safe

    def test_a_race_that_nobody_is_told_to_have_won_shows_no_fault(self) -> None:
        """Writers that are told nothing are told nothing wrong; each kind of race is run three times."""
        writes = [Fate.ANSWERED] * 6
        store = FatefulStore(MemoryStore(), writes=[*writes, *[Fate.ANSWER_LOST] * RACERS, *[Fate.LOST] * RACERS])
        assert examined(store).safe
        assert len(writes) + 2 * RACES * RACERS == store.calls.count("write")

    def test_the_start_may_land_without_an_answer(self) -> None:
        """A create-only write that finds itself there has landed before."""
        assert examined(FatefulStore(MemoryStore(), writes=[Fate.ANSWER_LOST])).safe


def _told(store: FatefulStore, quoting: Quoting) -> Store:
    if quoting is Quoting.AS_RECEIVED:
        return store
    return FatefulStore(store, writes=[Fate.CONFLICT] * 100)


class TestUnsafe:
    """What cannot be trusted fails, and the check that it fails has a name."""

    @pytest.mark.parametrize(
        ("kind", "failed"),
        [
            (IgnoresIfNoneMatch, CREATE_ONLY),
            (TakesNoEtag, CURRENT),
            (IgnoresIfMatch, STALE),
            (CreatesUnderIfMatch, ABSENT),
            (LocksNothing, RACE),
            (SavesAnother, RACE),
        ],
    )
    def test_a_store_that_does_not_do_one_thing_fails_that_check(
        self, kind: Callable[[], MemoryStore], failed: str
    ) -> None:
        """It is the last thing tried, it is named, and nothing is left but what was there before."""
        store = kind()
        etag = store.write("vitals/vitals_version_info.json", b"{}", replacing=ANYTHING).etag
        diagnosis = examined(store)
        assert (False, failed) == (diagnosis.safe, diagnosis.failed)
        assert Check(name=failed, passed=False) == diagnosis.checks[-1]
        assert all(check.passed for check in diagnosis.checks[:-1])
        assert ["vitals/vitals_version_info.json"] == store.list("")
        assert Stored(body=b"{}", etag=etag) == store.read("vitals/vitals_version_info.json")

    def test_a_store_that_lets_several_start_one_object_is_unsafe(self) -> None:
        """Of many workers that start a document one has to win, as of those that go on with it."""
        assert not examined(StartsTwice()).safe

    def test_a_store_that_accepts_no_form_of_etag_has_none(self) -> None:
        """There is no form to send, so there is none to know."""
        assert examined(TakesNoEtag()).quoting is None
        assert not Diagnosis(checks=(), quoting=None).safe

    def test_a_store_whose_etags_never_change_is_unsafe(self) -> None:
        """What does not tell one document from the next guards nothing."""
        assert not examined(OneEtag()).safe

    def test_a_store_that_takes_no_first_write_is_refused(self) -> None:
        """It refuses to create what is not there, so no document can be started on it."""
        with contextlib.suppress(TrackerError):
            assert not examined(TakesNoFirst()).safe


class TestNoVerdict:
    """What cannot be examined is neither safe nor unsafe."""

    def test_a_store_that_never_answers_cannot_be_examined(self) -> None:
        """The error says that nothing was written."""
        store = FatefulStore(MemoryStore(), writes=[Fate.NOT_SENT] * 100)
        with pytest.raises(StoreError, match="could not be examined: connection refused; nothing was written"):
            examined(store)

    def test_a_refusal_is_told_as_it_is(self) -> None:
        """Without permission, say, the store is not at fault."""
        with pytest.raises(StoreError, match="ExpiredToken"):
            examined(FatefulStore(MemoryStore(), writes=[Fate.REFUSED]))

    def test_a_scratch_object_that_cannot_be_read_is_an_error(self) -> None:
        """What was written and is not there cannot be compared."""

        class ReadsNothing(MemoryStore):
            def read(self, key: str, *, unless: str | None = None, most: int | None = None) -> None:
                """Find nothing."""

        with pytest.raises(StoreError, match="was written and cannot be read"):
            examined(ReadsNothing())

    def test_a_store_that_takes_a_write_and_then_none_is_refused(self) -> None:
        """One that answers every further write with a conflict could not be recorded in."""
        writes = [Fate.ANSWERED] * 3 + [Fate.CONFLICT] * ROUNDS
        assert CHANGED == examined(FatefulStore(MemoryStore(), writes=writes)).failed

    def test_a_machine_that_cannot_start_the_writers_of_a_race_goes_without(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where threads are scarce the diagnosis says that nobody raced, and those that did start do not wait on."""
        start, started = threading.Thread.start, itertools.count()

        def scarce(thread: threading.Thread) -> None:
            if next(started) >= 3:
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", scarce)
        store, before = MemoryStore(), threading.active_count()
        diagnosis = examined(store)
        names = (FIRST, CREATE_ONLY, CURRENT, CHANGED, STALE, ABSENT)
        assert tuple(Check(name=name, passed=True) for name in names) == diagnosis.checks
        assert (True, False) == (diagnosis.safe, diagnosis.raced)
        assert ([], before) == (store.list(""), threading.active_count())


class TestTidiness:
    """What was tried is removed."""

    @pytest.mark.parametrize("refusal", [StoreError, Unanswered])
    def test_who_may_not_delete_can_still_examine(self, refusal: type[Exception]) -> None:
        """A few bytes are left behind, and the verdict stands."""

        class KeepsAll(MemoryStore):
            def delete(self, *keys: str) -> None:
                """Refuse to."""
                raise refusal(*keys)

        store = KeepsAll()
        assert examined(store).safe
        left = ["unique", *(f"unique-race-{number}" for number in range(RACES))]
        assert [f"_cf_tracker/probe/{name}" for name in left] == store.list("")

    def test_a_delete_without_an_answer_is_asked_again(self) -> None:
        """A passing failure leaves nothing behind."""

        class Forgets(CreatesUnderIfMatch):
            answers = iter([False])

            def delete(self, *keys: str) -> None:
                """Delete the objects, the second time."""
                if not next(self.answers, True):
                    raise Unanswered(keys[0])
                super().delete(*keys)

        store = Forgets()
        examined(store)
        assert [] == store.list("")

    def test_a_store_that_never_answers_is_not_cleaned_up_for_long(self) -> None:
        """Who has waited for an answer in vain does not wait for ten more."""
        asked: list[str] = []

        class Silent(MemoryStore):
            def delete(self, *keys: str) -> None:
                """Say nothing."""
                asked.extend(keys)
                raise Unanswered(keys[0])

        with pytest.raises(StoreError, match="could not be examined"):
            examined(FatefulStore(Silent(), writes=[Fate.LOST] * 100))
        assert len(asked) <= 2

    def test_an_examination_that_fails_leaves_nothing_either(self) -> None:
        """Nor does one that ends in an error."""
        memory = MemoryStore()
        writes = [Fate.ANSWERED] * 3 + [Fate.REFUSED]
        with pytest.raises(StoreError, match="ExpiredToken"):
            examined(FatefulStore(memory, writes=writes))
        assert [] == memory.list("")


class TestServers:
    """Real stores, over HTTP."""

    def test_the_embedded_store_is_safe(self, embedded: Server) -> None:
        """It takes ETags in the quotes in which it sends them."""
        diagnosis = connection_to(embedded).diagnose()
        assert (True, Quoting.AS_RECEIVED) == (diagnosis.safe, diagnosis.quoting)

    @pytest.mark.parametrize("seed", range(3))
    def test_a_bad_network_in_front_of_it_changes_nothing(self, embedded: Server, seed: int) -> None:
        """With every fifth request lost, answered with 409 or 5xx, or without an answer, it is still safe."""
        bad = (
            proxy.Fate.ANSWER_LOST,
            proxy.Fate.LOST_BEFORE,
            proxy.Fate.CONFLICT_409,
            proxy.Fate.ERROR_500,
            proxy.Fate.APPLIED_500,
            proxy.Fate.SLOW_DOWN_503,
        )
        with FaultyProxy(embedded.endpoint_url, proxy.mix(dict.fromkeys(bad, 1 / 30), seed=seed)) as between:
            access = access_to(embedded, endpoint_url=between.endpoint_url)
            diagnosis = Connection(access, patience=Patience(first=0.001)).diagnose()
        assert "" == diagnosis.failed
        assert diagnosis.safe

    @pytest.mark.ceph
    def test_ceph_is_safe_with_bare_etags(self, ceph: Server) -> None:
        """It compares what is sent with the bare ETag, and answers 412 for ever to a quoted one."""
        diagnosis = connection_to(ceph).diagnose()
        assert (True, Quoting.UNQUOTED) == (diagnosis.safe, diagnosis.quoting)

    @pytest.mark.ceph
    def test_ceph_is_unsafe_where_it_keeps_versions(self, ceph: Server) -> None:
        """In such a bucket release 16 takes a create-only write onto an object, and refuses every ETag."""
        make_bucket(ceph, "versioned")
        with contextlib.closing(open_client(access_to(ceph, "versioned"))) as client:
            client.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
        assert CREATE_ONLY == connection_to(ceph, "versioned").diagnose().failed


@pytest.fixture(
    scope="module", params=[(running_rclone, CREATE_ONLY), (running_localbucket, STALE)], ids=["rclone", "localbucket"]
)
def unsafe(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """Give a store that ignores conditions, and what it fails. In CI, that it cannot be fetched is a failure."""
    run: Callable[..., AbstractContextManager[Server]] = request.param[0]
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(run(tmp_path_factory.mktemp("unsafe"), cache=CACHE))
        except ServerError as error:
            if IN_CI or "was not downloaded" not in str(error):
                raise
            pytest.skip(str(error).splitlines()[0])
        make_bucket(server, "raw")
        yield server, request.param[1]


class TestUnsafeServers:
    """Real stores that answer 200 to a write whose condition does not hold."""

    def test_they_are_found_out(self, unsafe: tuple[Server, str]) -> None:
        """The examination names the check that they fail."""
        server, failed = unsafe
        diagnosis = connection_to(server).diagnose()
        assert (False, failed) == (diagnosis.safe, diagnosis.failed)

    def test_the_first_recording_is_refused_and_nothing_is_written(self, unsafe: tuple[Server, str]) -> None:
        """Nothing but scratch objects is ever sent there, and they are gone afterwards."""
        server, failed = unsafe
        written: list[str] = []

        def note(seen: Seen) -> proxy.Fate:
            if seen.method == "PUT":
                written.append(seen.path)
            return proxy.Fate.ANSWERED

        with FaultyProxy(server.endpoint_url, note) as between:
            connection = Connection(access_to(server, endpoint_url=between.endpoint_url))
            with pytest.raises(UnsafeStoreError, match=f"conditional writes.*{failed}.*No document was written"):
                Tracker.over(connection).record("v", "t", "f", "a.zip", file_size=1, s3_location="s3://raw/a.zip")
            assert [] == connection.store.list("")
        assert written
        assert all(path.startswith("/raw/_cf_tracker/probe/") for path in written)
