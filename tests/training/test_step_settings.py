"""What a recipe can say of an optimiser step: a batch in parts, gradients, learning rates, encoders, the loss."""

import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from bss import methods
from bss.compare.arms import ARMS
from bss.compare.comparison import Comparison
from bss.compare.plan import YOUNGER
from bss.compare.runs import read_run
from bss.data.batches import collate, in_parts
from bss.data.indexed import INDEX_KEY, VARIANT_KEY, IndexedDataset
from bss.methods import Method
from bss.models import Logits
from bss.recipes.fields import defaults, flatten, override
from bss.recipes.recipe import Schedule, written
from bss.samplers import UniformSampler
from bss.scoring.formulas import head_losses
from bss.scoring.table import ScoreTable
from bss.training.build import check_method, class_weights_of, learning_rates, method_of, optimizer_of, plan
from bss.training.checkpoint import difference, identity_without_data, with_newer_fields
from bss.training.engine import fit
from bss.training.loops import Step, part_sizes
from bss.training.run import Run
from bss.training.watch import TrainingWatch
from bss.utils import distributed
from bss.utils.errors import DataError, RecipeError, RunFolderError
from bss.utils.interrupts import Interrupted
from tests import tiny
from tests.compare import comparing
from tests.training import ddp_worker
from tests.training.test_distributed import assert_equal_runs, launch
from tests.training.test_resume import assert_identical

CPU = torch.device("cpu")
UNIFORM = replace(tiny.CL, epochs=2, schedule=Schedule(start=1.0), imbalance_every=0)


def batch_of(count):
    data = IndexedDataset(tiny.features(count))
    return collate([data[n] for n in range(count)]) | {VARIANT_KEY: torch.arange(count) % 3}


def run_in(path):
    return Run(path, path, CPU)


# ---- a batch in parts ------------------------------------------------------------------------------------------------


def test_a_batch_is_cut_as_evenly_as_can_be_and_never_into_single_samples():
    assert part_sizes(10, 4) == [3, 3, 2, 2]
    assert part_sizes(8, 4) == [2, 2, 2, 2]
    assert part_sizes(5, 4) == [3, 2]  # a small last batch has fewer parts
    assert (part_sizes(3, 4), part_sizes(1, 4), part_sizes(8, 1)) == ([3], [1], [8])


def test_parts_have_every_sample_once_and_are_no_copies():
    tokens = torch.arange(10).view(5, 2)
    batch = {"text": {"tokens": tokens}, "clip": list("abcde"), "pair": [torch.arange(5), torch.ones(5)]}
    first, second = in_parts(batch, [3, 2])
    assert torch.equal(torch.cat([first["text"]["tokens"], second["text"]["tokens"]]), tokens)
    assert first["text"]["tokens"].data_ptr() == tokens.data_ptr()
    assert first["clip"] + second["clip"] == list("abcde")
    assert first["pair"][0].tolist() == [0, 1, 2] and second["pair"][0].tolist() == [3, 4]
    assert in_parts(batch, [5])[0] is batch


@pytest.mark.parametrize(
    ("value", "words"), [(torch.ones(4), "4 entries"), (torch.ones(()), "a Tensor"), (0.5, "a float")]
)
def test_what_has_not_one_entry_for_each_sample_cannot_be_cut(value, words):
    with pytest.raises(DataError, match=f"mask has {words} for a batch of 5 samples, .*accumulate=1"):
        in_parts({"label": torch.zeros(5), "mask": value}, [3, 2])


class Biases(nn.Module):
    """Three heads that say the same of every sample."""

    def __init__(self):
        super().__init__()
        self.heads = nn.ParameterDict({name: nn.Parameter(torch.zeros(3)) for name in ("fused", *tiny.DIMS)})

    def forward(self, batch):
        said = {name: bias.repeat(len(batch["label"]), 1) for name, bias in self.heads.items()}
        return Logits(said.pop("fused"), said)


