"""What a run folder must hold to be reported: every odd value is a reason to leave that folder out, by its place."""

import html
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from bss.cli.commands import main
from bss.compare.runs import read_run
from bss.utils.errors import RunFolderError
from tests.compare.comparing import write_run

FORMAT1 = Path(__file__).parents[1] / "training" / "format1"
MISSING = object()


def put(content, path, value):
    """Change one place of nested tables and lists; MISSING removes it."""
    *above, last = path
    for key in above:
        content = content[key]
    if value is MISSING:
        del content[last]
    else:
        content[last] = value


def spoil(folder, name, path, value):
    """Change one place of a file of a run, which stays well-formed JSON."""
    file = folder / name
    rows = [json.loads(line) for line in file.read_text().splitlines()] if name == "metrics.jsonl" else None
    content = json.loads(file.read_text()) if rows is None else rows
    put(content, path, value)
    file.write_text(json.dumps(content) if rows is None else "".join(json.dumps(row) + "\n" for row in rows))


ODD = [
    ("summary.json", ["chosen_epoch"], MISSING, "summary.json: chosen_epoch is missing"),
    ("summary.json", ["chosen_epoch"], 2, "summary.json: chosen_epoch is 2, and there are 2 rows"),
    ("summary.json", ["chosen_epoch"], -1, "summary.json: chosen_epoch is -1, and not a whole number from 0 on"),
    ("summary.json", ["chosen_epoch"], True, "summary.json: chosen_epoch is True, and not a whole number"),
    ("summary.json", ["test"], [], r"summary.json: test is \[\], and not a table"),
    ("summary.json", ["test", "last", "accuracy", "all"], MISSING, "summary.json: test.last.accuracy.all is missing"),
    ("summary.json", ["test", "last", "map", "audio"], MISSING, "summary.json: test.last.map is of the heads all, fu"),
    ("summary.json", ["test", "chosen", "map"], MISSING, "summary.json: test.chosen has other metrics or heads than"),
    ("summary.json", ["test", "chosen", "accuracy", "all"], 1.5, "accuracy.all is 1.5, and not a number from 0 to 1"),
    ("summary.json", ["test", "chosen", "accuracy", "all"], "1", "accuracy.all is '1', and not a number"),
    ("summary.json", ["test", "chosen", "accuracy", "all"], True, "accuracy.all is True, and not a number"),
    ("summary.json", ["imbalance"], {"index": "much"}, "imbalance.index is 'much', and not a number"),
    ("summary.json", ["imbalance"], {"index": 1e308}, r"imbalance.index is 1e\+308, and not a finite number"),
    ("summary.json", ["imbalance"], {"probe": [1]}, r"imbalance.probe is \[1\], and not a table"),
    ("summary.json", ["updates"], 11, "contradict one another: summary.json: updates is 11, and by others 10"),
    ("summary.json", ["oracle"], None, "summary.json: oracle is None, and not a table"),
    ("metrics.jsonl", [0, "steps"], -5, "metrics.jsonl, line 1: steps is -5, and not a whole number from 0 on"),
    ("metrics.jsonl", [0, "steps"], 10**30, "line 1: steps is 1000000000"),
    ("metrics.jsonl", [1, "seconds"], float("nan"), "metrics.jsonl, line 2: seconds is nan, and not a finite number"),
    ("metrics.jsonl", [1, "seconds"], -1.0, "metrics.jsonl, line 2: seconds is -1.0, and not a number from 0 on"),
    ("metrics.jsonl", [1, "val"], MISSING, "metrics.jsonl, line 2: val is missing"),
    ("metrics.jsonl", [1, "val", "accuracy", "visual"], MISSING, "line 2: val.macro_f1 is of the heads all, fused, au"),
    ("metrics.jsonl", [1], 7, "metrics.jsonl, line 2, is damaged: it holds a int"),
    ("metrics.jsonl", [1, "imbalance"], {"shapley": {"accuracy": 1}}, "imbalance.shapley.accuracy is 1, and not a tab"),
    ("config.json", ["sampler"], ["x"], r"config.json: sampler is \['x'\], and not a text"),
    ("config.json", ["sampler"], MISSING, "config.json: sampler is missing"),
    ("config.json", ["method"], 3, "config.json: method is 3, and not a text"),
    ("config.json", ["samples"], [40], r"config.json: samples is \[40\], and not a table"),
    ("config.json", ["samples", "test"], 0, "config.json: samples.test is 0, and not a whole number from 1 on"),
    ("config.json", ["recipe"], "lr=1", "config.json: recipe is 'lr=1', and not a table"),
    ("config.json", ["recipe", "seed"], None, "config.json: recipe.seed is None, and not a whole number"),
    ("config.json", ["recipe", "batch_size"], 0, "recipe.batch_size is 0, and not a whole number from 1 on"),
    ("config.json", ["recipe", "lr"], {"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}, "recipe.lr.a.b.c.d.e is {'f': {}}"),
    ("config.json", ["recipe", "lr"], "\ud800", "is '.ud800', and not a text of whole letters"),
    ("config.json", ["versions"], {"torch": 2}, "versions.torch is 2, and not a text"),
    (
        "config.json",
        ["versions"],
        {"torch": "2", "to\x1brch": "2"},
        "a name in config.json: versions is 'to.x1brch', and not",
    ),
    (
        "config.json",
        ["recipe", "lr"],
        {"a": {"b\n": 1}},
        "a name in config.json: recipe.lr.a is 'b.n', and not a text of",
    ),
    ("config.json", ["device"], "cpu\n| x", "device is 'cpu.n. x', and not a text of one line"),
    ("config.json", ["command"], "x", "command is 'x', and not a list"),
    ("config.json", ["classes"], [1], r"classes\[0\] is 1, and not a text"),
    ("config.json", ["generated"], "yes", "generated is 'yes', and not true or false"),
    ("config.json", ["seed"], 8, "contradict one another: config.json: seed is 8, and by others 0"),
    ("config.json", ["arm"], "spl", "contradict one another: arm.json: arm is 'spl', and by others cl"),
    (
        "config.json",
        ["lists"],
        {"train": {"hash": "0"}},
        "contradict one another: config.json: lists.train.hash is '0'",
    ),
    ("config.json", ["continued"], {}, "continued is {}, and not a list"),
    ("config.json", ["continued"], [{"step": -1}], r"continued\[0\].step is -1, and not a whole number from 0 on"),
    (
        "config.json",
        ["continued"],
        [{"changed": {"lr": [1]}}],
        r"continued\[0\].changed.lr is \[1\], and not two values",
    ),
    (
        "config.json",
        ["recipe", "prediction"],
        "both",
        "recipe.prediction is 'both', and not one of all, unimodal, entropy, fused",
    ),
    ("arm.json", ["arm"], ["cl"], r"arm.json: arm is \['cl'\], and not a text"),
    ("arm.json", ["arm"], "c\x1b[0m", "and not a text of one line"),
    ("arm.json", ["training_samples"], "0", "contradict one another: arm.json: training_samples is '0'"),
]


@pytest.mark.parametrize(
    ("name", "path", "value", "said"), ODD, ids=lambda value: "missing" if value is MISSING else str(value)[:30]
)
def test_an_odd_value_is_a_reason_with_its_place(tmp_path, name, path, value, said):
    folder = write_run(tmp_path / "run", arm="cl")
    read_run(folder)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "oracle": {"epoch": 0}, "updates": 10}))
    read_run(folder)
    spoil(folder, name, path, value)
    with pytest.raises(RunFolderError, match=said) as refused:
        read_run(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda arrays: arrays.pop("loss"), "is damaged or missing"),
        (lambda arrays: arrays.update(loss=arrays["loss"][0]), r"loss is float32 of shape \(4,\)"),
        (lambda arrays: arrays.update(difficulty=arrays["loss"][:, :3]), r"difficulty is float32 of shape \(1, 3\)"),
        (lambda arrays: arrays.update(label=arrays["label"][:3]), r"label is int64 of shape \(3,\)"),
        (lambda arrays: arrays.update(label=arrays["label"] * 0.5), "label is float64 of shape"),
        (lambda arrays: arrays.update(name=np.arange(4)), "name is int64 of shape"),
        (lambda arrays: arrays.update(name=np.array("x")), r"similarity is float32 of shape \(1, 4\)"),
        (lambda arrays: arrays.update(epoch=np.array([-1])), "its epochs are not in order"),
        (lambda arrays: arrays.update(name=np.array([None] * 4)), "is damaged or missing"),  # would be a pickle
    ],
    ids=["none", "flat", "narrow", "short", "labels", "numbers", "scalar", "epoch", "objects"],
)
def test_scores_of_another_shape_or_type_are_a_reason(tmp_path, change, said):
    folder = write_run(tmp_path / "run", arm="cl")
    with np.load(folder / "scores.npz") as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(folder / "scores.npz", **arrays)
    with pytest.raises(RunFolderError, match=f"^scores.npz {'is damaged: ' * (said[:2] != 'is')}{said}"):
        read_run(folder)


