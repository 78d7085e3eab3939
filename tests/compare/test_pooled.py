"""The study of the paper's form: its plans, and the numbers that are made of several sets."""

import importlib
import json
from math import erfc

import pytest

from benchmarks.study import pooled
from benchmarks.study.estimates import MINUS, Estimate, heterogeneity
from benchmarks.study.paper_form import STUDY, Protocol, planned, read_protocol
from benchmarks.study.raw import PLAN, Study
from bss.compare.arms import find, partly_reaching
from bss.recipes.fields import flatten

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


def test_until_all_regimes_are_there_p_values_have_the_bound_of_all_tests_and_then_holms():
    calm = {("calm", "one"): ONE, ("calm", "two"): TWO}
    partly = pooled.Cells(Protocol(SAID), calm)
    p = {contrast: partly.of_regime("calm", contrast).p for contrast in partly.primary}
    assert partly.adjusted() == {("calm", each): (min(1.0, 4 * p[each]), False) for each in p}
    whole = pooled.Cells(Protocol(SAID), calm | {("rough", "one"): ONE, ("rough", "two"): TWO})
    adjusted = whole.adjusted()
    assert len(adjusted) == 4 and all(final for _, final in adjusted.values())
    smallest = min(p.values())
    assert min(value for value, _ in adjusted.values()) == pytest.approx(min(1.0, 4 * smallest))


def test_a_regime_without_one_of_its_sets_has_no_verdict():
    cells = pooled.Cells(Protocol(SAID), {("calm", "one"): ONE})
    assert not cells.whole("calm") and cells.adjusted() == {}


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
    assert pooled.once_more(pooled.Cells(Protocol(SAID), calm), "calm", contrast) is None
    assert pooled.once_more(again(0.2, {("calm", "one"): ONE}), "calm", contrast) is None
    assert pooled.once_more(again(0.0), "calm", contrast) is False  # t = 2 with two degrees of freedom: p = 0.18
    assert pooled.once_more(again(0.2), "calm", contrast) is True  # +70/3 points, t = 14
    assert pooled.once_more(again(-0.2), "calm", contrast) is False  # -50/3 points, t = -10: the other sign


def test_the_page_in_short_says_on_which_side_a_contrast_held(monkeypatch):
    above = study_of({"a": (0.500, 0.501, 0.502), "b": (0.40, 0.40, 0.40), "c": (0.50, 0.50, 0.50)})
    below = study_of({"a": (0.500, 0.501, 0.502), "b": (0.60, 0.60, 0.60), "c": (0.50, 0.50, 0.50)})
    said = SAID | {"regimes": {"as-they-are": [], "fifth": []}}
    studies = {
        (regime, name): study for regime, study in (("as-they-are", above), ("fifth", below)) for name in ("one", "two")
    }
    monkeypatch.setattr(pooled, "cells", lambda: pooled.Cells(Protocol(said), studies))
    alike, apart = pooled.in_short().split("\n- ")
    # a - c: 0.0, 0.1 and 0.2 points in both; a - b: 10.0 to 10.2 points, and -10.0 to -9.8.
    assert alike.endswith(
        "neither above nor below it in any; the mean is equivalent to 0 within 1 point in: "
        "as they are, a fifth of the updates."
    )
    assert "\N{MINUS SIGN}9.90 to +10.10 points" in apart
    assert apart.endswith(
        "above it, not yet run again, in: as they are; below it, not yet run again, in: a fifth of the updates."
    )


def at_the_last(a, uniform=(0.28, 0.28, 0.28), seeds=(3, 4, 5)):
    """Raw values whose last epoch has these accuracies of arm a; b and c have 20 %."""
    of = {"a": a, "b": (0.2, 0.2, 0.2), "c": (0.2, 0.2, 0.2), "uniform": uniform}
    rows = [
        {"arm": arm, "seed": str(seed), "failed": "", pooled.PRIMARY: "0.5", pooled.LAST: str(value)}
        for arm, values in of.items()
        for seed, value in zip(seeds, values, strict=True)
    ]
    return Study({}, {"commit": "abc"}, rows)


SAID_OF_TWO = SAID | {"regimes": {"as-they-are": [], "fifth": []}}
LAST_OF_TWO = {("fifth", name): at_the_last((0.25, 0.26, 0.25)) for name in ("one", "two")}


