"""Processes that load data and lack shared memory or open files: an error that names it, where they waited for ever."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from bss.cli import endings
from bss.utils.errors import LoadingError
from bss.utils.interrupts import Interrupted, Interrupts
from bss.utils.loading import Loader
from bss.utils.processes import loading_problem

NO_ROOM = "unable to allocate shared memory(shm) for file </torch_1_2_3>: Resource temporarily unavailable (11)"

NO_FILES = "unable to open shared memory object </torch_1_2_3> in read-write mode: Too many open files (24)"


class Tensors:
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((8,), float(index))


def test_a_loader_yields_what_pytorchs_does_and_again():
    for workers in (0, 2):
        loader = Loader(Tensors(), num_workers=workers, persistent_workers=workers > 0, batch_size=2)
        assert len(loader) == 2
        for _ in range(2):
            assert [batch[:, 0].tolist() for batch in loader] == [[0.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RuntimeError(NO_ROOM), "/dev/shm is too small"),
        (RuntimeError(NO_FILES), "too many open files"),
        (TypeError("odd"), "a process that loads data died"),
    ],
    ids=["shared memory", "open files", "another"],
)
@pytest.mark.parametrize("collate", [None, list], ids=["in the worker", "by its queue"])
def test_what_a_worker_cannot_hand_over_ends_the_loader_with_the_reason(monkeypatch, error, words, collate):
    def refuse(*_, **__):
        raise error

    # The one is what PyTorch's own collate calls, the other what the thread of a queue does, whose errors were dropped.
    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", refuse)
    if collate is None:
        monkeypatch.setattr(torch.UntypedStorage, "_new_using_fd_cpu", refuse)
        if isinstance(error, TypeError):  # any error of a data set is its own
            words = "odd"
    with pytest.raises((LoadingError, TypeError), match=words):
        list(Loader(Tensors(), num_workers=1, collate_fn=collate))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that ...", "/dev/shm is too small"),
        ("DataLoader worker (pid 7) is killed by signal: Killed. ", "died .*Most often memory ran out"),
        ("DataLoader worker (pid(s) 7) exited unexpectedly", "died .*Most often memory ran out"),
        ("Too many open files. Communication with the workers is no longer possible.", r"may open \d+"),
        ("received 0 items of ancdata", "ulimit -n 65535"),
        (f"Caught RuntimeError in DataLoader worker process 0.\nTraceback:\nRuntimeError: {NO_ROOM}\n", "--shm-size"),
        ("Caught RuntimeError in DataLoader worker process 0.\nTraceback:\nRuntimeError: my own\n", None),
        ("Caught OSError in DataLoader worker process 0.\nOSError: [Errno 28] No space left on device\n", None),
        ("CUDA error: an illegal memory access", None),
    ],
)
def test_an_error_of_a_loader_is_told_from_others(error, words, capsys):
    problem = loading_problem(RuntimeError(error))
    if words is None:
        assert problem is None
        return
    assert len(problem.splitlines()) == 2 and "--workers 0" in problem
    assert endings.status_of(RuntimeError(error)) == 2
    said = capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(LoadingError, match=words):
        raise LoadingError(said)


def test_semaphores_need_shared_memory_too():
    assert "/dev/shm is too small" in loading_problem(OSError(errno.ENOSPC, "No space left on device"))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_first_signal_is_answered_while_a_batch_is_waited_for(signum):
    def never():
        yield 1
        time.sleep(60)

    timer = threading.Timer(0.2, os.kill, (os.getpid(), signum))
    began, got = time.monotonic(), []
    with Interrupts() as interrupts, pytest.raises(Interrupted):
        timer.start()
        for item in interrupts.checked(never()):
            got.append(item)
    assert got == [1] and time.monotonic() - began < 30


def test_a_process_that_was_forked_while_a_batch_is_waited_for_leaves_signals_to_its_parent():
    with Interrupts() as interrupts, interrupts.at_once():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGTERM)  # sent to the whole group, before the loader's own handling
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0


def test_a_signal_between_two_batches_lets_the_work_on_the_first_end():
    done = []
    with Interrupts() as interrupts, pytest.raises(Interrupted):
        for item in interrupts.checked([1, 2, 3]):
            signal.raise_signal(signal.SIGTERM)
            done.append(item)
    assert done == [1]


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["auto", "none"])
def test_a_first_start_in_a_container_with_little_shared_memory(tmp_path, cache):
    script = Path(__file__).parents[2] / "CREMAD" / "train-CL.py"
    start = f"{sys.executable} {script} --sample --workers 2 --epochs 1 --out {tmp_path / 'run'} --set cache={cache}"
    command = ["unshare", "-m", "bash", "-c", f"mount -t tmpfs -o size=128k tmpfs /dev/shm || exit 77; {start}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode in (1, 77) and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip("no right to mount here")
    assert done.returncode == 2, done.stderr
    assert "error: processes that load data hand it over in shared memory, and /dev/shm is too small" in done.stderr
    assert "Traceback" not in done.stderr
