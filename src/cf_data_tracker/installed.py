"""Which release of a distribution is installed."""

from importlib.metadata import PackageNotFoundError, version
from typing import Final

OURS: Final = "cf-data-tracker"
"""The distribution that this package comes in."""


def release(distribution: str = OURS) -> str:
    """Return the version of a distribution, or words that say that none is known: code may run from a source tree."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown (not installed)"
