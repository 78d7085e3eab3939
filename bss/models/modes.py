"""How a network is run: on which device, and in which mode, with its training flags left as found."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from bss.models.late_fusion import Logits


def logits_and_target(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Logits, Tensor]:
    """Logits of all heads and the target of a dict batch: how a batch is run unless told otherwise."""
    return model(batch), batch["label"]


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's first parameter."""
    return next(model.parameters()).device


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; the training flags are left as found."""
    with flags_kept(model):
        model.eval()
        yield


@contextlib.contextmanager
def flags_kept(model: nn.Module) -> Iterator[None]:
    """Restore every module's training flag; parts of a network may be frozen in eval mode on purpose."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training
