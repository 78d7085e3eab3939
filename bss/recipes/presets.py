"""The presets of a data set beside its default: as the authors' slides have the method, and as their scripts do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from bss.recipes.recipe import Recipe, SelfPacedSchedule

R = TypeVar("R", bound=Recipe)


def released(recipe: R, *, schedule: Mapping[str, Any] | None = None, **fields: Any) -> R:
    """The recipe with the numbers of a released script, where they differ from the method's.

    All released scripts train on the whole training list, measure the test list after every epoch and report the best
    epoch, and leave out the last samples of an order. All but one score the samples with the network in training mode
    and with random views.

    Args:
        recipe: the method's, for the same data set.
        schedule: fields of its schedule in which this script differs further.
        **fields: fields of the recipe in which this script differs further.
    """
    scoring = {"mode": "train", "view": "train", **(schedule or {})}
    return replace(recipe, val_fraction=0.0, tail="last", **fields, schedule=replace(recipe.schedule, **scoring))


PAPER_SCHEDULE = {"weighting": "softmax", "history": 0.4, "history_of": "balance", "rescore": 1}
"""The paper's learning-based sampler, as fields of its schedule: weights ``exp(b)`` of the moving average of the
balance score, in which beta = 0.6 weighs the new one. Every how many epochs it scores (E) the slides do not say: 1 is
our guess."""


def paper(recipe: R, *, fused_weight: float | None = None, unimodal_weight: float | None = None) -> R:
    """The recipe with the paper's form of the method, as far as the authors' slides show it.

    They show the heuristic sampler as it is in the default recipe, and a learning-based one that differs, see
    :data:`PAPER_SCHEDULE`. They give no rate, number of epochs or rule of selection: those of the default recipe stay,
    which are the released numbers with a validation split. Whether samples are drawn with replacement they do not say:
    here they are not, and the arm ``spl-paper-replacement`` is the other reading.

    Args:
        recipe: the default one of the data set.
        fused_weight: of the loss, where the slides say so; None = as it is.
        unimodal_weight: of the loss, where the slides say so; None = as it is.

    Source: slides of IJCAI 2025, numbers 8 to 10 and 13.
    """
    learned: Mapping[str, Any] = PAPER_SCHEDULE if isinstance(recipe.schedule, SelfPacedSchedule) else {}
    weights = {"fused_weight": fused_weight, "unimodal_weight": unimodal_weight}
    said: Mapping[str, Any] = {name: weight for name, weight in weights.items() if weight is not None}
    return replace(recipe, **said, schedule=replace(recipe.schedule, **learned))
