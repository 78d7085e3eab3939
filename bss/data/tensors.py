"""Samples whose modalities are tensors in memory: extracted features, spectrograms computed once, word ids."""

import contextlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bss.data.batches import as_input
from bss.data.indexed import Gather
from bss.data.rows import Row
from bss.data.splits import Listed, Splits
from bss.utils.errors import DataError, DataNotFoundError, shown
from bss.utils.names import check_modality_names


class TensorSamples(Dataset):
    """Rows of tensors as dict samples, the same at every access. A batch of them is one gather, not one per sample.

    Args:
        modalities: modality name -> (N, ...).
        labels_N: class ids.

    Attributes:
        random_views: False: a sample is not drawn anew when it is looked at again, see
            :class:`bss.data.indexed.SeededViews`.
        in_memory: True: nothing is read or decoded, so that processes to load it would only cost time.

    Raises:
        ValueError: a modality with another number of rows than there are labels.
    """

    random_views = False
    in_memory = True

    def __init__(self, modalities: Mapping[str, Tensor], labels_N: Tensor):
        rows = {name: len(values) for name, values in modalities.items()}
        if set(rows.values()) != {len(labels_N)}:
            raise ValueError(f"every modality needs a row for each of the {len(labels_N)} labels, got {rows}")
        self.modalities = dict(modalities)
        self.labels_N = labels_N

    def __len__(self) -> int:
        return len(self.labels_N)

    def listed_rows(self) -> list[Row]:
        """What is known of the samples; those with the same numbers are equal. About a second a gigabyte."""
        # As bytes: NumPy has no bfloat16.
        flat = (values.detach().cpu().reshape(len(self), -1).contiguous() for values in self.modalities.values())
        columns = [values.view(torch.uint8).numpy() for values in flat]
        contents = (tuple(hash(row.tobytes()) for row in rows) for rows in zip(*columns, strict=True))
        return [Row("", label, content) for label, content in zip(self.labels_N.tolist(), contents, strict=True)]

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        sample = {name: values[index] for name, values in self.modalities.items()}
        return {**sample, "label": int(self.labels_N[index])}

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor | int]]:
        rows = torch.tensor(indices, device="cpu")
        names = (*self.modalities, "label")
        columns = [values[rows].unbind() for values in self.modalities.values()]
        samples = zip(*columns, self.labels_N[rows].tolist(), strict=True)
        return [dict(zip(names, sample, strict=True)) for sample in samples]

    def gatherer(self) -> Gather:
        """See :func:`bss.data.indexed.gatherer_of`."""
        return self._gathered

    def _gathered(self, rows: Tensor) -> dict[str, Tensor]:
        # index_select, for its results have the strides of a stack of samples, whatever the tensors have.
        batch = {name: as_input(_selected(values, rows)) for name, values in self.modalities.items()}
        return {**batch, "label": _selected(self.labels_N, rows).long()}


def _selected(values: Tensor, rows: Tensor) -> Tensor:
    return values.index_select(0, rows.to(values.device))


