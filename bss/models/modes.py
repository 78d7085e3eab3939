"""How a network is run: on which device, and in which mode, with its training flags left as found."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from bss.models.late_fusion import Logits
from bss.utils.names import TAKEN, check_modality_names


def logits_and_target(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Logits, Tensor]:
    """Logits of all heads and the target of a dict batch: how a batch is run unless told otherwise.

    Raises:
        DataError: a modality's head that has another head's name (``"fused"``).
    """
    logits = model(batch)
    if not TAKEN.isdisjoint(logits.unimodal):
        check_modality_names(logits.unimodal)
    return logits, batch["label"]


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's first parameter, else of its first buffer; the CPU where it has neither."""
    held = next(itertools.chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if held is None else held.device


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; the training flags are left as found."""
    with flags_kept(model):
        model.eval()
        yield


def frozen_parts(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a network that are frozen on purpose, by name: no parameter is trained, and all is in eval mode.

    Of parts within parts the outermost is named. What has no parameters, such as a dropout, is frozen only within one.
    """
    frozen: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        within = any(name.startswith(f"{outer}.") or outer == "" for outer in frozen)
        parameters = list(module.parameters())
        trained = any(parameter.requires_grad for parameter in parameters)
        if parameters and not within and not trained and not any(part.training for part in module.modules()):
            frozen[name] = module
    return frozen


def train_mode(model: nn.Module) -> None:
    """Put a network into training mode, but for its :func:`frozen_parts`: their statistics and dropout stay still."""
    frozen = frozen_parts(model)
    model.train()
    for module in frozen.values():
        module.eval()


@contextlib.contextmanager
def spared(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Inside the block no forward keeps a graph for the sake of these parameters; frozen ones stay so behind it."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


@contextlib.contextmanager
def flags_kept(model: nn.Module) -> Iterator[None]:
    """Restore every module's training flag; parts of a network may be frozen in eval mode on purpose."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training