def with_fresh(a):
    """Cells of the regime of few updates whose fresh seeds have these accuracies of arm a."""
    again = {cell: at_the_last(a, seeds=(13, 14, 15)) for cell in LAST_OF_TWO}
    return pooled.Cells(Protocol(SAID_OF_TWO), LAST_OF_TWO, pooled.Cells(Protocol(SAID_OF_TWO), again))


def test_the_last_epoch_has_a_table_of_its_own_with_the_fresh_seeds(monkeypatch):
    monkeypatch.setattr(pooled, "cells", lambda: with_fresh((0.21, 0.22, 0.21)))
    # 5, 6 and 5 points: the mean is 16/3, the standard error 1/3, and t(0.975) of two degrees of freedom is 4.303;
    # p of t = 16 is 1 - 16 / (256 + 2)**0.5 = 0.0039, since that distribution is known in closed form. The fresh
    # ones are 1, 2 and 1: t = 4, p = 1 - 4 / 18**0.5 = 0.0572.
    first, fresh = "+5.33 [+3.9, +6.8] | 0.004 | +5.33 to +5.33", f"+1.33 [{MINUS}0.1, +2.8] | 0.057 | +1.33 to +1.33"
    assert pooled.last_table().splitlines()[2:] == [
        f"| a fifth of the updates | 3 | {first} | {first} |",
        f"| a fifth of the updates, fresh seeds | 3 | {fresh} | {fresh} |",
    ]


def test_the_page_in_short_says_of_the_last_epoch_what_came_back_and_how_far_it_is_from_uniform_order(monkeypatch):
    monkeypatch.setattr(pooled, "cells", lambda: with_fresh((0.25, 0.25, 0.26)))
    said = " ".join(pooled.last_in_short().split())
    assert "3 seeds and with 3 fresh ones, in: a fifth of the updates (+5.33)" in said
    low = f"{MINUS}2.67"  # 25, 26 and 25 % beside uniform order's 28
    assert said.endswith(f"Minus uniform order it is {low} to {low} points there, in 1 of 6 regimes.")
    monkeypatch.setattr(pooled, "cells", lambda: with_fresh((0.21, 0.22, 0.21)))  # p = 0.057
    assert "nothing that came back" in pooled.last_in_short()
    monkeypatch.setattr(pooled, "cells", lambda: with_fresh((0.15, 0.15, 0.14)))  # the other sign
    assert "nothing that came back" in pooled.last_in_short()
    monkeypatch.setattr(pooled, "cells", lambda: pooled.Cells(Protocol(SAID_OF_TWO), LAST_OF_TWO))
    assert "nothing that came back" in pooled.last_in_short()


def test_other_arms_are_set_against_uniform_order_of_their_own_cell(monkeypatch):
    own = {"uniform": (0.50, 0.50, 0.50), "cl": (0.51, 0.52, 0.51), "alone-x": (0.2, 0.2, 0.2)}
    said = SAID | {"other_arms": {"on_every_set": ["uniform", "cl"], "arms": {"one": ["alone-x"], "two": []}}}
    studies = {
        ("calm", "one"): study_of({"uniform": (0.9, 0.9, 0.9)}),
        ("other-arms", "one"): study_of(own, commit="def"),
    }
    monkeypatch.setattr(pooled, "cells", lambda: pooled.Cells(Protocol(said), studies))
    # 1, 2 and 1 points: the mean is 4/3 and the standard error 1/3, so the interval goes from -0.1009 to 2.7676
    row = f"+1.33 [{MINUS}0.1, +2.8]"
    assert pooled.others_table().splitlines()[2:] == [f"| cl | {row} | not run |  |"]
    studies[("other-arms", "two")] = study_of({"uniform": (0.50,) * 3, "cl": (0.51, 0.52, 0.51)}, commit="def")
    assert pooled.others_table().splitlines()[2:] == [f"| cl | {row} | {row} | {row} |"]


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
        known = flatten(importlib.import_module(f"benchmarks.study.{cell.comparison.task}").CL)
        partly_reaching(find(cell.arms), cell.assignments(), known)


def test_the_blocks_can_be_made_of_what_is_there():
    assert pooled.regimes_table().count("\n") == 1 + len(pooled.REGIMES)
    assert set(pooled.REGIMES) == set(read_protocol().said["regimes"])
