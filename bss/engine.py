"""A run from start to end: ``fit`` trains, chooses the epoch, measures the test set and leaves a run folder.

It knows no data set and no sampler: it is handed the splits, the network and the sampler's class, and reads every
number from the recipe. The loops themselves are in :mod:`bss.loops`. A run that was stopped, by whatever, goes on from
its last checkpoint and ends as if it had never been stopped; under torchrun several processes make one run.
"""

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from bss import bf16, distributed, tensorboard
from bss.compiling import as_written, compile_network
from bss.criteria import check_heads, scores_of
from bss.data import Splits, Variants
from bss.errors import DataError, RecipeError, RunFolderError, TrainingError
from bss.imbalance import (
    TrainingWatch,
    contributions,
    describe_predictions,
    gradient_ratio,
    linear_probes,
    mean_features,
)
from bss.interrupts import Interrupted, Interrupts
from bss.loaders import Checked, measuring_loader, scoring_loaders, training_loader
from bss.loops import (
    Predicted,
    ProgressBar,
    Totals,
    evaluate,
    evaluating,
    predict,
    score_dataset,
    show,
    train_one_epoch,
)
from bss.methods import Arranging, Masking, Method
from bss.metrics import Metrics, classification_metrics, unimodal_heads
from bss.optimizers import learning_rate, optimizer_of
from bss.order_log import OrderLog
from bss.random_states import epoch_randomness, random_states, set_random_states
from bss.recipe import FREE_FIELDS, Recipe, describe, flatten
from bss.run import Run
from bss.runlog import FollowerFolder, RunFolder, read_checkpoint
from bss.samplers import OrderSampler
from bss.scores import OPEN_ROWS, ScoreTable

MAY_CHANGE = FREE_FIELDS | {"epochs", "compile"}
"""Recipe fields in which a run may differ from its first part; nothing that was computed so far depends on them.

``compile`` is one, as a device is: what follows differs by rounding. ``precision`` is another arithmetic,
``channels_last`` a layout that the optimiser's state is saved in, and ``updates`` has cut the last epoch short.
"""


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
    table = _table(data, recipe)
    sampler = _sampler(sampler_class, data, table, recipe)
    identity = _identity(data, sampler, method or Method(), recipe)
    folder: RunFolder | FollowerFolder = FollowerFolder(run.out)
    if distributed.is_main():
        folder = RunFolder(run.out, overwrite=recipe.overwrite, resume=run.resume)
    if distributed.from_main(folder.finished):
        summary = distributed.from_main(_finished(folder, identity, recipe) if distributed.is_main() else None)
        _say(f"{folder.path} holds this run, finished: nothing to do")
        return summary

    training = _Training(model, data, sampler, table, recipe, run, folder, method or Method(), identity)
    with contextlib.closing(training), Interrupts() as interrupts, _peers_may_have_ended(interrupts):
        training.begin(interrupts, _config(data, sampler_class, method, recipe, run))
        with _closing(folder, data):
            while not training.done:
                training.run_epoch()
            training.keep_online_scores()
        summary = {**training.final_test(), **asdict(training.spent)}
        folder.finish(summary)
    _say(_closing_lines(summary))
    return summary


