"""CL: the heuristic sampler, which grows a subset from balanced to imbalanced samples."""

from typing import Unpack

import torch
from torch import Tensor

from bss.pacing import Pacing, root_pacing
from bss.samplers.base import OrderOptions, OrderSampler
from bss.scoring.orders import curriculum_order
from bss.utils.seeding import generator


class CurriculumSampler(OrderSampler):
    """The CL sampler: epoch e sees the first floor(N * pacing(e)) samples by difficulty, shuffled.

    The order follows the scores at each ``set_epoch``. Scored once, before the first epoch, it is the method's; a table
    that keeps being updated makes it a re-scored curriculum. (Online, only samples inside the subset get new scores;
    the others keep the higher losses of earlier epochs, which holds the subset together.)

    Source: released KS/train-CL.py:217-233. All arguments beside these are :class:`OrderSampler`'s.

    Args:
        num_samples: N.
        pacing: fraction of the set by epoch; the default is the method's, ``root_pacing`` from 0.1 over 40 epochs.
        shuffle: whether the subset is shuffled (the method) or visited in difficulty order.
        **options: see :class:`OrderSampler`; one of ``table`` and ``difficulty`` is needed. Without
            ``labels`` the first subsets can hold almost one class only, since an untrained network scores classes
            rather than samples.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        pacing: Pacing = root_pacing,
        shuffle: bool = True,
        **options: Unpack[OrderOptions],
    ):
        super().__init__(num_samples, pacing=pacing, **options)
        self.shuffle = shuffle

    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        self._refuse_empty_table()
        subset = self._ranking(difficulty)[:count]
        if not self.shuffle:
            return subset
        return self._by_class(
            subset[torch.randperm(count, generator=generator("shuffle", self.seed, epoch), device="cpu")]
        )

    def _ranking(self, difficulty: Tensor) -> Tensor:
        """All samples in the order in which they join, (N,) int64."""
        return curriculum_order(difficulty, order=self.order, labels=self.labels)
