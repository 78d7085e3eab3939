"""CREMA-D: six emotions from speech and one face frame, two ResNet-18 from scratch."""

from dataclasses import replace
from pathlib import Path

from bss.data.datasets import cremad
from bss.data.splits import Splits, group_split
from bss.data.synthetic import cremad as synthetic_cremad
from bss.models.late_fusion import LateFusion
from bss.recipes.cremad import CL, CL_OFFICIAL, SPL, SPL_OFFICIAL, CremadRecipe
from bss.tasks import audiovisual, parts

RELEASED_KEYS = audiovisual.RELEASED_KEYS


TEST_SHARE = 0.1
"""Share of the actors that ``split="speaker"`` tests on; the published test list has a tenth of the clips."""


def build_data(recipe: CremadRecipe, root: Path) -> Splits:
    """Find all clips, check their files and make the parts.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.tasks.parts.train_and_test`.
    """
    options = {"fps": recipe.fps, "missing": recipe.missing}
    train, test, dropped = parts.train_and_test(cremad.find_samples, root, **options)
    if recipe.split == "speaker":
        train, test = _dealt(sorted(train + test, key=lambda clip: clip.name), TEST_SHARE, seed=0)
        val = None
        if recipe.val_fraction:
            train, val = _dealt(train, recipe.val_fraction, seed=recipe.seed)
    else:
        train, val = parts.carved(train, recipe, cremad.CLASSES)
    return audiovisual.build_splits(recipe, root, cremad.CLASSES, train=train, val=val, test=test, dropped=dropped)


def _dealt(clips: list[cremad.Clip], share: float, *, seed: int) -> tuple[list[cremad.Clip], list[cremad.Clip]]:
    rest, part = group_split([clip.group for clip in clips], share, seed=seed, noun="actor")
    return [clips[i] for i in rest], [clips[i] for i in part]


def build_model(recipe: CremadRecipe, root: Path) -> LateFusion:
    """Two ResNet-18 with linear heads: 22,359,058 parameters with ``fusion="concat"`` at width 64."""
    return audiovisual.build_model(recipe, len(cremad.CLASSES))


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
    synthetic_cremad.write_sample(root)
