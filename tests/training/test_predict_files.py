"""``python -m bss predict``: raw files get the answer that the test set's samples get, however they come."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import bss
from bss.cli.commands import main
from bss.data.batches import collate
from bss.data.prepare import ks, nvgesture, raw
from bss.data.transforms.video import count_frames
from bss.scoring.metrics import head_logits
from bss.training.export import export_run
from bss.training.predict_files import COLUMNS, FilePredictions, as_csv, as_json, predict_files
from bss.training.run_folder import list_hash, sealed
from bss.utils.errors import DataError, DataNotFoundError
from tests.conftest import random_states
from tests.data.videos import grey, tone, write_video

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SAMPLES, GESTURES = DATA / "ks" / "samples", DATA / "nvgesture" / "Video_data"


def needs(folder):
    return pytest.mark.skipif(not folder.is_dir(), reason="the real clips are not here")


def put(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names_and_kinds(inputs):
    return [(each.name, {kind: len(files) for kind, files in each.files.items()}, dict(each.texts)) for each in inputs]


# ---- which inputs there are ----------------------------------------------------------------------------------------


def test_files_and_folders_of_one_name_are_one_input(tmp_path):
    paths = [put(tmp_path / name) for name in ("b.mp4", "a.wav", "c.flv")]
    for number in (2, 10, 1):
        put(tmp_path / "a" / f"{number}.jpg")
    found = raw.read_inputs([*paths, tmp_path / "a"], raw.AUDIOVISUAL)
    assert names_and_kinds(found) == [
        ("b", {"video": 1}, {}),
        ("a", {"audio": 1, "visual": 3}, {}),
        ("c", {"video": 1}, {}),
    ]
    assert [path.name for path in found[1].files["visual"]] == ["1.jpg", "2.jpg", "10.jpg"]


def test_a_single_sound_takes_all_pictures_beside_it(tmp_path):
    paths = [put(tmp_path / name) for name in ("1.jpg", "a.wav", "2.png")]
    assert names_and_kinds(raw.read_inputs(paths, raw.AUDIOVISUAL)) == [("a", {"audio": 1, "visual": 2}, {})]


def test_a_text_belongs_to_the_picture_of_its_name_and_a_gesture_lies_in_a_folder(tmp_path):
    paths = [put(tmp_path / "p.jpg"), put(tmp_path / "p.txt", b"so, \xc3\xa4 text\n")]
    assert names_and_kinds(raw.read_inputs(paths, raw.IMAGE_TEXT)) == [("p", {"image": 1}, {"text": "so, ä text"})]
    for name in ("sk_color.avi", "sk_depth.avi", "any.npy", "note.txt"):
        put(tmp_path / "clip" / name)
    found = raw.read_inputs([tmp_path / "clip"], raw.GESTURE)
    assert names_and_kinds(found) == [("clip", {"rgb": 1, "depth": 1, "flow": 1}, {})]
    assert raw.lacking(found[0], raw.GESTURE, look=True) == ()


def test_a_csv_has_a_row_for_each_input_with_paths_from_its_own_folder(tmp_path):
    put(tmp_path / "in" / "p, q.jpg")
    table = put(
        tmp_path / "in" / "pairs.csv", b'name,image,text,target\none,"p, q.jpg","a, ""b""",me\n,"p, q.jpg",x,\n'
    )
    found = raw.read_inputs([table], raw.IMAGE_TEXT)
    assert names_and_kinds(found) == [
        ("one", {"image": 1}, {"text": 'a, "b"', "target": "me"}),
        ("p, q", {"image": 1}, {"text": "x"}),
    ]
    assert found[1].listed == f"{table} line 3"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("image,txt\np.jpg,x\n", r"line 1: the column 'txt'; allowed are name, image, text, target"),
        ("image,image\np.jpg,x\n", "line 1: a column twice"),
        ("image,text\n", "has a header"),
        ("image,text\np.jpg\n", "line 2: 1 cells, and 2 columns"),
        ("image,text\ngone.jpg,x\n", "line 2: .*gone.jpg is not there"),
        ("image,text\npairs.csv,x\n", r"line 2: .*pairs.csv is no file of image \(\.jpg"),
        ("image,text\np.jpg,x\np.jpg,y\n", r"line 3: a second input called p, the first is in .* line 2"),
        ("image,text\n,\n", "line 2: an input of nothing"),
    ],
)
def test_a_bad_csv_is_refused_by_its_line(content, words, tmp_path):
    put(tmp_path / "p.jpg")
    with pytest.raises((DataError, DataNotFoundError), match=words):
        raw.read_inputs([put(tmp_path / "pairs.csv", content.encode())], raw.IMAGE_TEXT)


