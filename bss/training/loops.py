"""The loops over a data loader: the optimiser steps of an epoch, and what a network says of a whole data set.

They take a network, a loader and numbers; what a run is made of (recipe, splits, folder) is
:mod:`bss.training.engine`'s.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bss.data.batches import in_parts, to_device
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

    The loss is ``w_f CE(fused) + w_u sum_m CE(unimodal_m)``, or that of one ``modality``'s head alone; the recipe's
    label smoothing and class weights are in it by :attr:`bss.methods.Method.losses_of`, not in scores. A ``method`` may
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
        accumulate: the batch is run in so many parts, one after another, whose gradients add up to the batch's. Two
            samples are the fewest of a part, so that a small last batch has fewer parts. A method that needs the whole
            batch at once (:attr:`bss.methods.Method.needs_whole_batches`) admits one part only.
        clip_norm: gradients whose common norm is above it are scaled down to it, before every update; None = never.
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
    accumulate: int = 1
    clip_norm: float | None = None

    @functools.cached_property
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
        batch = to_device(batch, self.device)
        watch = self.watch if self.watch is not None and self.watch.due(number) else None
        parts = [batch]
        if self.accumulate > 1:
            parts = in_parts(batch, part_sizes(len(batch["label"]), self.accumulate))
        sums: list[Tensor] = []
        seen: list[_Forward] = []
        for place, part in enumerate(parts):
            last = place == len(parts) - 1
            with distributed.kept_to_oneself(self.model, wanted=not last):
                forward = self._forward(self.method.before_forward(part), watch)
                losses = self.method.losses_of(forward.heads, forward.target)
                weights = {name: self._weight_of(name) for name in losses}
                seen.append(forward if len(parts) == 1 else forward.detached())
                for turn in self.method.turns(losses):
                    loss_B = self.method.loss(turn, weights)
                    if place == 0:
                        self._forget_gradients()
                    self._backward(loss_B, turn, share=1 if len(parts) == 1 else len(loss_B) / len(batch["label"]))
                    if last:
                        self._update(_joined(seen), watch)
                    sums.append(loss_B.detach().sum())
        with torch.no_grad():
            whole = _joined(seen)
            if self.table is not None:
                if len(parts) > 1 or self.method.losses_of is not head_losses:
                    losses = head_losses(whole.heads, whole.target)
                similarity = similarity_of(tensors_of(whole.logits.unimodal), space=self.table.space)
                assert whole.index is not None  # every training batch has it
                self.table.update(whole.index, similarity=similarity, loss=weighted_loss(losses, weights))
            return torch.stack(sums).sum(), len(whole.target)

    def _forward(self, batch: Mapping[str, Any], watch: TrainingWatch | None) -> "_Forward":
        seeing = _features_seen(watch.model if watch else None)
        with autocast(self.device, self.precision), self.method.around_forward(), seeing as features:
            logits, target = logits_and_target(self.model, batch)
        return _Forward(logits, target, batch.get(INDEX_KEY), features, batch.get(KEEP_KEY))

    def _forget_gradients(self) -> None:
        """As ``optimizer.zero_grad``, which takes as long as a fifth of a small network's backward."""
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _backward(self, loss_B: Tensor, turn: Mapping[str, Tensor], *, share: float) -> None:
        """Add the gradients of a part of the batch, which has this share of its samples."""

        # Every head's loss is scaled as the sum is: a method that takes gradients of one of them has that scale. The
        # mean over a part times its share: the parts' add up to the mean over the batch.
        def scaled(values_B: Tensor) -> Tensor:
            return self.scaler.scale(values_B if share == 1 else share * values_B)

        self.method.backward(scaled(loss_B), {name: scaled(loss) for name, loss in turn.items()}, self.model)

    def _update(self, whole: "_Forward", watch: TrainingWatch | None) -> None:
        """Update the weights by the gradients of the batch."""
        # Methods change gradients of the true size, so the scale goes before they look; the watch sees the result.
        self.scaler.unscale_(self.optimizer)
        self.method.after_backward(self.model, whole.logits, whole.target)
        if self.clip_norm is not None:
            trained = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            # What is not finite stays so: a scaler skips the step, and without one the engine finds the weights.
            nn.utils.clip_grad_norm_(trained, self.clip_norm)
        if watch:
            watch.see(whole.features, whole.kept)
        self.method.before_update(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()


@dataclass(frozen=True)
class _Forward:
    """A training forward: logits, class ids (B,) and indices (B,), features that are watched, and the batch's masks."""

    logits: Logits
    target: Tensor
    index: Tensor | None
    features: Mapping[str, Tensor]
    kept: Mapping[str, Tensor] | None

    @property
    def heads(self) -> dict[str, Tensor]:
        """Name -> logits."""
        return {"fused": self.logits.fused, **self.logits.unimodal}

    def detached(self) -> "_Forward":
        """Without the graph, which the next part's would lie beside in memory."""
        logits = Logits(self.logits.fused.detach(), {name: z.detach() for name, z in self.logits.unimodal.items()})
        return replace(self, logits=logits, features={name: z.detach() for name, z in self.features.items()})


def _joined(parts: Sequence[_Forward]) -> _Forward:
    """One forward of the parts of a batch, in their order."""
    if len(parts) == 1:
        return parts[0]
    indices = [part.index for part in parts if part.index is not None]
    kept = [part.kept for part in parts if part.kept is not None]
    return _Forward(
        Logits(torch.cat([part.logits.fused for part in parts]), _cat([part.logits.unimodal for part in parts])),
        torch.cat([part.target for part in parts]),
        torch.cat(indices) if indices else None,
        _cat([part.features for part in parts]),
        _cat(kept) if kept else None,
    )


def _cat(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}


def part_sizes(count: int, parts: int) -> list[int]:
    """How many samples each of the parts of a batch has: as equal as can be, and two at least.

    Args:
        count: of the batch's samples.
        parts: how many are asked for, >= 1.
    """
    parts = max(1, min(parts, count // 2))  # BatchNorm takes no statistics of a single sample
    return [count // parts + (place < count % parts) for place in range(parts)]


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
