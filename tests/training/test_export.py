"""``python -m bss export``: a trained network that others can read, and that comes back as it was."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import bss
from bss import tasks
from bss.cli.commands import main
from bss.cli.evaluate import _weights
from bss.data.batches import collate
from bss.models.late_fusion import LateFusion
from bss.recipes.fields import flatten
from bss.training.export import export_run
from bss.training.export_file import own_tensors, read_export, write_export
from bss.training.load import read_saved
from bss.training.predict_files import predict_files
from bss.training.run_folder import sealed
from bss.utils.errors import RecipeError, RunFolderError
from tests import tiny
from tests.compare import comparing
from tests.tasks.test_tasks import STEMS

TASK = str(Path(comparing.__file__))

ODD = ("a, b", 'say "hello"', "naïve Ärger 火 🎻", "</script><b>", "it's", "back\\slash", "line\nend")
NAMES = [*ODD, *(f"class {number}" for number in range(309 - len(ODD)))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a task in a file."""
    out = tmp_path_factory.mktemp("export") / "run"
    fixed = ["--device", "cpu", "--workers", "0", "--data-root", str(out.parent), "--set", "imbalance_every=0"]
    assert main(["train", TASK, "--arm", "spl", "--out", str(out), "--epochs", "2", "--seed", "3", *fixed]) == 0
    return out


@pytest.fixture(scope="module")
def exported(run):
    """The run, exported by the command."""
    assert main(["export", str(run), "--out", str(run.parent / "exported"), "--task", TASK]) == 0
    return run.parent / "exported"


def logits_of(model, batch):
    with torch.no_grad():
        fused, unimodal = model(batch)
    return {"fused": fused, **unimodal}


def assert_the_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_the_exported_folder_goes_back_in_with_the_same_logits_to_the_bit(run, exported, untouched_rngs):
    model, recipe, classes = bss.load_run(run, task=TASK)
    again, recipe_again, classes_again = bss.load_run(exported, task=TASK)
    assert (recipe_again, classes_again) == (recipe, classes) and not again.training
    batch = collate([tiny.splits().test[i] for i in range(8)])
    assert_the_same(logits_of(again, batch), logits_of(model, batch))


def test_the_last_weights_are_exported_when_they_are_asked_for(run, tmp_path):
    export_run(run, tmp_path / "out", checkpoint="last", task=TASK)
    config, weights = read_export(tmp_path / "out")
    last = bss.load_run(run, checkpoint="last", task=TASK).model.state_dict()
    assert_the_same(weights, dict(last))
    assert (config["checkpoint"], config["epoch"]) == ("last", 1)
    assert config["test"] == json.loads((run / "summary.json").read_text())["test"]["last"]


READER = """
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1] + "/model.safetensors", framework="np") as file:
    said = file.metadata()
    shapes = {name: list(file.get_tensor(name).shape) for name in file.keys()}
assert "bss" not in sys.modules and "torch" not in sys.modules
print(json.dumps([said, shapes]))
"""


