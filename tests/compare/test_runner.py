"""``python -m bss compare``: runs, and how they go on, fail and are compared."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from bss import tasks
from bss.cli import compare as command
from bss.cli.commands import STEMS, main
from bss.compare import runner
from bss.compare.arms import ARMS, find
from bss.compare.runner import Outcome, attempt, check_data, devices_of, is_finished, run_all, train
from bss.compare.study import Study, seeds_of, weights_hash
from bss.methods import SampleValuation
from bss.training.build import method_of
from bss.utils.errors import DataNotFoundError, RecipeError, RunFolderError
from tests import tiny
from tests.compare import comparing

TASK = Path(comparing.__file__)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "data").mkdir()
    return Study(
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


def test_the_help_lists_all_arms_without_importing_pytorch():
    code = "import sys\nfrom bss.__main__ import main\ntry: main(['compare', '--help'])\n"
    code += "finally: assert 'torch' not in sys.modules"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    listed = [line.split(maxsplit=1) for line in said.partition("the arms (")[2].splitlines()[1:]]
    assert listed == [[arm.name, arm.title] for arm in ARMS]


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


def test_equal_updates_are_those_of_uniform_order(study):
    assert study.updates(48) == 2 * (48 // 8)  # in batches of 8, for 2 epochs
    assert study.updates(39) == 2 * 4
    assert replace(study, budget="epochs").updates(48) is None
    assert replace(study, assignments=("updates=5",)).updates(48) == 5
    with pytest.raises(RecipeError, match="contradicts --updates epochs"):
        replace(study, budget="epochs", assignments=("updates=5",)).updates(48)


def test_arms_differ_in_nothing_but_the_order(study):
    uniform, cl = (study.recipe(arm, 3, 12) for arm in find(study.arms))
    assert replace(uniform, schedule=cl.schedule) == cl and cl.seed == 3 and cl.updates == 12


def test_a_comparison_that_is_cut_short_has_whole_pairs(study):
    plan = replace(study, seeds=(4, 5)).plan()
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
        ({"device": "tpu"}, "--device tpu: PyTorch sees"),
        ({"set": "nothing=1"}, "error: unknown recipe field 'nothing'"),
        ({"set": "seed=1"}, "--set seed= is not for a comparison: use --seeds"),
        ({"data-root": "no-folder-here"}, "--data-root no-folder-here is not a folder"),
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
    monkeypatch.setattr(command, "default_workers", lambda: 6)
    monkeypatch.setattr(command, "run_all", lambda study, **_: planned.append(study.workers) or [])
    words = flags(tmp_path, task=tmp_path / "task.py" if in_memory else TASK, jobs="2")
    place = words.index("--workers")
    words[place : place + 2] = ["--workers", given] if given else []
    assert main(words) == 130  # nothing was trained
    assert planned == [workers]


@pytest.mark.parametrize("stem", STEMS)
def test_where_files_are_missing_no_flag_is_advised_that_a_comparison_does_not_have(tmp_path, capsys, stem):
    assert main(flags(tmp_path, task=stem)) == 2
    said = capsys.readouterr().err
    assert "README.md describes the layout" in said and "--sample" not in said


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
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices_of("auto") == devices_of("cuda") == ["cuda:0", "cuda:1"]
    assert devices_of("cuda:1") == ["cuda:1"] and devices_of("cpu") == ["cpu"]
    with pytest.raises(RecipeError, match="auto, cpu, cuda:0, cuda:1"):
        devices_of("cuda:2")


# ---- runs ----


def test_arms_start_from_the_same_weights_and_train_for_the_same_updates(study):
    marks = []
    for arm in find(study.arms):
        assert attempt(study, arm, 0, "cpu").failure is None
        folder = study.folder(arm.name, 0)
        marks.append(json.loads((folder / "arm.json").read_text()))
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert sum(row["steps"] for row in rows) == 12
    assert marks[0]["initial_weights"] == marks[1]["initial_weights"]
    assert [mark["arm"] for mark in marks] == ["uniform", "cl"]
    assert all(is_finished(study, arm, 0) for arm in find(study.arms))
    other = replace(study, assignments=(*study.assignments, "updates=13"))
    with pytest.raises(RunFolderError, match=r"a finished run of another kind \(updates: 12 there, 13 here"):
        is_finished(other, find(["cl"])[0], 0)


def test_a_task_file_may_be_moved_and_commented_between_runs_but_another_one_is_refused(study, tmp_path):
    uniform = find(["uniform"])[0]
    train(study, uniform, 0, "cpu")
    (tmp_path / "moved.py").write_text(f"# A comment.\n{TASK.read_text()}\n")
    assert is_finished(replace(study, task=str(tmp_path / "moved.py")), uniform, 0)
    (tmp_path / "other.py").write_text(TASK.read_text() + "OTHER = 1\n")
    with pytest.raises(RunFolderError, match=r"of another kind \(task: .*comparing\.py there, .*other\.py here"):
        is_finished(replace(study, task=str(tmp_path / "other.py")), uniform, 0)


def test_what_was_trained_before_the_tasks_code_was_changed_is_not_taken_for_trained(study, tmp_path):
    uniform = find(["uniform"])[0]
    task = tmp_path / "task.py"
    task.write_text(TASK.read_text())
    study = replace(study, task=str(task))
    train(study, uniform, 0, "cpu")
    assert is_finished(study, uniform, 0)
    task.write_text(
        TASK.read_text().replace("epochs=2", "epochs=3")
    )  # the module in memory is the old one: only the text
    with pytest.raises(RunFolderError, match=r"uniform/seed0 was trained before .*task\.py was changed: pass another"):
        is_finished(study, uniform, 0)


def test_a_finished_run_with_another_number_of_its_method_is_refused(study, monkeypatch):
    (arm,) = find(["smv"])
    study = replace(study, arms=("smv",), assignments=("imbalance_every=0", "epochs=4"))
    train(study, arm, 0, "cpu")
    assert is_finished(study, arm, 0)
    monkeypatch.setattr(SampleValuation, "released_warmup", 0)  # as a later version of the method might have it
    with pytest.raises(RunFolderError, match=r"of another kind \(method.warmup_epochs: 1 there, 0 here"):
        is_finished(study, arm, 0)


def test_the_warm_up_of_a_method_is_a_share_of_the_updates_where_they_are_given():
    # 48 samples in batches of 8: eight epochs.
    recipe = replace(tiny.CL, epochs=100, updates=48, method="data-remixing")
    assert method_of(recipe, 48).warmup_epochs == 2
    assert method_of(replace(recipe, updates=None), 48).warmup_epochs == 10


def test_an_unfinished_run_goes_on_only_with_the_weights_samples_and_code_that_it_began_with(study, tmp_path):
    (uniform,) = find(["uniform"])
    folder = study.folder("uniform", 0)
    train(study, uniform, 0, "cpu")
    (folder / "done").unlink()
    began = json.loads((folder / "arm.json").read_text())
    for name, noun in (("initial_weights", "weights"), ("training_samples", "samples"), ("task_file", "code")):
        (folder / "arm.json").write_text(json.dumps({**began, name: "others"}))
        with pytest.raises(RunFolderError, match=f"uniform/seed0 holds an unfinished run that began with other {noun}"):
            train(study, uniform, 0, "cpu")
        assert json.loads((folder / "arm.json").read_text())[name] == "others"
    (folder / "arm.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"arm\.json is damaged"):
        train(study, uniform, 0, "cpu")
    (folder / "arm.json").write_text(json.dumps(began))
    train(study, uniform, 0, "cpu")
    assert (folder / "done").exists()


def test_finished_runs_on_other_samples_than_those_under_the_data_root_are_named(study):
    (uniform,) = find(["uniform"])
    train(study, uniform, 0, "cpu")
    data = tasks.load(study.task).build_data(study.recipe(uniform, 0, None), study.data_root)
    check_data(study, data)
    with pytest.raises(RunFolderError, match=r"uniform/seed0 was trained on other samples than those under .*/data"):
        check_data(study, replace(data, names=["other", *data.names[1:]]))


def test_an_arm_that_starts_elsewhere_is_refused(study):
    uniform, cl = find(study.arms)
    train(study, uniform, 0, "cpu")
    mark = study.folder("uniform", 0) / "arm.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "initial_weights": "others"}))
    outcome = attempt(study, cl, 0, "cpu")
    assert "the initial weights of cl and uniform differ with one seed" in outcome.failure
    assert "Does build_model draw its weights from the recipe's seed" in outcome.failure


def test_runs_that_fail_do_not_end_the_others_and_the_next_call_trains_nothing_twice(study, tmp_path, capsys):
    uniform, cl = find(study.arms)
    for arm, seed in ((uniform, 0), (cl, 0), (uniform, 1)):
        train(study, arm, seed, "cpu")
    before = (study.folder("uniform", 0) / "done").stat().st_mtime_ns
    (tmp_path / "data" / "broken-seed").write_text("1")
    capsys.readouterr()
    assert main(flags(tmp_path, seeds="2")) == 1  # a pool of one process, which gets the one run that is left
    said = capsys.readouterr()
    assert "[4/4] cl seed 1: FAILED: RuntimeError: this seed is broken on purpose" in said.out
    assert "1 of 4 runs failed (why: above, and in table.md): cl seed 1\n" in said.err
    assert "broken" not in said.err  # the reason is said once
    assert "- Failed and left out: cl seed 1: RuntimeError: this seed" in (tmp_path / "out" / "table.md").read_text()
    assert "Traceback" in (study.folder("cl", 1) / "log.txt").read_text()
    assert "this seed is broken on purpose" in (tmp_path / "out" / "report.html").read_text()

    (tmp_path / "data" / "broken-seed").unlink()
    assert attempt(study, cl, 1, "cpu").failure is None
    assert main(flags(tmp_path, seeds="2")) == 0
    assert (study.folder("uniform", 0) / "done").stat().st_mtime_ns == before
    text = (tmp_path / "out" / "report.html").read_text()
    assert "Tiny &lt;task&gt;: 2 ways to train, compared" in text and "seeds 0, 1, 12 updates each" in text
    assert "Not shown, being neither picture, sound nor text: audio, visual" in text
    assert "| cl | 2 |" in (tmp_path / "out" / "table.md").read_text()


class DyingWorker:
    """Does its job at once and is dead then."""

    def __init__(self, study, device, threads):
        self.made.append((device, threads))
        self.pipe, self.theirs = multiprocessing.Pipe()
        self.process = SimpleNamespace(is_alive=lambda: False, join=lambda: None)
        self.job = None

    def give(self, job):
        self.job = job
        self.theirs.send(job)

    def outcome(self, *, stopping):
        self.job = None
        return Outcome(*self.pipe.recv(), accuracy=0.5)


def test_the_threads_and_devices_are_dealt_out_and_a_worker_that_died_is_replaced(study, monkeypatch, capsys):
    monkeypatch.setattr(runner, "_Worker", DyingWorker)
    monkeypatch.setattr(DyingWorker, "made", [], raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    outcomes = run_all(replace(study, seeds=(0, 1)), jobs=2, devices=["cuda:0", "cuda:1"])
    assert {(outcome.arm, outcome.seed) for outcome in outcomes} == {(a, s) for a in ("uniform", "cl") for s in (0, 1)}
    assert DyingWorker.made[:2] == [("cuda:0", 3), ("cuda:1", 3)] and len(DyingWorker.made) == 4
    assert "[4/4]" in capsys.readouterr().out


def test_where_all_runs_fail_there_is_no_report_and_the_reason_is_said(tmp_path, monkeypatch, capsys):
    outcomes = [Outcome(arm, 0, f"RuntimeError: {arm} is broken") for arm in ("uniform", "cl")]
    monkeypatch.setattr(command, "run_all", lambda *_, **__: outcomes)
    assert main(flags(tmp_path)) == 1
    said = capsys.readouterr().err
    assert said == "no report was written: all 2 runs failed, the first with: RuntimeError: uniform is broken\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_a_report_of_some_of_the_runs_in_the_folder_says_how_to_make_one_of_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "check_data", lambda *_: None)
    monkeypatch.setattr(command, "run_all", lambda *_, **__: [])
    monkeypatch.setattr(command, "page", lambda _: "")
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


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path, capsys):
    folder = tmp_path / "out" / "uniform" / "seed0"

    def interrupt():
        while not (folder / "last.pt").exists() and ended.wait(0.05) is False:
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
