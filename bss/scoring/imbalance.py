"""How unequally a network uses its modalities, as pure functions of its predictions, features and gradients.

Notation: N samples, C classes, M modalities, true-class probability p^m_i = softmax(z^m_i)[y_i] of modality m's own
head. A *masked* modality is one whose feature is replaced, for every sample alike, by its mean over training samples
or by zeros, before its own head and the fusion see it.

    gap          mean_i (p^a_i - p^b_i), and how often each modality has the largest p_i
    contribution phi_m, Shapley's share of v(all) - v(none), v(S) = what the network achieves with all but S masked
    index        1 - min_m mean_i p^m_i / max_m mean_i p^m_i
    gradients    L2 norm of the gradient of each encoder, and largest / smallest

:func:`describe_predictions` and :func:`contributions` make what ``metrics.jsonl`` holds under ``"imbalance"``.

Sources: the modality gap is that of Liu et al., "Quantifying Multimodal Imbalance", arXiv 2510.21797. Shapley, "A value
for n-person games", 1953; for modalities Hu et al., "SHAPE", IJCAI 2022, and per sample Wei et al., "Enhancing
Multimodal Cooperation via Sample-level Modality Valuation", CVPR 2024. Comparing the encoders' gradient norms is the
idea of the modality learning index, MissBench, arXiv 2603.09874.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from bss.models.late_fusion import TwoStageNetwork
from bss.scoring.metrics import head_logits
from bss.utils import distributed
from bss.utils.choices import Prediction
from bss.utils.devices import widened, widest_float
from bss.utils.given import Numbers, as_tensor

Features = Mapping[str, Tensor]
"""Modality name -> features (N, D_m)."""


Coalition = frozenset[str]
"""The modalities that are not masked."""


MOST_MODALITIES = 6
"""Exact Shapley values take 2 ** M evaluations of the heads; beyond this many modalities there are none."""


CHUNK = 1024
"""Samples that the heads see at once when features are decoded again."""


# ---- the gap -------------------------------------------------------------------------------------------------------


def true_class_probability(logits_NC: Numbers, target_N: Numbers) -> Tensor:
    """Probability that a head gives to the right class, (N,) float64 in [0, 1].

    Args:
        logits_NC: of one head.
        target_N: class ids.
    """
    target_N = as_tensor("target", target_N)
    return widened(as_tensor("logits", logits_NC)).softmax(dim=1).gather(1, target_N.unsqueeze(1)).squeeze(1)


def modality_gap(probability: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean difference of the true-class probabilities of every two modalities.

    Args:
        probability: modality name -> (N,) in [0, 1], N >= 1; two modalities or more.

    Returns:
        ``{"a-b": mean(p^a - p^b)}`` in [-1, 1] for every pair in the order of the mapping; positive = a is stronger.
    """
    return {
        f"{one}-{other}": float((widened(probability[one]) - widened(probability[other])).mean())
        for one, other in itertools.combinations(probability, 2)
    }


def samples_won(probability: Mapping[str, Tensor]) -> tuple[dict[str, float], float]:
    """Share of the samples on which each modality alone has the largest true-class probability, and share of ties.

    The shares and the ties add up to 1.

    Args:
        probability: modality name -> (N,) in [0, 1], N >= 1; two modalities or more.
    """
    stacked_MN = torch.stack([widened(values) for values in probability.values()])
    best_MN = stacked_MN == stacked_MN.amax(dim=0)
    alone_N = best_MN.sum(dim=0) == 1
    won = {name: float(widened(best_MN[m] & alone_N).mean()) for m, name in enumerate(probability)}
    return won, float(widened(~alone_N).mean())


def imbalance_index(strength: Mapping[str, float]) -> float | None:
    """One number for how unequal the modalities are: 1 - weakest / strongest; 0 = equal, towards 1 = one alone.

    For the mean true-class probabilities of the modalities' own heads it is 1 - 1 / rho, where rho is the discrepancy
    ratio by which OGM-GE (Peng et al., CVPR 2022, section 3.2) compares two modalities, here over a whole data set and
    between the weakest and the strongest of any number. Unlike a ratio of accuracies it changes with every sample
    and is not 0 as soon as both count the same hits; unlike shares of Shapley values it needs no masking and cannot
    divide by nothing.

    Args:
        strength: modality name -> a finite number >= 0; two modalities or more.

    Returns:
        In [0, 1]; None if all are 0.
    """
    assert len(strength) > 1 and all(0 <= value < math.inf for value in strength.values()), strength
    strongest = max(strength.values())
    return 1 - min(strength.values()) / strongest if strongest > 0 else None


