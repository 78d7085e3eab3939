"""From samples to a batch on the device, and from a sample to what a person can look at."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from bss.utils.devices import copied, made_on_cpu
from bss.utils.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a person can read, see or hear of one modality of a sample: one of the three.

    Attributes:
        text: to be read.
        pixels: (H, W) grey or (H, W, 3) RGB, uint8.
        waveform_T: (T,) floats in [-1, 1].
        sample_rate: of the waveform, in Hz.
    """

    text: str | None = None
    pixels: np.ndarray | None = None
    waveform_T: np.ndarray | None = None
    sample_rate: int | None = None


class Content(ABC):
    """One modality of a sample in its own size, as it lies in memory; a batch is made of several by padding.

    Nothing is copied before that, so a crop or a slice of a memory map costs its own bytes, once.
    """

    @classmethod
    @abstractmethod
    def batch(cls, contents: Sequence[Self]) -> dict[str, Tensor]:
        """The contents of B samples as tensors, (B, ...) each; what is padded is zero."""

    def preview(self) -> Preview | None:
        """What a report shows of it; None, which a kind of content may leave it at, shows nothing."""
        return None


def collate(samples: Sequence[Any]) -> Any:
    """Make a batch of samples whose modalities may be :class:`Content`: the ``collate_fn`` of a ``DataLoader``.

    Returns:
        For dict samples a dict: of each modality the tensors of :meth:`Content.batch`, anything else stacked as torch
        does, floats in torch's default type (:func:`as_input`). For other samples what torch does.

    Raises:
        DataError: samples, or modalities of dict samples, that are None; dict samples that do not all have the same
            keys. The sample and the key that it lacks are named.
    """
    with made_on_cpu():
        return _collated(samples)


def _collated(samples: Sequence[Any]) -> Any:
    if any(sample is None for sample in samples):
        raise DataError(
            "a sample is None: leave such samples out in a collate_fn of your own, collate([s for s in samples if s is "
            "not None])"
        )
    if not isinstance(samples[0], Mapping):
        return default_collate(samples)
    names = list(dict.fromkeys(itertools.chain(*samples)))
    for name in names:
        for place, sample in enumerate(samples):
            if sample.get(name) is None:
                raise DataError(
                    f"{_called(sample, place)} {'has None as' if name in sample else 'lacks'} {name!r}: a sample that "
                    "lacks a modality gives something in its place, such as zeros of the same shape"
                )
    batch = {}
    for name in names:
        values = [sample[name] for sample in samples]
        first = values[0]
        batch[name] = type(first).batch(values) if isinstance(first, Content) else _stacked(values)
    return batch


def _called(sample: Mapping[Any, Any], place: int) -> str:
    """A sample of a batch, by its index in the data set where it has one (:data:`bss.data.INDEX_KEY`)."""
    return f"sample {sample['bss_index']}" if "bss_index" in sample else f"the sample at place {place} of a batch"


def _stacked(values: Sequence[Any]) -> Any:
    stacked = default_collate(values)
    return as_input(stacked) if isinstance(stacked, Tensor) else stacked


def as_input(values: Tensor) -> Tensor:
    """Floats in torch's default type, in which networks are made; numbers of other kinds as they are.

    NumPy's floats, and Python's, become float64 tensors, which no layer of a float32 network takes.
    """
    return values.to(torch.get_default_dtype()) if values.is_floating_point() else values


def preview_of(value: Any) -> Preview | None:
    """What a report shows of a modality of one sample, as its data set returns it; None if that is nothing.

    Of tensors, those are shown that can be a picture: (H, W), (1, H, W), (3, H, W), the middle frame of (C, T, H, W),
    and the length of the vectors of an optical flow, (2, H, W) or (2, T, H, W). Their numbers are spread to the range
    of a screen, which undoes a normalisation but for the contrast. A hundredth at either end is cut, so that a few
    outliers do not leave all else grey.
    """
    if isinstance(value, Content):
        return value.preview()
    if not isinstance(value, Tensor) or value.dim() < 2 or value.is_complex():
        return None
    if value.dim() == 4:  # (C, T, H, W)
        value = value[:, value.shape[1] // 2]
    if value.dim() == 3 and value.shape[0] == 2:  # optical flow
        value = value.float().norm(dim=0)
    value = value.squeeze()
    if value.dim() == 3 and value.shape[0] == 3:
        value = value.permute(1, 2, 0)
    elif value.dim() != 2:
        return None
    array = value.float().cpu().numpy()
    low, high = np.percentile(array, (1, 99))
    if low == high:  # a few strokes on an empty ground
        low, high = array.min(), array.max()
    return Preview(pixels=(((array - low) / max(high - low, 1e-12)).clip(0, 1) * 255).round().astype(np.uint8))


def batch_zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Zeros to write a batch into; in a loader's worker process they lie where the parent finds them without a copy.

    What is not written to costs nothing here: the system hands out zeroed pages when they are first touched.
    """
    if get_worker_info() is None:
        return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)  # as torch's own collate does
    return torch.empty(0, dtype=dtype, device="cpu").set_(storage, 0, tuple(shape))


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a dict, tuple or list."""
    if isinstance(batch, Tensor):
        return copied(batch, device)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def in_parts(batch: Any, sizes: Sequence[int]) -> list[Any]:
    """A batch as the batches of its first samples, the samples after them, and so on: views, not copies.

    Args:
        batch: a dict of what :func:`collate` makes: tensors (B, ...), and lists of B texts or numbers.
        sizes: of the parts, B together.

    Raises:
        DataError: a tensor or a list that has not one entry for each sample (named).
    """
    if len(sizes) == 1:
        return [batch]
    return _in_parts(batch, sizes, "the batch")


def _in_parts(value: Any, sizes: Sequence[int], name: str) -> list[Any]:
    if isinstance(value, Mapping):
        cut = {key: _in_parts(each, sizes, str(key)) for key, each in value.items()}
        return [{key: parts[place] for key, parts in cut.items()} for place in range(len(sizes))]
    if isinstance(value, (list, tuple)) and any(isinstance(each, (Tensor, Mapping, list, tuple)) for each in value):
        entries = [_in_parts(each, sizes, name) for each in value]  # torch's collate of samples' lists
        return [type(value)(parts[place] for parts in entries) for place in range(len(sizes))]
    count = sum(sizes)
    if not isinstance(value, (Tensor, list, tuple)) or (isinstance(value, Tensor) and not value.ndim):
        found = f"a {type(value).__name__}"
    elif len(value) != count:
        found = f"{len(value)} entries"
    else:
        return [value[end - size : end] for size, end in zip(sizes, itertools.accumulate(sizes), strict=True)]
    raise DataError(f"{name} has {found} for a batch of {count} samples, so it cannot be cut: set accumulate=1")
