"""``compare --tune``: what each arm tries, what it chooses by, and what becomes of the choice."""

import contextlib
import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from bss.cli import compare as command
from bss.cli.commands import main
from bss.compare import figures, planning, tuning
from bss.compare.arms import find
from bss.compare.comparison import Comparison
from bss.compare.pairs import FoldSeed
from bss.compare.plan import read as read_plan
from bss.compare.runner import Outcome, attempt
from bss.compare.runs import check_comparable, find_folders, read_runs
from bss.compare.tuning import LAST_SEED, Trial, Trials, Tuning, best, grid_of, trials_of
from bss.training.run_folder import sealed
from bss.utils.errors import RecipeError, RunFolderError
from tests import tiny
from tests.compare import comparing
from tests.compare.comparing import fail_run, write_run

TASK = Path(comparing.__file__)
NUMERALS = Path(__file__).resolve().parents[2] / "benchmarks" / "study" / "mfeat.py"
LOW, HIGH = ("lr=0.01",), ("lr=0.1",)
UNIFORM, OGM_GE = ("uniform", None), ("ogm-ge", None)


@pytest.fixture
def comparison(tmp_path):
    return Comparison(
        task=str(TASK),
        arms=("uniform", "ogm-ge"),
        seeds=(0, 1),
        budget="equal",
        assignments=("imbalance_every=0",),
        data_root=tmp_path,
        out=tmp_path / "out",
        workers=0,
    )


def tuned(comparison, *texts, given=()):
    return trials_of(comparison, grid_of(comparison, texts, given))


# ---- what is chosen ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracies", "choice"),
    [
        ({LOW: [0.5], HIGH: [0.7]}, HIGH),
        ({LOW: [0.9, 0.4], HIGH: [0.7, 0.7]}, HIGH),  # means of 0.65 and 0.7
        ({LOW: [0.7], HIGH: [0.7]}, LOW),  # of equal ones the first
        ({HIGH: [0.25, 0.75], LOW: [0.75, 0.25]}, HIGH),
        ({LOW: [0.1, 0.1], HIGH: [0.9, None]}, LOW),  # one run's numbers were not finite
        ({LOW: [None], HIGH: [None]}, None),
        ({LOW: [0.0], HIGH: [None]}, LOW),
    ],
)
def test_the_best_mean_is_chosen_and_of_equal_ones_the_first(accuracies, choice):
    assert best(accuracies) == choice


# ---- what is tried -------------------------------------------------------------------------------------------------


def test_every_arm_that_has_something_to_choose_gets_as_many_runs(comparison):
    """Of 2 x 3 settings OGM-GE tries each once; uniform order, which alpha does not reach, its two with three seeds."""
    trials = tuned(replace(comparison, arms=("uniform", "ogm-ge", "cl")), "lr=0.01,0.1", "method.alpha=0.3,0.5,0.8")
    tried = {name: [trial for arm, trial in trials.plan() if arm == name] for name in trials.arms}
    alphas = ("method.alpha=0.3", "method.alpha=0.5", "method.alpha=0.8")
    assert tried["ogm-ge"] == [Trial((lr, a), LAST_SEED) for lr in ("lr=0.01", "lr=0.1") for a in alphas]
    assert tried["uniform"] == [Trial(lr, LAST_SEED - k) for k in range(3) for lr in (LOW, HIGH)]
    assert tried["cl"] == tried["uniform"] and len(trials.plan()) == 3 * 6
    # Cut short, the others have nothing that an arm lacks: the first seed of all settings comes first.
    assert [trial.pair for _, trial in trials.plan()] == [LAST_SEED] * 10 + [LAST_SEED - 1] * 4 + [LAST_SEED - 2] * 4
    assert tuning.tuning_lines(trials) == [
        "tuning: lr=0.01,0.1; method.alpha=0.3,0.5,0.8, chosen for each arm by validation accuracy",
        "tuning: 6 runs of uniform, cl: 2 settings, 3 seeds each",
        "tuning: 6 runs of ogm-ge: 6 settings, 1 seed each",
    ]


def test_an_arm_that_no_field_reaches_has_nothing_to_choose_and_no_run(comparison):
    trials = tuned(comparison, "method.alpha=0.3,0.8")
    assert {arm for arm, _ in trials.plan()} == {"ogm-ge"}
    assert tuning.tuning_lines(trials)[1:] == [
        "tuning: no run of uniform: none of these fields reaches it, or it has chosen",
        "tuning: 2 runs of ogm-ge: 2 settings, 1 seed each",
    ]


