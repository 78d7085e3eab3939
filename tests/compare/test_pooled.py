"""The study of the paper's form: its plans, and the numbers that are made of several sets."""

import importlib
import json
from math import erfc

import pytest

from benchmarks.study import pooled
from benchmarks.study.estimates import Estimate, heterogeneity
from benchmarks.study.paper_form import STUDY, Protocol, planned, read_protocol
from benchmarks.study.raw import PLAN, Study
from bss.compare.arms import find, partly_reaching

SAID = {
    "sets": {"one": {}, "two": {}},
    "regimes": {"calm": [], "rough": []},
    "seeds": [3, 5],
    "primary": {"contrasts": [["a", "c"], ["a", "b"]], "margin": 1.0},
}


def study_of(values, commit="abc"):
    """Raw values: arm -> its accuracies at the seeds 3, 4 and 5; None = a run that was not finite."""
    rows = [
        {"arm": arm, "seed": str(seed), "failed": "" if value is not None else "not finite"}
        | {pooled.PRIMARY: "" if value is None else str(value)}
        for arm, accuracies in values.items()
        for seed, value in zip((3, 4, 5), accuracies, strict=True)
    ]
    return Study({}, {"commit": commit}, rows)


ONE = study_of({"a": (0.50, 0.60, 0.70), "b": (0.50, 0.50, 0.50), "c": (0.40, 0.60, 0.70)})
TWO = study_of({"a": (0.30, 0.30, 0.30), "b": (0.30, 0.30, 0.31), "c": (0.30, 0.20, 0.30)})


def test_a_contrast_is_pooled_over_the_sets_seed_by_seed():
    cells = pooled.Cells(Protocol(SAID), {("calm", "one"): ONE, ("calm", "two"): TWO})
    found = cells.of_regime("calm", ("a", "c"))  # (10 + 0) / 2, (0 + 10) / 2, (0 + 0) / 2
    assert found.n == 3 and found.mean == pytest.approx(10 / 3)
    assert found.error == pytest.approx((25 / 3) ** 0.5 / 3**0.5)  # deviations 5/3, 5/3, -10/3: variance 25/3


def test_a_run_that_was_not_finite_counts_as_0_and_a_missing_number_is_refused():
    broken = study_of({"a": (0.5, None, 0.5)})
    assert pooled.values_of(broken, "a", pooled.PRIMARY) == {3: 50.0, 4: 0.0, 5: 50.0}
    rows = [{**row, "failed": ""} for row in broken.rows]
    with pytest.raises(ValueError, match=r"all\.accuracy\.chosen of a is empty for seed 4"):
        pooled.values_of(Study({}, {}, rows), "a", pooled.PRIMARY)


def test_p_values_are_adjusted_over_all_tests_of_the_family():
    whole = pooled.Cells(
        Protocol(SAID),
        {(regime, name): study for regime in ("calm", "rough") for name, study in (("one", ONE), ("two", TWO))},
    )
    p = {contrast: whole.of_regime("calm", contrast).p for contrast in whole.primary}
    adjusted = whole.adjusted()
    assert len(adjusted) == 4 and min(adjusted.values()) == pytest.approx(min(1.0, 4 * min(p.values())))


def test_seeds_that_share_a_test_part_can_be_one_value():
    assert sorted(pooled.mean_of_each({3: 1.0, 4: 3.0, 5: 8.0}, {3: "x", 4: "x", 5: "y"})) == [2.0, 8.0]
    test = {"test": {"seed 3": {"hash": "x"}, "seed 4": {"hash": "x"}, "seed 5": {"hash": "y"}}}
    one = Study({}, {**ONE.constants, "task": test}, ONE.rows)
    cells = pooled.Cells(Protocol(SAID), {("calm", "one"): one, ("calm", "two"): TWO})
    assert cells.test_parts("calm", "one") == {3: "x", 4: "x", 5: "y"}
    found = cells.of_test_parts("calm", ("a", "c"), "one")  # 5, 5 and 0 points: 5 of x and 0 of y
    assert found.n == 2 and found.mean == pytest.approx(2.5) and found.error == pytest.approx(2.5)


def test_a_set_may_be_left_out_of_the_mean():
    cells = pooled.Cells(Protocol(SAID), {("calm", "one"): ONE, ("calm", "two"): TWO})
    assert cells.of_regime("calm", ("a", "c")).mean == pytest.approx(10 / 3)
    assert cells.mean_of_sets("calm", ("a", "c"), without=["one"]) == pytest.approx({3: 0.0, 4: 10.0, 5: 0.0})


def moved(study, by, seeds=(13, 14, 15)):
    """The same accuracies of other seeds, those of arm a moved."""
    rows = [
        {**row, "seed": str(seed), pooled.PRIMARY: str(float(row[pooled.PRIMARY]) + by * (row["arm"] == "a"))}
        for row, seed in zip(study.rows, seeds * 3, strict=True)
    ]
    return Study({}, study.constants, rows)


