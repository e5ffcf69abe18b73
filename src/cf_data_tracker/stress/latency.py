"""How long S3 takes: published latencies as distributions to draw from, for simulations and for servers made slower.

A request's time is drawn from a log-normal distribution through two published points, the median and the 99th
percentile. Figures in milliseconds:

| request | S3 p50 | S3 p99 | S3 Express One Zone p50 | p99 |
|---|---|---|---|---|
| write (PUT) | 61 | 103 | 14.5 | 18 |
| read (GET) | 27 | 113 | 2.5 | 9 |
| unchanged (GET answered 304) | 10 | 28 | 2.5 | 9 |
| list (LIST) | 24 | 46 | 24 | 46 |
| delete (DELETE) | 61 | 103 | 14.5 | 18 |

For Express no figures of LIST and 304 were published; S3's own LIST and Express's GET stand in.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_P99: Final = 2.3263478740408408
"""How many standard deviations above the mean the 99th percentile of a normal distribution lies."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a kind of request takes.

    Attributes:
        p50: The median, in seconds.
        p99: The 99th percentile, in seconds.
    """

    p50: float
    p99: float

    def draw(self, normal: Callable[[float, float], float]) -> float:
        """Return a time in seconds; `normal` draws from a normal distribution, as `random.gauss` does."""
        return self.p50 * math.exp(normal(0.0, math.log(self.p99 / self.p50) / _P99))


def _profile(write: Latency, read: Latency, unchanged: Latency, list_: Latency) -> Mapping[str, Latency]:
    return {"write": write, "read": read, "unchanged": unchanged, "list": list_, "delete": write}


PROFILES: Final[Mapping[str, Mapping[str, Latency]]] = {
    "s3": _profile(
        write=Latency(0.061, 0.103),
        read=Latency(0.027, 0.113),
        unchanged=Latency(0.010, 0.028),
        list_=Latency(0.024, 0.046),
    ),
    "express": _profile(
        write=Latency(0.0145, 0.018),
        read=Latency(0.0025, 0.009),
        unchanged=Latency(0.0025, 0.009),
        list_=Latency(0.024, 0.046),
    ),
}
"""By name, and then by kind of request."""
