"""ReconBoost: one modality learns at a time, most from what the others do not know, and then all are rectified."""

import contextlib
import functools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from bss.methods.alternating import Alternating
from bss.models.late_fusion import Decode, Logits, decoding
from bss.models.modes import spared
from bss.scoring.imbalance import true_class_probability
from bss.scoring.table import ScoreTable


def boosting_loss(
    loss_B: Tensor, known_B: Tensor, num_classes: int, *, agreement: float, reconcilement: float
) -> Tensor:
    """A learner's loss on each sample, which counts the less the better the others know the sample's class.

    ``(agreement - reconcilement * p) * CE / C``. Source: train.py:337-340 (huacong/ReconBoost @14ab57a).

    Args:
        loss_B: the learner's cross entropy CE.
        known_B: p, the probability of the right class by the sum of the others' logits, in [0, 1].
        num_classes: C.
        agreement: weight of the labels.
        reconcilement: weight of what is known, below ``agreement``.

    Returns:
        (B,), >= 0.
    """
    return (agreement - reconcilement * known_B) * loss_B / num_classes


class ReconBoost(Alternating):
    """In stages, by turns, one modality learns by itself, and then the whole ensemble is rectified.

    The ensemble sums the logits of the heads of the modalities that have had a stage. In the first half of a stage its
    modality, the learner, is trained by :func:`boosting_loss`, where the others are the ensemble without it (in the
    first stage there are none, and p counts as 1). In the second half all of the ensemble is trained by the cross
    entropy of its sum. The others are left where they are, but for BatchNorm's statistics. The optimiser forgets its
    momentum at the beginning of both. Every step has one update.

    A stage is counted in steps, so many as uniform epochs would have: in an order whose epochs are short it takes more
    of these. Until each modality has had a stage, the prediction sums heads that nothing has trained yet: a run should
    be longer than that, and one that the recipe names has at least four stages, with shorter ones where it must.

    The recipe must have ``fused_weight=0``, and a prediction without the fused head: ``unimodal`` is the method's own.
    The recipe's weights have a part in the scores alone. Any number of modalities.

    Source: Hua et al., "ReconBoost: Boosting Can Achieve Modality Reconcilement", ICML 2024; of the paper only the
    abstract could be read. Released code train.py:254-402, for three modalities train_MSA.py:202-312, the turns
    schedule.py:34-61 (huacong/ReconBoost @14ab57a). Differences:

    - The abstract speaks of a reconcilement by the Kullback-Leibler divergence; of this the code, and so this, has the
      term of the right class alone.
    - There the memory term (see ``alpha``) is computed, with weight 0.5, but cut from the gradient on both sides
      (line 349): it trains nothing, which here is ``alpha=0``.
    - There the learners share a head of two layers; here each has the network's own for its modality.
    - There the ensemble's sum has a factor that is trained as well; here it is 1.
    - There the learning rate falls with the stages, and the commands of the README begin with unimodal networks that
      were trained before; here both are the recipe's.

    Args:
        batch_size: samples per step, of all processes together, as in the recipe.
        stage_epochs: uniform epochs of each half of a stage (released: 4).
        agreement: see :func:`boosting_loss`; the released README has 5 for CREMA-D, 4 for AVE and ModelNet40, and the
            code 1 for three modalities.
        reconcilement: the same; there 1, and 0.25 for three modalities.
        alpha: weight of the memory term: mean squared difference between the learner's probabilities and those of the
            modality before it, which are not trained by it. From the second stage on.
    """

    takes = ("batch_size", "stage_epochs")
    released_stage = 4.0

    def __init__(
        self,
        *,
        batch_size: int,
        stage_epochs: float = 4.0,
        agreement: float = 5.0,
        reconcilement: float = 1.0,
        alpha: float = 0.0,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        for name, value in {"stage_epochs": stage_epochs, "agreement": agreement}.items():
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be a number > 0, got {value}")
        if not 0 <= reconcilement < agreement:
            raise ValueError(f"reconcilement must be >= 0 and below agreement ({agreement}), got {reconcilement}")
        if not 0 <= alpha < float("inf"):
            raise ValueError(f"alpha must be a number >= 0, got {alpha}")
        self.batch_size, self.stage_epochs = batch_size, stage_epochs
        self.agreement, self.reconcilement, self.alpha = agreement, reconcilement, alpha
        self.names: list[str] = []
        self.half = 1  # of a stage, in steps
        self.step = 0  # of the run
        # Of the step under way.
        self.target = torch.empty(0)
        self.unimodal: Mapping[str, Tensor] = {}

    @property
    @override
    def needs_whole_batches(self) -> bool:
        return False  # its losses are of each sample by itself, and its gradients add up

    @override
    def settings(self) -> dict[str, object]:
        return {
            "batch_size": self.batch_size,
            "stage_epochs": self.stage_epochs,
            "agreement": self.agreement,
            "reconcilement": self.reconcilement,
            "alpha": self.alpha,
        }

    @override
    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        super().begin_run(table, model)
        self.names = list(self.network.encoders)
        self.half = max(1, round(self.stage_epochs * max(1, table.num_samples // self.batch_size)))

    # ---- where the run is ------------------------------------------------------------------------------------------

    @property
    def stage(self) -> int:
        """The stage of the step under way, 0-based."""
        return self.step // (2 * self.half)

    @property
    def rectifies(self) -> bool:
        """Whether the step is of the second half of its stage."""
        return self.step // self.half % 2 == 1

    @property
    def learner(self) -> str:
        """The modality of the stage."""
        return self.names[self.stage % len(self.names)]

    @property
    def ensemble(self) -> list[str]:
        """The modalities whose logits count: in the first half of a stage those but the learner."""
        if self.rectifies:
            return self.names[: self.stage + 1]
        return [name for name in self.names[: self.stage] if name != self.learner]

    # ---- in a step -------------------------------------------------------------------------------------------------

    @override
    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        self.target = batch["label"]
        return batch

    @contextlib.contextmanager
    def around_forward(self) -> Iterator[None]:
        """See the logits, and keep no graph of the encoders that the step does not train."""
        trained = self.ensemble if self.rectifies else [self.learner]
        encoders = [encoder for name, encoder in self.network.encoders.items() if name not in trained]
        others = [parameter for encoder in encoders for parameter in encoder.parameters()]
        with spared(others), decoding(self.network, self._decode):
            yield

    def _decode(self, decode: Decode, features_BD: Mapping[str, Tensor]) -> Logits:
        logits = decode(features_BD)
        self.unimodal = {name: values.float() for name, values in logits.unimodal.items()}
        return logits

    def _summed(self, names: Iterable[str]) -> Tensor:
        return functools.reduce(operator.add, [self.unimodal[name] for name in names])

    @override
    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        if self.rectifies:
            return self.losses_of({"ensemble": self._summed(self.ensemble)}, self.target)["ensemble"]
        own_BC, own_B = self.unimodal[self.learner], losses[self.learner]
        known_B = torch.ones_like(own_B)
        if self.ensemble:
            known_B = true_class_probability(self._summed(self.ensemble).detach(), self.target).to(own_B.dtype)
        loss_B = boosting_loss(
            own_B, known_B, own_BC.shape[1], agreement=self.agreement, reconcilement=self.reconcilement
        )
        if self.alpha and self.stage:
            before_BC = self.unimodal[self.names[(self.stage - 1) % len(self.names)]].detach()
            apart_B = (own_BC.softmax(dim=1) - before_BC.softmax(dim=1)).square().mean(dim=1)
            loss_B = loss_B + self.alpha * apart_B
        return loss_B

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Forget the momentum where another part of the network begins to be trained, as a new optimiser has none."""
        if self.step % self.half == 0:
            for state in optimizer.state.values():
                for value in state.values():
                    if isinstance(value, Tensor):
                        value.zero_()
        self.step += 1
        self.unimodal = {}  # with their graphs

    def state_dict(self) -> dict[str, Any]:
        """The number of steps so far."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
        self.step = state["step"]
