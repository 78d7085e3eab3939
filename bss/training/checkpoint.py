"""Saving a run and bringing it back: what goes into ``last.pt``, and what two parts of one run must have in common."""

import copy
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from bss.data.splits import Splits
from bss.methods import Method
from bss.methods.constants import default_settings
from bss.recipes.constants import PREFIX
from bss.recipes.recipe import MAY_CHANGE, RECORDED
from bss.samplers import OrderSampler
from bss.scoring.table import OPEN_ROWS
from bss.training.build import Parts, Plan
from bss.training.loops import Totals
from bss.training.order_log import OrderLog
from bss.training.run_folder import EpochRow, RunFolder, Watched, checksum, list_hash
from bss.utils import distributed
from bss.utils.errors import RunFolderError, shown
from bss.utils.random_states import RandomStates, random_states

NAMED = {"schedule.sampler", "method"}
"""Recipe fields for which a run's identity has the names of the classes."""


AFTER_A_FAILURE = {"lr", "encoder_lr", "batch_size", "precision", "accumulate"}
"""Recipe fields that may differ as well once a run has ended by numbers that are not finite or for want of memory."""


OF_THE_DATA = (
    *("training samples", "validation samples", "training list (hash)"),
    *("test samples", "validation list (hash)", "test list (hash)"),
)
"""What a run's identity says of its data: where names or labels of a list are not known, it says nothing of its hash.
The first three are as old as the identity."""


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
        repeated: samples that the epoch under way has seen twice, since it went on with batches of another size.
        randomness: random states to go on with in the middle of an epoch.
        best: row of the epoch with the highest accuracy; the first of equals.
        last: row of the newest epoch.
    """

    epoch: int = 0
    totals: Totals | None = None
    order: dict[str, Any] = field(default_factory=dict)
    spent: Spent = Spent()
    before: Spent = Spent()
    repeated: int = 0
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
        self.totals, self.randomness, self.before, self.repeated = None, None, Spent(), 0


# ---- one run, or another -------------------------------------------------------------------------------------------


def identity_of(data: Splits, planned: Plan, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What two parts of one run must have in common, flat: the one identity that a run has.

    Args:
        data: the splits.
        planned: sampler and method.
        numbers: the recipe, flat, see :func:`bss.recipes.fields.flatten`.
    """
    lists = lists_of(data)
    counts = [lists.get(part, {}).get("count", 0) for part in ("train", "val", "test")]
    hashes = [lists.get(part, {}).get("hash", "")[:12] for part in ("train", "val", "test")]
    samples = (counts[0], counts[1], hashes[0], counts[2], hashes[1], hashes[2])
    blank = {"neutral in place of (hash)": _hash_of(data.blank)} if data.blank else {}
    return {
        **{name: value for name, value in zip(OF_THE_DATA, samples, strict=True) if value != ""},
        **blank,
        **identity_without_data(type(planned.sampler), planned.method, numbers),
    }


