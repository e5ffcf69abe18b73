"""Group commit: threads that record into one document share commits, and nobody pays for another's misfortune."""

import json
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import count
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.deadline import run_until
from cf_data_tracker.document import Document
from cf_data_tracker.engine import group_commit as under_test
from cf_data_tracker.engine.combine import MAX_BYTES, MAX_OWN, RecordSpec
from cf_data_tracker.engine.group_commit import GroupCommit
from cf_data_tracker.errors import (
    ContentionError,
    DocumentError,
    DocumentVanishedError,
    InvalidNameError,
    OutcomeUnknownError,
    StoreError,
    TrackerError,
)
from cf_data_tracker.model import NewFile, Recording
from cf_data_tracker.settings import Access
from cf_data_tracker.stats import Stats
from cf_data_tracker.store import Replacing, Written
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker, raw_record_spec
from conftest import connection_to
from interrupting import raised_at
from servers.server import Server

if TYPE_CHECKING:
    from cf_data_tracker.model import Recorded

LONG: Final = 20.0
"""Seconds after which a test that hangs is given up."""


class Interrupted(BaseException):
    """What Ctrl-C is to a thread of a test."""


@dataclass(frozen=True, slots=True)
class Note:
    """A recording."""

    recorded_by: str
    text: object = ""


@dataclass(frozen=True, slots=True)
class Noted:
    """What came of it."""

    recorded_by: str
    created: bool = True


Notes: TypeAlias = Sequence[Note]
NoteLedger: TypeAlias = RecordSpec[Note, Noted]
NoteBatch: TypeAlias = GroupCommit[Note, Noted]
Promised: TypeAlias = "Future[Sequence[Noted]]"
Way: TypeAlias = Callable[[Callable[[], Sequence[Noted]]], Sequence[Noted]]


def no_rule(document: Document | None, notes: Notes) -> tuple[Document | None, Sequence[Noted]]:
    """Stand in for a rule: the commits of these tests apply none."""
    return document, noted(*(note.recorded_by for note in notes))


LEDGER: Final[NoteLedger] = RecordSpec(
    key="notes.json",
    parse=json.loads,
    record=no_rule,
    to_json=lambda note: note.text,
    from_json=lambda value: Note(str(value)),
)


def notes(*ids: str, text: object = "") -> Notes:
    """Return recordings with these ids."""
    return [Note(name, text) for name in ids]


def noted(*ids: str) -> Sequence[Noted]:
    """Return what comes of them."""
    return [Noted(name) for name in ids]


class Commits:
    """Commits to a document that a test sees begin, and lets end as it likes: `held`, or at once.

    Attributes:
        carried: The ids that each commit carried, in the order in which they began.
        leaders: The threads that led them.
        failures: What to raise where one of these ids is carried.
    """

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.carried: list[list[str]] = []
        self.leaders: list[int] = []
        self.failures: dict[str, BaseException] = {}
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()

    def __call__(self, ledger: NoteLedger, recordings: Notes) -> Sequence[Noted]:
        """Commit, once the test lets it."""
        assert ledger is LEDGER
        ids = [note.recorded_by for note in recordings]
        self.leaders.append(threading.get_ident())
        self.carried.append(ids)
        ending = self._ends.get(timeout=LONG) if self.held else None
        failures = [self.failures[name] for name in ids if name in self.failures]
        for error in (ending, *failures[:1]):
            if error is not None:
                raise error
        return noted(*ids)

    def end(self, error: BaseException | None = None) -> None:
        """Let the commit in flight, or the next one, end, perhaps with an error."""
        self._ends.put(error)

    def let_go(self) -> None:
        """Let the commit in flight end, and every one after it."""
        self.held = False
        self.end()

    def begun(self, number: int) -> None:
        """Wait until so many have begun."""
        until(lambda: len(self.carried) >= number)


def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, which it must."""
    pause = threading.Event()
    for _ in range(int(LONG / 0.001)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it has not come true")


def queued(batch: NoteBatch) -> int:
    """Return how many wait or are carried."""
    return len(batch._queue)  # noqa: SLF001 - a thread that waits is to be seen nowhere else


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Give threads."""
    with ThreadPoolExecutor(max_workers=16) as threads:
        yield threads


