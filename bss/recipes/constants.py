"""The constants of a recipe's method: a small mapping that cannot be changed, as a frozen recipe needs it."""

from collections.abc import Iterable, Mapping
from typing import NoReturn

from typing_extensions import override

from bss.utils.errors import RecipeError, shown

Constant = bool | int | float | str | None


CONSTANTS = "method_options"
"""The field of a recipe that holds them."""


PREFIX = "method."
"""What the dotted name of a constant begins with: ``--set method.alpha=0.3``."""


class Constants(dict[str, Constant]):
    """Name of a constant -> its value, by name, without those that are left at the method's own default.

    It is a dictionary for ``dataclasses.asdict`` and JSON. Which names and values a method takes is looked at where
    the method is made, see :func:`bss.training.build.method_of`: a recipe knows no classes.

    Args:
        values: name -> value.

    Raises:
        RecipeError: no mapping, or a value that is neither a number, a text, true or false, nor none.
    """

    def __init__(self, values: Mapping[str, Constant] | Iterable[tuple[str, Constant]] = ()):
        try:
            made = dict(values)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"{CONSTANTS} must be a table of name = value, got {shown(values)}") from error
        for name, value in made.items():
            if not isinstance(value, Constant):
                raise RecipeError(f"{PREFIX}{name} must be a number, a text, true, false or none, got {shown(value)}")
        super().__init__(sorted(made.items()))

    @override
    def __reduce__(self) -> tuple[type["Constants"], tuple[dict[str, Constant]]]:
        return type(self), (dict(self),)

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(f"the constants of a recipe cannot be changed: dataclasses.replace(recipe, {CONSTANTS}=...)")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse
