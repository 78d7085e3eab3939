"""Clips from video files, optical flow, and one view (window and crop) for several streams of one clip.

Frames are (T, channels, H, W). Flow is in pixels of the size that it is stored at: entry t leads from frame t to
frame t + 1, channel 0 to the right and channel 1 downwards; the last entry is repeated, so that there are T.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bss.data.file_heads import absence, read_head
from bss.data.transforms import containers
from bss.data.transforms.image import IMAGENET_MEAN, IMAGENET_STD, PixelScale
from bss.utils.choices import FlowInput, RGBInput
from bss.utils.errors import DataError, first_line

FLOW_LIMIT = 20.0
"""Pixels; longer vectors are cut to this, as I3D's were (google-deepmind/kinetics-i3d, README)."""


_STORED_MAX = 127  # of int8: flow is stored as steps of FLOW_LIMIT / 127 = 0.157 pixels


# ---- files ---------------------------------------------------------------------------------------------------------


def damage(path: str | os.PathLike) -> str | None:
    """Say why a video cannot be read as far as its bytes tell: nothing in it, no video, its end missing; or None.

    Raises:
        DataError: the file cannot be read.
    """
    head, size = read_head(path)
    return (
        absence(head, size) or containers.video_damage(head, Path(path).suffix.lower()) or containers.truncation(path)
    )


def read_video(path: str | os.PathLike, start: int, stop: int, *, grey: bool = False) -> Tensor:
    """Decode the frames ``[start, stop)`` of a video.

    A video of exactly ``stop - start`` frames was cut to them already and is taken whole: NVGesture is passed around in
    both forms, with the same lists.

    Args:
        path: anything that OpenCV's FFmpeg reads.
        start: first frame, counted from 0.
        stop: frame after the last.
        grey: one channel instead of three.

    Returns:
        (stop - start, 3, H, W) uint8, RGB, or (stop - start, 1, H, W).

    Raises:
        DataError: naming the file: not a video, a Git-LFS pointer, frames that cannot be decoded, or fewer than the
            window needs and not exactly as many as it is long.
    """
    if not 0 <= start < stop:
        raise ValueError(f"a window needs 0 <= start < stop, got {start}:{stop}")
    if problem := damage(path):
        raise DataError(f"{path}: {problem}")
    length = stop - start
    frames: dict[int, np.ndarray] = {}
    with _opened(path) as (capture, claimed):
        may_be_cut = claimed < stop  # the header's number may be an estimate, so what is decoded decides
        decoded = 0
        while decoded < stop and capture.grab():
            if decoded >= start or (may_be_cut and decoded < length):
                frames[decoded] = _converted(capture, grey, path, decoded)
            decoded += 1
    if decoded == stop:
        chosen = range(start, stop)
    elif decoded == length and claimed <= length + 1:
        chosen = range(length)
    elif decoded == length and _packets(path) <= length + 1:
        return read_video(path, 0, length, grey=grey)  # the header was wrong
    else:
        raise DataError(
            f"{path}: {decoded} frames can be decoded (its header claims {claimed}), but the frames {start} to {stop} "
            f"are wanted, or a clip of exactly {length}"
        )
    shapes = {frames[i].shape for i in chosen}
    if len(shapes) > 1:
        raise DataError(f"{path}: frames of several sizes: {sorted(shapes)}")
    clip = torch.from_numpy(np.stack([frames[i] for i in chosen]))
    return clip.unsqueeze(1) if grey else clip.permute(0, 3, 1, 2)


def count_frames(path: str | os.PathLike) -> int:
    """How many frames of a video can be decoded; what its header claims may be an estimate.

    Raises:
        DataError: naming the file: not a video, a Git-LFS pointer, or none.
    """
    if problem := damage(path):
        raise DataError(f"{path}: {problem}")
    count = 0
    with _opened(path) as (capture, claimed):
        while capture.grab():
            count += 1
    if not count:
        raise DataError(f"{path}: zero frames can be decoded")
    # Headers disagree with their files by one frame.
    if count < claimed - 1 and count < (packets := _packets(path)) - 1:
        raise DataError(f"{path}: {count} of its {packets} frames can be decoded")
    return count


def _packets(path: str | os.PathLike) -> int:
    """How many pictures a video has that are to be shown, whether they can be decoded or not."""
    found = containers.extent_of(path)
    return found.frames if found else 0


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[tuple[Any, int]]:
    """A capture, and the number of frames that the header claims (0: it does not say)."""
    import cv2

    # One decoding thread: loading runs in parallel processes already, and small frames decode faster so.
    options = [cv2.CAP_PROP_N_THREADS, 1]
    with _silence(cv2):
        capture = cv2.VideoCapture(os.fspath(path), cv2.CAP_FFMPEG, options)
    try:
        if not capture.isOpened():
            raise DataError(f"{path}: {containers.why_not_opened(path) or 'cannot be opened as a video'}")
        yield capture, max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded: {first_line(error)}") from error
    finally:
        capture.release()


