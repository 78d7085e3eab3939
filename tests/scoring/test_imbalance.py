"""How the imbalance of the modalities is measured: formulas by hand, their properties, and what a run writes of it."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bss.data.indexed import IndexedDataset
from bss.methods import ModalityDropout
from bss.models.fusion import SumFusion
from bss.models.late_fusion import LateFusion, Logits, features_seen
from bss.samplers import RandomPacingSampler
from bss.scoring import imbalance
from bss.scoring.imbalance import (
    coalition_values,
    coalitions,
    contributions,
    describe_predictions,
    imbalance_index,
    linear_probe,
    linear_probes,
    masked,
    mean_features,
    modality_gap,
    samples_won,
    shapley_values,
    true_class_probability,
)
from bss.scoring.table import ScoreTable
from bss.training.engine import fit
from bss.training.loops import Step, predict, train_epoch
from bss.training.order_log import class_distance, effective_sample_size
from bss.training.run import Run
from bss.training.run_folder import read_checkpoint
from bss.training.watch import TrainingWatch, gradient_ratio
from bss.utils.interrupts import Interrupted
from tests import tiny

CPU = torch.device("cpu")

probabilities = st.integers(1, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=n, max_size=n), min_size=2, max_size=5
    )
)


def by_name(rows):
    return {f"m{number}": torch.tensor(row, dtype=torch.float64) for number, row in enumerate(rows)}


# ---- true-class probability, gap, samples won ----------------------------------------------------------------------


def test_the_true_class_probability_is_the_softmax_at_the_label():
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]])  # probabilities 1/4 and 3/4
    assert true_class_probability(logits, torch.tensor([0, 1])).tolist() == pytest.approx([0.25, 0.75])


def test_the_gap_is_the_mean_difference_of_true_class_probabilities():
    # differences 0.5, -0.25, 0.5: mean 0.25
    probability = {"audio": torch.tensor([0.75, 0.5, 1.0]), "visual": torch.tensor([0.25, 0.75, 0.5])}
    assert modality_gap(probability) == {"audio-visual": pytest.approx(0.25)}


def test_three_modalities_have_three_gaps():
    gaps = modality_gap({"a": torch.tensor([0.75]), "b": torch.tensor([0.5]), "c": torch.tensor([0.125])})
    assert gaps == {"a-b": 0.25, "a-c": 0.625, "b-c": 0.375}


def test_a_sample_is_won_by_the_modality_that_alone_is_best():
    probability = {
        "a": torch.tensor([0.5, 0.25, 0.5, 0.75]),  # wins the last
        "b": torch.tensor([0.25, 0.5, 0.5, 0.25]),  # wins the second; the third is a tie of a and b
        "c": torch.tensor([0.5, 0.25, 0.25, 0.25]),  # the first is a tie of a and c
    }
    assert samples_won(probability) == ({"a": 0.25, "b": 0.25, "c": 0.0}, 0.5)


@given(probabilities)
def test_shares_won_and_ties_add_up_to_one(rows):
    won, ties = samples_won(by_name(rows))
    assert sum(won.values()) + ties == pytest.approx(1)
    assert all(0 <= share <= 1 for share in (*won.values(), ties))


@given(probabilities)
def test_gaps_add_up_along_a_path_and_change_sign_with_the_order(rows):
    forward, backward = modality_gap(by_name(rows)), modality_gap(dict(reversed(by_name(rows).items())))
    for one, other in itertools.combinations([f"m{number}" for number in range(len(rows))], 2):
        assert forward[f"{one}-{other}"] == pytest.approx(-backward[f"{other}-{one}"])
    if len(rows) > 2:
        assert forward["m0-m2"] == pytest.approx(forward["m0-m1"] + forward["m1-m2"])


# ---- the index -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strength", "index"),
    [
        ({"a": 0.8, "b": 0.2}, 0.75),  # 1 - 1/4
        ({"a": 0.2, "b": 0.8}, 0.75),
        ({"a": 0.5, "b": 0.5}, 0.0),
        ({"a": 0.5, "b": 0.0}, 1.0),
        ({"a": 0.5, "b": 0.4, "c": 0.1}, 0.8),  # the weakest against the strongest
        ({"a": 0.0, "b": 0.0}, None),
    ],
)
def test_the_index_is_one_minus_weakest_over_strongest(strength, index):
    assert imbalance_index(strength) == (None if index is None else pytest.approx(index))


@given(st.lists(st.floats(1e-6, 1), min_size=2, max_size=6), st.floats(0.01, 100))
def test_the_index_lies_in_zero_to_one_and_does_not_depend_on_scale_or_order(values, scale):
    index = imbalance_index({str(number): value for number, value in enumerate(values)})
    assert 0 <= index <= 1
    scaled = {str(number): scale * value for number, value in enumerate(reversed(values))}
    assert imbalance_index(scaled) == pytest.approx(index, abs=1e-9)


@pytest.mark.parametrize("strength", [{"a": 0.5, "b": value} for value in (-0.1, math.nan, math.inf)] + [{"a": 0.5}])
def test_there_is_no_index_of_what_is_no_strength_nor_of_one_modality(strength):
    with pytest.raises(AssertionError, match=r"'a': 0\.5"):
        imbalance_index(strength)


def test_what_predictions_say_is_computed_from_the_modalities_own_heads():
    third = math.log(3)
    audio = torch.tensor([[third, 0.0], [0.0, third]])  # 3/4 for the right class, both times
    visual = torch.tensor([[0.0, 0.0], [0.0, 0.0]])  # 1/2
    assert describe_predictions({"audio": audio, "visual": visual}, torch.tensor([0, 1])) == {
        "index": pytest.approx(1 / 3),
        "true_class_probability": {"audio": pytest.approx(0.75), "visual": 0.5},
        "gap": {"audio-visual": pytest.approx(0.25)},
        "won": {"audio": 1.0, "visual": 0.0},
        "ties": 0.0,
    }


# ---- Shapley values ------------------------------------------------------------------------------------------------


def game(**values):
    """``game(none=1, a=2, ab=5)``: a value function, the players of a coalition being the letters of its name."""
    return {frozenset("" if name == "none" else name): float(value) for name, value in values.items()}


def test_shapley_values_of_two_players_are_the_mean_of_joining_first_and_second():
    # a first adds 4 - 1 = 3, second 10 - 2 = 8: 5.5; b first adds 1, second 6: 3.5; together 9 = 10 - 1
    assert shapley_values(game(none=1, a=4, b=2, ab=10)) == {"a": 5.5, "b": 3.5}


def test_the_glove_game_gives_the_scarce_glove_two_thirds():
    # One left glove (l), two right ones (r, s); only a pair is worth 1.
    pairs = game(none=0, l=0, r=0, s=0, lr=1, ls=1, rs=0, lrs=1)
    assert shapley_values(pairs) == pytest.approx({"l": 2 / 3, "r": 1 / 6, "s": 1 / 6})


def test_in_an_additive_game_everybody_gets_what_he_brings():
    worth = {"a": 0.5, "b": -0.25, "c": 2.0, "d": 0.0}
    value = {subset: 7 + sum(worth[player] for player in subset) for subset in coalitions(worth)}
    assert shapley_values(value) == pytest.approx(worth)


def games(players="abcd"):
    sizes = st.integers(1, len(players))
    return sizes.flatmap(
        lambda count: st.lists(st.floats(-10, 10), min_size=2**count, max_size=2**count).map(
            lambda values: dict(zip(coalitions(players[:count]), values, strict=True))
        )
    )


@given(games())
def test_shapley_values_add_up_to_all_less_none(value):
    everybody = max(value, key=len)
    assert math.fsum(shapley_values(value).values()) == pytest.approx(value[everybody] - value[frozenset()], abs=1e-9)


@given(games())
def test_shapley_values_are_the_mean_over_all_orders_of_joining(value):
    players = sorted(max(value, key=len))
    gains = {player: [] for player in players}
    for order in itertools.permutations(players):
        for place, player in enumerate(order):
            gains[player].append(value[frozenset(order[: place + 1])] - value[frozenset(order[:place])])
    expected = {player: math.fsum(values) / len(values) for player, values in gains.items()}
    assert shapley_values(value) == pytest.approx(expected, abs=1e-9)


@given(st.integers(2, 6), st.lists(st.floats(-5, 5), min_size=7, max_size=7))
def test_players_whom_the_game_does_not_tell_apart_get_the_same(count, by_size):
    value = {subset: by_size[len(subset)] for subset in coalitions("abcdef"[:count])}
    assert shapley_values(value) == pytest.approx(
        dict.fromkeys("abcdef"[:count], (by_size[count] - by_size[0]) / count)
    )


def test_a_player_who_adds_nothing_gets_nothing():
    value = {subset: float(len(subset - {"idle"}) ** 2) for subset in coalitions(["a", "b", "idle"])}
    assert shapley_values(value)["idle"] == 0


def test_a_coalition_without_a_value_is_noticed():
    with pytest.raises(AssertionError, match="a coalition has no value"):
        shapley_values(game(none=0, a=1, ab=2))


def test_coalitions_run_from_none_to_all():
    assert [sorted(subset) for subset in coalitions(["x", "y"])] == [[], ["x"], ["y"], ["x", "y"]]


# ---- contributions of a network ------------------------------------------------------------------------------------


class Linear2(nn.Module):
    """A modality's tensor is its feature."""

    def forward(self, values):
        return values


