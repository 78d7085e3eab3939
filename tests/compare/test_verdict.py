"""Verdicts by hand: three answers, which looks were planned, what a family is, and how it is said."""

from dataclasses import replace

import pytest

from bss.compare.plan import Analysis
from bss.compare.statistics import seeds_to_decide, t_interval, t_test
from bss.compare.verdict import ANSWERS, judge, sentences

SEEDS = tuple(range(10))
NOISE = (0.2, -0.4, 0.1, 0.3, -0.2, -0.1, 0.4, -0.3, 0.0, 0.2)
"""Of mean 0.02 and deviation 0.27."""


def analysis(arms=("uniform", "cl"), *, outcomes=("chosen", "last"), seeds=SEEDS, looks=1, margin=1.0):
    contrasts = tuple((arm, arms[0]) for arm in arms[1:])
    return Analysis(arms, seeds, contrasts, "accuracy", outcomes, margin, looks)


def numbers(shifts, *, seeds=SEEDS, outcomes=("chosen", "last"), scale=1.0):
    """Outcome -> arm -> seed -> percent: uniform is 50, and every arm its shift above it, but for the noise."""
    arms = {"uniform": dict.fromkeys(seeds, 50.0)}
    arms |= {arm: {seed: 50 + shift + scale * NOISE[seed % 10] for seed in seeds} for arm, shift in shifts.items()}
    return {outcome: arms for outcome in outcomes}


def planned(outcomes, analysis, **options):
    return judge(outcomes, analysis, has_plan=True, **options)


# ---- three answers ----


@pytest.mark.parametrize(
    ("shift", "scale", "answer"),
    [
        (5.0, 1.0, "better"),
        (-5.0, 1.0, "worse"),
        (0.5, 1.0, "better, by less than the margin"),
        (-0.5, 1.0, "worse, by less than the margin"),
        (0.0, 1.0, "equivalent"),
        (0.5, 10.0, "undecided"),
        (5.0, 0.0, "better"),  # +5.0 with each of ten seeds was "no arm differs"
        (0.0, 0.0, "equivalent"),
    ],
    ids=str,
)
def test_a_difference_is_better_worse_equivalent_or_undecided(shift, scale, answer):
    made = planned(numbers({"cl": shift}, scale=scale), analysis())
    assert [each.answer for each in made.verdicts] == [answer] * 2 and answer in ANSWERS
    low, high = t_interval(made.verdicts[0].difference.values, 0.9) or (shift, shift)
    assert made.verdicts[0].equivalent == (-1 < low and high < 1)


def test_ten_equal_differences_have_the_p_value_of_their_signs():
    made = planned(numbers({"cl": 5.0}, scale=0.0), analysis())
    assert [each.p_holm for each in made.verdicts] == [2 * 2 / 1024, 2 * 2 / 1024]
    assert made.verdicts[0].detectable is None
    three = planned(numbers({"cl": 5.0}, scale=0.0, seeds=SEEDS[:3]), analysis(seeds=SEEDS[:3]))
    assert three.verdicts[0].answer == "undecided" and three.verdicts[0].difference.p == 0.25


def test_holm_is_over_all_contrasts_and_outcomes_together():
    values = numbers({"cl": 0.2, "spl": 0.1, "anti": 0.05})
    made = planned(values, analysis(("uniform", "cl", "spl", "anti")))
    p = t_test([0.2 + noise for noise in NOISE])
    assert (
        made.find("cl", "uniform", "chosen").p_holm == made.find("cl", "uniform", "last").p_holm == pytest.approx(6 * p)
    )
    assert {each.family for each in made.verdicts} == {6}


def test_a_planned_comparison_that_is_not_there_still_counts():
    """The family was whatever ``--arms`` says: Holm's p was 0.200 with 33 arms and 0.015 with 3 of them."""
    arms = ("uniform", *(f"arm{i}" for i in range(32)))
    whole = analysis(arms)
    values = numbers({arm: 0.3 if arm == "arm0" else 0.1 for arm in arms[1:]})
    cut = {outcome: {arm: each[arm] for arm in arms[:3]} for outcome, each in values.items()}
    before, after = planned(values, whole), planned(cut, whole)
    assert before.find("arm0", "uniform", "last").p_holm == after.find("arm0", "uniform", "last").p_holm
    assert before.planned and not after.planned
    assert after.departure.startswith("cut from a planned family of 64 comparisons, without arm2, arm3, arm4, arm5, ")
    assert after.find("arm31", "uniform", "last").answer == "not tested"
    alone = judge(cut, analysis(arms[:3]), has_plan=False)
    assert alone.verdicts[0].family == 4 and alone.departure == "no plan was written before the runs"


def test_what_the_seeds_can_see_and_how_many_would_decide():
    (verdict, _) = planned(numbers({"cl": 0.5}, scale=10.0), analysis()).verdicts
    std = verdict.difference.std
    assert std == pytest.approx(2.658, abs=1e-3)
    assert (
        verdict.detectable[0] == pytest.approx(0.996 * std, rel=2e-3) and verdict.detectable[1] > verdict.detectable[0]
    )
    assert verdict.further == seeds_to_decide(std, 10, 0.05 / 2, 1.0)


# ---- looks ----


PLAN = analysis(looks=2)


