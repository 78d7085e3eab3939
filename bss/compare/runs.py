"""Run folders as the report reads them, and whether they may stand in one table."""

import hashlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar, cast

import numpy as np

from bss.compare import shapes
from bss.compare.arms import find
from bss.compare.pairs import Pair, pair_of
from bss.recipes.constants import CONSTANTS, PREFIX
from bss.recipes.recipe import FREE_FIELDS, Recipe
from bss.scoring.heads import predicted_by
from bss.training.run_folder import (
    EpochRow,
    Failure,
    Hits,
    Summary,
    check_files,
    checksum,
    count_lines,
    list_hash,
    read_hits,
    read_json,
    read_rows,
    read_scores,
)
from bss.utils.errors import RecipeError, RunFolderError, shown

ARM_FILE = "arm.json"
"""File that the runner adds to a run folder: which arm of which task it is, and the hash of its initial weights."""


TUNE_FILE = "tune.json"
"""File of a comparison whose arms have chosen some of their numbers, see :mod:`bss.compare.tuning`."""


TUNE_FOLDER = "tune"
"""Folder beside it, with the runs that they chose by: they are no runs of the comparison."""


OWN_FIELDS = {"seed", "fold"}
"""Recipe fields that are a run's own: runs that differ in them alone are repetitions of one another."""


ARM_FIELDS = {"epochs", "updates", "method"}
"""Recipe fields, beside those of the schedule, that may differ between arms: how long each trains, and its method."""


STEP_FIELDS = {"fused_weight", "unimodal_weight", "prediction", "modality"}
"""Recipe fields that an arm of the runner may set as well: ``joint`` trains and predicts with the fused head alone."""


# ---- what the files hold -------------------------------------------------------------------------------------------


class Mark(TypedDict, total=False):
    """``arm.json``; empty for a run that ``compare`` did not make."""

    arm: str
    title: str
    task: str
    task_file: str | None
    task_title: str
    initial_weights: str
    training_samples: str
    tuned: Sequence[str]


@dataclass(frozen=True)
class Part:
    """A part of a run, in which it ran without a stop.

    Attributes:
        where: where it began, in words; empty for the first.
        made_by: what made it: the fields of ``config.json``, such as command, commit, versions and device.
        changed: recipe fields that are others than before.
    """

    where: str
    made_by: Mapping[str, object]
    changed: tuple[str, ...] = ()


BINS = np.linspace(0, 2, 41)
"""Edges of the bins that difficulties are counted in."""


class Scored(NamedTuple):
    """What is kept of a run's ``scores.npz``: those of all samples and runs may be gigabytes, and are read once.

    Attributes:
        epochs: those before which the training samples were scored, 0-based and ascending, E of them.
        labels_N: class ids of the training samples.
        counts_EB: how many samples have a difficulty in each of the :data:`BINS`, epoch by epoch.
        known_E: how many have one at all.
    """

    epochs: tuple[int, ...]
    labels_N: np.ndarray
    counts_EB: np.ndarray
    known_E: np.ndarray

    @classmethod
    def of(cls, scores: Mapping[str, np.ndarray]) -> "Scored":
        """Count the scores of :func:`bss.training.run_folder.read_scores`."""
        difficulty_EN, bins = scores["difficulty"], len(BINS) - 1
        # As np.histogram has it: the last bin holds its upper edge. NaN, and what is below and above, come to the ends.
        place_EN = np.searchsorted(BINS, np.where(difficulty_EN == BINS[-1], BINS[-2], difficulty_EN), side="right")
        place_EN += (bins + 2) * np.arange(len(difficulty_EN))[:, None]
        counts = np.bincount(place_EN.ravel(), minlength=(bins + 2) * len(difficulty_EN)).reshape(-1, bins + 2)
        known = np.isfinite(difficulty_EN).sum(axis=1)
        return cls(tuple(scores["epoch"].tolist()), scores["label"], counts[:, 1:-1], known)


