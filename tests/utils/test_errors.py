"""What the flags of a message are in Python."""

import dataclasses

import pytest

from bss.recipes import Recipe, SelfPacedSchedule, override
from bss.training.export import export_run
from bss.training.load import load_run
from bss.training.predict_files import predict_files
from bss.utils.errors import RecipeError, RunFolderError, told_in_python


@pytest.mark.parametrize(
    ("message", "note"),
    [
        ("diverged: --set lr=0.005, or --set precision=fp32.", "override(recipe, ['lr=0.005', 'precision=fp32'])"),
        ("pass --batch-size 8 or less", "override(recipe, ['batch_size=...'])"),
        ("is done: pass another --out, or --resume", "Run(out=..., resume=...)"),
        ("another --out, or --set overwrite=true", "override(recipe, ['overwrite=true']) and Run(out=...)"),
    ],
)
def test_flags_are_said_in_python_by_a_note(message, note):
    with pytest.raises(RecipeError) as raised, told_in_python():
        raise RecipeError(message)
    assert str(raised.value) == message
    (said,) = raised.value.__notes__
    assert said.startswith("In Python: ") and said.endswith(note)


@pytest.mark.parametrize(
    ("function", "given", "note"),
    [
        (load_run, {}, "In Python: bss.load_run(checkpoint=...)"),
        (export_run, {"out": "out"}, "In Python: bss.export_run(checkpoint=...)"),
        (predict_files, {"paths": ["a.wav"]}, "In Python: predict_files(checkpoint=...)"),
        (predict_files, {"paths": ["a.wav"], "batch_size": 0}, "In Python: predict_files(batch_size=...)"),
    ],
    ids=["load_run", "export_run", "predict_files", "batch_size"],
)
def test_a_function_with_arguments_of_its_own_names_them(function, given, note, tmp_path):
    (tmp_path / "config.json").write_text("{}")  # of an unfinished run
    with pytest.raises((RecipeError, RunFolderError)) as raised:
        function(tmp_path, **given)
    assert raised.value.__notes__ == [note]


def test_a_message_without_flags_has_no_note_and_two_blocks_give_one():
    with pytest.raises(RunFolderError) as raised, told_in_python():
        raise RunFolderError("no such folder -- and no flag")
    assert not hasattr(raised.value, "__notes__")
    with pytest.raises(RunFolderError) as raised, told_in_python(), told_in_python():
        raise RunFolderError("pass another --out")
    assert len(raised.value.__notes__) == 1


def test_what_the_note_says_does_it():
    recipe = Recipe(epochs=1, batch_size=4, lr=0.1, schedule=SelfPacedSchedule())
    assert override(recipe, ["lr=0.005"]) == dataclasses.replace(recipe, lr=0.005)
