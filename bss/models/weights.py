"""The initial weights of a network, and key names of the released networks."""

from collections.abc import Mapping

from torch import Tensor, nn

from bss.utils.seeding import seeded


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


def renamed(state_dict: Mapping[str, Tensor], prefixes: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dict under other names: each key's longest matching prefix is replaced.

    A task's ``RELEASED_KEYS`` turn our names into those of the released networks; the inverse mapping loads their
    weights into ours.

    Args:
        state_dict: key -> tensor.
        prefixes: beginning of a key -> what it becomes.

    Raises:
        ValueError: a key that no prefix matches, or two keys that become the same.
    """
    result: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        prefix = max((p for p in prefixes if key.startswith(p)), key=len, default=None)
        if prefix is None:
            raise ValueError(f"no prefix of {sorted(prefixes)} matches the key {key!r}")
        name = prefixes[prefix] + key[len(prefix) :]
        if name in result:
            raise ValueError(f"two keys become {name!r}")
        result[name] = value
    return result
