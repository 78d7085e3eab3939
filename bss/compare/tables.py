"""From finished runs to tables: one set of numbers, written as Markdown, as CSV and into the page."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bss.compare.runs import FinishedRun, by_arm, check_comparable
from bss.compare.statistics import LEAST_RESAMPLED, Difference, differences, mean_and_std
from bss.recipes.recipe import FREE_FIELDS
from bss.utils.errors import RecipeError, RunFolderError, shown

PLUS_MINUS = "\u00b1"


MINUS = "\u2212"


DASH = "-"


EPOCHS = {"chosen": "epoch chosen on validation", "last": "last epoch"}
"""The two epochs whose weights met the test set."""


METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "map": "mean average precision"}


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        title: a heading.
        caption: what is shown, of what, and n.
        columns: their names.
        rows: as many texts each.
    """

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """With the pipes in its texts escaped."""
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
        metric: of :data:`METRICS`.
        left_out: folders that could not be used, with the reason.
        notes: what else a reader must know, a sentence each.
    """

    arms: Mapping[str, Sequence[FinishedRun]]
    controls: Sequence[str]
    metric: str
    left_out: Sequence[tuple[Path, str]] = ()
    notes: Sequence[str] = ()

    @property
    def runs(self) -> list[FinishedRun]:
        """All of them."""
        return [run for members in self.arms.values() for run in members]

    @property
    def primary(self) -> str:
        """The epoch that the comparison is about: the chosen one, or the last where only the test set could choose."""
        return "last" if any("oracle" in run.summary for run in self.runs) else "chosen"

    @property
    def epochs(self) -> list[str]:
        """The primary epoch and then the other one, where there is another one."""
        return ["chosen", "last"] if self.primary == "chosen" else ["last"]

    @property
    def noun(self) -> str:
        """The metric in words."""
        return METRICS.get(self.metric, self.metric)

    @property
    def heads(self) -> list[str]:
        """``"all"``, ``"fused"`` and the modalities."""
        return list(self.runs[0].summary["test"]["last"][self.metric])

    def values(self, epoch: str, head: str, metric: str | None = None) -> dict[str, dict[int, float]]:
        """Arm -> seed -> a test metric in percent."""
        return {
            arm: {run.seed: 100 * run.summary["test"][epoch][metric or self.metric][head] for run in members}
            for arm, members in self.arms.items()
        }

    def compared(self, control: str) -> list[str]:
        """The arms that are compared with this control."""
        others = [arm for arm in self.arms if arm != control]
        if control == self.controls[0]:
            return others
        return [arm for arm in others if same_sizes(self.arms[arm][0], self.arms[control][0])]

    def differences(self, control: str, epoch: str, head: str = "all", metric: str | None = None) -> list[Difference]:
        """Of every arm that is compared with the control, in percentage points."""
        return differences(self.values(epoch, head, metric), control, self.compared(control))


def same_sizes(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether the epochs of two runs have the same numbers of samples.

    The last of several epochs aside, which equal updates may cut short; a batch more or less is rounding by class.
    """
    if len(one.rows) != len(other.rows):
        return False
    counted = max(1, len(one.rows) - 1)
    pairs = zip(one.rows[:counted], other.rows[:counted], strict=True)
    return all(abs(a["samples"] - b["samples"]) < one.recipe["batch_size"] for a, b in pairs)


def _no_number(run: FinishedRun) -> str | None:
    """The first test result of a run that is no number, and so in no mean and no figure; None where all are."""
    for epoch, metrics in run.summary["test"].items():
        for metric, heads in metrics.items():
            for head, value in heads.items():
                if not isinstance(value, int | float) or not math.isfinite(value):
                    which = EPOCHS.get(epoch, epoch)
                    return f"its test {METRICS.get(metric, metric)} of {head} is {shown(value)} ({which})"
    return None


