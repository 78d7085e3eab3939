"""The method's formulas as pure functions: torch in, torch out, no state, inputs checked.

Notation: N samples, C classes, modalities m = 1..M with M >= 2, unimodal logits ``z^m``, fused logits ``z^f``.

    similarity  s_i = mean over pairs m < n of cos(softmax z^m_i, softmax z^n_i)      in [0, 1]
    loss        l_i = w_f CE(z^f_i, y_i) + w_u sum_m CE(z^m_i, y_i)                   >= 0
    difficulty  d_i = (1 - scaled s_i) + scaled l_i                                   in [0, 2]; small = balanced

Everything is computed in float32 or better, whatever comes in: in bfloat16 only 9 of 256 similarities of a fresh
network stay distinct.

Source: Guan, Jiang, Yang, "Balance-aware Sequence Sampling Makes Multimodal Learning Better", IJCAI 2025; released
code at 495b94e, KS/train-CL.py:134-177 and KS/train-SPL.py:145-175. Where a recipe of the released code differs, the
argument that selects it says so.
"""

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor
from torch.nn import functional

from bss.utils.choices import Criterion, Normalize, Order, Space, Weighting
from bss.utils.devices import widened
from bss.utils.given import Numbers, as_tensor

Unimodal = Mapping[str, Numbers] | Sequence[Numbers]
"""Unimodal logits: modality name -> (N, C), or a sequence of such tensors, arrays or nested lists."""


OWN_SCORES = (
    "soft or several labels and numbers to regress need scores of your own: table.update(index, similarity=, loss=), "
    "bss.score_dataset(scores=) or bss.attach(loss=)"
)
"""The way out for targets that are no class ids."""


TWO_LOGITS = "a cross entropy needs one logit for each class: torch.cat([torch.zeros_like(z), z], 1) makes two"
"""The way out for one logit that stands for two classes."""


PROBABILITIES = (
    "rows are non-negative and sum to 1, as probabilities do, and the softmax of probabilities makes all predictions "
    "alike: pass logits, what the last layer returns before the softmax (or the probabilities' logarithm)"
)
"""What is said of probabilities that are taken for logits."""


def prediction_similarity(unimodal: Unimodal, *, space: Space = "probability") -> Tensor:
    """How alike the modalities' predictions are, per sample.

    ``s_i`` = mean over all pairs m < n of the cosine between the two modalities' predictions.

    Args:
        unimodal: modality name -> logits (N, C), or a sequence of them; two modalities or more.
        space: ``"probability"`` compares softmax outputs (the method); ``"logit"`` compares raw logits, as the
            released NVGesture/train-CL.py:142-148 does.

    Returns:
        (N,). In [0, 1] for probabilities (they are non-negative), in [-1, 1] for logits. 1 = the same prediction.

    Raises:
        ValueError: fewer than two modalities or (as probabilities) two classes, shapes that differ, or non-finite
            logits (their rows are named).
    """
    check_choice("space", space, Space)
    heads = list(_named(unimodal).items())
    _check_logits(heads)
    if space == "probability":
        _check_classes(heads)
    return similarity_of(tensors_of(unimodal), space=space)


def sample_loss(
    fused: Numbers,
    unimodal: Unimodal,
    target: Numbers,
    *,
    fused_weight: float = 1.0,
    unimodal_weight: float = 1.0,
) -> Tensor:
    """The training loss of every sample: ``w_f CE(z^f, y) + w_u sum_m CE(z^m, y)``.

    Args:
        fused: logits of the fused head, (N, C).
        unimodal: modality name -> logits (N, C), or a sequence of them.
        target: class ids, (N,) integers in [0, C).
        fused_weight: w_f; 0.1 for CREMA-D, 1 elsewhere (released CREMA-D/train-CL.py:169).
        unimodal_weight: w_u; 0.9 for CREMA-D, 1 elsewhere.

    Returns:
        (N,), >= 0, in nats.

    Raises:
        ValueError: shapes, lengths or class ids that do not fit, or non-finite logits (their rows are named).
    """
    fused = as_tensor("fused", fused)
    heads = [("fused", fused), *_named(unimodal).items()]
    _check_logits(heads)
    _check_classes(heads)
    target = _checked_target(as_tensor("target", target), fused.shape)
    return loss_of(fused, tensors_of(unimodal), target, fused_weight=fused_weight, unimodal_weight=unimodal_weight)


