"""From logits to numbers: how balanced and how hard a sample is, what a head achieves, how much a modality adds.

The method's formulas are :mod:`bss.scoring.formulas`, and the orders that follow from them :mod:`bss.scoring.orders`:
pure functions, all of which can be had from here. The state, one row per sample, is :class:`bss.ScoreTable`.
"""

from bss.scoring.formulas import (
    difficulty,
    gradient_of,
    head_losses,
    log_weights,
    loss_of,
    min_max,
    order_weights,
    prediction_similarity,
    rank_fraction,
    sample_loss,
    similarity_of,
    tensors_of,
    weighted_loss,
)
from bss.scoring.orders import (
    class_balanced,
    class_matched,
    curriculum_order,
    evenly_spaced,
    race_order,
    resampled_order,
    uniform_order,
    weighted_order,
)

__all__ = [
    "class_balanced",
    "class_matched",
    "curriculum_order",
    "difficulty",
    "evenly_spaced",
    "gradient_of",
    "head_losses",
    "log_weights",
    "loss_of",
    "min_max",
    "order_weights",
    "prediction_similarity",
    "race_order",
    "rank_fraction",
    "resampled_order",
    "sample_loss",
    "similarity_of",
    "tensors_of",
    "uniform_order",
    "weighted_loss",
    "weighted_order",
]
