"""Fixtures that several test files share."""

import os
import random

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests import fake_windows

# Derandomised: a run is a function of the code alone. No deadline: the machines that run this differ.
settings.register_profile("bss", max_examples=40, deadline=None, derandomize=True)
settings.load_profile("bss")

# Tests run in two processes and start others: more threads than cores would wait for one another.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def untouched_rngs():
    """Fails the test if it leaves the global random state of Python, NumPy or torch changed."""
    before = random_states()
    yield
    assert random_states() == before


def random_states():
    """The global random states of Python, NumPy and torch, to compare."""
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


# Files with a fixture that is expensive to make: their tests stay in one process, and begin first.
EXPENSIVE = ("test_distributed", "test_resume", "test_integrations", "test_scripts", "test_tasks", "test_examples")


def pytest_collection_modifyitems(items):
    """Put the long files at the front, so that two processes end at the same time."""
    for item in items:
        if item.path.stem.startswith(("test_distributed", "test_resume", "test_integrations")):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: not item.path.stem.startswith(EXPENSIVE))


@pytest.fixture(scope="session")
def samples(tmp_path_factory, worker_id):
    """A folder whose ``sample-data/`` holds the generated data sets, written once for all tests that train on them.

    Training scripts find it there when their ``--out`` is in this folder. The test processes share it. At the end all
    names that runs, a comparison, caches and the generated data have there are looked at.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "samples"
    folder.mkdir(exist_ok=True)
    yield folder
    assert not fake_windows.impossible_names(folder)
