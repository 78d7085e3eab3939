import copy
import dataclasses
import json
import pickle
import typing
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bss import pacing
from bss.recipes.cremad import CL, CL_OFFICIAL, SPL, SPL_OFFICIAL
from bss.recipes.fields import describe, explain, flatten, override, plain, with_values
from bss.recipes.recipe import CurriculumSchedule, PacingName, Recipe, Schedule, SelfPacedSchedule
from bss.tasks import cremad
from bss.training.build import plan
from bss.utils.errors import RecipeError
from tests import tiny

RECIPES = {"CL": CL, "SPL": SPL, "CL_OFFICIAL": CL_OFFICIAL, "SPL_OFFICIAL": SPL_OFFICIAL}
every_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


@dataclass(frozen=True, kw_only=True)
class TwoSchedules:
    """Field names that are not unique: ``start`` three times, ``power`` twice, ``floor`` once."""

    start: int = 7
    first: Schedule = field(default_factory=Schedule)
    second: SelfPacedSchedule = field(default_factory=SelfPacedSchedule)


def changed(recipe, *assignments):
    """Field -> new value, of the fields that differ from the recipe's own."""
    before, after = flatten(recipe), flatten(override(recipe, list(assignments)))
    assert list(before) == list(after)
    return {
        name: value for name, value in after.items() if value != before[name] or type(value) is not type(before[name])
    }


def refusal(recipe, *assignments):
    with pytest.raises(RecipeError) as error:
        override(recipe, list(assignments))
    return str(error.value)


# ---- override: what is read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "change"),
    [
        ("epochs=3", {"epochs": 3}),
        ("lr=1e-3", {"lr": 0.001}),
        ("lr=1", {"lr": 1.0}),
        ("lr=.5", {"lr": 0.5}),
        ("seed=0", {"seed": 0}),
        ("optimizer=adam", {"optimizer": "adam"}),
        ("fusion=cross-attention", {"fusion": "cross-attention"}),
        ("overwrite=true", {"overwrite": True}),
        ("overwrite=True", {"overwrite": True}),
        ("overwrite=false", {}),
        ("schedule.grow_epochs=20", {"schedule.grow_epochs": 20}),
        ("schedule.class_balanced=true", {"schedule.class_balanced": True}),
        ("grow_epochs=20", {"schedule.grow_epochs": 20}),
        ("rescore=2", {"schedule.rescore": 2}),
        ("rescore=pass", {"schedule.rescore": "pass"}),
        ("history=none", {"schedule.history": None}),
        ("history=None", {"schedule.history": None}),
        ("history=0.9", {"schedule.history": 0.9}),
        ("order=imbalanced_first", {"schedule.order": "imbalanced_first"}),
        (" epochs = 3 ", {"epochs": 3}),
    ],
)
def test_a_field_takes_the_value_that_is_written(assignment, change):
    assert changed(CL, assignment) == change


def test_online_scoring_can_be_chosen_for_self_pacing():
    assert changed(SPL, "rescore=online") == {"schedule.rescore": "online"}


def test_the_past_can_be_forgotten_again():
    cumulative = override(CL, ["history=none"])
    assert override(cumulative, ["history=0"]) == CL


def test_several_assignments_are_applied_together():
    assert changed(CL, "epochs=3", "start=0.2", "lr=0.5", "schedule.power=1") == {
        "epochs": 3,
        "lr": 0.5,
        "schedule.start": 0.2,
        "schedule.power": 1.0,
    }


def test_the_last_assignment_of_a_field_wins():
    assert changed(CL, "epochs=3", "epochs=4") == {"epochs": 4}


@pytest.mark.parametrize("assignments", [["rescore=online", "warmup_epochs=1"], ["warmup_epochs=1", "rescore=online"]])
def test_values_that_are_only_valid_together_may_come_in_any_order(assignments):
    schedule = override(CL, assignments).schedule
    assert (schedule.rescore, schedule.warmup_epochs) == ("online", 1)