@pytest.mark.parametrize("parts", [1, 2])
def test_the_gradient_of_a_batch_in_unequal_parts_is_that_of_the_batch(parts):
    """By hand: from equal logits it is 1/3 minus each class's share, of which parts of 3 and 2 samples have others."""
    network = Biases()
    batch = {"label": torch.tensor([0, 0, 0, 1, 2]), INDEX_KEY: torch.arange(5)}
    step = Step(network, torch.optim.SGD(network.parameters(), lr=1.0), accumulate=parts)
    loss, count = step.take(batch, 0)
    assert count == 5 and loss.item() == pytest.approx(5 * 3 * 1.0986123)  # three heads, ln 3 each
    for bias in network.heads.values():
        assert bias.detach().tolist() == pytest.approx([3 / 5 - 1 / 3, 1 / 5 - 1 / 3, 1 / 5 - 1 / 3], abs=1e-6)


REFUSED = {"agm", "mmpareto", "mla"}


def stepped(name, parts, *, precision="fp32", scaler=None):
    """A network after two steps of a method with batches of ten, its watch, and its table."""
    recipe = ddp_worker.recipe_for(None if name is None else methods.BY_NAME[name], replace(UNIFORM, method=name))
    method, network, table = method_of(recipe, 10), tiny.model(), ScoreTable(10)
    online = ScoreTable(10)
    table.update(torch.arange(10), similarity=torch.linspace(0, 1, 10), loss=torch.linspace(2, 1, 10))
    table.synchronize()
    method.begin_run(table, network)
    method.begin_epoch(0)
    watch = TrainingWatch(network)
    step = Step(
        network,
        torch.optim.SGD(network.parameters(), lr=0.5),
        fused_weight=recipe.fused_weight,
        table=None if method.hides_modalities else online,
        method=method,
        watch=watch,
        precision=precision,
        scaler=scaler or torch.amp.GradScaler(enabled=False),
        accumulate=parts,
    )
    for number in range(2):
        step.take(batch_of(10), number)
        online.synchronize()
    return network, watch, online


