"""From finished runs to tables: one set of numbers, written as Markdown, as CSV and into the page.

Numbers are grouped and turned by pandas, and become text by the functions at the end. Its own writers of Markdown and
HTML are not used: ``to_markdown`` needs another package, leaves pipes in names unescaped and guesses which texts are
numbers; ``to_html`` has no scopes for screen readers. Ours are four lines each.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.compare.clips import seeds_and_clips_interval
from bss.compare.frame import long_form
from bss.compare.pairs import FoldSeed, Pair, fold_of, seed_of, units
from bss.compare.plan import Analysis, Plan
from bss.compare.runs import OWN_FIELDS, FailedRun, FinishedRun, KnownRun, by_arm, check_comparable
from bss.compare.statistics import MOST_FLIPPED, Difference, least_p, mean_and_std, paired
from bss.compare.verdict import Judgement, Verdict, judge, seen_text, sentences
from bss.compare.wording import (
    DASH,
    PLUS_MINUS,
    interval_text,
    listed,
    mean_text,
    p_text,
    pairs_text,
    point_decimals,
    points,
    points_text,
    seeds_text,
    span,
)
from bss.recipes.recipe import FREE_FIELDS, MAY_CHANGE
from bss.training.run_folder import Hits
from bss.utils.errors import RecipeError, RunFolderError, shown

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 1.0
"""Percentage points: a smaller difference does not matter, where no plan says otherwise."""


EPOCHS = {"chosen": "epoch chosen on validation", "last": "last epoch"}
"""The two epochs whose weights met the test set."""


OVER_CLIPS = "seeds and clips [95 %]"
"""The column of intervals over seeds and test samples."""


METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "map": "mean average precision"}


@dataclass(frozen=True)
class Table:
    """A table of text, with its heading.

    Attributes:
        title: the heading.
        caption: what is shown, of what, and n.
        cells: the texts, under the names of their columns.
        prose: its cells are words, which a page aligns to the left and breaks into lines.
        grouped: rows with one text in the first column belong together, and the first of them stands for the others: a
            page sorts the groups by it, and the others within their group.
        minor: columns that paper has no room for.
    """

    title: str
    caption: str
    cells: "pd.DataFrame"
    prose: bool = False
    grouped: bool = False
    minor: Collection[str] = ()

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.cells.columns)

    @property
    def rows(self) -> list[list[str]]:
        """The texts of every row."""
        return self.cells.to_numpy().tolist()

    @property
    def bodies(self) -> list[list[list[str]]]:
        """The rows by group; all of them in one where they are not :attr:`grouped`."""
        if not self.grouped:
            return [self.rows]
        return [list(rows) for _, rows in itertools.groupby(self.rows, key=lambda row: row[0])]

    def text(self) -> str:
        """The table for a terminal: its columns aligned, under its heading, without those that are :attr:`minor`."""
        kept = [place for place, name in enumerate(self.columns) if name not in self.minor]
        lines = [[line[place] for place in kept] for line in (self.columns, *self.rows)]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        body = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        return "\n".join([self.title, *body])

    def markdown(self) -> str:
        """The table in Markdown, under its heading; pipes in its texts are escaped."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        body = "\n".join("| " + " | ".join(text.replace("|", "\\|") for text in line) + " |" for line in lines)
        return f"## {self.title}\n\n{self.caption}\n\n{body}\n"


