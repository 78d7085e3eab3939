"""No number of a recipe fills the memory or takes for ever: it is refused in a line, with the most that it may be."""

import importlib
import math
import time
from dataclasses import replace
from typing import get_type_hints

import pytest
import torch

from bss import methods, tasks
from bss.methods.constants import constants_of
from bss.recipes.fields import alternatives, flatten, override
from bss.recipes.limits import MOST, Need, check_room
from bss.recipes.recipe import Recipe
from bss.training.build import check_method, plan
from bss.training.screen import plan_line
from bss.utils import memory
from bss.utils.errors import RecipeError
from tests import tiny


def recipes():
    modules = [importlib.import_module(f"bss.recipes.{stem}") for stem in tasks.names()]
    return {f"{module.__name__[12:]}-{way}": getattr(module, way) for module in modules for way in ("CL", "SPL")}


RECIPES = recipes()


def hint_of(recipe, name):
    owner = recipe.schedule if name.startswith("schedule.") else recipe
    return alternatives(get_type_hints(type(owner))[name.rpartition(".")[2]])


NUMBERS = sorted(
    {
        (name, key)
        for key, recipe in RECIPES.items()
        for name in flatten(recipe)
        if {int, float} & {*hint_of(recipe, name)}
    }
)
FIELDS = {}
for _name, _key in NUMBERS:
    FIELDS.setdefault(_name, _key)  # a field is looked at in one recipe that has it

OWN_RANGE = {"seed", "val_fraction", "corrupt_pairs", "corrupt_labels", "schedule.start", "schedule.history"}


def test_every_number_has_a_most():
    assert {name.rpartition(".")[2] for name in set(FIELDS) - OWN_RANGE} <= set(MOST)
    assert len(FIELDS) > 40


@pytest.mark.parametrize("method", [name for name, kind in methods.BY_NAME.items() if constants_of(kind)])
def test_a_constant_of_a_method_beyond_any_use_is_refused_in_a_line(method):
    for constant, declared in constants_of(methods.BY_NAME[method]).items():
        name = f"{constant}.audio" if declared.by_name else constant
        if {int, float} & {*declared.options}:
            for text in ("nan", "inf", "1e308", "-1e308", "1000000000000", "-1", "1" + 400 * "0"):
                with pytest.raises(RecipeError) as refused:
                    check_method(override(tiny.CL, [f"method={method}", f"method.{name}={text}"]))
                said = str(refused.value)
                assert f"method.{constant}" in said and len(said) < 200


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_number_beyond_any_use_is_refused_in_a_line(name):
    recipe = RECIPES[FIELDS[name]]
    for text in ("nan", "inf", "-inf", "1e308", "1000000000000", "1" + 400 * "0"):
        with pytest.raises(RecipeError) as refused:
            override(recipe, [f"{name}={text}"])
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 300
        assert name.rpartition(".")[2] in str(refused.value)
    part, _, last = name.rpartition(".")
    for value in (math.nan, math.inf, 1e308, 10**12, 10**400):  # made in Python
        with pytest.raises(RecipeError):
            changed = {last: value}
            replace(recipe, **({part: replace(recipe.schedule, **changed)} if part else changed))


@pytest.mark.parametrize(
    "name", sorted(name for name in FIELDS if name.partition(".")[0] in ("schedule", *Recipe.__annotations__))
)
@pytest.mark.parametrize("text", ["-1", "0", "1e-300", "-1e308"])
def test_a_small_number_is_refused_in_a_line_or_the_run_is_planned_at_once(name, text):
    began = time.perf_counter()
    try:
        recipe = override(RECIPES[FIELDS[name]], ["batch_size=4", "epochs=3", "grow_epochs=2", f"{name}={text}"])
        made = plan(tiny.splits(), recipe)
    except RecipeError as refused:
        assert "\n" not in str(refused)
        return
    count = made.sampler.size
    made.table.update(torch.arange(count), similarity=torch.linspace(-1, 1, count), loss=torch.linspace(0, 3, count))
    made.table.synchronize()
    for epoch in range(2):
        made.sampler.set_epoch(epoch)
        assert len(made.sampler.global_order())
    assert plan_line(made, recipe.batch_size, recipe.updates, recipe.tail)
    assert time.perf_counter() - began < 5


# ---- memory ----------------------------------------------------------------------------------------------------------

GB = 10**9


@pytest.mark.parametrize("key", sorted(RECIPES))
def test_the_published_numbers_need_what_a_machine_has(key):
    sizes = {need.what: need.size for need in RECIPES[key].needs()}
    assert 0 < min(sizes.values()) and sum(sizes.values()) < 4 * GB
    check_room(RECIPES[key], RECIPES[key].needs(), 8 * GB, "this machine")


def test_the_least_of_a_batch_of_pictures_by_hand():
    # Two pictures of 4 x 4 pixels in three channels, and two maps of 8 channels and 2 x 2 pixels, in float32.
    recipe = override(RECIPES["sarcasm-CL"], ["batch_size=2", "image_size=4", "image_weights=none", "width=8"])
    pictures, network = recipe.needs()
    assert pictures.size == 2 * 4 * (3 * 16 + 2 * 8 * 4) and network.size == 3 * 4 * 23.5e6 / 64


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        (
            "cremad-CL",
            ["image_size=8192"],
            "num_frames=1, width=64, batch_size=32: a batch of pictures would take ",
        ),
        ("ks-SPL", ["width=4096"], "width=4,096: the network in training would take "),
        ("cremad-CL", ["seconds=3600", "hop_length=1"], "seconds=3600, sample_rate=22,050, n_fft=512, hop_length=1"),
        ("twitter15-CL", ["image_size=8192", "batch_size=100"], "image_size=8,192, width=64, batch_size=100"),
        (
            "nvgesture-CL",
            ["image_size=4096", "resize=4096"],
            "frames_train=64, image_size=4,096, width=64",
        ),
        ("nvgesture-CL", ["resize=8192"], "frames_test=80, resize=8,192: a decoded clip would take 32.2 GB"),
    ],
)
def test_what_does_not_fit_is_said_with_what_it_would_take_and_what_there_is(key, values, said):
    recipe = override(RECIPES[key], values)
    with pytest.raises(RecipeError) as refused:
        check_room(recipe, recipe.needs(), 25 * GB, "this machine")
    assert said in str(refused.value) and str(refused.value).endswith("and this machine has 25 GB of memory")


def test_where_nobody_knows_the_memory_nothing_is_refused():
    check_room(RECIPES["ks-CL"], [Need("all", 1e30, ())], None, "this machine")


def test_a_containers_memory_counts_before_the_machines(tmp_path, monkeypatch):
    whole = memory.total()
    assert whole is None or whole > 10**8
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "none", limit))
    for text, size in (("max\n", whole), ("123456\n", 123456), ("9223372036854771712", whole)):
        limit.write_text(text)
        assert whole is None or memory.total() in (size, min(whole, size))
