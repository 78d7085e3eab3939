"""Twitter15: what does a tweet with a picture say about one thing? A ResNet-50 and a BERT, both pretrained."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from bss.data.datasets.data_set import find, find_listed, read
from bss.data.datasets.imagetext import ImageText, Post
from bss.data.datasets.twitter15 import DATA_SET, VARIANTS
from bss.data.parts import Part
from bss.data.prepare.raw import IMAGE_TEXT as INPUTS
from bss.data.prepare.raw import RawInput, post_of
from bss.data.splits import Splits
from bss.data.synthetic.twitter15 import write_sample
from bss.models.encoders import text_encoder
from bss.models.fusion import FUSIONS
from bss.models.late_fusion import LateFusion
from bss.recipes.twitter15 import CL, CL_OFFICIAL, CL_PAPER, SPL, SPL_OFFICIAL, SPL_PAPER, Twitter15Recipe
from bss.tasks import imagetext
from bss.tasks.parts import of_list
from bss.utils.errors import DataError
from bss.utils.seeding import seeded


def title_of(recipe: Twitter15Recipe) -> str:
    """Which of the two data sets it is."""
    return VARIANTS[recipe.variant].title


def build_data(recipe: Twitter15Recipe, root: Path) -> Splits:
    """Find all tweets, check their pictures, make the parts and turn the texts into token ids.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find` and
            :func:`bss.tasks.imagetext.build_splits`; also for ``use_target`` with a list that has no terms.
    """
    data_set = VARIANTS[recipe.variant]

    def find_split(split: str) -> tuple[list[Post], list[str]]:
        posts, dropped = _with_targets(find(data_set, root, split, missing=recipe.missing, cache=recipe.cache), recipe)
        if split != "train" or not data_set.tested_rows_in_train:
            return posts, dropped
        tested = {_row(post) for post in read(data_set, root, "test")}
        return (
            [post for post in posts if _row(post) not in tested],
            dropped + [post.name for post in posts if _row(post) in tested],
        )

    return imagetext.build_splits(
        recipe,
        root,
        DATA_SET.classes,
        find_split,
        group=DATA_SET.group,
        text_of=partial(_text_of, recipe),
        pairs=recipe.use_target,
    )


def build_list(recipe: Twitter15Recipe, root: Path, path: Path) -> Part:
    """The tweets of a list of one's own, as a test sees them.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find_listed` and
            :func:`bss.tasks.imagetext.as_tested`; also for ``use_target`` with a list that has no terms.
    """
    posts, dropped = _with_targets(
        find_listed(VARIANTS[recipe.variant], root, path, missing=recipe.missing, cache=recipe.cache), recipe
    )
    text_of = partial(_text_of, recipe)
    samples = imagetext.as_tested(recipe, root, posts, text_of=text_of, pairs=recipe.use_target)
    return of_list(posts, samples, DATA_SET.classes, dropped=dropped, group=DATA_SET.group)


def _row(post: Post) -> tuple[str, str, str]:
    return post.image, post.text, post.target


def _with_targets(found: tuple[list[Post], list[str]], recipe: Twitter15Recipe) -> tuple[list[Post], list[str]]:
    """What was found, which must have terms where the recipe uses them."""
    first = found[0][0]
    if recipe.use_target and not first.target:
        raise DataError(f"{first.listed}: the list has no Target column: --set use_target=false")
    return found


def _text_of(recipe: Twitter15Recipe, post: Post) -> str:
    return post.filled() if recipe.fill_target else post.text


def build_inputs(recipe: Twitter15Recipe, root: Path, inputs: Sequence[RawInput], folder: Path) -> ImageText:
    """Pictures with texts, and the terms that they are about, as a test sees them.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.tasks.imagetext.as_tested`; also for an input without a term, where
            the run uses them.
    """
    posts = [post_of(raw) for raw in inputs]
    for post in posts:
        if recipe.use_target and not post.target:
            raise DataError(
                f"{post.listed}: this run needs the term that the text is about: a csv with a column target"
            )
    return imagetext.as_tested(recipe, root, posts, text_of=partial(_text_of, recipe), pairs=recipe.use_target)


def build_model(recipe: Twitter15Recipe, root: Path) -> LateFusion:
    """Build a ResNet-50, and a BERT whose feature is projected to the same length.

    134,589,769 parameters with BERT-base, ``fusion="concat"`` and width 64.

    Raises:
        DataError, DataNotFoundError: pretrained weights that are not there, see
            :func:`bss.models.encoders.text.text_encoder` and :func:`bss.models.encoders.load_resnet50`.
        RecipeError: a text model without a pooler, with ``text_pooling="pooler"``.
    """
    with seeded("build", recipe.seed):  # layers draw weights as soon as they are made
        bert = text_encoder(recipe.text_model, root, pool=recipe.text_pooling, pretrained=recipe.text_pretrained)
        image = imagetext.image_encoder(recipe.width, recipe.image_weights, root)
        projection = nn.Linear(bert.feature_dim, image.feature_dim)
        feature_dims = {"image": image.feature_dim, "text": image.feature_dim}
        return LateFusion(
            {"image": image, "text": nn.Sequential(OrderedDict(bert=bert, projection=projection))},
            FUSIONS[recipe.fusion](feature_dims, len(DATA_SET.classes)),
            len(DATA_SET.classes),
            feature_dims=feature_dims,
        )


def sample_recipe(recipe: Twitter15Recipe) -> Twitter15Recipe:
    """The recipe for the generated data: narrow encoders from random weights, and steps that suit them."""
    return replace(recipe, **imagetext.SAMPLE, schedule=replace(recipe.schedule, grow_epochs=4))
