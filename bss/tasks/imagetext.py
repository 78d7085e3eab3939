"""The parts and the image encoder of Sarcasm and Twitter15, whose samples are a picture and a text."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from bss.data.cache import Cache, cache_folder
from bss.data.datasets.imagetext import TEXT_MODEL, ImageText, Post, picture_kind
from bss.data.splits import Splits
from bss.data.transforms.augment import augment_transform
from bss.data.transforms.image import fixed_transform, neutral_picture, normalize_transform
from bss.data.transforms.text import clean_text, encode, load_tokenizer
from bss.models.encoders import ResNetEncoder, load_resnet50, resnet50
from bss.recipes.imagetext import ImageTextRecipe
from bss.tasks.parts import Find, blank_of, carved, carved_by_group, listed
from bss.utils.errors import DataError, DataNotFoundError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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


def build_splits(
    recipe: ImageTextRecipe,
    root: Path,
    classes: tuple[str, ...],
    find: Find[Post],
    *,
    group: str | None = None,
    text_of: Callable[[Post], str] = lambda post: post.text,
    pairs: bool = False,
) -> Splits:
    """Find all posts, make the parts, and turn all texts into token ids.

    Args:
        recipe: its numbers.
        root: the data root.
        classes: class names.
        find: maps ``"train"``, ``"val"`` or ``"test"`` to the posts of that list and the names left out.
        group: what a sound split keeps apart, see :class:`bss.data.splits.Splits`.
        text_of: the text of a post, before ``cleaning``.
        pairs: the aspect term is the second text of a pair.

    Raises:
        DataError, DataNotFoundError: what ``find`` raises, and for the text model; also for a row in two lists.
        RecipeError: see :func:`bss.data.transforms.text.encode`.
    """
    parts, dropped = {}, {}
    parts["train"], dropped["train"] = find("train")
    parts["test"], dropped["test"] = find("test")
    if recipe.published_val:
        try:
            parts["val"], dropped["val"] = find("val")
        except DataNotFoundError as error:
            raise DataNotFoundError(f"{error}; or do without the validation list: --set published_val=false") from error
    # Before anything is carved: a row in two published lists must not vanish into one of them.
    _check_disjoint(parts)
    if not recipe.published_val and recipe.val_fraction:
        parts["train"], parts["val"] = _carved(parts["train"], recipe.val_fraction, seed=recipe.seed, classes=classes)

    tokenizer = load_tokenizer(recipe.text_model, root)
    cache, read = None, None
    files = {post.path: post.listed for posts in parts.values() for post in posts if post.path is not None}
    if recipe.cache is not None and files:  # of the fixed views alone: random ones are made of all pixels
        kind = picture_kind(recipe.image_size, recipe.interpolation)
        cache = Cache(cache_folder(recipe.cache, root), root, {kind: files})
        read = cache[kind]
    still = {
        part: _as_tested(recipe, tokenizer, posts, text_of=text_of, pairs=pairs, read=read)
        for part, posts in parts.items()
    }
    train = still["train"]
    if recipe.augment:
        moving = augment_transform(
            recipe.image_size, normalization=recipe.normalization, interpolation=recipe.interpolation
        )
        train = ImageText(parts["train"], train.tokens_N3L, transform=moving, neutral=train.neutral)
    return Splits(
        train=train,
        score=still["train"],
        val=still.get("val"),
        test=still["test"],
        labels_N=torch.tensor([post.label for post in parts["train"]], device="cpu"),
        names=[post.name for post in parts["train"]],
        classes=classes,
        dropped=dropped,
        blank=blank_of(train=parts["train"], val=parts.get("val"), test=parts["test"]),
        cache=cache,
        group=group,
        listed=listed(val=parts.get("val"), test=parts["test"]),
    )


def as_tested(
    recipe: ImageTextRecipe,
    root: Path,
    posts: Sequence[Post],
    *,
    text_of: Callable[[Post], str] = lambda post: post.text,
    pairs: bool = False,
) -> ImageText:
    """Posts as measured and scored samples are seen, the same at every look; see :func:`build_splits`.

    Raises:
        DataError, DataNotFoundError: for the text model.
        RecipeError: see :func:`bss.data.transforms.text.encode`.
    """
    return _as_tested(recipe, load_tokenizer(recipe.text_model, root), posts, text_of=text_of, pairs=pairs)


def _as_tested(
    recipe: ImageTextRecipe,
    tokenizer: "PreTrainedTokenizerBase",
    posts: Sequence[Post],
    *,
    text_of: Callable[[Post], str],
    pairs: bool,
    read: Callable[[Path], np.ndarray] | None = None,
) -> ImageText:
    tokens = encode(
        tokenizer,
        [clean_text(text_of(post), recipe.cleaning, recipe.max_words) for post in posts],
        listed=[post.listed for post in posts],
        max_tokens=recipe.max_tokens,
        targets=[post.target for post in posts] if pairs else None,
    )
    if read is None:
        transform = fixed_transform(
            recipe.image_size, normalization=recipe.normalization, interpolation=recipe.interpolation
        )
    else:
        transform = normalize_transform(recipe.normalization)
    return ImageText(
        posts,
        tokens,
        transform=transform,
        read=read,
        neutral=neutral_picture(recipe.image_size, recipe.normalization),
    )


def _check_disjoint(parts: dict[str, list[Post]]) -> None:
    """Refuse a row (picture, text and term) that is in two lists."""
    seen: dict[tuple[str, str, str], tuple[str, Post]] = {}
    for part, posts in parts.items():
        for post in posts:
            other, twin = seen.setdefault((post.image, post.text, post.target), (part, post))
            if other != part:
                raise DataError(f"{post.listed}: the same row as in {twin.listed}; a row must be in one list only")


def _carved(
    posts: list[Post], fraction: float, *, seed: int, classes: tuple[str, ...]
) -> tuple[list[Post], list[Post]]:
    """Carve validation posts out of the training list; posts that share a picture stay together."""
    if all(post.group for post in posts):
        return carved_by_group(posts, fraction, seed=seed, noun="picture")
    return carved(posts, fraction, seed=seed, classes=classes)


def image_encoder(width: int, weights: str | None, root: Path, *, classifier: nn.Linear | None = None) -> ResNetEncoder:
    """Build a ResNet-50 with the weights of this name; ``classifier`` gets the weights of ImageNet's ``fc``.

    Raises:
        DataError, DataNotFoundError: see :func:`bss.models.encoders.load_resnet50`.
    """
    encoder = resnet50(width=width)
    if weights is not None:
        load_resnet50(encoder, weights, root, classifier=classifier)
    return encoder
