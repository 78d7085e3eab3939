"""``python -m bss evaluate``: the numbers of a run come out again, and names count, not positions."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import bss
from bss import tasks
from bss.cli.commands import main
from bss.compare.evaluation_files import FILES
from bss.compare.statistics import mcnemar
from bss.data.parts import Part, class_ids, part_of
from bss.training.predictions import predict_part
from bss.training.run_folder import Hits, read_hits, sealed
from bss.utils.errors import DataError
from tests import tiny
from tests.compare import clips_task, comparing

TASK = str(Path(clips_task.__file__))
CPU = torch.device("cpu")


def train(out, root, *flags, arm="spl", task=TASK):
    words = ["train", task, "--arm", arm, "--data-root", str(root), "--out", str(out), "--device", "cpu", "--workers"]
    assert main([*words, "0", *map(str, flags)]) == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of one arm and one of another, with the data root that they were trained on."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "data").mkdir()
    for name, seed in (("spl", 1), ("spl", 2), ("uniform", 1)):
        train(folder / "runs" / f"{name}{seed}", folder / "data", "--seed", seed, arm=name)
    return folder / "runs"


def evaluate(*words, out, resamples=20, task=TASK):
    named = ["--task", task] if task else []
    return main(
        ["evaluate", *map(str, words), *named, "--device", "cpu", "--resamples", str(resamples), "--out", str(out)]
    )


@pytest.fixture(scope="module")
def measured(runs, tmp_path_factory):
    """The first run, evaluated on its own test set; nothing writes there."""
    out = tmp_path_factory.mktemp("measured") / "out"
    assert evaluate(runs / "spl1", out=out) == 0
    return out


def content_of(out):
    return json.loads((out / "evaluation.json").read_text())


def rows_of(out):
    with open(out / "predictions.csv", newline="") as file:
        return list(csv.DictReader(file))


def by_name(rows):
    return {row["name"]: (row["label"], row["all"], row["all_right"]) for row in rows}


def edit(folder, name, **changes):
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(sealed({**content, **changes})))


# ---- one run -------------------------------------------------------------------------------------------------------


def test_a_run_s_own_test_set_gives_the_numbers_of_its_summary_to_the_last_digit(runs, tmp_path, capsys):
    summary = json.loads((runs / "spl1" / "summary.json").read_text())
    for checkpoint, epoch in (("best", "chosen"), ("last", "last")):
        out = tmp_path / checkpoint
        assert evaluate(runs / "spl1", "--checkpoint", checkpoint, out=out) == 0
        said = capsys.readouterr().out
        assert "these are the numbers of summary.json, to the last digit" in said
        assert f"samples of {runs.parent / 'data'} (where the run says that it was trained)" in said
        (run,) = content_of(out)["runs"]
        assert run["own_test"] == {
            "same": True,
            "flipped": dict.fromkeys(run["heads"], 0),
            "largest": 0.0,
            "elsewhere": "",
        }
        for metric, heads in summary["test"][epoch].items():
            assert {name: head[metric]["value"] for name, head in run["heads"].items()} == heads
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "last"]


def test_every_sample_stands_in_predictions_csv_with_what_each_head_says(runs, measured):
    rows = rows_of(measured)
    model, _, classes = bss.load_run(runs / "spl1", task=TASK)
    assert [row["name"] for row in rows] == [f"clip{n}" for n in range(100, 130)]
    for row in rows:
        sample = clips_task.WHOLE[int(row["name"][4:])]
        with torch.no_grad():
            logits = model({name: sample[name][None] for name in ("audio", "visual")})
        for head, values in (("fused", logits.fused), *logits.unimodal.items()):
            probability = values.double().softmax(dim=1)[0]
            assert row[head] == classes[int(probability.argmax())]
            assert float(row[f"{head}_probability"]) == pytest.approx(float(probability.max()), abs=1e-6)
            assert row[f"{head}_right"] == ("yes" if row[head] == row["label"] else "no")
        assert row["label"] == tiny.CLASSES[int(row["name"][4:]) % 3]
    (run,) = content_of(measured)["runs"]
    wrong = sum(row["all_right"] == "no" for row in rows)
    assert run["heads"]["all"]["accuracy"]["value"] == pytest.approx(1 - wrong / 30)


def test_the_files_agree_with_one_another(measured):
    out, rows = measured, rows_of(measured)
    content = content_of(out)
    (run,) = content["runs"]
    matrix = np.zeros((3, 3), int)
    for row in rows:
        matrix[tiny.CLASSES.index(row["label"]), tiny.CLASSES.index(row["all"])] += 1
    assert run["heads"]["all"]["confusion"] == matrix.tolist()
    with open(out / "confusion.csv", newline="") as file:
        table = [row for row in csv.DictReader(file) if row["head"] == "all"]
    assert [[int(row[name]) for name in tiny.CLASSES] for row in table] == matrix.tolist()
    assert sum(run["heads"]["all"]["reliability"]["n"]) == 30 == content["part"]["samples"]
    assert content["part"]["groups"] == 5 and content["part"]["grouped_by"] == "speaker"
    table = (out / "table.md").read_text()
    low, high = run["heads"]["all"]["accuracy"]["interval"]
    value = run["heads"]["all"]["accuracy"]["value"]
    assert f"| all | {100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}] |" in table
    assert "n = 30 samples in 5 groups (speaker) of 3 of 3 classes" in table
    page = (out / "evaluation.html").read_text()
    assert "://" not in page.replace("http://www.w3.org", "")  # nothing is fetched
    assert page.count("<figure>") == 2 and "Classes: spl seed 1" in page
    assert "over so few, an interval is a guess" in page
    assert "NaN" not in (out / "evaluation.json").read_text()


def test_classes_that_a_root_numbers_otherwise_keep_their_names(runs, measured, tmp_path):
    """Other missing clips renumber the classes of some data sets: by positions the accuracy would be chance."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "classes.txt").write_text("high low middle")
    assert evaluate(runs / "spl1", "--data-root", tmp_path / "data", out=tmp_path / "other") == 0
    same, other = (content_of(out)["runs"][0] for out in (measured, tmp_path / "other"))
    assert other["heads"] == same["heads"] and other["own_test"]["same"]
    assert rows_of(measured) == rows_of(tmp_path / "other")


