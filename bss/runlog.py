"""The run folder: what a run was, what it measured and what it learned, written so that a crash loses nothing."""

import contextlib
import json
import os
import platform
import subprocess
import sys
import warnings
import weakref
import zipfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bss.errors import RunFolderError
from bss.safe_pickle import load_tensors
from bss.scores import ScoreTable
from bss.tensorboard import EVENTS

_NAMES = (
    *("config.json", "metrics.jsonl", "summary.json", "scores.npz", "scores.raw"),
    *("best.pt", "last.pt", "previous.pt", "done"),
)
FILES = (*_NAMES, *(f"{name}.tmp" for name in _NAMES))
"""Every file that a run writes, the half-written ones of a crash included; nothing else in the folder is touched."""


class RunFolder:
    """Writes one run: ``config.json``, ``metrics.jsonl``, ``scores.npz``, ``best.pt``, ``last.pt``, ``summary.json``.

    Whole files are written under another name, flushed to the disk and then renamed, so a reader never sees half of
    one. ``done`` is written last: a folder without it holds an unfinished run. As long as the object lives the folder
    is locked.

    Args:
        path: the folder; made when missing.
        overwrite: whether a run that is already there is replaced; an unfinished one that was itself begun with
            ``overwrite`` goes on, since it is the one that replaced the other.
        resume: whether a finished run is fine: there is nothing left to do.

    Attributes:
        path: the folder.
        finished: whether it holds a finished run, which is left as it is.
        scored: number of epochs whose scores are kept in it, see :meth:`append_scores`.

    Raises:
        RunFolderError: the folder holds a finished run, or is in use by one; here and from every method: it cannot be
            written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False, resume: bool = False):
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"cannot make the run folder {self.path}: {error.strerror}"
            raise RunFolderError(f"{reason}; pass another --out") from error
        with self._writing():
            self._unlock = _locked(self, self.path)
            if overwrite and not self._overwritten():
                self.clear()
            self.finished = (self.path / "done").exists()
            self.scored = 0
        if self.finished and not resume:
            metrics = self.path / "metrics.jsonl"
            epochs = len(metrics.read_text().splitlines()) if metrics.exists() else 0
            self.close()
            raise RunFolderError(
                f"{self.path} holds a finished run ({epochs} epoch{'s' * (epochs != 1)}): "
                "pass another --out, or --set overwrite=true"
            )

    def _overwritten(self) -> bool:
        """Whether the run here is unfinished and has replaced another one already."""
        try:
            config = json.loads((self.path / "config.json").read_text())
            return bool(config["recipe"]["overwrite"]) and not (self.path / "done").exists()
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def clear(self) -> None:
        """Remove what a run wrote, the half-written files of a crash included; nothing else is touched."""
        with self._writing():
            for path in (*(self.path / name for name in FILES), *self.path.glob(EVENTS)):
                path.unlink(missing_ok=True)

    def summary(self) -> dict[str, Any]:
        """The summary of a finished run.

        Raises:
            RunFolderError: it is damaged or missing.
        """
        try:
            return json.loads((self.path / "summary.json").read_text())
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{self.path} is marked as done, but its summary.json is damaged or missing ({error}): pass another "
                "--out, or --set overwrite=true"
            ) from error

    # ---- continuing an unfinished run ------------------------------------------------------------------------------

    def checkpoint(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, ``last.pt`` or the one before it; None where there is neither.

        A file that is torn or damaged is recognised by its checksums: a warning names it, and the one before is used.

        Raises:
            RunFolderError: there are checkpoints, and none is whole.
        """
        paths = [path for name in ("last.pt", "previous.pt") if (path := self.path / name).exists()]
        for path in paths:
            try:
                return read_checkpoint(path)
            except RunFolderError as error:
                reason = str(error)
                warnings.warn(f"{reason}; looking for the checkpoint before it", stacklevel=2)
        if paths:
            raise RunFolderError(f"{reason}, and there is no whole one before it: pass another --out")
        return None

    def rewind(self, *, epochs: int, scored: int) -> list[dict[str, Any]]:
        """Cut what was written after a checkpoint, which will be written again.

        Args:
            epochs: finished epochs at the checkpoint.
            scored: scored epochs at the checkpoint, see :meth:`append_scores`.

        Returns:
            The rows of ``metrics.jsonl`` of the finished epochs.

        Raises:
            RunFolderError: the folder has less than the checkpoint says.
        """
        metrics, raw = self.path / "metrics.jsonl", self.path / "scores.raw"
        with self._writing():
            lines = metrics.read_text().splitlines()[:epochs] if metrics.exists() else []
            try:
                rows = [json.loads(line) for line in lines]
            except ValueError as error:
                raise RunFolderError(f"{metrics} is damaged ({error}): pass another --out") from error
            size = _score_row(self._num_samples()).itemsize * scored if scored else 0
            if len(rows) < epochs or (size and (not raw.exists() or raw.stat().st_size < size)):
                raise RunFolderError(
                    f"{self.path} has less than its checkpoint says ({len(rows)} of {epochs} epochs): files of the run "
                    "were removed. Pass another --out, or delete it"
                )
            _replace_text(metrics, "".join(f"{line}\n" for line in lines))
            if raw.exists():
                os.truncate(raw, size)
            self.scored = scored
        return rows

    def note_continuation(self, where: dict[str, Any]) -> None:
        """Add to ``config.json`` that, from where, and by which command and versions the run is continued."""
        config = json.loads((self.path / "config.json").read_text())
        config.setdefault("continued", []).append({**where, **environment()})
        self._write_json("config.json", config)

    def _num_samples(self) -> int:
        return json.loads((self.path / "config.json").read_text())["samples"]["train"]

    # ---- writing ---------------------------------------------------------------------------------------------------

    def write_config(self, config: dict[str, Any]) -> None:
        """Save what the run is; versions, commit and command line are added."""
        self._write_json("config.json", {**config, **environment()})

    def append_metrics(self, row: dict[str, Any]) -> None:
        """One line an epoch, on disk when this returns."""
        with self._writing(), open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def append_scores(self, epoch: int, table: ScoreTable, difficulty: torch.Tensor) -> None:
        """Keep the scores that the order of ``epoch`` was made from."""
        row = np.zeros(1, _score_row(table.num_samples))
        row["epoch"] = epoch
        for name, values in (("similarity", table.similarity), ("loss", table.loss), ("difficulty", difficulty)):
            row[name] = values.float().cpu().numpy()
        with self._writing(), open(self.path / "scores.raw", "ab") as file:
            file.write(row.tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.scored += 1

    def pack_scores(self, names: list[str], labels: torch.Tensor) -> None:
        """Turn the scores kept so far into ``scores.npz``.

        Arrays: ``similarity``, ``loss`` and ``difficulty``, each (scored epochs, N) float32; ``epoch``, the first epoch
        that each row was used for (online scores of the last epoch: would be used for); ``name`` and ``label`` (N,).
        """
        raw, kind = self.path / "scores.raw", _score_row(len(names))
        rows = np.memmap(raw, kind, "r") if raw.exists() else np.zeros(0, kind)
        with self._writing("scores.npz.tmp"):
            with open(self.path / "scores.npz.tmp", "wb") as file:
                scores = {name: rows[name] for name in ("epoch", "similarity", "loss", "difficulty")}
                np.savez(file, **scores, name=np.array(names, dtype=np.str_), label=labels.cpu().numpy())
            os.replace(self.path / "scores.npz.tmp", self.path / "scores.npz")

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> None:
        """``torch.save`` under a temporary name, flush, rename; the file loads with ``weights_only=True``.

        The ``last.pt`` before the newest one is kept as ``previous.pt``.
        """
        temporary = self.path / f"{name}.tmp"
        with self._writing(temporary.name):
            with open(temporary, "wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            if name == "last.pt" and (self.path / name).exists():
                os.replace(self.path / name, self.path / "previous.pt")
            os.replace(temporary, self.path / name)
            _flush_folder(self.path)

    def finish(self, summary: dict[str, Any]) -> None:
        """Save the summary, mark the run as finished, drop what only a continued run needs, and unlock the folder."""
        self._write_json("summary.json", summary)
        with self._writing():
            (self.path / "done").touch()
            for name in ("scores.raw", "previous.pt"):
                (self.path / name).unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Unlock the folder."""
        self._unlock()

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        with self._writing(f"{name}.tmp"):
            _replace_text(self.path / name, json.dumps(content, indent=2) + "\n")

    @contextlib.contextmanager
    def _writing(self, temporary: str | None = None) -> Iterator[None]:
        """Name the folder when writing fails, and remove the half of a file that a full disk is left with."""
        try:
            yield
        except RunFolderError:
            raise
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as RuntimeError
            if temporary is not None:
                with contextlib.suppress(OSError):
                    (self.path / temporary).unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise RunFolderError(
                f"cannot write to the run folder {self.path}: {reason}; what is already there stays. "
                "Make room, or pass another --out"
            ) from error


class FollowerFolder:
    """What processes other than the first are handed: they compute the same and write nothing."""

    finished = False
    scored = 0

    def __init__(self, path: Path):
        self.path = Path(path)

    def write_config(self, config: dict[str, Any]) -> None:
        """Nothing."""

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Nothing."""

    def append_scores(self, epoch: int, table: ScoreTable, difficulty: torch.Tensor) -> None:
        """Nothing."""

    def pack_scores(self, names: list[str], labels: torch.Tensor) -> None:
        """Nothing."""

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> None:
        """Nothing."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU; nothing in the file is run.

    Raises:
        RunFolderError: it is torn, damaged, or no checkpoint. (``torch.load`` alone takes damaged weights silently: it
            does not look at the checksums that the file holds.)
    """
    try:
        state = load_tensors(path)
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise RunFolderError(f"{path} is damaged (in {damaged})")
    except RunFolderError:
        raise
    except Exception as error:
        # Nothing but the file went in; zipfile names a dozen exception types for damaged ones.
        detail = str(error).removeprefix(f"{path}: ").partition("\n")[0][:120]
        raise RunFolderError(f"{path} is torn or damaged ({type(error).__name__}: {detail})") from error
    if not isinstance(state, dict):
        raise RunFolderError(f"{path} is no checkpoint: it holds a {type(state).__name__}")
    return state


def _replace_text(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with open(temporary, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _flush_folder(path: Path) -> None:
    """Put a rename on the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _score_row(num_samples: int) -> np.dtype:
    """One scored epoch in ``scores.raw``; it can be read back even after the process was killed."""
    values = (np.float32, num_samples)
    return np.dtype([("epoch", np.int64), ("similarity", *values), ("loss", *values), ("difficulty", *values)])


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


def _locked(owner: object, path: Path) -> Callable[[], None]:
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


def _program(path: Path) -> list[str]:
    """How a program was started: a script by its name, a package by ``python -m``."""
    return ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name]


def environment() -> dict[str, Any]:
    """What is needed to judge a number later: command, versions, commit, machine."""
    packages = ("bss", "torch", "torchvision", "torchaudio", "numpy", "soundfile", "soxr", "scikit-learn")
    return {
        "command": [*_program(Path(sys.argv[0])), *sys.argv[1:]],
        "commit": _commit(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the source tree that this file lies in, with ``+changes`` when it differs; None outside of git."""
    source = Path(__file__).resolve().parents[1]
    if not (source / ".git").exists():  # installed, perhaps into a virtual environment inside somebody's repository
        return None
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return head.stdout.strip() or None
