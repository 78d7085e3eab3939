"""Many small files to make: in parallel, with a progress bar, resumable, and with a summary of what failed and why.

Where a file is to be made and another one is already there, what was not made here stays, and is named: it may be the
only copy of somebody's work. ``--force`` replaces it.
"""

import operator
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bss.data import file_heads
from bss.data.datasets.listing import head_problem
from bss.utils import processes
from bss.utils.errors import DataError
from bss.utils.filesystem import sweep, whole_file
from bss.utils.processes import J

SHOWN_FAILURES = 20


class Summary(NamedTuple):
    """What came of a batch of jobs.

    Attributes:
        written: number of files (or folders) made.
        kept: number that were there already.
        failures: one line for each that failed: its name and why; sorted.
        others: one line for each of the kept that was not made here: its name and what it is; sorted.
    """

    written: int
    kept: int
    failures: list[str]
    others: list[str]

    def report(self, what: str) -> str:
        """The counts in a line, and the first failures and kept files of others below it."""
        lines = [f"{what}: {self.written} written, {self.kept} kept, {len(self.failures)} failed"]
        lines += shown(self.failures)
        if self.others:
            lines += [f"{len(self.others)} of those kept were not made here (--force replaces them):"]
            lines += shown(self.others)
        return "\n".join(lines)


def shown(failures: Sequence[str]) -> list[str]:
    """The first failures as indented lines, and how many more there are."""
    lines = [f"  {failure}" for failure in failures[:SHOWN_FAILURES]]
    if len(failures) > SHOWN_FAILURES:
        lines.append(f"  ... and {len(failures) - SHOWN_FAILURES} more")
    return lines


Made = bool | str
"""True: the file was written; False: it was there already; a text: another one is there, was kept, and is that."""


class OccupiedError(DataError):
    """A file is there already, not of the kind that is made here, and of no use in place of the one to be made."""

    def __init__(self, target: Path, what: str):
        super().__init__(f"{target} is there already and {what}; it stays as it is, and --force replaces it")


def run(function: Callable[[J], Made], jobs: Iterable[J], *, workers: int, label: str) -> Summary:
    """Call a function for every job, with a progress bar; a job that fails does not stop the others.

    Args:
        function: makes one file and says whether it had to, see :data:`Made`. It must be importable and its jobs
            picklable; it raises DataError for its input's fault and OSError where it cannot write.
        jobs: its arguments, perhaps a generator; one with a ``target`` is called that when it cannot be written.
        workers: processes; 0 does the work in this one.
        label: of the progress bar.

    Raises:
        RecipeError: a negative number of workers.
        KeyboardInterrupt: after Ctrl-C, when the files under way are finished.
    """
    from tqdm import tqdm

    made: list[Made] = []
    failures = []
    results = processes.each(partial(_attempt, function), jobs, workers, died=_died)
    total = operator.length_hint(jobs) or None
    for _, (answer, failure) in tqdm(results, total=total, unit="file", desc=label, disable=None):
        if failure is None:
            made.append(answer)
        else:
            failures.append(failure)
    written = made.count(True)
    others = [answer for answer in made if isinstance(answer, str)]
    return Summary(written, len(made) - written, sorted(failures), sorted(others))


def _attempt(function: Callable[[J], Made], job: J) -> tuple[Made, str | None]:
    """Whether a file was written, and the failure if it could not be."""
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


def _died(job: Any) -> tuple[bool, str]:
    target = getattr(job, "target", None) or job
    return False, f"{target}: its process died, most often out of memory; run again with fewer --workers"


def fill(
    folder: Path, function: Callable[[J], Made], jobs: Iterable[J], *, workers: int, failures: Sequence[str] = ()
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


def holds_something(path: Path) -> bool:
    """Whether a file is there whose loss would be one; an empty one or a Git-LFS pointer is none."""
    if not path.exists():
        return False
    return path.is_dir() or not file_heads.absence(*file_heads.read_head(path))


def link_or_copy(source: Path, target: Path, *, force: bool = False) -> bool:
    """Make ``target`` the same file as ``source``: a hard link where the file system can, else a whole copy.

    Args:
        source: the file.
        target: where it is wanted.
        force: whether another file that is there is replaced.

    Returns:
        False if it was there already, of the same size; True if it was made.

    Raises:
        OccupiedError: another file is there.
    """
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return False
    if holds_something(target) and not force:
        raise OccupiedError(target, f"has another size than {source}")
    with whole_file(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
    return True


class LinkJob(NamedTuple):
    """A file that is taken over as it is.

    Attributes:
        source: the file.
        target: where it is wanted.
        force: whether another file that is there is replaced.
    """

    source: Path
    target: Path
    force: bool = False


def take_over(job: LinkJob) -> bool:
    """:func:`link_or_copy` for :func:`run`, of a file whose ends look whole.

    Raises:
        DataError: the source is a Git-LFS pointer, empty, truncated or of another kind; another file is there.
    """
    if problem := next(filter(None, head_problem(job.source)), None):
        raise DataError(f"{job.source}: {problem}")
    return link_or_copy(job.source, job.target, force=job.force)
