"""The numbers that a call without them takes: a paper that names the function means these."""

import inspect

import pytest

from bss.scoring import calibration, criteria, formulas, imbalance, intervals, measures, scoring_pass, table

LOSS = {"fused_weight": 1.0, "unimodal_weight": 1.0}
WEIGHTS = {"floor": 0.01, "temperature": 1.0}


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (calibration.equal_width_bins, {"bins": 15}),
        (calibration.equal_weight_bins, {"bins": 15}),
        (calibration.reliability_curve, {"bins": 15, "adaptive": False}),
        (calibration.expected_calibration_error, {"bins": 15, "adaptive": False}),
        (criteria.feature_scores, LOSS),
        (formulas.sample_loss, LOSS),
        (formulas.order_weights, {"floor": 0.01}),
        (formulas.log_weights, WEIGHTS),
        (formulas.check_weighting, WEIGHTS),
        (formulas.head_losses, {"label_smoothing": 0.0}),
        (imbalance.linear_probe, {"max_iter": 500}),
        (intervals.wilson_interval, {"confidence": 0.95}),
        (intervals.bootstrap_weights, {"resamples": 1000, "seed": 0}),
        (intervals.bootstrap_interval, {"most": float("inf"), "confidence": 0.95}),
        (measures.HeadMeasures.reliability, {"adaptive": False}),
        (measures.HeadMeasures.measured, {"resamples": 1000, "confidence": 0.95}),
        (scoring_pass.score_dataset, {"calibration_batches": 8}),
        (table.ScoreTable, {"momentum": 0.0, **LOSS}),
        (table.ScoreTable.synchronize, {"scoring_pass": False}),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_the_numbers_that_need_not_be_given(function, numbers):
    defaults = {name: one.default for name, one in inspect.signature(function).parameters.items()}
    given = {name: value for name, value in defaults.items() if isinstance(value, int | float)}
    assert given == numbers and [type(given[name]) for name in numbers] == [type(value) for value in numbers.values()]
