"""What tests share: how many examples hypothesis tries, and the S3 servers, each started once and only if asked for."""

import os
import signal
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import Phase, settings

from cf_data_tracker.connection import Connection
from cf_data_tracker.embedded import running
from cf_data_tracker.settings import Access
from servers import ceph as ceph_server
from servers.server import Server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# Few at the desk, more in CI and the same every time, thousands at night.
settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=5_000, deadline=None)
settings.register_profile("mutants", max_examples=50, deadline=None, phases=[Phase.explicit, Phase.generate])
IN_CI = os.environ.get("CI") == "true"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if IN_CI else "dev"))


def pytest_configure() -> None:
    """Hear Ctrl-C: what a shell starts in the background ignores it, and so does all that this starts in turn."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


COUNTED = "counted"


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Callable[[str, Mapping[str, int]], None]:
    """Give what says how much was tried: `counted("what", {"of which": how many, ...})`. Shown at the end of a run."""

    def say(what: str, numbers: Mapping[str, int]) -> None:
        record_property(COUNTED, (what, dict(numbers)))

    return say


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was counted, and keep it as a table where the environment's COUNTED names a file for it."""
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, told in getattr(report, "user_properties", ()) if getattr(report, "when", "") == "call" else ():
                if name == COUNTED:
                    counted[told[0]].update(told[1])
    if not counted:
        return
    told = {
        what: ", ".join(f"{number:,} {of}" for of, number in numbers.items() if number)
        for what, numbers in sorted(counted.items())
    }
    terminalreporter.section("what was tried")
    for what, numbers in told.items():
        terminalreporter.write_line(f"{what}: {numbers}")
    if file := os.environ.get("COUNTED"):
        rows = [f"| {what} | {numbers} |" for what, numbers in told.items()]
        Path(file).write_text("\n".join(["| What was tried | How much |", "| --- | --- |", *rows, ""]))


@pytest.fixture(scope="session")
def embedded() -> Iterator[Server]:
    """Give the embedded S3, with the buckets `raw` and `clean`."""
    with running(["raw", "clean"]) as server:
        yield Server(endpoint_url=server.endpoint_url, access_key=server.access_key, secret_key=server.secret_key)


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give Ceph's radosgw, with the bucket `raw`. In CI, that it is not installed is a failure."""
    missing = ceph_server.missing()
    if missing is not None and not IN_CI:
        pytest.skip(missing)
    with ceph_server.running(tmp_path_factory.mktemp("ceph")) as server:
        make_bucket(server, "raw")
        yield server


@pytest.fixture(params=["embedded", pytest.param("ceph", marks=pytest.mark.ceph)])
def server(request: pytest.FixtureRequest) -> Server:
    """Give one S3 server after the other."""
    server: Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def client(embedded: Server) -> Iterator["S3Client"]:
    """Give a client of the embedded S3 as users have one, past the library."""
    from cf_data_tracker.stores.s3 import open_client  # noqa: PLC0415 - as in `make_bucket`

    with closing(open_client(access_to(embedded))) as client:
        yield client


@pytest.fixture
def s3(embedded: Server, client: "S3Client", scratch: Path, monkeypatch: pytest.MonkeyPatch) -> "S3Client":  # noqa: ARG001 - in force before it
    """Give that client, with the environment set for the same server, though no bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", embedded.endpoint_url)
    monkeypatch.setenv("AWS_REGION_NAME", embedded.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", embedded.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", embedded.secret_key)
    return client


@pytest.fixture
def schema() -> str:
    """Give a schema that no other test uses."""
    return f"vitals_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in an empty folder, with no setting of this machine in force."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AWS_") or name == "RAW_BUCKET_NAME"]:
        monkeypatch.delenv(name)
    return tmp_path


def access_to(server: Server, bucket: str = "raw", *, endpoint_url: str | None = None, timeout: float = 15.0) -> Access:
    """Return how to reach a bucket of a server, perhaps through a proxy in front of it."""
    return Access(
        bucket=bucket,
        endpoint_url=endpoint_url or server.endpoint_url,
        region=server.region,
        access_key=server.access_key,
        secret_key=server.secret_key,
        request_timeout=timeout,
    )


def connection_to(server: Server, bucket: str = "raw") -> Connection:
    """Return a connection to a bucket of a server."""
    return Connection(access_to(server, bucket))


def make_bucket(server: Server, bucket: str) -> None:
    """Make a bucket."""
    from cf_data_tracker.stores.s3 import open_client  # noqa: PLC0415 - tests that need no server should not wait

    with closing(open_client(access_to(server, bucket))) as client:
        client.create_bucket(Bucket=bucket)
