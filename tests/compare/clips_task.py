"""A task whose samples have names, groups and lists, as those of the library have: the tiny problem of tests/tiny.py.

``clip7`` is of the class ``CLASSES[7 % 3]`` and of ``speaker7 % 5``. The data root may hold ``classes.txt``, which
numbers the classes otherwise, and ``test.txt``, the names of the test samples.
"""

from dataclasses import replace

import torch
from torch.utils.data import Dataset

from bss.data.parts import Part
from bss.data.rows import Row, group_ids
from bss.data.splits import Listed, Splits
from bss.utils.errors import DataError
from tests import tiny

TITLE = "Tiny clips"
CL = replace(tiny.CL, epochs=2, imbalance_every=0)
GROUPS = 5
WHOLE = tiny.features(200, seed=7)


class Clips(Dataset):
    """Some of the clips, with the class ids that a root gives them."""

    def __init__(self, numbers, classes):
        self.numbers, self.classes = list(numbers), classes

    def __len__(self):
        return len(self.numbers)

    def listed_rows(self):
        return [Row(f"clip{n}", self.label(n), n, f"speaker{n % GROUPS}") for n in self.numbers]

    def label(self, number):
        return self.classes.index(tiny.CLASSES[number % 3])

    def __getitem__(self, index):
        number = self.numbers[index]
        return {**WHOLE[number], "label": self.label(number)}


def classes_of(root):
    """The class names in the order of their ids."""
    file = root / "classes.txt"
    return tuple(file.read_text().split()) if file.exists() else tiny.CLASSES


def read_list(path):
    """The numbers of the clips that a list names."""
    numbers = []
    for line, name in enumerate(path.read_text().split(), start=1):
        if not name.removeprefix("clip").isdigit() or int(name[4:]) >= len(WHOLE):
            raise DataError(f"{path} line {line}: {name} is no clip")
        numbers.append(int(name[4:]))
    return numbers


def listed(clips):
    """Names and labels."""
    rows = clips.listed_rows()
    return Listed([row.name for row in rows], torch.tensor([row.label for row in rows]))


def build_data(recipe, root):
    """Sixty training clips, 24 to validate by, and 30 to test on."""
    classes = classes_of(root)
    tested = read_list(root / "test.txt") if (root / "test.txt").exists() else range(100, 130)
    train, test = Clips(range(60), classes), Clips(tested, classes)
    val = Clips(range(60, 84), classes) if recipe.val_fraction else None
    return Splits(
        train=train,
        score=train,
        val=val,
        test=test,
        labels_N=listed(train).labels_N,
        names=listed(train).names,
        classes=classes,
        group="speaker",
        listed={"test": listed(test), **({"val": listed(val)} if val else {})},
    )


def build_list(recipe, root, path):
    """The clips of a list, each name in a line."""
    clips = Clips(read_list(path), classes_of(root))
    names, labels_N = listed(clips)
    return Part(
        title="list",
        samples=clips,
        names=names,
        classes=clips.classes,
        labels_N=labels_N,
        groups=group_ids(clips),
        grouped_by="speaker",
    )


def build_model(recipe, root):
    """Initial weights by the seed."""
    return tiny.model(seed=recipe.seed)
