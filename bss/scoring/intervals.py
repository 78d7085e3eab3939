"""How far a number is sure over the samples that it was measured on: intervals of one measured set of weights.

Another test set of the same kind would have given another number. Where samples come in groups (clips of a speaker, of
a video) they stand or fall together, and whole groups are drawn.
"""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from bss.utils.seeding import mixed_seed

CONFIDENCE = 0.95
"""Coverage of an interval, where no other is asked for."""


RESAMPLES = 1000
"""Test sets that a bootstrap draws: the ends of its interval are then sure to a tenth of their distance, or so."""


def wilson_interval(hits: float, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval of a share, hits / count: inside of [0, 1], and with a width also at 0 and at 1.

    With p = hits / count and z the normal quantile of (1 + confidence) / 2:
    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Args:
        hits: in [0, count].
        count: n, at least 1.
        confidence: coverage, in (0, 1).

    Raises:
        ValueError: hits outside of [0, count], or nothing counted.
    """
    if count < 1 or not 0 <= hits <= count:
        raise ValueError(f"{hits} hits of {count} samples are no share")
    share, z = hits / count, NormalDist().inv_cdf((1 + confidence) / 2)
    centre = share + z**2 / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    low, high = ((centre + sign * half) / (1 + z**2 / count) for sign in (-1, 1))
    # What is exact in numbers is not so in floats: 0 of 20 would begin at 1e-17.
    return (0.0 if hits == 0 else low), (1.0 if hits == count else high)


def bootstrap_weights(
    count: int, groups_N: np.ndarray | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Iterator[np.ndarray]:
    """How often each sample is in each of the drawn test sets, one after another: (N,) whole numbers as floats.

    As many groups are drawn as there are, with replacement, and each brings all of its samples. It is a function of
    the groups and the seed.

    Source: Efron, "Bootstrap methods", 1979; of clusters Davison and Hinkley, "Bootstrap methods and their
    application", 1997, section 3.8.

    Args:
        count: N samples.
        groups_N: number of every sample's group; None = each is one of its own.
        resamples: how many sets.
        seed: in [0, 2**32).

    Raises:
        ValueError: there is not one group for each sample.
    """
    places_N = np.arange(count) if groups_N is None else np.unique(groups_N, return_inverse=True)[1]
    if len(places_N) != count:
        raise ValueError(f"{len(places_N)} groups for {count} samples: one is needed for each")
    size = int(places_N.max()) + 1 if count else 0
    random = np.random.default_rng(mixed_seed("bootstrap", seed))
    for _ in range(resamples):
        yield np.bincount(random.integers(0, size, size), minlength=size).astype(np.float64)[places_N]


def bootstrap_interval(
    value: float, drawn: np.ndarray, *, most: float = math.inf, confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """The interval of a number by what drawn sets gave: their quantiles, moved so that their mean lies on the number.

    A drawn set has samples several times, which makes some numbers larger on average, a calibration error above all:
    the quantiles as they are may not even hold the number. What they say is how it scatters.

    Args:
        value: of the samples as they are, in [0, most].
        drawn: of each drawn set; those that are not finite have none, and are left out.
        most: the largest possible value.
        confidence: coverage, in (0, 1).

    Returns:
        Both ends, inside of [0, most]; None where no drawn set has a value.
    """
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return None
    ends = np.quantile(known, ((1 - confidence) / 2, (1 + confidence) / 2)) - known.mean() + value
    low, high = ends.clip(0, most).tolist()
    return low, high