def _hash_of(blank: Mapping[str, Sequence[str]]) -> str:
    """A hash of the names by part: the lists are the same, whether a picture of theirs can be opened or not."""
    text = json.dumps({part: list(names) for part, names in blank.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def lists_of(data: Splits) -> dict[str, dict[str, Any]]:
    """How many samples each list has, and the hash of their names, order and labels where these are known.

    Of the test list, where its labels are known, also ``commonest_class_accuracy``: what it takes to name the training
    samples' commonest class for every test sample. A run whose numbers are not finite any more counts as that.
    """
    known = {"train": (data.names, data.labels_N), **data.listed}
    parts = {"train": data.train, "val": data.val, "test": data.test}
    lists: dict[str, dict[str, Any]] = {name: {"count": len(part)} for name, part in parts.items() if part is not None}
    for name in lists.keys() & known.keys():
        names, labels_N = known[name]
        lists[name]["hash"] = list_hash(names, labels_N.numpy())
    if "test" in known and len(known["test"][1]):
        commonest = data.labels_N.bincount().argmax()  # of several the one with the lowest id
        lists["test"]["commonest_class_accuracy"] = float((known["test"][1] == commonest).double().mean())
    return lists


def identity_without_data(sampler: type[OrderSampler], method: Method, numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The part of :func:`identity_of` that needs no data.

    The names of the classes stand for those that the recipe gives: one's own sampler or method has no other.
    """
    fixed = {name: value for name, value in numbers.items() if name not in MAY_CHANGE | NAMED}
    settings: dict[str, object] = {}
    for name, value in method.settings().items():
        each = {f".{key}": inner for key, inner in value.items()} if isinstance(value, Mapping) else {"": value}
        settings |= {f"{PREFIX}{name}{key}": inner for key, inner in each.items()}  # as the recipe names them
    if numbers.get("lr_schedule") == "cosine" and numbers.get("updates") is None:
        fixed["epochs (of lr_schedule=cosine)"] = numbers["epochs"]  # the rates so far depend on how many are to come
    return {"sampler": sampler.__name__, "method": type(method).__name__, **settings, **fixed}


def defaults_of_method(method: Method) -> dict[str, object]:
    """The entries that an identity has of a method, as far as its class has a default for them."""
    told, known = method.settings(), default_settings(type(method))
    return {f"{PREFIX}{name}": value for name, value in known.items() if name in told}


def with_newer_fields(
    saved: Mapping[str, Any], defaults: Mapping[str, Any], own: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """An identity with what stands for the entries that are younger than it is.

    Args:
        saved: the identity.
        defaults: those of the recipe's fields, and :func:`defaults_of_method`.
        own: what stands for the lists that an older identity says nothing of.
    """
    newer = {name: value for name, value in defaults.items() if name not in MAY_CHANGE | NAMED}
    newer |= {name: own[name] for name in OF_THE_DATA[3:] if own is not None and name in own}
    return {**newer, **saved}


def allowed_after(failure: Mapping[str, Any] | None, *, updates: int | None) -> set[str]:
    """Names in which an identity may differ from that of the checkpoint which the run goes on from.

    Args:
        failure: how the run has ended, see :class:`bss.training.run_folder.Failure`.
        updates: of the recipe. A run that counts optimiser steps keeps its batch size: with another one the steps so
            far would be other shares of its epochs.
    """
    if failure is None or failure.get("how") not in MENDED:
        return set()
    return AFTER_A_FAILURE - {"batch_size"} if updates is not None else AFTER_A_FAILURE | {"method.batch_size"}


MENDED = ("not finite", "out of memory")
"""The endings after which a run may go on with other numbers."""


def changes(saved: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What a run goes on with in place of what it had: recipe field -> [before, now].

    Args:
        saved: the recipe of the checkpoint, in plain values.
        own: one's own.
    """
    names = sorted(RECORDED | AFTER_A_FAILURE)
    return {name: [saved[name], own[name]] for name in names if name in saved and saved[name] != own[name]}


def refuse_fewer_epochs(path: Path, saved: Mapping[str, Any], parts: Parts) -> None:
    """Refuse to end a run before the epoch that it has come to.

    Raises:
        RunFolderError: its summary would speak of epochs that its recipe does not have.
    """
    begun = saved["finished_epochs"] + bool(saved["step"])
    if parts.updates is None and begun > parts.plan.epochs:
        raise RunFolderError(
            f"{path} holds an unfinished run that is in epoch {begun} already: pass --epochs {begun} or more, "
            "or another --out"
        )


def difference(saved: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Names in which two identities differ."""
    return [name for name in {**saved, **own} if saved.get(name) != own.get(name)]


def refuse_difference(
    path: Path, what: str, saved: Mapping[str, Any], own: Mapping[str, Any], *, allowed: Collection[str] = ()
) -> None:
    """Refuse to go on from a run whose identity is not one's own.

    Args:
        path: its folder.
        what: it is, in words.
        saved: its identity.
        own: one's own.
        allowed: names in which the two may differ.

    Raises:
        RunFolderError: naming the first four differences.
    """
    names = [name for name in difference(saved, own) if name not in allowed]
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
    progress: Progress, spent_on_epoch: Spent, parts: Parts, order_log: OrderLog, folder: RunFolder
) -> dict[str, Any]:
    """Everything that goes on changing, between two epochs or (all processes at the same step) in the middle of one.

    Args:
        progress: how far the run has come.
        spent_on_epoch: on the one under way.
        parts: whose states are taken.
        order_log: its state is taken.
        folder: what is written there by now belongs to the state.
    """
    totals, table = progress.totals, parts.plan.table.state_dict()
    state = {
        "calibration": CALIBRATION,
        "finished_epochs": progress.epoch,
        "step": totals.steps if totals else 0,
        "scored": folder.scored,
        "rows": list(folder.rows),
        "scores": list(folder.scores),
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
        "repeated": progress.repeated,
        "loss_sum": distributed.total(totals.loss),
        "watch": parts.watch.state_dict(),
        "table": dict(table) | {name: distributed.total(table[name]) for name in OPEN_ROWS},
        "sampler": parts.plan.sampler.state_dict(),
        "randomness": distributed.gathered_objects(random_states(parts.device)),
    }


HELD = 64 * 2**20
"""Bytes of a state that may wait in memory to be written; a larger one is written at once, and its epochs take long."""


def snapshot(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """A copy of a state between two epochs, which does not go on changing; None if it takes more than :data:`HELD`."""
    if sum(tensor.nbytes for tensor in _tensors(state)) > HELD:
        return None
    copied = _copied(state)
    assert isinstance(copied, dict)
    return copied


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _copied(value: Any) -> Any:
    if value is None or isinstance(value, (int, float, str)):  # most of a row of metrics.jsonl
        return value
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        # With its attributes: the state of a network says the versions of its layers in one.
        shell = copy.copy(value)
        shell.update((name, _copied(part)) for name, part in value.items())
        return shell
    return [_copied(part) for part in value] if isinstance(value, list) else copy.deepcopy(value)


_ALWAYS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("finished_epochs", "step", "scored"), int),
    **dict.fromkeys(("identity", "recipe", "model", "optimizer", "scaler", "spent"), dict),
    **dict.fromkeys(("table", "order_log", "method"), dict),
}


_INSIDE_AN_EPOCH: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("order_row", "spent_on_epoch", "watch", "sampler"), dict),
    **{"samples": int, "loss_sum": torch.Tensor, "randomness": list},
}


def check_entries(path: Path, saved: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that lacks what a run goes on from.

    Args:
        path: the run folder.
        saved: what :meth:`bss.training.run_folder.RunFolder.checkpoint` has read.

    Raises:
        RunFolderError: naming the first entry that is missing, or of another type.
    """
    expected = _ALWAYS | (_INSIDE_AN_EPOCH if saved.get("step") else {})
    for name, kind in expected.items():
        if name not in saved:
            found = f"has no {name}"
        elif not isinstance(saved[name], kind) or isinstance(saved[name], bool):
            found = f"has {shown(saved[name])} for its {name}"
        elif kind is int and saved[name] < 0:
            found = f"has {saved[name]} for its {name}"
        else:
            continue
        raise RunFolderError(f"the checkpoint in {path} {found}, so nothing can go on from it: pass another --out")


def _put_back(name: str, load: Callable[[], object]) -> None:
    """Load a part of a checkpoint, and name the part if it does not fit.

    Raises:
        RunFolderError: with what PyTorch, or the part itself, has to say.
    """
    try:
        load()
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunFolderError(
            f"the checkpoint's {name} does not fit this run ({type(error).__name__}: {reason}):\n"
            "was the network changed since? Pass another --out, or go on with what the run began with"
        ) from error


def restore(saved: Mapping[str, Any], progress: Progress, parts: Parts, order_log: OrderLog) -> None:
    """Put a state of :func:`state_of` back, on any number of processes.

    Raises:
        RunFolderError: a part of it does not fit.
    """
    progress.epoch = saved["finished_epochs"]
    _put_back("spent", lambda: setattr(progress, "spent", Spent(**saved["spent"])))
    _put_back("model", lambda: parts.model.load_state_dict(saved["model"]))
    _put_back("optimizer", lambda: parts.step.optimizer.load_state_dict(saved["optimizer"]))
    if saved["scaler"]:  # only fp16 has one, and a run may have changed its precision
        _put_back("scaler", lambda: parts.step.scaler.load_state_dict(saved["scaler"]))
    _put_back("table", lambda: parts.plan.table.load_state_dict(saved["table"]))
    _put_back("order_log", lambda: order_log.load_state_dict(saved["order_log"]))
    _put_back("method", lambda: parts.plan.method.load_state_dict(saved["method"]))
    if saved["step"]:
        _put_back("epoch under way", lambda: _restore_epoch(saved, progress, parts))


def _restore_epoch(saved: Mapping[str, Any], progress: Progress, parts: Parts) -> None:
    """Put back how far the epoch under way has come."""
    progress.order, progress.before = saved["order_row"], Spent(**saved["spent_on_epoch"])
    parts.watch.load_state_dict(saved["watch"], parts.device)
    loss = saved["loss_sum"].to(parts.device)
    progress.totals = Totals(loss, saved["samples"], saved["step"])
    if not distributed.is_main():  # the sums of the epoch so far are rank 0's to carry
        parts.plan.table.forget_open()
        progress.totals = Totals(torch.zeros_like(loss), 0, saved["step"])
    # Batches of another size begin at a multiple of it, so that the last one of the epoch is whole: a few samples come
    # twice. Older checkpoints count no repeated ones.
    position = saved["samples"] - saved.get("repeated", 0)
    again = position % parts.loaders.batch_size
    progress.repeated = saved.get("repeated", 0) + again
    parts.plan.sampler.load_state_dict(saved["sampler"], position=position - again)
    ranks = saved["randomness"]
    # On another number of processes there is no state to go on from: each gets a stream of its own.
    same_world = len(ranks) == distributed.world_size()
    progress.randomness = ranks[distributed.rank()] if same_world else None


def fits_best(best: EpochRow, kept: Mapping[str, Any]) -> bool:
    """Whether the content of ``best.pt`` is the end of the epoch with this row."""
    row = kept.get("row", best)  # format 1 has the epoch alone
    return kept.get("epoch") == best["epoch"] and isinstance(row, dict) and checksum(row) == checksum(best)


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
        begun = None if saved is None else saved.get("identity")
        if saved is not None and (not isinstance(begun, dict) or difference(begun, identity)):
            return None
    return saved
