"""The fields of a recipe as text: set by ``--set``, explained by ``--help``, printed, and flattened for comparison."""

import dataclasses
import math
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, TypeVar

from bss.recipes.constants import CONSTANTS, PREFIX, Constant, Constants
from bss.recipes.recipe import Schedule, SelfPacedSchedule, written
from bss.recipes.settings import meaning_of
from bss.utils.errors import RecipeError, nearest, shown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")


def override(recipe: R, assignments: list[str]) -> R:
    """The recipe with ``field=value`` texts applied; nested fields with dots.

    A nested field whose name is unique may be given without its path: ``rescore=2`` is ``schedule.rescore=2``. A
    constant of the recipe's method is set by its name, ``method.alpha=0.3``: any name here, since methods are unknown.

    Raises:
        RecipeError: an unknown field (lists the known ones), or a value of the wrong type or range.
    """
    known = flatten(recipe)
    given = (named_field(assignment, known) for assignment in assignments)
    return _replaced(recipe, {name: _parsed(name, text, _options(recipe, name)) for name, text in given})


def with_values(recipe: R, content: Mapping[str, object]) -> R:
    """The recipe with the fields of a file: values of TOML or JSON, where ``override`` takes texts.

    A value must be of the field's own type, so that ``lr = "0.1"`` is refused; none, which TOML has no word for, is the
    text ``"none"``.

    Args:
        recipe: gives every field that the file does not name.
        content: field -> value; the fields of a nested part in a table, or by dotted names.

    Raises:
        RecipeError: an unknown field, one that is given twice, or a value of the wrong type or range.
    """
    known, changes = flatten(recipe), {}
    for key, value in _opened(content):
        if value == {} and (key == CONSTANTS or any(name.startswith(f"{key}.") for name in known)):
            continue  # a nested part of which the file changes nothing
        name = known_field(key, known)
        if name in changes:
            raise RecipeError(f"{name} is given twice")
        if name.startswith(PREFIX) and isinstance(value, Mapping | list):
            raise RecipeError(
                f"{name} cannot be {shown(value)}: a constant is one value, and one for each modality is given by "
                f"their names, {name}.NAME = VALUE"
            )
        options = _options(recipe, name)
        changes[name] = _parsed(name, value, _of_its_type(value, options), allowed=options)
    return _replaced(recipe, changes)


