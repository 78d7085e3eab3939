"""The parts and the network of CREMA-D and Kinetics-Sounds: two ResNet-18 from scratch."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from bss.data.cache import Cache, cache_folder
from bss.data.datasets.audiovisual import AudioVisual, decoded_files, frame_kind, sound_kind
from bss.data.datasets.clips import Clip
from bss.data.prepare.raw import RawInput, clip_of
from bss.data.splits import Splits
from bss.data.transforms.views import RandomView, whole
from bss.models.encoders import resnet18
from bss.models.frontends import FrameViews, LogSpectrogram, RepeatToLength
from bss.models.fusion import FUSIONS
from bss.models.late_fusion import LateFusion
from bss.models.weights import initialize
from bss.recipes.audiovisual import AudioVisualRecipe
from bss.tasks.parts import blank_of, listed
from bss.utils.seeding import seeded


def build_splits(
    recipe: AudioVisualRecipe,
    root: Path,
    classes: tuple[str, ...],
    *,
    train: Sequence[Clip],
    val: Sequence[Clip] | None,
    test: Sequence[Clip],
    dropped: dict[str, list[str]],
    group: str | None = None,
) -> Splits:
    """Make the parts of a run out of clips, with the recipe's views and cache."""
    sounds, frames = sound_kind(recipe.sample_rate, round(recipe.sample_rate * recipe.seconds)), frame_kind()
    # One cache for all parts: they read the same files, and what has no file in a part costs nothing.
    cache, readers = None, None
    if recipe.cache is not None:
        files = decoded_files([*train, *(val or ()), *test], recipe.num_frames if recipe.frames == "first" else None)
        cache = Cache(cache_folder(recipe.cache, root), root, {sounds: files["sound"], frames: files["frames"]})
        readers = cache[sounds], cache[frames]
    return Splits(
        train=_dataset(recipe, train, readers, random_view=True),
        score=as_tested(recipe, train, readers),
        val=as_tested(recipe, val, readers) if val is not None else None,
        test=as_tested(recipe, test, readers),
        labels_N=torch.tensor([clip.label for clip in train], device="cpu"),
        names=[clip.name for clip in train],
        classes=classes,
        dropped=dropped,
        blank=blank_of(train=train, val=val, test=test),
        cache=cache,
        group=group,
        listed=listed(val=val, test=test),
    )


Readers = tuple[Callable[[Path], np.ndarray], Callable[[Path], np.ndarray]]
"""What reads a file's sound, and a file's frame, from a cache."""


def as_tested(recipe: AudioVisualRecipe, clips: Sequence[Clip], readers: Readers | None = None) -> AudioVisual:
    """Clips as measured and scored samples are seen, the same at every look: frames at fixed places, whole pictures."""
    return _dataset(recipe, clips, readers)


def _dataset(
    recipe: AudioVisualRecipe, clips: Sequence[Clip], readers: Readers | None, *, random_view: bool = False
) -> AudioVisual:
    still = "first" if recipe.frames == "first" else "spread"
    read_sound, read_frame = readers or (None, None)
    return AudioVisual(
        clips,
        sample_rate=recipe.sample_rate,
        seconds=recipe.seconds,
        n_fft=recipe.n_fft,
        hop_length=recipe.hop_length,
        view=RandomView() if random_view else whole,
        num_frames=recipe.num_frames,
        pick=recipe.frames if random_view else still,
        read_sound=read_sound,
        read_frame=read_frame,
    )


def from_inputs(
    recipe: AudioVisualRecipe, inputs: Sequence[RawInput], folder: Path, *, longest: float, sample_rate: int | None
) -> AudioVisual:
    """Raw inputs as measured samples are seen; see :func:`bss.data.prepare.raw.clip_of`."""
    clips = [
        clip_of(raw, folder / str(number), longest=longest, sample_rate=sample_rate)
        for number, raw in enumerate(inputs)
    ]
    return as_tested(recipe, clips)


def build_model(recipe: AudioVisualRecipe, num_classes: int) -> LateFusion:
    """Build two ResNet-18 with linear heads, which take waveforms and pictures of any length and size."""
    window = RepeatToLength(round(recipe.sample_rate * recipe.seconds))
    spectrogram = LogSpectrogram(n_fft=recipe.n_fft, hop_length=recipe.hop_length)
    with seeded("build", recipe.seed):  # layers draw weights as soon as they are made
        audio = resnet18(in_channels=1, width=recipe.width)
        visual = resnet18(in_channels=3, width=recipe.width)
        feature_dims = {"audio": audio.feature_dim, "visual": visual.feature_dim}
        model = LateFusion(
            {
                "audio": nn.Sequential(OrderedDict(window=window, spectrogram=spectrogram, resnet=audio)),
                "visual": nn.Sequential(OrderedDict(views=FrameViews(recipe.image_size), resnet=visual)),
            },
            FUSIONS[recipe.fusion](feature_dims, num_classes),
            num_classes,
            feature_dims=feature_dims,
        )
    return initialize(model, recipe.seed)
