"""Worker processes: how many, what they do, and that they end with their parent and leave Ctrl-C to it."""

import contextlib
import itertools
import multiprocessing
import os
import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sized
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from bss.utils.errors import RecipeError, first_line
from bss.utils.filesystem import WINDOWS
from bss.utils.interrupts import STATUS, TO_END, end_this_process

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor
    from multiprocessing.connection import Connection

J = TypeVar("J")
R = TypeVar("R")

_WINDOW = 2  # batches per worker that are handed over or done at a time: one that is worked on, and one that waits


def forks() -> bool:
    """Whether a new process begins as a copy of this one, as on Linux before Python 3.14, or imports all anew."""
    return start_method() == "fork"


def start_method() -> str:
    """How a new process begins: ``"fork"``, ``"spawn"`` or ``"forkserver"``."""
    # Without allow_none the question would settle it, and a program's own set_start_method would come too late.
    return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]


def default_workers() -> int:
    """Processes that load or prepare data unless told otherwise: one for each core this process may use, at most 8.

    At most 4 where a process imports PyTorch anew: each then takes 0.3 GB and seconds before its first batch.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8 if forks() else 4, cores)


FEW = 500
"""Samples, or files, of which a process that imports PyTorch anew loads none sooner than this one does all."""


def worth_starting(workers: int, items: int) -> int:
    """As many of so many processes as are worth their start for a single pass over files.

    Where a process is a copy of this one it costs next to nothing, and all are.
    """
    return workers if forks() else min(workers, items // FEW)


def enough_workers(data: Sized) -> int:
    """Processes that load the data of a run unless told otherwise: none for data in memory or few samples.

    Args:
        data: of the training; ``in_memory`` is an attribute of those that read no files.
    """
    return 0 if getattr(data, "in_memory", False) or len(data) < FEW else default_workers()


def preload(stem: str) -> None:
    """Where processes are started by a server (forkserver), let it import once what loads a data set, for all of them.

    For programs of our own alone, since there is one list of modules for a whole program.

    Args:
        stem: of the data set; for one that is not the package's own the server imports what all have in common.
    """
    if start_method() == "forkserver":  # its server leaves out what cannot be imported
        modules = ["bss.training.loaders", "bss.data.transforms.views", f"bss.data.datasets.{stem}"]
        multiprocessing.get_context("forkserver").set_forkserver_preload(modules)


def startable(processes: int) -> int:
    """As many of so many processes as one can wait for: on Windows at most 61, where more are a ValueError."""
    return min(processes, 61) if WINDOWS else processes


def check_workers(workers: int) -> None:
    """Refuse a negative number of processes.

    Raises:
        RecipeError: it is negative.
    """
    if workers < 0:
        raise RecipeError(f"--workers must be at least 0, got {workers}")


# ---- in a worker process -------------------------------------------------------------------------------------------


def leave_to_the_parent(*_: object) -> None:
    """Make a worker process leave signals to its parent, and end when the parent does; called as it starts.

    Ctrl-C and a cluster's SIGTERM reach the whole process group. A worker that died of it would hide the request behind
    an error, so only the parent answers. The worker ends when the parent itself says so with SIGTERM, as it does with
    workers that it has no more use for, and when the parent is gone: it would wait for the next job for ever.
    """
    for signum in {signal.SIGINT, *TO_END} - {signal.SIGTERM}:
        signal.signal(signum, signal.SIG_IGN)
    import multiprocessing.queues

    # A result that cannot be sent is dropped with a traceback (Python 3.11), and the parent would wait for it for ever.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end_by_what_cannot_be_sent)  # type: ignore[attr-defined]
    if hasattr(signal, "sigtimedwait"):  # Linux; it tells who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    else:
        signal.signal(signal.SIGTERM, _end_later)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()


_NO_SHARED_MEMORY, _NO_FILES = 73, 74  # exit statuses of a worker that could not hand over its result


def _end_by_what_cannot_be_sent(error: Exception, result: object) -> NoReturn:
    """End the worker by what went wrong as it handed over a result; the parent sees the status."""
    status = _cause(str(error))
    if status is None:
        traceback.print_exception(error)
    os._exit(status or 1)


def _cause(text: str) -> int | None:
    """What was short, by an error's text: torch raises RuntimeError for either."""
    if re.search(r"open files|ancdata", text):
        return _NO_FILES
    # Of tmpfs: "Resource temporarily unavailable" when torch 2.11 reserves the memory, a bus error when it is written.
    if re.search(r"shared memory|\bshm\b|Bus error|No space left on device", text):
        return _NO_SHARED_MEMORY
    return None


