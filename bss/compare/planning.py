"""From a comparison to its plan, and from run folders back to the plan that they were made by."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bss.compare.arms import Arm, find, is_reached
from bss.compare.pairs import Pair, fold_of, pair_of, seed_of
from bss.compare.plan import PLAN_FILE, Analysis, Plan, PlannedRun, plan_hash, read, recipe_hash
from bss.compare.runs import Found, KnownRun, known_run
from bss.compare.wording import listed
from bss.recipes.recipe import Recipe
from bss.utils.errors import RecipeError

if TYPE_CHECKING:  # a report looks for the plan of its runs, and does not wait for PyTorch
    from bss.compare.comparison import Comparison
    from bss.data.splits import Splits

MARGIN, LOOKS, METRIC = 1.0, 1, "accuracy"
"""Percentage points, number of looks and metric of a plan, where nothing else is asked for."""


LEVELS = 3
"""How many folders above a run's are looked into for its plan: a comparison's is two above."""


# ---- what is planned -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What a command asks of the analysis; None, or no control, is whatever the plan in the folder says.

    Attributes:
        controls: names of arms that others are compared with.
        contrasts: the primary contrasts themselves, as (arm, control), in place of those that controls make.
        metric: name of the metric.
        margin: percentage points; a smaller difference does not matter.
        looks: how often the planned verdict is taken.
    """

    controls: tuple[str, ...] = ()
    contrasts: tuple[tuple[str, str], ...] = ()
    metric: str | None = None
    margin: float | None = None
    looks: int | None = None


def planned(comparison: "Comparison", data: "Splits", asked: Asked, source: Sequence[str]) -> Plan:
    """The plan that a comparison works by: the one in its folder where it carries that out, and else its own.

    It carries out the plan that is there where all of its runs are rows of it, and no other controls, metric, margin or
    looks are asked for: the whole of it again, some seeds, or a single run. What a part of a plan shows is judged by
    that plan. Anything else is another plan, which says what it follows and what could be seen by then.

    Args:
        comparison: the comparison; nothing is written into its folder.
        data: of its first seed.
        asked: of the analysis.
        source: words of a command line that name the data.

    Returns:
        A plan for :func:`bss.compare.plan.write`, which leaves the file alone where it is the same.

    Raises:
        RecipeError: two arms that are one with these settings, or an analysis that makes no sense.
        RunFolderError: the plan that is there is damaged.
    """
    arms = {arm.name: arm for arm in find(comparison.arms)}
    recipes = {name: as_planned(comparison, arm, comparison.pairs[0]) for name, arm in arms.items()}
    _check_different(recipes)
    rows = tuple(_row(comparison, arms[name], pair, source) for name, pair in comparison.plan())
    pairs = asked.contrasts or contrasts(recipes, data, asked.controls)
    outcomes = ("last",) if data.val is None else ("chosen", "last")
    there = read(comparison.out)
    if there is not None and there.analysis.outcomes == outcomes and _is_part(rows, pairs, asked, there):
        now = {row.folder: row for row in rows}  # with the commands of this day
        return replace(there, runs=tuple(now.get(row.folder, row) for row in there.runs))
    analysis = Analysis(
        arms=comparison.arms,
        seeds=comparison.seeds,
        contrasts=pairs,
        metric=asked.metric or METRIC,
        outcomes=outcomes,
        margin=MARGIN if asked.margin is None else asked.margin,
        looks=LOOKS if asked.looks is None else asked.looks,
    )
    finished = {row.seed for row in rows if (comparison.out / row.folder / "done").exists()}
    seen = tuple(seed for seed in comparison.seeds if seed in finished)
    return Plan(analysis, rows, None if there is None else plan_hash(there), seen)


def _is_part(rows: Sequence[PlannedRun], pairs: Sequence[tuple[str, str]], asked: Asked, there: Plan) -> bool:
    """Whether these runs are of a plan, and nothing else is asked for than it says."""
    known, arms = there.analysis, {row.arm for row in rows}
    return (
        {replace(row, command=()) for row in rows} <= {replace(row, command=()) for row in there.runs}
        and asked.metric in (None, known.metric)
        and asked.margin in (None, known.margin)
        and asked.looks in (None, known.looks)
        and (
            not (asked.controls or asked.contrasts)
            or set(pairs) == {pair for pair in known.contrasts if set(pair) <= arms}
        )
    )


def as_planned(comparison: "Comparison", arm: Arm, pair: Pair) -> Recipe:
    """The recipe of a run as far as it is known before the data are read: without equal updates."""
    return comparison.recipe(arm, pair, comparison.base().updates)


def _row(comparison: "Comparison", arm: Arm, pair: Pair, source: Sequence[str]) -> PlannedRun:
    folder = comparison.folder(arm.name, pair).relative_to(comparison.out).as_posix()
    recipe = recipe_hash(asdict(as_planned(comparison, arm, pair)))
    command = _command(comparison, arm, pair, source)
    return PlannedRun(arm.name, seed_of(pair), fold_of(pair), folder, command, recipe)