def test_a_shorter_array_in_a_file_whose_checksum_is_of_the_longer_one_is_seen(tmp_path):
    """numpy reads as much as an array's head says, and Python's zipfile checks what was read to the end alone."""
    folder = write_run(tmp_path / "run", arm="cl")
    whole = (folder / "scores.npz").read_bytes()
    (folder / "scores.npz").write_bytes(whole.replace(b"(1, 4)", b"(1, 2)"))
    with pytest.raises(RunFolderError, match=r"^scores\.npz is damaged or missing"):
        read_run(folder)


def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked(tmp_path):
    folder = write_run(tmp_path / "run", arm="cl")
    np.savez_compressed(folder / "scores.npz", difficulty=np.zeros((1, 10**6), np.float32))
    with pytest.raises(RunFolderError, match=r"^scores\.npz is damaged or missing \('it unpacks to more than it is"):
        read_run(folder)


def test_a_number_that_diverged_and_a_class_on_two_lines_are_no_damage(tmp_path):
    folder = write_run(tmp_path / "run")
    spoil(folder, "metrics.jsonl", [0, "train_loss"], float("nan"))
    spoil(folder, "metrics.jsonl", [0, "val", "accuracy", "audio"], None)
    spoil(folder, "config.json", ["classes"], ["a\nb", "\u200c\u0641"])
    spoil(folder, "config.json", ["recipe", "milestones"], [1, 2.5, None, True])
    assert read_run(folder).curve("val", "accuracy", "audio") == ([10], [0.4])


