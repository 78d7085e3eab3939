"""Which process has a folder: ``claim.json``, where locks do not exist or end at the host, and to say who has it.

A process takes the claim before it writes anything else, by a creation that fails if the file is there. While it has
it, a thread writes a heartbeat into it. Another process takes the claim over if the one that has it is known to be dead
(one of this machine), or if its heartbeat stands still while the other one watches: clocks of two hosts are never
compared. One that was paused and has lost its claim meanwhile finds another id in the file, and stops.
"""

import contextlib
import functools
import json
import os
import platform
import secrets
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bss.utils.errors import FileHeldError, RunHeldError
from bss.utils.filesystem import Lock, delete, patiently, rename, try_lock

NAME = "claim.json"
"""The file in the folder."""


BEAT = 10.0
"""Seconds between two heartbeats."""


PATIENCE = 60.0
"""A heartbeat that stands still for so many seconds is that of a dead process, a lost host, or one that is paused."""


LONG_AGO = 600.0
"""A heartbeat that is so many seconds old needs no watching: no two clocks of one file system differ by as much."""


_BINARY = getattr(os, "O_BINARY", 0)  # without it Windows writes lines that end otherwise, and are longer


_TAKING_OVER = f".{Path(NAME).stem}.takeover.tmp"  # for as long as it is there, nobody else takes the claim over


# ---- who has it ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Holder:
    """The process that a claim names.

    Attributes:
        host: name of its machine.
        job: of SLURM; None = none.
        pid: its number there.
        id: random.
        boot: one start of one machine; pids of another tell nothing.
        pids: the namespace of its pid, since a container counts its own processes.
        started: when it started, in the machine's own count, since pids are used again.
    """

    host: str
    job: str | None
    pid: int
    id: str
    boot: str = ""
    pids: str = ""
    started: str = ""

    def __str__(self) -> str:
        job = f", job {self.job}" if self.job else ""
        return f"{self.host}{job} (pid {self.pid})"

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, since it was started last."""
        return (self.host, self.boot) == (platform.node(), _boot())

    @property
    def is_visible(self) -> bool:
        """Whether its pid means a process that this one can look up."""
        return self.is_here and bool(self.pids) and self.pids == _pid_namespace()

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; asked of a visible one."""
        return bool(self.started) and _started(self.pid) == self.started


def this_process() -> Holder:
    """What a claim of this process says, with an id of its own."""
    pid = os.getpid()
    job = os.environ.get("SLURM_JOB_ID")
    return Holder(platform.node(), job, pid, secrets.token_hex(8), _boot(), _pid_namespace(), _started(pid) or "")


def holder_of(content: bytes) -> Holder | None:
    """The process that the content of a claim names; None where it is damaged, or not written yet."""
    try:
        fields = json.loads(content)
        named = {name: fields[name] for name in ("host", "job", "pid", "id", "boot", "pids", "started")}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    job, pid = named.pop("job"), named.pop("pid")
    whole = all(isinstance(value, str) for value in named.values()) and type(pid) is int
    return Holder(job=job, pid=pid, **named) if whole and isinstance(job, str | None) else None


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{uuid.getnode():x}"  # not Linux: the network card, which does not tell two starts apart


def _pid_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """When a process of this machine started, in ticks; None if there is none, or only what its parent has to reap."""
    try:
        # Field 22; the name in parentheses may hold spaces and parentheses itself.
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return None if status[0] in "ZX" else status[19]
    except (OSError, IndexError):
        return None


# ---- having it -----------------------------------------------------------------------------------------------------


@dataclass
class _Held:
    """A claim's file, as its thread and its finalizer know it: neither may keep the claim itself alive."""

    path: Path
    holder: Holder
    file: int
    process: int
    over: threading.Event = field(default_factory=threading.Event)

    def is_ours(self) -> bool:
        """Whether the file still names this process.

        Raises:
            OSError: it cannot be read, though it is there.
        """
        holder = holder_of(_read(self.path) or b"")
        return holder is not None and holder.id == self.holder.id

    def beat(self) -> None:
        """Show a sign of life: into the open file, so that another one's claim of the same name is never written to."""
        with contextlib.suppress(OSError):
            os.lseek(self.file, 0, os.SEEK_SET)
            os.write(self.file, _content(self.holder))
            os.fsync(self.file)  # or a network file system keeps it for itself

    def keep_beating(self) -> None:
        while not self.over.wait(BEAT):
            self.beat()


def _release(held: _Held, lock: Lock) -> None:
    if os.getpid() != held.process:  # a fork has no claim
        return
    held.over.set()
    os.close(held.file)
    with contextlib.suppress(OSError):
        if held.is_ours():
            delete(held.path)
    lock.release()


