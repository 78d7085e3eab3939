"""A recipe from a file: TOML whose keys are recipe fields."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from bss.recipes.fields import with_values
from bss.recipes.recipe import Recipe
from bss.utils.errors import RecipeError, first_line

R = TypeVar("R", bound=Recipe)


def from_toml(path: str | Path, recipe: R) -> R:
    """A recipe with the fields that a TOML file gives; all others stay as they are.

    The keys are names of fields, as ``--set`` takes them: ``lr = 0.01``, and in a table or with a dot those of the
    schedule: ``[schedule]`` and below it ``mode = "batch"``, or ``schedule.mode = "batch"``. None is the text
    ``"none"``.

    Args:
        path: the file.
        recipe: what the file changes, such as ``bss.recipes.cremad.CL``.

    Raises:
        RecipeError: there is no such file, it is no TOML, or a field or value that the recipe does not admit; the file
            and the field are named.
    """
    path = Path(path)
    return applied(recipe, read_toml(path), path)


def read_toml(path: Path) -> dict[str, object]:
    """The content of a TOML file.

    Raises:
        RecipeError: it cannot be read, or is none.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))  # Windows' editor begins a file with a mark
    except OSError as error:
        raise RecipeError(f"the recipe file {path} cannot be read: {error.strerror}") from error
    except (
        ValueError,
        RecursionError,
    ) as error:  # other encodings and TOML's errors, with line and column, are ValueError
        raise RecipeError(f"the recipe file {path} is no TOML: {first_line(error)}") from error


def applied(recipe: R, content: Mapping[str, object], path: Path) -> R:
    """The recipe with a file's fields.

    Args:
        recipe: what the file changes.
        content: of the file, see :func:`bss.recipes.fields.with_values`.
        path: of the file, for errors.

    Raises:
        RecipeError: begins with the file's path.
    """
    try:
        return with_values(recipe, content)
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from error
