"""From the lists of a data set to the parts of a run: what most tasks do in the same way."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bss.data.datasets.listing import Sample
from bss.data.splits import stratified_split
from bss.recipes.recipe import Recipe
from bss.utils.errors import DataError

S = TypeVar("S", bound=Sample)


def train_and_test(
    find_samples: Callable[..., tuple[list[S], list[str]]], root: Path, **options: Any
) -> tuple[list[S], list[S], dict[str, list[str]]]:
    """Training samples, test samples, and the names left out of either list.

    Args:
        find_samples: of the data set's module.
        root: the data root.
        **options: for ``find_samples``.

    Raises:
        DataError, DataNotFoundError: as ``find_samples``; also for a sample that is in both lists.
    """
    train, dropped = find_samples(root, "train", **options)
    test, test_dropped = find_samples(root, "test", **options)
    trained = {sample.name: sample for sample in train}
    both = sorted((sample for sample in test if sample.name in trained), key=lambda sample: sample.name)
    if both:
        first, count = both[0], f"{len(both)} samples are" if len(both) > 1 else "1 sample is"
        raise DataError(
            f"{count} in the training and in the test list, the first is {first.name} ({trained[first.name].listed}, "
            f"{first.listed}).\nDelete it from one of the two; python -m bss doctor names all of them"
        )
    return train, test, {"train": dropped, "test": test_dropped}


def carved(samples: list[S], recipe: Recipe, classes: Sequence[str]) -> tuple[list[S], list[S] | None]:
    """Training and validation samples: ``val_fraction`` of every class, seeded; None where it is 0.

    Raises:
        DataError: see :func:`bss.data.splits.stratified_split`.
    """
    if not recipe.val_fraction:
        return samples, None
    labels = [sample.label for sample in samples]
    rest, part = stratified_split(labels, recipe.val_fraction, seed=recipe.seed, classes=classes)
    return [samples[i] for i in rest], [samples[i] for i in part]
