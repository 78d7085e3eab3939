"""Run folders of commit af663b0, made before the library had rooms: they go on, and they are reported.

``format1/cl`` and ``format1/spl`` are finished runs of tests/tiny.py with BatchNorm, dropout and noise; ``spl-stopped``
is the second one, stopped by SIGTERM in its second epoch.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bss.cli.commands import main
from bss.training.engine import fit
from bss.training.run import Run
from bss.training.run_folder import read_checkpoint
from bss.utils.errors import RunFolderError
from tests import tiny

FORMAT1 = Path(__file__).parent / "format1"


def go_on(folder, recipe=tiny.SPL):
    run = Run(folder, Path("data"), torch.device("cpu"), resume=True)
    return fit(tiny.model(norm=True, dropout=0.3), tiny.splits(noise=0.3), recipe, run)


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_that_was_stopped_inside_an_epoch_ends_as_the_one_that_was_not(tmp_path):
    """Within rounding: another processor may add up in another order. On one machine the two are equal to the bit."""
    folder = tmp_path / "run"
    shutil.copytree(FORMAT1 / "spl-stopped", folder)
    before = read_checkpoint(folder / "last.pt")
    assert (before["finished_epochs"], before["step"]) == (1, 3)
    go_on(folder)
    for name in ("best.pt", "last.pt"):
        ours, theirs = (read_checkpoint(path / name)["model"] for path in (folder, FORMAT1 / "spl"))
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert torch.allclose(ours[key], value, atol=1e-5), f"{name} {key}"
    rows, expected = rows_of(folder), rows_of(FORMAT1 / "spl")
    assert [(row["epoch"], row["steps"], row["samples"]) for row in rows] == [
        (row["epoch"], row["steps"], row["samples"]) for row in expected
    ]
    for row, other in zip(rows, expected, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], abs=1e-5)
        assert row["val"]["accuracy"] == other["val"]["accuracy"]


@pytest.mark.parametrize(("name", "recipe"), [("cl", tiny.CL), ("spl", tiny.SPL)])
def test_a_finished_run_is_recognised_as_the_one_that_was_asked_for(tmp_path, name, recipe):
    folder = tmp_path / "run"
    shutil.copytree(FORMAT1 / name, folder)
    summary = json.loads((folder / "summary.json").read_text())
    assert go_on(folder, recipe) == summary
    with pytest.raises(RunFolderError, match=r"lr: 0\.05 there, 0\.5 here"):
        go_on(folder, replace(recipe, lr=0.5))


def test_finished_runs_are_reported(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert main(["report", str(FORMAT1 / "cl"), str(FORMAT1 / "spl"), "--out", str(tmp_path)]) == 0
    table = (tmp_path / "table.md").read_text()
    assert "96.7" in table and "86.7" in table
