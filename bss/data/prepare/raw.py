"""Raw inputs, as a user has them, made into what training reads: by the very steps of ``python -m bss prepare``.

An input is a video, a sound with its pictures, a picture with a text, or the videos of a gesture. Several are named by
their files, which belong together when they have one name without suffix, or by the rows of a csv.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from bss.data.datasets.clips import Clip
from bss.data.datasets.imagetext import Post
from bss.data.datasets.listing import cells_of, natural, read_text, visible
from bss.data.datasets.nvgesture import GestureClip, Stream
from bss.data.prepare import media
from bss.data.prepare.nvgesture import FlowJob, write_flow
from bss.data.transforms import containers, video
from bss.data.transforms.audio import WAVE_SUFFIXES
from bss.data.transforms.image import PICTURE_SUFFIXES
from bss.utils.errors import DataError, DataNotFoundError, shown

TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class Form:
    """What the inputs of a task are.

    Attributes:
        kinds: what an input is made of, as a column of a csv calls it -> suffixes of its files, in lower case.
        modalities: of the network, each with the kinds that it can be taken from; the first that is there is.
        folders: kinds that may also be a folder of such files.
        members: of a folder that is a whole input: file name, or suffix, -> the kind that it is. Empty = a folder is
            of the first of ``folders``.
        derived: modality -> the one that it is made from where it is not there itself.
        extra: further columns of a csv, which hold a text.
    """

    kinds: Mapping[str, tuple[str, ...]]
    modalities: Mapping[str, tuple[str, ...]]
    folders: tuple[str, ...] = ()
    members: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that a csv of inputs may have."""
        return ("name", *self.kinds, *self.extra)

    @property
    def suffixes(self) -> str:
        """What files there are, in words."""
        return "; ".join(f"{kind}: {' '.join(suffixes)}" for kind, suffixes in self.kinds.items())


AUDIOVISUAL = Form(
    kinds={"video": media.SUFFIXES, "audio": WAVE_SUFFIXES, "visual": PICTURE_SUFFIXES},
    modalities={"audio": ("audio", "video"), "visual": ("visual", "video")},
    folders=("visual",),
)


IMAGE_TEXT = Form(
    kinds={"image": PICTURE_SUFFIXES, TEXT: (".txt",)},
    modalities={"image": ("image",), TEXT: (TEXT,)},
    extra=("target",),
)


GESTURE = Form(
    kinds={"rgb": containers.VIDEO_SUFFIXES, "depth": containers.VIDEO_SUFFIXES, "flow": (".npy",)},
    modalities={"rgb": ("rgb",), "flow": ("flow",), "depth": ("depth",)},
    members={"sk_color.avi": "rgb", "sk_depth.avi": "depth", ".npy": "flow"},
    derived={"flow": "rgb"},
    extra=("start", "stop"),
)


@dataclass(frozen=True, kw_only=True)
class RawInput:
    """One input.

    Attributes:
        name: unique among the inputs.
        files: kind -> its files, in natural order.
        texts: ``"text"`` and the form's extra columns -> what they say.
        listed: the file, or the row, that names it, for errors.
    """

    name: str
    files: Mapping[str, tuple[Path, ...]]
    texts: Mapping[str, str] = field(default_factory=dict)
    listed: str

    def has(self, kind: str) -> bool:
        """Whether something of a kind is there."""
        return bool(self.files.get(kind)) or bool(self.texts.get(kind, "").strip())


# ---- which inputs there are ----------------------------------------------------------------------------------------


def read_inputs(paths: Sequence[Path], form: Form) -> list[RawInput]:
    """The inputs that files, folders or a csv name, in their order.

    Args:
        paths: one csv; or files and folders, which make one input where they have one name without suffix. A single
            sound is one input with all the pictures beside it, whatever their names.
        form: of the task.

    Raises:
        DataNotFoundError: a path that is not there.
        DataError: a file of no known kind, a csv beside others or with bad rows, two files of one kind for one input.
    """
    csvs = [path for path in paths if path.suffix.lower() == ".csv"]
    if csvs:
        if len(paths) > 1:
            raise DataError(f"{csvs[0]}: a csv of inputs stands alone, and {len(paths) - 1} more are given")
        return _of_csv(csvs[0], form)
    named = [_of_path(path, form) for path in paths]
    sounds = [each for each in named if set(each.files) == {"audio"}]
    if len(sounds) == 1 and all(set(each.files) == {"visual"} for each in named if each is not sounds[0]):
        frames = [file for each in named for file in each.files.get("visual", ())]
        return [replace(sounds[0], files={**sounds[0].files, "visual": tuple(frames)} if frames else sounds[0].files)]
    merged: dict[str, RawInput] = {}
    for each in named:
        before = merged.get(each.name)
        if before is None:
            merged[each.name] = each
            continue
        twice = sorted({*before.files, *before.texts} & {*each.files, *each.texts})
        if twice:
            raise DataError(
                f"{before.listed} and {each.listed}: two inputs are called {each.name}; tell them apart in a csv with "
                f"the columns {', '.join(form.columns)}"
            )
        merged[each.name] = replace(before, files={**before.files, **each.files}, texts={**before.texts, **each.texts})
    return list(merged.values())


