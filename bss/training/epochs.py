"""A run in motion: one epoch after another, what is measured after each, and the final test."""

import contextlib
import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from bss.data.indexed import Variants
from bss.data.splits import Splits
from bss.methods import Arranging, Method
from bss.models import precision as bf16
from bss.models.compiling import as_written, compile_network
from bss.models.modes import evaluating
from bss.models.precision import to_channels_last
from bss.recipes.fields import describe
from bss.recipes.recipe import Recipe
from bss.samplers import OrderSampler
from bss.scoring.imbalance import contributions, describe_predictions, linear_probes, mean_features
from bss.scoring.metrics import Metrics, classification_metrics, unimodal_heads
from bss.scoring.scoring_pass import score_dataset
from bss.scoring.table import OPEN_ROWS, ScoreTable
from bss.training import tensorboard
from bss.training.build import learning_rate, num_epochs, optimizer_of, scores_of
from bss.training.checkpoint import refuse_difference
from bss.training.loaders import Checked, measuring_loader, scoring_loaders, training_loader
from bss.training.loops import Predicted, Totals, evaluate, predict, show, train_one_epoch
from bss.training.order_log import OrderLog
from bss.training.run import Run
from bss.training.run_folder import FollowerFolder, RunFolder, read_checkpoint
from bss.training.screen import epoch_line, plan_line, say, sizes_line
from bss.training.watch import TrainingWatch, gradient_ratio
from bss.utils import distributed
from bss.utils.errors import RunFolderError, TrainingError
from bss.utils.interrupts import Interrupted, Interrupts
from bss.utils.progress import ProgressBar
from bss.utils.random_states import epoch_randomness, random_states, set_random_states


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


class Training:
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
            to_channels_last(model)
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
        self.epochs = num_epochs(sampler, recipe)
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
        plan = plan_line(self.sampler, recipe, self.epochs, self.method)
        say(f"{describe(recipe)}\n{sizes_line(self.data)}\n{plan}\nrun folder: {folder.path}")
        if saved is None:
            if distributed.is_main():
                folder.clear()
            self._draw_curves([])
            folder.write_config(config)
            _build_cache(self.data, self.run, interrupts)
            splits = {"validation": self.data.val, "test": self.data.test}
            _check_readable(splits, recipe, self.run, interrupts)
            return
        refuse_difference(folder.path, "an unfinished run", saved["identity"], self.identity)
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
        say("continuing with the test" if self.done else f"continuing {where}")

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
        say(epoch_line(row, self.epochs, measured, self.watched_name))

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
        """What ``metrics.jsonl`` says of the modalities after an epoch; docs in :mod:`bss.scoring.imbalance`.

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


def _build_cache(data: Splits, run: Run, interrupts: Interrupts) -> None:
    """Decode the files once, or find that it was done: rank 0 builds, the others open what it built."""
    if data.cache is None:
        return
    with distributed.main_first():
        if distributed.is_main():
            say(data.cache.build(workers=run.workers, check=interrupts.check))
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
