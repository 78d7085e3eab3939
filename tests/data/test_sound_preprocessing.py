import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bss.data import safe_pickle
from bss.data.prepare import cremad
from bss.data.prepare.cremad import write_waveform_pickle
from bss.data.transforms.audio import read_waveform
from bss.utils.errors import DataError, DataNotFoundError, RecipeError

REPOSITORY = Path(__file__).parents[2]
SCRIPT = REPOSITORY / "CREMAD" / "sound_preprocessing.py"
RATE = 8000


def tree(root, clips=3):
    (root / "AudioWAV").mkdir(parents=True)
    for number in range(clips):
        samples = 0.3 * np.random.default_rng(number).standard_normal(200)
        soundfile.write(root / "AudioWAV" / f"{number}.wav", samples, RATE)
    return root


def start(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_the_script_writes_what_the_loader_reads_and_reports_what_failed(tmp_path):
    root = tree(tmp_path)
    (root / "AudioWAV" / "bad.wav").write_bytes(b"<html>")
    process = start("--data-root", root, "--sample-rate", RATE, "--workers", 2)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "3 written, 0 kept, 1 failed" in out and "bad.wav: not a wav file" in out
    assert "Traceback" not in err
    assert sorted(os.listdir(root / "wav_pkl")) == ["0.pkl", "1.pkl", "2.pkl"]
    stored = safe_pickle.load(root / "wav_pkl" / "1.pkl")
    assert stored["sample_rate"] == RATE and stored["waveform"].dtype == np.float32
    assert np.array_equal(stored["waveform"], read_waveform(root / "AudioWAV" / "1.wav", RATE))


def test_ctrl_c_ends_it_with_one_line_and_130_and_leaves_whole_files_only(tmp_path):
    root = tree(tmp_path, clips=1)
    for number in range(1, 1500):
        os.link(root / "AudioWAV" / "0.wav", root / "AudioWAV" / f"{number}.wav")
    process = start("--data-root", root, "--sample-rate", RATE, "--workers", 1, start_new_session=True)
    deadline = time.monotonic() + 30
    while not list((root / "wav_pkl").glob("*.pkl")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does: the workers get it too
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "stopped; run it again" in err and "Traceback" not in err
    written = list((root / "wav_pkl").iterdir())
    assert 0 < len(written) < 1500
    assert all(safe_pickle.load(path)["sample_rate"] == RATE for path in written)


def test_whole_files_are_kept_and_damaged_ones_and_other_rates_written_anew(tmp_path, capsys):
    root = tree(tmp_path, clips=4)
    assert cremad.write_wav_pkl(root, sample_rate=RATE) == []
    assert "4 written, 0 kept, 0 failed" in capsys.readouterr().out
    files = [root / "wav_pkl" / f"{number}.pkl" for number in range(4)]
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-50])
    files[1].write_bytes(pickle.dumps({"waveform": np.zeros(3), "sample_rate": 999}))
    files[2].write_bytes(pickle.dumps([1, 2]))
    before = files[3].stat().st_mtime_ns
    assert cremad.write_wav_pkl(root, sample_rate=RATE) == []
    assert "3 written, 1 kept, 0 failed" in capsys.readouterr().out
    assert files[0].read_bytes() == whole and files[3].stat().st_mtime_ns == before


def test_a_failed_write_leaves_no_file(tmp_path, monkeypatch):
    root = tree(tmp_path, clips=1)

    def full(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_waveform_pickle(root / "AudioWAV" / "0.wav", root / "0.pkl", RATE)
    assert os.listdir(root) == ["AudioWAV"]


def test_a_long_list_of_failures_is_cut(tmp_path, capsys):
    root = tree(tmp_path, clips=1)
    for number in range(25):
        (root / "AudioWAV" / f"bad{number}.wav").write_bytes(b"")
    assert len(cremad.write_wav_pkl(root, sample_rate=RATE)) == 25
    out = capsys.readouterr().out
    assert "1 written, 0 kept, 25 failed" in out and out.count("an empty file") == 20 and "... and 5 more" in out


def test_a_root_without_sounds_is_one_line_and_status_1(tmp_path):
    process = start("--data-root", tmp_path)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err.startswith("error: no wav files in ") and "README.md" in err
    assert err.count("\n") == 1 and out == ""
    with pytest.raises(DataNotFoundError, match="no wav files"):
        cremad.write_wav_pkl(tmp_path)


def test_settings_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="--sample-rate must be above 0"):
        cremad.write_wav_pkl(tmp_path, sample_rate=0)
    with pytest.raises(RecipeError, match="--workers must be at least 0"):
        cremad.write_wav_pkl(tmp_path, workers=-1)
    with pytest.raises(DataError, match="cannot be read"):
        write_waveform_pickle(tmp_path / "none.wav", tmp_path / "none.pkl", RATE)
