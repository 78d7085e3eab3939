"""Sarcasm: is a tweet with a picture meant as it says? A ResNet-50 and a BERT, both pretrained, one head for both."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from bss.data.datasets.data_set import find, find_listed
from bss.data.datasets.imagetext import ImageText
from bss.data.datasets.sarcasm import DATA_SET
from bss.data.parts import Part
from bss.data.prepare.raw import IMAGE_TEXT as INPUTS
from bss.data.prepare.raw import RawInput, post_of
from bss.data.splits import Splits
from bss.data.synthetic.sarcasm import write_sample
from bss.models.encoders import text_encoder
from bss.models.fusion import FUSIONS
from bss.models.late_fusion import LateFusion
from bss.recipes.sarcasm import CL, CL_OFFICIAL, CL_PAPER, SPL, SPL_OFFICIAL, SPL_PAPER, SarcasmRecipe
from bss.tasks import imagetext
from bss.tasks.parts import of_list
from bss.utils.seeding import seeded

IMAGENET_CLASSES = 1000
"""Outputs of the ResNet's own classifier, which the image branch keeps."""


def build_data(recipe: SarcasmRecipe, root: Path) -> Splits:
    """Find all posts, check their pictures, make the parts and turn the texts into token ids.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find` and
            :func:`bss.tasks.imagetext.build_splits`.
    """
    find_split = partial(
        find, DATA_SET, root, missing=recipe.missing, cache=recipe.cache, word_filter=recipe.word_filter
    )
    return imagetext.build_splits(recipe, root, DATA_SET.classes, find_split)


def build_list(recipe: SarcasmRecipe, root: Path, path: Path) -> Part:
    """The posts of a list of one's own, as a test sees them.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.data_set.find_listed` and
            :func:`bss.tasks.imagetext.as_tested`.
    """
    posts, dropped = find_listed(
        DATA_SET, root, path, missing=recipe.missing, cache=recipe.cache, word_filter=recipe.word_filter
    )
    samples = imagetext.as_tested(recipe, root, posts)
    return of_list(posts, samples, DATA_SET.classes, dropped=dropped, group=DATA_SET.group)


def build_inputs(recipe: SarcasmRecipe, root: Path, inputs: Sequence[RawInput], folder: Path) -> ImageText:
    """Pictures with texts as a test sees them.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.tasks.imagetext.as_tested`.
    """
    return imagetext.as_tested(recipe, root, [post_of(raw) for raw in inputs])


def build_model(recipe: SarcasmRecipe, root: Path) -> LateFusion:
    """Build a ResNet-50 with its classifier and a projection, a BERT (its first token), and a head that both share.

    135,222,060 parameters with BERT-base, ``fusion="concat"`` and width 64.

    Raises:
        DataError, DataNotFoundError: pretrained weights that are not there, see
            :func:`bss.models.encoders.text.text_encoder` and :func:`bss.models.encoders.load_resnet50`.
    """
    with seeded("build", recipe.seed):  # layers draw weights as soon as they are made
        text = text_encoder(recipe.text_model, root, pool=recipe.text_pooling, pretrained=recipe.text_pretrained)
        fc = nn.Linear(32 * recipe.width, IMAGENET_CLASSES)
        resnet = imagetext.image_encoder(recipe.width, recipe.image_weights, root, classifier=fc)
        projection = nn.Linear(IMAGENET_CLASSES, text.feature_dim)
        feature_dims = {"image": text.feature_dim, "text": text.feature_dim}
        return LateFusion(
            {"image": nn.Sequential(OrderedDict(resnet=resnet, fc=fc, projection=projection)), "text": text},
            FUSIONS[recipe.fusion](feature_dims, len(DATA_SET.classes)),
            len(DATA_SET.classes),
            feature_dims=feature_dims,
            shared_head=True,
        )


def sample_recipe(recipe: SarcasmRecipe) -> SarcasmRecipe:
    """The recipe for the generated data: narrow encoders from random weights, and steps that suit them."""
    return replace(recipe, **imagetext.SAMPLE, schedule=replace(recipe.schedule, grow_epochs=4))
