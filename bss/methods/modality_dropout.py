"""Modality dropout: the network cannot lean on a modality that may be absent."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.data.indexed import INDEX_KEY
from bss.methods.masking import Masking
from bss.scoring.table import ScoreTable
from bss.utils.seeding import generator


def kept_modalities(uniform_MN: Tensor, probability: float) -> Tensor:
    """Which modalities a sample keeps: those that drew ``probability`` or more, else the one that drew most.

    So with M modalities each is hidden with chance ``p - p**M / M``.

    Args:
        uniform_MN: independent draws from [0, 1).
        probability: p, in [0, 1).

    Returns:
        (M, N) bool with a True in every column.
    """
    highest = torch.zeros_like(uniform_MN, dtype=torch.bool).scatter_(0, uniform_MN.argmax(dim=0, keepdim=True), True)
    return (uniform_MN >= probability) | highest


class ModalityDropout(Masking):
    """Every sample is shown without each of its modalities with a fixed probability, drawn anew in every epoch.

    What a sample keeps is a function of (seed, epoch, index), so not of its batch, the workers or the number of
    processes. Any number of modalities.

    Source: ModDrop, Neverova et al., "ModDrop: Adaptive Multi-Modal Gesture Recognition", TPAMI 2016, which drops a
    modality's input; here its features are dropped, and a sample never loses all.

    Args:
        probability: p of :func:`kept_modalities`, in (0, 1). The default is ours.
        seed: non-negative.
    """

    takes = ("seed",)

    def __init__(self, *, probability: float = 0.3, seed: int = 0):
        super().__init__()
        if not 0 < probability < 1:
            raise ValueError(f"probability must be in (0, 1), got {probability}")
        self.probability, self.seed = probability, seed
        self.num_samples = 0
        self.kept_MN = torch.empty(0, 0)

    @override
    def settings(self) -> dict[str, object]:
        return {"probability": self.probability, "seed": self.seed}

    @override
    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        super().begin_run(table, model)
        self.num_samples = table.num_samples

    def begin_epoch(self, epoch: int) -> None:
        """Draw what every sample keeps in this epoch."""
        shape = len(self.network.encoders), self.num_samples
        draws_MN = torch.rand(shape, generator=generator("modality dropout", self.seed, epoch), device="cpu")
        self.kept_MN = kept_modalities(draws_MN, self.probability)

    @override
    def keep(self, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        self.kept_MN = self.kept_MN.to(batch[INDEX_KEY].device)  # moves once an epoch
        return dict(zip(self.network.encoders, self.kept_MN[:, batch[INDEX_KEY]], strict=True))
