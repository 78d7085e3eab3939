"""Run folders as the report reads them, and whether they may stand in one table."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bss.recipes.recipe import FREE_FIELDS
from bss.training.run_folder import list_hash, read_json, read_scores
from bss.utils.errors import RunFolderError, shown

ARM_FILE = "arm.json"
"""What the runner adds to a run folder: which arm of which task it is, and the hash of its initial weights."""


ARM_FIELDS = {"epochs", "updates"}
"""Recipe fields, beside those of the schedule, that may differ between arms: how long each of them trains."""


STEP_FIELDS = {"fused_weight", "unimodal_weight", "prediction"}
"""Recipe fields that an arm of the runner may set as well: ``joint`` trains and predicts with the fused head alone."""


@dataclass(frozen=True)
class FinishedRun:
    """A run folder with a finished run in it.

    Attributes:
        path: the folder.
        config: of ``config.json``.
        rows: of ``metrics.jsonl``, one an epoch.
        summary: of ``summary.json``.
        training_list: hash of names and labels of the training samples.
        mark: of ``arm.json``; empty for a run that the runner did not make.
        arm: name of its arm; those without a mark get theirs from :func:`named`.
    """

    path: Path
    config: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any]
    training_list: str
    mark: Mapping[str, Any]
    arm: str

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """Dotted field name -> value."""
        return opened(self.config["recipe"])

    @property
    def seed(self) -> int:
        """Of its recipe."""
        return self.recipe["seed"]

    @property
    def watched(self) -> str:
        """What was measured after every epoch: ``"val"``, or ``"test"`` without a validation split."""
        return "val" if "val" in self.rows[0] else "test"

    @property
    def updates(self) -> int:
        """Optimiser steps."""
        return sum(row["steps"] for row in self.rows)

    @property
    def seconds(self) -> float:
        """Wall time of all epochs: scoring, training, and measuring after each."""
        return sum(row["seconds"] for row in self.rows)

    def curve(self, *path: str) -> tuple[list[int], list[float]]:
        """Updates so far, and a number of the rows; epochs in which it was not measured are left out.

        Args:
            *path: keys into a row, such as ``("val", "accuracy", "all")``.
        """
        steps, values, done = [], [], 0
        for row in self.rows:
            done += row["steps"]
            value: Any = row
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                steps.append(done)
                values.append(float(value))
        return steps, values


def opened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A recipe of ``config.json`` with dotted field names."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        flat |= opened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def find_folders(paths: Iterable[Path]) -> list[Path]:
    """The run folders among and below these folders, in a fixed order.

    Raises:
        RunFolderError: a path with no run in or below it.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise RunFolderError(f"{path} is not a folder")
        inside = (
            [path] if _is_run(path) else sorted(each for each in path.rglob("*") if each.is_dir() and _is_run(each))
        )
        if not inside:
            raise RunFolderError(f"{path} holds no run: a run folder has config.json and metrics.jsonl in it")
        found += inside
    return list(dict.fromkeys(path.resolve() for path in found))


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in ("config.json", "metrics.jsonl", "done"))


def read_run(path: Path) -> FinishedRun:
    """One run folder.

    Raises:
        RunFolderError: it is unfinished or damaged; the message says what is wrong without naming the folder.
    """
    if not (path / "done").is_file():
        epochs = _lines(path / "metrics.jsonl")
        raise RunFolderError(f"unfinished, {epochs} epoch{'s' * (epochs != 1)} so far")
    config, summary = (read_json(path, name) for name in ("config.json", "summary.json"))
    try:
        rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise RunFolderError(f"metrics.jsonl is damaged ({error})") from error
    mark = read_json(path, ARM_FILE) if (path / ARM_FILE).is_file() else {}
    try:
        run = FinishedRun(path, config, rows, summary, _training_list(path), mark, mark.get("arm", ""))
        # Whatever is read later on is looked at now: a folder that lacks it is left out as a whole.
        (run.seed, run.watched, run.updates, run.seconds, config["sampler"], config["samples"]["test"])
        (config["versions"], config["device"], config["machine"])
        [summary["test"][epoch]["accuracy"]["all"] for epoch in ("chosen", "last")]
        [row[run.watched]["accuracy"]["all"] for row in rows]
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunFolderError(f"damaged, or not a run of this program ({type(error).__name__}: {error})") from error
    return run


def _lines(path: Path) -> int:
    return len(path.read_text(errors="replace").splitlines()) if path.is_file() else 0


def _training_list(path: Path) -> str:
    scores = read_scores(path)
    return list_hash(scores["name"].tolist(), scores["label"])


def read_runs(paths: Iterable[Path]) -> tuple[list[FinishedRun], list[tuple[Path, str]]]:
    """The finished runs, and the folders that are left out with the reason.

    Raises:
        RunFolderError: none is finished.
    """
    runs, left_out = [], []
    for path in paths:
        try:
            runs.append(read_run(path))
        except RunFolderError as error:
            left_out.append((path, str(error)))
    if not runs:
        path, reason = left_out[0]
        more = f"; and {len(left_out) - 1} more like it" if len(left_out) > 1 else ""
        raise RunFolderError(f"there is no finished run to report: {path}: {reason}{more}")
    return named(runs), left_out


