import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from bss.cli import commands
from bss.data.datasets import cremad, ks, sarcasm, twitter15
from bss.data.datasets.data_set import find, read
from bss.data.prepare import jobs
from bss.data.prepare.ks import matching, segment, target_names
from bss.data.transforms.image import read_frame
from bss.utils import filesystem
from bss.utils.errors import DataError, DataNotFoundError
from bss.utils.processes import default_workers
from tests import fake_windows
from tests.data.videos import grey, tone, write_video

REPOSITORY = Path(__file__).parents[2]
SHARED = Path(__file__).parents[3] / "shared" / "data"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def prepare(stem, source, out, *, workers=0):
    """Exit status of the command."""
    return commands.main(["prepare", stem, "--source", str(source), "--out", str(out), "--workers", str(workers)])


def tree(root):
    """Relative path -> content of every file."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


# ---- CREMA-D -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def names_for_every_system(tmp_path):
    """What is prepared can be copied to Windows."""
    yield
    assert not fake_windows.impossible_names(tmp_path)


@pytest.fixture
def clone(tmp_path):
    """Three clips as in the authors' repository, the third without a wav, and OGM-GE's lists beside them."""
    root = tmp_path / "CREMA-D"
    for folder in ("VideoFlash", "AudioWAV"):
        (root / folder).mkdir(parents=True)
    for number, name in enumerate(("1001_IEO_ANG_XX", "1002_IEO_SAD_XX", "1003_IEO_NEU_XX")):
        pictures = grey(range(40 * number, 40 * number + 25))
        write_video(root / "VideoFlash" / f"{name}.flv", pictures, sound=tone(2.5, 11025), rate=11025)
        if number < 2:
            soundfile.write(root / "AudioWAV" / f"{name}.wav", tone(2.5, 16000)[0], 16000)
    (root / "train.csv").write_text("1001_IEO_ANG_XX,ANG\n1002_IEO_SAD_XX,SAD\n")
    (root / "test.csv").write_text("1003_IEO_NEU_XX,NEU\n")
    return root


def test_cremad_becomes_what_training_reads(clone, tmp_path, capsys):
    out = tmp_path / "out"
    (clone / cremad.DEMOGRAPHICS).write_text("ActorID,Age,Sex\n")
    assert prepare("cremad", clone, out) == 0
    assert (out / cremad.DEMOGRAPHICS).read_text() == "ActorID,Age,Sex\n"
    train, dropped = find(cremad.DATA_SET, out, "train")
    (test,), _ = find(cremad.DATA_SET, out, "test")
    assert [clip.name for clip in train] == ["1001_IEO_ANG_XX", "1002_IEO_SAD_XX"] and not dropped
    assert [len(clip.frames) for clip in (*train, test)] == [3, 3, 3]
    assert read_frame(train[1].frames[2]).float().mean() == pytest.approx(60, abs=4)
    assert train[0].audio.read_bytes() == (clone / "AudioWAV" / "1001_IEO_ANG_XX.wav").read_bytes()
    assert soundfile.info(test.audio).samplerate == 11025  # taken from the video
    assert (out / "annotations" / "train.csv").read_bytes() == (clone / "train.csv").read_bytes()
    printed = capsys.readouterr().out
    assert "Image-01-FPS: 3 written, 0 kept, 0 failed" in printed and "AudioWAV: 3 written" in printed
    before = tree(out)
    assert prepare("cremad", clone, out) == 0
    printed = capsys.readouterr().out
    assert "Image-01-FPS: 0 written, 3 kept, 0 failed" in printed and "train.csv: 2 rows, kept" in printed
    assert tree(out) == before


def test_cremad_can_be_prepared_inside_the_clone(clone):
    before = tree(clone)
    (clone / "annotations").mkdir()
    (clone / "train.csv").rename(clone / "annotations" / "train.csv")
    (clone / "annotations" / "train.csv").write_text("name,label\n1001_IEO_ANG_XX,ang\n1002_IEO_SAD_XX,sad\n")
    assert prepare("cremad", clone, clone) == 0
    after = tree(clone)
    assert before.items() - {("train.csv", before["train.csv"])} <= after.items()
    assert after["annotations/train.csv"].startswith(b"name,label")
    assert len(find(cremad.DATA_SET, clone, "train")[0]) == 2


def test_cremad_without_lists_still_makes_the_media_and_says_what_is_missing(clone, tmp_path, capsys):
    (clone / "test.csv").unlink()
    out = tmp_path / "out"
    assert prepare("cremad", clone, out) == 1
    printed = capsys.readouterr().out
    assert f"no list of the test split in {clone} or {out}" in printed
    assert "Image-01-FPS: 3 written" in printed and printed.splitlines()[-1].startswith("1 failures, listed above")
    (out / "annotations" / "test.csv").write_text("1003_IEO_NEU_XX,NEU\n")
    assert prepare("cremad", clone, out) == 0


def test_cremad_names_clips_that_are_absent_damaged_or_pointers_and_makes_the_rest(clone, tmp_path, capsys):
    (clone / "VideoFlash" / "1001_IEO_ANG_XX.flv").write_bytes(LFS)
    (clone / "AudioWAV" / "1002_IEO_SAD_XX.wav").write_bytes(LFS)
    (clone / "test.csv").write_text("1003_IEO_NEU_XX,NEU\n1004_IEO_NEU_XX,NEU\n")
    (clone / "VideoFlash" / "1000_IEO_NEU_XX.flv").mkdir()  # the first that is looked at
    out = tmp_path / "out"
    assert prepare("cremad", clone, out, workers=2) == 1
    printed = capsys.readouterr().out
    assert "1001_IEO_ANG_XX.flv: a Git-LFS pointer" in printed and "1002_IEO_SAD_XX.wav: a Git-LFS pointer" in printed
    assert f"1004_IEO_NEU_XX: no video in {clone / 'VideoFlash'} ({clone / 'test.csv'} line 2)" in printed
    assert "1004_IEO_NEU_XX: neither a wav nor a video" in printed
    assert "1000_IEO_NEU_XX.flv: cannot be read: " in printed
    assert "Image-01-FPS: 2 written, 0 kept, 3 failed" in printed and "AudioWAV: 2 written, 0 kept, 3 failed" in printed


def test_a_clone_made_without_git_lfs_and_one_without_videos_are_refused_at_once(clone, tmp_path, capsys):
    for video in (clone / "VideoFlash").iterdir():
        video.write_bytes(LFS)
    assert prepare("cremad", clone, tmp_path / "out") == 2
    assert "git lfs pull" in capsys.readouterr().err
    shutil.rmtree(clone / "VideoFlash")
    assert prepare("cremad", clone, tmp_path / "out") == 2
    assert "no videos in" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_a_bad_row_of_a_list_is_wrong_input(clone, tmp_path, capsys):
    (clone / "train.csv").write_text("1001_IEO_ANG_XX,ANGRY\n")
    assert prepare("cremad", clone, tmp_path / "out") == 2
    assert "train.csv line 1: unknown label 'ANGRY'" in capsys.readouterr().err


def test_a_list_that_is_there_and_says_something_else_is_not_replaced(clone, tmp_path, capsys):
    mine = tmp_path / "out" / "annotations" / "train.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("1001_IEO_ANG_XX,ANG\n")
    assert prepare("cremad", clone, tmp_path / "out") == 2
    assert "differs from what" in capsys.readouterr().err and mine.read_text() == "1001_IEO_ANG_XX,ANG\n"


# ---- Kinetics-Sounds -----------------------------------------------------------------------------------------------

ANY_ID = "--4-0ihtnBU"


def test_a_name_is_parsed_by_the_eleven_characters_of_a_youtube_id():
    assert segment("--4-0ihtnBU_000058_000068") == ("--4-0ihtnBU", 58)
    assert segment("-3Mwkq-7TV4_2") == ("-3Mwkq-7TV4", 2)
    assert segment("0d6mInnyN_0_3") == ("0d6mInnyN_0", 3)  # the id itself ends in _0
    assert segment("abc_12_3456") == ("abc_12_3456", None)  # eleven characters: a bare id
    assert segment("sample_train_00_000") == ("sample_train_00_000", None)


def test_files_are_named_by_youtube_id_but_for_several_clips_of_one_video():
    names = ["--4-0ihtnBU_000058_000068", "-3Mwkq-7TV4_000000_000010", "-3Mwkq-7TV4_000020_000030", "odd name"]
    assert target_names(names) == {
        names[0]: "--4-0ihtnBU",
        names[1]: names[1],
        names[2]: names[2],
        "odd name": "odd name",
    }


def test_a_clip_is_the_file_of_its_name_or_one_that_starts_where_it_starts_or_does_not_say():
    bare, first, second = (Path(f"{ANY_ID}{rest}.mp4") for rest in ("", "_000003_000013", "_000058_000068"))
    assert matching(f"{ANY_ID}_58", [first, second]) == [second]
    assert matching(f"{ANY_ID}_58", [bare, first]) == [bare]
    assert matching(f"{ANY_ID}_58", [first]) == []
    assert matching(f"{ANY_ID}_58", [bare, second]) == [bare, second]
    assert matching(f"{ANY_ID}_000058_000068", [bare, second]) == [second]
    assert matching(ANY_ID, [first, second]) == [first, second]


@pytest.fixture
def crawl(tmp_path):
    """Four videos in two folders, and OGM-GE's lists of five clips."""
    root = tmp_path / "crawl"
    names = ("a/--4-0ihtnBU_000058_000068.mkv", "b/-3Mwkq-7TV4.mp4", "b/0d6mInnyN_0_000003_000013.avi", "b/other.mp4")
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        pictures = grey(range(60 * number, 60 * number + 25))
        write_video(root / name, pictures, sound=tone(2.5, 8000), rate=8000)
    (root / "my_train.txt").write_text(
        "--4-0ihtnBU_000058_000068,10,4\n--6q_33gNew_000132_000142,10,27\n0d6mInnyN_0_3,10,12\n"
    )
    (root / "my_test.txt").write_text("-3Mwkq-7TV4_2,10,23\nbbbbbbbbbbb_0,10,0\n")
    return root


