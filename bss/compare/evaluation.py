"""Trained networks, measured on one part of a data set: the numbers of every head, and how they compare.

A network comes from its run folder by :func:`bss.load_run`'s way, the samples as :class:`bss.data.parts.Part`: what
changes them at test time wraps the part before it comes here. Names count, never positions: a class is what it is
called, and two networks that number the classes otherwise are compared as they should be.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bss.compare.pairs import pair_of
from bss.compare.robustness import FIRST, Curve
from bss.compare.runs import known_run, named
from bss.compare.statistics import holm, mcnemar
from bss.data.parts import Part, class_ids
from bss.scoring.calibration import Reliability
from bss.scoring.heads import unimodal_heads
from bss.scoring.imbalance import describe_predictions
from bss.scoring.intervals import RESAMPLES
from bss.scoring.measures import ClassRow, HeadMeasures, Measured
from bss.scoring.metrics import classification_metrics
from bss.training.load import LoadedRun, SavedRun
from bss.training.predictions import Predictions
from bss.training.run_folder import read_hits, read_scores
from bss.utils.devices import device_name
from bss.utils.errors import DataError, RecipeError, RunFolderError


@dataclass(frozen=True, kw_only=True)
class Head:
    """What was measured of one head.

    Attributes:
        measured: each of :data:`bss.scoring.measures.MEASURES` with its interval.
        rows: of the classes, in their order.
        confusion_CC: counts, the truth in the rows.
        reliability: in bins of equal width.
        adaptive: in bins of equal weight.
        predicted_N: class ids.
        confidence_N: probability of the predicted class.
        hit_N: whether it is the right one.
    """

    measured: Mapping[str, Measured]
    rows: Sequence[ClassRow]
    confusion_CC: np.ndarray
    reliability: Reliability
    adaptive: Reliability
    predicted_N: np.ndarray
    confidence_N: np.ndarray
    hit_N: np.ndarray

    @property
    def averaged(self) -> int:
        """Over how many classes macro F1 averages: those that occur among labels or predictions."""
        return sum(row.samples + row.predicted > 0 for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class OwnTest:
    """A run's own test set, measured again.

    Attributes:
        same: all numbers are those of ``summary.json``, to the last digit.
        flipped: head -> samples that are right now and were not, or the other way round; None where the run does not
            tell which it had right.
        largest: the largest difference of a number of the summary.
        elsewhere: what was otherwise then, in words; empty = nothing that the folder tells.
    """

    same: bool
    flipped: Mapping[str, int] | None
    largest: float
    elsewhere: str

    @property
    def told(self) -> str:
        """The same in a sentence."""
        if self.same:
            return "the run's own test set: these are the numbers of summary.json, to the last digit"
        where = f" ({self.elsewhere})" if self.elsewhere else ""
        if self.flipped is None:
            return f"the run's own test set{where}: the numbers differ from summary.json by up to {self.largest:.2g}"
        if not any(self.flipped.values()):
            return (
                f"the run's own test set{where}: no sample flipped, and the numbers differ from summary.json by up to "
                f"{self.largest:.2g}, which is rounding in the ranks"
            )
        flips = ", ".join(f"{head} {count}" for head, count in self.flipped.items())
        return (
            f"the run's own test set{where}: samples that flipped against hits.npz: {flips}; the numbers differ from "
            f"summary.json by up to {self.largest:.2g}"
        )


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A trained network, or several of one arm whose probabilities are averaged, measured on one part.

    Attributes:
        label: what it is called; unique among those that are compared.
        arm: of the run, or of all of them.
        seeds: of the run, or of all of them.
        folders: of the run, or of all of them.
        fold: of the data set, on which it was tested; None = there are no folds.
        checkpoint: whose weights; empty for an ensemble.
        epoch: after which they were saved, 0-based; None for an ensemble.
        device: what the network ran on.
        classes: names; ids are positions in them.
        names: of the samples.
        truth_N: class ids.
        heads: by name.
        imbalance: see :func:`bss.scoring.imbalance.describe_predictions`; None for a single modality.
        finished: whether there is a summary to hold the numbers against.
        own: against the run's summary; None where the samples are not its test set, or there is none.
        trained_on: how many of the names are in its training list; None where it does not tell, or it is that list.
        recipe: every number of the run, in plain values; None for an ensemble.
    """

    label: str
    arm: str
    seeds: tuple[int, ...]
    folders: tuple[str, ...]
    fold: int | None
    checkpoint: str
    epoch: int | None
    device: str
    classes: tuple[str, ...]
    names: Sequence[str]
    truth_N: np.ndarray
    heads: Mapping[str, Head]
    imbalance: Mapping[str, Any] | None
    finished: bool = False
    own: OwnTest | None = None
    trained_on: int | None = None
    recipe: Mapping[str, Any] | None = None

    @property
    def occurring(self) -> int:
        """How many classes have a sample."""
        return len(np.unique(self.truth_N))

    def same_samples(self, other: "Evaluated") -> bool:
        """Whether another was measured on the same samples, of the same classes by name."""
        if list(self.names) != list(other.names):
            return False
        ids = class_ids(self.classes, other.classes)
        return bool((ids[self.truth_N] == other.truth_N).all())