def network(names=("a", "b"), fusion=SumFusion):
    """Heads and fusion whose weights are unit matrices and whose biases are 0: logits are features, or their sum."""
    dims = dict.fromkeys(names, 2)
    model = LateFusion({name: Linear2() for name in names}, fusion(dims, 2), 2, feature_dims=dims)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.copy_(torch.eye(2) if name.endswith("weight") else torch.zeros(2))
    return model.eval()


FEATURES = {"a": torch.tensor([[4.0, 0.0], [3.0, 0.0]]), "b": torch.tensor([[0.0, 1.0], [0.0, 9.0]])}
TARGET = torch.tensor([0, 1])


def test_masking_replaces_a_modality_for_every_sample_alike():
    fill = {"a": torch.tensor([7.0, 8.0]), "b": torch.tensor([5.0, 6.0])}
    hidden = masked(FEATURES, frozenset({"b"}), fill)
    assert hidden["a"].tolist() == [[7.0, 8.0], [7.0, 8.0]] and hidden["b"] is FEATURES["b"]


def test_the_values_of_coalitions_are_what_the_heads_achieve_on_masked_features():
    fill = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([0.0, 0.0])}
    values = coalition_values(network(), FEATURES, fill, TARGET, prediction="unimodal")
    # The prediction is a + b. None: (1, 0) for both, one right. a: (4, 0), (3, 0): one right. b: (1, 1) a tie that
    # argmax gives to class 0, (1, 9): both right. Both: (4, 1), (3, 9): both right.
    assert values["accuracy"] == {
        frozenset(): 0.5,
        frozenset("a"): 0.5,
        frozenset("b"): 1.0,
        frozenset("ab"): 1.0,
    }
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    assert values["probability"][frozenset()] == pytest.approx((sigmoid(1) + sigmoid(-1)) / 2)
    assert values["probability"][frozenset("ab")] == pytest.approx((sigmoid(3) + sigmoid(6)) / 2)


