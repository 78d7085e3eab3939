import collections
import errno
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from bss.data.batches import collate
from bss.data.datasets import audiovisual
from bss.data.datasets.audiovisual import AudioVisual, frame_indices
from bss.data.datasets.cremad import CLASSES, DATA_SET, DEMOGRAPHICS, read_list
from bss.data.datasets.data_set import find
from bss.data.prepare.cremad import write_wav_pkl, write_waveform_pickle
from bss.data.synthetic import cremad as synthetic_cremad
from bss.data.synthetic import signals
from bss.data.synthetic.signals import ClipSizes
from bss.data.transforms.views import whole
from bss.recipes.fields import override
from bss.tasks import cremad as cremad_task
from bss.utils.errors import DataError, DataNotFoundError, RecipeError
from bss.utils.seeding import seeded

SHARED = Path(__file__).parents[3] / "shared" / "data"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
RATE = 8000
JPEG = torchvision.io.encode_jpeg(torch.zeros(3, 8, 8, dtype=torch.uint8)).numpy().tobytes()
NAMES = {"1001_IEO_ANG_XX": "ANG", "1002_TIE_NEU_XX": "NEU", "1003_IOM_HAP_XX": "HAP"}


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def put_wav(path, samples=400, rate=RATE, level=0.5):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(samples, level), rate, subtype="PCM_16")
    return path


@pytest.fixture
def root(tmp_path):
    """A whole tree of three clips with two frames each."""
    root = tmp_path / "data"
    rows = "".join(f"{name},{label}\n" for name, label in NAMES.items())
    for split in ("train", "test"):
        put(root / "annotations" / f"{split}.csv", rows.encode())
    for name in NAMES:
        put_wav(root / "AudioWAV" / f"{name}.wav")
        for frame in ("00001.jpg", "00002.jpg"):
            put(root / "Image-01-FPS" / name / frame, JPEG)
    return root


def test_labels_may_be_the_words_of_mla(tmp_path):
    words = ("Neutral", "Happy", "Sad", "Fear", "Disgust", "ANGER")
    rows = "".join(f"10{number:02d}_DFA_XX.flv {word}\n" for number, word in enumerate(words))
    clips = read_list(put(tmp_path / "my_train_cre.txt", rows.encode()))
    assert [(clip.name, CLASSES[clip.label]) for clip in clips] == [
        (f"10{number:02d}_DFA_XX", name) for number, name in enumerate(CLASSES)
    ]


def samples_of(clips, **options):
    settings = dict(sample_rate=RATE, seconds=0.1, n_fft=16, hop_length=8, view=whole)
    return AudioVisual(clips, **settings | options)


# --------------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize(
    "content, lines",
    [
        (b"a_1,NEU\nb_2,ANG\n", [1, 2]),
        (b"name,label\na_1,NEU\nb_2,ANG", [2, 3]),
        (b"Name, LABEL \r\na_1,NEU\r\nb_2,ANG\r\n\r\n \r\n", [2, 3]),
        (b"\xef\xbb\xbfa_1,NEU\r\nb_2,ANG\r\n", [1, 2]),
        (b'\xef\xbb\xbfname,label\n\n"a_1",neu\n b_2 , Ang \n\n\n', [3, 4]),
        (b"a_1.wav,NEU\rb_2.FLV,ANG\r", [1, 2]),
    ],
)
def test_a_csv_of_every_kind_gives_the_same_rows_and_their_lines(tmp_path, content, lines):
    rows = read_list(put(tmp_path / "train.csv", content))
    assert [(row.name, row.label) for row in rows] == [("a_1", 0), ("b_2", 5)]
    assert [row.listed for row in rows] == [f"{tmp_path / 'train.csv'} line {line}" for line in lines]


