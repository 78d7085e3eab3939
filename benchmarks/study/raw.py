"""The raw values of a study: one row per run in a small file, and once what all of its runs share.

    python -m benchmarks.study.raw RUNS --out benchmarks/study/results/NAME --processor "Intel Xeon, AVX-512 and AMX"

RUNS is the --out of ``python -m bss compare``. NAME holds ``plan.json``, which was committed before the runs began. Two
files are added to it, the same bytes whenever they are made from the same runs:

``runs.csv.gz``
    A row per run: ``arm``, ``seed``, ``fold`` and ``failed`` (only where a run has one), ``updates``, ``epochs``,
    ``chosen_epoch`` (from 0), and the test results as ``head.metric.choice``: ``audio.macro_f1.last`` is that of the
    audio head with the weights of the last epoch. Numbers are those of the run folder, digit by digit; what diverged,
    and every result of a run that failed, is an empty cell.
``constants.json``
    The SHA-256 of the plan and of the rows, and what is one for all runs: commit, versions, machine, task, test list,
    recipe; of each arm its sampler, method and the recipe fields in which it differs.
"""

import argparse
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bss.compare.pairs import Pair

from bss.compare.raw_values import Row, packed, row_of, table, without_folders
from bss.compare.raw_values import read as unpacked

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
ROWS, CONSTANTS, PLAN = "runs.csv.gz", "constants.json", "plan.json"
ONE_FOR_ALL = ("commit", "versions", "machine", "device", "threads", "processes", "workers", "deterministic")
OWN = ("seed", "fold")
"""Recipe fields that are a run's own."""


@dataclass(frozen=True)
class Study:
    """The raw values of a study, as they are committed.

    Attributes:
        plan: what ``plan.json`` holds.
        constants: what ``constants.json`` holds.
        rows: those of ``runs.csv.gz``; every cell is a text, empty where a run has no such value.
    """

    plan: Mapping[str, Any]
    constants: Mapping[str, Any]
    rows: Sequence[Mapping[str, str]]

    def values(self, arm: str, column: str) -> "dict[Pair, float]":
        """A column of one arm, by seed or, where the runs are of several folds, by seed of a fold.

        Raises:
            ValueError: the study has no such arm or column, or a run of it has no such value.
        """
        rows = [row for row in self.rows if row["arm"] == arm]
        if not rows or column not in rows[0]:
            raise ValueError(f"the study has no {column} of {arm}")
        if empty := [row["seed"] for row in rows if not row[column]]:
            raise ValueError(f"{column} of {arm} is empty for seed {empty[0]}")
        from bss.compare.pairs import pair_of

        has_folds = len({row.get("fold") for row in self.rows}) > 1
        return {pair_of(int(row["fold"]) if has_folds else None, int(row["seed"])): float(row[column]) for row in rows}

    def differences(self, arm: str, control: str, column: str, seeds: "Iterable[Pair] | None" = None) -> list[float]:
        """Arm minus control, seed by seed, in percentage points.

        Args:
            arm: name of the arm.
            control: name of the arm that is taken off.
            column: such as ``"all.accuracy.chosen"``, a fraction.
            seeds: None = all.

        Raises:
            ValueError: one of the seeds was run by one of them alone, or by none.
        """
        own, other = self.values(arm, column), self.values(control, column)
        wanted = sorted(own.keys() | other.keys()) if seeds is None else list(seeds)
        if missing := [seed for seed in wanted if seed not in own or seed not in other]:
            raise ValueError(f"there is no pair of {arm} and {control} for seed {missing[0]}")
        return [100 * (own[seed] - other[seed]) for seed in wanted]

    @cached_property
    def batches(self) -> dict[str, range]:
        """The plan's batches of seeds by name."""
        return {name: range(first, last + 1) for name, (first, last) in self.plan["batches"].items()}


def read(folder: Path) -> Study:
    """Read a study, and make sure that its three files belong together.

    Raises:
        ValueError: the plan or the rows are others than those that ``constants.json`` names.
    """
    constants = json.loads((folder / CONSTANTS).read_text(encoding="utf-8"))
    plan, rows = (folder / PLAN).read_bytes(), (folder / ROWS).read_bytes()
    for name, content in ((PLAN, plan), (ROWS, gzip.decompress(rows))):
        if hashlib.sha256(content).hexdigest() != constants["sha256"][name]:
            raise ValueError(f"{folder / name} is not the one that {CONSTANTS} was made with")
    return Study(json.loads(plan), constants, unpacked(rows))


