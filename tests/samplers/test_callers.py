"""What a sampler reads from the call stack, by frameworks' modules of three lines; the frameworks' own are in
tests/integrations.
"""

import sys
import types
import warnings

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader

import bss
from bss.samplers import callers

ACCELERATE = """
from torch.utils.data import BatchSampler

class DataLoaderShard:
    def __iter__(self):
        self.sampler.set_epoch(self.iteration)
        return iter(())

class BatchSamplerShard(BatchSampler):
    def __init__(self):  # what it is made of comes later
        pass

    def __iter__(self):
        yield from self.batch_sampler

class DataLoaderDispatcher:
    def __iter__(self):
        yield from self.batch_sampler
"""
FABRIC = """
class _FabricDataLoader:
    def __iter__(self):
        self.sampler.set_epoch(self.iteration)
        return iter(())
"""
TUNER = """
def _lr_find(steps):
    return steps()

def _scale_batch_size(steps):
    return steps()

def fit(steps):
    return steps()
"""


@pytest.fixture
def framework(monkeypatch):
    """Makes a module whose functions run under a framework's name."""

    def made(name, source):
        module = types.ModuleType(name)
        exec(source, module.__dict__)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return made


def made(kind, **attributes):
    """An object of a framework's class with these attributes."""
    one = kind()
    vars(one).update(attributes)
    return one


def uniform(size, **options):
    return bss.UniformSampler(size, num_replicas=1, rank=0, **options)


# ---- Accelerate shares the batches ----


@pytest.fixture
def shared(framework):
    """The indices that Accelerate's sharding gets of a sampler, of two processes and batches of two."""
    accelerate = framework("accelerate.data_loader", ACCELERATE)

    def indices(sampler, *, kind="BatchSamplerShard", drop_last=False, **attributes):
        batches = BatchSampler(sampler, 2, drop_last)
        attributes = attributes or {"num_processes": 2}
        shard = made(getattr(accelerate, kind), batch_sampler=batches, **attributes)
        return [index for batch in shard for index in batch]

    return indices


@pytest.mark.parametrize(
    ("size", "attributes", "length"),
    [
        (5, {"num_processes": 2}, 8),  # 5 samples and steps of 2 x 2: three are missing
        (8, {"num_processes": 2}, 8),
        (1, {"num_processes": 2}, 4),
        (5, {"num_processes": 2, "split_batches": True}, 6),  # a batch of 2 is shared: one is missing
        (5, {"num_processes": 1}, 5),
        (5, {"num_processes": 3, "even_batches": True}, 6),
    ],
)
def test_an_epoch_is_filled_up_to_a_step_of_all_ranks_with_samples_of_its_own(shared, size, attributes, length):
    sampler = uniform(size)
    sampler.set_epoch(0)
    order = sampler.global_order().tolist()
    filled = shared(sampler, **attributes)
    assert len(filled) == length and filled[:size] == order and set(filled) == set(order)


def test_the_samples_that_fill_an_epoch_are_drawn_without_repeats_where_there_are_enough(shared):
    sampler = uniform(5)
    drawn = []
    for epoch in range(20):
        sampler.set_epoch(epoch)
        drawn.append([sampler.global_order().tolist().index(index) for index in shared(sampler)[5:]])
    assert all(len(set(places)) == 3 for places in drawn)
    assert {place for places in drawn for place in places} == set(range(5)), "not the head of the order"


def test_a_loader_that_drops_what_fills_no_batch_gets_no_more(shared):
    assert sorted(shared(uniform(6), drop_last=True)) == list(range(6))


def test_ranks_that_would_get_different_numbers_of_batches_are_refused(shared):
    with pytest.raises(ValueError, match=r"5 samples are no multiple of the 4 .*drop_last=True, batch_size=4"):
        shared(uniform(5), num_processes=2, even_batches=False)
    assert len(shared(uniform(8), num_processes=2, even_batches=False)) == 8


def test_the_dispatcher_keeps_the_world_in_its_state(shared):
    assert len(shared(uniform(5), kind="DataLoaderDispatcher", state=types.SimpleNamespace(num_processes=2))) == 8


def test_batches_of_ones_own_are_of_any_size_and_not_filled(framework):
    accelerate = framework("accelerate.data_loader", ACCELERATE)

    def batches(sampler):  # no BatchSampler, so nobody says how many a step has
        for index in sampler:
            yield [index]

    shard = made(accelerate.BatchSamplerShard, batch_sampler=batches(uniform(5)), batch_size=2, num_processes=2)
    assert sum(1 for _ in shard) == 5


