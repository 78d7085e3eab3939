"""Global random states, which networks and loaders of others draw from: kept, set for an epoch, and saved."""

import contextlib
import random
from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from bss.utils import distributed
from bss.utils.devices import generator_state, seed_generator, set_generator_state
from bss.utils.seeding import mixed_seed


@contextlib.contextmanager
def random_state_kept(device: torch.device) -> Iterator[None]:
    """Bring torch's global random states, of the CPU and of this device, back at the end of the block."""
    host, state = torch.get_rng_state(), generator_state(device)
    try:
        yield
    finally:
        torch.set_rng_state(host)
        if state is not None:
            set_generator_state(device, state)


@contextlib.contextmanager
def epoch_randomness(seed: int, epoch: int, device: torch.device, *, step: int = 0) -> Iterator[None]:
    """What a network draws in an epoch (dropout) is a function of seed, epoch and rank; the global states come back.

    ``step`` is where an epoch goes on in the middle: without its saved states that is a stream of its own.
    """
    cudnn = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    stream = [seed, epoch, *([distributed.rank(), step] if distributed.rank() or step else [])]
    with random_state_kept(device):
        torch.default_generator.manual_seed(mixed_seed("network", *stream))
        seed_generator(device, mixed_seed("network", *stream))
        cudnn.benchmark, cudnn.deterministic = False, True
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.deterministic = flags


class RandomStates(TypedDict):
    """Random states in plain values and tensors; NumPy's and Python's in the order in which they take them back.

    ``cuda`` is the state of the run's device, whichever kind of GPU it is; None on a CPU.
    """

    torch: Tensor
    cuda: Tensor | None
    numpy: list[Any]
    python: list[Any]


def random_states(device: torch.device) -> RandomStates:
    """The random states of this process in plain values and tensors: torch's, and those a user's network may draw from.

    What a loader's workers draw is a function of (seed, epoch, index), so they have no state.
    """
    drawn = np.random.get_state(legacy=False)
    words = torch.from_numpy(drawn["state"]["key"].astype(np.int64))
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": generator_state(device),
        "numpy": [drawn["bit_generator"], words, drawn["state"]["pos"], drawn["has_gauss"], drawn["gauss"]],
        "python": [version, torch.tensor(internal, device="cpu"), gauss],
    }


def set_random_states(states: RandomStates, device: torch.device) -> None:
    """Continue from :func:`random_states`."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and device.type != "cpu":
        set_generator_state(device, states["cuda"])
    kind, words, *rest = states["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
