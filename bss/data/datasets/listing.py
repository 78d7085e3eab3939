"""Lists of samples and the files they name: what all data sets have in common.

A data-set module reads its list into samples (:class:`Sample`), each with the files that were found for it, and
hands them to :func:`complete`, which decides about the ones that lack something. The doctor looks at the same samples.
"""

import csv
import itertools
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from bss.data import file_heads
from bss.data.transforms import image as picture
from bss.data.transforms import video
from bss.utils.errors import DataError, DataNotFoundError, shown
from bss.utils.filesystem import reading


class Sample(Protocol):
    """One row of a list with the files that belong to it."""

    @property
    def name(self) -> str:
        """The sample's name, unique in its split."""

    @property
    def label(self) -> int:
        """Position in the data set's ``CLASSES``."""

    @property
    def listed(self) -> str:
        """The list and row that name it, for errors: "FILE line 3", or "FILE item 3" of a json list."""

    @property
    def group(self) -> str:
        """What a sound split keeps apart (an actor, a subject, a source video); empty where there is nothing."""

    @property
    def files(self) -> Mapping[str, tuple[Path, ...]]:
        """Kind of file -> the files; an empty tuple where none was found."""


S = TypeVar("S", bound=Sample)


_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of surrogate pairs, which json can spell


_LONGEST_NAME = 255  # bytes, on every file system in use


# ----------------------------------------------------------------------------------------------------- lists


