"""What CREMA-D and Kinetics-Sounds share: recipe fields, splits and two ResNet-18 from scratch."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from bss.data import Splits
from bss.datasets.audiovisual import AudioVisual, Clip
from bss.encoders import resnet18
from bss.errors import RecipeError
from bss.fusion import FUSIONS, FusionName
from bss.models import LateFusion, initialize
from bss.recipe import Recipe
from bss.seeding import seeded
from bss.transforms.audio import LogSpectrogram
from bss.transforms.image import test_transform, train_transform

RELEASED_KEYS = {
    "encoders.audio.resnet.": "audio_net.",
    "encoders.visual.": "visual_net.",
    "heads.audio.": "linear_a.",
    "heads.visual.": "linear_v.",
    "fusion.classifier.": "linear_last.",
}
"""Prefix of our state-dict keys -> prefix in the released network (with ``fusion="concat"``), for
:func:`bss.models.renamed`."""


@dataclass(frozen=True, kw_only=True)
class AudioVisualRecipe(Recipe):
    """A recipe with the numbers of a sound, some frames and their encoders.

    Attributes:
        sample_rate: Hz; audio at another rate is resampled.
        seconds: length of the audio window; shorter clips are repeated, longer ones cut.
        n_fft: STFT window in samples.
        hop_length: STFT hop in samples.
        fps: which ``Image-XX-FPS`` folder holds the frames.
        num_frames: frames per sample, averaged after the encoder.
        frames: training frames are ``"drawn"`` at random, or the ``"first"`` of the listing (as released).
        image_size: pixels, height and width.
        width: channels of the ResNets' first stage; 64 is ResNet-18.
        fusion: the fused head.
    """

    sample_rate: int
    seconds: float
    n_fft: int = 512
    hop_length: int = 353
    fps: int = 1
    num_frames: int = 1
    frames: Literal["drawn", "first"] = "drawn"
    image_size: int = 224
    width: int = 64
    fusion: FusionName = "concat"

    def __post_init__(self):
        super().__post_init__()
        for name in ("sample_rate", "n_fft", "hop_length", "fps", "num_frames", "image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.seconds * self.sample_rate < self.n_fft:
            raise RecipeError(f"seconds={self.seconds:g} is shorter than one STFT window of {self.n_fft} samples")


def build_splits(
    recipe: AudioVisualRecipe,
    classes: tuple[str, ...],
    *,
    train: Sequence[Clip],
    val: Sequence[Clip] | None,
    test: Sequence[Clip],
    dropped: dict[str, list[str]],
) -> Splits:
    """Data sets of the clips, with the recipe's views."""

    def dataset(members: Sequence[Clip], *, random_view: bool = False) -> AudioVisual:
        still = "first" if recipe.frames == "first" else "spread"
        return AudioVisual(
            members,
            sample_rate=recipe.sample_rate,
            seconds=recipe.seconds,
            n_fft=recipe.n_fft,
            hop_length=recipe.hop_length,
            transform=(train_transform if random_view else test_transform)(recipe.image_size),
            num_frames=recipe.num_frames,
            pick=recipe.frames if random_view else still,
        )

    return Splits(
        train=dataset(train, random_view=True),
        score=dataset(train),
        val=dataset(val) if val is not None else None,
        test=dataset(test),
        labels_N=torch.tensor([clip.label for clip in train]),
        names=[clip.name for clip in train],
        classes=classes,
        dropped=dropped,
    )


def build_model(recipe: AudioVisualRecipe, num_classes: int) -> LateFusion:
    """Two ResNet-18 with linear heads."""
    with seeded("build", recipe.seed):  # layers draw weights as soon as they are made
        audio = resnet18(in_channels=1, width=recipe.width)
        visual = resnet18(in_channels=3, width=recipe.width)
        feature_dims = {"audio": audio.feature_dim, "visual": visual.feature_dim}
        spectrogram = LogSpectrogram(n_fft=recipe.n_fft, hop_length=recipe.hop_length)
        model = LateFusion(
            {"audio": nn.Sequential(OrderedDict(spectrogram=spectrogram, resnet=audio)), "visual": visual},
            FUSIONS[recipe.fusion](feature_dims, num_classes),
            num_classes,
            feature_dims=feature_dims,
        )
    return initialize(model, recipe.seed)
