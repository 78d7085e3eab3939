"""What the orders of a run are like: each against the last one, against the difficulty and against the classes."""

import math
from typing import Any

import torch
from torch import Tensor

from bss.imbalance import class_distance, effective_sample_size
from bss.metrics import rank_correlation
from bss.runlog import FollowerFolder, RunFolder
from bss.samplers import OrderSampler
from bss.scores import NEVER, ScoreTable


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
        self, sampler: OrderSampler, table: ScoreTable, folder: RunFolder | FollowerFolder, *, rescored: bool
    ) -> dict[str, Any]:
        """What ``metrics.jsonl`` says of the order; all correlations are Spearman's, None where undefined.

        ``order_to_last``: positions of the samples that both this and the last epoch see. ``difficulty_to_last``:
        difficulty of all samples, against the last scores. ``order_to_difficulty``: position in this epoch against
        difficulty; positive = balanced samples come earlier. ``age``: mean number of epochs since the scores were made
        (0 = by the newest possible pass or training epoch). ``unscored``: samples without any score.
        ``effective_size``: of the weights that the order was drawn by, see
        :func:`bss.imbalance.effective_sample_size`. ``class_distance`` and ``class_distance_start``: of the epoch's
        samples, and of its first tenth, from the class mix of the training set, see
        :func:`bss.imbalance.class_distance`. ``distinct``: how many different samples the epoch has.
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
