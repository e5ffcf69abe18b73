"""The log: one line a commit, however many recordings and workers share it, and never a secret."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import StoreError
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import aside_key, inbox_prefix, raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Store
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from servers.server import Server

KEY = raw_key("vitals")
SECRETS = ("AKIDVERYSECRET", "hush-hush-secret", "hush-hush-token")


def over(store: Store) -> Tracker:
    """Return a tracker over a store."""
    return Tracker.over(Connection(Access(bucket="raw"), store=store, patience=Patience(first=0.001, longest=0.01)))


def new(number: int) -> NewFile:
    """Return a file of vitals/births/FY2023."""
    file = f"{number}.zip"
    return NewFile(
        schema="vitals", table="births", file_name="FY2023", file=file, file_size=1, s3_location=f"s3://raw/{file}"
    )


def commits(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Return the revisions of the commits that the log tells of."""
    told = [record for record in caplog.records if record.name == "cf_data_tracker" and record.levelno == logging.INFO]
    return [vars(record)["revision"] for record in told]


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    """Let the log tell everything."""
    caplog.set_level(logging.DEBUG, logger="cf_data_tracker")


def test_a_commit_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """A commit of many recordings is one line, which says which revision; what changes nothing is none."""
    tracker = over(MemoryStore())
    tracker.record_many([new(number) for number in range(5)])
    tracker.record_many([new(1)])
    tracker.history("vitals", "births")
    assert [1] == commits(caplog)
    assert KEY in caplog.text


def test_threads_that_share_a_commit_share_its_line(caplog: pytest.LogCaptureFixture) -> None:
    """With group commit the log has a line for each commit, and not for each call."""
    tracker, together = over(MemoryStore()), threading.Barrier(8)

    def record(number: int) -> None:
        together.wait()
        tracker.record_many([new(number)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    assert list(range(1, tracker.stats.commits + 1)) == commits(caplog)


def test_workers_that_commit_for_each_other_tell_each_commit_once(caplog: pytest.LogCaptureFixture) -> None:
    """With combining each revision of the document is one line, of whoever committed it."""
    store, together = MemoryStore(), threading.Barrier(8)

    def work(worker: int) -> int:
        tracker = over(store)
        together.wait()
        for number in range(10):
            tracker.record_many([new(100 * worker + number)])
        return tracker.stats.combined

    with ThreadPoolExecutor(8) as pool:
        combined = sum(pool.map(work, range(8)))
    document = over(store).document("vitals")
    assert document is not None
    assert list(range(1, document["revision"] + 1)) == sorted(commits(caplog))
    told = [record for record in caplog.records if record.levelno == logging.INFO]
    assert 80 == sum(vars(record)["recordings"] for record in told)
    assert combined == sum(vars(record)["others"] for record in told)


def test_no_secret_is_told(embedded: Server, caplog: pytest.LogCaptureFixture, schema: str) -> None:
    """With everything logged, keys, secrets and tokens are in no line, no error and no `repr`."""
    key, secret, token = SECRETS  # the embedded S3 asks for none
    access = Access(
        bucket="raw",
        endpoint_url=embedded.endpoint_url,
        region=embedded.region,
        access_key=key,
        secret_key=secret,
        session_token=token,
    )
    tracker = Tracker.over(Connection(access))
    connection = Connection(access)
    garbage = f"{inbox_prefix(raw_key(schema))}garbage"
    connection.store.write(garbage, b"garbage", replacing=ANYTHING)
    for number in range(6):
        tracker.record_many([replace(new(number), schema=schema)])
    with pytest.raises(StoreError) as caught:
        Tracker.over(Connection(replace(access, bucket="no-such-bucket"))).record_many([new(1)])
    told = [record.getMessage() + str(vars(record)) for record in caplog.records if record.name == "cf_data_tracker"]
    connection.store.delete(garbage, aside_key(garbage))  # other tests look at what is left there
    everything = "\n".join([*told, repr(caught.value), repr(tracker), repr(connection), repr(access)])
    assert schema in everything
    assert not [one for one in SECRETS if one in everything]
