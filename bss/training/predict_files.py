"""What a trained network says of raw inputs: files that are in no list, and whose classes nobody knows.

The inputs go through ``prepare``, the fixed view of a test and the forward of the measuring, as those of a list do, so
that a clip gets the same answer however it comes.
"""

import contextlib
import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bss.data.batches import collate
from bss.data.degradation import Degraded, Fill, inputs, kind_of, stand_in
from bss.data.indexed import MapDataset
from bss.data.prepare.raw import RawInput, lacking, read_inputs, with_placeholders
from bss.models import precision
from bss.models.late_fusion import Logits, has_two_stages
from bss.recipes.fields import flatten, with_values
from bss.recipes.recipe import Recipe
from bss.scoring.heads import unimodal_heads
from bss.scoring.metrics import head_logits
from bss.training.epochs import ran_out_of_memory
from bss.training.load import Checkpoint, SavedRun, read_saved
from bss.training.loops import predict
from bss.training.run_folder import list_hash
from bss.utils.errors import (
    BssError,
    DataError,
    MemoryRanOutError,
    RecipeError,
    RunFolderError,
    first_line,
    shown,
    told_in_python,
)
from bss.utils.filesystem import whole_file

FILLS = get_args(Fill)
"""What may stand for a modality that an input lacks."""


COLUMNS = ("name", "head", "rank", "class", "probability", "missing")
"""Of a csv of predictions: a row for each input, head and rank."""


@dataclass(frozen=True, kw_only=True)
class FilePredictions:
    """What a network says of N raw inputs.

    Attributes:
        names: of the inputs, in their order.
        classes: class names, in the order of the columns.
        probabilities: head name (see :func:`bss.scoring.metrics.head_logits`) -> (N, C) float32, rows sum to 1; a row
            is NaN where the head has nothing to say of an input, because a modality of it was dropped.
        missing: modalities that each input lacks, for which something stands.
        features: modality -> (N, D) float32, what its head sees; empty for a network that does not tell.
    """

    names: Sequence[str]
    classes: tuple[str, ...]
    probabilities: Mapping[str, np.ndarray]
    missing: Sequence[tuple[str, ...]]
    features: Mapping[str, np.ndarray]

    def ranked(self, head: str, number: int, topk: int) -> list[tuple[str, float]]:
        """The most probable classes of an input with their probabilities, the first class first where two are equal.

        Args:
            head: whose.
            number: of the input, from 0.
            topk: how many; at most as many as there are. None where the head has nothing to say.
        """
        row_C = self.probabilities[head][number]
        if np.isnan(row_C).any():
            return []
        order = np.argsort(-row_C, kind="stable")[:topk]
        return [(self.classes[place], float(row_C[place])) for place in order]


@told_in_python("predict_files", ("checkpoint", "task", "data_root", "missing", "device", "batch_size"))
def predict_files(
    run: str | os.PathLike[str],
    paths: Sequence[str | os.PathLike[str]],
    *,
    checkpoint: Checkpoint = "best",
    task: str | None = None,
    data_root: str | os.PathLike[str] | None = None,
    missing: Fill | None = None,
    device: torch.device | str = "cpu",
    batch_size: int | None = None,
) -> FilePredictions:
    """Let the network of a run, or of an exported folder, predict raw inputs.

    Args:
        run: the folder.
        paths: files, folders or one csv, see :func:`bss.data.prepare.raw.read_inputs`.
        checkpoint: see :func:`bss.load_run`.
        task: see :func:`bss.load_run`.
        data_root: see :func:`bss.load_run`: where a text model is looked for; and whose training inputs ``"mean"`` is
            of, which needs it.
        missing: what stands for a modality that an input lacks, see :data:`bss.data.degradation.Fill`. With ``"drop"``
            the prediction sums the heads of the modalities that are there, and the others are NaN. None = nothing may
            be lacking.
        device: where the network runs.
        batch_size: inputs at a time; None = the recipe's. It changes probabilities by rounding alone.

    Raises:
        RunFolderError, RecipeError, DataNotFoundError: see :func:`bss.load_run`; also for a task that takes no raw
            inputs.
        DataError: naming the file: an input that cannot be used or lacks something; no room to prepare them in.
        MemoryRanOutError: the device's memory does not hold a batch.
    """
    if missing is not None and missing not in FILLS:
        raise ValueError(f"missing must be one of {', '.join(FILLS)}, got {shown(missing)}")
    if batch_size is not None and batch_size < 1:
        raise RecipeError(f"--batch-size must be at least 1, got {batch_size}")
    if not paths:
        raise DataError("no inputs: name files, or a csv of them")
    saved = read_saved(run, checkpoint=checkpoint, task=task)
    if not hasattr(saved.task, "build_inputs") or not hasattr(saved.task, "INPUTS"):
        raise RecipeError(f"the task of {run} takes no raw inputs, since it does not define INPUTS and build_inputs")
    form, recipe, root = saved.task.INPUTS, saved.recipe, saved.root(data_root)
    given = read_inputs([Path(path) for path in paths], form)
    lacks = [lacking(raw, form, look=missing is not None) for raw in given]
    _check_lacking(given, lacks, form.modalities, missing, recipe)
    names = [raw.name for raw in given]
    model = saved.build(root).to(device)
    if recipe.channels_last:  # both as the run has measured it
        precision.to_channels_last(model)
    if recipe.precision == "bf16" and torch.device(device).type == "cpu" and precision.affected():
        precision.guard(model)
    with _made_room(), tempfile.TemporaryDirectory(prefix="bss-predict-") as temporary:
        folder = Path(temporary)
        readable = [with_placeholders(raw, lack, folder) for raw, lack in zip(given, lacks, strict=True)]
        samples = saved.task.build_inputs(recipe, root or Path.cwd(), readable, folder)
        if missing is not None and any(lacks):
            training = _training(saved, data_root) if missing == "mean" else None
            samples = _filled(samples, names, lacks, training, recipe)
        size = batch_size or recipe.batch_size
        loader: DataLoader[Any] = DataLoader(
            cast(Dataset[Any], samples),
            batch_size=size,
            collate_fn=collate,
            generator=torch.Generator(),  # or it would draw from the caller's stream
        )
        predicted = predict(
            model,
            loader,
            prediction=recipe.predicts_by,
            precision=recipe.precision,
            features=has_two_stages(model),
        )
    heads, classes = predicted.heads, saved.classes(root)
    outputs = next(iter(heads.values())).shape[1]
    if outputs != len(classes):
        raise RunFolderError(f"the network of {run} has {outputs} outputs, and its run {len(classes)} class names")
    if missing == "drop":
        heads = _without_dropped(heads, lacks, recipe)
    return FilePredictions(
        names=names,
        classes=classes,
        probabilities={name: values.float().softmax(dim=1).numpy() for name, values in heads.items()},
        missing=lacks,
        features={name: values.cpu().numpy() for name, values in predicted.share.features.items()},
    )


