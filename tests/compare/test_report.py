"""The report: what its tables say by hand, which runs may stand together, and what the page says."""

import base64
import contextlib
import csv
import html
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from PIL import Image

import bss.compare
from bss.cli import report as command
from bss.cli.commands import main
from bss.compare import figures, samples
from bss.compare.page import Source, _recipe, page
from bss.compare.plan import Analysis, Plan, PlannedRun
from bss.compare.runs import find_folders, read_runs
from bss.compare.tables import (
    Table,
    arm_table,
    as_csv,
    as_markdown,
    choice_tables,
    cost_table,
    difference_table,
    finding,
    finished_table,
    head_table,
    power_tables,
    primary_tables,
    results_of,
    same_sizes,
    secondary_tables,
)
from bss.compare.wording import interval_text, p_text, points
from bss.data.batches import Content, Preview, preview_of
from bss.data.transforms.text import Tokens
from bss.data.transforms.views import Picture, Pictures, Sound
from bss.tasks import sarcasm, task_file
from bss.training.run_folder import sealed
from bss.utils.errors import RecipeError, RunFolderError
from tests.compare.comparing import fail_run, write_run

ROOT = Path(__file__).resolve().parents[2]


def results(tmp_path, **options):
    runs, failed, left_out = read_runs(find_folders([tmp_path]))
    return results_of(runs, failed=failed, left_out=left_out, **options)


@pytest.fixture
def undrawn(monkeypatch):
    """For tests of what a page says: its figures, which take most of the time, are made and not drawn."""
    monkeypatch.setattr(figures, "_svg", lambda figure, name: "<svg></svg>")


def comparison(tmp_path, accuracies):
    """Run folders of arm -> accuracies of the seeds 0, 1, ..."""
    for arm, values in accuracies.items():
        for seed, accuracy in enumerate(values):
            write_run(tmp_path / arm / f"seed{seed}", arm=arm, seed=seed, accuracy=accuracy)
    return tmp_path


# ---- what the tables say ----


def test_the_table_has_mean_difference_and_interval_by_hand(tmp_path):
    made = results(comparison(tmp_path, {"uniform": [0.50, 0.60, 0.70], "cl": [0.51, 0.62, 0.73]}))
    table = difference_table(made, "uniform", "chosen")
    uniform, cl = table.rows
    assert uniform[:3] == ["uniform", "3", "60.0 \u00b1 10.0"] and uniform[3:] == [""] * 6
    # Differences 1, 2, 3 at both epochs: twice 0.074 by Holm; 2 of 8 signs are as far out.
    assert cl[:5] == ["cl", "3", "62.0 \u00b1 11.0", "+2.0", "[\u22120.5, +4.5]"]
    assert cl[5:9] == ["undecided", "0.148", "0.074 (3)", "0.250"]
    (power,) = power_tables(made)
    assert power.rows == [["cl minus uniform", epoch, "3", "3.3", "4.6", "10"] for epoch in ("chosen", "last")]
    assert table.title == "Accuracy against uniform, epoch chosen on validation (exploratory)"
    assert finding(made).splitlines()[1].startswith("Undecided against uniform: cl. 3 seeds could see a difference of ")


@pytest.mark.parametrize(
    ("seeds", "text"), [((0, 1), "seeds 0, 1,"), ((3, 4, 5), "seeds 3 to 5,"), ((0, 1, 3), "seeds 0, 1, 3,")]
)
@pytest.mark.usefixtures("undrawn")
def test_the_page_says_which_seeds(tmp_path, seeds, text):
    for seed in seeds:
        write_run(tmp_path / f"seed{seed}", seed=seed)
    assert f"1 arm, {text} " in page(results(tmp_path))


def test_what_is_answered_by_signs_and_what_could_not_be_tested(tmp_path):
    # The differences of cl are 2, 3, 4 points: t = 3 sqrt(3), p = 1 - t / sqrt(t^2 + 2) = 0.0351; by Holm over the two
    # arms at two epochs four times that. spl has 1.0 on each of three seeds: 2 of 8 signs.
    comparison(
        tmp_path, {"uniform": [0.5, 0.6, 0.7], "cl": [0.52, 0.63, 0.74], "spl": [0.51, 0.61, 0.71], "anti": [0.4]}
    )
    write_run(tmp_path / "mix" / "seed9", arm="mix", seed=9)
    made = results(tmp_path, order=("uniform", "cl", "spl", "anti", "mix"))
    said = finding(made)
    assert said.startswith("Exploratory: no plan was written before the runs. Test accuracy at the chosen and last ")
    assert "Holm-adjusted over 4 comparisons, level 5 %;" in said
    assert said.endswith("Not tested against uniform: anti (one seed in common), mix (no seed in common).")
    rows = difference_table(made, "uniform", "chosen").rows
    assert [row[5:9] for row in rows[1:3]] == [
        ["undecided", "0.140", "0.035 (3)", "0.250"],
        ["undecided", "0.500", "0.250 (3)", "0.250"],
    ]
    assert [row[5] for row in rows[3:]] == ["not tested", "not tested"]


def test_the_finding_gives_the_adjusted_p_value(tmp_path):
    # Differences of 3, 4, 5 and 4 points: t = 4 / (sqrt(2 / 3) / 2), times the four comparisons of two arms.
    comparison(
        tmp_path, {"uniform": [0.5, 0.6, 0.7, 0.8], "cl": [0.53, 0.64, 0.75, 0.84], "spl": [0.49, 0.6, 0.71, 0.8]}
    )
    made = results(tmp_path)
    p = 4 * 2 * scipy.stats.t.sf(4 / (math.sqrt(2 / 3) / 2), 3)
    assert made.judgement.find("cl", "uniform", "last").p_holm == pytest.approx(p, rel=1e-6)
    assert f"Better than uniform: cl (+4.0 points [+2.7, +5.3], p = {p:.3f})." in finding(made)


