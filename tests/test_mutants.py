"""A test that stays green on broken code is not yet a test."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mutants import MUTANTS, ROOT, Mutant, noticed_by

Counted = Callable[[str, Mapping[str, int]], None]

EACH = [
    pytest.param(mutant, id=f"{mutant.file}: {mutant.name}", marks=() if mutant.often else pytest.mark.prove)
    for mutant in MUTANTS
]


@pytest.mark.parametrize("mutant", EACH)
def test_broken_code_is_noticed(mutant: Mutant, tmp_path: Path, counted: Counted) -> None:
    """Every mutant makes a test fail."""
    assert noticed_by(mutant, tmp_path)
    counted("mutants", {"noticed": 1})


def test_each_mutant_breaks_something_else() -> None:
    """No two mutants have one name, or make the same change."""
    assert [] == [name for name, count in Counter(mutant.name for mutant in MUTANTS).items() if count > 1]
    assert len(MUTANTS) == len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS})


def test_the_table_names_the_test_that_noticed(tmp_path: Path) -> None:
    """`python tests/mutants.py` shows which test noticed which mutant, and keeps the table where it is told to."""
    table, figures = tmp_path / "table.md", tmp_path / "figures.json"
    command = [sys.executable, "tests/mutants.py", "--only", "a damaged entry is read"]
    command += ["--markdown", str(table), "--json", str(figures)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert 0 == run.returncode, run.stderr
    assert "1 of 1 mutants were noticed" in run.stdout
    (verdict,) = json.loads(figures.read_text())
    assert ("a damaged entry is read", "entries.py") == (verdict["mutant"], verdict["module"])
    assert verdict["test"].startswith("tests/test_entries.py::TestDamage::")
    assert f"| a damaged entry is read | `entries.py` | `{verdict['test'][len('tests/') :]}` |" in table.read_text()
