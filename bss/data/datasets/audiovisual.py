"""Clips with a sound and frames: what CREMA-D and Kinetics-Sounds have in common."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from bss.data.cache import Kind
from bss.data.datasets.clips import Clip
from bss.data.rows import Row
from bss.data.transforms import audio as sound
from bss.data.transforms import image as picture
from bss.data.transforms.views import Picture, Pictures, Sound
from bss.utils.errors import DataError

PICKS = ("drawn", "spread", "first")


_NEUTRAL_FRAME = np.array([[picture.NEUTRAL_PIXEL]], np.uint8)  # a single pixel, which every view makes a whole one of


def sound_kind(sample_rate: int, num_samples: int) -> Kind:
    """The decoding of a clip's sound: to a waveform (T,) at that rate, T <= num_samples, or a finished spectrogram."""
    decode = partial(_decode_sound, sample_rate=sample_rate, num_samples=num_samples)
    return Kind(f"sound-{sample_rate}hz-{num_samples}", decode, "float32")


def frame_kind() -> Kind:
    """The decoding of a frame: to (H, W, 3) uint8, in its own size."""
    return Kind("frames", _decode_frame, "uint8")


def _decode_sound(path: Path, *, sample_rate: int, num_samples: int) -> np.ndarray:
    audio = sound.read_audio(path, sample_rate)
    return audio[:num_samples] if audio.ndim == 1 else audio


def _decode_frame(path: Path) -> np.ndarray:
    return picture.read_frame(path).permute(1, 2, 0).numpy()


def decoded_files(clips: Sequence[Clip], first_frames: int | None = None) -> dict[str, dict[Path, str]]:
    """The files that a cache decodes: ``"sound"`` and ``"frames"`` -> file -> the list and row that name it.

    Args:
        clips: of all parts.
        first_frames: only so many of each clip are used; None = all.
    """
    return {
        "sound": {clip.audio: clip.listed for clip in clips},
        "frames": {frame: clip.listed for clip in clips for frame in clip.frames[:first_frames] if frame},
    }


class AudioVisual(Dataset):
    """Clips as samples, to be batched by :func:`bss.data.batches.collate`.

    A sample is a dict:

    - ``"audio"``: a :class:`bss.data.transforms.views.Sound`, cut to ``seconds``; or, where files hold finished
      spectrograms, (bins, frames) float32. One with ``n_fft // 2 + 1`` bins is repeated or cut to
      ``1 + T // hop_length`` frames, as if its waveform had been; others must all have one shape.
    - ``"visual"``: a :class:`bss.data.transforms.views.Pictures` of ``num_frames``; every frame gets its own random
      view (released code, CREMA-D/dataset/CramedDataset.py:90-93)
    - ``"label"``: int

    Args:
        clips: clips that have their files, at least one.
        sample_rate: of the waveforms, in Hz.
        seconds: longest waveform.
        n_fft: STFT window of the model's spectrogram in samples; used for finished spectrograms only.
        hop_length: STFT step in samples; used for finished spectrograms only.
        view: what is shown of a frame, (H, W, 3) uint8: :func:`bss.data.transforms.views.whole`, or a
            :class:`bss.data.transforms.views.RandomView`.
        num_frames: frames a sample.
        pick: which frames: ``"drawn"`` without replacement and sorted, from torch's default CPU generator
            (training; the released code draws them so and then uses others,
            CREMA-D/dataset/CramedDataset.py:87-91, KS/dataset/KS.py:136-146), ``"spread"`` the middles of equal
            parts (test), ``"first"`` the first ones of the sorted listing. A clip with fewer frames gives all of them,
            spread evenly, so that some repeat.
        read_sound: file -> decoded sound; a part of a :class:`bss.data.cache.Cache`. None decodes the file every time.
        read_frame: file -> decoded frame, likewise.

    Raises:
        DataError: from indexing, naming the file, for one that cannot be decoded or has another shape than
            the first.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        sample_rate: int,
        seconds: float,
        n_fft: int,
        hop_length: int,
        view: Callable[[np.ndarray], Picture],
        num_frames: int = 1,
        pick: str = "spread",
        read_sound: Callable[[Path], np.ndarray] | None = None,
        read_frame: Callable[[Path], np.ndarray] | None = None,
    ):
        if not clips:
            raise ValueError("AudioVisual needs at least one clip")
        if pick not in PICKS:
            raise ValueError(f"pick must be one of {PICKS}, got {pick!r}")
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}")
        self.clips = tuple(clips)
        self.sample_rate = sample_rate
        self.num_samples = round(sample_rate * seconds)
        self.bins = n_fft // 2 + 1
        self.spectrogram_frames = 1 + self.num_samples // hop_length
        self.view = view
        self.num_frames = num_frames
        self.pick = pick
        self.read_sound = read_sound or sound_kind(sample_rate, self.num_samples).decode
        self.read_frame = read_frame or frame_kind().decode
        first = self.clips[0].audio
        is_wave = first.suffix.lower() in sound.WAVE_SUFFIXES
        self.audio_shape = (self.num_samples,) if is_wave else self._shape(self._read_audio(first))

    def __len__(self) -> int:
        return len(self.clips)

    def listed_rows(self) -> list[Row]:
        """What is known of the clips without reading them; those of the same files are equal."""
        return [Row(clip.name, clip.label, (clip.audio, clip.frames), clip.group) for clip in self.clips]

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = self.clips[index]
        try:
            return self._sample(clip)
        except DataError as error:
            raise DataError(f"{error} ({clip.listed})") from error

    def _sample(self, clip: Clip) -> dict[str, Any]:
        audio = self._read_audio(clip.audio)
        if self._shape(audio) != self.audio_shape:
            raise DataError(
                f"{clip.audio}: audio of shape {self._shape(audio)}, but {self.clips[0].audio} has "
                f"{self.audio_shape}; all clips must be waveforms, or spectrograms of one shape"
            )
        chosen = frame_indices(len(clip.frames), self.num_frames, self.pick)
        frames = (clip.frames[i] for i in chosen)
        views = [self.view(_NEUTRAL_FRAME if frame is None else self.read_frame(frame)) for frame in frames]
        content = Sound(audio, self.sample_rate) if audio.ndim == 1 else torch.tensor(audio, device="cpu")
        return {"audio": content, "visual": Pictures(views), "label": clip.label}

    def _read_audio(self, path: Path) -> np.ndarray:
        audio = self.read_sound(path)
        ours = audio.ndim == 2 and audio.shape[0] == self.bins
        return sound.fit_length(audio, self.spectrogram_frames) if ours else audio

    def _shape(self, audio: np.ndarray) -> tuple[int, ...]:
        """The shape that the network sees: there a waveform is repeated to the window."""
        return (self.num_samples,) if audio.ndim == 1 else audio.shape


def frame_indices(available: int, wanted: int, pick: str) -> list[int]:
    """Choose frames of a clip; :class:`AudioVisual` explains ``pick``.

    Args:
        available: frames that there are, at least 1.
        wanted: frames to use, at least 1.
        pick: ``"drawn"`` (from torch's default CPU generator), ``"spread"`` or ``"first"``.

    Returns:
        ``wanted`` indices below ``available``; they repeat only if ``wanted > available``.
    """
    if pick == "drawn" and wanted <= available:
        return sorted(torch.randperm(available, device="cpu")[:wanted].tolist())
    if pick == "first" and wanted <= available:
        return list(range(wanted))
    return [(2 * i + 1) * available // (2 * wanted) for i in range(wanted)]
