"""The exploratory part of the study of the paper's form: small training lists, and every arm tuned by itself.

    python -m benchmarks.study.tuned --data-root DATA --runs RUNS --hours 1 --processor "Intel Xeon"

``results/paper-form-tuned/plan.json`` says what is run, and was committed before. A case is one set with one size of
its training list, and a folder. Its settings are tried first, by all arms and with seeds that nothing else has, and the
validation results are kept in ``choice.csv``; then every arm is run with the setting that it chose, and the raw values
of the arms that share one lie in that setting's folder.
"""

import argparse
import csv
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.study.estimates import Estimate, difference, estimate, spread
from benchmarks.study.paper_tables import SETS, ends, name_of, sides, table_head, table_row
from benchmarks.study.pooled import PRIMARY, values_of
from benchmarks.study.raw import PLAN, RESULTS, ROWS, Study, read
from benchmarks.study.running import Comparison, Machine, add_machine, machine_of

TUNED = RESULTS / "paper-form-tuned"
CHOICE = "choice.csv"


class Setting(NamedTuple):
    """What an arm chooses: the weight decay, and how many times the set's updates."""

    weight_decay: float
    times: int

    @property
    def folder(self) -> str:
        return f"weight_decay={self.weight_decay:g},updates=x{self.times}"

    @property
    def words(self) -> str:
        """For the page."""
        return f"{self.weight_decay:g}, x{self.times}"


class Tried(NamedTuple):
    """A run whose setting is tried: its validation accuracy at the chosen epoch, a fraction."""

    arm: str
    setting: Setting
    seed: int
    accuracy: float


@dataclass(frozen=True)
class Plan:
    """What ``plan.json`` says."""

    said: Mapping[str, Any]

    @cached_property
    def settings(self) -> list[Setting]:
        """In the order in which ties are broken: the first wins."""
        grid = self.said["settings"]
        return [Setting(decay, times) for decay in grid["weight_decay"] for times in grid["times_updates"]]

    @cached_property
    def cases(self) -> list["Case"]:
        """In the order in which they are run."""
        return [Case(self, name, samples) for name in self.said["sets"] for samples in self.said["train_samples"]]


@dataclass(frozen=True)
class Case:
    """One set with one size of its training list; ``samples`` is None where all are used."""

    plan: Plan
    set: str
    samples: int | None

    @property
    def folder(self) -> str:
        return f"{self.set}-{self.samples or 'all'}"

    def comparison(self, setting: Setting, arms: Sequence[str], seeds: str) -> Comparison:
        """Arms with one setting.

        Args:
            setting: it.
            arms: which.
            seeds: ``"choice_seeds"`` or ``"seeds"`` of the plan.
        """
        said = self.plan.said
        own = said["sets"][self.set]
        assignments = [*own["set"], *said["everywhere"]]
        if self.samples is not None:
            assignments.append(f"train_samples={self.samples}")
        assignments += [f"weight_decay={setting.weight_decay:g}", f"updates={own['updates'] * setting.times}"]
        first, last = said[seeds]
        return Comparison(own["task"], arms, (first, last), assignments)


def read_plan(folder: Path = TUNED) -> Plan:
    return Plan(json.loads((folder / PLAN).read_text(encoding="utf-8")))


# ---- the choice ------------------------------------------------------------------------------------------------------


def choose(tried: Iterable[Tried], settings: Sequence[Setting]) -> dict[str, Setting]:
    """Every arm's setting: the one with the highest mean validation accuracy, of equal ones the first.

    Args:
        tried: all runs.
        settings: in the order in which ties are broken.

    Raises:
        ValueError: an arm has not tried all of them, each with the same seeds.
    """
    found: dict[str, dict[Setting, dict[int, float]]] = {}
    for run in tried:
        found.setdefault(run.arm, {}).setdefault(run.setting, {})[run.seed] = run.accuracy
    chosen = {}
    for arm, of_setting in found.items():
        seeds = {frozenset(values) for values in of_setting.values()}
        if of_setting.keys() != set(settings) or len(seeds) != 1:
            raise ValueError(f"{arm} has not tried each of the {len(settings)} settings with the same seeds")
        # Rounded, since sums of equal fractions differ in their last digit; max keeps the first of equal ones.
        chosen[arm] = max(settings, key=lambda each, tries=of_setting: round(fmean(tries[each].values()), 9))
    return chosen