def test_ks_becomes_what_training_reads_and_absent_videos_are_named(crawl, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare("ks", crawl, out) == 1
    printed = capsys.readouterr().out
    assert "train: 2 of 3 videos found" in printed and "test: 1 of 2 videos found" in printed
    assert f"--6q_33gNew_000132_000142: no video of it in {crawl} ({crawl}/my_train.txt line 2)" in printed
    assert printed.splitlines()[-1].startswith("2 failures, listed above")
    assert (out / "annotations" / "train.csv").read_text() == (
        "youtube_id,label\n--4-0ihtnBU,dribbling basketball\n--6q_33gNew,tap dancing\n0d6mInnyN_0,playing guitar\n"
    )
    train, dropped = find(ks.DATA_SET, out, "train", missing="drop")
    assert [clip.name for clip in train] == ["--4-0ihtnBU", "0d6mInnyN_0"] and dropped == ["--6q_33gNew"]
    assert train[1].label == 12 and [len(clip.frames) for clip in train] == [3, 3]
    assert read_frame(train[1].frames[0]).float().mean() == pytest.approx(120, abs=3)
    assert {soundfile.info(clip.audio).samplerate for clip in train} == {35400}
    assert soundfile.info(train[0].audio).duration == pytest.approx(2.5, abs=0.001)
    before = tree(out)
    (crawl / "my_train.txt").rename(out / "my_train.txt")  # lists may as well lie in the data root
    assert prepare("ks", crawl, out) == 1
    printed = capsys.readouterr().out
    assert "train_wav: 0 written, 2 kept, 0 failed" in printed and "Image-01-FPS: 0 written, 2 kept" in printed
    (out / "my_train.txt").unlink()
    assert tree(out) == before


def test_ks_names_files_that_are_ambiguous_of_another_second_uncut_or_damaged(crawl, tmp_path, capsys):
    folder = crawl / "b"
    write_video(folder / "-3Mwkq-7TV4_000002_000012.mkv", grey([0]), sound=tone(1, 8000), rate=8000)
    (folder / "0d6mInnyN_0_000003_000013.avi").rename(folder / "0d6mInnyN_0_000004_000014.avi")
    write_video(crawl / "a" / "--6q_33gNew.mp4", grey([0] * 25), fps=1, sound=tone(25, 8000), rate=8000)
    shutil.copy(crawl / "a" / "--6q_33gNew.mp4", folder / "bbbbbbbbbbb.mp4")
    (folder / "bbbbbbbbbbb.mp4").write_bytes(b"<html>")
    other = crawl / "a" / "--4-0ihtnBU_000058_000068.mkv"
    other.write_bytes(other.read_bytes().replace(b"V_MJPEG", b"V_ZJPEG"))
    assert prepare("ks", crawl, tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert "0d6mInnyN_0_3: no video of it: b/0d6mInnyN_0_000004_000014.avi begins at another second" in printed
    assert "-3Mwkq-7TV4_2: 2 videos can be it, b/-3Mwkq-7TV4.mp4 and b/-3Mwkq-7TV4_000002_000012.mkv" in printed
    assert "--6q_33gNew.mp4: lasts 25.0 s, but a clip of this data set lasts 20 s at most" in printed
    assert "bbbbbbbbbbb.mp4: no video, but an HTML page" in printed
    assert "--4-0ihtnBU_000058_000068.mkv: its pictures are coded as V_ZJPEG, which FFmpeg has no decoder" in printed
    assert "train_wav: 1 written, 0 kept, 1 failed" in printed  # the others go on


def test_ks_without_lists_or_videos_is_wrong_input(crawl, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert prepare("ks", empty, tmp_path / "out") == 2
    assert "no lists in" in capsys.readouterr().err
    shutil.copy(crawl / "my_train.txt", empty)
    assert prepare("ks", empty, tmp_path / "out") == 2
    assert "no videos in" in capsys.readouterr().err


# ---- texts and pictures --------------------------------------------------------------------------------------------


def jpeg(path, level):
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(path)


@pytest.fixture
def tweets(tmp_path):
    """Sarcasm's original files: of four training rows two give the answer away."""
    root = tmp_path / "sarcasm-raw"
    rows = {
        "train": [
            ["11", "what a day", 1],
            ["12", "pure irony", 1],
            ["13", "it 's a joke", 0],
            ["14", "a caf\u00e9 \U0001f600 ?", 0],
        ],
        "valid2": [["21", "so great", 1, 0]],
        "test2": [["31", "oh sure", 0, 1], ["32", "!!!", 0, 0]],
    }
    for name, lines in rows.items():
        (root / "text_data").mkdir(parents=True, exist_ok=True)
        (root / "text_data" / f"{name}.txt").write_text("".join(f"{line!r}\n" for line in lines), encoding="utf-8")
        for line in lines:
            jpeg(root / "dataset_image" / f"{line[0]}.jpg", int(line[0]))
    return root


def test_sarcasm_becomes_the_released_json_and_the_filter_says_what_it_leaves_out(tweets, tmp_path, capsys):
    out = tmp_path / "out"
    assert prepare("sarcasm", tweets, out) == 0
    printed = capsys.readouterr().out
    assert "train.txt: 2 of 4 rows left out by the word filter" in printed
    assert json.loads((out / "annotations" / "train_data.json").read_text(encoding="utf-8")) == [
        {"image": "images/11.jpg", "text": "what a day", "label": 1},
        {"image": "images/14.jpg", "text": "a caf\u00e9 \U0001f600 ?", "label": 0},
    ]
    for split in sarcasm.DATA_SET.splits:
        made, _ = find(sarcasm.DATA_SET, out, split)
        raw, _ = find(sarcasm.DATA_SET, tweets, split)
        assert [(p.name, p.label, p.text) for p in made] == [(p.name, p.label, p.text) for p in raw]
        assert all(p.path.parent == out / "images" for p in made)
    assert [p.label for p in made] == [1, 0]  # the human label, not the hashtag's
    assert sorted(os.listdir(out / "images")) == ["11.jpg", "14.jpg", "21.jpg", "31.jpg", "32.jpg"]
    assert prepare("sarcasm", tweets, out) == 0
    assert "images: 0 written, 5 kept, 0 failed" in capsys.readouterr().out


def test_posts_without_a_picture_or_with_a_damaged_one_are_named(tweets, tmp_path, capsys):
    (tweets / "dataset_image" / "11.jpg").unlink()
    (tweets / "dataset_image" / "31.jpg").write_bytes(b"<html>")
    assert prepare("sarcasm", tweets, tmp_path / "out") == 1
    printed = capsys.readouterr().out
    assert f"11.jpg: no such picture ({tweets}/text_data/train.txt line 1)" in printed
    assert "31.jpg: an HTML page, not a picture" in printed and "images: 3 written, 0 kept, 2 failed" in printed
    jpeg(tmp_path / "out" / "images" / "11.jpg", 0)  # found elsewhere and put into place by hand
    jpeg(tweets / "dataset_image" / "31.jpg", 0)
    assert prepare("sarcasm", tweets, tmp_path / "out") == 0


def test_twitter15_gets_the_released_columns_from_files_with_toms_headers(tmp_path, capsys):
    root, out = tmp_path / "raw", tmp_path / "out"
    (root / "twitter2015").mkdir(parents=True)
    header, test_header = "index\t#1 Label\t#2 ImageID\t#3 String\t#3 String", "index\t#1 ImageID\t#2 String\t#2 String"
    rows = ['1\t2\t1.jpg\tRT @ a : $T$ said "hi\tChuck Bass', "2\t0\t1.jpg\tRT @ a : Chuck Bass and $T$\t# MCM"]
    (root / "twitter2015" / "train.tsv").write_text("\n".join([header, *rows]) + "\n")
    (root / "twitter2015" / "test.tsv").write_text(f"{test_header}\n1\t1\t2.jpg\tgo $T$ !\tLydia\n")
    (root / "twitter2015" / "dev.txt").write_text("a\t$T$ b\nTyga\n-1\n3.jpg\n")
    for number in (1, 2, 3):
        jpeg(root / "twitter2015_images" / f"{number}.jpg", number)
    assert prepare("twitter15", root, out) == 0
    assert (out / "annotations" / "train.tsv").read_text() == (
        "index\tLabel\tImageID\tString\tTarget\n"
        '1\t2\t1.jpg\tRT @ a : $T$ said "hi\tChuck Bass\n2\t0\t1.jpg\tRT @ a : Chuck Bass and $T$\t# MCM\n'
    )
    assert (out / "annotations" / "dev.tsv").read_text().splitlines()[1] == "1\t0\t3.jpg\ta $T$ b\tTyga"
    for split in ("train", "test"):
        made, _ = find(twitter15.DATA_SET, out, split)
        raw = read(twitter15.DATA_SET, root / "twitter2015", split)
        assert [(p.name, p.label, p.text, p.target) for p in made] == [(p.name, p.label, p.text, p.target) for p in raw]
    assert "twitter2015_images: 3 written, 0 kept, 0 failed" in capsys.readouterr().out


def test_lists_of_posts_that_are_nowhere_are_wrong_input_and_one_missing_list_a_failure(tweets, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for stem in ("sarcasm", "twitter15"):
        assert prepare(stem, empty, tmp_path / stem) == 2
        assert "no lists in" in capsys.readouterr().err
    (tweets / "text_data" / "valid2.txt").unlink()
    assert prepare("sarcasm", tweets, tmp_path / "out") == 1
    assert "no list of the val split" in capsys.readouterr().out


@pytest.mark.skipif(not (SHARED / "sarcasm").is_dir(), reason="the real lists are not here")
def test_real_lists_come_out_with_the_published_sizes(tmp_path, capsys):
    (tmp_path / "sarcasm").mkdir()
    for name in ("valid2.txt", "test2.txt"):
        shutil.copy(SHARED / "sarcasm" / name, tmp_path / "sarcasm")
    assert prepare("sarcasm", tmp_path / "sarcasm", tmp_path / "out") == 1  # no pictures, no training list
    for split, released in (("val", "val_data.json"), ("test", "test_data.json")):
        made = read(sarcasm.DATA_SET, tmp_path / "out", split)
        assert (len(made),) == sarcasm.DATA_SET.published[split]
        theirs = sarcasm.read_list(SHARED / "sarcasm" / released)
        assert [(p.name, p.label) for p in made] == [(p.name, p.label) for p in theirs]
    assert prepare("twitter15", SHARED / "twitter15", tmp_path / "twitter") == 1
    for split, (size,) in twitter15.DATA_SET.published.items():
        made = read(twitter15.DATA_SET, tmp_path / "twitter", split)
        raw = read(twitter15.DATA_SET, SHARED / "twitter15", split)
        assert len(made) == size
        assert [(p.name, p.label, p.text, p.target) for p in made] == [(p.name, p.label, p.text, p.target) for p in raw]


# ---- killed and resumed --------------------------------------------------------------------------------------------


def test_a_killed_run_leaves_whole_files_only_and_goes_on_where_it_stopped(tmp_path, capsys):
    source, out, reference = tmp_path / "raw", tmp_path / "out", tmp_path / "reference"
    source.mkdir()
    names = [f"clip{number:07d}" for number in range(60)]
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(25)]
    first = write_video(source / f"{names[0]}.mkv", pictures, sound=tone(2.5, 16000), rate=16000)
    for name in names[1:]:
        os.link(first, source / f"{name}.mkv")
    (source / "train.csv").write_text("".join(f"{name},{i % 31}\n" for i, name in enumerate(names)))
    (source / "test.csv").write_text(f"{names[0]},0\n")
    command = [
        sys.executable,
        "-m",
        "bss",
        "prepare",
        "ks",
        "--source",
        str(source),
        "--out",
        str(out),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    frames = out / "train_img" / "Image-01-FPS"
    deadline = time.monotonic() + 60
    while not frames.is_dir() or sum(not name.startswith(".") for name in os.listdir(frames)) < 5:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.kill()  # SIGKILL: nothing can be tidied up
    process.communicate(timeout=30)
    deadline = time.monotonic() + 10
    while True:  # the worker processes must not outlive it
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < deadline, "worker processes are still there"
        time.sleep(0.01)
    half = {path: content for path, content in tree(out).items() if "/." not in path}
    finished = sum(not name.startswith(".") for name in os.listdir(frames))
    assert 5 <= finished < 60

    assert prepare("ks", source, out, workers=2) == 0
    assert f"train_img/Image-01-FPS: {60 - finished} written, {finished} kept, 0 failed" in capsys.readouterr().out
    assert prepare("ks", source, reference, workers=2) == 0
    whole = tree(reference)
    assert half.items() < whole.items()  # whatever had its name before the resumption was whole
    assert {path: content for path, content in tree(out).items() if "/." not in path} == whole


def test_what_a_killed_run_left_behind_is_swept_up_when_it_is_old(tmp_path):
    def begin(context):
        path = context.__enter__()
        (path / "00001.jpg" if path.is_dir() else path).write_bytes(b"half")
        return path

    contexts = [filesystem.whole_folder(tmp_path / "clip"), filesystem.whole_file(tmp_path / "clip.wav")]
    left = [begin(context) for context in contexts]
    others = [tmp_path / name for name in (".hidden", "clip.tmp", ".DS_Store", "..tmp")]
    for path in others:
        path.write_bytes(b"mine")
    filesystem.sweep(tmp_path)
    assert all(path.exists() for path in left)  # perhaps another run is at it
    for path in (*left, *others):
        os.utime(path, (1, 1))
    filesystem.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in others)
    filesystem.sweep(tmp_path / "none")


# ---- jobs ----------------------------------------------------------------------------------------------------------


def doubtful(job):
    """A job function that does what its job says."""
    if isinstance(job, str):
        raise DataError(job)
    if job == 0:
        raise ZeroDivisionError("a bug")
    if isinstance(job, jobs.LinkJob):
        raise OSError(28, "No space left on device")
    return job > 1


@pytest.mark.parametrize("workers", [0, 2])
def test_jobs_are_counted_and_their_failures_sorted(workers):
    summary = jobs.run(doubtful, [1, "b", 2, 3, "a"], workers=workers, label="test")
    assert summary == (2, 1, ["a", "b"], [])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bug_in_a_job_says_which_one_it_was_and_a_full_disk_is_a_failure_of_the_target(workers):
    with pytest.raises(ZeroDivisionError) as caught:
        jobs.run(doubtful, [0], workers=workers, label="test")
    assert caught.value.__notes__ == ["while working on 0"]
    work = [jobs.LinkJob(Path("from"), Path("to"))]
    assert jobs.run(doubtful, work, workers=workers, label="test").failures == [
        "to cannot be written: No space left on device"
    ]


def dying(job):
    if job == "deadly":
        os.kill(os.getpid(), signal.SIGKILL)
    return True


def test_a_job_that_takes_its_process_down_is_a_failure_that_says_what_to_do_and_the_others_go_on():
    summary = jobs.run(dying, ["deadly", *range(20)], workers=2, label="test")
    assert (summary.written, summary.kept) == (20, 0)
    (failure,) = summary.failures
    assert failure.startswith("deadly: its process died") and "fewer --workers" in failure


@pytest.mark.parametrize("workers", [0, 2])
def test_jobs_are_taken_from_a_generator_as_they_are_worked_on(workers):
    taken = []

    def endless():
        for job in range(1000):
            taken.append(job)
            yield -job if job < 500 else str(job)

    summary = jobs.run(doubtful_sign, endless(), workers=workers, label="test")
    assert summary[:2] == (499, 1) and len(summary.failures) == 500 and len(taken) == 1000


def doubtful_sign(job):
    if isinstance(job, str):
        raise DataError(job)
    return job < 0


def test_files_are_linked_once_and_copied_where_that_is_impossible(tmp_path, monkeypatch):
    source = tmp_path / "a.wav"
    soundfile.write(source, np.zeros(100), 8000)
    job = jobs.LinkJob(source, tmp_path / "out" / "a.wav")
    assert [jobs.take_over(job), jobs.take_over(job)] == [True, False] and job.target.samefile(source)
    job.target.unlink()

    def refuse(*arguments):
        raise OSError("another file system")

    monkeypatch.setattr(os, "link", refuse)
    assert jobs.take_over(job) is True and not job.target.samefile(source)
    assert job.target.read_bytes() == source.read_bytes() and os.listdir(job.target.parent) == ["a.wav"]
    source.write_bytes(LFS)
    with pytest.raises(DataError, match=r"a.wav: a Git-LFS pointer"):
        jobs.take_over(job)


def test_another_file_of_the_name_stays_unless_it_holds_nothing_or_is_forced(tmp_path):
    source, target = tmp_path / "a.wav", tmp_path / "out" / "a.wav"
    soundfile.write(source, np.zeros(100), 8000)
    target.parent.mkdir()
    for nothing in (b"", LFS):
        target.write_bytes(nothing)
        assert jobs.take_over(jobs.LinkJob(source, target)) is True
        target.unlink()
    target.write_bytes(b"mine")
    summary = jobs.run(jobs.take_over, [jobs.LinkJob(source, target)], workers=0, label="test")
    (failure,) = summary.failures
    assert "has another size than" in failure and failure.endswith("it stays as it is, and --force replaces it")
    assert target.read_bytes() == b"mine"
    assert jobs.take_over(jobs.LinkJob(source, target, force=True)) is True and target.samefile(source)


def named(job):
    return f"{job}.npy: float32"


def test_what_others_made_counts_as_kept_and_is_named():
    summary = jobs.run(named, ["b", "a"], workers=0, label="test")
    assert summary == (0, 2, [], ["a.npy: float32", "b.npy: float32"])
    assert summary.report("flow").splitlines() == [
        "flow: 0 written, 2 kept, 0 failed",
        "2 of those kept were not made here (--force replaces them):",
        "  a.npy: float32",
        "  b.npy: float32",
    ]


# ---- command line --------------------------------------------------------------------------------------------------


def test_stems_are_the_modules_that_both_packages_have():
    folders = [REPOSITORY / "bss" / "data" / package for package in ("prepare", "datasets")]
    assert set(commands.STEMS) == set.intersection(*({p.stem for p in f.glob("[a-z]*.py")} for f in folders))
    assert {"cremad", "ks", "sarcasm", "twitter15"} <= set(commands.STEMS)


@pytest.mark.parametrize("stem", commands.STEMS)
def test_every_preparation_keeps_the_contract(stem, tmp_path, capsys):
    module = commands._module(stem)
    assert module.DESCRIPTION and module.DESCRIPTION == module.DESCRIPTION.strip()
    empty, out = tmp_path / "empty", tmp_path / "out"
    empty.mkdir()
    assert prepare(stem, empty, out) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(empty) in error


def test_help_tells_what_every_source_must_hold(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as caught:
        commands.main(["prepare", "--help"])
    printed = capsys.readouterr().out
    assert caught.value.code == 0 and max(map(len, printed.splitlines())) <= 110
    assert all(f"{stem}: " in printed for stem in commands.STEMS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["prepare", "imagenet", "--source", ".", "--out", "x"], "'cremad', 'ks'"),
        (["prepare", "ks", "--out", "x"], "--source"),
        (["doctor", "imagenet", "."], "'cremad', 'ks'"),
    ],
)
def test_a_wrong_command_is_argparses_error(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main(arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_folders_and_numbers_that_cannot_be_are_refused(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    assert prepare("ks", tmp_path / "none", tmp_path / "out") == 2 and prepare("ks", file, tmp_path / "out") == 2
    assert capsys.readouterr().err.count("is not a folder") == 2
    assert prepare("ks", tmp_path, file) == 2 and "cannot be made" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        prepare("ks", tmp_path, tmp_path / "out", workers=-1)
    error = capsys.readouterr().err
    assert error.startswith("error: argument --workers: must be at least 0, got -1\n") and error.count("\n") == 2


def test_ctrl_c_is_one_line_and_130(tmp_path, capsys, monkeypatch):
    def interrupted(source, out, *, workers, force):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "_module", lambda stem: SimpleNamespace(prepare=interrupted))
    assert prepare("ks", tmp_path, tmp_path / "out") == 130
    assert capsys.readouterr().err == "stopped; run it again to go on where it stopped\n"


def test_the_doctor_gets_its_arguments_and_its_status_is_handed_on(tmp_path, capsys, monkeypatch):
    from bss.data import doctor

    seen = []
    finding = doctor.Finding("list-missing", "error", "no list")

    def examined(data_set, root, *, workers):
        seen.append((data_set, root, workers))
        return doctor.Tree(data_set, root), [finding]

    monkeypatch.setattr(doctor, "examine", examined)
    assert commands.main(["doctor", "ks", str(tmp_path), "--json", "--workers", "3"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["stem"] == "ks" and [found["check"] for found in report["findings"]] == ["list-missing"]
    assert commands.main(["doctor", "ks", str(tmp_path)]) == 1
    assert "error    no list" in capsys.readouterr().out
    finding = doctor.Finding("files-decoded", "ok", "1 file")
    assert commands.main(["doctor", "cremad", str(tmp_path), "--workers", "0"]) == 0
    assert capsys.readouterr().out.endswith("Ready to train: no errors, no warnings.\n")
    assert seen == [
        (ks.DATA_SET, tmp_path, 3),
        (ks.DATA_SET, tmp_path, default_workers()),
        (cremad.DATA_SET, tmp_path, 0),
    ]

    def refused(*arguments, **options):
        raise DataNotFoundError("nothing there")

    monkeypatch.setattr(doctor, "examine", refused)
    assert commands.main(["doctor", "ks", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: nothing there\n"
