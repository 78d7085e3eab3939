"""The study of the paper's form: which cells it has, and running those that are not there yet.

    python -m benchmarks.study.paper_form plan  # a plan.json per cell, committed before any run
    python -m benchmarks.study.paper_form run --data-root DATA --runs RUNS --hours 2 --processor "Intel Xeon"

``results/paper-form/plan.json`` says what is run and tested; nothing of it is repeated here. A cell is one regime on
one set: a comparison of its own, whose raw values are written as it ends. ``run`` goes on with the first cell that has
none, and begins no cell after ``--hours``. All cells of the regimes are run on one commit, which stands in each cell's
``constants.json``, and those of the other arms on one; :mod:`benchmarks.study.pooled` refuses others. ``--code`` names
a checkout of that commit, where this one has moved on.

    python -m benchmarks.study.paper_form plan --fresh labels-40

plans what the protocol's rules ask for where a contrast holds: the same regime with fresh seeds, below ``fresh/``.
``run`` takes such cells first.
"""

import argparse
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.study.raw import PLAN, RESULTS, ROWS
from benchmarks.study.running import Comparison, Machine, add_machine, machine_of
from bss.compare.arms import find

STUDY = RESULTS / "paper-form"
OTHER_ARMS = "other-arms"
FRESH = "fresh"
"""The folder of the regimes that are run again."""

FRESH_SEEDS = range(500, 540)
"""Those that the rules in ``plan.json`` name in words."""


@dataclass(frozen=True)
class Protocol:
    """What ``results/paper-form/plan.json`` says."""

    said: Mapping[str, Any]

    @cached_property
    def seeds(self) -> list[int]:
        first, last = self.said["seeds"]
        return list(range(first, last + 1))

    @cached_property
    def primary(self) -> list[tuple[str, str]]:
        """The contrasts of the family, as (arm, control)."""
        return [(arm, control) for arm, control in self.said["primary"]["contrasts"]]

    @cached_property
    def cells(self) -> list["Cell"]:
        """All cells of the family and of the other arms, in the order in which they are run."""
        return [Cell(self, regime, name) for regime in self.said["order"] for name in self.said["sets"]]

    def again(self, regime: str) -> list["Cell"]:
        """The cells of a regime with fresh seeds."""
        return [Cell(self, regime, name, fresh=True) for name in self.said["sets"]]


@dataclass(frozen=True)
class Cell:
    """One regime on one set; ``fresh`` where a contrast held, and other seeds decide."""

    protocol: Protocol
    regime: str
    set: str
    fresh: bool = False

    @property
    def folder(self) -> Path:
        """Of its plan and its raw values, seen from the study's."""
        own = Path(self.regime) / self.set
        return FRESH / own if self.fresh else own

    @property
    def seeds(self) -> list[int]:
        return list(FRESH_SEEDS) if self.fresh else self.protocol.seeds

    @property
    def arms(self) -> list[str]:
        if self.fresh:
            return list(dict.fromkeys(arm for contrast in self.protocol.primary for arm in contrast))
        if self.regime == OTHER_ARMS:
            others = self.protocol.said["other_arms"]
            return [*others["on_every_set"], *others["arms"][self.set]]
        return self.protocol.said["arms"]

    def assignments(self) -> Iterator[str]:
        """The values of ``--set``."""
        said = self.protocol.said
        own = said["sets"][self.set]
        yield from (*own["set"], *said["everywhere"])
        arms = find(self.arms)
        for assignment in said["regimes"].get(self.regime, ()):
            if any(arm.is_reached_by(assignment.partition("=")[0]) for arm in arms):  # else it would be refused
                yield assignment
        share = said["share_of_updates"].get(self.regime, 1.0)
        yield f"updates={int(own['updates'] * share)}"

    @property
    def comparison(self) -> Comparison:
        """What runs it."""
        task = self.protocol.said["sets"][self.set]["task"]
        return Comparison(task, self.arms, (self.seeds[0], self.seeds[-1]), list(self.assignments()))

    def plan(self) -> dict[str, Any]:
        """Its ``plan.json``: what :mod:`benchmarks.study.raw` holds the runs against."""
        return {
            "format": 1,
            "protocol": "../" * len(self.folder.parts) + PLAN,
            "analysis": {"arms": self.arms, "seeds": self.seeds},
            "command": self.comparison.described(),
        }


def read_protocol(folder: Path = STUDY) -> Protocol:
    return Protocol(json.loads((folder / PLAN).read_text(encoding="utf-8")))


def planned(folder: Path = STUDY) -> list[Cell]:
    """The cells that have a plan, in the order in which they are run: fresh seeds decide, so they come first."""
    protocol = read_protocol(folder)
    again = [cell for regime in protocol.said["order"] for cell in protocol.again(regime)]
    return [*(cell for cell in again if (folder / cell.folder / PLAN).is_file()), *protocol.cells]


def write_plans(cells: Iterable[Cell], folder: Path = STUDY) -> None:
    """Write the plan of each of these cells."""
    for cell in cells:
        (folder / cell.folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(cell.plan(), indent=2, ensure_ascii=False)
        (folder / cell.folder / PLAN).write_text(text + "\n", encoding="utf-8")


def run(folder: Path, machine: Machine, *, hours: float) -> int:
    """Run the cells without raw values, in order, until the time is over.

    Args:
        folder: the study's, with the plans; raw values are written into it.
        machine: where they are run.
        hours: after which no further cell begins.

    Returns:
        How many cells are left.
    """
    until = time.monotonic() + 3600 * hours
    left = [cell for cell in planned(folder) if not (folder / cell.folder / ROWS).exists()]
    while left and time.monotonic() < until:
        print(f"{len(left)} cells to go; {left[0].folder}", flush=True)
        machine.raw_values(left[0].comparison, folder / left[0].folder, left[0].folder)
        left.pop(0)
    return len(left)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    planning = commands.add_parser("plan", help="write the plan of every cell")
    planning.add_argument("--fresh", metavar="REGIME", help="write those of this regime with fresh seeds instead")
    running = commands.add_parser("run", help="run the cells that have no raw values")
    running.add_argument("--results", type=Path, default=STUDY, help="the study's folder, with the plans")
    add_machine(running)
    running.add_argument("--hours", type=float, default=2.0, help="after which no further cell begins")
    flags = parser.parse_args(arguments)
    if flags.command == "plan":
        protocol = read_protocol()
        if flags.fresh is not None and flags.fresh not in protocol.said["regimes"]:
            planning.error(f"no regime is called {flags.fresh!r}; there are {', '.join(protocol.said['regimes'])}")
        write_plans(protocol.cells if flags.fresh is None else protocol.again(flags.fresh))
        return
    left = run(flags.results.resolve(), machine_of(flags), hours=flags.hours)
    print(f"{left} cells are left")


if __name__ == "__main__":
    main()