def read_text(path: str | os.PathLike) -> str:
    """The text of a list: UTF-8, with or without a byte order mark.

    Raises:
        DataError: naming the file: it cannot be read, is empty, a Git-LFS pointer, or not UTF-8 text.
    """
    with reading(path):
        content = Path(path).read_bytes()
    if problem := file_heads.absence(content[: file_heads.HEAD_BYTES], len(content)):
        raise DataError(f"{path}: {problem}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    if "\0" in text:
        raise DataError(f"{path}: not UTF-8 text (it has NUL bytes, like UTF-16); save it as UTF-8")
    return text


def lines_of(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Line numbers, counted from 1, and lines without their ends, of those that are not blank.

    Only CR and LF end a line: a tweet may hold one of the characters that ``str.splitlines`` also splits at.
    """
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line


def cells_of(path: str | os.PathLike, delimiter: str | None = ",") -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of the lines that are not blank.

    Args:
        path: the list.
        delimiter: ``","`` reads csv with its quotes; another one splits wherever it stands (in a tsv of tweets a quote
            is a letter like any other); None splits at white space.

    Raises:
        DataError: see :func:`read_text`; a line that is not a csv row.
    """
    for number, line in lines_of(path):
        if delimiter != ",":
            yield number, [cell.strip() for cell in line.split(delimiter)]
            continue
        # Line by line: an unclosed quote must not swallow the rows after it.
        try:
            yield number, [cell.strip() for cell in next(csv.reader([line], strict=True))]
        except csv.Error as error:
            raise DataError(f"{path} line {number}: not a csv row: {error}") from error


def checked_name(name: str, where: str) -> str:
    """The name of a sample or file, which must be a name and no path.

    A link inside the data root may lead out of it: whoever made the tree wanted that. A list may not.

    Raises:
        DataError: it is empty, leaves the folder it is looked for in, or is none that a file can have: longer than 255
            bytes, with control characters, or no Unicode text.
    """
    if not name:
        raise DataError(f"{where}: the name is empty")
    if name in (".", "..") or any(character in name for character in "/\\\0"):
        raise DataError(f"{where}: the name {shown(name)} leaves the data root; give a name, not a path")
    if _CONTROL.search(name) or len(name.encode(errors="replace")) > _LONGEST_NAME:
        raise DataError(
            f"{where}: the name {shown(name)} is none of a file: it has control characters, or more than "
            f"{_LONGEST_NAME} bytes"
        )
    return name


def find_list(root: Path, split: str, places: Sequence[str], *, title: str, advice: str) -> Path:
    """The list of a split: the first of the places (``"annotations/{split}.csv"``) that exists under the root.

    Args:
        root: the data root.
        split: its name is put into the places.
        places: relative paths with ``{split}``.
        title: the data set's name, for errors.
        advice: where the layout is described, for errors.

    Raises:
        DataNotFoundError: no such folder, or none of the places exists in it.
    """
    check_root(root, title=title, advice=advice)
    places = [place.format(split=split) for place in places]
    for place in places:
        if (root / place).is_file():
            return root / place
    raise DataNotFoundError(
        f"{title}: no list of the {split} split under {root}, looked for {', '.join(places)}.\n{advice}"
    )


def check_root(root: Path, *, title: str, advice: str) -> None:
    """Refuse a data root that is not a folder.

    Raises:
        DataNotFoundError: it does not exist, or is a file.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataNotFoundError(f"{title}: the data root {root} {what}.\n{advice}")


# ----------------------------------------------------------------------------------------------------- files


def visible(folder: Path, kind: Callable[[os.DirEntry], bool]) -> list[str]:
    """Names in a folder of one kind of entry (``os.DirEntry.is_file`` ...), without hidden ones.

    Empty if there is no such folder. Unsorted.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and _is(kind, entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error


def _is(kind: Callable[[os.DirEntry], bool], entry: os.DirEntry) -> bool:
    try:
        return kind(entry)
    except OSError:  # a link that leads to itself is neither a file nor a folder
        return False


def natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that compares runs of digits as numbers; text and numbers alternate, so they never meet."""
    parts = re.split(r"([0-9]+)", name)  # digits of other scripts, and the small ones of exponents, stay text
    return [int(part) if number else part for part, number in zip(parts, itertools.cycle((False, True)))], name


def head_problem(path: Path) -> tuple[str | None, str | None]:
    """What the ends of a file tell: (why it holds nothing, what is damaged), None for what is not the case."""
    head, size = file_heads.read_head(path)
    if problem := file_heads.absence(head, size):
        return problem, None
    suffix = path.suffix.lower()
    if suffix in picture.FRAME_SUFFIXES:
        return None, picture.image_damage(head) or picture.image_truncation(path)
    if suffix in video.VIDEO_SUFFIXES:
        return None, video.video_damage(head, size, suffix)
    return None, file_heads.sound_damage(head, size, suffix)


def complete(
    samples: Sequence[S], split: str, *, title: str, root: Path, advice: str, missing: str = "error"
) -> tuple[list[S], list[str]]:
    """The samples that have all their files, every file's ends checked, and the names of those left out.

    Args:
        samples: of one split, in the order of its list; at least one.
        split: its name, for errors.
        title: the data set's name, for errors.
        root: the data root, for errors.
        advice: where the layout is described, for errors.
        missing: ``"error"``, or ``"drop"`` to leave out samples that lack a file. A Git-LFS pointer, an empty file and
            a wav of zero samples count as missing; a file of the wrong kind or a truncated one never does.

    Returns:
        The samples in the order of the list, and the names of those left out (empty with ``"error"``).

    Raises:
        DataNotFoundError: samples without files, or nothing left after dropping.
        DataError: a file that cannot be what its name says.
    """
    if missing not in ("error", "drop"):
        raise ValueError(f"missing must be 'error' or 'drop', got {missing!r}")
    gaps = [sample for sample in samples if not all(sample.files.values())]
    if gaps and missing == "error":
        counts = {kind: sum(not gap.files[kind] for gap in gaps) for kind in gaps[0].files}
        lacking = next(kind for kind, files in gaps[0].files.items() if not files)
        counted = " and ".join(f"{number} have no {kind}" for kind, number in counts.items())
        raise DataNotFoundError(
            f"{title} {split}: of {len(samples)} samples {counted} under {root}, "
            f"first {gaps[0].name} without {lacking} ({gaps[0].listed}).\n"
            f"Complete the tree ({advice}), or leave them out with --set missing=drop"
        )
    whole = [sample for sample in samples if all(sample.files.values())]
    absent, damaged = _check_heads(whole)
    if damaged:
        raise DataError(
            f"{damaged[0]}.\nDamaged files of the {split} list: {len(damaged)}; replace them, or take their rows out "
            "of the list (missing=drop leaves out absent files only)"
        )
    if absent and missing == "error":
        raise DataError(
            f"{next(iter(absent.values()))}.\n{len(absent)} of {len(whole)} samples of the {split} list have such "
            "files; replace them, or leave them out with --set missing=drop"
        )
    kept = [sample for sample in whole if sample.name not in absent]
    if not kept:
        raise DataNotFoundError(
            f"{title} {split}: none of the {len(samples)} samples of {list_of(samples[0])} has its files under {root}; "
            f"{advice}"
        )
    names = {sample.name for sample in kept}
    return kept, [sample.name for sample in samples if sample.name not in names]


def list_of(sample: Sample) -> str:
    """The list that names a sample: ``listed`` without the row."""
    return re.sub(r" (line|item) \d+$", "", sample.listed)


def _check_heads(samples: Sequence[Sample]) -> tuple[dict[str, str], list[str]]:
    """Look at the ends of every file: samples with a file that holds nothing (name -> why), and damaged files (why)."""
    absent: dict[str, str] = {}
    damaged: list[str] = []
    checked: dict[Path, tuple[str | None, str | None]] = {}  # one picture may belong to several rows
    for sample in samples:
        for path in (path for files in sample.files.values() for path in files):
            if path not in checked:
                checked[path] = head_problem(path)
            nothing, damage = checked[path]
            if nothing:
                absent.setdefault(sample.name, f"{path}: {nothing} ({sample.listed})")
            elif damage:
                damaged.append(f"{path}: {damage} ({sample.listed})")
    return absent, damaged
