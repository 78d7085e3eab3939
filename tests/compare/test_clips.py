"""The interval over seeds and test samples: by hand, by its properties, and (slow) by simulation."""

import io
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from bss.compare.clips import seeds_and_clips_interval
from bss.compare.page import page
from bss.compare.runs import find_folders, read_runs
from bss.compare.statistics import t_interval
from bss.compare.tables import OVER_CLIPS, as_csv, difference_table, reading, results_of
from bss.compare.wording import interval_text
from bss.training.run_folder import Hits, RunFolder
from tests.compare.comparing import fail_run, write_run

# Means of the seeds 1.9 and 2.1, of the samples -2, 2 and 6, of all 2; what is left is (0, 1, -1) and (0, -1, 1).
BY_HAND = np.array([[-2.1, 2.9, 4.9], [-1.9, 1.1, 7.1]])


def test_two_seeds_and_three_samples_by_hand():
    seed = (0.01 + 0.01) / (2 * 1)
    clip = 3 / 2 * (16 + 0 + 16) / 9
    both = 2 / 1 * 3 / 2 * (0 + 1 + 1 + 0 + 1 + 1) / 36
    variance = seed + clip - both
    assert variance == pytest.approx(5.01)
    degrees = 5.01**2 / (seed**2 / 1 + clip**2 / 2 + both**2 / 2)
    half = t.ppf(0.975, degrees) * math.sqrt(variance)
    assert degrees > 1
    assert seeds_and_clips_interval(BY_HAND) == pytest.approx((2 - half, 2 + half))


def test_groups_by_hand():
    # The first two samples are of one speaker: about the mean of all, the groups' sums of samples are -4 and 4.
    clip = 2 / 1 * (16 + 16) / 9
    both = 2 / 1 * 2 / 1 * (1 + 1 + 1 + 1) / 36
    variance = 0.01 + clip - both
    degrees = max(variance**2 / (0.01**2 / 1 + clip**2 / 1 + both**2 / 1), 1)
    half = t.ppf(0.975, degrees) * math.sqrt(variance)
    assert seeds_and_clips_interval(BY_HAND, [7, 7, 3]) == pytest.approx((2 - half, 2 + half))


def test_samples_that_are_groups_of_their_own_are_as_no_groups():
    differences = np.random.default_rng(0).normal(size=(4, 9))
    assert seeds_and_clips_interval(differences, range(9)) == pytest.approx(seeds_and_clips_interval(differences))


def test_without_scatter_over_samples_it_is_the_interval_over_seeds():
    differences = np.repeat(np.random.default_rng(0).normal(size=(5, 1)), 8, axis=1)
    assert seeds_and_clips_interval(differences) == pytest.approx(t_interval(differences[:, 0].tolist()))


def test_the_same_hits_with_every_seed_are_the_interval_over_samples():
    """No scatter over seeds leaves that of the test samples, with M - 1 degrees."""
    differences = np.repeat(np.random.default_rng(0).normal(size=(1, 12)), 5, axis=0)
    assert seeds_and_clips_interval(differences) == pytest.approx(t_interval(differences[0].tolist()))


def test_it_is_never_narrower_than_the_interval_over_seeds():
    generator = np.random.default_rng(0)
    for _ in range(50):
        differences = generator.integers(-1, 2, (3, 40)).astype(float)
        low, high = seeds_and_clips_interval(differences)
        alone = t_interval(differences.mean(axis=1).tolist()) or (low, high)
        assert low <= alone[0] + 1e-12 and alone[1] - 1e-12 <= high


@pytest.mark.parametrize(
    "differences, groups",
    [
        (np.ones((1, 9)), None),
        (np.arange(6.0).reshape(2, 3), [1, 1, 1]),
        (np.ones((3, 9)), None),
        (np.ones((3, 1)), None),
    ],
    ids=["one seed", "one group", "no scatter", "one sample"],
)
def test_where_there_is_nothing_to_judge_by_there_is_no_interval(differences, groups):
    assert seeds_and_clips_interval(differences, groups) is None


def test_groups_that_are_not_one_for_each_sample_are_refused():
    with pytest.raises(ValueError, match="2 groups for 3 test samples"):
        seeds_and_clips_interval(np.ones((2, 3)), [0, 1])


def simulated(generator, *, seeds, groups, per_group, of_seed, of_group, of_clip):
    """Hits of two arms: every arm has an effect by group, by sample and by seed on the probability of a hit."""
    clips = groups * per_group
    hits = []
    for _ in range(2):
        logits = 0.8 + of_seed * generator.normal(size=(seeds, 1)) + of_clip * generator.normal(size=(1, clips))
        logits = logits + of_group * np.repeat(generator.normal(size=(1, groups)), per_group, axis=1)
        hits.append(generator.random((seeds, clips)) < 1 / (1 + np.exp(-logits)))
    return hits[0].astype(float) - hits[1], np.repeat(np.arange(groups), per_group)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10, 40])
