"""Accelerate shards our order once, and its own count of epochs does not replace ours unnoticed."""

import math

import pytest
import torch

pytest.importorskip("accelerate")

from accelerate import Accelerator, skip_first_batches
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, DataLoader

import bss
from tests.plugins import BATCH, EPOCHS, Record, Samples, accelerate, check, curriculum, plain, two_processes


def prepared(**options):
    sampler = curriculum(num_replicas=1, rank=0, **options)
    loader = Accelerator(cpu=True).prepare(DataLoader(bss.IndexedDataset(Samples()), batch_size=BATCH, sampler=sampler))
    return sampler, loader


def test_one_process_equals_the_plain_loop_bit_for_bit():
    record = accelerate()
    check([record], interleaved=True)
    assert record == plain()


def test_two_processes_see_every_window_once_and_get_the_same_scores():
    records = two_processes()["accelerate"]
    check(records, interleaved=False)
    expected = plain()
    for record in records:
        assert record.orders == expected.orders
        for name in ("similarity", "loss", "weights"):
            assert getattr(record, name) == pytest.approx(getattr(expected, name), abs=1e-4)


def test_a_sampler_that_shards_as_well_is_refused_before_samples_are_lost():
    for messages in two_processes()["messages"]:
        assert "CurriculumSampler(..., num_replicas=1, rank=0)" in messages["sharded twice"]


def test_a_sampler_that_nobody_shards_is_warned_of():
    for messages in two_processes()["messages"]:
        assert "every rank iterates over all samples" in messages["not sharded"]


def test_accelerate_s_own_count_does_not_replace_an_epoch_that_was_set():
    sampler, loader = prepared()
    sampler.set_epoch(2)
    with pytest.raises(ValueError, match=r"at epoch 2, but Accelerate's .* is at 0: call loader\.set_epoch"):
        next(iter(loader))


def test_the_prepared_loader_s_set_epoch_and_accelerate_s_own_count_both_work():
    seen = []
    for explicit in (True, False):
        sampler, loader = prepared()
        record = Record()
        for epoch in range(EPOCHS):
            if explicit:
                loader.set_epoch(epoch)
            for batch in loader:
                record.step(sampler, batch["bss_index"])
        check([record], interleaved=True)
        seen.append(record)
    assert seen[0] == seen[1]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(("size", "batch"), [(21, 4), (24, 8), (7, 4), (3, 4), (1, 2), (17, 2)])
def test_what_accelerate_would_fill_with_the_head_of_the_order_is_drawn(size, batch, split):
    """``even_batches`` repeats the first samples, of SPL the most balanced ones, up to a step of all ranks."""
    sampler = bss.SelfPacedSampler(size, difficulty=torch.rand(size), num_replicas=1, rank=0)
    batches = BatchSampler(sampler, batch, drop_last=False)
    again = []
    for epoch in range(40):
        sampler.set_epoch(epoch)
        parts = [list(BatchSamplerShard(batches, 2, rank, split_batches=split)) for rank in range(2)]
        assert len(parts[0]) == len(parts[1]) == len(BatchSamplerShard(batches, 2, 0, split_batches=split))
        seen = [index for step in zip(*parts, strict=True) for part in step for index in part]
        order = sampler.global_order().tolist()
        assert seen[:size] == order and len(seen) == math.ceil(size / (unit := batch if split else 2 * batch)) * unit
        again += [order.index(index) for index in seen[size:]]
    if size > 10 and again:
        assert max(again) > size // 2  # of the whole order


@pytest.mark.parametrize("options", [{}, {"drop_last": True, "batch_size": 8}], ids=["uneven", "whole steps"])
def test_ranks_that_would_get_different_numbers_of_batches_are_refused_with_the_way_out(options):
    sampler = bss.SelfPacedSampler(17, difficulty=torch.rand(17), num_replicas=1, rank=0, **options)
    parts = [BatchSamplerShard(BatchSampler(sampler, 4, False), 2, rank, even_batches=False) for rank in range(2)]
    if options:
        assert [len(list(part)) for part in parts] == [2, 2]
        return
    with pytest.raises(ValueError, match=r"17 samples .* of the 8 in a step .*drop_last=True, batch_size=8"):
        list(parts[0])


def test_a_loader_that_drops_its_last_batch_is_not_filled():
    sampler = bss.SelfPacedSampler(21, difficulty=torch.rand(21), num_replicas=1, rank=0)
    parts = [list(BatchSamplerShard(BatchSampler(sampler, 4, True), 2, rank)) for rank in range(2)]
    assert [len(part) for part in parts] == [2, 2]


def test_a_training_goes_on_in_the_middle_of_an_epoch_by_skipping_batches():
    sampler, loader = prepared()
    loader.set_epoch(2)
    batches = iter(loader)
    first = next(batches)["bss_index"].tolist()
    state = sampler.state_dict()
    rest = [batch["bss_index"].tolist() for batch in batches]
    resumed, loader = prepared()
    resumed.load_state_dict(state, position=0)  # Accelerate skips them
    loader.set_epoch(2)
    again = [batch["bss_index"].tolist() for batch in skip_first_batches(loader, 1)]
    assert again == rest
    assert [index for batch in [first, *again] for index in batch] == resumed.global_order().tolist()