def test_a_sampler_that_shares_its_order_as_well_is_refused(shared):
    with pytest.raises(ValueError, match=r"UniformSampler\(\.\.\., num_replicas=1, rank=0\)"):
        shared(bss.UniformSampler(8, num_replicas=2, rank=0))


def test_nobody_who_shares_batches_is_nobody(framework):
    framework("accelerate.data_loader", ACCELERATE)  # loaded, and not calling
    assert callers.shards() is None
    assert len(list(BatchSampler(uniform(5), 2, False))) == 3


# ---- who sets the epoch ----


def counted(module, kind, sampler, iteration):
    """The epoch of the sampler after a framework's loader was iterated, that many times after the first."""
    iter(made(getattr(module, kind), sampler=sampler, iteration=iteration))
    list(sampler)
    return sampler.epoch


def test_accelerates_count_sets_the_epoch_where_nobody_else_does(framework):
    accelerate, sampler = framework("accelerate.data_loader", ACCELERATE), uniform(4)
    assert [counted(accelerate, "DataLoaderShard", sampler, iteration) for iteration in (0, 1, 2)] == [0, 1, 2]


def test_accelerates_count_does_not_replace_an_epoch_that_the_caller_has_set(framework):
    accelerate, sampler = framework("accelerate.data_loader", ACCELERATE), uniform(4)
    sampler.set_epoch(2)
    with pytest.raises(ValueError, match="at epoch 2, but Accelerate's loader counts its own epochs and is at 0"):
        counted(accelerate, "DataLoaderShard", sampler, 0)
    assert counted(accelerate, "DataLoaderShard", sampler, 2) == 2  # they agree
    assert counted(accelerate, "DataLoaderShard", sampler, 3) == 3
    sampler.set_epoch(7)
    with pytest.raises(ValueError, match="at epoch 7, but Accelerate's loader counts its own epochs and is at 4"):
        counted(accelerate, "DataLoaderShard", sampler, 4)


@pytest.mark.parametrize("name", ["lightning.fabric.wrappers", "lightning_fabric.wrappers"])
def test_fabrics_count_goes_on_from_the_epoch_that_the_caller_has_set(framework, name):
    fabric, sampler = framework(name, FABRIC), uniform(4)
    assert [counted(fabric, "_FabricDataLoader", sampler, iteration) for iteration in (0, 1)] == [0, 1]
    sampler.set_epoch(5)
    assert counted(fabric, "_FabricDataLoader", sampler, 2) == 5
    assert counted(fabric, "_FabricDataLoader", sampler, 3) == 6


@pytest.mark.parametrize("root", ["lightning.pytorch.tuner", "pytorch_lightning.tuner"])
@pytest.mark.parametrize(("module", "name"), [("lr_finder", "_lr_find"), ("batch_size_scaling", "_scale_batch_size")])
def test_steps_of_a_search_leave_no_trace(framework, root, module, name):
    tuner = framework(f"{root}.{module}", TUNER)
    table = bss.ScoreTable(4)
    table.update(range(4), similarity=torch.rand(4), loss=torch.rand(4))
    table.synchronize()
    sampler = bss.SelfPacedSampler(4, table=table)
    sampler.set_epoch(3)

    def steps():
        sampler.set_epoch(9)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a second pass over the epoch
            return [len(list(sampler)) for _ in range(2)]

    assert getattr(tuner, name)(steps) == [4, 4]
    assert (sampler.epoch, table.used_in) == (3, None)
    with pytest.raises(UserWarning, match="a second pass"):
        tuner.fit(steps)
    assert (sampler.epoch, table.used_in) == (9, 9)


# ---- PyTorch's loader ----


@pytest.mark.parametrize(
    ("options", "ahead"),
    [
        ({"batch_size": 3}, 3),  # the batch that is being made
        ({"batch_size": None}, 1),
        ({"batch_size": 3, "num_workers": 1, "prefetch_factor": 4}, 15),  # 1 + 1 x 4 batches of 3
    ],
)
def test_how_far_a_loader_reads_ahead(options, ahead):
    class Asked(torch.utils.data.Sampler):
        def __len__(self):
            return 6

        def __iter__(self):
            self.reader = callers.reader()
            return iter(range(6))

    sampler, data = Asked(), bss.IndexedDataset(range(6))
    assert len(list(DataLoader(data, sampler=sampler, **options))) > 0
    assert sampler.reader.dataset is data and sampler.reader.ahead == ahead
    list(sampler)
    assert sampler.reader is None