# ---- a run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class KnownRun:
    """A run folder of which it is known what was trained in it, whatever became of it.

    Attributes:
        path: the folder.
        config: what ``config.json`` holds.
        mark: what ``arm.json`` holds; empty for a run that ``compare`` did not make.
        arm: name of its arm; runs whose files do not tell get theirs from :func:`named`.
    """

    path: Path
    config: Mapping[str, Any]
    mark: Mark
    arm: str

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe as dotted field name -> value."""
        return opened(self.config["recipe"])

    @property
    def seed(self) -> int:
        """The seed that the recipe names."""
        return self.recipe["seed"]

    @property
    def fold(self) -> int | None:
        """Which fold of its data set it was tested on; None = not on a fold."""
        return self.recipe.get("fold")

    @property
    def pair(self) -> Pair:
        """What other runs must have in common with it to be subtracted from it."""
        return pair_of(self.fold, self.seed)

    @property
    def test_of(self) -> tuple[int | None, int | None]:
        """What its test part is of: a fold, and the seed where the seed draws it; two Nones for the published one."""
        return self.fold, self.seed if self.recipe.get("test_part") == "seeded" else None

    @property
    def epochs(self) -> int:
        """How many epochs it has trained, or was to train."""
        return self.recipe.get("epochs", 0)

    @property
    def length(self) -> str:
        """How long it trained, in words: updates where its recipe sets them, and else epochs."""
        if (updates := self.recipe.get("updates")) is not None:
            return f"{updates} updates"
        return f"{self.epochs} epoch{'s' * (self.epochs != 1)}"

    @property
    def equal_epochs(self) -> int | None:
        """The epochs of its recipe, where its updates are what uniform order takes for them; else None.

        A comparison with equal updates works them out so, of each fold and seed by its own number of training samples.
        """
        updates, train = self.recipe.get("updates"), self.config["samples"].get("train")
        epochs = self.recipe.get("epochs")
        if updates is None or not train or epochs is None:
            return None
        return epochs if updates == epochs * (train // self.recipe["batch_size"]) else None

    @property
    def says_arm(self) -> bool:
        """Whether its files name its arm: ``compare`` and ``train`` make such runs, and scripts do not."""
        return bool(self.own_arm)

    @property
    def own_arm(self) -> str:
        """Name of its arm by its files; empty where they tell none."""
        return _arm(self.mark, self.config)

    @property
    def task(self) -> str | None:
        """Name of its task, or the path of the task's file; None where its files do not tell."""
        return self.mark.get("task") or self.config.get("task")

    @property
    def task_file(self) -> str | None:
        """SHA-256 of the code in its task's own file; None of the library's tasks, and where its files do not tell."""
        return self.mark.get("task_file") or self.config.get("task_hash")

    @property
    def task_title(self) -> str | None:
        """What a page calls its task; None where its files do not tell."""
        return self.mark.get("task_title") or self.config.get("title")

    @property
    def arm_title(self) -> str:
        """One line on its arm; empty where its files do not name an arm, or one that is not known any more."""
        if self.mark or not self.says_arm:
            return self.mark.get("title", "")
        try:
            return find([self.own_arm])[0].title
        except RecipeError:
            return ""

    @property
    def generated(self) -> bool:
        """Whether it was trained on a data set made by ``--sample``; runs that do not say so count as real."""
        return self.config.get("generated") is True

    @property
    def training_samples(self) -> str | None:
        """SHA-256 of the training samples' names, order and class ids; None where its files do not tell."""
        return self.mark.get("training_samples") or self.hash_of("train")

    @property
    def heads(self) -> str | None:
        """What was measured, of which heads, in words; None where nothing was."""
        return None

    @property
    def test_groups(self) -> str | None:
        """Hash of the groups of the test samples; None where its files do not tell, or it knows no groups."""
        return None

    @property
    def test_labels(self) -> str | None:
        """Hash of the class ids of the test samples; None where its files do not tell."""
        return None

    def hash_of(self, split: str) -> str | None:
        """SHA-256 of the samples' names, order and class ids in a split; older versions noted that of the training."""
        return self._of_list(split).get("hash")

    @property
    def commonest_class_accuracy(self) -> float | None:
        """Accuracy of naming the training set's commonest class for every test sample; None where it does not tell."""
        return self._of_list("test").get("commonest_class_accuracy")

    def _of_list(self, split: str) -> Mapping[str, Any]:
        return (self.config.get("lists") or {}).get(split, {})


