import hashlib
import importlib
import io
import json
import os
import pickle
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile
import torch
import torchvision

from bss.cli import commands
from bss.data import doctor
from bss.data.datasets.cremad import DATA_SET
from bss.data.datasets.data_set import DataSet, read
from bss.data.doctor import content, media
from bss.data.doctor.media import Facts, Job, look, look_at_all
from bss.data.synthetic import cremad as synthetic_cremad
from bss.data.synthetic import signals
from bss.data.synthetic.signals import ClipSizes
from bss.utils.errors import BssError, DataError, RecipeError
from tests.conftest import random_states
from tests.data.videos import grey, write_video

SHARED = Path(__file__).parents[3] / "shared" / "data"
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
RATE = 8000


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A generated CREMA-D: 12 training and 6 test clips, each with a wav and two frames."""
    root = tmp_path_factory.mktemp("doctor") / "data"
    return synthetic_cremad.write_sample(
        root, ClipSizes(per_class=2, test_per_class=1, seconds=0.2, sample_rate=RATE, image_size=32)
    )


@pytest.fixture
def root(whole, tmp_path):
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(whole, tmp_path / "data"))


def run(root, *flags, stem="cremad", workers=0):
    """The exit status of the command."""
    return commands.main(["doctor", stem, str(root), "--workers", str(workers), *flags])


def examine(root, data_set=DATA_SET, workers=0):
    """Findings by the name of their check."""
    found = {}
    for finding in doctor.examine(data_set, root, workers=workers)[1]:
        found.setdefault(finding.check, []).append(finding)
    return found


def rows_of(root, split="train"):
    return (root / "annotations" / f"{split}.csv").read_text().split()


def write_rows(root, rows, split="train"):
    (root / "annotations" / f"{split}.csv").write_text("".join(f"{row}\n" for row in rows))


def name_of(root, split="train", row=0):
    return rows_of(root, split)[row].partition(",")[0]


def wav(root, name):
    return root / "AudioWAV" / f"{name}.wav"


def frame(root, name, number=1):
    return root / "Image-01-FPS" / name / f"{number:05d}.jpg"


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


def jpeg(size=(32, 32), seed=0):
    """Bytes of a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (3, *size), dtype=np.uint8)
    return torchvision.io.encode_jpeg(torch.from_numpy(pixels)).numpy().tobytes()


def png_header(width, height):
    import zlib

    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunks + b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class Post:
    """A sample of a made-up data set."""

    name: str
    label: int = 0
    text: str = ""
    group: str = ""
    listed: str = ""
    files: dict = field(default_factory=dict)
    windows: dict = field(default_factory=dict)

    @property
    def read(self):
        return self.text, ""


def made_up(**lists):
    """A data set of classes a and b whose lists are given; this file stands for each of them."""

    def locate(root, split, path):
        return [
            Post(**{"name": f"{split}{i}", "listed": f"{root}/{split}.txt line {i}"} | row)
            for i, row in enumerate(lists[split], start=1)
        ]

    return DataSet(
        stem="made_up",
        title="Made up",
        folder="MadeUp",
        classes=("a", "b"),
        places={split: (__file__ if split in lists else f"{split}.txt",) for split in ("train", "val", "test")},
        published={"train": (2, 9)},
        locate=locate,
    )


# --------------------------------------------------------------------------------------------------- whole trees


def test_a_whole_sample_is_ready_to_train(root, capsys):
    assert run(root) == 0
    printed = capsys.readouterr()
    assert printed.out.rstrip().endswith("Ready to train: no errors, no warnings.")
    assert "54 files of 54 decoded" in printed.out and "CREMA-D under" in printed.out and printed.err == ""


def test_every_check_says_that_it_was_made(root):
    found = examine(root)
    assert {check for check, (first, *_) in found.items() if first.severity == "ok"} == {
        "files-missing",
        "files-decoded",
        "classes",
        "shared-names",
        "shared-groups",
        "copies",
    }
    assert [finding.severity for finding in found["list-size"]] == ["note", "note"]


def test_processes_find_what_one_process_finds(root):
    for row in range(9):
        put(wav(root, name_of(root, row=row)), b"not a sound")
    assert doctor.examine(DATA_SET, root, workers=2)[1] == doctor.examine(DATA_SET, root, workers=0)[1]


def test_random_states_are_left_alone(root):
    before = random_states()
    examine(root)
    assert random_states() == before


# --------------------------------------------------------------------------------------------------------- lists


def test_lists_of_other_lengths_are_warned_about_with_the_numbers(root):
    (root / signals.MARKER).unlink()
    train, test = examine(root)["list-size"]
    assert train.severity == test.severity == "warning"
    assert train.message.startswith("train: 12 rows; the published lists have 6,698 (6,686 fewer here)")
    assert test.message.startswith("test: 6 rows; the published lists have 744 (738 fewer here)")


def test_a_list_as_long_as_any_published_one_is_well(tmp_path):
    data_set = made_up(train=[{"label": 0}, {"label": 1}], test=[{"label": 0}, {"label": 1}])
    (finding,) = examine(tmp_path, data_set)["list-size"]
    assert (finding.severity, finding.message) == ("ok", "rows as published: train 2")


def test_a_list_is_compared_with_every_published_length(tmp_path):
    data_set = made_up(train=[{}] * 3, test=[{}])
    (finding,) = examine(tmp_path, data_set)["list-size"]
    assert "published lists have 2 (1 more here) or 9 (6 fewer here)" in finding.message


