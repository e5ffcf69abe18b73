"""The code, broken on purpose, as a tired engineer might; and the tests that must notice.

A mutant is a copy of the sources with one passage replaced. One that no test notices is a hole in the tests.

    python tests/mutants.py                        breaks the code in each way in turn, and shows which test noticed
    python tests/mutants.py --only "412"           those alone whose name or module has this in it
    python tests/mutants.py --markdown table.md    keeps the table as well, or with --json the figures

It ends with 1 if a mutant survived. What makes no difference that a caller could notice is not listed: to wait a little
longer or shorter, to ask once more, to say it in other words.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "src" / "cf_data_tracker"

LONGEST_PARAMETERS: Final = 40
"""Longer ones of a test are left out of the table."""

FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+?::.+?)(?: - .*)?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutant:
    """One way to break the code.

    Attributes:
        name: What is wrong with it.
        file: The module that is changed, below the package.
        old: The passage, which stands there once.
        new: What replaces it.
        tests: Where it must be noticed: arguments of pytest.
        often: Whether it is tried with every run of the tests; the others under `make prove`.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    often: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: Its name.
        module: The module that was changed.
        test: The first test that noticed, or `None`: it survived.
        seconds: How long that took.
    """

    mutant: str
    module: str
    test: str | None
    seconds: float


def _ways(file: str, tests: tuple[str, ...], *ways: tuple[str, str, str], often: bool = False) -> Iterator[Mutant]:
    """Yield a mutant of a module for each way: what is wrong then, the passage, and what replaces it."""
    for name, old, new in ways:
        yield Mutant(name=name, file=file, old=old, new=new, tests=tests, often=often)


COMMIT: Final = ("tests/test_cas.py",)
COMBINE: Final = ("tests/test_combine.py",)
INBOX: Final = ("tests/test_inbox.py",)
BATCH: Final = ("tests/test_group_commit.py", "-k", "not server")
ENTRIES: Final = ("tests/test_entries.py",)
RECENT: Final = ("tests/test_recent.py",)
VANISHED: Final = ("tests/test_vanished.py", "-k", "not server")
RAW_RULES: Final = ("tests/test_raw_rules.py",)
RAW_RULES_IN_SHORT: Final = (*RAW_RULES, "-k", "numbers_are or recording_again or shares_no_list or one_revision")
CLEAN_RULES: Final = ("tests/test_clean_rules.py",)
SWEEP: Final = ("tests/test_sweep_keeps.py",)
DOCUMENT: Final = ("tests/test_document.py",)
MEMORY: Final = ("tests/test_store_contract.py", "-k", "memory")
EVERY_WAY: Final = ("tests/simulation/test_exhaustive.py", "-k", "small_plan")
GIVEN_UP: Final = ("tests/simulation/test_exhaustive.py", "-k", "small_plan and given and soon")
BOTH_PUBLISH: Final = ("tests/simulation/test_exhaustive.py", "-m", "prove", "-k", "workers and publishing")
AT_RANDOM: Final = ("tests/simulation/test_random.py", "-k", "test_random_runs_keep_the_laws")
THREADS: Final = ("tests/simulation/test_threads.py", "-k", "told_the_truth")

MUTANTS: Final = (
    *_ways(
        "engine/cas.py",
        COMMIT,
        (
            "the engine writes whatever is there",
            "replacing=base.etag, waiting=waiting)",
            "replacing=__import__('cf_data_tracker.store').store.ANYTHING, waiting=waiting)",
        ),
        (
            "a 412 is taken for success",
            "            self._lost = signal.certain\n            raise\n",
            "            self._lost = signal.certain\n",
        ),
        (
            "a lost answer is taken for success",
            "                self._unanswered.add(base.etag)\n            raise\n",
            "                self._unanswered.add(base.etag)\n",
        ),
        (
            "a lost answer is forgotten",
            "                self._unanswered.add(base.etag)\n",
            "",
        ),
        (
            "after a conflict the old document is built on",
            "        self._base, self._seen, self._lost = None, False, False\n",
            "        self._seen, self._lost = False, False\n",
        ),
        (
            "a carried document is believed to have the file",
            "elif not self._seen:",
            "elif False:",
        ),
        (
            "whoever has carried a document never asks for it again",
            "        if answer is UNCHANGED:\n",
            "        if answer is UNCHANGED or carried.document is not None:\n",
        ),
        (
            "a document is carried before it is written",
            "        written = self.store.write(key, body, replacing=base.etag, waiting=waiting)\n",
            (
                "        self.carried.put(key, Snapshot(document, base.etag, waiting), len(body))\n"
                "        written = self.store.write(key, body, replacing=base.etag, waiting=waiting)\n"
            ),
        ),
        (
            "a vanished document is started anew",
            "            raise vanished(self.store.location(key))\n        return ABSENT\n",
            "            self.carried.clear()\n        return ABSENT\n",
        ),
        (
            "rubbish is taken for an empty document",
            "            raise DocumentError(error.where, error.problem, self.store.location(target.key)) from None\n",
            '            return {"tables": []} if error else {}\n',
        ),
        (
            "doubt is said to be contention",
            '        if not self.in_doubt:\n            return ContentionError(f"other',
            '        if True:\n            return ContentionError(f"other',
        ),
        often=True,
    ),
    *_ways(
        "engine/cas.py",
        COMMIT,
        (
            "a refusal hides what was sent before",
            "            if commit.in_doubt:  # a refusal",
            "            if False:  # a refusal",
        ),
        (
            "success is told before the write",
            "            self._write(document, base)\n            added",
            "            self._engine.runtime.spawn(lambda: None)\n            added",
        ),
        (
            "a request without an answer ends the commit",
            "retry_if_exception_type((Conflict, Unanswered, Waiting))",
            "retry_if_exception_type((Conflict, Waiting))",
        ),
        (
            "a 409 is believed to have looked",
            "            self._lost = signal.certain\n",
            "            self._lost = True\n",
        ),
        (
            "what was never sent is in doubt",
            "            if signal.sent:\n                self._doubtful = True\n",
            "            if True:\n                self._doubtful = True\n",
        ),
        (
            "a look ends all doubt",
            "        self._doubtful = base.etag in self._unanswered\n",
            "        self._doubtful = False\n",
        ),
        (
            "doubt never ends",
            "        self._doubtful = base.etag in self._unanswered\n",
            "",
        ),
        (
            "whoever gives up does not look once more",
            "            return outcome\n        raise self._gave_up() from signal\n",
            "            pass\n        raise self._gave_up() from signal\n",
        ),
        (
            "the old ETag is carried after a write",
            "Snapshot(document, written.etag, waiting)",
            "Snapshot(document, base.etag, waiting)",
        ),
        (
            "a document that may not be read is started anew",
            "            if self._lost or known:\n",
            "            if False:\n",
        ),
        (
            "time has no bound",
            "            return late or state.attempt_number",
            "            return state.attempt_number",
        ),
        (
            "attempts have no bound",
            "            return late or state.attempt_number >= min(attempts, self._patience.attempts)\n",
            "            return late\n",
        ),
        (
            "the note is not sent",
            "replacing=base.etag, waiting=waiting)",
            "replacing=base.etag)",
        ),
    ),
    *_ways(
        "tracker.py",
        ("tests/test_tracker.py", "-k", "TestErrors"),
        (
            "each attempt has a fresh id",
            "record(document, schema, recordings)",
            "record(document, schema, [replace(one, recorded_by=RUNTIME.unique_id()) for one in recordings])",
        ),
        often=True,
    ),
    *_ways(
        "engine/combine.py",
        COMBINE,
        (
            "what was published may not be told of",
            "return self._doubtful or bool(self._key)",
            "return self._doubtful",
        ),
        (
            "a publishing without an answer is taken for none",
            "self._key = key if signal.sent else self._key",
            "self._key = self._key",
        ),
        (
            "whoever combines forgets its own recordings",
            "self._ledger.record(base.document, [*others, *self._recordings])",
            "self._ledger.record(base.document, others)",
        ),
        (
            "entries are deleted before the write",
            "            written = self._write(document, base, self._note(taken))\n",
            (
                "            self._inbox.remove(entry.key for entry in taken)\n"
                "            written = self._write(document, base, self._note(taken))\n"
            ),
        ),
        (
            "entries of a commit that lost are deleted",
            "            self._lost_to_others(seen=seen)\n            raise\n",
            (
                "            self._lost_to_others(seen=seen)\n"
                "            self._inbox.remove(entry.key for entry in taken)\n"
                "            raise\n"
            ),
        ),
        (
            "an entry that was not taken is deleted",
            "        self._committed(base, document, taken)\n",
            "        self._committed(base, document, entries)\n",
        ),
        (
            "the inbox is listed before the document is read",
            "        before, base = self._carried(), self._look()\n",
            (
                "        self._listed = lambda listed=self._listed(): listed\n"
                "        before, base = self._carried(), self._look()\n"
            ),
        ),
        (
            "what is consumed stays in the inbox",
            "self._inbox.remove([*(entry.key for entry in taken), *([self._key] if self._key else [])])",
            "pass",
        ),
        (
            "that somebody has committed is taken for one's own commit",
            "        if document is base.document:\n            return self._landed(outcomes)\n",
            (
                "        if document is base.document or (before and base is not before):\n"
                "            return self._landed(outcomes)\n"
            ),
        ),
        (
            "the note is taken for the inbox",
            "        entries = self._listed()\n        if self._random()",
            "        entries = self._listed() if base.waiting else ()\n        if self._random()",
        ),
        (
            "who commits back to back never looks at the inbox",
            "beside = not listed and ",
            "beside = False and ",
        ),
        often=True,
    ),
    *_ways(
        "engine/combine.py",
        COMBINE,
        (
            "after publishing the carried document is believed",
            "        before, base = self._carried(), self._look()\n",
            "        before = self._carried()\n        base = before or self._look()\n",
        ),
        (
            "an entry of the living is swept",
            "self._inbox.sweep(entry.key for entry in taken if not entry.adds(added))",
            "self._inbox.sweep(entry.key for entry in taken)",
        ),
        (
            "whoever combines is told what came of the recordings of others",
            "return outcomes[len(others) :]",
            "return outcomes[: len(self._recordings)]",
        ),
        (
            "a newcomer lists the inbox before it reads the document",
            "        base = self._look()\n        self._inbox.crowd = base.waiting\n",
            (
                "        self._listed = lambda listed=self._listed(): listed\n"
                "        base = self._look()\n        self._inbox.crowd = base.waiting\n"
            ),
        ),
        (
            "a publishing without an answer is taken for certain",
            "            self._key = key if signal.sent else self._key\n            raise\n",
            "            self._key = key\n",
        ),
        (
            "a commit takes along whatever waits",
            "if number + len(entry.recordings) <= room and size + entry.size <= MAX_BYTES:",
            "if True:",
        ),
        (
            "an entry that is too large for any commit waits for ever",
            "    if large:\n",
            "    if False:\n",
        ),
        (
            "a stale cache is taken for contention",
            "        self._defeats += seen\n",
            "        self._defeats += 1\n",
        ),
        (
            "nobody notes that others wait",
            "self._write(document, base, self._note(taken))",
            "self._write(document, base)",
        ),
        (
            "what was never sent is taken for published",
            "self._key = key if signal.sent else self._key",
            "self._key = key",
        ),
        (
            "where publishing is refused nobody can record",
            "# refused, or no JSON: the document will tell\n            return self._alone()\n",
            "# refused, or no JSON: the document will tell\n            raise\n",
        ),
        (
            "a list without an answer fails the attempt",
            "        with suppress(Unanswered):\n            return self._inbox.waiting(own=self._key)\n",
            "        with suppress(KeyError):\n            return self._inbox.waiting(own=self._key)\n",
        ),
        (
            "what was listed beside a write is taken along though the write had it",
            "[entry for entry in found if entry.key not in keys]",
            "list(found)",
        ),
        (
            "a file that is there is published",
            "(self._braked or self._crowded()) and not self._known())",
            "(self._braked or self._crowded()))",
        ),
        (
            "one's own entry is left where versions are kept",
            "                self._inbox.withdraw(self._key, self._version)\n        else:",
            "                pass\n        else:",
        ),
        (
            "one's own entry is left when others have committed it",
            "            self._inbox.withdraw(self._key, self._version)  # it may be that nobody else has met it\n",
            "            pass\n",
        ),
        (
            "what the rule said of no document is remembered",
            "            self._rule = _remembering(self._asked_anew)\n        return base\n",
            "            pass\n        return base\n",
        ),
    ),
    *_ways(
        "engine/inbox.py",
        INBOX,
        (
            "an unreadable entry holds up everybody",
            "            raise _SetAside from error\n",
            "            raise\n",
        ),
        (
            "an unreadable entry is deleted before it is kept aside",
            "            self._put(aside, body)\n            self.withdraw(key, None)\n",
            "            self.withdraw(key, None)\n            self._put(aside, body)\n",
        ),
        (
            "what was not deleted is never met again",
            "                        _take_out(self._done, keys)\n",
            "                        pass\n",
        ),
        often=True,
    ),
    *_ways(
        "engine/inbox.py",
        INBOX,
        (
            "without permission to list nobody can record",
            "            self._close(error)\n            return []\n",
            "            self._close(error)\n            raise\n",
        ),
        (
            "each list begins anew",
            'self._after = keys[-1] if len(keys) >= PAGE else ""',
            'self._after = ""',
        ),
        (
            "one's own entry is taken for another's",
            "if key != own and key not in self._done",
            "if key not in self._done",
        ),
        (
            "where versions are kept an entry is left",
            "self._beside(lambda: self._quietly(lambda: self._engine.store.erase(key, version)))",
            "pass",
        ),
        (
            "where versions are kept an entry is deleted and leaves a marker",
            "self._quietly(lambda: self._engine.store.erase(key, version))",
            "self._quietly(lambda: self._engine.store.delete(key))",
        ),
        (
            "a body that is gone is taken for an empty one",
            "return stored.body if isinstance(stored, Stored) else _Lacking.GONE",
            'return stored.body if isinstance(stored, Stored) else b""',
        ),
        (
            "publishing twice is a conflict",
            "write(key, body, replacing=ANYTHING)",
            "write(key, body, replacing=None)",
        ),
        (
            "a 409 to a publishing is taken for a lost race",
            "            raise Unanswered(str(signal)) from signal\n",
            "            raise\n",
        ),
        (
            "what others left behind is deleted and leaves a marker",
            "            self._engine.store.erase(key, stored.version)\n",
            "            self._engine.store.delete(key)\n",
        ),
        (
            "an interrupt while a removal begins is the end of all removals",
            "        return self.handed_over and not self.over\n",
            "        return not self.over\n",
        ),
        (
            "a removal is begun beside one that is under way",
            "            removal.handed_over = True\n",
            "",
        ),
        (
            "bodies are fetched though those before are not answered",
            "                if _Lacking.UNANSWERED in bodies.values():\n",
            "                if False:\n",
        ),
        (
            "a body that is not answered is fetched with each list",
            "                self._postpone(key)\n",
            "                pass\n",
        ),
        (
            "a body is received however large it is",
            "self._engine.store.read(key, most=MAX_PAYLOAD_BYTES)",
            "self._engine.store.read(key)",
        ),
        (
            "a list gives all that a thousand keys inflate to",
            "            if size > MAX_LISTED_BYTES:\n",
            "            if False:\n",
        ),
        (
            "a list that was cut short is begun anew",
            "                self._after = key\n                return\n",
            "                return\n",
        ),
        (
            "what is being removed is given again",
            "            self._done.update(self._doomed)\n",
            "",
        ),
    ),
    *_ways(
        "engine/combine.py",
        EVERY_WAY,
        (
            "what the rule said of one document is written over the next",
            "        if not last or last[0][0] is not document:\n",
            "        if not last:\n",
        ),
        often=True,
    ),
    *_ways(
        "engine/cas.py",
        EVERY_WAY,
        (
            "whoever combines writes whatever is there",
            "replacing=base.etag, waiting=waiting)",
            (
                "replacing=__import__('cf_data_tracker.store').store.ANYTHING if waiting else base.etag, "
                "waiting=waiting)"
            ),
        ),
    ),
    *_ways(
        "engine/inbox.py",
        BOTH_PUBLISH,
        (
            "whatever is listed is deleted at once",
            "        return list(self._readable(keys))\n",
            "        entries = list(self._readable(keys))\n        self.remove(keys)\n        return entries\n",
        ),
    ),
    *_ways(
        "engine/cas.py",
        GIVEN_UP,
        (
            "a conflict ends all doubt of what was sent before",
            "            self._lost = signal.certain\n            raise\n",
            "            self._lost = signal.certain\n            self._unanswered.clear()\n            raise\n",
        ),
    ),
    *_ways(
        "engine/combine.py",
        AT_RANDOM,
        (
            "what is found beside a write is deleted before it is taken along",
            "        self._inbox.crowd = len(self._standing.found)\n",
            (
                "        self._inbox.crowd = len(self._standing.found)\n"
                "        self._inbox.remove(entry.key for entry in found)\n"
            ),
        ),
    ),
    *_ways(
        "engine/combine.py",
        ("tests/simulation/test_exhaustive.py", "-k", "small_plan and dead"),
        (
            "what a dead worker left in a quiet document waits for ever",
            " or self._is_due(base):\n",
            ":\n",
        ),
        (
            "whoever is due writes before it lists",
            "        return (revision + 1) % tuning.due_every == 0",
            "        return (revision + 1) % tuning.due_every == 9",
        ),
    ),
    *_ways(
        "engine/combine.py",
        (*COMBINE, "-k", "Leftovers or TooLarge"),
        (
            "whoever has listed of late lists all the same",
            " and revision - self._standing.listed > tuning.due_after\n",
            "\n",
        ),
        (
            "a list of long ago counts as one of late",
            '            standing.listed = float("-inf")\n',
            '            standing.listed = float("inf")\n',
        ),
        (
            "a list whose entries were lost with the write counts",
            "        found: Sequence[Entry[R]] | None = None\n",
            "        found: Sequence[Entry[R]] | None = None\n        self._standing.listed = _revision(base)\n",
        ),
        (
            "what is too large is sealed again with each attempt",
            "            self._publishable = False\n",
            "            pass\n",
        ),
    ),
    *_ways(
        "engine/group_commit.py",
        THREADS,
        (
            "whom an interrupted leader carried is told that nothing was written",
            "member.in_doubt, member.carried = member.carried, True",
            "member.in_doubt, member.carried = False, True",
        ),
    ),
    *_ways(
        "entries.py",
        ENTRIES,
        (
            "a damaged entry is read",
            "if _digest(payload) != digest:",
            "if False:",
        ),
        often=True,
    ),
    *_ways(
        "entries.py",
        ENTRIES,
        (
            "a number that no document can hold is published",
            "ensure_ascii=False, allow_nan=False)",
            "ensure_ascii=False)",
        ),
        (
            "an entry that was cut off is read",
            "    if not inflating.eof:\n",
            "    if False:\n",
        ),
        (
            "an entry of any number of values is read",
            ' or sum(map(plain.count, (b"[", b"{", b","))) > MAX_VALUES',
            "",
        ),
        (
            "what nobody will read is published",
            "    _check_size(plain)\n    _check_depth(recordings)\n",
            "",
        ),
        (
            "a key is measured in characters",
            "if len(full.encode()) <= MAX_KEY_BYTES",
            "if len(full) <= MAX_KEY_BYTES",
        ),
        (
            "an entry of nothing is read",
            "if not isinstance(values, list) or not values:",
            "if not isinstance(values, list):",
        ),
        (
            "a recording that this library refuses fails everybody's commit",
            "zlib.error, RecursionError, TrackerError) as error:",
            "zlib.error, RecursionError) as error:",
        ),
    ),
    *_ways(
        "engine/cas.py",
        VANISHED,
        (
            "a deleted document is begun anew by a new process",
            "was_there=known or answer is DELETED)",
            "was_there=known)",
        ),
    ),
    *_ways(
        "engine/recent.py",
        RECENT,
        (
            "a document that is carried no more is not known to have been there",
            "        return key in self._known\n",
            "        return key in self._values\n",
        ),
        (
            "what is carried grows with every document",
            "len(self._values) > self._documents or",
            "False or",
        ),
        (
            "documents are carried however large they are",
            "self._bytes() > self._most)",
            "False)",
        ),
        (
            "a large document is read for each recording",
            "(len(self._values) > 1 and self._bytes()",
            "(self._bytes()",
        ),
        (
            "a batch that threads wait in is forgotten",
            "            value = self._held.get(key)\n",
            "            value = self._kept.get(key)\n",
        ),
        (
            "what was used first is kept",
            "            self._kept.move_to_end(key)\n",
            "            self._kept.move_to_end(key, last=False)\n",
        ),
        often=True,
    ),
    *_ways(
        "engine/group_commit.py",
        BATCH,
        (
            "a thread loses the error that it was told",
            "        if member.error is not None:\n            raise member.error\n",
            "",
        ),
        (
            "one bad recording fails all that share the commit",
            "elif _is_everybodys(error):",
            "elif True:",
        ),
        (
            "a thread that gave up is carried",
            "                member.done = True  # from here on nobody carries it\n",
            "",
        ),
        often=True,
    ),
    *_ways(
        "engine/group_commit.py",
        BATCH,
        (
            "a thread is not told that its recording is bad",
            "members[0].settle((), error)",
            "members[0].settle(())",
        ),
        (
            "a thread that is being carried says that nothing was written",
            "if self._leader is not member and not member.carried:",
            "if self._leader is not member:",
        ),
        (
            "threads are given each other's outcomes",
            "member.settle(outcomes[start:end])",
            "member.settle(outcomes[len(outcomes) - end : len(outcomes) - start])",
        ),
        (
            "threads raise the same error object",
            "member.settle((), _another(error))",
            "member.settle((), error)",
        ),
        (
            "a recording that makes no document fails all that share the commit",
            "        return bool(error.location)\n",
            "        return True\n",
        ),
        (
            "a group commit knows no bounds",
            "if place and (number > MAX_OWN or size > MAX_BYTES):",
            "if False:",
        ),
        (
            "those who are done are carried again",
            "_fitting([member for member in self._queue if not member.done])",
            "_fitting(self._queue)",
        ),
    ),
    *_ways(
        "rules/raw.py",
        RAW_RULES_IN_SHORT,
        (
            "the new number is the count + 1",
            'grown.last = max(grown.last, entry["version"])',
            'grown.last = len(file_entry["versions"])',
        ),
        (
            "the new number is current_version + 1 alone",
            'grown.last = max(grown.last, entry["version"])',
            "pass",
        ),
        (
            "the revision stands still",
            'document.get("revision", 0) + 1',
            'document.get("revision", 1)',
        ),
        (
            "a file that is there is added again",
            "        entry = self.known.get(recording.new.file)\n",
            "        entry = None\n",
        ),
        (
            "the document is changed in place",
            'versions = [*entry["versions"], *state.added]',
            'versions = entry["versions"]\n        versions.extend(state.added)',
        ),
        often=True,
    ),
    *_ways(
        "rules/raw.py",
        RAW_RULES,
        (
            "whoever comes second is told that it created the version",
            'created=entry.get("recorded_by") == recording.recorded_by,',
            "created=True,",
        ),
        (
            "unknown fields of the document are dropped",
            'return {**document, "tables": entries,',
            'return {"tables": entries,',
        ),
        (
            "the new number is the highest that is left + 1",
            'grown.last = max(grown.last, file_entry["current_version"])',
            "pass",
        ),
        (
            "unknown fields of a file name are dropped",
            '{**entry, "current_version": state.last, "versions": versions}',
            '{"file_name": file_name, "current_version": state.last, "versions": versions}',
        ),
        (
            "the id of a recording is not kept",
            '        "recorded_by": recording.recorded_by,\n',
            "",
        ),
        (
            "a file that stands twice answers with its oldest version",
            'if entry["version"] >= grown.known.get(entry["file"], entry)["version"]:',
            'if entry["version"] <= grown.known.get(entry["file"], entry)["version"]:',
        ),
        (
            "a recording goes to every schema of the document",
            '{**entry, "tables": tables} if entry["schema_name"] == schema else entry for',
            '{**entry, "tables": tables} for',
        ),
    ),
    *_ways(
        "stores/s3.py",
        ("tests/test_transport.py", "-k", "wants_a_password"),
        (
            "a 407 of a proxy without a tunnel is taken for the store's",
            "if status == PROXY_AUTHENTICATION else None",
            "if False else None",
        ),
    ),
    *_ways(
        "stores/transport.py",
        ("tests/test_transport.py",),
        (
            "the password of a proxy is shown",
            "{rest.rpartition('@')[2]}",
            "{rest}",
        ),
        (
            "a proxy that broke off is said to have passed nothing on",
            'if refusals or "NewConnectionError" in kinds:',
            "if True:",
        ),
        (
            "a proxy is blamed for hosts that it is not for",
            'if variable is None or proxy_bypass_environment(parts.netloc, {"no": exempt}):',
            "if variable is None:",
        ),
    ),
    *_ways(
        "rules/audit.py",
        ("tests/test_audit_rules.py",),
        (
            "plus signs of an event's key are not decoded",
            "for decoded in (unquote_plus(finding.location), unquote(finding.location)):",
            "for decoded in (unquote(finding.location),):",
        ),
        (
            "a recorded key is taken for its own decoded one",
            "if decoded != finding.location and decoded in unrecorded:",
            "if decoded in unrecorded:",
        ),
    ),
    *_ways(
        "forks.py",
        ("tests/test_forks.py",),
        (
            "a fork does not wait for a client that is being opened",
            "        self.lock.acquire(timeout=LONGEST)\n",
            "        self.lock.acquire(timeout=0)\n",
        ),
        (
            "a forked process keeps the lock of its parent",
            "        self.lock = threading.RLock()\n\n\n_GATE",
            "        pass\n\n\n_GATE",
        ),
    ),
    *_ways(
        "cli/streams.py",
        ("tests/test_cli_streams.py",),
        (
            "data that could not be written are a success",
            "        if data.failed is not None and not end.code:",
            "        if False:",
        ),
        (
            "an exit code gives way to that of unwritten data",
            "        if data.failed is not None and not end.code:",
            "        if data.failed is not None:",
        ),
        (
            "a full pipe that does not block loses what is written",
            "while (written := super().write(data)) is None:\n                    select.select((), (self,), ())\n",
            "written = super().write(data) or memoryview(data).nbytes\n",
        ),
        (
            "a closed stream's number goes to the next file",
            "    for descriptor in _UNUSABLE:\n        _occupy(descriptor)\n",
            "",
        ),
    ),
    *_ways(
        "rules/clean.py",
        CLEAN_RULES,
        (
            "a late worker takes a newer clean record back",
            'info["version"] >= raw.version',
            'info["version"] == raw.version',
        ),
        often=True,
    ),
    *_ways(
        "rules/clean.py",
        CLEAN_RULES,
        (
            "what has a clean record is said to be skipped",
            "if known is None or known < version.version:\n            found",
            "if True:\n            found",
        ),
        (
            "the pending version is said to be skipped",
            "if later is None or version.version >= later.version or version.file == later.file:",
            "if later is None:",
        ),
        (
            "another entry of the pending file is said to be skipped",
            " or version.file == later.file:",
            ":",
        ),
        (
            "of many file names with skipped versions some are not counted",
            "if rest := counts[MOST_NAMED:]:",
            "if rest := counts[:0]:",
        ),
        (
            "the records of other file names are dropped",
            'records = {**document["tables"].get(table, {}), file_name: entry}',
            "records = {file_name: entry}",
        ),
        (
            "a second record of one version replaces the first",
            'info["version"] >= raw.version',
            'info["version"] > raw.version',
        ),
        (
            "what an older document has replaces what is newer",
            'if known is None or known["version"] < info["version"]:',
            "if True:",
        ),
        (
            "a version that a newer one has superseded is pending",
            "if key not in newest or version.version > newest[key].version:",
            "if key not in newest or version.version < newest[key].version:",
        ),
    ),
    *_ways(
        "rules/claims.py",
        CLEAN_RULES,
        (
            "a batch of records is as many revisions",
            '{**grown, "revision": (document or {}).get("revision", 0) + 1}',
            "{**grown}",
        ),
    ),
    *_ways(
        "sweep.py",
        SWEEP,
        (
            "a sweep deletes what was written again",
            "        return one if one.seen == there else one.left(WRITTEN_AGAIN)\n",
            "        return one\n",
        ),
        (
            "a sweep deletes what nobody has seen",
            "            return one.left(NOT_SEEN)\n",
            "            return one\n",
        ),
        (
            "a sweep deletes what it only takes for an object",
            "    if not meant.sure:\n",
            "    if False:\n",
        ),
        (
            "a sweep does not wait for who may have written the file",
            "        return due.left(_claimed(*claimed)) if claimed else due\n",
            "        return due\n",
        ),
        (
            "a sweep does not look at the documents again",
            "    if now.swept.left is not None:\n",
            "    if False:\n",
        ),
        (
            "a deletion that was refused is told as one",
            "one if answer is not False else _refused(one)",
            "one",
        ),
    ),
    *_ways(
        "named.py",
        SWEEP,
        (
            "only the schema's own clean document protects",
            "        clean = sorted(self._found(self._bucket).union(schemas))\n",
            "        clean = sorted(schemas)\n",
        ),
        (
            "the raw documents of the raw bucket do not protect",
            "if self._raw is not None else []\n",
            "if False else []\n",
        ),
        (
            "a document that cannot be read protects nothing",
            "            if self._strict is None or schema in self._strict:\n",
            "            if False:\n",
        ),
        (
            "what became outdated a moment ago under another name goes",
            "            if self._before is not None and since >= self._before:\n",
            "            if False:\n",
        ),
    ),
    *_ways(
        "rules/claims.py",
        ("tests/test_claims_rules.py", "-k", "InFlight or Seen"),
        (
            "a claim seems later than the note that it was made before",
            """            grown = {**grown, "revision": (document or {}).get("revision", 0)}\n""",
            "            pass\n",
        ),
        (
            "a claim of an earlier release is not waited for",
            """claim.get("revision", 0) <= revision""",
            """claim.get("revision", revision + 1) <= revision""",
        ),
    ),
    *_ways(
        "rules/clean.py",
        ("tests/test_claims_rules.py", "-k", "Seen"),
        (
            "what was seen of a file counts when it becomes outdated again",
            "if file in known and file not in anew}",
            "if file in known}",
        ),
        (
            "a late note takes back a later moment",
            "if one.file in listed and listed[one.file] == change.outdated.get(one.file)]",
            "if one.file in listed]",
        ),
    ),
    *_ways(
        "locations.py",
        ("tests/test_locations.py",),
        (
            "a directory does not protect what is in it",
            'for end in (len(key), *(place for place, letter in enumerate(key) if letter == "/")):',
            "for end in (len(key),):",
        ),
        (
            "a name that may be several keys is taken for the one that is written",
            "    return not doubtful and key == _normalised(key) and bool(key)\n",
            "    return bool(key)\n",
        ),
    ),
    *_ways(
        "stores/objects.py",
        ("tests/test_objects_contract.py", "-m", "not ceph", "-k", "deleted_if"),
        (
            "an object with another ETag is deleted",
            """Key=key, IfMatch=f'"{etag}"')""",
            "Key=key)",
        ),
    ),
    *_ways(
        "clean.py",
        ("tests/test_entries.py", "tests/test_clean.py", "-k", "not Server"),
        (
            "a record that waits at another schema is taken",
            "    if raw.schema != schema:\n",
            "    if False:\n",
        ),
        (
            "the older document is read for ever",
            "(document if grown is base or grown is None else settled(grown))",
            "(document if grown is base or grown is None else grown)",
        ),
    ),
    *_ways(
        "document.py",
        DOCUMENT,
        (
            "of a key that stands twice the first is lost",
            "object_pairs_hook=_unique_keys, ",
            "",
        ),
        often=True,
    ),
    *_ways(
        "document.py",
        DOCUMENT,
        (
            "a table of the other key is not known",
            '    name: str = entry["name"] if "name" in entry else entry["table_name"]\n',
            '    name: str = entry.get("name", "")\n',
        ),
        (
            "NaN is read",
            "parse_constant=_not_json, ",
            "",
        ),
        (
            "true is taken for a version",
            'type(version.get("version")) is int\n',
            'isinstance(version.get("version"), int)\n',
        ),
        (
            "a version below 0 is read",
            '            and version["version"] >= 0\n',
            "",
        ),
        (
            "of a schema that stands twice the second is lost",
            "        if name in seen:\n",
            "        if False:\n",
        ),
        (
            "a number out of range is read",
            ", parse_float=_finite)",
            ")",
        ),
        (
            "half a character cannot be written",
            'separators=(",", ":"), allow_nan=False).encode("ascii")',
            'separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()',
        ),
    ),
    *_ways(
        "rules/raw.py",
        ("tests/test_same_content.py", "-k", "checksum"),
        (
            "a known file with another checksum is no error",
            "return checksum if mine != recorded else None",
            "return None",
        ),
        (
            "digests in other forms are compared",
            "mine[:2] == recorded[:2]",
            "mine[0] == recorded[0]",
        ),
    ),
    *_ways(
        "upload.py",
        ("tests/test_upload.py", "-k", "TestMany or TestAnswersOfServers"),
        (
            "an error of the store does not end an upload of many",
            "elif isinstance(error, OF_ONE_FILE):",
            "elif isinstance(error, TrackerError):",
        ),
        (
            "one failing file ends an upload of many",
            "                    self._failures[number] = error\n                else:",
            "                    fatal.append(future)\n                else:",
        ),
        (
            "a body that was cut short is whole",
            "return left if isinstance(left, int) else 0",
            "return 0",
        ),
    ),
    *_ways(
        "stores/objects.py",
        ("tests/test_upload.py", "-k", "certain_answer or after_the_parts"),
        (
            "a 409 shows that a store keeps parts out",
            "            if not signal.certain:\n                raise\n            return True",
            "            return True",
        ),
        (
            "what lies there after the parts is not compared",
            "return there.etag if (there.size, there.sha256) == (content.size, content.sha256.hex()) else None",
            "return there.etag",
        ),
    ),
    *_ways(
        "connection.py",
        ("tests/test_without_threads.py", "-k", "without_races"),
        (
            "a verdict without races is kept",
            "        if diagnosis.raced:\n",
            "        if True:\n",
        ),
    ),
    *_ways(
        "names.py",
        ("tests/test_names.py", "tests/test_inbox.py"),
        (
            "a name stays what it was",
            "return str.__str__(value) if issubclass(type(value), str) else value",
            "return value",
        ),
        (
            "the inbox of one schema is a part of another's",
            '    return f"{INTERNAL_PREFIX}inbox/{document_key}/"\n',
            '    return f"{INTERNAL_PREFIX}inbox/{document_key}"\n',
        ),
    ),
    *_ways(
        "stores/s3.py",
        ("tests/test_s3_store.py", "-k", "etags_are_sent"),
        (
            "If-Match is not sent",
            '{"IfMatch": self._quoting.of(replacing)}',
            "{}",
        ),
        (
            "If-None-Match is not sent",
            'return {"IfNoneMatch": "*"} if',
            "return {} if",
        ),
        often=True,
    ),
    *_ways(
        "stores/s3.py",
        ("tests/test_store_contract.py", "-k", "embedded and note"),
        (
            "the note does not reach the store",
            "Metadata={WAITING: str(waiting)} if waiting else {},",
            "Metadata={},",
        ),
    ),
    *_ways(
        "stores/s3.py",
        ("tests/test_s3_store.py", "-k", "TestRequests"),
        (
            "an ETag loses its quotes on the way back",
            """return etag if self is Quoting.AS_RECEIVED else etag.strip('"')""",
            """return etag.strip('"')""",
        ),
        (
            "an ETag is quoted for a store that wants it bare",
            """return etag if self is Quoting.AS_RECEIVED else etag.strip('"')""",
            "return etag",
        ),
        (
            "boto3 sends a request again by itself",
            'retries={"total_max_attempts": 1}',
            'retries={"total_max_attempts": 2}',
        ),
    ),
    *_ways(
        "stores/s3.py",
        ("tests/test_s3_store.py", "-k", "TestRefusedForItsCondition or TestNotThere or TestDenied"),
        (
            "that a document is gone is taken for a refusal",
            "                if is_missing(error) and isinstance(replacing, str):\n",
            "                if False:\n",
        ),
        (
            "a document that may not be read is taken for none",
            "return DELETED\n                    if is_missing(error):\n",
            "return DELETED\n                    if is_missing(error) or _code(error) in DENIED:\n",
        ),
        (
            "a 409 is said to be certain",
            "certain=is_precondition_failed(error))",
            "certain=True)",
        ),
        often=True,
    ),
    *_ways(
        "stores/limits.py",
        ("tests/test_limits.py", "-k", "TestTime or TestSize or TestForeign"),
        (
            "a request that trickles has no end",
            "        self._inner.settimeout(left if self._timeout is None else min(left, self._timeout))\n",
            "",
        ),
        (
            "the deadline of the call does not end a request",
            "left = min(self._ends, self._latest) - self._clock()",
            "left = self._ends - self._clock()",
        ),
        (
            "an answer may have any length",
            "        if self._readable < 0:\n",
            "        if False:\n",
        ),
        (
            "bytes that are received earn no time",
            "min(self._ends + number / self._pace, self._clock() + self._request_timeout)",
            "min(self._ends, self._clock() + self._request_timeout)",
        ),
        (
            "bytes that moved fast let the rest of an answer trickle",
            "min(self._ends + number / self._pace, self._clock() + self._request_timeout)",
            "self._ends + number / self._pace",
        ),
    ),
    *_ways(
        "stores/s3.py",
        (
            "tests/test_limits.py",
            "tests/test_answers.py",
            "-k",
            "TestForeign or TestNotS3s or TestWords or TestDenials",
        ),
        (
            "a client that a foreign exception passed through is used again",
            "            except BaseException:\n                with_new_connections(self._client)\n",
            "            except BaseException:\n",
        ),
        (
            "a time limit of the program around is taken for no answer",
            "                if foreign is not None:\n",
            "                if False:\n",
        ),
        (
            "a time that nobody can show is taken for one",
            "        datetime.fromtimestamp(seconds, timezone.utc)\n",
            "        pass\n",
        ),
        (
            "a missing element is taken for an empty one",
            '    if value is None or value == "":\n',
            "    if False:\n",
        ),
        (
            "a secret that a store repeats is shown",
            "            text = text.replace(secret, STARS)\n",
            "            pass\n",
        ),
        (
            "a permission for S3 is asked for where a key denies",
            '    if "kms" in lowered:\n',
            "    if False:\n",
        ),
    ),
    *_ways(
        "stores/s3.py",
        ("tests/test_s3_store.py", "-k", "TestNoAnswer or TestDeletingMany"),
        (
            "a 500 is taken for a refusal",
            "if slow or code in UNKNOWN or (status >= SERVER_ERROR and code not in ADVICE):",
            "if slow or code in UNKNOWN:",
        ),
        (
            "that a store asks for fewer requests is not heard",
            'return Unanswered(f"answered {code or status}{_page(error)}", slow=slow)',
            'return Unanswered(f"answered {code or status}{_page(error)}")',
        ),
        (
            "a refused connection is said to have been sent",
            'is the endpoint right, and the store running?", sent=False)',
            'is the endpoint right, and the store running?")',
        ),
        (
            "a time-out is taken for a refusal",
            "        if isinstance(error, INTERRUPTED) and not unmet",
            "        if False and not unmet",
        ),
        (
            "what of many keys was not deleted is not told",
            'for refused in answer.get("Errors", ()):',
            "for refused in ():",
        ),
    ),
    *_ways(
        "stores/memory.py",
        MEMORY,
        (
            "a first write replaces what is there",
            "if replacing is not ANYTHING and (there",
            "if replacing is not ANYTHING and replacing is not None and (there",
        ),
        (
            "a stale ETag replaces what is there",
            "(there and there.etag) != replacing:",
            "there and replacing is None:",
        ),
        often=True,
    ),
    *_ways(
        "stores/memory.py",
        MEMORY,
        (
            "a list begins with what it is to begin after",
            "first = bisect_right(self._keys, after)",
            "first = bisect_left(self._keys, after)",
        ),
        (
            "a list has no end",
            "return list(islice(self._under(prefix, after), 1000))",
            "return list(self._under(prefix, after))",
        ),
        (
            "a deleted object is gone for good though versions are kept",
            (
                "                if self._versioned:\n                    self._put(key, None)\n"
                "                elif self._objects.pop(key, None):\n"
            ),
            "                if self._objects.pop(key, None):\n",
        ),
        (
            "erasing one version erases all",
            "if left := [kept for kept in self._objects.get(key, ()) if kept.name != version]:",
            "if left := [kept for kept in () if kept.name != version]:",
        ),
    ),
    *_ways(
        "connection.py",
        ("tests/test_connection.py",),
        (
            "a store that fails its examination is trusted",
            "if diagnosis.quoting is None or not diagnosis.safe:",
            "if diagnosis.quoting is None:",
        ),
    ),
    *_ways(
        "settings.py",
        ("tests/test_settings.py", "-x"),
        (
            "a blank variable hides what is set below it",
            'return bool(env.get(name, "").strip())',
            "return name in env",
        ),
        (
            "the order of names goes before the order of places",
            "    for place, variables in layers:\n        for name in names:\n",
            "    for name in names:\n        for place, variables in layers:\n",
        ),
        (
            "a profile of the environment loses to keys of .env",
            "for name in (*KEYS, *PROFILE)):",
            "for name in KEYS):",
        ),
        (
            "a token is joined with keys of another place",
            "if any(is_set(layer[1], name) for name in KEYS)]",
            "]",
        ),
        (
            "a line break at the end of a key is sent",
            "else _PLAIN).fullmatch(value))",
            "else _PLAIN).match(value))",
        ),
        (
            "keys go to the endpoint of any .env",
            "    if not confirmed and endpoint.endswith(_ENV_FILE) != keys.endswith(_ENV_FILE):",
            "    if not confirmed and endpoint.endswith(_ENV_FILE) and keys.endswith(_ENV_FILE):",
        ),
        (
            "the bucket may be a path of the endpoint",
            "for bucket in buckets if bucket in path), default=len(path))]",
            "for bucket in buckets if not path), default=len(path))]",
        ),
        (
            "the bucket may be the host of the endpoint",
            'return host.startswith(f"{bucket.lower()}.")',
            "return False",
        ),
    ),
    *_ways(
        "aws.py",
        ("tests/test_settings.py", "-k", "awss or botocores or endpoint_with or other_endpoints or partition"),
        (
            "a load balancer's host is AWS's S3",
            'if host.endswith(f".{domain}") and (found := _S3.fullmatch(',
            'if host.endswith(f".{domain}") and (found := _S3.match(',
        ),
        (
            "a host of any domain is AWS's S3 by its first labels",
            'if host.endswith(f".{domain}") and (found',
            "if (found",
        ),
        (
            "a bucket before AWS's host is taken for a VPC endpoint",
            "if before and not _VPC_ENDPOINT.fullmatch(before) else host",
            "if not before else host",
        ),
    ),
    *_ways(
        "stores/session.py",
        ("tests/test_session.py", "-x", "-k", "blank or ignored or env_file or given_client or web_identity"),
        (
            "boto3 reads variables that are blank",
            "        if blank.intersection(names):",
            "        if not blank:",
        ),
        (
            "boto3's word to ignore endpoints is ignored",
            '    if core.get_config_variable("ignore_configured_endpoint_urls"):',
            "    if core is None:",
        ),
        (
            "keys of .env go to an endpoint of boto3's files",
            "        check_same_place(access)\n",
            "",
        ),
        (
            "what fetching credentials raises is not looked at",
            "    if _provider(error) is None or isinstance(error, TrackerError):\n",
            "    if error:\n",
        ),
    ),
)


def broken_sources(mutant: Mutant, directory: Path) -> Path:
    """Make the mutant's sources under a directory, and return what to put before the search path."""
    shutil.copytree(SOURCES, directory / "cf_data_tracker", ignore=shutil.ignore_patterns("__pycache__"))
    path = directory / "cf_data_tracker" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise LookupError(f"{mutant.name}: the passage stands {text.count(mutant.old)} times in {mutant.file}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return directory


def noticed_by(mutant: Mutant, directory: Path) -> str | None:
    """Return the first test that fails on the mutant, or `None` where none does, which must not be."""
    return _first_failure(mutant.tests, broken_sources(mutant, directory))


def _first_failure(tests: Sequence[str], sources: Path) -> str | None:
    environment = {**os.environ, "PYTHONPATH": str(sources), "HYPOTHESIS_PROFILE": "mutants"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    if run.returncode == 0:
        return None
    failed = FAILED.search(run.stdout)
    if run.returncode != 1 or failed is None:
        raise RuntimeError(f"{' '.join(tests)}: the tests did not run\n{run.stdout}\n{run.stderr}")
    return failed[1]


def _tried(mutant: Mutant) -> Verdict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        test = noticed_by(mutant, Path(directory))
    verdict = Verdict(mutant=mutant.name, module=mutant.file, test=test, seconds=round(time.monotonic() - began, 1))
    sys.stderr.write(f"{verdict.seconds:5.1f} s  {mutant.file}: {mutant.name}: {test or 'SURVIVED'}\n")
    return verdict


def _markdown(verdicts: Sequence[Verdict]) -> str:
    rows = [f"| {verdict.mutant} | `{verdict.module}` | {_said(verdict, '`')} |" for verdict in verdicts]
    return "\n".join(["| what is broken | module | which test notices |", "|---|---|---|", *rows, ""])


def _table(verdicts: Sequence[Verdict]) -> str:
    widths = [max(len(getattr(verdict, column)) for verdict in verdicts) for column in ("mutant", "module")]
    return "".join(
        f"{verdict.mutant:{widths[0]}}  {verdict.module:{widths[1]}}  {_said(verdict)}\n" for verdict in verdicts
    )


def _said(verdict: Verdict, quote: str = "") -> str:
    if verdict.test is None:
        return "SURVIVED"
    test, bracket, parameters = verdict.test.removeprefix("tests/").partition("[")
    return f"{quote}{test}{f'{bracket}{parameters}' if len(parameters) < LONGEST_PARAMETERS else ''}{quote}"


def _check_that_sound_code_passes(mutants: Iterable[Mutant]) -> None:
    for tests in dict.fromkeys(mutant.tests for mutant in mutants):
        failed = _first_failure(tests, SOURCES.parent)
        if failed is not None:
            sys.exit(f"{failed} fails on the code as it is: it can tell nothing of a mutant")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a part of the name or module of those to try")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    options = parser.parse_args()
    mutants = [mutant for mutant in MUTANTS if options.only in f"{mutant.file}: {mutant.name}"]
    _check_that_sound_code_passes(mutants)
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(_tried, mutants))
    survivors = sum(verdict.test is None for verdict in verdicts)
    sys.stdout.write(f"{_table(verdicts)}\n{len(verdicts) - survivors} of {len(verdicts)} mutants were noticed\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1) + "\n")
    if options.markdown:
        options.markdown.write_text(_markdown(verdicts))
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    _main()
