"""Pacing: the fraction of the training set that an epoch sees, as pure functions of the epoch.

All take the 0-based ``epoch``, the ``start`` fraction b in (0, 1] and ``grow_epochs`` T >= 0; with t = epoch + 1 (the
released code counts epochs from 1) and x = t / T they return a fraction in (0, 1] that never falls and is exactly 1.0
from t >= T on. (The bare root formula misses 1 by one rounding for many (T, b), which costs a sample.)

Sources: root and its relatives: Platanios et al. 2019; geometric: Wang, Chen, Zhu 2021 (survey); logarithmic,
exponential, step: Wu, Dyer, Neyshabur 2021.
"""

import math
import numbers
from collections.abc import Callable

Pacing = Callable[[int], float]
"""A function from the 0-based epoch to a fraction in (0, 1]."""


def root_pacing(epoch: int, *, start: float = 0.1, grow_epochs: int = 40, power: float = 2) -> float:
    """``((1 - b^p) x + b^p)^(1/p)``: BSS's own pacing with p = 2; new samples come in ever more slowly.

    b = 0.1, T = 40 give 0.1864 at epoch 0, 0.5074 at epoch 9 and 1.0 from epoch 39 on.
    Source: released KS/train-CL.py:217-218 (p = 2).
    """
    if not power > 0:
        raise ValueError(f"power must be > 0, got {power}")
    x = _progress(epoch, start, grow_epochs)
    return _bounded(((1 - start**power) * x + start**power) ** (1 / power), start)


def linear_pacing(epoch: int, *, start: float = 0.1, grow_epochs: int = 40) -> float:
    """``b + (1 - b) x``: the same number of new samples every epoch."""
    return root_pacing(epoch, start=start, grow_epochs=grow_epochs, power=1)


def geometric_pacing(epoch: int, *, start: float = 0.1, grow_epochs: int = 40) -> float:
    """``b^(1 - x)``: grows by the same factor every epoch."""
    x = _progress(epoch, start, grow_epochs)
    return _bounded(start ** (1 - x), start)


def logarithmic_pacing(epoch: int, *, start: float = 0.1, grow_epochs: int = 40) -> float:
    """``b + (1 - b) (1 + 0.1 ln(x + e^-10))``: nearly the whole set within a few epochs."""
    x = _progress(epoch, start, grow_epochs)
    return _bounded(start + (1 - start) * (1 + 0.1 * math.log(x + math.exp(-10))), start)


def exponential_pacing(epoch: int, *, start: float = 0.1, grow_epochs: int = 40) -> float:
    """``b + (1 - b) (e^10x - 1) / (e^10 - 1)``: stays near b, and grows at the very end."""
    x = _progress(epoch, start, grow_epochs)
    # Product, then quotient: at x = 1 these may lack the last bit.
    return 1.0 if x >= 1 else _bounded(start + (1 - start) * math.expm1(10 * x) / math.expm1(10), start)


def step_pacing(epoch: int, *, start: float = 0.1, grow_epochs: int = 40) -> float:
    """Only b until t reaches T, then everything."""
    return 1.0 if _progress(epoch, start, grow_epochs) >= 1 else start


PACINGS = (
    root_pacing,
    linear_pacing,
    geometric_pacing,
    logarithmic_pacing,
    exponential_pacing,
    step_pacing,
)
"""All of them; the contract tests run over this tuple, and a recipe names one by what stands before ``_pacing``."""


def _progress(epoch: int, start: float, grow_epochs: int) -> float:
    """Checks the arguments once for all; x = t / T, or 1.0 where growth is over (before any formula can overflow)."""
    if epoch < 0:
        raise ValueError(f"epoch must be >= 0, got {epoch}")
    if not isinstance(start, numbers.Real) or not 0 < start <= 1:
        raise ValueError(f"start must be a number in (0, 1], got {start!r}")
    if not 0 <= grow_epochs < math.inf:
        raise ValueError(f"grow_epochs must be >= 0, got {grow_epochs}")
    t = epoch + 1
    return 1.0 if t >= grow_epochs else t / grow_epochs


def _bounded(fraction: float, start: float) -> float:
    return min(1.0, max(start, fraction))
