"""Which object in a file of ``torch.save`` is more than plain data, and where in the file it is; nothing is run.

A pickle is a program. What it would build is followed here without building it: its containers become lists of their
members, its objects a name with members, and no key is hashed, so that a file can do no harm.
"""

import os
import pickletools
import re
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from bss.utils.errors import shown

_LARGEST = 1 << 26  # bytes of the pickle in a zip file; those of weights have some kilobytes


_LEGACY = 3  # pickles in front of the content, in files of before PyTorch 1.6: a number, a version, the machine


_WORDS = (
    (r"numpy\.(_core|core)\.multiarray\.scalar", "a numpy number", "save int(...) or float(...) of it"),
    (r"numpy\.(_core|core)\.(multiarray|numeric)\..*", "a numpy array", "save torch.from_numpy(...) of it"),
    (r"torch\.(nn|jit)\..*|torchvision\.models\..*", "a network or layer", "save its state_dict()"),
    (r"argparse\.Namespace", "settings", "save vars(...) of them"),
    (r"pathlib\..*", "a path", "save str(...) of it"),
    (r"collections\.defaultdict", "a defaultdict", "save dict(...) of it"),
)
"""Pattern of an object's full name, what it is in words, and what to save in its place."""


@dataclass(eq=False)
class _Built:
    """What an opcode builds: a container, or an object by its full name, with (place, member) of what it holds."""

    name: str = ""
    members: list[tuple[str, Any]] = field(default_factory=list)


def foreign_object(path: str | os.PathLike, name: str) -> str:
    """A sentence about an object that ``torch.load(..., weights_only=True)`` does not allow.

    Args:
        path: a file of ``torch.save``.
        name: full name of the object's class or function, as torch's error has it (2.6 begins with ``builtins.``).

    Returns:
        What it is, where it is as far as that can be told, and what to save in its place.
    """
    name = name.removeprefix("builtins.")
    what, instead = name[:80], "save the file without it"
    for pattern, words, way_out in _WORDS:
        if re.fullmatch(pattern, name):
            what, instead = f"{words} ({name[:80]})", way_out
            break
    try:
        place = next((place for found, place in _objects(_content(path)) if _same(found, name)), None)
    except Exception:  # damaged beyond that object, or of an opcode that torch does not write: the name is known
        place = None
    where = "" if place is None else f" at {shown_place(place)}" if place else ", which is all of it"
    return (
        f"it holds {what}{where}; only tensors, numbers, texts and plain containers are read, since an object may run "
        f"code: {instead}"
    )


def shown_place(place: str, length: int = 80) -> str:
    """A place such as ``['a'][0]``, cut in the middle."""
    return place if len(place) <= length else f"{place[: length // 2]} ... {place[-length // 3 :]}"


def _same(found: str, name: str) -> bool:
    return found.removeprefix("builtins.").removeprefix("__builtin__.") == name


def _content(path: str | os.PathLike) -> Any:
    """What the pickle in a file would build."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            member = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            if archive.getinfo(member).file_size > _LARGEST:
                raise ValueError("a pickle of this size holds no weights")
            with archive.open(member) as file:
                return _followed(file)
    with Path(path).open("rb") as file:
        for _ in range(_LEGACY):
            _followed(file)
        return _followed(file)


def _objects(content: Any) -> Iterator[tuple[str, str]]:
    """Full name and place of every object, those that hold others first."""
    seen: set[int] = set()
    waiting: list[tuple[Any, tuple]] = [(content, ())]
    while waiting:
        value, steps = waiting.pop()
        if not isinstance(value, _Built) or id(value) in seen:
            continue
        seen.add(id(value))
        if value.name:
            yield value.name, _joined(steps)
        waiting += [(member, (steps, step)) for step, member in reversed(value.members)]


def _joined(steps: tuple) -> str:
    parts = []
    while steps:
        steps, step = steps
        parts.append(step)
    return "".join(reversed(parts))


def _items(values: Iterable[Any], start: int = 0) -> list[tuple[str, Any]]:
    return [(f"[{number}]", value) for number, value in enumerate(values, start)]


def _pairs(flat: list[Any]) -> list[tuple[str, Any]]:
    return [(f"[{_key(key)}]", value) for key, value in zip(flat[::2], flat[1::2], strict=False)]


def _key(key: Any) -> str:
    return "..." if isinstance(key, _Built) else shown(key, 40)


def _state(state: Any) -> list[tuple[str, Any]]:
    """The attributes of an object: members of a dict, as ``.name``."""
    if not isinstance(state, _Built):
        return []
    return [(re.sub(r"^\['(\w+)'\]$", r".\1", step), member) for step, member in state.members]


def _followed(file: BinaryIO | Any) -> Any:
    """Follow one pickle to its end."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def marked() -> list[Any]:
        start = marks.pop()
        taken = stack[start:]
        del stack[start:]
        return taken

    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        kind = opcode.name
        if kind == "MARK":
            marks.append(len(stack))
        elif kind in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif kind in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif kind == "GLOBAL":
            stack.append(_Built(argument.replace(" ", ".", 1)))
        elif kind == "STACK_GLOBAL":
            name = stack.pop()
            stack[-1] = _Built(f"{stack[-1]}.{name}")
        elif kind in ("EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_DICT", "EMPTY_SET"):
            stack.append(_Built())
        elif kind in ("TUPLE", "LIST", "FROZENSET"):
            stack.append(_Built(members=_items(marked())))
        elif kind in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(kind[-1])
            stack[-count:] = [_Built(members=_items(stack[-count:]))]
        elif kind == "DICT":
            stack.append(_Built(members=_pairs(marked())))
        elif kind in ("APPENDS", "ADDITEMS"):
            values = marked()
            stack[-1].members += _items(values, len(stack[-1].members))
        elif kind == "APPEND":
            value = stack.pop()
            stack[-1].members += _items([value], len(stack[-1].members))
        elif kind == "SETITEMS":
            flat = marked()
            stack[-1].members += _pairs(flat)
        elif kind == "SETITEM":
            flat = [stack.pop(-2), stack.pop()]
            stack[-1].members += _pairs(flat)
        elif kind in ("REDUCE", "NEWOBJ"):
            arguments = stack.pop()
            made = _Built(getattr(stack[-1], "name", ""))
            made.members += [("(...)", member) for _, member in getattr(arguments, "members", ())]
            stack[-1] = made
        elif kind == "BUILD":
            state = stack.pop()
            stack[-1].members += _state(state)
        elif kind in ("BINPERSID", "POP", "POP_MARK", "DUP"):
            if kind == "POP_MARK":
                marked()
            elif kind == "DUP":
                stack.append(stack[-1])
            else:
                stack.pop()
                stack += [_Built()] * (kind == "BINPERSID")
        elif kind == "STOP":
            return stack.pop()
        elif opcode.stack_before == [] and len(opcode.stack_after) == 1:  # a number, a text, None
            stack.append(argument if argument is not None else kind)
        elif opcode.stack_after or opcode.stack_before:
            raise ValueError(f"the opcode {kind}")
    raise EOFError
