"""Sample-level modality valuation (SMV): a modality that adds little to a sample's prediction is shown alone, more."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.methods.arranging import Arranging
from bss.scoring.imbalance import masked, shapley_shares
from bss.scoring.table import ScoreTable
from bss.utils.seeding import generator

MOST_COPIES = 3
"""Of one modality of a sample, in one epoch."""


def extra_copies(value: Tensor) -> Tensor:
    """How often an epoch shows a modality alone, beside the whole sample, by its value (same shape, int64).

    1 above 0.4, 2 between -0.1 and 0.4, 3 below -0.1; none from 1 on, a modality's fair share of a right prediction.
    Source: released code datasets/dataloader.py:154-186
    (GeWu-Lab/Valuate-and-Enhance-Multimodal-Cooperation @7ed12b0). There a value of exactly -0.1 or 0.4 gets none; two
    modalities never have it, here it belongs to the interval above.
    """
    bounds = torch.tensor([-0.1, 0.4, 1.0], dtype=value.dtype, device=value.device)
    # Three modalities share in sixths, whose sum of 1 a float misses by its last digit.
    return MOST_COPIES - torch.bucketize(value.round(decimals=4), bounds, right=True)


class SampleValuation(Arranging):
    """Extra copies of a sample with a single modality, the more the less that modality contributes to it.

    A modality's value for a sample is its Shapley value in the game ``v(S) = |S|`` if the fused head predicts the class
    with the features of the modalities in S alone (zeros for the others), else 0: in [-0.5, 1.5] for two modalities.
    Copies are spread evenly at random through the sampler's order, which keeps its own sequence; an epoch becomes
    longer, so compare at equal ``updates``. Any number of modalities (up to 8).

    Source: Wei et al., "Enhancing Multimodal Cooperation via Sample-level Modality Valuation", CVPR 2024; released code
    sample_level.py:75-152 and :func:`extra_copies`. Difference: there the loss is the fused head's alone, here the
    recipe's.

    Args:
        warmup_epochs: epochs of joint training (released default 5).
        seed: non-negative.
    """

    released_warmup = 5

    def __init__(self, *, warmup_epochs: int = 5, seed: int = 0):
        super().__init__(warmup_epochs=warmup_epochs, seed=seed)
        self.shares: dict[frozenset[str], Tensor] = {}  # of a coalition's value that each modality gets

    @override
    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        super().begin_run(table, model)
        names = list(self.network.encoders)
        for subset, share in shapley_shares(names).items():
            self.shares[subset] = torch.tensor([share[name] for name in names], device=table.loss.device)

    @override
    def values(self, batch: Mapping[str, Any]) -> Tensor:
        features_BD = self.network.encode(batch)
        total_BM = torch.zeros(len(batch["label"]), len(features_BD), device=batch["label"].device)
        zeros_D = {name: torch.zeros_like(features[0]) for name, features in features_BD.items()}
        for subset, share_M in self.shares.items():
            right_B = self.network.decode(masked(features_BD, subset, zeros_D)).fused.argmax(dim=1) == batch["label"]
            total_BM += len(subset) * right_B.unsqueeze(1) * share_M
        return total_BM

    @override
    def arranged(self, epoch: int, order_K: Tensor, values_NM: Tensor) -> Tensor:
        modalities = values_NM.shape[1]
        copies_KM = extra_copies(values_NM[order_K])
        # Copy number c of modality m is variant 1 + m + M c.
        codes = [order_K]
        for copy in range(MOST_COPIES):
            place_L, modality_L = (copies_KM > copy).nonzero(as_tuple=True)
            codes.append(order_K[place_L] + self.num_samples * (1 + modality_L + modalities * copy))
        extra = torch.cat(codes[1:])
        shuffled = torch.randperm(
            len(order_K) + len(extra), generator=generator("copies", self.seed, epoch), device="cpu"
        )
        arranged = torch.empty_like(shuffled)
        arranged[shuffled[: len(order_K)].sort().values] = order_K
        arranged[shuffled[len(order_K) :]] = extra
        return arranged
