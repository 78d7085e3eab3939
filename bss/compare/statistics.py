"""Paired comparisons over seeds: pure functions of numbers.

Arms of one seed share initial weights and data, so the difference of two arms is taken seed by seed: what a seed does
to both cancels, and n pairs say more than two times n single runs.

Where a data set is dealt into folds, a fold's mean over its seeds is one value. The folds are no independent draws: any
two train on samples in common. Nadeau and Bengio guess the correlation of their results by the share of the samples
that is tested, rho = n_test / (n_train + n_test). The mean of n values whose sample variance is s^2 has then the
variance s^2 (1 / n + rho / (1 - rho)) = s^2 (1 / n + n_test / n_train); ``overlap`` is that second term, 0 for seeds.

Sources: Nadeau and Bengio, "Inference for the generalization error", 2003; Bouckaert and Frank, "Evaluating the
replicability of significance tests for comparing learning algorithms", 2004, for the use on folds.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from bss.compare.pairs import Pair, by_fold, fold_of, units

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95
"""Coverage of an interval, where no other is asked for."""


EQUIVALENCE_LEVEL = 0.05
"""Level of each of the two one-sided tests of equivalence: an interval of 90 % lies inside the margin."""


POWER = 0.8
"""Probability with which a true difference is to be found, where seeds are counted."""


LEAST_PAIRED = 2
"""Number of seeds that two arms must have in common to be compared: one difference has no scatter to judge it by."""


MOST_FLIPPED = 20
"""Most values whose signs :func:`sign_flip_test` flips in all ways."""


HALVINGS = 45
"""How often :func:`detectable` halves its bounds: to the thirteenth digit. ``scipy.optimize``, which needs fewer steps,
takes longer to import than they do."""


MOST_SEEDS = 100_000
"""Where :func:`seeds_to_decide` stops to count: nobody trains more."""


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


def t_quantile(share: float, freedom: int) -> float:
    """Quantile of Student's t; ``scipy.stats.t.ppf``, whose module takes most of a second to import."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, share))


def t_beyond(value: float, freedom: int) -> float:
    """Probability that Student's t is above a value; ``scipy.stats.t.sf``."""
    from scipy.special import stdtr

    return float(stdtr(freedom, -value))


def effective(n: int, overlap: float) -> float:
    """How many independent values have a mean as uncertain as that of n which overlap: n / (1 + n overlap).

    Of five folds, which test a fifth each and train on the rest, these are 2.2.
    """
    return n / (1 + n * overlap)


def t_interval(
    values: Sequence[float], confidence: float = CONFIDENCE, overlap: float = 0.0
) -> tuple[float, float] | None:
    """Confidence interval of the mean by Student's t: mean -+ t((1 + confidence) / 2, n - 1) std / sqrt(n).

    It is None where there is nothing to judge by: fewer than two values, or values without any scatter.

    Args:
        values: any numbers.
        confidence: coverage of the interval, in (0, 1).
        overlap: of the training sets that the values come from, n_test / n_train, see above: n becomes
            :func:`effective` under the root. 0 = the values are independent.
    """
    mean, std = mean_and_std(values)
    if std is None or std < NO_SCATTER:
        return None
    half = t_quantile((1 + confidence) / 2, len(values) - 1) * std / math.sqrt(effective(len(values), overlap))
    return mean - half, mean + half


def t_test(values: Sequence[float], overlap: float = 0.0) -> float | None:
    """Two-sided p value of Student's t test that the mean is 0, with n - 1 degrees of freedom.

    On differences it is the paired t test. It is None where :func:`t_interval` is None, which also says what
    ``overlap`` is.
    """
    mean, std = mean_and_std(values)
    if std is None or std < NO_SCATTER:
        return None
    return 2 * t_beyond(abs(mean) / (std / math.sqrt(effective(len(values), overlap))), len(values) - 1)


def sign_flip_test(values: Sequence[float]) -> float | None:
    """Exact two-sided p value that differences are spread alike to both sides of 0, which needs no normal distribution.

    If the two arms were the same, each difference might as well have had the other sign. The p value is the share of
    all 2^n choices of signs whose sum is as far from 0 as the sum that was found; sums that differ by rounding alone
    count as equal. It answers numbers without any scatter too, and is never below :func:`least_p`.

    It is None without values, and for more than :data:`MOST_FLIPPED` of them, unless they have no scatter: then only
    two choices of signs are as far out, whatever n is.

    Source: Fisher, "The Design of Experiments", 1935, section 21.
    """
    import numpy as np

    if not values:
        return None
    if len(values) > MOST_FLIPPED:
        mean, std = mean_and_std(values)
        if std is None or std >= NO_SCATTER:
            return None
        return 1.0 if abs(mean) < NO_SCATTER else least_p(len(values))
    bound = abs(math.fsum(values)) - NO_SCATTER * (1 + math.fsum(map(abs, values)))
    if bound <= 0:
        return 1.0
    # The first keeps its sign: with all signs turned, a sum is as far out. A sum of all is one of the first half's sums
    # and one of the second half's, of which those that are far enough out stand side by side.
    half = len(values) // 2
    first, second = values[0] + _signed_sums(values[1:half]), np.sort(_signed_sums(values[max(half, 1) :]))
    above = len(second) - np.searchsorted(second, bound - first, side="left")
    below = np.searchsorted(second, -bound - first, side="right")
    return float(np.sum(above + below) / (len(first) * len(second)))


