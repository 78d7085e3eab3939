"""Class-matched pacing: the control between random pacing and a curriculum."""

from typing import Unpack

import torch
from torch import Tensor

from bss.samplers.base import OrderOptions
from bss.samplers.curriculum import CurriculumSampler
from bss.scoring.orders import class_matched
from bss.utils.given import Numbers, as_tensor
from bss.utils.seeding import generator


class ClassMatchedSampler(CurriculumSampler):
    """A curriculum of classes alone: every subset has the classes of CL's in the same numbers, with random members.

    An untrained network scores classes rather than samples, so CL's first subsets hold few classes. What this gains
    over random pacing is due to that; what CL gains over this is due to WHICH samples of a class come first. Subsets
    are nested as long as the scores stay.

    A proposal of this library, not of the paper.

    Args:
        num_samples: N.
        class_of: (N,) class ids, integers. (``labels`` would keep the class mix of all N instead: with both, this is
            random pacing with that mix.)
        **options: see :class:`OrderSampler`; one of ``table`` and ``difficulty`` is needed, and the ``seed`` draws the
            members as well.

    Raises:
        ValueError: see :class:`OrderSampler`; or ``class_of`` is of another length, or no integers.
    """

    def __init__(self, num_samples: int, *, class_of: Numbers, **options: Unpack[OrderOptions]):
        super().__init__(num_samples, **options)
        class_of = as_tensor("class_of", class_of)
        if class_of.shape != (self.size,) or class_of.is_floating_point():
            raise ValueError(f"class_of must be {self.size} integers, got {tuple(class_of.shape)} {class_of.dtype}")
        self.class_of = class_of
        self._members = torch.randperm(self.size, generator=generator("members", self.seed), device="cpu")

    def _ranking(self, difficulty: Tensor) -> Tensor:
        return class_matched(super()._ranking(difficulty), self._members, self.class_of)
