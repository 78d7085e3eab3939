"""What a run is made of: the names in a recipe, and networks and methods of one's own."""

import re
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import torch
from torch import nn

from bss import methods, samplers
from bss.methods import Method
from bss.methods.constants import constants_of, default_settings
from bss.models import Logits, has_two_stages, kept
from bss.recipes.fields import flatten
from bss.recipes.recipe import KINDS, CurriculumSchedule, MethodName, Schedule, SelfPacedSchedule
from bss.samplers import CurriculumSampler
from bss.training.build import check_method, method_of, plan
from bss.training.checkpoint import identity_without_data
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils import distributed
from bss.utils.errors import RecipeError
from tests import tiny


def run_in(path):
    return Run(path, path, torch.device("cpu"))


# ---- names -----------------------------------------------------------------------------------------------------------


def test_the_names_of_samplers_are_those_that_schedules_can_give():
    named = {
        name: kind
        for kind in (Schedule, CurriculumSchedule, SelfPacedSchedule)
        for name in get_args(get_type_hints(kind)["sampler"])
    }
    assert named == KINDS and named.keys() == samplers.BY_NAME.keys()
    for name, kind in named.items():
        schedule = replace(kind(), sampler=name)
        assert schedule.uses_scores == samplers.BY_NAME[name].uses_scores
        assert type(plan(tiny.splits(), replace(tiny.CL, schedule=schedule)).sampler) is samplers.BY_NAME[name]


def test_the_names_of_methods_are_those_that_recipes_can_give():
    assert set(get_args(MethodName)) == methods.BY_NAME.keys()
    for name, kind in methods.BY_NAME.items():
        recipe = replace(tiny.CL, method=name)
        assert type(method_of(recipe, 60)) is kind
        assert recipe.uses_scores
        assert replace(recipe, schedule=Schedule(start=1.0)).uses_scores == kind.uses_scores


def test_a_name_that_a_schedule_or_a_recipe_cannot_have_is_refused_with_those_that_it_can():
    with pytest.raises(RecipeError, match=r"schedule\.sampler must be one of curriculum, .*got self_paced"):
        CurriculumSchedule(sampler="self_paced")
    with pytest.raises(
        RecipeError, match=r"schedule\.sampler must be one of uniform, uniform_resampling, got curriculum"
    ):
        Schedule(sampler="curriculum")
    with pytest.raises(RecipeError, match=r"method must be none or ogm-ge, .*got ogmge"):
        replace(tiny.CL, method="ogmge")


def test_a_sampler_of_the_library_in_the_place_of_ones_own_is_told_where_it_is_named(tmp_path):
    """Before, SPL with CL's recipe was trained without a word, and CL with SPL's ended in a bare TypeError."""
    for recipe, sampler, name in (
        (tiny.CL, samplers.SelfPacedSampler, "self_paced"),
        (tiny.SPL, samplers.CurriculumSampler, "curriculum"),
    ):
        with pytest.raises(RecipeError, match=rf'sampler= is for a class of your own: schedule\.sampler="{name}"'):
            fit(tiny.model(), tiny.splits(), recipe, run_in(tmp_path), sampler=sampler)


# ---- a network of one's own ------------------------------------------------------------------------------------------