def _signed_sums(values: Sequence[float]) -> "np.ndarray":
    """The sums of some numbers with all choices of their signs; 0 of none."""
    import numpy as np

    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums


def least_p(n: int) -> float:
    """The smallest p value that :func:`sign_flip_test` can give for n values, 2 / 2^n: 0.25 for 3, 0.008 for 8."""
    return min(1.0, 2.0 ** (1 - n))


def equivalent_within(values: Sequence[float], margin: float, overlap: float = 0.0) -> float | None:
    """P value of the two one-sided t tests that the mean lies inside of -+margin; the larger of both.

    It is at most 0.05 exactly where the interval of 90 % (:func:`t_interval`) lies inside of the margin. Without any
    scatter, the one-sided test by signs answers: 1 / 2^n for a mean inside of the margin, which takes five values, and
    else 1. It is None for fewer than two values.

    Args:
        values: differences.
        margin: a mean that is nearer to 0 does not matter; above 0, in the unit of the values.
        overlap: see :func:`t_interval`.

    Source: Schuirmann, "A comparison of the two one-sided tests procedure and the power approach", 1987.

    Raises:
        ValueError: the margin is not above 0.
    """
    if not margin > 0:
        raise ValueError(f"the margin of equivalence must be above 0, got {margin}")
    mean, std = mean_and_std(values)
    if std is None:
        return None
    room = margin - abs(mean)
    if std < NO_SCATTER:
        return least_p(len(values)) / 2 if room > 0 else 1.0
    return t_beyond(room / (std / math.sqrt(effective(len(values), overlap))), len(values) - 1)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p value of McNemar's test: whether two classifiers are right equally often on the same samples.

    Samples that both get right, or both wrong, say nothing. Of the others each would be the one's or the other's with
    probability 1/2 if they were equally good: p is the probability of a split that is as uneven as the one found, or
    more so. Where there is none, it is 1. It takes the samples for independent: groups of clips are not.

    Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", 1947;
    its exact form, by the binomial distribution, is the sign test.

    Args:
        only_first: samples that the first alone has right.
        only_second: samples that the second alone has right.

    Raises:
        ValueError: a number below 0.
    """
    from scipy.stats import binomtest

    if min(only_first, only_second) < 0:
        raise ValueError(f"numbers of samples must be at least 0, got {only_first} and {only_second}")
    if only_first == only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second, 0.5).pvalue)


# ---- what so many seeds can see ------------------------------------------------------------------------------------


def power_to_differ(shift: float, n: int, level: float) -> float:
    """Probability that the two-sided t test of n normal values rejects a mean of 0.

    Given the sample's deviation, the probability is the normal distribution's; it is averaged over that deviation's
    own distribution. scipy's noncentral t says NaN for much of this (1.17.1: 9 degrees, level 0.001, shift 10).

    Args:
        shift: true mean, in standard errors: mean sqrt(n) / std.
        n: number of values, at least 2.
        level: of the test, in (0, 1).
    """
    from scipy.special import ndtr

    bound = t_quantile(1 - level / 2, n - 1) * _relative_deviations(n)
    return float((ndtr(shift - bound) + ndtr(-shift - bound)).mean())


def power_of_equivalence(shift: float, n: int) -> float:
    """Probability that n normal values with a mean of 0 are found equivalent, see :func:`equivalent_within`.

    Args:
        shift: the margin, in standard errors: margin sqrt(n) / std.
        n: number of values, at least 2.
    """
    from scipy.special import ndtr

    bound = t_quantile(1 - EQUIVALENCE_LEVEL, n - 1) * _relative_deviations(n)
    return float((2 * ndtr(shift - bound) - 1).clip(0).mean())


@lru_cache(maxsize=256)
def _relative_deviations(n: int) -> "np.ndarray":
    """What the deviation of n normal values is, as a share of the true one: 1,000 equally likely ones, ascending."""
    import numpy as np
    from scipy.special import gammaincinv

    freedom = n - 1
    chi2 = 2 * gammaincinv(freedom / 2, (np.arange(1000) + 0.5) / 1000)  # its quantiles
    return np.sqrt(chi2 / freedom)


def detectable(std: float, n: int, level: float, power: float = POWER, overlap: float = 0.0) -> float:
    """The difference that the paired t test of n seeds, or of n folds, finds with this probability.

    Args:
        std: standard deviation of the differences, above 0.
        n: number of seeds or folds, at least 2.
        level: of the two-sided test, in (0, 1).
        power: in (level, 1).
        overlap: of the folds, see :func:`t_interval`.

    Returns:
        A mean, in the unit of ``std``.
    """
    low, high = 0.0, 1.0
    while power_to_differ(high, n, level) < power:
        low, high = high, 2 * high
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if power_to_differ(middle, n, level) < power else (low, middle)
    return high * std / math.sqrt(effective(n, overlap))


def seeds_to_decide(std: float, n: int, level: float, margin: float, power: float = POWER) -> int | None:
    """How many seeds more than these n would decide, if the differences go on to scatter as they did.

    So many are needed in all that both questions are answered with this probability: a true difference of the margin
    is found by the t test at the level (:func:`power_to_differ` with margin sqrt(N) / std), and arms without any
    difference are found equivalent within the margin (:func:`power_of_equivalence`). Without scatter N is the number
    at which :func:`least_p` reaches the level and its half that of equivalence.

    Args:
        std: standard deviation of the differences.
        n: number of seeds so far.
        level: of the two-sided test, in (0, 1).
        margin: above 0, in the unit of ``std``.
        power: in (0, 1).

    Returns:
        N - n, at least 0; None where N is beyond :data:`MOST_SEEDS`.
    """

    def decided(count: int) -> bool:
        if std < NO_SCATTER:
            return least_p(count) <= min(level, 2 * EQUIVALENCE_LEVEL)
        shift = margin * math.sqrt(count) / std
        return power_to_differ(shift, count, level) >= power and power_of_equivalence(shift, count) >= power

    found = _first(decided, max(n, LEAST_PAIRED))
    return None if found is None else found - n


def seeds_of_folds_to_decide(
    parts: "Components", folds: int, seeds: int, level: float, margin: float, *, overlap: float, power: float = POWER
) -> int | None:
    """How many seeds more in every fold would decide; see :func:`seeds_to_decide` for what is decided.

    More seeds make the mean of a fold surer, and do not make the folds more alike: its variance is
    ``parts.fold + parts.seed / seeds``.

    Args:
        parts: of the variance of the differences.
        folds: how many there are, at least 2.
        seeds: in every fold so far.
        level: of the two-sided test, in (0, 1).
        margin: above 0, in the unit of the differences.
        overlap: see :func:`t_interval`.
        power: in (0, 1).

    Returns:
        At least 0; None where no number of seeds decides, since the folds differ by too much.
    """

    def decided(count: int) -> bool:
        std = math.sqrt(parts.fold + parts.seed / count)
        if std < NO_SCATTER:
            return least_p(folds) <= min(level, 2 * EQUIVALENCE_LEVEL)
        shift = margin * math.sqrt(effective(folds, overlap)) / std
        return power_to_differ(shift, folds, level) >= power and power_of_equivalence(shift, folds) >= power

    found = _first(decided, max(seeds, 1))
    return None if found is None else found - seeds


def _first(holds: Callable[[int], bool], least: int) -> int | None:
    """The first whole number from ``least`` on of which something holds that goes on to hold."""
    low, high = least - 1, least
    while not holds(high):
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


# ---- families of comparisons ---------------------------------------------------------------------------------------


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
class Components:
    """Which parts of the variance of paired differences are the folds' and the seeds'.

    Attributes:
        fold: variance of the folds' true means: another part is tested, and the others train.
        seed: variance of a single difference within its fold: other initial weights and orders.
    """

    fold: float
    seed: float

    @property
    def share(self) -> float | None:
        """The fold's share of the variance of a single difference, in [0, 1]; None without any variance."""
        whole = self.fold + self.seed
        return self.fold / whole if whole >= NO_SCATTER**2 else None


