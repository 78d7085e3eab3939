"""Sounds and pictures as a loader hands them over, and the views that are taken of a picture.

The host draws what is random and copies bytes; repeating a sound and resizing a picture is arithmetic, which the
training device does for a whole batch, see :mod:`bss.models.frontends`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from bss.data.batches import Content, Preview, batch_zeros
from bss.utils.devices import made_on_cpu


@dataclass(frozen=True)
class Sound(Content):
    """A waveform of any length.

    Attributes:
        waveform_T: (T,) float32, T >= 1.
        sample_rate: in Hz; the same in a whole data set, so that a batch does not carry it.
    """

    waveform_T: np.ndarray
    sample_rate: int

    @classmethod
    def batch(cls, contents: Sequence[Self]) -> dict[str, Tensor]:
        """``"waveform"`` (B, longest T) float32 and ``"length"`` (B,) int64: T of each."""
        length_B = torch.tensor([len(sound.waveform_T) for sound in contents], device="cpu")
        waveform_BT = batch_zeros((len(contents), int(length_B.max())), torch.float32)
        for row_T, sound in zip(waveform_BT.numpy(), contents, strict=True):
            row_T[: len(sound.waveform_T)] = sound.waveform_T
        return {"waveform": waveform_BT, "length": length_B}

    def preview(self) -> Preview:
        """The waveform."""
        return Preview(waveform_T=self.waveform_T, sample_rate=self.sample_rate)


class Picture(NamedTuple):
    """The part of a picture that a view shows.

    Attributes:
        pixels_HWC: (h, w, 3) uint8, RGB; may be a slice of something larger.
        flip: whether left and right are exchanged.
    """

    pixels_HWC: np.ndarray
    flip: bool = False


@dataclass(frozen=True)
class Pictures(Content):
    """The views of a sample's pictures, as many for every sample of a data set.

    Attributes:
        views: T of them, each of its own size.
    """

    views: Sequence[Picture]

    @classmethod
    def batch(cls, contents: Sequence[Self]) -> dict[str, Tensor]:
        """``"frames"`` (B, T, 3, largest h, largest w) uint8 and ``"box"`` (B, T, 3) int64: h, w and flip (0 or 1).

        The frames lie in memory as (B, T, h, w, 3).
        """
        boxes = [[(*view.pixels_HWC.shape[:2], view.flip) for view in each.views] for each in contents]
        box_BT3 = torch.tensor(boxes, device="cpu")
        frames, (height, width, _) = box_BT3.shape[1], box_BT3.amax(dim=(0, 1)).tolist()
        pixels_BTHWC = batch_zeros((len(contents), frames, height, width, 3), torch.uint8)
        for pixels_THWC, pictures in zip(pixels_BTHWC.numpy(), contents, strict=True):
            for pixels_HWC, view in zip(pixels_THWC, pictures.views, strict=True):
                height, width, _ = view.pixels_HWC.shape
                pixels_HWC[:height, :width] = view.pixels_HWC
        return {"frames": pixels_BTHWC.permute(0, 1, 4, 2, 3), "box": box_BT3}

    def preview(self) -> Preview:
        """The middle one of the pictures."""
        view = self.views[len(self.views) // 2]
        return Preview(pixels=view.pixels_HWC[:, ::-1] if view.flip else view.pixels_HWC)


def whole(pixels_HWC: np.ndarray) -> Picture:
    """The fixed view: all of the picture."""
    return Picture(pixels_HWC)


class RandomView:
    """The random view for training: a crop of 8 to 100 % of the area, flipped half of the time.

    Source: released code, CREMA-D/dataset/CramedDataset.py:72-77. The numbers are those that ``v2.RandomResizedCrop``
    and ``v2.RandomHorizontalFlip`` would draw one after the other, from torch's default CPU generator only, see
    :func:`bss.utils.seeding.seeded`.
    """

    def __init__(self):
        with made_on_cpu():
            self.crop = v2.RandomResizedCrop(1, scale=(0.08, 1.0))
        self._pixel = torch.zeros(1, device="cpu")

    def __call__(self, pixels_HWC: np.ndarray) -> Picture:
        """A view of a picture, (H, W, 3) uint8; nothing is copied."""
        with made_on_cpu():
            box = self.crop.make_params([self._pixel.expand(1, *pixels_HWC.shape[:2])])
        top, left, height, width = box["top"], box["left"], box["height"], box["width"]
        flip = bool(torch.rand(1, device="cpu") < 0.5)
        return Picture(pixels_HWC[top : top + height, left : left + width], flip)