def test_a_space_separated_list_is_read(tmp_path):
    path = put(tmp_path / "my_train_cre.txt", b"1085_IWL_SAD_XX.flv Sad\n1001_DFA_ANG_XX.mp4 Ang\n")
    assert [(row.name, row.label) for row in read_list(path)] == [("1085_IWL_SAD_XX", 2), ("1001_DFA_ANG_XX", 5)]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"a,NEU\nb,JOY\n", "line 2: unknown label 'JOY', allowed are NEU HAP SAD FEA DIS ANG"),
        (b"a,NEU\nb\n", "line 2: 1 columns, expected 2"),
        (b"a,NEU,3\n", "line 1: 3 columns, expected 2"),
        (b"a;NEU\n", "line 1: 1 columns"),
        (b"a,NEU\n\n,ANG\n", "line 3: the name is empty"),
        (b".wav,ANG\n", "line 1: the name is empty"),
        (b"../../etc/passwd,ANG\n", "line 1: the name '../../etc/passwd' leaves the data root"),
        (b"C:\\clip,ANG\n", "line 1: .* leaves the data root"),
        (b"..,ANG\n", "line 1: the name '..' leaves the data root"),
        (b".,ANG\n", "line 1: the name '.' leaves the data root"),
        (b"...wav,ANG\n", "line 1: the name '..' leaves the data root"),
        (b"a\0b,ANG\n", "not UTF-8 text .it has NUL bytes"),
        (b"a,NEU\nb,NEU\na.wav,ANG\n", "line 3: a is listed twice, first in line 1"),
        (b"a,NEU\nname,label\n", "line 2: unknown label 'label'"),
        (b'"a,NEU\nb,ANG\n', "line 1: not a csv row"),
        (b"", "an empty file"),
        (b"\n \n", "the list has no rows"),
        (b"name,label\n", "the list has no rows"),
        (b"\xff\xfea\x00,\x00", "not UTF-8 text \\(byte 0\\)"),
        (b"\x89PNG\r\n\x1a\n\x00\xfe", "not UTF-8 text"),
        (LFS, "a Git-LFS pointer"),
    ],
)
def test_a_bad_list_is_a_data_error_with_its_file_and_line(tmp_path, content, words):
    with pytest.raises(DataError, match=rf"train\.csv:? {words}"):
        read_list(put(tmp_path / "train.csv", content))


def test_a_list_that_is_a_folder_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_list(tmp_path)


