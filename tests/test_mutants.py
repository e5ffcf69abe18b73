"""A test that stays green on broken code is not yet a test."""

from pathlib import Path

import pytest

from mutants import MUTANTS, Mutant, survives


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_broken_code_is_noticed(mutant: Mutant, tmp_path: Path) -> None:
    """Every mutant makes a test fail."""
    assert not survives(mutant, tmp_path)