def test_a_missing_list_is_an_error_and_an_optional_one_a_note(tmp_path):
    test, val = sorted(examine(tmp_path, made_up(train=[{}]))["list-missing"], key=lambda f: f.severity)
    assert test.severity == "error" and "no list of the test split" in test.message and "\n" not in test.message
    assert val.severity == "note" and "no list of the val split" in val.message


def test_without_any_list_the_report_is_short_and_an_error(tmp_path, capsys):
    assert run(tmp_path) == 1
    out = capsys.readouterr().out
    assert out.count("error ") == 2 and "Not ready: 2 errors. CREMAD/README.md describes the layout." in out


@pytest.mark.parametrize("stem", commands.STEMS)
def test_every_data_set_can_be_examined(stem, tmp_path):
    data_set = importlib.import_module(f"bss.data.datasets.{stem}").DATA_SET
    missing = examine(tmp_path, data_set)["list-missing"]
    assert len(missing) == len(data_set.splits) - len(data_set.optional)
    assert sum(finding.severity == "error" for finding in missing) == 2
    assert data_set.group is None or data_set.group
    assert set(data_set.published) == set(data_set.splits)


@pytest.mark.parametrize(
    "text, words",
    [("a,NEU\nb,JOY\n", "line 2: unknown label 'JOY'"), ("", "an empty file"), (LFS.decode(), "a Git-LFS pointer")],
)
def test_an_unreadable_list_is_an_error_with_its_line_and_the_other_list_is_looked_at(root, text, words):
    (root / "annotations" / "test.csv").write_text(text)
    found = examine(root)
    (finding,) = found["list-unreadable"]
    assert finding.severity == "error" and words in finding.message
    assert finding.message.startswith("test: annotations/test.csv")
    assert "36 files of 36" in found["files-decoded"][0].message


def test_a_list_that_gives_no_rows_is_an_error(tmp_path):
    assert examine(tmp_path, made_up(train=[{}], test=[]))["list-unreadable"][0].message == "test: the list has no rows"


# ------------------------------------------------------------------------------------------------- missing files


def test_a_missing_file_is_named_with_its_row(root):
    name = name_of(root, row=4)
    wav(root, name).unlink()
    found = examine(root)
    missing, well = sorted(found["files-missing"], key=lambda finding: finding.severity)
    assert missing.message == "no audio found for 1 of 18 samples (train 1 of 12)" and missing.severity == "error"
    assert str(missing.examples[0]) == f"{name} (annotations/train.csv line 5)"
    assert well.message == "all 18 samples have frames"


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: path.symlink_to("nowhere.wav"), "a broken link"),
        (lambda path: path.mkdir(), "a folder without files"),
        (lambda path: put(path.with_suffix(".mp4"), b"x"), "a file"),
        (lambda path: os.mkfifo(path), "neither a file nor a folder"),
    ],
)
def test_what_lies_there_in_place_of_a_missing_file_is_said(root, make, words):
    name = name_of(root)
    wav(root, name).unlink()
    make(wav(root, name))
    missing = next(finding for finding in examine(root)["files-missing"] if finding.severity == "error")
    assert missing.examples[0].detail.startswith(f"there is AudioWAV/{name}.") and words in missing.examples[0].detail


def test_a_link_to_itself_is_an_error_and_no_traceback(root, capsys):
    name = name_of(root)
    wav(root, name).unlink()
    wav(root, name).symlink_to(wav(root, name).name)
    assert run(root) == 1
    assert "AudioWAV" in capsys.readouterr().out


def test_no_media_at_all_is_one_finding_for_each_kind(root):
    shutil.rmtree(root / "AudioWAV")
    shutil.rmtree(root / "Image-01-FPS")
    found = examine(root)
    assert [finding.message for finding in found["files-missing"]] == [
        "no audio found for any of the 18 samples",
        "no frames found for any of the 18 samples",
    ]
    assert not {"files-decoded", "copies"} & set(found)


@pytest.mark.parametrize("content", [[], ["notes.txt", "clip.tga"]])
def test_a_frame_folder_without_frames_is_told_from_a_missing_one(root, content):
    empty, gone = name_of(root, row=0), name_of(root, row=1)
    for name in (empty, gone):
        shutil.rmtree(root / "Image-01-FPS" / name)
    (root / "Image-01-FPS" / empty).mkdir()
    for file in content:
        put(root / "Image-01-FPS" / empty / file, b"x")
    found = examine(root)
    (finding,) = found["folders-empty"]
    assert finding.severity == "error" and "for 1 of 18 samples" in finding.message
    what = "a folder with nothing usable in it (2 entries)" if content else "a folder without files"
    assert str(finding.examples[0]) == f"Image-01-FPS/{empty} (annotations/train.csv line 1): {what}"
    assert gone in str(next(f for f in found["files-missing"] if f.severity == "error").examples)


def test_an_empty_frame_folder_is_no_reason_for_a_missing_sound(root):
    name = name_of(root)
    shutil.rmtree(root / "Image-01-FPS" / name)
    (root / "Image-01-FPS" / name).mkdir()
    wav(root, name).unlink()
    found = examine(root)
    assert len(found["folders-empty"]) == 1 and "no frames" in found["folders-empty"][0].message
    assert any(finding.message.startswith("no audio found for 1 of") for finding in found["files-missing"])


