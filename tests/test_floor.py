"""The benchmark of a run's floor: its straight-line code learns, and takes as many steps as it is told."""

import importlib
from dataclasses import replace

import pytest
import torch

from bss.compare.arms import find
from bss.data.tensors import tensor_splits
from tests import tiny

floor = importlib.import_module("benchmarks.floor")


@pytest.mark.parametrize("arm", ["uniform", "spl", "cl"])
def test_the_straight_line_code_takes_the_steps_of_a_run_and_learns(monkeypatch, arm):
    parts = [tiny.features(count, seed=seed) for seed, count in ((1, 60), (2, 24), (3, 30))]
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("audio", "visual", "label")}
    data = tensor_splits(
        {name: joined[name] for name in ("audio", "visual")},
        joined["label"],
        train=range(60),
        val=range(60, 84),
        test=range(84, 114),
        names=[str(row) for row in range(114)],
        classes=tiny.CLASSES,
    )
    recipe = find([arm])[0].recipe(replace(tiny.CL, optimizer="adam"))
    steps, taken = torch.optim.Adam.step, []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: taken.append(1) or steps(self))
    epochs = [{"samples": 60, "steps": 7}, {"samples": 24, "steps": 3}, {"samples": 60, "steps": 7}]
    tested = floor.straight(tiny.model(norm=True), data, recipe, epochs)
    assert len(taken) == 17 and tested.keys() == {"all", "fused", "audio", "visual"} and tested["all"] > 0.5
