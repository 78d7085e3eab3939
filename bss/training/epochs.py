"""A run in motion: one epoch after another, what is measured after each, and the final test."""

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch

from bss.data.indexed import MapDataset
from bss.data.rows import group_ids
from bss.data.splits import Splits
from bss.scoring.metrics import classification_metrics, hits
from bss.training.build import Parts
from bss.training.callbacks import Callbacks
from bss.training.checkpoint import Progress, Spent, fits_best, restore, snapshot, state_of
from bss.training.checkpoint_file import read_checkpoint
from bss.training.loaders import Checked, Loaders
from bss.training.loops import Predicted, Totals, Trained, train_epoch
from bss.training.order_log import OrderLog
from bss.training.run_folder import EpochRow, Failure, Hits, Imbalance, RunFolder, Summary, Tested, list_hash
from bss.training.screen import epoch_line, say, seconds_left
from bss.utils import distributed
from bss.utils.choices import Precision
from bss.utils.devices import widest_float
from bss.utils.errors import MemoryRanOutError, NotFiniteError, RunFolderError, first_line
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
        callbacks: told of every epoch.

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
        callbacks: Callbacks,
    ):
        self.parts, self.folder, self.interrupts, self.callbacks = parts, folder, interrupts, callbacks
        self.kept = {"identity": identity, "recipe": numbers}
        self.progress = Progress()
        self.order_log = OrderLog(parts.data.labels_N)
        self.decisions = distributed.Decisions()
        self.saved_at = time.monotonic()
        self.saved: tuple[int, int] | None = None  # finished epochs and step of the newest checkpoint on the disk
        self.unwritten: dict[str, Any] | None = None  # the checkpoint that comes after it, and waits in memory
        self.unwritten_best: dict[str, Any] | None = None  # likewise the content of best.pt
        self.failed_from: tuple[int, int] | None = None  # the checkpoint after which numbers overflowed before
        self.unsure: int | None = None  # an epoch, whose weights best.pt has, that may turn out not to be the best
        # A mask may hold -inf from the start; what is trained must always be finite.
        fixed = [*parts.model.named_buffers(), *(w for w in parts.model.named_parameters() if not w[1].requires_grad)]
        self.infinite = {name for name, value in fixed if first_not_finite({name: value})}
        self.began = self.train_began = time.perf_counter()  # the epoch under way, and its steps

    # ---- beginning, and going on -----------------------------------------------------------------------------------

    def begin(self, config: dict[str, Any]) -> None:
        """Start a new run in the folder."""
        self.folder.clear()
        self.folder.write_config(config)
        self.callbacks.start(self.folder.path, [])
        data, loaders = self.parts.data, self.parts.loaders
        _build_cache(data, loaders, self.interrupts)
        _check_readable({"validation": data.val, "test": data.test}, loaders, self.interrupts)

    def go_on(self, saved: dict[str, Any], part: dict[str, Any]) -> None:
        """Bring back an unfinished run from its checkpoint.

        Args:
            saved: the checkpoint.
            part: what ``config.json`` says of the part of the run that begins now, beside from where it goes on.
        """
        written = {"rows": saved.get("rows"), "scores": saved.get("scores")}  # None in checkpoints of older versions
        rows = self.folder.rewind(epochs=saved["finished_epochs"], scored=saved["scored"], **written)
        rows = distributed.from_main(rows)
        for row in rows:
            row.pop("checksum", None)  # as the rows of this part, which get theirs in the file
            self.progress.note(row, self.parts.watched)
        self._check_best(saved)
        restore(saved, self.progress, self.parts, self.order_log)
        self.saved = saved["finished_epochs"], saved["step"]
        self.failed_from = self.saved if part.get("after") and part["after"]["how"] == "not finite" else None
        _build_cache(self.parts.data, self.parts.loaders, self.interrupts)
        self.folder.note_continuation({name: saved[name] for name in ("finished_epochs", "step")}, **part)
        self.callbacks.start(self.folder.path, rows)
        epoch = self.progress.epoch + 1
        where = f"after step {saved['step']} of epoch {epoch}" if saved["step"] else f"with epoch {epoch}"
        say("continuing with the test" if self.done else f"continuing {where}")

    def _check_best(self, saved: dict[str, Any]) -> None:
        """See that ``best.pt`` is of the best epoch so far, or can be again by the time that it is read.

        It is written after the checkpoint that ends its epoch: a run that was killed in between has that epoch's
        weights there. After a checkpoint that was lost it may be of a later epoch, which is trained again now.

        Raises:
            RunFolderError: it is neither, and the weights of the best epoch are lost.
        """
        best = self.progress.best
        if best is None or not distributed.is_main():
            return
        try:
            kept = read_checkpoint(self.folder.path / "best.pt")
            if fits_best(best, kept):
                return
            reason = f"{self.folder.path / 'best.pt'} is not of epoch {best['epoch'] + 1}, the best one so far"
            epoch = kept.get("epoch")
        except RunFolderError as error:
            reason, epoch = str(error), None
        if saved["step"] == 0 and saved["finished_epochs"] == best["epoch"] + 1:
            self.unwritten_best = self._best_state(best, saved["model"])
            self._write_best()
        elif isinstance(epoch, int) and epoch >= saved["finished_epochs"]:
            self.unsure = epoch
        else:
            raise RunFolderError(f"{reason}: its weights are lost, so pass another --out, or delete the folder")

    def close(self) -> None:
        """End what runs beside the training, and leave the network as it is written."""
        for restored in self.parts.restore:
            restored()
        self.callbacks.finish(None)

    # ---- an epoch --------------------------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether all epochs are over, all updates spent, or the run has ended early."""
        return self._at_its_end or self.stopped_early

    @property
    def _at_its_end(self) -> bool:
        """Whether all epochs are over, or all updates spent: a method may make epochs longer than the sampler says."""
        spent = self.parts.updates is not None and self.progress.spent.updates >= self.parts.updates
        return spent or self.progress.epoch >= self.parts.plan.epochs

    @property
    def stopped_early(self) -> bool:
        """Whether it ends before its epochs do, since validation has not become better for long enough.

        It is a function of the rows of the epochs so far, so that a stopped run comes to the same end.
        """
        best, last, patience = self.progress.best, self.progress.last, self.parts.patience
        if patience is None or best is None or last is None or self._at_its_end:
            return False
        return last["epoch"] - best["epoch"] >= patience

    def run_epoch(self) -> None:
        """Score if it is due, train, measure, and save; goes on in the middle where the run was stopped there."""
        parts, progress, epoch = self.parts, self.progress, self.progress.epoch
        self.began = time.perf_counter() - progress.before.seconds
        lr = parts.learning_rate(epoch, progress.spent.updates)
        for group, rate in zip(parts.step.optimizer.param_groups, parts.rates(), strict=True):
            group["lr"] = lr * rate
        trained = self._train()
        train_seconds = self._spent_on_epoch().train_seconds
        if not math.isfinite(trained.loss):
            raise NotFiniteError(self._not_finite(f"the training loss of epoch {epoch + 1} is {trained.loss}"))
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
        if parts.watched == "val":
            parts.plan.method.measured(metrics["accuracy"])
        self._finish_epoch(row)
        spent = progress.spent
        between = spent.seconds - spent.train_seconds
        left = 0.0 if self.done else seconds_left(spent.train_seconds, between, self._seen, progress.epoch)
        say(epoch_line(row, parts.plan.epochs, metrics, parts.watched, parts.measuring.prediction, left))

    @functools.cached_property
    def _seen(self) -> list[int]:
        """By the plan, how many samples have been shown after each epoch."""
        plan = self.parts.plan
        return list(itertools.accumulate(plan.sampler.size_at(epoch) for epoch in range(plan.epochs)))

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
            trained = train_epoch(
                parts.step,
                parts.train_loader,
                totals=progress.totals,
                steps=None if parts.updates is None else parts.updates - progress.spent.updates,
                after_step=self._after_step,
                progress=f"epoch {epoch + 1}/{parts.plan.epochs}",
            )
        # Every process has BatchNorm statistics of its own part of the last batch: what is measured and scored next is
        # the network that is saved, which is rank 0's.
        distributed.copy_buffers_from_main(parts.model)
        return trained

    def _order(self) -> None:
        """Scores, where a pass is due, and the epoch's order."""
        parts, epoch = self.parts, self.progress.epoch
        sampler, table, method = parts.plan.sampler, parts.plan.table, parts.plan.method
        due = parts.needs_pass(epoch)
        if due:
            parts.passes.score(epoch, self.interrupts)
            if table.is_empty:
                cause = f"the network diverged, lower the learning rate ({parts.slower})"
                if self.progress.spent.updates == 0:  # nothing has been learned yet
                    cause = "look for numbers in the samples or in the initial weights that are not finite"
                raise NotFiniteError(f"no training sample has a finite score before epoch {epoch + 1}: {cause}")
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
        action = self.decisions.after_step(wish)
        if action != "go":
            self._save()
        if action == "stop":
            self.interrupts.stop()

    def _save(self) -> None:
        """Write ``last.pt``, of a moment within an epoch, and what waits.

        Raises:
            NotFiniteError: the state is not one to go on from; the checkpoint before it stays.
        """
        self._check_finite()
        self.unwritten = self._state()
        self._write()

    def _state(self) -> dict[str, Any]:
        state = state_of(self.progress, self._spent_on_epoch(), self.parts, self.order_log, self.folder)
        return {**self.kept, **state}

    def _best_state(self, row: EpochRow, model: dict[str, Any]) -> dict[str, Any]:
        watched = self.parts.watched
        state = {"epoch": row["epoch"], "row": row, "model": model}
        return {**state, watched: row[watched], "chosen_on": watched}

    def _save_epoch(self, row: EpochRow) -> None:
        """Save the epoch that is over: on the disk, or in memory, where little would be lost with it.

        What waits there is written once it is as old as ``checkpoint_minutes``, before the final test and whenever the
        run ends. So that the next epoch's end is not too late, it must be due before that by what this one took.

        Raises:
            NotFiniteError: the state is not one to go on from; the checkpoint before it stays.
        """
        self._check_finite()
        minutes, is_best = self.parts.checkpoint_minutes, self.progress.best is row
        waits = minutes is not None and time.monotonic() - self.saved_at + row["seconds"] < 60 * minutes
        state = self._state()
        held = (snapshot(state) if self.folder.writes else state) if waits else None
        self.unwritten = state if held is None else held
        if is_best:
            self.unwritten_best = self._best_state(row, self.unwritten["model"])
        if held is None:
            self._write()

    def _write(self) -> None:
        """Write what waits. Killed between the two files, the run goes on from the ``last.pt`` that is there by then.

        That of the best epoch's own end can make its ``best.pt`` again, and comes first. Where it is a later one's, a
        ``best.pt`` of an epoch that is still to come is fine beside the older ``last.pt``, see :meth:`_check_best`.
        """
        last, best = self.unwritten, self.unwritten_best
        own = last is not None and best is not None and self._at(last) == (best["epoch"] + 1, 0)
        if not own:
            self._write_best()
        if last is not None:
            self.folder.save_checkpoint("last.pt", last)
            self.saved, self.saved_at, self.unwritten = self._at(last), time.monotonic(), None
        self._write_best()

    def _write_best(self) -> None:
        if self.unwritten_best is not None:
            self.folder.save_checkpoint("best.pt", self.unwritten_best)
            self.unwritten_best = None

    @staticmethod
    def _at(state: Mapping[str, Any]) -> tuple[int, int]:
        return state["finished_epochs"], state["step"]

    def _write_at_the_end(self, error: BaseException) -> None:
        """Write what waits when the run does not finish; if that fails, what has ended it is what is to be seen.

        Raises:
            RunFolderError: it was asked to stop, and cannot be written.
        """
        stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
        # What another process says of itself, whose end this one sees as a connection that closed: a checkpoint, which
        # is of before that end, would take it away.
        told = None if stopped else self.folder.failure()
        with contextlib.nullcontext() if stopped else contextlib.suppress(Exception):
            self._write()
        if told is not None:
            self.folder.note_failure(told)

    def _check_finite(self) -> None:
        """Refuse a loss, weights, buffers or an optimiser's state that are not finite; all processes agree.

        Raises:
            NotFiniteError: what the first process has found.
        """
        epoch, totals = self.progress.epoch + 1, self.progress.totals
        found = None
        if totals is not None and not totals.loss.isfinite():
            found = f"the training loss of epoch {epoch} is {totals.loss.item():g}"
        else:
            weights = {k: v for k, v in self.parts.model.state_dict().items() if k not in self.infinite}
            if name := first_not_finite(weights) or first_not_finite(_optimizer_tensors(self.parts.step.optimizer)):
                found = f"{name} is not finite any more"
        told = [each for each in distributed.gathered_objects(found) if each is not None]
        if told:
            raise NotFiniteError(self._not_finite(told[0]))

    def _not_finite(self, what: str) -> str:
        """What has become of the training, in which step, and what it may come from; all processes together."""
        totals = self.progress.totals
        since = ""
        if totals is not None:
            # The first step, of any process, whose losses were not finite; the newest where the weights alone are not.
            first = min(distributed.gathered_objects(int(totals.sound))) + 1
            since = f" from step {first} on" if first < totals.steps else f" after step {totals.steps}"
        return f"{what}{since}: lower the learning rate ({self.parts.slower}), or look for samples that are not finite"

    def _finish_epoch(self, row: EpochRow) -> None:
        progress, watched = self.progress, self.parts.watched
        progress.note(row, watched)
        self.folder.append_metrics(row)
        self.callbacks.log(row)
        progress.next_epoch(row)
        self.parts.watch.reset()
        self._save_epoch(row)
        if progress.best is not row and row["epoch"] == self.unsure:
            assert progress.best is not None  # this row at least
            self._best_weights(progress.best)  # now, and not after the last epoch
        self.interrupts.check()

    # ---- the end ---------------------------------------------------------------------------------------------------

    def keep_online_scores(self) -> None:
        """Keep what the last epoch left in the table."""
        if self.parts.online:
            end = self.progress.epoch if self.stopped_early else self.parts.plan.epochs
            self.folder.append_scores(end, self.parts.plan.table, self.parts.difficulty())

    def final_test(self) -> Summary:
        """Measure the test set and give the summary; leaves the model with the chosen epoch's weights."""
        self._write()
        data, measuring, loaders = self.parts.data, self.parts.measuring, self.parts.loaders
        best, last, spent = self.progress.best, self.progress.last, self.progress.spent
        assert best is not None and last is not None  # a run has one epoch at least
        loader = Checked(loaders.measuring(data.test), self.interrupts)
        if self.parts.watched == "test":
            predicted = measuring.predict(loader)
            tested: Tested = {"chosen": last["test"], "last": last["test"]}
            self._keep_hits(predicted, predicted, tested)
            return {
                "test": tested,
                "chosen_epoch": last["epoch"],
                "chosen_on": "last",
                "oracle": {"epoch": best["epoch"], **best["test"]},
                "imbalance": self._final_imbalance(predicted),
                "updates": spent.updates,
                "seconds": spent.seconds,
                "train_seconds": spent.train_seconds,
            }
        measured = None
        if best is not last:
            measured = measuring.predict(loader)
            # The chosen epoch's weights are on the disk alone; rank 0 reads them for all.
            if distributed.is_main():
                self.parts.model.load_state_dict(self._best_weights(best))
            distributed.copy_from_main(self.parts.model)
        predicted = measuring.predict(loader)
        chosen = classification_metrics(predicted.heads, predicted.target)
        tested = {
            "chosen": chosen,
            "last": classification_metrics(measured.heads, measured.target) if measured else chosen,
        }
        self._keep_hits(predicted, measured or predicted, tested)
        summary: Summary = {
            "test": tested,
            "chosen_epoch": best["epoch"],
            "chosen_on": "val",
            "imbalance": self._final_imbalance(predicted),
            "updates": spent.updates,
            "seconds": spent.seconds,
            "train_seconds": spent.train_seconds,
        }
        return {**summary, "stopped_early": last["epoch"]} if self.stopped_early else summary

    def _keep_hits(self, chosen: Predicted, last: Predicted, tested: Tested) -> None:
        """Write ``hits.npz``, unless the hits are not those that the summary counts.

        Without a validation split the summary has what was measured after the last epoch. A run that was stopped behind
        it and goes on with the test alone, on another device, may find a sample on the other side.
        """
        data = self.parts.data
        known = data.listed.get("test")
        found = Hits.packed(
            hits(chosen.heads, chosen.target),
            hits(last.heads, last.target),
            names=None if known is None else list_hash(known.names, known.labels_N.numpy()),
            labels=chosen.target.cpu().numpy(),
            groups=group_ids(data.test),
            grouped_by=data.group or "group",
        )
        same = {"chosen": tested["chosen"]["accuracy"], "last": tested["last"]["accuracy"]}
        if any(found.accuracy(epoch) != accuracy for epoch, accuracy in same.items()):
            say("no hits.npz: measured again, the test set's hits are others than those that the last epoch counted")
            self.folder.write_hits(None)
        else:
            self.folder.write_hits(found)

    def _best_weights(self, best: EpochRow) -> dict[str, Any]:
        """The weights of the chosen epoch, which must be those that its row speaks of.

        Raises:
            RunFolderError: they are of another epoch, or damaged.
        """
        if self.unwritten_best is not None:
            return self.unwritten_best["model"]
        path = self.folder.path / "best.pt"
        kept = read_checkpoint(path)
        if not fits_best(best, kept):
            raise RunFolderError(
                f"{path} is not of epoch {best['epoch'] + 1}, which validation chose, so the test cannot be measured: "
                "something else has written to the folder, so begin anew with another --out"
            )
        return kept["model"]

    # ---- endings ---------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def endings_noted(self) -> Iterator[None]:
        """Write down how the run ends, if it does not finish, and say what is saved and how to go on.

        Raises:
            NotFiniteError, MemoryRanOutError: with a second line, on what is saved and the ways on.
        """
        try:
            try:
                yield
            except BaseException as error:
                self._write_at_the_end(error)
                raise
        except NotFiniteError as error:
            self._note("not finite", error)
            again = self.saved is not None and self.saved == self.failed_from
            ways = [self.parts.slower, *self._precision("fp32")]
            raise NotFiniteError(f"{error}\n{self._saved(ways, again=again)}") from error
        except (Interrupted, KeyboardInterrupt) as error:
            self._note("stopped", error)
            raise
        except (RuntimeError, MemoryError) as error:
            if not ran_out_of_memory(error):
                raise
            self._note("out of memory", error)
            totals = self.progress.totals
            where = f"after step {totals.steps if totals else 0} of epoch {self.progress.epoch + 1}"
            where = "in the final test" if self.done else where
            ways = [*self._more_parts(), *self._smaller_batch(), *self._precision("bf16")]
            raise MemoryRanOutError(
                f"memory ran out {where} ({first_line(error, 150)})\n{self._saved(ways)}"
            ) from error

    def _note(self, how: Literal["not finite", "out of memory", "stopped"], error: BaseException) -> None:
        totals = self.progress.totals
        failure: Failure = {
            "how": how,
            "epoch": self.progress.epoch,
            "step": totals.steps if totals else 0,
            "reason": first_line(error),
        }
        # The process that ran out of memory is the only one that knows; what else ends a run ends all of them.
        if how == "out of memory" or distributed.is_main():
            self.folder.note_failure(failure)

    def _saved(self, ways: list[str], *, again: bool = False) -> str:
        """What there is to go on from, and with which flags."""
        flags = " or ".join(ways)
        if self.saved is None:
            return f"nothing is saved yet, so the same command begins anew: add {flags}"
        epochs, step = self.saved
        state = f"step {step} of epoch {epochs + 1}" if step else f"epoch {epochs}"
        if again:  # finite, and beyond help: a step before numbers overflow they are huge
            return (
                f"it has failed for the second time from the state after {state}: begin anew, with "
                f"--set overwrite=true and {flags}"
            )
        return f"{self.folder.path} keeps the state after {state}, and the same command goes on from it: add {flags}"

    def _more_parts(self) -> list[str]:
        parts = 2 * self.parts.step.accumulate
        share = distributed.share_of_batch(self.parts.loaders.batch_size)
        free = not self.parts.plan.method.needs_whole_batches and not self.done  # the final test is run as it is
        return [f"--set accumulate={parts}"] if share >= 2 * parts and free else []

    def _smaller_batch(self) -> list[str]:
        half = self.parts.loaders.batch_size // 2
        # A run that counts updates keeps its batch size, once there is something to go on from.
        free = self.parts.updates is None or self.saved is None
        return [f"--batch-size {half}"] if half >= 2 and free else []

    def _precision(self, other: Precision) -> list[str]:
        return [] if self.parts.step.precision == other else [f"--set precision={other}"]

    def _final_imbalance(self, test: Predicted) -> Imbalance:
        train = None
        if test.share.features:
            train = self.parts.measuring.predict(
                Checked(self.parts.loaders.measuring(self.parts.data.score), self.interrupts),
                progress="features of the training samples",
            )
        return self.parts.measuring.at_the_end(test, train)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: PyTorch has a type of its own for a GPU's, and none for the CPU's."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    # torch 2.11: "can't allocate memory" on Linux, "not enough memory" on Windows; CUDA's libraries have codes.
    words = ("DefaultCPUAllocator", "CUDA out of memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def first_not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Name of the first tensor that has a number which is not finite; the device is waited for once."""
    floating = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()}
    if not floating:
        return None
    if torch.nn.utils.get_total_norm(list(floating.values()), math.inf).isfinite():
        return None  # a look at all together takes a quarter of the time of one at each
    device = next(iter(floating.values())).device
    # Of each its largest size, which is NaN or infinite where one of its numbers is: one look at every number.
    largest = (torch.linalg.vector_norm(tensor, math.inf) for tensor in floating.values())
    finite = torch.stack([size.isfinite().to(device) for size in largest]).tolist()
    return next((name for name, whole in zip(floating, finite, strict=True) if not whole), None)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """What an optimiser keeps of each parameter, by names for an error."""
    return {
        f"the optimiser's {name} of parameter {number}": value
        for number, state in enumerate(optimizer.state.values())
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }


def _build_cache(data: Splits, loaders: Loaders, interrupts: Interrupts) -> None:
    """Decode the files once, or find that it was done: rank 0 builds, the others open what it built."""
    if data.cache is None:
        return
    with distributed.main_first():
        if distributed.is_main():
            with interrupts.at_once():
                said = data.cache.build(workers=loaders.workers, check=interrupts.check)
            say(said)
        else:
            data.cache.open()


def _check_readable(splits: dict[str, MapDataset | None], loaders: Loaders, interrupts: Interrupts) -> None:
    """Read what is measured once before training: a broken file would otherwise show after an epoch, or after the last.

    The training files are read by the first scoring pass or by the first epoch.
    """
    for name, dataset in splits.items():
        if dataset is not None:
            with ProgressBar(loaders.measuring(dataset), f"checking the {name} files") as bar:
                for _ in interrupts.checked(bar):
                    pass
