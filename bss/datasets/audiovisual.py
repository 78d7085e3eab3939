"""Clips with a sound and frames: what CREMA-D and Kinetics-Sounds have in common."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bss.datasets.listing import natural, visible
from bss.errors import DataError
from bss.transforms import audio as sound
from bss.transforms import image as picture

PICKS = ("drawn", "spread", "first")


@dataclass(frozen=True)
class Clip:
    """One row of a list with the clip's files.

    Attributes:
        name: the clip's name.
        label: position in the data set's classes.
        audio: its sound file, of any kind that :func:`bss.transforms.audio.read_audio` reads; None if there is none.
        frames: its frames in natural order (``frame_2`` before ``frame_10``); empty if there are none.
        listed: the list and line that name it, for errors.
        group: who or what is seen and heard: the actor, the source video.
    """

    name: str
    label: int
    audio: Path | None
    frames: tuple[Path, ...]
    listed: str = ""
    group: str = ""

    @property
    def files(self) -> Mapping[str, tuple[Path, ...]]:
        """Kind of file -> the files."""
        return {"audio": (self.audio,) if self.audio else (), "frames": self.frames}


def audio_finder(folders: Sequence[tuple[Path, Sequence[str]]]) -> Callable[[str], Path | None]:
    """A function from a clip's name to its audio file, by one listing of each folder.

    Args:
        folders: folder and suffixes in the order of preference: a decoded waveform goes before its source.
    """
    index: dict[str, Path] = {}
    for folder, suffixes in folders:
        files = [os.path.splitext(name) for name in visible(folder, os.DirEntry.is_file)]
        for suffix in suffixes:
            for stem, ending in files:
                if ending.lower() == suffix:
                    index.setdefault(stem, folder / (stem + ending))
    return index.get


def frame_finder(folders: Sequence[Path]) -> Callable[[str], tuple[Path, ...]]:
    """A function from a clip's name to its sorted frames, empty if there are none.

    Args:
        folders: folders of clip folders; the first in which the clip has jpg, jpeg or png files is taken. Hidden files
            are ignored.
    """
    clip_folders = [(folder, set(visible(folder, os.DirEntry.is_dir))) for folder in folders]

    def frames_of(name: str) -> tuple[Path, ...]:
        for folder, names in clip_folders:
            if name in names:
                files = visible(folder / name, os.DirEntry.is_file)
                frames = [file for file in files if file.lower().endswith(picture.FRAME_SUFFIXES)]
                if frames:
                    return tuple(folder / name / frame for frame in sorted(frames, key=natural))
        return ()

    return frames_of


class AudioVisual(Dataset):
    """Samples of clips.

    A sample is a dict:

    - ``"audio"``: waveform (T,) float32 in [-1, 1], T = round(sample_rate * seconds), repeated or cut to
      that; or (bins, frames) float32 where the files hold finished spectrograms. One with ``n_fft // 2 + 1``
      bins is repeated or cut to ``1 + T // hop_length`` frames, as if its waveform had been; others must all
      have one shape.
    - ``"visual"``: (3, num_frames, S, S) float32; every frame gets its own random view (released code,
      CREMA-D/dataset/CramedDataset.py:90-93)
    - ``"label"``: int

    Args:
        clips: clips that have their files, at least one.
        sample_rate: of the waveforms, in Hz.
        seconds: length of the waveforms.
        n_fft: STFT window of the model's spectrogram in samples; used for finished spectrograms only.
        hop_length: STFT step in samples; used for finished spectrograms only.
        transform: (3, H, W) uint8 -> (3, S, S) float32.
        num_frames: frames a sample.
        pick: which frames: ``"drawn"`` without replacement and sorted, from torch's default CPU generator
            (training; the released code draws them so and then uses others,
            CREMA-D/dataset/CramedDataset.py:87-91, KS/dataset/KS.py:136-146), ``"spread"`` the middles of equal
            parts (test), ``"first"`` the first ones of the sorted listing. A clip with fewer frames gives all of them,
            spread evenly, so that some repeat.

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
        transform: Callable[[Tensor], Tensor],
        num_frames: int = 1,
        pick: str = "spread",
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
        self.transform = transform
        self.num_frames = num_frames
        self.pick = pick
        first = self.clips[0].audio
        is_wave = first.suffix.lower() in sound.WAVE_SUFFIXES
        self.audio_shape = (self.num_samples,) if is_wave else self._read_audio(first).shape

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        clip = self.clips[index]
        try:
            return self._sample(clip)
        except DataError as error:
            raise DataError(f"{error} ({clip.listed})") from error

    def _sample(self, clip: Clip) -> dict[str, Tensor | int]:
        audio = self._read_audio(clip.audio)
        if audio.shape != self.audio_shape:
            raise DataError(
                f"{clip.audio}: audio of shape {audio.shape}, but {self.clips[0].audio} has "
                f"{self.audio_shape}; all clips must be waveforms, or spectrograms of one shape"
            )
        chosen = frame_indices(len(clip.frames), self.num_frames, self.pick)
        frames = [self.transform(picture.read_frame(clip.frames[i])) for i in chosen]
        return {"audio": torch.from_numpy(audio), "visual": torch.stack(frames, dim=1), "label": clip.label}

    def _read_audio(self, path: Path) -> np.ndarray:
        audio = sound.read_audio(path, self.sample_rate)
        if audio.ndim == 1:
            return sound.fit_length(audio, self.num_samples)
        return sound.fit_length(audio, self.spectrogram_frames) if audio.shape[0] == self.bins else audio


def frame_indices(available: int, wanted: int, pick: str) -> list[int]:
    """Sorted indices of the frames to use, see ``pick`` of :class:`AudioVisual`.

    Args:
        available: frames that there are, at least 1.
        wanted: frames to use, at least 1.
        pick: ``"drawn"`` (from torch's default CPU generator), ``"spread"`` or ``"first"``.

    Returns:
        ``wanted`` indices below ``available``; they repeat only if ``wanted > available``.
    """
    if pick == "drawn" and wanted <= available:
        return sorted(torch.randperm(available)[:wanted].tolist())
    if pick == "first" and wanted <= available:
        return list(range(wanted))
    return [(2 * i + 1) * available // (2 * wanted) for i in range(wanted)]


def write_clip(wav: Path, frame_folder: Path, waveform_T: np.ndarray, rate: int, frames: Sequence[np.ndarray]) -> None:
    """Write a generated clip: a 16-bit wav, and its frames as 00001.jpg, 00002.jpg, ...

    Args:
        wav: file to write; its folder exists.
        frame_folder: folder to make.
        waveform_T: (T,) in [-1, 1].
        rate: of the waveform, in Hz.
        frames: (H, W, 3) uint8 each.
    """
    import soundfile
    from torchvision.io import write_jpeg

    soundfile.write(wav, waveform_T, rate, subtype="PCM_16")
    frame_folder.mkdir(parents=True)
    for number, frame_HWC in enumerate(frames, start=1):
        image = torch.from_numpy(frame_HWC).permute(2, 0, 1).contiguous()
        write_jpeg(image, str(frame_folder / f"{number:05d}.jpg"), quality=90)
