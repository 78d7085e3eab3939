"""``python -m bss train``: an arm as a single run, and how it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bss import cli, tasks
from bss.cli.commands import main
from bss.compare.arms import find
from bss.compare.comparison import Comparison
from bss.recipes.fields import flatten
from bss.utils.interrupts import Interrupted, Interrupts, interruptible
from tests import tiny
from tests.compare import comparing

TASK = Path(comparing.__file__)

INTERRUPTED = """
from dataclasses import replace
from tests import tiny
from tests.compare import comparing

CL, build_model = comparing.CL, comparing.build_model

def build_data(recipe, root):
    data = comparing.build_data(recipe, root)
    if (root / "quiet").exists():
        return data
    return replace(data, train=tiny.Signalling(data.train, 20, {signum}))
"""


def train(arm, *flags, task=TASK):
    return main(["train", str(task), "--arm", arm, "--device", "cpu", "--workers", "0", *map(str, flags)])


def config_of(folder):
    return json.loads((folder / "config.json").read_text())


def test_an_arm_is_trained_into_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train("spl+ogm-ge", "--data-root", tmp_path, "--seed", 3, "--set", "imbalance_every=0") == 0
    folder = tmp_path / "runs" / "comparing-spl+ogm-ge-seed3"
    config = config_of(folder)
    assert (folder / "done").exists() and not (folder / "arm.json").exists()
    assert (config["arm"], config["task"], config["title"]) == ("spl+ogm-ge", str(TASK), "Tiny <task>")
    assert (config["task_hash"], config["seed"], config["generated"]) == (tasks.task_file(str(TASK)), 3, False)
    assert (config["sampler"], config["method"]) == ("SelfPacedSampler", "OGMGE")


def test_the_recipe_is_the_one_that_a_comparison_gives_the_arm(tmp_path):
    given = ("imbalance_every=0", "schedule.normalize=rank")
    flags = [word for assignment in given for word in ("--set", assignment)]
    assert train("uniform", "--data-root", tmp_path, "--epochs", 1, "--seed", 5, "--out", tmp_path / "run", *flags) == 0
    comparison = Comparison(
        str(TASK), ("uniform",), (5,), "epochs", given, tmp_path, tmp_path / "out", workers=0, epochs=1
    )
    recipe = comparison.recipe(find(["uniform"])[0], 5, None)
    saved = config_of(tmp_path / "run")["recipe"]
    assert saved["schedule"] == {n[9:]: v for n, v in flatten(recipe).items() if n.startswith("schedule.")}
    assert saved["method_options"] == {}
    assert {n: v for n, v in saved.items() if n not in ("schedule", "method_options")} == {
        n: v for n, v in flatten(recipe).items() if not n.startswith("schedule.")
    }


def test_generated_data_lie_beside_the_run_and_are_named_as_such(samples):
    out = samples / "train-uniform"
    small = ["--epochs", 1, "--set", "image_size=24", "--set", "width=4"]
    assert train("uniform", "--sample", "--out", out, *small, task="cremad") == 0
    config = config_of(out)
    assert config["generated"] and config["data_root"] == str((samples / "sample-data" / "cremad").resolve())
    assert (config["task"], config["recipe"]["batch_size"]) == ("cremad", 16)  # of the task's sample_recipe


@pytest.mark.parametrize(
    ("task", "arm", "flags", "message"),
    [
        ("cremd", "cl", [], "unknown task 'cremd'; the tasks are cremad"),
        ("none.py", "cl", [], "none.py is not a file"),
        (TASK, "unifrm", [], "unknown arm 'unifrm' (did you mean uniform?)"),
        (TASK, "spl+cl", [], "does not join"),
        ("cremad", "cl", [], "pass --data-root DIR, the data set's folder, or --sample"),
        ("cremad", "cl", ["--data-root", "."], "README.md describes the layout; --sample runs"),
        ("cremad", "cl", ["--data-root", "nowhere"], "the data root nowhere does not exist"),
        ("cremad", "cl", ["--data-root", ".", "--sample"], "give it or --data-root, not both"),
        (TASK, "cl", ["--sample"], "has no generated data, since it does not define sample_recipe, write_sample"),
        (TASK, "cl", ["--data-root", ".", "--epochs", "0"], "epochs must be >= 1"),
        (TASK, "cl", ["--data-root", ".", "--device", "gpu"], "--device 'gpu' is not a device"),
        (
            TASK,
            "uniform",
            ["--data-root", ".", "--set", "start=0.5"],
            "--set schedule.start=0.5 does not reach uniform",
        ),
        (TASK, "spl", ["--data-root", ".", "--set", "rescore=2"], "--set schedule.rescore=2 does not reach spl"),
        (TASK, "ogm-ge", ["--data-root", ".", "--set", "method=smv"], "--set method=smv does not reach ogm-ge"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_what_cannot_be_trained_is_refused_in_a_few_lines(task, arm, flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train(arm, *flags, task=task) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and len(said.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_run_that_is_asked_to_stop_says_how_to_go_on_and_goes_on(signum, status, tmp_path, capsys):
    (tmp_path / "task.py").write_text(INTERRUPTED.format(signum=int(signum)))
    flags = ["--data-root", tmp_path, "--out", tmp_path / "run"]
    assert train("cl", *flags, task=tmp_path / "task.py") == status
    said = capsys.readouterr().err
    assert said == f"\ninterrupted: saved in {tmp_path / 'run'}, and the same command goes on from there\n"
    (tmp_path / "quiet").touch()
    assert train("cl", *flags, task=tmp_path / "task.py") == 0
    assert (tmp_path / "run" / "done").exists()
    capsys.readouterr()
    assert train("cl", *flags, task=tmp_path / "task.py") == 2
    assert "holds a finished run (2 epochs): pass another --out" in capsys.readouterr().err
    assert train("cl", *flags, "--resume", task=tmp_path / "task.py") == 0


def test_another_arm_does_not_go_into_the_same_folder(tmp_path, capsys):
    flags = ["--data-root", tmp_path, "--out", tmp_path / "run", "--set", "imbalance_every=0"]
    assert train("uniform", *flags) == 0
    assert train("cl", *flags, "--resume") == 2
    said = capsys.readouterr().err
    assert "a finished run that differs from this one (" in said and "UniformSampler there, CurriculumSampler" in said


# ---- before and after the steps ------------------------------------------------------------------------------------


SIGNALS = [(signal.SIGTERM, 75), (signal.SIGINT, 130)]


@pytest.mark.parametrize(("signum", "status"), SIGNALS)
@pytest.mark.parametrize("command", ["train", "compare", "script"])
@pytest.mark.parametrize("where", ["import", "build_data"])
def test_a_signal_before_the_first_step_has_its_status_too(
    signum, status, command, where, tmp_path, capsys, monkeypatch
):
    task = f"""
