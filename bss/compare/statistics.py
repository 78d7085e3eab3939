"""Paired comparisons over seeds: pure functions of numbers.

Arms of one seed share initial weights and data, so the difference of two arms is taken seed by seed: what a seed does
to both cancels, and n pairs say more than two times n single runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
"""Coverage of every interval."""


RESAMPLES = 10_000
"""Number of bootstrap resamples."""


LEAST_RESAMPLED = 5
"""Number of values that the bootstrap needs. Of two values, half of the resamples are one of them twice, and the
interval lies between the two, whatever that says of the mean."""


LEAST_PAIRED = 2
"""Number of seeds that two arms must have in common to be compared: one difference has no scatter to judge it by."""


NO_SCATTER = 1e-9
"""A standard deviation below this is rounding: 0.3 - 0.2 and 0.6 - 0.5 are the same difference of two accuracies."""


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation of the sample: divided by n - 1, and None for a single value.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values to average")
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def t_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Confidence interval of the mean by Student's t: mean -+ t(0.975, n - 1) std / sqrt(n).

    It is None where there is nothing to judge by: fewer than two values, or values without any scatter.
    """
    from scipy.stats import t

    mean, std = mean_and_std(values)
    if std is None or std < NO_SCATTER:
        return None
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * std / math.sqrt(len(values))
    return mean - half, mean + half


def t_test(values: Sequence[float]) -> float | None:
    """Two-sided p value of Student's t test that the mean is 0, with n - 1 degrees of freedom.

    On differences it is the paired t test. It is None where :func:`t_interval` is None.
    """
    from scipy.stats import t

    mean, std = mean_and_std(values)
    if std is None or std < NO_SCATTER:
        return None
    return float(2 * t.sf(abs(mean) / (std / math.sqrt(len(values))), len(values) - 1))


def bootstrap_interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float] | None:
    """Confidence interval of the mean by the percentile bootstrap, which assumes no normal distribution.

    It is None where :func:`t_interval` is None, and for fewer than :data:`LEAST_RESAMPLED` values. With few values it
    is too narrow: its width is smaller by sqrt((n - 1) / n), and it never leaves the range of the values.

    Args:
        values: any numbers.
        seed: seed of the resampling, in [0, 2**32).

    Source: Efron, "Bootstrap methods: another look at the jackknife", 1979.
    """
    import numpy as np

    _, std = mean_and_std(values)
    if std is None or std < NO_SCATTER or len(values) < LEAST_RESAMPLED:
        return None
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.asarray(values, dtype=np.float64)[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for their number by Holm's method, which bounds the chance of any false finding among them.

    The k-th smallest of m is multiplied by m - k + 1, made no smaller than the one before it and at most 1. A planned
    comparison that could not be tested counts in m: that its numbers had no scatter was not known beforehand.

    Args:
        p_values: those of all m comparisons, in [0, 1]; None is one that could not be tested, and stays None.

    Source: Holm, "A simple sequentially rejective multiple test procedure", 1979.

    Raises:
        ValueError: a value lies outside of [0, 1].
    """
    for p in p_values:
        if p is not None and not 0 <= p <= 1:
            raise ValueError(f"a p value must lie in [0, 1], got {p}")
    ranked = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    floor = 0.0
    for rank, (p, position) in enumerate(ranked):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p))
        adjusted[position] = floor
    return adjusted


@dataclass(frozen=True)
class Difference:
    """An arm against a control, over the seeds that both have.

    Attributes:
        arm: name of the arm.
        control: name of the arm that it is compared with.
        seeds: the seeds that both have, ascending; there may be none.
        values: arm minus control, seed by seed.
        mean: mean of the values; None without seeds.
        t_interval: confidence interval of the mean, see :func:`t_interval`.
        bootstrap_interval: confidence interval of the mean, see :func:`bootstrap_interval`.
        p: p value of the paired t test, see :func:`t_test`.
        p_holm: the p value adjusted by :func:`holm` over all arms that are :attr:`comparable` with this control.
    """

    arm: str
    control: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    mean: float | None
    t_interval: tuple[float, float] | None
    bootstrap_interval: tuple[float, float] | None
    p: float | None
    p_holm: float | None

    @property
    def comparable(self) -> bool:
        """Whether it counts as one of Holm's comparisons: it has two seeds or more, whatever came out."""
        return len(self.seeds) >= LEAST_PAIRED


def differences(
    values: Mapping[str, Mapping[int, float]], control: str, arms: Sequence[str] | None = None
) -> list[Difference]:
    """Compare every arm with the control, seed by seed.

    Holm's adjustment is over the arms that have two seeds or more in common with the control.

    Args:
        values: arm -> seed -> number.
        control: one of the arms.
        arms: the arms to compare, in this order; None = all but the control.

    Raises:
        ValueError: an arm has no values; the message names it.
    """
    arms = [name for name in values if name != control] if arms is None else list(arms)
    for name in (control, *arms):
        if name not in values:
            raise ValueError(f"there are no values of {name!r}; of these there are: {', '.join(values)}")
    seeds = {arm: tuple(sorted(values[arm].keys() & values[control].keys())) for arm in arms}
    deltas = {arm: tuple(values[arm][seed] - values[control][seed] for seed in seeds[arm]) for arm in arms}
    tests = {arm: t_test(deltas[arm]) for arm in arms if len(deltas[arm]) >= LEAST_PAIRED}
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    return [
        Difference(
            arm,
            control,
            seeds[arm],
            deltas[arm],
            mean_and_std(deltas[arm])[0] if deltas[arm] else None,
            t_interval(deltas[arm]) if deltas[arm] else None,
            bootstrap_interval(deltas[arm]) if deltas[arm] else None,
            tests.get(arm),
            adjusted.get(arm),
        )
        for arm in arms
    ]


def band(curves: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[list[float], list[float], list[float]]:
    """Mean and standard deviation of several curves, where all of them are defined.

    Args:
        curves: x, ascending, and y of every curve; between its points a curve is a straight line.

    Returns:
        ``(x, mean, std)``. x are the points of all curves in the range that they share; std is 0 for a single curve.
        All three are empty where the curves share no range.

    Raises:
        ValueError: there are no curves, or one of them is empty.
    """
    import numpy as np

    if not curves or not all(len(x) for x, _ in curves):
        raise ValueError("a band needs curves with at least one point each")
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    grid = sorted({point for x, _ in curves for point in x if low <= point <= high})
    if not grid:
        return [], [], []
    table = np.array([np.interp(grid, x, y) for x, y in curves])
    std = table.std(axis=0, ddof=1) if len(curves) > 1 else np.zeros(len(grid))
    return grid, table.mean(axis=0).tolist(), std.tolist()
