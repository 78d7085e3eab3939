"""Training steps through torch.compile, without a change to the network's weights and their names."""

import contextlib
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bss.models.late_fusion import has_two_stages


def compile_network(model: nn.Module) -> Callable[[], None]:
    """Compile a LateFusion's encoders, each as one graph, or all of another model; returns what takes it back.

    They hold nearly all of the work; hooks and methods look at what comes after them. Modules without weights at the
    front of a sequence are left as they are written: they make a network's inputs of what a loader hands over, and of
    the crops of two batches no two have one shape.
    """
    parts = list(model.encoders.values()) if has_two_stages(model) else [model]
    before = [vars(part).get("forward") for part in parts]  # a wrapper's, where some library put one there
    for part, forward in zip(parts, before, strict=True):
        layers = list(part.children()) if type(part) is nn.Sequential and forward is None else []
        front = list(itertools.takewhile(lambda layer: next(layer.parameters(), None) is None, layers))
        if front:
            part.forward = _behind(front, torch.compile(nn.Sequential(*layers[len(front) :]).forward))
        else:
            part.forward = torch.compile(part.forward)

    def restore() -> None:
        for part, forward in zip(parts, before, strict=True):
            vars(part).pop("forward", None)
            if forward is not None:
                part.forward = forward

    return restore


def as_written() -> contextlib.AbstractContextManager:
    """Run compiled networks as they are written inside the block: every mode or size of batch would make a graph."""
    return torch.compiler.set_stance("force_eager")


def _behind(front: list[nn.Module], network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def forward(values: Tensor) -> Tensor:
        for layer in front:
            values = layer(values)
        return network(values)

    return forward
