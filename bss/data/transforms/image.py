"""Images from files, and their views: random ones for training, a fixed one for everything else."""

import contextlib
import io
import math
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bss.data.file_heads import absence
from bss.utils.choices import Interpolation, Normalization
from bss.utils.errors import DataError, first_line
from bss.utils.filesystem import reading

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torchvision.transforms import v2

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Per channel, RGB in [0, 1] (released code, CREMA-D/dataset/CramedDataset.py:76)."""


IMAGENET_STD = (0.229, 0.224, 0.225)
"""Per channel, RGB in [0, 1]."""


CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Per channel, RGB in [0, 1] (released code, Sarcasm/dataset/sarcasm.py:32)."""


CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Per channel, RGB in [0, 1]."""


FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
"""Suffixes of frames, compared in lower case."""


PICTURE_SUFFIXES = (*FRAME_SUFFIXES, ".jfif", ".webp", ".gif", ".bmp", ".avif")
"""Suffixes of pictures, the likeliest first, compared in lower case. What a file is, its content says."""


MAX_PIXELS = 100_000_000
"""Larger images are refused before they are decoded: a few bytes of PNG can claim gigabytes."""


MAX_SCANS = 100
"""JPEGs of more scans are refused: each goes over all pixels, and 14 bytes make one. A progressive picture has ten."""


_ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}  # what the last bytes hold; other formats have no such mark


_TAIL_BYTES = 64


_KINDS = (
    ("JPEG", re.compile(rb"\xff\xd8\xff")),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("GIF", re.compile(rb"GIF8[79]a")),
    ("WEBP", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    # The size of the second header follows the first, of 14 bytes.
    ("BMP", re.compile(rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)),
    ("AVIF", re.compile(rb"....ftyp(avi[fs]|mif1.{4}(....)*?avif)", re.DOTALL)),
)
"""Pillow's name of each format that is read, and what the first bytes of such a file are."""


_OTHERS = (
    (
        "an HTML page, not a picture: a download that failed, or a picture that is gone",
        rb"\s*(<!--.*?-->\s*)?<(!doctype html|html)",
    ),
    ("an svg drawing, which has no pixels: save it as png", rb"(\s*<(\?xml|!--|!doctype svg).*?>)*\s*<svg"),
    ("an XML text, not a picture: a download that failed, mostly", rb"\s*<\?xml"),
    ("a json text, not a picture: a download that failed, mostly", rb"\s*\{\s*\""),
    ("a tiff picture: save it as png or jpeg", rb"II\*\0|MM\0\*"),
    ("a heic picture: save it as png or jpeg", rb"....ftyp(hei|hev|mif1|msf1)"),
    ("an mp4 video, not a picture", rb"....ftyp"),
    ("a pdf file, not a picture", rb"%PDF"),
    ("a zip file, not a picture", rb"PK\x03\x04"),
    ("a gzip file, not a picture: unpack it", rb"\x1f\x8b"),
)
"""What stands in the place of pictures, and a pattern of its beginning (letters of either size)."""


_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # of a JPEG: zeros are stuffing, D0 to D7 lie within a scan


_ORIENTATION = 0x0112  # of EXIF; 1 = it lies as it is


_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA  # kinds of a JPEG's segments


class CodecMissingError(DataError):
    """A picture in a format that this installation cannot decode; nothing is wrong with the file."""


def picture_format(head: bytes) -> str | None:
    """Pillow's name of a picture's format, by its first bytes; None of one that is not read."""
    return next((name for name, pattern in _KINDS if pattern.match(head, 0, _TAIL_BYTES)), None)


def image_damage(head: bytes) -> str | None:
    """Say that a file is no picture that is read, and what it is, or None; ``head`` is its first bytes."""
    if picture_format(head):
        return None
    beginning = head[:1024].removeprefix(b"\xef\xbb\xbf")
    for what, pattern in _OTHERS:
        if re.match(pattern, beginning, re.IGNORECASE | re.DOTALL):
            return what
    return f"neither a jpeg nor a png image, nor gif, webp, bmp or avif (it begins with {head[:8]!r})"


