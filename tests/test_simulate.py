"""The simulation: virtual time is exact and repeatable, and the engine keeps its promises in it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from cf_data_tracker.store import Conflict, Unanswered
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stress.latency import PROFILES

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import simulate as script
from virtual.figures import Bound, Figures, Row
from virtual.s3 import SLOW_DOWN_SECONDS, VirtualS3
from virtual.scenarios import FLOORS, SECTIONS
from virtual.workers import Run, Scenario, simulate
from virtual.world import World

COMBINING = Scenario(name="combining", strategy="combining", workers=16, seconds=5)
PLAIN = replace(COMBINING, name="plain", strategy="cas")


@pytest.fixture
def world() -> Iterator[World]:
    """Give a world, and end it."""
    with closing(World(1)) as world:
        yield world


def figures(scenario: Scenario, seed: int = 1) -> Figures:
    """Return the figures of one run."""
    return Figures(scenario, [simulate(scenario, seed)])


def gave(run: Run) -> Run:
    """Return what a run gave, but for what it took to compute."""
    return replace(run, cpu_seconds=0.0)


# the world


def test_time_passes_as_told(world: World) -> None:
    """Whoever sleeps goes on at that moment, the first one first; nobody else waits for it."""
    seen: list[tuple[str, float]] = []

    def work(name: str, seconds: float) -> Callable[[], None]:
        def life() -> None:
            for _ in range(2):
                world.sleep(seconds)
                seen.append((name, world.now))

        return life

    world.start(work("slow", 10.0))
    world.start(work("quick", 4.0), at=1.0)
    world.run(100.0)
    assert [("quick", 5.0), ("quick", 9.0), ("slow", 10.0), ("slow", 20.0)] == seen


def test_a_run_ends_at_its_time(world: World) -> None:
    """What is to happen later has not happened, and goes on in the next run."""
    seen: list[float] = []
    world.start(lambda: seen.append(world.now), at=7.0)
    world.run(5.0)
    assert (5.0, []) == (world.now, seen)
    world.run(10.0)
    assert [7.0] == seen


def test_a_task_runs_beside_its_beginner(world: World) -> None:
    """Work and a task beside it take the longer of their times, not the sum."""
    ended: list[tuple[str, float]] = []

    def task() -> str:
        world.sleep(3.0)
        return "result"

    def life() -> None:
        answer = world.spawn(task)
        world.sleep(2.0)
        ended.append((answer(), world.now))

    world.start(life)
    world.run(100.0)
    assert [("result", 3.0)] == ended


def test_a_result_that_is_there_already_is_not_waited_for(world: World) -> None:
    """Asking for the result of a task that has ended takes no time, however often."""
    ended: list[tuple[int, int, float]] = []

    def life() -> None:
        answer = world.spawn(lambda: 7)
        world.sleep(2.0)
        ended.append((answer(), answer(), world.now))

    world.start(life)
    world.run(100.0)
    assert [(7, 7, 2.0)] == ended


def test_the_error_of_a_task_is_raised_where_its_result_is_asked_for(world: World) -> None:
    """A task that fails beside its beginner fails there."""
    seen: list[str] = []

    def task() -> None:
        raise LookupError("lost")

    def life() -> None:
        answer = world.spawn(task)
        world.sleep(1.0)
        with pytest.raises(LookupError, match="lost"):
            answer()
        seen.append("raised")

    world.start(life)
    world.run(100.0)
    assert ["raised"] == seen


def test_the_end_of_a_world_ends_everybody() -> None:
    """Who waits when the world ends is ended there, and cannot wait any more on its way out."""
    ending = World(1)
    seen: list[str] = []

    def life() -> None:
        try:
            ending.sleep_for_ever()
        finally:
            seen.append("ended")
            ending.sleep(1.0)
            seen.append("waited")

    ending.start(life)
    ending.run(1.0)
    ending.close()
    assert ["ended"] == seen


# S3 in it


def test_a_request_takes_its_time(world: World) -> None:
    """What S3 is asked takes as long as it was drawn to take, which is never nothing."""
    store = VirtualS3(world, MemoryStore(), PROFILES["s3"], limits=False)
    took: list[float] = []

    def life() -> None:
        for request in (
            lambda: store.write("a", b"1", replacing=None),
            lambda: store.read("a"),
            lambda: store.list(""),
        ):
            began = world.now
            request()
            took.append(world.now - began)

    world.start(life)
    world.run(100.0)
    assert 3 == len(took)
    assert all(0.005 < seconds < 1.0 for seconds in took)
    assert 1 == len(store.commits)


def test_of_two_writes_at_once_one_wins(world: World) -> None:
    """Of two conditional writes that are under way at the same time, the later in effect loses."""
    store = VirtualS3(world, MemoryStore(), PROFILES["s3"], limits=False)
    lost: list[str] = []

    def write(body: bytes) -> None:
        try:
            store.write("a", body, replacing=None)
        except Conflict:
            lost.append(body.decode())

    for body in (b"1", b"2"):
        world.start(lambda body=body: write(body))  # type: ignore[misc]
    world.run(100.0)
    assert 1 == len(lost)
    assert 1 == len(store.commits)


def test_beyond_its_limit_a_prefix_asks_for_less(world: World) -> None:
    """With limits, more requests at once than a tenth of a second's are refused, soon, and are not done."""
    memory = MemoryStore()
    store = VirtualS3(world, memory, PROFILES["s3"], limits=True)
    refused: list[tuple[bool, float]] = []

    def life(number: int) -> None:
        try:
            store.delete(*(f"{number}/{key}" for key in range(200)))
        except Unanswered as signal:
            refused.append((signal.slow, world.now))

    for number in range(10):
        world.start(lambda number=number: life(number))  # type: ignore[misc]
    world.run(100.0)
    assert 0 < len(refused) < 10
    assert len(refused) == store.slowed
    assert all(slow and at > SLOW_DOWN_SECONDS for slow, at in refused)