@dataclass(frozen=True)
class Results:
    """Finished runs that belong together, and how they are compared.

    Attributes:
        arms: arm -> its runs, by seed.
        controls: arms that others are compared with: the first with all, every further one with those whose epochs
            have its sizes (which sets the choice of the samples apart from their number).
        metric: one of :data:`METRICS`.
        left_out: folders that could not be used, with the reason.
        notes: sentences on what else a reader must know.
        failed: runs that ended by numbers that are not finite.
        missing: runs that the machine lost, in words: the comparison is incomplete without them. None = whatever was
            left out or is not there.
        plan: what was set down before the runs; None = nothing, or they are of several plans.
        other: why this is another analysis than the plan's, as the end of a sentence; empty = it is none.
    """

    arms: Mapping[str, Sequence[FinishedRun]]
    controls: Sequence[str]
    metric: str
    left_out: Sequence[tuple[Path, str]] = ()
    notes: Sequence[str] = ()
    failed: Sequence[FailedRun] = ()
    missing: Sequence[str] | None = None
    plan: Plan | None = None
    other: str = ""

    @cached_property
    def runs(self) -> list[FinishedRun]:
        """All runs, arm by arm."""
        return [run for members in self.arms.values() for run in members]

    @property
    def primary(self) -> str:
        """The epoch that the comparison is about: the chosen one, or the last where only the test set could choose."""
        return "last" if any("oracle" in run.summary for run in self.runs) else "chosen"

    @property
    def epochs(self) -> list[str]:
        """The primary epoch and then the other one, where there is another one."""
        return ["chosen", "last"] if self.primary == "chosen" else ["last"]

    @cached_property
    def folds(self) -> tuple[int, ...]:
        """The folds that are compared, ascending; none = the runs are of one test part, or of the seeds' own."""
        if self.plan is not None and self.plan.folds:
            return self.plan.folds
        found = {run.fold for run in (*self.runs, *self.failed) if run.fold is not None}
        return tuple(sorted(found)) if len(found) > 1 else ()

    def pair(self, run: KnownRun) -> Pair:
        """What other arms' runs are paired with it by."""
        return run.pair if self.folds else run.seed

    @cached_property
    def overlap(self) -> float:
        """Test samples for each other sample, the mean over the runs of folds; see :mod:`bss.compare.statistics`.

        Validation samples count with those that train: they choose the epoch. 0 without folds.
        """
        if not self.folds:
            return 0.0
        sizes = [run.config["samples"] for run in self.runs]
        shares = [each["test"] / (each.get("train", 0) + (each.get("val") or 0)) for each in sizes]
        return math.fsum(shares) / len(shares)

    @property
    def over(self) -> str:
        """What means and deviations of an arm are over, in words."""
        return "folds, each the mean of its seeds" if self.folds else "seeds"

    @cached_property
    def one_test(self) -> bool:
        """Whether all runs met one test set; else every fold has one, or every seed has drawn its own."""
        return len({run.test_of for run in self.runs}) <= 1

    @property
    def test_parts(self) -> int:
        """How many different test parts the seeds have drawn; runs that do not tell theirs are of one of their own."""
        return len({run.hash_of("test") or run.test_of for run in self.runs})

    @property
    def noun(self) -> str:
        """The metric in words."""
        return METRICS.get(self.metric, self.metric)

    @property
    def prediction(self) -> str:
        """What the metric is of, in words: the prediction, and the heads whose logits it sums."""
        heads: dict[str, list[str]] = {}
        for arm, members in self.arms.items():
            heads.setdefault(members[0].prediction, []).append(arm)
        usual, *others = heads
        apart = "".join(f"; of {', '.join(heads[other])}: {other}" for other in others)
        return f"the prediction ({usual}{apart})"

    @property
    def heads(self) -> list[str]:
        """``"all"``, ``"fused"`` and the modalities."""
        return list(self.runs[0].summary["test"]["last"][self.metric])

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that the runs have."""
        return list(self.runs[0].summary["test"]["last"])

    @cached_property
    def test(self) -> "pd.DataFrame":
        """Test metrics in percent: rows by epoch, metric, head, fold where there are folds, and seed; arms in columns.

        NaN is no number.
        """
        table = long_form(self.runs, tested=True)
        table = table[table["metric"].isin(self.runs[0].summary["test"]["last"])]
        table = table.assign(value=100 * table["value"].where(table["value"].abs() < math.inf))
        own = ["fold", "seed"] if self.folds else ["seed"]
        return table.pivot(index=["checkpoint", "metric", "head", *own], columns="arm", values="value")

    @cached_property
    def per_run(self) -> "pd.DataFrame":
        """What a run took, and how unequal its modalities are at the end (NaN where it was not measured)."""
        import pandas as pd

        rows = [
            {
                "arm": run.arm,
                "seed": str(run.pair) if self.folds else run.seed,
                "updates": run.updates,
                "epochs": len(run.rows),
                "chosen epoch": run.summary["chosen_epoch"] + 1,
                "seconds": run.seconds,
                "imbalance index": (run.summary.get("imbalance") or {}).get("index"),
            }
            for run in self.runs
        ]
        return pd.DataFrame(rows).astype({"imbalance index": "float64"})

    @property
    def names(self) -> list[str]:
        """Names of all arms; those of which every run failed come last."""
        return list(dict.fromkeys([*self.arms, *(run.arm for run in self.imputed)]))

    @property
    def imputed(self) -> Sequence[FailedRun]:
        """The failed runs that have an outcome: the accuracy of a network that always says the commonest class.

        A loss that is no number is what this way to train did with this seed. Without such a run, an arm that gains
        where it trains and often fails would be better for failing.
        """
        return self.failed if self.metric == "accuracy" else ()

    @property
    def uncounted(self) -> Sequence[FailedRun]:
        """The failed runs that ought to count and cannot: of other metrics it is not known what they are worth."""
        return () if self.metric == "accuracy" else self.failed

    @property
    def lost(self) -> list[str]:
        """Runs without an outcome, in words: those that the machine lost, and those of the plan that are not there."""
        if self.missing is not None:
            return list(self.missing)
        if self.left_out:
            return [f"{path}: {reason}" for path, reason in self.left_out]
        there = {(run.arm, self.pair(run)) for run in (*self.runs, *self.imputed)}
        arms, pairs = {arm for arm, _ in there}, {pair for _, pair in there}
        planned = () if self.plan is None else self.plan.runs
        gaps = [run for run in planned if run.arm in arms and run.pair in pairs and (run.arm, run.pair) not in there]
        return [f"{run.arm} seed {run.pair}: not there" for run in gaps]

    def values(
        self, epoch: str, head: str = "all", metric: str | None = None, *, failed: bool = False
    ) -> dict[str, dict[Pair, float]]:
        """Arm -> seed, or seed of a fold -> a test metric in percent.

        Args:
            epoch: ``"chosen"`` or ``"last"``.
            head: one of :attr:`heads`.
            metric: one of :data:`METRICS`; None = the one that the comparison is about.
            failed: with the runs of :attr:`imputed`, at what they count for.
        """
        found = {arm: dict(known) for arm, known in self._values(epoch, metric or self.metric, head).items()}
        for run in self.imputed if failed else ():
            found.setdefault(run.arm, {})[self.pair(run)] = 100 * run.accuracy
        return found

    def _values(self, epoch: str, metric: str, head: str) -> dict[str, dict[Pair, float]]:
        """:meth:`values` of the runs that are finished, which many tables ask for."""
        where = (epoch, metric, head)
        if where not in self._looked_up:
            found: dict[str, dict[Pair, float]] = {}
            for arm, by_seed in self.test.loc[where].items():
                known = by_seed.dropna().to_dict()
                found[arm] = {FoldSeed(*key): value for key, value in known.items()} if self.folds else known
            self._looked_up[where] = found
        return self._looked_up[where]

    @cached_property
    def _looked_up(self) -> dict[tuple[str, str, str], dict[str, dict[Pair, float]]]:
        return {}

    def difference(self, values: Mapping[str, Mapping[Pair, float]], arm: str, control: str) -> Difference:
        """An arm against a control, over what both have."""
        return paired(values, arm, control, self.overlap)

    def compared(self, control: str) -> list[str]:
        """Names of the arms that are compared with this control."""
        others = [arm for arm in self.names if arm != control]
        if control == self.controls[0]:
            return others
        runs = self.arms.get(control, ())[:1]
        return [arm for arm in others if all(same_sizes(self.arms[arm][0], run) for run in runs if arm in self.arms)]

    def differences(self, control: str, epoch: str, head: str = "all", metric: str | None = None) -> list[Difference]:
        """Every arm that is compared with the control against it, in percentage points, without failed runs."""
        values = self.values(epoch, head, metric)
        return [self.difference(values, arm, control) for arm in self.compared(control)]

    def over_clips(self, difference: Difference, epoch: str, head: str = "all") -> tuple[float, float] | None:
        """Confidence interval of a difference of accuracies over seeds and test samples, in percentage points.

        It is None where a seed has no hits: older runs, and those that failed; where every seed has test samples of its
        own, so that the interval over seeds is over those as well; and where there is nothing to judge by.

        Args:
            difference: arm minus control.
            epoch: ``"chosen"`` or ``"last"``.
            head: one of :attr:`heads`.
        """
        import numpy as np

        if not self.one_test:
            return None
        pairs = [
            (self._hits.get((difference.arm, seed)), self._hits.get((difference.control, seed)))
            for seed in map(seed_of, difference.seeds)
        ]
        whole = [(one, other) for one, other in pairs if one is not None and other is not None]
        if not whole or len(whole) < len(pairs):
            return None
        points_NM = [100.0 * (one.of(epoch, head).astype(int) - other.of(epoch, head)) for one, other in whole]
        return seeds_and_clips_interval(np.stack(points_NM), self.groups)

    @cached_property
    def _hits(self) -> dict[tuple[str, int], Hits]:
        """(arm, seed) -> its hits, of the runs that have some."""
        return {(run.arm, run.seed): run.hits for run in self.runs if run.hits is not None}

    @property
    def groups(self) -> Sequence[int] | None:
        """Group of every test sample; None where no run knows any. All runs that know them know the same."""
        told = (run.hits.groups for run in self.runs if run.hits is not None and run.hits.groups is not None)
        found = next(told, None)
        return None if found is None else found.tolist()

    @cached_property
    def clip_intervals(self) -> dict[tuple[str, str, str], tuple[float, float]]:
        """(arm, control, epoch) -> :meth:`over_clips` of a primary comparison, of those that have one."""
        if self.metric != "accuracy":
            return {}
        found = {}
        for epoch in self.epochs:
            values = self.values(epoch, failed=True)
            for control in self.controls:
                for arm in self.compared(control):
                    if (interval := self.over_clips(self.difference(values, arm, control), epoch)) is not None:
                        found[arm, control, epoch] = interval
        return found

    @cached_property
    def analysis(self) -> Analysis:
        """What is judged: what was planned or, where nothing was, every arm against its controls."""
        if self.plan is not None and not self.other:
            return self.plan.analysis
        contrasts: list[tuple[str, str]] = []
        for control in self.controls:
            contrasts += [(arm, control) for arm in self.compared(control) if (control, arm) not in contrasts]
        seeds = {run.seed for run in self.runs} | {run.seed for run in self.imputed}
        return Analysis(
            arms=tuple(self.names),
            seeds=tuple(sorted(seeds)),
            contrasts=tuple(contrasts),
            metric=self.metric,
            outcomes=tuple(self.epochs),
            margin=MARGIN if self.plan is None else self.plan.analysis.margin,
            looks=1,
        )

    @cached_property
    def judgement(self) -> Judgement:
        """The verdicts on the primary comparisons."""
        return judge(
            {epoch: self.values(epoch, failed=True) for epoch in self.analysis.outcomes},
            self.analysis,
            has_plan=self.plan is not None and not self.other,
            seen=() if self.plan is None else self.plan.seen,
            missing=self.lost,
            other=self.other or ("failed runs are left out of it" if self.uncounted else ""),
            folds=self.folds,
            overlap=self.overlap,
        )


def same_sizes(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether the epochs of two runs have the same numbers of samples.

    The last of several epochs aside, which equal updates may cut short; a batch more or less is rounding by class.
    """
    if len(one.rows) != len(other.rows):
        return False
    counted = max(1, len(one.rows) - 1)
    pairs = zip(one.rows[:counted], other.rows[:counted], strict=True)
    return all(abs(a["samples"] - b["samples"]) < one.recipe["batch_size"] for a, b in pairs)


