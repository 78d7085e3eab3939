"""The arms of a comparison: each is made from a task's curriculum recipe, orders epochs, and trains."""

import copy
from dataclasses import fields, replace

import pytest
import torch

from bss.compare.arms import ARMS, Arm, adapted, find, of_base, partly_reaching
from bss.recipes.recipe import CurriculumSchedule, Recipe, SelfPacedSchedule
from bss.training.build import method_of, plan
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.errors import RecipeError
from tests import tiny

every_arm = pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
BY_STEP = [arm for arm in ARMS if not arm.by_order]
TASK = replace(tiny.CL, schedule=replace(tiny.CL.schedule, mode="batch", view="train", space="logit", power=3.0))


def sampler_of(arm: Arm, recipe: Recipe):
    planned = plan(tiny.splits(train=60), recipe)
    similarity, loss = torch.rand(2, 60, generator=torch.Generator().manual_seed(0))
    planned.table.update(range(60), similarity=similarity, loss=loss)
    planned.table.synchronize()
    return planned.sampler


# ---- every arm ----


@every_arm
def test_an_arm_orders_epochs_of_a_task(arm):
    sampler = sampler_of(arm, arm.recipe(TASK))
    for epoch in range(3):
        sampler.set_epoch(epoch)
        order = sampler.global_order()
        assert len(order) == sampler.size_at(epoch) and 0 <= order.min() and order.max() < 60
        assert len(list(sampler)) == len(order) // 8 * 8


@every_arm
def test_an_arm_changes_no_number_beside_the_schedule_unless_it_is_about_the_step(arm):
    adapted = arm.recipe(TASK)
    if arm.by_order:
        assert replace(adapted, schedule=TASK.schedule) == TASK
    assert (adapted.seed, adapted.epochs, adapted.lr, adapted.batch_size) == (TASK.seed, 3, 0.05, 8)


@every_arm
def test_an_arm_scores_in_the_way_of_its_task(arm):
    schedule = arm.recipe(TASK).schedule
    assert (schedule.mode, schedule.view, schedule.space) == ("batch", "train", "logit")


OTHERS = {
    "pacing": "linear",
    "start": 0.7,
    "grow_epochs": 2,
    "power": 5.0,
    "warmup_epochs": 2,
    "order": "imbalanced_first",
    "rescore": 2,
    "mode": "train",
    "calibration_batches": 3,
    "view": "test",
    "similarity": "feature",
    "space": "probability",
    "information": "gradient",
    "criterion": "similarity",
    "normalize": "rank",
    "history": 0.25,
    "history_of": "balance",
    "class_balanced": True,
}
"""For every field of TASK's schedule a value that no arm and not TASK has."""


@pytest.mark.parametrize("arm", [*ARMS, *find(["spl+joint", "cl-warmup+ogm-ge"])], ids=lambda arm: arm.name)
def test_a_field_reaches_an_arm_if_and_only_if_it_says_so(arm):
    known = {each.name for each in fields(TASK.schedule)} - {"sampler"}
    assert set(OTHERS) == known
    for name, value in OTHERS.items():
        # A warm-up of its own follows how long the curriculum grows; online scores and heads without weight have rules.
        base = replace(TASK, schedule=replace(TASK.schedule, **{name: value}))
        try:
            made = getattr(arm.recipe(base).schedule, name, None)
        except RecipeError:
            continue
        own = arm.schedule.get(name, value)
        assert arm.is_reached_by(f"schedule.{name}") == (made == value) or own == value, name
    for name, value in {"lr": 0.5, "epochs": 9, "unimodal_weight": 0.5, "prediction": "unimodal"}.items():
        made = getattr(arm.recipe(replace(TASK, **{name: value})), name)
        assert arm.is_reached_by(name) == (made == value) or arm.numbers.get(name) == value
    assert arm.is_reached_by("method") == (arm.recipe(replace(TASK, method="mmpareto")).method == "mmpareto") or (
        arm.method == "mmpareto"
    )
    assert not arm.is_reached_by("schedule.sampler")


@pytest.mark.parametrize(
    "name",
    ["uniform", "feature-gradient", "spl-paper-replacement", "mix", "joint", "cl+loss-weights", "loss-weights-paper"],
)
def test_arms_whose_path_through_the_engine_is_their_own_train(name, tmp_path):
    (arm,) = find([name])
    recipe = arm.recipe(replace(tiny.CL, epochs=2, checkpoint_minutes=None, imbalance_every=0))
    run = Run(out=tmp_path / "run", data_root=tmp_path, device=torch.device("cpu"))
    summary = fit(tiny.model(), tiny.splits(), recipe, run)
    assert 0 <= summary["test"]["last"]["accuracy"]["all"] <= 1


