"""Accelerate shards our order once, and its own count of epochs does not replace ours unnoticed."""

import pytest

pytest.importorskip("accelerate")

from accelerate import Accelerator, skip_first_batches
from torch.utils.data import DataLoader

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
