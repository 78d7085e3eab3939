import collections
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bss.data.batches import collate
from bss.data.datasets import ks
from bss.data.datasets.data_set import find, find_listed, read
from bss.data.datasets.ks import CLASSES, DATA_SET, long_enough, read_list
from bss.data.synthetic import ks as synthetic_ks
from bss.data.synthetic import signals
from bss.data.synthetic.signals import ClipSizes
from bss.recipes.fields import override
from bss.tasks import ks as task
from bss.utils.errors import DataError, DataNotFoundError, RecipeError

SHARED = Path(__file__).parents[3] / "shared" / "data" / "ks"
NAMES = {"-4-0ihtnBUA_000058_000068": "playing guitar", "abcdefghijk_000000_000010": "bowling"}


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def put_clip(root, split, name, *, audio=None, frames=4):
    (root / f"{split}_wav").mkdir(parents=True, exist_ok=True)
    black = np.zeros((8, 8, 3), np.uint8)
    folder = root / f"{split}_img" / "Image-01-FPS" / name
    signals.write_clip(root / f"{split}_wav" / f"{audio or name}.wav", folder, np.zeros(400), 8000, [black] * frames)


@pytest.fixture
def root(tmp_path):
    """A whole tree of two clips with four frames each, in the released layout."""
    for split in ("train", "test"):
        rows = "".join(f"{name},{label}\n" for name, label in NAMES.items())
        put(tmp_path / "annotations" / f"{split}.csv", f"youtube_id,label\n{rows}")
        for name in NAMES:
            put_clip(tmp_path, split, name)
    return tmp_path


def test_bml_s_file_has_the_lists_of_all_splits(tmp_path):
    entries = {"training": "tap_dancing", "validation": "bowling", "testing": "Singing"}
    database = {f"{subset[:11]}_000000_000010": {"subset": subset, "label": name} for subset, name in entries.items()}
    path = put(tmp_path / "KS_train_val.json", json.dumps({"labels": [], "database": database}))
    rows = {split: read_list(path, split) for split in ("train", "val", "test")}
    assert {split: [CLASSES[row.label] for row in part] for split, part in rows.items()} == {
        "train": ["tap dancing"],
        "val": ["bowling"],
        "test": ["singing"],
    }
    assert (
        rows["val"][0].listed == f"{path} item 2"
        and [len(read(DATA_SET, tmp_path, split)) for split in rows] == [1] * 3
    )
    with pytest.raises(DataError, match="has the lists of several splits"):
        find_listed(DATA_SET, tmp_path, path)
    for content, words in (
        ([], "not {"),
        (
            {"database": {"a": {"subset": "training"}}},
            r"item 1: .*, expected a subset \(training, validation, testing\)",
        ),
        ({"database": {"a": {"subset": "dev", "label": "bowling"}}}, "item 1: "),
        ({"database": {"a": {"subset": "training", "label": "x"}}}, "item 1: unknown class 'x'"),
        ({"database": {"a": {"subset": "testing", "label": 2}}}, "no rows of training"),
    ):
        with pytest.raises(DataError, match=words):
            read_list(put(path, json.dumps(content)), "train")


def test_a_clip_may_be_listed_by_the_name_of_its_video(root):
    rows = "".join(f"{name}.MP4,{label}\n" for name, label in NAMES.items())
    put(root / "annotations" / "train.csv", rows)
    assert [clip.name for clip in find(DATA_SET, root, "train")[0]] == list(NAMES)


def test_the_classes_are_31_in_alphabetical_order():
    assert len(CLASSES) == 31 and list(CLASSES) == sorted(CLASSES)
    assert CLASSES[0] == "blowing nose" and CLASSES[30] == "tickling"


