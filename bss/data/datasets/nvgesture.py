"""NVGesture: drivers' hand gestures in a car simulator, as colour video, optical flow and depth video.

Data card
    1,532 clips of 80 frames (30 a second) of 25 gestures by 18 subjects (Molchanov et al., CVPR 2016, who recorded 20):
    moving the hand or two fingers in four directions, clicking, beckoning, shaking, showing fingers, pushing, turning,
    "thumb up", "okay". Recorded by NVIDIA; no licence text comes with the files, take it as for research only.

    ========  =====  ========  ==========================================================================
    split     clips  subjects
    ========  =====  ========  ==========================================================================
    train     1,050        12  1, 2, 3, 4, 6, 7, 11, 12, 15, 16, 17, 18
    test        482         6  5, 8, 9, 13, 14, 20: nobody is in both lists
    ========  =====  ========  ==========================================================================

    There is no validation list. The lists exist in two versions: 15 labels of the training list differ, and ``_v2`` has
    the corrected ones, so a clip's label may differ from the number of its folder. **Labels in the files count from
    1**; here they are positions in :data:`CLASSES`. The depth window of 4 clips differs from the colour window.

Layout::

    nvgesture_train_correct_cvpr2016_v2.lst         or one of the other names in use, see :data:`DATA_SET`;
    nvgesture_test_correct_cvpr2016_v2.lst          also in annotations/
    Video_data/class_01/subject3_r0/sk_color.avi    or Video_data/Video_data/class_01/...
    Video_data/class_01/subject3_r0/sk_depth.avi
    Video_data/flow_data/class_01/subject3_r0.npy   made by ``python -m bss prepare nvgesture``

    A line: ``path:./Video_data/class_01/subject3_r0 depth:sk_depth:146:226 color:sk_color:146:226 label:1``. The videos
    are the original ones, or were cut to the window already: a video of exactly as many frames as the window is taken
    whole.

Optical flow belongs to a clip by the clip's path. The released code looks for ``flow_data/train/0.npy``, counted by the
rows of a list (NVGesture/dataset/nvGesture.py:139): with another version or order of the list every clip gets another
clip's flow and nothing fails, so such files are not used.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from torch import Tensor
from torch.utils.data import Dataset

from bss.data.datasets.data_set import TRAIN_AND_TEST, DataSet, places_of
from bss.data.datasets.listing import check_once, checked_name, lines_of, visible
from bss.data.rows import Row
from bss.data.transforms import video
from bss.data.transforms.image import PixelScale
from bss.utils.choices import FlowWindow
from bss.utils.errors import DataError, shown

CLASSES = tuple(f"class_{number:02d}" for number in range(1, 26))
"""Class names, as the folders have them; a label is a position in this tuple."""


VIDEO_FOLDER = "Video_data"


FLOW_FOLDER = f"{VIDEO_FOLDER}/flow_data"


_LIST_NAMES = (  # the corrected version first
    "nvgesture_{split}_correct_cvpr2016_v2.lst",
    "nvgesture_{split}_correct_v2.lst",
    "nvgesture_{split}_correct_cvpr2016.lst",
    "full_{split}_correct_cvpr2016_v2.lst",
    "full_{split}_correct_cvpr2016.lst",
)


_EXAMPLE = "path:./Video_data/class_01/subject3_r0 depth:sk_depth:146:226 color:sk_color:146:226 label:1"


@dataclass(frozen=True)
class Stream:
    """The part of a video that a clip is: the video's name without suffix, and its frames ``[start, stop)``."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class GestureClip:
    """One row of a list, and the files that were found for it.

    Attributes:
        name: class folder and clip folder, ``class_01/subject3_r0``.
        label: position in :data:`CLASSES`.
        folder: the clip's folder as the list has it, relative to the data root.
        color: its colour video.
        depth: its depth video; as many frames.
        listed: the list and line that name it.
        group: the subject.
        files: ``"rgb"``, ``"flow"`` and ``"depth"`` -> one path, or none.
    """

    name: str
    label: int
    folder: PurePosixPath
    color: Stream
    depth: Stream
    listed: str
    group: str
    files: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    @property
    def blank(self) -> bool:
        """False: nothing neutral can stand for a video."""
        return False

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.color.stop - self.color.start

    @property
    def windows(self) -> dict[str, tuple[int, int]]:
        """Kind of video -> the first frame of the clip in it and the frame after the last; the doctor decodes these."""
        return {"rgb": (self.color.start, self.color.stop), "depth": (self.depth.start, self.depth.stop)}

    @property
    def flow_place(self) -> str:
        """The file of its optical flow, relative to the data root."""
        return f"{FLOW_FOLDER}/{self.name}.npy"


# ----------------------------------------------------------------------------------------------------- lists


