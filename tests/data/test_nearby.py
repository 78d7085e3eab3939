"""Why a list or a file was not found: a dead link, upper and lower case, another suffix, another folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from bss.cli.commands import main
from bss.data.datasets import cremad, ks, nvgesture, sarcasm
from bss.data.datasets.data_set import find, read
from bss.data.datasets.nearby import reasons
from bss.utils.errors import DataNotFoundError

NAME = "1001_DFA_ANG_XX"
DISK = "/no/such/disk"


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)


@pytest.fixture
def root(tmp_path):
    """CREMA-D of one clip, whole."""
    root = tmp_path / "data"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "train.csv").write_text(f"{NAME},ANG\n")
    (root / "AudioWAV").mkdir()
    soundfile.write(root / "AudioWAV" / f"{NAME}.wav", np.zeros(100, np.float32), 8000)
    picture(root / "Image-01-FPS" / NAME / "00001.jpg")
    return root


def said(data_set, root):
    """The first line of training's error, with paths below the root."""
    with pytest.raises(DataNotFoundError) as caught:
        find(data_set, root, "train")
    return str(caught.value).split("\n")[0].replace(f"{root}/", "")


def test_a_whole_tree_has_no_reasons(root):
    assert reasons(root, read(cremad.DATA_SET, root, "train")) == {}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("AudioWAV/{}.wav", "AudioWAV/{}.flac", "AudioWAV/{}.flac is there, but nothing of this name"),
        ("AudioWAV/{}.wav", "AudioMP3/{}.mp3", "AudioMP3/{}.mp3 is there, but nothing of this name"),
        (
            "AudioWAV/{}.wav",
            "AudioWAV/{lower}.wav",
            "AudioWAV/{lower}.wav is there: its name differs in upper and lower",
        ),
        (
            "Image-01-FPS/{}",
            "Image-01-FPS/{lower}",
            "Image-01-FPS/{lower} is there: its name differs in upper and lower",
        ),
        ("Image-01-FPS/{}", "frames/{}", "frames/{} is there, but nothing of this name"),
        ("Image-01-FPS/{}", "Image-01-FPS/{}.flv", "Image-01-FPS/{}.flv is there, but nothing of this name"),
    ],
    ids=["flac", "AudioMP3", "wav case", "folder case", "other folder", "folder with suffix"],
)
def test_the_reason_is_named_by_training_and_by_the_doctor(root, capsys, before, after, words):
    names = {"lower": NAME.lower()}
    target = root / after.format(NAME, **names)
    target.parent.mkdir(exist_ok=True)
    (root / before.format(NAME)).rename(target)
    assert words.format(NAME, **names) in said(cremad.DATA_SET, root)
    assert main(["doctor", "cremad", str(root), "--workers", "0"]) == 1
    assert after.format(NAME, **names) in capsys.readouterr().out


@pytest.mark.parametrize("place", ["AudioWAV", "AudioWAV/{}.wav", "Image-01-FPS", "Image-01-FPS/{}", "annotations"])
def test_a_link_into_a_disk_that_is_not_mounted_is_named(root, place, capsys):
    path = root / place.format(NAME)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(DISK)
    expected = f"{place.format(NAME)} is a link to {DISK}, which is not there (is that disk mounted?)"
    assert expected in said(cremad.DATA_SET, root)
    assert main(["doctor", "cremad", str(root), "--workers", "0"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert DISK in printed or "a broken link" in printed


def test_a_root_that_is_such_a_link_is_named(tmp_path):
    (tmp_path / "data").symlink_to(DISK)
    assert f"is a link to {DISK}, which is not there" in said(cremad.DATA_SET, tmp_path / "data")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("annotations/Train.CSV", "annotations/Train.CSV is there: its name differs in upper and lower case"),
        ("train.xlsx", "train.xlsx is there, and has another suffix"),
        ("annotations/train.tsv", "annotations/train.tsv is there, and has another suffix"),
    ],
)
def test_what_may_be_taken_for_a_list_is_named(root, name, words):
    (root / "annotations" / "train.csv").rename(root / name)
    assert words in said(cremad.DATA_SET, root)