def test_no_assignment_leaves_the_recipe_as_it_is():
    assert override(CL, []) == CL


def test_override_changes_neither_the_recipe_nor_its_schedule():
    before, schedule = flatten(CL), CL.schedule
    override(CL, ["epochs=3", "start=0.2", "history=none"])
    assert flatten(CL) == before and CL.schedule is schedule


def test_override_keeps_the_classes_of_recipe_and_schedule():
    after = override(SPL, ["epochs=3", "floor=0.5"])
    assert type(after) is cremad.CremadRecipe and type(after.schedule) is SelfPacedSchedule


def test_recipes_and_schedules_are_frozen():
    for frozen in (CL, CL.schedule):
        with pytest.raises(dataclasses.FrozenInstanceError):
            frozen.start = 0.5


# ---- override: what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("rescore=sometimes", "schedule.rescore cannot be 'sometimes'; allowed: once, pass, online, a whole number"),
        ("optimizer=lion", "optimizer cannot be 'lion'; allowed: sgd, adam, adamw"),
        ("optimizer=SGD", "optimizer cannot be 'SGD'; allowed: sgd, adam, adamw"),
        ("history=some", "schedule.history cannot be 'some'; allowed: a number, none"),
        ("overwrite=1", "overwrite cannot be '1'; allowed: true or false"),
        ("overwrite=yes", "overwrite cannot be 'yes'; allowed: true or false"),
        ("epochs=1.5", "epochs cannot be '1.5'; allowed: a whole number"),
        ("epochs=1e2", "epochs cannot be '1e2'; allowed: a whole number"),
        ("epochs=none", "epochs cannot be 'none'; allowed: a whole number"),
        ("epochs=true", "epochs cannot be 'true'; allowed: a whole number"),
        ("rescore=1.5", "schedule.rescore cannot be '1.5'; allowed: once, pass, online, a whole number"),
        ("lr=fast", "lr cannot be 'fast'; allowed: a number"),
        ("lr=", "lr cannot be ''; allowed: a number"),
        ("epochs=", "epochs cannot be ''; allowed: a whole number"),
        ("optimizer=", "optimizer cannot be ''; allowed: sgd, adam, adamw"),
        ("lr=0.1=0.2", "lr cannot be '0.1=0.2'; allowed: a number"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_is_allowed(assignment, said):
    assert refusal(CL, assignment) == said


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf", "Infinity", "1e999"])
@pytest.mark.parametrize("field", ["lr", "momentum", "seconds", "schedule.start", "schedule.history"])
def test_numbers_that_are_not_finite_are_refused(field, number):
    assert f"{field} cannot be {number!r}" in refusal(CL, f"{field}={number}")


@pytest.mark.parametrize("field", ["epochs", "seed", "sample_rate", "rescore"])
def test_a_whole_number_of_hundreds_of_digits_is_refused_like_any_other_bad_value(field):
    assert field in refusal(CL, f"{field}=1{'0' * 400}")


@pytest.mark.parametrize("name", ["epoch", "schedule.epochs", "schedule", "schedule.", ".start", "Epochs", "", "a.b.c"])
def test_an_unknown_field_is_refused_with_the_three_that_are_nearest(name):
    said = refusal(CL, f"{name}=1")
    assert repr(name) in said and sum(field in said.split("the nearest are ")[1] for field in FIELDS) >= 3


@pytest.mark.parametrize("assignment", ["epochs", "", "epochs:3", "schedule.start 0.5"])
def test_an_assignment_without_an_equals_sign_is_refused(assignment):
    assert refusal(CL, assignment) == f"--set needs field=value, got {assignment!r}"


def test_a_field_of_the_other_sampler_is_unknown():
    assert "unknown" in refusal(CL, "floor=0.1")


def test_a_nested_name_that_is_not_unique_is_refused_with_its_paths():
    said = refusal(TwoSchedules(), "power=1")
    assert "'power'" in said and "first.power" in said and "second.power" in said


def test_a_nested_name_that_is_not_unique_can_be_given_with_its_path():
    assert changed(TwoSchedules(), "second.power=1") == {"second.power": 1.0}


def test_a_nested_name_that_is_unique_among_several_schedules_needs_no_path():
    assert changed(TwoSchedules(), "floor=0.5") == {"second.floor": 0.5}


def test_a_field_of_the_recipe_itself_comes_before_nested_ones_of_its_name():
    assert changed(TwoSchedules(), "start=8") == {"start": 8}


CHECKED = [
    *(f"{name}=0" for name in ("epochs", "updates", "batch_size", "lr_step", "lr")),
    *(f"{name}=-1" for name in ("epochs", "batch_size", "lr_step", "lr", "seed", "momentum", "weight_decay")),
    *(f"{name}=-0.5" for name in ("lr_gamma", "fused_weight", "unimodal_weight")),
    *(f"val_fraction={value}" for value in (1, 1.5, -0.1)),
    *(f"{name}={value}" for name in ("corrupt_pairs", "corrupt_labels") for value in (1, -0.1)),
    *(f"schedule.start={value}" for value in (0, 1.5, -0.1)),
    *(f"schedule.history={value}" for value in (1, 1.5, -0.1)),
    *(f"schedule.rescore={value}" for value in (0, -1)),
    *("schedule.grow_epochs=-1", "schedule.power=0", "schedule.power=-1", "schedule.warmup_epochs=-1"),
    *(f"{name}=0" for name in ("sample_rate", "n_fft", "hop_length", "fps", "num_frames", "image_size", "width")),
    *(f"seconds={value}" for value in (0, -1, 0.02)),  # 0.02 s * 22050 Hz = 441 samples, fewer than n_fft = 512
]


@pytest.mark.parametrize("assignment", CHECKED)
@pytest.mark.parametrize("recipe", [CL, SPL], ids=["CL", "SPL"])
def test_a_value_out_of_range_is_refused_and_its_field_named(recipe, assignment):
    assert assignment.partition("=")[0] in refusal(recipe, assignment)


@pytest.mark.parametrize("assignment", ["schedule.floor=-0.1", "schedule.temperature=0", "schedule.temperature=-1"])
def test_a_value_out_of_the_range_of_self_pacing_is_refused(assignment):
    assert assignment.partition("=")[0] in refusal(SPL, assignment)


@pytest.mark.parametrize(
    "assignment",
    [
        *("epochs=1", "batch_size=2", "lr_step=1", "seed=0", "momentum=0", "weight_decay=0", "lr_gamma=0"),
        *("fused_weight=0", "unimodal_weight=0", "val_fraction=0", "schedule.start=1", "schedule.history=0"),
        *("schedule.rescore=1", "schedule.grow_epochs=0", "schedule.warmup_epochs=0", "schedule.floor=0"),
        "seconds=0.0233",  # 513.8 samples, n_fft = 512
    ],
)
def test_a_value_at_the_edge_of_its_range_is_taken(assignment):
    name, _, value = assignment.partition("=")
    assert flatten(override(SPL, [assignment]))[name] == float(value)


@pytest.mark.parametrize("field", ["lr", "val_fraction", "momentum", "corrupt_pairs", "corrupt_labels"])
def test_a_recipe_made_in_python_refuses_nan_as_well(field):
    with pytest.raises(RecipeError, match=field):
        replace(CL, **{field: float("nan")})


def test_a_curriculum_with_online_scores_needs_a_warm_up():
    assert "warmup_epochs" in refusal(CL, "rescore=online")
    with pytest.raises(RecipeError, match="warmup_epochs"):
        CurriculumSchedule(rescore="online")


@pytest.mark.parametrize("name", ["temperature", "schedule.temperature", "floor"])
def test_a_field_of_spl_alone_is_refused_elsewhere_with_the_script_that_has_it(name):
    said = refusal(CL, f"{name}=0.5")
    assert said.startswith(f"unknown recipe field '{name}' (only the schedule of SPL has it: train-SPL.py, or arms ")
    assert "SPL" not in refusal(CL, "temprature=0.5").partition(";")[0]


def test_every_field_of_a_curriculums_schedule_is_one_of_spls_too():
    of_cl = {name for name in flatten(CL) if name.startswith("schedule.")}
    assert of_cl < set(flatten(SPL))  # so no hint is due there


@pytest.mark.parametrize("recipe", [CL, SPL], ids=["CL", "SPL"])
def test_a_warm_up_that_fills_the_run_is_refused(recipe):
    for epochs in (1, 4, 5):
        said = refusal(recipe, "schedule.warmup_epochs=5", f"epochs={epochs}")
        assert f"warmup_epochs=5 leaves nothing of epochs={epochs}, so the schedule would never begin" in said
    assert override(recipe, ["schedule.warmup_epochs=5", "epochs=6"]).schedule.warmup_epochs == 5
    counted = override(recipe, ["schedule.warmup_epochs=5", "epochs=1", "updates=900"])  # epochs do not count there
    assert counted.schedule.warmup_epochs == 5


FIELDS = sorted(set(flatten(CL)) | set(flatten(SPL)))
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["none", "true", "online", "pass", "once", "1e400", "--1", "0x10", "\u0663", "1_0", "\x00"]),
)
ASSIGNMENTS = st.one_of(
    st.text(max_size=40),
    st.tuples(st.sampled_from([*FIELDS, *(name.rpartition(".")[2] for name in FIELDS)]), VALUES).map("=".join),
)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from([CL, SPL, CL_OFFICIAL, SPL_OFFICIAL]), st.lists(ASSIGNMENTS, max_size=3))
def test_no_text_whatever_raises_anything_but_a_recipe_error(recipe, assignments):
    try:
        after = override(recipe, assignments)
    except RecipeError as error:
        assert str(error)
    else:
        assert type(after) is type(recipe)