def test_a_list_that_lacks_a_class_says_over_how_many_it_averages_and_shifts_no_name(runs, measured, tmp_path, capsys):
    names = [f"clip{n}" for n in range(100, 130) if n % 3 != 0]
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert evaluate(runs / "spl1", "--list", tmp_path / "list.txt", out=tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "2 of 3 classes have a sample (none: low): mAP averages over these" in said
    assert "to the last digit" not in said
    (run,) = content_of(tmp_path / "out")["runs"]
    assert run["classes_with_samples"] == 2 and run["own_test"] is None
    head = run["heads"]["all"]
    assert head["averaged_classes"]["map"] == 2 and head["classes"][0]["average_precision"] is None
    whole, part = by_name(rows_of(measured)), by_name(rows_of(tmp_path / "out"))
    assert part == {name: whole[name] for name in names}


def test_names_that_were_trained_on_are_counted(runs, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("clip3 clip4 clip150")
    assert evaluate(runs / "spl1", "--list", tmp_path / "list.txt", out=tmp_path / "out") == 0
    assert "2 of the 3 names are in the training list of spl seed 1" in capsys.readouterr().out
    assert content_of(tmp_path / "out")["runs"][0]["trained_on"] == 2


@pytest.mark.parametrize(("split", "count"), [("val", 24), ("train", 60)])
def test_the_other_parts_can_be_measured_as_well(runs, tmp_path, split, count):
    assert evaluate(runs / "spl1", "--split", split, out=tmp_path / "out") == 0
    (run,) = content_of(tmp_path / "out")["runs"]
    assert run["samples"] == count and run["own_test"] is None
    if split == "val":
        row = json.loads((runs / "spl1" / "metrics.jsonl").read_text().splitlines()[run["epoch"]])
        assert {name: head["accuracy"]["value"] for name, head in run["heads"].items()} == row["val"]["accuracy"]


def test_another_list_under_the_same_root_is_not_the_run_s_own_test(runs, tmp_path, capsys):
    (tmp_path / "test.txt").write_text(" ".join(f"clip{n}" for n in range(101, 131)))
    assert evaluate(runs / "spl1", "--data-root", tmp_path, out=tmp_path / "out") == 0
    assert "Not the test set of the run" in capsys.readouterr().out
    assert content_of(tmp_path / "out")["runs"][0]["own_test"] is None


def test_elsewhere_it_says_how_many_samples_flipped(runs, tmp_path, capsys):
    run = Path(shutil.copytree(runs / "spl1", tmp_path / "run"))
    hits, summary = read_hits(run), json.loads((run / "summary.json").read_text())
    then = {epoch: {head: hits.of(epoch, head) for head in hits.heads} for epoch in ("chosen", "last")}
    then["chosen"]["all"][[3, 8]] ^= True
    changed = Hits.packed(then["chosen"], then["last"], names=hits.names, groups=hits.groups, grouped_by="speaker")
    arrays = {name: getattr(changed, name) for name in ("chosen", "last")}
    with np.load(run / "hits.npz") as saved:
        kept = {name: saved[name] for name in saved.files}
    np.savez(run / "hits.npz", **{**kept, **arrays})
    summary["test"]["chosen"]["accuracy"]["all"] = float(then["chosen"]["all"].mean())
    edit(run, "config.json", device="NVIDIA Something", threads=None)
    (run / "summary.json").write_text(json.dumps(sealed({**summary, "files": None})))
    assert evaluate(run, out=tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "flipped against hits.npz: all 2, fused 0, audio 0, visual 0" in said
    assert "(device NVIDIA Something then, cpu now)" in said
    own = content_of(tmp_path / "out")["runs"][0]["own_test"]
    assert not own["same"] and own["flipped"]["all"] == 2


def test_how_it_is_measured_may_be_set_and_what_was_trained_may_not(runs, tmp_path, capsys):
    assert evaluate(runs / "spl1", "--set", "batch_size=7", out=tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "to the last digit" in said or "batch_size 8 then, 7 now" in said  # which may be rounding
    assert evaluate(runs / "spl1", "--set", "lr=1", out=tmp_path / "other") == 2
    assert "--set lr= is no field by which a trained network is measured" in capsys.readouterr().err


# ---- several -------------------------------------------------------------------------------------------------------


def test_several_runs_are_one_table_with_pairs_and_an_ensemble_over_seeds(runs, tmp_path, capsys):
    assert evaluate(runs, out=tmp_path / "out") == 0
    content, rows = content_of(tmp_path / "out"), rows_of(tmp_path / "out")
    assert [run["label"] for run in content["runs"]] == ["spl seed 1", "spl seed 2", "uniform seed 1"]
    (ensemble,) = content["ensembles"]
    assert (ensemble["label"], ensemble["seeds"]) == ("spl, ensemble of 2 seeds", [1, 2])
    right = {run["label"]: np.array([row["all_right"] == "yes" for row in rows if row["run"] == run["label"]])
             for run in content["runs"]}  # fmt: skip
    assert len(content["mcnemar"]) == 3
    for pair in content["mcnemar"]:
        one, other = right[pair["first"]], right[pair["second"]]
        counts = int((one & ~other).sum()), int((other & ~one).sum())
        assert (pair["only_first"], pair["only_second"]) == counts and pair["p"] == mcnemar(*counts)
    # The ensemble's probabilities are the mean of its members', head by head.
    data = clips_task.build_data(clips_task.CL, runs)
    part = part_of(data, "test")
    loaded = [bss.load_run(runs / name, task=TASK) for name in ("spl1", "spl2")]
    members = [predict_part(each, part, device=CPU).logits for each in loaded]
    of_ensemble = [row for row in rows if row["run"] == ensemble["label"]]
    for head in ("all", "audio"):
        mean = sum(each[head].double().softmax(dim=1) for each in members) / 2
        for row, probability in zip(of_ensemble, mean, strict=True):
            assert float(row[f"{head}_probability"]) == pytest.approx(float(probability.max()), abs=1e-9)
            assert row[head] == tiny.CLASSES[int(probability.argmax())]
        truth = torch.tensor([n % 3 for n in range(100, 130)])
        nll = -mean[torch.arange(30), truth].log().mean()
        assert ensemble["heads"][head]["nll"]["value"] == pytest.approx(float(nll), abs=1e-9)
    assert "right in one alone: spl seed 1" in capsys.readouterr().out
    table = (tmp_path / "out" / "table.md").read_text()
    assert "## Runs" in table and "| spl, ensemble of 2 seeds |" in table and "p is too small" in table


def test_runs_that_met_other_samples_are_set_side_by_side_and_not_tested(runs, tmp_path, capsys):
    other = tmp_path / "data"
    other.mkdir()
    (other / "test.txt").write_text(" ".join(f"clip{n}" for n in range(110, 135)))
    train(tmp_path / "run", other, "--seed", 2)
    assert evaluate(runs / "spl1", tmp_path / "run", out=tmp_path / "out") == 0
    content = content_of(tmp_path / "out")
    assert content["mcnemar"] == content["ensembles"] == [] and "met different samples are" in capsys.readouterr().out
    assert [run["samples"] for run in content["runs"]] == [30, 25]
    assert "n = 25 to 30 samples" in (tmp_path / "out" / "table.md").read_text()


def test_each_fold_of_an_arm_makes_an_ensemble_of_its_own(tmp_path):
    class_of = {0: range(100, 130), 1: range(130, 152)}
    task = tmp_path / "task.py"
    task.write_text(FOLDED)
    for fold, seed in ((0, 1), (0, 2), (1, 1), (1, 2)):
        train(tmp_path / "runs" / f"{fold}{seed}", tmp_path, "--set", f"fold={fold}", "--seed", seed, task=str(task))
    assert evaluate(tmp_path / "runs", out=tmp_path / "out", task=str(task), resamples=5) == 0
    content = content_of(tmp_path / "out")
    assert [run["label"] for run in content["runs"]][1:3] == ["spl seed 2 in fold 0", "spl seed 1 in fold 1"]
    assert [(each["label"], each["samples"]) for each in content["ensembles"]] == [
        (f"spl, ensemble of 2 seeds in fold {fold}", len(tested)) for fold, tested in class_of.items()
    ]
    assert len(content["mcnemar"]) == 2  # within each fold


FOLDED = """
from dataclasses import dataclass, replace

from bss.recipes.recipe import Recipe
from tests import tiny
from tests.compare import clips_task
from tests.compare.clips_task import Clips, build_model, listed

@dataclass(frozen=True, kw_only=True)
class Folded(Recipe):
    fold: int | None = None

CL = Folded(epochs=1, batch_size=8, lr=0.05, schedule=clips_task.CL.schedule, val_fraction=0.2, imbalance_every=0)

def build_data(recipe, root):
    data = clips_task.build_data(recipe, root)
    test = Clips({0: range(100, 130), 1: range(130, 152)}[recipe.fold], data.classes)
    return replace(data, test=test, listed={**data.listed, "test": listed(test)})
"""


# ---- bad input -----------------------------------------------------------------------------------------------------


def ends(capsys, *words, out, says, task=TASK):
    """It ends with status 2 and one or two lines, and leaves nothing."""
    before = sorted(path.name for path in out.parent.iterdir())
    assert evaluate(*words, out=out, task=task) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and len(message.splitlines()) <= 2, message
    assert says in message
    assert sorted(path.name for path in out.parent.iterdir()) == before


def test_a_folder_that_is_no_run_or_an_unfinished_one_ends_in_a_line(runs, tmp_path, capsys):
    out = tmp_path / "out"
    ends(capsys, tmp_path / "nowhere", out=out, says="is not a folder")
    (tmp_path / "empty").mkdir()
    ends(capsys, tmp_path / "empty", out=out, says="holds no run")
    run = Path(shutil.copytree(runs / "spl1", tmp_path / "run"))
    (run / "done").unlink()
    ends(capsys, run, out=out, says="take its newest weights (--checkpoint last")
    ends(capsys, runs / "spl1", out=out, task="", says="name the file with --task FILE.py")
    ends(capsys, runs / "spl1", out=out, task=str(Path(comparing.__file__)), says="has other code than the task")


def test_bad_lists_and_roots_end_in_a_line(runs, tmp_path, capsys):
    out, file = tmp_path / "out", tmp_path / "list.txt"
    file.write_text("clip3 dog4")
    ends(capsys, runs / "spl1", "--list", file, out=out, says="line 2: dog4 is no clip")
    file.write_text("clip3 clip5 clip3")
    ends(capsys, runs / "spl1", "--list", file, out=out, says="has clip3 twice")
    ends(capsys, runs / "spl1", "--data-root", tmp_path / "gone", out=out, says="gone is not a folder")
    run = Path(shutil.copytree(runs / "spl1", tmp_path / "run"))
    edit(run, "config.json", data_root=str(tmp_path / "gone"))
    edit(run, "summary.json", files=None)
    ends(capsys, run, out=out, says="gone) is not there: pass --data-root DIR")


def test_a_part_that_there_is_not_ends_in_a_line(tmp_path, capsys):
    train(tmp_path / "run", tmp_path, "--set", "val_fraction=0", "--epochs", 1)
    ends(capsys, tmp_path / "run", "--split", "val", out=tmp_path / "out", says="no validation part (val_fraction=0)")


def test_a_task_without_lists_and_runs_of_two_tasks_end_in_a_line(runs, tmp_path, capsys):
    task = str(Path(comparing.__file__))
    train(tmp_path / "run", tmp_path, "--epochs", 1, task=task)
    (tmp_path / "list.txt").write_text("clip1")
    listed = ["--list", tmp_path / "list.txt"]
    ends(capsys, tmp_path / "run", *listed, out=tmp_path / "out", task=task, says="does not define build_list")
    ends(capsys, runs / "spl1", tmp_path / "run", out=tmp_path / "out", says="has other code")


def test_a_folder_with_anything_else_in_it_is_left_alone(runs, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    ends(capsys, runs / "spl1", out=out, says="is a folder with other files in it (notes.txt)")
    (out / "notes.txt").unlink()
    assert evaluate(runs / "spl1", out=out) == 0
    before = (out / "evaluation.json").read_text()
    ends(capsys, runs / "spl2", out=out, says="holds an evaluation of something else")
    assert (out / "evaluation.json").read_text() == before
    (out / "table.md").write_text("old")
    assert evaluate(runs / "spl1", out=out) == 0  # of the same: made anew
    assert "old" != (out / "table.md").read_text()
    (tmp_path / "file").write_text("")
    ends(capsys, runs / "spl1", out=tmp_path / "file", says="is not a folder")


def test_an_error_on_the_way_leaves_the_older_evaluation(runs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert evaluate(runs / "spl1", out=out) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    from bss.compare import evaluation_files

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluation_files, "page", full)
    assert evaluate(runs / "spl1", out=out) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


# ---- parts ---------------------------------------------------------------------------------------------------------


def test_class_ids_go_by_names():
    assert class_ids(("b", "c", "a"), ("a", "b")).tolist() == [1, -1, 0]


def test_a_class_that_the_network_does_not_know_is_named_before_anything_is_predicted(runs):
    loaded = bss.load_run(runs / "spl1", task=TASK)
    part = part_of(clips_task.build_data(clips_task.CL, runs), "test")
    strange = Part(
        title="list", samples=part.samples, names=part.names, classes=("low", "middle", "deep"), labels_N=part.labels_N
    )
    with pytest.raises(
        DataError, match=r"10 samples of the list part are of a class .* \(deep\), the first is clip101"
    ):
        predict_part(loaded, strange, device=CPU)


def test_what_changes_the_samples_wraps_a_part(runs):
    class Silent(torch.utils.data.Dataset):
        def __init__(self, samples):
            self.samples = samples

        def __len__(self):
            return len(self.samples)

        def __getitem__(self, index):
            return {**self.samples[index], "audio": torch.zeros(6)}

    loaded = bss.load_run(runs / "spl1", task=TASK)
    part = part_of(clips_task.build_data(clips_task.CL, runs), "test")
    silent = predict_part(loaded, part.through(Silent(part.samples)), device=CPU).logits
    assert (silent["audio"] == silent["audio"][0]).all()
    assert torch.equal(silent["visual"], predict_part(loaded, part, device=CPU).logits["visual"])
    with pytest.raises(ValueError, match="29 samples cannot stand for the 30"):
        part.through(torch.utils.data.Subset(part.samples, range(29)))


def test_names_are_places_where_a_task_tells_none(tmp_path):
    part = part_of(tiny.splits(val=0), "test")
    assert part.names == [str(place) for place in range(30)] and part.labels_N is None and part.groups is None
    assert tasks.load(TASK).TITLE == "Tiny clips"


# ---- missing and noisy modalities ----------------------------------------------------------------------------------


def test_missing_and_noisy_modalities_are_curves_with_the_remaining_modality_as_a_line(runs, tmp_path, capsys):
    train(tmp_path / "alone", runs.parent / "data", arm="alone-visual")
    asked = ("--drop", "audio:0,0.5,1", "--noise", "visual:20,-5", "--corruption-seeds", 2)
    assert evaluate(runs / "spl1", tmp_path / "alone", *asked, out=tmp_path / "out") == 0
    content = content_of(tmp_path / "out")
    missing, noisy = content["robustness"]
    heads = content["runs"][0]["heads"]
    assert missing["clean"] == {name: head["accuracy"]["value"] for name, head in heads.items()}
    none, half, all_of_them = missing["points"]
    assert none["accuracy"] == {name: [value] for name, value in missing["clean"].items()}
    assert all_of_them["lacking"] == [30] and len(half["accuracy"]["all"]) == 2
    assert missing["lines"] == {
        "visual head": heads["visual"]["accuracy"]["value"],
        "visual alone": content["runs"][1]["heads"]["all"]["accuracy"]["value"],
    }
    assert [point["level"] for point in noisy["points"]] == [20, -5] and noisy["unit"] == "dB"
    said = capsys.readouterr().out
    assert "audio missing, mean: accuracy %" in said and "was trained on visual alone: it has no curves" in said
    told = (tmp_path / "out" / "table.md").read_text()
    assert "## Missing and noisy modalities" in told and "## Area under the curves" in told
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "where audio is missing" in page and "where visual is noisy" in page


def test_curves_do_not_depend_on_the_batch_size(runs, tmp_path):
    found = []
    for size in (2, 7):
        flags = ("--drop", "audio+visual:0.5", "--noise", "audio:0", "--corruption-seeds", 2, "--fill", "zero")
        assert evaluate(runs / "spl1", *flags, "--set", f"batch_size={size}", out=tmp_path / str(size)) == 0
        found.append(content_of(tmp_path / str(size))["robustness"])
    assert found[0] == found[1] and len(found[0]) == 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--drop", "sound:0.5"), "no modality sound; the samples have audio, visual"),
        (("--drop", "audio:1.5"), "1.5 is no share of the samples"),
        (("--noise", "audio:1..5"), "1 is no level; for numbers there are 20, 10, 5, 0, -5"),
        (("--drop", "audio:0.5", "--corruption-seeds", "0"), "--corruption-seeds must be 1 or more"),
    ],
    ids=["modality", "share", "level", "seeds"],
)
def test_a_disturbance_that_there_is_not_ends_in_a_line(runs, tmp_path, capsys, flags, says):
    ends(capsys, runs / "spl1", *flags, out=tmp_path / "out", says=says)