def components(groups: Sequence[Sequence[float]]) -> Components | None:
    """Split the variance of numbers in groups into that between groups and that within, by one-way random effects.

    With K groups of n_k numbers, N in all: MSW = sum of (x - mean of its group)^2 / (N - K) estimates the variance
    within; MSB = sum of n_k (mean of group k - mean of all)^2 / (K - 1) that plus n_0 times the variance between, with
    n_0 = (N - sum of n_k^2 / N) / (K - 1), which is n where all groups have n numbers. A negative estimate is 0.

    Args:
        groups: the numbers of each; none is empty.

    Returns:
        None where it cannot be told: fewer than two groups, or no group with two numbers.

    Source: Searle, Casella and McCulloch, "Variance Components", 1992, chapter 3.
    """
    count, whole = len(groups), sum(map(len, groups))
    if count < 2 or whole == count:
        return None
    means = [math.fsum(group) / len(group) for group in groups]
    mean = math.fsum(math.fsum(group) for group in groups) / whole
    pairs = list(zip(groups, means, strict=True))
    within = math.fsum((value - own) ** 2 for group, own in pairs for value in group) / (whole - count)
    between = math.fsum(len(group) * (own - mean) ** 2 for group, own in pairs) / (count - 1)
    size = (whole - sum(len(group) ** 2 for group in groups) / whole) / (count - 1)
    return Components(max(0.0, (between - within) / size), within)


