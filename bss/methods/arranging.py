"""Base of methods that re-arrange an epoch: some samples are shown with one modality."""

import abc
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from typing_extensions import override

from bss.data.indexed import INDEX_KEY, VARIANT_KEY, SeededViews, Variants
from bss.methods.masking import Masking
from bss.scoring.table import ScoreTable
from bss.utils import distributed


class Arranging(Masking, abc.ABC):
    """A method that rearranges the sampler's order into one of samples and of copies with a single modality.

    From the epoch ``warmup_epochs`` on it sees every training sample (:meth:`see`) and then replaces the sampler's
    order by :meth:`arrange`'s. What that returns are codes: ``index + N * variant``, where variant 0 is the sample as
    it is, and the others are views of their own (random crops differ) with modality ``(variant - 1) % M`` alone.

    Args:
        warmup_epochs: epochs of joint training.
        seed: of what :meth:`arrange` draws, non-negative.
    """

    takes: tuple[str, ...] = ("warmup_epochs", "seed")
    rearranges = True

    def __init__(self, *, warmup_epochs: int, seed: int):
        super().__init__()
        if warmup_epochs < 0:
            raise ValueError(f"warmup_epochs must be >= 0, got {warmup_epochs}")
        self.warmup_epochs, self.seed = warmup_epochs, seed
        self.num_samples = 0
        self.values_NM = torch.empty(0, 0)  # of the samples that this process has seen; zeros elsewhere

    @override
    def settings(self) -> dict[str, object]:
        return {"warmup_epochs": self.warmup_epochs, "seed": self.seed}

    @override
    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        super().begin_run(table, model)
        self.num_samples = table.num_samples
        self.values_NM = torch.zeros(table.num_samples, len(self.network.encoders), device=table.loss.device)

    # ---- before an epoch -------------------------------------------------------------------------------------------

    def wrap(self, train: SeededViews) -> Dataset:
        """See :meth:`Method.wrap`: every variant of a sample gets a view of its own."""
        return Variants(train)

    def prepare(self, epoch: int) -> bool:
        """Whether the 0-based epoch is after the warm-up, and all samples are to be valued before it."""
        return epoch >= self.warmup_epochs

    @torch.no_grad()
    def see(self, batch: Mapping[str, Any]) -> None:
        """Value every modality of these samples; all processes together see every sample once."""
        self.values_NM[batch[INDEX_KEY]] = self.values(batch)

    @override
    def arrange(self, epoch: int, order_K: Tensor) -> Tensor:
        if epoch < self.warmup_epochs:
            return order_K
        values_NM = distributed.total(self.values_NM).cpu()
        self.values_NM = torch.zeros_like(self.values_NM)
        return self.arranged(epoch, order_K.long(), values_NM)

    @abc.abstractmethod
    def values(self, batch: Mapping[str, Any]) -> Tensor:
        """What a sample's modalities are worth, (B, M), in the order of the encoders."""

    @abc.abstractmethod
    def arranged(self, epoch: int, order_K: Tensor, values_NM: Tensor) -> Tensor:
        """The codes of an epoch after the warm-up.

        Args:
            epoch: 0-based.
            order_K: sample indices, the sampler's order.
            values_NM: of all samples.
        """

    # ---- in a step -------------------------------------------------------------------------------------------------

    @override
    def keep(self, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        variant_B = batch[VARIANT_KEY]
        names = list(self.network.encoders)
        alone_B = (variant_B - 1) % len(names)
        return {name: (variant_B == 0) | (alone_B == number) for number, name in enumerate(names)}
