"""Does a run's memory grow with the number of epochs? The resident set after epoch 2 and after epoch 200 of one run.

    python benchmarks/memory.py [--epochs 200] [--samples 2000]

A run in this process, from start to end, on a network and a data set of a few kilobytes: what stays behind after an
epoch would show beside them. Scores are kept every epoch, the modalities' contributions are measured, and a checkpoint
is written. Python's own garbage is collected before the resident set is read, as Linux tells it.
"""

import argparse
import gc
import os
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from bss.data.splits import Splits
from bss.methods import Method
from bss.models.fusion import ConcatFusion
from bss.models.late_fusion import LateFusion
from bss.models.weights import initialize
from bss.recipes.recipe import Recipe, SelfPacedSchedule
from bss.training.engine import fit
from bss.training.environment import environment
from bss.training.run import Run

CLASSES = ("low", "middle", "high")
DIMS = {"audio": 6, "visual": 5}


class Features(Dataset):
    """Random features of two modalities, and the class that moves one of them."""

    def __init__(self, count: int, seed: int):
        draw = torch.Generator().manual_seed(seed)
        self.label = torch.arange(count) % len(CLASSES)
        self.values = {name: torch.randn(count, dim, generator=draw) for name, dim in DIMS.items()}
        self.values["audio"][:, 0] += self.label

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor | int]:
        return {**{name: value[index] for name, value in self.values.items()}, "label": int(self.label[index])}


def resident() -> float:
    """MiB, after a collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch(Method):
    """Joint training that reads the resident set after some numbers of finished epochs."""

    def __init__(self, epochs: set[int]):
        self.epochs = epochs
        self.measured: dict[int, float] = {}

    def begin_epoch(self, epoch: int) -> None:
        if epoch in self.epochs:
            self.measured[epoch] = resident()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--samples", type=int, default=2000)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    train = Features(flags.samples, 0)
    data = Splits(
        train=train,
        score=train,
        val=Features(200, 1),
        test=Features(200, 2),
        labels_N=train.label,
        names=[str(number) for number in range(flags.samples)],
        classes=CLASSES,
    )
    model = initialize(
        LateFusion(
            {name: nn.Linear(dim, 4) for name, dim in DIMS.items()},
            ConcatFusion({name: 4 for name in DIMS}, len(CLASSES)),
            len(CLASSES),
            feature_dims={name: 4 for name in DIMS},
        ),
        seed=0,
    )
    schedule = SelfPacedSchedule(rescore="online")
    recipe = Recipe(epochs=flags.epochs + 1, batch_size=128, lr=0.01, schedule=schedule)
    watch = Watch({2, flags.epochs // 10, flags.epochs // 2, flags.epochs})
    with tempfile.TemporaryDirectory() as out:
        run = Run(out=Path(out) / "run", data_root=Path(out), device=torch.device("cpu"))
        fit(model, data, recipe, run, method=watch)
    print(f"\nCommit {environment()['commit']}, torch {torch.__version__}, {flags.samples} samples\n")
    print("| after epoch | resident set, MiB | above epoch 2, KiB an epoch |\n|---|---|---|")
    for epoch, size in watch.measured.items():
        growth = f"{1024 * (size - watch.measured[2]) / (epoch - 2):.1f}" if epoch > 2 else "-"
        print(f"| {epoch} | {size:.1f} | {growth} |")


if __name__ == "__main__":
    main()
