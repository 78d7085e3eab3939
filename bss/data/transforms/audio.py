"""Waveforms from files, and the log spectrogram, computed on the training device."""

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bss.data import safe_pickle
from bss.data.file_heads import absence, read_head, sound_damage
from bss.utils import filesystem
from bss.utils.errors import DataError, first_line

WAVE_SUFFIXES = (".wav", ".flac", ".ogg")
"""Sound files, read by :func:`read_waveform`; suffixes are compared in lower case."""


AUDIO_SUFFIXES = (*WAVE_SUFFIXES, ".pkl", ".npy", ".pt")
"""All that :func:`read_audio` reads."""


_PCM_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


MIN_RATE, MAX_RATE = 100, 1_000_000
"""In Hz; a header with another rate is damaged, and resampling from it would fill the memory."""


MAX_SAMPLES = 100_000_000
"""Longer sounds are refused before they are decoded (channels counted one by one): 38 minutes of stereo at 22,050 Hz.

A megabyte of flac can hold an hour of silence, and a few bytes of a tensor file can claim any length.
"""


_WAVE_HEADER = struct.Struct("<4sI8sIHHIIHH")  # RIFF, the size, and how samples are stored


# Resampling and mixing overshoot 1 by a little; integer samples stored as floats reach thousands.
_MAX_PEAK = 8.0


_ANY_RATE = 22050  # of an array that does not tell its rate and is only looked at


_CANCELLED = 0.05
"""Share of the energy that independent channels would leave in their mean, below which they cancel one another."""


def mono(channels_CT: np.ndarray) -> np.ndarray:
    """The mean of the channels of a sound; the loudest channel where they cancel one another.

    One of a stereo pair turned upside down is a common fault of recordings and of cables. Nobody hears it, and the mean
    is silence.

    Args:
        channels_CT: (C, T) floats, C >= 1.

    Returns:
        (T,).
    """
    if len(channels_CT) == 1:
        return channels_CT[0]
    mean_T = channels_CT.mean(axis=0)
    energy_C = np.square(channels_CT, dtype=np.float64).sum(axis=1)
    # Of C independent channels, also where all but one are silent, the mean has 1 / C**2 of the sum of the energies.
    if np.square(mean_T, dtype=np.float64).sum() < _CANCELLED * energy_C.sum() / len(channels_CT) ** 2:
        return channels_CT[energy_C.argmax()]
    return mean_T


def read_waveform(path: str | os.PathLike, sample_rate: int | None) -> np.ndarray:
    """Read a sound file.

    Args:
        path: ``.wav``, ``.flac`` or ``.ogg`` of any rate and number of channels.
        sample_rate: wanted rate in Hz; a file of another rate goes through :func:`resample`. None = its own.

    Returns:
        (T,) float32, channels mixed by :func:`mono`, clipped to [-1, 1] (the released code clips after tiling, which is
        the same: CREMA-D/dataset/CramedDataset.py:60-63).

    Raises:
        DataError: a Git-LFS pointer, a file that cannot be decoded or is truncated, no samples, samples that
            are not finite or not in the range of audio.
    """
    import soundfile

    head, size = read_head(path)
    problem = absence(head, size) or sound_damage(head, size, Path(path).suffix.lower())
    if problem:
        raise DataError(f"{path}: {problem}")
    try:
        with soundfile.SoundFile(path) as file:
            rate, claimed = file.samplerate, file.frames * file.channels
            if claimed > MAX_SAMPLES:
                raise DataError(f"{path}: a sound of {claimed} samples; at most {MAX_SAMPLES} are decoded")
            samples_TC = file.read(dtype="float32", always_2d=True)
    except DataError:
        raise
    except (soundfile.SoundFileError, OSError, RuntimeError, ValueError, MemoryError) as error:
        detail = str(error).replace(f"Error opening '{path}': ", "").replace(f"Error opening {str(path)!r}: ", "")
        raise DataError(f"{path}: cannot be decoded as audio: {detail}") from error
    return conditioned(mono(samples_TC.T), rate, sample_rate or rate, path)


class Samples(NamedTuple):
    """The sound of a file as it is stored.

    Attributes:
        samples_T: (T,) int16, T >= 1.
        rate: in Hz.
    """

    samples_T: np.ndarray
    rate: int