def test_safetensors_alone_reads_weights_and_what_they_mean(run, exported, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", READER, str(exported)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    said, shapes = json.loads(done.stdout)
    assert said.keys() == {"format", "bss"} and said["format"] == "pt"
    meaning = json.loads(said["bss"])
    assert meaning == json.loads((exported / "config.json").read_text())
    config = json.loads((run / "config.json").read_text())
    for name in ("title", "modalities", "versions", "lists", "seed", "arm", "task_hash"):
        assert meaning[name] == config[name]
    assert meaning["classes"] == list(tiny.CLASSES) and meaning["recipe"]["lr"] == config["recipe"]["lr"]
    assert shapes["encoders.audio.0.weight"] == [4, 6]


def test_nothing_of_the_machine_and_its_folders_goes_out(run, exported):
    text = "".join((exported / name).read_text() for name in ("config.json", "README.md"))
    assert str(run.parent) not in text and str(Path(TASK).parent) not in text
    assert not {"data_root", "host", "machine", "command", "identity"} & set(read_export(exported)[0])


def test_the_card_has_the_test_numbers_and_the_lists_and_escapes_a_title(run, exported):
    card = (exported / "README.md").read_text()
    summary = json.loads((run / "summary.json").read_text())["test"]["chosen"]
    row = next(line for line in card.splitlines() if line.startswith("| fused |"))
    assert re.findall(r"\d\.\d{4}", row) == [f"{summary[name]['fused']:.4f}" for name in summary]
    config = json.loads((run / "config.json").read_text())
    assert f"n = {config['samples']['test']} samples" in card and config["lists"]["train"]["hash"] in card
    assert "# Tiny &#60;task&#62;" in card and card.startswith("---\nlibrary_name: ")
    assert config["versions"]["torch"] in card and 'task="FILE.py"' in card


def test_309_class_names_with_commas_quotes_and_other_letters_survive(tmp_path):
    write_export(tmp_path, {"w": torch.zeros(1)}, {"classes": NAMES, "aliases": {}})
    assert read_export(tmp_path)[0]["classes"] == NAMES


class Scalar(torch.nn.Module):
    """A state with a scalar, as of BatchNorm, and one that is a view of another's memory."""

    def __init__(self):
        super().__init__()
        whole = torch.arange(6.0).reshape(2, 3)
        self.register_buffer("turned", whole.T)
        self.register_buffer("row", whole[0])
        self.register_buffer("count", torch.tensor(7))


def test_what_is_shared_goes_out_once_and_comes_back_shared(tmp_path):
    encoder = torch.nn.Linear(6, 4)
    dims = {"left": 4, "right": 4}
    model = LateFusion({"left": encoder, "right": encoder}, torch.nn.Identity(), 3, feature_dims=dims, shared_head=True)
    tensors, aliases = own_tensors(model)
    assert aliases == {f"encoders.right.{part}": f"encoders.left.{part}" for part in ("weight", "bias")}
    write_export(tmp_path, tensors, {"aliases": aliases})
    weights = read_export(tmp_path)[1]
    assert weights.keys() == model.state_dict().keys()
    assert weights["encoders.right.weight"] is weights["encoders.left.weight"]
    model.load_state_dict(weights)
    assert model.encoders["left"].weight is model.encoders["right"].weight


def test_views_and_scalars_survive(tmp_path):
    tensors, aliases = own_tensors(Scalar())
    write_export(tmp_path, tensors, {"aliases": aliases})
    weights = read_export(tmp_path)[1]
    assert_the_same(weights, dict(Scalar().state_dict()))
    assert not aliases and weights["count"].shape == ()


class Extra(torch.nn.Module):
    """A state that holds no tensor."""

    def get_extra_state(self):
        return {"a": 1}


def test_a_state_of_something_else_than_tensors_is_refused_by_name():
    with pytest.raises(RunFolderError, match="a dict under _extra_state"):
        own_tensors(Extra())


# ---- the five data sets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stem", STEMS)
def test_a_run_of_every_data_set_is_exported_and_comes_back(stem, finished, tmp_path):
    run = finished(stem)
    out = export_run(run.folder, tmp_path / "out")
    model, trained, classes = bss.load_run(run.folder)
    again, recipe_again, classes_again = bss.load_run(out)
    batch = collate([run.data.test[0], run.data.test[1]])
    assert_the_same(logits_of(again, batch), logits_of(model, batch))
    assert classes_again == classes == run.data.classes
    differ = {name for name, value in flatten(recipe_again).items() if value != flatten(trained)[name]}
    assert differ == {"text_model"} & set(flatten(trained))
    assert run.task.DATA_SET.licence in (out / "README.md").read_text()
    assert _weights(read_saved(out)) == "epoch 1, its last (there is no validation part)"  # as evaluate says
    if differ:  # the tokenizer came along
        moved = run.task.build_data(recipe_again, run.root).test
        told, asked = (collate([part[0]])["text"]["tokens"] for part in (moved, run.data.test.dataset))
        assert torch.equal(told, asked)


def test_the_library_has_the_tasks_that_are_exported_here():
    assert STEMS == tasks.names()


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_a_folder_that_holds_something_is_left_alone_and_an_empty_one_is_filled(run, tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    for out in (tmp_path, tmp_path / "mine"):
        assert main(["export", str(run), "--out", str(out), "--task", TASK]) == 2
        assert "already, and stays as it is" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "empty").mkdir()
    export_run(run, tmp_path / "empty", task=TASK)
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    with pytest.raises(RunFolderError, match="is an exported run already"):
        export_run(tmp_path / "empty", tmp_path / "again", task=TASK)


def test_what_cannot_be_loaded_leaves_nothing_behind(run, tmp_path, capsys):
    for folder, words in ((tmp_path / "none", "is not a folder"), (run, "name the file with --task FILE.py")):
        assert main(["export", str(folder), "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_task_of_ones_own_without_raw_inputs_predicts_no_files(run):
    with pytest.raises(RecipeError, match="takes no raw inputs, since it does not define INPUTS"):
        predict_files(run, [TASK], task=TASK)


def damaged_weights(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def torn(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def foreign(folder):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, folder / "model.safetensors")


def other_names(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "classes": ["high", "middle", "low"]}))


def newer(folder):
    config, weights = read_export(folder)
    write_export(folder, weights, {**config, "export": 2})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (damaged_weights, "do not fit their digest"),
        (torn, "is damaged"),
        (foreign, "was not written by python -m bss export"),
        (other_names, "differ: one of them was changed"),
        (newer, "an export of format 2, and this version of bss knows 1: update bss"),
    ],
)
def test_an_exported_folder_that_was_changed_is_refused(change, words, exported, tmp_path):
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    change(copy)
    with pytest.raises(RunFolderError, match=words):
        bss.load_run(copy, task=TASK)


def test_the_file_of_an_exported_task_is_never_imported_by_itself(exported, tmp_path):
    with pytest.raises(RecipeError, match=r"name the file with --task FILE\.py"):
        bss.load_run(exported)


def test_an_unfinished_run_is_exported_with_its_newest_weights_and_says_so(run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    for name in ("done", "summary.json"):
        (copy / name).unlink()
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(sealed(config)))
    with pytest.raises(RunFolderError, match="unfinished run"):
        export_run(copy, tmp_path / "out", task=TASK)
    export_run(copy, tmp_path / "out", checkpoint="last", task=TASK)
    assert "The run is unfinished" in (tmp_path / "out" / "README.md").read_text()