@dataclass(frozen=True)
class Difference:
    """An arm against a control, over the seeds that both have.

    Attributes:
        arm: name of the arm.
        control: name of the arm that it is compared with.
        seeds: the seeds that both have, or the seeds of folds, ascending; there may be none.
        values: arm minus control, seed by seed.
        overlap: of the folds' training sets, see :func:`t_interval`; 0 without folds.
    """

    arm: str
    control: str
    seeds: tuple[Pair, ...]
    values: tuple[float, ...]
    overlap: float = 0.0

    @cached_property
    def units(self) -> tuple[float, ...]:
        """What a statement is over: the values or, with folds, the mean of each fold."""
        return units(self._by_pair)

    @property
    def _by_pair(self) -> dict[Pair, float]:
        return dict(zip(self.seeds, self.values, strict=True))

    @property
    def has_folds(self) -> bool:
        """Whether the seeds are of folds."""
        return any(fold_of(pair) is not None for pair in self.seeds)

    @cached_property
    def components(self) -> Components | None:
        """Which part of the variance is the folds'; None where it cannot be told, and without folds."""
        return components(by_fold(self._by_pair))

    @cached_property
    def mean(self) -> float | None:
        """Mean of the units; None without seeds."""
        return mean_and_std(self.units)[0] if self.values else None

    @cached_property
    def std(self) -> float | None:
        """Standard deviation of the units; None for fewer than two."""
        return mean_and_std(self.units)[1] if self.values else None

    @property
    def scatters(self) -> bool:
        """Whether there is scatter to judge the mean by."""
        return self.std is not None and self.std >= NO_SCATTER

    @property
    def comparable(self) -> bool:
        """Whether it can be tested: it has two seeds, or two folds, or more."""
        return len(self.units) >= LEAST_PAIRED

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
        """Confidence interval of the mean, see :func:`t_interval`; None without seeds."""
        return t_interval(self.units, confidence, self.overlap) if self.values else None

    @cached_property
    def p(self) -> float | None:
        """P value of the paired t test and, where there is no scatter, of the exact test by signs."""
        if not self.comparable:
            return None
        return t_test(self.units, self.overlap) if self.scatters else sign_flip_test(self.units)

    @cached_property
    def p_signs(self) -> float | None:
        """P value of the exact test by signs, see :func:`sign_flip_test`; None with folds, which go together."""
        return sign_flip_test(self.values) if self.comparable and not self.has_folds else None

    def p_equivalent(self, margin: float) -> float | None:
        """P value of equivalence within a margin, see :func:`equivalent_within`; None where it cannot be tested."""
        return equivalent_within(self.units, margin, self.overlap) if self.comparable else None


def paired(
    values: Mapping[str, Mapping[Pair, float]] | Mapping[str, Mapping[int, float]],
    arm: str,
    control: str,
    overlap: float = 0.0,
) -> Difference:
    """Take the difference of two arms, seed by seed.

    Args:
        values: arm -> seed, or seed of a fold -> number; an arm that is not there has no seeds.
        arm: name of the arm.
        control: name of the arm that it is compared with.
        overlap: of the folds' training sets, see :func:`t_interval`.
    """
    one: Mapping[Any, float] = values.get(arm, {})
    other: Mapping[Any, float] = values.get(control, {})
    seeds = tuple(sorted(one.keys() & other.keys()))
    return _known(Difference(arm, control, seeds, tuple(one[seed] - other[seed] for seed in seeds), overlap))


@lru_cache(maxsize=4096)
def _known(difference: Difference) -> Difference:
    """The first of equal differences, whose tests may have been made already: several tables show the same ones."""
    return difference


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
