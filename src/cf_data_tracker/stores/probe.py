"""Does this store honour conditional writes, and which form of ETag does it want?

Some stores take `If-Match`, ignore it and answer 200; some let several writers win one race. On those nothing that
this library promises holds, so a store that is not AWS's own is examined before anything else is written to it: a
few scratch objects, one of them fought over by 32 writers at once. Every step is repeated until it is answered, so a
bad network is not taken for a bad store.

A race needs threads. Where none can be started (late in the life of a process, or with too many of them) the races are
left out, and the diagnosis says so.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Final

from cf_data_tracker.errors import DocumentVanishedError, ReadDeniedError, StoreError, TrackerError
from cf_data_tracker.names import probe_key
from cf_data_tracker.store import Conflict, Replacing, Store, Stored, Unanswered
from cf_data_tracker.stores.s3 import Quoting

RACERS: Final = 32
"""Writers in a race."""

RACES: Final = 3
"""Races of each kind; the first one opens the connections. Whether two writers meet in a store that locks nothing is a
matter of luck, so passing is evidence and no proof."""

ROUNDS: Final = 5
"""How often a step is tried that a passing 409 may spoil."""

Persist = Callable[[Callable[[], bool]], bool]
"""Calls until there is an answer: the engine's, which is the only one to retry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: What a safe store does.
        passed: Whether this one did.
    """

    name: str
    passed: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What the examination of a store found.

    Attributes:
        checks: What was tried, in order; the first that failed ended the examination.
        quoting: The form of ETag that the store accepts, or `None` if it accepts none.
        raced: Whether all checks could be tried; `False` where no threads could be started for the races.
    """

    checks: tuple[Check, ...]
    quoting: Quoting | None
    raced: bool = True

    @property
    def safe(self) -> bool:
        """Whether the store can be trusted with tracker documents."""
        return self.quoting is not None and all(check.passed for check in self.checks)

    @property
    def failed(self) -> str:
        """What the store does not do, in words; empty for a safe one."""
        return "; ".join(check.name for check in self.checks if not check.passed)


def examine(open_store: Callable[[Quoting], Store], persist: Persist, unique: str) -> Diagnosis:
    """Try a store and return what was found; the scratch objects are removed.

    Args:
        open_store: Gives the store with one form of ETag or the other.
        persist: Repeats a request until it is answered.
        unique: A name for the scratch objects that nobody else uses.

    Raises:
        StoreError: The store refused, or did not answer.
    """
    probe = _Probe(open_store, persist, probe_key(unique))
    tries = ROUNDS
    try:
        checks = tuple(_until_failed(probe.checks()))
    except Unanswered as signal:
        tries = 1  # who has waited for an answer in vain does not wait for many more
        raise StoreError(f"the store could not be examined: {signal}; nothing was written") from signal
    finally:
        probe.clean_up(tries)
    return Diagnosis(checks=checks, quoting=probe.quoting, raced=probe.raced)


def _until_failed(checks: Iterator[Check]) -> Iterator[Check]:
    for check in checks:
        yield check
        if not check.passed:
            return


class _NoThreadsError(Exception):
    """A thread could not be started."""


def _at_once(compete: Callable[[int], bytes | None]) -> list[bytes | None]:
    """Run all racers at one moment, and return their results.

    An executor would not do: it takes no more tasks once the main thread has ended.

    Raises:
        _NoThreadsError: There are not enough threads; no racer has run.
    """
    start, called_off = threading.Event(), threading.Event()
    results: list[Future[bytes | None]] = [Future() for _ in range(RACERS)]

    def race(racer: int) -> None:
        start.wait()
        if called_off.is_set():
            return
        try:
            results[racer].set_result(compete(racer))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            results[racer].set_exception(error)

    runs = [partial(copy_context().run, race, racer) for racer in range(RACERS)]  # each with the call's deadline
    threads = [threading.Thread(target=run, name="cf-data-tracker-probe") for run in runs]
    started: list[threading.Thread] = []
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        called_off.set()
        raise _NoThreadsError from error
    except BaseException:
        called_off.set()
        raise
    finally:
        start.set()
        for thread in started:
            thread.join()
    return [result.result() for result in results]


