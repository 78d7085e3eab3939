"""A run from start to end: ``fit`` trains, chooses the epoch, measures the test set and leaves a run folder.

It knows no data set and no sampler: it is handed the splits, the network and the sampler's class, and reads every
number from the recipe. The loops themselves are in :mod:`bss.loops`. A run that was stopped, by whatever, goes on from
its last checkpoint and ends as if it had never been stopped; under torchrun several processes make one run.
"""

import contextlib
import hashlib
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, Subset
from tqdm import tqdm

from bss import distributed
from bss.data import IndexedDataset, SeededViews, Splits
from bss.errors import DataError, RunFolderError, TrainingError
from bss.interrupts import Interrupts, leave_to_the_parent
from bss.loops import ProgressBar, Totals, evaluate, random_state_kept, score_dataset, train_one_epoch
from bss.methods import Method
from bss.metrics import Metrics, rank_correlation
from bss.recipe import Recipe, describe, flatten
from bss.runlog import FollowerFolder, RunFolder, read_checkpoint
from bss.samplers import OrderSampler
from bss.scores import NEVER, ScoreTable
from bss.seeding import generator, mixed_seed

MAY_CHANGE = {"epochs", "overwrite", "checkpoint_minutes"}
"""Recipe fields in which a run may differ from its first part; nothing that was computed so far depends on them."""


