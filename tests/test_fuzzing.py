"""Damaged files end in a line of ours or in the same result; ``tests/fuzz.py`` draws as many cases as one likes."""

import importlib.util

import pytest

from tests.fuzz import BAD, KINDS, outcomes


@pytest.mark.parametrize("kind", [kind for kind in KINDS if importlib.util.find_spec(f"tests.fuzzing.{kind}")])
def test_damaged_files_are_refused_in_a_line_or_change_nothing(kind, tmp_path):
    ended = outcomes(kind, tmp_path, seed=0, numbers=range(8))
    assert len(ended) == 8
    assert not [f"case {number}: {outcome}" for number, outcome in ended if outcome.ending in BAD]
