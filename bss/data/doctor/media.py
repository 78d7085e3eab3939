"""Every file of a data tree, decoded once, in parallel: what it holds, and what is wrong with it."""

import contextlib
import hashlib
import math
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bss.data import file_heads, safe_pickle
from bss.data.datasets.listing import is_picture
from bss.data.transforms import audio as sound
from bss.data.transforms import containers
from bss.data.transforms import image as picture
from bss.utils import processes
from bss.utils.errors import BssError, DataError, first_line
from bss.utils.filesystem import reading

BATCH = 32
"""Files that a worker gets at a time, a few hundredths of a second each, since Ctrl-C waits for them."""


VIDEOS = 2
"""The same where there are videos among them, of a second each."""


_PEEKED_RATE = 22050  # for arrays that do not tell their rate: any will do, they are not resampled


_HASHED_BYTES = 1 << 20


_GLANCED_BYTES = 1 << 26  # of larger files the decoders read no more than they must


_NEARLY_FLAT = 2  # steps of 255 that the pixels of a picture of one colour may differ by where it was decoded smaller


class Job(NamedTuple):
    """One file to look at.

    Attributes:
        path: the file.
        kind: what the data set takes it for (``"audio"``, ``"frames"``), a key of a sample's ``files``.
        hashed: whether its SHA-256 is wanted.
        window: the frames ``[start, stop)`` of a video that training reads; None for the whole.
    """

    path: Path
    kind: str
    hashed: bool = False
    window: tuple[int, int] | None = None


class Facts(NamedTuple):
    """What a file holds; fields that do not apply are None.

    Attributes:
        nothing: why it holds nothing (empty, a Git-LFS pointer, a wav of zero samples).
        damage: why it cannot be decoded.
        complaint: what the decoder said about a file that it decoded all the same.
        decoded: False for a file of a kind that nothing here can decode.
        digest: SHA-256 of its bytes, where wanted and where they can be read.
        seconds: length of a sound or video.
        peak: largest absolute value of a waveform, in [0, 1].
        shape: (height, width) of an image.
        flat: an image of one colour.
    """

    nothing: str | None = None
    damage: str | None = None
    complaint: str | None = None
    decoded: bool = True
    digest: bytes | None = None
    seconds: float | None = None
    peak: float | None = None
    shape: tuple[int, int] | None = None
    flat: bool = False

    @property
    def usable(self) -> bool:
        """Whether it can be trained on."""
        return not self.nothing and not self.damage


# ------------------------------------------------------------------------------------------------------ one file


def look(job: Job) -> Facts:
    """Decode one file.

    Whatever is in it, the answer is a :class:`Facts`: a decoder that fails in a way of its own is a damaged file too.

    Raises:
        BssError: a package that is needed for such files is not installed.
    """
    with contextlib.suppress(DataError, OSError, ImportError):  # the thorough look meets it too, and says it
        if (facts := _at_a_glance(job)) is not None:
            return facts
    with _decoder_messages() as messages:
        try:
            facts = _decoded(job)
        except DataError as error:
            return Facts(damage=str(error).removeprefix(f"{job.path}: "))
        except ImportError as error:
            raise BssError(f"{job.path}: such files cannot be checked: {error}; see requirements.txt") from error
        except Exception as error:
            # Decoders raise what they like; one bad file must not end the check of all the others.
            return Facts(damage=f"the decoder failed ({type(error).__name__}: {first_line(error)})")
    return facts._replace(complaint=messages[0]) if facts.usable and messages else facts