class TestedPair(NamedTuple):
    """Two of them, compared by the samples that one alone has right.

    Attributes:
        first: label of the one.
        second: label of the other.
        only_first: samples that the first alone has right.
        only_second: samples that the second alone has right.
        p: of the exact McNemar test.
        p_holm: adjusted for the number of pairs.
    """

    first: str
    second: str
    only_first: int
    only_second: int
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that were measured on one part.

    Attributes:
        part: the samples.
        runs: one by one.
        ensembles: of the runs of each arm with two seeds or more; none where they met other samples.
        pairs: every two of the runs; none where they met other samples.
        notes: sentences on what else a reader must know.
        curves: of the runs with modalities that are missing or noisy, where they were asked for.
    """

    part: Part
    runs: Sequence[Evaluated]
    ensembles: Sequence[Evaluated] = ()
    pairs: Sequence[TestedPair] = ()
    notes: Sequence[str] = ()
    curves: Sequence[Curve] = ()

    @property
    def all(self) -> list[Evaluated]:
        """Runs and ensembles."""
        return [*self.runs, *self.ensembles]


# ---- one network ---------------------------------------------------------------------------------------------------


def labels_of(runs: Sequence[SavedRun]) -> list[tuple[str, str]]:
    """Arm and label of every run: ``("cl", "cl seed 3")``; what several would be called alike has its folder too.

    Runs whose files name no arm are named by sampler and method, as in a report.
    """
    known = [known_run(run.path) for run in runs]
    told = iter(named([each for each in known if each is not None]))
    arms = [next(told).arm if each is not None else run.path.name for run, each in zip(runs, known, strict=True)]
    labels = [
        f"{arm} seed {pair_of(getattr(run.recipe, 'fold', None), run.recipe.seed)}"
        for arm, run in zip(arms, runs, strict=True)
    ]
    alike = {label for label in labels if labels.count(label) > 1}
    return [
        (arm, f"{label} ({run.path})" if label in alike else label)
        for arm, label, run in zip(arms, labels, runs, strict=True)
    ]


def evaluated(
    saved: SavedRun,
    loaded: LoadedRun,
    part: Part,
    predictions: Predictions,
    *,
    arm: str,
    label: str,
    device: torch.device,
    resamples: int = RESAMPLES,
) -> Evaluated:
    """Everything that is measured of a run's predictions.

    Args:
        saved: the run's folder.
        loaded: its network.
        part: the samples.
        predictions: of these.
        arm: of the run.
        label: what it is called.
        device: that the network ran on.
        resamples: test sets that the bootstrap draws, see :meth:`bss.scoring.measures.HeadMeasures.measured`.
    """
    heads = {name: _head(logits, predictions.truth_N, part, resamples) for name, logits in predictions.logits.items()}
    own = None
    if saved.summary is not None and saved.is_own_test(part, loaded.classes):
        own = _own_test(saved, predictions, heads, device)
    return Evaluated(
        label=label,
        arm=arm,
        seeds=(loaded.recipe.seed,),
        folders=(str(saved.path.resolve()),),
        fold=getattr(loaded.recipe, "fold", None),
        checkpoint=saved.checkpoint,
        epoch=saved.epoch,
        device=device_name(device),
        classes=loaded.classes,
        names=part.names,
        truth_N=predictions.truth_N,
        heads=heads,
        imbalance=_imbalance(predictions.logits, predictions.truth_N),
        finished=saved.summary is not None,
        own=own,
        trained_on=None if part.title == "train" else _trained_on(saved, part),
        recipe=saved.config["recipe"],
    )


def _head(logits_NC: Tensor, truth_N: np.ndarray, part: Part, resamples: int) -> Head:
    measures = HeadMeasures(logits_NC, truth_N)
    groups_N = None if part.groups is None else np.asarray(part.groups)
    return Head(
        measured=measures.measured(groups_N, resamples=resamples),
        rows=measures.classes(),
        confusion_CC=measures.confusion(),
        reliability=measures.reliability(),
        adaptive=measures.reliability(adaptive=True),
        predicted_N=measures.predicted_N,
        confidence_N=measures.confidence_N,
        hit_N=measures.hit_N,
    )


def _imbalance(logits: Mapping[str, Tensor], truth_N: np.ndarray) -> Mapping[str, Any] | None:
    unimodal = unimodal_heads(logits)
    return describe_predictions(unimodal, torch.from_numpy(truth_N)) if len(unimodal) > 1 else None


def _own_test(saved: SavedRun, predictions: Predictions, heads: Mapping[str, Head], device: torch.device) -> OwnTest:
    """The numbers against those of the run's summary, and which samples flipped."""
    assert saved.summary is not None
    tested = saved.summary["test"]
    epoch, then = ("chosen", tested["chosen"]) if saved.checkpoint == "best" else ("last", tested["last"])
    now = classification_metrics(predictions.logits, torch.from_numpy(predictions.truth_N))
    if {name: set(values) for name, values in then.items()} != {name: set(values) for name, values in now.items()}:
        raise RunFolderError(f"{saved.path}: summary.json is of other metrics or heads than the network gives")
    differences = [abs(then[name][head] - value) for name, values in now.items() for head, value in values.items()]
    try:
        hits = read_hits(saved.path)
    except RunFolderError as error:
        raise RunFolderError(f"{saved.path}: {error}") from error
    flipped = None
    if hits is not None and hits.count == len(predictions.names) and set(hits.heads) == set(heads):
        flipped = {name: int((hits.of(epoch, name) != head.hit_N).sum()) for name, head in heads.items()}
    return OwnTest(
        same=not any(differences) and not any((flipped or {}).values()),
        flipped=flipped,
        largest=max(differences),
        elsewhere=_elsewhere(saved, device),
    )


