"""The parts of a data set, and how a part is split off."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from bss.data.cache import Cache
from bss.data.indexed import MapDataset
from bss.utils.errors import DataError, shown
from bss.utils.seeding import mixed_seed


class Listed(NamedTuple):
    """What a list says: the name and the class of every sample, in the order of the list.

    Attributes:
        names: of the samples.
        labels_N: class ids, (N,) int64.
    """

    names: Sequence[str]
    labels_N: Tensor


@dataclass(frozen=True)
class Splits:
    """The parts of one data set, as a task hands them to :func:`bss.training.engine.fit`.

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
        group: what a sound split keeps apart (``"actor"``), for what is said of the parts; None = nothing is known.
        listed: names and labels of ``"val"`` and ``"test"``, by which a run notices that one of these lists was edited
            since it began; a list that is not there is known by its length alone.
    """

    train: MapDataset
    score: MapDataset
    val: MapDataset | None
    test: MapDataset
    labels_N: Tensor
    names: Sequence[str]
    classes: tuple[str, ...]
    dropped: dict[str, list[str]] = field(default_factory=dict)
    cache: Cache | None = None
    group: str | None = None
    listed: Mapping[str, Listed] = field(default_factory=dict)


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
    # scikit-learn refuses such a class too, but names neither it nor the way out.
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
