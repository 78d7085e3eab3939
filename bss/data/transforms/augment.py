"""The random view of a picture for training, whose operations are those of the released code."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bss.data.transforms.image import normalizing
from bss.utils.choices import Interpolation, Normalization
from bss.utils.devices import made_on_cpu

if TYPE_CHECKING:
    from types import ModuleType

    from torchvision.transforms import v2


def augment_transform(
    size: int, *, normalization: Normalization = "imagenet", interpolation: Interpolation = "bilinear"
) -> "v2.Transform":
    """Random view for training: (3, H, W) uint8 -> (3, size, size) float32, normalised.

    A random crop of 50 to 100 % of the area resized to ``size`` pixels, flipped half of the time, then
    :class:`RandomOperations` (released code, Sarcasm/dataset/sarcasm.py:69-76). It draws from torch's default CPU
    generator only.
    """
    from torchvision.transforms import v2

    with made_on_cpu():  # it holds a tensor (torchvision 0.26), which goes to the loader's processes
        crop = v2.RandomResizedCrop(
            (size, size), scale=(0.5, 1.0), interpolation=v2.InterpolationMode(interpolation), antialias=True
        )
    return v2.Compose([crop, v2.RandomHorizontalFlip(), RandomOperations(), *normalizing(normalization)])


class RandomOperations(nn.Module):
    """RandAugment (Cubuk et al. 2020) as the released code has it: (3, H, W) uint8 -> the same.

    Draws ``count`` of ten operations with replacement and applies each with probability one half at a fixed strength.
    At magnitude 7 of 10: brightness and sharpness times 1.36, shears of 0.21 from the top left corner, shifts of 7
    pixels, turns of 21 degrees, the last three in either direction over grey (128); autocontrast, equalize, identity.
    torchvision's own ``v2.RandAugment`` has 14 operations (colour, contrast, posterize and solarize as well), applies
    every one that it draws and shifts in proportion to the image, so only its building blocks are used.

    What differs from the released code (Sarcasm/dataset/randaugment.py), which computes with OpenCV: turns are about
    the middle of the image, half a pixel from there, and shears interpolate otherwise (1.6 and 0.7 grey levels on
    average); its autocontrast negates the darkest value in 8 bits (line 31), which makes a picture without black white.

    Args:
        count: operations that are drawn.
        magnitude: strength, 0 to 10.
    """

    def __init__(self, count: int = 2, magnitude: float = 7):
        super().__init__()
        self.count = count
        self.magnitude = magnitude

    def forward(self, image: Tensor) -> Tensor:
        """One random view; draws from torch's default CPU generator."""
        for _ in range(self.count):
            operation = list(OPERATIONS.values())[int(torch.randint(len(OPERATIONS), (), device="cpu"))]
            applied, sign = torch.rand(2, device="cpu").tolist()
            if applied < 0.5:
                image = operation(image, self.magnitude / 10, 1 if sign < 0.5 else -1)
        return image


_GREY = 128  # behind a picture that moved away


def _moved(
    image: Tensor,
    *,
    angle: float = 0.0,
    shift: tuple[float, float] = (0.0, 0.0),
    shear: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """The image turned about its middle (degrees), shifted (pixels), or sheared from the top left corner (slopes)."""
    # Grey is the zero of the interpolation: torchvision's own fill leaves a dark seam along a slanted border.
    from torchvision.transforms import InterpolationMode

    moved = _functional().affine(
        image.float() - _GREY,
        angle=angle,
        translate=list(shift),
        scale=1.0,
        shear=[math.degrees(math.atan(slope)) for slope in shear],
        interpolation=InterpolationMode.BILINEAR,
        center=[0.0, 0.0] if any(shear) else None,
    )
    return (moved + _GREY).round().to(torch.uint8)


def _functional() -> "ModuleType":
    """Operations of torchvision, which takes seconds to import; reading pictures does without."""
    from torchvision.transforms.v2 import functional

    return functional


OPERATIONS: dict[str, Callable[[Tensor, float, int], Tensor]] = {
    "identity": lambda image, level, sign: image,
    "autocontrast": lambda image, level, sign: _functional().autocontrast(image),
    "equalize": lambda image, level, sign: _functional().equalize(image),
    "brightness": lambda image, level, sign: _functional().adjust_brightness(image, 0.1 + 1.8 * level),
    "sharpness": lambda image, level, sign: _functional().adjust_sharpness(image, 0.1 + 1.8 * level),
    "shear_x": lambda image, level, sign: _moved(image, shear=(0.3 * level * sign, 0.0)),
    "shear_y": lambda image, level, sign: _moved(image, shear=(0.0, 0.3 * level * sign)),
    "translate_x": lambda image, level, sign: _moved(image, shift=(10 * level * sign, 0)),
    "translate_y": lambda image, level, sign: _moved(image, shift=(0, 10 * level * sign)),
    "rotate": lambda image, level, sign: _moved(image, angle=30 * level * sign),
}
"""What :class:`RandomOperations` draws from: functions of (image, level in [0, 1], sign), strengths as released."""
