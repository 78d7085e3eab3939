"""The controls and proposals beside CL and SPL: uniform order, the mix, resampling, loss weights, other criteria."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

import bss
from bss.methods.loss_weights import LossWeights, mean_one_weights
from bss.models.fusion import ConcatFusion
from bss.models.late_fusion import LateFusion
from bss.pacing import linear_pacing
from bss.recipes.recipe import CurriculumSchedule, Schedule, SelfPacedSchedule
from bss.samplers import (
    ClassMatchedSampler,
    CurriculumSampler,
    MixSampler,
    RandomPacingSampler,
    ResamplingSampler,
    SelfPacedSampler,
    UniformSampler,
)
from bss.scoring.criteria import feature_scores
from bss.scoring.orders import evenly_spaced
from bss.training.build import _check_features, parts, plan
from bss.training.run import Run
from bss.utils.errors import RecipeError
from tests import tiny

LINEAR = partial(linear_pacing, start=0.2, grow_epochs=4)  # .4, .6, .8, 1
HALF = torch.arange(50) // 25  # two classes, the second all harder
RAMP = torch.linspace(0, 2, 50)


def order_of(sampler, epoch=0):
    sampler.set_epoch(epoch)
    return sampler.global_order()


# ---- uniform ----


def test_every_sample_is_as_likely_in_every_place():
    # 4 samples, 2000 epochs: each place holds sample i in 500 of them, deviation 19.4.
    sampler = UniformSampler(4)
    orders = torch.stack([order_of(sampler, epoch) for epoch in range(2000)])
    counts = torch.stack([(orders == i).sum(dim=0) for i in range(4)])
    assert (counts - 500).abs().max() < 5 * 19.4


def test_uniform_epochs_are_the_warm_up_epochs_of_the_other_samplers():
    warming_up = CurriculumSampler(50, difficulty=RAMP, warmup_epochs=3, seed=5)
    for epoch in range(3):
        assert torch.equal(order_of(UniformSampler(50, seed=5), epoch), order_of(warming_up, epoch))


def test_uniform_batches_keep_the_class_mix_on_demand():
    order = order_of(UniformSampler(50, labels=HALF))
    # Ten batches of five; a prefix holds half of its length from each class, within one sample.
    for k in range(5, 51, 5):
        assert abs(int(HALF[order[:k]].sum()) - k / 2) <= 1


def test_class_balance_leaves_the_order_within_a_class_alone():
    plain, balanced = order_of(UniformSampler(50)), order_of(UniformSampler(50, labels=HALF))
    for label in (0, 1):
        assert plain[HALF[plain] == label].tolist() == balanced[HALF[balanced] == label].tolist()


# ---- the mix ----


def test_an_epoch_of_the_mix_takes_half_its_pacing_from_the_imbalanced_half():
    # Epoch 0 has 20 of 50: 20 * 20 / 100 = 4 from the harder half (25..49), 16 from the easier one; then 9 of 30 ...
    sampler = MixSampler(50, difficulty=RAMP, pacing=LINEAR)
    imbalanced = [int((order_of(sampler, epoch) >= 25).sum()) for epoch in range(5)]
    assert imbalanced == [4, 9, 16, 25, 25]


def test_every_batch_of_the_mix_has_the_same_blend():
    order = order_of(MixSampler(50, difficulty=RAMP, pacing=LINEAR))
    # 4 of 20: one in every five.
    assert [(batch >= 25).sum().item() for batch in order.split(5)] == [1, 1, 1, 1]


def test_the_members_of_the_mix_are_drawn_anew_in_every_epoch():
    sampler = MixSampler(50, difficulty=RAMP, pacing=lambda epoch: 0.4)
    seen = torch.zeros(50)
    for epoch in range(500):
        seen[order_of(sampler, epoch)] += 1
    # 16 of 25 and 4 of 25 each time: 320 (deviation 10.7) and 80 (8.2).
    assert (seen[:25] - 320).abs().max() < 5 * 10.7
    assert (seen[25:] - 80).abs().max() < 5 * 8.2


def test_there_is_no_order_inside_a_half_of_the_mix():
    sampler = MixSampler(50, difficulty=RAMP, pacing=lambda epoch: 1.0)
    first = torch.stack([(order_of(sampler, epoch) < 25).nonzero()[0, 0] for epoch in range(4)])
    leading = torch.tensor([order_of(sampler, epoch)[first[0]].item() for epoch in range(400)])
    # The mean of 0..24 is 12, its deviation 7.21; over 400 epochs .36.
    assert abs(leading.double().mean().item() - 12) < 5 * 0.36


def test_the_mix_can_begin_with_the_imbalanced_half():
    sampler = MixSampler(50, difficulty=RAMP, pacing=LINEAR, order="imbalanced_first")
    assert int((order_of(sampler) < 25).sum()) == 4


def test_the_halves_of_the_mix_keep_the_class_mix_on_demand():
    order = order_of(MixSampler(50, difficulty=RAMP, pacing=lambda epoch: 1.0, labels=HALF))
    by_half = HALF[order.reshape(25, 2)]  # balanced and imbalanced take turns
    assert sorted(by_half.sum(dim=0).tolist()) == [12, 13]
    # Within a half, classes take turns as well: eight samples hold four of each class, within two a half.
    assert all(abs(int(batch.sum()) - 4) <= 2 for batch in HALF[order].split(8)[:-1])


@given(n=st.integers(1, 200), count=st.integers(1, 200))
def test_the_mix_never_asks_a_half_for_more_than_it_has(n, count):
    count = min(n, count)
    sampler = MixSampler(n, difficulty=torch.rand(n) * 2, pacing=lambda epoch: count / n, min_size=count)
    assert len(set(order_of(sampler).tolist())) == sampler.size_at(0)


def test_an_empty_table_is_an_error_for_the_mix_too():
    with pytest.raises(ValueError, match="still empty"):
        MixSampler(50, table=bss.ScoreTable(50)).set_epoch(0)


def test_evenly_spaced_places_by_hand():
    # floor((2 j + 1) * 10 / 6) = floor(1.67), floor(5), floor(8.33)
    assert evenly_spaced(3, 10).tolist() == [1, 5, 8]
    assert evenly_spaced(0, 10).tolist() == [] and evenly_spaced(3, 3).tolist() == [0, 1, 2]


@given(places=st.integers(1, 80), data=st.data())
def test_every_window_holds_its_share_of_evenly_spaced_places(places, data):
    members = data.draw(st.integers(0, places))
    taken = torch.zeros(places + 1, dtype=torch.float64)
    taken[evenly_spaced(members, places) + 1] = 1
    assert taken.sum() == members
    excess = taken.cumsum(0) - torch.arange(places + 1) * members / places
    # A window's excess is the difference of two of these.
    assert excess.max() - excess.min() <= 1 + 1e-9


# ---- resampling ----


def test_samples_are_drawn_in_proportion_to_spls_weights():
    # Weights 2 - d: 2, 1, 1, 0: shares .5, .25, .25, 0 of 4000 draws; deviations 31.6 and 27.4.
    difficulty = torch.tensor([0.0, 1.0, 1.0, 2.0])
    sampler = ResamplingSampler(4, difficulty=difficulty, floor=0.0)
    counts = torch.cat([order_of(sampler, epoch) for epoch in range(1000)]).bincount(minlength=4)
    assert counts[3] == 0
    assert abs(counts[0].item() - 2000) < 5 * 31.6 and abs(counts[1].item() - 1000) < 5 * 27.4


def test_samples_can_be_drawn_in_proportion_to_the_papers_weights():
    # exp(1), exp(0) and exp(-1): shares .665, .245 and .090 of 3000 draws; deviations 25.8, 23.5 and 15.7.
    sampler = ResamplingSampler(3, difficulty=torch.tensor([0.0, 1.0, 2.0]), weighting="softmax")
    counts = torch.cat([order_of(sampler, epoch) for epoch in range(1000)]).bincount(minlength=3)
    expected = 3000 * torch.tensor([0.66524, 0.24473, 0.09003])
    assert ((counts - expected).abs() < 5 * torch.tensor([25.8, 23.5, 15.7])).all()


def test_a_temperature_sharpens_the_draw():
    # (2 : 1) to the power of 2 is 4 : 1.
    sampler = ResamplingSampler(2, difficulty=torch.tensor([0.0, 1.0]), floor=0.0, temperature=0.5)
    drawn = torch.cat([order_of(sampler, epoch) for epoch in range(500)])
    assert drawn.double().mean().item() == pytest.approx(0.2, abs=5 * math.sqrt(0.2 * 0.8 / 1000))


def test_where_in_the_epoch_a_sample_comes_does_not_depend_on_its_weight():
    sampler = ResamplingSampler(50, difficulty=RAMP)
    orders = torch.stack([order_of(sampler, epoch) for epoch in range(400)]).double()
    early, late = orders[:, :25].mean().item(), orders[:, 25:].mean().item()
    # The mean of 10,000 draws with deviation of at most 25 has one of .25 at most; their difference .35.
    assert abs(early - late) < 5 * 0.35


def test_with_drop_last_resampled_ranks_get_whole_batches_of_the_draw():
    options = {"difficulty": RAMP, "drop_last": True, "batch_size": 4, "num_replicas": 3}
    samplers = [ResamplingSampler(50, rank=rank, **options) for rank in range(3)]
    order = order_of(samplers[0]).tolist()
    for sampler in samplers:
        sampler.set_epoch(0)
    together = [index for step in zip(*samplers, strict=True) for index in step]
    assert len(together) == 48
    rest = iter(order)
    assert all(index in rest for index in together)  # what is left of the draw, in its order


def test_a_draw_with_replacement_can_keep_the_class_mix_of_the_set():
    # The second class is harder throughout: without labels it is drawn less often.
    assert (HALF[order_of(ResamplingSampler(50, difficulty=RAMP))] == 1).sum() < 20
    order = order_of(ResamplingSampler(50, difficulty=RAMP, labels=HALF))
    assert all(abs(int(HALF[order[:k]].sum()) - k / 2) <= 1 for k in range(1, 51)) and HALF[order].sum() == 25


# ---- batches by class ----


def test_the_batches_of_a_curriculum_keep_the_class_mix_on_demand():
    order = order_of(CurriculumSampler(50, difficulty=RAMP, pacing=LINEAR, labels=HALF))
    assert len(order) == 20
    assert [int(HALF[batch].sum()) for batch in order.split(4)] == [2] * 5


def test_spl_keeps_the_class_mix_in_every_batch_on_demand():
    order = order_of(SelfPacedSampler(50, difficulty=RAMP, labels=HALF, temperature=0.01))
    assert all(abs(int(HALF[order[:k]].sum()) - k / 2) <= 1 for k in range(1, 51))
    # So sharp a draw sorts each class.
    for label in (0, 1):
        of_class = order[HALF[order] == label]
        assert bss.scoring.rank_fraction(of_class.float()).diff().median() > 0


def test_spl_with_a_pacing_and_labels_visits_the_head_of_the_balanced_order():
    whole = order_of(SelfPacedSampler(50, difficulty=RAMP, labels=HALF))
    head = order_of(SelfPacedSampler(50, difficulty=RAMP, labels=HALF, pacing=LINEAR))
    assert head.tolist() == whole[:20].tolist()


@pytest.mark.parametrize("kind", [UniformSampler, MixSampler, ResamplingSampler, SelfPacedSampler, CurriculumSampler])
@pytest.mark.parametrize("labels", [torch.zeros(49, dtype=torch.int64), torch.zeros(50)], ids=["length", "kind"])
def test_labels_that_do_not_fit_are_refused_by_every_sampler(kind, labels):
    scores = {"difficulty": RAMP} if kind.uses_scores else {}
    with pytest.raises(ValueError, match="labels must be 50 integers"):
        kind(50, labels=labels, **scores)


# ---- criteria of a table ----


def table_of(similarity, loss):
    table = bss.ScoreTable(len(similarity))
    table.update(range(len(similarity)), similarity=torch.tensor(similarity), loss=torch.tensor(loss))
    table.synchronize()
    return table


def test_a_sampler_orders_by_the_criterion_that_it_is_given():
    table = table_of([1.0, 0.0, 0.5], [4.0, 0.0, 1.0])
    options = {"table": table, "pacing": lambda epoch: 1.0, "shuffle": False}
    assert order_of(CurriculumSampler(3, criterion="similarity", **options)).tolist() == [0, 2, 1]
    assert order_of(CurriculumSampler(3, criterion="loss", **options)).tolist() == [1, 2, 0]
    assert order_of(CurriculumSampler(3, **options)).tolist() == [2, 0, 1]  # difficulties 1, 1, .5 + .25


def test_an_unknown_criterion_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="criterion must be one of 'both', 'loss', 'similarity'"):
        UniformSampler(3, criterion="margin")
    with pytest.raises(ValueError, match="criterion"):
        table_of([0.1], [1.0]).difficulty(criterion="margin")


# ---- criteria that need features ----


def batch_of(count):
    data = tiny.features(count)
    return {"audio": data.audio, "visual": data.visual, "label": data.label}


def test_gradient_scores_are_the_norms_of_each_samples_own_backward_pass():
    model, batch = tiny.model(), batch_of(5)
    similarity, magnitude = feature_scores(model, batch, fused_weight=0.5, unimodal_weight=2.0)
    heads = [model.heads["audio"].weight, model.heads["visual"].weight, model.fusion.classifier.weight]
    for i in range(5):
        one = {name: values[i : i + 1] for name, values in batch.items()}
        logits = model(one)
        loss = 0.5 * cross_entropy(logits.fused, one["label"])
        loss = loss + 2.0 * sum(cross_entropy(z, one["label"]) for z in logits.unimodal.values())
        norms = [gradient.norm() for gradient in torch.autograd.grad(loss, heads)]
        assert magnitude[i].item() == pytest.approx(sum(norms).item(), rel=1e-5)
    features = model.encode(batch)
    cosine = torch.nn.functional.cosine_similarity(features["audio"], features["visual"])
    assert torch.allclose(similarity, cosine, atol=1e-6)


def test_prediction_and_loss_from_features_are_the_methods_own_scores():
    model, batch = tiny.model(), batch_of(7)
    similarity, loss = feature_scores(
        model, batch, similarity="prediction", information="loss", fused_weight=0.1, unimodal_weight=0.9
    )
    logits = model(batch)
    expected = bss.sample_loss(logits.fused, logits.unimodal, batch["label"], fused_weight=0.1, unimodal_weight=0.9)
    assert torch.equal(similarity, bss.prediction_similarity(logits.unimodal)) and torch.equal(loss, expected)


def test_a_scoring_pass_fills_the_table_with_the_scores_that_it_is_given():
    model, batch = tiny.model(), batch_of(6)
    table = bss.ScoreTable(6)
    bss.score_dataset(model, [(torch.arange(6), batch)], table, mode="eval", scores=feature_scores)
    similarity, magnitude = feature_scores(model, batch)
    assert torch.equal(table.similarity, similarity) and torch.equal(table.loss, magnitude.detach())


def recipe_of(numbers):
    return replace(tiny.CL, schedule=CurriculumSchedule(**numbers))


def test_a_recipe_of_logits_alone_needs_no_features():
    data = tiny.splits()
    built = parts(plan(data, tiny.CL), tiny.model(), data, tiny.CL, Run(Path(), Path(), torch.device("cpu")))
    assert built.passes.scores is None


@pytest.mark.parametrize("numbers", [{"similarity": "feature"}, {"information": "gradient"}])
def test_features_of_another_network_are_refused_with_the_way_out(numbers):
    with pytest.raises(RecipeError, match=r"network is a Linear, .*: use prediction and loss"):
        _check_features(numbers.get("similarity", "prediction"), nn.Linear(2, 2))


def test_features_of_different_lengths_are_refused_by_name():
    dims = {"audio": 4, "visual": 3}
    encoders = {name: nn.Linear(tiny.DIMS[name], dim) for name, dim in dims.items()}
    model = LateFusion(encoders, ConcatFusion(dims, 3), 3, feature_dims=dims)
    with pytest.raises(RecipeError, match=r"audio 4, visual 3: use schedule\.similarity=prediction"):
        _check_features("feature", model)
    _check_features("prediction", model)  # by their gradients they can be scored


@pytest.mark.parametrize("numbers", [{"similarity": "feature"}, {"information": "gradient"}])
def test_scores_of_features_are_not_to_be_had_from_the_training_forward(numbers):
    with pytest.raises(RecipeError, match=r"schedule\.rescore=online"):
        SelfPacedSchedule(rescore="online", **numbers)


# ---- loss weights ----


def test_mean_one_weights_by_hand():
    # Weights 2, 1, 1, 0 have mean 1 already; squared 4, 1, 1, 0 have mean 1.5.
    difficulty = torch.tensor([0.0, 1.0, 1.0, 2.0])
    assert mean_one_weights(difficulty, floor=0.0).tolist() == pytest.approx([2, 1, 1, 0])
    sharp = mean_one_weights(difficulty, floor=0.0, temperature=0.5)
    assert sharp.tolist() == pytest.approx([8 / 3, 2 / 3, 2 / 3, 0])
    hard = mean_one_weights(difficulty, floor=0.0, order="imbalanced_first")
    assert hard.tolist() == pytest.approx([0, 1, 1, 2])


def test_softmax_weights_of_three_samples_by_hand():
    # Balances 1, 0, -1: e, 1 and 1 / e have the sum 4.08616, and three times e over it is 1.99572.
    difficulty = torch.tensor([0.0, 1.0, 2.0])
    assert mean_one_weights(difficulty, kind="softmax").tolist() == pytest.approx([1.99572, 0.73418, 0.27009], abs=1e-5)
    hard = mean_one_weights(difficulty, kind="softmax", order="imbalanced_first", floor=9.0)  # no floor there
    assert hard.tolist() == pytest.approx([0.27009, 0.73418, 1.99572], abs=1e-5)
    # At temperature 2 the roots: 1.64872, 1, 0.60653 have the sum 3.25525.
    flat = mean_one_weights(difficulty, kind="softmax", temperature=2.0)
    assert flat.tolist() == pytest.approx([1.51944, 0.92159, 0.55897], abs=1e-5)


@given(
    rows=st.lists(st.floats(0, 2, width=32), min_size=1, max_size=30),
    temperature=st.floats(1e-3, 1e3),
    kind=st.sampled_from(["linear", "softmax"]),
)
def test_loss_weights_have_mean_one_whatever_the_temperature(rows, temperature, kind):
    weights = mean_one_weights(torch.tensor(rows), temperature=temperature, kind=kind)
    assert weights.isfinite().all() and (weights >= 0).all()
    assert weights.double().mean().item() == pytest.approx(1, abs=1e-5)


def test_equal_difficulties_leave_the_loss_alone():
    assert torch.equal(mean_one_weights(torch.full((8,), 0.7)), torch.ones(8))


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {"floor": -1.0}, {"order": "up"}, {"criterion": "margin"}, {"weighting": "square"}],
)
def test_bad_numbers_of_loss_weights_are_refused_by_name(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        LossWeights(**options)


def weighing(table, epoch=0, **options):
    method = LossWeights(floor=0.0, **options)
    method.begin_run(table, tiny.model())
    method.begin_epoch(epoch)
    return method


def loss_of_samples(method, index):
    index = torch.tensor(index)
    method.before_forward({"bss_index": index, "label": torch.zeros_like(index)})
    losses = {"fused": torch.ones(len(index)), "audio": torch.full((len(index),), 3.0)}
    return method.loss(losses, {"fused": 1.0, "audio": 0.5}).tolist()


def test_each_samples_loss_is_weighed_by_its_own_difficulty():
    # Difficulties 0, 1, 1, 2 (loss alone varies the last three): weights 2, 1, 1, 0 times 1 + 0.5 * 3.
    table = table_of([1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0])
    assert loss_of_samples(weighing(table), [3, 0, 2]) == pytest.approx([0.0, 5.0, 2.5])
    # Softmax: e, 1, 1, 1 / e have the sum 5.08616.
    soft = loss_of_samples(weighing(table, weighting="softmax"), [3, 0, 2])
    assert soft == pytest.approx([2.5 * 4 * w / 5.08616 for w in (0.36788, 2.71828, 1.0)], abs=1e-4)


def test_loss_weights_are_frozen_for_the_epoch_and_survive_a_stop():
    table = table_of([1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0])
    method = weighing(table)
    state = method.state_dict()
    table.update([0], similarity=torch.zeros(1), loss=torch.full((1,), 9.0))  # online: the epoch is open
    continued = LossWeights(floor=0.0)
    continued.begin_run(table, tiny.model())
    continued.load_state_dict(state)
    continued.begin_epoch(0)
    assert loss_of_samples(continued, [0, 3]) == loss_of_samples(method, [0, 3])
    table.synchronize()
    continued.begin_epoch(1)
    assert loss_of_samples(continued, [0]) != loss_of_samples(method, [0])


# ---- the controls take what their schedules give ----


@pytest.mark.parametrize(
    ("kind", "schedule"),
    [
        (UniformSampler, Schedule(start=1.0, class_balanced=True)),
        (RandomPacingSampler, CurriculumSchedule(sampler="random_pacing")),
        (ClassMatchedSampler, CurriculumSchedule(sampler="class_matched", class_balanced=True)),
        (MixSampler, CurriculumSchedule(sampler="mix", criterion="loss")),
        (ResamplingSampler, SelfPacedSchedule(sampler="resampling", temperature=0.5, class_balanced=True)),
    ],
)
def test_each_sampler_is_built_from_its_schedule(kind, schedule):
    planned = plan(replace(tiny.splits(train=50), labels_N=HALF), replace(tiny.CL, schedule=schedule))
    planned.table.update(range(50), similarity=RAMP / 50, loss=RAMP)
    planned.table.synchronize()
    sampler = planned.sampler
    assert type(sampler) is kind
    assert sampler.criterion == schedule.criterion
    assert (sampler.labels is HALF) == schedule.class_balanced
    assert len(order_of(sampler)) == sampler.size_at(0)
    assert getattr(sampler, "class_of", HALF) is HALF