def results_of(
    runs: Sequence[FinishedRun],
    *,
    controls: Sequence[str] = (),
    metric: str = "accuracy",
    order: Sequence[str] = (),
    left_out: Sequence[tuple[Path, str]] = (),
    notes: Sequence[str] = (),
) -> Results:
    """Check that runs may be compared, and set down how.

    Args:
        runs: finished ones; those whose test results are no numbers are left out.
        controls: arms; none = the arm of uniform order, then those of random pacing.
        metric: of :data:`METRICS`.
        order: of the arms; none = the controls first, then as they come.
        left_out: folders that could not be used, with the reason.
        notes: for the reader.

    Raises:
        RunFolderError: see :func:`bss.compare.runs.check_comparable`; no run has numbers.
        RecipeError: a control or a metric that the runs do not have.
    """
    reasons = [_no_number(run) for run in runs]
    left_out = [*left_out, *((run.path, reason) for run, reason in zip(runs, reasons, strict=True) if reason)]
    runs = [run for run, reason in zip(runs, reasons, strict=True) if not reason]
    if not runs:
        raise RunFolderError(f"there is no run to report: {left_out[-1][0]}: {left_out[-1][1]}")
    check_comparable(runs)
    arms = by_arm(runs, order)
    measured = list(runs[0].summary["test"]["last"])
    if metric not in measured:
        raise RecipeError(f"the runs have no metric {shown(metric)}; they have {', '.join(measured)}")
    for name in controls:
        if name not in arms:
            raise RecipeError(f"the control {shown(name)} is none of the arms with a finished run: {', '.join(arms)}")
    chosen = tuple(controls) or _usual_controls(arms)
    if not order:
        arms = by_arm(runs, chosen)
    results = Results(arms, chosen, metric, tuple(left_out))
    return replace(results, notes=(*notes, *_remarks(results, bool(controls))))


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
    counts = {arm: len(members) for arm, members in results.arms.items()}
    control = results.controls[0]
    first = results.runs[0]
    if not control_given and first.config["sampler"] != "UniformSampler" and control == next(iter(results.arms)):
        yield f"There is no arm of uniform order: the first arm, {control}, is the control."
    elif not control_given and not _trains_heads(results.arms[control][0]):
        yield f"The control, {control}, trains the fused head alone: there is no arm of uniform order with all heads."
    if max(counts.values()) == 1:
        yield "One seed only: no interval and no test, since both need two runs or more to judge the scatter by."
    elif len(set(counts.values())) > 1:
        listed = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        yield f"The arms have different numbers of seeds ({listed}); differences are over the seeds that both have."
    if results.primary == "last":
        yield (
            "There was no validation split (val_fraction=0): the last epoch counts, and what was the best epoch on the "
            "test set is not reported."
        )
    steps: dict[int, set[int]] = {}
    for run in results.runs:
        steps.setdefault(run.seed, set()).add(run.updates)
    for seed, updates in steps.items():
        if len(updates) > 1:
            yield (
                f"The runs differ in their optimiser steps (with seed {seed} {min(updates)} to {max(updates)}): an arm "
                "may be better or worse because it trained for longer or shorter."
            )
            break
    for name in ("commit", "device", "versions"):
        kinds = {str(run.config.get(name)) for run in results.runs}
        if len(kinds) > 1:
            yield f"The runs differ in {name} ({len(kinds)} kinds, see the end of the page)."
    texts = {run.mark.get("task_file") for run in results.runs} - {None}
    if len(texts) > 1:
        yield f"The task's file was changed between the runs ({len(texts)} versions): they may not be comparable."


# ---- the tables ----------------------------------------------------------------------------------------------------


def all_tables(results: Results) -> list[Table]:
    """Those of ``table.md``: differences to every control, the other epoch, the modalities, the cost."""
    return [
        *(difference_table(results, control, epoch) for epoch in results.epochs for control in results.controls),
        head_table(results),
        cost_table(results),
    ]