def _no_number(run: FinishedRun, metric: str) -> str | None:
    """The primary result of a run that is no number; None where both are, or the run does not have the metric.

    Another metric or head that is no number is left out where it stands, and its run is not.
    """
    tested = run.summary["test"]
    for epoch, metrics in (("chosen", tested["chosen"]), ("last", tested["last"])):
        value = metrics.get(metric, {}).get("all", 0.0)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return f"its test {METRICS.get(metric, metric)} is {shown(value)} ({EPOCHS[epoch]})"
    return None


def results_of(
    runs: Sequence[FinishedRun],
    *,
    controls: Sequence[str] = (),
    metric: str = "accuracy",
    order: Sequence[str] = (),
    left_out: Sequence[tuple[Path, str]] = (),
    notes: Sequence[str] = (),
    other: str = "",
    failed: Sequence[FailedRun] = (),
    missing: Sequence[str] | None = None,
    plan: Plan | None = None,
) -> Results:
    """Check that runs may be compared, and set down how.

    Args:
        runs: finished runs; those whose primary result is no number are left out.
        controls: names of arms; none = those of the plan or, without one, the arm of uniform order, then those of
            random pacing.
        metric: one of :data:`METRICS`.
        order: order of the arms; none = the controls first, then as they come.
        left_out: folders that could not be used, with the reason.
        notes: sentences on what else a reader must know.
        other: why these are not the runs of a plan, as the end of a sentence; empty = they are, or there is none.
        failed: runs that ended by numbers that are not finite, with the accuracy that they count as.
        missing: runs that the machine lost, in words; None = whatever was left out or is not there.
        plan: what was set down before the runs; None = nothing, or they are of several plans.

    Raises:
        RunFolderError: the runs do not belong together, see :func:`bss.compare.runs.check_comparable`, or none of them
            has test results that are numbers.
        RecipeError: the runs do not have a control or the metric that is asked for.
    """
    reasons = [_no_number(run, metric) for run in runs]
    unusable = [(run.path, reason) for run, reason in zip(runs, reasons, strict=True) if reason]
    left_out = [*left_out, *unusable]
    runs = [run for run, reason in zip(runs, reasons, strict=True) if not reason]
    if not runs:
        raise RunFolderError(f"there is no run to report: {left_out[-1][0]}: {left_out[-1][1]}")
    check_comparable([*runs, *failed])
    arms = by_arm(runs, order)
    measured = list(runs[0].summary["test"]["last"])
    if metric not in measured:
        raise RecipeError(f"the runs have no metric {shown(metric)}; they have {', '.join(measured)}")
    for name in controls:
        if name not in arms:
            raise RecipeError(f"the control {shown(name)} is none of the arms with a finished run: {', '.join(arms)}")
    planned = () if plan is None else tuple(dict.fromkeys(control for _, control in plan.analysis.contrasts))
    chosen = tuple(controls) or tuple(name for name in planned if name in arms) or _usual_controls(arms)
    if not order:
        arms = by_arm(runs, chosen)
    results = Results(
        arms,
        chosen,
        metric,
        tuple(left_out),
        failed=tuple(failed),
        missing=None if missing is None else (*missing, *(f"{path}: {reason}" for path, reason in unusable)),
        plan=plan,
        other=_other(plan, controls, metric),
    )
    return replace(results, notes=(*notes, *_remarks(results, bool(controls))), other=other or results.other)


