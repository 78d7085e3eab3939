"""The record of a data set, and the one way from its folder to its samples, which all data sets share.

A module of this package describes its data set in a :class:`DataSet`. Training asks :func:`find` for samples that have
all their files; the doctor and ``prepare`` ask :func:`read` for all rows, whether their files are there or not.
"""

import os
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

from bss.data.cache import cache_folder
from bss.data.datasets import nearby
from bss.data.datasets.listing import Sample, head_problem, list_of
from bss.data.usable import problems
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.extras import need

S = TypeVar("S", bound=Sample)


TRAIN_AND_TEST: Mapping[str, tuple[str, ...]] = {"train": ("train",), "test": ("test",)}
"""Split -> names of its list, for data sets that were published without a validation list."""


WITH_VAL: Mapping[str, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
"""The same with a validation list."""


@dataclass(frozen=True, kw_only=True)
class DataSet(Generic[S]):
    """What is known of a data set before any of its files is read.

    Attributes:
        stem: its short name, which its modules in ``bss`` have.
        title: its name in the literature.
        folder: its folder in this repository; the README there describes the layout.
        classes: class names; a label is a position in them.
        places: split -> where the list of the split may be, relative to the data root; the first that exists is read,
            and ``prepare`` writes to the first. The last ones are where clones of the repositories that publish the
            lists have them. The splits are in the order train, val, test.
        optional: splits whose list most copies do not have, and which nothing needs.
        published: split -> numbers of rows that the published lists have.
        locate: (data root, split, path of the list) -> the rows of the list with the files that were found for them.
            Further keyword arguments are the data set's own options, see its module.
        group: what a sound split keeps apart (``"actor"``); None if the rows say nothing of the kind.
        group_hint: what it means that train and test share groups, and the way out; may be empty.
        remedy: (data root, split, samples) -> what makes files that are missing, for errors; may be empty.
        blank: kind of file -> (sample, files that cannot be used) -> the sample with something neutral in their place,
            which ``missing="blank"`` asks for; kinds that it has not have nothing that is neutral.
        extras: of the package's, whose packages read its files; beyond ``train``, see :mod:`bss.utils.extras`.
        licence: what its publishers say of its use, for the card of an exported network.
        variant: the name of another data set of the same form, which the module's ``VARIANTS`` and the recipe's field
            ``variant`` have; empty = the data set itself.
        tested_rows_in_train: whether the published training list has rows of the test list, which training leaves out.
        edition: path of a list -> the name of the edition of the data set that it is of; empty = the original.
    """

    stem: str
    title: str
    folder: str
    classes: tuple[str, ...]
    places: Mapping[str, tuple[str, ...]]
    published: Mapping[str, tuple[int, ...]]
    locate: Callable[..., list[S]]
    optional: tuple[str, ...] = ()
    group: str | None = None
    group_hint: str = ""
    remedy: Callable[[Path, str, Sequence[S]], str] | None = None
    blank: Mapping[str, Callable[[S, Collection[Path]], S]] = field(default_factory=dict)
    extras: tuple[str, ...] = ()
    licence: str = ""
    variant: str = ""
    tested_rows_in_train: bool = False
    edition: Callable[[Path], str] | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the published splits."""
        return tuple(self.places)

    @property
    def layout(self) -> str:
        """Where the layout is described, for errors."""
        return f"{self.folder}/README.md describes the layout"

    @property
    def advice(self) -> str:
        """Where the layout is described, and what needs no data at all, for errors."""
        return f"{self.layout}; --sample runs the whole thing now on generated data"

    def prepare_command(self, root: str | os.PathLike) -> str:
        """The command that makes a data root out of what was published, where that is in the root itself."""
        where = shlex.quote(str(root))
        variant = f" --variant {self.variant}" if self.variant else ""
        return f"python -m bss prepare {self.stem} --source {where} --out {where}{variant}"

    def looked_for(self, split: str) -> str:
        """Which files are looked for as the list of a split, and in which folders of a root, for errors."""
        names = dict.fromkeys(PurePosixPath(place).name for place in self.places[split])
        folders = dict.fromkeys(str(PurePosixPath(place).parent) for place in self.places[split])
        where = ", ".join("the folder itself" if folder == "." else folder for folder in folders)
        return f"looked for {', '.join(names)} in {where}"


def places_of(templates: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The places of every split's list, for :attr:`DataSet.places`.

    Args:
        templates: relative paths with ``{split}``, the best first; a file without it has all lists.
        names: split -> what ``{split}`` stands for, the best first.
    """
    return {
        split: tuple(dict.fromkeys(template.format(split=name) for template in templates for name in spellings))
        for split, spellings in names.items()
    }


def check_root(data_set: DataSet, root: Path, advice: str) -> None:
    """Refuse a data root that is not a folder.

    Raises:
        DataNotFoundError: it does not exist, or is a file; ends with the advice.
    """
    if not root.is_dir():
        what = f"{root} {'is a file, not a folder' if root.exists() else 'does not exist'}"
        raise DataNotFoundError(f"{data_set.title}: the data root {nearby.dead_link(root) or what}.\n{advice}")


def read(data_set: DataSet[S], root: str | os.PathLike, split: str, **options: Any) -> list[S]:
    """The rows of a split's list, with those of their files that are under the data root; some may be lacking.

    Args:
        data_set: the record of the data set.
        root: the data root.
        split: one of the data set's splits.
        **options: the data set's own, see its module.

    Raises:
        DataNotFoundError: no root, or no list.
        DataError: a bad row of the list.
    """
    if split not in data_set.splits:
        raise ValueError(f"split must be one of {data_set.splits}, got {split!r}")
    root = Path(root)
    return data_set.locate(root, split, _list_path(data_set, root, split), **options)


def _list_path(data_set: DataSet, root: Path, split: str) -> Path:
    check_root(data_set, root, data_set.advice)
    places = data_set.places[split]
    for place in places:
        if (root / place).is_file():
            return root / place
    there = nearby.like_lists(root, places)
    raise DataNotFoundError(
        f"{data_set.title}: no list of the {split} split under {root}: {data_set.looked_for(split)}"
        f"{f'; {there}' if there else ''}.\n"
        f"If that folder holds what was published, `{data_set.prepare_command(root)}` makes a data root of it; "
        f"{data_set.advice}"
    )


def find(
    data_set: DataSet[S],
    root: str | os.PathLike,
    split: str,
    *,
    missing: str = "error",
    cache: str | None = "auto",
    **options: Any,
) -> tuple[list[S], list[str]]:
    """The samples of a split that have all their files, every file's ends checked, before any training.

    Args:
        data_set: the record of the data set.
        root: the data root.
        split: one of the data set's splits.
        missing: ``"error"``; ``"drop"`` to leave out samples that lack a file or have one that cannot be used (empty, a
            Git-LFS pointer, damaged, of another kind); ``"blank"`` to keep them with something neutral in its place,
            see :attr:`DataSet.blank`. But for ``"error"`` every picture and sound is decoded once, and what was found
            is kept for the next time, see :mod:`bss.data.usable`.
        cache: where that is kept: a recipe's ``cache``, see :func:`bss.data.cache.cache_folder`; None = nothing is
            written.
        **options: the data set's own, see its module.

    Returns:
        The samples in the order of the list, and the names of those left out (only with ``"drop"``).

    Raises:
        DataNotFoundError: no root or no list; samples without files, or nothing left after dropping.
        DataError: a bad row of the list; with ``"error"`` a file that cannot be what its name says, with ``"blank"``
            one that nothing neutral can stand for.
        RecipeError: ``"blank"`` of a data set without anything neutral.
    """
    need(data_set.title, *data_set.extras)
    return _complete(data_set, root, split, read(data_set, root, split, **options), missing, cache)


def find_listed(
    data_set: DataSet[S],
    root: str | os.PathLike,
    path: str | os.PathLike,
    *,
    missing: str = "error",
    cache: str | None = "auto",
    **options: Any,
) -> tuple[list[S], list[str]]:
    """The samples of a list of one's own, in the form of the published ones, that have all their files.

    Files are looked for where those of the published splits are: the test split's first, then the others'.

    Args:
        data_set: the record of the data set.
        root: the data root.
        path: of the list.
        missing: see :func:`find`.
        cache: see :func:`find`.
        **options: the data set's own, see its module.

    Returns:
        As :func:`find`.

    Raises:
        DataNotFoundError, DataError: see :func:`find`; also for a list that is not there.
    """
    need(data_set.title, *data_set.extras)
    check_root(data_set, Path(root), data_set.advice)
    if not Path(path).is_file():
        raise DataNotFoundError(f"the list {path} is not a file")
    # Some layouts keep the files of each split in a folder of its own.
    located = [data_set.locate(Path(root), split, Path(path), **options) for split in reversed(data_set.splits)]
    if len({tuple(sample.name for sample in rows) for rows in located}) > 1:
        raise DataError(
            f"{path} has the lists of several splits: measure one of them with --split, or write the rows that you "
            "mean into a list of their own"
        )
    samples = [
        next((each for each in rows if all(each.files.values())), rows[0]) for rows in zip(*located, strict=True)
    ]
    return _complete(data_set, root, "test", samples, missing, cache)


def _complete(
    data_set: DataSet[S],
    root: str | os.PathLike,
    split: str,
    samples: list[S],
    missing: str,
    cache: str | None,
) -> tuple[list[S], list[str]]:
    """Those of the samples that have all their files, and the names of the others; see :func:`find`."""
    if missing not in ("error", "drop", "blank"):
        raise ValueError(f"missing must be 'error', 'drop' or 'blank', got {missing!r}")
    if missing == "blank" and not data_set.blank:
        kinds = " or ".join(samples[0].files)
        raise RecipeError(
            f"missing=blank: nothing neutral can stand for the {kinds} of {data_set.title}: --set missing=drop leaves "
            "out samples without usable files"
        )
    remedy = data_set.remedy(Path(root), split, samples) if data_set.remedy else ""
    gaps = [sample for sample in samples if not all(sample.files.values())]
    if not remedy and gaps and any(not any(sample.files[kind] for sample in samples) for kind in gaps[0].files):
        remedy = f"`{data_set.prepare_command(root)}` makes it out of what was published"
    advice = "; ".join(filter(None, (remedy, data_set.advice)))
    if missing == "error":
        _check_complete(data_set, root, split, samples, gaps, advice)
        return samples, []
    kept, first = _mended(data_set, Path(root), split, samples, missing, cache)
    if not any(all(sample.files.values()) for sample in kept):
        raise DataNotFoundError(
            f"{data_set.title} {split}: none of the {len(samples)} samples of {list_of(samples[0])} has its files "
            f"under {Path(root)}{f' ({first})' if first else ''}; {advice}"
        )
    names = {sample.name for sample in kept}
    return kept, [sample.name for sample in samples if sample.name not in names]


def _check_complete(
    data_set: DataSet[S], root: str | os.PathLike, split: str, samples: list[S], gaps: list[S], advice: str
) -> None:
    """Refuse samples that lack a file, and files that hold nothing or are damaged at their ends."""
    keep = ", or keep them with a neutral picture: missing=blank" if data_set.blank else ""
    if gaps:
        counts = {kind: sum(not gap.files[kind] for gap in gaps) for kind in gaps[0].files}
        counted = " and ".join(f"{number} have no {kind}" for kind, number in counts.items())
        why = nearby.reasons(Path(root), samples)
        first = next((gap for gap in gaps if gap.listed in why), gaps[0])
        lacking = next(kind for kind, files in first.files.items() if not files)
        known = f": {why[first.listed]}" if first.listed in why else ""
        none = [kind for kind in gaps[0].files if not any(sample.files[kind] for sample in samples)]
        without = (
            f". No sample has its {' or '.join(none)}, and all arms, those of one modality too, train on whole samples"
        )
        raise DataNotFoundError(
            f"{data_set.title} {split}: of {len(samples)} samples {counted} under {Path(root)}, "
            f"first {first.name} without {lacking} ({first.listed}){known}.\n"
            f"Complete the tree ({advice})"
            f"{without if none else f', or leave them out with --set missing=drop{keep}'}"
        )
    absent, damaged = _check_heads(samples)
    if damaged:
        raise DataError(
            f"{damaged[0]}.\nDamaged files of the {split} list: {len(damaged)}; replace them, or leave their rows out "
            f"with --set missing=drop{keep}"
        )
    if absent:
        raise DataError(
            f"{next(iter(absent.values()))}.\n{len(absent)} of {len(samples)} samples of the {split} list have such "
            f"files; replace them, or leave them out with --set missing=drop{keep}"
        )


def _mended(
    data_set: DataSet[S], root: Path, split: str, samples: list[S], missing: str, cache: str | None
) -> tuple[list[S], str]:
    """The samples without those that have not all files whole, or with something neutral; and the first fault."""
    files = {
        path: (kind, sample.listed) for sample in samples for kind, paths in sample.files.items() for path in paths
    }
    faults = problems(files, root=root, folder=cache_folder(cache or "auto", root), keep=cache is not None)
    first = next((f"{path}: {why}" for path, why in faults.items()), "")
    kept: list[S] = []
    hard: list[tuple[S, str]] = []
    for sample in samples:
        mended = sample
        for kind, paths in sample.files.items():
            if paths and faults.keys().isdisjoint(paths):
                continue
            if missing == "drop":
                break
            if kind in data_set.blank:
                mended = data_set.blank[kind](mended, faults.keys())
            else:
                why = next((f"{path}: {faults[path]}" for path in paths if path in faults), f"no {kind}")
                hard.append((sample, f"{kind} ({why})"))
        else:
            kept.append(mended)
    if hard:
        sample, what = hard[0]
        raise DataError(
            f"{sample.name} has no usable {what} ({sample.listed}).\nmissing=blank has a neutral "
            f"{' and '.join(data_set.blank)} alone, and {len(hard)} samples of the {split} list lack something else: "
            "complete them, or leave out whatever is not whole with --set missing=drop"
        )
    return kept, first


def _check_heads(samples: Sequence[Sample]) -> tuple[dict[str, str], list[str]]:
    """Look at the ends of every file: samples with a file that holds nothing (name -> why), and damaged files (why)."""
    absent: dict[str, str] = {}
    damaged: list[str] = []
    checked: dict[Path, tuple[str | None, str | None]] = {}  # one picture may belong to several rows
    for sample in samples:
        for kind, path in ((kind, path) for kind, files in sample.files.items() for path in files):
            if path not in checked:
                checked[path] = head_problem(path, kind)
            nothing, damage = checked[path]
            if nothing:
                absent.setdefault(sample.name, f"{path}: {nothing} ({sample.listed})")
            elif damage:
                damaged.append(f"{path}: {damage} ({sample.listed})")
    return absent, damaged
