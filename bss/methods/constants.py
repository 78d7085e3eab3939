"""The constants of a method: what its constructor takes beside what it is given of a recipe, read from the constructor.

They are fields of a recipe, ``method.alpha``: a new one needs no line anywhere else. One that is a mapping from a name
to a value is as many fields, ``method.start.audio``.
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
        options: the types and literal values that it may be, or each value of a mapping.
        default: where nothing is said.
        by_name: whether it is a mapping, whose names the network knows and the constructor does not.
    """

    options: tuple[object, ...]
    default: Constant
    by_name: bool = False


def constants_of(kind: type[Method]) -> dict[str, Declared]:
    """Name of each constant of a method -> its types and default, in the order of its constructor.

    They are the keyword arguments with a default that are not in :attr:`Method.takes`, as far as a text can say them.
    """
    hints = typing.get_type_hints(kind.__init__)
    found = {}
    for name, default in default_settings(kind).items():
        options = tuple(alternatives(hints[name]))
        values = next((typing.get_args(each)[1] for each in options if typing.get_origin(each) is Mapping), None)
        if values is not None:
            options = tuple(alternatives(values))
        if all(option in _WRITTEN or isinstance(option, str) for option in options):
            found[name] = Declared(options, typing.cast(Constant, default), by_name=values is not None)
    return found


def named(name: str, known: Mapping[str, Declared]) -> Declared | None:
    """The constant that a name of a recipe is of, ``start.audio`` as ``alpha``; None = of none."""
    root, dot, member = name.partition(".")
    found = known.get(root)
    return found if found is not None and bool(dot) == bool(member) == found.by_name else None


def names_of(known: Mapping[str, Declared]) -> tuple[str, ...]:
    """The constants as a recipe names them; NAME stands for each name of a mapping."""
    return tuple(f"{name}.NAME" if each.by_name else name for name, each in known.items())


def default_settings(kind: type[Method]) -> dict[str, object]:
    """What stands for the settings of a method that a run is older than: the defaults of its constructor."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {
        each.name: each.default
        for each in parameters
        if each.default is not inspect.Parameter.empty and each.name not in kind.takes
    }


def checked_constants(
    name: str, kind: type[Method], given: Mapping[str, Constant]
) -> dict[str, Constant | dict[str, Constant]]:
    """A recipe's constants as the constructor of its method takes them; which ranges it admits, that says itself.

    Args:
        name: of the method in a recipe.
        kind: its class.
        given: name of a constant -> its value.

    Raises:
        RecipeError: a constant that the method does not have (lists those that it has), a value of another type, or a
            number beyond any use.
    """
    known, read = constants_of(kind), {}
    for each, value in given.items():
        declared = named(each, known)
        if declared is None:
            names = names_of(known)
            listed = ", ".join(names) or "none"
            raise RecipeError(f"{name} has no constant {PREFIX}{each}{guess(each, names)}; its constants are: {listed}")
        read[each] = read_as(f"{PREFIX}{each}", value, declared.options)
    check_most_constants(read, PREFIX)
    taken: dict[str, Constant | dict[str, Constant]] = {}
    for each, value in read.items():
        root, _, member = each.partition(".")
        taken[root] = {**typing.cast(dict[str, Constant], taken.get(root, {})), member: value} if member else value
    return taken
