"""Statistics by hand: means, intervals, tests, Holm's adjustment, paired differences and bands of curves."""

import math
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from bss.compare.pairs import FoldSeed
from bss.compare.statistics import (
    MOST_SEEDS,
    NO_SCATTER,
    Components,
    band,
    components,
    detectable,
    effective,
    equivalent_within,
    holm,
    least_p,
    mcnemar,
    mean_and_std,
    paired,
    power_of_equivalence,
    power_to_differ,
    seeds_of_folds_to_decide,
    seeds_to_decide,
    sign_flip_test,
    t_beyond,
    t_interval,
    t_quantile,
    t_test,
)

numbers = st.floats(-100, 100)


def test_the_deviation_is_that_of_a_sample():
    assert mean_and_std([1.0, 2.0, 3.0]) == (2.0, 1.0)
    assert mean_and_std([5.0]) == (5.0, None)


def test_the_t_interval_of_one_two_three_is_two_minus_and_plus_2_484():
    low, high = t_interval([1.0, 2.0, 3.0])  # t(0.975, 2) = 4.3027, / sqrt(3) = 2.4841
    assert (low, high) == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-4)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.998])
def test_interval_and_test_are_scipys_at_any_confidence(confidence):
    values = [0.3, -1.2, 2.5, 0.9]
    tested = scipy.stats.ttest_1samp(values, 0)
    assert t_interval(values, confidence) == pytest.approx(tested.confidence_interval(confidence), rel=1e-12)
    assert t_test(values) == pytest.approx(tested.pvalue, rel=1e-12)


def test_the_paired_t_test_has_its_closed_form_for_three_values():
    # With 2 degrees of freedom p = 1 - t / sqrt(t^2 + 2), and t = 2 sqrt(3) here.
    assert t_test([1.0, 2.0, 3.0]) == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-12)
    assert t_test([-1.0, 1.0]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "values", [[1.0], [2.0, 2.0], [0.3 - 0.2, 0.4 - 0.3]], ids=["one", "equal", "equal but rounded"]
)
def test_without_scatter_there_is_no_interval_and_no_test(values):
    assert t_interval(values) is t_test(values) is None


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


# ---- signs ----


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([1.0, 2.0, 3.0], 2 / 8),
        ([3.0, 2.0, -1.0], 4 / 8),  # sums of 4 or more: 3+2+1, 3+2-1, and both turned
        ([2.0, 1.0, -1.0], 6 / 8),  # sums of 2 or more: 4, 2, 2 and those turned; 0 twice
        ([1.0, 0.0], 1.0),  # a zero may have either sign: all four sums are 1 or -1
        ([0.0, 0.0, 0.0], 1.0),
        ([5.0], 1.0),
    ],
    ids=str,
)
def test_signs_are_counted_by_hand(values, p):
    assert sign_flip_test(values) == sign_flip_test([-value for value in values]) == p


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
def test_signs_are_counted_as_one_by_one(values):
    sums = [
        sum(sign * value for sign, value in zip(each, values, strict=True))
        for each in product((1, -1), repeat=len(values))
    ]
    share = sum(abs(total) >= abs(sum(values)) for total in sums) / len(sums)
    assert sign_flip_test([float(value) for value in values]) == share


def test_sums_that_differ_by_rounding_alone_are_ties():
    values = [0.1, 0.2, -0.3 + 1e-16, 0.3]  # 0.1 + 0.2 is no 0.3 in floats, and the sum of all is 0.3 either way
    assert values[0] + values[1] != 0.3
    signs = [
        sum(sign * whole for sign, whole in zip(each, (1, 2, 3, 3), strict=True)) for each in product((1, -1), repeat=4)
    ]
    assert sign_flip_test(values) == sum(abs(total) >= 3 for total in signs) / 16


@pytest.mark.parametrize(("n", "least"), [(1, 1.0), (2, 0.5), (3, 0.25), (5, 0.0625), (8, 0.0078125), (10, 2 / 1024)])
def test_the_least_p_of_so_few_seeds_is_that_of_one_sign(n, least):
    assert least_p(n) == least == sign_flip_test([5.0] * n) == sign_flip_test([float(i + 1) for i in range(n)])


def test_no_p_value_is_above_one():
    assert least_p(0) == 1.0


def test_signs_of_many_values_are_not_counted_unless_they_have_no_scatter():
    assert sign_flip_test([]) is None and sign_flip_test([float(i) for i in range(21)]) is None
    assert sign_flip_test([5.0] * 40) == 2 / 2**40 and sign_flip_test([0.0] * 40) == 1.0
    assert sign_flip_test([float(i + 1) for i in range(20)]) == 2 / 2**20


