"""Waveforms from files, and the log spectrogram, computed on the training device."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bss import safe_pickle
from bss.errors import DataError

WAVE_SUFFIXES = (".wav", ".flac", ".ogg")
"""Sound files, read by :func:`read_waveform`; suffixes are compared in lower case."""

AUDIO_SUFFIXES = (*WAVE_SUFFIXES, ".pkl", ".npy", ".pt")
"""All that :func:`read_audio` reads."""

HEAD_BYTES = 4096
"""How much of a file the header checks look at."""

_LFS_HEAD = b"version https://git-lfs.github.com/spec/"
_LFS_ADVICE = (
    "a Git-LFS pointer, not the file itself: run `git lfs pull` in the clone "
    "(CREMA-D: or take the mirror gitlab.com/cs-cooper-lab/crema-d-mirror)"
)
_PCM_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}

MIN_RATE, MAX_RATE = 100, 1_000_000
"""In Hz; a header with another rate is damaged, and resampling from it would fill the memory."""

MAX_SAMPLES = 100_000_000
"""Longer sounds are refused before they are decoded (channels counted one by one): 38 minutes of stereo at 22,050 Hz.

A megabyte of flac can hold an hour of silence, and a few bytes of a tensor file can claim any length.
"""

# Resampling and mixing overshoot 1 by a little; integer samples stored as floats reach thousands.
_MAX_PEAK = 8.0


def absence(head: bytes, size: int) -> str | None:
    """Say why a file holds nothing, or None: zero bytes, a Git-LFS pointer, a wav of zero samples.

    Args:
        head: the file's first bytes, :data:`HEAD_BYTES` or all there are.
        size: length of the whole file in bytes.
    """
    if size == 0:
        return "an empty file (0 bytes)"
    if head.startswith(_LFS_HEAD):
        return _LFS_ADVICE
    if _wave_data(head, size) == (0, 0):
        return "a wav file with zero samples"
    return None


def sound_damage(head: bytes, size: int, suffix: str) -> str | None:
    """Say what is wrong with an audio file as far as its header tells, or None.

    Args:
        head: the file's first bytes, :data:`HEAD_BYTES` or all there are.
        size: length of the whole file in bytes.
        suffix: the file's suffix in lower case; a ``.pkl`` has no fixed head and passes.
    """
    magic = {".wav": (b"RIFF", b"RIFX", b"RF64"), ".flac": (b"fLaC",), ".ogg": (b"OggS",)}
    magic |= {".npy": (b"\x93NUMPY",), ".pt": (b"PK\x03\x04", b"\x80")}
    if suffix in magic and not head.startswith(magic[suffix]):
        return f"not a {suffix[1:]} file (it begins with {head[:8]!r})"
    if suffix == ".wav" and head[8:12] != b"WAVE":
        return f"not a wav file (RIFF, but of the kind {head[8:12]!r})"
    if suffix == ".wav" and size <= len(head) and b"data" not in head:
        return "a truncated wav file (it ends before the samples)"
    claimed, present = _wave_data(head, size) or (0, 0)
    # Writers disagree about one padding byte, hence the slack.
    if present < claimed - 8:
        return f"a truncated wav file ({present} of {claimed} bytes of samples)"
    return None


def _wave_data(head: bytes, size: int) -> tuple[int, int] | None:
    """Bytes of samples that a RIFF file claims and has; None where the head does not tell."""
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(head):
        kind, length = struct.unpack_from("<4sI", head, at)
        at += 8
        if kind == b"data":
            # A program that writes into a pipe cannot go back and leaves the largest number, or zero, as the
            # length.
            if length >= 0x7FFF0000 or (length == 0 and size > at + 8):
                return None
            return length, min(length, size - at)
        at += length + length % 2
    return None


def read_head(path: str | os.PathLike) -> tuple[bytes, int]:
    """First :data:`HEAD_BYTES` bytes of a file, and its size in bytes.

    Raises:
        DataError: the file cannot be opened or read.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


