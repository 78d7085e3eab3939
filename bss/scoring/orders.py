"""From difficulty to an order of samples, as pure functions: the curriculum's, the weighted draw, class balance."""

import heapq
import itertools

import torch
from torch import Tensor

from bss.scoring.formulas import check_choice, checked_vector, refuse
from bss.utils.choices import Order
from bss.utils.given import Numbers, as_tensor
from bss.utils.seeding import generator


def uniform_order(num_samples: int, *, seed: int, epoch: int) -> Tensor:
    """A uniformly random order of N samples, (N,) int64: that of a warm-up epoch, and of the uniform control."""
    return torch.randperm(num_samples, generator=generator("warm-up", seed, epoch), device="cpu")


def evenly_spaced(members: int, places: int) -> Tensor:
    """Evenly spaced positions: any window of w places holds ``w * members / places`` of them, within one.

    Args:
        members: 0..places.
        places: >= 0.

    Returns:
        (members,) int64, ascending: place j is ``floor((2 j + 1) * places / (2 * members))``.
    """
    return (2 * torch.arange(members, device="cpu") + 1) * places // max(2 * members, 1)


def curriculum_order(difficulty: Numbers, *, order: Order = "balanced_first", labels: Numbers | None = None) -> Tensor:
    """Sample indices sorted by difficulty (CL), ties in index order.

    Args:
        difficulty: (N,).
        order: ``"balanced_first"`` is ascending; ``"imbalanced_first"`` descending (the anti-curriculum).
        labels: (N,) integers. When given, every prefix of the order keeps the class mix: each class is sorted by
            itself, and a prefix of k samples holds k times the class's share of the whole, within one sample.

    Returns:
        (N,) int64, a permutation.

    Raises:
        ValueError: non-finite difficulty (named), or labels of another length.
    """
    check_choice("order", order, Order)
    difficulty = checked_vector("difficulty", difficulty)
    ranking = torch.argsort(difficulty, stable=True, descending=order == "imbalanced_first")
    if labels is None:
        return ranking
    labels = as_tensor("labels", labels)
    if labels.shape != difficulty.shape or labels.is_floating_point():
        raise ValueError(f"labels must be {len(difficulty)} integers, got {tuple(labels.shape)} {labels.dtype}")
    return class_balanced(ranking, labels)


def class_balanced(order: Numbers, labels: Numbers) -> Tensor:
    """The same samples with the classes interleaved, each class's samples among themselves as they were.

    Every prefix of k samples holds k times the class's share of the order, within one sample, so every window (a batch)
    does within two.

    Args:
        order: (K,) int64, indices into ``labels``; repeats are fine.
        labels: (N,) integers.

    Returns:
        (K,) int64.
    """
    order, labels = as_tensor("order", order), as_tensor("labels", labels)
    _, members, sizes = labels.to(order.device)[order].unique(return_inverse=True, return_counts=True)
    by_class = order[torch.argsort(members, stable=True)]
    return by_class[torch.tensor(_proportional_order(sizes.tolist()), device=order.device)]


def class_matched(order: Numbers, members: Numbers, labels: Numbers) -> Tensor:
    """Other samples in the same sequence of classes: what is left of an order when only its classes count.

    Every prefix of the result has the class mix of the same prefix of ``order``.

    Args:
        order: (N,) int64, a permutation.
        members: (N,) int64, a permutation: the sequence in which the samples of a class take its places.
        labels: (N,) integers.

    Returns:
        (N,) int64, a permutation.
    """
    order, members, labels = as_tensor("order", order), as_tensor("members", members), as_tensor("labels", labels)
    matched = torch.empty_like(order)
    places = torch.argsort(labels[order], stable=True)
    matched[places] = members[torch.argsort(labels[members], stable=True)]
    return matched


def weighted_order(weights: Numbers, *, seed: int, epoch: int, k: int | None = None) -> Tensor:
    """Draw k of N samples without replacement, each next one with probability proportional to its weight.

    This is the Plackett-Luce law of ``torch.multinomial(weights, k, replacement=False)``, which the released
    KS/train-SPL.py:174 calls, for any N (multinomial stops at 2**24) and as a pure function of its arguments. Sample i
    gets an exponential clock with rate w_i, and samples come in the order in which their clocks ring.

    Args:
        weights: (N,), finite, >= 0. Samples of weight 0 come last, in random order.
        seed: non-negative.
        epoch: non-negative; (seed 0, epoch 1) and (seed 1, epoch 0) are unrelated.
        k: number of samples, 1..N; None = all N.

    Returns:
        (k,) int64 on the CPU, no repeats.

    Raises:
        ValueError: negative or non-finite weights (named), k out of range.
    """
    weights = checked_vector("weights", weights)
    refuse("weights", weights < 0, weights, "must be >= 0")
    return race_order(weights.cpu().double().log(), seed=seed, epoch=epoch, k=k)