@dataclass(frozen=True)
class Run:
    """Where and on what a run happens; nothing in it changes a result on the same kind of device.

    Attributes:
        out: the run folder.
        data_root: the data set's folder.
        device: where the network lives.
        workers: processes that load data; 0 = in this one.
        resume: a finished run in the folder is fine, and left as it is.
    """

    out: Path
    data_root: Path
    device: torch.device
    workers: int = 0
    resume: bool = False


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

    Args:
        model: maps a batch to :class:`bss.models.Logits`.
        data: the splits; labels are class ids.
        sampler_class: one of :mod:`bss.samplers`, built from ``recipe.schedule``.
        recipe: every number.
        run: folder, device and workers.
        method: what else changes a training step, see :mod:`bss.methods`; None = joint training.

    Returns:
        The content of ``summary.json``: ``{"test": {"chosen": metrics, "last": metrics}, "chosen_epoch": int}``, and
        with ``val_fraction=0`` also ``"oracle"``: the best TEST epoch, which is no honest result.

    Raises:
        DataError: too few samples or classes to train on, or a file that cannot be read.
        RunFolderError: the folder holds a finished run, or an unfinished one of another recipe (the difference is
            named).
        TrainingError: the loss is not finite any more.
        Interrupted: SIGINT or SIGTERM came; the step was finished and everything is saved.
    """
    _check_size(data, recipe)
    table = _table(data, recipe)
    sampler = _sampler(sampler_class, data, table, recipe)
    folder: RunFolder | FollowerFolder = FollowerFolder(run.out)
    if distributed.is_main():
        folder = RunFolder(run.out, overwrite=recipe.overwrite, resume=run.resume)
    if distributed.from_main(folder.finished):
        _say(f"{folder.path} holds a finished run: nothing to do")
        return distributed.from_main(folder.summary() if distributed.is_main() else None)

    training = _Training(model, data, sampler, table, recipe, run, folder, method or Method())
    with Interrupts() as interrupts, _peers_may_have_ended(interrupts):
        training.begin(interrupts, _config(data, sampler_class, method, recipe, run))
        with _closing(folder, data):
            while training.epoch < recipe.epochs:
                training.run_epoch()
            training.keep_online_scores()
        summary = training.final_test()
        folder.finish(summary)
    _say(_closing_lines(summary))
    return summary


class _Training:
    """Everything of a run that changes while it runs: one epoch of it, and how it is saved and brought back."""

    def __init__(
        self,
        model: nn.Module,
        data: Splits,
        sampler: OrderSampler,
        table: ScoreTable,
        recipe: Recipe,
        run: Run,
        folder: RunFolder | FollowerFolder,
        method: Method,
    ):
        self.data, self.recipe, self.run, self.folder, self.method = data, recipe, run, folder, method
        self.honest = data.val is not None
        self.watched_name = "val" if self.honest else "test"
        self.online = recipe.schedule.rescore == "online"
        self.model = model.to(run.device)
        self.trained_model = distributed.wrapped(self.model, run.device, sync_batchnorm=recipe.sync_batchnorm)
        self.table, self.sampler = table.to(run.device), sampler
        self.optimizer = _optimizer(self.model, recipe)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, recipe.lr_step, recipe.lr_gamma)
        self.train_loader = _train_loader(data, sampler, recipe, run)
        self.score_loader, self.calibration_loader = _score_loaders(data, recipe, run)
        watched = data.val if self.honest else data.test
        self.watched_loader = _loader(watched, recipe, run)
        self.order_log = _OrderLog()
        self.epoch = 0  # the one under way, or the next
        self.totals: Totals | None = None  # of the epoch under way; None before its first step is due
        self.order_row: dict[str, Any] = {}  # what the log says of its order
        self.resumed_randomness: dict[str, Any] | None = None
        self.seconds_before = 0.0  # of the epoch under way, before the run was stopped
        self.rows: list[dict[str, Any]] = []  # of metrics.jsonl
        self.decisions = distributed.Decisions()
        self.saved_at = time.monotonic()

    # ---- beginning, and going on -----------------------------------------------------------------------------------

    def begin(self, interrupts: Interrupts, config: dict[str, Any]) -> None:
        """Start a new run, or bring back an unfinished one."""
        self.interrupts = interrupts
        recipe, folder = self.recipe, self.folder
        saved = distributed.from_main(folder.checkpoint() if distributed.is_main() else None)
        _say(f"{describe(recipe)}\n{_sizes(self.data)}\n{_plan(self.sampler, recipe)}\nrun folder: {folder.path}")
        self.identity = _identity(self.data, self.sampler, self.method, recipe)
        if saved is None:
            if distributed.is_main():
                folder.clear()
            folder.write_config(config)
            splits = {"validation": self.data.val, "test": self.data.test}
            _check_readable(splits, recipe, self.run, interrupts)
            return
        _refuse_difference(folder.path, saved["identity"], self.identity)
        rows = None
        if distributed.is_main():
            rows = folder.rewind(epochs=saved["finished_epochs"], scored=saved["scored"])
            folder.note_continuation({name: saved[name] for name in ("finished_epochs", "step")})
        self.rows = distributed.from_main(rows)
        self._load(saved)
        where = (
            f"after step {saved['step']} of epoch {self.epoch + 1}" if saved["step"] else f"with epoch {self.epoch + 1}"
        )
        _say(f"continuing {where}" if self.epoch < recipe.epochs else "continuing with the test")

    def _load(self, saved: dict[str, Any]) -> None:
        self.epoch = saved["finished_epochs"]
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scheduler.load_state_dict(saved["scheduler"])
        self.table.load_state_dict(saved["table"])
        self.order_log.load_state_dict(saved["order_log"])
        self.method.load_state_dict(saved["method"])
        if not saved["step"]:
            return
        main = distributed.is_main()
        self.order_row, self.seconds_before = saved["order_row"], saved["seconds"]
        loss = saved["loss_sum"].to(self.run.device)
        self.totals = Totals(loss, saved["samples"], saved["step"])
        if not main:  # the sums of the epoch so far are rank 0's to carry
            self.table.forget_open()
            self.totals = Totals(torch.zeros_like(loss), 0, saved["step"])
        self.sampler.load_state_dict(saved["sampler"], position=saved["step"] * self.recipe.batch_size)
        ranks = saved["randomness"]
        # On another number of processes there is no state to go on from: each gets a stream of its own.
        same_world = len(ranks) == distributed.world_size()
        self.resumed_randomness = ranks[distributed.rank()] if same_world else None

    def _save(self, seconds: float = 0.0) -> None:
        """Write ``last.pt``: between two epochs, or (all processes at the same step) in the middle of one."""
        middle = self.totals is not None
        table = self.table.state_dict()
        state = {
            "identity": self.identity,
            "recipe": asdict(self.recipe),
            "finished_epochs": self.epoch,
            "step": self.totals.steps if middle else 0,
            "scored": self.folder.scored,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "table": table,
            "order_log": self.order_log.state_dict(),
            "method": self.method.state_dict(),
        }
        if middle:
            samples = distributed.total(torch.tensor(float(self.totals.samples), device=self.run.device))
            state |= {
                "order_row": self.order_row,
                "seconds": seconds,
                "samples": round(samples.item()),
                "loss_sum": distributed.total(self.totals.loss),
                "table": {**table, "open": distributed.total(table["open"])},
                "sampler": self.sampler.state_dict(),
                "randomness": distributed.gathered_objects(_random_states(self.run.device)),
            }
        self.folder.save_checkpoint("last.pt", state)
        self.saved_at = time.monotonic()

    # ---- an epoch --------------------------------------------------------------------------------------------------

    def run_epoch(self) -> None:
        """Score if it is due, train, measure, and save; goes on in the middle where the run was stopped there."""
        recipe, epoch = self.recipe, self.epoch
        began = time.perf_counter() - self.seconds_before
        with _epoch_randomness(recipe.seed, epoch, self.run.device, step=self.totals.steps if self.totals else 0):
            if self.totals is None:
                self._order()
                self.totals = Totals(torch.zeros((), device=self.run.device, dtype=torch.float64))
            elif self.resumed_randomness is not None:
                _set_random_states(self.resumed_randomness, self.run.device)
            self.method.begin_epoch(epoch)
            trained = train_one_epoch(
                self.trained_model,
                self.train_loader,
                self.optimizer,
                fused_weight=recipe.fused_weight,
                unimodal_weight=recipe.unimodal_weight,
                table=self.table if self.online else None,
                method=self.method,
                totals=self.totals,
                after_step=lambda totals: self._after_step(totals, began),
                progress=f"epoch {epoch + 1}/{recipe.epochs}",
            )
        self.table.synchronize()
        if not math.isfinite(trained.loss):
            raise TrainingError(
                f"the training loss of epoch {epoch + 1} is {trained.loss}: lower the learning rate "
                f"(--set lr={recipe.lr / 10:g}); the epochs before it are in {self.folder.path}"
            )
        measured = evaluate(self.model, self.interrupts.checked(self.watched_loader), prediction=recipe.prediction)
        row = {
            "epoch": epoch,
            "samples": trained.samples,
            "steps": trained.steps,
            "train_loss": trained.loss,
            "lr": self.scheduler.get_last_lr()[0],
            "seconds": round(time.perf_counter() - began, 3),
            self.watched_name: measured,
            "order": self.order_row,
        }
        self.scheduler.step()
        self._finish_epoch(row)
        _say(_epoch_line(row, recipe, measured, self.watched_name))

    def _order(self) -> None:
        """Scores, where a pass is due, and the epoch's order."""
        schedule, epoch = self.recipe.schedule, self.epoch
        due = self.sampler.uses_scores and schedule.needs_pass(epoch)
        if due:
            for loader in (self.score_loader, self.calibration_loader):
                if loader is not None:
                    loader.batch_sampler.epoch = epoch
            score_dataset(
                self.model,
                _Checked(self.score_loader, self.interrupts),
                self.table,
                mode=schedule.mode,
                calibration_batches=schedule.calibration_batches,
                calibration=self.calibration_loader,
                progress=f"scoring before epoch {epoch + 1}",
            )
            if self.table.is_empty:
                raise TrainingError(
                    f"no training sample has a finite score before epoch {epoch + 1}: the network diverged, "
                    f"lower the learning rate (--set lr={self.recipe.lr / 10:g})"
                )
        self.sampler.set_epoch(epoch)
        self.order_row = self.order_log.describe(self.sampler, self.table, self.folder, rescored=due or self.online)

    def _after_step(self, totals: Totals, began: float) -> None:
        minutes = self.recipe.checkpoint_minutes
        due = minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
        wish = "stop" if self.interrupts.noted is not None else "save" if due else "go"
        action = self.decisions.after_step(wish, totals.steps)
        if action != "go":
            self._save(time.perf_counter() - began)
        if action == "stop":
            self.interrupts.stop()

    def _finish_epoch(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        self.folder.append_metrics(row)
        if self.best is row:
            state = {"epoch": self.epoch, "model": self.model.state_dict(), self.watched_name: row[self.watched_name]}
            self.folder.save_checkpoint("best.pt", {**state, "chosen_on": self.watched_name})
        self.epoch += 1
        self.totals, self.resumed_randomness, self.seconds_before = None, None, 0.0
        self._save()
        self.interrupts.check()

    @property
    def best(self) -> dict[str, Any]:
        """The row of the epoch with the highest accuracy so far; the first of equals."""
        return max(self.rows, key=lambda row: row[self.watched_name]["accuracy"]["all"])

    # ---- the end ---------------------------------------------------------------------------------------------------

    def keep_online_scores(self) -> None:
        """Keep what the last epoch left in the table."""
        if self.online:
            difficulty = self.table.difficulty(normalize=self.recipe.schedule.normalize)
            self.folder.append_scores(self.recipe.epochs, self.table, difficulty)

    def final_test(self) -> dict[str, Any]:
        """Measure the test set, and give the summary; leaves the model with the chosen epoch's weights."""
        best, last = self.best, self.rows[-1]
        if not self.honest:
            return {
                "test": {"chosen": last["test"], "last": last["test"]},
                "chosen_epoch": last["epoch"],
                "oracle": {"epoch": best["epoch"], **best["test"]},
            }
        loader = _loader(self.data.test, self.recipe, self.run, once=True)
        measured = evaluate(self.model, self.interrupts.checked(loader), prediction=self.recipe.prediction)
        chosen = measured
        if best is not last:
            if distributed.is_main():
                self.model.load_state_dict(read_checkpoint(self.folder.path / "best.pt")["model"])
            distributed.copy_from_main(self.model)
            chosen = evaluate(self.model, self.interrupts.checked(loader), prediction=self.recipe.prediction)
        return {"test": {"chosen": chosen, "last": measured}, "chosen_epoch": best["epoch"]}


# ---- what a run is made of -----------------------------------------------------------------------------------------


class _Keys(Sampler):
    """Turns indices into the (epoch, index) keys of :class:`bss.data.SeededViews`, in the order of a sampler."""

    def __init__(self, sampler: OrderSampler):
        self.sampler = sampler

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.sampler.epoch, index) for index in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


