"""The hooks by which a method changes a training step, beside the order of the samples."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from bss.models import Logits
from bss.scoring import weighted_loss


class Method:
    """Joint training with the recipe's loss; a method overrides the hooks that it needs.

    :func:`bss.loops.train_one_epoch` calls them in this order in every step: :meth:`before_forward`, the forward,
    :meth:`loss`, :meth:`backward`, :meth:`after_backward`, the optimiser's step. What a method draws at random comes
    from its own seed. What it remembers between steps is in :meth:`state_dict`, so that a stopped run goes on exactly.
    """

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of the 0-based epoch, and again when a run goes on in the middle of it."""

    def before_forward(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The batch that the network sees; on the device, with ``"label"`` and ``"bss_index"``."""
        return batch

    def loss(self, losses: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
        """Every sample's loss, (B,).

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
        """Change the gradients before the optimiser's step.

        Args:
            model: the network, or its DistributedDataParallel wrapper.
            logits: of this step's forward.
            target: (B,) class ids.
        """

    def state_dict(self) -> dict[str, Any]:
        """What the method remembers between steps, in plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from :meth:`state_dict`."""
