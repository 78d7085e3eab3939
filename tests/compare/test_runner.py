"""``python -m bss compare``: runs, and how they go on, fail and are compared."""

import json
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bss import tasks
from bss.cli import compare as command
from bss.cli import report
from bss.cli.commands import STEMS, main
from bss.compare import plan as plans
from bss.compare import runner
from bss.compare.arms import ARMS, find
from bss.compare.comparison import Comparison, seeds_of, weights_hash
from bss.compare.runner import Outcome, attempt, check_data, devices_of, is_finished, run_all, train
from bss.compare.runs import find_folders, read_runs
from bss.compare.tables import results_of
from bss.methods import LossWeights, SampleValuation
from bss.training.build import method_of
from bss.training.run_folder import read_rows, sealed
from bss.utils import claim, processes
from bss.utils.errors import DataNotFoundError, RecipeError, RunFolderError, RunHeldError
from bss.utils.interrupts import Interrupts
from tests import tiny
from tests.compare import comparing

TASK = Path(comparing.__file__)


@pytest.fixture
def comparison(tmp_path):
    (tmp_path / "data").mkdir()
    return Comparison(
        task=str(TASK),
        arms=("uniform", "cl"),
        seeds=(0,),
        budget="equal",
        assignments=("imbalance_every=0",),
        data_root=tmp_path / "data",
        out=tmp_path / "out",
        workers=0,
    )


def flags(tmp_path, **others):
    (tmp_path / "data").mkdir(exist_ok=True)
    options = {"arms": "uniform,cl", "seeds": "1", "data-root": tmp_path / "data", "out": tmp_path / "out"}
    options |= {"device": "cpu", "workers": "0", "set": "imbalance_every=0", **others}
    return ["compare", str(options.pop("task", TASK)), *(w for k, v in options.items() for w in (f"--{k}", str(v)))]


# ---- the help ----


@pytest.mark.parametrize("name", ["train", "compare"])
def test_the_help_lists_all_arms_without_importing_pytorch(name):
    code = f"import sys\nfrom bss.__main__ import main\ntry: main(['{name}', '--help'])\n"
    code += "finally: assert not {'torch', 'numpy'} & set(sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    listed = [line.split(maxsplit=1) for line in said.partition("the arms (")[2].splitlines()[1:]]
    assert listed[:-1] == [[arm.name, arm.title] for arm in ARMS] and listed[-1][0] == "alone-MODALITY"


# ---- the plan ----


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (0, 1, 2)), ("3,", (3,)), ("7, 2", (7, 2)), ("0-2", (0, 1, 2)), ("0-1,5", (0, 1, 5))]
)
def test_seeds_are_a_number_a_list_or_a_range(text, seeds):
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["0", "", "x", "1,1", "3-1", "-1", "4294967296,"])
def test_seeds_that_are_none_are_refused(text):
    with pytest.raises(RecipeError, match="--seeds"):
        seeds_of(text)


