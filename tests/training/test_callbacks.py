"""Callbacks: what they are told, that their errors end nothing, and those of other people's loggers."""

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bss.compare.arms import find
from bss.compare.comparison import Comparison
from bss.compare.runner import attempt
from bss.training.callbacks import Callbacks, of_task, scalars
from bss.training.engine import fit
from bss.training.run import Run
from bss.utils import distributed
from bss.utils.errors import TrainingError
from tests import tiny
from tests.compare import comparing

LOGGING = Path(__file__).resolve().parents[2] / "docs" / "logging.md"
SMALL = replace(tiny.SPL, epochs=2, imbalance_every=0)


class Notes:
    """Keeps what it is told; raises in the hooks that are named."""

    def __init__(self, *, broken=()):
        self.told, self.broken = [], broken

    def start(self, config):
        self._note("start", config)

    def log(self, row, updates):
        self._note("log", row, updates)

    def finish(self, summary):
        self._note("finish", summary)

    def _note(self, hook, *given):
        self.told.append((hook, *given))
        if hook in self.broken:
            raise OSError(f"{hook} has no network\nmore lines")


def train(folder, *callbacks, recipe=SMALL, data=None, **options):
    run = Run(folder, folder, torch.device("cpu"), **options)
    return fit(tiny.model(), data or tiny.splits(), recipe, run, callbacks=callbacks)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run's folder, its summary and what a callback was told."""
    folder, notes = tmp_path_factory.mktemp("told"), Notes()
    return folder, train(folder, notes), notes.told


def test_a_callback_is_told_the_start_every_epoch_and_the_end(told):
    folder, summary, hooks = told
    assert [hook for hook, *_ in hooks] == ["start", "log", "log", "finish"]
    config = {k: v for k, v in json.loads((folder / "config.json").read_text()).items() if k != "checksum"}
    assert hooks[0][1] == config and config["recipe"]["epochs"] == 2
    rows = tiny.rows(folder)
    assert [row for _, row, _ in hooks[1:3]] == [dict(scalars(row)) for row in rows]
    assert [updates for *_, updates in hooks[1:3]] == [rows[0]["steps"], summary["updates"]]
    assert hooks[3][1] == dict(scalars(summary))
    assert hooks[3][1]["test/last/accuracy/all"] == summary["test"]["last"]["accuracy"]["all"]


def test_a_row_is_in_the_file_before_it_is_told(tmp_path):
    class Reads(Notes):
        def log(self, row, updates):
            self.told.append(tiny.rows(tmp_path)[-1]["epoch"])

    reads = Reads()
    train(tmp_path, reads)
    assert [each for each in reads.told if isinstance(each, int)] == [0, 1]


def test_a_run_that_goes_on_tells_the_epochs_before_it_again(told, tmp_path):
    notes = Notes()
    train(tmp_path, recipe=replace(SMALL, epochs=1))
    train(tmp_path, notes, resume=True)
    assert [row["epoch"] for hook, row, *_ in notes.told if hook == "log"] == [0, 1]
    assert [hook for hook, *_ in notes.told] == ["start", "log", "log", "finish"]
    assert [updates for hook, _, *updates in notes.told if hook == "log"] == [u for h, _, *u in told[2] if h == "log"]


def test_a_run_that_fails_is_told_as_none(tmp_path):
    data, notes = tiny.splits(), Notes()
    data.train.audio[:] = float("nan")
    with pytest.raises(TrainingError):
        train(tmp_path, notes, data=data)
    assert notes.told[-1] == ("finish", None)


def test_a_finished_run_tells_nothing(told):
    notes = Notes()
    train(told[0], notes, resume=True)
    assert notes.told == []


@pytest.mark.parametrize("action", ["default", "error"])
def test_the_error_of_a_callback_is_one_warning_with_its_name_and_the_training_goes_on(action, told, tmp_path):
    broken, other = Notes(broken=["log", "finish"]), Notes()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter(action)
        summary = train(tmp_path, broken, other)
    (said,) = [str(warning.message) for warning in caught]
    assert said.startswith("the callback Notes failed in log() (OSError: log has no network); the training goes on")
    assert tiny.untimed(summary) == tiny.untimed(told[1])
    assert [hook for hook, *_ in broken.told] == [hook for hook, *_ in other.told] == ["start", "log", "log", "finish"]


def test_a_callback_that_could_not_start_is_not_called_again(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    broken = Notes(broken=["start"])
    callbacks = Callbacks([broken])
    with pytest.warns(UserWarning, match=r"the callback Notes failed in start\(\)"):
        callbacks.start(tmp_path, [])
    callbacks.finish(None)
    assert [hook for hook, *_ in broken.told] == ["start"]


def test_what_asks_the_run_to_end_is_no_error_of_a_callback(tmp_path):
    class Interrupting(Notes):
        def log(self, row, updates):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, Interrupting())


def test_processes_that_write_nothing_call_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "is_main", lambda: False)
    notes = Notes()
    train(tmp_path, notes)
    assert notes.told == []


def test_the_callbacks_of_a_task_file_are_told_of_the_runs_of_a_comparison(tmp_path, monkeypatch):
    made = []

    def callbacks(recipe, folder):
        made.append((folder, Notes()))
        return [made[-1][1]]

    (tmp_path / "data").mkdir()
    options = {"budget": "epochs", "assignments": ("imbalance_every=0", "epochs=1"), "workers": 0}
    comparison = Comparison(
        str(comparing.__file__), ("cl",), (0,), data_root=tmp_path / "data", out=tmp_path / "out", **options
    )
    task = comparing_task(comparison, monkeypatch, callbacks)
    assert not attempt(comparison, find(["cl"])[0], 0, "cpu").failure
    ((folder, notes),) = made
    assert folder == tmp_path / "out" / "cl" / "seed0" and [hook for hook, *_ in notes.told] == [
        "start",
        "log",
        "finish",
    ]
    monkeypatch.delattr(task, "callbacks")
    assert of_task(task, SMALL, tmp_path) == ()


def comparing_task(comparison, monkeypatch, callbacks):
    from bss import tasks

    task = tasks.load(comparison.task)
    monkeypatch.setattr(task, "callbacks", callbacks, raising=False)
    return task


# ---- other people's loggers ----------------------------------------------------------------------------------------


def example(name):
    """The class of docs/logging.md."""
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", LOGGING.read_text(), re.DOTALL) if name in block)
    scope = {}
    exec(compile(code, str(LOGGING), "exec"), scope)
    return scope[name]


def tell(callback):
    """A run of two epochs, without a run."""
    callback.start({"recipe": {"lr": 0.5, "schedule": {"start": 0.1}}, "seed": 3})
    callback.log({"epoch": 0.0, "val/accuracy/all": 0.25}, 7)
    callback.log({"epoch": 1.0, "val/accuracy/all": 0.75}, 14)
    callback.finish({"test/chosen/accuracy/all": 0.5})


def test_weights_and_biases_keeps_a_run_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    tell(example("WandB")(project="bss"))
    (kept,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    content = kept.read_bytes()
    assert b"val/accuracy/all" in content and b"test/chosen/accuracy/all" in content


def test_mlflow_keeps_a_run_in_a_folder(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    tell(example("MLflow")(experiment="bss"))
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("bss").experiment_id])
    points = client.get_metric_history(run.info.run_id, "val/accuracy/all")
    assert [(point.step, point.value) for point in points] == [(7, 0.25), (14, 0.75)]
    assert run.data.metrics["test/chosen/accuracy/all"] == 0.5
    assert run.data.params["lr"] == "0.5" and run.info.status == "FINISHED"
