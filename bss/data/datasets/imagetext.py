"""Posts with a picture and a text: what Sarcasm and Twitter15 have in common."""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bss.data.cache import Kind
from bss.data.datasets.data_set import DataSet
from bss.data.datasets.listing import checked_name, visible
from bss.data.rows import Row
from bss.data.transforms import image as picture
from bss.data.transforms.text import Tokens
from bss.utils.choices import Interpolation
from bss.utils.errors import DataError, shown

PLACEHOLDER = "$T$"
"""What TomBERT's texts have in the place of the aspect term."""


_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,9}\s*")


@dataclass(frozen=True)
class Post:
    """One row of a list with the post's picture.

    Attributes:
        name: unique in its split.
        label: position in the data set's classes.
        text: as the list has it, not empty.
        image: file name of the picture, as listed.
        path: the picture; None if there is none.
        blank: a neutral picture stands in its place.
        listed: the list and line (of json: item, counted from 1) that name it, for errors.
        target: the aspect term that the label is about; empty if the list has none.
        group: the picture's name where several rows share one; else empty.
    """

    name: str
    label: int
    text: str
    image: str
    path: Path | None = None
    listed: str = ""
    target: str = ""
    group: str = ""
    blank: bool = False

    @property
    def files(self) -> Mapping[str, tuple[Path, ...]]:
        """Kind of file -> the files."""
        return {"image": (self.path,) if self.path else ()}

    def filled(self) -> str:
        """The text with the aspect term in its place, if there is one."""
        return self.text.replace(PLACEHOLDER, self.target) if self.target else self.text

    @property
    def read(self) -> tuple[str, str]:
        """What a network reads of the post by default: the text with its term in place, and the term."""
        return self.filled(), self.target


@dataclass(frozen=True, kw_only=True)
class PostSet(DataSet[Post]):
    """A data set of posts.

    Attributes:
        image_folders: names of the folder of pictures that are in use; ``prepare`` makes the first.
    """

    image_folders: tuple[str, ...]


def without_picture(post: Post, gone: Collection[Path]) -> Post:
    """The post with a neutral picture in place of its own, see :attr:`bss.data.datasets.data_set.DataSet.blank`."""
    return replace(post, path=None, blank=True)


# ------------------------------------------------------------------------------------------------- checked cells


def checked_label(value: Any, classes: Sequence[str], where: str, *, lowest: int = 0) -> int:
    """Read the class id of a cell: a whole number, or a text of one.

    Args:
        value: of the cell.
        classes: class names.
        where: list and row, for the error.
        lowest: what the list writes for class 0.

    Raises:
        DataError: anything else, or a number out of range.
    """
    names = ", ".join(f"{number} ({name})" for number, name in enumerate(classes, start=lowest))
    number = int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number - lowest < len(classes):
        raise DataError(f"{where}: the label is {shown(value)}, allowed are {names}")
    return number - lowest


def checked_text(value: Any, where: str, what: str = "text") -> str:
    """Hand back a text that is not empty; one of symbols alone is a text.

    Raises:
        DataError: another type, nothing but white space, or half of a surrogate pair (a broken json escape).
    """
    if not isinstance(value, str):
        raise DataError(f"{where}: the {what} is {shown(value)}, expected a text")
    if not value.strip():
        raise DataError(f"{where}: the {what} is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: the {what} has a broken character at position {error.start}") from error
    return value


def checked_image(value: Any, where: str) -> str:
    """Read the file name of a picture from a cell, which may hold a relative path.

    Raises:
        DataError: another type, an empty name, or a path that leaves the data root.
    """
    if not isinstance(value, str):
        raise DataError(f"{where}: the image is {shown(value)}, expected a file name")
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{where}: the image {shown(value)} leaves the data root; give a file name")
    return checked_name(path.name, where)


# ------------------------------------------------------------------------------------------------------ pictures


