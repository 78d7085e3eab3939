"""What is claimed, as data: rows that somebody can look up, and arms that every data set has."""

import pytest

from bss import tasks
from bss.compare.arms import ALONE, find
from bss.compare.claims import CLAIMS, CONTRASTS, LEARNED, METHODS, UNCLAIMED, claims_of
from bss.compare.comparison import check_arms
from bss.compare.pairs import FoldSeed
from bss.compare.reproduction import as_claimed, prepared
from bss.utils.errors import RecipeError


def test_every_data_set_has_a_claimed_table():
    assert sorted(CLAIMS) == tasks.names()


def test_numbers_of_the_slides():
    """Slide 12, tables 1 and 2, the corners; slide 13, table 3 and figure 3."""
    corners = {name: (next(iter(c.table.values())), c.table["Concat"], c.table["BSS-L"]) for name, c in CLAIMS.items()}
    assert corners == {
        "cremad": ((63.17, 68.61), (63.31, 68.31), (82.80, 88.61)),
        "ks": ((54.12, 56.69), (64.55, 71.31), (73.95, 79.43)),
        "twitter15": ((73.67, 68.49), (70.11, 63.86), (75.22, 69.51)),
        "sarcasm": ((81.36, 80.65), (82.86, 82.43), (85.01, 84.62)),
        "nvgesture": ((78.22, 78.33), (81.33, 81.47), (86.72, 87.04)),
    }
    assert {name: claims.metric for name, claims in CLAIMS.items()} == {
        **dict.fromkeys(("cremad", "ks"), "map"),
        **dict.fromkeys(("twitter15", "sarcasm", "nvgesture"), "macro_f1"),
    }
    gains = {
        name: [round(c.table["BSS-L"][0] - b.accuracy, 2) for b in c.all_baselines()] for name, c in CLAIMS.items()
    }
    assert gains == {
        "cremad": [19.49, 10.39],  # over Concat; over "vanilla MML"
        "ks": [9.4, 3.51],
        "twitter15": [5.11],
        "sarcasm": [2.15],
        "nvgesture": [5.39],
    }
    # The ablation's last row is the table's.
    assert CLAIMS["ks"].ablation[-1].claimed["all"] == CLAIMS["ks"].table["BSS-L"]


@pytest.mark.parametrize("stem", sorted(CLAIMS))
def test_the_claims_of_a_data_set_hold_together(stem):
    claims = CLAIMS[stem]
    assert all(0 < value < 100 for claimed in claims.table.values() for value in claimed)
    assert claims.table.keys() - claims.alone.keys() <= METHODS.keys() and claims.alone.keys() <= claims.table.keys()
    assert all(row.how for row in claims.rows())
    assert {each.arm for each in claims.all_baselines()} <= {control for _, control in CONTRASTS}
    if claims.fold_by is not None:
        assert claims.fold_by in str(type(tasks.load(stem).CL).__annotations__["split"])


@pytest.mark.parametrize("stem", sorted(CLAIMS))
def test_every_claimed_row_is_trained_by_arms_that_the_data_set_admits(stem, tmp_path):
    comparison = prepared(stem, seeds=(0,), data_root=tmp_path, out=tmp_path, sample=True)
    check_arms(comparison, 10)
    assert len(set(comparison.arms)) == len(comparison.arms) == len(find(comparison.arms))
    assert {arm for pair in CONTRASTS for arm in pair} <= set(comparison.arms)
    assert set(UNCLAIMED) | set(LEARNED) | {"joint", "cl", "mmpareto"} <= set(comparison.arms)
    modalities = {arm.removeprefix(ALONE) for arm in comparison.arms if arm.startswith(ALONE)}
    assert modalities == set(CLAIMS[stem].alone.values())
    # All arms are made of the preset, so that what is compared with uniform order is the order alone.
    recipes = {arm.name: arm.recipe(comparison.base()) for arm in find(comparison.arms)}
    paper = tasks.load(stem).CL_PAPER
    for name in ("uniform", "random-pacing", "cl", *LEARNED):
        assert (recipes[name].fused_weight, recipes[name].unimodal_weight, recipes[name].prediction) == (
            paper.fused_weight,
            paper.unimodal_weight,
            paper.prediction,
        )
    assert recipes["cl"] == comparison.base() and recipes["cl"].method is None


def test_the_preset_that_arms_are_made_of_is_the_papers():
    assert as_claimed("cremad") == ("fused_weight=0.2", "unimodal_weight=0.8") and as_claimed("ks") == ()


def test_folds_are_of_speakers_and_only_where_they_are_known(tmp_path):
    folded = prepared("cremad", seeds=(0, 1), folds=5, data_root=tmp_path, out=tmp_path)
    assert len(folded.plan()) == len(folded.arms) * 2 * 5
    recipe = folded.recipe(find(["cl"])[0], FoldSeed(3, 1), None)
    assert (recipe.split, recipe.fold, recipe.folds, recipe.seed) == ("speaker", 3, 5, 1)
    assert recipe.fused_weight == 0.2
    with pytest.raises(RecipeError, match=r"no folds are prepared for ks, but for cremad.*leave --folds out"):
        prepared("ks", seeds=(0,), folds=5, data_root=tmp_path, out=tmp_path)


def test_a_task_without_claims_is_refused_with_the_way_out():
    with pytest.raises(RecipeError, match=r"no claimed table for 'cremat' \(did you mean.*python -m bss compare"):
        claims_of("cremat")
