"""Proper scores, calibration and intervals by hand, and scikit-learn's and netcal's numbers where they are the same."""

import math

import numpy as np
import pytest

from bss.scoring.calibration import (
    brier_scores,
    equal_weight_bins,
    equal_width_bins,
    expected_calibration_error,
    negative_log_likelihoods,
    reliability_curve,
)
from bss.scoring.intervals import bootstrap_interval, bootstrap_weights, wilson_interval


def drawn(count=200, classes=4, seed=0):
    random = np.random.default_rng(seed)
    probability = random.dirichlet(np.full(classes, 0.6), count)
    return probability, random.integers(0, classes, count)


def top(probability, truth):
    return probability.max(axis=1), probability.argmax(axis=1) == truth


# ---- bins ----------------------------------------------------------------------------------------------------------


def test_bins_of_equal_width_are_closed_at_the_right_and_the_last_one_holds_1():
    confidence = np.array([0.0, 1e-9, 0.2, np.nextafter(0.2, 1), 0.4, 0.8, np.nextafter(0.8, 1), 1.0])
    assert equal_width_bins(confidence, 5).tolist() == [0, 0, 0, 1, 1, 3, 4, 4]
    edges = np.arange(16) / 15
    assert equal_width_bins(edges[1:]).tolist() == list(range(15))  # every edge belongs to the bin that it ends


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan])
def test_a_confidence_that_is_no_probability_is_named(value):
    with pytest.raises(ValueError, match=r"that at 1 is"):
        equal_width_bins(np.array([0.5, value]))


def test_bins_of_equal_weight_have_as_many_samples_each_and_keep_equal_confidences_together():
    assert equal_weight_bins(np.array([0.4, 0.1, 0.3, 0.2]), 2).tolist() == [1, 0, 1, 0]
    assert np.bincount(equal_weight_bins(np.linspace(0, 1, 50), 15)).tolist() == [3, 4, 3] * 5
    assert equal_weight_bins(np.full(7, 0.5), 3).tolist() == [1] * 7
    assert equal_weight_bins(np.array([0.1, 0.2]), 15).max() < 15  # fewer samples than bins


# ---- the error by hand ---------------------------------------------------------------------------------------------


def test_the_expected_calibration_error_by_hand():
    # Bins of a half: (0, 0.5] has 0.3 and 0.5, one right of two, confident by 0.4; (0.5, 1] has 0.9 and 1, both right.
    confidence, hit = np.array([0.3, 0.5, 0.9, 1.0]), np.array([True, False, True, True])
    curve = reliability_curve(confidence, hit, bins=2)
    assert curve.bins.weight.tolist() == [2, 2] and curve.edges.tolist() == [0, 0.5, 1]
    assert curve.bins.confidence.tolist() == pytest.approx([0.4, 0.95]) and curve.bins.accuracy.tolist() == [0.5, 1.0]
    assert curve.error == pytest.approx(0.5 * 0.1 + 0.5 * 0.05)


def test_predictions_that_are_all_sure_have_the_error_of_their_accuracy():
    """Where 1 has a bin of its own beyond the last, they count nothing, or in a bin too many."""
    for bins in (1, 10, 15):
        assert expected_calibration_error(np.ones(4), np.array([1, 1, 1, 0]), bins=bins) == 0.25
        assert expected_calibration_error(np.ones(4), np.array([1, 1, 1, 0]), bins=bins, adaptive=True) == 0.25
    assert expected_calibration_error(np.ones(3), np.ones(3)) == 0
    assert expected_calibration_error(np.zeros(3), np.zeros(3)) == 0  # and 0 is in the first one


def test_an_empty_bin_counts_nothing():
    curve = reliability_curve(np.array([0.1, 0.95]), np.array([0, 1]), bins=10)
    assert curve.bins.weight.sum() == 2 and np.isnan(curve.bins.accuracy[5]) and np.isnan(curve.bins.confidence[5])
    assert curve.error == pytest.approx((0.1 + 0.05) / 2)


def test_the_adaptive_error_by_hand():
    # Sorted: 0.2 and 0.4 (one right of two: |0.5 - 0.3|), 0.6 and 0.8 (both right: |1 - 0.7|).
    confidence, hit = np.array([0.8, 0.2, 0.6, 0.4]), np.array([1, 0, 1, 1])
    curve = reliability_curve(confidence, hit, bins=2, adaptive=True)
    assert curve.error == pytest.approx(0.5 * 0.2 + 0.5 * 0.3)
    assert curve.edges.tolist() == [0.2, 0.6, 0.8] and curve.bins.weight.tolist() == [2, 2]


def test_of_two_classes_it_is_the_top_label_that_counts():
    """Both samples say 0.9 to what is right; by the second class's probability one of them would be sure and wrong."""
    probability = np.array([[0.9, 0.1], [0.1, 0.9]])
    confidence, hit = top(probability, np.array([0, 1]))
    assert expected_calibration_error(confidence, hit) == pytest.approx(0.1)


def test_the_order_of_the_samples_does_not_matter():
    random = np.random.default_rng(1)
    confidence, hit = random.integers(5, 10, 60) / 10, random.random(60) < 0.6
    order = random.permutation(60)
    for adaptive in (False, True):
        one, other = (
            expected_calibration_error(confidence[at], hit[at], adaptive=adaptive) for at in (slice(None), order)
        )
        assert one == pytest.approx(other, abs=1e-12)


