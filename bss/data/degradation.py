"""Modalities that are missing or noisy at test time: what stands in for them, and by which strength they are disturbed.

What is drawn depends on the sample's name, the modality and a corruption seed alone, never on the batch, the number of
workers or of processes, or the other samples of the list. What is missing at one share is missing at every larger one,
and noise of two levels is the same noise, once louder. Everything happens to what a data set hands over, before the
network's own first layers: a waveform before it is repeated and becomes a spectrogram, an 8-bit picture before it is
normalised. Names, formulas and strengths are our own definitions, see ``docs/robustness.md``.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from bss.data.indexed import MapDataset, StandIn, fetched
from bss.data.rows import Row, rows_of
from bss.data.transforms.image import PixelScale
from bss.data.transforms.text import Tokens
from bss.data.transforms.views import Picture, Pictures, Sound
from bss.utils.errors import DataError, RecipeError

Fill = Literal["mean", "zero", "drop"]
"""What stands for a modality that is missing.

``"mean"``: the mean of the training inputs. ``"zero"``: silence, a black picture, the empty text, zeros. ``"drop"``:
nothing; the prediction is that of the remaining modalities' own heads.
"""


SNR_DB = (20.0, 10.0, 5.0, 0.0, -5.0)
"""Levels of sounds and of numbers: signal-to-noise ratio in decibels, from hardly audible to louder than the signal."""


SEVERITIES = (1.0, 2.0, 3.0, 4.0, 5.0)
"""Levels of pictures, texts and frames, from slight to severe."""


NOISE_STD = (0.05, 0.1, 0.15, 0.25, 0.4)
"""Of ``noise`` in a picture by severity; pixels are in [0, 1]."""


BLUR_SIGMA = (0.005, 0.01, 0.015, 0.025, 0.04)
"""Of ``blur`` by severity, as a share of the picture's shorter side: 1.1 to 9 pixels of 224."""


CONTRAST = (0.75, 0.5, 0.35, 0.2, 0.1)
"""What ``contrast`` leaves of every pixel's distance from the picture's mean, by severity."""


OCCLUDED = (0.05, 0.1, 0.2, 0.35, 0.5)
"""Share of a picture's area behind the grey rectangle of ``occlusion``, by severity."""


LOST = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Chance of every token, or frame, to be lost, by severity."""


# ---- what is drawn -------------------------------------------------------------------------------------------------


def drawn(name: str, modality: str, seed: int) -> float:
    """The number in [0, 1) that decides whether a sample lacks a modality: where it is below the share.

    It is the first 53 bits of SHA-256 over ``seed``, ``modality`` and ``name``, with zero bytes between them.
    """
    text = f"{seed}\0{modality}\0{name}".encode(errors="surrogatepass")
    return (int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 11) / 2**53


def gone(names: Iterable[str], modality: str, share: float, seed: int) -> np.ndarray:
    """Which samples lack a modality, (N,) bool: about the share, none at 0 and all at 1, and nested in between.

    Args:
        names: of the samples, N of them.
        modality: its name: modalities go missing independently of one another.
        share: in [0, 1].
        seed: of the corruption.

    Raises:
        ValueError: a share out of its range.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of the samples that lack {modality} lies in [0, 1], got {share:g}")
    return np.array([drawn(name, modality, seed) < share for name in names], bool)


def random_of(name: str, modality: str, corruption: str, seed: int) -> np.random.Generator:
    """The random numbers of a sample's corruption; they are the same at every level."""
    text = f"{seed}\0{modality}\0{corruption}\0{name}".encode(errors="surrogatepass")
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest()[:16], "big"))


# ---- sounds --------------------------------------------------------------------------------------------------------


def snr_db(clean: np.ndarray, noisy: np.ndarray) -> float:
    """Signal-to-noise ratio in decibels, ``10 log10(sum clean^2 / sum (noisy - clean)^2)``; inf without noise."""
    signal, noise = (float(np.square(values, dtype=np.float64).sum()) for values in (clean, noisy - clean))
    return math.inf if noise == 0 else 10 * math.log10(signal / noise) if signal else -math.inf


