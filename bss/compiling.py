"""Training steps through torch.compile, without a change to the network's weights and their names."""

import contextlib
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bss.models import LateFusion


def compile_network(model: nn.Module) -> None:
    """Compile a LateFusion's encoders, each as one graph, or all of another model; :func:`restore` takes it back.

    They hold nearly all of the work; hooks and methods look at what comes after them. Modules without weights at the
    front of a sequence are left as they are written: they make a network's inputs of what a loader hands over, and of
    the crops of two batches no two have one shape.
    """
    for part in _parts(model):
        layers = list(part.children()) if type(part) is nn.Sequential else []
        front = list(itertools.takewhile(lambda layer: next(layer.parameters(), None) is None, layers))
        if front:
            part.forward = _behind(front, torch.compile(nn.Sequential(*layers[len(front) :]).forward))
        else:
            part.forward = torch.compile(part.forward)


def restore(model: nn.Module) -> None:
    """Leave the network as it is written."""
    for part in _parts(model):
        vars(part).pop("forward", None)


def as_written(model: nn.Module) -> contextlib.AbstractContextManager:
    """Run a compiled network as it is written inside the block: every mode or size of batch would make a graph."""
    compiled = any("forward" in vars(part) for part in _parts(model))
    return torch.compiler.set_stance("force_eager") if compiled else contextlib.nullcontext()


def _parts(model: nn.Module) -> list[nn.Module]:
    return list(model.encoders.values()) if isinstance(model, LateFusion) else [model]


def _behind(front: list[nn.Module], network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(values: Tensor) -> Tensor:
        for layer in front:
            values = layer(values)
        return network(values)

    return forward