@pytest.mark.parametrize("name", [None, *sorted(methods.BY_NAME.keys() - REFUSED)])
def test_a_method_trains_on_a_batch_in_parts_as_on_the_whole(name):
    (whole, watch, table), (cut, same, other) = stepped(name, 1), stepped(name, 4)
    for one, two in zip(whole.state_dict().values(), cut.state_dict().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    assert watch.gradient_norm() == pytest.approx(same.gradient_norm(), abs=1e-6)
    for one, two in zip(watch.mean_features().values(), same.mean_features().values(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)
    torch.testing.assert_close(table.loss, other.loss, rtol=0, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(table.similarity, other.similarity, rtol=0, atol=1e-6, equal_nan=True)
    assert name in ("modality-dropout", "smv", "data-remixing") or other.loss.isfinite().all()  # no sample is lost


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_method_that_needs_the_whole_batch_is_refused_by_name(name):
    kind = methods.BY_NAME[name]
    recipe = ddp_worker.recipe_for(kind, replace(UNIFORM, method=name, accumulate=2))
    for check in (check_method, lambda recipe: plan(tiny.splits(), recipe)):
        with pytest.raises(
            RecipeError, match=rf"accumulate=2 .* {kind.__name__} needs all of it at once: .*batch_size"
        ):
            check(recipe)


def test_a_method_of_ones_own_with_a_backward_of_its_own_is_refused_unless_it_says_that_it_adds_up():
    class Own(Method):
        def backward(self, loss_B, losses, model):
            loss_B.sum().backward()

    class Adding(Own):
        needs_whole_batches = False

    with pytest.raises(RecipeError, match="Own needs all of it"):
        plan(tiny.splits(), replace(UNIFORM, accumulate=2), method=Own())
    plan(tiny.splits(), replace(UNIFORM, accumulate=2), method=Adding())


def test_the_loss_scale_of_fp16_is_the_same_for_all_parts():
    networks = [stepped(None, parts, scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))[0] for parts in (1, 4)]
    for one, two in zip(*(network.state_dict().values() for network in networks), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scheduled", [UNIFORM, ddp_worker.ONLINE, ddp_worker.CL], ids=["uniform", "online", "cl"])
def test_a_run_in_parts_has_the_same_steps_orders_and_scores(scheduled, tmp_path):
    recipe = replace(scheduled, batch_size=12, updates=7)
    for parts in (1, 3):
        fit(tiny.model(), tiny.splits(), replace(recipe, accumulate=parts), run_in(tmp_path / str(parts)))
    if scheduled is not UNIFORM:  # which has no scores
        assert_equal_runs(tmp_path / "1", tmp_path / "3", tolerance=2e-6)
    one, three = (tiny.rows(tmp_path / str(parts)) for parts in (1, 3))
    assert [(row["samples"], row["steps"]) for row in one] == [(row["samples"], row["steps"]) for row in three]
    assert [row["train_loss"] for row in one] == pytest.approx([row["train_loss"] for row in three], abs=2e-6)


def test_batchnorm_takes_its_statistics_from_each_part():
    counts = []
    for parts in (1, 4):
        network = tiny.model(norm=True)
        step = Step(network, torch.optim.SGD(network.parameters(), lr=0.1), accumulate=parts)
        step.take(batch_of(10), 0)
        counts.append(int(network.encoders["audio"][1].num_batches_tracked))
    assert counts == [1, 4]


def test_parts_of_less_than_two_samples_are_refused(monkeypatch):
    with pytest.raises(RecipeError, match=r"accumulate=5 cuts batch_size=8 .* may be 4 at most"):
        replace(UNIFORM, accumulate=5)
    with pytest.raises(RecipeError, match="accumulate must be >= 1, got 0"):
        override(UNIFORM, ["accumulate=0"])
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    plan(tiny.splits(), replace(UNIFORM, accumulate=2))
    with pytest.raises(RecipeError, match=r"accumulate=4 cuts the 4 samples that each process has .* may be 2 at most"):
        plan(tiny.splits(), replace(UNIFORM, accumulate=4))


def test_two_processes_average_the_gradients_once_a_step_and_come_to_the_same(tmp_path):
    """Sums in another order aside, to the weights of one process that runs whole batches."""
    ddp_worker.train_in_parts(tmp_path / "whole", accumulate=1)
    statuses, said = launch(2, "parts", tmp_path)
    assert statuses == [0, 0], said
    assert_equal_runs(tmp_path / "whole", tmp_path / "parts", tolerance=2e-6)
    steps = sum(row["steps"] for row in tiny.rows(tmp_path / "parts"))
    assert all(f"{2 * steps} of {3 * steps} backward passes for oneself" in text for text in said), said


# ---- clipped gradients -----------------------------------------------------------------------------------------------

ONE_CLASS = {"label": torch.zeros(4, dtype=torch.int64), INDEX_KEY: torch.arange(4)}


@pytest.mark.parametrize("parts", [1, 2])
def test_the_gradients_together_are_scaled_down_to_the_norm(parts):
    """By hand: all samples of one class, so each bias's gradient is (-2/3, 1/3, 1/3), of three heads sqrt(2) long."""
    for clip_norm, factor in ((0.5, 0.5 / 2**0.5), (10.0, 1.0), (None, 1.0)):
        network = Biases()
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        Step(network, optimizer, clip_norm=clip_norm, accumulate=parts).take(ONE_CLASS, 0)
        for bias in network.heads.values():
            assert bias.detach().tolist() == pytest.approx([factor * 2 / 3, -factor / 3, -factor / 3], abs=1e-6)


def test_what_is_clipped_is_of_the_true_size_and_after_what_a_method_does():
    class Larger(Method):
        def after_backward(self, model, logits, target):
            for parameter in model.parameters():
                parameter.grad.mul_(100)

    for scale in (1.0, 1024.0):
        network, scaler = Biases(), torch.amp.GradScaler("cpu", init_scale=scale)
        optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
        Step(network, optimizer, scaler=scaler, method=Larger(), clip_norm=0.5).take(ONE_CLASS, 0)
        moved = torch.cat([bias.detach() for bias in network.heads.values()]).norm()
        assert moved.item() == pytest.approx(0.5, abs=1e-5)


def test_an_overflow_in_fp16_leaves_clipped_weights_as_they_are():
    network, scaler = tiny.model(), torch.amp.GradScaler("cpu", init_scale=2.0**100)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step = Step(network, torch.optim.SGD(network.parameters(), lr=0.1), precision="fp16", scaler=scaler, clip_norm=1.0)
    step.take(batch_of(8), 0)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert scaler.get_scale() == 2.0**99


@pytest.mark.parametrize("value", ["0", "-1"])
def test_a_norm_to_clip_to_is_positive(value):
    with pytest.raises(RecipeError, match=f"clip_norm must be > 0, or none, got {float(value)}"):
        override(UNIFORM, [f"clip_norm={value}"])


# ---- the learning rate -----------------------------------------------------------------------------------------------


def rates_of(recipe, *, steps=None, at=range(8)):
    """The learning rate of each epoch, or at numbers of updates."""
    length = recipe.epochs if steps is None else recipe.updates
    kind = {"kind": recipe.lr_schedule, "warmup": recipe.lr_warmup, "length": length, "steps": steps}
    rate = learning_rates(recipe.lr, recipe.lr_gamma, recipe.lr_step, **kind)
    return [rate(place, place) for place in at]


def test_the_learning_rate_by_hand():
    recipe = replace(UNIFORM, epochs=4, lr=0.8)
    cosine = replace(recipe, lr_schedule="cosine")  # (1 + cos(0, 45, 90, 135 degrees)) / 2
    assert rates_of(cosine, at=range(4)) == pytest.approx([0.8, 0.8 * 0.8535534, 0.4, 0.8 * 0.1464466])
    assert rates_of(replace(recipe, lr_schedule="constant", lr_step=1), at=range(4)) == [0.8] * 4
    warm = replace(recipe, lr_warmup=3, lr_step=2, lr_gamma=0.1)
    assert rates_of(warm) == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.08, 0.08, 0.008])


@pytest.mark.parametrize("warmup", [0, 1, 3])
@pytest.mark.parametrize("kind", ["step", "cosine", "constant"])
def test_the_learning_rates_are_those_of_torchs_schedulers(kind, warmup):
    recipe = replace(UNIFORM, epochs=11, lr=0.3, lr_schedule=kind, lr_warmup=warmup, lr_step=2, lr_gamma=0.5)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    of = torch.optim.lr_scheduler
    if kind == "step":
        after = of.StepLR(optimizer, step_size=2, gamma=0.5)
    elif kind == "cosine":
        after = of.CosineAnnealingLR(optimizer, T_max=recipe.epochs - warmup)
    else:
        after = of.ConstantLR(optimizer, factor=1.0)
    scheduler = after
    if warmup:
        rising = of.LinearLR(optimizer, start_factor=1 / (warmup + 1), total_iters=warmup)
        scheduler = of.SequentialLR(optimizer, [rising, after], milestones=[warmup])
    found = []
    for _ in range(recipe.epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates_of(recipe, at=range(11)) == pytest.approx(found)


@pytest.mark.parametrize("kind", ["step", "cosine"])
def test_by_updates_the_steps_of_uniform_epochs_count_and_the_end_is_that_of_the_updates(kind):
    recipe = replace(UNIFORM, epochs=6, lr_schedule=kind, lr_warmup=2, lr_step=1)
    counted = replace(recipe, updates=6 * 7)
    assert rates_of(counted, steps=7, at=[0, 6, 7, 14, 41]) == [rates_of(recipe)[epoch] for epoch in (0, 0, 1, 2, 5)]


def test_a_run_has_these_rates_whatever_its_sampler_and_a_method_multiplies_them(tmp_path):
    recipe = replace(tiny.CL, epochs=4, lr=0.5, lr_schedule="cosine", lr_warmup=1)
    fit(tiny.model(), tiny.splits(), recipe, run_in(tmp_path))
    assert [row["lr"] for row in tiny.rows(tmp_path)] == pytest.approx([0.25, 0.5, 0.375, 0.125])


def test_a_warm_up_that_leaves_nothing_is_refused():
    with pytest.raises(RecipeError, match="lr_warmup=2 leaves nothing of epochs=2"):
        replace(UNIFORM, lr_warmup=2)
    with pytest.raises(RecipeError, match="lr_warmup must be >= 0, got -1"):
        override(UNIFORM, ["lr_warmup=-1"])
    counted = replace(UNIFORM, lr_warmup=2, updates=14)  # 60 samples are 7 batches of 8
    with pytest.raises(RecipeError, match=r"lr_warmup=2 leaves nothing of updates=14: .* has 7 of them"):
        plan(tiny.splits(), counted)
    plan(tiny.splits(), replace(counted, updates=15))


def test_a_run_whose_rates_depend_on_its_end_does_not_go_on_with_more_epochs(tmp_path):
    for kind, counts in (("cosine", False), ("constant", True), ("step", True)):
        recipe, run = replace(UNIFORM, lr_schedule=kind), replace(run_in(tmp_path / kind), resume=True)
        fit(tiny.model(), tiny.splits(), recipe, run)
        if counts:
            fit(tiny.model(), tiny.splits(), replace(recipe, epochs=3), run)
            continue
        with pytest.raises(RunFolderError, match=r"epochs \(of lr_schedule=cosine\): 2 there, 3 here"):
            fit(tiny.model(), tiny.splits(), replace(recipe, epochs=3), run)


# ---- the optimiser ---------------------------------------------------------------------------------------------------


def test_adamw_shrinks_the_weights_by_themselves_and_adam_by_the_gradient():
    """By hand: without a gradient of the loss, AdamW's first update is w (1 - lr d), and Adam's is lr against w."""
    for kind, expected in (("adamw", 2.0 * (1 - 0.1 * 0.5)), ("adam", 2.0 - 0.1)):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, 2.0)
        optimizer = optimizer_of(layer, kind, lr=0.1, momentum=0.9, weight_decay=0.5)
        layer.weight.grad = torch.zeros(1, 1)
        optimizer.step()
        assert layer.weight.item() == pytest.approx(expected)
        assert type(optimizer) is (torch.optim.AdamW if kind == "adamw" else torch.optim.Adam)


# ---- frozen encoders, and a rate of their own ------------------------------------------------------------------------


def test_a_frozen_encoder_stays_as_it_is_with_its_statistics_and_is_given_back(tmp_path, capsys):
    network, before = tiny.model(norm=True), tiny.model(norm=True)
    fit(network, tiny.splits(), replace(UNIFORM, freeze="audio"), run_in(tmp_path))
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before.state_dict()[name])}
    assert not [name for name in moved if name.startswith("encoders.audio")]
    assert {"encoders.visual.0.weight", "encoders.visual.1.running_mean", "heads.audio.weight"} <= moved
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert "frozen, so left in eval mode: encoders.audio" in capsys.readouterr().out
    assert tiny.rows(tmp_path)[0]["imbalance"]["gradient_norm"]["audio"] is None