def race_order(log_weights: Numbers, *, seed: int, epoch: int, k: int | None = None) -> Tensor:
    """:func:`weighted_order` for logarithms of weights, which may be too small or large to exponentiate.

    ``-inf`` is weight 0. Logarithms let a temperature divide them without overflow.
    """
    log_weights = as_tensor("log_weights", log_weights)
    count = len(log_weights)
    k = count if k is None else k
    if not 1 <= k <= count:
        raise ValueError(f"k must lie in 1..{count} (the number of weights), got {k}")
    log_weights = log_weights.cpu().double()
    # rand, not exponential_: the latter may take a vendor's code path, so machines could differ. u is in [0, 1), hence
    # the clock -log1p(-u) is in [0, 36.8] and only u = 0 (probability 2**-53) gives -inf, which harmlessly rings first.
    u = torch.rand(count, dtype=torch.float64, generator=generator("order", seed, epoch), device="cpu")
    clock = torch.log(-torch.log1p(-u)) - log_weights
    never = clock.isposinf()
    order = torch.argsort(clock, stable=True)
    if never.any():
        tail = never.nonzero().squeeze(1)
        order[count - len(tail) :] = tail[torch.argsort(u[tail], stable=True)]
    return order[:k]


def resampled_order(
    log_weights: Numbers, *, seed: int, epoch: int, k: int | None = None, labels: Numbers | None = None
) -> Tensor:
    """Draw k times from N samples WITH replacement, with probability proportional to the weight.

    What ``torch.utils.data.WeightedRandomSampler`` does, for any N and as a pure function of its arguments.

    Args:
        log_weights: (N,), logarithms of weights, which may themselves be too small or large for a number. ``-inf`` is
            weight 0: such a sample is never drawn.
        seed: non-negative.
        epoch: non-negative; (seed 0, epoch 1) and (seed 1, epoch 0) are unrelated.
        k: number of draws, >= 1; None = N.
        labels: (N,) integers. When given, every prefix of k draws has k times a class's share of the N samples, within
            one: the weights then say which of a class's samples are drawn, and not how often the class is. A class
            whose weights are all 0 is drawn from as if they were equal.

    Returns:
        (k,) int64 on the CPU, with repeats.

    Raises:
        ValueError: all weights are 0, k is below 1, or labels are of another length.
    """
    log_weights = as_tensor("log_weights", log_weights)
    k = len(log_weights) if k is None else k
    if k < 1:
        raise ValueError(f"k must be >= 1, got {k}")
    log_weights = log_weights.cpu().double()
    if log_weights.isneginf().all():
        raise ValueError("all weights are 0: there is nothing to draw from")
    u = torch.rand(k, dtype=torch.float64, generator=generator("draws", seed, epoch), device="cpu")
    if labels is None:
        return _drawn(log_weights, u)
    labels = as_tensor("labels", labels).cpu()
    if labels.shape != log_weights.shape:
        raise ValueError(f"labels must be one for each of the {len(log_weights)} weights, got {tuple(labels.shape)}")
    places = class_balanced(torch.arange(len(labels), device="cpu"), labels)
    class_of_draw = labels[places][torch.arange(k, device="cpu") % len(labels)]
    order = torch.empty(k, dtype=torch.int64, device="cpu")
    for label in class_of_draw.unique():
        members, of_class = (labels == label).nonzero().squeeze(1), class_of_draw == label
        own = log_weights[members]
        order[of_class] = members[_drawn(torch.zeros_like(own) if own.isneginf().all() else own, u[of_class])]
    return order


def _drawn(log_weights: Tensor, u: Tensor) -> Tensor:
    """Which of N samples each of k uniform numbers in [0, 1) draws."""
    share = log_weights.softmax(dim=0).cumsum(dim=0)
    # share / its last entry ends in exactly 1 and u stays below, so the first entry above u exists; there the share
    # rises, so the weight is not 0.
    return torch.searchsorted(share / share[-1], u, right=True)


def _proportional_order(sizes: list[int]) -> list[int]:
    """Interleave classes so that every prefix holds each of them in proportion, within one sample.

    Positions are filled one by one. The j-th sample (from 0) of a class of n among N may come from position
    ceil(j N / n) - 1 on and must come before ceil((j + 1) N / n); of the samples that may come, the one that must come
    first is taken (earliest due date; Steiner and Yeomans 1993 show that this always works out).

    Args:
        sizes: number of samples of every class.

    Returns:
        Indices into the list of all samples sorted by class.
    """
    # Two heaps make it N log C steps: classes whose next sample may not come yet, and those whose next may come now.
    total = sum(sizes)
    starts = [0, *itertools.accumulate(sizes)]
    taken = [0] * len(sizes)
    order: list[int] = []
    waiting = [(0, c) for c in range(len(sizes))]  # heap of (first position, class)
    ready: list[tuple[int, int]] = []  # heap of (due position, class)
    for position in range(total):
        while waiting and waiting[0][0] <= position:
            _, c = heapq.heappop(waiting)
            heapq.heappush(ready, ((taken[c] + 1) * total // sizes[c], c))
        _, c = heapq.heappop(ready)
        order.append(starts[c] + taken[c])
        taken[c] += 1
        if taken[c] < sizes[c]:
            heapq.heappush(waiting, (-(-taken[c] * total // sizes[c]) - 1, c))
    return order
