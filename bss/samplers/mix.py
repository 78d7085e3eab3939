"""The mix: every batch of an epoch has the same blend of balanced and imbalanced samples."""

from typing import Unpack

import torch
from torch import Tensor

from bss.pacing import Pacing, root_pacing
from bss.samplers.base import OrderOptions, OrderSampler
from bss.scoring.orders import curriculum_order, evenly_spaced
from bss.utils.seeding import generator


class MixSampler(OrderSampler):
    """A curriculum of proportions: the share of imbalanced samples in every batch grows from epoch to epoch.

    The samples are halved by difficulty. An epoch of k = floor(N * pacing) samples takes floor(k * k / 2N) from the
    imbalanced half and the others from the balanced one, drawn anew every epoch, and spreads them evenly: a share
    pacing/2 of every batch is imbalanced. Sizes are the curriculum's; at pacing 1 each sample is seen once, half of
    every batch from either half.

    A proposal of this library, not of the paper. All arguments beside these are :class:`OrderSampler`'s.

    Args:
        num_samples: N.
        pacing: fraction of the set by epoch, and twice the share of the imbalanced half in it.
        **options: see :class:`OrderSampler`; one of ``table`` and ``difficulty`` is needed. With ``labels`` the halves
            are made within each class, and each half's share of a batch keeps the class mix.
            ``order="imbalanced_first"`` swaps the halves.
    """

    def __init__(
        self,
        num_samples: int,
        *,
        pacing: Pacing = root_pacing,
        **options: Unpack[OrderOptions],
    ):
        super().__init__(num_samples, pacing=pacing, **options)

    def _scored_order(self, epoch: int, count: int, difficulty: Tensor) -> Tensor:
        self._refuse_empty_table()
        ranking = curriculum_order(difficulty, order=self.order, labels=self.labels)
        first, second = ranking.tensor_split([self.size - self.size // 2])
        rare = count * count // (2 * self.size)  # at most half of count, so never more than its half of the set holds
        chance = generator("mix", self.seed, epoch)
        mixed = torch.empty(count, dtype=torch.int64, device="cpu")
        is_rare = torch.zeros(count, dtype=torch.bool, device="cpu")
        is_rare[evenly_spaced(rare, count)] = True
        mixed[is_rare] = self._by_class(second[torch.randperm(len(second), generator=chance, device="cpu")])[:rare]
        mixed[~is_rare] = self._by_class(first[torch.randperm(len(first), generator=chance, device="cpu")])[
            : count - rare
        ]
        return mixed
