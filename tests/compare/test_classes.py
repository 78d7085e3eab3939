"""Class by class: accuracies and difficulties by hand, runs that do not tell, and labels of every kind."""

import json

import numpy as np
import pytest

from bss.compare.classes import MOST_DRAWN, ByClass, by_class, class_table, drawn, mean_by_class
from bss.compare.runs import find_folders, read_runs
from bss.compare.tables import results_of
from bss.training.run_folder import Hits, RunFolder
from tests.compare.comparing import write_run


def results(folder):
    found = read_runs(find_folders([folder]))
    assert not found.left_out
    return results_of(found.runs)


def class_run(folder, hits, labels, *, classes=("cat", "dog"), **options):
    """A made-up run with these hits on test samples of these classes."""
    write_run(folder, accuracy=float(np.mean(hits)), **options)
    config = json.loads((folder / "config.json").read_text())
    config["samples"]["test"] = len(hits)
    (folder / "config.json").write_text(json.dumps({**config, "classes": classes}))
    heads = {name: np.array(hits) for name in ("all", "fused", "audio", "visual")}
    summary = json.loads((folder / "summary.json").read_text())
    for epoch in summary["test"].values():
        epoch["accuracy"] = dict.fromkeys(heads, float(np.mean(hits)))
    (folder / "summary.json").write_text(json.dumps(summary))
    labels = None if labels is None else np.array(labels)
    RunFolder(folder, resume=True).write_hits(Hits.packed(heads, heads, labels=labels))
    return folder


def test_the_mean_of_a_class_without_samples_is_no_number():
    means = mean_by_class(np.array([1.0, 0, 1, 1]), np.array([0, 0, 2, 2]), 3)
    assert means.tolist() == pytest.approx([0.5, np.nan, 1.0], nan_ok=True)


def test_the_table_has_samples_difficulty_and_accuracy_by_hand(tmp_path):
    # Of the dogs 2 of 3 are right with seed 0 and 1 of 3 with seed 1: 50 +- 23.6; the training samples are cats.
    class_run(tmp_path / "a", [True, True, True, False], [0, 1, 1, 1])
    class_run(tmp_path / "b", [False, True, False, False], [0, 1, 1, 1], seed=1)
    class_run(tmp_path / "c", [True, True, True, True], [0, 1, 1, 1], arm="class")
    made = results(tmp_path)
    table = class_table(made, by_class(made))
    assert table.columns == ["class", "training samples", "test samples", "difficulty", "uniform", "class"]
    assert table.rows == [
        ["cat", "4", "1", "0.75 \u00b1 0.00", "50.0 \u00b1 70.7", "100.0"],  # of 0.1, 0.9, 0.5 and 1.5
        ["dog", "0", "3", "-", "50.0 \u00b1 23.6", "100.0"],
    ]
    assert table.caption.startswith("Test accuracy of the prediction (audio + visual + fused) within each class in %, ")
    assert table.caption.endswith(" Difficulty: the mean of the training samples' last scores in uniform.")
    assert "do not tell" not in table.caption


def test_runs_without_labels_are_left_out_of_the_accuracies_and_that_is_said(tmp_path):
    class_run(tmp_path / "a", [True, False], [0, 1])
    class_run(tmp_path / "b", [True, False], None, seed=1)
    write_run(tmp_path / "other" / "c", accuracy=0.5)
    made = results(tmp_path / "other")
    table = class_table(made, by_class(made))
    assert table.columns == ["class", "training samples", "difficulty"]
    assert table.caption.startswith(
        "Test accuracy within the classes is not known, since no run tells: their hits.npz "
    )
    assert drawn(by_class(made), ["uniform"]) == ([], {})
    made = results_of(read_runs([tmp_path / "a", tmp_path / "b"]).runs)
    table = class_table(made, by_class(made))
    assert [row[-1] for row in table.rows] == ["100.0", "0.0"]
    assert " 1 of 2 runs do not tell: their hits.npz has no labels, as of earlier versions" in table.caption


def test_labels_that_no_class_is_named_for_are_told_by_their_number(tmp_path):
    folder = write_run(tmp_path / "a")
    with np.load(folder / "scores.npz") as stored:
        arrays = {**stored, "label": np.array([-1, 2**40, 0, 0])}
    np.savez(folder / "scores.npz", **arrays)
    made = results(tmp_path)
    assert by_class(made).names == ["class -1", "class 0", f"class {2**40}"]


def test_of_many_classes_those_are_drawn_in_which_the_arms_differ_most():
    count = MOST_DRAWN + 10
    means = {"uniform": [np.zeros(count)], "cl": [np.arange(count) * 1.0]}
    means["cl"][0][3] = np.nan  # a class without test samples
    found = ByClass([f"c{i}" for i in range(count)], [], [], {**means, "silent": []}, [], "")
    names, of_arms = drawn(found, ["uniform", "cl", "silent"])
    assert names == [f"c{i}" for i in range(10, count)] and list(of_arms) == ["uniform", "cl"]
    assert of_arms["cl"] == list(range(10, count))
