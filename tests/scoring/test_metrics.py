import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from bss.models.late_fusion import Logits
from bss.scoring.heads import predicted_by
from bss.scoring.metrics import (
    classification_metrics,
    entropy_weights,
    head_logits,
    left_out,
    rank_correlation,
)

# Six samples of three classes; the logits are log probabilities, so their softmax is this table. Comments: prediction.
PROBABILITY = np.array(
    [
        [0.70, 0.20, 0.10],  # 0, right
        [0.30, 0.50, 0.20],  # 1, wrong
        [0.10, 0.80, 0.10],  # 1, right
        [0.17, 0.60, 0.23],  # 1, right
        [0.50, 0.35, 0.15],  # 0, wrong
        [0.05, 0.05, 0.90],  # 2, right
    ]
)
TARGET = torch.tensor([0, 0, 1, 1, 2, 2])


def measured(probability, target=TARGET):
    metrics = classification_metrics({"head": torch.tensor(probability).log()}, target)
    return {name: values["head"] for name, values in metrics.items()}


# ---- which logits --------------------------------------------------------------------------------------------------


def logits():
    return Logits(
        fused=torch.tensor([[100.0, 200.0]]),
        unimodal={"audio": torch.tensor([[1.0, 2.0]]), "visual": torch.tensor([[10.0, 20.0]])},
    )


def test_the_prediction_of_all_heads_adds_the_fused_logits():
    assert head_logits(logits(), "all")["all"].tolist() == [[111.0, 222.0]]  # 100 + 1 + 10, 200 + 2 + 20


def test_the_unimodal_prediction_leaves_the_fused_logits_out():
    assert head_logits(logits(), "unimodal")["all"].tolist() == [[11.0, 22.0]]  # 1 + 10, 2 + 20


def test_the_prediction_by_entropy_weighs_each_modality_by_how_sure_it_is_of_the_sample():
    # Entropies of (3/4, 1/4) and (1/2, 1/2): 0.562335 and 0.693147; exp(-H) is 0.569876 and 0.5.
    sure, unsure = torch.tensor([[3.0, 1.0], [1.0, 1.0]]).log(), torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log()
    weights_MB = entropy_weights([sure, unsure])
    assert weights_MB.flatten().tolist() == pytest.approx([0.532658, 0.467342, 0.467342, 0.532658], abs=1e-5)
    heads = head_logits(Logits(100 * sure, {"audio": sure, "visual": unsure}), "entropy")
    torch.testing.assert_close(heads["all"], 0.532658 * torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log(), atol=1e-5, rtol=0)
    assert predicted_by("entropy", heads) == "audio + visual by entropy"


@pytest.mark.parametrize("prediction", ["all", "unimodal", "entropy"])
def test_the_logits_of_each_head_are_handed_on(prediction):
    heads = head_logits(logits(), prediction)
    assert list(heads) == ["all", "fused", "audio", "visual"]
    assert [heads[name].tolist() for name in ("fused", "audio", "visual")] == [
        [[100.0, 200.0]],
        [[1.0, 2.0]],
        [[10.0, 20.0]],
    ]


@pytest.mark.parametrize("prediction", ["all", "unimodal", "entropy"])
def test_adding_heads_changes_none_of_them(prediction):
    given_logits = logits()
    head_logits(given_logits, prediction)
    assert torch.equal(given_logits.fused, logits().fused)
    assert torch.equal(given_logits.unimodal["audio"], logits().unimodal["audio"])


# ---- classification, by hand ---------------------------------------------------------------------------------------


def test_accuracy_counts_the_samples_whose_largest_logit_is_right():
    assert measured(PROBABILITY)["accuracy"] == pytest.approx(4 / 6)


def test_macro_f1_is_the_mean_over_classes_of_twice_the_hits_over_predicted_plus_true():
    # class 0: 2*1 / (2 + 2) = 1/2; class 1: 2*2 / (3 + 2) = 4/5; class 2: 2*1 / (1 + 2) = 2/3; mean 59/90
    assert measured(PROBABILITY)["macro_f1"] == pytest.approx(59 / 90)


