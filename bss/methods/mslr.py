"""Modality-specific learning rates (MSLR): every modality's encoder and head learn at a rate of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from typing_extensions import override

from bss.methods.base import TwoStageMethod
from bss.scoring.formulas import weighted_loss
from bss.scoring.table import ScoreTable
from bss.utils.errors import RecipeError, guess, shown


def progress_ratio(accuracies: Sequence[float], *, history: int) -> float:
    """By what a modality's learning rate is multiplied: the newest accuracy over the mean of those before it.

    Source: run/CREMAD_main.py:671-684 (lihong2303/AGM_ICCV2023 @5a65542).

    Args:
        accuracies: on the validation split, of one head, oldest first; each in [0, 1].
        history: over how many accuracies before the newest the mean is taken, >= 1.

    Returns:
        The ratio, >= 0; 1 while there are not so many, or where their mean is 0.
    """
    if len(accuracies) <= history:
        return 1.0
    mean = sum(accuracies[-history - 1 : -1]) / history
    return accuracies[-1] / mean if mean > 0 else 1.0


class MSLR(TwoStageMethod):
    """A learning rate for each modality, which follows how the accuracy of its head moves: dynamic MSLR.

    In every epoch the encoder and the head of modality m learn at ``lr * start_m * ratio_m``, and the fusion at the
    recipe's ``lr``; for the ratio see :func:`progress_ratio`. The ratio replaces the one before: it does not pile up.
    With equal starts a run of up to ``history + 1`` epochs is joint training. A head that all modalities share stays
    at ``lr``. Any number of modalities.

    Source: Yao and Mihalcea, "Modality-specific Learning Rates for Effective Multimodal Additive Late-fusion", Findings
    of ACL 2022, of which only the abstract could be read: it assigns rates by three strategies, and begins with
    unimodal networks that were trained before. This is MSLR as the code of later work on balance runs it for a
    baseline: run/CREMAD_main.py:194-209 and 671-684 (lihong2303/AGM_ICCV2023 @5a65542). Differences: there gradients
    are multiplied, which leaves weight decay at the common rate and hardly moves Adam, while here the optimiser has the
    rates; there the accuracies are of the test set, here of the validation split.

    Args:
        start: modality name -> positive factor of its learning rate, ``method.start.audio`` of a recipe; 1 for those
            that it does not name, None for all. The released code has 0.9 for audio and 1.1 for video on CREMA-D. With
            a history longer than the run each modality keeps its rate.
        history: see :func:`progress_ratio`; the released code has 5.
    """

    uses_validation = True

    def __init__(self, *, start: Mapping[str, float] | None = None, history: int = 5):
        for name, factor in (start or {}).items():
            if not 0 < factor < float("inf"):
                raise ValueError(f"start must be numbers > 0, got {factor} for {name}")
        if history < 1:
            raise ValueError(f"history must be >= 1, got {history}")
        self.start, self.history = None if start is None else dict(start), history
        self.accuracies: dict[str, list[float]] = {}  # of the modalities' heads, the newest that count

    @override
    def settings(self) -> dict[str, object]:
        start = {name: factor for name, factor in (self.start or {}).items() if factor != 1}
        return {"start": start or None, "history": self.history}  # a factor of 1 is none

    @property
    @override
    def named_modalities(self) -> tuple[str, ...]:
        return tuple(self.start or ())

    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        """See :meth:`TwoStageMethod.begin_run`.

        Raises:
            RecipeError: encoders that share weights, or a start of what is no modality of the network.
        """
        super().begin_run(table, model)
        self.require_own_encoders()
        names = list(self.network.encoders)
        for name in self.named_modalities:
            if name not in names:
                raise RecipeError(
                    f"MSLR has a start for {shown(name)}{guess(name, names)}; the network has {', '.join(names)}"
                )

    @override
    def groups(self, parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
        owner: dict[nn.Parameter, str] = {}
        heads = getattr(self.network, "heads", {})  # one's own network may have none, or none of the modality's name
        for name, encoder in self.network.encoders.items():
            parts = [encoder, heads[name]] if name in heads else [encoder]
            owner |= {parameter: name for part in parts for parameter in part.parameters()}
        return [
            [parameter for parameter in parameters if owner.get(parameter) == name]
            for name in (None, *self.network.encoders)
        ]

    @override
    def rates(self) -> list[float]:
        start = self.start or {}
        return [1.0] + [
            start.get(name, 1.0) * progress_ratio(self.accuracies.get(name, []), history=self.history)
            for name in self.network.encoders
        ]

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The recipe's loss.

        Raises:
            RecipeError: a head that is not trained: its accuracy would say nothing of its modality.
        """
        self.require_weights({name: weight for name, weight in weights.items() if name != "fused"})
        return weighted_loss(losses, weights)

    def measured(self, accuracy: Mapping[str, float]) -> None:
        """Remember the accuracies of the modalities' heads."""
        for name in self.network.encoders:
            self.accuracies[name] = [*self.accuracies.get(name, []), accuracy[name]][-self.history - 1 :]

    def state_dict(self) -> dict[str, Any]:
        """The accuracies that the next rates go by."""
        return {"accuracies": {name: list(values) for name, values in self.accuracies.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.accuracies = {name: list(values) for name, values in state["accuracies"].items()}