def _other(plan: Plan | None, controls: Sequence[str], metric: str) -> str:
    """Why what is asked for is not what was planned, as the end of a sentence; empty where it is, or nothing was."""
    if plan is None:
        return ""
    analysis = plan.analysis
    if metric != analysis.metric:
        return f"the plan is about {METRICS[analysis.metric]}, and this about {METRICS[metric]}"
    planned = {control for _, control in analysis.contrasts}
    if controls and not planned <= set(controls):
        return f"the plan compares with {listed(sorted(planned))}, and this with {listed(controls)}"
    return ""


def _usual_controls(arms: Mapping[str, Sequence[FinishedRun]]) -> tuple[str, ...]:
    plain = {arm: members[0].config for arm, members in arms.items() if not members[0].config.get("method")}
    uniform = [arm for arm, config in plain.items() if config["sampler"] == "UniformSampler"]
    uniform.sort(key=lambda arm: arm != "uniform")  # others may have a loss of their own, as ``joint`` has
    pacing = [arm for arm, config in plain.items() if config["sampler"] == "RandomPacingSampler"]
    return tuple(uniform[:1] + pacing) or tuple(arms)[:1]


def _trains_heads(run: FinishedRun) -> bool:
    """Whether the modalities' own heads have a weight in the loss."""
    return run.recipe.get("unimodal_weight", 1.0) != 0


def _remarks(results: Results, control_given: bool) -> Iterator[str]:
    seeds = _seeds(results)
    counts = {arm: len(own) for arm, own in seeds.items()}
    control = results.controls[0]
    first = results.runs[0]
    if not control_given and first.config["sampler"] != "UniformSampler" and control == next(iter(results.arms)):
        yield f"There is no arm of uniform order: the first arm, {control}, is the control."
    elif not control_given and not _trains_heads(results.arms[control][0]):
        yield f"The control, {control}, trains the fused head alone: there is no arm of uniform order with all heads."
    if max(counts.values()) == 1:
        yield "One seed only: no interval and no test, since both need two runs or more to judge the scatter by."
    elif len(set(counts.values())) > 1:
        each = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        yield f"The arms have different numbers of seeds{_of_folds(results)} ({each}); {_shared(results)}"
    elif len({frozenset(own) for own in seeds.values()}) > 1:
        each = "; ".join(f"{arm} {pairs_text(own)}" for arm, own in seeds.items())
        yield f"The arms have different seeds{_of_folds(results)} ({each}); {_shared(results)}"
    if folds := [
        fold for fold in results.folds if not any(fold_of(pair) == fold for own in seeds.values() for pair in own)
    ]:
        yield f"Of fold{'s' * (len(folds) > 1)} {seeds_text(folds)} no arm has a run."
    if results.primary == "last":
        yield (
            "There was no validation split (val_fraction=0): the last epoch counts, and what was the best epoch on the "
            "test set is not reported."
        )
    steps = results.per_run.groupby("seed", sort=False)["updates"].agg(["min", "max"])
    for seed, least, most in steps[steps["min"] < steps["max"]].head(1).itertuples():
        yield (
            f"The runs differ in their optimiser steps (with seed {seed} {least} to {most}): an arm "
            "may be better or worse because it trained for longer or shorter."
        )
    yield from _lengths(results)
    for name in ("commit", "device", "versions"):
        kinds = made_by(results.runs, name, whole=False)
        if len(kinds) > 1:
            yield f"The runs differ in {name}: {'; '.join(f'{said} ({who})' for said, who in kinds.items())}."
    for run in results.runs:
        for part in run.parts[1:]:
            if set(part.changed) - MAY_CHANGE:
                who = f"{run.arm} seed {results.pair(run)}"
                yield f"{who} trained {part.where}: it is no repetition of the others of its arm."
    texts = {run.task_file for run in results.runs} - {None}
    if len(texts) > 1:
        yield f"The task's file was changed between the runs ({len(texts)} versions): they may not be comparable."


def _seeds(results: Results) -> dict[str, set[Pair]]:
    """The seeds, or seeds of folds, that each arm has an outcome with, failed runs that count included."""
    own: dict[str, set[Pair]] = {arm: set() for arm in results.names}
    for run in (*results.runs, *results.imputed):
        own[run.arm].add(results.pair(run))
    return own


def _of_folds(results: Results) -> str:
    return " of folds" if results.folds else ""


def _shared(results: Results) -> str:
    """How many seeds the arms have in common with each of their controls, in words."""
    own, told = _seeds(results), []
    for control in results.controls:
        counts = {arm: len(own[arm] & own[control]) for arm in results.compared(control)}
        if len(set(counts.values())) == 1:
            told.append(f"{next(iter(counts.values()))} with {control}")
        elif counts:
            told.append(f"{', '.join(f'{arm} {count}' for arm, count in counts.items())} with {control}")
    return f"differences are over the seeds that both have: {'; '.join(told)}." if told else "nothing is compared."


def _lengths(results: Results) -> Iterator[str]:
    """Arms whose runs trained for different lengths, see :func:`bss.compare.runs.named`."""
    split: dict[str, dict[str, set[int]]] = {}
    for arm, members in results.arms.items():
        name = arm.removesuffix(f" ({members[0].length})")
        split.setdefault(name, {})[members[0].length] = {run.seed for run in members}
    for name, lengths in split.items():
        if len(lengths) > 1:
            each = "; ".join(
                f"{length}: seed{'s' * (len(seeds) > 1)} {seeds_text(seeds)}" for length, seeds in lengths.items()
            )
            yield f"The runs of {name} differ in how long they trained ({each}): each length is an arm of its own."


