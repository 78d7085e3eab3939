"""What is said on the screen, kept in a file line by line as it happens."""

import contextlib
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from bss.utils.errors import BssError, RunHeldError
from bss.utils.interrupts import Interrupted

_CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours, and the moves of a cursor


class _Copied:
    """A stream whose whole lines go to a file as well.

    Args:
        stream: where everything goes as it is; None = nowhere.
        log: gets a line; not what progress bars draw over and over.
    """

    def __init__(self, stream: Any, log: Callable[[str], None]):
        self._stream, self._log, self._line = stream, log, ""

    def write(self, text: str) -> int:
        if self._stream is not None:
            self._stream.write(text)
        *lines, rest = (self._line + text).split("\n")
        self._line = rest.rpartition("\r")[2]
        for line in lines:
            seen = line.rstrip("\r").rpartition("\r")[2]  # what a terminal shows in the end
            self._log(_CONTROLS.sub("", seen) + "\n")
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream or sys.__stdout__, name)


@contextlib.contextmanager
def kept(path: Path, *, screen: bool) -> Iterator[None]:
    """Append to a file what the block prints, and why it ends if it ends by an error.

    The file is made when there is something to write, and not for an error of the user's that comes before all else.

    Args:
        path: the file.
        screen: whether it is printed as well.
    """
    files: list[IO[str]] = []

    def log(text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk ends a run by what it saves, with its own message
            if not files:
                files.append(open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace"))
            files[0].write(text)

    out, err = (_Copied(stream if screen else None, log) for stream in (sys.stdout, sys.stderr))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield
    except RunHeldError:  # the file is another process's now
        raise
    except (BssError, Interrupted, KeyboardInterrupt) as error:
        if files or not screen:
            log(traceback.format_exception_only(error)[0])  # without notes, which are for callers in Python
        raise
    except BaseException as error:
        log("".join(traceback.format_exception(error)))
        raise
    finally:
        for file in files:
            with contextlib.suppress(OSError):
                file.close()
