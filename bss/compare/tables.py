"""From finished runs to tables: one set of numbers, written as Markdown, as CSV and into the page.

Numbers are grouped and turned by pandas, and become text by the functions at the end. Its own writers of Markdown and
HTML are not used: ``to_markdown`` needs another package, leaves pipes in names unescaped and guesses which texts are
numbers; ``to_html`` has no scopes for screen readers. Ours are four lines each.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bss.compare.frame import long_form
from bss.compare.plan import Plan
from bss.compare.runs import FailedRun, FinishedRun, by_arm, check_comparable
from bss.compare.statistics import LEAST_RESAMPLED, Difference, differences, mean_and_std
from bss.recipes.recipe import FREE_FIELDS
from bss.training.checkpoint import MAY_CHANGE
from bss.utils.errors import RecipeError, RunFolderError, shown

if TYPE_CHECKING:
    import pandas as pd

PLUS_MINUS = "\u00b1"


MINUS = "\u2212"


DASH = "-"


EPOCHS = {"chosen": "epoch chosen on validation", "last": "last epoch"}
"""The two epochs whose weights met the test set."""


METRICS = {"accuracy": "accuracy", "macro_f1": "macro F1", "map": "mean average precision"}


@dataclass(frozen=True)
class Table:
    """A table of text, with its heading.

    Attributes:
        title: the heading.
        caption: what is shown, of what, and n.
        cells: the texts, under the names of their columns.
    """

    title: str
    caption: str
    cells: "pd.DataFrame"

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.cells.columns)

    @property
    def rows(self) -> list[list[str]]:
        """The texts of every row."""
        return self.cells.to_numpy().tolist()

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
        missing: runs that the machine lost, in words: the comparison is incomplete without them.
        plan: what was set down before the runs; None = nothing, or they are of several plans.
    """

    arms: Mapping[str, Sequence[FinishedRun]]
    controls: Sequence[str]
    metric: str
    left_out: Sequence[tuple[Path, str]] = ()
    notes: Sequence[str] = ()
    failed: Sequence[FailedRun] = ()
    missing: Sequence[str] = ()
    plan: Plan | None = None

    @property
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

    @cached_property
    def test(self) -> "pd.DataFrame":
        """Test metrics in percent: rows by epoch, metric, head and seed, and a column per arm; NaN without a run."""
        table = long_form(self.runs).query("split == 'test' and checkpoint != 'each'")
        table = table[table["metric"].isin(self.runs[0].summary["test"]["last"])]
        return 100 * table.pivot(index=["checkpoint", "metric", "head", "seed"], columns="arm", values="value")

    @cached_property
    def per_run(self) -> "pd.DataFrame":
        """What a run took, and how unequal its modalities are at the end (NaN where it was not measured)."""
        import pandas as pd

        rows = [
            {
                "arm": run.arm,
                "seed": run.seed,
                "updates": run.updates,
                "epochs": len(run.rows),
                "chosen epoch": run.summary["chosen_epoch"] + 1,
                "seconds": run.seconds,
                "imbalance index": (run.summary.get("imbalance") or {}).get("index"),
            }
            for run in self.runs
        ]
        return pd.DataFrame(rows).astype({"imbalance index": "float64"})

    def values(self, epoch: str, head: str, metric: str | None = None) -> dict[str, dict[int, float]]:
        """Arm -> seed -> a test metric in percent."""
        table = self.test.loc[(epoch, metric or self.metric, head)]
        return {arm: by_seed.dropna().to_dict() for arm, by_seed in table.items()}

    def compared(self, control: str) -> list[str]:
        """Names of the arms that are compared with this control."""
        others = [arm for arm in self.arms if arm != control]
        if control == self.controls[0]:
            return others
        return [arm for arm in others if same_sizes(self.arms[arm][0], self.arms[control][0])]

    def differences(self, control: str, epoch: str, head: str = "all", metric: str | None = None) -> list[Difference]:
        """Every arm that is compared with the control against it, in percentage points."""
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
    tested = run.summary["test"]
    for epoch, metrics in (("chosen", tested["chosen"]), ("last", tested["last"])):
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
    failed: Sequence[FailedRun] = (),
    missing: Sequence[str] = (),
    plan: Plan | None = None,
) -> Results:
    """Check that runs may be compared, and set down how.

    Args:
        runs: finished runs; those whose test results are no numbers are left out.
        controls: names of arms; none = the arm of uniform order, then those of random pacing.
        metric: one of :data:`METRICS`.
        order: order of the arms; none = the controls first, then as they come.
        left_out: folders that could not be used, with the reason.
        notes: sentences on what else a reader must know.
        failed: runs that ended by numbers that are not finite, with the accuracy that they count as.
        missing: runs that the machine lost, in words.
        plan: what was set down before the runs; None = nothing, or they are of several plans.

    Raises:
        RunFolderError: the runs do not belong together, see :func:`bss.compare.runs.check_comparable`, or none of them
            has test results that are numbers.
        RecipeError: the runs do not have a control or the metric that is asked for.
    """
    reasons = [_no_number(run) for run in runs]
    left_out = [*left_out, *((run.path, reason) for run, reason in zip(runs, reasons, strict=True) if reason)]
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
    chosen = tuple(controls) or _usual_controls(arms)
    if not order:
        arms = by_arm(runs, chosen)
    results = Results(arms, chosen, metric, tuple(left_out), failed=tuple(failed), missing=tuple(missing), plan=plan)
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
            listed = "; ".join(f"{said} ({who})" for said, who in kinds.items())
            yield f"The runs differ in {name}: {listed}."
    for run in results.runs:
        for part in run.parts[1:]:
            if set(part.changed) - MAY_CHANGE:
                yield f"{run.arm} seed {run.seed} trained {part.where}: it is no repetition of the others of its arm."
    texts = {run.task_file for run in results.runs} - {None}
    if len(texts) > 1:
        yield f"The task's file was changed between the runs ({len(texts)} versions): they may not be comparable."


