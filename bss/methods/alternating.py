"""Base of methods that train the modalities by turns: a part of the network at a time, and never the fused head."""

import abc
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bss.methods.base import TwoStageMethod
from bss.scoring.table import ScoreTable
from bss.utils.distributed import averaged


class Alternating(TwoStageMethod, abc.ABC):
    """A method whose updates train what their loss depends on, and leave everything else where it is.

    What the loss of an update does not depend on gets no gradient, so that neither momentum nor weight decay moves it.
    Under DistributedDataParallel the gradients are averaged here: the wrapper would wait for those that never come.
    """

    trains_fused = False

    def begin_run(self, table: ScoreTable, model: nn.Module) -> None:
        """See :meth:`TwoStageMethod.begin_run`.

        Raises:
            RecipeError: encoders that share weights, which one modality's turn would move for the others.
        """
        super().begin_run(table, model)
        self.require_own_encoders()

    def backward(self, loss_B: Tensor, losses: Mapping[str, Tensor], model: nn.Module) -> None:
        """Fill the gradients of what the loss depends on; those of a batch in parts add up."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        found = torch.autograd.grad(loss_B.mean(), trained, allow_unused=True)
        reached = {each: gradient for each, gradient in zip(trained, found, strict=True) if gradient is not None}
        for parameter, gradient in zip(reached, averaged(list(reached.values())), strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