def test_the_fused_head_counts_in_the_prediction_of_all_heads():
    fill = {name: torch.zeros(2) for name in "ab"}
    alone = coalition_values(network(), FEATURES, fill, TARGET, prediction="unimodal")["probability"]
    fused = coalition_values(network(), FEATURES, fill, TARGET, prediction="all")["probability"]
    # The fused head adds the same sum again: logits twice as large.
    doubled = (torch.tensor([[8.0, 2.0], [6.0, 18.0]]).double().softmax(dim=1)[[0, 1], [0, 1]]).mean()
    assert fused[frozenset("ab")] == pytest.approx(float(doubled)) and fused != alone


def test_contributions_are_the_shapley_values_of_the_coalitions():
    fill = {"a": torch.tensor([1.0, 0.0]), "b": torch.tensor([0.0, 0.0])}
    found = contributions(network(), FEATURES, fill, TARGET, prediction="unimodal")
    # a adds 0 first and 0 second; b adds 0.5 either way.
    assert found["accuracy"] == {"a": 0.0, "b": 0.5}
    assert sum(found["probability"].values()) == pytest.approx(
        (1 / (1 + math.exp(-3)) + 1 / (1 + math.exp(-6))) / 2 - 0.5
    )


@given(st.integers(2, 6), st.integers(0, 100))
def test_contributions_add_up_for_two_to_six_modalities(count, seed):
    names = "abcdef"[:count]
    chance = torch.Generator().manual_seed(seed)
    features = {name: torch.randn(9, 2, generator=chance) for name in names}
    target = torch.randint(2, (9,), generator=chance)
    model = network(names)
    fill = {name: values.mean(dim=0) for name, values in features.items()}
    values = coalition_values(model, features, fill, target, prediction="all")
    for name, phi in contributions(model, features, fill, target, prediction="all").items():
        assert sum(phi.values()) == pytest.approx(values[name][frozenset(names)] - values[name][frozenset()])


