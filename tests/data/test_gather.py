"""Batches of tensors in memory by one gather: the very batches that would be collated of their samples."""

import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import Subset

from bss.data.batches import collate
from bss.data.indexed import IndexedDataset, Key, SeededViews, Variants, gatherer_of
from bss.data.tensors import TensorSamples
from bss.methods import Method
from bss.samplers import UniformSampler
from bss.training.loaders import Checked, Loaders
from bss.training.run import Run
from bss.utils.interrupts import Interrupted, Interrupts


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
    views, codes = SeededViews(indexed, 0), [4, 16, 1]  # of six samples: the second is variant 2 of sample 4
    keys = [Key.of(3, code, 6) for code in codes]
    for made, asked, rows in (
        (data, [5, 0, 5], [5, 0, 5]),
        (indexed, [1, 2], [1, 2]),
        (views, keys, codes),
        (Variants(views), keys, codes),
    ):
        gather = gatherer_of(made)
        assert gather is not None and same(gather(torch.tensor(rows)), collate(made.__getitems__(asked)))
    assert gatherer_of(Variants(views))(torch.tensor(codes))["bss_variant"].tolist() == [0, 2, 0]


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


class Reversed(UniformSampler):
    def __iter__(self):
        yield from reversed(list(super().__iter__()))


@pytest.mark.parametrize("kind", [UniformSampler, Reversed], ids=["ours", "one that gives indices one by one"])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_are_those_of_a_loader_and_a_batch_is_taken_only_when_it_is_asked_for(monkeypatch, kind, drop_last):
    loaders, batches, places = Loaders(Run(Path(), Path(), torch.device("cpu")), 4, 0), [], []
    for gathered in (True, False):
        sampler = kind(6, seed=1)
        sampler.set_epoch(2)
        with monkeypatch.context() as patch:
            if gathered:
                patch.setattr(TensorSamples, "__getitems__", None)
            else:
                patch.delattr(TensorSamples, "gatherer")
            loader = loaders.training(samples(), sampler, Method(), drop_last=drop_last)
            passing = iter(loader)
            batches.append([next(passing)])
            places.append([sampler.state_dict()["position"]])
            batches[-1] += passing
            places[-1].append(sampler.state_dict()["position"])
    assert places[0] == places[1] and len(batches[0]) == len(batches[1]) == 2 - drop_last
    if kind is UniformSampler:
        assert places[0] == [4, 6]  # a run saves its place between two batches
    assert all(same(one, other) for one, other in zip(*batches, strict=True))


def test_what_is_measured_and_scored_is_gathered_in_the_very_batches(monkeypatch):
    loaders = Loaders(Run(Path(), Path(), torch.device("cpu")), 4, 0)

    def made():
        scoring, _ = loaders.scoring(samples(), shuffled=True, calibration_batches=1)
        return [*loaders.measuring(samples()), *scoring, *scoring]

    gathered = made()
    monkeypatch.delattr(TensorSamples, "gatherer")
    assert all(same(one, other) for one, other in zip(gathered, made(), strict=True)) and len(gathered) == 6


def test_a_request_to_end_is_answered_between_two_batches_in_memory():
    loaders = Loaders(Run(Path(), Path(), torch.device("cpu")), 4, 0)
    with Interrupts() as interrupts:
        passing = iter(Checked(loaders.measuring(samples()), interrupts))
        assert len(next(passing)["label"]) == 4
        interrupts.noted = signal.SIGTERM
        with pytest.raises(Interrupted):
            next(passing)
        with pytest.raises(Interrupted):
            next(iter(Checked(loaders.measuring(samples()), interrupts)))


def test_samples_with_the_same_numbers_are_listed_as_equal():
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0], [0.0, 0.0], [-0.0, 0.0]])
    rows = TensorSamples({"one": values, "none": torch.empty(5, 0)}, torch.tensor([0, 1, 1, 0, 0])).listed_rows()
    assert [row.label for row in rows] == [0, 1, 1, 0, 0] and rows[0].content == rows[2].content
    assert len({row.content for row in rows}) == 4  # bytes that differ are not equal, also of zeros