# ---- describe and flatten ------------------------------------------------------------------------------------------


def test_flatten_opens_nested_dataclasses_with_dots():
    flat = flatten(TwoSchedules())
    assert (flat["start"], flat["first.start"], flat["second.start"]) == (7, 0.1, 1.0)
    assert "first" not in flat and len(flat) == 1 + 19 + 22


@every_recipe
def test_what_describe_prints_can_be_set_and_gives_the_recipe_again(recipe):
    assert override(recipe, describe(recipe).split()) == recipe


@pytest.mark.parametrize(("start", "target"), [(CL, CL_OFFICIAL), (SPL_OFFICIAL, SPL)], ids=["official", "default"])
def test_setting_what_describe_prints_turns_one_recipe_into_another(start, target):
    assert override(start, describe(target).split()) == target


@every_recipe
def test_describe_prints_every_field_once(recipe):
    assert [entry.partition("=")[0] for entry in describe(recipe).split()] == list(flatten(recipe))


def test_describe_writes_none_and_booleans_as_set_takes_them():
    entries = describe(override(CL, ["history=none", "overwrite=true"])).split()
    assert {"schedule.history=none", "overwrite=true", "schedule.class_balanced=false"} <= set(entries)


@pytest.mark.parametrize("width", [40, 100, 108])
def test_describe_keeps_its_lines_within_the_width(width):
    lines = describe(CL, width=width).splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= width


