"""What all examples share: real data with several views of one thing, a small network, and what they print."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import bss
from bss.data.tensors import read_arrays


class Views(Dataset):
    """Dict samples: one feature vector per view, and ``"label"``."""

    def __init__(self, views: dict[str, Tensor], label: Tensor):
        self.views, self.label = views, label

    def __len__(self):
        return len(self.label)

    def __getitem__(self, index):
        return {name: values[index] for name, values in self.views.items()} | {"label": int(self.label[index])}

    @property
    def dims(self) -> dict[str, int]:
        return {name: values.shape[1] for name, values in self.views.items()}


def digits() -> tuple[Views, Views]:
    """Scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; the views are the upper and the lower half."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    pixels, label = torch.from_numpy(bunch.data).float() / 16, torch.from_numpy(bunch.target)
    parts = train_test_split(range(len(label)), test_size=500, stratify=label, random_state=0)
    return tuple(Views({"top": pixels[part, :32], "bottom": pixels[part, 32:]}, label[part]) for part in parts)


def mfeat(path: Path) -> tuple[Views, Views]:
    """The UCI "multiple features" digits: 2,000 digits, six sets of features of each, standardised.

    Args:
        path: npz file with one (2000, D) array per view, ``y`` (2000,), and the indices ``train`` and ``test``.

    Raises:
        DataError, DataNotFoundError: no such file, or another one.
    """
    import numpy as np

    advice = "benchmarks/study/README.md says what mfeat.npz holds"
    rows = read_arrays(path, ("y", "train", "test"), title="Multiple features", advice=advice)
    label, train, test = (torch.from_numpy(array) for array in rows.values())
    with np.load(path) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files if name not in rows}
    views = {name: (x - x[train].mean(0)) / x[train].std(0) for name, x in arrays.items()}
    return tuple(Views({name: x[part].float() for name, x in views.items()}, label[part]) for part in (train, test))


class Net(nn.Module):
    """An encoder and a head for each view, and a fused head on all features together."""

    def __init__(self, dims: dict[str, int], *, width: int = 32, classes: int = 10):
        super().__init__()
        self.encoders = nn.ModuleDict({name: nn.Sequential(nn.Linear(d, width), nn.ReLU()) for name, d in dims.items()})
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name in dims})
        self.fusion = nn.Linear(width * len(dims), classes)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Fused logits, and the logits of every view."""
        features = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        unimodal = {name: head(features[name]) for name, head in self.heads.items()}
        return self.fusion(torch.cat(list(features.values()), dim=1)), unimodal


@torch.no_grad()
def print_accuracy(model: nn.Module, test: Dataset) -> None:
    """One line: the accuracy of every head on the test set."""
    model.eval()
    batch = next(iter(DataLoader(test, batch_size=len(test))))
    fused, unimodal = model(batch)
    heads = {"fused": fused, **unimodal}
    right = {name: (logits.argmax(1) == batch["label"]).float().mean().item() for name, logits in heads.items()}
    print("test accuracy: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in right.items()))


def print_order(sampler: bss.CurriculumSampler | bss.SelfPacedSampler) -> None:
    """One line: how many samples the epoch sees, and how balanced those are that come first and last."""
    order = sampler.global_order()
    line = f"epoch {sampler.epoch}: {len(order)} of {sampler.size} samples"
    if not sampler.table.is_empty and not sampler.table.is_open:
        difficulty = sampler.table.difficulty()
        quarter = max(1, len(order) // 4)
        first, last = (difficulty[part].mean().item() for part in (order[:quarter], order[-quarter:]))
        line += f", mean difficulty {difficulty.mean():.3f}: first quarter {first:.3f}, last quarter {last:.3f}"
    print(line)
