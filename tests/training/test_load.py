"""``bss.load_run``: a trained network out of its folder, and every folder that is refused, by name."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import bss
from bss import tasks
from bss.cli.commands import main
from bss.compare.arms import find
from bss.recipes.fields import flatten, override
from bss.training.checkpoint_file import write_checkpoint
from bss.training.load import read_saved
from bss.training.run_folder import read_checkpoint, sealed
from bss.utils.errors import DataNotFoundError, RecipeError, RunFolderError
from tests import tiny
from tests.compare import comparing

TASK = str(Path(comparing.__file__))
FORMAT1 = Path(__file__).parent / "format1"

TINY_TASK = """
from tests import tiny

CL = tiny.CL

def build_data(recipe, root):
    return tiny.splits({options})

def build_model(recipe, root):
    return tiny.model(norm=True, dropout=0.3)
"""


def train(out, *flags, arm="spl"):
    fixed = ["--device", "cpu", "--workers", "0", "--data-root", str(out.parent), "--set", "imbalance_every=0"]
    return main(["train", TASK, "--arm", arm, "--out", str(out), *fixed, *map(str, flags)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a task in a file, whose last epoch is not the best one."""
    out = tmp_path_factory.mktemp("load") / "run"
    assert train(out, "--epochs", 3, "--seed", 3) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["chosen_epoch"] == 1 and summary["test"]["chosen"] != summary["test"]["last"]
    return out


@pytest.fixture
def copy(run, tmp_path):
    return Path(shutil.copytree(run, tmp_path / "copy"))


def edit(folder, name, **changes):
    """Change a JSON file, with a checksum that fits, as somebody would who knows the format."""
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(sealed({**content, **changes})))


def forget_digests(folder):
    """Let the summary say nothing of the other files, as older ones do."""
    edit(folder, "summary.json", files=None)


def test_the_weights_of_the_chosen_and_of_the_last_epoch_are_loaded_in_eval_mode(run, untouched_rngs):
    for checkpoint, name in (("best", "best.pt"), ("last", "last.pt")):
        model, recipe, classes = bss.load_run(run, checkpoint=checkpoint, task=TASK)
        saved = read_checkpoint(run / name)["model"]
        assert model.state_dict().keys() == saved.keys()
        assert all(torch.equal(value, saved[key]) for key, value in model.state_dict().items())
        assert not any(module.training for module in model.modules()) and classes == tiny.CLASSES
        assert recipe.seed == 3 and recipe.schedule.sampler == "self_paced"
    with pytest.raises(ValueError, match="checkpoint must be one of best, last, got 'newest'"):
        bss.load_run(run, checkpoint="newest", task=TASK)


def test_the_metrics_of_the_summary_come_out_again(run):
    summary = json.loads((run / "summary.json").read_text())
    data = comparing.build_data(replace(comparing.CL, seed=3), run.parent)
    loader = torch.utils.data.DataLoader(data.test, batch_size=8)
    for checkpoint, part in (("best", "chosen"), ("last", "last")):
        model, *_ = bss.load_run(run, checkpoint=checkpoint, task=TASK)
        assert tiny.evaluate(model, loader) == summary["test"][part]


@pytest.mark.parametrize(
    ("arm", "flags"),
    [
        ("cl", ["lr=0.1234567890123456", "schedule.history=none", "checkpoint_minutes=none"]),
        ("uniform", ["precision=bf16", "tail=last"]),
        ("resampling", []),
        ("ogm-ge", ["method.alpha=0.3"]),
    ],
)
def test_the_recipe_is_the_one_that_was_trained_to_the_last_digit(arm, flags, tmp_path):
    given = [word for each in flags for word in ("--set", each)]
    assert train(tmp_path / "run", "--epochs", 1, *given, arm=arm) == 0
    _, recipe, _ = bss.load_run(tmp_path / "run", task=TASK)
    base = override(replace(comparing.CL, epochs=1), [*flags, "imbalance_every=0"])
    assert recipe == find([arm])[0].recipe(base)


