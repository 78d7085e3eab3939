"""Command, versions, commit and machine of a run: what is needed to judge a number later."""

import functools
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import bss


def _program(path: Path) -> list[str]:
    """How a program was started: a script by its name, a package by ``python -m``."""
    return ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name]


def environment() -> dict[str, Any]:
    """What is needed to judge a number later: command, versions, commit, machine."""
    packages = ("torch", "torchvision", "torchaudio", "numpy", "soundfile", "soxr", "scikit-learn")
    return {
        "command": [*_program(Path(sys.argv[0])), *sys.argv[1:]],
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            "bss": bss.__version__,
            **{name: _version(name) for name in packages},
        },
        "machine": {"system": platform.platform(), "processor": platform.machine(), "cores": os.cpu_count()},
        "host": platform.node(),
        "job": os.environ.get("SLURM_JOB_ID"),
    }


@functools.cache  # a comparison asks for every run
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache  # what this process runs is what it has imported by then
def _commit() -> str | None:
    """The commit of the source tree that this file lies in, with ``+changes`` when it differs; None outside of git."""
    source = Path(__file__).resolve().parents[2]
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