def test_files_that_are_no_inputs_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.xyz: a file of no kind that this run takes; it takes video: \.avi"):
        raw.read_inputs([put(tmp_path / "a.xyz")], raw.AUDIOVISUAL)
    with pytest.raises(DataNotFoundError, match=r"gone\.mp4 is not there"):
        raw.read_inputs([tmp_path / "gone.mp4"], raw.AUDIOVISUAL)
    with pytest.raises(DataError, match="two inputs are called a; tell them apart in a csv"):
        raw.read_inputs([put(tmp_path / "a.mp4"), put(tmp_path / "b" / "a.mp4")], raw.AUDIOVISUAL)
    with pytest.raises(DataError, match="a csv of inputs stands alone"):
        raw.read_inputs([put(tmp_path / "a.csv"), tmp_path / "a.mp4"], raw.AUDIOVISUAL)
    (tmp_path / "empty").mkdir()
    for form, words in ((raw.AUDIOVISUAL, "no pictures in this folder"), (raw.GESTURE, "it takes sk_color.avi")):
        with pytest.raises(DataError, match=words):
            raw.read_inputs([tmp_path / "empty"], form)


# ---- the same answer however it comes ------------------------------------------------------------------------------


def probabilities(run, samples):
    """What evaluation makes of samples: the recipe's prediction and every head."""
    model, recipe, _ = bss.load_run(run.folder)
    with torch.no_grad():
        heads = head_logits(model(collate(samples)), recipe.predicts_by)
    return {name: values.softmax(dim=1).numpy() for name, values in heads.items()}


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], atol=1e-5)
        assert (values.argmax(axis=1) == expected[name].argmax(axis=1)).all()