def rewrite(path, **changes):
    """Change fields of a run's file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_one_run_without_a_validation_split_makes_the_last_epoch_the_primary_one(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6]})
    rewrite(tmp_path / "uniform" / "seed1" / "summary.json", oracle={"epoch": 0})
    assert results(tmp_path).primary == "last"


def write_single(folder, *, arm=None, sampler_of="cl", **config):
    """A run as a script makes it (no arm), or as ``python -m bss train`` does (its arm in ``config.json``)."""
    write_run(folder, arm=sampler_of, recipe=config.pop("recipe", ()))
    (folder / "arm.json").unlink()
    rewrite(folder / "config.json", **{"arm": arm, "task": "made-up", **config})


def test_cl_that_starts_from_the_whole_set_is_never_taken_for_the_uniform_control(tmp_path):
    write_single(tmp_path / "a-CL", recipe={"schedule": {"start": 1.0}})
    write_single(tmp_path / "b-uniform", arm="uniform", sampler_of="uniform")
    made = results(tmp_path)
    assert list(made.arms) == ["uniform", "CurriculumSampler"] and made.controls == ("uniform",)
    write_single(tmp_path / "c-joint", arm="joint", sampler_of="uniform", recipe={"schedule": {"start": 1.0}})
    assert results(tmp_path).controls == ("uniform",)


def test_without_uniform_order_cl_over_the_whole_set_is_not_said_to_be_it(tmp_path):
    write_single(tmp_path / "a-CL", recipe={"schedule": {"start": 1.0}})
    write_single(tmp_path / "b-cl", arm="cl")
    notes = results(tmp_path).notes
    assert notes[0] == "There is no arm of uniform order: the first arm, CurriculumSampler, is the control."


@pytest.mark.usefixtures("undrawn")
def test_an_arm_that_train_made_has_its_name_its_title_and_its_task(tmp_path):
    write_single(tmp_path / "one", arm="uniform", sampler_of="uniform", title="Tiny <task>")
    write_single(tmp_path / "two", arm="spl+ogm-ge", title="Tiny <task>")
    write_single(tmp_path / "three", arm="gone", title="Tiny <task>")  # of a later version, or an earlier one
    made = results(tmp_path)
    titles = [row[:2] for row in arm_table(made).rows]
    assert titles == [["uniform", "uniform order"], ["gone", ""], ["spl+ogm-ge", "SPL; OGM-GE"]]
    assert "Tiny &lt;task&gt;: 3 ways to train, compared" in page(made)


def test_runs_of_train_and_of_compare_are_one_arm_or_refused_by_what_differs(tmp_path):
    write_run(tmp_path / "compared", arm="cl", seed=1)
    write_single(tmp_path / "single", arm="cl")
    assert list(results(tmp_path).arms) == ["cl"]
    write_single(tmp_path / "other", arm="cl", task="another")
    with pytest.raises(RunFolderError, match="runs of different tasks in one report: the task is"):
        results(tmp_path)


def test_joint_training_may_have_its_own_loss_in_a_report_of_single_runs(tmp_path):
    for arm, weight in (("uniform", 1.0), ("joint", 0.0)):
        write_single(tmp_path / arm, arm=arm, sampler_of="uniform", recipe={"unimodal_weight": weight})
    assert list(results(tmp_path).arms) == ["uniform", "joint"]


def test_runs_of_different_lengths_are_a_note(tmp_path):
    comparison(tmp_path, {"uniform": [0.5]})
    assert "optimiser steps" not in " ".join(results(tmp_path).notes)
    write_run(tmp_path / "uniform" / "seed7", seed=7, sizes=(40, 32))  # a seed may have other numbers than another
    assert "optimiser steps" not in " ".join(results(tmp_path).notes)
    write_run(tmp_path / "cl", arm="cl", sizes=(40, 24))  # 5 and 3 steps of 8
    assert "optimiser steps (with seed 0 8 to 10): " in " ".join(results(tmp_path).notes)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("commit", "def", "commit: abc (uniform seeds 0, 2); def (uniform seed 1)."),
        ("commit", None, "commit: abc (uniform seeds 0, 2); unknown (uniform seed 1)."),
        ("device", "cuda", "device: cpu (uniform seeds 0, 2); cuda (uniform seed 1)."),
        ("versions", {"torch": "3"}, "versions: torch 2 (uniform seeds 0, 2); torch 3 (uniform seed 1)."),
    ],
)
def test_runs_of_another_commit_device_or_version_are_named_in_a_note(tmp_path, name, value, said):
    comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7]})
    rewrite(tmp_path / "uniform" / "seed1" / "config.json", machine={"cores": 9})  # every run may have its own
    assert "The runs differ" not in " ".join(results(tmp_path).notes)
    rewrite(tmp_path / "uniform" / "seed1" / "config.json", **{name: value})
    notes = [note for note in results(tmp_path).notes if note.startswith("The runs differ")]
    assert notes == [f"The runs differ in {said}"]


def test_of_versions_those_are_told_that_differ(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6]})
    for seed, torch_version in enumerate(("2.11", "2.12")):
        versions = {"python": "3.11", "torch": torch_version, "torchaudio": None}
        rewrite(tmp_path / "uniform" / f"seed{seed}" / "config.json", versions=versions)
    (note,) = [note for note in results(tmp_path).notes if note.startswith("The runs differ")]
    assert note == "The runs differ in versions: torch 2.11 (uniform seed 0); torch 2.12 (uniform seed 1)."


@pytest.mark.usefixtures("undrawn")
def test_a_part_that_another_program_trained_is_named(tmp_path):
    """A run may begin with one commit and end with another: ``config.json`` itself is of the first part."""
    comparison(tmp_path, {"uniform": [0.5, 0.6], "cl": [0.6, 0.8]})
    config = json.loads((tmp_path / "cl" / "seed1" / "config.json").read_text())
    later = {
        "finished_epochs": 1,
        "step": 3,
        "commit": "def",
        "versions": {"torch": "2"},
        "command": ["<y>", "--resume"],
    }
    rewrite(
        tmp_path / "cl" / "seed1" / "config.json", continued=[{**later, "commit": config["commit"], "step": 0}, later]
    )
    rewrite(tmp_path / "uniform" / "seed0" / "config.json", continued=[{"finished_epochs": 1, "commit": "abc"}])
    made = results(tmp_path)
    parts = "cl seed 0; cl seed 1 at first; cl seed 1 from epoch 2 on"
    assert [note for note in made.notes if note.startswith("The runs differ")] == [
        f"The runs differ in commit: abc (uniform seeds 0, 1; {parts}); def (cl seed 1 from epoch 2 on, after step 3)."
    ]
    text = page(made)
    assert "<strong>commit</strong> (cl seed 1 from epoch 2 on, after step 3)</p><pre>def</pre>" in text
    listed = [
        "uniform seed 0: from epoch 2 on",
        "cl seed 1: from epoch 2 on",
        "cl seed 1: from epoch 2 on, after step 3",
    ]
    assert "<strong>stopped, and went on</strong></p><pre>" + "\n".join(listed) + "</pre>" in text
    assert "<pre>&lt;y&gt; --resume</pre>" in text


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_went_on_with_other_numbers_is_named(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6]})
    part = {"finished_epochs": 1, "step": 2, "after": {"how": "not finite"}, "device": "cuda"}
    config = tmp_path / "uniform" / "seed1" / "config.json"
    rewrite(config, continued=[{**part, "changed": {"lr": [0.5, 0.1], "precision": ["fp16", "fp32"]}}])
    made = results(tmp_path)
    where = "from epoch 2 on, after step 2, where it had ended: not finite, with lr 0.5 -> 0.1, precision fp16 -> fp32"
    assert f"uniform seed 1 trained {where}: it is no repetition of the others of its arm." in made.notes
    assert (
        f"The runs differ in device: cpu (uniform seed 0; uniform seed 1 at first); cuda (uniform seed 1 {where})."
        in (made.notes)
    )
    assert html.escape(f"uniform seed 1: {where}") in page(made)
    rewrite(config, continued=[{"finished_epochs": 1, "changed": {"epochs": [1, 2], "compile": [False, True]}}])
    assert "no repetition" not in " ".join(results(tmp_path).notes)  # it ends as one that had them from the start


def test_runs_of_one_arm_that_trained_for_different_lengths_are_arms_of_their_own(tmp_path):
    """A run that was extended from 4 epochs to 6 said 4 in ``config.json``: its rows count."""
    for seed, epochs in enumerate((4, 4, 6)):
        write_run(tmp_path / f"cl{seed}", arm="cl", seed=seed, sizes=(40,) * epochs, accuracy=0.5 + seed / 10)
        write_run(tmp_path / f"uniform{seed}", seed=seed, sizes=(40,) * 4)
    made = results(tmp_path)
    assert {arm: [run.seed for run in runs] for arm, runs in made.arms.items()} == {
        "uniform": [0, 1, 2],
        "cl (4 epochs)": [0, 1],
        "cl (6 epochs)": [2],
    }
    assert (
        "The runs of cl differ in how long they trained (4 epochs: seeds 0, 1; 6 epochs: seed 2): each length is an "
        "arm of its own."
    ) in made.notes
    assert [row[0] for row in arm_table(made).rows] == list(made.arms)
    with pytest.raises(
        RecipeError, match=r"none of the arms with a finished run: cl \(4 epochs\), cl \(6 epochs\), uniform"
    ):
        results(tmp_path, controls=["cl"])


def test_runs_of_one_arm_with_other_updates_are_arms_of_their_own(tmp_path):
    """With equal updates seeds may have other numbers of epochs: the budget counts."""
    for seed, (sizes, updates) in enumerate((((40, 40), 10), ((40, 32, 8), 10), ((40, 40, 40), 15))):
        write_run(tmp_path / f"cl{seed}", arm="cl", seed=seed, sizes=sizes, recipe={"updates": updates})
    assert list(results(tmp_path).arms) == ["cl (10 updates)", "cl (15 updates)"]
    write_run(tmp_path / "cl2", arm="cl", seed=2, sizes=(80,), recipe={"updates": 10})
    assert list(results(tmp_path).arms) == ["cl"]


@pytest.mark.parametrize(("split", "seed"), [("test", 1), ("val", 0)])
def test_runs_with_other_samples_in_a_list_are_refused(tmp_path, split, seed):
    lists = {"test": {"hash": "a" * 16, "count": 30}, "val": {"hash": "b" * 16, "count": 10}}
    for folder, arm, other in (("one", "uniform", 0), ("two", "cl", seed)):
        write_run(tmp_path / folder, arm=arm, seed=other)
        rewrite(tmp_path / folder / "config.json", lists=lists)
    results(tmp_path)
    changed = {**lists, split: {"hash": "c" * 16, "count": 30}}
    rewrite(tmp_path / "two" / "config.json", lists=changed)
    before = {"test": "a", "val": "b"}[split] * 12
    with pytest.raises(RunFolderError, match=rf"list \(hash\) is '{before}' in .*one\nand 'cccccccccccc' in .*two"):
        results(tmp_path)
    rewrite(tmp_path / "two" / "config.json", lists={})  # as older versions noted them
    assert len(results(tmp_path).runs) == 2


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (
            [{"train": 2200, "val": 0, "test": 482}] * 2,
            "Training: 2,200 samples; test: 482 samples, one is worth 0.21 points.",
        ),
        ([{"test": 50_000}] * 2, "Test: 50,000 samples, one is worth 0.002 points."),
        (
            [{"train": 38, "val": 10, "test": 1}, {"train": 40, "val": 8, "test": 1}],
            "Training: 38 to 40 samples; validation: 8 to 10 samples, one is worth 10 to 12 points; test: 1 sample, "
            "one is worth 100 points.",
        ),
    ],
    ids=["no validation", "test alone", "by seed"],
)
@pytest.mark.usefixtures("undrawn")
def test_tables_and_page_say_how_many_samples_there_are_and_what_one_is_worth(tmp_path, samples, said):
    for seed, counts in enumerate(samples):
        write_run(tmp_path / f"seed{seed}", seed=seed)
        rewrite(tmp_path / f"seed{seed}" / "config.json", samples=counts)
    made = results(tmp_path)
    assert f"\n\n{said}\n\n" in as_markdown(made) and said in page(made)


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        ({}, "the prediction (audio + visual + fused)"),
        ({"uniform": "unimodal", "cl": "unimodal"}, "the prediction (audio + visual)"),
        ({"joint": "fused"}, "the prediction (audio + visual + fused; of joint: fused)"),
    ],
    ids=["all", "CREMA-D", "joint"],
)
@pytest.mark.usefixtures("undrawn")
def test_every_place_that_names_the_prediction_says_which_heads_are_in_it(tmp_path, predictions, said):
    for arm in ("uniform", "cl", *predictions):
        recipe = {"prediction": predictions.get(arm, "all")} if predictions else {}
        for seed in (0, 1):
            write_run(
                tmp_path / arm / f"{seed}", arm=arm, seed=seed, recipe=recipe, accuracy=0.5 + seed * len(arm) / 20
            )
    made = results(tmp_path)
    text, markdown = page(made), as_markdown(made)
    assert f"Primary: test accuracy of {said}, epoch chosen on validation and last epoch; control: uniform." in text
    assert f"<figcaption>{said[0].upper()}{said[1:]}, on the validation samples." in text
    for whole in (text, markdown):
        assert f"Test accuracy of {said} in %, last epoch" in whole and f"all is {said}, and then" in whole
        assert "all heads" not in whole and "heads together" not in whole


def test_the_cost_table_counts_epochs_from_one(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6]})
    rewrite(tmp_path / "uniform" / "seed1" / "summary.json", chosen_epoch=0)
    assert cost_table(results(tmp_path)).rows == [["uniform", "10", "2", "1 to 2", "2.0 \u00b1 0.0"]]


def test_a_difference_that_stands_is_named(tmp_path):
    made = results(comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7, 0.8], "cl": [0.6, 0.701, 0.802, 0.9]}))
    assert "Better than uniform: cl (+10.1 points [+9.9, +10.2], p < 0.001)." in finding(made)


@pytest.mark.parametrize(
    ("sizes", "same"), [((47, 40), True), ((40, 8), True), ((48, 40), False), ((40, 40, 8), False)], ids=str
)
def test_epochs_have_the_same_sizes_within_a_batch_and_but_for_the_last(tmp_path, sizes, same):
    write_run(tmp_path / "a", sizes=(40, 40))
    write_run(tmp_path / "b", arm="cl", sizes=sizes)
    runs, *_ = read_runs(find_folders([tmp_path]))
    assert same_sizes(*runs) is same_sizes(*reversed(runs)) is same


@pytest.mark.parametrize(
    ("one", "other", "same"), [((40,), (47,), True), ((40,), (48,), False), ((40,), (40, 40), False)], ids=str
)
def test_of_runs_of_one_epoch_that_epoch_counts(tmp_path, one, other, same):
    write_run(tmp_path / "a", sizes=one)
    write_run(tmp_path / "b", arm="cl", sizes=other)
    runs, *_ = read_runs(find_folders([tmp_path]))
    assert same_sizes(*runs) is same_sizes(*reversed(runs)) is same


def test_random_pacing_is_a_second_control_for_the_arms_with_its_sizes(tmp_path):
    comparison(tmp_path, {"uniform": [0.5], "random-pacing": [0.5], "cl": [0.5], "spl": [0.5]})
    for arm in ("random-pacing", "cl"):
        write_run(tmp_path / arm / "seed0", arm=arm, sizes=(16, 40, 24))
    made = results(tmp_path, order=("uniform", "random-pacing", "cl", "spl"))
    assert made.controls == ("uniform", "random-pacing")
    assert made.compared("random-pacing") == ["cl"] and len(made.compared("uniform")) == 3


def test_the_csv_holds_both_epochs_every_metric_and_every_head(tmp_path):
    made = results(comparison(tmp_path, {"uniform": [0.5, 0.6], "cl": [0.6, 0.8]}))
    rows = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert len(rows) == 2 * 3 * 4 * 2
    first = next(row for row in rows if row["arm"] == "cl")
    assert (first["metric"], first["pairs"], float(first["mean"])) == ("accuracy", "2", pytest.approx(70))
    assert float(first["difference"]) == pytest.approx(15)


def test_the_csv_has_whole_numbers_full_precision_and_empty_cells(tmp_path):
    made = results(comparison(tmp_path, {"uniform": [0.5, 0.6], "cl": [0.6, 0.8, 0.9]}))
    columns, cl, uniform = (line.split(",") for line in as_csv(made).split("\n")[:3])
    assert cl[:10] == "chosen,accuracy,all,cl,3,76.66666666666667,15.275252316519467,uniform,2,15.0".split(",")
    without = [name for name, cell in zip(columns, cl, strict=True) if not cell]
    assert without == ["clips_low", "clips_high"]  # these runs keep no hits
    assert cl[-2:] == ["undecided", "exploratory"]
    own = ["chosen", "accuracy", "all", "uniform", "2", "55.0", "7.0710678118654755"]
    assert uniform == [*own, *[""] * 12, "exploratory"]


def test_only_the_primary_comparisons_have_p_values_and_verdicts(tmp_path):
    """Of 144 raw p values in one file some are small by chance in two files of three."""
    made = results(comparison(tmp_path, {"uniform": [0.5, 0.6, 0.65], "cl": [0.6, 0.8, 0.9]}))
    rows = list(csv.DictReader(io.StringIO(as_csv(made))))
    for row in rows:
        primary = (row["metric"], row["head"]) == ("accuracy", "all")
        assert row["family"] == ("exploratory" if primary else "secondary")
        tested = [row[name] for name in ("p", "p_signs", "p_holm", "p_equivalent", "verdict")]
        assert all(tested) if primary and row["control"] else not any(tested)
    for text in (as_markdown(made), page(made)):
        assert "p (Holm)" in text and "bootstrap" not in text
        assert text.count("not adjusted over tables") == len(secondary_tables(made)) + len(choice_tables(made)) == 2


def test_numbers_are_written_with_their_sign():
    assert [points(value) for value in (1.25, -1.26, 0.04, -0.04)] == ["+1.2", "\u22121.3", "0.0", "0.0"]
    assert [p_text(p) for p in (None, 0.00001, 0.0421)] == ["-", "<0.001", "0.042"]


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((-0.6, 3.0), "[\u22120.6, +3.0]"),
        ((0.04, 1.26), "[+0.04, +1.26]"),
        ((-1.26, -0.0961), "[\u22121.26, \u22120.10]"),
        ((0.002, 0.61), "[+0.00, +0.61]"),  # above 0, as p is below 5 %
        ((-0.002, 0.61), "[\u22120.00, +0.61]"),
        ((0.0, 0.1), "[0.00, +0.10]"),
        (None, "-"),
    ],
    ids=str,
)
def test_an_end_near_0_has_two_decimals_and_says_on_which_side_it_is(interval, text):
    assert interval_text(interval) == text


def test_a_pipe_in_a_name_does_not_end_a_cell():
    assert "| a\\|b |" in Table("t", "c", pd.DataFrame({"x": ["a|b"]})).markdown()


# ---- what was planned, and what failed ----


def plan_of(arms, seeds, **options):
    """A plan of every arm against the first."""
    contrasts = tuple((arm, arms[0]) for arm in arms[1:])
    seen = options.pop("seen", ())
    analysis = Analysis(
        tuple(arms), tuple(seeds), contrasts, **{"metric": "accuracy", "outcomes": ("chosen", "last"), **options}
    )
    runs = [PlannedRun(arm, seed, None, f"{arm}/seed{seed}", (), "") for arm in arms for seed in seeds]
    return Plan(analysis, tuple(runs), seen=seen)


PLANNED = {"margin": 1.5, "looks": 1}


@pytest.mark.usefixtures("undrawn")
def test_tables_page_and_csv_say_planned_or_exploratory(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7], "cl": [0.51, 0.61, 0.71], "spl": [0.5, 0.6, 0.75]})
    plan = plan_of(("uniform", "cl", "spl"), range(3), **PLANNED)
    made = results(tmp_path, plan=plan)
    assert finding(made).startswith("Planned: Test accuracy") and "within \u00b11.5 points" in finding(made)
    assert difference_table(made, "uniform", "last").title == "Accuracy against uniform, last epoch (planned)"
    families = {row["family"] for row in csv.DictReader(io.StringIO(as_csv(made)))}
    assert families == {"planned", "secondary"} and "<p>Planned: Test accuracy" in page(made)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"metric": "macro_f1"}, "the plan is about accuracy, and this about macro F1"),
        ({"controls": ["cl"]}, "the plan compares with uniform, and this with cl"),
    ],
    ids=["metric", "control"],
)
def test_another_question_than_the_planned_one_is_exploratory(tmp_path, options, reason):
    comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7], "cl": [0.51, 0.61, 0.71], "spl": [0.5, 0.6, 0.75]})
    made = results(tmp_path, plan=plan_of(("uniform", "cl", "spl"), range(3), **PLANNED), **options)
    assert finding(made).startswith(f"Exploratory: {reason}. ")
    assert made.analysis.margin == 1.5


def test_a_contrast_that_the_plan_does_not_have_gets_no_p_value(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7], "cl": [0.51, 0.61, 0.72], "spl": [0.5, 0.6, 0.75]})
    made = results(tmp_path, plan=plan_of(("uniform", "cl"), range(3), **PLANNED))
    spl = difference_table(made, "uniform", "last").rows[2]
    assert made.judgement.planned and spl[0] == "spl" and spl[5:] == ["not in the family", "-", "-", "-"]


LISTS = {"test": {"hash": "a" * 16, "count": 30, "commonest_class_accuracy": 0.1}}


def failing(tmp_path):
    """cl gains 2 points with three seeds and diverges with the fourth, where 10 % of the test set are one class."""
    for arm, values in {"uniform": [0.5, 0.6, 0.7, 0.6], "cl": [0.52, 0.62, 0.72, 0.6]}.items():
        for seed, accuracy in enumerate(values):
            write_run(tmp_path / arm / f"seed{seed}", arm=arm, seed=seed, accuracy=accuracy, lists=LISTS)
    fail_run(tmp_path / "cl" / "seed3")
    return tmp_path


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_diverged_counts_at_the_commonest_class_and_is_named(tmp_path):
    """An arm that gains 2 where it trains and fails in a fifth was "better" in a third of simulations."""
    plan = plan_of(("uniform", "cl"), range(4), **PLANNED)
    made = results(failing(tmp_path), plan=plan)
    (verdict, _) = made.judgement.verdicts
    assert verdict.difference.values == pytest.approx((2, 2, 2, -50)) and verdict.answer == "undecided"
    assert made.judgement.planned and not any("numbers of seeds" in note for note in made.notes)
    named = (
        "Failed, since their loss was no finite number, and counted at the accuracy of the training set's commonest "
        "class: cl seed 3 (10.0 %)."
    )
    assert finding(made).splitlines()[-1] == named
    titles = [table.title for table in primary_tables(made)]
    assert titles == [
        "Accuracy against uniform, epoch chosen on validation (planned)",
        "Accuracy against uniform, last epoch (planned)",
        "Without the failed runs: accuracy against uniform, epoch chosen on validation",
        "Without the failed runs: accuracy against uniform, last epoch",
    ]
    assert difference_table(made, "uniform", "last").rows[1][:4] == ["cl", "4", "49.0 \u00b1 27.3", "\u221211.0"]
    assert finished_table(made, "uniform", "last").rows[0] == ["cl", "3", "62.0 \u00b1 10.0", "+2.0", "-", "3"]
    rows = [row for row in csv.DictReader(io.StringIO(as_csv(made))) if row["arm"] == "cl" and row["head"] == "all"]
    found = {row["family"]: row for row in rows if (row["epoch"], row["metric"]) == ("last", "accuracy")}
    assert found.keys() == {"planned", "finished"}
    assert (found["planned"]["n"], found["finished"]["n"], found["finished"]["p"]) == ("4", "3", "")
    for text in (as_markdown(made), html.unescape(page(made))):
        assert named in text and text.count("Without the failed runs: ") == 2


@pytest.mark.usefixtures("undrawn")
def test_an_arm_of_which_every_run_diverged_is_worse_and_not_absent(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7]})
    for seed in range(3):
        fail_run(write_run(tmp_path / "hot" / f"seed{seed}", arm="hot", seed=seed, lists=LISTS))
    made = results(tmp_path, plan=plan_of(("uniform", "hot"), range(3), **PLANNED))
    assert made.judgement.planned and "Worse than uniform: hot (\u221250.0 points" in finding(made)
    assert "(10.0 %)" in finding(made) and "hot" in page(made) and "| hot | 0 | - | - | - | 0 |" in as_markdown(made)


def test_in_another_metric_failed_runs_are_left_out_and_it_is_said(tmp_path):
    made = results(failing(tmp_path), metric="macro_f1", plan=plan_of(("uniform", "cl"), range(4), **PLANNED))
    assert not made.judgement.planned and made.judgement.verdicts[0].difference.seeds == (0, 1, 2)
    assert finding(made).endswith(
        "left out, which favours arms that fail: cl seed 3. It is not known what macro F1 they count for."
    )


@pytest.mark.usefixtures("undrawn")
def test_a_run_that_the_machine_lost_makes_the_comparison_incomplete(tmp_path):
    fail_run(failing(tmp_path) / "uniform" / "seed2", how="out of memory")
    plan = plan_of(("uniform", "cl"), range(4), **PLANNED)
    lost = results(tmp_path, plan=plan)
    assert finding(lost).startswith(
        f"INCOMPLETE: 1 run was lost ({tmp_path / 'uniform' / 'seed2'}: failed and unfinish"
    )
    assert not lost.judgement.planned and lost.judgement.verdicts[0].difference.seeds == (0, 1, 3)
    told = results(tmp_path, plan=plan, missing=["uniform seed 2: out of memory"])
    assert finding(told).startswith("INCOMPLETE: 1 run was lost (uniform seed 2: out of memory). ")
    for text in (as_markdown(told), page(told)):
        assert text.index("INCOMPLETE") < text.index("Exploratory") < text.index("Undecided")


def test_a_planned_run_without_a_folder_is_missing(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7], "cl": [0.51, 0.61]})
    made = results(tmp_path, plan=plan_of(("uniform", "cl"), range(3), **PLANNED))
    assert finding(made).startswith("INCOMPLETE: 1 run was lost (cl seed 2: not there). ")


def test_how_much_choosing_the_epoch_moved_each_arm_is_a_table(tmp_path):
    """Choosing cost uniform order 1.2 points and CL 0.2, and so made +0.9 points of CL of what was -0.1."""
    for seed in range(3):
        write_run(tmp_path / f"u{seed}", seed=seed, accuracy=0.5, last=0.51 + seed / 100)
        write_run(tmp_path / f"c{seed}", arm="cl", seed=seed, accuracy=0.5, last=0.5)
    (table,) = choice_tables(results(tmp_path))
    assert table.rows == [
        ["uniform", "3", "\u22122.0", "[\u22124.5, +0.5]"],  # -1, -2, -3
        ["cl", "3", "0.0", "-"],
    ]
    assert table.title in as_markdown(results(tmp_path)) and table.title in page(results(tmp_path))


def test_other_heads_and_metrics_have_intervals_and_no_tests(tmp_path):
    made = results(comparison(tmp_path, {"uniform": [0.5, 0.6, 0.7], "cl": [0.51, 0.62, 0.73]}))
    (table,) = secondary_tables(made)
    assert table.columns == [
        "arm", "accuracy, fused", "accuracy, audio", "accuracy, visual", "macro F1", "mean average precision",
    ]  # fmt: skip
    same = "+2.0 [\u22120.5, +4.5]"
    assert table.rows == [["cl", same, "0.0", "0.0", same, same]]
    assert "Exploratory, not adjusted over tables" in table.caption


def test_arms_with_as_many_seeds_that_are_not_the_same_are_a_note(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"u{seed}", seed=seed)
        write_run(tmp_path / f"c{seed}", arm="cl", seed=seed + 1)
    (note,) = [note for note in results(tmp_path).notes if "seeds" in note]
    assert note == (
        "The arms have different seeds (uniform 0 to 2; cl 1 to 3); differences are over the seeds that both have: "
        "2 with uniform."
    )


# ---- bad input ----


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: (run / "done").unlink(), "unfinished, 2 epochs so far"),
        (lambda run: (run / "summary.json").write_text("{"), "summary.json is damaged ('Expecting"),
        (lambda run: (run / "summary.json").write_text("{}"), "summary.json: test is missing"),
        (lambda run: (run / "scores.npz").write_bytes(b"PK"), "scores.npz is damaged or missing"),
        (lambda run: (run / "metrics.jsonl").write_text("{"), "metrics.jsonl, line 1, is damaged ('Expecting"),
        (lambda run: (run / "metrics.jsonl").write_text(""), "metrics.jsonl has no epoch"),
        (lambda run: (run / "config.json").unlink(), "config.json is damaged or missing"),
    ],
    ids=["unfinished", "torn summary", "empty summary", "torn scores", "torn metrics", "no metrics", "no config"],
)
def test_a_damaged_folder_is_told_from_a_whole_one(tmp_path, damage, reason):
    comparison(tmp_path, {"cl": [0.6, 0.8]})
    damage(tmp_path / "cl" / "seed1")
    runs, _, ((bad, said),) = read_runs(find_folders([tmp_path]))
    assert [run.seed for run in runs] == [0] and bad == tmp_path / "cl" / "seed1" and said.startswith(reason)


@pytest.mark.parametrize("value", [math.nan, -math.inf, None], ids=str)
@pytest.mark.usefixtures("undrawn")
def test_a_number_that_is_missing_elsewhere_takes_no_seed_from_the_primary_comparison(tmp_path, value):
    """NaN of one head's mAP dropped the whole seed: -3.2 points became +1.0 with p = 0.002."""
    comparison(tmp_path / "runs", {"uniform": [0.5, 0.6, 0.7], "cl": [0.6, 0.8, 0.75]})
    whole = results(tmp_path / "runs")
    cells = difference_table(whole, "uniform", "last").rows
    said, heads = finding(whole), head_table(whole).rows
    bad = tmp_path / "runs" / "cl" / "seed1"
    test = json.loads((bad / "summary.json").read_text())["test"]
    for epoch in ("chosen", "last"):
        test[epoch]["map"]["audio"] = test[epoch]["accuracy"]["visual"] = value
    rewrite(bad / "summary.json", test=test)
    made = results(tmp_path / "runs")
    assert not made.left_out and finding(made) == said and difference_table(made, "uniform", "last").rows == cells
    now = {row[0]: row[1:] for row in head_table(made).rows}
    before = {row[0]: row[1:] for row in heads}
    assert now.pop("cl") == [*before["cl"][:3], "30.0 \u00b1 0.0 (n = 2)", "-"] and now["uniform"] == before["uniform"]
    rows = [row for row in csv.DictReader(io.StringIO(as_csv(made))) if row["arm"] == "cl" and row["epoch"] == "last"]
    assert {(row["metric"], row["head"]): row["n"] for row in rows if row["n"] != "3"} == {
        ("map", "audio"): "2",
        ("accuracy", "visual"): "2",
    }
    assert page(made)


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (-math.inf, "-inf"), (None, "None")])
@pytest.mark.usefixtures("undrawn")
def test_a_run_with_a_result_that_is_no_number_is_left_out(tmp_path, capsys, value, text):
    comparison(tmp_path / "runs", {"uniform": [0.5, 0.6], "cl": [0.6, 0.8]})
    bad = tmp_path / "runs" / "cl" / "seed1"
    test = json.loads((bad / "summary.json").read_text())["test"]
    test["chosen"]["accuracy"]["all"] = value
    rewrite(bad / "summary.json", test=test)
    reason = f"{bad}: its test accuracy is {text} (epoch chosen on validation)"
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 1
    assert f"left out: {reason}" in capsys.readouterr().err
    for name in ("table.md", "report.html"):
        assert f"Left out: {reason}" in html.unescape((tmp_path / "page" / name).read_text())
    assert main(["report", str(bad), "--out", str(tmp_path / "page")]) == 2
    assert f"error: there is no run to report: {reason}" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("done", [False, True], ids=["unfinished", "marked as done"])
