"""Many small files to make: in parallel, with a progress bar, resumable, and with a summary of what failed and why."""

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from bss.datasets.listing import head_problem
from bss.errors import BssError, DataError, RecipeError

J = TypeVar("J")

SHOWN_FAILURES = 20

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]+\.tmp(\.[A-Za-z0-9]+)?")  # the names that whole_file and whole_folder give
_LEFT_BEHIND = 3600  # seconds; nothing here takes that long, so an older one belongs to a run that was killed


class Summary(NamedTuple):
    """What came of a batch of jobs.

    Attributes:
        written: number of files (or folders) made.
        kept: number that were whole already.
        failures: one line for each that failed: its name and why; sorted.
    """

    written: int
    kept: int
    failures: list[str]

    def report(self, what: str) -> str:
        """The counts in a line, and the first failures below it."""
        counts = f"{what}: {self.written} written, {self.kept} kept, {len(self.failures)} failed"
        return "\n".join([counts, *shown(self.failures)])


def shown(failures: Sequence[str]) -> list[str]:
    """The first failures as indented lines, and how many more there are."""
    lines = [f"  {failure}" for failure in failures[:SHOWN_FAILURES]]
    if len(failures) > SHOWN_FAILURES:
        lines.append(f"  ... and {len(failures) - SHOWN_FAILURES} more")
    return lines


def run(function: Callable[[J], bool], jobs: Sequence[J], *, workers: int, label: str) -> Summary:
    """Call a function for every job, with a progress bar; a job that fails does not stop the others.

    Args:
        function: makes one file and says whether it had to (False: a whole one was there). It must be importable and
            its jobs picklable; it raises DataError for its input's fault and OSError where it cannot write.
        jobs: its arguments; one with a ``target`` is called that when it cannot be written.
        workers: processes; 0 does the work in this one.
        label: of the progress bar.

    Raises:
        RecipeError: a negative number of workers.
        BssError: a worker process died.
        KeyboardInterrupt: after Ctrl-C, when the files under way are finished.
    """
    from tqdm import tqdm

    if workers < 0:
        raise RecipeError(f"--workers must be at least 0, got {workers}")
    written, failures = 0, []
    outcomes = _outcomes(function, jobs, workers)
    for made, failure in tqdm(outcomes, total=len(jobs), unit="file", desc=label, disable=None):
        written += made
        failures += [failure] if failure else []
    return Summary(written, len(jobs) - written - len(failures), sorted(failures))


def fill(
    folder: Path, function: Callable[[J], bool], jobs: Sequence[J], *, workers: int, failures: Sequence[str] = ()
) -> list[str]:
    """One step of a preparation: :func:`run` jobs that write into a folder, and print what came of it.

    Args:
        folder: what is left in it of a run that was killed is deleted first.
        function: see :func:`run`.
        jobs: its arguments.
        workers: processes; 0 does the work in this one.
        failures: one line for each file that cannot be made because there is no job to make it.

    Returns:
        These and the jobs' failures, sorted.
    """
    sweep(folder)
    summary = run(function, jobs, workers=workers, label=folder.name)
    summary = summary._replace(failures=sorted([*summary.failures, *failures]))
    print(summary.report(str(folder)))
    return summary.failures


def _outcomes(function: Callable[[J], bool], jobs: Sequence[J], workers: int) -> Iterator[tuple[bool, str | None]]:
    """(written, failure) of every job, in the order in which they finish."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    if workers == 0:
        for job in jobs:
            yield _attempt(function, job)
        return
    with _interrupt_noted() as interrupted:
        pool = ProcessPoolExecutor(workers, initializer=_start_worker)
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
def _interrupt_noted() -> Iterator[threading.Event]:
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


def _start_worker() -> None:
    """Ctrl-C reaches the whole process group; only the parent answers, and the workers finish their file.

    When the parent is killed the workers end too: they would wait for its next job for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


# ---- whole files only ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` to write to; it gets the target's name only if the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty temporary folder beside ``target``, which gets the target's name only if the block ends well.

    A folder that is there already is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        building.chmod(0o755)
        yield building
        if target.exists():
            shutil.rmtree(target)
        os.replace(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Delete the half-written files and folders that a killed run left behind over an hour ago."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if not _TEMPORARY.fullmatch(entry.name):
                continue
            with contextlib.suppress(OSError):  # deleted by another run just now
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_BEHIND:
                    is_folder = entry.is_dir(follow_symlinks=False)
                    shutil.rmtree(entry.path) if is_folder else os.unlink(entry.path)


def link_or_copy(source: Path, target: Path) -> bool:
    """Make ``target`` the same file as ``source``: a hard link where the file system can, else a whole copy.

    Returns:
        False if it was there already, of the same size; True if it was made.
    """
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return False
    with whole_file(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
    return True


class LinkJob(NamedTuple):
    """A file that is taken over as it is."""

    source: Path
    target: Path


def take_over(job: LinkJob) -> bool:
    """:func:`link_or_copy` for :func:`run`, of a file whose ends look whole.

    Raises:
        DataError: the source is a Git-LFS pointer, empty, truncated or of another kind.
    """
    if problem := next(filter(None, head_problem(job.source)), None):
        raise DataError(f"{job.source}: {problem}")
    return link_or_copy(job.source, job.target)
