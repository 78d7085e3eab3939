"""Random pacing: the control that every curriculum needs."""

from typing import Unpack

import torch
from torch import Tensor

from bss.pacing import Pacing
from bss.samplers.base import OrderOptions
from bss.samplers.curriculum import CurriculumSampler
from bss.scoring.orders import curriculum_order
from bss.utils.seeding import generator


class RandomPacingSampler(CurriculumSampler):
    """The control of CL: subsets of the same sizes, growing in the same nested way, with random members.

    What CL gains over this is due to WHICH samples come first; what this gains over a uniform order is due to seeing
    few samples first.

    Args:
        num_samples: N.
        pacing: fraction of the set by epoch.
        **options: see :class:`OrderSampler`; the ``seed`` draws the members as well. There are no scores here, so
            ``table``, ``difficulty`` and ``order`` are refused.
    """

    uses_scores = False

    def __init__(self, num_samples: int, *, pacing: Pacing, **options: Unpack[OrderOptions]):
        if options.get("table") is not None or options.get("difficulty") is not None:
            raise ValueError("RandomPacingSampler draws its members at random: it takes no table= or difficulty=")
        super().__init__(num_samples, pacing=pacing, **options)
        self._draw = torch.rand(
            num_samples, dtype=torch.float64, generator=generator("members", self.seed), device="cpu"
        )

    def _ranking(self, difficulty: Tensor) -> Tensor:
        return curriculum_order(self._draw, labels=self.labels)