# ----------------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", "youtube_id,label\na1,playing guitar\nb2,bowling\n"),
        ("train.csv", "\ufeffYouTube_ID, Label\r\na1,Playing_Guitar\r\n\r\nb2,2\r\n"),
        ("train.csv", 'a1,"playing guitar"\nb2,bowling\n'),
        ("my_train.txt", "a1,10,12\nb2,10,2\n"),
        ("my_train.txt", "a1 10 12\nb2 10 2\n"),
        ("my_train.txt", "a1 12\nb2 2"),
    ],
)
def test_every_kind_of_list_gives_the_same_fixed_class_ids(tmp_path, name, content):
    rows = read_list(put(tmp_path / name, content))
    assert [(row.name, row.label) for row in rows] == [("a1", 12), ("b2", 2)]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,bowling\nb,yodelling\n", r"line 2: unknown class 'yodelling'.*'blowing nose'"),
        ("a,bowling\nb,31\n", "line 2: class number 31, allowed are 0 to 30"),
        ("a,-1\n", "line 1: unknown class '-1'"),
        ("a\n", "line 1: 1 cells, expected youtube_id,label"),
        ("a,10,3,4\n", "line 1: 4 cells"),
        (",bowling\n", "line 1: the name is empty"),
        ("../a,bowling\n", "line 1: the name '../a' leaves the data root"),
        ("a,bowling\nb,bowling\na,singing\n", "line 3: a is listed twice, first in line 1"),
        ("youtube_id,label\n", "the list has no rows"),
        ("youtube_id,label\nyoutube_id,label\n", "line 2: unknown class 'label'"),
        ("", "an empty file"),
    ],
)
def test_a_bad_list_is_a_data_error_with_its_file_and_line(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"train\.csv:? {words}"):
        read_list(put(tmp_path / "train.csv", content))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("--4-0ihtnBU_000058_000068", "--4-0ihtnBU"),
        ("a_b_c_d_e_f_000000_000010", "a_b_c_d_e_f"),
        ("--4-0ihtnBU", "--4-0ihtnBU"),
        ("abcdefghijk_37", "abcdefghijk"),
        ("0d6mInnyN_0_3", "0d6mInnyN_0"),
        ("x_0_10", "x_0_10"),
    ],
)
def test_the_youtube_id_is_the_name_without_its_seconds(name, expected):
    assert ks.video_id(name) == expected


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published lists are not here")
def test_the_published_lists_have_the_published_counts_and_share_no_video():
    train, test = (read_list(SHARED / f"my_{split}.txt") for split in ("train", "test"))
    assert (len(train),) == DATA_SET.published["train"] and (len(test),) == DATA_SET.published["test"]
    for rows in (train, test):
        assert {row.label for row in rows} == set(range(31))
        assert all(len(row.group) == 11 for row in rows)
    assert not {row.group for row in train} & {row.group for row in test}


# ----------------------------------------------------------------------------------------------------- files


def test_a_whole_tree_gives_its_clips_in_the_order_of_the_list(root):
    clips, dropped = find(DATA_SET, root, "train")
    assert [(clip.name, clip.label) for clip in clips] == [(name, CLASSES.index(NAMES[name])) for name in NAMES]
    assert dropped == [] and all(len(clip.frames) == 4 for clip in clips)
    assert clips[0].audio == root / "train_wav" / f"{clips[0].name}.wav"


def test_files_named_after_the_bare_youtube_id_are_found(root):
    first = next(iter(NAMES))
    for folder in (root / "train_img" / "Image-01-FPS", root / "train_wav"):
        for path in folder.glob(f"{first}*"):
            path.rename(folder / path.name.replace(first, ks.video_id(first)))
    clips, _ = find(DATA_SET, root, "train")
    assert clips[0].audio.name == "-4-0ihtnBUA.wav" and clips[0].frames[0].parent.name == "-4-0ihtnBUA"


def test_a_bare_youtube_id_is_not_guessed_where_a_video_has_two_clips(root):
    put(root / "annotations" / "train.csv", "same_video__000000_000010,bowling\nsame_video__000020_000030,bowling\n")
    put_clip(root, "train", "same_video_")
    assert [clip.files for clip in read(DATA_SET, root, "train")] == [{"audio": (), "frames": ()}] * 2


@pytest.mark.parametrize("place", ["audio/{}.npy", "audio/train/{}.npy", "train_wav_pkl/{}.pkl", "audio/{}.pt"])
def test_the_audio_is_found_in_every_layout_in_use(root, place):
    import pickle

    shutil.rmtree(root / "train_wav")
    for name in NAMES:
        path = root / place.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.zeros(100, np.float32)
        if path.suffix == ".npy":
            np.save(path, array)
        elif path.suffix == ".pt":
            torch.save(torch.from_numpy(array), path)
        else:
            path.write_bytes(pickle.dumps(array))
    assert [clip.audio for clip in find(DATA_SET, root, "train")[0]] == [root / place.format(name) for name in NAMES]


def test_missing_clips_are_counted_and_dropped_only_when_asked(root):
    gone = next(iter(NAMES))
    (root / "train_wav" / f"{gone}.wav").unlink()
    with pytest.raises(
        DataNotFoundError, match=r"(?s)of 2 samples 1 have no audio and 0 have no frames.*first -4-0ih.*=drop"
    ):
        find(DATA_SET, root, "train")
    clips, dropped = find(DATA_SET, root, "train", missing="drop")
    assert [clip.name for clip in clips] == list(NAMES)[1:] and dropped == [gone]