def test_the_order_under_test_is_tuned_by_its_own_fields(comparison):
    """SPL's temperature is no field of the base, a curriculum, and reaches the arms that draw by weights alone."""
    three = replace(comparison, arms=("uniform", "spl", "spl-paper"), assignments=("floor=0.5",))
    trials = tuned(three, "temperature=0.5,1,2", "weighting=linear,softmax")
    counts = {arm: len(trials.of((arm, None))) for arm in three.arms}
    assert counts == {"uniform": 0, "spl": 6, "spl-paper": 6}
    both = ("schedule.temperature=2", "schedule.weighting=linear")
    trial = next(trial for trial in trials.of(("spl", None)) if trial.setting == both)
    schedule = trials.recipe(find(["spl"])[0], trial, None).schedule
    assert (schedule.temperature, schedule.weighting, schedule.floor) == (2.0, "linear", 0.5)
    paper = [trial.setting for arm, trial in trials.plan() if arm == "spl-paper"]
    assert set(paper) == {(f"schedule.temperature={each}",) for each in ("0.5", "1", "2")}  # each on two seeds
    for texts, message in (
        (["temperature=0,1"], "temperature must be > 0"),
        (["temperature=1,x"], "temperature cannot be 'x'"),
        (["temperature=1,1.0"], "1 and 1.0 are the same value"),
    ):
        with pytest.raises(RecipeError, match=message):
            tuned(three, *texts)
    with pytest.raises(RecipeError, match=r"--tune schedule.temperature=1,2 does not reach uniform, ogm-ge"):
        tuned(comparison, "temperature=1,2")


def test_a_control_that_was_not_tuned_is_said_to_be_none():
    chosen = {("uniform", None): (), ("cl", None): (), ("spl", None): ("schedule.temperature=2",)}
    (said,) = tuning.untuned(Tuning({}, (), chosen))
    assert said.startswith("uniform, cl were not tuned, since no tuned field reaches them, and spl chose among")
    assert tuning.untuned(Tuning({}, (), {("spl", None): LOW, ("cl", None): HIGH})) == []
    assert tuning.untuned(Tuning({}, (), {("spl", 0): LOW, ("spl", 1): HIGH, ("cl", 0): HIGH})) == []


def test_a_run_of_a_tuning_is_the_arms_with_its_values_in_a_folder_of_its_own(comparison):
    trials = tuned(comparison, "lr=0.01,0.1", "method.alpha=0.3,0.8")
    (arm,), trial = find(["ogm-ge"]), Trial(("lr=0.1", "method.alpha=0.3"), LAST_SEED)
    assert ("ogm-ge", trial) in trials.plan() and str(trial) == "4294967295 with lr=0.1, method.alpha=0.3"
    assert trials.folder("ogm-ge", trial) == (
        comparison.out / "tune" / "lr=0.1,method.alpha=0.3" / "ogm-ge" / "seed4294967295"
    )
    recipe = trials.recipe(arm, trial, 12)
    assert (recipe.lr, recipe.seed, recipe.updates, recipe.method_options) == (0.1, LAST_SEED, 12, {"alpha": 0.3})
    chosen = replace(comparison, chosen={("ogm-ge", None): trial.setting})
    assert chosen.recipe(arm, LAST_SEED, 12) == recipe
    assert chosen.recipe(find(["uniform"])[0], 0, 12).lr == comparison.base().lr != 0.1