@settings(deadline=None, max_examples=50)
@given(
    lr=st.floats(1e-12, 1e6),
    start=st.floats(0, 1, exclude_min=True),
    history=st.none() | st.floats(0, 1, exclude_max=True),
    rescore=st.sampled_from(["once", "pass"]) | st.integers(1, 10**9),
    overwrite=st.booleans(),
)
def test_any_valid_values_survive_describe_and_override(lr, start, history, rescore, overwrite):
    schedule = replace(CL.schedule, start=start, history=history, rescore=rescore)
    recipe = replace(CL, lr=lr, overwrite=overwrite, schedule=schedule)
    assert override(CL, describe(recipe).split()) == recipe


# ---- constants of the method ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.3", 0.3), ("3", 3), ("1e-2", 0.01), ("true", True), ("none", None), ("softmax", "softmax"), ("nan", "nan")],
)
def test_a_constant_of_the_method_is_set_by_its_name_and_read_as_what_it_looks_like(text, value):
    recipe = override(CL, ["method=ogm-ge", f"method.alpha={text}"])
    assert recipe.method == "ogm-ge" and recipe.method_options == {"alpha": value}
    assert type(recipe.method_options["alpha"]) is type(value)
    assert {name: value for name, value in flatten(recipe).items() if name.startswith("method")} == {
        "method": "ogm-ge",
        "method.alpha": value,
    }
    assert override(CL, describe(recipe).split()) == recipe
    assert override(recipe, ["method.beta=1"]).method_options == {"alpha": value, "beta": 1}


