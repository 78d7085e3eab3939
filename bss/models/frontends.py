"""From what a data loader hands over to what an encoder takes: the first layers of a network, on the device."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from bss.data.transforms.image import IMAGENET_MEAN, IMAGENET_STD


class Spectrogram(nn.Module):
    """Magnitudes of a short-time Fourier transform, with a periodic Hann window, centred and padded with zeros.

    What ``torchaudio.transforms.Spectrogram(power=1, pad_mode="constant")`` computes, for an environment without it:
    torchaudio ends at 2.11.0, and PyTorch does not.

    Args:
        n_fft: window length in samples.
        hop_length: step between frames in samples.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int):
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, audio_BT: Tensor) -> Tensor:
        """Turn waveforms (B, T) float32 into (B, n_fft // 2 + 1, 1 + T // hop_length)."""
        transform = torch.stft(
            audio_BT,
            self.n_fft,
            self.hop_length,
            window=self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        return transform.abs()


def spectrogram(n_fft: int, hop_length: int) -> nn.Module:
    """Torchaudio's module where it can be imported, else :class:`Spectrogram`; their outputs are equal."""
    try:
        from torchaudio import transforms
    except (ImportError, OSError, RuntimeError):  # 2.11.0 where torch is not the one it was built for
        return Spectrogram(n_fft, hop_length)
    module = transforms.Spectrogram(n_fft=n_fft, hop_length=hop_length, power=1, center=True, pad_mode="constant")
    # Registered again as not persistent: a checkpoint must not depend on how the input was computed.
    module.register_buffer("window", module.window, persistent=False)
    return module


class LogSpectrogram(nn.Module):
    """Log magnitude spectrogram, log(|STFT| + 1e-7), as a part of the model.

    The data set then yields waveforms and the STFT runs batched on the training device. Equal to the released
    code's ``log(abs(librosa.stft(...)) + 1e-7)`` (CREMA-D/dataset/CramedDataset.py:65-66) within 1e-4 down to a
    thousandth of the peak; in fainter bins the log shows the float32 rounding of either library. It has no
    parameters and nothing of it appears in ``state_dict``; its window moves with ``.to(device)``.

    Args:
        n_fft: window length in samples (Hann, centred, zero padded); the result has ``n_fft // 2 + 1`` bins.
        hop_length: step between frames in samples.
    """

    def __init__(self, n_fft: int = 512, hop_length: int = 353):
        super().__init__()
        self.stft = spectrogram(n_fft, hop_length)

    def forward(self, audio: Tensor) -> Tensor:
        """Turn waveforms (B, T) into (B, 1, n_fft // 2 + 1, 1 + T // hop_length), float32.

        Finished spectrograms (B, bins, frames) only get the channel axis.
        """
        if audio.ndim == 3:
            return audio.unsqueeze(1)
        if audio.ndim != 2:
            raise ValueError(f"audio must be (B, T) or (B, bins, frames), got {tuple(audio.shape)}")
        # In half precision 1e-7 rounds to zero or nearly so, and silence would become -inf.
        with torch.autocast(audio.device.type, enabled=False):
            return torch.log(self.stft(audio.float()) + 1e-7).unsqueeze(1)


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
