"""The run folder: what a run was, what it measured and what it learned, written so that a crash loses nothing."""

import json
import os
import platform
import subprocess
import sys
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
    written last: a folder without it holds an unfinished run.

    Args:
        path: the folder; made when missing.
        overwrite: whether a run that is already there is replaced.

    Raises:
        RunFolderError: the folder holds a run, or cannot be made.
    """

    def __init__(self, path: Path, *, overwrite: bool = False):
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot make the run folder {self.path}: {error.strerror}; pass another --out"
            ) from error
        epochs = self._epochs_on_disk()
        finished, begun = (self.path / "done").exists(), epochs or (self.path / "last.pt").exists()
        if (finished or begun) and not overwrite:
            state = "a finished run" if finished else "an unfinished run"
            raise RunFolderError(
                f"{self.path} holds {state} ({epochs} epochs): pass another --out, or --set overwrite=true"
            )
        for name in FILES:
            (self.path / name).unlink(missing_ok=True)
        self._scored_epochs: list[int] = []

    def write_config(self, config: dict[str, Any]) -> None:
        """Save what the run is; versions, commit and command line are added."""
        self._write_json("config.json", {**config, **environment()})

    def append_metrics(self, row: dict[str, Any]) -> None:
        """One line a epoch, on disk when this returns."""
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def append_scores(self, epoch: int, table: ScoreTable, difficulty: torch.Tensor) -> None:
        """Keep the scores that the order of ``epoch`` was made from."""
        rows = torch.stack((table.similarity, table.loss, difficulty.to(table.device))).float().cpu().numpy()
        with open(self.path / "scores.raw", "ab") as file:
            file.write(rows.tobytes())
        self._scored_epochs.append(epoch)

    def pack_scores(self, names: list[str], labels: torch.Tensor) -> None:
        """Turn the scores kept so far into ``scores.npz``.

        Arrays: ``similarity``, ``loss`` and ``difficulty``, each (scored epochs, N) float32; ``epoch``,
        the first epoch that each row was used for; ``name`` and ``label`` (N,).
        """
        raw = self.path / "scores.raw"
        shape = (len(self._scored_epochs), 3, len(names))
        rows = np.memmap(raw, np.float32, "r", shape=shape) if self._scored_epochs else np.zeros(shape, np.float32)
        temporary = self.path / "scores.npz.tmp"
        with open(temporary, "wb") as file:
            np.savez(
                file,
                similarity=rows[:, 0],
                loss=rows[:, 1],
                difficulty=rows[:, 2],
                epoch=np.array(self._scored_epochs, np.int64),
                name=np.array(names, dtype=np.str_),
                label=labels.cpu().numpy(),
            )
        os.replace(temporary, self.path / "scores.npz")
        raw.unlink(missing_ok=True)

    def save_checkpoint(self, name: str, state: dict[str, Any]) -> None:
        """``torch.save`` under a temporary name, then rename; the file loads with ``weights_only=True``."""
        temporary = self.path / f"{name}.tmp"
        torch.save(state, temporary)
        os.replace(temporary, self.path / name)

    def load_checkpoint(self, name: str) -> dict[str, Any]:
        """A checkpoint of this run, on the CPU."""
        return torch.load(self.path / name, map_location="cpu", weights_only=True)

    def finish(self, summary: dict[str, Any]) -> None:
        """Save the summary and mark the run as finished."""
        self._write_json("summary.json", summary)
        (self.path / "done").touch()

    def _epochs_on_disk(self) -> int:
        metrics = self.path / "metrics.jsonl"
        return len(metrics.read_text().splitlines()) if metrics.exists() else 0

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        temporary = self.path / f"{name}.tmp"
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(temporary, self.path / name)


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