def test_fields_that_are_younger_than_the_folder_have_their_defaults(copy):
    config = json.loads((copy / "config.json").read_text())
    recipe = {name: value for name, value in config["recipe"].items() if name not in ("imbalance_masking", "method")}
    edit(copy, "config.json", recipe=recipe)
    forget_digests(copy)
    _, loaded, _ = bss.load_run(copy, task=TASK)
    assert (loaded.imbalance_masking, loaded.method) == ("mean", None)
    edit(copy, "config.json", recipe={name: value for name, value in recipe.items() if name != "batch_size"})
    with pytest.raises(RecipeError, match=r"config\.json: the recipe has no batch_size"):
        bss.load_run(copy, task=TASK)
    edit(copy, "config.json", recipe={**recipe, "leaning_rate": 1})
    with pytest.raises(RecipeError, match="unknown recipe field 'leaning_rate'"):
        bss.load_run(copy, task=TASK)


def test_without_a_validation_split_best_is_the_last_epoch_and_never_the_best_by_the_test_set(tmp_path):
    path = tmp_path / "task.py"
    path.write_text(TINY_TASK.format(options="val=0"))
    flags = ["--epochs", "3", "--set", "val_fraction=0", "--data-root", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main(["train", str(path), "--arm", "cl", "--device", "cpu", "--workers", "0", *flags]) == 0
    model, *_ = bss.load_run(tmp_path / "run", task=str(path))
    last = read_checkpoint(tmp_path / "run" / "last.pt")["model"]
    assert all(torch.equal(value, last[key]) for key, value in model.state_dict().items())


# ---- folders that are refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "words"), [("", "holds no run"), ("nowhere", "is not a folder")])
def test_a_folder_that_is_no_run_is_refused(name, words, tmp_path):
    with pytest.raises(RunFolderError, match=words):
        bss.load_run(tmp_path / name)


def test_an_unfinished_run_gives_its_newest_weights_only_when_they_are_asked_for(copy):
    (copy / "done").unlink()
    (copy / "summary.json").unlink()
    with pytest.raises(RunFolderError, match=r"unfinished run \(3 epochs so far\).*checkpoint last"):
        bss.load_run(copy, task=TASK)
    assert read_saved(copy, checkpoint="last", task=TASK).epoch == 2
    bss.load_run(copy, checkpoint="last", task=TASK)
    (copy / "last.pt").unlink()
    with pytest.raises(RunFolderError, match=r"has no last\.pt"):
        bss.load_run(copy, checkpoint="last", task=TASK)


def reweigh(folder, change, name="best.pt"):
    """Write a checkpoint again with other weights, whole and stamped."""
    state = read_checkpoint(folder / name)
    state["model"] = change(state["model"])
    write_checkpoint(folder / name, {key: value for key, value in state.items() if key not in ("format", "stamp")})


WEIGHT = "encoders.audio.0.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: {("renamed" if k == WEIGHT else k): v for k, v in state.items()}, f"lacks {WEIGHT}; it has ren"),
        (lambda state: {k: v for k, v in state.items() if k != WEIGHT}, f"lacks {WEIGHT}"),
        (lambda state: {**state, "more": torch.zeros(1)}, "it has more, which the network has not"),
        (lambda state: {**state, WEIGHT: torch.zeros(4, 7)}, rf"{WEIGHT} is float32 of shape \(4, 7\), and .*\(4, 6\)"),
        (lambda state: {**state, WEIGHT: state[WEIGHT].double()}, f"{WEIGHT} is float64 of shape"),
    ],
    ids=["renamed", "missing", "more", "shape", "type"],
)
def test_weights_that_do_not_fit_the_network_are_named(change, words, copy):
    reweigh(copy, change)
    with pytest.raises(RunFolderError, match=words) as caught:
        bss.load_run(copy, task=TASK)
    assert len(str(caught.value).splitlines()) <= 2


def test_weights_of_another_epoch_or_of_another_recipe_are_refused(copy, tmp_path):
    other = tmp_path / "other"
    assert train(other, "--epochs", 3, "--seed", 2) == 0
    shutil.copy(other / "last.pt", copy / "last.pt")
    with pytest.raises(RunFolderError, match=r"another recipe than config\.json: .* is .* there and .* here"):
        bss.load_run(copy, checkpoint="last", task=TASK)
    shutil.copy(other / "best.pt", copy / "best.pt")
    with pytest.raises(RunFolderError, match=r"best\.pt has not the weights of epoch \d"):
        bss.load_run(copy, task=TASK)