def with_white_noise(waveform_T: np.ndarray, level_db: float, random: np.random.Generator) -> np.ndarray:
    """A waveform with white Gaussian noise at a signal-to-noise ratio.

    The noise is scaled by its own power, so that :func:`snr_db` of the result is the level up to rounding. Nothing is
    clipped: that would take noise away. Silence, to which no noise has a ratio, stays as it is.

    Args:
        waveform_T: (T,) float32.
        level_db: decibels.
        random: draws the noise.

    Returns:
        (T,) float32.
    """
    signal = np.square(waveform_T, dtype=np.float64).sum()
    if not signal:
        return waveform_T
    noise_T = random.standard_normal(len(waveform_T))
    gain = math.sqrt(signal / np.square(noise_T).sum()) * 10 ** (-level_db / 20)
    return (waveform_T + gain * noise_T).astype(np.float32)


# ---- pictures, as (T, C, H, W) floats in [0, 1] --------------------------------------------------------------------


def _noise(frames_TCHW: Tensor, severity: int, random: np.random.Generator) -> Tensor:
    noise = torch.from_numpy(random.standard_normal(tuple(frames_TCHW.shape), dtype=np.float32))
    return frames_TCHW + NOISE_STD[severity - 1] * noise


def _blur(frames_TCHW: Tensor, severity: int, random: np.random.Generator) -> Tensor:
    side = min(frames_TCHW.shape[-2:])
    sigma = BLUR_SIGMA[severity - 1] * side
    reach = min(math.ceil(3 * sigma), side - 1)  # the border is mirrored, which needs as many pixels
    return v2.functional.gaussian_blur(frames_TCHW, [2 * reach + 1] * 2, [sigma] * 2)


def _contrast(frames_TCHW: Tensor, severity: int, random: np.random.Generator) -> Tensor:
    mean_T111 = frames_TCHW.mean(dim=(1, 2, 3), keepdim=True)
    return mean_T111 + CONTRAST[severity - 1] * (frames_TCHW - mean_T111)


def _occlusion(frames_TCHW: Tensor, severity: int, random: np.random.Generator) -> Tensor:
    # The same place in all frames. A larger rectangle holds the smaller ones.
    side, places, window = math.sqrt(OCCLUDED[severity - 1]), random.random(2), []
    for length, place in zip(frames_TCHW.shape[-2:], places.tolist(), strict=True):
        first = math.floor(place * (1 - side) * length)
        window.append(slice(first, math.ceil((place * (1 - side) + side) * length)))
    covered = frames_TCHW.clone()
    covered[..., window[0], window[1]] = 0.5
    return covered


PICTURE_CORRUPTIONS: Mapping[str, Callable[[Tensor, int, np.random.Generator], Tensor]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "occlusion": _occlusion,
}
"""Functions of (T, C, H, W) in [0, 1], a severity and random numbers; the result may leave the range.

``noise``: Gaussian, independent in every pixel, channel and frame, of :data:`NOISE_STD`. ``blur``: Gaussian, of
:data:`BLUR_SIGMA`. ``contrast``: towards the picture's mean, by :data:`CONTRAST`. ``occlusion``: a grey rectangle (0.5)
of the picture's proportions over :data:`OCCLUDED`.
"""


def corrupted_picture(frames_TCHW: Tensor, corruption: str, severity: int, random: np.random.Generator) -> Tensor:
    """A picture, or frames of one clip, with one of :data:`PICTURE_CORRUPTIONS`.

    Args:
        frames_TCHW: floats in [0, 1].
        corruption: its name.
        severity: 1 to 5.
        random: used by ``noise`` and ``occlusion``.

    Returns:
        The same shape, cut to [0, 1].
    """
    return PICTURE_CORRUPTIONS[corruption](frames_TCHW, severity, random).clamp(0, 1)


# ---- texts and frames ----------------------------------------------------------------------------------------------


def without_tokens(tokens_3L: Tensor, chance: float, random: np.random.Generator) -> Tensor:
    """A text without some of its tokens, as if they had not been written; the rest moves up.

    The first and last token stay, which a tokenizer puts around a text, and the whole second text of a pair (an aspect
    term) with the token before it: they say what is asked.

    Args:
        tokens_3L: (3, L) ids, attention mask and token types, see :func:`bss.data.transforms.text.encode`.
        chance: of each other token to be lost, in [0, 1].
        random: draws L numbers.

    Returns:
        (3, L); what has become free at the end is padding.
    """
    mask_L, types_L = tokens_3L[1].bool(), tokens_3L[2].bool()
    length = int(mask_L.sum())
    lost_L = torch.from_numpy(random.random(len(mask_L)) < chance) & mask_L & ~types_L
    lost_L[0] = False
    if length:
        lost_L[length - 1] = False
    second = types_L.nonzero()
    if len(second):
        lost_L[max(int(second[0]) - 1, 0)] = False
    rest = tokens_3L[:, mask_L & ~lost_L]
    shorter_3L = torch.zeros_like(tokens_3L)
    shorter_3L[:, : rest.shape[1]] = rest
    return shorter_3L