def loading_problem(error: BaseException, statuses: Iterable[int | None] = ()) -> str | None:
    """Say what processes that load data lacked, and the way out; None where an error is of something else.

    Args:
        error: what starting a loader or waiting for its next batch has raised.
        statuses: with which its processes have ended; None = not yet.
    """
    text = str(error)
    died = text.startswith("DataLoader worker")
    if text.startswith("Caught "):  # in a worker's process, whose traceback it holds
        text = text.strip().rpartition("\n")[2]
        cause = _cause(text) if re.search(r"shared memory|ancdata", text) else None  # all else is the data set's own
    elif died or isinstance(error, OSError) or re.search("shared memory|open files|ancdata", text):
        cause = _cause(text) or next((status for status in statuses if status in (_NO_SHARED_MEMORY, _NO_FILES)), None)
    else:
        return None
    if cause == _NO_FILES:
        return (
            f"too many open files: this process may open {_file_limit()}, and processes that load data need some for "
            "every batch.\nRaise the limit (ulimit -n 65535), or pass fewer --workers, or --workers 0"
        )
    if cause == _NO_SHARED_MEMORY:
        return (
            f"processes that load data hand it over in shared memory, and {_shared_memory()}.\n"
            "Give the container more (docker run --shm-size=8g, or --ipc=host), or pass fewer --workers, or --workers 0"
        )
    if died:
        # Where it imports the program, that must not do its work as it is imported.
        unguarded = "" if forks() else ", or the program does its work outside of if __name__ == '__main__'"
        return (
            f"a process that loads data died ({first_line(error)}).\n"
            f"Most often memory ran out{unguarded}: pass fewer --workers, or --workers 0"
        )
    return None


