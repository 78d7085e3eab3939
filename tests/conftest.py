"""Fixtures that several test files share."""

import random

import numpy as np
import pytest
import torch
from hypothesis import settings

# Derandomised: a run is a function of the code alone. No deadline: the machines that run this differ.
settings.register_profile("bss", max_examples=40, deadline=None, derandomize=True)
settings.load_profile("bss")


@pytest.fixture
def untouched_rngs():
    """Fails the test if it leaves the global random state of Python, NumPy or torch changed."""
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    yield
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    """A folder whose ``sample-data/`` holds the generated data sets, written once for all tests that train on them.

    Training scripts find it there when their ``--out`` is in this folder.
    """
    return tmp_path_factory.mktemp("samples")