def test_seven_modalities_have_no_exact_contributions():
    features = {name: torch.zeros(1, 2) for name in "abcdefg"}
    model, fill = network("abcdefg"), {name: torch.zeros(2) for name in "abcdefg"}
    assert contributions(model, features, fill, torch.tensor([0]), prediction="all") is None


def test_contributions_do_not_depend_on_how_many_samples_the_heads_see_at_once(monkeypatch):
    chance = torch.Generator().manual_seed(0)
    features = {name: torch.randn(50, 2, generator=chance) for name in "ab"}
    target = torch.randint(2, (50,), generator=chance)
    fill = {name: torch.zeros(2) for name in "ab"}
    at_once = contributions(network(), features, fill, target, prediction="all")
    monkeypatch.setattr(imbalance, "CHUNK", 7)
    in_parts = contributions(network(), features, fill, target, prediction="all")
    assert in_parts["accuracy"] == at_once["accuracy"]
    assert in_parts["probability"] == pytest.approx(at_once["probability"])


def test_mean_features_are_means_over_samples():
    means = mean_features(FEATURES)
    assert means["a"].tolist() == [3.5, 0.0] and means["b"].tolist() == [0.0, 5.0]


# ---- linear probes -------------------------------------------------------------------------------------------------


def test_a_probe_finds_what_is_linear_in_the_features_and_nothing_else():
    chance = torch.Generator().manual_seed(0)
    label = torch.arange(200) % 2
    plain = torch.randn(200, 3, generator=chance)
    telling = plain + 6 * label.unsqueeze(1)
    first, second = slice(0, 100), slice(100, 200)
    accuracy, unconverged = linear_probes(
        {"telling": telling[first], "noise": plain[first]},
        label[first],
        {"telling": telling[second], "noise": plain[second]},
        label[second],
    )
    assert accuracy["telling"] == 1.0 and accuracy["noise"] < 0.7 and unconverged == []


def test_a_probe_sees_a_telling_feature_however_small_its_numbers_are():
    label = torch.arange(80) % 2
    noise = torch.randn(80, generator=torch.Generator().manual_seed(0))
    features = torch.stack((1e-4 * (2.0 * label - 1), noise), dim=1)  # the penalty on weights would hide the first
    assert linear_probe(features[:40], label[:40], features[40:], label[40:])[0] == 1.0


def test_a_probe_is_measured_on_the_test_part():
    features, label = torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1])
    swapped = linear_probe(features, label, features, 1 - label)
    assert linear_probe(features, label, features, label) == (1.0, True) and swapped == (0.0, True)


def test_a_probe_does_not_depend_on_the_scale_of_the_features():
    chance = torch.Generator().manual_seed(1)
    features, label = torch.randn(90, 4, generator=chance), torch.arange(90) % 3
    small = linear_probe(features[:60], label[:60], features[60:], label[60:])
    large = linear_probe(1000 * features[:60] + 5, label[:60], 1000 * features[60:] + 5, label[60:])
    assert small == large


def test_a_fit_that_is_cut_short_says_so():
    chance = torch.Generator().manual_seed(2)
    features, label = torch.randn(60, 8, generator=chance), torch.arange(60) % 3
    assert linear_probe(features, label, features, label, max_iter=1)[1] is False


def test_a_probe_needs_two_classes():
    with pytest.raises(ValueError, match="class"):
        linear_probe(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64), torch.zeros(3, 1), torch.zeros(3))


# ---- the order -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "share"),
    [
        ([1.0, 1.0, 1.0, 1.0], 1.0),
        ([1.0, 0.0, 0.0, 0.0], 0.25),
        ([3.0, 1.0], 0.8),  # (3 + 1)^2 / (2 * (9 + 1))
        ([2.0, 1.0, 1.0], 16 / 18),
        ([3e300, 1e300], 0.8),
        ([3e-300, 1e-300], 0.8),
    ],
)
def test_the_effective_sample_size_is_kishs(weights, share):
    assert effective_sample_size(torch.tensor(weights, dtype=torch.float64)) == pytest.approx(share)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20))
def test_the_effective_sample_size_lies_between_one_sample_and_all(weights):
    share = effective_sample_size(torch.tensor(weights))
    assert 1 / len(weights) - 1e-9 <= share <= 1 + 1e-9


