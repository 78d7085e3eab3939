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


class Swap(NamedTuple):
    """What a sample of a mismatched pair has of another one.

    Attributes:
        modality: its name.
        donor: position of the other sample in the same part.
    """

    modality: str
    donor: int


@dataclass(frozen=True)
class Corruption:
    """Which samples of a part were corrupted, by their positions, see :func:`bss.data.corruption.corrupted`.

    Attributes:
        pairs: mismatched ones, with what they have of others.
        labels: those with a wrong label -> by how many classes it was moved on, in 1..C-1 modulo C.
    """

    pairs: Mapping[int, Swap]
    labels: Mapping[int, int]


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
        blank: names of samples with something neutral in the place of what cannot be opened (``missing="blank"``), by
            part.
        cache: of the parts' decoded files, built before the training; None = there is none.
        group: what a sound split keeps apart (``"actor"``), for what is said of the parts; None = nothing is known.
        tested_groups: the word for a group -> the groups that the test part alone has, where it is made of whole ones.
        listed: names and labels of ``"val"`` and ``"test"``, by which a run notices that one of these lists was edited
            since it began; a list that is not there is known by its length alone.
        corrupted: what was changed on purpose of ``"train"`` (and ``score``) and ``"val"``; empty = nothing.
    """

    train: MapDataset
    score: MapDataset
    val: MapDataset | None
    test: MapDataset
    labels_N: Tensor
    names: Sequence[str]
    classes: tuple[str, ...]
    dropped: dict[str, list[str]] = field(default_factory=dict)
    blank: dict[str, list[str]] = field(default_factory=dict)
    cache: Cache | None = None
    group: str | None = None
    tested_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    listed: Mapping[str, Listed] = field(default_factory=dict)
    corrupted: Mapping[str, Corruption] = field(default_factory=dict)


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
    counts = _class_counts(labels, classes)
    # scikit-learn refuses such a class too, but names neither it nor the way out.
    alone = [classes[c] for c in np.flatnonzero(counts == 1)]
    if alone:
        raise DataError(f"class {alone[0]} has a single training sample, which cannot be split: --set val_fraction=0")
    try:
        return _stratified(labels, fraction, mixed_seed("validation", seed))
    except ValueError as error:
        raise DataError(
            f"{len(labels)} training samples of {np.count_nonzero(counts)} classes cannot give a validation "
            f"share of {fraction:g}: change --set val_fraction=, or 0 for none"
        ) from error


def stratified_sample(
    labels: Sequence[int], count: int, *, seed: int, classes: Sequence[str], purpose: str = "sample"
) -> tuple[list[int], list[int]]:
    """Split indices into (rest, part), with ``count`` samples in the part, of every class its share, rounded.

    Args:
        labels: class id of every sample.
        count: at least 1; all of them leave no rest.
        seed: in 0..2**32 - 1.
        classes: class names.
        purpose: what the sample is for: two samples with one seed for different purposes are drawn independently.

    Returns:
        Both in ascending order.

    Raises:
        DataError: a label that is no class id, fewer samples than ``count``, or too few for every class to be in both.
    """
    counts, state = _class_counts(labels, classes), mixed_seed(purpose, seed)
    if count == len(labels):
        return [], list(range(count))
    try:
        return _stratified(labels, count, state)
    except ValueError as error:
        raise DataError(
            f"a stratified sample of {count} cannot be drawn from {len(labels)} samples of {np.count_nonzero(counts)} "
            f"classes, the smallest with {counts[counts > 0].min(initial=len(labels))}: every class must have one in "
            "the sample and one beside it"
        ) from error


def _stratified(labels: Sequence[int], size: float | int, state: int) -> tuple[list[int], list[int]]:
    from sklearn.model_selection import train_test_split

    rest, part = train_test_split(np.arange(len(labels)), test_size=size, stratify=labels, random_state=state % 2**32)
    return sorted(rest.tolist()), sorted(part.tolist())


def _class_counts(labels: Sequence[int], classes: Sequence[str]) -> np.ndarray:
    """How many samples each class has, (C,)."""
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
    return np.bincount(labels, minlength=len(classes))


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


# ---- folds ---------------------------------------------------------------------------------------------------------


DEALING = 0
"""Seed of the dealing of samples to folds: it is the same in all runs, whatever seed they have."""


def stratified_folds(labels: Sequence[int], folds: int, *, classes: Sequence[str]) -> list[list[int]]:
    """Deal samples to folds so that sizes, and counts of every class, differ by one at most between two folds.

    The dealing is fixed: it depends on the labels and their order alone.

    Args:
        labels: class id of every sample.
        folds: how many; at least 2.
        classes: class names, for the error.

    Returns:
        The samples of each fold, ascending; every sample is in one of them.

    Raises:
        DataError: a label that is no class id, or a class with fewer samples than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = _class_counts(labels, classes)
    for scarce in np.flatnonzero((counts > 0) & (counts < folds))[:1]:
        raise DataError(
            f"class {classes[scarce]} has {counts[scarce]} samples, which cannot be dealt to {folds} folds: fewer "
            "folds, --set folds="
        )
    if not len(labels):
        raise DataError(f"there are no samples to deal to {folds} folds")
    splitter = StratifiedKFold(folds, shuffle=True, random_state=mixed_seed("folds", DEALING) % 2**32)
    return [part.tolist() for _, part in splitter.split(np.zeros(len(labels)), labels)]