@pytest.mark.parametrize("how", ["not finite", "out of memory"])
def test_a_run_that_failed_is_left_out_with_how_it_failed(tmp_path, capsys, how, done):
    comparison(tmp_path / "runs", {"uniform": [0.5, 0.6], "cl": [0.6, 0.8]})
    bad = tmp_path / "runs" / "cl" / "seed1"
    failed = {"how": how, "epoch": 1, "step": 3, "reason": "the <loss> is nan"}
    content = {"failed": failed, **(json.loads((bad / "summary.json").read_text()) if done else {})}
    (bad / "summary.json").write_text(json.dumps(sealed(content)))
    if not done:
        (bad / "done").unlink()
    reason = f"failed and unfinished, 2 epochs so far; {how} after step 3 of epoch 2 (the <loss> is nan)"
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 1
    assert f"left out: {bad}: {reason}" in capsys.readouterr().err
    assert f"Left out: {bad}: {reason}" in html.unescape((tmp_path / "page" / "report.html").read_text())
    assert "| cl | 1 | 60.0 |" in (tmp_path / "page" / "table.md").read_text()
    with pytest.warns(UserWarning, match=f"the first is {bad}: failed and unfinished"):
        assert set(bss.compare.load(tmp_path / "runs")["run"]) == {"cl/seed0", "uniform/seed0", "uniform/seed1"}