def tensor_splits(
    modalities: Mapping[str, Tensor],
    labels_N: Tensor,
    *,
    train: Sequence[int],
    val: Sequence[int] | None,
    test: Sequence[int],
    names: Sequence[str],
    classes: tuple[str, ...],
) -> Splits:
    """The parts of one data set in memory.

    Args:
        modalities: modality name -> (N, ...), of all parts together. Floats of every precision become torch's default
            type (float32), as do bool and integers of less than 32 bits, such as pixels. Longer integers stay what they
            are, ids for an embedding.
        labels_N: class ids, integers in 0..C-1.
        train: rows of the training part, in 0..N-1; the scoring passes look at the same.
        val: rows of the validation part, or None.
        test: rows of the test part.
        names: of all N samples.
        classes: the C class names.

    Raises:
        DataError: a modality whose name is that of something else in a sample, such as ``"label"``; numbers of rows,
            labels and names that differ; a modality of complex numbers; a part that is empty or
            not made of row numbers; a row that is in two parts; a sample of a part with a label that is no class id, or
            a value that is not finite.
    """
    check_modality_names(modalities)
    labels_N = _class_ids(labels_N, classes)
    modalities = {name: _as_modality(name, values) for name, values in modalities.items()}
    counts = {name: len(values) for name, values in modalities.items()} | {"names": len(names)}
    if set(counts.values()) != {len(labels_N)}:
        raise DataError(f"every modality and the names need a row for each of the {len(labels_N)} labels, got {counts}")
    given = {"train": train, "validation": val, "test": test}
    parts = {part: _row_numbers(rows, part, len(names)) for part, rows in given.items() if rows is not None}
    # A row in two parts is leakage, and no later step could see it.
    owner: dict[int, str] = {}
    for part, index in parts.items():
        for row in index.tolist():
            if owner.setdefault(row, part) != part:
                raise DataError(f"sample {names[row]} is in the {owner[row]} part and in the {part} part")
    for row in _rows_where((labels_N < 0) | (labels_N >= len(classes)), owner):
        allowed = f"the {len(classes)} classes have the labels 0..{len(classes) - 1}"
        raise DataError(f"sample {names[row]} (row {row}) has the label {labels_N[row].item()}; {allowed}")
    # Rows that no part has may hold anything: a table often marks them by NaN.
    for name, values in modalities.items():
        finite_N = values.isfinite().reshape(len(values), values[0].numel()).all(dim=1)
        for row in _rows_where(~finite_N, owner):
            kind = str(values.dtype).removeprefix("torch.")
            raise DataError(
                f"sample {names[row]} (row {row}) has a non-finite {name} (as {kind}): mend it or leave the sample out"
            )

    def samples(part: str) -> TensorSamples:
        index = parts[part]
        return TensorSamples({name: values[index] for name, values in modalities.items()}, labels_N[index])

    def listed(part: str) -> Listed:
        return Listed([names[row] for row in parts[part].tolist()], labels_N[parts[part]])

    # Nothing is drawn at random in memory, so the scoring passes look at the very training samples.
    fitted = samples("train")
    return Splits(
        train=fitted,
        score=fitted,
        val=samples("validation") if val is not None else None,
        test=samples("test"),
        labels_N=fitted.labels_N,
        names=listed("train").names,
        classes=classes,
        listed={name: listed(part) for name, part in (("val", "validation"), ("test", "test")) if part in parts},
    )


_SHORT = (torch.bool, torch.uint8, torch.int8, torch.uint16, torch.int16)  # what no embedding takes for ids


def _as_modality(name: str, values: Tensor) -> Tensor:
    """A modality in a type that a network takes."""
    if not isinstance(values, Tensor):
        way = "torch.as_tensor(...)"
        if isinstance(values, np.ndarray):  # in any byte order, and rows in a list of objects
            values_of = f"np.stack(list({name}))" if values.dtype.hasobject else name
            way = f'torch.as_tensor({values_of}.astype("float32"))'
        raise DataError(f"modality {name} must be a tensor (N, ...), got {type(values).__name__}: pass {way}")
    if values.is_complex():
        raise DataError(
            f"modality {name} is {values.dtype}, and networks take real numbers: pass {name}.abs(), or "
            f"torch.view_as_real({name}) for real and imaginary parts"
        )
    if values.layout != torch.strided:
        raise DataError(f"modality {name} is a sparse tensor ({values.layout}): pass {name}.to_dense()")
    values = values.detach()
    return as_input(values.float() if values.dtype in _SHORT else values)


@contextlib.contextmanager
def whole_numbers_named(part: object) -> Iterator[None]:
    """Turn torch's error about types into one that names the modalities of integers, which are ids by this module.

    Args:
        part: the training part; other data sets than :class:`TensorSamples` have errors of their own.

    Raises:
        DataError: a layer got integers where it wants floats.
    """
    try:
        yield
    except RuntimeError as error:
        whole = {name: v.dtype for name, v in getattr(part, "modalities", {}).items() if not v.is_floating_point()}
        if not whole or not any(words in str(error) for words in ("type", "not implemented for")):
            raise
        names = ", ".join(f"{name} ({dtype})" for name, dtype in whole.items())
        raise DataError(
            f"the network does not take whole numbers, and these are no floats: {names}. They are handed on as ids for "
            "an embedding; of features pass values.float()"
        ) from error


