"""What a data set looks like to the engine, and the two wrappers that carry a sample's index along with it."""

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info

from bss.cache import Cache
from bss.errors import DataError, shown
from bss.seeding import mixed_seed, seeded

INDEX_KEY = "bss_index"
"""The key under which :class:`IndexedDataset` adds the sample's index to a dict sample."""


@dataclass(frozen=True)
class Splits:
    """The parts of one data set, as a task hands them to :func:`bss.engine.fit`.

    Every part returns dict samples: one tensor, or :class:`Content`, per modality and ``"label"`` (an int).

    Attributes:
        train: the training samples through the random training transform.
        score: the same samples, in the same order, through the test transform; what a scoring pass looks at.
        val: validation samples that choose the epoch, or None (``val_fraction=0``).
        test: test samples.
        labels_N: class of every training sample, (N,) int64.
        names: name of every training sample, in the same order.
        classes: class names; a label is a position in this tuple.
        dropped: names left out because ``missing="drop"`` was asked for, by split.
        cache: of the parts' decoded files, built before the training; None = there is none.
    """

    train: Dataset
    score: Dataset
    val: Dataset | None
    test: Dataset
    labels_N: Tensor
    names: Sequence[str]
    classes: tuple[str, ...]
    dropped: dict[str, list[str]] = field(default_factory=dict)
    cache: Cache | None = None


def default_workers() -> int:
    """Processes that load or prepare data unless told otherwise: one for each core this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)


class Content(ABC):
    """What a sample holds in its own size, as it lies in memory: a batch is made of several by padding.

    Nothing is copied before that, so a crop or a slice of a memory map costs its own bytes, once.
    """

    @classmethod
    @abstractmethod
    def batch(cls, contents: Sequence[Self]) -> dict[str, Tensor]:
        """The contents of B samples as tensors, (B, ...) each; what is padded is zero."""


def collate(samples: Sequence[Any]) -> Any:
    """What a ``DataLoader`` makes of samples whose modalities may be :class:`Content`; its ``collate_fn``.

    Returns:
        For dict samples a dict: of each modality the tensors of :meth:`Content.batch`, anything else stacked as torch
        does. For other samples what torch does.
    """
    if not isinstance(samples[0], Mapping):
        return default_collate(samples)
    batch = {}
    for name, first in samples[0].items():
        values = [sample[name] for sample in samples]
        batch[name] = type(first).batch(values) if isinstance(first, Content) else default_collate(values)
    return batch


def batch_zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Zeros to write a batch into; in a loader's worker process they lie where the parent finds them without a copy.

    What is not written to costs nothing here: the system hands out zeroed pages when they are first touched.
    """
    if get_worker_info() is None:
        return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)  # as torch's own collate does
    return torch.empty(0, dtype=dtype).set_(storage, 0, tuple(shape))


class IndexedDataset(Dataset):
    """Adds the sample's index to what ``dataset`` returns, so that scores can be attributed to samples.

    A dict sample gets the key ``"bss_index"`` (the dict is copied); any other sample becomes ``(index, sample)``. The
    index travels with the batch: it stays right under shuffling, several workers and ``in_order=False``. Nothing here
    changes after construction, so persistent workers and spawn are safe.

    Args:
        dataset: any map-style data set; its ``__getitems__`` is used where it has one.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return _with_index(index, self.dataset[index])

    @property
    def random_views(self) -> bool:
        """Whether a sample may be another one at its next access: False only where the data set says so."""
        return getattr(self.dataset, "random_views", True)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        samples = _samples(self.dataset, indices)
        return [_with_index(index, sample) for index, sample in zip(indices, samples, strict=True)]


def _samples(dataset: Dataset, indices: list[int]) -> list[Any]:
    fetch = getattr(dataset, "__getitems__", None)
    return fetch(indices) if fetch else [dataset[index] for index in indices]


def _with_index(index: int, sample: Any) -> Any:
    return {**sample, INDEX_KEY: index} if isinstance(sample, dict) else (index, sample)


def index_and_sample(batch: Any) -> tuple[Tensor | Sequence[int], Any]:
    """Split a batch of :class:`IndexedDataset` into the (B,) index and what the data set itself returned.

    Raises:
        ValueError: the batch has no index.
    """
    if isinstance(batch, Mapping) and INDEX_KEY in batch:
        return batch[INDEX_KEY], batch
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        index = batch[0]
        if isinstance(index, Tensor):
            found = index.ndim == 1 and not index.is_floating_point()
        else:  # of a collate_fn of the user's own
            found = isinstance(index, (tuple, list)) and all(isinstance(position, int) for position in index)
        if found:
            return index, batch[1]
    raise ValueError(
        f"the batch, a {type(batch).__name__}, carries no sample index: wrap the training set as "
        "bss.IndexedDataset(dataset)"
    )


class Variants(Dataset):
    """A data set in which ``index + N * variant`` is the sample of that index again, for any variant >= 0.

    Around it, :class:`IndexedDataset` hands out that number and :class:`SeededViews` gives every variant a view of its
    own.

    Args:
        dataset: map-style, of N samples.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index % len(self.dataset)]


