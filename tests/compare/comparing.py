"""A task in a file, as ``bss compare`` takes one: the tiny problem of tests/tiny.py, and folders of made-up runs."""

import json
import zlib
from dataclasses import replace

import numpy as np
import torch

from bss.data.splits import stratified_split
from tests import tiny

TITLE = "Tiny <task>"
CL = replace(tiny.CL, epochs=2, val_fraction=0.2)


def build_data(recipe, root):
    """Sixty samples; which of them are the validation ones is the seed's."""
    if (root / "broken-seed").exists() and recipe.seed == int((root / "broken-seed").read_text()):
        raise RuntimeError("this seed is broken on purpose")
    whole = tiny.splits(train=60)
    rest, part = stratified_split(whole.labels_N.tolist(), 0.2, seed=recipe.seed, classes=whole.classes)
    pick = torch.utils.data.Subset
    return replace(
        whole,
        train=pick(whole.train, rest),
        score=pick(whole.score, rest),
        val=pick(whole.score, part),
        labels_N=whole.labels_N[rest],
        names=[whole.names[i] for i in rest],
    )


def build_model(recipe, root):
    """Initial weights by the seed."""
    return tiny.model(seed=recipe.seed)


def write_run(
    folder,
    *,
    arm="uniform",
    seed=0,
    accuracy=0.5,
    last=None,
    sizes=(40, 40),
    recipe=(),
    mark=(),
    names=None,
    lists=None,
):
    """The files of a finished run with made-up numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    schedule = {"start": 1.0 if arm == "uniform" else 0.1}
    samplers = {"uniform": "UniformSampler", "random-pacing": "RandomPacingSampler"}
    config = {
        "recipe": {"epochs": 2, "batch_size": 8, "lr": 0.1, "seed": seed, "schedule": schedule, **dict(recipe)},
        "sampler": samplers.get(arm, "CurriculumSampler"),
        "method": None,
        "device": "cpu",
        "data_root": "nowhere",
        "samples": {"train": 40, "val": 10, "test": 30},
        **{"command": ["x"], "commit": "abc", "versions": {"torch": "2"}, "machine": {"cores": 2}},
    }
    if lists is not None:
        config["lists"] = lists
    heads = {"all": accuracy, "fused": accuracy, "audio": 0.4, "visual": 0.3}
    metrics = {"accuracy": heads, "macro_f1": heads, "map": heads}
    late = {**metrics, "accuracy": {**heads, "all": accuracy if last is None else last}}
    own = zlib.crc32(str(folder).encode()) / 2**32  # no two runs have all numbers in common
    rows = [
        {
            "epoch": epoch,
            "samples": size,
            "steps": size // 8,
            "seconds": 1.0,
            "val": metrics,
            "lr": own,
        }
        for epoch, size in enumerate(sizes)
    ]
    mark = {"arm": arm, "title": arm, "task": "made-up", "initial_weights": f"weights{seed}", **dict(mark)}
    names = names or [f"clip{i}" for i in range(4)]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "arm.json").write_text(json.dumps(mark))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "summary.json").write_text(
        json.dumps({"test": {"chosen": metrics, "last": late}, "chosen_epoch": min(1, len(rows) - 1)})
    )
    scores = np.array([[0.1, 0.9, 0.5, 1.5]], dtype=np.float32)[:, : len(names)]
    parts = {"epoch": np.array([0]), "similarity": scores, "loss": scores, "difficulty": scores}
    np.savez(folder / "scores.npz", **parts, name=np.array(names), label=np.zeros(len(names), np.int64))
    (folder / "done").touch()
    return folder


def fail_run(folder, how="not finite"):
    """Make a finished run one that failed in its second epoch."""
    failed = {"how": how, "epoch": 1, "step": 3, "reason": "the loss is nan"}
    (folder / "summary.json").write_text(json.dumps({"failed": failed}))
    (folder / "done").unlink()
    return folder