class _FixedBatches(Sampler):
    """The same batches in every scoring pass, as lists of (epoch, index) keys; ``epoch`` is set from outside."""

    def __init__(self, batches: list[list[int]]):
        self.batches = batches
        self.epoch = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(self.epoch, index) for index in batch] for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Checked:
    """A loader that ends its pass when the run was asked to end."""

    def __init__(self, loader: DataLoader, interrupts: Interrupts):
        self.loader, self.interrupts = loader, interrupts

    def __iter__(self) -> Iterator[Any]:
        return self.interrupts.checked(self.loader)

    def __len__(self) -> int:
        return len(self.loader)


def _data_loader(dataset: Dataset, recipe: Recipe, run: Run, *, once: bool = False, **options: Any) -> DataLoader:
    """A loader with the run's settings; ``once`` lets its workers end after the first pass."""
    return DataLoader(
        dataset,
        num_workers=run.workers,
        persistent_workers=run.workers > 0 and not once,
        pin_memory=run.device.type == "cuda",
        worker_init_fn=leave_to_the_parent,
        # Without a generator of its own a loader draws its base seed from the global one.
        generator=torch.Generator().manual_seed(mixed_seed("loader", recipe.seed)),
        **options,
    )


def _loader(dataset: Dataset, recipe: Recipe, run: Run, *, once: bool = False) -> DataLoader:
    """This process's share of a data set in its own order: for what is measured."""
    if distributed.world_size() > 1:
        dataset = Subset(dataset, distributed.share(range(len(dataset))))
    batch_size = distributed.share_of_batch(recipe.batch_size)
    return _data_loader(dataset, recipe, run, once=once, batch_size=batch_size)