def test_samples_whose_names_are_paths_are_looked_for_under_that_path(tmp_path):
    for folder in ("one/clip", "two/clip"):
        (tmp_path / folder).mkdir(parents=True)
    data_set = made_up(train=[{"name": "two/clip", "files": {"rgb": ()}}], test=[{"files": {"rgb": ()}}])
    (finding,) = examine(tmp_path, data_set)["folders-empty"]
    assert [example.file for example in finding.examples] == ["two/clip"]


def test_entries_that_only_look_like_files_are_warned_about(root):
    name = name_of(root)
    frame(root, name, 3).symlink_to("gone.jpg")
    frame(root, name, 4).mkdir()
    os.mkfifo(frame(root, name, 5))
    put(frame(root, name, 1).with_suffix(".txt"), b"no medium, so no matter")
    (finding,) = examine(root)["files-odd"]
    assert finding.severity == "warning" and "3 entries have the suffix of media" in finding.message
    assert [Path(example.file).name for example in finding.examples] == ["00003.jpg", "00004.jpg", "00005.jpg"]
    assert [example.detail.split(" with")[0] for example in finding.examples] == [
        "a broken link",
        "a folder",
        "neither a file nor a folder",
    ]


def test_a_loop_of_links_and_a_generated_sample_below_the_root_are_passed_over(root):
    (root / "Image-01-FPS" / "again").symlink_to(root)
    shutil.copytree(root / "AudioWAV", root / "runs" / "AudioWAV")
    put(root / "runs" / signals.MARKER, b"{}")
    name = name_of(root)
    wav(root, name).unlink()
    missing = next(finding for finding in examine(root)["files-missing"] if finding.severity == "error")
    assert missing.examples[0].detail == ""


# ---------------------------------------------------------------------------------------------------- bad files

HOLLOW = {
    "empty": (b"", "files-empty", "an empty file (0 bytes)"),
    "pointer": (LFS, "files-lfs", "a Git-LFS pointer"),
}
DAMAGED = {
    "text as wav": ("wav", b"hello, I am a text", "not a wav file"),
    "half a header": ("wav", b"RIFF\x24\0\0\0WAVEfmt ", "a truncated wav file"),
    "text as jpg": ("jpg", b"hello, I am a text", "neither a jpeg nor a png image"),
    "bomb": ("jpg", png_header(60_000, 60_000), "pixels"),
    "cut jpeg": ("jpg", jpeg()[:400], "image"),
    "cut jpeg with good ends": ("jpg", jpeg((96, 96))[:3000] + b"\xff\xd9", "a part is missing (Corrupt JPEG data"),
    "a png that ends": ("jpg", png_header(8, 8), "image"),
    "code": ("pkl", b"cos\nsystem\n(S'true'\ntR.", "refused"),
    "half a pickle": ("pkl", pickle.dumps(np.zeros(900, np.float32))[:200], "not a readable pickle"),
    "loud": ("pkl", pickle.dumps(np.full(900, 1e6, np.float32)), "samples reach"),
}


def place(root, name, kind, data):
    if kind == "jpg":
        return put(frame(root, name), data)
    if kind == "wav":
        return put(wav(root, name), data)
    return put(root / "wav_pkl" / f"{name}.pkl", data)


@pytest.mark.parametrize("kind", ["wav", "jpg"])
@pytest.mark.parametrize("case", HOLLOW)
def test_a_file_that_holds_nothing_is_named(root, kind, case):
    data, check, words = HOLLOW[case]
    path = place(root, name_of(root), kind, data)
    (finding,) = examine(root)[check]
    assert finding.severity == "error" and finding.message.startswith(f"1 file: {words}")
    assert str(finding.examples[0]) == f"{path.relative_to(root)} (annotations/train.csv line 1)"


def test_a_wav_of_no_samples_holds_nothing(root):
    soundfile.write(wav(root, name_of(root)), np.zeros(0), RATE)
    assert examine(root)["files-empty"][0].message == "1 file: a wav file with zero samples"


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_named_with_its_row_and_fault(root, case):
    kind, data, words = DAMAGED[case]
    path = place(root, name_of(root, row=2), kind, data)
    (finding,) = examine(root)["files-damaged"]
    assert finding.severity == "error" and finding.message == "1 file is damaged or cannot be decoded"
    assert finding.examples[0][1:] == (
        str(path.relative_to(root)),
        "annotations/train.csv line 3",
        name_of(root, row=2),
    )
    assert words in finding.examples[0].detail and str(root) not in finding.examples[0].detail


def test_all_bad_files_at_once_are_named_by_parallel_processes_and_nothing_leaks(root, capfd):
    for row, (kind, data, _) in enumerate(DAMAGED.values()):
        place(root, name_of(root, row=row), kind, data)
    assert run(root, "--json", workers=2) == 1
    printed = capfd.readouterr()
    report = json.loads(printed.out)
    (finding,) = [finding for finding in report["findings"] if finding["check"] == "files-damaged"]
    assert len(finding["examples"]) == len(DAMAGED)
    assert printed.err == "" or printed.err.startswith("\rdecoding")


def test_a_file_that_cannot_be_read_is_named(root):
    path = frame(root, name_of(root))
    path.unlink()
    path.symlink_to("/proc/self/mem")  # it opens, and its first byte is an input/output error, for root too
    (finding,) = examine(root)["files-damaged"]
    assert "cannot be read" in finding.examples[0].detail


def test_a_file_without_permission_is_named(root, monkeypatch):
    refused = wav(root, name_of(root))
    real_open = open

    def guarded(path, *args, **options):
        if path == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *args, **options)

    monkeypatch.setattr("builtins.open", guarded)
    (finding,) = examine(root)["files-damaged"]
    assert finding.examples[0].detail == "cannot be read: Permission denied"


