"""The metrics as curves in TensorBoard, where it is installed, and what is said where it is not."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from bss.training import tensorboard
from bss.training.callbacks import Callbacks, scalars
from bss.training.engine import fit
from bss.training.run import Run
from bss.training.tensorboard import EVENTS, TensorBoard
from bss.utils.errors import RecipeError
from tests import tiny

ROW = {"epoch": 3, "steps": 7, "lr": 0.5, "val": {"accuracy": {"all": 0.25}}, "order": {"age": None}, "note": "text"}


def test_the_finite_numbers_of_a_row_get_their_paths_as_names():
    assert list(scalars(ROW)) == [("epoch", 3.0), ("steps", 7.0), ("lr", 0.5), ("val/accuracy/all", 0.25)]
    assert list(scalars({"loss": float("nan"), "ratio": float("inf")})) == []


def test_a_missing_tensorboard_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RecipeError, match=r"pip install 'bss-multimodal\[tensorboard\]'"):
        train(tmp_path / "run", tensorboard=True)
    assert not (tmp_path / "run").exists()


def train(folder, **changes):
    run = Run(folder, folder, torch.device("cpu"))
    return fit(tiny.model(), tiny.splits(), replace(tiny.SPL, **changes), run)


FEWER = {"schedule": replace(tiny.CL.schedule, start=0.2, grow_epochs=4)}
"""A curriculum whose epochs grow, so that epochs and updates are no multiples of one another."""


def curve(folder, name):
    """(place on the axis, value) of each point."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str((folder / EVENTS).parent))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


@pytest.fixture
def installed():
    pytest.importorskip("torch.utils.tensorboard")


@pytest.mark.usefixtures("installed")
def test_a_run_draws_what_its_metrics_hold(tmp_path):
    summary = train(tmp_path, tensorboard=True, **FEWER)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    shapley = [row["imbalance"]["shapley"]["accuracy"]["audio"] for row in rows]
    points = curve(tmp_path, "imbalance/shapley/accuracy/audio")
    assert [value for _, value in points] == pytest.approx(shapley)
    steps = [row["steps"] for row in rows]
    assert steps[0] < steps[1] < steps[2] and sum(steps) == summary["updates"]
    updates = [steps[0], steps[0] + steps[1], sum(steps)]  # where the report's curves have the points as well
    assert [place for place, _ in points] == updates
    assert curve(tmp_path, "epoch") == list(zip(updates, [0, 1, 2], strict=True))


@pytest.mark.usefixtures("installed")
def test_a_continued_run_has_every_point_once(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for rows in ([ROW], [ROW, {**ROW, "epoch": 4}]):
        curves = Callbacks([TensorBoard(tmp_path)])
        curves.start(tmp_path, rows)
        curves.finish(None)
    assert curve(tmp_path, "lr") == [(7, 0.5), (14, 0.5)]


@pytest.mark.usefixtures("installed")
def test_overwriting_a_run_removes_its_curves(tmp_path):
    train(tmp_path, epochs=1, tensorboard=True)
    assert list(tmp_path.glob(EVENTS))
    train(tmp_path, epochs=1, overwrite=True)
    assert not list(tmp_path.glob(EVENTS))


def test_no_curves_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "TensorBoard", None)
    train(tmp_path, epochs=1)
    assert not (tmp_path / "tensorboard").exists()
