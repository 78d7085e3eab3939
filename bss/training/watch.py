"""Gradients and features of some training steps: how hard each modality is being trained."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bss.models.late_fusion import has_two_stages
from bss.scoring.imbalance import Features, mean_of, sum_and_count
from bss.utils import distributed
from bss.utils.devices import widened

WATCHED_EVERY = 4
"""Training steps from one look of :class:`TrainingWatch` to the next."""


# ---- while it trains -----------------------------------------------------------------------------------------------


def gradient_ratio(norm: Mapping[str, float | None]) -> float | None:
    """Largest over smallest gradient norm of the encoders, >= 1; None if one of them is missing, 0 or not finite."""
    values = [value for value in norm.values() if value is not None and math.isfinite(value) and value > 0]
    if len(values) < max(2, len(norm)):
        return None
    return max(values) / min(values)


class TrainingWatch:
    """Looks at every :data:`WATCHED_EVERY`-th step of an epoch: the gradients' norms and the features' mean.

    It costs no pass and no wait for the device. The gradients are those of the step just before the optimiser uses
    them, so after what a method and ``clip_norm`` do to them; the features are those of the step's own forward, in
    training mode. An epoch's means are over the steps that were looked at.

    Args:
        model: the network, not its DistributedDataParallel wrapper. Other networks than a
            :class:`bss.models.TwoStageNetwork` have nothing to look at.

    Attributes:
        model: the network.
    """

    def __init__(self, model: nn.Module):
        self.model = model
        self._encoders = model.encoders if has_two_stages(model) else {}
        self._sums: dict[str, Tensor] = {}  # of this process; the last entry of each counts samples or steps

    def due(self, step: int) -> bool:
        """Whether the 0-based step of the epoch is looked at."""
        return len(self._encoders) > 0 and step % WATCHED_EVERY == 0

    @torch.no_grad()
    def see(self, features: Features, kept: Mapping[str, Tensor] | None = None) -> None:
        """Look at a step, after its backward and before the optimiser's step.

        Args:
            features: modality name -> (B, D_m), from :func:`features_seen`.
            kept: modality name -> (B,) bool, where a method hides modalities: hidden features, which are zeros, do not
                count in the mean.
        """
        for name, features_BD in features.items():
            summed = sum_and_count(features_BD)
            if kept and name in kept:
                summed[-1] = kept[name].sum()
            self._add(f"features.{name}", summed)
        for name, encoder in self._encoders.items():
            gradients = [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]
            if gradients:
                norm = widened(torch.nn.utils.get_total_norm(gradients))
                taken = norm.isfinite()  # fp16 skips a step whose gradients overflow
                self._add(f"gradient.{name}", torch.stack((norm.where(taken, 0.0), widened(taken))))

    def gradient_norm(self) -> dict[str, float | None]:
        """Mean L2 norm of every encoder's gradient, by modality; None for a frozen encoder. All processes must ask."""
        means = {name: math.nan if mean is None else float(mean) for name, mean in self._means("gradient").items()}
        return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}

    def mean_features(self) -> dict[str, Tensor] | None:
        """Mean feature of every modality, (D_m,) float32; None where nothing was looked at. All processes must ask."""
        means = self._means("features")
        seen = {name: mean for name, mean in means.items() if mean is not None and bool(mean.isfinite().all())}
        return seen if means and len(seen) == len(means) else None

    def reset(self) -> None:
        """Forget the epoch."""
        self._sums = {}

    def state_dict(self) -> dict[str, Tensor]:
        """The sums of the epoch so far, over all processes, all of which must ask."""
        return {name: distributed.total(value) for name, value in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Continue from :meth:`state_dict`; the sums so far are rank 0's to carry."""
        own = {name: value.to(device) for name, value in state.items()}
        self._sums = own if distributed.is_main() else {name: torch.zeros_like(value) for name, value in own.items()}

    def _add(self, key: str, value: Tensor) -> None:
        self._sums[key] = self._sums[key] + value if key in self._sums else value

    def _means(self, kind: str) -> dict[str, Tensor | None]:
        found = {name: self._sums.get(f"{kind}.{name}") for name in self._encoders}
        return {name: None if value is None else mean_of(value) for name, value in found.items()}