def read_list(path: str | os.PathLike) -> list[GestureClip]:
    """Read a list of gestures.

    Args:
        path: the list, UTF-8; a line is described at the top of this module. Other streams (``duo_left``) are ignored.

    Returns:
        The clips in the order of the file, without their files.

    Raises:
        DataError: with file and line, for a part that is missing or malformed, a label that is not in 1..25, a window
            that does not end after it starts, colour and depth windows of different lengths, a path that leaves the
            data root or a clip that is listed twice; for a list without rows.
    """
    clips = [_clip(text, f"{path} line {line}") for line, text in lines_of(path)]
    if not clips:
        raise DataError(f"{path}: the list has no rows; expected lines like {_EXAMPLE}")
    check_once(path, ((clip.name, clip.name, clip.listed) for clip in clips))
    return clips


def _clip(text: str, where: str) -> GestureClip:
    parts: dict[str, str] = {}
    for part in text.split():
        key, separator, value = part.partition(":")
        if not separator:
            raise DataError(f"{where}: {shown(part)} is not of the form key:value; expected a line like {_EXAMPLE}")
        if key in parts:
            raise DataError(f"{where}: has {shown(key)} twice; expected a line like {_EXAMPLE}")
        parts[key] = value
    if missing := [key for key in ("path", "depth", "color", "label") if not parts.get(key)]:
        raise DataError(f"{where}: has no {missing[0]}; expected a line like {_EXAMPLE}")
    if not re.fullmatch(r"[0-9]{1,4}", parts["label"]) or not 1 <= int(parts["label"]) <= len(CLASSES):
        raise DataError(
            f"{where}: the label must be a whole number from 1 to {len(CLASSES)}, found {shown(parts['label'])}"
        )
    folder = _folder(parts["path"], where)
    color, depth = (_stream(key, parts[key], where) for key in ("color", "depth"))
    if color.stop - color.start != depth.stop - depth.start:
        raise DataError(
            f"{where}: the windows must be of one length, found color:{parts['color']} and depth:{parts['depth']}"
        )
    name = "/".join(folder.parts[-2:])
    label = int(parts["label"]) - 1
    return GestureClip(name, label, folder, color, depth, listed=where, group=folder.name.partition("_")[0])


def _folder(text: str, where: str) -> PurePosixPath:
    """The folder that a line names, without its leading ``./``; it must be a class and a clip below the data root."""
    folder = PurePosixPath(text)
    if folder.is_absolute() or ".." in folder.parts or any(character in text for character in "\\\0"):
        raise DataError(
            f"{where}: the path {shown(text)} leaves the data root; give one like ./Video_data/class_01/NAME"
        )
    if len(folder.parts) < 2 or folder.parts[-1] == VIDEO_FOLDER or folder.parts[-2] == VIDEO_FOLDER:
        raise DataError(
            f"{where}: the path {shown(text)} must end in a class and a clip, as ./Video_data/class_01/NAME"
        )
    for part in folder.parts:
        checked_name(part, where)
    return folder


def _stream(key: str, text: str, where: str) -> Stream:
    found = re.fullmatch(r"([^:]+):([0-9]{1,9}):([0-9]{1,9})", text)
    if not found:
        raise DataError(f"{where}: {key} must be name:start:stop, as sk_{key}:146:226, found {shown(text)}")
    start, stop = int(found[2]), int(found[3])
    if stop <= start:
        raise DataError(f"{where}: the {key} window {start}:{stop} must end after it starts")
    return Stream(checked_name(found[1], where), start, stop)


# ----------------------------------------------------------------------------------------------------- files


def _located(root: Path, split: str, path: Path) -> list[GestureClip]:
    """The clips of a list, with those of their files that are under the data root."""
    return [replace(clip, files=dict(_files(root, clip))) for clip in read_list(path)]


def _files(root: Path, clip: GestureClip) -> Iterator[tuple[str, tuple[Path, ...]]]:
    folders = (clip.folder, f"{VIDEO_FOLDER}/{clip.name}", f"{VIDEO_FOLDER}/{VIDEO_FOLDER}/{clip.name}")
    places = {
        "rgb": [root / folder / f"{clip.color.name}.avi" for folder in folders],
        "flow": [root / clip.flow_place],
        "depth": [root / folder / f"{clip.depth.name}.avi" for folder in folders],
    }
    for kind, candidates in places.items():
        found = next((path for path in candidates if os.path.isfile(path)), None)  # False for a path that is too long
        yield kind, () if found is None else (found,)


def _flow_command(root: Path, split: str, clips: Sequence[GestureClip]) -> str:
    """What makes the flow; empty where every clip has it."""
    if all(clip.files["flow"] for clip in clips):
        return ""
    command = f"`{DATA_SET.prepare_command(root)}` makes the flow"
    folder = root / FLOW_FOLDER / split
    if not any(re.fullmatch(r"[0-9]+\.npy", name) for name in visible(folder, os.DirEntry.is_file)):
        return command
    return f"{folder} is numbered by the rows of some list, which cannot be told from here, and is not used: {command}"


