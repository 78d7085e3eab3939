"""Kinetics-Sounds: 31 classes from ten seconds of sound and three frames, two ResNet-18 from scratch."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bss.data.datasets.audiovisual import AudioVisual
from bss.data.datasets.clips import Clip
from bss.data.datasets.data_set import find, find_listed
from bss.data.datasets.ks import DATA_SET, long_enough
from bss.data.parts import Part
from bss.data.prepare.ks import LONGEST, SAMPLE_RATE
from bss.data.prepare.raw import AUDIOVISUAL as INPUTS
from bss.data.prepare.raw import RawInput
from bss.data.splits import Splits
from bss.data.synthetic.ks import write_sample
from bss.models.late_fusion import LateFusion
from bss.recipes.ks import CL, CL_OFFICIAL, CL_PAPER, SPL, SPL_OFFICIAL, SPL_PAPER, KineticsSoundsRecipe
from bss.tasks import audiovisual, parts
from bss.utils.errors import DataError


def build_data(recipe: KineticsSoundsRecipe, root: Path) -> Splits:
    """Find all clips, check their files and split the training list.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find` and
            :func:`bss.tasks.parts.train_and_test`; also for a list without a clip of ``min_frames`` frames.
    """

    def find_split(split: str) -> tuple[list[Clip], list[str]]:
        clips, dropped = find(DATA_SET, root, split, missing=recipe.missing, cache=recipe.cache, fps=recipe.fps)
        kept, short = long_enough(clips, split, recipe.min_frames)
        return kept, dropped + short

    train, test, dropped = parts.train_and_test(find_split)
    classes, number = _as_seen(train, test) if recipe.class_ids == "first_seen" else (DATA_SET.classes, {})

    def find_val(split: str) -> tuple[list[Clip], list[str]]:
        clips, left_out = find_split(split)
        return _numbered(clips, number), left_out

    train, val, left_out = parts.validation(
        find_val,
        _numbered(train, number),
        test := _numbered(test, number),
        published=recipe.published_val,
        fraction=recipe.val_fraction,
        seed=recipe.seed,
        classes=classes,
    )
    return audiovisual.build_splits(
        recipe, root, classes, train=train, val=val, test=test, dropped=dropped | left_out, group=DATA_SET.group
    )


def _as_seen(train: list[Clip], test: list[Clip]) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes as they first occur in the training list, unseen ones after them; and old number -> new number."""
    seen = list(dict.fromkeys(clip.label for clip in train))
    unseen = sorted({clip.label for clip in test} - set(seen))
    if unseen:
        raise DataError(f"the test list has {DATA_SET.classes[unseen[0]]!r}, but no training clip has that class")
    order = seen + sorted(set(range(len(DATA_SET.classes))) - set(seen))
    number = {label: position for position, label in enumerate(order)}
    return tuple(DATA_SET.classes[label] for label in order), number


def _numbered(clips: list[Clip], number: dict[int, int]) -> list[Clip]:
    return [replace(clip, label=number.get(clip.label, clip.label)) for clip in clips]


def build_list(recipe: KineticsSoundsRecipe, root: Path, path: Path) -> Part:
    """The clips of a list of one's own, as a test sees them; its classes are numbered as in the data set's record.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find_listed`; also for a list without a clip
            of ``min_frames`` frames.
    """
    clips, dropped = find_listed(DATA_SET, root, path, missing=recipe.missing, cache=recipe.cache, fps=recipe.fps)
    clips, short = long_enough(clips, "list", recipe.min_frames)
    samples = audiovisual.as_tested(recipe, clips)
    return parts.of_list(clips, samples, DATA_SET.classes, dropped=dropped + short, group=DATA_SET.group)


def build_inputs(recipe: KineticsSoundsRecipe, root: Path, inputs: Sequence[RawInput], folder: Path) -> AudioVisual:
    """Videos, or sounds with pictures, as a test sees them.

    Raises:
        DataError: see :func:`bss.data.prepare.raw.clip_of`.
    """
    return audiovisual.from_inputs(recipe, inputs, folder, longest=LONGEST, sample_rate=SAMPLE_RATE)


def build_model(recipe: KineticsSoundsRecipe, root: Path) -> LateFusion:
    """Build two ResNet-18 with linear heads: 22,410,333 parameters with ``fusion="concat"`` at width 64."""
    return audiovisual.build_model(recipe, len(DATA_SET.classes))


def sample_recipe(recipe: KineticsSoundsRecipe) -> KineticsSoundsRecipe:
    """The recipe for the generated data: the same classes with narrow encoders and small inputs."""
    return replace(
        recipe,
        epochs=8,
        batch_size=16,
        lr=0.02,
        sample_rate=16000,
        seconds=1.0,
        image_size=48,
        width=16,
        schedule=replace(recipe.schedule, grow_epochs=4),
    )
