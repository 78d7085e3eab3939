"""What the first bytes of a file tell: that it is empty, a Git-LFS pointer, or a sound of no samples."""

import os
import re
import stat
import struct

from bss.utils.errors import DataError
from bss.utils.filesystem import reading

HEAD_BYTES = 4096
"""How much of a file the header checks look at."""


_LFS_HEAD = b"version https://git-lfs.github.com/spec/"


_LFS_ADVICE = (
    "a Git-LFS pointer, not the file itself: run `git lfs pull` in the clone "
    "(CREMA-D: or take the mirror gitlab.com/cs-cooper-lab/crema-d-mirror)"
)


def absence(head: bytes, size: int) -> str | None:
    """Say why a file holds nothing, or None: zero bytes, a Git-LFS pointer, a wav of zero samples.

    Args:
        head: the file's first bytes, :data:`HEAD_BYTES` or all there are.
        size: length of the whole file in bytes.
    """
    if size == 0:
        return "an empty file (0 bytes)"
    if head.startswith(_LFS_HEAD):
        return _LFS_ADVICE
    found = _wave_data(head, size)
    if found == (0, 0):
        return "a wav file with zero samples"
    if found and found[0] == 0:
        return (
            f"a wav file with zero samples by its header, though {found[1]} bytes follow (written into a pipe, or cut "
            "off): `ffmpeg -i IN.wav OUT.wav` counts them"
        )
    return None


def sound_damage(head: bytes, size: int, suffix: str) -> str | None:
    """Say what is wrong with an audio file as far as its header tells, or None.

    Args:
        head: the file's first bytes, :data:`HEAD_BYTES` or all there are.
        size: length of the whole file in bytes.
        suffix: the file's suffix in lower case; a ``.pkl`` has no fixed head and passes.
    """
    magic = {".wav": (b"RIFF", b"RIFX", b"RF64"), ".flac": (b"fLaC",), ".ogg": (b"OggS",)}
    magic |= {".npy": (b"\x93NUMPY",), ".pt": (b"PK\x03\x04", b"\x80")}
    if suffix in magic and not head.startswith(magic[suffix]):
        return f"not a {suffix[1:]} file (it begins with {head[:8]!r})"
    if suffix == ".npy" and re.search(rb"'shape': *\([^)]*-", head):  # NumPy 1.26 takes all the bytes that there are
        return "not a readable npy file: a shape has no negative numbers"
    if suffix == ".wav" and head[8:12] != b"WAVE":
        return f"not a wav file (RIFF, but of the kind {head[8:12]!r})"
    if suffix == ".wav" and size <= len(head) and b"data" not in head:
        return "a truncated wav file (it ends before the samples)"
    claimed, present = _wave_data(head, size) or (0, 0)
    # Writers disagree about one padding byte, hence the slack.
    if present < claimed - 8:
        return f"a truncated wav file ({present} of {claimed} bytes of samples)"
    return None


def _wave_data(head: bytes, size: int) -> tuple[int, int] | None:
    """Bytes of samples that a RIFF file claims and has; None where the head does not tell.

    Of one that claims none, all bytes that follow: it is read as one of no samples (libsndfile 1.2).
    """
    order = {b"RIFF": "<", b"RIFX": ">"}.get(head[:4])
    if order is None or head[8:12] != b"WAVE":
        return None
    at = 12
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(f"{order}4sI", head, at)
        at += 8
        if kind == b"data":
            # A program that writes into a pipe cannot go back and leaves the largest number, or zero, as the length.
            if length >= 0x7FFF0000:
                return None
            return length, min(length, size - at) if length else size - at
        at += length + length % 2
    return None


def read_head(path: str | os.PathLike) -> tuple[bytes, int]:
    """First :data:`HEAD_BYTES` bytes of a file, and its size in bytes.

    Raises:
        DataError: the file cannot be opened or read, or is a pipe or a device, which might be waited for forever.
    """
    with reading(path):
        mode = os.stat(path).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise DataError(f"{path}: not a regular file")
    with reading(path), open(path, "rb", buffering=0) as file:
        return file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
