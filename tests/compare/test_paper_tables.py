"""The pages' tables and sentences on the paper's form: what they say of small studies that can be computed by hand."""

import pytest

from benchmarks.study import paper_tables
from benchmarks.study.estimates import MINUS
from benchmarks.study.paper_form import Protocol, read_protocol
from benchmarks.study.pooled import LAST, PRIMARY, Cells, cells, values_of
from benchmarks.study.raw import Study

ARMS = "spl-paper-replacement", "uniform-replacement", "spl-paper-replacement-reversed", "uniform", "spl-paper"
SAID = {
    "sets": {"one": {}, "two": {}},
    "regimes": {"calm": [], "rough": []},
    "seeds": [3, 5],
    "primary": {"contrasts": [ARMS[:2], (ARMS[0], ARMS[2])], "margin": 1.0},
}
TENTH = (0.200, 0.202, 0.201)
"""0, 0.2 and 0.1 points above 20 %: the mean difference is 0.1, its standard error 0.1 / 3**0.5."""


def study_of(chosen, last, seeds=(3, 4, 5), parts="xyz", commit="abc"):
    """Raw values: arm -> its accuracies at the chosen epoch, and at the last one; arms that are not named have 20 %."""
    arms = dict.fromkeys([*ARMS, *chosen, *last])
    rows = [
        {"arm": arm, "seed": str(seed), "failed": "", PRIMARY: str(one), LAST: str(other)}
        for arm in arms
        for seed, one, other in zip(seeds, chosen.get(arm, (0.2,) * 3), last.get(arm, (0.2,) * 3), strict=True)
    ]
    test = {f"seed {seed}": {"hash": part} for seed, part in zip(seeds, parts, strict=True)}
    return Study({}, {"commit": commit, "task": {"test": test}}, rows)


@pytest.fixture
def page(monkeypatch):
    """Makes the pages speak of a study of two regimes and two sets; returns what sets its cells."""
    monkeypatch.setattr(paper_tables, "REGIMES", {"calm": "calm", "rough": "rough"})
    monkeypatch.setattr(paper_tables, "FEW_PARTS", "one")

    def with_cells(calm, rough, fresh=None, others=None, **said):
        """``fresh`` is of the rough regime, ``others`` are the other arms."""
        again = {("rough", name): fresh for name in SAID["sets"] if fresh is not None}
        studies = {(regime, name): each for regime, each in (("calm", calm), ("rough", rough)) for name in SAID["sets"]}
        studies |= {("other-arms", name): others for name in SAID["sets"] if others is not None}
        found = Cells(Protocol(SAID | said), studies, Cells(Protocol(SAID | said), again))
        monkeypatch.setattr(paper_tables, "cells", lambda: found)

    return with_cells


EQUAL = study_of({}, {})
ABOVE = {"spl-paper-replacement": (0.25, 0.26, 0.25)}
"""Five points above, standard error a third."""
ALIKE = study_of({"spl-paper-replacement": TENTH, "spl-paper": (0.21, 0.22, 0.21)}, {})
FRESH = (13, 14, 15)


def words(text):
    return " ".join(text.split())


def test_a_verdict_says_the_side_the_interval_and_what_fresh_seeds_say(page):
    rough = study_of(ABOVE, {})
    page(ALIKE, rough, study_of(ABOVE, {}, FRESH))
    calm, held = paper_tables.verdicts().splitlines()
    # t(0.95) of two degrees of freedom is 2.920: 0.1 - 2.920 * 0.0577 = -0.069, and 0.269
    assert f"equivalent within 1 point, 90 % interval [{MINUS}0.07, +0.27] (single sets +0.10 to +0.10)" in calm
    assert "holds, above the control, and again with 3 fresh seeds (+5.33, p = 0.004; their single sets" in held
    page(ALIKE, rough, study_of({ARMS[0]: (0.14, 0.15, 0.14)}, {}, FRESH))
    assert (
        f"holds, above the control, **and not** with 3 fresh seeds ({MINUS}5.67, p = 0.003" in paper_tables.verdicts()
    )
    page(ALIKE, rough)
    assert "holds, above the control, not run again" in paper_tables.verdicts()
    page(ALIKE, study_of({ARMS[0]: (0.2, 0.3, 0.1)}, {}))
    assert "uniform, repl.: undecided (single sets 0.00 to 0.00)" in paper_tables.verdicts()