def image_truncation(path: str | os.PathLike) -> str | None:
    """Say that an image ends too early, or None; reads its last bytes, and decodes it only if those do not tell."""
    try:
        with open(path, "rb", buffering=0) as file:
            head = file.read(_TAIL_BYTES)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            tail = file.read(_TAIL_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    ending = _ENDINGS.get(picture_format(head) or "")
    if ending is not None and ending in tail:
        return None
    try:
        read_frame(path)  # bytes after the end are allowed
    except CodecMissingError:
        raise
    except DataError:
        return "a truncated or damaged image"
    return None


def read_pixels(path: str | os.PathLike) -> np.ndarray:
    """Decode one image.

    Args:
        path: JPEG, PNG, GIF, WebP, BMP or AVIF; the content decides, not the suffix, and of pictures that move the
            first is taken. Grey, palette, CMYK and 16-bit images become RGB and an alpha channel is dropped. A photo
            that EXIF says to turn is turned, as every viewer shows it (the released code leaves it lying on its side).

    Returns:
        (H, W, 3) uint8, RGB, upright.

    Raises:
        DataError: naming the file: a Git-LFS pointer, zero bytes, a truncated file, something else than a picture, or
            an image of more than :data:`MAX_PIXELS` pixels or :data:`MAX_SCANS` scans.
        CodecMissingError: AVIF, and the Pillow that is installed does not decode it.
    """
    data = _checked_bytes(path)
    with _opened(data, path) as image:
        return _upright_rgb(image)


def read_frame(path: str | os.PathLike) -> "Tensor":
    """Decode one image as a tensor, (3, H, W) uint8, RGB, upright: :func:`read_pixels`."""
    import torch

    return torch.from_numpy(read_pixels(path).transpose(2, 0, 1).copy())


class Glance(NamedTuple):
    """What a look at a JPEG tells that is whole.

    Attributes:
        shape: (height, width) of the picture.
        pixels: of it at about an eighth of its size, (h, w) uint8, grey.
    """

    shape: tuple[int, int]
    pixels: np.ndarray


def glance(data: bytes) -> Glance | None:
    """Read all of a JPEG, and make an eighth of its size of it: in a tenth of the time of :func:`read_pixels`.

    Args:
        data: the bytes of the file.

    Returns:
        None where :func:`read_pixels` alone tells what is in the file: another format, other colours, a photograph
        that is to be turned, or one that libjpeg complains about.

    Raises:
        DataError: as of :func:`read_pixels`.
    """
    import simplejpeg

    shape = _shape_as_it_lies(data)
    if shape is None or math.prod(shape) > MAX_PIXELS or _scans(data) > MAX_SCANS:
        return None
    try:
        # The scale leaves out the inverse transforms; every coefficient is read, and what is wrong with one is found.
        pixels_HW1 = simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, strict=True)
    except ValueError:
        return None
    return Glance(shape, pixels_HW1[..., 0])


def _shape_as_it_lies(data: bytes) -> tuple[int, int] | None:
    """(height, width) of any JPEG in grey or colour that is not to be turned; None of others. Pillow reads its header.

    Raises:
        DataError: as of :func:`read_pixels`.
    """
    if picture_format(data) != "JPEG":
        return None
    with _opened(data, "the picture") as image:
        lies = image.mode in ("RGB", "L") and image.getexif().get(_ORIENTATION, 1) == 1
        return (image.height, image.width) if lies else None


def _checked_bytes(path: str | os.PathLike) -> bytes:
    """The bytes of a picture that may be decoded, see :func:`read_frame`."""
    with reading(path):
        data = Path(path).read_bytes()
    problem = absence(data[:64], len(data)) or image_damage(data)
    if problem:
        raise DataError(f"{path}: {problem}")
    if (scans := _scans(data)) > MAX_SCANS:
        raise DataError(f"{path}: a jpeg of {scans} scans; at most {MAX_SCANS} are decoded")
    return data


def _scans(data: bytes) -> int:
    """Number of scans of a JPEG, 0 of a PNG; what comes after the end of the image does not count."""
    count, at, jpeg = 0, 0, picture_format(data) == "JPEG"
    while jpeg and (marker := _MARKER.search(data, at)):
        kind, at = data[marker.start() + 1], marker.end()
        if kind == _END_OF_IMAGE:
            break
        count += kind == _START_OF_SCAN
        if kind != _START_OF_IMAGE:
            at += int.from_bytes(data[at : at + 2], "big")
    return count


