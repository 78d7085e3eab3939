"""The loops over a data loader: one training epoch, evaluation, and the scoring pass.

They take a network, a loader and numbers; what a run is made of (recipe, splits, folder) is :mod:`bss.engine`'s.
"""

import contextlib
import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from bss import distributed
from bss.choices import Precision, Prediction, ScoringMode
from bss.data import INDEX_KEY, index_and_sample
from bss.errors import TrainingError
from bss.imbalance import TrainingWatch, features_seen
from bss.methods import Arranging, Method
from bss.metrics import Metrics, classification_metrics, head_logits
from bss.models import KEEP_KEY, Logits
from bss.random_states import random_state_kept
from bss.scores import ScoreTable
from bss.scoring import check_choice, head_losses, similarity_of, tensors_of, weighted_loss

Forward = Callable[[nn.Module, Any], tuple[Logits, Tensor]]
"""Maps (model, batch) to (logits of all heads, target)."""

SampleScores = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]
"""Maps (model, batch) to what a table's ``similarity`` and ``loss`` get, (B,) each."""


@dataclass
class Totals:
    """What this process has seen of an epoch so far; a training can go on from it.

    Attributes:
        loss: sum of the samples' losses, () float64 on the device.
        samples: number of samples.
        steps: number of optimiser steps, equal on all processes.
    """

    loss: Tensor
    samples: int = 0
    steps: int = 0


class Trained(NamedTuple):
    """An epoch of all processes: mean loss over samples, number of samples, number of optimiser steps."""

    loss: float
    samples: int
    steps: int


def train_one_epoch(
    model: nn.Module,
    loader: Iterable[Mapping[str, Tensor]],
    optimizer: torch.optim.Optimizer,
    *,
    fused_weight: float = 1.0,
    unimodal_weight: float = 1.0,
    table: ScoreTable | None = None,
    method: Method | None = None,
    watch: TrainingWatch | None = None,
    precision: Precision = "fp32",
    scaler: torch.amp.GradScaler | None = None,
    totals: Totals | None = None,
    steps: int | None = None,
    after_step: Callable[[Totals], None] | None = None,
    progress: str | None = None,
) -> Trained:
    """One pass of optimiser steps over the loader, with the loss ``w_f CE(fused) + w_u sum_m CE(unimodal_m)``.

    A ``method`` may change the loss and the gradients; the table's scores stay those of the loss above.

    Args:
        model: maps a batch to Logits; may be wrapped in DistributedDataParallel.
        loader: yields dict batches with ``"label"`` and, for a table, ``"bss_index"``.
        optimizer: of the model's parameters.
        fused_weight: w_f.
        unimodal_weight: w_u.
        table: filled from the logits of this very forward (online scoring); the caller closes the epoch.
        method: hooks into the step; None = joint training. The caller begins its epoch.
        watch: looks at the gradients and features of some steps.
        precision: of the forward and its gradients, see :func:`autocast`.
        scaler: of the loss, for ``"fp16"``; a step whose gradients overflow leaves the weights as they are.
        totals: what the epoch has seen already, where it goes on in the middle; kept up to date.
        steps: the epoch ends after so many steps, those in ``totals`` included; None = with the loader.
        after_step: called after every step; what it raises ends the pass.
        progress: label of the progress bar; None = no bar.
    """
    device = _device_of(model)
    model.train()
    method = method or Method()
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
    totals = totals or Totals(torch.zeros((), device=device, dtype=torch.float64))
    left = None if steps is None else max(0, steps - totals.steps)
    with ProgressBar(loader, progress, steps=totals.steps, samples=totals.samples) as bar:
        for batch in itertools.islice(bar, left):
            batch = method.before_forward(_to_device(batch, device))
            looking = watch is not None and watch.due(totals.steps)
            seeing = features_seen(watch.model) if looking else contextlib.nullcontext({})
            with autocast(device, precision), seeing as features:
                logits, target = _forward(model, batch)
            losses = head_losses({"fused": logits.fused, **logits.unimodal}, target)
            weights = {name: fused_weight if name == "fused" else unimodal_weight for name in losses}
            loss_B = method.loss(losses, weights)
            optimizer.zero_grad(set_to_none=True)
            scaled = {name: scaler.scale(loss) for name, loss in losses.items()}
            method.backward(scaler.scale(loss_B), scaled, model)
            scaler.unscale_(optimizer)
            method.after_backward(model, logits, target)
            if looking:
                watch.see(features, batch.get(KEEP_KEY))
            scaler.step(optimizer)
            scaler.update()
            with torch.no_grad():
                if table is not None:
                    similarity = similarity_of(tensors_of(logits.unimodal), space=table.space)
                    table.update(batch[INDEX_KEY], similarity=similarity, loss=weighted_loss(losses, weights))
                totals.loss += loss_B.sum()
            totals.samples += len(target)
            totals.steps += 1
            bar.show(totals.loss, totals.samples)
            if after_step is not None:
                after_step(totals)
    # Filled on the device: a copy from the host would wait for it before the sums of the losses are under way.
    samples = torch.full((), totals.samples, dtype=torch.float64, device=device)
    seen = distributed.total(samples).item()
    return Trained(distributed.total(totals.loss).item() / max(seen, 1), round(seen), totals.steps)


