"""SIGINT, SIGTERM and the like as a request: finish the step, save, then end with a status of its own."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, NoReturn, TypeVar

from bss.utils.filesystem import WINDOWS

T = TypeVar("T")


_OTHERS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK")  # SIGUSR1: SLURM's warning, as its users set it


TO_END = tuple(getattr(signal, name) for name in _OTHERS if hasattr(signal, name))
"""Signals that ask a process to end, beside Ctrl-C, as far as the system has them; without an answer each would end it
unsaved: a cluster's, a closed terminal's, and Ctrl-Break of Windows."""


STATUS = {signal.SIGINT: 130, **dict.fromkeys(TO_END, 75)}
"""Exit status of a run that was asked to end and can be continued: 130 after Ctrl-C, as shells have it; 75 after the
others (EX_TEMPFAIL of sysexits.h, "try again later"), which tells a cluster's script to start the command again."""


def end_this_process() -> None:
    """Send this process a SIGTERM, from any thread: it saves as if another process had asked it to."""
    if WINDOWS:
        signal.raise_signal(signal.SIGTERM)  # os.kill would end it there without a word
    else:
        os.kill(os.getpid(), signal.SIGTERM)  # it also wakes a main thread that waits for the system


class Interrupted(BaseException):
    """A run that ends because it was asked to.

    Like ``KeyboardInterrupt`` it is no ``Exception``, so that code which catches those does not swallow it.

    Attributes:
        status: the exit status, see :data:`STATUS`.
    """

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.status = STATUS[signal.Signals(signum)]


_lost: list[int] = []  # signals whose exception may have been swallowed: one that meets a destructor is only printed


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While the block runs, SIGTERM and the like raise :class:`Interrupted` anywhere, as Ctrl-C raises its own.

    For what comes before and after the steps of a run: imports, reading of data. :class:`Interrupts`, inside of it,
    lets a step end first. In another thread than the main one, where Python handles no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _answered(TO_END, _raise)
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
        _lost.clear()


def _answered(signums: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Set the handler, but not of what was ignored from the start, as nohup does with SIGHUP; the ones before it."""
    wanted = [signum for signum in signums if signum in (signal.SIGINT, signal.SIGTERM) or not _ignored(signum)]
    return {signum: signal.signal(signum, handler) for signum in wanted}


def _ignored(signum: int) -> bool:
    return signal.getsignal(signum) == signal.SIG_IGN


def _raise(signum: int, frame: FrameType | None) -> NoReturn:
    _lost.append(signum)
    raise Interrupted(signum)


class Interrupts:
    """While its block runs, a first signal of :data:`STATUS` is only noted, and a second SIGINT interrupts at once.

    Where there is no step to end and nothing to save, :meth:`at_once` lets a first one interrupt.

    In another thread than the main one, where Python handles no signals, it notes nothing.
    """

    def __init__(self) -> None:
        self.noted: int | None = _lost[-1] if _lost else None
        self._before: dict[int, Any] = {}
        self._at_once: int | None = None  # the process, while it is to be interrupted at once

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = _answered(STATUS, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.noted is not None and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.noted = signum
        if self._at_once == os.getpid():  # a loader's process that was forked just now leaves it to this one
            self.stop()

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let a signal end the block wherever it is, also while it waits for another process or a disk.

        Raises:
            Interrupted: the run was asked to end, before the block or in it.
        """
        self._at_once = os.getpid()
        try:
            self.check()  # after the line above, so that no signal falls between the two
            yield
        finally:
            self._at_once = None

    def check(self) -> None:
        """End here if the run was asked to.

        Raises:
            Interrupted: it was.
        """
        if self.noted is not None:
            self.stop()

    def stop(self) -> NoReturn:
        """End here; without a signal of its own (another process has it) as after SIGTERM.

        Raises:
            Interrupted: always.
        """
        raise Interrupted(signal.SIGTERM if self.noted is None else self.noted)

    def checked(self, items: Iterable[T]) -> Iterator[T]:
        """The items, with an end :meth:`at_once` while one is waited for: for loops that have nothing to save."""
        with self.at_once():
            waiting = iter(items)
        while True:
            try:
                with self.at_once():
                    item = next(waiting)
            except StopIteration:
                return
            yield item
