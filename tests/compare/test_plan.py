"""``plan.json``: what a comparison sets out to show, before anything is trained."""

import dataclasses
import hashlib
import json
from dataclasses import replace

import pytest

from bss.compare.plan import YOUNGER, Analysis, Plan, PlannedRun, plan_hash, read, recipe_hash, write
from bss.recipes.recipe import Recipe
from bss.utils.errors import RecipeError, RunFolderError


def analysis(**others):
    known = {
        "arms": ("uniform", "cl"),
        "seeds": tuple(range(10)),
        "contrasts": (("cl", "uniform"),),
        "metric": "accuracy",
        "outcomes": ("chosen", "last"),
        "margin": 1.0,
        "looks": 1,
    }
    return Analysis(**{**known, **others})


def planned(**others):
    """A plan of an analysis, with a made-up row for each of its runs."""
    kept = {name: others.pop(name) for name in ("previous", "seen") if name in others}
    one = analysis(**others)
    rows = [
        PlannedRun(arm, seed, None, f"{arm}/seed{seed}", ("python", "-m", "bss"), f"recipe {arm} {seed}")
        for seed in one.seeds
        for arm in one.arms
    ]
    return Plan(one, tuple(rows), **kept)


# ---- the analysis ----


@pytest.mark.parametrize(
    ("seeds", "looks", "sizes"), [(10, 1, (10,)), (10, 2, (5, 10)), (10, 3, (4, 7, 10)), (3, 3, (1, 2, 3))]
)
def test_look_k_of_K_is_at_the_first_ceil_of_n_k_by_K_seeds_and_alpha_is_spent_evenly(seeds, looks, sizes):
    one = analysis(seeds=tuple(range(seeds)), looks=looks)
    assert one.look_sizes() == sizes and one.level() * looks == pytest.approx(one.alpha) == 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": 0.0}, "the margin is 0, and not a number of points above 0 and at most 100"),
        ({"margin": -1.0}, "the margin is -1, and not"),
        ({"margin": float("nan")}, "the margin is nan, and not"),
        ({"margin": float("inf")}, "the margin is inf, and not"),
        ({"margin": 101.0}, "the margin is 101, and not"),
        ({"looks": 0}, "looks is 0, and not 1 to 10, the number of seeds"),
        ({"looks": 11}, "looks is 11, and not 1 to 10, the number of seeds"),
        ({"alpha": 0.0}, "alpha is 0, and not a number between 0 and 1"),
        ({"arms": ()}, "the analysis has no arm"),
        ({"arms": ("uniform", "cl", "cl")}, "the analysis has the arm 'cl' twice"),
        ({"seeds": (1, 2, 1)}, "the analysis has the seed 1 twice"),
        ({"contrasts": (("spl", "uniform"),)}, "is not of two of the arms uniform, cl"),
        ({"contrasts": (("cl", "cl"),)}, "is not of two of the arms uniform, cl"),
        ({"contrasts": (("cl", "uniform"), ("uniform", "cl"))}, "the contrast of cl and uniform twice"),
        ({"outcomes": ("best",)}, r"the outcomes are \['best'\], and not"),
    ],
)
def test_an_analysis_that_makes_no_sense_is_refused_in_a_line(change, message):
    with pytest.raises(RecipeError, match=message) as refused:
        analysis(**change)
    assert "\n" not in str(refused.value)


# ---- the hash of a recipe ----


def test_the_hash_of_a_recipe_is_that_of_its_numbers():
    recipe = {"lr": 0.1, "seed": 3, "schedule": {"start": 0.1}, "overwrite": False, "cache": None}
    plain = json.dumps({"lr": 0.1, "schedule": {"start": 0.1}, "seed": 3}, sort_keys=True)
    assert recipe_hash(recipe) == hashlib.sha256(plain.encode()).hexdigest()
    assert recipe_hash({**recipe, "overwrite": True, "cache": "here"}) == recipe_hash(recipe)
    assert recipe_hash({**recipe, "schedule": {"start": 0.2}}) != recipe_hash(recipe)


def test_a_field_that_is_younger_than_plans_changes_the_hash_only_where_it_is_set():
    recipe, known = {"lr": 0.1}, {member.name: member.default for member in dataclasses.fields(Recipe)}
    assert YOUNGER and known.keys() >= set(YOUNGER)
    assert recipe_hash({**recipe, **{name: known[name] for name in YOUNGER}}) == recipe_hash(recipe)
    assert recipe_hash({**recipe, "accumulate": 2}) != recipe_hash(recipe)


# ---- the file ----


