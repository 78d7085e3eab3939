"""One checkpoint file: written whole, and read back with the certainty that it is what was written.

It is what ``torch.save`` makes, a zip file, with a stamp in its comment: the SHA-256 of the names, sizes and CRC-32 of
its members, which ``torch.save`` has computed anyway. A damaged file fails by its CRC-32; one that something else has
saved again, perhaps with another number in it, has no stamp.
"""

import hashlib
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bss.utils.errors import RunFolderError, first_line, shown
from bss.utils.filesystem import ForeignObjectError, load_tensors

FORMAT = 2
"""Version of the run folder's files, in ``config.json`` and in the checkpoints."""


STAMP = 1
"""Version of the stamp, in every checkpoint that must have one; checkpoints of older versions have none."""


_PREFIX = b"bss checkpoint "
_NO_COMMENT = struct.pack("<H", 0)  # the last field of a zip file: the length of its comment


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state with ``torch.save`` and stamp it; format and stamp are added."""
    import torch

    with open(path, "wb") as file:  # given a path, torch.save would write its name into the file
        torch.save({"format": FORMAT, "stamp": STAMP, **state}, file)
    with zipfile.ZipFile(path) as archive:
        stamp = _stamp_of(archive)
    with open(path, "rb+") as file:
        file.seek(-len(_NO_COMMENT), 2)
        assert file.read() == _NO_COMMENT  # torch 2.11 writes no comment of its own
        file.seek(-len(_NO_COMMENT), 2)
        file.write(struct.pack("<H", len(stamp)) + stamp)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU; nothing in the file is run.

    Raises:
        RunFolderError: it is missing, torn, damaged, changed after it was written, of a newer version, or no
            checkpoint. (``torch.load`` alone takes damaged weights silently: it does not look at the checksums that
            the file holds.)
    """
    try:
        state = load_tensors(path)
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise RunFolderError(f"{path} is damaged (in {damaged})")
            stamped = archive.comment == _stamp_of(archive)
            bare = not archive.comment
    except RunFolderError:
        raise
    except ForeignObjectError as error:
        raise RunFolderError(f"{path} is no checkpoint of a run: {str(error).removeprefix(f'{path}: ')}") from error
    except Exception as error:
        # Nothing but the file went in; zipfile names a dozen exception types for damaged ones.
        detail = first_line(str(error).removeprefix(f"{path}: "))
        raise RunFolderError(f"{path} is torn or damaged ({type(error).__name__}: {detail})") from error
    if not isinstance(state, dict):
        raise RunFolderError(f"{path} is no checkpoint: it holds a {type(state).__name__}")
    version = state.get("format", 1)
    if type(version) is int and version > FORMAT:
        raise RunFolderError(f"{path} is of format {version}, and this version of bss knows {FORMAT}: update bss")
    if type(version) is not int or version < 1:
        raise RunFolderError(f"{path} is no checkpoint: its format is {shown(version)}")
    if not stamped and ("stamp" in state or not bare):
        raise RunFolderError(f"{path} was changed after it was written: its stamp does not fit its content")
    return state


def _stamp_of(archive: zipfile.ZipFile) -> bytes:
    members = [(member.filename, member.file_size, member.CRC) for member in archive.infolist()]
    return _PREFIX + hashlib.sha256(repr(members).encode()).hexdigest().encode()
