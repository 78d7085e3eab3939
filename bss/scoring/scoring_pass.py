"""The scoring pass: every sample of a data set is scored with the network as it is."""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bss.data.batches import to_device
from bss.data.indexed import check_numbering, index_and_sample
from bss.models.late_fusion import Logits
from bss.models.modes import device_of, flags_kept, logits_and_target
from bss.models.precision import autocast
from bss.scoring.formulas import check_choice
from bss.scoring.table import ScoreTable
from bss.utils.choices import Precision, ScoringMode
from bss.utils.errors import TrainingError
from bss.utils.progress import ProgressBar
from bss.utils.random_states import random_state_kept

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
            :func:`bss.scoring.criteria.feature_scores`.
        precision: of the network's forward, see :func:`autocast`.
        progress: label of a progress bar; None = no bar.

    Raises:
        ValueError: an unknown mode, or a loader whose data set is no :class:`bss.IndexedDataset`.
        TrainingError: a last batch of one sample that BatchNorm refuses, in ``"train"`` mode; it is a ValueError too.
    """
    check_choice("mode", mode, ScoringMode)
    check_numbering(getattr(loader, "dataset", None))
    if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        model = model.module  # the DDP wrapper would demand equal step counts on all ranks
    device = device_of(model)
    run = forward or logits_and_target

    def forward(model: nn.Module, batch: Any) -> tuple[Logits, Tensor]:
        with autocast(device, precision):
            return run(model, batch)

    def score(batch: Any) -> None:
        index, batch = index_and_sample(batch)
        if scores is not None:
            with autocast(device, precision):
                similarity, loss = scores(model, to_device(batch, device))
            table.update(index, similarity=similarity, loss=loss)
            return
        logits, target = forward(model, to_device(batch, device))
        table.update(index, unimodal=logits.unimodal, fused=logits.fused, target=target.to(device))

    with flags_kept(model), random_state_kept(device), ProgressBar(loader, progress) as bar:
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
    missing = (~table.synchronize(scoring_pass=True)).nonzero().squeeze(1).tolist()
    if missing:
        shown = ", ".join(map(str, missing[:5])) + (" ..." if len(missing) > 5 else "")
        warnings.warn(
            f"the scoring pass left out {len(missing)} of {table.num_samples} samples (indices {shown}), which keep "
            "their older score, if they have one: give it a loader of the whole training set, with drop_last=False",
            stacklevel=3,  # over the frame of no_grad
        )


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
            forward(model, to_device(index_and_sample(batch)[1], device))
    for norm in norms:
        norm.eval()


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
