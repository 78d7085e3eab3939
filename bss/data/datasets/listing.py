"""Lists of samples and the files they name, with checks that are the same for all data sets.

The module of a data set reads its list into samples (:class:`Sample`), each with the files that were found for it;
:mod:`bss.data.datasets.data_set` decides about those that lack something.
"""

import csv
import itertools
import json
import ntpath
import os
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any, Protocol

from bss.data import file_heads
from bss.data.transforms import containers
from bss.data.transforms import image as picture
from bss.utils.errors import DataError, shown
from bss.utils.filesystem import WINDOWS, reading


class Sample(Protocol):
    """One row of a list with the files that belong to it."""

    @property
    def name(self) -> str:
        """The sample's name, unique in its split."""

    @property
    def label(self) -> int:
        """Position in the data set's classes."""

    @property
    def listed(self) -> str:
        """The list and row that name it, for errors: "FILE line 3", or "FILE item 3" of a json list."""

    @property
    def group(self) -> str:
        """What a sound split keeps apart (an actor, a subject, a source video); empty where there is nothing."""

    @property
    def files(self) -> Mapping[str, tuple[Path, ...]]:
        """Kind of file -> the files; an empty tuple where none was found."""

    @property
    def blank(self) -> bool:
        """Whether something neutral stands in the place of a file that cannot be used."""


MARKER = "sample.json"
"""File that marks a generated data set and holds its parameters."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of surrogate pairs, which json can spell


_LONGEST_NAME = 255  # bytes, on every file system in use


# ----------------------------------------------------------------------------------------------------- lists


def read_text(path: str | os.PathLike) -> str:
    """Read a list as text: UTF-8, with or without a byte order mark.

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
    """Yield the number, counted from 1, and the text of every line that is not blank.

    Only CR and LF end a line: a tweet may hold one of the characters that ``str.splitlines`` also splits at.
    """
    lines = read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line


def cells_of(path: str | os.PathLike, delimiter: str | None = ",") -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the stripped cells of every line that is not blank.

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


def read_json(path: str | os.PathLike) -> Any:
    """Read a list that is json.

    Raises:
        DataError: see :func:`read_text`; no json, or an object with a key twice, of which json would take the last.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=partial(_once_each, path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not json: {error.msg} (column {error.colno})") from error
    except RecursionError as error:
        raise DataError(f"{path}: not a list of samples: it is nested too deeply") from error
    except DataError:
        raise
    except ValueError as error:  # json.loads has no name for this one
        raise DataError(f"{path}: not a list of samples: it has a number of more than 4,300 digits") from error


def _once_each(path: str | os.PathLike, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    item = dict(pairs)
    if len(item) < len(pairs):
        key = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise DataError(f"{path}: an item has {shown(key)} twice: {shown(pairs, 120)}")
    return item


_MEDIA = re.compile(r"\.(wav|flac|mp3|ogg|flv|mp4|mkv|webm|avi|mov)$", re.IGNORECASE)


def bare_name(cell: str) -> str:
    """The name of a clip in a cell that may have the suffix of one of its files: ``1085_IWL_SAD_XX.flv``."""
    return _MEDIA.sub("", cell)


_REPEATS_SHOWN = 10


def check_once(path: str | os.PathLike, rows: Iterable[tuple[Hashable, str, str]]) -> None:
    """Refuse a list in which something is there twice.

    Args:
        path: the list.
        rows: what must be there once, what it is called, and the list and row that have it, see
            :attr:`Sample.listed`.

    Raises:
        DataError: names all rows that repeat an earlier one.
    """
    first: dict[Hashable, str] = {}
    repeats = []
    for key, title, listed in rows:
        where = listed.removeprefix(f"{path} ")
        if key in first:
            repeats.append((title, where, first[key]))
        else:
            first[key] = where
    if not repeats:
        return
    title, where, before = repeats[0]
    more = [f"{again} as {one}" for _, again, one in repeats[1:_REPEATS_SHOWN]]
    more += [f"{len(repeats) - _REPEATS_SHOWN} more"] if len(repeats) > _REPEATS_SHOWN else []
    others = f"; so are {len(repeats) - 1} others: {', '.join(more)}" if more else ""
    raise DataError(f"{path} {where}: {title} is listed twice, first in {before}{others}")


def checked_name(name: str, where: str, *, windows: bool = WINDOWS) -> str:
    """Hand back the name of a sample or file, if it is a name and no path.

    A link inside the data root may lead out of it: whoever made the tree wanted that. A list may not.

    Args:
        name: as the list has it.
        where: list and row, for the error.
        windows: whether the rules of Windows hold too. Elsewhere a colon is a letter like any other, and a published
            data set may have it in its names.

    Raises:
        DataError: it is empty, leaves the folder it is looked for in, or is none that a file can have: longer than 255
            bytes, with control characters, no Unicode text, or what Windows takes for a drive, a stream or a device.
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
    if windows and is_reserved(name):
        raise DataError(
            f"{where}: the name {shown(name)} is none of a file on Windows: it has a colon, a device's name (CON, NUL, "
            'COM1), one of *?"<>|, or a dot or space at its end; rename the file and the row, or use another system'
        )
    return name


