"""OpenTelemetry: spans and counters for whoever has set it up, nothing for all others, and never a secret."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, Sum
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from cf_data_tracker.connection import Connection
from cf_data_tracker.engine.retry import Patience
from cf_data_tracker.errors import DocumentError
from cf_data_tracker.model import NewFile
from cf_data_tracker.names import raw_key
from cf_data_tracker.settings import Access
from cf_data_tracker.store import ANYTHING, Store
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker.tracker import Tracker
from fates import Fate, FatefulStore

KEY: Final = raw_key("vitals")
ACCESS: Final = Access(bucket="raw", access_key="AKIDSECRET", secret_key="hush-hush", session_token="hush-token")


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What OpenTelemetry was told."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    def spans(self) -> list[ReadableSpan]:
        """Return the spans that have ended, in their order."""
        return list(self.exporter.get_finished_spans())

    def counts(self) -> dict[tuple[str, str], int]:
        """Return what was counted, by the counter's name and the kind of request."""
        counts: dict[tuple[str, str], int] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                assert isinstance(metric.data, Sum)
                for point in metric.data.data_points:
                    attributes = point.attributes or {}
                    assert "raw" == attributes["aws.s3.bucket"]
                    counts[metric.name, str(attributes.get("cf_data_tracker.request.kind", ""))] = int(point.value)
        return counts


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Set OpenTelemetry up, for this test alone."""
    told = Told(exporter=InMemorySpanExporter(), reader=InMemoryMetricReader())
    tracers, meters = TracerProvider(), MeterProvider([told.reader])
    tracers.add_span_processor(SimpleSpanProcessor(told.exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: tracers)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: meters)
    yield told
    tracers.shutdown()
    meters.shutdown()


def over(store: Store) -> Tracker:
    """Return a tracker over a store."""
    return Tracker.over(Connection(ACCESS, store=store, patience=Patience(first=0.001, longest=0.01)))


def new(number: int) -> NewFile:
    """Return a file of vitals/births/FY2023."""
    file = f"{number}.zip"
    return NewFile(
        schema="vitals", table="births", file_name="FY2023", file=file, file_size=1, s3_location=f"s3://raw/{file}"
    )


def plain(span: ReadableSpan) -> tuple[str, Mapping[str, Any]]:
    """Return a span's name and attributes."""
    return span.name, dict(span.attributes or {})


def test_a_commit_is_a_span(told: Told) -> None:
    """Each call that records is a span, which says where, how many, how many of them new, and the revision."""
    tracker = over(MemoryStore())
    tracker.record_many([new(1), new(2)])
    tracker.record_many([new(2), new(3), new(4)])
    where = {"aws.s3.bucket": "raw", "aws.s3.key": KEY}
    numbers = [(2, 2, 1), (3, 2, 2)]
    wanted = [
        {
            **where,
            "cf_data_tracker.recordings": recordings,
            "cf_data_tracker.created": created,
            "cf_data_tracker.revision": revision,
        }
        for recordings, created, revision in numbers
    ]
    assert [("cf_data_tracker.commit", attributes) for attributes in wanted] == [plain(span) for span in told.spans()]


def test_a_question_is_a_span(told: Told) -> None:
    """Each question is a span, which says of which document, and at which revision it is."""
    tracker = over(MemoryStore())
    assert tracker.latest("vitals", "births", "FY2023") is None
    tracker.record_many([new(1)])
    assert tracker.exists("vitals", "births", "FY2023", "1.zip")
    before, _, after = [plain(span) for span in told.spans()]
    where = {"aws.s3.bucket": "raw", "aws.s3.key": KEY}
    assert ("cf_data_tracker.read", {**where, "cf_data_tracker.revision": 0}) == before
    assert ("cf_data_tracker.read", {**where, "cf_data_tracker.revision": 1}) == after