def _lengths(results: Results) -> Iterator[str]:
    """Arms whose runs trained for different lengths, see :func:`bss.compare.runs.named`."""
    split: dict[str, dict[str, list[int]]] = {}
    for arm, members in results.arms.items():
        name = arm.removesuffix(f" ({members[0].length})")
        split.setdefault(name, {})[members[0].length] = [run.seed for run in members]
    for name, lengths in split.items():
        if len(lengths) > 1:
            listed = "; ".join(
                f"{length}: seed{'s' * (len(seeds) > 1)} {seeds_text(seeds)}" for length, seeds in lengths.items()
            )
            yield f"The runs of {name} differ in how long they trained ({listed}): each length is an arm of its own."


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


def seeds_text(seeds: Collection[int]) -> str:
    """Seeds in words: ``3 to 7``, or one by one where some between are not there."""
    ordered = sorted(seeds)
    whole = len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1))
    return f"{ordered[0]} to {ordered[-1]}" if whole else ", ".join(map(str, ordered))


def _told(value: Any, without: Collection[str]) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in value.items() if key not in without)
    return " ".join(value) if isinstance(value, list) else "unknown" if value is None else str(value)


def _who(found: Sequence[tuple[FinishedRun, str]]) -> str:
    """Runs in words: ``cl seeds 0, 1; spl seed 0 from epoch 3 on``."""
    seeds: dict[tuple[str, str], list[int]] = {}
    for run, where in found:
        seeds.setdefault((run.arm, where), []).append(run.seed)
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
    """The tables of ``table.md``: differences to every control, the other epoch, the modalities, the cost."""
    return [
        *(difference_table(results, control, epoch) for epoch in results.epochs for control in results.controls),
        head_table(results),
        cost_table(results),
    ]


def difference_table(results: Results, control: str, epoch: str) -> Table:
    """Mean of every arm, and its paired difference to the control."""
    import pandas as pd

    differences = results.differences(control, epoch)
    own = results.test.loc[(epoch, results.metric, "all")]
    means = pd.DataFrame({"n": own.count().astype(str), "mean": own.agg(_mean_text)})
    names = [f"minus {control}", "t interval", "bootstrap", "p (pairs)", "p (Holm)"]
    against = {each.arm: _difference_cells(each) for each in differences} | {control: [""] * len(names)}
    # An inner join, in the order of the arms: those that are not compared with this control are not in its table.
    cells = means.join(pd.DataFrame.from_dict(against, orient="index", columns=names), how="inner")
    kind = "primary" if epoch == results.primary else "secondary"
    which = "" if control == results.controls[0] else " (arms whose epochs have its sizes)"
    return Table(
        f"{results.noun[0].upper()}{results.noun[1:]} against {control}, {EPOCHS[epoch]} ({kind})",
        f"Test {results.noun} of {results.prediction} in %, {EPOCHS[epoch]}: mean "
        f"{PLUS_MINUS} standard deviation over n seeds. Then the paired difference to {control}{which} in percentage "
        f"points, seed by seed: mean, 95 % interval by Student's t and (from {LEAST_RESAMPLED} seeds on) by bootstrap, "
        "p of the paired t test with the number of pairs, and p by Holm for "
        f"{_family(differences)}.{_untested(differences)}",
        cells.reset_index(names="arm"),
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
        f"head and each modality's own head; mean {PLUS_MINUS} standard deviation over the seeds. Imbalance index on "
        "the test set: 1 - weakest / strongest modality's mean probability of the true class; 0 = equal. An arm that "
        "trains the fused head alone has dashes.",
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
        f"{PLUS_MINUS} standard deviation over seeds. Times of runs that shared a machine are no benchmark.",
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
            f"{name.removeprefix('schedule.')}={_setting(value)}"
            for name, value in run.recipe.items()
            if name not in FREE_FIELDS | {"seed"} and base.get(name) != value
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
    )


