"""Everything that is measured of one head on one set of samples, and how sure each number is over these samples."""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
from torch import Tensor

from bss.scoring.calibration import (
    BINS,
    Reliability,
    binned,
    bins_of_ranks,
    brier_scores,
    equal_width_bins,
    negative_log_likelihoods,
    ranks,
    reliability_curve,
)
from bss.scoring.intervals import CONFIDENCE, RESAMPLES, bootstrap_interval, bootstrap_weights, wilson_interval
from bss.scoring.metrics import (
    ClassRanking,
    average_precision,
    average_precision_by_class,
    class_ranking,
    confusion_matrix,
    f1_by_class,
    probabilities,
)
from bss.utils.devices import widened

MEASURES = ("accuracy", "macro_f1", "map", "nll", "brier", "ece", "adaptive_ece")
"""What is measured of a head, by the names that files have."""


MOST = {"nll": math.inf, "brier": 2.0}
"""Name of a measure -> its largest possible value, where that is not 1."""


class Measured(NamedTuple):
    """A number with the interval of the samples.

    Attributes:
        value: the number.
        interval: both ends; None where there is nothing to judge by (a single group).
    """

    value: float
    interval: tuple[float, float] | None


class ClassRow(NamedTuple):
    """One class of a head.

    Attributes:
        samples: of the class.
        predicted: samples that were taken for it.
        precision: share of right ones among those; NaN where there is none.
        recall: share of the class's samples that were found; NaN where there is none.
        f1: 2 hits / (predicted + samples); NaN where both are 0.
        average_precision: one against the rest; NaN of a class without samples.
    """

    samples: int
    predicted: int
    precision: float
    recall: float
    f1: float
    average_precision: float


class HeadMeasures:
    """What a head says of N samples, and the numbers that come of it.

    Accuracy, macro F1 and mean average precision are those of :func:`bss.scoring.metrics.classification_metrics`, to
    the last digit; the others are those of :mod:`bss.scoring.calibration`.

    Args:
        logits_NC: of the head, on the CPU.
        truth_N: class ids, N >= 1.

    Attributes:
        truth_N: class ids.
        probability_NC: softmax of the logits, float64.
        predicted_N: class ids.
        confidence_N: probability of the predicted class.
        hit_N: whether that is the right one.
    """

    def __init__(self, logits_NC: Tensor, truth_N: np.ndarray):
        self.truth_N = truth_N
        self.probability_NC = probabilities(logits_NC)
        self.predicted_N = self.probability_NC.argmax(axis=1)
        self.confidence_N = self.probability_NC.max(axis=1)
        self.hit_N = self.predicted_N == truth_N
        self._loss_N = negative_log_likelihoods(widened(logits_NC).log_softmax(dim=1).numpy(), truth_N)
        self._brier_N = brier_scores(self.probability_NC, truth_N)
        self._bin_N, self._rank_N = equal_width_bins(self.confidence_N), ranks(self.confidence_N)

    @cached_property
    def _rankings(self) -> list[ClassRanking]:
        return [class_ranking(self.probability_NC[:, k], self.truth_N == k) for k in np.unique(self.truth_N)]

    def values(self) -> dict[str, float]:
        """All of :data:`MEASURES`, by name."""
        return {
            "accuracy": float(self.hit_N.mean()),
            "macro_f1": float(f1_by_class(self.predicted_N, self.truth_N).mean()),
            "map": float(average_precision_by_class(self.probability_NC, self.truth_N).mean()),
            "nll": float(self._loss_N.mean()),
            "brier": float(self._brier_N.mean()),
            "ece": self.reliability().error,
            "adaptive_ece": self.reliability(adaptive=True).error,
        }

    def weighted(self, weight_N: np.ndarray) -> dict[str, float]:
        """:meth:`values` of samples that count several times, or not at all.

        Args:
            weight_N: how often each sample counts, whole numbers as floats.
        """
        adaptive_N, share_N = bins_of_ranks(self._rank_N, BINS, weight_N), weight_N / weight_N.sum()
        return {
            "accuracy": float(share_N @ self.hit_N),
            "macro_f1": float(f1_by_class(self.predicted_N, self.truth_N, weight_N).mean()),
            "map": float(np.nanmean([average_precision(ranking, weight_N) for ranking in self._rankings])),
            "nll": float(share_N @ self._loss_N),
            "brier": float(share_N @ self._brier_N),
            "ece": binned(self.confidence_N, self.hit_N, self._bin_N, BINS, weight_N).error,
            "adaptive_ece": binned(self.confidence_N, self.hit_N, adaptive_N, BINS, weight_N).error,
        }

    def reliability(self, *, adaptive: bool = False) -> Reliability:
        """See :func:`bss.scoring.calibration.reliability_curve`."""
        return reliability_curve(self.confidence_N, self.hit_N, adaptive=adaptive)

    def measured(
        self, groups_N: np.ndarray | None = None, *, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
    ) -> dict[str, Measured]:
        """All of :data:`MEASURES`, each with its interval over the samples.

        The accuracy has Wilson's interval where every sample stands for itself. All others, and where samples come in
        groups the accuracy too, have that of a bootstrap of whole groups; that of the accuracy is never
        narrower than Wilson's: a handful of groups that are all right would leave it no width at all.

        Args:
            groups_N: number of every sample's group; None = each is one of its own.
            resamples: test sets that are drawn; 0 = no interval but Wilson's.
            confidence: coverage, in (0, 1).
        """
        weights = bootstrap_weights(len(self.hit_N), groups_N, resamples=resamples)
        drawn = [self.weighted(weight_N) for weight_N in weights]
        single = len(self.hit_N) if groups_N is None else len(np.unique(groups_N))
        found = {}
        for name, value in self.values().items():
            interval = None
            if drawn and single > 1:
                interval = bootstrap_interval(
                    value, np.array([each[name] for each in drawn]), most=MOST.get(name, 1.0), confidence=confidence
                )
            if name == "accuracy":
                wilson = wilson_interval(int(self.hit_N.sum()), len(self.hit_N), confidence)
                if groups_N is None or interval is None:
                    interval = wilson if groups_N is None else None
                else:
                    interval = min(wilson[0], interval[0]), max(wilson[1], interval[1])
            found[name] = Measured(value, interval)
        return found

    def classes(self) -> list[ClassRow]:
        """A row for every class, in the order of class ids."""
        matrix_CC = self.confusion()
        true_C, predicted_C, right_C = matrix_CC.sum(axis=1), matrix_CC.sum(axis=0), matrix_CC.diagonal()
        of_class = average_precision_by_class(self.probability_NC, self.truth_N)
        precision_K = dict(zip(np.unique(self.truth_N).tolist(), of_class, strict=True))
        return [
            ClassRow(
                samples=int(count),
                predicted=int(predicted),
                precision=_share(right, predicted),
                recall=_share(right, count),
                f1=_share(2 * right, count + predicted),
                average_precision=float(precision_K.get(label, np.nan)),
            )
            for label, (count, predicted, right) in enumerate(zip(true_C, predicted_C, right_C, strict=True))
        ]

    def confusion(self) -> np.ndarray:
        """See :func:`bss.scoring.metrics.confusion_matrix`."""
        return confusion_matrix(self.predicted_N, self.truth_N, self.probability_NC.shape[1])


def _share(part: int, whole: int) -> float:
    return float(part / whole) if whole else float("nan")