def empty_text(tokens_3L: Tensor) -> Tensor:
    """The text of no words: its first and last token, and no second text."""
    length = int(tokens_3L[1].sum())
    ends = tokens_3L[:, sorted({0, max(length - 1, 0)})].clone()
    ends[2] = 0
    empty_3L = torch.zeros_like(tokens_3L)
    empty_3L[:, : ends.shape[1]] = ends
    return empty_3L


def without_frames(frames_CTHW: Tensor, chance: float, random: np.random.Generator) -> Tensor:
    """A clip that has lost some frames; for each stands the last one before it that is left, or the first that is.

    Args:
        frames_CTHW: (C, T, H, W).
        chance: of each frame to be lost, in [0, 1]; one always stays.
        random: draws T numbers.

    Returns:
        (C, T, H, W).
    """
    drawn_T = random.random(frames_CTHW.shape[1])
    kept = np.flatnonzero((drawn_T >= chance) | (drawn_T == drawn_T.max()))
    before_T = np.searchsorted(kept, np.arange(len(drawn_T)), side="right") - 1
    return frames_CTHW[:, torch.from_numpy(kept[before_T.clip(min=0)])]


# ---- kinds of input ------------------------------------------------------------------------------------------------


class Kind(ABC):
    """What a modality's input is: which corruptions and levels it has, and what is an empty and a mean one.

    Attributes:
        noun: for messages, ``"sounds"``.
        levels: that are defined, from slight to severe.
        unit: of the levels, ``"dB"`` or ``"severity"``.
        corruptions: their names -> whether they draw at random, so that another seed gives another result.
        needs_spread: whether :meth:`corrupted` needs what :meth:`learned` finds out.
    """

    noun: ClassVar[str]
    levels: ClassVar[Sequence[float]] = SEVERITIES
    unit: ClassVar[str] = "severity"
    corruptions: ClassVar[Mapping[str, bool]]
    needs_spread: ClassVar[bool] = False

    @abstractmethod
    def corrupted(self, value: Any, corruption: str, level: float, random: np.random.Generator) -> Any:
        """The input with a corruption of some level."""

    @abstractmethod
    def empty(self, value: Any) -> Any:
        """What stands for an input with ``fill="zero"``."""

    @abstractmethod
    def mean(self, values: Iterable[Any]) -> Any:
        """The mean of the training inputs."""

    def learned(self, values: Iterable[Any]) -> "Kind":
        """The kind with what must be known of the training inputs."""
        return self

    def untouched(self, values: Iterable[Any]) -> int:
        """How many of the inputs noise leaves as they are."""
        return 0


class Sounds(Kind):
    """Waveforms of any length, :class:`bss.data.transforms.views.Sound`."""

    noun = "sounds"
    levels, unit = SNR_DB, "dB"
    corruptions: ClassVar[Mapping[str, bool]] = {"white": True}

    def corrupted(self, value: Sound, corruption: str, level: float, random: np.random.Generator) -> Sound:
        """With white noise, see :func:`with_white_noise`."""
        return replace(value, waveform_T=with_white_noise(value.waveform_T, level, random))

    def untouched(self, values: Iterable[Sound]) -> int:
        """Those that are silent."""
        return silent(values)

    def empty(self, value: Sound) -> Sound:
        """Silence of the same length."""
        return replace(value, waveform_T=np.zeros_like(value.waveform_T))

    def mean(self, values: Iterable[Sound]) -> Sound:
        """At every moment the mean of the sounds that last so long."""
        total_T, count_T, rate = np.zeros(0), np.zeros(0), 0
        for sound in values:
            longer = max(len(sound.waveform_T) - len(total_T), 0)
            total_T, count_T = (np.pad(each_T, (0, longer)) for each_T in (total_T, count_T))
            total_T[: len(sound.waveform_T)] += sound.waveform_T
            count_T[: len(sound.waveform_T)] += 1
            rate = sound.sample_rate
        return Sound((total_T / count_T).astype(np.float32), rate)


