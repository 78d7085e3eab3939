"""The scores as weights of the loss instead of places in the order."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bss.data.indexed import INDEX_KEY
from bss.methods.base import Method
from bss.scoring.formulas import check_choice, order_weights, weighted_loss
from bss.scoring.table import ScoreTable
from bss.utils.choices import Criterion, Normalize, Order


def mean_one_weights(
    difficulty: Tensor, *, floor: float = 1e-2, temperature: float = 1.0, order: Order = "balanced_first"
) -> Tensor:
    """SPL's weights ``(2 - d + floor) ** (1 / temperature)``, scaled to mean 1.

    Args:
        difficulty: (N,) in [0, 2].
        floor: >= 0, see :func:`bss.order_weights`.
        temperature: > 0; below 1 the weights differ more, above 1 less.
        order: ``"imbalanced_first"`` weighs the imbalanced samples up.

    Returns:
        (N,) float32, >= 0, mean 1.

    Raises:
        ValueError: a temperature that is not a number > 0; see :func:`bss.order_weights` for the others.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a number > 0, got {temperature}")
    weights = order_weights(difficulty, floor=floor, order=order)
    # The softmax of log w / T is w^(1/T) over its sum, without overflow for small T.
    return ((weights.double().log() / temperature).softmax(dim=0) * len(weights)).float()


class LossWeights(Method):
    """Every sample's loss counts as much as SPL would favour it; meant for a uniform order.

    The weights are frozen when the epoch begins, as a sampler's order is, and have mean 1 over the training set, so
    that the learning rate means what it did.

    A proposal of this library, not of the paper.

    Args:
        normalize: how the table scales its scores, see :func:`bss.difficulty`.
        criterion: which of them count, see :func:`bss.difficulty`.
        floor: see :func:`mean_one_weights`.
        temperature: see :func:`mean_one_weights`.
        order: see :func:`mean_one_weights`.
    """

    takes = ("normalize", "criterion")
    uses_scores = True

    def __init__(
        self,
        *,
        normalize: Normalize = "minmax",
        criterion: Criterion = "both",
        floor: float = 1e-2,
        temperature: float = 1.0,
        order: Order = "balanced_first",
    ):
        for name, value, allowed in (
            ("normalize", normalize, Normalize),
            ("criterion", criterion, Criterion),
            ("order", order, Order),
        ):
            check_choice(name, value, allowed)
        self.scaling = {"normalize": normalize, "criterion": criterion}
        self.weighting = {"floor": floor, "temperature": temperature, "order": order}
        mean_one_weights(torch.zeros(1), **self.weighting)  # refuses bad numbers before a run begins
        self.table: ScoreTable | None = None
        self.epoch = -1  # whose weights these are
        self.weights_N: Tensor | None = None
        self.weights_B: Tensor | None = None  # of the step under way

    def settings(self) -> dict[str, Any]:
        """See :meth:`Method.settings`."""
        return {**self.scaling, **self.weighting}

    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        """See :meth:`Method.begin_run`."""
        self.table = table

    def begin_epoch(self, epoch: int) -> None:
        """Freeze the weights; an epoch that goes on in the middle keeps those that it began with."""
        if epoch != self.epoch:
            self.weights_N = mean_one_weights(self.table.difficulty(**self.scaling), **self.weighting)
            self.epoch = epoch

    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look up the batch's weights."""
        self.weights_N = self.weights_N.to(batch["label"].device)  # moves once: a table on the CPU, or a loaded state
        self.weights_B = self.weights_N[batch[INDEX_KEY]]
        return batch

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The recipe's loss times each sample's weight, (B,)."""
        return self.weights_B * weighted_loss(losses, weights)

    def state_dict(self) -> dict[str, Any]:
        """The epoch's weights: an online table has moved on since it began."""
        return {"epoch": self.epoch, "weights": self.weights_N}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.epoch, self.weights_N = state["epoch"], state["weights"]