@pytest.fixture
def no_glance(monkeypatch):
    """Every file gets the thorough look."""
    monkeypatch.setattr(media, "_at_a_glance", lambda job: None)


def test_a_decoder_that_fails_in_its_own_way_does_not_stop_the_others(root, monkeypatch, no_glance):
    def failing(path):
        raise IndexError("list index out of range\nand a long story")

    monkeypatch.setattr(media, "_picture_facts", failing)
    (finding,) = examine(root)["files-damaged"]
    assert len(finding.examples) == 36
    assert finding.examples[0].detail == "the decoder failed (IndexError: list index out of range)"


def test_a_decoder_that_takes_its_process_down_costs_that_file_only(root, monkeypatch):
    deadly = frame(root, name_of(root, row=3))

    def read(job):
        if job.path == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return media.Facts(shape=(32, 32))

    monkeypatch.setattr(media, "_at_a_glance", read)  # forked workers inherit it
    found = examine(root, workers=2)
    (finding,) = found["files-damaged"]
    assert [example.file for example in finding.examples] == [str(deadly.relative_to(root))]
    assert finding.examples[0].detail == "its decoder crashed, or ran out of memory"
    assert "53 files of 54" in found["files-decoded"][0].message


def test_a_package_that_is_not_installed_is_no_fault_of_the_files(root, monkeypatch, capsys, no_glance):
    def missing(path):
        raise ModuleNotFoundError("No module named 'cv2'")

    monkeypatch.setattr(media, "_picture_facts", missing)
    assert run(root) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "cannot be checked: No module named 'cv2'; see requirements.txt" in printed.err


def test_a_complaint_of_the_decoder_is_a_warning(root):
    name = name_of(root)
    data = frame(root, name).read_bytes()
    put(frame(root, name), data[:-2] + bytes(40) + data[-2:])
    (finding,) = examine(root)["files-doubtful"]
    assert finding.severity == "warning" and "Corrupt JPEG data" in finding.examples[0].detail


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("look_of_it", ["noise", "flat", "nearly flat"])
def test_a_glance_at_a_jpeg_finds_what_decoding_all_of_it_finds(tmp_path, monkeypatch, mode, look_of_it):
    draw = np.random.default_rng(0)
    noise = look_of_it == "noise"
    pixels = draw.integers(0, 256, (20, 33, 3), np.uint8) if noise else np.full((20, 33, 3), 90, np.uint8)
    pixels[10:] += look_of_it == "nearly flat"
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).convert(mode).save(file, "JPEG", progressive=noise)
    whole = file.getvalue()
    some = draw.integers(2, len(whole), 10)
    damaged = [whole[: some[0]], whole[: some[1]], *(whole[:at] + bytes([at % 251]) + whole[at + 1 :] for at in some)]
    damaged += [whole[:at] + bytes(7) + whole[at:] for at in some[:3]] + [whole[:-2] + bytes(9) + whole[-2:]]
    jobs = [Job(put(tmp_path / f"{place}.jpg", data), "frames") for place, data in enumerate([whole, *damaged])]
    glanced = list(map(look, jobs))
    assert glanced[0].flat is (look_of_it == "flat") and glanced[0].shape == (20, 33)
    assert (media.picture.glance(whole) is None) is (mode == "CMYK")
    monkeypatch.setattr(media, "_at_a_glance", lambda job: None)
    assert glanced == list(map(look, jobs))


def test_a_glance_leaves_turned_pictures_and_other_formats_to_the_whole_decoder(tmp_path):
    picture, turned, lying = PIL.Image.new("RGB", (16, 8)), PIL.Image.Exif(), PIL.Image.Exif()
    turned[0x0112], lying[0x0112] = 6, 1
    picture.save(tmp_path / "turned.jpg", exif=turned)
    picture.save(tmp_path / "lying.jpg", exif=lying)
    picture.save(tmp_path / "x.png")
    assert media.picture.glance((tmp_path / "turned.jpg").read_bytes()) is None
    assert media.picture.glance((tmp_path / "lying.jpg").read_bytes()).shape == (8, 16)
    assert media.picture.glance((tmp_path / "x.png").read_bytes()) is None
    assert look(Job(tmp_path / "turned.jpg", "frames")).shape == (16, 8)


def ordinary_wav(samples=(3, -5, 2), rate=8000, before=b""):
    data = np.array(samples, "<i2").tobytes()
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16) + before
    return b"RIFF" + struct.pack("<I", len(head) + 8 + len(data)) + head + b"data" + struct.pack("<I", len(data)) + data


def test_an_ordinary_wav_is_read_as_it_is_stored(tmp_path):
    info = b"LIST" + struct.pack("<I", 18) + b"INFOISFT" + struct.pack("<I", 6) + b"Lavf58"
    for before in (b"", info):
        data = ordinary_wav((3, -32768, 2), before=before)
        stored = media.sound.stored_samples(data)
        assert stored.samples_T.tolist() == [3, -32768, 2] and stored.rate == 8000
        found = look(Job(put(tmp_path / "x.wav", data), "audio", hashed=True))
        assert found == Facts(seconds=3 / 8000, peak=1.0, digest=hashlib.sha256(data).digest())
    assert look(Job(put(tmp_path / "x.wav", ordinary_wav()), "audio")) == Facts(seconds=3 / 8000, peak=5 / 32768)