def describe_predictions(unimodal: Mapping[str, Numbers], target_N: Numbers) -> dict[str, object]:
    """Describe the imbalance by what the modalities' own heads predict; for any network.

    Args:
        unimodal: modality name -> logits (N, C).
        target_N: class ids.

    Returns:
        ``index`` (:func:`imbalance_index` of the next), ``true_class_probability`` (mean, by modality), ``gap``
        (:func:`modality_gap`), ``won`` and ``ties`` (:func:`samples_won`).
    """
    probability = {name: true_class_probability(logits, target_N) for name, logits in unimodal.items()}
    mean = {name: float(values.mean()) for name, values in probability.items()}
    won, ties = samples_won(probability)
    return {
        "index": imbalance_index(mean),
        "true_class_probability": mean,
        "gap": modality_gap(probability),
        "won": won,
        "ties": ties,
    }


# ---- contributions -------------------------------------------------------------------------------------------------


def coalitions(names: Iterable[str]) -> Iterator[Coalition]:
    """All 2 ** M subsets, from the empty one to all."""
    names = list(names)
    for size in range(len(names) + 1):
        yield from map(frozenset, itertools.combinations(names, size))


def shapley_values(value: Mapping[Coalition, float]) -> dict[str, float]:
    """Each player's Shapley value: what it adds when the players join one by one, averaged over all orders.

    ``phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! * (v(S + m) - v(S))``. The values add up to
    ``v(all) - v(none)``.

    Args:
        value: v of every subset of the players.
    """
    players = sorted(frozenset().union(*value))
    assert set(coalitions(players)) == set(value), "a coalition has no value"
    # A player joins after a given set S of others in |S|! (M - |S| - 1)! of the M! orders: the weight depends on |S|.
    weight = [
        math.factorial(size) * math.factorial(len(players) - size - 1) / math.factorial(len(players))
        for size in range(len(players))
    ]
    return {
        player: math.fsum(
            weight[len(others)] * (value[others | {player}] - value[others])
            for others in coalitions(name for name in players if name != player)
        )
        for player in players
    }


def shapley_shares(names: Iterable[str]) -> dict[Coalition, dict[str, float]]:
    """What each player's Shapley value takes of every coalition's value, where the empty one's is 0.

    For two: ``phi_a = v(ab) / 2 + v(a) / 2 - v(b) / 2``. The value is linear in v: these are its coefficients.
    """
    subsets = list(coalitions(names))
    return {
        subset: shapley_values({other: float(other == subset) for other in subsets}) for subset in filter(None, subsets)
    }


