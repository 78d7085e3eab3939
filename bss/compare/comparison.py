"""What a comparison consists of: a task, arms, seeds and how long each trains. Plain values, so that it can be sent."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from bss import tasks
from bss.compare.arms import Arm, find
from bss.recipes.fields import override
from bss.recipes.recipe import Recipe
from bss.training.build import check_method
from bss.utils.errors import RecipeError


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
        chosen: arm -> ``field=value`` of what it has chosen for itself, see :mod:`bss.compare.tuning`.
        code: see :func:`bss.tasks.task_file`, when the comparison began; None = a task without a file, or nobody has
            looked.
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
    chosen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def base(self) -> Recipe:
        """The task's curriculum recipe with ``epochs`` and the assignments: what all arms share.

        Raises:
            RecipeError: an assignment that does not fit, or one of what the comparison itself sets.
        """
        for assignment in self.assignments:
            name = assignment.partition("=")[0].strip()
            if name in ("seed", "overwrite"):
                way = "--seeds" if name == "seed" else "another --out"
                raise RecipeError(f"--set {name}= is not for a comparison: use {way}")
        task = tasks.load(self.task)
        base = task.sample_recipe(task.CL) if self.sample else task.CL
        return override(base if self.epochs is None else replace(base, epochs=self.epochs), list(self.assignments))

    def recipe(self, arm: Arm, seed: int, updates: int | None) -> Recipe:
        """An arm's recipe, with what it has chosen.

        Args:
            arm: adapts the base.
            seed: in [0, 2**32).
            updates: optimiser steps; None = the recipe's epochs.
        """
        base = override(self.base(), list(self.chosen.get(arm.name, ())))
        return replace(arm.recipe(replace(base, seed=seed)), updates=updates)

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

    def folder(self, arm: str, seed: int) -> Path:
        """The run folder."""
        return self.out / arm / f"seed{seed}"

    def plan(self) -> list[tuple[str, int]]:
        """All (arm, seed): seed by seed, so that a comparison that is cut short has whole pairs."""
        return [(arm, seed) for seed in self.seeds for arm in self.arms]


def check_arms(comparison: Comparison, updates: int | None) -> None:
    """Make every arm's recipe once.

    Raises:
        RecipeError: a task or an assignment that is wrong for all arms; an arm that is unknown or given twice, or that
            the task's recipe does not admit (named).
    """
    comparison.base()
    for arm in find(comparison.arms):
        try:
            check_method(comparison.recipe(arm, comparison.seeds[0], updates))
        except RecipeError as error:
            raise RecipeError(f"the arm {arm.name}: {error}") from error


def seeds_of(text: str) -> tuple[int, ...]:
    """``"5"`` is the five seeds 0 to 4; ``"3,7,"`` or ``"0-9"`` names them.

    Raises:
        RecipeError: none, a text that is no whole number, a seed twice or out of range.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        if len(parts) == 1 and "," not in text and "-" not in text:
            seeds: Sequence[int] = range(int(parts[0]))
        else:
            ranges = [[int(end) for end in part.split("-")] for part in parts]
            seeds = [seed for ends in ranges for seed in range(ends[0], ends[-1] + 1)]
    except ValueError:
        seeds = []
    if not seeds:
        raise RecipeError(f"--seeds {text!r} names no seed: 5 = seeds 0 to 4, 3,7 = these two, 0-9 = these ten")
    if len(set(seeds)) < len(seeds) or max(seeds) >= 2**32:
        raise RecipeError(f"--seeds {text!r}: every seed once, and each in 0..2**32 - 1")
    return tuple(seeds)


def weights_hash(state: Mapping[str, Any]) -> str:
    """SHA-256 of a network's state dict (names, types, shapes, bytes)."""
    import torch

    digest = hashlib.sha256()
    for name, value in state.items():
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
