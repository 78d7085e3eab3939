"""Worker processes by what they do: the window, a dead one, Ctrl-C, and the end of a killed parent."""

import importlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bss.utils import interrupts, processes
from bss.utils.errors import DataError, RecipeError
from bss.utils.interrupts import Interrupted, interruptible

REPOSITORY = Path(__file__).parents[2]


def doubled(job):
    if job == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "wrong":
        raise DataError("wrong")
    return 2 * job


def each(jobs, workers=2, **options):
    return processes.each(doubled, jobs, workers, died=lambda job: f"{job} died", **options)


# ---- how many, by how they are started ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "cores", "default", "few", "many"),
    [("fork", 16, 8, 0, 8), ("spawn", 16, 4, 0, 4), ("forkserver", 2, 2, 0, 2)],
)
def test_there_are_fewer_processes_where_each_imports_all_anew_and_none_for_little_work(
    monkeypatch, method, cores, default, few, many
):
    monkeypatch.setattr(processes, "start_method", lambda: method)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(cores))
    assert processes.default_workers() == default
    assert processes.enough_workers(range(processes.FEW - 1)) == few
    assert processes.enough_workers(range(processes.FEW)) == many
    assert processes.worth_starting(3, 40) == (3 if method == "fork" else 0)
    assert processes.worth_starting(3, 10**6) == 3


