"""Who is asking a sampler, read from the call stack.

A sampler is told a number of samples and nothing else, and loaders and frameworks hand it nothing: the call stack is
the one place where they meet before samples are lost.
"""

import itertools
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

from torch.utils.data import BatchSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter


class Reader(NamedTuple):
    """A PyTorch loader that is asking for indices.

    Attributes:
        dataset: the loader's.
        ahead: how many indices it may have taken of a pass when it is dropped, beyond those of the batches that it has
            handed out: the batches that its processes prefetch, and one more.
    """

    dataset: Any
    ahead: int


class Shards(NamedTuple):
    """How Accelerate shares the batches of a sampler among the ranks.

    Attributes:
        unit: samples of a step over all ranks; it fills an epoch up to a multiple of these, from its beginning.
        even: whether it fills at all: with ``even_batches=False`` ranks get different numbers of batches.
        drop_last: whether the loader leaves out what does not fill a batch.
    """

    unit: int
    even: bool
    drop_last: bool


def reader() -> Reader | None:
    """The PyTorch loader that is asking for indices; None where none is."""
    for frame in itertools.islice(_callers(), 16):
        # PyTorch's frames alone are asked: until Python 3.13 a frame keeps the locals that it was asked for, and what
        # they hold, until it ends.
        if frame.f_globals.get("__name__") != _BaseDataLoaderIter.__module__:
            continue
        loader = frame.f_locals.get("self")
        if isinstance(loader, _BaseDataLoaderIter):
            batch = getattr(getattr(loader, "_index_sampler", None), "batch_size", None) or 1
            batches = 1 + loader._num_workers * (getattr(loader, "_prefetch_factor", None) or 0)
            return Reader(loader._dataset, batch * batches)
    return None


def called_by_accelerate(*functions: str) -> bool:
    """Whether one of Accelerate's loader functions, by the beginning of its qualified name, is calling.

    Accelerate takes any sampler, shards it and numbers its epochs without a word to it.
    """
    return _calls("accelerate.data_loader", *functions) is not None


def called_by_fabric() -> bool:
    """Whether the loader of Lightning's Fabric is calling, which numbers the epochs by how often it was iterated."""
    modules = ("lightning.fabric.wrappers", "lightning_fabric.wrappers")
    return any(_calls(module, "_FabricDataLoader.__iter__") is not None for module in modules)


def called_by_tuner() -> bool:
    """Whether Lightning is looking for a learning rate or a batch size.

    Those steps are no training: Lightning puts the network back, and leaves callbacks out.
    """
    finders = {"lr_finder": "_lr_find", "batch_size_scaling": "_scale_batch_size"}
    roots = ("lightning.pytorch.tuner", "pytorch_lightning.tuner")
    return any(_calls(f"{root}.{module}", name) for root in roots for module, name in finders.items())


def shards() -> Shards | None:
    """How Accelerate shares the batches that are being asked for; None where it is not asking, or has one rank."""
    caller = _calls("accelerate.data_loader", "BatchSamplerShard.", "DataLoaderDispatcher.")
    if caller is None:
        return None
    shard = caller.f_locals["self"]
    world = shard.num_processes if hasattr(shard, "num_processes") else shard.state.num_processes
    if world == 1:
        return None
    found = (frame.f_locals.get("self") for frame in itertools.islice(_callers(), 16))
    batches = next((one for one in found if isinstance(one, BatchSampler) and hasattr(one, "sampler")), None)
    size = getattr(batches, "batch_size", None)
    if not isinstance(size, int):
        return None  # batches of the user's own, of any size
    unit = size if getattr(shard, "split_batches", False) else size * world
    return Shards(unit, getattr(shard, "even_batches", True), bool(getattr(batches, "drop_last", False)))


def _calls(module: str, *functions: str) -> FrameType | None:
    """The caller that is one of a module's functions, by the beginning of its qualified name.

    Costs nothing where the module is not loaded.
    """
    if module not in sys.modules:
        return None
    for frame in _callers():
        if frame.f_globals.get("__name__") == module and frame.f_code.co_qualname.startswith(functions):
            return frame
    return None


def _callers() -> Iterator[FrameType]:
    """The frames that led here, but for those of this module.

    A function whose own locals are asked for while a frame is among them would hold itself and all of its callers, the
    loader's processes with them, until the garbage is collected.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals is not globals():
            yield frame
        frame = frame.f_back