@contextlib.contextmanager
def _silence(cv2: Any) -> Iterator[None]:
    """Keep OpenCV and FFmpeg from explaining on stderr what becomes an error of ours; both are left as found."""
    log = getattr(cv2.utils, "logging", cv2)  # cv2 itself has the two functions up to OpenCV 4.12
    name, level = "OPENCV_FFMPEG_LOGLEVEL", log.getLogLevel()
    before = os.environ.get(name)
    os.environ.setdefault(name, "-8")  # read once, when the process opens its first video
    log.setLogLevel(0)  # silent
    try:
        yield
    finally:
        log.setLogLevel(level)
        if before is None:
            os.environ.pop(name, None)


def _converted(capture: Any, grey: bool, path: str | os.PathLike, number: int) -> np.ndarray:
    """The frame that was grabbed: (H, W, 3) RGB or (H, W)."""
    import cv2

    good, frame = capture.retrieve()
    if not good or frame is None:
        raise DataError(f"{path}: frame {number} cannot be decoded")
    if frame.ndim == 2:
        return frame if grey else cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY if grey else cv2.COLOR_BGR2RGB)


def write_video(path: Path, frames_THWC: np.ndarray, *, fps: float = 30.0) -> None:
    """Write an avi of JPEG frames (MJPG, as NVGesture's own); for generated data.

    Args:
        path: ``.avi``; its folder is made.
        frames_THWC: (T, H, W, 3) uint8, RGB.
        fps: frames a second.

    Raises:
        OSError: it cannot be written.
    """
    import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames_THWC.shape[1:3]
    with _silence(cv2):
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), fps, (width, height))
    try:
        if not writer.isOpened():
            raise OSError(f"{path} cannot be written as a video")
        for frame in frames_THWC:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()


# ---- optical flow --------------------------------------------------------------------------------------------------


def optical_flow(frames_THW: np.ndarray) -> np.ndarray:
    """Dense optical flow by DIS (Kroeger et al., ECCV 2016; OpenCV, preset "medium").

    Args:
        frames_THW: (T, H, W) uint8, grey; sides of 16 pixels or more.

    Returns:
        (T, 2, H, W) float32, pixels a frame; zeros for a single frame.
    """
    import cv2

    method = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    frames = np.ascontiguousarray(frames_THW)
    flow_T2HW = np.zeros((len(frames), 2, *frames.shape[1:]), np.float32)
    for t in range(len(frames) - 1):
        flow_T2HW[t] = method.calc(frames[t], frames[t + 1], None).transpose(2, 0, 1)
    flow_T2HW[-1:] = flow_T2HW[-2:-1] if len(frames) > 1 else 0
    return flow_T2HW


def pack_flow(flow: np.ndarray) -> np.ndarray:
    """Flow in pixels -> int8 in steps of ``FLOW_LIMIT / 127`` pixels, cut to +-FLOW_LIMIT; the form in files."""
    steps = np.rint(np.clip(flow, -FLOW_LIMIT, FLOW_LIMIT) * (_STORED_MAX / FLOW_LIMIT))
    return steps.astype(np.int8)


def holds_packed_flow(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a file is whole and holds packed flow of this shape (T, 2, H, W)."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)  # refuses a file that is shorter than it claims
    except Exception:  # see read_flow
        return False
    return stored.dtype == np.int8 and stored.shape == shape


def is_packed_flow(path: Path) -> bool:
    """Whether a file, whole or not, has the header of packed flow, of any number of frames and any size."""
    try:
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)  # what np.save writes for such a header
    except Exception:  # see read_flow
        return False
    return dtype == np.int8 and len(shape) == 4 and shape[1] == 2


def read_flow(path: str | os.PathLike, frames: int, window: slice) -> Tensor:
    """Read the flow of some frames of a clip; only these are read from the disk.

    Args:
        path: ``.npy``: int8 (T, 2, H, W) as :func:`pack_flow` makes it, or floats (H, W, 2, T) in pixels, the form that
            the released code reads (NVGesture/dataset/nvGesture.py:139).
        frames: T, the number of frames of the clip.
        window: which of them.

    Returns:
        (len(window), 2, H, W) float32, in pixels.

    Raises:
        DataError: naming the file: not an npy file or a truncated one, of another kind or number of frames, or values
            that are not finite.
    """
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:
        # The header is Python source, which numpy reads with half a dozen modules: any of their exceptions may come.
        raise DataError(f"{path}: not a readable npy file: {first_line(error)}") from error
    if stored.size and stored.dtype == np.int8 and stored.ndim == 4 and stored.shape[1] == 2:
        flow_T2HW, kind, unit = stored, np.int8, FLOW_LIMIT / _STORED_MAX
    elif stored.size and stored.dtype.kind == "f" and stored.ndim == 4 and stored.shape[2] == 2:
        flow_T2HW, kind, unit = stored.transpose(3, 2, 0, 1), np.float32, 1.0
    else:
        raise DataError(
            f"{path}: holds {stored.dtype} of shape {stored.shape}; flow is int8 (T, 2, H, W), written by "
            "`python -m bss prepare nvgesture`, or floats (H, W, 2, T) in pixels"
        )
    if len(flow_T2HW) != frames:
        raise DataError(f"{path}: holds the flow of {len(flow_T2HW)} frames, but the clip has {frames}")
    flow = torch.from_numpy(np.array(flow_T2HW[window], dtype=kind, order="C")).float()
    if kind is np.float32 and not flow.isfinite().all():
        raise DataError(f"{path}: holds flow that is not finite")
    return flow.mul_(unit)