def _file_limit() -> str:
    try:
        import resource
    except ImportError:  # Windows
        return "a fixed number of them"
    return str(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _shared_memory() -> str:
    try:
        room = os.statvfs("/dev/shm")
    except (OSError, AttributeError):
        return "there is too little of it"
    mib = 2**20
    size, free = room.f_frsize * room.f_blocks / mib, room.f_frsize * room.f_bavail / mib
    return f"/dev/shm is too small: it has {size:.3g} MiB, {free:.3g} MiB of them free"


LATER = 5.0
"""Seconds that a worker lives on after a SIGTERM where nothing tells who sent it: the parent may have it too, and needs
what the worker is loading to end its step."""


def _end_later(signum: int, frame: object) -> None:
    timer = threading.Timer(LATER, os._exit, (0,))
    timer.daemon = True
    timer.start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a worker process
    starter = os.getppid()  # the parent or, with the start method "forkserver", the server
    # Both are asked: workers that were forked later hold copies of the pipe by which a parent is seen to be alive.
    while parent.is_alive() and os.getppid() == starter:
        if not hasattr(signal, "sigtimedwait"):
            time.sleep(1)
            continue
        sent = signal.sigtimedwait({signal.SIGTERM}, 1)
        if sent is not None and sent.si_pid == parent.pid:
            break
    os._exit(0)  # as the handler of torch does, which looks for the sender too


GRACE = 20.0
"""Seconds that a process which trains gets to save and end when the one that started it is gone."""


def stop_with_the_parent(orders: "Connection") -> None:
    """Make a process that trains save and end, as after a SIGTERM, when its parent says so or is gone.

    The parent says it through a pipe, since Windows has no signal that asks: ``terminate()`` ends a process at once
    there, and Ctrl-Break reaches one alone only in a group of its own, which multiprocessing cannot make.

    Args:
        orders: the end of a pipe; whatever comes out of it is the order to end.
    """
    threading.Thread(target=_stop_with_the_parent, args=(orders,), daemon=True).start()


def _stop_with_the_parent(orders: "Connection") -> None:
    import multiprocessing.connection

    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in a process that multiprocessing has started
    if parent.sentinel not in multiprocessing.connection.wait([parent.sentinel, orders]):
        with contextlib.suppress(EOFError, OSError):  # closed: there are no more orders
            orders.recv_bytes()
            end_this_process()
        multiprocessing.connection.wait([parent.sentinel])
    end_this_process()
    time.sleep(GRACE)
    os._exit(STATUS[signal.SIGTERM])


# ---- a pool of them ------------------------------------------------------------------------------------------------


def each(
    function: Callable[[J], R],
    jobs: Iterable[J],
    workers: int,
    *,
    died: Callable[[J], R],
    start: Callable[[], None] | None = None,
    batch: int = 1,
) -> Iterator[tuple[J, R]]:
    """Call a function for every job in worker processes, and hand out the results as they come.

    No more jobs are taken, and no more results are held, than the workers need to have work: there may be millions.

    Args:
        function: importable; its jobs and results can be pickled. What it raises ends the work.
        jobs: its arguments; may be a generator.
        workers: processes, see :func:`startable`; 0 does the work in this one.
        died: a job's result where the function takes its process down. The others go on.
        start: called in every worker process as it starts.
        batch: jobs that a worker gets at a time. Ctrl-C waits until they are done.

    Returns:
        An iterator over (job, result), in the order in which they finish.

    Raises:
        RecipeError: a negative number of workers.
        KeyboardInterrupt: from the iterator, after Ctrl-C, when the jobs under way are finished; after SIGTERM what its
            handler raises, if there is one.
    """
    check_workers(workers)
    if workers == 0:
        return ((job, function(job)) for job in jobs)
    return _pooled(function, iter(jobs), startable(workers), died, start, batch)


def _pooled(
    function: Callable[[J], R],
    jobs: Iterator[J],
    workers: int,
    died: Callable[[J], R],
    start: Callable[[], None] | None,
    batch: int,
) -> Iterator[tuple[J, R]]:
    from concurrent.futures import FIRST_COMPLETED, wait
    from concurrent.futures.process import BrokenProcessPool

    batches = iter(lambda: list(itertools.islice(jobs, batch)), [])
    with _Postponed() as postponed:
        pool = _pool(workers, start)
        pending: dict[Future, list[J]] = {}
        try:
            while True:
                unsent: list[J] = []
                try:
                    for members in itertools.islice(batches, _WINDOW * workers - len(pending)):
                        unsent = members  # the pool may be found broken while it takes them
                        pending[pool.submit(_call, function, members)] = members
                        unsent = []
                    if not pending:
                        return
                    for future in wait(pending, return_when=FIRST_COMPLETED).done:
                        results = future.result()
                        yield from zip(pending.pop(future), results, strict=True)
                except BrokenProcessPool:
                    pool.shutdown()
                    # One of those that were under way did it: each gets a process of its own, which it may take down.
                    done = [future for future in pending if future.exception() is None]
                    for future in done:
                        yield from zip(pending.pop(future), future.result(), strict=True)
                    for job in itertools.chain(*pending.values(), unsent):
                        if postponed.noted is not None:
                            break
                        yield job, _alone(function, job, died, start)
                    pending.clear()
                    pool = _pool(workers, start)
                if postponed.noted is not None:
                    return
        finally:
            pool.shutdown(cancel_futures=True)


def _pool(workers: int, start: Callable[[], None] | None) -> "ProcessPoolExecutor":
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(workers, initializer=_start, initargs=(start,))


def _start(start: Callable[[], None] | None) -> None:
    leave_to_the_parent()
    if start is not None:
        start()


def _call(function: Callable[[J], R], jobs: Iterable[J]) -> list[R]:
    return [function(job) for job in jobs]


def _alone(function: Callable[[J], R], job: J, died: Callable[[J], R], start: Callable[[], None] | None) -> R:
    from concurrent.futures.process import BrokenProcessPool

    with _pool(1, start) as pool:
        try:
            return pool.submit(function, job).result()
        except BrokenProcessPool:
            return died(job)


class _Postponed:
    """While its block runs, Ctrl-C and SIGTERM are noted; what they do comes at its end.

    Raised in the middle of the pool's own work an exception can leave a lock behind, and a hang. A SIGTERM that ends
    the process without a word goes on to do so.
    """

    def __init__(self) -> None:
        self.noted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Postponed":
        if threading.current_thread() is threading.main_thread():  # only the main thread may handle signals
            for signum in STATUS:
                if callable(signal.getsignal(signum)):
                    self._before[signum] = signal.signal(signum, self._note)
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.noted = signum

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        if self.noted is not None:
            signal.raise_signal(self.noted)
