"""How a command ends when it cannot go on: a line or two on stderr, and an exit status."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from typing import TextIO

from bss.utils.errors import BssError, first_line
from bss.utils.extras import advice
from bss.utils.interrupts import Interrupted
from bss.utils.processes import loading_problem
from bss.utils.torchrun import launched, launched_rank

ENDINGS = (KeyboardInterrupt, Interrupted, BssError, RuntimeError, ModuleNotFoundError)
"""What :func:`status_of` has something to say of; any other error is a bug, and keeps its traceback."""


def let_output_pass() -> None:
    """Let what a terminal or a redirected file cannot show be written as an escape, in place of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not a test's or a notebook's own
            stream.reconfigure(errors="backslashreplace")


UNREAD = 141
"""The exit status of a command whose reader has closed: what a shell gives for a program that SIGPIPE ended."""


@contextlib.contextmanager
def quiet_if_unread() -> Iterator[None]:
    """End in silence where the reader of the output has closed it, as ``head`` does once it has its lines.

    Only of the output: a pipe to another process of ours that breaks is an error like any.

    Raises:
        SystemExit: with :data:`UNREAD`, in place of the error, and of an ending that had something left to write.
    """
    try:
        yield
    except BrokenPipeError:
        _end_if_unread("\n")  # what could not be written is forgotten: only writing more shows whose pipe it was
        raise
    except SystemExit:
        _end_if_unread()
        raise
    _end_if_unread()


def _end_if_unread(more: str = "") -> None:
    unread = [stream for stream in (sys.stdout, sys.stderr) if stream is not None and _is_unread(stream, more)]
    if not unread:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in unread:  # Python writes what is left when it ends, and would complain then
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    raise SystemExit(UNREAD) from None


def _is_unread(stream: TextIO, more: str) -> bool:
    try:
        stream.write(more)
        stream.flush()
    except BrokenPipeError:
        return True
    except (OSError, ValueError):  # a full disk, a stream that was closed: said elsewhere
        return False
    return False


def status_of(error: BaseException, interrupted: str = "interrupted") -> int:
    """Say why a command ends, and return its exit status.

    Args:
        error: one of :data:`ENDINGS`.
        interrupted: what is said after Ctrl-C or SIGTERM. A note of the error, the way to go on, is added to it.

    Returns:
        130 after Ctrl-C, 75 after SIGTERM, 2 for what the user can mend, 1 where another process of a run ended first.

    Raises:
        RuntimeError, ModuleNotFoundError: the error itself, if it is a bug.
    """
    if isinstance(error, (KeyboardInterrupt, Interrupted)):
        if launched_rank() == 0:
            print(": ".join([interrupted, *getattr(error, "__notes__", ())]), file=sys.stderr)
        return getattr(error, "status", 130)
    if isinstance(error, BssError):
        _tell(_without_worker_traceback(error))
        return 2
    if isinstance(error, ModuleNotFoundError):
        if not (way := advice(error.name)):
            raise error
        _tell(f"{error.name} is not installed: {way}")
        return 2
    if problem := loading_problem(error):  # of a loader that is not one of ours
        _tell(problem)
        return 2
    if launched() and re.search(r"closed by peer|reset by peer|NCCL|gloo", str(error)):
        _tell(f"another process ended first, see its own error ({first_line(error)})")
        return 1
    raise error


def _tell(message: str) -> None:
    """An error on stderr; of several processes, the others than the first say who they are."""
    who = f" in process {launched_rank()}" if launched_rank() else ""
    print(f"error{who}: {message}", file=sys.stderr)


def _without_worker_traceback(error: BssError) -> str:
    """The message alone: a loader's worker process sends its traceback along as text."""
    text = str(error)
    marker = f"{type(error).__module__}.{type(error).__qualname__}: "
    return text.rpartition(marker)[2].strip() if text.startswith("Caught ") else text