def _command(comparison: "Comparison", arm: Arm, pair: Pair, source: Sequence[str]) -> tuple[str, ...]:
    """What makes one run of a comparison: the same command with one arm and one seed, and one fold.

    What does not reach the arm is left out: alone, it would be refused.
    """
    base = comparison.base()
    reaching = [each for each in comparison.assignments if is_reached(arm, each, base)]
    reaching += comparison.chosen.get((arm.name, fold_of(pair)), ())
    words = ["python", "-m", "bss", "compare", comparison.task, "--arms", arm.name]
    words += ["--seeds", f"{seed_of(pair)},"]
    words += ["--folds", str(comparison.folds), "--fold", str(fold_of(pair))] if comparison.folds is not None else []
    words += ["--updates", comparison.budget] if comparison.budget != "equal" else []
    words += ["--epochs", str(comparison.epochs)] if comparison.epochs is not None else []
    words += [word for assignment in reaching for word in ("--set", assignment)]
    return (*words, *source, "--out", str(comparison.out))


def _check_different(recipes: dict[str, Recipe]) -> None:
    """Refuse arms that would be trained alike: their runs would be one another's copies."""
    seen: dict[str, str] = {}
    for name, recipe in recipes.items():
        twin = seen.setdefault(recipe_hash(asdict(recipe)), name)
        if twin != name:
            raise RecipeError(f"the arms {twin} and {name} are the same with these settings: leave one of them out")


