"""Devices without float64: nothing here asks for it there, and what comes out is what the CPU gives.

Each test is a process of its own, since Python can register one made-up device in a process and not take it back.
"""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.utils import backend_registration

from bss.cli import launch
from bss.utils import devices
from bss.utils.errors import RecipeError

ROOT = Path(__file__).parents[2]
HEAD = """
import copy, sys, torch
import bss
from tests.fake_device import DEVICE, NO_FLOAT64, FakeDevice
"""

DEVICE_ITSELF = """
with FakeDevice():
    values = torch.ones(3, device=DEVICE)
    assert values.device == DEVICE and (values + 1).cpu().tolist() == [2, 2, 2]
    for wrong, error in ((lambda: values.double(), TypeError), (lambda: values + torch.ones(3), RuntimeError)):
        try:
            wrong()
        except error:
            continue
        raise AssertionError("the simulation let it pass")
"""

LOOP = """
def scores_of(device):
    generator = torch.Generator().manual_seed(0)
    audio, image = torch.randn(2, 24, 4, generator=generator)
    target = torch.arange(24) % 4
    table = bss.ScoreTable(24, momentum=0.5)
    sampler = bss.SelfPacedSampler(24, table=table, seed=0)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        for index in torch.tensor(orders[-1]).split(8):
            one, other = audio[index].to(device) * (1 + epoch), image[index].to(device)
            table.update(index, unimodal=[one, other], fused=one + other, target=target[index].to(device))
        table.synchronize()
    state = table.state_dict().items()
    saved = {name: copy.copy(value).cpu() if isinstance(value, torch.Tensor) else value for name, value in state}
    table.load_state_dict(saved)
    assert table.device == torch.device(device)
    table.reset()
    return orders, saved["loss"], saved["similarity"]

there = FakeDevice()
with there:
    orders, loss, similarity = scores_of(DEVICE)
expected = scores_of("cpu")
assert orders == expected[0]
assert torch.allclose(loss, expected[1], atol=1e-6) and torch.allclose(similarity, expected[2], atol=1e-6)
"""

FIT = """
import tempfile
from dataclasses import replace
from pathlib import Path
from bss.compare.arms import find
from bss.training.run import Run
from tests import tiny

rows = {}
for arm in sys.argv[1].split(","):
    recipe = replace(find([arm])[0].recipe(tiny.CL), epochs=2, checkpoint_minutes=0)
    for device in ("cpu", DEVICE):
        with FakeDevice(), tempfile.TemporaryDirectory() as folder:
            run = Run(Path(folder) / "run", Path(folder), torch.device(device), workers=0)
            summary = bss.fit(tiny.model(), tiny.splits(), recipe, run)
            rows[str(device)] = summary["test"]["last"]["accuracy"]["all"]
    assert abs(rows["cpu"] - rows[str(DEVICE)]) <= 2 / 30 + 1e-9, (arm, rows)  # two of thirty samples, by rounding
    print(arm, rows)
"""


def run(program, *arguments):
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this PyTorch has no devices that are made in Python")  # 2.6 has not
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_device_without_float64_makes_the_orders_of_the_cpu_and_trains():
    """First that the simulated device refuses what the real one does."""
    run(DEVICE_ITSELF + LOOP + FIT, "spl+mmpareto")


@pytest.mark.slow
def test_every_arm_trains_on_a_device_without_float64():
    from bss.compare.arms import ARMS

    run(FIT, ",".join(arm.name for arm in ARMS))


@pytest.mark.parametrize(("kind", "count", "names"), [("cuda", 2, ["cuda:0", "cuda:1"]), ("mps", 1, ["mps"])])
def test_gpus_are_asked_of_pytorch(monkeypatch, kind, count, names):
    pretended = SimpleNamespace(
        is_available=lambda: True, current_accelerator=lambda: torch.device(kind), device_count=lambda: count
    )
    monkeypatch.setattr(torch, "accelerator", pretended)
    assert devices.accelerators() == names
    assert launch.device_of("auto").type == kind and launch.device_of(names[-1]) == torch.device(names[-1])
    with pytest.raises(RecipeError, match=rf"PyTorch sees {count} GPUs here \(.*\); pass --device cpu or auto"):
        launch.device_of("cuda:9")


def test_without_a_gpu_auto_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch, "accelerator", SimpleNamespace(is_available=lambda: False))
    assert devices.accelerators() == [] and launch.device_of("auto") == torch.device("cpu")
    with pytest.raises(RecipeError, match="PyTorch sees 0 GPUs here; pass --device cpu"):
        launch.device_of("mps")


def test_only_copies_to_cuda_do_not_wait(monkeypatch):
    """On mps the memory may be read after it was given back (pytorch#189690)."""
    asked = []
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **options: asked.append((device.type, options)))
    for kind in ("cuda", "mps", "cpu"):
        devices.copied(torch.ones(1), torch.device(kind))
    assert asked == [(kind, {"non_blocking": kind == "cuda"}) for kind in ("cuda", "mps", "cpu")]