def _elsewhere(saved: SavedRun, device: torch.device) -> str:
    """What the run says to have run on, where it is something else than now."""
    config = saved.config
    trained, versions = (config.get("continued") or [config])[-1], config.get("versions") or {}
    told = {
        "device": (trained.get("device", config.get("device")), device_name(device)),
        "precision": (config["recipe"].get("precision"), saved.recipe.precision),
        "batch_size": (config["recipe"].get("batch_size"), saved.recipe.batch_size),
        "torch": (versions.get("torch"), metadata.version("torch")),
        "threads": (trained.get("threads", config.get("threads")), torch.get_num_threads()),
    }
    other = [f"{name} {then} then, {now} now" for name, (then, now) in told.items() if then not in (None, now)]
    return "; ".join(other)


def _trained_on(saved: SavedRun, part: Part) -> int | None:
    """How many of the names are in the training list; None where the run does not tell them."""
    try:
        known = set(read_scores(saved.path)["name"].tolist())
    except RunFolderError:
        return None
    return sum(name in known for name in part.names)


# ---- several -------------------------------------------------------------------------------------------------------


@dataclass
class _Sum:
    """Runs of one arm that met the same samples.

    Attributes:
        members: one by one.
        part: these samples.
        logs: head -> (N, C) logarithm of the sum of their probabilities, with the classes as the first one has them.
    """

    members: list[Evaluated]
    part: Part
    logs: dict[str, np.ndarray]


