"""Ways to damage a file, each drawn from a generator: its bytes, its lines, and places of a tree of values."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ODD_TEXTS = ("", " ", "\x00", "nan", "é" * 3, "\u202eabc", "../../etc", "None", "1e400", "x" * 2000)
ODD_NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 0.5, float("nan"), float("inf"), float("-inf"), 1e308)
ODD_VALUES = (None, True, False, [], {}, [[]], {"a": {"b": [1]}}, [None], *ODD_TEXTS, *ODD_NUMBERS)


# ---- bytes ---------------------------------------------------------------------------------------------------------


def damage_bytes(path: Path, generator: np.random.Generator) -> str:
    """Change the bytes of a file that exists, in one of eight ways; returns what was done."""
    content = bytearray(path.read_bytes())
    size = len(content)
    way = generator.choice(["flip", "zero", "noise", "truncate", "empty", "append", "insert", "cut"])
    at = int(generator.integers(size)) if size else 0
    length = int(generator.integers(1, max(2, min(4096, size))))
    if way == "flip" and size:
        content[at] ^= 1 << int(generator.integers(8))
    elif way == "zero":
        content[at : at + length] = bytes(len(content[at : at + length]))
    elif way == "noise":
        content[at : at + length] = generator.bytes(len(content[at : at + length]))
    elif way == "truncate":
        del content[at:]
    elif way == "empty":
        content.clear()
    elif way == "append":
        content += generator.bytes(length)
    elif way == "insert":
        content[at:at] = generator.bytes(length)
    else:
        del content[at : at + length]
    path.write_bytes(content)
    return f"{path.name}: {way} at {at}"


def damage_entry(path: Path, generator: np.random.Generator) -> str:
    """Remove a file, put a folder in its place, or swap it with its neighbour; returns what was done."""
    others = sorted(p for p in path.parent.iterdir() if p.is_file() and p != path)
    way = generator.choice(["missing", "folder", "swap"] if others else ["missing", "folder"])
    if way == "swap":
        other = others[int(generator.integers(len(others)))]
        mine, theirs = path.read_bytes(), other.read_bytes()
        path.write_bytes(theirs)
        other.write_bytes(mine)
        return f"{path.name}: swapped with {other.name}"
    remove(path)
    if way == "folder":
        path.mkdir()
    return f"{path.name}: {way}"


def remove(path: Path) -> None:
    """Remove a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


# ---- trees of dicts and lists --------------------------------------------------------------------------------------


def damage_tree(tree: Any, generator: np.random.Generator, values: tuple[Any, ...] = ODD_VALUES) -> str:
    """Change one place of nested dicts and lists, in place: dropped, renamed, replaced, doubled or reordered.

    Returns:
        What was done, with the path of the place.
    """
    places = list(_places(tree))
    if not places:
        return "nothing to change"
    holder, key, path = places[int(generator.integers(len(places)))]
    ways: list[Callable[[], str]] = [
        lambda: _drop(holder, key),
        lambda: _replace(holder, key, values[int(generator.integers(len(values)))]),
        lambda: _rename(holder, key) if isinstance(holder, dict) else _reverse(holder),
        lambda: _nudge(holder, key, generator),
    ]
    return f"{path}: {ways[int(generator.integers(len(ways)))]()}"


def damage_json(path: Path, generator: np.random.Generator) -> str:
    """Change one place of the JSON in a file, which stays well-formed (with Python's ``NaN`` and ``Infinity``)."""
    content = json.loads(path.read_text())
    if generator.random() < 0.05:
        content = ODD_VALUES[int(generator.integers(len(ODD_VALUES)))]
        done = f"all of it: {content!r:.40}"
    else:
        done = damage_tree(content, generator)
    path.write_text(json.dumps(content))
    return f"{path.name}: {done}"


def damage_lines(path: Path, generator: np.random.Generator) -> str:
    """Drop, double, swap, blank or cut a line of a text."""
    lines = path.read_bytes().splitlines(keepends=True)
    if not lines:
        return f"{path.name}: nothing to change"
    at, other = (int(generator.integers(len(lines))) for _ in range(2))
    way = generator.choice(["drop", "double", "swap", "blank", "cut", "move"])
    if way == "drop":
        del lines[at]
    elif way == "double":
        lines.insert(at, lines[at])
    elif way == "swap":
        lines[at], lines[other] = lines[other], lines[at]
    elif way == "blank":
        lines[at] = b"\n"
    elif way == "cut":
        lines[at] = lines[at][: int(generator.integers(len(lines[at]) + 1))]
    else:
        lines.insert(other, lines.pop(at))
    path.write_bytes(b"".join(lines))
    return f"{path.name}: {way} line {at + 1}"


def _places(tree: Any, path: str = "") -> Any:
    """Every place below a tree: its holder, its key there, and the path in words."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(items):
        here = f"{path}.{key}" if path else str(key)
        yield tree, key, here
        yield from _places(value, here)


def _drop(holder: Any, key: Any) -> str:
    del holder[key]
    return "dropped"


def _replace(holder: Any, key: Any, value: Any) -> str:
    before, holder[key] = holder[key], value
    return f"{before!r:.40} became {value!r:.40}"


def _rename(holder: dict[Any, Any], key: Any) -> str:
    holder[f"{key}x"] = holder.pop(key)
    return "renamed"


def _reverse(holder: list[Any]) -> str:
    holder.reverse()
    return "its list reversed"


def _nudge(holder: Any, key: Any, generator: np.random.Generator) -> str:
    """A value of the same type, and another one: what a type check cannot see."""
    value = holder[key]
    if isinstance(value, bool):
        return _replace(holder, key, not value)
    if isinstance(value, int | float):
        return _replace(holder, key, value + type(value)(generator.choice([-1, 1])))
    if isinstance(value, str):
        return _replace(holder, key, f"{value[:-1]}{'a' if value[-1:] != 'a' else 'b'}")
    return _replace(holder, key, [value])
