"""The scoring pass: every sample of a data set is scored with the network as it is."""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from bss.data.batches import to_device
from bss.data.indexed import check_numbering, index_and_sample
from bss.models.late_fusion import Logits
from bss.models.modes import device_of, flags_kept, logits_and_target, train_mode
from bss.models.precision import autocast
from bss.scoring.formulas import check_choice
from bss.scoring.table import ScoreTable
from bss.utils.choices import Precision, ScoringMode
from bss.utils.devices import made_on_cpu, widened
from bss.utils.errors import TrainingError
from bss.utils.given import as_tensor
from bss.utils.progress import ProgressBar
from bss.utils.random_states import random_state_kept
from bss.utils.seeding import generator

Forward = Callable[[nn.Module, Any], tuple[Logits, Tensor]]
"""Maps (model, batch) to (logits of all heads, target)."""


SampleScores = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]
"""Maps (model, batch) to what a table's ``similarity`` and ``loss`` get, (B,) each."""


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
            :class:`bss.IndexedDataset`. In any order, but for ``"batch"``: there its batches must be a shuffled sample
            of the data and the same in every pass, ``sampler=torch.randperm(N, generator=...).tolist()``. A file order
            is often sorted by class, which would make a batch's statistics those of one class.
        table: filled and closed (:meth:`ScoreTable.synchronize`).
        mode: ``"calibrated"``: BatchNorm statistics are re-estimated on some batches, then everything is scored in
            eval mode, so that a score does not depend on its batch-mates. ``"batch"``: BatchNorm uses each batch's
            own statistics, everything else is in eval mode. In both, layers that are frozen (in eval mode while the
            network is in training mode, so call it in that mode) keep their statistics. ``"eval"``: eval mode with the
            running statistics, useless in the first epochs of a network with BatchNorm. ``"train"``: training mode,
            dropout on, running statistics move, as the released code does; parts without a trained parameter that are
            in eval mode stay in it.
        calibration_batches: number of batches for ``"calibrated"``.
        calibration: where those batches come from. None draws them from the loader's data set, always the same ones
            and in its batch size, whatever order the loader has; where that cannot be (no ``DataLoader``, or no data
            set with an index) they are the loader's first ones, with a warning. ``loader`` itself says that its first
            batches are a shuffled sample. Where several processes score a share each, give all of them the same, and
            no score depends on the number of processes.
        forward: maps (model, batch) to (logits, target); default ``model(batch), batch["label"]``.
        scores: maps (model, batch) to ready-made scores (similarity, loss), instead of those of the logits; see
            :func:`bss.scoring.criteria.feature_scores`.
        precision: of the network's forward, see :func:`autocast`.
        progress: label of a progress bar; None = no bar.

    Raises:
        ValueError: an unknown mode, a loader whose data set is no :class:`bss.IndexedDataset` or several of them, or
            mode ``"batch"`` for a network with BatchNorm and a loader that goes through the data as it is listed.
        TrainingError: a last batch of one sample that BatchNorm refuses, in ``"train"`` mode; it is a ValueError too.
    """
    check_choice("mode", mode, ScoringMode)
    check_numbering(getattr(loader, "dataset", None))
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module  # the DDP wrapper would demand equal step counts on all ranks
    device = device_of(model)
    run = forward or logits_and_target

    def forward_in_precision(model: nn.Module, batch: Any) -> tuple[Logits, Tensor]:
        with autocast(device, precision):
            return run(model, batch)

    waiting = _Waiting(table)

    def score(batch: Any) -> None:
        index, batch = index_and_sample(batch)
        if scores is not None:
            with autocast(device, precision):
                similarity, loss = scores(model, to_device(batch, device))
            table.update(index, similarity=similarity, loss=loss)
            return
        logits, target = forward_in_precision(model, to_device(batch, device))
        if forward is None and device.type == "cpu":
            waiting.add(index, logits, target)
            return
        table.update(index, unimodal=logits.unimodal, fused=logits.fused, target=as_tensor("target", target).to(device))

    with flags_kept(model), random_state_kept(device), ProgressBar(loader, progress) as bar:
        batches = iter(bar)
        if mode == "train":
            train_mode(model)
            for batch in batches:
                with _single_row_explained(batch):
                    score(batch)
        else:
            norms = _trained_norms(model)
            model.eval()
            with _buffers_kept(norms):
                if mode == "calibrated" and norms:
                    source = _drawn_batches(loader, calibration_batches) if calibration is None else calibration
                    if source is None:
                        warnings.warn(_CANNOT_DRAW, stacklevel=3)
                    own = None if source is loader else source
                    with made_on_cpu():  # the batches that are drawn have a CPU generator
                        head = list(itertools.islice(batches if own is None else own, calibration_batches))
                    _calibrate(model, norms, head, forward_in_precision, device)
                    if own is None:
                        batches = itertools.chain(head, batches)
                whole = 0
                for batch in batches:
                    size = len(index_and_sample(batch)[0])
                    if mode == "batch" and norms and not whole:
                        _refuse_listed_order(loader)
                    whole = max(whole, size)
                    for norm in norms if mode == "batch" else []:
                        # The running statistics become those of the newest whole batch; a smaller last one, which has
                        # none worth the name (a single row has none at all), is scored with them.
                        norm.momentum = 1.0
                        norm.train(size == whole)
                    score(batch)
    waiting.score()
    missing = (~table.synchronize(scoring_pass=True)).nonzero().squeeze(1).tolist()
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        warnings.warn(
            f"the scoring pass left out {len(missing)} of {table.num_samples} samples (indices {shown}), which keep "
            "their older score, if they have one: give it a loader of the whole training set, with drop_last=False",
            stacklevel=3,  # over the frame of no_grad
        )


AT_ONCE = 4096
"""Samples whose logits are made into scores together; bounds the memory that they wait in."""


class _Waiting:
    """Logits that are made into scores together: on a CPU a small batch takes as long as this, and each row is its own.

    On a GPU the sums of a row may depend on how many there are.
    """

    def __init__(self, table: ScoreTable):
        self.table = table
        self.rows: list[tuple[Tensor, Logits, Tensor]] = []
        self.count = 0

    def add(self, index: Tensor | Sequence[int], logits: Logits, target: Tensor) -> None:
        self.rows.append((torch.as_tensor(index, device="cpu"), logits, as_tensor("target", target)))
        self.count += len(index)
        if self.count >= AT_ONCE:
            self.score()

    def score(self) -> None:
        """Score what waits."""
        if not self.rows:
            return
        indices, logits, targets = zip(*self.rows, strict=True)
        self.table.update(
            torch.cat(indices),
            unimodal={name: torch.cat([each.unimodal[name] for each in logits]) for name in logits[0].unimodal},
            fused=torch.cat([each.fused for each in logits]),
            target=torch.cat(targets),
        )
        self.rows, self.count = [], 0


@contextlib.contextmanager
def _single_row_explained(batch: Any) -> Iterator[None]:
    """Turn torch's error for a batch of one sample into one that says the way out."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error) or len(index_and_sample(batch)[0]) > 1:
            raise
        raise TrainingError(
            "the last batch of the scoring pass has a single sample, of which BatchNorm takes no statistics in mode "
            "'train': change the batch size by one, or the mode to 'calibrated' or 'batch' (--set schedule.mode=)"
        ) from error


