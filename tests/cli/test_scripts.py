"""Every training script, started as a user starts it."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import bss
from bss import tasks
from bss.cli import launch
from bss.cli.commands import main
from bss.utils.errors import RecipeError

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(ROOT.glob("*/train-*.py"))
BROKEN = SCRIPTS[0]  # flags and errors are shared, so one script shows them

# Every network has these two fields: what a script does is the same with a small one, sooner.
NARROW = ["--workers", 0, "--set", "image_size=24", "--set", "width=2"]

every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")


def start(script, *flags, cwd):
    command = [sys.executable, str(script), *map(str, flags)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def run_here(script, *flags, monkeypatch, cwd):
    """The script in this process (a start costs seconds of imports): its exit status."""
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, flags)])
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        return ended.code
    return 0


def assert_short_message(stderr, *parts):
    assert "Traceback" not in stderr
    message = stderr.strip()
    assert message.startswith("error: ") and len(message.splitlines()) <= 2
    for part in parts:
        assert part in message


def assert_short_error(done, *parts):
    assert done.returncode == 2
    assert_short_message(done.stderr, *parts)


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A sample run of two epochs; its data set serves the other tests."""
    folder = tmp_path_factory.mktemp("sample")
    flags = ["--sample", "--epochs", 2, "--out", folder / "run", *NARROW]
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run_here(BROKEN, *flags, monkeypatch=monkeypatch, cwd=folder) == 0
    return folder


def test_there_are_two_scripts_for_each_of_the_five_data_sets():
    folders = ["CREMAD", "KS", "NVGesture", "Sarcasm", "Twitter15"]
    names = [f"{folder}/{script}" for folder in folders for script in ("train-CL.py", "train-SPL.py")]
    assert [str(script.relative_to(ROOT)) for script in SCRIPTS] == names


@every_script
def test_a_script_trains_on_sample_data_and_leaves_a_complete_run(script, samples, monkeypatch, capsys):
    out = samples / f"{script.parent.name}-{script.stem}"
    flags = ["--sample", "--epochs", 1, "--out", out, *NARROW]
    assert run_here(script.relative_to(ROOT), *flags, monkeypatch=monkeypatch, cwd=ROOT) == 0
    assert "test accuracy %" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == [
        "best.pt", "config.json", "done", "hits.npz", "last.pt", "log.txt", "metrics.jsonl", "scores.npz",
        "summary.json",
    ]  # fmt: skip
    row = json.loads((out / "metrics.jsonl").read_text())
    config = json.loads((out / "config.json").read_text())
    heads = set(row["val"]["accuracy"])
    assert {"all", "fused"} < heads and len(heads) >= 4
    assert all(set(values) == heads for values in row["val"].values())
    count, batch = config["samples"]["train"], config["recipe"]["batch_size"]
    share = (0.01 + 0.99 / config["recipe"]["schedule"]["grow_epochs"]) ** 0.5 if script.stem == "train-CL" else 1.0
    assert row["samples"] == max(batch, int(count * share)) // batch * batch
    with np.load(out / "scores.npz") as scores:
        assert scores["difficulty"].shape == (1, count) == (1, len(scores["name"]))
        assert 0 <= scores["difficulty"].min() and scores["difficulty"].max() <= 2
    model, recipe, classes = bss.load_run(out)
    assert not model.training and classes == tuple(config["classes"]) and asdict(recipe) == config["recipe"]
    if script.stem == "train-CL":
        assert main(["evaluate", str(out), "--resamples", "5", "--out", f"{out}-evaluated"]) == 0
        (run,) = json.loads((Path(f"{out}-evaluated") / "evaluation.json").read_text())["runs"]
        assert run["own_test"]["same"] and set(run["heads"]) == heads and run["samples"] == config["samples"]["test"]


@every_script
def test_a_script_has_the_released_habits_when_asked(script, samples, monkeypatch):
    out = samples / f"{script.parent.name}-{script.stem}-official"
    flags = ["--sample", "--official", "--epochs", 1, "--out", out, *NARROW, "--set", "imbalance_every=0"]
    assert run_here(script, *flags, monkeypatch=monkeypatch, cwd=samples) == 0
    config, summary = (json.loads((out / f"{name}.json").read_text()) for name in ("config", "summary"))
    assert config["recipe"]["tail"] == "last" and config["samples"]["val"] == 0
    assert {"epoch", "accuracy"} <= set(summary["oracle"])


