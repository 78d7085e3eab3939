"""The optimiser of a recipe, and its learning rate in every epoch."""

import torch
from torch import nn

from bss.recipe import Recipe


def optimizer_of(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD or Adam over the parameters that are trained, with the recipe's numbers."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Fused: three to six times as fast on a CPU, and on a GPU an overflow in fp16 skips a step without a wait for it.
    options = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "fused": True}
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    optimizer = torch.optim.SGD(parameters, momentum=recipe.momentum, **options)
    if recipe.momentum:
        # From zeros the first step is the same. PyTorch's fused SGD starts from memory that its first step fills, and
        # leaves it as it was found where an overflow skips that step.
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def learning_rate(recipe: Recipe, num_samples: int, epoch: int, updates: int) -> float:
    """The learning rate of an epoch.

    Args:
        recipe: with ``updates`` it falls after the steps of so many uniform epochs, else after so many epochs.
        num_samples: of the training set.
        epoch: 0-based.
        updates: optimiser steps before it.
    """
    if recipe.updates is not None:
        epoch = updates // (num_samples // recipe.batch_size)
    return recipe.lr * recipe.lr_gamma ** (epoch // recipe.lr_step)