def min_max(values: Numbers) -> Tensor:
    """Rescale (N,) linearly to [0, 1]; all-equal values give zeros, so that a constant term drops out.

    The released code divides by zero there (KS/train-CL.py:134-138). No epsilon is added to the denominator: it would
    blow up rounding noise where the values are nearly constant.

    Raises:
        ValueError: not a vector, empty, or non-finite entries (named).
    """
    values = checked_vector("values", values)
    low, high = values.aminmax()
    spread = high - low
    if spread <= 0:
        return torch.zeros_like(values)
    if not torch.isfinite(spread):  # the extremes lie further apart than the type's largest number
        return min_max(values / 2)
    return ((values - low) / spread).clamp(0, 1)


def rank_fraction(values: Numbers) -> Tensor:
    """The share of the other samples that are strictly smaller: (N,) -> [0, 1]; all-equal values give zeros.

    Unlike :func:`min_max` it does not let one outlier squeeze all others together.

    Raises:
        ValueError: not a vector, empty, or non-finite entries (named).
    """
    values = checked_vector("values", values)
    smaller = torch.searchsorted(values.sort().values, values.contiguous())  # leftmost position
    return smaller.to(values.dtype) / max(len(values) - 1, 1)


def difficulty(
    similarity: Numbers, loss: Numbers, *, normalize: Normalize = "minmax", criterion: Criterion = "both"
) -> Tensor:
    """How imbalanced every sample is: ``d_i = (1 - scaled s_i) + scaled l_i``; small = balanced.

    Args:
        similarity: (N,), from :func:`prediction_similarity` or :func:`similarity_of`.
        loss: (N,), from :func:`sample_loss` or :func:`gradient_of`.
        normalize: ``"minmax"`` (the method, :func:`min_max`) or ``"rank"`` (:func:`rank_fraction`), over all N.
        criterion: ``"both"`` (the method), or one term by itself: ``"similarity"`` is ``2 (1 - scaled s_i)``,
            ``"loss"`` is ``2 scaled l_i``; doubled, so that weights made of one term spread as far as those of two.

    Returns:
        (N,) in [0, 2].

    Raises:
        ValueError: lengths that differ, or non-finite entries (named).
    """
    check_choice("normalize", normalize, Normalize)
    check_choice("criterion", criterion, Criterion)
    similarity, loss = as_tensor("similarity", similarity), as_tensor("loss", loss)
    if similarity.shape != loss.shape:
        raise ValueError(f"similarity {tuple(similarity.shape)} and loss {tuple(loss.shape)} must have the same length")
    scale = min_max if normalize == "minmax" else rank_fraction
    similarity, loss = checked_vector("similarity", similarity), checked_vector("loss", loss)
    return combined(scale(similarity), scale(loss), criterion)


def combined(similarity: Tensor, loss: Tensor, criterion: Criterion) -> Tensor:
    """:func:`difficulty` of scores that are scaled already.

    Args:
        similarity: (N,) in [0, 1].
        loss: (N,) in [0, 1].
        criterion: see :func:`difficulty`.

    Returns:
        (N,) in [0, 2].
    """
    if criterion == "both":
        return (1 - similarity) + loss
    return 2 * loss if criterion == "loss" else 2 * (1 - similarity)


