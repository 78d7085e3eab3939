"""The caches of decoded files that are on a disk: what there is, and how to be rid of it."""

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bss.data.cache import LOCK, ROOT
from bss.utils.filesystem import sweep, try_lock

_FILE = re.compile(r"(.+)-[0-9a-f]{16}\.(data|index)")


_PLACES = ("", "*", ".bss-cache", "*/.bss-cache", "*/*/.bss-cache", "runs/sample-data/*/.bss-cache")
"""Where caches are looked for below a folder: beside data, below a folder that ``cache=`` names, and of samples."""


@dataclass(frozen=True)
class Cached:
    """A cache of one kind of content.

    Attributes:
        folder: that it is in.
        name: of its files, without their suffixes.
        root: the data root whose files are decoded; None = nothing tells it.
        size: of its files, in bytes.
        used: when a run last opened it, in seconds since 1970.
        in_use: whether a run on this machine reads it now.
    """

    folder: Path
    name: str
    root: Path | None
    size: int
    used: float
    in_use: bool

    @property
    def files(self) -> list[Path]:
        """The index before its data: an index without data is never seen."""
        return [path for suffix in (".index", ".data") if (path := self.folder / f"{self.name}{suffix}").is_file()]


def cached(below: Path) -> list[Cached]:
    """All caches below a folder, which may be a data root, a folder of some, or what ``cache=`` names."""
    folders = dict.fromkeys(found.resolve() for place in _PLACES for found in (below.glob(place) if place else [below]))
    return [each for folder in folders if folder.is_dir() for each in _in(folder)]


def _in(folder: Path) -> Iterator[Cached]:
    with os.scandir(folder) as entries:
        names = {entry.name.rpartition(".")[0] for entry in entries if _FILE.fullmatch(entry.name)}
    for name in sorted(names):
        files = [path for suffix in (".index", ".data") if (path := folder / f"{name}{suffix}").is_file()]
        states = [path.stat() for path in files]
        if states:
            yield Cached(
                folder,
                name,
                _root_of(folder),
                sum(state.st_size for state in states),
                max(state.st_mtime for state in states),
                any(_is_held(path) for path in files),
            )


def _root_of(folder: Path) -> Path | None:
    try:
        return Path((folder / ROOT).read_text(encoding="utf-8", errors="surrogateescape").strip())
    except OSError:
        return folder.parent if folder.name == ".bss-cache" else None


def _is_held(path: Path) -> bool:
    try:
        lock = try_lock(path, make=False)
    except FileNotFoundError:  # deleted just now
        return False
    except OSError:  # not ours to read, so not ours to delete either
        return True
    if lock is None:
        return True
    lock.release()
    return False


def remove(caches: Sequence[Cached]) -> list[Cached]:
    """Delete caches, but for those that a run reads or a build works on, and what builds that died left beside them.

    Returns:
        Those that were kept.
    """
    kept = []
    for folder in dict.fromkeys(each.folder for each in caches):
        own = [each for each in caches if each.folder == folder]
        lock = try_lock(folder / LOCK)
        if lock is None:
            kept += own
            continue
        with lock:
            sweep(folder, **({"older": 0} if lock.real else {}))
            for each in own:
                if any(_is_held(path) for path in each.files):
                    kept.append(each)
                    continue
                for path in each.files:
                    path.unlink(missing_ok=True)
    return kept


def as_text(caches: Sequence[Cached], now: float | None = None) -> str:
    """A line for each cache, below one for the data root that it is of."""
    from tqdm import tqdm

    now, lines, folder = time.time() if now is None else now, [], None
    for each in caches:
        if each.folder != folder:
            folder = each.folder
            lines.append(f"{folder}, of {each.root or 'a data root that is not known'}")
        days = max(0, int((now - each.used) / 86400))
        age = "in use" if each.in_use else f"used {days} day{'s' * (days != 1)} ago" if days else "used today"
        lines.append(f"  {each.name.rpartition('-')[0]:36} {tqdm.format_sizeof(each.size, 'B'):>8}  {age}")
    return "\n".join(lines)
