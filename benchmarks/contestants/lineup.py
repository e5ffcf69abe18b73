"""The line-up: who takes part, and with which packages. The one table that is to be changed for a newer release."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One contestant.

    Attributes:
        name: What the command line calls it; its file in this folder, with `-` for `_`.
        title: What tables call it.
        packages: What its environment is made of; empty for this project's own environment.
        shown: The package whose version a table names.
        note: What is to be known when its row is read.
    """

    name: str
    title: str
    packages: tuple[str, ...] = ()
    shown: str = ""
    note: str = ""

    @property
    def module(self) -> str:
        """The module that is run."""
        return f"contestants.{self.name.replace('-', '_')}"


LINEUP: Final = (
    Entry(name="combining", title="this project", note="as it comes: workers combine their recordings"),
    Entry(name="cas", title="this project, combining=False", note="each worker commits its own recordings"),
    Entry(
        name="plain-loop",
        title="loop on boto3",
        shown="boto3",
        note="GET, change, PUT If-Match, full jitter; the same document and rules",
    ),
    Entry(
        name="obstore-loop",
        title="loop on obstore",
        packages=("obstore==0.12.1", "tenacity==9.2.1"),
        shown="obstore",
        note="the same loop",
    ),
    Entry(
        name="delta",
        title="delta-rs",
        packages=("deltalake==1.6.6", "pyarrow==26.0.1", "tenacity==9.2.1"),
        shown="deltalake",
        note="appends a row; gives no number and does not look whether the file is there",
    ),
    Entry(
        name="icechunk",
        title="Icechunk",
        packages=("icechunk==1.1.21", "zarr==3.1.6", "tenacity==9.2.1"),
        shown="icechunk",
        note="creates a group and rebases; gives no number",
    ),
    Entry(
        name="iceberg",
        title="PyIceberg",
        packages=("pyiceberg==0.12.0", "pyarrow==26.0.1", "SQLAlchemy==2.1.9", "tenacity==9.2.1"),
        shown="pyiceberg",
        note="as delta-rs; its catalog is in SQLite on local disk",
    ),
    Entry(
        name="earlier-package",
        title="cf_data_tracker 0.3.19",
        packages=("cf_data_tracker==0.3.19",),
        note="reads, changes and puts back blindly",
    ),
)