def is_reserved(name: str) -> bool:
    """Whether Windows has no file of this name: ``C:x``, ``x:y``, ``NUL``, ``con.wav``, ``x.``, ``x?``."""
    if hasattr(ntpath, "isreserved"):  # Python 3.13, for which x: is a drive and y a name on it
        return ":" in name or ntpath.isreserved(name)
    # PureWindowsPath of 3.11 knows the devices alone, and that of 3.13 warns.
    return bool(re.search(r'[*?"<>|:]|[. ]$', name)) or PureWindowsPath(name).is_reserved()


# ----------------------------------------------------------------------------------------------------- files


def visible(folder: Path, kind: Callable[[os.DirEntry], bool]) -> list[str]:
    """Names of a folder's files, or of its folders (``kind=os.DirEntry.is_dir``), without hidden ones.

    Empty if there is no such folder. Unsorted.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and is_entry(kind, entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error


def is_entry(kind: Callable[[os.DirEntry], bool], entry: os.DirEntry) -> bool:
    """Whether an entry is of a kind (``os.DirEntry.is_file``, ``is_dir``), links followed."""
    try:
        return kind(entry)
    except OSError:  # a link that leads to itself is neither a file nor a folder
        return False


def natural(name: str) -> tuple[list[str | int], str]:
    """Sort key by which ``frame_2`` comes before ``frame_10``: runs of digits are compared as numbers."""
    # Text and numbers alternate, so one is never compared with the other.
    parts = re.split(r"([0-9]+)", name)  # digits of other scripts, and the small ones of exponents, stay text
    return [int(part) if number else part for part, number in zip(parts, itertools.cycle((False, True)))], name


PICTURES = frozenset({"image", "frames"})
"""Kinds of files that are pictures, whatever their suffix."""


def is_picture(path: Path, kind: str = "") -> bool:
    """Whether a file is taken for a picture: by its kind in a sample, or by its suffix."""
    return kind in PICTURES or path.suffix.lower() in picture.PICTURE_SUFFIXES


def head_problem(path: Path, kind: str = "") -> tuple[str | None, str | None]:
    """Why a file holds nothing, and what is damaged in it, by its first and last bytes; None where that is not so.

    Args:
        path: the file.
        kind: what the sample takes it for, a key of :attr:`Sample.files`; empty = its suffix tells.
    """
    head, size = file_heads.read_head(path)
    if problem := file_heads.absence(head, size):
        return problem, None
    suffix = path.suffix.lower()
    if is_picture(path, kind):
        return None, picture.image_damage(head) or picture.image_truncation(path)
    if suffix in containers.VIDEO_SUFFIXES:
        return None, containers.video_damage(head, suffix) or containers.truncation(path)
    return None, file_heads.sound_damage(head, size, suffix)


def list_of(sample: Sample) -> str:
    """The list that names a sample: ``listed`` without the row."""
    return re.sub(r" (line|item) \d+$", "", sample.listed)