def test_a_setting_whose_name_is_too_long_for_a_folder_has_one_of_its_own(comparison):
    names = ["a" * 300, "é" * 120]  # the second has 240 bytes, and six letters for each in a folder's name
    settings = [(f"method.start.{name}={value}",) for name in names for value in (1, 2)]
    folders = [
        tuned(comparison, "lr=0.01,0.1").folder("mslr", Trial(setting, LAST_SEED)).parents[1].name
        for setting in settings
    ]
    assert len(set(folders)) == 4 and all(len(name.encode()) <= 200 for name in folders)
    assert folders[0].startswith("method.start.aaa")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lr"], "--tune needs field=value,value, got 'lr'"),
        (["lrr=1,2"], "unknown recipe field 'lrr' (did you mean lr?)"),
        (["lr=a,b"], "lr cannot be 'a'; allowed: a number"),
        (["lr=0.1,-1"], "lr must be > 0, got -1"),
        (["lr=0.1"], "--tune lr=0.1 leaves nothing to choose: name two values or more"),
        (["lr="], "--tune lr= leaves nothing to choose"),
        (["lr=0.1,1e-1"], "--tune lr: 0.1 and 1e-1 are the same value"),
        (["lr=1,2", "lr=3,4"], "--tune lr is given twice: name all of its values in one"),
        (["momentum=0.5,0.8"], "momentum is in --tune and in --set: leave one of them out"),
        (["seed=1,2"], "--tune seed: --seeds names those of the comparison, and a tuning has its own"),
        (["overwrite=true,false"], "--tune overwrite: it changes no number"),
        (["batch_size=8,16"], "--tune batch_size: it changes how long an arm trains, which is equal for all"),
        (["val_fraction=0.1,0.2"], "--tune val_fraction: it changes the data that the choice is made on"),
        (["schedule.sampler=curriculum,mix"], "--tune schedule.sampler=curriculum,mix does not reach uniform, ogm-ge"),
        (["schedule.start=0.1,0.5"], "--tune schedule.start=0.1,0.5 does not reach uniform, ogm-ge"),
        (["method.alhpa=1,2"], "--tune method.alhpa=1,2 does not reach uniform, ogm-ge (did you mean alpha?)"),
        (["method.alpha=0.5,x"], "--tune method.alpha=x: the arm ogm-ge: method.alpha cannot be 'x'"),
        (["method.alpha=0.5,0"], "--tune method.alpha=0: the arm ogm-ge: method.alpha must be a number > 0"),
    ],
)
def test_what_cannot_be_tuned_is_refused_by_name(comparison, texts, message):
    with pytest.raises(RecipeError) as refused:
        tuned(replace(comparison, assignments=("momentum=0.8",)), *texts, given=["momentum=0.8"])
    assert message in str(refused.value)


def test_the_test_set_never_stands_for_validation(comparison):
    with pytest.raises(RecipeError, match=r"val_fraction=0 leaves none; the test set cannot stand for it: set val_"):
        tuned(replace(comparison, assignments=("val_fraction=0",)), "lr=0.01,0.1")
    with pytest.raises(RecipeError, match="and this task has none; the test set cannot stand for it"):
        tuning.check_sound(tuned(comparison, "lr=0.01,0.1"), tiny.splits(val=0), tiny.CL)


def test_the_seeds_of_a_tuning_are_none_of_the_comparison(comparison):
    with pytest.raises(RecipeError, match="--seeds names 4294967295, which is a seed of the tuning"):
        tuned(replace(comparison, seeds=(0, LAST_SEED)), "lr=0.01,0.1")


OTHER_TESTS = """
from dataclasses import dataclass, replace
from bss.recipes.recipe import Recipe
from bss.recipes.settings import setting
from tests import tiny
from tests.compare import comparing

@dataclass(frozen=True, kw_only=True)
class Own(Recipe):
    width: int = setting(4, "of the encoders.")
    noise: float = setting(0.0, "of the features.")

CL = Own(**{name: getattr(comparing.CL, name) for name in Recipe.__dataclass_fields__})
DRAWS = False

def build_data(recipe, root):
    data = comparing.build_data(recipe, root)
    names = [f"test{i + (recipe.seed if DRAWS else 0)}" for i in range(len(data.test))]
    return replace(data, listed={"test": (names, data.test.label)})

def build_model(recipe, root):
    return tiny.model(seed=recipe.width)
"""


def task_file(tmp_path, text):
    path = tmp_path / "own.py"
    path.write_text(text)
    return str(path)


def sound(comparison, *texts):
    """What is refused once there are data."""
    from bss import tasks

    recipe = comparison.recipe(find(["uniform"])[0], 0, None)
    data = tasks.load(comparison.task).build_data(recipe, comparison.data_root)
    return tuning.check_sound(tuned(comparison, *texts), data, recipe)


def test_samples_that_a_seed_chooses_by_must_not_be_tested_with_another(comparison, tmp_path):
    sound(replace(comparison, task=task_file(tmp_path, OTHER_TESTS)), "lr=0.01,0.1")
    drawn = task_file(tmp_path, OTHER_TESTS.replace("DRAWS = False", "DRAWS = True"))
    with pytest.raises(RecipeError, match="a seed draws its own test part here"):
        sound(replace(comparison, task=drawn), "lr=0.01,0.1")


