"""Data Remixing: every sample trains the modality that is unsure of it, in batches of one modality."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from bss.methods.arranging import Arranging
from bss.scoring.metrics import certainty
from bss.utils.seeding import generator


class DataRemixing(Arranging):
    """After a warm-up a sample is shown with the modality of the smallest :func:`bss.scoring.metrics.certainty` alone.

    The sampler's order is cut into one part per modality, the last modality's first, and each keeps its sequence. What
    does not fill a batch of its modality goes into mixed batches at the end, M - 1 at most, so that no sample is lost
    but those that the sampler would leave out of its last batch. Any number of modalities.

    Source: Ma et al., "Improving Multimodal Learning Balance and Sufficiency through Data Remixing", ICML 2025;
    released code train.py:48-159 (MatthewMaxy/Remix_ICML2025 @80898aa): two modalities, video's batches first, each
    part's last batch is small.

    Args:
        batch_size: samples per optimiser step, of all processes together, as in the recipe.
        warmup_epochs: epochs of joint training (released default 10).
        seed: of which samples the tail loses, non-negative.
    """

    takes = ("batch_size", "warmup_epochs", "seed")
    released_warmup = 10

    def __init__(self, *, batch_size: int, warmup_epochs: int = 10, seed: int = 0):
        super().__init__(warmup_epochs=warmup_epochs, seed=seed)
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        self.batch_size = batch_size

    @override
    def settings(self) -> dict[str, object]:
        return {**super().settings(), "batch_size": self.batch_size}

    @override
    def values(self, batch: Mapping[str, Any]) -> Tensor:
        return torch.stack([certainty(logits) for logits in self.network(batch).unimodal.values()], dim=1)

    @override
    def arranged(self, epoch: int, order_K: Tensor, values_NM: Tensor) -> Tensor:
        lost = len(order_K) % self.batch_size
        draw = torch.randperm(len(order_K), generator=generator("remixing tail", self.seed, epoch), device="cpu")
        order_K = order_K[draw[lost:].sort().values]
        modality_K = values_NM[order_K].argmin(dim=1)
        codes_K = order_K + self.num_samples * (1 + modality_K)
        whole, rest = [], []
        for modality in reversed(range(values_NM.shape[1])):
            part = codes_K[modality_K == modality]
            filled = len(part) // self.batch_size * self.batch_size
            whole.append(part[:filled])
            rest.append(part[filled:])
        return torch.cat(whole + rest)
