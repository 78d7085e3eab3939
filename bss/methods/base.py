"""The hooks by which a method changes a training step, beside the order of the samples."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from bss.data.indexed import SeededViews
from bss.models.late_fusion import Logits, TwoStageNetwork, has_two_stages
from bss.scoring.formulas import head_losses, weighted_loss
from bss.scoring.table import ScoreTable
from bss.utils.errors import RecipeError


class Method:
    """Joint training with the recipe's loss; a method overrides the hooks that it needs.

    :class:`bss.training.loops.Step` calls them in this order in every step: :meth:`before_forward`, the forward within
    :meth:`around_forward`, and then for each of :meth:`turns`, of which most methods have one, :meth:`loss`,
    :meth:`backward`, :meth:`after_backward`, :meth:`before_update` and the optimiser's update. The optimiser is made of
    :meth:`groups`, and every epoch begins with :meth:`rates`. What a method draws at random comes from its own seed.
    What it remembers between steps is in :meth:`state_dict`, so that a stopped run goes on exactly.

    A step is a batch, whatever the number of its turns: ``updates`` of a recipe, which comparisons hold equal, counts
    batches.

    Attributes:
        takes: what the constructor takes of a recipe: ``"seed"``, ``"batch_size"``, ``"warmup_epochs"``,
            ``"stage_epochs"``, ``"normalize"``, ``"criterion"``.
        released_warmup: epochs of ``"warmup_epochs"`` in the method's own code; a short run gets a quarter of its own.
        released_stage: epochs of ``"stage_epochs"`` in the method's own code; a short run gets an eighth of its own.
        uses_validation: whether the method needs :meth:`measured`, and so a validation split.
        uses_scores: whether the scoring passes of the recipe are made for this method, whatever the sampler needs.
        trains_fused: whether the fused head is trained; if not, it may have no part in the loss and the prediction.
        hides_modalities: whether samples are shown without some of their modalities, so that the training forward
            cannot be scored.
        rearranges: whether :meth:`arrange` makes an epoch longer or shorter than the sampler does.
        losses_of: logits (B, C) of heads and class ids (B,) to the losses that are trained, (B,) of each head: cross
            entropy, for which a run puts one with the recipe's label smoothing and class weights. Scores have neither.
    """

    losses_of: Callable[[Mapping[str, Tensor], Tensor], dict[str, Tensor]] = staticmethod(head_losses)

    takes: tuple[str, ...] = ()
    released_warmup = 0
    released_stage = 0.0
    uses_validation = False
    uses_scores = False
    trains_fused = True
    hides_modalities = False
    rearranges = False

    @property
    def needs_whole_batches(self) -> bool:
        """Whether a batch must be run at once, so that ``accumulate`` of a recipe is refused.

        So it is where :meth:`turns` or :meth:`backward` are the method's own, unless it says otherwise. Of others, the
        hooks from :meth:`before_forward` to :meth:`backward` are called for each part of a batch by itself, and those
        after it once, for all of it.
        """
        return type(self).turns is not Method.turns or type(self).backward is not Method.backward

    def settings(self) -> dict[str, object]:
        """The numbers that it was made with, in plain values: for ``config.json``; equal in all parts of one run."""
        return {}

    @property
    def named_modalities(self) -> tuple[str, ...]:
        """The modalities that its settings name: the samples must have them, which is looked at before a run begins."""
        return ()

    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        """Called once, before the first epoch or before a run goes on.

        Args:
            table: the scores of the training samples; in :meth:`begin_epoch` they are as the epoch's order saw them.
            model: the network itself, on the device, without its DistributedDataParallel wrapper.
        """

    def wrap(self, train: SeededViews) -> Dataset:
        """The training samples as this method draws them, by :class:`bss.data.Key`; called once, before the run."""
        return train

    def groups(self, parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
        """The trained parameters in groups with a learning rate each; all of them once, some groups perhaps empty."""
        return [list(parameters)]

    def rates(self) -> list[float]:
        """By what the recipe's learning rate is multiplied, for each of :meth:`groups`, in the epoch that begins."""
        return [1.0]

    def prepare(self, epoch: int) -> bool:
        """Called before the order of the 0-based epoch is made; True asks for :meth:`see`."""
        return False

    def see(self, batch: Mapping[str, Any]) -> None:
        """Look at training samples in eval mode, through the test transform; all processes together see each once."""

    def arrange(self, epoch: int, order_K: Tensor) -> Tensor:
        """What the epoch shows, from the sampler's order, on the CPU; equal on all processes.

        Args:
            epoch: 0-based.
            order_K: sample indices.

        Returns:
            ``order_K`` itself, or codes: ``index + N * variant``, see :class:`bss.data.Variants`.
        """
        return order_K

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of the 0-based epoch, and again when a run goes on in the middle of it."""

    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The batch that the network sees; on the device, with ``"label"`` and ``"bss_index"``."""
        return batch

    def around_forward(self) -> contextlib.AbstractContextManager[None]:
        """Entered for the training forward, and for no other: what changes how the network runs in it."""
        return contextlib.nullcontext()

    def turns(self, losses: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
        """The losses of each update of the step; what follows a ``yield`` sees the weights after that update.

        A method with several turns takes the gradients of each by itself, as :class:`bss.methods.Alternating` does:
        DistributedDataParallel counts on one backward for a forward.

        Args:
            losses: of the step's forward, see :meth:`loss`.
        """
        yield losses

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """Every sample's loss in one of the :meth:`turns`, (B,).

        Args:
            losses: cross entropy (B,) of the ``"fused"`` head and of each modality's, by name, float32.
            weights: the recipe's weight of each.
        """
        return weighted_loss(losses, weights)

    def backward(self, loss_B: Tensor, losses: Mapping[str, Tensor], model: nn.Module) -> None:
        """Fill the gradients.

        Args:
            loss_B: from :meth:`loss`.
            losses: cross entropy (B,) of every head.
            model: the network, or its DistributedDataParallel wrapper.
        """
        loss_B.mean().backward()

    def after_backward(self, model: nn.Module, logits: Logits, target: Tensor) -> None:
        """Change the gradients before the optimiser's update.

        Args:
            model: the network, or its DistributedDataParallel wrapper.
            logits: of this step's forward.
            target: (B,) class ids.
        """

    def before_update(self, optimizer: torch.optim.Optimizer) -> None:
        """Called last before every update of the optimiser, whose state of the updates before may be changed."""

    def measured(self, accuracy: Mapping[str, float]) -> None:
        """Called after every epoch, before its checkpoint, where the run has a validation split.

        Args:
            accuracy: head -> share of the validation samples that it classifies rightly; equal on all processes.
        """

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers between steps, in plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""


class TwoStageMethod(Method):
    """Base of methods that work on the encoders, features or heads of a :class:`bss.models.TwoStageNetwork`.

    Attributes:
        network: from :meth:`begin_run` on.
    """

    network: TwoStageNetwork

    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        """See :meth:`Method.begin_run`.

        Raises:
            RecipeError: another kind of network.
        """
        if not has_two_stages(model):
            raise RecipeError(
                f"{type(self).__name__} works on the encoders of a bss.models.LateFusion, but the task's network is a "
                f"{type(model).__name__}, without encoders, encode and decode: leave the method out"
            )
        self.network = model

    def require_own_encoders(self) -> None:
        """Refuse encoders that share weights, which would be of several modalities.

        Raises:
            RecipeError: two encoders have a weight in common.
        """
        encoders = self.network.encoders.items()
        weights = {name: {id(weight) for weight in encoder.parameters()} for name, encoder in encoders}
        for one, other in itertools.combinations(weights, 2):
            if weights[one] & weights[other]:
                raise RecipeError(
                    f"{type(self).__name__} needs an encoder for each modality, but {one} and {other} share weights"
                )

    def require_weights(self, weights: Mapping[str, float]) -> None:
        """Refuse a loss without the part of some head.

        Raises:
            RecipeError: a head's weight is not positive.
        """
        for name, weight in weights.items():
            if weight <= 0:
                field = "fused_weight" if name == "fused" else "unimodal_weight"
                raise RecipeError(
                    f"{type(self).__name__} needs every head trained, but {field} is {weight}: set it above 0"
                )
