"""``--recipe FILE``: TOML, and the ``config.json`` of a run."""

import importlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import pytest

from bss import recipes, samplers, tasks
from bss.cli import recipe_file
from bss.cli.commands import STEMS, main
from bss.compare.arms import ARMS, find
from bss.methods import Method
from bss.recipes import from_toml
from bss.recipes.cremad import CL, SPL
from bss.recipes.fields import flatten, override
from bss.recipes.recipe import Recipe
from bss.training.build import method_of
from bss.training.checkpoint import identity_without_data
from bss.training.run_folder import sealed
from bss.utils.errors import RecipeError
from tests.compare import comparing

TASK = Path(comparing.__file__)
FORMAT1 = Path(__file__).resolve().parents[1] / "training" / "format1"
PRESETS = {
    f"{stem}.{name}": (stem, recipe)
    for stem in STEMS
    for name, recipe in vars(importlib.import_module(f"bss.recipes.{stem}")).items()
    if isinstance(recipe, Recipe)
}


def toml(folder, text):
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def config_of(folder, preset, *, stem="cremad", arm=None, **others):
    """The ``config.json`` of a run with this recipe, as :mod:`bss.training.engine` writes one."""
    method = method_of(preset, 100)
    config = {
        "format": 2,
        "task": stem,
        "task_hash": None,
        "arm": arm,
        "recipe": asdict(preset),
        "sampler": samplers.BY_NAME[preset.schedule.sampler].__name__,
        "method": None if type(method) is Method else type(method).__name__,
        "method_settings": method.settings(),
        "samples": {"train": 100},
    }
    path = folder / "config.json"
    path.write_text(json.dumps(sealed({**config, **others})))
    return path


# ---- TOML ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "assignments"),
    [
        ("", []),
        ("[schedule]\n", []),
        ('lr = 1\n[schedule]\nmode = "batch"\n', ["lr=1", "schedule.mode=batch"]),
        ('schedule.mode = "batch"\n"schedule.start" = 0.5\n', ["mode=batch", "start=0.5"]),
        ('grow_epochs = 20\nrescore = 2\nhistory = "none"\n', ["grow_epochs=20", "rescore=2", "history=none"]),
        ('overwrite = true\ncache = "none"\nupdates = 7\n', ["overwrite=true", "cache=none", "updates=7"]),
        ('\ufeff# from an editor of Windows\r\nepochs = 3\r\n', ["epochs=3"]),
        ('[schedule]\nrescore = "online"\nwarmup_epochs = 1\n', ["warmup_epochs=1", "rescore=online"]),
    ],
)  # fmt: skip
def test_a_file_says_what_assignments_say(text, assignments, tmp_path):
    assert from_toml(toml(tmp_path, text), CL) == override(CL, assignments)


