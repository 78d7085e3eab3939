"""Make a data root of CREMA-D from a clone of the authors' repository: wav files, and one frame a second.

Beside it: sound files to pickles of decoded waveforms, for ``CREMAD/sound_preprocessing.py``.
"""

import itertools
import os
import shutil
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bss.data import file_heads, safe_pickle
from bss.data.datasets import nearby
from bss.data.datasets.cremad import CLASSES, DATA_SET, DEMOGRAPHICS
from bss.data.datasets.listing import visible
from bss.data.prepare import jobs, lists, media
from bss.data.transforms.audio import WAVE_SUFFIXES, conditioned, mono, read_waveform
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.filesystem import whole_file
from bss.utils.processes import check_workers

DESCRIPTION = """\
a clone of CREMA-D with its Git-LFS files (VideoFlash/*.flv, AudioWAV/*.wav), and OGM-GE's lists
train.csv and test.csv (github.com/GeWu-Lab/OGM-GE_CVPR2022, data/CREMAD; rows like
1088_IOM_NEU_XX,NEU), which are not part of it: put them into the clone, into its annotations/
or into ROOT/annotations/"""


LONGEST = 120.0
"""Seconds; clips last 1 to 5 s, but one is known, 1064_IEO_DIS_MD, that lasts a minute."""


LIBROSA_SUFFIXES = (".mp3", ".opus", ".aiff", ".aif", ".au", ".m4a", ".aac", ".wma")
"""Sound files that :func:`read_other` reads; where a clip has several files, those of training's own kinds go first."""


def prepare(source: Path, out: Path, *, workers: int, force: bool = False) -> list[str]:
    """Write the layout that training reads: ``annotations/{train,test}.csv``, ``AudioWAV/`` and ``Image-01-FPS/``.

    The actors' age and sex, by which folds are dealt, are linked (or copied) too where the clone has their file.

    All clips that the clone or a list has are prepared. A wav is linked (or copied); one that is missing is taken from
    the video, at its own rate. Without lists the media are prepared all the same, and the lists count as failures.

    Args:
        source: the clone.
        out: the data root; may be the clone itself.
        workers: processes; 0 does the work in this one.
        force: replace sounds and folders of pictures that are there and were not made here.

    Returns:
        One line for each failure. Everything is printed as well.

    Raises:
        DataNotFoundError: no videos in the clone.
        DataError: all its videos are Git-LFS pointers; a list that cannot be read or written.
    """
    videos = {name: files[0] for name, files in media.find_videos(source / "VideoFlash").items()}
    if not videos:
        folder = source / "VideoFlash"
        why = nearby.dead_link(folder) or f"no videos in {folder}"
        raise DataNotFoundError(f"{DATA_SET.title}: {why}.\n--source must be {DESCRIPTION}")
    _refuse_pointers(list(videos.values()))
    wavs = {Path(name).stem: source / "AudioWAV" / name for name in _wav_names(source / "AudioWAV")}
    clips_of, failures = lists.read_splits(DATA_SET, (source, out))
    listed = {}
    for split, clips in clips_of.items():
        rows = "".join(f"{clip.name},{CLASSES[clip.label]}\n" for clip in clips)
        lists.write(out / DATA_SET.places[split][0], rows, clips)
        listed |= {clip.name: clip.listed for clip in clips}
    if (source / DEMOGRAPHICS).is_file():
        jobs.link_or_copy(source / DEMOGRAPHICS, out / DEMOGRAPHICS)
    # Every clip that there is anything of, and where it is listed.
    names = {**dict.fromkeys(sorted({*videos, *wavs}), "in no list"), **listed}

    folder = out / "Image-01-FPS"
    pictures = [media.FrameJob(videos[name], folder / name, LONGEST, force) for name in names if name in videos]
    missing = [
        f"{name}: no video in {source / 'VideoFlash'} ({why})" for name, why in names.items() if name not in videos
    ]
    failures += jobs.fill(folder, media.write_pictures, pictures, workers=workers, failures=missing)

    folder = out / "AudioWAV"
    sounds: list[jobs.LinkJob | media.SoundJob] = []
    missing = []
    for name, why in names.items():
        target = folder / f"{name}.wav"
        if name in wavs:
            sounds.append(jobs.LinkJob(wavs[name], target, force))
        elif name in videos:
            sounds.append(media.SoundJob(videos[name], target, LONGEST, force=force))
        else:
            missing.append(f"{name}: neither a wav nor a video in {source} ({why})")
    failures += jobs.fill(folder, _write_sound, sounds, workers=workers, failures=missing)
    return failures


