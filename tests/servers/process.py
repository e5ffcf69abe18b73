"""A server process on loopback: begun apart from us, known by its pid file, ended only if it is still that process.

The pid file, not an object in memory, is what says that a process runs, so that one run of a script can end what
another began. Linux only: `/proc` tells whether a pid still belongs to the process that was started.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from servers.server import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_sleep = time.sleep  # noqa: TID251 - real processes take real time

GENTLY = (signal.SIGTERM, signal.SIGKILL)
ABRUPTLY = (signal.SIGKILL,)
_SECONDS_TO_END = 10.0

# Linux takes the source ports of outgoing connections from 32768 up. A client that calls a server of that range while
# it is down may be given the server's own port, and then be connected to itself.
_PORTS = range(15_000, 30_000)


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process with its log and its pid file, `<name>.log` and `<name>.pid` in the directory."""

    name: str
    directory: Path

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.directory / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """The pid and the moment of its birth, as JSON."""
        return self.directory / f"{self.name}.pid"


def start(process: Process, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Begin the command in a session of its own, which outlives us and does not hear our Ctrl-C."""
    write = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawnp(
        command[0],
        list(command),
        {**os.environ, **(environment or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(process.log), write, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    process.pid_file.write_text(json.dumps({"pid": pid, "born": _born(pid)}))


def stop(process: Process, signals: Sequence[signal.Signals] = GENTLY) -> None:
    """End the process, a signal after the other, 10 seconds each. One that has ended, or never began, is fine.

    Raises:
        ServerError: It outlived the last signal.
    """
    pid = _running_pid(process)
    if pid is not None and not any(_ends_by(process, pid, number) for number in signals):
        raise ServerError(f"{process.name} (pid {pid}) does not end{last_words(process)}")
    process.pid_file.unlink(missing_ok=True)


def wait_until(process: Process, answers: Callable[[], bool], *, seconds: float) -> None:
    """Return once the process answers.

    Raises:
        ServerError: It ended instead, or said nothing in that time.
    """
    if not _within(seconds, lambda: answers() or _running_pid(process) is None):
        raise ServerError(f"{process.name} did not answer within {seconds} seconds{last_words(process)}")
    if _running_pid(process) is None:
        raise ServerError(f"{process.name} ended instead of serving{last_words(process)}")


def answers_http(port: int) -> bool:
    """Tell whether anything on that port of loopback answers a GET of `/`, were it with a refusal."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return different ports that are free now."""
    return list(islice(filter(is_free, random.sample(_PORTS, 500)), count))


def is_free(port: int) -> bool:
    """Tell whether nothing listens on that port of loopback; connections that have ended do not count."""
    with socket.socket() as candidate, suppress(OSError):
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        candidate.bind(("127.0.0.1", port))
        return True
    return False


def last_words(process: Process, lines: int = 15) -> str:
    """Return the end of the log as the tail of an error message."""
    text = process.log.read_text(errors="replace") if process.log.exists() else ""
    return "; the end of its log:\n" + "\n".join(text.splitlines()[-lines:])


def _running_pid(process: Process) -> int | None:
    """Return the pid if it is still that of the process that was started: numbers are given out again."""
    if not process.pid_file.exists():
        return None
    begun = json.loads(process.pid_file.read_text())
    pid = int(begun["pid"])
    return pid if _born(pid) == begun["born"] else None


def _born(pid: int) -> int | None:
    """Return when the living process of this pid began, in ticks since the boot; None if there is none.

    Not the command line: that of a process just begun is empty for a moment, as it is for one that has ended.
    """
    try:
        # The name, in parentheses, may itself hold spaces and parentheses. The state is field 3, the start field 22.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _ends_by(process: Process, pid: int, number: signal.Signals) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
    ended = _within(_SECONDS_TO_END, lambda: _running_pid(process) is None)
    with suppress(ChildProcessError):  # only its parent is told, and that may have been another run
        os.waitpid(pid, os.WNOHANG)
    return ended


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    """Tell whether the condition came to hold in that time."""
    end = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < end:
        _sleep(0.02)
    return held
