"""Files and folders that are whole or not there, locks that one process holds, and reading with errors for users."""

import contextlib
import errno
import importlib.util
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from bss.utils.errors import DataError, FileHeldError, first_line

T = TypeVar("T")

WINDOWS = importlib.util.find_spec("fcntl") is None
"""Whether files and locks behave as on Windows; asked of what it lacks, which a simulation can take away elsewhere."""

# ---- reading -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
    """Turn an OSError of the block into a DataError that names the file.

    Raises:
        DataError: ``PATH: cannot be read: REASON``.
    """
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


class ForeignObjectError(DataError):
    """A file of ``torch.save`` with an object in it that is more than plain data."""


_ZIP_HEAD = b"PK\x03\x04"


def load_tensors(path: str | os.PathLike) -> object:
    """Read what ``torch.save`` wrote, onto the CPU: tensors, numbers, strings and plain containers; no code is run.

    It is ``torch.load`` with ``weights_only=True``, behind a check of the sizes: ``torch.load`` unpacks a member of a
    zip file, however long the member claims to be.

    Raises:
        ForeignObjectError: it holds something else, which is named, with its place.
        DataError: naming the file, for a damaged one.
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
        # torch names a dozen exception types for damaged files, and explains at length how to switch the check off,
        # which lets a file run code: of that nothing is said.
        text = str(error)
        if found := re.search(r"GLOBAL ([^\s(]+)", text):
            from bss.utils.foreign import foreign_object  # with pickletools, for an error alone

            said = foreign_object(path, found[1])
            raise ForeignObjectError(f"{path}: not a readable pt file of tensors: {said}") from None
        text = text.rpartition("WeightsUnpickler error:")[2].strip()
        detail = f"{type(error).__name__}: {first_line(text)}"
        if "Unsupported operand" in text:
            detail = "pickled in a way that torch.save does not use by default; save it again without pickle_protocol"
        raise DataError(f"{path}: not a readable pt file of tensors ({detail})") from None


# ---- files that other programs have open ----------------------------------------------------------------------------

_PAUSES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 2.0)  # seconds between two tries, five in all


def patiently(work: Callable[[], T], path: Path) -> T:
    """Do something with a file, again after a pause where another program may have it open; for five seconds in all.

    Windows neither replaces nor deletes an open file, and a virus scanner, a cloud folder or a report opens each file
    that was just written. Some network file systems say that it is busy.

    Args:
        work: what is done; it can be repeated.
        path: the file, for the error.

    Raises:
        FileHeldError: the other program has not closed it meanwhile.
        OSError: any other.
    """
    for pause in _PAUSES:
        try:
            return work()
        except OSError as error:
            if not _may_be_held(error):
                raise
        time.sleep(pause)
    try:
        return work()
    except OSError as error:
        if not _may_be_held(error):
            raise
        raise FileHeldError(
            error.errno,
            f"{path} is open in another program (a viewer, a virus scanner, a cloud folder), or write-protected: close "
            "it there, and repeat the command",
            str(path),
        ) from error


def _may_be_held(error: OSError) -> bool:
    # Elsewhere than on Windows a lack of permission does not go away by waiting.
    return error.errno in (errno.EBUSY, errno.ETXTBSY) or (WINDOWS and isinstance(error, PermissionError))


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name, in the place of the file that has it: :func:`patiently`.

    Raises:
        FileHeldError: another program has one of the two open.
    """
    half_written = _TEMPORARY.fullmatch(source.name) and target.exists()  # the user knows the other one
    patiently(lambda: os.replace(source, target), target if half_written else source)


def delete(path: Path) -> None:
    """Delete a file if it is there: :func:`patiently`.

    Raises:
        FileHeldError: another program has it open.
    """
    patiently(lambda: path.unlink(missing_ok=True), path)


# ---- whole files only ----------------------------------------------------------------------------------------------

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]+\.tmp(\.[A-Za-z0-9]+)?")  # the names that whole_file and whole_folder give


_LEFT_BEHIND = 3600  # seconds; nothing here is written for so long, so an older one belongs to a run that was killed


@contextlib.contextmanager
def whole_file(target: Path, *, flush: bool = False) -> Iterator[Path]:
    """Hand out a temporary path beside ``target``; what is written there gets the target's name if the block ends well.

    Args:
        target: the file to write; one that is there is replaced, and its folder is made when missing.
        flush: whether the content is on the disk before it gets its name, and the name when the block is left. Without,
            a power cut can leave the name of a file whose content was never written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # Random, not the pid: processes of two hosts that share a disk may have the same one.
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.tmp{target.suffix}")
    try:
        yield temporary
        if flush:
            flush_file(temporary)
        rename(temporary, target)
        if flush:
            flush_folder(target.parent)
    finally:
        with contextlib.suppress(PermissionError):  # open in another program; sweep() finds it later
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: Path, *, replace: bool = True) -> Iterator[Path]:
    """Hand out an empty temporary folder beside ``target``, which gets the target's name if the block ends well.

    Args:
        target: the folder to write; its parent is made when missing.
        replace: whether a folder that is there already is replaced.

    Raises:
        OSError: ``replace`` is false and a folder that is not empty is there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    before = building.with_name(f"{building.name.removesuffix('.tmp')}_before.tmp")
    try:
        building.chmod(0o755)
        yield building
        if replace and target.exists():
            # Moved away, not deleted: until the new folder has its name there is a whole one, if not under this name.
            rename(target, before)
        rename(building, target)
    except BaseException:
        if before.exists() and not target.exists():
            rename(before, target)
        raise
    finally:
        for folder in (building, before):
            shutil.rmtree(folder, ignore_errors=True)


