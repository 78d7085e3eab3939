"""Runs of a study: the command of one comparison, and its raw values from beginning to end."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.study.raw import ROOT


@dataclass(frozen=True)
class Comparison:
    """One ``python -m bss compare`` of a study.

    Attributes:
        task: stem of the task's file in this folder.
        arms: which.
        seeds: the first and the last.
        assignments: values of ``--set``.
    """

    task: str
    arms: Sequence[str]
    seeds: tuple[int, int]
    assignments: Sequence[str]

    def command(self, data: str, out: str, jobs: int) -> list[str]:
        """What runs it, without the interpreter."""
        first, last = self.seeds
        return [
            *("-m", "bss", "compare", f"benchmarks/study/{self.task}.py"),
            *("--arms", ",".join(self.arms), "--seeds", f"{first}-{last}", "--updates", "equal"),
            *(word for assignment in self.assignments for word in ("--set", assignment)),
            *("--jobs", str(jobs), "--device", "cpu", "--data-root", data, "--out", out),
        ]

    def described(self) -> str:
        """The command as a plan and a page show it."""
        return " ".join(["python", *self.command("DATA", "OUT", 2)])


@dataclass(frozen=True)
class Machine:
    """Where and on what comparisons are run.

    Attributes:
        data: the data root.
        runs: where run folders go until their raw values are written.
        code: the checkout whose package is run.
        jobs: processes, of one thread each.
        processor: its name in words, which run folders do not hold.
    """

    data: Path
    runs: Path
    code: Path
    jobs: int
    processor: str

    def compare(self, comparison: Comparison, out: Path) -> None:
        """Run a comparison; what is there already goes on."""
        self._python(comparison.command(str(self.data), str(out), self.jobs))

    def raw_values(self, comparison: Comparison, folder: Path, name: Path) -> None:
        """Run a comparison, write its raw values beside its plan, and delete the run folders.

        Args:
            comparison: it.
            folder: holds ``plan.json``.
            name: of the folder of the runs, below ``runs``.
        """
        out = self.runs / name
        self.compare(comparison, out)
        raw = ["-m", "benchmarks.study.raw", str(out), "--out", str(folder), "--processor", self.processor]
        self._python(raw)
        shutil.rmtree(out)

    def _python(self, arguments: Sequence[str]) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.code)}
        subprocess.run([sys.executable, *arguments], cwd=self.code, env=environment, check=True)


def add_machine(parser: argparse.ArgumentParser) -> None:
    """The flags of a :class:`Machine`."""
    parser.add_argument("--data-root", type=Path, required=True, help="see README.md in this folder")
    parser.add_argument("--runs", type=Path, required=True, help="where run folders go")
    parser.add_argument("--code", type=Path, default=ROOT, help="checkout that is run, default: this one")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--processor", required=True, help="its name in words, which run folders do not hold")


def machine_of(flags: argparse.Namespace) -> Machine:
    """What :func:`add_machine` was given."""
    data, runs, code = (path.resolve() for path in (flags.data_root, flags.runs, flags.code))
    return Machine(data, runs, code, flags.jobs, flags.processor)
