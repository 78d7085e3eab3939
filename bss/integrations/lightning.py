"""Lightning: a callback that feeds the table, closes its epochs, and sees to it that the order arrives as it is.

callback = BalanceCallback(sampler, heads={"audio": "audio_head", "image": "image_head"}, fused="head")
trainer = Trainer(callbacks=[callback], reload_dataloaders_every_n_epochs=1)
trainer.fit(module, DataLoader(bss.IndexedDataset(dataset), batch_size=32, sampler=sampler))
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from bss.data.indexed import index_and_sample
from bss.integrations.state import check_arguments, check_filled, forget_other_runs, load_run_state, reads, run_state
from bss.samplers import OrderSampler
from bss.scoring.hooks import AttachedScores, Fused, Select, attach
from bss.utils.errors import MissingExtraError

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
except ImportError as error:
    raise MissingExtraError(
        f"bss.integrations.lightning needs Lightning ({error}): pip install 'bss-multimodal[frameworks]'"
    ) from error


HORIZON = 1000
"""Epochs that are looked at for changing sizes where the trainer has no ``max_epochs``."""


class BalanceCallback(Callback):
    """Scores the training, closes the table after every epoch, and refuses settings that would change the order.

    Lightning wraps every sampler that is not a ``DistributedSampler`` and reshuffles it; ours are such samplers and
    arrive as they are, on any number of devices. It fixes an epoch's number of batches when it loads the data, so a
    curriculum needs ``Trainer(reload_dataloaders_every_n_epochs=1)``. All of this is checked at every epoch.

    A checkpoint, at the end of an epoch or in the middle, holds the table and the frozen order; ``fit(ckpt_path=...)``
    goes on exactly there with a plain ``DataLoader`` as well (Lightning's warning that it is not resumable does not
    know that the sampler is). One that was saved between an epoch's last batch and its end is refused.

    ``fast_dev_run`` and ``limit_train_batches`` train the first batches of each epoch's order. The learning-rate and
    batch-size finders train without the callback, in one epoch's order, and everything is put back as it was.
    ``overfit_batches`` replaces the sampler, and is refused. Of several loaders (a dict, a list, a ``CombinedLoader``)
    one has the sampler, and all are as long as that one.

    A second ``fit`` with the same callback, sampler or table (of a fold, of a trial) is another run: it begins with an
    empty table, unless a scoring pass has filled that anew.

    Args:
        sampler: the very object that the training loader has, also where ``train_dataloader()`` builds the loader.
            Scores are needed before the first epoch by a curriculum: call :func:`bss.score_dataset` before ``fit``,
            or give it ``warmup_epochs=1``.
        heads: modality -> dotted module name in the LightningModule, see :func:`bss.attach`. None: ``training_step``
            calls ``sampler.table.update(...)`` itself, or the scores stay as they are.
        fused: see :func:`bss.attach`; needed with ``heads``.
        select: see :func:`bss.attach`.
        target: where the class ids are in what the data set returns: a dict's key, or a tuple's position.

    Raises:
        ValueError: ``heads`` without ``fused`` or without a table; later, settings and batches that cannot be trained
            in the sampler's order.
    """

    def __init__(
        self,
        sampler: OrderSampler,
        *,
        heads: dict[str, str] | None = None,
        fused: Fused | None = None,
        select: Select | None = None,
        target: str | int = "label",
    ):
        check_arguments(sampler, heads, fused)
        self.sampler = sampler
        self.heads = heads
        self.fused = fused
        self.select = select
        self.target = target
        self._scores: AttachedScores | None = None
        self._trained = 0  # samples of this epoch, on this rank
        self._place: tuple[Any, ...] = ()  # of the sampler's batch in what training_step gets

    # ---- before the training ---------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach the hooks, forget another run, and refuse a trainer that would change the order or cut it short."""
        if trainer.overfit_batches > 0:
            raise ValueError(
                f"Trainer(overfit_batches={trainer.overfit_batches}) replaces the sampler, so that the samples come in "
                f"the data set's order: use limit_train_batches={trainer.overfit_batches}, and to overfit a few "
                "samples a data set, a table and a sampler of them: bss.IndexedDataset(Subset(dataset, range(n)))"
            )
        if self.sampler.num_replicas != trainer.world_size:
            raise ValueError(
                f"the sampler shares its order among {self.sampler.num_replicas} ranks, but Lightning trains on "
                f"{trainer.world_size}: leave num_replicas= and rank= out"
            )
        epochs = HORIZON if trainer.max_epochs in (None, -1) else trainer.max_epochs
        sizes = {self.sampler.size_at(epoch) for epoch in range(epochs)}
        if len(sizes) > 1 and trainer.reload_dataloaders_every_n_epochs != 1:
            raise ValueError(
                f"epochs grow from {min(sizes)} to {max(sizes)} samples, and Lightning would stop each one where the "
                "first one ended: pass Trainer(reload_dataloaders_every_n_epochs=1)"
            )
        if trainer.ckpt_path is None and trainer.current_epoch == 0 and forget_other_runs(self.sampler.table):
            self.sampler.set_epoch(0)
        if self.heads is not None:
            self._scores = attach(pl_module, self.sampler.table, heads=self.heads, fused=self.fused, select=self.select)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse the one kind of checkpoint from which Lightning itself goes on at the wrong batch."""
        if self.sampler.epoch < trainer.current_epoch:
            raise ValueError(
                f"this checkpoint was saved after the last batch of epoch {self.sampler.epoch}, but before its end, "
                f"and from there Lightning would skip batches of epoch {trainer.current_epoch}: resume from one of "
                "another step, or of an epoch's end (ModelCheckpoint(save_on_train_epoch_end=True))"
            )

    # ---- an epoch --------------------------------------------------------------------------------------------------

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that the loader has our order, and all of it."""
        loaders = dict(_loaders(trainer.train_dataloader))
        places = [place for place, loader in loaders.items() if reads(loader, self.sampler)]
        if len(places) != 1:
            found = [type(getattr(loader, "sampler", loader)).__name__ for loader in loaders.values()]
            raise ValueError(
                f"{len(places) or 'none'} of the training loaders, with {', '.join(found)}, use the callback's "
                "sampler: give one DataLoader(sampler=...) the same object, every time train_dataloader() is called"
            )
        self._place = places[0]
        length, planned = len(loaders[self._place]), trainer.num_training_batches
        if self.sampler.epoch != trainer.current_epoch or planned != _limited(length, trainer.limit_train_batches):
            if self.sampler.epoch == trainer.current_epoch and len(loaders) > 1:
                advice = (
                    'a CombinedLoader begins shorter loaders again ("max_size_cycle") or stops at the shortest one '
                    '("min_size"): make the others as long, RandomSampler(data, replacement=True, num_samples=...)'
                )
            else:
                advice = "pass Trainer(reload_dataloaders_every_n_epochs=1)"
            raise ValueError(
                f"epoch {trainer.current_epoch} has {length} batches of epoch {self.sampler.epoch}, and Lightning "
                f"would train {planned} of them: {advice}"
            )
        self.sampler.forget_length()
        self._trained = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Open the batch."""
        index, sample = self._indexed(batch)
        if self._scores is not None:
            self._scores.begin(index, sample[self.target])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Score the batch."""
        if self._scores is not None:
            self._scores.end()
        self._trained += len(self._indexed(batch)[0])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the table's epoch and freeze the next order: Lightning asks for its length before it sets an epoch."""
        self._close(trainer.current_epoch + 1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the hooks."""
        self._detach()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the hooks."""
        self._detach()

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """The frozen order, the position in it and the table, the other ranks' open epoch included."""
        return run_state(self.sampler, position=self._trained * self.sampler.num_replicas)

    def load_state_dict(self, state: dict) -> None:
        """Continue from :meth:`state_dict`."""
        load_run_state(self.sampler, state)
        self._trained = state["sampler"]["position"] // self.sampler.num_replicas

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _indexed(self, batch: Any) -> tuple[Any, Any]:
        """Index and sample of the part of a step's batch that comes from the sampler's loader."""
        for key in self._place:
            batch = batch[key]
        return index_and_sample(batch)

    def _close(self, next_epoch: int) -> None:
        if self.sampler.table is not None:
            self.sampler.table.synchronize()
            check_filled(self.sampler.table)
        self.sampler.set_epoch(next_epoch)
        self._trained = 0

    def _detach(self) -> None:
        if self._scores is not None:
            self._scores.detach()
            self._scores = None


def _loaders(found: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every loader in what ``Trainer.train_dataloader`` is, with the keys that lead to its part of a step's batch."""
    several = (
        found.items() if isinstance(found, Mapping) else enumerate(found) if isinstance(found, list | tuple) else ()
    )
    for key, part in several:
        yield from _loaders(part, (*place, key))
    if isinstance(found, DataLoader) or not isinstance(found, Mapping | list | tuple):
        yield place, found


def _limited(length: int, limit: int | float) -> int:
    """How many batches of a loader are trained: a whole number is that many, 1 among them, another one a share."""
    return min(length, limit) if isinstance(limit, int) else int(length * limit)