def tries_of(runs: Path, setting: Setting) -> Iterator[Tried]:
    """What the finished runs below a folder say; one that was not finite counts as 0.

    Raises:
        RunFolderError: a run is unfinished or damaged.
    """
    from bss.compare.runs import find_folders, read_run
    from bss.training.run_folder import read_json

    for path in find_folders([runs]):
        failed = (read_json(path, "summary.json").get("failed") or {}).get("how")
        if failed == "not finite":
            yield Tried(
                read_json(path, "arm.json")["arm"], setting, read_json(path, "config.json")["recipe"]["seed"], 0.0
            )
            continue
        run = read_run(path)
        accuracy = run.rows[run.summary["chosen_epoch"]]["val"]["accuracy"]["all"]
        yield Tried(run.arm, setting, run.config["recipe"]["seed"], accuracy)


def write_choice(path: Path, tried: Iterable[Tried]) -> None:
    """Write ``choice.csv``, a row per run, sorted."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("arm", "weight_decay", "times_updates", "seed", "val_accuracy"))
        writer.writerows((run.arm, *run.setting, run.seed, run.accuracy) for run in sorted(tried))


def read_choice(path: Path) -> list[Tried]:
    """Read ``choice.csv``."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Tried(
                row["arm"],
                Setting(float(row["weight_decay"]), int(row["times_updates"])),
                int(row["seed"]),
                float(row["val_accuracy"]),
            )
            for row in csv.DictReader(file)
        ]


def sharing(chosen: Mapping[str, Setting]) -> dict[Setting, list[str]]:
    """Setting -> the arms that chose it."""
    arms: dict[Setting, list[str]] = {}
    for arm, setting in chosen.items():
        arms.setdefault(setting, []).append(arm)
    return arms


# ---- running ---------------------------------------------------------------------------------------------------------


def try_settings(case: Case, folder: Path, machine: Machine) -> None:
    """Run all arms with every setting, and keep what they reached on validation."""
    tried: list[Tried] = []
    for setting in case.plan.settings:
        out = machine.runs / case.folder / "choice" / setting.folder
        machine.compare(case.comparison(setting, case.plan.said["arms"], "choice_seeds"), out)
        tried += tries_of(out, setting)
    folder.mkdir(parents=True, exist_ok=True)
    write_choice(folder / CHOICE, tried)
    shutil.rmtree(machine.runs / case.folder / "choice")