class _Probe:
    def __init__(self, open_store: Callable[[Quoting], Store], persist: Persist, key: str) -> None:
        self._open_store = open_store
        self._persist = persist
        self._key = key
        self._keys = {key: None}  # all that were written to, in order
        self._store = open_store(Quoting.AS_RECEIVED)
        self.quoting: Quoting | None = None
        self.raced = True

    def checks(self) -> Iterator[Check]:
        """Try one thing after the other."""
        with suppress(ReadDeniedError):  # so is a missing key answered where the caller may not list
            self._there(self._key)  # a wrong protocol, say, is told of a read at once, and of a write is in doubt
        yield Check(name="a create-only write is taken where nothing is", passed=self._create())
        yield Check(name="a create-only write onto an object is refused", passed=not self._takes(b"again", None))
        self.quoting = self._accepted_quoting()
        yield Check(name="a write that names the current ETag is taken", passed=self.quoting is not None)
        stale = self._etag()
        yield Check(name="a write changes the ETag", passed=self._changed(stale))
        yield Check(name="a write that names a stale ETag is refused", passed=not self._takes(b"stale", stale))
        yield Check(name="a write that names an ETag creates nothing", passed=not self._takes(b"none", stale, "-none"))
        try:
            yield Check(
                name=f"of {RACERS} writers at once that name one ETag, one wins",
                passed=self._one_wins(lambda _: (self._key, self._etag())),
            )
            yield Check(
                name=f"of {RACERS} writers at once that create one object, one wins",
                passed=self._one_wins(lambda number: (f"{self._key}-race-{number}", None)),
            )
        except _NoThreadsError:
            self.raced = False

    def clean_up(self, tries: int) -> None:
        """Remove the scratch objects; who may not delete leaves a few bytes behind."""
        for key in self._keys:
            for _ in range(tries):
                if self._removed(key):
                    break

    def _removed(self, key: str) -> bool:
        with suppress(Unanswered):
            with suppress(TrackerError):
                self._store.delete(key)
            return True
        return False

    def _create(self) -> bool:
        # Refused where nothing is, it gets several turns: it may be a passing 409.
        return any(self._takes(b"first", None) or self._there(self._key) is not None for _ in range(ROUNDS))

    def _takes(self, body: bytes, replacing: Replacing, suffix: str = "") -> bool:
        """Return whether the store takes a write."""
        key = self._key + suffix
        self._keys[key] = None

        def taken() -> bool:
            try:
                self._store.write(key, body, replacing=replacing)
            except (Conflict, DocumentVanishedError):
                return False
            return True

        return self._persist(taken)

    def _accepted_quoting(self) -> Quoting | None:
        # Each form gets several turns: a refusal may be a passing 409, and a form that works is taken at once.
        for quoting in list(Quoting) * ROUNDS:
            self._store = self._open_store(quoting)
            body = f"{quoting.value}".encode()
            if self._takes(body, self._etag()) or self._body() == body:
                return quoting
        return None

    def _changed(self, stale: str) -> bool:
        for _ in range(ROUNDS):
            self._takes(b"newer", stale)
            if self._etag() != stale:
                return True
        return False

    def _one_wins(self, course: Callable[[int], tuple[str, Replacing]]) -> bool:
        return all(self._race(number, *course(number)) for number in range(RACES))

    def _race(self, number: int, key: str, replacing: Replacing) -> bool:
        self._keys[key] = None
        winners = self._winners(number, key, replacing)
        there = self._there(key)
        # If nobody was told to have won, because no answer came, nobody was told so wrongly.
        return not winners or (there is not None and winners == [there.body])

    def _winners(self, number: int, key: str, replacing: Replacing) -> list[bytes]:
        def run(racer: int) -> bytes | None:
            body = f"round {number} racer {racer}".encode()
            try:
                self._store.write(key, body, replacing=replacing)
            except (Conflict, Unanswered):
                return None
            return body

        return [body for body in _at_once(run) if body is not None]

    def _there(self, key: str) -> Stored | None:
        found: list[Stored | None] = []

        def read() -> bool:
            answer = self._store.read(key)
            found.append(answer if isinstance(answer, Stored) else None)
            return True

        self._persist(read)
        return found[-1]

    def _current(self) -> Stored:
        there = self._there(self._key)
        if there is None:
            raise StoreError(
                f"{self._store.location(self._key)} was written and cannot be read; nothing else was written"
            )
        return there

    def _etag(self) -> str:
        return self._current().etag

    def _body(self) -> bytes:
        return self._current().body