@dataclass(frozen=True, kw_only=True)
class FinishedRun(KnownRun):
    """A run folder with a finished run in it.

    Attributes:
        rows: what ``metrics.jsonl`` holds, a row per epoch.
        summary: what ``summary.json`` holds.
        training_list: SHA-256 of the training samples' names, order and class ids.
        scored: what ``scores.npz`` comes to.
        hits: what ``hits.npz`` holds; None of older runs.
    """

    rows: Sequence[EpochRow]
    summary: Summary
    training_list: str
    scored: "Scored"
    hits: Hits | None = None

    @property
    def training_samples(self) -> str:
        """:attr:`training_list`, which was read from its scores."""
        return self.training_list

    @property
    def heads(self) -> str:
        """What was measured, of which heads, in words."""
        metrics = self.summary["test"]["last"]
        return f"{', '.join(metrics)} of {', '.join(metrics['accuracy'])}"

    def hash_of(self, split: str) -> str | None:
        """SHA-256 of a split's names, order and class ids; that of the test list also by its hits."""
        by_hits = self.hits.names if split == "test" and self.hits is not None else None
        return super().hash_of(split) or by_hits

    @property
    def test_groups(self) -> str | None:
        """Hash of the groups of the test samples; None where its hits do not tell, or it knows no groups."""
        return None if self.hits is None else _hash_of_array(self.hits.groups)

    @property
    def test_labels(self) -> str | None:
        """Hash of the class ids of the test samples; None of runs of earlier versions, whose hits do not tell."""
        return None if self.hits is None else _hash_of_array(self.hits.labels)

    @property
    def epochs(self) -> int:
        """How many epochs it has trained."""
        return len(self.rows)

    @property
    def parts(self) -> list["Part"]:
        """Its parts, in each of which it ran without a stop; a run that was never stopped is one."""
        parts = [Part("", self.config)]
        for part in self.config.get("continued") or ():
            changed = part.get("changed") or {}
            numbers = ", ".join(f"{name} {before} -> {now}" for name, (before, now) in changed.items())
            after = f", after step {part['step']}" if part.get("step") else ""
            ended = f", where it had ended: {part['after'].get('how')}" if part.get("after") else ""
            words = f"from epoch {part.get('finished_epochs', 0) + 1} on{after}{ended}"
            parts.append(
                Part(words + (f", with {numbers}" if numbers else ""), {**self.config, **part}, tuple(changed))
            )
        return parts

    @property
    def prediction(self) -> str:
        """The heads whose logits its prediction sums, in words."""
        by = self.recipe.get("modality") or self.recipe.get("prediction", "all")
        return predicted_by(by, self.summary["test"]["last"]["accuracy"])

    @property
    def watched(self) -> Literal["val", "test"]:
        """The split that was measured after every epoch: ``"val"``, or ``"test"`` without a validation split."""
        return "val" if "val" in self.rows[0] else "test"

    @property
    def updates(self) -> int:
        """Number of optimiser steps."""
        return sum(row["steps"] for row in self.rows)

    @property
    def seconds(self) -> float:
        """Wall time of all epochs: scoring, training, and measuring after each."""
        return sum(row["seconds"] for row in self.rows)

    def curve(self, *path: str) -> tuple[list[int], list[float]]:
        """A learning curve: updates so far, and a number of the rows. Epochs in which it has none are left out.

        Args:
            *path: keys into a row, such as ``("val", "accuracy", "all")``.
        """
        steps: list[int] = []
        values: list[float] = []
        done = 0
        for row in self.rows:
            done += row["steps"]
            value: Any = row
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None and math.isfinite(value):
                steps.append(done)
                values.append(float(value))
        return steps, values


