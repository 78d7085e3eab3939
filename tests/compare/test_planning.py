"""From a comparison to its plan, and from run folders back to it."""

import json
import shlex
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bss import tasks
from bss.cli import compare as command
from bss.cli import report
from bss.cli.commands import _parser, main
from bss.compare import planning
from bss.compare.arms import find
from bss.compare.comparison import Comparison
from bss.compare.plan import plan_hash, read, recipe_hash, write
from bss.compare.planning import Asked, Missing, as_planned, contrasts, followed, missing, planned, said
from bss.compare.runner import train
from bss.compare.runs import find_folders, read_run, read_runs
from bss.compare.tables import results_of
from bss.training.run_folder import read_rows
from bss.utils.errors import RecipeError, RunFolderError
from tests import tiny
from tests.compare import comparing
from tests.compare.comparing import fail_run, write_run

ARMS = ("uniform", "random-pacing", "cl", "spl", "anti")


@pytest.fixture
def comparison(tmp_path):
    (tmp_path / "data").mkdir()
    return Comparison(
        task=comparing.__file__,
        arms=ARMS,
        seeds=(0, 1, 2),
        budget="equal",
        assignments=("imbalance_every=0",),
        data_root=tmp_path / "data",
        out=tmp_path / "out",
        workers=0,
    )


def made(comparison, asked=None, **changes):
    comparison = replace(comparison, **changes)
    data = tasks.load(comparison.task).build_data(comparison.base(), comparison.data_root)
    return planned(comparison, data, asked or Asked(), ("--data-root", str(comparison.data_root)))


def finish(out, *runs):
    for arm, seed in runs:
        (out / arm / f"seed{seed}").mkdir(parents=True)
        (out / arm / f"seed{seed}" / "done").touch()


# ---- the contrasts ----


def test_every_arm_is_against_the_first_control_and_those_with_its_sizes_against_the_others(comparison):
    assert made(comparison).analysis.contrasts == (
        *(("random-pacing", "uniform"), ("cl", "uniform"), ("spl", "uniform"), ("anti", "uniform")),
        *(("cl", "random-pacing"), ("anti", "random-pacing")),
    )


def test_two_arms_are_one_contrast_whichever_is_the_control(comparison):
    found = made(comparison, Asked(("cl", "random-pacing")), arms=("uniform", "random-pacing", "cl", "anti"))
    assert found.analysis.contrasts == (
        *(("uniform", "cl"), ("random-pacing", "cl"), ("anti", "cl")),
        ("anti", "random-pacing"),
    )


def test_the_sizes_are_those_of_the_recipes_and_a_batch_more_or_less_is_rounding(comparison):
    arms = ("uniform", "random-pacing", "random-pacing-warmup", "cl", "cl-warmup", "cl-class-balanced", "spl", "mix")
    assert [pair for pair in made(comparison, arms=arms, epochs=8).analysis.contrasts if pair[1] != "uniform"] == [
        *(("cl", "random-pacing"), ("cl-class-balanced", "random-pacing"), ("mix", "random-pacing")),
        ("cl-warmup", "random-pacing-warmup"),
    ]


@pytest.mark.parametrize(
    ("arms", "control"),
    [
        (("joint", "cl", "uniform"), "uniform"),
        (("ogm-ge", "joint", "cl"), "joint"),
        (("spl", "cl"), "spl"),
        (("ogm-ge", "random-pacing"), "random-pacing"),
    ],
)
def test_the_usual_control_is_uniform_order_or_random_pacing_or_the_first_arm(comparison, arms, control):
    assert {pair[1] for pair in made(comparison, arms=arms).analysis.contrasts} == {control}


def test_a_single_arm_is_compared_with_nothing(comparison):
    plan = made(comparison, arms=("cl",))
    assert plan.analysis.contrasts == () and said(plan) == ["plan: a single arm, so that nothing is compared"]


def test_without_a_validation_split_the_last_epoch_alone_counts():
    recipes = {name: arm.recipe(comparing.CL) for name, arm in zip(ARMS, find(ARMS), strict=True)}
    assert contrasts(recipes, tiny.splits(), ())[:1] == (("random-pacing", "uniform"),)
    one = Comparison("x", ("cl",), (0,), "equal", (), Path(), Path("out"), 0)
    loaded = replace(one, task=comparing.__file__)
    assert planned(loaded, replace(tiny.splits(), val=None), Asked(), ()).analysis.outcomes == ("last",)
    assert planned(loaded, tiny.splits(), Asked(), ()).analysis.outcomes == ("chosen", "last")


def test_arms_that_are_one_with_these_settings_are_refused_before_they_are_trained(comparison):
    with pytest.raises(RecipeError, match="the arms cl and cl-rank are the same with these settings: leave one of"):
        made(comparison, arms=("uniform", "cl", "cl-rank"), assignments=("schedule.normalize=rank",))