@pytest.mark.parametrize("kind", ["PCM_16", "PCM_24", "FLOAT", "ULAW", "stereo", "info"])
def test_a_glance_at_a_wav_finds_what_decoding_it_finds(tmp_path, monkeypatch, kind):
    draw = np.random.default_rng(0)
    if kind == "info":
        whole = ordinary_wav(draw.integers(-9999, 9999, 60), before=b"LIST\x0c\0\0\0INFOISFT\0\0\0\0")
    else:
        samples = draw.normal(size=(60, 2) if kind == "stereo" else 60) / 4
        soundfile.write(tmp_path / "x.wav", samples, 8000, subtype="PCM_16" if kind == "stereo" else kind)
        whole = (tmp_path / "x.wav").read_bytes()
    assert (media.sound.stored_samples(whole) is not None) is (kind in ("PCM_16", "info"))
    changed = [whole[:at] + bytes([value]) + whole[at + 1 :] for at in range(60) for value in (0, 1, whole[at] ^ 64)]
    changed += [whole[:at] for at in range(0, len(whole), 7)] + [whole + bytes(n) for n in (1, 2, 30)]
    jobs = [Job(put(tmp_path / f"{place}.wav", data), "audio") for place, data in enumerate([whole, *changed])]
    glanced = list(map(look, jobs))
    monkeypatch.setattr(media, "_at_a_glance", lambda job: None)
    assert glanced == list(map(look, jobs))


