"""The loops over a data loader: the optimiser steps of an epoch, and what a network says of a whole data set.

They take a network, a loader and numbers; what a run is made of (recipe, splits, folder) is
:mod:`bss.training.engine`'s.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bss.data.batches import to_device
from bss.data.indexed import INDEX_KEY
from bss.methods import Method
from bss.models.late_fusion import KEEP_KEY, Logits, features_seen
from bss.models.modes import device_of, evaluating, logits_and_target, train_mode
from bss.models.precision import autocast
from bss.scoring.formulas import head_losses, similarity_of, tensors_of, weighted_loss
from bss.scoring.metrics import head_logits
from bss.scoring.table import ScoreTable
from bss.training.watch import TrainingWatch
from bss.utils import distributed
from bss.utils.choices import Precision, Prediction
from bss.utils.devices import widest_float
from bss.utils.errors import NotFiniteError
from bss.utils.progress import ProgressBar


@dataclass
class Totals:
    """What this process has seen of an epoch so far; a training can go on from it.

    Attributes:
        loss: sum of the samples' losses, () in the widest float of the device, on it.
        samples: number of samples.
        steps: number of optimiser steps, equal on all processes.
        sound: after how many of them the sum of the losses was still finite, () int64 on the device.
    """

    loss: Tensor
    samples: int = 0
    steps: int = 0
    sound: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.sound = torch.full((), self.steps, dtype=torch.int64, device=self.loss.device)

    def add(self, loss: Tensor, samples: int) -> None:
        """Count a step; nothing here waits for the device."""
        self.loss += loss
        self.samples += samples
        self.steps += 1
        self.sound += self.loss.isfinite()  # what is not finite once stays so


class Trained(NamedTuple):
    """An epoch of all processes: mean loss over samples, number of samples, number of optimiser steps."""

    loss: float
    samples: int
    steps: int


@dataclass(frozen=True)
class Step:
    """One optimiser step, with everything that is the same in all steps of a run.

    The loss is ``w_f CE(fused) + w_u sum_m CE(unimodal_m)``, or that of one ``modality``'s head alone. A ``method`` may
    change the loss and the gradients, and update the weights in several turns, whose losses are then added up; the
    table's scores stay those of this loss.

    Attributes:
        model: maps a batch to Logits; may be wrapped in DistributedDataParallel.
        optimizer: of the model's parameters.
        fused_weight: w_f.
        unimodal_weight: w_u.
        modality: trains by itself: its head's loss is the loss; None = all do.
        table: filled from the logits of this very forward (online scoring); the caller closes the epoch.
        method: hooks into the step. The caller begins its epoch.
        watch: looks at the gradients and features of some steps.
        precision: of the forward and its gradients, see :func:`bss.models.precision.autocast`.
        scaler: of the loss, for ``"fp16"``; a step whose gradients overflow leaves the weights as they are.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    fused_weight: float = 1.0
    unimodal_weight: float = 1.0
    modality: str | None = None
    table: ScoreTable | None = None
    method: Method = field(default_factory=Method)
    watch: TrainingWatch | None = None
    precision: Precision = "fp32"
    scaler: torch.amp.GradScaler = field(default_factory=lambda: torch.amp.GradScaler(enabled=False))

    @property
    def device(self) -> torch.device:
        """Where the network lives."""
        return device_of(self.model)

    def _weight_of(self, head: str) -> float:
        if self.modality is not None:
            return float(head == self.modality)
        return self.fused_weight if head == "fused" else self.unimodal_weight

    def take(self, batch: Mapping[str, Any], number: int) -> tuple[Tensor, int]:
        """Train on a batch.

        Args:
            batch: a dict with ``"label"`` and, for a table, ``"bss_index"``.
            number: of the step in its epoch, 0-based.

        Returns:
            Sum of the samples' losses, () on the device, and number of samples.
        """
        scaler = self.scaler
        batch = self.method.before_forward(to_device(batch, self.device))
        watch = self.watch if self.watch is not None and self.watch.due(number) else None
        seeing = _features_seen(watch.model if watch else None)
        with autocast(self.device, self.precision), self.method.around_forward(), seeing as features:
            logits, target = logits_and_target(self.model, batch)
        losses = head_losses({"fused": logits.fused, **logits.unimodal}, target)
        weights = {name: self._weight_of(name) for name in losses}
        sums: list[Tensor] = []
        for turn in self.method.turns(losses):
            loss_B = self.method.loss(turn, weights)
            self.optimizer.zero_grad(set_to_none=True)
            # Every head's loss is scaled as the sum is: a method that takes gradients of one of them has that scale.
            scaled = {name: scaler.scale(loss) for name, loss in turn.items()}
            self.method.backward(scaler.scale(loss_B), scaled, self.model)
            # Methods change gradients of the true size, so the scale goes before they look; the watch sees the result.
            scaler.unscale_(self.optimizer)
            self.method.after_backward(self.model, logits, target)
            if watch:
                watch.see(features, batch.get(KEEP_KEY))
            self.method.before_update(self.optimizer)
            scaler.step(self.optimizer)
            scaler.update()
            sums.append(loss_B.detach().sum())
        with torch.no_grad():
            if self.table is not None:
                similarity = similarity_of(tensors_of(logits.unimodal), space=self.table.space)
                self.table.update(batch[INDEX_KEY], similarity=similarity, loss=weighted_loss(losses, weights))
            return torch.stack(sums).sum(), len(target)


