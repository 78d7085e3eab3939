"""Work for many processes: how many, how they end with their parent, and what came of each job."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from bss.utils.errors import BssError, DataError


def default_workers() -> int:
    """Processes that load or prepare data unless told otherwise: one for each core this process may use, at most 8."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores)


def leave_to_the_parent(*_: object) -> None:
    """For worker processes: Ctrl-C and a cluster's SIGTERM reach the whole process group, and only the parent answers.

    A worker that died of it would hide the request behind an error. It ends when the parent itself says so with
    SIGTERM, as it does with workers that it has no more use for, and when the parent is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):  # Linux; it tells who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_the_parent, daemon=True).start()


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()  # not getppid: with the start method "forkserver" that is the server
    while parent.is_alive():
        sent = signal.sigtimedwait({signal.SIGTERM}, 5)
        if sent is not None and sent.si_pid == parent.pid:
            break
    os._exit(0)  # as the handler of torch does, which looks for the sender too


J = TypeVar("J")


def outcomes(function: Callable[[J], bool], jobs: Sequence[J], workers: int) -> Iterator[tuple[bool, str | None]]:
    """(written, failure) of every job, in the order in which they finish."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    if workers == 0:
        for job in jobs:
            yield _attempt(function, job)
        return
    with interrupt_noted() as interrupted:
        pool = ProcessPoolExecutor(workers, initializer=start_worker)
        try:
            for future in as_completed([pool.submit(_attempt, function, job) for job in jobs]):
                yield future.result()
                if interrupted.is_set():
                    raise KeyboardInterrupt
        except BrokenProcessPool as error:
            raise BssError("a worker process died (out of memory?); run again with fewer --workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _attempt(function: Callable[[J], bool], job: J) -> tuple[bool, str | None]:
    try:
        return function(job), None
    except DataError as error:
        return False, str(error)
    except OSError as error:
        target = getattr(job, "target", None) or error.filename or job
        return False, f"{target} cannot be written: {error.strerror or error}"
    except Exception as error:
        error.add_note(f"while working on {job}")
        raise


@contextlib.contextmanager
def interrupt_noted() -> Iterator[threading.Event]:
    """Let Ctrl-C set an event: raised in the middle of the pool's own work it can leave a lock behind, and a hang."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def start_worker() -> None:
    """Ctrl-C reaches the whole process group; only the parent answers, and the workers finish their file.

    When the parent is killed the workers end too: they would wait for its next job for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