def _class_ids(labels_N: Tensor, classes: Sequence[str]) -> Tensor:
    """The labels as int64, once they are known to be integers; their range is not looked at."""
    if not isinstance(labels_N, Tensor):
        raise DataError(
            f"labels_N must be a tensor of class ids, got {type(labels_N).__name__}: "
            "pass torch.tensor([classes.index(name) for name in ...]) of class names, torch.as_tensor(...) of numbers"
        )
    if labels_N.dim() != 1 or not _is_integer(labels_N):
        raise DataError(
            f"labels_N must be (N,) class ids, integers in 0..{len(classes) - 1}, got {tuple(labels_N.shape)} "
            f"{labels_N.dtype}: pass labels.long() if these are whole numbers, labels.argmax(dim=1) of one-hot rows"
        )
    return labels_N.long()


def _row_numbers(rows: Sequence[int], part: str, count: int) -> Tensor:
    """The rows of a part, (K,) int64 in 0..count - 1, K >= 1."""
    if len(rows) == 0:
        hint = ": pass val=None for no validation" if part == "validation" else ""
        raise DataError(f"the {part} part has no samples{hint}")
    try:
        index = torch.as_tensor(rows, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise DataError(f"the {part} part must be a list of row numbers in 0..{count - 1}, got {shown(rows)}") from None
    if index.dim() != 1 or not _is_integer(index):
        mask = ": pass mask.nonzero().flatten() of a mask" if index.dtype == torch.bool else ""
        raise DataError(
            f"the {part} part must be a list of row numbers in 0..{count - 1}, got {tuple(index.shape)} "
            f"{index.dtype}{mask}"
        )
    for row in index[(index < 0) | (index >= count)].tolist()[:1]:
        raise DataError(f"the {part} part has the row {row}, but the {count} samples have the rows 0..{count - 1}")
    return index.long()


def _rows_where(bad_N: Tensor, owner: Mapping[int, str]) -> list[int]:
    """The rows that are bad and in a part; what is in none does no harm."""
    return [row for row in bad_N.nonzero().flatten().tolist() if row in owner]


def _is_integer(values: Tensor) -> bool:
    return not (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool)


def standardized(values: Tensor, train: Sequence[int], *, by_column: bool) -> Tensor:
    """The values with mean 0 and standard deviation 1 over the training rows; what is constant there becomes 0.

    Args:
        values: (N, ...) of any type.
        train: the rows that mean and deviation are taken from.
        by_column: one mean and deviation for each position after the first axis, or one for all of them.

    Raises:
        DataError: complex numbers.
    """
    if values.is_complex():
        raise DataError("complex numbers are not standardized: pass values.abs(), or torch.view_as_real(values)")
    values = values.float()
    over = (0,) if by_column else tuple(range(values.ndim))
    deviation, mean = torch.std_mean(values[torch.as_tensor(train, device=values.device)], dim=over, correction=0)
    return (values - mean) / torch.where(deviation > 0, deviation, 1.0)


def read_arrays(path: Path, names: Sequence[str], *, title: str, advice: str) -> dict[str, np.ndarray]:
    """Arrays of a ``.npz`` file, in this machine's byte order, which torch wants.

    Args:
        path: the file; nothing in it is run.
        names: which arrays.
        title: the data set's name, for errors.
        advice: where the layout is described, for errors.

    Raises:
        DataNotFoundError: no such file.
        DataError: not such a file, or one without an array.
    """
    if not path.is_file():
        raise DataNotFoundError(f"{title}: there is no {path.name} under {path.parent}.\n{advice}")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in names if name not in file.files]
            if missing:
                raise DataError(f"{path}: no array {', '.join(missing)}; it has {', '.join(file.files)}.\n{advice}")
            arrays = {name: file[name] for name in names}
        return {name: array.astype(array.dtype.newbyteorder("="), copy=False) for name, array in arrays.items()}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: not a .npz file of arrays: {error}.\n{advice}") from error
