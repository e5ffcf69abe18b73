"""What the pages show is run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cf_data_tracker.embedded import running

ROOT = Path(__file__).parents[1]


def python_of(page: str) -> str:
    """Return the Python of a page, one block after the other."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize(
    ("page", "holds_then"),
    [
        ("README.md", "(done.version, done.created) == (1, True) and clean.pending('vitals') == []"),
        ("docs/guide.md", "len(tracker.history('vitals', 'deaths')) == 20 and clean.skipped('vitals') == []"),
        ("docs/upload.md", "not again.created"),
        ("docs/claims.md", "clean.pending('vitals') == []"),
        ("docs/coming-from-0.3.md", "tracker.exists('vitals', 'births', 'FY2023', 'births_2023.zip')"),
    ],
)
def test_examples_run(page: str, holds_then: str, scratch: Path) -> None:
    """All blocks of a page, run in order in an empty bucket, do what they say."""
    for name in ("births_q1.zip", "births_q2.zip", "births_2023.zip", "births_2024.zip"):
        (scratch / name).write_bytes(name.encode())
    script = scratch / "examples.py"
    script.write_text(f'{python_of(page)}\nif __name__ == "__main__":\n    assert {holds_then}\n')
    with running(["raw", "clean"]) as server:
        settings = {
            "AWS_DEST_BUCKET_RAW": "raw",
            "AWS_DEST_BUCKET_CLEAN": "clean",
            "AWS_ENDPOINT_URL_S3": server.endpoint_url,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }
        run = subprocess.run(
            [sys.executable, str(script)], env=os.environ | settings, capture_output=True, text=True, check=False
        )
    assert (0, "") == (run.returncode, run.stderr)