@contextlib.contextmanager
def _made_room() -> Iterator[None]:
    """Say in a line that the disk, or the memory, does not hold what is needed."""
    try:
        yield
    except BssError:
        raise
    except OSError as error:
        raise DataError(
            f"the inputs cannot be prepared in {tempfile.gettempdir()}: {error.strerror or error}; TMPDIR names "
            "another folder"
        ) from error
    except (RuntimeError, MemoryError) as error:
        if not ran_out_of_memory(error):
            raise
        raise MemoryRanOutError(
            f"memory ran out ({first_line(error, 150)}): a smaller --batch-size, or another --device"
        ) from error


def _check_lacking(
    given: Sequence[RawInput],
    lacks: Sequence[tuple[str, ...]],
    modalities: Mapping[str, object],
    missing: Fill | None,
    recipe: Recipe,
) -> None:
    """Refuse inputs that lack something for which nothing may stand, or of which nothing is left."""
    for raw, lack in zip(given, lacks, strict=True):
        if not lack:
            continue
        if missing is None:
            raise DataError(
                f"{raw.listed}: {raw.name} has no {' and no '.join(lack)}: give it, or say what stands for it "
                f"(--missing {'|'.join(FILLS)})"
            )
        if len(lack) == len(modalities):
            raise DataError(f"{raw.listed}: {raw.name} has none of {', '.join(modalities)}")
        if missing == "drop" and recipe.predicts_by in ("fused", *lack):
            raise RecipeError(
                f"--missing drop: the run predicts by the head {recipe.predicts_by}, which cannot do without "
                f"{lack[0]} of {raw.name}: --missing zero or mean"
            )


def _training(saved: SavedRun, data_root: str | os.PathLike[str] | None) -> MapDataset:
    """The training samples as a test sees them, of which ``--missing mean`` takes the mean.

    Raises:
        DataError: no data root is named, or its training list is not the run's.
    """
    if data_root is None:
        raise DataError("--missing mean is that of the training inputs: name the data set's folder (--data-root DIR)")
    recipe = saved.recipe
    if "cache" in flatten(recipe):
        recipe = with_values(recipe, {"cache": None})  # one pass is not worth a copy of all files
    data = saved.task.build_data(recipe, Path(data_root))
    known = (saved.config.get("lists") or {}).get("train", {}).get("hash")
    corrupted = (saved.config.get("corrupted") or {}).get("train")  # the list in the run has wrong labels then
    if known is not None and not corrupted and list_hash(data.names, data.labels_N.numpy()) != known:
        raise DataError(f"--data-root {data_root}: its training list is not the one that {saved.path} was trained on")
    return data.score


@dataclass(frozen=True)
class _Lacking:
    """A change of :class:`bss.data.degradation.Degraded`: something else stands for the input of some samples."""

    names: frozenset[str]
    instead: Callable[[Any], Any]

    def __call__(self, value: Any, name: str) -> Any:
        return self.instead(value) if name in self.names else value