def test_a_span_is_within_the_callers(told: Told) -> None:
    """A commit's span is a child of the one in which the caller stands."""
    with trace.get_tracer_provider().get_tracer("pipeline").start_as_current_span("ingest"):
        over(MemoryStore()).record_many([new(1)])
    commit, ingest = told.spans()
    assert commit.parent is not None
    assert ingest.context is not None
    assert ingest.context.span_id == commit.parent.span_id


def test_an_error_ends_its_span(told: Told) -> None:
    """The span of a call that fails says so, by the type of the error."""
    store = MemoryStore()
    store.write(KEY, b"no document", replacing=ANYTHING)
    tracker = over(store)
    with pytest.raises(DocumentError):
        tracker.record_many([new(1)])
    (span,) = told.spans()
    assert StatusCode.ERROR is span.status.status_code
    assert "DocumentError" == plain(span)[1]["error.type"]
    assert (None, ()) == (span.status.description, tuple(span.events))  # a message may tell what was stored


def test_what_is_counted_is_told(told: Told) -> None:
    """The counters say what `Tracker.stats` says, and how many recordings came back with an outcome."""
    tracker = over(FatefulStore(MemoryStore(), writes=[Fate.ANSWER_LOST]))
    tracker.record_many([new(1), new(2)])
    tracker.record_many([new(2)])
    stats = tracker.stats
    requests = {("cf_data_tracker.requests", kind): number for kind, number in stats.requests.items()}
    counted = {"commits": stats.commits, "conflicts": stats.conflicts, "unanswered": stats.unanswered, "recordings": 3}
    others = {(f"cf_data_tracker.{what}", ""): number for what, number in counted.items() if number}
    assert requests | others == told.counts()
    assert 1 == stats.unanswered


def test_threads_that_share_commits_have_a_span_each(told: Told) -> None:
    """With group commit each call has a span of its own, though there are fewer commits than calls."""
    tracker, together = over(MemoryStore()), threading.Barrier(8)

    def record(number: int) -> None:
        together.wait()
        tracker.record_many([new(number)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(8)))
    assert ["cf_data_tracker.commit"] * 8 == [span.name for span in told.spans()]
    assert 8 == told.counts()["cf_data_tracker.recordings", ""]
    assert tracker.stats.commits == told.counts()["cf_data_tracker.commits", ""]


def test_no_secret_is_told(told: Told) -> None:
    """Neither a key nor its secret nor a token is in a span or a counter."""
    tracker = over(MemoryStore())
    tracker.record_many([new(1)])
    tracker.history("vitals", "births")
    everything = " ".join(span.to_json() for span in told.spans()) + str(told.reader.get_metrics_data())
    assert "vitals" in everything
    assert not [secret for secret in ("AKIDSECRET", "hush") if secret in everything]


def test_nothing_changes_without_opentelemetry() -> None:
    """Where the API is not installed everything works, and where it is nobody imports it but who uses it."""
    program = """
import sys
if sys.argv[1] == "without":
    sys.modules["opentelemetry"] = None
from cf_data_tracker.connection import Connection
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker import Tracker
tracker = Tracker.over(Connection(Access(bucket="raw"), store=MemoryStore()))
done = tracker.record("vitals", "births", "FY2023", "a.zip", file_size=1, s3_location="s3://raw/a.zip")
print(done.version, tracker.exists("vitals", "births", "FY2023", "a.zip"), "opentelemetry.trace" in sys.modules)
"""
    for installed in ("without", "with"):
        command = [sys.executable, "-c", program, installed]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        assert ["1", "True", "False"] == done.stdout.split()


def test_a_provider_set_later_is_told() -> None:
    """Whoever sets OpenTelemetry up after the first recordings is told of the later ones."""
    program = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from cf_data_tracker.connection import Connection
from cf_data_tracker.settings import Access
from cf_data_tracker.stores.memory import MemoryStore
from cf_data_tracker import Tracker
tracker = Tracker.over(Connection(Access(bucket="raw"), store=MemoryStore()))
tracker.tables("vitals")
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
tracker.tables("vitals")
print(len(exporter.get_finished_spans()))
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert "1" == done.stdout.strip()
