"""Wrappers that add an index, a variant and a seed to a data set's samples."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset

from bss.utils.seeding import seeded

INDEX_KEY = "bss_index"
"""The key under which :class:`IndexedDataset` adds the sample's index to a dict sample."""


VARIANT_KEY = "bss_variant"
"""The key under which :class:`Variants` adds the variant of a sample."""


class MapDataset(Protocol):
    """A map-style data set: it has a length, and gives a sample for every index below that.

    PyTorch's ``Dataset`` says nothing of a length, since other data sets are streams.
    """

    def __len__(self) -> int:
        """How many samples there are."""

    def __getitem__(self, index: int, /) -> Any:
        """The sample at an index; what it is, the data set decides."""


Gather = Callable[[Tensor], dict[str, Tensor]]
"""Maps B codes (:meth:`Key.of`), int64 on the CPU, to the batch that would be collated of their samples."""


def gatherer_of(dataset: object) -> Gather | None:
    """What makes whole batches of a data set in memory, by one gather for each tensor.

    It is what the class's own ``gatherer`` method returns. A class that inherits one may make its samples in another
    way, so it must say so anew.

    Returns:
        None where samples are made one by one: the class has no such method, or what it wraps has none.
    """
    own = vars(type(dataset)).get("gatherer")
    return None if own is None else own(dataset)


class IndexedDataset(Dataset):
    """Adds the sample's index to what ``dataset`` returns, so that scores can be attributed to samples.

    A dict sample, or another mapping (``UserDict``, transformers' ``BatchEncoding``), gets the key ``"bss_index"`` in a
    dict of its own; any other sample becomes ``(index, sample)``. The index travels with the batch: it stays right
    under shuffling, several workers and ``in_order=False``. Nothing here changes after construction, so persistent
    workers and spawn are safe.

    ``None``, by which a data set says that it cannot give a sample, stays ``None``, for a ``collate_fn`` that leaves it
    out. A data set that gives another sample instead returns it as :class:`bss.data.StandIn`; the score would
    otherwise be that of the sample that was asked for.

    It is the outermost wrapper that changes the numbers: a part is ``IndexedDataset(Subset(dataset, indices))``, and a
    concatenation ``IndexedDataset(ConcatDataset([a, b]))``. Samplers and scoring passes refuse the other way round,
    where the index is not the sample's place in the loader's data set.

    Args:
        dataset: any map-style data set; its ``__getitems__`` is used where it has one.

    Raises:
        ValueError: a data set that is a stream, or anything else without places and a length.
    """

    def __init__(self, dataset: MapDataset):
        streams = isinstance(dataset, IterableDataset)
        lacking = [name for name in ("__getitem__", "__len__") if not hasattr(type(dataset), name)]
        if streams or lacking:
            found = "gives its samples in an order of its own" if streams else f"has no {' and no '.join(lacking)}"
            raise ValueError(
                f"a {type(dataset).__name__} {found}, and an order is made of places in a data set: give one with "
                "__len__ and __getitem__, such as a list of the samples"
            )
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return _with_index(index, self.dataset[index])

    @property
    def random_views(self) -> bool:
        """Whether a sample may be another one at its next access: False only where the data set says so."""
        return getattr(self.dataset, "random_views", True)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        samples = fetched(self.dataset, indices)
        return [_with_index(index, sample) for index, sample in zip(indices, samples, strict=True)]

    def gatherer(self) -> Gather | None:
        """See :func:`gatherer_of`."""
        gather = gatherer_of(self.dataset)
        return None if gather is None else lambda rows: {**gather(rows), INDEX_KEY: rows.clone()}


def fetched(dataset: MapDataset, indices: Sequence[int]) -> list[Any]:
    """The samples of a data set at some indices, at once where it has ``__getitems__``.

    Raises:
        ValueError: that returned another number of samples.
    """
    fetch = getattr(dataset, "__getitems__", None)
    if not fetch:
        return [dataset[index] for index in indices]
    samples = fetch(indices)
    if len(samples) != len(indices):
        raise ValueError(
            f"__getitems__ of a {type(dataset).__name__} returned {len(samples)} samples for {len(indices)} indices, "
            "so whose they are cannot be told: return None in the place of one that is missing"
        )
    return samples


class StandIn(NamedTuple):
    """What a data set returns for a sample that it cannot give: another one, with that one's own index.

    :class:`IndexedDataset` then says whose sample it is, and the one that was asked for goes without a score.

    Attributes:
        index: position of the sample that is given.
        sample: it, as the data set returns it elsewhere.
    """

    index: int
    sample: Any


def _with_index(index: int, sample: Any) -> Any:
    if isinstance(sample, StandIn):
        index, sample = sample
    if sample is None:
        return None
    return {**sample, INDEX_KEY: index} if isinstance(sample, Mapping) else (index, sample)


