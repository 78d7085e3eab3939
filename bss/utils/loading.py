"""Data loaders that say what their processes lack; apart from :mod:`bss.utils.processes`, since it needs PyTorch."""

import pickle
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

from torch.utils.data import DataLoader, Dataset, Sampler

from bss.utils.devices import made_on_cpu
from bss.utils.errors import LoadingError, first_line
from bss.utils.processes import forks, leave_to_the_parent, loading_problem

T = TypeVar("T")


class Loader(DataLoader[T]):
    """PyTorch's loader, whose processes end with this one, leave signals to it, and name what keeps them from working.

    Without, a process that finds no shared memory for a batch drops it, and the loader waits for it for ever.
    """

    def __init__(self, dataset: object, **options: object):
        # PyTorch reads a length and samples of the first, and its own class asks for the types of the others.
        super().__init__(dataset, worker_init_fn=leave_to_the_parent, **options)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]  # PyTorch names its own class
        """The batches.

        Raises:
            LoadingError: there is too little shared memory, too few files may be open, a process died, or a new
                process cannot be sent what it is to load.
        """
        batches = None
        try:
            try:
                with made_on_cpu():  # PyTorch draws a seed with this loader's CPU generator, and copies begin in here
                    batches = super().__iter__()
            except (AttributeError, TypeError, pickle.PicklingError) as error:
                if self.num_workers == 0 or forks() or "pickle" not in str(error):
                    raise
                raise LoadingError(
                    f"the data set cannot be sent to the processes that load it: {first_line(error, 150)}.\nDefine "
                    "what it is made of at the top of a module, and open files when they are read, or pass --workers 0"
                ) from error
            while (batch := _next(batches)) is not _END:
                yield batch
        except LoadingError:
            raise
        except (OSError, RuntimeError) as error:
            if self.num_workers == 0:
                raise
            statuses = [worker.exitcode for worker in getattr(batches, "_workers", ())]
            problem = loading_problem(error, statuses)
            if problem is None:
                raise
            raise LoadingError(problem) from error


_END: Any = object()


def _next(batches: Iterator[T]) -> T:
    """The next batch, made on the CPU; not in a block around a ``yield``, which whoever takes the batch would be in."""
    with made_on_cpu():
        return next(batches, _END)


class WorkerPool:
    """Processes that load for several loaders, one pass at a time; for those of :class:`PooledLoader`.

    A persistent loader of PyTorch's keeps processes of its own between its passes. Each holds PyTorch and the data set,
    which costs little where it begins as a copy of this process (fork) and hundreds of megabytes and seconds elsewhere.

    Args:
        workers: how many; 0 = every loader loads in this process.
        known: data sets that will be loaded from. Another one, asked for later, has the processes start anew.
        options: of PyTorch's loader.
    """

    def __init__(self, workers: int, known: Iterable[object] = (), **options: object):
        self.workers = workers
        self._options = options
        self._sources = list(known)
        self._passes = _Passes()
        self._loader: Loader[object] | None = None

    def add(self, dataset: object) -> int:
        """Its number, by which the processes know it."""
        for number, known in enumerate(self._sources):
            if known is dataset:
                return number
        self._loader = None
        self._sources.append(dataset)
        return len(self._sources) - 1

    def batches(self, source: int, keys: Iterable[Sequence[object]]) -> Iterator[object]:
        """One pass: the batches of a data set, each of the samples of so many keys.

        Raises:
            RuntimeError: this pass goes on after another one began.
            LoadingError: see :meth:`Loader.__iter__`.
        """
        if self._loader is None:
            self._loader = Loader(
                _Sources(list(self._sources)),
                num_workers=self.workers,
                persistent_workers=True,
                batch_sampler=self._passes,
                **self._options,
            )
        mine = self._passes.now = (source, keys)
        for batch in self._loader:
            yield batch
            if self._passes.now is not mine:
                raise RuntimeError("a pass over the data goes on after another one with the same processes began")


class _Passes(Sampler):
    """What the pass under way asks for: the number of a data set with the keys of a batch."""

    def __init__(self) -> None:
        self.now: tuple[int, Iterable[Sequence[object]]] = (0, ())

    def __iter__(self) -> Iterator[tuple[int, Sequence[object]]]:
        source, batches = self.now
        return ((source, keys) for keys in batches)


class _Sources(Dataset):
    """Several data sets as one, for a loader that asks for a batch of one of them at a time."""

    def __init__(self, sources: Sequence[Any]):
        self.sources = sources

    def __getitems__(self, request: tuple[int, Sequence[Any]]) -> list[Any]:
        source, keys = request
        dataset = self.sources[source]
        fetch = getattr(dataset, "__getitems__", None)  # as PyTorch's fetcher looks for it
        return fetch(keys) if fetch else [dataset[key] for key in keys]


class PooledLoader(Loader[T]):
    """A loader whose batches are made by a pool that it shares with others, or in this process where that has none.

    Args:
        dataset: map-style.
        pool: its options must be those of this loader.
        ready: the very batches, made in this process without loading a sample, which are used where the pool has no
            processes; None = there is nothing of the kind.
        options: of PyTorch's loader; batches are made by it, not by the data set.
    """

    def __init__(self, dataset: object, pool: WorkerPool, *, ready: Iterable[T] | None = None, **options: object):
        super().__init__(dataset, **options)
        self._pool, self._source, self._ready = pool, pool.add(dataset), ready

    @property
    def in_memory(self) -> bool:
        """Whether the batches are the ready ones."""
        return self._pool.workers == 0 and self._ready is not None

    def __iter__(self) -> Iterator[T]:  # type: ignore[override]  # as above
        """The batches; see :meth:`Loader.__iter__`."""
        if self._pool.workers == 0:
            return super().__iter__() if self._ready is None else iter(self._ready)
        assert self.batch_sampler is not None
        return cast(Iterator[T], self._pool.batches(self._source, self.batch_sampler))