def _refuse_pointers(videos: list[Path]) -> None:
    """Say once what every file would fail with, if the clone was made without Git-LFS."""
    problems = list(itertools.takewhile(bool, map(_absence, videos)))
    if len(problems) == len(videos):
        raise DataError(f"{videos[0]}: {problems[0]}.\nThe same holds for all {len(videos)} videos beside it, or worse")


def _absence(video: Path) -> str | None:
    """Why a video holds nothing; None also for one that cannot be read, which fails in its turn."""
    try:
        return file_heads.absence(*file_heads.read_head(video))
    except DataError:
        return None


def _write_sound(job: jobs.LinkJob | media.SoundJob) -> jobs.Made:
    return jobs.take_over(job) if isinstance(job, jobs.LinkJob) else media.write_sound(job)


# ---- decoded waveforms ---------------------------------------------------------------------------------------------


class PickleJob(NamedTuple):
    """A sound file to decode, the rate to store in Hz, and whether a pickle of others is replaced."""

    source: Path
    target: Path
    sample_rate: int
    force: bool = False


def write_wav_pkl(
    root: str | os.PathLike, *, sample_rate: int = 22050, workers: int = 0, force: bool = False
) -> list[str]:
    """Write ``wav_pkl/NAME.pkl`` for every sound ``AudioWAV/NAME.*`` under ``root``, with a progress bar.

    Wav, flac and ogg files are decoded as training decodes them, others by :func:`read_other`. Whole files of this rate
    are kept, so that it can be run again; a file that fails does not stop the others. What was written, kept and failed
    is printed at the end.

    Args:
        root: the data root.
        sample_rate: rate to store, in Hz (released code: 22,050, CREMA-D/dataset/CramedDataset.py:59).
        workers: processes; 0 does the work in this one.
        force: replace pickles that are there and hold something else than what is written here.

    Returns:
        One line for each file that failed: its name and why.

    Raises:
        RecipeError: a rate below 1 or a negative number of workers.
        DataNotFoundError: no ``AudioWAV`` folder, or no sounds in it.
        DataError: ``wav_pkl`` cannot be made.
    """
    if sample_rate < 1:
        raise RecipeError(f"--sample-rate must be above 0, got {sample_rate}")
    check_workers(workers)
    source, target = Path(root) / "AudioWAV", Path(root) / "wav_pkl"
    names = _sound_names(source)
    if not names:
        raise DataNotFoundError(f"no wav files in {source}, nor other sounds; {DATA_SET.layout}")
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"{target} cannot be made: {error.strerror}; training also works without it") from error
    work = [PickleJob(source / name, target / f"{os.path.splitext(name)[0]}.pkl", sample_rate, force) for name in names]
    return jobs.fill(target, _write_pickle, work, workers=workers)


def _write_pickle(job: PickleJob) -> bool:
    return write_waveform_pickle(job.source, job.target, job.sample_rate, force=job.force)


def _wav_names(folder: Path) -> list[str]:
    return sorted(name for name in visible(folder, os.DirEntry.is_file) if name.lower().endswith(".wav"))


def _sound_names(folder: Path) -> list[str]:
    """The sound files in a folder, one for each clip, sorted."""
    names, of_clip = visible(folder, os.DirEntry.is_file), {}
    for suffix in reversed((*WAVE_SUFFIXES, *LIBROSA_SUFFIXES)):  # the first of these is put in last, and stays
        of_clip |= {Path(name).stem: name for name in names if name.lower().endswith(suffix)}
    return sorted(of_clip.values())