def check_numbering(dataset: Any, *, num_samples: int | None = None) -> None:
    """Refuse a loader's data set in which ``"bss_index"`` is not the sample's place.

    An :class:`IndexedDataset` numbers what it wraps, and by that it is told from others: two over the same data set
    agree.

    Args:
        dataset: as the loader has it, wrapped in whatever has a ``dataset``, ``views`` or ``datasets``.
        num_samples: N of the sampler that orders it; None = the batches say which samples they hold, so parts of the
            data are no matter.

    Raises:
        ValueError: several numberings, that of another data set than the one that is ordered, or one of another length.
    """
    found = list(_indexed_parts(dataset))
    if len({id(part.dataset) for part, _ in found}) > 1:
        raise ValueError(
            f"{len(found)} IndexedDatasets in one number their samples from 0 each, so different samples share an "
            "index: wrap the whole, bss.IndexedDataset(ConcatDataset([a, b])) of the data sets themselves"
        )
    if num_samples is None or not found:
        return
    part, chosen = found[0]
    if chosen is not None and list(chosen) != list(range(len(part))):
        raise ValueError(
            f"the loader has a part of {len(chosen)} samples of an IndexedDataset of {len(part)}, so the sampler's "
            "places are not the samples' indices: wrap the part, bss.IndexedDataset(Subset(dataset, indices)), with a "
            "table and a sampler of its length"
        )
    if len(part) != num_samples:
        raise ValueError(
            f"the data set has {len(part)} samples, and the sampler orders {num_samples}: table and sampler are made "
            "for one length, so make both anew, with len(dataset), when it has grown"
        )


def _indexed_parts(dataset: Any, chosen: Sequence[int] | None = None) -> Iterator[tuple[IndexedDataset, Any]]:
    """The IndexedDatasets inside a data set, and of each the indices that a Subset chooses of it, or None."""
    if isinstance(dataset, IndexedDataset):
        yield dataset, chosen
        return
    if isinstance(dataset, Subset):
        chosen = dataset.indices
    inner = [getattr(dataset, name, None) for name in ("dataset", "views")]
    several = getattr(dataset, "datasets", None)
    inner += list(several) if isinstance(several, (list, tuple)) else []
    for part in inner:
        if isinstance(part, Dataset):
            yield from _indexed_parts(part, chosen)


def index_and_sample(batch: Any) -> tuple[Tensor | Sequence[int], Any]:
    """Split a batch of :class:`IndexedDataset` into the (B,) index and what the data set itself returned.

    Raises:
        ValueError: the batch has no index.
    """
    if isinstance(batch, Mapping) and INDEX_KEY in batch:
        return batch[INDEX_KEY], batch
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        index = batch[0]
        if isinstance(index, Tensor):
            found = index.ndim == 1 and not index.is_floating_point()
        else:  # of a collate_fn of the user's own
            several = index.ndim == 1 if isinstance(index, np.ndarray) else isinstance(index, (tuple, list))
            found = several and all(isinstance(position, int | np.integer) for position in index)
        if found:
            return index, batch[1]
    raise ValueError(
        f"the batch, a {type(batch).__name__}, carries no sample index: wrap the training set as "
        "bss.IndexedDataset(dataset)"
    )


class Key(NamedTuple):
    """What a training loader asks a data set for.

    Attributes:
        epoch: 0-based.
        index: position of the sample in the data set.
        variant: 0 = the sample as the order has it; others are more views of it in the same epoch, see
            :meth:`bss.methods.Method.arrange`.
    """

    epoch: int
    index: int
    variant: int = 0

    @classmethod
    def of(cls, epoch: int, code: int, num_samples: int) -> "Key":
        """The key of a code, ``index + num_samples * variant``: how samplers and methods write a variant down."""
        variant, index = divmod(code, num_samples)
        return cls(epoch, index, variant)


class SeededViews(Dataset):
    """Makes each random view a pure function of (seed, epoch, index, variant).

    It is indexed by :class:`Key`. A crop then does not depend on the number of workers, on the order of the samples or
    on what else draws random numbers, and a resumed run needs no worker state.

    Args:
        dataset: map-style data set whose random transform draws from torch's default CPU generator. One that has an
            attribute ``random_views`` = False draws nothing, and its batches are fetched as they are.
        seed: in [0, 2**32).
        purpose: sets different uses of one seed apart.
    """

    def __init__(self, dataset: Dataset, seed: int, *, purpose: str = "view"):
        self.dataset = dataset
        self.seed = seed
        self.purpose = purpose

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Any:
        epoch, index, variant = Key(*key)
        with seeded(self.purpose, self.seed, epoch, index + len(self) * variant):
            return self.dataset[index]

    def __getitems__(self, keys: list[Key]) -> list[Any]:
        if getattr(self.dataset, "random_views", True):
            return [self[key] for key in keys]
        return fetched(self.dataset, [Key(*key).index for key in keys])

    def gatherer(self) -> Gather | None:
        """See :func:`gatherer_of`; None where views are drawn at random."""
        gather, size = None if getattr(self.dataset, "random_views", True) else gatherer_of(self.dataset), len(self)
        return None if gather is None else lambda codes: gather(codes % size)


class Variants(Dataset):
    """Adds the variant of its :class:`Key` to a dict sample, under :data:`VARIANT_KEY`.

    Args:
        views: gives every variant a view of its own.
    """

    def __init__(self, views: SeededViews):
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, key: Key) -> Any:
        return {**self.views[key], VARIANT_KEY: Key(*key).variant}

    def __getitems__(self, keys: list[Key]) -> list[Any]:
        samples = self.views.__getitems__(keys)
        return [{**sample, VARIANT_KEY: Key(*key).variant} for sample, key in zip(samples, keys, strict=True)]

    def gatherer(self) -> Gather | None:
        """See :func:`gatherer_of`."""
        gather, size = gatherer_of(self.views), len(self)
        return None if gather is None else lambda codes: {**gather(codes), VARIANT_KEY: codes // size}
