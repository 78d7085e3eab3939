"""A run from start to end: ``fit`` trains, chooses the epoch, measures the test set and leaves a run folder.

It knows no data set and no sampler: it is handed the splits, the network and the sampler's class, and reads every
number from the recipe. The loops themselves are in :mod:`bss.training.loops`. A run that was stopped, by whatever,
goes on from its last checkpoint and ends as if it had never been stopped; under torchrun several processes make one
run.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from bss.data.splits import Splits
from bss.methods import Masking, Method
from bss.recipes.recipe import Recipe
from bss.samplers import OrderSampler
from bss.training import tensorboard
from bss.training.build import check_heads, sampler_of, table_of
from bss.training.checkpoint import finished_summary, identity_of
from bss.training.epochs import Training
from bss.training.run import Run
from bss.training.run_folder import FollowerFolder, RunFolder
from bss.training.screen import closing_lines, say
from bss.utils import distributed
from bss.utils.errors import DataError, RecipeError, RunFolderError
from bss.utils.interrupts import Interrupts


def fit(
    model: nn.Module,
    data: Splits,
    sampler_class: type[OrderSampler],
    recipe: Recipe,
    run: Run,
    *,
    method: Method | None = None,
) -> dict[str, Any]:
    """Train, choose the epoch, measure the test set, and leave everything in the run folder.

    An unfinished run of the same recipe and data in the folder is continued where its last checkpoint was made. On the
    same kind of device it ends with the weights, metrics and scores of a run that was never stopped, bit for bit.
    ``overwrite`` replaces what others left there; the run that it began goes on like any other.

    Args:
        model: maps a batch to :class:`bss.models.Logits`.
        data: the splits; labels are class ids.
        sampler_class: one of :mod:`bss.samplers`, built from ``recipe.schedule``.
        recipe: every number.
        run: folder, device and workers.
        method: what else changes a training step, see :mod:`bss.methods`; None = joint training.

    Returns:
        The content of ``summary.json``: ``{"test": {"chosen": metrics, "last": metrics}, "chosen_epoch": int}``, and
        with ``val_fraction=0`` also ``"oracle"``: the best TEST epoch, which is no honest result. ``"updates"`` are
        the optimiser steps of all epochs, ``"seconds"`` their wall time, ``"train_seconds"`` that of the steps alone.

    Raises:
        DataError: too few samples or classes to train on, or a file that cannot be read.
        RecipeError: scores or a method that the recipe cannot have.
        RunFolderError: the folder holds a finished run, or one of another recipe (the difference is named).
        TrainingError: the loss is not finite any more.
        Interrupted: SIGINT or SIGTERM came; the step was finished and everything is saved.
    """
    _check_size(data, recipe)
    _check_method(method, recipe)
    if sampler_class.uses_scores or (method is not None and method.uses_scores):
        check_heads(recipe)
    if recipe.tensorboard:
        tensorboard.check_installed()
    table = table_of(data, recipe)
    sampler = sampler_of(sampler_class, data, table, recipe)
    identity = identity_of(data, sampler, method or Method(), recipe)
    folder: RunFolder | FollowerFolder = FollowerFolder(run.out)
    if distributed.is_main():
        folder = RunFolder(run.out, overwrite=recipe.overwrite, resume=run.resume)
    if distributed.from_main(folder.finished):
        summary = distributed.from_main(finished_summary(folder, identity, recipe) if distributed.is_main() else None)
        say(f"{folder.path} holds this run, finished: nothing to do")
        return summary

    training = Training(model, data, sampler, table, recipe, run, folder, method or Method(), identity)
    with contextlib.closing(training), Interrupts() as interrupts, _peers_may_have_ended(interrupts):
        training.begin(interrupts, _config(data, sampler_class, method, recipe, run))
        with _closing(folder, data):
            while not training.done:
                training.run_epoch()
            training.keep_online_scores()
        summary = {**training.final_test(), **asdict(training.spent)}
        folder.finish(summary)
    say(closing_lines(summary))
    return summary


def _check_size(data: Splits, recipe: Recipe) -> None:
    if len(data.train) < recipe.batch_size:
        raise DataError(
            f"{len(data.train)} training samples do not fill one batch of {recipe.batch_size}: "
            f"pass --batch-size {max(len(data.train), 1)} or less"
        )
    present = [data.classes[label] for label in data.labels_N.unique().tolist()]
    if len(present) < 2:
        raise DataError(f"the training samples all have the class {present[0]}: two classes or more are needed")
    for name, part in (("test", data.test), ("validation", data.val)):
        if part is not None and len(part) < distributed.world_size():
            few = "no samples" if len(part) == 0 else f"{len(part)} samples for {distributed.world_size()} processes"
            raise DataError(f"the {name} list has {few}")


def _check_method(method: Method | None, recipe: Recipe) -> None:
    if isinstance(method, Masking) and recipe.schedule.rescore == "online":
        raise RecipeError(
            f"schedule.rescore=online scores the training forward, in which {type(method).__name__} hides modalities: "
            "set schedule.rescore to pass, once or a number of epochs"
        )


# ---- small things --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _closing(folder: RunFolder | FollowerFolder, data: Splits) -> Iterator[None]:
    """Pack the scores at the end of the training, also when an error or Ctrl-C ends it (which comes first then)."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(RunFolderError):
            folder.pack_scores(list(data.names), data.labels_N)
        folder.close()
        raise
    folder.pack_scores(list(data.names), data.labels_N)


@contextlib.contextmanager
def _peers_may_have_ended(interrupts: Interrupts) -> Iterator[None]:
    """A signal reaches all processes; one that waits for another sees that one gone before it looks at the signal."""
    try:
        yield
    except RuntimeError:
        if distributed.world_size() > 1:
            interrupts.check()
        raise


def _config(
    data: Splits, sampler_class: type[OrderSampler], method: Method | None, recipe: Recipe, run: Run
) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "sampler": sampler_class.__name__,
        "method": type(method).__name__ if method else None,
        "method_settings": method.settings() if method else {},
        "device": str(run.device) if run.device.type == "cpu" else torch.cuda.get_device_name(run.device),
        "workers": run.workers,
        "data_root": str(run.data_root),
        "samples": {"train": len(data.train), "val": len(data.val or ()), "test": len(data.test)},
        "dropped": data.dropped,
    }
