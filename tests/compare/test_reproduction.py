"""A reproduction: the claimed table beside what was measured, and the two files that can be sent back."""

import csv
import gzip
import io
import json

import pytest

from bss.compare import contribution
from bss.compare import plan as plans
from bss.compare.claims import CLAIMS, CONTRASTS, Claims
from bss.compare.contribution import FOLDER, contribute
from bss.compare.plan import Analysis, Plan, PlannedRun, plan_hash
from bss.compare.raw_values import read, without_folders
from bss.compare.reproduction import claimed_table, contrast_table, prepared, remarks, tables_of
from bss.compare.runs import find_folders, read_runs
from bss.compare.tables import results_of
from bss.utils.errors import RunFolderError
from tests.compare.comparing import fail_run, write_run

TABLE = {"Audio": (60.0, 61.0), "Concat": (70.0, 71.0), "MSES": (65.0, 66.0), "BSS-L": (80.0, 81.0)}
CLAIMED = Claims(metric="map", alone={"Audio": "audio"}, table=TABLE)
"""A table of four rows, of which one cannot be trained."""


def made(tmp_path, accuracies, *, contrasts=CONTRASTS):
    """Plan, found runs and results of arm -> accuracies of the seeds 0, 1, ..."""
    for arm, values in accuracies.items():
        for seed, accuracy in enumerate(values):
            lists = {"test": {"count": 30, "hash": "7e57", "commonest_class_accuracy": 0.2}}
            write_run(tmp_path / arm / f"seed{seed}", arm=arm, seed=seed, accuracy=accuracy, lists=lists)
    arms, seeds = tuple(accuracies), tuple(range(len(next(iter(accuracies.values())))))
    known = tuple(pair for pair in contrasts if set(pair) <= set(arms))
    command = ("python", "--data-root", "/mine/data", "--set", "cache=/mine/x", "--set", "lr=0.1", "--out", "/mine/out")
    rows = [PlannedRun(arm, seed, None, f"{arm}/seed{seed}", command, f"hash {arm}") for arm in arms for seed in seeds]
    plan = Plan(Analysis(arms, seeds, known, "accuracy", ("chosen", "last"), 1.0, 1), tuple(rows))
    found = read_runs(find_folders([tmp_path]))
    return plan, found, results_of(found.runs, failed=found.failed, plan=plan, order=arms)


# ---- claimed beside measured ----


def test_what_is_claimed_and_what_was_measured_have_columns_of_their_own(tmp_path):
    # 0.6 and 0.7: mean 65, deviation 7.07, so +- 12.706 x 7.07 / sqrt 2 = 63.53, cut at 100.
    arms = {"uniform": [0.5, 0.5], "alone-audio": [0.6, 0.7], "joint": [0.5, 0.7], "spl-paper": [0.8, 0.9]}
    _, _, results = made(tmp_path, arms)
    table = claimed_table(CLAIMED, results)
    assert table.columns == [
        "row of the slides",
        "claimed accuracy",
        "claimed mAP",
        "arm here",
        "n",
        "measured accuracy [95 %]",
        "measured mAP [95 %]",
        "how it was trained here",
    ]
    assert [row[:6] for row in table.rows] == [
        ["Audio", "60.00", "61.00", "alone-audio", "2", "65.0 [1.5, 100.0]"],
        ["Concat", "70.00", "71.00", "joint", "2", "60.0 [0.0, 100.0]"],
        ["MSES", "65.00", "66.00", "-", "", "-"],
        ["BSS-L", "80.00", "81.00", "spl-paper", "2", "85.0 [21.5, 100.0]"],
        ["BSS-L", "80.00", "81.00", "spl-paper-replacement", "0", "-"],
        ["(not in the slides)", "", "", "uniform", "2", "50.0"],
        ["(not in the slides)", "", "", "uniform-replacement", "0", "-"],
        ["(not in the slides)", "", "", "random-pacing", "0", "-"],
        ["(not in the slides)", "", "", "ensemble", "0", "-"],
    ]
    assert table.rows[2][7].startswith("not trained: ")
    assert "no deviation, number of seeds or protocol is given" in table.caption
    # No cell is of both: a claimed number is never in a measured column, nor the other way round.
    assert not any(value in cell for row in table.rows for value in row[1:3] if value for cell in row[5:])


def test_a_planned_contrast_has_the_claimed_gain_the_measured_one_and_what_these_runs_can_see(tmp_path):
    arms = {"uniform": [0.5, 0.6, 0.7], "joint": [0.4, 0.6, 0.5], "spl-paper": [0.51, 0.62, 0.73]}
    _, _, results = made(tmp_path, arms)
    rows = contrast_table(CLAIMED, results).rows
    assert [row[:3] for row in rows] == [
        [f"spl-paper minus {control}", claimed, epoch]
        for control, claimed in (("uniform", ""), ("joint", "+10.00 over Concat"))
        for epoch in ("chosen", "last")
    ]
    # Differences to uniform 1, 2, 3: as in test_report; the family has four tests here.
    assert rows[0][3:7] == ["3", "+2.0", "[−0.5, +4.5]", "undecided"]  # noqa: RUF001
    assert rows[0][7] == "3.3" and float(rows[0][8]) > 4.6 and rows[0][9] == ""
    # Differences to joint 11, 2, 23: deviation 10.5, so a gain of 10 would not be seen.
    assert rows[2][4] == "+12.0" and rows[2][9] == "no"


