"""The recipe field that says whether a published validation list is used."""

from dataclasses import dataclass

from bss.recipes.recipe import Recipe
from bss.recipes.settings import setting
from bss.utils.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class PublishedRecipe(Recipe):
    """A recipe of a data set that has a validation list, in all copies or in some."""

    published_val: bool = setting(
        False,
        "the epoch is chosen on the published validation list, whose samples do not train. False takes val_fraction of "
        "the training list instead.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.published_val and self.val_fraction == 0:
            raise RecipeError(
                "val_fraction=0 measures the test set after every epoch, but published_val=true chooses the epoch on "
                "the validation list: set published_val=false as well"
            )