def _train_loader(data: Splits, sampler: OrderSampler, recipe: Recipe, run: Run) -> DataLoader:
    views = SeededViews(IndexedDataset(data.train), recipe.seed)
    batch_size = distributed.share_of_batch(recipe.batch_size)
    # With tail="draw" the sampler itself leaves out what does not fill a batch.
    last = recipe.tail == "last"
    return _data_loader(views, recipe, run, sampler=_Keys(sampler), batch_size=batch_size, drop_last=last)


def _score_loaders(data: Splits, recipe: Recipe, run: Run) -> tuple[DataLoader, DataLoader | None]:
    """What a scoring pass looks at, and with several processes what all of them calibrate on.

    A pass sees the samples in one fixed order: shuffled where BatchNorm's batches matter, else that of the list, which
    is often sorted by class or actor and would make a batch's statistics those of one class. Processes share whole
    batches, so that a sample's batch-mates do not depend on how many processes there are.
    """
    order = list(range(len(data.score)))
    if recipe.schedule.mode in ("calibrated", "batch"):
        order = torch.randperm(len(order), generator=generator("scoring", recipe.seed)).tolist()
    view = data.train if recipe.schedule.view == "train" else data.score
    # Streams of their own: the scoring pass must not look at the very crops that the epoch trains on.
    views = SeededViews(IndexedDataset(view), recipe.seed, purpose="scoring view")
    batches = [order[at : at + recipe.batch_size] for at in range(0, len(order), recipe.batch_size)]
    once = recipe.schedule.rescore == "once"

    def loader(members: list[list[int]]) -> DataLoader:
        return _data_loader(views, recipe, run, once=once, batch_sampler=_FixedBatches(members))

    if distributed.world_size() == 1:
        return loader(batches), None
    return loader(distributed.share(batches)), loader(batches[: recipe.schedule.calibration_batches])


