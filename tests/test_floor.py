"""The benchmark of a run's floor: its straight-line code learns, and takes as many steps as it is told."""

import importlib
import json
from dataclasses import replace

import pytest
import torch

from bss.compare.arms import find
from bss.data.tensors import tensor_splits
from bss.training.engine import fit
from bss.training.run import Run
from tests import tiny

floor = importlib.import_module("benchmarks.floor")


def splits():
    parts = [tiny.features(count, seed=seed) for seed, count in ((1, 60), (2, 24), (3, 30))]
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in ("audio", "visual", "label")}
    return tensor_splits(
        {name: joined[name] for name in ("audio", "visual")},
        joined["label"],
        train=range(60),
        val=range(60, 84),
        test=range(84, 114),
        names=[str(row) for row in range(114)],
        classes=tiny.CLASSES,
    )


def samples_by_mode(model):
    """Counts, as the model is used, of samples through an encoder: while it trains, and while it does not."""
    seen, encoder = {True: 0, False: 0}, next(iter(model.encoders.values()))
    encoder.register_forward_hook(
        lambda module, inputs, _: seen.update({module.training: seen[module.training] + len(inputs[0])})
    )
    return seen


@pytest.mark.parametrize("arm", ["uniform", "spl", "cl"])
def test_as_many_samples_go_through_the_network_as_in_a_run(arm, tmp_path):
    data, recipe = splits(), find([arm])[0].recipe(replace(tiny.CL, optimizer="adam", epochs=4))
    model = tiny.model(norm=True)
    seen = samples_by_mode(model)
    fit(model, data, recipe, Run(tmp_path / "run", tmp_path, torch.device("cpu")))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    model = tiny.model(norm=True)
    straight = samples_by_mode(model)
    floor.straight(model, data, recipe, rows)
    assert straight[True] == seen[True] > 0
    # Their draws differ: where the chosen epoch is not the last, the test set goes through the network twice.
    assert abs(straight[False] - seen[False]) in (0, len(data.test)) and len(data.test) < len(data.train)


@pytest.mark.parametrize("arm", ["uniform", "spl", "cl"])
def test_the_straight_line_code_takes_the_steps_of_a_run_and_learns(monkeypatch, arm):
    data = splits()
    recipe = find([arm])[0].recipe(replace(tiny.CL, optimizer="adam"))
    steps, taken = torch.optim.Adam.step, []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: taken.append(1) or steps(self))
    epochs = [{"samples": 60, "steps": 7}, {"samples": 24, "steps": 3}, {"samples": 60, "steps": 7}]
    tested = floor.straight(tiny.model(norm=True), data, recipe, epochs)
    assert len(taken) == 17 and tested.keys() == {"all", "fused", "audio", "visual"} and tested["all"] > 0.5
