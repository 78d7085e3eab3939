"""CREMA-D: actors who say one sentence in one of six emotions, as sound and as video frames.

Data card
    7,442 clips of 91 actors and 12 sentences, 1 to 5 s long (Cao et al., IEEE Trans. Affective Computing
    2014), licensed under the Open Database License (ODbL). The field trains on the lists of OGM-GE: 6,698
    training and 744 test clips. Relearning (Wei et al., ECCV 2024) has put 744 of the training clips into a
    validation list, val.csv, which ``published_val=true`` takes. **All 91 actors occur in both lists**, so the
    test measures known voices and faces; the authors of the data advise splits by actor.

    ========  ====  ====  ====  ====  ====  ====  =====
    split      NEU   HAP   SAD   FEA   DIS   ANG    all
    ========  ====  ====  ====  ====  ====  ====  =====
    train      973  1148  1131  1138  1142  1166   6698
    test       114   123   140   133   129   105    744
    ========  ====  ====  ====  ====  ====  ====  =====

    Label ids are the positions in :data:`CLASSES`, the order of the released code
    (CREMA-D/dataset/CramedDataset.py:24). MMPareto, Remix and Relearning number the classes alphabetically:
    their checkpoints are not compatible.

Layout (several others that are in use are found as well, see :data:`DATA_SET`)::

    annotations/train.csv, test.csv           rows like 1088_IOM_NEU_XX,NEU, no header
    AudioWAV/1088_IOM_NEU_XX.wav              or wav_pkl/1088_IOM_NEU_XX.pkl (CREMAD/sound_preprocessing.py)
    Image-01-FPS/1088_IOM_NEU_XX/00000.jpg    one frame a second
    VideoDemographics.csv                     the actors' age and sex, as published; only folds look at it

Known faults of the original: ``1076_MTI_SAD_XX`` has next to no sound, ``1064_IEO_DIS_MD`` lasts a minute.
"""

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from bss.data.datasets.clips import Clip, audio_finder, frame_finder, without_frames
from bss.data.datasets.data_set import WITH_VAL, DataSet, places_of
from bss.data.datasets.listing import bare_name, cells_of, check_once, checked_name
from bss.utils.errors import DataError, shown

CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
"""Class names; a label is a position in this tuple."""


_WORDS = {"NEUTRAL": "NEU", "HAPPY": "HAP", "SAD": "SAD", "FEAR": "FEA", "DISGUST": "DIS", "ANGER": "ANG"}  # MLA's


# Folder and suffixes; the first that has the clip is taken. A decoded waveform goes before its source.
_AUDIO_PLACES = (
    ("wav_pkl", (".pkl",)),
    ("AudioWAV", (".wav",)),
    ("audio", (".pt", ".npy", ".pkl", ".wav")),
    ("audio/{split}_fbank", (".npy",)),
)


_FRAME_PLACES = ("Image-{fps:02d}-FPS", "visual", "visual/{split}_imgs/Image-{fps:02d}-FPS")


def read_list(path: str | os.PathLike) -> list[Clip]:
    """Read a list of clips: ``name,LABEL`` rows of a csv, or ``name LABEL`` lines of a ``.txt``.

    A header ``name,label``, a byte order mark, CRLF and blank lines are understood, as is a media suffix at a
    name (``1085_IWL_SAD_XX.flv``). Labels may be in any case, and the words of MLA's lists: Anger, Disgust, Fear,
    Happy, Neutral, Sad.

    Args:
        path: the list, UTF-8.

    Returns:
        The clips in the order of the file, without their files.

    Raises:
        DataError: with file and line, for an unknown label, another number of columns, a name that is empty,
            leaves the data root or occurs twice; for a list without rows and for a file that is not UTF-8
            text.
    """
    path = Path(path)
    clips: list[Clip] = []
    header_passed = False
    for line, cells in cells_of(path, None if path.suffix.lower() == ".txt" else ","):
        where = f"{path} line {line}"
        if not header_passed and not clips and [cell.lower() for cell in cells] == ["name", "label"]:
            header_passed = True
            continue
        if len(cells) != 2:
            raise DataError(f"{where}: {len(cells)} columns, expected 2: the name and the label, with a comma between")
        name = checked_name(bare_name(cells[0]), where)
        label = _WORDS.get(cells[1].upper(), cells[1].upper())
        if label not in CLASSES:
            hint = "; a header must be name,label" if line == 1 else ""
            allowed = f"{' '.join(CLASSES)} or {' '.join(map(str.capitalize, _WORDS))}"
            raise DataError(f"{where}: unknown label {shown(cells[1])}, allowed are {allowed}{hint}")
        actor = name.partition("_")[0]
        clips.append(Clip(name, CLASSES.index(label), None, (), listed=where, group=actor))
    if not clips:
        raise DataError(f"{path}: the list has no rows; expected lines like 1088_IOM_NEU_XX,NEU")
    check_once(path, ((clip.name, clip.name, clip.listed) for clip in clips))
    return clips