def test_arms_have_names_and_titles_of_their_own():
    assert len({arm.name for arm in ARMS}) == len({arm.title for arm in ARMS}) == len(ARMS)
    assert all(arm.name == arm.name.lower() and "+" not in arm.name and "," not in arm.name for arm in ARMS)
    assert all("\n" not in arm.title and len(arm.title) <= 60 for arm in ARMS)


def test_no_two_arms_are_the_same_training():
    kinds = [arm.recipe(TASK) for arm in ARMS]
    assert all(kinds.count(kind) == 1 for kind in kinds)


# ---- what single arms are ----


def test_a_modality_by_itself_trains_its_encoder_and_head_alone(tmp_path):
    (arm,) = find(["alone-audio"])
    recipe = arm.recipe(replace(tiny.CL, epochs=1, weight_decay=0.0, checkpoint_minutes=None, imbalance_every=0))
    run = Run(out=tmp_path / "run", data_root=tmp_path, device=torch.device("cpu"))
    model = tiny.model()
    before = copy.deepcopy(model.state_dict())
    summary = fit(model, tiny.splits(), recipe, run)
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    parts = {".".join(name.split(".")[:2]) for name in changed if not name.endswith(("running_mean", "running_var"))}
    assert {part for part in parts if "num_batches" not in part} <= {"encoders.audio", "heads.audio"}
    assert any(name.startswith("heads.audio") for name in changed)
    accuracy = summary["test"]["last"]["accuracy"]
    assert accuracy["all"] == accuracy["audio"]
    assert all(parameter.requires_grad for parameter in model.parameters()), "what was spared is given back"


def test_a_modality_that_the_samples_lack_is_refused_with_those_that_there_are(tmp_path):
    recipe = find(["alone-sound"])[0].recipe(tiny.CL)
    with pytest.raises(RecipeError, match=r"modality=sound \(the arm alone-sound\) is none of .*: audio, visual"):
        plan(tiny.splits(), recipe)


def test_scores_and_methods_need_all_modalities():
    with pytest.raises(RecipeError, match="modality=audio trains one head"):
        replace(tiny.CL, modality="audio")


def test_a_modality_by_itself_joins_with_orders_without_scores():
    assert find(["random-pacing+alone-audio"])[0].recipe(tiny.CL).modality == "audio"
    with pytest.raises(RecipeError, match="alone-audio trains one head, and cl goes by the scores of all modalities"):
        find(["alone-audio+cl"])


def test_the_ensemble_has_no_fused_loss_and_no_fused_prediction():
    recipe = find(["ensemble"])[0].recipe(TASK)
    assert (recipe.fused_weight, recipe.unimodal_weight, recipe.prediction) == (0.0, 1.0, "unimodal")


def test_the_papers_two_readings_differ_in_the_draw_alone():
    without, with_ = (arm.recipe(TASK) for arm in find(["spl-paper", "spl-paper-replacement"]))
    assert (without.schedule.sampler, with_.schedule.sampler) == ("self_paced", "resampling")
    assert replace(with_.schedule, sampler="self_paced") == without.schedule
    schedule = without.schedule
    assert (schedule.weighting, schedule.history, schedule.history_of) == ("softmax", 0.4, "balance")


def test_the_uniform_arm_reads_no_scores_and_sees_everything():
    (arm,) = find(["uniform"])
    assert arm.sampler == "uniform" and not arm.recipe(TASK).uses_scores
    assert sampler_of(arm, arm.recipe(TASK)).size_at(0) == 60


def test_the_curriculum_arms_keep_the_tasks_pacing():
    for arm in find(["random-pacing", "cl", "anti", "mix", "cl-loss"]):
        schedule = arm.recipe(TASK).schedule
        assert (schedule.start, schedule.grow_epochs, schedule.power) == (0.3, 3, 3.0)


def test_the_warm_up_is_an_eighth_of_the_growth_and_one_epoch_at_least():
    (arm,) = find(["cl-warmup"])
    published = replace(TASK, epochs=40, schedule=CurriculumSchedule())
    assert [arm.recipe(recipe).schedule.warmup_epochs for recipe in (published, TASK)] == [5, 1]


def test_the_sharp_arm_has_the_temperature_of_its_title():
    (arm,) = find(["spl-sharp"])
    schedule = arm.recipe(TASK).schedule
    assert (schedule.normalize, schedule.temperature) == ("rank", 0.25) and "0.25" in arm.title


# ---- find ----


