"""Pacing: hand values first, then what every pacing must satisfy."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.pacing import (
    PACINGS,
    exponential_pacing,
    geometric_pacing,
    linear_pacing,
    logarithmic_pacing,
    root_pacing,
    step_pacing,
)

every_pacing = pytest.mark.parametrize("pacing", PACINGS, ids=lambda pacing: pacing.__name__)
STARTS = (1e-6, 0.05, 0.1, 0.25368134318407987, 0.3, 0.5, 0.999, 1.0)  # the fourth: 1 - 2**-53 without its guard


# ---- numbers by hand ----


@pytest.mark.parametrize(("epoch", "fraction"), [(0, 0.1864), (1, 0.2439), (9, 0.5074), (19, 0.7106), (38, 0.9875)])
def test_root_pacing_has_the_published_values(epoch, fraction):
    # Epoch 0, t = 1: the root of 0.99 / 40 + 0.01 = 0.03475 is 0.18641.
    assert root_pacing(epoch) == pytest.approx(fraction, abs=5e-5)


def test_root_pacing_is_exactly_one_from_epoch_39_on():
    assert [root_pacing(epoch) for epoch in (39, 40, 1000)] == [1.0, 1.0, 1.0]
    assert root_pacing(38) < 1.0


def test_power_is_the_exponent_of_root_pacing():
    # b = 1/2, T = 7, p = 3, t = 1: 1/8 + 7/8 * 1/7 = 1/4, whose cube root is 0.629961.
    assert root_pacing(0, start=0.5, grow_epochs=7, power=3) == pytest.approx(0.629961, abs=1e-6)


def test_power_one_is_linear():
    # b = 0.2, T = 4, t = 1, 2, 3: every epoch adds 0.8 / 4 = 0.2.
    steps = [root_pacing(epoch, start=0.2, grow_epochs=4, power=1) for epoch in range(4)]
    assert steps == pytest.approx([0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(
    ("pacing", "fraction"),
    [
        # All at b = 0.25, T = 2, epoch 0, hence x = 1/2.
        (root_pacing, 0.728869),  # (15/16 * 1/2 + 1/16) ** (1/2) = 0.53125 ** (1/2)
        (linear_pacing, 0.625),  # 1/4 + 3/4 * 1/2
        (geometric_pacing, 0.5),  # (1/4) ** (1/2)
        (logarithmic_pacing, 0.948021),  # 1/4 + 3/4 * (1 + 0.1 * ln(0.5000454)), with ln = -0.693056
        # (e^5 - 1) / (e^10 - 1) = 1 / (e^5 + 1), and e^5 = 148.41316: 1/4 + 3/4 / 149.41316.
        (exponential_pacing, 0.255020),
        (step_pacing, 0.25),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_formula_at_one_point(pacing, fraction):
    assert pacing(0, start=0.25, grow_epochs=2) == pytest.approx(fraction, abs=1e-6)


@every_pacing
@pytest.mark.parametrize("epoch", [0, 9, 38])
def test_they_start_with_a_tenth_and_grow_for_forty_epochs_unless_told_otherwise(pacing, epoch):
    assert pacing(epoch) == pacing(epoch, start=0.1, grow_epochs=40) < pacing(39) == 1.0


# ---- what every pacing must satisfy ----


@every_pacing
@pytest.mark.parametrize("start", STARTS)
def test_a_pacing_never_falls_and_stays_between_start_and_one(pacing, start):
    for grow_epochs in range(61):
        fractions = [pacing(epoch, start=start, grow_epochs=grow_epochs) for epoch in range(grow_epochs + 3)]
        assert all(start <= fraction <= 1.0 for fraction in fractions)
        assert all(a <= b for a, b in itertools.pairwise(fractions))


@every_pacing
@pytest.mark.parametrize("start", STARTS)
def test_a_pacing_is_exactly_one_when_growth_is_over(pacing, start):
    # The bare formula is not: sqrt((1 - b^2) / T * t + b^2) at b = 0.3, t = T = 5 is 0.9999999999999999.
    for grow_epochs in range(61):
        end = max(grow_epochs - 1, 0)
        assert [pacing(epoch, start=start, grow_epochs=grow_epochs) for epoch in (end, end + 1, end + 50)] == [1.0] * 3


@every_pacing
@pytest.mark.parametrize("start", [0.05, 0.3, 0.9])
def test_a_pacing_leaves_something_to_grow_into_before_the_end(pacing, start):
    assert pacing(0, start=start, grow_epochs=60) < 1.0


@every_pacing
def test_without_growth_epochs_the_first_epoch_is_full(pacing):
    assert pacing(0, start=0.1, grow_epochs=0) == 1.0


@every_pacing
def test_a_start_of_one_is_always_full(pacing):
    assert [pacing(epoch, start=1.0, grow_epochs=7) for epoch in range(9)] == [1.0] * 9


@every_pacing
def test_a_pacing_does_not_overflow_long_after_growth(pacing):
    assert pacing(40_000, start=0.1, grow_epochs=40) == 1.0


@every_pacing
def test_a_pacing_returns_a_python_float(pacing):
    assert [type(pacing(epoch, start=0.5, grow_epochs=3)) for epoch in range(4)] == [float] * 4


@every_pacing
@pytest.mark.parametrize(
    ("epoch", "options", "named"),
    [
        (-1, {}, "epoch"),
        (0, {"start": 0.0}, "start"),
        (0, {"start": -0.1}, "start"),
        (0, {"start": 1.1}, "start"),
        (0, {"start": math.nan}, r"start must be a number in \(0, 1\], got nan"),
        (0, {"start": "0.3"}, r"start must be a number in \(0, 1\], got '0\.3'"),
        (0, {"start": None}, r"start must be a number in \(0, 1\], got None"),
        (0, {"grow_epochs": -1}, "grow_epochs"),
        (0, {"grow_epochs": math.inf}, "grow_epochs"),
        (0, {"grow_epochs": math.nan}, "grow_epochs"),
    ],
)
def test_bad_arguments_are_refused_by_name(pacing, epoch, options, named):
    with pytest.raises(ValueError, match=named):
        pacing(epoch, **options)


@pytest.mark.parametrize("power", [0, -1, math.nan])
def test_a_power_that_is_not_positive_is_refused(power):
    with pytest.raises(ValueError, match="power"):
        root_pacing(0, power=power)


@given(
    start=st.floats(0.01, 0.99),
    grow_epochs=st.integers(2, 200),
    power=st.floats(0.5, 8),
    share=st.floats(0, 0.99),
)
def test_the_pth_power_of_root_pacing_grows_by_the_same_amount_every_epoch(start, grow_epochs, power, share):
    epoch = int(share * (grow_epochs - 1))
    step = (1 - start**power) / grow_epochs
    fraction = root_pacing(epoch, start=start, grow_epochs=grow_epochs, power=power)
    assert fraction**power == pytest.approx(start**power + (epoch + 1) * step, rel=1e-9)