DEMOGRAPHICS = "VideoDemographics.csv"
"""The authors' file on the actors, in the data root as in their repository, or in ``annotations/``."""


def read_demographics(root: Path, actors: Collection[str]) -> dict[str, tuple[str, int]] | None:
    """Sex and age of actors, by the columns ActorID, Age and Sex of :data:`DEMOGRAPHICS`.

    Args:
        root: the data root.
        actors: those that must be in it.

    Returns:
        Actor -> (sex, age), of these actors; None where there is no such file.

    Raises:
        DataError: a column or an actor that is not there, an actor that is there twice, an age that is no whole number,
            or a file that is not csv in UTF-8.
    """
    path = next((path for path in (root / DEMOGRAPHICS, root / "annotations" / DEMOGRAPHICS) if path.is_file()), None)
    if path is None:
        return None
    away = "mend it, or move the file away to deal the actors without it"
    rows = list(cells_of(path))
    header = rows[0][1] if rows else []
    if missing := [name for name in ("ActorID", "Age", "Sex") if name not in header]:
        raise DataError(f"{path}: no column {', '.join(missing)} in its first line: {away}")
    known: dict[str, tuple[str, int]] = {}
    for line, cells in rows[1:]:
        row = dict(zip(header, cells, strict=False))
        if len(cells) != len(header) or not row["Age"].isdecimal() or row["ActorID"] in known:
            raise DataError(
                f"{path} line {line}: {shown(','.join(cells))} is no row of an actor, or a second one: {away}"
            )
        known[row["ActorID"]] = row["Sex"], int(row["Age"])
    if strangers := sorted(set(actors) - known.keys()):
        raise DataError(f"{path}: no row of {len(strangers)} actors, such as {strangers[0]}: {away}")
    return {actor: known[actor] for actor in actors}


def _located(root: Path, split: str, path: Path, *, fps: int = 1) -> list[Clip]:
    """The clips of a list, with those of their files that are under the data root."""
    audio_of = audio_finder([(root / place.format(split=split), suffixes) for place, suffixes in _AUDIO_PLACES])
    frames_of = frame_finder([root / place.format(split=split, fps=fps) for place in _FRAME_PLACES])
    return [replace(clip, audio=audio_of(clip.name), frames=frames_of(clip.name)) for clip in read_list(path)]


DATA_SET = DataSet(
    stem="cremad",
    title="CREMA-D",
    folder="CREMAD",
    classes=CLASSES,
    places=places_of(
        (
            "annotations/{split}.csv",
            "{split}.csv",
            "annotations/my_{split}.csv",
            "my_{split}.csv",
            "annotations/my_{split}_cre.txt",
            "my_{split}_cre.txt",
            # Clones of OGM-GE, MLA and Relearning.
            "data/CREMAD/{split}.csv",
            "data/my_{split}_cre.txt",
            "code/dataset/cremad/{split}.csv",
        ),
        WITH_VAL,
    ),
    optional=("val",),
    published={"train": (6698, 5954), "val": (744,), "test": (744,)},
    locate=_located,
    group="actor",
    group_hint="the test measures known voices and faces; a speaker-disjoint split: --set split=speaker",
    blank={"frames": without_frames},
    licence="Open Database License (ODbL).",
)
"""CREMA-D. Of files that are in several places, the first is taken:

- audio: ``wav_pkl/NAME.pkl``, ``AudioWAV/NAME.wav``, ``audio/NAME.{pt,npy,pkl,wav}``, ``audio/{split}_fbank/NAME.npy``
- frames, the first folder that has any: ``Image-{fps:02d}-FPS/NAME``, ``visual/NAME``,
  ``visual/{split}_imgs/Image-{fps:02d}-FPS/NAME``; jpg, jpeg and png, hidden files ignored

Option: ``fps``, frames a second of the extraction (default 1); it only chooses the folder.
"""