def table_of(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def of_clip(clip):
    return {"name": clip.name, "audio": clip.audio, "visual": clip.frames[0].parent}


def of_post(post):
    return {"name": post.name, "image": post.path, "text": post.text, "target": post.target}


def of_gesture(clip):
    files = {kind: path for kind, (path,) in clip.files.items()}
    return {"name": clip.name, **files, "start": clip.color.start, "stop": clip.color.stop}


ROWS = {"cremad": of_clip, "ks": of_clip, "sarcasm": of_post, "twitter15": of_post, "nvgesture": of_gesture}


@pytest.mark.parametrize("stem", ROWS)
def test_files_of_the_test_set_get_the_answer_that_evaluation_gives(stem, finished, tmp_path):
    run = finished(stem)
    whole = run.data.test.dataset
    members = getattr(whole, "posts", None) or whole.clips
    table = table_of(tmp_path / "inputs.csv", [ROWS[stem](member) for member in members[:3]])
    predicted = predict_files(run.folder, [table])
    assert predicted.names == [member.name for member in members[:3]] and predicted.classes == run.data.classes
    assert_close(predicted.probabilities, probabilities(run, [whole[i] for i in range(3)]))
    assert set(predicted.features) == set(predicted.probabilities) - {"all", "fused"}
    assert all(values.shape[0] == 3 for values in predicted.features.values())


def coloured(seconds, colours, size=(32, 48)):
    """Ten pictures a second, each second of one colour."""
    return [
        np.full((*size, 3), colours[second % len(colours)], np.uint8) for second in range(seconds) for _ in range(10)
    ]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Three videos of several containers and lengths, named as those of the data set."""
    folder = tmp_path_factory.mktemp("videos")
    for number, suffix in enumerate((".mp4", ".mkv", ".flv")):
        pictures = coloured(2 + number, [(200, 30, 10), (10, 60, 220), (90, 200, 90)])
        sound = tone(2 + number, 44100, 300.0 * (1 + number))
        write_video(folder / f"video000_{number:02d}{suffix}", pictures, sound=sound, rate=44100)
    return sorted(folder.iterdir())


def of_prepared_clips(run, videos, folder):
    """The probabilities of the clips that prepare makes of Kinetics-Sounds' videos, by head."""
    (folder / "raw").mkdir()
    for path in videos:
        shutil.copy(path, folder / "raw")
    rows = "".join(f"{path.stem},bowling\n" for path in videos)
    for name in ("train.csv", "test.csv"):
        (folder / "raw" / name).write_text(f"youtube_id,label\n{rows}")
    assert not ks.prepare(folder / "raw", folder / "root", workers=0)
    part = run.task.build_list(bss.load_run(run.folder).recipe, folder / "root", folder / "raw" / "test.csv")
    assert list(part.names) == [path.stem for path in videos]
    return probabilities(run, [part.samples[number] for number in range(len(videos))])


def test_a_video_gets_the_answer_of_the_clip_that_prepare_makes_of_it(finished, videos, tmp_path, capsys):
    run = finished("ks")
    predicted = predict_files(run.folder, videos)
    assert list(predicted.names) == [path.stem for path in videos]
    assert_close(predicted.probabilities, of_prepared_clips(run, videos, tmp_path))
    one_by_one = [predict_files(run.folder, [path]).probabilities for path in videos[:2]]
    for number, alone in enumerate(one_by_one):  # whatever lies beside it, and however many at a time
        assert_close(alone, {name: values[[number]] for name, values in predicted.probabilities.items()})
    for size in (2, 7):
        several = predict_files(run.folder, videos, batch_size=size)
        assert_close(several.probabilities, predicted.probabilities)


def test_a_red_and_a_blue_picture_are_told_apart_and_by_a_sound_alone_they_are_not(finished, tmp_path):
    run = finished("cremad")
    soundfile.write(tmp_path / "s.wav", tone(1, 22050)[0], 22050)
    rows = []
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
        rows.append({"name": name, "audio": "s.wav", "visual": f"{name}.png"})
    found = predict_files(run.folder, [table_of(tmp_path / "two.csv", rows)]).probabilities
    assert np.abs(found["visual"][0] - found["visual"][1]).max() > 1e-3
    np.testing.assert_allclose(found["audio"][0], found["audio"][1], atol=1e-6)


def test_flow_that_is_not_there_is_computed_as_prepare_does(finished, tmp_path):
    run = finished("nvgesture")
    clip = run.data.test.dataset.clips[0]
    row = of_gesture(clip)
    with_flow = predict_files(run.folder, [table_of(tmp_path / "a.csv", [row])])
    without = predict_files(run.folder, [table_of(tmp_path / "b.csv", [{**row, "flow": ""}])])
    assert np.load(clip.files["flow"][0]).shape[0] == clip.frames
    for head in ("rgb", "depth"):
        np.testing.assert_allclose(without.probabilities[head], with_flow.probabilities[head], atol=1e-6)
    assert np.isfinite(without.probabilities["flow"]).all() and without.missing == [()]


def gestures(root):
    """The first folder of a gesture's videos in a tree."""
    return next(iter(sorted(path.parent for path in root.rglob("sk_color.avi"))))


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=needs(GESTURES))], ids=["generated", "real"])
def test_a_gestures_videos_get_the_answer_of_the_clip_that_prepare_makes_of_them(real, finished, tmp_path):
    run = finished("nvgesture")
    source = gestures(GESTURES if real else run.root)
    folder = tmp_path / "raw" / "Video_data" / source.parent.name / source.name
    folder.mkdir(parents=True)
    for name in ("sk_color.avi", "sk_depth.avi"):
        shutil.copyfile(source / name, folder / name)
    stop = count_frames(folder / "sk_color.avi")
    place = folder.relative_to(tmp_path / "raw")
    row = f"path:./{place} depth:sk_depth:0:{stop} color:sk_color:0:{stop} label:1\n"
    for split in ("train", "test"):
        (tmp_path / "raw" / f"nvgesture_{split}_correct_cvpr2016_v2.lst").write_text(row)
    assert not nvgesture.prepare(tmp_path / "raw", tmp_path / "root", workers=0)
    listed = tmp_path / "raw" / "nvgesture_test_correct_cvpr2016_v2.lst"
    part = run.task.build_list(bss.load_run(run.folder).recipe, tmp_path / "root", listed)
    assert_close(predict_files(run.folder, [folder]).probabilities, probabilities(run, [part.samples[0]]))


def test_an_exported_folder_predicts_the_same_and_no_stream_is_drawn_from(finished, tmp_path):
    run = finished("twitter15")
    before = random_states()
    table = table_of(tmp_path / "in.csv", [of_post(post) for post in run.data.test.dataset.posts[:2]])
    out = export_run(run.folder, tmp_path / "out")
    assert_close(predict_files(out, [table]).probabilities, predict_files(run.folder, [table]).probabilities)
    assert random_states() == before