@pytest.mark.parametrize(
    "failed", [{"how": "stopped", "epoch": 1, "step": 3, "reason": "x"}, ["odd"], {"how": 3}], ids=str
)
def test_a_run_that_was_stopped_is_unfinished_and_not_failed(tmp_path, failed):
    comparison(tmp_path, {"cl": [0.6, 0.8]})
    (tmp_path / "cl" / "seed1" / "done").unlink()
    (tmp_path / "cl" / "seed1" / "summary.json").write_text(json.dumps({"failed": failed}))
    _, _, ((_, reason),) = read_runs(find_folders([tmp_path]))
    assert reason.startswith("unfinished, 2 epochs so far")


@pytest.mark.usefixtures("undrawn")
def test_a_folder_that_is_left_out_is_named_on_the_screen_and_in_the_page(tmp_path, capsys):
    comparison(tmp_path / "runs", {"uniform": [0.5, 0.6], "cl": [0.6, 0.8]})
    bad = tmp_path / "runs" / "cl" / "seed1"
    (bad / "done").unlink()
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 1
    assert f"left out: {bad}: unfinished, 2 epochs so far" in capsys.readouterr().err
    for name in ("report.html", "table.md"):
        text = (tmp_path / "page" / name).read_text()
        assert f"Left out: {bad}: unfinished, 2 epochs so far" in text
        assert "The arms have different numbers of seeds (uniform 2, cl 1)" in text
    lines = (tmp_path / "page" / "table.md").read_text().splitlines()
    before_headings = {lines[i - 1] for i, line in enumerate(lines) if line.startswith("## ")}
    assert before_headings == {""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mark": {"task": "other"}}, "different tasks in one report: the task"),
        ({"recipe": {"lr": 0.2}}, "different recipes in one report: lr is"),
        ({"recipe": {"width": 3}}, "different tasks in one report: the recipe field width"),
        ({"names": ["a", "b", "c", "d"]}, "different splits in one report: the training list"),
        ({"mark": {"initial_weights": "x"}}, "different initial weights in one report"),
    ],
    ids=["task", "number", "field", "split", "weights"],
)
def test_runs_that_do_not_belong_together_are_refused_by_name(tmp_path, capsys, change, message):
    one = write_run(tmp_path / "one")
    other = write_run(tmp_path / "other", arm="cl", **change)
    assert main(["report", str(one), str(other), "--out", str(tmp_path / "page")]) == 2
    error = capsys.readouterr().err
    assert message in error and str(one) in error and str(other) in error
    assert not (tmp_path / "page").exists()