class Own(nn.Module):
    """No LateFusion: other names inside, and a head that is no linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoders, self.own = nn.ModuleDict(), nn.ModuleDict()
        for name, dim in tiny.DIMS.items():
            self.encoders[name] = nn.Sequential(nn.Linear(dim, 4), nn.Tanh())
            self.own[name] = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        self.both = nn.Linear(8, 3)

    def encode(self, batch):
        return kept({name: encoder(batch[name]) for name, encoder in self.encoders.items()}, batch)

    def decode(self, features):
        unimodal = {name: head(features[name]) for name, head in self.own.items()}
        return Logits(self.both(torch.cat(list(features.values()), dim=1)), unimodal)

    def forward(self, batch):
        return self.decode(self.encode(batch))


@pytest.fixture
def own():
    with torch.random.fork_rng():
        return Own()


def test_a_network_of_ones_own_gets_all_that_late_fusion_gets(own, tmp_path):
    assert has_two_stages(own)
    schedule = replace(tiny.SPL.schedule, similarity="feature", information="gradient")
    summary = fit(own, tiny.splits(), replace(tiny.SPL, schedule=schedule), run_in(tmp_path))
    assert set(summary["imbalance"]["shapley"]["accuracy"]) == set(summary["imbalance"]["probe"]) == set(tiny.DIMS)
    assert "decode" not in vars(own)  # what watched it is gone


@pytest.mark.parametrize("name", methods.BY_NAME)
def test_every_method_trains_a_network_of_ones_own(name, own, tmp_path):
    recipe = replace(tiny.SPL, epochs=4, method=name, imbalance_every=0)
    if not methods.BY_NAME[name].trains_fused:
        recipe = replace(recipe, fused_weight=0.0, prediction="unimodal")
    if name == "mla":
        with pytest.raises(
            RecipeError, match=r"one head.* must be torch\.nn\.Linear of one size, .* audio none, visual none"
        ):
            fit(own, tiny.splits(), recipe, run_in(tmp_path / "refused"))
        own.heads = own.own = nn.ModuleDict({modality: nn.Linear(4, 3) for modality in tiny.DIMS})
    assert 0 <= fit(own, tiny.splits(), recipe, run_in(tmp_path))["test"]["last"]["accuracy"]["all"] <= 1


def test_a_network_with_logits_alone_is_trained_and_told_what_a_method_needs(tmp_path):
    class Plain(nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, batch):
            return self.network(batch)

    summary = fit(Plain(tiny.model()), tiny.splits(), tiny.SPL, run_in(tmp_path / "plain"))
    assert summary["imbalance"]["shapley"] is None
    with pytest.raises(RecipeError, match="the task's network is a Plain, without encoders, encode and decode"):
        fit(Plain(tiny.model()), tiny.splits(), replace(tiny.SPL, method="ogm-ge"), run_in(tmp_path / "method"))


# ---- constants of a method -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options", "settings"),
    [
        ("ogm-ge", {"alpha": 1, "noise": False}, {"alpha": 1.0, "noise": False, "last_epoch": 50}),
        ("agm", {"clip": 0.5}, {"alpha": 1.0, "limit": 10.0, "clip": 0.5}),
        ("mslr", {"history": 3}, {"history": 3}),
        ("mslr", {"start.audio": 2, "start.visual": 0.5}, {"start": {"audio": 2.0, "visual": 0.5}, "history": 5}),
        ("loss-weights", {"weighting": "softmax", "temperature": 2}, {"weighting": "softmax", "temperature": 2.0}),
    ],
)
def test_a_method_is_made_with_the_constants_of_its_recipe(method, options, settings):
    made = method_of(replace(tiny.CL, method=method, method_options=options), 60)
    assert settings.items() <= made.settings().items()
    assert {type(value) for value in settings.values()} == {type(made.settings()[name]) for name in settings}


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "ogm-ge",
            {"alpah": 1},
            "ogm-ge has no constant method.alpah (did you mean alpha?); its constants are: alpha, ",
        ),
        ("ogm-ge", {"seed": 1}, "ogm-ge has no constant method.seed; its constants are: alpha, noise, last_epoch"),
        ("smv", {"alpha": 1}, "smv has no constant method.alpha; its constants are: none"),
        ("mslr", {"start": 1}, "mslr has no constant method.start; its constants are: start.NAME, history"),
        (
            "mslr",
            {"start.": 1},
            "mslr has no constant method.start. (did you mean start.NAME?); its constants are: start.NAME, history",
        ),
        ("mslr", {"strat.audio": 1}, "mslr has no constant method.strat.audio; its constants are: start.NAME, history"),
        ("mslr", {"start.audio": "much"}, "method.start.audio cannot be 'much'; allowed: a number"),
        ("mslr", {"start.audio": 0}, "method.start must be numbers > 0, got 0.0 for audio"),
        ("ogm-ge", {"alpha.audio": 1}, "ogm-ge has no constant method.alpha.audio; its constants are: alpha, "),
        ("ogm-ge", {"alpha": "much"}, "method.alpha cannot be 'much'; allowed: a number"),
        ("ogm-ge", {"last_epoch": 1.5}, "method.last_epoch cannot be 1.5; allowed: a whole number"),
        ("loss-weights", {"order": "up"}, "method.order cannot be 'up'; allowed: balanced_first, imbalanced_first"),
        ("ogm-ge", {"noise": 1}, "method.noise cannot be 1; allowed: true or false"),
        ("ogm-ge", {"alpha": -1}, "method.alpha must be a number > 0, got -1.0"),
        (
            None,
            {"alpha": 0.5},
            "method.alpha=0.5 is a constant of a method, and the recipe has none: set method as well",
        ),
    ],
)
def test_constants_that_a_method_does_not_have_or_admit_are_refused_with_what_it_has(method, options, message):
    recipe = replace(tiny.CL, method=method, method_options=options)
    for refused in (check_method, lambda recipe: method_of(recipe, 60), lambda recipe: plan(tiny.splits(), recipe)):
        with pytest.raises(RecipeError, match=re.escape(message)):
            refused(recipe)


def test_constants_are_not_for_a_method_of_ones_own():
    with pytest.raises(RecipeError, match=r"method\.alpha=0.5 is for the method that a recipe names"):
        plan(tiny.splits(), replace(tiny.CL, method="ogm-ge", method_options={"alpha": 0.5}), method=Method())


@pytest.mark.parametrize("name", methods.BY_NAME)
def test_every_constant_of_a_method_has_its_default_in_the_settings_and_may_be_set_to_it(name):
    kind = methods.BY_NAME[name]
    made, constants = method_of(replace(tiny.CL, method=name), 60), constants_of(kind)
    assert default_settings(kind).items() <= made.settings().items()
    options = {each: constant.default for each, constant in constants.items() if not constant.by_name}
    again = method_of(replace(tiny.CL, method=name, method_options=options), 60)
    assert again.settings() == made.settings()


def test_a_constant_that_is_a_mapping_is_told_once_by_the_names_of_a_recipe():
    """A refused resume named it twice: as the method's setting, and as the recipe's fields."""
    recipe = replace(tiny.CL, method="mslr", method_options={"start.audio": 0.9})
    identity = identity_without_data(CurriculumSampler, method_of(recipe, 60), flatten(recipe))
    assert {name: each for name, each in identity.items() if "start" in name and name.startswith("method")} == {
        "method.start.audio": 0.9
    }


# ---- a method of one's own -------------------------------------------------------------------------------------------


class Twice(Method):
    """Shows every sample of the order twice from epoch 1 on, the second time by a view of its own."""

    rearranges = True

    def __init__(self):
        self.seen, self.wrapped = {}, []

    def wrap(self, train):
        self.wrapped.append(len(train))
        return train

    def prepare(self, epoch):
        return epoch >= 1

    def see(self, batch):
        for index in batch["bss_index"].tolist():
            self.seen[index] = self.seen.get(index, 0) + 1

    def arrange(self, epoch, order):
        return torch.cat([order, order + 60]) if epoch >= 1 else order


def test_a_method_of_ones_own_wraps_looks_and_rearranges_as_the_librarys_do(tmp_path):
    method = Twice()
    data = tiny.splits(noise=0.5)
    fit(tiny.model(), data, replace(tiny.SPL, epochs=3), run_in(tmp_path), method=method)
    samples = [row["samples"] for row in tiny.rows(tmp_path)]
    assert samples == [56, 120, 120]  # in batches of 8
    assert method.wrapped == [60]
    assert method.seen == dict.fromkeys(range(60), 2)  # before each of the two epochs


def test_a_methods_warm_up_is_the_released_one_or_a_quarter_of_the_run():
    assert method_of(replace(tiny.CL, epochs=100, method="data-remixing"), 60).warmup_epochs == 10
    assert method_of(replace(tiny.CL, epochs=8, method="data-remixing"), 60).warmup_epochs == 2


def test_half_of_a_stage_is_as_released_or_an_eighth_of_the_run_so_that_each_of_three_modalities_has_one():
    assert method_of(replace(tiny.CL, epochs=100, method="reconboost"), 60).stage_epochs == 4
    assert method_of(replace(tiny.CL, epochs=2, method="reconboost"), 60).stage_epochs == 0.25
    assert method_of(replace(tiny.CL, updates=14, method="reconboost"), 60).stage_epochs == 0.25  # 7 steps an epoch


def test_one_sample_for_each_process_is_refused_before_data_are_read(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 4)
    with pytest.raises(RecipeError, match=r"batch_size=4 leaves each of 4 processes one sample.*batch_size=8 or more"):
        check_method(replace(tiny.CL, batch_size=4))
    check_method(replace(tiny.CL, batch_size=8))
    check_method(replace(tiny.CL, batch_size=4, sync_batchnorm=True))
    with pytest.raises(RecipeError, match="batch_size=6 cannot be shared evenly by 4 processes"):
        check_method(replace(tiny.CL, batch_size=6))
