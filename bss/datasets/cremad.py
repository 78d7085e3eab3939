"""CREMA-D: actors who say one sentence in one of six emotions, as sound and as video frames.

Data card
    7,442 clips of 91 actors and 12 sentences, 1 to 5 s long (Cao et al., IEEE Trans. Affective Computing
    2014), licensed under the Open Database License (ODbL). The field trains on the lists of OGM-GE: 6,698
    training and 744 test clips. There is no validation list. **All 91 actors occur in both lists**, so the
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

Layout (several others that are in use are found as well, see :func:`find_clips`)::

    annotations/train.csv, test.csv           rows like 1088_IOM_NEU_XX,NEU, no header
    AudioWAV/1088_IOM_NEU_XX.wav              or wav_pkl/1088_IOM_NEU_XX.pkl (CREMAD/sound_preprocessing.py)
    Image-01-FPS/1088_IOM_NEU_XX/00000.jpg    one frame a second

Known faults of the original: ``1076_MTI_SAD_XX`` has next to no sound, ``1064_IEO_DIS_MD`` lasts a minute.
"""

import contextlib
import csv
import io
import json
import math
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from bss.datasets import generate
from bss.errors import BssError, DataError, DataNotFoundError, RecipeError
from bss.seeding import mixed_seed
from bss.transforms import audio as sound
from bss.transforms import image as picture

CLASSES = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
"""Class names; a label is a position in this tuple."""

SPLITS = ("train", "test")
PICKS = ("drawn", "spread", "first")
MARKER = "sample.json"
"""File that marks a generated data set and holds its parameters."""

_LIST_PLACES = (
    "annotations/{split}.csv",
    "{split}.csv",
    "annotations/my_{split}.csv",
    "my_{split}.csv",
    "annotations/my_{split}_cre.txt",
    "my_{split}_cre.txt",
)
# Folder and suffixes; the first that has the clip is taken. A decoded waveform goes before its source.
_AUDIO_PLACES = (
    ("wav_pkl", (".pkl",)),
    ("AudioWAV", (".wav",)),
    ("audio", (".pt", ".npy", ".pkl", ".wav")),
    ("audio/{split}_fbank", (".npy",)),
)
_FRAME_PLACES = ("Image-{fps:02d}-FPS", "visual", "visual/{split}_imgs/Image-{fps:02d}-FPS")
_README = "CREMAD/README.md describes the layout; --sample runs the whole thing now on generated data"


@dataclass(frozen=True)
class Row:
    """One row of a list.

    Attributes:
        name: the clip's name, without suffix.
        label: position in :data:`CLASSES`.
        line: line of the file, counted from 1.
    """

    name: str
    label: int
    line: int


@dataclass(frozen=True)
class Clip:
    """One clip whose files are there.

    Attributes:
        name: the clip's name.
        label: position in :data:`CLASSES`.
        audio: its sound file, of any kind that :func:`bss.transforms.audio.read_audio` reads.
        frames: its frames in natural order (``frame_2`` before ``frame_10``), at least one.
        listed: the list and line that name it, for errors.
    """

    name: str
    label: int
    audio: Path
    frames: tuple[Path, ...]
    listed: str = ""


# ----------------------------------------------------------------------------------------------------- lists


def read_list(path: str | os.PathLike) -> list[Row]:
    """Read a list of clips: ``name,LABEL`` rows of a csv, or ``name LABEL`` lines of a ``.txt``.

    A header ``name,label``, a byte order mark, CRLF and blank lines are understood, as is a media suffix at a
    name (``1085_IWL_SAD_XX.flv``). Labels may be in any case.

    Args:
        path: the list, UTF-8.

    Returns:
        The rows in the order of the file.

    Raises:
        DataError: with file and line, for an unknown label, another number of columns, a name that is empty,
            leaves the data root or occurs twice; for a list without rows and for a file that is not UTF-8
            text.
    """
    rows: list[Row] = []
    first_line: dict[str, int] = {}
    for line, cells in _cells(Path(path)):
        where = f"{path} line {line}"
        if not rows and [cell.lower() for cell in cells] == ["name", "label"]:
            continue
        if len(cells) != 2:
            raise DataError(f"{where}: {len(cells)} columns, expected 2: the name and the label, with a comma between")
        name = re.sub(r"\.(wav|flv|mp4)$", "", cells[0], flags=re.IGNORECASE)
        if not name:
            raise DataError(f"{where}: the name is empty")
        if name in (".", "..") or any(character in name for character in "/\\\0"):
            raise DataError(f"{where}: the name {name!r} leaves the data root; give a name, not a path")
        label = cells[1].upper()
        if label not in CLASSES:
            hint = "; a header must be name,label" if line == 1 else ""
            raise DataError(f"{where}: unknown label {cells[1]!r}, allowed are {' '.join(CLASSES)}{hint}")
        if name in first_line:
            raise DataError(f"{where}: {name} is listed twice, first on line {first_line[name]}")
        first_line[name] = line
        rows.append(Row(name, CLASSES.index(label), line))
    if not rows:
        raise DataError(f"{path}: the list has no rows; expected lines like 1088_IOM_NEU_XX,NEU")
    return rows