def test_what_all_arms_of_a_seed_begin_with_is_not_chosen_by_each(comparison, tmp_path):
    own = replace(comparison, task=task_file(tmp_path, OTHER_TESTS))
    sound(own, "noise=0.0,0.5")
    with pytest.raises(RecipeError, match="--tune width: its values lead to other samples or initial weights"):
        sound(own, "width=4,8")


# ---- from runs to a choice -----------------------------------------------------------------------------------------


def write_tried(trials: Trials, accuracies):
    """Made-up runs of a tuning, by (arm, setting) -> the validation accuracy of each seed; None = not finite."""
    seen: dict[tuple[str, tuple[str, ...]], int] = {}
    for arm, trial in trials.plan():
        place = seen[arm, trial.setting] = seen.get((arm, trial.setting), -1) + 1
        value = accuracies[arm, trial.setting][place]
        folder = write_run(trials.folder(arm, trial), arm=arm, seed=trial.pair, accuracy=value or 0.5)
        if value is None:
            fail_run(folder)


ALPHA = [("method.alpha=0.3",), ("method.alpha=0.8",)]


def test_each_arm_chooses_by_its_own_runs(comparison):
    trials = tuned(comparison, "lr=0.01,0.1", "method.alpha=0.3,0.8")
    write_tried(
        trials,
        {
            ("uniform", LOW): [0.4, 0.9],
            ("uniform", HIGH): [0.6, 0.6],
            ("ogm-ge", LOW + ALPHA[0]): [0.5],
            ("ogm-ge", LOW + ALPHA[1]): [0.7],
            ("ogm-ge", HIGH + ALPHA[0]): [0.7],
            ("ogm-ge", HIGH + ALPHA[1]): [None],
        },
    )
    made = tuning.chosen(tuning.begun(trials), trials)
    assert made.chosen == {UNIFORM: LOW, OGM_GE: LOW + ALPHA[1]}
    assert made.accuracies(UNIFORM) == {LOW: [0.4, 0.9], HIGH: [0.6, 0.6]}
    tuning.write_tuning(made, trials.folder("x", trials.plan()[0][1]).parents[3])
    assert tuning.read(comparison.out) == made and made.asked(UNIFORM) == tuning.asked(trials).asked(UNIFORM)
    table = tuning.tuning_table(made)
    assert table.rows == [
        ["uniform", "lr=0.01", "65.0", "lr=0.1: 60.0", "2", "2", "4"],
        [
            *("ogm-ge", "lr=0.01, method.alpha=0.8", "70.0"),
            "lr=0.01, method.alpha=0.3: 50.0; lr=0.1, method.alpha=0.3: 70.0; lr=0.1, method.alpha=0.8: not finite",
            *("4", "1", "4"),
        ],
    ]


def test_an_arm_none_of_whose_settings_trains_is_named(comparison):
    trials = tuned(replace(comparison, arms=("uniform",)), "lr=0.01,0.1")
    write_tried(trials, {("uniform", LOW): [None], ("uniform", HIGH): [None]})
    with pytest.raises(RecipeError, match="each setting of uniform has a run whose loss was not finite"):
        tuning.chosen(tuning.begun(trials), trials)
    (trials.folder(*trials.plan()[0]) / "summary.json").unlink()
    with pytest.raises(RunFolderError, match=r"lr=0.01.uniform.seed4294967295: unfinished"):
        tuning.chosen(tuning.begun(trials), trials)


def finished_tuning(comparison, *texts):
    trials = tuned(comparison, *texts)
    made = tuning.asked(trials)
    rows = tuple(replace(each, accuracy=0.5) for each in made.tried)
    chosen = {each: next(iter(made.accuracies(each)), ()) for each in trials.choosers}
    comparison.out.mkdir(exist_ok=True)
    tuning.write_tuning(Tuning(made.grid, rows, chosen), comparison.out)
    return tuning.read(comparison.out)


