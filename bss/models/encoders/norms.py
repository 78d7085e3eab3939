"""The normalisation of small encoders, as a value that a recipe can choose."""

from typing import Literal

from torch import nn

Norm = Literal["batch", "group", "none"]


GROUPS = 8
"""Of ``"group"``: the number of channels must be a multiple of it."""


def normalization(norm: Norm, channels: int, *, spatial: bool = False) -> nn.Module:
    """A layer that normalises (B, channels), or (B, channels, H, W) where ``spatial``.

    Args:
        norm: ``"batch"``: BatchNorm, whose running statistics follow the last batches of an epoch; ``"group"``:
            GroupNorm with :data:`GROUPS` groups, where a sample does not depend on its batch-mates; ``"none"``.
        channels: of the layer before it.
        spatial: whether there are positions H, W.
    """
    if norm == "batch":
        return (nn.BatchNorm2d if spatial else nn.BatchNorm1d)(channels)
    return nn.GroupNorm(GROUPS, channels) if norm == "group" else nn.Identity()