@pytest.mark.parametrize("name", ["cl", "spl"])
def test_folders_of_format_1_are_whole(name):
    assert read_run(FORMAT1 / name).rows


def test_one_odd_folder_is_left_out_by_name_and_the_others_are_reported(tmp_path, capsys):
    for seed in (0, 1, 2):
        write_run(tmp_path / "runs" / f"uniform{seed}", seed=seed)
        write_run(tmp_path / "runs" / f"cl{seed}", arm="cl", seed=seed, accuracy=0.6 + seed / 10)
    spoil(tmp_path / "runs" / "cl2", "summary.json", ["test", "last", "accuracy"], ["x"])
    assert main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")]) == 1
    reason = f"eft out: {tmp_path / 'runs' / 'cl2'}: summary.json: test.last.accuracy is ['x'], and not a table"
    assert reason in capsys.readouterr().err
    for name in ("report.html", "table.md"):
        assert reason in html.unescape((tmp_path / "page" / name).read_text())
    assert "| cl | 2 | 65.0" in (tmp_path / "page" / "table.md").read_text()


def test_arm_names_that_are_formulas_to_matplotlib_are_drawn_as_they_are(tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"a{seed}", seed=seed)
        write_run(tmp_path / f"b{seed}", arm=r"cost $\frac$", seed=seed, accuracy=0.5 + seed / 10)
    shutil.rmtree(tmp_path / "page", ignore_errors=True)
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "page")]) == 0