class Scene:
    """Threads that record into one document, one coming after the other."""

    def __init__(self, pool: ThreadPoolExecutor, commits: Commits, seconds: float = LONG) -> None:
        self.commits = commits
        self.batch: NoteBatch = GroupCommit(commits, seconds)
        self._pool = pool

    def comes(self, *ids: str, text: object = "", how: Way = lambda act: act()) -> Promised:
        """Let a thread come with recordings, and wait until it stands in the queue."""
        before = queued(self.batch)
        promised = self.sent(*ids, text=text, how=how)
        until(lambda: queued(self.batch) > before or promised.done())
        return promised

    def sent(self, *ids: str, text: object = "", how: Way = lambda act: act()) -> Promised:
        """Let a thread come with recordings, whenever it will."""
        return self._pool.submit(how, lambda: self.batch.commit(LEDGER, notes(*ids, text=text)))

    def leads(self, *ids: str, text: object = "") -> Promised:
        """Let a thread come whose commit begins at once, and wait until it has."""
        number = len(self.commits.carried)
        promised = self.sent(*ids, text=text)
        self.commits.begun(number + 1)
        return promised

    def is_interrupted(self, meanwhile: Callable[[], None]) -> None:
        """Commit as the third, in this thread; another, which interrupts it, begins once it stands in the queue."""

        def then() -> None:
            until(lambda: queued(self.batch) == 3)
            meanwhile()

        helping = threading.Thread(target=then)
        helping.start()
        with pytest.raises(Interrupted):
            self.batch.commit(LEDGER, notes("ours"))
        helping.join()


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Give what interrupts the main thread, as Ctrl-C does."""

    def interrupted(*_: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, interrupted)
    yield lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def scene(pool: ThreadPoolExecutor) -> Scene:
    """Give commits that last until the test ends them."""
    return Scene(pool, Commits(held=True))


def ids_of(promised: Promised) -> list[str]:
    """Return whose outcomes a thread was given."""
    return [outcome.recorded_by for outcome in promised.result(LONG)]


def error_of(promised: Promised) -> BaseException:
    """Return what a thread was told went wrong."""
    error = promised.exception(LONG)
    assert error is not None
    return error


class TestSharing:
    """Who comes while a commit is in flight shares the next one."""

    def test_a_thread_that_comes_alone_commits_at_once(self) -> None:
        """With nobody to share with, a commit carries the recordings of one."""
        commits = Commits()
        batch: NoteBatch = GroupCommit(commits, LONG)
        assert noted("a", "b") == batch.commit(LEDGER, notes("a", "b"))
        assert noted("c") == batch.commit(LEDGER, notes("c"))
        assert [["a", "b"], ["c"]] == commits.carried

    def test_who_comes_during_a_commit_shares_the_next_one(self, scene: Scene) -> None:
        """However many come, in the order in which they came."""
        first = scene.leads("a")
        others = [scene.comes(name) for name in "bcdef"]
        scene.commits.end()
        scene.commits.end()
        assert ["a"] == ids_of(first)
        wait(others, LONG)
        assert [["a"], ["b", "c", "d", "e", "f"]] == scene.commits.carried

    def test_everybody_is_told_what_came_of_their_own(self, scene: Scene) -> None:
        """Each has as many outcomes as recordings, in their order."""
        first = scene.leads("a")
        others = [scene.comes("b1", "b2", "b3"), scene.comes("c1"), scene.comes("d1", "d2")]
        scene.commits.end()
        scene.commits.end()
        assert ["a"] == ids_of(first)
        assert [["b1", "b2", "b3"], ["c1"], ["d1", "d2"]] == [ids_of(other) for other in others]

    def test_a_leader_leads_once(self, scene: Scene) -> None:
        """It is let go when its commit is done, whoever waits by then."""
        scene.leads("a")
        second, third = scene.comes("b"), scene.comes("c")
        scene.commits.end()
        scene.commits.begun(2)
        scene.comes("d")
        scene.comes("e")
        scene.commits.end()
        assert (["b"], ["c"]) == (ids_of(second), ids_of(third))
        scene.commits.begun(3)
        scene.commits.end()
        assert [["a"], ["b", "c"], ["d", "e"]] == scene.commits.carried

    def test_whoever_has_waited_longest_leads(self, scene: Scene) -> None:
        """There is no thread of our own, and no other is kept from its work."""
        threads = []

        def noted_down(act: Callable[[], Sequence[Noted]]) -> Sequence[Noted]:
            threads.append(threading.get_ident())
            return act()

        scene.leads("a")
        others = [scene.comes(name, how=noted_down) for name in "bcd"]
        scene.commits.let_go()
        wait(others, LONG)
        assert threads[0] == scene.commits.leaders[1]

    def test_a_leader_waits_for_those_who_come_back(
        self, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As many as the last commit carried are waited for, so that threads in step stay in step."""
        scene = Scene(pool, Commits(held=True))
        scene.leads("a")
        both = scene.comes("b"), scene.comes("c")
        monkeypatch.setattr(under_test, "COMPANY", LONG)
        for _ in range(2):
            scene.commits.end()
        wait(both, LONG)
        again = scene.comes("d"), scene.comes("e")
        scene.commits.end()
        wait(again, LONG)
        assert [["a"], ["b", "c"], ["d", "e"]] == scene.commits.carried

    def test_a_leader_does_not_wait_long_for_those_who_do_not(self, scene: Scene) -> None:
        """One that comes alone after many is not held up by their staying away, nor is the one after it."""
        scene.leads("a")
        others = [scene.comes(name) for name in "bcd"]
        for _ in range(4):
            scene.commits.end()
        wait(others, LONG)
        assert ["e"] == ids_of(scene.sent("e"))
        assert ["f"] == ids_of(scene.sent("f"))
        assert [["a"], ["b", "c", "d"], ["e"], ["f"]] == scene.commits.carried


