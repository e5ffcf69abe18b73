"""OpenTelemetry, for whoever has set it up: spans of commits, questions and uploads, and what is counted anyhow.

Only its API is used, and never imported from here: whoever has set it up has imported it, and for all others nothing
changes. Names and numbers are told, of a bucket, a key and a count; nothing that was stored, and no secret.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final, Protocol

from cf_data_tracker.installed import release
from cf_data_tracker.stats import Tally

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider

SCOPE: Final = "cf_data_tracker"
"""The instrumentation scope, and what the names that are ours begin with."""

BUCKET: Final = "aws.s3.bucket"
KEY: Final = "aws.s3.key"
ERROR: Final = "error.type"  # these three are OpenTelemetry's own names
KIND: Final = f"{SCOPE}.request.kind"

COUNTERS: Final = {
    "requests": ("{request}", "Requests sent, by kind"),
    "unanswered": ("{request}", "Requests without an answer, or with a 5xx"),
    "commits": ("{commit}", "Documents written"),
    "conflicts": ("{conflict}", "Writes that lost to another worker's"),
    "recordings": ("{recording}", "Recordings whose outcome was returned, new ones and known ones"),
    "combined": ("{recording}", "Recordings of other workers that commits of this one carried"),
}
"""What is counted, each with its unit and its meaning."""


class Note(Protocol):
    """Adds numbers to a span."""

    def __call__(self, **numbers: int) -> None:
        """Add them, each under its name with `cf_data_tracker.` before it."""


@contextmanager
def span(what: str, bucket: str, key: str) -> Iterator[Note]:
    """Tell of what is done inside as a span, and give what adds numbers to it; an error is told by its type.

    Args:
        what: What is done, in one word.
        bucket: The bucket.
        key: The key of the object that it is about.
    """
    trace = _loaded("opentelemetry.trace")
    if trace is None:
        yield _to_nobody
        return
    tracer = _tracer(trace.get_tracer_provider())
    with tracer.start_as_current_span(
        f"{SCOPE}.{what}",
        attributes={BUCKET: bucket, KEY: key},
        record_exception=False,  # its message may hold what was stored
        set_status_on_exception=False,
    ) as current:
        try:
            yield lambda **numbers: current.set_attributes({f"{SCOPE}.{name}": many for name, many in numbers.items()})
        except Exception as error:
            current.set_attribute(ERROR, type(error).__qualname__)
            current.set_status(trace.StatusCode.ERROR)
            raise


class MeteredTally(Tally):
    """A tally that tells OpenTelemetry, too."""

    def __init__(self, bucket: str) -> None:
        super().__init__()
        self._attributes = {BUCKET: bucket}

    def request(self, kind: str) -> None:
        """Count a request, here and there."""
        super().request(kind)
        _count("requests", 1, {**self._attributes, KIND: kind})

    def add(self, what: str, number: int = 1) -> None:
        """Count something, here and, if it is among the counters, there."""
        super().add(what, number)
        _count(what, number, self._attributes)

    def recorded(self, number: int) -> None:
        """Tell of recordings, which are counted there alone: here whoever records knows."""
        _count("recordings", number, self._attributes)


def _count(what: str, number: int, attributes: Mapping[str, str]) -> None:
    metrics = _loaded("opentelemetry.metrics") if what in COUNTERS and number else None
    if metrics is not None:
        _counters(metrics.get_meter_provider())[what].add(number, attributes)


def _loaded(name: str) -> ModuleType | None:
    return import_module(name) if name in sys.modules else None  # another thread may be about to import it: wait


@lru_cache(maxsize=8)  # where a provider takes another's place, it is asked anew
def _tracer(provider: "TracerProvider") -> "Tracer":
    return provider.get_tracer(SCOPE, release())


@lru_cache(maxsize=8)
def _counters(provider: "MeterProvider") -> "Mapping[str, Counter]":
    meter = provider.get_meter(SCOPE, release())
    return {
        what: meter.create_counter(f"{SCOPE}.{what}", unit=unit, description=meaning)
        for what, (unit, meaning) in COUNTERS.items()
    }


def _to_nobody(**_: int) -> None:
    """Add nothing."""
