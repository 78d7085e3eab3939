"""The constants of a method: what its constructor takes beside what it is given of a recipe, read from the constructor.

They are fields of a recipe, ``method.alpha``: a new one needs no line anywhere else.
"""

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass

from bss.methods.base import Method
from bss.recipes.constants import PREFIX, Constant
from bss.recipes.fields import alternatives, read_as
from bss.recipes.limits import check_most_constants
from bss.utils.errors import RecipeError, guess

_WRITTEN = (bool, int, float, str, type(None))
"""Types that a text can say."""


@dataclass(frozen=True)
class Declared:
    """A constant as a constructor declares it.

    Attributes:
        options: the types and literal values that it may be.
        default: where nothing is said.
    """

    options: tuple[object, ...]
    default: Constant


def constants_of(kind: type[Method]) -> dict[str, Declared]:
    """Name of each constant of a method -> its types and default, in the order of its constructor.

    They are the keyword arguments with a default that are not in :attr:`Method.takes`, as far as a text can say them:
    a mapping is no constant.
    """
    hints = typing.get_type_hints(kind.__init__)
    found = {}
    for name, default in default_settings(kind).items():
        options = tuple(alternatives(hints[name]))
        if all(option in _WRITTEN or isinstance(option, str) for option in options):
            found[name] = Declared(options, typing.cast(Constant, default))
    return found


def default_settings(kind: type[Method]) -> dict[str, object]:
    """What stands for the settings of a method that a run is older than: the defaults of its constructor."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {
        each.name: each.default
        for each in parameters
        if each.default is not inspect.Parameter.empty and each.name not in kind.takes
    }


def checked_constants(name: str, kind: type[Method], given: Mapping[str, Constant]) -> dict[str, Constant]:
    """A recipe's constants as the constructor of its method takes them; which ranges it admits, that says itself.

    Args:
        name: of the method in a recipe.
        kind: its class.
        given: name of a constant -> its value.

    Raises:
        RecipeError: a constant that the method does not have (lists those that it has), a value of another type, or a
            number beyond any use.
    """
    known = constants_of(kind)
    for each in given:
        if each not in known:
            listed = ", ".join(known) or "none"
            hint = guess(each, known)
            raise RecipeError(f"{name} has no constant {PREFIX}{each}{hint}; its constants are: {listed}")
    read = {each: read_as(f"{PREFIX}{each}", value, known[each].options) for each, value in given.items()}
    check_most_constants(read, PREFIX)
    return read
