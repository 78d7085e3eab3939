"""Base of methods that hide modalities from the network while it trains."""

import abc
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bss.methods.base import TwoStageMethod
from bss.models.late_fusion import KEEP_KEY


class Masking(TwoStageMethod, abc.ABC):
    """A sample may be shown without some of its modalities: their features are zeros, see LateFusion.

    The head of a hidden modality learns nothing from that sample; the fused head always does. A batch's loss stays the
    mean over all its samples. Scores from the training forward would be those of incomplete samples, so the recipe's
    ``schedule.rescore`` must not be ``"online"``. A subclass implements :meth:`keep`.
    """

    hides_modalities = True

    def __init__(self) -> None:
        self.kept: Mapping[str, Tensor] = {}  # of the step under way

    @abc.abstractmethod
    def keep(self, batch: Mapping[str, Any]) -> Mapping[str, Tensor]:
        """Modality name -> (B,) bool, which samples keep it; every sample keeps one at least."""

    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the masks."""
        self.kept = self.keep(batch)
        return {**batch, KEEP_KEY: self.kept}

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The recipe's loss, without the unimodal parts of hidden modalities, (B,)."""
        hidden = {name: loss * self.kept[name] if name in self.kept else loss for name, loss in losses.items()}
        return super().loss(hidden, weights)
