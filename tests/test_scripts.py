"""Every training script, started as a user starts it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(ROOT.glob("*/train-*.py"))
BROKEN = SCRIPTS[0]  # flags and errors are shared, so one script shows them

every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")


def start(script, *flags, cwd):
    command = [sys.executable, str(script), *map(str, flags)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def assert_short_error(done, *parts):
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    message = done.stderr.strip()
    assert message.startswith("error: ") and len(message.splitlines()) <= 2
    for part in parts:
        assert part in message


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A sample run of two epochs; its data set serves the other tests."""
    folder = tmp_path_factory.mktemp("sample")
    done = start(SCRIPTS[0], "--sample", "--epochs", 2, "--out", folder / "run", "--workers", 0, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@every_script
def test_a_script_trains_on_sample_data_from_the_root_of_the_repository(script, tmp_path):
    done = start(script.relative_to(ROOT), "--sample", "--epochs", 1, "--out", tmp_path / "run", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "test accuracy %" in done.stdout
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "best.pt", "config.json", "done", "last.pt", "metrics.jsonl", "scores.npz", "summary.json",
    ]  # fmt: skip
    heads = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())["val"]["accuracy"]
    assert {"all", "fused"} < set(heads) and len(heads) >= 4
    with np.load(tmp_path / "run" / "scores.npz") as scores:
        assert len(scores["name"]) == scores["difficulty"].shape[1]


@every_script
def test_a_script_trains_in_its_own_folder_on_files_with_the_released_habits(script, sample, tmp_path):
    data = sample / "sample-data" / script.parent.name.lower()
    small = ["--set", "image_size=32", "--set", "seconds=0.5", "--set", "width=4", "--batch-size", 16]
    done = start(
        script.name, "--data-root", data, "--official", "--epochs", 1, "--out", tmp_path, *small, cwd=script.parent
    )
    assert done.returncode == 0, done.stderr
    assert "best on test (oracle)" in done.stdout
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"]["schedule"]["mode"] == "train"
    assert config["recipe"]["tail"] == "last"
    assert "oracle" in json.loads((tmp_path / "summary.json").read_text())


@every_script
def test_without_data_a_script_says_where_it_looked_and_what_to_do(script, tmp_path):
    done = start(script, "--data-root", tmp_path / "nowhere", "--out", tmp_path / "run", cwd=tmp_path)
    assert_short_error(done, str(tmp_path / "nowhere"), "README.md", "--sample")
    assert not (tmp_path / "run").exists()


def test_help_lists_the_flags_and_the_recipe(tmp_path):
    done = start(BROKEN, "--help", cwd=tmp_path)
    assert done.returncode == 0
    flags = ["--data-root", "--out", "--sample", "--official", "--seed", "--epochs", "--batch-size", "--device"]
    for text in (*flags, "--workers", "--set", "schedule.grow_epochs="):
        assert text in done.stdout


def test_the_default_run_folder_is_named_after_data_set_sampler_and_seed(sample, tmp_path):
    data = sample / "sample-data" / "cremad"
    small = ["--set", "image_size=32", "--set", "seconds=0.5", "--set", "width=4", "--epochs", 1, "--workers", 0]
    done = start(ROOT / "CREMAD" / "train-CL.py", "--data-root", data, *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "cremad-CL-seed42" / "done").exists()


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--set", "learning_rate=1"], ["unknown recipe field 'learning_rate'", "schedule.grow_epochs"]),
        (["--set", "epochs=many"], ["epochs cannot be 'many'", "a whole number"]),
        (["--set", "schedule.rescore=often"], ["once, pass, online, a whole number"]),
        (["--epochs", "0"], ["epochs must be >= 1"]),
        (["--seed", "-1"], ["seed must be in 0.."]),
        (["--device", "gpu"], ["--device 'gpu' is not a device"]),
        (["--device", "cuda:99"], ["--device cuda:99", "--device cpu"]),
        (["--workers", "-2"], ["--workers must be >= 0"]),
        (["--sample", "--data-root", "."], ["--sample", "not both"]),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else "",
)
def test_a_wrong_flag_value_is_one_or_two_lines(flags, parts, tmp_path):
    assert_short_error(start(BROKEN, *flags, "--out", tmp_path / "run", cwd=tmp_path), *parts)
    assert not (tmp_path / "run").exists()


def test_a_typo_in_a_flag_lists_the_flags(tmp_path):
    done = start(BROKEN, "--epoch", 3, cwd=tmp_path)
    assert done.returncode == 2
    assert "unrecognized arguments: --epoch" in done.stderr and "--epochs" in done.stderr


def test_a_finished_run_is_not_overwritten(sample):
    done = start(BROKEN, "--sample", "--epochs", 2, "--out", sample / "run", cwd=sample)
    assert_short_error(done, "finished run (2 epochs)", "--set overwrite=true")


def test_a_file_that_breaks_inside_a_worker_is_named_without_a_traceback(sample, tmp_path):
    import shutil

    data = tmp_path / "data"
    shutil.copytree(sample / "sample-data" / "cremad", data)
    frames = min((data / "Image-01-FPS").iterdir())
    for frame in frames.iterdir():
        frame.write_bytes(frame.read_bytes()[:30] + b"\xff\xd9")  # good ends, nothing between them
    small = ["--set", "image_size=32", "--set", "seconds=0.5", "--set", "width=4"]
    done = start(
        BROKEN, "--data-root", data, *small, "--workers", 2, "--epochs", 1, "--out", tmp_path / "r", cwd=tmp_path
    )
    assert_short_error(done, frames.name)


def test_ctrl_c_ends_quietly_and_keeps_the_epochs(tmp_path):
    command = [
        sys.executable,
        str(BROKEN),
        "--sample",
        "--epochs",
        "500",
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
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