import signal
from pathlib import Path
from tests.compare.comparing import CL, build_model

def build_data(recipe, root):
    signal.raise_signal({int(signum)})

{"build_data(CL, None)" if where == "import" else ""}
"""
    (tmp_path / "task.py").write_text(task)
    out = tmp_path / "runs" / "out"
    if command == "script":
        loaded = tasks.load
        monkeypatch.setattr(tasks, "load", lambda name: loaded(str(tmp_path / "task.py")))
        with (
            pytest.raises(SystemExit) as ended,
            cli.session(
                "", str(tmp_path / "x" / "train-CL.py"), {"default": tiny.CL}, ["--out", str(out), "--device", "cpu"]
            ) as (task, recipe, run),
        ):
            task.build_data(recipe, run.data_root)
        assert ended.value.code == status
    else:
        words = ["--arm", "cl"] if command == "train" else ["--arms", "cl"]
        words += ["--data-root", str(tmp_path), "--out", str(out), "--device", "cpu"]
        assert main([command, str(tmp_path / "task.py"), *words]) == status
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_sigterm_while_pytorch_is_imported(tmp_path):
    words = [sys.executable, "-m", "bss", "train", str(TASK), "--arm", "cl", "--data-root", str(tmp_path)]
    repository = TASK.parents[2]
    process = subprocess.Popen(
        words, cwd=repository, env=os.environ | {"PYTHONPATH": str(repository)}, stderr=subprocess.PIPE
    )
    while "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75 and said.split() == [b"interrupted"]


def test_a_signal_whose_exception_was_swallowed_ends_the_run_at_its_first_step():
    with interruptible():
        with contextlib.suppress(BaseException):  # as Python does for what a destructor raises
            signal.raise_signal(signal.SIGTERM)
        with Interrupts() as interrupts, pytest.raises(Interrupted):
            interrupts.check()
    assert Interrupts().noted is None
