"""What a trained network says of a part of a data set: every sample once, with names for samples and classes."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bss.data.parts import Part, class_ids
from bss.models import precision
from bss.recipes.recipe import Recipe
from bss.training.epochs import ran_out_of_memory
from bss.training.load import LoadedRun
from bss.training.loaders import Loaders
from bss.training.loops import predict
from bss.training.run import Run
from bss.utils import distributed
from bss.utils.errors import DataError, MemoryRanOutError, RunFolderError, first_line


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What one set of weights says of N samples.

    Attributes:
        names: of the samples.
        classes: class names of the network; ids are positions in them.
        truth_N: class ids.
        logits: head name (see :func:`bss.scoring.metrics.head_logits`) -> (N, C) float32, on the CPU.
    """

    names: Sequence[str]
    classes: tuple[str, ...]
    truth_N: np.ndarray
    logits: Mapping[str, Tensor]


def predict_part(
    loaded: LoadedRun, part: Part, *, device: torch.device, workers: int = 0, progress: str | None = None
) -> Predictions:
    """Let a trained network predict every sample of a part, as the final test of its run does.

    Batches have the recipe's size and the forward has the recipe's precision, so that on the run's own test set and
    device the logits are those that its summary was made of. Under torchrun every process predicts its share, and all
    get the whole. Class ids of the part become those of the network by the names of the classes.

    Args:
        loaded: the network; it is moved to the device.
        part: the samples.
        device: where the network runs.
        workers: processes that load data; 0 = this one.
        progress: label of a progress bar; None = no bar.

    Raises:
        DataError: a sample of a class that the network does not know, or a file that cannot be read.
        RunFolderError: the network has not as many outputs as the run has classes.
        NotFiniteError: logits that are not finite.
        MemoryRanOutError: memory ran out.
    """
    ids = class_ids(part.classes, loaded.classes)
    if part.labels_N is not None:
        _check_classes(part, part.labels_N.numpy(), ids)
    if len(part) < distributed.world_size():
        raise DataError(f"the {part.title} part has {len(part)} samples for {distributed.world_size()} processes")
    recipe, run = loaded.recipe, Run(Path(), Path(), device, workers=workers)
    with _memory_ran_out(recipe), _laid_out(loaded.model.to(device), recipe, device) as model:
        loader = Loaders(run, recipe.batch_size, recipe.seed, [part.samples]).measuring(part.samples)
        predicted = predict(model, loader, prediction=recipe.predicts_by, precision=recipe.precision, progress=progress)
    outputs = next(iter(predicted.heads.values())).shape[1]
    if outputs != len(loaded.classes):
        raise RunFolderError(f"the network has {outputs} outputs, and its run {len(loaded.classes)} class names")
    target_N = predicted.target.numpy()
    _check_classes(part, target_N, ids)
    return Predictions(names=part.names, classes=loaded.classes, truth_N=ids[target_N], logits=predicted.heads)


def _check_classes(part: Part, labels_N: np.ndarray, ids: np.ndarray) -> None:
    """Refuse samples of a class that the network does not know."""
    strange = np.flatnonzero(ids[labels_N] < 0)
    if strange.size:
        first = int(strange[0])
        named = sorted({part.classes[label] for label in labels_N[strange].tolist()})
        raise DataError(
            f"{strange.size} samples of the {part.title} part are of a class that the network was not trained on "
            f"({', '.join(named[:5])}{' ...' if len(named) > 5 else ''}), the first is {part.names[first]}: leave them "
            "out of the list"
        )


@contextlib.contextmanager
def _laid_out(model: nn.Module, recipe: Recipe, device: torch.device) -> Iterator[nn.Module]:
    """The network as the run has measured it: in its layout, and kept from what its precision cannot do here."""
    if recipe.channels_last:
        precision.to_channels_last(model)
    guarded = recipe.precision == "bf16" and device.type == "cpu" and precision.affected()
    remove = precision.guard(model) if guarded else lambda: None
    try:
        yield model
    finally:
        remove()


@contextlib.contextmanager
def _memory_ran_out(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise MemoryRanOutError(
            f"memory ran out ({first_line(error, 150)}):\nadd --set batch_size={max(recipe.batch_size // 2, 2)}, or "
            "another --device"
        ) from error
