"""Loss weights: each sample's loss counts by its score, in place of its position in the epoch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.data.indexed import INDEX_KEY
from bss.methods.base import Method
from bss.scoring.formulas import check_choice, check_weighting, log_weights, weighted_loss
from bss.scoring.table import ScoreTable
from bss.utils.choices import Criterion, Normalize, Order, Weighting


def mean_one_weights(
    difficulty: Tensor,
    *,
    floor: float = 1e-2,
    temperature: float = 1.0,
    order: Order = "balanced_first",
    kind: Weighting = "linear",
) -> Tensor:
    """SPL's weights, scaled to mean 1: ``(2 - d + floor) ** (1 / T)``, or the paper's ``exp((1 - d) / T)``.

    For the arguments see :func:`bss.scoring.log_weights`.

    Returns:
        (N,) float32, >= 0, mean 1.

    Raises:
        ValueError: see :func:`bss.scoring.log_weights`.
    """
    # The softmax of log w / T is w^(1/T) over its sum, without overflow for small T.
    return (log_weights(difficulty, floor, temperature, order, kind).softmax(dim=0) * len(difficulty)).float()


class LossWeights(Method):
    """Multiplies every sample's loss by the weight that SPL would draw it with; meant for a uniform order.

    The weights are frozen when the epoch begins, as a sampler's order is, and have mean 1 over the training set, so
    that the learning rate means what it did.

    A proposal of this library, not of the paper.

    Args:
        normalize: how the table scales its scores, see :func:`bss.difficulty`.
        criterion: which of them count, see :func:`bss.difficulty`.
        weighting: ``"linear"`` weights (the released code's), or the ``"softmax"`` of the balance (the paper's).
        floor: of linear weights, see :func:`bss.scoring.log_weights`.
        temperature: see :func:`bss.scoring.log_weights`.
        order: see :func:`bss.scoring.log_weights`.
    """

    table: ScoreTable  # from begin_run on
    takes = ("normalize", "criterion")
    uses_scores = True

    def __init__(
        self,
        *,
        normalize: Normalize = "minmax",
        criterion: Criterion = "both",
        weighting: Weighting = "linear",
        floor: float = 1e-2,
        temperature: float = 1.0,
        order: Order = "balanced_first",
    ):
        check_choice("normalize", normalize, Normalize)
        check_choice("criterion", criterion, Criterion)
        check_weighting(floor=floor, temperature=temperature, order=order, kind=weighting)
        self.normalize, self.criterion, self.weighting = normalize, criterion, weighting
        self.floor, self.temperature, self.order = floor, temperature, order
        self.epoch = -1  # whose weights these are
        self.weights_N: Tensor | None = None
        self.weights_B = torch.empty(0)  # of the step under way

    @override
    def settings(self) -> dict[str, object]:
        kinds = {"normalize": self.normalize, "criterion": self.criterion, "weighting": self.weighting}
        return {**kinds, "floor": self.floor, "temperature": self.temperature, "order": self.order}

    @override
    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        self.table = table

    def begin_epoch(self, epoch: int) -> None:
        """Freeze the weights; an epoch that goes on in the middle keeps those that it began with."""
        if epoch != self.epoch:
            difficulty_N = self.table.difficulty(normalize=self.normalize, criterion=self.criterion)
            self.weights_N = mean_one_weights(
                difficulty_N,
                floor=self.floor,
                temperature=self.temperature,
                order=self.order,
                kind=self.weighting,
            )
            self.epoch = epoch

    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look up the weights of the batch's samples."""
        assert self.weights_N is not None  # begin_epoch has made them
        self.weights_N = self.weights_N.to(batch["label"].device)  # moves once: a table on the CPU, or a loaded state
        self.weights_B = self.weights_N[batch[INDEX_KEY]]
        return batch

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The recipe's loss times each sample's weight, (B,)."""
        return self.weights_B * weighted_loss(losses, weights)

    def state_dict(self) -> dict[str, Any]:
        """The epoch's weights, which cannot be made again: an online table has moved on since the epoch began."""
        return {"epoch": self.epoch, "weights": self.weights_N}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.epoch, self.weights_N = state["epoch"], state["weights"]
