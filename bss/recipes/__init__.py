"""Recipes: the numbers of each data set, ours and those of the released scripts, one module for each.

They need no PyTorch, so that a script can say at once what it takes. To add one: a module here, and
``bss/tasks/<stem>.py`` that builds the data and the network from it.
"""

from bss.recipes.fields import override
from bss.recipes.files import from_toml
from bss.recipes.folds import FoldedRecipe, ResampledRecipe
from bss.recipes.recipe import CurriculumSchedule, Recipe, Schedule, SelfPacedSchedule
from bss.recipes.settings import meaning, setting

__all__ = [
    "CurriculumSchedule",
    "FoldedRecipe",
    "Recipe",
    "ResampledRecipe",
    "Schedule",
    "SelfPacedSchedule",
    "from_toml",
    "meaning",
    "override",
    "setting",
]