def test_what_was_chosen_holds_without_the_runs_for_these_arms_and_fewer_and_others_are_added(comparison):
    there = finished_tuning(comparison, "lr=0.01,0.1")
    again = tuning.left(tuned(comparison, "lr=0.01,0.1"))
    assert again.plan() == [] and tuning.whole(again) == there
    fewer = tuning.left(tuned(replace(comparison, arms=("ogm-ge",), seeds=(7,)), "lr=0.01,0.1"))
    assert fewer.plan() == [] and tuning.whole(fewer) == there
    more = tuning.left(tuned(replace(comparison, arms=("uniform", "cl")), "lr=0.01,0.1"))
    assert [arm for arm, _ in more.plan()] == ["cl", "cl"] and tuning.whole(more) is None
    begun = tuning.begun(more)
    assert begun.tried[:4] == there.tried and [each.arm for each in begun.tried[4:]] == ["cl", "cl"]
    tuning.write_tuning(begun, comparison.out)
    assert tuning.begun(more) == begun and begun.chosen == there.chosen  # stopped and repeated
    write_tried(more, {("cl", LOW): [0.1], ("cl", HIGH): [0.2]})
    assert tuning.chosen(begun, more).chosen == {**there.chosen, ("cl", None): HIGH}


@pytest.mark.parametrize(
    ("changes", "texts"),
    [({}, ["lr=0.01,0.2"]), ({}, ["lr=0.01,0.1", "momentum=0.1,0.5"]), ({"epochs": 7}, ["lr=0.01,0.1"])],
)
def test_another_tuning_where_one_has_chosen_is_refused(comparison, changes, texts):
    finished_tuning(comparison, "lr=0.01,0.1")
    what = "a tuning with another recipe or order of fields" if changes else "another tuning"
    with pytest.raises(RunFolderError, match=rf"tune.json is of {what} \(lr=0.01,0.1\).*pass another --out"):
        tuning.left(tuned(replace(comparison, **changes), *texts))


def test_a_tuning_by_which_nothing_was_chosen_yet_gives_way_to_another(comparison):
    comparison.out.mkdir()
    tuning.write_tuning(tuning.asked(tuned(comparison, "lr=0.01,0.1")), comparison.out)
    other = tuning.left(tuned(comparison, "lr=0.01,0.2"))
    assert len(other.plan()) == 4 and tuning.begun(other) == tuning.asked(other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "tune.json has the format 2, and this version reads 1"),
        ({"grid": {"lr": "0.1"}}, "tune.json: grid.lr is '0.1', and not a list"),
        ({"chosen": [{"arm": "cl", "fold": 0.5}]}, r"tune.json: chosen\[0\].setting is missing"),
        ({"tried": [{}]}, r"tune.json: tried\[0\].arm is missing"),
    ],
)
def test_a_damaged_file_is_named(comparison, change, message):
    finished_tuning(comparison, "lr=0.01,0.1")
    path = comparison.out / "tune.json"
    path.write_text(json.dumps(sealed({**json.loads(path.read_text()), **change})))
    with pytest.raises(RunFolderError, match=message):
        tuning.read(comparison.out)
    path.write_text(path.read_text().replace("uniform", "uniforn"))
    with pytest.raises(RunFolderError, match=r"out: tune.json.*: bring it back, or move it away"):
        tuning.read(comparison.out)


# ---- in folds ------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_folds(comparison):
    """A comparison in two folds of three; only what needs no data."""
    return replace(comparison, task=str(NUMERALS), seeds=(5,), folds=3, tested=(0, 2))


def test_an_arm_chooses_anew_in_each_fold_since_what_one_chooses_by_another_tests(in_folds):
    trials = tuned(in_folds, "lr=0.01,0.1", "method.alpha=0.3,0.8")
    first = [trial.pair for arm, trial in trials.plan() if arm == "uniform"]
    assert first == [FoldSeed(fold, LAST_SEED - k) for k in range(2) for fold in (0, 2) for _ in (LOW, HIGH)]
    assert tuning.tuning_lines(trials)[1:] == [
        "tuning: 4 runs of uniform: 2 settings, 2 seeds each, in each of 2 folds",
        "tuning: 4 runs of ogm-ge: 4 settings, 1 seed each, in each of 2 folds",
    ]
    arm, trial = find(["uniform"])[0], Trial(HIGH, FoldSeed(2, LAST_SEED))
    assert str(trial) == "4294967295 in fold 2 with lr=0.1"
    assert trials.folder("uniform", trial) == in_folds.out / "tune" / "lr=0.1" / "uniform" / "fold2" / "seed4294967295"
    recipe = trials.recipe(arm, trial, 12)
    assert (recipe.lr, recipe.fold, recipe.folds, recipe.seed) == (0.1, 2, 3, LAST_SEED)
    chosen = replace(in_folds, chosen={("uniform", 0): LOW, ("uniform", 2): HIGH})
    assert [chosen.recipe(arm, pair, 12).lr for pair in chosen.pairs] == [0.01, 0.1]
    row = planning._row(chosen, arm, FoldSeed(2, 5), ())
    assert "--folds 3 --fold 2" in " ".join(row.command) and "--set lr=0.1" in " ".join(row.command)