def test_one_arm_is_one_recipe_and_one_run_a_seed(tmp_path):
    write_run(tmp_path / "a", recipe={"epochs": 2})
    write_run(tmp_path / "b", seed=1, recipe={"epochs": 3})
    with pytest.raises(RunFolderError, match="epochs is 2"):
        results(tmp_path)
    write_run(tmp_path / "b", seed=0)
    with pytest.raises(RunFolderError, match="are both seed 0 of uniform"):
        results(tmp_path)


def test_one_arm_has_one_sampler(tmp_path):
    for seed, sampler in enumerate(("CurriculumSampler", "SelfPacedSampler")):
        write_run(tmp_path / f"seed{seed}", arm="cl", seed=seed)
        rewrite(tmp_path / f"seed{seed}" / "config.json", sampler=sampler)
    with pytest.raises(RunFolderError, match="different samplers in one report: the sampler is 'CurriculumSampler'"):
        results(tmp_path)


@pytest.mark.parametrize("newer", [0, 1])
def test_a_field_of_the_schedule_that_one_run_does_not_know_yet_sets_no_run_apart(tmp_path, newer):
    for seed in (0, 1):
        schedule = {"start": 0.1, **({"temperature": 1.0} if seed == newer else {})}
        write_run(tmp_path / f"seed{seed}", arm="cl", seed=seed, recipe={"schedule": schedule})
    assert len(results(tmp_path).runs) == 2


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        ({"mark": {"task": "a/one.py"}}, {"mark": {"task": "b/two.py"}}, "the task is 'a/one.py' in "),
        ({}, {"recipe": {"width": 3}}, "the recipe field width is 'not there' in "),
        ({}, {"mark": {"initial_weights": "0123456789abcdef"}}, "their hash is 'weights0' in "),
        ({"mark": {"initial_weights": "0123456789abcdef"}}, {}, "their hash is '0123456789ab' in "),
        ({"recipe": {"lr": 0.2}}, {}, "lr is 0.2 in "),
    ],
    ids=["task", "field", "weights", "long hash", "number"],
)
def test_a_refusal_says_both_values(tmp_path, one, other, message):
    folders = [write_run(tmp_path / "a", **one), write_run(tmp_path / "b", arm="cl", **other)]
    with pytest.raises(RunFolderError) as refused:
        results(tmp_path)
    first, second = str(refused.value).splitlines()
    assert f"{message}{folders[0]}" in first
    assert second.startswith("and ") and second.endswith(f" in {folders[1]}; report them apart")


def test_arms_may_differ_in_their_method_and_its_constants(tmp_path):
    own = {"uniform": (None, {}), "ogm-ge": ("ogm-ge", {"alpha": 0.3}), "agm": ("agm", {})}
    for arm, (method, constants) in own.items():
        write_run(tmp_path / arm, arm=arm, recipe={"method": method, "method_options": constants})
    assert set(results(tmp_path).arms) == set(own)
    write_run(tmp_path / "seed1", arm="agm", seed=1, recipe={"method": "mslr"})
    with pytest.raises(RunFolderError, match="different recipes in one report: method is 'agm' in"):
        results(tmp_path)


def test_one_arm_has_one_method_with_one_set_of_numbers(tmp_path):
    for seed, settings in enumerate(({"warmup_epochs": 3, "seed": 0}, {"warmup_epochs": 3, "seed": 1})):
        write_run(tmp_path / f"seed{seed}", arm="smv", seed=seed)
        rewrite(tmp_path / f"seed{seed}" / "config.json", method_settings=settings)
    assert list(results(tmp_path).arms) == ["smv"]  # a method's seed is its run's
    rewrite(tmp_path / "seed1" / "config.json", method_settings={"warmup_epochs": 5, "seed": 1})
    with pytest.raises(RunFolderError, match=r"different methods in one report: method_settings is"):
        results(tmp_path)


def test_runs_of_one_seed_have_as_many_validation_samples(tmp_path):
    write_run(tmp_path / "a")
    for folder, seed in (("other seed", 1), ("same seed", 0)):
        write_run(tmp_path / folder, arm="cl", seed=seed)
        rewrite(tmp_path / folder / "config.json", samples={"train": 40, "val": 12, "test": 30})
        if seed == 1:
            assert len(results(tmp_path).runs) == 2
    with pytest.raises(RunFolderError, match="the number of validation samples is 10"):
        results(tmp_path)


def test_a_run_that_is_older_than_a_field_of_every_recipe_stands_for_its_default(tmp_path):
    write_run(tmp_path / "older")
    write_run(tmp_path / "newer", arm="cl", recipe={"corrupt_pairs": 0.0, "modality": None})
    assert len(results(tmp_path).runs) == 2
    write_run(tmp_path / "other", arm="cl", seed=1, recipe={"corrupt_pairs": 0.2})
    with pytest.raises(RunFolderError, match=r"different recipes in one report: corrupt_pairs is 0\.[02] in "):
        results(tmp_path)


def test_runs_of_one_seed_have_the_same_corrupted_samples(tmp_path):
    for folder, arm, seed, digit in (("a", "uniform", 0, "a"), ("b", "cl", 1, "b"), ("c", "cl", 0, "c")):
        write_run(tmp_path / folder, arm=arm, seed=seed, recipe={"corrupt_labels": 0.2})
        told = {"train": {"pairs": 0, "labels": 8, "hash": digit * 64}}
        rewrite(tmp_path / folder / "config.json", corrupted=told)
        if folder == "b":
            assert len(results(tmp_path).runs) == 2
    with pytest.raises(RunFolderError, match=r"the corrupted samples \(hash\) is 'aaa"):
        results(tmp_path)


