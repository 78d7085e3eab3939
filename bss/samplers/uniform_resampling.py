"""Uniform draws with replacement: the control of every draw with replacement by weights."""

from torch import Tensor, zeros

from bss.samplers.base import OrderSampler
from bss.scoring.orders import resampled_order


class UniformResamplingSampler(OrderSampler):
    """The control of :class:`bss.ResamplingSampler`: N draws with replacement, all samples alike.

    An epoch shows about 63 % of the samples, some of them several times. That by itself changes a network, so what a
    weighted draw with replacement is worth is its difference to this one, not to uniform order. All arguments are
    :class:`OrderSampler`'s. From equal scores both draw the same samples.
    """

    uses_scores = False
    repeats = True

    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        equal = zeros(self.size, device="cpu")
        return resampled_order(equal, seed=self.seed, epoch=epoch, k=count, labels=self.labels)
