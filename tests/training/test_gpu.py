"""What only a GPU can show; these tests skip themselves where there is none."""

import contextlib
import json
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import bss
from bss.cli.commands import main
from bss.data.transforms.views import Picture, Pictures, Sound
from bss.models.frontends import FrameViews, RepeatToLength
from bss.scoring.scoring_pass import score_dataset
from bss.training.engine import fit
from bss.training.loops import Step, train_epoch
from bss.training.run import Run
from bss.training.run_folder import read_checkpoint
from bss.training.watch import TrainingWatch
from bss.utils.interrupts import Interrupted
from tests import tiny
from tests.compare import comparing

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.fixture
def cuda():
    return torch.device("cuda")


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


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_training_loop_never_waits_for_the_gpu_between_steps(cuda, precision):
    network = tiny.model(norm=True).to(cuda)
    loader = DataLoader(bss.IndexedDataset(tiny.features(32)), batch_size=8, pin_memory=True)
    batches = list(loader)  # pinned on the host: the copies to the GPU are part of the loop
    optimizer, table = torch.optim.SGD(network.parameters(), lr=0.1, fused=True), bss.ScoreTable(32).to(cuda)
    options = {"table": table, "precision": precision, "watch": TrainingWatch(network)}
    options["scaler"] = torch.amp.GradScaler("cuda", init_scale=16.0, enabled=precision == "fp16")
    train_epoch(Step(network, optimizer, **options), batches)
    seen = []

    def step(*args, **options):
        seen.append(torch.cuda.get_sync_debug_mode())

    optimizer.register_step_post_hook(step)
    torch.cuda.synchronize()
    original = torch.Tensor.item  # the one read-out at the end of the epoch is meant to wait
    torch.Tensor.item = lambda tensor: (torch.cuda.set_sync_debug_mode("default"), original(tensor))[1]
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_epoch(Step(network, optimizer, **options), batches)
    finally:
        torch.Tensor.item = original
        torch.cuda.set_sync_debug_mode("default")
    assert seen == [2] * 4


@pytest.mark.parametrize("mode", ["calibrated", "batch", "eval"])
def test_scores_on_the_gpu_equal_those_on_the_cpu(cuda, mode):
    tables = []
    for device in (torch.device("cpu"), cuda):
        table = bss.ScoreTable(40)
        loader = DataLoader(bss.IndexedDataset(tiny.features(40)), batch_size=8, sampler=[1, 0, *range(2, 40)])
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
        summaries.append(fit(network, tiny.splits(), replace(tiny.SPL, epochs=2), run))
    assert tiny.untimed(summaries[0]) == tiny.untimed(summaries[1])
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"precision": "fp16"}, {"compile": True}], ids=str)
def test_a_run_in_mixed_precision_or_compiled_learns_what_the_plain_one_does(cuda, tmp_path, changes):
    losses = []
    for number, changed in enumerate(({}, changes)):
        run = Run(out=tmp_path / str(number), data_root=tmp_path, device=cuda)
        network = tiny.model(norm=True)
        names = list(network.state_dict())
        fit(network, tiny.splits(), replace(tiny.SPL, **changed), run)
        assert list(network.state_dict()) == list(read_checkpoint(run.out / "last.pt")["model"]) == names
        losses.append([json.loads(row)["train_loss"] for row in (run.out / "metrics.jsonl").open()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3 if "compile" in changes else 0.2)


def test_a_run_in_fp16_that_was_stopped_goes_on_with_its_loss_scale(cuda, tmp_path):
    recipe, data, summaries = replace(tiny.SPL, precision="fp16"), tiny.splits(), []
    stopping = replace(data, train=tiny.Signalling(data.train, 80, signal.SIGTERM))  # in the second of 56 each
    for name, parts in (("whole", [data]), ("stopped", [stopping, data])):
        run = Run(out=tmp_path / name, data_root=tmp_path, device=cuda)
        for part in parts:
            with pytest.raises(Interrupted) if part is stopping else contextlib.nullcontext():
                summary = fit(tiny.model(norm=True), part, recipe, run)
        summaries.append(tiny.untimed(summary))
    assert summaries[0] == summaries[1]
    scales = [read_checkpoint(tmp_path / name / "last.pt")["scaler"] for name in ("whole", "stopped")]
    assert scales[0] == scales[1] and scales[0]["scale"] > 0


def test_repeating_sounds_and_resizing_pictures_never_waits_and_equals_the_cpus(cuda):
    rng = np.random.default_rng(0)
    looks = {(360, 480, 3): False, (101, 77, 3): True, (9, 300, 3): True}
    pictures = [Pictures([Picture(rng.integers(0, 256, shape, np.uint8), flip)]) for shape, flip in looks.items()]
    sounds = [Sound(rng.standard_normal(length).astype(np.float32), 8000) for length in (5, 700, 1500)]
    window, views = RepeatToLength(1000), FrameViews(224)
    expected = window(Sound.batch(sounds)), views(Pictures.batch(pictures))
    batches = [
        {name: part.to(cuda) for name, part in batch.items()}
        for batch in (Sound.batch(sounds), Pictures.batch(pictures))
    ]
    window, views = window.to(cuda), views.to(cuda)
    window(batches[0]), views(batches[1])  # warm-up
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        repeated, squares = window(batches[0]), views(batches[1])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(repeated.cpu(), expected[0])
    assert (squares.cpu() - expected[1]).abs().max() <= 1.01 / 255 / 0.224  # a grey level


def test_a_run_of_the_gpu_is_loaded_on_the_cpu_and_has_its_numbers_again_on_the_gpu(cuda, tmp_path):
    task = comparing.__file__
    words = ["train", task, "--arm", "spl", "--data-root", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main([*words, "--device", "cuda", "--workers", "0", "--epochs", "2"]) == 0
    model, *_ = bss.load_run(tmp_path / "run", task=task)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    for device in ("cuda", "cpu"):
        out = tmp_path / device
        words = ["evaluate", str(tmp_path / "run"), "--task", task, "--device", device, "--out", str(out)]
        assert main([*words, "--resamples", "0"]) == 0
        own = json.loads((out / "evaluation.json").read_text())["runs"][0]["own_test"]
        assert own["same"] if device == "cuda" else "cpu now" in own["elsewhere"]