def test_mean_average_precision_is_the_mean_over_classes_of_the_precision_at_each_hit():
    # class 0 ranks .70+ .50- .30+: (1/1 + 2/3) / 2 = 5/6; class 1 ranks .80+ .60+: 1
    # class 2 ranks .90+ .23- .20- .15+: (1/1 + 2/4) / 2 = 3/4; mean 31/36
    assert measured(PROBABILITY)["map"] == pytest.approx(31 / 36)


def test_a_class_that_no_target_has_does_not_count_in_mean_average_precision():
    with_fourth = np.hstack((0.99 * PROBABILITY, np.full((6, 1), 0.01)))
    assert measured(with_fourth)["map"] == pytest.approx(31 / 36)


def test_a_class_that_nobody_has_or_predicts_does_not_count_in_macro_f1():
    with_fourth = np.hstack((0.99 * PROBABILITY, np.full((6, 1), 0.01)))
    assert measured(with_fourth)["macro_f1"] == pytest.approx(59 / 90)


def test_a_class_that_is_predicted_in_vain_counts_as_zero_in_macro_f1():
    with_fourth = np.hstack((PROBABILITY, np.zeros((6, 1))))
    with_fourth[1] = [0.1, 0.2, 0.1, 0.6]  # the second sample is now predicted as class 3
    # class 0: 1/2; class 1: 2*2 / (2 + 2) = 1; class 2: 2/3; class 3: 0; mean (13/6) / 4
    assert measured(with_fourth)["macro_f1"] == pytest.approx(13 / 24)


def test_perfect_predictions_score_one():
    perfect = np.full((6, 3), 0.1) + 0.7 * np.eye(3)[TARGET]
    assert measured(perfect) == {"accuracy": 1.0, "macro_f1": 1.0, "map": 1.0}


def test_the_worst_predictions_score_zero_and_rank_every_hit_last():
    worst = np.array([[0.1, 0.9], [0.2, 0.8], [0.8, 0.2], [0.9, 0.1]])
    scores = measured(worst, torch.tensor([0, 0, 1, 1]))
    # each class ranks both others first: (1/3 + 2/4) / 2 = 5/12
    assert (scores["accuracy"], scores["macro_f1"], scores["map"]) == (0.0, 0.0, pytest.approx(5 / 12))


def test_one_constant_answer_has_the_share_of_its_class_as_precision():
    constant = np.tile([0.5, 0.3, 0.2], (6, 1))
    # accuracy 2/6; F1 of class 0: 2*2 / (6 + 2) = 1/2, others 0; every AP is that of a tie of all six: 2/6
    assert measured(constant) == pytest.approx({"accuracy": 1 / 3, "macro_f1": 1 / 6, "map": 1 / 3})


def test_every_head_is_measured_by_itself():
    right = torch.eye(3)[TARGET]
    metrics = classification_metrics({"audio": right, "visual": right.roll(1, dims=1)}, TARGET)
    assert metrics["accuracy"] == {"audio": 1.0, "visual": 0.0}
    assert {name: set(values) for name, values in metrics.items()} == {
        "accuracy": {"audio", "visual"},
        "macro_f1": {"audio", "visual"},
        "map": {"audio", "visual"},
    }


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_logits_of_any_precision_are_measured(dtype):
    metrics = classification_metrics({"head": torch.tensor(PROBABILITY).log().to(dtype)}, TARGET)
    assert [values["head"] for values in metrics.values()] == pytest.approx([4 / 6, 59 / 90, 31 / 36])


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 10**6), st.sampled_from([1, 4, 1000]))
def test_all_three_are_scikit_learns(count, classes, seed, steps):
    """Few steps make many ties."""
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score

    chance = np.random.default_rng(seed)
    logits = torch.from_numpy(chance.integers(0, steps, (count, classes)) / steps)
    target = torch.from_numpy(chance.integers(0, classes, count))
    truth, probability = target.numpy(), logits.softmax(dim=1).numpy()
    predicted = probability.argmax(axis=1)
    found = {name: values["head"] for name, values in classification_metrics({"head": logits}, target).items()}
    assert found == pytest.approx(
        {
            "accuracy": accuracy_score(truth, predicted),
            "macro_f1": f1_score(truth, predicted, average="macro", zero_division=0),
            "map": np.mean([average_precision_score(truth == c, probability[:, c]) for c in np.unique(truth)]),
        },
        abs=1e-12,
    )


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)))
def test_the_order_of_the_samples_does_not_matter(order):
    assert measured(PROBABILITY[list(order)], TARGET[list(order)]) == pytest.approx(measured(PROBABILITY))