def made_by(runs: Sequence[FinishedRun], name: str, *, whole: bool = True) -> dict[str, str]:
    """What a field of ``config.json`` says of the runs, and of parts of runs that were stopped and went on, as text.

    Args:
        runs: arm by arm.
        name: of the field.
        whole: also tell those entries of a table that are the same everywhere.

    Returns:
        What it says -> of which runs.
    """
    values = [part.made_by.get(name) for run in runs for part in run.parts]
    tables = [value for value in values if isinstance(value, Mapping)]
    common: set[str] = set()
    if not whole and len(tables) == len(values):
        common = {key for key in tables[0] if all(table.get(key) == tables[0][key] for table in tables)}
    kinds: dict[str, list[tuple[FinishedRun, str]]] = {}
    for run in runs:
        parts = [(_told(part.made_by.get(name), common), part.where) for part in run.parts]
        alike = len({said for said, _ in parts}) == 1
        for said, where in parts[:1] if alike else parts:
            kinds.setdefault(said, []).append((run, "" if alike else where or "at first"))
    return {said: _who(who) for said, who in kinds.items()}


def _told(value: Any, without: Collection[str]) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items() if key not in without)
    return " ".join(value) if isinstance(value, list) else "unknown" if value is None else str(value)


def _who(found: Sequence[tuple[FinishedRun, str]]) -> str:
    """Runs in words: ``cl seeds 0, 1; spl seed 0 from epoch 3 on``."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for run, where in found:
        seeds.setdefault((run.arm, where), set()).add(run.seed)
    return "; ".join(
        f"{arm} seed{'s' * (len(numbers) > 1)} {seeds_text(numbers)}{f' {where}' if where else ''}"
        for (arm, where), numbers in seeds.items()
    )


def sizes(results: Results) -> str:
    """How many samples the runs were trained, chosen and tested on, and what one of them is worth."""
    parts = []
    for split, word in (("train", "training"), ("val", "validation"), ("test", "test")):
        counts = {run.config["samples"].get(split) for run in results.runs} - {None, 0}
        if counts:
            ends = sorted({min(counts), max(counts)})  # seeds may have other speakers in their validation split
            worth = "" if split == "train" else f", one is worth {' to '.join(map(_worth, reversed(ends)))} points"
            parts.append(f"{word}: {' to '.join(f'{count:,}' for count in ends)} sample{'s' * (ends != [1])}{worth}")
    return f"{'; '.join(parts)}.".capitalize()


def _worth(count: int) -> str:
    """Percentage points of accuracy of one sample among so many, with two digits."""
    return f"{float(f'{100 / count:.2g}'):g}"


# ---- the tables ----------------------------------------------------------------------------------------------------


def all_tables(results: Results) -> list[Table]:
    """The tables of ``table.md``: the primary comparisons, what choosing the epoch did, the rest, the cost."""
    return [
        *primary_tables(results),
        *fold_tables(results),
        *power_tables(results),
        *choice_tables(results),
        head_table(results),
        *secondary_tables(results),
        cost_table(results),
    ]


def primary_tables(results: Results) -> list[Table]:
    """Differences to every control at both epochs; where runs failed, also those of the other runs alone."""
    pairs = [(control, epoch) for epoch in results.epochs for control in results.controls if results.compared(control)]
    tables = [difference_table(results, *pair) for pair in pairs]
    if results.imputed:
        tables += [table for pair in pairs if (table := finished_table(results, *pair)).rows]
    return tables


def difference_table(results: Results, control: str, epoch: str) -> Table:
    """Mean of every arm, its paired difference to the control, and the verdict on it.

    Failed runs are among them, at what they count for.
    """
    values = results.values(epoch, failed=True)
    names = [
        "minus control",
        "95 % interval",
        "verdict",
        "p (Holm)",
        f"p ({'folds' if results.folds else 'pairs'})",
        "p (signs)",
    ]
    rows = {control: [""] * len(names)} | {
        arm: _verdict_cells(results.difference(values, arm, control), results.judgement.find(arm, control, epoch))
        for arm in results.compared(control)
    }
    if results.clip_intervals:
        names.insert(2, OVER_CLIPS)
        for arm, cells in rows.items():
            interval = results.clip_intervals.get((arm, control, epoch))
            cells.insert(2, "" if arm == control else interval_text(interval))
    return Table(
        f"{_capital(results.noun)} against {control}, {EPOCHS[epoch]} ({results.judgement.standing})",
        f"{_of_what(results, epoch)}{_with_failed(results, rows)} Then the paired difference to {control}"
        f"{_sizes_of(results, control)} in percentage points.",
        _frame(results, values, names, rows),
    )


def reading(results: Results) -> str:
    """How the tables of the primary comparisons are read, once for all of them; empty where there are none."""
    verdicts = results.judgement.verdicts
    if not verdicts:
        return ""
    family = verdicts[0].family
    pairs = [len(each.difference.seeds) for each in verdicts if each.difference.seeds]
    if results.folds:
        return _reading_of_folds(results, family)
    exact = f"up to {MOST_FLIPPED} pairs"
    if pairs and max(pairs) <= MOST_FLIPPED:
        exact += f", never below {p_text(least_p(max(pairs)))} with so few"
    return (
        "How the differences are read: taken seed by seed; 95 % interval by Student's t; p of the paired t test by "
        f"Holm over {family} comparison{'s' * (family != 1)}, the same unadjusted with the number of pairs, and p of "
        f"the exact test by signs ({exact}). Better or worse: the first is at most "
        f"{100 * results.analysis.level():.3g} %. Equivalent: the 90 % interval lies within "
        f"{PLUS_MINUS}{points_text(results.analysis.margin)}. {_what_intervals_say(results)}"
    )


def _reading_of_folds(results: Results, family: int) -> str:
    """:func:`reading` where the data set is dealt into folds."""
    count, overlap = len(results.folds), f"{results.overlap:.3g}"
    return (
        f"How the differences are read: taken seed by seed in each of {count} folds; a fold's mean over its seeds is "
        "one value. Any two folds train on samples in common, so the variance of the mean of n folds is taken for that "
        f"of a fold times 1/n + {overlap} in place of 1/n, with {overlap} test samples for each other one (Nadeau and "
        "Bengio 2003). 95 % interval by Student's t; p of the paired t test by Holm over "
        f"{family} comparison{'s' * (family != 1)}, the same unadjusted with the number of folds. There is no test by "
        "signs: folds that share samples do not fall to either side by themselves. Better or worse: the first is at "
        f"most {100 * results.analysis.level():.3g} %. Equivalent: the 90 % interval lies within "
        f"{PLUS_MINUS}{points_text(results.analysis.margin)}. Intervals and p values are over test parts and seeds, "
        "and say nothing of data from elsewhere."
    )


def _what_intervals_say(results: Results) -> str:
    """A sentence on what the intervals are over: seeds, or seeds and test samples."""
    if not results.one_test:
        seeds, parts = len({run.seed for run in results.runs}), results.test_parts
        own = f"Every seed has drawn {'a test part of its own' if parts == seeds else 'its test part'}"
        said = (
            f"{own} out of the data set: intervals and p values are over seeds and these parts, which overlap, and say "
            "nothing of data from elsewhere."
        )
        if parts < seeds:
            said += (
                f" Only {parts} of the {seeds} test parts are different: seeds that share one are taken for "
                "independent, so that intervals are too narrow; with folds each part would be one value."
            )
        return said
    if not results.clip_intervals:
        return "Intervals are over seeds, on this one test set: of other test samples they say nothing."
    hits = next(run.hits for run in results.runs if run.hits is not None)
    groups = results.groups
    clustered = "" if groups is None else f", in {len(set(groups)):,} groups by {_grouped_by(results)}"
    return (
        "Intervals and p values are over seeds, on this one test set, and say nothing of other test samples; but for "
        f"{OVER_CLIPS}: it takes the {hits.count:,} test samples{clustered}, for a draw as well (a dash: a run has "
        "failed or keeps no hits)."
    )


def _grouped_by(results: Results) -> str:
    words = (run.hits.grouped_by for run in results.runs if run.hits is not None and run.hits.grouped_by)
    return next(words, "group")


def _verdict_cells(difference: Difference, verdict: Verdict | None) -> list[str]:
    if not difference.seeds:
        return ["no common seed", DASH, "not tested", *[DASH] * 3]
    if verdict is None:
        return [*_estimate_cells(difference), "not in the family", *[DASH] * 3]
    return [
        *_estimate_cells(difference),
        verdict.answer.replace("by less than the", "<"),
        p_text(verdict.p_holm),
        f"{p_text(difference.p)} ({len(difference.units)})",
        p_text(difference.p_signs),
    ]


def fold_tables(results: Results) -> list[Table]:
    """Which part of the differences' variance is the folds' and which the seeds'; no table without folds."""
    import pandas as pd

    rows = []
    for each in results.judgement.verdicts if results.folds else ():
        found = each.difference
        parts = found.components
        cells = [DASH] * 3
        if parts is not None:
            share = DASH if parts.share is None else f"{100 * parts.share:.0f} %"
            cells = [f"{math.sqrt(parts.fold):.2f}", f"{math.sqrt(parts.seed):.2f}", share]
        counts = [str(len(found.units)), str(len(found.seeds))]
        rows.append([f"{each.arm} minus {each.control}", each.outcome, *counts, *cells])
    if not rows:
        return []
    names = ["difference", "epoch", "folds", "pairs", "folds' deviation", "seeds' deviation", "folds' share"]
    return [
        Table(
            "What scatters: folds or seeds",
            "Standard deviations in percentage points of a single paired difference: that of the folds' true means, "
            "and that of the seeds within a fold (one-way random effects; a negative variance is 0), and the folds' "
            "share of both variances. More seeds make up for the seeds' part alone. A dash: one fold, or one seed in "
            "each.",
            pd.DataFrame(rows, columns=names),
        )
    ]


