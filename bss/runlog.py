"""The run folder: what a run was, what it measured and what it learned, written so that a crash loses nothing."""

import contextlib
import json
import os
import platform
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bss.errors import RunFolderError
from bss.scores import ScoreTable

_NAMES = ("config.json", "metrics.jsonl", "summary.json", "scores.npz", "scores.raw", "best.pt", "last.pt", "done")
FILES = (*_NAMES, *(f"{name}.tmp" for name in _NAMES))
"""Every file that a run writes, the half-written ones of a crash included; nothing else in the folder is touched."""


class RunFolder:
    """Writes one run: ``config.json``, ``metrics.jsonl``, ``scores.npz``, ``best.pt``, ``last.pt``, ``summary.json``.

    Whole files are written under another name and then renamed, so a reader never sees half of one. ``done`` is
    written last: a folder without it holds an unfinished run. As long as the object lives the folder is locked.

    Args:
        path: the folder; made when missing.
        overwrite: whether a run that is already there is replaced.

    Raises:
        RunFolderError: the folder holds a run or is in use by one; here and from every method: it cannot be written.
    """

    def __init__(self, path: Path, *, overwrite: bool = False):
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"cannot make the run folder {self.path}: {error.strerror}"
            raise RunFolderError(f"{reason}; pass another --out") from error
        with self._writing():
            self._unlock = _locked(self, self.path)
            epochs = self._epochs_on_disk()
            finished, begun = (self.path / "done").exists(), epochs or (self.path / "last.pt").exists()
            if (finished or begun) and not overwrite:
                state = "a finished run" if finished else "an unfinished run"
                raise RunFolderError(
                    f"{self.path} holds {state} ({epochs} epoch{'s' * (epochs != 1)}): "
                    "pass another --out, or --set overwrite=true"
                )
            for name in FILES:
                (self.path / name).unlink(missing_ok=True)

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
            raw.unlink(missing_ok=True)

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> None:
        """``torch.save`` under a temporary name, then rename; the file loads with ``weights_only=True``."""
        temporary = self.path / f"{name}.tmp"
        with self._writing(temporary.name):
            torch.save(state, temporary)
            os.replace(temporary, self.path / name)

    def load_checkpoint(self, name: str) -> dict[str, Any]:
        """A checkpoint of this run, on the CPU."""
        return torch.load(self.path / name, map_location="cpu", weights_only=True)

    def finish(self, summary: dict[str, Any]) -> None:
        """Save the summary, mark the run as finished and unlock the folder."""
        self._write_json("summary.json", summary)
        with self._writing():
            (self.path / "done").touch()
        self.close()

    def close(self) -> None:
        """Unlock the folder."""
        self._unlock()

    def _epochs_on_disk(self) -> int:
        metrics = self.path / "metrics.jsonl"
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        temporary = self.path / f"{name}.tmp"
        with self._writing(temporary.name):
            temporary.write_text(json.dumps(content, indent=2) + "\n")
            os.replace(temporary, self.path / name)

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


def _score_row(num_samples: int) -> np.dtype:
    """One scored epoch in ``scores.raw``; it can be read back even after the process was killed."""
    values = (np.float32, num_samples)
    return np.dtype([("epoch", np.int64), ("similarity", *values), ("loss", *values), ("difficulty", *values)])


def _locked(owner: object, path: Path) -> Callable[[], None]:
    """Lock a folder until the function that is returned is called, the owner is gone or the process ends, however."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return lambda: None
    descriptor = os.open(path, os.O_RDONLY)
    unlock = weakref.finalize(owner, os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        unlock()
        raise RunFolderError(f"{path} is in use by another run: pass another --out") from None
    except OSError:  # a file system without locks
        unlock()
    return unlock


def environment() -> dict[str, Any]:
    """What is needed to judge a number later: command, versions, commit, machine."""
    packages = ("bss", "torch", "torchvision", "torchaudio", "numpy", "soundfile", "soxr", "scikit-learn")
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
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