@dataclass(frozen=True)
class _Spent:
    """What epochs have cost: optimiser steps, seconds with scoring and measuring, and seconds of the steps alone."""

    updates: int = 0
    seconds: float = 0.0
    train_seconds: float = 0.0

    def plus(self, row: dict[str, Any]) -> "_Spent":
        """With the epoch of a row of ``metrics.jsonl``."""
        seconds, train_seconds = self.seconds + row["seconds"], self.train_seconds + row["train_seconds"]
        return _Spent(self.updates + row["steps"], round(seconds, 3), round(train_seconds, 3))


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
        identity: dict[str, Any],
    ):
        self.data, self.recipe, self.run, self.folder, self.method = data, recipe, run, folder, method
        self.identity = identity
        self.honest = data.val is not None
        self.watched_name = "val" if self.honest else "test"
        self.online = recipe.schedule.rescore == "online"
        self.scores = scores_of(recipe, model)
        self.model = model.to(run.device)
        if recipe.channels_last:
            _channels_last(model)
        self.restore = [compile_network(model)] if recipe.compile else []
        if recipe.precision == "bf16" and run.device.type == "cpu" and bf16.affected():
            self.restore.append(bf16.guard(model))
        self.trained_model = distributed.wrapped(self.model, run.device, sync_batchnorm=recipe.sync_batchnorm)
        self.table, self.sampler = table.to(run.device), sampler
        method.begin_run(self.table, self.model)
        self.optimizer = optimizer_of(self.model, recipe)
        self.scaler = torch.amp.GradScaler(run.device.type, enabled=recipe.precision == "fp16")
        shown = replace(data, train=Variants(data.train)) if isinstance(method, Arranging) else data
        self.train_loader = training_loader(shown, sampler, recipe, run)
        self.score_loader, self.calibration_loader = scoring_loaders(data, recipe, run)
        watched = data.val if self.honest else data.test
        self.watched_loader = measuring_loader(watched, recipe, run)
        self.order_log = OrderLog(data.labels_N)
        self.watch = TrainingWatch(self.model)
        self.curves: tensorboard.Curves | None = None
        self.epochs = _num_epochs(sampler, recipe)
        self.epoch = 0  # the one under way, or the next
        self.totals: Totals | None = None  # of the epoch under way; None before its first step is due
        self.order_row: dict[str, Any] = {}  # what the log says of its order
        self.resumed_randomness: dict[str, Any] | None = None
        self.spent = _Spent()
        self.before = _Spent()  # of the epoch under way, before the run was stopped
        self.best: dict[str, Any] | None = None  # row of the epoch with the highest accuracy; the first of equals
        self.last: dict[str, Any] | None = None  # row of the newest epoch
        self.decisions = distributed.Decisions()
        self.saved_at = time.monotonic()

    # ---- beginning, and going on -----------------------------------------------------------------------------------

    def begin(self, interrupts: Interrupts, config: dict[str, Any]) -> None:
        """Start a new run, or bring back an unfinished one."""
        self.interrupts = interrupts
        recipe, folder = self.recipe, self.folder
        saved = distributed.from_main(self._saved() if distributed.is_main() else None)
        plan = _plan(self.sampler, recipe, self.epochs, self.method)
        _say(f"{describe(recipe)}\n{_sizes(self.data)}\n{plan}\nrun folder: {folder.path}")
        if saved is None:
            if distributed.is_main():
                folder.clear()
            self._draw_curves([])
            folder.write_config(config)
            _build_cache(self.data, self.run, interrupts)
            splits = {"validation": self.data.val, "test": self.data.test}
            _check_readable(splits, recipe, self.run, interrupts)
            return
        _refuse_difference(folder.path, "an unfinished run", saved["identity"], self.identity)
        _build_cache(self.data, self.run, interrupts)
        rows = None
        if distributed.is_main():
            rows = folder.rewind(epochs=saved["finished_epochs"], scored=saved["scored"])
            folder.note_continuation({name: saved[name] for name in ("finished_epochs", "step")})
        rows = distributed.from_main(rows)
        for row in rows:
            self._note(row)
        self._load(saved)
        self._draw_curves(rows)
        where = (
            f"after step {saved['step']} of epoch {self.epoch + 1}" if saved["step"] else f"with epoch {self.epoch + 1}"
        )
        _say("continuing with the test" if self.done else f"continuing {where}")

    def _saved(self) -> dict[str, Any] | None:
        """The checkpoint to go on from; None where there is none, or one of a run that is to be replaced."""
        if not self.recipe.overwrite:
            return self.folder.checkpoint()
        try:
            saved = self.folder.checkpoint()
        except RunFolderError:
            return None
        return saved if saved is not None and saved["identity"] == self.identity else None

    def _note(self, row: dict[str, Any]) -> None:
        """Keep what is needed of an epoch's row; all rows would grow with the number of epochs."""
        self.last = row
        if self.best is None or self._accuracy(row) > self._accuracy(self.best):
            self.best = row

    def _accuracy(self, row: dict[str, Any]) -> float:
        return row[self.watched_name]["accuracy"]["all"]

    def _draw_curves(self, rows: list[dict[str, Any]]) -> None:
        if self.recipe.tensorboard and distributed.is_main():
            self.curves = tensorboard.Curves(self.folder.path, rows)

    def close(self) -> None:
        """End what runs beside the training, and leave the network as it is written."""
        for restore in self.restore:
            restore()
        if self.curves is not None:
            self.curves.close()

    def _load(self, saved: dict[str, Any]) -> None:
        self.epoch = saved["finished_epochs"]
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        self.spent = _Spent(**saved["spent"])
        self.table.load_state_dict(saved["table"])
        self.order_log.load_state_dict(saved["order_log"])
        self.method.load_state_dict(saved["method"])
        if not saved["step"]:
            return
        main = distributed.is_main()
        self.order_row, self.before = saved["order_row"], _Spent(**saved["spent_on_epoch"])
        self.watch.load_state_dict(saved["watch"], self.run.device)
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

    def _save(self) -> None:
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
            "scaler": self.scaler.state_dict(),
            "spent": asdict(self.spent),
            "table": table,
            "order_log": self.order_log.state_dict(),
            "method": self.method.state_dict(),
        }
        if middle:
            samples = distributed.total(torch.tensor(self.totals.samples, device=self.run.device))
            state |= {
                "order_row": self.order_row,
                "spent_on_epoch": asdict(self._spent_on_epoch()),
                "samples": int(samples),
                "loss_sum": distributed.total(self.totals.loss),
                "watch": self.watch.state_dict(),
                "table": {**table, **{name: distributed.total(table[name]) for name in OPEN_ROWS}},
                "sampler": self.sampler.state_dict(),
                "randomness": distributed.gathered_objects(random_states(self.run.device)),
            }
        self.folder.save_checkpoint("last.pt", state)
        self.saved_at = time.monotonic()

    # ---- an epoch --------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or all updates spent: a method may make epochs longer than the sampler says."""
        spent = self.recipe.updates is not None and self.spent.updates >= self.recipe.updates
        return spent or self.epoch >= self.epochs

    def run_epoch(self) -> None:
        """Score if it is due, train, measure, and save; goes on in the middle where the run was stopped there."""
        recipe, epoch = self.recipe, self.epoch
        self.began = time.perf_counter() - self.before.seconds
        lr = learning_rate(recipe, len(self.data.train), epoch, self.spent.updates)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with epoch_randomness(recipe.seed, epoch, self.run.device, step=self.totals.steps if self.totals else 0):
            if self.totals is None:
                self._order()
                self.totals = Totals(torch.zeros((), device=self.run.device, dtype=torch.float64))
            elif self.resumed_randomness is not None:
                set_random_states(self.resumed_randomness, self.run.device)
            self.method.begin_epoch(epoch)
            self.train_began = time.perf_counter() - self.before.train_seconds
            trained = train_one_epoch(
                self.trained_model,
                self.train_loader,
                self.optimizer,
                fused_weight=recipe.fused_weight,
                unimodal_weight=recipe.unimodal_weight,
                table=self.table if self.online else None,
                method=self.method,
                watch=self.watch,
                precision=recipe.precision,
                scaler=self.scaler,
                totals=self.totals,
                steps=None if recipe.updates is None else recipe.updates - self.spent.updates,
                after_step=self._after_step,
                progress=f"epoch {epoch + 1}/{self.epochs}",
            )
        train_seconds = self._spent_on_epoch().train_seconds
        if not math.isfinite(trained.loss):
            raise TrainingError(
                f"the training loss of epoch {epoch + 1} is {trained.loss}: lower the learning rate "
                f"(--set lr={recipe.lr / 10:g}), or look for samples that are not finite; the epochs before it are in "
                f"{self.folder.path}"
            )
        predicted = self._after_the_steps()
        self.table.synchronize()
        measured = classification_metrics(predicted.heads, predicted.target)
        row = {
            "epoch": epoch,
            "samples": trained.samples,
            "steps": trained.steps,
            "train_loss": trained.loss,
            "lr": lr,
            "train_seconds": train_seconds,
            "seconds": self._spent_on_epoch().seconds,
            self.watched_name: measured,
            "order": self.order_row,
            "imbalance": self._imbalance(predicted),
        }
        self._finish_epoch(row)
        _say(_epoch_line(row, self.epochs, measured, self.watched_name))

    def _after_the_steps(self) -> Predicted:
        """Measure the epoch; a stop in between keeps its steps."""
        try:
            return self._predict(self.watched_loader)
        except Interrupted:
            # Of several processes some may be past their last batch, and saving takes all of them.
            if distributed.world_size() == 1:
                self._save()
            raise

    def _order(self) -> None:
        """Scores, where a pass is due, and the epoch's order."""
        schedule, epoch = self.recipe.schedule, self.epoch
        due = (self.sampler.uses_scores or self.method.uses_scores) and schedule.needs_pass(epoch)
        if due:
            for loader in (self.score_loader, self.calibration_loader):
                if loader is not None:
                    loader.batch_sampler.epoch = epoch
            with self._as_written():
                score_dataset(
                    self.model,
                    Checked(self.score_loader, self.interrupts),
                    self.table,
                    mode=schedule.mode,
                    calibration_batches=schedule.calibration_batches,
                    calibration=self.calibration_loader,
                    scores=self.scores,
                    precision=self.recipe.precision,
                    progress=f"scoring before epoch {epoch + 1}",
                )
            if self.table.is_empty:
                cause = f"the network diverged, lower the learning rate (--set lr={self.recipe.lr / 10:g})"
                if self.spent.updates == 0:  # nothing has been learned yet
                    cause = "look for numbers in the samples or in the initial weights that are not finite"
                raise TrainingError(f"no training sample has a finite score before epoch {epoch + 1}: {cause}")
        arranging = isinstance(self.method, Arranging) and self.method.arranges(epoch)
        if arranging:
            self.score_loader.batch_sampler.epoch = epoch
            show(
                self.model,
                Checked(self.score_loader, self.interrupts),
                self.method,
                precision=self.recipe.precision,
                progress=f"valuing modalities before epoch {epoch + 1}",
            )
        self.sampler.set_epoch(epoch)
        self.order_row = self.order_log.describe(self.sampler, self.table, self.folder, rescored=due or self.online)
        if arranging:
            self.sampler.rearrange(self.method.arrange(epoch, self.sampler.global_order()))

    def _as_written(self) -> contextlib.AbstractContextManager:
        """Scoring and measuring run the network without its graphs."""
        return as_written() if self.recipe.compile else contextlib.nullcontext()

    def _predict(self, loader: DataLoader, *, progress: str | None = None) -> Predicted:
        recipe = self.recipe
        with self._as_written():
            return predict(
                self.model,
                Checked(loader, self.interrupts),
                prediction=recipe.prediction,
                precision=recipe.precision,
                features=recipe.imbalance_every > 0,
                progress=progress,
            )

    def _measured(self, loader: DataLoader) -> Metrics:
        recipe, batches = self.recipe, self.interrupts.checked(loader)
        with self._as_written():
            return evaluate(self.model, batches, prediction=recipe.prediction, precision=recipe.precision)

    def _imbalance(self, predicted: Predicted) -> dict[str, Any]:
        """What ``metrics.jsonl`` says of the modalities after an epoch; docs in :mod:`bss.imbalance`.

        ``shapley`` is None in epochs in which it is not measured; with it ``gradient_norm`` and ``gradient_ratio`` are
        None or empty for networks other than :class:`bss.models.LateFusion`.
        """
        every = self.recipe.imbalance_every
        due = every > 0 and (self.epoch + 1) % every == 0
        norm = self.watch.gradient_norm()
        return {
            **describe_predictions(unimodal_heads(predicted.heads), predicted.target),
            "gradient_norm": norm,
            "gradient_ratio": gradient_ratio(norm),
            "shapley": self._contributions(predicted, self.watch.mean_features()) if due else None,
        }

    def _contributions(
        self, predicted: Predicted, fill: dict[str, Tensor] | None
    ) -> dict[str, dict[str, float]] | None:
        """Shapley values; ``fill`` is the mean feature of the training samples, None where there is none."""
        features, target = predicted.share
        if not features or fill is None:
            return None
        if self.recipe.imbalance_masking == "zero":
            fill = {name: torch.zeros_like(mean) for name, mean in fill.items()}
        with evaluating(self.model):
            return contributions(self.model, features, fill, target, prediction=self.recipe.prediction)

    def _spent_on_epoch(self) -> "_Spent":
        """The cost so far of the epoch under way."""
        now = time.perf_counter()
        steps = self.totals.steps if self.totals else 0
        return _Spent(steps, round(now - self.began, 3), round(now - self.train_began, 3))

    def _after_step(self, totals: Totals) -> None:
        minutes = self.recipe.checkpoint_minutes
        due = minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
        wish = "stop" if self.interrupts.noted is not None else "save" if due else "go"
        action = self.decisions.after_step(wish, totals.steps)
        if action != "go":
            self._save()
        if action == "stop":
            self.interrupts.stop()

    def _finish_epoch(self, row: dict[str, Any]) -> None:
        self._note(row)
        self.spent = self.spent.plus(row)
        self.folder.append_metrics(row)
        if self.curves is not None:
            self.curves.add(row)
        if self.best is row:
            state = {"epoch": self.epoch, "model": self.model.state_dict(), self.watched_name: row[self.watched_name]}
            self.folder.save_checkpoint("best.pt", {**state, "chosen_on": self.watched_name})
        self.epoch += 1
        self.totals, self.resumed_randomness, self.before = None, None, _Spent()
        self.watch.reset()
        self._save()
        self.interrupts.check()

    # ---- the end ---------------------------------------------------------------------------------------------------

    def keep_online_scores(self) -> None:
        """Keep what the last epoch left in the table."""
        if self.online:
            schedule = self.recipe.schedule
            difficulty = self.table.difficulty(normalize=schedule.normalize, criterion=schedule.criterion)
            self.folder.append_scores(self.epochs, self.table, difficulty)

    def final_test(self) -> dict[str, Any]:
        """Measure the test set, and give the summary; leaves the model with the chosen epoch's weights."""
        best, last = self.best, self.last
        loader = measuring_loader(self.data.test, self.recipe, self.run, once=True)
        if not self.honest:
            return {
                "test": {"chosen": last["test"], "last": last["test"]},
                "chosen_epoch": last["epoch"],
                "oracle": {"epoch": best["epoch"], **best["test"]},
                "imbalance": self._final_imbalance(self._predict(loader)),
            }
        measured = None
        if best is not last:
            measured = self._measured(loader)
            if distributed.is_main():
                self.model.load_state_dict(read_checkpoint(self.folder.path / "best.pt")["model"])
            distributed.copy_from_main(self.model)
        predicted = self._predict(loader)
        chosen = classification_metrics(predicted.heads, predicted.target)
        return {
            "test": {"chosen": chosen, "last": measured or chosen},
            "chosen_epoch": best["epoch"],
            "imbalance": self._final_imbalance(predicted),
        }

    def _final_imbalance(self, test: Predicted) -> dict[str, Any]:
        """What ``summary.json`` says of the modalities on the test set, with the weights as they are.

        As in an epoch (:meth:`_imbalance`), with the mean features taken from the training samples as a test sees them,
        and ``probe``: test accuracy of a linear classifier on each frozen encoder; ``probe_unconverged`` names those
        whose fit was cut short.
        """
        row = {**describe_predictions(unimodal_heads(test.heads), test.target), "shapley": None}
        row |= {"probe": None, "probe_unconverged": None}
        if not test.share.features:
            return row
        train = self._predict(
            measuring_loader(self.data.score, self.recipe, self.run, once=True),
            progress="features of the training samples",
        )
        row["shapley"] = self._contributions(test, mean_features(train.share.features))
        features = [
            {name: distributed.gathered(values) for name, values in part.share.features.items()}
            for part in (train, test)
        ]
        probes = linear_probes(features[0], train.target, features[1], test.target) if distributed.is_main() else None
        row["probe"], row["probe_unconverged"] = distributed.from_main(probes)
        return row