def test_a_run_is_known_by_its_recipe_and_not_by_the_file(tmp_path):
    one = from_toml(toml(tmp_path, "lr = 0.5\n[schedule]\nstart = 0.2\n"), CL)
    other = from_toml(toml(tmp_path, "# the same\nschedule.start = 2e-1\nlr = 0.50\nepochs = 120\n"), CL)
    identity = [identity_without_data(samplers.CurriculumSampler, Method(), flatten(recipe)) for recipe in (one, other)]
    assert identity[0] == identity[1] and one != CL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batchsize = 3", "unknown recipe field 'batchsize' (did you mean batch_size?)"),
        ("[schedule]\nmod = 'batch'", "unknown recipe field 'schedule.mod' (did you mean schedule.mode?)"),
        ("[schedule]\nlr = 0.1", "unknown recipe field 'schedule.lr'"),
        ("[shedule]", "unknown recipe field 'shedule' (did you mean schedule."),
        ("[lr]\nvalue = 0.1", "unknown recipe field 'lr.value'"),
        ("schedule = 3", "unknown recipe field 'schedule'"),
        ("temperature = 0.5", "(only the schedule of SPL has it: train-SPL.py, or arms such as spl"),
        ("lr = '0.1'", "lr cannot be '0.1'; allowed: a number"),
        ("lr = true", "lr cannot be True; allowed: a number"),
        ("lr = nan", "lr cannot be nan; allowed: a number"),
        ("lr = [0.1]", "lr cannot be [0.1]; allowed: a number"),
        ("epochs = 1.0", "epochs cannot be 1.0; allowed: a whole number"),
        ("overwrite = 'true'", "overwrite cannot be 'true'; allowed: true or false"),
        ("optimizer = 'lion'", "optimizer cannot be 'lion'; allowed: sgd, adam, adamw"),
        ("optimizer = 1979-05-27", "optimizer cannot be datetime.date(1979, 5, 27); allowed: sgd, adam, adamw"),
        ("rescore = '2'", "schedule.rescore cannot be '2'; allowed: once, pass, online, a whole number"),
        ("epochs = 0", "epochs must be >= 1, got 0"),
        ("mode = 'batch'\nschedule.mode = 'eval'", "schedule.mode is given twice"),
        ("lr = ", "is no TOML: Invalid value (at "),
        ("lr = 1\nlr = 2", "is no TOML: Cannot overwrite a value (at "),
        ("a = " + "[" * 5000, "is no TOML"),
    ],
    ids=lambda value: value[:30].replace("\n", " "),
)
def test_what_a_recipe_does_not_admit_is_refused_with_file_and_key(text, said, tmp_path):
    path = toml(tmp_path, text)
    with pytest.raises(RecipeError) as refused:
        from_toml(path, CL)
    assert str(path) in str(refused.value) and said in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_a_file_that_is_missing_or_of_another_encoding_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"nothing.toml cannot be read: No such file"):
        from_toml(tmp_path / "nothing.toml", CL)
    (tmp_path / "latin.toml").write_bytes('cache = "\u00e9"'.encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin.toml is no TOML: 'utf-8' codec can't decode byte 0xe9"):
        from_toml(tmp_path / "latin.toml", CL)


# ---- a run's config.json -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_from_the_config_of_its_run(name, tmp_path):
    stem, recipe = PRESETS[name]
    file = recipe_file.read(config_of(tmp_path, recipe, stem=stem), stem)
    task = tasks.load(stem)
    start = next(base for base in (task.CL, task.SPL) if type(base.schedule) is type(recipe.schedule))
    assert file.applied(start) == file.applied(task.sample_recipe(start)) == recipe


@pytest.mark.parametrize("name", [*(arm.name for arm in ARMS), "spl+ogm-ge", "cl+joint"])
def test_every_arm_comes_back_from_the_config_of_its_run(name, tmp_path):
    (arm,) = find([name])
    recipe = arm.recipe(replace(CL, seed=3, updates=77, lr=0.5))
    file = recipe_file.read(config_of(tmp_path, recipe, arm=name), "cremad")
    again = file.for_arm(CL, file.arm(None))
    assert again == recipe and arm.recipe(again) == recipe


def test_a_file_has_the_constants_of_a_method_in_a_table_of_its_own(tmp_path):
    """The method itself is a name, and TOML has no room for both: the arm says it, or the table has another name."""
    by_arm = recipe_file.read(toml(tmp_path, "[method]\nalpha = 0.3\n"), "cremad")
    (ogm_ge, uniform) = find(["ogm-ge", "uniform"])
    assert ogm_ge.recipe(by_arm.for_arm(CL, ogm_ge)).method_options == {"alpha": 0.3}
    with pytest.raises(
        RecipeError, match=r"recipe\.toml: method\.alpha=0\.3 does not reach uniform: none of them has a"
    ):
        by_arm.for_arm(CL, uniform)
    assert by_arm.for_comparison(CL) == ["method.alpha=0.3"]
    both = recipe_file.read(toml(tmp_path, 'method = "agm"\n[method_options]\nalpha = 0.3\n'), "cremad")
    assert uniform.recipe(both.for_arm(CL, uniform)).method_options == {"alpha": 0.3}
    assert both.for_comparison(CL) == ["method=agm", "method.alpha=0.3"]


@pytest.mark.parametrize("options", [{}, {"alpha": 0.3}])
def test_a_run_gives_the_constants_of_its_method(tmp_path, options):
    (arm,) = find(["agm"])
    run = arm.recipe(replace(CL, method_options=options))
    file = recipe_file.read(config_of(tmp_path, run, arm="agm"), "cremad")
    assert arm.recipe(file.for_arm(CL, arm)) == run and run.method_options == options


def test_a_run_that_is_older_than_a_constant_of_its_method_gives_its_recipe(tmp_path):
    (arm,) = find(["loss-weights"])
    run = arm.recipe(CL)
    settings = {name: value for name, value in method_of(run, 100).settings().items() if name != "weighting"}
    file = recipe_file.read(config_of(tmp_path, run, arm="loss-weights", method_settings=settings), "cremad")
    assert arm.recipe(file.for_arm(CL, arm)) == run


@pytest.mark.parametrize("name", ["cl", "spl"])
def test_a_run_of_format_1_gives_its_recipe(name):
    file = recipe_file.read(FORMAT1 / name / "config.json", str(TASK))
    recipe = file.for_arm(comparing.CL, file.arm(find([name])[0]))
    there = json.loads((FORMAT1 / name / "config.json").read_text())["recipe"]
    assert {f"schedule.{k}": v for k, v in there["schedule"].items()}.items() <= flatten(recipe).items()
    assert recipe.lr == there["lr"] and recipe.epochs == there["epochs"]


def test_whether_a_folder_is_overwritten_is_not_taken_from_a_run(tmp_path):
    assert not recipe_file.read(config_of(tmp_path, replace(CL, overwrite=True)), "cremad").applied(CL).overwrite


def test_a_run_folder_is_its_config(tmp_path):
    config_of(tmp_path, replace(CL, lr=0.5))
    assert recipe_file.read(tmp_path, "cremad").applied(CL).lr == 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": "ks"}, "is of a run of ks, and this trains cremad"),
        ({"recipe": None}, "is no run's config.json: it has no recipe"),
        ({"sampler": "Mine"}, "is of a run with the sampler 'Mine', which no recipe names: pass it to bss.fit"),
        ({"sampler": ["x"]}, "is of a run with the sampler ['x'], which no recipe names"),
        ({"method": "Own"}, "is of a run with the method Own {}, and its recipe makes None {}: pass the method to bss"),
        ({"method_settings": {"alpha": 2}}, "is of a run with the method None {'alpha': 2}"),
        ({"samples": None}, "its samples or method are odd"),
        ({"recipe": {**asdict(CL), "schedule": {"start": "half"}}}, "schedule.start cannot be 'half'"),
        ({"recipe": {**asdict(CL), "renamed": 1}}, "unknown recipe field 'renamed'"),
        ({"recipe": {**asdict(CL), "schedule": 1}}, "which no recipe names"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else next(iter(value)),
)
def test_a_run_whose_recipe_does_not_say_all_is_refused(changes, said, tmp_path):
    path = config_of(tmp_path, CL, **changes)
    with pytest.raises(RecipeError) as refused:
        recipe_file.read(path, "cremad").applied(CL)
    assert str(path) in str(refused.value) and said in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_a_config_that_was_changed_by_hand_is_refused(tmp_path):
    path = config_of(tmp_path, CL)
    path.write_text(path.read_text().replace('"lr": 0.01', '"lr": 0.1'))
    with pytest.raises(RecipeError, match=r"was changed by hand: .*; to change a run's numbers, use --set"):
        recipe_file.read(path, "cremad")


def test_the_same_task_file_elsewhere_is_the_same_task(tmp_path):
    (tmp_path / "task.py").write_text(TASK.read_text() + "\n# moved\n")
    from bss.tasks import task_file

    path = config_of(tmp_path, comparing.CL, task="/elsewhere/task.py", task_hash=task_file(str(TASK)))
    assert recipe_file.read(path, str(tmp_path / "task.py")).applied(comparing.CL) == comparing.CL


def test_a_run_of_another_sampler_is_refused_with_the_command_that_trains_it(tmp_path):
    file = recipe_file.read(config_of(tmp_path, SPL), "cremad")
    with pytest.raises(
        RecipeError, match=r"with the sampler self_paced, and this recipe's are curriculum, .*bss train"
    ):
        file.applied(CL)


# ---- arms ----------------------------------------------------------------------------------------------------------


def test_an_arm_is_refused_that_would_change_the_runs_numbers(tmp_path):
    online = override(SPL, ["rescore=online"])
    file = recipe_file.read(config_of(tmp_path, online), "cremad")
    with pytest.raises(RecipeError, match=r"not of the arm spl, which has schedule.rescore=pass, and not online"):
        file.for_arm(CL, find(["spl"])[0])
    assert file.for_arm(CL, find(["spl-online"])[0]) == online


def test_the_arm_is_said_once(tmp_path):
    file = recipe_file.read(config_of(tmp_path, SPL, arm="spl"), "cremad")
    assert file.arm(None).name == file.arm(find(["spl"])[0]).name == "spl"
    with pytest.raises(RecipeError, match="is of a run of the arm spl, and --arm says cl: leave one out"):
        file.arm(find(["cl"])[0])
    with pytest.raises(RecipeError, match="pass --arm ARM"):
        recipe_file.read(toml(tmp_path, ""), "cremad").arm(None)


def test_a_field_of_a_file_that_does_not_reach_the_arm_is_refused(tmp_path):
    file = recipe_file.read(toml(tmp_path, "[schedule]\nstart = 0.5\ngrow_epochs = 40\n"), "cremad")
    with pytest.raises(RecipeError, match=r"recipe.toml: schedule.start=0.5 does not reach uniform"):
        file.for_arm(CL, find(["uniform"])[0])


# ---- the commands --------------------------------------------------------------------------------------------------


def test_train_takes_a_file_then_flags_then_set_and_the_run_that_it_made(tmp_path, capsys):
    path = toml(tmp_path, "epochs = 9\nlr = 0.5\nseed = 4\nimbalance_every = 0\n[schedule]\nhistory = 0.5\n")
    words = ["--data-root", tmp_path, "--device", "cpu", "--workers", "0"]

    def train(*flags):
        return main(["train", str(TASK), *map(str, [*words, *flags])])

    run, copy = tmp_path / "run", tmp_path / "copy"
    assert train("--arm", "spl", "--recipe", path, "--epochs", 1, "--set", "lr=0.25", "--out", run) == 0
    one = json.loads((run / "config.json").read_text())
    assert (one["recipe"]["epochs"], one["recipe"]["lr"], one["recipe"]["seed"]) == (1, 0.25, 4)
    assert one["recipe"]["schedule"]["history"] == 0.5
    assert train("--recipe", run / "config.json", "--out", copy) == 0
    two = json.loads((copy / "config.json").read_text())
    assert all(two[name] == one[name] for name in ("arm", "recipe", "identity", "sampler", "method_settings"))
    capsys.readouterr()
    assert train("--out", copy) == 2 and "pass --arm ARM" in capsys.readouterr().err


def planned(tmp_path, *flags, arms="uniform,cl"):
    """The runs' recipe of a comparison."""
    from bss.cli import commands, compare

    words = ["compare", str(TASK), "--arms", arms, "--seeds", "1", "--data-root", str(tmp_path), "--out", str(tmp_path)]
    parsed = commands._parser().parse_args([*words, "--workers", "0", *map(str, flags)])
    return compare._planned(parsed, [])[0].base()


def test_compare_takes_a_file_for_the_base_of_its_arms(tmp_path, capsys):
    path = toml(tmp_path, "epochs = 9\nlr = 0.5\n[schedule]\nstart = 0.4\n")
    base = planned(tmp_path, "--recipe", path, "--epochs", 1, "--set", "lr=0.25")
    assert base == override(comparing.CL, ["epochs=1", "lr=0.25", "start=0.4"])
    assert "schedule.start=0.4 reaches cl; not uniform" in capsys.readouterr().out


def test_a_file_may_have_the_own_fields_of_weighted_draws(tmp_path, capsys):
    path = toml(tmp_path, "epochs = 1\nfloor = 0.5\n[schedule]\ntemperature = 2\nhistory = 0.5\n")
    words = ["train", str(TASK), "--arm", "spl", "--recipe", path, "--set", "floor=0.25", "--set", "imbalance_every=0"]
    words += ["--data-root", tmp_path, "--device", "cpu", "--workers", "0", "--out", tmp_path / "run"]
    assert main([*map(str, words)]) == 0
    schedule = json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]["schedule"]
    assert (schedule["temperature"], schedule["floor"], schedule["history"]) == (2.0, 0.25, 0.5)
    capsys.readouterr()
    base = planned(tmp_path, "--recipe", path, arms="uniform,spl")
    assert base == override(comparing.CL, ["epochs=1", "history=0.5"])
    said = capsys.readouterr().out
    assert "schedule.temperature=2 reaches spl; not uniform" in said and "schedule.floor=0.5 reaches spl" in said
    file = recipe_file.read(path, str(TASK))
    with pytest.raises(RecipeError, match=r"recipe.toml: schedule.floor=0.5 does not reach cl"):
        file.for_arm(comparing.CL, find(["cl"])[0])
    for text, message in (
        ("temperature = '2'", "temperature cannot be '2'; allowed: a number"),
        ("temperature = 2\nschedule.temperature = 2", "recipe.toml: schedule.temperature is given twice"),
    ):
        with pytest.raises(RecipeError, match=message):
            recipe_file.read(toml(tmp_path, text), str(TASK)).assignments(comparing.CL)