def test_each_value_of_a_constant_that_is_a_mapping_is_a_field():
    recipe = override(CL, ["method=mslr", "method.start.audio=0.9", "method.start.visual=1.1"])
    assert recipe.method_options == {"start.audio": 0.9, "start.visual": 1.1}
    assert override(CL, describe(recipe).split()) == recipe
    for content in ({"start": {"audio": 0.9, "visual": 1.1}}, {"start.audio": 0.9, "start.visual": 1.1}):
        assert with_values(CL, {"method": "mslr", "method_options": content}) == recipe
    for name in ("method.start.", "method..audio"):
        assert "unknown recipe field" in refusal(CL, f"{name}=1")


def test_a_recipe_with_constants_stays_a_plain_value():
    one = replace(CL, method_options={"b": 1, "a": 0.5})
    two = override(CL, ["method.a=0.5", "method.b=1"])
    assert one == two and hash(one) == hash(two) and one != CL and list(one.method_options) == ["a", "b"]
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert json.loads(json.dumps(dataclasses.asdict(one)))["method_options"] == {"a": 0.5, "b": 1}
    assert type(plain(one)["method_options"]) is dict
    for change in (lambda made: made.update(a=1), lambda made: made.__setitem__("a", 1), lambda made: made.pop("a")):
        with pytest.raises(TypeError, match="cannot be changed"):
            change(one.method_options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"method_options": {"alpha": [1]}}, r"method.alpha cannot be \[1\]"),
        (
            {"method_options": {"start": {}}},
            r"method.start cannot be \{\}: .* by their names, method.start.NAME = VALUE",
        ),
        ({"method_options": 3}, "unknown recipe field 'method_options'"),
        ({"method.": 3}, "unknown recipe field 'method.'"),
        ({"method": {"alpha": 1}, "method_options": {"alpha": 1}}, "method.alpha is given twice"),
    ],
)
def test_a_file_whose_constants_are_odd_is_refused(content, message):
    with pytest.raises(RecipeError, match=message):
        with_values(CL, content)


@pytest.mark.parametrize("given", [{"alpha": [1]}, {"alpha": {"of": 1}}, 3, "text"])
def test_constants_that_are_no_plain_values_are_refused(given):
    with pytest.raises(RecipeError, match="method"):
        replace(CL, method_options=given)


def test_a_file_has_constants_in_a_table_of_either_name():
    wanted = override(CL, ["method=agm", "method.limit=5"])
    assert with_values(CL, {"method": "agm", "method_options": {"limit": 5}}) == wanted
    assert with_values(CL, {"method": "agm", "method.limit": 5}) == wanted
    assert with_values(wanted, {"method_options": {}}) == wanted


def test_help_and_the_list_of_fields_say_that_a_method_has_constants():
    assert any(name == "method.NAME=VALUE" and "method.alpha=0.3" in text for name, text in explain(CL))
    assert "did you mean method?" in refusal(CL, "methud=agm")


