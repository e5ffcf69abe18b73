"""Watching a connection: its requests and its commits, and nobody's logging changes by it."""

import logging
import time
from collections.abc import Iterator

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.stats import Stats
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.stress.plan import plan
from cf_data_tracker.stress.watch import LOG, Watch, difference, total
from cf_data_tracker.tracker import Tracker

FIRST, SECOND, THIRD = plan("vitals", 1, 3)[0]
OTHERS = NewFile(schema="others", table="t", file_name="f", file="a.zip", file_size=1, s3_location="s3://raw/a.zip")
KEY = raw_key("vitals")


@pytest.fixture
def connection() -> Connection:
    """Give a connection to a store of this process."""
    return Connection(Access(bucket="raw"), store=MemoryStore())


@pytest.fixture
def quiet() -> Iterator[logging.Logger]:
    """Give the library's logger as it is where nobody asks for its lines, and put it back afterwards."""
    level = LOG.level
    LOG.setLevel(logging.WARNING)
    yield LOG
    LOG.setLevel(level)


def record(connection: Connection, *files: NewFile) -> None:
    """Record files, in one commit for each schema."""
    Tracker.over(connection).record_many(files)


def test_each_news_tells_what_came_since_the_last(connection: Connection) -> None:
    """Requests and commits are told once."""
    with Watch(connection, KEY, word=time.monotonic()) as watch:
        record(connection, FIRST, SECOND)
        spent, commits = watch.news()
        assert ({"read": 1, "write": 1}, 1) == (spent.requests, spent.commits)
        assert [(1, 2, 0)] == [(commit.revision, commit.recordings, commit.others) for commit in commits]
        record(connection, THIRD)
        spent, commits = watch.news()
        assert (1, [2]) == (spent.requests["write"], [commit.revision for commit in commits])
        assert (Stats(requests={"read": 0, "write": 0}), ()) == watch.news()


def test_what_was_before_is_not_told(connection: Connection) -> None:
    """A watch begins when its context does."""
    record(connection, FIRST)
    with Watch(connection, KEY, word=time.monotonic()) as watch:
        assert (Stats(requests={"read": 0, "write": 0}), ()) == watch.news()


def test_commits_have_their_time_since_the_word(connection: Connection) -> None:
    """A commit's time counts from the word to start, which may have been long before."""
    with Watch(connection, KEY, word=time.monotonic() - 1000.0) as watch:
        record(connection, FIRST)
        _, (commit,) = watch.news()
    assert 1000.0 <= commit.at < 1060.0


def test_commits_to_other_documents_are_not_told(connection: Connection) -> None:
    """Only those of the one document are."""
    with Watch(connection, KEY, word=0.0) as watch:
        record(connection, OTHERS)
        assert () == watch.news()[1]


def test_two_watches_both_see(connection: Connection, quiet: logging.Logger) -> None:
    """Also when the first of them has ended."""
    with Watch(connection, KEY, word=0.0) as one:
        with Watch(connection, KEY, word=0.0) as other:
            record(connection, FIRST)
        record(connection, SECOND)
        assert ([1, 2], [1]) == tuple([commit.revision for commit in watch.news()[1]] for watch in (one, other))
    assert logging.WARNING == quiet.level
    assert [] == quiet.filters


def test_nobody_else_hears_more_than_before(
    connection: Connection, quiet: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Lines that were not let through before are not while a watch sees them; others are."""
    with Watch(connection, KEY, word=0.0) as watch:
        record(connection, FIRST)
        quiet.warning("something is odd")
        assert 1 == len(watch.news()[1])
    assert ["something is odd"] == [line.getMessage() for line in caplog.records]


def test_whoever_asks_for_the_lines_hears_them(connection: Connection, caplog: pytest.LogCaptureFixture) -> None:
    """A logger that is open for INFO stays so."""
    with caplog.at_level(logging.INFO, logger=LOG.name), Watch(connection, KEY, word=0.0):
        record(connection, FIRST)
    assert [1] == [vars(line)["revision"] for line in caplog.records]


def test_counts_add_up() -> None:
    """What came to be between two counts, added to the first, is the second."""
    before = Stats(requests={"read": 3}, commits=1, bytes_read=10)
    after = Stats(requests={"read": 5, "write": 2}, commits=4, combined=2, bytes_read=30)
    spent = difference(after, before)
    assert Stats(requests={"read": 2, "write": 2}, commits=3, combined=2, bytes_read=20) == spent
    assert after == total(before, spent)
