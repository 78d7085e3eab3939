"""MLA: the modalities are trained one after the other, through a head that they share and may not unlearn."""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.methods.alternating import Alternating
from bss.models.late_fusion import Logits, features_seen
from bss.scoring.imbalance import mean_of, sum_and_count
from bss.scoring.table import ScoreTable
from bss.utils.errors import RecipeError


def absorbed(projection_DD: Tensor, mean_D: Tensor, *, alpha: float) -> Tensor:
    """The projection P after one more direction, in which it lets hardly any gradient pass from now on.

    ``P - k k^T / (alpha + r^T k)`` with ``k = P r``, a step of recursive least squares, scaled to the Frobenius norm of
    the identity, from which P starts. Along r it shrinks by ``alpha / (alpha + r^T P r)``; what is orthogonal to all
    directions so far passes as it is, but for the scale.

    Source: orthogonal weights modification (OWM), Zeng et al., Nature Machine Intelligence 2019; released code
    OWM_CNN/owm.py:136-144 (beijixiong3510/OWM @a5c59d7), without the scale.

    Args:
        projection_DD: P, symmetric and positive.
        mean_D: r, mean features.
        alpha: > 0; small = what was absorbed is shut out strictly.

    Returns:
        (D, D) of the same kind.
    """
    step_D = projection_DD @ mean_D
    smaller_DD = projection_DD - torch.outer(step_D, step_D) / (alpha + mean_D @ step_D)
    return smaller_DD * (math.sqrt(len(mean_D)) / smaller_DD.norm())


class MLA(Alternating):
    """In every step each modality in turn updates its encoder and the head that all share; the fused head stays.

    The gradient of the head's weight is multiplied by P, which has absorbed the mean features of every turn so far (see
    :func:`absorbed`): what the head answers to them changes little, so that no modality makes it forget another. The
    bias is free. A batch is seen once, and has one update for every modality, from one forward through the encoders.

    The head is that of the first modality. A network with a head for each needs linear ones of one width; the others
    are its copies, and the optimiser leaves them alone. Arms start from equal weights but for these copies. The recipe
    must have ``fused_weight=0``, and a prediction without the fused head: ``entropy`` is the method's own. Any number
    of modalities.

    Source: Zhang et al., "Multimodal Representation Learning by Alternating Unimodal Adaptation", CVPR 2024; of the
    paper only the abstract could be read. Released code main.py:432-466 and utils/utils.py:12-41
    (Cecile-hi/Multimodal-Learning-with-Alternating-Unimodal-Adaptation @ab6c184). Differences:

    - There the projection waits for a weight called ``module.weight`` (line 32), and the head, an ``nn.Linear``, has
      none of that name: as released, no gradient is projected.
    - There the quotient is by an outer product in place of the number ``r^T k``, entry by entry (line 36), which is no
      projection. Here it is OWM's, which that code follows otherwise.
    - There P is divided by its norm (line 40), which makes the head's steps about sqrt(D) times smaller; here it
      keeps the identity's.
    - There a turn absorbs its own features before its gradient is projected; here after its update, so that it spares
      what came before it. The modality of a turn is among this, by its earlier steps, in both.
    - There alpha falls from 0.1 to 0.01 within every epoch; here it stays.
    - There the prediction weighs the modalities by fixed numbers (0.55 and 0.45) or, if asked, by the entropies of the
      test batch, see :func:`bss.scoring.metrics.entropy_weights`.

    Args:
        alpha: see :func:`absorbed`.
    """

    def __init__(self, *, alpha: float = 0.1):
        if not 0 < alpha < float("inf"):
            raise ValueError(f"alpha must be a number > 0, got {alpha}")
        self.alpha = alpha
        self.heads: dict[str, nn.Linear] = {}
        self.projection_DD = torch.empty(0, 0)
        # Of the step under way.
        self.target = torch.empty(0)
        self.features: Mapping[str, Tensor] = {}
        self.turn = ""

    @override
    def settings(self) -> dict[str, object]:
        return {"alpha": self.alpha}

    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        """See :meth:`Alternating.begin_run`; makes the other heads copies of the first modality's.

        Raises:
            RecipeError: heads that cannot be one.
        """
        super().begin_run(table, model)
        heads = dict(getattr(model, "heads", {}))
        head_of = getattr(model, "head_of", {})  # LateFusion's; one's own network may name its heads by modality
        found = {name: heads.get(head_of.get(name, name)) for name in self.network.encoders}
        self.heads = {name: head for name, head in found.items() if isinstance(head, nn.Linear)}
        kinds = {(head.in_features, head.out_features, head.bias is None) for head in self.heads.values()}
        if len(self.heads) < len(found) or len(kinds) > 1:
            listed = ", ".join(f"{name} {head or 'none'}" for name, head in found.items())
            raise RecipeError(
                "MLA trains all modalities through one head, so the network's heads[modality] must be torch.nn.Linear "
                f"of one size, but they are: {listed}. Give the encoders features of one length and the network such "
                "heads, or leave the method out"
            )
        weight = self.head.weight
        self.projection_DD = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
        self._copy_head()

    @property
    def head(self) -> nn.Linear:
        """The head that is trained."""
        return next(iter(self.heads.values()))

    @torch.no_grad()
    def _copy_head(self) -> None:
        for head in self.heads.values():
            if head is not self.head:
                for own, shared in zip(head.parameters(), self.head.parameters(), strict=True):
                    own.copy_(shared)

    @override
    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        self.target = batch["label"]
        return batch

    @override
    @contextlib.contextmanager
    def around_forward(self) -> Iterator[None]:
        assert isinstance(self.network, nn.Module)
        with features_seen(self.network) as self.features:
            yield

    def turns(self, losses: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
        """One for each modality, with its loss through the head as the turn before has left it."""
        for name in self.heads:
            self.turn, features_BD = name, self.features[name]
            logits_BC = self.head(features_BD.to(self.head.weight.dtype))  # the forward's may be in half precision
            yield {**losses, **self.losses_of({name: logits_BC}, self.target)}
            mean_D = mean_of(sum_and_count(features_BD.detach())).to(self.head.weight.dtype)
            self.projection_DD = absorbed(self.projection_DD.to(mean_D.device), mean_D, alpha=self.alpha)
        self.features = {}  # with their graphs
        self._copy_head()

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """The loss of the turn's modality, with the recipe's weight.

        Raises:
            RecipeError: a modality without weight.
        """
        self.require_weights({name: weight for name, weight in weights.items() if name != "fused"})
        return weights[self.turn] * losses[self.turn]

    @torch.no_grad()
    def after_backward(self, model: nn.Module, logits: Logits, target: Tensor) -> None:
        """Project the gradient of the head's weight."""
        gradient = self.head.weight.grad
        if gradient is not None:  # it may be frozen
            gradient.copy_(gradient @ self.projection_DD.to(gradient.device))

    def state_dict(self) -> dict[str, Any]:
        """The projection."""
        return {"projection": self.projection_DD}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.projection_DD = state["projection"]