def group_folds(
    groups: Sequence[str], folds: int, *, noun: str, order: Mapping[str, tuple[object, ...]] | None = None
) -> list[list[int]]:
    """Deal whole groups to folds, so that no group is in two of them; their numbers differ by one at most.

    The groups are dealt in turn, like cards. Where they are sorted before, by sex and age, each stretch of neighbours
    is spread over all folds: of each sex every fold gets as many as any other or one more, and of every age. (Of
    scikit-learn's, StratifiedGroupKFold balances the samples' classes, and StratifiedKFold of the groups knows classes,
    not numbers such as ages.) The dealing is fixed: it depends on the groups and their order alone.

    Args:
        groups: group of every sample.
        folds: how many; at least 2.
        noun: what a group is, for the error.
        order: group -> what the groups are sorted by before they are dealt; None = they are shuffled.

    Returns:
        The samples of each fold, ascending; every sample is in one of them.

    Raises:
        DataError: fewer groups than folds.
    """
    names = sorted(set(groups))
    if len(names) < folds:
        raise DataError(
            f"{len(names)} {noun}{'s' * (len(names) != 1)} cannot be dealt to {folds} folds: "
            f"--set folds={max(len(names), 2)} or fewer"
        )
    shuffled = [names[i] for i in np.random.default_rng(mixed_seed("folds", DEALING)).permutation(len(names))]
    dealt = shuffled if order is None else sorted(shuffled, key=order.__getitem__)  # stable: ties stay shuffled
    fold_of = {name: place % folds for place, name in enumerate(dealt)}
    return [[row for row, name in enumerate(groups) if fold_of[name] == fold] for fold in range(folds)]


def pairs_of_groups(groups: Sequence[str]) -> list[list[int]]:
    """The samples of every two groups, as test parts that share no group with their training parts.

    Args:
        groups: group of every sample: the speaker, the subject.

    Returns:
        The samples of each pair, ascending; the pairs in the order of the sorted groups: (0, 1), (0, 2), ...

    Raises:
        DataError: fewer than three groups, so that nothing would be left to train on.
    """
    from sklearn.model_selection import LeavePGroupsOut

    if len(set(groups)) < 3:
        raise DataError(f"{len(set(groups))} groups have no pair to test beside others that train: three are needed")
    return [part.tolist() for _, part in LeavePGroupsOut(2).split(np.zeros(len(groups)), groups=np.asarray(groups))]


def drawn_test(
    labels: Sequence[int], *, fold: int | None, folds: int, count: int, seed: int, classes: Sequence[str]
) -> list[int]:
    """A test part other than the published one: a fold of the data set or, without a fold, what a seed draws.

    Args:
        labels: class id of every sample of the data set.
        fold: which of the folds, see :func:`stratified_folds`; None = the seed draws.
        folds: how many there are.
        count: how many samples the seed draws, stratified.
        seed: non-negative.
        classes: class names.

    Raises:
        DataError: see :func:`stratified_folds` and :func:`stratified_sample`.
    """
    if fold is not None:
        return stratified_folds(labels, folds, classes=classes)[fold]
    return stratified_sample(labels, count, seed=seed, classes=classes, purpose="test part")[1]


def training_rows(
    labels: Sequence[int],
    train: Sequence[int],
    *,
    val_fraction: float,
    samples: int | None,
    seed: int,
    classes: Sequence[str],
) -> tuple[list[int], list[int] | None]:
    """What trains and what validates: first a stratified share is the validation part, then so many of the rest train.

    So the validation part is the same however many samples train, and a difference between two numbers of them is not
    one of how well the epoch was chosen.

    Args:
        labels: class id of every sample of the data set.
        train: the samples that are not tested.
        val_fraction: the share of them that validates; 0 = none.
        samples: how many train; None = all others.
        seed: draws both.
        classes: class names.

    Returns:
        (training samples, validation samples); the latter is None where there are none.

    Raises:
        DataError: see :func:`stratified_split` and :func:`stratified_sample`.
    """
    rows, val = list(train), None
    if val_fraction:
        rest, part = stratified_split([labels[i] for i in rows], val_fraction, seed=seed, classes=classes)
        rows, val = [rows[i] for i in rest], [rows[i] for i in part]
    if samples is not None:
        if samples > len(rows):
            raise DataError(f"train_samples={samples}, but {len(rows)} samples are there to train")
        _, kept = stratified_sample(
            [labels[i] for i in rows], samples, seed=seed, classes=classes, purpose="training part"
        )
        rows = [rows[i] for i in kept]
    return rows, val