@dataclass
class Ensembles:
    """Adds the probabilities of the runs of each arm up as they come, so that none has to be kept."""

    sums: list[_Sum] = field(default_factory=list)

    def add(self, run: Evaluated, part: Part, predictions: Predictions) -> None:
        """Count a run in, with those of its arm that met the same samples."""
        logs = {head: logits.double().log_softmax(dim=1).numpy() for head, logits in predictions.logits.items()}
        for each in self.sums:
            first = each.members[0]
            if first.arm == run.arm and first.same_samples(run):
                order = class_ids(first.classes, run.classes)
                each.logs = {head: np.logaddexp(each.logs[head], values[:, order]) for head, values in logs.items()}
                each.members.append(run)
                return
        self.sums.append(_Sum([run], part, logs))

    def evaluated(self, *, resamples: int = RESAMPLES) -> list[Evaluated]:
        """Two runs or more of an arm, by the mean of their probabilities.

        Args:
            resamples: test sets that the bootstrap draws.
        """
        found = []
        for each in self.sums:
            count, first = len(each.members), each.members[0]
            if count < 2:
                continue
            logits = {head: torch.from_numpy(values - np.log(count)) for head, values in each.logs.items()}
            where = "" if first.fold is None else f" in fold {first.fold}"
            found.append(
                replace(
                    first,
                    label=f"{first.arm}, ensemble of {count} seeds{where}",
                    seeds=tuple(seed for run in each.members for seed in run.seeds),
                    folders=tuple(folder for run in each.members for folder in run.folders),
                    checkpoint="",
                    epoch=None,
                    heads={name: _head(z, first.truth_N, each.part, resamples) for name, z in logits.items()},
                    imbalance=_imbalance(logits, first.truth_N),
                    finished=False,
                    own=None,
                    trained_on=None,
                    recipe=None,
                )
            )
        return found


def pairs_of(runs: Sequence[Evaluated]) -> list[TestedPair]:
    """Every two runs by McNemar's test of their predictions, adjusted by Holm's method; of the same samples alone."""
    couples = [(one, other) for one, other in itertools.combinations(runs, 2) if one.same_samples(other)]
    counts = []
    for one, other in couples:
        first, second = one.heads[FIRST].hit_N, other.heads[FIRST].hit_N
        counts.append((int((first & ~second).sum()), int((second & ~first).sum())))
    values = [mcnemar(*each) for each in counts]
    adjusted = [p for p in holm(values) if p is not None]
    return [
        TestedPair(one.label, other.label, *count, p, p_holm)
        for (one, other), count, p, p_holm in zip(couples, counts, values, adjusted, strict=True)
    ]


def check_together(runs: Sequence[SavedRun], classes: Sequence[tuple[str, ...]]) -> None:
    """Refuse runs that cannot stand in one table.

    Args:
        runs: their folders.
        classes: of each.

    Raises:
        RecipeError: runs of several tasks, or with other classes.
    """
    first = runs[0]
    for run, names in zip(runs, classes, strict=True):
        if run.task is not first.task:
            raise RecipeError(f"{first.path} and {run.path} are runs of two tasks: evaluate each task by itself")
        if set(names) != set(classes[0]):
            other = sorted(set(names) ^ set(classes[0]))
            raise RecipeError(f"{first.path} and {run.path} have other classes ({other[0]}): evaluate each by itself")


def check_names(part: Part) -> None:
    """Refuse a part with a name that is there twice.

    Raises:
        DataError: names the first.
    """
    seen: set[str] = set()
    for name in part.names:
        if name in seen:
            raise DataError(f"the {part.title} part has {name} twice: take one of its rows out of the list")
        seen.add(name)