def _cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of the lines that are not blank."""
    try:
        content = path.read_bytes()
        if problem := sound.absence(content[: sound.HEAD_BYTES], len(content)):
            raise DataError(f"{path}: {problem}")
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise DataError(f"{path}: not UTF-8 text (it has NUL bytes, like UTF-16); save it as a UTF-8 csv")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text (byte {error.start}); save it as a UTF-8 csv") from error
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if line.isspace():
            continue
        if path.suffix.lower() == ".txt":
            yield number, line.split()
            continue
        # Line by line: an unclosed quote must not swallow the rows after it.
        try:
            yield number, [cell.strip() for cell in next(csv.reader([line.rstrip("\n")], strict=True))]
        except csv.Error as error:
            raise DataError(f"{path} line {number}: not a csv row: {error}") from error


# ----------------------------------------------------------------------------------------------------- files


def find_clips(
    root: str | os.PathLike, split: str, *, fps: int = 1, missing: str = "error"
) -> tuple[list[Clip], list[str]]:
    """Match a split's list with the files under ``root``, and check every file's header, before any training.

    - list: ``annotations/{split}.csv``, ``{split}.csv``, or ``my_{split}.csv`` / ``my_{split}_cre.txt``
      beside them
    - audio, the first that exists: ``wav_pkl/NAME.pkl``, ``AudioWAV/NAME.wav``,
      ``audio/NAME.{pt,npy,pkl,wav}``, ``audio/{split}_fbank/NAME.npy``
    - frames, the first folder that has any: ``Image-{fps:02d}-FPS/NAME``, ``visual/NAME``,
      ``visual/{split}_imgs/Image-{fps:02d}-FPS/NAME``; jpg, jpeg and png, hidden files ignored

    Args:
        root: the data root.
        split: ``"train"`` or ``"test"``.
        fps: frames a second of the extraction; it only chooses the folder.
        missing: ``"error"``, or ``"drop"`` to leave out clips without audio or frames. A Git-LFS pointer, an
            empty file and a wav of zero samples count as missing; a file of the wrong kind or a truncated wav
            never does.

    Returns:
        The clips in the order of the list, and the names of those left out (empty with ``"error"``).

    Raises:
        DataNotFoundError: no root, no list, clips without files, or nothing left after dropping.
        DataError: a bad row of the list, or a file that cannot be what its name says.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}")
    if missing not in ("error", "drop"):
        raise ValueError(f"missing must be 'error' or 'drop', got {missing!r}")
    root = Path(root)
    list_path = _find_list(root, split)
    rows = read_list(list_path)
    audio_of = _audio_files(root, split)
    frames_of = _frame_finder(root, split, fps)
    found = [(row, audio_of.get(row.name), frames_of(row.name)) for row in rows]
    gaps = [(row, audio, frames) for row, audio, frames in found if audio is None or not frames]
    if gaps and missing == "error":
        row, audio, _ = gaps[0]
        no_audio, no_frames = sum(gap[1] is None for gap in gaps), sum(not gap[2] for gap in gaps)
        raise DataNotFoundError(
            f"CREMA-D {split}: of {len(rows)} clips {no_audio} have no audio and {no_frames} no frames under {root}, "
            f"first {row.name} without {'audio' if audio is None else 'frames'} ({list_path} line {row.line}).\n"
            f"Complete the tree ({_README}), or leave them out with --set missing=drop"
        )
    clips = [
        Clip(row.name, row.label, audio, frames, f"{list_path} line {row.line}")
        for row, audio, frames in found
        if audio and frames
    ]
    absent, damaged = _check_headers(clips)
    if damaged:
        raise DataError(
            f"{damaged[0]}.\nDamaged files of the {split} list: {len(damaged)}; replace them, or take their rows out "
            "of the list (missing=drop leaves out absent files only)"
        )
    if absent and missing == "error":
        raise DataError(
            f"{next(iter(absent.values()))}.\n{len(absent)} of {len(clips)} clips of the {split} list have such "
            "files; replace them, or leave them out with --set missing=drop"
        )
    clips = [clip for clip in clips if clip.name not in absent]
    if not clips:
        raise DataNotFoundError(
            f"CREMA-D {split}: none of the {len(rows)} clips of {list_path} has its files under {root}; {_README}"
        )
    kept = {clip.name for clip in clips}
    return clips, [row.name for row in rows if row.name not in kept]