# runs


def test_a_seed_gives_the_same_run_again() -> None:
    """Two runs with one seed are equal in every moment; another seed gives another run."""
    scenario = replace(COMBINING, seconds=2)
    assert gave(simulate(scenario, 1)) == gave(simulate(scenario, 1))
    assert gave(simulate(scenario, 1)) != gave(simulate(scenario, 2))


@pytest.mark.parametrize("scenario", [COMBINING, PLAIN, replace(COMBINING, workers=0, arrivals=20.0)])
def test_a_run_keeps_the_promises(scenario: Scenario) -> None:
    """Every acknowledged recording is there once, numbers are dense, revisions are commits, and nobody fails."""
    run = simulate(scenario, 1)
    assert [] == [*run.violations, *run.failed, *run.unfinished]
    assert len(run.acknowledged) == run.versions
    assert 0 == run.left


def test_combining_is_faster_than_the_plain_loop() -> None:
    """At 16 workers it records more in the same time, with less waiting."""
    combining, plain = figures(COMBINING), figures(PLAIN)
    assert combining.recordings_per_second > 3 * plain.recordings_per_second
    assert combining.p99 < plain.p99


def test_the_dead_take_nothing_with_them() -> None:
    """Where workers die at any moment, what was acknowledged is there, and the others go on to the end."""
    run = simulate(replace(COMBINING, deaths=0.005), 1)
    assert 0 < run.died < 16
    assert [] == [*run.violations, *run.failed, *run.unfinished]
    assert max(ended for _, ended in run.acknowledged) > 5.0


def test_a_quiet_document_costs_one_request() -> None:
    """A worker that records now and then, alone, sends one request for each recording after its first."""
    quiet = figures(Scenario(name="quiet", strategy="combining", workers=1, pause=10.0, seconds=100))
    assert 10 == quiet.recordings
    assert 1.0 == quiet.requests_after_first


# figures


def test_figures_are_of_all_runs_together() -> None:
    """Runs are pooled; who was unfinished counts with the time so far; what ended late is not in the rate."""
    run = Run(
        acknowledged=[(0.0, 1.0), (1.0, 3.0), (9.0, 13.0)],
        unfinished=[8.0],
        failed=[],
        requests={"write": 6, "read": 3},
        requests_of_first=2,
        commits=[1.0, 3.0, 13.0],
        conflicts=3,
        slowed=0,
        versions=3,
        left=0,
        died=0,
        violations=[],
        cpu_seconds=0.0,
    )
    both = Figures(replace(PLAIN, seconds=10.0), [run, run])
    assert (0.2, 0.2) == (both.recordings_per_second, both.commits_per_second)
    assert (2.0, 8.0, 8.0) == (both.p50, both.p99, both.max)
    assert (3.0, 3.5, 1.0) == (both.requests_per_recording, both.requests_after_first, both.conflicts)
    assert 10.4 == pytest.approx(both.dollars_per_million)


def test_a_missed_floor_is_named() -> None:
    """A row names the bounds that do not hold, and those alone."""
    floor = [Bound(figure="recordings", shown="few", most=0), Bound(figure="recordings", shown="some", least=1)]
    scenario = replace(COMBINING, workers=1, seconds=1)
    assert ["few"] == Row(scenario=scenario, floor=floor, figures=figures(scenario)).missed


# the command line


def test_names_are_unique_and_floors_belong_to_them() -> None:
    """Each scenario has a name of its own, and no floor is left without one."""
    assert len(script.NAMES) == len(set(script.NAMES))
    floors = [scenario.name for section in SECTIONS for scenario, floor in section.entries if floor]
    assert len(FLOORS) == len(floors)


def test_tables_stand_between_their_marks() -> None:
    """What a page says before and after the figures stays, whatever stood between."""
    scenario = replace(COMBINING, workers=1, seconds=1)
    row = Row(scenario=scenario, floor=(), figures=figures(scenario))
    text = script.page(f"before\n{script.BEGIN}\nold\n{script.END}\nafter\n", [(SECTIONS[1], [row])])
    assert text.startswith(f"before\n{script.BEGIN}\n")
    assert text.endswith(f"{script.END}\nafter\n")
    assert "| 1 | combining | " in text
    assert "old" not in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--seeds", "1,x"], "expected numbers with commas between, got '1,x'"),
        (["--only", "combining-7"], "nothing is called 'combining-7': there are retrying-at-once, "),
        (["--markdown", "absent.md"], "'absent.md' has no lines"),
    ],
)
def test_a_bad_argument_is_refused(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong argument ends the run before it begins, and the message says what would be right."""
    with pytest.raises(SystemExit, match="2"):
        script.arguments(words)
    assert reason in capsys.readouterr().err


def test_arguments_choose() -> None:
    """Patterns choose scenarios by name, and `--quick` those of them that are quick."""
    names = {
        scenario.name
        for _, entries in script.chosen(script.arguments(["--only", "*-64,*-256", "--quick"]))
        for scenario, _ in entries
    }
    assert {"combining-64", "plain-64"} == names
