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
COMBINE = ("tests/test_combine.py",)
INBOX = ("tests/test_inbox.py",)
BATCH = ("tests/test_batch.py", "-k", "not server")

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
        old="replacing=base.etag, waiting=waiting)",
        new="replacing=__import__('cf_data_tracker.store').store.ANYTHING, waiting=waiting)",
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
        old="record(document, schema, recordings)",
        new="record(document, schema, [replace(one, recorded_by=uuid.uuid4().hex) for one in recordings])",
        tests=("tests/test_tracker.py", "-k", "TestErrors"),
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
    Mutant(
        name="what was published may not be told of",
        file="engine/combine.py",
        old="return self._doubtful or bool(self._key)",
        new="return self._doubtful",
        tests=COMBINE,
    ),
    Mutant(
        name="a publishing without an answer is taken for none",
        file="engine/combine.py",
        old="self._key = key if signal.sent else self._key",
        new="self._key = self._key",
        tests=COMBINE,
    ),
    Mutant(
        name="whoever combines forgets its own recordings",
        file="engine/combine.py",
        old="self._ledger.record(base.document, [*others, *self._recordings])",
        new="self._ledger.record(base.document, others)",
        tests=COMBINE,
    ),
    Mutant(
        name="whoever combines is told what came of the recordings of others",
        file="engine/combine.py",
        old="return outcomes[len(others) :]",
        new="return outcomes[: len(self._recordings)]",
        tests=COMBINE,
    ),
    Mutant(
        name="entries are deleted before the write",
        file="engine/combine.py",
        old="            written = self._write(document, base, self._note(taken))\n",
        new="            self._inbox.remove(entry.key for entry in taken)\n"
        "            written = self._write(document, base, self._note(taken))\n",
        tests=COMBINE,
    ),
    Mutant(
        name="the inbox is listed before the document is read",
        file="engine/combine.py",
        old="        before, base = self._carried(), self._look()\n",
        new="        self._listed = lambda listed=self._listed(): listed\n"
        "        before, base = self._carried(), self._look()\n",
        tests=COMBINE,
    ),
    Mutant(
        name="what is consumed stays in the inbox",
        file="engine/combine.py",
        old="self._inbox.remove([*(entry.key for entry in taken), *([self._key] if self._key else [])])",
        new="pass",
        tests=COMBINE,
    ),
    Mutant(
        name="a commit takes along whatever waits",
        file="engine/combine.py",
        old="if number + len(entry.recordings) <= room and size + entry.size <= MAX_BYTES:",
        new="if True:",
        tests=COMBINE,
    ),
    Mutant(
        name="who commits back to back never looks at the inbox",
        file="engine/combine.py",
        old="beside = not listed and ",
        new="beside = False and ",
        tests=COMBINE,
    ),
    Mutant(
        name="a stale cache is taken for contention",
        file="engine/combine.py",
        old="self._losses += seen",
        new="self._losses += 1",
        tests=COMBINE,
    ),
    Mutant(
        name="nobody notes that others wait",
        file="engine/combine.py",
        old="self._write(document, base, self._note(taken))",
        new="self._write(document, base)",
        tests=COMBINE,
    ),
    Mutant(
        name="the note does not reach the store",
        file="stores/s3.py",
        old="Metadata={WAITING: str(waiting)} if waiting else {},",
        new="Metadata={},",
        tests=("tests/test_store_contract.py", "-k", "embedded and note"),
    ),
    Mutant(
        name="an unreadable entry holds up everybody",
        file="engine/inbox.py",
        old="            raise _SetAside from error\n",
        new="            raise\n",
        tests=INBOX,
    ),
    Mutant(
        name="without permission to list nobody can record",
        file="engine/inbox.py",
        old="            self._close(error)\n            return []\n",
        new="            self._close(error)\n            raise\n",
        tests=(*INBOX, "-k", "refused"),
    ),
    Mutant(
        name="where versions are kept an entry is deleted and leaves a marker",
        file="engine/inbox.py",
        old="self._quietly(lambda: self._engine.store.erase(key, version))",
        new="self._quietly(lambda: self._engine.store.delete(key))",
        tests=INBOX,
    ),
    Mutant(
        name="where versions are kept an entry is left",
        file="engine/inbox.py",
        old="self._beside(lambda: self._quietly(lambda: self._engine.store.erase(key, version)))",
        new="pass",
        tests=INBOX,
    ),
    Mutant(
        name="a damaged entry is read",
        file="entries.py",
        old="if _digest(payload) != digest:",
        new="if False:",
        tests=("tests/test_entries.py",),
    ),
    Mutant(
        name="threads are given each other's outcomes",
        file="engine/batch.py",
        old="member.settle(outcomes[start:end])",
        new="member.settle(outcomes[len(outcomes) - end : len(outcomes) - start])",
        tests=BATCH,
    ),
    Mutant(
        name="a thread is not told that its recording is bad",
        file="engine/batch.py",
        old="members[0].settle((), error)",
        new="members[0].settle(())",
        tests=BATCH,
    ),
    Mutant(
        name="one bad recording fails all that share the commit",
        file="engine/batch.py",
        old="elif _is_everybodys(error):",
        new="elif True:",
        tests=BATCH,
    ),
    Mutant(
        name="threads raise the same error object",
        file="engine/batch.py",
        old="member.settle((), _another(error))",
        new="member.settle((), error)",
        tests=BATCH,
    ),
    Mutant(
        name="a thread that is being carried says that nothing was written",
        file="engine/batch.py",
        old="if self._leader is not member and not member.carried:",
        new="if self._leader is not member:",
        tests=BATCH,
    ),
    Mutant(
        name="a thread that gave up is carried",
        file="engine/batch.py",
        old="                member.done = True  # from here on nobody carries it\n",
        new="",
        tests=BATCH,
    ),
    Mutant(
        name="a group commit knows no bounds",
        file="engine/batch.py",
        old="if place and (number > MAX_OWN or size > MAX_BYTES):",
        new="if False:",
        tests=BATCH,
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
