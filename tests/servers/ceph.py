"""Ceph's S3 gateway for tests: one monitor, one OSD that keeps everything in memory, one radosgw, all on loopback.

Run as a script it starts and stops a cluster that outlives it:

    python tests/servers/ceph.py start DIR [--port N]     prints where it is, as lines for a shell
    python tests/servers/ceph.py stop DIR

Made for Debian's Ceph 16.2. It compares the ETag of an `If-Match` without quotes: a quoted one is never equal.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))  # a script finds its own folder, not the one above

from servers import process
from servers.process import Process
from servers.server import Server, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_BINARIES = ("monmaptool", "ceph-mon", "ceph-osd", "ceph", "radosgw", "radosgw-admin")
_INSTALL = "apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common"
_SECONDS_TO_SERVE = 20.0
_SECONDS_TO_RUN = 30.0

# What `ceph` says, one time in fifty, when its first question leaves before the monitor has told it the cluster's id.
# Nothing was done then.
_NOT_HEARD = "problem getting command descriptions"

# - Making a pool takes the monitor several rounds of paxos, which by default wait a second each: 11 seconds in all.
# - Beast writes the head and the body of an answer apart; without tcp_nodelay Nagle may hold the body back for 40 ms.
# - An admin socket's path must be shorter than 108 bytes, which a test's directory seldom is: there are none.
_CONFIGURATION = """\
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{monitor_port}
public addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
paxos propose interval = 0.05
paxos min wait = 0.01
run dir = {directory}
crash dir = {directory}
admin socket =
log to file = false
log to stderr = true
mon cluster log to file = false
[mon]
mon data = {directory}/mon
[osd]
osd data = {directory}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
[client.rgw]
rgw data = {directory}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw thread pool size = 128
"""


@dataclass(frozen=True, kw_only=True)
class CephServer(Server):
    """A running gateway. What it stores is lost when the cluster stops, and kept while only the gateway does."""

    directory: Path
    port: int

    def stop_gateway(self, *, abruptly: bool = False) -> None:
        """End radosgw alone; abruptly, so that requests under way get no answer."""
        process.stop(_gateway(self.directory), process.ABRUPTLY if abruptly else process.GENTLY)

    def start_gateway(self) -> None:
        """Begin radosgw on its port, and return once it answers.

        Raises:
            ServerError: The port is taken, or it ended or said nothing; then the end of its log is in the message.
        """
        if not process.is_free(self.port):
            raise ServerError(f"port {self.port} is taken: another server would answer for the gateway")
        gateway = _gateway(self.directory)
        process.start(gateway, ["radosgw", *_with_configuration(self.directory), "-n", "client.rgw", "-f"])
        process.wait_until(gateway, lambda: process.answers_http(self.port), seconds=_SECONDS_TO_SERVE)


def missing() -> str | None:
    """Return what is not installed and how to install it, or None if all is there."""
    absent = [name for name in _BINARIES if shutil.which(name) is None]
    return f"no {', '.join(absent)} here: {_INSTALL}" if absent else None


@contextmanager
def running(directory: Path, port: int | None = None) -> Iterator[CephServer]:
    """Yield a cluster of one's own, in a directory that is empty or not there yet.

    Raises:
        ServerError: Ceph is not installed, or did not start.
    """
    server = start(directory, port)
    try:
        yield server
    finally:
        stop(directory)


def start(directory: Path, port: int | None = None) -> CephServer:
    """Start a cluster that runs until `stop`, even when this process ends.

    Raises:
        ServerError: Ceph is not installed, the directory is in use, or a part did not start. Nothing is left running.
    """
    _check(directory)
    server = _server(directory.resolve(), port)
    try:
        _start_cluster(server)
    except BaseException:
        stop(directory)
        raise
    return server


def stop(directory: Path) -> None:
    """End the processes that `start` began in this directory, and no others.

    Raises:
        ServerError: One of them outlived SIGKILL.
    """
    process.stop(_gateway(directory))
    process.stop(_osd(directory), process.ABRUPTLY)  # all it would save is memory that nobody will read
    process.stop(_monitor(directory), process.ABRUPTLY)


def _check(directory: Path) -> None:
    if problem := missing():
        raise ServerError(problem)
    if directory.exists() and any(directory.iterdir()):
        raise ServerError(f"{directory} is not empty; a cluster starts in a directory of its own")


def _server(directory: Path, port: int | None) -> CephServer:
    port = port or process.free_ports(1)[0]
    return CephServer(
        endpoint_url=f"http://127.0.0.1:{port}",
        access_key="tester",
        secret_key=secrets.token_hex(16),
        directory=directory,
        port=port,
    )


def _start_cluster(server: CephServer) -> None:
    """Start the parts in the order in which they need each other."""
    _prepare(server)
    _start_monitor(server.directory)
    _start_osd(server.directory)
    _create_user(server)
    server.start_gateway()


def _prepare(server: CephServer) -> None:
    """Write the configuration and the map that names the one monitor."""
    directory = server.directory
    for part in ("mon", "osd", "rgw"):
        (directory / part).mkdir(parents=True)
    monitor_port = next(port for port in process.free_ports(2) if port != server.port)
    fsid = str(uuid.uuid4())
    _configuration(directory).write_text(
        _CONFIGURATION.format(
            directory=directory,
            fsid=fsid,
            monitor_port=monitor_port,
            port=server.port,
        )
    )
    _run("monmaptool", "--create", "--addv", "m", f"v1:127.0.0.1:{monitor_port}", "--fsid", fsid, _map(directory))


def _start_monitor(directory: Path) -> None:
    configured = _with_configuration(directory)
    _run("ceph-mon", *configured, "-i", "m", "--mkfs", "--monmap", _map(directory))
    process.start(_monitor(directory), ["ceph-mon", *configured, "-i", "m", "-f"])
    _ask(_monitor(directory), "ceph", *configured, "osd", "create")


def _start_osd(directory: Path) -> None:
    """Start the OSD with what the file says and nothing else.

    Once it has fetched its configuration from the monitor it forgets the cluster's id, and a quarter of all starts
    end with `wrong fsid`: its first command is sent before the monitor has told it the id again.
    """
    configured = _with_configuration(directory)
    _run("ceph-osd", *configured, "-i", "0", "--mkfs")
    process.start(_osd(directory), ["ceph-osd", *configured, "--no-mon-config", "-i", "0", "-f"])


def _create_user(server: CephServer) -> None:
    """Create the one user, and with it the gateway's pools, so that the gateway serves as soon as it listens."""
    keys = ("--access-key", server.access_key, "--secret-key", server.secret_key)
    command = ("radosgw-admin", *_with_configuration(server.directory), "user", "create")
    _ask(_osd(server.directory), *command, "--uid", "tester", "--display-name", "tester", *keys)