def test_what_is_chosen_in_a_fold_is_told_and_kept_by_fold(in_folds):
    trials = tuned(replace(in_folds, arms=("uniform",)), "lr=0.01,0.1")
    for arm, trial in trials.plan():
        better = trial.setting == (LOW if trial.pair.fold == 0 else HIGH)
        recipe = {"fold": trial.pair.fold}
        write_run(trials.folder(arm, trial), arm=arm, seed=trial.pair.seed, accuracy=0.5 + better / 4, recipe=recipe)
    made = tuning.chosen(tuning.begun(trials), trials)
    assert made.chosen == {("uniform", 0): LOW, ("uniform", 2): HIGH}
    tuning.write_tuning(made, in_folds.out)
    assert tuning.read(in_folds.out) == made
    table = tuning.tuning_table(made)
    assert "in each fold anew" in table.caption
    assert [row[:4] for row in table.rows] == [
        ["uniform in fold 0", "lr=0.01", "75.0", "lr=0.1: 50.0"],
        ["uniform in fold 2", "lr=0.1", "75.0", "lr=0.01: 50.0"],
    ]
    one = replace(in_folds, arms=("uniform",), tested=(2,))
    assert tuning.choice_lines(made, one) == ["tuning: uniform in fold 2 takes lr=0.1"]
    # Other folds are added, as other arms are.
    more = tuning.left(tuned(replace(one, tested=(1, 2)), "lr=0.01,0.1"))
    assert {trial.pair.fold for _, trial in more.plan()} == {1} and tuning.whole(more) is None
    assert tuning.whole(tuning.left(tuned(one, "lr=0.01,0.1"))) == made


# ---- in a report ---------------------------------------------------------------------------------------------------


def runs_of(folder):
    return read_runs(find_folders([folder])).runs


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"arm": "cl", "recipe": {"lr": 0.2}}, None),
        ({"arm": "cl", "seed": 1, "recipe": {"lr": 0.3}}, "recipes in one report: lr is 0.2 in"),
        ({"arm": "anti", "recipe": {"lr": 0.2, "momentum": 0.6}}, "recipes in one report: momentum is 0.9 in"),
    ],
    ids=["chosen", "within an arm", "not chosen"],
)
def test_runs_may_differ_between_arms_in_what_each_has_chosen_and_in_nothing_else(tmp_path, others, message):
    write_run(tmp_path / "a", arm="uniform", recipe={"lr": 0.1}, mark={"tuned": ["lr"]})
    write_run(tmp_path / "b", arm="cl", recipe={"lr": 0.2})  # repeated by itself, with --set: its mark does not tell
    write_run(tmp_path / ("b" if message is None else "c"), **others)
    with pytest.raises(RunFolderError, match=message) if message else contextlib.nullcontext():
        check_comparable(runs_of(tmp_path))


def test_in_each_fold_an_arm_chooses_anew(tmp_path):
    for fold, lr in enumerate((0.1, 0.2)):
        recipe, lists = {"lr": lr, "fold": fold}, {"test": {"hash": f"fold{fold}"}}
        write_run(tmp_path / f"fold{fold}", recipe=recipe, mark={"tuned": ["lr"]}, lists=lists)
    check_comparable(runs_of(tmp_path))
    write_run(tmp_path / "other", seed=2, recipe={"lr": 0.3, "fold": 1}, mark={"tuned": ["lr"]})
    with pytest.raises(RunFolderError, match=r"recipes in one report: lr is 0\.2 in"):
        check_comparable(runs_of(tmp_path))


def test_the_runs_of_a_tuning_are_no_runs_of_the_comparison(tmp_path):
    run = write_run(tmp_path / "out" / "uniform" / "seed0")
    tried = write_run(tmp_path / "out" / "tune" / "lr=1" / "uniform" / "seed9")
    assert set(find_folders([tmp_path])) == {run, tried}  # a folder that only has the name
    (tmp_path / "out" / "tune.json").write_text("{}")
    assert find_folders([tmp_path]) == find_folders([tmp_path / "out"]) == [run]
    assert find_folders([tmp_path / "out" / "tune"]) == [tried]


