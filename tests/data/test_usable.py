"""Files that cannot be opened: found once, left out or replaced, and the same at every look."""

import json
import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from bss.data import usable
from bss.data.datasets import audiovisual, cremad, ks, nvgesture, sarcasm
from bss.data.datasets.audiovisual import AudioVisual, decoded_files
from bss.data.datasets.clips import Clip, without_frames
from bss.data.datasets.data_set import find
from bss.data.datasets.imagetext import ImageText, Post
from bss.data.transforms.image import IMAGENET_MEAN, neutral_picture
from bss.data.transforms.views import RandomView, whole
from bss.data.usable import problem_of, problems
from bss.models.frontends import FrameViews
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.seeding import seeded
from tests.conftest import random_states


def jpeg(path, level=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((16, 12), level).convert("RGB").save(path, format="JPEG")
    return path


def cut(path):
    """Half of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


@pytest.fixture
def posts(tmp_path):
    """A Sarcasm of five posts: 1 and 2 are whole, 3 is cut, 4 is HTML, 5 is not there."""
    for number in (1, 2, 3):
        jpeg(tmp_path / "images" / f"{number}.jpg")
    cut(tmp_path / "images" / "3.jpg")
    (tmp_path / "images" / "4.jpg").write_bytes(b"<!doctype html>")
    rows = [{"image": f"{number}.jpg", "text": "oh", "label": number % 2} for number in range(1, 6)]
    (tmp_path / "train_data.json").write_text(json.dumps(rows))
    return tmp_path


def named(samples):
    return [sample.name for sample in samples]


# ---- what is found --------------------------------------------------------------------------------------------------


def test_pictures_and_sounds_are_decoded_to_their_end(tmp_path):
    good = jpeg(tmp_path / "good.jpg")
    assert problem_of(good, "image") is None
    data = good.read_bytes()
    good.write_bytes(data[: len(data) // 2] + data[-2:])  # the middle is gone, the ends are there
    whole_tone = np.sin(np.arange(3000) / 9)
    soundfile.write(tmp_path / "a.flac", whole_tone, 8000)
    assert problem_of(tmp_path / "a.flac", "audio") is None
    cut(tmp_path / "a.flac")
    assert problem_of(tmp_path / "a.flac", "audio")
    soundfile.write(tmp_path / "nan.wav", np.array([0, np.nan]), 8000, subtype="FLOAT")
    assert "not finite" in problem_of(tmp_path / "nan.wav", "audio")
    torch.save({"waveform": torch.zeros(9), "sample_rate": 100}, tmp_path / "low.pt")
    assert problem_of(tmp_path / "low.pt", "audio") is None  # another rate is no damage
    np.save(tmp_path / "flow.npy", np.zeros((3, 4)))
    assert problem_of(tmp_path / "flow.npy", "flow") is None
    assert "truncated" in problem_of(cut(tmp_path / "flow.npy"), "flow")
    assert "cannot be read" in problem_of(tmp_path / "none.jpg", "image")


def test_what_was_found_is_kept_until_the_file_changes(tmp_path, monkeypatch):
    good, bad = jpeg(tmp_path / "good.jpg"), cut(jpeg(tmp_path / "bad.jpg"))
    files = {good: ("image", "line 1"), bad: ("image", "line 2")}
    looked = []

    def look(path, kind, original=problem_of):
        looked.append(path.name)
        return original(path, kind)

    monkeypatch.setattr(usable, "problem_of", look)
    found = problems(files, root=tmp_path, folder=tmp_path / "cache", keep=True)
    assert list(found) == [bad] and sorted(looked) == ["bad.jpg", "good.jpg"]
    looked.clear()
    assert problems(files, root=tmp_path, folder=tmp_path / "cache", keep=True) == found and not looked
    assert problems(files, root=tmp_path, folder=tmp_path / "cache", keep=False) == found and not looked
    jpeg(bad, 20)
    assert problems(files, root=tmp_path, folder=tmp_path / "cache", keep=True) == {} and looked == ["bad.jpg"]
    looked.clear()
    monkeypatch.setattr(usable, "_readers", lambda: "another Pillow")
    assert problems(files, root=tmp_path, folder=tmp_path / "cache", keep=False) == {} and len(looked) == 2
    (tmp_path / "cache" / usable.FILE).write_text("{")
    assert problems(files, root=tmp_path, folder=tmp_path / "cache", keep=True) == {}
    assert usable.FILE in named_in(tmp_path / "cache")


def named_in(folder):
    return [path.name for path in folder.iterdir()]


def test_nothing_is_written_where_nothing_may_be(posts):
    for missing in ("drop", "blank"):
        find(sarcasm.DATA_SET, posts, "train", missing=missing, cache=None)
    assert ".bss-cache" not in named_in(posts)
    find(sarcasm.DATA_SET, posts, "train", missing="drop")
    assert named_in(posts / ".bss-cache").count(usable.FILE) == 1


def test_a_missing_decoder_is_no_damage(posts, monkeypatch):
    from bss.data.transforms import image

    Image.new("RGB", (8, 8)).save(posts / "images" / "2.jpg", format="AVIF")
    monkeypatch.setattr(image, "_decodes_avif", lambda: False)
    with pytest.raises(image.CodecMissingError, match=r"2\.jpg: an avif picture"):
        find(sarcasm.DATA_SET, posts, "train", missing="drop")


# ---- left out, or with a neutral picture ----------------------------------------------------------------------------


def test_damaged_and_absent_pictures_are_left_out_or_made_neutral(posts):
    kept, dropped = find(sarcasm.DATA_SET, posts, "train", missing="drop")
    assert named(kept) == ["1", "2"] and dropped == ["3", "4", "5"] and not any(post.blank for post in kept)
    kept, dropped = find(sarcasm.DATA_SET, posts, "train", missing="blank")
    assert named(kept) == ["1", "2", "3", "4", "5"] and dropped == []
    assert [post.blank for post in kept] == [False, False, True, True, True]
    assert [post.path is None for post in kept] == [False, False, True, True, True]
    with pytest.raises(DataNotFoundError, match=r"(?s)1 have no image .*missing=drop, or keep them .*: missing=blank"):
        find(sarcasm.DATA_SET, posts, "train")
    jpeg(posts / "images" / "5.jpg")
    with pytest.raises(DataError, match=r"(?s)3\.jpg: .*Damaged files of the train list: 2; .*=drop, or .*=blank"):
        find(sarcasm.DATA_SET, posts, "train")


def test_where_no_picture_is_whole_nothing_is_trained_on(posts):
    for number in (1, 2):
        cut(posts / "images" / f"{number}.jpg")
    for missing in ("drop", "blank"):
        with pytest.raises(DataNotFoundError, match=r"none of the 5 samples .* has its files .*1\.jpg: a truncated"):
            find(sarcasm.DATA_SET, posts, "train", missing=missing)


@pytest.fixture
def clips(tmp_path):
    """A CREMA-D of three clips of two frames each, whole."""
    names = ["1001_IEO_ANG_XX", "1002_TIE_NEU_XX", "1003_IOM_HAP_XX"]
    (tmp_path / "train.csv").write_text("".join(f"{name},{name.split('_')[2]}\n" for name in names))
    (tmp_path / "AudioWAV").mkdir()
    for name in names:
        soundfile.write(tmp_path / "AudioWAV" / f"{name}.wav", np.sin(np.arange(800) / 9), 8000)
        for frame in (1, 2):
            jpeg(tmp_path / "Image-01-FPS" / name / f"{frame}.jpg")
    return tmp_path


def test_of_a_clip_the_frames_that_cannot_be_opened_are_neutral(clips):
    cut(clips / "Image-01-FPS" / "1001_IEO_ANG_XX" / "2.jpg")
    shutil.rmtree(clips / "Image-01-FPS" / "1003_IOM_HAP_XX")
    one, two, three = find(cremad.DATA_SET, clips, "train", missing="blank")[0]
    assert [frame and frame.name for frame in one.frames] == ["1.jpg", None] and three.frames == (None,)
    assert [clip.blank for clip in (one, two, three)] == [True, False, True]
    assert len(decoded_files([one, two, three])["frames"]) == 3
    assert named(find(cremad.DATA_SET, clips, "train", missing="drop")[0]) == ["1002_TIE_NEU_XX"]
    assert ks.long_enough([three], "train", 3)[0] == [three]  # how long it was is not known


def test_there_is_no_neutral_sound_and_no_neutral_video(clips):
    sound = clips / "AudioWAV" / "1002_TIE_NEU_XX.wav"
    cut(sound)
    with pytest.raises(
        DataError, match=r"(?s)1002_TIE_NEU_XX has no usable audio \(.*truncated wav.* neutral frames alone"
    ):
        find(cremad.DATA_SET, clips, "train", missing="blank")
    assert find(cremad.DATA_SET, clips, "train", missing="drop")[1] == ["1002_TIE_NEU_XX"]
    sound.unlink()
    with pytest.raises(DataError, match=r"has no usable audio \(no audio\).*"):
        find(cremad.DATA_SET, clips, "train", missing="blank")
    row = "path:./Video_data/class_01/a_r0 depth:sk_depth:0:9 color:sk_color:0:9 label:1\n"
    (clips / "nvgesture_train_correct_cvpr2016_v2.lst").write_text(row)
    with pytest.raises(RecipeError, match=r"missing=blank: nothing neutral can stand for the rgb or flow or depth"):
        find(nvgesture.DATA_SET, clips, "train", missing="blank")


# ---- what is neutral ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("normalization, expected", [("imagenet", 0.0), ("clip", 0.0), ("none", None)])
def test_a_neutral_picture_is_the_mean(normalization, expected):
    neutral = neutral_picture(4, normalization)
    means = torch.tensor(IMAGENET_MEAN if expected is None else (expected,) * 3)
    assert neutral.dtype == torch.float32 and torch.equal(neutral, means.view(3, 1, 1).expand(3, 4, 4))


def test_a_post_with_a_neutral_picture_draws_nothing_and_is_the_same_at_every_look(tmp_path):
    post = Post("a", 1, "oh", "a.jpg", blank=True)
    data = ImageText([post], torch.ones(1, 3, 2, dtype=torch.int64), transform=fail, neutral=neutral_picture(4))
    before = random_states()
    data[0]["image"].add_(1)
    assert not data[0]["image"].any() and random_states() == before
    unfound = ImageText([replace(post, blank=False)], data.tokens_N3L, transform=fail, neutral=data.neutral)
    with pytest.raises(DataError, match="a has no picture"):
        unfound[0]


def fail(_):
    raise AssertionError("a neutral picture has no views")


@pytest.mark.parametrize("view", [whole, RandomView()])
def test_a_neutral_frame_is_zero_within_a_level_in_every_view(tmp_path, view):
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(800) / 9), 8000)
    clip = without_frames(Clip("a", 0, tmp_path / "a.wav", ()), ())
    data = AudioVisual(
        [clip], sample_rate=8000, seconds=0.1, n_fft=64, hop_length=32, view=view, num_frames=2, pick="drawn"
    )
    with seeded("test", 1):
        batch = type(data[0]["visual"]).batch([data[0]["visual"]])
    assert FrameViews(8)(batch).abs().max() < 0.5 / 255 / 0.22
    assert audiovisual._NEUTRAL_FRAME.tolist() == [[[124, 116, 104]]]


def test_processes_that_look_at_once_find_the_same(posts):
    found = []
    work = [
        threading.Thread(target=lambda: found.append(find(sarcasm.DATA_SET, posts, "train", missing="drop")[1]))
        for _ in range(3)
    ]
    for each in work:
        each.start()
    for each in work:
        each.join()
    assert found == [["3", "4", "5"]] * 3