def test_scatter_begins_at_its_bound():
    """As Difference.scatters says: the t test answers from there on, for any statement."""
    least = [-NO_SCATTER, 0.0, NO_SCATTER]
    assert mean_and_std(least) == (0.0, NO_SCATTER)
    assert t_test(least) == pytest.approx(1.0) and t_interval(least) is not None
    assert equivalent_within(least, 1.0) < 1e-15
    assert sign_flip_test([-NO_SCATTER, NO_SCATTER] * 10 + [0.0]) is None  # 21 values, whose signs are not counted
    assert paired({"a": dict(enumerate(least)), "b": dict.fromkeys(range(3), 0.0)}, "a", "b").scatters


@pytest.mark.parametrize("seed", range(3))
def test_the_test_by_signs_is_scipys_exact_permutation_test(seed):
    values = np.random.default_rng(seed).normal(0.4, 1, 9)
    found = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert sign_flip_test(values.tolist()) == pytest.approx(found.pvalue, abs=1e-12)


# ---- equivalence, and what can be seen ----


def test_equivalence_by_hand_for_three_values():
    # Of mean 0 and std 1, margin 2: t = 2 sqrt(3) with 2 degrees, one-sided half of 1 - t / sqrt(t^2 + 2).
    assert equivalent_within([-1.0, 0.0, 1.0], 2.0) == pytest.approx((1 - math.sqrt(12 / 14)) / 2, abs=1e-12)
    assert equivalent_within([1.0, 2.0, 3.0], 2.0) == pytest.approx(0.5)  # the mean is on the margin
    assert equivalent_within([1.0], 2.0) is None
    with pytest.raises(ValueError, match="must be above 0, got 0"):
        equivalent_within([1.0, 2.0], 0)


@given(st.lists(numbers, min_size=2, max_size=9), st.floats(0.1, 50))
def test_equivalence_is_two_one_sided_tests_and_the_interval_of_90_percent(values, margin):
    interval = t_interval(values, 0.90)
    if interval is not None and mean_and_std(values)[1] > 1e-3:
        p = equivalent_within(values, margin)
        below = scipy.stats.ttest_1samp(values, -margin, alternative="greater").pvalue
        above = scipy.stats.ttest_1samp(values, margin, alternative="less").pvalue
        assert p == pytest.approx(max(below, above), abs=1e-9)
        if abs(p - 0.05) > 1e-6:
            assert (p <= 0.05) == (-margin <= interval[0] and interval[1] <= margin)


def test_without_scatter_equivalence_takes_five_seeds():
    assert [equivalent_within([0.5] * n, 1.0) for n in (4, 5)] == [1 / 16, 1 / 32]
    assert equivalent_within([1.0] * 9, 1.0) == equivalent_within([-3.0] * 9, 1.0) == 1.0


@pytest.mark.parametrize("n", [2, 3, 10, 40])
@pytest.mark.parametrize("level", [0.05, 0.001])
@pytest.mark.parametrize("shift", [0.5, 2.0, 4.0])
def test_power_is_that_of_scipys_noncentral_t_where_that_is_a_number(n, level, shift):
    bound = scipy.stats.t.ppf(1 - level / 2, n - 1)
    expected = scipy.stats.nct.sf(bound, n - 1, shift) + scipy.stats.nct.cdf(-bound, n - 1, shift)
    assert power_to_differ(shift, n, level) == pytest.approx(expected, abs=5e-4)


def test_without_a_difference_power_is_the_level():
    assert power_to_differ(0.0, 10, 0.05) == pytest.approx(0.05, abs=5e-4)


def test_the_power_of_equivalence_is_what_a_simulation_counts():
    n, margin = 8, 1.3
    drawn = np.random.default_rng(0).normal(0, 1, (20_000, n))
    half = scipy.stats.t.ppf(0.95, n - 1) * drawn.std(axis=1, ddof=1) / math.sqrt(n)
    share = np.mean(np.abs(drawn.mean(axis=1)) + half <= margin)
    assert power_of_equivalence(margin * math.sqrt(n), n) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize(("n", "times"), [(5, 1.683), (10, 0.996), (20, 0.660)])
def test_the_detectable_difference_is_the_one_that_tables_give(n, times):
    """Cohen's effect size for 80 % power of a two-sided paired t test at 5 %, in deviations."""
    assert detectable(2.0, n, 0.05) == pytest.approx(2 * times, rel=2e-3)
    assert detectable(2.0, n, 0.05 / 52) > detectable(2.0, n, 0.05 / 26) > detectable(2.0, n, 0.05)


