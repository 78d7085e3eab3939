import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
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


def encode(path, codec, seconds=1.0):
    """A sound file of one tone, in a format that FFmpeg writes; PyAV brings that along."""
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(RATE * seconds)) / RATE)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


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


def test_other_rates_are_written_anew_and_what_is_damaged_or_holds_something_else_where_it_is_forced(tmp_path, capsys):
    root = tree(tmp_path, clips=4)
    assert cremad.write_wav_pkl(root, sample_rate=RATE) == []
    assert "4 written, 0 kept, 0 failed" in capsys.readouterr().out
    files = [root / "wav_pkl" / f"{number}.pkl" for number in range(4)]
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-50])
    files[1].write_bytes(pickle.dumps({"waveform": np.zeros(3), "sample_rate": 999}))
    files[2].write_bytes(pickle.dumps([1, 2]))
    before = files[3].stat().st_mtime_ns
    damaged, foreign = cremad.write_wav_pkl(root, sample_rate=RATE)
    assert "1 written, 1 kept, 2 failed" in capsys.readouterr().out
    assert "0.pkl is there already and cannot be read (" in damaged and damaged.endswith("--force replaces it")
    assert "2.pkl is there already and holds a list of something else; it stays as it is" in foreign
    assert pickle.loads(files[2].read_bytes()) == [1, 2] and files[0].read_bytes() == whole[:-50]
    assert cremad.write_wav_pkl(root, sample_rate=RATE, force=True) == []
    assert "2 written, 2 kept, 0 failed" in capsys.readouterr().out
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


# ---- formats that training does not read itself ----


@pytest.fixture
def no_ffmpeg(tmp_path, monkeypatch):
    """No program ffmpeg, wherever the tests run; audioread asks only once which programs there are."""
    from audioread import ffdec

    (tmp_path / "no-programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setattr("audioread.BACKENDS", [])
    assert not ffdec.available()


@pytest.mark.parametrize(("suffix", "codec"), [(".mp3", "libmp3lame"), (".aiff", "pcm_s16be"), (".au", "pcm_s16be")])
def test_what_libsndfile_knows_is_read_without_ffmpeg(tmp_path, no_ffmpeg, recwarn, suffix, codec):
    root = tmp_path / "root"
    (root / "AudioWAV").mkdir(parents=True)
    encode(root / "AudioWAV" / f"a{suffix}", codec)
    assert cremad.write_wav_pkl(root, sample_rate=RATE // 2) == []
    stored = safe_pickle.load(root / "wav_pkl" / "a.pkl")
    waveform = stored["waveform"]
    assert stored["sample_rate"] == RATE // 2 and waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(RATE // 2, rel=0.2)  # a codec adds silence at either end
    assert np.abs(np.fft.rfft(waveform, RATE // 2)).argmax() == 440
    assert not list(recwarn)


def test_what_only_ffmpeg_decodes_says_so_in_one_line_and_the_others_are_written(tmp_path, no_ffmpeg, capsys, recwarn):
    root = tree(tmp_path / "root", clips=1)
    encode(root / "AudioWAV" / "a.m4a", "aac")
    (failure,) = cremad.write_wav_pkl(root, sample_rate=RATE)
    assert "a.m4a: libsndfile cannot decode it, and the program ffmpeg, which librosa asks next, is not" in failure
    assert "1 written, 0 kept, 1 failed" in capsys.readouterr().out
    assert not list(recwarn)  # librosa's own, of audioread


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs the program ffmpeg")
def test_where_ffmpeg_is_it_decodes_the_rest(tmp_path):
    encode(tmp_path / "a.m4a", "aac")
    assert write_waveform_pickle(tmp_path / "a.m4a", tmp_path / "a.pkl", RATE)
    waveform = safe_pickle.load(tmp_path / "a.pkl")["waveform"]
    assert np.abs(np.fft.rfft(waveform, RATE)).argmax() == pytest.approx(440, abs=1)
    (tmp_path / "b.m4a").write_bytes(b"no sound" * 100)
    with pytest.raises(DataError, match="cannot be decoded as audio, not by ffmpeg either"):
        write_waveform_pickle(tmp_path / "b.m4a", tmp_path / "b.pkl", RATE)


def test_of_a_clip_with_several_files_the_one_that_training_reads_is_taken(tmp_path):
    root = tree(tmp_path, clips=1)
    encode(root / "AudioWAV" / "0.mp3", "libmp3lame")
    (root / "AudioWAV" / "0.txt").write_text("no sound")
    assert cremad.write_wav_pkl(root, sample_rate=RATE) == []
    assert len(safe_pickle.load(root / "wav_pkl" / "0.pkl")["waveform"]) == 200


def test_other_files_that_cannot_be_used_are_named(tmp_path, monkeypatch):
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "page.mp3").write_bytes(b"<html>" * 1000)
    for name, reason in [
        ("none", "cannot be read"),
        ("empty", "an empty file"),
        ("page", "cannot decode it|decoded as"),
    ]:
        with pytest.raises(DataError, match=rf"{name}\.mp3: .*({reason})"):
            write_waveform_pickle(tmp_path / f"{name}.mp3", tmp_path / "a.pkl", RATE)
    monkeypatch.setattr(cremad, "LONGEST", 0.5)
    with pytest.raises(DataError, match="lasts longer than 0\\.5 s"):
        write_waveform_pickle(encode(tmp_path / "long.mp3", "libmp3lame"), tmp_path / "a.pkl", RATE)


def test_other_formats_are_mixed_as_wavs_are(tmp_path):
    left = 0.5 * np.sin(np.arange(8000) / 5)
    soundfile.write(tmp_path / "clip.aiff", np.stack([left, -left], axis=1), 8000)
    assert np.abs(cremad.read_other(tmp_path / "clip.aiff", 8000)).max() == pytest.approx(0.5, abs=1e-3)