@needs(SAMPLES)
def test_real_clips_get_the_answer_of_the_clips_that_prepare_makes_of_them(finished, tmp_path):
    run, videos = finished("ks"), sorted(SAMPLES.iterdir())
    predicted = predict_files(run.folder, videos)
    assert list(predicted.names) == ["bento", "flipping_a_pancake"] and predicted.missing == [(), ()]
    assert_close(predicted.probabilities, of_prepared_clips(run, videos, tmp_path))
    for values in predicted.probabilities.values():
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-5)


# ---- what an input lacks -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def silent(tmp_path_factory):
    """A grey video without a sound."""
    return write_video(tmp_path_factory.mktemp("silent") / "silent.mkv", grey([124] * 10))


def test_a_video_without_sound_is_an_error_unless_something_stands_for_it(finished, silent, tmp_path):
    run = finished("ks")
    with pytest.raises(DataError, match=r"silent\.mkv: has no sound"):
        predict_files(run.folder, [silent])
    soundfile.write(tmp_path / "silent.wav", np.zeros(500, np.int16), 8000)
    zero = predict_files(run.folder, [silent], missing="zero")
    assert zero.missing == [("audio",)]
    assert_close(zero.probabilities, predict_files(run.folder, [silent, tmp_path / "silent.wav"]).probabilities)
    dropped = predict_files(run.folder, [silent], missing="drop").probabilities
    assert np.isnan(dropped["fused"]).all() and np.isnan(dropped["audio"]).all()
    # Of two modalities one is left, and the prediction is its own.
    assert np.array_equal(dropped["all"], dropped["visual"])
    assert np.array_equal(dropped["visual"], zero.probabilities["visual"])


def test_a_sound_without_pictures_is_refused_and_black_ones_stand_for_them(finished, tmp_path):
    run = finished("ks")
    soundfile.write(tmp_path / "s.wav", tone(1, 22050)[0], 22050)
    with pytest.raises(DataError, match=r"s has no visual: give it, or say what stands for it \(--missing mean\|zero"):
        predict_files(run.folder, [tmp_path / "s.wav"])
    Image.new("RGB", (9, 9)).save(tmp_path / "black.png")
    black = predict_files(run.folder, [tmp_path / "s.wav", tmp_path / "black.png"]).probabilities
    assert_close(predict_files(run.folder, [tmp_path / "s.wav"], missing="zero").probabilities, black)


def test_the_mean_is_that_of_the_training_inputs_of_a_data_root_that_is_named(finished, tmp_path):
    run = finished("twitter15")
    post = run.data.test.dataset.posts[0]
    table = table_of(tmp_path / "in.csv", [{**of_post(post), "image": ""}])
    with pytest.raises(DataError, match=r"name the data set's folder \(--data-root DIR\)"):
        predict_files(run.folder, [table], missing="mean")
    config = json.loads((run.folder / "config.json").read_text())
    with pytest.raises(DataError, match="its training list is not the one"):  # the run has seen a few of them alone
        predict_files(run.folder, [table], missing="mean", data_root=run.root)
    whole = run.task.build_data(bss.load_run(run.folder).recipe, run.root)
    config["lists"]["train"]["hash"] = list_hash(whole.names, whole.labels_N.numpy())
    copy = Path(shutil.copytree(run.folder, tmp_path / "copy"))
    (copy / "config.json").write_text(json.dumps(sealed(config)))
    summary = json.loads((copy / "summary.json").read_text())
    (copy / "summary.json").write_text(json.dumps(sealed({**summary, "files": None})))
    found = predict_files(copy, [table], missing="mean", data_root=run.root)
    mean = torch.stack([whole.score[i]["image"] for i in range(len(whole.score))]).mean(dim=0)
    sample = {**whole.test[0], "image": mean}
    assert whole.listed["test"].names[0] == post.name
    assert_close(found.probabilities, probabilities(run, [sample]))


def test_a_text_or_a_video_of_a_gesture_may_lack_and_a_term_may_not(finished, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "p.png")
    found = predict_files(finished("sarcasm").folder, [tmp_path / "p.png"], missing="zero")
    assert found.missing == [("text",)] and np.isfinite(found.probabilities["all"]).all()
    put(tmp_path / "p.txt", b"a text")
    with pytest.raises(DataError, match="a csv with a column target"):
        predict_files(finished("twitter15").folder, [tmp_path / "p.png", tmp_path / "p.txt"])
    run = finished("nvgesture")
    row = of_gesture(run.data.test.dataset.clips[0])
    table = table_of(tmp_path / "in.csv", [{**row, "rgb": "", "flow": ""}])
    dropped = predict_files(run.folder, [table], missing="drop")
    assert dropped.missing == [("rgb", "flow")]
    assert np.array_equal(dropped.probabilities["all"], dropped.probabilities["depth"])
    assert np.isnan(dropped.probabilities["flow"]).all()