def test_arms_may_differ_in_how_long_they_train_and_in_their_schedule(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", arm="cl", recipe={"epochs": 9})
    assert list(results(tmp_path).arms) == ["uniform", "cl"]


def test_an_arm_of_the_runner_may_have_a_loss_of_its_own_and_is_not_the_control(tmp_path):
    write_run(tmp_path / "joint", arm="joint", recipe={"unimodal_weight": 0.0})
    config = tmp_path / "joint" / "config.json"
    config.write_text(config.read_text().replace("CurriculumSampler", "UniformSampler"))
    write_run(tmp_path / "uniform", recipe={"unimodal_weight": 1.0})
    assert results(tmp_path).controls[0] == "uniform"
    for name in ("joint", "uniform"):
        (tmp_path / name / "arm.json").unlink()
    with pytest.raises(RunFolderError, match="unimodal_weight is"):
        results(tmp_path)


def test_heads_that_an_arm_does_not_train_have_no_numbers(tmp_path):
    for name, weight in (("joint", 0.0), ("uniform", 1.0)):
        write_run(tmp_path / name, arm=name, recipe={"unimodal_weight": weight})
        rewrite(tmp_path / name / "summary.json", imbalance={"index": 0.25})
    joint, uniform = head_table(results(tmp_path)).rows[::-1]
    assert joint == ["joint", "50.0", "50.0", "-", "-", "-"]
    assert uniform == ["uniform", "50.0", "50.0", "40.0", "30.0", "0.250"]


def test_a_control_that_trains_the_fused_head_alone_is_said_to(tmp_path):
    write_run(tmp_path / "joint", arm="joint", recipe={"unimodal_weight": 0.0})
    write_run(tmp_path / "cl", arm="cl", recipe={"unimodal_weight": 0.0})
    rewrite(tmp_path / "joint" / "config.json", sampler="UniformSampler")
    (note,) = [note for note in results(tmp_path).notes if "control" in note]
    assert note.startswith("The control, joint, trains the fused head alone")
    assert not any("fused head alone" in note for note in results(tmp_path, controls=["joint"]).notes)


def test_a_control_and_a_metric_must_exist(tmp_path, capsys):
    write_run(tmp_path / "a")
    with pytest.raises(RecipeError, match="the control 'cl' is none of the arms with a finished run: uniform"):
        results(tmp_path, controls=["cl"])
    assert main(["report", str(tmp_path / "a"), "--out", str(tmp_path / "page"), "--metric", "f2"]) == 2
    assert "unknown metric 'f2'; the metrics are accuracy, macro_f1, map" in capsys.readouterr().err


def test_nothing_to_report_says_what_was_found(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    for path, message in (("none", "is not a folder"), ("empty", "holds no run")):
        assert main(["report", str(tmp_path / path), "--out", str(tmp_path / "page")]) == 2
        assert message in capsys.readouterr().err
    (write_run(tmp_path / "only") / "done").unlink()
    assert main(["report", str(tmp_path / "only"), "--out", str(tmp_path / "page")]) == 2
    assert "no finished run to report" in capsys.readouterr().err


# ---- paths that lead to runs ----


def linked(tmp_path):
    """A comparison of which uniform is here, and links lead to the others: to cl as a whole, to spl seed by seed."""
    for seed in (0, 1):
        write_run(tmp_path / "out" / "uniform" / f"seed{seed}", seed=seed)
        for arm in ("cl", "spl"):
            write_run(tmp_path / "elsewhere" / arm / f"seed{seed}", arm=arm, seed=seed)
        (tmp_path / "out" / "spl").mkdir(exist_ok=True)
        (tmp_path / "out" / "spl" / f"seed{seed}").symlink_to(tmp_path / "elsewhere" / "spl" / f"seed{seed}")
    (tmp_path / "out" / "cl").symlink_to(tmp_path / "elsewhere" / "cl")
    return tmp_path / "out"


def test_links_to_arms_and_to_runs_are_followed(tmp_path):
    made = results(linked(tmp_path))
    assert {arm: len(runs) for arm, runs in made.arms.items()} == {"uniform": 2, "cl": 2, "spl": 2}
    table = bss.compare.load(tmp_path / "out")
    assert list(table["run"].cat.categories) == [
        f"{arm}/seed{seed}" for arm in ("cl", "spl", "uniform") for seed in (0, 1)
    ]


def test_a_folder_to_which_several_paths_lead_counts_once(tmp_path, monkeypatch):
    out = linked(tmp_path)
    (out / "back").symlink_to(out)
    (out / "again").symlink_to(out / "uniform")
    monkeypatch.chdir(out)
    given = [Path(), out, out / "cl", tmp_path / "elsewhere", Path("uniform/seed0"), Path("uniform/../uniform/seed0")]
    assert len(find_folders(given)) == 6 and len(find_folders(reversed(given))) == 6


@pytest.mark.parametrize("target", ["gone", "loop"])
@pytest.mark.usefixtures("undrawn")
def test_a_link_to_nothing_is_left_out_by_name(tmp_path, capsys, target):
    out = linked(tmp_path)
    (out / "loop").symlink_to(target)
    assert main(["report", str(out), "--out", str(tmp_path / "page")]) == 1
    assert f"left out: {out / 'loop'}: a link to nothing ({target})\n" in capsys.readouterr().err
    assert main(["report", str(out / "loop"), "--out", str(tmp_path / "page")]) == 2


def test_links_inside_a_run_folder_lead_nowhere(tmp_path):
    write_run(tmp_path / "runs" / "one")
    (tmp_path / "runs" / "one" / "more").symlink_to(write_run(tmp_path / "secret"))
    assert find_folders([tmp_path / "runs"]) == [tmp_path / "runs" / "one"]


def test_a_comparison_inside_another_is_refused_by_the_runs_that_are_there_twice(tmp_path):
    for folder in ("out/uniform/seed0", "out/again/uniform/seed0"):
        write_run(tmp_path / folder)
    with pytest.raises(RunFolderError, match=r"again/uniform/seed0 and .*uniform/seed0 are both seed 0 of uniform"):
        results(tmp_path / "out")


def test_a_folder_that_one_may_not_look_into_is_left_out_by_name(tmp_path, monkeypatch):
    comparison(tmp_path, {"uniform": [0.5], "cl": [0.6]})
    iterdir = Path.iterdir

    def refuse(path):
        if path.name == "cl":
            raise PermissionError(13, "Permission denied")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refuse)  # a test may run as root, who may look into everything
    runs, _, left_out = read_runs(find_folders([tmp_path]))
    assert len(runs) == 1 and left_out == [(tmp_path / "cl", "a folder that cannot be looked into")]


def test_one_seed_has_no_interval_and_the_page_says_why(tmp_path):
    made = results(comparison(tmp_path, {"uniform": [0.5], "cl": [0.6]}))
    row = difference_table(made, "uniform", "chosen").rows[1]
    assert "-" in row and any("One seed only" in note for note in made.notes)
    assert "a paired test needs two seeds" in finding(made)


def test_without_a_validation_split_the_last_epoch_is_the_primary_one(tmp_path):
    run = write_run(tmp_path / "a")
    summary = json.loads((run / "summary.json").read_text())
    (run / "summary.json").write_text(json.dumps({**summary, "oracle": {"epoch": 0}}))
    made = results(tmp_path)
    assert made.primary == "last" and made.epochs == ["last"] and "no validation split" in made.notes[-1]


def test_runs_without_a_mark_are_named_by_what_sets_them_apart(tmp_path):
    for name, start in (("a", 0.1), ("b", 0.5)):
        for seed in (0, 1):
            run = write_run(tmp_path / name / f"{seed}", arm="cl", seed=seed, recipe={"schedule": {"start": start}})
            (run / "arm.json").unlink()
    assert list(results(tmp_path).arms) == ["CurriculumSampler start=0.1", "CurriculumSampler start=0.5"]


# ---- the page ----


class Reader(HTMLParser):
    """Tags that are open, and addresses that a browser would load."""

    def __init__(self):
        super().__init__()
        self.open, self.loaded = [], []

    def handle_starttag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "br", "img", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.loaded += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_escaped_and_needs_no_network(tmp_path):
    comparison(tmp_path, {"uniform": [0.5, 0.6]})
    for seed in (0, 1):
        write_run(
            tmp_path / "bad" / f"{seed}",
            arm="<script>",
            seed=seed,
            accuracy=0.6 + seed / 5,
            names=["<b>", "b", "c", "d"],
        )
        write_run(tmp_path / "uniform" / f"seed{seed}", seed=seed, names=["<b>", "b", "c", "d"])
    text = page(results(tmp_path))
    reader = Reader()
    reader.feed(text)
    assert reader.open == [] and text.count("<script") == 1 and "&lt;script&gt;" in text and "&lt;b&gt;" in text
    assert reader.loaded and all(address.startswith(("#", "data:")) for address in reader.loaded)
    assert len(re.findall("<svg", text)) >= 6 and "No pictures and no class names" in text


def test_equal_runs_give_an_equal_page(tmp_path):
    made = results(comparison(tmp_path, {"uniform": [0.5, 0.6], "cl": [0.6, 0.8]}))
    assert page(made) == page(made)


def test_a_panel_shows_the_control_and_six_others_at_most():
    names = ["control", *"abcdefgh"]
    assert figures.groups(names, "control") == [["control", *"abcdef"], ["control", *"gh"]]
    assert figures.groups(["control"], "control") == [["control"]]


def test_the_histogram_is_in_percent_of_the_samples(tmp_path, monkeypatch):
    from matplotlib.axes import Axes

    drawn, draw = [], Axes.stairs

    def noted(axes, values, *others, **options):
        drawn.append(values)
        return draw(axes, values, *others, **options)

    monkeypatch.setattr(Axes, "stairs", noted)
    made = results(comparison(tmp_path, {"cl": [0.5, 0.6]}))
    shares, count = figures.spreads(made.arms["cl"])
    figures.histogram("cl", shares)
    assert (count, list(shares)) == (8, [0])
    assert [share for share in drawn[0] if share] == [25] * 4  # of the two seeds' samples, a quarter at each difficulty


@pytest.mark.parametrize(
    ("generated", "beginning"),
    [
        ((True, True), "GENERATED DATA. All runs were trained on a data set that --sample made"),
        ((True, None), "GENERATED DATA. 1 of 2 runs were trained on a data set that --sample made"),
        ((False, None), None),
    ],
    ids=["all", "some", "none"],
)
@pytest.mark.usefixtures("undrawn")
def test_generated_data_are_said_before_anything_else(tmp_path, generated, beginning):
    comparison(tmp_path / "runs", {"uniform": [0.5, 0.6]})
    for seed, value in enumerate(generated):
        if value is not None:
            rewrite(tmp_path / "runs" / "uniform" / f"seed{seed}" / "config.json", generated=value)
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 0
    markdown, text = ((tmp_path / "page" / name).read_text() for name in ("table.md", "report.html"))
    if beginning is None:
        assert "GENERATED" not in markdown + text
    else:
        assert markdown.startswith(beginning)
        body = text.partition("<body>\n")[2]
        assert body.startswith(f'<p class="notes"><strong>{beginning}') and body.count("GENERATED") == 1


# ---- samples ----


def test_the_extremes_are_means_over_the_seeds_that_train_on_a_sample(tmp_path):
    comparison(tmp_path, {"cl": [0.5]})
    write_run(tmp_path / "cl" / "seed1", arm="cl", seed=1, names=["clip3", "clip0", "new"])  # 0.1, 0.9, 0.5
    runs, *_ = read_runs(find_folders([tmp_path]))
    balanced, imbalanced = samples.extremes(runs, count=1)
    assert (balanced[0].name, balanced[0].seeds) == ("clip0", 2)  # (0.1 + 0.9) / 2, before clip2's equal 0.5
    assert balanced[0].difficulty == pytest.approx(0.5)
    assert (imbalanced[0].name, imbalanced[0].position) == ("clip1", 1)  # 0.9; clip3 has (1.5 + 0.1) / 2 = 0.8


class Hidden(Content):
    """A kind of content that leaves it at the base's preview."""

    @classmethod
    def batch(cls, contents):
        raise NotImplementedError


@pytest.mark.parametrize("shape", [(28, 28), (1, 28, 28), (3, 8, 9), (3, 5, 8, 9), (2, 5, 8, 9)])
def test_pictures_spectrograms_clips_and_flow_are_shown(shape):
    assert samples.picture(preview_of(torch.randn(*shape)).pixels).startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    "value",
    [torch.zeros(7), {"input_ids": torch.zeros(3)}, "text", torch.zeros(4, 5, 6), Hidden()],
    ids=["vector", "dict", "text", "cube", "content"],
)
def test_what_is_neither_picture_nor_sound_is_not_shown(value):
    assert preview_of(value) is None