@pytest.mark.parametrize(
    "shape",
    [
        {"groups": 300, "per_group": 1, "of_seed": 0.2, "of_group": 0.0, "of_clip": 1.0},
        {"groups": 300, "per_group": 1, "of_seed": 0.5, "of_group": 0.0, "of_clip": 0.3},
        {"groups": 30, "per_group": 10, "of_seed": 0.2, "of_group": 0.7, "of_clip": 0.5},
        {"groups": 10, "per_group": 30, "of_seed": 0.2, "of_group": 0.7, "of_clip": 0.5},
    ],
    ids=["clips", "seeds", "30 speakers", "10 speakers"],
)
def test_the_true_difference_lies_inside_in_95_of_100_tables(seeds, shape):
    """Both arms are equal by their distribution: 0 is the truth. Over seeds alone the cover is far less."""
    generator = np.random.default_rng(seeds)
    inside = alone = 0
    for _ in range(2000):
        differences, groups = simulated(generator, seeds=seeds, **shape)
        low, high = seeds_and_clips_interval(differences, groups)
        inside += low <= 0 <= high
        ends = t_interval(differences.mean(axis=1).tolist())
        alone += ends is not None and ends[0] <= 0 <= ends[1]
    print(f"seeds {seeds}, {shape}: {inside / 2000:.3f}, over seeds alone {alone / 2000:.3f}")
    assert 0.93 <= inside / 2000


# ---- in the tables ---------------------------------------------------------------------------------------------------


def hit_run(folder, all_hits, *, last=None, groups=None, **options):
    """A made-up run whose prediction has these hits on the 30 test samples."""
    last = all_hits if last is None else last
    accuracies = {"accuracy": float(np.mean(all_hits)), "last": float(np.mean(last))}
    write_run(folder, **accuracies, **options)
    others = {"fused": all_hits, "audio": np.arange(30) < 12, "visual": np.arange(30) < 9}
    hits = Hits.packed({"all": all_hits, **others}, {"all": last, **others}, groups=groups, grouped_by="speaker")
    RunFolder(folder, resume=True).write_hits(hits)
    return folder


def write_hit_runs(root, *, groups=None, seeds=4):
    """Two arms whose hits scatter over seeds and samples; seed -> arm -> the hits."""
    generator = np.random.default_rng(5)
    ease = generator.random(30)
    kept = {}
    for seed in range(seeds):
        kept[seed] = {arm: generator.random(30) < ease for arm in ("uniform", "cl")}
        for arm, hits in kept[seed].items():
            hit_run(root / arm / f"seed{seed}", hits, last=~hits, groups=groups, arm=arm, seed=seed)
    return kept


def results(root):
    found = read_runs(find_folders([root]))
    assert not found.left_out
    return results_of(found.runs, failed=found.failed)


@pytest.mark.parametrize("groups", [None, [i // 6 for i in range(30)]], ids=["clips", "speakers"])
def test_the_tables_have_the_interval_over_seeds_and_clips_and_say_what_it_is(tmp_path, groups):
    kept = write_hit_runs(tmp_path, groups=groups)
    found = results(tmp_path)
    points = np.array([100.0 * kept[seed]["cl"] - 100.0 * kept[seed]["uniform"] for seed in range(4)])
    for epoch, sign in (("chosen", 1), ("last", -1)):
        table = difference_table(found, "uniform", epoch)
        expected = seeds_and_clips_interval(sign * points, groups)
        cells = table.cells.set_index("arm")[OVER_CLIPS]
        assert cells["cl"] == interval_text(expected)
        assert cells["uniform"] == ""
        rows = pd.read_csv(io.StringIO(as_csv(found)))
        row = rows.query(f"epoch == '{epoch}' and metric == 'accuracy' and head == 'all' and arm == 'cl'").iloc[0]
        assert (row.clips_low, row.clips_high) == pytest.approx(expected)
        assert rows.query("metric != 'accuracy'").clips_low.isna().all()
    said = reading(found)
    assert (
        "takes the 30 test samples, for a draw" in said if groups is None else "in 5 groups by speaker, for a" in said
    )
    assert OVER_CLIPS in page(found)


def test_without_hits_of_every_run_there_is_no_such_interval(tmp_path):
    write_hit_runs(tmp_path)
    (tmp_path / "cl" / "seed2" / "hits.npz").unlink()
    found = results(tmp_path)
    assert found.clip_intervals == {}
    assert OVER_CLIPS not in difference_table(found, "uniform", "chosen").columns
    assert "of other test samples they say nothing" in reading(found)


def test_an_arm_with_a_failed_run_has_a_dash_and_the_others_have_their_intervals(tmp_path):
    lists = {"test": {"hash": "a" * 64, "count": 30, "commonest_class_accuracy": 0.4}}
    generator = np.random.default_rng(1)
    for arm in ("uniform", "cl", "spl"):
        for seed in range(3):
            options = {"arm": arm, "seed": seed, "lists": lists}
            hit_run(tmp_path / arm / f"seed{seed}", generator.random(30) < 0.6, **options)
    fail_run(tmp_path / "spl" / "seed1")
    cells = difference_table(results(tmp_path), "uniform", "chosen").cells.set_index("arm")[OVER_CLIPS]
    assert cells["spl"] == "-"
    assert cells["cl"].startswith("[")
