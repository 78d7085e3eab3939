"""Runs as one long table of pandas: its columns, its rows by hand, and the lines that its docstring shows."""

import ast
import json
import math
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

import bss.compare
from bss.utils.errors import RunFolderError
from tests.compare.comparing import write_run

KEYS = ["run", "epoch", "split", "checkpoint", "head", "metric"]


def rewrite(path, **changes):
    """Change fields of a run's file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def comparison(root):
    """Two arms with two seeds each."""
    for arm, accuracies in {"uniform": (0.5, 0.6), "cl": (0.7, 0.9)}.items():
        for seed, accuracy in enumerate(accuracies):
            write_run(root / arm / f"seed{seed}", arm=arm, seed=seed, accuracy=accuracy, last=accuracy + 0.05)
    return root


def only(table, **values):
    """The rows with these values."""
    for name, value in values.items():
        table = table[table[name] == value]
    return table


def test_there_is_a_row_for_everything_that_was_measured_and_none_twice(tmp_path):
    table = bss.compare.load(comparison(tmp_path))
    # Of each of four runs: two epochs, and the chosen and the last one on the test set, three metrics of four heads.
    assert len(table) == 4 * (2 + 2) * 3 * 4
    assert not table.duplicated(KEYS).any() and table.index.equals(pd.RangeIndex(len(table)))
    row = table[(table["run"] == "cl/seed1") & (table["checkpoint"] == "last") & (table["head"] == "all")].iloc[0]
    assert row.to_dict() == {
        "task": "made-up",
        "run": "cl/seed1",
        "arm": "cl",
        "seed": 1,
        "epoch": 1,
        "updates": 10,  # 40 samples in batches of 8, twice
        "seconds": 2.0,
        "split": "test",
        "checkpoint": "last",
        "head": "all",
        "metric": "accuracy",
        "value": pytest.approx(0.95),
    }
    first = only(table, run="uniform/seed0", checkpoint="each", head="audio", metric="map").iloc[0]
    assert (first["epoch"], first["updates"], first["seconds"], first["split"]) == (0, 5, 1.0, "val")


def test_texts_are_categories_in_the_order_in_which_they_come(tmp_path):
    table = bss.compare.load(comparison(tmp_path))
    numbers = {"seed": "int64", "epoch": "int64", "updates": "int64", "seconds": "float64", "value": "float64"}
    assert {name: str(kind) for name, kind in table.dtypes.items()} == {
        name: numbers.get(name, "category") for name in table.columns
    }
    assert list(table["head"].cat.categories) == ["all", "fused", "audio", "visual"]
    assert list(table["checkpoint"].cat.categories) == ["each", "chosen", "last"]
    assert list(table["arm"].cat.categories) == ["cl", "uniform"]  # as the folders come


def test_the_lines_of_the_docstring_run_and_mean_what_they_say(tmp_path, monkeypatch):
    comparison(tmp_path / "compared")
    monkeypatch.chdir(tmp_path)
    text = bss.compare.load.__doc__.partition("each::\n")[2].partition("Whether runs")[0]
    names, shown = {}, []
    for statement in ast.parse(textwrap.dedent(text).replace(".plot()", "")).body:
        if isinstance(statement, ast.Expr):
            shown.append(eval(ast.unparse(statement), names))
        else:
            exec(ast.unparse(statement), names)
    curve, test, paired = shown
    assert curve.loc[1].to_dict() == pytest.approx({"cl": 0.8, "uniform": 0.55})
    assert test["mean"].loc["cl"].to_dict() == pytest.approx({"all": 0.8, "fused": 0.8, "audio": 0.4, "visual": 0.3})
    assert test["std"].loc["cl", "all"] == pytest.approx(0.2 / math.sqrt(2))
    assert paired.loc["mean"].to_dict() == pytest.approx({"cl": 0.25, "uniform": 0.0})


def test_loss_and_imbalance_have_their_rows_where_they_were_measured(tmp_path):
    run = write_run(tmp_path / "run")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows[0] |= {"train_loss": 2.5}
    rows[1]["imbalance"] = {
        "index": 0.25,
        "gradient_ratio": None,
        "gradient_norm": {"audio": 3.0, "visual": None},
        "true_class_probability": {"audio": 0.6, "visual": 0.45},
        "shapley": {"accuracy": {"audio": 0.3}, "probability": {"audio": 0.2}},
    }
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rewrite(run / "summary.json", imbalance={"index": 0.5, "shapley": None, "probe": {"audio": 0.7}})
    table = bss.compare.load(tmp_path)
    others = table[~table["metric"].isin(["accuracy", "macro_f1", "map"])]
    columns = ["epoch", "split", "checkpoint", "head", "metric", "value"]
    assert sorted(others[columns].itertuples(index=False, name=None)) == sorted(
        [
            (0, "train", "each", "all", "loss", 2.5),
            (1, "val", "each", "all", "imbalance_index", 0.25),
            (1, "val", "each", "audio", "true_class_probability", 0.6),
            (1, "val", "each", "visual", "true_class_probability", 0.45),
            (1, "train", "each", "audio", "gradient_norm", 3.0),
            (1, "val", "each", "audio", "shapley_accuracy", 0.3),
            (1, "val", "each", "audio", "shapley_probability", 0.2),
            (1, "test", "chosen", "all", "imbalance_index", 0.5),
            (1, "test", "chosen", "audio", "probe_accuracy", 0.7),
        ]
    )


def test_a_result_that_is_no_number_is_a_gap(tmp_path):
    run = write_run(tmp_path / "run")
    test = json.loads((run / "summary.json").read_text())["test"]
    test["last"]["map"]["audio"] = None
    rewrite(run / "summary.json", test=test)
    table = bss.compare.load(tmp_path)
    assert only(table[table["value"].isna()], split="test")[["checkpoint", "metric", "head"]].to_numpy().tolist() == [
        ["last", "map", "audio"]
    ]


def test_without_a_validation_split_the_curve_is_on_the_test_set(tmp_path):
    run = write_run(tmp_path / "run", sizes=(40,))
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().replace('"val"', '"test"'))
    assert set(bss.compare.load(run)["split"]) == {"test"}
    assert set(bss.compare.load(run)["checkpoint"]) == {"each", "chosen", "last"}


def test_a_run_folder_is_named_and_one_that_compare_did_not_make_has_no_task(tmp_path):
    run = write_run(tmp_path / "some run", arm="cl")
    (run / "arm.json").unlink()
    table = bss.compare.load(str(run))
    assert set(table["run"]) == {"some run"} and set(table["arm"]) == {"CurriculumSampler"}
    assert table["task"].isna().all()


def test_arm_and_task_of_a_single_run_are_those_of_its_config(tmp_path):
    run = write_run(tmp_path / "run", arm="cl")
    (run / "arm.json").unlink()
    rewrite(run / "config.json", arm="cl-rank", task="cremad")
    table = bss.compare.load(run)
    assert set(table["arm"]) == {"cl-rank"} and set(table["task"]) == {"cremad"}


def test_what_is_left_out_is_a_warning_and_nothing_at_all_an_error(tmp_path):
    comparison(tmp_path / "runs")
    (tmp_path / "runs" / "cl" / "seed1" / "done").unlink()
    with pytest.warns(UserWarning, match=r"1 of 4 run folders were left out; the first is .*seed1: unfinished, 2 epo"):
        assert set(bss.compare.load(tmp_path / "runs")["run"]) == {"cl/seed0", "uniform/seed0", "uniform/seed1"}
    (tmp_path / "runs" / "uniform" / "seed1" / "summary.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"2 of 4 .* the first is .*cl.seed1: unfinished, .*; then .*uniform.seed1$"):
        assert set(bss.compare.load(tmp_path / "runs")["run"]) == {"cl/seed0", "uniform/seed0"}
    with pytest.raises(RunFolderError, match="is not a folder"):
        bss.compare.load(tmp_path / "nothing")


def test_runs_of_the_first_format_are_read(tmp_path):
    made = Path(__file__).parents[1] / "training" / "format1"
    for name in ("cl", "spl"):
        shutil.copytree(made / name, tmp_path / name)
    table = bss.compare.load(tmp_path)
    assert set(table["arm"]) == {"CurriculumSampler", "SelfPacedSampler"}
    for name in ("cl", "spl"):
        accuracy = json.loads((made / name / "summary.json").read_text())["test"]["chosen"]["accuracy"]
        found = only(table, run=name, checkpoint="chosen", metric="accuracy").set_index("head")["value"]
        assert found.to_dict() == accuracy
        assert list(only(table, run=name, metric="loss")["epoch"]) == [0, 1, 2]


def test_importing_the_room_loads_neither_pandas_nor_torch():
    code = "import sys, bss.compare; print([name for name in ('numpy', 'pandas', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