def test_a_script_trains_in_its_own_folder_on_files_that_it_is_pointed_to(sample, tmp_path):
    data = sample / "sample-data" / "cremad"
    script = ROOT / "CREMAD" / "train-CL.py"
    small = ["--set", "image_size=24", "--set", "seconds=0.5", "--set", "width=2", "--batch-size", 16]
    done = start(
        script.name, "--data-root", data, "--official", "--epochs", 1, "--out", tmp_path, *small, cwd=script.parent
    )
    assert done.returncode == 0, done.stderr
    assert "best on test (oracle)" in done.stdout
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"]["schedule"]["mode"] == "train" and config["data_root"] == str(data)


@every_script
def test_without_data_a_script_says_where_it_looked_and_what_to_do(script, tmp_path, monkeypatch, capsys):
    flags = ["--data-root", tmp_path / "nowhere", "--out", tmp_path / "run"]
    assert run_here(script, *flags, monkeypatch=monkeypatch, cwd=tmp_path) == 2
    assert_short_message(capsys.readouterr().err, str(tmp_path / "nowhere"), "README.md", "--sample")
    assert not (tmp_path / "run").exists()


def test_help_lists_the_flags_and_the_recipe(tmp_path):
    done = start(BROKEN, "--help", cwd=tmp_path)
    assert done.returncode == 0
    flags = [
        "--data-root",
        "--out",
        "--sample",
        "--preset",
        "--official",
        "--seed",
        "--epochs",
        "--batch-size",
        "--device",
    ]
    for text in (*flags, "--workers", "--set", "schedule.grow_epochs=", "sample-data beside"):
        assert text in " ".join(done.stdout.split())


@every_script
def test_each_form_of_the_method_is_a_preset_and_official_is_another_word_for_one(script, tmp_path, monkeypatch):
    asked = []

    def launched(flags, stem, way, *, base, **_):
        asked.append((stem, way, base))
        raise RecipeError("that is all")

    monkeypatch.setattr(launch, "launched", launched)
    words = ([], ["--preset", "default"], ["--preset", "released"], ["--official"], ["--preset", "paper"])
    assert [run_here(script, *flags, monkeypatch=monkeypatch, cwd=tmp_path) for flags in words] == [2] * 5
    kind, stem = script.stem.partition("-")[2], script.parent.name.lower()
    task = tasks.load(stem)
    default, official, paper = (getattr(task, f"{kind}{suffix}") for suffix in ("", "_OFFICIAL", "_PAPER"))
    assert asked == [
        *[(stem, kind, default)] * 2,
        *[(stem, f"{kind}-official", official)] * 2,
        (stem, f"{kind}-paper", paper),
    ]
    assert default != official != paper
    assert (default == paper) == (kind == "CL" and stem != "cremad")  # the slides' CL is the default's but for its loss


def test_two_forms_of_the_method_at_once_are_refused(tmp_path, monkeypatch, capsys):
    script = ROOT / "CREMAD" / "train-CL.py"
    for flags in (["--preset", "paper", "--official"], ["--official", "--preset", "paper"]):
        assert run_here(script, *flags, monkeypatch=monkeypatch, cwd=tmp_path) == 2
        assert "not allowed with argument" in capsys.readouterr().err