def masked(features_ND: Features, kept: Coalition, fill_D: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The features with every modality that is not kept replaced by its fill, the same for all samples.

    Args:
        features_ND: modality name -> (N, D_m).
        kept: modalities that stay.
        fill_D: modality name -> (D_m,).
    """
    return {
        name: features if name in kept else fill_D[name].to(features).expand_as(features)
        for name, features in features_ND.items()
    }


@torch.no_grad()
def coalition_values(
    model: TwoStageNetwork,
    features_ND: Features,
    fill_D: Mapping[str, Tensor],
    target_N: Tensor,
    *,
    prediction: Prediction | str,
) -> dict[str, dict[Coalition, float]]:
    """What the prediction achieves with every subset of the modalities, the others masked.

    Only the heads run; the encoders have done their work. With several processes each brings its share of the samples,
    and all get the values of the whole.

    Args:
        model: its heads run in the mode that they are in: it should be eval mode.
        features_ND: modality name -> (N, D_m), from :meth:`bss.models.LateFusion.encode` in eval mode.
        fill_D: modality name -> (D_m,), what stands for a masked modality.
        target_N: class ids, on the features' device.
        prediction: which heads the prediction sums, see :func:`bss.scoring.metrics.head_logits`.

    Returns:
        ``{"accuracy": {S: share of right predictions}, "probability": {S: mean true-class probability}}``.
    """
    subsets = list(coalitions(features_ND))
    # Sums rather than means: every process adds its own share, and one collective at the end divides by all samples.
    sums = torch.zeros(len(subsets), 2, dtype=widest_float(target_N.device), device=target_N.device)
    for start in range(0, len(target_N), CHUNK):
        part = {name: features[start : start + CHUNK] for name, features in features_ND.items()}
        target = target_N[start : start + CHUNK]
        for row, kept in enumerate(subsets):
            logits = head_logits(model.decode(masked(part, kept, fill_D)), prediction)["all"]
            sums[row, 0] += (logits.argmax(dim=1) == target).sum()
            sums[row, 1] += true_class_probability(logits, target).sum()
    count = distributed.total(torch.full_like(sums[0, 0], float(len(target_N))))
    means = (distributed.total(sums) / count).cpu().tolist()
    return {
        name: {kept: row[column] for kept, row in zip(subsets, means, strict=True)}
        for column, name in enumerate(("accuracy", "probability"))
    }


def contributions(
    model: TwoStageNetwork,
    features_ND: Features,
    fill_D: Mapping[str, Tensor],
    target_N: Tensor,
    *,
    prediction: Prediction | str,
) -> dict[str, dict[str, float]] | None:
    """Exact Shapley value of every modality, by accuracy and by mean true-class probability of the prediction.

    Arguments as in :func:`coalition_values`.

    Returns:
        ``{"accuracy": {modality: phi}, "probability": {modality: phi}}``; the values of a row add up to what all
        modalities achieve less what none achieves. None for more than :data:`MOST_MODALITIES` modalities.
    """
    if len(features_ND) > MOST_MODALITIES:
        return None
    values = coalition_values(model, features_ND, fill_D, target_N, prediction=prediction)
    return {name: shapley_values(of_subset) for name, of_subset in values.items()}


def mean_features(features_ND: Features) -> dict[str, Tensor]:
    """Mean feature of every modality, (D_m,) float32, over the samples of all processes.

    Args:
        features_ND: modality name -> (n, D_m), this process's share.
    """
    return {name: mean_of(sum_and_count(features)) for name, features in features_ND.items()}


# ---- linear probes -------------------------------------------------------------------------------------------------


def linear_probe(
    train_ND: Tensor, train_target_N: Tensor, test_ND: Tensor, test_target_N: Tensor, *, max_iter: int = 500
) -> tuple[float, bool]:
    """Test accuracy of a linear classifier on frozen features: how much an encoder knows, whatever its head does.

    Multinomial logistic regression (scikit-learn, L2 with C = 1, lbfgs) on features that are standardised by the
    training part's mean and standard deviation.

    Args:
        train_ND: features of the training part.
        train_target_N: class ids; two classes or more.
        test_ND: features of the test part.
        test_target_N: class ids.
        max_iter: steps of the optimiser at most.

    Returns:
        Accuracy in [0, 1], and whether the fit converged.
    """
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=max_iter, tol=1e-3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        classifier.fit(train_ND.cpu().double().numpy(), train_target_N.cpu().numpy())
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return float(classifier.score(test_ND.cpu().double().numpy(), test_target_N.cpu().numpy())), converged


def linear_probes(
    train_ND: Features, train_target_N: Tensor, test_ND: Features, test_target_N: Tensor
) -> tuple[dict[str, float], list[str]]:
    """:func:`linear_probe` of every modality: accuracy by modality, and the modalities whose fit did not converge."""
    probes = {
        name: linear_probe(features, train_target_N, test_ND[name], test_target_N)
        for name, features in train_ND.items()
    }
    accuracy = {name: accuracy for name, (accuracy, _) in probes.items()}
    return accuracy, [name for name, (_, converged) in probes.items() if not converged]


def sum_and_count(rows_ND: Tensor) -> Tensor:
    """The sum over rows and, behind it, their number, (D + 1,) float64; these add up over batches and processes."""
    sum_D = widened(rows_ND).sum(dim=0)
    return torch.cat((sum_D, sum_D.new_full((1,), len(rows_ND))))


def mean_of(sum_and_count: Tensor) -> Tensor:
    """The mean row over all processes, (D,) float32, from this process's :func:`sum_and_count`."""
    total = distributed.total(sum_and_count)
    return (total[:-1] / total[-1]).float()