@pytest.mark.parametrize("name", [None, *sorted(methods.BY_NAME)])
def test_every_method_trains_the_heads_on_frozen_encoders(name, tmp_path):
    kind = methods.BY_NAME.get(name)
    recipe = ddp_worker.recipe_for(kind, replace(UNIFORM, epochs=1, method=name, freeze=" audio, visual"))
    network, before = tiny.model(norm=True), tiny.model(norm=True)
    fit(network, tiny.splits(), recipe, run_in(tmp_path))
    for part, moves in (("encoders", False), ("heads", True)):
        pairs = zip(
            getattr(network, part).state_dict().values(), getattr(before, part).state_dict().values(), strict=True
        )
        assert any(not torch.equal(one, two) for one, two in pairs) == moves


@pytest.mark.parametrize("name", [None, "mslr"])
def test_the_encoders_have_a_learning_rate_of_their_own_which_follows_the_schedule_and_the_method(name, tmp_path):
    recipe = replace(UNIFORM, method=name, encoder_lr=0.001, lr=0.1, lr_step=1, freeze="visual", epochs=2)
    network, rates = tiny.model(), []

    class Optimizer(torch.optim.SGD):
        def step(self, closure=None):
            rates.append({id(each): group["lr"] for group in self.param_groups for each in group["params"]})
            return super().step(closure)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim, "SGD", Optimizer)
        fit(network, tiny.splits(), recipe, run_in(tmp_path))
    encoder = {id(each) for each in network.encoders["audio"].parameters()}
    others = {id(each) for part in (network.heads, network.fusion) for each in part.parameters()}
    for of_step, factor in ((rates[0], 1.0), (rates[-1], 0.1)):
        assert of_step.keys() == encoder | others
        assert [of_step[each] for each in encoder] == pytest.approx([0.001 * factor] * len(encoder))
        assert [of_step[each] for each in others] == pytest.approx([0.1 * factor] * len(others))