def test_a_claimed_gain_would_be_seen_where_the_runs_scatter_little(tmp_path):
    arms = {"joint": [0.5, 0.6, 0.7], "spl-paper": [0.51, 0.612, 0.711]}
    _, _, results = made(tmp_path, arms)
    assert [row[9] for row in contrast_table(CLAIMED, results).rows] == ["yes", "yes"]


def test_without_scatter_it_is_not_known_what_would_be_seen(tmp_path):
    _, _, results = made(tmp_path, {"joint": [0.5, 0.6], "spl-paper": [0.6, 0.7]})
    assert {(row[7], row[8], row[9]) for row in contrast_table(CLAIMED, results).rows} == {("-", "-", "not known")}


def test_a_failed_run_counts_in_the_accuracy_and_has_no_second_metric(tmp_path):
    arms = {"uniform": [0.5, 0.6], "joint": [0.5, 0.7]}
    made(tmp_path, arms)
    fail_run(tmp_path / "joint" / "seed1")
    found = read_runs(find_folders([tmp_path]))
    results = results_of(found.runs, failed=found.failed)
    (row,) = (row for row in claimed_table(CLAIMED, results).rows if row[3] == "joint")
    assert row[4:6] == ["2", "35.0 [0.0, 100.0]"] and row[6] == "50.0 (n = 1)"


def test_folds_are_the_values_that_means_are_of(tmp_path):
    # Fold 0 has 60 and 70, fold 1 has 61 and 71: means 65 and 66. With 30 test samples for 50 others the deviation of
    # 0.707 is over sqrt(1 / (0.5 + 0.6)) values: 65.5 -+ 12.706 x 0.707 x sqrt(1.1) = 9.42.
    for fold, accuracies in enumerate([(0.6, 0.7), (0.61, 0.71)]):
        for seed, accuracy in enumerate(accuracies):
            for arm, gain in (("joint", 0.0), ("spl-paper", 0.01 * (1 + fold + seed))):
                recipe = {"fold": fold, "folds": 2}
                folder = tmp_path / arm / f"fold{fold}" / f"seed{seed}"
                write_run(folder, arm=arm, seed=seed, accuracy=accuracy + gain, recipe=recipe)
    found = read_runs(find_folders([tmp_path]))
    results = results_of(found.runs, controls=("joint",))
    (row,) = (row for row in claimed_table(CLAIMED, results).rows if row[3] == "joint")
    assert row[4:6] == ["2", "65.5 [56.1, 74.9]"]
    assert "mean over n folds, each the mean of its seeds" in claimed_table(CLAIMED, results).caption
    assert [row[3] for row in contrast_table(CLAIMED, results).rows] == ["2", "2"]


def test_only_kinetics_sounds_has_a_claimed_ablation(tmp_path):
    _, _, results = made(tmp_path, {"uniform": [0.5], "joint": [0.5]})
    assert {stem: len(tables_of(claims, results)) for stem, claims in CLAIMS.items()} == {
        **dict.fromkeys(CLAIMS, 2),
        "ks": 3,
    }
    last = tables_of(CLAIMS["ks"], results)[-1]
    assert last.rows[0] == ["none", "49.37 (51.07)", "54.03 (57.48)", "70.44 (76.62)"]


def test_the_page_says_which_recipe_all_arms_are_made_of(tmp_path):
    options = {"seeds": (0,), "data_root": tmp_path, "out": tmp_path}
    (said,) = remarks(prepared("cremad", **options), ())
    assert "fused_weight=0.2 in place of 0.1, unimodal_weight=0.8 in place of 0.9" in said and "is a guess" in said
    (said,) = remarks(prepared("ks", **options), ())
    assert "the preset paper of this data set's CL, which is the default's;" in said and "  " not in said
    said = remarks(prepared("cremad", **options, folds=5), ())
    assert said[1].startswith("The samples of the published lists are dealt anew into 5 folds, so that no speaker")
    said = remarks(prepared("ks", **options, settings=("lr=0.1",), sample=True), ("lr=0.1",))
    assert said[1].startswith("Shrunk for the generated data: epochs=2,") and said[2].endswith("needs it: lr=0.1.")


# ---- the two files ----


