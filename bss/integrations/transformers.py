"""HF Trainer: a mixin that gives it our order, keeps the index, scores every step and lets epochs grow.

class MyTrainer(BalanceTrainerMixin, Trainer): ...

MyTrainer(model, args, train_dataset=bss.IndexedDataset(dataset), sampler=sampler,
          heads={"audio": "audio_head", "image": "image_head"}, fused="head").train()
"""

import itertools
import math
import os
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from bss.data.indexed import INDEX_KEY, index_and_sample
from bss.integrations.state import check_arguments, check_filled, forget_other_runs, load_run_state, reads, run_state
from bss.samplers import OrderSampler
from bss.scoring.hooks import AttachedScores, Fused, Select, attach
from bss.utils.filesystem import load_tensors

STATE_FILE = "bss.pt"
"""What a Trainer checkpoint gets in addition: the frozen order and the table."""


class BalanceTrainerMixin:
    """Comes before ``Trainer`` in a class's bases, and takes these arguments beside Trainer's own.

    Trainer computes the number of steps once, from its first epoch, and would cut growing epochs short; the mixin
    computes it for every epoch, so ``max_steps``, the learning-rate schedule and resuming follow the curriculum. It
    overrides methods that Trainer splits its loop into, so it depends on Trainer's version; 5.24 is tested, and a
    Trainer without these methods is refused.

    ``train(resume_from_checkpoint=...)`` goes on exactly: the checkpoint also holds ``bss.pt``. Another ``train()``, of
    a trial or with the same sampler or table, is another run: it begins with an empty table, unless a scoring pass has
    filled that anew. The heads are looked up when a training begins, in the model that ``model_init`` has made for it.

    Args:
        sampler: constructed with ``num_replicas=1, rank=0``: Trainer shards the batches itself.
        heads: modality -> dotted module name in the model, see :func:`bss.attach`. None: the scores stay as they are.
        fused: see :func:`bss.attach`; needed with ``heads``.
        select: see :func:`bss.attach`.
        target: the input that holds the class ids.

    Raises:
        ValueError: a sampler or arguments that would change the order.
    """

    def __init__(
        self,
        *args: Any,
        sampler: OrderSampler,
        heads: dict[str, str] | None = None,
        fused: Fused | None = None,
        select: Select | None = None,
        target: str = "labels",
        **kwargs: Any,
    ):
        missing = [
            name
            for name in ("_run_epoch", "_init_training_state", "set_initial_training_values", "_get_train_sampler")
            if not hasattr(super(BalanceTrainerMixin, self), name)
        ]
        if missing:
            raise ValueError(
                f"{type(self).__name__} has no {missing[0]}: write class MyTrainer(BalanceTrainerMixin, Trainer), with "
                "transformers 5.24 or a release with the same Trainer"
            )
        super().__init__(*args, **kwargs)
        check_arguments(sampler, heads, fused)
        if self.args.n_gpu > 1:
            raise ValueError(
                f"Trainer would use nn.DataParallel on {self.args.n_gpu} GPUs, where logits cannot be told apart: "
                "start it with torchrun, or set CUDA_VISIBLE_DEVICES to one GPU"
            )
        if self.args.train_sampling_strategy != "random":
            raise ValueError(
                f"train_sampling_strategy={self.args.train_sampling_strategy!r} would replace the sampler's order: "
                "leave it out"
            )
        if sampler.num_replicas != 1:
            raise ValueError(
                f"Trainer shards batches itself, so the sampler must not: {type(sampler).__name__}(..., "
                "num_replicas=1, rank=0)"
            )
        if self.train_dataset is not None and len(self.train_dataset) != sampler.size:
            raise ValueError(f"the sampler orders {sampler.size} samples, train_dataset has {len(self.train_dataset)}")
        self.sampler = sampler
        self._target = target
        self._updates: list[int] = []  # optimiser steps of every epoch
        self._scores: AttachedScores | None = None
        self._attach = None
        if heads is not None:
            self._attach = partial(attach, table=sampler.table, heads=heads, fused=fused, select=select)
            if self.model is not None:
                self._attach(self.model).detach()  # names that are wrong are told at once

    # ---- the order, and the index with it --------------------------------------------------------------------------

    def _get_train_sampler(self, train_dataset: Any = None) -> OrderSampler:
        return self.sampler

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if INDEX_KEY not in self._signature_columns:
            self._signature_columns.append(INDEX_KEY)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Trainer's, after which no hook stays."""
        try:
            return super().train(*args, **kwargs)
        finally:
            self._detach()

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        """Trainer's step, scored."""
        index, _ = index_and_sample(inputs)
        inputs = {name: value for name, value in inputs.items() if name != INDEX_KEY}
        if self._scores is None:
            return super().training_step(model, inputs, *args, **kwargs)
        with self._scores.batch(index, inputs[self._target]):
            return super().training_step(model, inputs, *args, **kwargs)

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Trainer's step; an index in evaluation data is left out."""
        inputs = {name: value for name, value in inputs.items() if name != INDEX_KEY}
        return super().prediction_step(model, inputs, *args, **kwargs)

    # ---- epochs of different lengths -------------------------------------------------------------------------------

    def set_initial_training_values(self, args: Any, dataloader: Any) -> tuple:
        """Trainer's seven numbers, with the epochs and steps of the curriculum."""
        values = list(super().set_initial_training_values(args, dataloader))
        if args.max_steps > 0:
            self._updates = []
            while sum(self._updates) < args.max_steps:
                self._updates.append(self._updates_of(dataloader, len(self._updates)))
            values[6] = args.max_steps
        else:
            epochs = math.ceil(args.num_train_epochs)
            self._updates = [self._updates_of(dataloader, epoch) for epoch in range(epochs)]
            part = 1 - (epochs - args.num_train_epochs)  # of the last epoch
            values[6] = sum(self._updates[:-1]) + math.ceil(part * self._updates[-1])
        values[0], values[1] = len(self._updates), self._updates[0]
        return tuple(values)

    def _init_training_state(self, *args: Any) -> tuple[int, int]:
        epochs, steps = super()._init_training_state(*args)
        folder = args[3]  # resume_from_checkpoint
        self._detach()  # an attempt with another batch size may have left its hooks
        if self._attach is not None:
            self._scores = self._attach(self.model)
        if folder is None or self.state.global_step == 0:
            if forget_other_runs(self.sampler.table):
                self.sampler.set_epoch(0)
            return epochs, steps
        # Trainer divides by the first epoch's steps; here the epochs before the checkpoint are counted one by one.
        ends = list(itertools.accumulate(self._updates))
        epochs = sum(end <= self.state.global_step for end in ends)
        steps = self.state.global_step - (ends[epochs - 1] if epochs else 0)
        path = os.path.join(folder, STATE_FILE)
        if not os.path.isfile(path):
            raise ValueError(f"{folder} has no {STATE_FILE}: it was not saved by a trainer with this mixin")
        state = load_tensors(path)
        load_run_state(self.sampler, state, position=0)  # Trainer skips the batches that were trained on
        return epochs, 0 if self.args.ignore_data_skip else steps * self.args.gradient_accumulation_steps

    def _run_epoch(self, **epoch_arguments: Any) -> None:
        epoch, loader = epoch_arguments["epoch"], epoch_arguments["train_dataloader"]
        if not reads(loader, self.sampler):
            raise ValueError(
                f"the training loader of {type(self).__name__} does not ask for the sampler: its get_train_dataloader, "
                "or its batch_sampler (sentence-transformers), has an order of its own; leave both to Trainer"
            )
        if self.sampler.epoch != epoch:
            self._close()  # of the epoch before, if the checkpoint was saved at its last step
        self.sampler.set_epoch(epoch)
        epoch_arguments["steps_in_epoch"] = len(loader)
        epoch_arguments["num_update_steps_per_epoch"] = self._updates_of(loader, epoch)
        self.sampler.forget_length()
        super()._run_epoch(**epoch_arguments)
        self._close()

    def _updates_of(self, dataloader: Any, epoch: int) -> int:
        """Optimiser steps of an epoch; the loader knows how the batches are shared, the sampler how many there are."""
        now = self.sampler.epoch
        self.sampler.epoch = epoch  # nothing but its length follows this number
        try:
            return max(1, math.ceil(len(dataloader) / self.args.gradient_accumulation_steps))
        finally:
            self.sampler.epoch = now

    def _detach(self) -> None:
        if self._scores is not None:
            self._scores.detach()
            self._scores = None

    def _close(self) -> None:
        if self.sampler.table is not None:
            self.sampler.table.synchronize()
            check_filled(self.sampler.table)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        state = run_state(self.sampler, position=0)  # on every rank: it adds up their scores
        if self.args.should_save:
            folder = os.path.join(self._get_output_dir(trial=trial), f"checkpoint-{self.state.global_step}")
            torch.save(state, os.path.join(folder, STATE_FILE))
