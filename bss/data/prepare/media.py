"""Take pictures and sound out of video files: one picture a second as jpeg, the sound as a 16-bit wav.

PyAV decodes, so the content of a file decides what it is and not its suffix. Whatever cannot be used is a DataError
with the file's name: a container that was cut off (see :mod:`bss.data.transforms.containers`), a stream that is not
there, a codec that FFmpeg lacks, a damaged packet.
"""

import contextlib
import io
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bss.data import file_heads
from bss.data.datasets.listing import head_problem, visible
from bss.data.prepare import jobs
from bss.data.transforms import audio as sound
from bss.data.transforms import containers
from bss.data.transforms.containers import VIDEO_SUFFIXES, video_damage
from bss.data.transforms.image import FRAME_SUFFIXES, MAX_PIXELS, picture_format
from bss.utils import filesystem
from bss.utils.errors import BssError, DataError, first_line

SUFFIXES = (*VIDEO_SUFFIXES, ".webm")
"""Suffixes of the videos that are looked for, compared in lower case."""


_JPEG_QUALITY = 95


_PCM_SCALE = 2.0**15


class FrameJob(NamedTuple):
    """A video whose pictures are wanted.

    Attributes:
        source: the video.
        target: the folder for its pictures.
        longest: seconds; a longer video was never cut to the clip that it should be.
        force: whether a folder that is there and holds something else is replaced.
    """

    source: Path
    target: Path
    longest: float
    force: bool = False


class SoundJob(NamedTuple):
    """A video whose sound is wanted.

    Attributes:
        source: the video.
        target: the wav to write.
        longest: see :class:`FrameJob`.
        sample_rate: Hz to resample to; None keeps the stream's own.
        force: whether a wav that is there and was not made here is replaced.
    """

    source: Path
    target: Path
    longest: float
    sample_rate: int | None = None
    force: bool = False


# ---- which frames --------------------------------------------------------------------------------------------------