def test_arms_are_found_in_the_order_of_their_names():
    assert [arm.name for arm in find(["spl", "uniform", "cl"])] == ["spl", "uniform", "cl"]


@pytest.mark.parametrize("name", ["SPL", "curriculum", "", "spl+nothing", " cl"])
def test_an_unknown_arm_is_refused_with_all_that_are_known(name):
    with pytest.raises(RecipeError, match="unknown arm") as refused:
        find([name])
    assert all(arm.name in str(refused.value) for arm in ARMS)


def test_a_mistyped_arm_is_answered_with_the_one_that_is_most_like_it():
    with pytest.raises(RecipeError, match=r"'randompacing' \(did you mean random-pacing\?\); the arms are"):
        find(["randompacing"])


def test_an_arm_given_twice_is_refused():
    with pytest.raises(RecipeError, match="'cl' is given twice"):
        find(["cl", "uniform", "cl"])


@pytest.mark.parametrize("step", BY_STEP, ids=lambda arm: arm.name)
def test_an_order_and_a_step_join(step):
    (arm,) = find([f"spl+{step.name}"])
    adapted = arm.recipe(TASK)
    (spl,) = find(["spl"])
    assert arm.sampler == "self_paced" and arm.title == f"SPL; {step.title}"
    own = spl.recipe(TASK).schedule
    assert adapted.schedule == (replace(own, criterion="loss") if step.name == "joint" else own)
    assert replace(adapted, schedule=TASK.schedule) == replace(step.recipe(TASK), schedule=TASK.schedule)
    assert arm.method == step.method


def test_an_order_by_heads_that_nothing_trains_is_one_by_the_fused_loss_or_refused():
    by_features, random = find(["feature-loss+joint", "random-pacing+joint"])
    assert by_features.recipe(TASK).schedule.criterion == random.recipe(TASK).schedule.criterion == "both"
    (by_heads,) = find(["cl-similarity+joint"])
    with pytest.raises(RecipeError, match=r"unimodal_weight=0 leaves .* set schedule.criterion=loss"):
        by_heads.recipe(TASK)


def test_arms_join_in_either_order():
    (arm,) = find(["loss-weights+cl"])
    assert arm.sampler == "curriculum" and arm.method == "loss-weights"


def test_the_papers_weights_on_the_loss_are_those_of_its_draw():
    """The control of ``spl-paper``: uniform order, and the same weights of the same scores."""
    (control, joined), paper = (
        find(["loss-weights-paper", "cl+loss-weights-paper"]),
        find(["spl-paper"])[0].recipe(TASK),
    )
    recipe = control.recipe(TASK)
    assert (recipe.schedule.sampler, recipe.schedule.start, recipe.method) == ("uniform", 1.0, "loss-weights")
    for name in ("rescore", "history", "history_of", "normalize", "criterion", "mode"):
        assert getattr(recipe.schedule, name) == getattr(paper.schedule, name), name
    method = method_of(recipe, 60)
    assert method.settings()["weighting"] == paper.schedule.weighting == "softmax"
    assert (method.temperature, method.order) == (paper.schedule.temperature, paper.schedule.order)
    assert joined.recipe(TASK).method_options == {"weighting": "softmax"}


def test_a_constant_reaches_the_arms_whose_method_has_it_and_that_do_not_set_it():
    names = ["uniform", "ogm-ge", "agm", "mmpareto", "cl+ogm-ge", "loss-weights-paper"]
    base = replace(TASK, method_options={"alpha": 0.3, "weighting": "linear"})
    made = {arm.name: dict(arm.recipe(base).method_options) for arm in find(names)}
    alpha = {"alpha": 0.3}
    assert made == {
        **{"uniform": {}, "mmpareto": {}, "ogm-ge": alpha, "agm": alpha, "cl+ogm-ge": alpha},
        "loss-weights-paper": {"weighting": "softmax"},
    }
    # The method that the base names is that of all arms that are about none themselves.
    assert find(["cl"])[0].recipe(replace(base, method="agm")).method_options == alpha
    assert find(["mmpareto"])[0].recipe(replace(base, method="agm")).method_options == {}