def _hash_of_array(numbers_N: np.ndarray | None) -> str | None:
    return None if numbers_N is None else hashlib.sha256(numbers_N.astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class FailedRun(KnownRun):
    """A run folder with a run in it that ended by numbers that are not finite: an outcome of its arm, and a bad one.

    Attributes:
        epoch: the one under way, 0-based.
        step: steps of it that were done.
        reason: the error, in a line.
        accuracy: with which it enters an analysis, in [0, 1]: what it takes to name the training set's commonest class
            for every test sample.
    """

    epoch: int
    step: int
    reason: str
    accuracy: float

    @property
    def told(self) -> str:
        """How it failed, in words."""
        return f"not finite after step {self.step} of epoch {self.epoch + 1} ({self.reason})"


class Found(NamedTuple):
    """What :func:`read_runs` finds in run folders.

    Attributes:
        runs: the finished ones, with the names of their arms.
        failed: those that ended by numbers that are not finite, named likewise.
        left_out: (folder, reason) of all others.
    """

    runs: list[FinishedRun]
    failed: list[FailedRun]
    left_out: list[tuple[Path, str]]


def opened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The recipe of ``config.json`` with dotted field names in place of nested ones, as ``--set`` has them."""
    flat: dict[str, Any] = {}
    for name, value in nested.items():
        inner = PREFIX if name == CONSTANTS else f"{prefix}{name}."
        flat |= opened(value, inner) if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def find_folders(paths: Iterable[Path]) -> list[Path]:
    """Find the run folders among and below these folders, in a fixed order, each once, however many paths lead to it.

    The runs of a tuning, in ``tune`` beside ``tune.json``, are found where they are asked for, and not from above.
    Links to folders are followed, but for those inside a run folder. What cannot be looked into, and a link to nothing,
    stand in the list as well: :func:`read_runs` says what is wrong with them.

    Raises:
        RunFolderError: a path is no folder, or there is no run in or below it.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if not path.is_dir():
            raise RunFolderError(f"{path} is not a folder")
        try:
            inside = [path] if _is_run(path) else list(_below(path))
        except OSError as error:
            raise RunFolderError(f"{path} cannot be read: {error.strerror}") from error
        if not inside:
            raise RunFolderError(f"{path} holds no run: a run folder has config.json and metrics.jsonl in it")
        for each in inside:
            found.setdefault(os.path.realpath(each), each.absolute())
    return list(found.values())


def _below(top: Path) -> Iterator[Path]:
    """The run folders below a folder that is none, each by the first path that leads to it, and what cannot be read."""
    seen: set[str] = set()  # a link may lead back
    waiting = [(each, False) for each in sorted(top.iterdir(), reverse=True) if not _is_tuning(each)]
    while waiting:
        path, in_a_run = waiting.pop()
        try:
            if in_a_run and path.is_symlink():
                continue
            if path.is_symlink() and not path.exists():
                yield path
            if not path.is_dir():
                continue
            real = os.path.realpath(path)  # Path.resolve raises RuntimeError for a link to itself, until Python 3.13
            if real in seen:
                continue
            seen.add(real)
            is_run = _is_run(path)
            inside = sorted(path.iterdir(), reverse=True)
        except OSError:
            yield path
            continue
        if is_run:
            yield path
        waiting += [(each, in_a_run or is_run) for each in inside if not _is_tuning(each)]


def _is_tuning(path: Path) -> bool:
    return path.name == TUNE_FOLDER and path.with_name(TUNE_FILE).is_file()


def _is_run(path: Path) -> bool:
    return any((path / name).is_file() for name in ("config.json", "metrics.jsonl", "done"))


def read_run(path: Path) -> FinishedRun:
    """Read the folder of a finished run, and look at everything that a report or a table takes from it.

    Raises:
        RunFolderError: the run is unfinished or damaged; the message says what is wrong without naming the folder.
    """
    if not path.is_dir():
        raise RunFolderError(f"a link to nothing ({os.readlink(path)})" if path.is_symlink() else "not a folder")
    if not _is_run(path):
        raise RunFolderError("a folder that cannot be looked into")
    if failure := _failure(path):
        raise RunFolderError(failure)
    if not (path / "done").is_file():
        epochs = count_lines(path / "metrics.jsonl")
        raise RunFolderError(f"unfinished, {epochs} epoch{'s' * (epochs != 1)} so far")
    summary = read_json(path, "summary.json")
    check_files(path, summary)
    rows = read_rows(path)
    config, mark = _config_and_mark(path)
    for number, row in enumerate(rows):
        shapes.ROW(row, f"metrics.jsonl, line {number + 1}:")
    shapes.SUMMARY(summary, "summary.json:")
    scores = read_scores(path)
    samples = list_hash(scores["name"].tolist(), scores["label"])
    run = FinishedRun(
        path=path,
        config=config,
        mark=cast(Mark, mark),
        arm=_arm(mark, config),
        rows=rows,
        summary=cast(Summary, summary),
        training_list=samples,
        scored=Scored.of(scores),
        hits=read_hits(path),
    )
    _check_whole(run)
    return run


def _config_and_mark(path: Path) -> tuple[dict[str, Any], Mark]:
    """What ``config.json`` and ``arm.json`` hold; an empty table where there is no ``arm.json``."""
    config = read_json(path, "config.json")
    mark = read_json(path, ARM_FILE) if (path / ARM_FILE).exists() else {}
    shapes.CONFIG(config, "config.json:")
    shapes.setting(config["recipe"], "config.json: recipe")
    shapes.MARK(mark, f"{ARM_FILE}:")
    _check_equal("config.json: seed", config.get("seed"), config["recipe"]["seed"])
    _check_equal(f"{ARM_FILE}: arm", mark.get("arm") and config.get("arm"), mark.get("arm"))
    return config, cast(Mark, mark)


def read_failed(path: Path) -> FailedRun | None:
    """Read the folder of a run that ended by numbers that are not finite; None where it holds no such run.

    Its accuracy is NaN where its files do not tell.

    Raises:
        RunFolderError: its files are damaged.
    """
    failed = _said_failure(path)
    if failed is None or not ended_not_finite(path):
        return None
    config, mark = _config_and_mark(path)
    run = KnownRun(path=path, config=config, mark=mark, arm=_arm(mark, config))
    known = run.commonest_class_accuracy
    return FailedRun(
        path=path,
        config=config,
        mark=mark,
        arm=run.arm,
        epoch=failed["epoch"],
        step=failed["step"],
        reason=failed["reason"],
        accuracy=math.nan if known is None else known,
    )


def ended_not_finite(path: Path) -> bool:
    """Whether the run in a folder ended by numbers that are not finite, and says so."""
    failed = _said_failure(path)
    return failed is not None and failed["how"] == "not finite"


def known_run(path: Path) -> KnownRun | None:
    """What was trained in a folder, whatever became of it; None where its files do not tell."""
    try:
        config, mark = _config_and_mark(path)
    except (RunFolderError, OSError):
        return None
    return KnownRun(path=path, config=config, mark=mark, arm=_arm(mark, config))


def _said_failure(path: Path) -> Failure | None:
    """How a run ended that did not finish, by its summary; None where it does not say so, or that it was stopped."""
    try:
        failed: dict[str, Any] = read_json(path, "summary.json").get("failed") or {}
        shapes.FAILED(failed, "summary.json: failed")
    except RunFolderError:
        return None
    return None if failed["how"] == "stopped" else cast(Failure, failed)


def _failure(path: Path) -> str:
    """How a run failed, and how far it came; empty where its summary does not say so, or that it was only stopped."""
    failed = _said_failure(path)
    if failed is None:
        return ""
    epochs = count_lines(path / "metrics.jsonl")
    where = f"after step {failed['step']} of epoch {failed['epoch'] + 1}"
    so_far = f"{epochs} epoch{'s' * (epochs != 1)} so far"
    return f"failed and unfinished, {so_far}; {failed['how']} {where} ({failed['reason']})"


def _check_whole(run: FinishedRun) -> None:
    """Refuse a run whose files contradict one another."""
    config, mark, summary, rows = run.config, run.mark, run.summary, run.rows
    if not rows:
        raise RunFolderError("metrics.jsonl has no epoch")
    if summary["chosen_epoch"] >= len(rows):
        raise RunFolderError(f"summary.json: chosen_epoch is {summary['chosen_epoch']}, and there are {len(rows)} rows")
    measured = {f"metrics.jsonl, line {row['epoch'] + 1}: {run.watched}": row.get(run.watched) for row in rows}
    measured |= {f"summary.json: test.{name}": summary["test"][name] for name in ("chosen", "last")}
    heads = {name: set(kinds) for name, kinds in summary["test"]["last"].items()}
    for place, metrics in measured.items():
        if metrics is None:
            raise RunFolderError(f"{place} is missing")
        if {name: set(kinds) for name, kinds in metrics.items()} != heads:
            raise RunFolderError(f"{place} has other metrics or heads than summary.json: test.last")
    listed = (config.get("lists") or {}).get("train", {}).get("hash")
    for place, known, found in (
        ("summary.json: updates", summary.get("updates"), run.updates),
        ("config.json: lists.train.hash", listed, run.training_list),
        (f"{ARM_FILE}: training_samples", mark.get("training_samples"), run.training_list),
    ):
        _check_equal(place, known, found)
    if run.hits is not None:
        _check_hits(run, run.hits)


def _check_hits(run: FinishedRun, hits: Hits) -> None:
    """Refuse hits that are not those of the run's test samples, or come to another accuracy than its summary says."""
    _check_equal("hits.npz: count", hits.count, run.config["samples"]["test"])
    classes = run.config.get("classes")
    if hits.labels is not None and not (
        hits.labels.min() >= 0 and (classes is None or hits.labels.max() < len(classes))
    ):
        ends = f"{hits.labels.min()} to {hits.labels.max()}"
        raise RunFolderError(f"hits.npz: label is {ends}, which are no ids of the run's classes")
    if (listed := KnownRun.hash_of(run, "test")) is not None:
        _check_equal("hits.npz: names", hits.names, listed)
    for epoch, tested in (("chosen", run.summary["test"]["chosen"]), ("last", run.summary["test"]["last"])):
        accuracy = hits.accuracy(epoch)
        if accuracy.keys() != tested["accuracy"].keys():
            raise RunFolderError(f"hits.npz is of the heads {', '.join(accuracy)}, and summary.json of others")
        for head, value in accuracy.items():
            _check_equal(f"summary.json: test.{epoch}.accuracy.{head}", tested["accuracy"][head], value)


def _check_equal(place: str, known: object, found: object) -> None:
    """Refuse a value that is not what other files say; None is not told."""
    if known is not None and known != found:
        raise RunFolderError(f"its files contradict one another: {place} is {shown(known)}, and by others {found}")


def _arm(mark: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Name of an arm by ``arm.json`` or else ``config.json``; empty where neither tells."""
    return mark.get("arm") or config.get("arm") or ""


def read_runs(paths: Iterable[Path]) -> Found:
    """Read the runs that are finished or have failed, and say for every other folder why it is left out.

    A failed run whose files do not tell its accuracy (older ones) has it by another run with the same test list; where
    there is none, it is left out.

    Args:
        paths: run folders, see :func:`find_folders`.

    Raises:
        RunFolderError: none of the runs is finished.
    """
    runs: list[FinishedRun] = []
    failed: list[FailedRun] = []
    left_out: list[tuple[Path, str]] = []
    for path in paths:
        try:
            if (failure := read_failed(path)) is not None:
                failed.append(failure)
            else:
                runs.append(read_run(path))
        except RunFolderError as error:
            left_out.append((path, str(error)))
        except OSError as error:  # a folder that one may not look into
            left_out.append((path, f"cannot be read ({error.strerror})"))
    told: list[FailedRun] = []
    for each in failed:
        accuracy = _commonest_class_accuracy(each, [*runs, *failed])
        if accuracy is None:
            left_out.append((each.path, f"{_failure(each.path)}; {NO_ACCURACY}"))
        else:
            told.append(replace(each, accuracy=accuracy))
    if not runs:
        if not left_out:
            left_out = [(each.path, _failure(each.path)) for each in told]
        path, reason = left_out[0]
        more = f"; and {len(left_out) - 1} more like it" if len(left_out) > 1 else ""
        raise RunFolderError(f"there is no finished run to report: {path}: {reason}{more}")
    count = len(runs)
    both: list[KnownRun] = named([*runs, *told])
    return Found(cast(list[FinishedRun], both[:count]), cast(list[FailedRun], both[count:]), left_out)


NO_ACCURACY = "no run tells the accuracy of the commonest class on its test list, with which it would count"
"""Why a failed run is left out of an analysis that should have it."""


def _commonest_class_accuracy(run: FailedRun, others: Sequence[KnownRun]) -> float | None:
    """The accuracy of a failed run by its own files, or by those of another run with the same test list.

    Of the others those with the same training list come first, since the commonest class is that list's. Where one of
    two test lists has no hash, their sizes must do.
    """
    if not math.isnan(run.accuracy):
        return run.accuracy

    def fits(other: KnownRun) -> bool:
        hashes = run.hash_of("test"), other.hash_of("test")
        same_size = run.config["samples"]["test"] == other.config["samples"]["test"]
        return same_size and (None in hashes or hashes[0] == hashes[1])

    alike = [other for other in others if fits(other)]
    alike.sort(key=lambda other: other.training_samples != run.training_samples)
    known = [other.commonest_class_accuracy for other in alike]
    return next((value for value in known if value is not None), None)


Known = TypeVar("Known", bound=KnownRun)


def named(runs: Sequence[Known]) -> list[Known]:
    """Give arms to runs whose files name none: those that differ in nothing but the seed are one arm.

    It is named by sampler and method, and where this is not enough by the recipe fields that differ. Of whatever arm,
    runs that trained for different lengths are no repetitions of one another: each length is an arm of its own. The
    same epochs of uniform order are one length, although folds and seeds have different numbers of training samples.
    """
    kinds: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if not run.says_arm and _arm_recipe(run) not in kinds.setdefault(_kind(run), []):
            kinds[_kind(run)].append(_arm_recipe(run))

    def name(run: Known) -> str:
        own, alike = _arm_recipe(run), kinds[_kind(run)]
        differing = [field for field in own if any(other.get(field) != own[field] for other in alike)]
        return " ".join([_kind(run), *(f"{field.rpartition('.')[2]}={own[field]}" for field in differing)])

    runs = [run if run.says_arm else replace(run, arm=name(run)) for run in runs]
    members: dict[str, list[Known]] = {}
    for run in runs:
        members.setdefault(run.arm, []).append(run)
    split = {arm for arm, own in members.items() if not _as_long(own)}
    return [replace(run, arm=f"{run.arm} ({run.length})") if run.arm in split else run for run in runs]


def _as_long(runs: Sequence[KnownRun]) -> bool:
    """Whether runs trained for the same length: as many updates or epochs, or the same epochs of uniform order."""
    equal = {run.equal_epochs for run in runs}
    return len({run.length for run in runs}) == 1 or (len(equal) == 1 and None not in equal)


def _kind(run: KnownRun) -> str:
    return "+".join(part for part in (run.config["sampler"], run.config.get("method")) if part)


def _arm_recipe(run: KnownRun) -> dict[str, Any]:
    return {name: value for name, value in run.recipe.items() if name not in FREE_FIELDS | OWN_FIELDS}


# ---- which runs may stand in one table -----------------------------------------------------------------------------


UNKNOWN = object()
"""A value that a run's files do not tell: it fits every other."""


def _itself(value: Any) -> Any:
    return value


def _begins(digest: str) -> str:
    return digest[:12]


@dataclass(frozen=True)
class _Rule:
    """A value that runs must have in common.

    Attributes:
        what: the plural that a refusal begins with.
        name: name of the value, in words.
        value: reads it from a run; it is :data:`UNKNOWN` where the run's files do not tell.
        within: which runs must have it in common: ``"all"``, those of one ``"arm"``, those of one ``"choice"`` (of
            an arm, which chooses anew in each fold), those of one ``"seed"`` (in a
            fold), those of one ``"test"`` part, or all where one is ``"unmarked"``, since its files name no arm.
        told: what a refusal says of a value.
        key: what of a value must be equal.
    """

    what: str
    name: str
    value: Callable[[KnownRun], Any]
    within: Literal["all", "arm", "choice", "seed", "test", "unmarked"]
    told: Callable[[Any], Any] = _itself
    key: Callable[[Any], Any] = _itself


_DEFAULTS = {member.name: member.default for member in fields(Recipe) if member.default is not MISSING}
"""Fields of every task's recipe with what a run stands for that is older than the field."""


def _rules(runs: Sequence[KnownRun]) -> Iterator[_Rule]:
    """What runs must have in common, in the order in which it is looked at."""
    names = list(dict.fromkeys(name for run in runs for name in run.recipe))
    tuned = {name for run in runs for name in run.mark.get("tuned", ())}  # whose value each arm has chosen for itself
    numbers = [name for name in names if name not in FREE_FIELDS | OWN_FIELDS]
    shared = [name for name in numbers if not _of_the_arm(name) and name not in ARM_FIELDS and name not in tuned]
    # Of a task's own file the name counts: a repository may lie elsewhere by now, or on another machine.
    yield _Rule("tasks", "the task", lambda run: run.task or UNKNOWN, "all", key=lambda task: Path(task).name)
    for name in sorted(names):
        if not _of_the_arm(name) and name not in _DEFAULTS:
            yield _Rule("tasks", f"the recipe field {name}", _has(name), "all")
    yield _Rule("splits", "what is tested", lambda run: "no fold" if run.fold is None else "a fold", "all")
    yield _Rule("splits", "the number of test samples", lambda run: run.config["samples"]["test"], "test")
    yield _Rule("splits", "the test list (hash)", _hash_of_list("test"), "test", told=_begins)
    yield _Rule("splits", "the labels of the test samples (hash)", _labels, "test", told=_begins)
    yield _Rule("splits", "the groups of the test samples (hash)", _groups, "test", told=_begins)
    yield _Rule("metrics or heads", "what was measured", lambda run: run.heads or UNKNOWN, "all")
    for name in shared:
        yield _Rule("recipes", name, _field(name), "unmarked" if name in STEP_FIELDS else "all")
    # With one sampler a schedule has the same fields, but for those that came into the library between two runs.
    yield _Rule("samplers", "the sampler", lambda run: run.config["sampler"], "arm")
    for name in numbers:
        if name != "updates":  # runs of one arm that trained for different lengths have got different names
            yield _Rule("recipes", name, _field(name), "choice" if name in tuned else "arm")
    by_choice = any(name.startswith(PREFIX) for name in tuned)
    yield _Rule("methods", "method_settings", _method_settings(runs), "choice" if by_choice else "arm")
    yield _Rule("splits", "the training list (hash)", lambda run: run.training_samples or UNKNOWN, "seed", told=_begins)
    yield _Rule("splits", "the corrupted samples (hash)", _corrupted, "seed", told=_begins)
    yield _Rule("splits", "the number of validation samples", lambda run: run.config["samples"].get("val"), "seed")
    yield _Rule("splits", "the validation list (hash)", _hash_of_list("val"), "seed", told=_begins)
    yield _Rule(
        "initial weights", "their hash", lambda run: run.mark.get("initial_weights") or UNKNOWN, "seed", told=_begins
    )


def _of_the_arm(name: str) -> bool:
    return name.startswith(("schedule.", PREFIX))


def _has(name: str) -> Callable[[KnownRun], str]:
    return lambda run: "there" if name in run.recipe else "not there"


def _field(name: str) -> Callable[[KnownRun], Any]:
    return lambda run: run.recipe.get(name, _DEFAULTS.get(name, UNKNOWN))


def _hash_of_list(split: str) -> Callable[[KnownRun], Any]:
    return lambda run: run.hash_of(split) or UNKNOWN


def _corrupted(run: KnownRun) -> str:
    """Hashes of which training and validation samples were corrupted; empty where none was."""
    parts = run.config.get("corrupted") or {}
    return " ".join(str(parts[name].get("hash")) for name in sorted(parts))


def _groups(run: KnownRun) -> Any:
    """Hash of the groups of the test samples, by its hits."""
    return run.test_groups or UNKNOWN


def _labels(run: KnownRun) -> Any:
    """Hash of the class ids of the test samples, by its hits."""
    return run.test_labels or UNKNOWN


def _method_settings(runs: Iterable[KnownRun]) -> Callable[[KnownRun], dict[str, Any]]:
    """What reads the settings of a run's method, but for the seed, which is the run's.

    An older run has the defaults for settings that came into the library after it. They stand in the methods' classes,
    and these need PyTorch, which takes a second and more to import: where all runs of a method tell of the same
    settings there are none to add.
    """
    names: dict[str | None, set[frozenset[str]]] = {}
    for run in runs:
        names.setdefault(run.config.get("method"), set()).add(frozenset(run.config.get("method_settings") or ()))

    def read(run: KnownRun) -> dict[str, Any]:
        method, settings = run.config.get("method"), run.config.get("method_settings") or {}
        if len(names[method]) > 1:
            from bss.methods import settings_of_run

            settings = settings_of_run(method, settings)
        return {name: value for name, value in settings.items() if name != "seed"}

    return read


def check_comparable(runs: Sequence[KnownRun]) -> None:
    """Refuse runs that do not belong into one table.

    All runs must be of one task and one recipe, but for the order, how long an arm trains, what an arm sets aside, and
    what it has chosen on validation.
    The runs of one arm must be of one recipe altogether. The runs of one seed, in a fold, must have the same training
    samples and, where they are known, the same initial weights. There must be one run of an arm with a seed in a fold,
    and none of them may be another one's copy.

    Raises:
        RunFolderError: names the first two runs that differ, and in what, or are one.
    """
    rules = list(_rules(runs))
    all_marked = all(run.says_arm for run in runs)
    # A run is held against the first whose files tell: one that tells nothing fits every other, and stands for none.
    told: dict[tuple[int, object], tuple[KnownRun, Any]] = {}
    seen: dict[tuple[str, Pair], KnownRun] = {}
    for run in runs:
        groups: dict[str, object] = {"all": None, "arm": run.arm, "seed": run.pair, "test": run.test_of}
        groups["unmarked"] = run.path if all_marked else None
        groups["choice"] = run.arm, run.fold
        for place, rule in enumerate(rules):
            there = rule.value(run)
            if there is UNKNOWN:
                continue
            mate, here = told.setdefault((place, groups[rule.within]), (run, there))
            if here != there and rule.key(here) != rule.key(there):
                own, other = shown(rule.told(here)), shown(rule.told(there))
                raise RunFolderError(
                    f"runs of different {rule.what} in one report: {rule.name} is {own} in {mate.path}\n"
                    f"and {other} in {run.path}; report them apart"
                )
        twin = seen.setdefault((run.arm, run.pair), run)
        if twin is not run:
            raise RunFolderError(f"{twin.path} and {run.path} are both seed {run.pair} of {run.arm}: give one of them")
    _check_copies([run for run in runs if isinstance(run, FinishedRun)])


def _check_copies(runs: Iterable[FinishedRun]) -> None:
    """Refuse a run that is there twice: it would count as two.

    Two runs that measured the same in every epoch, to the last digit, are one where it took them equally long as well,
    where they are of one recipe, seed and sampler under two names of an arm, or where they should differ by their seeds
    and began with the same weights or do not tell with which. Else they are two arms that come to the same: with few
    epochs, not all settings have a say.
    """
    measured: dict[str, list[FinishedRun]] = {}
    for run in runs:
        alike = measured.setdefault(checksum(run.rows[-1]), [])
        for twin in alike:
            if list(map(checksum, twin.rows)) == list(map(checksum, run.rows)) and _is_copy(twin, run):
                names = [f"{each.path} ({each.arm} seed {each.seed})" for each in (twin, run)]
                raise RunFolderError(
                    f"{names[0]} and {names[1]} are one run under two names, with the same numbers in every epoch: "
                    "give one of them"
                )
        alike.append(run)


def _is_copy(one: FinishedRun, other: FinishedRun) -> bool:
    if one.rows == other.rows:
        return True
    if one.seed != other.seed:
        weights = [run.mark.get("initial_weights") for run in (one, other)]
        return None in weights or weights[0] == weights[1]
    settings = _method_settings([one, other])
    return (_arm_recipe(one), one.config["sampler"], one.config.get("method"), settings(one)) == (
        _arm_recipe(other),
        other.config["sampler"],
        other.config.get("method"),
        settings(other),
    )


def remarks(runs: Sequence[KnownRun]) -> list[str]:
    """Sentences on what could not be looked at in :func:`check_comparable`, since older runs do not tell."""
    silent = [run for run in runs if run.hash_of("test") is None]
    if not silent or len(runs) == 1:
        return []
    which = "None of the runs tells" if len(silent) == len(runs) else f"{len(silent)} of {len(runs)} runs do not tell"
    return [f"{which} which samples the test list had: that it is the same is judged by its size alone."]


def by_arm(runs: Sequence[FinishedRun], order: Sequence[str] = ()) -> dict[str, list[FinishedRun]]:
    """Sort runs into arm -> its runs by fold and seed: the arms in the order that is given, then as they come."""
    arms: dict[str, list[FinishedRun]] = {name: [] for name in order}
    for run in runs:
        arms.setdefault(run.arm, []).append(run)
    return {
        name: sorted(members, key=lambda run: (run.fold or 0, run.seed)) for name, members in arms.items() if members
    }