def test_the_two_files_hold_all_runs_and_no_place(tmp_path):
    plan, _, _ = made(tmp_path, {"uniform": [0.5, 0.6], "joint": [0.5, 0.7]})
    fail_run(tmp_path / "joint" / "seed1")
    found = read_runs(find_folders([tmp_path]))
    paths = contribute(plan, [*found.runs, *found.failed], tmp_path)
    assert paths == [tmp_path / FOLDER / "plan.json", tmp_path / FOLDER / "runs.csv.gz"]
    text = paths[0].read_text() + gzip.decompress(paths[1].read_bytes()).decode()
    assert "/mine" not in text and str(tmp_path) not in text and "nowhere" not in text
    sent = plans.read(paths[0].parent)
    assert plan_hash(sent) == plan_hash(plan) and sent.analysis == plan.analysis
    expected = ("python", "--data-root", "DATA", "--set", "cache=PATH", "--set", "lr=0.1", "--out", "OUT")
    assert sent.runs[0].command == expected
    rows = read(paths[1].read_bytes())
    assert [(row["arm"], row["seed"], row["failed"]) for row in rows] == [
        ("joint", "0", ""),
        ("joint", "1", "not finite"),
        ("uniform", "0", ""),
        ("uniform", "1", ""),
    ]
    assert rows[3]["all.accuracy.chosen"] == "0.6" and rows[3]["audio.map.last"] == "0.4"
    assert rows[1]["all.accuracy.chosen"] == "" and rows[1]["commonest_class"] == "0.2"
    assert {(row["plan"], row["test_list"], row["commit"], row["versions"], row["device"]) for row in rows} == {
        (plan_hash(plan), "7e57", "abc", "torch 2", "cpu")
    }
    assert rows[0]["recipe"] == "hash joint" and rows[0]["task"] == "made-up" and rows[0]["generated"] == "False"
    assert contribution.read(paths[0].parent) == (sent, rows)
    before = [path.read_bytes() for path in paths]
    contribute(plan, [*found.failed, *reversed(found.runs)], tmp_path)
    assert [path.read_bytes() for path in paths] == before


def test_a_run_that_went_on_elsewhere_names_both_places(tmp_path):
    plan, _, _ = made(tmp_path, {"uniform": [0.5], "joint": [0.5]})
    path = tmp_path / "joint/seed0/config.json"
    config = json.loads(path.read_text())
    part = {"finished_epochs": 1, "step": 0, "device": "GPU", "commit": "abc", "versions": {"torch": "3"}}
    path.write_text(json.dumps({**config, "continued": [part]}))
    _, rows = contribute(plan, read_runs(find_folders([tmp_path])).runs, tmp_path)
    (row,) = (row for row in read(rows.read_bytes()) if row["arm"] == "joint")
    assert (row["device"], row["commit"], row["versions"]) == ("cpu then GPU", "abc", "torch 2 then torch 3")


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    plan, found, _ = made(tmp_path / "one", {"uniform": [0.5], "joint": [0.5]})
    other, _, _ = made(tmp_path / "other", {"uniform": [0.5]})
    sent, rows = contribute(plan, found.runs, tmp_path)
    plans.write(other, sent.parent)
    with pytest.raises(RunFolderError, match="has 2 rows of another plan"):
        contribution.read(sent.parent)
    rows.write_bytes(rows.read_bytes()[:-20])
    with pytest.raises(RunFolderError, match=r"runs\.csv\.gz cannot be read"):
        contribution.read(sent.parent)
    with pytest.raises(RunFolderError, match=r"has no plan\.json"):
        contribution.read(tmp_path)


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("--set", "--set"),
        ("cache=/opt/me/x", "cache=PATH"),
        (r"cache=C:\Users\me", "cache=PATH"),
        ("text_model=~/bert", "text_model=PATH"),
        ("text_model=bert-base-uncased", "text_model=bert-base-uncased"),
        ("schedule.grow_epochs=2", "schedule.grow_epochs=2"),
        ("/opt/me/task.py", "PATH"),
        ("cache=$HOME/x", "cache=PATH"),
        ("cache=mine/x", "cache=PATH"),
        ("text_model=mine/bert", "text_model=PATH"),
        ("text_model=vinai/bertweet-base", "text_model=vinai/bertweet-base"),  # a name on the hub
    ],
    ids=range(11),
)
def test_words_of_a_command_without_folders(word, left, tmp_path, monkeypatch):
    (tmp_path / "mine" / "x").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "bert").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert without_folders(["--data-root", "data", "x", word]) == ("--data-root", "DATA", "x", left)


def test_values_beside_the_keys_come_before_the_results():
    from bss.compare.raw_values import packed, table

    rows = [{"arm": "b", "seed": 1, "all.accuracy.last": 0.1 + 0.2, "commit": "abc"}, {"arm": "a", "seed": 2}]
    text = table(rows, ("commit",))
    assert text.splitlines() == [
        "arm,seed,updates,epochs,chosen_epoch,commit,all.accuracy.last",
        "a,2,,,,,",
        "b,1,,,,abc,0.30000000000000004",
    ]
    assert read(packed(text)) == list(csv.DictReader(io.StringIO(text)))
