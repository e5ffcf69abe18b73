"""What the two hand-written loops share: the change of the document, and how long to wait before the next attempt.

The document has the shape that this project uses, and the same rules: a file that is there is not added again, a new
one gets the next number of its file name. So an attempt whose answer was lost is simply made again.
"""

import json
from dataclasses import asdict
from typing import Any, Final

from tenacity import stop_after_delay, wait_random_exponential

from contestants.harness import GIVE_UP_SECONDS, File

KEY: Final = "vitals/vitals_version_info.json"

WAIT: Final = wait_random_exponential(multiplier=0.05, max=0.5)
"""Full jitter. Tuning: of bounds of 0.25, 0.5, 1, 2 and 5 s the one with the most recordings a second: with 32
workers and the latencies of S3 17 a second, where 0.25 and 2 s give 12 and 13."""

STOP: Final = stop_after_delay(GIVE_UP_SECONDS)


def grown(body: bytes | None, file: File) -> bytes | None:
    """Return the document with the file in it, or `None` where it is in it already."""
    document: Any = json.loads(body) if body else {"tables": [{"schema_name": "vitals", "tables": []}]}
    table = _entry(document["tables"][0]["tables"], "name", file.table, "files")
    entry = _entry(table["files"], "file_name", file.file_name, "versions")
    if any(version["file"] == file.file for version in entry["versions"]):
        return None
    fields = asdict(file)
    del fields["table"], fields["file_name"]
    entry["current_version"] = len(entry["versions"]) + 1
    entry["versions"].append({"version": entry["current_version"], **fields})
    return json.dumps(document).encode()


def files_in(body: bytes | None) -> list[str]:
    """Return the files of a document."""
    tables = json.loads(body)["tables"][0]["tables"] if body else []
    return [version["file"] for table in tables for entry in table["files"] for version in entry["versions"]]


def _entry(entries: list[dict[str, Any]], key: str, name: str, children: str) -> dict[str, Any]:
    for entry in entries:
        if entry[key] == name:
            return entry
    entries.append({key: name, children: []})
    return entries[-1]