def _find_list(root: Path, split: str) -> Path:
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataNotFoundError(f"CREMA-D: the data root {root} {what}.\n{_README}")
    places = [place.format(split=split) for place in _LIST_PLACES]
    for place in places:
        if (root / place).is_file():
            return root / place
    raise DataNotFoundError(
        f"CREMA-D: no list of the {split} split under {root}, looked for {', '.join(places)}.\n{_README}"
    )


def _audio_files(root: Path, split: str) -> dict[str, Path]:
    """Clip name -> its preferred audio file, by one listing of each folder."""
    index: dict[str, Path] = {}
    for place, suffixes in _AUDIO_PLACES:
        folder = root / place.format(split=split)
        files = [os.path.splitext(name) for name in _visible(folder, os.DirEntry.is_file)]
        for suffix in suffixes:
            for stem, ending in files:
                if ending.lower() == suffix:
                    index.setdefault(stem, folder / (stem + ending))
    return index


def _frame_finder(root: Path, split: str, fps: int) -> Callable[[str], tuple[Path, ...]]:
    """A function from a clip's name to its sorted frames, empty if there are none."""
    folders = [root / place.format(split=split, fps=fps) for place in _FRAME_PLACES]
    clip_folders = [(folder, set(_visible(folder, os.DirEntry.is_dir))) for folder in folders]

    def frames_of(name: str) -> tuple[Path, ...]:
        for folder, names in clip_folders:
            if name in names:
                files = _visible(folder / name, os.DirEntry.is_file)
                frames = [file for file in files if file.lower().endswith(picture.FRAME_SUFFIXES)]
                if frames:
                    return tuple(folder / name / frame for frame in sorted(frames, key=_natural))
        return ()

    return frames_of


