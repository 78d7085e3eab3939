"""The recipe of a data set as its released scripts have it, made from the method's recipe."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from bss.recipes.recipe import Recipe

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
