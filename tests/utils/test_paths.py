"""``~`` and ``$VAR`` where a shell does not expand them: behind ``=``, in a recipe's file, in a recipe's field."""

import argparse
import dataclasses
from pathlib import Path

import pytest

from bss.cli.commands import _parser
from bss.cli.flags import path
from bss.recipes import cremad, nvgesture, twitter15
from bss.recipes.fields import override, with_values
from bss.recipes.settings import path_fields
from bss.utils.errors import RecipeError
from bss.utils.paths import expanded


@pytest.fixture
def home(monkeypatch):
    """A home folder, and the variable DATA."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, "/users/me")
    monkeypatch.setenv("DATA", "/disk/data")
    monkeypatch.delenv("UNSET_HERE", raising=False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("~", "/users/me"),
        ("~/runs/a", "/users/me/runs/a"),
        ("$DATA/ks", "/disk/data/ks"),
        ("${DATA}2/ks", "/disk/data2/ks"),
        ("a/$DATA", "a//disk/data"),
        ("a~b/~", "a~b/~"),  # as in a shell, only at the beginning
        ("price$", "price$"),
        ("bert-base-uncased", "bert-base-uncased"),
    ],
)
def test_home_and_variables_are_what_a_shell_makes_of_them(home, text, meant):
    assert expanded(text) == meant


@pytest.mark.parametrize("text", ["$UNSET_HERE/x", "x/${UNSET_HERE}"])
def test_a_variable_that_is_not_set_is_named(home, text):
    with pytest.raises(RecipeError, match="UNSET_HERE is not set"):
        expanded(text)
    with pytest.raises(argparse.ArgumentTypeError, match="UNSET_HERE is not set"):
        path(text)


def test_a_user_who_is_not_known_is_named():
    with pytest.raises(RecipeError, match="~no-such-user-here"):
        expanded("~no-such-user-here/x")


def _commands():
    (commands,) = (a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction))
    return commands.choices.items()


def test_every_flag_that_names_a_file_or_folder_takes_them(home):
    found = set()
    for name, command in _commands():
        for action in command._actions:
            assert action.type is not Path, f"{name} {action.dest}: type=path of bss.cli.flags"
            if action.type is path:
                found.add((name, action.dest))
                assert action.type("~/a") == Path("/users/me/a")
    assert {("prepare", "source"), ("doctor", "root"), ("train", "out"), ("compare", "data_root")} <= found
    assert {("predict", "files"), ("evaluate", "list"), ("train", "recipe"), ("report", "runs")} <= found


def test_fields_that_name_a_path_take_them_from_flags_files_and_code(home):
    assert override(cremad.CL, ["cache=~/c"]).cache == "/users/me/c"
    assert with_values(twitter15.CL, {"text_model": "$DATA/bert"}).text_model == "/disk/data/bert"
    assert dataclasses.replace(nvgesture.CL, depth_weights="~/w.pt").depth_weights == "/users/me/w.pt"
    assert dataclasses.replace(twitter15.CL, image_weights=None).image_weights is None
    with pytest.raises(RecipeError, match="UNSET_HERE"):
        override(twitter15.CL, ["image_weights=$UNSET_HERE/w.pt"])


def test_which_fields_name_a_path():
    assert set(path_fields(cremad.CremadRecipe)) >= set(("cache",))
    assert set(path_fields(twitter15.Twitter15Recipe)) >= set(("text_model", "image_weights"))
    assert set(path_fields(nvgesture.NVGestureRecipe)) >= set(("rgb_weights", "flow_weights", "depth_weights"))
