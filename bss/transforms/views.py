"""Sounds and pictures as a loader hands them over, and the modules that make network inputs of them on the device.

The host draws what is random and copies bytes; repeating a sound and resizing a picture is arithmetic, which the
training device does for a whole batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from bss.data import Content, batch_zeros
from bss.transforms.image import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class Sound(Content):
    """A waveform of any length.

    Attributes:
        waveform_T: (T,) float32, T >= 1.
    """

    waveform_T: np.ndarray

    @classmethod
    def batch(cls, contents: Sequence[Self]) -> dict[str, Tensor]:
        """``"waveform"`` (B, longest T) float32 and ``"length"`` (B,) int64: T of each."""
        length_B = torch.tensor([len(sound.waveform_T) for sound in contents])
        waveform_BT = batch_zeros((len(contents), int(length_B.max())), torch.float32)
        for row_T, sound in zip(waveform_BT.numpy(), contents, strict=True):
            row_T[: len(sound.waveform_T)] = sound.waveform_T
        return {"waveform": waveform_BT, "length": length_B}


class Picture(NamedTuple):
    """What a view shows of a picture.

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
        box_BT3 = torch.tensor([[(*view.pixels_HWC.shape[:2], view.flip) for view in each.views] for each in contents])
        frames, (height, width, _) = box_BT3.shape[1], box_BT3.amax(dim=(0, 1)).tolist()
        pixels_BTHWC = batch_zeros((len(contents), frames, height, width, 3), torch.uint8)
        for pixels_THWC, pictures in zip(pixels_BTHWC.numpy(), contents, strict=True):
            for pixels_HWC, view in zip(pixels_THWC, pictures.views, strict=True):
                height, width, _ = view.pixels_HWC.shape
                pixels_HWC[:height, :width] = view.pixels_HWC
        return {"frames": pixels_BTHWC.permute(0, 1, 4, 2, 3), "box": box_BT3}


def whole(pixels_HWC: np.ndarray) -> Picture:
    """The fixed view: all of the picture."""
    return Picture(pixels_HWC)


class RandomView:
    """The random view for training: a crop of 8 to 100 % of the area, flipped half of the time.

    Source: released code, CREMA-D/dataset/CramedDataset.py:72-77. The numbers are those that ``v2.RandomResizedCrop``
    and ``v2.RandomHorizontalFlip`` would draw one after the other, from torch's default CPU generator only, see
    :func:`bss.seeding.seeded`.
    """

    def __init__(self):
        self.crop = v2.RandomResizedCrop(1, scale=(0.08, 1.0))
        self._pixel = torch.zeros(1)

    def __call__(self, pixels_HWC: np.ndarray) -> Picture:
        """A view of a picture, (H, W, 3) uint8; nothing is copied."""
        box = self.crop.make_params([self._pixel.expand(1, *pixels_HWC.shape[:2])])
        top, left, height, width = box["top"], box["left"], box["height"], box["width"]
        flip = bool(torch.rand(1) < 0.5)
        return Picture(pixels_HWC[top : top + height, left : left + width], flip)


class RepeatToLength(nn.Module):
    """Sounds of any length, each repeated or cut to one length: a part of the model, in front of its spectrogram.

    The released code tiles on the host (CREMA-D/dataset/CramedDataset.py:60).

    Args:
        num_samples: the length.
    """

    def __init__(self, num_samples: int):
        super().__init__()
        self.num_samples = num_samples

    def forward(self, sound: Tensor | Mapping[str, Tensor]) -> Tensor:
        """A batch of :class:`Sound` to (B, num_samples); a tensor (finished waveforms or spectrograms) as it is."""
        if isinstance(sound, Tensor):
            return sound
        waveform_BT, length_B = sound["waveform"], sound["length"]
        if waveform_BT.device.type == "cpu":  # indexing costs more than the STFT there, copying next to nothing
            repeated_BT = waveform_BT.new_empty(len(waveform_BT), self.num_samples)
            for row_T, waveform_T, length in zip(repeated_BT, waveform_BT, length_B.tolist(), strict=True):
                done = min(length, self.num_samples)
                row_T[:done] = waveform_T[:done]
                while done < self.num_samples:
                    more = min(done, self.num_samples - done)
                    row_T[done : done + more] = row_T[:more]
                    done += more
            return repeated_BT
        position_T = torch.arange(self.num_samples, device=waveform_BT.device)
        return waveform_BT.gather(1, position_T % length_B.unsqueeze(1))


