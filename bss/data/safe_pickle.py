"""Reading pickles that hold data, and refusing the ones that hold code.

A pickle is a program: ``pickle.load`` on a downloaded file runs whatever its author wrote. Published
multimodal data comes as ``.pkl`` files all the same, so this module reads numbers, strings, plain containers
and numeric numpy arrays, and nothing else. Not even numpy's own rebuilding functions are handed to the file:
what it may name are stand-ins that check every shape, type and length, and the arrays are made afterwards.

A file can do harm with plain data as well: a dict key made of tuples that hold one another takes for ever to hash, or
overflows the stack of the interpreter. Keys and members of sets are therefore texts, bytes and numbers only.
"""

import io
import math
import os
import pickle
import pickletools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bss.utils.errors import DataError, first_line
from bss.utils.filesystem import reading

_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


_BUFFER_MODULES = ("numpy.core.numeric", "numpy._core.numeric")


_PLAIN = (type(None), bool, int, float, complex, str, bytes, bytearray)


_SIMPLE_DTYPE = re.compile(r"[?biufc]\d{0,2}|[US]\d{1,6}")


_LARGEST_KEY = 2**60  # larger whole numbers can be chosen to have one hash, which makes a dict of them a list


# Extension codes and persistent ids name objects without going through find_class.
_REFUSED_OPCODES = frozenset({"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "NEXT_BUFFER"})


_NDARRAY = object()  # what the file gets for numpy.ndarray: a name to pass on, with nothing to call


def load(path: str | os.PathLike) -> Any:
    """Read a pickle file of plain data.

    Args:
        path: a file written by any pickle protocol (0 to 5), with numpy 1 or 2.

    Returns:
        Numbers, strings, bytes, lists, tuples, dicts, sets and numeric numpy arrays (writable) and scalars,
        nested at will; the keys of dicts and the members of sets are text, bytes, None or numbers (no complex ones,
        and whole ones below 2**60). An ``OrderedDict`` comes back as a dict.

    Raises:
        DataError: naming the file, for anything else that it may hold, and for a damaged file.
    """
    with reading(path):
        data = Path(path).read_bytes()
    return loads(data, name=str(path))


def loads(data: bytes, *, name: str = "pickle data") -> Any:
    """Read pickled plain data from memory; see :func:`load`.

    Args:
        data: the pickle.
        name: what error messages call it.
    """
    try:
        _check_opcodes(data)
        return _Plain().convert(_Unpickler(io.BytesIO(data)).load())
    except _RefusedError as error:
        raise DataError(
            f"{name}: refused, {error}; allowed are numbers, strings, plain containers and numeric numpy arrays"
        ) from error
    except Exception as error:
        # Nothing but the bytes went in, so every failure (also RecursionError and MemoryError) is the file's
        # fault. Its text may come from the file: one short line of it is enough.
        detail = f"{type(error).__name__}: {first_line(error)}"
        raise DataError(f"{name}: not a readable pickle, truncated or damaged ({detail})") from error


class _RefusedError(Exception):
    """Well-formed, and more than plain data."""


def _check_opcodes(data: bytes) -> None:
    """Walk the program without running it.

    An unpickler trusts two kinds of number: a length (memory is taken before the bytes are found missing, or they are
    not missed) and a memo index (the memo may grow to it at once: six bytes can ask for 64 GB). ``pickletools`` checks
    the lengths but that of a frame.
    """
    stop = False
    for count, (opcode, argument, position) in enumerate(pickletools.genops(data)):
        if opcode.name in _REFUSED_OPCODES:
            raise _RefusedError(f"it uses the pickle opcode {opcode.name}")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count:
            raise ValueError(f"memo index {argument} after {count} opcodes")
        if opcode.name == "FRAME" and argument > len(data) - position - 9:
            raise EOFError(f"a frame of {argument} bytes")
        stop = opcode.name == "STOP"
    if not stop:
        raise EOFError("no STOP opcode")


class _Dtype:
    """Stand-in for a ``numpy.dtype`` under construction: made by name, then given its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str):
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        if len(state) < 8 or any(part is not None for part in state[2:5]):
            raise _RefusedError("it holds a structured numpy dtype")
        if state[1] not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {state[1]!r}")
        self.order = state[1]

    def build(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """Stand-in for a ``numpy.ndarray`` under construction: shape, type and bytes, checked when it is made."""

    __slots__ = ("state",)

    def __init__(self, state: tuple | None = None):
        self.state = state

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, raw = state
        self.state = (shape, dtype, "F" if fortran else "C", raw)

    def build(self) -> np.ndarray:
        if self.state is None:
            raise ValueError("a numpy array without contents")
        shape, dtype, order, raw = self.state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray):
            raise ValueError("a numpy array of unknown type")
        dtype = dtype.build()
        if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"array shape {shape}")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"{len(raw)} bytes for an array of shape {shape} and type {dtype}")
        # The copy owns its memory and is writable, which torch.from_numpy wants.
        return np.ndarray(shape, dtype, buffer=raw, order=order).copy(order="K")


class _Unpickler(pickle._Unpickler):
    """The unpickler in Python, with stand-ins for every name that numpy's pickles use, and with checked keys.

    The one in C hashes a key before anybody can look at it. The stand-ins are bound methods: a file can call them, and
    cannot set attributes on them.
    """

    dispatch: ClassVar[dict] = dict(pickle._Unpickler.dispatch)

    def load_setitem(self) -> None:
        _check_keys(self.stack[-2:-1])
        super().load_setitem()

    def load_setitems(self) -> None:
        _check_keys(self.stack[::2])  # what stands after the mark
        super().load_setitems()

    def load_dict(self) -> None:
        _check_keys(self.stack[::2])
        super().load_dict()

    def load_additems(self) -> None:
        _check_keys(self.stack)
        super().load_additems()

    def load_frozenset(self) -> None:
        _check_keys(self.stack)
        super().load_frozenset()

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _Dtype | _Array):
            raise ValueError("it sets the state of something else than an array")
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    dispatch[pickle.DICT[0]] = load_dict
    dispatch[pickle.ADDITEMS[0]] = load_additems
    dispatch[pickle.FROZENSET[0]] = load_frozenset

    def find_class(self, module: str, name: str) -> Any:
        if module == "__builtin__":  # what protocols 0 to 2 call it
            module = "builtins"
        plain = {
            ("numpy", "ndarray"): _NDARRAY,
            ("numpy", "dtype"): self._dtype,
            ("_codecs", "encode"): self._encode,
            ("builtins", "bytes"): self._bytes,
            ("builtins", "bytearray"): self._bytearray,
            ("builtins", "complex"): complex,
            ("builtins", "set"): self._set,
            ("builtins", "frozenset"): self._frozenset,
            ("collections", "OrderedDict"): self._dict,
        }
        if (module, name) in plain:
            return plain[module, name]
        if module in _ARRAY_MODULES and name in ("_reconstruct", "scalar"):
            return self._reconstruct if name == "_reconstruct" else self._scalar
        if module in _BUFFER_MODULES and name == "_frombuffer":
            return self._frombuffer
        raise _RefusedError(f"it wants to use {module[:80]}.{name[:80]}")

    def _reconstruct(self, subtype: object, shape: tuple, code: bytes) -> _Array:
        if subtype is not _NDARRAY or shape != (0,):
            raise _RefusedError("it holds an unusual kind of numpy array")
        return _Array()

    def _frombuffer(self, raw: bytes, dtype: _Dtype, shape: tuple, order: str) -> _Array:
        return _Array((shape, dtype, "F" if order == "F" else "C", raw))

    def _scalar(self, dtype: _Dtype, raw: bytes) -> np.generic:
        return _Array(((1,), dtype, "C", raw)).build()[0]

    def _dtype(self, code: str, align: bool = False, copy: bool = False) -> _Dtype:
        if not isinstance(code, str) or not _SIMPLE_DTYPE.fullmatch(code):
            kind = "an object array" if str(code).startswith("O") else f"a numpy dtype {str(code)[:40]!r}"
            raise _RefusedError(f"it holds {kind}")
        return _Dtype(code)

    def _encode(self, text: str, encoding: str) -> bytes:
        # Protocols 0 to 2 spell bytes this way. Any other codec would be imported by name.
        if encoding != "latin1":
            raise _RefusedError(f"it uses the codec {str(encoding)[:40]!r}")
        return text.encode("latin1")

    def _bytes(self) -> bytes:
        return b""  # protocols 0 to 2 spell empty bytes as bytes(), and all others by _encode

    def _bytearray(self, content: bytes | str = b"", encoding: str = "latin-1") -> bytearray:
        if isinstance(content, str):
            content = self._encode(content, encoding.replace("-", ""))
        if not isinstance(content, bytes):  # a number would ask for that many zeros
            raise _RefusedError("it makes a bytearray from something else than bytes")
        return bytearray(content)

    def _set(self, members: list | tuple = ()) -> set:
        _check_keys(members)
        return set(members)

    def _frozenset(self, members: list | tuple = ()) -> frozenset:
        _check_keys(members)
        return frozenset(members)

    def _dict(self, pairs: list | tuple = ()) -> dict:
        _check_keys(key for key, _ in pairs)
        return dict(pairs)


def _check_keys(keys: Iterable[Any]) -> None:
    for key in keys:
        if isinstance(key, int):
            if -_LARGEST_KEY < key < _LARGEST_KEY:
                continue
        elif key is None or isinstance(key, str | bytes | float | np.integer):
            continue
        raise _RefusedError(f"it has a dict key or a member of a set that is a {type(key).__name__} or too large")


class _Plain:
    """Replaces stand-ins by arrays, and refuses whatever is not plain data."""

    def __init__(self):
        # By id, with the object kept alive. Without it, lists that hold the one before twice take 2**n steps.
        self.done: dict[int, tuple[Any, Any]] = {}
        self.open: set[int] = set()

    def convert(self, value: Any) -> Any:
        if isinstance(value, _PLAIN) or isinstance(value, np.generic):
            return value
        if id(value) in self.done:
            return self.done[id(value)][1]
        if id(value) in self.open:
            raise _RefusedError("a container in it contains itself")
        self.open.add(id(value))
        result = self._rebuild(value)
        self.open.remove(id(value))
        self.done[id(value)] = (value, result)
        return result

    def _rebuild(self, value: Any) -> Any:
        if isinstance(value, _Array):
            return value.build()
        if isinstance(value, dict):
            return {self.convert(key): self.convert(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(self.convert(item) for item in value)
        raise _RefusedError("it holds a function, a type or an unfinished object")