def power_tables(results: Results) -> list[Table]:
    """What the seeds of undecided comparisons can see, and how many would decide; no table where all are decided."""
    import pandas as pd

    rows = []
    for each in results.judgement.verdicts:
        if each.answer == "undecided":
            seen = [DASH] * 2 if each.detectable is None else [seen_text(points) for points in each.detectable]
            unknown = "not known" if results.folds else "over 100,000"
            further = unknown if each.further is None else f"{each.further:,}"
            count = str(len(each.difference.units))
            rows.append([f"{each.arm} minus {each.control}", each.outcome, count, *seen, further])
    if not rows:
        return []
    noun, in_folds = ("folds", " in every fold") if results.folds else ("seeds", "")
    return [
        Table(
            f"What these {noun} can see of what is undecided",
            f"The difference in percentage points that so many {noun} find with 80 % power, at the observed scatter: "
            f"in one test, and as the smallest p value of the family under Holm. More seeds{in_folds}: as many would "
            f"find a true difference of {points_text(results.analysis.margin)} there, and arms without one equivalent "
            "within it, both with 80 % power.",
            pd.DataFrame(rows, columns=["difference", "epoch", "n", "one test", "under Holm", "more seeds"]),
        )
    ]


def _estimate_cells(difference: Difference) -> list[str]:
    """A difference with its interval, both with as many decimals."""
    interval = difference.interval()
    return [points(difference.mean, point_decimals(interval)), interval_text(interval)]


def _frame(
    results: Results, values: Mapping[str, Mapping[Pair, float]], names: Sequence[str], rows: Mapping[str, list[str]]
) -> "pd.DataFrame":
    """The cells of arms, in the results' order, behind the number and the mean of each arm's values."""
    import pandas as pd

    known = {arm: units(values[arm]) for arm in results.names}
    own = {arm: [arm, str(len(found)), mean_text(found)] for arm, found in known.items()}
    cells = [[*own[arm], *rows[arm]] for arm in results.names if arm in rows]
    return pd.DataFrame(cells, columns=["arm", "n", "mean", *names])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _of_what(results: Results, epoch: str) -> str:
    return (
        f"Test {results.noun} of {results.prediction} in %, {EPOCHS[epoch]}: mean {PLUS_MINUS} standard deviation over "
        f"n {results.over}."
    )


def _sizes_of(results: Results, control: str) -> str:
    return "" if control == results.controls[0] else " (arms whose epochs have its sizes)"


def _with_failed(results: Results, arms: Collection[str]) -> str:
    """A sentence on the failed runs of some arms; empty where they have none."""
    count = sum(run.arm in arms for run in results.imputed)
    if not count:
        return ""
    return f" With {count} failed run{'s' * (count > 1)}, counted at the accuracy of the commonest class."


UNADJUSTED = "Exploratory, not adjusted over tables: of many such intervals of 95 % some leave out 0 by chance."
"""What stands under every table that no verdict rests on."""