class Claim:
    """A claim that :func:`take` has got, held until it is released, nothing refers to it, or the process ends.

    It is a context manager as well, which releases it.

    Attributes:
        folder: what is claimed.
    """

    def __init__(self, folder: Path, held: _Held, lock: Lock):
        self.folder, self._held = folder, held
        # Daemonic: a process ends whether or not it has released its claims.
        threading.Thread(target=held.keep_beating, daemon=True, name="claim").start()
        # Its own finalizer, not __del__: that may run when the modules that it needs are gone.
        self.release = weakref.finalize(self, _release, held, lock)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def check(self) -> None:
        """Make sure that the claim is still this process's, before something is written.

        Raises:
            RunHeldError: another process has taken it over, or it is gone.
            OSError: the folder cannot be read.
        """
        if self._held.is_ours():
            return
        other = holder_of(_read(self._held.path) or b"")
        by = f"taken over by {other}" if other else f"taken away ({NAME} is gone or damaged)"
        raise RunHeldError(
            f"{self.folder} was {by}, since this process gave no sign of life for {PATIENCE:.0f} s or more: it stops, "
            "and writes nothing more there"
        )


def take(folder: Path, *, tell: Callable[[str], None] = lambda text: None) -> Claim:
    """Claim a folder for this process.

    Where the claim is another one's and it does not show whether that one lives, its heartbeat is watched, for
    :data:`PATIENCE` seconds at most.

    Args:
        folder: it exists.
        tell: gets a line for the user before a wait.

    Raises:
        RunHeldError: a process has it that lives.
        OSError: the folder cannot be written to.
    """
    path = folder / NAME
    lock = try_lock(folder)
    if lock is None:
        raise _held_by(folder, holder_of(_read(path) or b""))
    own = this_process()
    try:
        file = _created(path, own)
        while file is None:
            silent = _watched(folder, path, lock, tell)
            file = _created(path, own) if silent is None else _taken_over(path, silent, own)
    except BaseException:
        lock.release()
        raise
    return Claim(folder, _Held(path, own, file, os.getpid()), lock)


def _held_by(folder: Path, holder: Holder | None) -> RunHeldError:
    who = holder or "another process"
    return RunHeldError(f"{folder} is being trained by {who}: wait for it, or pass another --out")


def _created(path: Path, own: Holder) -> int | None:
    """Make the claim; its open file, or None if there is one already."""
    try:
        file = patiently(lambda: os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | _BINARY, 0o666), path)
    except FileExistsError:
        return None
    try:
        content = _content(own)
        while content:  # the last room of a disk takes a part, without an error: the next part has one
            content = content[os.write(file, content) :]
        os.fsync(file)
    except BaseException:  # a full disk, Ctrl-C
        os.close(file)
        delete(path)
        raise
    return file


def _watched(folder: Path, path: Path, lock: Lock, tell: Callable[[str], None]) -> bytes | None:
    """The content of a claim whose process is gone, for all one can see from here; None if the claim itself is gone.

    Raises:
        RunHeldError: its process lives.
    """
    began, first = time.monotonic(), _read(path)
    if first is None:
        return None
    holder = holder_of(first)
    if holder is not None and holder.is_visible:
        if holder.is_alive:
            raise _held_by(folder, holder)
        return first
    # A process of this machine would have the lock, where there are locks.
    if (holder is not None and holder.is_here and lock.real) or _age(path) > LONG_AGO:
        return first
    tell(f"{folder} was being trained by {holder or 'another process'}: looking whether it still is, {PATIENCE:.0f} s")
    while time.monotonic() - began < PATIENCE:
        time.sleep(min(0.5, BEAT))
        now = _read(path)
        if now is None:
            return None
        if now != first:
            raise _held_by(folder, holder_of(now))
    return first


def _taken_over(path: Path, silent: bytes, own: Holder) -> int | None:
    """Put this process's claim in the place of one whose process is gone.

    Of several that saw the same silence one gets it: what was seen is compared once more while nobody else can replace
    it.

    Returns:
        Its open file; None if another process was faster.

    Raises:
        RunHeldError: the other process has it open, where that keeps it from being replaced.
    """
    mutex, temporary = path.with_name(_TAKING_OVER), path.with_name(f".{path.stem}.{own.id}.tmp")
    try:
        os.close(os.open(mutex, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        # It is there for a moment only, unless that very moment was somebody's last.
        if _age(mutex) > PATIENCE:
            delete(mutex)
        time.sleep(0.05)
        return None
    try:
        if _read(path) != silent:
            return None
        temporary.write_bytes(_content(own))
        rename(temporary, path)
        return os.open(path, os.O_RDWR | _BINARY)
    except FileNotFoundError:  # another process has the folder already, and has swept it
        return None
    except FileHeldError as error:  # Windows, through a network: the silent process still has its claim open
        raise _held_by(path.parent, holder_of(silent)) from error
    finally:
        temporary.unlink(missing_ok=True)
        delete(mutex)


def _read(path: Path) -> bytes | None:
    """The content of a claim; None if there is none."""
    try:
        # Opened anew each time, which is when a network file system looks at the server.
        return patiently(path.read_bytes, path)
    except FileNotFoundError:
        return None


def _age(path: Path) -> float:
    """Seconds since a file was changed, by the clock that its file system sets its times with; 0 if it is gone."""
    probe = path.with_name(f".{path.stem}.{secrets.token_hex(8)}.tmp")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except OSError:
        return 0.0
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _content(holder: Holder) -> bytes:
    """The file's bytes; always as many, so that a heartbeat overwrites the one before it."""
    fields: dict[str, Any] = {**asdict(holder), "heartbeat": f"{time.time():.3f}"}
    return (json.dumps(fields, indent=2) + "\n").encode()
