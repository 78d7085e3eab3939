"""The names of the heads, and what is told of them: without PyTorch, for those who read what runs have written.

They are those that :func:`bss.scoring.metrics.head_logits` gives: the prediction (``"all"``), the fused head
(``"fused"``) and each modality.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from bss.utils.choices import Prediction

V = TypeVar("V")

Metrics = dict[str, dict[str, float]]
"""Metric name -> head name -> value in [0, 1]."""


def heads_of(prediction: Prediction | str, modalities: Iterable[str]) -> list[str]:
    """Names of the heads that a prediction sums, see :func:`bss.scoring.metrics.head_logits`."""
    unimodal = list(modalities)
    return {"all": [*unimodal, "fused"], "unimodal": unimodal, "entropy": unimodal}.get(prediction, [prediction])


def predicted_by(prediction: Prediction | str, heads: Iterable[str]) -> str:
    """Which heads' logits the prediction sums, in words: ``"audio + visual + fused"``.

    Args:
        prediction: the recipe's choice.
        heads: the names of all heads.
    """
    names = heads_of(prediction, (name for name in heads if name not in ("all", "fused")))
    return " + ".join(names) + " by entropy" * (prediction == "entropy")


def unimodal_heads(heads: Mapping[str, V]) -> dict[str, V]:
    """The modalities' own heads among all, with their logits or whatever is known of each."""
    return {name: logits for name, logits in heads.items() if name not in ("all", "fused")}
