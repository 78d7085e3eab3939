"""Samples whose modalities are tensors in memory: extracted features, spectrograms computed once, word ids."""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bss.data import Splits
from bss.errors import DataError, DataNotFoundError


class TensorSamples(Dataset):
    """Rows of tensors as dict samples, the same at every access. A batch of them is one gather, not one per sample.

    Args:
        modalities: modality name -> (N, ...).
        labels_N: class ids.

    Attributes:
        random_views: False: a sample is not drawn anew when it is looked at again, see :class:`bss.data.SeededViews`.

    Raises:
        ValueError: a modality with another number of rows than there are labels.
    """

    random_views = False

    def __init__(self, modalities: Mapping[str, Tensor], labels_N: Tensor):
        rows = {name: len(values) for name, values in modalities.items()}
        if set(rows.values()) != {len(labels_N)}:
            raise ValueError(f"every modality needs a row for each of the {len(labels_N)} labels, got {rows}")
        self.modalities = dict(modalities)
        self.labels_N = labels_N

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        sample = {name: values[index] for name, values in self.modalities.items()}
        return {**sample, "label": int(self.labels_N[index])}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor | int]]:
        rows = torch.tensor(indices)
        names = (*self.modalities, "label")
        columns = [values[rows].unbind() for values in self.modalities.values()]
        samples = zip(*columns, self.labels_N[rows].tolist(), strict=True)
        return [dict(zip(names, sample, strict=True)) for sample in samples]


def tensor_splits(
    modalities: Mapping[str, Tensor],
    labels_N: Tensor,
    *,
    train: Sequence[int],
    val: Sequence[int] | None,
    test: Sequence[int],
    names: Sequence[str],
    classes: tuple[str, ...],
) -> Splits:
    """The parts of one data set in memory.

    Args:
        modalities: modality name -> (N, ...), of all parts together.
        labels_N: class ids.
        train: rows of the training part; the scoring passes look at the same.
        val: rows of the validation part, or None.
        test: rows of the test part.
        names: of all N samples.
        classes: class names.

    Raises:
        DataError: a row that is in two parts.
    """
    parts = {"train": train, "validation": val or (), "test": test}
    owner: dict[int, str] = {}
    for part, rows in parts.items():
        for row in rows:
            if owner.setdefault(int(row), part) != part:
                raise DataError(f"sample {names[row]} is in the {owner[int(row)]} part and in the {part} part")

    def samples(rows: Sequence[int]) -> TensorSamples:
        index = torch.as_tensor(rows)
        return TensorSamples({name: values[index] for name, values in modalities.items()}, labels_N[index])

    fitted = samples(train)
    return Splits(
        train=fitted,
        score=fitted,
        val=samples(val) if val is not None else None,
        test=samples(test),
        labels_N=fitted.labels_N,
        names=[names[row] for row in train],
        classes=classes,
    )


def standardized(values: Tensor, train: Sequence[int], *, by_column: bool) -> Tensor:
    """The values with mean 0 and standard deviation 1 over the training rows; what is constant there becomes 0.

    Args:
        values: (N, ...) of any type.
        train: the rows that mean and deviation are taken from.
        by_column: one mean and deviation for each position after the first axis, or one for all of them.
    """
    values = values.float()
    over = (0,) if by_column else tuple(range(values.ndim))
    deviation, mean = torch.std_mean(values[torch.as_tensor(train)], dim=over, correction=0)
    return (values - mean) / torch.where(deviation > 0, deviation, 1.0)


def read_arrays(path: Path, names: Sequence[str], *, title: str, advice: str) -> dict[str, np.ndarray]:
    """Arrays of a ``.npz`` file.

    Args:
        path: the file; nothing in it is run.
        names: which arrays.
        title: the data set's name, for errors.
        advice: where the layout is described, for errors.

    Raises:
        DataNotFoundError: no such file.
        DataError: not such a file, or one without an array.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{title}: there is no {path.name} under {path.parent}.\n{advice}")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file.files]
            if missing:
                raise DataError(f"{path}: no array {', '.join(missing)}; it has {', '.join(file.files)}.\n{advice}")
            return {name: file[name] for name in names}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a .npz file of arrays: {error}.\n{advice}") from error