def test_a_text_is_written_and_not_drawn():
    # Token ids are a (3, L) tensor, which would pass for a picture.
    text = Tokens(torch.ones(3, 9, dtype=torch.int64), "oh great <b>")
    assert preview_of(text) == Preview(text="oh great <b>")
    assert samples.words("oh great <b>") == "oh great <b>"
    assert samples.words("a" * 280) == "a" * 280
    assert samples.words("a" * 281) == "a" * 280 + "..."
    assert preview_of(torch.zeros(3, 9)).text is None


TASK_WITH_TEXTS = """
import torch
from bss.data import Splits
from bss.data.transforms.text import Tokens
from tests import tiny

TITLE, CL = "Texts", tiny.CL

def build_data(recipe, root):
    texts = [{"text": Tokens(torch.ones(3, 2, dtype=torch.int64), f"<b>oh {i}"), "label": 0} for i in range(4)]
    names = [f"clip{i}" for i in range(4)]
    return Splits(texts, texts, texts, texts, torch.zeros(4, dtype=torch.int64), names, ("none",))

build_model = tiny.model
"""


@pytest.mark.usefixtures("undrawn")
def test_the_page_writes_the_texts_of_samples_as_text(tmp_path):
    task_of(tmp_path, TASK_WITH_TEXTS)
    text = page_of(tmp_path)
    assert text.count("<q>&lt;b&gt;oh ") == 4 and "<b>oh" not in text
    assert "Not shown, being" not in text and "orrupted" not in text


@pytest.mark.usefixtures("undrawn")
def test_the_page_shows_corrupted_samples_as_they_were_trained_and_says_so(tmp_path):
    other = 'Tokens(torch.ones(3, 2, dtype=torch.int64), f"other {i}")'
    task = TASK_WITH_TEXTS.replace('"label"', f'"more": {other}, "label"').replace('("none",)', '("no", "yes")')
    task_of(tmp_path, task, recipe={"corrupt_pairs": 0.5, "corrupt_labels": 0.5})
    text = page_of(tmp_path)
    assert "Corrupted ones are shown as the first seed has them." in text
    assert text.count("wrong label)") == 2
    assert [text.count(f"(corrupted: {name} of clip") for name in ("text", "more")] == [1, 1]
    contents = re.findall(r"<q>.*?oh (\d)</q>.*?<q>other (\d)</q>", text)
    assert len(contents) == 4 and sum(one != two for one, two in contents) == 2


def task_of(tmp_path, text, **options):
    """A run whose task is a file with this text."""
    path = tmp_path / "task.py"
    path.write_text(text)
    with contextlib.suppress(SyntaxError):
        options = {"task_file": task_file(str(path)), **options}
    hashed = options.pop("task_file", None)
    return write_run(tmp_path / "runs" / "one", mark={"task": str(path), "task_file": hashed}, **options)


def page_of(tmp_path):
    """The page of a run of :func:`task_of`, told where its data and its task are."""
    return page(results(tmp_path / "runs"), Source(tmp_path, str(tmp_path / "task.py")))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise RuntimeError('moved\\naway')", "the data cannot be read any more (RuntimeError: moved)."),
        (TASK_WITH_TEXTS.replace("texts = [", "texts = {}['gone'], ["), "any more (KeyError: &#39;gone&#39;)."),
        (TASK_WITH_TEXTS.replace("return Splits", "return print"), "any more (AttributeError: "),
        ("CL = None", "task.py does not define build_data, build_model, as bss/tasks/cremad.py does)."),
    ],
    ids=["import", "data", "no splits", "no task"],
)
@pytest.mark.usefixtures("undrawn")
def test_a_task_that_breaks_is_a_reason_on_the_page(tmp_path, text, reason):
    task_of(tmp_path, text)
    flags = ["--data-root", str(tmp_path), "--task", str(tmp_path / "task.py")]
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page"), *flags]) == 0
    text = (tmp_path / "page" / "report.html").read_text()
    assert "No pictures and no class names: " in text and reason in text


# ---- a report of a folder that somebody sent ---------------------------------------------------------------------


TELLTALE = "\nimport pathlib\npathlib.Path(__file__).with_name('ran').touch()\n"


def test_a_report_runs_no_code_that_a_run_folder_names_and_reads_nothing_outside_of_it(tmp_path):
    task_of(tmp_path, TASK_WITH_TEXTS + TELLTALE)
    words = ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]
    code = (
        "import sys; sys.addaudithook(lambda event, args: print('OPENED', args[0]) if event == 'open' else None); "
        f"from bss.cli.commands import main; main({words!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    opened = {line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("OPENED")}
    ours = {path for path in opened if path.startswith(str(tmp_path))}
    assert ours and all(path.startswith((str(tmp_path / "runs"), str(tmp_path / "page"))) for path in ours)
    assert not (tmp_path / "ran").exists()
    said = "a report reads the run folders alone, unless it is told where the data are: --data-root DIR --task FILE.py."
    assert said in (tmp_path / "page" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_task_file_with_other_code_than_the_runs_were_trained_with_is_refused_and_not_run(tmp_path, capsys):
    task_of(tmp_path, TASK_WITH_TEXTS)
    (tmp_path / "other.py").write_text(TASK_WITH_TEXTS + TELLTALE)
    words = ["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page"), "--data-root", str(tmp_path)]
    assert main([*words, "--task", str(tmp_path / "other.py")]) == 2
    assert "other.py has other code than the task that" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists() and not (tmp_path / "page" / "report.html").exists()
    assert main([*words, "--task", str(tmp_path / "gone.py")]) == 2
    assert "gone.py is not a file" in capsys.readouterr().err
    assert main([*words[:4], "--task", str(tmp_path / "task.py")]) == 2
    assert "--task is for showing samples: give --data-root" in capsys.readouterr().err
    assert main([*words, "--task", str(tmp_path / "task.py")]) == 0  # comments and layout aside it is the same file
    assert "<q>" in (tmp_path / "page" / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_a_stem_in_a_run_folder_is_a_task_of_the_library_or_nothing(tmp_path):
    """``os.path`` is importable under ``bss.tasks`` no more than ``../evil`` is a file to run."""
    write_run(tmp_path / "runs" / "one", mark={"task": "../evil"})
    text = page(results(tmp_path / "runs"), Source(tmp_path))
    assert "the task of these runs is a file (&#39;../evil&#39;): name it with --task FILE.py" in text


def test_texts_of_a_recipe_in_a_run_folder_are_not_taken_for_files(tmp_path):
    base = sarcasm.CL
    saved = {"text_model": "elsewhere", "image_weights": "../secret", "image_size": 96, "max_tokens": 9}
    made = _recipe(base, saved)
    assert (made.text_model, made.image_weights) == (base.text_model, base.image_weights)
    assert (made.image_size, made.max_tokens) == (96, 9)


@pytest.mark.usefixtures("undrawn")
def test_class_names_come_from_the_run_folder_where_it_has_them(tmp_path):
    folder = task_of(tmp_path, TASK_WITH_TEXTS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "classes": ["</script><b>"]}))
    text = page(results(tmp_path / "runs"))
    assert text.count("<strong>&lt;/script&gt;&lt;b&gt;</strong>") == 4 and "No pictures: a report reads" in text


