"""Metrics of every head, by scikit-learn's definitions, and the rank correlation of two scores."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bss.models.late_fusion import Logits
from bss.scoring.heads import Metrics, heads_of, unimodal_heads
from bss.utils.choices import Prediction
from bss.utils.devices import widened
from bss.utils.given import Numbers, as_tensor


def head_logits(logits: Logits, prediction: Prediction | str) -> dict[str, Tensor]:
    """Logits (B, C) of the prediction (``"all"``), of the fused head (``"fused"``) and of each modality by its name.

    Args:
        logits: of a batch.
        prediction: the prediction sums the logits of ``"all"`` heads, or of the ``"unimodal"`` ones only (CREMA-D;
            released CREMA-D/train-CL.py, ``test``), or these by :func:`entropy_weights` (``"entropy"``), or is the
            ``"fused"`` head's, or that of the modality of this name.
    """
    heads = {**logits.unimodal, "fused": logits.fused}
    summed = [heads[name] for name in heads_of(prediction, logits.unimodal)]
    if prediction == "entropy":
        weights_MB = entropy_weights(summed)
        summed = [weight_B.unsqueeze(1) * values for weight_B, values in zip(weights_MB, summed, strict=True)]
    first, *others = summed
    return {"all": sum(others, start=first), "fused": logits.fused, **logits.unimodal}


def certainty(logits_BC: Tensor) -> Tensor:
    """Divergence KL(softmax z, uniform) = ln C - entropy, (B,) in [0, ln C]; 0 for a head that has no opinion."""
    log_probability = logits_BC.float().log_softmax(dim=1)
    return math.log(logits_BC.shape[1]) + (log_probability.exp() * log_probability).sum(dim=1)


def entropy_weights(logits: Sequence[Tensor]) -> Tensor:
    """How much each of several heads counts in the prediction of a sample: the more, the surer it is of it.

    ``w_m = exp(-H_m) / sum_n exp(-H_n)`` with the entropy H_m of softmax z_m in nats. Between a head without an opinion
    and one that is sure of one class the odds are 1 to C.

    Source: the test-time fusion of MLA, Zhang et al., CVPR 2024; released code main.py:65-106
    (Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation @ab6c184). Difference: there the softmax and the
    sum run over the batch, so that a prediction depends on its batch-mates; here every sample has weights of its own.

    Args:
        logits: of each head, (B, C).

    Returns:
        (M, B), positive; every column sums to 1.
    """
    return torch.stack([certainty(logits_BC) for logits_BC in logits]).softmax(dim=0)


def left_out(heads: Mapping[str, Tensor], lacks: Mapping[str, np.ndarray], prediction: Prediction | str) -> Tensor:
    """Logits (N, C) of the prediction where samples lack modalities: that of the remaining modalities' own heads.

    These are summed, or weighted where the prediction is by entropy; the fused head, which needs all modalities, has
    no say. A sample that lacks none keeps its prediction, and one that has none left gets zeros: no class before
    another, and the first one by rule.

    Args:
        heads: of :func:`head_logits`.
        lacks: modality -> (N,) bool.
        prediction: see :func:`head_logits`; where it is one modality's, and that one is not lacking, it stays.
    """
    own, logits = unimodal_heads(heads), heads["all"].clone()
    for pattern in itertools.product((False, True), repeat=len(lacks)):
        lacked = {name for name, lacking in zip(lacks, pattern, strict=True) if lacking}
        if not lacked or (prediction in own and prediction not in lacked):
            continue
        which = [lack_N == lacking for lack_N, lacking in zip(lacks.values(), pattern, strict=True)]
        rows = torch.from_numpy(np.flatnonzero(np.logical_and.reduce(which)))
        rest = {name: values[rows] for name, values in own.items() if name not in lacked}
        how: Prediction = "entropy" if prediction == "entropy" else "unimodal"
        logits[rows] = head_logits(Logits(logits[rows], rest), how)["all"] if rest else torch.zeros_like(logits[rows])
    return logits


def classification_metrics(heads: Mapping[str, Numbers], target: Numbers) -> Metrics:
    """Accuracy, macro F1 and mean average precision of each head.

    Macro F1 averages over the classes that occur among targets or predictions. Mean average precision ranks samples by
    the softmax of the logits, one class against the rest, and averages over the classes that occur among the targets
    (a class without a positive has no average precision).

    The numbers are scikit-learn's (``accuracy_score``, ``f1_score``, ``average_precision_score``), computed for all
    classes at once: its functions spend milliseconds a class on checking their input, more than a small network's
    epoch takes.

    Args:
        heads: head name -> logits (N, C).
        target: (N,) class ids, N >= 1.

    Returns:
        ``{"accuracy": {head: value}, "macro_f1": {head: value}, "map": {head: value}}``.
    """
    truth_N = as_tensor("target", target).cpu().numpy()
    metrics: Metrics = {"accuracy": {}, "macro_f1": {}, "map": {}}
    for name, logits in heads.items():
        probability_NC = probabilities(logits)
        predicted_N = probability_NC.argmax(axis=1)
        metrics["accuracy"][name] = float((predicted_N == truth_N).mean())
        metrics["macro_f1"][name] = float(f1_by_class(predicted_N, truth_N).mean())
        metrics["map"][name] = float(average_precision_by_class(probability_NC, truth_N).mean())
    return metrics


def hits(heads: Mapping[str, Numbers], target: Numbers) -> dict[str, np.ndarray]:
    """Which samples each head classifies rightly; their mean is the accuracy of :func:`classification_metrics`.

    Args:
        heads: head name -> logits (N, C).
        target: (N,) class ids.

    Returns:
        Head name -> (N,) bool.
    """
    truth_N = as_tensor("target", target).cpu().numpy()
    return {name: probabilities(logits).argmax(axis=1) == truth_N for name, logits in heads.items()}


def probabilities(logits: Numbers) -> np.ndarray:
    """Softmax of logits (N, C); classes whose logits differ by rounding alone may be equal in it."""
    return widened(as_tensor("logits", logits)).softmax(dim=1).cpu().numpy()


def f1_by_class(predicted_N: np.ndarray, truth_N: np.ndarray, weight_N: np.ndarray | None = None) -> np.ndarray:
    """F1 of every class that occurs in either array, in the order of class ids: 2 hits / (predicted + true).

    Args:
        predicted_N: class ids.
        truth_N: class ids.
        weight_N: how often each sample counts; None = once. A class whose samples count nothing does not occur.
    """
    size = int(max(predicted_N.max(), truth_N.max())) + 1
    right_N = predicted_N == truth_N
    weights = (None, None, None) if weight_N is None else (weight_N[right_N], weight_N, weight_N)
    hits, predicted, true = (
        np.bincount(labels, counts, minlength=size)
        for labels, counts in zip((truth_N[right_N], predicted_N, truth_N), weights, strict=True)
    )
    occurs = predicted + true > 0
    return 2 * hits[occurs] / (predicted + true)[occurs]


def average_precision_by_class(probability_NC: np.ndarray, truth_N: np.ndarray) -> np.ndarray:
    """Average precision of every class that occurs in ``truth_N``, in the order of class ids, one against the rest.

    The samples are ranked by the class's probability. Averaged over the class's samples: the share of that class among
    all samples that are ranked as high as the sample, or higher. Samples with equal probability share a rank.
    """
    # One sort per class, all at once: column k of every array ranks the samples for class k.
    classes = np.unique(truth_N)
    descending_NK = -probability_NC[:, classes]
    order_NK = descending_NK.argsort(axis=0)
    ranked_NK = np.take_along_axis(descending_NK, order_NK, axis=0)
    is_hit_NK = truth_N[order_NK] == classes
    precision_NK = is_hit_NK.cumsum(axis=0) / np.arange(1, len(truth_N) + 1)[:, None]
    # Samples of equal probability stand or fall together: the precision at the last of them counts for all of them.
    is_last_NK = np.ones_like(is_hit_NK)
    is_last_NK[:-1] = ranked_NK[:-1] != ranked_NK[1:]
    place_NK = np.where(is_last_NK, np.arange(len(truth_N))[:, None], len(truth_N))
    last_NK = np.minimum.accumulate(place_NK[::-1], axis=0)[::-1]
    return (np.take_along_axis(precision_NK, last_NK, axis=0) * is_hit_NK).sum(axis=0) / is_hit_NK.sum(axis=0)


class ClassRanking(NamedTuple):
    """The samples ranked for one class against the rest, H of them of the class; for :func:`average_precision`.

    Attributes:
        order_N: the samples, the most probable first.
        hits_H: ranks of those of the class, ascending.
        last_H: of each of these, the last rank with the same probability: they stand or fall together.
        among_H: how many of the class there are up to that rank.
    """

    order_N: np.ndarray
    hits_H: np.ndarray
    last_H: np.ndarray
    among_H: np.ndarray


def class_ranking(probability_N: np.ndarray, is_class_N: np.ndarray) -> ClassRanking:
    """Rank samples for one class.

    Args:
        probability_N: of the class.
        is_class_N: whether the sample is of it.
    """
    order_N = np.argsort(-probability_N)
    descending_N = -probability_N[order_N]
    hits_H = np.flatnonzero(is_class_N[order_N])
    last_H = np.searchsorted(descending_N, descending_N[hits_H], side="right") - 1
    return ClassRanking(order_N, hits_H, last_H, np.searchsorted(hits_H, last_H, side="right"))


def average_precision(ranking: ClassRanking, weight_N: np.ndarray) -> float:
    """One class of :func:`average_precision_by_class`, of samples that count several times or not at all.

    A test set that is drawn again is the same samples with other weights: what is sorted stays so.

    Args:
        ranking: of the samples for the class.
        weight_N: how often each sample counts.

    Returns:
        In [0, 1]; NaN where no sample of the class counts.
    """
    weights_N = weight_N[ranking.order_N]
    own_H = weights_N[ranking.hits_H]
    counts_H = own_H > 0  # before the first sample that counts a share would be 0 of 0
    if not counts_H.any():
        return float("nan")
    found_H = own_H.cumsum()[ranking.among_H - 1][counts_H]
    precision_H = found_H / weights_N.cumsum()[ranking.last_H][counts_H]
    return float(precision_H @ own_H[counts_H] / own_H.sum())


def confusion_matrix(predicted_N: np.ndarray, truth_N: np.ndarray, num_classes: int) -> np.ndarray:
    """How often each class (row) was taken for each class (column), (C, C) int64.

    Args:
        predicted_N: class ids.
        truth_N: class ids.
        num_classes: C.
    """
    pairs = np.bincount(truth_N * num_classes + predicted_N, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def rank_correlation(a: Numbers, b: Numbers) -> float | None:
    """Spearman's rank correlation of two (N,) vectors, in [-1, 1]; None if one is constant or not finite, or N < 2.

    The number is that of ``scipy.stats.spearmanr``, which also makes a p value and takes 2.5 times as long.
    """
    a, b = as_tensor("a", a), as_tensor("b", b)
    if len(a) < 2 or not bool((a.isfinite() & b.isfinite()).all()):
        return None
    if bool((a == a[0]).all()) or bool((b == b[0]).all()):
        return None
    # One vector after the other in memory, as in SciPy: the sums have its last digit as well.
    ranks_N2 = np.stack([_average_ranks(values.cpu().numpy()) for values in (a, b)]).T
    return float(np.corrcoef(ranks_N2, rowvar=False)[1, 0])


def _average_ranks(values_N: np.ndarray) -> np.ndarray:
    """Ranks from 1 on, (N,) float64; equal values share the mean of theirs."""
    order_N = values_N.argsort()
    sorted_N = values_N[order_N]
    starts = np.flatnonzero(np.concatenate(([True], sorted_N[1:] != sorted_N[:-1])))
    ends = np.append(starts[1:], len(values_N))
    ranks_N = np.empty(len(values_N))
    ranks_N[order_N] = np.repeat((starts + ends + 1) / 2, ends - starts)
    return ranks_N
