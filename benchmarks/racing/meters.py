"""What Linux tells of a run: CPU time of processes, and how busy the machine was. Read from `/proc`, at little cost."""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

TICKS: Final = os.sysconf("SC_CLK_TCK")
INTERVAL: Final = 0.25
SATURATED: Final = 0.9


@dataclass(frozen=True, kw_only=True)
class Busy:
    """How busy all cores together were.

    Attributes:
        mean: The share of the time, 0 to 1.
        saturated: The share of samples, of a quarter of a second each, that were busier than 90 %.
    """

    mean: float
    saturated: float


class BusyMeter:
    """Takes a sample every quarter of a second, in a thread of its own, from `begin` to `end`."""

    def __init__(self) -> None:
        self._samples: list[tuple[int, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def begin(self) -> None:
        """Start to look."""
        self._thread.start()

    def end(self) -> Busy:
        """Stop, and return what was found."""
        self._ended.set()
        self._thread.join()
        return busy(self._samples)

    def _watch(self) -> None:
        self._samples.append(_machine_ticks())
        while not self._ended.wait(INTERVAL):
            self._samples.append(_machine_ticks())
        self._samples.append(_machine_ticks())


def busy(samples: list[tuple[int, int]]) -> Busy:
    """Return how busy the machine was, from samples of its ticks: idle ones and all, since it was started."""
    shares = [
        1 - (idle - idle_before) / (total - total_before)
        for (idle_before, total_before), (idle, total) in pairwise(samples)
        if total > total_before
    ]
    if not shares:
        return Busy(mean=0.0, saturated=0.0)
    mean, saturated = sum(shares) / len(shares), sum(share > SATURATED for share in shares) / len(shares)
    return Busy(mean=mean, saturated=saturated)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time that living processes have used, and children of theirs that have ended."""
    return sum(map(_ticks, pids)) / TICKS


def memory_bytes() -> int:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _ticks(pid: int) -> int:
    try:
        # The name, in parentheses, may hold spaces. User, system, and both again of children: fields 14 to 17.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(map(int, fields[11:15]))


def _machine_ticks() -> tuple[int, int]:
    user, nice, system, idle, waiting, *others = map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:])
    # Of the others, the time of guests is counted in that of users already: interrupts and what was stolen remain.
    return idle + waiting, user + nice + system + idle + waiting + sum(others[:3])