# ---- what is written -----------------------------------------------------------------------------------------------

TWO = FilePredictions(
    names=["a, b", "c"],
    classes=("so, so", "</b>", "ä"),
    probabilities={
        "all": np.array([[0.25, 0.5, 0.25], [0.1, 0.2, 0.7]], np.float32),
        "audio": np.array([[0.25, 0.5, 0.25], [np.nan] * 3], np.float32),
    },
    missing=[(), ("audio",)],
    features={},
)


def test_the_most_probable_classes_are_written_by_head_and_rank():
    rows = list(csv.reader(as_csv(TWO, 2).splitlines()))
    assert rows[0] == list(COLUMNS)
    assert rows[1:] == [
        ["a, b", "all", "1", "</b>", "0.5", ""],
        ["a, b", "all", "2", "so, so", "0.25", ""],
        ["a, b", "audio", "1", "</b>", "0.5", ""],
        ["a, b", "audio", "2", "so, so", "0.25", ""],
        ["c", "all", "1", "ä", repr(float(np.float32(0.7))), "audio"],
        ["c", "all", "2", "</b>", repr(float(np.float32(0.2))), "audio"],
    ]
    told = json.loads(as_json(TWO, 99))  # more than there are classes
    assert [len(each["heads"]["all"]) for each in told] == [3, 3] and told[1]["heads"]["audio"] == []
    assert told[1]["missing"] == ["audio"] and told[0]["heads"]["all"][0] == {"class": "</b>", "probability": 0.5}


def test_the_command_writes_a_csv_a_json_and_the_features_whole(finished, videos, tmp_path, capsys):
    run = finished("ks")
    flags = ["predict", str(run.folder), str(videos[0]), "--device", "cpu"]
    npz = tmp_path / "f.npz"
    assert main([*flags, "--out", str(tmp_path / "p.csv"), "--topk", "2", "--embeddings", str(npz)]) == 0
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert len(rows) == 4 * 2 and {row["name"] for row in rows} == {videos[0].stem}
    with np.load(npz) as arrays:
        assert arrays["name"].tolist() == [videos[0].stem] and arrays["audio"].shape[0] == 1
    assert main(flags) == 0
    assert f"{rows[0]['class']} {float(rows[0]['probability']):.3f}" in capsys.readouterr().out
    before = (tmp_path / "p.csv").read_bytes()
    for out, words in (("p.csv", "is there already, and stays as it is"), ("p.txt", r"must end in .csv or .json")):
        assert main([*flags, "--out", str(tmp_path / out)]) == 2
        assert words in capsys.readouterr().err
    assert (tmp_path / "p.csv").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"p.csv", "f.npz"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--topk", "0"], "--topk must be at least 1"),
        (["--batch-size", "0"], "--batch-size: must be at least 1"),
        (["--device", "gpu"], "is not a device"),
    ],
)
def test_bad_flags_are_refused(flags, words, finished, videos, capsys):
    try:
        status = main(["predict", str(finished("ks").folder), str(videos[0]), *flags])
    except SystemExit as end:  # of the parser
        status = end.code
    assert status == 2 and words in capsys.readouterr().err


def test_a_full_disk_is_said_in_a_line(finished, videos, monkeypatch, capsys):
    def full(job):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(raw.media, "write_sound", full)
    assert main(["predict", str(finished("ks").folder), str(videos[0]), "--device", "cpu"]) == 2
    assert "No space left on device; TMPDIR names another folder" in capsys.readouterr().err


def test_a_damaged_file_and_a_folder_that_is_no_run_are_refused_with_nothing_written(finished, tmp_path, capsys):
    broken = put(tmp_path / "broken.mp4", b"\x00\x00\x00\x18ftypmp42" + b"x" * 99)
    assert main(["predict", str(finished("ks").folder), str(broken), "--out", str(tmp_path / "p.csv")]) == 2
    said = capsys.readouterr().err
    assert "broken.mp4" in said and len(said.splitlines()) <= 2 and not (tmp_path / "p.csv").exists()
    assert main(["predict", str(tmp_path), str(broken)]) == 2
    assert "holds no run" in capsys.readouterr().err
