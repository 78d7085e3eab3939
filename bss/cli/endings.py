"""How a command ends when it cannot go on: a line or two on stderr, and an exit status."""

import io
import re
import sys

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