def run_chosen(case: Case, folder: Path, machine: Machine) -> None:
    """Run every arm with the setting that it chose, where that was not done yet."""
    said = case.plan.said
    for setting, arms in sharing(choose(read_choice(folder / CHOICE), case.plan.settings)).items():
        out, comparison = folder / setting.folder, case.comparison(setting, arms, "seeds")
        if (out / ROWS).exists():
            continue
        first, last = said["seeds"]
        analysis = {"arms": arms, "seeds": list(range(first, last + 1))}
        plan = {"format": 1, "protocol": f"../../{PLAN}", "analysis": analysis, "command": comparison.described()}
        out.mkdir(exist_ok=True)
        (out / PLAN).write_text(json.dumps(plan, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        machine.raw_values(comparison, out, Path(case.folder, setting.folder))


def run(folder: Path, machine: Machine, *, hours: float) -> int:
    """Run the cases in order until the time is over.

    Args:
        folder: the study's.
        machine: where they are run.
        hours: after which no further case begins.

    Returns:
        How many cases are left.
    """
    until = time.monotonic() + 3600 * hours
    left = [case for case in read_plan(folder).cases if not is_whole(case, folder)]
    while left and time.monotonic() < until:
        print(f"{len(left)} cases to go; {left[0].folder}", flush=True)
        if not (folder / left[0].folder / CHOICE).exists():
            try_settings(left[0], folder / left[0].folder, machine)
        run_chosen(left[0], folder / left[0].folder, machine)
        left.pop(0)
    return len(left)


# ---- what was found --------------------------------------------------------------------------------------------------


def is_whole(case: Case, folder: Path = TUNED) -> bool:
    """Whether all arms of a case have raw values."""
    own = folder / case.folder
    if not (own / CHOICE).exists():
        return False
    chosen = choose(read_choice(own / CHOICE), case.plan.settings)
    return all((own / setting.folder / ROWS).exists() for setting in chosen.values())


def chosen_runs(case: Case, folder: Path = TUNED) -> dict[str, tuple[Setting, Study]]:
    """Arm -> the setting that it chose, and the raw values that hold its runs; of a whole case."""
    own = folder / case.folder
    chosen = choose(read_choice(own / CHOICE), case.plan.settings)
    studies = {setting: read(own / setting.folder) for setting in sharing(chosen)}
    return {arm: (setting, studies[setting]) for arm, setting in chosen.items()}


CONTRASTS = [
    ("spl-paper-replacement", "uniform-replacement"),
    ("spl-paper-replacement", "spl-paper-replacement-reversed"),
    ("spl-paper-replacement", "uniform"),
]


def accuracies(case: Case, folder: Path = TUNED) -> dict[str, dict[int, float]]:
    """Arm -> seed -> test accuracy in %, of a whole case."""
    return {arm: values_of(study, arm, PRIMARY) for arm, (_, study) in chosen_runs(case, folder).items()}


def differences(case: Case, folder: Path = TUNED) -> list[Estimate]:
    """Each of :data:`CONTRASTS` in a whole case, in points."""
    values = accuracies(case, folder)
    return [
        estimate([values[arm][seed] - values[control][seed] for seed in sorted(values[arm])])
        for arm, control in CONTRASTS
    ]


def whole_cases(folder: Path = TUNED) -> list[Case]:
    """The cases of the plan of which all arms were run."""
    return [case for case in read_plan(folder).cases if is_whole(case, folder)]


def table(folder: Path = TUNED) -> str:
    """A row per whole case: accuracy and setting of every arm, and the differences, as the page has them.

    Raises:
        ValueError: runs were made on two commits.
    """
    plan, whole = read_plan(folder), whole_cases(folder)
    if not whole:
        return "Not run yet."
    arms, made = plan.said["arms"], []
    lines = table_head(["set", "training samples", *arms, *map(name_of, CONTRASTS)])
    for case in whole:
        runs, values = chosen_runs(case, folder), accuracies(case, folder)
        made += [study.constants for _, study in runs.values()]
        cells = [f"{spread([v / 100 for v in values[arm].values()])} ({runs[arm][0].words})" for arm in arms]
        row = [case.set, str(case.samples or "all"), *cells, *map(difference, differences(case, folder))]
        lines.append(table_row(row))
    commits = {each["commit"] for each in made}
    if len(commits) > 1:
        raise ValueError(f"the cases were run on {len(commits)} commits: {', '.join(sorted(commits))}")
    count = f"{len(whole)} of {len(plan.cases)} cases"
    return "\n".join([*lines, "", f"{count}, commit {made[0]['commit'][:7]}, {made[0]['processor']}."])


def in_short(folder: Path = TUNED) -> str:
    """The README's lines on it."""
    whole = whole_cases(folder)
    if not whole:
        return "- **Short training lists, every arm tuned**: not run yet."
    found = {(case.set, case.samples): differences(case, folder) for case in whole}
    controls = {"uniform-replacement": "equal weights", "spl-paper-replacement-reversed": "the reversed ones"}
    said = []
    for place, (_, control) in enumerate(CONTRASTS):
        means = {where: each[place] for where, each in found.items()}
        said.append(
            f"  minus {controls.get(control, 'uniform order')} {ends(means.values())} points ({sides(means, _by_set)})"
        )
    planned = len(read_plan(folder).cases)
    count = f"all {planned}" if len(whole) == planned else f"{len(whole)} of {planned}"
    count += " cases of a set and a number of training samples (in brackets)"
    return (
        "- **Short training lists, every arm tuned by itself**, exploratory: the paper's weights, drawn with\n"
        f"  replacement, in {count}, 95 % intervals without any adjustment:\n" + ",\n".join(said) + "."
    )


def _by_set(cases: Sequence[tuple[str, int | None]]) -> str:
    """Sets, each with its numbers of training samples."""
    numbers: dict[str, list[str]] = {}
    for name, samples in cases:
        numbers.setdefault(name, []).append(str(samples or "all"))
    return ", ".join(f"{SETS.get(name, name)} ({', '.join(those)})" for name, those in numbers.items())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=TUNED, help="the study's folder, with its plan")
    add_machine(parser)
    parser.add_argument("--hours", type=float, default=2.0, help="after which no further case begins")
    flags = parser.parse_args(arguments)
    left = run(flags.results.resolve(), machine_of(flags), hours=flags.hours)
    print(f"{left} cases are left")


if __name__ == "__main__":
    main()