def _at_a_glance(job: Job) -> Facts | None:
    """What an ordinary file holds, a whole JPEG or a wav of 16 bits, out of one reading of it; None of all others."""
    picture_wanted = is_picture(job.path, job.kind)
    if not picture_wanted and job.path.suffix.lower() != ".wav":
        return None
    status = os.stat(job.path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _GLANCED_BYTES:
        return None
    with open(job.path, "rb", buffering=0) as file:
        data = file.read()
    if picture_wanted:
        seen = picture.glance(data)
        if seen is None or int(seen.pixels.max()) - int(seen.pixels.min()) <= _NEARLY_FLAT:
            return None
        facts = Facts(shape=seen.shape)
    else:
        stored = sound.stored_samples(data)
        if stored is None:
            return None
        peak = max(int(stored.samples_T.max()), -int(stored.samples_T.min())) / 2**15
        facts = Facts(seconds=len(stored.samples_T) / stored.rate, peak=peak)
    return facts._replace(digest=hashlib.sha256(data).digest()) if job.hashed else facts


def _decoded(job: Job) -> Facts:
    path, suffix = job.path, job.path.suffix.lower()
    with reading(path):
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            return Facts(damage="not a regular file")
    if nothing := file_heads.absence(*file_heads.read_head(path)):
        return Facts(nothing=nothing)
    if is_picture(path, job.kind):
        facts = _picture_facts(path)
    elif suffix == ".npy" and job.kind != "audio":
        facts = _array_facts(path)
    elif suffix in sound.AUDIO_SUFFIXES:
        facts = _sound_facts(path, suffix)
    elif suffix in containers.VIDEO_SUFFIXES:
        facts = _video_facts(path, job.window)
    else:
        facts = Facts(decoded=False)
    return facts._replace(digest=_digest(path)) if job.hashed else facts


def _picture_facts(path: Path) -> Facts:
    pixels_HW3 = picture.read_pixels(path)
    complaint = _complaint_of_libjpeg(path.read_bytes())
    # libjpeg fills what is missing with grey and goes on: a decoded image, and half of it is not there.
    if complaint and "premature end" in complaint.lower():
        return Facts(damage=f"a part is missing ({complaint})")
    return Facts(shape=pixels_HW3.shape[:2], flat=_is_flat(pixels_HW3), complaint=complaint)


def _is_flat(pixels_HW3: np.ndarray) -> bool:
    first = pixels_HW3[:1, :1]
    return bool((pixels_HW3[0] == first[0]).all()) and bool((pixels_HW3 == first).all())


def _complaint_of_libjpeg(data: bytes) -> str | None:
    """What libjpeg finds wrong with a picture that it decodes nevertheless; Pillow keeps that to itself."""
    import simplejpeg

    if not simplejpeg.is_jpeg(data):
        return None
    try:
        simplejpeg.decode_jpeg(data, strict=True)
    except ValueError as error:
        return first_line(error)
    return None


def _sound_facts(path: Path, suffix: str) -> Facts:
    rate = _stored_rate(path, suffix)
    array = sound.read_audio(path, rate or _PEEKED_RATE)
    if array.ndim == 2:  # a finished spectrogram
        return Facts()
    return Facts(seconds=len(array) / rate if rate else None, peak=float(np.abs(array).max()))


def _stored_rate(path: Path, suffix: str) -> int | None:
    """A sound file's own rate in Hz, so that nothing is resampled; None where it is not stored or cannot be read."""
    import soundfile

    try:
        if suffix in sound.WAVE_SUFFIXES:
            return soundfile.info(path).samplerate
        content: Any = None
        if suffix == ".pkl":
            content = safe_pickle.load(path)
        elif suffix == ".pt":
            import torch

            content = torch.load(path, map_location="cpu", weights_only=True)
        return int(content["sample_rate"]) if isinstance(content, dict) else None
    except Exception:
        return None  # read_audio says what is wrong, in its own words


def _array_facts(path: Path) -> Facts:
    """An ``.npy`` by its header and its length: optical flow is too big to be read for a look."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
            header, size = file.tell(), os.fstat(file.fileno()).st_size
    except ValueError as error:
        return Facts(damage=f"not a readable npy file: {first_line(error)}")
    if dtype.hasobject:
        return Facts(damage="an npy file of Python objects, which is code: refused")
    claimed = math.prod(shape) * dtype.itemsize
    if claimed == 0:
        return Facts(nothing=f"an npy file without values (shape {shape})")
    if size - header < claimed:
        return Facts(damage=f"a truncated npy file ({size - header:,} of {claimed:,} bytes of values)")
    return Facts()


def _video_facts(path: Path, window: tuple[int, int] | None) -> Facts:
    """A video by decoding what training reads of it, or all of it where that is not known."""
    from bss.data.transforms import video  # with PyTorch, which nothing else here needs

    if window:
        video.read_video(path, *window)
        return Facts()
    video.count_frames(path)
    extent = containers.extent_of(path)
    return Facts(seconds=extent.seconds if extent else None)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with reading(path), open(path, "rb") as file:
        while block := file.read(_HASHED_BYTES):
            digest.update(block)
    return digest.digest()


@contextlib.contextmanager
def _decoder_messages() -> Iterator[list[str]]:
    """Collect the lines that C libraries (FFmpeg, for one) print about a file, in place of showing them."""
    lines: list[str] = []
    before = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                with warnings.catch_warnings(action="ignore"):
                    yield lines
            finally:
                os.dup2(before, 2)
                file.seek(0)
                text = file.read(4096).decode("ascii", "replace")
                lines += [line.strip() for line in text.splitlines() if line.strip()]
    finally:
        os.close(before)


# ----------------------------------------------------------------------------------------------------- all files


def look_at_all(jobs: Sequence[Job], *, workers: int) -> dict[Path, Facts]:
    """Decode many files, with a progress bar on stderr.

    A file whose decoder takes the process down with it is found, named and passed over.

    Args:
        jobs: each file once.
        workers: processes; 0 does the work in this one.

    Returns:
        Facts by path, in the order of the jobs.

    Raises:
        RecipeError: a negative number of workers.
        BssError: see :func:`look`.
        KeyboardInterrupt: after Ctrl-C, when the files under way are finished.
    """
    from tqdm import tqdm

    slow = any(job.path.suffix.lower() in containers.VIDEO_SUFFIXES for job in jobs)
    outcomes = processes.each(look, jobs, workers, died=_crashed, start=_one_thread, batch=VIDEOS if slow else BATCH)
    bar = tqdm(outcomes, total=len(jobs), unit="file", desc="decoding", disable=None, leave=False)
    found = {job.path: facts for job, facts in bar}
    return {job.path: found[job.path] for job in jobs}


def _crashed(job: Job) -> Facts:
    return Facts(damage="its decoder crashed, or ran out of memory")


def _one_thread() -> None:
    # There are as many processes as cores already; and OpenMP may hang in a forked process.
    os.environ["OMP_NUM_THREADS"] = "1"  # of PyTorch, where a file is the first to need it
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
