"""From samples to a batch on the device."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info


class Content(ABC):
    """What a sample holds in its own size, as it lies in memory: a batch is made of several by padding.

    Nothing is copied before that, so a crop or a slice of a memory map costs its own bytes, once.
    """

    @classmethod
    @abstractmethod
    def batch(cls, contents: Sequence[Self]) -> dict[str, Tensor]:
        """The contents of B samples as tensors, (B, ...) each; what is padded is zero."""


def collate(samples: Sequence[Any]) -> Any:
    """What a ``DataLoader`` makes of samples whose modalities may be :class:`Content`; its ``collate_fn``.

    Returns:
        For dict samples a dict: of each modality the tensors of :meth:`Content.batch`, anything else stacked as torch
        does. For other samples what torch does.
    """
    if not isinstance(samples[0], Mapping):
        return default_collate(samples)
    batch = {}
    for name, first in samples[0].items():
        values = [sample[name] for sample in samples]
        batch[name] = type(first).batch(values) if isinstance(first, Content) else default_collate(values)
    return batch


def batch_zeros(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Zeros to write a batch into; in a loader's worker process they lie where the parent finds them without a copy.

    What is not written to costs nothing here: the system hands out zeroed pages when they are first touched.
    """
    if get_worker_info() is None:
        return torch.from_numpy(np.zeros(shape, str(dtype).removeprefix("torch.")))
    storage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)  # as torch's own collate does
    return torch.empty(0, dtype=dtype).set_(storage, 0, tuple(shape))


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a dict, tuple or list."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch
