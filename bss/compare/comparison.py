"""What a comparison consists of: a task, arms, seeds and how long each trains. Plain values, so that it can be sent."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bss import tasks
from bss.compare.arms import Arm, adapted, find, of_base
from bss.compare.pairs import Pair, all_pairs, fold_of, seed_of
from bss.recipes.fields import flatten, override
from bss.recipes.recipe import Recipe
from bss.utils.errors import RecipeError, shown
from bss.utils.listed import entries


@dataclass(frozen=True)
class Comparison:
    """A comparison.

    Attributes:
        task: a module of :mod:`bss.tasks`, or the path of a Python file like one.
        arms: names, see :data:`bss.compare.arms.ARMS`.
        seeds: one run each per arm; a seed decides initial weights, validation split and orders.
        budget: all arms train for ``"equal"`` updates, those of uniform order, or for the recipe's ``"epochs"``.
        assignments: ``field=value`` for the task's recipe, before an arm adapts it.
        data_root: the data set's folder.
        out: where the runs and the report go.
        workers: processes per run that load data.
        epochs: in place of those of the task's recipe; None = those.
        sample: the numbers are those that suit the task's generated data.
        chosen: (arm, fold) -> ``field=value`` of what it has chosen for itself, see :mod:`bss.compare.tuning`.
        code: see :func:`bss.tasks.task_file`, when the comparison began; None = a task without a file, or nobody has
            looked.
        folds: how many parts the data set is dealt into, each of which is the test part of some runs; None = its own
            test part is tested.
        tested: which of these folds, from 0; none = all of them.
    """

    task: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: Literal["equal", "epochs"]
    assignments: tuple[str, ...]
    data_root: Path
    out: Path
    workers: int
    epochs: int | None = None
    sample: bool = False
    code: str | None = None
    chosen: Mapping[tuple[str, int | None], tuple[str, ...]] = field(default_factory=dict)
    folds: int | None = None
    tested: tuple[int, ...] = ()

    def base(self) -> Recipe:
        """The task's curriculum recipe with ``epochs`` and the assignments: what all arms share.

        Raises:
            RecipeError: an assignment that does not fit, or one of what the comparison itself sets; folds of a task
                that has none, or that these numbers do not admit; runs that end early.
        """
        for assignment in self.assignments:
            name = assignment.partition("=")[0].strip()
            if name in ("seed", "overwrite"):
                way = "--seeds" if name == "seed" else "another --out"
                raise RecipeError(f"--set {name}= is not for a comparison: use {way}")
            if name in ("fold", "folds") and self.folds is not None:
                way = "compare's --fold tests some of them" if name == "fold" else "it says how many there are"
                raise RecipeError(f"--set {name}= contradicts --folds: leave it out, {way}")
        task = tasks.load(self.task)
        base = task.sample_recipe(task.CL) if self.sample else task.CL
        if self.epochs is not None:
            base = replace(base, epochs=self.epochs)
        if self.folds is not None and "fold" not in flatten(base):
            raise RecipeError(
                f"--folds {self.folds}: the recipe of {self.task} has no folds, for nothing is known that its samples "
                "could be dealt by; leave --folds out. Data sets whose recipe has the field fold can be dealt: cremad "
                "with --set split=speaker, and task files"
            )
        folds = [] if self.folds is None else [f"folds={self.folds}", "fold=0"]
        made = override(base, of_base(base, [*self.assignments, *folds]))
        if made.patience is not None:
            raise RecipeError(
                f"patience={made.patience} is not for a comparison, whose arms train for equally many updates, and "
                "each would end at another one: set patience=none; a report has the chosen epoch beside the last"
            )
        return made

    def recipe(self, arm: Arm, pair: Pair, updates: int | None) -> Recipe:
        """An arm's recipe, with what it has chosen.

        Args:
            arm: adapts the base.
            pair: a seed in [0, 2**32), or that of a fold.
            updates: optimiser steps; None = the recipe's epochs.
        """
        base, chosen = self.base(), self.chosen.get((arm.name, fold_of(pair)), ())
        fold = {} if self.folds is None else {"fold": fold_of(pair)}
        base = replace(override(base, of_base(base, chosen)), seed=seed_of(pair), **fold)
        return replace(adapted(arm, base, [*self.assignments, *chosen]), updates=updates)

    def updates(self, num_train: int) -> int | None:
        """Optimiser steps of a run: those of uniform order in the recipe's epochs; None with equal epochs.

        Args:
            num_train: training samples; a validation split by speakers leaves seeds with different numbers of them.

        Raises:
            RecipeError: ``updates=`` is set beside equal epochs.
        """
        base = self.base()
        if self.budget == "epochs":
            if base.updates is not None:
                raise RecipeError(f"updates={base.updates} contradicts --updates epochs: leave one of them out")
            return None
        return base.updates or base.epochs * (num_train // base.batch_size)

    @property
    def told(self) -> str:
        """What :meth:`accuracy` is, in words."""
        return "test accuracy after the last epoch"

    def accuracy(self, folder: Path, summary: Mapping[str, Any]) -> float:
        """What is told of a run when it is finished, in [0, 1].

        Args:
            folder: of the run.
            summary: its ``summary.json``.
        """
        return summary["test"]["last"]["accuracy"]["all"]

    def folder(self, arm: str, pair: Pair) -> Path:
        """The run folder."""
        fold, above = fold_of(pair), self.out / arm
        return (above if fold is None else above / f"fold{fold}") / f"seed{seed_of(pair)}"

    @property
    def pairs(self) -> list[Pair]:
        """What an arm has a run of: the seeds, or every seed of every fold."""
        return all_pairs(self.seeds, self.tested or range(self.folds or 0))

    def plan(self) -> list[tuple[str, Pair]]:
        """All (arm, pair): seed by seed, so that a comparison that is cut short has whole pairs."""
        return [(arm, pair) for pair in self.pairs for arm in self.arms]


def check_arms(comparison: Comparison, updates: int | None) -> None:
    """Make every arm's recipe once.

    Raises:
        RecipeError: a task or an assignment that is wrong for all arms; an arm that is unknown or given twice, or that
            the task's recipe does not admit (named).
    """
    from bss.training.build import check_method  # with PyTorch, which those who only read about comparisons do without

    comparison.base()
    for arm in find(comparison.arms):
        try:
            check_method(comparison.recipe(arm, comparison.pairs[0], updates))
        except RecipeError as error:
            raise RecipeError(f"the arm {arm.name}: {error}") from error


def seeds_of(text: str) -> tuple[int, ...]:
    """``"5"`` is the five seeds 0 to 4; ``"3,7,"`` or ``"0-9"`` names them.

    Raises:
        RecipeError: none, a text that is no whole number, a seed twice or out of range.
    """
    parts = entries("--seeds", text)
    if "," not in text and re.fullmatch(r"\s*[0-9]{1,20}\s*", text):
        ranges = [range(int(parts[0]))]
    else:
        ends = [re.fullmatch(r"([0-9]{1,20})(?:\s*-\s*([0-9]{1,20}))?", part) for part in parts]
        ranges = [range(int(found[1]), int(found[2] or found[1]) + 1) for found in ends if found]
    count = sum(max(0, each.stop - each.start) for each in ranges)  # a range has no length beyond 2**63
    if len(ranges) < len(parts) or any(each.stop <= each.start for each in ranges):
        ranges, count = [], 0
    if not count:
        raise RecipeError(
            f"--seeds {shown(text)} names no seed: 5 = seeds 0 to 4, 3,7 = these two, 0-9 = these ten; each is a whole "
            "number of 0 or more"
        )
    if count > MOST_SEEDS:
        raise RecipeError(
            f"--seeds {shown(text)} are {count:,} seeds, and every arm has a run of each: {MOST_SEEDS:,} at most"
        )
    seeds = tuple(seed for each in ranges for seed in each)
    if len(set(seeds)) < len(seeds) or max(seeds) >= 2**32:
        raise RecipeError(f"--seeds {shown(text)}: every seed once, and each in 0..2**32 - 1")
    return seeds


MOST_SEEDS = 10_000
"""A comparison of more than so many seeds is a slip of the keyboard."""


def picked_folds(text: str | None, folds: int | None) -> tuple[int, ...]:
    """``"0,3"`` are these two folds of ``--folds``; None = none is picked.

    Raises:
        RecipeError: a text that is no fold, a fold that is there twice, or there are no folds.
    """
    if text is None:
        return ()
    if folds is None:
        raise RecipeError(f"--fold {text} picks some of the folds: say with --folds how many there are")
    parts = entries("--fold", text)
    found = tuple(int(part) for part in parts if part.isdecimal())
    if not found or len(set(found)) < len(parts) or max(found) >= folds:
        raise RecipeError(f"--fold {text}: some of the folds 0 to {folds - 1}, each once, such as 0,1")
    return tuple(sorted(found))


def weights_hash(state: Mapping[str, Any]) -> str:
    """SHA-256 of a network's state dict (names, types, shapes, bytes)."""
    import torch

    digest = hashlib.sha256()
    for name, value in state.items():
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
