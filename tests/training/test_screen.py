"""What a run prints."""

import pytest

from bss.training.screen import closing_lines, epoch_line

METRICS = {"accuracy": {"all": 0.5, "fused": 0.25, "audio": 0.4, "visual": 0.3}}
SUMMARY = {"test": {"chosen": METRICS, "last": METRICS}, "chosen_epoch": 1}
ROW = {"epoch": 0, "samples": 40, "train_loss": 1.0, "seconds": 2.0}


@pytest.mark.parametrize(
    ("prediction", "name"),
    [("all", "all"), ("unimodal", "prediction (audio + visual)"), ("fused", "prediction (fused)")],
)
def test_a_prediction_that_is_no_sum_of_all_heads_is_not_called_so(prediction, name):
    told = f"{name} 50.0  fused 25.0  audio 40.0  visual 30.0"
    assert f"  val accuracy %: {told}  (2.0 s)" in epoch_line(ROW, 3, METRICS, "val", prediction)
    assert closing_lines(SUMMARY, prediction).splitlines() == [
        f"test accuracy %, epoch 2 (chosen on validation): {told}",
        f"test accuracy %, last epoch: {told}",
    ]
    oracle = {**SUMMARY, "oracle": {"epoch": 0, **METRICS}}
    assert closing_lines(oracle, prediction).splitlines()[0] == f"best on test (oracle), epoch 1: {told}"
