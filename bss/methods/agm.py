"""Adaptive gradient modulation (AGM): a modality is slowed down where it leads by more than it used to."""

import contextlib
import functools
import math
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.methods.base import TwoStageMethod
from bss.models.late_fusion import Decode, Logits, decoding
from bss.models.modes import evaluating
from bss.scoring.formulas import weighted_loss
from bss.scoring.imbalance import Coalition, masked, shapley_shares
from bss.scoring.table import ScoreTable
from bss.utils import distributed
from bss.utils.devices import widened, widest_float

WORST = -math.log(1e-8)
"""The largest cross entropy of a sample that counts (run/CREMAD_main.py:133-141 of the released code)."""


def coefficients(score_M: Tensor, mean_M: Tensor, *, alpha: float, limit: float) -> Tensor:
    """By what the gradient of each modality's response is multiplied: below 1 for one that leads more than before.

    ``r_m = exp(M / (M - 1) * (mean of all s - s_m))``, which for two modalities is ``exp(s_other - s_m)``, and
    ``k_m = exp(alpha * min(r_m of the means - r_m of the scores, limit))``. Source: run/CREMAD_main.py:145-152 for two
    modalities and run/URFunny_main.py:117-130 for three (lihong2303/AGM_ICCV2023 @5a65542).

    Args:
        score_M: cross entropy of each modality's response, mean over the batch; small = ahead. Two modalities or more.
        mean_M: the same over the steps before.
        alpha: strength, > 0.
        limit: of the difference of the ratios, > 0.

    Returns:
        (M,) positive.
    """
    scale = len(score_M) / (len(score_M) - 1)
    ratio_M, usual_M = (torch.exp(scale * (values.mean() - values)) for values in (score_M, mean_M))
    return torch.exp(alpha * (usual_M - ratio_M).clamp(max=limit))


