"""What a comparison sets out to show, written down before anything is trained: ``plan.json`` beside its runs.

A p value means what it says where arms, seeds, margin and the moments of looking were chosen before the numbers were
seen. The plan is the record of that choice; a verdict that departs from it is exploratory. Other programs read the
file too: ``docs/run_folder.md`` says what stands in it.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bss.compare import shapes
from bss.compare.pairs import Pair, all_pairs, pair_of
from bss.recipes.recipe import FREE_FIELDS, Recipe
from bss.training.run_folder import read_json, sealed, whole_digest
from bss.utils.errors import RecipeError, RunFolderError, shown
from bss.utils.filesystem import replace_text

PLAN_FILE = "plan.json"
"""File of the newest plan, in the folder that the runs are in."""


FORMAT = 1
"""Version of the file."""


YOUNGER = (
    "lr_schedule",
    "lr_warmup",
    "freeze",
    "encoder_lr",
    "accumulate",
    "clip_norm",
    "label_smoothing",
    "class_weights",
)
"""Fields of a recipe that are younger than plans: at their defaults they are no part of its hash, which stays that of
the plans before them."""


OUTCOMES = (("chosen", "last"), ("last",))
"""What may be the primary outcomes: the metric at the chosen and at the last epoch; without a validation split only
the last one."""


# ---- what it holds -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Analysis:
    """What will be tested, on which runs, and when.

    Attributes:
        arms: names of all arms, in the order of the tables.
        seeds: one run each per arm, in the order in which they are trained.
        contrasts: the primary contrasts (arm, control), each meaning arm minus control.
        metric: of the prediction on the test set: ``"accuracy"``, ``"macro_f1"`` or ``"map"``.
        outcomes: the epochs whose weights met the test set: ``("chosen", "last")``, or ``("last",)`` where there is no
            validation split to choose by.
        margin: a difference that is smaller than this does not matter; in percentage points, above 0.
        looks: how often the planned verdict is taken; 1 = once, when all seeds are there.
        alpha: probability of any false verdict, over all contrasts, outcomes and looks; in (0, 1).

    Raises:
        RecipeError: arms, seeds or contrasts that are repeated or do not fit together, or a number out of its range.
    """

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    contrasts: tuple[tuple[str, str], ...]
    metric: str
    outcomes: tuple[str, ...]
    margin: float
    looks: int
    alpha: float = 0.05

    def __post_init__(self) -> None:
        for noun, values in (("arm", self.arms), ("seed", self.seeds)):
            if not values:
                raise RecipeError(f"the analysis has no {noun}")
            if repeated := [value for value in values if values.count(value) > 1]:
                raise RecipeError(f"the analysis has the {noun} {shown(repeated[0])} twice")
        pairs = [frozenset(contrast) for contrast in self.contrasts]
        for contrast, pair in zip(self.contrasts, pairs, strict=True):
            if not pair <= set(self.arms) or len(pair) != 2:
                raise RecipeError(f"the contrast {shown(contrast)} is not of two of the arms {', '.join(self.arms)}")
            if pairs.count(pair) > 1:
                raise RecipeError(f"the analysis has the contrast of {' and '.join(contrast)} twice")
        if self.outcomes not in OUTCOMES:
            raise RecipeError(f"the outcomes are {shown(list(self.outcomes))}, and not [chosen, last] or [last]")
        if not (math.isfinite(self.margin) and 0 < self.margin <= 100):
            raise RecipeError(f"the margin is {self.margin:g}, and not a number of points above 0 and at most 100")
        if not 1 <= self.looks <= len(self.seeds):
            raise RecipeError(f"looks is {self.looks}, and not 1 to {len(self.seeds)}, the number of seeds")
        if not 0 < self.alpha < 1:
            raise RecipeError(f"alpha is {self.alpha:g}, and not a number between 0 and 1")

    def look_sizes(self) -> tuple[int, ...]:
        """Numbers of seeds at which the planned verdict is taken: look k of K at the first ceil(n k / K) of n."""
        return tuple(math.ceil(len(self.seeds) * look / self.looks) for look in range(1, self.looks + 1))

    def level(self) -> float:
        """The level of each look: alpha is spent evenly over them, so that all together stay within it."""
        return self.alpha / self.looks


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        arm: its name.
        seed: in [0, 2**32).
        fold: which part of the data set tests it; None = the data set has no folds.
        folder: of the run, relative to the folder of ``plan.json``, with ``/``.
        command: what makes this run when typed in the folder where the comparison was started, word by word.
        recipe: see :func:`recipe_hash`.
    """

    arm: str
    seed: int
    fold: int | None
    folder: str
    command: tuple[str, ...]
    recipe: str

    @property
    def pair(self) -> Pair:
        """What other arms' runs are paired with it by."""
        return pair_of(self.fold, self.seed)


