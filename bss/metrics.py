"""Metrics of every head, by the definitions of scikit-learn."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from torch import Tensor

from bss.models import Logits
from bss.scoring import tensors_of

Metrics = dict[str, dict[str, float]]
"""Metric name -> head name -> value in [0, 1]."""


def head_logits(logits: Logits, prediction: Literal["all", "unimodal"]) -> dict[str, Tensor]:
    """Logits (B, C) of the prediction (``"all"``), of the fused head (``"fused"``) and of each modality by its name.

    Args:
        logits: of a batch.
        prediction: the prediction sums the logits of ``"all"`` heads, or of the ``"unimodal"`` ones only (CREMA-D;
            released CREMA-D/train-CL.py, ``test``).
    """
    total = sum(tensors_of(logits.unimodal))
    if prediction == "all":
        total = total + logits.fused
    return {"all": total, "fused": logits.fused, **logits.unimodal}


def classification_metrics(heads: Mapping[str, Tensor], target: Tensor) -> Metrics:
    """Accuracy, macro F1 and mean average precision of each head.

    Macro F1 averages over the classes that occur among targets or predictions. Mean average precision ranks samples by
    the softmax of the logits, one class against the rest, and averages over the classes that occur among the targets
    (a class without a positive has no average precision).

    Args:
        heads: head name -> logits (N, C).
        target: (N,) class ids.

    Returns:
        ``{"accuracy": {head: value}, "macro_f1": {head: value}, "map": {head: value}}``.
    """
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score

    truth = target.cpu().numpy()
    metrics: Metrics = {"accuracy": {}, "macro_f1": {}, "map": {}}
    for name, logits in heads.items():
        probability = logits.double().softmax(dim=1).cpu().numpy()
        predicted = probability.argmax(axis=1)
        precision = [average_precision_score(truth == c, probability[:, c]) for c in np.unique(truth)]
        metrics["accuracy"][name] = float(accuracy_score(truth, predicted))
        metrics["macro_f1"][name] = float(f1_score(truth, predicted, average="macro", zero_division=0))
        metrics["map"][name] = float(np.mean(precision))
    return metrics


def rank_correlation(a: Tensor, b: Tensor) -> float | None:
    """Spearman's rank correlation of two (N,) vectors, in [-1, 1]; None if one is constant or not finite, or N < 2."""
    from scipy.stats import spearmanr

    if len(a) < 2 or not bool((a.isfinite() & b.isfinite()).all()):
        return None
    if bool((a == a[0]).all()) or bool((b == b[0]).all()):
        return None
    return float(spearmanr(a.cpu().numpy(), b.cpu().numpy()).statistic)