@pytest.mark.parametrize("weights", [[], [0.0, 0.0], [1.0, -1.0], [math.nan]])
def test_weights_that_are_none_have_no_effective_sample_size(weights):
    with pytest.raises(AssertionError):
        effective_sample_size(torch.tensor(weights))


@pytest.mark.parametrize(
    ("some", "others", "distance"),
    [
        ([0, 1], [0, 1, 0, 1], 0.0),
        ([0, 0], [1, 1, 1], 1.0),
        ([0, 0, 0, 1], [0, 1], 0.25),  # (|3/4 - 1/2| + |1/4 - 1/2|) / 2
        ([0], [0, 1, 2, 3], 0.75),
        ([2], [0, 2], 0.5),
    ],
)
def test_the_class_distance_is_half_the_sum_of_the_differences_of_shares(some, others, distance):
    assert class_distance(torch.tensor(some), torch.tensor(others)) == pytest.approx(distance)


labels = st.lists(st.integers(0, 4), min_size=1, max_size=15).map(torch.tensor)


@given(labels, labels, labels)
def test_the_class_distance_is_a_distance(one, two, three):
    assert class_distance(one, one) == 0
    assert class_distance(one, two) == pytest.approx(class_distance(two, one))
    assert class_distance(one, three) <= class_distance(one, two) + class_distance(two, three) + 1e-12
    assert 0 <= class_distance(one, two) <= 1 + 1e-12


# ---- while it trains -----------------------------------------------------------------------------------------------


def test_the_gradient_ratio_is_largest_over_smallest():
    assert gradient_ratio({"a": 2.0, "b": 8.0, "c": 4.0}) == 4.0


@pytest.mark.parametrize(
    "norm", [{}, {"a": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 1.0, "b": None}, {"a": 1.0, "b": math.inf}]
)
def test_without_two_gradients_there_is_no_ratio(norm):
    assert gradient_ratio(norm) is None


def set_gradients(model, audio, visual):
    for name, value in (("audio", audio), ("visual", visual)):
        weight, bias = model.encoders[name].parameters()
        weight.grad, bias.grad = torch.zeros_like(weight), torch.zeros_like(bias)
        weight.grad[0, 0], bias.grad[0] = value


def test_the_watch_averages_the_norm_over_all_of_an_encoders_parameters():
    model = tiny.model()
    watch = TrainingWatch(model)
    set_gradients(model, (3.0, 4.0), (0.0, 1.0))  # norms 5 and 1
    watch.see({})
    set_gradients(model, (0.0, 7.0), (0.0, 3.0))  # norms 7 and 3
    watch.see({})
    assert watch.gradient_norm() == {"audio": 6.0, "visual": 2.0}
    watch.reset()
    assert watch.gradient_norm() == {"audio": None, "visual": None}


def test_a_frozen_encoder_has_no_gradient_norm():
    model = tiny.model()
    model.encoders["audio"].requires_grad_(False)
    watch = TrainingWatch(model)
    batch = {"audio": torch.ones(2, 6), "visual": torch.ones(2, 5)}
    model(batch).fused.sum().backward()
    watch.see({})
    norm = watch.gradient_norm()
    assert norm["audio"] is None and norm["visual"] > 0


def test_a_step_whose_gradients_overflow_does_not_count():
    model = tiny.model()
    watch = TrainingWatch(model)
    set_gradients(model, (math.inf, 0.0), (math.inf, math.nan))
    watch.see({})
    assert watch.gradient_norm() == {"audio": None, "visual": None}
    set_gradients(model, (3.0, 4.0), (0.0, 2.0))
    watch.see({})
    assert watch.gradient_norm() == {"audio": 5.0, "visual": 2.0}


def test_the_watch_averages_features_over_samples():
    watch = TrainingWatch(tiny.model())
    watch.see({"audio": torch.tensor([[1.0], [3.0]]), "visual": torch.tensor([[0.0], [0.0]])})
    assert watch.mean_features()["audio"].tolist() == [2.0]
    watch.see({"audio": torch.tensor([[8.0]]), "visual": torch.tensor([[3.0]])})  # (1 + 3 + 8) / 3, 3 / 3
    assert {name: mean.tolist() for name, mean in watch.mean_features().items()} == {"audio": [4.0], "visual": [1.0]}


