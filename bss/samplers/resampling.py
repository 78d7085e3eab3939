"""Resampling: a sample's weight is the probability of drawing it at any step, in place of its position in the epoch."""

from torch import Tensor

from bss.samplers.self_paced import SelfPacedSampler
from bss.scoring.orders import resampled_order


class ResamplingSampler(SelfPacedSampler):
    """Draws with replacement: every step sees balanced samples more often, and all parts of an epoch are alike.

    An epoch is N draws with replacement, with probability proportional to :class:`SelfPacedSampler`'s weight, whose
    arguments these are. The weighting lasts as long as the difficulties differ, and an epoch misses some samples: about
    37 % of them with equal weights. With ``labels`` the weights choose within a class: each has as many draws as its
    share of the set, and the classes are interleaved.

    The released code's SPL draws without replacement: an epoch shows every sample once. The paper does not say which it
    is: with ``weighting="softmax"`` and a table of the balance's moving average this is one of two readings of it (the
    arm ``spl-paper-replacement``), and :class:`SelfPacedSampler` with the same is the other.
    """

    repeats = True

    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        weights = self._log_weights(difficulty)
        return resampled_order(weights, seed=self.seed, epoch=epoch, k=count, labels=self.labels)
