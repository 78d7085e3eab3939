"""A run from start to end: ``fit`` trains, chooses the epoch, measures the test set and leaves a run folder.

It knows no data set: it is handed the splits, the network and the recipe, whose schedule names the sampler. What the
recipe's numbers become is :mod:`bss.training.build`'s. A run that was stopped, by whatever, goes on from its last
checkpoint and ends as if it had never been stopped; under torchrun several processes make one run.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from bss.data import rows
from bss.data.corruption import recorded
from bss.data.datasets.listing import MARKER
from bss.data.splits import Splits
from bss.data.tensors import whole_numbers_named
from bss.methods import Method
from bss.models.modes import frozen_parts
from bss.recipes.fields import defaults, describe, flatten, plain
from bss.recipes.recipe import Recipe
from bss.samplers import OrderSampler
from bss.training import tensorboard
from bss.training.build import Plan, as_trained, parts, plan
from bss.training.callbacks import Callback, Callbacks
from bss.training.checkpoint import (
    MENDED,
    allowed_after,
    changes,
    check_entries,
    defaults_of_method,
    difference,
    identity_of,
    lists_of,
    newest,
    refuse_difference,
    refuse_fewer_epochs,
    refuse_other_calibration,
    with_newer_fields,
)
from bss.training.checkpoint_file import read_checkpoint
from bss.training.epochs import Training, ran_out_of_memory
from bss.training.run import Run
from bss.training.run_folder import RunFolder, Summary
from bss.training.screen import closing_lines, failure_line, plan_line, say, sizes_line, way_on
from bss.training.trial import check_texts
from bss.utils import distributed
from bss.utils.devices import device_name
from bss.utils.errors import DataError, MemoryRanOutError, first_line, told_in_python
from bss.utils.extras import need
from bss.utils.interrupts import Interrupts
from bss.utils.processes import enough_workers


@told_in_python()
def fit(
    model: nn.Module,
    data: Splits,
    recipe: Recipe,
    run: Run,
    *,
    sampler: type[OrderSampler] | None = None,
    method: Method | None = None,
    callbacks: Sequence[Callback] = (),
) -> Summary:
    """Train, choose the epoch, measure the test set, and leave everything in the run folder.

    Parts of the network that are frozen (no parameter is trained, and all is in eval mode) stay in eval mode.

    An unfinished run of the same recipe and data in the folder is continued where its last checkpoint was made. On the
    same device, with the same versions and numbers of threads and processes, it ends with the weights, metrics and
    scores of a run that was never stopped, bit for bit; elsewhere it differs by rounding, which scores and orders
    amplify.
    ``overwrite`` replaces what others left there; the run that it began goes on like any other. With ``run.resume`` a
    finished run goes on as well, where the recipe has more epochs than it; it ends as if it had had them all along.
    A run that ended by numbers that are not finite, or for want of memory, goes on from its last good state, and may do
    so with another learning rate, batch size or precision.

    Args:
        model: maps a batch to :class:`bss.models.Logits`.
        data: the splits as the task has them; labels are class ids.
        recipe: every number; ``recipe.schedule`` names the sampler, ``recipe.method`` what else changes a step.
        run: folder, device and workers.
        sampler: a sampler class of your own, in place of the one that the schedule names; it gets that one's options.
        method: a method of your own, in place of the one that the recipe names.
        callbacks: told of the run's start, of every epoch and of its end, on the main process; see :class:`Callback`.

    Returns:
        The content of ``summary.json``: ``{"test": {"chosen": metrics, "last": metrics}, "chosen_epoch": int}``, and
        with ``val_fraction=0`` also ``"oracle"``: the best TEST epoch, which is no honest result. ``"updates"`` are
        the optimiser steps of all epochs, ``"seconds"`` their wall time, ``"train_seconds"`` that of the steps alone.

    Raises:
        DataError: too few samples or classes to train on, or a file that cannot be read.
        RecipeError: scores or a method that the recipe cannot have.
        RunFolderError: the folder holds a finished run, or one of another recipe (the difference is named).
        TrainingError: the loss, the weights or the predictions are not finite any more, or memory ran out.
        Interrupted: SIGINT or SIGTERM came; the step was finished and everything is saved.
    """
    need("training", "train")
    _check_size(data, recipe.batch_size)
    rows.check_classes(data)
    if recipe.tensorboard:
        tensorboard.check_installed()
    if run.workers is None:
        run = replace(run, workers=enough_workers(data.train))
    given, data = data, as_trained(data, recipe)
    planned = plan(data, recipe, sampler=sampler, method=method)
    numbers, known = flatten(recipe), defaults(recipe) | defaults_of_method(planned.method)
    # The folder is opened before the network is touched: a run that is finished, or another one, costs no GPU.
    identity = identity_of(data, planned, numbers)
    main = distributed.is_main()
    folder = RunFolder(run.out, writes=main, overwrite=recipe.overwrite, resume=run.resume, claim=run.claim)
    if distributed.from_main(folder.finished):
        asked = {**identity, "epochs": recipe.epochs}
        there = distributed.from_main(_finished(folder, asked, known, recipe.updates) if main else None)
        if there is not None:
            say(f"{folder.path} holds this run, finished: nothing to do")
            return there

    check_texts(model, given)
    # From here on a signal is a request: whatever is under way is finished, saved, and ends with a status of its own.
    with (
        Interrupts() as interrupts,
        _peers_may_have_ended(interrupts),
        whole_numbers_named(data.train),
        contextlib.closing(folder),
    ):
        with _memory_ran_out():
            built = parts(planned, model, data, recipe, run)
        curves = [tensorboard.TensorBoard(folder.path)] if recipe.tensorboard else []
        told = Callbacks([*curves, *callbacks] if main else [])
        training = Training(built, folder, identity, plain(recipe), interrupts, told)
        with contextlib.closing(training), training.endings_noted():
            say("\n".join((describe(recipe), sizes_line(data), *rows.notes(data))))
            say(f"{plan_line(planned, recipe.batch_size, recipe.updates, recipe.tail)}\nrun folder: {folder.path}")
            if frozen := frozen_parts(model):
                say(f"frozen, so left in eval mode: {', '.join(frozen)}")
            saved = distributed.from_main(newest(folder, identity, overwrite=recipe.overwrite))
            if saved is None:
                config = {**_config(data, planned, run), **_tested(data, numbers), **_hardware(run)}
                training.begin({**config, "recipe": plain(recipe), "identity": identity})
            else:
                # On every process: one that waits for another would wait for ever.
                failure = distributed.from_main(folder.failure())
                check_entries(folder.path, saved)
                tested = distributed.from_main(folder.num_tested())
                older = identity if tested is None else {**identity, "test samples": tested}
                begun = with_newer_fields(saved["identity"], known, older)
                allowed = allowed_after(failure, updates=recipe.updates)
                refuse_difference(folder.path, "an unfinished run", begun, identity, allowed=allowed)
                refuse_other_calibration(folder.path, saved, built)
                refuse_fewer_epochs(folder.path, saved, built)
                changed = changes(saved["recipe"], plain(recipe))
                if failure is not None and failure["how"] in MENDED:
                    say(failure_line(failure, changed))
                part = {"changed": changed, "after": failure, "identity": identity, "hardware": _hardware(run)}
                training.go_on(saved, part)
            with _scores_packed(folder, data):
                while not training.done:
                    training.run_epoch()
                training.keep_online_scores()
            summary = training.final_test()
            folder.finish(summary)
            told.finish(summary)
    say(f"{closing_lines(summary, recipe.predicts_by)}\n{way_on(run.out, run.task)}")
    return summary


def _check_size(data: Splits, batch_size: int) -> None:
    if len(data.train) < batch_size:
        raise DataError(
            f"{len(data.train)} training samples do not fill one batch of {batch_size}: "
            f"pass --batch-size {max(len(data.train), 1)} or less"
        )
    present = [data.classes[label] for label in data.labels_N.unique().tolist()]
    if len(present) < 2:
        raise DataError(f"the training samples all have the class {present[0]}: two classes or more are needed")
    for name, part in (("test", data.test), ("validation", data.val)):
        if part is not None and len(part) < distributed.world_size():
            few = "no samples" if len(part) == 0 else f"{len(part)} samples for {distributed.world_size()} processes"
            raise DataError(f"the {name} list has {few}")


def _finished(
    folder: RunFolder, asked: Mapping[str, Any], known: Mapping[str, Any], updates: int | None
) -> Summary | None:
    """The summary of the finished run in the folder; None if more epochs are asked for, and it is unfinished now.

    Args:
        folder: with a finished run.
        asked: identity and number of epochs of the run that is asked for.
        known: defaults of the recipe's fields and the method's settings.
        updates: of the recipe; a run that counts optimiser steps has no more epochs to go on to.

    Raises:
        RunFolderError: it is another run than the one that is asked for, or damaged.
    """
    with contextlib.ExitStack() as stack:
        stack.callback(folder.close)
        saved = read_checkpoint(folder.path / "last.pt")
        check_entries(folder.path, saved)
        there = {**with_newer_fields(saved["identity"], known, asked), "epochs": saved["recipe"].get("epochs")}
        more = updates is None and difference(there, asked) == ["epochs"] and _is_more(asked["epochs"], there["epochs"])
        if not more:
            refuse_difference(folder.path, "a finished run", there, asked)
            return folder.summary()
        folder.reopen()
        stack.pop_all()
    return None


def _is_more(asked: int, there: object) -> bool:
    return isinstance(there, int) and asked > there


@contextlib.contextmanager
def _scores_packed(folder: RunFolder, data: Splits) -> Iterator[None]:
    """Pack the scores at the end of the training, also when an error or Ctrl-C ends it (which comes first then)."""
    try:
        yield
    except BaseException:
        # Whatever ended the training is what is to be seen, and not that its scores cannot be packed either.
        with contextlib.suppress(Exception):
            folder.pack_scores(data.names, data.labels_N)
        raise
    folder.pack_scores(data.names, data.labels_N)


@contextlib.contextmanager
def _memory_ran_out() -> Iterator[None]:
    """Say in a line that memory ran out before the training began."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise MemoryRanOutError(
            f"memory ran out before the training could begin ({first_line(error, 150)}): the network alone does not "
            "fit, or another process has taken the device's memory"
        ) from error


