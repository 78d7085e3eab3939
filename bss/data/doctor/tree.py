"""A data tree as the doctor sees it: the samples of every split, their files, and other entries of its folders."""

import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from bss.data.datasets.data_set import DataSet
from bss.data.datasets.listing import MARKER, Sample, is_entry, list_of
from bss.data.doctor.media import Facts
from bss.data.transforms import audio as sound
from bss.data.transforms import containers
from bss.data.transforms import image as picture

MEDIA_SUFFIXES = (*sound.AUDIO_SUFFIXES, *picture.PICTURE_SUFFIXES, *containers.VIDEO_SUFFIXES)


@dataclass(frozen=True)
class Tree:
    """A data tree that was read: the samples of every split, and what is in their files.

    Attributes:
        data_set: its record.
        root: the folder.
        samples: split -> its samples; only splits whose list could be read.
        facts: file -> what is in it.
    """

    data_set: DataSet
    root: Path
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    facts: Mapping[Path, Facts] = field(default_factory=dict)

    @property
    def generated(self) -> bool:
        """Whether it is a ``--sample`` data set, whose counts are not the published ones."""
        return (self.root / MARKER).is_file()

    @cached_property
    def editions(self) -> dict[str, str]:
        """Split -> the edition of the data set that its list is of; empty = the original."""
        edition = self.data_set.edition
        return {
            split: edition(Path(list_of(samples[0]))) if edition is not None else ""
            for split, samples in self.samples.items()
        }

    @cached_property
    def kinds(self) -> list[str]:
        """Kinds of files that the samples have, in their order."""
        return list(dict.fromkeys(kind for _, sample in self.all() for kind in sample.files))

    @cached_property
    def rows_of(self) -> dict[Path, list[Sample]]:
        """File -> the samples that use it, in the order of the lists."""
        rows: dict[Path, list[Sample]] = defaultdict(list)
        for _, sample in self.all():
            for paths in sample.files.values():
                for path in paths:
                    rows[path].append(sample)
        return dict(rows)

    def all(self) -> Iterator[tuple[str, Sample]]:
        """Yield (split, sample) of every list, one after the other."""
        for split, samples in self.samples.items():
            for sample in samples:
                yield split, sample

    def short(self, text: object) -> str:
        """A path, or a text with paths in it, with the root taken off the front of them."""
        return str(text).replace(f"{self.root}{os.sep}", "")


class Entry(NamedTuple):
    """A file or folder in the tree that is not what it could be taken for.

    Attributes:
        path: of the file or folder.
        what: ``"a folder without files"``, ``"a broken link"`` ...
        folder: whether it is a folder that a sample's files could be in.
    """

    path: Path
    what: str
    folder: bool = False


def oddities(tree: Tree, wanted: set[str]) -> tuple[dict[str, list[Entry]], list[Entry]]:
    """Look around for entries that the data set does not use but a reader may think it does.

    Args:
        tree: with its samples.
        wanted: last parts of the names of samples that lack files.

    Returns:
        (name -> entries called so, with or without a suffix), and (entries beside the samples' files that have a
        suffix of media and are no files: broken links, folders, pipes). Hidden entries and folders below a generated
        data set are passed over.
    """
    named: dict[str, list[Entry]] = defaultdict(list)
    beside: list[Entry] = []
    # As strings: most entries of a tree are files in use, and a Path of each would take longer than all else here.
    used = set(map(str, tree.rows_of))
    used_folders = set(map(os.path.dirname, used))
    for folder, entry in _walk(tree.root):
        if entry.path in used and is_entry(os.DirEntry.is_file, entry):
            continue
        stem, suffix = os.path.splitext(entry.name)
        is_media = suffix.lower() in MEDIA_SUFFIXES
        name = entry.name if entry.name in wanted else stem
        if name not in wanted and not (is_media and str(folder) in used_folders):
            continue
        path = folder / entry.name
        what = _description(entry, path)
        is_folder = what.startswith("a folder")
        if name in wanted:
            # A folder with files in use is as it should be: what is missing is missing elsewhere.
            if entry.path not in used and entry.path not in used_folders and (is_media or is_folder):
                named[name].append(Entry(path, what, is_folder and entry.name == name))
        elif what != "a file":
            beside.append(Entry(path, what))
    return dict(named), beside


def _description(entry: os.DirEntry, path: Path) -> str:
    try:
        if entry.is_dir():
            files = sum(not name.startswith(".") for name in os.listdir(path))
            return "a folder without files" if not files else f"a folder with nothing usable in it ({files} entries)"
        mode = entry.stat().st_mode
    except FileNotFoundError:
        return "a broken link"
    except OSError as error:
        return f"unreadable ({error.strerror or error})"
    return "a file" if stat.S_ISREG(mode) else "neither a file nor a folder"


def _walk(root: Path) -> Iterator[tuple[Path, os.DirEntry]]:
    """Yield (folder, entry) of everything under the root that is not hidden, links followed, each folder once."""
    waiting, seen = [root], set()
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError:
            continue  # the data set has listed all folders that it needs, and said so if it could not
        if folder != root and any(entry.name == MARKER for entry in visible):
            continue
        for entry in visible:
            yield folder, entry
            if is_entry(os.DirEntry.is_dir, entry):
                waiting.append(folder / entry.name)