# ---- schedules -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rescore", "warmup_epochs", "passes"),
    [
        ("once", 0, "x....."),
        ("once", 2, "..x..."),
        ("pass", 0, "xxxxxx"),
        ("pass", 2, "..xxxx"),
        (1, 0, "xxxxxx"),
        (2, 0, "x.x.x."),
        (2, 1, ".x.x.x"),
        (3, 2, "..x..x"),
        (10, 0, "x....."),
        ("online", 0, "......"),
        ("online", 2, "......"),
    ],
)
def test_a_scoring_pass_comes_before_the_epochs_that_the_schedule_says(rescore, warmup_epochs, passes):
    schedule = SelfPacedSchedule(rescore=rescore, warmup_epochs=warmup_epochs)
    assert "".join("x" if schedule.needs_pass(epoch) else "." for epoch in range(6)) == passes


@pytest.mark.parametrize("name", typing.get_args(PacingName))
def test_the_pace_is_that_of_the_pacing_function_of_its_name(name):
    schedule = CurriculumSchedule(pacing=name, start=0.2, grow_epochs=7)
    function = {p.__name__: p for p in pacing.PACINGS}[f"{name}_pacing"]
    assert [schedule.pace(e) for e in range(9)] == [function(e, start=0.2, grow_epochs=7) for e in range(9)]


def test_every_pacing_function_can_be_named_by_a_recipe():
    assert {f"{name}_pacing" for name in typing.get_args(PacingName)} == {p.__name__ for p in pacing.PACINGS}


def test_the_power_belongs_to_root_pacing():
    # start 0.25, half way, power 1: 0.25 + 0.75 / 2; power 2: sqrt((1 - 1/16) / 2 + 1/16) = sqrt(17/32)
    assert Schedule(start=0.25, grow_epochs=2, power=1.0).pace(0) == pytest.approx(0.625)
    assert Schedule(start=0.25, grow_epochs=2, power=2.0).pace(0) == pytest.approx((17 / 32) ** 0.5)


def test_the_released_curriculum_begins_with_18_64_percent_and_ends_growing_at_epoch_40():
    # sqrt((1 - 0.01) / 40 + 0.01) = sqrt(0.03475)
    assert CL.schedule.pace(0) == pytest.approx(0.186414, abs=1e-6)
    assert CL.schedule.pace(38) < 1.0 and [CL.schedule.pace(e) for e in (39, 40, 119)] == [1.0, 1.0, 1.0]


def test_self_pacing_sees_every_sample_in_every_epoch():
    assert {SPL.schedule.pace(epoch) for epoch in range(120)} == {1.0}


def test_class_balanced_subsets_get_the_labels():
    data = tiny.splits()
    for balanced in (True, False):
        recipe = replace(tiny.CL, schedule=replace(tiny.CL.schedule, class_balanced=balanced))
        assert (plan(data, recipe).sampler.labels is data.labels_N) == balanced


def test_the_sampler_gets_the_numbers_of_the_schedule():
    schedule = SelfPacedSchedule(
        floor=0.5, temperature=0.25, order="imbalanced_first", normalize="rank", warmup_epochs=3, start=0.5
    )
    options = schedule.sampler_options()
    assert options.pop("pacing")(0) == schedule.pace(0)
    assert options == {
        "weighting": "linear",
        "floor": 0.5,
        "temperature": 0.25,
        "order": "imbalanced_first",
        "normalize": "rank",
        "criterion": "both",
        "warmup_epochs": 3,
    }


# ---- CREMA-D -------------------------------------------------------------------------------------------------------

PUBLISHED = {
    "epochs": 120,
    "batch_size": 32,
    "lr": 0.01,
    "seed": 42,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "lr_step": 70,
    "lr_gamma": 0.1,
    "fused_weight": 0.1,
    "unimodal_weight": 0.9,
    "prediction": "unimodal",
    "sample_rate": 22050,
    "seconds": 20.0,
    "n_fft": 512,
    "hop_length": 353,
    "fps": 1,
    "num_frames": 1,
    "image_size": 224,
    "width": 64,
    "fusion": "concat",
    "schedule.order": "balanced_first",
    "schedule.space": "probability",
    "schedule.normalize": "minmax",
    "schedule.history": 0.0,
    "schedule.warmup_epochs": 0,
}
PUBLISHED_CURRICULUM = {
    "schedule.pacing": "root",
    "schedule.start": 0.1,
    "schedule.grow_epochs": 40,
    "schedule.power": 2.0,
    "schedule.rescore": "once",
}
PUBLISHED_SELF_PACED = {
    "schedule.start": 1.0,
    "schedule.rescore": "pass",
    "schedule.floor": 1e-2,
    "schedule.temperature": 1.0,
}


