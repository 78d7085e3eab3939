"""Make a data root of NVGesture: the optical flow of every clip, from the colour videos that were published.

Flow is computed between frames of 256x256 pixels, the size that training squeezes frames to, and stored as int8:
10.5 MB a clip, 16 GB in all.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bss.data.datasets.nvgesture import DATA_SET, FLOW_FOLDER, GestureClip
from bss.data.prepare import jobs, lists
from bss.data.transforms import video
from bss.utils import filesystem
from bss.utils.errors import DataError

DESCRIPTION = """\
the data set as it is published, or cut to its 80 frames: the lists
(nvgesture_train_correct_cvpr2016_v2.lst, nvgesture_test_correct_cvpr2016_v2.lst or the other names in
use) and Video_data/class_XX/subjectN_rM/sk_color.avi and sk_depth.avi; ROOT may be the same folder"""


FLOW_SIZE = 256
"""Height and width of the frames between which flow is computed, in pixels."""


class FlowJob(NamedTuple):
    """The flow of one clip, to be computed.

    Attributes:
        video: the colour video.
        start: first frame.
        stop: frame after the last.
        target: the file to write.
        listed: the list and line that name the clip.
        force: whether a file that is there and was not made here is replaced.
    """

    video: Path
    start: int
    stop: int
    target: Path
    listed: str
    force: bool = False


def prepare(source: Path, out: Path, *, workers: int, force: bool = False) -> list[str]:
    """Make a data root that trains: lists and videos as they are, and the flow of every clip that has its colour video.

    It can be run again after an interruption: whole flow files of the same size, not older than their video, are kept.
    So is flow in another form than the one that is written here, such as the float32 of the released code.

    Args:
        source: folder with the lists and ``Video_data``, in any layout that training reads.
        out: the data root to make. If it is not ``source``, lists and videos are linked or copied to it.
        workers: processes; 0 does the work in this one.
        force: replace files that are there and were not made here.

    Returns:
        One line for each list or file that failed or is not there: its name and why. Everything is printed as well.

    Raises:
        DataNotFoundError: no list at all.
        DataError: a bad row, see :func:`bss.data.datasets.nvgesture.read_list`.
    """
    source, out = Path(source), Path(out)
    samples, failures = lists.read_splits(DATA_SET, (source,), DESCRIPTION)
    clips = {clip.name: clip for part in samples.values() for clip in part}  # in both lists: only made once
    missing = [
        f"{clip.name}: no {kind} video ({clip.listed})"
        for clip in clips.values()
        for kind in ("rgb", "depth")
        if not clip.files[kind]
    ]
    print("\n".join([f"{2 * len(clips) - len(missing)} of {2 * len(clips)} videos found", *jobs.shown(missing)]))
    failures += missing
    if source.resolve() != out.resolve():
        failures += jobs.fill(out, jobs.take_over, _links(source, out, clips, force), workers=0)
    work = [_flow_job(out, clip, force) for clip in clips.values() if clip.files["rgb"]]
    for folder in {job.target.parent for job in work}:
        filesystem.sweep(folder)
    with one_thread():
        return failures + jobs.fill(out / FLOW_FOLDER, write_flow, work, workers=workers)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenCV use one thread: the clips are worked on side by side already.

    It is for the parent process, before others are forked. OpenCV (5.0) ends its threads where their number changes,
    and a forked process, which has none of them, would wait for that without end.
    """
    import cv2

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _links(source: Path, out: Path, clips: dict[str, GestureClip], force: bool) -> list[jobs.LinkJob]:
    """The links to make: every list that is there, and the clips' videos, under the same relative paths."""
    places = [place for places in DATA_SET.places.values() for place in places]
    files = [source / place for place in places if (source / place).is_file()]
    for clip in clips.values():
        files += [*clip.files["rgb"], *clip.files["depth"]]
    return [jobs.LinkJob(file, out / file.relative_to(source), force) for file in files]


def _flow_job(out: Path, clip: GestureClip, force: bool) -> FlowJob:
    (color,) = clip.files["rgb"]
    return FlowJob(color, clip.color.start, clip.color.stop, out / clip.flow_place, clip.listed, force)


def write_flow(job: FlowJob) -> jobs.Made:
    """Compute and write one clip's flow.

    Returns:
        False if it was there already: whole, of the same size, and not older than the video. What is there if it is
        flow in another form than that of :func:`bss.data.transforms.video.pack_flow`, which training reads as well.

    Raises:
        OccupiedError: a file is there that is no flow of this clip, and was not made here.
        DataError: the video cannot be decoded or is too short; names it and its row.
        OSError: the file cannot be written.
    """
    shape = (job.stop - job.start, 2, FLOW_SIZE, FLOW_SIZE)
    if job.target.exists() and os.path.getmtime(job.target) >= os.path.getmtime(job.video):
        if video.holds_packed_flow(job.target, shape):
            return False
    if not job.force and jobs.holds_something(job.target) and not video.is_packed_flow(job.target):
        return _of_others(job)
    try:
        frames_T1HW = video.read_video(job.video, job.start, job.stop, grey=True)
        frames_THW = video.resize_frames(frames_T1HW, FLOW_SIZE)[:, 0].numpy()
        flow_T2HW = video.pack_flow(video.optical_flow(frames_THW))
    except DataError as error:
        raise DataError(f"{error} ({job.listed})") from error
    with filesystem.whole_file(job.target) as temporary:
        np.save(temporary, flow_T2HW)
    return True


def _of_others(job: FlowJob) -> str:
    """What is said of flow that somebody else computed.

    Raises:
        OccupiedError: it is none of this clip.
    """
    frames = job.stop - job.start
    try:
        video.read_flow(job.target, frames, slice(0, 1))
        stored = np.load(job.target, mmap_mode="r", allow_pickle=False)
    except DataError as error:
        detail = str(error).removeprefix(f"{job.target}: ")
        raise jobs.OccupiedError(job.target, f"cannot be used ({detail})") from error
    return f"{job.target}: {stored.dtype} {stored.shape}"