def _of_path(path: Path, form: Form) -> RawInput:
    if path.is_dir():
        return RawInput(name=path.resolve().name, files=_of_folder(path, form), listed=str(path))
    kind = _kind_of(path, form)
    if kind is None:
        raise DataError(f"{path}: a file of no kind that this run takes; it takes {form.suffixes}")
    if not path.exists():
        raise DataNotFoundError(f"{path} is not there")
    if kind == TEXT:
        return RawInput(name=path.stem, files={}, texts={TEXT: read_text(path).strip()}, listed=str(path))
    return RawInput(name=path.stem, files={kind: (path,)}, listed=str(path))


def _kind_of(path: Path, form: Form) -> str | None:
    named = form.members.get(path.name.lower())
    if named:
        return named
    suffix = path.suffix.lower()
    return next((kind for kind, suffixes in form.kinds.items() if suffix in suffixes), None)


def _of_folder(folder: Path, form: Form) -> dict[str, tuple[Path, ...]]:
    """The files in a folder that is an input, or the pictures of one."""
    names = sorted(visible(folder, os.DirEntry.is_file), key=natural)
    if form.folders:
        kind = form.folders[0]
        found = tuple(folder / name for name in names if name.lower().endswith(form.kinds[kind]))
        if not found:
            raise DataError(f"{folder}: no pictures in this folder ({' '.join(form.kinds[kind])})")
        return {kind: found}
    members = {kind: folder / name for name in names if (kind := _member(name, form))}
    if not members:
        takes = ", ".join(form.members) or "no folders"
        raise DataError(f"{folder}: a folder without anything that this run takes; it takes {takes}")
    return {kind: (path,) for kind, path in members.items()}


def _member(name: str, form: Form) -> str | None:
    return form.members.get(name.lower()) or form.members.get(os.path.splitext(name.lower())[1])


def _of_csv(path: Path, form: Form) -> list[RawInput]:
    if not path.exists():
        raise DataNotFoundError(f"{path} is not there")
    rows = list(cells_of(path))
    if len(rows) < 2:
        raise DataError(f"{path}: a csv of inputs has a header ({', '.join(form.columns)}) and a row for each input")
    header = [cell.lower() for cell in rows[0][1]]
    strange = [cell for cell in header if cell not in form.columns]
    if strange or len(set(header)) < len(header):
        which = f"the column {shown(strange[0])}" if strange else "a column twice"
        raise DataError(f"{path} line {rows[0][0]}: {which}; allowed are {', '.join(form.columns)}")
    inputs: dict[str, RawInput] = {}
    for line, cells in rows[1:]:
        where = f"{path} line {line}"
        if len(cells) != len(header):
            raise DataError(f"{where}: {len(cells)} cells, and {len(header)} columns")
        made = _of_row(dict(zip(header, cells, strict=True)), path.parent, where, form)
        if made.name in inputs:
            raise DataError(
                f"{where}: a second input called {made.name}, the first is in {inputs[made.name].listed}; "
                "tell them apart in a column name"
            )
        inputs[made.name] = made
    return list(inputs.values())


def _of_row(row: Mapping[str, str], folder: Path, where: str, form: Form) -> RawInput:
    texts = {name: row[name] for name in (TEXT, *form.extra) if row.get(name)}
    files: dict[str, tuple[Path, ...]] = {}
    for kind, suffixes in form.kinds.items():
        if kind == TEXT or not row.get(kind):
            continue
        path = folder / row[kind]
        if not path.exists():
            raise DataNotFoundError(f"{where}: {path} is not there")
        if path.is_dir() and kind in form.folders:
            files |= _of_folder(path, form)
        elif path.suffix.lower() in suffixes:
            files[kind] = (path,)
        else:
            raise DataError(f"{where}: {path} is no file of {kind} ({' '.join(suffixes)})")
    if not files and not texts:
        raise DataError(f"{where}: an input of nothing; the columns are {', '.join(form.columns)}")
    name = row.get("name") or (next(iter(files.values()))[0].stem if files else f"line {where.rpartition(' ')[2]}")
    return RawInput(name=name, files=files, texts=texts, listed=where)


# ---- what an input lacks -------------------------------------------------------------------------------------------


def lacking(raw: RawInput, form: Form, *, look: bool) -> tuple[str, ...]:
    """Modalities that an input does not have.

    Args:
        raw: the input.
        form: of the task.
        look: also look into videos, which may have no sound. Else it is an error later on, which names the file.
    """
    found = []
    for modality, kinds in form.modalities.items():
        there = [kind for kind in kinds if raw.has(kind)]
        if there == ["video"] and look:
            there = there if media.streams(raw.files["video"][0])[modality] else []
        source = form.derived.get(modality)
        if not there and (source is None or not raw.has(source)):
            found.append(modality)
    return tuple(found)


