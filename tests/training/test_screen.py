"""What a run prints."""

from dataclasses import replace
from pathlib import Path

import pytest

from bss.recipes.recipe import CurriculumSchedule
from bss.training.screen import closing_lines, epoch_line, growth_note, seconds_left, way_on
from tests import tiny

METRICS = {"accuracy": {"all": 0.5, "fused": 0.25, "audio": 0.4, "visual": 0.3}}
SUMMARY = {"test": {"chosen": METRICS, "last": METRICS}, "chosen_epoch": 1}
ROW = {"epoch": 0, "samples": 40, "train_loss": 1.0, "seconds": 2.0}


@pytest.mark.parametrize(
    ("prediction", "name"),
    [("all", "all"), ("unimodal", "prediction (audio + visual)"), ("fused", "prediction (fused)")],
)
def test_a_prediction_that_is_no_sum_of_all_heads_is_not_called_so(prediction, name):
    told = f"{name} 50.0  fused 25.0  audio 40.0  visual 30.0"
    assert f"  val accuracy %: {told}  gap 10.0  (2.0 s)" in epoch_line(ROW, 3, METRICS, "val", prediction)
    assert closing_lines(SUMMARY, prediction).splitlines() == [
        f"test accuracy %, epoch 2 (chosen on validation): {told}",
        f"test accuracy %, last epoch: {told}",
    ]
    oracle = {**SUMMARY, "oracle": {"epoch": 0, **METRICS}}
    assert closing_lines(oracle, prediction).splitlines()[0] == f"best on test (oracle), epoch 1: {told}"


def test_an_epoch_is_one_line_with_the_time_that_is_left():
    line = epoch_line(ROW, 3, METRICS, "val", "all", 3725.0)
    assert line.startswith("epoch 1/3  40 samples  loss 1.000  val accuracy %: all 50.0") and "\n" not in line
    assert line.endswith("gap 10.0  (2.0 s, about 1:02:05 left)")
    alone = {"accuracy": {"all": 0.5, "audio": 0.5}}  # one modality has no gap
    assert "gap" not in epoch_line(ROW, 3, alone, "val", "audio")


def test_the_time_that_is_left_follows_the_samples_and_the_epochs_to_come():
    # Of 10 + 30 + 60 samples 10 took 2 s; 90 more take 18 s. Between epochs 1 s was spent, twice more it will be.
    assert seconds_left(2.0, 1.0, [10, 40, 100], done=1) == pytest.approx(18.0 + 2.0)
    assert seconds_left(8.0, 2.0, [10, 40, 100], done=2) == pytest.approx(12.0 + 1.0)
    assert seconds_left(20.0, 3.0, [10, 40, 100], done=3) == 0.0


def test_a_run_ends_with_its_folder_and_the_command_that_measures_it():
    assert way_on(Path("runs/a b"), "cremad") == (
        "run folder: runs/a b\nnext: python -m bss evaluate 'runs/a b' --out 'runs/a b-evaluate'"
    )
    assert way_on(Path("x"), "/my/task.py").endswith("bss evaluate x --task /my/task.py --out x-evaluate")
    assert way_on(Path("x"), None).endswith("next: python -m bss report x --out x-report")


def test_a_schedule_that_outlasts_its_run_is_said_before_anything_is_read():
    short = replace(tiny.CL, epochs=3, schedule=CurriculumSchedule(start=0.25, grow_epochs=12, pacing="linear"))
    # After 3 of 12 epochs: 0.25 + 0.75 / 4 = 0.4375.
    assert growth_note(short).startswith(
        "schedule.grow_epochs=12 is more than the 3 epochs of the schedule, so this run ends with 44 % of the training"
    )
    for schedule in (CurriculumSchedule(grow_epochs=3), CurriculumSchedule(start=1.0)):
        assert growth_note(replace(short, schedule=schedule)) == ""
    assert growth_note(replace(short, updates=900)) == ""