def order_weights(difficulty: Numbers, *, floor: float = 1e-2, order: Order = "balanced_first") -> Tensor:
    """Weights of the weighted order (SPL): ``w_i = 2 - d_i + floor``.

    Equal to the released ``1 - (l - s) + 1e-2`` (KS/train-SPL.py:165-174), since d = 1 + l - s.

    Args:
        difficulty: (N,) in [0, 2].
        floor: >= 0; keeps the most imbalanced sample drawable. The released NVGesture SPL uses 0.
        order: ``"imbalanced_first"`` gives ``d_i + floor``, the flipped sign of the released Twitter/train-SPL.py:157.

    Returns:
        (N,) in [floor, 2 + floor].

    Raises:
        ValueError: a difficulty outside [0, 2] (named), a negative floor.
    """
    check_weighting(floor=floor, order=order)
    difficulty = _checked_difficulty(difficulty)
    return (2 - difficulty if order == "balanced_first" else difficulty) + floor


def log_weights(
    difficulty: Numbers,
    floor: float = 1e-2,
    temperature: float = 1.0,
    order: Order = "balanced_first",
    kind: Weighting = "linear",
) -> Tensor:
    """Logarithm of every sample's weight, by which SPL and resampling draw; loss weights are made of it as well.

    With the balance score ``b_i = scaled s_i - scaled l_i = 1 - d_i`` in [-1, 1] the weights at temperature T are

        linear   (2 - d_i + floor) ** (1 / T) = (1 + b_i + floor) ** (1 / T)     in [floor, 2 + floor] at T = 1
        softmax  exp(b_i / T)                 = exp((1 - d_i) / T)               in [1 / e, e] at T = 1

    and with ``order="imbalanced_first"`` those of ``-b_i``. Of the samples that are left, a draw takes each one with
    the probability of its weight over the sum of their weights.

    ``"linear"`` is the released code's, see :func:`order_weights`. ``"softmax"`` is the paper's: its authors' slides
    (IJCAI 2025, slide 10) draw with ``p_i = exp(b_i) / sum_j exp(b_j)``, where ``b = minmax(s) - minmax(l)`` (slide 8)
    or the moving average of it over the scorings. The two terms are scaled by min-max, their difference is not scaled
    again. Between the most balanced and the most imbalanced sample the odds are then at most e^2, about 7 to 1; the
    linear weights' are 201 to 1.

    Args:
        difficulty: (N,) in [0, 2].
        floor: >= 0, see :func:`order_weights`; of linear weights alone, since an exponential is never 0.
        temperature: T > 0. 1 is the method; below 1 the weights differ more, above 1 less.
        order: ``"imbalanced_first"`` weighs the imbalanced samples up.
        kind: ``"linear"`` or ``"softmax"``.

    Returns:
        (N,) float64: as logarithms they can be divided by any temperature without overflow. ``-inf`` is weight 0.

    Raises:
        ValueError: a difficulty outside [0, 2] (named), or another argument that is not as above.
    """
    check_weighting(floor=floor, temperature=temperature, order=order, kind=kind)
    if kind == "linear":
        return widened(order_weights(difficulty, floor=floor, order=order)).log() / temperature
    balance = 1 - widened(_checked_difficulty(difficulty))
    return (balance if order == "balanced_first" else -balance) / temperature


def check_weighting(
    *,
    floor: float = 1e-2,
    temperature: float = 1.0,
    order: Order = "balanced_first",
    kind: Weighting = "linear",
) -> None:
    """Raise ValueError for what :func:`log_weights` would refuse, before there is any difficulty to weigh."""
    check_choice("order", order, Order)
    check_choice("weighting", kind, Weighting)
    if not 0 <= floor < float("inf"):
        raise ValueError(f"floor must be a number >= 0, got {floor}")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be a number > 0, got {temperature}")


