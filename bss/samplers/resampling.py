"""Resampling: a sample's weight is the probability of drawing it at any step, in place of its position in the epoch."""

from torch import Tensor

from bss.samplers.self_paced import SelfPacedSampler
from bss.scoring.orders import resampled_order


class ResamplingSampler(SelfPacedSampler):
    """Draws with replacement: every step sees balanced samples more often, and all parts of an epoch are alike.

    An epoch is N draws with replacement, with probability proportional to :class:`SelfPacedSampler`'s weight, whose
    arguments these are. The weighting lasts as long as the difficulties differ, and an epoch misses some samples: about
    37 % of them with equal weights. ``labels`` interleave the classes in the numbers in which they were drawn, which
    need not be those of the whole set.

    A proposal of this library, not of the paper: SPL biases the order within an epoch, which shows every sample once.
    """

    repeats = True

    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        return self._by_class(resampled_order(self._log_weights(difficulty), seed=self.seed, epoch=epoch, k=count))