def _opened(content: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted name and value of everything in nested tables; an empty table is a value."""
    for key, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _opened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


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
    return known_field(name, known), text


def known_field(name: str, known: Collection[str]) -> str:
    """The dotted name of a field that is given by it, or by its last part alone.

    A constant of the method has its own, whether the recipe sets it or not: ``method.alpha``, ``method.start.audio``.
    The last part alone is a field's, where there is one: which constants a recipe sets does not change what it means.
    """
    constant = name.removeprefix(f"{CONSTANTS}.").removeprefix(PREFIX)
    root, dot, member = constant.partition(".")
    if name != constant and root.isidentifier() and bool(dot) == bool(member) and "method" in known:
        return PREFIX + constant
    paths = [name] if name in known else [path for path in known if path.rpartition(".")[2] == name]
    paths = [path for path in paths if not path.startswith(PREFIX)] or paths
    if len(paths) > 1:
        raise RecipeError(f"the recipe field {shown(name)} is not unique: write {' or '.join(paths)}")
    if not paths:
        raise RecipeError(f"unknown recipe field {shown(name)}{_of_spl(name) or _near(name, known)}")
    return paths[0]


ELSEWHERE = {
    "accumulate_grad_batches": "accumulate",
    "alpha": "method.alpha",
    "bs": "batch_size",
    "fusion_method": "fusion",
    "gradient_accumulation_steps": "accumulate",
    "gradient_clip_val": "clip_norm",
    "learning_rate": "lr",
    "lr_decay_ratio": "lr_gamma",
    "lr_decay_step": "lr_step",
    "lr_scheduler_type": "lr_schedule",
    "max_grad_norm": "clip_norm",
    "modulation": "method",
    "random_seed": "seed",
    "wd": "weight_decay",
}
"""Name of a number elsewhere (OGM-GE's ``main.py``, the trainers of Lightning and Hugging Face) -> the field here."""


def field_named(name: str, known: Collection[str]) -> str | None:
    """The dotted name of the recipe field that a flag's name means, ``-`` for ``_`` and a case aside; None = of none.

    Args:
        name: without its dashes, as ``grow-epochs``.
        known: dotted names of the recipe's fields.
    """
    name = name.replace("-", "_").lower()
    name = ELSEWHERE.get(name, name)
    try:
        return known_field(name, known)
    except RecipeError:
        return None


def _near(name: str, known: Collection[str]) -> str:
    """The end of a sentence on a name that is no field's: the three names that are most like it."""
    if (meant := ELSEWHERE.get(name)) is not None and field_named(meant, known) is not None:
        return f" (here it is called {meant})"
    # The path of a nested field is one of its two names, and a name counts once.
    last = {path.rpartition(".")[2]: path for path in known}
    found = nearest(name, [*known, *last], len(known))
    paths = list(dict.fromkeys(last.get(each, each) for each in found))[:3]
    # A part that is mistyped as a whole, as a table of a file may be, is its first field: "schedule.sampler".
    groups = {path.rpartition(".")[0]: path for path in reversed(list(known)) if "." in path}
    elsewhere = {each: field for each, field in ELSEWHERE.items() if field in known}
    alike = nearest(name, [*known, *last, *groups, *elsewhere], 1, cutoff=0.7)
    likely = f" (did you mean {(groups | elsewhere).get(alike[0], alike[0])}?)" if alike else ""
    return f"{likely}; the nearest are {', '.join(paths)} (a training script's --help lists all)"


def _of_spl(name: str) -> str:
    """A hint where a field that is not known is one of SPL's schedule; else empty."""
    own = {member.name for member in dataclasses.fields(SelfPacedSchedule)}
    common = {member.name for member in dataclasses.fields(Schedule)}
    if name.removeprefix("schedule.") in own - common:
        return " (only the schedule of SPL has it: train-SPL.py, or arms such as spl of bss train and compare)"
    return ""


def flatten(recipe: "DataclassInstance", prefix: str = "") -> dict[str, object]:
    """Dotted field name -> value, nested dataclasses opened; constants of the method as far as they are set."""
    flat: dict[str, object] = {}
    for member in dataclasses.fields(recipe):
        value = getattr(recipe, member.name)
        if _is_nested(value):
            flat.update(flatten(value, f"{prefix}{member.name}."))
        elif isinstance(value, Constants):
            flat |= {f"{prefix}{PREFIX}{name}": constant for name, constant in value.items()}
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


def plain(recipe: "DataclassInstance") -> dict[str, object]:
    """``dataclasses.asdict`` in values that a checkpoint can hold."""
    values = dataclasses.asdict(recipe)
    return {name: dict(value) if isinstance(value, Constants) else value for name, value in values.items()}


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
        if isinstance(value, Constants):
            entries.append((f"{prefix}{PREFIX}NAME=VALUE", meaning_of(type(recipe), member.name)))
            continue
        options = alternatives(typing.get_type_hints(type(recipe))[member.name])
        choices = [_type_name(option) for option in options]
        allowed = f" [{' | '.join(choices)}]" if len(choices) > 1 and options != [True, False] else ""
        entries.append((f"{name}={written(value)}", meaning_of(type(recipe), member.name) + allowed))
    return entries


def _replaced(owner: Any, changes: Mapping[str, Any]) -> Any:
    """A dataclass with the values of dotted names, all at once: some are valid only together."""
    own: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    constants = {name.removeprefix(PREFIX): value for name, value in changes.items() if name.startswith(PREFIX)}
    if constants:
        own[CONSTANTS] = {**getattr(owner, CONSTANTS), **constants}
    for name, value in changes.items():
        part, separator, rest = name.partition(".")
        if name.startswith(PREFIX):
            continue
        if separator:
            nested.setdefault(part, {})[rest] = value
        else:
            own[part] = value
    inner = {part: _replaced(getattr(owner, part), values) for part, values in nested.items()}
    return dataclasses.replace(owner, **own, **inner)


def _options(recipe: object, name: str) -> list[object]:
    """What the field of a dotted name may be."""
    if name.startswith(PREFIX):
        return alternatives(Constant)
    owner: object = recipe
    *parts, last = name.split(".")
    for part in parts:
        owner = getattr(owner, part)
    return alternatives(typing.get_type_hints(type(owner))[last])


def _of_its_type(value: object, options: Sequence[object]) -> list[object]:
    """Those of a field's options that a value from a file may be read as: a text is no number, and a number no text."""
    texts = [option for option in options if isinstance(option, str) or option is str]
    if isinstance(value, str):
        return [option for option in options if option in texts or option is type(None)]
    return [option for option in options if option not in texts]


def read_as(name: str, value: Constant, options: Sequence[object]) -> Constant:
    """A value that was read before its field's type was known, as one of the types and literal values of the field.

    Args:
        name: of the field, for the error.
        value: from a text or a file.
        options: see :func:`alternatives`.

    Raises:
        RecipeError: it is none of them; lists them.
    """
    return _parsed(name, value, _of_its_type(value, options), allowed=options)


def _parsed(name: str, value: object, options: Sequence[object], allowed: Sequence[object] | None = None) -> Any:
    text = written(value)
    for option in options:
        read = _read(text, option)
        if read is not _NO:
            return read
    names = ", ".join(_type_name(option) for option in allowed or options)
    raise RecipeError(f"{name} cannot be {shown(value)}; allowed: {names}")


_NO = object()


def alternatives(hint: object) -> list[object]:
    """The types and literal values that a hint admits: literal values first, text, which everything is, last."""
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        found = [option for part in typing.get_args(hint) for option in alternatives(part)]
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