@pytest.mark.parametrize("n", [2, 5, 20, 1000])
@pytest.mark.parametrize("level", [0.05, 0.05 / 52])
def test_the_detectable_difference_is_found_with_the_power_that_is_asked_for(n, level):
    for power in (0.5, 0.8, 0.99):
        found = detectable(1.0, n, level, power)
        assert power_to_differ(found * math.sqrt(n), n, level) == pytest.approx(power, abs=1e-9)


def test_of_many_seeds_the_normal_distribution_decides():
    # 1.96 + 0.8416 = 2.8016 standard errors; both ends of equivalence: 1.6449 + 1.2816 = 2.9264.
    assert detectable(1.0, 10_000, 0.05) == pytest.approx(2.8016 / 100, rel=1e-3)
    assert 10_000 + seeds_to_decide(10.0, 10_000, 0.05, 0.25) == pytest.approx((2.9264 / 0.025) ** 2, rel=1e-3)
    assert 10_000 + seeds_to_decide(10.0, 10_000, 0.001, 0.25) == pytest.approx((4.1321 / 0.025) ** 2, rel=1e-3)


@pytest.mark.parametrize(("std", "level"), [(0.7, 0.05), (4.3, 0.05), (2.0, 0.05 / 24)])
def test_seeds_that_decide_are_the_fewest_with_power_for_both_questions(std, level):
    whole = 3 + seeds_to_decide(std, 3, level, 1.0)
    both = [
        min(power_to_differ(math.sqrt(n) / std, n, level), power_of_equivalence(math.sqrt(n) / std, n))
        for n in (whole - 1, whole)
    ]
    assert both[0] < 0.8 <= both[1]
    assert seeds_to_decide(std, whole, level, 1.0) == seeds_to_decide(std, whole + 9, level, 1.0) == 0
    assert detectable(std, whole, level) <= 1.0


def test_seeds_that_nobody_trains_are_not_counted_and_without_scatter_signs_decide():
    assert seeds_to_decide(1000.0, 3, 0.05, 1.0) is None
    assert seeds_to_decide(0.0, 3, 0.05, 1.0) == 3  # 2 / 2^6 = 0.031
    assert seeds_to_decide(0.0, 3, 0.0025, 1.0) == 7  # 2 / 2^10 = 0.002
    assert seeds_to_decide(0.0, 3, 2 / 2**6, 1.0) == 3  # on the level
    assert seeds_to_decide(0.0, 3, 0.5, 1.0) == 2  # half of 2 / 2^5, by the one-sided test of equivalence