@every_recipe
def test_cremad_has_the_published_numbers(recipe):
    flat = flatten(recipe)
    assert {name: flat[name] for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("recipe", [CL, CL_OFFICIAL], ids=["CL", "CL_OFFICIAL"])
def test_cremads_curriculum_has_the_published_numbers(recipe):
    flat = flatten(recipe)
    assert {name: flat[name] for name in PUBLISHED_CURRICULUM} == PUBLISHED_CURRICULUM


@pytest.mark.parametrize("recipe", [SPL, SPL_OFFICIAL], ids=["SPL", "SPL_OFFICIAL"])
def test_cremads_self_pacing_has_the_published_numbers(recipe):
    flat = flatten(recipe)
    assert {name: flat[name] for name in PUBLISHED_SELF_PACED} == PUBLISHED_SELF_PACED


@pytest.mark.parametrize(("recipe", "official"), [(CL, CL_OFFICIAL), (SPL, SPL_OFFICIAL)], ids=["CL", "SPL"])
def test_cremads_official_recipe_differs_only_in_the_habits_of_the_released_code(recipe, official):
    before, after = flatten(recipe), flatten(official)
    assert {name: after[name] for name in after if after[name] != before[name]} == {
        "val_fraction": 0.0,
        "tail": "last",
        "frames": "first",
        "schedule.mode": "train",
        "schedule.view": "train",
    }


@every_recipe
def test_the_sample_recipe_of_every_recipe_keeps_its_method(recipe):
    sample = cremad.sample_recipe(recipe)
    kept = [
        name
        for name in flatten(recipe)
        if name not in ("epochs", "batch_size", "lr", "seconds", "image_size", "width", "schedule.grow_epochs")
    ]
    assert {name: flatten(sample)[name] for name in kept} == {name: flatten(recipe)[name] for name in kept}


def test_a_recipe_without_a_task_has_only_the_fields_of_every_recipe():
    plain = Recipe(epochs=1, batch_size=2, lr=0.1, schedule=SelfPacedSchedule())
    assert set(flatten(plain)) < set(flatten(SPL))
    assert changed(plain, "temperature=0.5") == {"schedule.temperature": 0.5}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithAFile:
    weights: str | None = "file.pt"


@pytest.mark.parametrize(("text", "value"), [("none", None), ("other.pt", "other.pt"), ("None", None)])
def test_none_is_none_also_where_a_text_is_allowed(text, value):
    assert override(WithAFile(), [f"weights={text}"]).weights == value


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("schedule.temprature", "(did you mean schedule.temperature?); the nearest are schedule.temperature, "),
        ("batchsize", "'batchsize' (did you mean batch_size?); the nearest are batch_size, "),
        ("rescor", "'rescor' (did you mean rescore?); the nearest are schedule.rescore, "),
        ("learning_rate", "'learning_rate' (here it is called lr)"),
        ("lerning_rate", "'lerning_rate' (did you mean lr?)"),
        ("qqqq", "'qqqq'; the nearest are "),
    ],
)
def test_a_mistyped_field_is_answered_with_the_one_that_is_most_like_it(name, hint):
    with pytest.raises(RecipeError) as refused:
        override(SPL, [f"{name}=1"])
    said = str(refused.value)
    assert hint in said and "\n" not in said
    if "nearest" in said:
        named = said.partition("the nearest are ")[2].partition(" (")[0].split(", ")
        assert len(named) == 3 == len(set(named)) and set(named) < set(flatten(SPL))
