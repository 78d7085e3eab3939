"""One part of a data set, as it is measured: its samples as a test sees them, and what is known of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from torch import Tensor

from bss.data.indexed import MapDataset
from bss.data.rows import group_ids, rows_of
from bss.data.splits import Splits
from bss.utils.errors import DataError

PartName = Literal["test", "val", "train"]
"""The parts that a run has."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Samples to be measured. What changes them (a modality that is dropped, noise) wraps :attr:`samples`.

    Attributes:
        title: ``"test"``, ``"val"``, ``"train"``, or ``"list"`` of one of one's own.
        samples: dict samples, the same at every look; ``"label"`` is a position in :attr:`classes`.
        names: of the samples, as the list has them; their positions where it has none.
        classes: class names of this part. Another network may number them otherwise: names are what counts.
        labels_N: class ids by the list, (N,) int64; None where the list is not known, and the samples tell.
        groups: number of every sample's group (speaker, video, user), counted from 0; None where no group is known.
        grouped_by: the word for a group (``"actor"``); None where there is none.
        dropped: names that were left out for want of usable files.
        blank: names of those with something neutral in the place of what cannot be opened.
    """

    title: str
    samples: MapDataset
    names: Sequence[str]
    classes: tuple[str, ...]
    labels_N: Tensor | None = None
    groups: Sequence[int] | None = None
    grouped_by: str | None = None
    dropped: Sequence[str] = ()
    blank: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.samples)

    def through(self, samples: MapDataset) -> "Part":
        """The same part with its samples changed, none added and none left out.

        Raises:
            ValueError: there are not as many.
        """
        if len(samples) != len(self.samples):
            raise ValueError(
                f"{len(samples)} samples cannot stand for the {len(self.samples)} of the {self.title} part"
            )
        return replace(self, samples=samples)


def part_of(data: Splits, name: PartName) -> Part:
    """A part of the splits, as a test sees it; training samples too are shown without anything drawn at random.

    Raises:
        DataError: there is no validation part.
    """
    samples = {"test": data.test, "val": data.val, "train": data.score}[name]
    if samples is None:
        raise DataError(
            "the run has no validation part (val_fraction=0), so there is nothing to measure: --split test or train"
        )
    names: Sequence[str] | None
    labels_N: Tensor | None
    names, labels_N = (data.names, data.labels_N) if name == "train" else data.listed.get(name, (None, None))
    if names is None:
        names = [row.name or str(place) for place, row in enumerate(rows_of(samples))]
    groups = group_ids(samples)
    return Part(
        title=name,
        samples=samples,
        names=names or [str(place) for place in range(len(samples))],
        classes=data.classes,
        labels_N=labels_N,
        groups=groups,
        grouped_by=None if groups is None else data.group or "group",
        dropped=data.dropped.get(name, ()),
        blank=data.blank.get(name, ()),
    )


def class_ids(classes: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """The id that each class has among the known ones, by its name, (len(classes),) int64; -1 where it is none."""
    place = {name: number for number, name in enumerate(known)}
    return np.array([place.get(name, -1) for name in classes], np.int64)
