"""What a run is made of, from a recipe's numbers: score table, sampler, optimiser, learning rate."""

from functools import partial

import torch
from torch import nn

from bss.data.splits import Splits
from bss.models.late_fusion import LateFusion
from bss.recipes.recipe import Recipe
from bss.samplers import OrderSampler
from bss.scoring.criteria import feature_scores
from bss.scoring.scoring_pass import SampleScores
from bss.scoring.table import ScoreTable
from bss.utils import distributed
from bss.utils.errors import RecipeError


def check_heads(recipe: Recipe) -> None:
    """Refuse to score by the similarity of predictions that nothing trains.

    Raises:
        RecipeError: the modalities' own heads have no weight in the loss, and the recipe's difficulty needs them.
    """
    schedule = recipe.schedule
    if recipe.unimodal_weight == 0 and schedule.criterion != "loss" and schedule.similarity == "prediction":
        raise RecipeError(
            "unimodal_weight=0 leaves the modalities' own heads as they were drawn, so that their similarity is noise: "
            "set schedule.criterion=loss, or schedule.similarity=feature"
        )


def scores_of(recipe: Recipe, model: nn.Module) -> SampleScores | None:
    """What a scoring pass of this recipe computes; None = the method's scores, from logits alone.

    Raises:
        RecipeError: the recipe needs features and the network gives none, or none that can be compared.
    """
    schedule = recipe.schedule
    if not schedule.needs_features:
        return None
    if not isinstance(model, LateFusion):
        raise RecipeError(
            "schedule.similarity=feature and schedule.information=gradient need the features of a "
            f"bss.models.LateFusion, and the network is a {type(model).__name__}: use prediction and loss"
        )
    lengths = {name: model.heads[head].in_features for name, head in model.head_of.items()}
    if schedule.similarity == "feature" and len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise RecipeError(
            f"schedule.similarity=feature compares features of one length, and the encoders give {shown}: "
            "use schedule.similarity=prediction"
        )
    return partial(
        feature_scores,
        similarity=schedule.similarity,
        information=schedule.information,
        space=schedule.space,
        fused_weight=recipe.fused_weight,
        unimodal_weight=recipe.unimodal_weight,
    )


# ---- what a run is made of -----------------------------------------------------------------------------------------


def table_of(data: Splits, recipe: Recipe) -> ScoreTable:
    """An empty score table of the training set."""
    return ScoreTable(
        len(data.train),
        momentum=recipe.schedule.history,
        fused_weight=recipe.fused_weight,
        unimodal_weight=recipe.unimodal_weight,
        space=recipe.schedule.space,
    )


def sampler_of(sampler_class: type[OrderSampler], data: Splits, table: ScoreTable, recipe: Recipe) -> OrderSampler:
    """The sampler of a recipe's schedule, one per process."""
    scores = {"table": table} if sampler_class.uses_scores else {}
    return sampler_class(
        len(data.train),
        seed=recipe.seed,
        min_size=recipe.batch_size,
        drop_last=recipe.tail == "draw",
        batch_size=distributed.share_of_batch(recipe.batch_size),
        **scores,
        **recipe.schedule.sampler_options(data.labels_N),
    )


def num_epochs(sampler: OrderSampler, recipe: Recipe) -> int:
    """How many epochs the run takes: with ``updates`` as many as give so many steps, the last perhaps cut short."""
    if recipe.updates is None:
        return recipe.epochs
    share, last = distributed.share_of_batch(recipe.batch_size), recipe.tail == "last"
    epochs = steps = 0
    while steps < recipe.updates:
        steps += sampler.steps_at(epochs, share, drop_last=last)
        epochs += 1
    return epochs


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