def test_the_watch_leaves_hidden_features_out_of_their_mean():
    watch = TrainingWatch(tiny.model())
    features = {"audio": torch.tensor([[4.0], [0.0]]), "visual": torch.tensor([[1.0], [3.0]])}
    kept = {"audio": torch.tensor([True, False]), "visual": torch.tensor([True, True])}
    watch.see(features, kept)
    assert {name: mean.tolist() for name, mean in watch.mean_features().items()} == {"audio": [4.0], "visual": [2.0]}
    watch.reset()
    watch.see({name: torch.zeros(2, 1) for name in features}, {"audio": torch.tensor([False, False])})
    assert watch.mean_features() is None  # no audio was looked at


@pytest.mark.parametrize("main", [True, False])
def test_the_sums_of_an_epoch_that_goes_on_are_carried_by_one_process(monkeypatch, main):
    before, after = TrainingWatch(tiny.model()), TrainingWatch(tiny.model())
    before.see({"audio": torch.tensor([[4.0]]), "visual": torch.tensor([[2.0]])})
    monkeypatch.setattr(imbalance.distributed, "is_main", lambda: main)
    after.load_state_dict(before.state_dict(), torch.device("cpu"))
    after.see({"audio": torch.tensor([[0.0]]), "visual": torch.tensor([[0.0]])})
    expected = {"audio": [2.0], "visual": [1.0]} if main else {"audio": [0.0], "visual": [0.0]}
    assert {name: mean.tolist() for name, mean in after.mean_features().items()} == expected


def test_training_with_hidden_modalities_tells_the_watch_which_are_hidden(monkeypatch):
    network, told = tiny.model(), []
    monkeypatch.setattr(TrainingWatch, "see", lambda self, features, kept=None: told.append((features, kept)))
    method = ModalityDropout(probability=0.9, seed=1)
    method.begin_run(ScoreTable(20), network)
    method.begin_epoch(0)
    batch = torch.utils.data.default_collate([IndexedDataset(tiny.splits(train=20).train)[i] for i in range(20)])
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    train_epoch(Step(network, optimizer, method=method, watch=TrainingWatch(network)), [batch])
    ((features, kept),) = told
    assert any((~keep_B).any() for keep_B in kept.values())
    assert all((features[name][~keep_B] == 0).all() for name, keep_B in kept.items())


def test_the_watch_looks_at_every_fourth_step_of_a_late_fusion():
    watch = TrainingWatch(tiny.model())
    assert [step for step in range(10) if watch.due(step)] == [0, 4, 8]
    other = TrainingWatch(nn.Linear(1, 1))
    assert not other.due(0) and other.gradient_norm() == {} and other.mean_features() is None


def test_features_are_seen_in_the_block_and_no_hook_is_left():
    model, batch = tiny.model(), {"audio": torch.ones(2, 6), "visual": torch.ones(2, 5)}
    with features_seen(model) as seen:
        model(batch)
        expected = model.encode(batch)
    assert all(torch.equal(seen[name], expected[name]) for name in expected)
    assert not model.fusion._forward_pre_hooks


def loader(count=24):
    return torch.utils.data.DataLoader(tiny.features(count), batch_size=8)


