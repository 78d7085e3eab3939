"""Saving a run and bringing it back: what goes into ``last.pt``, and what two parts of one run must have in common."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bss.data.splits import Splits
from bss.methods import Method
from bss.recipes.recipe import FREE_FIELDS
from bss.samplers import OrderSampler
from bss.scoring.table import OPEN_ROWS
from bss.training.build import Parts, Plan
from bss.training.loops import Totals
from bss.training.order_log import OrderLog
from bss.training.run_folder import EpochRow, RunFolder, Watched
from bss.utils import distributed
from bss.utils.errors import RunFolderError
from bss.utils.random_states import RandomStates, random_states

MAY_CHANGE = FREE_FIELDS | {"epochs", "compile"}
"""Recipe fields in which a run may differ from its first part; nothing that was computed so far depends on them.

``compile`` is one, as a device is: what follows differs by rounding. ``precision`` is another arithmetic,
``channels_last`` a layout that the optimiser's state is saved in, and ``updates`` has cut the last epoch short.
"""


NAMED = {"schedule.sampler", "method"}
"""Recipe fields for which a run's identity has the names of the classes."""


OF_THE_DATA = ("training samples", "validation samples", "training list (hash)")
"""What a run's identity says of its data."""


CALIBRATION = "pooled"
"""How a pass of mode ``"calibrated"`` takes BatchNorm's statistics, see :mod:`bss.scoring.scoring_pass`.

Checkpoints without the entry are older: there the variance was the mean of the batches' variances.
"""


@dataclass(frozen=True)
class Spent:
    """What epochs have cost: optimiser steps, seconds with scoring and measuring, and seconds of the steps alone."""

    updates: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0

    def plus(self, row: EpochRow) -> "Spent":
        """The total after one more epoch, given its row of ``metrics.jsonl``."""
        seconds, train_seconds = self.seconds + row["seconds"], self.train_seconds + row["train_seconds"]
        return Spent(self.updates + row["steps"], round(seconds, 3), round(train_seconds, 3))


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epoch: the one under way, or the next; 0-based.
        totals: what this process has seen of the epoch under way; None before its first step is due.
        order: what the log says of its order.
        spent: cost of the epochs before it.
        before: cost of the epoch under way, before the run was stopped.
        randomness: random states to go on with in the middle of an epoch.
        best: row of the epoch with the highest accuracy; the first of equals.
        last: row of the newest epoch.
    """

    epoch: int = 0
    totals: Totals | None = None
    order: dict[str, Any] = field(default_factory=dict)
    spent: Spent = Spent()
    before: Spent = Spent()
    randomness: RandomStates | None = None
    best: EpochRow | None = None
    last: EpochRow | None = None

    def note(self, row: EpochRow, watched: Watched) -> None:
        """Keep what is needed of an epoch's row; all rows would grow with the number of epochs."""
        self.last = row
        if self.best is None or row[watched]["accuracy"]["all"] > self.best[watched]["accuracy"]["all"]:
            self.best = row

    def next_epoch(self, row: EpochRow) -> None:
        """The epoch of this row is over."""
        self.spent = self.spent.plus(row)
        self.epoch += 1
        self.totals, self.randomness, self.before = None, None, Spent()


# ---- one run, or another -------------------------------------------------------------------------------------------