# ---- the whole of it -----------------------------------------------------------------------------------------------


def flags(tmp_path, *others):
    (tmp_path / "data").mkdir(exist_ok=True)
    options = {"arms": "uniform,ogm-ge", "seeds": "1", "data-root": tmp_path / "data", "out": tmp_path / "out"}
    options |= {"device": "cpu", "workers": "0", "epochs": "1", "set": "imbalance_every=0"}
    return ["compare", str(TASK), *(w for k, v in options.items() for w in (f"--{k}", str(v))), *others]


class Pool:
    """Trains in this process, up to a number of runs."""

    def __init__(self):
        self.trained, self.most, self.breaks = [], math.inf, None

    def __call__(self, comparison, *, jobs, devices, interrupts):
        outcomes = []
        for arm, seed in comparison.plan():
            if (comparison.folder(arm, seed) / "done").exists():
                continue
            if len(self.trained) == self.most:
                interrupts.noted = signal.SIGTERM
                break
            self.trained.append((arm, str(seed)))
            broken = self.breaks == arm
            outcomes.append(
                Outcome(arm, seed, "memory") if broken else attempt(comparison, find([arm])[0], seed, "cpu")
            )
        return outcomes


@pytest.fixture
def pool(monkeypatch):
    pool = Pool()
    monkeypatch.setattr(command, "run_all", pool)
    monkeypatch.setattr(figures, "curves", lambda *_, **__: "<svg></svg>")  # drawing takes the most time
    monkeypatch.setattr(figures, "forest", lambda *_, **__: "<svg></svg>")
    return pool


def test_a_comparison_with_tuning_goes_on_where_it_was_stopped_and_reports_what_was_chosen(tmp_path, pool, capsys):
    tune = ("--tune", "lr=1e-9,0.1")
    out = tmp_path / "out"
    assert main(flags(tmp_path, *tune, "--dry-run")) == 0
    assert "dry run: 6 runs would take about" in capsys.readouterr().out and not out.exists()

    pool.most = 3
    assert main(flags(tmp_path, *tune)) == 75
    assert "stopped with 1 runs to go; the same command goes on from there" in capsys.readouterr().err
    assert tuning.read(out).chosen == {} and not (out / "plan.json").exists()

    pool.most, pool.breaks = math.inf, "ogm-ge"
    assert main(flags(tmp_path, *tune)) == 1
    assert "1 of 4 tuning runs failed, so that nothing is chosen; the same command repeats them: ogm-ge seed 429" in (
        capsys.readouterr().err
    )

    pool.breaks, pool.trained = None, []
    assert main(flags(tmp_path, *tune)) == 0
    said = capsys.readouterr().out
    assert pool.trained == [("ogm-ge", "4294967295 with lr=0.1"), ("uniform", "0"), ("ogm-ge", "0")]
    assert "tuning: uniform takes lr=0.1\ntuning: ogm-ge takes lr=0.1\n" in said
    assert all(each.accuracy is not None for each in tuning.read(out).tried)
    for arm in ("uniform", "ogm-ge"):
        config = json.loads((out / arm / "seed0" / "config.json").read_text())
        assert config["recipe"]["lr"] == 0.1
        assert json.loads((out / arm / "seed0" / "arm.json").read_text())["tuned"] == ["lr"]
    plan = read_plan(out)
    assert all(row.command[-6:-4] == ("--set", "lr=0.1") for row in plan.runs)
    assert planning.followed(runs_of(out)).plan == plan
    table = (out / "table.md").read_text()
    assert "## Chosen on validation" in table and "| uniform | lr=0.1 |" in table
    assert "Chosen on validation" in (out / "report.html").read_text()

    # A row's own command, a report on the folder, and the whole again train nothing and say the same.
    pool.trained = []
    words = list(plan.runs[0].command)[3:]
    assert main([*words, "--device", "cpu", "--workers", "0"]) == 0
    assert main(["report", str(out), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "table.md").read_text() == table
    assert main(flags(tmp_path, *tune, "--dry-run")) == 0
    assert "all runs are finished, so that only the report would be made" in capsys.readouterr().out
    assert main(flags(tmp_path, *tune)) == 0
    assert not pool.trained and read_plan(out) == plan and (out / "table.md").read_text() == table
