"""Global random states: what a stopped run saves of them, and what an epoch leaves behind."""

import io
import random

import numpy as np
import pytest
import torch

from bss.utils.random_states import epoch_randomness, random_states, set_random_states

CPU = torch.device("cpu")


def draws():
    """One number of every global stream."""
    return torch.rand(1).item(), np.random.standard_normal(), random.gauss(0, 1)


@pytest.fixture
def streams():
    """Streams that the test may draw from; they are put back."""
    before = random_states(CPU)
    yield
    set_random_states(before, CPU)


def test_saved_streams_go_on_where_they_were(streams):
    draws()  # NumPy and Python hold the second half of a pair of normal numbers back
    file = io.BytesIO()
    torch.save(random_states(CPU), file)
    expected = draws(), draws()
    file.seek(0)
    set_random_states(torch.load(file, weights_only=True), CPU)
    assert (draws(), draws()) == expected
    assert len({*expected[0], *expected[1]}) == 6


def test_what_a_network_draws_is_the_epochs_and_the_stream_outside_goes_on(streams):
    def inside(seed, epoch, **options):
        with epoch_randomness(seed, epoch, CPU, **options):
            return torch.rand(3).tolist()

    state = torch.get_rng_state()
    assert inside(0, 1) == inside(0, 1)
    assert len({tuple(inside(*which)) for which in ((0, 0), (0, 1), (1, 0), (1, 1))}) == 4
    assert inside(0, 1, step=5) != inside(0, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_choice_of_algorithms_is_put_back(streams):
    flags = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    with pytest.raises(KeyError), epoch_randomness(0, 0, CPU):
        assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)
        raise KeyError
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == flags