def write(out: Path, rows: Iterable[Row], constants: Mapping[str, Any]) -> None:
    """Write ``runs.csv.gz`` and ``constants.json`` beside the plan.

    Args:
        out: the study's folder, which holds ``plan.json``.
        rows: of the runs, see :func:`bss.compare.raw_values.row_of`.
        constants: what is one for all of them.

    Raises:
        FileNotFoundError: there is no plan.
    """
    plan = (out / PLAN).read_bytes()
    text = table(rows)
    digests = {PLAN: hashlib.sha256(plan).hexdigest(), ROWS: hashlib.sha256(text.encode()).hexdigest()}
    (out / ROWS).write_bytes(packed(text))
    whole = json.dumps({"sha256": digests, **constants}, indent=2, ensure_ascii=False)
    (out / CONSTANTS).write_text(whole + "\n", encoding="utf-8")


def shared(values: Mapping[str, Any], what: str) -> Any:
    """The one value of all runs.

    Args:
        values: run -> value.
        what: its name in the error.

    Raises:
        ValueError: there are two; a run of each is named.
    """
    (first, value), *others = values.items()
    for name, other in others:
        if other != value:
            raise ValueError(f"{what} is {value!r} in {first} and {other!r} in {name}: runs of a study share it")
    return value


def collect(runs: Path, processor: str) -> tuple[list[Row], dict[str, Any]]:
    """Rows and constants of all runs in and below a folder.

    Args:
        runs: the ``--out`` of a comparison.
        processor: its name in words, which run folders do not hold.

    Raises:
        ValueError: a run is unfinished or damaged, or runs do not share what they must.
    """
    from bss.compare.runs import find_folders, opened

    rows: list[Row] = []
    configs: dict[str, dict[str, Any]] = {}
    recipes: dict[str, dict[str, Any]] = {}
    began: dict[tuple[int, int | None], tuple[str, object]] = {}
    for folder in find_folders([runs]):
        name = str(folder.relative_to(runs.absolute()))
        row, config, start = read_run_of_study(folder, name)
        rows.append(row)
        configs[name], recipes[name] = config, opened(config["recipe"])
        first, other = began.setdefault((row["seed"], row["fold"]), (name, start))
        if start != other:
            raise ValueError(f"{name} began with other weights or lists than {first}, which has its seed")
    of_arm: dict[str, list[str]] = {}
    for row, name in zip(rows, configs, strict=True):
        of_arm.setdefault(row["arm"], []).append(name)
    fields = [
        field for field in dict.fromkeys(field for each in recipes.values() for field in each) if field not in OWN
    ]
    ours, *others = recipes.values()
    common = [f for f in fields if f in ours and all(f in other and other[f] == ours[f] for other in others)]

    def own(name: str) -> dict[str, Any]:
        recipe = {f: v for f, v in recipes[name].items() if f not in common and f not in OWN}
        return {"sampler": configs[name]["sampler"], "method": configs[name]["method"], "recipe": recipe}

    def one(of: Callable[[dict[str, Any]], Any], what: str) -> Any:
        return shared({name: of(config) for name, config in configs.items()}, what)

    return rows, {
        **{what: one(itemgetter(what), what) for what in ONE_FOR_ALL},
        "processor": processor,
        "commands": sorted({" ".join(without_folders(config["command"])) for config in configs.values()}),
        "task": {
            "file": one(lambda config: task_of(config["task"]), "task"),
            "sha256": one(itemgetter("task_hash"), "code of the task"),
            "title": one(itemgetter("title"), "title"),
            "test": test_lists(configs),
        },
        "recipe": {field: ours[field] for field in common},
        "arms": {
            arm: shared({name: own(name) for name in names}, f"recipe of {arm}")
            for arm, names in sorted(of_arm.items())
        },
    }


