"""What a device is and can do, asked of PyTorch rather than known by name: CUDA, Apple's mps, Intel's xpu, others."""

import contextlib
import functools
from typing import Any

import torch
from torch import Tensor


@functools.cache
def widest_float(device: torch.device) -> torch.dtype:
    """``torch.float64``, or ``torch.float32`` on a device that has none: Apple's, some of Intel's."""
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):  # mps: TypeError; xpu without fp64: RuntimeError
        return torch.float32
    return torch.float64


def widened(values: Tensor) -> Tensor:
    """The values in the widest floating-point type of their device, see :func:`widest_float`."""
    return values.to(widest_float(values.device))


def copied(values: Tensor, device: torch.device) -> Tensor:
    """The values on a device, without waiting for the copy where that is safe.

    CUDA takes pageable memory into a buffer of its own before the call returns. On mps the memory may be read after
    it was given back (pytorch#189690), which makes silently wrong inputs.
    """
    return values.to(device, non_blocking=device.type == "cuda")


def made_on_cpu() -> contextlib.AbstractContextManager[object]:
    """Inside the block new tensors lie on the CPU, also where a program has set another default device of PyTorch's.

    A draw with a CPU generator fails on another device, and one without a generator would not be the CPU's.
    """
    try:
        default = torch.get_default_device()
    except AttributeError:  # PyTorch 2.6 after set_default_device(None)
        return contextlib.nullcontext()
    # Only where it is needed: PyTorch's context looks at every call of its functions.
    return contextlib.nullcontext() if default.type == "cpu" else torch.device("cpu")


def accelerators() -> list[str]:
    """Names of the GPUs that PyTorch sees: ``["cuda:0", "cuda:1"]``, ``["mps"]``; empty where there is none."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if found is None:
        return []
    kind = found.type
    count = torch.accelerator.device_count()
    return [f"{kind}:{index}" for index in range(count)] if kind != "mps" else ["mps"]


def device_name(device: torch.device) -> str:
    """The model of a GPU where PyTorch tells it; else the device itself: ``"cpu"``, ``"mps:0"``."""
    ask = getattr(_module(device), "get_device_name", None)
    return str(device) if ask is None else ask(device)


def wait_for(device: torch.device) -> None:
    """Return when all that was asked of the device is done."""
    if device.type != "cpu":
        _module(device).synchronize()


def seed_generator(device: torch.device, seed: int) -> None:
    """Seed the device's own random generator; the CPU's is torch's default one, which is left alone."""
    if device.type != "cpu":
        _module(device).manual_seed(seed)


def generator_state(device: torch.device) -> Tensor | None:
    """The state of the device's own random generator; None for the CPU, whose generator is torch's default one."""
    if device.type == "cpu":
        return None
    return _module(device).get_rng_state(*_place(device))


def set_generator_state(device: torch.device, state: Tensor) -> None:
    """Continue from :func:`generator_state`."""
    _module(device).set_rng_state(state, *_place(device))


def _place(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)  # there is one, and its functions take no device (torch 2.11)


def _module(device: torch.device) -> Any:
    return None if device.type == "cpu" else torch.get_device_module(device)