@pytest.mark.parametrize("so_far", [3, MOST_SEEDS // 2, MOST_SEEDS - 1])
def test_up_to_the_most_seeds_all_are_counted(so_far):
    # Equivalence takes 2.9264 standard errors in the margin, see above: std = sqrt(N) / 2.9264.
    whole = [
        seeds_to_decide(math.sqrt(n) / 2.92641, so_far, 0.05, 1.0) for n in (0.999 * MOST_SEEDS, 1.001 * MOST_SEEDS)
    ]
    assert whole == [pytest.approx(max(0, 0.999 * MOST_SEEDS - so_far), abs=100), None]


# ---- pairs ----


def test_differences_are_taken_over_the_seeds_that_both_arms_have():
    values = {"uniform": {0: 50.0, 1: 60.0, 2: 70.0}, "cl": {1: 61.0, 2: 73.0, 5: 99.0}, "spl": {7: 1.0}}
    cl, spl = paired(values, "cl", "uniform"), paired(values, "spl", "uniform")
    assert (cl.seeds, cl.values, cl.mean) == ((1, 2), (1.0, 3.0), 2.0)
    assert cl.p == pytest.approx(1 - 2 * math.atan(2) / math.pi)  # one degree is Cauchy's, t = 2
    assert cl.p_signs == 0.5 and cl.interval(0.9) == t_interval([1.0, 3.0], 0.9)
    assert (spl.seeds, spl.mean, spl.std, spl.p, spl.p_signs, spl.interval()) == ((), None, None, None, None, None)
    assert not spl.comparable and paired(values, "nothing", "uniform").seeds == ()


def test_a_difference_is_found_equivalent_by_the_test_of_its_units():
    values = {"a": {0: 4.0, 1: 5.0, 2: 6.0}, "b": {0: 5.0, 1: 5.0, 2: 5.0}, "c": {0: 1.0}}
    # Of -1, 0 and 1, see above; of overlap 1 / 3 they count as 3 / (1 + 1) = 1.5 values: t = 2 sqrt(1.5).
    by_hand = [(1 - math.sqrt(t2 / (t2 + 2))) / 2 for t2 in (12, 6)]
    found = [paired(values, "a", "b", overlap).p_equivalent(2.0) for overlap in (0.0, 1 / 3)]
    assert found == pytest.approx(by_hand, abs=1e-12)
    assert paired(values, "c", "b").p_equivalent(2.0) is None


def test_the_same_difference_with_every_seed_is_tested_by_signs():
    """+5.0 on each of ten seeds was "no arm differs"."""
    values = {"a": {seed: 0.1 * seed for seed in range(10)}, "b": {seed: 5 + 0.1 * seed for seed in range(10)}}
    found = paired(values, "b", "a")
    assert not found.scatters and found.interval() is None and found.p == found.p_signs == 2 / 1024


def test_a_band_is_taken_where_all_curves_are():
    x, mean, std = band([([0, 10], [0.0, 10.0]), ([5, 15], [7.0, 17.0])])
    assert (x, mean) == ([5, 10], [6.0, 11.0]) and std == pytest.approx([math.sqrt(2)] * 2)
    assert band([([1], [3.0])]) == ([1], [3.0], [0.0])
    assert band([([1], [3.0]), ([2], [3.0])]) == ([], [], [])


def test_mcnemars_test_by_hand():
    assert mcnemar(0, 0) == 1.0  # nothing tells the two apart
    assert mcnemar(4, 4) == 1.0
    assert mcnemar(0, 6) == mcnemar(6, 0) == pytest.approx(2 / 64)
    assert mcnemar(1, 5) == pytest.approx(2 * (1 + 6) / 64)
    with pytest.raises(ValueError, match="at least 0"):
        mcnemar(-1, 3)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemars_test_is_the_sign_test(b, c):
    """The sum of the smaller tail, doubled; the differences' own sign-flip test counts the same splits."""
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c)
    assert mcnemar(b, c) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


# ---- folds ----


FOLDS = {FoldSeed(fold, seed): value for fold, seed, value in ((0, 0, 1.0), (0, 1, 3.0), (1, 0, 4.0), (1, 1, 8.0))}


def of_folds(values=FOLDS, overlap=0.5):
    return paired({"cl": values, "uniform": dict.fromkeys(values, 0.0)}, "cl", "uniform", overlap)


def test_a_fold_counts_once_with_the_mean_of_its_seeds():
    found = of_folds()
    assert found.units == (2.0, 6.0) and found.values == (1.0, 3.0, 4.0, 8.0) and found.mean == 4.0
    assert found.has_folds and found.comparable and found.std == pytest.approx(math.sqrt(8))
    # 2 folds that each train on twice what they test: 1 / 2 + 1 / 2 = 1, so that the error is the deviation itself
    assert found.p == pytest.approx(1 - 2 * math.atan(4 / math.sqrt(8)) / math.pi)
    half = math.tan(0.45 * math.pi) * math.sqrt(8)  # one degree is Cauchy's
    assert found.interval(0.9) == pytest.approx((4 - half, 4 + half))
    assert found.p_signs is None and not of_folds({FoldSeed(0, 0): 1.0, FoldSeed(0, 1): 2.0}).comparable


def test_seeds_of_unequal_folds_have_no_more_weight_than_others():
    assert of_folds({**FOLDS, FoldSeed(1, 2): 6.0, FoldSeed(1, 3): 6.0}).units == (2.0, 6.0)


def test_training_sets_in_common_widen_what_the_mean_of_folds_may_be():
    values = [1.0, 2.0, 4.0, 5.0, 3.0]
    plain, wide = t_interval(values), t_interval(values, overlap=0.25)
    assert effective(5, 0.25) == pytest.approx(1 / 0.45) and effective(5, 0.0) == 5
    assert wide[1] - wide[0] == pytest.approx((plain[1] - plain[0]) * math.sqrt(0.45 / 0.2))
    assert t_test(values, 0.25) > t_test(values)
    assert equivalent_within(values, 6.0, 0.25) > equivalent_within(values, 6.0)
    assert detectable(1.0, 5, 0.05, overlap=0.25) == pytest.approx(detectable(1.0, 5, 0.05) * math.sqrt(0.45 / 0.2))
    _, high = t_interval(values, 0.9, 0.25)
    assert (equivalent_within(values, high + 0.01, 0.25) < 0.05) and (
        equivalent_within(values, high - 0.01, 0.25) > 0.05
    )


def test_components_by_hand():
    # means 2 and 6; within ((1 + 1) + (4 + 4)) / 2 = 5; between 2 (4 + 4) / 1 = 16; so (16 - 5) / 2 = 5.5
    assert components([[1.0, 3.0], [4.0, 8.0]]) == Components(5.5, 5.0) and of_folds().components == Components(
        5.5, 5.0
    )
    assert components([[1.0, 3.0], [4.0, 8.0]]).share == pytest.approx(5.5 / 10.5)
    assert components([[0.0, 4.0], [1.0, 3.0]]) == Components(0.0, 5.0)  # equal means: negative, so 0
    # three groups of 1, 2 and 3: 6 numbers, n0 = (6 - 14 / 6) / 2 = 11 / 6
    groups = [[6.0], [1.0, 3.0], [1.0, 2.0, 3.0]]
    within, mean = (2 + 2) / 3, 16 / 6
    between = ((6 - mean) ** 2 + 2 * (2 - mean) ** 2 + 3 * (2 - mean) ** 2) / 2
    assert components(groups).fold == pytest.approx((between - within) / (11 / 6))
    assert components([[1.0], [2.0]]) is components([[1.0, 2.0]]) is components([]) is None
    assert Components(0.0, 0.0).share is None


def test_components_are_what_a_simulation_was_made_of():
    draw = np.random.default_rng(0)
    made = [draw.normal(0, 2, (5, 1)) + draw.normal(0, 1, (5, 4)) for _ in range(400)]
    found = [components(each.tolist()) for each in made]
    assert np.mean([each.seed for each in found]) == pytest.approx(1.0, rel=0.05)
    assert np.mean([each.fold for each in found]) == pytest.approx(4.0, rel=0.1)


def test_more_seeds_make_up_for_the_seeds_part_alone():
    further = seeds_of_folds_to_decide(Components(0.0, 1.0), 5, 2, 0.05, 1.0, overlap=0.25)
    std = [math.sqrt(1 / count) for count in (2 + further - 1, 2 + further)]
    both = [math.sqrt(effective(5, 0.25)) / each for each in std]
    powers = [min(power_to_differ(shift, 5, 0.05), power_of_equivalence(shift, 5)) for shift in both]
    assert powers[0] < 0.8 <= powers[1]
    assert seeds_of_folds_to_decide(Components(4.0, 1.0), 5, 2, 0.05, 1.0, overlap=0.25) is None
    assert seeds_of_folds_to_decide(Components(0.0, 0.0), 5, 2, 0.05, 1.0, overlap=0.25) is None  # 2 / 2^5 = 0.06
    assert seeds_of_folds_to_decide(Components(0.0, 0.0), 6, 2, 0.05, 1.0, overlap=0.25) == 0
    assert seeds_of_folds_to_decide(Components(0.0, 0.0), 5, 2, 2 / 2**5, 1.0, overlap=0.25) == 0  # on the level


def test_arms_that_are_worth_the_same_are_seldom_told_apart_by_folds_and_often_by_their_seeds():
    """Two nearest-mean classifiers, each on its own features that tell as much: what differs is chance."""
    draw = np.random.default_rng(0)
    false = {"folds": 0, "pairs": 0}
    count, size, folds, seeds = 200, 100, 5, 3
    for _ in range(count):
        labels = draw.permutation(np.arange(size) % 2)
        arms = [draw.normal(size=(size, 4)) + 0.4 * (2 * labels - 1)[:, None] for _ in range(2)]
        fold_of = draw.permutation(size) % folds
        found = np.zeros((folds, seeds))
        for fold in range(folds):
            train, test = fold_of != fold, fold_of == fold
            for sign, x in zip((1, -1), arms, strict=True):
                way = x[train][labels[train] == 1].mean(0) - x[train][labels[train] == 0].mean(0)
                ways = way + 0.15 * draw.normal(size=(seeds, 4))  # a seed disturbs what was learned
                right = ((x[test] - x[train].mean(0)) @ ways.T > 0) == labels[test][:, None]
                found[fold] += sign * 100 * right.mean(0)
        values = {FoldSeed(fold, seed): found[fold, seed] for fold in range(folds) for seed in range(seeds)}
        false["folds"] += of_folds(values, overlap=1 / (folds - 1)).p <= 0.05
        false["pairs"] += t_test(list(values.values())) <= 0.05
    assert false["folds"] / count <= 0.05 and false["pairs"] / count >= 0.2


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 99])
def test_quantiles_and_tails_of_students_t_are_those_of_scipy_stats(freedom):
    for share in (0.025, 0.5, 0.9, 0.975, 0.9995):
        assert t_quantile(share, freedom) == scipy.stats.t.ppf(share, freedom)
    for value in (-3.0, 0.0, 0.1, 2.0, 40.0):
        assert t_beyond(value, freedom) == scipy.stats.t.sf(value, freedom)
