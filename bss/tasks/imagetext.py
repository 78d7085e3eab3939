"""What Sarcasm and Twitter15 have in common: recipe, parts and encoders of a picture and a text."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from bss.data import Splits, group_split, stratified_split
from bss.datasets.imagetext import TEXT_MODEL, ImageText, Post
from bss.encoders import ResNetEncoder, load_resnet50, resnet50
from bss.errors import DataError, DataNotFoundError, RecipeError
from bss.fusion import FusionName
from bss.recipe import Recipe
from bss.transforms.image import Interpolation, Normalization, augment_transform, test_transform
from bss.transforms.text import Cleaning, clean_text, encode, load_tokenizer

Find = Callable[[str], tuple[list[Post], list[str]]]

AS_RELEASED: dict[str, Any] = {"val_fraction": 0.0, "published_val": False, "tail": "last", "max_tokens": None}
"""Fields in which the released scripts of both data sets differ from ours; the README files say why."""

SAMPLE: dict[str, Any] = {
    "epochs": 8,
    "batch_size": 16,
    "optimizer": "adam",
    "lr": 1e-3,
    "image_size": 64,
    "image_weights": None,
    "width": 8,
    "text_model": TEXT_MODEL,
    "text_pretrained": False,
}
"""Fields that suit the generated data: narrow encoders from random weights, small inputs, larger steps."""


@dataclass(frozen=True, kw_only=True)
class ImageTextRecipe(Recipe):
    """A recipe with the numbers of a picture, a text and their encoders.

    Attributes:
        published_val: the epoch is chosen on the published validation list, and the whole training list trains. False
            takes ``val_fraction`` of the training list instead; no picture is in both parts.
        text_model: a folder under the data root or the working directory, or a name on the Hugging Face hub.
        text_pretrained: load the text model's weights; false takes its shape and vocabulary only.
        max_tokens: texts are cut to so many tokens, [CLS] and [SEP] included; none cuts nothing (as released). Of the
            texts of Sarcasm 0.4 % are longer than 64 and 15 % longer than 30; of Twitter15 none and 15 %.
        cleaning: ``"none"``; ``"caption"``: small letters, less punctuation; ``"letters"``: only words of A to Z.
        max_words: words beyond this number are cut off before the tokens are; none keeps all.
        image_weights: of the ResNet-50: ``imagenet`` (torchvision's, downloaded), a file of them, or none.
        image_size: pixels, height and width.
        augment: training pictures are cropped, flipped and changed at random; false shows them as in tests.
        normalization: means and deviations that the pixels are scaled with.
        interpolation: how pictures are resized.
        width: channels of the ResNet's first stage; 64 is ResNet-50.
        fusion: the fused head.
    """

    published_val: bool = True
    text_model: str = "bert-base-uncased"
    text_pretrained: bool = True
    max_tokens: int | None = 64
    cleaning: Cleaning = "none"
    max_words: int | None = None
    image_weights: Literal["imagenet"] | str | None = "imagenet"
    image_size: int = 224
    augment: bool = True
    normalization: Normalization = "imagenet"
    interpolation: Interpolation = "bilinear"
    width: int = 64
    fusion: FusionName = "concat"

    def __post_init__(self):
        super().__post_init__()
        for name in ("image_size", "width"):
            if getattr(self, name) < 1:
                raise RecipeError(f"{name} must be >= 1, got {getattr(self, name)}")
        for name, least in (("max_tokens", 4), ("max_words", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise RecipeError(f"{name} must be >= {least}, or none, got {value}")
        if self.published_val and self.val_fraction == 0:
            raise RecipeError(
                "val_fraction=0 measures the test set after every epoch, but published_val=true chooses the epoch on "
                "the validation list: set published_val=false as well"
            )
        if self.image_weights is not None and self.width != 64:
            raise RecipeError(
                f"image_weights={self.image_weights} needs width=64, got {self.width}; or --set image_weights=none"
            )


def build_splits(
    recipe: ImageTextRecipe,
    root: Path,
    classes: tuple[str, ...],
    find: Find,
    *,
    text_of: Callable[[Post], str] = lambda post: post.text,
    pairs: bool = False,
) -> Splits:
    """Find all posts, make the parts, and turn all texts into token ids.

    Args:
        recipe: its numbers.
        root: the data root.
        classes: class names.
        find: maps ``"train"``, ``"val"`` or ``"test"`` to the posts of that list and the names left out.
        text_of: the text of a post, before ``cleaning``.
        pairs: the aspect term is the second text of a pair.

    Raises:
        DataError, DataNotFoundError: what ``find`` raises, and for the text model; also for a row in two lists.
        RecipeError: see :func:`bss.transforms.text.encode`.
    """
    parts, dropped = {}, {}
    parts["train"], dropped["train"] = find("train")
    parts["test"], dropped["test"] = find("test")
    if recipe.published_val:
        try:
            parts["val"], dropped["val"] = find("val")
        except DataNotFoundError as error:
            raise DataNotFoundError(f"{error}; or do without the validation list: --set published_val=false") from error
    _check_disjoint(parts)
    if not recipe.published_val and recipe.val_fraction:
        parts["train"], parts["val"] = _carved(recipe, parts["train"], classes)

    tokenizer = load_tokenizer(recipe.text_model, root)
    tokens = {
        part: encode(
            tokenizer,
            [clean_text(text_of(post), recipe.cleaning, recipe.max_words) for post in posts],
            listed=[post.listed for post in posts],
            max_tokens=recipe.max_tokens,
            targets=[post.target for post in posts] if pairs else None,
        )
        for part, posts in parts.items()
    }
    look = {"normalization": recipe.normalization, "interpolation": recipe.interpolation}
    still = test_transform(recipe.image_size, **look)
    moving = augment_transform(recipe.image_size, **look) if recipe.augment else still

    def dataset(part: str, transform: Callable) -> ImageText:
        return ImageText(parts[part], tokens[part], transform=transform)

    return Splits(
        train=dataset("train", moving),
        score=dataset("train", still),
        val=dataset("val", still) if "val" in parts else None,
        test=dataset("test", still),
        labels_N=torch.tensor([post.label for post in parts["train"]]),
        names=[post.name for post in parts["train"]],
        classes=classes,
        dropped=dropped,
    )


def _check_disjoint(parts: dict[str, list[Post]]) -> None:
    """Refuse a row (picture, text and term) that is in two lists."""
    seen: dict[tuple[str, str, str], tuple[str, Post]] = {}
    for part, posts in parts.items():
        for post in posts:
            other, twin = seen.setdefault((post.image, post.text, post.target), (part, post))
            if other != part:
                raise DataError(f"{post.listed}: the same row as in {twin.listed}; a row must be in one list only")


def _carved(recipe: ImageTextRecipe, posts: list[Post], classes: tuple[str, ...]) -> tuple[list[Post], list[Post]]:
    """Training and validation posts out of the training list."""
    share, seed = recipe.val_fraction, recipe.seed
    if all(post.group for post in posts):
        rest, part = group_split([post.group for post in posts], share, seed=seed, noun="picture")
    else:
        rest, part = stratified_split([post.label for post in posts], share, seed=seed, classes=classes)
    return [posts[i] for i in rest], [posts[i] for i in part]


def image_encoder(recipe: ImageTextRecipe, root: Path, *, classifier: nn.Linear | None = None) -> ResNetEncoder:
    """A ResNet-50 with the weights that the recipe names; ``classifier`` gets the weights of ImageNet's ``fc``.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.encoders.load_resnet50`.
    """
    encoder = resnet50(width=recipe.width)
    if recipe.image_weights is not None:
        load_resnet50(encoder, recipe.image_weights, root, classifier=classifier)
    return encoder