def test_damaged_and_changed_files_are_refused(copy):
    data = bytearray((copy / "best.pt").read_bytes())
    data[data.index(read_checkpoint(copy / "best.pt")["model"][WEIGHT].numpy().tobytes())] ^= 1
    (copy / "best.pt").write_bytes(data)
    with pytest.raises(RunFolderError, match=r"best\.pt is damaged"):
        bss.load_run(copy, task=TASK)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "classes": ["a", "b", "c"]}))
    with pytest.raises(RunFolderError, match=r"config\.json is damaged or was changed by hand"):
        bss.load_run(copy, task=TASK)
    edit(copy, "config.json", classes=["a", "b", "c"])
    with pytest.raises(RunFolderError, match=r"config\.json was changed after the run had ended"):
        bss.load_run(copy, task=TASK)


# ---- whose code is run ---------------------------------------------------------------------------------------------


def test_the_file_that_a_folder_names_is_never_imported_by_itself(copy, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    edit(copy, "config.json", task=str(evil))
    forget_digests(copy)
    with pytest.raises(RecipeError, match=r"name the file with --task FILE\.py"):
        bss.load_run(copy)
    with pytest.raises(RecipeError, match="has other code than the task"):
        bss.load_run(copy, task=str(evil))
    assert not (tmp_path / "imported").exists()
    bss.load_run(copy, task=TASK)  # the code is what counts, wherever it lies
    with pytest.raises(RecipeError, match=r"gone\.py is not a file"):
        bss.load_run(copy, task=str(tmp_path / "gone.py"))


def test_a_run_of_a_task_of_the_library_is_of_that_task_alone(copy):
    edit(copy, "config.json", task="cremad", task_hash=None)
    forget_digests(copy)
    with pytest.raises(RecipeError, match="is of a run of cremad, and not of ks"):
        bss.load_run(copy, task="ks")
    with pytest.raises(RunFolderError, match=r"it lacks encoders\.audio\.resnet\.conv1\.weight \(and \d+ more\)"):
        bss.load_run(copy)


@pytest.mark.parametrize("stem", tasks.names())
def test_a_network_to_be_loaded_asks_for_no_file_of_pretrained_weights(stem):
    recipe = tasks.load(stem).CL
    changed = {name for name, value in flatten(recipe.from_random_weights()).items() if value != flatten(recipe)[name]}
    assert changed == {
        name for name in flatten(recipe) if name.endswith(("_weights", "_pretrained")) and name != "class_weights"
    }


# ---- format 1 ------------------------------------------------------------------------------------------------------


def test_a_folder_of_format_1_gets_its_class_names_from_the_very_list_that_it_was_trained_on(tmp_path):
    path = tmp_path / "task.py"
    path.write_text(TINY_TASK.format(options=""))
    with pytest.raises(RecipeError, match="does not say of which task"):
        bss.load_run(FORMAT1 / "spl")
    with pytest.raises(DataNotFoundError, match="format 1, which holds no class names"):
        bss.load_run(FORMAT1 / "spl", task=str(path))
    model, recipe, classes = bss.load_run(FORMAT1 / "spl", task=str(path), data_root=tmp_path)
    assert classes == tiny.CLASSES and recipe == tiny.SPL
    loader = torch.utils.data.DataLoader(tiny.splits().test, batch_size=8)
    summary = json.loads((FORMAT1 / "spl" / "summary.json").read_text())
    assert tiny.evaluate(model, loader)["accuracy"] == summary["test"]["chosen"]["accuracy"]
    path.write_text(TINY_TASK.format(options="train=59"))
    with pytest.raises(RunFolderError, match="is not the one that it was trained on"):
        bss.load_run(FORMAT1 / "spl", task=str(path), data_root=tmp_path)


def test_nothing_in_the_folder_is_changed(run):
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.iterdir()}
    bss.load_run(os.fspath(run), task=TASK)
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.iterdir()} == before