def _visible(folder: Path, kind: Callable[[os.DirEntry], bool]) -> list[str]:
    """Names in a folder of one kind of entry, without hidden ones; empty if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if not entry.name.startswith(".") and kind(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror or error}") from error


def _natural(name: str) -> tuple[list[str | int], str]:
    """Sort key that compares runs of digits as numbers; text and numbers alternate, so they never meet."""
    return [int(part) if part.isdigit() else part for part in re.split(r"([0-9]+)", name)], name


def _check_headers(clips: list[Clip]) -> tuple[dict[str, str], list[str]]:
    """Look at the ends of every file: clips with a file that holds nothing (name -> why), and damaged files (why)."""
    absent: dict[str, str] = {}
    damaged: list[str] = []
    for clip in clips:
        for path in (clip.audio, *clip.frames):
            head, size = sound.read_head(path)
            if problem := sound.absence(head, size):
                absent.setdefault(clip.name, f"{path}: {problem} ({clip.listed})")
            elif path is clip.audio:
                if damage := sound.sound_damage(head, size, path.suffix.lower()):
                    damaged.append(f"{path}: {damage} ({clip.listed})")
            elif damage := picture.image_damage(head) or picture.image_truncation(path):
                damaged.append(f"{path}: {damage} ({clip.listed})")
    return absent, damaged


# --------------------------------------------------------------------------------------------------- samples


class Cremad(Dataset):
    """Samples of CREMA-D.

    A sample is a dict:

    - ``"audio"``: waveform (T,) float32 in [-1, 1], T = round(sample_rate * seconds), repeated or cut to
      that; or (bins, frames) float32 where the files hold finished spectrograms. One with ``n_fft // 2 + 1``
      bins is repeated or cut to ``1 + T // hop_length`` frames, as if its waveform had been; others must all
      have one shape.
    - ``"visual"``: (3, num_frames, S, S) float32; every frame gets its own random view (released code,
      CREMA-D/dataset/CramedDataset.py:90-93)
    - ``"label"``: int, position in :data:`CLASSES`

    Args:
        clips: from :func:`find_clips`, at least one.
        sample_rate: of the waveforms, in Hz.
        seconds: length of the waveforms.
        n_fft: STFT window of the model's spectrogram in samples; used for finished spectrograms only.
        hop_length: STFT step in samples; used for finished spectrograms only.
        transform: (3, H, W) uint8 -> (3, S, S) float32.
        num_frames: frames a sample.
        pick: which frames: ``"drawn"`` without replacement and sorted, from torch's default CPU generator
            (training; the released code draws them so and then uses others,
            CREMA-D/dataset/CramedDataset.py:87-91), ``"spread"`` the middles of equal parts (test),
            ``"first"`` the first ones of the sorted listing. A clip with fewer frames gives all of them,
            spread evenly, so that some repeat.

    Raises:
        DataError: from indexing, naming the file, for one that cannot be decoded or has another shape than
            the first.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        *,
        sample_rate: int,
        seconds: float,
        n_fft: int,
        hop_length: int,
        transform: Callable[[Tensor], Tensor],
        num_frames: int = 1,
        pick: str = "spread",
    ):
        if not clips:
            raise ValueError("Cremad needs at least one clip")
        if pick not in PICKS:
            raise ValueError(f"pick must be one of {PICKS}, got {pick!r}")
        if num_frames < 1:
            raise ValueError(f"num_frames must be at least 1, got {num_frames}")
        self.clips = tuple(clips)
        self.sample_rate = sample_rate
        self.num_samples = round(sample_rate * seconds)
        self.bins = n_fft // 2 + 1
        self.spectrogram_frames = 1 + self.num_samples // hop_length
        self.transform = transform
        self.num_frames = num_frames
        self.pick = pick
        first = self.clips[0].audio
        is_wave = first.suffix.lower() in sound.WAVE_SUFFIXES
        self.audio_shape = (self.num_samples,) if is_wave else self._read_audio(first).shape

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Tensor | int]:
        clip = self.clips[index]
        try:
            return self._sample(clip)
        except DataError as error:
            raise DataError(f"{error} ({clip.listed})") from error

    def _sample(self, clip: Clip) -> dict[str, Tensor | int]:
        audio = self._read_audio(clip.audio)
        if audio.shape != self.audio_shape:
            raise DataError(
                f"{clip.audio}: audio of shape {audio.shape}, but {self.clips[0].audio} has "
                f"{self.audio_shape}; all clips must be waveforms, or spectrograms of one shape"
            )
        chosen = frame_indices(len(clip.frames), self.num_frames, self.pick)
        frames = [self.transform(picture.read_frame(clip.frames[i])) for i in chosen]
        return {"audio": torch.from_numpy(audio), "visual": torch.stack(frames, dim=1), "label": clip.label}

    def _read_audio(self, path: Path) -> np.ndarray:
        audio = sound.read_audio(path, self.sample_rate)
        if audio.ndim == 1:
            return sound.fit_length(audio, self.num_samples)
        return sound.fit_length(audio, self.spectrogram_frames) if audio.shape[0] == self.bins else audio


