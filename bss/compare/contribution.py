"""Two files that tell others what came out of a comparison: its plan, and the raw values of all of its runs.

They hold no path and no name of a machine. ``docs/reproduce.md`` says how to send them.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bss.compare.plan import PLAN_FILE, Plan, plan_hash
from bss.compare.plan import read as read_plan
from bss.compare.plan import write as write_plan
from bss.compare.raw_values import Row, packed, row_of, table, without_folders
from bss.compare.raw_values import read as unpacked
from bss.compare.runs import FailedRun, FinishedRun
from bss.training.run_folder import count_lines, read_json
from bss.utils.errors import RunFolderError
from bss.utils.filesystem import whole_file

FOLDER = "contribution"
"""In the folder of a comparison."""


ROWS_FILE = "runs.csv.gz"
"""The raw values, beside ``plan.json``."""


COLUMNS = (
    *("task", "generated", "plan", "recipe", "train_list", "test_list", "commonest_class", "device", "commit"),
    "versions",
)
"""What a row says beside the keys and results: hashes of plan, planned recipe and lists, the accuracy of naming the
training set's commonest class (which a failed run counts as), and what made the run."""


def contribute(plan: Plan, runs: Sequence[FinishedRun | FailedRun], out: Path) -> list[Path]:
    """Write both files, in ``contribution/`` below the comparison's folder.

    Args:
        plan: what the runs were made by.
        runs: those with an outcome; rows of a plan that have none are not in the file.
        out: the comparison's folder.

    Returns:
        The two files.

    Raises:
        RunFolderError: they cannot be written.
    """
    folder, digest = out / FOLDER, plan_hash(plan)
    recipes = {(row.arm, row.seed, row.fold): row.recipe for row in plan.runs}
    rows = []
    for run in runs:
        row = row_of(
            run.own_arm, run.config, read_json(run.path, "summary.json"), count_lines(run.path / "metrics.jsonl")
        )
        planned = recipes.get((row["arm"], row["seed"], row["fold"]))
        rows.append(row | _made_by(run) | {"plan": digest, "recipe": planned})
    try:
        folder.mkdir(exist_ok=True)
        write_plan(replace(plan, runs=tuple(replace(r, command=without_folders(r.command)) for r in plan.runs)), folder)
        with whole_file(folder / ROWS_FILE) as temporary:
            temporary.write_bytes(packed(table(rows, COLUMNS)))
    except OSError as error:
        raise RunFolderError(f"cannot write into {folder}: {error.strerror}") from error
    return [folder / PLAN_FILE, folder / ROWS_FILE]


def _made_by(run: FinishedRun | FailedRun) -> Row:
    """The columns that are about the run and its data; a run that went on elsewhere names every device and commit."""
    parts: list[Mapping[str, Any]] = [
        run.config,
        *({**run.config, **part} for part in run.config.get("continued") or ()),
    ]

    def said(name: str) -> str:
        return " then ".join(dict.fromkeys(str(part.get(name)) for part in parts))

    versions = [", ".join(f"{name} {version}" for name, version in part["versions"].items()) for part in parts]
    return {
        "task": Path(run.task or "").name,
        "generated": run.generated,
        "train_list": run.training_samples,
        "test_list": run.hash_of("test"),
        "commonest_class": run.commonest_class_accuracy,
        "device": said("device"),
        "commit": said("commit"),
        "versions": " then ".join(dict.fromkeys(versions)),
    }


def read(folder: Path) -> tuple[Plan, list[dict[str, str]]]:
    """Read the two files, and make sure that they belong together.

    Returns:
        The plan, and the rows of its runs, see :func:`bss.compare.raw_values.read`.

    Raises:
        RunFolderError: a file is missing or damaged, or rows are of another plan.
    """
    plan = read_plan(folder)
    if plan is None:
        raise RunFolderError(f"{folder} has no {PLAN_FILE}: give the folder with both files of a contribution")
    try:
        rows = unpacked((folder / ROWS_FILE).read_bytes())
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise RunFolderError(f"{folder / ROWS_FILE} cannot be read ({error}): bring it back") from error
    digest = plan_hash(plan)
    if others := [row for row in rows if row.get("plan") != digest]:
        raise RunFolderError(
            f"{folder / ROWS_FILE} has {len(others)} rows of another plan than the {PLAN_FILE} beside it: take both "
            "files from one folder"
        )
    return plan, rows
