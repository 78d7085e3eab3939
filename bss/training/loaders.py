"""The data loaders of a run: what it trains on, scores and measures, in which batches and on which process.

What a loader yields is a function of the recipe's seed, the epoch and the sampler: not of workers or processes.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from bss.data.batches import collate
from bss.data.indexed import IndexedDataset, SeededViews
from bss.data.splits import Splits
from bss.recipes.recipe import Recipe
from bss.samplers import OrderSampler
from bss.training.run import Run
from bss.utils import distributed
from bss.utils.interrupts import Interrupts
from bss.utils.processes import leave_to_the_parent
from bss.utils.seeding import generator, mixed_seed


class _Keys(Sampler):
    """Turns a sampler's indices into the (epoch, index) keys of :class:`bss.data.indexed.SeededViews`."""

    def __init__(self, sampler: OrderSampler):
        self.sampler = sampler

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.sampler.epoch, index) for index in self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


class _FixedBatches(Sampler):
    """The same batches in every scoring pass, as lists of (epoch, index) keys; ``epoch`` is set from outside."""

    def __init__(self, batches: list[list[int]]):
        self.batches = batches
        self.epoch = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(self.epoch, index) for index in batch] for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Checked:
    """A loader that ends its pass when the run was asked to end."""

    def __init__(self, loader: DataLoader, interrupts: Interrupts):
        self.loader, self.interrupts = loader, interrupts

    def __iter__(self) -> Iterator[Any]:
        return self.interrupts.checked(self.loader)

    def __len__(self) -> int:
        return len(self.loader)


def _data_loader(dataset: Dataset, recipe: Recipe, run: Run, *, once: bool = False, **options: Any) -> DataLoader:
    """A loader with the run's settings; ``once`` lets its workers end after the first pass."""
    return DataLoader(
        dataset,
        num_workers=run.workers,
        persistent_workers=run.workers > 0 and not once,
        pin_memory=run.device.type == "cuda",
        collate_fn=collate,
        worker_init_fn=leave_to_the_parent,
        # Without a generator of its own a loader draws its base seed from the global one.
        generator=torch.Generator().manual_seed(mixed_seed("loader", recipe.seed)),
        **options,
    )


def measuring_loader(dataset: Dataset, recipe: Recipe, run: Run, *, once: bool = False) -> DataLoader:
    """This process's share of a data set in its own order: for what is measured."""
    if distributed.world_size() > 1:
        dataset = Subset(dataset, distributed.share(range(len(dataset))))
    batch_size = distributed.share_of_batch(recipe.batch_size)
    return _data_loader(dataset, recipe, run, once=once, batch_size=batch_size)


def training_loader(data: Splits, sampler: OrderSampler, recipe: Recipe, run: Run) -> DataLoader:
    """The training samples in the sampler's order."""
    views = SeededViews(IndexedDataset(data.train), recipe.seed)
    batch_size = distributed.share_of_batch(recipe.batch_size)
    # With tail="draw" the sampler itself leaves out what does not fill a batch.
    last = recipe.tail == "last"
    return _data_loader(views, recipe, run, sampler=_Keys(sampler), batch_size=batch_size, drop_last=last)


def scoring_loaders(data: Splits, recipe: Recipe, run: Run) -> tuple[DataLoader, DataLoader | None]:
    """What a scoring pass looks at, and with several processes what all of them calibrate on.

    A pass sees the samples in one fixed order: shuffled where BatchNorm's batches matter, else that of the list, which
    is often sorted by class or actor and would make a batch's statistics those of one class. Processes share whole
    batches, so that a sample's batch-mates do not depend on how many processes there are.
    """
    order = list(range(len(data.score)))
    if recipe.schedule.mode in ("calibrated", "batch"):
        order = torch.randperm(len(order), generator=generator("scoring", recipe.seed)).tolist()
    view = data.train if recipe.schedule.view == "train" else data.score
    # Streams of their own: the scoring pass must not look at the very crops that the epoch trains on.
    views = SeededViews(IndexedDataset(view), recipe.seed, purpose="scoring view")
    batches = [order[at : at + recipe.batch_size] for at in range(0, len(order), recipe.batch_size)]
    once = recipe.schedule.rescore == "once"

    def loader(members: list[list[int]]) -> DataLoader:
        return _data_loader(views, recipe, run, once=once, batch_sampler=_FixedBatches(members))

    if distributed.world_size() == 1:
        return loader(batches), None
    return loader(distributed.share(batches)), loader(batches[: recipe.schedule.calibration_batches])