class AGM(TwoStageMethod):
    """The fused logits are split into the modalities' responses, and each response's gradient has a factor of its own.

    A modality's response is its Shapley value of the fused logits: for two ``(z(ab) - z(b) + z(a)) / 2``, where z(S)
    has zeros for the features of the modalities outside S, and z of none counts as 0. The responses add up to the fused
    logits, so the loss is the recipe's; on the way back each is multiplied by its factor of :func:`coefficients`. With
    concatenated features and a linear head that multiplies the fused loss's gradient of each encoder, and of each part
    of the head, by the modality's factor. Any number of modalities, at 2 ** M - 1 runs of the heads in every step.

    Source: Li et al., "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV 2023, of which
    only the abstract could be read: the formulas are those of the released code, model/CREMAD_net.py:7-72 and
    run/CREMAD_main.py:126-166 and 233-243, for three modalities model/URFunny_net.py:6-31 (lihong2303/AGM_ICCV2023
    @5a65542). Differences: there the inputs are zeroed, here the features, so that no encoder runs twice; there the
    loss is the fused head's alone, here the recipe's, whose unimodal parts are not modulated; there modulation ends
    with an epoch (20 by default), here it does not. As there, the decodings with zeros run in eval mode.

    Args:
        alpha: strength; the released default is 1, and its README has 2.5 for AV-MNIST.
        limit: see :func:`coefficients`; the released code has 10 for two modalities and 7 for three.
        clip: where an entry of the fusion's gradient is larger than this, all gradients are scaled down to it as their
            common norm; the released code has 1 (and looks at the weights of the fused head's linear layer).
    """

    def __init__(self, *, alpha: float = 1.0, limit: float = 10.0, clip: float = 1.0):
        for name, value in {"alpha": alpha, "limit": limit, "clip": clip}.items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number > 0, got {value}")
        self.alpha, self.limit, self.clip = alpha, limit, clip
        self.shares: dict[Coalition, dict[str, float]] = {}
        self.step = 0  # of the run
        self.means_M = torch.empty(0)  # of the scores of the steps so far
        # Of the step under way.
        self.target = torch.empty(0)
        self.responses: dict[str, Tensor] = {}
        self.factors_M = torch.empty(0)

    @override
    def settings(self) -> dict[str, object]:
        return {"alpha": self.alpha, "limit": self.limit, "clip": self.clip}

    @override
    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        super().begin_run(table, model)
        self.shares = shapley_shares(self.network.encoders)
        device = table.loss.device
        self.means_M = torch.zeros(len(self.network.encoders), dtype=widest_float(device), device=device)

    @override
    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        self.target = batch["label"]
        return batch

    @override
    def around_forward(self) -> contextlib.AbstractContextManager[None]:
        return decoding(self.network, self._decode)

    def _decode(self, decode: Decode, features_BD: Mapping[str, Tensor]) -> Logits:
        """The logits, with the fused ones made of responses whose gradients are modulated."""
        whole = decode(features_BD)
        zeros_D = {name: torch.zeros_like(features[0]) for name, features in features_BD.items()}
        fused: dict[Coalition, Tensor] = {frozenset(features_BD): whole.fused.float()}
        # As released; and batch statistics and dropout are of the network as it is, not of its masked inputs.
        assert isinstance(self.network, nn.Module)
        with evaluating(self.network):
            for kept in self.shares:
                if kept not in fused:
                    fused[kept] = decode(masked(features_BD, kept, zeros_D)).fused.float()
        responses = {
            name: functools.reduce(operator.add, (share[name] * fused[kept] for kept, share in self.shares.items()))
            for name in features_BD
        }
        self.responses = {name: response.detach() for name, response in responses.items()}
        for number, response in enumerate(responses.values()):
            if response.requires_grad:
                response.register_hook(functools.partial(self._modulated, number))
        return Logits(functools.reduce(operator.add, responses.values()), whole.unimodal)

    def _modulated(self, number: int, gradient: Tensor) -> Tensor:
        return gradient * self.factors_M[number].to(gradient.dtype)

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The recipe's loss.

        Raises:
            RecipeError: the fused head has no part in it, so that there is nothing to modulate.
        """
        self.require_weights({"fused": weights["fused"]})
        return weighted_loss(losses, weights)

    def backward(self, loss_B: Tensor, losses: Mapping[str, Tensor], model: nn.Module) -> None:
        """Fill the gradients; the factors are equal on all processes, whose batches count as one."""
        sums = [
            nn.functional.cross_entropy(widened(response), self.target, reduction="none").clamp(max=WORST).sum()
            for response in self.responses.values()
        ]
        count = torch.full_like(sums[0], float(len(self.target)))
        totals = distributed.total(torch.stack([*sums, count]))
        score_M, self.means_M = totals[:-1] / totals[-1], self.means_M.to(totals)  # moves once: a loaded state
        self.factors_M = coefficients(score_M, self.means_M, alpha=self.alpha, limit=self.limit)
        self.means_M = (self.means_M * self.step + score_M) / (self.step + 1)
        self.step += 1
        loss_B.mean().backward()

    @torch.no_grad()
    def after_backward(self, model: nn.Module, logits: Logits, target: Tensor) -> None:
        """Clip the gradients where those of the fusion are large; nothing here waits for the device."""
        apart = [*self.network.encoders.values(), *getattr(self.network, "heads", {}).values()]
        others = {parameter for part in apart for parameter in part.parameters()}
        gradients = {each: each.grad for each in model.parameters() if each.grad is not None}
        of_fusion = [gradient.abs().max() for each, gradient in gradients.items() if each not in others]
        if of_fusion:
            norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
            factor = torch.where(torch.stack(of_fusion).max() > self.clip, (self.clip / norm).clamp(max=1), 1.0)
            for gradient in gradients.values():
                gradient.mul_(factor)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps so far, and the mean scores."""
        return {"step": self.step, "means": self.means_M}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.step, self.means_M = state["step"], state["means"]
