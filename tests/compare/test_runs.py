"""Run folders as the report reads them: which of them failed, which are lost, and which may not stand together."""

import json
import shutil

import numpy as np
import pytest

import bss.compare
from bss.compare.runs import BINS, NO_ACCURACY, Scored, find_folders, read_runs, remarks
from bss.compare.tables import reading, results_of
from bss.utils.errors import RunFolderError
from tests.compare.comparing import fail_run, write_run


def lists(accuracy=None, test="t" * 64):
    """What ``config.json`` says of the test list."""
    return {"test": {"hash": test} | ({} if accuracy is None else {"commonest_class_accuracy": accuracy})}


def found(folder):
    return read_runs(find_folders([folder]))


# ---- runs that ended by numbers that are not finite ----


def test_a_run_that_is_not_finite_is_an_outcome_with_the_accuracy_of_the_commonest_class(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    fail_run(write_run(tmp_path / "cl" / "seed3", arm="cl", seed=3, lists=lists(0.25)))
    runs, (failed,), left_out = found(tmp_path)
    assert [run.arm for run in runs] == ["uniform"] and left_out == []
    assert (failed.arm, failed.seed, failed.epoch, failed.accuracy) == ("cl", 3, 1, 0.25)
    assert failed.told == "not finite after step 3 of epoch 2 (the loss is nan)"
    assert results_of(runs, failed=[failed]).failed == (failed,)


def test_a_failed_run_is_a_seed_of_its_arm(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / "uniform" / f"seed{seed}", seed=seed)
        write_run(tmp_path / "cl" / f"seed{seed}", arm="cl", seed=seed, lists=lists(0.25))
    fail_run(tmp_path / "cl" / "seed1")
    runs, failed, _ = found(tmp_path)
    assert not [note for note in results_of(runs, failed=failed).notes if "seeds" in note]


def test_a_failed_run_whose_files_do_not_tell_has_it_by_another_run_with_its_test_list(tmp_path):
    mark = {"training_samples": "same"}
    fail_run(write_run(tmp_path / "cl" / "seed3", arm="cl", seed=3, lists=lists(), mark=mark))
    write_run(tmp_path / "uniform" / "seed0", lists=lists(0.5, test="another"))
    assert found(tmp_path).left_out[0][1].endswith(NO_ACCURACY) and not found(tmp_path).failed
    write_run(tmp_path / "uniform" / "seed1", seed=1, lists=lists(0.25))
    assert found(tmp_path).failed[0].accuracy == 0.25
    fail_run(write_run(tmp_path / "spl" / "seed3", arm="spl", seed=3, lists=lists(0.125), mark=mark))
    assert found(tmp_path).failed[0].accuracy == 0.125  # the same training list comes first: its class is the commonest


def test_without_hashes_the_size_of_the_test_list_must_do(tmp_path):
    fail_run(write_run(tmp_path / "cl" / "seed3", arm="cl", seed=3))
    write_run(tmp_path / "uniform" / "seed0", lists=lists(0.5))
    assert found(tmp_path).failed[0].accuracy == 0.5


@pytest.mark.parametrize("how", ["out of memory", "stopped"])
def test_a_run_that_the_machine_lost_is_no_outcome(tmp_path, how):
    write_run(tmp_path / "uniform" / "seed0", lists=lists(0.5))
    bad = fail_run(write_run(tmp_path / "cl" / "seed0", arm="cl", lists=lists(0.5)), how)
    assert not found(tmp_path).failed and [path for path, _ in found(tmp_path).left_out] == [bad]


def test_failed_runs_alone_are_nothing_to_report(tmp_path):
    bad = fail_run(write_run(tmp_path / "cl" / "seed0", arm="cl", lists=lists(0.5)))
    with pytest.raises(RunFolderError, match=f"there is no finished run to report: {bad}: failed and unfinished"):
        found(tmp_path)


def test_a_failed_run_with_damaged_files_is_left_out_by_name(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    bad = fail_run(write_run(tmp_path / "cl" / "seed0", arm="cl", lists=lists(0.5)))
    for odd in (1.5, "much", float("nan")):
        config = json.loads((bad / "config.json").read_text())
        (bad / "config.json").write_text(json.dumps({**config, "lists": lists(odd)}))
        ((path, reason),) = found(tmp_path).left_out
        assert path == bad and reason.startswith("config.json: lists.test.commonest_class_accuracy is ")


def test_a_failed_run_belongs_into_the_table_or_is_refused_like_any_other(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    fail_run(write_run(tmp_path / "cl" / "seed0", arm="cl", lists=lists(0.5), recipe={"lr": 0.7}))
    runs, failed, _ = found(tmp_path)
    with pytest.raises(RunFolderError, match="different recipes in one report: lr is 0"):
        results_of(runs, failed=failed)


def test_runs_without_names_have_them_together_whatever_became_of_them(tmp_path):
    bare = {"arm": None, "title": None}
    write_run(tmp_path / "a", arm="cl", mark=bare)
    fail_run(write_run(tmp_path / "b", arm="cl", seed=1, mark=bare, lists=lists(0.5)))
    runs, failed, _ = found(tmp_path)
    assert runs[0].arm == failed[0].arm == "CurriculumSampler"


def test_the_long_table_says_that_a_failed_run_is_not_in_it(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    bad = fail_run(write_run(tmp_path / "cl" / "seed0", arm="cl", lists=lists(0.5)))
    with pytest.warns(UserWarning, match=f"1 of 2 run folders were left out; the first is {bad}: failed, not finite"):
        table = bss.compare.load(tmp_path)
    assert set(table["run"]) == {"uniform/seed0"}


# ---- runs that are there twice, and lists that differ ----


def refused(folder):
    with pytest.raises(RunFolderError) as error:
        results_of(found(folder).runs)
    return str(error.value)


def edit(file, **changes):
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))


def test_a_run_that_was_copied_under_another_seed_is_refused(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    shutil.copytree(tmp_path / "uniform" / "seed0", tmp_path / "uniform" / "seed1")
    assert "are both seed 0 of uniform: give one of them" in refused(tmp_path)
    config = json.loads((tmp_path / "uniform" / "seed0" / "config.json").read_text())
    edit(tmp_path / "uniform" / "seed1" / "config.json", recipe={**config["recipe"], "seed": 1})
    one, two = (f"{tmp_path}/uniform/seed{seed} (uniform seed {seed})" for seed in (0, 1))
    assert refused(tmp_path) == (
        f"{one} and {two} are one run under two names, with the same numbers in every epoch: give one of them"
    )


def test_a_copy_whose_times_were_changed_too_is_known_by_its_weights(tmp_path):
    write_run(tmp_path / "uniform" / "seed0")
    shutil.copytree(tmp_path / "uniform" / "seed0", tmp_path / "copy")
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    edit(tmp_path / "copy" / "config.json", recipe={**config["recipe"], "seed": 1})
    rows = [json.loads(line) for line in (tmp_path / "copy" / "metrics.jsonl").read_text().splitlines()]
    later = "".join(json.dumps({**row, "seconds": 9.0}) + "\n" for row in rows)
    (tmp_path / "copy" / "metrics.jsonl").write_text(later)
    assert "are one run under two names" in refused(tmp_path)
    edit(tmp_path / "copy" / "arm.json", initial_weights="others")
    assert results_of(found(tmp_path).runs).arms.keys() == {"uniform"}


def test_a_run_that_was_copied_under_another_arm_is_refused(tmp_path):
    write_run(tmp_path / "cl" / "seed0", arm="cl")
    shutil.copytree(tmp_path / "cl" / "seed0", tmp_path / "spl" / "seed0")
    edit(tmp_path / "spl" / "seed0" / "arm.json", arm="spl")
    assert "(cl seed 0) and" in refused(tmp_path) and "(spl seed 0) are one run under two names" in refused(tmp_path)


def test_two_arms_that_come_to_the_same_are_no_copies(tmp_path):
    for arm in ("cl", "cl-rank"):
        write_run(tmp_path / arm, arm=arm, recipe={"schedule": {"start": 0.1, "normalize": arm}})
    rows = [json.loads(line) for line in (tmp_path / "cl" / "metrics.jsonl").read_text().splitlines()]
    (tmp_path / "cl-rank" / "metrics.jsonl").write_text(
        "".join(json.dumps({**row, "seconds": 9.0}) + "\n" for row in rows)
    )
    assert results_of(found(tmp_path).runs).arms.keys() == {"cl", "cl-rank"}


@pytest.mark.parametrize("silent", ["a", "b", "c"])
def test_test_lists_that_differ_are_refused_whichever_run_does_not_tell(tmp_path, silent):
    for seed, name in enumerate("abc"):
        write_run(tmp_path / name, seed=seed, lists=None if name == silent else lists(test=name * 64))
    said = refused(tmp_path)
    assert "runs of different splits in one report: the test list (hash) is" in said


def test_a_test_list_of_every_seed_is_shared_by_the_arms_of_a_seed_alone(tmp_path):
    for arm in ("uniform", "cl"):
        for seed in (0, 1):
            folder, recipe = tmp_path / arm / f"seed{seed}", {"test_part": "seeded"}
            write_run(folder, arm=arm, seed=seed, recipe=recipe, lists=lists(test=str(seed) * 64))
    results = results_of(found(tmp_path).runs)
    assert not results.one_test and "Every seed has drawn a test part of its own" in reading(results)
    assert results.test_parts == 2 and "Only" not in reading(results)
    write_run(tmp_path / "cl/seed1", arm="cl", seed=1, recipe={"test_part": "seeded"}, lists=lists(test="0" * 64))
    assert "different splits in one report: the test list (hash) is" in refused(tmp_path)


def test_seeds_that_draw_the_same_test_part_are_told(tmp_path):
    """Two of six speakers are one of fifteen pairs: what twenty seeds draw is seldom twenty parts."""
    for arm in ("uniform", "cl"):
        for seed, part in enumerate("aab"):
            folder, recipe = tmp_path / arm / f"seed{seed}", {"test_part": "seeded"}
            write_run(folder, arm=arm, seed=seed, recipe=recipe, lists=lists(test=part * 64))
    said = reading(results_of(found(tmp_path).runs))
    assert "Every seed has drawn its test part out of the data set" in said
    assert "Only 2 of the 3 test parts are different" in said


def test_any_two_runs_of_which_one_names_no_arm_must_fit(tmp_path):
    write_run(tmp_path / "a", arm="cl", recipe={"fused_weight": 1.0})
    write_run(tmp_path / "b", arm="joint", recipe={"fused_weight": 0.5})
    write_run(tmp_path / "c", seed=1, mark={"arm": None}, recipe={"fused_weight": 1.0})
    assert "different recipes in one report: fused_weight is 1.0" in refused(tmp_path)


def test_older_runs_do_not_tell_their_test_list_and_that_is_said(tmp_path):
    write_run(tmp_path / "a", lists=lists())
    assert remarks(found(tmp_path).runs) == []
    write_run(tmp_path / "b", seed=1)
    assert remarks(found(tmp_path).runs) == [
        "1 of 2 runs do not tell which samples the test list had: that it is the same is judged by its size alone."
    ]


def test_scores_are_counted_in_bins_as_numpy_counts_them():
    draw = np.random.default_rng(0)
    difficulty_EN = draw.uniform(-0.2, 2.2, (3, 200)).astype(np.float32)
    difficulty_EN[0, :4] = [np.nan, np.inf, 0, 2]
    difficulty_EN[1, : len(BINS)] = BINS
    found = Scored.of({"epoch": np.array([0, 2, 7]), "label": np.zeros(200, int), "difficulty": difficulty_EN})
    assert found.epochs == (0, 2, 7) and found.known_E.tolist() == [198, 200, 200]
    for row, counts in zip(difficulty_EN, found.counts_EB, strict=True):
        assert counts.tolist() == np.histogram(row[np.isfinite(row)], BINS)[0].tolist()
    none = Scored.of({"epoch": np.zeros(0, int), "label": np.zeros(5, int), "difficulty": np.zeros((0, 5))})
    assert none.epochs == () and none.counts_EB.shape == (0, len(BINS) - 1)