@pytest.mark.parametrize(
    ("seeds", "look", "departure"),
    [
        (range(5), 1, ""),
        (range(10), 2, ""),
        (range(3), None, "a look before the first planned one: at 3 seeds, and the plan looks at 5, 10"),
        (range(7), None, "a look between the planned ones: at 7 seeds, and the plan looks at 5, 10"),
        (range(12), None, "a look beyond the plan, which has no seeds 10, 11"),
        (range(5, 10), None, "a look at other seeds than the first 5 of the plan (0 to 4)"),
    ],
    ids=["first", "second", "before", "between", "beyond", "others"],
)
def test_a_look_is_planned_at_the_first_seeds_of_the_plan_alone(seeds, look, departure):
    made = planned(numbers({"cl": 5.0}, seeds=tuple(seeds)), PLAN)
    assert (made.look, made.departure, made.planned) == (look, departure, not departure)
    assert {each.level for each in made.verdicts} == {0.025}  # alpha is spent evenly over two looks


def test_the_level_of_a_look_decides():
    # t = 3.2 with 4 degrees of freedom: p = 0.033 for one outcome, below 5 % and above 2.5 %.
    base = (-1.0, -0.5, 0.0, 0.5, 1.0)
    shift = 3.2 * (0.625 / 5) ** 0.5
    values = {"last": {"uniform": dict.fromkeys(range(5), 50.0), "cl": {i: 50 + shift + base[i] for i in range(5)}}}
    once = analysis(outcomes=("last",), seeds=SEEDS[:5], margin=0.1)
    assert planned(values, once).verdicts[0].answer == "better"
    twice = replace(once, seeds=SEEDS, looks=2)
    assert planned(values, twice).verdicts[0].answer == "undecided" and planned(values, twice).look == 1


def test_seeds_that_were_finished_before_the_plan_are_exploratory():
    made = planned(numbers({"cl": 5.0}, seeds=SEEDS[:5]), PLAN, seen=(3, 4, 9))
    assert made.departure == "runs of seeds 3, 4 were finished before the plan was made"
    assert planned(numbers({"cl": 5.0}, seeds=SEEDS[:5]), PLAN, seen=(9,)).planned


def test_a_run_that_is_missing_makes_it_incomplete_and_is_no_outcome():
    values = numbers({"cl": 5.0})
    del values["chosen"]["cl"][3]
    made = planned(values, PLAN)
    assert made.departure == "cl seed 3 is missing"
    made = planned(numbers({"cl": 5.0}, seeds=SEEDS[:5]), PLAN, missing=["spl seed 3: killed"])
    assert made.departure == "runs are missing"
    first = sentences(made, "accuracy")[0]
    assert first.startswith("INCOMPLETE: 1 run was lost (spl seed 3: killed). The same command makes up for it;")


def test_more_arms_than_were_planned_change_nothing():
    values = numbers({"cl": 5.0, "spl": 9.0})
    assert planned(values, analysis()) == planned(numbers({"cl": 5.0}), analysis())


# ---- in words ----


def test_what_came_out_is_a_sentence_for_each_group_of_arms():
    values = numbers({"cl": 5.0, "spl": 0.0, "anti": -4.0, "half": 0.0})
    values["last"] = numbers({"cl": 0.0, "spl": 0.0, "anti": -4.0, "half": 0.0})["last"]
    values["last"]["half"] = {seed: 50.5 + 10 * NOISE[seed] for seed in SEEDS}
    said = sentences(planned(values, analysis(("uniform", "cl", "spl", "anti", "half"))), "accuracy")
    assert said[0] == (
        "Planned: Test accuracy at the chosen and last epoch, paired by seed, Holm-adjusted over 8 comparisons, level "
        "5 %; equivalent = within \u00b11 point."
    )
    assert said[1:4] == [
        "Better than uniform: cl (chosen epoch: +5.0 points [+4.8, +5.2], p < 0.001).",
        "Worse than uniform: anti (\u22124.0 points [\u22124.2, \u22123.8], p < 0.001).",
        "Equivalent to uniform: cl (last epoch), spl, half (chosen epoch).",
    ]
    assert said[4].startswith(
        "Undecided against uniform: half (last epoch). 10 seeds could see a difference of 2.6 points in "
    )
    assert said[4].endswith("under Holm (80 % power). About 85 more seeds would decide.") and len(said) == 5


def test_how_many_seeds_would_decide_is_called_a_guess_where_few_tell_the_scatter():
    few = numbers({"cl": 0.9}, seeds=range(3), scale=5.0)
    said = sentences(planned(few, analysis(seeds=range(3))), "accuracy")
    assert "3 seeds could see" in said[-1] and "rough guess, since 3 seeds hardly tell the scatter." in said[-1]


def test_the_looks_and_what_departs_from_them_are_said_first():
    assert sentences(planned(numbers({"cl": 5.0}, seeds=SEEDS[:5]), PLAN), "accuracy")[0].startswith(
        "Planned, look 1 of 2:"
    )
    beyond = planned(numbers({"cl": 5.0}, seeds=range(11)), PLAN)
    assert sentences(beyond, "accuracy")[0].startswith("Exploratory: a look beyond the plan, which has no seed 10.")


def test_many_arms_are_counted_and_not_listed():
    arms = ("uniform", *(f"arm{i}" for i in range(30)))
    (_, equivalent) = sentences(planned(numbers(dict.fromkeys(arms[1:], 0.0)), analysis(arms)), "accuracy")
    assert equivalent == "Equivalent to uniform: arm0, arm1, arm2, arm3, arm4 and 25 more."


def test_without_pairs_nothing_can_be_tested():
    made = judge(numbers({"cl": 5.0}, seeds=(0,)), analysis(seeds=(0,)), has_plan=False)
    assert "Nothing can be tested: a paired test needs two seeds or more in common." in sentences(made, "accuracy")[0]
    alone = judge(numbers({}), analysis(("uniform",)), has_plan=False)
    assert sentences(alone, "accuracy") == [
        "Exploratory: no plan was written before the runs. There is nothing to compare."
    ]
