"""Rows of CREMA-D and Kinetics-Sounds, each a clip with a sound and frames, and how their files are found."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bss.data.datasets.listing import natural, visible
from bss.data.transforms import image as picture


@dataclass(frozen=True)
class Clip:
    """One row of a list with the clip's files.

    Attributes:
        name: the clip's name.
        label: position in the data set's classes.
        audio: its sound file, of a kind that :func:`bss.data.transforms.audio.read_audio` reads; None if there is none.
        frames: its frames in natural order (``frame_2`` before ``frame_10``); empty if there are none. None stands for
            a neutral one.
        listed: the list and line that name it, for errors.
        group: who or what is seen and heard: the actor, the source video.
    """

    name: str
    label: int
    audio: Path | None
    frames: tuple[Path | None, ...]
    listed: str = ""
    group: str = ""

    @property
    def files(self) -> Mapping[str, tuple[Path, ...]]:
        """Kind of file -> the files."""
        return {"audio": (self.audio,) if self.audio else (), "frames": tuple(filter(None, self.frames))}

    @property
    def blank(self) -> bool:
        """Whether neutral frames stand in the place of some of its own."""
        return None in self.frames


def without_frames(clip: Clip, gone: Collection[Path]) -> Clip:
    """The clip with a neutral frame in place of each that is gone, and one where it had none.

    See :attr:`bss.data.datasets.data_set.DataSet.blank`.
    """
    return replace(clip, frames=tuple(None if frame in gone else frame for frame in clip.frames) or (None,))


def audio_finder(folders: Sequence[tuple[Path, Sequence[str]]]) -> Callable[[str], Path | None]:
    """Make a function from a clip's name to its audio file; every folder is listed once.

    Args:
        folders: folder and suffixes in the order of preference: a decoded waveform goes before its source.
    """
    index: dict[str, Path] = {}
    for folder, suffixes in folders:
        files = [os.path.splitext(name) for name in visible(folder, os.DirEntry.is_file)]
        for suffix in suffixes:
            for stem, ending in files:
                if ending.lower() == suffix:
                    index.setdefault(stem, folder / (stem + ending))
    return index.get


def frame_finder(folders: Sequence[Path]) -> Callable[[str], tuple[Path, ...]]:
    """Make a function from a clip's name to its sorted frames, which are empty if there are none.

    Args:
        folders: folders of clip folders; the first in which the clip has pictures is taken: its jpg, jpeg and png
            files, or those with other suffixes of pictures where it has none of these. Hidden files are ignored.
    """
    clip_folders = [(folder, set(visible(folder, os.DirEntry.is_dir))) for folder in folders]

    def frames_of(name: str) -> tuple[Path, ...]:
        for folder, names in clip_folders:
            if name in names:
                inside = folder / name
                files = visible(inside, os.DirEntry.is_file)
                frames = [file for file in files if file.lower().endswith(picture.FRAME_SUFFIXES)]
                frames = frames or [file for file in files if file.lower().endswith(picture.PICTURE_SUFFIXES)]
                if frames:
                    return tuple(inside / frame for frame in sorted(frames, key=natural))
        return ()

    return frames_of
