"""Many small files to make: in parallel, with a progress bar, resumable, and with a summary of what failed and why."""

import operator
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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


def run(function: Callable[[J], bool], jobs: Iterable[J], *, workers: int, label: str) -> Summary:
    """Call a function for every job, with a progress bar; a job that fails does not stop the others.

    Args:
        function: makes one file and says whether it had to (False: a whole one was there). It must be importable and
            its jobs picklable; it raises DataError for its input's fault and OSError where it cannot write.
        jobs: its arguments, perhaps a generator; one with a ``target`` is called that when it cannot be written.
        workers: processes; 0 does the work in this one.
        label: of the progress bar.

    Raises:
        RecipeError: a negative number of workers.
        KeyboardInterrupt: after Ctrl-C, when the files under way are finished.
    """
    from tqdm import tqdm

    written, kept, failures = 0, 0, []
    results = processes.each(partial(_attempt, function), jobs, workers, died=_died)
    total = operator.length_hint(jobs) or None
    for _, (made, failure) in tqdm(results, total=total, unit="file", desc=label, disable=None):
        if failure is None:
            written, kept = written + made, kept + (not made)
        else:
            failures.append(failure)
    return Summary(written, kept, sorted(failures))


def _attempt(function: Callable[[J], bool], job: J) -> tuple[bool, str | None]:
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
    folder: Path, function: Callable[[J], bool], jobs: Iterable[J], *, workers: int, failures: Sequence[str] = ()
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