@contextlib.contextmanager
def _opened(data: bytes, path: str | os.PathLike) -> Iterator["Image"]:
    """An image whose size is allowed; Pillow decodes no pixels until it is asked to.

    Raises:
        DataError: also for what fails while the image is open.
    """
    from PIL import Image

    kind = picture_format(data) or ""
    if kind == "AVIF" and not _decodes_avif():
        raise CodecMissingError(
            f"{path}: an avif picture, which the Pillow that is installed cannot decode: pip install 'pillow>=11.3' "
            "(its wheels have libavif) or pillow-avif-plugin, or save the picture as jpeg or png"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of size, which is looked at here, and of damaged EXIF tags
            if kind == "PNG":
                with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
                    image.verify()  # the checksums of all chunks, which decoding looks at in part
            with Image.open(io.BytesIO(data), formats=(kind,)) as image:
                if (pixels := image.width * image.height) > MAX_PIXELS:
                    raise DataError(f"{path}: an image of {pixels} pixels; at most {MAX_PIXELS} are decoded")
                yield image
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: an image of more than {MAX_PIXELS} pixels: {error}") from error
    except DataError:
        raise
    except Exception as error:  # Pillow raises what it likes: IndexError for a PNG without data (13.0)
        raise DataError(f"{path}: a truncated or damaged image: {first_line(error).partition(' <')[0]}") from error


def _decodes_avif() -> bool:
    from PIL import features

    with warnings.catch_warnings(action="ignore"):  # of a feature that an older Pillow does not know
        if features.check("avif"):
            return True
    try:
        import pillow_avif  # noqa: F401  # registers itself with Pillow
    except ImportError:
        return False
    return True


def _upright_rgb(image: "Image") -> np.ndarray:
    """An image's pixels, (H, W, 3) uint8, turned as EXIF says; Pillow 13 would clip 16 bits of grey, not scale them."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        grey_HW = (np.asarray(upright).astype(np.int64) >> 8).astype(np.uint8)
        return np.repeat(grey_HW[..., None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))


def neutral_picture(size: int, normalization: Normalization = "imagenet") -> "Tensor":
    """What stands for a picture that cannot be opened: the mean colour of the pictures that ImageNet's weights know.

    It is the centre of what a network sees: zero everywhere after normalisation. Nothing is drawn for it, so it is the
    same at every look, in training too.

    Args:
        size: of the views, in pixels.
        normalization: of the views. With ``"none"`` it is :data:`IMAGENET_MEAN` itself.

    Returns:
        (3, size, size) float32.
    """
    import torch

    mean = IMAGENET_MEAN if normalization == "none" else (0.0, 0.0, 0.0)
    return torch.tensor(mean, device="cpu").view(3, 1, 1).repeat(1, size, size)


NEUTRAL_PIXEL = tuple(round(255 * level) for level in IMAGENET_MEAN)
"""The same where pictures are bytes: RGB in 0..255, within half a level of the mean."""


class PixelScale(NamedTuple):
    """How normalised pictures are made of pixels in [0, 1]: ``(pixel - mean) / std``, channel by channel.

    Attributes:
        mean: of each channel.
        std: of each channel.
    """

    mean: Sequence[float]
    std: Sequence[float]


def scale_of(transform: "Callable[[Tensor], Tensor]") -> PixelScale:
    """The scale of a transform's results: that of the ``v2.Normalize`` which it ends with, or pixels in [0, 1]."""
    from torchvision.transforms import v2

    last = next(reversed(getattr(transform, "transforms", [])), None)
    return PixelScale(tuple(last.mean), tuple(last.std)) if type(last) is v2.Normalize else PixelScale((0.0,), (1.0,))


def fixed_transform(
    size: int, *, normalization: Normalization = "imagenet", interpolation: Interpolation = "bilinear"
) -> "v2.Transform":
    """Fixed view: (3, H, W) uint8 -> (3, size, size) float32, normalised.

    The whole image is squeezed to a square, not cropped (released code,
    CREMA-D/dataset/CramedDataset.py:79-83; Sarcasm/dataset/sarcasm.py:77-81; Twitter/train-CL.py:192).
    """
    from torchvision.transforms import v2

    return v2.Compose([squeeze(size, interpolation), *normalizing(normalization)])


def squeeze(size: int, interpolation: Interpolation = "bilinear") -> "v2.Transform":
    """The first half of :func:`fixed_transform`: (3, H, W) uint8 -> (3, size, size) uint8."""
    from torchvision.transforms import v2

    return v2.Resize((size, size), interpolation=v2.InterpolationMode(interpolation), antialias=True)


def normalize_transform(normalization: Normalization = "imagenet") -> "v2.Transform":
    """The second half of :func:`fixed_transform`: (3, size, size) uint8 -> float32, normalised."""
    from torchvision.transforms import v2

    return v2.Compose(normalizing(normalization))


def normalizing(normalization: Normalization = "imagenet") -> "list[v2.Transform]":
    """The steps of :func:`normalize_transform`."""
    import torch
    from torchvision.transforms import v2

    statistics = {"imagenet": (IMAGENET_MEAN, IMAGENET_STD), "clip": (CLIP_MEAN, CLIP_STD)}
    scaled = v2.ToDtype(torch.float32, scale=True)
    return [scaled] if normalization == "none" else [scaled, v2.Normalize(*statistics[normalization])]