def _table(data: Splits, recipe: Recipe) -> ScoreTable:
    return ScoreTable(
        len(data.train),
        momentum=recipe.schedule.history,
        fused_weight=recipe.fused_weight,
        unimodal_weight=recipe.unimodal_weight,
        space=recipe.schedule.space,
    )


def _sampler(sampler_class: type[OrderSampler], data: Splits, table: ScoreTable, recipe: Recipe) -> OrderSampler:
    scores = {"table": table} if sampler_class.uses_scores else {}
    return sampler_class(
        len(data.train),
        seed=recipe.seed,
        min_size=recipe.batch_size,
        drop_last=recipe.tail == "draw",
        batch_size=distributed.share_of_batch(recipe.batch_size),
        **scores,
        **recipe.schedule.sampler_options(data.labels_N),
    )


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


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


def _identity(data: Splits, sampler: OrderSampler, method: Method, recipe: Recipe) -> dict[str, Any]:
    """What the two parts of a continued run must have in common, flat."""
    listed = hashlib.sha256("\0".join(data.names).encode() + data.labels_N.numpy().tobytes()).hexdigest()
    fixed = {name: value for name, value in flatten(recipe).items() if name not in MAY_CHANGE}
    parts = {"training samples": len(data.train), "validation samples": len(data.val or ())}
    kinds = {"sampler": type(sampler).__name__, "method": type(method).__name__}
    return {**kinds, **parts, "training list (hash)": listed[:12], **fixed}


