"""The files of an exported run, written and read back: ``model.safetensors``, and ``config.json``, which explains it.

Whoever has the safetensors package alone can read both: the weights by their names, and as one JSON text under
:data:`KEY` of the metadata what the inputs and outputs of the network are. Nothing in them is run.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bss.utils.errors import RunFolderError, first_line, shown

WEIGHTS = "model.safetensors"


CONFIG = "config.json"


TEXT_MODEL = "text-model"
"""Folder of an exported run that holds the shape and the tokenizer of its text model, where it has one."""


FORMAT = 1
"""Version of what ``config.json`` and the metadata say, under ``export``."""


KEY = "bss"
"""Of the metadata of ``model.safetensors``: the text that ``config.json`` holds."""


def is_exported(path: Path) -> bool:
    """Whether a folder looks like an exported run."""
    return (path / WEIGHTS).is_file()


def own_tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The state of a network, every tensor once.

    Args:
        model: on the CPU.

    Returns:
        Name -> tensor, each with memory of its own; and for every further name of a tensor that the network has more
        than once (of a shared head or encoder) the name that it is under.

    Raises:
        RunFolderError: the state holds something else than tensors, which safetensors cannot keep.
    """
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first_name: dict[int, str] = {}
    for name, value in model.state_dict(
        keep_vars=True
    ).items():  # the parameters themselves: shared ones are one object
        if not isinstance(value, Tensor):
            raise RunFolderError(
                f"the network's state has a {type(value).__name__} under {name}; an export holds tensors alone"
            )
        known = first_name.setdefault(id(value), name)
        if known == name:
            tensors[name] = value.detach().clone(memory_format=torch.contiguous_format)
        else:
            aliases[name] = known
    return tensors, aliases


def write_export(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write both files.

    Args:
        folder: that exists.
        tensors: see :func:`own_tensors`.
        config: what they mean; ``export``, the version, and ``sha256``, the digest of the tensors, are added.
    """
    from safetensors.torch import save_file

    text = json.dumps({"export": FORMAT, **config, "sha256": _digest(tensors)}, indent=1, ensure_ascii=False)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    save_file(dict(tensors), folder / WEIGHTS, metadata={"format": "pt", KEY: text})


def read_export(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What an exported run means, and its weights under all of their names; what is shared is one tensor.

    Raises:
        RunFolderError: a file is missing, damaged, of something else or of a newer version, or the two do not belong
            together.
    """
    from safetensors import SafetensorError, safe_open

    file = path / WEIGHTS
    try:
        with safe_open(file, framework="pt") as opened:
            said = (opened.metadata() or {}).get(KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"{file} is damaged ({first_line(error)})") from error
    if said is None:
        raise RunFolderError(f"{file} has no {KEY!r} in its metadata: it was not written by python -m bss export")
    try:
        config, beside = json.loads(said), json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"{path}: {CONFIG} is damaged or missing ({shown(first_line(error))})") from error
    if config != beside or not isinstance(config, dict):
        raise RunFolderError(f"{path}: {CONFIG} and the metadata of {WEIGHTS} differ: one of them was changed")
    version = config.get("export")
    if type(version) is not int or not 1 <= version <= FORMAT:
        newer = "update bss" if type(version) is int and version > FORMAT else "it is no export"
        raise RunFolderError(
            f"{path}: an export of format {shown(version)}, and this version of bss knows {FORMAT}: {newer}"
        )
    if config.get("sha256") != _digest(tensors):
        raise RunFolderError(f"{file} is damaged or was changed: its weights do not fit their digest")
    aliases = config.get("aliases")
    if not isinstance(aliases, dict) or not all(name in tensors for name in aliases.values()):
        raise RunFolderError(f"{path}: aliases is {shown(aliases)}, which names no weights of {WEIGHTS}")
    return config, {**tensors, **{name: tensors[known] for name, known in aliases.items()}}


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes of tensors, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        found.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        found.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