def test_what_is_planned_is_said(comparison):
    first, second, seen = said(replace(made(comparison, Asked(margin=0.5, looks=3)), seen=(1,)))
    assert first.startswith("plan: test accuracy at the chosen and the last epoch, 12 tests of 6 differences: random-")
    assert second == (
        "plan: a verdict at 1, 2, 3 seeds, level 1.67 % over all of them; a difference within 0.5 points does "
        "not matter"
    )
    assert seen == "plan: 1 of the 3 seeds had finished runs when it was made, so what they show is exploratory"


# ---- the rows ----


def test_a_row_says_what_makes_its_run_alone(comparison):
    settings = ("imbalance_every=0", "schedule.grow_epochs=5")
    changes = {"assignments": settings, "budget": "epochs", "epochs": 3, "arms": ("uniform", "cl")}
    plan = made(comparison, **changes)
    for row in plan.runs:
        flags = _parser().parse_args(list(row.command[3:]))
        alone, _ = command._planned(flags, [])
        assert (alone.arms, alone.seeds, alone.folder(row.arm, row.seed)) == (
            *((row.arm,), (row.seed,)),
            comparison.out / row.folder,
        )
        (arm,) = find(alone.arms)
        assert alone.recipe(arm, row.seed, None) == replace(comparison, **changes).recipe(arm, row.seed, None)
        assert recipe_hash(asdict(as_planned(alone, arm, row.seed))) == row.recipe
    alone, other = (set(row.command) for row in plan.runs[:2])
    assert "schedule.grow_epochs=5" in other - alone  # uniform order would refuse it
    assert shlex.join(plan.runs[0].command).startswith("python -m bss compare ")


def test_the_rows_come_seed_by_seed_and_their_hashes_know_every_number(comparison):
    plan = made(comparison)
    assert [(row.arm, row.seed) for row in plan.runs] == comparison.plan()
    assert [row.folder for row in plan.runs[:2]] == ["uniform/seed0", "random-pacing/seed0"]
    assert len({row.recipe for row in plan.runs}) == 15
    others = made(comparison, assignments=("imbalance_every=0", "lr=0.5"))
    assert not {row.recipe for row in plan.runs} & {row.recipe for row in others.runs}
    assert (
        made(comparison, assignments=("imbalance_every=0", "checkpoint_minutes=5")).runs[0].recipe
        == plan.runs[0].recipe
    )


def test_the_command_of_a_row_makes_the_very_run_of_the_comparison(comparison):
    small = replace(comparison, arms=("uniform", "cl"), seeds=(0, 1))
    row = made(small).runs[-1]
    arms = dict(zip(small.arms, find(small.arms), strict=True))
    train(small, arms[row.arm], row.seed, "cpu")
    folder = small.out / row.folder
    whole = [one["checksum"] for one in read_rows(folder)], read_run(folder).mark
    shutil.rmtree(folder)
    alone, _ = command._planned(_parser().parse_args(list(row.command[3:])), [])
    train(alone, arms[row.arm], row.seed, "cpu")
    assert ([one["checksum"] for one in read_rows(folder)], read_run(folder).mark) == whole


# ---- the plan that is there ----


def test_the_same_command_leaves_the_plan_as_it_is_however_far_it_has_come(comparison):
    plan = made(comparison)
    write(plan, comparison.out)
    before = (comparison.out / "plan.json").read_bytes()
    finish(comparison.out, ("uniform", 0), ("cl", 0))
    write(made(comparison), comparison.out)
    assert (comparison.out / "plan.json").read_bytes() == before
    assert [path.name for path in comparison.out.glob("plan*")] == ["plan.json"]
    assert read(comparison.out).seen == () and read(comparison.out).previous is None


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, Asked(margin=2.0)),
        ({}, Asked(looks=3)),
        ({}, Asked(metric="macro_f1")),
        ({}, Asked(("cl",))),
        ({"seeds": (0, 1, 2, 3)}, Asked()),
        ({"arms": (*ARMS, "mix")}, Asked()),
        ({"assignments": ("imbalance_every=0", "lr=0.5")}, Asked()),
    ],
    ids=["margin", "looks", "metric", "control", "seeds", "arms", "recipe"],
)
def test_another_analysis_keeps_the_one_before_and_says_what_could_be_seen(comparison, changes, asked):
    first = made(comparison)
    write(first, comparison.out)
    finish(comparison.out, ("uniform", 2), ("cl", 2))
    second = made(comparison, asked, **changes)
    assert second.previous == plan_hash(first) and second.seen == (2,)
    kept = write(second, comparison.out)
    assert kept.name == f"plan-{plan_hash(first)[:8]}.json" and read(comparison.out) == second
    assert made(comparison, asked, **changes) == second