def replace_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8, and onto the disk."""
    with whole_file(path, flush=True) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def flush_file(path: Path) -> None:
    """Put the content of a file on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Put the names of a folder on the disk, after a file was renamed; where the system cannot, nothing is done."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sweep(folder: Path, *, older: float = _LEFT_BEHIND) -> None:
    """Delete the half-written files and folders that a killed run left behind.

    Args:
        folder: where to look, not below it; one that is not there is clean.
        older: only what was written so many seconds ago, by default an hour: a younger one may be another run's work.
    """
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _TEMPORARY.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):  # deleted by another run just now
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > older:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    shutil.rmtree(entry.path) if is_folder else os.unlink(entry.path)


# ---- one process at a time -----------------------------------------------------------------------------------------

_LOCKS: set[int] = set()  # descriptors of what this process has locked


def _forget_locks() -> None:
    """Close the copies of all locks in a forked process: a lock lasts as long as any copy of its descriptor is open.

    A killed run's loader processes live on for seconds, and would keep the run from being continued.
    """
    while _LOCKS:
        os.close(_LOCKS.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _unlock(descriptor: int, made: Path | None = None) -> None:
    if descriptor in _LOCKS:  # a fork has none
        _LOCKS.remove(descriptor)
        os.close(descriptor)
        if made is not None:
            # Windows deletes no open file: what the next process has locked meanwhile stays.
            with contextlib.suppress(OSError):
                made.unlink()


class Lock:
    """A lock that :func:`try_lock` has got, held until it is released, nothing refers to it, or the process ends.

    It is a context manager as well, which releases it.

    Attributes:
        real: whether the file system has locks; without, everybody gets one.
    """

    def __init__(self, descriptor: int, *, real: bool, made: Path | None = None):
        self.real = real
        # Its own finalizer, not __del__: that may run when the modules that it needs are gone.
        self.release = weakref.finalize(self, _unlock, descriptor, made)

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def try_lock(path: Path, *, shared: bool = False, make: bool = True) -> Lock | None:
    """Lock a file or a folder against other processes, and against other locks of this one; None if somebody has it.

    Where locks do not exist (on some network file systems) everybody gets one. A file that is made may be used by
    whoever may write to its folder.

    Args:
        path: a folder that exists, which leaves no trace (on Windows, which opens no folder, a file ``.lock`` in it
            while it is locked); or a file, made when missing: network file systems lock files alone.
        shared: a file that exists is locked against those alone who do not share it; not on Windows.
        make: whether a file is made when missing.
    """
    made = path / ".lock" if WINDOWS and path.is_dir() else None
    file = made or path
    descriptor = os.open(file, os.O_RDONLY) if shared or not make or file.is_dir() else _opened_for_all(file)
    _LOCKS.add(descriptor)  # first: another thread may fork now
    try:
        _lock(descriptor, shared=shared)
    except BlockingIOError:
        _unlock(descriptor)
        return None
    except (ImportError, OSError):  # a file system without locks
        return Lock(descriptor, real=False, made=made)
    return Lock(descriptor, real=True, made=made)


def in_use(path: Path) -> Lock | None:
    """Say that this process reads a file, for as long as the lock lives; others may read it, and nobody deletes it.

    On Windows, where an open file cannot be deleted in any case, it is None.
    """
    return None if WINDOWS else try_lock(path, shared=True)


def _opened_for_all(file: Path) -> int:
    """A file opened for a lock and made when missing, which may be written to by those who may write to its folder.

    A umask would keep the group of a folder that is shared on purpose from its lock.
    """
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:  # made by another program, or before; a local file system locks what can be read
        return os.open(file, os.O_RDONLY)
    if hasattr(os, "fchmod"):
        mode, wanted = os.fstat(descriptor).st_mode, file.parent.stat().st_mode & 0o066
        if wanted & ~mode:
            with contextlib.suppress(OSError):  # somebody else's
                os.fchmod(descriptor, stat.S_IMODE(mode) | wanted)
    return descriptor


def _lock(descriptor: int, *, shared: bool = False) -> None:
    """Lock an open file for as long as it is open, or the process lives.

    Raises:
        BlockingIOError: somebody has it.
        ImportError, OSError: there are no locks.
    """
    if not WINDOWS:
        import fcntl

        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return
    if shared:
        raise OSError("Windows has no locks that are shared")
    msvcrt = importlib.import_module("msvcrt")  # by its name: mypy knows it on Windows alone
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # the first byte, also of an empty file
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error


def only_one(path: Path, busy: Callable[[], None]) -> Lock:
    """Wait for the lock of a file or a folder, see :func:`try_lock`.

    Args:
        path: what is locked.
        busy: called again and again while somebody else has the lock; what it raises ends the wait.
    """
    while (lock := try_lock(path)) is None:
        busy()
        time.sleep(0.2)
    return lock
