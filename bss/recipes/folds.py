"""Recipe fields that say which part of a data set is tested: a fold of it, or a part that every seed draws anew."""

from dataclasses import dataclass
from typing import Literal

from bss.recipes.recipe import Recipe
from bss.recipes.settings import setting
from bss.utils.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class FoldedRecipe(Recipe):
    """A recipe of a data set that can be dealt into folds, each of which is the test part of some runs."""

    fold: int | None = setting(
        None, "which fold is tested, counted from 0, while the others train; none tests what the data set tests."
    )
    folds: int = setting(5, "how many folds there are; which samples are in which is the same for every seed.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds < 2:
            raise RecipeError(f"folds must be 2 or more, for one fold tests and the others train; got {self.folds}")
        if self.fold is not None and not 0 <= self.fold < self.folds:
            raise RecipeError(
                f"fold={self.fold} is none of the {self.folds} folds, which are counted from 0 to {self.folds - 1}"
            )


@dataclass(frozen=True, kw_only=True)
class ResampledRecipe(FoldedRecipe):
    """A recipe of a data set whose test part may also be drawn anew by every seed (Monte Carlo cross-validation)."""

    test_part: Literal["published", "seeded"] = setting(
        "published",
        'what is tested without a fold: the "published" part, or one like it that every seed draws anew ("seeded").',
    )
    train_samples: int | None = setting(
        None,
        "how many samples train, a stratified share of those that are neither tested nor in the validation part, drawn "
        "by the seed; none = all of them.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_samples is not None and self.train_samples < 1:
            raise RecipeError(f"train_samples must be >= 1, got {self.train_samples}")
        if self.fold is not None and self.test_part == "seeded":
            raise RecipeError(f"fold={self.fold} and test_part=seeded both say what is tested: leave one of them out")

    @property
    def resamples(self) -> bool:
        """Whether the test part is another one than the published."""
        return self.fold is not None or self.test_part == "seeded"