def test_the_default_run_folder_is_named_after_data_set_sampler_and_seed(sample, tmp_path, monkeypatch):
    data = sample / "sample-data" / "cremad"
    flags = ["--data-root", data, "--set", "seconds=0.5", "--epochs", 1, *NARROW]
    assert run_here(ROOT / "CREMAD" / "train-CL.py", *flags, monkeypatch=monkeypatch, cwd=tmp_path) == 0
    assert (tmp_path / "runs" / "cremad-CL-seed42" / "done").exists()


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--set", "learning_rate=1"], ["unknown recipe field 'learning_rate'", "here it is called lr"]),
        (["--set", "epochs=many"], ["epochs cannot be 'many'", "a whole number"]),
        (["--set", "schedule.rescore=often"], ["once, pass, online, a whole number"]),
        (["--epochs", "0"], ["epochs must be >= 1"]),
        (["--seed", "-1"], ["seed must be in 0.."]),
        (["--preset", "papr"], ["argument --preset", "'papr'", "default", "released", "paper"]),
        (["--device", "gpu"], ["--device 'gpu' is not a device"]),
        (["--device", "cuda:99"], ["--device cuda:99", "--device cpu"]),
        (["--workers", "-2"], ["--workers: must be at least 0, got -2", "--help"]),
        (["--sample", "--data-root", "."], ["--sample", "not both"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_wrong_flag_value_is_one_or_two_lines(flags, parts, tmp_path, monkeypatch, capsys):
    assert run_here(BROKEN, *flags, "--out", tmp_path / "run", monkeypatch=monkeypatch, cwd=tmp_path) == 2
    assert_short_message(capsys.readouterr().err, *parts)
    assert not (tmp_path / "run").exists()


def test_a_sample_that_cannot_be_written_is_two_lines_with_the_way_out(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    flags = ["--sample", "--out", tmp_path / "file" / "run"]
    assert run_here(BROKEN, *flags, monkeypatch=monkeypatch, cwd=tmp_path) == 2
    assert_short_message(capsys.readouterr().err, str(tmp_path / "file" / "sample-data"), "Not a directory", "--out")


def test_a_typo_in_a_flag_names_the_flag_or_the_field_that_was_meant(tmp_path, monkeypatch, capsys):
    for flags, meant in ((["--epoch", 3], "--epochs"), (["--lr=0.02"], "--set lr=0.02"), (["--floor", 1], None)):
        assert run_here(BROKEN, *flags, monkeypatch=monkeypatch, cwd=tmp_path) == 2
        stderr = capsys.readouterr().err
        if meant is None:  # a field of SPL's, and this is CL's script
            assert "unrecognized arguments: --floor" in stderr and "--epochs" in stderr
        else:
            assert_short_message(stderr, flags[0].partition("=")[0], meant)


def test_a_finished_run_is_not_overwritten_and_is_fine_with_resume(sample, monkeypatch, capsys):
    flags = ["--sample", "--epochs", 2, "--out", sample / "run", *NARROW]
    assert run_here(BROKEN, *flags, monkeypatch=monkeypatch, cwd=sample) == 2
    assert_short_message(capsys.readouterr().err, "finished run (2 epochs)", "--set overwrite=true")
    assert run_here(BROKEN, *flags, "--resume", monkeypatch=monkeypatch, cwd=sample) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run_here(BROKEN, *flags, "--resume", "--set", "lr=1", monkeypatch=monkeypatch, cwd=sample) == 2
    assert_short_message(capsys.readouterr().err, "a finished run that differs from this one (lr: ", "1.0 here")


def test_a_file_that_breaks_inside_a_worker_is_named_without_a_traceback(sample, tmp_path):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(sample / "sample-data" / "cremad", data)
    frames = min((data / "Image-01-FPS").iterdir())
    for frame in frames.iterdir():
        frame.write_bytes(frame.read_bytes()[:30] + b"\xff\xd9")  # good ends, nothing between them
    small = ["--set", "image_size=32", "--set", "seconds=0.5", "--set", "width=2"]
    done = start(
        BROKEN, "--data-root", data, *small, "--workers", 2, "--epochs", 1, "--out", tmp_path / "r", cwd=tmp_path
    )
    assert_short_error(done, frames.name)


def test_ctrl_c_ends_quietly_and_keeps_the_epochs(tmp_path):
    settings = ["--epochs", "500", "--workers", "2", "--set", "image_size=24", "--set", "width=2"]
    command = [sys.executable, str(BROKEN), "--sample", "--out", str(tmp_path / "run"), *settings]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert metrics.exists()
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr and "interrupted" in stderr
    assert json.loads(metrics.read_text().splitlines()[0])["epoch"] == 0
    assert (tmp_path / "run" / "last.pt").exists() and (tmp_path / "run" / "scores.npz").exists()
    assert not (tmp_path / "run" / "done").exists()
