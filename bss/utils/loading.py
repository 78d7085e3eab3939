"""A data loader that says what its processes lack; apart from :mod:`bss.utils.processes`, since it needs PyTorch."""

from collections.abc import Iterator
from typing import TypeVar

from torch.utils.data import DataLoader

from bss.utils.errors import LoadingError
from bss.utils.processes import leave_to_the_parent, loading_problem

T = TypeVar("T")


class Loader(DataLoader[T]):
    """PyTorch's loader, whose processes end with this one, leave signals to it, and name what keeps them from working.

    Without, a process that finds no shared memory for a batch drops it, and the loader waits for it for ever.
    """

    def __init__(self, dataset: object, **options: object):
        # PyTorch reads a length and samples of the first, and its own class asks for the types of the others.
        super().__init__(dataset, worker_init_fn=leave_to_the_parent, **options)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]  # PyTorch names its own class; nothing asks for it
        """The batches.

        Raises:
            LoadingError: there is too little shared memory, too few files may be open, or a process died.
        """
        batches = None
        try:
            batches = super().__iter__()
            yield from batches
        except (OSError, RuntimeError) as error:
            if self.num_workers == 0:
                raise
            statuses = [worker.exitcode for worker in getattr(batches, "_workers", ())]
            problem = loading_problem(error, statuses)
            if problem is None:
                raise
            raise LoadingError(problem) from error