def stored_samples(data: bytes) -> Samples | None:
    """The sound of an ordinary wav: one channel of 16 bits, whole, with nothing behind it.

    Args:
        data: the bytes of the file.

    Returns:
        What :func:`read_waveform` decodes at the file's own rate, times 2**15. None where that alone tells what is in
        the file: of every other kind, or where a number of its header does not fit the others.
    """
    if len(data) < _WAVE_HEADER.size:
        return None
    riff, size, wave, length, code, channels, rate, per_second, block, bits = _WAVE_HEADER.unpack_from(data)
    if (riff, size + 8, wave, length) != (b"RIFF", len(data), b"WAVEfmt ", 16):
        return None
    if (code, channels, per_second, block, bits) != (1, 1, 2 * rate, 2, 16) or not MIN_RATE <= rate <= MAX_RATE:
        return None
    at = _WAVE_HEADER.size
    if data[at : at + 4] == b"LIST" and data[at + 8 : at + 12] == b"INFO":  # the name of the program that wrote it
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    length = len(data) - at - 8
    if data[at : at + 8] != b"data" + length.to_bytes(4, "little", signed=True) or length % 2:
        return None
    if not 2 <= length <= 2 * MAX_SAMPLES:
        return None
    return Samples(np.frombuffer(data, "<i2", offset=at + 8), rate)


def read_audio(path: str | os.PathLike, sample_rate: int | None) -> np.ndarray:
    """Read a clip's audio from any of the forms in which it is passed around.

    Besides sound files: ``.pkl`` (through :mod:`bss.data.safe_pickle`), ``.npy`` and ``.pt`` that hold one of

    - ``{"waveform": (T,), "sample_rate": Hz}``, what ``CREMAD/sound_preprocessing.py`` writes; a higher rate
      than the wanted one is resampled, a lower one refused
    - a 1-D array: a waveform that already has ``sample_rate``
    - (1, T) or (2, T): the same, as channels
    - a 2-D array of floats: a finished spectrogram (bins, frames)

    Waveforms are floats in [-1, 1], or int16 / int32 PCM, which is scaled to that range.

    Args:
        path: the file; its suffix decides how it is read.
        sample_rate: wanted rate in Hz. None = the file's own, so that it is only looked at.

    Returns:
        float32: a waveform (T,) in [-1, 1], or a spectrogram (bins, frames) as stored.

    Raises:
        DataError: naming the file, for any other suffix or content.
    """
    suffix = Path(path).suffix.lower()
    if suffix in WAVE_SUFFIXES:
        return read_waveform(path, sample_rate)
    if suffix not in AUDIO_SUFFIXES:
        raise DataError(f"{path}: unknown kind of audio file, allowed are {' '.join(AUDIO_SUFFIXES)}")
    # The head is looked at first: an unpickler's error for a Git-LFS pointer says nothing of Git LFS.
    head, size = read_head(path)
    problem = absence(head, size) or sound_damage(head, size, suffix)
    if problem:
        raise DataError(f"{path}: {problem}")
    content = {".pkl": safe_pickle.load, ".npy": _load_npy, ".pt": filesystem.load_tensors}[suffix](path)
    rate, is_dict = sample_rate or _ANY_RATE, isinstance(content, dict)
    if is_dict:
        if not {"waveform", "sample_rate"} <= content.keys():
            keys = str(list(content)[:8])[:200]
            raise DataError(f"{path}: a dict must have the keys waveform and sample_rate, has {keys}")
        rate = _checked_rate(content["sample_rate"], path)
        if sample_rate is not None and rate < sample_rate:
            raise DataError(
                f"{path}: stored at {rate} Hz, but {sample_rate} Hz are wanted: the frequencies above are lost. "
                f"Run CREMAD/sound_preprocessing.py --sample-rate {sample_rate} again, or --set sample_rate={rate}"
            )
        content = content["waveform"]
    array = _as_array(content, path)
    # Two rows that are a hundred times as long are channels; a spectrogram has more bins and fewer frames.
    if array.ndim == 2 and array.shape[0] <= 2 and array.shape[1] >= 100 * array.shape[0]:
        array = mono(_pcm_to_float(array, path))
    if array.ndim == 1:
        return conditioned(_pcm_to_float(array, path), rate, sample_rate or rate, path)
    if array.ndim != 2 or min(array.shape) <= 2 or array.dtype.kind != "f" or is_dict:
        raise DataError(
            f"{path}: holds {array.dtype} of shape {array.shape}; allowed are a waveform (T,), channels (1, T) "
            "or (2, T), a spectrogram of floats (bins, frames), or a dict with waveform and sample_rate"
        )
    spectrogram = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(spectrogram).all():
        raise DataError(f"{path}: the spectrogram has values that are not finite")
    return spectrogram