@dataclass(frozen=True)
class RawPictures(Kind):
    """Pictures in 8 bits and any size, :class:`bss.data.transforms.views.Pictures`.

    Attributes:
        size: they are first resized to this height and width, which the network would do next, so that a severity means
            the same for large and small ones; None = they keep their size.
    """

    size: int | None = None

    noun = "pictures"
    corruptions: ClassVar[Mapping[str, bool]] = {"noise": True, "blur": False, "contrast": False, "occlusion": True}

    def _frames(self, value: Pictures, size: int | None) -> list[Tensor]:
        """(3, H, W) uint8 of each view."""
        frames = [torch.from_numpy(np.ascontiguousarray(view.pixels_HWC)).permute(2, 0, 1) for view in value.views]
        return frames if size is None else [v2.functional.resize(each, [size, size], antialias=True) for each in frames]

    def corrupted(self, value: Pictures, corruption: str, level: float, random: np.random.Generator) -> Pictures:
        """See :func:`corrupted_picture`; frames of one size are corrupted as one clip."""
        frames = self._frames(value, self.size)
        one_size = len({each.shape for each in frames}) == 1
        clips = [torch.stack(frames)] if one_size else [each.unsqueeze(0) for each in frames]
        changed = [corrupted_picture(clip / 255, corruption, int(level), random) for clip in clips]
        whole = [frame for clip in changed for frame in clip]
        return _pictures(whole, [view.flip for view in value.views])

    def empty(self, value: Pictures) -> Pictures:
        """Black, of the same sizes."""
        return Pictures([view._replace(pixels_HWC=np.zeros_like(view.pixels_HWC)) for view in value.views])

    def mean(self, values: Iterable[Pictures]) -> Pictures:
        """The mean of the first views, of the second ones, and so on; all resized to ``size``, or like the first."""
        total: Tensor | None = None
        count, size = 0, self.size
        for value in values:
            size = size or max(value.views[0].pixels_HWC.shape[:2])
            frames_TCHW = torch.stack(self._frames(value, size)).double()
            total = frames_TCHW if total is None else total + frames_TCHW
            count += 1
        assert total is not None  # training parts are not empty
        mean_TCHW = total / (255 * count)
        return _pictures(list(mean_TCHW), [False] * len(mean_TCHW))