@dataclass(frozen=True)
class Plan:
    """What ``plan.json`` holds.

    Attributes:
        analysis: what will be tested.
        runs: a row for each run.
        previous: :func:`plan_hash` of the plan before it, where this one continues in the same folder.
        seen: its seeds of which a run was finished when the plan was made; what includes one of them is exploratory,
            since its numbers were there to be looked at.

    Raises:
        RecipeError: the runs are not one for each arm, seed and fold, or ``seen`` are no seeds of the analysis.
    """

    analysis: Analysis
    runs: tuple[PlannedRun, ...]
    previous: str | None = None
    seen: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        rows = {(run.arm, run.seed, run.fold) for run in self.runs}
        if len(rows) < len(self.runs) or len({run.folder for run in self.runs}) < len(self.runs):
            raise RecipeError("the plan has a run or a folder twice")
        pairs = all_pairs(self.analysis.seeds, self.folds)
        expected = {(arm, pair) for arm in self.analysis.arms for pair in pairs}
        if {(run.arm, run.pair) for run in self.runs} != expected:
            raise RecipeError(
                f"the plan's runs are not those of its {len(expected)} arms and seeds{' of folds' * bool(self.folds)}"
            )
        if not set(self.seen) <= set(self.analysis.seeds):
            raise RecipeError(f"the seen seeds {shown(list(self.seen))} are none of the plan's")

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds that its runs are of, ascending; none = the data set is not dealt into folds."""
        return tuple(sorted({run.fold for run in self.runs if run.fold is not None}))


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """SHA-256 of a resolved recipe as JSON with sorted keys, but for the fields that change no number.

    Args:
        recipe: ``dataclasses.asdict`` of it, or ``recipe`` of a run's ``config.json``. A plan has the recipe as it is
            before the data are read, so with ``"updates": null`` where equal updates are worked out from them.
    """
    # Without constants of a method a recipe is what it was before there were any: older plans stay whose they are.
    left_out = {member.name: member.default for member in fields(Recipe) if member.name in YOUNGER}
    return whole_digest(
        {
            name: value
            for name, value in recipe.items()
            if name not in FREE_FIELDS and value != {} and not (name in left_out and value == left_out[name])
        }
    )


# ---- as a file -----------------------------------------------------------------------------------------------------


def _content(plan: Plan) -> dict[str, Any]:
    """The plan as plain values: what ``plan.json`` holds, but for its checksum."""
    return json.loads(json.dumps({"format": FORMAT, **asdict(plan)}))  # lists in place of tuples, as a reader finds


def plan_hash(plan: Plan) -> str:
    """SHA-256 of the plan as JSON with sorted keys, without the commands, which change when a folder moves."""
    plain = _content(plan)
    runs = [{name: value for name, value in run.items() if name != "command"} for run in plain["runs"]]
    return whole_digest({**plain, "runs": runs})


def write(plan: Plan, out: Path) -> Path | None:
    """Write ``plan.json`` whole and onto the disk; another plan that is there is kept as ``plan-HASH8.json``.

    A file that says the same already is left untouched, byte for byte.

    Returns:
        The file that the other plan is kept as; None where there was none.

    Raises:
        RunFolderError: the plan that is there is damaged, or the folder cannot be written.
    """
    before = read(out)
    if before == plan:
        return None
    path, kept = out / PLAN_FILE, None
    try:
        if before is not None and plan_hash(before) != plan_hash(plan):
            kept = out / f"plan-{plan_hash(before)[:8]}.json"
            if not kept.exists():  # a copy: there is a plan.json at every moment
                replace_text(kept, path.read_text(encoding="utf-8"))
        replace_text(path, json.dumps(sealed(_content(plan)), indent=1) + "\n")
        return kept
    except OSError as error:
        raise RunFolderError(f"cannot write {path}: {error.strerror}; pass another --out") from error


def read(out: Path) -> Plan | None:
    """Read the plan in a folder; None where there is none.

    Raises:
        RunFolderError: it is damaged, was changed by hand, or comes from a newer version; names the file.
    """
    path = out / PLAN_FILE
    if not os.path.lexists(path):
        return None
    try:
        plain = read_json(out, PLAN_FILE)
        if plain.get("format") != FORMAT:
            raise RunFolderError(
                f"{PLAN_FILE} has the format {shown(plain.get('format'))}, and this version reads {FORMAT}"
            )
        shapes.PLAN(plain, f"{PLAN_FILE}:")
        return _made(plain)
    except (RunFolderError, RecipeError) as error:
        raise RunFolderError(f"{out}: {error}: bring it back, or move it away") from error


def _made(plain: Mapping[str, Any]) -> Plan:
    """The plan that plain values of the right shapes say."""
    said = plain["analysis"]
    analysis = Analysis(
        arms=tuple(said["arms"]),
        seeds=tuple(said["seeds"]),
        contrasts=tuple((arm, control) for arm, control in said["contrasts"]),
        metric=said["metric"],
        outcomes=tuple(said["outcomes"]),
        margin=float(said["margin"]),
        looks=said["looks"],
        alpha=float(said["alpha"]),
    )
    runs = tuple(
        PlannedRun(row["arm"], row["seed"], row["fold"], row["folder"], tuple(row["command"]), row["recipe"])
        for row in plain["runs"]
    )
    return Plan(analysis, runs, plain["previous"], tuple(plain["seen"]))
