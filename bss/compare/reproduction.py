"""A claimed table put to the test: the comparison that is prepared for a data set, and what the page says of it first.

What is claimed and what was measured stand side by side in columns of their own. No number on the page is made of both.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from bss import tasks
from bss.compare.claims import CLAIMS, LEARNED, ONE_NUMBER, SOURCE, Baseline, Claims, claims_of
from bss.compare.comparison import Comparison
from bss.compare.pairs import units
from bss.compare.statistics import mean_and_std, t_interval
from bss.compare.tables import EPOCHS, METRICS, Results, Table
from bss.compare.verdict import Verdict, seen_text
from bss.compare.wording import DASH, interval_text, point_decimals, points
from bss.recipes.fields import flatten
from bss.recipes.recipe import Recipe, written
from bss.utils.errors import RecipeError

SHRUNK = ("epochs=2", "schedule.grow_epochs=2")
"""What the generated data are trained with beside their recipe: enough to see that all of it works."""


# ---- the comparison ------------------------------------------------------------------------------------------------


def prepared(
    task: str,
    *,
    seeds: Sequence[int],
    data_root: Path,
    out: Path,
    folds: int | None = None,
    settings: Sequence[str] = (),
    sample: bool = False,
    workers: int = 0,
) -> Comparison:
    """The comparison of a data set's claimed table: its arms, all from one recipe, at equal updates.

    The recipe is the preset ``paper`` of its CL, with the released numbers and an epoch that is chosen on the
    validation split.

    Args:
        task: name of the data set's task.
        seeds: one run each per arm and fold.
        data_root: the data set's folder.
        out: where the runs and the report go.
        folds: into how many parts the data set is dealt by its groups, such as the speakers, each the test part of some
            runs; None = the published test list is tested.
        settings: further ``field=value``, stronger than the preset.
        sample: the numbers are those that suit the generated data.
        workers: processes per run that load data.

    Raises:
        RecipeError: nothing is claimed for this task, or no folds are prepared for it.
    """
    claims = claims_of(task)
    if folds is not None and claims.fold_by is None:
        able = [name for name, each in CLAIMS.items() if each.fold_by is not None]
        raise RecipeError(
            f"--folds {folds}: no folds are prepared for {task}, but for {', '.join(able)}, whose samples are known by "
            "speaker: leave --folds out, and the published test list is tested"
        )
    return Comparison(
        task=task,
        arms=claims.arms,
        seeds=tuple(seeds),
        budget="equal",
        assignments=(
            *as_claimed(task),
            *(SHRUNK if sample else ()),
            *(() if folds is None else (f"split={claims.fold_by}",)),
            *settings,
        ),
        data_root=data_root,
        out=out,
        workers=workers,
        sample=sample,
        folds=folds,
    )


def as_claimed(task: str) -> tuple[str, ...]:
    """``field=value`` for what the preset ``paper`` of a task has otherwise than the recipe that arms are made of."""
    module = tasks.load(task)
    return tuple(f"{name}={written(value)}" for name, value, _ in _differing(module.CL_PAPER, module.CL))


def _differing(recipe: Recipe, base: Recipe) -> Iterator[tuple[str, object, object]]:
    before = flatten(base)
    yield from ((name, value, before[name]) for name, value in flatten(recipe).items() if value != before[name])


def remarks(comparison: Comparison, settings: Sequence[str]) -> list[str]:
    """Sentences on the recipe that all arms are made of, for the page.

    Args:
        comparison: of :func:`prepared`.
        settings: what was set beside it.
    """
    module, claims = tasks.load(comparison.task), claims_of(comparison.task)
    differing = [
        f"{name}={written(value)} in place of {written(before)}"
        for name, value, before in _differing(module.CL_PAPER, module.CL)
    ]
    told = f": {', '.join(differing)}" if differing else ", which is the default's"
    said = [
        f"All arms are made of one recipe, the preset paper of this data set's CL{told}; what an arm sets itself is in "
        f"the table of arms. {claims.remark} Rates, epochs and batch size are the released code's, for the slides give "
        "none; all arms train for equally many updates, and none was tuned."
    ]
    if comparison.sample:
        said.append(f"Shrunk for the generated data: {', '.join(SHRUNK)} and what the data set's --sample has.")
    if comparison.folds is not None:
        said.append(
            f"The samples of the published lists are dealt anew into {comparison.folds} folds, so that no "
            f"{claims.fold_by} is in two of them: the claimed numbers are of the published test list."
        )
    if settings:
        said.append(
            f"Set beside the prepared recipe, which makes it another comparison unless a machine or a copy of the data "
            f"needs it: {', '.join(settings)}."
        )
    return [" ".join(each.split()) for each in said]


# ---- the tables ----------------------------------------------------------------------------------------------------


def tables_of(claims: Claims, results: Results) -> list[Table]:
    """What is claimed beside what was measured, then the claimed differences beside the planned contrasts."""
    return [claimed_table(claims, results), contrast_table(claims, results), *_ablation(claims)]


def claimed_table(claims: Claims, results: Results) -> Table:
    """A row for every row of the slides, and for every arm that they have none for."""
    import pandas as pd

    claimed, measured = {"map": ("mAP", "mAP"), "macro_f1": ("F1", "macro F1")}[claims.metric]
    rows = [
        [
            row.method or "(not in the slides)",
            *(("", "") if row.claimed is None else map("{:.2f}".format, row.claimed)),
            arm or DASH,
            *_measured(claims, results, arm),
            row.how,
        ]
        for row in claims.rows()
        for arm in row.arms or ("",)
    ]
    names = ["row of the slides", "claimed accuracy", f"claimed {claimed}", "arm here", "n"]
    names += ["measured accuracy [95 %]", f"measured {measured} [95 %]", "how it was trained here"]
    return Table(
        "Claimed, and measured here",
        f"Left: {SOURCE}, in %; {ONE_NUMBER}. Right: test set of this comparison in %, {EPOCHS[results.primary]}, mean "
        f"over n {results.over}, and its 95 % interval by Student's t, cut at 0 and 100; a dash: not trained here. The "
        "two are of other splits, epochs and selections, so neither is taken off the other.",
        pd.DataFrame(rows, columns=names),
    )


def _measured(claims: Claims, results: Results, arm: str) -> tuple[str, str, str]:
    """How many values, accuracy and second metric of an arm; failed runs count in the accuracy."""
    accuracy = units(results.values(results.primary, metric="accuracy", failed=True).get(arm, {}))
    second = units(results.values(results.primary, metric=claims.metric).get(arm, {}))
    fewer = f" (n = {len(second)})" if len(second) != len(accuracy) else ""
    told = _level(accuracy, results.overlap), _level(second, results.overlap) + fewer
    return str(len(accuracy)) if arm else "", *told


def _level(values: Sequence[float], overlap: float) -> str:
    """A mean of percentages and its interval, ``66.3 [64.0, 68.6]``, no wider than 0 to 100.

    A single value has no interval, and no value is a dash.

    Args:
        values: of seeds or folds.
        overlap: see :func:`bss.compare.statistics.t_interval`.
    """
    if not values:
        return DASH
    interval = t_interval(values, overlap=overlap)
    ends = "" if interval is None else f" [{max(0.0, interval[0]):.1f}, {min(100.0, interval[1]):.1f}]"
    return f"{mean_and_std(values)[0]:.1f}{ends}"


def contrast_table(claims: Claims, results: Results) -> Table:
    """The planned contrasts: what is claimed of them, what was measured, and what so many runs can tell."""
    import pandas as pd

    rows = []
    for verdict in results.judgement.verdicts:
        baselines = _claimed_over(claims, verdict.arm, verdict.control)
        claimed = [claims.table["BSS-L"][0] - each.accuracy for each in baselines]
        interval = verdict.difference.interval()
        one, family = ("", "") if verdict.detectable is None else map(seen_text, verdict.detectable)
        rows.append(
            [
                f"{verdict.arm} minus {verdict.control}",
                "; ".join(f"{points(gain, 2)} over {each.name}" for gain, each in zip(claimed, baselines, strict=True)),
                verdict.outcome,
                str(len(verdict.difference.units)),
                points(verdict.difference.mean, point_decimals(interval)),
                interval_text(interval),
                verdict.answer,
                one or DASH,
                family or DASH,
                ", ".join(_settles(verdict, gain) for gain in claimed) or "",
            ]
        )
    told = [f"{each.name} ({each.accuracy:.2f}, slide {each.slide}): {each.remark}." for each in claims.all_baselines()]
    names = ["contrast here", "claimed gain of BSS-L", "epoch", "n", "measured difference", "95 % interval", "verdict"]
    names += ["seen in one test", "seen under Holm", "claimed gain would be seen"]
    return Table(
        "The planned contrasts, and what is claimed of them",
        f"In percentage points of accuracy. Claimed: the authors' slides, 12 and 13; {ONE_NUMBER}. {' '.join(told)} "
        f"Measured: paired run by run; the verdicts are {results.judgement.standing}. Seen: the difference that so "
        "many runs find with 80 % power at the observed scatter, in one test, and as the smallest p value of the "
        "family under Holm; the last column says whether a true difference as large as the claimed one would be found.",
        pd.DataFrame(rows, columns=names),
    )


def _claimed_over(claims: Claims, arm: str, control: str) -> list[Baseline]:
    """What the slides set the sampler of an arm against that comes nearest to this control."""
    return [each for each in claims.all_baselines() if arm in LEARNED and each.arm == control]


def _settles(verdict: Verdict, gain: float) -> str:
    """Whether so many runs would find a difference as large as a claimed one."""
    if verdict.detectable is None:
        return "not known"
    alone, family = verdict.detectable
    return "yes" if gain >= family else "in one test" if gain >= alone else "no"


def _ablation(claims: Claims) -> list[Table]:
    """The claimed ablation, which no arm of the comparison repeats; no table where there is none."""
    import pandas as pd

    if not claims.ablation:
        return []
    rows = [
        [each.criterion, *(f"{accuracy:.2f} ({second:.2f})" for accuracy, second in each.claimed.values())]
        for each in claims.ablation
    ]
    return [
        Table(
            "Claimed ablation of BSS-L, which is not trained here",
            f"The authors' slides, 13: accuracy ({METRICS[claims.metric]}) in % of each head, by what the scores "
            f"consist of; {ONE_NUMBER}. The arms of python -m bss compare are uniform, spl-paper-replacement-loss, "
            "spl-paper-replacement-similarity and spl-paper-replacement.",
            pd.DataFrame(rows, columns=["criterion", *claims.ablation[0].claimed]),
        )
    ]
