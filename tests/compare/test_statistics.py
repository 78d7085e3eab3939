"""Statistics by hand: means, intervals, tests, Holm's adjustment, paired differences and bands of curves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bss.compare.statistics import band, bootstrap_interval, differences, holm, mean_and_std, t_interval, t_test

numbers = st.floats(-100, 100)


def test_the_deviation_is_that_of_a_sample():
    assert mean_and_std([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_std([5.0]) == (5.0, None)


def test_the_t_interval_of_one_two_three_is_two_minus_and_plus_2_484():
    low, high = t_interval([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.3027, / sqrt(3) = 2.4841
    assert (low, high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)


def test_the_paired_t_test_has_its_closed_form_for_three_values():
    # With 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2), and t = 2 sqrt(3) here.
    assert t_test([1.0, 2.0, 3.0]) == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-12)
    assert t_test([-1.0, 1.0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "values", [[1.0], [2.0, 2.0], [0.3 - 0.2, 0.4 - 0.3]], ids=["one", "equal", "equal but rounded"]
)
def test_without_scatter_there_is_no_interval_and_no_test(values):
    assert t_interval(values) is t_test(values) is bootstrap_interval(values * 3 if len(values) > 1 else values) is None


def test_rounding_is_no_scatter_but_a_millionth_is():
    rounded = [0.3 - 0.2, 0.4 - 0.3]
    assert rounded[0] != rounded[1] and t_test(rounded) is t_interval(rounded) is None
    assert t_test([1.0, 1.000001]) == pytest.approx(0, abs=1e-5) and t_interval([1.0, 1.000001]) is not None


def test_holm_multiplies_the_smallest_by_their_number_and_never_falls():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 x .01, then 2 x .03, then max(.06, .04)
    assert holm([0.01, None, 0.04]) == pytest.approx([0.03, None, 0.08])  # 3 x .01, then 2 x .04: None is one of three
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1.5"):
        holm([1.5])


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_is_between_the_p_value_and_bonferroni(p_values):
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, len(p_values) * p) + 1e-15


@given(st.lists(numbers, min_size=5, max_size=9))
def test_the_bootstrap_interval_is_within_the_values_and_holds_their_mean(values):
    interval = bootstrap_interval(values)
    if interval is not None:
        assert min(values) - 1e-9 <= interval[0] <= sum(values) / len(values) + 1e-9 <= interval[1] + 2e-9
        assert interval == bootstrap_interval(values)


def test_the_bootstrap_agrees_with_its_normal_limit():
    values = [float(i % 10) for i in range(400)]  # std 2.876: half the interval is 1.96 * 2.876 / 20 = 0.2818
    low, high = bootstrap_interval(values)
    assert (high - low) / 2 == pytest.approx(0.2818, rel=0.05)


def test_differences_are_taken_over_the_seeds_that_both_arms_have():
    values = {"uniform": {0: 50.0, 1: 60.0, 2: 70.0}, "cl": {1: 61.0, 2: 73.0, 5: 99.0}, "spl": {7: 1.0}}
    cl, spl = differences(values, "uniform")
    assert (cl.seeds, cl.values, cl.mean) == ((1, 2), (1.0, 3.0), 2.0)
    assert (spl.seeds, spl.mean, spl.p, spl.p_holm) == ((), None, None, None)
    assert cl.p_holm == cl.p  # without a seed in common, spl is no second comparison
    with pytest.raises(ValueError, match="no values of 'nothing'"):
        differences(values, "nothing")


def test_a_band_is_taken_where_all_curves_are():
    x, mean, std = band([([0, 10], [0.0, 10.0]), ([5, 15], [7.0, 17.0])])
    assert (x, mean) == ([5, 10], [6.0, 11.0]) and std == pytest.approx([math.sqrt(2)] * 2)
    assert band([([1], [3.0])]) == ([1], [3.0], [0.0])
    assert band([([1], [3.0]), ([2], [3.0])]) == ([], [], [])
