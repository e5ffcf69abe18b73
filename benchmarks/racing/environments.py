"""Each contestant's own environment: made once from the package registry, under `.cache/peers`, and kept there."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from contestants.lineup import Entry

BENCHMARKS: Final = Path(__file__).parents[1]
ENVIRONMENTS: Final = BENCHMARKS.parent / ".cache" / "peers"
INSTALL_SECONDS: Final = 900.0


class InstallError(Exception):
    """An environment could not be made. What the installer said went to standard error."""


def interpreter(entry: Entry) -> str:
    """Return the Python that runs a contestant, and first make its environment if it is not there or has other pins.

    Raises:
        InstallError: Its packages could not be installed.
    """
    if not entry.packages:
        return sys.executable
    directory = ENVIRONMENTS / entry.name
    python, pins = directory / "bin" / "python", directory / "pins.txt"
    wanted = "".join(f"{package}\n" for package in (sys.version, *entry.packages))
    if not (pins.exists() and pins.read_text() == wanted):
        _make(directory, entry)
        pins.write_text(wanted)  # last: an environment that was left half made has none
    return str(python)


def runtime(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for a contestant: no keys, endpoints or proxies of the caller's."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.upper().startswith("AWS_") and not name.upper().endswith("_PROXY")
    }
    return {
        **kept,
        "AWS_EC2_METADATA_DISABLED": "true",  # nobody waits for a role that is not there
        # Newer SDKs send checksums that stores other than AWS do not know.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
    }


def _make(directory: Path, entry: Entry) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    pip = (str(directory / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(entry, sys.executable, "-m", "venv", str(directory))
    _run(entry, *pip, "install", *entry.packages)


def _run(entry: Entry, *command: str) -> None:
    try:
        subprocess.run(command, check=True, stdout=sys.stderr, timeout=INSTALL_SECONDS, env=dict(os.environ))  # noqa: S603 - our own interpreter and pins
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        wanted = " ".join(entry.packages)
        raise InstallError(f"{wanted} could not be installed from the package registry; pip said why") from error
