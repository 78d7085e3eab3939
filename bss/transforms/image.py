"""Frames from files, and their two views: a random one for training, a fixed one for everything else."""

import io
import os
from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import decode_image
from torchvision.transforms import v2

from bss.errors import DataError
from bss.transforms.audio import absence

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Per channel, RGB in [0, 1] (released code, CREMA-D/dataset/CramedDataset.py:76)."""

IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per channel, RGB in [0, 1]."""

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes of frames, compared in lower case."""

MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: a few bytes of PNG can claim gigabytes."""

_ENDINGS = (b"\xff\xd9", b"IEND")  # of JPEG and PNG
_TAIL_BYTES = 64

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def image_damage(head: bytes) -> str | None:
    """Say that a file is neither JPEG nor PNG, or None; ``head`` is its first bytes."""
    return None if head.startswith(_MAGIC) else f"neither a jpeg nor a png image (it begins with {head[:8]!r})"


def image_truncation(path: str | os.PathLike) -> str | None:
    """Say that an image ends too early, or None; reads its last bytes, and decodes it only if those look wrong."""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            tail = file.read(_TAIL_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if any(ending in tail for ending in _ENDINGS):
        return None
    try:
        read_frame(path)  # bytes after the end are allowed
    except DataError:
        return "a truncated or damaged image"
    return None


def read_frame(path: str | os.PathLike) -> Tensor:
    """Decode one image.

    Args:
        path: JPEG or PNG; the content decides, not the suffix. Grey, palette, CMYK and 16-bit images become
            RGB and an alpha channel is dropped.

    Returns:
        (3, H, W) uint8, RGB.

    Raises:
        DataError: naming the file: a Git-LFS pointer, zero bytes, a truncated file, another format, or an
            image of more than :data:`MAX_PIXELS` pixels.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    problem = absence(data[:64], len(data)) or image_damage(data)
    if problem:
        raise DataError(f"{path}: {problem}")
    pixels = _claimed_pixels(data, path)
    if pixels > MAX_PIXELS:
        raise DataError(f"{path}: an image of {pixels} pixels; at most {MAX_PIXELS} are decoded")
    try:
        image = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode="RGB")
    except RuntimeError as error:
        detail = str(error).partition("\n")[0]
        raise DataError(f"{path}: a truncated or damaged image: {detail}") from error
    return image if image.dtype == torch.uint8 else v2.functional.to_dtype(image, torch.uint8, scale=True)


def _claimed_pixels(data: bytes, path: str | os.PathLike) -> int:
    """Height times width by the header alone; Pillow reads no pixels until it is asked to."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                return image.width * image.height
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: an image of more than {MAX_PIXELS} pixels: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        detail = str(error).partition(" <")[0]
        raise DataError(f"{path}: a truncated or damaged image: {detail}") from error


def train_transform(size: int) -> v2.Transform:
    """Random view for training: (3, H, W) uint8 -> (3, size, size) float32, normalised.

    A random crop of 8 to 100 % of the area resized to ``size`` pixels, flipped half of the time (released
    code, CREMA-D/dataset/CramedDataset.py:72-77). It draws from torch's default CPU generator only, see
    :func:`bss.seeding.seeded`.
    """
    return v2.Compose(
        [
            v2.RandomResizedCrop((size, size), scale=(0.08, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            *_normalised(),
        ]
    )


def test_transform(size: int) -> v2.Transform:
    """Fixed view: (3, H, W) uint8 -> (3, size, size) float32, normalised.

    The whole image is squeezed to a square, not cropped (released code,
    CREMA-D/dataset/CramedDataset.py:79-83).
    """
    return v2.Compose([v2.Resize((size, size), antialias=True), *_normalised()])


test_transform.__test__ = False  # pytest collects functions of this name from the modules that import it


def _normalised() -> list[v2.Transform]:
    return [v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)]