def picture_counts(times: Iterable[Fraction]) -> Iterator[int]:
    """Count for each frame of a video how many pictures of a series at one a second are taken from it.

    Picture k is the first frame that is shown k whole seconds after the first one, or later. A video gives
    ``floor(last - first) + 1`` pictures, at any and at a varying frame rate: where no frame falls into a second, the
    next one stands for it too. A time stamp that goes backwards counts as the one before.

    Args:
        times: time stamps of the frames in seconds, in the order in which they are shown.
    """
    first, due = None, 0
    for time in times:
        first = time if first is None else first
        until = max(due, (time - first) // 1 + 1)
        yield until - due
        due = until


def _times(frames: Iterable[Any], frame_rate: Fraction | None, path: Path) -> Iterator[tuple[Fraction, Any]]:
    """Yield the frames with their time stamps; one without follows the frame before by the stream's mean distance."""
    time = None
    for frame in frames:
        if frame.pts is not None and frame.time_base:
            time = frame.pts * frame.time_base
        elif time is None:
            time = Fraction(0)
        elif frame_rate:
            time += 1 / frame_rate
        else:
            raise DataError(f"{path}: its frames have no time stamps, and its header gives no frame rate")
        yield time, frame


# ---- decoding ------------------------------------------------------------------------------------------------------


def read_pictures(path: str | os.PathLike, *, longest: float) -> Iterator[np.ndarray]:
    """Decode a video and yield one picture for each second, see :func:`picture_counts`.

    Pictures are turned upright where the container says so (by quarter turns), and have the size of the video.

    Args:
        path: a video of any kind that FFmpeg reads.
        longest: seconds; see :class:`FrameJob`.

    Yields:
        (H, W, 3) uint8, RGB.

    Raises:
        DataError: naming the file: no video, no video stream or no frame in it; truncated or damaged; longer than
            allowed; pictures of more than :data:`bss.data.transforms.image.MAX_PIXELS` pixels.
    """
    path = Path(path)
    with _opened(path, longest) as container:
        streams = [stream for stream in container.streams.video if not containers.is_cover(stream)]
        if not streams:
            raise DataError(f"{path}: has no video stream")
        stream = streams[0]
        _refuse_without_decoder(stream, path)
        stream.codec_context.thread_count = 1  # files are decoded side by side
        if stream.codec_context.width * stream.codec_context.height > MAX_PIXELS:
            pixels = f"{stream.codec_context.width} x {stream.codec_context.height}"
            raise DataError(f"{path}: pictures of {pixels} pixels; at most {MAX_PIXELS} are decoded")
        # One of its own: that of PyAV's thread has helpers which a forked process waits for without end (PyAV 19.0.2).
        converter = containers.load_av().video.reformatter.VideoReformatter()
        # Two iterators one step apart: a whole clip of frames would not fit into memory.
        ahead, stamped = itertools.tee(_times(container.decode(stream), stream.average_rate, path))
        empty = True
        for (_, frame), count in zip(stamped, picture_counts(time for time, _ in ahead), strict=True):
            empty = False
            if count:
                picture_HWC = _upright(converter.reformat(frame, format="rgb24", threads=1), frame.rotation)
                yield from itertools.repeat(picture_HWC, count)
        if empty:
            raise DataError(f"{path}: zero frames can be decoded")


def _upright(frame: Any, rotation: int) -> np.ndarray:
    """A frame of RGB turned upright, (H, W, 3) uint8; the rotation is in degrees, counterclockwise."""
    picture_HWC = frame.to_ndarray()
    quarters, rest = divmod(rotation, 90)
    return picture_HWC if rest else np.rot90(picture_HWC, quarters)


def read_sound(path: str | os.PathLike, *, longest: float) -> tuple[np.ndarray, int]:
    """Decode the sound of a video.

    Args:
        path: a video of any kind that FFmpeg reads.
        longest: seconds; see :class:`FrameJob`.

    Returns:
        (T,) float32 in [-1, 1], channels mixed by :func:`bss.data.transforms.audio.mono`, and its rate in Hz.

    Raises:
        DataError: naming the file: no sound stream or no sample in it; samples that are not finite; truncated or
            damaged; longer than allowed.
    """
    av, path = containers.load_av(), Path(path)
    with _opened(path, longest) as container:
        if not container.streams.audio:
            raise DataError(f"{path}: has no sound (no audio stream)")
        stream = container.streams.audio[0]
        _refuse_without_decoder(stream, path)
        to_floats = av.AudioResampler(format="fltp")
        pieces: list[np.ndarray] = []
        rate = 0
        for frame in container.decode(stream):
            if rate and frame.rate != rate:
                raise DataError(f"{path}: its sound changes from {rate} to {frame.rate} Hz")
            rate = frame.rate
            pieces += [part.to_ndarray() for part in to_floats.resample(frame)]
    if len({len(piece_CT) for piece_CT in pieces}) == 1:
        pieces = [np.concatenate(pieces, axis=1)]  # whether channels cancel one another, the whole sound says
    waveform_T = np.concatenate([sound.mono(piece_CT) for piece_CT in pieces]) if pieces else np.zeros(0, np.float32)
    if not waveform_T.size:
        raise DataError(f"{path}: its sound has zero samples")
    if not np.isfinite(waveform_T).all():
        raise DataError(f"{path}: its sound has samples that are not finite")
    return np.clip(waveform_T, -1, 1), rate


def streams(path: str | os.PathLike) -> dict[str, bool]:
    """Whether a video has a sound (``"audio"``) and pictures (``"visual"``); nothing is decoded.

    Raises:
        DataError: naming the file: no video, or a damaged one.
    """
    with _opened(Path(path), math.inf) as container:
        pictures = [stream for stream in container.streams.video if not containers.is_cover(stream)]
        return {"audio": bool(container.streams.audio), "visual": bool(pictures)}


@contextlib.contextmanager
def _opened(path: Path, longest: float) -> Iterator[Any]:
    """Open a video that is whole and no longer than allowed; what goes wrong inside the block is a DataError."""
    av = containers.load_av()
    head, size = file_heads.read_head(path)
    if other := _other_kind(head):
        raise DataError(f"{path}: no video, but {other}")
    suffix = ".avi" if head[:4] == b"RIFF" else ""  # the content decides, and not the name
    if problem := file_heads.absence(head, size) or video_damage(head, suffix) or containers.truncation(path):
        raise DataError(f"{path}: {problem}")
    try:
        with containers.opened(path) as container:
            _check(container, path, longest)
        with containers.opened(path) as container:
            yield container
    except BssError:
        raise
    except MemoryError as error:
        raise DataError(f"{path}: too large to be decoded in the memory there is") from error
    except (av.FFmpegError, ValueError) as error:  # PyAV has its own checks, which are ValueErrors
        detail = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: cannot be decoded: {detail}") from error
    except Exception as error:
        # Decoders raise what they like; one bad file must not end the work on all the others.
        raise DataError(f"{path}: its decoder failed ({type(error).__name__}: {first_line(error)})") from error


_PLAYLIST = "a playlist, which names videos and holds none"


_OTHER_KINDS = {
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"#extm3u": _PLAYLIST,
    b"ffconcat": _PLAYLIST,
    b"%pdf": "a PDF document",
    b"pk\x03\x04": "a zip archive",
}
"""What comes in place of a video: how it begins, in small letters, and its name."""


def _other_kind(head: bytes) -> str | None:
    """What a file with this head is that is no video, or None."""
    if picture := picture_format(head):
        return f"a picture ({picture})"
    beginning = head.lstrip().lower()
    return next((name for start, name in _OTHER_KINDS.items() if beginning.startswith(start)), None)


def _check(container: Any, path: Path, longest: float) -> None:
    """Refuse a file without sound and pictures, an encrypted one, and one that was never cut to its clip."""
    kind = container.format.name
    if kind.endswith("_pipe"):  # FFmpeg takes a picture for a video of one frame
        raise DataError(f"{path}: no video, but a picture ({kind.removesuffix('_pipe').upper()})")
    if not (container.streams.video or container.streams.audio):
        raise DataError(f"{path}: has no stream of pictures or sound")
    extent = containers.extent(container)
    if extent is None:
        return
    if extent.encrypted:
        raise DataError(f"{path}: is encrypted; {containers.NO_KEY}")
    if extent.seconds > longest:
        raise DataError(
            f"{path}: lasts {extent.seconds:.1f} s, but a clip of this data set lasts {longest:g} s at "
            "most: cut it first (ffmpeg -ss START -t SECONDS -i IN OUT)"
        )


def _refuse_without_decoder(stream: Any, path: Path) -> None:
    if problem := containers.decoder_problem(stream, path):
        raise DataError(f"{path}: {problem}")


# ---- whole files ---------------------------------------------------------------------------------------------------


def write_pictures(job: FrameJob) -> bool:
    """Write a video's pictures, one a second, as ``00001.jpg``, ``00002.jpg``, ...

    Returns:
        False if the folder was there already with whole pictures, and was kept; True if it was written.

    Raises:
        OccupiedError: the folder is there and holds anything else.
        DataError: the video cannot be used, see :func:`read_pictures`.
        OSError: the folder cannot be written.
    """
    from PIL import Image

    if _holds_pictures(job.target):
        return False
    if not job.force and job.target.exists() and (not job.target.is_dir() or any(job.target.iterdir())):
        raise jobs.OccupiedError(job.target, "holds something else than whole pictures")
    with filesystem.whole_folder(job.target) as folder:
        for number, picture_HWC in enumerate(read_pictures(job.source, longest=job.longest), start=1):
            Image.fromarray(picture_HWC).save(folder / f"{number:05d}.jpg", quality=_JPEG_QUALITY)
    return True


def _holds_pictures(folder: Path) -> bool:
    pictures = [name for name in visible(folder, os.DirEntry.is_file) if name.lower().endswith(FRAME_SUFFIXES)]
    return bool(pictures) and all(head_problem(folder / name) == (None, None) for name in pictures)


def write_sound(job: SoundJob) -> jobs.Made:
    """Write a video's sound as a 16-bit wav with one channel.

    Returns:
        False if the wav was there already, whole and at the wanted rate, and was kept; True if it was written. What is
        there if it has another rate, which training reads as well.

    Raises:
        OccupiedError: a wav is there and damaged.
        DataError: the sound cannot be used, see :func:`read_sound`.
        OSError: the wav cannot be written.
    """
    import soundfile

    if jobs.holds_something(job.target):
        rate = _rate_of(job.target)
        if rate is not None and job.sample_rate in (None, rate):
            return False
        if rate is None and not job.force:
            raise jobs.OccupiedError(job.target, "is damaged")
        if not job.force:
            return f"{job.target}: a wav of {rate} Hz"
    waveform_T, rate = read_sound(job.source, longest=job.longest)
    if job.sample_rate and job.sample_rate != rate:
        waveform_T, rate = sound.resample(waveform_T, rate, job.sample_rate), job.sample_rate
        if not waveform_T.size:
            raise DataError(f"{job.source}: its sound has zero samples at {rate} Hz")
    # Rounded here, so that 16-bit sound stays what it was: soundfile multiplies by 2**15 - 1 and reads with 2**15.
    samples_T = np.clip(np.rint(waveform_T * _PCM_SCALE), -_PCM_SCALE, _PCM_SCALE - 1).astype(np.int16)
    content = io.BytesIO()
    soundfile.write(content, samples_T, rate, format="WAV", subtype="PCM_16")
    with filesystem.whole_file(job.target) as temporary:
        temporary.write_bytes(content.getvalue())
    return True


def _rate_of(path: Path) -> int | None:
    """A wav's rate in Hz; None if it is damaged."""
    import soundfile

    if head_problem(path) != (None, None):
        return None
    try:
        return int(soundfile.info(path).samplerate)
    except (soundfile.SoundFileError, OSError, RuntimeError):
        return None


# ---- finding them --------------------------------------------------------------------------------------------------


def find_videos(folder: Path, *, key: Callable[[str], str] = str) -> dict[str, list[Path]]:
    """Find the videos in a folder of any depth, without hidden ones, sorted.

    A folder with the name of a video stands for it where there is no file of the name, so that it is named as one that
    failed.

    Args:
        folder: where to look.
        key: what the videos are grouped by, a function of a file's name without suffix.

    Returns:
        Key -> files.
    """
    found: dict[str, list[Path]] = {}
    instead: dict[str, list[Path]] = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for names, place in ((files, found), (folders, instead)):
            for name in names:
                stem, suffix = os.path.splitext(name)
                if suffix.lower() in SUFFIXES and not name.startswith("."):
                    place.setdefault(key(stem), []).append(Path(parent, name))
    found = instead | found
    return {name: sorted(found[name]) for name in sorted(found)}
