"""What only a GPU can show; these tests skip themselves where there is none."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

import bss
from bss.engine import Run, fit
from bss.loops import score_dataset, train_one_epoch
from bss.samplers import SelfPacedSampler
from tests import tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.fixture
def cuda():
    return torch.device("cuda")


def on_gpu(batch):
    return {name: value.cuda() for name, value in batch.items()}


def test_filling_the_table_never_waits_for_the_gpu(cuda):
    table = bss.ScoreTable(64).to(cuda)
    logits, target = torch.randn(3, 16, 5, device=cuda), torch.randint(5, (16,), device=cuda)
    index = torch.arange(16, device=cuda)
    table.update(index, unimodal=[logits[0], logits[1]], fused=logits[2], target=target)  # warm-up
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        table.update(index, unimodal=[logits[0], logits[1]], fused=logits[2], target=target)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    table.synchronize()
    assert table.similarity.device.type == "cuda"
    assert int((table.age == 0).sum()) == 16


def test_the_training_loop_never_waits_for_the_gpu_between_steps(cuda):
    network = tiny.model(norm=True).to(cuda)
    batches = [on_gpu(batch) for batch in DataLoader(bss.IndexedDataset(tiny.features(32)), batch_size=8)]
    optimizer, table = torch.optim.SGD(network.parameters(), lr=0.1), bss.ScoreTable(32).to(cuda)
    train_one_epoch(network, batches, optimizer, table=table)
    seen = []

    def step(*args, **options):
        seen.append(torch.cuda.get_sync_debug_mode())

    optimizer.register_step_post_hook(step)
    torch.cuda.synchronize()
    original = torch.Tensor.item  # the one read-out at the end of the epoch is meant to wait
    torch.Tensor.item = lambda tensor: (torch.cuda.set_sync_debug_mode("default"), original(tensor))[1]
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_one_epoch(network, batches, optimizer, table=table)
    finally:
        torch.Tensor.item = original
        torch.cuda.set_sync_debug_mode("default")
    assert seen == [2] * 4


@pytest.mark.parametrize("mode", ["calibrated", "batch", "eval"])
def test_scores_on_the_gpu_equal_those_on_the_cpu(cuda, mode):
    tables = []
    for device in (torch.device("cpu"), cuda):
        table = bss.ScoreTable(40)
        loader = DataLoader(bss.IndexedDataset(tiny.features(40)), batch_size=8)
        score_dataset(tiny.model(norm=True).to(device), loader, table, mode=mode)
        tables.append(table.to("cpu"))
    assert torch.allclose(tables[0].similarity, tables[1].similarity, atol=1e-4)
    assert torch.allclose(tables[0].loss, tables[1].loss, atol=1e-3)


def test_a_run_on_the_gpu_repeats_exactly_and_leaves_the_random_states_alone(cuda, tmp_path):
    before = torch.cuda.get_rng_state()
    summaries = []
    for name in ("a", "b"):
        run = Run(out=tmp_path / name, data_root=tmp_path, device=cuda)
        network = tiny.model(norm=True, dropout=0.3)
        summaries.append(fit(network, tiny.splits(), SelfPacedSampler, replace(tiny.SPL, epochs=2), run))
    assert summaries[0] == summaries[1]
    assert torch.equal(torch.cuda.get_rng_state(), before)
