"""Tuning: before a comparison, every arm chooses its values of some recipe fields on the validation samples.

The settings of an arm are the product of the values of the fields that reach it, and each is trained once; an arm that
is reached by fewer of them trains each of its settings with as many seeds as give it the same number of runs. Whom no
field reaches has nothing to choose, and no run. The setting with the best mean validation accuracy is chosen, of equal
ones the one that is named first. The runs of the comparison have other seeds, and other run folders.

With folds an arm chooses anew in each, on the validation samples of that fold: what it would choose by in one fold is
tested in another.
"""

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from bss import tasks
from bss.compare import shapes
from bss.compare.arms import Arm, bearing, find, is_reached, partly_reaching, settable
from bss.compare.comparison import Comparison, weights_hash
from bss.compare.pairs import Pair, fold_of, pair_of, seed_of
from bss.compare.plan import recipe_hash
from bss.compare.runs import TUNE_FILE, TUNE_FOLDER, KnownRun, ended_not_finite, read_run
from bss.compare.tables import Table
from bss.compare.wording import listed
from bss.recipes.fields import flatten, named_field, override
from bss.recipes.recipe import FREE_FIELDS, Recipe
from bss.training.run_folder import read_json, read_rows, sealed
from bss.utils.errors import RecipeError, RunFolderError, shown
from bss.utils.filesystem import replace_text
from bss.utils.listed import entries

if TYPE_CHECKING:  # a report reads what was chosen, and does not wait for PyTorch
    from bss.data.splits import Splits

FORMAT = 1
"""Version of ``tune.json``."""


LAST_SEED = 2**32 - 1
"""The seed of the first tuning run of a setting; further ones have the seeds below it."""


MOST_BYTES = 200
"""Of a setting's name as a folder: file systems admit 255, and some that encrypt fewer."""


LEVELS = 3
"""How many folders above a run's are looked into for the tuning of its arm."""


_LENGTH = "it changes how long an arm trains, which is equal for all"
_DATA = "it changes the data that the choice is made on"


NOT_TUNED = {
    "seed": "--seeds names those of the comparison, and a tuning has its own",
    **dict.fromkeys(("epochs", "updates", "batch_size", "patience"), _LENGTH),
    **dict.fromkeys(("val_fraction", "missing", "split", "fold", "folds", "test_part"), _DATA),
    **dict.fromkeys(("corrupt_pairs", "corrupt_labels"), _DATA),
    **dict.fromkeys(FREE_FIELDS, "it changes no number"),
}
"""Field of a recipe -> why there is nothing to choose."""


Setting = tuple[str, ...]
"""``field=value`` for every tuned field that reaches an arm; none = the arm has nothing to choose."""


# ---- what is tried -------------------------------------------------------------------------------------------------


Chooser = tuple[str, int | None]
"""Who chooses: an arm, and the fold in which it does; None = there are no folds."""


class Trial(NamedTuple):
    """What one run of an arm tries. Written, it goes on after the word "seed": ``4294967295 with lr=0.01``.

    Attributes:
        setting: the values.
        pair: the seed of the run, or that of its fold.
    """

    setting: Setting
    pair: Pair

    def __str__(self) -> str:
        return f"{self.pair} with {', '.join(self.setting)}"


@dataclass(frozen=True)
class Trials(Comparison):
    """The runs of a tuning: a comparison whose runs are told apart by their :class:`Trial`, where others' are by seed.

    Attributes:
        grid: field -> the values that are tried, in words of the command line.
        tried: (arm, trial) of every run, in the order of training.
    """

    grid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tried: tuple[tuple[str, Trial], ...] = ()

    def plan(self) -> list[tuple[str, Trial]]:
        """All (arm, trial)."""
        return list(self.tried)

    @property
    def choosers(self) -> list[Chooser]:
        """All (arm, fold), also those that have nothing to choose."""
        folds = dict.fromkeys(fold_of(pair) for pair in self.pairs)
        return [(arm, fold) for fold in folds for arm in self.arms]

    def of(self, chooser: Chooser) -> list[Trial]:
        """What an arm tries."""
        return [trial for arm, trial in self.tried if (arm, fold_of(trial.pair)) == chooser]

    def recipe(self, arm: Arm, pair: Trial, updates: int | None) -> Recipe:
        """An arm's recipe with the values that it tries."""
        trying = replace(self, chosen={(arm.name, fold_of(pair.pair)): pair.setting})
        return Comparison.recipe(trying, arm, pair.pair, updates)

    @property
    def told(self) -> str:
        """The test samples have no part in a tuning."""
        return "validation accuracy at the epoch chosen by it"

    def accuracy(self, folder: Path, summary: Mapping[str, Any]) -> float:
        """See :func:`validation_accuracy`."""
        return float(read_rows(folder)[summary["chosen_epoch"]]["val"]["accuracy"]["all"])

    def folder(self, arm: str, pair: Trial) -> Path:
        """The run folder: that of a comparison in a folder of the setting."""
        below = self.out / TUNE_FOLDER / _folder_name(",".join(pair.setting))
        return Comparison.folder(replace(self, out=below), arm, pair.pair)