class Share(NamedTuple):
    """One process's part of what a network says of a data set, on the device.

    Attributes:
        features: modality name -> (n, D_m) float32; empty where they were not asked for, or the network has none.
        target: (n,) class ids.
    """

    features: dict[str, Tensor]
    target: Tensor


class Predicted(NamedTuple):
    """What a network says of a data set.

    Attributes:
        heads: head name (see :func:`bss.metrics.head_logits`) -> logits (N, C) float32 of all processes, on the CPU.
        target: (N,) class ids, on the CPU.
        share: the features and targets of this process's samples.
    """

    heads: dict[str, Tensor]
    target: Tensor
    share: Share


def evaluate(
    model: nn.Module,
    loader: Iterable[Mapping[str, Tensor]],
    *,
    prediction: Prediction = "all",
    precision: Precision = "fp32",
) -> Metrics:
    """Accuracy, macro F1 and mAP of all heads, of the fused head and of each modality's head, in eval mode.

    Arguments and errors are those of :func:`predict`.
    """
    predicted = predict(model, loader, prediction=prediction, precision=precision)
    return classification_metrics(predicted.heads, predicted.target)


@torch.no_grad()
def predict(
    model: nn.Module,
    loader: Iterable[Mapping[str, Tensor]],
    *,
    prediction: Prediction = "all",
    precision: Precision = "fp32",
    features: bool = False,
    progress: str | None = None,
) -> Predicted:
    """Logits of all heads, in eval mode, for a whole data set.

    Args:
        model: maps a batch to Logits; its training flags are left as found.
        loader: yields dict batches with ``"label"``; every sample once. With several processes it is this one's share
            (:func:`bss.distributed.share`), and all get the logits of the whole.
        prediction: which heads the prediction sums, see :func:`bss.metrics.head_logits`.
        precision: of the forward, see :func:`autocast`.
        features: keep what :class:`bss.models.LateFusion` makes of every sample as well.
        progress: label of a progress bar; None = no bar.

    Raises:
        TrainingError: logits that are not finite.
    """
    device = _device_of(model)
    heads: dict[str, list[Tensor]] = {}
    targets: list[Tensor] = []
    kept: dict[str, list[Tensor]] = {}
    seeing = features_seen(model) if features else contextlib.nullcontext({})
    with evaluating(model), seeing as seen, ProgressBar(loader, progress) as bar:
        for batch in bar:
            with autocast(device, precision):
                logits, target = _forward(model, _to_device(batch, device))
            for name, values in seen.items():
                kept.setdefault(name, []).append(values.float())
            logits = Logits(logits.fused.float(), {name: z.float() for name, z in logits.unimodal.items()})
            for name, values in head_logits(logits, prediction).items():
                heads.setdefault(name, []).append(values)
            targets.append(target)
    logits = {name: distributed.gathered(torch.cat(parts)) for name, parts in heads.items()}
    broken = [name for name, values in logits.items() if not values.isfinite().all()]
    if broken:
        raise TrainingError(
            f"the logits of the {broken[0]} head are not finite on the evaluation data: the training diverged, so "
            "lower the learning rate (a tenth of it: --set lr=), or samples are not finite"
        )
    share = Share({name: torch.cat(parts) for name, parts in kept.items()}, torch.cat(targets))
    return Predicted(logits, distributed.gathered(share.target), share)