def _setting(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def as_markdown(results: Results) -> str:
    """Write ``table.md``: the finding, the sizes, what a reader must know, and all tables."""
    notes = [*results.notes, *(f"Left out: {path}: {reason}" for path, reason in results.left_out)]
    listed = "\n".join(f"- {note}" for note in notes)
    tables = "\n".join(table.markdown() for table in all_tables(results))
    parts = (generated_data(results), finding(results), sizes(results), listed, tables)
    return "\n\n".join(part for part in parts if part)


def as_csv(results: Results) -> str:
    """Write ``table.csv``: everything in full precision, a row per epoch, metric, head, control and arm."""
    import pandas as pd

    names = ["epoch", "metric", "head", "arm", "n", "mean", "std", "control", "pairs", "difference"]
    names += ["t_low", "t_high", "bootstrap_low", "bootstrap_high", "p", "p_holm"]
    rows: list[list[Any]] = []
    for (epoch, metric, head), table in results.test.groupby(["checkpoint", "metric", "head"], observed=True):
        if epoch not in results.epochs:
            continue
        measured = {arm: values.dropna().tolist() for arm, values in table.items()}
        own = {arm: [epoch, metric, head, arm, len(values), *mean_and_std(values)] for arm, values in measured.items()}
        for control in results.controls:
            for each in results.differences(control, epoch, head, metric):
                ends = [*(each.t_interval or (None, None)), *(each.bootstrap_interval or (None, None))]
                rows.append([*own[each.arm], control, len(each.seeds), each.mean, *ends, each.p, each.p_holm])
        rows.append([*own[results.controls[0]], *[None] * 9])
    # As objects, so that whole numbers stay whole in a column with gaps.
    return pd.DataFrame(rows, columns=names, dtype=object).to_csv(index=False, lineterminator="\n")


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
    """Say in one sentence what came out of the primary comparison."""
    control = results.controls[0]
    differences = results.differences(control, results.primary)
    if all(each.p_holm is None for each in differences):
        return (
            f"No arm can be tested against {control}: a paired test needs two seeds or more in common, and scatter."
            f"{_untested(differences)}"
        )
    apart = [each for each in differences if each.p_holm is not None and each.p_holm < 0.05]
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


def _relation(p: float | None) -> str:
    text = p_text(p)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


# ---- numbers as text -----------------------------------------------------------------------------------------------


def mean_text(values: Sequence[float], *, digits: int = 1) -> str:
    """Mean and standard deviation as text, ``66.3 +- 3.3``. A single value has no deviation; no value is a dash."""
    if not values:
        return DASH
    mean, std = mean_and_std(values)
    return f"{mean:.{digits}f}" if std is None else f"{mean:.{digits}f} {PLUS_MINUS} {std:.{digits}f}"


def _mean_text(values: "pd.Series") -> str:
    """:func:`mean_text` of the numbers in a column, without its gaps."""
    return mean_text(values.dropna().tolist())


def points(value: float | None) -> str:
    """Percentage points as text with their sign, ``+1.2`` or ``-1.2``; ``0.0`` has none, and None is a dash."""
    if value is None:
        return DASH
    text = f"{value:+.1f}".replace("-", MINUS)
    return "0.0" if float(f"{value:.1f}") == 0 else text


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval of percentage points as text, ``[-0.6, +3.0]``; None is a dash."""
    return DASH if interval is None else f"[{points(interval[0])}, {points(interval[1])}]"


def p_text(p: float | None) -> str:
    """A p value as text with three digits, or ``<0.001``; None is a dash."""
    if p is None:
        return DASH
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
