"""On-the-fly gradient modulation with generalisation enhancement (OGM-GE): slow down the modality that leads."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.methods.base import TwoStageMethod
from bss.models.late_fusion import Logits
from bss.scoring.formulas import weighted_loss
from bss.scoring.imbalance import true_class_probability
from bss.utils import distributed
from bss.utils.seeding import mixed_seed


def modulation(score: Mapping[str, Tensor], *, alpha: float) -> dict[str, Tensor]:
    """What each encoder's gradient is multiplied by: below 1 for a modality that is ahead of the others.

    ``rho_m = s_m / mean of the other modalities' s``; ``k_m = 1 - tanh(alpha * rho_m)`` where ``rho_m > 1``, else 1.
    Source: Peng et al., CVPR 2022, Eq. 10; for two modalities rho is the ratio of the paper, the mean over the others
    is our extension to more.

    Args:
        score: modality name -> () positive; the batch's sum of true-class probabilities.
        alpha: strength, > 0.

    Returns:
        Modality name -> (), in (0, 1].
    """
    total = sum(score.values())
    coefficient = {}
    for name, own in score.items():
        ratio = own * (len(score) - 1) / (total - own)
        coefficient[name] = torch.where(ratio > 1, 1 - torch.tanh(alpha * ratio), torch.ones_like(ratio))
    return coefficient


class OGMGE(TwoStageMethod):
    """Every encoder's gradient is scaled by how far its modality leads in the batch, and gets Gaussian noise.

    Source: Peng et al., "Balanced Multimodal Learning via On-the-Fly Gradient Modulation", CVPR 2022; released code
    main.py:105-150 (GeWu-Lab/OGM-GE_CVPR2022 @343dc1d), whose noise has each weight tensor's own deviation of the
    gradient before the modulation. Differences: the scores come from the modalities' own heads, which every fusion has
    (the released code cuts a linear fused head into parts); all weights of an encoder are modulated (there: those of
    2-D convolutions, its encoders are ResNets). Any number of modalities, see :func:`modulation`.

    Args:
        alpha: strength; the released README recommends 0.8 for CREMA-D and 0.1 for VGGSound.
        noise: the GE part; False is OGM.
        last_epoch: 0-based; the gradients of later epochs are left alone (released default 50).
        seed: of the noise, non-negative.
    """

    takes = ("seed",)

    def __init__(self, *, alpha: float = 0.8, noise: bool = True, last_epoch: int = 50, seed: int = 0):
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha must be a number > 0, got {alpha}")
        if last_epoch < 0:
            raise ValueError(f"last_epoch must be >= 0, got {last_epoch}")
        self.alpha, self.noise, self.last_epoch, self.seed = alpha, noise, last_epoch, seed
        self.epoch = 0
        self.step = 0  # of the run; each has its own stream of noise

    @override
    def settings(self) -> dict[str, object]:
        return {"alpha": self.alpha, "noise": self.noise, "last_epoch": self.last_epoch, "seed": self.seed}

    @override
    def begin_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The recipe's loss.

        Raises:
            RecipeError: a head that is not trained: its probabilities would say nothing of its modality.
        """
        self.require_weights({name: weight for name, weight in weights.items() if name != "fused"})
        return weighted_loss(losses, weights)

    @torch.no_grad()
    def after_backward(self, model: nn.Module, logits: Logits, target: Tensor) -> None:
        """Modulate the gradients; equal on all processes, whose batches count as one."""
        step, self.step = self.step, self.step + 1
        if self.epoch > self.last_epoch:
            return
        sums = torch.stack([true_class_probability(values, target).sum() for values in logits.unimodal.values()])
        score = dict(zip(logits.unimodal, distributed.total(sums), strict=True))
        coefficients = modulation(score, alpha=self.alpha)
        chance = torch.Generator(target.device).manual_seed(mixed_seed("gradient noise", self.seed, step))
        for name, encoder in self.network.encoders.items():
            for parameter in encoder.parameters():
                if parameter.grad is not None:
                    modulate(parameter.grad, coefficients[name], chance if self.noise else None)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps so far."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.step = state["step"]


def modulate(gradient: Tensor, coefficient: Tensor, chance: torch.Generator | None) -> None:
    """``g <- k g + n`` in place, where n is normal with mean 0 and the standard deviation of g's entries.

    Args:
        gradient: of one weight tensor.
        coefficient: k, ().
        chance: where n comes from, on the gradient's device; None = no noise.
    """
    deviation = gradient.std(correction=0)  # 0, not NaN, for a single entry
    gradient.mul_(coefficient)
    if chance is not None:
        gradient.add_(torch.randn(gradient.shape, generator=chance, device=gradient.device) * deviation)
