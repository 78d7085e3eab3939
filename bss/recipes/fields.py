"""The fields of a recipe as text: set by ``--set``, explained by ``--help``, printed, and flattened for comparison."""

import dataclasses
import math
import types
import typing
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, TypeVar

from bss.recipes.recipe import Schedule, SelfPacedSchedule, written
from bss.recipes.settings import meaning_of
from bss.utils.errors import RecipeError, guess, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def override(recipe: R, assignments: list[str]) -> R:
    """The recipe with ``field=value`` texts applied; nested fields with dots.

    A nested field whose name is unique may be given without its path: ``rescore=2`` is ``schedule.rescore=2``.

    Raises:
        RecipeError: an unknown field (lists the known ones), or a value of the wrong type or range.
    """
    nested: dict[str, Any] = {}
    known = flatten(recipe)
    for assignment in assignments:
        name, text = named_field(assignment, known)
        owner, path = recipe, name.split(".")
        target = nested
        for part in path[:-1]:
            owner, target = getattr(owner, part), target.setdefault(part, {})
        target[path[-1]] = _parsed(name, text, typing.get_type_hints(type(owner))[path[-1]])
    return _replaced(recipe, nested)


def named_field(assignment: str, known: Collection[str]) -> tuple[str, str]:
    """The dotted name of the field, and the text of its value, in ``field=value``.

    Args:
        assignment: as ``--set`` takes it.
        known: dotted names of the recipe's fields.

    Raises:
        RecipeError: there is no ``=``, or no such field, or more than one.
    """
    name, separator, text = (part.strip() for part in assignment.partition("="))
    if not separator:
        raise RecipeError(f"--set needs field=value, got {shown(assignment)}")
    paths = [name] if name in known else [path for path in known if path.rpartition(".")[2] == name]
    if len(paths) > 1:
        raise RecipeError(f"the recipe field {shown(name)} is not unique: write {' or '.join(paths)}")
    if not paths:
        hint = _of_spl(name) or guess(name, [*known, *(path.rpartition(".")[2] for path in known)])
        raise RecipeError(f"unknown recipe field {shown(name)}{hint}; the fields are:\n  {', '.join(known)}")
    return paths[0], text


def _of_spl(name: str) -> str:
    """A hint where a field that is not known is one of SPL's schedule; else empty."""
    own = {member.name for member in dataclasses.fields(SelfPacedSchedule)}
    common = {member.name for member in dataclasses.fields(Schedule)}
    if name.removeprefix("schedule.") in own - common:
        return " (only the schedule of SPL has it: train-SPL.py)"
    return ""


def flatten(recipe: "DataclassInstance", prefix: str = "") -> dict[str, object]:
    """Dotted field name -> value, nested dataclasses opened."""
    flat: dict[str, object] = {}
    for member in dataclasses.fields(recipe):
        value = getattr(recipe, member.name)
        if _is_nested(value):
            flat.update(flatten(value, f"{prefix}{member.name}."))
        else:
            flat[prefix + member.name] = value
    return flat


def _is_nested(value: object) -> TypeGuard["DataclassInstance"]:
    return dataclasses.is_dataclass(value)


def defaults(recipe: "DataclassInstance", prefix: str = "") -> dict[str, object]:
    """Dotted field name -> its default, where it has one: what a folder that is older than a field stands for."""
    flat: dict[str, object] = {}
    for member in dataclasses.fields(recipe):
        value = getattr(recipe, member.name)
        if _is_nested(value):
            flat |= defaults(value, f"{prefix}{member.name}.")
        elif member.default is not dataclasses.MISSING:
            flat[prefix + member.name] = member.default
    return flat


def describe(recipe: "DataclassInstance", width: int = 108) -> str:
    """All fields with their values, as ``--set`` takes them, wrapped to lines."""
    lines = [""]
    for name, value in flatten(recipe).items():
        entry = f"{name}={written(value)}"
        if lines[-1] and len(lines[-1]) + 2 + len(entry) > width:
            lines.append("")
        lines[-1] += ("  " if lines[-1] else "") + entry
    return "\n".join(lines)


def explain(recipe: "DataclassInstance", prefix: str = "") -> list[tuple[str, str]]:
    """For every field ``name=value`` and what it means, with the values that are allowed."""
    entries = []
    for member in dataclasses.fields(recipe):
        value, name = getattr(recipe, member.name), prefix + member.name
        if _is_nested(value):
            entries += explain(value, f"{name}.")
            continue
        options = _alternatives(typing.get_type_hints(type(recipe))[member.name])
        choices = [_type_name(option) for option in options]
        allowed = f" [{' | '.join(choices)}]" if len(choices) > 1 and options != [True, False] else ""
        entries.append((f"{name}={written(value)}", meaning_of(type(recipe), member.name) + allowed))
    return entries


def _replaced(owner: Any, changes: dict[str, Any]) -> Any:
    inner = {
        name: _replaced(getattr(owner, name), value) if isinstance(value, dict) else value
        for name, value in changes.items()
    }
    return dataclasses.replace(owner, **inner)


def _parsed(name: str, text: str, hint: Any) -> Any:
    options = _alternatives(hint)
    for option in options:
        value = _read(text, option)
        if value is not _NO:
            return value
    allowed = ", ".join(_type_name(option) for option in options)
    raise RecipeError(f"{name} cannot be {shown(text)}; allowed: {allowed}")


_NO = object()


def _alternatives(hint: Any) -> list[Any]:
    """The types and literal values that a hint admits: literal values first, text, which everything is, last."""
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        found = [option for part in typing.get_args(hint) for option in _alternatives(part)]
        return sorted(found, key=lambda option: (isinstance(option, type), option is str))
    return [hint]


def _read(text: str, option: Any) -> Any:
    """The value of ``text`` as ``option`` (a type or one literal value), or _NO."""
    if option is type(None):
        return None if text.lower() in ("none", "null") else _NO
    if option is bool:
        return {"true": True, "false": False}.get(text.lower(), _NO)
    if option in (int, float):
        try:
            value = option(text)
            return value if math.isfinite(value) else _NO
        except (ValueError, OverflowError):  # not a number, or a whole number beyond the range of floats
            return _NO
    if option is str:
        return text
    return option if text == option else _NO


def _type_name(option: Any) -> str:
    if option is type(None):
        return "none"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(option, str(option)) if isinstance(option, type) else str(option)