def with_pictures(posts: Sequence[Post], folders: Sequence[Path]) -> list[Post]:
    """Look for the pictures of posts, and hand back the posts with what was found; every folder is listed once.

    Args:
        posts: of one list.
        folders: the first that has the picture is taken; under the name that is listed, whatever its suffix, or one
            with the same stem and another suffix of :data:`bss.data.transforms.image.PICTURE_SUFFIXES`, or none.
    """
    exact: dict[str, Path] = {}
    by_stem: dict[str, Path] = {}
    for folder in folders:
        names = sorted(visible(folder, os.DirEntry.is_file))
        for name in names:
            exact.setdefault(name, folder / name)
        for suffix in (picture.FRAME_SUFFIXES, picture.PICTURE_SUFFIXES, ("",)):
            for stem, ending in map(os.path.splitext, names):
                if ending.lower() in suffix:
                    by_stem.setdefault(stem, folder / (stem + ending))
    return [replace(post, path=exact.get(post.image) or by_stem.get(os.path.splitext(post.image)[0])) for post in posts]


class ImageText(Dataset):
    """Posts as samples, to be batched by :func:`bss.data.batches.collate`.

    A sample is a dict:

    - ``"image"``: (3, S, S) float32
    - ``"text"``: a :class:`bss.data.transforms.text.Tokens`
    - ``"label"``: int

    Args:
        posts: posts that have their picture, or a neutral one in its place; N of them, at least one.
        tokens_N3L: their texts.
        transform: of what is read, (3, H, W) uint8 -> (3, S, S) float32.
        read: file -> what a cache keeps of its picture, see :func:`picture_kind`; None decodes the file every time.
        neutral: the neutral picture, (3, S, S) float32; see :func:`bss.data.transforms.image.neutral_picture`.

    Raises:
        DataError: from indexing, naming the file and the row, for a picture that cannot be decoded.
    """

    def __init__(
        self,
        posts: Sequence[Post],
        tokens_N3L: Tensor,
        *,
        transform: Callable[[Tensor], Tensor],
        read: Callable[[Path], np.ndarray] | None = None,
        neutral: Tensor | None = None,
    ):
        if not posts:
            raise ValueError("ImageText needs at least one post")
        if tokens_N3L.shape[:2] != (len(posts), 3):
            raise ValueError(f"tokens must be ({len(posts)}, 3, L) for {len(posts)} posts, got {tokens_N3L.shape}")
        self.posts = tuple(posts)
        self.tokens_N3L = tokens_N3L
        self.transform, self.read = transform, read
        self.neutral = neutral

    def __len__(self) -> int:
        return len(self.posts)

    @property
    def pixel_scales(self) -> dict[str, picture.PixelScale]:
        """Which modalities are normalised pictures, and how."""
        return {"image": picture.scale_of(self.transform)}

    def listed_rows(self) -> list[Row]:
        """What is known of the posts without reading their pictures; one picture and the same tokens are equal."""
        tokens = (hash(tokens_3L.tobytes()) for tokens_3L in self.tokens_N3L.numpy())
        return [
            Row(post.name, post.label, (post.path, text), post.group)
            for post, text in zip(self.posts, tokens, strict=True)
        ]

    def __getitem__(self, index: int) -> dict[str, Any]:
        post = self.posts[index]
        try:
            image = self._neutral(post) if post.path is None else self.transform(self._pixels(post.path))
        except DataError as error:
            raise DataError(f"{error} ({post.listed})") from error
        return {"image": image, "text": Tokens(self.tokens_N3L[index], post.filled()), "label": post.label}

    def _pixels(self, path: Path) -> Tensor:
        # A cache is not to be written to.
        return picture.read_frame(path) if self.read is None else torch.from_numpy(self.read(path).copy())

    def _neutral(self, post: Post) -> Tensor:
        if not post.blank or self.neutral is None:
            raise DataError(f"{post.name} has no picture")
        return self.neutral.clone()


def picture_kind(size: int, interpolation: Interpolation) -> Kind:
    """The decoding of a picture for a fixed view: to (3, size, size) uint8, squeezed to a square."""
    return Kind(
        f"pictures-{size}px-{interpolation}", partial(_squeezed, size=size, interpolation=interpolation), "uint8"
    )


def _squeezed(path: Path, *, size: int, interpolation: Interpolation) -> np.ndarray:
    return picture.squeeze(size, interpolation)(picture.read_frame(path)).numpy()


# ------------------------------------------------------------------------------------------------ generated data

TEXT_MODEL = "text-model"
"""Folder of a generated data set that holds the shape and the vocabulary of a tiny BERT."""
