"""Fixtures that several test files share."""

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from tests import fake_windows

HERE = Path(__file__).parent

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


# Files and folders whose tests share what is expensive to make: each stays in one process.
TOGETHER = ("training/test_distributed.py", "training/test_resume.py", "integrations")
# These begin, so that two processes end at the same time.
LONG = (*TOGETHER, "cli/test_scripts.py", "tasks", "test_examples.py")


def pytest_collection_modifyitems(items):
    """Keep tests together that share something, and put the long ones at the front."""
    for item in items:
        for place in TOGETHER:
            if item.path.is_relative_to(HERE / place):
                item.add_marker(pytest.mark.xdist_group(place))
    items.sort(key=lambda item: not any(item.path.is_relative_to(HERE / place) for place in LONG))


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