def resample(waveform_T: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Resample as ``librosa.resample(..., res_type="soxr_hq")`` does, which is what ``librosa.load`` calls.

    It calls soxr itself: importing librosa compiles for 13 s in a fresh environment, in every worker process.

    Args:
        waveform_T: (T,) float32.
        rate: of the waveform, in Hz.
        wanted: in Hz.

    Returns:
        (ceil(T * wanted / rate),) float32.
    """
    import soxr

    length = -(-len(waveform_T) * wanted // rate)
    resampled = soxr.resample(waveform_T, rate, wanted, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled)))


def fit_length(array: np.ndarray, length: int) -> np.ndarray:
    """Repeat ``array`` along its last axis until it has ``length`` entries there, and cut the rest.

    The released code tiles 20 times and cuts (CREMA-D/dataset/CramedDataset.py:60), so that a clip of less
    than a twentieth of the window came out short and the batch could not be stacked. Here every clip gets
    ``length``.

    Args:
        array: (..., T) with T >= 1.
        length: wanted T, at least 1.

    Returns:
        (..., length).
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"nothing to repeat in an array of shape {array.shape}")
    repeats = -(-length // array.shape[-1])
    if repeats > 1:
        array = np.tile(array, repeats)
    return array[..., :length]


def _load_npy(path: str | os.PathLike) -> Any:
    try:
        content = np.load(path, allow_pickle=False)
    except Exception as error:
        # The header is Python source, which numpy reads with half a dozen modules: any of their exceptions may come.
        raise DataError(f"{path}: not a readable npy file: {first_line(error)}") from error
    return content


def _checked_rate(rate: Any, path: str | os.PathLike) -> int:
    try:
        value = int(rate)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        value = 0
    if not 1 <= value <= MAX_RATE or value != rate:
        found = f"above {MAX_RATE}" if value > MAX_RATE else "below 1" if value < 0 else str(rate)[:40]
        raise DataError(f"{path}: sample_rate must be a whole number of Hz above 0, found {found}")
    return value


def _as_array(content: Any, path: str | os.PathLike) -> np.ndarray:
    if not isinstance(content, np.ndarray):
        content = _from_tensor(content, path)
    if not isinstance(content, np.ndarray):
        raise DataError(f"{path}: holds a {type(content).__name__}, allowed are an array or a dict with waveform")
    if max(content.size, *content.shape, 0) > MAX_SAMPLES:  # a shape may be (0, any number)
        raise DataError(f"{path}: holds an array of shape {content.shape}; at most {MAX_SAMPLES} numbers are read")
    return content


def _from_tensor(content: Any, path: str | os.PathLike) -> Any:
    """A tensor's numbers as an array; what is no tensor of plain numbers as it is."""
    import torch

    if isinstance(content, torch.Tensor) and content.layout == torch.strided and not content.is_quantized:
        try:
            content = content.detach().resolve_conj().resolve_neg()
            return (content.float() if content.dtype == torch.bfloat16 else content).numpy()
        except (TypeError, RuntimeError) as error:  # 8-bit floats, tensors without contents
            raise DataError(f"{path}: holds a tensor of {content.dtype} on {content.device.type}") from error
    return content


def _pcm_to_float(array: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    scale = _PCM_SCALE.get(array.dtype.newbyteorder("="))
    if scale is None:
        raise DataError(f"{path}: a waveform of {array.dtype}; allowed are floats in [-1, 1], int16 and int32")
    return (array / scale).astype(np.float32)


def conditioned(waveform_T: np.ndarray, rate: int, wanted: int, path: str | os.PathLike) -> np.ndarray:
    """Check a decoded waveform, resample it and clip it: the last step of every reader of sounds.

    Args:
        waveform_T: (T,) floats.
        rate: of the waveform, in Hz.
        wanted: rate, in Hz.
        path: of its file, for errors.

    Returns:
        (T',) float32 in [-1, 1].

    Raises:
        DataError: no samples, samples that are not finite or not in the range of audio, a rate that no sound has, or
            more samples than :data:`MAX_SAMPLES`.
    """
    if waveform_T.size == 0:
        raise DataError(f"{path}: zero samples")
    if not np.isfinite(waveform_T).all():
        bad = np.flatnonzero(~np.isfinite(waveform_T))
        raise DataError(f"{path}: {bad.size} samples are not finite, the first is number {bad[0]}")
    peak = float(np.abs(waveform_T).max())
    if peak > _MAX_PEAK:
        raise DataError(f"{path}: samples reach {peak:.6g}, far outside [-1, 1]: store integers as int16 or int32")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise DataError(f"{path}: its rate is {rate} Hz, which no sound has; allowed are {MIN_RATE} to {MAX_RATE}")
    if len(waveform_T) * wanted > MAX_SAMPLES * rate:
        raise DataError(f"{path}: {len(waveform_T)} samples at {rate} Hz would be too many at {wanted} Hz")
    if rate != wanted:
        waveform_T = resample(waveform_T, rate, wanted)
        if waveform_T.size == 0:
            raise DataError(f"{path}: zero samples are left after resampling from {rate} to {wanted} Hz")
    return np.clip(waveform_T, -1.0, 1.0).astype(np.float32, copy=False)
