"""``compare --folds``: every arm, fold and seed is a run; what is planned, judged and reported of them."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import bss.compare
from bss.cli import compare as command
from bss.cli import report
from bss.cli.commands import _parser, main
from bss.compare import runner
from bss.compare.arms import find
from bss.compare.comparison import Comparison, picked_folds
from bss.compare.latex import as_latex
from bss.compare.pairs import FoldSeed, all_pairs
from bss.compare.plan import Analysis, Plan, PlannedRun, read, write
from bss.compare.planning import followed, missing
from bss.compare.runs import find_folders, read_runs
from bss.compare.tables import (
    all_tables,
    as_csv,
    difference_table,
    finding,
    fold_tables,
    head_table,
    power_tables,
    reading,
    results_of,
)
from bss.compare.verdict import judge
from bss.compare.wording import pairs_text
from bss.utils.errors import RecipeError, RunFolderError
from tests.compare import comparing
from tests.compare.comparing import fail_run, write_run

MFEAT = Path(__file__).resolve().parents[2] / "benchmarks" / "study" / "mfeat.py"


# ---- pairs -----------------------------------------------------------------------------------------------------------


def test_pairs_come_seed_by_seed_and_say_what_they_are():
    assert all_pairs((0, 1), ()) == [0, 1]
    assert all_pairs((7, 1), (0, 2)) == [FoldSeed(0, 7), FoldSeed(2, 7), FoldSeed(0, 1), FoldSeed(2, 1)]
    assert f"cl seed {FoldSeed(2, 7)}" == "cl seed 7 in fold 2"
    assert pairs_text([FoldSeed(2, 0), FoldSeed(0, 1), FoldSeed(0, 0)]) == "0, 1 in fold 0; 0 in fold 2"
    assert pairs_text([2, 0, 1]) == "0 to 2"


# ---- what is asked for -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A miniature of the numerals: ten of each class."""
    folder = tmp_path_factory.mktemp("numerals")
    draw = np.random.default_rng(0)
    views = {"fou": 76, "zer": 47, "mor": 6}
    arrays = {view: draw.normal(size=(100, width)).astype(np.float32) for view, width in views.items()}
    np.savez(folder / "mfeat.npz", y=np.arange(100) % 10, train=np.arange(70), test=np.arange(70, 100), **arrays)
    return folder


def flags(root, out, *others, task=MFEAT):
    settings = ["epochs=1", "batch_size=16", "imbalance_every=0", "val_fraction=0.2"]
    words = ["compare", str(task), "--arms", "uniform,cl", "--seeds", "2", "--data-root", str(root), "--out", str(out)]
    return [*words, *(word for each in settings for word in ("--set", each)), "--device", "cpu", *others]


def comparison(root, out, *others):
    return command._planned(_parser().parse_args(flags(root, out, *others)), [])[0]