def test_asking_for_the_start_method_does_not_settle_it():
    code = (
        "import multiprocessing; from bss.utils import processes; processes.forks(); processes.preload('ks'); "
        "multiprocessing.set_start_method('spawn'); assert not processes.forks()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY)


def test_the_server_of_processes_imports_what_loads_where_there_is_one(monkeypatch):
    named = []
    monkeypatch.setattr(multiprocessing.get_context("forkserver"), "set_forkserver_preload", named.append)
    processes.preload("ks")
    assert named == []
    monkeypatch.setattr(processes, "start_method", lambda: "forkserver")
    processes.preload("ks")
    assert "bss.data.datasets.ks" in named[0]
    for module in named[0]:
        importlib.import_module(module)  # the server leaves out what it cannot import, without a word


def test_a_process_that_died_may_have_run_the_whole_program(monkeypatch):
    died = RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly")
    assert "__main__" not in processes.loading_problem(died)
    monkeypatch.setattr(processes, "start_method", lambda: "spawn")
    assert "outside of if __name__ == '__main__'" in processes.loading_problem(died)


# ---- results and the window ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("batch", [1, 4])
def test_every_job_has_its_result(workers, batch):
    assert sorted(each(range(50), workers, batch=batch)) == [(job, 2 * job) for job in range(50)]
    assert list(each([], workers, batch=batch)) == []


@pytest.mark.parametrize(("workers", "batch"), [(0, 1), (1, 1), (2, 1), (2, 4)])
def test_no_more_jobs_are_taken_than_the_workers_have_use_for(workers, batch):
    taken = []
    endless = (taken.append(job) or job for job in itertools.count())
    results = each(endless, workers, batch=batch)
    for done in range(1, 200):
        next(results)
        assert len(taken) <= done + max(1, 2 * workers * batch)
    results.close()


def test_what_a_job_raises_ends_the_work():
    with pytest.raises(DataError, match="wrong"):
        list(each([1, 2, "wrong", *range(1000)]))


@pytest.mark.parametrize("batch", [1, 4])
def test_a_job_that_takes_its_process_down_costs_its_own_result_only(batch):
    jobs = [*range(10), "deadly", *range(10, 20), "deadly", *range(20, 30)]
    results = list(each(jobs, batch=batch))
    assert [result for job, result in results if job == "deadly"] == ["deadly died"] * 2
    assert sorted(pair for pair in results if pair[0] != "deadly") == [(job, 2 * job) for job in range(30)]


def test_every_worker_is_prepared(monkeypatch):
    results = processes.each(value_of, ["BSS_TEST"] * 4, 2, died=str, start=prepared)
    assert [value for _, value in results] == ["prepared"] * 4 and "BSS_TEST" not in os.environ


def prepared():
    os.environ["BSS_TEST"] = "prepared"


def value_of(name):
    return os.environ.get(name)


def test_a_negative_number_is_refused_at_once():
    with pytest.raises(RecipeError, match="--workers must be at least 0, got -1"):
        each([1], -1)
    processes.check_workers(0)


# ---- signals -------------------------------------------------------------------------------------------------------


POOL = """
import os, signal, sys, time
from bss.utils import processes
def work(job):
    open(os.path.join(sys.argv[1], f"began-{os.getpid()}"), "w").close()
    time.sleep(float(sys.argv[2]))
    open(os.path.join(sys.argv[1], f"done-{job}"), "w").close()
    return job
try:
    for _ in processes.each(work, range(100), 2, died=print):
        pass
except KeyboardInterrupt:
    sys.exit(130)
"""

LOADER = """
import os, sys, time
from torch.utils.data import DataLoader
from bss.utils.processes import leave_to_the_parent
class Files:
    def __len__(self):
        return 100
    def __getitem__(self, index):
        open(os.path.join(sys.argv[1], f"began-{os.getpid()}"), "w").close()
        time.sleep(float(sys.argv[2]))
        return index
for _ in DataLoader(Files(), num_workers=2, worker_init_fn=leave_to_the_parent):
    pass
"""


def start(code, folder, seconds):
    """A program with two workers, once both are at work; its process and theirs."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder, str(seconds)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: len(workers(folder)) == 2 or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def workers(folder):
    return [int(path.name.partition("-")[2]) for path in folder.glob("began-*")]


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(process):
    """Whether nothing of the program's process group is left."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("code", [POOL, LOADER], ids=["pool", "loader"])
def test_workers_end_with_a_killed_parent_also_in_the_middle_of_a_job(tmp_path, code):
    process = start(code, tmp_path, 60)
    process.kill()
    process.wait()
    until(lambda: gone(process), 10)


@pytest.mark.parametrize("code", [POOL, LOADER], ids=["pool", "loader"])
def test_a_sigterm_for_the_whole_group_is_the_parents_and_no_error_of_the_workers(tmp_path, code):
    process = start(code, tmp_path, 60)
    for worker in workers(tmp_path):
        os.kill(worker, signal.SIGTERM)  # not from the parent
    time.sleep(1.5)
    for worker in workers(tmp_path):
        os.kill(worker, 0)  # still there
    os.killpg(process.pid, signal.SIGTERM)
    _, error = process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM and "Traceback" not in error
    until(lambda: gone(process), 10)


def test_after_ctrl_c_the_jobs_under_way_are_finished_and_nothing_is_said(tmp_path):
    process = start(POOL, tmp_path, 0.3)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the workers get it too
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (130, "", "") and gone(process)
    done = len(list(tmp_path.glob("done-*")))
    assert 1 <= done <= 6


TRAINING = """
import multiprocessing, os, signal, sys, time
from bss.utils import processes
def train(orders):
    def save(*_):
        open(os.path.join(sys.argv[1], "saved"), "w").close()
        if sys.argv[2] == "1":
            os._exit(75)
    signal.signal(signal.SIGTERM, save)
    processes.GRACE = 0.5
    processes.stop_with_the_parent(orders)
    open(os.path.join(sys.argv[1], f"began-{os.getpid()}"), "w").close()
    time.sleep(60)
pipes = [multiprocessing.Pipe(duplex=False) for _ in range(2)]
for orders, _ in pipes:
    multiprocessing.get_context("fork").Process(target=train, args=(orders,)).start()
time.sleep(60)
"""


@pytest.mark.parametrize("ends", [1, 0], ids=["when it is asked", "never"])
def test_a_process_that_trains_saves_and_ends_when_its_parent_was_killed(tmp_path, ends):
    process = start(TRAINING, tmp_path, ends)
    process.kill()
    process.wait()
    until(lambda: gone(process), 10)
    assert (tmp_path / "saved").exists()


def train_until_told(orders, windows):
    """Ends with the status of an interruption; on Windows ``os.kill`` ends a process at once."""
    if windows:
        interrupts.WINDOWS = True
        os.kill = lambda *_: os._exit(9)
    with interruptible():
        try:
            processes.stop_with_the_parent(orders)
            while True:  # not one long sleep: a signal that comes right before it would not end it
                time.sleep(0.02)
        except Interrupted as error:
            os._exit(error.status)


@pytest.mark.parametrize("windows", [False, True])
def test_a_process_that_trains_is_told_to_save_through_a_pipe_also_where_signals_only_kill(windows):
    orders, told = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=train_until_told, args=(orders, windows))
    process.start()
    told.send_bytes(b"stop")
    process.join(10)
    assert process.exitcode == 75


def test_windows_waits_for_sixty_one_processes_at_most(monkeypatch):
    assert processes.startable(62) == 62
    monkeypatch.setattr(processes, "WINDOWS", True)
    assert (processes.startable(62), processes.startable(8), processes.startable(0)) == (61, 8, 0)
    made = []
    pool = ThreadPoolExecutor(1)
    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", lambda workers, **_: made.append(workers) or pool)
    assert list(each([1], workers=62)) == [(1, 2)] and made == [61]


def test_sigterm_waits_for_the_jobs_under_way_where_somebody_handles_it(monkeypatch):
    with interruptible(), pytest.raises(Interrupted, match="SIGTERM"):
        for job, _ in each(range(100)):
            if job == 0:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.05)  # here it is only noted


def test_the_handler_of_ctrl_c_is_put_back():
    before = signal.getsignal(signal.SIGINT)
    results = each(range(10))
    next(results)
    assert signal.getsignal(signal.SIGINT) is not before
    results.close()
    assert signal.getsignal(signal.SIGINT) is before