def test_a_folder_that_is_older_than_plans_was_seen(comparison):
    finish(comparison.out, ("uniform", 0))
    assert made(comparison).seen == (0,)


@pytest.mark.parametrize(
    "changes",
    [{"seeds": (0, 1)}, {"seeds": (2,), "arms": ("cl",)}, {"arms": ("uniform", "cl")}, {"arms": ARMS[::-1]}],
    ids=["an earlier look", "one run", "a cut family", "another order"],
)
def test_a_part_of_what_is_planned_is_no_other_plan(comparison, changes):
    asked = Asked(looks=3, margin=0.5)
    plan = made(comparison, asked)
    write(plan, comparison.out)
    finish(comparison.out, ("uniform", 0))
    for again in (Asked(), Asked(looks=3), Asked(margin=0.5)):
        assert made(comparison, again, **changes) == plan
    other = made(comparison, Asked(margin=0.4), **changes)
    assert other.previous == plan_hash(plan)


def test_a_command_of_data_that_have_moved_is_the_same_plan_with_new_commands(comparison, tmp_path):
    plan = made(comparison)
    write(plan, comparison.out)
    (tmp_path / "moved").mkdir()
    moved = made(comparison, data_root=tmp_path / "moved")
    assert moved != plan and plan_hash(moved) == plan_hash(plan)
    assert write(moved, comparison.out) is None and read(comparison.out) == moved


# ---- which plan runs were made by ----


def made_up(out, **others):
    """A plan of two arms and two seeds, and the folders of its runs, with made-up numbers."""
    for arm in ("uniform", "cl"):
        for seed in (0, 1):
            write_run(out / arm / f"seed{seed}", arm=arm, seed=seed, **others)
    return plan_of(out, ("uniform", "cl"), (0, 1))


def plan_of(out, arms, seeds):
    """The plan whose runs these folders hold, or would."""
    analysis = planning.Analysis(arms, seeds, (("cl", "uniform"),), "accuracy", ("chosen", "last"), 1.0, 1)
    rows = []
    for seed in seeds:
        for arm in arms:
            config = out / arm / f"seed{seed}" / "config.json"
            recipe = recipe_hash(json.loads(config.read_text())["recipe"]) if config.exists() else "none yet"
            rows.append(planning.PlannedRun(arm, seed, None, f"{arm}/seed{seed}", ("make", arm, str(seed)), recipe))
    plan = planning.Plan(analysis, tuple(rows))
    write(plan, out)
    return plan


def found_in(*folders):
    return read_runs(find_folders(folders))


def test_a_report_finds_the_plan_above_its_runs(tmp_path):
    plan = made_up(tmp_path / "out")
    for given in ([tmp_path], [tmp_path / "out" / "cl"], [tmp_path / "out" / "cl" / "seed0"]):
        assert followed(found_in(*given).runs) == planning.Followed(plan, tmp_path / "out")
    write_run(tmp_path / "out" / "spl" / "seed0", arm="spl")  # an arm that is in no plan stands beside it
    assert followed(found_in(tmp_path).runs).plan == plan


def test_a_link_to_a_comparison_and_a_folder_that_has_moved_have_their_plan(tmp_path):
    plan = made_up(tmp_path / "out")
    (tmp_path / "link").symlink_to(tmp_path / "out")
    assert followed(found_in(tmp_path / "link").runs).plan == plan
    (tmp_path / "out").rename(tmp_path / "moved")
    assert followed(found_in(tmp_path / "moved").runs).plan == plan