def test_weights_put_samples_into_bins_several_times():
    random = np.random.default_rng(2)
    confidence = random.integers(5, 11, 40) / 10
    weight = random.integers(0, 4, 40)
    repeated = equal_weight_bins(np.repeat(confidence, weight))
    assert np.repeat(equal_weight_bins(confidence, weight_N=weight.astype(float)), weight).tolist() == repeated.tolist()


# ---- oracles -------------------------------------------------------------------------------------------------------


def test_scikit_learns_reliability_curve_is_the_same():
    from sklearn.calibration import calibration_curve

    confidence, hit = top(*drawn())
    ours = reliability_curve(confidence, hit, bins=10)
    accuracy, mean = calibration_curve(hit, confidence, n_bins=10)
    held = ours.bins.weight > 0
    assert np.allclose(ours.bins.accuracy[held], accuracy) and np.allclose(ours.bins.confidence[held], mean)


def test_netcals_error_is_the_same():
    metrics = pytest.importorskip("netcal.metrics")
    probability, truth = drawn()
    confidence, hit = top(probability, truth)
    assert expected_calibration_error(confidence, hit) == pytest.approx(metrics.ECE(15).measure(probability, truth))


def test_scikit_learns_log_loss_and_brier_score_are_the_same():
    from sklearn.metrics import brier_score_loss, log_loss

    probability, truth = drawn()
    assert negative_log_likelihoods(np.log(probability), truth).mean() == pytest.approx(log_loss(truth, probability))
    two, binary = drawn(classes=2, seed=3)
    # Of two classes scikit-learn's score is that of one of them: both count here.
    assert brier_scores(two, binary).mean() == pytest.approx(2 * brier_score_loss(binary, two[:, 1]))


def test_brier_and_log_likelihood_by_hand():
    probability, truth = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]), np.array([0, 2])
    assert brier_scores(probability, truth).tolist() == pytest.approx([0.09 + 0.04 + 0.01, 2.0])
    log_probability = np.array([[-0.1, -800.0], [-800.0, -0.1]])  # e^-800 is 0 in float64, and its logarithm is not
    assert negative_log_likelihoods(log_probability, np.array([1, 1])).tolist() == [800.0, 0.1]


# ---- intervals -----------------------------------------------------------------------------------------------------


def test_wilsons_interval_at_its_ends_and_in_the_middle():
    # z = 1.959964, z^2 = 3.841459: at 0 of 20 the upper end is z^2 / (20 + z^2), and at 10 of 20 half is 0.2007.
    assert wilson_interval(0, 20) == (0.0, pytest.approx(3.841459 / 23.841459, abs=1e-6))
    assert wilson_interval(20, 20) == (pytest.approx(20 / 23.841459, abs=1e-6), 1.0)
    assert wilson_interval(10, 20) == pytest.approx((0.299298, 0.700702), abs=1e-6)
    assert wilson_interval(0, 1)[1] == pytest.approx(0.793450, abs=1e-6)


@pytest.mark.parametrize(("hits", "count"), [(1, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_has_no_interval(hits, count):
    with pytest.raises(ValueError, match="are no share"):
        wilson_interval(hits, count)


def test_scipys_interval_is_the_same():
    from scipy.stats import binomtest

    for hits in (0, 1, 7, 29, 30):
        expected = binomtest(hits, 30).proportion_ci(method="wilson")
        assert wilson_interval(hits, 30) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_bootstrap_draws_as_many_samples_as_there_are_from_its_seed():
    first, same = (list(bootstrap_weights(9, resamples=4, seed=1)) for _ in range(2))
    assert all(weight.sum() == 9 for weight in first) and np.array_equal(first, same)
    assert not np.array_equal(first, list(bootstrap_weights(9, resamples=4, seed=2)))


def test_whole_groups_are_drawn_and_the_interval_is_that_of_groups():
    groups = np.array([7, 7, 7, 2, 2, 2])
    for weight in bootstrap_weights(6, groups, resamples=20):
        assert len(set(weight[:3])) == len(set(weight[3:])) == 1 and weight[0] + weight[3] == 2
    # Two groups, one all right and one all wrong: the accuracy of a drawn set is 0, 1/2 or 1.
    values = np.array([np.average(groups == 7, weights=weight) for weight in bootstrap_weights(6, groups)])
    assert set(values) == {0.0, 0.5, 1.0}
    assert bootstrap_interval(0.5, values) == pytest.approx((0.0, 1.0), abs=0.02)
    with pytest.raises(ValueError, match="2 groups for 3 samples"):
        list(bootstrap_weights(3, np.array([0, 1])))


def test_the_bootstrap_of_independent_samples_has_the_width_of_the_binomial():
    hits = np.arange(400) < 300
    values = np.array([np.average(hits, weights=weight) for weight in bootstrap_weights(400)])
    low, high = bootstrap_interval(0.75, values)
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.75 * 0.25 / 400), rel=0.1)


def test_an_interval_of_drawn_sets_lies_around_the_number_and_inside_of_its_range():
    drawn = np.array([1.0, np.nan, 2.0, 3.0])
    assert bootstrap_interval(2.0, drawn, confidence=0.5) == (1.5, 2.5)  # a set without a value is left out
    assert bootstrap_interval(0.1, drawn, confidence=0.5) == pytest.approx((0.0, 0.6))  # moved, and cut at 0
    assert bootstrap_interval(0.9, drawn, most=1.0, confidence=0.5) == pytest.approx((0.4, 1.0))
    assert bootstrap_interval(1.0, np.array([np.nan])) is None
