"""Whether a video file is whole, judged in one place for everything that reads one.

A container says how long its boxes are, and that is what decides: what its header says about seconds and frames is an
estimate in some (an AVI that was written into a pipe), counts from another beginning in others (the second part of a
Matroska file that was cut into segments), and counts what is never shown (an mp4 that was cut by copying).
Nothing is decoded here.
"""

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from bss.data import file_heads
from bss.utils.errors import DataError, first_line
from bss.utils.extras import need
from bss.utils.filesystem import reading

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".flv")
"""Suffixes of videos, compared in lower case."""


UNKNOWN_LENGTH = 0x7FFF0000
"""From here on a length of 32 bits is none: programs that write into a pipe leave the largest number."""


_RIFF_SLACK = 8  # bytes: writers disagree about padding


_ZEROS = 64  # bytes at the end that are looked at


_MAGIC = {".mp4": (4, (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")), ".mkv": (0, (b"\x1a\x45\xdf\xa3",))}
_MAGIC |= {".flv": (0, (b"FLV",))}


_AVI_FRAMES_AT = 48  # offset of dwTotalFrames in "RIFF" size "AVI " "LIST" size "hdrl" "avih" size ...


# ---- bytes ---------------------------------------------------------------------------------------------------------


def video_damage(head: bytes, suffix: str) -> str | None:
    """Say what is wrong with a video file as far as its header tells, or None.

    Args:
        head: the file's first bytes, :data:`bss.data.file_heads.HEAD_BYTES` or all there are.
        suffix: the file's suffix in lower case; others than :data:`VIDEO_SUFFIXES` pass.
    """
    if suffix in _MAGIC:
        at, magic = _MAGIC[suffix]
        if not head[at:].startswith(magic):
            return f"not a {suffix[1:]} file (it begins with {head[:8]!r})"
    if suffix != ".avi":
        return None
    if head[:4] != b"RIFF":
        return f"not an avi file (it begins with {head[:8]!r})"
    if head[8:12] != b"AVI ":
        return f"not an avi file (RIFF, but of the kind {head[8:12]!r})"
    (claimed,) = struct.unpack_from("<I", head, 4)
    # The length is written last, so where it is known the number of frames is final.
    final = 0 < claimed < UNKNOWN_LENGTH and head[24:28] == b"avih"
    none = head[_AVI_FRAMES_AT : _AVI_FRAMES_AT + 4] == bytes(4)
    sound_alone = b"auds" in head and b"vids" not in head
    return "a video of zero frames" if final and none and not sound_alone else None


class Boxes(NamedTuple):
    """What the boxes of a container tell about its size in bytes.

    Attributes:
        claimed: a whole file is not smaller than this; None where the last box has no length of its own.
        followed: the end of the last box that was followed.
    """

    claimed: int | None
    followed: int


def claimed_size(path: str | os.PathLike) -> int | None:
    """The size in bytes that a video's own boxes say it has, at least.

    mp4 and its kin (mov, 3gp; in fragments too), Matroska and WebM, AVI, FLV and MPEG-TS are known, by their content.

    Returns:
        A whole file is not smaller than this. None for other kinds of files, and where the last box has no length of
        its own.

    Raises:
        DataError: the file cannot be read.
    """
    boxes = _boxes(path, inner=False)
    return boxes.claimed if boxes else None


def _boxes(path: str | os.PathLike, inner: bool) -> Boxes | None:
    """Follow the boxes of a file; with ``inner`` also those inside of boxes that have a length."""
    with reading(path), open(path, "rb") as file:
        head, size = file.read(file_heads.HEAD_BYTES), os.fstat(file.fileno()).st_size
        follow = _follower(head)
        return follow(file, size, inner) if follow else None


def _follower(head: bytes) -> Callable[[BinaryIO, int, bool], Boxes] | None:
    """The function that follows the boxes of a file with this head."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip", b"styp", b"pnot"):
        return _follow_mp4
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return _follow_matroska
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _follow_avi
    if head.startswith(b"FLV\x01"):
        return _follow_flv
    if len(head) > 4 * 188 and head[0:565:188] == b"GGGG":  # 0x47 begins each packet
        return _follow_mpegts
    return None


def _follow_mp4(file: BinaryIO, size: int, inner: bool) -> Boxes:
    """ISO/IEC 14496-12, 4.2 and 8.16.3: boxes of a length and a kind; an index of fragments has theirs."""
    at, end = 0, 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        if not kind.isalnum() or 0 < length < 8:
            break  # padding, or something else behind the video
        if length == 0:
            return Boxes(None, size)  # it goes to the end, wherever that is
        at += length
        if kind in (b"moov", b"mdat", b"moof"):
            end = max(end, at)
        if kind == b"sidx" and at <= size:
            file.seek(at - length + 8)
            end = max(end, at + _bytes_of_index(file.read(length - 8)))
    return Boxes(end, at)


def _bytes_of_index(content: bytes) -> int:
    """How many bytes behind a box ``sidx`` it speaks of; 0 for a damaged one."""
    first, count_at = (">I", 22) if content[:1] == b"\0" else (">Q", 30)
    try:
        (skipped,) = struct.unpack_from(first, content, count_at - 2 - struct.calcsize(first))
        (count,) = struct.unpack_from(">H", content, count_at)
        pieces = [struct.unpack_from(">I", content, count_at + 2 + 12 * i)[0] & 0x7FFFFFFF for i in range(count)]
    except struct.error:
        return 0
    return skipped + sum(pieces)


_SEGMENT_AND_CLUSTER = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75")


def _follow_matroska(file: BinaryIO, size: int, inner: bool) -> Boxes:
    """RFC 8794: elements of an id and a length; a segment and its clusters may have none, and then their parts have."""
    at, end = 0, 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        width = 9 - head[0].bit_length()  # of the id, in bytes
        octets = 9 - head[width].bit_length() if width <= 4 and len(head) > width else 9
        if octets > 8 or len(head) < width + octets:
            break
        bits = 7 * octets
        length = int.from_bytes(head[width : width + octets], "big") & ((1 << bits) - 1)
        unknown, has_parts = length == (1 << bits) - 1, head[:4] in _SEGMENT_AND_CLUSTER
        if unknown and not has_parts:
            break
        at += width + octets
        end = max(end, at if unknown else at + length)
        at += 0 if has_parts and (inner or unknown) else length
    return Boxes(end, at)


def _follow_avi(file: BinaryIO, size: int, inner: bool) -> Boxes:
    """RIFF: chunks of a kind and a length; one of more than a gigabyte has several of them one after another."""
    at, end = 0, 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        kind, length = struct.unpack_from("<4sI", head.ljust(12, b"\0"))
        # The length of these two may never have been written, and that of their chunks is there.
        has_chunks, unknown = kind in (b"RIFF", b"LIST"), not 0 < length < UNKNOWN_LENGTH
        if not kind.rstrip(b"\0").isalnum() or (length >= UNKNOWN_LENGTH and not has_chunks):
            break
        if not (has_chunks and unknown):
            end = max(end, at + 8 + length - (_RIFF_SLACK if kind == b"RIFF" else 0))
        at += 12 if has_chunks and (unknown or inner) else 8 + length + length % 2
    return Boxes(end, at)


def _follow_flv(file: BinaryIO, size: int, inner: bool) -> Boxes:
    """Adobe's specification 10.1, annex E: tags of a kind and a length, each with its length behind it."""
    file.seek(5)
    at = struct.unpack(">I", file.read(4).rjust(4, b"\0"))[0] + 4
    end, length = at, 0
    while at < size:
        file.seek(at)
        head = file.read(4)
        if head[0] & 0x1F not in (8, 9, 18):
            break
        length = int.from_bytes(head[1:], "big")
        end = at + 11 + length
        at = end + 4
    if not inner:
        return Boxes(end, at)  # the length behind the last one may be missing
    file.seek(end)
    behind = int.from_bytes(file.read(4), "big")
    # The last one is there to its end where its length is behind it, whatever follows; writers count its head or not.
    whole = behind > 0 and behind - length in (0, 10, 11)
    return Boxes(end if whole else max(end, size), at)


def _follow_mpegts(file: BinaryIO, size: int, inner: bool) -> Boxes:
    """ISO/IEC 13818-1: packets of 188 bytes."""
    at = size
    if inner:
        file.seek(0)
        at = 0
        while file.read(188).startswith(b"G"):
            at += 188
    return Boxes(-(-size // 188) * 188, at)


def _ends_in_zeros(path: str | os.PathLike) -> bool:
    """Whether a file's last bytes are zeros, as in a download that was given its room first and was never finished."""
    with reading(path), open(path, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _ZEROS))
        return not any(file.read(_ZEROS))


# ---- time ----------------------------------------------------------------------------------------------------------


class Extent(NamedTuple):
    """What of a video is shown.

    Attributes:
        begin: seconds; the first packet's time.
        end: seconds; the end of the last one.
        seconds: length of the longest stream, which may begin before or behind the others.
        frames: packets of pictures, of the first stream of them.
        encrypted: whether any is encrypted.
    """

    begin: float
    end: float
    seconds: float
    frames: int
    encrypted: bool = False


def load_av() -> Any:
    """Import PyAV.

    Raises:
        MissingExtraError: it is not installed.
    """
    need("decoding videos", "video")
    import av

    return av


def opened(path: str | os.PathLike) -> Any:
    """An open PyAV container of a file, to be closed by its ``with``; see there for what it raises."""
    av = load_av()
    # PyAV 19 escapes what is no UTF-8 in a title by itself, and has no such argument any more.
    options = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
    # "file:" keeps a colon in a name from being taken for a protocol.
    return av.open(f"file:{path}", **options)


def is_cover(stream: Any) -> bool:
    """Whether a video stream is a cover picture of a sound file."""
    return bool(stream.disposition & type(stream.disposition).attached_pic)


def extent(container: Any) -> Extent | None:
    """The extent of sound and pictures by their packets' time stamps, those together; None without any time stamp.

    Subtitles last as long as they like. A clip that was cut by copying begins at the key frame before it, and the
    packets up to its beginning are marked as not to be shown: they would hide that its end is missing.

    Args:
        container: of PyAV, just opened; it is read to its end.
    """
    pictures = [stream for stream in container.streams.video if not is_cover(stream)]
    wanted = [*pictures, *container.streams.audio]
    begins: dict[int, float] = {}
    ends: dict[int, float] = {}
    frames, encrypted = 0, False
    for packet in container.demux(wanted) if wanted else ():
        time, index = packet.pts if packet.pts is not None else packet.dts, packet.stream_index
        # An empty one fills a gap of an AVI, such as that before a second part.
        if time is None or not packet.time_base or packet.is_discard or not packet.size:
            continue
        begin, end = (float(at * packet.time_base) for at in (time, time + (packet.duration or 0)))
        begins[index] = min(begin, begins.get(index, begin))
        ends[index] = max(end, ends.get(index, end))
        frames += bool(pictures) and index == pictures[0].index
        # The oldest PyAV that is admitted cannot tell: there the decoder fails.
        encrypted |= hasattr(packet, "has_sidedata") and packet.has_sidedata("encryption_info")
    if not begins:
        return None
    seconds = max(ends[index] - begins[index] for index in begins)
    return Extent(min(begins.values()), max(ends.values()), seconds, frames, encrypted)


def extent_of(path: str | os.PathLike) -> Extent | None:
    """The :func:`extent` of a file.

    Raises:
        DataError: naming the file: PyAV cannot open it.
    """
    av = load_av()
    try:
        with opened(path) as container:
            return extent(container)
    except (av.FFmpegError, ValueError, IndexError) as error:
        detail = getattr(error, "strerror", None) or first_line(error)
        raise DataError(f"{path}: cannot be opened as a video: {detail}") from error


NO_KEY = "a copy that can be played without a key is needed"
"""The way out of an encrypted video."""


def decoder_problem(stream: Any, path: str | os.PathLike) -> str | None:
    """Say that FFmpeg has no decoder for a stream of a PyAV container, and how the stream is coded; None if it has."""
    if stream.codec_context is not None:
        return None
    what, codec = "sound is" if stream.type == "audio" else "pictures are", _codec(stream, path)
    if codec in ("drmi", "drms", "encv", "enca"):
        return f"its {what} encrypted ({codec}); {NO_KEY}"
    return f"its {what} coded as {codec}, which FFmpeg has no decoder for; convert it with a program that has"


def _codec(stream: Any, path: str | os.PathLike) -> str:
    """The codec's name; PyAV has none for a codec that it cannot decode, but FFmpeg complains about it by name."""
    av = load_av()
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)  # the file before may have been of the same kind
    try:
        with av.logging.Capture(local=True) as complaints, opened(path):
            pass
    finally:
        av.logging.set_level(before[0])
        av.logging.set_skip_repeated(before[1])
    for _, _, text in complaints:
        if named := re.search(rf"stream {stream.index} \(\w+: (\w+)(?: \((\S+) / 0x)?", text):
            if names := [name for name in named.groups() if name not in (None, "none")]:
                return names[-1]
    # Matroska has names of its own (RFC 9559, CodecID): a length of one byte and so many letters.
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    letter = b"A" if stream.type == "audio" else b"V"
    for length, name in re.findall(rb"\x86([\x81-\xbf])(" + letter + rb"_[!-~]+)", head):
        return name[: length[0] & 0x7F].decode("ascii")
    return "something unknown"


def why_not_opened(path: str | os.PathLike) -> str | None:
    """Why a program with FFmpeg opens no pictures of a video, as far as PyAV can tell: no pictures, or no decoder."""
    av = load_av()
    try:
        with opened(path) as container:
            pictures = [stream for stream in container.streams.video if not is_cover(stream)]
            return decoder_problem(pictures[0], path) if pictures else "has no video stream"
    except (av.FFmpegError, ValueError):
        return None


# ---- the judgement -------------------------------------------------------------------------------------------------


_WAY_OUT = "fetch it again, or take what is there for the whole (ffmpeg -i IN -c copy OUT)"


def truncation(path: str | os.PathLike) -> str | None:
    """Say that the end of a video is missing, and how it shows; None if nothing speaks for that.

    By its bytes, see :func:`claimed_size`; where they cannot tell, by the seconds that its header promises.

    Raises:
        DataError: the file cannot be read.
        MissingExtraError: PyAV is needed to tell and not installed.
    """
    boxes = _boxes(path, inner=False)
    if boxes is None or boxes.claimed is None:
        return _missing_seconds(path)
    size = Path(path).stat().st_size
    if size < boxes.claimed:
        return f"truncated ({size:,} of {boxes.claimed:,} bytes); {_WAY_OUT}"
    if not _ends_in_zeros(path):
        return None
    boxes = _boxes(path, inner=True)
    if boxes.claimed is not None and boxes.followed < boxes.claimed:
        return f"truncated (zeros from byte {boxes.followed:,} on); {_WAY_OUT}"
    return _missing_seconds(path) if boxes.followed < size else None


def _missing_seconds(path: str | os.PathLike) -> str | None:
    av = load_av()
    try:
        with opened(path) as container:
            promised = (container.duration or 0) / 1e6
            found = extent(container)
    except (av.FFmpegError, ValueError, IndexError):  # IndexError: of a stream that begins in the middle
        return None  # decoding it will say what it is
    if found is None:
        return None
    # Some count from the first picture, and some from zero.
    if promised - max(found.end, found.seconds) <= max(0.5, 0.05 * promised):
        return None
    return f"truncated (its header promises {promised:.1f} s, and it ends after {found.seconds:.1f} s); {_WAY_OUT}"
