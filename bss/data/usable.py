"""Which files can be decoded: every one is, once, before the training, and what was found is kept beside the data.

A run that leaves out or replaces what cannot be opened must do so in every epoch, process and continuation, and when it
is evaluated. So it is not found out while samples are loaded. What was found of a file holds as long as its size, time
of change and sampled bytes are the same, and so does the version of the package that decodes it.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bss.data.cache import file_name, file_state
from bss.data.datasets.listing import head_problem, is_picture
from bss.data.transforms import audio as sound
from bss.data.transforms import image as picture
from bss.utils.errors import DataError
from bss.utils.filesystem import only_one, replace_text

FILE = "checked.json"
"""Name of the file, in the folder of the cache."""


_FORMAT = 1


_THREADS = min(8, os.cpu_count() or 1)  # decoders let others run meanwhile


def problem_of(path: Path, kind: str) -> str | None:
    """Why a file cannot be used, or None.

    Pictures and sounds are decoded to their end. Videos and arrays are judged by their first and last bytes and by
    their length: to decode every video of a data set takes as long as an epoch.

    Args:
        path: the file.
        kind: what the sample takes it for, a key of :attr:`bss.data.datasets.listing.Sample.files`.

    Raises:
        CodecMissingError: this installation cannot decode it, which says nothing of the file.
    """
    try:
        nothing, damage = head_problem(path, kind)
        if nothing or damage:
            return nothing or damage
        if is_picture(path, kind):
            picture.read_frame(path)
        elif path.suffix.lower() in sound.AUDIO_SUFFIXES and kind == "audio":
            sound.read_audio(path, None)
        elif path.suffix.lower() == ".npy":
            _whole_array(path)
    except picture.CodecMissingError:
        raise
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def _whole_array(path: Path) -> None:
    try:
        np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged header raises whatever comes up
        raise DataError(f"{path}: a truncated or damaged npy file") from error


def problems(files: Mapping[Path, tuple[str, str]], *, root: Path, folder: Path, keep: bool) -> dict[Path, str]:
    """The files that cannot be used, with the reason; see :func:`problem_of`.

    Args:
        files: every file -> its kind, and the list and row that name it.
        root: the data root.
        folder: of the cache, where what was found earlier is looked for.
        keep: write there what is found; False, and a folder that cannot be written to, changes nothing else.

    Raises:
        CodecMissingError: see :func:`problem_of`.
        DataError: a file that cannot be opened, with its row.
    """
    states = {path: [kind, *_state(path, row)] for path, (kind, row) in files.items()}
    with contextlib.ExitStack() as stack:
        if keep:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                # Of the processes of a run one decodes, and the others read what it found.
                stack.enter_context(only_one(folder / ".lock", lambda: None))
        known = _read(folder)
        found: dict[Path, str] = {}
        left = []
        for path, state in states.items():
            before = known.get(os.fsdecode(file_name(path, root)))
            if isinstance(before, list) and before[:-1] == state:
                found[path] = before[-1]
            else:
                left.append(path)
        for path, problem in _looked_at({path: files[path][0] for path in left}):
            found[path] = problem or ""
            known[os.fsdecode(file_name(path, root))] = [*states[path], found[path]]
        if keep and left:
            with contextlib.suppress(OSError):  # a full or read-only disk: the next start decodes again
                replace_text(folder / FILE, json.dumps({"format": _FORMAT, "readers": _readers(), "files": known}))
    return {path: found[path] for path in files if found[path]}


def _state(path: Path, row: str) -> tuple[int, int, int]:
    """The state of a file; of one that cannot be opened its size and time alone."""
    try:
        return file_state(path, row)
    except DataError:
        found = path.stat() if path.exists() else None
        return (found.st_size, found.st_mtime_ns, -1) if found else (-1, -1, -1)


def _looked_at(kinds: Mapping[Path, str]) -> Iterator[tuple[Path, str | None]]:
    """Decode files, with a progress bar."""
    pool = ThreadPoolExecutor(_THREADS)
    try:
        outcomes = pool.map(problem_of, kinds, kinds.values())
        yield from zip(
            kinds, tqdm(outcomes, total=len(kinds), unit="file", desc="checking files", disable=None), strict=True
        )
    finally:
        pool.shutdown(cancel_futures=True)


def _read(folder: Path) -> dict[str, Any]:
    """What is known of files; nothing where it cannot be read, or other versions found it."""
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        fits = content["format"] == _FORMAT and content["readers"] == _readers()
        return dict(content["files"]) if fits else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _readers() -> str:
    """The versions of what decodes."""
    import PIL
    import soundfile

    return f"pillow {PIL.__version__}, libsndfile {soundfile.__libsndfile_version__}"
