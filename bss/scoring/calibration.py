"""How far a classifier's probabilities are to be believed: proper scores, and the calibration of its top label.

Notation: N samples, C classes, p_i a head's probabilities of sample i, y_i its class, c_i = max_k p_ik its confidence,
h_i = 1 where the class with that probability is y_i and else 0. Weights w_i count a sample several times, or not at
all: a value with weights is that of the repeated samples.

    NLL    mean of -log p_i[y_i]
    Brier  mean of sum_k (p_ik - [k = y_i])^2, in [0, 2]
    ECE    sum over bins b of (w_b / w) |mean of h in b - mean of c in b|, in [0, 1]

The expected calibration error is that of the TOP label: of two classes too a sample has one confidence, in [1/2, 1],
and not the probability of the second class. Its bins are 15 of equal width, (k/15, (k+1)/15]: closed at the right, so
that a confidence of exactly 1 is in the last one, and the first closed at 0 too. (Where 1 has a bin of its own, as in
torchmetrics#3510, the predictions that are surest count apart.) The ADAPTIVE form has 15 bins of equal weight instead:
sorted by confidence, a sample whose middle lies at share s of all weight is in bin floor(15 s); equal confidences have
one middle, so that it does not depend on the order of the samples.

Sources: Brier, "Verification of forecasts expressed in terms of probability", 1950; Naeini, Cooper and Hauskrecht,
"Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015, and Guo et al., "On calibration of modern
neural networks", ICML 2017 (ECE, 15 bins); Nguyen and O'Connor, "Posterior calibration and exploratory analysis for
natural language processing models", EMNLP 2015 (bins of equal weight).
"""

from typing import NamedTuple

import numpy as np

BINS = 15
"""Bins of the expected calibration error, and of the reliability curve."""


class Bins(NamedTuple):
    """Predictions in bins: how many, how sure they are, and how often they are right.

    Attributes:
        weight: (B,) of the samples in each bin; without weights their number.
        confidence: (B,) mean confidence; NaN of an empty bin.
        accuracy: (B,) share of right predictions; NaN of an empty bin.
    """

    weight: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error, in [0, 1]."""
        held = self.weight > 0
        gap = np.abs(self.accuracy[held] - self.confidence[held])
        return float((self.weight[held] * gap).sum() / self.weight.sum())


class Reliability(NamedTuple):
    """A reliability curve.

    Attributes:
        edges: (B + 1,) ends of the bins; of equal weight: the smallest confidence of each bin, and the largest of all.
        bins: what is in them.
    """

    edges: np.ndarray
    bins: Bins

    @property
    def error(self) -> float:
        """The expected calibration error, in [0, 1]."""
        return self.bins.error


def equal_width_bins(confidence_N: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin of every confidence among bins of equal width that are closed at the right, (N,) in 0..bins - 1.

    Args:
        confidence_N: in [0, 1].
        bins: how many.

    Raises:
        ValueError: a confidence outside of [0, 1], or NaN (its position is named).
    """
    outside = np.flatnonzero(~((confidence_N >= 0) & (confidence_N <= 1)))
    if outside.size:
        raise ValueError(f"confidences must lie in [0, 1], and that at {outside[0]} is {confidence_N[outside[0]]}")
    return np.maximum(np.searchsorted(_edges(bins), confidence_N, side="left") - 1, 0)


def equal_weight_bins(confidence_N: np.ndarray, bins: int = BINS, weight_N: np.ndarray | None = None) -> np.ndarray:
    """The bin of every confidence among bins of equal weight, (N,) in 0..bins - 1; equal confidences share one.

    Args:
        confidence_N: any numbers; their ranks alone count.
        bins: how many; with fewer samples some are empty.
        weight_N: of the samples, whole numbers >= 0; None = 1 each.
    """
    return bins_of_ranks(ranks(confidence_N), bins, np.ones(len(confidence_N)) if weight_N is None else weight_N)


def ranks(values_N: np.ndarray) -> np.ndarray:
    """The rank of every value among the different ones, (N,) from 0: equal values share one."""
    return np.unique(values_N, return_inverse=True)[1]


def bins_of_ranks(rank_N: np.ndarray, bins: int, weight_N: np.ndarray) -> np.ndarray:
    """:func:`equal_weight_bins` of samples that are ranked already."""
    weight_U = np.bincount(rank_N, weight_N)
    middle_U = weight_U.cumsum() - weight_U / 2
    # Whole numbers and halves: the products are exact, and so is the division where the middle is an edge.
    return np.minimum(bins * middle_U // max(weight_U.sum(), 1), bins - 1).astype(np.int64)[rank_N]


def binned(confidence_N: np.ndarray, hit_N: np.ndarray, bin_N: np.ndarray, bins: int, weight_N: np.ndarray) -> Bins:
    """Put predictions into bins.

    Args:
        confidence_N: of the predictions.
        hit_N: whether each is right.
        bin_N: of each, in 0..bins - 1.
        bins: how many.
        weight_N: of the samples.
    """
    weight = np.bincount(bin_N, weight_N, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(bin_N, weight_N * confidence_N, minlength=bins) / weight
        accuracy = np.bincount(bin_N, weight_N * hit_N, minlength=bins) / weight
    return Bins(weight, confidence, accuracy)


def reliability_curve(
    confidence_N: np.ndarray, hit_N: np.ndarray, *, bins: int = BINS, adaptive: bool = False
) -> Reliability:
    """The reliability curve of the top label.

    Args:
        confidence_N: probability of the predicted class, in [0, 1].
        hit_N: whether it is the right one.
        bins: how many.
        adaptive: bins of equal weight in place of those of equal width.

    Raises:
        ValueError: see :func:`equal_width_bins`.
    """
    if adaptive:
        bin_N = equal_weight_bins(confidence_N, bins)
        edges = np.full(bins + 1, confidence_N.max())
        np.minimum.at(edges, bin_N, confidence_N)
        edges = np.minimum.accumulate(edges[::-1])[::-1]  # an empty bin begins where the next one does
    else:
        bin_N, edges = equal_width_bins(confidence_N, bins), _edges(bins)
    return Reliability(edges, binned(confidence_N, hit_N, bin_N, bins, np.ones(len(confidence_N))))


def expected_calibration_error(
    confidence_N: np.ndarray, hit_N: np.ndarray, *, bins: int = BINS, adaptive: bool = False
) -> float:
    """The expected calibration error of the top label, in [0, 1]; see the module's docstring and its source.

    Args:
        confidence_N: probability of the predicted class, in [0, 1].
        hit_N: whether it is the right one.
        bins: how many.
        adaptive: bins of equal weight in place of those of equal width.

    Raises:
        ValueError: see :func:`equal_width_bins`.
    """
    return reliability_curve(confidence_N, hit_N, bins=bins, adaptive=adaptive).error


def negative_log_likelihoods(log_probability_NC: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """-log p_i[y_i] of every sample, (N,).

    Args:
        log_probability_NC: logarithms of probabilities: those of small ones are not lost.
        truth_N: class ids.
    """
    return -np.take_along_axis(log_probability_NC, truth_N[:, None], axis=1)[:, 0]


def brier_scores(probability_NC: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """sum_k (p_ik - [k = y_i])^2 of every sample, (N,) in [0, 2].

    Args:
        probability_NC: of every class.
        truth_N: class ids.
    """
    one_hot_NC = np.arange(probability_NC.shape[1]) == truth_N[:, None]
    return ((probability_NC - one_hot_NC) ** 2).sum(axis=1)


def _edges(bins: int) -> np.ndarray:
    return np.arange(bins + 1) / bins
