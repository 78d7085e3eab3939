"""MMPareto: where the fused and a unimodal loss pull an encoder apart, take the direction that serves both."""

import functools
import operator
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.methods.base import TwoStageMethod
from bss.scoring.formulas import weighted_loss
from bss.scoring.table import ScoreTable
from bss.utils.devices import widest_float
from bss.utils.distributed import averaged


def pareto_weights(
    fused_square: Tensor, unimodal_square: Tensor, product: Tensor, *, gamma: float = 1.5
) -> tuple[Tensor, Tensor]:
    """By what to multiply the two gradients f (fused) and u (unimodal) of an encoder before they are added.

    Let ``a`` be 1/2 where ``f.u > 0``, else the weight of the shortest vector ``a f + (1 - a) u``, which has the same
    product with both, so that a step along it harms neither loss. The sum is ``gamma * lambda * 2 (a f + (1 - a) u)``
    with the lambda >= 1 that brings it to the length of ``f + u`` where it is shorter. Exactly opposite gradients have
    no such direction: the sum is zero.

    Source: Wei and Hu, ICML 2024; released code MMPareto.py:149-207 and min_norm_solvers.py
    (GeWu-Lab/MMPareto_ICML2024 @a339db3). There lambda is that of each weight tensor; here it is that of the whole
    encoder, since anything else would turn the common direction.

    Args:
        fused_square: f.f, ().
        unimodal_square: u.u, ().
        product: f.u, ().
        gamma: > 0; longer steps than those of plain joint training.

    Returns:
        Factors of f and of u, () each.
    """
    difference_square = fused_square - 2 * product + unimodal_square
    shortest = (unimodal_square - product) / difference_square
    # Both gradients are zero where the difference is: then the weight does not matter.
    weight = torch.where((product > 0) | (difference_square == 0), 0.5, shortest)
    factors = torch.stack((2 * weight, 2 * (1 - weight)))
    length_square = (factors.square() * torch.stack((fused_square, unimodal_square))).sum()
    length_square = length_square + 2 * factors.prod() * product
    wanted_square = fused_square + 2 * product + unimodal_square
    # What rounding leaves of opposite gradients is no direction, and is not stretched.
    possible = length_square > 1e-10 * (fused_square + unimodal_square)
    stretch = torch.where(possible, wanted_square / length_square, 1.0).clamp(min=1).sqrt()
    fused_factor, unimodal_factor = gamma * stretch * factors
    return fused_factor, unimodal_factor


class MMPareto(TwoStageMethod):
    """Each encoder follows both its losses by :func:`pareto_weights`; heads and fusion follow the recipe's loss.

    The losses are weighted as the recipe says (the paper's weights are all 1). Two backward passes, of the fused head
    and of all modalities' heads together: no unimodal loss reaches another encoder. Under DistributedDataParallel the
    gradients are averaged here, before they are compared. Any number of modalities.

    Source: Wei and Hu, "MMPareto: Boosting Multimodal Learning with Innocent Unimodal Assistance", ICML 2024.

    Args:
        gamma: see :func:`pareto_weights`; the default is the released code's.
    """

    def __init__(self, *, gamma: float = 1.5):
        if not 0 < gamma < float("inf"):
            raise ValueError(f"gamma must be a number > 0, got {gamma}")
        self.gamma = gamma
        self.weights: Mapping[str, float] = {}  # of the step under way

    @override
    def settings(self) -> dict[str, object]:
        return {"gamma": self.gamma}

    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        """See :meth:`TwoStageMethod.begin_run`.

        Raises:
            RecipeError: encoders that share weights, whose unimodal gradient would be that of several modalities.
        """
        super().begin_run(table, model)
        self.require_own_encoders()

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The recipe's loss.

        Raises:
            RecipeError: a head without a part in it.
        """
        self.require_weights(weights)
        self.weights = weights
        return weighted_loss(losses, weights)

    @override
    def backward(self, loss_B: Tensor, losses: Mapping[str, Tensor], model: nn.Module) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        parts = {name: self.weights[name] * loss.mean() for name, loss in losses.items()}
        fused_loss = parts.pop("fused")
        unimodal_loss = functools.reduce(operator.add, parts.values())
        # Materialized: zeros in the other kind of head.
        fused = torch.autograd.grad(
            fused_loss, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        unimodal = torch.autograd.grad(unimodal_loss, parameters, allow_unused=True, materialize_grads=True)
        gradients = dict(zip(parameters, zip(averaged(fused), averaged(unimodal), strict=True), strict=True))
        for parameter, (one, other) in gradients.items():
            parameter.grad = one + other
        for encoder in self.network.encoders.values():
            trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
            if trained:
                pairs = [gradients[parameter] for parameter in trained]
                squares = _dot((f, f) for f, _ in pairs), _dot((u, u) for _, u in pairs)
                fused_factor, unimodal_factor = pareto_weights(*squares, _dot(pairs), gamma=self.gamma)
                for parameter, (one, other) in zip(trained, pairs, strict=True):
                    parameter.grad = fused_factor.to(one.dtype) * one + unimodal_factor.to(one.dtype) * other


def _dot(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """The product of two vectors that lie in pieces, () in the widest float of the device."""
    return torch.stack([(one * other).sum(dtype=widest_float(one.device)) for one, other in pairs]).sum()