def identity_of(data: Splits, planned: Plan, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What two parts of one run must have in common, flat: the one identity that a run has.

    Args:
        data: the splits.
        planned: sampler and method.
        numbers: the recipe, flat, see :func:`bss.recipes.fields.flatten`.
    """
    listed = hashlib.sha256("\0".join(data.names).encode() + data.labels_N.numpy().tobytes()).hexdigest()
    samples = (len(data.train), len(data.val or ()), listed[:12])
    return {
        **dict(zip(OF_THE_DATA, samples, strict=True)),
        **identity_without_data(type(planned.sampler), planned.method, numbers),
    }


def identity_without_data(sampler: type[OrderSampler], method: Method, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The part of :func:`identity_of` that needs no data.

    The names of the classes stand for those that the recipe gives: one's own sampler or method has no other.
    """
    fixed = {name: value for name, value in numbers.items() if name not in MAY_CHANGE | NAMED}
    settings = {f"method.{name}": value for name, value in method.settings().items()}
    return {"sampler": sampler.__name__, "method": type(method).__name__, **settings, **fixed}


def with_newer_fields(saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """An identity with the defaults of the recipe's fields that are younger than it is."""
    return {**{name: value for name, value in defaults.items() if name not in MAY_CHANGE | NAMED}, **saved}


def difference(saved: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Names in which two identities differ."""
    return [name for name in {**saved, **own} if saved.get(name) != own.get(name)]


def refuse_difference(path: Path, what: str, saved: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Refuse to go on from a run whose identity is not one's own.

    Raises:
        RunFolderError: naming the first four differences.
    """
    names = difference(saved, own)
    if names:
        listed = "; ".join(f"{name}: {saved.get(name)} there, {own.get(name)} here" for name in names[:4])
        more = f"; and {len(names) - 4} more" if len(names) > 4 else ""
        raise RunFolderError(
            f"{path} holds {what} that differs from this one ({listed}{more}).\n"
            "Repeat its own command, or pass another --out, or --set overwrite=true"
        )


def refuse_other_calibration(path: Path, saved: Mapping[str, Any], parts: Parts) -> None:
    """Refuse to go on from a run whose scoring passes took other statistics, where it has passes and BatchNorm.

    Raises:
        RunFolderError: half of the run would have other scores.
    """
    passes = parts.passes.mode == "calibrated" and any(map(parts.needs_pass, range(parts.plan.epochs)))
    if saved.get("calibration") == CALIBRATION or not passes:
        return
    if any(isinstance(module, _BatchNorm) for module in parts.model.modules()):
        raise RunFolderError(
            f"{path} holds an unfinished run of an older version, whose scoring passes (schedule.mode=calibrated) took "
            "another variance for BatchNorm, so its scores and this version's are not of one kind.\n"
            "Begin anew: pass another --out, or remove the folder; or end it with the version that began it"
        )


# ---- into last.pt, and out of it -----------------------------------------------------------------------------------


def state_of(
    progress: Progress, spent_on_epoch: Spent, parts: Parts, order_log: OrderLog, scored: int
) -> dict[str, Any]:
    """Everything that goes on changing, between two epochs or (all processes at the same step) in the middle of one.

    Args:
        progress: how far the run has come.
        spent_on_epoch: on the one under way.
        parts: whose states are taken.
        order_log: its state is taken.
        scored: epochs whose scores are in the folder.
    """
    totals, table = progress.totals, parts.plan.table.state_dict()
    state = {
        "calibration": CALIBRATION,
        "finished_epochs": progress.epoch,
        "step": totals.steps if totals else 0,
        "scored": scored,
        "row": progress.last,
        "model": parts.model.state_dict(),
        "optimizer": parts.step.optimizer.state_dict(),
        "scaler": parts.step.scaler.state_dict(),
        "spent": asdict(progress.spent),
        "table": table,
        "order_log": order_log.state_dict(),
        "method": parts.plan.method.state_dict(),
    }
    if totals is None:
        return state
    # In the middle of an epoch every process holds a part of the sums; random states are each process's own.
    return state | {
        "order_row": progress.order,
        "spent_on_epoch": asdict(spent_on_epoch),
        "samples": int(distributed.total(torch.tensor(totals.samples, device=parts.device))),
        "loss_sum": distributed.total(totals.loss),
        "watch": parts.watch.state_dict(),
        "table": dict(table) | {name: distributed.total(table[name]) for name in OPEN_ROWS},
        "sampler": parts.plan.sampler.state_dict(),
        "randomness": distributed.gathered_objects(random_states(parts.device)),
    }


def restore(saved: Mapping[str, Any], progress: Progress, parts: Parts, order_log: OrderLog) -> None:
    """Put a state of :func:`state_of` back, on any number of processes."""
    progress.epoch, progress.spent = saved["finished_epochs"], Spent(**saved["spent"])
    parts.model.load_state_dict(saved["model"])
    parts.step.optimizer.load_state_dict(saved["optimizer"])
    parts.step.scaler.load_state_dict(saved["scaler"])
    parts.plan.table.load_state_dict(saved["table"])
    order_log.load_state_dict(saved["order_log"])
    parts.plan.method.load_state_dict(saved["method"])
    if not saved["step"]:
        return
    progress.order, progress.before = saved["order_row"], Spent(**saved["spent_on_epoch"])
    parts.watch.load_state_dict(saved["watch"], parts.device)
    loss = saved["loss_sum"].to(parts.device)
    progress.totals = Totals(loss, saved["samples"], saved["step"])
    if not distributed.is_main():  # the sums of the epoch so far are rank 0's to carry
        parts.plan.table.forget_open()
        progress.totals = Totals(torch.zeros_like(loss), 0, saved["step"])
    parts.plan.sampler.load_state_dict(saved["sampler"], position=saved["step"] * parts.loaders.batch_size)
    ranks = saved["randomness"]
    # On another number of processes there is no state to go on from: each gets a stream of its own.
    same_world = len(ranks) == distributed.world_size()
    progress.randomness = ranks[distributed.rank()] if same_world else None


def newest(folder: RunFolder, identity: Mapping[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from; None where there is none, or one of a run that is to be replaced.

    Raises:
        RunFolderError: there are checkpoints, and none is whole.
    """
    if not overwrite:
        saved = folder.checkpoint()
    else:
        try:
            saved = folder.checkpoint()
        except RunFolderError:
            return None
        if saved is not None and difference(saved["identity"], identity):
            return None
    return saved