_CANNOT_DRAW = (
    "BatchNorm is calibrated on the loader's first batches, since none can be drawn from what is no DataLoader over a "
    "data set with an index: of data that are listed class by class those are one class, so pass calibration=, batches "
    "of a shuffled sample (the loader itself, if it is shuffled)"
)


def _refuse_listed_order(loader: Iterable[Any]) -> None:
    if not isinstance(loader, DataLoader):
        return
    sampler = _sampler_of(loader)
    listed = isinstance(sampler, Sequence) and list(sampler) == sorted(sampler)
    if (listed or isinstance(sampler, SequentialSampler)) and len(loader) > 1:
        raise ValueError(
            "mode='batch' takes BatchNorm's statistics of each batch, and this loader goes through the data as they "
            "are listed, often class by class: give it a shuffled order that is the same in every pass, "
            "sampler=torch.randperm(N, generator=torch.Generator()).tolist(), or use mode='calibrated'"
        )


def _drawn_batches(loader: Iterable[Any], number: int) -> Iterable[Any] | None:
    """Batches of a shuffled sample of the loader's data set, made as the loader makes its own; None where it has none.

    The sample is always the same one: it depends on the length of the data set and on the loader's batch size.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    keys, size = _keys_of(loader)
    chosen = torch.randperm(len(keys), generator=generator("calibration"), device="cpu").tolist()
    chosen = [keys[place] for place in chosen[: number * (size or 1)]]
    drawn: dict[str, Any] = {"batch_size": None, "sampler": chosen}  # where the data set makes whole batches itself
    if size is not None:
        drawn = {"batch_sampler": [chosen[at : at + size] for at in range(0, len(chosen), size)]}
    return DataLoader(
        loader.dataset,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        prefetch_factor=loader.prefetch_factor,
        generator=generator("calibration workers"),
        **drawn,
    )


def _keys_of(loader: DataLoader) -> tuple[Sequence[Any], int | None]:
    """What the loader asks its data set for, in any order, and how many at once; None = one whole batch.

    A sampler that chooses some of the data is followed. One that shares the data among processes is not: all processes
    then draw the same sample of the whole.
    """
    sampler = _sampler_of(loader)
    if sampler is None:
        batches = [list(batch) for batch in loader.batch_sampler or ()]
        return sorted(itertools.chain.from_iterable(batches)), max(map(len, batches), default=1)
    # Whole by their kind; iterating over one of ours would count as an epoch.
    whole = isinstance(sampler, (SequentialSampler, RandomSampler, DistributedSampler))
    # Sorted, so that the sample does not depend on the order in which this pass goes through the data.
    return range(len(cast(Sized, loader.dataset))) if whole else sorted(sampler), getattr(
        loader.batch_sampler, "batch_size", None
    )


def _sampler_of(loader: DataLoader) -> Iterable[Any] | None:
    """What gives the loader its order, one by one; None for batches of a kind of their own."""
    if loader.batch_sampler is None:
        return loader.sampler
    # A loader that was given batches has a sampler too, which it does not use.
    return loader.batch_sampler.sampler if isinstance(loader.batch_sampler, BatchSampler) else None


def _calibrate(
    model: nn.Module, norms: list[_BatchNorm], batches: list[Any], forward: Forward, device: torch.device
) -> None:
    """Replace BatchNorm's running statistics by those of all samples of some batches, and return to eval mode.

    Every forward leaves the statistics of its batch, and mean and mean square are pooled over the samples. The mean of
    the batches' variances, which a cumulative average or ``torch.optim.swa_utils.update_bn`` gives, lacks what the
    batches' means differ by.
    """
    sizes = [len(index_and_sample(batch)[0]) for batch in batches]
    pooled = [_Pooled(norm) for norm in norms]
    for norm in norms:
        norm.momentum = 1.0  # the running statistics are the newest batch's
        norm.train()
    try:
        for batch, size in zip(batches, sizes, strict=True):
            if size == max(sizes):  # a last batch of a few samples, or of one, has no statistics worth having
                forward(model, to_device(index_and_sample(batch)[1], device))
    finally:
        for part in pooled:
            part.handle.remove()
    for norm, part in zip(norms, pooled, strict=True):
        part.write(norm)
        norm.eval()


class _Pooled:
    """Mean and variance of everything that one BatchNorm layer is shown, from the statistics of each forward."""

    def __init__(self, norm: _BatchNorm):
        self.count = 0
        self.sums: Tensor | None = None  # of the values and of their squares, per channel
        self.handle = norm.register_forward_hook(self._add)

    def _add(self, norm: _BatchNorm, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if norm.running_mean is None:
            return
        values = inputs[0]
        count = values.numel() // values.shape[1]
        assert norm.running_var is not None  # a layer keeps both or neither
        mean, variance = widened(norm.running_mean), widened(norm.running_var)
        square = variance * ((count - 1) / count) + mean**2  # the running variance is the unbiased one
        sums = count * torch.stack((mean, square))
        self.count, self.sums = self.count + count, sums if self.sums is None else self.sums + sums

    def write(self, norm: _BatchNorm) -> None:
        """Make the pooled statistics the layer's own."""
        if self.sums is None or norm.running_mean is None or norm.running_var is None:
            return
        mean, square = self.sums / self.count
        variance = (square - mean**2).clamp(min=0) * (self.count / max(self.count - 1, 1))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


def _trained_norms(model: nn.Module) -> list[_BatchNorm]:
    """BatchNorm layers whose statistics follow the data: not those that a network in training keeps in eval mode."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in norms if norm.training or not model.training]


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