# ---- rank correlation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 2, 4, 3], 0.8),  # 1 - 6 * (1 + 1) / (4 * 15)
        ([1, 2, 3], [2, 3, 1], -0.5),  # 1 - 6 * (1 + 1 + 4) / (3 * 8)
        # ranks (1, 2.5, 2.5, 4) against (1, 2, 3, 4): deviations (-1.5, 0, 0, 1.5) and (-1.5, -.5, .5, 1.5), hence
        # the correlation 4.5 / sqrt(4.5 * 5), the root of 0.9
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9**0.5),
    ],
)
def test_rank_correlation_is_spearmans(a, b, value):
    assert rank_correlation(torch.tensor(a).float(), torch.tensor(b).float()) == pytest.approx(value)


@pytest.mark.parametrize(
    ("a", "b"),
    [([5.0, 5.0, 5.0], [1.0, 2.0, 3.0]), ([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]), ([1.0], [2.0]), ([], [])],
)
def test_rank_correlation_of_a_constant_or_of_fewer_than_two_is_none(a, b):
    assert rank_correlation(torch.tensor(a), torch.tensor(b)) is None


def test_rank_correlation_depends_on_ranks_alone():
    a, b = torch.tensor([0.3, -1.0, 2.0, 0.7]), torch.tensor([1.0, 0.0, 5.0, -2.0])
    # ranks (2, 1, 4, 3) and (3, 2, 4, 1): 1 - 6 * (1 + 1 + 0 + 4) / (4 * 15) = 0.4
    assert rank_correlation(a, b) == pytest.approx(0.4)
    assert rank_correlation(a.exp(), b**3) == pytest.approx(0.4)


@settings(deadline=None)
@given(st.integers(2, 30).flatmap(lambda n: st.permutations(range(n))))
def test_rank_correlation_of_a_permutation_follows_the_textbook_formula(order):
    n = len(order)
    squares = sum((i - j) ** 2 for i, j in enumerate(order))
    expected = 1 - 6 * squares / (n * (n**2 - 1))
    assert rank_correlation(torch.arange(n), torch.tensor(order)) == pytest.approx(expected)


def test_the_heads_of_a_prediction_are_those_whose_logits_it_sums():
    heads = {name: torch.randn(3, 4) for name in ("audio", "visual", "fused")}
    logits = Logits(heads["fused"], {name: heads[name] for name in ("audio", "visual")})
    for prediction in ("all", "unimodal", "fused"):
        summed = head_logits(logits, prediction)
        words = predicted_by(prediction, summed).split(" + ")
        assert torch.allclose(summed["all"], sum(heads[word] for word in words))


@pytest.mark.parametrize("count", [2, 3, 50, 1350])
def test_rank_correlation_is_scipys_to_the_last_digit_also_with_ties(count):
    draw = torch.Generator().manual_seed(count)
    pairs = [
        (torch.randperm(count, generator=draw), torch.rand(count, generator=draw)),
        (torch.randint(0, 5, (count,), generator=draw), torch.rand(count, generator=draw).round(decimals=1)),
    ]
    for a, b in pairs:
        if (found := rank_correlation(a, b)) is not None:
            assert found == spearmanr(a.numpy(), b.numpy()).statistic


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        ("all", [[4, 7], [3, 0], [1, 2], [0, 0]]),  # the sum of the three; the other modality's alone, twice; nothing
        ("entropy", [[4, 7], [3, 0], [1, 2], [0, 0]]),  # one head alone has all the weight
        ("audio", [[4, 7], [3, 0], [4, 7], [0, 0]]),  # stays where audio is there
    ],
)
def test_a_sample_that_lacks_modalities_is_told_by_the_heads_of_the_others(prediction, expected):
    heads = {"audio": [1.0, 2.0], "visual": [3.0, 0.0], "fused": [0.0, 5.0], "all": [4.0, 7.0]}
    heads = {name: torch.tensor([logits] * 4) for name, logits in heads.items()}
    lacks = {"audio": np.array([False, True, False, True]), "visual": np.array([False, False, True, True])}
    assert left_out(heads, lacks, prediction).tolist() == expected
    assert heads["all"].tolist() == [[4, 7]] * 4
