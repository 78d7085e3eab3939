"""Finished runs as one table in long form: a row for everything that was measured, for pandas."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import warn

from bss.compare.runs import FinishedRun, find_folders, read_runs
from bss.training.run_folder import Imbalance

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("task", "run", "arm", "split", "checkpoint", "head", "metric")
"""Columns that are categories."""


NUMBERS = {"seed": "int64", "epoch": "int64", "updates": "int64", "seconds": "float64", "value": "float64"}


COLUMNS = [
    "task",
    "run",
    "arm",
    "seed",
    "epoch",
    "updates",
    "seconds",
    "split",
    "checkpoint",
    "head",
    "metric",
    "value",
]


_Measured = tuple[int, str, str, str, str, float | None]
"""Epoch, split, checkpoint, head, metric and value."""


def load(folder: str | Path) -> "pd.DataFrame":
    """Read finished runs into one table in long form: a row per run, epoch, split, head and metric.

    Learning curves, the test table and paired differences are a few lines each::

        import bss.compare

        table = bss.compare.load("compared")

        # validation accuracy by epoch, the mean over seeds: a line per arm
        curve = table.query("checkpoint == 'each' and split == 'val' and metric == 'accuracy' and head == 'all'")
        curve.pivot_table(index="epoch", columns="arm", values="value", observed=True).plot()

        # test accuracy of every head, with the weights of the epoch that validation chose
        test = table.query("checkpoint == 'chosen' and split == 'test' and metric == 'accuracy'")
        test.pivot_table(index="arm", columns="head", values="value", aggfunc=["mean", "std"], observed=True)

        # every arm less uniform order, seed by seed
        paired = test.query("head == 'all'").pivot(index="seed", columns="arm", values="value")
        paired.sub(paired["uniform"], axis=0).describe()

    Whether runs may be compared is not asked here, other than in ``python -m bss report``: a folder may hold runs of
    several tasks.

    Args:
        folder: the ``--out`` of a comparison, a run folder, or a folder that holds some.

    Returns:
        A table with these columns:

        - ``task``: name of the task, or its file; missing for runs of format 1 that ``compare`` did not make.
        - ``run``: path of the run folder below ``folder``.
        - ``arm``: name of the arm. Runs of the scripts, which are no arm, are named by sampler, method, and the
            recipe fields that set them apart.
        - ``seed``: the run's seed.
        - ``fold``: which fold of its data set was tested; the column is there where a run has one.
        - ``epoch``: counted from 0, as in the files.
        - ``updates``, ``seconds``: optimiser steps, and wall time of scoring, training and measuring, from the
            beginning of the run to the end of that epoch.
        - ``split``: ``"train"``, ``"val"`` or ``"test"``.
        - ``checkpoint``: which weights were measured. ``"each"``: those that every epoch ended with, which makes a
            learning curve. ``"chosen"`` and ``"last"``: the test results of a run, with the weights of the epoch that
            validation chose and of the last epoch. Without a validation split the last epoch is the chosen one, and the
            learning curve is on ``"test"``.
        - ``head``: ``"all"`` is the prediction, which sums the heads that the recipe's ``prediction`` names (of CREMA-D
            the modalities' own, without the fused one); ``"fused"``, or a modality, is that head alone.
        - ``metric``: ``"accuracy"``, ``"macro_f1"`` and ``"map"`` (mean average precision) of every head, ``"loss"`` in
            training, and where they were measured: ``"imbalance_index"``, ``"gradient_ratio"``, and by modality
            ``"true_class_probability"``, ``"gradient_norm"``, ``"shapley_accuracy"``, ``"shapley_probability"`` and
            ``"probe_accuracy"``. What they are is said in :mod:`bss.scoring.imbalance`.
        - ``value``: the number as it is in the files; accuracies are fractions.

        Texts are categories in the order in which they come.

    Raises:
        RunFolderError: there is no such folder, or no finished run in it.

    Warns:
        UserWarning: folders were left out, since their run is unfinished or damaged, or has failed: one that ended by
            numbers that are not finite has no row here, and is an outcome of its arm all the same.
    """
    root = Path(folder)
    runs, failed, left_out = read_runs(find_folders([root]))
    bad = [*((run.path, f"failed, {run.told}") for run in failed), *left_out]
    if bad:
        path, reason = bad[0]
        count = len(runs) + len(bad)
        others = f"; then {', '.join(str(other) for other, _ in bad[1:])}" if len(bad) > 1 else ""
        warn(f"{len(bad)} of {count} run folders were left out; the first is {path}: {reason}{others}", stacklevel=2)
    return long_form(runs, root)


def long_form(runs: Iterable[FinishedRun], root: Path | None = None, *, tested: bool = False) -> "pd.DataFrame":
    """Make the table of :func:`load` from runs that were read.

    Args:
        runs: finished ones, with the names of their arms.
        root: the folder that their paths are told below; None = whole paths.
        tested: only the test results of the chosen and of the last weights.
    """
    import pandas as pd

    runs = list(runs)
    measured = _tested if tested else _measured
    table = pd.DataFrame((row for run in runs for row in _rows(run, root, measured)), columns=COLUMNS)
    if any(run.fold is not None for run in runs):
        folds = [run.fold for run in runs for _ in measured(run)]
        table.insert(COLUMNS.index("seed") + 1, "fold", pd.array(folds, dtype="Int64"))
    for name in TEXTS:
        table[name] = pd.Categorical(table[name], categories=table[name].dropna().unique())
    table["value"] = pd.to_numeric(table["value"], errors="coerce")  # null in the files is a number that diverged
    return table.astype(NUMBERS)


def _rows(
    run: FinishedRun, root: Path | None, measured: Callable[[FinishedRun], Iterator[_Measured]]
) -> Iterator[tuple[object, ...]]:
    """The rows of one run, with what is the same for all of an epoch."""
    path = run.path if root is None else run.path.relative_to(root.absolute())
    name = path.as_posix() if path.parts else run.path.name
    updates, seconds = 0, 0.0
    reached: dict[int, tuple[int, float]] = {}
    for row in run.rows:
        updates, seconds = updates + row["steps"], seconds + row["seconds"]
        reached[row["epoch"]] = updates, seconds
    for epoch, *rest in measured(run):
        yield run.task, name, run.arm, run.seed, epoch, *reached[epoch], *rest


def _measured(run: FinishedRun) -> Iterator[_Measured]:
    """(epoch, split, checkpoint, head, metric, value) of everything that the files of a run hold."""
    for row in run.rows:
        epoch = row["epoch"]
        if "train_loss" in row:
            yield epoch, "train", "each", "all", "loss", row["train_loss"]
        for metric, heads in row[run.watched].items():
            for head, value in heads.items():
                yield epoch, run.watched, "each", head, metric, value
        for split, head, metric, value in _imbalance(row.get("imbalance") or {}, run.watched):
            yield epoch, split, "each", head, metric, value
    yield from _tested(run)
    for split, head, metric, value in _imbalance(run.summary.get("imbalance") or {}, "test"):
        yield run.summary["chosen_epoch"], split, "chosen", head, metric, value


def _tested(run: FinishedRun) -> Iterator[_Measured]:
    """The metrics of the test samples among them."""
    chosen, tested = run.summary["chosen_epoch"], run.summary["test"]
    for checkpoint, epoch, metrics in (
        ("chosen", chosen, tested["chosen"]),
        ("last", run.rows[-1]["epoch"], tested["last"]),
    ):
        for metric, heads in metrics.items():
            for head, value in heads.items():
                yield epoch, "test", checkpoint, head, metric, value


def _imbalance(found: Imbalance, split: str) -> Iterator[tuple[str, str, str, float]]:
    """(split, head, metric, value) of what was measured; gradients are those of the training samples."""
    whole = [(split, "imbalance_index", found.get("index")), ("train", "gradient_ratio", found.get("gradient_ratio"))]
    yield from ((where, "all", metric, value) for where, metric, value in whole if value is not None)
    shapley = found.get("shapley") or {}
    by_modality = [
        (split, "true_class_probability", found.get("true_class_probability")),
        ("train", "gradient_norm", found.get("gradient_norm")),
        *((split, f"shapley_{metric}", shapley.get(metric)) for metric in ("accuracy", "probability")),
        (split, "probe_accuracy", found.get("probe")),
    ]
    for where, metric, values in by_modality:
        for modality, value in (values or {}).items():
            if value is not None:
                yield where, modality, metric, value
