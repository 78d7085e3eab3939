"""Files that are decoded once: flat memory-mapped arrays beside the data, shared by all loaders, runs and processes.

A cache is a folder. Each kind of content has a data file (arrays one after the other) and an index (which file, its
size, time of change and a hash of its head, middle and tail; where its array lies, its shape and its checksum). The
name of both ends in a hash of the list of files, so what has a name never changes, and the index is put under its name
last: half a cache cannot be found. It serves every run whose files it covers; if a file is missing in it or was
changed, the kind is built anew under another name, and the old one is deleted, by a later build where another run has
it mapped and the system forbids that (Windows). What no run used for :data:`KEPT_DAYS` days (other sample rates, other
windows) goes then, too.

Bytes can change on a disk. The index carries a hash of itself, and a process compares an entry with its checksum when
it first reads it; the file itself is decoded in place of an entry that differs, so that no run trains on it. CRC-32
takes about 0.8 s a gigabyte, spread over the reads of the first epoch. A file that was changed at the same size and
time in none of the sampled bytes is not noticed: deleting the folder has everything decoded anew.
"""

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from bss.utils.errors import DataError
from bss.utils.filesystem import Lock, in_use, only_one, reading, sweep, whole_file

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 3
"""Of the files; another number makes older ones unknown."""


KEPT_DAYS = 30
"""A cache that no run has opened for so long is deleted by the next build in its folder."""


LOCK, ROOT = ".lock", ".root"
"""In the folder: what a build locks, and the data root whose files are decoded."""


FREE_SHARE = 0.9
"""Share of a disk's free room that a cache may fill."""


_SAMPLED_BYTES = 4096  # of a file's head, middle and tail each, that tell a changed file


_ALIGNMENT = 64  # bytes; numbers lie where a processor reads them best


_DIGIT = "[0-9a-f]"


_DIGITS = 16 * _DIGIT  # a glob of the end of a cache's name


_SAMPLED = 16  # files that the size is estimated from


_FILES_A_PIECE = 4  # that a worker hands over at once: shared memory is small in many containers


@dataclass(frozen=True)
class Kind:
    """A way of decoding files.

    Attributes:
        name: part of the file names; tells all numbers that the content depends on: ``sound-22050hz-441000``.
        decode: file -> array of one to three axes; importable, so that worker processes can run it. It raises DataError
            for a file that cannot be used.
        dtype: of the arrays.
    """

    name: str
    decode: Callable[[Path], np.ndarray]
    dtype: str