def read_waveform(path: str | os.PathLike, sample_rate: int) -> np.ndarray:
    """Read a sound file.

    Args:
        path: ``.wav``, ``.flac`` or ``.ogg`` of any rate and number of channels.
        sample_rate: wanted rate in Hz; a file of another rate goes through :func:`resample`.

    Returns:
        (T,) float32, channels averaged, clipped to [-1, 1] (the released code clips after tiling, which is
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
    return _conditioned(samples_TC.mean(axis=1), rate, sample_rate, path)


def read_audio(path: str | os.PathLike, sample_rate: int) -> np.ndarray:
    """Read a clip's audio from any of the forms in which it is passed around.

    Besides sound files: ``.pkl`` (through :mod:`bss.safe_pickle`), ``.npy`` and ``.pt`` that hold one of

    - ``{"waveform": (T,), "sample_rate": Hz}``, what ``CREMAD/sound_preprocessing.py`` writes; a higher rate
      than the wanted one is resampled, a lower one refused
    - a 1-D array: a waveform that already has ``sample_rate``
    - (1, T) or (2, T): the same, as channels
    - a 2-D array of floats: a finished spectrogram (bins, frames)

    Waveforms are floats in [-1, 1], or int16 / int32 PCM, which is scaled to that range.

    Args:
        path: the file; its suffix decides how it is read.
        sample_rate: wanted rate in Hz.

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
    head, size = read_head(path)
    problem = absence(head, size) or sound_damage(head, size, suffix)
    if problem:
        raise DataError(f"{path}: {problem}")
    content = {".pkl": safe_pickle.load, ".npy": _load_npy, ".pt": safe_pickle.load_tensors}[suffix](path)
    rate, is_dict = sample_rate, isinstance(content, dict)
    if is_dict:
        if not {"waveform", "sample_rate"} <= content.keys():
            keys = str(list(content)[:8])[:200]
            raise DataError(f"{path}: a dict must have the keys waveform and sample_rate, has {keys}")
        rate = _checked_rate(content["sample_rate"], path)
        if rate < sample_rate:
            raise DataError(
                f"{path}: stored at {rate} Hz, but {sample_rate} Hz are wanted: the frequencies above are lost. "
                f"Run CREMAD/sound_preprocessing.py --sample-rate {sample_rate} again, or --set sample_rate={rate}"
            )
        content = content["waveform"]
    array = _as_array(content, path)
    if array.ndim == 2 and array.shape[0] <= 2 and array.shape[1] >= 100 * array.shape[0]:
        array = _pcm_to_float(array, path).mean(axis=0)
    if array.ndim == 1:
        return _conditioned(_pcm_to_float(array, path), rate, sample_rate, path)
    if array.ndim != 2 or min(array.shape) <= 2 or array.dtype.kind != "f" or is_dict:
        raise DataError(
            f"{path}: holds {array.dtype} of shape {array.shape}; allowed are a waveform (T,), channels (1, T) "
            "or (2, T), a spectrogram of floats (bins, frames), or a dict with waveform and sample_rate"
        )
    spectrogram = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(spectrogram).all():
        raise DataError(f"{path}: the spectrogram has values that are not finite")
    return spectrogram


def write_waveform_pickle(source: str | os.PathLike, target: str | os.PathLike, sample_rate: int) -> bool:
    """Decode a sound file once, for :func:`read_audio` to read quickly every epoch.

    The file is written under a temporary name and renamed, so that one under its final name is whole.

    Args:
        source: the sound file.
        target: the ``.pkl`` to write: ``{"waveform": (T,) float32, "sample_rate": Hz}``, protocol 4.
        sample_rate: rate to store, in Hz.

    Returns:
        False if ``target`` was there already, whole, at this rate and not older than ``source``, and was kept; True if
        it was written.

    Raises:
        DataError: ``source`` cannot be read.
        OSError: ``target`` cannot be written.
    """
    import pickle

    target = Path(target)
    if target.exists() and target.stat().st_mtime >= Path(source).stat().st_mtime:
        try:
            stored = safe_pickle.load(target)
            if stored["sample_rate"] == sample_rate and stored["waveform"].ndim == 1:
                return False
        except (DataError, KeyError, TypeError, AttributeError):
            pass  # damaged, or something else: written anew below
    content = {"waveform": read_waveform(source, sample_rate), "sample_rate": int(sample_rate)}
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(pickle.dumps(content, protocol=4))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return True


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
        from torchaudio.transforms import Spectrogram

        self.stft = Spectrogram(n_fft=n_fft, hop_length=hop_length, power=1, center=True, pad_mode="constant")
        # Registered again as not persistent: a checkpoint must not depend on how the input was computed.
        self.stft.register_buffer("window", self.stft.window, persistent=False)

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


def _load_npy(path: str | os.PathLike) -> Any:
    try:
        content = np.load(path, allow_pickle=False)
    except Exception as error:
        # The header is Python source, which numpy reads with half a dozen modules: any of their exceptions may come.
        raise DataError(f"{path}: not a readable npy file: {str(error).partition(chr(10))[0][:160]}") from error
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
    if isinstance(content, Tensor) and content.layout == torch.strided and not content.is_quantized:
        try:
            content = content.detach().resolve_conj().resolve_neg()
            content = (content.float() if content.dtype == torch.bfloat16 else content).numpy()
        except (TypeError, RuntimeError) as error:  # 8-bit floats, tensors without contents
            raise DataError(f"{path}: holds a tensor of {content.dtype} on {content.device.type}") from error
    if not isinstance(content, np.ndarray):
        raise DataError(f"{path}: holds a {type(content).__name__}, allowed are an array or a dict with waveform")
    if max(content.size, *content.shape, 0) > MAX_SAMPLES:  # a shape may be (0, any number)
        raise DataError(f"{path}: holds an array of shape {content.shape}; at most {MAX_SAMPLES} numbers are read")
    return content


def _pcm_to_float(array: np.ndarray, path: str | os.PathLike) -> np.ndarray:
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    scale = _PCM_SCALE.get(array.dtype.newbyteorder("="))
    if scale is None:
        raise DataError(f"{path}: a waveform of {array.dtype}; allowed are floats in [-1, 1], int16 and int32")
    return (array / scale).astype(np.float32)


def _conditioned(waveform_T: np.ndarray, rate: int, wanted: int, path: str | os.PathLike) -> np.ndarray:
    """Check a waveform, resample it and clip it."""
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
