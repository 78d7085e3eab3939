"""Make the parts of a run (training, validation and test) from the lists of a data set."""

from collections.abc import Callable, Mapping, Sequence

import torch

from bss.data.datasets.data_set import S
from bss.data.indexed import MapDataset
from bss.data.parts import Part
from bss.data.rows import group_ids
from bss.data.splits import Listed, group_folds, group_split, stratified_split
from bss.utils.errors import DataError, DataNotFoundError

Find = Callable[[str], tuple[list[S], list[str]]]
"""Maps the name of a split to the samples of its list and the names of those left out."""


def train_and_test(find: Find[S]) -> tuple[list[S], list[S], dict[str, list[str]]]:
    """Find training samples, test samples, and the names that were left out of either list.

    Raises:
        DataError, DataNotFoundError: as ``find``; also for a sample that is in both lists.
    """
    train, dropped = find("train")
    test, test_dropped = find("test")
    trained = {sample.name: sample for sample in train}
    both = sorted((sample for sample in test if sample.name in trained), key=lambda sample: sample.name)
    if both:
        first, count = both[0], f"{len(both)} samples are" if len(both) > 1 else "1 sample is"
        raise DataError(
            f"{count} in the training and in the test list, the first is {first.name} ({trained[first.name].listed}, "
            f"{first.listed}).\nDelete it from one of the two; python -m bss doctor names all of them"
        )
    return train, test, {"train": dropped, "test": test_dropped}


def validation(
    find: Find[S], train: list[S], test: list[S], *, published: bool, fraction: float, seed: int, classes: Sequence[str]
) -> tuple[list[S], list[S] | None, dict[str, list[str]]]:
    """Make the validation part: the published list, or a fraction of the training samples.

    A published list may be a part of the training list (that of CREMA-D is): its samples do not train.

    Args:
        find: see :data:`Find`.
        train: samples of the training list.
        test: samples of the test list.
        published: take the published validation list.
        fraction: of every class of the training samples, where it is not taken; 0 = no validation part.
        seed: draws them.
        classes: class names.

    Returns:
        The training samples, the validation samples (or None), and ``{"val": names left out}`` of a published list.

    Raises:
        DataNotFoundError: no validation list.
        DataError: see :func:`carved`; a published one with samples of the test list or other labels than the training
            list has, or without which nothing is left to train on.
    """
    if not published:
        rest, part = carved(train, fraction, seed=seed, classes=classes)
        return rest, part, {}
    try:
        val, dropped = find("val")
    except DataNotFoundError as error:
        raise DataNotFoundError(f"{error}; or do without the validation list: --set published_val=false") from error
    known = {sample.name: sample for sample in (*train, *test)}
    tested = {sample.name for sample in test}
    for sample in val:
        twin = known.get(sample.name)
        if sample.name in tested or (twin is not None and twin.label != sample.label):
            what = "is tested too" if sample.name in tested else f"has the class {classes[twin.label]} in training"
            raise DataError(f"{sample.listed}: the validation sample {sample.name} {what} ({twin.listed})")
    chosen = {sample.name for sample in val}
    rest = [sample for sample in train if sample.name not in chosen]
    if not rest:
        raise DataError("every training sample is in the validation list: set published_val=false, or mend the lists")
    return rest, val, {"val": dropped}


def carved(samples: list[S], fraction: float, *, seed: int, classes: Sequence[str]) -> tuple[list[S], list[S] | None]:
    """Carve a validation part out of training samples: a fraction of every class, seeded; None where it is 0.

    Raises:
        DataError: see :func:`bss.data.splits.stratified_split`.
    """
    if not fraction:
        return samples, None
    labels = [sample.label for sample in samples]
    return _dealt(samples, stratified_split(labels, fraction, seed=seed, classes=classes))


def carved_by_group(samples: list[S], share: float, *, seed: int, noun: str) -> tuple[list[S], list[S]]:
    """Carve a share of the groups out of samples, so that no group is in both parts.

    Args:
        samples: all with a group.
        share: of the groups.
        seed: draws the groups.
        noun: what a group is called, for errors.

    Raises:
        DataError: see :func:`bss.data.splits.group_split`.
    """
    return _dealt(samples, group_split([sample.group for sample in samples], share, seed=seed, noun=noun))


def dealt_by_group(
    samples: list[S], fold: int, folds: int, *, noun: str, order: Mapping[str, tuple[object, ...]] | None = None
) -> tuple[list[S], list[S]]:
    """Take a fold of whole groups out of samples: (the others, the fold).

    Args:
        samples: all with a group.
        fold: which one, from 0.
        folds: how many there are.
        noun: what a group is called, for errors.
        order: group -> what the groups are sorted by before they are dealt; None = they are shuffled.

    Raises:
        DataError: see :func:`bss.data.splits.group_folds`.
    """
    part = group_folds([sample.group for sample in samples], folds, noun=noun, order=order)[fold]
    return _dealt(samples, (sorted(set(range(len(samples))).difference(part)), part))


def listed(**lists: Sequence[S] | None) -> dict[str, Listed]:
    """Names and labels of lists of samples, by split; those that are None are left out."""
    return {
        split: Listed(
            [sample.name for sample in samples], torch.tensor([sample.label for sample in samples], device="cpu")
        )
        for split, samples in lists.items()
        if samples is not None
    }


def blank_of(**lists: Sequence[S] | None) -> dict[str, list[str]]:
    """Names of the samples of lists that have something neutral in them, by part; parts without any are left out."""
    names = {part: [sample.name for sample in samples or () if sample.blank] for part, samples in lists.items()}
    return {part: found for part, found in names.items() if found}


def of_list(
    samples: Sequence[S], dataset: MapDataset, classes: tuple[str, ...], *, dropped: Sequence[str], group: str | None
) -> Part:
    """The part that a list of one's own makes, see :meth:`bss.tasks.Task.build_list`.

    Args:
        samples: of the list.
        dataset: the same, as a test sees them.
        classes: class names.
        dropped: names that were left out for want of usable files.
        group: what a sound split keeps apart.
    """
    known = listed(list=samples)["list"]
    groups = group_ids(dataset)
    return Part(
        title="list",
        samples=dataset,
        names=known.names,
        classes=classes,
        labels_N=known.labels_N,
        groups=groups,
        grouped_by=None if groups is None else group or "group",
        dropped=dropped,
        blank=blank_of(list=samples).get("list", ()),
    )


def _dealt(samples: Sequence[S], positions: tuple[Sequence[int], Sequence[int]]) -> tuple[list[S], list[S]]:
    rest, part = positions
    return [samples[i] for i in rest], [samples[i] for i in part]