def show(
    model: nn.Module,
    loader: Iterable[Mapping[str, Tensor]],
    method: Arranging,
    *,
    precision: Precision = "fp32",
    progress: str | None = None,
) -> None:
    """Show a method every batch of the loader, with the network in eval mode.

    Args:
        model: its training flags are left as found.
        loader: yields dict batches with ``"bss_index"`` and ``"label"``.
        method: see :meth:`bss.methods.Arranging.see`.
        precision: of its forward, see :func:`autocast`.
        progress: label of a progress bar; None = no bar.
    """
    device = _device_of(model)
    with evaluating(model), ProgressBar(loader, progress) as bar:
        for batch in bar:
            with autocast(device, precision):
                method.see(_to_device(batch, device))


@torch.no_grad()  # not inference_mode: a module that caches a tensor in forward could not be trained afterwards
def score_dataset(
    model: nn.Module,
    loader: Iterable[Any],
    table: ScoreTable,
    *,
    mode: ScoringMode = "calibrated",
    calibration_batches: int = 8,
    calibration: Iterable[Any] | None = None,
    forward: Forward | None = None,
    scores: SampleScores | None = None,
    precision: Precision = "fp32",
    progress: str | None = None,
) -> None:
    """Score every sample of the loader with the network as it is, and close the table's epoch.

    No gradients. Training flags and torch's random states are left as found, and BatchNorm's buffers too, except in
    ``"train"`` mode.

    Args:
        model: returns :class:`bss.models.Logits`, or anything that ``forward`` makes into it.
        loader: yields dict batches with ``"bss_index"`` (and ``"label"``), or ``(index, batch)`` pairs; see
            :class:`bss.IndexedDataset`. For ``"calibrated"`` and ``"batch"`` its batches should be a shuffled sample of
            the data and the same in every pass: ``sampler=torch.randperm(N, generator=...).tolist()``. A file order is
            often sorted by class, which would make a batch's statistics those of one class.
        table: filled and closed (:meth:`ScoreTable.synchronize`).
        mode: ``"calibrated"``: BatchNorm statistics are re-estimated on the first batches, then everything is scored
            in eval mode, so that a score does not depend on its batch-mates. ``"batch"``: BatchNorm uses each batch's
            own statistics, everything else is in eval mode. In both, layers that are frozen (in eval mode while the
            network is in training mode, so call it in that mode) keep their statistics. ``"eval"``: eval mode with the
            running statistics, useless in the first epochs of a network with BatchNorm. ``"train"``: training mode,
            dropout on, running statistics move, as the released code does.
        calibration_batches: number of batches for ``"calibrated"``.
        calibration: where those batches come from; None = the loader's first ones. Where several processes score a
            share each, give all of them the same, and no score depends on the number of processes.
        forward: maps (model, batch) to (logits, target); default ``model(batch), batch["label"]``.
        scores: maps (model, batch) to ready-made scores (similarity, loss), instead of those of the logits; see
            :func:`bss.criteria.feature_scores`.
        precision: of the network's forward, see :func:`autocast`.
        progress: label of a progress bar; None = no bar.

    Raises:
        ValueError: an unknown mode, or a loader whose data set is no :class:`bss.IndexedDataset`.
        TrainingError: a last batch of one sample that BatchNorm refuses, in ``"train"`` mode; it is a ValueError too.
    """
    check_choice("mode", mode, ScoringMode)
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module  # the DDP wrapper would demand equal step counts on all ranks
    device = _device_of(model)
    run = forward or _forward

    def forward(model: nn.Module, batch: Any) -> tuple[Logits, Tensor]:
        with autocast(device, precision):
            return run(model, batch)

    def score(batch: Any) -> None:
        index, batch = index_and_sample(batch)
        if scores is not None:
            with autocast(device, precision):
                similarity, loss = scores(model, _to_device(batch, device))
            table.update(index, similarity=similarity, loss=loss)
            return
        logits, target = forward(model, _to_device(batch, device))
        table.update(index, unimodal=logits.unimodal, fused=logits.fused, target=target.to(device))

    with _flags_kept(model), random_state_kept(device), ProgressBar(loader, progress) as bar:
        batches = iter(bar)
        if mode == "train":
            model.train()
            for batch in batches:
                with _single_row_explained(batch):
                    score(batch)
        else:
            norms = _trained_norms(model)
            model.eval()
            with _buffers_kept(norms):
                if mode == "calibrated" and norms:
                    source = batches if calibration is None else iter(calibration)
                    head = list(itertools.islice(source, calibration_batches))
                    _calibrate(model, norms, head, forward, device)
                    if calibration is None:
                        batches = itertools.chain(head, batches)
                whole = 0
                for batch in batches:
                    size = len(index_and_sample(batch)[0])
                    whole = max(whole, size)
                    for norm in norms if mode == "batch" else []:
                        # The running statistics become those of the newest whole batch; a smaller last one, which has
                        # none worth the name (a single row has none at all), is scored with them.
                        norm.momentum = 1.0
                        norm.train(size == whole)
                    score(batch)
    missing = (~table.synchronize()).nonzero().squeeze(1).tolist()
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        warnings.warn(
            f"the scoring pass left out {len(missing)} of {table.num_samples} samples (indices {shown}), which keep "
            "their older score, if they have one: give it a loader of the whole training set, with drop_last=False",
            stacklevel=3,  # over the frame of no_grad
        )