def test_ordinary_files_are_looked_at_without_pytorch_and_the_decoders_of_sounds(whole):
    code = (
        "import sys; from bss.cli import commands; commands.main(['doctor', 'cremad', sys.argv[1], '--workers', '0']); "
        "print([name for name in ('torch', 'torchvision', 'soundfile', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(whole)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_files_of_other_kinds_are_said_to_be_unchecked(tmp_path):
    path = put(tmp_path / "x.hdf5", b"123")
    data_set = made_up(train=[{"files": {"features": (path,)}}], test=[{"label": 0, "files": {"features": (path,)}}])
    found = examine(tmp_path, data_set)
    (finding,) = found["files-unchecked"]
    assert finding.severity == "note" and "(.hdf5)" in finding.message
    assert str(finding.examples[0]) == "x.hdf5 (train.txt line 1 and 1 other)"
    assert "files-decoded" not in found


# ----------------------------------------------------------------------------------------------- kinds of media


@pytest.mark.parametrize(
    "array, words",
    [
        (np.zeros((4, 5), np.float32), None),
        (np.zeros((0, 5), np.float32), "without values"),
        (np.array([{}, None]), "Python objects"),
    ],
)
def test_arrays_are_checked_by_their_header(tmp_path, array, words):
    np.save(tmp_path / "x.npy", array)
    facts = look(Job(tmp_path / "x.npy", "flow"))
    assert facts == Facts() if words is None else words in (facts.damage or facts.nothing)


@pytest.mark.parametrize("cut, words", [(5, "truncated"), (100, "not a readable npy"), (None, "not a readable npy")])
def test_a_damaged_array_is_told(tmp_path, cut, words):
    np.save(tmp_path / "x.npy", np.zeros(30, np.int8))
    data = (tmp_path / "x.npy").read_bytes()
    put(tmp_path / "x.npy", data[:-cut] if cut else b"a text")
    assert words in look(Job(tmp_path / "x.npy", "flow")).damage


def test_an_array_of_sound_is_read_as_sound(tmp_path):
    np.save(tmp_path / "x.npy", np.full(50, 0.25, np.float32))
    assert look(Job(tmp_path / "x.npy", "audio")) == Facts(peak=0.25)
    np.save(tmp_path / "x.npy", np.full(50, np.nan, np.float32))
    assert "not finite" in look(Job(tmp_path / "x.npy", "audio")).damage


@pytest.mark.parametrize("rate", [500, 48_000])
def test_a_decoded_waveform_keeps_its_own_rate(tmp_path, rate):
    content = {"waveform": np.full(rate // 2, 0.5, np.float32), "sample_rate": rate}
    put(tmp_path / "x.pkl", pickle.dumps(content))
    torch.save({"waveform": torch.full((rate // 2,), 0.5), "sample_rate": rate}, tmp_path / "x.pt")
    for name in ("x.pkl", "x.pt"):
        assert look(Job(tmp_path / name, "audio")) == Facts(seconds=0.5, peak=0.5)


def test_a_finished_spectrogram_is_well(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((257, 188), np.float32))
    assert look(Job(tmp_path / "x.npy", "audio")) == Facts()


def test_a_video_is_decoded_to_its_end(tmp_path):
    path = write_video(tmp_path / "x.avi", grey(range(0, 200, 10)), fps=10)
    assert look(Job(path, "rgb")) == Facts(seconds=2.0)
    assert look(Job(path, "rgb", window=(5, 20))) == Facts()
    assert "20 frames can be decoded" in look(Job(path, "rgb", window=(5, 30))).damage


@pytest.mark.parametrize("keep", [0.1, 0.5])
@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_a_video_that_ends_early_is_damaged(tmp_path, suffix, keep):
    data = write_video(tmp_path / f"x{suffix}", grey(range(0, 200, 10)), fps=10).read_bytes()
    path = put(tmp_path / f"x{suffix}", data[: int(keep * len(data))])
    assert look(Job(path, "rgb")).damage


def test_silence_long_clips_and_poor_pictures_are_notes(root):
    silent, long, small, flat = (name_of(root, row=row) for row in range(4))
    soundfile.write(wav(root, silent), np.full(RATE // 5, 2e-5), RATE, subtype="FLOAT")
    soundfile.write(wav(root, long), np.sin(np.arange(4 * RATE)) / 2, RATE)
    put(frame(root, small), jpeg((40, 15)))
    put(frame(root, flat), torchvision.io.encode_jpeg(torch.full((3, 40, 40), 7, dtype=torch.uint8)).numpy().tobytes())
    found = examine(root)
    expected = {
        "audio-silent": (wav(root, silent), "peak 2e-05"),
        "media-long": (wav(root, long), "4.0 s"),
        "image-small": (frame(root, small), "40 x 15 pixels"),
        "image-flat": (frame(root, flat), "40 x 40 pixels"),
    }
    for check, (path, detail) in expected.items():
        (finding,) = found[check]
        assert finding.severity == "note"
        assert [example[:2] for example in finding.examples] == [(detail, str(path.relative_to(root)))]


def test_quiet_sounds_and_long_ones_among_long_ones_are_usual(root):
    for row in rows_of(root):
        name = row.partition(",")[0]
        soundfile.write(wav(root, name), 2e-4 * np.sin(np.arange(4 * RATE)), RATE, subtype="FLOAT")
    assert not {"audio-silent", "media-long", "image-small", "image-flat"} & set(examine(root))


# ----------------------------------------------------------------------------------------------------- classes


def test_a_class_that_only_test_has_is_an_error_and_one_that_only_train_has_a_warning(root):
    write_rows(root, [row for row in rows_of(root) if not row.endswith(("HAP", "SAD"))])
    write_rows(root, [row for row in rows_of(root, "test") if not row.endswith("ANG")], "test")
    found = examine(root)
    (unlearnt,), (unmeasured,) = found["class-unlearnt"], found["class-unmeasured"]
    assert unlearnt.severity == "error" and unlearnt.message.startswith("2 classes are in test but not in train")
    assert [str(example) for example in unlearnt.examples] == ["HAP", "SAD"]
    assert unmeasured.severity == "warning" and [str(example) for example in unmeasured.examples] == ["ANG"]
    assert "classes" not in found


def test_a_class_in_no_list_is_a_warning(tmp_path):
    found = examine(tmp_path, made_up(train=[{}, {}], test=[{}]))
    (finding,) = found["class-unused"]
    assert (finding.severity, finding.message, str(finding.examples[0])) == ("warning", "1 class is in no list", "b")
    assert "classes" not in found


def test_a_class_with_a_single_training_sample_is_a_warning_with_the_way_out(tmp_path):
    lists = {"train": [{}, {"label": 1}, {}], "test": [{}, {"label": 1}]}
    (finding,) = examine(tmp_path, made_up(**lists))["class-single"]
    assert finding.severity == "warning" and finding.message.startswith("1 class has a single training sample")
    assert "--set val_fraction=0" in finding.message
    assert [str(example) for example in finding.examples] == ["train2 (train.txt line 2): b"]
    assert "class-single" not in examine(tmp_path, made_up(**lists | {"train": [{}, {"label": 1}] * 2}))
    assert "class-single" not in examine(tmp_path, made_up(**lists, val=[{}]))  # nothing is split there


def test_the_same_answer_for_all_gets_the_share_of_the_largest_class(tmp_path, capsys):
    tree, findings = doctor.examine(made_up(train=[{"label": 1}] * 3 + [{}], test=[{}]), tmp_path)
    report = doctor.report.as_dict(tree, findings)
    assert report["splits"]["train"]["classes"] == {"a": 1, "b": 3}
    assert report["splits"]["train"]["majority"] == {"class": "b", "share": 0.75}
    assert "The same answer for all gets train 75.0% (b), test 100.0% (a)." in doctor.report.as_text(tree, findings)


# ---------------------------------------------------------------------------------------------- shared and copied


def test_a_name_in_two_lists_is_an_error(root):
    shared = rows_of(root)[3]
    write_rows(root, [*rows_of(root, "test"), shared], "test")
    found = examine(root)
    (finding,) = found["shared-names"]
    assert finding.severity == "error" and finding.message.startswith("1 sample of 7 in test is in train too, by name")
    assert str(finding.examples[0]) == (
        f"{shared.partition(',')[0]} (annotations/test.csv line 7): also annotations/train.csv line 4"
    )
    assert "shared-content" not in found  # said once


def copy_clip(root, source, target):
    shutil.copy(wav(root, source), wav(root, target))
    shutil.rmtree(root / "Image-01-FPS" / target)
    shutil.copytree(root / "Image-01-FPS" / source, root / "Image-01-FPS" / target)


def test_a_copy_under_another_name_in_the_other_list_is_an_error(root):
    source, target = name_of(root), name_of(root, "test", 2)
    copy_clip(root, source, target)
    found = examine(root)
    (finding,) = found["shared-content"]
    assert finding.severity == "error" and finding.message.startswith("1 test sample is a copy of one in train")
    assert (
        str(finding.examples[0])
        == f"{target} (annotations/test.csv line 3): as {source} (annotations/train.csv line 1)"
    )
    assert not {"copies", "shared-audio", "shared-frames"} & set(found)


def test_one_modality_in_both_lists_is_a_warning(root):
    source, target = name_of(root), name_of(root, "test", 2)
    shutil.copy(wav(root, source), wav(root, target))
    found = examine(root)
    (finding,) = found["shared-audio"]
    assert (
        finding.severity == "warning"
        and finding.message == "1 test sample has the very audio of another sample in train"
    )
    assert not {"shared-content", "copies", "shared-frames"} & set(found)


def test_copies_in_one_list_are_a_warning_that_counts_the_labels_that_disagree(root):
    rows = rows_of(root)
    label = rows[0][-3:]
    same = next(row for row in rows[1:] if row.endswith(label)).partition(",")[0]
    other = next(row for row in rows[1:] if not row.endswith(label)).partition(",")[0]
    first = name_of(root)
    copy_clip(root, first, same)
    (finding,) = examine(root)["copies"]
    assert finding.severity == "warning"
    assert finding.message == "train: the same sample under several names: 1 time, 2 of 12 samples; the labels agree"
    copy_clip(root, first, other)
    (finding,) = examine(root)["copies"]
    assert finding.message.endswith(
        "1 time, 3 of 12 samples; 1 time with different labels, so that at best 91.7% of train can be told right"
    )
    assert first in str(finding.examples[0]) and "and 1 more" in str(finding.examples[0])


def test_frames_are_copies_only_if_all_of_a_clip_are(root):
    first, second = name_of(root), name_of(root, row=1)
    shutil.copy(frame(root, first, 1), frame(root, second, 1))
    assert "copies-frames" not in examine(root)
    shutil.copy(frame(root, first, 2), frame(root, second, 2))
    assert len(examine(root)["copies-frames"]) == 1


def test_broken_files_are_no_copies_of_one_another(root):
    for row in range(3):
        put(wav(root, name_of(root, row=row)), LFS)
    assert not [check for check in examine(root) if check.startswith("copies-")]


def test_one_file_of_several_rows_is_decoded_once_and_no_copy(tmp_path):
    path = put(tmp_path / "x.jpg", jpeg())
    rows = [{"files": {"image": (path,)}, "text": text} for text in ("one", "two")]
    data_set = made_up(train=rows, test=[{"files": {"image": (path,)}, "text": "three"}])
    found = examine(tmp_path, data_set)
    assert "1 file of 1 decoded" in found["files-decoded"][0].message
    assert found["copies"][0].message == "no two samples have the same image or text"


def test_equal_texts_are_found_within_and_across_lists(tmp_path):
    images = [put(tmp_path / f"{i}.jpg", jpeg(seed=i)) for i in range(5)]
    texts = ["so funny", "so funny", "other", "So funny", "so funny"]
    rows = [
        {"files": {"image": (image,)}, "text": text, "label": i % 2}
        for i, (image, text) in enumerate(zip(images, texts, strict=True))
    ]
    found = examine(tmp_path, made_up(train=rows[:3], test=rows[3:]))
    (within,), (across,) = found["copies-text"], found["shared-text"]
    assert within.severity == across.severity == "warning"
    assert within.message == (
        "train: the same text in several samples: 1 time, 2 of 3 samples; 1 time with different labels"
    )
    assert across.message == "1 test sample has the very text of another sample in train"
    assert across.examples[0].sample == "test2"


def test_only_files_that_may_be_copies_are_hashed(tmp_path):
    sizes = {"a": (3, 4), "b": (3, 5), "c": (3, 4), "d": (7,)}
    rows = [
        {"files": {"frames": tuple(put(tmp_path / f"{name}{i}.jpg", bytes(n)) for i, n in enumerate(lengths))}}
        for name, lengths in sizes.items()
    ]
    data_set = made_up(train=rows)
    tree = doctor.Tree(data_set, tmp_path, samples={"train": read(data_set, tmp_path, "train")})
    jobs = content.jobs(tree)
    assert [job.path.name for job in jobs] == ["a0.jpg", "a1.jpg", "b0.jpg", "b1.jpg", "c0.jpg", "c1.jpg", "d0.jpg"]
    assert [job.path.name for job in jobs if job.hashed] == ["a0.jpg", "a1.jpg", "c0.jpg", "c1.jpg"]


def test_the_digest_is_the_sha256(tmp_path):
    data = jpeg()
    assert look(Job(put(tmp_path / "x.jpg", data), "frames", hashed=True)).digest == hashlib.sha256(data).digest()


# ------------------------------------------------------------------------------------------------------- groups


def test_shared_groups_are_a_warning_with_all_numbers(tmp_path):
    data_set = made_up(
        train=[{"group": group} for group in ("x", "y", "z", "")],
        test=[{"group": group} for group in ("x", "x", "w", "")],
    )
    assert "shared-groups" not in examine(tmp_path, data_set)
    data_set = replace(data_set, group="speaker")
    (finding,) = examine(tmp_path, data_set)["shared-groups"]
    assert finding.severity == "warning"
    assert finding.message == (
        "1 of 2 speakers of test is in train too (3 there), with 2 of 4 test samples (50.0%): "
        "test measures known speakers"
    )
    data_set = replace(data_set, group_hint="do something")
    assert examine(tmp_path, data_set)["shared-groups"][0].message.endswith("(50.0%); do something")


def test_disjoint_groups_are_well(tmp_path):
    data_set = made_up(train=[{"group": "x"}], val=[{"group": "y"}], test=[{"group": "z"}, {"group": "w"}])
    data_set = replace(data_set, group="speaker")
    (finding,) = examine(tmp_path, data_set)["shared-groups"]
    assert (finding.severity, finding.message) == ("ok", "no speaker of val (1) or test (2) is in train (1)")


# ------------------------------------------------------------------------------------------------------- report


def test_the_json_is_alone_on_stdout_and_has_all_examples(root, capsys):
    for row in range(8):
        wav(root, name_of(root, row=row)).unlink()
    assert run(root, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert set(report) == {
        "schema", "stem", "title", "root", "generated", "status", "counts", "splits", "findings",
    }  # fmt: skip
    assert (report["schema"], report["stem"], report["title"], report["generated"]) == (1, "cremad", "CREMA-D", True)
    assert report["root"] == str(root) and report["status"] == 1
    assert report["counts"] == {"error": 1, "warning": 0, "note": 2, "ok": 6}
    assert set(report["splits"]["train"]) == {"list", "rows", "published", "found", "classes", "majority"}
    assert report["splits"]["train"]["found"] == {"audio": 4, "frames": 12}
    assert report["splits"]["test"]["list"] == "annotations/test.csv"
    for finding in report["findings"]:
        assert set(finding) == {"check", "severity", "message", "examples"}
        assert all(set(example) == {"detail", "file", "row", "sample"} for example in finding["examples"])
    (missing,) = [finding for finding in report["findings"] if finding["severity"] == "error"]
    assert len(missing["examples"]) == 8


def test_the_text_is_sorted_cut_and_narrow(root, capsys):
    for row in range(8):
        wav(root, name_of(root, row=row)).unlink()
    put(frame(root, name_of(root)), b"not a picture")
    write_rows(root, rows_of(root, "test")[1:], "test")
    assert run(root) == 1
    lines = capsys.readouterr().out.splitlines()
    severities = [line.split()[0] for line in lines if line.startswith(("error", "warning", "note", "ok"))]
    assert severities == sorted(severities, key=["error", "warning", "note", "ok"].index)
    assert {"error", "warning", "note", "ok"} == set(severities)
    assert "         ... and 4 more" in lines
    assert max(map(len, lines[1:])) <= 100 and not any("\033" in line for line in lines)
    assert lines[-1] == "Not ready: 2 errors, 1 warning. CREMAD/README.md describes the layout."


def test_many_classes_stand_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    data_set = made_up(train=[{"label": i} for i in range(31)], test=[{}])
    data_set = replace(data_set, classes=tuple(f"class {i}" for i in range(31)))
    tree, findings = doctor.examine(data_set, tmp_path)
    lines = doctor.report.as_text(tree, findings).splitlines()
    (header,) = [line for line in lines if line.startswith("class ") and "train" in line]
    assert header.split() == ["class", "train", "test"] * 4
    table = lines[lines.index(header) + 1 : lines.index(header) + 9]
    assert " ".join(table).count("class") == 31


# --------------------------------------------------------------------------------------------- what cannot be done


def test_a_root_that_is_no_folder_is_status_2(tmp_path, capsys):
    put(tmp_path / "file", b"")
    for root, words in ((tmp_path / "gone", "does not exist"), (tmp_path / "file", "is a file, not a folder")):
        assert run(root, "--json") == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith("error: CREMA-D: the data root") and words in printed.err


@pytest.mark.parametrize("stem", ["cifar", "listing", "generate", "", "os"])
def test_a_stem_that_is_no_data_set_is_status_2(tmp_path, capsys, stem):
    with pytest.raises(SystemExit) as refused:
        run(tmp_path, stem=stem)
    printed = capsys.readouterr()
    assert refused.value.code == 2
    assert printed.out == "" and f"invalid choice: {stem!r} (choose from" in printed.err and "cremad" in printed.err


def test_a_negative_number_of_processes_is_status_2(root, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(root, workers=-1)
    assert "--workers: must be at least 0, got -1" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="--workers must be at least 0, got -1"):
        look_at_all([], workers=-1)


def test_nothing_to_decode_starts_no_process():
    assert look_at_all([], workers=4) == {}


def test_a_fault_of_a_data_set_module_is_no_finding(tmp_path):
    data_set = replace(made_up(train=[{}], test=[{}]), locate=lambda root, split, path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        doctor.examine(data_set, tmp_path)
    assert issubclass(DataError, BssError)


def test_an_interrupt_ends_the_processes_quietly(root):
    code = f"""
import time
from bss.data import doctor
from bss.data.datasets.cremad import DATA_SET
from bss.data.doctor import media
def slow(job):
    time.sleep(0.1)
    return media.Facts()
media._at_a_glance = slow
print("ready", flush=True)
try:
    doctor.examine(DATA_SET, {str(root)!r}, workers=2)
except KeyboardInterrupt:
    raise SystemExit(130)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n"
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")


# ---------------------------------------------------------------------------------------------------- real lists


@pytest.mark.skipif(not (SHARED / "cremad").is_dir(), reason="the published lists are not here")
def test_the_published_lists_of_crema_d_share_all_91_actors(capsys):
    assert run(SHARED / "cremad", "--json", workers=2) == 1
    findings = {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert findings["list-size"]["message"] == "rows as published: train 6,698, test 744"
    assert findings["shared-names"]["severity"] == "ok"
    shared = findings["shared-groups"]
    assert shared["message"].startswith("91 of 91 actors of test are in train too (91 there), with 744 of 744")
    assert "--set split=speaker" in shared["message"] and len(shared["examples"]) == 91


@pytest.mark.skipif(not (SHARED / "nvgesture").is_dir(), reason="the real clips are not here")
def test_the_real_clips_of_nvgesture_decode():
    from bss.data.datasets.nvgesture import DATA_SET

    found = examine(SHARED / "nvgesture", DATA_SET)
    assert "98 files of 98 decoded" in found["files-decoded"][0].message
    assert not {"files-damaged", "files-doubtful", "copies-rgb", "shared-content"} & set(found)
