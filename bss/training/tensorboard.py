"""The rows of ``metrics.jsonl`` as curves in TensorBoard, for those who watch a run there."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bss.utils.errors import RecipeError
from bss.utils.filesystem import delete

EVENTS = "tensorboard/events.out.tfevents.*"
"""The files in a run folder that this module writes."""


def check_installed() -> None:
    """Ask for TensorBoard before anything is trained.

    Raises:
        RecipeError: it is not there.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise RecipeError(
            f"tensorboard=true needs TensorBoard, which cannot be imported ({error}): "
            "pip install 'bss-multimodal[tensorboard]', or --set tensorboard=false"
        ) from error


def scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The finite numbers of a nested row with their paths, such as ``("val/accuracy/audio", 0.5)``.

    What is None, text or not finite has no point in a curve.
    """
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            yield prefix + name, float(value)


class Curves:
    """Writes ``<run folder>/tensorboard``, anew from the rows that there are: a continued run has no double points.

    The axis is optimiser steps so far, as in the report: an epoch of a curriculum has fewer of them than one of uniform
    order, so that equal epochs are no equal training. The epoch, from 0, is a curve of its own.

    Args:
        folder: the run folder.
        rows: the rows of the epochs that are finished.
    """

    def __init__(self, folder: Path, rows: Iterable[Mapping[str, Any]]):
        from torch.utils.tensorboard import SummaryWriter

        for path in folder.glob(EVENTS):
            delete(path)
        self._writer = SummaryWriter(str((folder / EVENTS).parent))
        self._updates = 0
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """One epoch, on the disk when this returns."""
        self._updates += row["steps"]
        for tag, value in scalars(row):
            self._writer.add_scalar(tag, value, self._updates)
        self._writer.flush()

    def close(self) -> None:
        """End the writer's thread."""
        self._writer.close()