def test_which_arms_a_constant_reaches_is_said_and_one_that_reaches_none_is_refused():
    arms = find(["uniform", "ogm-ge", "loss-weights-paper"])
    assert partly_reaching(find(["mslr", "agm"]), ["method.start.audio=0.9"], TASK) == [
        "method.start.audio=0.9 reaches mslr; not agm"
    ]
    said = partly_reaching(arms, ["method.alpha=0.3"], TASK)
    assert said == ["method.alpha=0.3 reaches ogm-ge; not uniform, loss-weights-paper"]
    assert partly_reaching(arms, ["method.alpha=0.3"], replace(TASK, method="agm")) == [
        "method.alpha=0.3 reaches uniform, ogm-ge; not loss-weights-paper"
    ]
    message = (
        r"--set method.alpah=1 does not reach uniform, ogm-ge, loss-weights-paper \(did you mean alpha\?\): of the "
        r"methods' constants ogm-ge has alpha, noise, last_epoch; loss-weights has weighting, floor, temperature, order"
    )
    with pytest.raises(RecipeError, match=message):
        partly_reaching(arms, ["method.alpah=1"], TASK)
    with pytest.raises(RecipeError, match="does not reach uniform: none of them has a method"):
        partly_reaching(find(["uniform"]), ["method.alpha=1"], TASK)


OF_SPL = ["temperature=0.5", "schedule.floor=0.2", "weighting=softmax"]


def test_the_own_fields_of_weighted_draws_are_set_for_the_arms_that_have_them():
    assert of_base(TASK, ["lr=0.3", *OF_SPL, "method.alpha=1"]) == ["lr=0.3", "method.alpha=1"]
    made = {
        arm.name: adapted(arm, TASK, OF_SPL).schedule
        for arm in find(["uniform", "cl", "spl", "resampling", "spl-sharp", "spl-paper", "spl+ogm-ge"])
    }
    for name in ("spl", "resampling", "spl+ogm-ge"):
        schedule = made[name]
        assert (schedule.temperature, schedule.floor, schedule.weighting) == (0.5, 0.2, "softmax"), name
    assert (made["spl-sharp"].temperature, made["spl-sharp"].floor) == (0.25, 0.2)  # what makes an arm stays
    assert (made["spl-paper"].temperature, made["spl-paper"].weighting) == (0.5, "softmax")
    assert made["cl"] == find(["cl"])[0].recipe(TASK).schedule
    assert made["uniform"] == find(["uniform"])[0].recipe(TASK).schedule


def test_which_arms_a_field_of_weighted_draws_reaches_is_said_and_one_that_reaches_none_is_refused():
    said = partly_reaching(find(["cl", "spl", "spl-sharp"]), ["temperature=0.5"], TASK)
    assert said == ["schedule.temperature=0.5 reaches spl; not cl, spl-sharp"]
    with pytest.raises(RecipeError, match=r"--set schedule.temperature=0.5 does not reach cl: the field is"):
        partly_reaching(find(["cl"]), ["temperature=0.5"], TASK)
    with pytest.raises(RecipeError, match=r"schedule.temperature must be > 0"):
        adapted(find(["spl"])[0], TASK, ["temperature=0"])


def test_a_short_name_is_the_fields_whatever_constants_a_method_has():
    (arm,) = find(["spl+loss-weights-paper"])  # its constant is method.weighting
    made = adapted(arm, TASK, ["weighting=softmax", "temperature=0.5"])
    assert (made.schedule.weighting, made.schedule.temperature) == ("softmax", 0.5)
    base = replace(TASK, method_options={"temperature": 0.3})
    assert of_base(base, ["temperature=0.5", "method.temperature=2"]) == ["method.temperature=2"]
    assert adapted(find(["spl"])[0], base, ["temperature=0.5"]).schedule.temperature == 0.5
    message = (
        r"temperature=2 does not reach loss-weights: .*Leave it out, or set method.temperature, which is loss-weig"
    )
    with pytest.raises(RecipeError, match=message):
        partly_reaching(find(["loss-weights"]), ["temperature=2"], base)


def test_a_base_that_has_a_field_of_weighted_draws_itself_takes_it():
    base = replace(TASK, schedule=SelfPacedSchedule())
    assert of_base(base, OF_SPL) == OF_SPL


@pytest.mark.parametrize("name", ["spl+cl", "loss-weights+loss-weights", "cl+spl+loss-weights"])
def test_arms_that_do_not_join_are_refused(name):
    with pytest.raises(RecipeError, match=r"does not join.*loss-weights"):
        find([name])


@pytest.mark.parametrize(("epochs", "smv", "data_remixing"), [(4, 1, 1), (12, 3, 3), (32, 5, 8), (120, 5, 10)])
def test_the_warm_up_of_a_method_is_the_released_one_or_a_quarter_of_the_run(epochs, smv, data_remixing):
    recipe = replace(TASK, epochs=epochs)
    warmups = [method_of(arm.recipe(recipe), 60).warmup_epochs for arm in find(["smv", "data-remixing"])]
    assert warmups == [smv, data_remixing]
