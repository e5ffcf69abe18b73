"""A fork beside threads that open clients: the new process can open one, too."""

import os
import subprocess
import sys
import threading
import time
from typing import Final

import pytest

from cf_data_tracker import forks
from cf_data_tracker.forks import unforked
from servers.server import Server

# From Python 3.12 on, forking a process that has threads is warned of.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

FORKED: Final = """
import os, sys, threading, time
from cf_data_tracker.connection import Connection
from cf_data_tracker.settings import Access
from cf_data_tracker.tracker import Tracker

access = Access(bucket="raw", endpoint_url=sys.argv[1], region="us-east-1", access_key="a", secret_key="b")


def record(file):
    Tracker.over(Connection(access)).record(sys.argv[2], "t", "F", file, file_size=1, s3_location="s3://raw/x")


began = threading.Event()


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == sys.argv[3]:
            began.set()
            time.sleep(0.5)


sys.meta_path.insert(0, Finder)
thread = threading.Thread(target=record, args=("thread",))
thread.start()
began.wait(60)
forked = os.fork()
sys.meta_path.remove(Finder)
record("child" if forked == 0 else "parent")
if forked == 0:
    os._exit(0)
thread.join()
end = time.monotonic() + 20
while os.waitpid(forked, os.WNOHANG) == (0, 0):
    if time.monotonic() > end:
        os.kill(forked, 9)
        os.waitpid(forked, 0)
        sys.exit("the child hangs")
    time.sleep(0.05)
"""


@pytest.mark.parametrize("module", ["boto3", "boto3.s3.inject", "cf_data_tracker.stores.s3", "encodings.idna"])
def test_a_process_forked_while_a_thread_opens_a_client_can_open_one(
    embedded: Server, schema: str, module: str
) -> None:
    """Neither does it wait for an import lock that no thread of it holds, nor find half a module."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, embedded.endpoint_url, schema, module],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (0, "") == (done.returncode, done.stderr)


def exit_code_of(pid: int) -> int:
    """Wait for a child."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_fork_waits_for_a_thread_that_is_inside() -> None:
    """It comes after that has left."""
    inside, order = threading.Event(), []

    def open_slowly() -> None:
        with unforked():
            inside.set()
            time.sleep(0.3)  # noqa: TID251 - another thread is to wait for it
            order.append("opened")

    thread = threading.Thread(target=open_slowly)
    thread.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        os._exit(len(order))
    thread.join()
    assert 1 == exit_code_of(pid)


def test_a_thread_that_is_inside_may_fork() -> None:
    """It does not wait for itself; the child and the parent may both come in again."""
    with unforked():
        pid = os.fork()
        if pid == 0:
            with unforked():
                os._exit(7)
    with unforked():
        assert 7 == exit_code_of(pid)


def test_a_fork_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where opening takes too long, it goes on; the child begins anew, and the parent's thread goes on undisturbed."""
    monkeypatch.setattr(forks, "LONGEST", 0.05)
    inside, end = threading.Event(), threading.Event()

    def open_slowly() -> None:
        with unforked():
            inside.set()
            end.wait()

    thread = threading.Thread(target=open_slowly)
    thread.start()
    inside.wait()
    pid = os.fork()
    if pid == 0:
        with unforked():
            os._exit(7)
    assert 7 == exit_code_of(pid)
    end.set()
    thread.join()
    with unforked():
        assert not thread.is_alive()