def test_watching_does_not_change_the_training():
    weights = []
    for watched in (False, True):
        model = tiny.model(norm=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        train_epoch(Step(model, optimizer, watch=TrainingWatch(model) if watched else None), loader())
        weights.append(model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_watch_sees_the_gradients_and_features_of_the_training_step():
    model = tiny.model()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    watch = TrainingWatch(model)
    train_epoch(Step(model, torch.optim.SGD(model.parameters(), lr=1.0), watch=watch), loader(8))  # a single step
    # With plain SGD and learning rate 1 the step is the gradient.
    for name, norm in watch.gradient_norm().items():
        moved = [start[key] - value for key, value in model.state_dict().items() if key.startswith(f"encoders.{name}.")]
        assert norm == pytest.approx(math.sqrt(sum(float(difference.square().sum()) for difference in moved)), rel=1e-4)
    model.load_state_dict(start)
    data = tiny.features(8)
    expected = model.encode({"audio": data.audio, "visual": data.visual})
    for name, mean in watch.mean_features().items():
        torch.testing.assert_close(mean, expected[name].mean(dim=0))


# ---- predictions ---------------------------------------------------------------------------------------------------


def test_predictions_hand_out_features_only_when_asked():
    model = tiny.model()
    assert predict(model, loader()).share.features == {}
    share = predict(model, loader(), features=True).share
    assert {name: tuple(values.shape) for name, values in share.features.items()} == {
        "audio": (24, 4),
        "visual": (24, 4),
    }
    assert torch.equal(share.target, tiny.features(24).label)


def test_what_is_evaluated_with_and_without_features_is_the_same():
    model = tiny.model()
    with_features = predict(model, loader(), features=True)
    plain = predict(model, loader())
    assert all(torch.equal(with_features.heads[name], plain.heads[name]) for name in plain.heads)
    assert tiny.evaluate(model, loader())["accuracy"].keys() == plain.heads.keys()


# ---- in a run ------------------------------------------------------------------------------------------------------


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def run(folder, recipe=tiny.SPL, model=None, data=None):
    return fit(model or tiny.model(), data or tiny.splits(), recipe, Run(folder, folder, CPU))


def test_every_epoch_says_how_the_modalities_fare(tmp_path):
    run(tmp_path)
    for row in rows_of(tmp_path):
        found = row["imbalance"]
        probability = found["true_class_probability"]
        assert found["index"] == pytest.approx(1 - probability["visual"] / probability["audio"])
        assert found["gap"]["audio-visual"] == pytest.approx(probability["audio"] - probability["visual"])
        assert found["gradient_ratio"] == pytest.approx(gradient_ratio(found["gradient_norm"]))
        assert set(found["shapley"]["accuracy"]) == {"audio", "visual"}


def test_contributions_in_a_run_are_those_of_masked_features(tmp_path):
    """One epoch of one step without any learning: the mean feature is that of the first and only batch."""
    recipe = replace(tiny.SPL, epochs=1, batch_size=60, lr=1e-12, imbalance_every=1)
    model = tiny.model()
    run(tmp_path, recipe, model=model)
    data = tiny.splits()
    with torch.no_grad():
        fill = {
            name: values.mean(dim=0)
            for name, values in model.encode({"audio": data.train.audio, "visual": data.train.visual}).items()
        }
        features = model.encode({"audio": data.val.audio, "visual": data.val.visual})
    expected = contributions(model, features, fill, data.val.label, prediction="all")
    (row,) = rows_of(tmp_path)
    assert row["imbalance"]["shapley"]["accuracy"] == pytest.approx(expected["accuracy"], abs=1e-6)
    assert row["imbalance"]["shapley"]["probability"] == pytest.approx(expected["probability"], abs=1e-5)


def test_masking_by_zeros_is_another_measurement(tmp_path):
    found = []
    for masking in ("mean", "zero"):
        run(tmp_path / masking, replace(tiny.SPL, imbalance_masking=masking))
        found.append(rows_of(tmp_path / masking)[-1]["imbalance"]["shapley"]["probability"])
    assert found[0] != found[1]


def test_contributions_are_measured_every_so_many_epochs(tmp_path):
    run(tmp_path / "two", replace(tiny.SPL, imbalance_every=2))
    assert [row["imbalance"]["shapley"] is None for row in rows_of(tmp_path / "two")] == [True, False, True]
    summary = run(tmp_path / "never", replace(tiny.SPL, imbalance_every=0))
    assert all(row["imbalance"]["shapley"] is None for row in rows_of(tmp_path / "never"))
    assert summary["imbalance"]["probe"] is None and summary["imbalance"]["shapley"] is None


def test_measuring_does_not_change_the_run(tmp_path):
    for every in (0, 1):
        run(tmp_path / str(every), replace(tiny.SPL, imbalance_every=every))
    states = [read_checkpoint(tmp_path / name / "last.pt")["model"] for name in "01"]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("val", [24, 0])
def test_the_summary_has_probes_and_contributions_on_the_test_set(tmp_path, val):
    model, data = tiny.model(), tiny.splits(val=val)
    found = run(tmp_path, replace(tiny.SPL, val_fraction=0.2 if val else 0.0), model=model, data=data)["imbalance"]
    assert found["probe"]["audio"] > found["probe"]["visual"] and found["probe_unconverged"] == []
    with torch.no_grad():  # the model has the chosen epoch's weights
        parts = [model.eval().encode({"audio": part.audio, "visual": part.visual}) for part in (data.score, data.test)]
    expected = linear_probes(parts[0], data.score.label, parts[1], data.test.label)[0]
    assert found["probe"] == pytest.approx(expected, abs=0.04)  # one of 30 samples may lie on the border
    phi = contributions(model, parts[1], mean_features(parts[0]), data.test.label, prediction="all")
    assert found["shapley"]["probability"] == pytest.approx(phi["probability"], abs=1e-5)


class Other(nn.Module):
    """A user's network: no encoders to look into."""

    def __init__(self):
        super().__init__()
        self.audio, self.visual = nn.Linear(6, 3), nn.Linear(5, 3)

    def forward(self, batch):
        audio, visual = self.audio(batch["audio"]), self.visual(batch["visual"])
        return Logits(audio + visual, {"audio": audio, "visual": visual})


def test_a_network_without_encoders_lacks_what_needs_features(tmp_path):
    summary = run(tmp_path, model=Other())
    for found in (*(row["imbalance"] for row in rows_of(tmp_path)), summary["imbalance"]):
        assert found["shapley"] is None and 0 <= found["index"] <= 1
    assert rows_of(tmp_path)[0]["imbalance"]["gradient_norm"] == {}
    assert rows_of(tmp_path)[0]["imbalance"]["gradient_ratio"] is None
    assert summary["imbalance"]["probe"] is None


@pytest.mark.parametrize("stop_at", [2, 6])
def test_a_run_that_was_stopped_measures_the_same(tmp_path, stop_at):
    class Stopping(nn.Module):
        """Raises in the given training forward, once."""

        def __init__(self, inner):
            super().__init__()
            self.inner, self.left = inner, stop_at

        def forward(self, values):
            self.left -= self.training
            if self.left == 0:
                raise Interrupted(2)
            return self.inner(values)

    recipe = replace(tiny.SPL, checkpoint_minutes=0.0, epochs=2)

    def model():
        network = tiny.model()
        network.encoders["audio"] = Stopping(network.encoders["audio"])
        return network

    whole = model()
    whole.encoders["audio"].left = -1
    run(tmp_path / "whole", recipe, model=whole)
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped", recipe, model=model())
    again = model()
    again.encoders["audio"].left = -1
    run(tmp_path / "stopped", recipe, model=again)
    for row, other in zip(rows_of(tmp_path / "whole"), rows_of(tmp_path / "stopped"), strict=True):
        assert row["imbalance"] == other["imbalance"] and row["order"] == other["order"]


# ---- what is said of the order -------------------------------------------------------------------------------------


def test_the_log_has_the_effective_size_of_the_weights(tmp_path):
    run(tmp_path / "spl", tiny.SPL)
    sizes = [row["order"]["effective_size"] for row in rows_of(tmp_path / "spl")]
    with np.load(tmp_path / "spl" / "scores.npz") as scores:
        for size, difficulty in zip(sizes, scores["difficulty"], strict=True):
            weights = 2.01 - difficulty.astype(np.float64)
            assert size == pytest.approx(weights.sum() ** 2 / (60 * (weights**2).sum()), rel=1e-5)
    run(tmp_path / "sharp", replace(tiny.SPL, schedule=replace(tiny.SPL.schedule, temperature=0.25)))
    assert rows_of(tmp_path / "sharp")[0]["order"]["effective_size"] < sizes[0]


def test_an_order_that_was_not_drawn_by_weights_has_no_effective_size(tmp_path):
    warm = replace(tiny.SPL, schedule=replace(tiny.SPL.schedule, warmup_epochs=1))
    run(tmp_path / "cl", tiny.CL)
    run(tmp_path / "warm", warm)
    assert [row["order"]["effective_size"] for row in rows_of(tmp_path / "cl")] == [None] * 3
    sizes = [row["order"]["effective_size"] for row in rows_of(tmp_path / "warm")]
    assert sizes[0] is None and sizes[1] is not None


def test_the_log_compares_the_class_mix_of_the_epoch_with_that_of_the_training_set(tmp_path):
    run(tmp_path, replace(tiny.CL, schedule=replace(tiny.CL.schedule, sampler="random_pacing")))
    rows = rows_of(tmp_path)
    order = RandomPacingSampler(
        60, seed=tiny.CL.seed, pacing=tiny.CL.schedule.pace, min_size=8, drop_last=True, batch_size=8
    )
    label = tiny.splits().labels_N
    for row in rows:
        order.set_epoch(row["epoch"])
        seen = label[order.global_order()]
        assert row["order"]["class_distance"] == pytest.approx(class_distance(seen, label))
        start = seen[: math.ceil(len(seen) / 10)]
        assert row["order"]["class_distance_start"] == pytest.approx(class_distance(start, label))
        assert row["order"]["distinct"] == len(seen)
    assert rows[-1]["order"]["class_distance"] == 0.0  # the last epoch sees all samples
