"""Batches of tensors in memory by one gather: the very batches that would be collated of their samples."""

import pytest
import torch
from torch.utils.data import Subset

from bss.data.batches import collate
from bss.data.indexed import IndexedDataset, Key, SeededViews, Variants, gatherer_of
from bss.data.tensors import TensorSamples
from bss.utils.loading import PooledLoader, WorkerPool


def samples(dtype: torch.dtype = torch.float32, kind: type[TensorSamples] = TensorSamples) -> TensorSamples:
    values = torch.arange(48).reshape(6, 2, 4).to(dtype)
    return kind({"one": values, "other": values.transpose(1, 2)}, torch.tensor([2, 0, 1, 2, 1, 0], dtype=torch.int32))


def same(batch, expected) -> bool:
    assert list(batch) == list(expected)
    return all(
        torch.equal(values, expected[name])
        and values.dtype == expected[name].dtype
        and values.stride() == expected[name].stride()
        for name, values in batch.items()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_a_gathered_batch_is_the_collated_one_in_values_types_and_strides(dtype):
    data = samples(dtype)
    indexed = IndexedDataset(data)
    views, keys = SeededViews(indexed, 0), [Key(3, 4), Key(3, 4, 2), Key(3, 1)]
    for made, asked in ((data, [5, 0, 5]), (indexed, [1, 2]), (views, keys), (Variants(views), keys)):
        gather = gatherer_of(made)
        assert gather is not None and same(gather(asked), collate(made.__getitems__(asked)))
    assert gatherer_of(Variants(views))(keys)["bss_variant"].tolist() == [0, 2, 0]


class Doubled(TensorSamples):
    def __getitem__(self, index):
        return {**super().__getitem__(index), "one": 2 * self.modalities["one"][index]}


class Drawn(TensorSamples):
    random_views = True

    def gatherer(self):
        return self._gathered


def test_what_may_make_its_samples_in_another_way_is_not_gathered():
    for data in (samples(kind=Doubled), Subset(samples(), [1, 2]), [1, 2, 3]):
        assert gatherer_of(IndexedDataset(data)) is None
    # One that draws is gathered where nothing asks for the views of an epoch.
    drawn = samples(kind=Drawn)
    assert gatherer_of(IndexedDataset(drawn)) is not None and gatherer_of(SeededViews(IndexedDataset(drawn), 0)) is None


def test_a_loader_gathers_in_its_own_process_and_takes_a_batch_only_when_it_is_asked_for(monkeypatch):
    data, taken = IndexedDataset(samples()), []
    order = (taken.append(index) or index for index in (5, 1, 0, 2))
    monkeypatch.setattr(IndexedDataset, "__getitems__", None)
    loader = PooledLoader(data, WorkerPool(0), gather=gatherer_of(data), sampler=order, batch_size=3)
    batches = iter(loader)
    assert next(batches)["bss_index"].tolist() == [5, 1, 0] and taken == [5, 1, 0]  # a run saves its place between two
    assert next(batches)["label"].tolist() == [1] and next(batches, None) is None