def test_fresh_seeds_decide_by_their_own_p_and_the_sign():
    calm = {("calm", "one"): ONE, ("calm", "two"): TWO}

    def again(by, cells=calm):
        return pooled.Cells(
            Protocol(SAID), calm, pooled.Cells(Protocol(SAID), {k: moved(v, by) for k, v in cells.items()})
        )

    contrast = ("a", "c")  # +10/3 points of three seeds, standard error 5/3
    assert pooled.Cells(Protocol(SAID), calm).once_more("calm", contrast) is None
    assert again(0.2, {("calm", "one"): ONE}).once_more("calm", contrast) is None
    assert again(0.0).once_more("calm", contrast) is False  # t = 2 with two degrees of freedom: p = 0.18
    assert again(0.2).once_more("calm", contrast) is True  # +70/3 points, t = 14
    assert again(-0.2).once_more("calm", contrast) is False  # -50/3 points, t = -10: the other sign


def test_the_arms_of_a_difference_have_the_same_seeds():
    rows = [row for row in ONE.rows if (row["arm"], row["seed"]) != ("a", "5")]
    cells = pooled.Cells(Protocol(SAID), {("calm", "one"): Study({}, ONE.constants, rows)})
    with pytest.raises(ValueError, match="a and c have other seeds in calm on one"):
        cells.differences("calm", "one", ("a", "c"))


def test_sets_that_differ_by_more_than_chance_are_told_from_those_that_do_not():
    # Errors of 1 and means of 0 and 2: the weighted mean is 1, Q = 1 + 1 = 2, and chi-square with one degree of freedom
    # exceeds 2 where a normal number exceeds the root of 2 on either side.
    two = [Estimate(20, 0.0, 1.0), Estimate(20, 2.0, 1.0)]
    assert heterogeneity(two) == pytest.approx(erfc(1.0), rel=1e-9)
    # A set of half the error weighs four times: mean 1.6, Q = 1.6**2 + 4 * 0.4**2 = 3.2.
    assert heterogeneity([Estimate(20, 0.0, 1.0), Estimate(20, 2.0, 0.5)]) == pytest.approx(erfc(1.6**0.5), rel=1e-9)
    assert heterogeneity([Estimate(20, 1.0, 0.5)] * 3) == pytest.approx(1.0)


def test_cells_of_two_commits_are_refused():
    other = study_of({"a": (0.1, 0.1, 0.1)}, commit="def")
    with pytest.raises(ValueError, match="2 commits"):
        pooled.Cells(Protocol(SAID), {("calm", "one"): ONE, ("calm", "two"): other})
    with pytest.raises(ValueError, match="2 commits"):
        pooled.Cells(Protocol(SAID), {("other-arms", "one"): ONE, ("other-arms", "two"): other})
    pooled.Cells(
        Protocol(SAID), {("calm", "one"): ONE, ("other-arms", "one"): other}
    )  # which are compared within a cell


def test_the_committed_plans_are_those_of_the_protocol():
    protocol = read_protocol()
    assert len(protocol.cells) == 35 and len(protocol.seeds) == 20
    for cell in protocol.cells:
        assert json.loads((STUDY / cell.folder / PLAN).read_text(encoding="utf-8")) == cell.plan()


def test_fresh_cells_have_the_arms_of_the_primary_contrasts_and_seeds_that_the_rules_name():
    cells = read_protocol().again("labels-40")
    assert {tuple(cell.arms) for cell in cells} == {
        ("spl-paper-replacement", "uniform-replacement", "spl-paper-replacement-reversed")
    }
    assert {(cell.seeds[0], cell.seeds[-1], len(cell.seeds)) for cell in cells} == {(500, 539, 40)}
    assert any("seeds 500 to 539" in rule for rule in read_protocol().said["rules"])
    assert cells[0].folder.as_posix() == "fresh/labels-40/three-views"
    assert (STUDY / cells[0].folder / cells[0].plan()["protocol"]).resolve() == STUDY / PLAN
    assert "corrupt_labels=0.4" in cells[0].comparison.command("DATA", "OUT", 2)


def test_the_plans_of_fresh_seeds_are_those_of_the_protocol_and_are_run_first():
    again = [cell for cell in planned() if cell.fresh]
    assert planned() == [*again, *read_protocol().cells]
    for cell in again:
        assert json.loads((STUDY / cell.folder / PLAN).read_text(encoding="utf-8")) == cell.plan()


def test_a_regime_is_a_setting_of_the_same_command():
    first = read_protocol().cells[0].comparison.command("DATA", "OUT", 2)
    cells = {(cell.regime, cell.set): cell.comparison.command("DATA", "OUT", 2) for cell in read_protocol().cells}
    assert first == cells["as-they-are", "three-views"]
    rough = cells["labels-40", "three-views"]
    assert [word for word in rough if word not in first] == ["corrupt_labels=0.4"]
    fifth = cells["fifth", "three-views"]
    assert [word for word in fifth if word not in first] == ["schedule.grow_epochs=1", "updates=50"]


def test_no_cell_sets_what_none_of_its_arms_takes_over():
    """``compare`` refuses it: the curriculum's growth, which a fifth of the updates needs, is no fresh arm's."""
    assert "schedule.grow_epochs=1" not in read_protocol().again("fifth")[0].assignments()
    for cell in [*planned(), *read_protocol().again("fifth")]:
        base = importlib.import_module(f"benchmarks.study.{cell.comparison.task}").CL
        partly_reaching(find(cell.arms), cell.assignments(), base)