def contrasts(recipes: dict[str, Recipe], data: "Splits", controls: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The primary contrasts (arm, control): every arm against the first control, and those with its sizes against each.

    An arm that has a further control's sizes sees as many samples in every epoch as that control, by the samplers and
    before anything is trained: what sets them apart is which samples these are. Two arms are one contrast, whichever
    of them is the control.

    Args:
        recipes: arm -> its recipe.
        data: of one seed.
        controls: names of arms; none = the arm of uniform order, then those of random pacing.
    """
    sizes = {name: epoch_sizes(data, recipe) for name, recipe in recipes.items()}
    found: dict[frozenset[str], tuple[str, str]] = {}
    for place, control in enumerate(controls or usual_controls(recipes)):
        for arm in recipes:
            alike = place == 0 or _alike(sizes[arm], sizes[control], recipes[arm].batch_size)
            if arm != control and alike:
                found.setdefault(frozenset((arm, control)), (arm, control))
    return tuple(found.values())


def usual_controls(recipes: dict[str, Recipe]) -> tuple[str, ...]:
    """Which arms are the controls where none is named: uniform order, then random pacing; else the first arm."""
    plain = {name: recipe.schedule.sampler for name, recipe in recipes.items() if recipe.method is None}
    uniform = [name for name, sampler in plain.items() if sampler == "uniform"]
    uniform.sort(key=lambda name: name != "uniform")  # others may have a loss of their own, as ``joint`` has
    pacing = [name for name, sampler in plain.items() if sampler == "random_pacing"]
    return tuple(uniform[:1] + pacing) or tuple(recipes)[:1]


def epoch_sizes(data: "Splits", recipe: Recipe) -> list[int]:
    """How many samples each epoch of a recipe sees."""
    from bss.training import build

    made = build.plan(data, recipe)
    return [made.sampler.size_at(epoch) for epoch in range(made.epochs)]


def _alike(sizes: Sequence[int], others: Sequence[int], batch_size: int) -> bool:
    """Whether two arms have the same sizes; a batch more or less is rounding by class."""
    return len(sizes) == len(others) and all(
        abs(one - other) < batch_size for one, other in zip(sizes, others, strict=True)
    )


def said(plan: Plan) -> list[str]:
    """Lines on what a plan will test, for the screen."""
    analysis = plan.analysis
    if not analysis.contrasts:
        return ["plan: a single arm, so that nothing is compared"]
    tests = len(analysis.contrasts) * len(analysis.outcomes)
    pairs = [f"{arm} - {control}" for arm, control in analysis.contrasts]
    at = listed([str(size) for size in analysis.look_sizes()])
    folds = f" of each of {len(plan.folds)} folds" if plan.folds else ""
    lines = [
        f"plan: test {analysis.metric} at the {' and the '.join(analysis.outcomes)} epoch, {tests} "
        f"test{'s' * (tests != 1)} of {len(pairs)} difference{'s' * (len(pairs) != 1)}: {', '.join(pairs)}",
        f"plan: a verdict at {at} seed{'s' * (at != '1')}{folds}, level {100 * analysis.level():.3g} % over all of "
        f"them; a difference within {analysis.margin:g} points does not matter",
    ]
    if plan.seen:
        count = len(plan.seen)
        lines.append(
            f"plan: {count} of the {len(analysis.seeds)} seeds had finished runs when it was made, so what they show "
            "is exploratory"
        )
    return lines


# ---- which plan runs were made by ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Followed:
    """Which plan some runs were made by.

    Attributes:
        plan: the one of all of them; None = of none, or not of one.
        out: the folder of its ``plan.json``.
        reason: why there is none, as the end of a sentence, where some of them are of one; else empty.
    """

    plan: Plan | None = None
    out: Path | None = None
    reason: str = ""


def followed(runs: Iterable[KnownRun]) -> Followed:
    """Find the plan that runs were made by: the nearest ``plan.json`` above each that has a row for its folder.

    Runs of arms or seeds that are in no plan may stand beside those of one. A run that takes the place of a planned
    one may not.

    Raises:
        RunFolderError: a plan is damaged.
    """
    runs = list(runs)
    plans: dict[Path, tuple[Plan | None, dict[str, PlannedRun]]] = {}
    homes = [_home(run, plans) for run in runs]
    places = dict.fromkeys(home for home, _ in homes if home is not None)
    if not places:
        return Followed()
    if len(places) > 1:
        files = ", ".join(str(place / PLAN_FILE) for place in places)
        return Followed(reason=f"the runs are of {len(places)} plans ({files})")
    out = next(iter(places))
    plan, _ = plans[out]
    assert plan is not None
    rows = {(row.arm, row.pair): row for row in plan.runs}
    for run, (home, row) in zip(runs, homes, strict=True):
        expected = row or rows.get((run.own_arm, _pair(run, plan)))
        if expected is None:
            continue
        if home is None:
            reason = f"{run.path} is not the run of {run.own_arm} seed {expected.pair} that {out / PLAN_FILE} names"
        elif (run.own_arm, _pair(run, plan)) != (expected.arm, expected.pair):
            reason = f"{run.path} holds another arm or seed than {out / PLAN_FILE} names for it"
        elif expected.recipe not in _hashes(run):
            reason = f"{run.path} has another recipe than {out / PLAN_FILE} names for it"
        else:
            continue
        return Followed(reason=reason)
    return Followed(plan, out)


def _pair(run: KnownRun, plan: Plan) -> Pair:
    """What a run is paired by in a plan: one without folds may be of a single fold, which all its runs have."""
    return pair_of(run.fold, run.seed) if plan.folds else run.seed


def _home(
    run: KnownRun, plans: dict[Path, tuple[Plan | None, dict[str, PlannedRun]]]
) -> tuple[Path | None, PlannedRun | None]:
    """The folder of the plan that has a row for a run's folder, and the row; two Nones where there is none."""
    path = Path(os.path.realpath(run.path))
    for above in path.parents[:LEVELS]:
        if above not in plans:
            plan = read(above)
            plans[above] = plan, {row.folder: row for row in plan.runs} if plan is not None else {}
        row = plans[above][1].get(path.relative_to(above).as_posix())
        if row is not None:
            return above, row
    return None, None


def _hashes(run: KnownRun) -> set[str]:
    """What its recipe's hash may be in a plan: with the updates as asked for, or as worked out from the data."""
    recipe = run.config["recipe"]
    return {recipe_hash(recipe), recipe_hash({**recipe, "updates": None})}


# ---- what is missing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Missing:
    """A run without an outcome, which the comparison is incomplete without.

    Attributes:
        arm: its name.
        seed: of the run, or seed of its fold.
        reason: what became of it, in words.
        command: what makes it, word by word; empty = it is not known.
    """

    arm: str
    seed: Pair
    reason: str
    command: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """The run and what became of it."""
        return f"{self.arm} seed {self.seed}: {self.reason}"


def missing(found: Found, by: Followed, given: Sequence[Path]) -> list[Missing]:
    """The runs that a report should have and has not: other arms have an outcome with their seed, in their fold.

    They are folders that were left out, and runs of the plan, below a folder that was given, that are not there. A seed
    of which no run has an outcome, in a fold, is not begun, and nothing is missing of it.

    Args:
        found: the run folders.
        by: the plan that the runs were made by.
        given: the folders that the report is of.
    """
    known = (*found.runs, *found.failed)
    has_folds = bool(by.plan.folds) if by.plan is not None else len({run.fold for run in known}) > 1

    def pair(run: KnownRun) -> Pair:
        return pair_of(run.fold, run.seed) if has_folds else run.seed

    there = {(run.own_arm or run.arm, pair(run)) for run in known}
    begun = {each for _, each in there}
    rows = {} if by.plan is None or by.out is None else {by.out / row.folder: row for row in by.plan.runs}
    lost: dict[tuple[str, Pair], Missing] = {}
    for path, reason in found.left_out:
        row = rows.get(Path(os.path.realpath(path)))
        if row is not None:
            lost[row.arm, row.pair] = Missing(row.arm, row.pair, reason, row.command)
        elif (run := known_run(path)) is not None and run.own_arm:
            command = tuple(run.config.get("command") or ())
            lost[run.own_arm, pair(run)] = Missing(run.own_arm, pair(run), reason, command)
    inside = [Path(os.path.realpath(path)) for path in given]
    for folder, row in rows.items():
        if any(folder.is_relative_to(path) for path in inside):
            lost.setdefault((row.arm, row.pair), Missing(row.arm, row.pair, "not there", row.command))
    return [each for key, each in lost.items() if key not in there and each.seed in begun]