# ---- what a run is made of -----------------------------------------------------------------------------------------


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


def _channels_last(model: nn.Module) -> None:
    """Lay the weights of 2-D convolutions out as NHWC, in place; what they are applied to follows them."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            # Not contiguous(): where both layouts are one (a single channel, a 1x1 kernel) it keeps the strides of the
            # other, and the convolution then goes by those: a spectrogram's first layer, the largest of a ResNet.
            parameter.data = parameter.data.to(memory_format=torch.channels_last)


def _num_epochs(sampler: OrderSampler, recipe: Recipe) -> int:
    """How many epochs the run takes: with ``updates`` as many as give so many steps, the last perhaps cut short."""
    if recipe.updates is None:
        return recipe.epochs
    share, last = distributed.share_of_batch(recipe.batch_size), recipe.tail == "last"
    epochs = steps = 0
    while steps < recipe.updates:
        steps += sampler.steps_at(epochs, share, drop_last=last)
        epochs += 1
    return epochs


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


def _identity(data: Splits, sampler: OrderSampler, method: Method, recipe: Recipe) -> dict[str, Any]:
    """What the two parts of a continued run must have in common, flat."""
    listed = hashlib.sha256("\0".join(data.names).encode() + data.labels_N.numpy().tobytes()).hexdigest()
    fixed = {name: value for name, value in flatten(recipe).items() if name not in MAY_CHANGE}
    parts = {"training samples": len(data.train), "validation samples": len(data.val or ())}
    kinds = {"sampler": type(sampler).__name__, "method": type(method).__name__}
    kinds |= {f"method.{name}": value for name, value in method.settings().items()}
    return {**kinds, **parts, "training list (hash)": listed[:12], **fixed}


def _refuse_difference(path: Path, what: str, saved: dict[str, Any], own: dict[str, Any]) -> None:
    names = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
    if names:
        shown = "; ".join(f"{name}: {saved.get(name)} there, {own.get(name)} here" for name in names[:4])
        more = f"; and {len(names) - 4} more" if len(names) > 4 else ""
        raise RunFolderError(
            f"{path} holds {what} that differs from this one ({shown}{more}).\n"
            "Repeat its own command, or pass another --out, or --set overwrite=true"
        )


def _finished(folder: RunFolder, identity: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The summary of the finished run in the folder.

    Raises:
        RunFolderError: it is another run than the one that is asked for, or damaged.
    """
    with contextlib.closing(folder):
        saved = read_checkpoint(folder.path / "last.pt")
        there = {**saved["identity"], "epochs": saved["recipe"]["epochs"]}
        _refuse_difference(folder.path, "a finished run", there, {**identity, "epochs": recipe.epochs})
        return folder.summary()