def _ask(answerer: Process, *command: str, attempts: int = 5) -> None:
    """Run a client of the cluster; what the cluster's own part said tells why it got no answer."""
    try:
        _run(*command)
    except ServerError as error:
        if _NOT_HEARD not in str(error) or attempts == 1:
            raise ServerError(f"{error}{process.last_words(answerer)}") from error
        _ask(answerer, *command, attempts=attempts - 1)


def _run(*command: str) -> None:
    """Run a command to its end.

    Raises:
        ServerError: It failed or did not end in time. Its arguments are left out, for a secret may be among them.
    """
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS_TO_RUN)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{command[0]} did not end within {_SECONDS_TO_RUN} seconds") from error
    except subprocess.CalledProcessError as error:
        raise ServerError(f"{command[0]} failed: {error.stderr[-2000:]}") from error


def _configuration(directory: Path) -> Path:
    return directory / "ceph.conf"


def _with_configuration(directory: Path) -> tuple[str, str]:
    return "-c", str(_configuration(directory))


def _map(directory: Path) -> str:
    return str(directory / "monmap")


def _monitor(directory: Path) -> Process:
    return Process(name="mon", directory=directory)


def _osd(directory: Path) -> Process:
    return Process(name="osd", directory=directory)


def _gateway(directory: Path) -> Process:
    return Process(name="rgw", directory=directory)


def _as_environment(server: Server) -> str:
    """Return the lines that tell a shell, and this project's `.env`, where the server is."""
    return (
        f"AWS_ENDPOINT_URL_S3={server.endpoint_url}\n"
        f"AWS_ACCESS_KEY_ID={server.access_key}\n"
        f"AWS_SECRET_ACCESS_KEY={server.secret_key}\n"
        f"AWS_REGION_NAME={server.region}\n"
    )


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ceph.py", description="Start or stop Ceph's S3 gateway for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("start", "stop"):
        commands.add_parser(name).add_argument("directory", type=Path)
    commands.choices["start"].add_argument("--port", type=int, help="where the gateway answers; a free one by default")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Start or stop a cluster, as the command line says."""
    arguments = _arguments(words)
    try:
        if arguments.command == "start":
            sys.stdout.write(_as_environment(start(arguments.directory, arguments.port)))
        else:
            stop(arguments.directory)
    except ServerError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
