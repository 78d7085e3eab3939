"""CREMA-D: six emotions from speech and one face frame, two ResNet-18 from scratch."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from bss.data import Splits, stratified_split
from bss.datasets import cremad
from bss.encoders import resnet18
from bss.errors import DataError, RecipeError
from bss.fusion import FUSIONS, FusionName
from bss.models import LateFusion, initialize
from bss.recipe import CurriculumSchedule, Recipe, SelfPacedSchedule
from bss.seeding import seeded
from bss.transforms.audio import LogSpectrogram
from bss.transforms.image import test_transform, train_transform


@dataclass(frozen=True, kw_only=True)
class CremadRecipe(Recipe):
    """A recipe with the numbers of CREMA-D's data and encoders.

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

    sample_rate: int = 22050
    seconds: float = 20.0
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


# Released CREMA-D/train-CL.py:21-46 (numbers), :217-218 (pacing); audio and frames CramedDataset.py:58-93. Loss weights
# and the prediction without the fused head: train-CL.py:169 and its test function.
CL = CremadRecipe(
    epochs=120,
    batch_size=32,
    lr=0.01,
    seed=42,
    fused_weight=0.1,
    unimodal_weight=0.9,
    prediction="unimodal",
    schedule=CurriculumSchedule(start=0.1, grow_epochs=40),
)
SPL = replace(CL, schedule=SelfPacedSchedule(floor=1e-2))  # released CREMA-D/train-SPL.py:165-174

# What the released scripts do where it differs from the method: see the table in CREMAD/README.md.
_AS_RELEASED = {"val_fraction": 0.0, "tail": "last", "frames": "first"}
CL_OFFICIAL = replace(CL, **_AS_RELEASED, schedule=replace(CL.schedule, mode="train", view="train"))
SPL_OFFICIAL = replace(SPL, **_AS_RELEASED, schedule=replace(SPL.schedule, mode="train", view="train"))


def build_data(recipe: CremadRecipe, root: Path) -> Splits:
    """Find all clips, check their files and split the training list.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.datasets.cremad.find_clips`; also for a clip that is in both lists.
    """
    clips, dropped = cremad.find_clips(root, "train", fps=recipe.fps, missing=recipe.missing)
    test_clips, test_dropped = cremad.find_clips(root, "test", fps=recipe.fps, missing=recipe.missing)
    both = {clip.name for clip in clips} & {clip.name for clip in test_clips}
    if both:
        raise DataError(f"{len(both)} clips are in the training and in the test list, the first is {min(both)}")
    train_clips, val_clips = clips, None
    if recipe.val_fraction:
        rest, part = stratified_split(
            [clip.label for clip in clips], recipe.val_fraction, seed=recipe.seed, classes=cremad.CLASSES
        )
        train_clips, val_clips = [clips[i] for i in rest], [clips[i] for i in part]

    def dataset(members: list[cremad.Clip], *, train: bool = False) -> cremad.Cremad:
        still = "first" if recipe.frames == "first" else "spread"
        return cremad.Cremad(
            members,
            sample_rate=recipe.sample_rate,
            seconds=recipe.seconds,
            n_fft=recipe.n_fft,
            hop_length=recipe.hop_length,
            transform=(train_transform if train else test_transform)(recipe.image_size),
            num_frames=recipe.num_frames,
            pick=recipe.frames if train else still,
        )

    return Splits(
        train=dataset(train_clips, train=True),
        score=dataset(train_clips),
        val=dataset(val_clips) if val_clips is not None else None,
        test=dataset(test_clips),
        labels_N=torch.tensor([clip.label for clip in train_clips]),
        names=[clip.name for clip in train_clips],
        classes=cremad.CLASSES,
        dropped={"train": dropped, "test": test_dropped},
    )


def build_model(recipe: CremadRecipe) -> LateFusion:
    """Two ResNet-18 with linear heads: 22,359,058 parameters with ``fusion="concat"`` at width 64."""
    with seeded("build", recipe.seed):  # layers draw weights as soon as they are made
        audio = resnet18(in_channels=1, width=recipe.width)
        visual = resnet18(in_channels=3, width=recipe.width)
        feature_dims = {"audio": audio.feature_dim, "visual": visual.feature_dim}
        spectrogram = LogSpectrogram(n_fft=recipe.n_fft, hop_length=recipe.hop_length)
        model = LateFusion(
            {"audio": nn.Sequential(OrderedDict(spectrogram=spectrogram, resnet=audio)), "visual": visual},
            FUSIONS[recipe.fusion](feature_dims, len(cremad.CLASSES)),
            len(cremad.CLASSES),
            feature_dims=feature_dims,
        )
    return initialize(model, recipe.seed)


def sample_recipe(recipe: CremadRecipe) -> CremadRecipe:
    """The recipe for the generated data: the same classes with narrow encoders and small inputs."""
    return replace(
        recipe,
        epochs=10,
        batch_size=16,
        seconds=1.0,
        image_size=64,
        width=16,
        schedule=replace(recipe.schedule, grow_epochs=4),
    )


def write_sample(root: Path) -> None:
    """Write the generated data set in CREMA-D's own layout, unless it is there."""
    cremad.write_sample(root)
