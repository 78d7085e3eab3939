"""Describe every epoch's order: against the last one, the difficulty and the classes."""

import math
from typing import Any

import torch
from torch import Tensor

from bss.samplers import OrderSampler
from bss.scoring.metrics import rank_correlation
from bss.scoring.table import NEVER, ScoreTable
from bss.training.run_folder import RunFolder
from bss.utils.devices import widened


def effective_sample_size(weights_N: Tensor) -> float:
    """How even weights are: (sum w)^2 / (N sum w^2), in [1 / N, 1]; 1 = all equal.

    Source: Kish, "Survey Sampling", 1965, as a share of N.

    Args:
        weights_N: finite, >= 0, not all 0.
    """
    assert bool((weights_N.isfinite() & (weights_N >= 0)).all()) and bool((weights_N > 0).any())
    weights = widened(weights_N) / weights_N.max()  # so that no square over- or underflows
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))


def class_distance(some: Tensor, others: Tensor) -> float:
    """Total variation distance between the class shares of two sets of labels: half the sum of the differences.

    Args:
        some: class ids, (K,), K >= 1.
        others: class ids, (N,), N >= 1.

    Returns:
        In [0, 1]; 0 = the same mix, 1 = no class in common. A random tenth of a set is not at 0 either: compare with
        a uniform order.
    """
    size = int(max(some.max(), others.max())) + 1
    shares = [widened(torch.bincount(labels, minlength=size)) / len(labels) for labels in (some, others)]
    return float((shares[0] - shares[1]).abs().sum() / 2)


class OrderLog:
    """Compares each epoch's order and difficulty with those before it, and hands new scores to the run folder."""

    def __init__(self, labels_N: Tensor):
        self.labels_N = labels_N
        self.position: Tensor | None = None
        self.difficulty: Tensor | None = None
        self.scored_epoch = 0

    def state_dict(self) -> dict[str, Any]:
        """What the next epoch is compared with, as plain values and tensors."""
        return {"position": self.position, "difficulty": self.difficulty, "scored_epoch": self.scored_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.position, self.difficulty = state["position"], state["difficulty"]
        self.scored_epoch = state["scored_epoch"]

    def describe(
        self, sampler: OrderSampler, table: ScoreTable, folder: RunFolder, *, rescored: bool
    ) -> dict[str, Any]:
        """What ``metrics.jsonl`` says of the order; all correlations are Spearman's, None where they are undefined.

        ``order_to_last``: positions of the samples that both this and the last epoch see. ``difficulty_to_last``:
        difficulty of all samples, against the last scores. ``order_to_difficulty``: position in this epoch against
        difficulty; positive = balanced samples come earlier. ``age``: mean number of epochs since the scores were made
        (0 = by the newest possible pass or training epoch). ``unscored``: samples without any score.
        ``effective_size``: of the weights that the order was drawn by, see
        :func:`effective_sample_size`. ``class_distance`` and ``class_distance_start``: of the epoch's samples, and of
        its first tenth, from the class mix of the training set, see :func:`class_distance`. ``distinct``: how many
        different samples the epoch has.

        Args:
            sampler: at the beginning of its epoch.
            table: the scores that it reads.
            folder: gets the scores, where they are new.
            rescored: whether the table has new scores since the last epoch.
        """
        order = sampler.global_order()
        # Of a sample that comes more than once the first place counts; -1 marks those that the epoch leaves out.
        places = torch.arange(len(order), device=order.device)
        position = torch.full((sampler.size,), len(order), device=order.device)
        position = position.scatter_reduce(0, order, places, "amin")
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
        # What the order was made from, and not the table as it is: the log must describe the order that is trained on.
        difficulty = sampler.difficulty()
        if difficulty is not None and not table.is_empty:
            row["order_to_difficulty"] = rank_correlation(places, difficulty[order])
            if rescored and self.difficulty is not None:
                row["difficulty_to_last"] = rank_correlation(difficulty, self.difficulty)
            if rescored:
                folder.append_scores(sampler.epoch, table, difficulty)
                self.difficulty, self.scored_epoch = difficulty, sampler.epoch
            # The table counts closed epochs; a pass that is made every k epochs grows older in those between as well.
            has_score = table.age != NEVER
            since = sampler.epoch - self.scored_epoch
            row["age"] = float(table.age[has_score].float().mean()) + since
            row["unscored"] = int((~has_score).sum())
        return row