class Decoded:
    """The decoded content of some files of one kind: out of the cache where there is one, else decoded when asked for.

    It is picklable; every process maps the data file when it first needs it.

    Args:
        kind: what the content is.
        root: the data root; files are known by their path below it.
        rows: every file -> the list and row that name it, for errors.

    Attributes:
        obstacle: why :meth:`open` could not use what is in the folder; empty where there is nothing, or it can.
    """

    def __init__(self, kind: Kind, root: Path, rows: Mapping[Path, str]):
        self.kind, self.root, self.rows = kind, root, rows
        self.obstacle = ""
        self._data: Path | None = None
        self._place: dict[Path, _Place] = {}
        self._unread: set[Path] = set()  # not yet compared with their checksums by this process
        self._bytes: np.ndarray | None = None
        self._in_use: Lock | None = None  # for as long as this process may read the file

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bytes": None, "_in_use": None, "rows": {}}

    def __call__(self, path: Path) -> np.ndarray:
        """The content of a file; not to be written to.

        Raises:
            DataError: a file that is not in the cache cannot be used.
        """
        place = self._place.get(path)
        if place is None:
            return self.kind.decode(path)
        if self._bytes is None:
            try:
                self._bytes = np.asarray(np.memmap(self._data, np.uint8, mode="r"))
            except (OSError, ValueError):  # another run has replaced it since
                self._place = {}
                return self.kind.decode(path)
        array = np.ndarray(place.shape, self.kind.dtype, self._bytes, place.offset)
        if path in self._unread:
            self._unread.discard(path)
            if zlib.crc32(array.data) != place.checksum:
                self._forget(path)
                return self.kind.decode(path)
        return array

    def _forget(self, path: Path) -> None:
        """Use no entry that differs from its checksum, and have the next start build the cache anew."""
        assert self._data is not None
        del self._place[path]
        index = self._data.with_suffix(".index")
        with contextlib.suppress(OSError):  # somebody else's cache
            index.unlink()
        # Always the same words for a data file, so that Python shows the first of many.
        warnings.warn(
            f"{self._data} is damaged: entries differ from their checksums. Their files are decoded instead, and the "
            "next start builds it anew",
            stacklevel=2,
        )

    @property
    def is_open(self) -> bool:
        """Whether the content comes out of the cache."""
        return self._data is not None

    @property
    def size(self) -> int:
        """Of the open data file, in bytes."""
        return self._data.stat().st_size if self._data else 0

    def open(self, folder: Path) -> bool:
        """Look for a cache that covers all files as they are now.

        Returns:
            Whether there is one; it is used from now on.
        """
        wanted = {file_name(path, self.root): (path, *file_state(path, row)) for path, row in self.rows.items()}
        for index in sorted(folder.glob(f"{self.kind.name}-{_DIGITS}.index")):
            data = index.with_suffix(".data")
            try:
                place = _places(index, data, self.kind, wanted)
            except _NotUsableError as error:
                self.obstacle = str(error)
                continue
            except FileNotFoundError:  # deleted by another run just now
                continue
            except Exception:
                # numpy reads a zip file and, in it, a header of Python source: a damaged one raises whatever comes up.
                self.obstacle = "was damaged"
                continue
            for file in (index, data):
                with contextlib.suppress(OSError):  # somebody else's cache
                    os.utime(file)
            self._data, self._place, self._unread, self._bytes = data, place, set(place), None
            with contextlib.suppress(OSError):
                self._in_use = in_use(data)
            return True
        return False

    def expected_size(self) -> int:
        """Bytes that the cache will take, estimated from a few files that are spread over the list."""
        paths = list(self.rows)
        sampled = [paths[i * len(paths) // _SAMPLED] for i in range(_SAMPLED)] if len(paths) > _SAMPLED else paths
        sizes = [_aligned(_decoded(self.kind, path, self.rows[path]).nbytes) for path in sampled]
        return round(len(paths) * sum(sizes) / len(sizes))

    def write(self, folder: Path, *, workers: int, check: Callable[[], None]) -> None:
        """Decode all files into the folder, with a progress bar.

        Args:
            folder: must exist.
            workers: processes that decode; 0 = this one.
            check: called again and again; what it raises ends the work.

        Raises:
            DataError: a file that cannot be used, with its row.
            OSError: the folder cannot be written to, or the disk is full. Nothing is left behind in any case.
        """
        names = [file_name(path, self.root) for path in self.rows]
        states = np.array([file_state(path, row) for path, row in self.rows.items()], np.int64).reshape(-1, 3)
        offsets, shapes, checksums, position = [], [], [], 0
        content = {"names": np.frombuffer(b"\0".join(names), np.uint8), "states": states}
        target = self._free_name(folder, content)
        # The inner one gets its name first: an index is never seen without its data.
        with (
            whole_file(target.with_name(f"{target.name}.index"), flush=True) as index,
            whole_file(target.with_name(f"{target.name}.data"), flush=True) as data,
        ):
            with open(data, "wb") as file, tqdm(total=len(names), unit="file", desc="decoding", disable=None) as bar:
                for array in self._all(workers):
                    check()
                    offsets.append(position)
                    shapes.append([*array.shape, *[-1] * (3 - array.ndim)])
                    stored = np.ascontiguousarray(array, self.kind.dtype)
                    checksums.append(zlib.crc32(stored.data))
                    file.write(stored.data)
                    position = _aligned(file.tell())
                    file.write(bytes(position - file.tell()))
                    bar.update()
            with open(index, "wb") as file:
                content |= {"offsets": np.array(offsets), "shapes": np.array(shapes), "checksums": np.array(checksums)}
                content |= {"size": np.array(position), "format": np.array(FORMAT)}
                np.savez(file, **content, digest=np.frombuffer(_digest(self.kind, content), np.uint8))
        for old in sorted(folder.glob(f"{self.kind.name}-{_DIGITS}.*"), reverse=True):  # the index before its data
            if old.stem != target.name and old.is_file():
                with contextlib.suppress(PermissionError):  # mapped by another run, on Windows; or somebody else's
                    old.unlink(missing_ok=True)

    def _free_name(self, folder: Path, content: Mapping[str, np.ndarray]) -> Path:
        """The path of a new cache, without a suffix: data that another run may have mapped keep their name."""
        for generation in itertools.count():
            numbered = {**content, "generation": np.array(generation)} if generation else content
            digits = _digest(self.kind, numbered).hex()[: len(_DIGITS) // len(_DIGIT)]
            target = folder / f"{self.kind.name}-{digits}"
            if not target.with_name(f"{target.name}.data").is_file():
                return target
        raise AssertionError  # there are more generations than files

    def _all(self, workers: int) -> Iterator[np.ndarray]:
        import torch

        from bss.utils.loading import Loader
        from bss.utils.processes import worth_starting

        pieces = Loader(
            _Files(self.kind, list(self.rows.items())),
            batch_size=_FILES_A_PIECE,
            num_workers=worth_starting(workers, len(self.rows)),
            collate_fn=list,
            generator=torch.Generator(),  # else the loader would draw from the global one
        )
        for piece in pieces:
            yield from (tensor.numpy() for tensor in piece)


class _Files:
    """Map-style data set of the files' content, as tensors: those go to the parent through shared memory."""

    def __init__(self, kind: Kind, rows: Sequence[tuple[Path, str]]):
        self.kind, self.rows = kind, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> "Tensor":
        import torch

        return torch.from_numpy(np.ascontiguousarray(_decoded(self.kind, *self.rows[index])))


def _decoded(kind: Kind, path: Path, row: str) -> np.ndarray:
    with _named(row):
        return kind.decode(path)


@contextlib.contextmanager
def _named(row: str) -> Iterator[None]:
    """Add the list and row that name a file to an error about it."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error} ({row})") from error


class Cache:
    """The decoded files of a data set, and the folder that they are kept in.

    Args:
        folder: of the cache; see :func:`cache_folder`.
        root: the data root.
        files: what is decoded: kind -> file -> the list and row that name it.
    """

    def __init__(self, folder: Path, root: Path, files: Mapping[Kind, Mapping[Path, str]]):
        self.folder, self.root = folder, root
        self.parts = {kind: Decoded(kind, root, rows) for kind, rows in files.items()}

    def __getitem__(self, kind: Kind) -> Decoded:
        return self.parts[kind]

    def open(self) -> bool:
        """Use what is in the folder; whether everything is."""
        opened = [part.is_open or part.open(self.folder) for part in self.parts.values()]
        return all(opened)

    def build(self, *, workers: int = 0, check: Callable[[], None] = lambda: None) -> str:
        """Use what is in the folder and build what is missing. Without room or permission all works, but slower.

        Args:
            workers: processes that decode; 0 = this one.
            check: called again and again; what it raises ends the work.

        Returns:
            A line for the user: what there is, or a warning with the reason and the way out.

        Raises:
            DataError: a file that cannot be used, with its row.
        """
        began = time.perf_counter()
        if not self.open():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with only_one(self.folder / LOCK, check) as lock:
                    # Nobody else writes here while it is held, so what is half-written is of a build that died.
                    sweep(self.folder, **({"older": 0} if lock.real else {}))
                    if problem := self._build(workers, check):
                        return problem
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                return self._without("the disk became full" if full else error.strerror or str(error))
        size = _size(sum(part.size for part in self.parts.values()))
        seconds = time.perf_counter() - began
        anew = "".join(
            f"; {kind.name} built anew: the cache there {part.obstacle}"
            for kind, part in self.parts.items()
            if part.obstacle
        )
        return f"decoded files: {size} in {self.folder} (ready in {seconds:.1f} s){anew}"

    def _build(self, workers: int, check: Callable[[], None]) -> str | None:
        if self.open():  # another process was faster
            return None
        _forget_unused(self.folder)
        with contextlib.suppress(OSError):
            (self.folder / ROOT).write_text(f"{self.root.resolve()}\n", encoding="utf-8", errors="surrogateescape")
        missing = [part for part in self.parts.values() if not part.is_open]
        needed, free = sum(part.expected_size() for part in missing), shutil.disk_usage(self.folder).free
        if needed > FREE_SHARE * free:
            return self._without(f"about {_size(needed)} are needed and {_size(free)} are free")
        for part in missing:
            part.write(self.folder, workers=workers, check=check)
        self.open()
        return None

    def _without(self, reason: str) -> str:
        return (
            f"warning: no cache of decoded files in {self.folder} ({reason}): every epoch decodes them anew; "
            "choose another place with --set cache=DIR, or none with --set cache=none"
        )


def cache_folder(choice: str, root: Path) -> Path:
    """Where a recipe's ``cache`` is: ``"auto"`` = beside the data, else in a folder of its own below that path."""
    if choice == "auto":
        return root / ".bss-cache"
    return Path(choice) / f"{root.resolve().name}-{zlib.crc32(bytes(root.resolve())):08x}"


def file_name(path: Path, root: Path) -> bytes:
    """A file's name in the index: its path below the root, or the whole one of a file elsewhere."""
    text, above = str(path), f"{root}{os.sep}"
    return os.fsencode(text[len(above) :] if text.startswith(above) else text)


def file_state(path: Path, row: str) -> tuple[int, int, int]:
    """Size in bytes, time of change in nanoseconds, and a checksum of the bytes at the head, middle and tail.

    A program that edits a file and sets its time back, or a copy with ``cp -p`` of another one, changes the last alone.

    Raises:
        DataError: the file is gone.
    """
    with _named(row), reading(path), open(path, "rb", buffering=0) as file:
        found, checksum = os.fstat(file.fileno()), 0
        size = found.st_size
        for place in sorted({0, max(0, (size - _SAMPLED_BYTES) // 2), max(0, size - _SAMPLED_BYTES)}):
            file.seek(place)
            checksum = zlib.crc32(file.read(_SAMPLED_BYTES), checksum)
    return size, found.st_mtime_ns, checksum


class _Place(NamedTuple):
    """Where an array lies in the data file: its first byte, its shape and the CRC-32 of its bytes."""

    offset: int
    shape: tuple[int, ...]
    checksum: int


class _NotUsableError(Exception):
    """An index that is no use here; the text says why, as the end of a sentence about the cache."""


def _places(
    index: Path, data: Path, kind: Kind, wanted: Mapping[bytes, tuple[Path, int, int, int]]
) -> dict[Path, _Place]:
    """The place of every wanted file.

    Raises:
        _NotUsableError: the index or the size of the data file is not as it was written, or it is of another format; a
            wanted file is not in it, or was changed.
    """
    with np.load(index, allow_pickle=False) as archive:
        content = dict(archive)
    if content["format"] != FORMAT:
        raise _NotUsableError("was made by another version")
    if content.pop("digest").tobytes() != _digest(kind, content) or content["size"] != data.stat().st_size:
        raise _NotUsableError("was damaged")
    names = content["names"].tobytes().split(b"\0")
    columns = (content[name].tolist() for name in ("states", "offsets", "shapes", "checksums"))
    place = {}
    for name, state, offset, shape, checksum in zip(names, *columns, strict=True):
        path, *now = wanted.get(name, (None,))
        if now == state:
            place[path] = _Place(offset, tuple(length for length in shape if length >= 0), checksum)
    if len(place) < len(wanted):
        raise _NotUsableError(f"lacked {len(wanted) - len(place)} of {len(wanted)} files as they are now")
    return place


def _digest(kind: Kind, content: Mapping[str, np.ndarray]) -> bytes:
    """A hash of what an index says, and of the kind of content that it says it of."""
    digest = hashlib.sha256(f"{kind.name} {kind.dtype}".encode())
    for name, array in content.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def _forget_unused(folder: Path) -> None:
    """Delete what no run has used for long."""
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError, PermissionError):
            ours = file.suffix in (".data", ".index") and file.is_file()
            if ours and time.time() - file.stat().st_mtime > KEPT_DAYS * 86400:
                file.unlink()


def _size(size: int) -> str:
    return tqdm.format_sizeof(size, "B")