@pytest.mark.usefixtures("undrawn")
def test_a_mark_that_names_no_task_is_a_reason_on_the_page(tmp_path):
    (task_of(tmp_path, "") / "arm.json").write_text('{"arm": "uniform"}')
    reason = "the task of these runs is not known, they were not made by compare"
    assert f"No pictures and no class names: {reason}." in page(results(tmp_path / "runs"))


@pytest.mark.usefixtures("undrawn")
def test_a_sample_that_cannot_be_read_is_a_reason_in_its_place(tmp_path):
    broken = "\nclass Broken(list):\n def __getitem__(self, index):\n  raise ZeroDivisionError(f'<b>{index}')\n"
    task_of(tmp_path, TASK_WITH_TEXTS.replace("Splits(texts, texts,", "Splits(texts, Broken(texts),") + broken)
    text = page_of(tmp_path)
    assert text.count("<strong>none</strong>") == text.count("<em>Cannot be shown: ") == 4
    assert "clip3<br><em>Cannot be shown: ZeroDivisionError: &lt;b&gt;3</em><br>difficulty 1.50" in text


def test_a_report_does_not_wait_for_pytorch(tmp_path):
    for arm, method in (("uniform", None), ("ogm-ge", "OGMGE")):
        for seed in (0, 1):
            write_run(tmp_path / "runs" / arm / f"seed{seed}", arm=arm, seed=seed, accuracy=0.5 + 0.1 * seed)
            settings = {"alpha": 0.8, "seed": seed} if method else {}
            rewrite(tmp_path / "runs" / arm / f"seed{seed}" / "config.json", method=method, method_settings=settings)
    words = ["-m", "bss", "report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]
    done = subprocess.run([sys.executable, "-X", "importtime", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pandas" in imported and "torch" not in imported
    assert "ogm-ge" in (tmp_path / "page" / "report.html").read_text()


def test_a_page_that_cannot_be_made_leaves_the_tables(tmp_path, monkeypatch):
    def refuse(*_):
        raise ZeroDivisionError

    comparison(tmp_path / "runs", {"uniform": [0.5, 0.6]})
    monkeypatch.setattr(command, "page", refuse)
    with pytest.raises(ZeroDivisionError):
        main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")])
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["table.csv", "table.md"]


@pytest.mark.usefixtures("undrawn")
def test_names_of_classes_samples_and_modalities_are_escaped(tmp_path):
    text = TASK_WITH_TEXTS.replace('("none",)', '("<i>none",)').replace('f"clip{i}"', "f'\"><b>{i}'")
    modality = text[text.index('"text":') : text.index(', "label"')]
    text = text.replace(modality, "'\"><u>': torch.eye(4), '<s>': torch.zeros(3)")
    task_of(tmp_path, text, names=[f'"><b>{i}' for i in range(4)])
    text = page_of(tmp_path)
    assert text.count("<strong>&lt;i&gt;none</strong><br>&#34;&gt;&lt;b&gt;") == 4
    assert 'alt="&#34;&gt;&lt;u&gt; of &#34;&gt;&lt;b&gt;0"' in text
    assert "neither picture, sound nor text: &lt;s&gt;." in text
    assert not re.search("<[ibus]>", text)


@pytest.mark.usefixtures("undrawn")
def test_data_that_were_changed_since_are_not_shown(tmp_path):
    task_of(tmp_path, TASK_WITH_TEXTS, names=["clip0", "clip1", "clip3", "clip2"])
    text = page_of(tmp_path)
    assert "No pictures and no class names: the data was changed since." in text
    assert text.count("<strong>class 0</strong>") == 4 and "<q>" not in text


@pytest.mark.usefixtures("undrawn")
def test_runs_of_a_task_file_that_lies_elsewhere_by_now_stand_together(tmp_path):
    write_run(tmp_path / "runs" / "one", mark={"task": "/old/place/digits.py"})
    write_run(tmp_path / "runs" / "other", arm="cl", mark={"task": "/new/place/digits.py"})
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 0
    write_run(tmp_path / "runs" / "third", arm="spl", mark={"task": "/new/place/words.py"})
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 2


def test_a_task_file_that_was_changed_between_the_runs_is_said(tmp_path):
    texts = ("a", "a", "b")
    for seed, text in enumerate(texts):
        write_run(tmp_path / str(seed), seed=seed, mark={"task_file": text})
    notes = " ".join(results(tmp_path).notes)
    assert "The task's file was changed between the runs (2 versions)" in notes
    write_run(tmp_path / "2", seed=2, mark={"task_file": None})  # as made before this was noted
    assert "task's file" not in " ".join(results(tmp_path).notes)


def test_the_middle_one_of_a_samples_frames_is_shown_as_it_was_seen():
    left, right = np.zeros((4, 3, 3), np.uint8), np.full((4, 3, 3), 9, np.uint8)
    views = [Picture(right), Picture(np.concatenate([left, right], axis=1), flip=True), Picture(left)]
    pixels = preview_of(Pictures(views)).pixels
    assert np.array_equal(pixels, np.concatenate([right, left], axis=1))
    assert samples.picture(pixels).startswith("data:image/png;base64,")


def image(address):
    """The numbers of a picture in a page, (H, W) or (H, W, 3 or 4)."""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


@pytest.mark.parametrize("length", [1, 100, 600, 48000], ids=str)
def test_a_recording_of_any_length_is_drawn_without_a_warning(length, recwarn):
    waveform = np.random.default_rng(0).uniform(-1, 1, length).astype(np.float32)
    preview = preview_of(Sound(waveform, 8000))
    assert preview == Preview(waveform_T=waveform, sample_rate=8000)
    assert image(samples.spectrogram(preview.waveform_T, preview.sample_rate)).shape == (240, 352, 4)
    assert not list(recwarn)


def test_a_spectrogram_has_its_axes_in_seconds_and_hz(monkeypatch):
    from matplotlib.figure import Figure

    seen, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *given, **named: seen.append(figure) or save(figure, *given, **named)
    )
    tone = np.sin(2 * np.pi * 3000 * np.arange(2 * 16000) / 16000).astype(np.float32)
    address = samples.spectrogram(tone, 16000)
    assert address == samples.spectrogram(tone, 16000)  # equal runs give an equal page
    axes = seen[0].axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("s", "Hz")
    assert axes.get_xlim()[1] == pytest.approx(2, abs=0.05) and axes.get_ylim()[1] == pytest.approx(8000, abs=20)
    loudest = axes.collections[0].get_array().max(axis=1).argmax()
    assert axes.collections[0].get_coordinates()[loudest, 0, 1] == pytest.approx(3000, abs=32)  # Hz, of a window


TASK_WITH_SOUNDS = """
import numpy, torch
from bss.data import Splits
from bss.data.transforms.views import Sound
from tests import tiny

TITLE, CL = "Sounds", tiny.CL

def build_data(recipe, root):
    wave = numpy.ones(900, numpy.float32)
    sounds = [{"voice": Sound(wave, 8000), "face": torch.eye(4), "label": 0} for i in range(4)]
    names = [f"clip{i}" for i in range(4)]
    return Splits(sounds, sounds, sounds, sounds, torch.zeros(4, dtype=torch.int64), names, ("none",))

build_model = tiny.model
"""


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.usefixtures("undrawn")
def test_without_librosa_a_page_says_in_one_line_how_to_get_the_spectrograms(tmp_path, monkeypatch, installed):
    task_of(tmp_path, TASK_WITH_SOUNDS)
    if not installed:
        monkeypatch.setitem(sys.modules, "librosa", None)  # as if it were not there
    text = page_of(tmp_path)
    assert text.count(' alt="face of clip') == 4  # the rest of a sample is shown in any case
    assert text.count('<img class="spectrogram" src="data:image/png;base64,') == (4 if installed else 0)
    said = "Not shown, since librosa draws the spectrograms (import of librosa halted; None in sys.modules; pip install"
    assert text.count(said) == text.count("Not shown") == (0 if installed else 1)


def drawn(value):
    """The grey values that a page shows of a tensor, (H, W) or (H, W, 3)."""
    return image(samples.picture(preview_of(value).pixels))


@pytest.mark.parametrize(
    ("shape", "pixels"),
    [((1, 64, 5), (96, 96)), ((1, 64, 128), (96, 192)), ((32, 320), (96, 288)), ((3, 64, 32), (96, 48, 3))],
    ids=str,
)
def test_a_short_clip_is_drawn_as_wide_as_high_and_a_picture_keeps_its_shape(shape, pixels):
    assert drawn(torch.rand(*shape)).shape == pixels


def test_an_outlier_does_not_leave_the_others_grey():
    ramp = torch.arange(96 * 96).reshape(96, 96).float()  # drawn pixel by pixel
    ramp[0, 0], ramp[-1, -1] = -1e6, 1e6
    grey = drawn(ramp)
    assert (grey[0, 0], grey[-1, -1]) == (0, 255)
    assert [int(grey[row, 0]) for row in (24, 48, 72)] == pytest.approx([62, 128, 193], abs=2)  # (0.25 - 0.01) / 0.98
    assert drawn(ramp * 0).max() == 0


def test_a_stroke_of_a_few_pixels_is_seen():
    stroke = torch.zeros(96, 96)
    stroke[48, :9] = torch.tensor([1.0] * 4 + [0.4] * 5)  # less than a hundredth
    assert drawn(stroke)[48].tolist() == [255] * 4 + [102] * 5 + [0] * 87