def _build_cache(data: Splits, run: Run, interrupts: Interrupts) -> None:
    """Decode the files once, or find that it was done: rank 0 builds, the others open what it built."""
    if data.cache is None:
        return
    with distributed.main_first():
        if distributed.is_main():
            _say(data.cache.build(workers=run.workers, check=interrupts.check))
        else:
            data.cache.open()


def _check_readable(splits: dict[str, Dataset | None], recipe: Recipe, run: Run, interrupts: Interrupts) -> None:
    """Read what is measured once before training: a broken file would otherwise show after an epoch, or after the last.

    The training files are read by the first scoring pass or by the first epoch.
    """
    for name, dataset in splits.items():
        if dataset is not None:
            with ProgressBar(measuring_loader(dataset, recipe, run, once=True), f"checking the {name} files") as bar:
                for _ in interrupts.checked(bar):
                    pass


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
        "method_settings": method.settings() if method else {},
        "device": str(run.device) if run.device.type == "cpu" else torch.cuda.get_device_name(run.device),
        "workers": run.workers,
        "data_root": str(run.data_root),
        "samples": {"train": len(data.train), "val": len(data.val or ()), "test": len(data.test)},
        "dropped": data.dropped,
    }


def _plan(sampler: OrderSampler, recipe: Recipe, epochs: int, method: Method) -> str:
    """How many samples the epochs will see; shows at once whether a pacing is in effect."""
    sizes = [sampler.size_at(epoch) for epoch in range(epochs)]
    partial = [epoch for epoch, size in enumerate(sizes) if size < sampler.size]
    if not partial:
        plan = f"all {sampler.size} samples in every epoch"
    else:
        plan = f"{sizes[partial[0]]} of {sampler.size} samples in epoch {partial[0] + 1}"
        if partial[-1] + 1 < epochs:
            plan += f", all from epoch {partial[-1] + 2} on"
        elif len(partial) > 1:
            plan += f", {sizes[-1]} in epoch {epochs}"
    share = distributed.share_of_batch(recipe.batch_size)
    steps = recipe.updates or sampler.total_steps(epochs, share, drop_last=recipe.tail == "last")
    rearranged = isinstance(method, Arranging) and not recipe.updates
    unless = f", but for what {type(method).__name__} adds or leaves out" if rearranged else ""
    return f"{type(sampler).__name__}: {plan}; {steps} steps of {recipe.batch_size} in all{unless}"


def _percentages(metrics: Metrics) -> str:
    return "  ".join(f"{head} {100 * value:.1f}" for head, value in metrics["accuracy"].items())


def _epoch_line(row: dict[str, Any], epochs: int, measured: Metrics, name: str) -> str:
    return (
        f"epoch {row['epoch'] + 1}/{epochs}  {row['samples']} samples  loss {row['train_loss']:.3f}  "
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