def test_what_cannot_be_frozen_is_refused_with_what_there_is(tmp_path):
    for text, words in (("sound", "audio, visual"), ("audio,sound", "freeze=sound is none of .*: audio, visual")):
        with pytest.raises(RecipeError, match=words):
            plan(tiny.splits(), replace(UNIFORM, freeze=text))
    for text in ("", "audio,", "audio,audio"):
        with pytest.raises(RecipeError, match="freeze must be names of modalities with commas, each once, or none"):
            replace(UNIFORM, freeze=text)
    with pytest.raises(RecipeError, match=r"encoder_lr must be > 0, or none, got 0\.0"):
        override(UNIFORM, ["encoder_lr=0"])
    for field, value in (("freeze", "audio"), ("encoder_lr", 0.1)):
        with pytest.raises(RecipeError, match=f"{field} is of encoders, and the network is a Biases"):
            fit(Biases(), tiny.splits(), replace(UNIFORM, **{field: value}), run_in(tmp_path / field))
    with pytest.raises(RecipeError, match="encoder_lr reaches nothing, for no encoder is trained"):
        fit(
            tiny.model(), tiny.splits(), replace(UNIFORM, encoder_lr=0.1, freeze="audio,visual"), run_in(tmp_path / "a")
        )
    shared = tiny.model()
    shared.encoders["visual"][0].bias = shared.encoders["audio"][0].bias
    with pytest.raises(RecipeError, match=r"freeze=audio: encoders\.visual\.0 shares weights"):
        fit(shared, tiny.splits(), replace(UNIFORM, freeze="audio"), run_in(tmp_path / "shared"))


