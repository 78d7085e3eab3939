"""Callbacks: where the numbers of a run go beside its folder, such as TensorBoard, Weights & Biases or MLflow."""

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bss.recipes.recipe import Recipe
from bss.training.run_folder import EpochRow, Summary, read_json
from bss.utils.errors import first_line


class Callback(Protocol):
    """What is called as a run goes on: pass objects with these three methods to ``bss.fit(..., callbacks=[...])``.

    They are called on the main process alone, and change nothing of the run: what a callback raises is a warning, once,
    and the training goes on.
    """

    def start(self, config: Mapping[str, Any]) -> None:
        """The run begins, or goes on after a stop.

        Args:
            config: the content of ``config.json``: recipe, data, versions and command.
        """

    def log(self, row: Mapping[str, float], updates: int) -> None:
        """An epoch is over, and its row is in ``metrics.jsonl``.

        When a run goes on, the epochs before the stop are logged again, so that a callback sees each of them, in order.

        Args:
            row: the finite numbers of the row, by paths such as ``"val/accuracy/audio"``; ``row["epoch"]`` is 0-based.
            updates: optimiser steps so far: the axis on which runs with epochs of different sizes can be compared.
        """

    def finish(self, summary: Mapping[str, float] | None) -> None:
        """The run is over.

        Args:
            summary: the finite numbers of ``summary.json``, by paths such as ``"test/chosen/accuracy/all"``; None where
                the run was stopped or has failed.
        """


def of_task(task: object, recipe: Recipe, folder: Path) -> Sequence[Callback]:
    """The callbacks of a task's file, where it defines ``callbacks(recipe, folder)``.

    Args:
        task: the module.
        recipe: of the run.
        folder: the run folder.
    """
    made = getattr(task, "callbacks", None)
    return () if made is None else made(recipe, folder)


def scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of a nested row with their paths, such as ``("val/accuracy/audio", 0.5)``.

    What is None, text or not finite has no point in a curve.
    """
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            yield prefix + name, float(value)


class Callbacks:
    """Several callbacks as one, whose errors end nothing.

    Args:
        callbacks: called in this order; none on processes that are not the main one.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()):
        self._callbacks, self._updates = list(callbacks), 0
        self._warned: set[int] = set()

    def start(self, folder: Path, rows: Iterable[EpochRow]) -> None:
        """Begin, with the epochs that the run in the folder has already."""
        if not self._callbacks:
            return
        config = read_json(folder, "config.json")
        # One that could not start has nothing to log to.
        self._callbacks = [each for each in self._callbacks if self._call(each, "start", config)]
        for row in rows:
            self.log(row)

    def log(self, row: EpochRow) -> None:
        """An epoch is over."""
        self._updates += row["steps"]
        for callback in self._callbacks:
            self._call(callback, "log", dict(scalars(row)), self._updates)

    def finish(self, summary: Summary | None) -> None:
        """The run is over; a second call does nothing."""
        for callback in self._callbacks:
            self._call(callback, "finish", None if summary is None else dict(scalars(summary)))
        self._callbacks = []

    def _call(self, callback: Callback, hook: str, *given: object) -> bool:
        """Call a method of a callback; whether it raised nothing."""
        try:
            getattr(callback, hook)(*given)
            return True
        except Exception as error:  # whatever somebody else's program raises, the training is worth more
            self._warn(callback, hook, error)
            return False

    def _warn(self, callback: Callback, hook: str, error: Exception) -> None:
        if id(callback) in self._warned:
            return
        self._warned.add(id(callback))
        name = type(callback).__name__
        with warnings.catch_warnings():
            warnings.simplefilter("always")  # also where warnings are errors: this one must end nothing
            warnings.warn(
                f"the callback {name} failed in {hook}() ({type(error).__name__}: {first_line(error)}); the training "
                "goes on, and what it raises from now on is not told",
                stacklevel=4,
            )
