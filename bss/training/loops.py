"""The loops over a data loader: one training epoch, evaluation, and the scoring pass.

They take a network, a loader and numbers; what a run is made of (recipe, splits, folder) is
:mod:`bss.training.engine`'s.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bss.data.batches import to_device
from bss.data.indexed import INDEX_KEY
from bss.methods import Arranging, Method
from bss.models.late_fusion import KEEP_KEY, Logits, features_seen
from bss.models.modes import device_of, evaluating, logits_and_target
from bss.models.precision import autocast
from bss.scoring.formulas import head_losses, similarity_of, tensors_of, weighted_loss
from bss.scoring.metrics import Metrics, classification_metrics, head_logits
from bss.scoring.table import ScoreTable
from bss.training.watch import TrainingWatch
from bss.utils import distributed
from bss.utils.choices import Precision, Prediction
from bss.utils.errors import TrainingError
from bss.utils.progress import ProgressBar


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
    device = device_of(model)
    model.train()
    method = method or Method()
    scaler = scaler or torch.amp.GradScaler(device.type, enabled=False)
    totals = totals or Totals(torch.zeros((), device=device, dtype=torch.float64))
    left = None if steps is None else max(0, steps - totals.steps)
    with ProgressBar(loader, progress, steps=totals.steps, samples=totals.samples) as bar:
        for batch in itertools.islice(bar, left):
            batch = method.before_forward(to_device(batch, device))
            looking = watch is not None and watch.due(totals.steps)
            seeing = features_seen(watch.model) if looking else contextlib.nullcontext({})
            with autocast(device, precision), seeing as features:
                logits, target = logits_and_target(model, batch)
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
        heads: head name (see :func:`bss.scoring.metrics.head_logits`) -> logits (N, C) float32 of all processes,
            on the CPU.
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
            (:func:`bss.utils.distributed.share`), and all get the logits of the whole.
        prediction: which heads the prediction sums, see :func:`bss.scoring.metrics.head_logits`.
        precision: of the forward, see :func:`autocast`.
        features: keep what :class:`bss.models.LateFusion` makes of every sample as well.
        progress: label of a progress bar; None = no bar.

    Raises:
        TrainingError: logits that are not finite.
    """
    device = device_of(model)
    heads: dict[str, list[Tensor]] = {}
    targets: list[Tensor] = []
    kept: dict[str, list[Tensor]] = {}
    seeing = features_seen(model) if features else contextlib.nullcontext({})
    with evaluating(model), seeing as seen, ProgressBar(loader, progress) as bar:
        for batch in bar:
            with autocast(device, precision):
                logits, target = logits_and_target(model, to_device(batch, device))
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
    device = device_of(model)
    with evaluating(model), ProgressBar(loader, progress) as bar:
        for batch in bar:
            with autocast(device, precision):
                method.see(to_device(batch, device))