def test_a_relative_root_is_as_good(root, monkeypatch):
    monkeypatch.chdir(root.parent)
    (root / "annotations" / "train.csv").unlink()
    assert "no list of the train split under data" in said(cremad.DATA_SET, Path("data"))


def test_of_several_samples_one_with_a_reason_is_shown(root):
    (root / "annotations" / "train.csv").write_text(f"1000_DFA_ANG_XX,ANG\n{NAME},ANG\n")
    (root / "AudioWAV" / f"{NAME}.wav").rename(root / "AudioWAV" / f"{NAME}.mp3")
    assert f"first {NAME} without audio" in said(cremad.DATA_SET, root)


def test_videos_are_no_reason_where_they_are_not_what_is_missing(root):
    (root / "VideoFlash").mkdir()
    (root / "AudioWAV" / f"{NAME}.wav").rename(root / "VideoFlash" / f"{NAME}.flv")
    assert "VideoFlash" not in said(cremad.DATA_SET, root)


def test_pictures_of_posts_in_another_folder_or_case_are_named(tmp_path):
    post = {"image": "images/12.jpg", "text": "tea", "label": 0}
    (tmp_path / "train_data.json").write_text(json.dumps([post]))
    picture(tmp_path / "Images" / "12.jpg")
    assert "Images/12.jpg is there, but nothing of this name" in said(sarcasm.DATA_SET, tmp_path)
    (tmp_path / "images").symlink_to(DISK)
    assert "Images/12.jpg is there" in said(sarcasm.DATA_SET, tmp_path)
    shutil.rmtree(tmp_path / "Images")
    assert f"images is a link to {DISK}" in said(sarcasm.DATA_SET, tmp_path)


def test_ids_of_kinetics_sounds_that_differ_by_case_are_two_videos(tmp_path):
    (tmp_path / "train.csv").write_text("aBcdefghijk_000000_000010,bowling\n")
    (tmp_path / "train_wav").mkdir()
    soundfile.write(tmp_path / "train_wav" / "abcdefghijk_000000_000010.wav", np.zeros(100, np.float32), 8000)
    assert "train_wav/abcdefghijk_000000_000010.wav is there: its name differs" in said(ks.DATA_SET, tmp_path)


def test_folders_of_gestures_are_looked_at_too(tmp_path):
    (tmp_path / "nvgesture_train_correct_v2.lst").write_text(
        "path:./Video_data/class_01/subject3_r0 depth:sk_depth:0:80 color:sk_color:0:80 label:1\n"
    )
    (tmp_path / "Video_data" / "class_01").mkdir(parents=True)
    (tmp_path / "Video_data" / "class_01" / "subject3_r0").symlink_to(DISK)
    assert f"subject3_r0 is a link to {DISK}" in said(nvgesture.DATA_SET, tmp_path)


def test_prepare_names_links_into_a_disk_that_is_not_mounted(tmp_path, capsys):
    (tmp_path / "source").symlink_to(DISK)
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "VideoFlash").symlink_to(DISK)
    for source in ("source", "clone"):
        command = ["prepare", "cremad", "--source", str(tmp_path / source), "--out", str(tmp_path / "out")]
        assert main(command) == 2 and f"is a link to {DISK}, which is not there" in capsys.readouterr().err
    posts = tmp_path / "posts"
    (posts / "annotations").mkdir(parents=True)
    (posts / "annotations" / "train_data.json").write_text(json.dumps([{"image": "1.jpg", "text": "a", "label": 0}]))
    (posts / "images").symlink_to(DISK)
    command = ["prepare", "sarcasm", "--source", str(posts), "--out", str(tmp_path / "out2"), "--workers", "0"]
    assert main(command) == 1 and f"images is a link to {DISK}" in capsys.readouterr().out