# ---- the loss --------------------------------------------------------------------------------------------------------


def test_smoothed_and_weighted_losses_by_hand():
    """Probabilities 1/2, 1/4, 1/4: minus their logarithms are ln 2, 2 ln 2, 2 ln 2."""
    logits, target, unit = {"fused": torch.tensor([[2.0, 1.0, 1.0]]).log()}, torch.tensor([0]), 0.6931472
    for smoothing, weights, expected in (
        (0.0, None, unit),
        (0.3, None, 0.7 * unit + 0.1 * 5 * unit),
        (0.0, [2.0, 1.0, 3.0], 2 * unit),
        (0.3, [2.0, 1.0, 3.0], 0.7 * 2 * unit + 0.1 * (2 + 2 + 6) * unit),
    ):
        found = head_losses(
            logits,
            target,
            label_smoothing=smoothing,
            class_weights=None if weights is None else torch.tensor(weights),
        )
        assert found["fused"].tolist() == pytest.approx([expected])


def test_balanced_weights_are_inverse_to_the_counts_with_mean_one_over_the_samples():
    labels = torch.tensor([0, 0, 0, 1])
    weights = class_weights_of("balanced", labels, ["a", "b", "unseen"])
    assert weights.tolist() == pytest.approx([2 / 3, 2.0, 0.0]) and weights[labels].mean() == pytest.approx(1.0)
    assert class_weights_of("1,2.5,0", labels, ["a", "b", "c"]).tolist() == [1.0, 2.5, 0.0]
    assert class_weights_of(None, labels, ["a", "b"]) is None


@pytest.mark.parametrize("parts", [1, 2])
def test_weights_reach_the_gradient_by_the_number_of_samples_and_scores_not(parts):
    """By hand: with weights 1, 2, 3 the bias of class c moves by 3/5, 2/5, 3/5 less the weights' sum / 5 / 3."""
    network, table = Biases(), ScoreTable(5)
    batch = {"label": torch.tensor([0, 0, 0, 1, 2]), INDEX_KEY: torch.arange(5)}
    method = Method()
    method.losses_of = partial(head_losses, class_weights=torch.tensor([1.0, 2.0, 3.0]))
    step = Step(network, torch.optim.SGD(network.parameters(), lr=1.0), table=table, method=method, accumulate=parts)
    loss, _ = step.take(batch, 0)
    assert loss.item() == pytest.approx(8 * 3 * 1.0986123)
    for bias in network.heads.values():
        assert bias.detach().tolist() == pytest.approx([3 / 5 - 8 / 15, 2 / 5 - 8 / 15, 3 / 5 - 8 / 15], abs=1e-6)
    table.synchronize()
    assert table.loss.tolist() == pytest.approx([3 * 1.0986123] * 5)


