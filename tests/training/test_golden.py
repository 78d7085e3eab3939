"""The trajectory of two small CPU runs, kept in ``golden/``: a refactoring must leave them as they are.

A change of method changes them in a commit of its own: ``python -m tests.training.test_golden`` writes them anew.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bss.data.synthetic.cremad import write_sample
from bss.data.synthetic.signals import ClipSizes
from bss.tasks import cremad
from bss.training.engine import fit
from bss.training.run import Run

GOLDEN = Path(__file__).parent / "golden"
ARMS = {"cl": cremad.CL, "spl": cremad.SPL}


def trajectory(arm, folder):
    """(epoch, samples, training loss) of CREMA-D's network at width 4 on 38 generated clips."""
    write_sample(folder / "data", ClipSizes(per_class=8, test_per_class=2, seconds=0.3, image_size=64))
    recipe = replace(
        cremad.sample_recipe(ARMS[arm]),
        epochs=4,
        batch_size=16,
        weight_decay=1.0,
        lr=5e-6,  # small steps: rounding, which differs between processors, must not grow into another trajectory
        width=4,
        sample_rate=16_000,  # the files' own: bands that resampling leaves empty hold the logarithms of rounding
        seconds=0.3,
        image_size=64,
        val_fraction=0.2,
    )
    data = cremad.build_data(recipe, folder / "data")
    run = Run(out=folder / "run", data_root=folder / "data", device=torch.device("cpu"))
    fit(cremad.build_model(recipe, folder), data, recipe, run)
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [(row["epoch"], row["samples"], row["train_loss"]) for row in rows]


@pytest.mark.parametrize("arm", ARMS)
def test_the_golden_trajectory_holds(arm, tmp_path):
    lines = (GOLDEN / f"cremad_{arm}.txt").read_text().splitlines()
    expected = [line.split() for line in lines if not line.startswith("#")]
    measured = trajectory(arm, tmp_path)
    assert [(epoch, samples) for epoch, samples, _ in measured] == [(int(e), int(s)) for e, s, _ in expected]
    for (_, _, loss), (_, _, golden) in zip(measured, expected, strict=True):
        assert loss == pytest.approx(float(golden), abs=1e-4)


def write_golden():
    import tempfile

    for arm in ARMS:
        with tempfile.TemporaryDirectory() as folder:
            rows = trajectory(arm, Path(folder))
        text = "".join(f"{epoch} {samples} {loss:.6f}\n" for epoch, samples, loss in rows)
        head = "# epoch samples training_loss; python -m tests.training.test_golden\n"
        (GOLDEN / f"cremad_{arm}.txt").write_text(head + text)


if __name__ == "__main__":
    write_golden()