def finished_table(results: Results, control: str, epoch: str) -> Table:
    """The differences to a control that failed runs changed, without these runs: what the arms do where they train.

    It has no rows where none was changed.
    """
    failed = {run.arm for run in results.imputed}
    values = {arm: results.values(epoch).get(arm, {}) for arm in results.names}
    names = ["minus control", "95 % interval", "folds" if results.folds else "pairs"]
    rows = {control: [""] * len(names)} if control in failed else {}
    for arm in results.compared(control):
        if arm in failed or control in failed:
            difference = results.difference(values, arm, control)
            rows[arm] = [*_estimate_cells(difference), str(len(difference.units))]
    return Table(
        f"Without the failed runs: {results.noun} against {control}, {EPOCHS[epoch]}",
        f"{_of_what(results, epoch)} Runs that failed are left out, which favours arms that fail. {UNADJUSTED}",
        _frame(results, values, names, rows),
    )


def choice_tables(results: Results) -> list[Table]:
    """How much choosing the epoch moved each arm; no table where nothing was chosen."""
    import pandas as pd

    if results.primary == "last":
        return []
    chosen, last = (results.values(epoch) for epoch in ("chosen", "last"))
    rows = []
    for arm in results.arms:
        moved = results.difference({"chosen": chosen[arm], "last": last[arm]}, "chosen", "last")
        rows.append([arm, str(len(moved.units)), *_estimate_cells(moved)])
    return [
        Table(
            "What choosing the epoch did",
            f"Test {results.noun} of {results.prediction} at the epoch that validation chose minus that at the last "
            f"epoch, in percentage points: mean over n {results.over}, 95 % interval by Student's t. Where it moves "
            f"arms by different amounts, it makes a difference between them. {UNADJUSTED}",
            pd.DataFrame(rows, columns=["arm", "n", "chosen minus last", "95 % interval"]),
        )
    ]


def secondary_tables(results: Results) -> list[Table]:
    """Differences of the other heads and of the other metrics to the control, with intervals and without tests."""
    import pandas as pd

    control, epoch = results.controls[0], results.primary
    others = [head for head in results.heads if head != "all"]
    wanted = {f"{results.noun}, {head}": (head, results.metric) for head in others}
    wanted |= {METRICS.get(name, name): ("all", name) for name in results.metrics if name != results.metric}
    arms = [arm for arm in results.compared(control) if arm in results.arms]
    if not arms or not wanted or control not in results.arms:
        return []
    columns: dict[str, list[str]] = {"arm": arms}
    for name, (head, metric) in wanted.items():
        found = {each.arm: each for each in results.differences(control, epoch, head, metric)}
        columns[name] = [_estimate_text(found[arm]) for arm in arms]
        if head != "all":  # what heads say that nothing has trained is noise
            columns[name] = [
                text if _trains(results, arm, head) and _trains(results, control, head) else DASH
                for arm, text in zip(arms, columns[name], strict=True)
            ]
    return [
        Table(
            f"Other heads and metrics against {control}, {EPOCHS[epoch]}",
            f"Paired difference to {control} in percentage points: mean and 95 % interval by Student's t. {UNADJUSTED}",
            pd.DataFrame(columns),
        )
    ]


def _estimate_text(difference: Difference) -> str:
    mean, ends = _estimate_cells(difference)
    return mean if ends == DASH else f"{mean} {ends}"


def _repetitions(results: Results) -> str:
    return "seeds of all folds" if results.folds else "seeds"


def _trains(results: Results, arm: str, head: str) -> bool:
    return head == "fused" or _trains_heads(results.arms[arm][0])


def head_table(results: Results) -> Table:
    """Every head's metric, and how unequal the modalities are at the end."""
    cells = results.test.loc[(results.primary, results.metric)].groupby("head", observed=True).agg(_mean_text).T
    cells = cells[results.heads]
    index = results.per_run.groupby("arm", sort=False)["imbalance index"]
    cells["imbalance index"] = index.agg(lambda values: mean_text(values.dropna().tolist(), digits=3))
    fused_alone = [arm for arm, members in results.arms.items() if not _trains_heads(members[0])]
    noise = [name for name in cells if name not in ("all", "fused")]  # what heads say that nothing has trained
    cells.loc[fused_alone, noise] = DASH
    return Table(
        f"{results.noun[0].upper()}{results.noun[1:]} of every head",
        f"Test {results.noun} in %, {EPOCHS[results.primary]}: all is {results.prediction}, and then come the fused "
        f"head and each modality's own head; mean {PLUS_MINUS} standard deviation over the {_repetitions(results)}. "
        "Imbalance index on the test set: 1 - weakest / strongest modality's mean probability of the true class; 0 = "
        "equal. An arm that trains the fused head alone has dashes.",
        cells.reset_index(names="arm"),
    )


def cost_table(results: Results) -> Table:
    """What the runs of every arm took: updates, epochs and wall time."""
    written = {"updates": _range, "epochs": _range, "chosen epoch": _range, "seconds": _mean_text}
    cells = results.per_run.groupby("arm", sort=False).agg(written)
    return Table(
        "Cost",
        "Optimiser steps and epochs of a run, the epoch that validation chose (the last one where there is no "
        f"validation split), and wall time of all epochs (scoring passes, training, measuring) in seconds, mean "
        f"{PLUS_MINUS} standard deviation over {_repetitions(results)}. Times of runs that shared a machine are no "
        "benchmark.",
        cells.reset_index(),
    )


def arm_table(results: Results) -> Table:
    """Title, sampler and method of every arm, and the recipe fields that set it apart from the control."""
    import pandas as pd

    control = results.controls[0]
    base = results.arms[control][0].recipe
    rows = []
    for arm, members in results.arms.items():
        run = members[0]
        differing = [
            f"{name.removeprefix('schedule.')}={_of_all(members, name)}"
            for name, value in run.recipe.items()
            if name not in FREE_FIELDS | OWN_FIELDS and base.get(name) != value
        ]
        parts = [part for part in (run.config["sampler"], run.config.get("method")) if part]
        rows.append(
            [
                arm,
                run.arm_title,
                " + ".join(parts),
                "the control" if arm == control else ", ".join(differing),
            ]
        )
    return Table(
        "Arms",
        f"Sampler and method of every arm, and the fields in which its recipe differs from that of {control}.",
        pd.DataFrame(rows, columns=["arm", "way to train", "sampler, method", "recipe"]),
        prose=True,
    )


