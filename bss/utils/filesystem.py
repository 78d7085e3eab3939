"""Whole files and folders only, flushed before they get their name, and one process at a time."""

import contextlib
import os
import re
import shutil
import tempfile
import time
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bss.utils.errors import DataError, RunFolderError


def flush(file: BinaryIO) -> None:
    """Put a file on the disk before it gets its name: after a power cut the name could else be that of a hole."""
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """A new file with a name of its own, which is gone at the end unless it was renamed."""
    descriptor, name = tempfile.mkstemp(suffix=".tmp", dir=folder)
    os.close(descriptor)
    os.chmod(name, 0o644)  # other users of the data may read it
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path, check: Callable[[], None]) -> Iterator[None]:
    """Run the block in one process at a time; where locks do not exist, several build the same and none is harmed."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        while True:
            check()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.2)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        with contextlib.suppress(OSError):
            # Closing is not enough: a worker process that outlives this block has a copy.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]+\.tmp(\.[A-Za-z0-9]+)?")  # the names that whole_file and whole_folder give


_LEFT_BEHIND = 3600  # seconds; nothing here takes that long, so an older one belongs to a run that was killed


# ---- whole files only ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` to write to; it gets the target's name only if the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty temporary folder beside ``target``, which gets the target's name only if the block ends well.

    A folder that is there already is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        building.chmod(0o755)
        yield building
        if target.exists():
            shutil.rmtree(target)
        os.replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Delete the half-written files and folders that a killed run left behind over an hour ago."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _TEMPORARY.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):  # deleted by another run just now
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    shutil.rmtree(entry.path) if is_folder else os.unlink(entry.path)


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole: under a temporary name, flushed, renamed."""
    temporary = path.with_name(f"{path.name}.tmp")
    with open(temporary, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def flush_folder(path: Path) -> None:
    """Put a rename on the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_LOCKS: set[int] = set()  # descriptors of the folders that this process has locked


def _forget_locks() -> None:
    """In a forked process: a lock lasts as long as any copy of its descriptor is open.

    A killed run's loader processes live on for seconds, and would keep the run from being continued.
    """
    while _LOCKS:
        os.close(_LOCKS.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _unlock(descriptor: int) -> None:
    if descriptor in _LOCKS:  # a fork has none
        _LOCKS.remove(descriptor)
        os.close(descriptor)


def locked(owner: object, path: Path) -> Callable[[], None]:
    """Lock a folder until the function that is returned is called, the owner is gone or the process ends, however."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return lambda: None
    descriptor = os.open(path, os.O_RDONLY)
    _LOCKS.add(descriptor)
    unlock = weakref.finalize(owner, _unlock, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        unlock()
        raise RunFolderError(f"{path} is in use by another run: pass another --out") from None
    except OSError:  # a file system without locks
        unlock()
    return unlock


_ZIP_HEAD = b"PK\x03\x04"


def load_tensors(path: str | os.PathLike) -> Any:
    """What ``torch.save`` wrote, on the CPU: tensors, numbers, strings and plain containers; nothing in it is run.

    ``torch.load`` with ``weights_only=True``, behind a check of the sizes: it unpacks a member of a zip file, however
    long the member claims to be.

    Raises:
        DataError: naming the file, for anything else that it may hold, and for a damaged file.
    """
    import torch

    try:
        with open(path, "rb") as file:
            packed = file.read(len(_ZIP_HEAD)) == _ZIP_HEAD
        if packed:
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(member.file_size for member in archive.infolist())
            # torch.save does not compress, so the members are together smaller than the file.
            if unpacked > os.path.getsize(path):
                raise DataError(f"{path}: refused, it unpacks to {unpacked} bytes: torch.save writes no such file")
        return torch.load(path, map_location="cpu", weights_only=True)
    except DataError:
        raise
    except Exception as error:
        # torch names a dozen exception types for damaged files, and explains at length how to switch the check off.
        detail = str(error).partition("\n")[0][:160]
        raise DataError(f"{path}: not a readable pt file of tensors ({type(error).__name__}: {detail})") from error
