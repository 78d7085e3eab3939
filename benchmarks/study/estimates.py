"""Estimates of paired differences, and how the pages write them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Estimate:
    """A mean of paired differences in points.

    Attributes:
        n: number of pairs.
        mean: their mean.
        error: its standard error.
    """

    n: int
    mean: float
    error: float

    def interval(self, level: float) -> tuple[float, float]:
        """Student's t interval with this coverage, in (0, 1)."""
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, self.n - 1)) * self.error
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided p value of the paired t test."""
        from scipy.stats import t

        return float(2 * t.sf(abs(self.mean) / self.error, self.n - 1))

    def within(self, margin: float) -> bool:
        """Whether the 90 % interval lies inside of the margin: two one-sided tests at 5 %."""
        low, high = self.interval(0.90)
        return -margin < low and high < margin


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error of two values or more."""
    mean = fsum(values) / len(values)
    variance = fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Estimate(len(values), mean, sqrt(variance / len(values)))


def heterogeneity(found: Sequence[Estimate]) -> float:
    """Whether several sets' differences differ by more than chance: the p value of Cochran's Q.

    Q = sum over sets of ((mean - weighted mean) / error) ** 2, weights 1 / error ** 2, against chi-square with one
    degree of freedom less than there are sets (Cochran, Biometrics 10, 1954).

    Args:
        found: an estimate for each set, two or more, with errors above 0.
    """
    from scipy.stats import chi2

    weights = [each.error**-2 for each in found]
    center = fsum(weight * each.mean for weight, each in zip(weights, found, strict=True)) / fsum(weights)
    q = fsum(weight * (each.mean - center) ** 2 for weight, each in zip(weights, found, strict=True))
    return float(chi2.sf(q, len(found) - 1))


def welch(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Difference of two means, and the two-sided p value of Welch's t test."""
    from scipy.stats import ttest_ind

    return fsum(one) / len(one) - fsum(other) / len(other), float(ttest_ind(one, other, equal_var=False).pvalue)


def signed(value: float, decimals: int = 1) -> str:
    """A difference with its sign; what rounds to 0 has none."""
    text = f"{value:+.{decimals}f}"
    return (text[1:] if float(text) == 0 else text).replace("-", MINUS)


def bracket(ends: tuple[float, float]) -> str:
    """An interval, with two decimals where an end lies within 0.1 of 0: "0.0" would not say on which side."""
    decimals = 2 if min(map(abs, ends)) < 0.1 else 1
    return f"[{', '.join(signed(end, decimals) for end in ends)}]"


def difference(found: Estimate) -> str:
    """Mean and 95 % interval in points, as the pages write them."""
    return f"{signed(found.mean, 2)} {bracket(found.interval(0.95))}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def spread(values: Iterable[float]) -> str:
    """Mean ± standard deviation of fractions, in %."""
    found = estimate([100 * value for value in values])
    return f"{found.mean:.1f} ± {found.error * sqrt(found.n):.1f}"