def named(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """Give arms to runs without a mark: those that differ in nothing but the seed are one arm.

    It is named by sampler and method, and where this is not enough by the recipe fields that differ.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if not run.mark and _arm_recipe(run) not in kinds.setdefault(_kind(run), []):
            kinds[_kind(run)].append(_arm_recipe(run))

    def name(run: FinishedRun) -> str:
        own, alike = _arm_recipe(run), kinds[_kind(run)]
        differing = [field for field in own if any(other.get(field) != own[field] for other in alike)]
        return " ".join([_kind(run), *(f"{field.rpartition('.')[2]}={own[field]}" for field in differing)])

    return [run if run.mark else replace(run, arm=name(run)) for run in runs]


def _kind(run: FinishedRun) -> str:
    return "+".join(part for part in (run.config["sampler"], run.config.get("method")) if part)


def _arm_recipe(run: FinishedRun) -> dict[str, Any]:
    return {name: value for name, value in run.recipe.items() if name not in FREE_FIELDS | {"seed"}}


def check_comparable(runs: Sequence[FinishedRun]) -> None:
    """Refuse runs that do not belong into one table.

    They must be of one task and one recipe (the order, how long it trains and what an arm sets aside); those of one
    arm of one recipe altogether; those of one seed must have the same training samples and, where it is known, the same
    initial weights.

    Raises:
        RunFolderError: names the first two that differ, and in what.
    """
    first = runs[0]
    seen: dict[tuple[str, int], FinishedRun] = {}
    of_arm: dict[str, FinishedRun] = {}
    of_seed: dict[int, FinishedRun] = {}
    for run in runs:
        tasks = [each.mark.get("task") for each in (first, run)]
        # Of a task's own file the name counts: a repository may lie elsewhere by now, or on another machine.
        if None not in tasks and Path(tasks[0]).name != Path(tasks[1]).name:
            raise _refusal("tasks", "the task", first, run, *tasks)
        only = sorted(_fields(first) ^ _fields(run))
        if only:
            raise _refusal(
                "tasks",
                f"the recipe field {only[0]}",
                first,
                run,
                *("there" if only[0] in _fields(each) else "not there" for each in (first, run)),
            )
        sizes = [each.config["samples"]["test"] for each in (first, run)]
        if sizes[0] != sizes[1]:
            raise _refusal("splits", "the number of test samples", first, run, *sizes)
        by_the_runner = STEP_FIELDS if first.mark and run.mark else set()
        _check_recipes(first, run, but=ARM_FIELDS | by_the_runner, schedule=False)
        _check_recipes(of_arm.setdefault(run.arm, run), run, but=set(), schedule=True)
        settings = [each.config.get("method_settings") for each in (of_arm[run.arm], run)]
        settings = [{name: value for name, value in (each or {}).items() if name != "seed"} for each in settings]
        if settings[0] != settings[1]:
            raise _refusal("methods", "method_settings", of_arm[run.arm], run, *settings)
        mate = of_seed.setdefault(run.seed, run)
        if mate.training_list != run.training_list:
            raise _refusal(
                "splits", "the training list (hash)", mate, run, mate.training_list[:12], run.training_list[:12]
            )
        sizes = [each.config["samples"].get("val") for each in (mate, run)]
        if sizes[0] != sizes[1]:
            raise _refusal("splits", "the number of validation samples", mate, run, *sizes)
        weights = [each.mark.get("initial_weights") for each in (mate, run)]
        if None not in weights and weights[0] != weights[1]:
            raise _refusal("initial weights", "their hash", mate, run, *(hashed[:12] for hashed in weights))
        twin = seen.setdefault((run.arm, run.seed), run)
        if twin is not run:
            raise RunFolderError(f"{twin.path} and {run.path} are both seed {run.seed} of {run.arm}: give one of them")


def _fields(run: FinishedRun) -> set[str]:
    return {name for name in run.recipe if not name.startswith("schedule.")}


def _check_recipes(one: FinishedRun, other: FinishedRun, *, but: set[str], schedule: bool) -> None:
    for name, value in one.recipe.items():
        if name in but | FREE_FIELDS | {"seed"} or (name.startswith("schedule.") and not schedule):
            continue
        if other.recipe.get(name) != value:
            raise _refusal("recipes", name, one, other, value, other.recipe.get(name))


def _refusal(what: str, name: str, one: FinishedRun, other: FinishedRun, here: Any, there: Any) -> RunFolderError:
    return RunFolderError(
        f"runs of different {what} in one report: {name} is {shown(here)} in {one.path}\nand {shown(there)} in "
        f"{other.path}; report them apart"
    )


def by_arm(runs: Sequence[FinishedRun], order: Sequence[str] = ()) -> dict[str, list[FinishedRun]]:
    """Arm -> its runs by seed: the arms in the order that is given, then as they come."""
    arms: dict[str, list[FinishedRun]] = {name: [] for name in order}
    for run in runs:
        arms.setdefault(run.arm, []).append(run)
    return {name: sorted(members, key=lambda run: run.seed) for name, members in arms.items() if members}