def _of_all(members: Sequence[FinishedRun], name: str) -> str:
    """The value of a recipe field in an arm's runs: where it was chosen anew in each fold, all that there are."""
    return "|".join(dict.fromkeys(setting_text(run.recipe.get(name)) for run in members))


def setting_text(value: object) -> str:
    """The value of a recipe field as text: ``none``, ``true``, ``0.1``."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def as_markdown(results: Results, further: Sequence[Table] = (), before: Sequence[Table] = ()) -> str:
    """Write ``table.md``: the finding, the sizes, what a reader must know, and all tables.

    Args:
        results: the runs, and how they are compared.
        further: tables that come after those of the results.
        before: tables that come first.
    """
    notes = [*results.notes, *(f"Left out: {path}: {reason}" for path, reason in results.left_out)]
    bullets = "\n".join(f"- {note}" for note in notes)
    tables = "\n".join(table.markdown() for table in (*before, *all_tables(results), *further))
    said = finding(results).replace("\n", "\n\n")
    parts = (generated_data(results), said, sizes(results), bullets, reading(results), tables)
    return "\n\n".join(part for part in parts if part)


def as_csv(results: Results) -> str:
    """Write ``table.csv``: everything in full precision, a row per epoch, metric, head, control and arm.

    ``family`` says what a row is for: ``planned`` and ``exploratory`` rows are the primary comparisons, with failed
    runs and with p values that are adjusted over all of them; ``finished`` rows are the same without the failed runs;
    those of ``secondary`` outcomes have intervals alone: a p value that nothing guards is small by chance somewhere.
    """
    import pandas as pd

    names = ["epoch", "metric", "head", "arm", "n", "mean", "std", "control", "pairs", "difference", "t_low", "t_high"]
    names += ["clips_low", "clips_high", "p", "p_signs", "p_holm", "p_equivalent", "verdict", "family"]
    names += ["fold_std", "seed_std"] if results.folds else []
    rows: list[list[Any]] = []
    for epoch, metric, head in results.test.index.droplevel(list(results.test.index.names[3:])).unique():
        if epoch not in results.epochs:
            continue
        where, primary = (epoch, metric, head), metric == results.metric and head == "all"
        if primary:
            rows += _csv_rows(results, where, results.values(*_place(where), failed=True), results.judgement.standing)
        if not primary or results.imputed:
            family = "finished" if primary else "secondary"
            rows += _csv_rows(results, where, results.values(*_place(where)), family)
    # As objects, so that whole numbers stay whole in a column with gaps.
    return pd.DataFrame(rows, columns=names, dtype=object).to_csv(index=False, lineterminator="\n")


def _place(where: tuple[str, str, str]) -> tuple[str, str, str]:
    epoch, metric, head = where
    return epoch, head, metric


def _csv_rows(
    results: Results, where: tuple[str, str, str], values: Mapping[str, Mapping[Pair, float]], family: str
) -> Iterator[list[Any]]:
    """The rows of ``table.csv`` of one epoch, metric and head."""
    for control in results.controls:
        for arm in results.compared(control):
            difference = results.difference(values, arm, control)
            verdict = results.judgement.find(arm, control, where[0]) if family == results.judgement.standing else None
            tests: list[Any] = [None] * 5
            if verdict is not None:
                tests = [difference.p, difference.p_signs, verdict.p_holm, verdict.p_equivalent, verdict.answer]
            ends = difference.interval() or (None, None)
            over_clips = results.over_clips(difference, where[0], where[2]) if where[1] == "accuracy" else None
            against = [control, len(difference.seeds), difference.mean, *ends, *(over_clips or (None, None))]
            yield [*where, *_own(arm, values), *against, *tests, family, *_deviations(difference, results)]
    yield [*where, *_own(results.controls[0], values), *[None] * 12, family, *_deviations(None, results)]


def _deviations(difference: Difference | None, results: Results) -> list[Any]:
    """Standard deviations of folds and of seeds in a fold, where there are folds."""
    if not results.folds:
        return []
    parts = None if difference is None else difference.components
    return [None, None] if parts is None else [math.sqrt(parts.fold), math.sqrt(parts.seed)]


def _own(arm: str, values: Mapping[str, Mapping[Pair, float]]) -> list[Any]:
    known = units(values.get(arm, {}))
    return [arm, len(known), *(mean_and_std(known) if known else (None, None))]


def generated_data(results: Results) -> str:
    """A sentence that no reader may miss, where runs were trained on generated data; empty where none was."""
    count, whole = sum(run.generated for run in results.runs), len(results.runs)
    if not count:
        return ""
    which = "All runs" if count == whole else f"{count} of {whole} runs"
    return (
        f"GENERATED DATA. {which} were trained on a data set that --sample made: the numbers show that the program "
        "works, and say nothing about any way to train."
    )


def finding(results: Results) -> str:
    """Say what came out of the primary comparisons, a sentence a line."""
    return "\n".join([*sentences(results.judgement, results.noun), *_failures(results)])


def _failures(results: Results) -> Iterator[str]:
    """Sentences that name the runs that failed, by what they count for; none where none did."""
    by_arm: dict[tuple[str, float], list[Pair]] = {}
    for run in results.imputed:
        by_arm.setdefault((run.arm, 100 * run.accuracy), []).append(results.pair(run))
    if by_arm:
        named = [
            f"{arm} seed{'s' * (len(seeds) > 1)} {pairs_text(seeds)} ({worth:.1f} %)"
            for (arm, worth), seeds in by_arm.items()
        ]
        yield (
            "Failed, since their loss was no finite number, and counted at the accuracy of the training set's "
            f"commonest class: {'; '.join(named)}."
        )
    if results.uncounted:
        named = [f"{run.arm} seed {results.pair(run)}" for run in results.uncounted]
        yield (
            f"Failed, since their loss was no finite number, and left out, which favours arms that fail: "
            f"{', '.join(named)}. It is not known what {results.noun} they count for."
        )


# ---- small things --------------------------------------------------------------------------------------------------


def _mean_text(values: "pd.Series") -> str:
    """:func:`mean_text` of the numbers in a column, and of how many they are where there are gaps."""
    known = values.dropna().tolist()
    return mean_text(known) + (f" (n = {len(known)})" if 0 < len(known) < len(values) else "")


def _range(numbers: Sequence[int]) -> str:
    return span([str(min(numbers)), str(max(numbers))])