def test_the_last_epoch_has_a_table_of_its_own_with_fresh_seeds_and_without_the_set_of_few_test_parts(page):
    page(study_of({}, ABOVE), study_of({}, ABOVE), study_of({}, {ARMS[0]: (0.21, 0.22, 0.21)}, FRESH))
    # 5, 6 and 5 points: the mean is 16/3, the standard error 1/3, and t(0.975) of two degrees of freedom is 4.303;
    # p of t = 16 is 1 - 16 / (256 + 2)**0.5 = 0.0039, since that distribution is known in closed form. The fresh
    # ones are 1, 2 and 1: t = 4, p = 1 - 4 / 18**0.5 = 0.0572. Both sets are alike.
    first, fresh = "+5.33 [+3.9, +6.8]", f"+1.33 [{MINUS}0.1, +2.8]"
    assert paper_tables.last_table().splitlines()[2:] == [
        f"| calm | 3 | {' | '.join([first, '0.004', first] * 2)} |",
        f"| rough | 3 | {' | '.join([first, '0.004', first] * 2)} |",
        f"| rough, fresh seeds | 3 | {' | '.join([fresh, '0.057', fresh] * 2)} |",
    ]
    assert (
        f"| rough, fresh seeds | paper, repl. {MINUS} uniform, repl. | {fresh} | {fresh} |"
        in paper_tables.last_sets_table()
    )


def test_seeds_that_share_a_test_part_are_one_value_beside_the_family(page):
    # 5, 6 and 5 points, of which the first two are of one part: 5.5 and 5, mean 5.25, standard error 0.25, so t = 21
    # with one degree of freedom: p = 2 atan(1 / 21) / pi = 0.030, and of four tests 0.121.
    page(study_of(ABOVE, {}, parts="xxy"), study_of(ABOVE, {}, parts="xxy"), study_of(ABOVE, {}, FRESH, parts="xzz"))
    calm, rough, fresh = paper_tables.test_parts_table().splitlines()[2:]
    assert calm == f"| calm | 2 | {' | '.join(['+5.25 [+2.1, +8.4]', '0.030', '0.121'] * 2)} |"
    assert rough.startswith("| rough | 2 |") and fresh.startswith("| rough, fresh seeds | 2 |")
    assert fresh.endswith("|  |")
    assert paper_tables.test_parts_in_words() == (
        "Of one the 3 seeds draw 2 different test parts, the 3 fresh ones 2, and 1 are in both."
    )


def test_other_arms_are_set_against_uniform_order_of_their_own_cell(page):
    own = study_of({"cl": (0.21, 0.22, 0.21)}, {}, commit="def")
    page(EQUAL, EQUAL, others=own, other_arms={"on_every_set": ["uniform", "cl"]})
    # 1, 2 and 1 points: the mean is 4/3 and the standard error 1/3, so the interval goes from -0.1009 to 2.7676
    row = f"+1.33 [{MINUS}0.1, +2.8]"
    assert paper_tables.others_table().splitlines()[2:] == [f"| cl | {row} | {row} | {row} |"]


def test_the_page_in_short_says_on_which_side_a_contrast_held_and_what_came_back(page):
    page(ALIKE, study_of({ARMS[0]: (0.14, 0.15, 0.14)}, ABOVE), study_of({ARMS[0]: (0.14, 0.15, 0.14)}, ABOVE, FRESH))
    family, _, order, last = (words(each) for each in paper_tables.in_short().split("\n- "))
    assert f"minus equal weights (arm `uniform-replacement`): {MINUS}5.67 to +0.10 points in 2 regimes" in family
    assert family.endswith("Below them, with fresh seeds too, in: rough; within 1 point of 0 (equivalent) in: calm.")
    assert f"with replacement {MINUS}5.67 to +0.10 points (below 0 in: rough)" in order
    # without replacement 1, 2 and 1 points in the calm regime and 0 in the rough one
    assert order.endswith("without replacement 0.00 to +1.33 points (0 is in every interval).")
    assert "without the one: rough +5.33 (+5.33 [+3.9, +6.8])." in last
    assert last.endswith("Minus uniform order, with the first seeds, they are 0.00 to +5.33 points there.")


@pytest.mark.parametrize("fresh", [None, (0.21, 0.22, 0.21), (0.15, 0.15, 0.14)])  # p = 0.057; the other sign
def test_what_does_not_come_back_at_the_last_epoch_is_not_told(page, fresh):
    again = fresh and study_of({ARMS[0]: TENTH}, {ARMS[0]: fresh}, FRESH)
    page(ALIKE, study_of({ARMS[0]: TENTH}, ABOVE), again)
    assert "nothing that came back" in paper_tables.in_short()


def test_uniform_order_came_out_the_same_on_both_commits_of_the_study():
    """Which is why RESULTS.md may set arms of the regimes and other arms side by side."""
    found = cells()
    for name in found.said["sets"]:
        for column in (PRIMARY, LAST):
            one, other = (
                values_of(found.studies[part, name], "uniform", column) for part in ("as-they-are", "other-arms")
            )
            assert len(one) == 20 and one == other


def test_the_pages_regimes_are_those_of_the_plan():
    assert set(paper_tables.REGIMES) == set(read_protocol().said["regimes"])
    assert paper_tables.FEW_PARTS in read_protocol().said["sets"]
    assert paper_tables.regimes_table().count("\n") == 1 + len(paper_tables.REGIMES)