def similarity_of(vectors: Sequence[Numbers], *, space: Space = "probability") -> Tensor:
    """:func:`prediction_similarity` without the checks, which would wait for the device; for training loops.

    With ``space="logit"`` it compares features as well: the mean over all pairs m < n of their cosine. A cosine needs
    one space, so all features must have the same length, as in the paper's networks. Nothing is projected or padded to
    make them comparable: the number would then be one of the projection. Where lengths differ, the heads' outputs are
    the common space.

    Source: for features appendix A, table 1 of the paper (arXiv 2501.01470 v1), criterion cos(e_u, e_v).

    Args:
        vectors: two or more of (N, C) logits, or of (N, D) features as from :meth:`bss.models.LateFusion.encode`.
        space: ``"probability"`` takes the softmax of each first; ``"logit"`` takes the vectors as they are.

    Returns:
        (N,), in [0, 1] for probabilities, else in [-1, 1]; 0 where a vector is all zeros.
    """
    precise = [_precise(as_tensor("vectors", z)) for z in vectors]
    if space == "probability":
        precise = [z.softmax(dim=-1) for z in precise]
    units = [functional.normalize(v, dim=-1) for v in precise]
    pairs = [(a * b).sum(dim=-1) for a, b in itertools.combinations(units, 2)]
    mean = torch.stack(pairs).mean(dim=0)
    return mean.clamp(0 if space == "probability" else -1, 1)  # rounding can exceed the bound by 1e-7


def gradient_of(logits: Numbers, target: Numbers, features: Numbers) -> Tensor:
    """Length of every sample's own cross-entropy gradient in the weights of a linear head: ``||p - y|| ||f||``.

    For ``z = W f + b`` the gradient of CE(z, y) is the outer product ``(softmax z - onehot y) f^T`` in W, so its
    Frobenius norm needs no backward pass and no batch of one. Nothing is checked, since that would wait for the device.

    Source: appendix A, table 1 of the paper (arXiv 2501.01470 v1) names the criterion "gradient magnitude". The
    released forerunner sums the norms over all parameter tensors from one backward pass per sample; the last layer's is
    the part that has a closed form and does not depend on the encoders' depth.

    Args:
        logits: of the head, (N, C).
        target: class ids, (N,) int64 in [0, C).
        features: what the head is applied to, (N, D).

    Returns:
        (N,), >= 0.
    """
    error_NC = _precise(as_tensor("logits", logits)).softmax(dim=1)
    minus_one_N1 = error_NC.new_full((len(error_NC), 1), -1.0)
    error_NC = error_NC.scatter_add(
        1, as_tensor("target", target).unsqueeze(1), minus_one_N1
    )  # one_hot would wait for the device
    return error_NC.norm(dim=1) * _precise(as_tensor("features", features)).norm(dim=1)


def loss_of(
    fused: Numbers,
    unimodal: Sequence[Numbers],
    target: Numbers,
    *,
    fused_weight: float,
    unimodal_weight: float,
) -> Tensor:
    """:func:`sample_loss` without the checks, which would wait for the device; for training loops."""
    heads = {"fused": fused, **_named(unimodal)}
    weights = {name: fused_weight if name == "fused" else unimodal_weight for name in heads}
    return weighted_loss(head_losses(heads, target), weights)