DATA_SET = DataSet(
    stem="nvgesture",
    title="NVGesture",
    folder="NVGesture",
    classes=CLASSES,
    places=places_of((*_LIST_NAMES, *(f"annotations/{name}" for name in _LIST_NAMES)), TRAIN_AND_TEST),
    published={"train": (1050,), "test": (482,)},  # both versions of the lists
    locate=_located,
    group="subject",
    remedy=_flow_command,
    extras=("video",),
    licence="no licence text comes with the files; take them as for research only.",
)
"""NVGesture. Files are looked for in these places:

- videos: in the folder that the list names, or in the same class and clip below ``Video_data/`` or
  ``Video_data/Video_data/``
- flow: ``Video_data/flow_data/CLASS/CLIP.npy``
"""


# --------------------------------------------------------------------------------------------------- samples


class NVGesture(Dataset):
    """The clips of NVGesture as samples, to be batched by :func:`bss.data.batches.collate`.

    A sample is a dict; all streams show the same frames and the same crop (but see ``flow_window``):

    - ``"rgb"``: (3, T, S, S) float32, scaled by :func:`bss.data.transforms.video.scale_rgb`
    - ``"flow"``: (2, T, S, S) float32, scaled by :func:`bss.data.transforms.video.scale_flow`
    - ``"depth"``: (1, T, S, S) float32 in [0, 1]
    - ``"label"``: int, position in :data:`CLASSES`

    Args:
        clips: clips that have their files, at least one.
        frames: T.
        size: S in pixels.
        resize: frames are squeezed to this height and width before the crop, as in the released files.
        random: draw window and crop (training), see :func:`bss.data.transforms.video.draw_view`; else the central ones.
        rgb_input: kind of scaling.
        flow_input: kind of scaling.
        flow_window: ``"whole"``: the flow has all frames of the clip, whatever the window of the others (released code,
            NVGesture/dataset/nvGesture.py:109 and :139).

    Raises:
        DataError: a clip with fewer than ``frames`` frames; from indexing, naming file and row, for a file that cannot
            be decoded.
    """

    def __init__(
        self,
        clips: Sequence[GestureClip],
        *,
        frames: int,
        size: int,
        resize: int,
        random: bool = False,
        rgb_input: video.RGBInput = "i3d",
        flow_input: video.FlowInput = "unit",
        flow_window: FlowWindow = "shared",
    ):
        if not clips:
            raise ValueError("NVGesture needs at least one clip")
        self.clips = tuple(clips)
        self.frames, self.size, self.resize, self.random = frames, size, resize, random
        self.rgb_input, self.flow_input, self.flow_window = rgb_input, flow_input, flow_window
        short = min(self.clips, key=lambda clip: clip.frames)
        if short.frames < frames:
            raise DataError(
                f"{short.listed}: {short.name} has {short.frames} frames, but {frames} are wanted: "
                f"--set frames_train={short.frames} --set frames_test={short.frames}"
            )

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def pixel_scales(self) -> dict[str, PixelScale]:
        """Which modalities are normalised pictures, and how."""
        return {"rgb": video.rgb_scale(self.rgb_input)}

    def listed_rows(self) -> list[Row]:
        """What is known of the clips without reading them; those of the same frames of the same files are equal."""
        return [
            Row(clip.name, clip.label, (clip.files["rgb"], clip.color, clip.depth), clip.group) for clip in self.clips
        ]

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        clip = self.clips[index]
        try:
            return self._sample(clip)
        except DataError as error:
            raise DataError(f"{error} ({clip.listed})") from error

    def _sample(self, clip: GestureClip) -> dict[str, Tensor | int]:
        view = video.draw_view(clip.frames, frames=self.frames, resize=self.resize, size=self.size, random=self.random)
        flow_window = view.window if self.flow_window == "shared" else slice(0, clip.frames)
        (color,), (motion,), (distance,) = (clip.files[kind] for kind in ("rgb", "flow", "depth"))
        rgb_TCHW = video.read_video(color, clip.color.start, clip.color.stop)[view.window]
        flow_TCHW = video.read_flow(motion, clip.frames, flow_window)
        depth_TCHW = video.read_video(distance, clip.depth.start, clip.depth.stop, grey=True)[view.window]
        resized = (
            video.resize_frames(rgb_TCHW, self.resize),
            video.resize_flow(flow_TCHW, self.resize),
            video.resize_frames(depth_TCHW, self.resize),
        )
        # Laid out anew before they become floats: a quarter of the bytes to move.
        rgb, flow, depth = (view.crop(frames_TCHW).transpose(0, 1).contiguous() for frames_TCHW in resized)
        return {
            "rgb": video.scale_rgb(rgb, self.rgb_input),
            "flow": video.scale_flow(flow, self.flow_input),
            "depth": depth.float().div_(255),
            "label": clip.label,
        }