def test_a_plan_is_read_as_it_was_written_and_its_layout_is_fixed(tmp_path):
    plan = planned(seeds=(3, 1), previous="abc", seen=(1,))
    write(plan, tmp_path)
    assert read(tmp_path) == plan
    plain = json.loads((tmp_path / "plan.json").read_text())
    assert list(plain) == ["format", "analysis", "runs", "previous", "seen", "checksum"]
    assert plain["format"] == 1 and plain["previous"] == "abc" and plain["seen"] == [1]
    assert plain["analysis"] == {
        **{"arms": ["uniform", "cl"], "seeds": [3, 1], "contrasts": [["cl", "uniform"]], "metric": "accuracy"},
        **{"outcomes": ["chosen", "last"], "margin": 1.0, "looks": 1, "alpha": 0.05},
    }
    assert [row["folder"] for row in plain["runs"]] == ["uniform/seed3", "cl/seed3", "uniform/seed1", "cl/seed1"]
    assert list(plain["runs"][0]) == ["arm", "seed", "fold", "folder", "command", "recipe"]


def test_there_is_no_plan_where_there_is_no_file(tmp_path):
    assert read(tmp_path) is None and read(tmp_path / "nowhere") is None


def test_the_same_plan_leaves_the_file_as_it_is(tmp_path):
    write(planned(), tmp_path)
    before = (tmp_path / "plan.json").read_bytes(), (tmp_path / "plan.json").stat().st_mtime_ns
    write(planned(), tmp_path)
    assert ((tmp_path / "plan.json").read_bytes(), (tmp_path / "plan.json").stat().st_mtime_ns) == before
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_another_plan_keeps_the_one_before(tmp_path):
    first = planned()
    second = planned(margin=2.0, previous=plan_hash(first), seen=(0,))
    write(first, tmp_path)
    before = (tmp_path / "plan.json").read_bytes()
    write(second, tmp_path)
    assert read(tmp_path) == second
    assert (tmp_path / f"plan-{second.previous[:8]}.json").read_bytes() == before


def test_other_commands_are_the_same_plan(tmp_path):
    first = planned()
    moved = replace(first, runs=tuple(replace(run, command=("elsewhere",)) for run in first.runs))
    assert plan_hash(moved) == plan_hash(first) != plan_hash(planned(looks=2))
    write(first, tmp_path)
    write(moved, tmp_path)
    assert read(tmp_path) == moved and [path.name for path in tmp_path.iterdir()] == ["plan.json"]


ODD = [
    (["analysis", "margin"], "much", "plan.json: analysis.margin is 'much', and not a number"),
    (["analysis", "margin"], 0, "the margin is 0, and not a number of points above 0"),
    (["analysis", "looks"], 11, "looks is 11, and not 1 to 10"),
    (["analysis", "looks"], 1.5, "analysis.looks is 1.5, and not a whole number"),
    (["analysis", "seeds"], [], "the analysis has no seed"),
    (["analysis", "arms"], "cl", "analysis.arms is 'cl', and not a list"),
    (["analysis", "contrasts"], [["cl"]], r"analysis.contrasts\[0\] is \['cl'\], and not an arm and its control"),
    (["analysis"], None, "plan.json: analysis is None, and not a table"),
    (["runs"], [], "the plan's runs are not those of its 20 arms and seeds"),
    (["runs", 0, "folder"], "../other", r"runs\[0\].folder is '../other', and not the path of a folder below"),
    (["runs", 0, "folder"], "/etc", r"runs\[0\].folder is '/etc', and not the path of a folder below"),
    (["runs", 0, "folder"], "cl/seed0", "the plan has a run or a folder twice"),
    (["runs", 0, "seed"], "0", r"runs\[0\].seed is '0', and not a whole number"),
    (["runs", 0, "command"], "python", r"runs\[0\].command is 'python', and not a list"),
    (["seen"], [99], r"the seen seeds \[99\] are none of the plan's"),
    (["format"], 2, "plan.json has the format 2, and this version reads 1"),
]


@pytest.mark.parametrize(("path", "value", "message"), ODD)
def test_an_odd_plan_is_refused_in_a_line_that_names_the_file(tmp_path, path, value, message):
    write(planned(), tmp_path)
    plain = json.loads((tmp_path / "plan.json").read_text())
    del plain["checksum"]  # as of another program, which writes none
    *above, last = path
    inner = plain
    for key in above:
        inner = inner[key]
    inner[last] = value
    (tmp_path / "plan.json").write_text(json.dumps(plain))
    with pytest.raises(RunFolderError, match=message) as refused:
        read(tmp_path)
    assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "plan.json is damaged"),
        (lambda text: text.replace('"margin": 1.0', '"margin": 2.0'), "was changed by hand"),
        (lambda text: "[]", "it holds a list"),
        (lambda text: "\x00" * len(text), "plan.json is damaged"),
    ],
)
def test_a_damaged_plan_is_refused_in_a_line(tmp_path, damage, message):
    write(planned(), tmp_path)
    path = tmp_path / "plan.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(RunFolderError, match=message) as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value)
    with pytest.raises(RunFolderError, match=message):  # and is no empty place for another one
        write(planned(margin=2.0), tmp_path)


def test_a_link_to_nothing_is_no_missing_plan(tmp_path):
    (tmp_path / "plan.json").symlink_to(tmp_path / "gone")
    with pytest.raises(RunFolderError, match=r"plan\.json is damaged or missing"):
        read(tmp_path)
