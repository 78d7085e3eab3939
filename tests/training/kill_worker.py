"""A run of about two seconds, which test_resume.py kills."""

import time
from dataclasses import replace

import torch

from bss.training.engine import fit
from bss.training.run import Run
from tests import tiny

CL = replace(tiny.CL, epochs=5, checkpoint_minutes=0.0, schedule=replace(tiny.CL.schedule, rescore=2, mode="train"))
ONLINE = replace(
    tiny.SPL,
    epochs=5,
    optimizer="adam",
    checkpoint_minutes=0.0,
    tail="last",
    schedule=replace(tiny.SPL.schedule, rescore="online", history=None, mode="calibrated"),
)
ARMS = {"cl": CL, "online": ONLINE}


class Slowly(torch.utils.data.Dataset):
    """A data set whose samples take a few milliseconds, so that a kill hits every part of a run."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        time.sleep(0.004)
        return self.dataset[index]


def train(arm, out, workers):
    """Noise on the samples, BatchNorm, dropout: everything that an exact continuation must bring back."""
    data = tiny.splits(noise=0.3)
    parts = {name: Slowly(getattr(data, name)) for name in ("train", "score", "val", "test")}
    model = tiny.model(norm=True, dropout=0.3)
    return fit(model, replace(data, **parts), ARMS[arm], Run(out, out, torch.device("cpu"), workers=workers))