def difference_table(results: Results, control: str, epoch: str) -> Table:
    """Mean of every arm, and its paired difference to the control."""
    differences = results.differences(control, epoch)
    of_arm = {difference.arm: difference for difference in differences}
    values = results.values(epoch, "all")
    rows = []
    for arm in [arm for arm in results.arms if arm == control or arm in of_arm]:
        own = list(values[arm].values())
        row = [arm, str(len(own)), mean_text(own)]
        rows.append([*row, *([""] * 5 if arm == control else _difference_cells(of_arm[arm]))])
    kind = "primary" if epoch == results.primary else "secondary"
    which = "" if control == results.controls[0] else " (arms whose epochs have its sizes)"
    return Table(
        f"{results.noun[0].upper()}{results.noun[1:]} against {control}, {EPOCHS[epoch]} ({kind})",
        f"Test {results.noun} of all heads together in %, {EPOCHS[epoch]}: mean "
        f"{PLUS_MINUS} standard deviation over n seeds. Then the paired difference to {control}{which} in percentage "
        f"points, seed by seed: mean, 95 % interval by Student's t and (from {LEAST_RESAMPLED} seeds on) by bootstrap, "
        "p of the paired t test with the number of pairs, and p by Holm for "
        f"{_family(differences)}.{_untested(differences)}",
        ["arm", "n", "mean", f"minus {control}", "t interval", "bootstrap", "p (pairs)", "p (Holm)"],
        rows,
    )


def _difference_cells(difference: Difference) -> list[str]:
    if difference.mean is None:
        return ["no common seed", *[DASH] * 4]
    return [
        points(difference.mean),
        interval_text(difference.t_interval),
        interval_text(difference.bootstrap_interval),
        f"{p_text(difference.p)} ({len(difference.seeds)})",
        p_text(difference.p_holm),
    ]


def head_table(results: Results) -> Table:
    """Every head's metric, and how unequal the modalities are at the end."""
    rows = []
    for arm, members in results.arms.items():
        told = {head: list(results.values(results.primary, head)[arm].values()) for head in results.heads}
        indices = [(run.summary.get("imbalance") or {}).get("index") for run in members]
        if not _trains_heads(members[0]):  # what they say is noise
            told |= {head: [] for head in results.heads if head not in ("all", "fused")}
            indices = []
        rows.append([arm, *map(mean_text, told.values()), mean_text([i for i in indices if i is not None], digits=3)])
    return Table(
        f"{results.noun[0].upper()}{results.noun[1:]} of every head",
        f"Test {results.noun} in %, {EPOCHS[results.primary]}: of all heads together, of the fused head and of each "
        f"modality's own head; mean {PLUS_MINUS} standard deviation over the seeds. Imbalance index on the test set: "
        "1 - weakest / strongest modality's mean probability of the true class; 0 = equal. An arm that "
        "trains the fused head alone has dashes.",
        ["arm", *results.heads, "imbalance index"],
        rows,
    )


def cost_table(results: Results) -> Table:
    """Updates, epochs and wall time."""
    rows = []
    for arm, members in results.arms.items():
        updates, epochs = [run.updates for run in members], [len(run.rows) for run in members]
        chosen = [run.summary["chosen_epoch"] + 1 for run in members]
        seconds = mean_text([run.seconds for run in members], digits=1)
        rows.append([arm, _range(updates), _range(epochs), _range(chosen), seconds])
    return Table(
        "Cost",
        "Optimiser steps and epochs of a run, the epoch that validation chose (the last one where there is no "
        f"validation split), and wall time of all epochs (scoring passes, training, measuring) in seconds, mean "
        f"{PLUS_MINUS} standard deviation over seeds. Times of runs that shared a machine are no benchmark.",
        ["arm", "updates", "epochs", "chosen epoch", "seconds"],
        rows,
    )


def arm_table(results: Results) -> Table:
    """What the arms are: title, sampler, method and the recipe fields that set them apart from the control."""
    control = results.controls[0]
    base = results.arms[control][0].recipe
    rows = []
    for arm, members in results.arms.items():
        run = members[0]
        differing = [
            f"{name.removeprefix('schedule.')}={_setting(value)}"
            for name, value in run.recipe.items()
            if name not in FREE_FIELDS | {"seed"} and base.get(name) != value
        ]
        parts = [part for part in (run.config["sampler"], run.config.get("method")) if part]
        rows.append(
            [
                arm,
                run.mark.get("title", ""),
                " + ".join(parts),
                "the control" if arm == control else ", ".join(differing),
            ]
        )
    return Table(
        "Arms",
        f"Sampler and method of every arm, and the fields in which its recipe differs from that of {control}.",
        ["arm", "way to train", "sampler, method", "recipe"],
        rows,
    )