@contextlib.contextmanager
def _single_row_explained(batch: Any) -> Iterator[None]:
    """Of a batch of one sample most BatchNorm layers can take no statistics: torch says so without the way out."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error) or len(index_and_sample(batch)[0]) > 1:
            raise
        raise TrainingError(
            "the last batch of the scoring pass has a single sample, of which BatchNorm takes no statistics in mode "
            "'train': change the batch size by one, or the mode to 'calibrated' or 'batch' (--set schedule.mode=)"
        ) from error


def _calibrate(
    model: nn.Module, norms: list[_BatchNorm], batches: list[Any], forward: Forward, device: torch.device
) -> None:
    """Replace BatchNorm's running statistics by the plain average over some batches, and return to eval mode."""
    sizes = [len(index_and_sample(batch)[0]) for batch in batches]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average instead of an exponential one
        norm.train()
    for batch, size in zip(batches, sizes, strict=True):
        if size == max(sizes):  # a last batch of a few samples, or of one, has no statistics worth averaging
            forward(model, _to_device(index_and_sample(batch)[1], device))
    for norm in norms:
        norm.eval()


def _trained_norms(model: nn.Module) -> list[_BatchNorm]:
    """BatchNorm layers whose statistics follow the data: not those that a network in training keeps in eval mode."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if norm.training or not model.training]


# ---- small things --------------------------------------------------------------------------------------------------


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager:
    """Run the forward passes of a block in mixed precision; ``"fp32"`` leaves them, and an outer autocast, as they are.

    Only the network belongs inside: losses and scores are float32 or better, whatever its logits are.
    """
    if precision == "fp32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def _forward(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Logits, Tensor]:
    return model(batch), batch["label"]


def _device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def _to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a dict, tuple or list."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: _to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(_to_device(value, device) for value in batch)
    return batch


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; the training flags are left as found."""
    with _flags_kept(model):
        model.eval()
        yield


@contextlib.contextmanager
def _flags_kept(model: nn.Module) -> Iterator[None]:
    """Restore every module's training flag; parts of a network may be frozen in eval mode on purpose."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextlib.contextmanager
def _buffers_kept(norms: list[_BatchNorm]) -> Iterator[None]:
    """Restore BatchNorm's running statistics, counters and momentum."""
    kept = [(norm, norm.momentum, {k: v.clone() for k, v in norm.named_buffers()}) for norm in norms]
    try:
        yield
    finally:
        for norm, momentum, buffers in kept:
            norm.momentum = momentum
            for name, buffer in norm.named_buffers():
                buffer.copy_(buffers[name])


class ProgressBar(tqdm):
    """A progress bar on a terminal, nothing elsewhere (the epoch's line is printed in any case)."""

    def __init__(self, loader: Iterable[Any], label: str | None, *, steps: int = 0, samples: int = 0):
        hidden = None if label and distributed.is_main() else True
        super().__init__(loader, desc=label, disable=hidden, leave=False, unit="batch", initial=steps)
        self.samples_before = samples
        self.began = self.shown = time.monotonic()

    def show(self, total_loss: Tensor, samples: int) -> None:
        """Mean loss and samples per second, at most once a second: reading the loss waits for the device."""
        now = time.monotonic()
        if not self.disable and now - self.shown > 1:
            self.shown = now
            rate = (samples - self.samples_before) / (now - self.began)
            self.set_postfix_str(f"loss {total_loss.item() / samples:.3f}, {rate:.0f} samples/s", refresh=False)
