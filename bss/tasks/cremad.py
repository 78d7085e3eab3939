"""CREMA-D: six emotions from speech and one face frame, two ResNet-18 from scratch."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bss.data.datasets.audiovisual import AudioVisual
from bss.data.datasets.cremad import DATA_SET, read_demographics
from bss.data.datasets.data_set import find, find_listed
from bss.data.parts import Part
from bss.data.prepare.cremad import LONGEST
from bss.data.prepare.raw import AUDIOVISUAL as INPUTS
from bss.data.prepare.raw import RawInput
from bss.data.splits import Splits
from bss.data.synthetic.cremad import write_sample
from bss.models.late_fusion import LateFusion
from bss.recipes.cremad import CL, CL_OFFICIAL, CL_PAPER, SPL, SPL_OFFICIAL, SPL_PAPER, CremadRecipe
from bss.tasks import audiovisual, parts

TEST_SHARE = 0.1
"""Share of the actors that ``split="speaker"`` tests on; the published test list has a tenth of the clips."""


def build_data(recipe: CremadRecipe, root: Path) -> Splits:
    """Find all clips, check their files and make the parts.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find`,
            :func:`bss.tasks.parts.train_and_test` and :func:`bss.data.datasets.cremad.read_demographics`; fewer actors
            than folds.
    """
    find_split = partial(find, DATA_SET, root, missing=recipe.missing, cache=recipe.cache, fps=recipe.fps)
    train, test, dropped = parts.train_and_test(find_split)
    tested: dict[str, list[str]] = {}
    if recipe.split == "speaker":
        clips = sorted(train + test, key=lambda clip: clip.name)
        if recipe.fold is None:
            train, test = parts.carved_by_group(clips, TEST_SHARE, seed=0, noun="actor")
        else:
            known = read_demographics(root, {clip.group for clip in clips})
            train, test = parts.dealt_by_group(clips, recipe.fold, recipe.folds, noun="actor", order=known)
        tested = {"actor": sorted({clip.group for clip in test})}
        val = None
        if recipe.val_fraction:
            train, val = parts.carved_by_group(train, recipe.val_fraction, seed=recipe.seed, noun="actor")
    else:
        train, val, left_out = parts.validation(
            find_split,
            train,
            test,
            published=recipe.published_val,
            fraction=recipe.val_fraction,
            seed=recipe.seed,
            classes=DATA_SET.classes,
        )
        dropped |= left_out
    made = audiovisual.build_splits(
        recipe, root, DATA_SET.classes, train=train, val=val, test=test, dropped=dropped, group=DATA_SET.group
    )
    return replace(made, tested_groups=tested)


def build_list(recipe: CremadRecipe, root: Path, path: Path) -> Part:
    """The clips of a list of one's own, as a test sees them.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find_listed`.
    """
    clips, dropped = find_listed(DATA_SET, root, path, missing=recipe.missing, cache=recipe.cache, fps=recipe.fps)
    samples = audiovisual.as_tested(recipe, clips)
    return parts.of_list(clips, samples, DATA_SET.classes, dropped=dropped, group=DATA_SET.group)


def build_inputs(recipe: CremadRecipe, root: Path, inputs: Sequence[RawInput], folder: Path) -> AudioVisual:
    """Videos, or sounds with pictures, as a test sees them.

    Raises:
        DataError: see :func:`bss.data.prepare.raw.clip_of`.
    """
    return audiovisual.from_inputs(recipe, inputs, folder, longest=LONGEST, sample_rate=None)


def build_model(recipe: CremadRecipe, root: Path) -> LateFusion:
    """Build two ResNet-18 with linear heads: 22,359,058 parameters with ``fusion="concat"`` at width 64."""
    return audiovisual.build_model(recipe, len(DATA_SET.classes))


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