def _setting(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def as_csv(results: Results) -> str:
    """Everything in long form, full precision: a row per epoch, metric, head, control and arm."""
    names = ["epoch", "metric", "head", "arm", "n", "mean", "std", "control", "pairs", "difference"]
    names += ["t_low", "t_high", "bootstrap_low", "bootstrap_high", "p", "p_holm"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for epoch in results.epochs:
        for metric, heads in results.runs[0].summary["test"][epoch].items():
            for head in heads:
                values = results.values(epoch, head, metric)
                for control in results.controls:
                    for difference in results.differences(control, epoch, head, metric):
                        own = values[difference.arm]
                        mean, std = mean_and_std(list(own.values()))
                        ends = [*(difference.t_interval or ("", "")), *(difference.bootstrap_interval or ("", ""))]
                        cells = [epoch, metric, head, difference.arm, len(own), mean, std, control]
                        cells += [len(difference.seeds), difference.mean, *ends, difference.p, difference.p_holm]
                        writer.writerow(["" if cell is None else cell for cell in cells])
                own = list(values[results.controls[0]].values())
                writer.writerow(
                    [epoch, metric, head, results.controls[0], len(own), *_blank(mean_and_std(own)), *[""] * 9]
                )
    return text.getvalue()


def _blank(pair: tuple[float, float | None]) -> list[float | str]:
    return ["" if value is None else value for value in pair]


def finding(results: Results) -> str:
    """One sentence on the primary comparison."""
    control = results.controls[0]
    differences = results.differences(control, results.primary)
    tested = [each for each in differences if each.p_holm is not None]
    if not tested:
        return (
            f"No arm can be tested against {control}: a paired test needs two seeds or more in common, and scatter."
            f"{_untested(differences)}"
        )
    apart = [each for each in tested if each.p_holm < 0.05]
    if not apart:
        return (
            f"No arm differs from {control} at the 5 % level, Holm-adjusted over {_family(differences)}. That is no "
            f"proof that they are equal: see the intervals.{_untested(differences)}"
        )
    listed = ", ".join(f"{each.arm} ({points(each.mean)} points, p {_relation(each.p_holm)})" for each in apart)
    return (
        f"Different from {control} at the 5 % level, Holm-adjusted over {_family(differences)}: {listed}."
        f"{_untested(differences)}"
    )


def _family(differences: Sequence[Difference]) -> str:
    """How many comparisons Holm's adjustment is over: those of the plan, tested or not."""
    count = sum(each.comparable for each in differences)
    return f"{count} comparison{'s' * (count != 1)}"


def _untested(differences: Sequence[Difference]) -> str:
    """A sentence that names the arms without a test by the reason; empty where all have one."""
    reasons: dict[str, list[str]] = {}
    for each in differences:
        if each.p is None:
            few = f"{'one' if each.seeds else 'no'} seed in common"
            reason = "the same difference with every seed" if each.comparable else few
            reasons.setdefault(reason, []).append(each.arm)
    listed = "; ".join(f"{', '.join(arms)} ({reason})" for reason, arms in reasons.items())
    return f" Not tested: {listed}." if listed else ""


def _relation(p: float) -> str:
    text = p_text(p)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


# ---- numbers as text -----------------------------------------------------------------------------------------------


def mean_text(values: Sequence[float], *, digits: int = 1) -> str:
    """``66.3 +- 3.3``; a single value without a deviation, a dash for none."""
    if not values:
        return DASH
    mean, std = mean_and_std(values)
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} {PLUS_MINUS} {std:.{digits}f}"


def points(value: float) -> str:
    """``+1.2`` or ``-1.2`` with a minus of the figures' width; ``0.0`` without a sign."""
    text = f"{value:+.1f}".replace("-", MINUS)
    return "0.0" if float(f"{value:.1f}") == 0 else text


def interval_text(interval: tuple[float, float] | None) -> str:
    """``[-0.6, +3.0]``."""
    return DASH if interval is None else f"[{points(interval[0])}, {points(interval[1])}]"


def p_text(p: float | None) -> str:
    """Three digits."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
