"""The path from the plan to the verdict keeps its promises in simulations, and these find it out where it does not."""

import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.study import calibration
from benchmarks.study.calibration import CHANGED, CONTROL, Setting, draw_numbers, plan_of, results_at, simulate
from bss.compare import verdict
from bss.compare.plan import Analysis
from bss.compare.tables import Results, results_of

UNLIKELY = 0.001
"""A check fails a right path with this probability, over seeds; with the seed that is set it does not."""


def bound(simulations, share=0.05):
    """The largest share of simulations that a true share explains."""
    return binom.ppf(1 - UNLIKELY, simulations, share) / simulations


def keeps_the_family():
    """Seven arms that equal the control: any verdict on them is false."""
    arms = (CONTROL, *(f"arm{i}" for i in range(7)))
    counts = simulate(Setting("family", 5, arms=arms, outcomes=("last",)), 120)
    return counts.planned == 1 and counts.false <= bound(120)


def keeps_the_looks():
    """Two equal arms, and a user who takes the planned verdict five times."""
    counts = simulate(Setting("looks", 10, arms=(CONTROL, CHANGED), outcomes=("last",), looks=5), 150)
    return counts.planned == 1 and counts.false <= bound(150)


def counts_failures():
    """An arm that gains 2 points where it trains and fails in 20 %, which is 8.4 points below: it is not better."""
    setting = Setting("failing", 20, shift=2.0, failing=((CHANGED, 0.2),), arms=(CONTROL, CHANGED), outcomes=("last",))
    counts = simulate(setting, 60)
    return counts.planned == 1 and counts.better <= bound(60)


CHECKS = (keeps_the_family, keeps_the_looks, counts_failures)


@pytest.mark.parametrize("holds", CHECKS, ids=lambda check: check.__name__)
def test_the_planned_verdict_is_false_in_no_more_than_one_of_twenty(holds):
    assert holds()


def no_holm(patch):
    patch.setattr(verdict, "holm", list)


def failures_dropped(patch):
    """Then their seeds are missing, and no verdict is the planned one."""
    patch.setattr(Results, "imputed", ())


def failures_dropped_unseen(patch):
    """As it was: the seeds that both arms have are compared, and nothing is said."""
    failures_dropped(patch)
    patch.setattr(Results, "lost", ())
    patch.setattr(verdict, "_departure", lambda *_: ("", 1))


def looks_ignored(patch):
    patch.setattr(Analysis, "level", lambda analysis: analysis.alpha)


@pytest.mark.parametrize(
    ("mutate", "holds"),
    [
        (no_holm, keeps_the_family),
        (looks_ignored, keeps_the_looks),
        (failures_dropped, counts_failures),
        (failures_dropped_unseen, counts_failures),
    ],
    ids=lambda function: function.__name__,
)
def test_a_fault_in_the_path_is_found(mutate, holds, monkeypatch):
    mutate(monkeypatch)
    assert not holds()


def test_intervals_hold_the_true_difference_as_often_as_they_say():
    setting = Setting("intervals", 5, shift=2.0, arms=(CONTROL, CHANGED), outcomes=("last",))
    counts = simulate(setting, 150)
    for found, said in ((counts.coverage, 0.95), (counts.coverage_90, 0.9)):
        assert 1 - bound(150, 1 - said) <= found <= bound(150, said)
    assert counts.type_m > 1 and counts.type_s == 0  # what is found with little power looks larger than it is


def test_a_run_that_the_machine_lost_leaves_no_planned_verdict():
    setting = Setting("lost", 4, lost=0.1)
    generator = np.random.default_rng(0)
    drawn = [draw_numbers(setting, generator) for _ in range(20)]
    made = [results_at(setting, each, 4).judgement for each in drawn]
    assert [each.planned for each in made] == [not each.lost.any() for each in drawn]
    assert {each.planned for each in made} == {True, False}


def test_the_bench_comes_to_the_verdicts_of_the_runs_themselves():
    """It puts the table of results in its place; here it is made of the runs."""
    setting = Setting("whole", 6, shift=2.0, failing=((CHANGED, 0.3), ("b", 0.2)), lost=0.03, looks=2)
    generator = np.random.default_rng(1)
    standings = set()
    for _ in range(4):
        numbers = draw_numbers(setting, generator)
        places = [(i, arm, seed) for i, arm in enumerate(setting.arms) for seed in range(3)]
        runs = [
            calibration.finished(arm, seed, dict(zip(setting.outcomes, numbers.accuracy[:, i, seed], strict=True)))
            for i, arm, seed in places
            if not (numbers.failed | numbers.lost)[i, seed]
        ]
        broken = [
            calibration.failed(arm, seed)
            for i, arm, seed in places
            if numbers.failed[i, seed] and not numbers.lost[i, seed]
        ]
        whole = results_of(runs, failed=broken, plan=plan_of(setting)).judgement
        quick = results_at(setting, numbers, 3).judgement
        assert (whole.departure, whole.missing, whole.look) == (quick.departure, quick.missing, quick.look)
        assert [each.answer for each in whole.verdicts] == [each.answer for each in quick.verdicts]
        assert [each.difference.values for each in whole.verdicts] == [
            pytest.approx(each.difference.values) for each in quick.verdicts
        ]
        standings.add(whole.planned)
    assert standings == {True, False}


def test_the_table_has_a_cell_for_every_column(monkeypatch, capsys):
    few = [Setting("equal arms, normal", 3), Setting("2 looks", 4, looks=2, every=True, share=0.5)]
    monkeypatch.setattr(calibration, "settings", lambda: iter(few))
    calibration.main(["--simulations", "4"])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {len(calibration.COLUMNS) + 1} and len(rows) == 4
    assert "python -m benchmarks.study.calibration --simulations 4 --seed 0" in printed and "CPU minutes" in printed
    assert [row.split(" | ")[2] for row in rows[2:]] == ["4", "2"]
    monkeypatch.undo()
    assert calibration.BEFORE.keys() <= {(each.name, each.n) for each in calibration.settings()}


def test_the_same_seed_draws_the_same():
    setting = Setting("equal arms, normal", 3)
    assert repr(simulate(setting, 5)) == repr(simulate(setting, 5)) != repr(simulate(setting, 5, seed=1))
