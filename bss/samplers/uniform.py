"""Uniform order: the control that every sampler is compared with."""

from torch import Tensor

from bss.samplers.base import OrderSampler
from bss.scoring.orders import uniform_order


class UniformSampler(OrderSampler):
    """The control: all samples in uniformly random order, with the others' tail, resume and sharding.

    Its epochs are those of the other samplers' warm-up, so a sampler that is compared with it at the same seed starts
    from the very same batches. All arguments are :class:`OrderSampler`'s. With a ``pacing`` an epoch is the head of
    its order: other members every time, unlike the growing ones of :class:`RandomPacingSampler`.
    """

    uses_scores = False

    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        return self._by_class(uniform_order(self.size, seed=self.seed, epoch=epoch))[:count]