def frame_indices(available: int, wanted: int, pick: str) -> list[int]:
    """Sorted indices of the frames to use, see ``pick`` of :class:`Cremad`.

    Args:
        available: frames that there are, at least 1.
        wanted: frames to use, at least 1.
        pick: ``"drawn"`` (from torch's default CPU generator), ``"spread"`` or ``"first"``.

    Returns:
        ``wanted`` indices below ``available``; they repeat only if ``wanted > available``.
    """
    if pick == "drawn" and wanted <= available:
        return sorted(torch.randperm(available)[:wanted].tolist())
    if pick == "first" and wanted <= available:
        return list(range(wanted))
    return [(2 * i + 1) * available // (2 * wanted) for i in range(wanted)]


# --------------------------------------------------------------------------------------- decoded waveforms


def write_wav_pkl(root: str | os.PathLike, *, sample_rate: int = 22050, workers: int = 0) -> list[str]:
    """Write ``wav_pkl/NAME.pkl`` for every ``AudioWAV/NAME.wav`` under ``root``, with a progress bar.

    Whole files of this rate are kept, so that it can be run again; a file that fails does not stop the
    others. What was written, kept and failed is printed at the end.

    Args:
        root: the data root.
        sample_rate: rate to store, in Hz (released code: 22,050, CREMA-D/dataset/CramedDataset.py:59).
        workers: processes; 0 does the work in this one.

    Returns:
        One line for each file that failed: its name and why.

    Raises:
        DataNotFoundError: no ``AudioWAV`` folder, or no wav files in it.
        BssError: a worker process died.
    """
    from tqdm import tqdm

    if sample_rate < 1 or workers < 0:
        raise RecipeError(f"--sample-rate must be above 0 and --workers at least 0, got {sample_rate} and {workers}")
    source, target = Path(root) / "AudioWAV", Path(root) / "wav_pkl"
    names = sorted(name for name in _visible(source, os.DirEntry.is_file) if name.lower().endswith(".wav"))
    if not names:
        raise DataNotFoundError(f"no wav files in {source}; CREMAD/README.md describes the layout")
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{target} cannot be made: {error.strerror}; training also works without it") from error
    jobs = [(source / name, target / f"{os.path.splitext(name)[0]}.pkl", sample_rate) for name in names]
    written, failures = 0, []
    for done, failure in tqdm(_outcomes(jobs, workers), total=len(jobs), unit="file", desc="wav_pkl"):
        written += done
        failures += [failure] if failure else []
    print(f"{target}: {written} written, {len(jobs) - written - len(failures)} kept, {len(failures)} failed")
    failures.sort()
    for failure in failures[:20]:
        print(f"  {failure}")
    if len(failures) > 20:
        print(f"  ... and {len(failures) - 20} more")
    return failures


def _outcomes(jobs: list[tuple[Path, Path, int]], workers: int) -> Iterator[tuple[bool, str | None]]:
    """Results of :func:`_decode`, in the order in which they finish."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    if workers == 0:
        yield from map(_decode, jobs)
        return
    with _interrupt_noted() as interrupted:
        pool = ProcessPoolExecutor(workers, initializer=_ignore_interrupt)
        try:
            for future in as_completed([pool.submit(_decode, job) for job in jobs]):
                yield future.result()
                if interrupted.is_set():
                    raise KeyboardInterrupt
        except BrokenProcessPool as error:
            raise BssError("a worker process died (out of memory?); run again with fewer --workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _interrupt_noted() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event: raised in the middle of the pool's own work it can leave a lock behind, and a hang."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _decode(job: tuple[Path, Path, int]) -> tuple[bool, str | None]:
    """(written, failure) of one file."""
    try:
        return sound.write_waveform_pickle(*job), None
    except DataError as error:
        return False, str(error)
    except OSError as error:
        return False, f"{job[1]} cannot be written: {error.strerror or error}"


def _ignore_interrupt() -> None:
    """Ctrl-C reaches the whole process group; only the parent answers, and the workers finish their file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


# -------------------------------------------------------------------------------------- generated data set

_SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
_FIRST_ACTOR = 2001  # the real actors are 1001 to 1091


def write_sample(
    root: str | os.PathLike,
    *,
    per_class: int = 40,
    test_per_class: int = 15,
    seconds: float = 1.0,
    sample_rate: int = 16000,
    image_size: int = 96,
    seed: int = 0,
) -> Path:
    """Write a small generated data set in the layout of the real one: loud in the sound, faint in the picture.

    Clips last 0.6 to 1.4 times ``seconds`` and have two frames. Actors are numbered from 2001, so that no
    clip can be taken for a real one, and no actor of the test list is in the training list. The tree appears
    under its name only when it is whole; one with the same parameters is used again.

    Args:
        root: folder to make; its parent is made too.
        per_class: training clips of each class.
        test_per_class: test clips of each class.
        seconds: mean length of a clip.
        sample_rate: in Hz.
        image_size: height and width of a frame in pixels.
        seed: non-negative; everything is a function of the arguments.

    Returns:
        ``root``.

    Raises:
        DataError: ``root`` holds something else, or a sample of other parameters; nothing is overwritten.
    """
    root = Path(root)
    parameters = {
        "data set": "cremad",
        "version": 1,
        "per_class": per_class,
        "test_per_class": test_per_class,
        "seconds": seconds,
        "sample_rate": sample_rate,
        "image_size": image_size,
        "seed": seed,
    }
    if _holds_sample(root, parameters):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        building.chmod(0o755)
        _write_tree(building, parameters)
        (building / MARKER).write_text(json.dumps(parameters, indent=1) + "\n", encoding="utf-8")
        try:
            os.replace(building, root)
        except OSError:
            # Another process was faster: its tree is as good, if it is the same.
            if not _holds_sample(root, parameters):
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def _holds_sample(root: Path, parameters: dict) -> bool:
    """Whether ``root`` is a whole sample of these parameters; DataError if it is anything but free."""
    if not root.exists():
        return False
    if root.is_dir() and not any(root.iterdir()):
        return False
    try:
        stored = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{root} holds something else than a generated sample; choose another folder") from None
    if not all((root / "annotations" / f"{split}.csv").is_file() for split in SPLITS):
        raise DataError(f"{root} holds a damaged sample: delete this folder, and --sample writes it again")
    if stored != parameters:
        raise DataError(f"{root} holds a sample of other parameters; delete it or choose another folder")
    return True


def _write_tree(root: Path, parameters: dict) -> None:
    import soundfile
    from torchvision.io import write_jpeg

    (root / "annotations").mkdir()
    (root / "AudioWAV").mkdir()
    actor = _FIRST_ACTOR
    for split, per_class in (("train", parameters["per_class"]), ("test", parameters["test_per_class"])):
        rows = []
        for label, emotion in enumerate(CLASSES):
            for take in range(per_class):
                name = f"{actor + take // len(_SENTENCES)}_{_SENTENCES[take % len(_SENTENCES)]}_{emotion}_XX"
                entropy = (parameters["seed"], SPLITS.index(split), label, take)
                rng = np.random.default_rng(mixed_seed("cremad sample", *entropy))
                waveform, frames = _sample_clip(rng, label, parameters)
                wav = root / "AudioWAV" / f"{name}.wav"
                soundfile.write(wav, waveform, parameters["sample_rate"], subtype="PCM_16")
                folder = root / "Image-01-FPS" / name
                folder.mkdir(parents=True)
                for number, frame_HWC in enumerate(frames, start=1):
                    image = torch.from_numpy(frame_HWC).permute(2, 0, 1).contiguous()
                    write_jpeg(image, str(folder / f"{number:05d}.jpg"), quality=90)
                rows.append((name, emotion))
        order = np.random.default_rng(mixed_seed("cremad rows", parameters["seed"])).permutation(len(rows))
        text = "".join(f"{rows[i][0]},{rows[i][1]}\n" for i in order)
        (root / "annotations" / f"{split}.csv").write_text(text, encoding="utf-8")
        actor += math.ceil(per_class / len(_SENTENCES))


def _sample_clip(rng: np.random.Generator, label: int, parameters: dict) -> tuple[np.ndarray, list[np.ndarray]]:
    """Waveform and two frames of one class.

    Classes differ in pitch, in whether it falls, stays or rises, and in tremolo, so that a network that pools
    over the spectrogram can tell them apart; and in the tint and the direction of the stripes.
    """
    waveform = generate.tone(
        rng,
        seconds=parameters["seconds"] * rng.uniform(0.6, 1.4),
        sample_rate=parameters["sample_rate"],
        frequency=300 * 1.5**label,
        sweep=(-1.0, 0.0, 1.0)[label % 3],
        tremolo=(0.0, 8.0)[label // 3],
    )
    look = {"size": parameters["image_size"], "angle": 45.0 * (label % 3), "hue": 60.0 * label}
    return waveform, [generate.texture(rng, **look) for _ in range(2)]