class FrameViews(nn.Module):
    """Pictures of any size, each resized to a square, flipped where that was drawn, and normalised: a part of a model.

    On a CPU each picture goes through torchvision's antialiased ``resize``. Elsewhere a loop over pictures would cost
    more than the network, and :func:`resized` does all of them at once.

    Args:
        size: pixels, height and width.
    """

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        for name, values in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor | Mapping[str, Tensor]) -> Tensor:
        """A batch of :class:`Pictures` to (B, 3, T, size, size) float32; a tensor (finished views) as it is."""
        if isinstance(pictures, Tensor):
            return pictures
        frames_BT3HW, box_BT3 = pictures["frames"], pictures["box"]
        frames_N3HW, box_N3 = frames_BT3HW.flatten(0, 1), box_BT3.flatten(0, 1)
        if frames_N3HW.device.type == "cpu":
            pixels_N3SS = frames_N3HW.new_empty(len(frames_N3HW), 3, self.size, self.size)
            for square, frame, (height, width, flip) in zip(pixels_N3SS, frames_N3HW, box_N3.tolist(), strict=True):
                view = v2.functional.resize(frame[:, :height, :width], [self.size, self.size], antialias=True)
                square.copy_(view.flip(-1) if flip else view)
            values_N3SS = v2.functional.to_dtype(pixels_N3SS, torch.float32, scale=True)
        else:
            values_N3SS = resized(frames_N3HW, box_N3, self.size).mul_(1 / 255)
        values_N3SS = values_N3SS.sub_(self.mean).div_(self.std)
        return values_N3SS.unflatten(0, frames_BT3HW.shape[:2]).transpose(1, 2)


def resized(frames_N3HW: Tensor, box_N3: Tensor, size: int) -> Tensor:
    """All pictures of a batch resized to squares at once, by the antialiased bilinear filter of torchvision and PIL.

    That filter is linear and separable, so it is two batched matrix products, with matrices made from the boxes on the
    device: nothing waits for the host.

    Args:
        frames_N3HW: (N, 3, H, W) uint8, padded.
        box_N3: (N, 3) whole numbers: height, width and flip of each picture within its frame.
        size: S.

    Returns:
        (N, 3, S, S) float32, whole numbers in [0, 255]; torchvision's uint8 result within 1.
    """
    count, _, height, width = frames_N3HW.shape
    box_3N = box_N3.unbind(1)
    down_NSH = _filter(box_3N[0], torch.zeros_like(box_3N[2]), size, height)
    across_NSW = _filter(box_3N[1], box_3N[2], size, width)
    with torch.autocast(frames_N3HW.device.type, enabled=False):
        rows_NHX = frames_N3HW.permute(0, 2, 3, 1).reshape(count, height, width * 3).float()
        rows_NSX = torch.bmm(down_NSH, rows_NHX)
        columns_NXW = rows_NSX.view(count, size, width, 3).transpose(2, 3).reshape(count, size * 3, width)
        squares_NXS = torch.bmm(columns_NXW, across_NSW.transpose(1, 2))
    return squares_NXS.view(count, size, 3, size).transpose(1, 2).contiguous().round_()


def _filter(length_N: Tensor, flip_N: Tensor, size: int, available: int) -> Tensor:
    """Weights (N, size, available) float32 of the first ``length_N`` pixels of a line in each of ``size`` new pixels.

    A triangle over two new pixels, or over two old ones where the line grows, normalised within the line.
    """
    scale_N11 = (length_N.float() / size).view(-1, 1, 1)
    new_S = torch.arange(size, device=length_N.device)
    new_NS1 = torch.where(flip_N.view(-1, 1, 1).bool(), size - 1 - new_S.view(1, -1, 1), new_S.view(1, -1, 1))
    old_W = torch.arange(available, device=length_N.device)
    distance_NSW = (old_W + 0.5 - scale_N11 * (new_NS1 + 0.5)).abs()
    weight_NSW = (1 - distance_NSW / scale_N11.clamp(min=1)).clamp(min=0) * (old_W < length_N.view(-1, 1, 1))
    return weight_NSW / weight_NSW.sum(dim=2, keepdim=True)
