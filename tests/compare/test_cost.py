"""What a comparison would cost: counted by hand, timed, and said."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bss import tasks
from bss.compare import cost
from bss.compare.arms import ARMS, find
from bss.compare.comparison import Comparison
from bss.compare.cost import Cost, Pace, Work, at_once, costs_of, duration, hours, pace_of, reckoning, size, work_of
from bss.compare.runner import train
from bss.training.run_folder import read_rows
from tests import tiny
from tests.compare import comparing
from tests.conftest import random_states

PACE = Pace(step=0.1, scored=0.02, valued=None, look=0.01, kept=3_000_000)


@pytest.fixture
def comparison(tmp_path):
    (tmp_path / "data").mkdir()
    return Comparison(
        task=str(Path(comparing.__file__)),
        arms=("uniform", "cl"),
        seeds=(0,),
        budget="epochs",
        assignments=("imbalance_every=0", "schedule.mode=eval"),
        data_root=tmp_path / "data",
        out=tmp_path / "out",
        workers=0,
    )


@pytest.fixture
def data(comparison):
    return tasks.load(comparison.task).build_data(comparison.base(), comparison.data_root)


# ---- the work of a run ----


def test_the_work_of_an_arm_is_what_its_run_does(comparison, data):
    # 48 training, 12 validation and 30 test samples in batches of 8 are 6, 2 and 4 batches; 2 epochs. Both measured
    # parts are read before the training, the first after each epoch, the test twice at the end.
    looks = (2 + 4) + 2 * 2 + 2 * 4
    for name, passes in (("uniform", 0), ("cl", 1), ("spl", 2)):
        (arm,) = find([name])
        train(comparison, arm, 0, "cpu")
        steps = sum(row["steps"] for row in read_rows(comparison.folder(name, 0)))
        assert work_of(comparison, arm, data) == Work(2, steps, passes * 6, 0, looks)


def test_calibration_imbalance_and_what_a_method_looks_at_are_work_as_well(comparison, data):
    spl, smv = find(["spl", "smv"])
    calibrated = replace(comparison, assignments=("schedule.mode=calibrated", "schedule.calibration_batches=4"))
    assert work_of(calibrated, spl, data).scored == 2 * (6 + 4)
    assert work_of(calibrated, spl, data).looks == work_of(comparison, spl, data).looks + 6
    longer = replace(comparison, epochs=8)  # SMV's warm-up is a quarter of them
    assert work_of(longer, smv, data).valued == (8 - 2) * 6


# ---- the pace ----


def test_timing_steps_leaves_the_global_random_states_alone(comparison, data, monkeypatch):
    task, model = tasks.load(comparison.task), tiny.model(norm=True, dropout=0.5)
    monkeypatch.setattr(task, "build_model", lambda *_: model)  # a task's own draws are the task's
    before = random_states()
    pace_of(comparison, find(["uniform"])[0], data, "cpu")
    assert random_states() == before


@pytest.mark.parametrize("arm", [arm.name for arm in ARMS])
def test_batches_of_every_arm_can_be_timed(comparison, data, arm):
    (named,) = find([arm])
    comparison = replace(comparison, arms=(arm,))
    pace, work = pace_of(comparison, named, data, "cpu"), work_of(comparison, named, data)
    assert pace.step > 0 and pace.look > 0 and not comparison.out.exists()
    assert ((pace.scored or 0) > 0) == (work.scored > 0)


def test_slow_batches_are_not_waited_for(monkeypatch):
    now = iter(range(0, 10_000, 12))
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(now))
    done = []
    cost._seconds_each(iter(done.append(i) for i in range(100)), torch.device("cpu"), ahead=0)
    assert len(done) == 2 + 2  # of 3 and 10: each look at the clock is 12 seconds after the one before


def test_a_run_keeps_weights_twice_and_the_momentum_once(comparison, data):
    pace = pace_of(comparison, find(["uniform"])[0], data, "cpu")
    weights = sum(value.nbytes for value in tiny.model().parameters())
    assert pace.kept == 3 * weights
    out = comparison.folder("uniform", 0)
    train(comparison, find(["uniform"])[0], 0, "cpu")
    assert pace.kept < (out / "best.pt").stat().st_size + (out / "last.pt").stat().st_size


# ---- the sum ----


def test_the_seconds_of_a_run_are_batches_times_their_pace():
    assert PACE.seconds(Work(1, steps=100, scored=50, valued=0, looks=30)) == pytest.approx(10 + 1 + 0.3)
    # Passes that nobody has timed count as what is measured.
    assert PACE.seconds(Work(1, steps=0, scored=0, valued=200, looks=0)) == pytest.approx(2)


def test_the_reckoning_says_every_arm_and_the_sum():
    costs = [
        Cost("cl", 4, Work(1, 36_000, 5_000, 0, 0), PACE),
        Cost("smv", 1, Work(1, 0, 0, 6_000, 0), replace(PACE, valued=0.3)),
    ]
    first, cl, smv, total, disk = reckoning(costs, jobs=1, devices=["cuda:0"])
    assert first.startswith("cost of a run on cuda:0, ")
    assert cl == "  cl   36,000 steps x 100 ms + 5,000 scored x 20 ms = 1.03 h; runs to make: 4"
    assert smv == "  smv  6,000 valued x 300 ms = 0.5 h (30 min); runs to make: 1"
    assert total.startswith("cost: 5 runs, 4.61 h in all; ")  # 4 x 3,700 s + 1,800 s
    assert disk == "disk: 15 MB for checkpoints, 3 MB a run"
    assert "4.61 h in all, 2.31 h with 2 at a time;" in reckoning(costs, jobs=2, devices=["cuda:0", "cuda:1"])[3]
    assert reckoning([], jobs=1, devices=["cpu"]) == ["cost: all runs are finished, so that only the report is made"]


def test_runs_on_one_gpu_wait_for_one_another(monkeypatch):
    monkeypatch.setattr(cost.torch, "get_num_threads", lambda: 4)
    assert [at_once(jobs, ["cuda:0"], 9) for jobs in (1, 2)] == [1, 1]
    assert [at_once(jobs, ["cpu"], 9) for jobs in (1, 2, 9)] == [1, 2, 4]
    assert at_once(8, ["cuda:0", "cuda:1"], 1) == 1


def test_only_arms_with_runs_left_are_timed_in_the_threads_of_a_run(comparison, data, monkeypatch):
    asked, threads = [], torch.get_num_threads()
    monkeypatch.setattr(cost.torch, "set_num_threads", asked.append)
    found = costs_of(comparison, find(["uniform", "cl"]), data, {"uniform": 0, "cl": 3}, device="cpu", jobs=4 * threads)
    assert [(each.arm, each.runs) for each in found] == [("cl", 3)] and asked == [1, threads]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59, "59 s"), (61, "1 min"), (3 * 3600 + 1260, "3 h 21 min"), (3 * 86400 + 7200, "3 d 2 h")],
)
def test_durations_have_the_units_that_matter(seconds, text):
    assert duration(seconds) == text


def test_hours_and_bytes_have_three_digits():
    assert [hours(seconds) for seconds in (180, 3600, 154_800, 36e6)] == ["0.05 h (3 min)", "1 h", "43 h", "10,000 h"]
    assert [size(count) for count in (1_500, 268.4e6, 60.4e9, 4e15)] == ["1.5 kB", "268 MB", "60.4 GB", "4000 TB"]