def test_lists(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Count and hash of the test list: of all runs or, where every seed draws a test part or folds are tested, of each.

    Args:
        configs: run -> what its ``config.json`` holds.

    Returns:
        The one list's entry; or ``"seed 3"``, or ``"fold 0"``, -> the entry of its list.

    Raises:
        ValueError: runs that should share a test list do not.
    """
    of: dict[str, dict[str, Any]] = {}
    for name, config in sorted(configs.items(), key=lambda each: (each[1]["recipe"].get("fold") or 0, each[1]["seed"])):
        recipe = config["recipe"]
        part = "all" if recipe.get("fold") is None else f"fold {recipe['fold']}"
        if recipe.get("test_part") == "seeded":
            part = f"seed {config['seed']}"
        of.setdefault(part, {})[name] = config["lists"]["test"]
    lists = {part: _test_list(values) for part, values in of.items()}
    return lists["all"] if list(lists) == ["all"] else lists


def _test_list(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What runs say of their one test list; of the commonest class, which is the training list's, where it is one."""
    by_training = "commonest_class_accuracy"
    of_list = {run: {name: v for name, v in entry.items() if name != by_training} for run, entry in entries.items()}
    found = shared(of_list, "test list")
    worth = {entry[by_training] for entry in entries.values() if by_training in entry}
    return {**found, by_training: worth.pop()} if len(worth) == 1 else found


def read_run_of_study(folder: Path, name: str) -> tuple[Row, dict[str, Any], object]:
    """The row of a run, its ``config.json``, and what it began with: initial weights and lists.

    Raises:
        ValueError: it is unfinished or damaged, or was made by two commits.
    """
    from bss.compare.runs import read_run
    from bss.training.run_folder import count_lines, read_json
    from bss.utils.errors import RunFolderError

    try:
        config, summary, mark = (read_json(folder, file) for file in ("config.json", "summary.json", "arm.json"))
        if (summary.get("failed") or {}).get("how") != "not finite":  # an outcome; what a machine lost is none
            read_run(folder)
    except RunFolderError as error:
        raise ValueError(f"{name}: {error}; a study's raw values are those of all its runs") from error
    for part in config.get("continued") or ():
        shared({name: config["commit"], f"{name}, continued": part.get("commit", config["commit"])}, "commit")
    row = row_of(mark["arm"], config, summary, count_lines(folder / "metrics.jsonl"))
    return row, config, (mark["initial_weights"], config["lists"])


def check_complete(rows: Iterable[Row], plan: Mapping[str, Any]) -> None:
    """Make sure that the runs are those of the plan.

    Raises:
        ValueError: a planned run is missing, or one is there that was not planned.
    """
    # Without folds in the plan, the runs may be of any one fold, which they then share.
    folds = {run["fold"] for run in plan.get("runs", ())} or {None}
    planned = {
        (a, seed, fold) for a in plan["analysis"]["arms"] for seed in plan["analysis"]["seeds"] for fold in folds
    }
    found = {(row["arm"], row["seed"], None if folds == {None} else row["fold"]) for row in rows}
    for these, what in ((planned - found, "planned and missing"), (found - planned, "there and not planned")):
        if these:
            arm, seed, fold = min(these)
            where = "" if fold is None else f" in fold {fold}"
            raise ValueError(f"{len(these)} runs are {what}, such as {arm} with seed {seed}{where}")


def task_of(path: str) -> str:
    """A task's name, or its file as seen from the root of the repository."""
    parts = Path(path).parts
    inside = (Path(*parts[i:]) for i in range(1, len(parts)))
    return next((tail.as_posix() for tail in inside if (ROOT / tail).is_file()), Path(path).name)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="the --out of a comparison")
    parser.add_argument("--out", type=Path, required=True, help="the study's folder, which holds its plan")
    parser.add_argument("--processor", required=True, help="its name in words, which run folders do not hold")
    flags = parser.parse_args(arguments)
    if not (flags.out / PLAN).is_file():
        parser.error(f"{flags.out} has no {PLAN}: a study's plan is committed before its runs begin")
    try:
        rows, constants = collect(flags.runs, flags.processor)
        check_complete(rows, json.loads((flags.out / PLAN).read_bytes()))
    except ValueError as error:
        parser.error(str(error))
    write(flags.out, rows, constants)
    print(f"{len(rows)} runs in {flags.out / ROWS}")


if __name__ == "__main__":
    main()
