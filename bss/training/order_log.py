"""What the orders of a run are like: each against the last one, against the difficulty and against the classes."""

import math
from typing import Any

import torch
from torch import Tensor

from bss.samplers import OrderSampler
from bss.scoring.metrics import rank_correlation
from bss.scoring.table import NEVER, ScoreTable
from bss.training.run_folder import RunFolder

# ---- the order -----------------------------------------------------------------------------------------------------


def effective_sample_size(weights_N: Tensor) -> float:
    """How even weights are: (sum w)^2 / (N sum w^2), in [1 / N, 1]; 1 = all equal.

    Source: Kish, "Survey Sampling", 1965, as a share of N.

    Raises:
        ValueError: not a vector, empty, negative or not finite, or all zero.
    """
    if weights_N.dim() != 1 or len(weights_N) == 0:
        raise ValueError(f"weights must be a vector with at least one entry, got shape {tuple(weights_N.shape)}")
    weights = weights_N.double()
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("weights must be finite numbers >= 0")
    largest = weights.max()
    if largest == 0:
        raise ValueError("all weights are 0")
    weights = weights / largest  # so that no square over- or underflows
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))


def class_distance(some: Tensor, others: Tensor) -> float:
    """Total variation distance between the class shares of two sets of labels: half the sum of the differences.

    Args:
        some: class ids, (K,), K >= 1.
        others: class ids, (N,), N >= 1.

    Returns:
        In [0, 1]; 0 = the same mix, 1 = no class in common. A random tenth of a set is not at 0 either: compare with
        a uniform order.

    Raises:
        ValueError: no labels.
    """
    if len(some) == 0 or len(others) == 0:
        raise ValueError(f"the class mix of no samples is not defined ({len(some)} and {len(others)} labels)")
    size = int(max(some.max(), others.max())) + 1
    shares = [torch.bincount(labels, minlength=size).double() / len(labels) for labels in (some, others)]
    return float((shares[0] - shares[1]).abs().sum() / 2)


class OrderLog:
    """Compares each epoch's order and difficulty with the last ones, and keeps the scores behind them."""

    def __init__(self, labels_N: Tensor):
        self.labels_N = labels_N
        self.position: Tensor | None = None
        self.difficulty: Tensor | None = None
        self.scored_epoch = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {"position": self.position, "difficulty": self.difficulty, "scored_epoch": self.scored_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.position, self.difficulty = state["position"], state["difficulty"]
        self.scored_epoch = state["scored_epoch"]

    def describe(
        self, sampler: OrderSampler, table: ScoreTable, folder: RunFolder, *, rescored: bool
    ) -> dict[str, Any]:
        """What ``metrics.jsonl`` says of the order; all correlations are Spearman's, None where undefined.

        ``order_to_last``: positions of the samples that both this and the last epoch see. ``difficulty_to_last``:
        difficulty of all samples, against the last scores. ``order_to_difficulty``: position in this epoch against
        difficulty; positive = balanced samples come earlier. ``age``: mean number of epochs since the scores were made
        (0 = by the newest possible pass or training epoch). ``unscored``: samples without any score.
        ``effective_size``: of the weights that the order was drawn by, see
        :func:`effective_sample_size`. ``class_distance`` and ``class_distance_start``: of the epoch's samples, and of
        its first tenth, from the class mix of the training set, see :func:`class_distance`. ``distinct``: how many
        different samples the epoch has.
        """
        order = sampler.global_order()
        # Of a sample that comes more than once the first place counts.
        position = torch.full((sampler.size,), len(order))
        position = position.scatter_reduce(0, order, torch.arange(len(order)), "amin")
        position[position == len(order)] = -1
        weights, labels = sampler.weights(), self.labels_N[order]
        row: dict[str, Any] = {
            "order_to_last": None,
            "difficulty_to_last": None,
            "order_to_difficulty": None,
            "effective_size": None if weights is None else effective_sample_size(weights),
            "class_distance": class_distance(labels, self.labels_N),
            "class_distance_start": class_distance(labels[: math.ceil(len(labels) / 10)], self.labels_N),
            "distinct": int((position >= 0).sum()),
        }
        if self.position is not None:
            both = (position >= 0) & (self.position >= 0)
            row["order_to_last"] = rank_correlation(position[both], self.position[both])
        self.position = position
        if sampler.uses_scores and not table.is_empty:
            difficulty = table.difficulty(normalize=sampler.normalize, criterion=sampler.criterion).cpu()
            row["order_to_difficulty"] = rank_correlation(torch.arange(len(order)), difficulty[order])
            if rescored and self.difficulty is not None:
                row["difficulty_to_last"] = rank_correlation(difficulty, self.difficulty)
            if rescored:
                folder.append_scores(sampler.epoch, table, difficulty)
                self.difficulty, self.scored_epoch = difficulty, sampler.epoch
            has_score = table.age != NEVER
            since = sampler.epoch - self.scored_epoch
            row["age"] = float(table.age[has_score].float().mean()) + since
            row["unscored"] = int((~has_score).sum())
        return row