def _refuse_difference(path: Path, saved: dict[str, Any], own: dict[str, Any]) -> None:
    names = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
    if names:
        shown = "; ".join(f"{name}: {saved.get(name)} there, {own.get(name)} here" for name in names[:4])
        more = f"; and {len(names) - 4} more" if len(names) > 4 else ""
        raise RunFolderError(
            f"{path} holds an unfinished run that differs from this one ({shown}{more}).\n"
            "Repeat its command to continue it, or pass another --out, or --set overwrite=true"
        )


def _check_readable(splits: dict[str, Dataset | None], recipe: Recipe, run: Run, interrupts: Interrupts) -> None:
    """Read what is measured once before training: a broken file would otherwise show after an epoch, or after the last.

    The training files are read by the first scoring pass or by the first epoch.
    """
    for name, dataset in splits.items():
        if dataset is not None:
            with ProgressBar(_loader(dataset, recipe, run, once=True), f"checking the {name} files") as bar:
                for _ in interrupts.checked(bar):
                    pass


class _OrderLog:
    """Compares each epoch's order and difficulty with the last ones, and keeps the scores behind them."""

    def __init__(self):
        self.position: Tensor | None = None
        self.difficulty: Tensor | None = None
        self.scored_epoch = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors."""
        return {"position": self.position, "difficulty": self.difficulty, "scored_epoch": self.scored_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.position, self.difficulty = state["position"], state["difficulty"]
        self.scored_epoch = state["scored_epoch"]

    def describe(
        self, sampler: OrderSampler, table: ScoreTable, folder: RunFolder | FollowerFolder, *, rescored: bool
    ) -> dict[str, Any]:
        """What ``metrics.jsonl`` says of the order; all correlations are Spearman's, None where undefined.

        ``order_to_last``: positions of the samples that both this and the last epoch see. ``difficulty_to_last``:
        difficulty of all samples, against the last scores. ``order_to_difficulty``: position in this epoch against
        difficulty; positive = balanced samples come earlier. ``age``: mean number of epochs since the scores were made
        (0 = by the newest possible pass or training epoch). ``unscored``: samples without any score.
        """
        order = sampler.global_order()
        position = torch.full((sampler.size,), -1)
        position[order] = torch.arange(len(order))
        row: dict[str, Any] = {"order_to_last": None, "difficulty_to_last": None, "order_to_difficulty": None}
        if self.position is not None:
            both = (position >= 0) & (self.position >= 0)
            row["order_to_last"] = rank_correlation(position[both], self.position[both])
        self.position = position
        if sampler.uses_scores and not table.is_empty:
            difficulty = table.difficulty(normalize=sampler.normalize).cpu()
            row["order_to_difficulty"] = rank_correlation(torch.arange(len(order)), difficulty[order])
            if rescored and self.difficulty is not None:
                row["difficulty_to_last"] = rank_correlation(difficulty, self.difficulty)
            if rescored:
                folder.append_scores(sampler.epoch, table, difficulty)
                self.difficulty, self.scored_epoch = difficulty, sampler.epoch
            has_score = table.age != NEVER
            since = sampler.epoch - self.scored_epoch
            row["age"] = float(table.age[has_score].float().mean()) + since
            row["unscored"] = int((~has_score).sum())
        return row


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


@contextlib.contextmanager
def _epoch_randomness(seed: int, epoch: int, device: torch.device, *, step: int = 0) -> Iterator[None]:
    """What a network draws in an epoch (dropout) is a function of seed, epoch and rank; the global states come back.

    ``step`` is where an epoch goes on in the middle: without its saved states that is a stream of its own.
    """
    cudnn = torch.backends.cudnn
    flags = cudnn.benchmark, cudnn.deterministic
    stream = [seed, epoch, *([distributed.rank(), step] if distributed.rank() or step else [])]
    with random_state_kept(device):
        torch.default_generator.manual_seed(mixed_seed("network", *stream))
        if device.type == "cuda":
            torch.cuda.manual_seed(mixed_seed("network", *stream))
        cudnn.benchmark, cudnn.deterministic = False, True
        try:
            yield
        finally:
            cudnn.benchmark, cudnn.deterministic = flags


def _random_states(device: torch.device) -> dict[str, Any]:
    """The random states of this process in plain values and tensors: torch's, and those a user's network may draw from.

    What a loader's workers draw is a function of (seed, epoch, index), so they have no state.
    """
    kind, words, *rest = np.random.get_state()
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "numpy": [kind, torch.from_numpy(words.astype(np.int64)), *rest],
        "python": [version, torch.tensor(internal), gauss],
    }


def _set_random_states(states: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["torch"])
    if states["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
    kind, words, *rest = states["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *rest))
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))


def _say(text: str) -> None:
    if distributed.is_main():
        tqdm.write(text)


def _sizes(data: Splits) -> str:
    val = f"{len(data.val)} validation, " if data.val is not None else ""
    text = f"{len(data.train)} training, {val}{len(data.test)} test samples, {len(data.classes)} classes"
    dropped = [name for names in data.dropped.values() for name in names]
    if dropped:
        shown = ", ".join(dropped[:3]) + (" ..." if len(dropped) > 3 else "")
        text += f"; clips without files left out: {len(dropped)} ({shown}; all in config.json)"
    return text


def _config(
    data: Splits, sampler_class: type[OrderSampler], method: Method | None, recipe: Recipe, run: Run
) -> dict[str, Any]:
    return {
        "recipe": asdict(recipe),
        "sampler": sampler_class.__name__,
        "method": type(method).__name__ if method else None,
        "device": str(run.device) if run.device.type == "cpu" else torch.cuda.get_device_name(run.device),
        "workers": run.workers,
        "data_root": str(run.data_root),
        "samples": {"train": len(data.train), "val": len(data.val or ()), "test": len(data.test)},
        "dropped": data.dropped,
    }


def _plan(sampler: OrderSampler, recipe: Recipe) -> str:
    """How many samples the epochs will see; shows at once whether a pacing is in effect."""
    sizes = [sampler.size_at(epoch) for epoch in range(recipe.epochs)]
    partial = [epoch for epoch, size in enumerate(sizes) if size < sampler.size]
    if not partial:
        plan = f"all {sampler.size} samples in every epoch"
    else:
        plan = f"{sizes[partial[0]]} of {sampler.size} samples in epoch {partial[0] + 1}"
        if partial[-1] + 1 < recipe.epochs:
            plan += f", all from epoch {partial[-1] + 2} on"
        elif len(partial) > 1:
            plan += f", {sizes[-1]} in epoch {recipe.epochs}"
    share = distributed.share_of_batch(recipe.batch_size)
    steps = sampler.total_steps(recipe.epochs, share, drop_last=recipe.tail == "last")
    return f"{type(sampler).__name__}: {plan}; {steps} steps of {recipe.batch_size} in all"


def _percentages(metrics: Metrics) -> str:
    return "  ".join(f"{head} {100 * value:.1f}" for head, value in metrics["accuracy"].items())


def _epoch_line(row: dict[str, Any], recipe: Recipe, measured: Metrics, name: str) -> str:
    return (
        f"epoch {row['epoch'] + 1}/{recipe.epochs}  {row['samples']} samples  loss {row['train_loss']:.3f}  "
        f"{name} accuracy %: {_percentages(measured)}  ({row['seconds']:.1f} s)"
    )


def _closing_lines(summary: dict[str, Any]) -> str:
    lines = []
    if "oracle" in summary:
        lines.append(
            f"best on test (oracle), epoch {summary['oracle']['epoch'] + 1}: {_percentages(summary['oracle'])}"
        )
    else:
        lines.append(
            f"test accuracy %, epoch {summary['chosen_epoch'] + 1} (chosen on validation): "
            f"{_percentages(summary['test']['chosen'])}"
        )
    lines.append(f"test accuracy %, last epoch: {_percentages(summary['test']['last'])}")
    return "\n".join(lines)