class SeededViews(Dataset):
    """Makes each random view a pure function of (seed, epoch, index).

    It is indexed by ``(epoch, index)`` pairs. A crop then does not depend on the number of workers, on the order of
    the samples or on what else draws random numbers, and a resumed run needs no worker state.

    Args:
        dataset: map-style data set whose random transform draws from torch's default CPU generator. One that has an
            attribute ``random_views`` = False draws nothing, and its batches are fetched as they are.
        seed: in [0, 2**32).
        purpose: sets different uses of one seed apart.
    """

    def __init__(self, dataset: Dataset, seed: int, *, purpose: str = "view"):
        self.dataset = dataset
        self.seed = seed
        self.purpose = purpose

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        with seeded(self.purpose, self.seed, epoch, index):
            return self.dataset[index]

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[Any]:
        if getattr(self.dataset, "random_views", True):
            return [self[key] for key in keys]
        return _samples(self.dataset, [index for _, index in keys])


def stratified_split(
    labels: Sequence[int], fraction: float, *, seed: int, classes: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Split indices into (rest, part), with ``fraction`` of every class in the part, rounded; both in ascending order.

    Args:
        labels: class id of every sample.
        fraction: in (0, 1).
        seed: non-negative.
        classes: class names, for the error.

    Raises:
        DataError: a label that is no class id, a class with a single sample, or a part or rest with fewer samples than
            there are classes.
    """
    from sklearn.model_selection import train_test_split

    ids = np.asarray(labels)
    if ids.size and ids.dtype.kind not in "iu":
        raise DataError(
            f"labels must be class ids, whole numbers in 0..{len(classes) - 1}, got {shown(labels[0])}: "
            "pass classes.index(name) for a class's name, int(label) for a number"
        )
    for position in np.flatnonzero((ids < 0) | (ids >= len(classes)))[:1]:
        raise DataError(
            f"sample {position} has the label {ids[position]}; {len(classes)} classes have the labels "
            f"0..{len(classes) - 1}"
        )
    counts = np.bincount(labels, minlength=len(classes))
    alone = [classes[c] for c in np.flatnonzero(counts == 1)]
    if alone:
        raise DataError(f"class {alone[0]} has a single training sample, which cannot be split: --set val_fraction=0")
    try:
        rest, part = train_test_split(
            np.arange(len(labels)),
            test_size=fraction,
            stratify=labels,
            random_state=mixed_seed("validation", seed) % 2**32,
        )
    except ValueError as error:
        raise DataError(
            f"{len(labels)} training samples of {np.count_nonzero(counts)} classes cannot give a validation "
            f"share of {fraction:g}: change --set val_fraction=, or 0 for none"
        ) from error
    return sorted(rest.tolist()), sorted(part.tolist())


def group_split(groups: Sequence[str], fraction: float, *, seed: int, noun: str) -> tuple[list[int], list[int]]:
    """Split indices into (rest, part) so that no group is in both; both in ascending order.

    Args:
        groups: group of every sample: the speaker, the subject.
        fraction: of the groups, rounded up, that goes into the part; in (0, 1).
        seed: non-negative; which groups.
        noun: what a group is, for the error.

    Raises:
        DataError: fewer than two groups.
    """
    from sklearn.model_selection import GroupShuffleSplit

    if len(set(groups)) < 2:
        raise DataError(f"{len(groups)} samples of {len(set(groups))} {noun} cannot be split by {noun}: two are needed")
    splitter = GroupShuffleSplit(n_splits=1, test_size=fraction, random_state=mixed_seed("groups", seed) % 2**32)
    rest, part = next(splitter.split(np.zeros(len(groups)), groups=np.asarray(groups)))
    return sorted(rest.tolist()), sorted(part.tolist())