def _folder_name(setting: str) -> str:
    """A setting as the name of a folder; a long one is cut, for names have 255 bytes on most file systems."""
    name = quote(setting, safe="=,")
    if len(name) <= MOST_BYTES:
        return name
    digest = hashlib.sha256(setting.encode()).hexdigest()[:16]
    return f"{name[: MOST_BYTES - len(digest) - 1]}-{digest}"


def grid_of(comparison: Comparison, texts: Iterable[str], given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The values that each field is tried with, by its dotted name.

    Args:
        comparison: whose arms are tuned.
        texts: of ``--tune``: ``field=value,value``.
        given: of ``--set``.

    Raises:
        RecipeError: a field that there is not, that is not to be tuned, or that is given twice; or values that are not
            two or more different ones of its type.
    """
    base = comparison.base()
    known = settable(base)
    fixed = {named_field(each, known)[0] for each in given}
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        if "=" not in text:
            raise RecipeError(f"--tune needs field=value,value, got {shown(text)}")
        path, several = named_field(text, known)
        values = entries(f"--tune {path}:", several)
        if path in NOT_TUNED:
            raise RecipeError(f"--tune {path}: {NOT_TUNED[path]}; to set it for all arms, use --set")
        if path in grid:
            raise RecipeError(f"--tune {path} is given twice: name all of its values in one, as in {path}=1,2,3")
        if path in fixed:
            raise RecipeError(f"{path} is in --tune and in --set: leave one of them out")
        try:
            tried = [flatten(override(bearing(base, path), [f"{path}={value}"]))[path] for value in values]
        except RecipeError as error:
            raise RecipeError(f"--tune {path}={several}: {error}") from error
        if len(values) < 2:
            raise RecipeError(
                f"--tune {path}={several} leaves nothing to choose: name two values or more, or use --set"
            )
        for place, value in enumerate(tried):
            if value in tried[:place]:
                raise RecipeError(f"--tune {path}: {values[tried.index(value)]} and {values[place]} are the same value")
        grid[path] = values
    return grid


def trials_of(comparison: Comparison, grid: Mapping[str, tuple[str, ...]]) -> Trials:
    """The runs of a tuning, as many for every arm that has something to choose.

    They come round by round, a seed each, and in it fold by fold, so that what is cut short has whole settings of all
    arms.

    Args:
        comparison: whose arms are tuned.
        grid: see :func:`grid_of`.

    Raises:
        RecipeError: a field that reaches none of the arms, a value that an arm does not admit (named), no validation
            split, or a seed of the comparison that is one of the tuning's.
    """
    from bss.training.build import check_method

    base = comparison.base()
    if base.val_fraction == 0:
        raise RecipeError(
            "--tune chooses on the validation split, and val_fraction=0 leaves none; the test set cannot stand for it: "
            "set val_fraction above 0, as in --set val_fraction=0.1"
        )
    arms = find(comparison.arms)
    partly_reaching(arms, [f"{path}={','.join(values)}" for path, values in grid.items()], base, source="--tune ")
    budget = math.prod(map(len, grid.values()))
    folds = dict.fromkeys(fold_of(pair) for pair in comparison.pairs)
    found: list[tuple[tuple[int, int, int], str, Trial]] = []
    for arm in arms:
        values = [[f"{path}={each}" for each in grid[path]] for path in grid if is_reached(arm, f"{path}=", base)]
        settings = list(itertools.product(*values)) if values else []
        rounds = range(budget // len(settings) if settings else 0)
        for number, (at, fold), (place, setting) in itertools.product(rounds, enumerate(folds), enumerate(settings)):
            found.append(((number, at, place), arm.name, Trial(setting, pair_of(fold, LAST_SEED - number))))
    tried = tuple((arm, trial) for _, arm, trial in sorted(found, key=lambda each: each[0]))
    both = sorted({seed_of(trial.pair) for _, trial in tried} & set(comparison.seeds))
    if both:
        raise RecipeError(f"--seeds names {both[0]}, which is a seed of the tuning: compare with others")
    own = {each.name: getattr(comparison, each.name) for each in fields(comparison)}
    trials = Trials(**own, grid=dict(grid), tried=tried)
    by_name = {arm.name: arm for arm in arms}
    for name, trial in tried:
        try:
            check_method(trials.recipe(by_name[name], trial, base.updates))
        except RecipeError as error:
            raise RecipeError(f"--tune {', '.join(trial.setting)}: the arm {name}: {error}") from error
    return trials


def check_sound(trials: Trials, data: "Splits", tested: Recipe) -> None:
    """Refuse a tuning that would see the test samples, or choose between data sets or networks.

    Args:
        trials: the tuning.
        data: of a run of the comparison.
        tested: its recipe.

    Raises:
        RecipeError: there is no validation split, a seed of the tuning has other test samples than the comparison, or a
            value of a field that the task has of its own leads to other samples or initial weights than another value;
            a setting that does not fit the data (named).
    """
    from bss.training.build import plan

    if data.val is None:
        raise RecipeError(
            "--tune chooses on the validation split, and this task has none; the test set cannot stand for it"
        )
    if not trials.tried:
        return
    for (name, setting), trial in {(name, trial.setting): trial for name, trial in trials.tried}.items():
        try:
            plan(data, trials.recipe(find([name])[0], trial, None))
        except RecipeError as error:
            raise RecipeError(f"--tune {', '.join(setting)}: the arm {name}: {error}") from error
    name, trial = trials.tried[0]
    first = trials.recipe(find([name])[0], trial, None)
    task = tasks.load(trials.task)
    theirs = _lists(task.build_data(first, trials.data_root), first)
    if _hash(theirs, "test") != _hash(_lists(data, tested), "test"):
        raise RecipeError(
            "--tune: a seed draws its own test part here, so that samples which one seed chooses by are tested with "
            "another: fix the test part, by the field of the recipe that draws it"
        )
    common = {each.name for each in fields(Recipe)}
    for path, values in trials.grid.items():
        if path in common or "." in path:
            continue  # of the training alone
        seen = [_start(trials, override(first, [f"{path}={value}"])) for value in values]
        if any(each != seen[0] for each in seen):
            raise RecipeError(
                f"--tune {path}: its values lead to other samples or initial weights, which all arms of a seed have in "
                "common; to set it for all arms, use --set"
            )


def _lists(data: "Splits", recipe: Recipe) -> dict[str, dict[str, Any]]:
    from bss.training.build import as_trained
    from bss.training.checkpoint import lists_of

    return lists_of(as_trained(data, recipe))


def _hash(lists: Mapping[str, Mapping[str, Any]], split: str) -> object:
    """What tells one list from another: its hash, or its size where names are not known."""
    return lists[split].get("hash", lists[split]["count"])


def _start(trials: Trials, recipe: Recipe) -> tuple[object, str]:
    """The lists of samples, and the hash of the initial weights, that a recipe leads to."""
    task = tasks.load(trials.task)
    lists = _lists(task.build_data(recipe, trials.data_root), recipe)
    return lists, weights_hash(task.build_model(recipe, trials.data_root).state_dict())


def tuning_lines(trials: Trials) -> list[str]:
    """Lines on what a tuning will do, for the screen."""
    grid = "; ".join(f"{path}={','.join(values)}" for path, values in trials.grid.items())
    lines = [f"tuning: {grid}, chosen for each arm by validation accuracy"]
    counts = {chooser: _counts(trials.of(chooser)) for chooser in trials.choosers}
    for settings, seeds in dict.fromkeys(counts.values()):
        alike = [chooser for chooser, own in counts.items() if own == (settings, seeds)]
        arms = ", ".join(dict.fromkeys(arm for arm, _ in alike))
        folds = len({fold for _, fold in alike if fold is not None})
        if settings:
            each = f"{seeds} seed{'s' * (seeds != 1)} each{f', in each of {folds} folds' if folds else ''}"
            lines.append(f"tuning: {settings * seeds} runs of {arms}: {settings} settings, {each}")
        else:
            lines.append(f"tuning: no run of {arms}: none of these fields reaches it, or it has chosen")
    return lines


def choice_lines(tuning: "Tuning", comparison: Comparison) -> list[str]:
    """A line for every arm of a comparison on what it has chosen, and in which fold."""
    folds = dict.fromkeys(fold_of(pair) for pair in comparison.pairs)
    return [
        f"tuning: {_named((arm, fold))} takes {_told(tuning.chosen[arm, fold]) or 'what the recipe says'}"
        for fold in folds
        for arm in comparison.arms
    ]


def _named(chooser: Chooser) -> str:
    arm, fold = chooser
    return arm if fold is None else f"{arm} in fold {fold}"


def _counts(tried: Sequence[Trial]) -> tuple[int, int]:
    """Numbers of settings, and of seeds with each."""
    return len({trial.setting for trial in tried}), len({trial.pair for trial in tried})


# ---- what came out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tried:
    """A run of a tuning.

    Attributes:
        arm: its name.
        setting: the values.
        seed: of the run.
        fold: in which it chooses; None = there are no folds.
        folder: of the run, relative to the folder of ``tune.json``, with ``/``.
        recipe: see :func:`bss.compare.plan.recipe_hash`.
        accuracy: on the validation samples at the epoch that they chose, in [0, 1]; None = its numbers were not
            finite, or it is not trained yet.
    """

    arm: str
    setting: Setting
    seed: int
    fold: int | None
    folder: str
    recipe: str
    accuracy: float | None = None

    @property
    def chooser(self) -> Chooser:
        """Who goes by it."""
        return self.arm, self.fold


@dataclass(frozen=True)
class Tuning:
    """What ``tune.json`` holds.

    Attributes:
        grid: field -> the values that were tried.
        tried: a row for each run.
        chosen: (arm, fold) -> its setting, of all arms; nothing while runs are to be trained.
    """

    grid: Mapping[str, tuple[str, ...]]
    tried: tuple[Tried, ...]
    chosen: Mapping[Chooser, Setting] = field(default_factory=dict)

    def asked(self, chooser: Chooser) -> list[Tried]:
        """What was to be tried for an arm, whatever came out."""
        return [replace(each, accuracy=None) for each in self.tried if each.chooser == chooser]

    def accuracies(self, chooser: Chooser) -> dict[Setting, list[float | None]]:
        """Setting -> the validation accuracies of an arm's runs, in the order of the grid."""
        found: dict[Setting, list[float | None]] = {}
        for each in self.tried:
            if each.chooser == chooser:
                found.setdefault(each.setting, []).append(each.accuracy)
        return found


def best(accuracies: Mapping[Setting, Sequence[float | None]]) -> Setting | None:
    """The setting with the best mean accuracy, of equal ones the first; None where none has one.

    Args:
        accuracies: setting -> of its runs; None = the run's numbers were not finite, and so the setting is none to
            choose, whatever its other runs came to.
    """
    means = {setting: mean for setting, values in accuracies.items() if (mean := _mean(values)) is not None}
    return max(means, key=lambda setting: means[setting], default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def asked(trials: Trials) -> Tuning:
    """A tuning as it is set down before it is trained."""
    arms = {arm.name: arm for arm in find(trials.arms)}
    updates = trials.base().updates
    rows = [
        Tried(
            name,
            trial.setting,
            seed_of(trial.pair),
            fold_of(trial.pair),
            trials.folder(name, trial).relative_to(trials.out).as_posix(),
            recipe_hash(asdict(trials.recipe(arms[name], trial, updates))),
        )
        for name, trial in trials.tried
    ]
    return Tuning(trials.grid, tuple(rows))


def left(trials: Trials) -> Trials:
    """The runs of a tuning without those of arms that have chosen, by the ``tune.json`` in its folder.

    Their run folders need not be there any more.

    Raises:
        RunFolderError: it is damaged, or another tuning has chosen in this folder.
    """
    there, now = read(trials.out), asked(trials)
    if there is None or not there.chosen:
        return trials
    for each in trials.choosers:
        if there.grid != now.grid or (each in there.chosen and there.asked(each) != now.asked(each)):
            grid = "; ".join(f"{path}={','.join(values)}" for path, values in there.grid.items())
            other = (
                "of another tuning" if there.grid != now.grid else "of a tuning with another recipe or order of fields"
            )
            raise RunFolderError(
                f"{trials.out / TUNE_FILE} is {other} ({grid}), by which arms have chosen already: repeat its command, "
                "or pass another --out"
            )
    return replace(
        trials, tried=tuple(each for each in trials.tried if (each[0], fold_of(each[1].pair)) not in there.chosen)
    )


def unfinished(trials: Trials) -> list[tuple[str, Trial]]:
    """Those runs of a tuning that are still to be trained.

    Raises:
        RunFolderError: see :func:`bss.compare.runner.is_finished`.
    """
    from bss.compare.runner import check_finished

    finished = set(check_finished(trials))
    return [each for each in trials.tried if each not in finished]


def whole(trials: Trials) -> Tuning | None:
    """The tuning in a folder, where all arms have chosen by it; else None.

    Args:
        trials: see :func:`left`.
    """
    there = read(trials.out)
    return there if there is not None and set(trials.choosers) <= there.chosen.keys() else None


def begun(trials: Trials) -> Tuning:
    """The tuning in a folder with what these runs add to it, before they are trained.

    Args:
        trials: see :func:`left`.
    """
    there, now = read(trials.out), asked(trials)
    if there is None or not there.chosen:
        return now
    kept = [each for each in there.tried if each.chooser in there.chosen]
    return replace(there, tried=(*kept, *(each for each in now.tried if each.chooser not in there.chosen)))


def chosen(tuning: Tuning, trials: Trials) -> Tuning:
    """The tuning with what its runs came to, and what each arm chooses.

    Args:
        tuning: see :func:`begun`.
        trials: all of which are trained, or have ended by numbers that are not finite.

    Raises:
        RecipeError: none of an arm's settings can be chosen.
        RunFolderError: a run folder is damaged.
    """
    measured = {folder: validation_accuracy(folder) for folder in itertools.starmap(trials.folder, trials.tried)}
    rows = tuple(replace(each, accuracy=measured.get(trials.out / each.folder, each.accuracy)) for each in tuning.tried)
    made = replace(tuning, tried=rows)
    choices = dict(tuning.chosen)
    for chooser in trials.choosers:
        if chooser in choices:
            continue
        tried = made.accuracies(chooser)
        choice = best(tried) if tried else ()
        if choice is None:
            raise RecipeError(
                f"--tune: each setting of {_named(chooser)} has a run whose loss was not finite, so that there is none "
                "to choose: try other values"
            )
        choices[chooser] = choice
    return replace(made, chosen=choices)


def validation_accuracy(folder: Path) -> float | None:
    """Accuracy on the validation samples at the epoch that they chose; None where the run's numbers were not finite.

    Raises:
        RunFolderError: its run is unfinished or damaged.
    """
    if ended_not_finite(folder):
        return None
    try:
        run = read_run(folder)
    except RunFolderError as error:
        raise RunFolderError(f"{folder}: {error}") from error
    return float(run.rows[run.summary["chosen_epoch"]]["val"]["accuracy"]["all"])


# ---- as a file -----------------------------------------------------------------------------------------------------


def write_tuning(tuning: Tuning, out: Path) -> None:
    """Write ``tune.json`` whole and onto the disk.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    choices = [{"arm": arm, "fold": fold, "setting": setting} for (arm, fold), setting in tuning.chosen.items()]
    tried = [asdict(each) for each in tuning.tried]
    plain = {"format": FORMAT, "grid": dict(tuning.grid), "tried": tried, "chosen": choices}
    try:
        replace_text(out / TUNE_FILE, json.dumps(sealed(plain), indent=1) + "\n")
    except OSError as error:
        raise RunFolderError(f"cannot write {out / TUNE_FILE}: {error.strerror}; pass another --out") from error


def read(out: Path) -> Tuning | None:
    """Read the tuning in a folder; None where there is none.

    Raises:
        RunFolderError: it is damaged, was changed by hand, or comes from a newer version; names the file.
    """
    if not os.path.lexists(out / TUNE_FILE):
        return None
    try:
        plain = read_json(out, TUNE_FILE)
        if plain.get("format") != FORMAT:
            raise RunFolderError(
                f"{TUNE_FILE} has the format {shown(plain.get('format'))}, and this version reads {FORMAT}"
            )
        shapes.TUNING(plain, f"{TUNE_FILE}:")
    except RunFolderError as error:
        raise RunFolderError(f"{out}: {error}: bring it back, or move it away") from error
    return Tuning(
        {path: tuple(values) for path, values in plain["grid"].items()},
        tuple(
            Tried(
                row["arm"],
                tuple(row["setting"]),
                row["seed"],
                row["fold"],
                row["folder"],
                row["recipe"],
                row["accuracy"],
            )
            for row in plain["tried"]
        ),
        {(row["arm"], row["fold"]): tuple(row["setting"]) for row in plain["chosen"]},
    )


# ---- in a report ---------------------------------------------------------------------------------------------------


def tunings_of(runs: Iterable[KnownRun]) -> list[Tuning]:
    """The tunings that chose for the arms of some runs: of the nearest ``tune.json`` above each, once.

    Raises:
        RunFolderError: one is damaged.
    """
    found: dict[Path, Tuning] = {}
    for run in runs:
        for above in Path(os.path.realpath(run.path)).parents[:LEVELS]:
            if above in found:
                break
            tuning = read(above) if run.own_arm else None
            if tuning is not None and {(run.own_arm, run.fold), (run.own_arm, None)} & tuning.chosen.keys():
                found[above] = tuning
                break
    return list(found.values())


def tuning_table(tuning: Tuning) -> Table:
    """What each arm chose, among what, and in how many runs."""
    import pandas as pd

    rows = []
    for chooser, setting in tuning.chosen.items():
        tried = tuning.accuracies(chooser)
        others = "; ".join(f"{_told(each)}: {_percent(values)}" for each, values in tried.items() if each != setting)
        runs = sum(map(len, tried.values()))
        seeds = f"{len(next(iter(tried.values())))}" if tried else "0"
        cells = [_told(setting), _percent(tried[setting]), others] if tried else ["nothing to choose", "", ""]
        rows.append([_named(chooser), *cells, str(len(tried)), seeds, str(runs)])
    grid = "; ".join(f"{path}={','.join(values)}" for path, values in tuning.grid.items())
    anew = "" if {fold for _, fold in tuning.chosen} == {None} else ", in each fold anew"
    return Table(
        "Chosen on validation",
        f"Of {grid} every arm took what gave the best mean accuracy in % on the validation samples, at the epoch that "
        f"they chose{anew}; of equal ones the first. All arms that one of these fields reaches had as many runs to "
        "choose by, with other seeds than the comparison; the test samples had no part in it.",
        pd.DataFrame(rows, columns=["arm", "chosen", "validation", "not chosen", "settings", "seeds each", "runs"]),
        prose=True,
    )


def untuned(tuning: Tuning) -> list[str]:
    """A sentence on arms that had nothing to choose where others had; none where all were tuned, or none was."""
    names = dict.fromkeys(arm for arm, _ in tuning.chosen)
    tried = {arm for (arm, _), setting in tuning.chosen.items() if setting}
    left = [arm for arm in names if arm not in tried]
    if not left or not tried:
        return []
    were = "were" if len(left) > 1 else "was"
    return [
        f"{listed(left)} {were} not tuned, since no tuned field reaches {'them' if len(left) > 1 else 'it'}, and "
        f"{listed([arm for arm in names if arm in tried])} chose among several settings: part of a difference may be "
        "the tuning."
    ]


def _told(setting: Setting) -> str:
    return ", ".join(setting)


def _percent(values: Sequence[float | None]) -> str:
    mean = _mean(values)
    return "not finite" if mean is None else f"{100 * mean:.1f}"
