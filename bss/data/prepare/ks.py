"""Make a data root of Kinetics-Sounds from videos and the published lists: sound, and one frame a second."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bss.data.datasets.clips import Clip
from bss.data.datasets.ks import CLASSES, DATA_SET, video_id
from bss.data.prepare import jobs, lists, media
from bss.utils.errors import DataNotFoundError

DESCRIPTION = """\
a folder of any depth with the clips (avi, mp4, mkv, flv, webm), ten seconds each, named by YouTube id
and seconds (ID_START_END.mp4) or by the id alone (ID.mp4); and OGM-GE's lists my_train.txt and
my_test.txt (github.com/GeWu-Lab/OGM-GE_CVPR2022), or train.csv and test.csv with youtube_id,label,
in it or in ROOT"""


SAMPLE_RATE = 35_400
"""Hz, what training reads (released code, KS/dataset/KS.py:107): nothing is left to resample in every epoch."""


LONGEST = 20.0
"""Seconds; Kinetics clips last ten, and a longer video was not cut to its clip."""


class Segment(NamedTuple):
    """The video and the second that the name of a clip or of its file says.

    Attributes:
        video: the YouTube id (it has eleven characters, and ``_`` is one of them), or a name of another kind whole.
        start: first second of the clip in the video; None if the name does not say.
    """

    video: str
    start: int | None


def segment(name: str) -> Segment:
    """Parse ``ID_000058_000068`` (Kinetics), ``ID_58`` (OGM-GE's test list) or ``ID``."""
    video = video_id(name)
    seconds = name[len(video) + 1 :]
    return Segment(video, int(seconds.partition("_")[0]) if seconds else None)


def prepare(source: Path, out: Path, *, workers: int, force: bool = False) -> list[str]:
    """Write, under ``out`` and for each split, the list, the sound and one frame a second of every clip of the list.

    ``annotations/{split}.csv`` gets the header ``youtube_id,label`` and class names;
    ``{split}_wav/ID.wav`` the sound at :data:`SAMPLE_RATE`; ``{split}_img/Image-01-FPS/ID/00001.jpg ...`` the frames.
    ``ID`` is the YouTube id, or the name in the list for several clips of one video. Clips whose video is not there
    keep their row; training and the doctor say that they are missing.

    Args:
        source: folder of videos, and of the lists if ``out`` does not have them.
        out: the data root.
        workers: processes; 0 does the work in this one.
        force: replace sounds and folders of pictures that are there and were not made here.

    Returns:
        One line for each failure, which a listed clip without video is. Everything is printed as well.

    Raises:
        DataNotFoundError: no videos, or no lists at all.
        DataError: a list that cannot be read or written.
    """
    clips_of, failures = lists.read_splits(DATA_SET, (source, out), DESCRIPTION)
    videos = media.find_videos(source, key=lambda stem: segment(stem).video)
    if not videos:
        raise DataNotFoundError(f"{DATA_SET.title}: no videos in {source} or below.\n--source must be {DESCRIPTION}")
    for split, clips in clips_of.items():
        ids = target_names([clip.name for clip in clips])
        lists.write(out / DATA_SET.places[split][0], _csv(clips, ids), clips)
        found, missing = {}, []
        for clip in clips:
            candidates = videos.get(segment(clip.name).video, [])
            matches = matching(clip.name, candidates)
            if len(matches) == 1:
                found[ids[clip.name]] = matches[0]
            else:
                missing.append(f"{clip.name}: {_lack(matches, candidates, source)} ({clip.listed})")
        print("\n".join([f"{split}: {len(found)} of {len(clips)} videos found", *jobs.shown(missing)]))
        pictures = out / f"{split}_img" / "Image-01-FPS"
        work = [media.FrameJob(video, pictures / name, LONGEST, force) for name, video in found.items()]
        failures += missing + jobs.fill(pictures, media.write_pictures, work, workers=workers)
        sounds = out / f"{split}_wav"
        work = [
            media.SoundJob(video, sounds / f"{name}.wav", LONGEST, SAMPLE_RATE, force) for name, video in found.items()
        ]
        failures += jobs.fill(sounds, media.write_sound, work, workers=workers)
    return failures


def target_names(names: Sequence[str]) -> dict[str, str]:
    """Name in a list -> name of the clip's files: the YouTube id where the list has one clip of that video."""
    clips_of_video = Counter(segment(name).video for name in names)
    return {name: name if clips_of_video[video := segment(name).video] > 1 else video for name in names}


def matching(name: str, videos: Sequence[Path]) -> list[Path]:
    """The files of a YouTube video that can be the clip: they start where it starts, or do not say where.

    A file with the clip's very name goes before all others.
    """
    same = [video for video in videos if video.stem == name]
    if len(same) == 1:
        return same
    start = segment(name).start
    return [video for video in videos if start is None or segment(video.stem).start in (None, start)]


def _lack(matches: Sequence[Path], candidates: Sequence[Path], source: Path) -> str:
    """The reason why there is not exactly one video for a clip."""
    names = " and ".join(str(video.relative_to(source)) for video in (matches or candidates)[:3])
    if matches:
        return f"{len(matches)} videos can be it, {names}; leave one"
    return f"no video of it: {names} begins at another second" if candidates else f"no video of it in {source}"


def _csv(clips: Sequence[Clip], ids: dict[str, str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("youtube_id", "label"))
    writer.writerows((ids[clip.name], CLASSES[clip.label]) for clip in clips)
    return text.getvalue()
