"""The code, broken on purpose, as a tired engineer might; and the tests that must notice.

A mutant is a copy of the sources with one passage replaced. One that no test notices is a hole in the tests.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "src" / "cf_data_tracker"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One way to break the code.

    Attributes:
        name: What is wrong with it.
        file: The module that is changed, below the package.
        old: The passage, which stands there once.
        new: What replaces it.
        tests: Where it must be noticed: arguments of pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


COMMIT = ("tests/test_commit.py",)
RULES = ("tests/test_raw_rules.py",)
CONTRACT = ("tests/test_store_contract.py", "-k", "embedded")

MUTANTS: Final = (
    Mutant(
        name="If-Match is not sent",
        file="stores/s3.py",
        old='{"IfMatch": self._quoting.of(replacing)}',
        new="{}",
        tests=CONTRACT,
    ),
    Mutant(
        name="If-None-Match is not sent",
        file="stores/s3.py",
        old='return {"IfNoneMatch": "*"} if',
        new="return {} if",
        tests=CONTRACT,
    ),
    Mutant(
        name="the engine writes whatever is there",
        file="engine/commit.py",
        old="replacing=base.etag)",
        new="replacing=__import__('cf_data_tracker.store').store.ANYTHING)",
        tests=COMMIT,
    ),
    Mutant(
        name="a 412 is taken for success",
        file="engine/commit.py",
        old="            self._lost = signal.certain\n            raise\n",
        new="            self._lost = signal.certain\n",
        tests=COMMIT,
    ),
    Mutant(
        name="a lost answer is taken for success",
        file="engine/commit.py",
        old="                self._unanswered.add(base.etag)\n            raise\n",
        new="                self._unanswered.add(base.etag)\n",
        tests=COMMIT,
    ),
    Mutant(
        name="a lost answer is forgotten",
        file="engine/commit.py",
        old="                self._unanswered.add(base.etag)\n",
        new="",
        tests=COMMIT,
    ),
    Mutant(
        name="each attempt has a fresh id",
        file="tracker.py",
        old="record(document, schema, ours)",
        new="record(document, schema, [replace(one, recorded_by=uuid.uuid4().hex) for one in ours])",
        tests=("tests/test_tracker.py",),
    ),
    Mutant(
        name="a vanished document is started anew",
        file="engine/commit.py",
        old="            raise vanished(self.store.location(key))\n        return ABSENT\n",
        new="            del self.carried[key]\n        return ABSENT\n",
        tests=COMMIT,
    ),
    Mutant(
        name="a carried document is believed to have the file",
        file="engine/commit.py",
        old="elif not self._seen:",
        new="elif False:",
        tests=COMMIT,
    ),
    Mutant(
        name="after a conflict the old document is built on",
        file="engine/commit.py",
        old="        self._base, self._seen, self._lost = None, False, False\n",
        new="        self._seen, self._lost = False, False\n",
        tests=COMMIT,
    ),
    Mutant(
        name="the new number is the count + 1",
        file="rules/raw.py",
        old='grown.last = max(grown.last, entry["version"])',
        new='grown.last = len(file_entry["versions"])',
        tests=RULES,
    ),
    Mutant(
        name="unknown fields of the document are dropped",
        file="rules/raw.py",
        old='return {**document, "tables": entries,',
        new='return {"tables": entries,',
        tests=RULES,
    ),
    Mutant(
        name="unknown fields of a file name are dropped",
        file="rules/raw.py",
        old='{**entry, "current_version": state.last, "versions": versions}',
        new='{"file_name": file_name, "current_version": state.last, "versions": versions}',
        tests=RULES,
    ),
    Mutant(
        name="the revision stands still",
        file="rules/raw.py",
        old='document.get("revision", 0) + 1',
        new='document.get("revision", 1)',
        tests=RULES,
    ),
    Mutant(
        name="a late worker takes a newer clean record back",
        file="rules/clean.py",
        old='info["version"] >= raw.version',
        new='info["version"] == raw.version',
        tests=("tests/test_clean_rules.py",),
    ),
)


def broken_sources(mutant: Mutant, directory: Path) -> Path:
    """Make the mutant's sources under a directory, and return what to put before the search path."""
    shutil.copytree(SOURCES, directory / "cf_data_tracker", ignore=shutil.ignore_patterns("__pycache__"))
    path = directory / "cf_data_tracker" / mutant.file
    text = path.read_text()
    if text.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: the passage stands {text.count(mutant.old)} times in {mutant.file}")
    path.write_text(text.replace(mutant.old, mutant.new))
    return directory


def survives(mutant: Mutant, directory: Path) -> bool:
    """Return whether the tests pass on the mutant, which they must not."""
    environment = {**os.environ, "PYTHONPATH": str(broken_sources(mutant, directory)), "HYPOTHESIS_PROFILE": "mutants"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *mutant.tests]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if run.returncode not in (0, 1):
        raise RuntimeError(f"{mutant.name}: the tests did not run\n{run.stdout}\n{run.stderr}")
    return run.returncode == 0
