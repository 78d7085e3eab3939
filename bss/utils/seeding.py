"""Randomness as a pure function of whole numbers, so that an order or a crop never depends on who drew before.

``SeedSequence`` mixes its entropy words, so (seed 0, epoch 1) and (seed 1, epoch 0) are unrelated streams; the sum
``seed + epoch`` that samplers commonly use makes them the same one.
"""

import contextlib
import zlib
from collections.abc import Iterator

import numpy as np
import torch

from bss.utils.devices import made_on_cpu


def mixed_seed(purpose: str, *entropy: int) -> int:
    """A 63-bit seed for one purpose (``"order"``, ``"view"`` ...) and any number of integers in [0, 2**32).

    Raises:
        ValueError: an integer outside that range; larger ones would be split into words and collide with others.
    """
    words = [zlib.crc32(purpose.encode()), *(int(word) for word in entropy)]
    if not all(0 <= word < 2**32 for word in words):
        raise ValueError(f"seeds and epochs must lie in 0..2**32 - 1, got {words[1:]}")
    word = np.random.SeedSequence(words).generate_state(1, np.uint64)[0]
    return int(word) >> 1  # NumPy 1.26 cannot shift its own uint64 by an int


def generator(purpose: str, *entropy: int) -> torch.Generator:
    """A CPU generator of its own, seeded by :func:`mixed_seed`."""
    return torch.Generator().manual_seed(mixed_seed(purpose, *entropy))


@contextlib.contextmanager
def seeded(purpose: str, *entropy: int) -> Iterator[None]:
    """Seed torch's default CPU generator inside the block, where new tensors lie on the CPU; leave it as it was found.

    For code that can only draw from the default generator: torchvision's transforms and layer initialisation. The
    CUDA generators are not touched (``torch.manual_seed`` would reseed them).
    """
    default = torch.default_generator  # the CPU's
    state = default.get_state()
    default.manual_seed(mixed_seed(purpose, *entropy))
    try:
        with made_on_cpu():
            yield
    finally:
        default.set_state(state)
