"""How far a difference of two arms is sure over seeds AND test samples: a pure function of hits.

The intervals of :mod:`bss.compare.statistics` are over seeds, on the one test set that all runs met. Another test set
of the same kind would have given another difference. Here seeds and test samples are both taken for a draw.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bss.compare.statistics import CONFIDENCE, NO_SCATTER

if TYPE_CHECKING:
    import numpy as np


def seeds_and_clips_interval(
    differences_NM: "np.ndarray", groups_M: Sequence[int] | None = None, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Confidence interval of the mean over seeds x test samples, where both are a sample of many.

    The variance of the mean is that of clusters in two ways: V = V_seed + max(0, V_clip - V_both), with

    - V_seed  = sum_i (y_i - y)^2 / (N (N - 1)), y_i the mean of seed i and y that of all: what the interval over seeds
      alone rests on;
    - V_clip  = G / (G - 1) sum_g (sum_{j in g} (z_j - y))^2 / M^2, z_j the mean of test sample j over the seeds, for G
      groups g of test samples that stand or fall together, or each sample a group of its own;
    - V_both  = the same of what is left of each seed, r_ij = d_ij - y_i - z_j + y, which is in both of the others:
      N / (N - 1) G / (G - 1) sum_i sum_g (sum_{j in g} r_ij)^2 / (N M)^2.

    With every sample a group of its own this is the variance of the mean under two-way random effects. The interval is
    y -+ t sqrt(V), by Student's t with Satterthwaite's degrees of freedom,
    V^2 / (V_seed^2 / (N - 1) + V_clip^2 / (G - 1) + V_both^2 / ((N - 1) (G - 1))), but no fewer than min(N, G) - 1;
    with N - 1 where the clips add nothing. It is never narrower than the interval over seeds alone: with three seeds
    or so both variances are guesses, and a small one of the clips would lend its many degrees to that of the seeds.

    Sources: Cameron, Gelbach and Miller, "Robust inference with multiway clustering", 2011 (the sum of variances);
    Owen, "The pigeonhole bootstrap", 2007 (means of crossed random effects); Miller, "Adding error bars to evals", 2024
    (test samples in clusters); Satterthwaite, "An approximate distribution of estimates of variance components", 1946.

    Args:
        differences_NM: arm minus control of N seeds and M test samples, in any unit.
        groups_M: number of every test sample's group; None = each is one of its own.
        confidence: coverage of the interval, in (0, 1).

    Returns:
        Both ends; None where there is nothing to judge by: fewer than two seeds, fewer than two groups, or no scatter.

    Raises:
        ValueError: there is not one group for each test sample.
    """
    import numpy as np
    from scipy.stats import t

    count, size = differences_NM.shape
    groups = np.arange(size) if groups_M is None else np.unique(groups_M, return_inverse=True)[1]
    if len(groups) != size:
        raise ValueError(f"{len(groups)} groups for {size} test samples: one is needed for each")
    among = int(groups.max()) + 1 if size else 0
    if count < 2 or among < 2:
        return None
    mean = differences_NM.mean()
    by_seed_N = differences_NM.mean(axis=1)
    by_clip_M = differences_NM.mean(axis=0)
    rest_NM = differences_NM - by_seed_N[:, None] - by_clip_M + mean
    few = among / (among - 1)
    seed = float(((by_seed_N - mean) ** 2).sum()) / (count * (count - 1))
    clip = few * float((np.bincount(groups, by_clip_M - mean) ** 2).sum()) / size**2
    sums = (float((np.bincount(groups, rest_M) ** 2).sum()) for rest_M in rest_NM)
    both = few * count / (count - 1) * math.fsum(sums) / (count * size) ** 2
    quantile = (1 + confidence) / 2
    half = float(t.ppf(quantile, count - 1)) * math.sqrt(seed)
    if clip > both:
        variance = seed + clip - both
        parts = seed**2 / (count - 1) + clip**2 / (among - 1) + both**2 / ((count - 1) * (among - 1))
        degrees = max(variance**2 / parts, min(count, among) - 1)
        half = max(half, float(t.ppf(quantile, degrees)) * math.sqrt(variance))
    return None if half < NO_SCATTER else (float(mean) - half, float(mean) + half)
