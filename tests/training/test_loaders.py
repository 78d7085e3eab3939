"""The loaders of a run share their processes, which may be started in any way, and yield what this process would."""

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import dataloader

from bss.training.engine import fit
from bss.training.run import Run
from bss.utils.errors import LoadingError
from bss.utils.loading import Loader, PooledLoader, WorkerPool
from tests import tiny

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
from tests.training.test_loaders import run

if __name__ == "__main__":
    run(Path(sys.argv[1]), 1)
"""

# What a system lacks or does otherwise, done to every process as Python starts.
SYSTEMS = {
    "spawn": "multiprocessing.set_start_method('spawn')",
    "forkserver": "multiprocessing.set_start_method('forkserver')",
    "macOS": "multiprocessing.set_start_method('spawn'); del os.sched_getaffinity, signal.sigtimedwait",
    "Windows": "multiprocessing.set_start_method('spawn'); del os.sched_getaffinity, signal.sigtimedwait; "
    "del signal.pthread_sigmask, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, os.fork; sys.modules['fcntl'] = None",
}


def run(out, workers):
    """A run of every kind of pass: scoring, training with random views, validation, test."""
    recipe = replace(tiny.SPL, epochs=2)
    return fit(tiny.model(), tiny.splits(noise=0.5), recipe, Run(out, out, torch.device("cpu"), workers=workers))


def weights(out):
    return torch.load(out / "best.pt", weights_only=True)["model"]


@pytest.fixture
def start_method(request):
    """Processes are started as the parameter says."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield request.param
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_however_processes_are_started_the_weights_are_those_of_one_process(tmp_path, system):
    (tmp_path / "sitecustomize.py").write_text(f"import multiprocessing, os, signal, sys\n{SYSTEMS[system]}\n")
    (tmp_path / "program.py").write_text(PROGRAM)
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py", tmp_path / "there"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    here = run(tmp_path / "here", 0)
    assert tiny.rows(tmp_path / "here")[-1]["val"] == tiny.rows(tmp_path / "there")[-1]["val"] and here["updates"]
    for name, value in weights(tmp_path / "here").items():
        assert torch.equal(value, weights(tmp_path / "there")[name]), name


def test_a_run_starts_its_processes_once_and_not_for_every_pass(tmp_path, monkeypatch):
    starts, real = [], dataloader._MultiProcessingDataLoaderIter.__init__
    monkeypatch.setattr(
        dataloader._MultiProcessingDataLoaderIter,
        "__init__",
        lambda self, loader: starts.append(loader.num_workers) or real(self, loader),
    )
    run(tmp_path, 2)  # that the weights are the same is tested in test_engine
    assert starts == [2]


class Numbers:
    def __init__(self, first):
        self.first = first

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.first + index, os.getpid()


def pooled(pool, first, order):
    return PooledLoader(Numbers(first), pool, sampler=order, batch_size=2)


def test_loaders_of_a_pool_take_turns_in_the_same_process():
    pool = WorkerPool(1)
    one, two = pooled(pool, 10, [0, 1, 2]), pooled(pool, 20, [5, 4, 3])
    passes = [list(loader) for loader in (one, two, one)]
    assert [torch.cat([number for number, _ in batches]).tolist() for batches in passes] == [
        [10, 11, 12],
        [25, 24, 23],
        [10, 11, 12],
    ]
    owners = {int(owner) for batches in passes for _, part in batches for owner in part}
    assert len(owners) == 1 and os.getpid() not in owners
    assert next(iter(one))[0].tolist() == [10, 11]  # a pass that is left
    later = pooled(pool, 30, [0])
    assert [number.tolist() for number, _ in later] == [[30]] and len(list(two)) == 2


def test_a_pass_does_not_go_on_after_another_one_of_its_pool_began():
    pool = WorkerPool(1)
    first = iter(pooled(pool, 10, range(6)))
    second = pooled(pool, 20, range(6))
    next(first)
    next(iter(second))
    with pytest.raises(RuntimeError, match="after another one with the same processes began"):
        next(first)


@pytest.mark.parametrize("start_method", ["spawn", "forkserver"], indirect=True)
def test_a_data_set_that_cannot_be_sent_to_a_new_process_is_an_error_with_the_way_out(start_method):
    with pytest.raises(LoadingError, match=r"cannot be sent to the processes.*\n.*--workers 0"):
        list(Loader([lambda: 0], num_workers=1))
