"""The rows of ``metrics.jsonl`` as curves in TensorBoard, for those who watch a run there."""

from collections.abc import Mapping
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


class TensorBoard:
    """A :class:`bss.Callback` that writes ``<run folder>/tensorboard``, anew in every part of a run: no double points.

    The axis is optimiser steps so far, as in the report: an epoch of a curriculum has fewer of them than one of uniform
    order, so that equal epochs are no equal training. The epoch, from 0, is a curve of its own.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def start(self, config: Mapping[str, Any]) -> None:
        """Remove the curves that there are: all epochs are logged again."""
        from torch.utils.tensorboard import SummaryWriter

        for path in self._folder.glob(EVENTS):
            delete(path)
        self._writer = SummaryWriter(str((self._folder / EVENTS).parent))

    def log(self, row: Mapping[str, float], updates: int) -> None:
        """One epoch, on the disk when this returns."""
        for tag, value in row.items():
            self._writer.add_scalar(tag, value, updates)
        self._writer.flush()

    def finish(self, summary: Mapping[str, float] | None) -> None:
        """End the writer's thread."""
        self._writer.close()