@contextlib.contextmanager
def _peers_may_have_ended(interrupts: Interrupts) -> Iterator[None]:
    """Raise Interrupted instead of a connection error when a signal ended another process first."""
    try:
        yield
    except RuntimeError:
        if distributed.world_size() > 1:
            interrupts.check()
        raise


def _config(data: Splits, planned: Plan, run: Run) -> dict[str, Any]:
    """What ``config.json`` says of the run itself; the run folder adds where and by which program it was made."""
    method = planned.method
    return {
        "task": run.task,
        "task_hash": run.task_hash,
        "title": run.title,
        "arm": run.arm,
        "seed": planned.sampler.seed,
        "sampler": type(planned.sampler).__name__,
        "method": None if type(method) is Method else type(method).__name__,
        "method_settings": method.settings(),
        "classes": list(data.classes),
        "modalities": _modalities(data),
        "data_root": str(run.data_root.resolve()),
        "generated": (run.data_root / MARKER).is_file(),
        "samples": {"train": len(data.train), "val": len(data.val or ()), "test": len(data.test)},
        "lists": lists_of(data),
        "dropped": data.dropped,
        **({"blank": data.blank} if data.blank else {}),
        "corrupted": {name: recorded(corruption) for name, corruption in data.corrupted.items()},
    }


def _tested(data: Splits, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Which fold is tested, and which whole groups; neither field where there is nothing to say."""
    found = {"fold": numbers.get("fold"), "tested_groups": dict(data.tested_groups) or None}
    return {name: value for name, value in found.items() if value is not None}


def _hardware(run: Run) -> dict[str, Any]:
    """What a part of a run runs on: on another device, or in another number of threads or processes, sums differ."""
    return {
        "device": device_name(run.device),
        "workers": run.workers,
        "threads": torch.get_num_threads(),
        "processes": distributed.world_size(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _modalities(data: Splits) -> dict[str, dict[str, Any]]:
    """Kind and shape of what a sample holds of each modality, by the first one."""
    sample = data.test[0]
    return {
        name: {"kind": type(value).__name__.lower(), "shape": list(getattr(value, "shape", ()))}
        for name, value in sample.items()
        if name != "label"
    }
