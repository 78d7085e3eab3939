"""A run in motion: one epoch after another, what is measured after each, and the final test."""

import math
import time
from typing import Any

import torch

from bss.data.indexed import MapDataset
from bss.data.splits import Splits
from bss.scoring.metrics import classification_metrics
from bss.training import tensorboard
from bss.training.build import Parts
from bss.training.checkpoint import Progress, Spent, restore, state_of
from bss.training.loaders import Checked, Loaders
from bss.training.loops import Predicted, Totals, Trained, train_epoch
from bss.training.order_log import OrderLog
from bss.training.run_folder import EpochRow, Imbalance, RunFolder, Summary, read_checkpoint
from bss.training.screen import epoch_line, say
from bss.utils import distributed
from bss.utils.devices import widest_float
from bss.utils.errors import TrainingError
from bss.utils.interrupts import Interrupted, Interrupts
from bss.utils.progress import ProgressBar
from bss.utils.random_states import epoch_randomness, set_random_states


class Training:
    """Trains epoch by epoch, and saves.

    Args:
        parts: what the run is made of.
        folder: where it is kept.
        identity: what tells it from other runs, kept with every checkpoint.
        numbers: the recipe in plain values, kept with every checkpoint.
        interrupts: requests to end.

    Attributes:
        progress: how far it has come.
    """

    def __init__(
        self,
        parts: Parts,
        folder: RunFolder,
        identity: dict[str, Any],
        numbers: dict[str, Any],
        interrupts: Interrupts,
    ):
        self.parts, self.folder, self.interrupts = parts, folder, interrupts
        self.kept = {"identity": identity, "recipe": numbers}
        self.progress = Progress()
        self.order_log = OrderLog(parts.data.labels_N)
        self.curves: tensorboard.Curves | None = None
        self.decisions = distributed.Decisions()
        self.saved_at = time.monotonic()
        self.began = self.train_began = time.perf_counter()  # the epoch under way, and its steps

    # ---- beginning, and going on -----------------------------------------------------------------------------------

    def begin(self, config: dict[str, Any]) -> None:
        """Start a new run in the folder."""
        self.folder.clear()
        self._draw_curves([])
        self.folder.write_config(config)
        data, loaders = self.parts.data, self.parts.loaders
        _build_cache(data, loaders, self.interrupts)
        _check_readable({"validation": data.val, "test": data.test}, loaders, self.interrupts)

    def go_on(self, saved: dict[str, Any]) -> None:
        """Bring back an unfinished run from its checkpoint."""
        _build_cache(self.parts.data, self.parts.loaders, self.interrupts)
        rows = self.folder.rewind(epochs=saved["finished_epochs"], scored=saved["scored"])
        self.folder.note_continuation({name: saved[name] for name in ("finished_epochs", "step")})
        rows = distributed.from_main(rows)
        for row in rows:
            self.progress.note(row, self.parts.watched)
        restore(saved, self.progress, self.parts, self.order_log)
        self._draw_curves(rows)
        epoch = self.progress.epoch + 1
        where = f"after step {saved['step']} of epoch {epoch}" if saved["step"] else f"with epoch {epoch}"
        say("continuing with the test" if self.done else f"continuing {where}")

    def _draw_curves(self, rows: list[EpochRow]) -> None:
        if self.parts.curves and distributed.is_main():
            self.curves = tensorboard.Curves(self.folder.path, rows)

    def close(self) -> None:
        """End what runs beside the training, and leave the network as it is written."""
        for restored in self.parts.restore:
            restored()
        if self.curves is not None:
            self.curves.close()

    # ---- an epoch --------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or all updates spent: a method may make epochs longer than the sampler says."""
        spent = self.parts.updates is not None and self.progress.spent.updates >= self.parts.updates
        return spent or self.progress.epoch >= self.parts.plan.epochs

    def run_epoch(self) -> None:
        """Score if it is due, train, measure, and save; goes on in the middle where the run was stopped there."""
        parts, progress, epoch = self.parts, self.progress, self.progress.epoch
        self.began = time.perf_counter() - progress.before.seconds
        lr = parts.learning_rate(epoch, progress.spent.updates)
        for group in parts.step.optimizer.param_groups:
            group["lr"] = lr
        trained = self._train()
        train_seconds = self._spent_on_epoch().train_seconds
        if not math.isfinite(trained.loss):
            raise TrainingError(
                f"the training loss of epoch {epoch + 1} is {trained.loss}: lower the learning rate "
                f"(--set lr={parts.lr / 10:g}), or look for samples that are not finite; the epochs before it are in "
                f"{self.folder.path}"
            )
        predicted = self._measure()
        parts.plan.table.synchronize()  # closes the epoch of online scores; nothing where a pass has closed it
        metrics = classification_metrics(predicted.heads, predicted.target)
        row: EpochRow = {
            "epoch": epoch,
            "samples": trained.samples,
            "steps": trained.steps,
            "train_loss": trained.loss,
            "lr": lr,
            "train_seconds": train_seconds,
            "seconds": self._spent_on_epoch().seconds,
            # mypy takes no variable for a key in the making of a row, whatever its type; the order is the file's.
            parts.watched: metrics,  # type: ignore[misc]
            "order": progress.order,
            "imbalance": parts.measuring.after_epoch(epoch, predicted, parts.watch),
        }
        self._finish_epoch(row)
        say(epoch_line(row, parts.plan.epochs, metrics, parts.watched, parts.measuring.prediction))

    def _train(self) -> Trained:
        """The order and the steps of the epoch under way."""
        parts, progress, epoch = self.parts, self.progress, self.progress.epoch
        done = progress.totals.steps if progress.totals else 0
        with epoch_randomness(parts.seed, epoch, parts.device, step=done):
            if progress.totals is None:
                self._order()
                progress.totals = Totals(torch.zeros((), device=parts.device, dtype=widest_float(parts.device)))
            elif progress.randomness is not None:
                # Dropout goes on with the very numbers that come next; the order is in the sampler's state.
                set_random_states(progress.randomness, parts.device)
            parts.plan.method.begin_epoch(epoch)
            self.train_began = time.perf_counter() - progress.before.train_seconds
            return train_epoch(
                parts.step,
                parts.train_loader,
                totals=progress.totals,
                steps=None if parts.updates is None else parts.updates - progress.spent.updates,
                after_step=self._after_step,
                progress=f"epoch {epoch + 1}/{parts.plan.epochs}",
            )

    def _order(self) -> None:
        """Scores, where a pass is due, and the epoch's order."""
        parts, epoch = self.parts, self.progress.epoch
        sampler, table, method = parts.plan.sampler, parts.plan.table, parts.plan.method
        due = parts.needs_pass(epoch)
        if due:
            parts.passes.score(epoch, self.interrupts)
            if table.is_empty:
                cause = f"the network diverged, lower the learning rate (--set lr={parts.lr / 10:g})"
                if self.progress.spent.updates == 0:  # nothing has been learned yet
                    cause = "look for numbers in the samples or in the initial weights that are not finite"
                raise TrainingError(f"no training sample has a finite score before epoch {epoch + 1}: {cause}")
        if method.prepare(epoch):
            parts.passes.show(method, epoch, self.interrupts)
        sampler.set_epoch(epoch)
        rescored = due or parts.online
        self.progress.order = self.order_log.describe(sampler, table, self.folder, rescored=rescored)
        order = sampler.global_order()
        shown = method.arrange(epoch, order)
        if shown is not order:
            sampler.rearrange(shown)

    def _measure(self) -> Predicted:
        """Measure the epoch; a stop in between keeps its steps."""
        try:
            return self.parts.measuring.predict(Checked(self.parts.watched_loader, self.interrupts))
        except Interrupted:
            # Of several processes some may be past their last batch, and saving takes all of them.
            if distributed.world_size() == 1:
                self._save()
            raise

    def _spent_on_epoch(self) -> Spent:
        """The cost so far of the epoch under way."""
        now, totals = time.perf_counter(), self.progress.totals
        steps = totals.steps if totals else 0
        return Spent(steps, round(now - self.began, 3), round(now - self.train_began, 3))

    def _after_step(self, totals: Totals) -> None:
        minutes = self.parts.checkpoint_minutes
        due = minutes is not None and time.monotonic() - self.saved_at >= 60 * minutes
        wish: distributed.Action = "stop" if self.interrupts.noted is not None else "save" if due else "go"
        action = self.decisions.after_step(wish, totals.steps)
        if action != "go":
            self._save()
        if action == "stop":
            self.interrupts.stop()

    def _save(self) -> None:
        """Write ``last.pt``."""
        state = state_of(self.progress, self._spent_on_epoch(), self.parts, self.order_log, self.folder.scored)
        self.folder.save_checkpoint("last.pt", {**self.kept, **state})
        self.saved_at = time.monotonic()

    def _finish_epoch(self, row: EpochRow) -> None:
        progress, watched = self.progress, self.parts.watched
        progress.note(row, watched)
        self.folder.append_metrics(row)
        if self.curves is not None:
            self.curves.add(row)
        if progress.best is row:
            state = {"epoch": row["epoch"], "row": row, "model": self.parts.model.state_dict()}
            self.folder.save_checkpoint("best.pt", {**state, watched: row[watched], "chosen_on": watched})
        progress.next_epoch(row)
        self.parts.watch.reset()
        self._save()
        self.interrupts.check()

    # ---- the end ---------------------------------------------------------------------------------------------------

    def keep_online_scores(self) -> None:
        """Keep what the last epoch left in the table."""
        if self.parts.online:
            self.folder.append_scores(self.parts.plan.epochs, self.parts.plan.table, self.parts.difficulty())

    def final_test(self) -> Summary:
        """Measure the test set, and give the summary; leaves the model with the chosen epoch's weights."""
        data, measuring, loaders = self.parts.data, self.parts.measuring, self.parts.loaders
        best, last, spent = self.progress.best, self.progress.last, self.progress.spent
        assert best is not None and last is not None  # a run has one epoch at least
        loader = Checked(loaders.measuring(data.test, once=True), self.interrupts)
        if self.parts.watched == "test":
            return {
                "test": {"chosen": last["test"], "last": last["test"]},
                "chosen_epoch": last["epoch"],
                "chosen_on": "last",
                "oracle": {"epoch": best["epoch"], **best["test"]},
                "imbalance": self._final_imbalance(measuring.predict(loader)),
                "updates": spent.updates,
                "seconds": spent.seconds,
                "train_seconds": spent.train_seconds,
            }
        measured = None
        if best is not last:
            measured = measuring.predict(loader)
            # The chosen epoch's weights are on the disk alone; rank 0 reads them for all.
            if distributed.is_main():
                self.parts.model.load_state_dict(read_checkpoint(self.folder.path / "best.pt")["model"])
            distributed.copy_from_main(self.parts.model)
        predicted = measuring.predict(loader)
        chosen = classification_metrics(predicted.heads, predicted.target)
        return {
            "test": {
                "chosen": chosen,
                "last": classification_metrics(measured.heads, measured.target) if measured else chosen,
            },
            "chosen_epoch": best["epoch"],
            "chosen_on": "val",
            "imbalance": self._final_imbalance(predicted),
            "updates": spent.updates,
            "seconds": spent.seconds,
            "train_seconds": spent.train_seconds,
        }

    def _final_imbalance(self, test: Predicted) -> Imbalance:
        train = None
        if test.share.features:
            train = self.parts.measuring.predict(
                Checked(self.parts.loaders.measuring(self.parts.data.score, once=True), self.interrupts),
                progress="features of the training samples",
            )
        return self.parts.measuring.at_the_end(test, train)


def _build_cache(data: Splits, loaders: Loaders, interrupts: Interrupts) -> None:
    """Decode the files once, or find that it was done: rank 0 builds, the others open what it built."""
    if data.cache is None:
        return
    with distributed.main_first():
        if distributed.is_main():
            say(data.cache.build(workers=loaders.run.workers, check=interrupts.check))
        else:
            data.cache.open()


def _check_readable(splits: dict[str, MapDataset | None], loaders: Loaders, interrupts: Interrupts) -> None:
    """Read what is measured once before training: a broken file would otherwise show after an epoch, or after the last.

    The training files are read by the first scoring pass or by the first epoch.
    """
    for name, dataset in splits.items():
        if dataset is not None:
            with ProgressBar(loaders.measuring(dataset, once=True), f"checking the {name} files") as bar:
                for _ in interrupts.checked(bar):
                    pass
