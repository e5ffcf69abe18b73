"""One run: let the workers record, read the document, judge, clean up."""

import copy
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from cf_data_tracker.connection import Connection
from cf_data_tracker.document import versions_of
from cf_data_tracker.errors import InvalidNameError, StoreError
from cf_data_tracker.names import aside_key, inbox_prefix, raw_key
from cf_data_tracker.stress.crew import Crew
from cf_data_tracker.stress.executors import name_of, run_on
from cf_data_tracker.stress.options import Options, Progress
from cf_data_tracker.stress.processes import START_SECONDS, run_as_processes
from cf_data_tracker.stress.report import Report
from cf_data_tracker.stress.slowed import slowed
from cf_data_tracker.stress.verdict import judge
from cf_data_tracker.tracker import raw_spec

LOG: Final = logging.getLogger("cf_data_tracker")


def run(
    connection: Connection,
    options: Options,
    on_progress: Callable[[Progress], None],
    executor: Executor | None = None,
) -> Report:
    """Run the benchmark; what it wrote is removed, whatever happens.

    Args:
        connection: The bucket.
        options: What to run.
        on_progress: Is told how far the run is.
        executor: Where the workers run. A `ThreadPoolExecutor`'s share one connection; to any other, jobs go pickled.
            It should run as many jobs at once as there are workers. Processes of this machine if left out.

    Raises:
        InvalidNameError: The schema holds a document already, or workers are to be killed that are not ours to kill.
        UnsafeStoreError: The store does not honour conditional writes (with the strategy `unsafe` it need not).
        StoreError: The store refused, or a worker could not start.
    """
    if executor is not None and options.kill:
        raise InvalidNameError(_not_to_kill(name_of(executor)))
    with _as_asked(connection, options) as asked:
        if asked.read(raw_spec(options.schema)) is not None:
            raise InvalidNameError(
                f"the schema {options.schema} holds a document already; name one that does not exist"
            )
        if options.strategy != "unsafe":
            on_progress(Progress(phase="examining the store"))
            asked.prove()
        try:
            return _report(asked, options, on_progress, executor, connection.access.endpoint)
        finally:
            _sweep(asked, raw_key(options.schema))


@contextmanager
def _as_asked(connection: Connection, options: Options) -> Iterator[Connection]:
    """Give a connection of its own that works by the strategy, to a store as slow as was asked for."""
    own = copy.copy(connection)
    own.combining = options.strategy == "combining"
    if options.latency == "none":
        yield own
        return
    with slowed(connection.access.endpoint_url or "", options.latency) as front:
        own.access = replace(own.access, endpoint_url=front.endpoint_url)
        yield own


def _report(
    connection: Connection,
    options: Options,
    on_progress: Callable[[Progress], None],
    executor: Executor | None,
    endpoint: str,
) -> Report:
    crew = Crew(connection, options, on_progress)
    if executor is None:
        seconds = run_as_processes(crew, options.kill)
    else:
        patience = START_SECONDS + options.files * connection.patience.seconds
        seconds = run_on(executor, crew, connection, patience)
    document = connection.read(raw_spec(options.schema))
    versions = list(versions_of(document, options.schema))
    return Report(
        options=options,
        executor=name_of(executor),
        endpoint=endpoint,
        seconds=seconds,
        acknowledged=crew.acknowledged,
        failed=crew.failed,
        killed=len(crew.killed),
        died=crew.died,
        stats=crew.stats,
        commits=crew.commits,
        versions=len(versions),
        revision=(document or {}).get("revision", 0),
        verdict=judge(crew.acknowledged, versions, crew.uncertain()),
    )


def _not_to_kill(executor: str) -> str:
    why = "a thread cannot be ended from outside" if executor == "threads" else f"those of {executor} are not ours"
    return f"kill needs workers that are processes of this run: {why}; leave kill or the executor out"


def _sweep(connection: Connection, key: str) -> None:
    """Remove the document, and what workers that ended early may have left in its inbox."""
    connection.retrying(lambda: connection.store.delete(key), key)
    if not connection.combining:
        return
    inbox = inbox_prefix(key)
    try:
        _empty(connection, inbox)
        _empty(connection, aside_key(inbox))
    except StoreError as error:  # a report is worth more than an empty folder
        LOG.warning("what workers may have left at %s was not removed: %s", connection.store.location(inbox), error)


def _empty(connection: Connection, prefix: str) -> None:
    last = ""
    while keys := connection.retrying(lambda: connection.store.list(prefix, after=last), prefix):  # noqa: B023 - called at once
        last = keys[-1]
        connection.retrying(lambda: connection.store.delete(*keys), prefix)