def _pictures(frames: Sequence[Tensor], flips: Sequence[bool]) -> Pictures:
    """Views of (3, H, W) floats in [0, 1], in 8 bits."""
    arrays = [(frame * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy() for frame in frames]
    return Pictures([Picture(pixels, flip) for pixels, flip in zip(arrays, flips, strict=True)])


class Texts(Kind):
    """Token ids, :class:`bss.data.transforms.text.Tokens`."""

    noun = "texts"
    corruptions: ClassVar[Mapping[str, bool]] = {"tokens": True}

    def corrupted(self, value: Tokens, corruption: str, level: float, random: np.random.Generator) -> Tokens:
        """Without some tokens, see :func:`without_tokens`."""
        return replace(value, tokens_3L=without_tokens(value.tokens_3L, LOST[int(level) - 1], random))

    def empty(self, value: Tokens) -> Tokens:
        """See :func:`empty_text`."""
        return replace(value, tokens_3L=empty_text(value.tokens_3L), text="")

    def mean(self, values: Iterable[Tokens]) -> Tokens:
        """Token ids have no mean: the empty text stands for it."""
        return self.empty(next(iter(values)))


class Tensors(Kind):
    """Tensors of floats, of one shape in a whole data set."""

    def empty(self, value: Tensor) -> Tensor:
        """Zeros."""
        return torch.zeros_like(value)

    def mean(self, values: Iterable[Tensor]) -> Tensor:
        """Entry by entry."""
        return _moments(values)[0]


@dataclass(frozen=True)
class Numbers(Tensors):
    """Features, finished spectrograms, whatever else is a tensor of floats.

    Attributes:
        std: of every entry over the training inputs, in the shape of an input; None = not known yet.
    """

    std: Tensor | None = None

    noun = "numbers"
    levels, unit = SNR_DB, "dB"
    corruptions: ClassVar[Mapping[str, bool]] = {"gaussian": True}
    needs_spread = True

    def corrupted(self, value: Tensor, corruption: str, level: float, random: np.random.Generator) -> Tensor:
        """With Gaussian noise of the training inputs' deviation, entry by entry, times 10^(-level / 20)."""
        if self.std is None:
            raise ValueError("the spread of the training inputs is not known: call `learned` with them first")
        noise = torch.from_numpy(random.standard_normal(tuple(value.shape)))
        return (value + 10 ** (-level / 20) * self.std * noise).to(value.dtype)

    def learned(self, values: Iterable[Tensor]) -> "Numbers":
        """With the deviation of the training inputs."""
        return Numbers(_moments(values)[1])


class Frames(Tensors):
    """Clips as tensors (C, T, H, W) that are no pictures: optical flow, depth."""

    noun = "frames"
    corruptions: ClassVar[Mapping[str, bool]] = {"frames": True}

    def corrupted(self, value: Tensor, corruption: str, level: float, random: np.random.Generator) -> Tensor:
        """Without some frames, see :func:`without_frames`."""
        return without_frames(value, LOST[int(level) - 1], random)


@dataclass(frozen=True)
class ScaledPictures(Tensors):
    """Pictures (C, H, W), or clips of them (C, T, H, W), that are normalised already.

    Attributes:
        scale: of every channel, which leads back to pixels in [0, 1].
    """

    scale: PixelScale

    noun = "pictures"
    corruptions = RawPictures.corruptions

    def corrupted(self, value: Tensor, corruption: str, level: float, random: np.random.Generator) -> Tensor:
        """See :func:`corrupted_picture`, of the pixels before they were normalised."""
        mean_C11, std_C11 = (torch.tensor(each, dtype=value.dtype).view(-1, 1, 1) for each in self.scale)
        frames_TCHW = value.unsqueeze(0) if value.dim() == 3 else value.transpose(0, 1)
        pixels = corrupted_picture(frames_TCHW * std_C11 + mean_C11, corruption, int(level), random)
        changed = (pixels - mean_C11) / std_C11
        return changed.squeeze(0) if value.dim() == 3 else changed.transpose(0, 1).contiguous()


def _moments(values: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (of the population) of tensors of one shape, entry by entry."""
    count, total, centre = 0, None, None
    for value in values:
        if value.shape != (value if centre is None else centre).shape:
            raise DataError(
                f"training inputs of shape {tuple(value.shape)} and {tuple(centre.shape)} have no mean: --fill zero"
            )
        centre = value.double() if centre is None else centre  # squares of what is far from zero would cancel
        away = value.double() - centre
        total = torch.stack([away, away.square()]) if total is None else total + torch.stack([away, away.square()])
        count += 1
    assert total is not None  # training parts are not empty
    mean, square = (total / count).unbind()
    return (centre + mean).to(value.dtype), (square - mean.square()).clamp(min=0).sqrt()


_CONTENTS: Mapping[type, Callable[[int | None], Kind]] = {
    Sound: lambda size: Sounds(),
    Pictures: RawPictures,
    Tokens: lambda size: Texts(),
}


def kind_of(samples: MapDataset, modality: str, *, size: int | None = None) -> Kind:
    """What a modality's input is, by the first sample.

    Args:
        samples: dict samples. A data set whose ``pixel_scales`` names the modality hands over normalised pictures.
        modality: its name.
        size: height and width that the network resizes raw pictures to, where that is known.

    Raises:
        RecipeError: the samples have no such modality (lists those that they have), or its input is of a kind for which
            nothing is defined.
    """
    first = _first(samples)
    if modality not in first or modality == "label":
        raise RecipeError(f"the samples have no modality {modality}; they have {', '.join(modalities_of(samples))}")
    value = first[modality]
    if type(value) in _CONTENTS:
        return _CONTENTS[type(value)](size)
    if isinstance(value, Tensor) and value.is_floating_point():
        scales = _attribute(samples, "pixel_scales") or {}
        if modality in scales:
            return ScaledPictures(scales[modality])
        return Frames() if value.dim() == 4 else Numbers()
    what = f"a tensor of {value.dtype}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise RecipeError(
        f"{modality} is {what}, for which neither noise nor a stand-in is defined: only --fill drop leaves it out"
    )


def modalities_of(samples: MapDataset) -> list[str]:
    """Names of the modalities, by the first sample."""
    return [name for name in _first(samples) if name != "label"]


def _first(samples: MapDataset) -> Mapping[str, Any]:
    first = samples[0]
    return first.sample if type(first) is StandIn else first


def _attribute(samples: Any, name: str) -> Any:
    """An attribute of a data set, or of the one that it wraps."""
    while samples is not None:
        if hasattr(samples, name):
            return getattr(samples, name)
        samples = getattr(samples, "dataset", None)
    return None


# ---- the samples ---------------------------------------------------------------------------------------------------

Change = Callable[[Any, str], Any]
"""From a modality's input and the sample's name to another input."""


@dataclass(frozen=True)
class Noisy:
    """A change: a corruption of every sample.

    Attributes:
        modality: its name.
        kind: what its input is.
        corruption: one of the kind's.
        level: one of the kind's.
        seed: of the corruption.
    """

    modality: str
    kind: Kind
    corruption: str
    level: float
    seed: int = 0

    def __call__(self, value: Any, name: str) -> Any:
        """The input of the sample of this name with the corruption."""
        random = random_of(name, self.modality, self.corruption, self.seed)
        return self.kind.corrupted(value, self.corruption, self.level, random)


@dataclass(frozen=True)
class Missing:
    """A change: something else stands for the input of those samples that lack the modality.

    Attributes:
        modality: its name.
        instead: maps an input to what stands for it, see :func:`stand_in`.
        share: of the samples, in [0, 1].
        seed: of the corruption.
    """

    modality: str
    instead: Callable[[Any], Any]
    share: float = 1.0
    seed: int = 0

    def __call__(self, value: Any, name: str) -> Any:
        """The input of the sample of this name, or what stands for it."""
        return self.instead(value) if drawn(name, self.modality, self.seed) < self.share else value


def stand_in(kind: Kind, fill: Fill, training: Iterable[Any]) -> Callable[[Any], Any]:
    """What stands for an input that is missing.

    Args:
        kind: of the input.
        fill: ``"mean"`` or ``"zero"``.
        training: the training inputs of the modality; looked at for ``"mean"`` alone.

    Raises:
        ValueError: another fill.
    """
    if fill == "zero":
        return kind.empty
    if fill != "mean":
        raise ValueError(f"nothing stands in for an input with fill={fill!r}")
    return partial(_always, kind.mean(training))


def _always(mean: Any, value: Any) -> Any:
    return mean


class Degraded(Dataset):
    """A data set whose modalities are changed, sample by sample; labels and order stay.

    Args:
        dataset: dict samples, the same at every look.
        names: of the samples, in their order.
        changes: modality -> what becomes of its input.

    Raises:
        ValueError: not as many names as samples.
    """

    random_views = False

    def __init__(self, dataset: MapDataset, names: Sequence[str], changes: Mapping[str, Change]):
        if len(names) != len(dataset):
            raise ValueError(f"every sample needs a name: got {len(names)} names for {len(dataset)} samples")
        self.dataset = dataset
        self.names = names
        self.changes = dict(changes)

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def in_memory(self) -> bool:
        """Whether nothing is read or decoded: True only where the data set says so."""
        return getattr(self.dataset, "in_memory", False)

    def listed_rows(self) -> list[Row]:
        """What the data set knows of its samples."""
        return rows_of(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self._changed(index, self.dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        samples = fetched(self.dataset, indices)
        return [self._changed(index, sample) for index, sample in zip(indices, samples, strict=True)]

    def _changed(self, index: int, sample: Any) -> Any:
        if type(sample) is StandIn:
            return StandIn(sample.index, self._changed(sample.index, sample.sample))
        if sample is None:
            return None
        name = self.names[index]
        return {**sample, **{each: change(sample[each], name) for each, change in self.changes.items()}}


def inputs(samples: MapDataset, modality: str, *, workers: int = 0) -> Iterator[Any]:
    """The inputs of one modality, sample by sample, as the data set hands them over.

    Args:
        samples: dict samples.
        modality: its name.
        workers: processes that read them; 0 = this one.
    """
    loader = DataLoader(
        samples,
        batch_size=16,
        num_workers=workers,
        collate_fn=partial(_values, modality),
        generator=torch.Generator(),  # or it would draw from the caller's stream
    )
    for batch in loader:
        yield from batch


def _values(modality: str, samples: Sequence[Any]) -> list[Any]:
    found = [sample.sample if type(sample) is StandIn else sample for sample in samples]
    return [sample[modality] for sample in found if sample is not None]


def silent(sounds: Iterable[Sound]) -> int:
    """How many sounds are silence, which noise leaves as it is."""
    return sum(not np.any(sound.waveform_T) for sound in sounds)
