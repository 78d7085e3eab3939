"""Sarcasm: is a tweet with a picture meant as it says? A ResNet-50 and a BERT, both pretrained, one head for both."""

from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from torch import nn

from bss.data.datasets import sarcasm
from bss.data.splits import Splits
from bss.data.synthetic import sarcasm as synthetic_sarcasm
from bss.models.encoders import text_encoder
from bss.models.fusion import FUSIONS
from bss.models.late_fusion import LateFusion
from bss.recipes.sarcasm import CL, CL_OFFICIAL, SPL, SPL_OFFICIAL, SarcasmRecipe
from bss.tasks import imagetext
from bss.utils.seeding import seeded

IMAGENET_CLASSES = 1000
"""Outputs of the ResNet's own classifier, which the image branch keeps."""


RELEASED_KEYS = {
    "encoders.image.resnet.": "visual_net.",
    "encoders.image.fc.": "visual_net.fc.",
    "encoders.image.projection.": "fix.",
    "encoders.text.bert.": "text_net.",
    "heads.shared.": "cls_shared.",
    "fusion.classifier.": "cls_mm.",
}
"""Our key prefixes -> those of the released ``ITNet`` (Sarcasm/models/basic_model.py:12-24)."""


def build_data(recipe: SarcasmRecipe, root: Path) -> Splits:
    """Find all posts, check their pictures, make the parts and turn the texts into token ids.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.data.datasets.sarcasm.find_samples` and
            :func:`bss.tasks.imagetext.build_splits`.
    """

    def find(split: str) -> tuple[list[sarcasm.Post], list[str]]:
        return sarcasm.find_samples(root, split, missing=recipe.missing, word_filter=recipe.word_filter)

    return imagetext.build_splits(recipe, root, sarcasm.CLASSES, find)


def build_model(recipe: SarcasmRecipe, root: Path) -> LateFusion:
    """ResNet-50 with its classifier and a projection, BERT's first token, a head that both share.

    135,222,060 parameters with BERT-base, ``fusion="concat"`` and width 64.

    Raises:
        DataError, DataNotFoundError: pretrained weights that are not there, see
            :func:`bss.models.encoders.text.text_encoder` and :func:`bss.models.encoders.load_resnet50`.
    """
    with seeded("build", recipe.seed):  # layers draw weights as soon as they are made
        text = text_encoder(recipe.text_model, root, pool="cls", pretrained=recipe.text_pretrained)
        fc = nn.Linear(32 * recipe.width, IMAGENET_CLASSES)
        resnet = imagetext.image_encoder(recipe, root, classifier=fc)
        projection = nn.Linear(IMAGENET_CLASSES, text.feature_dim)
        feature_dims = {"image": text.feature_dim, "text": text.feature_dim}
        return LateFusion(
            {"image": nn.Sequential(OrderedDict(resnet=resnet, fc=fc, projection=projection)), "text": text},
            FUSIONS[recipe.fusion](feature_dims, len(sarcasm.CLASSES)),
            len(sarcasm.CLASSES),
            feature_dims=feature_dims,
            shared_head=True,
        )


def sample_recipe(recipe: SarcasmRecipe) -> SarcasmRecipe:
    """The recipe for the generated data: narrow encoders from random weights, and steps that suit them."""
    return replace(recipe, **imagetext.SAMPLE, schedule=replace(recipe.schedule, grow_epochs=4))


def write_sample(root: Path) -> None:
    """Write the generated data set in Sarcasm's released layout, unless it is there."""
    synthetic_sarcasm.write_sample(root)
