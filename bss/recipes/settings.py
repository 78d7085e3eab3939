"""A recipe's field with what it means: in its own metadata, since Python 3.13 and ``-OO`` change docstrings."""

from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
_KEY, _PATH = "meaning", "path"


def setting(default: T, text: str, *, path: bool = False) -> T:
    """A dataclass field with a default.

    Args:
        default: immutable.
        text: what the field means, for ``--help``; without a full stop where it is one sentence or less.
        path: whether its text may be a path, in which ``~`` and ``$VAR`` are replaced.
    """
    made: Any = field(default=default, metadata={**meaning(text), _PATH: path})
    return made


def cache_setting(what: str) -> str | None:
    """The field ``cache`` of a data set that keeps some of its files decoded.

    Args:
        what: it keeps, as the subject of a sentence.
    """
    return setting(
        "auto",
        f'where {what} are kept decoded, for all runs: "auto" = .bss-cache in the data root, or a '
        "folder; none decodes every file in every epoch. It changes no result.",
        path=True,
    )


def meaning(text: str) -> dict[str, str]:
    """The metadata of a field without a default: ``epochs: int = field(metadata=meaning("..."))``."""
    return {_KEY: text}


def meaning_of(owner: "type[DataclassInstance]", name: str) -> str:
    """What a field means; a class that changes a field's default alone leaves its meaning to the class it inherits."""
    return _said_of(owner, name, _KEY, "")


def path_fields(owner: "type[DataclassInstance]") -> tuple[str, ...]:
    """Names of the fields whose text may be a path, see :func:`setting`."""
    return tuple(member.name for member in fields(owner) if _said_of(owner, member.name, _PATH, default=False))


def _said_of(owner: "type[DataclassInstance]", name: str, key: str, default: Any) -> Any:
    for cls in owner.__mro__:
        member = getattr(cls, "__dataclass_fields__", {}).get(name)
        if member is not None and key in member.metadata:
            return member.metadata[key]
    return default
