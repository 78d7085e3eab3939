"""Kinetics-Sounds: the Kinetics classes that can be both heard and seen, as sound and as video frames.

Data card
    31 classes of ten-second YouTube clips (Arandjelovic and Zisserman, ICCV 2017; videos of Kinetics-400, Kay et al.
    2017). The videos belong to their uploaders; Google's annotations of Kinetics are licensed CC BY 4.0. The field
    trains on the lists of OGM-GE: 14,799 training and 2,597 test clips, of different videos. BML (Wei et al., TPAMI
    2024) has the same clips and 1,320 for validation in one file, ``KS_train_val.json``; ``published_val=true`` takes
    them. Videos vanish from YouTube, so everybody has another subset: write down yours (``config.json`` of a run does).
    The paper states 15,000 / 1,900 / 1,900 clips, which no public list has.

    Label ids are the positions in :data:`CLASSES`, in alphabetical order, as in OGM-GE's lists. The released code
    numbers classes as they first appear among the files that happen to exist (KS/dataset/KS.py:60-100), so its ids
    differ from machine to machine.

Layout::

    annotations/train.csv, test.csv                     header youtube_id,label; rows like 4-0ihtnBU,playing guitar
      or KS_train_val.json                              {"database": {"ID_START_END": {"subset", "label"}, ...}}
      or my_train.txt, my_test.txt                      rows like --4-0ihtnBU_000058_000068,10,4 and 1p1nA2Nf54o_37,10,4
    train_wav/ID.wav, test_wav/ID.wav                   or train_wav_pkl/ID.pkl, audio/ID.{pt,npy,pkl,wav}
    train_img/Image-01-FPS/ID/00001.jpg, test_img/...   one frame a second

Files may be named after the id in the list, or after the bare YouTube id without its seconds.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from bss.data.datasets.clips import Clip, audio_finder, frame_finder, without_frames
from bss.data.datasets.data_set import WITH_VAL, DataSet, places_of
from bss.data.datasets.listing import bare_name, cells_of, check_once, checked_name, read_json
from bss.utils.errors import DataError, shown

CLASSES = (
    "blowing nose", "blowing out candles", "bowling", "chopping wood", "dribbling basketball", "laughing",
    "mowing lawn", "playing accordion", "playing bagpipes", "playing bass guitar", "playing clarinet", "playing drums",
    "playing guitar", "playing harmonica", "playing keyboard", "playing organ", "playing piano", "playing saxophone",
    "playing trombone", "playing trumpet", "playing violin", "playing xylophone", "ripping paper", "shoveling snow",
    "shuffling cards", "singing", "stomping grapes", "tap dancing", "tapping guitar", "tapping pen", "tickling",
)  # fmt: skip
"""Class names; a label is a position in this tuple. Source: the class list of BML_TPAMI2024 (KS.json)."""


_AUDIO_PLACES = (
    ("{split}_wav_pkl", (".pkl",)),
    ("{split}_wav", (".wav",)),
    ("audio", (".pt", ".npy", ".pkl", ".wav")),
    ("audio/{split}", (".pt", ".npy", ".pkl", ".wav")),
)


_FRAME_PLACES = ("{split}_img/Image-{fps:02d}-FPS", "visual", "visual/{split}_img/Image-{fps:02d}-FPS")


_SUBSETS = {"train": "training", "val": "validation", "test": "testing"}  # as BML's file calls them


_IDS = {name: label for label, name in enumerate(CLASSES)}


_SECONDS = re.compile(r"(.{11})_\d{1,6}(_\d{1,6})?")  # an id may hold underscores and digits itself


F = TypeVar("F")


def read_list(path: str | os.PathLike, split: str = "test") -> list[Clip]:
    """Read a list of clips: ``youtube_id,label`` rows with a class name or number, or OGM-GE's ``id,10,number`` rows.

    The first cell is the clip, the last one its class: a name of :data:`CLASSES` in any case, or its number. What
    stands between them (OGM-GE: the seconds) is ignored, as is a media suffix at the clip (``ID_START_END.mp4``). A
    header ``youtube_id,label``, a byte order mark, CRLF and blank lines are understood; a ``.txt`` without commas is
    split at white space. A ``.json`` is BML's, see the layout above.

    Args:
        path: the list, UTF-8.
        split: the one to read of a ``.json``, which has all of them.

    Returns:
        The clips in the order of the file, without their files.

    Raises:
        DataError: with file and line, for an unknown class, a row of less than two or more than three cells, a name
            that is empty, leaves the data root or occurs twice; for a list without rows and for a file that is not
            UTF-8 text.
    """
    path = Path(path)
    clips = _json_clips(path, split) if path.suffix.lower() == ".json" else _clips(path)
    if not clips:
        of = f" of {_SUBSETS[split]}" if path.suffix.lower() == ".json" else ""
        raise DataError(f"{path}: the list has no rows{of}; expected lines like 4-0ihtnBU_000058_000068,10,12")
    check_once(path, ((clip.name, clip.name, clip.listed) for clip in clips))
    return clips


def _json_clips(path: Path, split: str) -> list[Clip]:
    content = read_json(path)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise DataError(f'{path}: not {{"database": {{"ID_START_END": {{"subset": ..., "label": ...}}}}}}')
    clips = []
    for number, (name, entry) in enumerate(database.items(), start=1):
        where = f"{path} item {number}"
        subset, label = (entry.get(key) if isinstance(entry, dict) else None for key in ("subset", "label"))
        if subset not in _SUBSETS.values() or not isinstance(label, str | int):
            raise DataError(f"{where}: {shown(entry)}, expected a subset ({', '.join(_SUBSETS.values())}) and a label")
        if subset == _SUBSETS[split]:
            name = checked_name(bare_name(name), where)
            clips.append(Clip(name, _label(str(label), where), None, (), listed=where, group=video_id(name)))
    return clips


def _clips(path: Path) -> list[Clip]:
    clips: list[Clip] = []
    header_passed = False
    for line, cells in cells_of(path):
        where = f"{path} line {line}"
        if path.suffix.lower() == ".txt" and len(cells) == 1:
            cells = cells[0].split()
        if not header_passed and not clips and [cell.lower() for cell in cells] == ["youtube_id", "label"]:
            header_passed = True
            continue
        if len(cells) not in (2, 3):
            raise DataError(f"{where}: {len(cells)} cells, expected youtube_id,label or id_start_end,10,number")
        name = checked_name(bare_name(cells[0]), where)
        clips.append(Clip(name, _label(cells[-1], where), None, (), listed=where, group=video_id(name)))
    return clips


def video_id(name: str) -> str:
    """The YouTube id of eleven characters in a clip's name: ``--4-0ihtnBU`` of ``--4-0ihtnBU_000058_000068``.

    OGM-GE's test list has the first second only (``1p1nA2Nf54o_37``). A name of another form stays as it is.
    """
    found = _SECONDS.fullmatch(name)
    return found[1] if found else name


def _label(cell: str, where: str) -> int:
    if cell.isascii() and cell.isdigit():
        if len(cell) <= 9 and int(cell) < len(CLASSES):
            return int(cell)
        raise DataError(f"{where}: class number {cell[:20]}, allowed are 0 to {len(CLASSES) - 1}")
    label = _IDS.get(cell.lower().replace("_", " "))
    if label is None:
        raise DataError(
            f"{where}: unknown class {shown(cell)}; the names are in KS/README.md, for example {CLASSES[0]!r}"
        )
    return label


def _located(root: Path, split: str, path: Path, *, fps: int = 1) -> list[Clip]:
    """The clips of a list, with those of their files that are under the data root."""
    listed = read_list(path, split)
    clips_of_video = Counter(clip.group for clip in listed)
    audio_of = audio_finder([(root / place.format(split=split), suffixes) for place, suffixes in _AUDIO_PLACES])
    frames_of = frame_finder([root / place.format(split=split, fps=fps) for place in _FRAME_PLACES])

    def found(lookup: Callable[[str], F], clip: Clip) -> F:
        """The files of the clip's name, or of its video's name if the list has one clip of that video."""
        bare = not lookup(clip.name) and clips_of_video[clip.group] == 1
        return lookup(clip.group if bare else clip.name)

    return [replace(clip, audio=found(audio_of, clip), frames=found(frames_of, clip)) for clip in listed]


DATA_SET = DataSet(
    stem="ks",
    title="Kinetics-Sounds",
    folder="KS",
    classes=CLASSES,
    places=places_of(
        (
            "annotations/{split}.csv",
            "{split}.csv",
            "annotations/my_{split}.txt",
            "my_{split}.txt",
            # Clones of OGM-GE and BML.
            "data/KineticSound/my_{split}.txt",
            "annotations/KS_train_val.json",
            "KS_train_val.json",
            "code/dataset/KS_train_val.json",
        ),
        WITH_VAL,
    ),
    optional=("val",),
    published={"train": (14799,), "val": (1320,), "test": (2597,)},  # OGM-GE's lists, and BML's
    locate=_located,
    group="source video",
    blank={"frames": without_frames},
    licence="the videos belong to their uploaders; Google's annotations of Kinetics are licensed CC BY 4.0.",
)
"""Kinetics-Sounds. Option: ``fps``, frames a second of the extraction (default 1); it only chooses the folder."""


def long_enough(clips: Sequence[Clip], split: str, min_frames: int) -> tuple[list[Clip], list[str]]:
    """The clips that have at least ``min_frames`` frames, and the names of the others.

    One whose frames were all made neutral stays: how many it would have is not known.

    Raises:
        DataError: no clip has.
    """
    kept = [clip for clip in clips if len(clip.frames) >= min_frames or not any(clip.frames)]
    if not kept:
        longest = max(len(clip.frames) for clip in clips)
        raise DataError(
            f"{DATA_SET.title} {split}: no clip has {min_frames} frames, the most is {longest}: --set min_frames=1"
        )
    return kept, [clip.name for clip in clips if len(clip.frames) < min_frames and any(clip.frames)]