@pytest.mark.parametrize("name", [None, *sorted(methods.BY_NAME)])
def test_smoothing_and_weights_reach_what_every_method_trains_and_no_score_before_it(name, tmp_path):
    kind, losses = methods.BY_NAME.get(name), []
    recipe = ddp_worker.recipe_for(kind, replace(tiny.SPL, epochs=1, method=name, imbalance_every=0))
    changes = ({}, {"label_smoothing": 0.2}, {"class_weights": "1,2,3"})
    for number, change in enumerate(changes):
        method = method_of(recipe, 60)
        fit(
            tiny.model(),
            tiny.splits(),
            replace(recipe, method=None, **change),
            run_in(tmp_path / str(number)),
            method=method,
        )
        losses.append(tiny.rows(tmp_path / str(number))[0]["train_loss"])
        assert method.losses_of is head_losses  # the run takes it off
    assert losses[1] != pytest.approx(losses[0], rel=1e-3) and losses[2] != pytest.approx(losses[0], rel=1e-3)
    scores = [np.load(tmp_path / str(number) / "scores.npz") for number in range(len(changes))]
    for other in scores[1:]:
        assert np.array_equal(scores[0]["loss"], other["loss"])
        assert np.array_equal(scores[0]["difficulty"], other["difficulty"])


def test_a_loss_that_makes_no_sense_is_refused():
    for text, words in (
        ("label_smoothing=1", r"label_smoothing must be in \[0, 1\), such as 0\.1, or 0 for none, got 1\.0"),
        ("label_smoothing=-0.1", "label_smoothing must be in"),
        ("class_weights=even", "class_weights must be none, balanced, or numbers >= 0 with commas, .*, got even"),
        ("class_weights=1,-1,1", "class_weights must be"),
        ("class_weights=0,0,0", "class_weights must be"),
        ("class_weights=1,nan,1", "class_weights must be"),
        ("class_weights=", "class_weights must be"),
    ):
        with pytest.raises(RecipeError, match=words):
            override(UNIFORM, [text])
    assert override(UNIFORM, ["class_weights=none"]).class_weights is None
    with pytest.raises(RecipeError, match="has 2 numbers, and the classes are 3: one for each of low, middle, high"):
        plan(tiny.splits(), replace(UNIFORM, class_weights="1,2"))


def comparison_in(out, *assignments):
    """One of the tiny task."""
    arms = tuple(arm.name for arm in ARMS)
    return Comparison(comparing.__file__, arms, (0,), "equal", assignments, data_root=out, out=out, workers=0)


# ---- an early end ----------------------------------------------------------------------------------------------------


def test_a_run_ends_early_once_validation_has_not_become_better_for_long_enough(tmp_path, capsys):
    """A rate of nearly nothing: no epoch is better than the first, so two are in vain and the third is the last."""
    still = replace(ddp_worker.ONLINE, epochs=6, lr=1e-12, patience=2)
    summary = fit(tiny.model(), tiny.splits(), still, run_in(tmp_path / "still"))
    assert (summary["stopped_early"], summary["chosen_epoch"], len(tiny.rows(tmp_path / "still"))) == (2, 0, 3)
    assert summary["updates"] == 3 * 5
    assert "stopped early after epoch 3: validation has not become better since epoch 1" in capsys.readouterr().out
    with np.load(tmp_path / "still" / "scores.npz") as scores:
        assert scores["epoch"].max() == 3
    read_run(tmp_path / "still")
    more = replace(run_in(tmp_path / "still"), resume=True)  # as if it had had them all along
    assert tiny.untimed(fit(tiny.model(), tiny.splits(), replace(still, epochs=9), more)) == tiny.untimed(summary)
    at_the_end = fit(tiny.model(), tiny.splits(), replace(still, epochs=3), run_in(tmp_path / "end"))
    assert "stopped_early" not in at_the_end


