"""What lies in the place of lists and files that were not found: of another spelling or suffix, or behind a dead link.

It is asked for once something is missing, to say why; nothing that it finds is used.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bss.data.datasets.listing import MARKER, Sample, bare_name
from bss.data.transforms.audio import AUDIO_SUFFIXES
from bss.data.transforms.containers import VIDEO_SUFFIXES
from bss.data.transforms.image import PICTURE_SUFFIXES

_SOUNDS = (*AUDIO_SUFFIXES, ".mp3", ".m4a", ".aac", ".opus", ".wma", ".aiff", ".aif", ".au")


_OF_KIND: Mapping[str, tuple[str, ...]] = {
    "audio": _SOUNDS,
    "frames": (),
    "image": PICTURE_SUFFIXES,
    "flow": (".npy",),
    "rgb": VIDEO_SUFFIXES,
    "depth": VIDEO_SUFFIXES,
}
"""Kind of file -> suffixes that files of it have, whether they are read or not; folders may be of any."""


_DEPTH = 4
"""Folders below the root that are looked into: layouts in use are three deep."""


_LISTS = (".csv", ".tsv", ".txt", ".json", ".lst", ".xlsx", ".xls", ".parquet")


def dead_link(path: Path) -> str:
    """What is said of a link whose target is not there; empty for anything else."""
    if not path.is_symlink() or path.exists():
        return ""
    return f"{path} is a link to {os.readlink(path)}, which is not there (is that disk mounted?)"


def like_lists(root: Path, places: Sequence[str]) -> str:
    """What is there that somebody may take for a list; empty where nothing is.

    Args:
        root: the data root.
        places: of the list, relative to it.
    """
    for folder in dict.fromkeys((root / place).parent for place in places):
        inside = folder.relative_to(root)
        for above in (inside, *inside.parents):
            if said := dead_link(root / above):
                return said
        names = {Path(place).name for place in places if (root / place).parent == folder}
        stems = {os.path.splitext(name)[0].casefold() for name in names}
        for entry in _entries(folder):
            stem, suffix = os.path.splitext(entry.name)
            if stem.casefold() not in stems or suffix.lower() not in _LISTS:
                continue
            if said := dead_link(folder / entry.name):
                return said
            spelt = any(entry.name.casefold() == name.casefold() for name in names)
            if spelt and entry.name not in names:
                return f"{folder / entry.name} is there: its name differs in upper and lower case"
            if not spelt:
                return f"{folder / entry.name} is there, and has another suffix"
    return ""


def reasons(root: Path, samples: Sequence[Sample]) -> dict[str, str]:
    """Why files of samples were not found, as far as something like them lies under the root.

    Args:
        root: the data root.
        samples: of one or more lists, with and without their files.

    Returns:
        :attr:`Sample.listed` of a sample that lacks something -> what is there, in words.
    """
    lacking = [sample for sample in samples if not all(sample.files.values())]
    if not lacking:
        return {}
    used = {path for sample in samples for files in sample.files.values() for path in files}
    used |= {path.parent for path in used}
    known = {name.casefold() for sample in samples for name in _names(sample)}
    alike: dict[str, list[Path]] = {}
    dead = ""  # a folder that is not there is the reason for all that may be in it
    for path in _walk(root, known):
        name = next((name for name in (path.name.casefold(), bare_name(path.stem).casefold()) if name in known), None)
        if name is None:
            dead = dead or dead_link(path)
        elif path not in used:
            alike.setdefault(name, []).append(path)
    found = {}
    for sample in lacking:
        kinds = [kind for kind, files in sample.files.items() if not files]
        candidates = [path for name in _names(sample) for path in alike.get(name.casefold(), ())]
        said = next(filter(None, map(dead_link, candidates)), "") or next(
            (text for path in candidates for kind in kinds if (text := _unlike(path, kind, _names(sample)))), ""
        )
        if said or dead:
            found[sample.listed] = said or dead
    return found


def _unlike(path: Path, kind: str, names: Sequence[str]) -> str:
    """In what an entry differs from the file of a kind that is looked for; empty where it is of another kind."""
    folder = path.is_dir()
    if not folder and path.suffix.lower() not in _OF_KIND.get(kind, ()):
        return ""
    if folder and kind in ("audio", "image"):
        return ""
    if path.name not in names and path.stem not in names:
        return f"{path} is there: its name differs in upper and lower case"
    if folder and not any(_entries(path)):
        return f"{path} is an empty folder"
    return f"{path} is there, but nothing of this name is looked for there"


def _names(sample: Sample) -> tuple[str, ...]:
    """What files or folders of a sample are called, without suffix: by its name, or as its list calls its picture."""
    last = sample.name.rstrip("/").rpartition("/")[2]
    image = getattr(sample, "image", "")
    return (os.path.splitext(image)[0],) if image else (last,)


def _walk(root: Path, known: set[str]) -> Iterator[Path]:
    """Yield what is under the root and not hidden, without samples' own folders, and generated data sets in it."""
    waiting, seen = [(root, 1)], set()
    while waiting:
        folder, depth = waiting.pop()
        try:
            status = os.stat(folder)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        if folder != root and (folder / MARKER).exists():
            continue
        for entry in _entries(folder):
            path = folder / entry.name
            yield path
            if depth < _DEPTH and entry.name.casefold() not in known and path.is_dir():
                waiting.append((path, depth + 1))


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:
        return []
