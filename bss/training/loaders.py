"""The data loaders of a run: what it trains on, scores and measures, in which batches and on which process.

What a loader yields is a function of the recipe's seed, the epoch and the sampler: not of workers or processes.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from bss.data.batches import collate
from bss.data.indexed import Gather, IndexedDataset, Key, MapDataset, SeededViews, gatherer_of
from bss.methods import Method
from bss.samplers import OrderSampler
from bss.training.run import Run
from bss.utils import distributed
from bss.utils.devices import made_on_cpu
from bss.utils.interrupts import Interrupts
from bss.utils.loading import PooledLoader, WorkerPool
from bss.utils.seeding import generator


class _Keys(Sampler):
    """Turns a sampler's indices, or a method's codes, into the keys of :class:`bss.data.SeededViews`."""

    def __init__(self, sampler: OrderSampler):
        self.sampler = sampler

    def __iter__(self) -> Iterator[Key]:
        return (Key.of(self.sampler.epoch, code, self.sampler.size) for code in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


class _FixedBatches(Sampler):
    """The same batches in every scoring pass, as lists of keys; for ``epoch`` see :func:`begin_pass`."""

    def __init__(self, batches: Sequence[list[int]]):
        self.batches = batches
        self.epoch = 0

    def __iter__(self) -> Iterator[list[Key]]:
        return ([Key(self.epoch, index) for index in batch] for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True)
class _Codes:
    """The batches of a sampler's indices, or of a method's codes, of a training: taken one when it is asked for."""

    sampler: OrderSampler
    size: int
    drop_last: bool

    def __iter__(self) -> Iterator[Tensor]:
        with made_on_cpu():
            codes = iter(self.sampler)
        # One that a sampler of a user's own has made may give them one by one alone.
        take = getattr(codes, "take", lambda count: list(itertools.islice(codes, count)))
        while len(batch := take(self.size)) == self.size or (len(batch) and not self.drop_last):
            yield torch.as_tensor(batch, dtype=torch.int64, device="cpu")


@dataclass(frozen=True)
class _Gathered:
    """Batches of samples that lie in memory: nothing is loaded, and PyTorch's loader is not needed."""

    gather: Gather
    codes: Iterable[Tensor]
    pin: bool

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for codes in self.codes:
            batch = self.gather(codes)
            yield {name: values.pin_memory() for name, values in batch.items()} if self.pin else batch


def begin_pass(loader: DataLoader, epoch: int) -> None:
    """Let the next pass over a loader of :meth:`Loaders.scoring` yield the views of the given epoch."""
    assert isinstance(loader.batch_sampler, _FixedBatches)
    loader.batch_sampler.epoch = epoch


class Checked:
    """A loader that ends its pass when the run was asked to end."""

    def __init__(self, loader: DataLoader, interrupts: Interrupts):
        self.loader, self.interrupts = loader, interrupts

    def __iter__(self) -> Iterator[Any]:
        if getattr(self.loader, "in_memory", False):  # nothing is waited for
            return self._between_batches()
        return self.interrupts.checked(self.loader)

    def _between_batches(self) -> Iterator[Any]:
        self.interrupts.check()
        for batch in self.loader:
            yield batch
            self.interrupts.check()

    def __len__(self) -> int:
        return len(self.loader)


@dataclass(frozen=True)
class Loaders:
    """Makes the loaders of one run.

    Attributes:
        run: device and number of workers.
        batch_size: of all processes together.
        seed: of the run.
        measured: what :meth:`measuring` will be asked for, as far as it is known: the processes that load are started
            once, with all that they will load from.
    """

    run: Run
    batch_size: int
    seed: int
    measured: Sequence[MapDataset] = ()

    @property
    def workers(self) -> int:
        """Processes that load data."""
        assert self.run.workers is not None  # fit has chosen a number
        return self.run.workers

    def measuring(self, dataset: MapDataset) -> DataLoader:
        """This process's share of a data set in its own order: for what is measured."""
        order: Sequence[int] = range(len(dataset))
        if distributed.world_size() > 1:
            order = distributed.share(order)
        size = distributed.share_of_batch(self.batch_size)
        return self._loader(dataset, _whole_numbers(order).split(size), sampler=order, batch_size=size)

    def training(self, train: MapDataset, sampler: OrderSampler, method: Method, *, drop_last: bool) -> DataLoader:
        """The training samples in the sampler's order, as the method shows them.

        Args:
            train: dict samples.
            sampler: of this process.
            method: see :meth:`bss.methods.Method.wrap`.
            drop_last: leave out what does not fill the last batch.
        """
        views = method.wrap(SeededViews(IndexedDataset(train), self.seed))
        share = distributed.share_of_batch(self.batch_size)
        codes = _Codes(sampler, share, drop_last)
        return self._loader(views, codes, sampler=_Keys(sampler), batch_size=share, drop_last=drop_last)

    def scoring(
        self, view: MapDataset, *, shuffled: bool, calibration_batches: int
    ) -> tuple[DataLoader, DataLoader | None]:
        """What a scoring pass looks at, and with several processes what all of them calibrate on.

        A pass sees the samples in one fixed order. Processes share whole batches, so that a sample's batch-mates do not
        depend on how many processes there are.

        Args:
            view: the training samples as the pass sees them.
            shuffled: where BatchNorm's batches matter: the order of a list is often sorted by class or actor, which
                would make a batch's statistics those of one class.
            calibration_batches: how many all processes calibrate on.
        """
        order = list(range(len(view)))
        if shuffled:
            order = torch.randperm(len(order), generator=generator("scoring", self.seed), device="cpu").tolist()
        # Streams of their own: the scoring pass must not look at the very crops that the epoch trains on.
        views = SeededViews(IndexedDataset(view), self.seed, purpose="scoring view")
        batches = [order[at : at + self.batch_size] for at in range(0, len(order), self.batch_size)]

        def loader(members: Sequence[list[int]]) -> DataLoader:
            return self._loader(
                views, [_whole_numbers(batch) for batch in members], batch_sampler=_FixedBatches(members)
            )

        if distributed.world_size() == 1:
            return loader(batches), None
        return loader(distributed.share(batches)), loader(batches[:calibration_batches])

    def _loader(self, dataset: MapDataset | Dataset, codes: Iterable[Tensor], **options: Any) -> DataLoader:
        """A loader of a data set, or, where it lies in memory, of batches that are gathered of these codes."""
        gather = gatherer_of(dataset)
        ready = None if gather is None else _Gathered(gather, codes, self._options["pin_memory"])
        return PooledLoader(dataset, self._pool, ready=ready, **self._options, **options)

    @cached_property
    def _pool(self) -> WorkerPool:
        return WorkerPool(self.workers, self.measured, **self._options)

    @property
    def _options(self) -> dict[str, Any]:
        return {
            "pin_memory": self.run.device.type == "cuda",
            "collate_fn": collate,
            # Without a generator of its own a loader draws its base seed from the global one.
            "generator": generator("loader", self.seed),
        }


def _whole_numbers(values: Sequence[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device="cpu")