def _features_seen(model: nn.Module | None) -> contextlib.AbstractContextManager[dict[str, Tensor]]:
    """See :func:`bss.models.late_fusion.features_seen`; without a network a mapping that stays empty."""
    return contextlib.nullcontext({}) if model is None else features_seen(model)


def train_epoch(
    step: Step,
    loader: Iterable[Mapping[str, Tensor]],
    *,
    totals: Totals | None = None,
    steps: int | None = None,
    after_step: Callable[[Totals], None] | None = None,
    progress: str | None = None,
) -> Trained:
    """One pass of optimiser steps over the loader.

    Args:
        step: what is done with a batch.
        loader: yields the batches.
        totals: what the epoch has seen already, where it goes on in the middle; kept up to date.
        steps: the epoch ends after so many steps, those in ``totals`` included; None = with the loader.
        after_step: called after every step; what it raises ends the pass.
        progress: label of the progress bar; None = no bar.
    """
    train_mode(step.model)
    totals = totals or Totals(torch.zeros((), device=step.device, dtype=widest_float(step.device)))
    left = None if steps is None else max(0, steps - totals.steps)
    with ProgressBar(loader, progress, steps=totals.steps, samples=totals.samples) as bar:
        for batch in itertools.islice(bar, left):
            loss, samples = step.take(batch, totals.steps)
            totals.add(loss, samples)
            bar.show(totals.loss, totals.samples)
            if after_step is not None:
                after_step(totals)
    # Filled on the device: a copy from the host would wait for it before the sums of the losses are under way.
    counted = torch.full((), totals.samples, dtype=widest_float(step.device), device=step.device)
    seen = distributed.total(counted).item()
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


@torch.no_grad()
def predict(
    model: nn.Module,
    loader: Iterable[Mapping[str, Tensor]],
    *,
    prediction: Prediction | str = "all",
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
        NotFiniteError: logits that are not finite.
    """
    device = device_of(model)
    heads: dict[str, list[Tensor]] = {}
    targets: list[Tensor] = []
    kept: dict[str, list[Tensor]] = {}
    with evaluating(model), _features_seen(model if features else None) as seen, ProgressBar(loader, progress) as bar:
        for batch in bar:
            with autocast(device, precision):
                logits, target = logits_and_target(model, to_device(batch, device))
            for name, values in seen.items():
                kept.setdefault(name, []).append(values.float())
            logits = Logits(logits.fused.float(), {name: z.float() for name, z in logits.unimodal.items()})
            for name, values in head_logits(logits, prediction).items():
                heads.setdefault(name, []).append(values)
            targets.append(target)
    whole = {name: distributed.gathered(torch.cat(parts)) for name, parts in heads.items()}
    broken = [name for name, values in whole.items() if not values.isfinite().all()]
    if broken:
        raise NotFiniteError(
            f"the logits of the {broken[0]} head are not finite on the evaluation data: the training diverged, so "
            "lower the learning rate (a tenth of it: --set lr=), or samples are not finite"
        )
    share = Share({name: torch.cat(parts) for name, parts in kept.items()}, torch.cat(targets))
    return Predicted(whole, distributed.gathered(share.target), share)


def show_samples(
    model: nn.Module,
    loader: Iterable[Mapping[str, Tensor]],
    method: Method,
    *,
    precision: Precision = "fp32",
    progress: str | None = None,
) -> None:
    """Show a method every batch of the loader, with the network in eval mode.

    Args:
        model: its training flags are left as found.
        loader: yields dict batches with ``"bss_index"`` and ``"label"``.
        method: see :meth:`bss.methods.Method.see`.
        precision: of its forward, see :func:`bss.models.precision.autocast`.
        progress: label of a progress bar; None = no bar.
    """
    device = device_of(model)
    with evaluating(model), ProgressBar(loader, progress) as bar:
        for batch in bar:
            with autocast(device, precision):
                method.see(to_device(batch, device))