def test_runs_without_a_plan_have_none_and_no_note(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    assert followed(found_in(tmp_path).runs) == planning.Followed()


def test_runs_of_several_plans_have_none_and_it_is_said(tmp_path):
    made_up(tmp_path / "one")
    for seed in (2, 3):
        write_run(tmp_path / "two" / "cl" / f"seed{seed}", arm="cl", seed=seed)
        write_run(tmp_path / "two" / "uniform" / f"seed{seed}", seed=seed)
    plan_of(tmp_path / "two", ("uniform", "cl"), (2, 3))
    by = followed(found_in(tmp_path).runs)
    assert by.plan is None
    assert by.reason == f"the runs are of 2 plans ({tmp_path}/one/plan.json, {tmp_path}/two/plan.json)"


def test_a_run_that_takes_the_place_of_a_planned_one_is_not_it(tmp_path):
    made_up(tmp_path / "out")
    (tmp_path / "out" / "cl" / "seed1").rename(tmp_path / "elsewhere")
    by = followed(found_in(tmp_path).runs)
    assert by.plan is None and by.reason.startswith(f"{tmp_path}/elsewhere is not the run of cl seed 1 that ")


def test_a_run_with_another_recipe_or_arm_than_planned_is_not_planned(tmp_path):
    made_up(tmp_path / "out")
    write_run(tmp_path / "out" / "cl" / "seed1", arm="cl", seed=1, recipe={"lr": 0.2})
    assert followed(found_in(tmp_path).runs).reason.startswith(f"{tmp_path}/out/cl/seed1 has another recipe than ")
    write_run(tmp_path / "out" / "cl" / "seed1", arm="spl", seed=1)
    assert followed(found_in(tmp_path).runs).reason.startswith(
        f"{tmp_path}/out/cl/seed1 holds another arm or seed than"
    )


def test_a_damaged_plan_is_no_missing_plan(tmp_path):
    made_up(tmp_path / "out")
    (tmp_path / "out" / "plan.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"plan\.json is damaged") as refused:
        followed(found_in(tmp_path).runs)
    assert "\n" not in str(refused.value)


def test_equal_updates_that_the_data_gave_are_the_planned_recipe(tmp_path):
    made_up(tmp_path / "out", recipe={"updates": 10})
    plan = read(tmp_path / "out")
    asked_for = recipe_hash(
        {**json.loads((tmp_path / "out/cl/seed0/config.json").read_text())["recipe"], "updates": None}
    )
    rows = tuple(replace(row, recipe=asked_for) if (row.arm, row.seed) == ("cl", 0) else row for row in plan.runs)
    write(replace(plan, runs=rows), tmp_path / "out")
    assert followed(found_in(tmp_path).runs).plan is not None


# ---- what is missing ----


def test_what_a_report_should_have_and_has_not_is_missing_with_the_command_that_makes_it(tmp_path):
    out = tmp_path / "out"
    made_up(out)
    plan_of(out, ("uniform", "cl"), (0, 1, 2))
    (out / "cl" / "seed1" / "done").unlink()
    found = found_in(out)
    assert missing(found, followed(found.runs), [out]) == [
        Missing("cl", 1, "unfinished, 2 epochs so far", ("make", "cl", "1"))  # of seed 2 nothing is begun
    ]
    for path in (out / "cl" / "seed1").iterdir():
        path.unlink()
    (out / "cl" / "seed1").rmdir()
    found = found_in(out)
    (gone,) = missing(found, followed(found.runs), [out])
    assert gone.told == "cl seed 1: not there" and gone.command == ("make", "cl", "1")
    found = found_in(out / "uniform")  # a family that was cut is cut, and nothing of it is missing
    assert missing(found, followed(found.runs), [out / "uniform"]) == []


def test_without_a_plan_an_unfinished_run_beside_others_with_its_seed_is_missing(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    fail_run(write_run(tmp_path / "cl" / "seed0", arm="cl"), "out of memory")
    (write_run(tmp_path / "cl" / "seed1", arm="cl", seed=1) / "done").unlink()
    found = found_in(tmp_path)
    (gone,) = missing(found, followed(found.runs), [tmp_path])
    assert (gone.arm, gone.seed, gone.command) == ("cl", 0, ("x",)) and "out of memory" in gone.reason


def test_a_run_that_is_not_finite_is_not_missing(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    fail_run(write_run(tmp_path / "cl" / "seed0", arm="cl", lists={"test": {"commonest_class_accuracy": 0.5}}))
    found = found_in(tmp_path)
    assert len(found.failed) == 1 and missing(found, followed(found.runs), [tmp_path]) == []


def test_a_report_says_first_what_is_missing_and_judges_by_the_plan(tmp_path, monkeypatch, capsys):
    out, handed = tmp_path / "out", {}
    plan = made_up(out)
    (out / "cl" / "seed1" / "done").unlink()
    monkeypatch.setattr(report, "page", lambda *_: "")
    monkeypatch.setattr(report, "results_of", lambda *given, **more: handed.update(more) or results_of(*given, **more))
    assert main(["report", str(out), "--out", str(tmp_path / "page")]) == 1
    assert handed["plan"] == plan and handed["missing"] == ["cl seed 1: unfinished, 2 epochs so far"]
    said = capsys.readouterr().out
    assert said.startswith("INCOMPLETE: 1 run was lost (cl seed 1: unfinished, 2 epochs so far). ")
    assert "\nto repeat cl seed 1: make cl 1\n" in said
    (out / "cl" / "seed1" / "done").touch()
    write_run(tmp_path / "copy" / "cl" / "seed1", arm="cl", seed=1)
    shutil.rmtree(out / "cl" / "seed1")
    assert main(["report", str(out), str(tmp_path / "copy"), "--out", str(tmp_path / "page")]) == 0
    assert handed["plan"] is None and "is not the run of cl seed 1 that" in handed["other"]