def test_every_arm_fold_and_seed_is_a_run_in_a_folder_of_its_own(root, tmp_path):
    made = comparison(root, tmp_path, "--folds", "3")
    assert len(made.plan()) == 12 and made.plan()[:3] == [
        *(("uniform", FoldSeed(0, 0)), ("cl", FoldSeed(0, 0))),
        ("uniform", FoldSeed(1, 0)),
    ]
    assert made.folder("cl", FoldSeed(2, 1)) == tmp_path / "cl" / "fold2" / "seed1"
    recipe = made.recipe(find(["cl"])[0], FoldSeed(2, 1), None)
    assert (recipe.fold, recipe.folds, recipe.seed) == (2, 3, 1)
    assert {fold for _, (fold, _) in comparison(root, tmp_path, "--folds", "3", "--fold", "2,0").plan()} == {0, 2}


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (["--folds", "1"], "folds must be 2 or more"),
        (["--folds", "1000"], "class 0 has 10 samples, which cannot be dealt to 1000 folds"),
        (["--folds", "3", "--fold", "3"], "--fold 3: some of the folds 0 to 2, each once"),
        (["--folds", "3", "--fold", "x"], "--fold x: some of the folds 0 to 2"),
        (["--folds", "3", "--fold", "1,1"], "--fold 1,1: some of the folds 0 to 2, each once"),
        (["--fold", "0"], "--fold 0 picks some of the folds: say with --folds how many there are"),
        (["--folds", "3", "--set", "fold=1"], "--set fold= contradicts --folds: leave it out, compare's --fold tests"),
        (["--folds", "3", "--set", "folds=4"], "--set folds= contradicts --folds: leave it out, it says how many"),
        (["--folds", "3", "--set", "test_part=seeded"], "fold=0 and test_part=seeded both say what is tested"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_folds_that_cannot_be_are_refused_before_anything_is_trained(root, tmp_path, capsys, others, said):
    assert main(flags(root, tmp_path / "out", *others)) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_data_set_without_folds_says_which_has_some(tmp_path, capsys):
    assert main(flags(tmp_path, tmp_path / "out", "--folds", "3", task=comparing.__file__)) == 2
    assert "has no folds, for nothing is known that its samples could be dealt by; leave --folds out" in (
        capsys.readouterr().err
    )
    with pytest.raises(RecipeError, match=r"folds are of the actors, and split=published .*: --set split=speaker"):
        Comparison("cremad", ("uniform",), (0,), "equal", (), tmp_path, tmp_path / "out", 0, folds=5).base()
    assert picked_folds(None, None) == () == picked_folds(None, 5)


# ---- from the command to the report ----------------------------------------------------------------------------------


def test_folds_are_planned_trained_and_reported(root, tmp_path, monkeypatch, capsys):
    """In this process: a worker's would import PyTorch anew."""
    monkeypatch.setattr(runner, "_pooled", in_this_process)
    monkeypatch.setattr(report, "page", lambda *_: "")
    out = tmp_path / "out"
    assert main(flags(root, out, "--folds", "2")) == 0
    said = capsys.readouterr().out
    assert "2 arms x 2 seeds x 2 folds" in said and "a verdict at 2 seeds of each of 2 folds" in said
    assert "Planned: Test accuracy at the chosen and last epoch, paired by fold and seed" in said
    plan = read(out)
    assert plan.folds == (0, 1) and [row.fold for row in plan.runs] == [0, 0, 1, 1] * 2
    assert plan.runs[2].folder == "uniform/fold1/seed0"
    assert "--arms cl --seeds 1, --folds 2 --fold 1" in shlex.join(plan.runs[-1].command)
    for row in plan.runs[:4]:  # the command of a row makes that run and no other
        (alone,) = command._planned(_parser().parse_args(list(row.command[3:])), [])[0].plan()
        assert alone == (row.arm, row.pair)
    configs = [json.loads((out / row.folder / "config.json").read_text()) for row in plan.runs]
    assert [config["fold"] for config in configs] == [0, 0, 1, 1] * 2
    tests = {(config["fold"], config["lists"]["test"]["hash"]) for config in configs}
    assert len(tests) == 2 and len({config["lists"]["train"]["hash"] for config in configs}) == 4
    assert main(flags(root, out, "--folds", "2")) == 0  # trains nothing twice, and plans the same
    assert read(out) == plan
    table = (out / "table.md").read_text()
    assert main(["report", str(out), "--out", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "table.md").read_text() == table
    assert "taken seed by seed in each of 2 folds" in table and "times 1/n + 1 in place of 1/n" in table


def in_this_process(comparison, todo, jobs, devices, interrupts):
    return (runner.attempt(comparison, find([arm])[0], pair, "cpu") for arm, pair in todo)


# ---- what is told of runs in folds -----------------------------------------------------------------------------------

SHIFTS = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 4.0, (1, 1): 8.0}
"""(fold, seed) -> points that CL is above uniform order: (fold's mean) 2 and 6."""


def made_up(out, shifts=SHIFTS, *, plan=True, folds=2):
    """Folders of runs with made-up numbers; each fold tests a list of its own, half as long as what it trains on."""
    for (fold, seed), shift in shifts.items():
        for arm, more in (("uniform", 0.0), ("cl", shift)):
            lists = {"test": {"hash": str(fold) * 64, "commonest_class_accuracy": 0.25}}
            folder = write_run(
                out / arm / f"fold{fold}" / f"seed{seed}",
                arm=arm,
                seed=seed,
                accuracy=(50 + more) / 100,
                recipe={"fold": fold, "folds": folds},
                mark={"initial_weights": f"weights{fold}{seed}"},
                lists=lists,
                names=[f"clip{fold}{i}" for i in range(4)],
            )
            config = json.loads((folder / "config.json").read_text())
            samples = {"train": 50, "val": 10, "test": 30}
            (folder / "config.json").write_text(json.dumps({**config, "samples": samples}))
    if plan:
        arms, seeds = ("uniform", "cl"), tuple(sorted({seed for _, seed in shifts}))
        analysis = Analysis(arms, seeds, (("cl", "uniform"),), "accuracy", ("chosen", "last"), 1.0, 1)
        rows = [
            PlannedRun(arm, pair.seed, pair.fold, f"{arm}/fold{pair.fold}/seed{pair.seed}", ("make", arm), recipe(out))
            for pair in all_pairs(seeds, range(folds))
            for arm in arms
        ]
        write(Plan(analysis, tuple(rows)), out)
    return out


def recipe(out):
    return "not looked at"


def results(out, **options):
    found = read_runs(find_folders([out]))
    return results_of(found.runs, failed=found.failed, left_out=found.left_out, **options)


def test_a_fold_counts_once_and_its_training_set_widens_the_interval(tmp_path):
    made = results(made_up(tmp_path), plan=read(tmp_path))
    assert made.folds == (0, 1) and made.overlap == 0.5 and not made.one_test and not made.clip_intervals
    control, cl = difference_table(made, "uniform", "chosen").rows
    assert control[:3] == ["uniform", "2", "50.0 \N{PLUS-MINUS SIGN} 0.0"]
    # 2 and 6: error sqrt(8 (1/2 + 1/2)), one degree of freedom: 12.706 * 2.828 = 35.9
    assert cl == [
        *("cl", "2", "54.0 \N{PLUS-MINUS SIGN} 2.8", "+4.0", "[\N{MINUS SIGN}31.9, +39.9]", "undecided"),
        *("0.784", "0.392 (2)", "-"),
    ]
    assert difference_table(made, "uniform", "chosen").columns[-2:] == ["p (folds)", "p (signs)"]
    assert made.judgement.planned
    assert finding(made).startswith(
        "Planned: Test accuracy at the chosen and last epoch, paired by fold and seed, each fold by the mean of its "
        "seeds, Holm-adjusted over 2 comparisons"
    )
    assert "2 folds could see a difference of" in finding(
        made
    ) and "More seeds alone are not known to decide." in finding(made)


def test_which_part_scatters_is_told(tmp_path):
    made = results(made_up(tmp_path))
    (table,) = fold_tables(made)
    # within ((1 + 1) + (4 + 4)) / 2 = 5, between 2 (4 + 4) = 16: deviations sqrt(5.5) and sqrt(5)
    assert table.rows == [["cl minus uniform", epoch, "2", "4", "2.35", "2.24", "52 %"] for epoch in ("chosen", "last")]
    assert table.title in [each.title for each in all_tables(made)]
    (row, other) = (line.split(",") for line in as_csv(made).splitlines()[1:3])
    names = as_csv(made).splitlines()[0].split(",")
    cells = dict(zip(names, row, strict=True))
    assert (cells["n"], cells["pairs"], cells["p_signs"]) == ("2", "4", "")
    assert float(cells["fold_std"]) == pytest.approx(5.5**0.5) and float(cells["seed_std"]) == pytest.approx(5**0.5)
    assert other[-2:] == ["", ""]
    assert (
        "More seeds in every fold" in power_tables(made)[0].caption and power_tables(made)[0].rows[0][-1] == "not known"
    )
    assert "over the seeds of all folds" in head_table(made).caption and "(Nadeau and Bengio 2003)" in as_latex(made)
    assert "1/n + 0.5 in place of 1/n" in reading(made)


def test_without_folds_nothing_is_said_of_them(tmp_path):
    for arm in ("uniform", "cl"):
        for seed in (0, 1):
            write_run(tmp_path / arm / f"seed{seed}", arm=arm, seed=seed, accuracy=0.5 + seed / 30)
    made = results(tmp_path)
    assert made.folds == () and made.overlap == 0.0 and fold_tables(made) == []
    assert "fold" not in "".join(table.markdown() for table in all_tables(made)) + reading(made) + as_csv(made)
    assert "fold" not in bss.compare.load(tmp_path)


def test_runs_of_one_fold_are_compared_by_their_seeds(tmp_path):
    made = results(made_up(tmp_path, {(1, 0): 1.0, (1, 1): 3.0}, plan=False))
    assert made.folds == () and made.one_test and made.judgement.verdicts[0].difference.seeds == (0, 1)


def test_the_table_for_pandas_has_the_folds(tmp_path):
    table = bss.compare.load(made_up(tmp_path))
    test = table.query("checkpoint == 'chosen' and metric == 'accuracy' and head == 'all'")
    paired = test.pivot(index=["fold", "seed"], columns="arm", values="value")
    assert (100 * (paired["cl"] - paired["uniform"])).round(6).tolist() == [1.0, 3.0, 4.0, 8.0]


def test_a_pair_without_a_partner_is_left_out_and_said(tmp_path):
    out = made_up(tmp_path)
    for path in (out / "cl" / "fold1" / "seed0").iterdir():
        path.unlink()
    (out / "cl" / "fold1" / "seed0").rmdir()
    found = read_runs(find_folders([out]))
    (gone,) = missing(found, followed_by(out), [out])
    assert gone.told == "cl seed 0 in fold 1: not there" and gone.command == ("make", "cl")
    made = results(out, plan=read(out))
    assert made.lost == ["cl seed 0 in fold 1: not there"] and not made.judgement.planned
    verdict = made.judgement.verdicts[0]
    assert verdict.difference.units == pytest.approx((2.0, 8.0)) and "INCOMPLETE: 1 run was lost" in finding(made)
    assert any("different numbers of seeds of folds (uniform 4, cl 3)" in note for note in made.notes)


def followed_by(out):
    return type(followed([]))(read(out), out)


def test_a_fold_that_is_not_there_is_said(tmp_path):
    made = results(made_up(tmp_path, folds=3), plan=read(tmp_path))
    assert made.folds == (0, 1, 2) and made.judgement.departure == (
        "uniform seed 0 in fold 2, uniform seed 1 in fold 2, cl seed 0 in fold 2, cl seed 1 in fold 2 are missing"
    )
    assert "Of fold 2 no arm has a run." in made.notes


def test_a_run_that_failed_counts_in_its_fold(tmp_path):
    out = made_up(tmp_path)
    fail_run(out / "cl" / "fold1" / "seed1")
    made = results(out)
    assert made.judgement.verdicts[0].difference.values == pytest.approx((1.0, 3.0, 4.0, -25.0))
    assert "cl seed 1 in fold 1 (25.0 %)" in finding(made)


def test_equal_updates_of_folds_that_differ_in_size_are_one_length_and_others_are_not(tmp_path):
    made_up(tmp_path, plan=False)
    for fold, train, updates in ((0, 50, 12), (1, 66, 16)):  # two epochs of batches of 8
        for path in tmp_path.glob(f"*/fold{fold}/*/config.json"):
            config = json.loads(path.read_text())
            samples, recipe = {**config["samples"], "train": train}, {**config["recipe"], "updates": updates}
            path.write_text(json.dumps({**config, "samples": samples, "recipe": recipe}))
    assert list(results(tmp_path).arms) == ["uniform", "cl"]
    path = tmp_path / "cl" / "fold1" / "seed0" / "config.json"
    path.write_text(json.dumps({**config, "recipe": {**recipe, "seed": 0, "updates": 17}, "samples": samples}))
    assert {"cl (12 updates)", "cl (17 updates)"} < {run.arm for run in read_runs(find_folders([tmp_path])).runs}


def test_runs_of_folds_do_not_stand_beside_runs_of_none_nor_of_other_folds(tmp_path):
    made_up(tmp_path, plan=False)
    write_run(tmp_path / "cl" / "seed7", arm="cl", seed=7, recipe={"fold": None, "folds": 2})
    with pytest.raises(RunFolderError, match=r"runs of different splits in one report: what is tested is 'a fold' in"):
        results(tmp_path)
    (tmp_path / "cl" / "seed7" / "done").unlink()
    write_run(tmp_path / "cl" / "fold1" / "seed7", arm="cl", seed=7, recipe={"fold": 1, "folds": 5})
    with pytest.raises(RunFolderError, match="recipes in one report: folds is 2 in"):
        results(tmp_path)


def test_the_runs_of_a_fold_share_their_test_list_and_a_copy_is_refused(tmp_path):
    made_up(tmp_path, plan=False)
    path = tmp_path / "cl" / "fold1" / "seed1" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "lists": {"test": {"hash": "0" * 64}}}))
    with pytest.raises(RunFolderError, match=r"the test list \(hash\) is '1{12}' in"):
        results(tmp_path)
    path.write_text(json.dumps(config))
    twin = {"recipe": {"fold": 1, "folds": 2}, "mark": {"initial_weights": "weights11"}}
    write_run(tmp_path / "twin", arm="cl", seed=1, names=[f"clip1{i}" for i in range(4)], **twin)
    with pytest.raises(RunFolderError, match="are both seed 1 in fold 1 of cl: give one of them"):
        results(tmp_path)


def test_a_look_is_at_the_first_seeds_of_every_fold():
    analysis = Analysis(("uniform", "cl"), (0, 1, 2, 3), (("cl", "uniform"),), "accuracy", ("last",), 1.0, 2)
    pairs = all_pairs((0, 1), (0, 1))
    values = {"last": {arm: {pair: 50.0 + 3 * pair.fold * (arm == "cl") for pair in pairs} for arm in analysis.arms}}
    made = judge(values, analysis, has_plan=True, folds=(0, 1), overlap=1.0)
    assert (made.look, made.departure) == (1, "")
    del values["last"]["cl"][FoldSeed(1, 0)]
    assert judge(values, analysis, has_plan=True, folds=(0, 1)).departure == "cl seed 0 in fold 1 is missing"
