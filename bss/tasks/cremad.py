"""CREMA-D: six emotions from speech and one face frame, two ResNet-18 from scratch."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from bss.data import Splits, group_split
from bss.datasets import cremad
from bss.models import LateFusion
from bss.recipe import CurriculumSchedule, SelfPacedSchedule
from bss.tasks import audiovisual, parts

RELEASED_KEYS = audiovisual.RELEASED_KEYS
TEST_SHARE = 0.1
"""Share of the actors that ``split="speaker"`` tests on; the published test list has a tenth of the clips."""


@dataclass(frozen=True, kw_only=True)
class CremadRecipe(audiovisual.AudioVisualRecipe):
    """A recipe with the numbers of CREMA-D's data and encoders.

    Attributes:
        split: the ``"published"`` lists, in which all 91 actors are in training and test; or by ``"speaker"``: the same
            clips dealt anew, a tenth of the actors (always the same ones) for the test, ``val_fraction`` of the others
            for validation, so that no voice or face is in two parts.
    """

    sample_rate: int = 22050
    seconds: float = 20.0
    split: Literal["published", "speaker"] = "published"


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
    return audiovisual.build_splits(recipe, cremad.CLASSES, train=train, val=val, test=test, dropped=dropped)


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
    cremad.write_sample(root)