def read_other(path: str | os.PathLike, sample_rate: int) -> np.ndarray:
    """Read a sound file of a kind that training does not read itself, with ``librosa.load``.

    It decodes mp3, opus, aiff and au itself (libsndfile does), and everything else, m4a, aac and wma among them, by the
    program ffmpeg, if there is one.

    Args:
        path: the sound file, of :data:`LONGEST` seconds at most.
        sample_rate: wanted rate in Hz.

    Returns:
        (T,) float32 in [-1, 1], channels mixed by :func:`bss.data.transforms.audio.mono`.

    Raises:
        DataError: a Git-LFS pointer or an empty file; one that cannot be decoded, that lasts longer, or that only
            ffmpeg decodes, which is not there; see also :func:`bss.data.transforms.audio.conditioned`.
    """
    import audioread
    import librosa
    import soundfile

    path = Path(path)
    if problem := file_heads.absence(*file_heads.read_head(path)):
        raise DataError(f"{path}: {problem}")
    try:
        # Where libsndfile does not know a format, librosa 0.11 warns (that it tries audioread, and that this will be
        # gone in librosa 1.0). Without ffmpeg it then raises NoBackendError, with an empty message.
        with warnings.catch_warnings(action="ignore"):
            channels, rate = librosa.load(path, sr=None, mono=False, duration=LONGEST + 1)
    except audioread.NoBackendError as error:
        if not shutil.which("ffmpeg"):
            raise DataError(
                f"{path}: libsndfile cannot decode it, and the program ffmpeg, which librosa asks next, is not "
                "installed: install it, or make a wav elsewhere (ffmpeg -i IN OUT.wav)"
            ) from error
        raise DataError(f"{path}: cannot be decoded as audio, not by ffmpeg either") from error
    except (
        audioread.DecodeError,
        librosa.LibrosaError,
        soundfile.SoundFileError,
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
    ) as error:
        raise DataError(f"{path}: cannot be decoded as audio: {error}") from error
    waveform_T = mono(np.atleast_2d(channels))
    if len(waveform_T) > LONGEST * rate:
        raise DataError(f"{path}: lasts longer than {LONGEST:g} s, which no clip of this data set does: cut it first")
    return conditioned(waveform_T, rate, sample_rate, path)


def write_waveform_pickle(
    source: str | os.PathLike, target: str | os.PathLike, sample_rate: int, *, force: bool = False
) -> bool:
    """Decode a sound file once, for :func:`bss.data.transforms.audio.read_audio` to read quickly every epoch.

    A file under its final name is whole.

    Args:
        source: the sound file; its suffix decides how it is read, see :func:`write_wav_pkl`.
        target: the ``.pkl`` to write: ``{"waveform": (T,) float32, "sample_rate": Hz}``, protocol 4.
        sample_rate: rate to store, in Hz.
        force: whether a ``target`` that holds something else is replaced.

    Returns:
        False if ``target`` was there already, whole, at this rate and not older than ``source``, and was kept; True if
        it was written.

    Raises:
        OccupiedError: ``target`` holds something else, or is damaged.
        DataError: ``source`` cannot be read.
        OSError: ``target`` cannot be written.
    """
    import pickle

    target = Path(target)
    if jobs.holds_something(target):
        rate = _stored_rate(target, force=force)
        if rate == sample_rate and target.stat().st_mtime >= Path(source).stat().st_mtime:
            return False
    read = read_waveform if Path(source).suffix.lower() in WAVE_SUFFIXES else read_other
    content = {"waveform": read(source, sample_rate), "sample_rate": int(sample_rate)}
    with whole_file(target) as temporary:
        temporary.write_bytes(pickle.dumps(content, protocol=4))
    return True


def _stored_rate(path: Path, *, force: bool) -> object:
    """The rate in a pickle as :func:`write_waveform_pickle` writes it; None if it is to be written anew.

    Raises:
        OccupiedError: it holds something else, such as the bare arrays of the released code, or cannot be read, and it
            is not replaced by force.
    """
    try:
        stored = safe_pickle.load(path)
        other = f"holds a {type(stored).__name__} of something else"
    except DataError as error:
        stored, other = None, f"cannot be read ({str(error).removeprefix(f'{path}: ')})"
    if isinstance(stored, dict) and stored.keys() == {"waveform", "sample_rate"}:
        whole = isinstance(stored["waveform"], np.ndarray) and stored["waveform"].ndim == 1
        return stored["sample_rate"] if whole else None
    if not force:
        raise jobs.OccupiedError(path, other)
    return None