def test_equal_updates_are_those_of_uniform_order(comparison):
    assert comparison.updates(48) == 2 * (48 // 8)  # in batches of 8, for 2 epochs
    assert comparison.updates(39) == 2 * 4
    assert replace(comparison, budget="epochs").updates(48) is None
    assert replace(comparison, assignments=("updates=5",)).updates(48) == 5
    with pytest.raises(RecipeError, match="contradicts --updates epochs"):
        replace(comparison, budget="epochs", assignments=("updates=5",)).updates(48)


def test_arms_differ_in_nothing_but_the_order(comparison):
    uniform, cl = (comparison.recipe(arm, 3, 12) for arm in find(comparison.arms))
    assert replace(uniform, schedule=cl.schedule) == cl and cl.seed == 3 and cl.updates == 12


def test_a_comparison_that_is_cut_short_has_whole_pairs(comparison):
    plan = replace(comparison, seeds=(4, 5)).plan()
    assert plan == [("uniform", 4), ("cl", 4), ("uniform", 5), ("cl", 5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "nothing"}, "error: unknown task 'nothing'; the tasks are cremad, ks"),
        ({"task": "nothing.py"}, "is not a file"),
        ({"arms": "uniform,nothing"}, "unknown arm 'nothing'; the arms are"),
        ({"arms": "cl,cl"}, "the arm 'cl' is given twice"),
        ({"seeds": "none"}, "--seeds 'none' names no seed"),
        ({"metric": "f2"}, "unknown metric 'f2'"),
        ({"control": "spl"}, "the control 'spl' is none of --arms uniform,cl"),
        ({"jobs": "0"}, "--jobs must be at least 1"),
        ({"margin": "0"}, "error: the margin is 0, and not a number of points above 0"),
        ({"margin": "nan"}, "error: the margin is nan, and not a number of points above 0"),
        ({"margin": "inf"}, "error: the margin is inf, and not a number of points above 0"),
        ({"looks": "0"}, "error: looks is 0, and not 1 to 1, the number of seeds"),
        ({"looks": "2"}, "error: looks is 2, and not 1 to 1, the number of seeds"),
        ({"arms": "cl,cl-rank", "set": "normalize=rank"}, "error: the arms cl and cl-rank are the same with these set"),
        ({"device": "tpu"}, "--device tpu: PyTorch sees"),
        ({"set": "nothing=1"}, "error: unknown recipe field 'nothing'"),
        ({"set": "seed=1"}, "--set seed= is not for a comparison: use --seeds"),
        ({"data-root": "no-folder-here"}, "--data-root no-folder-here is not a folder"),
        ({"set": "schedule.start=0.5", "arms": "uniform,spl"}, "--set schedule.start=0.5 does not reach uniform, spl"),
        ({"set": "method.alpha=1"}, "--set method.alpha=1 does not reach uniform, cl: none of them has a method"),
        (
            {"set": "method.alpha=x", "arms": "uniform,agm"},
            "the arm agm: method.alpha cannot be 'x'; allowed: a number",
        ),
        ({"set": "method.alpha=0", "arms": "uniform,agm"}, "the arm agm: method.alpha must be a number > 0, got 0.0"),
        (
            {"set": "method.start.audoi=2", "arms": "uniform,mslr"},
            "a modality of MSLR=audoi is none of the samples' modalities (did you mean audio?): audio, visual",
        ),
        (
            {"tune": "method.start.audoi=1,2", "arms": "uniform,mslr"},
            "--tune method.start.audoi=1: the arm mslr: a modality of MSLR=audoi is none of the",
        ),
        ({"arms": "uniform,spl+"}, "the arm 'spl+' lacks a part: one arm's order + another's step"),
        ({"epochs": "0"}, "epochs must be >= 1, got 0"),
        ({"set": "batch_size=64"}, "48 training samples do not fill one batch of 64"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(tmp_path, capsys, options, message):
    assert main(flags(tmp_path, **options)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


TASK_IN_MEMORY = """
import torch
from bss.data.tensors import tensor_splits
from tests.compare.comparing import CL, build_model

def build_data(recipe, root):
    return tensor_splits(
        {"x": torch.zeros(40, 2)}, torch.arange(40) % 2, train=range(20), val=None, test=range(20, 40),
        names=[str(i) for i in range(40)], classes=("a", "b"),
    )
"""


@pytest.mark.parametrize(
    ("in_memory", "given", "workers"), [(True, None, 0), (True, "1", 1), (False, None, 3), (False, "0", 0)]
)
def test_loader_processes_are_started_unless_the_data_are_in_memory(tmp_path, monkeypatch, in_memory, given, workers):
    (tmp_path / "task.py").write_text(TASK_IN_MEMORY)
    planned = []
    monkeypatch.setattr(processes, "default_workers", lambda: 6)
    monkeypatch.setattr(processes, "FEW", 0)
    monkeypatch.setattr(command, "run_all", lambda comparison, **_: planned.append(comparison.workers) or [])
    words = flags(tmp_path, task=tmp_path / "task.py" if in_memory else TASK, jobs="2")
    place = words.index("--workers")
    words[place : place + 2] = ["--workers", given] if given else []
    assert main(words) == 130  # nothing was trained
    assert planned == [workers]


@pytest.mark.parametrize("stem", STEMS)
def test_where_files_are_missing_the_generated_data_are_advised(tmp_path, capsys, stem):
    assert main(flags(tmp_path, task=stem)) == 2
    assert "README.md describes the layout; --sample runs the whole thing now" in capsys.readouterr().err


def test_data_are_generated_or_somewhere(tmp_path, capsys):
    words = flags(tmp_path)
    without = [word for word in words if word not in ("--data-root", str(tmp_path / "data"))]
    assert main(without) == 2
    assert "pass --data-root DIR, the data set's folder, or --sample" in capsys.readouterr().err
    assert main([*words, "--sample"]) == 2
    assert "give it or --data-root, not both" in capsys.readouterr().err
    assert main([*without, "--sample"]) == 2
    assert "comparing.py has no generated data" in capsys.readouterr().err


def test_generated_data_are_compared_and_the_page_says_so(samples, capsys):
    out = samples / "compared"
    small = [word for each in ("image_size=24", "width=4", "imbalance_every=0") for word in ("--set", each)]
    words = ["compare", "cremad", "--arms", "uniform", "--seeds", "1", "--sample", "--out", str(out), "--workers", "0"]
    assert main([*words, "--device", "cpu", "--epochs", "1", *small]) == 0
    config = json.loads((out / "uniform" / "seed0" / "config.json").read_text())
    assert config["generated"] and config["data_root"] == str((samples / "sample-data" / "cremad").resolve())
    assert (config["recipe"]["updates"], config["recipe"]["batch_size"]) == (13, 16)  # 216 samples, one epoch
    assert (out / "table.md").read_text().startswith("GENERATED DATA. All runs were trained on")
    assert "<strong>GENERATED DATA. All runs" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("assignment", "value"),
    [("normalize=rank", "rank"), ("warmup_epochs=1", 1), ("class_balanced=true", True), ("history=0.5", 0.5)],
)
def test_settings_of_all_samplers_arrive_in_the_recipes_of_all_arms(tmp_path, monkeypatch, capsys, assignment, value):
    comparisons = []
    monkeypatch.setattr(command, "run_all", lambda comparison, **_: comparisons.append(comparison) or [])
    assert main(flags(tmp_path, arms="uniform,cl,spl", set=f"schedule.{assignment}")) == 130  # nothing was trained
    (comparison,) = comparisons
    schedules = [comparison.recipe(arm, 0, None).schedule for arm in find(comparison.arms)]
    assert [getattr(each, assignment.partition("=")[0]) for each in schedules] == [value] * 3
    assert "reaches" not in capsys.readouterr().out


def test_a_setting_that_reaches_some_arms_only_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "run_all", lambda *_, **__: [])
    main([*flags(tmp_path, arms="uniform,cl,spl,anti,ogm-ge", set="rescore=2"), "--set", "method=smv", "--set", "lr=1"])
    assert capsys.readouterr().out.splitlines()[:3] == [
        "schedule.rescore=2 reaches cl, anti; not uniform, spl, ogm-ge",
        "method=smv reaches uniform, cl, spl, anti; not ogm-ge",
        "5 arms x 1 seeds, 12 updates each, on cpu",
    ]


def test_epochs_are_set_before_the_equal_updates_are_counted(comparison):
    longer = replace(comparison, epochs=7)
    assert longer.updates(48) == 7 * (48 // 8) and longer.base().epochs == 7
    assert replace(longer, assignments=("epochs=3",)).base().epochs == 3  # --set is the stronger one


# ---- the dry run ----


def test_a_dry_run_says_what_is_left_and_trains_and_writes_nothing(tmp_path, capsys):
    assert main([*flags(tmp_path, arms="uniform,cl,spl+smv", seeds="2"), "--dry-run"]) == 0
    first, tests, verdicts, *arms, steps, last = capsys.readouterr().out.splitlines()
    assert tests == (
        "plan: test accuracy at the chosen and the last epoch, 4 tests of 2 differences: cl - uniform, spl+smv - "
        "uniform"
    )
    assert verdicts.startswith("plan: a verdict at 2 seeds, level 5 % over all of them; a difference within 1 points ")
    assert first == "3 arms x 2 seeds, 12 updates each, on cpu"
    assert [line.split() for line in arms] == [
        f"{name} 12 updates in {epochs} epochs; to train: seeds 0, 1".split()
        for name, epochs in (("uniform", 2), ("cl", 3), ("spl+smv", 2))
    ]
    assert steps.startswith("10 steps of uniform on cpu took ")
    assert last.startswith("dry run: 6 runs would take about ") and last.endswith("nothing was trained")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_knows_what_is_finished_and_refuses_what_the_real_one_does(comparison, tmp_path, capsys):
    for arm in find(comparison.arms):
        train(comparison, arm, 0, "cpu")
    capsys.readouterr()
    before = sorted(tmp_path.rglob("*"))
    assert main([*flags(tmp_path, seeds="2"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "to train: seeds 1; finished: 0\n" in said and "dry run: 2 runs would take about" in said
    assert main([*flags(tmp_path), "--dry-run"]) == 0
    assert "to train: none; finished: 0\ndry run: all runs are finished" in capsys.readouterr().out
    assert main([*flags(tmp_path, set="updates=13"), "--dry-run"]) == 2
    assert "a finished run of another kind (updates: 12 there, 13 here" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_task_file_must_define_what_a_task_does(tmp_path):
    (tmp_path / "task.py").write_text("CL = None\n")
    with pytest.raises(RecipeError, match="does not define build_data, build_model"):
        tasks.load(str(tmp_path / "task.py"))
    with pytest.raises(DataNotFoundError, match="is not a file"):
        tasks.load(str(tmp_path / "none.py"))


def test_the_hash_of_weights_sees_every_bit_and_name():
    state = tiny.model(norm=True).state_dict()
    assert weights_hash(state) == weights_hash(tiny.model(norm=True).state_dict())
    changed = {**state, "heads.audio.bias": state["heads.audio.bias"] + 1e-7}
    renamed = {f"x{name}": value for name, value in state.items()}
    assert len({weights_hash(each) for each in (state, changed, renamed)}) == 3


def test_a_device_must_exist(monkeypatch):
    monkeypatch.setattr(runner, "accelerators", lambda: ["mps"])
    assert devices_of("auto") == devices_of("mps") == ["mps"]
    monkeypatch.setattr(runner, "accelerators", lambda: ["cuda:0", "cuda:1"])
    assert devices_of("auto") == devices_of("cuda") == ["cuda:0", "cuda:1"]
    assert devices_of("cuda:1") == ["cuda:1"] and devices_of("cpu") == ["cpu"]
    with pytest.raises(RecipeError, match="auto, cpu, cuda:0, cuda:1"):
        devices_of("cuda:2")


# ---- runs ----


def test_arms_start_from_the_same_weights_and_train_for_the_same_updates(comparison):
    marks = []
    for arm in find(comparison.arms):
        assert attempt(comparison, arm, 0, "cpu").failure is None
        folder = comparison.folder(arm.name, 0)
        marks.append(json.loads((folder / "arm.json").read_text()))
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert sum(row["steps"] for row in rows) == 12
    assert marks[0]["initial_weights"] == marks[1]["initial_weights"]
    assert [mark["arm"] for mark in marks] == ["uniform", "cl"]
    assert all(is_finished(comparison, arm, 0) for arm in find(comparison.arms))
    other = replace(comparison, assignments=(*comparison.assignments, "updates=13"))
    with pytest.raises(RunFolderError, match=r"a finished run of another kind \(updates: 12 there, 13 here"):
        is_finished(other, find(["cl"])[0], 0)


def test_a_task_file_may_be_moved_and_commented_between_runs_but_another_one_is_refused(comparison, tmp_path):
    uniform = find(["uniform"])[0]
    train(comparison, uniform, 0, "cpu")
    (tmp_path / "moved.py").write_text(f"# A comment.\n{TASK.read_text()}\n")
    assert is_finished(replace(comparison, task=str(tmp_path / "moved.py")), uniform, 0)
    (tmp_path / "other.py").write_text(TASK.read_text() + "OTHER = 1\n")
    with pytest.raises(RunFolderError, match=r"of another kind \(task: .*comparing\.py there, .*other\.py here"):
        is_finished(replace(comparison, task=str(tmp_path / "other.py")), uniform, 0)


def test_what_was_trained_before_the_tasks_code_was_changed_is_not_taken_for_trained(comparison, tmp_path):
    uniform = find(["uniform"])[0]
    task = tmp_path / "task.py"
    task.write_text(TASK.read_text())
    comparison = replace(comparison, task=str(task))
    train(comparison, uniform, 0, "cpu")
    assert is_finished(comparison, uniform, 0)
    task.write_text(TASK.read_text().replace("whole = tiny.splits(train=60)", "whole = tiny.splits(train=61)"))
    with pytest.raises(RunFolderError, match=r"uniform/seed0 was trained before .*task\.py was changed: pass another"):
        is_finished(comparison, uniform, 0)


def test_a_finished_run_with_another_number_of_its_method_is_refused(comparison, monkeypatch):
    (arm,) = find(["smv"])
    comparison = replace(comparison, arms=("smv",), assignments=("imbalance_every=0", "epochs=4"))
    train(comparison, arm, 0, "cpu")
    assert is_finished(comparison, arm, 0)
    monkeypatch.setattr(SampleValuation, "released_warmup", 0)  # as a later version of the method might have it
    with pytest.raises(RunFolderError, match=r"of another kind \(method.warmup_epochs: 1 there, 0 here"):
        is_finished(comparison, arm, 0)


def test_a_constant_of_a_method_is_part_of_what_a_run_is(comparison):
    (arm,) = find(["ogm-ge"])
    comparison = replace(comparison, arms=("ogm-ge",), assignments=("imbalance_every=0", "method.alpha=1"))
    train(comparison, arm, 0, "cpu")
    folder = comparison.folder("ogm-ge", 0)
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"]["method"] == "ogm-ge" and config["recipe"]["method_options"] == {"alpha": 1}
    assert config["method_settings"]["alpha"] == 1
    assert is_finished(replace(comparison, assignments=("imbalance_every=0", "method.alpha=1.0")), arm, 0)
    with pytest.raises(RunFolderError, match=r"of another kind \(method.alpha: 1 there, 0.8 here\)"):
        is_finished(replace(comparison, assignments=("imbalance_every=0",)), arm, 0)
    (folder / "done").unlink()
    (folder / "summary.json").unlink()
    other = replace(comparison, assignments=("imbalance_every=0", "method.alpha=2"))
    with pytest.raises(RunFolderError, match=r"differs from this one \(method.alpha: 1 there, 2 here\)"):
        train(other, arm, 0, "cpu")


def test_a_run_that_is_older_than_a_constant_stands_for_its_default(comparison, monkeypatch):
    (arm,) = find(["loss-weights"])
    comparison = replace(comparison, arms=("loss-weights",))
    told = LossWeights.settings
    with monkeypatch.context() as older:  # before there was a weighting to choose
        older.setattr(LossWeights, "settings", lambda self: {n: v for n, v in told(self).items() if n != "weighting"})
        train(comparison, arm, 0, "cpu")
    folder = comparison.folder("loss-weights", 0)
    assert "method.weighting" not in json.loads((folder / "config.json").read_text())["identity"]
    assert is_finished(comparison, arm, 0)
    softmax = replace(comparison, assignments=("imbalance_every=0", "method.weighting=softmax"))
    with pytest.raises(RunFolderError, match=r"of another kind \(method.weighting: linear there, softmax here\)"):
        is_finished(softmax, arm, 0)
    for name in ("done", "summary.json"):
        (folder / name).unlink()
    train(comparison, arm, 0, "cpu")  # goes on from its last checkpoint
    assert len(json.loads((folder / "config.json").read_text())["continued"]) == 1
    train(comparison, arm, 1, "cpu")
    assert len(results_of(read_runs([folder, comparison.folder("loss-weights", 1)]).runs).arms) == 1


def test_the_warm_up_of_a_method_is_a_share_of_the_updates_where_they_are_given():
    # 48 samples in batches of 8: eight epochs.
    recipe = replace(tiny.CL, epochs=100, updates=48, method="data-remixing")
    assert method_of(recipe, 48).warmup_epochs == 2
    assert method_of(replace(recipe, updates=None), 48).warmup_epochs == 10


def test_an_unfinished_run_goes_on_only_with_the_weights_samples_and_code_that_it_began_with(comparison, tmp_path):
    (uniform,) = find(["uniform"])
    folder = comparison.folder("uniform", 0)
    train(comparison, uniform, 0, "cpu")
    (folder / "done").unlink()
    began = json.loads((folder / "arm.json").read_text())
    for name, noun in (("initial_weights", "weights"), ("training_samples", "samples"), ("task_file", "code")):
        (folder / "arm.json").write_text(json.dumps(sealed({**began, name: "others"})))
        with pytest.raises(RunFolderError, match=f"uniform/seed0 holds an unfinished run that began with other {noun}"):
            train(comparison, uniform, 0, "cpu")
        assert json.loads((folder / "arm.json").read_text())[name] == "others"
    (folder / "arm.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"arm\.json is damaged"):
        train(comparison, uniform, 0, "cpu")
    (folder / "arm.json").write_text(json.dumps(began))
    train(comparison, uniform, 0, "cpu")
    assert (folder / "done").exists()


def test_finished_runs_on_other_samples_than_those_under_the_data_root_are_named(comparison):
    (uniform,) = find(["uniform"])
    train(comparison, uniform, 0, "cpu")
    data = tasks.load(comparison.task).build_data(comparison.recipe(uniform, 0, None), comparison.data_root)
    check_data(comparison, data)
    with pytest.raises(RunFolderError, match=r"uniform/seed0 was trained on other samples than those under .*/data"):
        check_data(comparison, replace(data, names=["other", *data.names[1:]]))


def test_all_arms_of_a_seed_are_corrupted_alike_and_other_shares_are_refused(comparison):
    noisy = replace(comparison, assignments=("corrupt_pairs=0.25", "corrupt_labels=0.25", "epochs=1"))
    configs = []
    for arm in find(noisy.arms):
        train(noisy, arm, 0, "cpu")
        configs.append(json.loads((noisy.folder(arm.name, 0) / "config.json").read_text()))
        assert is_finished(noisy, arm, 0)
    assert configs[0]["corrupted"] == configs[1]["corrupted"] and set(configs[0]["corrupted"]) == {"train", "val"}
    data = tasks.load(noisy.task).build_data(noisy.recipe(find(["cl"])[0], 0, None), noisy.data_root)
    check_data(noisy, data)  # of the task: which labels are wrong is the recipe's
    found = read_runs(find_folders([noisy.out]))
    assert len(found.runs) == 2 and not found.left_out
    with pytest.raises(RunFolderError, match=r"corrupt_pairs: 0\.25 there, 0\.5 here"):
        is_finished(replace(noisy, assignments=("corrupt_pairs=0.5", *noisy.assignments[1:])), find(["cl"])[0], 0)


def test_an_arm_that_starts_elsewhere_is_refused(comparison):
    uniform, cl = find(comparison.arms)
    train(comparison, uniform, 0, "cpu")
    mark = comparison.folder("uniform", 0) / "arm.json"
    mark.write_text(json.dumps(sealed({**json.loads(mark.read_text()), "initial_weights": "others"})))
    outcome = attempt(comparison, cl, 0, "cpu")
    assert "the initial weights of cl and uniform differ with one seed" in outcome.failure
    assert "Does build_model draw its weights from the recipe's seed" in outcome.failure


def test_runs_that_fail_do_not_end_the_others_and_the_next_call_trains_nothing_twice(comparison, tmp_path, capsys):
    uniform, cl = find(comparison.arms)
    for arm, seed in ((uniform, 0), (cl, 0), (uniform, 1)):
        train(comparison, arm, seed, "cpu")
    before = (comparison.folder("uniform", 0) / "done").stat().st_mtime_ns
    (tmp_path / "data" / "broken-seed").write_text("1")
    capsys.readouterr()
    assert main(flags(tmp_path, seeds="2")) == 1  # a pool of one process, which gets the one run that is left
    said = capsys.readouterr()
    assert "[4/4] cl seed 1: FAILED: RuntimeError: this seed is broken on purpose" in said.out
    assert "1 of 4 runs failed (why: above, and in table.md): cl seed 1\n" in said.err
    assert "broken" not in said.err  # the reason is said there, and beside the command that repeats the run
    assert "\nINCOMPLETE: 1 run was lost (cl seed 1: RuntimeError: this seed is broken on purpose" in said.out
    assert "\nto repeat cl seed 1: python -m bss compare " in said.out and " --arms cl --seeds 1, " in said.out
    plan = plans.read(tmp_path / "out")
    assert plan.seen == (0, 1) and plan.analysis.contrasts == (("cl", "uniform"),)  # it came after the first runs
    kept = (tmp_path / "out" / "plan.json").read_bytes()
    assert "- Failed and left out: cl seed 1: RuntimeError: this seed" in (tmp_path / "out" / "table.md").read_text()
    assert "Traceback" in (comparison.folder("cl", 1) / "log.txt").read_text()
    assert "this seed is broken on purpose" in (tmp_path / "out" / "report.html").read_text()

    (tmp_path / "data" / "broken-seed").unlink()
    assert attempt(comparison, cl, 1, "cpu").failure is None
    assert main(flags(tmp_path, seeds="2")) == 0
    assert "INCOMPLETE" not in capsys.readouterr().out and (tmp_path / "out" / "plan.json").read_bytes() == kept
    assert (comparison.folder("uniform", 0) / "done").stat().st_mtime_ns == before
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Tiny &lt;task&gt;: 2 ways to train, compared" in text and "seeds 0, 1, 12 updates each" in text
    assert "Not shown, being neither picture, sound nor text: audio, visual" in text
    assert "| cl | 2 |" in (tmp_path / "out" / "table.md").read_text()


class DyingWorker:
    """Does its job at once and is dead then."""

    def __init__(self, comparison, device, threads):
        self.made.append((device, threads))
        self.pipe, self.theirs = multiprocessing.Pipe()
        self.process = SimpleNamespace(is_alive=lambda: False, join=lambda: None)
        self.job = None

    def give(self, job):
        self.job = job
        self.theirs.send(job)

    def stop(self):
        pass

    def outcome(self, *, stopping):
        self.job = None
        return Outcome(*self.pipe.recv(), accuracy=0.5)


def test_the_threads_and_devices_are_dealt_out_and_a_worker_that_died_is_replaced(comparison, monkeypatch, capsys):
    monkeypatch.setattr(runner, "_Worker", DyingWorker)
    monkeypatch.setattr(DyingWorker, "made", [], raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    outcomes = run_all(replace(comparison, seeds=(0, 1)), jobs=2, devices=["cuda:0", "cuda:1"], interrupts=Interrupts())
    assert {(outcome.arm, outcome.seed) for outcome in outcomes} == {(a, s) for a in ("uniform", "cl") for s in (0, 1)}
    assert DyingWorker.made[:2] == [("cuda:0", 3), ("cuda:1", 3)] and len(DyingWorker.made) == 4
    assert "[4/4]" in capsys.readouterr().out


def test_where_all_runs_fail_there_is_no_report_and_the_reason_is_said(tmp_path, monkeypatch, capsys):
    outcomes = [Outcome(arm, 0, f"RuntimeError: {arm} is broken") for arm in ("uniform", "cl")]
    monkeypatch.setattr(command, "run_all", lambda *_, **__: outcomes)
    assert main(flags(tmp_path)) == 1
    said = capsys.readouterr().err
    assert said == "no report was written: all 2 runs failed, the first with: RuntimeError: uniform is broken\n"
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "plan.json"]


def test_a_report_of_some_of_the_runs_in_the_folder_says_how_to_make_one_of_all(tmp_path, monkeypatch, capsys):
    for name in ("check_data", "check_finished"):
        monkeypatch.setattr(command, name, lambda *_: None)
    monkeypatch.setattr(command, "run_all", lambda *_, **__: [])
    monkeypatch.setattr(report, "page", lambda *_: "")
    out = tmp_path / "out"
    for arm in ("uniform", "cl", "spl", "anti"):
        comparing.write_run(out / arm / "seed0", arm=arm)
    (out / "anti" / "seed0" / "done").unlink()
    assert main(flags(tmp_path)) == 0
    said = capsys.readouterr().out
    assert f"{out} holds 1 more, and\npython -m bss report {out} --out {out} makes one of all of them\n" in said
    assert main(flags(tmp_path, arms="uniform,cl,spl")) == 0
    assert "of the runs of this command" not in capsys.readouterr().out
    (out / "cl" / "seed0" / "summary.json").write_text("{")
    assert main(flags(tmp_path, arms="uniform,cl,spl")) == 1
    assert f"left out: {out / 'cl' / 'seed0'}: summary.json is damaged" in capsys.readouterr().err


def test_the_plan_is_there_before_anything_is_trained_and_not_where_the_command_is_refused(
    comparison, tmp_path, monkeypatch
):
    found = []
    monkeypatch.setattr(command, "run_all", lambda comparison, **_: found.append(plans.read(comparison.out)) or [])
    assert main(flags(tmp_path, seeds="4", looks="2", margin="0.5")) == 130  # nothing was trained
    assert found[0].analysis.look_sizes() == (2, 4) and found[0].analysis.margin == 0.5
    before = (tmp_path / "out" / "plan.json").read_bytes()
    train(comparison, find(["uniform"])[0], 0, "cpu")
    assert main(flags(tmp_path, seeds="4", looks="2", set="lr=0.5")) == 2  # of another kind than the finished one
    assert (tmp_path / "out" / "plan.json").read_bytes() == before and len(list((tmp_path / "out").glob("plan*"))) == 1
    assert main(flags(tmp_path, seeds="3")) == 130  # a part of it
    assert (tmp_path / "out" / "plan.json").read_bytes() == before
    assert main(flags(tmp_path, seeds="5")) == 130  # another one
    assert found[-1].previous == plans.plan_hash(found[0]) and found[-1].seen == (0,)
    assert (tmp_path / "out" / f"plan-{found[-1].previous[:8]}.json").read_bytes() == before


def test_a_comparison_tells_what_was_not_finite_from_what_the_machine_lost(tmp_path, monkeypatch, capsys):
    out, handed = tmp_path / "out", {}
    known = {"test": {"count": 30, "commonest_class_accuracy": 0.25}}

    def run_them(comparison, **_):
        for arm, seed in comparison.plan():
            comparing.write_run(comparison.folder(arm, seed), arm=arm, seed=seed, lists=known)
        comparing.fail_run(out / "cl" / "seed1")
        comparing.fail_run(out / "cl" / "seed2", "out of memory")
        (out / "cl" / "seed3" / "scores.npz").write_text("damaged")
        return [Outcome("cl", 1, "the loss is nan"), Outcome("cl", 2, "memory ran out\nlower the batch size")]

    monkeypatch.setattr(command, "run_all", run_them)
    monkeypatch.setattr(report, "page", lambda *_: "")
    monkeypatch.setattr(report, "results_of", lambda *given, **more: handed.update(more) or results_of(*given, **more))
    assert main(flags(tmp_path, seeds="5")) == 1
    assert [(run.arm, run.seed, run.accuracy) for run in handed["failed"]] == [("cl", 1, 0.25)]
    assert handed["missing"][0] == "cl seed 2: memory ran out"
    assert handed["missing"][1].startswith("cl seed 3: scores.npz is damaged")
    assert handed["plan"] == plans.read(out)
    said = capsys.readouterr().out
    assert "INCOMPLETE: 2 runs were lost (cl seed 2: memory ran out; cl seed 3: scores.npz is damaged" in said
    assert "\nto repeat cl seed 2: python -m bss compare " in said


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, capsys):
    folder = tmp_path / "out" / "uniform" / "seed0"

    def interrupt():
        while not (folder / "metrics.jsonl").exists() and ended.wait(0.05) is False:
            pass
        os.kill(os.getpid(), signal.SIGINT)

    ended = threading.Event()
    watcher = threading.Thread(target=interrupt, daemon=True)
    watcher.start()
    assert main(flags(tmp_path, arms="uniform", seeds="2", set="epochs=100000")) == 130
    ended.set()
    said = capsys.readouterr()
    assert "stopping: every run finishes its step and saves" in said.out
    assert "stopped with 2 runs to go; the same command goes on from there" in said.err
    assert (folder / "last.pt").exists() and not (folder / "done").exists()
    assert not (tmp_path / "out" / "report.html").exists()


# ---- several processes on one comparison ---------------------------------------------------------------------------


LOADED_TASK = """
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from tests.compare import comparing
from tests.compare.comparing import CL, build_model

HERE = Path(__file__).parent


class Slowly:
    \"\"\"A data set of one's own, which loader processes have to find.\"\"\"

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        time.sleep(0.02 if (HERE / "slowly").exists() else 0)
        return self.dataset[index]


def build_data(recipe, root):
    data = comparing.build_data(recipe, root)
    return replace(data, train=Slowly(data.train))
"""


def started(tmp_path, **others):
    """A process that compares, in a group of its own, as a terminal would start it."""
    (tmp_path / "task.py").write_text(LOADED_TASK)
    words = flags(tmp_path, **{"task": tmp_path / "task.py", **others})
    repository = TASK.parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "bss", *words],
        cwd=repository,
        env=os.environ | {"PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(condition, process, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.02)


def gone(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_two_comparisons_on_one_folder_train_every_run_once_and_both_report_all_also_after_a_kill(tmp_path):
    """The first one is killed, with its worker in the middle of a run; two more share what is left."""
    out, slowly = tmp_path / "out", tmp_path / "slowly"
    slowly.touch()
    first = started(tmp_path, workers="1")
    log = out / "uniform" / "seed0" / "log.txt"
    until(lambda: log.exists() and "run folder:" in log.read_text(), first)  # as it happens, not when it ends
    assert json.loads((log.parent / "claim.json").read_text())["pid"] != first.pid
    first.kill()
    second, third = (started(tmp_path, workers="1") for _ in range(2))
    slowly.unlink()
    said = [process.communicate(timeout=120)[0] for process in (second, third)]
    assert (second.returncode, third.returncode) == (0, 0), said
    assert "FAILED" not in "".join(said) and all("[2/2]" in each for each in said)
    first.communicate(timeout=60)
    assert gone(first.pid)  # nothing of it was left
    for arm in ("uniform", "cl"):
        epochs = [row["epoch"] for row in read_rows(out / arm / "seed0")]
        assert epochs == sorted(set(epochs)) and not (out / arm / "seed0" / "claim.json").exists()
        assert (out / arm / "seed0" / "log.txt").read_text().count("test accuracy %, last epoch") == 1
    assert "| cl | 1 |" in (out / "table.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "status"), [((signal.SIGTERM,), 75), ((signal.SIGINT, signal.SIGINT), 130)], ids=["SIGTERM", "Ctrl-C"]
)
def test_sigterm_ends_with_its_own_status_and_a_second_ctrl_c_at_once(tmp_path, signals, status):
    (tmp_path / "slowly").touch()
    process = started(tmp_path, set="epochs=1000")
    log = tmp_path / "out" / "uniform" / "seed0" / "log.txt"
    until(lambda: log.exists() and "run folder:" in log.read_text(), process)
    for signum in signals:
        os.killpg(process.pid, signum)
        time.sleep(0.1)
    said = process.communicate(timeout=30)[0]
    assert process.returncode == status and "Traceback" not in said and "stopping: every run" in said
    deadline = time.monotonic() + 10
    while not gone(process.pid):  # the pool's helper goes last
        assert time.monotonic() < deadline
        time.sleep(0.05)


class SignallingWorker(DyingWorker):
    """Sends this process signals when it gets its job, which it then says was stopped."""

    signals, ended = (), ()

    def __init__(self, *arguments):
        super().__init__(*arguments)
        for name in ("terminate", "kill"):
            setattr(self.process, name, lambda name=name: setattr(SignallingWorker, "ended", (*self.ended, name)))

    def give(self, job):
        super().give(job)
        for signum in self.signals:
            signal.raise_signal(signum)

    def outcome(self, *, stopping):
        return replace(super().outcome(stopping=stopping), stopped=True)


@pytest.mark.parametrize(
    ("signals", "status", "ended"),
    [
        ((signal.SIGTERM,), 75, ()),
        ((signal.SIGINT,), 130, ()),
        ((signal.SIGINT, signal.SIGINT), 130, ("kill",)),
        ((signal.SIGTERM, signal.SIGINT), 130, ("kill",)),
    ],
    ids=["SIGTERM", "Ctrl-C", "two", "one after SIGTERM"],
)
def test_a_signal_gives_the_status_and_a_second_one_kills(tmp_path, monkeypatch, capsys, signals, status, ended):
    monkeypatch.setattr(runner, "_Worker", SignallingWorker)
    monkeypatch.setattr(SignallingWorker, "made", [], raising=False)
    monkeypatch.setattr(SignallingWorker, "signals", signals)
    monkeypatch.setattr(SignallingWorker, "ended", ())
    assert main(flags(tmp_path)) == status
    assert SignallingWorker.ended == ended and "stopped" in capsys.readouterr().err


def test_a_run_that_another_process_trains_is_no_failure_and_is_left_alone(comparison, monkeypatch):
    (uniform,) = find(["uniform"])
    folder = comparison.folder("uniform", 0)
    folder.mkdir(parents=True)
    with claim.take(folder):
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        outcome = attempt(comparison, uniform, 0, "cpu")
        assert outcome.failure is None and f"being trained by {platform.node()} (pid {os.getpid()})" in outcome.held
        with pytest.raises(RunHeldError):
            train(comparison, uniform, 0, "cpu")
        assert {path.name for path in folder.iterdir()} == {"claim.json"} == before.keys()
    assert attempt(comparison, uniform, 0, "cpu").accuracy is not None
    trained = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert attempt(comparison, uniform, 0, "cpu").accuracy is not None  # another process was faster
    assert trained == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


class HeldWorker(DyingWorker):
    """Finds the first arm held by another process until it was asked twice."""

    asked = ()

    def outcome(self, *, stopping):
        arm, seed = self.pipe.recv()
        self.job = None
        HeldWorker.asked = (*self.asked, arm)
        held = arm == "uniform" and self.asked.count(arm) < 3
        return Outcome(arm, seed, held="being trained by elsewhere") if held else Outcome(arm, seed, accuracy=0.5)


def test_a_held_run_is_said_once_and_waited_for_when_all_others_are_done(comparison, monkeypatch, capsys):
    monkeypatch.setattr(runner, "_Worker", HeldWorker)
    monkeypatch.setattr(HeldWorker, "made", [], raising=False)
    monkeypatch.setattr(runner, "RETRY", 0.01)
    outcomes = run_all(comparison, jobs=1, devices=["cpu"], interrupts=Interrupts())
    assert HeldWorker.asked == ("uniform", "cl", "uniform", "uniform")
    assert [outcome.arm for outcome in outcomes] == ["cl", "uniform"] and not any(each.failure for each in outcomes)
    said = capsys.readouterr().out
    assert said.count("waiting for uniform seed 0: being trained by elsewhere") == 1 and "[2/2]" in said


# ---- a task in a file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_data_set_that_a_task_file_defines_reaches_loader_processes(tmp_path, method):
    (tmp_path / "task.py").write_text(LOADED_TASK)
    task = tasks.load(str(tmp_path / "task.py"))
    data = task.build_data(task.CL, tmp_path)
    loader = torch.utils.data.DataLoader(data.train, num_workers=1, multiprocessing_context=method)
    assert next(iter(loader))["audio"].shape == (1, 6)


def test_a_task_file_is_read_anew_when_it_was_edited(tmp_path):
    path = tmp_path / "task.py"
    path.write_text(TASK.read_text())
    task = tasks.load(str(path))
    assert tasks.load(str(path)) is task and tasks.title(task, task.CL) == "Tiny <task>"
    path.write_text(TASK.read_text().replace("epochs=2", "epochs=7"))  # in the same second, and as long
    assert tasks.load(str(path)).CL.epochs == 7
    path.write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        tasks.load(str(path))
    path.unlink()
    with pytest.raises(DataNotFoundError, match="is not a file"):
        tasks.load(str(path))


def test_a_task_file_that_is_edited_while_it_is_compared_ends_its_other_runs(comparison, tmp_path):
    path = tmp_path / "task.py"
    path.write_text(TASK.read_text())
    comparison = replace(comparison, task=str(path), code=tasks.task_file(str(path)))
    uniform, cl = find(comparison.arms)
    train(comparison, uniform, 0, "cpu")
    path.write_text(TASK.read_text() + "# a comment\n")
    train(comparison, cl, 0, "cpu")
    path.write_text(TASK.read_text() + "OTHER = 1\n")
    with pytest.raises(RecipeError, match=r"task\.py was changed since this comparison began"):
        train(comparison, uniform, 1, "cpu")
