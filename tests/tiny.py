"""A two-modality problem of a few kilobytes, for tests of the engine: features instead of files, linear encoders."""

import json
import os
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import Dataset

from bss.data.splits import Splits
from bss.models.fusion import ConcatFusion
from bss.models.late_fusion import LateFusion
from bss.models.weights import initialize
from bss.recipes.recipe import CurriculumSchedule, Recipe, SelfPacedSchedule
from bss.scoring.metrics import classification_metrics
from bss.training.loops import predict

DIMS = {"audio": 6, "visual": 5}
CLASSES = ("low", "middle", "high")

CL = Recipe(
    epochs=3,
    batch_size=8,
    lr=0.05,
    schedule=CurriculumSchedule(start=0.3, grow_epochs=3, mode="eval"),
    val_fraction=0.2,
)
SPL = Recipe(epochs=3, batch_size=8, lr=0.05, schedule=SelfPacedSchedule(mode="eval"), val_fraction=0.2)


@dataclass
class Features(Dataset):
    """Dict samples; with noise > 0 every access adds noise from torch's default generator, like an augmentation."""

    audio: torch.Tensor
    visual: torch.Tensor
    label: torch.Tensor
    noise: float = 0.0

    def __len__(self):
        return len(self.label)

    def __getitem__(self, index):
        noise = self.noise * torch.randn(6) if self.noise else 0.0
        return {"audio": self.audio[index] + noise, "visual": self.visual[index], "label": int(self.label[index])}


def features(count, *, seed=0, noise=0.0):
    """Audio separates the three classes well, visual badly."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % 3
    centres = torch.randn(3, 6, generator=torch.Generator().manual_seed(99))
    audio = 2 * centres[label] + torch.randn(count, 6, generator=generator)
    visual = 0.4 * centres[label, :5] + torch.randn(count, 5, generator=generator)
    return Features(audio, visual, label, noise)


def splits(*, train=60, val=24, test=30, noise=0.0):
    plain = features(train, seed=1)
    return Splits(
        train=features(train, seed=1, noise=noise),
        score=plain,
        val=features(val, seed=2) if val else None,
        test=features(test, seed=3),
        labels_N=plain.label,
        names=[f"clip{i}" for i in range(train)],
        classes=CLASSES,
    )


def untimed(content):
    """A row of metrics or a summary without its wall times, which no two runs share, and what depends on them."""
    times = {"seconds", "train_seconds"} | ({"files", "checksum"} if "files" in content else set())
    return {name: value for name, value in content.items() if name not in times}


def model(*, seed=0, norm=False, dropout=0.0):
    """LateFusion with linear encoders to 4 features, optionally with BatchNorm and dropout."""

    def encoder(dim):
        layers = [nn.Linear(dim, 4)]
        layers += [nn.BatchNorm1d(4)] if norm else []
        layers += [nn.Tanh()]
        layers += [nn.Dropout(dropout)] if dropout else []
        return nn.Sequential(*layers)

    dims = {name: 4 for name in DIMS}
    network = LateFusion(
        {name: encoder(dim) for name, dim in DIMS.items()}, ConcatFusion(dims, 3), 3, feature_dims=dims
    )
    return initialize(network, seed)


def rows(folder):
    """The rows of a run folder's metrics."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def evaluate(network, loader, **options):
    """Metrics of all heads on a data set."""
    predicted = predict(network, loader, **options)
    return classification_metrics(predicted.heads, predicted.target)


class Signalling(torch.utils.data.Dataset):
    """Sends this process a signal when the ``at``-th sample is read."""

    def __init__(self, dataset, at, signum):
        self.dataset, self.at, self.signum, self.count = dataset, at, signum, 0

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), self.signum)
        return self.dataset[index]