def head_losses(
    heads: Mapping[str, Numbers],
    target: Numbers,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """Cross entropy of every head, name -> (B,) in float32 or better, from logits name -> (B, C); without checks.

    Args:
        heads: logits.
        target: (B,) class ids.
        label_smoothing: see torch.nn.CrossEntropyLoss; scores have none.
        class_weights: (C,), see there; scores have none. A mean over samples is one over their number.
    """
    target = as_tensor("target", target)
    logits = {name: _precise(as_tensor(name, z)) for name, z in heads.items()}
    return {
        name: functional.cross_entropy(
            z,
            target,
            weight=None if class_weights is None else class_weights.to(z.dtype),
            label_smoothing=label_smoothing,
            reduction="none",
        )
        for name, z in logits.items()
    }


def weighted_loss(losses: Mapping[str, Numbers], weights: Mapping[str, float]) -> Tensor:
    """The training loss ``sum_h w_h l_h``, (B,), over the heads of :func:`head_losses`."""
    first, *others = [weights[name] * as_tensor(name, loss) for name, loss in losses.items()]
    return sum(others, start=first)


def tensors_of(unimodal: Unimodal) -> list[Tensor]:
    """The logits of a mapping or sequence, in its order."""
    return list(_named(unimodal).values())


def _precise(values: Tensor) -> Tensor:
    """The values in float32, or in float64 if that is what they are."""
    return values if values.dtype == torch.float64 else values.float()


def seem_probabilities(heads: Sequence[Tensor]) -> Tensor:
    """Whether every row of every head is non-negative and sums to 1, as a bool tensor () that nobody has waited for."""
    signs = [
        (z >= 0).all() & ((z.float().sum(dim=-1) - 1).abs() < (1e-3 if z.dtype.itemsize > 2 else 2e-2)).all()
        for z in heads
    ]
    return torch.stack(signs).all()


def _named(unimodal: Unimodal) -> dict[str, Tensor]:
    if isinstance(unimodal, Mapping):
        return {name: as_tensor(f"logits of {name!r}", z) for name, z in unimodal.items()}
    return {f"unimodal[{i}]": as_tensor(f"unimodal[{i}]", z) for i, z in enumerate(unimodal)}


def _check_logits(heads: list[tuple[str, Tensor]]) -> None:
    if len(heads) < 2:
        raise ValueError(f"at least two modalities are needed, got {[name for name, _ in heads] or 'none'}")
    first = heads[0][1]
    for name, z in heads:
        if z.ndim != 2 or 0 in z.shape:
            raise ValueError(f"logits of {name!r} must be (samples, classes), got shape {tuple(z.shape)}")
        refuse(f"logits of {name!r}", ~z.isfinite().all(dim=1), None, "must be finite")
        if z.shape != first.shape:
            raise ValueError(
                f"logits of {name!r} have shape {tuple(z.shape)}, the others {tuple(first.shape)}: "
                "all heads must have the same samples and classes"
            )


def _check_classes(heads: list[tuple[str, Tensor]]) -> None:
    name, z = heads[0]
    if z.shape[1] < 2:
        raise ValueError(f"logits of {name!r} have shape {tuple(z.shape)}: {TWO_LOGITS}")
    if seem_probabilities([z for _, z in heads]):
        warnings.warn(f"logits of {name!r} and the others: {PROBABILITIES}", stacklevel=3)


def _checked_target(target: Tensor, shape: torch.Size) -> Tensor:
    if target.shape != shape[:1] or target.is_floating_point() or target.dtype == torch.bool:
        raise ValueError(f"target must be {shape[0]} integers, got {tuple(target.shape)} {target.dtype}: {OWN_SCORES}")
    refuse("target", (target < 0) | (target >= shape[1]), target, f"must lie in 0..{shape[1] - 1}")
    return target.long()


def checked_vector(name: str, values: Numbers) -> Tensor:
    """The vector (N,) in float32 or float64; ValueError if it is none, is empty or is not finite."""
    values = as_tensor(name, values)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"{name} must be a non-empty vector (N,), got shape {tuple(values.shape)}")
    refuse(name, ~values.isfinite(), values, "must be finite")
    return _precise(values)


def _checked_difficulty(difficulty: Numbers) -> Tensor:
    difficulty = checked_vector("difficulty", difficulty)
    refuse("difficulty", (difficulty < 0) | (difficulty > 2), difficulty, "must lie in [0, 2]")
    return difficulty


def refuse(name: str, wrong: Tensor, values: Tensor | None, rule: str) -> None:
    """Raise ValueError that names the offending indices (the first five of them), if there are any."""
    if not wrong.any():
        return
    indices = wrong.nonzero().squeeze(1).tolist()
    shown = ", ".join(f"{i} ({values[i].item():g})" if values is not None else str(i) for i in indices[:5])
    more = f" and {len(indices) - 5} more" if len(indices) > 5 else ""
    raise ValueError(f"{name} {rule}; offending indices: {shown}{more}")


def check_choice(name: str, value: str, allowed: object) -> None:
    """Raise ValueError unless ``value`` is one of the values of the ``Literal`` type ``allowed``."""
    choices = get_args(allowed)
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
