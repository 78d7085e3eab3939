"""What the runs come to class by class: test accuracy of every arm, and how hard the training samples are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bss.compare.runs import FinishedRun
from bss.compare.samples import scored_arm
from bss.compare.tables import EPOCHS, Results, Table
from bss.compare.wording import PLUS_MINUS, mean_text, span
from bss.training.run_folder import read_scores

MOST_DRAWN = 30
"""The most classes that a figure shows: those in which the arms differ most. The table has all."""


@dataclass(frozen=True)
class ByClass:
    """Numbers of every class that occurs, C of them, in the order of their ids.

    Attributes:
        names: of the classes.
        training: how many training samples each run has of each: (C,) integers by run.
        test: how many test samples; empty where no run tells.
        accuracy: arm -> test accuracy of the prediction in percent: (C,) by run that tells; NaN for a class without
            test samples.
        difficulty: mean of the training samples' last difficulty, (C,) by run of :attr:`scored`; NaN without any.
        scored: the arm whose difficulties these are; empty = none has scores.
    """

    names: Sequence[str]
    training: Sequence[np.ndarray]
    test: Sequence[np.ndarray]
    accuracy: Mapping[str, Sequence[np.ndarray]]
    difficulty: Sequence[np.ndarray]
    scored: str


def mean_by_class(values_N: np.ndarray, places_N: np.ndarray, classes: int) -> np.ndarray:
    """Mean of some numbers over the samples of each class, (C,); NaN for a class without samples.

    Args:
        values_N: (N,) finite numbers. Of hits, 0 or 1, the mean is the accuracy within the class (its recall).
        places_N: (N,) classes, integers in [0, C).
        classes: C.
    """
    counts = np.bincount(places_N, minlength=classes)
    sums = np.bincount(places_N, weights=values_N, minlength=classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def by_class(results: Results) -> ByClass:
    """Gather the numbers of every class."""
    scored = scored_arm(results.arms)
    training, last = [], []
    for arm, members in results.arms.items():
        for run in members:
            training.append(run.scored.labels_N)
            if scored and arm == scored[0]:
                last.append((read_scores(run.path)["difficulty"][-1].copy(), run.scored.labels_N))
    tested = [labels for run in results.runs if (labels := _labels(run)) is not None]
    ids = np.unique(np.concatenate([*training, *tested]))  # any integers: a folder may come from anybody
    count = len(ids)
    named = next((run.config["classes"] for run in results.runs if run.config.get("classes")), ())

    def accuracy(run: FinishedRun) -> np.ndarray:
        assert run.hits is not None and run.hits.labels is not None  # it tells
        places_N = np.searchsorted(ids, run.hits.labels)
        return 100 * mean_by_class(run.hits.of(results.primary, "all"), places_N, count)

    def difficulty(last_N: np.ndarray, labels_N: np.ndarray) -> np.ndarray:
        known = np.isfinite(last_N)
        return mean_by_class(last_N[known], np.searchsorted(ids, labels_N[known]), count)

    def counts(of_runs: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.bincount(np.searchsorted(ids, labels_N), minlength=count) for labels_N in of_runs]

    return ByClass(
        names=[named[each] if 0 <= each < len(named) else f"class {each}" for each in ids.tolist()],
        training=counts(training),
        test=counts(tested),
        accuracy={
            arm: [accuracy(run) for run in members if _labels(run) is not None] for arm, members in results.arms.items()
        },
        difficulty=[difficulty(*each) for each in last],
        scored=scored[0] if scored else "",
    )


def _labels(run: FinishedRun) -> np.ndarray | None:
    return None if run.hits is None else run.hits.labels


def class_table(results: Results, found: ByClass) -> Table:
    """A row for every class: its samples, their difficulty, and the test accuracy of every arm within it."""
    import pandas as pd

    columns = [("class", list(found.names)), ("training samples", _counts(found.training))]
    columns += [("test samples", _counts(found.test))] if found.test else []
    columns += [("difficulty", _means(found.difficulty, digits=2))] if found.scored else []
    columns += [(arm, _means(values, digits=1)) for arm, values in found.accuracy.items() if values]
    names, cells = zip(*columns, strict=True)  # an arm may be called as another column is
    return Table("Class by class", _caption(results, found), pd.DataFrame(zip(*cells, strict=True), columns=names))


def _caption(results: Results, found: ByClass) -> str:
    told, whole = sum(map(len, found.accuracy.values())), len(results.runs)
    silent = "their hits.npz has no labels, as of earlier versions, or is not there"
    if told:
        which = "" if told == whole else f" {whole - told} of {whole} runs do not tell: {silent}."
        accuracy = (
            f"Test accuracy of {results.prediction} within each class in %, {EPOCHS[results.primary]}: mean "
            f"{PLUS_MINUS} standard deviation over the seeds.{which}"
        )
    else:
        accuracy = f"Test accuracy within the classes is not known, since no run tells: {silent}."
    hard = f" Difficulty: the mean of the training samples' last scores in {found.scored}." if found.scored else ""
    return f"{accuracy}{hard}"


def _counts(by_run: Sequence[np.ndarray]) -> list[str]:
    """How many samples the classes have: seeds may have others in their validation split."""
    table = np.stack(by_run)
    return [span([f"{least:,}", f"{most:,}"]) for least, most in zip(table.min(axis=0), table.max(axis=0), strict=True)]


def _means(by_run: Sequence[np.ndarray], *, digits: int) -> list[str]:
    table = np.stack(by_run)
    return [mean_text(column[np.isfinite(column)].tolist(), digits=digits) for column in table.T]


def drawn(found: ByClass, arms: Sequence[str]) -> tuple[list[str], dict[str, list[float]]]:
    """The classes that a figure of some arms shows, and the mean of every arm that tells in each of them.

    Of more than :data:`MOST_DRAWN` they are those in which the arms' means lie farthest apart.
    """
    told = {arm: np.stack(found.accuracy[arm]) for arm in arms if found.accuracy[arm]}
    if not told:
        return [], {}
    tested = np.flatnonzero(np.all([np.isfinite(table).all(axis=0) for table in told.values()], axis=0))
    means = {arm: table[:, tested].mean(axis=0) for arm, table in told.items()}
    apart = np.ptp(np.stack(list(means.values())), axis=0)
    shown = np.sort(np.argsort(-apart, kind="stable")[:MOST_DRAWN])
    return [found.names[place] for place in tested[shown]], {arm: mean[shown].tolist() for arm, mean in means.items()}