# ---- one view for all streams --------------------------------------------------------------------------------------


class View(NamedTuple):
    """A window in time and a square crop, to be taken from all streams of a clip alike.

    Attributes:
        start: first frame.
        frames: number of frames.
        top: first row of the crop, in the resized frame.
        left: first column of the crop.
        size: height and width of the crop in pixels.
    """

    start: int
    frames: int
    top: int
    left: int
    size: int

    @property
    def window(self) -> slice:
        """The frames."""
        return slice(self.start, self.start + self.frames)

    def crop(self, frames: Tensor) -> Tensor:
        """(..., H, W) -> (..., size, size)."""
        return frames[..., self.top : self.top + self.size, self.left : self.left + self.size]


def draw_view(available: int, *, frames: int, resize: int, size: int, random: bool) -> View:
    """A random view for training, or the central one.

    Random views draw from torch's default CPU generator only, see :func:`bss.utils.seeding.seeded`. There is no flip:
    it is switched off in the released code (NVGesture/dataset/nvGesture.py), and a gesture's direction is its class.

    Args:
        available: frames that there are.
        frames: frames to take.
        resize: height and width of the whole frame in pixels.
        size: of the crop.
        random: draw the first frame and the corner uniformly.

    Raises:
        ValueError: more frames or pixels than there are.
    """
    if frames > available or size > resize:
        raise ValueError(
            f"a view of {frames} frames and {size} pixels needs at least as many, got {available} and {resize}"
        )
    room = (available - frames, resize - size, resize - size)
    start, top, left = (int(torch.randint(n + 1, (), device="cpu")) for n in room) if random else (n // 2 for n in room)
    return View(start, frames, top, left, size)


def resize_frames(frames: Tensor, size: int) -> Tensor:
    """(T, C, H, W) uint8 -> (T, C, size, size), squeezed to a square; untouched if it has that size."""
    if frames.shape[-2:] == (size, size):
        return frames
    from torchvision.transforms.v2.functional import resize

    return resize(frames.contiguous(), [size, size], antialias=True)


def resize_flow(flow: Tensor, size: int) -> Tensor:
    """(T, 2, H, W) in pixels -> (T, 2, size, size) in the new, other pixels; untouched if it has that size."""
    height, width = flow.shape[-2:]
    if (height, width) == (size, size):
        return flow
    resized = F.interpolate(flow, (size, size), mode="bilinear", align_corners=False, antialias=True)
    return resized * torch.tensor([size / width, size / height], device=flow.device).view(1, 2, 1, 1)


def scale_rgb(frames: Tensor, kind: RGBInput) -> Tensor:
    """RGB frames to what the encoder takes.

    Args:
        frames: (3, T, H, W) uint8, RGB.
        kind: ``"i3d"``: RGB in [-1, 1], what the public weights were trained on. ``"bgr_imagenet"``: channels in
            OpenCV's order with ImageNet's statistics in RGB order, as the released code has it
            (NVGesture/dataset/nvGesture.py:78-92).

    Returns:
        (3, T, H, W) float32.
    """
    if kind == "i3d":
        return frames.float().div_(127.5).sub_(1)
    mean, std = (
        torch.tensor(values, device=frames.device).view(3, 1, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    return frames.flip(0).float().div_(255).sub_(mean).div_(std)


def rgb_scale(kind: RGBInput) -> PixelScale:
    """The scale of what :func:`scale_rgb` gives, in the order of its channels."""
    return PixelScale((0.5,) * 3, (0.5,) * 3) if kind == "i3d" else PixelScale(IMAGENET_MEAN, IMAGENET_STD)


def scale_flow(flow: Tensor, kind: FlowInput) -> Tensor:
    """Flow to what the encoder takes.

    Args:
        flow: any shape, in pixels; changed in place.
        kind: ``"unit"``: cut to +-20 pixels and scaled to [-1, 1], what the public weights were trained on.
            ``"pixels"``: as it is, as in the released code.
    """
    return flow.clamp_(-FLOW_LIMIT, FLOW_LIMIT).div_(FLOW_LIMIT) if kind == "unit" else flow