def _filled(
    samples: MapDataset,
    names: Sequence[str],
    lacks: Sequence[tuple[str, ...]],
    training: MapDataset | None,
    recipe: Recipe,
) -> Degraded:
    """The samples with zeros, or the mean of the training inputs, for what each lacks."""
    size = flatten(recipe).get("image_size")
    changes = {}
    for modality in sorted({modality for lack in lacks for modality in lack}):
        kind = kind_of(samples, modality, size=size if isinstance(size, int) else None)
        fill: Fill = "zero" if training is None else "mean"
        instead = stand_in(kind, fill, () if training is None else inputs(training, modality))
        who = frozenset(name for name, lack in zip(names, lacks, strict=True) if modality in lack)
        changes[modality] = _Lacking(who, instead)
    return Degraded(samples, names, changes)


def _without_dropped(
    heads: Mapping[str, Tensor], lacks: Sequence[tuple[str, ...]], recipe: Recipe
) -> dict[str, Tensor]:
    """The logits with NaN for what depends on a dropped modality; the prediction sums the heads that are left."""
    changed = {name: values.clone() for name, values in heads.items()}
    own = unimodal_heads(heads)
    for row, lack in enumerate(lacks):
        if not lack:
            continue
        left = {name: values[row : row + 1] for name, values in own.items() if name not in lack}
        how = recipe.predicts_by if recipe.predicts_by in ("entropy", *left) else "unimodal"
        summed = head_logits(Logits(heads["fused"][row : row + 1], left), how)["all"]
        for name in ("fused", *lack):
            changed[name][row] = torch.nan
        changed["all"][row] = summed[0]
    return changed


# ---- files ---------------------------------------------------------------------------------------------------------


def as_csv(predicted: FilePredictions, topk: int) -> str:
    """The most probable classes of every input and head: :data:`COLUMNS`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, (name, lack) in enumerate(zip(predicted.names, predicted.missing, strict=True)):
        for head in predicted.probabilities:
            for rank, (label, probability) in enumerate(predicted.ranked(head, number, topk), start=1):
                writer.writerow((name, head, rank, label, repr(probability), "+".join(lack)))
    return text.getvalue()


def as_json(predicted: FilePredictions, topk: int) -> str:
    """The same as a list of inputs; a head that has nothing to say has an empty list."""
    content = [
        {
            "name": name,
            "missing": list(lack),
            "heads": {
                head: [
                    {"class": label, "probability": probability}
                    for label, probability in predicted.ranked(head, number, topk)
                ]
                for head in predicted.probabilities
            },
        }
        for number, (name, lack) in enumerate(zip(predicted.names, predicted.missing, strict=True))
    ]
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def as_text(predicted: FilePredictions, topk: int) -> str:
    """The same for a screen: a line for each input, and one below it for each head."""
    lines = []
    for number, (name, lack) in enumerate(zip(predicted.names, predicted.missing, strict=True)):
        lines.append(name + (f" (without {' and '.join(lack)})" if lack else ""))
        for head in predicted.probabilities:
            ranked = predicted.ranked(head, number, topk)
            said = ", ".join(f"{label} {probability:.3f}" for label, probability in ranked)
            lines.append(f"  {head:8} {said or 'left out'}")
    return "\n".join(lines)


WRITERS = {".csv": as_csv, ".json": as_json}
"""Suffix of a file of predictions -> what it holds."""


def check_target(path: Path, suffixes: Sequence[str]) -> None:
    """Refuse a file to be written that is there already, or of another kind, before anything is computed.

    Raises:
        DataError: it is.
    """
    if path.suffix.lower() not in suffixes:
        raise DataError(f"{path}: the name must end in {' or '.join(suffixes)}")
    if path.exists():
        raise DataError(f"{path} is there already, and stays as it is: name another file, or delete it")
    if path.parent.exists() and not path.parent.is_dir():
        raise DataError(f"{path}: {path.parent} is no folder")


def write_predictions(path: Path, predicted: FilePredictions, topk: int) -> None:
    """Write a csv or JSON file, whole; its suffix decides.

    Raises:
        DataError: it cannot be written.
    """
    content = WRITERS[path.suffix.lower()](predicted, topk).encode()
    _write(path, lambda temporary: temporary.write_bytes(content))


def write_embeddings(path: Path, predicted: FilePredictions) -> None:
    """Write the features as npz, whole: ``name`` (N,), and under each modality's name (N, D) float32.

    Raises:
        DataError: it cannot be written, or the network tells no features.
    """
    if not predicted.features:
        raise DataError("--embeddings: the network of this run tells no features: it has no encode and decode")
    arrays = {"name": np.array(predicted.names), **predicted.features}

    def write(temporary: Path) -> None:
        np.savez(temporary, allow_pickle=False, **arrays)

    _write(path, write)


def _write(path: Path, write: Any) -> None:
    try:
        with whole_file(path) as temporary:
            write(temporary)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