def test_the_epochs_before_an_early_end_are_those_of_a_run_without_one(tmp_path):
    recipe = replace(UNIFORM, epochs=8)
    for patience in (None, 1):
        fit(tiny.model(), tiny.splits(), replace(recipe, patience=patience), run_in(tmp_path / str(patience)))
    whole, early = (tiny.rows(tmp_path / str(patience)) for patience in (None, 1))
    accuracy = [row["val"]["accuracy"]["all"] for row in whole]
    end = next(epoch for epoch in range(1, 8) if accuracy[epoch] <= max(accuracy[:epoch]))
    assert len(early) == end + 1 < 8
    assert [tiny.untimed(row) for row in early] == [tiny.untimed(row) for row in whole[: end + 1]]


def test_an_early_end_needs_a_validation_split_and_a_run_of_its_own(tmp_path):
    with pytest.raises(RecipeError, match="patience=3 goes by a validation split, and val_fraction=0 leaves none"):
        replace(UNIFORM, patience=3, val_fraction=0.0)
    with pytest.raises(RecipeError, match="patience=3 goes by a validation split, and there is none"):
        plan(tiny.splits(val=0), replace(UNIFORM, patience=3))
    with pytest.raises(RecipeError, match="patience must be >= 1, or none, got 0"):
        override(UNIFORM, ["patience=0"])
    for budget in ("equal", "epochs"):
        asked = replace(comparison_in(tmp_path, "patience=3"), budget=budget)
        with pytest.raises(RecipeError, match=r"patience=3 is not for a comparison, .* set patience=none"):
            asked.base()
        assert replace(asked, assignments=("patience=none",)).base().patience is None


# ---- all of it together ----------------------------------------------------------------------------------------------


EVERYTHING = replace(
    ddp_worker.ONLINE,
    epochs=4,
    accumulate=2,
    clip_norm=0.5,
    optimizer="adamw",
    lr_schedule="cosine",
    lr_warmup=1,
    freeze="visual",
    encoder_lr=0.001,
    label_smoothing=0.1,
    class_weights="balanced",
    patience=3,
)


def test_every_field_younger_than_plans_is_tried():
    known = {name: getattr(UNIFORM, name) for name in YOUNGER}
    assert not [name for name, value in known.items() if getattr(EVERYTHING, name) == value]


@pytest.mark.parametrize("method", [None, "reconboost"])
def test_a_run_with_all_of_it_that_was_stopped_ends_as_if_it_had_not_been(method, tmp_path):
    recipe = ddp_worker.recipe_for(methods.BY_NAME.get(method), replace(EVERYTHING, method=method))

    def run(out, train=None):
        data = tiny.splits(noise=0.3)
        data = replace(data, train=tiny.Signalling(data.train, train, signal.SIGTERM)) if train else data
        return fit(tiny.model(norm=True, dropout=0.3), data, recipe, run_in(out))

    run(tmp_path / "whole")
    for at in (20, 60 + 20):
        with pytest.raises(Interrupted):
            run(tmp_path / "stopped", at)
    run(tmp_path / "stopped")
    assert_identical(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("name", YOUNGER)
def test_the_fields_tell_runs_apart_and_an_older_run_stands_for_their_defaults(name):
    def identity(recipe):
        return identity_without_data(UniformSampler, Method(), flatten(recipe))

    plain, changed = UNIFORM, replace(UNIFORM, **{name: getattr(EVERYTHING, name)})
    assert name in difference(identity(plain), identity(changed))
    older = {field: value for field, value in identity(plain).items() if field not in YOUNGER}
    assert with_newer_fields(older, defaults(plain)) == identity(plain)


def test_the_fields_reach_every_arm_of_a_comparison(tmp_path):
    names = [name for name in (*YOUNGER, "optimizer") if name != "patience"]
    asked = comparison_in(tmp_path, *(f"{name}={written(getattr(EVERYTHING, name))}" for name in names))
    for arm in ARMS:
        recipe = asked.recipe(arm, 0, 100)
        assert all(getattr(recipe, name) == getattr(EVERYTHING, name) for name in names), arm.name