def test_clips_with_few_frames_are_left_out_and_listed_as_released(root):
    first, second = NAMES
    (root / "train_img" / "Image-01-FPS" / first / "00004.jpg").unlink()
    clips, dropped = find(DATA_SET, root, "train")
    assert len(clips) == 2 and not dropped
    kept, short = long_enough(clips, "train", 4)
    assert [clip.name for clip in kept] == [second] and short == [first]
    with pytest.raises(DataError, match="Kinetics-Sounds train: no clip has 9 frames, the most is 4"):
        long_enough(clips, "train", 9)


def test_a_root_without_lists_says_where_it_looked(tmp_path):
    with pytest.raises(
        DataNotFoundError, match=r"(?s)no list of the train split.*my_train\.txt.*KS/README\.md.*--sample"
    ):
        find(DATA_SET, tmp_path, "train")
    with pytest.raises(ValueError, match="split must be one of"):
        find(DATA_SET, tmp_path, "dev")


# --------------------------------------------------------------------------------------------------- recipe


def test_the_default_sample_is_ten_seconds_and_three_frames(root):
    data = task.build_data(override(task.CL, ["val_fraction=0", "image_size=32"]), make_disjoint(root))
    inputs = task.build_model(override(task.CL, ["width=4", "image_size=32"]), root).encoders
    batch = collate([data.train[0]])
    assert inputs["audio"].window(batch["audio"]).shape == (1, 354_000)
    assert inputs["visual"].views(batch["visual"]).shape == (1, 3, 3, 32, 32)
    assert data.val is None and data.train.pick == "drawn" and data.test.pick == "spread"


def make_disjoint(root):
    """Rename the test clips, which the fixture made equal to the training clips."""
    rows = "youtube_id,label\n"
    for name, label in NAMES.items():
        put_clip(root, "test", f"other{name}")
        rows += f"other{name},{label}\n"
    put(root / "annotations" / "test.csv", rows)
    return root


def test_the_official_recipe_takes_the_first_frames_and_leaves_out_short_clips(root):
    make_disjoint(root)
    name = f"other{next(iter(NAMES))}"
    (root / "test_img" / "Image-01-FPS" / name / "00001.jpg").unlink()
    data = task.build_data(override(task.CL_OFFICIAL, ["image_size=32"]), root)
    assert data.dropped == {"train": [], "test": [name]}
    assert data.train.pick == data.test.pick == "first" and data.val is None


def test_a_clip_in_both_lists_is_refused(root):
    with pytest.raises(DataError) as refused:
        task.build_data(override(task.CL, ["val_fraction=0"]), root)
    first = min(NAMES)
    line = 2 + list(NAMES).index(first)
    places = ", ".join(f"{root / 'annotations' / split}.csv line {line}" for split in ("train", "test"))
    assert str(refused.value).splitlines() == [
        f"2 samples are in the training and in the test list, the first is {first} ({places}).",
        "Delete it from one of the two; python -m bss doctor names all of them",
    ]


def test_official_class_numbers_are_those_of_first_appearance_and_name_the_same_classes(root):
    data = task.build_data(override(task.CL_OFFICIAL, ["image_size=32"]), make_disjoint(root))
    assert data.labels_N.tolist() == [0, 1]
    assert data.classes[:2] == ("playing guitar", "bowling") and sorted(data.classes) == list(CLASSES)
    assert [clip.label for clip in data.test.clips] == [0, 1]


def test_a_test_class_without_training_clips_has_no_official_number(root):
    make_disjoint(root)
    put(root / "annotations" / "test.csv", f"other{next(iter(NAMES))},tickling\n")
    with pytest.raises(DataError, match="the test list has 'tickling', but no training clip has that class"):
        task.build_data(override(task.CL_OFFICIAL, ["image_size=32"]), root)


def test_min_frames_below_one_is_refused():
    with pytest.raises(RecipeError, match="min_frames must be >= 1, got 0"):
        override(task.CL, ["min_frames=0"])


# ------------------------------------------------------------------------------------------- generated data


def test_the_sample_has_every_class_in_both_splits_and_disjoint_clips(tmp_path):
    root = synthetic_ks.write_sample(
        tmp_path / "ks", ClipSizes(per_class=2, test_per_class=1, seconds=0.1, sample_rate=8000, image_size=8)
    )
    found = {split: find(DATA_SET, root, split)[0] for split in ("train", "test")}
    for split, per_class in (("train", 2), ("test", 1)):
        assert collections.Counter(clip.label for clip in found[split]) == dict.fromkeys(range(31), per_class)
        assert all(len(clip.frames) == 4 for clip in found[split])
    assert not {clip.group for clip in found["train"]} & {clip.group for clip in found["test"]}
    assert all(len(clip.group) > 11 for clips in found.values() for clip in clips)