class TestBounds:
    """One commit carries so much, and not more."""

    def test_recordings_are_bounded(self, scene: Scene) -> None:
        """Those beyond the bound are carried by the next commit; nobody overtakes."""
        size = MAX_OWN // 2
        scene.leads("a")
        many = [scene.comes(*(f"{thread}-{number}" for number in range(size))) for thread in "bcd"]
        many.append(scene.comes("e"))
        for _ in range(3):
            scene.commits.end()
        wait(many, LONG)
        assert [1, 2 * size, size + 1] == [len(ids) for ids in scene.commits.carried]
        assert "d-0" == scene.commits.carried[2][0]

    def test_bytes_are_bounded(self, scene: Scene) -> None:
        """As JSON: that is what the document grows by."""
        scene.leads("a")
        large = [scene.comes(name, text="x" * (MAX_BYTES // 2 - 2)) for name in "bcd"]
        for _ in range(3):
            scene.commits.end()
        wait(large, LONG)
        assert [["a"], ["b", "c"], ["d"]] == scene.commits.carried

    @pytest.mark.parametrize(("number", "text"), [(MAX_OWN + 1, ""), (1, "x" * MAX_BYTES)])
    def test_one_that_is_larger_goes_alone(self, scene: Scene, number: int, text: str) -> None:
        """What one thread records is one commit, however large; those who wait go before it or after it."""
        scene.leads("a")
        before = scene.comes("b")
        large = scene.comes(*(f"{number}" for number in range(number)), text=text)
        after = scene.comes("c")
        for _ in range(4):
            scene.commits.end()
        assert number == len(large.result(LONG))
        assert (["b"], ["c"]) == (ids_of(before), ids_of(after))
        assert [1, 1, number, 1] == [len(ids) for ids in scene.commits.carried]


class TestErrors:
    """An error goes to the recordings that it belongs to."""

    @pytest.mark.parametrize(
        "error",
        [
            StoreError("ExpiredToken"),
            ContentionError("others kept winning"),
            OutcomeUnknownError("it may have landed"),
            DocumentVanishedError("it is gone"),
            DocumentError("tables[0]", "expected an object", "s3://raw/notes.json"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_is_nobodys_fault_is_told_to_each(self, scene: Scene, error: TrackerError) -> None:
        """As an object of its own, since several threads will raise it, with its cause; and it is not tried again."""
        error.__cause__ = OSError("no route to host")
        scene.leads("a")
        others = [scene.comes(name) for name in "bcd"]
        scene.commits.end()
        scene.commits.end(error)
        told = [error_of(other) for other in others]
        assert [(type(error), str(error), error.__cause__)] * 3 == [(type(e), str(e), e.__cause__) for e in told]
        assert 4 == len({id(e) for e in (error, *told)})
        assert [["a"], ["b", "c", "d"]] == scene.commits.carried

    @pytest.mark.parametrize(
        "error",
        [
            ValueError("the rule does not take it"),
            TypeError("it is not JSON"),
            DocumentError("", "cannot be written: a number is too long"),
            InvalidNameError("it has no name"),
        ],
        ids=lambda error: type(error).__name__,
    )
    @pytest.mark.parametrize("place", range(5))
    def test_one_bad_recording_spoils_nobodys(self, scene: Scene, error: Exception, place: int) -> None:
        """Who brought it is told; whatever the others brought is in the document, once."""
        bad = "bcdef"[place]
        scene.leads("a")
        others = {name: scene.comes(name) for name in "bcdef"}
        scene.commits.failures = {bad: error}
        scene.commits.let_go()
        assert error is error_of(others.pop(bad))
        assert list(others) == [name for other in others.values() for name in ids_of(other)]
        landed = [ids for ids in scene.commits.carried if bad not in ids]
        assert sorted("abcdef".replace(bad, "")) == sorted(name for ids in landed for name in ids)

    def test_a_bad_recording_among_many_costs_few_commits(self, scene: Scene) -> None:
        """The commit is halved until it stands alone, which takes about as many as the number has binary digits."""
        scene.leads("a")
        others = [scene.comes(f"{number}") for number in range(15)]
        scene.commits.failures = {"7": ValueError("bad")}
        scene.commits.let_go()
        wait(others, LONG)
        assert 14 == sum(other.exception(LONG) is None for other in others)
        assert 10 >= len(scene.commits.carried)

    def test_several_bad_recordings_are_told_each_their_own(self, scene: Scene) -> None:
        """Whatever is wrong with each."""
        scene.leads("a")
        others = {name: scene.comes(name) for name in "bcde"}
        wrong: dict[str, BaseException] = {"b": ValueError("bad"), "d": KeyError("worse"), "e": StoreError("refused")}
        scene.commits.failures = wrong
        scene.commits.let_go()
        assert ["c"] == ids_of(others["c"])
        assert list(map(repr, wrong.values())) == [repr(error_of(others[name])) for name in wrong]

    def test_what_is_no_json_is_for_the_commit_to_refuse(self) -> None:
        """How large it is cannot be said, and need not be."""
        commits = Commits()
        batch: NoteBatch = GroupCommit(commits, LONG)
        assert noted("a") == batch.commit(LEDGER, notes("a", text=object()))

    def test_an_error_ends_one_commit(self, scene: Scene) -> None:
        """Those who come after it commit as if nothing had been."""
        failed = scene.leads("a")
        after = scene.comes("b")
        scene.commits.end(StoreError("refused"))
        scene.commits.end()
        assert isinstance(error_of(failed), StoreError)
        assert ["b"] == ids_of(after)


class TestTime:
    """A thread waits for the commits before its own, though not for ever."""

    def test_a_thread_that_is_not_carried_in_time_gives_up(self, pool: ThreadPoolExecutor) -> None:
        """Others kept committing; nothing of it is written, then or later."""
        scene = Scene(pool, Commits(held=True), seconds=0.05)
        first = scene.leads("a")
        error = error_of(scene.sent("late"))
        assert isinstance(error, ContentionError)
        assert "other threads kept committing to notes.json; nothing was written, try later" == str(error)
        scene.commits.end()
        scene.commits.end()
        assert ["a"] == ids_of(first)
        assert ["b"] == ids_of(scene.sent("b"))
        assert [["a"], ["b"]] == scene.commits.carried

    def test_a_thread_that_gave_up_is_not_carried_on_its_way_out(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has said that nothing was written, so whoever leads just then leaves it out."""
        leave = scene.batch._leave  # noqa: SLF001 - that moment is not to be hit otherwise

        def leave_slowly(member: Any) -> None:  # noqa: ANN401 - it has no public name
            if member.recordings[0].recorded_by == "late" and len(scene.commits.carried) == 1:
                scene.commits.end()
                scene.commits.begun(2)
            leave(member)

        monkeypatch.setattr(scene.batch, "_leave", leave_slowly)
        scene.leads("a")
        second = scene.comes("b")
        monkeypatch.setattr(scene.batch, "_seconds", 0.01)
        assert isinstance(error_of(scene.sent("late")), ContentionError)
        scene.commits.end()
        assert ["b"] == ids_of(second)
        assert [["a"], ["b"]] == scene.commits.carried

    def test_those_behind_one_that_gave_up_are_carried(self, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        """The next leader is the first who still waits."""
        first = scene.leads("a")
        monkeypatch.setattr(scene.batch, "_seconds", 0.05)
        late = scene.sent("late")
        assert isinstance(error_of(late), ContentionError)
        monkeypatch.setattr(scene.batch, "_seconds", LONG)
        second = scene.comes("b")
        scene.commits.end()
        scene.commits.end()
        assert (["a"], ["b"]) == (ids_of(first), ids_of(second))

    @pytest.mark.parametrize("interrupted", [False, True])
    def test_a_thread_that_is_carried_waits_for_that(
        self, scene: Scene, monkeypatch: pytest.MonkeyPatch, *, interrupted: bool
    ) -> None:
        """Its time being up, it may be written already: that commit has an end, and if it is interrupted, another."""
        woken = under_test._Member.woken  # noqa: SLF001 - the moment when time is up is not to be hit otherwise

        def out_of_time(member: Any, seconds: float | None) -> bool:  # noqa: ANN401 - it has no public name
            if seconds is None or member.recordings[0].recorded_by != "c":
                return woken(member, seconds)
            until(lambda: member.carried)
            return False

        monkeypatch.setattr(under_test._Member, "woken", out_of_time)  # noqa: SLF001 - as above
        scene.leads("a")
        second, third = scene.comes("b"), scene.comes("c")
        scene.commits.end()
        scene.commits.begun(2)
        scene.commits.end(Interrupted() if interrupted else None)
        scene.commits.end()
        assert interrupted == isinstance(second.exception(LONG), Interrupted)
        assert ["c"] == ids_of(third)


class TestInterrupts:
    """Ctrl-C, or whatever ends a thread where it stands."""

    def test_an_interrupted_leader_leaves_the_others_to_the_next(self, scene: Scene) -> None:
        """It is told for itself alone, and what it brought is not carried on."""
        scene.leads("a")
        leader, others = scene.comes("b"), [scene.comes("c"), scene.comes("d")]
        scene.commits.end()
        scene.commits.end(Interrupted())
        scene.commits.end()
        assert isinstance(error_of(leader), Interrupted)
        assert [["c"], ["d"]] == [ids_of(other) for other in others]
        assert [["a"], ["b", "c", "d"], ["c", "d"]] == scene.commits.carried

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (StoreError("refused; nothing was written"), OutcomeUnknownError),
            (ContentionError("others won; nothing was written"), OutcomeUnknownError),
            (DocumentError("", "rubbish", "s3://raw/notes.json"), OutcomeUnknownError),
            (OutcomeUnknownError("no answer"), OutcomeUnknownError),
            (DocumentVanishedError("gone"), DocumentVanishedError),
            (ValueError("bad"), ValueError),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_whom_it_carried_is_not_told_that_nothing_was_written(
        self, scene: Scene, error: Exception, told: type[Exception]
    ) -> None:
        """Its write may have landed, whatever the next commit ends in; who comes later has nothing to doubt."""
        scene.leads("a")
        scene.comes("b")
        carried = scene.comes("c")
        scene.commits.end()
        scene.commits.begun(2)
        later = scene.comes("d")
        scene.commits.end(Interrupted())
        for _ in range(3):
            scene.commits.end(error)
        assert told is type(error_of(carried))
        assert type(error) is type(error_of(later))
        assert str(error) == str(error_of(later))

    def test_what_an_interrupted_leader_got_done_is_done(self, scene: Scene) -> None:
        """Where it was looking for a bad recording, who has an answer is let go with it."""
        scene.leads("a")
        others = {name: scene.comes(name) for name in "bcde"}
        scene.commits.end()
        scene.commits.end(ValueError("b, c, d or e is bad"))
        scene.commits.end()  # b and c are not
        scene.commits.end(Interrupted())  # while d and e are looked at
        scene.commits.end()
        assert isinstance(error_of(others["b"]), Interrupted)
        assert [["c"], ["d"], ["e"]] == [ids_of(others[name]) for name in "cde"]
        assert [["b", "c"], ["d", "e"], ["d", "e"]] == scene.commits.carried[2:]

    def test_an_interrupted_leader_in_front_of_nobody_leaves_nothing_behind(self, scene: Scene) -> None:
        """The next thread commits at once."""
        leader = scene.leads("a")
        scene.commits.end(Interrupted())
        assert isinstance(error_of(leader), Interrupted)
        scene.commits.end()
        assert ["b"] == ids_of(scene.sent("b"))

    @pytest.mark.parametrize("carried", [False, True])
    def test_a_thread_that_is_interrupted_while_it_waits_leaves_nothing_behind(
        self, scene: Scene, interrupt: Callable[[], None], *, carried: bool
    ) -> None:
        """Neither its recordings, unless a commit carries them already, nor a place in the queue."""
        scene.leads("a")
        second = scene.comes("b")

        def meanwhile() -> None:
            if carried:
                scene.commits.end()
                scene.commits.begun(2)
            interrupt()

        scene.is_interrupted(meanwhile)
        for _ in range(3):
            scene.commits.end()
        assert ["b"] == ids_of(second)
        assert ["c"] == ids_of(scene.sent("c"))
        assert [["a"], ["b", "ours"] if carried else ["b"], ["c"]] == scene.commits.carried
        assert 0 == queued(scene.batch)

    def test_an_interrupted_one_that_was_carried_by_an_interrupted_one_is_let_go(
        self, scene: Scene, interrupt: Callable[[], None]
    ) -> None:
        """Nobody waits there any more, so it is not the one to lead next."""
        scene.leads("a")
        leader = scene.comes("b")

        def meanwhile() -> None:
            scene.comes("d")
            scene.commits.end()
            scene.commits.begun(2)
            interrupt()

        scene.is_interrupted(meanwhile)
        scene.commits.end(Interrupted())
        scene.commits.end()
        assert isinstance(error_of(leader), Interrupted)
        scene.commits.begun(3)
        assert [["a"], ["b", "ours", "d"], ["d"]] == scene.commits.carried

    @pytest.mark.parametrize("role", ["alone", "leads", "is carried"])
    def test_wherever_a_thread_is_interrupted_the_others_go_on(
        self, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, role: str
    ) -> None:
        """At each line that it runs here: everybody else is told of their own, and whoever comes next commits."""
        monkeypatch.setattr(under_test, "COMPANY", 0.001)
        for step in count():
            scene = Scene(pool, Commits(held=True))
            others = [] if role == "alone" else [scene.leads("a")]
            others += [scene.comes("b")] if role == "is carried" else []
            ours = scene.comes("ours", how=partial(interrupted, step))
            others += [scene.comes("c")] if role == "leads" else []
            scene.commits.let_go()
            wait([ours], LONG)
            assert ["a", "b" if role == "is carried" else "c"][: len(others)] == [ids_of(other)[0] for other in others]
            assert (["y"], ["z"]) == (ids_of(scene.sent("y")), ids_of(scene.sent("z")))
            if ours.exception() is None:
                break
        assert step > 30

    @pytest.mark.parametrize("seed", range(20))
    def test_whatever_goes_wrong_nobody_hangs_and_nothing_is_mixed_up(self, seed: int) -> None:
        """Threads that come and go at random, with bad recordings, refusals, interrupts and little time."""
        chance, problems = random.Random(seed), []

        def commit(_: NoteLedger, recordings: Notes) -> Sequence[Noted]:
            threading.Event().wait(0.001 * chance.random())
            raised: list[BaseException] = [note.text for note in recordings if isinstance(note.text, Exception)]
            raised += [error for error in (StoreError("refused"), Interrupted()) if chance.random() < 0.05]
            for error in raised[:1]:
                raise error
            return noted(*(note.recorded_by for note in recordings))

        batch: NoteBatch = GroupCommit(commit, 0.02 if seed % 2 else LONG)

        def work(thread: int) -> None:
            for number in range(20):
                bad = ValueError("bad") if chance.random() < 0.05 else None
                ours = [Note(f"{thread}-{number}-{place}", bad) for place in range(chance.randint(1, 3))]
                try:
                    if [note.recorded_by for note in ours] != [done.recorded_by for done in batch.commit(LEDGER, ours)]:
                        problems.append("somebody was given the outcomes of others")
                except (Interrupted, StoreError, ContentionError, OutcomeUnknownError):
                    pass
                except ValueError as error:
                    if error is not bad:
                        problems.append("somebody was given the error of others")

        together(8, work)
        assert [] == problems
        assert 0 == queued(batch)


class TestManyThreads:
    """What it is for: the more threads, the more recordings in a commit."""

    FILES: Final = 1_000
    COMMITS: Final = 40

    def test_a_thousand_files_take_few_commits(self) -> None:
        """Sixty-four threads share them, whatever the store takes for each; none is lost, and none is there twice."""
        tracker = Tracker.over(Connection(Access(bucket="raw"), store=Slow()))
        self._check(tracker, "vitals")

    def test_a_thousand_files_take_few_commits_over_a_server(self, embedded: Server, schema: str) -> None:
        """As in memory."""
        self._check(Tracker.over(connection_to(embedded)), schema)

    def _check(self, tracker: Tracker, schema: str) -> None:
        files = [f"{number}.zip" for number in range(self.FILES)]
        outcomes: list[Recorded] = []
        start = threading.Barrier(64)

        def work(thread: int) -> None:
            start.wait(LONG)
            for file in files[thread::64]:
                done = tracker.record(schema, "births", "FY2023", file, file_size=1, s3_location=f"s3://raw/{file}")
                outcomes.append(done)

        together(64, work)
        history = tracker.history(schema, "births", "FY2023")
        assert list(range(1, self.FILES + 1)) == [version.version for version in history]
        assert {(file, True) for file in files} == {(done.file, done.created) for done in outcomes}
        assert {(version.file, version.version) for version in history} == {(one.file, one.version) for one in outcomes}
        self._check_cost(tracker.stats)

    def _check_cost(self, stats: Stats) -> None:
        assert self.COMMITS >= stats.commits
        assert (stats.commits, 0) == (stats.requests["write"], stats.conflicts)


class Slow(MemoryStore):
    """A store that takes a few milliseconds for a write."""

    def write(self, key: str, body: bytes, *, replacing: Replacing, waiting: int = 0) -> Written:
        """Put the object, in a while."""
        threading.Event().wait(0.005)
        return super().write(key, body, replacing=replacing, waiting=waiting)


def together(number: int, act: Callable[[int], object]) -> None:
    """Do something in many threads at once, none of which may fail or hang."""
    with ThreadPoolExecutor(max_workers=number) as threads:
        for done in [threads.submit(act, thread) for thread in range(number)]:
            done.result(LONG)


def interrupted(step: int, act: Callable[[], Sequence[Noted]]) -> Sequence[Noted]:
    """Do something, and be interrupted at one of the lines that this thread runs in the module under test."""
    return raised_at(step, act, under_test, error=Interrupted)


@pytest.mark.parametrize("error", [ContentionError("others"), OutcomeUnknownError("in doubt")])
def test_a_member_with_time_left_is_left_to_the_next_leader(error: Exception) -> None:
    """A commit ends with the call of its leader; one that came later has more time, and is committed by another."""
    queued, carried = threading.Event(), []

    def commit(_ledger: object, recordings: Sequence[Any]) -> Sequence[Any]:
        carried.append([one.new.file for one in recordings])
        if len(carried) == 1:
            assert queued.wait(20)
        if len(carried) == 2:
            raise error
        return [one.new.file for one in recordings]

    batch: GroupCommit[Any, Any] = GroupCommit(commit, 20.0)

    def call(ends: float, file: str) -> object:
        new = NewFile(schema="vitals", table="t", file_name="f", file=file, file_size=1, s3_location="s3://raw/a")
        recordings = [Recording(new=new, recorded_by=file)]
        return run_until(ends, lambda: batch.commit(raw_record_spec("vitals"), recordings))

    with ThreadPoolExecutor() as threads:
        threads.submit(call, 100.0, "first")
        until(lambda: bool(carried))
        short = threads.submit(call, 10.0, "short")
        until(lambda: len(batch._queue) == 2)  # noqa: SLF001 - nobody else knows who waits
        long = threads.submit(call, 100.0, "long")
        until(lambda: len(batch._queue) == 3)  # noqa: SLF001 - as above
        queued.set()
        with pytest.raises(type(error)):
            short.result(20)
        assert ["long"] == long.result(20)
    assert [["first"], ["short", "long"], ["long"]] == carried
