"""The initial weights of a network: drawn by a seed, or out of a file in one of the forms that are published."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from bss.utils.errors import DataError, first_line, shown
from bss.utils.filesystem import load_tensors, reading
from bss.utils.seeding import seeded

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params", "module")
"""Keys under which a training script puts a network's weights beside its optimiser; the first that is there counts."""


_COUNTER = "num_batches_tracked"  # of BatchNorm: weights of before PyTorch 0.4.1 have none


def initialize(model: nn.Module, seed: int) -> nn.Module:
    """Draw the weights of all linear, convolution and BatchNorm layers anew, as a function of the seed alone.

    Returns the model. Other layers (attention) keep the weights that they were made with, so build the network inside
    :func:`bss.utils.seeding.seeded`.

    Linear: Xavier normal, bias 0. Conv2d: Kaiming normal, fan out, ReLU. BatchNorm2d: weight 1, bias 0.
    Source: ``weight_init`` of the released utils/utils.py, applied to KS, CREMA-D and NVGesture.
    """
    with seeded("initialize", seed):
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
    return model


def read_weights(path: str | os.PathLike) -> dict[str, Tensor]:
    """The weights in a file, by their names in it.

    Args:
        path: of ``torch.save`` or of safetensors, as its content says, whatever it is called. It holds a state dict, or
            a checkpoint with one under ``state_dict``, ``model`` or another of the keys that training scripts use.

    Raises:
        DataError: naming the file and what it holds: it is none of these.
    """
    with reading(path), open(path, "rb") as file:
        head = file.read(9)
    content = _read_safetensors(path) if head[8:] == b"{" and head[:2] != b"PK" else load_tensors(path)
    inner = content
    if isinstance(content, Mapping) and not _is_state(content):
        inner = next((content[key] for key in _WRAPPERS if _is_state(content.get(key))), content)
    if not isinstance(inner, Mapping) or not _is_state(inner):
        what = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            what = f"a dict of {', '.join(shown(key, 30) for key in list(content)[:6]) or 'nothing'}"
        raise DataError(f"{path}: holds no state dict (name -> tensor), but {what}: save model.state_dict()")
    return dict(inner)


def _is_state(content: object) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(isinstance(v, Tensor) for v in content.values())


def _read_safetensors(path: str | os.PathLike) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{Path(path)}: not a readable safetensors file ({first_line(error)})") from error


def matched(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, ignored: Sequence[str] = ()
) -> dict[str, Tensor]:
    """The tensors of a network out of a state dict in which their names may begin with something else.

    Wrappers (``module.`` of DataParallel, ``_orig_mod.`` of torch.compile) and larger networks (``model.``,
    ``backbone.``, ``encoder.``, ``audio_net.``) put a prefix before the names. A prefix is taken off where there is no
    doubt: all tensors of the network, in their shapes, are there behind it, and behind no other one. What has another
    prefix belongs to other parts of the larger network and is left out.

    Args:
        weights: the state dict.
        wanted: the state dict of the network.
        ignored: beginnings of names, behind the prefix, that may be there as well and are left out: a classifier's.

    Returns:
        The tensors under the names that ``wanted`` has; BatchNorm's counters may lack.

    Raises:
        DataError: names are missing, unexpected or of another shape; or several prefixes fit. The text names no file.
    """
    needed = [name for name in wanted if not name.endswith(_COUNTER)]
    prefixes = {key.removesuffix(needed[0]) for key in weights if key.endswith(needed[0])}
    prefixes = {prefix for prefix in prefixes if not prefix or prefix.endswith(".")} or {""}
    whole = [prefix for prefix in sorted(prefixes) if all(_fits(weights.get(prefix + k), wanted[k]) for k in needed)]
    if len(whole) > 1 and "" not in whole:
        raise DataError(
            f"{len(whole)} networks in it fit, behind {' and '.join(map(shown, whole))}: save the one that is meant by "
            "itself"
        )
    best = max(sorted(prefixes), key=lambda prefix: sum(prefix + name in weights for name in needed))
    prefix = "" if "" in whole else whole[0] if whole else best
    found = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    found = {key: value for key, value in found.items() if key in wanted or not key.startswith(tuple(ignored))}
    faults = {
        "missing": [name for name in needed if name not in found],
        "unexpected": [name for name in found if name not in wanted],
        "of another shape": [
            f"{name} {tuple(found[name].shape)} instead of {tuple(value.shape)}"
            for name, value in wanted.items()
            if name in found and not _fits(found[name], value)
        ],
    }
    if any(faults.values()):
        counts = "; ".join(f"{len(names)} {what}, first {names[0]}" for what, names in faults.items() if names)
        strange = (
            "" if any(name in found for name in needed) else f"; its own first name is {shown(next(iter(weights)))}"
        )
        raise DataError(f"{counts}{f', behind {shown(prefix)}' if prefix else ''}{strange}")
    return found


def _fits(tensor: Tensor | None, wanted: Tensor) -> bool:
    return tensor is not None and tensor.shape == wanted.shape
