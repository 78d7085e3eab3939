"""Numbers as callers have them: tensors, arrays, lists, NumPy's whole numbers."""

import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
import torch
from torch import Tensor

from bss.utils.errors import shown

Numbers = Tensor | np.ndarray | Sequence[object]
"""What :func:`as_tensor` takes: a tensor, an array, or a (nested) list or tuple of numbers."""


def as_tensor(name: str, values: Numbers) -> Tensor:
    """The tensor itself, or one on the CPU with the numbers of an array, a list, a tuple, a range, a column of pandas.

    An array is copied, so what its owner does to it later is not seen; its type stays: float64 is not rounded.

    Args:
        name: of the argument, for the message.
        values: any of these.

    Raises:
        ValueError: anything else, such as None, names, or rows of different lengths.
    """
    if isinstance(values, Tensor):
        return values
    try:
        if isinstance(values, list | tuple) and values and all(isinstance(value, Tensor) for value in values):
            return torch.stack(list(values))
        array = np.asarray(values)
        if array.dtype.kind == "u":
            array = array.astype(np.int64)  # torch can do little with unsigned numbers
        tensor = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
        return tensor.to(torch.get_default_dtype()) if _are_floats_of_python(values) else tensor
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{name} must be numbers, a tensor or what torch.as_tensor makes one of, got a {type(values).__name__}: "
            f"{shown(values)}"
        ) from error


def whole_number(name: str, value: SupportsIndex, least: int = 0) -> int:
    """A whole number of Python, NumPy or a tensor of one, as Python's ``int``.

    Raises:
        ValueError: another number than a whole one, or one below ``least``.
    """
    try:
        number = operator.index(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a whole number >= {least}, got {shown(value)}") from error
    if number < least:
        raise ValueError(f"{name} must be >= {least}, got {number}")
    return number


def _are_floats_of_python(values: object) -> bool:
    """Whether a nested list holds floats without a type of their own, which get torch's default one."""
    while isinstance(values, list | tuple) and values:
        values = values[0]
    return type(values) is float
