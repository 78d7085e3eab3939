"""Mismatched pairs and wrong labels, put into the training and validation samples of any task by a seed.

The test part stays as it is. Who is corrupted depends on the seed, the part and its length alone, so that all arms with
one seed train on the same samples, whatever the number of workers and processes. Pairs and labels are drawn
independently of each other. With a larger share the same samples are corrupted, and more.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from bss.data.indexed import MapDataset, StandIn, fetched
from bss.data.rows import Row
from bss.data.splits import Corruption, Splits, Swap
from bss.data.tensors import TensorSamples
from bss.utils.errors import DataError, RecipeError
from bss.utils.seeding import generator


def corrupted(data: Splits, *, pairs: float = 0.0, labels: float = 0.0, seed: int) -> Splits:
    """The splits with mismatched pairs and wrong labels in training (both of its views alike) and validation.

    Of a mismatched pair one modality is another sample's of the same part, and the label stays the sample's own: see
    :func:`mismatched`. A wrong label is one of the other classes, each as likely (symmetric noise), and all that speaks
    of labels tells the wrong one: see :func:`mislabelled`.

    Args:
        data: a task's splits. Samples in memory stay :class:`bss.data.TensorSamples`; other data sets are asked for a
            second sample where a pair is mismatched, and draw the views of both from one seed.
        pairs: share of the samples whose modalities are mismatched, in [0, 1).
        labels: share of the samples whose label is wrong, in [0, 1).
        seed: in [0, 2**32).

    Returns:
        ``data`` itself where both shares are 0; else splits whose ``corrupted`` says which samples were changed.

    Raises:
        RecipeError: pairs of a single modality, or wrong labels of a single class.
        DataError: a single sample, for which there is no other.
        ValueError: a share out of its range, or splits that are corrupted already.
    """
    for name, share in (("pairs", pairs), ("labels", labels)):
        if not 0 <= share < 1:
            raise ValueError(f"{name} is a share of the samples in [0, 1), got {share}")
    if not pairs and not labels:
        return data
    if data.corrupted:
        raise ValueError("these splits are corrupted already: pass those of the task, or shares of 0")
    classes = len(data.classes)
    if labels and classes < 2:
        raise RecipeError(f"corrupt_labels={labels:g} needs another class for a wrong label: set corrupt_labels=0")
    modalities = [name for name in data.score[0] if name != "label"] if pairs else []
    if pairs and len(modalities) < 2:
        raise RecipeError(
            f"corrupt_pairs={pairs:g} needs samples of two modalities or more, and these have {', '.join(modalities)} "
            "alone: set corrupt_pairs=0"
        )
    parts = {name: part for name, part in (("train", data.train), ("val", data.val)) if part is not None}
    drawn = {
        name: Corruption(
            mismatched(len(part), modalities, pairs, generator(f"mismatched pairs of {name}", seed)),
            mislabelled(len(part), classes, labels, generator(f"wrong labels of {name}", seed)),
        )
        for name, part in parts.items()
    }
    train, val = drawn["train"], drawn.get("val")
    changed = _changed(data.train, train, classes)
    listed = dict(data.listed)
    if val is not None and "val" in listed:
        listed["val"] = listed["val"]._replace(labels_N=_moved_on(listed["val"].labels_N, val.labels, classes))
    return replace(
        data,
        train=changed,
        score=changed if data.score is data.train else _changed(data.score, train, classes),
        val=None if data.val is None or val is None else _changed(data.val, val, classes),
        labels_N=_moved_on(data.labels_N, train.labels, classes),
        listed=listed,
        corrupted=drawn,
    )


def mismatched(
    num_samples: int, modalities: Sequence[str], share: float, random: torch.Generator
) -> Mapping[int, Swap]:
    """Draw the samples whose modalities are mismatched: round(share * N) of them.

    They are dealt to the modalities in turn, so that each suffers as often as the others (or once more). Those of a
    modality pass its contents on in a circle: none keeps its own, and every content is used once. A modality with a
    single sample takes that one's content from any other sample. Where the classes are equally frequent, the content
    is of the sample's own class in one case of C: such a pair is mismatched, and may hardly show it.

    Args:
        num_samples: N.
        modalities: their names, two or more, unless the share is 0.
        share: in [0, 1).
        random: CPU generator.

    Returns:
        Sample -> the modality that it has of another sample, and of which one.

    Raises:
        DataError: there is no other sample.
    """
    order = torch.randperm(num_samples, generator=random, device="cpu").tolist()
    chosen = order[: round(share * num_samples)]
    if not chosen:
        return {}
    if num_samples < 2:
        raise DataError(f"a part of one sample has no other to mismatch it with, as corrupt_pairs={share:g} asks for")
    turns = torch.randperm(len(modalities), generator=random, device="cpu").tolist()
    swaps = {}
    for turn, place in enumerate(turns):
        members = chosen[turn :: len(turns)]
        # All others stand after or before it in the seeded order: its neighbour is any of them.
        donors = [*members[1:], *members[:1]] if len(members) > 1 else [_neighbour(order, each) for each in members]
        swaps |= {sample: Swap(modalities[place], donor) for sample, donor in zip(members, donors, strict=True)}
    return swaps


def _neighbour(order: Sequence[int], sample: int) -> int:
    """The next in a circle."""
    return order[(order.index(sample) + 1) % len(order)]


def mislabelled(num_samples: int, num_classes: int, share: float, random: torch.Generator) -> Mapping[int, int]:
    """Draw the samples whose label is wrong, round(share * N) of them, and by how much.

    Args:
        num_samples: N.
        num_classes: C, two or more, unless the share is 0.
        share: in [0, 1).
        random: CPU generator.

    Returns:
        Sample -> shift s in 1..C-1, each as likely: the wrong label is (label + s) modulo C.
    """
    chosen = torch.randperm(num_samples, generator=random, device="cpu")[: round(share * num_samples)].tolist()
    if not chosen:
        return {}
    shift_N = torch.randint(1, num_classes, (num_samples,), generator=random, device="cpu").tolist()
    return {sample: shift_N[sample] for sample in chosen}


def recorded(corruption: Corruption) -> dict[str, Any]:
    """What a run folder says of a part: how many pairs and labels were changed, and a SHA-256 of which and how."""
    which = [
        sorted((sample, *change) for sample, change in corruption.pairs.items()),
        sorted(corruption.labels.items()),
    ]
    return {
        "pairs": len(corruption.pairs),
        "labels": len(corruption.labels),
        "hash": hashlib.sha256(json.dumps(which).encode()).hexdigest(),
    }


# ---- the samples ---------------------------------------------------------------------------------------------------


class CorruptedSamples(Dataset):
    """A data set with one modality of some samples taken from others, and with the labels of some moved on.

    Args:
        dataset: dict samples.
        corruption: of which samples, and how.
        num_classes: C.
    """

    def __init__(self, dataset: MapDataset, corruption: Corruption, num_classes: int):
        self.dataset = dataset
        self.corruption = corruption
        self.num_classes = num_classes

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def random_views(self) -> bool:
        """Whether a sample may be another one at its next access: False only where the data set says so."""
        return getattr(self.dataset, "random_views", True)

    @property
    def in_memory(self) -> bool:
        """Whether nothing is read or decoded: True only where the data set says so."""
        return getattr(self.dataset, "in_memory", False)

    def listed_rows(self) -> list[Row]:
        """What the data set knows of its samples, with the labels and inputs that they have now."""
        known = getattr(self.dataset, "listed_rows", None)
        rows = known() if known else []
        return [self._row(index, row, rows) for index, row in enumerate(rows)]

    def _row(self, index: int, row: Row, rows: Sequence[Row]) -> Row:
        swap, content = self.corruption.pairs.get(index), row.content
        if swap is not None:
            content = (content, swap.modality, rows[swap.donor].content)
        return row._replace(label=self._label(index, row.label), content=content)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        samples = fetched(self.dataset, indices)
        swaps = {index: self.corruption.pairs[index] for index in indices if index in self.corruption.pairs}
        # After the samples' own: what their views draw at random is then what it would be without the others.
        donors = fetched(self.dataset, [swap.donor for swap in swaps.values()]) if swaps else []
        others = dict(zip(swaps, donors, strict=True))
        return [self._corrupted(index, sample, others) for index, sample in zip(indices, samples, strict=True)]

    def _corrupted(self, index: int, sample: Any, others: Mapping[int, Any]) -> Any:
        if isinstance(sample, StandIn):  # another one, which is as it would be in its own place
            return StandIn(sample.index, self[sample.index])
        if sample is None:
            return None
        changed = {**sample, "label": self._label(index, sample["label"])}
        if index in others:
            other, modality = others[index], self.corruption.pairs[index].modality
            if other is None:
                return None
            changed[modality] = (other.sample if isinstance(other, StandIn) else other)[modality]
        return changed

    def _label(self, index: int, label: int) -> int:
        return (label + self.corruption.labels.get(index, 0)) % self.num_classes


def _changed(part: MapDataset, corruption: Corruption, num_classes: int) -> MapDataset:
    """A part with its samples corrupted; itself where none is."""
    if not corruption.pairs and not corruption.labels:
        return part
    if type(part) is not TensorSamples:  # one that inherits from it may do more than look tensors up
        return CorruptedSamples(part, corruption, num_classes)
    modalities = dict(part.modalities)
    for name, values in modalities.items():
        swapped = {sample: swap.donor for sample, swap in corruption.pairs.items() if swap.modality == name}
        if swapped:
            modalities[name] = values.clone()
            modalities[name][list(swapped)] = values[list(swapped.values())]
    return TensorSamples(modalities, _moved_on(part.labels_N, corruption.labels, num_classes))


def _moved_on(labels_N: Tensor, shifts: Mapping[int, int], num_classes: int) -> Tensor:
    """The labels, (N,), with some moved on by so many classes."""
    if not shifts:
        return labels_N
    moved_N, samples = labels_N.clone(), list(shifts)
    shift_K = torch.tensor(list(shifts.values()), device=labels_N.device)
    moved_N[samples] = (labels_N[samples] + shift_K) % num_classes
    return moved_N