def with_placeholders(raw: RawInput, modalities: Sequence[str], folder: Path) -> RawInput:
    """An input with something that can be read in the place of modalities that it lacks.

    Silence, a black picture, no word, another video of the gesture: what is read there is not what the network sees.

    Args:
        raw: the input, which has one of its modalities.
        modalities: that it lacks.
        folder: to write to.
    """
    files, texts = dict(raw.files), dict(raw.texts)
    videos = [files[kind] for kind in ("rgb", "depth") if kind in files]
    for modality in modalities:
        if modality == "audio":
            files[modality] = (_silence(folder),)
        elif modality in ("visual", "image"):
            files[modality] = (_black(folder),)
        elif modality == TEXT:
            texts[modality] = ""
        elif modality in ("rgb", "depth"):
            if not videos:
                raise DataError(f"{raw.listed}: {raw.name} is flow alone: a gesture needs one of its videos")
            files[modality] = videos[0]
    return replace(raw, files=files, texts=texts)


def _silence(folder: Path) -> Path:
    import soundfile

    path = folder / "silence.wav"
    soundfile.write(path, np.zeros(16_000, np.int16), 16_000)
    return path


def _black(folder: Path) -> Path:
    from PIL import Image

    path = folder / "black.png"
    Image.new("RGB", (64, 64)).save(path)
    return path


# ---- what training reads -------------------------------------------------------------------------------------------


def clip_of(raw: RawInput, folder: Path, *, longest: float, sample_rate: int | None) -> Clip:
    """The clip of an input with sound and pictures, whose video is taken apart as ``prepare`` does.

    Args:
        raw: the input, which lacks nothing.
        folder: of its own, to write to.
        longest: seconds; a longer video is refused.
        sample_rate: Hz that the sound of a video is stored at; None = its own.

    Raises:
        DataError: naming the file, see :mod:`bss.data.prepare.media`.
    """
    frames, sound = raw.files.get("visual", ()), raw.files.get("audio", ())
    try:
        if not frames:
            media.write_pictures(media.FrameJob(raw.files["video"][0], folder / "frames", longest))
            names = sorted(visible(folder / "frames", os.DirEntry.is_file), key=natural)
            frames = tuple(folder / "frames" / name for name in names)
        if not sound:
            sound = (folder / "sound.wav",)
            media.write_sound(media.SoundJob(raw.files["video"][0], sound[0], longest, sample_rate))
    except DataError as error:
        raise _with_row(error, raw) from error
    return Clip(raw.name, 0, sound[0], tuple(frames), listed=raw.listed)


def post_of(raw: RawInput) -> Post:
    """The post of a picture and a text; ``target`` is the term that it is about, where there is one."""
    (path,) = raw.files["image"]
    return Post(
        raw.name,
        0,
        raw.texts.get(TEXT, ""),
        path.name,
        path=path,
        listed=raw.listed,
        target=raw.texts.get("target", ""),
    )


def gesture_of(raw: RawInput, folder: Path) -> GestureClip:
    """The clip of a gesture's videos; flow that is not there is computed as ``prepare`` does.

    Its frames are all there are, or those from ``start`` to before ``stop``, columns of a csv.

    Args:
        raw: the input, with ``rgb`` and ``depth``.
        folder: of its own, to write to.

    Raises:
        DataError: naming the file: videos that cannot be decoded, or are not of one length.
    """
    (color,), (depth,) = raw.files["rgb"], raw.files["depth"]
    start, stop = _window(raw, color, depth)
    flow = raw.files.get("flow") or (folder / "flow.npy",)
    if "flow" not in raw.files:
        write_flow(FlowJob(color, start, stop, flow[0], raw.listed))
    return GestureClip(
        raw.name,
        0,
        PurePosixPath(raw.name),
        Stream("sk_color", start, stop),
        Stream("sk_depth", start, stop),
        listed=raw.listed,
        files={"rgb": (color,), "flow": flow, "depth": (depth,)},
        group="",
    )


def _window(raw: RawInput, color: Path, depth: Path) -> tuple[int, int]:
    """The frames of a gesture: those that a csv names, or else all."""
    if "start" in raw.texts or "stop" in raw.texts:
        cells = [raw.texts.get(name, "") for name in ("start", "stop")]
        start, stop = (int(cell) if cell.isascii() and cell.isdigit() and len(cell) < 10 else -1 for cell in cells)
        if not 0 <= start < stop:
            raise DataError(f"{raw.listed}: start and stop must be whole numbers, 0 <= start < stop, found {cells}")
        return start, stop
    frames = {path: video.count_frames(path) for path in (color, depth)}
    if len(set(frames.values())) > 1:
        raise DataError(f"{color} has {frames[color]} frames, and {depth} has {frames[depth]} ({raw.listed})")
    return 0, frames[color]


def _with_row(error: DataError, raw: RawInput) -> DataError:
    """The error, with the row of a csv that named the file."""
    return error if raw.listed in str(error) else DataError(f"{error} ({raw.listed})")
