"""All numbers of a head: by hand, as scikit-learn has them, and with samples that count several times."""

import numpy as np
import pytest
import torch

from bss.scoring.measures import MEASURES, HeadMeasures
from bss.scoring.metrics import average_precision, class_ranking, classification_metrics, confusion_matrix, f1_by_class


def head(count=60, classes=4, seed=0, coarse=False):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, generator=generator)
    truth = torch.randint(classes, (count,), generator=generator)
    return (logits.round() if coarse else logits), truth


def measures(logits, truth):
    return HeadMeasures(logits, truth.numpy())


def certain(predicted, classes):
    """Logits of a head that is all but sure."""
    return 20.0 * torch.nn.functional.one_hot(torch.tensor(predicted), classes)


def test_the_three_metrics_are_those_of_a_run_to_the_last_digit():
    for seed in range(20):
        logits, truth = head(seed=seed, coarse=seed % 2)
        ours, theirs = measures(logits, truth).values(), classification_metrics({"all": logits}, truth)
        assert {name: ours[name] for name in theirs} == {name: theirs[name]["all"] for name in theirs}
        assert tuple(ours) == MEASURES


def test_a_confusion_matrix_has_the_truth_in_its_rows():
    matrix = confusion_matrix(np.array([0, 2, 2, 1]), np.array([0, 0, 2, 2]), 4)
    assert matrix.tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]


def test_the_table_of_classes_by_hand_and_what_has_no_value_is_not_a_number():
    # Truth 0 0 1 2, taken for 0 1 1 1; class 3 has no sample and is never predicted.
    rows = measures(certain([0, 1, 1, 1], 4), torch.tensor([0, 0, 1, 2])).classes()
    assert [(row.samples, row.predicted) for row in rows] == [(2, 1), (1, 3), (1, 0), (0, 0)]
    assert rows[0][2:5] == (1.0, 0.5, 2 / 3) and rows[1][2:5] == (1 / 3, 1.0, 0.5)
    assert np.isnan(rows[2].precision) and rows[2].recall == rows[2].f1 == 0
    assert all(np.isnan(value) for value in rows[3][2:])


def test_the_table_of_classes_is_scikit_learns():
    from sklearn.metrics import average_precision_score, precision_recall_fscore_support
    from sklearn.metrics import confusion_matrix as theirs

    logits, truth = head(300)
    ours = measures(logits, truth)
    assert ours.confusion().tolist() == theirs(truth, ours.predicted_N).tolist()
    table = zip(*precision_recall_fscore_support(truth, ours.predicted_N), strict=True)
    for label, (row, expected) in enumerate(zip(ours.classes(), table, strict=True)):
        assert (row.precision, row.recall, row.f1, row.samples) == pytest.approx(expected)
        expected = average_precision_score(truth == label, ours.probability_NC[:, label])
        assert row.average_precision == pytest.approx(expected)


@pytest.mark.parametrize("coarse", [False, True])
def test_weights_count_samples_several_times(coarse):
    logits, truth = head(coarse=coarse)
    weight = np.random.default_rng(1).integers(0, 3, len(truth))
    repeated = np.repeat(np.arange(len(truth)), weight)
    ours = measures(logits, truth).weighted(weight.astype(float))
    assert ours == pytest.approx(measures(logits[repeated], truth[repeated]).values(), abs=1e-12)


def test_a_class_whose_samples_count_nothing_does_not_occur():
    probability, truth = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 0])
    weight = np.array([1.0, 0.0, 1.0])
    assert f1_by_class(probability.argmax(axis=1), truth, weight).tolist() == [1.0]
    found = [average_precision(class_ranking(probability[:, k], truth == k), weight) for k in (0, 1)]
    assert found[0] == 1 and np.isnan(found[1])


def test_the_accuracy_of_independent_samples_has_wilsons_interval_also_at_its_ends():
    right = measures(certain([0, 1] * 10, 2), torch.tensor([0, 1] * 10)).measured(resamples=20)
    assert right["accuracy"] == (1.0, pytest.approx((0.838875, 1.0), abs=1e-6))
    wrong = measures(certain([1, 0] * 10, 2), torch.tensor([0, 1] * 10)).measured(resamples=0)
    assert wrong["accuracy"] == (0.0, pytest.approx((0.0, 0.161125), abs=1e-6))
    assert wrong["nll"].interval is None and wrong["nll"].value == pytest.approx(20, abs=1e-6)


def test_groups_widen_an_interval_and_one_group_has_none():
    logits, truth = certain([0] * 20 + [1] * 20, 2), torch.zeros(40, dtype=torch.int64)
    alone = measures(logits, truth).measured(resamples=200)["accuracy"].interval
    grouped = measures(logits, truth).measured(np.repeat([0, 1, 2, 3], 10), resamples=200)["accuracy"].interval
    assert grouped[0] < alone[0] and grouped[1] > alone[1]
    of_one = measures(logits, truth).measured(np.zeros(40), resamples=50)
    assert all(each.interval is None for each in of_one.values())
    # A few groups that are all right leave no scatter; the interval of the samples alone is then the least.
    sure = measures(certain([0] * 40, 2), truth).measured(np.repeat([0, 1], 20), resamples=50)
    assert sure["accuracy"].interval == pytest.approx((0.912379, 1.0), abs=1e-4)


def test_an_interval_holds_its_number_and_is_a_function_of_the_samples_alone(untouched_rngs):
    logits, truth = head(200)
    first, same = (measures(logits, truth).measured(resamples=200) for _ in range(2))
    assert first == same
    for value, (low, high) in first.values():
        assert low < value < high
