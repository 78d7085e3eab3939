"""A recipe's field with what it means: in its own metadata, since Python 3.13 and ``-OO`` change docstrings."""

from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
_KEY = "meaning"


def setting(default: T, text: str) -> T:
    """A dataclass field with a default.

    Args:
        default: immutable.
        text: what the field means, for ``--help``; without a full stop where it is one sentence or less.
    """
    made: Any = field(default=default, metadata=meaning(text))
    return made


def meaning(text: str) -> dict[str, str]:
    """The metadata of a field without a default: ``epochs: int = field(metadata=meaning("..."))``."""
    return {_KEY: text}


def meaning_of(owner: "type[DataclassInstance]", name: str) -> str:
    """What a field means; a class that changes a field's default alone leaves its meaning to the class it inherits."""
    for cls in owner.__mro__:
        own = {member.name: member for member in fields(cls)} if hasattr(cls, "__dataclass_fields__") else {}
        if name in own and _KEY in own[name].metadata:
            return own[name].metadata[_KEY]
    return ""