@pytest.mark.skipif(not (SHARED / "cremad").is_dir(), reason="the published lists are not here")
def test_the_published_lists_have_the_published_counts():
    folder = SHARED / "cremad" / "annotations"
    counts = {}
    for split in ("train", "test"):
        rows = read_list(folder / f"{split}.csv")
        by_class = collections.Counter(CLASSES[row.label] for row in rows)
        counts[split] = (len(rows), [by_class[name] for name in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")])
    assert counts["train"] == (6698, [1166, 1142, 1138, 1148, 973, 1131])
    assert counts["test"] == (744, [105, 129, 133, 123, 114, 140])


@given(rows=st.dictionaries(st.from_regex(r"[0-9A-Za-z_-]{1,12}", fullmatch=True), st.sampled_from(CLASSES)))
def test_what_is_written_is_read(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / "train.csv"
    path.write_text("name,label\n" + "".join(f"{name},{label}\n" for name, label in rows.items()))
    if rows:
        assert [(row.name, CLASSES[row.label]) for row in read_list(path)] == list(rows.items())
    else:
        with pytest.raises(DataError, match="no rows"):
            read_list(path)


# --------------------------------------------------------------------------------------------------- files


def test_a_whole_tree_gives_its_clips_in_the_order_of_the_list(root):
    clips, dropped = find(DATA_SET, root, "train")
    assert [clip.name for clip in clips] == list(NAMES) and dropped == []
    assert [clip.label for clip in clips] == [5, 0, 1]
    assert clips[0].audio == root / "AudioWAV" / "1001_IEO_ANG_XX.wav"
    assert [frame.name for frame in clips[0].frames] == ["00001.jpg", "00002.jpg"]


@pytest.mark.parametrize(
    "place",
    ["train.csv", "my_train.csv", "annotations/my_train.csv", "my_train_cre.txt", "annotations/my_train_cre.txt"],
)
def test_the_list_is_found_under_every_name_in_use(root, place):
    content = (root / "annotations" / "train.csv").read_bytes()
    (root / "annotations" / "train.csv").unlink()
    put(root / place, content.replace(b",", b" ") if place.endswith(".txt") else content)
    assert len(find(DATA_SET, root, "train")[0]) == 3


@pytest.mark.parametrize("place", ["audio/{}.pt", "audio/{}.npy", "audio/train_fbank/{}.npy", "wav_pkl/{}.pkl"])
def test_the_audio_is_found_in_every_layout_in_use(root, place):
    shutil.rmtree(root / "AudioWAV")
    for name in NAMES:
        path = put(root / place.format(name), b"")
        array = np.zeros(100, np.float32)
        if path.suffix == ".npy":
            np.save(path, array)
        elif path.suffix == ".pt":
            torch.save(torch.from_numpy(array), path)
        else:
            path.write_bytes(pickle.dumps(array))
    clips, _ = find(DATA_SET, root, "train")
    assert [clip.audio for clip in clips] == [root / place.format(name) for name in NAMES]
    assert samples_of(clips)[0]["audio"].waveform_T.shape == (100,)


def test_a_decoded_waveform_is_preferred_and_the_wav_fills_the_gaps(root):
    first, second, _ = NAMES
    (root / "wav_pkl").mkdir()
    write_waveform_pickle(root / "AudioWAV" / f"{first}.wav", root / "wav_pkl" / f"{first}.pkl", RATE)
    put(root / "wav_pkl" / f".{second}.77.tmp.pkl", b"half")
    assert [clip.audio.parent.name for clip in find(DATA_SET, root, "train")[0]] == ["wav_pkl", "AudioWAV", "AudioWAV"]


@pytest.mark.parametrize("place", ["visual", "visual/train_imgs/Image-01-FPS"])
def test_the_frames_are_found_in_every_layout_in_use(root, place):
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    (root / "Image-01-FPS").rename(root / place)
    assert find(DATA_SET, root, "train")[0][0].frames[0] == root / place / "1001_IEO_ANG_XX" / "00001.jpg"


def test_fps_chooses_the_folder(root):
    (root / "Image-01-FPS").rename(root / "Image-03-FPS")
    assert len(find(DATA_SET, root, "train", fps=3)[0]) == 3
    with pytest.raises(
        DataNotFoundError,
        match=r"(?s)of 3 samples 0 have no audio and 3 have no frames.*No sample has its frames, and all arms, [^=]*$",
    ):
        find(DATA_SET, root, "train")


def test_frames_sort_naturally_and_hidden_and_other_files_are_ignored(root):
    folder = root / "Image-01-FPS" / "1001_IEO_ANG_XX"
    shutil.rmtree(folder)
    for name in ("frame_10.JPG", "frame_9.jpeg", "frame_2.png", "._frame_1.jpg", "Thumbs.db", "frame_1.txt"):
        put(folder / name, JPEG)
    (folder / "frame_0.jpg").mkdir()
    frames = find(DATA_SET, root, "train")[0][0].frames
    assert [frame.name for frame in frames] == ["frame_2.png", "frame_9.jpeg", "frame_10.JPG"]


def test_a_missing_root_says_where_it_looked_and_what_runs_without_data(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"(?s)nowhere does not exist.*CREMAD/README\.md.*--sample"):
        find(DATA_SET, tmp_path / "nowhere", "train")
    with pytest.raises(
        DataNotFoundError,
        match=r"(?s)no list of the test split .*test\.csv.*in annotations, the folder.*prepare cremad .*--sample",
    ):
        find(DATA_SET, tmp_path, "test")


def test_missing_files_are_counted_and_the_first_is_named_with_its_line(root):
    (root / "AudioWAV" / "1002_TIE_NEU_XX.wav").unlink()
    shutil.rmtree(root / "Image-01-FPS" / "1003_IOM_HAP_XX")
    with pytest.raises(
        DataNotFoundError,
        match=r"(?s)of 3 samples 1 have no audio and 1 have no frames .*first 1002_TIE_NEU_XX without audio "
        r".*train\.csv line 2.*README.*--set missing=drop",
    ):
        find(DATA_SET, root, "train")
    clips, dropped = find(DATA_SET, root, "train", missing="drop")
    assert [clip.name for clip in clips] == ["1001_IEO_ANG_XX"]
    assert dropped == ["1002_TIE_NEU_XX", "1003_IOM_HAP_XX"]


def test_a_folder_without_frames_has_no_frames(root):
    for frame in (root / "Image-01-FPS" / "1001_IEO_ANG_XX").iterdir():
        frame.unlink()
    with pytest.raises(
        DataNotFoundError, match=r"0 have no audio and 1 have no frames .*first 1001_IEO_ANG_XX without frames"
    ):
        find(DATA_SET, root, "train")


def test_nothing_left_after_dropping_is_an_error(root):
    shutil.rmtree(root / "AudioWAV")
    with pytest.raises(DataNotFoundError, match="none of the 3 samples"):
        find(DATA_SET, root, "train", missing="drop")


AUDIO, FRAME = "AudioWAV/1002_TIE_NEU_XX.wav", "Image-01-FPS/1002_TIE_NEU_XX/00002.jpg"


@pytest.mark.parametrize("file", [AUDIO, FRAME])
@pytest.mark.parametrize("content, words", [(LFS, "a Git-LFS pointer"), (b"", "an empty file")])
def test_a_file_that_holds_nothing_is_an_error_or_counts_as_missing(root, file, content, words):
    put(root / file, content)
    with pytest.raises(DataError, match=rf"(?s){file}: {words}.*1 of 3 samples of the train list.*--set missing=drop"):
        find(DATA_SET, root, "train")
    clips, dropped = find(DATA_SET, root, "train", missing="drop")
    assert dropped == ["1002_TIE_NEU_XX"] and len(clips) == 2


def test_a_wav_without_samples_counts_as_missing(root):
    put_wav(root / AUDIO, samples=0)
    with pytest.raises(DataError, match=f"{AUDIO}: a wav file with zero samples"):
        find(DATA_SET, root, "train")
    assert find(DATA_SET, root, "train", missing="drop")[1] == ["1002_TIE_NEU_XX"]


@pytest.mark.parametrize(
    "file, content, words",
    [
        (AUDIO, b"<!DOCTYPE html>", "not a wav file"),
        (AUDIO, b"RIFF\0\0\0\0AVI ", "not a wav file"),
        (
            AUDIO,
            b"RIFF$\x10\0\0WAVEfmt \x10\0\0\0" + b"\1\0\1\0" + bytes(12) + b"data\0\x10\0\0abcd",
            "a truncated wav",
        ),
        (FRAME, b"GIF89a", "a truncated or damaged image"),
        (FRAME, b"<html>", "an HTML page, not a picture"),
    ],
)
def test_a_broken_file_is_an_error_or_counts_as_missing(root, file, content, words):
    put(root / file, content)
    with pytest.raises(DataError, match=f"{file}: {words}"):
        find(DATA_SET, root, "train")
    assert find(DATA_SET, root, "train", missing="drop")[1] == ["1002_TIE_NEU_XX"]


def test_other_splits_and_modes_are_refused(root):
    with pytest.raises(ValueError, match="split must be one of"):
        find(DATA_SET, root, "valid")
    with pytest.raises(ValueError, match="missing must be 'error', 'drop' or 'blank'"):
        find(DATA_SET, root, "train", missing="skip")


def test_thousands_of_clips_take_little_time(tmp_path):
    wav = put_wav(tmp_path / "one.wav").read_bytes()
    names = [f"{i:04d}_IEO_ANG_XX" for i in range(1000)]
    put(tmp_path / "train.csv", "".join(f"{name},ANG\n" for name in names).encode())
    (tmp_path / "AudioWAV").mkdir()
    for name in names:
        (tmp_path / "AudioWAV" / f"{name}.wav").write_bytes(wav)
        put(tmp_path / "Image-01-FPS" / name / "1.jpg", JPEG)
    start = time.perf_counter()
    assert len(find(DATA_SET, tmp_path, "train")[0]) == 1000
    assert time.perf_counter() - start < 2  # about 0.1 s on two cores


@pytest.mark.skipif(not (SHARED / "unpack_avdigits.py").is_file(), reason="the digits are not here")
def test_the_spoken_and_written_digits_are_a_tree_that_trains(tmp_path):
    subprocess.run([sys.executable, SHARED / "unpack_avdigits.py", tmp_path], check=True, capture_output=True)
    clips, dropped = find(DATA_SET, tmp_path, "train")
    assert not dropped and {clip.label for clip in clips} == set(range(6))
    sample = samples_of(clips, seconds=1.0)[0]
    assert 0 < len(sample["audio"].waveform_T) <= 8000 and len(sample["visual"].views) == 1


# ------------------------------------------------------------------------------------------------- samples


def test_a_sample_holds_a_waveform_frames_and_the_label(root):
    sample = samples_of(find(DATA_SET, root, "train")[0], num_frames=2)[0]
    assert list(sample) == ["audio", "visual", "label"]
    assert sample["audio"].waveform_T.dtype == np.float32
    assert sample["audio"].waveform_T.tolist() == [0.5] * 400
    assert [view.pixels_HWC.shape for view in sample["visual"].views] == [(8, 8, 3)] * 2
    assert sample["label"] == 5 and type(sample["label"]) is int


def test_clips_of_every_length_stack_into_a_batch(root):
    for name, samples in zip(NAMES, (1, 799, 5000), strict=True):
        put_wav(root / "AudioWAV" / f"{name}.wav", samples)
    batch = next(iter(DataLoader(samples_of(find(DATA_SET, root, "train")[0]), batch_size=3, collate_fn=collate)))
    assert batch["audio"]["waveform"].shape == (3, 800) and batch["audio"]["length"].tolist() == [1, 799, 800]
    assert batch["label"].tolist() == [5, 0, 1]


def test_wav_and_its_decoded_pickle_give_the_same_sample(root):
    path = root / "AudioWAV" / "1001_IEO_ANG_XX.wav"
    soundfile.write(path, 0.3 * np.random.default_rng(0).standard_normal(3000), 16000)
    before = samples_of(find(DATA_SET, root, "train")[0])[0]["audio"].waveform_T
    (root / "wav_pkl").mkdir()
    assert write_waveform_pickle(path, root / "wav_pkl" / "1001_IEO_ANG_XX.pkl", RATE)
    clips, _ = find(DATA_SET, root, "train")
    assert clips[0].audio.suffix == ".pkl"
    assert np.array_equal(before, samples_of(clips)[0]["audio"].waveform_T)


def put_spectrograms(root, shapes):
    for name, shape in zip(NAMES, shapes, strict=True):
        path = put(root / "audio" / f"{name}.npy", b"")
        np.save(path, np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    shutil.rmtree(root / "AudioWAV")


def test_a_finished_spectrogram_of_our_bins_is_repeated_to_the_window(root):
    put_spectrograms(root, [(9, 4), (9, 101), (9, 500)])
    samples = samples_of(find(DATA_SET, root, "train")[0])  # 800 samples with hop 8: 101 frames
    assert all(samples[i]["audio"].shape == (9, 101) for i in range(3))
    assert torch.equal(samples[0]["audio"][:, 4:8], samples[0]["audio"][:, :4])


def test_other_spectrograms_must_have_the_shape_of_the_first(root):
    put_spectrograms(root, [(7, 12), (7, 12), (12, 7)])
    samples = samples_of(find(DATA_SET, root, "train")[0])
    assert samples[0]["audio"].shape == samples[1]["audio"].shape == (7, 12)
    with pytest.raises(DataError, match=r"1003_IOM_HAP_XX\.npy: audio of shape \(12, 7\), .*1001\S* has \(7, 12\)"):
        samples[2]


def test_waveforms_and_spectrograms_do_not_mix(root):
    np.save(put(root / "audio" / "1003_IOM_HAP_XX.npy", b""), np.zeros((9, 101)))
    (root / "AudioWAV" / "1003_IOM_HAP_XX.wav").unlink()
    with pytest.raises(DataError, match=r"1003_IOM_HAP_XX\.npy: audio of shape \(9, 101\)"):
        samples_of(find(DATA_SET, root, "train")[0])[2]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_decoding_error_names_the_file_also_from_a_worker(root, workers):
    samples = samples_of(find(DATA_SET, root, "train")[0])
    put(root / FRAME, JPEG[:-30])
    put(root / FRAME.replace("00002", "00001"), JPEG[:-30])
    with pytest.raises(DataError, match=r"1002_TIE_NEU_XX/0000\d\.jpg: a truncated or damaged image"):
        list(DataLoader(samples, batch_size=3, num_workers=workers, collate_fn=collate))


@pytest.mark.parametrize(
    "available, wanted, pick, expected",
    [
        (5, 1, "spread", [2]),
        (6, 3, "spread", [1, 3, 5]),
        (10, 2, "spread", [2, 7]),
        (5, 3, "first", [0, 1, 2]),
        (2, 4, "spread", [0, 0, 1, 1]),
        (2, 4, "first", [0, 0, 1, 1]),
        (2, 4, "drawn", [0, 0, 1, 1]),
        (1, 1, "drawn", [0]),
        (3, 3, "drawn", [0, 1, 2]),
    ],
)
def test_frames_are_picked_as_said(available, wanted, pick, expected):
    assert frame_indices(available, wanted, pick) == expected


@given(available=st.integers(1, 40), wanted=st.integers(1, 40), pick=st.sampled_from(audiovisual.PICKS))
def test_picked_frames_are_sorted_in_range_and_distinct_if_they_can_be(available, wanted, pick):
    picked = frame_indices(available, wanted, pick)
    assert len(picked) == wanted and picked == sorted(picked) and 0 <= picked[0] and picked[-1] < available
    assert len(set(picked)) == min(available, wanted)


def test_drawn_frames_are_a_function_of_the_default_generator_and_reach_every_frame():
    draws = []
    for epoch in range(60):
        with seeded("frames", 0, epoch):
            draws.append(frame_indices(4, 2, "drawn"))
    with seeded("frames", 0, 7):
        assert frame_indices(4, 2, "drawn") == draws[7]
    assert {tuple(draw) for draw in draws} == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_the_drawn_frame_is_the_one_that_is_shown(root):
    folder = root / "Image-01-FPS" / "1001_IEO_ANG_XX"
    for number in (1, 2):
        grey = torch.full((3, 8, 8), 100 * number, dtype=torch.uint8)
        torchvision.io.write_png(grey, str(folder / f"0000{number}.png"))
        (folder / f"0000{number}.jpg").unlink()
    clips = find(DATA_SET, root, "train")[0]
    samples = samples_of(clips, pick="drawn")
    shown = {int(samples[0]["visual"].views[0].pixels_HWC.max()) for _ in range(30)}
    assert shown == {100, 200}
    assert samples_of(clips, pick="first")[0]["visual"].views[0].pixels_HWC.max() == 100


def test_settings_that_make_no_sense_are_refused(root):
    clips = find(DATA_SET, root, "train")[0]
    with pytest.raises(ValueError, match="at least one clip"):
        samples_of([])
    with pytest.raises(ValueError, match=r"pick must be one of .*got 'random'"):
        samples_of(clips, pick="random")
    with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        samples_of(clips, num_frames=0)


# ------------------------------------------------------------------------------------------- generated data

SMALL = ClipSizes(per_class=3, test_per_class=1, seconds=0.1, sample_rate=8000, image_size=12)
TINY = ClipSizes(per_class=2, test_per_class=1, seconds=0.2, image_size=16)


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_sample_is_a_tree_of_the_real_layout(tmp_path):
    root = synthetic_cremad.write_sample(tmp_path / "new" / "sample", SMALL)
    assert os.listdir(tmp_path / "new") == ["sample"]
    for split, clips_per_class in (("train", 3), ("test", 1)):
        clips, dropped = find(DATA_SET, root, split)
        assert collections.Counter(clip.label for clip in clips) == dict.fromkeys(range(6), clips_per_class)
        assert not dropped and all(len(clip.frames) == 2 for clip in clips)
        assert all(clip.name.split("_")[2] == CLASSES[clip.label] and clip.name >= "2001" for clip in clips)
        durations = [soundfile.info(clip.audio).frames for clip in clips]
        assert min(durations) >= 480 and max(durations) <= 1120
        assert soundfile.info(clips[0].audio).subtype == "PCM_16"
        assert samples_of(clips)[0]["visual"].views[0].pixels_HWC.shape == (12, 12, 3)


def test_no_actor_of_the_samples_test_list_is_in_its_training_list(tmp_path):
    synthetic_cremad.write_sample(tmp_path / "sample", replace(SMALL, per_class=14))
    actors = [{c.name[:4] for c in find(DATA_SET, tmp_path / "sample", split)[0]} for split in ("train", "test")]
    assert actors == [{"2001", "2002"}, {"2003"}]


def test_the_sample_is_a_function_of_its_arguments(tmp_path):
    first, second, other = (
        contents(synthetic_cremad.write_sample(tmp_path / name, SMALL, seed=seed))
        for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert first == second
    assert first.keys() == other.keys() and first != other


def test_a_whole_sample_is_used_again_and_nothing_else_is_overwritten(tmp_path):
    root = synthetic_cremad.write_sample(tmp_path / "sample", SMALL)
    before = (root / "annotations").stat().st_mtime_ns
    assert synthetic_cremad.write_sample(root, SMALL) == root
    assert (root / "annotations").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="a sample of other parameters"):
        synthetic_cremad.write_sample(root, SMALL, seed=5)
    put(tmp_path / "mine" / "thesis.txt", b"important")
    with pytest.raises(DataError, match="something else than a generated sample"):
        synthetic_cremad.write_sample(tmp_path / "mine", SMALL)
    assert contents(tmp_path / "mine") == {Path("thesis.txt"): b"important"}


def test_an_interrupted_sample_leaves_nothing_behind(tmp_path, monkeypatch):
    calls = iter(range(5))

    def stop_soon(*arguments, **options):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return np.zeros((12, 12, 3), np.uint8)

    monkeypatch.setattr(signals, "texture", stop_soon)
    with pytest.raises(KeyboardInterrupt):
        synthetic_cremad.write_sample(tmp_path / "sample", SMALL)
    assert os.listdir(tmp_path) == []


def test_a_sample_that_cannot_be_written_there_names_the_folder_the_reason_and_the_way_out(tmp_path):
    put(tmp_path / "file", b"")
    root = tmp_path / "file" / "sample-data" / "cremad"
    with pytest.raises(DataError) as refused:
        synthetic_cremad.write_sample(root, SMALL)
    assert str(refused.value).splitlines() == [
        f"cannot write the generated sample to {root}: Not a directory.",
        "Pass --out with a run folder elsewhere: the sample lies in sample-data beside it",
    ]


@pytest.mark.parametrize(
    ("error", "free", "reason"),
    [
        (OSError(errno.EROFS, "Read-only file system"), 10**9, "Read-only file system"),
        (OSError("5120 requested and 0 written"), 10**9, "5120 requested and 0 written"),  # numpy's own
        (AssertionError(), 1000, "No space left on device"),  # soundfile's own
    ],
)
def test_a_disk_that_takes_no_more_is_said_and_leaves_nothing_behind(tmp_path, monkeypatch, error, free, reason):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(signals, "texture", fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free))
    with pytest.raises(DataError, match=f"to {tmp_path / 'sample'}: {reason}"):
        synthetic_cremad.write_sample(tmp_path / "sample", SMALL)
    assert os.listdir(tmp_path) == []


def test_an_error_that_is_not_the_disks_stays_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "texture", lambda *_, **__: {}["colour"])
    with pytest.raises(KeyError, match="colour"):
        synthetic_cremad.write_sample(tmp_path / "sample", SMALL)


def test_two_processes_can_write_the_same_sample_at_once(tmp_path, monkeypatch):
    root = tmp_path / "sample"
    write_tree = synthetic_cremad._write_tree

    def slow(building, sizes, seed):
        write_tree(building, sizes, seed)
        monkeypatch.setattr(synthetic_cremad, "_write_tree", write_tree)
        synthetic_cremad.write_sample(root, SMALL)  # the other process is faster

    monkeypatch.setattr(synthetic_cremad, "_write_tree", slow)
    assert synthetic_cremad.write_sample(root, SMALL) == root
    assert os.listdir(tmp_path) == ["sample"]
    assert len(find(DATA_SET, root, "train")[0]) == 18


def test_a_tone_has_its_frequency():
    rng = np.random.default_rng(0)
    sound = signals.tone(rng, seconds=1.0, sample_rate=8000, frequency=500, noise=0.1)
    peak = np.abs(np.fft.rfft(sound)).argmax()  # one second: bins are Hz
    assert sound.shape == (8000,) and sound.dtype == np.float32 and np.abs(sound).max() <= 1
    assert 500 * 2 ** (-1 / 12) - 1 <= peak <= 500 * 2 ** (1 / 12) + 1


def test_a_texture_without_noise_has_its_stripes_and_its_tint():
    rng = np.random.default_rng(0)
    look = dict(size=32, angle=0.0, hue=0.0, noise=0.0, colour_noise=0.0)
    picture = signals.texture(rng, **look, cycles=4, contrast=0.2, tint=0.1).astype(float)
    assert picture.shape == (32, 32, 3)
    assert np.ptp(picture, axis=0).max() <= 1 and np.ptp(picture, axis=1).min() > 80
    assert picture[..., 0].mean() > picture[..., 1].mean() + 20  # hue 0 is red


def test_a_clip_in_both_lists_is_refused(tmp_path):
    from bss.tasks import cremad as task

    root = synthetic_cremad.write_sample(tmp_path / "data", replace(TINY, test_per_class=2, per_class=3))
    train, test = (root / "annotations" / f"{split}.csv" for split in ("train", "test"))
    shared = train.read_text().splitlines()[0]
    test.write_text(test.read_text() + shared + "\n")
    with pytest.raises(DataError, match=f"1 sample is in the training and in the test list.* is {shared[:8]}"):
        task.build_data(task.CL, root)


def test_a_file_that_breaks_when_it_is_read_is_named_with_its_row(tmp_path):
    root = synthetic_cremad.write_sample(tmp_path / "data", TINY)
    clips, _ = find(DATA_SET, root, "train")
    frame = clips[4].frames[0]
    frame.write_bytes(frame.read_bytes()[:200])
    data = AudioVisual(clips, sample_rate=8000, seconds=0.2, n_fft=64, hop_length=32, view=whole, pick="first")
    with pytest.raises(DataError, match=rf"{frame.name}.*train\.csv line 5\)"):
        data[4]


def test_a_stored_waveform_below_the_wanted_rate_is_refused(tmp_path):
    root = synthetic_cremad.write_sample(tmp_path / "data", TINY)
    assert write_wav_pkl(root, sample_rate=4000) == []
    clips, _ = find(DATA_SET, root, "train")
    with pytest.raises(DataError, match="stored at 4000 Hz, but 8000 Hz are wanted"):
        AudioVisual(clips, sample_rate=8000, seconds=0.2, n_fft=64, hop_length=32, view=whole)


# ------------------------------------------------------------------------------------------- split by speaker


def actors_of(dataset):
    return {clip.group for clip in dataset.clips}


def test_the_speaker_split_shares_no_actor_between_its_parts_and_loses_no_clip(tmp_path):
    from bss.recipes.fields import override
    from bss.tasks import cremad as task

    root = synthetic_cremad.write_sample(
        tmp_path / "data", replace(TINY, per_class=48, test_per_class=24)
    )  # 4 and 2 actors
    recipe = override(task.CL, ["split=speaker", "seconds=0.2", "image_size=16"])
    data = task.build_data(recipe, root)
    parts = [actors_of(data.train), actors_of(data.val), actors_of(data.test)]
    assert [len(part) for part in parts] == [4, 1, 1]  # a tenth of 6 actors, and of the other 5, rounded up
    assert len(set.union(*parts)) == 6
    assert len(data.train) + len(data.val) + len(data.test) == 6 * 72
    other_seed = task.build_data(override(recipe, ["seed=7"]), root)
    assert actors_of(other_seed.test) == parts[2]  # the test actors are always the same
    assert actors_of(data.score) == parts[0]


@pytest.fixture(scope="module")
def six_actors(tmp_path_factory):
    """Six actors with one clip of each emotion in two lists, which only says what there is."""
    root = tmp_path_factory.mktemp("six")
    (root / "annotations").mkdir()
    for split, actors in (("train", (2001, 2002, 2003, 2004)), ("test", (2005, 2006))):
        rows = [f"{actor}_IEO_{emotion}_XX,{emotion}" for actor in actors for emotion in CLASSES]
        (root / "annotations" / f"{split}.csv").write_text("\n".join(rows))
        for row in rows:
            name = row.partition(",")[0]
            put(root / "Image-01-FPS" / name / "0.jpg", JPEG)
            (root / "AudioWAV").mkdir(exist_ok=True)
            soundfile.write(root / "AudioWAV" / f"{name}.wav", np.zeros(99), RATE)
    return root


def actors_tested(root, *assignments):
    recipe = override(cremad_task.CL, ["split=speaker", "cache=none", *assignments])
    data = cremad_task.build_data(recipe, root)
    parts = [actors_of(part) for part in (data.train, data.val, data.test)]
    assert not parts[0] & parts[1] and not parts[2] & (parts[0] | parts[1]) and len(set.union(*parts)) == 6
    assert data.tested_groups == {"actor": sorted(parts[2])}
    return parts[2]


def test_over_the_folds_every_actor_is_tested_once_whatever_the_seed(six_actors):
    folds = [actors_tested(six_actors, f"fold={fold}", "folds=3") for fold in range(3)]
    assert [len(fold) for fold in folds] == [2, 2, 2] and len(set.union(*folds)) == 6
    assert actors_tested(six_actors, "fold=1", "folds=3", "seed=7") == folds[1]
    assert actors_tested(six_actors)  # no fold: a tenth of the actors, which is written down as well


def test_folds_have_both_sexes_and_all_ages_where_the_demographics_are_there(six_actors, tmp_path):
    root = shutil.copytree(six_actors, tmp_path / "root")
    people = [(2001, 60, "Male"), (2002, 30, "Female"), (2003, 20, "Male"), (2004, 40, "Male"), (2005, 50, "Female")]
    rows = [f'{actor},{age},"{sex}","Unknown","Unknown"\n' for actor, age, sex in (*people, (2006, 20, "Female"))]
    path = root / DEMOGRAPHICS
    path.write_text('"ActorID","Age","Sex","Race","Ethnicity"\n' + "".join(rows))
    # by sex and age: 2006 2002 2005, 2003 2004 2001; dealt to three
    folds = [actors_tested(root, f"fold={fold}", "folds=3") for fold in range(3)]
    assert folds == [{"2006", "2003"}, {"2002", "2004"}, {"2005", "2001"}]
    path.write_text("ActorID,Age,Sex\n" + "".join(rows[:5]).replace(',"Unknown"', ""))
    with pytest.raises(DataError, match=r"no row of 1 actors, such as 2006: mend it, or move the file away"):
        actors_tested(root, "fold=0")
    for text, said in (("ActorID,Age\n", "no column Sex"), ("ActorID,Age,Sex\n2001,old,Male\n", r"line 2: .2001,old")):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            actors_tested(root, "fold=0")


def test_folds_that_cannot_be_dealt_say_what_can(six_actors):
    with pytest.raises(RecipeError, match=r"folds are of the actors, and split=published .*: --set split=speaker"):
        override(cremad_task.CL, ["fold=0"])
    with pytest.raises(DataError, match=r"6 actors cannot be dealt to 7 folds: --set folds=6 or fewer"):
        actors_tested(six_actors, "fold=0", "folds=7")
    with pytest.raises(RecipeError, match="fold=5 is none of the 5 folds"):
        actors_tested(six_actors, "fold=5")


def test_one_actor_cannot_be_split_by_speaker(tmp_path):
    from bss.data.splits import group_split

    with pytest.raises(DataError, match="3 samples of 1 actor cannot be split by actor"):
        group_split(["1001"] * 3, 0.1, seed=0, noun="actor")