def test_a_name_that_the_task_has_itself_is_the_tasks_in_a_file_as_in_set(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Warm(Recipe):
        temperature: float = 7.0

    base = Warm(**{each.name: getattr(comparing.CL, each.name) for each in fields(Recipe)})
    file = recipe_file.read(toml(tmp_path, "temperature = 3.0\nschedule.temperature = 2.0\n"), str(TASK))
    assert file.assignments(base) == ["temperature=3.0", "schedule.temperature=2.0"]
    assert file.of_draws(base) == ["schedule.temperature=2.0"]
    with pytest.raises(
        RecipeError, match=r"recipe.toml: unknown recipe field 'temprature' \(did you mean temperature\?"
    ):
        recipe_file.read(toml(tmp_path, "temprature = 0.5"), str(TASK)).assignments(comparing.CL)


def test_compare_takes_the_run_of_an_arm_cl_without_its_seed(tmp_path):
    there = replace(comparing.CL, seed=5, updates=7, lr=0.5)
    path = config_of(tmp_path, there, stem=str(TASK), arm="cl")
    assert planned(tmp_path, "--recipe", path) == replace(there, seed=comparing.CL.seed)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--recipe", "seed.toml"], "seed is not for a comparison: use --seeds"),
        (
            ["--recipe", "uniform/config.json"],
            "is of a run of the arm uniform, and a comparison makes its arms of CL's",
        ),
        (["--recipe", "cl/config.json", "--epochs", "1"], "has updates=7, which end a run whatever --epochs says"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[1],
)
def test_what_is_not_for_a_comparison_is_refused(flags, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("seed.toml").write_text("seed = 3\n")
    for name in ("uniform", "cl"):
        (tmp_path / name).mkdir()
        recipe = find([name])[0].recipe(replace(comparing.CL, updates=7))
        config_of(tmp_path / name, recipe, stem=str(TASK), arm=name)
    with pytest.raises(RecipeError) as refused:
        planned(tmp_path, *flags)
    assert said in str(refused.value)


def test_the_fields_of_a_file_are_public():
    assert recipes.from_toml is from_toml
